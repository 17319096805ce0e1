"""NumPy's .npy and .npz files, read without NumPy's own reader, which can run pickled code.

A header is matched against the few words that NumPy writes; nothing is evaluated.  An archive's
directory is small or is not read at all, and an array is unzipped piece by piece into a buffer of
its declared size: so a file that unpacks to more than it says, or to more than is allowed, is
found out before it takes memory.
"""

from __future__ import annotations

import math
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

import numpy as np

from .limits import Limits, UnreadableError, shown
from .store import Declared, Floats, Store, finite

MAGIC = b"\x93NUMPY"
LARGEST_HEADER = 4096
LARGEST_DIRECTORY = 2**20
"""Bytes of an archive's directory: some ten thousand arrays."""
PIECE = 2**20

BAD = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, TypeError),
    *(KeyError, IndexError, OverflowError, RuntimeError),
)
"""What Python's zipfile raises for archives that are wrong (for encrypted ones RuntimeError)."""

NUMBERS = re.compile(r"[<>=|]?f([248])")
TEXT = re.compile(r"[<>=|]?U(\d{1,4})")


def npy(file: BinaryIO, size: int, limits: Limits) -> Store:
    """The one array of a .npy file of that many bytes."""
    array = _declared("array", file, size, limits, lambda: _at(file, 0))
    return Store("NumPy file", {array.name: array})


def _at(file: BinaryIO, position: int) -> BinaryIO:
    file.seek(position)
    return file


def npz(file: BinaryIO, limits: Limits) -> Store:
    """The arrays of an .npz file.

    Raises UnreadableError if it is no such file, or declares too much.
    """
    bounded: Any = _Bounded(file)
    try:
        archive = zipfile.ZipFile(bounded)
        members = archive.infolist()
    except UnreadableError:
        raise
    except BAD as error:
        raise UnreadableError(f"It is a damaged zip archive: {_said(error)}.") from None
    bounded.most = math.inf
    arrays, refused = {}, {}
    for member in members:
        name = member.filename
        if name.endswith(".pkl"):
            raise UnreadableError(PICKLE)
        if not name.endswith(".npy"):
            continue
        name = name.removesuffix(".npy")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            refused[name] = f"The array {shown(name)} is compressed in a way that NumPy never uses."
            continue
        try:
            with archive.open(member) as part:
                declared = _declared(
                    name, part, member.file_size, limits, partial(archive.open, member)
                )
        except UnreadableError as error:
            refused[name] = str(error)
        except BAD as error:
            refused[name] = f"The array {shown(name)} is damaged: {_said(error)}."
        else:
            arrays[name] = declared
    return Store("NumPy archive", arrays, refused=refused)


PICKLE = (
    "It is a pickle, as PyTorch's .pt files are, which can run code when it is opened: save the "
    "arrays as .npz or .safetensors."
)


class _Bounded:
    """A file that refuses to be read in large pieces while the directory of an archive is read."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.most: float = LARGEST_DIRECTORY

    def read(self, size: int = -1) -> bytes:
        if size > self.most:
            raise UnreadableError("The directory of the archive is too large for one of arrays.")
        if size < 0 and self.most < math.inf:
            size = LARGEST_DIRECTORY
        return self.file.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        return self.file.seek(position, whence)

    def tell(self) -> int:
        return self.file.tell()

    def seekable(self) -> bool:
        return True


def _declared(
    name: str, part: Any, size: int, limits: Limits, reopen: Callable[[], Any]
) -> Declared:
    """What the header of an array of `size` bytes, header included, declares."""
    shape, dtype, fortran, start = _header(part, name)
    dtype_of = np.dtype(dtype)
    declared = math.prod(shape) * dtype_of.itemsize
    limits.check_bytes(declared, f"The array {shown(name)}")
    if start + declared != size:
        raise UnreadableError(
            f"The array {shown(name)} declares {declared:,} bytes and has {size - start:,}."
        )

    def read() -> Floats:
        limits.check_bytes(declared, f"The array {shown(name)}")
        found = np.empty(declared // dtype_of.itemsize, dtype_of)
        buffer = memoryview(found.view(np.uint8)) if dtype_of.kind == "f" else None  # type: ignore[arg-type]
        filled = 0
        try:
            with _Opened(reopen()) as file:
                file.read(start)
                pieces = bytearray() if buffer is None else None
                while filled < declared:
                    piece = file.read(min(PIECE, declared - filled))
                    if not piece:
                        raise UnreadableError(f"The array {shown(name)} was cut off.")
                    if buffer is not None:
                        buffer[filled : filled + len(piece)] = piece
                    elif pieces is not None:
                        pieces += piece
                    filled += len(piece)
                if file.read(1):  # this also has zipfile compare the checksum
                    raise UnreadableError(f"The array {shown(name)} is longer than it declares.")
            if pieces is not None:
                texts = np.frombuffer(bytes(pieces), dtype_of).reshape(shape)
                texts.tolist()  # raises for numbers that are no characters
                return texts
        except UnreadableError:
            raise
        except BAD as error:
            raise UnreadableError(f"The array {shown(name)} is damaged: {_said(error)}.") from None
        ordered = found.reshape(shape, order="F" if fortran else "C")
        native = ordered.astype(dtype_of.newbyteorder("="), copy=False)
        return finite(native, name)

    text = dtype_of.kind == "U"
    return Declared(name, shape, dtype, dtype_of.itemsize, read, text=text)


class _Opened:
    """Closes a member of an archive, and leaves a file open that is no member."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> Any:
        return self.file

    def __exit__(self, *_: Any) -> None:
        if isinstance(self.file, zipfile.ZipExtFile):
            self.file.close()


def _header(part: Any, name: str) -> tuple[tuple[int, ...], str, bool, int]:
    """Shape, dtype, whether in Fortran's order, and the bytes before the numbers."""
    head = part.read(8)
    if len(head) < 8 or not head.startswith(MAGIC) or head[6] not in (1, 2, 3):
        raise UnreadableError(f"The array {shown(name)} is no NumPy array.")
    count = 2 if head[6] == 1 else 4
    length = int.from_bytes(part.read(count), "little")
    if length > LARGEST_HEADER:
        raise UnreadableError(f"The header of the array {shown(name)} is too long.")
    words = part.read(length).decode("latin-1")
    descr = re.search(r"'descr':\s*'([^']{1,12})'", words)
    order = re.search(r"'fortran_order':\s*(True|False)\b", words)
    sizes = re.search(r"'shape':\s*\(((?:\s*\d{1,15}\s*,?)*)\)", words)
    if "'|O'" in words or "'O'" in words:
        raise UnreadableError(
            f"The array {shown(name)} holds pickled objects, which can run code: save it as "
            "numbers (float32)."
        )
    if not (descr and order and sizes):
        raise UnreadableError(f"The header of the array {shown(name)} is none that NumPy writes.")
    dtype = descr[1]
    if not (NUMBERS.fullmatch(dtype) or TEXT.fullmatch(dtype)):
        raise UnreadableError(
            f"The array {shown(name)} holds {shown(dtype)}; float16, float32 and float64 are read."
        )
    shape = tuple(int(each) for each in re.findall(r"\d+", sizes[1]))
    if len(shape) > MOST_AXES:
        raise UnreadableError(f"The array {shown(name)} has {len(shape)} axes.")
    return shape, dtype, order[1] == "True", 8 + count + length


MOST_AXES = 16


def _said(error: Exception) -> str:
    """What Python says of it, as the end of a sentence; it may quote a hostile name."""
    words = " ".join(str(error).split())[:80].rstrip(".")
    return words if words.isprintable() and words else type(error).__name__
