"""The training loop, on one screen, and what is read off the network after every step.

Reading is not part of the step: it takes a separate forward pass, of a few fixed examples, which
the step's time leaves out.  (Within the step it would slow down only those networks that have
something to read, and the batch would add its noise.)  What changes from step to step is a `Run`,
which a checkpoint keeps.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from ..nn import parameter_groups, record_mappings
from ..nn.readings import measured
from .checkpoints import Keeper, read_checkpoint
from .networks import Network
from .optimising import OPTIMISERS, SCHEDULES
from .records import Record, Step, Summary
from .settings import Settings
from .tasks import TASKS, Data, Examples

WEIGHT_DECAY = 0.01
WATCHED = 64
"""The fewest tokens of the validation set whose mappings are watched."""
SCORED = 16384
"""The most tokens of the validation set on which the score is measured."""


def training(
    settings: Settings, checkpoint: Path | None, every: int
) -> Generator[Step | Summary, None, None]:
    """`mhc_demo.lab.train`, for checked settings."""
    data = TASKS[settings.task].data(settings.seed)
    run = Run(settings, data)
    if checkpoint is not None and checkpoint.exists():
        read_checkpoint(checkpoint).restore(run)
    keeper = None if checkpoint is None else Keeper(checkpoint, every, run)
    return _records(run, data, keeper)


def trained(settings: Settings, data: Data) -> Network:
    """The network that a run ends with."""
    run = Run(settings, data)
    for _ in _records(run, data, None):
        pass
    return run.network


class Run:
    """What changes as a run goes on: its record, the network, the optimiser, and chance."""

    def __init__(self, settings: Settings, data: Data) -> None:
        self.record = Record(settings)
        self.randomness = Randomness(settings.seed, settings.device)
        with self.randomness:  # weights that `networks` does not set, of a branch of your own
            self.network = Network(settings, data).to(settings.device)
        self.optimiser = self.new_optimiser()
        self.parameters = sum(each.numel() for each in self.network.parameters())

    def new_optimiser(self) -> torch.optim.Optimizer:
        """An optimiser of the network, as it is before the first step."""
        settings = self.record.settings
        groups = parameter_groups(self.network, WEIGHT_DECAY)
        return OPTIMISERS[settings.optimiser].build(groups, settings.learning_rate)

    def end(self, outcome: str, score: float = math.nan) -> None:
        """Sum up."""
        self.record.summary = self.record.summed_up(outcome, score, parameters=self.parameters)


class Randomness:
    """PyTorch's generators for one run alone: in this context they go on where they were left.

    Without it a branch that draws, such as one with dropout, would depend on what else draws in
    this process, and a run that goes on from a checkpoint could not end as if it had never stopped.
    """

    def __init__(self, seed: int, device: str) -> None:
        self._devices = [torch.cuda.current_device()] if device == "cuda" else []
        with torch.random.fork_rng(devices=self._devices):
            for each in self._generators():
                each.manual_seed(seed)
            self.states = [each.get_state() for each in self._generators()]

    def _generators(self) -> list[torch.Generator]:
        on_gpu = [torch.cuda.default_generators[each] for each in self._devices]
        return [torch.default_generator, *on_gpu]

    def __enter__(self) -> None:
        self._others = [each.get_state() for each in self._generators()]
        self._set(self.states)

    def __exit__(self, *error: object) -> None:
        self.states = [each.get_state() for each in self._generators()]
        self._set(self._others)

    def _set(self, states: list[Tensor]) -> None:
        for generator, state in zip(self._generators(), states, strict=True):
            generator.set_state(state)


def _records(run: Run, data: Data, keeper: Keeper | None) -> Generator[Step | Summary, None, None]:
    """The steps already done, the further ones, and the summary."""
    record = run.record
    yield from record.steps[:]
    if record.summary is None:
        yield from _further_steps(run, data, keeper)
        if keeper is not None:
            keeper.keep()
    assert record.summary is not None
    yield record.summary


def _further_steps(run: Run, data: Data, keeper: Keeper | None) -> Generator[Step, None, None]:
    """Train to the end."""
    record, network, optimiser = run.record, run.network, run.optimiser
    settings = record.settings
    factor = SCHEDULES[settings.schedule].factor
    watch = _Watch(network, data.validation, settings.device)
    generator = np.random.default_rng(settings.seed)
    for _ in record.steps:  # the batches of the steps that are done, so that the next ones follow
        generator.integers(len(data.train.inputs), size=settings.batch)
    for step in range(len(record.steps) + 1, settings.steps + 1):
        with run.randomness:
            start = perf_counter()
            batch = generator.integers(len(data.train.inputs), size=settings.batch)
            inputs, targets = _tensors(settings.device, data.train, batch)
            loss = cross_entropy(network(inputs).flatten(0, -2), targets.flatten())
            optimiser.zero_grad()
            loss.backward()
            norm = get_total_norm(p.grad for p in network.parameters() if p.grad is not None)
            if settings.clip:
                clip_grads_with_norm_(network.parameters(), settings.clip, norm)
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * factor(step, settings.steps)
            optimiser.step()
            for mixture in network.mixtures:
                if mixture is not None:
                    mixture.balance()
            numbers = loss.item(), norm.item()  # waits for a GPU
            seconds = perf_counter() - start
            record.extend([watch.step(step, *numbers, seconds, targets.numel() / seconds)])
        if keeper is not None:
            keeper.keep()
        yield record.steps[-1]
        if not math.isfinite(record.steps[-1].loss):
            run.end("diverged")
            return
    with run.randomness:
        score = _score(network, data.validation, TASKS[settings.task].score, settings.device)
    run.end("finished", score)


def _tensors(device: str, examples: Examples, rows: np.ndarray | slice) -> tuple[Tensor, Tensor]:
    inputs, targets = (
        torch.tensor(each[rows], device=device) for each in (examples.inputs, examples.targets)
    )
    return inputs, targets


@contextmanager
def _evaluating(network: Network) -> Iterator[None]:
    """In this context dropout, norms of batches and the like in a branch of your own are off."""
    network.eval()
    with torch.no_grad():
        yield
    network.train()


def _score(network: Network, examples: Examples, score: str, device: str) -> float:
    tokens = examples.targets[0].size
    inputs, targets = _tensors(device, examples, slice(max(1, SCORED // tokens)))
    with _evaluating(network):
        logits = torch.cat([network(piece) for piece in inputs.split(max(1, 1024 // tokens))])
    if score == "accuracy":
        return (logits.argmax(-1) == targets).double().mean().item()
    return cross_entropy(logits.flatten(0, -2), targets.flatten()).item() / math.log(2.0)


class _Watch:
    """Reads the mappings of a few examples off a network."""

    def __init__(self, network: Network, examples: Examples, device: str) -> None:
        self.network, self.device = network, device
        count = -(-WATCHED // examples.targets[0].size)
        self.inputs, _ = _tensors(device, examples, slice(count))
        self.process = psutil.Process()

    def step(
        self, step: int, loss: float, gradient_norm: float, seconds: float, per_second: float
    ) -> Step:
        with _evaluating(self.network), record_mappings(self.network) as mappings:
            self.network(self.inputs)
        return Step(
            step=step,
            loss=loss,
            gradient_norm=gradient_norm,
            **measured(mappings.stack()),
            seconds=seconds,
            per_second=per_second,
            memory=self._memory(),
            **_routing(self.network),
        )

    def _memory(self) -> int:
        if self.device == "cuda":
            return torch.cuda.max_memory_allocated()
        return self.process.memory_info().rss


def _routing(network: Network) -> dict[str, Any]:
    """What the mixtures did with the step's batch: fields of a `Step`, none without mixtures."""
    mixtures = network.mixtures
    if not any(mixtures):
        return {}
    loads: list[list[float]] = []
    entropies: list[float] = []
    for each in mixtures:
        load, entropy = (None, None) if each is None else (each.load, each.entropy)
        loads.append([] if load is None else load.tolist())
        entropies.append(math.nan if entropy is None else entropy.item())
    return {"expert_load": loads, "routing_entropy": entropies}
