/* The standalone file and the fragment (mhc_demo/export/embed/): what the server does for the page.

   Each is in a shadow root of its own, which Python has written, so that neither the host's styles
   nor another fragment interfere. */
"use strict";
mhc.embed = (() => {
  const {get, element} = mhc;

  // The inverse of `pack` in mhc_demo/figures/packed.py.
  function unpack({row, steps, unknown = [], zero = []}, per_unit) {
    const whole = new Float64Array(steps);
    for (let i = 1; i < whole.length; i++) {
      if (i >= 2 * row) whole[i] += whole[i - row];
      else if (i % row) whole[i] += whole[i - 1];
    }
    const values = whole.map((x) => x / per_unit);
    let at = 0;
    for (const step of unknown) values[at += step] = NaN;
    at = 0;
    for (const step of zero) values[at += step] = -Infinity;
    return values;
  }

  // Fills the sources with the tables of one number of streams, and says of them what is not as usual.
  function fill(doc, {tables, tags = {}}, per_unit) {
    for (const [id, said] of Object.entries(tags)) doc.get_model_by_id(id).tags = said;
    for (const [id, columns] of Object.entries(tables)) {
      const source = doc.get_model_by_id(id);
      const old = source.data instanceof Map ? Object.fromEntries(source.data) : source.data;
      const found = Object.entries(columns).map(
        ([name, packed]) => [name, unpack(packed, per_unit)],
      );
      source.data = {...old, ...Object.fromEntries(found)};
    }
  }

  // Colours the figures, as the page's theme does.
  function colour(doc, {color: ink, colorScheme: theme}) {
    for (const model of doc.all_models) {
      if (/Axis$/.test(model.type)) {
        model.setv({axis_label_text_color: ink, major_label_text_color: ink});
        if (model.axis_line_color !== null) model.setv({axis_line_color: ink});
      } else if (model.type === "Grid" && model.grid_line_color !== null) {
        model.setv({grid_line_color: ink});
      }
      if (model.type === "ColorBar") model.setv({major_label_text_color: ink});
      if (model.type === "Title" || model.name === "ink") model.setv({text_color: ink});
      const palettes = get(rule_of(model) ?? {}, "palettes");
      if (palettes) model.setv({palette: get(palettes, theme) ?? get(palettes, "light")});
    }
  }

  const rule_of = (model) => (model.tags.length === 1 ? model.tags[0] : null);

  /* Every figure of Bokeh listens to how a page is pinched, and never stops (seen in 3.9): what has left
     the page would be kept, canvases and all. */
  function forgetful() {
    const view = Bokeh.Models.get("Figure").prototype.default_view.prototype;
    if (!window.visualViewport || Object.hasOwn(view, "connect_signals")) return;
    const {connect_signals, remove} = view;
    const heard = new WeakMap();
    view.connect_signals = function () {
      visualViewport.addEventListener = (type, listener) => {
        EventTarget.prototype.addEventListener.call(visualViewport, type, listener);
        heard.set(this, () => visualViewport.removeEventListener(type, listener));
      };
      try {
        connect_signals.call(this);
      } finally {
        delete visualViewport.addEventListener;
      }
    };
    view.remove = function () {
      heard.get(this)?.();
      remove.call(this);
    };
  }

  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));

  /* Draws `data` into the elements that Python has written into `root`, with the sliders at `position`.
     `pause({doc, paint, stop}, plots)` is awaited before the first plot, and after each with their
     number so far.  By default the first plot is painted before the others are built. */
  async function start(host, data, root = host.shadowRoot, position = {},
    pause = (drawn, plots) => plots === 1 && painted()) {
    forgetful();
    const find = (selector) => [...root.querySelectorAll(selector)];
    const doc = Bokeh.require("document").Document.from_json(data.doc);
    let shown = data.variants[data.first];
    fill(doc, shown, data.per_unit);
    Object.assign(mhc.state_of(doc), position);
    for (const model of doc.all_models)
      if (typeof rule_of(model) === "object" && get(rule_of(model) ?? {}, "select")) mhc.cut(model);

    const themes = [matchMedia("(prefers-color-scheme: dark)"), matchMedia("print")];
    const paint = () => colour(doc, getComputedStyle(host.shadowRoot.querySelector("article")));
    paint();
    for (const theme of themes) theme.addEventListener("change", paint);

    if (mhc.state_of(doc).scale !== "full") mhc.scale(doc, mhc.state_of(doc).scale);
    for (const el of find(".scale")) mhc.scale_control(el, doc, () => {});
    for (const el of find(".headline")) mhc.headline(el, doc, () => data.projected);
    for (const el of find(".range"))
      mhc.range(el, doc, {...data.sliders[el.dataset.name], name: el.dataset.name, tell() {}});
    mhc.listen(doc, ({iterations}) => {
      for (const el of find(".legend .projected")) el.classList.toggle("off", iterations === 0);
      for (const el of find(".plot.of-projected")) el.hidden = iterations === 0;
    });
    for (const el of find(".signal")) signal(host, el, doc, data);
    const tables = find(".comparison").map((el) => comparison(host, root, el, doc, shown.compared));
    const again = find(".mhc-laws").map((el) => mhc.laws(el, doc, () => shown.laws));
    for (const input of find(".choice input")) {
      input.addEventListener("change", () => {
        shown = data.variants[Number(input.value)];
        fill(doc, shown, data.per_unit);
        find(".words").forEach((el, i) => { el.innerHTML = shown.words[i]; });
        again.forEach((say) => say());
      });
    }
    let silence = () => {};
    const drawn = {doc, paint, stop() {
      silence();
      tables.forEach((stop) => stop());
      for (const theme of themes) theme.removeEventListener("change", paint);
    }};
    await pause(drawn, 0);
    const [place, ...places] = find(".plot");
    const rest = doc.roots().filter((model) => model.type === "Figure").slice(1);
    for (const figure of rest) doc.remove_root(figure);
    const spaces = doc.roots().map((model) => (model.type === "Figure" ? place : null));
    await Bokeh.embed.add_document_standalone(doc, root, [...spaces, ...places]);
    host.querySelector(".mhc-still")?.remove();
    await pause(drawn, 1);
    for (const [i, figure] of rest.entries()) {
      doc.add_root(figure);
      await pause(drawn, i + 2);
    }
    for (const el of find(".steps")) mhc.stepper(el, doc);
    for (const el of find(".turning")) mhc.floor_controls(el, doc);
    for (const el of find(".rows")) mhc.floor_table(el, doc);
    mhc.refresh(doc, "depth", "iterations");
    silence = mhc.describe(doc);
    return drawn;
  }

  // The controls of the picture of a signal: those that need no server, or (the first page) all.
  function signal(host, el, doc, {signal: {chosen, offered}}) {
    const show = mhc.signal_controls(el, host.offered ?? offered, (change) => {
      show(Object.assign(chosen, change));
      if ("zoom" in change) mhc.zoom(doc, change.zoom);
      host.dispatchEvent(new CustomEvent("mhc-choice", {detail: change}));
    });
    show(chosen);
  }

  // The table of all projections, and one layer under each: those that are pinned are drawn in colour.
  function comparison(host, root, el, doc, said) {
    const {rows, free, most, matrices, layer, streams, chosen} = said;
    const pin = (now) => {
      show(now);
      host.dispatchEvent(new CustomEvent("mhc-choice", {detail: {pinned: now}}));
    };
    const table = mhc.comparison(el, doc, {...said, pin});
    const each = mhc.each_matrix(root.querySelector(".each"), doc, {rows, free, most, opened: false, pin, open() {}});
    function show(pinned) {
      table.show({chosen, pinned, streams, times: {}, timed: "", measuring: false});
      each.show(matrices, pinned, layer);
    }
    show(said.pinned);
    return () => {
      table.stop();
      each.stop();
    };
  }

  // A page of its own is printed as it is drawn, made smaller; what is dark is turned over (dom.js).
  function printable(host) {
    let end = null;
    addEventListener("beforeprint", () => {
      const {theme} = host.dataset;
      const dark = getComputedStyle(host).colorScheme === "dark";
      const unprint = mhc.prepare_paper(host, dark);
      if (dark) host.dataset.theme = "dark";
      end ??= () => {
        unprint();
        host.dataset.theme = theme;
      };
    });
    addEventListener("afterprint", () => {
      end?.();
      end = null;
    });
  }

  function missing(host, version) {
    const notice = element("p", "missing", host.shadowRoot.querySelector("article"));
    notice.textContent = `The plots need BokehJS ${version} (bokeh.min.js), which this page has not loaded.`;
  }

  // The BokehJS that draws the documents of `version`: it, or a later minor version.  A host may have
  // loaded another one for its own plots; then ours stands in that one, under its number.
  function loaded(version) {
    const [major, least] = version.split(".").map(Number);
    const first = window.Bokeh ?? {};
    const numbers = Object.keys(first).filter((name) => /^\d+\.\d+\./.test(name));
    return [first, ...numbers.map((name) => first[name])].find((each) => {
      const [theirs, minor] = (each.version ?? "0.0").split(".").map(Number);
      return theirs === major && minor >= least;
    });
  }

  // The first part that has not begun, in the order of the document, in shadow roots too.
  function next(root = document) {
    for (const el of root.querySelectorAll("*")) {
      if (el.matches(".mhc-demo:not([data-begun])")) return el;
      const within = el.shadowRoot && next(el.shadowRoot);
      if (within) return within;
    }
  }

  // Keys that move a control are no one else's: slides, for example, turn by the same.  A host cannot
  // see that a control has the focus, because a shadow root hides it.
  const MOVING = /^(Arrow(Left|Right|Up|Down)|Home|End|Enter| )$/;
  function keep_keys(host) {
    host.addEventListener("keydown", (event) => {
      const [target] = event.composedPath();
      if (MOVING.test(event.key) && target.matches("input, select, button")) event.stopPropagation();
    });
  }

  // Returns a promise of {doc; paint, for another theme; stop}, or nothing if BokehJS comes later.
  const embed = (host, data) => {
    host.dataset.begun = "";
    if (!host.shadowRoot) { // by an older browser, or by a host's script
      host.attachShadow({mode: "open"}).append(host.querySelector("template").content);
    }
    if (data.whole && parent === window) host.classList.add("alone");
    if (data.whole) printable(host);
    if (data.whole && parent !== window) mhc.tell_height(host);
    if (!data.whole) keep_keys(host);
    const begin = () => {
      const found = loaded(data.bokeh);
      if (!found) return missing(host, data.bokeh);
      Bokeh = found; // of these scripts alone: see `html` in mhc_demo/export/embed/page.py
      return start(host, data);
    };
    if (loaded(data.bokeh)) return begin();
    // A host may load BokehJS later than the fragment.
    if (document.readyState === "complete") return begin();
    addEventListener("load", begin, {once: true});
  };
  return Object.assign(embed, {start, painted, next, printable});
})();
