/* What follows the sliders: every figure is cut from tables that the browser holds.

   Python computes; this file only selects.  The page (or a standalone file) holds tables of log10
   gains for all iterations and depths.  Every model whose tags carry a rule is cut from its table,
   or takes a property from the state {depth, iterations, step, ...}, whenever one of them changes: see
   mhc_demo/figures/slices.py, which documents the rules.  Each Bokeh document has one state. */
"use strict";
Object.assign(mhc, (() => {
  const {superscript, entry, exact_entry} = mhc;
  const get = (o, key) => (o instanceof Map ? o.get(key) : o[key]);
  const entries = (o) => (o instanceof Map ? [...o] : Object.entries(o));
  const documents = new WeakMap(); // Bokeh document -> {state, listeners, ...}

  const surface = (doc) => doc.get_model_by_name("surface");

  function page(doc) {
    let p = documents.get(doc);
    if (!p) {
      const start = get(surface(doc).tags[0], "state");
      const state = {
        depth: get(start, "depth"), iterations: get(start, "iterations"), step: 0, replay: 1,
        turn: get(start, "turn") ?? 45, walk: 0, // polytope.js
        own_layer: get(start, "own_layer") ?? 1,
        scale: get(start, "scale") ?? "full", // of the gains: scale.js
      };
      p = {state, listeners: new Set(), timer: null, changed: new Set(), pending: new Set()};
      documents.set(doc, p);
    }
    return p;
  }

  const state_of = (doc) => page(doc).state;

  // ---- cutting -----------------------------------------------------------------------------

  // The slider that the "depths" of a rule's table are of.
  const along = (rule) => get(get(rule, "table").tags[0], "along") ?? "depth";

  function place(rule, state) {
    const where = get(rule, "table").tags[0];
    const depths = get(where, "depths");
    const slider = along(rule);
    const at = get(rule, "at");
    return {
      depths,
      width: get(where, "width"),
      rows: get(where, "iterations").length,
      row: get(where, "iterations").indexOf(at === undefined ? state.iterations : at),
      column: slider === "" ? 0 : depths.indexOf(state[slider]),
      ends: depths[depths.length - 1],
    };
  }

  function pick(data, start, length, stride = 1) {
    const out = new Float64Array(length);
    const unit = data instanceof Int16Array ? 1000 : 1;
    for (let i = 0; i < length; i++) out[i] = data[start + i * stride] / unit;
    return out;
  }

  // The values that a rule selects from one column, or null where the table does not hold them.
  function selected(rule, name, state, at) {
    const select = get(rule, "select");
    const row_length = get(rule, "cut") && at.column >= 0 ? at.column + 1 : at.depths.length;
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

  // Several values at the present depth: [[name of the column, iterations or null for now], ...]
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
    if (get(rule, "shape")) return shape(source, rule, state, at);
    const data = Object.fromEntries(entries(source.data));
    for (const [to, from] of entries(get(rule, "columns"))) {
      const values = selected(rule, from, state, at);
      if (values === null) return; // the server is about to send them
      data[to] = values;
    }
    if (get(rule, "heatmap")) Object.assign(data, heatmap(data.value));
    if (get(rule, "heatmap") === "sums") Object.assign(data, sums(data.value, data.text));
    source.data = data;
  }

  // A source whose columns are made, by a function of this name, from what is selected.
  function shape(source, rule, state, at) {
    const found = entries(get(rule, "columns")).map(([to, from]) =>
      [to, selected(rule, from, state, at)]);
    if (found.some(([, values]) => values === null)) return; // the server is about to send them
    const made = mhc.shapes[get(rule, "shape")](Object.fromEntries(found), state, rule, source);
    if (!same(made, source.data)) source.data = made; // Bokeh measures every text anew
  }

  const same = (some, others) => Object.entries(some).every(([name, values]) => {
    const old = get(others, name) ?? [];
    return values.length === old.length && values.every((value, i) => Object.is(value, old[i]));
  });

  function heatmap(block) {
    const n = Math.round(Math.sqrt(block.length)) - 1;
    const power = block[block.length - 1];
    const factor = power === 0 ? "" : ` × 10${superscript(power)}`;
    const values = [...block];
    const inside = values.map((v, i) => i % (n + 1) < n && i < n * (n + 1));
    const largest = Math.max(Math.min(1, 4 / n), ...values.filter((v, i) => inside[i]).map(Math.abs));
    const text = values.map(entry);
    const exact = values.map((v) => exact_entry(v) + factor);
    text[values.length - 1] = exact[values.length - 1] = factor.slice(1);
    return {text, exact, shade: values.map((v, i) => (inside[i] ? v / largest : 0))};
  }

  const sizes = new WeakMap(); // text of a heatmap -> {wanted, given}: pixels that Python set, and what fits
  const OF_CELL = 0.28; // "−1.67" is three times as wide as its type is high

  // Keeps a heatmap's numbers inside their cells.
  function fit_numbers(figure) {
    const {x_range: {start, end}, inner_width, renderers} = figure;
    for (const {glyph} of renderers) {
      if (glyph.type !== "Text" || glyph.name !== "ink") continue;
      const now = parseFloat(glyph.text_font_size.value);
      const before = sizes.get(glyph);
      const wanted = before?.given === now ? before.wanted : now;
      const given = Math.min(wanted, Math.floor(OF_CELL * inner_width / (end - start)));
      sizes.set(glyph, {wanted, given});
      if (given !== now && given > 0) glyph.text_font_size = {value: `${given}px`};
    }
  }

  // How strongly the sums of a block are marked: by how far they are from 1, or as reading 1.00.
  function sums(block, text) {
    const n = Math.round(Math.sqrt(block.length)) - 1;
    const power = block[block.length - 1];
    const of_sum = (i) => (i % (n + 1) === n) !== (i >= n * (n + 1));
    const far = (value) => (power === 0 ? Math.min(Math.abs(value - 1), 1) : 1);
    const values = [...block];
    return {
      off: values.map((value, i) => (of_sum(i) ? 0.6 * Math.sqrt(far(value)) : 0)),
      one: values.map((_, i) => (of_sum(i) && power === 0 && text[i] === "1.00" ? 0.5 : 0)),
    };
  }

  function set(model, rule, state) {
    if (get(rule, "table") && place(rule, state).column < 0) return; // the table ends before
    model[get(rule, "set")] = set_value(get(rule, "value"), state);
  }

  const LEAST = {iterations: 0, depth: 1};

  function set_value(value, state) {
    const name = value.slice(1);
    if (value[0] === "@") return state[name];
    if (value[0] === "?") return state[name] !== 0;
    if (value[0] === "!") return state[name] === LEAST[name];
    return value.replace(/\{(\w+)\}/g, (_, name) => state[name]);
  }

  // ---- moving ------------------------------------------------------------------------------

  function follow(doc, late) {
    const {state, changed} = page(doc);
    for (const model of doc.all_models) {
      const rule = model.tags.length === 1 ? model.tags[0] : null;
      if (rule === null || typeof rule !== "object" || get(rule, "late") !== late) continue;
      if (get(rule, "set") !== undefined) set(model, rule, state);
      else if (moves(rule, changed)) cut(model, state);
    }
  }

  // Does a rule read anything that has changed: the depth, the iterations, a table that it names?
  function moves(rule, changed) {
    if (entries(rule).some(([, value]) => typeof value === "object" && changed.has(value))) return true;
    const select = get(rule, "select");
    const by_iterations = select !== "column" && get(rule, "at") === undefined;
    const by_depth = select !== "row" || get(rule, "cut") === true || get(rule, "shape") !== undefined;
    return (by_iterations && changed.has("iterations")) || (by_depth && changed.has(along(rule)))
      || (get(rule, "reads") ?? []).some((name) => changed.has(name));
  }

  // The main plot and the headline at once; the other visible plots shortly after.
  function refresh(doc, ...changed) {
    if (!doc) return; // of a table whose plots have left, or are not there yet
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
    const state = state_of(doc);
    value = Math.round(value);
    if (state[name] === value) return;
    state[name] = value;
    refresh(doc, name);
  }

  // Calls `listener` with the state, now and after every move; returns what stops that.
  function listen(doc, listener) {
    page(doc).listeners.add(listener);
    listener(state_of(doc));
    return () => page(doc).listeners.delete(listener);
  }

  return {get, surface, state_of, move, refresh, listen,
          fit_numbers,
          // A plot that is leaving may change its size once more.
          cut: (source) => { if (source.document) cut(source, state_of(source.document)); }};
})());
