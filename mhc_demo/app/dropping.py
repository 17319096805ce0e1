"""Files that a visitor drops on the page: the browser sends them in pieces, and we check them.

A message may not be large (`guard.py`), so a file comes in pieces, each of which is asked for when
the one before it has come.  A visitor may send anything: sizes are bounded, pieces must follow one
another, and a file is read by the same function as one on a disk.  Records of the lab are text, and
several may come together; a model's mappings are one file of bytes, which travels as base64.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

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
            number, name, text, last = _checked(piece)
        except RefusedError:
            self.forget()
            raise
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


def _checked(piece: Any) -> tuple[int, str, str, bool]:
    """A piece as it must be.  Raises RefusedError if it is none."""
    try:
        number, name, text, last = piece
        if not (isinstance(number, int) and isinstance(name, str) and isinstance(text, str)):
            raise TypeError
    except (TypeError, ValueError):
        raise RefusedError("What came was no file.") from None
    return number, name, text, bool(last)


BYTES_PIECE = 540_000
"""Bytes of a piece: 720,000 characters of base64, a multiple of three without padding."""
MOST_COMING = 2**28
"""Bytes that may be on their way from all visitors together."""


class Incoming:
    """One file that comes piece by piece, as bytes in base64, of at most `most` bytes."""

    _all: ClassVar[WeakSet[Incoming]] = WeakSet()

    def __init__(self, most: int) -> None:
        self.most = most
        self.number = 0
        self.data = bytearray()
        self.reading = 0
        """Bytes of the file that came last, until it is `done`."""
        self._all.add(self)

    def add(self, piece: Any) -> tuple[str, bytearray] | None:
        """Take [number of the file, name, base64, whether it is the last piece].

        Returns the file's name and bytes when the last piece has come; no other one may come until
        it is `done`.  Raises RefusedError, after which nothing of the file is kept.
        """
        try:
            number, name, text, last = _checked(piece)
            if self.reading:
                raise RefusedError("The last file is still being read: wait for it.")
            if number != self.number:
                self.forget()
                self.number = number
            if len(text) > 2 * BYTES_PIECE:
                raise RefusedError("What came was no file.")
            try:
                self.data += base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                raise RefusedError("What came was no file.") from None
            if len(self.data) > self.most:
                raise RefusedError(too_large(self.most))
            if sum(len(each.data) + each.reading for each in self._all) > MOST_COMING:
                raise RefusedError("The server is reading too many files just now: try again soon.")
        except RefusedError:
            self.forget()
            raise
        if not last:
            return None
        whole = self.data
        self.reading = len(whole)
        self.forget()
        return name[:LONGEST_NAME], whole

    def done(self) -> None:
        """The file was read, and let go of."""
        self.reading = 0

    def forget(self) -> None:
        """Let go of what has come so far."""
        self.data = bytearray()


def too_large(most: int) -> str:
    """Why a file of more bytes is refused."""
    return f"The file is larger than {most // 2**20} MiB, the most that this page reads."


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
class FileDrop(JSComponent):
    """A place to drop files on, and a button to choose them.

    As text they come to `Pieces`; with `most` set, one file comes as bytes to `Incoming`.
    """

    words = param.String(
        default="Records of your own: drop the .jsonl files of mhc-demo train or sweep here, or ",
        doc="What can be dropped, before the words of the button.",
    )
    button = param.String(default="choose them")
    accept = param.String(default=".jsonl", doc="Ends of the names of files that can be chosen.")
    most = param.Integer(default=0, doc="The most bytes of a file; 0: files of text.")
    large = param.String(doc="What is said of a larger file.")
    piece = param.List(doc="See `Pieces.add` and `Incoming.add`.")
    taken = param.Integer(doc="How many pieces were taken: the next one may come.")
    problem = param.String(doc="What is wrong with what was dropped.")
    size = param.Integer(default=PIECE, doc="Characters or bytes of a piece.")

    _esm = """
    export function render({model, el}) {
      const box = mhc.element("div", "mhc-drop", el)
      mhc.element("span", "", box, {textContent: model.words})
      const label = mhc.element("label", "", box, {textContent: model.button})
      const choice = {type: "file", multiple: !model.most, accept: model.accept}
      const input = mhc.element("input", "", label, choice)
      const far = mhc.element("progress", "", box, {max: 1, hidden: true, ariaLabel: "File sent"})
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
        const whole = [...files].slice(0, model.most ? 1 : undefined)
        for (const [i, file] of whole.entries()) {
          if (model.most && file.size > model.most) {
            problem.textContent = model.large
            return
          }
          const source = model.most ? file : await file.text()
          const length = model.most ? file.size : source.length
          for (let at = 0; at === 0 || at < length; at += model.size) {
            const end = at + model.size
            const last = i === whole.length - 1 && end >= length
            const part = source.slice(at, end)
            const text = model.most ? in_base64(await part.arrayBuffer()) : part
            if (set !== now) return
            const done = taken()
            far.hidden = !model.most || last
            far.value = end / length
            model.piece = [now, file.name, text, last]
            await done
            if (set !== now || model.problem) {
              far.hidden = true
              return
            }
          }
        }
      }
      const AT_ONCE = 2 ** 14 // arguments that a call can have
      function in_base64(buffer) {
        const bytes = new Uint8Array(buffer)
        let text = ""
        for (let at = 0; at < bytes.length; at += AT_ONCE)
          text += String.fromCharCode(...bytes.subarray(at, at + AT_ONCE))
        return btoa(text)
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
