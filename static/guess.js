/* A guess before the answer: it covers the plots that would tell, has a mark dragged on one of them,
   and draws the curve when the answer is wanted.

   What lies over a plot is HTML in the plot's own element, not a glyph: Bokeh would tell the server
   of every glyph, and a mark of HTML has the keyboard and a voice.  A plot may come later than the
   scene, and changes its size, so the frame that is covered is looked up as long as a guess is open. */
"use strict";
mhc.guess = (() => {
  const {element, in_label, in_words} = mhc;
  const SWEEP = 1800; // milliseconds in which the curve is drawn
  const LATE = 3000; // milliseconds in which the plots should be there
  const STEP = 0.1; // of a decade: to what a mark is rounded
  const JITTER = 44; // pixels to either side of the mark, over which others' guesses are spread
  const SHEET = `
    .over { position: absolute; inset: 0; pointer-events: none; z-index: 20; font: 15px system-ui, sans-serif; }
    .veil, .catch { position: absolute; }
    .veil { clip-path: inset(0 0 0 var(--from, 0%)); }
    .veil::after {
      content: ""; position: absolute; inset: 0;
      background: repeating-linear-gradient(135deg, transparent 0 12px, rgb(128 128 128 / 0.16) 12px 13px);
    }
    .drawing .veil { --from: 100%; transition: clip-path ${SWEEP}ms linear; }
    .catch { pointer-events: auto; cursor: ns-resize; }
    .rule { position: absolute; border-left: 2px dashed rgb(128 128 128 / 0.7); }
    .mark {
      position: absolute; transform: translate(-50%, -50%); white-space: nowrap; touch-action: none;
      pointer-events: auto; cursor: ns-resize; user-select: none;
      padding: 0.25em 0.7em; border-radius: 1em; font-size: var(--type, 15px); font-weight: 600;
      border: 2px solid currentColor; background: var(--ground); box-shadow: 0 1px 6px rgb(0 0 0 / 0.25);
    }
    .mark::before { content: "↕ "; opacity: 0.7; }
    .mark:focus-visible { outline: 3px solid #2f7ae5; outline-offset: 2px; }
    .done .mark { pointer-events: none; transform: translate(calc(-100% - 14px), -50%); } /* beside the curve */
    .done .mark::after { content: ""; position: absolute; right: -14px; top: 50%; width: 12px; border-top: 2px solid; }
    .done .mark::before { content: ""; }
    .done .catch { display: none; }
    .other { position: absolute; width: 9px; height: 9px; margin: -4.5px; border-radius: 50%; background: #2f7ae5; opacity: 0.55; }`;

  const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  // The colour of the page below an element; plots have none of their own.
  function ground(node) {
    for (; node; node = node.parentElement ?? node.getRootNode().host) {
      const {backgroundColor} = getComputedStyle(node);
      if (!/^(transparent|rgba\(.*, 0\))$/.test(backgroundColor)) return backgroundColor;
    }
    return "Canvas";
  }

  /* `guess`: as the scene has it (mhc_demo/story/scenes.py).  `given()` is what has been guessed, or
     undefined; `take(value)` is called with another guess.  Returns {reveal, compare, stop}. */
  return function guess({covers, mark, depth, secret}, {given, take, type}) {
    const root = document.documentElement;
    const over = new Map(); // the view of a figure -> what lies over it
    let others = [];
    let done = false;
    let frame = 0;
    const began = performance.now();
    if (covers.length) root.style.setProperty("--mhc-veil", "hidden");

    const wanted = [...new Set([...covers, ...(mark ? [mark] : [])])];
    const find = () => mhc.figures().filter(({model, el}) =>
      wanted.includes(model.name) && el.checkVisibility());

    function lay(view) {
      const box = element("div", "over", view.el.shadowRoot ?? view.el);
      element("style", "", box, {textContent: SHEET});
      const parts = {box, said: ""};
      if (covers.includes(view.model.name)) {
        parts.veil = element("div", "veil", box);
        parts.alternative = view.canvas_view.events_el;
        parts.alternative.inert = true; // its text would tell
      }
      if (view.model.name === mark) Object.assign(parts, lay_mark(view, box));
      return parts;
    }

    function lay_mark(view, box) {
      const parts = {catch: element("div", "catch", box), rule: element("div", "rule", box)};
      parts.others = element("div", "", box);
      parts.mark = element("div", "mark", box, {tabIndex: 0, role: "slider", ariaOrientation: "vertical"});
      parts.mark.ariaLabel = `Your guess: the gain after ${depth} layers`;
      const at = (event) => {
        const {top} = box.getBoundingClientRect();
        set(view, view.frame.y_scale.invert(event.clientY - top));
      };
      for (const node of [parts.catch, parts.mark]) {
        node.addEventListener("pointerdown", (event) => {
          if (!event.isPrimary || done) return;
          event.stopPropagation();
          node.setPointerCapture(event.pointerId);
          if (node === parts.catch) at(event);
        });
        node.addEventListener("pointermove", (event) => {
          if (node.hasPointerCapture(event.pointerId)) at(event);
        });
      }
      parts.mark.addEventListener("keydown", (event) => {
        const {start, end} = view.model.y_range;
        const step = {ArrowUp: 1, ArrowDown: -1}[event.key] * (end - start > 10 ? 1 : STEP);
        if (!step || done) return;
        event.preventDefault();
        event.stopPropagation();
        set(view, (given() ?? middle(view)) + step);
      });
      return parts;
    }

    // Where a mark stands at first: where it gives no hint.
    const middle = ({model: {y_range: {start, end}}}) => Math.round((start + end) / 2);

    function set(view, value) {
      const {start, end} = view.model.y_range;
      take(Math.round(Math.min(end, Math.max(start, value)) / STEP) * STEP);
      follow();
    }

    // Puts everything where the frame of its plot is by now.
    function place(view, parts) {
      const {left, top, width, height} = view.frame.bbox;
      const [x, y] = [view.frame.x_scale, view.frame.y_scale];
      const value = given();
      const said = [left, top, width, height, value, done, others.length, view.model.y_range.end].join();
      if (said === parts.said || !width) return;
      parts.said = said;
      const px = (node, place) => {
        for (const [name, value] of Object.entries(place)) node.style[name] = `${value}px`;
      };
      parts.box.style.setProperty("--ground", ground(view.el));
      parts.box.style.setProperty("--type", `${type()}px`);
      for (const node of [parts.veil, parts.catch]) if (node) px(node, {left, top, width, height});
      if (parts.veil) parts.veil.style.background = "var(--ground)";
      if (!parts.mark) return;
      const here = x.compute(depth);
      px(parts.rule, {left: here - 1, top, height});
      px(parts.mark, {left: here, top: y.compute(value ?? middle(view))});
      parts.mark.hidden = done && value === undefined;
      parts.rule.hidden = parts.mark.hidden;
      parts.mark.textContent = value === undefined ? "your guess" : done ? `guessed: ${in_label(value)}` : in_label(value);
      Object.assign(parts.mark, {
        ariaValueNow: String(value ?? middle(view)), ariaValueMin: String(view.model.y_range.start),
        ariaValueMax: String(view.model.y_range.end), ariaValueText: value === undefined ? "none yet" : in_words(value),
      });
      parts.others.replaceChildren(...others.map((guessed, i) => {
        const dot = Object.assign(document.createElement("div"), {className: "other"});
        const aside = ((i * 0.618034) % 1 - 0.5) * 2 * JITTER; // evenly, in no order
        px(dot, {left: here + aside, top: Math.min(top + height, Math.max(top, y.compute(guessed)))});
        return dot;
      }));
    }

    function follow() {
      for (const [view, parts] of over) {
        if (!parts.box.isConnected) over.delete(view);
        else place(view, parts);
      }
    }

    function watch() {
      frame = requestAnimationFrame(watch);
      root.classList.toggle("mhc-secret", secret && !done); // though the first page's guess may end it
      for (const view of find()) {
        if (over.has(view) || (done && view.model.name !== mark)) continue;
        const parts = lay(view);
        if (done) finish(parts);
        over.set(view, parts);
      }
      // Nothing is seen before it is covered; but for a plot that does not come, nobody waits.
      if (over.size || performance.now() - began > LATE) root.style.removeProperty("--mhc-veil");
      follow();
    }

    function finish({box, veil, alternative}) {
      box.classList.add("done");
      veil?.remove();
      if (alternative) alternative.inert = false;
    }

    /* Shows the answer: `then()` is called when the curve stands. */
    function reveal(then) {
      done = true;
      root.classList.remove("mhc-secret");
      const all = [...over.values()];
      const end = () => {
        all.forEach(finish);
        then();
      };
      follow();
      if (still() || !all.some(({veil}) => veil)) return end();
      for (const {box} of all) box.classList.add("drawing", "done");
      setTimeout(end, SWEEP);
    }

    watch();
    return {
      reveal,
      compare(values) {
        others = values;
        follow();
      },
      stop() {
        cancelAnimationFrame(frame);
        root.classList.remove("mhc-secret");
        root.style.removeProperty("--mhc-veil");
        for (const parts of over.values()) {
          finish(parts);
          parts.box.remove();
        }
        over.clear();
      },
    };
  };
})();
