"""From an experiment to its gain surface: the one dataset that every figure draws from.

Depth and iterations are axes of the surface, not inputs: moving a slider only looks a value up.
Only what changes the matrices themselves makes a new `Experiment`, and a new surface.

What bounds the speed: 31 x 128 x members products of n x n matrices, some 16 MB at n = 4 and 32
members, each touched a handful of times.  The members are divided into chunks that stay in cache,
and the chunks run on all cores (NumPy releases the interpreter lock inside each operation).  On a
GPU the chunks are large and run one after another while the cores draw the noise of the next: the
noise is NumPy's on every device, so that a seed means the same network everywhere.  Whether fusing
projection and composition into one kernel would pay off there is not yet measured; drawing the
noise of 100,000 members takes one core 7 s, which no kernel shortens.

A process that computes many surfaces, as a server does, calls `compile_kernels` first: if Numba is
there, what the page shows most (Sinkhorn-Knopp's composites) then takes a fraction of the time.
"""

from __future__ import annotations

import math
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from threading import Lock
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import param
import xarray as xr
from array_api_compat import array_namespace
from numpy.typing import NDArray

from ._arrays import Array, batch_innermost, choice, nonnegative, whole_number
from .devices import Place, place
from .gains import DEFINITIONS, DIRECTIONS, Composite, compose, log10_composite_gains, log10_gain
from .lyapunov import along_depth
from .metrics import METRICS
from .mixing import INITS, MAX_SEED, PARAMETERS, Init, chosen_init
from .paper import MHC_PAPER
from .projecting import iterates
from .projections import PROJECTIONS

Floats: TypeAlias = NDArray[np.float64]

Measure: TypeAlias = Callable[[Array, str], Array]
"""(matrices (t, members, depth, n, n), definition) -> log10 gains (2, t, members, depth)."""

Progress: TypeAlias = Callable[[int], None]
"""Called in the caller's thread with the number of members finished since the last call."""

MAX_DEPTH = 128
MAX_ITERATIONS = 30
QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
SERIES = ("member", *QUANTILES)
"""member: the first network of the ensemble; then quantiles over the whole ensemble."""


class Experiment(param.Parameterized):
    """What determines the matrices: the one declaration of names, defaults and bounds.

    The page's controls, the URL, the command line and the keys of a saved state are derived from
    these parameters.  A value out of range raises a ValueError that names it.
    """

    streams = param.Integer(
        4, bounds=(1, 64), label="Streams (n)", doc="Expansion rate n: residual streams."
    )
    seed = param.Integer(42, bounds=(0, MAX_SEED), label="Seed", doc="Seed of the noise.")
    spread = param.Number(
        1.0, bounds=(0.0, 100.0), label="Spread", doc="Standard deviation of the entries."
    )
    init = param.Selector(
        default="gaussian",
        objects={init.title: name for name, init in INITS.items()},
        label="Init",
        doc="How the matrices are drawn.",
    )
    projection = param.Selector(
        default="sinkhorn",
        objects={p.title: name for name, p in PROJECTIONS.items()},
        label="Projection",
        doc="What turns logits into the mixing matrix.",
    )
    members = param.Integer(
        32, bounds=(1, 1_000_000), label="Ensemble members", doc="Networks drawn."
    )
    definition = param.Selector(
        default="paper",
        objects={
            "Paper: largest |row sum|": "paper",
            "Worst case: induced norm": "worst-case",
        },
        label="Gain definition",
        doc="Which of the two quantities that go by the name of Amax gain.",
    )

    def values_of_experiment(self) -> dict[str, Any]:
        """The parameters that determine the matrices, by name: not those of other inits."""
        return {name: getattr(self, name) for name in determining(self.init)}

    def changed(self, **values: Any) -> Experiment:
        """The same experiment except for `values`.

        Raises ValueError or TypeError for a value that an experiment cannot have.

        >>> rows = Experiment(spread=2.0).changed(projection="rows")
        """
        copy = Experiment(**self.values_of_experiment() | values)
        _check(copy)
        return copy

    def drawing(self) -> dict[str, Any]:
        """What determines HC's matrices and the logits, by the names of `sample_mixing`."""
        return {name: getattr(self, name) for name in drawn_by(self.init)}


for _name, _declared in PARAMETERS.items():
    Experiment.param.add_parameter(
        _name,
        param.Number(
            _declared.default,
            bounds=(_declared.low, _declared.high),
            step=_declared.step,
            label=_declared.label,
            doc=_declared.doc,
        ),
    )

EXPERIMENT_PARAMETERS = tuple(name for name in Experiment.param if name != "name")
assert set(Experiment.param.definition.objects) == set(DEFINITIONS)


def determining(init: str) -> tuple[str, ...]:
    """The parameters of an `Experiment` that matter with an init: not those of other inits."""
    foreign = PARAMETERS.keys() - INITS[init].parameters.keys()
    return tuple(name for name in EXPERIMENT_PARAMETERS if name not in foreign)


def drawn_by(init: str) -> tuple[str, ...]:
    """The parameters of an `Experiment` on which HC's matrices and the logits depend."""
    return ("streams", "init", "spread", "seed", *INITS[init].parameters)


def init_of(experiment: Experiment) -> Init:
    """The init of an experiment, with the experiment's values of its parameters."""
    name = experiment.init
    return chosen_init(name, **{p: getattr(experiment, p) for p in INITS[name].parameters})


_compiled: ModuleType | None = None


def compile_kernels() -> bool:
    """Have Numba, if it is installed, compute the surfaces of Sinkhorn-Knopp in this process.

    Their gains then differ from NumPy's by rounding alone.  Returns whether it does.  To load Numba
    takes longer than some surfaces; to compile, ten seconds, unless an earlier process has done so
    and kept the result.
    """
    global _compiled
    if _compiled is None and find_spec("numba") is not None:
        from .kernels import gains_numba

        gains_numba.compile_all()
        _compiled = gains_numba
    return _compiled is not None


def gain_surface(
    experiment: Experiment,
    *,
    depth: int = MAX_DEPTH,
    iterations: int = MAX_ITERATIONS,
    device: str = "numpy",
    progress: Progress | None = None,
) -> xr.Dataset:
    """log10 Amax gains of an experiment at every iteration count and depth.

    `device` is a name of `mhc_demo.DEVICES`: "numpy", "cpu" (PyTorch) or "cuda".  The matrices are
    the same everywhere; the gains agree to the rounding of float64, on CUDA of float32 (where a
    product nearly cancels, to a few thousandths of a decade).  `progress` is called with the number
    of members finished since the last call.

    Variables of the dataset:

    - `log10_gain` (direction, iterations, depth, series): the composite of a network of that
      depth.  iterations 0 is HC, unprojected.
    - `expected_log10_gain` (depth): the mean of HC's `log10_gain` where theory gives it
      (definition "paper"; see `Init.expected_log10_gain` for how exactly), else NaN.

    direction is "forward" (row sums) or "backward" (column sums); series is "member" (the first
    network) or a quantile over the ensemble.  Attributes give the experiment, what computed it
    (`device`), how many matrices were projected (`projected`: each at every iteration count) and
    how many seconds that took (`projection_seconds`; `compile_kernels` makes projections, products
    and gains one step, and these are the seconds of all of it: then `device` names Numba).

    >>> surface = gain_surface(Experiment(streams=4, seed=42, members=32))
    >>> dict(surface["log10_gain"].sizes)
    {'direction': 2, 'iterations': 31, 'depth': 128, 'series': 6}

    Raises ValueError or TypeError for depth < 1, iterations < 0, a projection that does not
    exist for that many streams, and a device that is not available.
    """
    depth = whole_number("depth", depth, 1)
    iterations = whole_number("iterations", iterations, 0)
    clock = _Clock()
    gains = _over_ensemble(
        experiment, depth, iterations, _measure_composites, device, clock, progress
    )
    depths = np.arange(1, depth + 1)
    expected = init_of(experiment).expected_log10_gain(
        depths, experiment.streams, experiment.spread
    )
    if expected is None or experiment.definition != "paper":
        expected = np.full(depth, np.nan)
    return xr.Dataset(
        {
            "log10_gain": (("direction", "iterations", "depth", "series"), gains),
            "expected_log10_gain": ("depth", expected),
        },
        coords=_axes(depth, iterations, "depth"),
        attrs={
            **experiment.values_of_experiment(),
            "source": MHC_PAPER,
            "device": place(device).title + (clock.compiled and f", {clock.compiled}"),
            "projected": clock.projected,
            "projection_seconds": clock.seconds,
        },
    )


@cache
def _axes(
    depth: int, iterations: int, along: str, directions: tuple[str, ...] = DIRECTIONS
) -> xr.Coordinates:
    # Cached, because making the indexes takes longer than labelling the data with them.
    return xr.Dataset(
        coords={
            "direction": list(directions),
            "iterations": np.arange(iterations + 1),
            along: np.arange(1, depth + 1),
            "series": list(SERIES),
        }
    ).coords


def layer_gains(
    experiment: Experiment,
    *,
    depth: int = MAX_DEPTH,
    iterations: int = MAX_ITERATIONS,
    device: str = "numpy",
    progress: Progress | None = None,
) -> xr.DataArray:
    """log10 Amax gains of every single layer, dimensions (direction, iterations, layer, series)."""
    return _along_layers(
        experiment, depth, iterations, _measure_layers, device, DIRECTIONS, progress
    )


def layer_axis_gains(
    experiment: Experiment,
    *,
    depth: int,
    iterations: int = MAX_ITERATIONS,
    direction: str | None = None,
    device: str = "numpy",
    progress: Progress | None = None,
) -> xr.DataArray:
    """log10 gains on the paper's axes: against the layer l of one network of `depth` layers.

    Forward at l is the composite H_l ... H_1, backward at l is H_L ... H_l, the product from the
    last layer down (Fig. 3b, 7b).  Dimensions (direction, iterations, layer, series); if
    `direction` is given, only that one is computed.
    """
    measure: Measure = _measure_both_ends
    directions: tuple[str, ...] = DIRECTIONS
    if direction is not None:
        measure = _measure_one_end(choice("direction", direction, DIRECTIONS))
        directions = (direction,)
    return _along_layers(experiment, depth, iterations, measure, device, directions, progress)


def _along_layers(
    experiment: Experiment,
    depth: int,
    iterations: int,
    measure: Measure,
    device: str,
    directions: tuple[str, ...],
    progress: Progress | None,
) -> xr.DataArray:
    depth = whole_number("depth", depth, 1)
    iterations = whole_number("iterations", iterations, 0)
    clock = _Clock()
    return xr.DataArray(
        _over_ensemble(experiment, depth, iterations, measure, device, clock, progress, directions),
        dims=("direction", "iterations", "layer", "series"),
        coords=_axes(depth, iterations, "layer", directions),
        attrs={**experiment.values_of_experiment(), "source": MHC_PAPER},
    )


def member_matrices(
    experiment: Experiment,
    *,
    depth: int = MAX_DEPTH,
    iterations: Iterable[int] = range(MAX_ITERATIONS + 1),
    member: int = 0,
) -> xr.Dataset:
    """The matrices of one network: each layer's own and the composite up to it.

    Variables `layer` and `composite_mantissa` (iterations, depth, row, column) and
    `composite_exponent` (iterations, depth): composite = mantissa * 2**exponent.
    """
    _check(experiment)
    depth = whole_number("depth", depth, 1)
    member = whole_number("member", member, 0)
    if not isinstance(iterations, Iterable):
        raise TypeError(f"iterations must be a collection of whole numbers, not {iterations!r}")
    counts = sorted({whole_number("iterations", t, 0) for t in iterations})
    if not counts:
        raise ValueError("iterations must hold at least one count, not none")
    layers = _layers_of(experiment, range(member, member + 1), depth, counts[-1])
    selected = np.stack([layers[min(t, len(layers) - 1), 0] for t in counts])
    composite = compose(selected)
    n = np.arange(1, experiment.streams + 1)
    grid = ("iterations", "depth", "row", "column")
    return xr.Dataset(
        {
            "layer": (grid, selected),
            "composite_mantissa": (grid, np.ascontiguousarray(composite.mantissa)),
            "composite_exponent": (grid[:2], composite.exponent),
        },
        coords={"iterations": counts, "depth": np.arange(1, depth + 1), "row": n, "column": n},
        attrs={**experiment.values_of_experiment(), "member": member},
    )


def mixing_surface(
    experiment: Experiment,
    *,
    depth: int = MAX_DEPTH,
    iterations: int = MAX_ITERATIONS,
    metrics: Iterable[str] = tuple(METRICS),
) -> xr.Dataset:
    """Mixing metrics of the first network's composite, dimensions (iterations, depth).

    `metrics` are names of `METRICS`; by default all, of which eigenvalues take longest.  Those that
    ignore the scale are known everywhere, but those that ask for entries that are not negative only
    where none is.  The others compare with a stochastic matrix, or are as large as their matrix:
    they are NaN at iterations 0 (HC) and for a projection that allows negative entries or whose
    products are unbounded.  (For one
    composite of any size `Metric.log10` has them.)  `singular_ratio` is exact however small it is,
    see `log10_singular_ratio`, down to 1e-308.

    With it come `expected_log10_ratio` and `deviation_log10_ratio` (depth), where there is a theory
    of HC, else NaN: see `Init.expected_log10_ratio`.
    """
    _check(experiment)
    depth = whole_number("depth", depth, 1)
    iterations = whole_number("iterations", iterations, 0)
    if isinstance(metrics, str) or not isinstance(metrics, Iterable):
        raise TypeError(f"metrics must be a collection of names, not {metrics!r}")
    chosen = [METRICS[choice("metrics", name, METRICS)] for name in metrics]
    values = {metric.name: np.full((iterations + 1, depth), np.nan) for metric in chosen}
    layers = _layers_of(experiment, range(1), depth, iterations)[:, 0]
    composites = compose(layers)
    packed = Composite(np.ascontiguousarray(composites.mantissa), composites.exponent)
    projection = PROJECTIONS[experiment.projection]
    comparable = projection.bounded and projection.nonnegative
    for metric in chosen:
        if metric.scale_free:
            found = along_depth(metric.name, layers, packed)
            values[metric.name][: len(found)] = found
            values[metric.name][len(found) :] = found[-1]
        elif comparable and iterations:
            values[metric.name][1:] = metric(np.ascontiguousarray(composites.matrices()[1:]))
    depths = np.arange(1, depth + 1)
    return xr.Dataset(
        {name: (("iterations", "depth"), v) for name, v in values.items()}
        | (_theory_of_ratio(experiment, depths) if "singular_ratio" in values else {}),
        coords={"iterations": np.arange(iterations + 1), "depth": depths},
        attrs={**experiment.values_of_experiment(), "member": 0},
    )


def _theory_of_ratio(
    experiment: Experiment, depths: NDArray[np.integer]
) -> dict[str, tuple[str, Floats]]:
    init = init_of(experiment)
    found = init.expected_log10_ratio(depths, experiment.streams, experiment.spread)
    unknown = np.full(len(depths), np.nan)
    expected, deviation = (unknown, unknown) if found is None else found
    return {
        "expected_log10_ratio": ("depth", expected),
        "deviation_log10_ratio": ("depth", deviation),
    }


def _check(experiment: Any) -> None:
    if not isinstance(experiment, Experiment):
        raise TypeError(f"experiment must be an Experiment, not {experiment!r}")
    for name in ("streams", "seed", "members"):
        whole_number(name, getattr(experiment, name), 0)  # param accepts True as a whole number
    nonnegative("spread", experiment.spread)


@dataclass
class _Clock:
    """How many matrices were projected, and how long that took."""

    projected: int = 0
    seconds: float = 0.0
    compiled: str = ""
    """What compiled the projection with all that follows; empty if nothing did."""
    lock: Lock = field(default_factory=Lock)

    def add(self, projected: int, seconds: float) -> None:
        with self.lock:
            self.projected += projected
            self.seconds += seconds


def _compiled_gains(
    experiment: Experiment, noise: Floats, iterations: int, clock: _Clock
) -> Floats | None:
    """`_measure_composites` of `_layer_matrices`, by the compiled kernel; None if it declines."""
    if _compiled is None:
        return None
    start = time.perf_counter()
    init, chosen = init_of(experiment), PROJECTIONS[experiment.projection]
    gains: Floats | None = _compiled.log10_gains(
        init.mapping(noise, experiment.spread),
        init.logits(noise, experiment.spread),
        chosen,
        iterations,
        experiment.definition,
    )
    if gains is not None:
        members, depth = noise.shape[:2]
        clock.compiled = _compiled.TITLE
        clock.add(members * depth if iterations else 0, time.perf_counter() - start)
    return gains


def _layers_of(experiment: Experiment, members: range, depth: int, iterations: int) -> Floats:
    noise = init_of(experiment).noise(members, depth, experiment.streams, experiment.seed)
    return _layer_matrices(experiment, noise, iterations, place("numpy"), _Clock())


def _layer_matrices(
    experiment: Experiment, noise: Floats, iterations: int, target: Place, clock: _Clock
) -> Array:
    """HC's matrices and the projected ones, shape (t, members, depth, n, n).

    t runs over iterations 0 (HC), 1, 2, ...; a projection that does not iterate ends at 1.
    """
    xp = target.xp
    members, depth, n, _ = noise.shape
    init, chosen = init_of(experiment), PROJECTIONS[experiment.projection]
    count = min(iterations, iterations if chosen.iterative else 1)
    shape = (1 + count, members, depth, n, n)
    if target.gpu:  # the memory layout of the kernels
        z = target.array(noise)
        layers = xp.empty(shape, dtype=target.dtype, device=target.device)
    else:  # batch innermost
        z = batch_innermost(xp, target.array(noise))
        packed = (n, n, depth, 1 + count, members)
        layers = xp.empty(packed, dtype=target.dtype, device=target.device)
        layers = xp.permute_dims(layers, (3, 4, 2, 0, 1))
    mapping = init.mapping(z, experiment.spread)
    logits = init.logits(z, experiment.spread) if chosen.takes_logits else mapping
    layers[0, ...] = mapping
    target.wait()
    start = time.perf_counter()
    for t, matrices in enumerate(iterates(logits, chosen.name, count), start=1):
        layers[t, ...] = matrices
    target.wait()
    clock.add(members * depth if count else 0, time.perf_counter() - start)
    return layers


def _measure_composites(matrices: Array, definition: str) -> Array:
    return log10_composite_gains(matrices, "forward", definition)


def _measure_layers(matrices: Array, definition: str) -> Array:
    xp = array_namespace(matrices)
    return xp.stack([log10_gain(matrices, d, definition) for d in DIRECTIONS])


def _measure_both_ends(matrices: Array, definition: str) -> Array:
    # Forward gains of the products from the first layer up, backward gains of those from the last
    # layer down.
    xp = array_namespace(matrices)
    return xp.concat([_measure_one_end(d)(matrices, definition) for d in DIRECTIONS])


def _measure_one_end(direction: str) -> Measure:
    return lambda matrices, definition: log10_composite_gains(
        matrices, direction, definition, (direction,)
    )


_WHOLE_DEVICE: defaultdict[str, Lock] = defaultdict(Lock)
"""Held during a computation in PyTorch: each uses the whole device, so they take turns."""


def _over_ensemble(
    experiment: Experiment,
    depth: int,
    iterations: int,
    measure: Measure,
    device: str,
    clock: _Clock,
    progress: Progress | None = None,
    directions: tuple[str, ...] = DIRECTIONS,
) -> Floats:
    """`measure` over the whole ensemble, shape (direction, t, depth, series), t = 0, 1, ....

    `measure` gives the gains in those directions first, and whatever else it measures.
    """
    _check(experiment)
    PROJECTIONS[experiment.projection].check(experiment.streams)
    target = place(device)
    init = init_of(experiment)

    def draw(members: range) -> Floats:
        return init.noise(members, depth, experiment.streams, experiment.seed)

    paper = experiment.definition == "paper"
    compiled = measure is _measure_composites and device == "numpy" and _compiled is not None

    def gains(noise: Floats) -> Array:
        if compiled:
            found = _compiled_gains(experiment, noise, iterations, clock)
            if found is not None:
                return found
        layers = _layer_matrices(experiment, noise, iterations, target, clock)
        measured = measure(layers, experiment.definition)
        for k, direction in enumerate(directions):
            if paper and PROJECTIONS[experiment.projection].sums_by_theorem(direction):
                measured[k, 1:, ...] = 0.0
        return measured

    def report(part: Array) -> Array:
        if progress is not None:
            progress(part.shape[-2])
        return part

    chunks = _chunks(experiment, depth, iterations, target)
    if compiled and experiment.members * experiment.streams**2 <= _ONE_CHUNK:
        chunks = [range(experiment.members)]
    if len(chunks) == 1 and not target.parallel:
        parts = [report(gains(draw(chunks[0])))]
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                if target.parallel:
                    with _WHOLE_DEVICE[device]:
                        parts = [report(gains(noise)) for noise in _ahead(pool, draw, chunks)]
                else:
                    pending = pool.map(lambda members: gains(draw(members)), chunks)
                    parts = [report(part) for part in pending]
                    clock.seconds /= min(os.cpu_count() or 1, len(chunks))
            except BaseException:  # Ctrl-C, say: chunks that have not started are cancelled
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    series = _series(parts, target)
    if series.shape[1] < iterations + 1:  # one-shot: the same at every count but 0
        series = series[:, [0] + [1] * iterations]
    return series


_ONE_CHUNK = 2**12
"""Entries in the matrices of one layer, members * n^2, for which threads would take longer to start
than the compiled kernel takes."""


def _ahead(
    pool: ThreadPoolExecutor, draw: Callable[[range], Floats], chunks: list[range]
) -> Iterator[Floats]:
    """The chunks' noise in order, drawn a few chunks ahead: all of it may not fit in memory."""
    waiting: deque[Future[Floats]] = deque()
    for chunk in chunks:
        waiting.append(pool.submit(draw, chunk))
        if len(waiting) > (os.cpu_count() or 1):
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _chunks(experiment: Experiment, depth: int, iterations: int, target: Place) -> list[range]:
    """The members in chunks of at most 8 MB of matrices, enough for all cores from four members on.

    On a GPU a chunk is half a gigabyte, which keeps all of it busy.
    """
    bytes_each = (iterations + 1) * depth * experiment.streams**2 * 8
    if target.gpu:
        size = max(1, 2**30 // bytes_each)
    else:
        cores = os.cpu_count() or 1
        size = max(1, min(2**23 // bytes_each, -(-experiment.members // cores)))
        if experiment.members < 4:
            size = experiment.members
    return [
        range(start, min(start + size, experiment.members))
        for start in range(0, experiment.members, size)
    ]


def _series(parts: list[Array], target: Place) -> Floats:
    """Parts of shape (..., t, members, depth) -> (..., t, depth, series) in NumPy's float64.

    Series as in `SERIES`.  A few t at a time, because sorting takes four times the memory.
    """
    times = parts[0].shape[1]
    numbers = sum(math.prod(part.shape) for part in parts)
    step = max(1, times * _SORTED_AT_A_TIME // numbers)
    return np.concatenate(
        [
            _quantiles([part[:, t : t + step, ...] for part in parts], target)
            for t in range(0, times, step)
        ],
        axis=1,
    )


_SORTED_AT_A_TIME = 2**25


def _quantiles(parts: list[Array], target: Place) -> Floats:
    xp = target.xp
    values = xp.concat(parts, axis=-2) if len(parts) > 1 else parts[0]
    first, last = values[..., 0, :], values.shape[-2] - 1
    if last == 0:  # a single network is each of its own quantiles
        columns = [first] * len(SERIES)
    else:
        ordered = xp.sort(xp.moveaxis(values, -2, -1), axis=-1)
        columns = [first]
        for q in QUANTILES.values():
            low = int(q * last)
            below, above = ordered[..., low], ordered[..., min(low + 1, last)]
            finite = xp.where(below == above, 0.0, below)  # where both are -inf, the step is 0
            step = xp.where(below == above, 0.0, above) - finite
            columns.append(below + step * (q * last - low))
    series = xp.stack(columns, axis=-1)
    return np.asarray(series.cpu() if hasattr(series, "cpu") else series, dtype=np.float64)
