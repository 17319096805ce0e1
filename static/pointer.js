/* A plot whose x axis is a slider's: a click goes there, and a drag takes the slider along.

   There is one path for a move, the slider's own, so Python hears of it as always; where no slider
   is to be seen, nothing moves.  A finger that goes up or down scrolls the page: the figures say so
   in their styles (mhc_demo/figures/contents.py). */
"use strict";
Object.assign(mhc, (() => {
  const {get} = mhc;
  const SIDEWAYS = 5; // pixels from which a finger is dragging, and not about to scroll
  const sliders = new WeakMap(); // Bokeh document -> {depth: {input, take}, iterations: ...}
  const figures = new WeakMap(); // what takes the events of a plot -> the view of its figure

  // A slider says that it can be moved by plots: by `take(value)`, as far as its `input` reaches.
  function offer(doc, name, input, take) {
    if (!sliders.has(doc)) sliders.set(doc, {});
    sliders.get(doc)[name] = {input, take};
  }

  /* Moves sliders to the values that `to` names, step by step, or at once if the system asks for
     reduced motion.  A hand on one of them ends that. */
  const RUN = 1500; // milliseconds
  function run(doc, to) {
    for (const [name, end] of Object.entries(to)) {
      const {input, take} = sliders.get(doc)?.[name] ?? {};
      if (!input) continue;
      let now = input.valueAsNumber;
      const pace = RUN / Math.max(1, Math.abs(end - now));
      const step = () => {
        if (input.valueAsNumber !== now || now === end) return;
        take(now += Math.sign(end - now));
        setTimeout(step, pace);
      };
      if (matchMedia("(prefers-reduced-motion: reduce)").matches) take(end);
      else step();
    }
  }

  function view_of(target) {
    if (!figures.has(target)) {
      const [view] = Bokeh.index.query(({model, canvas_view}) =>
        model.type === "Figure" && canvas_view?.events_el === target);
      if (view) figures.set(target, view);
    }
    return figures.get(target);
  }

  // The slider and the value that an event points at, if it is inside of such a plot.
  function aim(event, held = null) {
    const target = held?.target ?? event.composedPath().find((node) => node.classList?.contains("bk-events"));
    const view = target && view_of(target);
    if (!view) return null;
    const contents = view.model.tags.find((tag) => get(tag, "grip"));
    const slider = contents && sliders.get(view.model.document)?.[get(contents, "along")];
    if (!slider?.input.isConnected || !slider.input.checkVisibility()) return null;
    const {left, top} = target.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    if (!held && !view.frame.bbox.contains(x, y)) return null;
    const [least, most] = [slider.input.min, slider.input.max].map(Number);
    const value = Math.min(most, Math.max(least, Math.round(view.frame.x_scale.invert(x))));
    return {target, slider, value, start: event.clientX, dragging: event.pointerType === "mouse"};
  }

  let held = null; // what is dragged, or may be

  const go = ({slider, value}) => slider.take(value);
  const unselectable = (event) => event.preventDefault();

  function let_go(event) {
    if (event.type === "pointerup" && held && !held.dragging) go(aim(event, held) ?? held); // a tap
    held = null;
    removeEventListener("selectstart", unselectable, true);
  }

  addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0) return;
    held = aim(event);
    if (!held) return;
    addEventListener("selectstart", unselectable, true);
    if (held.dragging) go(held);
  }, true);

  addEventListener("pointermove", (event) => {
    if (held && event.isPrimary) {
      held.dragging ||= Math.abs(event.clientX - held.start) >= SIDEWAYS;
      const there = aim(event, held);
      if (there && held.dragging) go(there);
    }
    const there = held ?? (event.pointerType === "mouse" ? aim(event) : null);
    if (there) there.target.style.cursor = "ew-resize"; // after Bokeh, which sets its own
  });
  addEventListener("pointerup", let_go, true);
  addEventListener("pointercancel", let_go, true); // the page scrolls

  return {offer, run, view_of};
})());
