"""Writing files whole or not at all: who is interrupted keeps what was there before."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new, empty file beside `path`, with its suffix, which takes its place at the end.

    Nothing of it is left, and `path` is as it was, if the block is left by an exception, be it
    Ctrl-C.  A link is followed, and the file that it leads to is replaced.

    Raises FileNotFoundError if the folder is missing, IsADirectoryError if `path` is a folder,
    ValueError if it is no file (a device, say), and any other OSError of a file that cannot be
    written (PermissionError, ...).
    """
    whole = Path(path).resolve()
    if whole.is_dir():
        raise IsADirectoryError(f"{path} is a folder; what is written must be a file")
    if not whole.parent.is_dir():
        raise FileNotFoundError(f"the folder {whole.parent} does not exist")
    if whole.exists() and not whole.is_file():
        raise ValueError(f"{path} is not a file")
    part = whole.with_name(f".{whole.stem[:32]}-{secrets.token_hex(8)}{whole.suffix}")
    try:  # from here on a signal can come
        # Not by `tempfile`, whose files are closed to all others, whatever the umask says.
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield part
        os.replace(part, whole)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
