"""The checks.  To add one, write a function under `@check(...)` in a file here and list the file.

They are reported in this order, causes before consequences.
"""

from . import (  # noqa: I001  (this order is the report's)
    not_finite,
    not_applied,
    transposed,
    order,
    collapsed,
    sums,
    no_gradient,
    frozen,
    identical,
    reading,
    carrying,
    decayed,
    no_mixing,
)

__all__ = [
    "carrying",
    "collapsed",
    "decayed",
    "frozen",
    "identical",
    "no_gradient",
    "no_mixing",
    "not_applied",
    "not_finite",
    "order",
    "reading",
    "sums",
    "transposed",
]
