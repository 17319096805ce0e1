/* The story as a file (mhc_demo/export/story.py): what the server does for the live page's story.

   Each scene is a small document of its own, which is drawn when the scene is opened; what it reads
   is unpacked from the columns that all scenes share. */
"use strict";
mhc.connection ??= {lost: false, listen: () => () => {}}; // there is none to lose
mhc.lecture = (host, {scenes, way, parts, columns}) => {
  if (!host.shadowRoot) host.attachShadow({mode: "open"}).append(host.querySelector("template").content);
  const root = host.shadowRoot;
  const stage = root.querySelector(".mhc-stage");
  const present = {scene: scenes[0].name, way, revealed: "", presenting: false, title: ""};
  let shown = null; // {doc, stop} of the scene
  let turn = 0;
  if (parent === window) host.classList.add("alone");
  else mhc.tell_height(host);
  mhc.embed.printable(host);

  const scene_of = (name) => scenes.find((each) => each.name === name);
  const here = () => decodeURIComponent(location.hash.slice(1));

  function unpacked(data) {
    const variants = data.variants.map(({tables, words}) => ({
      words,
      tables: Object.fromEntries(Object.entries(tables).map(([id, names]) => [id,
        Object.fromEntries(Object.entries(names).map(([name, at]) => [name, columns[at]]))])),
    }));
    return {...data, variants};
  }

  function close({doc, stop}) {
    mhc.halt(doc);
    stop();
    doc.clear();
    Bokeh.documents.splice(Bokeh.documents.indexOf(doc), 1);
  }

  async function show() {
    const mine = ++turn;
    if (shown) close(shown);
    shown = null;
    const {html, data} = parts[present.scene];
    stage.innerHTML = html;
    const drawn = await mhc.embed.start(host, unpacked(data), stage);
    if (mine !== turn) return close(drawn);
    shown = drawn;
    const {guess, name} = scene_of(present.scene);
    if (guess && present.revealed === name) // as it was left
      for (const [slider, value] of Object.entries(guess.then)) mhc.move(drawn.doc, slider, value);
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
    story.draw();
    show();
  }

  const ACTIONS = {
    play: () => shown && mhc.play(shown.doc),
    faster: () => shown && mhc.faster(shown.doc),
    reset() {
      present.revealed = "";
      story.draw();
      show();
    },
  };

  const story = mhc.story(root.querySelector(".story"), {
    scenes,
    served: false,
    present: () => present,
    ask(what) {
      if (typeof what === "string") return ACTIONS[what]?.(); // there is no other seed, and no hall
      const {scene, run, guess, ...rest} = what;
      Object.assign(present, rest);
      if (run && shown) mhc.run(shown.doc, run);
      if (scene && scene !== present.scene) go(scene);
      else story.draw();
    },
  });

  addEventListener("hashchange", () => go(here()));
  if (scene_of(here())) present.scene = here();
  story.draw();
  show();
};
