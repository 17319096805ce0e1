/* The signal, drawn (mhc_demo/figures/signal.py): lanes, ribbons, the front, and the layers' taps.

   The tables hold what the streams carry, and the weights, at every iteration count.  Each shape is
   a function from what its rule selects, the state and the rule to the columns of its source. */
"use strict";
Object.assign(mhc, (() => {
  const {get, in_label, in_words, exact} = mhc;
  const WIDE_ENOUGH = 22; // pixels of a layer from which its ribbons are drawn
  const TAPPED = 16; // layers up to which the layers' branches are drawn
  const ROOM = [0.13, 72]; // of the width, or pixels: behind the front, where the numbers stand

  const entries_of = (o) => (o instanceof Map ? o : Object.entries(o));
  const numbers = (length, value = NaN) => new Float64Array(length).fill(value);

  // What the picture shows: which layers, from where the signal comes and how far it is.
  function frame(rule, state) {
    const table = get(rule, "carried");
    const where = table.tags[0];
    const {zoom, enters_after, writes, projection, short, iterative, ...look} =
      Object.fromEntries(entries_of(get(where, "signal")));
    const depths = get(where, "depths");
    const last = depths[depths.length - 1];
    const n = get(where, "width");
    const backward = enters_after > 0;
    const front = backward ? 0 : Math.min(state.depth, last);
    const from = backward ? 0 : Math.max(0, state.depth - zoom);
    const figure = get(rule, "figure");
    const [wide, high] = ["inner_width", "inner_height"].map((name) => measured(figure, name));
    const room = Math.max(ROOM[0], wide > 0 ? Math.min(0.4, ROOM[1] / wide) : 0);
    const pixels = wide * (1 - room) / zoom;
    const ribbons = pixels >= WIDE_ENOUGH && zoom * n * n <= look.most_ribbons;
    return {
      n, zoom, wide, front, from, to: from + zoom, figure,
      // The last position that the signal has reached, of those that are seen.
      until: Math.min(from + zoom, backward ? enters_after : front),
      ribbons, pixels, writes, look,
      room: zoom * room / (1 - room),
      projection, short, iterative,
      // The lane ends where the ribbons begin.
      half: ribbons ? Math.max(0.13, Math.min(0.2, 6 / pixels)) : 0.5,
      pitch: high / (1.32 * n + 0.32),
    };
  }
  // Of a figure that is not laid out yet, 0.
  const measured = (figure, name) =>
    (figure.properties[name].is_unset ? 0 : figure[name]);

  // As `lane_height` in figures/signal.py.
  function height(log10, {smallest, at_one, linear, most}) {
    if (log10 === -Infinity || Number.isNaN(log10)) return 0;
    const part = Math.min(1, Math.asinh(Math.abs(log10) / linear) / Math.asinh(most / linear));
    return at_one + part * (log10 > 0 ? 1 - at_one : smallest - at_one);
  }

  // Sets what the figure itself shows: its range, which the zoom alone moves.
  function arrange({figure, zoom, room}) {
    const start = -0.5 - 0.01 * zoom;
    const end = zoom + 0.5 + room;
    if (figure.x_range.start !== start || figure.x_range.end !== end) figure.x_range.setv({start, end});
  }

  const NARROW = 420; // pixels below which a projection has its short name

  // What the two halves are called, and the two numbers of the headline.
  const HC_NAME = "HC, unconstrained";
  const projected_name = (title, iterative, {iterations}) =>
    iterations === 0
      ? "0 iterations: HC itself"
      : title + (iterative ? `, ${iterations} iteration${iterations === 1 ? "" : "s"}` : "");

  function lanes({log10, sign}, state, rule) {
    const f = frame(rule, state);
    arrange(f);
    const {n, half, from, until, look} = f;
    const length = Math.max(0, until - from + 1) * n;
    const out = Object.fromEntries(["layer", "stream", "log10", "sign", "left", "right", "top", "bottom",
      "top_negative", "bottom_negative", "alpha"].map((name) => [name, numbers(length)]));
    const colour = new Array(length);
    const words = new Array(length);
    for (let k = 0; k < length; k++) {
      const [x, stream] = [Math.floor(k / n), k % n];
      const at = from * n + k;
      const negative = sign[at] < 0;
      out.layer[k] = from + x;
      out.stream[k] = stream + 1;
      out.log10[k] = log10[at];
      out.sign[k] = sign[at];
      colour[k] = negative ? look.negative : look.positive;
      words[k] = (negative ? "−" : "") + exact(log10[at]);
      const tall = height(log10[at], look);
      if (tall === 0) continue;
      out.left[k] = x - half;
      out.right[k] = x + half;
      out.top[k] = stream - tall / 2;
      out.bottom[k] = stream + tall / 2;
      out.alpha[k] = 0.45 + 0.55 * tall;
      if (negative) [out.top_negative[k], out.bottom_negative[k]] = [out.top[k], out.bottom[k]];
    }
    return {...out, colour, said: words};
  }

  function ribbons({weight}, state, rule) {
    const f = frame(rule, state);
    const {n, half, look} = f;
    const held = get(get(rule, "table").tags[0], "depths");
    const out = {layer: [], from: [], to: [], weight: [], x0: [], y0: [], x1: [], y1: [], cx0: [],
                 cy0: [], cx1: [], cy1: [], width: [], colour: [], dash: []};
    if (!f.ribbons) return out;
    // As wide as the lanes' pitch has room for, but where layers are narrow, as those have.
    const room = Math.min(f.pitch, 0.65 * f.pixels);
    for (let layer = f.from + 1; layer <= f.until; layer++) {
      const row = held.indexOf(layer);
      if (row < 0) continue; // the server is about to send them
      const [x0, x1] = [layer - f.from - 1 + half, layer - f.from - half];
      const bend = 0.5 * (x1 - x0);
      for (let to = 0; to < n; to++) for (let from = 0; from < n; from++) {
        const w = weight[(row * n + to) * n + from];
        if (w === 0) continue;
        out.layer.push(layer);
        out.from.push(from + 1);
        out.to.push(to + 1);
        out.weight.push(w);
        out.x0.push(x0);
        out.x1.push(x1);
        out.cx0.push(x0 + bend);
        out.cx1.push(x1 - bend);
        out.y0.push(from);
        out.cy0.push(from);
        out.y1.push(to);
        out.cy1.push(to);
        out.width.push(Math.min(0.9 * room, Math.max(0.4, 0.2 * room * Math.abs(w))));
        out.colour.push(w < 0 ? look.negative : look.positive);
        out.dash.push(w < 0 ? "4 3" : "solid");
      }
    }
    return out;
  }

  // The numbers where the signal is by now.
  function front({log10, sign}, state, rule) {
    const f = frame(rule, state);
    const out = {x: [], y: [], text: [], said: [], layer: []};
    for (let i = 0; i < f.n; i++) {
      const k = f.front * f.n + i;
      const minus = sign[k] < 0 ? "−" : "";
      out.x.push(f.until - f.from + f.half);
      out.y.push(i);
      out.said.push(minus + in_words(log10[k]));
      out.text.push(f.pitch < 11 ? "" : minus + in_label(log10[k]));
      out.layer.push(f.front);
    }
    return out;
  }

  // Where streams carry nothing (yet); interrupted where the numbers stand.
  function rails(_, state, rule) {
    const f = frame(rule, state);
    const here = f.until - f.from;
    const behind = here + f.half + f.room; // the numbers
    const out = {x0: [], x1: [], y: []};
    for (let i = 0; i < f.n; i++) {
      const rails = [[-0.5, here], ...(behind < f.zoom ? [[behind, f.zoom + 0.5]] : [])];
      for (const [start, end] of rails) {
        out.x0.push(start);
        out.x1.push(end);
        out.y.push(i);
      }
    }
    return out;
  }

  function heading(_, state, rule) {
    const {wide, short, projection, iterative, look} = frame(rule, state);
    const title = wide < NARROW ? short : projection;
    const name = get(rule, "at") === 0 ? HC_NAME : projected_name(title, iterative, state);
    // Both halves show HC at 0 iterations, and no colour says otherwise.
    const hc = get(rule, "at") === 0 || state.iterations === 0;
    return {x: [-0.5], text: [name], colour: [hc ? look.hc : look.projected]};
  }

  // The layers' numbers, below the lower half.
  function ticks(_, state, rule) {
    const f = frame(rule, state);
    const out = {x: [], text: []};
    const most = Math.max(2, Math.min(9, Math.floor(f.wide / 90)));
    const step = [1, 2, 4, 8, 16, 32, 64].find((s) => f.zoom / s <= most) ?? 128;
    for (let layer = Math.ceil(f.from / step) * step; layer <= f.to; layer += step) {
      out.x.push(layer - f.from);
      out.text.push(layer === 0 ? "input" : `layer ${layer}`);
    }
    return out;
  }

  // Each layer's branch F: it reads the streams on its left, and writes to those on its right.
  function taps(_, state, rule) {
    const f = frame(rule, state);
    const out = {x0: [], x1: [], y0: [], y1: [], at: [], text: [], alpha: []};
    if (!f.ribbons || f.zoom > TAPPED) return out;
    const below = f.n - 0.3;
    for (let x = 1; x <= f.until - f.from; x++) {
      const [reads, writes, middle] = [x - 1 + f.half / 2, x - f.half / 2, x - 0.5];
      const lines = [
        [reads, reads, 0, below, 0.25],
        [reads, middle - 0.1, below, below, 0.25],
        [middle + 0.1, writes, below, below, f.writes ? 0.9 : 0.25],
        [writes, writes, 0, below, f.writes ? 0.9 : 0.25],
      ];
      lines.forEach(([x0, x1, y0, y1, alpha], i) => {
        for (const [name, value] of Object.entries({x0, x1, y0, y1, alpha})) out[name].push(value);
        out.at.push(middle);
        out.text.push(i === 1 ? "F" : "");
      });
    }
    return out;
  }

  // ---- morphing ----------------------------------------------------------------------------

  const MORPH = 350; // milliseconds from HC to the projection
  const NOTHING = -20; // what a stream without a signal counts as on the way, in decades

  const finite = (value) => (value === -Infinity ? NOTHING : value);
  const between = (some, others, part) =>
    some.map((value, i) => finite(value) + part * (finite(others[i]) - finite(value)));

  /* Between HC (the dial at 0) and the projection the picture changes at once and altogether: there
     lanes and ribbons grow into what they become, unless the system asks for reduced motion. */
  function morphing(draw) {
    const last = new WeakMap(); // source -> {shown, iterations, frame}
    return (selected, state, rule, source) => {
      const before = last.get(source);
      if (before) cancelAnimationFrame(before.frame);
      const now = {shown: selected, iterations: state.iterations, frame: 0};
      last.set(source, now);
      const jumps = before && (before.iterations === 0) !== (state.iterations === 0)
        && Object.entries(selected).every(([name, values]) => before.shown[name].length === values.length);
      if (!jumps || matchMedia("(prefers-reduced-motion: reduce)").matches)
        return draw(selected, state, rule);
      const start = performance.now() - 1000 / 60;
      const step = () => {
        const part = Math.min(1, (performance.now() - start) / MORPH);
        const eased = part * part * (3 - 2 * part);
        now.shown = part === 1 ? selected : Object.fromEntries(Object.entries(selected).map(
          ([name, values]) => [name, between(before.shown[name], values, eased)]));
        if (part < 1) now.frame = requestAnimationFrame(() => { source.data = step(); });
        return draw(now.shown, state, rule);
      };
      return step();
    };
  }

  // ---- its controls ------------------------------------------------------------------------

  // Shows so many layers at once.
  function zoom(doc, layers) {
    const table = doc.get_model_by_name("signal");
    if (!table) return;
    const shown = get(table.tags[0], "signal");
    if (shown instanceof Map) shown.set("zoom", layers);
    else shown.zoom = layers;
    mhc.refresh(doc, table);
  }

  function choice(parent, label, options, choose) {
    const box = mhc.element("label", "", parent);
    mhc.element("span", "", box, {textContent: label});
    const select = mhc.element("select", "", box);
    for (const [value, title] of options) mhc.element("option", "", select, {value, textContent: title});
    select.addEventListener("change", () => choose(select.value));
    return select;
  }

  /* What enters, which way, whether layers write, and how many layers are seen.  `offered` holds
     the lists {enters, direction} of [name, title], if they can be chosen here, and {zooms};
     `choose(change)` is called with what the reader chooses.  Returns `show(chosen)`. */
  function signal_controls(el, offered, choose) {
    el.classList.add("mhc-signal");
    const of_signal = offered.enters && {
      enters: choice(el, "What enters", offered.enters, (enters) => choose({enters})),
      direction: choice(el, "Direction", offered.direction, (direction) => choose({direction})),
    };
    let writes = null;
    if (of_signal) {
      const box = mhc.element("label", "writes", el);
      writes = mhc.element("input", "", box, {type: "checkbox"});
      mhc.element("span", "", box, {textContent: "Layers write"});
      writes.addEventListener("change", () => choose({writes: writes.checked}));
    }
    const group = mhc.element("div", "zooms", el, {role: "group", ariaLabel: "Layers seen"});
    mhc.element("span", "", group, {textContent: "Layers seen", ariaHidden: "true"});
    const buttons = offered.zooms.map((layers) => {
      const button = mhc.element("button", "", group, {type: "button", textContent: layers});
      button.addEventListener("click", () => choose({zoom: layers}));
      return button;
    });
    return (chosen) => {
      for (const [name, select] of Object.entries(of_signal ?? {})) select.value = chosen[name];
      if (writes) {
        writes.checked = chosen.writes;
        writes.disabled = chosen.direction === "backward";
      }
      offered.zooms.forEach((layers, i) => { buttons[i].ariaPressed = String(layers === chosen.zoom); });
    };
  }

  return {HC_NAME, projected_name, zoom, signal_controls, lane_height: height, shapes: {lanes: morphing(lanes), ribbons: morphing(ribbons), front, rails, heading, ticks, taps}};
})());
