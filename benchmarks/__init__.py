"""Benchmarks of the speed and memory that this project promises.

A module for each section.  Its docstring is that section's text in docs/performance.md: the first
line is the heading, the rest says what was measured and how.  Its `run` yields the tables.  To add
a section, write such a module and name it in `SECTIONS`.
"""

SECTIONS = (
    "numerics",
    "projections",
    "page",
    "scenes",
    "opening",
    "load",
    "follow",
    "embed",
    "site",
    "memory",
    "lab",
    "training",
    "sweep",
    "lab_memory",
    "kernels",
    "recompute",
    "recording",
    "install",
)
"""In the order of docs/performance.md."""
