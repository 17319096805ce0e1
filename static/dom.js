/* What the other scripts write into the page, and what they tell the world around it. */
"use strict";
Object.assign(mhc, (() => {
  const element = (tag, className, parent, properties = {}) => {
    const node = Object.assign(document.createElement(tag), {className, ...properties});
    parent.append(node);
    return node;
  };

  // Writes only what has changed: a live region speaks whatever is written.
  const text = (node, value) => {
    if (node.textContent !== value) node.textContent = value;
  };

  // Listens, until what it returns is called.
  const on = (target, type, listener) => {
    target.addEventListener(type, listener);
    return () => target.removeEventListener(type, listener);
  };

  // Documents that wait out of sight for their turn (lecture.js): nobody else sees them or their plots.
  const waiting = new WeakSet();
  function hold(doc) {
    waiting.add(doc);
    if (Bokeh.documents.includes(doc)) Bokeh.documents.splice(Bokeh.documents.indexOf(doc), 1);
  }
  function release(doc) {
    if (waiting.delete(doc)) Bokeh.documents.push(doc);
  }

  // Ends a document.  Of its views Bokeh keeps the one that shows notifications, and all that hangs on it.
  function discard(doc) {
    doc.clear();
    doc.views_manager?.clear();
    hold(doc);
  }

  // The views of all other figures.
  const figures = () => [...Bokeh.index.query(({model}) =>
    model.type === "Figure" && !waiting.has(model.document))];

  // Tells the page around an iframe, whichever that is, how high our content is: it cannot look.
  function tell_height(content) {
    const tell = () => {
      const height = Math.ceil(content.getBoundingClientRect().bottom + window.scrollY);
      parent.postMessage({type: "mhc-height", height}, "*");
    };
    new ResizeObserver(tell).observe(content);
  }

  // For paper, plots stay as they are drawn, and their places as high: the sheet is another window,
  // and would make those lower.  What is printed is made smaller, and light.
  const PAPER = 1045; // pixels of an A4 page on its side, between margins of 10 mm
  const SHEET = `
    @page { size: A4 landscape; margin: 10mm; }
    @media print {
      :root { --mhc-bar: none; color-scheme: light !important; }
      :root.mhc-dark { --mhc-paper: invert(1) hue-rotate(180deg); }
      html, body { height: auto !important; overflow: visible !important; background: none !important; }
      .mhc-connection, .mhc-cover { display: none; }
    }`;
  // Returns what ends that.
  function prepare_paper(column, dark) {
    const {width} = column.getBoundingClientRect();
    const root = document.documentElement;
    if (!document.querySelector(".mhc-paper"))
      element("style", "mhc-paper", document.head, {textContent: SHEET});
    root.classList.toggle("mhc-dark", dark);
    root.style.setProperty("--mhc-print-width", `${width}px`);
    root.style.setProperty("--mhc-print-zoom", Math.min(1, PAPER / width));
    const seen = figures().filter(({el}) => el.checkVisibility());
    const places = seen.map(({parent, el}) => parent?.el ?? el.parentElement);
    const heights = places.map((el) => [el.style, "height", `${el.offsetHeight}px`]);
    // Chromium draws a canvas onto the sheet by the steps that were drawn on it, and one that clears it clears
    // the canvases below as well (seen in 150), unless it has a layer of its own: as what is not quite opaque.
    const canvases = seen.flatMap(({canvas_view}) => [canvas_view.primary, canvas_view.overlays]);
    const opaque = canvases.map(({canvas}) => [canvas.style, "opacity", "0.999"]);
    const changed = [...heights, ...opaque].map(([style, name, value]) => {
      const before = style[name];
      style[name] = value;
      return () => { style[name] = before; };
    });
    return () => changed.forEach((undo) => undo());
  }

  // Copies text to the clipboard, also where the browser offers its clipboard to https alone.
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = element("textarea", "", document.body, {value: text});
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }

  return {element, text, on, hold, release, discard, figures, tell_height, prepare_paper, copy};
})());
