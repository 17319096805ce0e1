"""What the lab's networks learn: real data that needs no download.

A task is a function of the seed that returns examples as NumPy arrays: vectors of real numbers
with a class each, which perceptrons learn, or sequences of symbols with the next symbol at each
position, which a causal transformer learns.  To add a task, write such a function under
`@task(...)`, in any module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .branches import STANDARD
from .registry import Registry

CONTEXT = 64
"""Characters that the language model sees at a time."""


@dataclass(frozen=True)
class Examples:
    """Inputs (examples, features) or (examples, positions), and the class of each."""

    inputs: NDArray
    targets: NDArray[np.integer]
    """(examples,), or (examples, positions) for sequences."""


@dataclass(frozen=True)
class Data:
    """Examples to learn from, and others held back to test what was learned."""

    train: Examples
    validation: Examples
    classes: int
    """The number of classes; for sequences, of symbols."""


@dataclass(frozen=True)
class Task:
    """Something to learn, and how it is scored."""

    name: str
    title: str
    load: Callable[[int], Data]
    unit: str
    """What is counted per second: "samples" or "tokens"."""
    score: str
    """What the summary's score is: "accuracy", or "bits per character" (less is better)."""
    needs: Sequence[str]
    """Modules that must be installed."""
    note: str
    chance: float | None = None
    """The score of guessing; None: what the frequencies of the classes say."""
    branch: str = STANDARD
    """What its layers compute unless the settings name another branch."""

    def data(self, seed: int) -> Data:
        """What `load` returns; runs of one process that follow each other share it.

        Raises TypeError or ValueError if that is no data to train on.
        """
        return _loaded(self.name, self.load, seed)

    def check(self) -> None:
        """Raise an ImportError that names what to install, if anything is missing."""
        needed = ("psutil", *self.needs)  # every training needs psutil
        missing = [PACKAGES.get(name, name) for name in needed if find_spec(name) is None]
        if missing:
            raise ImportError(
                f"task {self.name!r} needs {' and '.join(missing)}: pip install {' '.join(missing)}"
            )


@lru_cache(maxsize=1)
def _loaded(name: str, load: Callable[[int], Data], seed: int) -> Data:
    data = load(seed)
    if not isinstance(data, Data):
        raise TypeError(f"task {name!r} must return Data, not {type(data).__name__}")
    for part in (data.train, data.validation):
        inputs, targets = part.inputs, part.targets
        sequences = targets.ndim > 1
        wanted, dtype = ("whole", np.integer) if sequences else ("float32", np.float32)
        if not np.issubdtype(inputs.dtype, dtype) or inputs.ndim != 2:
            raise TypeError(
                f"task {name!r} must have {wanted} numbers of shape (examples, "
                f"{'positions' if sequences else 'features'}) as inputs, not {inputs.dtype} of "
                f"shape {inputs.shape}"
            )
        if len(inputs) != len(targets) or not len(targets):
            raise ValueError(
                f"task {name!r} must have as many targets as inputs, one at least, not "
                f"{len(targets)} and {len(inputs)}"
            )
        whole = np.issubdtype(targets.dtype, np.integer)
        if not whole or targets.min() < 0 or targets.max() >= data.classes:
            raise ValueError(
                f"task {name!r} must have whole numbers from 0 to {data.classes - 1} as targets, "
                f"not {targets.dtype} from {targets.min()} to {targets.max()}"
            )
    return data


PACKAGES = {"sklearn": "scikit-learn"}
"""Packages whose name is not that of their module."""

TASKS: Registry[Task] = Registry("task")
"""Every task by its name."""


def task(
    name: str,
    title: str,
    *,
    unit: str,
    score: str,
    note: str,
    needs: Sequence[str] = (),
    chance: float | None = None,
    branch: str = STANDARD,
) -> Callable[[Callable[[int], Data]], Callable[[int], Data]]:
    """Register a function of the seed that returns the `Data`."""

    def register(load: Callable[[int], Data]) -> Callable[[int], Data]:
        TASKS[name] = Task(name, title, load, unit, score, needs, note, chance, branch)
        return load

    return register


@task(
    "digits",
    "Handwritten digits",
    unit="samples",
    score="accuracy",
    needs=["sklearn"],
    chance=0.1,
    note="1,797 handwritten digits of 8 x 8 pixels (scikit-learn's load_digits, a copy of UCI's "
    "test set of Optical Recognition of Handwritten Digits); a fifth is held back.",
)
def digits(seed: int) -> Data:
    """The seed chooses the fifth that is held back."""
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    inputs = (pixels / 8.0 - 1.0).astype(np.float32)  # 0 to 16 -> -1 to 1
    order = np.random.default_rng(seed).permutation(len(inputs))
    validation, train = (
        Examples(inputs[part], classes[part]) for part in np.split(order, [len(order) // 5])
    )
    return Data(train, validation, classes=10)


@task(
    "moe",
    "Text, mixture of experts",
    unit="tokens",
    score="bits per character",
    chance=4.69,
    branch="moe",
    note="What `text` learns, by a network with sparse mixtures of experts in the place of its "
    "perceptrons: it is `text` with the branch `moe`.",
)
@task(
    "text",
    "English text, character by character",
    unit="tokens",
    score="bits per character",
    chance=4.69,  # the entropy of single letters
    note="The help texts of the Python language, some 465,000 characters that every Python "
    "carries (pydoc_data.topics); a tenth, in one piece, is held back.",
)
def text(seed: int) -> Data:
    """The seed chooses where the tenth that is held back begins."""
    symbols, classes = _symbols()
    start = int(np.random.default_rng(seed).integers(len(symbols)))
    validation, train = np.split(np.roll(symbols, -start), [len(symbols) // 10])
    return Data(_windows(train, 1), _windows(validation, CONTEXT), classes)


@cache
def _symbols() -> tuple[NDArray[np.int64], int]:
    from pydoc_data.topics import topics

    letters = np.array(list("\n".join(topics[name] for name in sorted(topics))))
    alphabet, symbols = np.unique(letters, return_inverse=True)
    return symbols.astype(np.int64), len(alphabet)


def _windows(symbols: NDArray[np.int64], stride: int) -> Examples:
    windows = sliding_window_view(symbols, CONTEXT + 1)[::stride]
    return Examples(windows[:, :-1], windows[:, 1:])
