"""What can be chosen by name in the lab's settings, in this package and in others.

Each kind of thing (a task, a connection, a branch, an optimiser, a schedule) has a `Registry`,
which a decorator fills from any module.  An installed package names its modules as entry points of
the group `GROUP`; they are imported when settings ask for a name that is not there, and before the
command line lists the names.
"""

from __future__ import annotations

import re
import warnings
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol, TypeVar

import param

GROUP = "mhc_demo.lab"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


class Titled(Protocol):
    """An entry."""

    @property
    def title(self) -> str:
        """As the page writes it."""


Entry = TypeVar("Entry", bound=Titled)


class Registry(dict[str, Entry]):
    """Entries by name, and the settings that choose among them, later entries included."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self._followers: list[param.Selector] = []

    def __setitem__(self, name: str, entry: Entry) -> None:
        if not isinstance(name, str) or not NAME.fullmatch(name):  # it is part of files' names
            raise ValueError(
                f"the name of a {self.kind} must be up to 40 letters, digits, '-', '_' or '.', the "
                f"first a letter or digit, not {name!r}"
            )
        super().__setitem__(name, entry)
        self._tell()

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        self._tell()

    def followed_by(self, setting: param.Selector) -> None:
        """Have a setting offer whatever is registered."""
        self._followers.append(setting)
        self._tell()

    def _tell(self) -> None:
        for each in self._followers:
            each.objects = {entry.title: name for name, entry in self.items()}


@cache
def load_installed() -> None:
    """Import what installed packages name as entry points; what cannot be imported is warned of."""
    for each in entry_points(group=GROUP):
        try:
            each.load()
        except Exception as error:  # one broken package must not take the others away
            warnings.warn(
                f"the entry point {each.name!r} of {GROUP} ({each.value}) cannot be loaded: "
                f"{type(error).__name__}: {error}",
                stacklevel=2,
            )


def known(registry: Registry[Any], name: Any) -> bool:
    """Whether there is an entry of this name, perhaps in an installed package."""
    if not isinstance(name, str):
        return False
    if name not in registry:
        load_installed()
    return name in registry
