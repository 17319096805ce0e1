"""A matrix of the reader's own: the cells that it is typed or pasted into, and how it is read.

Whatever is entered may be anything: Python reads it, and says in a sentence what is wrong with it.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import param
from panel.custom import JSComponent

from .static import CSS
from .values import LARGEST_ENTRY, MOST_ROWS, entry_of

MOST_PASTED = 10_000
"""Characters of a pasted matrix that are looked at."""


class OwnNumbers(JSComponent):
    """A grid of cells to type a matrix into, and a field to paste one into.

    Python reads what was typed, and says what is wrong with it.
    """

    cells = param.List(item_type=str, doc="The texts in the cells, row after row.")
    typed = param.List(doc="[count, rows of texts]: what was typed into the cells.")
    pasted = param.List(doc="[count, text]: what was pasted.")
    leave = param.Integer(doc="How often the network's own matrix was asked for.")
    error = param.String(doc="What is wrong with what was entered.")
    cell = param.Integer(default=-1, doc="The cell that is wrong, if it is one.")
    most = param.Integer(default=MOST_ROWS, constant=True, doc="Rows at most.")
    in_use = param.Boolean(doc="Whether the reader's own numbers are shown.")

    _esm = """
    export function render({model, el}) {
      const host = document.createElement("div")
      el.append(host)
      let count = 0
      const form = mhc.own_numbers(host, {
        most: model.most,
        type: (rows) => { model.typed = [++count, rows] },
        paste: (text) => { model.pasted = [++count, text] },
        leave: () => { model.leave += 1 },
      })
      const fill = () => form.fill(model.cells)
      const say = () => form.say(model.error, model.cell, model.in_use)
      fill()
      say()
      model.on("cells", fill)
      for (const name of ["error", "cell", "in_use"]) model.on(name, say)
    }
    """
    _stylesheets: ClassVar = [CSS]


class TakesNumbers:
    """What a view does with what is entered: a matrix becomes the page's, or is refused."""

    context: Any
    own: OwnNumbers

    def own_numbers(self, **options: Any) -> OwnNumbers:
        """The cells, with Panel's `options`."""
        cells = OwnNumbers(sizing_mode="stretch_width", margin=0, **options)
        cells.param.watch(self._typed, "typed")
        cells.param.watch(self._pasted, "pasted")
        cells.param.watch(self._leave, "leave")
        return cells

    @staticmethod
    def refuse(found: list[float]) -> None:
        """Raise WrongCellError if the view has no place for these entries of a square matrix."""

    def _typed(self, event: param.parameterized.Event) -> None:
        self._take(event.new[1:2])

    def _pasted(self, event: param.parameterized.Event) -> None:
        text = event.new[1] if len(event.new) > 1 else ""
        self._take([rows_of(text)] if isinstance(text, str) else [])

    def _take(self, given: Any) -> None:
        """Show what was entered, or say what is wrong with it."""
        try:
            found = matrix_of(given[0] if given else None)
            self.refuse(found)
        except WrongCellError as wrong:
            self.own.param.update(error=str(wrong), cell=wrong.cell)
            return
        self.own.param.update(error="", cell=-1)
        self.context.state.param.update(own=found)

    def _leave(self, *_: Any) -> None:
        self.context.state.param.update(own=[])


class WrongCellError(ValueError):
    """What is wrong with a matrix that was entered, and in which cell (-1: in none)."""

    def __init__(self, sentence: str, cell: int = -1) -> None:
        super().__init__(sentence)
        self.cell = cell


def rows_of(text: str) -> list[list[str]]:
    """The cells of a pasted matrix: rows on lines of their own, after semicolons or in brackets.

    >>> rows_of("1 2; 3 4"), rows_of("[[1, 2],\\n [3, 4]]"), rows_of("1\\t2\\n3\\t4\\n")
    ([['1', '2'], ['3', '4']], [['1', '2'], ['3', '4']], [['1', '2'], ['3', '4']])
    """
    lines = re.split(r"[\n\r;\]]+", text[:MOST_PASTED].replace("[", " "))
    rows = [[c for c in re.split(r"[\s,]+", line) if c] for line in lines]
    return [row for row in rows if row]


def matrix_of(rows: Any) -> list[float]:
    """The entries of a square matrix of texts, row after row.

    Raises WrongCellError that names the row and column, and says what is allowed, but does not
    repeat what was entered.
    """
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows) or not rows:
        raise WrongCellError("There are no numbers: a matrix has n rows of n numbers.")
    n = len(rows)
    if n > MOST_ROWS:
        raise WrongCellError(f"There are {n} rows; at most {MOST_ROWS} are allowed.")
    for i, row in enumerate(rows, start=1):
        if len(row) != n:
            some = f"{len(row)} number{'s' * (len(row) != 1)}"
            raise WrongCellError(
                f"Row {i} has {some}; a matrix of {n} row{'s' * (n != 1)} needs {n} in each."
            )
    found = []
    for k, cell in enumerate(cell for row in rows for cell in row):
        value = entry_of(cell) if isinstance(cell, str) else None
        if value is None:
            raise WrongCellError(
                f"Row {k // n + 1}, column {k % n + 1}: a number from "
                f"−{LARGEST_ENTRY:,.0f} to {LARGEST_ENTRY:,.0f} is allowed, such as −0.5 or 2e-3.",
                k,
            )
        found.append(value)
    return found
