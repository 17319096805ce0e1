/* What the widget library lacks for users without a mouse. */
"use strict";
window.mhc.widgets = (() => {
  // The widget library explains a control by an icon that no keyboard reaches, and by a label on an
  // element that may not have one.  In every widget below `root`, this gives both to the icon.
  function mend(root) {
    for (const label of root.querySelectorAll("svg + span[aria-label][sx]")) {
      const icon = label.previousElementSibling;
      if (!icon.parentElement.closest("[aria-hidden=true]")) { // not in an invisible copy
        icon.setAttribute("tabindex", "0");
        icon.setAttribute("role", "img");
        icon.setAttribute("aria-label", label.ariaLabel);
        icon.removeAttribute("aria-hidden");
      }
      label.removeAttribute("aria-label");
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

  // Its selects open only on a click, though an open list obeys the keys.  The space bar opens on
  // release: if it opened on press, its release would choose the first entry.
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
