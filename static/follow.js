/* A lecture that the hall takes part in: the bar of those who follow, and what the lecturer sees of
   them.  Python decides who leads (mhc_demo/app/following.py); this file shows it.

   The lecturer's link ends in #lead=KEY.  What follows a # is never sent with a request, so the key is
   in no log; here it leaves the address at once, and is kept for this tab alone, so that the page still
   leads when it is opened anew. */
"use strict";
mhc.lecture = (() => {
  const {element, text} = mhc;
  const KEPT = "mhc-lead";
  const SAYS = {follows: "Following the lecture", explores: "You are on your own"};
  const OFFERS = {follows: ["Explore on my own", "explore"], explores: ["Follow the lecture", "follow"]};
  let key = "";
  let bar = null; // {host, present, ask}
  const counts = new Set(); // where the lecturer sees the numbers

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

  const role = () => bar?.present().role ?? "";

  // `present()` returns the present {role, followers, guessed}; `ask(what)`: "follow" or "explore".
  function join(host, {present, ask}) {
    host.className = "mhc-follow";
    bar = {host, present, ask, shown: null};
    const stop = mhc.connection.listen(({lost}) => { host.inert = lost; });
    draw();
    return () => {
      stop();
      if (bar?.host === host) bar = null;
      draw();
    };
  }

  function draw() {
    const now = role();
    if (bar && bar.shown !== now) {
      bar.shown = now;
      write(now);
    }
    for (const each of counts) {
      if (each.isConnected) tell(each);
      else counts.delete(each);
    }
  }

  function write(now) {
    const {host, ask} = bar;
    const pressed = host.getRootNode().activeElement?.localName === "button";
    host.replaceChildren();
    host.classList.toggle("follows", now === "follows");
    if (!(now in SAYS)) return;
    element("span", "", host, {textContent: SAYS[now], role: "status"});
    const [label, wish] = OFFERS[now];
    const button = element("button", "", host, {type: "button", textContent: label});
    button.addEventListener("click", () => ask(wish));
    if (pressed) button.focus();
  }

  function tell(node) {
    const {followers = 0, guessed = 0} = bar?.present() ?? {};
    node.hidden = role() !== "leads";
    text(node, `${followers} ${followers === 1 ? "follows" : "follow"}${guessed ? ` · ${guessed} guessed` : ""}`);
  }

  return {
    join, draw, forget,
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
