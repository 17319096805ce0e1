/* A text alternative, a CSV file and a picture of every plot.

   A figure carries in its tags what it shows (mhc_demo/figures/contents.py); the numbers are those
   that it draws.  All of this waits until the sliders rest, and visible figures alone have it. */
"use strict";
Object.assign(mhc, (() => {
  const {get, element, in_words, verdict, significant, minus, entry} = mhc;
  const SETTLED = 500; // milliseconds after the last move or the last new data

  const contents = (figure) => figure.tags.find((tag) => get(tag, "kind") !== undefined);
  const filled = (template, state) => template.replace(/\{(\w+)\}/g, (_, name) => state[name]);
  const title_of = (figure, state) => filled(get(contents(figure), "title"), state);
  const counted = (count, thing) => `${count} ${thing}${count === 1 ? "" : "s"}`;
  const where_of = (figure, state) => {
    const {depth, iterations} = state;
    const where = get(contents(figure), "where");
    return where ? filled(where, state) : `${counted(depth, "layer")}, ${counted(iterations, "iteration")}`;
  };

  // ---- numbers -----------------------------------------------------------------------------

  // The columns of a series, [{heading, scale, unit, values}], x first; of a matrix without the
  // power of ten at its end.
  function columns(series, kind) {
    const {data} = get(series, "source");
    return get(series, "columns").map((column) => {
      const [heading, name, scale, unit, linear] =
        ["heading", "name", "scale", "unit", "linear"].map((key) => get(column, key));
      let values = [...(get(data, name) ?? [])].slice(get(series, "start"));
      if (kind === "matrix") values = values.slice(0, -1);
      if (linear != null) values = values.map((shade) => linear * Math.sinh(shade));
      return {heading: scale === "log10" ? `log10 ${heading}` : heading, scale, unit, values};
    });
  }

  const series_of = (figure) => {
    const {kind, series} = Object.fromEntries(
      ["kind", "series"].map((key) => [key, get(contents(figure), key)]));
    return series.map((each) => ({
      name: get(each, "name"),
      band: get(each, "band"),
      colour: get(each, "colour"),
      dash: get(each, "dash"),
      power: kind === "matrix" ? [...get(get(each, "source").data, "value")].at(-1) : null,
      columns: columns(each, kind),
    }));
  };

  function written(value) {
    if (typeof value !== "number") return /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
    if (Number.isNaN(value)) return "";
    return Number.isFinite(value) ? String(value) : value > 0 ? "inf" : "-inf";
  }

  // A row for each point, with all digits.
  function csv(figure) {
    const all = series_of(figure);
    const headings = [...new Set(all.flatMap((s) => s.columns.map(({heading}) => heading)))];
    const matrix = all.some(({power}) => power !== null);
    const rows = [["series", ...headings, ...(matrix ? ["times 10 to the power of"] : [])]];
    for (const {name, columns, power} of all) {
      const by_heading = new Map(columns.map(({heading, values}) => [heading, values]));
      for (let i = 0; i < columns[0].values.length; i++) {
        const row = [name, ...headings.map((heading) => by_heading.get(heading)?.[i] ?? "")];
        rows.push(matrix ? [...row, power] : row);
      }
    }
    return rows.map((row) => row.map(written).join(",") + "\r\n").join("");
  }

  // ---- words -------------------------------------------------------------------------------

  function spoken({scale, unit}, value) {
    if (scale === "log10") return in_words(value);
    if (scale === "label") return value;
    return minus(Math.abs(value) < 1 ? value.toFixed(3) : significant(value, 4)) + unit;
  }

  const has_values = ({values}) => values.some((value) => !Number.isNaN(value));
  const by_value = (values) => (i, j) => values[i] - values[j];

  function curve({name, band, columns: [x, y, ...more]}, at) {
    const [low, high] = more;
    const price = more.find(({unit}) => unit); // the time that it takes, if that is shown
    const place = (i) => x.values[i] + (price ? ` (${spoken(price, price.values[i])})` : "");
    const known = [...y.values.keys()].filter((i) => !Number.isNaN(y.values[i]));
    if (!known.length) return `${name}: nothing.`;
    const tell = (i) => spoken(y, y.values[i]);
    const sorted = known.toSorted(by_value(y.values));
    const [least, most] = [sorted[0], sorted.at(-1)];
    const [first, last] = [known[0], known.at(-1)];
    if (tell(least) === tell(most)) return `${name}: ${tell(least)} throughout.`;
    const near = known.reduce((a, b) =>
      Math.abs(x.values[b] - at) < Math.abs(x.values[a] - at) ? b : a);
    const ends = band ? [low, high].map((column) => spoken(column, column.values[near])) : [];
    const width = band && ends[0] !== ends[1] ? ` (5 to 95 %: ${ends[0]} to ${ends[1]})` : "";
    const inner = [[least, "smallest"], [most, "largest"]].filter(([i]) =>
      ![first, last].some((end) => tell(end) === tell(i)));
    return `${name}: ` + [
      `${tell(near)}${width} at ${x.heading} ${place(near)}`,
      `from ${tell(first)} at ${place(first)} to ${tell(last)} at ${place(last)}`,
      ...inner.map(([i, what]) => `${what} ${tell(i)} at ${place(i)}`),
    ].join("; ") + ".";
  }

  function curves(figure, state) {
    const along = get(contents(figure), "along");
    const [across, up] = [figure.below[0], figure.left[0]].map((axis) => axis.axis_label);
    const all = series_of(figure).filter(({columns, colour}) => !colour || has_values(columns[1]));
    return [
      `Plot at ${where_of(figure, state)}. Across: ${across}; up: ${up}.`,
      ...all.map((series) => curve(series, state[along])),
      ...(all.length ? [] : ["Nothing is drawn."]),
    ].join(" ");
  }

  function map(figure, state) {
    const {columns: [x, y, gain]} = series_of(figure)[0];
    const here = get(contents(figure), "here").data;
    const [at_x, at_y] = ["x", "y"].map((axis) => get(here, axis)[0]);
    const known = [...gain.values.keys()].filter((i) => !Number.isNaN(gain.values[i]));
    if (!known.length) return "Nothing is drawn.";
    const sorted = known.toSorted(by_value(gain.values));
    const place = (i) => `${x.heading} ${x.values[i]}, ${y.heading} ${significant(y.values[i], 3)}`;
    const far = (i) => (x.values[i] - at_x) ** 2 + (y.values[i] - at_y) ** 2;
    const near = known.reduce((a, b) => (far(b) < far(a) ? b : a));
    const tell = (i) => `${spoken(gain, gain.values[i])} at ${place(i)}`;
    const fates = new Map();
    for (const i of known) {
      const found = verdict(gain.values[i]);
      fates.set(found, (fates.get(found) ?? 0) + 1);
    }
    const shares = [...fates].map(([fate, count]) => `${fate} in ${count}`).join(", ");
    return `Map of the gain over ${x.heading} and ${y.heading}, at ${where_of(figure, state)}. `
      + `Nearest to the present state: ${tell(near)}. Smallest: ${tell(sorted[0])}. Largest: `
      + `${tell(sorted.at(-1))}. Of ${known.length} cells the gain ${shares}.`;
  }

  const LEGIBLE = 8; // at most so many sums are read out one by one

  function matrix(figure) {
    const {columns: [rows, columns, {values}], power} = series_of(figure)[0];
    const n = Math.round(Math.sqrt(values.length + 1)) - 1;
    const range = (some) => {
      const [least, most] = [Math.min(...some), Math.max(...some)].map(entry);
      return least === most ? `all ${least}` : `from ${least} to ${most}`;
    };
    const some = (test) => values.filter((_, i) => test(rows.values[i], columns.values[i]));
    const list = (sums) => (n <= LEGIBLE ? sums.map(entry).join(", ") : range(sums));
    const entries = some((row, column) => row !== "Σ" && column !== "Σ");
    return `Matrix of ${n} by ${n}`
      + (power ? `, all numbers times 10 to the power of ${minus(String(power))}` : "")
      + `. Entries ${range(entries)}. Row sums, the forward gains: `
      + `${list(some((_, column) => column === "Σ"))}. Column sums, the backward gains: `
      + `${list(some((row) => row === "Σ"))}.`;
  }

  // What each stream carries where the signal is by now.
  function streams(figure, state) {
    const here = get(contents(figure), "here").data;
    const each = [...get(here, "said")].map((said, i) => `stream ${i + 1} carries ${said}`);
    const layer = get(here, "layer")[0];
    const place = layer ? `After layer ${layer}` : "Before the first layer";
    return `Picture of the streams at ${where_of(figure, state)}. ${place}: ${each.join(", ")}.`;
  }

  function histogram(figure, state) {
    const tell = ({name, columns: [low, high, layers, median]}) => {
      const found = [...layers.values.keys()].filter((i) => layers.values[i] > 0);
      if (!found.length) return `${name}: nothing.`;
      const [from, to] = [low.values[found[0]], high.values[found.at(-1)]];
      return `${name}: median ${in_words(median.values[0])}, all from ${in_words(from)} to ${in_words(to)}.`;
    };
    return `Histogram at ${where_of(figure, state)}. ${series_of(figure).map(tell).join(" ")}`;
  }

  // Of a picture that says itself what is where.
  function told(figure, state) {
    const here = get(contents(figure), "here").data;
    return `Picture at ${where_of(figure, state)}. ${[...get(here, "said")].join(" ")}`;
  }

  const SAY = {curves, map, matrix, streams, histogram, told};

  // A figure's text alternative at a state: sentences with its numbers.
  const alternative = (figure, state) =>
    `${title_of(figure, state)}. ${SAY[get(contents(figure), "kind")](figure, state)}`;

  // ---- pictures ----------------------------------------------------------------------------

  const view_of = (figure) => Bokeh.index.find_one(figure);
  const SHARP = 2; // least number of a file's pixels to one of the page

  // The colour behind a plot, which is transparent: searched through the shadow roots to the page.
  function background(node) {
    for (; node; node = node.parentNode ?? node.host) {
      if (!(node instanceof Element)) continue;
      const {backgroundColor} = getComputedStyle(node);
      if (!/^(transparent|rgba\(.*, 0\))$/.test(backgroundColor)) return backgroundColor;
    }
    return "#ffffff";
  }

  // Bokeh draws with the screen's resolution; this raises it while `draw` runs.
  function sharply(draw) {
    const screen = Object.getOwnPropertyDescriptor(window, "devicePixelRatio");
    const value = Math.max(SHARP, devicePixelRatio);
    Object.defineProperty(window, "devicePixelRatio", {configurable: true, value});
    try {
      return draw();
    } finally {
      if (screen) Object.defineProperty(window, "devicePixelRatio", screen);
      else delete window.devicePixelRatio;
    }
  }

  // Pieces of text, joined to lines no longer than `width`.
  function lines(ctx, pieces, width) {
    const found = [""];
    for (const piece of pieces) {
      if (found.at(-1) && ctx.measureText(found.at(-1) + piece).width > width) found.push("");
      found[found.length - 1] += piece;
    }
    return found.map((text) => [{text, x: 0}]);
  }

  const SWATCH = 34; // pixels, with the space before its words

  // Swatches with their words, in such lines.
  function legend(ctx, entries, width) {
    const found = [[]];
    let x = 0;
    for (const {name, colour, dash} of entries) {
      const wide = ctx.measureText(name).width + SWATCH;
      if (x && x + wide > width) {
        found.push([]);
        x = 0;
      }
      found.at(-1).push({text: name, colour, dash, x});
      x += wide + 16;
    }
    return found;
  }

  // A figure below its title, state and legend, and above the link's query, which restores the
  // state.  It is a layer of Bokeh's, whose context draws on a canvas and into an SVG alike.
  function picture(figure, type, state, query = "") {
    const view = view_of(figure);
    const {color} = getComputedStyle(view.el);
    const plot = view.export(type);
    const {width, height} = view.bbox;
    const {ctx} = plot;
    const edge = 14;
    const font = get(contents(figure), "font");
    const set = (arrange, pieces, size, weight = "normal") => {
      ctx.font = `${weight} ${size}px ${font}`;
      return arrange(ctx, pieces, width - 2 * edge).map((line) => ({line, size, weight}));
    };
    const entries = series_of(figure).filter(({colour, columns}) => colour && has_values(columns[1]));
    const [title, where] = [title_of(figure, state), where_of(figure, state)];
    const above = [
      ...(title === figure.title?.text ? [] : set(lines, title.split(/(?<= )/), 16, "bold")),
      ...(where === title ? [] : set(lines, [where], 13)),
      ...(entries.length ? set(legend, entries, 13) : []),
    ];
    const below = query ? set(lines, query.split(/(?<=&)/), 10) : [];
    const tall = (some) => some.reduce((sum, {size}) => sum + 1.4 * size, 0);
    const top = tall(above) + edge;
    const layer = new plot.constructor(plot.backend, true);
    layer.resize(width, Math.ceil(top + height + tall(below) + edge / 2));
    const page = layer.prepare();
    page.fillStyle = background(view.el);
    page.fillRect(-1, -1, layer.bbox.width + 2, layer.bbox.height + 2);
    const write = (some, y) => {
      for (const {line, size, weight} of some) {
        y += 1.4 * size;
        for (const {text, x, colour, dash} of line) {
          const at = edge + x;
          if (colour) stroke(page, at, y - 0.35 * size, colour, dash);
          page.font = `${weight} ${size}px ${font}`;
          page.fillStyle = color;
          page.fillText(text, at + (colour ? SWATCH : 0), y);
        }
      }
    };
    page.textBaseline = "alphabetic";
    page.textAlign = "left";
    write(above, edge / 2);
    write(below, top + height);
    page.drawImage(plot.canvas, 0, top, width, height);
    layer.finish();
    if (type === "svg") name_svg(layer.ctx.get_svg(), figure, state);
    return layer;
  }

  function stroke(ctx, x, y, colour, dash) {
    ctx.strokeStyle = colour;
    ctx.lineWidth = 3;
    ctx.setLineDash(dash);
    ctx.beginPath();
    ctx.moveTo(x, y);
    ctx.lineTo(x + 28, y);
    ctx.stroke();
    ctx.setLineDash([]);
  }

  // For screen readers the file has the title and text of the plot on the page.
  function name_svg(svg, figure, state) {
    const named = [["title", title_of(figure, state)], ["desc", alternative(figure, state)]];
    svg.setAttribute("role", "img");
    svg.setAttribute("viewBox", `0 0 ${svg.getAttribute("width")} ${svg.getAttribute("height")}`);
    svg.prepend(...named.map(([tag, text]) => {
      const node = document.createElementNS(svg.namespaceURI, tag);
      node.textContent = text;
      return node;
    }));
  }

  function file_name(figure, state, type) {
    const words = new Set(["mhc", title_of(figure, state), where_of(figure, state)]);
    return `${[...words].join(" ").toLowerCase().replace(/[^a-z0-9]+/g, "-")}.${type}`;
  }

  function download(blob, name) {
    const link = element("a", "", document.body, {href: URL.createObjectURL(blob), download: name});
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  // Saves a figure as a file of a type: "png", "svg" or "csv".
  async function save(figure, type, state, query) {
    const blob = type === "csv"
      ? new Blob([csv(figure)], {type: "text/csv;charset=utf-8"})
      : await sharply(() => picture(figure, type, state, query)).to_blob();
    download(blob, file_name(figure, state, type));
  }

  // ---- on the page -------------------------------------------------------------------------

  // The views of all visible figures, in reading order.
  function visible(doc) {
    const views = [...Bokeh.index.query((view) =>
      view.model.type === "Figure" && view.model.document === doc && contents(view.model))];
    const places = new Map(views.map((view) => [view, view.el.getBoundingClientRect()]));
    return views
      .filter((view) => view.el.checkVisibility() && places.get(view).width > 0)
      .sort((a, b) => places.get(a).top - places.get(b).top || places.get(a).left - places.get(b).left);
  }

  // Puts the text on the part of a plot that takes the focus: only there do screen readers speak it
  // when they reach the plot, and it contains nothing that is not allowed inside an image.
  function describe(view, state) {
    const node = view.canvas_view.events_el;
    const text = alternative(view.model, state);
    if (node.role !== "img") node.role = "img";
    if (node.ariaLabel !== text) node.ariaLabel = text;
  }

  const TYPES = ["png", "svg", "csv"];

  function row(list, figure, state, query) {
    const line = element("li", "", list);
    const name = element("span", "", line);
    const buttons = TYPES.map((type) => {
      const button = element("button", "", line, {type: "button", textContent: type.toUpperCase()});
      button.addEventListener("click", () => save(figure, type, state, query()));
      return button;
    });
    return {
      line,
      entitle(title) {
        if (name.textContent === title) return;
        name.textContent = title;
        buttons.forEach((b, i) => { b.ariaLabel = `Save ${title} as ${TYPES[i].toUpperCase()}`; });
      },
    };
  }

  // Calls `tell` with the visible figures' views and the state, after the last move or new data.
  function settled(doc, tell) {
    let state = null;
    let timer = null;
    const later = () => {
      clearTimeout(timer);
      timer = setTimeout(() => tell(visible(doc), state), SETTLED);
    };
    const stop = mhc.listen(doc, (present) => {
      state = present;
      later();
    });
    doc.on_change(later, true);
    return () => {
      clearTimeout(timer);
      doc.remove_on_change(later);
      stop();
    };
  }

  // Describes the visible figures.
  const describe_all = (doc) =>
    settled(doc, (views, state) => views.forEach((view) => describe(view, state)));

  /* Describes the visible figures, and puts buttons to save them into `el`.  `query()` returns the
     state as in a link. */
  function plots(el, doc, query) {
    el.classList.add("mhc-plots");
    const list = element("ul", "", el, {ariaLabel: "Save the plots"});
    const rows = new Map(); // figure -> row
    return settled(doc, (views, state) => {
      const figures = views.map(({model}) => model);
      for (const [figure, {line}] of rows) {
        if (figures.includes(figure)) continue;
        line.remove();
        rows.delete(figure);
      }
      for (const view of views) {
        const figure = view.model;
        if (!rows.has(figure)) rows.set(figure, row(list, figure, state, query));
        rows.get(figure).entitle(title_of(figure, state));
        describe(view, state);
      }
      el.hidden = views.length === 0;
    });
  }

  return {csv, alternative, save, plots, describe: describe_all};
})());
