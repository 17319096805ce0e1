"""Writing files whole or not at all: an interrupted write leaves the old file as it was."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new, empty file beside `path`, with the same suffix, which replaces `path` at the end.

    If an exception leaves the block, Ctrl-C included, the new file is deleted and `path` is as it
    was.  A link is followed, and the file that it points to is replaced.

    Raises FileNotFoundError if the folder is missing, IsADirectoryError if `path` is a folder,
    ValueError if it is not a regular file (a device, say), and any other OSError if the file
    cannot be written (PermissionError, ...).
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder; what is written must be a file")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} does not exist")
    if target.exists() and not target.is_file():
        raise ValueError(f"{path} is not a file")
    part = target.with_name(f".{target.stem[:32]}-{secrets.token_hex(8)}{target.suffix}")
    try:  # from here on a signal may interrupt
        # `tempfile` would make a file that only its owner can read, whatever the umask says.
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield part
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
