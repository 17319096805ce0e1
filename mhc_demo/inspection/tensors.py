"""The .safetensors format: a header of JSON, then plain numbers.

It is read here and not by the package of that name, because the header can then be bounded and
compared with the file before anything is read, because bfloat16 needs no other library so, and
because of a checkpoint of hundreds of gigabytes only the few tensors that are asked for are read.
The format: 8 bytes, the length of the header; the header, {name: {dtype, shape, data_offsets}};
the data.
"""

from __future__ import annotations

import json
import math
from typing import Any, BinaryIO

import numpy as np

from .limits import Limits, UnreadableError, shown
from .store import Declared, Floats, Store, finite

LARGEST_HEADER = 2**20
"""Bytes, where there are limits: some ten thousand tensors."""
LARGEST_ANYWHERE = 100_000_000
"""The format's own limit."""

NUMBERS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
METADATA = "__metadata__"
LAYERS = "layers"
"""The entry of the metadata that names the layers, as a list in JSON."""


def safetensors(file: BinaryIO, size: int, limits: Limits) -> Store:
    """The tensors of a .safetensors file of that many bytes.

    Raises UnreadableError if it is no such file, or declares too much.
    """
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    most = LARGEST_HEADER if math.isfinite(limits.bytes) else LARGEST_ANYWHERE
    if length > min(most, size - 8):
        raise UnreadableError("The header of the .safetensors file is longer than allowed.")
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError):
        raise UnreadableError("The header of the .safetensors file is not JSON.") from None
    if not isinstance(header, dict):
        raise UnreadableError("The header of the .safetensors file is no JSON object.")
    metadata = header.pop(METADATA, {})
    start = 8 + length
    arrays, refused = {}, {}
    for name, entry in header.items():
        try:
            arrays[name] = _declared(name, entry, file, start, size - start, limits)
        except UnreadableError as error:
            refused[name] = str(error)
    return Store(".safetensors file", arrays, layer_names(metadata), refused)


def layer_names(metadata: Any) -> tuple[str, ...]:
    """The names of the layers, if the metadata have a list of them."""
    if not isinstance(metadata, dict) or not isinstance(metadata.get(LAYERS), str):
        return ()
    try:
        names = json.loads(metadata[LAYERS])
    except (ValueError, RecursionError):
        return ()
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        return ()
    return tuple(names)


def _declared(
    name: str, entry: Any, file: BinaryIO, start: int, room: int, limits: Limits
) -> Declared:
    if not isinstance(entry, dict):
        raise UnreadableError(f"The tensor {shown(name)} is not declared as one.")
    dtype: Any = entry.get("dtype")
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in SIZES:
        raise UnreadableError(
            f"The tensor {shown(name)} holds {shown(str(dtype))}; {', '.join(SIZES)} are read."
        )
    if not (_counts(shape, 16) and _counts(offsets, 2) and len(offsets) == 2):
        raise UnreadableError(f"The tensor {shown(name)} has no shape or no place in the file.")
    begin, end = offsets
    declared = math.prod(shape) * SIZES[dtype]
    if not (begin <= end <= room and end - begin == declared):
        raise UnreadableError(
            f"The tensor {shown(name)} declares {declared:,} bytes, which are not in the file."
        )

    def read() -> Floats:
        limits.check_bytes(declared, f"The tensor {shown(name)}")
        file.seek(start + begin)
        raw = file.read(declared)
        if len(raw) != declared:
            raise UnreadableError(f"The tensor {shown(name)} was cut off.")
        found = np.frombuffer(raw, NUMBERS[dtype]).reshape(shape)
        if dtype == "BF16":  # the upper half of a float32
            found = (found.astype(np.uint32) << 16).view(np.float32)
        return finite(found, name)

    return Declared(name, tuple(shape), dtype, SIZES[dtype], read)


def _counts(values: Any, most: int) -> bool:
    """Whether it is a list of so many whole numbers that a file can hold."""
    return (
        isinstance(values, list)
        and len(values) <= most
        and all(type(each) is int and 0 <= each < 2**53 for each in values)
    )


def write(file: BinaryIO, name: str, array: Any, layers: tuple[str, ...]) -> None:
    """Write one float32 array, and the names of its layers as metadata."""
    data = np.ascontiguousarray(array, "<f4")
    header = json.dumps(
        {
            METADATA: {LAYERS: json.dumps(list(layers))},
            name: {"dtype": "F32", "shape": list(data.shape), "data_offsets": [0, data.nbytes]},
        }
    ).encode()
    header += b" " * (-len(header) % 8)  # the numbers begin at a multiple of 8
    file.write(len(header).to_bytes(8, "little"))
    file.write(header)
    file.write(data.data)
