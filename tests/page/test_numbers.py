"""Python (`numerics/numbers.py`) and JavaScript (`static/numbers.js`) write every gain alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
from playwright.sync_api import Page

from mhc_demo.numerics import numbers
from mhc_demo.scripts import text_of

pytestmark = pytest.mark.browser

NAMES = ("rounded", "in_html", "in_label", "tick", "exact", "fate", "entry", "exact_entry")

# The limits of the rules, gains at the edge of a digit, ties (16.25, 0.125), and what is no number.
EDGES = [
    *(s * x for s in (1, -1) for x in (0.0, numbers.NEAR_ONE, 2.9995, 3.0, 4.0, 16.25, 0.125)),
    *(math.log10(gain) for gain in (999.5, 99.95, 9.995, 0.9995, 0.001, 9.9995, 999.9995)),
    *(s * (limit - 1e-12) for s in (1, -1) for limit in (numbers.NEAR_ONE, 2.9995, 3, 4, 20)),
    *(-0.005, -0.004, 2.675, 1e-7, 1e-300, 2600.05),
    *(math.inf, -math.inf, math.nan),
]


def test_python_and_javascript_write_the_same(page: Page) -> None:
    rng = np.random.default_rng(0)
    values = [
        *EDGES,
        *rng.uniform(-5, 5, 600).tolist(),
        *rng.uniform(-2600, 2600, 300).tolist(),
        *(float(power) for power in range(-50, 50)),
    ]
    page.evaluate(text_of("numbers.js"))
    written = page.evaluate(
        """([names, values]) => names.map((name) => values.map((x) => {
          const found = mhc[name](x)
          return name === "rounded" ? [found.base, found.power] : found
        }))""",
        [NAMES, values],
    )
    for name, texts in zip(NAMES, written, strict=True):
        write = getattr(numbers, name)
        ours = [list(write(x)) if name == "rounded" else write(x) for x in values]
        pairs = zip(values, ours, texts, strict=True)
        assert [(name, *each) for each in pairs if each[1] != each[2]] == []
