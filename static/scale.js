/* Two scales of the axes of gains: all of them, or those near 1 (mhc_demo/figures/scale.py).

   A range holds both in its tags; which one is shown is part of the document's state. */
"use strict";
Object.assign(mhc, (() => {
  const {get, state_of, refresh, listen} = mhc;
  const SCALES = [["full", "Full"], ["near", "Near 1"]];

  // Fits the range of an axis to the scale that its document shows.
  function fit(range) {
    if (!range.document) return; // its view is on its way to the page
    const [start, end] = get(range.tags[0], state_of(range.document).scale);
    range.setv({start, end});
  }

  const has_scales = ({type, tags}) => type === "Range1d" && tags.length === 1 && get(tags[0], "near");

  // Shows that scale in all plots of a document.
  function scale(doc, name) {
    if (!SCALES.some(([each]) => each === name)) return;
    state_of(doc).scale = name;
    for (const model of doc.all_models) if (has_scales(model)) fit(model);
    refresh(doc);
  }

  // Where an axis of log10 gains has its ticks: at powers of ten; within few decades at 2 and 5 too.
  function ticks(start, end) {
    const span = end - start;
    const found = [];
    if (span < 2.5) {
      const digits = span < 0.9 ? [1, 1.2, 1.5, 2, 3, 5, 7] : [1, 2, 5];
      for (let power = Math.floor(start); power <= end; power++)
        found.push(...digits.map((digit) => power + Math.log10(digit)));
    } else {
      const off = (step) => Math.abs(7 - span / step); // seven ticks are enough
      const step = [1, 2, 5, 10, 20, 50, 100].reduce((best, each) => (off(each) < off(best) ? each : best));
      for (let k = Math.ceil(start / step); k * step <= end; k++) found.push(k * step);
    }
    return found.filter((tick) => tick >= start && tick <= end);
  }

  // Keeps curves within their frame.  Bokeh does not where they lie on its overlay, as whatever moves
  // does, and has no setting for it (seen in 3.9).
  function clip() {
    const {GlyphRendererView} = Bokeh.require("models/renderers/glyph_renderer");
    Object.defineProperty(GlyphRendererView.prototype, "needs_clip", {
      configurable: true,
      get() { return Boolean(has_scales(this.plot_view.model.y_range)); },
    });
  }

  // The switch between the scales; `tell` is called with the name of the one that is chosen.
  function scale_control(el, doc, tell) {
    clip();
    el.classList.add("mhc-signal", "mhc-scale");
    const group = mhc.element("div", "zooms", el, {role: "group", ariaLabel: "Scale of the gains"});
    mhc.element("span", "", group, {textContent: "Scale", ariaHidden: "true"});
    const buttons = SCALES.map(([name, title]) => {
      const button = mhc.element("button", "", group, {type: "button", textContent: title});
      button.addEventListener("click", () => {
        scale(doc, name);
        tell(name);
      });
      return button;
    });
    return listen(doc, (state) => {
      SCALES.forEach(([name], i) => { buttons[i].ariaPressed = String(name === state.scale); });
    });
  }

  return {fit, scale, ticks, scale_control};
})());
