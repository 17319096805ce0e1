"""What a researcher holds after `mhc.inspect`: numbers, words, figures, files.

It answers three questions first: does the composite explode or vanish, do the layers mix at all,
and are the sums what they are meant to be.  Everything else is one call deeper.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ..numerics.replacing import replacing
from .choosing import H_RES, NAMES, Reading
from .tensors import write
from .words import summary, verdicts

if TYPE_CHECKING:
    from .page import ModelPage

SUFFIXES = (".npz", ".safetensors")
DESCRIBED = ("where", "read", "transposed")
"""The options of a recording that say where a model keeps its mappings."""


class Report:
    """What was measured of a model's mappings; `mhc.inspect` makes it, and a notebook shows it."""

    def __init__(
        self,
        reading: Reading,
        data: xr.Dataset,
        model: Any = None,
        inputs: Any = None,
        recording: Mapping[str, Any] | None = None,
    ) -> None:
        """`recording`: with which options the model was recorded."""
        self._reading, self._data = reading, data
        self._model, self._inputs, self._recording = model, inputs, dict(recording or {})

    @property
    def name(self) -> str:
        """Of the file, the model's class, or "array"."""
        return self._reading.name

    @property
    def layers(self) -> tuple[str, ...]:
        """What the layers are called, first layer first."""
        return self._reading.layers

    @property
    def matrices(self) -> Any:
        """H_res that act, a NumPy array (tokens, layers, n, n)."""
        return self._reading.matrices

    def to_xarray(self) -> xr.Dataset:
        """Everything that was measured, labelled: see `inspection.measuring.measured`.

        Gains are log10.
        """
        return self._data.copy()

    def verdicts(self) -> list[str]:
        """What is to be said of the model in a few sentences, the most important one first."""
        return verdicts(self._data)

    def summary(self, rows: int | None = None) -> str:
        """A table for a terminal, with the verdicts above it.

        `rows`: at most so many layers; by default sixteen of them, evenly spaced, and the ones with
        the largest gains.  Raises ValueError or TypeError unless it is a whole number from 1 on.
        """
        return summary(self._data, rows)

    def plot(self) -> ModelPage:
        """The figures of the page's view "My model", which a notebook shows.

        `.figures` has them as Bokeh's, by name, and `.save("report.html")` writes a page.
        """
        from .page import ModelPage  # Bokeh

        return ModelPage(self._data)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write H_res, (tokens, layers, n, n) in float32, and the layers' names.

        The end of `path` names the format: .npz or .safetensors; `mhc.inspect` reads both.  Raises
        ValueError for another one, and what `replacing` does.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in SUFFIXES:
            raise ValueError(f"path must end in {' or '.join(SUFFIXES)}, not {str(path)!r}")
        matrices = np.asarray(self.matrices, np.float32)
        with replacing(path) as part, open(part, "wb") as file:
            if suffix == ".npz":
                names = np.array(self.layers)
                arrays: dict[str, Any] = {H_RES: matrices, NAMES: names}
                np.savez_compressed(file, **arrays)
            else:
                write(file, H_RES, matrices, self.layers)

    def diagnose(self, **options: Any) -> Any:
        """`mhc_demo.diagnose` of the model that was inspected, with its inputs.

        Raises ValueError for a report of an array or file: a diagnosis runs the model.
        """
        if self._model is None:
            raise ValueError(
                f"only a model can be diagnosed, and this is the report of {self.name!r}: "
                "call mhc_demo.inspect(model, inputs).diagnose()"
            )
        from .diagnosis import diagnose

        described = {name: self._recording[name] for name in DESCRIBED if name in self._recording}
        return diagnose(self._model, self._inputs, **{**described, **options})

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        size = self._data.attrs
        return (
            f"<Report of {self.name!r}: {size['depth']} layers, n = {size['streams']}, "
            f"{size['tokens']:,} tokens>"
        )

    def _repr_mimebundle_(self, *_: Any, **__: Any) -> Mapping[str, str]:
        """What a notebook displays."""
        return {"text/plain": self.summary(), "text/html": self.plot().framed()}
