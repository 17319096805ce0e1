/* The page of a site that shows every view: what the server does for the live page, from files.

   An index (mhc_demo/export/grid.py) names a file for each view of each experiment of a grid; it is
   fetched when it is chosen.  The link holds what is shown, by the names of the live page's links. */
"use strict";
mhc.explore = (host, index, read) => {
  const {element, text} = mhc;
  const {groups, parameters, experiments, tables, files, of_experiment, ends} = index;
  const root = host.shadowRoot;
  const find = (selector) => root.querySelector(selector);
  const stage = find(".mhc-stage");
  const notice = find(".notice");
  const titles = new Map(groups.flatMap(({views}) => views.map(({name, title}) => [name, title])));
  const names = parameters.map(({name}) => name);
  const present = {view: groups[0].views[0].name, at: 0, ...index.start}; // `at`: the experiment
  let shown = null; // {doc, stop} of the view
  let turn = 0;
  if (parent === window) host.classList.add("alone");
  else mhc.tell_height(host);

  // ---- what is chosen -------------------------------------------------------------------------

  const value_of = (k, at) => parameters[k].values[experiments[at][k]];
  const is_about = () => of_experiment.includes(present.view);

  // The experiment that has this value, and of the others as many as can be.
  function nearest(k, choice) {
    const here = experiments[present.at];
    const alike = (each) => each.filter((chosen, i) => chosen === here[i]).length;
    const found = experiments.map((each, at) => [each[k] === choice ? alike(each) : -1, at]);
    return found.reduce((best, each) => (each[0] > best[0] ? each : best))[1];
  }

  function choose(k, choice) {
    const before = present.at;
    present.at = nearest(k, choice);
    const other = names.findIndex((_, i) => i !== k && experiments[before][i] !== experiments[present.at][i]);
    say(other < 0 ? "" : `${parameters[other].label} is now ${value_of(other, present.at).title}: `
      + `there is no ${value_of(other, before).title} with ${parameters[k].label} ${value_of(k, present.at).title}.`);
    go();
  }

  const say = (what) => { text(notice, what); notice.hidden = !what; };

  const selects = parameters.map(({label, values}, k) => {
    const field = element("label", "", find(".grid"), {textContent: label});
    const select = element("select", "", field);
    for (const {title} of values) element("option", "", select, {textContent: title});
    select.addEventListener("change", () => choose(k, select.selectedIndex));
    return select;
  });

  const mark = mhc.doors(find(".doors"), {groups, choose(view) {
    if (view === present.view) return;
    present.view = view;
    say("");
    go();
  }});

  // ---- the link -------------------------------------------------------------------------------

  function link() {
    const chosen = names.map((name, k) => [name, value_of(k, present.at).value]);
    const moved = Object.keys(ends).map((name) => [name, present[name]]);
    const about = is_about() ? [...chosen, ...moved] : [];
    return `#${new URLSearchParams([["view", present.view], ...about])}`;
  }

  // Takes what the link says; what this site does not have is corrected, and said.
  function take_link() {
    const given = new URLSearchParams(location.hash.slice(1));
    const wrong = [];
    const view = given.get("view");
    if (titles.has(view)) present.view = view;
    else if (view !== null) wrong.push(`view=${view}`);
    const wanted = new Map(); // the parameter's index: the value's
    for (const [k, {name, values}] of parameters.entries()) {
      if (!given.has(name)) continue;
      const choice = values.findIndex(({value}) => String(value) === given.get(name)
        || (typeof value === "number" && value === Number(given.get(name))));
      if (choice < 0) wrong.push(`${name}=${given.get(name)}`);
      else wanted.set(k, choice);
    }
    const misses = (each) => [...wanted].filter(([k, choice]) => each[k] !== choice);
    const best = experiments.map((each, at) => [misses(each).length, at])
      .reduce((a, b) => (b[0] < a[0] ? b : a))[1];
    if (wanted.size) present.at = best;
    for (const [k, choice] of misses(experiments[present.at]))
      wrong.push(`${names[k]}=${parameters[k].values[choice].value}`);
    for (const [name, [start, end]] of Object.entries(ends)) {
      if (!given.has(name)) continue;
      const value = Number(given.get(name));
      if (Number.isInteger(value) && start <= value && value <= end) present[name] = value;
      else wrong.push(`${name}=${given.get(name)}`);
    }
    say(wrong.length ? `Not on this site: ${wrong.join(", ")}. Shown is what is nearest.` : "");
  }

  let noting = 0;
  function note_moves({depth, iterations}, sliders) {
    for (const [name, value] of Object.entries({depth, iterations}))
      if (name in sliders) present[name] = value;
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

  function close({doc, stop}) {
    mhc.halt(doc);
    stop();
    doc.clear();
    Bokeh.documents.splice(Bokeh.documents.indexOf(doc), 1);
  }

  function go() {
    note(history.pushState);
    return show();
  }

  async function show() {
    const mine = ++turn;
    const {view, at} = present;
    clearTimeout(noting);
    mark(view);
    document.title = `${titles.get(view)} · mHC`;
    selects.forEach((select, k) => { select.selectedIndex = experiments[at][k]; });
    find(".grid").hidden = !is_about();
    stage.ariaBusy = "true";
    const file = files[view][is_about() ? at : 0];
    let part = null;
    let table = null;
    try {
      if (file) [part, table] = await Promise.all([read(file), read(tables[at])]);
    } catch {
      if (mine === turn) fail("This could not be loaded: there is no network, and it was not seen before.");
      return;
    }
    if (mine !== turn) return;
    if (!file) return fail(`With ${value_of(0, at).title} streams this view is too large for a file: `
      + "choose fewer. A server shows it.");
    part.data.variants[0].tables[part.table] = table;
    empty();
    stage.innerHTML = part.html;
    const {sliders} = part.data;
    const position = Object.fromEntries(Object.keys(ends)
      .filter((name) => name in sliders).map((name) => [name, present[name]]));
    const drawn = await mhc.embed.start(host, part.data, stage, position);
    if (mine !== turn) return close(drawn);
    shown = drawn;
    stage.ariaBusy = "false";
    mhc.listen(drawn.doc, (state) => note_moves(state, sliders));
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

  addEventListener("hashchange", () => {
    take_link();
    show();
  });
  take_link();
  show();
};
