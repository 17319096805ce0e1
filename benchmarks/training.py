"""Where the lab's trainings end.

The presets *HC explodes* and *HC fails* on a CPU, each row one training with the seed that it
names; what many seeds do is in [evidence](evidence.md). The gain is the largest of the composite in
any step and either direction, as a power of ten; the accuracy that of the validation digits after
the last step.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from mhc_demo import lab

from .results import Row, Table, rounded

RUNS = {"explodes": (0,), "fails": (0,)}
"""Seeds of each preset."""


def run() -> Iterator[Table]:
    """A table for each preset."""
    torch.set_num_threads(1)  # so small a network gains nothing from more
    headings = {
        "what": "",
        "seed": "seed",
        "log10_gain": "gain, 10^",
        "gradient": "largest gradient norm",
        "loss": "loss",
        "score": "accuracy",
    }
    for name, seeds in RUNS.items():
        preset = lab.PRESETS[name]
        rows = [
            _row(lab.CONNECTIONS[connection], preset.settings(connection=connection, seed=seed))
            for seed in seeds
            for connection in lab.COMPARED
        ]
        settings = preset.settings()
        yield Table(
            headings,
            rows,
            f"{preset.title}: {settings.depth} layers, learning rate {settings.learning_rate:g}, "
            f"{settings.steps} steps",
        )


def _row(title: str, settings: lab.Settings) -> Row:
    *_, end = lab.train(settings)
    assert isinstance(end, lab.Summary)
    return {
        "what": title,
        "seed": settings.seed,
        "log10_gain": rounded(end.largest_gain),
        "gradient": rounded(end.largest_gradient_norm),
        "loss": rounded(end.loss),
        "score": rounded(end.score),
    }
