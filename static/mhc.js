/* What moves while a slider moves.  Python computes; this file only selects and formats.

   The page (or a standalone file) holds tables of log10 gains for all iterations and depths.
   Every model whose tags carry a rule is cut from its table, or takes a property from the state
   {depth, iterations}, whenever one of the two changes: see mhc_demo/figures/slices.py, which
   documents the rules.  There is one state per Bokeh document. */
"use strict";
window.mhc = (() => {
  const get = (o, key) => (o instanceof Map ? o.get(key) : o[key]);
  const entries = (o) => (o instanceof Map ? [...o] : Object.entries(o));
  const documents = new WeakMap(); // Bokeh document -> {state, listeners, ...}

  const surface = (doc) => doc.get_model_by_name("surface");

  function page(doc) {
    let p = documents.get(doc);
    if (!p) {
      const start = get(surface(doc).tags[0], "state");
      const state = {depth: get(start, "depth"), iterations: get(start, "iterations")};
      p = {state, listeners: new Set(), timer: null, changed: new Set(), pending: new Set(),
           plays: new Set(), speed: 1};
      documents.set(doc, p);
    }
    return p;
  }

  // ---- cutting -----------------------------------------------------------------------------

  function place(rule, state) {
    const where = get(rule, "table").tags[0];
    const depths = get(where, "depths");
    const at = get(rule, "at");
    return {
      depths,
      width: get(where, "width"),
      rows: get(where, "iterations").length,
      row: get(where, "iterations").indexOf(at === undefined ? state.iterations : at),
      column: depths.indexOf(state.depth),
      ends: depths[depths.length - 1],
    };
  }

  function pick(data, start, length, stride = 1) {
    const out = new Float64Array(length);
    for (let i = 0; i < length; i++) out[i] = data[start + i * stride];
    return out;
  }

  // The values that a rule selects from one column, or null where the table does not hold them.
  function selected(rule, name, state, at) {
    const select = get(rule, "select");
    const row_length = get(rule, "cut") ? Math.min(state.depth, at.depths.length) : at.depths.length;
    if (select === "cells") return cells(rule, name, state, at);
    if (name === "@depths") return at.depths.slice(0, row_length);
    if (name.startsWith("@")) return [state[name.slice(1)]];
    const data = get(get(rule, "table").data, name);
    const {depths, width, rows, row, column} = at;
    if (select === "column") return column < 0 ? null : pick(data, column, rows, depths.length);
    if (row < 0) return null;
    if (select === "row") return pick(data, row * depths.length * width, row_length * width);
    if (column < 0) return null;
    return pick(data, (row * depths.length + column) * width, width);
  }

  // Several values of the present depth: [[name of the column, iterations or null for now], ...]
  function cells(rule, names, state, {depths, column}) {
    const table = get(rule, "table");
    const rows = get(table.tags[0], "iterations");
    return names.map(([name, fixed]) => {
      if (name.startsWith("@")) return state[name.slice(1)];
      return get(table.data, name)[rows.indexOf(fixed ?? state.iterations) * depths.length + column];
    });
  }

  function cut(source, state) {
    const rule = source.tags[0];
    const at = place(rule, state);
    if (get(rule, "exact") && at.ends !== state.depth) return; // the server is about to send it
    const data = Object.fromEntries(entries(source.data));
    for (const [to, from] of entries(get(rule, "columns"))) {
      const values = selected(rule, from, state, at);
      if (values === null) return; // the server is about to send them
      data[to] = values;
    }
    if (get(rule, "heatmap")) Object.assign(data, heatmap(data.value));
    source.data = data;
  }

  function heatmap(block) {
    const n = Math.round(Math.sqrt(block.length)) - 1;
    const power = block[block.length - 1];
    const factor = power === 0 ? "" : ` × 10${superscript(power)}`;
    const inside = [...block].map((v, i) => i % (n + 1) < n && i < n * (n + 1));
    const largest = Math.max(Math.min(1, 4 / n), ...[...block].filter((v, i) => inside[i]).map(Math.abs));
    const text = [...block].map((v) => minus(v.toFixed(2)));
    const exact = [...block].map((v) => minus(String(Number(v.toPrecision(6)))) + factor);
    const corner = block.length - 1;
    text[corner] = exact[corner] = factor.slice(1);
    return {text, exact, shade: [...block].map((v, i) => (inside[i] ? v / largest : 0))};
  }

  function set(model, rule, state) {
    if (get(rule, "table") && place(rule, state).column < 0) return; // what it names is not there
    model[get(rule, "set")] = set_value(get(rule, "value"), state);
  }

  function set_value(value, state) {
    const name = value.slice(1);
    if (value[0] === "@") return state[name];
    if (value[0] === "?") return state[name] !== 0;
    return value.replace(/\{(\w+)\}/g, (_, name) => state[name]);
  }

  // ---- moving ------------------------------------------------------------------------------

  function follow(doc, late) {
    const {state} = page(doc);
    for (const model of doc.all_models) {
      const rule = model.tags.length === 1 ? model.tags[0] : null;
      if (rule === null || typeof rule !== "object" || get(rule, "late") !== late) continue;
      if (get(rule, "set") !== undefined) set(model, rule, state);
      else if (moves(rule, page(doc).changed)) cut(model, state);
    }
  }

  // Does a rule read any of what has changed: the depth, the iterations, its table?
  function moves(rule, changed) {
    if (changed.has(get(rule, "table"))) return true;
    const select = get(rule, "select");
    const by_iterations = select !== "column" && get(rule, "at") === undefined;
    const by_depth = select !== "row" || get(rule, "cut") === true;
    return (by_iterations && changed.has("iterations")) || (by_depth && changed.has("depth"));
  }

  // The main plot and the headline at once; the other visible plots shortly after.
  function refresh(doc, ...changed) {
    const p = page(doc);
    p.changed = new Set(changed);
    follow(doc, false);
    for (const listener of p.listeners) listener(p.state);
    changed.forEach((c) => p.pending.add(c));
    p.timer ??= setTimeout(() => {
      p.timer = null;
      p.changed = p.pending;
      p.pending = new Set();
      follow(doc, true);
    }, 25);
  }

  function move(doc, name, value) {
    const {state} = page(doc);
    value = Math.round(value);
    if (state[name] === value) return;
    state[name] = value;
    refresh(doc, name);
  }

  function listen(doc, listener) {
    page(doc).listeners.add(listener);
    listener(page(doc).state);
    return () => page(doc).listeners.delete(listener);
  }

  // ---- the dial ----------------------------------------------------------------------------

  const element = (tag, className, parent, properties = {}) => {
    const node = Object.assign(document.createElement(tag), {className, ...properties});
    parent.append(node);
    return node;
  };

  // A slider for one part of the state: the browser's own range input, which paints a move in a
  // frame, speaks to screen readers and knows the keys.  `tell` hears of moves, ten times a
  // second at most and of the last one always.
  function range(el, doc, {name, label, start, end, marks, tell}) {
    el.classList.add("mhc-range");
    const head = element("div", "head", el);
    const id = `mhc-${name}-${Math.random().toString(36).slice(2)}`;
    const title = element("label", "", head, {htmlFor: id, textContent: label});
    const output = element("output", "", head, {htmlFor: id});
    const input = element("input", "", el, {type: "range", id, min: start, max: end, step: 1});
    const scale = element("div", "marks", el, {ariaHidden: "true"});
    for (const mark of marks) {
      const at = element("span", "", scale, {textContent: mark});
      at.style.setProperty("--at", (mark - start) / (end - start));
      at.addEventListener("click", () => take(mark));
    }
    let told = 0;
    let timer = null;
    const take = (value) => {
      move(doc, name, value);
      clearTimeout(timer);
      const say = () => {
        told = performance.now();
        tell(page(doc).state[name]);
      };
      timer = setTimeout(say, Math.max(0, told + 100 - performance.now()));
    };
    input.addEventListener("input", () => take(input.valueAsNumber));
    play_button(head, doc, label, () => page(doc).state[name], take, start, end);
    return listen(doc, (state) => {
      if (input.valueAsNumber !== state[name]) input.value = state[name];
      input.style.setProperty("--at", (state[name] - start) / (end - start));
      text(output, String(state[name]));
    });
  }

  const SPEEDS = [0.5, 1, 2];
  const WHOLE_RANGE = 10_000; // milliseconds from one end to the other, at speed 1

  // Steps a value from where it is (or from the start, if it is at the end) up to the end.  Who
  // has asked for less motion gets the end at once.
  function play_button(parent, doc, label, value, take, start, end) {
    const speed = element("button", "speed", parent, {type: "button"});
    const button = element("button", "play", parent, {type: "button"});
    let timer = null;
    const say = (what, sign) => {
      button.textContent = `${sign} ${what}`;
      button.ariaLabel = `${what} ${label}`;
    };
    const stop = () => {
      clearTimeout(timer);
      timer = null;
      say("Play", "▶");
    };
    stop();
    button.addEventListener("click", () => {
      if (timer !== null) return stop();
      let now = value() >= end ? start : value();
      if (matchMedia("(prefers-reduced-motion: reduce)").matches) return take(value() >= end ? start : end);
      say("Pause", "❚❚");
      take(now);
      const step = () => {
        if (!button.isConnected || value() !== now) return stop(); // somebody took the slider
        take(++now);
        if (now >= end) stop();
        else wait();
      };
      const wait = () => {
        timer = setTimeout(step, WHOLE_RANGE / (end - start) / page(doc).speed);
      };
      wait();
    });
    speed.addEventListener("click", () => faster(doc));
    page(doc).plays.add({button, speed});
    tell_speed(doc);
  }

  // The next of three speeds, for every play button.
  function faster(doc) {
    const p = page(doc);
    p.speed = SPEEDS[(SPEEDS.indexOf(p.speed) + 1) % SPEEDS.length];
    tell_speed(doc);
  }

  function tell_speed(doc) {
    const {plays, speed} = page(doc);
    for (const each of plays) {
      text(each.speed, `${speed === 0.5 ? "½" : speed} ×`);
      each.speed.ariaLabel = `Speed of play: ${speed}`;
    }
  }

  // Press the first play button that is to be seen.
  function play(doc) {
    const {plays} = page(doc);
    for (const each of plays) {
      if (!each.button.isConnected) plays.delete(each);
      else if (each.button.checkVisibility()) return each.button.click();
    }
  }

  // ---- formatting --------------------------------------------------------------------------

  const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const superscript = (n) =>
    (n < 0 ? "⁻" : "") + [...String(Math.abs(n))].map((d) => SUPERSCRIPTS[d]).join("");
  const minus = (text) => text.replace(/^-(?=[\d.]*[1-9])/, "−").replace(/^-/, "");
  const significant = (x, digits) => String(Number(x.toPrecision(digits)));

  // A tick: the number whose log10 is given.
  function number(log10) {
    if (Math.abs(log10) < 3) return significant(10 ** log10, 3);
    return Number.isInteger(log10) ? `10${superscript(log10)}` : scientific(log10, 2);
  }

  function scientific(log10, digits) {
    let power = Math.floor(log10);
    let mantissa = Number((10 ** (log10 - power)).toFixed(digits));
    if (mantissa >= 10) [mantissa, power] = [mantissa / 10, power + 1];
    return `${mantissa} × 10${superscript(power)}`;
  }

  // For hover texts: as many digits as the table holds.
  function exact(log10) {
    if (!Number.isFinite(log10)) return log10 < 0 ? "0" : "—";
    return Math.abs(log10) < 4 ? significant(10 ** log10, 6) : scientific(log10, 3);
  }

  // For the headline: 1.14, 264, or 10 to the power of 16.1.
  function big(log10) {
    if (!Number.isFinite(log10)) return {base: log10 < 0 ? "0" : "—", power: ""};
    if (Math.abs(log10) < 2.9995) {
      const x = 10 ** log10;
      return {base: x < 99.95 ? x.toPrecision(3) : x.toFixed(0), power: ""};
    }
    return {base: "10", power: minus(log10.toFixed(1))};
  }

  const spoken = ({base, power}) => (power ? `${base} to the power of ${power}` : base);

  function verdict(log10) {
    const size = Math.abs(log10);
    if (size > 3) return log10 > 0 ? "explodes" : "vanishes";
    if (size > Math.log10(2)) return log10 > 0 ? "grows" : "shrinks";
    return "stays near 1";
  }

  // ---- the headline ------------------------------------------------------------------------

  // The composite's median gains (log10) without and with the projection, at the present state.
  function gains(doc, state) {
    const table = surface(doc);
    const where = table.tags[0];
    const depths = get(where, "depths");
    const at = (t) => {
      const i = t * depths.length + depths.indexOf(state.depth);
      const forward = get(table.data, "forward.median")[i];
      const backward = get(table.data, "backward.median")[i];
      return {forward, backward, larger: Math.max(forward, backward)};
    };
    return [at(0), at(state.iterations)];
  }

  const SIDE = `<div class="side"><div class="name"></div>
      <div class="number" aria-hidden="true"><span class="base"></span><sup></sup></div>
      <div class="sub"><b class="verdict"></b><span>forward <span class="forward"></span></span>
        <span>backward <span class="backward"></span></span></div></div>`;
  const MARKUP = `${SIDE}<div class="arrow" aria-hidden="true">→</div>${SIDE}
    <div class="spoken" role="status"></div>`;

  const text = (node, value) => {
    if (node.textContent !== value) node.textContent = value;
  };

  const named = ({projection, iterative}, {iterations}) => [
    "HC, unconstrained",
    iterations === 0
      ? "0 iterations: HC itself"
      : projection + (iterative ? `, ${iterations} iteration${iterations === 1 ? "" : "s"}` : ""),
  ];

  // Two huge numbers; one lasting live region speaks them half a second after the last move.
  // `chosen()` gives the title of the {projection}, and whether it is {iterative}.
  function headline(el, doc, chosen) {
    el.classList.add("mhc-headline");
    el.innerHTML = MARKUP;
    const sides = [...el.querySelectorAll(".side")].map((side) => ({
      side,
      name: side.querySelector(".name"),
      base: side.querySelector(".base"),
      power: side.querySelector("sup"),
      verdict: side.querySelector(".verdict"),
      forward: side.querySelector(".forward"),
      backward: side.querySelector(".backward"),
    }));
    const status = el.querySelector(".spoken");
    let timer = null;
    return listen(doc, (state) => {
      const titles = named(chosen(), state);
      const both = gains(doc, state);
      both.forEach((gain, i) => {
        const {base, power} = big(gain.larger);
        const s = sides[i];
        text(s.name, titles[i]);
        text(s.base, base);
        text(s.power, power);
        text(s.verdict, verdict(gain.larger));
        power_text(s.forward, gain.forward);
        power_text(s.backward, gain.backward);
        s.side.classList.toggle("tame", verdict(gain.larger) === "stays near 1");
      });
      clearTimeout(timer);
      timer = setTimeout(() => {
        text(
          status,
          `${state.depth} layers. ` +
            both.map((g, i) => `${titles[i]}: ${spoken(big(g.larger))}`).join(". ") + ".",
        );
      }, 500);
    });
  }

  function power_text(node, log10) {
    const {base, power} = big(log10);
    const html = power ? `${base}<sup>${power}</sup>` : base;
    if (node.innerHTML !== html) node.innerHTML = html;
  }

  // ---- comparing projections ---------------------------------------------------------------

  const compact = (log10) => {
    const {base, power} = big(log10);
    return base + [...power].map((d) => ({"−": "⁻", ".": "·"})[d] ?? SUPERSCRIPTS[d]).join("");
  };

  // Names at the right ends of lines, as near to them as they can stand without overlapping.  A
  // line that has left the plot has an arrow, and its gain at the present depth.
  function labels({figure, lines, now, text, places, last, direction}) {
    const sizes = [figure.properties.inner_width, figure.properties.inner_height];
    if (sizes.some((size) => size.is_unset || !size.get_value())) return; // not laid out yet
    const [width, height] = sizes.map((size) => size.get_value());
    const [, ticks] = /^([\d.]+)px$/.exec(figure.left[0].major_label_text_font_size) ?? [0, 12];
    const size = Number(ticks) + 1;
    const room = 10 * size + 14; // "Sinkhorn ↑ 10¹⁶·²", and the stroke that leads there
    const pixel = (last + 1) / Math.max(width - room, 1);
    figure.x_range.end = width * pixel;
    const {start, end} = figure.y_range;
    const found = [];
    now.forEach(({data}, group) => {
      get(data, "projection").forEach((_, i) => {
        const label = get(data, "label")[i];
        const line = get(lines[group].data, `${label}, ${direction}`);
        const at = line[line.length - 1];
        if (Number.isNaN(at)) return;
        const arrow = at > end ? "↑" : at < start ? "↓" : "";
        const gain = arrow && ` ${arrow} ${compact(get(data, direction)[i])}`;
        const y = Math.min(Math.max(at, start), end);
        found.push({at, y, text: label + gain, colour: get(data, "colour")[i]});
      });
    });
    found.sort((a, b) => b.at.toFixed(3) - a.at.toFixed(3)); // what coincides, in its order
    const gap = Math.min(1.3 * size, height / found.length);
    const tops = found.map(({y}) => (height * (end - y)) / (end - start));
    for (let i = 0; i < tops.length; i++)
      tops[i] = Math.max(tops[i], i ? tops[i - 1] + gap : gap / 2);
    for (let i = tops.length - 1; i >= 0; i--)
      tops[i] = Math.min(tops[i], i < tops.length - 1 ? tops[i + 1] - gap : height - gap / 2);
    text.text_font_size = `${size}px`;
    places.data = {
      x0: found.map(() => last),
      y0: found.map(({y}) => y),
      x1: found.map(() => last + 1 + 12 * pixel),
      y1: tops.map((top) => end - (top * (end - start)) / height),
      text: found.map(({text}) => text),
      colour: found.map(({colour}) => colour),
    };
  }

  // A share, a distance: three decimals where they say something, else a power of ten.
  const plain = (x) => {
    if (Number.isNaN(x)) return "—";
    if (x === 0 || (x >= 1e-3 && x < 1e3)) return x === 0 ? "0" : significant(x, 3);
    return scientific(Math.log10(x), 0);
  };
  const CELLS = {
    forward: power_text,
    backward: power_text,
    distance: (node, x) => text(node, plain(x)),
  };

  // A table of what the sources "compare-still" and "compare-moving" hold.
  function comparison(el, doc, {rows, columns}) {
    el.classList.add("mhc-compare");
    const grid = element("table", "", el);
    const caption = element("caption", "", grid);
    const head = element("tr", "", element("thead", "", grid));
    element("th", "", head, {scope: "col", textContent: "Projection"});
    for (const {heading} of columns) element("th", "", head, {scope: "col", innerHTML: heading});
    const body = element("tbody", "", grid);
    const lines = new Map();
    for (const {name, title, short, colour, dash} of rows) {
      const line = element("tr", "", body);
      const first = element("th", "", line, {scope: "row"});
      first.innerHTML = `<svg width="30" height="6" aria-hidden="true"><line x1="0" y1="3" x2="30"
        y2="3" stroke="${colour}" stroke-width="3" stroke-dasharray="${dash}"/></svg>`;
      element("span", "full", first, {innerHTML: title});
      element("span", "short", first, {innerHTML: short});
      const cells = columns.map(({quantity}) => [quantity, element("td", "", line)]);
      lines.set(name, {line, cells});
    }
    const sources = ["compare-still", "compare-moving"].map((name) => doc.get_model_by_name(name));
    function fill(source) {
      const {data} = source;
      get(data, "projection").forEach((name, i) => {
        for (const [quantity, node] of lines.get(name).cells) {
          const value = get(data, quantity)[i];
          (CELLS[quantity] ?? ((where, x) => text(where, Number.isNaN(x) ? "—" : x.toFixed(3))))(
            node, value);
        }
      });
      const iterations = get(data, "iterations")[0];
      text(caption, `After ${get(data, "depth")[0]} layers; what iterates, at ${iterations} `
        + `iteration${iterations === 1 ? "" : "s"}${iterations === 0 ? " (HC itself)" : ""}`);
    }
    const stops = sources.map((source) => {
      const changed = () => fill(source);
      changed();
      source.properties.data.change.connect(changed);
      return () => source.properties.data.change.disconnect(changed);
    });
    return {
      choose: (name) => lines.forEach(({line}, each) => line.classList.toggle("chosen", each === name)),
      stop: () => stops.forEach((stop) => stop()),
    };
  }

  // Puts text on the clipboard, also where the browser keeps its own way for safe addresses.
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = element("textarea", "", document.body, {value: text});
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }

  return {copy, move, play, faster, refresh, listen, cut: (source) => cut(source, page(source.document).state),
          range, number, exact, headline, labels, comparison, get, element, big, spoken, verdict,
          significant, minus};
})();
