/* The comparison of projections: the table, what is pinned in it, and how the plots draw that.

   Up to six projections are pinned, each in a place, which gives it its stroke: see
   mhc_demo/figures/compare.py.  The link carries the places. */
"use strict";
Object.assign(mhc, (() => {
  const {get, element, text, in_label, significant, scientific, write_gain, fate, verdict, on, listen} = mhc;

  // Names at the right ends of lines, as near to them as they can stand without overlapping.  A
  // line that has left the plot gets an arrow, and its gain at the present depth.
  function labels({figure, lines, now, text, places, last, direction}) {
    const sizes = [figure.properties.inner_width, figure.properties.inner_height];
    if (sizes.some((size) => size.is_unset || !size.get_value())) return; // not laid out yet
    const [width, height] = sizes.map((size) => size.get_value());
    const [, ticks] = /^([\d.]+)px$/.exec(figure.left[0].major_label_text_font_size) ?? [0, 12];
    const size = Number(ticks) + 1;
    // "Spectral ball ↓ 10⁻¹⁵·²", and the stroke that leads there; the same wherever the dial is.
    const drawn = now.flatMap(({data}) => get(data, "label").filter((_, i) => get(data, "alpha")[i]));
    const longest = Math.max(9, ...drawn.map((label) => label.length));
    const room = 0.55 * (longest + 9) * size + 14;
    const pixel = (last + 1) / Math.max(width - room, 1);
    figure.x_range.end = width * pixel;
    const {start, end} = figure.y_range;
    const found = [];
    now.forEach(({data}, group) => {
      get(data, "projection").forEach((_, i) => {
        const label = get(data, "label")[i];
        const line = get(lines[group].data, `${label}, ${direction}`);
        const at = line[line.length - 1];
        if (Number.isNaN(at) || !get(data, "alpha")[i]) return; // not there, or grey
        const arrow = at > end ? "↑" : at < start ? "↓" : "";
        const gain = arrow && ` ${arrow} ${in_label(get(data, direction)[i])}`;
        const y = Math.min(Math.max(at, start), end);
        found.push({at, y, text: label + gain, colour: get(data, "colour")[i]});
      });
    });
    found.sort((a, b) => b.at.toFixed(3) - a.at.toFixed(3)); // equal ones stay in their order
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

  // ---- what is pinned ------------------------------------------------------------------------

  const ages = new WeakMap(); // Bokeh document -> those that are pinned, the oldest first

  // The places after a click: a seventh takes that of the oldest.
  function toggled(doc, pinned, name, most, free) {
    const places = [...pinned];
    const taken = places.filter((each) => each !== free);
    const known = (ages.get(doc) ?? []).filter((each) => taken.includes(each));
    const oldest = [...known, ...taken.filter((each) => !known.includes(each))];
    if (taken.includes(name)) {
      places[places.indexOf(name)] = free;
    } else {
      while (places.length < most) places.push(free);
      const at = places.indexOf(free);
      places[at < 0 ? places.indexOf(oldest.shift()) : at] = name;
      oldest.push(name);
    }
    ages.set(doc, oldest);
    while (places.length > 1 && places.at(-1) === free) places.pop();
    return places;
  }

  // How the plots draw each projection, the one under the pointer over all others.
  function looks({places, own, rest}, names, pinned, hovered) {
    return new Map(names.map((name) => {
      const place = pinned.indexOf(name);
      const look = place < 0 ? rest : {alpha: 1, ...(own[name] ?? places[place])};
      const over = name === hovered;
      return [name, {
        alpha: 1, ...look, pinned: place >= 0,
        ...(over && {alpha: 1, width: look.width + 2, colour: place < 0 ? "#7d858d" : look.colour}),
        shown: over || place >= 0,
      }];
    }));
  }

  const ours = {sync: false}; // Python draws the same by itself

  // Gives lines, dots and labels the looks of their projections.
  function dress(doc, sources, found) {
    const by_label = new Map();
    for (const {data} of sources)
      get(data, "projection").forEach((name, i) => by_label.set(get(data, "label")[i], found.get(name)));
    for (const direction of ["forward", "backward"]) {
      const figure = doc.get_model_by_name(`compare-${direction}`);
      if (!figure) continue; // it is about to come, as Python has dressed it
      const curves = figure.renderers.filter((r) => r.name?.endsWith(`, ${direction}`));
      const look_of = ({name}) => by_label.get(name.slice(0, -direction.length - 2));
      for (const curve of curves) {
        const {colour, width, dash, alpha} = look_of(curve);
        const {glyph} = curve;
        if (glyph.line_color.value === colour && glyph.line_width.value === width) continue;
        glyph.setv({
          line_color: {value: colour}, line_width: {value: width}, line_dash: {value: dash},
          line_alpha: {value: alpha},
        }, ours);
      }
      // Grey ones first, then from wide to narrow: what coincides stays visible.
      const rank = (curve) => (look_of(curve).pinned ? 100 - look_of(curve).width : 0);
      const ranks = curves.map(rank);
      if (ranks.some((each, i) => i && each < ranks[i - 1])) {
        const sorted = curves.toSorted((a, b) => rank(a) - rank(b));
        const others = figure.renderers.map((r) => (curves.includes(r) ? sorted.shift() : r));
        figure.setv({renderers: others}, ours);
      }
    }
    for (const source of sources) {
      const names = [...get(source.data, "projection")];
      const [colour, alpha] = ["colour", "alpha"].map((key) => [...get(source.data, key)]);
      const new_colour = names.map((name) => found.get(name).colour);
      const new_alpha = names.map((name) => Number(found.get(name).shown));
      if (colour.join() === new_colour.join() && alpha.join() === new_alpha.join()) continue;
      const data = source.data instanceof Map ? Object.fromEntries(source.data) : source.data;
      source.setv({data: {...data, colour: new_colour, alpha: new_alpha}}, ours);
    }
  }

  // ---- the table -----------------------------------------------------------------------------

  // A distance has three digits, or where they would be many zeros a power of ten.
  const distance = (x) => {
    if (Number.isNaN(x)) return "—";
    if (x === 0 || (x >= 1e-3 && x < 1e3)) return significant(x, 3);
    return scientific(Math.log10(x), 0);
  };
  const share = (x) => (Number.isNaN(x) ? "—" : x.toFixed(3));
  const time = (ns) => {
    if (ns === undefined || Number.isNaN(ns)) return "—";
    return ns < 999.5 ? `${significant(ns, 3)} ns` : `${significant(ns / 1000, 3)} µs`;
  };
  const SIGNS = ["▼", "▽", "●", "△", "▲"]; // of the fates from vanishing to exploding
  const FATES = ["vanishes", "shrinks", "holds", "grows", "explodes"];

  // What becomes of a composite with that norm, as a sign and in words.
  function told(norm, streams) {
    if (Number.isNaN(norm)) return {sign: "", words: "—", kind: ""};
    const at = fate(norm) + 2;
    const within = at === 3 && norm <= Math.log10(streams) + 1e-6; // the rounding of float32
    return {
      sign: within ? "◐" : SIGNS[at], words: within ? `within ${streams}` : verdict(norm), kind: FATES[at],
    };
  }

  const FIRST_UP = ["distance", "time", "name", "published"]; // what is sorted upwards first

  // A table of what the sources "compare-still", "compare-moving" and "compare-layers" hold.  Without
  // `measure` there is nothing that could take times.
  function comparison(el, doc, {rows, columns, strokes, free, pin, measure}) {
    el.classList.add("mhc-compare");
    const bar = element("div", "bar", el);
    const caption = element("p", "", bar, {id: "mhc-compare-caption"});
    const button = element("button", "", bar, {type: "button"});
    button.addEventListener("click", measure);
    const scroll = element("div", "scroll", el, {tabIndex: 0, role: "region", ariaLabel: "All projections"});
    const grid = element("table", "", scroll);
    grid.setAttribute("aria-describedby", caption.id);
    const head = element("tr", "", element("thead", "", grid));
    const body = element("tbody", "", grid);
    const account = element("p", "account", el);
    let [shown, hovered, sorted, frame] = [{pinned: [], times: {}, streams: 1}, null, null, null];
    const numbers = new Map(rows.map(({name}) => [name, {}])); // by quantity

    // Headings, each with its explanation and a button that sorts.
    const headings = [{quantity: "name", manner: "name", heading: "Projection"}, ...columns].map((column) => {
      const node = element("th", column.manner, head, {scope: "col"});
      element("span", "heading", node, {innerHTML: column.heading});
      const sorter = element("button", "sort", node, {type: "button", ariaLabel: `Sort by ${node.textContent}`});
      if (column.marks) {
        const marks = element("span", "marks", node, {ariaHidden: "true"});
        for (const [mark] of column.marks) element("span", "", marks, {textContent: mark});
      }
      node.addEventListener("click", () => sort(column));
      return {column, node, sorter};
    });

    const lines = new Map(rows.map((row) => {
      const line = element("tr", "", body);
      const first = element("th", "name", line, {scope: "row"});
      const pinner = element("button", "pin", first, {type: "button", ariaLabel: `Draw ${row.label}`});
      pinner.innerHTML = `<svg width="30" height="10" aria-hidden="true"><line x1="1" y1="5" x2="29" y2="5"/></svg>`;
      element("span", "full", first, {innerHTML: row.title});
      element("span", "short", first, {innerHTML: row.short});
      const cells = columns.map((column) => {
        const node = element("td", column.manner, line);
        if (column.manner === "promises") promises(node, column.marks, row.promises);
        if (column.manner === "published") node.innerHTML = row.published;
        return {column, node};
      });
      const found = {row, line, pinner, cells, stroke: pinner.querySelector("line")};
      line.addEventListener("pointerenter", () => hover(row.name));
      line.addEventListener("pointerleave", () => hover(null));
      pinner.addEventListener("focus", () => hover(row.name));
      pinner.addEventListener("blur", () => hover(null));
      line.addEventListener("click", (event) => {
        const term = event.composedPath().some((node) => node.classList?.contains("term"));
        if (term && (event.pointerType === "touch" || event.detail === 0)) return; // it is explained
        event.stopPropagation(); // else a click would keep the explanation open
        pin(toggled(doc, shown.pinned, row.name, strokes_most, free));
      });
      return [row.name, found];
    }));
    const strokes_most = get(strokes, "places").length;
    const look = {
      places: get(strokes, "places").map(plain), rest: plain(get(strokes, "rest")),
      own: Object.fromEntries(entries(get(strokes, "own")).map(([name, each]) => [name, plain(each)])),
    };

    function promises(node, marks, kept) {
      const words = marks.filter((_, i) => kept[i]).map(([, words]) => words);
      element("span", "spoken", node, {textContent: words.join(", ") || "none"});
      const all = element("span", "marks", node, {ariaHidden: "true"});
      kept.forEach((yes) => element("span", yes ? "kept" : "", all, {textContent: yes ? "✓" : "·"}));
    }

    function fill({line, cells}, values) {
      const {forward, backward, norm} = values;
      const {sign, words, kind} = told(norm, shown.streams);
      line.dataset.fate = kind;
      // The gain that is farther from 1 is marked, if it is not near 1.
      const larger = Math.abs(forward) >= Math.abs(backward) ? forward : backward;
      for (const {column: {quantity, manner}, node} of cells) {
        const value = values[quantity];
        if (manner === "fate") {
          if (node.dataset.told !== sign + words) {
            node.dataset.told = sign + words;
            node.innerHTML = `<span aria-hidden="true">${sign}</span> ${words}`;
          }
        } else if (manner === "gain" || manner === "norm") {
          write_gain(node, value);
          node.classList.toggle("marked", fate(value) !== 0 && (manner === "norm" || value === larger));
        } else if (manner === "distance") text(node, distance(value));
        else if (manner === "share") text(node, share(value));
        else if (manner === "time") text(node, time(shown.times[values.name]?.[quantity]));
      }
    }

    function value_of({row}, {quantity, manner}) {
      if (manner === "name") return row.label.toLowerCase();
      if (manner === "published") return row.published || NaN;
      if (manner === "promises") return row.promises.filter(Boolean).length;
      if (manner === "time") return shown.times[row.name]?.[quantity] ?? NaN;
      return numbers.get(row.name)[quantity] ?? NaN;
    }

    // Rows in the order of a column; what has no number comes last, and equal ones stay as they are.
    function order() {
      const all = [...lines.values()];
      if (sorted) {
        const {column, up} = sorted;
        const values = new Map(all.map((each) => [each, value_of(each, column)]));
        const none = (x) => Number.isNaN(x);
        all.sort((a, b) => {
          const [x, y] = [values.get(a), values.get(b)];
          if (none(x) || none(y)) return none(x) - none(y);
          return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
        });
      }
      if (all.every(({line}, i) => body.children[i] === line)) return;
      const root = el.getRootNode();
      const focus = root.activeElement;
      body.append(...all.map(({line}) => line));
      if (focus && root.activeElement !== focus) focus.focus({preventScroll: true});
    }

    function sort(column) {
      const first = FIRST_UP.includes(column.manner);
      if (sorted?.column !== column) sorted = {column, up: first};
      else if (sorted.up === first) sorted = {column, up: !first};
      else sorted = null; // as they were
      for (const {column: each, node, sorter} of headings) {
        const here = sorted?.column === each;
        node.ariaSort = here ? (sorted.up ? "ascending" : "descending") : null;
        text(sorter, here ? (sorted.up ? "▲" : "▼") : "");
      }
      order();
    }

    const sources = ["still", "moving", "layers"].map((name) => doc.get_model_by_name(`compare-${name}`));

    // All three sources change with a move: the rows are written once.
    function read() {
      frame = null;
      for (const {data} of sources) {
        const names = get(data, "projection");
        for (const [quantity, values] of entries(data))
          if (values.length === names.length)
            names.forEach((name, i) => { numbers.get(name)[quantity] = values[i]; });
      }
      for (const [name, each] of lines) fill(each, {...numbers.get(name), name});
      const {data} = sources[1];
      const iterations = get(data, "iterations")[0];
      text(caption, `After ${get(data, "depth")[0]} layers; what iterates, at ${iterations} `
        + `iteration${iterations === 1 ? "" : "s"}${iterations === 0 ? " (HC itself)" : ""}`);
      order();
    }
    const soon = () => { frame ??= requestAnimationFrame(read); };

    let dressing = null;
    function hover(name) {
      hovered = name;
      dressing ??= requestAnimationFrame(draw);
    }
    function draw() {
      dressing = null;
      if (!sources[0].document) return; // the view is leaving
      dress(doc, sources.slice(0, 2), looks(look, [...lines.keys()], shown.pinned, hovered));
    }

    const stops = sources.map((source) => {
      source.properties.data.change.connect(soon);
      return () => source.properties.data.change.disconnect(soon);
    });
    read();
    return {
      show: (now) => {
        shown = {...now, times: Object.fromEntries(entries(now.times))};
        const timed = Object.keys(shown.times).length > 0;
        grid.classList.toggle("timed", timed);
        text(account, shown.timed);
        text(button, shown.measuring ? "Measuring …" : "Measure times here");
        button.hidden = !measure || (timed && !shown.measuring);
        button.ariaDisabled = String(shown.measuring);
        const found = looks(look, [...lines.keys()], shown.pinned, null);
        for (const [name, {line, pinner, stroke}] of lines) {
          const {colour, width, dash, alpha, pinned} = found.get(name);
          line.classList.toggle("chosen", name === shown.chosen);
          line.classList.toggle("pinned", pinned);
          pinner.ariaPressed = String(pinned);
          stroke.setAttribute("stroke", colour);
          stroke.setAttribute("stroke-width", Math.min(width, 4));
          stroke.setAttribute("stroke-dasharray", dash.join(" "));
          stroke.setAttribute("stroke-opacity", alpha);
        }
        read();
        draw();
      },
      stop: () => {
        cancelAnimationFrame(frame);
        cancelAnimationFrame(dressing);
        stops.forEach((stop) => stop());
      },
    };
  }

  const entries = (o) => (o instanceof Map ? [...o] : Object.entries(o));
  const plain = (o) => Object.fromEntries(entries(o));

  // ---- one layer's matrix under each -----------------------------------------------------------

  // Small heatmaps, on one scale of colours: an entry beyond ±1 is as dark as ±1.  Without `choose`
  // there is one layer alone.
  function each_matrix(el, doc, {rows, free, most, layers, opened, pin, open, choose}) {
    el.classList.add("mhc-each");
    const fold = element("details", "", el, {open: opened});
    element("summary", "", fold, {textContent: "The same layer under each"});
    const line = element(choose ? "label" : "p", "", fold, {textContent: "Layer "});
    const layer = choose ? element("input", "", line, {type: "number", min: 1, max: layers}) : element("output", "", line);
    line.append(` of the first network; entries from −1 to 1 by colour, and beyond that as dark as ±1.
      A click draws the projection in the plots.`);
    const tiles = element("div", "tiles", fold);
    fold.addEventListener("toggle", () => open(fold.open));
    if (choose) layer.addEventListener("change", () => {
      if (layer.validity.valid && layer.value) choose(Number(layer.value));
    });
    let [matrices, pinned, n] = [new Map(), [], 0];
    const made = new Map();

    function tile(name, label) {
      const button = element("button", "", tiles, {type: "button"});
      button.innerHTML = `<svg viewBox="0 0 ${n} ${n}" aria-hidden="true">${
        Array.from({length: n * n}, (_, i) =>
          `<rect x="${i % n}" y="${Math.floor(i / n)}" width="0.96" height="0.96"/>`).join("")}</svg>`;
      element("span", "", button, {textContent: label});
      button.addEventListener("click", () => pin(toggled(doc, pinned, name, most, free)));
      return {button, cells: [...button.querySelectorAll("rect")], last: null};
    }

    function colour(each, values) {
      if (each.last === values) return;
      each.last = values;
      each.cells.forEach((cell, i) => {
        const x = Math.max(-1, Math.min(1, values[i]));
        cell.setAttribute("style", `fill: color-mix(in srgb, var(--${x < 0 ? "negative" : "positive"}) ${
          Math.round(100 * Math.abs(x))}%, var(--zero))`);
      });
    }

    function follow({iterations}) {
      for (const {name} of rows) {
        const [each, values] = [made.get(name), matrices.get(name)];
        if (each && values) colour(each, values[values.length > 1 ? iterations : 0]);
      }
    }

    const stop = listen(doc, follow);
    return {
      show: (now, places, at) => {
        if (!choose || layer.getRootNode().activeElement !== layer || layer.validity.valid) layer.value = at;
        matrices = new Map(entries(now));
        const [first] = matrices.values();
        const size = first ? Math.round(Math.sqrt(first[0].length)) : 0;
        if (size !== n || made.size !== matrices.size) {
          n = size;
          tiles.replaceChildren();
          made.clear();
          for (const {name, label} of rows) if (matrices.has(name)) made.set(name, tile(name, label));
        }
        pinned = places;
        for (const [name, {button}] of made) button.ariaPressed = String(pinned.includes(name));
        follow(mhc.state_of(doc));
      },
      stop,
    };
  }

  return {labels, comparison, each_matrix};
})());
