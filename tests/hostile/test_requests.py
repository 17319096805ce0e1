"""No request reaches more than the page, and no answer repeats markup."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from .conftest import Server

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
