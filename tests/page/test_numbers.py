"""Python (`numerics/numbers.py`) and JavaScript (`static/numbers.js`) write every gain alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
from playwright.sync_api import Page

from mhc_demo.numerics import numbers
from mhc_demo.scripts import text_of

pytestmark = pytest.mark.browser

# The limits of the rules, gains at the edge of a digit, ties (16.25, 0.125), and what is no number.
EDGES = [
    *(s * x for s in (1, -1) for x in (0.0, numbers.NEAR_ONE, 2.9995, 3.0, 4.0, 16.25, 0.125)),
    *(math.log10(gain) for gain in (999.5, 99.95, 9.995, 0.9995, 0.001, 9.9995, 999.9995)),
    *(s * (limit - 1e-12) for s in (1, -1) for limit in (numbers.NEAR_ONE, 2.9995, 3, 4, 20)),
    *(-0.005, -0.004, 2.675, 1e-7, 1e-300, 2600.05),
    *(math.inf, -math.inf, math.nan),
]


@pytest.mark.parametrize(
    "name",
    ["rounded", "in_html", "in_label", "tick", "exact", "fate", "entry", "exact_entry"],
)
def test_python_and_javascript_write_the_same(page: Page, name: str) -> None:
    rng = np.random.default_rng(0)
    values = [
        *EDGES,
        *rng.uniform(-5, 5, 600).tolist(),
        *rng.uniform(-2600, 2600, 300).tolist(),
        *(float(power) for power in range(-50, 50)),
    ]
    page.evaluate(text_of("numbers.js"))
    written = page.evaluate(
        """([name, values]) => values.map((x) => {
          const found = mhc[name](x)
          return name === "rounded" ? [found.base, found.power] : found
        })""",
        [name, values],
    )
    write = getattr(numbers, name)
    ours = [list(write(x)) if name == "rounded" else write(x) for x in values]
    differences = [each for each in zip(values, ours, written, strict=True) if each[1] != each[2]]
    assert differences == []
