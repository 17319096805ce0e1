/* The polytope of the doubly stochastic 3 by 3 matrices, laid out on a floor that is seen at a slant.

   Python gives each matrix four coordinates on the floor and a height above it
   (mhc_demo/figures/polytope.py).  Here they become places of the picture: the floor is turned, made
   flatter, and names are put where there is room. */
"use strict";
Object.assign(mhc, (() => {
  const {get, element, text, state_of, tick} = mhc;

  const WIDE = 1.42; // half of the picture's width, in the floor's units
  const [BOTTOM, TOP] = [-0.88, 1.02];
  const cell_of = ({half, pixel}) => (half > 240 * pixel ? 7 : 5); // pixels, of the small permutation matrices

  // Where a matrix is drawn, (a, b, c, d, h) -> (x, y): see `shadow` in numerics/birkhoff.py.
  function looking(rule, state) {
    const turn = (state.turn * Math.PI) / 180;
    const [even, odd] = [Math.cos(turn), Math.sin(turn)];
    const [flat, up] = ["flat", "up"].map((name) => get(rule, name));
    return {
      x: ({a, c}, i) => even * a[i] + odd * c[i],
      foot: ({b, d}, i) => flat * (even * b[i] + odd * d[i]),
      up: ({h}, i) => (up * h[i]) / (1 + h[i]),
      flat,
    };
  }

  const measured = (figure, name) => (figure.properties[name].is_unset ? 0 : figure[name]);

  // Sets the ranges so that a unit is as long across as up, and returns what one pixel is.
  function arrange(figure) {
    const [wide, high] = ["inner_width", "inner_height"].map((name) => measured(figure, name));
    if (!(wide > 0 && high > 0)) return null;
    const pixel = Math.max((2 * WIDE) / wide, (TOP - BOTTOM) / high);
    const [half, spare] = [(wide * pixel) / 2, (high * pixel - (TOP - BOTTOM)) / 2];
    const {x_range: x, y_range: y} = figure;
    if (x.end !== half || y.start !== BOTTOM - spare)
      for (const [range, start, end] of [[x, -half, half], [y, BOTTOM - spare, TOP + spare]])
        range.setv({start, end});
    return {pixel, half, low: BOTTOM - spare, high: TOP + spare};
  }

  // A point beyond the picture stands at its edge, in the direction from the middle.
  function kept(x, y, box) {
    const margin = 12 * box.pixel;
    const over = Math.max(Math.abs(x) / (box.half - margin), y / (box.high - margin), y / (box.low + margin), 1);
    return [x / over, y / over, over > 1];
  }

  // All places of some points: x, y, the foot below it, whether it is beyond the picture.
  function laid_out(points, rule, state) {
    const box = arrange(get(rule, "figure"));
    if (!box) return [];
    const look = looking(rule, state);
    return Array.from(points.a, (_, i) => {
      const [at, foot] = [look.x(points, i), look.foot(points, i)];
      const [x, y, beyond] = kept(at, foot + look.up(points, i), box);
      return {i, x, y, foot, beyond, box};
    });
  }

  const columns = (names, rows) =>
    Object.fromEntries(names.map((name) => [name, rows.map((row) => row[name])]));
  const all = (table) => {
    const {data} = table;
    return Object.fromEntries((data instanceof Map ? [...data] : Object.entries(data)));
  };

  // ---- the floor ---------------------------------------------------------------------------

  const floor_points = (rule, state) => laid_out(all(get(rule, "floor")), rule, state);

  // The hull of two triangles around one middle, each turned against the other by half: a corner of
  // the shorter one is inside while it is less than half as far out.
  function outline(_, state, rule) {
    const points = floor_points(rule, state);
    if (!points.length) return {x: [], y: []};
    const turn = (state.turn * Math.PI) / 180;
    const [even, odd] = [Math.cos(turn), Math.sin(turn)];
    const outside = (i) => (i < 3 ? even > odd / 2 : odd > even / 2);
    const around = points.filter(({i}) => outside(i))
      .sort((p, q) => Math.atan2(p.y, p.x) - Math.atan2(q.y, q.x));
    return columns(["x", "y"], around);
  }

  function edges(_, state, rule) {
    const points = floor_points(rule, state);
    const found = [];
    for (const p of points) for (const q of points) {
      if (p.i >= q.i) continue;
      const one = Math.floor(p.i / 3) === Math.floor(q.i / 3); // of one triangle
      found.push({x0: p.x, y0: p.y, x1: q.x, y1: q.y, width: one ? 1.6 : 1, alpha: one ? 0.75 : 0.4});
    }
    return columns(["x0", "y0", "x1", "y1", "width", "alpha"], found);
  }

  // The permutation matrix of each corner beside it.
  const PERMUTATIONS = [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0], [0, 2, 1], [1, 0, 2]];
  function icon_places(points) {
    if (!points.length) return [];
    const {box} = points[0];
    const [{pixel}, cell] = [box, cell_of(box)];
    return points.filter(({x, y}) => Math.hypot(x, 2 * y) > 0.35).map(({i, x, y}) => {
      const far = Math.hypot(x, y);
      const away = (14 + 2.2 * cell) * pixel;
      return {i, x: x + (away * x) / far, y: y + (away * y) / far, pixel, cell, r: 1.5 * cell + 2};
    });
  }
  function icons(_, state, rule) {
    const found = icon_places(floor_points(rule, state)).flatMap(({i, x, y, pixel, cell}) =>
      PERMUTATIONS[i].flatMap((one, row) => [0, 1, 2].map((column) => ({
        x: x + (column - 1) * cell * pixel,
        y: y + (1 - row) * cell * pixel,
        width: cell * pixel,
        alpha: column === one ? 1 : 0,
      }))));
    return columns(["x", "y", "width", "alpha"], found);
  }

  // What it is, below it; and where there is room, what height means.
  const CAPTION = ["all doubly stochastic matrices", "a corner for each permutation"];
  const HEIGHT = ["↑ height: how far the", "sums are from 1"];
  const says_height = ({half, pixel}) => 2 * half > 640 * pixel;
  function captions(_, state, rule) {
    const box = arrange(get(rule, "figure"));
    if (!box) return columns(["x", "y", "text", "align"], []);
    const {pixel, half, low, high} = box;
    const line = 1.3 * type_size(get(rule, "figure"));
    const wide = 2 * half > 480 * pixel;
    const below = [{x: 0, y: low + line * pixel, text: wide ? CAPTION.join(", ") : CAPTION[0], align: "center"}];
    const beside = (says_height(box) ? HEIGHT : []).map((text, k) =>
      ({x: -half + 8 * pixel, y: high - (10 + k * line) * pixel, text, align: "left"}));
    return columns(["x", "y", "text", "align"], [...below, ...beside]);
  }

  // Of the figure's type, as its axes have it: they hear of another size first.
  const type_size = (figure) => (parseFloat(figure.left[0].major_label_text_font_size) || 12) + 1;

  // ---- names -------------------------------------------------------------------------------

  const AROUND = [[1, 0], [-1, 0], [0.8, 0.9], [0.8, -0.9], [-0.8, 0.9], [-0.8, -0.9], [0, 1.4], [0, -1.4]];

  // How far from its point a name is put, in pixels, and how far from others it keeps there: away from
  // its own it would seem to be theirs, so it goes near another only if there is no better place.
  const TRIES = [[11, 0], [24, 10], [40, 10], [24, 0], [40, 0], [60, 0]];

  /* Puts names beside their points where they cover nothing else, the first ones first; what finds
     no place is left out, for the table and the pointer tell it too. */
  function placed(wanted, taken, figure, box) {
    const [size, pixel] = [type_size(figure), box.pixel];
    const rects = taken.map(({x, y, r}) => [x - r * pixel, x + r * pixel, y - r * pixel, y + r * pixel]);
    if (says_height(box)) rects.push([-box.half, -box.half + 12 * size * pixel, box.high - 4 * size * pixel, box.high]);
    const edge = box.half - 4 * pixel;
    const free = ([l, r, b, t], room) => l > -edge && r < edge && b > box.low && t < box.high
      && rects.every(([x0, x1, y0, y1]) => r + room < x0 || l - room > x1 || t < y0 || b > y1);
    const found = [];
    for (const {x, y, words, short = words, colour, strong = false} of wanted) {
      search: for (const [far, room] of TRIES) for (const said of new Set([words, short])) for (const [dx, dy] of AROUND) {
        const [wide, high] = [said.length * size * (strong ? 0.65 : 0.6) * pixel, size * 1.15 * pixel];
        const [at, up] = [x + dx * far * pixel, y + dy * far * pixel];
        const left = dx > 0 ? at : dx < 0 ? at - wide : at - wide / 2;
        const rect = [left, left + wide, up - high / 2, up + high / 2];
        if (!free(rect, room * pixel)) continue;
        rects.push(rect);
        found.push({
          x: at, y: up, text: said, align: dx > 0 ? "left" : dx < 0 ? "right" : "center",
          weight: strong ? "bold" : "normal", colour,
          x0: far > 11 ? x : NaN, y0: y, x1: at, y1: up,
        });
        break search;
      }
    }
    return columns(NAME, found);
  }
  const NAME = ["x", "y", "text", "align", "weight", "x0", "y0", "x1", "y1", "colour"];

  // ---- one matrix --------------------------------------------------------------------------

  const written = (distance) => tick(Math.log10(distance));
  // What nothing keeps out of the set has a distance of rounding errors alone.
  const said = (distance, bits) => (bits ? written(distance) : "0");
  const OFF = [[1, "rows"], [2, "columns"], [4, "signs"]];
  const off = (bits) => OFF.filter(([bit]) => bits & bit).map(([, words]) => words).join(", ") || "nothing";

  function mark_rows(points, state, rule) {
    const told = get(rule, "table").tags[0];
    const [names, labels, colours, named] =
      ["names", "labels", "colours", "named"].map((name) => get(told, name));
    const chosen = get(told, "projection");
    return laid_out(points, rule, state).map((row) => {
      const {i, beyond} = row;
      const [distance, bits] = [points.distance[i], points.why[i]];
      const on = distance < get(rule, "touches");
      const mine = names[i] === chosen;
      return {
        ...row, name: names[i], label: labels[i], colour: colours[i], mine, named: named[i],
        size: mine ? 15 : named[i] ? 10 : 8, alpha: 1, fill: on ? 1 : 0.001,
        marker: beyond ? "triangle" : "circle",
        distance, said: said(distance, bits), off: off(bits),
      };
    });
  }

  const MARK = ["x", "y", "size", "marker", "colour", "fill", "alpha", "name", "label", "distance", "said", "off"];
  function marks(points, state, rule) {
    const rows = mark_rows(points, state, rule);
    const shown = pointed_at(rule);
    for (const row of rows) {
      if (row.name === shown) row.size = Math.max(row.size, 13);
      else if (shown || state.walk) Object.assign(row, {alpha: 0.25, fill: row.fill / 4});
    }
    return columns(MARK, rows);
  }

  // The sentences of the text alternative.
  function sentences(points, state, rule) {
    if (state.walk) {
      const table = all(get(rule, "composites"));
      const depths = get(get(rule, "composites").tags[0], "depths");
      const k = state.iterations * depths.length + state.depth - 1;
      const layers = `${state.depth} layer${state.depth === 1 ? "" : "s"}`;
      return {said: [`The product of ${layers} is ${far_from_middle(table, k, rule)} from J/3, the middle of the set.`]};
    }
    const each = mark_rows(points, state, rule).map(({label, said, off}) =>
      `${label} ${said}${off === "nothing" ? "" : ` (off: ${off})`}`);
    return {said: [`Distances from the set: ${each.join("; ")}.`]};
  }
  const from_middle = (points, i) => Math.hypot(...["a", "b", "c", "d", "h"].map((axis) => points[axis][i]));

  // Of coordinates with six decimals: what is shorter than a dot is not written to three digits.
  function far_from_middle(points, i, rule) {
    const [distance, least] = [from_middle(points, i), get(rule, "touches")];
    return distance < least ? `less than ${least}` : written(distance);
  }

  const path_of = (rule) => get(rule, "path");

  // How many points of the way are done after so many iterations; the first is the start.
  function reached(rule, {iterations}) {
    const path = path_of(rule);
    return 1 + iterations * get(path.tags[0], "per_iteration");
  }

  function way(_, state, rule) {
    if (state.walk) return {x: [], y: []};
    const points = laid_out(all(path_of(rule)), rule, state);
    return columns(["x", "y"], points.slice(0, reached(rule, state)));
  }

  function whole(points, state, rule) {
    const tag = get(rule, "table").tags[0];
    const halves = get(tag, "halves");
    const what = (i) => {
      if (i === 0) return get(tag, "start") ? "exp(logits), scaled to a total of 3" : get(tag, "title");
      if (!halves.length) return get(tag, "title");
      return `${halves[(i - 1) % halves.length]} divided, iteration ${Math.ceil(i / halves.length)}`;
    };
    const rows = of_matrix(points, rule, state).map((row) =>
      ({...row, what: what(row.i), said: said(points.distance[row.i], points.distance[row.i] > get(rule, "rounding"))}));
    return columns(["x", "y", "what", "said"], rows);
  }

  const of_matrix = (points, rule, state) => (state.walk ? [] : laid_out(points, rule, state));
  const start = (points, state, rule) => columns(["x", "y", "foot"],
    get(path_of(rule).tags[0], "start") ? of_matrix(points, rule, state).slice(0, 1) : []);
  const limit = (points, state, rule) => columns(["x", "y"], of_matrix(points, rule, state));

  function stems(points, state, rule) {
    if (state.walk) return columns(["x", "y0", "y1", "colour"], []);
    const from = (get(path_of(rule).tags[0], "start") ? laid_out(all(path_of(rule)), rule, state) : []).slice(0, 1).map((row) => ({...row, colour: get(rule, "begins")}));
    const rows = [...from, ...mark_rows(points, state, rule)].filter(({beyond, foot, y}) => !beyond && y > foot);
    const least = ({low, pixel}) => low + 2 * 1.3 * type_size(get(rule, "figure")) * pixel; // above what stands there
    return columns(["x", "y0", "y1", "colour"], rows.map(({x, y, foot, colour, box}) =>
      ({x, y0: Math.min(y, Math.max(foot, least(box))), y1: y, colour})));
  }

  // Points of a side at most so far apart, and its end.
  function between(from, to, gap) {
    const count = Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / gap) || 1;
    return Array.from({length: count}, (_, k) => {
      const part = (k + 1) / count;
      return {x: from.x + part * (to.x - from.x), y: from.y + part * (to.y - from.y)};
    });
  }

  function names(points, state, rule) {
    const shown = pointed_at(rule);
    const rows = state.walk && !shown ? [] : mark_rows(points, state, rule);
    if (!rows.length) return columns(NAME, []);
    const {box} = rows[0];
    const name_of = (row, strong) => ({
      ...row, words: row.beyond ? `${row.label}: ${row.said} away` : row.label, short: row.label, strong,
    });
    const path = of_matrix(all(path_of(rule)), rule, state);
    const ring = of_matrix(all(get(rule, "limit")), rule, state);
    const taken = [
      ...rows.map(({x, y, size}) => ({x, y, r: size / 2 + 1.5})),
      ...path.flatMap((to, k) => between(path[Math.max(k - 1, 0)], to, 8 * box.pixel)).map((at) => ({...at, r: 4})),
      ...path.slice(0, 1).flatMap(({x, y, foot}) => [{x, y, r: 8}, {x, y: foot, r: 10}]),
      ...ring.map(({x, y}) => ({x, y, r: 11})), {x: 0, y: 0, r: 5},
      ...icon_places(floor_points(rule, state)),
    ];
    if (shown) { // alone, so that no other name moves out of its way
      const one = rows.filter(({name}) => name === shown).map((row) => name_of(row, true));
      return placed(one, taken, get(rule, "figure"), box);
    }
    const order = rows.filter(({named}) => named).sort((p, q) => q.mine - p.mine);
    const start = get(path_of(rule).tags[0], "start");
    const drag = start && holders.get(get(rule, "figure").document)?.drag;
    const ended = ring.filter((end) => !rows.some(({x, y}) => Math.hypot(x - end.x, y - end.y) < 12 * box.pixel));
    const wanted = [
      ...(start ? path.slice(0, 1).map(({x, y}) => ({x, y, words: start, colour: get(rule, "begins"), strong: true})) : []),
      ...(drag ? path.slice(0, 1).map(({x, foot}) => ({x, y: foot, words: "drag", colour: get(rule, "begins"), strong: true})) : []),
      ...order.map((row) => name_of(row, row.mine)),
      ...ended.map(({x, y}) => ({x, y, words: "limit", colour: get(rule, "ours")})),
    ];
    return placed(wanted, taken, get(rule, "figure"), box);
  }

  // ---- a network ---------------------------------------------------------------------------

  const on_walk = (points, state, rule) => (state.walk ? laid_out(points, rule, state) : []);

  function composites(points, state, rule) {
    const rows = on_walk(points, state, rule).map((row) =>
      ({...row, depth: row.i + 1, distance: from_middle(points, row.i)}));
    return columns(["x", "y", "depth", "distance"], rows);
  }

  function composite(points, state, rule) {
    const rows = on_walk(points, state, rule).slice(-1).map((row) => ({...row, foot: row.beyond ? row.y : row.foot}));
    return columns(["x", "y", "foot"], rows);
  }

  function composite_names(points, state, rule) {
    const rows = on_walk(points, state, rule);
    if (!rows.length || pointed_at(rule)) return columns(NAME, []);
    const [one, {x, y, box, beyond}] = [rows[0], rows.at(-1)];
    const taken = [
      ...rows.slice(-40).map((p) => ({...p, r: 4})), {x, y, r: 10}, {x: 0, y: 0, r: 5}, {...one, r: 5},
      ...icon_places(floor_points(rule, state)),
    ];
    const count = rows.length;
    const far = beyond ? `: ${written(from_middle(points, count - 1))} away` : "";
    const wanted = [
      {x, y, words: (count === 1 ? "Layer 1" : `Product of ${count} layers`) + far, colour: get(rule, "ours"), strong: true},
      {x: 0, y: 0, words: "J/3: all streams averaged", colour: get(rule, "quiet")},
      ...(count > 1 && !one.beyond ? [{...one, words: "Layer 1", colour: get(rule, "ours")}] : []),
    ];
    return placed(wanted, taken, get(rule, "figure"), box);
  }

  const pointed_at = (rule) => pointed.get(get(rule, "figure").document);

  // ---- turning and dragging ----------------------------------------------------------------

  const pointed = new WeakMap(); // Bokeh document -> the projection at which the reader points
  const holders = new WeakMap(); // Bokeh document -> {turn(value), drag(x, y)}
  const NEAR = 24; // pixels around the start, or its foot, that take hold of it
  const DEGREES = 45; // by which a drag over a unit of the floor turns it
  const SIDEWAYS = 5; // pixels from which a finger is dragging, and not about to scroll
  let held = null; // what is dragged, or may be

  /* What an event points at, if it is inside of such a picture: its place, and whether that is the
     start or its foot on the floor, which can be dragged.  Anywhere else a drag turns the floor. */
  function aim(event, target = event.composedPath().find((node) => node.classList?.contains("bk-events"))) {
    const view = target && mhc.view_of(target);
    const holder = view?.model.name === "polytope" && holders.get(view.model.document);
    if (!holder) return null;
    const {left, top} = target.getBoundingClientRect();
    const [sx, sy] = [event.clientX - left, event.clientY - top];
    const {frame: {x_scale, y_scale}, model: {document: doc}} = view;
    const from = doc.get_model_by_name("polytope-start");
    const [x, y, low] = ["x", "y", "foot"].map((axis) => get(from.data, axis)[0]);
    const near = holder.drag && [y, low].some((up) =>
      Math.hypot(x_scale.compute(x) - sx, y_scale.compute(up) - sy) < NEAR);
    return {target, holder, from, x: x_scale.invert(sx), y: y_scale.invert(sy), start: [event.clientX, event.clientY],
            turn: state_of(doc).turn, at: near ? [x, low] : null, dragging: false};
  }

  const unselectable = (event) => event.preventDefault();
  function let_go(event) {
    if (held?.dragging) follow(event, true);
    held = null;
    removeEventListener("selectstart", unselectable, true);
  }

  function follow(event, at_last = false) {
    const now = aim(event, held.target);
    if (!now) return;
    const {at, from, holder} = held;
    const [dx, dy] = [now.x - held.x, now.y - held.y];
    if (!at) return holder.turn(Math.round(Math.min(90, Math.max(0, held.turn + dx * DEGREES))));
    const [x, low] = [at[0] + dx, at[1] + dy];
    from.data = {x: [x], y: [get(from.data, "y")[0]], foot: [low]}; // the rest follows from Python
    holder.drag(x, low / get(from.tags[0], "flat"), at_last);
  }

  addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0) return;
    held = aim(event);
    if (held) addEventListener("selectstart", unselectable, true);
  }, true);
  addEventListener("pointermove", (event) => {
    if (held && event.isPrimary) {
      const [dx, dy] = [event.clientX - held.start[0], event.clientY - held.start[1]];
      held.dragging ||= event.pointerType === "mouse" ? Math.hypot(dx, dy) >= 2 : Math.abs(dx) >= SIDEWAYS;
      if (held.dragging) follow(event);
    }
    const there = held ?? (event.pointerType === "mouse" ? aim(event) : null);
    if (there) there.target.style.cursor = there.at ? "grab" : "ew-resize"; // after Bokeh, which sets its own
  });
  addEventListener("pointerup", let_go, true);
  addEventListener("pointercancel", () => { held = null; }, true); // the page scrolls

  // ---- controls and the table --------------------------------------------------------------

  /* What is shown, and the slider that turns the floor.  `tell` is called with the degrees as by
     `range`, `walk` with 0 for one matrix and 1 for a network, `drag` with a place of the start on
     the turned floor, if the logits can be dragged here. */
  function floor_controls(el, doc, {tell = () => {}, walk = () => {}, drag = null} = {}) {
    el.classList.add("mhc-turn");
    const group = element("div", "mhc-signal", el);
    const zooms = element("div", "zooms", group, {role: "group", ariaLabel: "What is shown"});
    const buttons = ["One matrix", "A network"].map((textContent, value) => {
      const button = element("button", "", zooms, {type: "button", textContent});
      button.addEventListener("click", () => {
        mhc.move(doc, "walk", value);
        walk(value);
      });
      return button;
    });
    const slider = element("div", "", el);
    let take = null;
    const stop_listening = mhc.listen(doc, (state) => {
      buttons.forEach((button, value) => { button.ariaPressed = String(value === state.walk); });
    });
    const stop = mhc.range(slider, doc, {
      name: "turn", label: "Turn", start: 0, end: 90, tell, of_view: true,
      marks: [[0, "even"], [45, "all six"], [90, "odd"]],
    });
    const input = el.querySelector("input");
    take = (value) => {
      input.value = value;
      input.dispatchEvent(new Event("input"));
    };
    let timer = null;
    let next = null;
    const send = () => {
      timer = null;
      if (next) drag(...next);
      next = null;
    };
    holders.set(doc, {
      turn: take,
      drag: drag && ((x, y, at_last) => {
        next = [x, y];
        if (at_last) {
          clearTimeout(timer);
          send();
        } else timer ??= setTimeout(send, 60);
      }),
    });
    mhc.refresh(doc, "turn"); // the start says whether it can be dragged
    return () => {
      clearTimeout(timer);
      holders.delete(doc);
      stop();
      stop_listening();
    };
  }

  /* What the picture shows, projection by projection, under the headings of a menu.  Pointing at a row
     points at its mark, which then is named. */
  function floor_table(el, doc, choose = null) {
    el.classList.add("mhc-floor");
    const grid = element("table", "", el);
    const caption = element("caption", "", grid);
    const head = element("tr", "", element("thead", "", grid));
    for (const words of ["Projection", "Distance", "Off"])
      element("th", "", head, {scope: "col", textContent: words});
    const [source, ...others] = ["marks", "names", "composite-names"].map((name) =>
      doc.get_model_by_name(`polytope-${name}`));
    const table = get(source.tags[0], "table");
    const lines = new Map();
    let order = [];
    const point = (name) => {
      if (pointed.get(doc) === name) return;
      pointed.set(doc, name);
      for (const each of [source, ...others]) mhc.cut(each);
    };
    function line(name, label) {
      const row = document.createElement("tr");
      const first_cell = element("th", "", row, {scope: "row"});
      first_cell.innerHTML = `<svg width="14" height="14" aria-hidden="true"><circle cx="7" cy="7" r="5"
        stroke-width="2.2"/></svg>`;
      const words = element(choose ? "button" : "span", "", first_cell, {textContent: label});
      if (choose) words.addEventListener("click", () => choose(name));
      row.addEventListener("pointerenter", () => point(name));
      row.addEventListener("focusin", () => point(name));
      for (const leave of ["pointerleave", "focusout"]) row.addEventListener(leave, () => point(null));
      return {row, dot: first_cell.querySelector("circle"), words, distance: element("td", "", row), off: element("td", "", row)};
    }
    // A body for each kind, in the order of the first of it.
    function arrange_rows(names, labels, kinds) {
      if (names.join() === order.join()) return;
      order = [...names];
      grid.querySelectorAll("tbody").forEach((body) => body.remove());
      for (const kind of new Set(kinds)) {
        const body = element("tbody", "", grid);
        element("th", "", element("tr", "kind", body), {scope: "rowgroup", colSpan: 3, textContent: kind});
        names.forEach((name, k) => {
          if (kinds[k] !== kind) return;
          if (!lines.has(name)) lines.set(name, line(name, labels[k]));
          body.append(lines.get(name).row);
        });
      }
    }
    function fill() {
      const {data} = source;
      const told = table.tags[0];
      const [names, labels, kinds, colours] =
        ["names", "labels", "kinds", "colours"].map((name) => get(told, name));
      arrange_rows(names, labels, kinds);
      const at = get(data, "name");
      names.forEach((name, k) => {
        const {row, dot, words, distance, off} = lines.get(name);
        row.classList.toggle("chosen", name === get(told, "projection"));
        if (choose) words.ariaPressed = String(name === get(told, "projection"));
        const i = at.indexOf(name);
        if (i < 0) return;
        text(distance, get(data, "said")[i]);
        text(off, get(data, "off")[i]);
        dot.setAttribute("stroke", colours[k]);
        dot.setAttribute("fill", get(data, "distance")[i] < get(source.tags[0], "touches") ? colours[k] : "none");
      });
      const {iterations} = state_of(doc);
      text(caption, `Distance from the set, after ${iterations} iteration${iterations === 1 ? "" : "s"}`);
    }
    fill();
    source.properties.data.change.connect(fill);
    return () => source.properties.data.change.disconnect(fill);
  }

  const shapes = {
    outline, edges, icons, captions, said: sentences, whole, way, start, limit, stems, marks, names,
    composites, composite, composite_names,
  };
  for (const [name, shape] of Object.entries(shapes)) mhc.shapes[`polytope_${name}`] = shape;
  return {floor_controls, floor_table};
})());
