/* A site as a folder (mhc_demo/export/site.py): how its pages begin.

   What a page shows lies beside it in compressed files.  They are decompressed here, so that any
   host will do, whatever it knows of compression. */
"use strict";
mhc.site = (() => {
  const {element} = mhc;

  // The data of a compressed file; of one that its host has decompressed already, too.
  async function read(address) {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
    const bytes = await answer.arrayBuffer();
    const [first, second] = new Uint8Array(bytes, 0, 2);
    let stream = new Blob([bytes]).stream();
    if (first === 0x1f && second === 0x8b) stream = stream.pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  // Has the service worker keep what this visit has seen: it was not there when the page was loaded.
  async function keep() {
    if (!navigator.serviceWorker) return;
    try {
      await navigator.serviceWorker.register("sw.js");
    } catch {
      return; // a browser that keeps nothing, or a host that lacks the file
    }
    if (!navigator.serviceWorker.controller)
      await new Promise((done) =>
        navigator.serviceWorker.addEventListener("controllerchange", done, {once: true}));
    const seen = [location.href, ...performance.getEntriesByType("resource").map(({name}) => name)];
    navigator.serviceWorker.controller.postMessage({seen});
  }

  function why() {
    if (location.protocol === "file:")
      return "A site needs a web server, of any kind. The story as one file opens from a disk: mhc-demo export.";
    if (!window.DecompressionStream) return "This page needs a browser of 2023 or later.";
    return "What this page shows could not be loaded. Load it again when there is a network.";
  }

  async function start(host) {
    const {story, explore} = host.dataset;
    try {
      const data = await read(story ?? explore);
      if (story) mhc.lecture(host, data);
      else mhc.explore(host, data, read);
    } catch (error) {
      const root = host.shadowRoot ?? host;
      element("p", "missing", root.querySelector("article") ?? root, {role: "status"}).textContent = why();
      throw error;
    }
  }

  const host = document.querySelector(".mhc-demo");
  if (!host.shadowRoot) host.attachShadow({mode: "open"}).append(host.querySelector("template").content);
  start(host);
  if (document.readyState === "complete") keep();
  else addEventListener("load", keep, {once: true});
  return {read};
})();
