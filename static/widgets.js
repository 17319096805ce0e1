/* What the widget library leaves out for those who use no mouse. */
"use strict";
window.mhc.widgets = (() => {
  // The widget library explains a control by a sign that no keyboard reaches, and by a label on an
  // element that may have none.  The sign gets both, in every widget below `root`, when it comes.
  function mend(root) {
    for (const said of root.querySelectorAll("svg + span[aria-label][sx]")) {
      const sign = said.previousElementSibling;
      if (!sign.parentElement.closest("[aria-hidden=true]")) { // else a copy that is not seen
        sign.setAttribute("tabindex", "0");
        sign.setAttribute("role", "img");
        sign.setAttribute("aria-label", said.ariaLabel);
        sign.removeAttribute("aria-hidden");
      }
      said.removeAttribute("aria-label");
    }
    for (const inner of root.querySelectorAll("*")) if (inner.shadowRoot) watch(inner.shadowRoot);
  }

  const watched = new WeakSet();
  function watch(root) {
    if (watched.has(root)) return;
    watched.add(root);
    new MutationObserver(() => mend(root)).observe(root, {childList: true, subtree: true});
    mend(root);
  }

  // Its selects open on a click alone; a list that is open obeys the keys.  The space bar opens
  // when it is let go, or letting it go would choose what is first in the list.
  function open(event) {
    const select = event.composedPath()[0];
    if (!(select instanceof HTMLElement) || select.ariaDisabled === "true") return;
    if (!select.matches("[role=combobox][aria-haspopup=listbox][aria-expanded=false]")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    select.click();
  }
  const on = (type, keys) => window.addEventListener(
    type, (event) => { if (keys.includes(event.key)) open(event); }, true);
  on("keydown", ["Enter", "ArrowDown", "ArrowUp"]);
  on("keyup", [" "]);

  return {watch};
})();
