/* The story as a file (mhc_demo/export/story.py): what the server does for the live page's story.

   Each scene is a small document of its own, on a sheet of its own.  While one scene is on the stage,
   the next and the one before it wait in the wings: drawn, in the size that they will have, and out of
   sight.  So a change of scene draws nothing, and there are never more than three sheets. */
"use strict";
mhc.connection ??= {lost: false, listen: () => () => {}}; // there is none to lose

// What the page holds for its scripts (`_held` in mhc_demo/export/story.py).
mhc.held = (id) => JSON.parse(document.getElementById(id).textContent);

// `later`: the id of what the page holds of the other scenes, which a browser reads after the scripts.
mhc.lecture = (host, {scenes, way, parts, columns}, later = null) => {
  if (!host.shadowRoot) host.attachShadow({mode: "open"}).append(host.querySelector("template").content);
  const root = host.shadowRoot;
  const article = root.querySelector("article");
  const words = root.querySelector(".story");
  const present = {scene: scenes[0].name, way, revealed: "", presenting: false, title: ""};
  if (parent === window) host.classList.add("alone");
  else mhc.tell_height(host);
  mhc.embed.printable(host);

  const scene_of = (name) => scenes.find((each) => each.name === name);
  const here = () => decodeURIComponent(location.hash.slice(1));

  // ---- what a scene draws -------------------------------------------------------------------

  let reading = null;
  const read_later = () => (reading ??= (async () => {
    if (document.readyState === "loading")
      await new Promise((done) => document.addEventListener("DOMContentLoaded", done, {once: true}));
    const found = mhc.held(later);
    Object.assign(parts, found.parts);
    columns.push(...found.columns);
  })());

  function unpacked(data) {
    const variants = data.variants.map(({tables, words}) => ({
      words,
      tables: Object.fromEntries(Object.entries(tables).map(([id, names]) => [id,
        Object.fromEntries(Object.entries(names).map(([name, at]) => [name, columns[at]]))])),
    }));
    return {...data, variants};
  }

  // ---- sheets -------------------------------------------------------------------------------

  const TOUCHES = ["pointermove", "pointerdown", "keydown", "input", "wheel"];
  const answered = (name) => present.revealed === name;

  // A sheet in `el`, of which the plots begin to be drawn: at once, or when nothing else is to be done.
  function sheet_of(name, el, waits) {
    const sheet = {
      name, el, waits,
      drawn: null, // {doc, paint, stop} as soon as there is a document
      complete: false,
      closed: false,
      answered: answered(name), // then it begins as the answer leaves it
      touched: false, // then it no longer is as it begins
      hurry() {},
    };
    el.ariaBusy = "true";
    for (const type of TOUCHES)
      el.addEventListener(type, () => { sheet.touched = true; }, {passive: true});
    sheet.ready = draw(sheet);
    return sheet;
  }

  async function draw(sheet) {
    try {
      if (!parts[sheet.name]) await read_later();
      const {html, data} = parts[sheet.name];
      sheet.el.innerHTML = html;
      await pause(sheet);
      const {doc} = await mhc.embed.start(host, unpacked(data), sheet.el, {}, (...at) => pause(sheet, ...at));
      const {guess} = scene_of(sheet.name);
      if (guess && sheet.answered)
        for (const [slider, value] of Object.entries(guess.then)) mhc.move(doc, slider, value);
      go_on(sheet);
      sheet.complete = true;
      sheet.el.ariaBusy = null;
    } catch (error) {
      if (!sheet.closed) throw error;
      strike(sheet);
    }
  }

  // Between the steps of drawing: of what waits, each waits for a moment at which it is in nobody's way.
  async function pause(sheet, drawn = null, plots = 0) {
    if (drawn && !sheet.drawn) {
      sheet.drawn = drawn;
      if (sheet.waits) mhc.hold(drawn.doc);
      mhc.listen(drawn.doc, () => { if (!sheet.waits) busy(); });
    }
    if (sheet.waits) await leisure(sheet);
    else if (plots === 1) await mhc.embed.painted();
    go_on(sheet);
  }

  function go_on({closed}) {
    if (closed) throw new Error("the scene has been left");
  }

  function close(sheet) {
    sheet.closed = true;
    sheet.el.remove();
    sheet.hurry();
    if (sheet.complete) strike(sheet);
  }

  function strike({drawn}) {
    if (!drawn) return;
    mhc.halt(drawn.doc);
    drawn.stop();
    mhc.discard(drawn.doc);
  }

  // ---- the wings ----------------------------------------------------------------------------

  const QUIET = 400; // milliseconds after which nobody is moving anything
  const idle = window.requestIdleCallback ?? ((then) => setTimeout(then, 50));
  const wings = new Map(); // the sheets that wait, by their scenes' names
  let shown = null; // the sheet on the stage
  let last = 0; // when somebody last did something, or something moved
  let round = 0;

  const busy = () => { last = performance.now(); };
  // Before the story's own keys, which no later listener gets.
  for (const type of ["pointerdown", "keydown", "wheel", "touchmove"])
    addEventListener(type, busy, {capture: true, passive: true});

  function leisure(sheet = {}) {
    return new Promise((done) => {
      sheet.hurry = done;
      const look = () => {
        const left = last + QUIET - performance.now();
        if (left > 0) setTimeout(() => idle(look), left);
        else done();
      };
      idle(look);
    });
  }

  const stale = (sheet) => sheet.touched || sheet.answered !== answered(sheet.name);

  // The scenes that are to be ready: one can go to them in one step.
  function near() {
    const i = scenes.indexOf(scene_of(present.scene));
    return [scenes[i + 1], scenes[i - 1]].filter(Boolean).map(({name}) => name);
  }

  function clear_wings(out = () => true) {
    round++;
    for (const sheet of wings.values()) {
      if (!out(sheet)) continue;
      wings.delete(sheet.name);
      close(sheet);
    }
  }

  async function prepare() {
    clear_wings((sheet) => !near().includes(sheet.name) || stale(sheet));
    const mine = round;
    await shown.ready;
    for (const name of near()) {
      await leisure();
      if (mine !== round) return;
      if (!wings.has(name)) {
        const el = mhc.element("div", "", article);
        const above = height(article) - height(shown.el) - height(words) + story.height_of(name);
        to_wings(el, name, above);
        wings.set(name, sheet_of(name, el, true));
      }
      await wings.get(name).ready;
    }
  }

  const height = (node) => node.getBoundingClientRect().height;

  // Out of sight, in the height that the stage has when all else is `above` pixels high.
  function to_wings(el, name, above) {
    el.className = "mhc-wing";
    el.classList.toggle("single", scene_of(name).hidden.includes("headline-projected"));
    el.style.setProperty("--above", `${above}px`);
    el.inert = true;
  }

  function to_stage(el) {
    el.className = "mhc-stage";
    el.style.removeProperty("--above");
    el.inert = false;
  }

  // What waits has another size, unless the window has the same.
  const size = () => [article.clientWidth, getComputedStyle(article).minHeight].join();
  let sized = size();
  addEventListener("resize", () => {
    if (sized === (sized = size())) return;
    clear_wings();
    prepare();
  });
  addEventListener("beforeprint", () => clear_wings());
  addEventListener("afterprint", prepare);

  // ---- the stage ----------------------------------------------------------------------------

  function show({anew = false} = {}) {
    const name = present.scene;
    if (shown) leave(anew);
    const ready = wings.get(name);
    if (ready && (anew || stale(ready))) clear_wings((sheet) => sheet === ready);
    shown = wings.get(name) ?? null;
    if (shown) enter(shown);
    else shown = sheet_of(name, root.querySelector(".mhc-stage") ?? mhc.element("div", "mhc-stage", article), false);
    prepare();
  }

  function enter(sheet) {
    wings.delete(sheet.name);
    to_stage(sheet.el);
    sheet.waits = false;
    sheet.hurry();
    if (!sheet.drawn) return;
    mhc.release(sheet.drawn.doc);
    for (const node of sheet.el.querySelectorAll(".spoken")) node.textContent = ""; // it is spoken now
    mhc.refresh(sheet.drawn.doc);
  }

  // Into the wings, if the reader may come back to it as it began.
  function leave(anew) {
    const sheet = shown;
    if (anew || !sheet.complete || stale(sheet) || !near().includes(sheet.name)) return close(sheet);
    mhc.halt(sheet.drawn.doc);
    to_wings(sheet.el, sheet.name, height(article) - height(sheet.el));
    mhc.hold(sheet.drawn.doc);
    sheet.waits = true;
    wings.set(sheet.name, sheet);
  }

  // A frame that was written into its page has no address of its own.
  function note(name) {
    try {
      if (here() !== name) history.pushState(null, "", `#${name}`);
    } catch {}
  }

  function go(name) {
    if (name === present.scene || !scene_of(name)) return;
    present.scene = name;
    note(name);
    show(); // before its words, so that a guess covers the plots that are there already
    story.draw();
  }

  // Does something with the document on the stage.
  function touch(action) {
    if (!shown.drawn) return;
    shown.touched = true;
    action(shown.drawn.doc);
  }

  const ACTIONS = {
    play: () => touch(mhc.play),
    faster: () => touch(mhc.faster),
    reset() {
      present.revealed = "";
      show({anew: true});
      story.draw();
    },
  };

  if (scene_of(here())) present.scene = here();
  const story = mhc.story(words, {
    scenes,
    served: false,
    present: () => present,
    ask(what) {
      if (typeof what === "string") return ACTIONS[what]?.(); // there is no other seed, and no hall
      const {scene, run, guess, ...rest} = what;
      Object.assign(present, rest);
      if (run) touch((doc) => mhc.run(doc, run));
      if (scene && scene !== present.scene) return go(scene);
      story.draw();
      if ("presenting" in rest) clear_wings(); // its type is larger
      if ("presenting" in rest || "revealed" in rest) prepare();
    },
  });

  addEventListener("hashchange", () => go(here()));
  show();
};
