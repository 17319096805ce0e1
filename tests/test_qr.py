"""The QR code of the page's link: of real links alone, and readable."""

from __future__ import annotations

import re

import numpy as np
import pytest
import segno

import mhc_demo as mhc
from mhc_demo.app.qr import LONGEST, checked, drawn, is_local

LINK = "https://example.org/mhc/app"


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org",
        LINK,
        "http://192.168.1.20:5006/app",
        "http://[2001:db8::1]:5006/app",
        "https://example.org/app?seed=7&view=link",
    ],
)
def test_a_link_to_a_page_is_taken_as_it_is(address: str) -> None:
    assert checked(address) == address
    assert not is_local(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "null/app",
        "example.org/app",
        "javascript:alert(1)",
        "data:text/html,hello",
        "file:///home/me/demo.html",
        "ftp://example.org/app",
        "https:///app",
        "https://",
        "https://me:secret@example.org/app",
        "https://example.org\\@elsewhere.org/app",
        "https://example.org:0/app",
        "https://example.org:99999/app",
        "https://[::1/app",
        "https://example.org/a b",
        "https://example.org/\n",
        'https://example.org/"><script>alert(1)</script>',
        "https://example.org/'",
        "https://ex\u00e4mple.org/",
        "https://example.org/" + "a" * LONGEST,
        "a" * 10**6,
    ],
)
def test_nothing_else_is(address: str) -> None:
    assert checked(address) == ""


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "demo.localhost", "127.0.0.1", "127.1.2.3", "[::1]", "0.0.0.0"],
)
def test_a_link_that_means_another_machine_for_everybody_is_known(host: str) -> None:
    assert is_local(checked(f"http://{host}:5006/app"))


def test_the_code_is_black_on_white_with_a_quiet_zone() -> None:
    svg = drawn(LINK)
    assert re.findall(r'(?:fill|stroke)="([^"]*)"', svg) == ["#fff", "#000"]
    size = int(re.search(r'viewBox="0 0 (\d+) \1"', svg)[1])  # type: ignore[index]
    modules = np.zeros((size, size), int)
    x, y = 0.0, 0.0
    for command, numbers in re.findall(r"([Mmh])([\d. -]*)", svg.split('stroke="#000" d="')[1]):
        steps = [float(each) for each in re.findall(r"-?\d*\.?\d+", numbers)]
        if command == "h":
            modules[int(y), int(x) : int(x + steps[0])] = 1
            x += steps[0]
        else:
            x, y = (steps[0], steps[1]) if command == "M" else (x + steps[0], y + steps[1])
    wanted = np.array([list(row) for row in segno.make_qr(LINK, error="m").matrix])
    quiet = 4
    np.testing.assert_array_equal(modules[quiet:-quiet, quiet:-quiet], wanted)
    modules[quiet:-quiet, quiet:-quiet] = 0
    assert not modules.any()


def test_the_view_shows_what_the_browser_says_if_it_can_be_scanned() -> None:
    explorer = mhc.Explorer(view="link")
    shown = explorer.stage.views["link"].link
    assert (shown.asked, shown.code) == (False, "")  # there is no browser: this is a notebook
    shown.address = LINK
    assert (shown.shown, shown.code, shown.why) == (LINK, drawn(LINK), "")
    shown.address = "http://localhost:5006/app"
    assert shown.shown == "http://localhost:5006/app"
    assert shown.code == ""
    assert "only this machine" in shown.why
    shown.address = "javascript:alert(1)"
    assert (shown.shown, shown.code, shown.why) == ("", "", "")
