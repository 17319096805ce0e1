"""Writing files and folders whole or not at all: an interrupted write leaves what was there."""

from __future__ import annotations

import os
import secrets
import shutil
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


@contextmanager
def replacing_folder(path: str | os.PathLike[str], mark: str) -> Iterator[Path]:
    """A new, empty folder beside `path`, which takes its place at the end.

    A folder that is there is replaced if it is empty, or if it holds a file called `mark`, as one
    that was written so before does.  If an exception leaves the block, Ctrl-C included, the new
    folder is deleted and `path` is as it was.

    Raises FileExistsError if there is something else at `path`, FileNotFoundError if the folder
    around it is missing, and any other OSError if it cannot be written.
    """
    target = Path(path).resolve()
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} does not exist")
    if target.exists() and not (
        target.is_dir() and ((target / mark).is_file() or not any(target.iterdir()))
    ):
        raise FileExistsError(
            f"{path} is not empty and holds no {mark}, so it is not a site of ours: name another "
            "folder, or delete that one"
        )
    part, old = (target.with_name(f".{target.name[:32]}-{secrets.token_hex(8)}") for _ in range(2))
    try:
        part.mkdir()
        yield part
        if target.exists():
            target.rename(old)
        try:
            part.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
    finally:
        for each in (part, old):
            shutil.rmtree(each, ignore_errors=True)
