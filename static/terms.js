/* Explanations of words and symbols, on hover, focus or tap: each element of class "term" carries
   its own (mhc_demo/story/glossary.py).  They share one box in the browser's top layer, where no
   component clips it. */
"use strict";
(() => {
  // Browsers draw formulas well only in a font made for them, which not all systems have.  This is
  // STIX Two Math 2.12, cut down to the signs that formulas use (licence: math.OFL.txt).
  // A site's pages say themselves where theirs is (mhc_demo/export/story.py).
  const known = [...document.fonts].some(({family}) => family.replaceAll('"', "") === "mhc math");
  const source = known ? "" : document.currentScript?.src;
  const FONT = source && `
    @font-face { font-family: "mhc math"; src: url("${new URL("math.woff2", source)}") format("woff2"); }`;
  const SHEET = `${FONT || ""}
    .mhc-tip {
      position: fixed; inset: auto; margin: 0; box-sizing: border-box;
      max-width: min(26em, calc(100vw - 16px)); padding: 0.5em 0.75em;
      font: calc(15px * min(var(--mhc-type, 1), 1.4))/1.4 system-ui, sans-serif;
      color: #f1f3f5; background: #22262b; border: 1px solid #5c636a; border-radius: 8px;
      box-shadow: 0 3px 14px rgb(0 0 0 / 0.35);
    }
    .mhc-tip b { display: block; }`;
  const GAP = 8;
  let tip = null;
  let shown = null; // the term that is explained
  let height_shown = 0; // its top edge at that moment
  let kept = false; // opened by a tap or a click, and open until the next one
  let timer = null;

  document.head.append(Object.assign(document.createElement("style"), {textContent: SHEET}));

  function box() {
    if (tip) return tip;
    tip = Object.assign(document.createElement("div"), {className: "mhc-tip", popover: "manual"});
    tip.setAttribute("aria-hidden", "true"); // the term has it as its description
    tip.addEventListener("pointerenter", () => clearTimeout(timer));
    tip.addEventListener("pointerleave", leave);
    document.body.append(tip);
    return tip;
  }

  function show(term) {
    clearTimeout(timer);
    if (shown === term) return;
    const node = box();
    const title = Object.assign(document.createElement("b"), {textContent: term.dataset.title});
    node.replaceChildren(title, term.getAttribute("aria-description"));
    if (!shown) node.showPopover();
    // Above the word if there is room, else below; within the window.
    const word = term.getBoundingClientRect();
    height_shown = word.top;
    const {width, height} = node.getBoundingClientRect();
    const left = Math.min(Math.max(word.left + word.width / 2 - width / 2, GAP), innerWidth - width - GAP);
    const above = word.top - height - GAP;
    node.style.left = `${left}px`;
    node.style.top = `${above >= 0 ? above : word.bottom + GAP}px`;
    shown = term;
    kept = false;
  }

  function hide() {
    clearTimeout(timer);
    kept = false;
    if (!shown) return;
    shown = null;
    tip.hidePopover();
  }

  // A moment later, so that the pointer can reach the box.
  function leave() {
    clearTimeout(timer);
    if (!kept) timer = setTimeout(hide, 200);
  }

  const term_of = (event) => event.composedPath().find((node) => node.classList?.contains("term"));

  function toggle(term) {
    if (kept && shown === term) return hide();
    show(term);
    kept = true;
  }

  // Not "pointerover" and "focusin": between elements of one component they do not leave it.
  document.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch") return; // a tap
    const term = term_of(event);
    if (term) show(term);
    else if (shown && !event.composedPath().includes(tip)) leave();
  });
  document.addEventListener("keyup", (event) => {
    if (event.key !== "Tab") return;
    let at = document.activeElement;
    while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
    if (at?.classList.contains("term")) show(at);
    else hide();
  });
  document.addEventListener("click", (event) => {
    const term = term_of(event);
    if (term) toggle(term);
    else if (!event.composedPath().includes(tip)) hide();
  });
  window.addEventListener("keydown", (event) => {
    const term = term_of(event);
    if (event.key === "Escape" && shown) {
      hide();
      event.stopImmediatePropagation();
    } else if (term && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      toggle(term);
    }
  }, true);
  window.addEventListener("scroll", () => {
    if (shown && shown.getBoundingClientRect().top !== height_shown) hide();
  }, true);
})();
