/* The controls of one matrix's half steps, the sentence that says what each did, and cells for one's own matrix.

   Python has computed every step (mhc_demo/figures/sinkhorn.py): the table "half-steps" holds the
   matrices, and in its tags the sentences.  This only moves between them. */
"use strict";
Object.assign(mhc, (() => {
  const {get, element, text, listen, move, range, state_of} = mhc;

  // `tell` is called with the step, as by `range`.
  function stepper(el, doc, {tell = () => {}} = {}) {
    el.classList.add("mhc-steps");
    const told = (name) => get(doc.get_model_by_name("half-steps").tags[0], name);
    const end = told("say").length - 1;
    const bar = element("div", "bar", el);
    const step = (by) => {
      const now = Math.min(Math.max(state_of(doc).step + by, 0), end);
      move(doc, "step", now);
      tell(now);
    };
    const button = (words, by, className) => {
      const node = element("button", className, bar, {type: "button", textContent: words});
      node.addEventListener("click", () => step(by));
      return node;
    };
    const back = button("◀ Back", -1, "");
    const next = button("Next half step ▶", 1, "main");
    const slider = element("div", "", bar);
    const stop_range = range(slider, doc, {
      name: "step", label: "Step", start: 0, end, marks: told("marks"), tell, pace: told("pause"), of_view: true});
    const sentence = element("p", "sentence", el, {ariaHidden: "true"});
    const status = element("div", "spoken", el, {role: "status"});
    let timer = null;
    const stop_listening = listen(doc, (state) => {
      const say = told("say")?.[state.step];
      if (say === undefined) return; // another table is on its way
      text(sentence, say);
      back.ariaDisabled = String(state.step === 0);
      next.ariaDisabled = String(state.step === end);
      clearTimeout(timer);
      timer = setTimeout(() => text(status, say), 500);
    });
    return () => {
      clearTimeout(timer);
      stop_range();
      stop_listening();
    };
  }

  /* A grid of cells for a matrix, its size, and a field to paste one into.  `type` is called with
     the rows of texts, `paste` with a text, `leave` for the network's own numbers. */
  function own_numbers(el, {most, type, paste, leave}) {
    el.classList.add("mhc-own");
    const details = element("details", "", el);
    element("summary", "", details, {textContent: "Own numbers"});
    element("p", "", details, {textContent:
      "Type logits into the cells, which begin with those of the layer, rounded: what you enter is "
      + "shown above at once. Or paste a matrix."});
    const form = element("div", "form", details);
    const left = element("div", "", form);
    const sized = element("label", "", left, {textContent: "Rows and columns "});
    const size = element("select", "", sized);
    for (let n = 1; n <= most; n++) element("option", "", size, {value: n, textContent: n});
    const grid = element("div", "grid", left, {role: "group", ariaLabel: "Cells of the matrix"});
    const right = element("label", "pasting", form, {textContent: "Paste a matrix, a row on each line"});
    const area = element("textarea", "", right,
      {rows: 4, spellcheck: false, placeholder: "1 0 0\n0 2 0\n0 0 3"});
    const problem = element("p", "problem", details, {role: "alert", id: "mhc-own-problem"});
    const buttons = element("div", "buttons", details);
    const button = (words, action) =>
      element("button", "", buttons, {type: "button", textContent: words}).addEventListener("click", action);
    button("Show the pasted matrix", () => paste(area.value));
    button("Back to the network’s layer", leave);
    let cells = [];

    const rows = () => {
      const n = Math.round(Math.sqrt(cells.length));
      return Array.from({length: n}, (_, i) => cells.slice(i * n, i * n + n).map((c) => c.value));
    };
    function build(n) {
      grid.replaceChildren();
      grid.style.setProperty("--n", n);
      cells = Array.from({length: n * n}, (_, k) => {
        const ariaLabel = `Row ${Math.floor(k / n) + 1}, column ${(k % n) + 1}`;
        const cell = element("input", "", grid, {type: "text", inputMode: "text", ariaLabel});
        cell.addEventListener("change", () => type(rows()));
        return cell;
      });
      size.value = n;
    }
    size.addEventListener("change", () => {
      const before = rows();
      build(Number(size.value));
      rows().forEach((row, i) => row.forEach((_, j) => {
        cells[i * row.length + j].value = before[i]?.[j] ?? "0";
      }));
      type(rows());
    });
    return {
      // Shows a matrix, but leaves the cell alone that somebody may be typing into.
      fill(texts) {
        const n = Math.round(Math.sqrt(texts.length));
        if (n > most) return build_none();
        if (cells.length !== texts.length) build(n);
        texts.forEach((value, k) => {
        if (cells[k] !== cells[k].getRootNode().activeElement) cells[k].value = value;
      });
      },
      say(error, wrong, in_use) {
        text(problem, error);
        cells.forEach((cell, k) => {
          cell.ariaInvalid = String(k === wrong);
          if (k === wrong) cell.setAttribute("aria-describedby", problem.id);
          else cell.removeAttribute("aria-describedby");
        });
        if (in_use) details.open = true;
        buttons.lastChild.hidden = !in_use;
      },
    };

    // A network of more streams than can be typed: the cells begin with two rows of zeros.
    function build_none() {
      if (cells.length) return;
      build(2);
      for (const cell of cells) cell.value = "0";
    }
  }

  return {stepper, own_numbers};
})());
