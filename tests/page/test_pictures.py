"""Pictures for slides, drawn by the browser that is there: whole, of their size, and readable."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Page

from mhc_demo.cli import main
from mhc_demo.export.slides import SLIDES
from mhc_demo.numerics.paper import figure8

pytestmark = pytest.mark.browser


def drawn(path: Path, figure: str, browser_type_launch_args: dict, *options: str) -> Path:
    program = browser_type_launch_args.get("executable_path")
    if program is None:
        pytest.skip("Playwright's own browser is not on the path")
    asked = ["plot", figure, "--members", "3", "-o", str(path), "--browser", program, *options]
    assert main(asked) == 0
    return path


def printed() -> list[str]:
    """Every number of the paper's Figure 8, sums included."""
    return [
        f"{value + 0.0:.{panel.decimals}f}".replace("-", "−")
        for panel in figure8()
        for value in (*panel.matrix.flat, *panel.row_sums, *panel.column_sums)
    ]


@pytest.mark.parametrize("figure", SLIDES)
def test_an_svg_is_one_picture_that_shows_its_words(
    page: Page, tmp_path: Path, browser_type_launch_args: dict, figure: str
) -> None:
    path = drawn(tmp_path / "a.svg", figure, browser_type_launch_args)
    root = ElementTree.parse(path).getroot()
    assert root.get("viewBox") == "0 0 1280 720"
    assert not root.findall(".//{*}image")  # lines, not pixels
    texts = ["".join(each.itertext()) for each in root.findall(".//{*}text")]
    title = root.find("{*}title").text
    assert title in texts
    if figure == "fig8":
        numbers = [text for text in texts if re.fullmatch(r"−?\d+\.\d+", text)]
        assert sorted(numbers) == sorted(printed())
    page.goto(path.as_uri())
    boxes = page.locator("text").evaluate_all(
        "(all) => all.map((t) => [t.textContent, t.getBoundingClientRect().toJSON()])"
    )
    for text, box in boxes:
        assert 0 <= box["left"] <= box["right"] <= 1280, text
        assert 0 <= box["top"] <= box["bottom"] <= 720, text


def test_a_png_has_the_size_that_was_asked_for_and_no_hole(
    page: Page, tmp_path: Path, browser_type_launch_args: dict
) -> None:
    width, height = size = (1000, 777)
    asked = ["--width", str(width), "--height", str(height), "--theme", "dark"]
    path = drawn(tmp_path / "a.png", "dial", browser_type_launch_args, *asked)
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == size
    page.goto(path.as_uri())
    corners = page.evaluate(
        """([w, h]) => {
          const [image] = document.images
          const canvas = Object.assign(document.createElement("canvas"), {width: w, height: h})
          const ctx = canvas.getContext("2d")
          ctx.drawImage(image, 0, 0)
          return [[0, 0], [w - 1, 0], [0, h - 1], [w - 1, h - 1], [w / 2, h - 1]].map(
            ([x, y]) => [...ctx.getImageData(x, y, 1, 1).data])
        }""",
        list(size),
    )
    assert corners == [[0x16, 0x19, 0x1D, 0xFF]] * 5
