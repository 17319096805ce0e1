"""The state of the page, and its way into a URL and out of it.

The state is an `Experiment` with the page's narrower bounds, and what is looked at: depth,
iterations, view, theme.  The URL's parameters are the parameters' names, so a new one needs no
code here.  A URL is hostile: values are matched against a strict pattern, and no text of it is
ever repeated on the page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import param

from ..projections import PROJECTIONS
from ..surface import EXPERIMENT_PARAMETERS, MAX_DEPTH, MAX_ITERATIONS, Experiment
from .views import VIEWS

THEMES = {"Light": "light", "Dark": "dark"}
WHOLE = re.compile(r"[+-]?\d{1,15}")
DECIMAL = re.compile(r"[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})([eE][+-]?\d{1,3})?")


class State(Experiment):
    """Everything that a link to the page carries."""

    iterations = param.Integer(
        1, bounds=(0, MAX_ITERATIONS), label="Sinkhorn iterations", doc="0 is HC itself."
    )
    depth = param.Integer(
        64, bounds=(1, MAX_DEPTH), label="Depth (layers)", doc="Residual layers composed."
    )
    streams = param.Integer(
        4, bounds=(1, 16), label="Streams (n)", doc="Expansion rate n: residual streams."
    )
    spread = param.Number(
        1.0, bounds=(0.0, 10.0), step=0.1, label="Spread", doc="Standard deviation of the entries."
    )
    members = param.Integer(
        32, bounds=(1, 256), label="Ensemble members", doc="Networks drawn with different noise."
    )
    view = param.Selector(
        default=next(iter(VIEWS)),
        objects={view.title: name for name, view in VIEWS.items()},
        label="View",
        doc="What is shown below the dial.",
    )
    theme = param.Selector(default="light", objects=THEMES, label="Theme", doc="Light or dark.")
    notices = param.List(default=[], doc="What was corrected, for the reader.", precedence=-1)

    def experiment(self) -> Experiment:
        """The experiment alone, as the library takes it."""
        return Experiment(**self.values_of_experiment())

    def seen(self) -> dict[str, int]:
        """What the browser looks up by itself."""
        return {"depth": self.depth, "iterations": self.iterations}

    def query(self) -> str:
        """The whole state as a URL's query string, "?" included."""
        return "?" + urlencode({name: _written(getattr(self, name)) for name in URL_PARAMETERS})

    def read(self, arguments: Mapping[str, Iterable[bytes | str]]) -> None:
        """Take over a URL's arguments; what does not fit is corrected or ignored, with a notice."""
        values: dict[str, Any] = {}
        notices: list[str] = []
        unknown = 0
        for name, given in arguments.items():
            if name not in URL_PARAMETERS:
                unknown += 1
                continue
            parameter = self.param[name]
            value, notice = _understood(parameter, list(given)[-1])
            if notice:
                notices.append(f"{parameter.label}: {notice}")
            if value is not None:
                values[name] = value
        if unknown:
            notices.append(
                "An unknown parameter in the link was ignored."
                if unknown == 1
                else f"{unknown} unknown parameters in the link were ignored."
            )
        most = PROJECTIONS[values.get("projection", self.projection)].max_streams
        if most is not None and values.get("streams", self.streams) > most:
            values["streams"] = most
            notices.append(f"Streams (n): set to {most}, the most that this projection can take.")
        self.param.update(**values, notices=notices)

    def reset(self) -> None:
        """Back to the defaults; the theme and the view stay."""
        with param.parameterized.batch_call_watchers(self):
            for name in URL_PARAMETERS:
                if name not in ("theme", "view"):
                    setattr(self, name, self.param[name].default)
            self.notices = []


URL_PARAMETERS = (
    "iterations",
    "depth",
    *EXPERIMENT_PARAMETERS,
    "view",
    "theme",
)


def _written(value: Any) -> str:
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _understood(parameter: param.Parameter, given: bytes | str) -> tuple[Any, str]:
    """(value or None, notice or ""): one argument of a URL."""
    text = given.decode("utf-8", "replace") if isinstance(given, bytes) else given
    if isinstance(parameter, param.Selector):
        if text in parameter.objects:
            return text, ""
        allowed = ", ".join(map(str, parameter.objects))
        return None, f"the value in the link was ignored; it can be {allowed}."
    whole = isinstance(parameter, param.Integer)
    if not (WHOLE if whole else DECIMAL).fullmatch(text.strip()):
        kind = "a whole number" if whole else "a number"
        return None, f"the value in the link was ignored; it must be {kind}."
    value = int(text) if whole else float(text)
    low, high = parameter.bounds
    kept = min(max(value, low), high)
    if kept == value and math.isfinite(value):
        return value, ""
    return kept, f"set to {_written(kept)}; it ranges from {_written(low)} to {_written(high)}."
