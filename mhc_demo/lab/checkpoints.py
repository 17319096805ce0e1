"""A run on its way, in one file: all that it needs to go on to the same record, to the last digit.

A checkpoint is written whole or not at all, and holds the run's settings, versions and steps, the
network's weights, the optimiser's state, and the state of PyTorch's generators.  Two things follow
from settings and step, and are not kept: the schedule's factors, and the order of the data, whose
draws are made again.

Whoever reads one may have it from anybody.  `torch.load(weights_only=True)` runs none of its code;
what it returns is then compared with what this run's own network and optimiser look like, because
PyTorch's fused optimisers write beyond the end of a state that is too small.
"""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np
from numpy.typing import NDArray

from ..numerics._arrays import choice, whole_number
from ..numerics.gains import DIRECTIONS
from ..numerics.replacing import replacing
from .records import MOST, Record, Step, opening, parsed, record_of
from .settings import SETTINGS, Settings
from .tasks import TASKS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .training import Run

FORMAT = 1
"""The version of the file format; a reader refuses any other."""
EVERY = 50
"""Steps between two checkpoints, unless somebody says otherwise."""
PARTS = ("head", "steps", "h_res", "weights", "optimiser", "random")
"""What a file holds: a line of JSON, and tensors in dictionaries and lists."""
ENDINGS = ("finished", "diverged")


class CheckpointError(ValueError):
    """A file that is no checkpoint, or not one of this run; or a run that no checkpoint holds."""


@dataclass(frozen=True)
class Checkpoint:
    """A run as far as it had got when the file was written."""

    path: Path
    record: Record
    """Its settings, versions, machine and steps; the summary too if the run had ended."""
    parameters: int
    """How many numbers the network learns."""
    weights: dict[str, Tensor] = field(repr=False)
    """Parameters and buffers by name, on the CPU: what `state_dict` of the network returned."""
    optimiser: dict[str, Any] = field(repr=False)
    """What the optimiser's `state_dict` returned."""
    random: list[Tensor] = field(repr=False)
    """The states of PyTorch's generators."""

    @property
    def settings(self) -> Settings:
        """Those of the run."""
        return self.record.settings

    def network(self) -> nn.Module:
        """The network with these weights, on the CPU, in evaluation mode.

        It takes a task's inputs, (examples, features) or (examples, positions), and returns the
        logits of its classes, (examples, ..., classes).  `mhc_demo.nn.record_mappings` records its
        H_res.  Raises CheckpointError if the weights are not those of such a network.
        """
        from .networks import Network

        network = Network(self.settings, TASKS[self.settings.task].data(self.settings.seed))
        self.load_weights(network)
        return network.eval()

    def load_weights(self, network: nn.Module) -> None:
        """Give the weights to a network; raises CheckpointError if they do not fit it."""
        try:
            _compare(self.weights, network.state_dict(), "weights")
            network.load_state_dict(self.weights)
        except (ValueError, TypeError, RuntimeError) as error:
            raise CheckpointError(f"{self.path} does not fit its network: {error}") from None

    def check(self, settings: Settings) -> None:
        """Raise CheckpointError if a run with `settings`, here and now, is not this one.

        With other settings, versions or threads it would not end in the same record.
        """
        for what, was, now in self._compared(settings):
            if was != now:
                raise CheckpointError(
                    f"{self.path} is the checkpoint of another run: it has {what} {was!r}, not "
                    f"{now!r}; a run goes on with the same settings, versions and threads alone"
                )

    def _compared(self, settings: Settings) -> list[tuple[str, Any, Any]]:
        """(what, as it was, as it is) of all that must be equal."""
        begun = opening(settings)
        was = {**self.record.versions, "threads": self.record.machine.get("threads")}
        now = {**begun["versions"], "threads": begun["machine"].get("threads")}
        # "platform" changes with every build of the system, and no number with it.
        made_with = sorted({*was, *now} - {"platform"})
        return [
            *((n, getattr(self.settings, n), getattr(settings, n)) for n in SETTINGS),
            *((name, was.get(name), now.get(name)) for name in made_with),
        ]

    def restore(self, run: Run) -> None:
        """Take `run`, which has just begun, to where this one was.

        Raises CheckpointError if this is a checkpoint of another run, or of no run that could be.
        """
        self.check(run.record.settings)
        probe = _after_a_step(run)
        self.load_weights(run.network)
        try:
            _compare_optimisers(self.optimiser, probe)
            run.optimiser.load_state_dict(self.optimiser)
            _compare(self.random, run.randomness.states, "random")
            run.randomness.states = self.random
            with run.randomness:  # PyTorch refuses what is no state of a generator
                pass
        except (ValueError, TypeError, RuntimeError) as error:
            raise CheckpointError(f"{self.path} does not fit its run: {error}") from None
        run.record.extend(self.record.steps)
        run.record.summary = self.record.summary


class Keeper:
    """Writes the checkpoints of one run to one file, each in place of the last."""

    def __init__(self, path: str | Path, every: int, run: Run) -> None:
        self.path, self.every, self.run = Path(path), every, run
        if not self.path.absolute().parent.is_dir():
            raise FileNotFoundError(f"there is no folder for the checkpoint {path}")
        self._begun = opening(run.record.settings)
        self._rows: list[NDArray[np.float64]] = []

    def keep(self) -> None:
        """Write a checkpoint if one is due: after every so many steps, and at the end.

        Raises OSError if the file cannot be written, and CheckpointError if the optimiser or the
        network has a state that a checkpoint cannot hold.
        """
        record = self.run.record
        if record.summary is None:
            last = record.steps[-1]
            if last.step % self.every or not math.isfinite(last.loss):
                return
        experts = record.settings.computes.experts
        self._rows += [_row(step, experts) for step in record.steps[len(self._rows) :]]
        self._write(self._parts())

    def _parts(self) -> dict[str, Any]:
        import torch

        run, end = self.run, self.run.record.summary
        head = {
            **self._begun,
            "checkpoint": FORMAT,
            "parameters": run.parameters,
            "outcome": end.outcome if end else None,
            "score": end.score if end and math.isfinite(end.score) else None,
        }
        return {
            "head": json.dumps(head),
            "steps": torch.from_numpy(np.stack(self._rows)),
            "h_res": torch.tensor(run.record.steps[-1].h_res, dtype=torch.float64),
            "weights": dict(run.network.state_dict()),
            "optimiser": run.optimiser.state_dict(),
            "random": run.randomness.states,
        }

    def _write(self, parts: dict[str, Any]) -> None:
        import torch

        try:
            with replacing(self.path) as part:
                torch.save(parts, part)
                self._check(torch.serialization.get_unsafe_globals_in_checkpoint(part))
        except (OSError, RuntimeError) as error:  # PyTorch's word for a full disk is RuntimeError
            raise OSError(f"the checkpoint {self.path} cannot be written: {error}") from None

    def _check(self, strange: list[str]) -> None:
        """Raise CheckpointError if there is anything strange in what was written."""
        if strange:
            raise CheckpointError(
                f"{self.path} cannot hold {', '.join(sorted(strange))}: the state of optimiser "
                f"{self.run.record.settings.optimiser!r} and of the network must be tensors, "
                "numbers and words, in lists and dictionaries"
            )


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """The run in the file `path`, which `train(..., checkpoint=path)` has written.

    >>> checkpoint = read_checkpoint("hc.pt")  # doctest: +SKIP
    >>> logits = checkpoint.network()(inputs)  # doctest: +SKIP

    Nothing in the file is executed, and its checksums are checked.  Raises CheckpointError, which
    is a ValueError, if the file is damaged or no checkpoint, and OSError as `open` does.
    """
    path = Path(path)
    open(path, "rb").close()  # its errors are plain ones
    try:
        parts = _loaded(path)
        return _checkpoint_of(path, parts)
    # What a hostile file can make of zipfile, PyTorch's unpickler and the checks has no end.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise CheckpointError(f"{path} is no checkpoint that can be read: {reason}") from None


def _loaded(path: Path) -> dict[str, Any]:
    """What is in the file: only types that PyTorch deems safe, but in any shape."""
    import torch

    with ZipFile(path) as archive:
        if any(each.compress_type != ZIP_STORED for each in archive.infolist()):
            raise ValueError("it is compressed")  # it might be much larger than it looks
        if damaged := archive.testzip():
            raise ValueError(f"the checksum of {damaged} in it is wrong")
    # With `mmap` no tensor can be larger than the file, whatever it says of itself.
    parts = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(parts, dict) or set(parts) != set(PARTS):
        raise ValueError(f"it must hold {', '.join(PARTS)}")
    return copy.deepcopy(parts)  # so that nothing holds on to the file


def _checkpoint_of(path: Path, parts: dict[str, Any]) -> Checkpoint:
    if not isinstance(parts["head"], str):
        raise ValueError("its head must be a line of JSON")
    head = parsed(parts["head"])
    if head.get("checkpoint") != FORMAT:
        raise ValueError(f"its format must be {FORMAT}, not {head.get('checkpoint')!r:.40}")
    record = record_of(head)
    depth, most = record.settings.depth, record.settings.steps
    experts = record.settings.computes.experts
    rows = _numbers(parts["steps"], "steps", 2)
    wanted = len(FIRST) + (5 + bool(experts) + experts) * depth
    if not 1 <= len(rows) <= most or rows.shape[1] != wanted:
        raise ValueError(
            f"steps must be of 1 to {most} rows of {wanted} numbers, not {tuple(rows.shape)}"
        )
    h_res = _numbers(parts["h_res"], "h_res", 3)
    if h_res.shape[0] != depth or h_res.shape[1] != h_res.shape[2]:
        raise ValueError(f"h_res must be {depth} square matrices, not {tuple(h_res.shape)}")
    steps = [
        _step(number, row.tolist(), depth, experts) for number, row in enumerate(rows, start=1)
    ]
    record.extend([*steps[:-1], replace(steps[-1], h_res=h_res.tolist())])
    parameters = whole_number("parameters", head.get("parameters"), 0, MOST)
    if head.get("outcome") is not None:
        outcome = choice("outcome", head["outcome"], ENDINGS)
        score = math.nan if head.get("score") is None else float(head["score"])
        record.summary = record.summed_up(outcome, score, parameters=parameters)
    for name, kind in (("weights", dict), ("optimiser", dict), ("random", list)):
        if not isinstance(parts[name], kind):
            raise ValueError(f"{name} must be a {kind.__name__}")
    return Checkpoint(
        path, record, parameters, parts["weights"], parts["optimiser"], parts["random"]
    )


def _numbers(value: Any, name: str, axes: int) -> Tensor:
    """`value` as a tensor of float64 that takes no more memory than it did in the file."""
    import torch

    _plain(value, name)
    if value.dtype != torch.float64 or value.ndim != axes or not value.is_contiguous():
        raise ValueError(
            f"{name} must be a contiguous tensor of float64 with {axes} axes, not {value.dtype} of "
            f"shape {tuple(value.shape)}"
        )
    return value


# The steps as rows of numbers: as text, long runs of deep networks would take seconds to write.

FIRST = ("loss", "gradient_norm", "seconds", "per_second", "memory")


def _row(step: Step, experts: int) -> NDArray[np.float64]:
    """The numbers of a step, `FIRST` and those of every layer: (5 + 5 L,), or (5 + (6 + E) L,)."""
    layers = [gains[d] for gains in (step.layer_gains, step.composite_gains) for d in DIRECTIONS]
    layers.append(step.mixing)
    if experts:
        layers.append(step.routing_entropy)
        layers += [load or [math.nan] * experts for load in step.expert_load]
    return np.array([*(getattr(step, name) for name in FIRST), *chain(*layers)])


def _step(number: int, row: list[float], depth: int, experts: int) -> Step:
    loss, gradient_norm, seconds, per_second, memory = row[: len(FIRST)]
    layers = [row[len(FIRST) + k * depth :][:depth] for k in range(5 + bool(experts))]
    loads = [row[len(FIRST) + 6 * depth + k * experts :][:experts] for k in range(depth)]
    return Step(
        step=number,
        loss=loss,
        gradient_norm=gradient_norm,
        layer_gains=dict(zip(DIRECTIONS, layers[:2], strict=True)),
        composite_gains=dict(zip(DIRECTIONS, layers[2:4], strict=True)),
        mixing=layers[4],
        seconds=seconds,
        per_second=per_second,
        memory=int(memory),
        expert_load=[[] if math.isnan(load[0]) else load for load in loads] if experts else [],
        routing_entropy=[math.nan if math.isnan(each) else each for each in layers[5]]
        if experts
        else [],
    )


# Whether the states are such as this run's network and optimiser have


def _after_a_step(run: Run) -> dict[str, Any]:
    """What the state of the run's optimiser looks like: that of another one, after a step.

    The step changes the network's weights, which the checkpoint's then replace.
    """
    import torch

    with run.randomness:
        for each in run.network.parameters():
            each.grad = torch.zeros_like(each)
        probe = run.new_optimiser()
        probe.step()
        probe.zero_grad()
    return probe.state_dict()


def _compare_optimisers(found: Any, like: Mapping[str, Any]) -> None:
    """Raise ValueError unless one state could become the other by further steps."""
    if not isinstance(found.get("state"), dict):
        raise ValueError("optimiser must have a state")
    unknown = found["state"].keys() - like["state"].keys()
    if unknown:
        raise ValueError(f"optimiser has a state of {len(unknown)} parameters that there are not")
    # A parameter that no gradient reaches has no state.
    states = {number: like["state"][number] for number in found["state"]}
    _compare(found, {**like, "state": states}, "optimiser")


def _compare(found: Any, like: Any, name: str) -> None:
    """Raise ValueError, which names the place, unless two states differ in their values alone."""
    import torch

    if isinstance(like, torch.Tensor):
        _plain(found, name)
        if found.shape != like.shape or found.dtype != like.dtype:
            raise ValueError(
                f"{name} must be {like.dtype} of shape {tuple(like.shape)}, not {found.dtype} of "
                f"shape {tuple(found.shape)}"
            )
    elif isinstance(like, Mapping):
        if not isinstance(found, Mapping) or found.keys() != like.keys():
            raise ValueError(f"{name} must have the entries {', '.join(map(str, like)):.200}")
        for key in like:
            _compare(found[key], like[key], f"{name} {key}")
    elif isinstance(like, (list, tuple)):
        if type(found) is not type(like) or len(found) != len(like):
            raise ValueError(f"{name} must be a {type(like).__name__} of {len(like)}")
        for index, each in enumerate(like):
            _compare(found[index], each, f"{name} {index}")
    elif _kind(found) is not _kind(like):
        raise ValueError(f"{name} must be like {like!r:.80}, not of type {type(found).__name__}")


def _kind(value: Any) -> type:
    return float if type(value) is int else type(value)


def _plain(value: Any, name: str) -> None:
    """Raise ValueError unless this is a tensor with all its numbers in memory."""
    import torch

    plain = type(value) in (torch.Tensor, torch.nn.Parameter)
    if not plain or value.layout != torch.strided or value.device.type != "cpu":
        raise ValueError(f"{name} must be a tensor, not {type(value).__name__}")
