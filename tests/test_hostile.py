"""Attacks on the server: hostile requests, links and messages, and what they achieve.

The server is real, but there is no browser, because none would send this.  Whatever arrives, the
server survives, other visitors are served, nothing is repeated as markup, and the log stays short:
no traceback, and at most one line for a message.  The links and messages are drawn with a fixed
seed; `--long` draws many more.  Nothing here reaches another host.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import random
import re
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, quote_from_bytes

import numpy as np
import psutil
import pytest
from bokeh.core.serialization import Buffer, Deserializer
from bokeh.model import Model
from bokeh.util.token import generate_jwt_token
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, websocket_connect

from mhc_demo.app.computing import surface_of
from mhc_demo.app.guard import LARGEST_HEADER
from mhc_demo.app.state import URL_PARAMETERS, State
from mhc_demo.figures.slices import gain_columns

ROOT = Path(__file__).resolve().parent.parent
WAIT = 20  # s; whatever takes longer has hung
SILENCE = 5.0  # s; the longest that others may have to wait, on a machine that is busy otherwise
ROOM = 40.0  # MB by which the server may grow during an attack, as with any work
MARK = "~"  # starts a frame that is not Bokeh's
LINE = 1000  # the most characters in a line of the log: none repeats what was sent

Many = Callable[[int, int], int]
Record = Callable[[str, object], None]


class Answer(NamedTuple):
    """What came back; status 0 if the connection was closed without an answer."""

    status: int
    head: bytes
    body: bytes


class Server:
    """`mhc-demo serve` on a free port, its log in a file."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "mhc_demo.cli", "serve", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while self.request("/liveness", timeout=5).status != 200:
            assert self.process.poll() is None, self.log_after(0)
            assert time.monotonic() < end
            time.sleep(0.1)

    def stop(self) -> None:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()

    def is_alive(self) -> bool:
        return self.process.poll() is None and self.request("/liveness", timeout=WAIT).status == 200

    def request(
        self, target: str | bytes, *headers: bytes, method: str = "GET", timeout: float = WAIT
    ) -> Answer:
        """Request exactly this target, which other clients would normalise."""
        if isinstance(target, str):
            target = target.encode()
        answer = b""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout) as connection,
        ):
            first = b"%s %s HTTP/1.1" % (method.encode(), target)
            always = (b"Host: localhost:%d" % self.port, b"Connection: close")
            connection.sendall(b"\r\n".join((first, *always, *headers, b"", b"")))
            while more := connection.recv(2**16):
                answer += more
        head, _, body = answer.partition(b"\r\n\r\n")
        return Answer(int(head.split()[1]) if head else 0, head, body)

    def token(self, query: str = "") -> str:
        """The token with which the page at this link opens its websocket."""
        match = re.search(rb'"token":"([^"]+)"', self.request("/app" + query).body)
        assert match, query
        return match[1].decode()

    def log_end(self) -> int:
        """The position at which the log ends."""
        return self.log.stat().st_size

    def log_after(self, position: int) -> str:
        """What was logged after that position."""
        with self.log.open("rb") as log:
            log.seek(position)
            return log.read().decode(errors="replace")

    def memory(self) -> float:
        """Resident memory in MB."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    def libraries(self) -> set[str]:
        """The compiled libraries that it has loaded, on systems that tell."""
        maps = Path(f"/proc/{self.process.pid}/maps")
        return set(re.findall(r"\S+\.so\S*$", maps.read_text(), re.M)) if maps.exists() else set()

    @contextlib.contextmanager
    def answering(self, record: Record | None = None) -> Iterator[None]:
        """Asserts that others are answered all the while, whatever happens inside."""
        longest = 0.0

        def probe() -> None:
            nonlocal longest
            start = time.monotonic()
            self.request("/liveness")
            longest = max(longest, time.monotonic() - start)

        with repeating(probe):
            yield
        if record:
            record("longest silence, s", round(longest, 2))
        assert longest < SILENCE

    @contextlib.contextmanager
    def not_growing(self) -> Iterator[None]:
        """Asserts that whatever happens inside takes little memory."""
        self.request("/app")  # what the first page loads does not count
        before = peak = self.memory()

        def look() -> None:
            nonlocal peak
            peak = max(peak, self.memory())

        with repeating(look):
            yield
        assert peak - before < ROOM


@contextlib.contextmanager
def repeating(step: Callable[[], None]) -> Iterator[None]:
    """Repeats `step` in a thread while the block runs."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(0.05):
            step()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("hostile") / "log")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    """The server; after the test it must be alive, with no traceback in its log."""
    if not running.is_alive():
        running.stop()
        running.start()
    position = running.log_end()
    yield running
    assert running.is_alive(), running.log_after(position)[-2000:]
    assert "Traceback" not in running.log_after(position), running.log_after(position)[-2000:]


@pytest.fixture
def many(request: pytest.FixtureRequest) -> Many:
    """Chooses how many: the first number, or with `--long` the second."""
    long = request.config.getoption("--long")
    return lambda few, more: more if long else few


# ---- requests --------------------------------------------------------------------------------

XSS = '"></script><script>alert(1)</script>'
MARKUP = b"<script>alert(1)"

COMPONENTS = [
    "/components/venv.__main__/x/_css/x",
    "/components/mhc_demo.cli.__main__/x/_css/x",
    "/components/test.__main__/x/_css/x",
    "/components/torch/x/_css/x",
    "/components/this/x/_css/x",
    "/components/%74his/x/_css/x",
    "/%63omponents/this/x/_css/x",
    "//components/this/x/_css/x",
    "/app/../components/this/x/_css/x",
    "/app/components/this/x/_css/x",
    "/./components/this/x/_css/x",
    "/COMPONENTS/this/x/_css/x",
    "/components%2fthis/x/_css/x",
    "/components/..%2fthis/x/_css/x",
    "/components/json/JSONDecoder/_css/x",
    "/components//x/_css/x",
    "/components/.x/x/_css/x",
    "/components/x%00/x/_css/x",
    "/components/%ff/x/_css/x",
    "/components/",
    "/components",
]


@pytest.mark.parametrize("target", COMPONENTS)
def test_no_link_imports_a_module(server: Server, target: str) -> None:
    libraries, position = server.libraries(), server.log_end()
    assert server.request(target).status == 404
    assert server.libraries() == libraries
    assert server.log_after(position).count("\n") <= 1


RESERVED_BY_BOKEH = [
    f"bokeh-absolute-url={quote(XSS)}",
    f"bokeh-absolute-url={XSS}".replace(" ", "+"),
    f"%62okeh-absolute-url={quote(XSS)}",
    f"bokeh%2dabsolute%2Durl={quote(quote(XSS))}",
    f"depth=64&bokeh-absolute-url=x&bokeh-absolute-url={quote(XSS)}",
    f"bokeh-absolute-url={quote(XSS)}&bokeh-absolute-url=",
    f"bokeh-app-path={quote(XSS)}",
    "bokeh-autoload-element=1",
    "bokeh-session-id=mine",
    "bokeh-session-id=",
    "bokeh-token=mine",
    "bokeh-spam=1",
    "bokeh-=1",
]


@pytest.mark.parametrize("query", RESERVED_BY_BOKEH)
def test_no_link_sets_what_only_bokeh_may(server: Server, query: str) -> None:
    answer = server.request(f"/app?{query}")
    assert answer.status == 404
    assert MARKUP not in answer.body


def test_a_similar_name_is_one_more_unknown_parameter(server: Server) -> None:
    for query in (f"BOKEH-absolute-url={quote(XSS)}", f"bokeh_absolute_url={quote(XSS)}"):
        answer = server.request(f"/app?{query}")
        assert answer.status in (200, 404)
        assert MARKUP not in answer.body


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST", "PUT", "DELETE", "TRACE", "SPAM"])
def test_the_page_can_only_be_read(server: Server, method: str) -> None:
    form = (b"Content-Length: 0", b"Content-Type: application/x-www-form-urlencoded")
    for target in ("/app", f"/app?bokeh-absolute-url={quote(XSS)}"):
        answer = server.request(target, *form, method=method)
        assert answer.status in (404, 405)
        assert MARKUP not in answer.body


def test_the_redirect_from_the_root_injects_no_header(server: Server) -> None:
    answer = server.request(f"/?x=%0d%0aSet-Cookie:%20a=b&bokeh-absolute-url={quote(XSS)}")
    assert answer.status in (302, 404)
    assert b"set-cookie" not in answer.head.lower().replace(b"%0d%0aset-cookie", b"")


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
@pytest.mark.parametrize(
    "target",
    [
        "/app/autoload.js",
        "/app/autoload_js?bokeh-autoload-element=1",
        "/app/autoload%2ejs?bokeh-autoload-element=1",
        "/app/autoload.js?bokeh-autoload-element=1",
        "/app/autoload.js?bokeh-autoload-element=1&bokeh-absolute-url=http://localhost:1/",
        "/app/autoload.js?bokeh-autoload-element=1&bokeh-absolute-url=http://[",
        f"/app/autoload.js?bokeh-autoload-element={quote(XSS)}",
    ],
)
def test_no_other_site_loads_the_page_as_a_script(server: Server, target: str, method: str) -> None:
    answer = server.request(
        target, b"Origin: http://localhost:1", b"Content-Length: 0", method=method
    )
    assert answer.status in ((404,) if method == "GET" else (404, 405))
    assert b"access-control" not in answer.head.lower()


def test_a_session_cannot_be_taken_over(server: Server) -> None:
    token = server.token()
    assert server.request(f"/app?bokeh-token={token}").status == 404
    assert server.request("/app", b"Bokeh-Session-Id: mine").status == 404
    assert server.request("/app?bokeh-session-id=mine", b"bokeh-session-id: mine").status == 404


def test_metadata_reveal_nothing(server: Server) -> None:
    answer = server.request("/app/metadata")
    assert answer.status == 404 or json.loads(answer.body) == {"url": "/app", "data": {}}


@pytest.mark.parametrize(
    "path",
    [
        "../../../../../../../../etc/passwd",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "%2e%2e/pyproject.toml",
        "..%2fpyproject.toml",
        "..%5cpyproject.toml",
        "../mhc_demo/__init__.py",
        "..%2f..%2f__init__.py",
        "%00",
        "%ff",
        "",
        ".",
        "x" * 5000,
    ],
)
def test_only_the_pages_own_files_are_served(server: Server, path: str) -> None:
    for folder in ("/static", "/static/extensions", "/static/extensions/mhc-demo", "/app/static"):
        assert server.request(f"{folder}/{path}").status in (400, 403, 404)


def test_a_malformed_request_is_refused(server: Server) -> None:
    refused = (0, 400, 404, 405, 414, 431)
    for target in (b"/app?x=" + b"a" * 2**16, b"/app?" + b"&" * 2000, b"/app?\x0b", b"/\xff\xfe"):
        assert server.request(target).status in refused
    for header in (
        b"X: " + b"y" * 100_000,
        b"Host: localhost",
        b"Content-Length: -1",
        b"Content-Length: 99999999999",
        b'Cookie: a="\xff; \x01=2',
        b"No colon",
    ):
        assert server.request("/app", header).status in refused
    for headers in ([b"X-%d: y" % i for i in range(4000)], [b"X: \xff\xfe"], [b"X: y" * 5000]):
        assert server.request("/app", *headers).status in (200, *refused)


# ---- links -----------------------------------------------------------------------------------

NAMES = [*URL_PARAMETERS, "spam", "__class__", "", "notices", "depth[]", "DEPTH", "<xss>", "\x00"]
TEXTS = [
    *("", "0", "1", "7", "-0", "-1", "+1", " 1 ", "1_0", "0x1", "1e5", "1.5", ".5", "1.", "999999"),
    *("9" * 15, "9" * 4301, "-" + "9" * 4301, "1e999", "-1e999", "1e-999", "nan", "inf", "1j"),
    *("①", "٣", "１２", "²", "Ⅷ", "🙂", "\ud800", "\u202e", "\ufeff1", "\x00", "1\x00", "\r\n"),
    *("True", "None", "lab", "cost", "dark", "exp", "mhc-lite", "depth,streams", "depth,spam", ","),
    *("<xss>", '"><xss>', "'<xss>", "</script><xss>", "<!--<xss>", "{{7*7}}<xss>", "javascript:x"),
    *('{"a": [1]}', "[1", "[" * 5000, "(" * 200, "-" * 3000 + "1", "__class__", "lambda: 0"),
    *("../../etc/passwd", "x" * 10_000, "' OR 1=1", "%s%n", "$" + "{x}", "b'\\xff'", "(1).real"),
]
ENCODED = ["%", "%zz", "%ff%fe", "%c0%80", "%ed%a0%80", "+", "%2500", "%u0031", "1;2", "1=2"]


def odd_link(draw: random.Random) -> str:
    """Up to six parameters, known and unknown, with values that they cannot have."""

    def encoded(text: str) -> str:
        return quote_from_bytes(text.encode("utf-8", "surrogatepass"))

    def value() -> str:
        kind = draw.random()
        if kind < 0.8:
            return encoded(draw.choice(TEXTS))
        return draw.choice(ENCODED) if kind < 0.9 else quote(draw.randbytes(draw.randint(1, 9)))

    pairs = [f"{encoded(draw.choice(NAMES))}={value()}" for _ in range(draw.randint(1, 6))]
    return "/app?" + "&".join(pairs + pairs[: draw.random() < 0.2])


def test_whatever_a_link_says_the_page_opens(
    server: Server, many: Many, record_property: Record
) -> None:
    draw = random.Random(1)
    links = [odd_link(draw) for _ in range(many(20, 5000))]
    wrong, sessions = [], 0.0
    with server.answering(record_property):
        for number, link in enumerate(links):
            answer = server.request(link)
            if len(link) > LARGEST_HEADER:  # nothing is read to its end
                assert answer.status in (0, 431)
            elif answer.status != 200 or b'"token"' not in answer.body or b"<xss" in answer.body:
                wrong.append((answer.status, link[:200]))
            if number == 1000:  # as many sessions as there are before the first ones end
                sessions = server.memory()
            # Nobody connects to them, so the first must be gone when the last are made.
            assert not sessions or server.memory() - sessions < 100
    assert wrong[:5] == []
    if sessions:
        record_property("memory after 1,000 and after all links, MB", (sessions, server.memory()))


# ---- websockets ------------------------------------------------------------------------------


def encoded(value: object) -> str:
    """Base64 as in Bokeh's tokens."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def forged(**claims: object) -> str:
    """An unsigned token."""
    return encoded({"session_id": "mine", "session_expiry": time.time() + 300, **claims})


def of_another_server(expiration: int = 300, **payload: Any) -> str:
    """A token that another server signed."""
    key = b"of another server"
    return generate_jwt_token("mine", key, True, payload or None, expiration)


UNWELCOME: dict[str, Callable[[Server], list[str]]] = {
    "nothing": lambda server: [],
    "no token": lambda server: ["bokeh"],
    "an empty token": lambda server: ["bokeh", ""],
    "more than a token": lambda server: ["bokeh", server.token(), "x"],
    "another protocol": lambda server: ["spam", server.token()],
    "not base64": lambda server: ["bokeh", "%%%"],
    "not JSON": lambda server: ["bokeh", encoded(b"\xff")],
    "a list": lambda server: ["bokeh", encoded([])],
    "a long token": lambda server: ["bokeh", "A" * 50_000],
    "a longer token": lambda server: ["bokeh", "A" * 100_000],
    "forged": lambda server: ["bokeh", forged()],
    "forged, signed by guess": lambda server: ["bokeh", forged() + "." + "A" * 43],
    "forged, with two signatures": lambda server: ["bokeh", forged() + ".A.A"],
    "forged, the signature of another token": lambda server: [
        "bokeh",
        ".".join([forged(), *server.token().split(".")[1:]]),
    ],
    "forged, without end": lambda server: ["bokeh", forged(session_expiry=1e300)],
    "forged, of another type": lambda server: ["bokeh", forged(session_id=[], session_expiry="a")],
    "forged, its payload not compressed": lambda server: ["bokeh", forged(__bk__zlib_="AAAA")],
    "forged, its payload no arguments": lambda server: [
        "bokeh",
        forged(__bk__zlib_=encoded(zlib.compress(b'{"headers": 1, "arguments": 2}'))),
    ],
    "a signature cut short": lambda server: ["bokeh", server.token()[:-1]],
    "of another server": lambda server: [
        "bokeh",
        of_another_server(headers={}, cookies={}, arguments={}),
    ],
    "expired": lambda server: ["bokeh", of_another_server(-1)],
}


async def connect(
    server: Server, *subprotocols: str, origin: str | None = "same"
) -> WebSocketClientConnection:
    own = {"same": f"http://localhost:{server.port}"}
    headers = {"Origin": own.get(origin, origin)} if origin else {}
    request = HTTPRequest(f"ws://localhost:{server.port}/app/ws", headers=headers)
    return await websocket_connect(request, subprotocols=list(subprotocols) or None)


async def leave(connection: WebSocketClientConnection) -> None:
    """Close a connection as a closed page does, and let the server close it too."""
    connection.close(1000)

    async def read_to_the_end() -> None:
        while await connection.read_message() is not None:
            pass

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(read_to_the_end(), WAIT)


async def admitted(server: Server, *subprotocols: str, origin: str | None = "same") -> bool:
    """Whether the server accepts a websocket; it must not leave us waiting."""
    try:
        connection = await connect(server, *subprotocols, origin=origin)
    except (HTTPClientError, OSError):  # refused, or not even read
        return False
    first = await asyncio.wait_for(connection.read_message(), WAIT)
    await leave(connection)
    return first is not None


@pytest.mark.parametrize("offer", UNWELCOME.values(), ids=UNWELCOME)
def test_only_a_page_opens_a_websocket(
    server: Server, offer: Callable[[Server], list[str]]
) -> None:
    offered, position = offer(server), server.log_end()
    assert not asyncio.run(admitted(server, *offered))
    assert server.log_after(position).count("\n") <= 2


def test_no_token_is_unpacked_before_its_signature_is_checked(server: Server) -> None:
    unsigned = forged(__bk__zlib_=encoded(zlib.compress(b'{"x": "%s"}' % (b"0" * 30_000_000), 9)))
    with server.not_growing():
        for bomb in (unsigned, unsigned + "." + "A" * 43, of_another_server(x="0" * 30_000_000)):
            assert not asyncio.run(admitted(server, "bokeh", bomb))
    assert asyncio.run(admitted(server, "bokeh", server.token()))


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:1",
        "https://example.org",
        "null",
        "http://[",
        "http://localhost:{port}.example.org",
        "http://example.org@localhost:{port}",
        "http://localhost:{port}@example.org",
    ],
)
def test_no_other_sites_page_opens_a_websocket(server: Server, origin: str) -> None:
    origin = origin.format(port=server.port)
    assert not asyncio.run(admitted(server, "bokeh", server.token(), origin=origin))


# ---- messages --------------------------------------------------------------------------------

Frames = list[str | bytes]


class Document(NamedTuple):
    """What a visitor's browser gets: models by id, their possible properties, and buffers."""

    models: dict[str, dict[str, Any]]
    properties: dict[str, list[str]]
    buffers: list[Buffer]

    def find(self, kind: str, **attributes: object) -> dict[str, Any]:
        """The one model of that kind, whose classes are numbered, with these attributes."""
        [match] = [
            model
            for model in self.models.values()
            if re.fullmatch(kind + r"\d*", model["name"])
            and attributes.items() <= model["attributes"].items()
        ]
        return match


class Visitor:
    """Sends what a browser sends over its websocket, and anything else."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self.connection = connection
        self.requests = 0
        self.frames = 0  # received
        self.counted = False  # whether the server wants that count

    async def receive(self) -> tuple[dict[str, Any], dict[str, Any], list[Buffer]] | None:
        """Header, content and buffers of the next message; None if the server has closed."""

        async def frame() -> Any:
            while True:
                frame = await asyncio.wait_for(self.connection.read_message(), WAIT)
                if not (isinstance(frame, str) and frame.startswith(MARK)):
                    self.frames += 1
                    return frame
                self.counted = True

        header = await frame()
        if header is None:
            return None
        header, _, content = json.loads(header), await frame(), json.loads(await frame())
        number = header.get("num_buffers", 0)
        buffers = [Buffer(json.loads(await frame())["id"], await frame()) for _ in range(number)]
        return header, content, buffers

    async def send(self, *frames: str | bytes) -> bool:
        """Whether the frames could be sent: False if the server has closed."""
        try:
            for frame in frames:
                await self.connection.write_message(frame, binary=isinstance(frame, bytes))
        except WebSocketClosedError:
            return False
        return True

    async def request(self, kind: str, content: object) -> Any:
        """The answer to a message; None if the server closes."""
        self.requests += 1
        number = f"visitor-{self.requests}"
        header = {"msgid": number, "msgtype": kind}
        if self.counted:
            await self.send(f"{MARK}{self.frames}")
        if not await self.send(json.dumps(header), "{}", json.dumps(content)):
            return None
        while (received := await self.receive()) and received[0].get("reqid") != number:
            pass
        return received

    async def patch(self, *events: object) -> Any:
        return await self.request("PATCH-DOC", {"events": events})

    async def set(self, model: dict[str, Any], attribute: str, value: object) -> None:
        """Set a property as a browser does."""
        header, *_ = await self.patch(changed(model["id"], attribute, value))
        assert header["msgtype"] == "OK"

    async def document(self) -> Document | None:
        if not (received := await self.request("PULL-DOC-REQ", {})):
            return None
        _, content, buffers = received
        models: dict[str, dict[str, Any]] = {}

        def collect(part: Any) -> None:
            if isinstance(part, dict):
                if part.get("type") == "object":
                    models[part["id"]] = {"attributes": {}, **part}
                part = list(part.values())
            for each in part if isinstance(part, list) else ():
                collect(each)

        collect(content["doc"]["roots"])
        properties = {
            name: list(kind.properties()) for name, kind in Model.model_class_reverse_map.items()
        } | {
            kind["name"]: [each["name"] for each in kind.get("properties", ())]
            for kind in content["doc"].get("defs", ())
        }
        return Document(models, properties, buffers)


@contextlib.asynccontextmanager
async def visitor_of(server: Server, query: str = "") -> AsyncIterator[Visitor]:
    """A visitor with an open websocket, who leaves as a browser does when a page is closed."""
    visitor = Visitor(await connect(server, "bokeh", server.token(query)))
    received = await visitor.receive()
    assert received
    assert received[0]["msgtype"] == "ACK"
    yield visitor
    await leave(visitor.connection)


def changed(model: object, attribute: str, value: object) -> dict[str, object]:
    return {"kind": "ModelChanged", "model": {"id": model}, "attr": attribute, "new": value}


async def document_once(visitor: Visitor, ready: Callable[[Document], bool]) -> Document:
    """The document once it is ready, or as it is after some time."""
    for _ in range(100):
        document = await visitor.document()
        assert document
        if ready(document):
            break
        await asyncio.sleep(0.1)
    return document


async def complete(visitor: Visitor) -> Document:
    """The document of the whole page, most of which follows the first picture."""
    before = await visitor.document()
    assert before
    await visitor.set(before.find("BrowserWindow"), "first_picture", True)
    return await document_once(visitor, lambda now: len(now.models) > len(before.models))


async def assert_served(visitor: Visitor, page: Document, depth: int, seed: int) -> None:
    """Set another depth and seed, and get the numbers that the library computes."""
    expected = gain_columns(surface_of(State(seed=seed).key())["log10_gain"])

    def gains(document: Document) -> dict[str, Any]:
        source = document.find("ColumnDataSource", name="surface")
        return Deserializer().decode(source["attributes"]["data"], document.buffers)

    def is_right(document: Document) -> bool:
        columns = gains(document)
        return all(np.array_equal(columns[name], expected[name]) for name in expected)

    await visitor.set(page.find("Slider", state_name="depth"), "value", depth)
    await visitor.set(page.find("TextInput", name="Seed"), "value", str(seed))
    document = await document_once(visitor, is_right)
    assert is_right(document)
    query = document.find("BrowserWindow")["attributes"]["query"]
    assert f"&depth={depth}&" in query
    assert f"&seed={seed}&" in query


def array(of: object, dtype: object, *shape: int) -> dict[str, object]:
    return {"type": "ndarray", "array": of, "dtype": dtype, "order": "little", "shape": shape}


VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 3, 99, 10**9, -(10**9), 2**63, 10**400, 1.5, -0.5, 1e308),
    *("", "1", "spam", "<xss>", "\ud800", "\x00", "\n\n", "①", "nan", "9" * 4301, "x" * 5000),
    *([], [None], [[]], ["spam"], [1, 2, 3], {}, {"a": 1}, float("nan"), float("inf")),
    *({"type": "number", "value": value} for value in ("nan", "+inf", "-inf", "spam", None, [])),
    *({"type": kind} for kind in ("map", "set", "bytes", "slice", "ndarray", "object", "spam", [])),
    *({"type": kind} for kind in ("ref", "event", "symbol", "typed_array", "value", "field")),
    *({"type": "map", "entries": entries} for entries in ([["a", 1]], [[[1], 1]], [1], 1, None)),
    *({"type": "set", "entries": entries} for entries in ([1], [[1]], [{}], 1)),
    *({"type": "bytes", "data": data} for data in ("AA", "AAAA", {"id": "a"}, {}, 1, None)),
    *({"type": "object", "name": name, "id": "new"} for name in ("Div", "Spam", "Model", 1, None)),
    {"type": "object", "name": "Div", "id": "new", "attributes": {"text": 7, "spam": 1}},
    {"type": "object", "name": "CustomJS", "id": "new", "attributes": {"code": "<xss>"}},
    *(array([1], dtype, 1) for dtype in ("float64", "spam", "O", "V3", "M8[s]", 7, None)),
    *(array([1, 2], "float64", *shape) for shape in ((3, 3), (-1, -1), (2**40, 2**40))),
    *(
        array(of, "float64", 2)
        for of in ("spam", ["spam", 1], None, {"type": "bytes", "data": "A"})
    ),
    {"type": "typed_array", "array": ["a"], "order": "little", "dtype": "uint8"},
    {"type": "slice", "start": 1, "stop": "a", "step": 0},
    *({"id": name} for name in ("spam", 7, [], None)),
    {"type": "event", "name": "button_click", "values": {"model": 7}},
]

KINDS = [
    *("MessageSent", "ModelChanged", "ColumnDataChanged", "ColumnsStreamed", "ColumnsPatched"),
    *("TitleChanged", "RootAdded", "RootRemoved", "SessionCallbackAdded", "Spam", "", None, 7, []),
]
EVENTS = ["esm_event", "dom_event", "button_click", "tap", "document_ready", "connection_lost", "x"]


def odd_event(draw: random.Random, document: Document) -> object:
    """An event that cannot be applied to the document, or should not be."""
    name, model = draw.choice(list(document.models.items()))
    if draw.random() < 0.5:  # the page's own widgets, most of whose properties have no types
        of_page = [n for n, m in document.models.items() if m["name"][-1].isdigit()]
        name = draw.choice(of_page)
        model = document.models[name]
    value = draw.choice(VALUES)
    kind = draw.random()
    if kind < 0.7:
        properties = {*model["attributes"], *document.properties.get(model["name"], ()), "spam"}
        return changed(name, draw.choice(sorted(properties)), value)
    if kind < 0.85:
        values = {"model": {"id": name}, "data": value, "node": "x"}
        for left_out in draw.sample(list(values), draw.randint(0, 2)):
            del values[left_out]
        event = {"type": "event", "name": draw.choice(EVENTS), "values": values}
        data = event if draw.random() < 0.8 else value
        return {"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": data}
    if kind < 0.97:
        event = {"kind": draw.choice(KINDS), "model": {"id": name}, "attr": "data", "new": value}
        event |= {"data": value, "patches": value, "title": value, "cols": None, "rollover": None}
        event |= {"msg_type": draw.choice(["spam", "bokeh_event", None]), "msg_data": value}
        for left_out in draw.sample(list(event), draw.randint(0, 3)):
            del event[left_out]
        return event
    return value


HEADER = '{"msgid": "1", "msgtype": "PATCH-DOC"}'
BUFFERED = '{"msgid": "1", "msgtype": "PATCH-DOC", "num_buffers": %s}'
NO_EVENTS = '{"events": []}'
BROKEN: dict[str, Frames] = {
    "an empty frame": ["", "", ""],
    "binary": [b"{}", b"{}", b"{}"],
    "a binary content": [HEADER, "{}", b"{}"],
    "text that is no UTF-8": [HEADER, "{}", b"\xff\xfe"],
    "a header cut short": ["{", "{}", "{}"],
    "a header that is null": ["null", "{}", "{}"],
    "a header that is a list": ["[]", "{}", "{}"],
    "a long header without a type": ['{"spam": "%s"}' % ("x" * 100_000), "{}", "{}"],
    "a header without a type": ['{"msgid": "1"}', "{}", "{}"],
    "an unknown type": ['{"msgid": "1", "msgtype": "SPAM"}', "{}", "{}"],
    "a type that is a list": ['{"msgid": "1", "msgtype": []}', "{}", "{}"],
    "what only a server sends": ['{"msgid": "1", "msgtype": "ACK"}', "{}", "{}"],
    "an error": ['{"msgid": "1", "msgtype": "ERROR"}', "{}", '{"text": "x"}'],
    "a pull without a number": ['{"msgtype": "PULL-DOC-REQ"}', "{}", "{}"],
    "a patch without a number": ['{"msgtype": "PATCH-DOC"}', "{}", NO_EVENTS],
    "a number that is a list": ['{"msgtype": "SERVER-INFO-REQ", "msgid": []}', "{}", "{}"],
    "metadata cut short": [HEADER, "{", "{}"],
    "metadata that are null": [HEADER, "null", NO_EVENTS],
    "a content cut short": [HEADER, "{}", '{"events": ['],
    "a content that is null": [HEADER, "{}", "null"],
    "a content that is a list": [HEADER, "{}", "[]"],
    "no events": [HEADER, "{}", "{}"],
    "events that are a dict": [HEADER, "{}", '{"events": {}}'],
    "an event that is NaN": [HEADER, "{}", '{"events": [NaN]}'],
    "4,301 digits": [HEADER, "{}", '{"events": [%s]}' % ("9" * 4301)],
    "deep": [HEADER, "{}", '{"events": %s}' % ("[" * 900 + "]" * 900)],
    "deeper": [HEADER, "{}", '{"events": %s}' % ("[" * 50_000 + "]" * 50_000)],
    "deep in names": [HEADER, "{}", '{"events": ' + '{"a": ' * 900 + "1" + "}" * 901],
    "buffers that are text": [BUFFERED % 2, "{}", NO_EVENTS, '{"id": "a"}', "text"],
    "a header of a buffer that is a list": [BUFFERED % 1, "{}", NO_EVENTS, "[]", b"x"],
    "a header of a buffer cut short": [BUFFERED % 1, "{}", NO_EVENTS, "{", b"x"],
    "a buffer without a name": [BUFFERED % 1, "{}", NO_EVENTS, '{"id": []}', b"x"],
    "a number of buffers that is text": [BUFFERED % '"a"', "{}", NO_EVENTS, '{"id": "a"}', b"x"],
    "fewer buffers than none": [BUFFERED % -1, "{}", NO_EVENTS, '{"id": "a"}', b"x"],
    "more buffers than announced": [BUFFERED % 1, "{}", NO_EVENTS, *['{"id": "a"}', b"x"] * 3],
}


@pytest.mark.parametrize("frames", BROKEN.values(), ids=BROKEN)
def test_a_broken_message_costs_a_line_and_the_connection_at_most(
    server: Server, frames: Frames
) -> None:
    async def attack() -> str:
        async with visitor_of(server) as visitor:
            position = server.log_end()
            await visitor.send(*frames)
            await visitor.send(*frames)  # which also completes an unfinished message
            await asyncio.sleep(0.1)
            return server.log_after(position)

    log = asyncio.run(attack())
    assert log.count("\n") <= 2
    assert max(map(len, log.splitlines()), default=0) <= LINE


def roots(number: int) -> list[dict[str, Any]]:
    new = ({"type": "object", "name": "Div", "id": f"new{i}"} for i in range(number))
    return [{"kind": "RootAdded", "model": model} for model in new]


def titled(title: object) -> list[object]:
    return [{"kind": "TitleChanged", "title": title}]


def gzipped() -> dict[str, object]:
    packed = gzip.compress(b"0" * 60_000_000)
    return {"type": "bytes", "data": base64.b64encode(packed).decode()}


BOMBS: dict[str, Callable[[], list[object]]] = {
    "compressed bytes": lambda: titled(gzipped()),
    "a compressed array": lambda: titled(array(gzipped(), "uint8", 1)),
    "an array of wide text": lambda: titled(array(["a"] * 100, "S1000000", 100)),
    "many roots": lambda: [*roots(1000)],
    "many models": lambda: titled([root["model"] for root in roots(5000)]),
    "many events": lambda: [{"kind": "MessageSent", "msg_type": "spam", "msg_data": 1}] * 15_000,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_small_message_does_not_become_a_large_one(
    server: Server, bomb: Callable[[], list[object]], record_property: Record
) -> None:
    events = bomb()

    async def attack() -> None:
        async with visitor_of(server) as visitor:
            await visitor.patch(*events)

    with server.not_growing(), server.answering(record_property):
        asyncio.run(attack())


def test_no_visitor_replaces_the_document(server: Server) -> None:
    async def attack() -> None:
        async with visitor_of(server) as visitor:
            received = await visitor.request("PULL-DOC-REQ", {})
            doc = {**received[1]["doc"], "title": "replaced", "roots": []}
            answer = await visitor.request("PUSH-DOC", {"doc": doc})
            assert answer is None or answer[0]["msgtype"] != "OK"
            document = await visitor.document()
            assert document is None or document.models

    asyncio.run(attack())


def test_no_message_reveals_paths_on_the_server(server: Server) -> None:
    async def attack() -> str:
        async with visitor_of(server) as visitor:
            received = await visitor.request("PULL-DOC-REQ", {})
            return json.dumps((received[1], await visitor.patch(changed("spam", "value", 1))))

    messages = asyncio.run(attack())
    assert str(ROOT) not in messages
    assert "site-packages" not in messages


def test_a_large_message_ends_the_connection(server: Server) -> None:
    async def attack() -> None:
        async with visitor_of(server) as visitor:
            assert (
                await visitor.request("PATCH-DOC", {"events": [], "spam": "x" * 1_100_000}) is None
            )

    with server.not_growing():
        asyncio.run(attack())


def test_endless_messages_take_no_memory(server: Server) -> None:
    async def attack() -> None:
        async with visitor_of(server) as visitor:
            await visitor.send(BUFFERED % 10**6, "{}", NO_EVENTS)
            for _ in range(1000):
                if not await visitor.send('{"id": "a"}', b"x" * 100_000):
                    break

    with server.not_growing(), server.answering():
        asyncio.run(attack())


def test_a_thousand_frames_at_once_cost_one_line(server: Server) -> None:
    async def attack() -> None:
        async with visitor_of(server) as visitor:
            await visitor.send(*["{}"] * 1000)
            await asyncio.sleep(0.3)

    position = server.log_end()
    asyncio.run(attack())
    assert server.log_after(position).count("\n") <= 1


def test_a_thousand_changes_in_a_message_cost_one_line(server: Server) -> None:
    async def attack() -> int:
        async with visitor_of(server) as visitor:
            document = await visitor.document()
            assert document
            slider = document.find("Slider", state_name="depth")["id"]
            position = server.log_end()
            await visitor.patch(*[changed(slider, f"spam{i}", i) for i in range(1000)])
            await visitor.patch(*[changed(slider, "value", 1000 + i) for i in range(1000)])
            await asyncio.sleep(0.2)
            return server.log_after(position).count("\n")

    assert asyncio.run(attack()) <= 2


def test_frames_sent_before_the_acknowledgement_do_no_harm(server: Server) -> None:
    handshake = [
        b"GET /app/ws HTTP/1.1",
        b"Host: localhost:%d" % server.port,
        b"Origin: http://localhost:%d" % server.port,
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Protocol: bokeh, " + server.token().encode(),
    ]
    text = b"{}"
    frame = bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text  # masked, with zeros
    position = server.log_end()
    with socket.create_connection(("127.0.0.1", server.port), WAIT) as connection:
        connection.sendall(b"\r\n".join([*handshake, b"", frame * 3]))
        assert b"101 Switching" in connection.recv(2**16)
        time.sleep(0.3)
    assert server.log_after(position).count("\n") <= 1


def test_silent_and_repeated_connections_keep_nobody_out(server: Server) -> None:
    async def attack() -> None:
        silent = [await connect(server, "bokeh", server.token()) for _ in range(5)]
        token = server.token()
        twice = [await connect(server, "bokeh", token)]
        with contextlib.suppress(HTTPClientError):  # which may be refused
            twice.append(await connect(server, "bokeh", token))
        with contextlib.suppress(HTTPClientError):
            silent.append(await connect(server, "bokeh", server.token(), origin=None))
        await leave(twice.pop())
        async with visitor_of(server) as visitor:
            await assert_served(visitor, await complete(visitor), 12, 34)
        for connection in (*silent, *twice):
            await leave(connection)

    asyncio.run(attack())


def test_odd_messages_cost_a_line_each_and_do_not_harm_others(
    server: Server, many: Many, record_property: Record
) -> None:
    views = [
        "",
        "?view=cost",
        "?view=lab",
        "?view=matrices",
        "?scene=dial",
        "?embed=1",
        "?present=1",
    ]
    batch = 25
    draw = random.Random(2)

    async def attack(attacker: Visitor) -> int:
        """How many messages it could send."""
        document = await complete(attacker)
        for sent in range(1, batch):
            events = [odd_event(draw, document) for _ in range(draw.choice([1, 1, 1, 2]))]
            if not await attacker.patch(*events):
                return sent  # because the server has closed
        await attacker.send(*draw.choice(list(BROKEN.values())))
        return batch

    async def attacks(number: int) -> None:
        async with visitor_of(server) as bystander:
            page = await complete(bystander)
            for _ in range(number // batch):
                position = server.log_end()
                async with visitor_of(server, draw.choice(views)) as attacker:
                    sent = await attack(attacker)
                    await asyncio.sleep(0.2)  # until Panel has gathered the changes
                log = server.log_after(position)
                assert "Traceback" not in log, log[-2000:]
                assert log.count("\n") <= sent, log[-2000:]
                assert max(map(len, log.splitlines()), default=0) <= LINE
                depth, seed = draw.randint(2, 120), draw.randint(1, 9999)
                await assert_served(bystander, page, depth, seed)

    with server.answering(record_property):
        asyncio.run(attacks(many(100, 2000)))
