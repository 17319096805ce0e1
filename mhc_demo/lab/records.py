"""What a run yields, and the file that keeps it: JSON lines, written as the run goes.

The first line says what ran (settings, versions), then there is one line for each step, and the
last one sums up.  Each line is flushed before the next step starts, so that even a killed run
leaves a readable record: it lacks the summary, and at worst ends in half a line.  Gains are log10.
Numbers that are not finite are written as null.
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, BinaryIO, TextIO

import numpy as np

from ..numerics._arrays import choice, whole_number
from ..numerics.gains import DIRECTIONS
from ..numerics.readings import Measured
from ..numerics.replacing import replacing
from .settings import SETTINGS, Settings, as_settings

OUTCOMES = ("finished", "diverged", "cancelled")
Matrices = list[list[list[float]]]
Loads = list[list[float]]

LAST = 0.1
"""The share of the steps, at the end, over which a summary averages how the experts were chosen."""


@dataclass(frozen=True)
class Step(Measured):
    """What is known after one step of training.

    The gains are those of fixed examples of the validation set, after the step: log10 of the mean
    over the tokens of the Amax gain (the paper's, signed sums), as in its Figures 3 and 7.
    """

    step: int
    """1, 2, ..."""
    loss: float
    """Of the step's batch, before the step; nats."""
    gradient_norm: float
    """The 2-norm over all parameters, before it is clipped, if it is."""
    layer_gains: dict[str, list[float]]
    """"forward" and "backward": of each layer by itself."""
    composite_gains: dict[str, list[float]]
    """On the paper's axes: "forward" at l is of H_l ... H_1, "backward" of H_L ... H_l."""
    mixing: list[float]
    """Each layer's mean sum of |entries| of H_res off the diagonal of a row."""
    seconds: float
    """Time of the step: sampling the batch is included, recording these values is not."""
    per_second: float
    """Samples or tokens (`Task.unit`)."""
    memory: int
    """Bytes: of the whole process, or on a GPU the peak so far."""
    h_res: Matrices = field(default_factory=list, repr=False)
    """H_res of each layer, averaged over the tokens, (L, n, n); not in files."""
    expert_load: Loads = field(default_factory=list)
    """Of the step's batch, before the step: for each layer the share of the tokens' choices that
    fell on each expert, whose sum is 1; empty for a layer without experts, and where none has."""
    routing_entropy: list[float] = field(default_factory=list)
    """Of the step's batch, before the step: for each layer the entropy of the router's affinities
    divided by their sum, averaged over the tokens, in bits; NaN for a layer without experts."""

    @property
    def load_violation(self) -> float:
        """How uneven the load is: the largest over the mean, less 1, averaged over the layers.

        MaxVio of Wang et al., arXiv:2408.15664: 0 where all experts are chosen as often.  NaN
        without experts.
        """
        uneven = [max(load) * len(load) - 1.0 for load in self.expert_load if load]
        return sum(uneven) / len(uneven) if uneven else math.nan

    @property
    def mean_routing_entropy(self) -> float:
        """`routing_entropy` averaged over the layers with experts; NaN without."""
        known = [each for each in self.routing_entropy if not math.isnan(each)]
        return sum(known) / len(known) if known else math.nan


@dataclass(frozen=True)
class Summary:
    """A run in one line."""

    outcome: str
    """One of `OUTCOMES`; "diverged" is a loss that is not finite."""
    steps: int
    loss: float
    """Of the last step."""
    score: float
    """Of the validation set, as `Task.score` says; NaN unless the run finished."""
    largest_gain: float
    """log10 of the largest composite gain, in either direction, after any step."""
    largest_gradient_norm: float
    seconds_per_step: float
    """The median."""
    parameters: int = 0
    """How many numbers the network learns; 0 if it is not known, as of a cancelled run."""
    h_res: Matrices = field(default_factory=list, repr=False)
    """H_res of each layer after the last step, averaged over the tokens, (L, n, n)."""
    load_violation: float = math.nan
    """`Step.load_violation`, averaged over the last tenth of the steps."""
    routing_entropy: float = math.nan
    """`Step.mean_routing_entropy`, averaged over the last tenth of the steps."""


@dataclass
class Record:
    """A run as far as it got: what ran, its steps, and how it ended."""

    settings: Settings
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    """What it ran on, and when: processor, cores, threads of PyTorch, start (UTC)."""
    steps: list[Step] = field(default_factory=list)
    """Only the latest one keeps its `h_res`."""
    summary: Summary | None = None
    damage: str = ""
    """What is wrong with the file that it was read from, in a sentence; empty if nothing is."""

    def __post_init__(self) -> None:
        as_settings(self.settings)

    def extend(self, records: Iterable[Step | Summary]) -> None:
        """Add what `train` yields."""
        for record in records:
            if isinstance(record, Summary):
                self.summary = record
                continue
            if self.steps and self.steps[-1].h_res:
                self.steps[-1] = replace(self.steps[-1], h_res=[])
            self.steps.append(record)

    @property
    def outcome(self) -> str:
        """As `Summary.outcome`, or "interrupted" if there is no summary."""
        return self.summary.outcome if self.summary else "interrupted"

    def summed_up(self, outcome: str, score: float = math.nan, *, parameters: int = 0) -> Summary:
        """The summary of the steps so far, of which there must be one."""
        last = self.steps[-1]
        return Summary(
            outcome=outcome,
            steps=last.step,
            loss=last.loss,
            score=score,
            largest_gain=_largest(gain for step in self.steps for gain in step.gain.values()),
            largest_gradient_norm=_largest(step.gradient_norm for step in self.steps),
            seconds_per_step=median(step.seconds for step in self.steps),
            parameters=parameters,
            load_violation=_at_the_end([step.load_violation for step in self.steps]),
            routing_entropy=_at_the_end([step.mean_routing_entropy for step in self.steps]),
            h_res=last.h_res,
        )


def _largest(values: Iterable[float]) -> float:
    """The largest value that is not NaN; NaN if there is none."""
    return max((value for value in values if not math.isnan(value)), default=math.nan)


def _at_the_end(values: Sequence[float]) -> float:
    """The mean over the last tenth, of one value at least."""
    last = values[-max(1, round(LAST * len(values))) :]
    mean = sum(last) / len(last)
    return math.nan if math.isnan(mean) else mean  # the one NaN that equals itself in a record


# Files


def recorded(
    records: Generator[Step | Summary, None, None], settings: Settings, path: str | Path
) -> Generator[Step | Summary, None, None]:
    """What `records` yields, each record written to the file `path` before it is passed on.

    >>> for record in recorded(train(settings), settings, "hc.jsonl"): ...

    An existing file is replaced once the first line of the new one is written.  If this generator
    is closed, or the training interrupted, the record ends with a summary that says "cancelled".
    Raises what `replacing` does, and OSError if a line cannot be written: the record then holds all
    lines before it.
    """
    kept = Record(settings)
    with replacing(path) as part, open(part, "w", encoding="utf-8") as file:
        _write(file, opening(settings))
    with open(path, "a", encoding="utf-8") as file, closing(records):
        try:
            for record in records:
                kept.extend([record])
                _write(file, _line(record))
                yield record
        finally:
            if kept.steps and kept.summary is None:
                _write(file, _line(kept.summed_up("cancelled")))


def read_ends(path: str | Path) -> Record:
    """The run in the file `path` without its steps: the first line, and the last if it sums up.

    It is quick however long the run was.  Raises what `read_record` does.
    """
    with open(path, "rb") as file:
        return ends_of(file, str(path))


def ends_of(file: BinaryIO, name: str) -> Record:
    """`read_ends` of a file that is open, and is called `name` in errors."""
    try:
        record = record_of(parsed(file.readline(LONGEST_LINE).decode(errors="replace")))
    except BAD as error:
        raise ValueError(f"{name} is no record of the lab: {error}") from None
    file.seek(max(file.tell(), file.seek(0, os.SEEK_END) - LONGEST_LINE))
    last = file.read().decode(errors="replace")
    try:
        end = _step_or_summary(parsed(last.rstrip("\n").rpartition("\n")[2]), record)
    except BAD:
        return record
    if isinstance(end, Summary) and last.endswith("\n"):
        record.summary = end
    return record


def read_record(path: str | Path) -> Record:
    """The run in the file `path`, as far as the file is intact.

    A record that was cut off has no summary.  Reading stops at the first line that does not
    belong to a record, and `damage` says what is wrong with it.

    Raises ValueError if not even the first line belongs to a record, and OSError as `open` does.
    """
    with open(path, encoding="utf-8", errors="replace") as file:
        try:
            record = record_of(parsed(next(file, "")))
        except BAD as error:
            raise ValueError(f"{path} is no record of the lab: {error}") from None
        for number, line in enumerate(file, start=2):
            try:
                record.extend([_step_or_summary(parsed(line), record)])
            except BAD as error:
                cut = "" if line.endswith("\n") else ", which was cut off"
                record.damage = f"nothing is read from line {number} on{cut}: {error}"
                break
    return record


MOST = 2**53
"""No count is larger: whole numbers beyond are no longer exact in other programs."""
MOST_EXPERTS = 2**10
LONGEST_LINE = 2**22
"""Bytes; the longest line of a record, its summary with 128 matrices of 16 x 16, has some 2^19."""
BAD = (ValueError, TypeError, OverflowError, RecursionError)
"""What a hostile line may raise: numbers beyond any float, and brackets in brackets, among it."""
FORMAT = 1
"""The version of the file format; a reader refuses any other."""


def opening(settings: Settings) -> dict[str, Any]:
    """The first line of a record that begins now."""
    values = settings.values_by_name()
    machine = {"processor": _processor(), "cores": str(os.cpu_count())}
    if "torch" in sys.modules:
        machine["threads"] = str(sys.modules["torch"].get_num_threads())
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "record": FORMAT,
        "settings": values,
        "versions": _versions(),
        "machine": machine | {"started": started},
        "modules": settings.modules(),
    }


def _processor() -> str:
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def made() -> str:
    """With which versions and on which processor something is made here and now, in a line."""
    versions = _versions()
    said = [f"{name} {versions[name]}" for name in ("torch", "numpy", "python") if name in versions]
    return f"{', '.join(said)}, processor {_processor()}; {datetime.now(UTC).date()}"


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("mhc-demo", "torch", "numpy", "scikit-learn"):
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def _write(file: TextIO, line: dict[str, Any]) -> None:
    file.write(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n")
    file.flush()


def _line(record: Step | Summary) -> dict[str, Any]:
    line = {name: _finite(value) for name, value in vars(record).items()}
    if isinstance(record, Step):
        del line["h_res"]
    for name in ROUTING:
        if line.get(name) in (None, []):
            line.pop(name, None)
    return line


ROUTING = ("expert_load", "load_violation", "routing_entropy")
"""Fields of a step or a summary that a network without experts does not have."""


def _finite(value: Any) -> Any:
    """`value` with None for each number that JSON cannot express."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parsed(line: str) -> dict[str, Any]:
    """The object that a line of JSON holds; raises ValueError if it holds none."""
    try:
        value = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is not JSON")  # Python would take NaN and Infinity


def record_of(line: dict[str, Any]) -> Record:
    """The record that a first line begins; raises one of `BAD` if that is no such line."""
    if line.get("record") != FORMAT:
        raise ValueError(f"its format must be {FORMAT}, not {line.get('record')!r}")
    settings, versions = line.get("settings"), line.get("versions")
    if not (isinstance(settings, dict) and isinstance(versions, dict)):
        raise ValueError("it has no settings or no versions")
    unknown = sorted(settings.keys() - set(SETTINGS))
    if unknown:
        raise ValueError(f"there is no setting {unknown[0]!r}")
    machine = line.get("machine", {})
    if not isinstance(machine, dict):
        raise ValueError("its machine is not an object")
    try:
        run = Settings(**settings)
    except ValueError as error:
        modules = line.get("modules")
        if not modules:
            raise
        hint = f"made with modules {modules!r:.80}: import them first, as --module does"
        raise ValueError(f"{error} ({hint})") from None
    run.check_values()
    return Record(run, _words(versions), _words(machine))


def _words(values: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def _step_or_summary(line: dict[str, Any], record: Record) -> Step | Summary:
    """The step or summary in a further line of a record."""
    kind = Summary if "outcome" in line else Step
    depth = record.settings.depth
    values = {}
    for each in fields(kind):
        if each.name in line:
            check = _CHECKS[str(each.type)]
            values[each.name] = check(line.pop(each.name), each.name, depth)
        elif each.default is MISSING and each.default_factory is MISSING:
            raise ValueError(f"it has no {each.name}")
    if line:
        raise ValueError(f"there is no field {next(iter(line))!r}")
    return kind(**values)


def _number(value: Any, name: str, depth: int) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} must be a number or null, not {value!r:.40}")
    return float(value)


def _whole(value: Any, name: str, depth: int) -> int:
    return whole_number(name, value, 0, MOST)


def _numbers(value: Any, name: str, depth: int) -> list[float]:
    if not isinstance(value, list) or len(value) != depth:
        raise ValueError(f"{name} must be a list of {depth} numbers, one for each layer")
    return [_number(each, name, depth) for each in value]


def _directions(value: Any, name: str, depth: int) -> dict[str, list[float]]:
    if not isinstance(value, dict) or set(value) != set(DIRECTIONS):
        raise ValueError(f"{name} must have the directions {' and '.join(DIRECTIONS)}")
    return {direction: _numbers(value[direction], name, depth) for direction in DIRECTIONS}


def _outcome(value: Any, name: str, depth: int) -> str:
    return choice(name, value, OUTCOMES)


def _matrices(value: Any, name: str, depth: int) -> Matrices:
    array = np.array(value, dtype=float)  # null is NaN
    if array.ndim != 3 or len(array) != depth or array.shape[1] != array.shape[2]:
        raise ValueError(f"{name} must hold {depth} square matrices, not shape {array.shape}")
    return array.tolist()


def _loads(value: Any, name: str, depth: int) -> Loads:
    if not isinstance(value, list) or len(value) != depth:
        raise ValueError(f"{name} must be a list of {depth} lists, one for each layer")
    for each in value:
        if not isinstance(each, list) or len(each) > MOST_EXPERTS:
            raise ValueError(f"{name} must have {MOST_EXPERTS} numbers at most for each layer")
    return [_numbers(each, name, len(each)) for each in value]


_CHECKS: dict[str, Callable[[Any, str, int], Any]] = {
    "int": _whole,
    "float": _number,
    "str": _outcome,
    "list[float]": _numbers,
    "dict[str, list[float]]": _directions,
    "Matrices": _matrices,
    "Loads": _loads,
}
"""The function that checks a field, by the field's annotated type."""
