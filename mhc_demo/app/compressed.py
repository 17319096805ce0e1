"""Static files and pages as browsers get them: compressed once, not for every visitor.

A page loads 5 MB of scripts, of which a quarter is left when they are compressed.  To do that for
every request, as Tornado can, would take the processor longer than everything else about a file.
So each file is compressed when it is first requested, on a thread, and kept in memory.
"""

from __future__ import annotations

import asyncio
import gzip
import os
from functools import lru_cache
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError, StaticFileHandler

COMPRESSIBLE = (".css", ".js", ".json", ".map", ".svg", ".txt")
"""Ends of the names of files that become smaller; pictures and fonts are compressed already."""

LEAST = 1000
"""Bytes below which a file is sent as it is."""

MOST_KEPT = 128
"""Compressed files in memory; the page has about thirty, of 2 MB in all."""


def accepts_gzip(request: HTTPServerRequest) -> bool:
    """Whether the browser takes gzip."""
    offered = request.headers.get("Accept-Encoding", "").lower().split(",")
    chosen = [part.partition(";") for part in offered]
    return any(n.strip() == "gzip" and q.replace(" ", "") not in NONE for n, _, q in chosen)


NONE = ("q=0", "q=0.0", "q=0.00", "q=0.000")


@lru_cache(maxsize=MOST_KEPT)
def _compressed(path: str, changed: int) -> bytes | None:
    """A file compressed; None if that is not worth it.  `changed` is when it last was."""
    with open(path, "rb") as file:
        whole = file.read()
    packed = gzip.compress(whole, 9, mtime=0)
    return packed if len(whole) >= LEAST and len(packed) < 0.9 * len(whole) else None


class CompressedFiles(StaticFileHandler):
    """Sends static files compressed to browsers that take that; mixed into Bokeh's handlers."""

    _packed: bytes | None = None

    async def get(self, path: str, include_body: bool = True) -> None:
        """Send a file, or say that the browser has it already."""
        if path.endswith(COMPRESSIBLE):
            self.set_header("Vary", "Accept-Encoding")
            if accepts_gzip(self.request):
                # A part of a compressed file is of no use.
                self.request.headers.pop("Range", None)
                self._packed = await asyncio.to_thread(self._find, path)
        if self._packed is not None:
            # Of this request alone: the class reads files by it, to hash them.
            self.get_content = self._compressed_content  # type: ignore[method-assign,assignment]
        await super().get(path, include_body)

    def _find(self, path: str) -> bytes | None:
        try:
            self.path = self.parse_url_path(path)
            there = self.get_absolute_path(self.root, self.path)
            found = self.validate_absolute_path(self.root, there)
            return _compressed(found, os.stat(found).st_mtime_ns) if found else None
        except (HTTPError, OSError):  # `get` will answer with it
            return None

    def set_extra_headers(self, path: str) -> None:
        """Say that the content is compressed."""
        if self._packed is not None:
            self.set_header("Content-Encoding", "gzip")

    def compute_etag(self) -> str | None:
        """The file's hash, and whether it is compressed."""
        etag = super().compute_etag()
        return f'{etag[:-1]}-gzip"' if etag and self._packed is not None else etag

    def _compressed_content(self, *_: object) -> bytes:
        assert self._packed is not None
        return self._packed

    def get_content_size(self) -> int:
        """Bytes on the wire."""
        return super().get_content_size() if self._packed is None else len(self._packed)


def compressing(handler: type[Any]) -> type[Any]:
    """That handler of static files, which compresses them."""
    return type(handler.__name__, (CompressedFiles, handler), {})
