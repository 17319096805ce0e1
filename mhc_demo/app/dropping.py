"""Records that a visitor drops on the page: the browser sends them in pieces, and we check them.

A message may not be large (`guard.py`), so a file comes in pieces, each of which is asked for when
the one before it has come.  A visitor may send anything: sizes are bounded, pieces must follow one
another, and a file is read by the same function as one on a disk.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import param
from panel.custom import JSComponent

from ..lab.records import Record, read_record
from ._panel import prompt
from .static import CSS

PIECE = 200_000
"""Characters of a piece; in UTF-8 and as JSON well below the largest message."""
MOST_CHARACTERS = 8_000_000
"""Of all files that are opened together."""
MOST_FILES = 9
LONGEST_NAME = 200


class RefusedError(ValueError):
    """What was dropped cannot be opened; the text is for the visitor."""


@dataclass
class Pieces:
    """Files that come piece by piece, one set at a time."""

    number: int = 0
    """Of the set that is coming: a later one replaces it."""
    files: dict[str, list[str]] = field(default_factory=dict)
    characters: int = 0

    def add(self, piece: Any) -> dict[str, str] | None:
        """Take [number of the set, name, text, whether it is the last piece of all].

        Returns the files' texts by name when the last piece has come.  Raises RefusedError, after
        which nothing of the set is kept.
        """
        try:
            number, name, text, last = piece
            if not (isinstance(number, int) and isinstance(name, str) and isinstance(text, str)):
                raise TypeError
        except (TypeError, ValueError):
            self.forget()
            raise RefusedError("What came was no file.") from None
        if number != self.number:
            self.forget()
            self.number = number
        self.characters += len(text)
        self.files.setdefault(name[:LONGEST_NAME], []).append(text)
        if self.characters > MOST_CHARACTERS or len(self.files) > MOST_FILES:
            self.forget()
            raise RefusedError(
                f"Open at most {MOST_FILES} records of together {MOST_CHARACTERS // 10**6} MB."
            )
        if not last:
            return None
        whole = {each: "".join(parts) for each, parts in self.files.items()}
        self.forget()
        return whole

    def forget(self) -> None:
        """Let go of what has come so far."""
        self.files, self.characters = {}, 0


def records_of(files: dict[str, str]) -> tuple[list[Record], list[str]]:
    """The records among files, by name, and what is wrong with the others."""
    records, refused = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.jsonl"
        for name, text in files.items():
            path.write_text(text, encoding="utf-8", errors="replace")
            try:
                record = read_record(path)
            except ValueError as error:
                refused.append(f"{name} is no record of the lab: {str(error).partition(': ')[2]}")
                continue
            if not record.steps:
                refused.append(f"{name} has no step.")
            else:
                records.append(record)
                if record.damage:
                    refused.append(f"{name}: {record.damage}")
    return records, refused


@prompt
class RecordDrop(JSComponent):
    """A place to drop files on, and a button to choose them."""

    piece = param.List(doc="See `Pieces.add`.")
    taken = param.Integer(doc="How many pieces were taken: the next one may come.")
    problem = param.String(doc="What is wrong with what was dropped.")
    size = param.Integer(default=PIECE, constant=True)

    _esm = """
    export function render({model, el}) {
      const box = mhc.element("div", "mhc-drop", el)
      const text = "Records of your own: drop the .jsonl files of mhc-demo train or sweep here, or "
      mhc.element("span", "", box, {textContent: text})
      const label = mhc.element("label", "", box, {textContent: "choose them"})
      const choice = {type: "file", multiple: true, accept: ".jsonl"}
      const input = mhc.element("input", "", label, choice)
      const problem = mhc.element("p", "problem", el, {role: "alert"})
      const say = () => { problem.textContent = model.problem }
      say()
      model.on("problem", say)

      let next = null // called when a piece was taken
      model.on("taken", () => next?.())
      const taken = () => new Promise((go) => { next = go })
      let set = Date.now()
      async function send(files) {
        const now = ++set
        const whole = [...files]
        for (const [i, file] of whole.entries()) {
          const text = await file.text()
          for (let at = 0; at === 0 || at < text.length; at += model.size) {
            const end = at + model.size
            const last = i === whole.length - 1 && end >= text.length
            const done = taken()
            model.piece = [now, file.name, text.slice(at, end), last]
            await done
            if (set !== now || model.problem) return
          }
        }
      }
      input.addEventListener("change", () => { send(input.files); input.value = "" })
      const over = (event) => {
        if (!event.dataTransfer?.types.includes("Files")) return
        event.preventDefault()
        box.classList.toggle("over", event.type !== "drop")
        if (event.type === "drop") send(event.dataTransfer.files)
      }
      const out = () => box.classList.remove("over")
      const all = {dragover: over, drop: over, dragleave: out}
      for (const [name, act] of Object.entries(all)) window.addEventListener(name, act)
      model.on("remove", () => {
        for (const [name, act] of Object.entries(all)) window.removeEventListener(name, act)
      })
    }
    """
    _stylesheets: ClassVar = [CSS]
