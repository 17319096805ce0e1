/* The page of a site that shows every view: what the server does for the live page, from files.

   An index (mhc_demo/export/grid.py) names a file for each view of each experiment of a grid; it is
   fetched when it is chosen.  The link holds what is shown, by the names of the live page's links. */
"use strict";
mhc.explore = (host, index, read) => {
  const {element, text} = mhc;
  const {groups, parameters, experiments, names, views, ends, pins} = index;
  const root = host.shadowRoot;
  const find = (selector) => root.querySelector(selector);
  const stage = find(".mhc-stage");
  const notice = find(".notice");
  const titles = new Map(groups.flatMap(({views}) => views.map(({name, title}) => [name, title])));
  const of_view = ["step", "replay"]; // sliders of single views, from their starts
  const usual = {scale: "full", zoom: 64, pinned: null};
  const first = {...index.start, ...usual, step: 0, replay: null};
  const present = {
    view: groups[0].views[0].name, presenting: false, ...first,
    at: 0, // the experiment
    made: Object.fromEntries(Object.keys(views).map((name) => [name, 0])), // the choices of each view
  };
  let shown = null; // {doc, stop, saved, sliders} of the view
  let turn = 0;
  if (parent === window) host.classList.add("alone");
  else mhc.tell_height(host);
  mhc.embed.printable(host);

  // ---- what is chosen -------------------------------------------------------------------------

  const view = () => views[present.view];
  const is_about = () => view().of_experiment;

  // Everything that can be chosen with the view: of the experiment, if it is about that, and its own.
  const asked = () => [...(is_about() ? parameters : []), ...view().choices];

  // What the site holds of the view: {at, made; chosen, an index for each of `asked`}.
  function held() {
    const {of_experiment, made, files} = view();
    return files.flatMap((files, at) => files.flatMap((file, k) => (file === false ? [] : [{
      at: of_experiment ? at : present.at, made: k,
      chosen: [...(of_experiment ? experiments[at] : []), ...made[k]],
    }])));
  }

  const chosen_now = () =>
    [...(is_about() ? experiments[present.at] : []), ...view().made[present.made[present.view]]];
  const value_of = (chosen, k) => asked()[k].values[chosen[k]];
  const take = ({at, made}) => {
    present.at = at;
    present.made[present.view] = made;
  };

  // Of what is held the one that differs least from `wanted`, where the `firm` choices count first.
  function nearest(wanted, firm) {
    const alike = ({chosen}) => wanted.reduce((sum, choice, k) =>
      sum + (chosen[k] === choice) * (firm.includes(k) ? wanted.length + 1 : 1), 0);
    return held().reduce((best, each) => (alike(each) > alike(best) ? each : best));
  }

  function choose(k, choice) {
    const before = chosen_now();
    take(nearest(before.with(k, choice), [k]));
    say_what_moved(before, `with ${asked()[k].label} ${value_of(chosen_now(), k).title}`, k);
    go();
  }

  function open(name) {
    if (name === present.view) return;
    present.view = name;
    const before = chosen_now();
    take(nearest(before, []));
    say_what_moved(before, "in this view");
    go();
  }

  // What could not stay as it was, besides the choice that was made.
  function say_what_moved(before, where, made = -1) {
    const now = chosen_now();
    const moved = now.flatMap((_, k) => (k !== made && before[k] !== now[k] ? [k] : []));
    const said = (words, chosen) => moved.map((k) => `${asked()[k].label}${words} ${value_of(chosen, k).title}`).join(", ");
    say(moved.length ? `${said(" is now", now)}: this site does not hold ${said("", before)} ${where}.` : "");
  }

  const say = (what) => { text(notice, what); notice.hidden = !what; };

  function fields(place, asked, from) {
    place.replaceChildren();
    return asked.map(({label, values}, k) => {
      const field = element("label", "", place, {textContent: label, hidden: values.length === 1});
      const select = element("select", "", field);
      for (const {title} of values) element("option", "", select, {textContent: title});
      select.addEventListener("change", () => choose(from + k, select.selectedIndex));
      return select;
    });
  }

  const of_experiment = fields(find(".grid.of-experiment"), parameters, 0);
  let own = {view: "", selects: []};

  // Marks what is chosen, in the fields that the view has.
  function mark_fields() {
    const from = is_about() ? parameters.length : 0;
    if (own.view !== present.view)
      own = {view: present.view, selects: fields(find(".grid.own"), view().choices, from)};
    find(".grid.of-experiment").hidden = !is_about();
    const place = find(".grid.own");
    place.hidden = own.selects.length === 0;
    if (is_about()) stage.after(place); // the plot first, as on the live page
    else stage.before(place);
    const chosen = chosen_now();
    [...(is_about() ? of_experiment : []), ...own.selects].forEach((select, k) => {
      select.selectedIndex = chosen[k];
    });
  }

  const mark = mhc.doors(find(".doors"), {groups, choose: open, present: () => show_to(true)});

  // ---- the presenter's view -------------------------------------------------------------------

  const ACTIONS = {
    play: () => shown && mhc.play(shown.doc),
    faster: () => shown && mhc.faster(shown.doc),
    reset() {
      Object.assign(present, first);
      show();
    },
  };

  const story = mhc.story(find(".story"), {
    scenes: [],
    served: false,
    present: () => ({...present, scene: "", way: "whole", revealed: "", title: titles.get(present.view)}),
    ask: (what) => (typeof what === "string" ? ACTIONS[what]?.() : show_to(what.presenting)),
  });

  function draw_story() {
    host.classList.toggle("large", present.presenting);
    story.draw();
  }

  function show_to(presenting) {
    present.presenting = presenting;
    note(history.replaceState);
    draw_story();
  }

  // ---- the link -------------------------------------------------------------------------------

  function link() {
    const said = [["view", present.view]];
    asked().forEach(({name}, k) => {
      // A choice of the view's own is left out while it is the usual one, as on the live page.
      const chosen = chosen_now();
      if (k < parameters.length && is_about()) said.push([name, value_of(chosen, k).value]);
      else if (chosen[k] !== 0) said.push([name, in_link(value_of(chosen, k).value)]);
    });
    if (is_about()) for (const name of Object.keys(ends)) said.push([name, present[name]]);
    for (const name of of_view)
      if (shown?.sliders[name] && present[name] !== shown.sliders[name].usual) said.push([name, present[name]]);
    for (const [name, value] of Object.entries(usual))
      if (present[name] !== value) said.push([name, present[name]]);
    if (present.presenting) said.push(["present", 1]);
    return `#${new URLSearchParams(said)}`;
  }

  const in_link = (value) => (typeof value === "boolean" ? Number(value) : value);

  // Takes what the link says; what this site does not have is corrected, and said.
  function take_link() {
    const given = new URLSearchParams(location.hash.slice(1));
    const wrong = [];
    const name = given.get("view");
    if (titles.has(name)) present.view = name;
    else if (name !== null) wrong.push(`view=${name}`);
    const wanted = chosen_now();
    const firm = [];
    for (const [k, {name, values}] of asked().entries()) {
      const choice = given.has(name)
        ? values.findIndex(({value}) => String(in_link(value)) === given.get(name)
          || (typeof value === "number" && value === Number(given.get(name))))
        : is_about() && k < parameters.length ? wanted[k] : 0;
      if (choice < 0) wrong.push(`${name}=${given.get(name)}`);
      else wanted[k] = choice;
      if (choice >= 0 && given.has(name)) firm.push(k);
    }
    take(nearest(wanted, firm));
    const now = chosen_now();
    for (const k of firm)
      if (now[k] !== wanted[k]) wrong.push(`${asked()[k].name}=${in_link(value_of(wanted, k).value)} with the rest`);
    const whole = {...ends, zoom: [2, ends.depth[1]], step: [0, Infinity], replay: [1, Infinity]};
    for (const [name, [start, end]] of Object.entries(whole)) {
      if (!given.has(name)) {
        if (!(name in ends)) present[name] = first[name];
        continue;
      }
      const value = Number(given.get(name));
      if (Number.isInteger(value) && start <= value && value <= end) present[name] = value;
      else wrong.push(`${name}=${given.get(name)}`);
    }
    present.scale = given.get("scale") === "near" ? "near" : "full";
    present.pinned = places(given.get("pinned"));
    if (given.has("pinned") && !present.pinned) wrong.push(`pinned=${given.get("pinned")}`);
    present.presenting = given.get("present") === "1";
    say(wrong.length ? `Not on this site: ${wrong.join(", ")}. Shown is what is nearest.` : "");
    draw_story();
  }

  // The projections in their places that a link names, or null.
  function places(text) {
    const found = text?.split(",") ?? [];
    const taken = found.filter((name) => name !== pins.free);
    const good = taken.every((name) => pins.names.includes(name)) && new Set(taken).size === taken.length;
    return good && 0 < found.length && found.length <= pins.most ? found : null;
  }

  let noting = 0;
  function note_moves(state) {
    for (const name of [...Object.keys(ends), ...of_view])
      if (name in shown.sliders) present[name] = state[name];
    present.scale = state.scale;
    note_soon();
  }

  function note_soon() {
    clearTimeout(noting); // browsers refuse a hundred changes in a few seconds
    noting = setTimeout(() => note(history.replaceState), 250);
  }

  // A frame that was written into its page has no address of its own.
  function note(change) {
    try {
      if (location.hash !== link()) change.call(history, null, "", link());
    } catch {}
  }

  // ---- what is shown --------------------------------------------------------------------------

  function close({doc, stop, saved}) {
    mhc.halt(doc);
    stop();
    saved();
    mhc.discard(doc);
  }

  let last = new Map(); // what was read for the view that is shown, by address

  // Reads the files of a view; what the view that is shown has too is there already.
  async function read_all(file) {
    const now = new Map(Object.values(file).map((k) => [names[k], last.get(names[k]) ?? read(names[k])]));
    last = now;
    const found = await Promise.all(Object.entries(file).map(
      async ([what, k]) => [what, await now.get(names[k])])).catch((error) => {
      last = new Map();
      throw error;
    });
    // The part is changed when it is drawn.
    return found.map(([what, each]) => [what, what === "part" ? structuredClone(each) : each]);
  }

  const scripts = new Map(); // those that single views need, by address: promises

  function load(address) {
    if (!scripts.has(address)) scripts.set(address, new Promise((onload, failed) => {
      const onerror = () => {
        scripts.delete(address);
        failed(new Error(address));
      };
      document.head.append(Object.assign(document.createElement("script"), {src: address, onload, onerror}));
    }));
    return scripts.get(address);
  }

  function go() {
    note(history.pushState);
    return show();
  }

  async function show() {
    const mine = ++turn;
    clearTimeout(noting);
    mark(present.view);
    document.title = `${titles.get(present.view)} · mHC`;
    mark_fields();
    draw_story();
    stage.ariaBusy = "true";
    const file = view().files[is_about() ? present.at : 0][present.made[present.view]];
    let found = null;
    try {
      if (file) [found] = await Promise.all([read_all(file), ...view().scripts.map(load)]);
    } catch {
      if (mine === turn) fail("This could not be loaded: there is no network, and it was not seen before.");
      return;
    }
    if (mine !== turn) return;
    if (!file) return fail(`With ${value_of(chosen_now(), 0).title} streams this view is too large for a file: `
      + "choose fewer. A server shows it.");
    const {part, ...tables} = Object.fromEntries(found);
    empty();
    stage.innerHTML = part.html;
    const drawn = await mhc.embed.start(host, with_tables(part, tables), stage, position(part.data));
    if (mine !== turn) return close({...drawn, saved() {}});
    shown = {...drawn, sliders: sliders_of(drawn.doc, part.data), saved: save(drawn.doc)};
    if (present.zoom !== usual.zoom) mhc.zoom(drawn.doc, present.zoom);
    stage.ariaBusy = "false";
    mhc.listen(drawn.doc, note_moves);
  }

  // The part's data, with what other views or choices show as well in its place.
  function with_tables({data, common}, tables) {
    const [variant] = data.variants;
    variant.tags = {};
    for (const [what, {columns, tags, note, fixed = []}] of Object.entries(tables)) {
      const id = common[what];
      variant.tables[id] = columns;
      if (tags) variant.tags[id] = tags;
      if (note) stage.querySelector(".words").innerHTML = note;
      for (const name of fixed) {
        stage.querySelector(`.range[data-name="${name}"]`)?.remove();
        delete data.sliders[name];
      }
    }
    data.signal.chosen.zoom = present.zoom;
    if (data.variants[0].compared) choose_among_all(data);
    return data;
  }

  // Of a view that has all projections at once: which of them is chosen, for the headline, and which pinned.
  function choose_among_all(data) {
    const at = parameters.findIndex(({name}) => name === "projection");
    const {value, told} = parameters[at].values[experiments[present.at][at]];
    data.projected = told;
    const [{compared}] = data.variants;
    compared.chosen = value;
    compared.pinned = present.pinned ?? compared.pinned;
  }

  // Where its sliders and its scale are to begin.
  function position({sliders}) {
    const moved = Object.keys(ends).filter((name) => name in sliders).map((name) => [name, present[name]]);
    if (present.replay !== null && sliders.replay) moved.push(["replay", Math.min(present.replay, sliders.replay.end)]);
    return {...Object.fromEntries(moved), step: present.step, scale: present.scale};
  }

  // The sliders that it has, with where those of its own begin.
  function sliders_of(doc, {sliders}) {
    const steps = doc.get_model_by_name("half-steps");
    return {
      ...sliders,
      ...(sliders.replay && {replay: {...sliders.replay, usual: sliders.replay.start}}),
      ...(steps && {step: {usual: 0}}),
    };
  }

  // The buttons that save the plots, below them.
  function save(doc) {
    const place = find(".saved");
    place.replaceChildren();
    const stop = mhc.plots(element("div", "", place), doc, link);
    return () => {
      stop();
      place.replaceChildren();
    };
  }

  function empty() {
    if (shown) close(shown);
    shown = null;
    stage.replaceChildren();
  }

  function fail(why) {
    empty();
    host.querySelector(".mhc-still")?.remove();
    element("p", "missing", stage, {textContent: why, role: "status"});
    stage.ariaBusy = "false";
  }

  host.addEventListener("mhc-choice", ({detail}) => {
    Object.assign(present, detail);
    note_soon();
  });
  addEventListener("hashchange", () => {
    take_link();
    show();
  });
  take_link();
  show();
};
