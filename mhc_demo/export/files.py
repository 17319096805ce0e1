"""A labelled dataset in the formats that other programs read, by the suffix of the file.

xarray and pandas write them; this file adds what a format cannot hold by itself.  To add a format,
add an entry to `FORMATS`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


def write(dataset: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a dataset in the format that the suffix of `path` names, one of `FORMATS`.

    - .csv, .parquet: a row for each cell, with columns for its labels and for the experiment's
      parameters beside the values.  Read by `pandas.read_csv(path)` (in older versions with
      `float_precision="round_trip"`) and `pandas.read_parquet(path)`, whose `.attrs` then hold all
      attributes; a CSV file has no place for the others.
    - .nc: netCDF 4, read by `xarray.open_dataset(path)`.
    - .json: `Dataset.to_dict()`; null for NaN, "-Infinity" for minus infinity.  Read by
      `xarray.Dataset.from_dict(json.load(file)).astype(float)`.

    Every number is written to its last digit.  `with replacing(path) as part: write(dataset, part)`
    writes all of it or nothing.

    Raises ValueError for another suffix, and ModuleNotFoundError that says what to install.
    """
    format_of(path).write(dataset, Path(path))


def format_of(path: str | os.PathLike[str]) -> Format:
    """The format that the suffix of `path` names.

    Raises ValueError for a suffix that is not in `FORMATS`, and ModuleNotFoundError that says what
    to install for a format whose packages are missing.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"path must end in {', '.join(FORMATS)}, not {os.fspath(path)!r}")
    found = FORMATS[suffix]
    missing = [name for name in found.needs if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"{suffix} needs {' and '.join(missing)}: pip install {' '.join(missing)}"
        )
    return found


@dataclass(frozen=True)
class Format:
    """How a dataset is written, and the packages that this needs."""

    write: Callable[[xr.Dataset, Path], None]
    needs: tuple[str, ...] = ()


def _csv(dataset: xr.Dataset, path: Path) -> None:
    _rows(dataset).to_csv(path, index=False)


def _parquet(dataset: xr.Dataset, path: Path) -> None:
    path.write_bytes(_rows(dataset).to_parquet(None, index=False, engine="pyarrow"))


def _netcdf(dataset: xr.Dataset, path: Path) -> None:
    # In memory first: on a full disk HDF5 would end the whole process.
    path.write_bytes(dataset.to_netcdf(None, engine="h5netcdf"))


def _json(dataset: xr.Dataset, path: Path) -> None:
    found = dataset.to_dict(data="array")
    for part in ("coords", "data_vars"):
        for variable in found[part].values():
            variable["data"] = _plain(variable["data"])
    with path.open("w", encoding="utf-8") as file:
        json.dump(found, file, ensure_ascii=False, allow_nan=False)


def _rows(dataset: xr.Dataset) -> pd.DataFrame:
    from ..numerics.surface import EXPERIMENT_PARAMETERS

    rows = dataset.to_dataframe().reset_index()
    for name in (*EXPERIMENT_PARAMETERS, "version"):
        if name in dataset.attrs:
            rows[name] = dataset.attrs[name]
    rows.attrs = dict(dataset.attrs)
    return rows


def _plain(values: np.ndarray) -> Any:
    """An array as nested lists; NaN becomes null, and infinity a word: JSON has no such numbers."""
    if values.dtype.kind != "f":
        return values.tolist()
    plain = values.astype(object)
    plain[np.isnan(values)] = None
    for infinity, word in ((np.inf, "Infinity"), (-np.inf, "-Infinity")):
        plain[values == infinity] = word
    return plain.tolist()


FORMATS = {
    ".csv": Format(_csv),
    ".parquet": Format(_parquet, ("pyarrow",)),
    ".nc": Format(_netcdf, ("h5netcdf", "h5py")),
    ".json": Format(_json),
}
"""Every format by its suffix."""
