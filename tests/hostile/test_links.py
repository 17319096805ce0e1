"""The page opens whatever its link says."""

from __future__ import annotations

import random
from urllib.parse import quote, quote_from_bytes

from mhc_demo.app.guard import LARGEST_HEADER
from mhc_demo.app.state import URL_PARAMETERS

from .conftest import Many, Record, Server

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
            elif answer.status != 200 or b'"query"' not in answer.body or b"<xss" in answer.body:
                wrong.append((answer.status, link[:200]))
            else:
                answer = server.request(link.replace("/app", "/app/token", 1), b"Mhc-Wanted: 1")
                if answer.status != 200 or b'"token"' not in answer.body:
                    wrong.append((answer.status, link[:200]))
            if number == 1000:  # as many sessions as there are before the first ones end
                sessions = server.memory()
            # Nobody connects to them, so the first must be gone when the last are made.
            assert not sessions or server.memory() - sessions < 100
    assert wrong[:5] == []
    if sessions:
        record_property("memory after 1,000 and after all links, MB", (sessions, server.memory()))
