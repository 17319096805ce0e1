"""What one browser does over HTTP, with every byte counted.

Tornado's own HTTP client opens a connection for each request, and does not tell what came over it.
A browser keeps up to six connections to a host and uses them again, which costs the server less; so
this reads the answers itself, from Tornado's streams.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from tornado.httputil import HTTPHeaders, HTTPInputError, parse_response_start_line
from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError
from tornado.tcpclient import TCPClient

CONNECTIONS = 6
"""To one host at once, as browsers do."""

REDIRECTIONS = 5
LARGEST_HEAD = 2**16
LARGEST_BODY = 2**26

ASKED_AGAIN = ("no-cache", "must-revalidate", "max-age=0")
"""In `Cache-Control`: a kept file is used only after the server was asked whether it holds."""


class RefusedError(Exception):
    """An answer that a browser could show nothing of; its text is a whole sentence."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    url: str
    """After redirections."""
    status: int
    headers: HTTPHeaders
    body: bytes
    first_bytes: float
    """When the first bytes were there, by `time.monotonic()`."""

    @property
    def text(self) -> str:
        """The body, as text."""
        return self.body.decode("utf-8", "replace")


@dataclass
class Browser:
    """Connections, cookies and kept files of one browser."""

    bytes_received: int = 0
    """Over HTTP: heads and bodies, as they were sent."""
    cookies: dict[str, str] = field(default_factory=dict)
    kept: dict[str, HTTPHeaders] = field(default_factory=dict)
    """Files that were loaded, by address: the heads of their answers."""
    pages: dict[str, Answer] | None = None
    """Pages that may be opened again, by address; None: none is kept, for they take memory."""
    _free: list[IOStream] = field(default_factory=list)
    _tcp: TCPClient = field(default_factory=TCPClient)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONNECTIONS))

    async def get(self, url: str, **headers: str) -> Answer:
        """Request an address, and follow redirections.

        Raises RefusedError if the answer is no success, OSError or StreamClosedError if there is
        none.
        """
        for _ in range(REDIRECTIONS):
            async with self._places:
                answer = await self._get(url, headers)
            if answer.status not in (301, 302, 303, 307, 308):
                break
            url = urljoin(url, answer.headers["Location"])
        if answer.status not in (200, 202, 304):
            raise RefusedError(f"{answer.url} answers with status {answer.status}")
        return answer

    async def page(self, url: str) -> Answer:
        """Request a page; one that is kept, and has not changed, is not sent again.

        Raises what `get` does.
        """
        kept = (self.pages or {}).get(url)
        tag = kept.headers.get("Etag") if kept else None
        answer = await self.get(url, **({"If-None-Match": tag} if tag else {}))
        if kept and answer.status == 304:
            return replace(kept, first_bytes=answer.first_bytes)
        if self.pages is not None:
            self.pages[url] = answer
        return answer

    async def load(self, urls: Iterable[str]) -> None:
        """Load scripts and styles, all at once; not those that are kept and still hold."""
        try:
            async with asyncio.TaskGroup() as group:
                for url in dict.fromkeys(urls):
                    group.create_task(self._load(url))
        except ExceptionGroup as several:
            raise several.exceptions[0] from None

    async def _load(self, url: str) -> None:
        conditions = {}
        if url in self.kept:
            head = self.kept[url]
            if not any(word in head.get("Cache-Control", "") for word in ASKED_AGAIN):
                return
            if "Etag" in head:
                conditions["If-None-Match"] = head["Etag"]
        answer = await self.get(url, **conditions)
        if answer.status == 200 and "no-store" not in answer.headers.get("Cache-Control", ""):
            self.kept[url] = answer.headers

    def close(self) -> None:
        """Close all connections."""
        for stream in [*self._free]:
            stream.close()
        self._tcp.close()

    # ---- one request ---------------------------------------------------------------------------

    def headers(self) -> dict[str, str]:
        """What every request says, that for the websocket too."""
        said = {"User-Agent": "mhc-demo check-hall"}
        if self.cookies:
            said["Cookie"] = "; ".join(map("=".join, self.cookies.items()))
        return said

    async def _get(self, url: str, headers: dict[str, str]) -> Answer:
        parts = urlsplit(url)
        said = {
            "Host": parts.netloc,
            "Accept-Encoding": "gzip",
            "Connection": "keep-alive",
            **self.headers(),
            **headers,
        }
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"GET {target} HTTP/1.1", *map(": ".join, said.items()), "", ""]
        request = "\r\n".join(lines).encode("latin-1")
        while self._free:
            stream = self._free.pop()
            try:
                return await self._exchange(stream, url, request)
            except StreamClosedError:  # it was idle for so long that the server has closed it
                continue
        return await self._exchange(await self._connect(url), url, request)

    async def _connect(self, url: str) -> IOStream:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        stream = await self._tcp.connect(
            parts.hostname or "",
            parts.port or (443 if secure else 80),
            ssl_options=ssl.create_default_context() if secure else None,
            max_buffer_size=LARGEST_BODY,
        )
        stream.set_nodelay(True)

        def forget() -> None:
            if stream in self._free:
                self._free.remove(stream)

        stream.set_close_callback(forget)
        return stream

    async def _exchange(self, stream: IOStream, url: str, request: bytes) -> Answer:
        """Send a request and read the answer; however that ends, no half-read stream is kept."""
        whole = False
        try:
            await stream.write(request)
            head = await stream.read_until(b"\r\n\r\n", max_bytes=LARGEST_HEAD)
            first_bytes = time.monotonic()
            first, _, rest = head.decode("latin-1").partition("\r\n")
            status = parse_response_start_line(first).code
            headers = HTTPHeaders.parse(rest)
            body, received = await _body(stream, status, headers)
            whole = "close" not in headers.get("Connection", "").lower()
        except (HTTPInputError, UnsatisfiableReadError, ValueError):
            raise RefusedError(f"{url} is not answered as HTTP wants it") from None
        finally:
            if whole and not stream.closed():
                self._free.append(stream)
            else:
                stream.close()
        self.bytes_received += len(head) + received
        for cookie in headers.get_list("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name.strip()] = value.strip()
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        return Answer(url, status, headers, body, first_bytes)


async def _body(stream: IOStream, status: int, headers: HTTPHeaders) -> tuple[bytes, int]:
    """The body of an answer, and the bytes that it took."""
    if status in (204, 304):
        return b"", 0
    if "chunked" in headers.get("Transfer-Encoding", ""):
        parts, received = [], 0
        while True:
            line = await stream.read_until(b"\r\n", max_bytes=100)
            length = int(line.split(b";")[0], 16)
            part = await stream.read_bytes(length + 2)
            received += len(line) + len(part)
            parts.append(part[:-2])
            if not length:
                return b"".join(parts), received
    if "Content-Length" in headers:
        body = await stream.read_bytes(int(headers["Content-Length"]))
    else:
        body = await stream.read_until_close()
    return body, len(body)


# ---- what a page loads -------------------------------------------------------------------------

LOADED = {"stylesheet", "modulepreload", "preload", "icon"}
"""Relations of a link whose target a browser loads."""

IMPORTED = re.compile(r"""\bimport\b[^;"'()]*?\(?\s*["']([^"']+\.m?js[^"']*)["']""")
"""A module that a script names where it stands in the page."""


def loaded_by(page: Answer) -> list[str]:
    """The addresses of the files that a browser loads for a page, from the page's own origin.

    >>> html = b'<link rel="stylesheet" href="a.css"><script src="/b.js"></script><a href="c"></a>'
    >>> loaded_by(Answer("http://localhost:5006/app", 200, HTTPHeaders(), html, 0.0))
    ['http://localhost:5006/a.css', 'http://localhost:5006/b.js']
    """
    reader = _Reader()
    reader.feed(page.text)
    return of_same_origin(page.url, reader.found)


def of_same_origin(page: str, addresses: list[str]) -> list[str]:
    """Addresses as a page means them, without those at other hosts and those that are data."""
    origin = urlsplit(page)[:2]
    meant = (urljoin(page, address).partition("#")[0] for address in addresses)
    return [address for address in dict.fromkeys(meant) if urlsplit(address)[:2] == origin]


class _Reader(HTMLParser):
    """Collects the addresses of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in_module = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "script" and said.get("src"):
            self.found.append(said["src"])
        elif tag == "link" and said.get("href") and set(said.get("rel", "").split()) & LOADED:
            self.found.append(said["href"])
        self._in_module = tag == "script" and said.get("type") == "module"

    def handle_data(self, data: str) -> None:
        if self._in_module:
            self.found += IMPORTED.findall(data)
