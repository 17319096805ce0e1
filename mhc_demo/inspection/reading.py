"""Reads a file of mappings, whatever its format: found by its first bytes, never by its name.

Nothing here runs code from a file or stores anything.  Sizes and shapes are checked as the file
declares them (`limits.py`) before any array is read.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..lab.records import ends_of
from .choosing import Reading, Watch, chosen, merged, numbered
from .limits import NONE, Limits, UnreadableError
from .npz import PICKLE, npy, npz
from .store import Store, finite
from .tensors import safetensors

FORMATS = (".npz", ".npy", ".safetensors", ".jsonl")
"""The usual ends of the names of files that can be read."""
AFTER_TRAINING = (
    "These are the matrices after the last step, averaged over the tokens: the gain of an average, "
    "not the average of the gains."
)


def read_file(
    path: str | os.PathLike[str],
    *,
    limits: Limits = NONE,
    watch: Watch = iter,
    array: str | None = None,
) -> Reading:
    """The mappings in a file, or in the .safetensors files of a folder, as a checkpoint has.

    `array` names the array, if the file holds several.  `watch` goes through what takes long, and
    can show how far it is: `tqdm.tqdm` does.

    Raises UnreadableError for a file that is not loaded, and OSError if it cannot be opened.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, limits, watch, array)
    with open(path, "rb") as file:
        return read_stream(file, path.name, limits=limits, watch=watch, array=array)


def read_bytes(data: bytes | bytearray | memoryview, name: str, *, limits: Limits) -> Reading:
    """The mappings in a file that is in memory and called `name`.

    Raises UnreadableError for one that is not loaded.
    """
    return read_stream(io.BytesIO(data), name, limits=limits)


def read_stream(
    file: BinaryIO,
    name: str,
    *,
    limits: Limits,
    watch: Watch = iter,
    array: str | None = None,
) -> Reading:
    """The mappings in a file that is open and can be sought in.

    Raises UnreadableError for one that is not loaded.
    """
    if _is_record(file):
        return _record(file, name, limits)
    return chosen(_store(file, limits), name, limits, watch, array)


def _size(file: BinaryIO) -> int:
    return file.seek(0, io.SEEK_END)


def _head(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(16)


def _is_record(file: BinaryIO) -> bool:
    return _head(file).lstrip().startswith(b'{"')


def _store(file: BinaryIO, limits: Limits) -> Store:
    """The arrays of a file, by its first bytes."""
    size, head = _size(file), _head(file)
    file.seek(0)
    if not size:
        raise UnreadableError("The file is empty.")
    if size > limits.bytes + 2**20:  # what it holds beside its numbers
        limits.check_bytes(size, "The file")
    if head.startswith(b"\x93NUMPY"):
        return npy(file, size, limits)
    if head.startswith(b"PK"):
        return npz(file, limits)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise UnreadableError(PICKLE)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size:
        return safetensors(file, size, limits)
    raise UnreadableError(
        "It is none of the files that are read here: .npz, .npy, .safetensors, or a record of the "
        "lab (.jsonl)."
    )


def _read_folder(path: Path, limits: Limits, watch: Watch, array: str | None) -> Reading:
    parts = sorted(path.glob("*.safetensors"))
    if not parts:
        raise UnreadableError(f"The folder {path.name!r} has no .safetensors files.")
    with _opened(parts) as files:
        return chosen(
            merged([_store(file, limits) for file in files]), path.name, limits, watch, array
        )


@contextmanager
def _opened(paths: list[Path]) -> Iterator[list[BinaryIO]]:
    with ExitStack() as stack:
        yield [stack.enter_context(open(path, "rb")) for path in paths]


def _record(file: BinaryIO, name: str, limits: Limits) -> Reading:
    """The matrices that a run of the lab ended with."""
    size = _size(file)
    limits.check_bytes(size, "The file")
    file.seek(0)
    try:
        record = ends_of(file, "It")
    except ValueError as error:
        raise UnreadableError(f"{str(error).rstrip('.')}.") from None
    if record.summary is None or not record.summary.h_res:
        raise UnreadableError(
            "The record has no matrices: its last line, which holds them, is missing or damaged."
        )
    matrices = np.array(record.summary.h_res)[None]
    limits.check(matrices.shape, 8, "h_res")
    what = f"Record of the lab, {record.settings.connection} after {record.summary.steps} steps"
    count = matrices.shape[1]
    return Reading(
        name, what, finite(matrices, "h_res"), numbered(count), remarks=(AFTER_TRAINING,)
    )
