/* The service worker of a site (mhc_demo/export/site.py): what was seen works without a network.

   Python writes VERSION, FILES and PAGES above: all files whose names hold the hash of their content,
   and for each page those that it begins with.  Such a file never changes, so it is taken from the
   cache first; a page is taken from the network first, so that an update is seen at once. */
"use strict";
const scope = registration.scope;
const NAME = `mhc-demo ${scope}`; // sites under one host share its caches
const PATIENCE = 4000; // milliseconds that a page waits for a bad network if it is in the cache
const full = (name) => new URL(name, scope).href;
const hashed = new Set(FILES.map(full));
const pages = new Map(Object.entries(PAGES).map(([name, files]) => [full(name), files.map(full)]));

// The address of a file: without query and fragment, and with the name that a folder stands for.
function bare(address) {
  const url = new URL(address);
  url.search = url.hash = "";
  if (url.pathname.endsWith("/")) url.pathname += "index.html";
  return url.href;
}

const unseen = () => new Response(
  "<!DOCTYPE html><meta charset=utf-8><title>Not seen yet</title><p>This page was not opened while there "
  + "was a network. <a href=index.html>The story</a>",
  {status: 503, headers: {"Content-Type": "text/html; charset=utf-8"}},
);

async function first_cached(url) {
  const cache = await caches.open(NAME);
  const kept = await cache.match(url);
  if (kept) return kept;
  const answer = await fetch(url);
  if (answer.ok) await cache.put(url, answer.clone());
  return answer;
}

async function first_fetched(event, url) {
  const cache = await caches.open(NAME);
  const kept = await cache.match(url);
  const fresh = fetch(event.request).then(async (answer) => {
    if (answer.ok && !answer.redirected) await cache.put(url, answer.clone());
    return answer;
  });
  event.waitUntil(fresh.catch(() => {}));
  if (!kept) return fresh.catch(() => (event.request.mode === "navigate" ? unseen() : Response.error()));
  const late = new Promise((done) => setTimeout(done, PATIENCE, kept));
  const good = fresh.then((answer) => (answer.status < 500 ? answer : kept), () => kept);
  return Promise.race([good, late]);
}

async function keep(addresses) {
  const cache = await caches.open(NAME);
  const wanted = addresses.map(bare).filter((url) => hashed.has(url) || pages.has(url));
  const there = await Promise.all(wanted.map((url) => cache.match(url)));
  await cache.addAll([...new Set(wanted.filter((_, i) => !there[i]))]);
}

// The pages that were seen, in the new version, with what they begin with.
async function renew() {
  const cache = await caches.open(NAME);
  const seen = (await cache.keys()).map(({url}) => url).filter((url) => pages.has(url));
  await keep(seen.flatMap((url) => pages.get(url)));
  await cache.addAll(seen.map((url) => new Request(url, {cache: "reload"})));
}

async function tidy() {
  const cache = await caches.open(NAME);
  for (const request of await cache.keys())
    if (!hashed.has(request.url) && !pages.has(request.url)) await cache.delete(request);
}

addEventListener("install", (event) => event.waitUntil(renew().then(() => skipWaiting())));
addEventListener("activate", (event) => event.waitUntil(tidy().then(() => clients.claim())));
addEventListener("message", (event) => event.waitUntil(keep(event.data.seen)));
addEventListener("fetch", (event) => {
  const url = bare(event.request.url);
  if (event.request.method !== "GET") return;
  if (hashed.has(url)) event.respondWith(first_cached(url));
  else if (pages.has(url)) event.respondWith(first_fetched(event, url));
});
