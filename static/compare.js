/* The comparison of projections: names at the ends of its lines, and the table below them. */
"use strict";
Object.assign(mhc, (() => {
  const {get, element, text, in_label, significant, scientific, write_gain} = mhc;

  // Names at the right ends of lines, as near to them as they can stand without overlapping.  A
  // line that has left the plot gets an arrow, and its gain at the present depth.
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

  // A distance has three digits, or where they would be many zeros a power of ten.
  const distance = (x) => {
    if (Number.isNaN(x)) return "—";
    if (x === 0 || (x >= 1e-3 && x < 1e3)) return significant(x, 3);
    return scientific(Math.log10(x), 0);
  };
  const CELLS = {
    forward: write_gain,
    backward: write_gain,
    distance: (node, x) => text(node, distance(x)),
  };
  const write_share = (node, x) => text(node, Number.isNaN(x) ? "—" : x.toFixed(3));

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
          (CELLS[quantity] ?? write_share)(node, value);
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

  return {labels, comparison};
})());
