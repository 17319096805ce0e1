/* What Bokeh and the widget library do to the plots of the page that nobody wants. */
"use strict";
(() => {
  const prototype = (name) => window.Bokeh?.Models.get(name)?.prototype;

  /* The library's theme writes type sizes of its own, in em, into every axis and title that comes to
     the page: at a moment of its choosing, so that whoever answers may come too early.  Sizes are
     Python's (mhc_demo/figures/style.py), in pixels; colours remain the theme's. */
  for (const type of ["LinearAxis", "LogAxis", "CategoricalAxis", "Title"].map(prototype)) {
    if (!type || Object.hasOwn(type, "setv")) continue;
    const {setv} = type;
    type.setv = function (values, options) {
      const ours = Object.entries(values).filter(([key, value]) =>
        !(key.endsWith("text_font_size") && String(value).endsWith("em")));
      return setv.call(this, Object.fromEntries(ours), options);
    };
  }

  /* Bokeh clears a canvas half a pixel off, so that what was once drawn beyond a plot's frame, between
     new numbers and their new axis, stays along the canvas's edge. */
  const view = prototype("Figure")?.default_view?.prototype;
  if (view?._paint_overlays && !Object.hasOwn(view, "mhc_clears")) {
    const {_paint_overlays: paint} = view;
    view.mhc_clears = true;
    view._paint_overlays = function (ctx) {
      const layer = Object.getPrototypeOf(this.canvas_view.overlays);
      layer.clear = function () {
        const {x, y, width, height} = this.bbox;
        this.ctx.clearRect(x - 1, y - 1, width + 2, height + 2);
      };
      return paint.call(this, ctx);
    };
  }
})();
