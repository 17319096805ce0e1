/* What the cards of "Why it holds" say at the present depth and iterations, in a file and on a site.

   Python has written the sentences (mhc_demo/figures/statements.py); some have places for gains, which
   stand in the table that the plots are cut from. */
"use strict";
mhc.laws = (el, doc, said) => {
  const {get, in_html, listen, state_of} = mhc;
  const table = doc.get_model_by_id(said().table);
  const find = (selector) => el.querySelector(selector);

  function write(node, html) {
    if (node.dataset.now !== html) node.innerHTML = node.dataset.now = html;
  }

  // The sentence with what its places mean; each is the name of a column, now or at 0 iterations.
  function filled(text, {row, column, width, depth}) {
    const gain = (name) =>
      get(table.data, name.replace("hc ", ""))[(name.startsWith("hc ") ? 0 : row * width) + column];
    return text.replace(/\{([\w ]+)\}/g, (_, name) =>
      name === "after" ? `After ${depth} layer${depth === 1 ? "" : "s"}` : in_html(gain(name)));
  }

  function follow({depth, iterations}) {
    const {of_depth, places, kinds} = said();
    const where = table.tags[0];
    const depths = get(where, "depths");
    const [row, column] = [get(where, "iterations").indexOf(iterations), depths.indexOf(depth)];
    const width = depths.length;
    const now = (name) => find(`[data-card="${name}"] .now`);
    for (const [name, texts] of Object.entries(of_depth)) write(now(name), texts[column]);
    for (const [name, {said, at}] of Object.entries(places))
      write(now(name), filled(said[at[row * width + column]], {row, column, width, depth}));
    write(find(".kinds"), kinds[column]);
  }

  listen(doc, follow);
  return () => follow(state_of(doc)); // when other numbers have come
};
