/* The doors to the views: groups, each with the question that it answers, and in a group its views;
   and the way to present the one that is open.  The first page and the live page have the same. */
"use strict";
mhc.doors = (() => {
  const {element, text} = mhc;

  // The arrow keys move between the tabs of a list, as in every list of tabs.
  function by_arrows(list) {
    list.addEventListener("keydown", (event) => {
      const by = {ArrowRight: 1, ArrowLeft: -1}[event.key];
      if (!by) return;
      const tabs = [...list.querySelectorAll("[role=tab]")];
      const at = tabs.indexOf(event.target);
      const next = tabs[(at + by + tabs.length) % tabs.length];
      event.preventDefault();
      next.focus();
      next.click();
    });
  }

  function list_of(parent, className, label) {
    const list = element("div", className, parent, {role: "tablist", ariaLabel: label});
    by_arrows(list);
    return list;
  }

  function tab(list, label, open) {
    const node = element("button", "", list, {type: "button", role: "tab", textContent: label});
    node.addEventListener("click", open);
    return node;
  }

  function mark(node, chosen) {
    node.ariaSelected = String(chosen);
    node.tabIndex = chosen ? 0 : -1;
  }

  /* `groups`: [{title, question, views: [{name, title}]}].  `choose(name)` is called for a view that
     the reader opens, `present()`, if given, to present the one that is open.  Returns `show(name)`, which marks
     the view that is open. */
  return function doors(el, {groups, choose, present}) {
    el.classList.add("mhc-doors");
    const outer = list_of(el, "outer", "Views");
    const line = element("div", "line", el);
    const question = element("p", "question", line);
    const inner = list_of(line, "inner", "Views of this group");
    if (present)
      element("button", "present", line, {type: "button", textContent: "Present", ariaLabel: "Present this view"})
        .addEventListener("click", present);
    const last = new Map(groups.map((group) => [group, group.views[0].name])); // last open
    const heads = groups.map((group) => tab(outer, group.title, () => open(last.get(group))));
    let shown = null; // group

    function open(name) {
      show(name);
      choose(name);
    }

    function show(name) {
      const group = groups.find(({views}) => views.some((view) => view.name === name));
      if (!group) return;
      last.set(group, name);
      heads.forEach((head, i) => mark(head, groups[i] === group));
      text(question, group.question);
      const several = group.views.length > 1;
      inner.hidden = !several;
      if (shown !== group) {
        inner.replaceChildren();
        if (several) for (const view of group.views) tab(inner, view.title, () => open(view.name));
        const head = heads[groups.indexOf(group)];
        if (head.offsetLeft + head.offsetWidth > outer.scrollLeft + outer.clientWidth
            || head.offsetLeft < outer.scrollLeft)
          outer.scrollLeft = head.offsetLeft - (outer.clientWidth - head.offsetWidth) / 2;
      }
      shown = group;
      [...inner.children].forEach((node, i) => mark(node, group.views[i].name === name));
    }

    return show;
  };
})();
