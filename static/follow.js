/* A lecture that the hall takes part in: the bar of those who follow, and what the lecturer sees of
   them.  Python decides who leads (mhc_demo/app/following.py); this file shows it.

   The lecturer's link ends in #lead=KEY.  What follows a # is never sent with a request, so the key is
   in no log; here it leaves the address at once, and is kept for this tab alone, so that the page still
   leads when it is opened anew.

   Those who follow see a page that they share (mhc_demo/app/mirror.py), which hears of nothing that
   they do, but for their guesses.  Whoever does something else gets a page of their own, opened with
   that. */
"use strict";
mhc.hall = (() => {
  const {element, text} = mhc;
  const KEPT = "mhc-lead";
  const RECENT = 3000; // milliseconds in which something may follow from a touch or a key
  const SAYS = {follows: "Following the lecture", explores: "You are on your own"};
  const OFFERS = {follows: "Explore on my own", explores: "Follow the lecture"};
  let key = "";
  let follows = false; // whether the page is one that is shared
  let bar = null; // {host, present, shown}
  const counts = new Set(); // where the lecturer sees the numbers

  // ---- the key -----------------------------------------------------------------------------

  const given = /^#lead=([\w-]{1,200})$/.exec(location.hash);
  if (given) {
    key = given[1];
    history.replaceState(history.state, "", location.pathname + location.search);
  }
  try {
    if (given) sessionStorage.setItem(KEPT, key);
    else key = sessionStorage.getItem(KEPT) ?? "";
  } catch {} // a frame without storage

  function forget() {
    key = "";
    try {
      sessionStorage.removeItem(KEPT);
    } catch {}
  }

  // ---- what is shown -----------------------------------------------------------------------

  const role = () => bar?.present().role ?? "";

  // `present()` returns the present {role, followers, guessed}.
  function join(host, present) {
    host.className = "mhc-follow";
    bar = {host, present, shown: null};
    draw();
    return () => {
      if (bar?.host === host) bar = null;
      draw();
    };
  }

  function draw() {
    const now = role();
    if (bar && bar.shown !== now) {
      bar.shown = now;
      write(bar.host, now);
    }
    for (const each of counts) {
      if (each.isConnected) tell(each);
      else counts.delete(each);
    }
  }

  function write(host, now) {
    host.replaceChildren();
    host.classList.toggle("follows", now === "follows");
    if (!(now in SAYS)) return;
    element("span", "", host, {textContent: SAYS[now], role: "status"});
    const button = element("button", "", host, {type: "button", textContent: OFFERS[now]});
    button.addEventListener("click", () => (now === "follows" ? leave() : come()));
  }

  function tell(node) {
    const {followers = 0, guessed = 0} = bar?.present() ?? {};
    node.hidden = role() !== "leads";
    text(node, `${followers} ${followers === 1 ? "follows" : "follow"}${guessed ? ` · ${guessed} guessed` : ""}`);
  }

  // ---- to the lecture, and off on one's own ------------------------------------------------

  function come() {
    const query = new URLSearchParams({follow: 1});
    const theme = new URLSearchParams(location.search).get("theme");
    if (theme) query.set("theme", theme);
    location.assign(`?${query}`);
  }

  let changes = null; // what one's own page is to show otherwise
  let touched = -Infinity;
  let held = false; // whether a finger or a button is down
  for (const [event, down] of [["pointerdown", true], ["pointerup", false], ["pointercancel", false], ["keydown", null]])
    window.addEventListener(event, () => {
      touched = performance.now();
      held = down ?? held;
    }, true);

  function leave(more = {}) {
    const first = changes === null;
    changes = {...changes, ...more};
    if (first) depart();
  }

  function depart() {
    if (held) return setTimeout(depart, 100); // a slider is being dragged
    mhc.connection.write();
    const query = new URLSearchParams(location.search);
    if (changes.scene) // a scene says itself where it begins
      for (const name of [...query.keys()]) if (!["theme", "way"].includes(name)) query.delete(name);
    query.delete("follow");
    for (const [name, value] of Object.entries(changes)) {
      if (value === "" || value === false) query.delete(name);
      else query.set(name, value === true ? 1 : value);
    }
    location.assign(`?${query}`);
  }

  // Opens the same with another theme.
  function repaint(dark) {
    const query = new URLSearchParams(location.search);
    const system = matchMedia("(prefers-color-scheme: dark)").matches;
    if (dark === system) query.delete("theme");
    else query.set("theme", dark ? "dark" : "light");
    location.replace(`?${query}`);
  }

  // ---- what a shared page would tell the server --------------------------------------------

  // By the page's models: what they pass on to one's own page, by its name in a link.
  const PASSED = {
    Story: {scene: "scene", way: "way", revealed: "revealed", present: "present"},
    Doors: {view: "view", present: "present"},
    ScaleControl: {scale: "scale"},
    SignalControls: {enters: "enters", direction: "direction", writes: "writes", zoom: "zoom"},
  };
  const QUIET = ["BrowserWindow", "LectureBar", "Headline", "Saving"]; // what they tell is no wish

  let fragment = 0; // of a message, which has three: the page's have no buffers
  let dropped = false;

  // Whether a frame is sent: parts of a question for the document, and guesses.
  function passes(frame) {
    if (typeof frame !== "string") return false;
    if (frame.startsWith("guess ")) return true;
    if (fragment === 0) dropped = JSON.parse(frame).msgtype === "PATCH-DOC";
    if (dropped && fragment === 2) JSON.parse(frame).events.forEach(heed);
    fragment = (fragment + 1) % 3;
    return !dropped;
  }

  function heed({kind, model, attr, msg_data}) {
    const touching = held || performance.now() - touched < RECENT;
    if (kind === "MessageSent") {
      if (touching && msg_data.name === "dom_event") leave();
      return;
    }
    const node = Bokeh.documents.at(-1)?.get_model_by_id(model?.id);
    const type = node?.type ?? "";
    const name = type.replace(/\d+$/, "");
    if (name === "Story" && attr === "guess") return guess(node.guess);
    if (!touching || name === type || QUIET.includes(name)) return;
    if (name === "Page") {
      if (attr === "dark_theme") repaint(node.dark_theme);
    } else if (name === "Slider") {
      if (attr === "value") leave({[node.state_name]: node.value});
    } else if (name in PASSED) {
      if (attr in PASSED[name]) leave({[PASSED[name][attr]]: node[attr]});
    } else leave();
  }

  function guess(given) {
    const entries = given instanceof Map ? [...given] : Object.entries(given);
    if (entries.length) mhc.connection.say(`guess ${JSON.stringify(Object.fromEntries(entries))}`);
  }

  return {
    join, draw, forget, passes,
    follow() { follows = true; },
    get follows() { return follows; },
    get key() { return key; },
    get leads() { return role() === "leads"; },
    // Shows the lecturer how many follow and have guessed, in a node of its own.
    count(parent) {
      const node = element("span", "count", parent);
      counts.add(node);
      tell(node);
    },
  };
})();
