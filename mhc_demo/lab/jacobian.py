"""The Jacobian of whole networks beside the composite of their H_res alone.

The composite leaves out the branches: what a layer adds depends on what it reads, and so the
derivative of a network has more in it than the product of its mixing matrices.  Here it is for the
lab's own networks, before and after training.

For one example, J_l is the derivative of the n streams after layer l, all n C numbers of them, by
the n C numbers of the streams that enter layer 1.  It is computed in full: a layer's Jacobian by
one backward pass for each of its outputs, and their product from layer 1 to l.  Its norm is the
spectral norm, its largest singular value: by how much a small change of what enters can grow at
most.  The composite is the product of the same layers' H_res, at the same examples.

All of it is in float64, while the networks train in float32.  Where HC's streams pass 10^19 that
matters: the squares in a norm overflow in float32, and with them what depends on the input is lost,
so that the gains recorded in training stay below those found here.

`data/jacobian.npz` ships, and NumPy alone can read it.  It is made by

    python -m mhc_demo.lab.jacobian

which trains the networks of those seeds that the file lacks; with --anew, of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .connections import COMPARED
from .settings import PRESETS

if TYPE_CHECKING:
    from torch import Tensor

    from .networks import Network

Floats = NDArray[np.floating]

SEEDS = 16
STAGES = {"start": ("fails", False), "explodes": ("explodes", True), "fails": ("fails", True)}
"""The networks that are measured: of which preset, and whether after training."""
EXAMPLES = 64
"""Of the validation set, the first ones: the same whose mappings the lab watches."""
MEASURES = {
    "jacobian": "whole network",
    "through": "whole network, streams in and out alike",
    "composite": "H_res alone",
    "amax": "H_res alone, Amax gain",
}
"""What is measured of layers 1 to l.

"jacobian": the spectral norm of J_l.  "through": that of E^T J_l E / n, where E copies one stream
to all n and E^T / n averages them: the derivative of what leaves by what enters when the network is
used as it is, and of a size that does not depend on n.  "composite": the spectral norm of
H_l ... H_1.  "amax": the larger of its largest absolute row sum and column sum, as the paper has it
(section 3.1).
"""


@dataclass(frozen=True)
class Jacobians:
    """Norms of C connections, S seeds, L layers."""

    connections: tuple[str, ...]
    seeds: tuple[int, ...]
    norms: dict[str, dict[str, Floats]]
    """log10, by stage and measure, each (C, S, L): of the mean over the examples."""
    made: str
    """With which versions, on which machine and when."""

    def last(self, stage: str, measure: str, connection: str) -> Floats:
        """log10 of the norms of all layers together, a value for each seed."""
        return self.norms[stage][measure][self.connections.index(connection), :, -1]

    def layers(self, stage: str) -> int:
        """How many layers the networks of a stage have."""
        return next(iter(self.norms[stage].values())).shape[-1]


@cache
def recorded_jacobians() -> Jacobians:
    """What ships with the package."""
    with _path().open("rb") as file, np.load(file, allow_pickle=False) as kept:
        return Jacobians(
            tuple(map(str, kept["connections"])),
            tuple(map(int, kept["seeds"])),
            {
                stage: {name: kept[f"{stage}_{name}"].astype(np.float64) for name in MEASURES}
                for stage in STAGES
            },
            str(kept["made"]),
        )


def _path() -> Path:
    return Path(str(files(__package__).joinpath("data/jacobian.npz")))


# ---- measuring ----------------------------------------------------------------------------------


def measured(network: Network, inputs: Tensor) -> dict[str, Floats]:
    """log10 of every measure of a network against the layer, (L,): see `MEASURES`.

    `inputs` are examples.  The network is turned to float64.
    """
    import torch

    from .. import nn as mnn

    network.double()
    with torch.no_grad():
        h = mnn.expand_streams(network.entry(inputs.double()), network.streams)
    n, size = network.streams, h[0].numel()
    jacobian = torch.eye(size, dtype=h.dtype).expand(len(h), size, size)
    composite = torch.eye(n, dtype=h.dtype).expand(len(h), n, n)
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    for layer in network.layers:
        with mnn.record_mappings(layer) as mappings, torch.no_grad():
            after = layer(h)
        # A recorded mapping that does not depend on the input has no axis of examples.
        composite = mappings.stack()[..., 0, :, :].double() @ composite
        jacobian = _jacobian(layer, h) @ jacobian
        h = after
        streams = jacobian.unflatten(2, (n, -1)).unflatten(1, (n, -1))  # (E, n, C, n, C)
        sums = [composite.sum(axis).abs().amax(-1).mean().log10() for axis in (-1, -2)]
        found["jacobian"].append(_log10_norm(jacobian))
        found["through"].append(_log10_norm(streams.sum((1, 3)) / n))
        found["composite"].append(_log10_norm(composite))
        found["amax"].append(max(each.item() for each in sums))
    return {name: np.array(values) for name, values in found.items()}


def _jacobian(layer: Any, h: Tensor) -> Tensor:
    """The derivative of a layer's streams by those that enter, (E, n, C) -> (E, n C, n C).

    Each example is repeated for every output, so that one backward pass has all the rows.
    """
    import torch

    size = h[0].numel()
    repeated = h.repeat_interleave(size, dim=0).requires_grad_()
    outputs = torch.eye(size, dtype=h.dtype).repeat(len(h), 1).reshape(repeated.shape)
    (rows,) = torch.autograd.grad(layer(repeated), repeated, outputs)
    return rows.reshape(len(h), size, size)


def _log10_norm(matrices: Tensor) -> float:
    """log10 of the mean of the spectral norms, (E, a, b)."""
    import torch

    return torch.linalg.matrix_norm(matrices, 2).mean().log10().item()


def measured_run(stage: str, connection: str, seed: int) -> dict[str, Floats]:
    """Every measure of one network at a stage, which may mean to train it first."""
    import torch

    from .tasks import TASKS
    from .training import Run, trained

    preset, after = STAGES[stage]
    settings = PRESETS[preset].settings(connection=connection, seed=seed)
    data = TASKS[settings.task].data(seed)
    network = trained(settings, data) if after else Run(settings, data).network
    return measured(network, torch.tensor(data.validation.inputs[:EXAMPLES]))


# ---- making what ships --------------------------------------------------------------------------


Measured = dict[str, list[dict[str, Floats]]]
"""Of one seed: by stage, what was measured of each of `COMPARED`."""


def keep(seeds: Sequence[Measured], made: str, path: Path, before: Jacobians | None = None) -> None:
    """Write the file: the seeds of `before`, and after them those that were measured now.

    Half precision has the three digits that a plot can show.
    """
    done = len(before.seeds) if before else 0
    arrays: dict[str, Any] = {
        "connections": np.array(COMPARED),
        "seeds": np.arange(done + len(seeds)),
        "made": np.array(f"{before.made}; from seed {done} on {made}" if before else made),
    }
    for stage in STAGES:
        for name in MEASURES:
            values = [[of[stage][c][name] for of in seeds] for c in range(len(COMPARED))]
            parts = [before.norms[stage][name]] if before else []
            arrays[f"{stage}_{name}"] = np.concatenate([*parts, values], axis=1).astype(np.float16)
    np.savez_compressed(path, **arrays)


def _one_seed(seed: int) -> Measured:
    import torch

    torch.set_num_threads(1)  # as the recorded runs have
    return {stage: [measured_run(stage, each, seed) for each in COMPARED] for stage in STAGES}


def main(processes: int = 2, anew: bool = False) -> None:
    """Train and measure the networks that the file lacks, or all, one thread each, and write it."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from .records import made

    before = None if anew else recorded_jacobians()
    done = len(before.seeds) if before else 0
    seeds: list[Measured] = []
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        for measured_seed in pool.map(_one_seed, range(done, SEEDS)):
            seeds.append(measured_seed)
            keep(seeds, made(), _path(), before)  # so that an end before the time loses little
            print(f"{done + len(seeds)} of {SEEDS} seeds", flush=True)


if __name__ == "__main__":
    import sys

    main(anew="--anew" in sys.argv)
