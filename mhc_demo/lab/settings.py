"""The settings of a run of the lab: the one declaration of names, defaults and bounds; presets.

The page's controls, the URL and the command line's options are derived from `Settings`.  To add a
preset, add an entry to `PRESETS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import param

from ..numerics._arrays import nonnegative, whole_number
from ..numerics.devices import DEVICES
from ..numerics.mixing import MAX_SEED
from ..numerics.projections import PAPER_ITERATIONS, PROJECTIONS
from ..numerics.surface import MAX_DEPTH
from .branches import BRANCHES, STANDARD, Branch
from .connections import KINDS
from .optimising import OPTIMISERS, SCHEDULES
from .registry import Registry, known
from .tasks import TASKS


def _offered(registry: Registry[Any]) -> dict[str, str]:
    return {entry.title: name for name, entry in registry.items()}


class Settings(param.Parameterized):
    """What determines a run.  A value out of range raises a ValueError that names it.

    >>> Settings(connection="hc", depth=16).values_by_name()["depth"]
    16
    """

    task = param.Selector(
        default="digits",
        objects=_offered(TASKS),
        label="Task",
        doc="What is learned.",
    )
    connection = param.Selector(
        default="mhc",
        objects=_offered(KINDS),
        label="Connection",
        doc="The residual connection around every layer.",
    )
    # What the page does not offer has a negative precedence, by which param hides it.
    branch = param.Selector(
        default="standard",
        objects=_offered(BRANCHES),
        label="Branch",
        doc="What every layer computes; the standard one gives way to that of the task moe.",
        precedence=-1,
    )
    depth = param.Integer(
        32,
        bounds=(1, MAX_DEPTH),
        label="Depth (layers)",
        doc="Residual layers; a block of text has two.",
    )
    width = param.Integer(32, bounds=(4, 1024), label="Width (C)", doc="Numbers in a stream.")
    streams = param.Integer(
        4, bounds=(1, 16), label="Streams (n)", doc="Expansion rate n; the residual network has 1."
    )
    optimiser = param.Selector(
        default="adamw",
        objects=_offered(OPTIMISERS),
        label="Optimiser",
        doc="What turns gradients into steps.",
        precedence=-1,
    )
    learning_rate = param.Number(
        0.003,
        bounds=(0.0, 1.0),
        label="Learning rate",
        doc="Of the optimiser (AdamW), the same in every step unless a schedule says otherwise.",
    )
    schedule = param.Selector(
        default="constant",
        objects=_offered(SCHEDULES),
        label="Schedule",
        doc="The course of the learning rate.",
        precedence=-1,
    )
    clip = param.Number(
        0.0,
        bounds=(0.0, 1e6),
        label="Clip",
        doc="The largest norm of a gradient; a larger one is scaled down to it. 0: none is.",
        precedence=-1,
    )
    steps = param.Integer(150, bounds=(1, 10_000), label="Steps", doc="Steps of training.")
    batch = param.Integer(
        64, bounds=(1, 4096), label="Batch", doc="Samples or sequences in a step."
    )
    projection = param.Selector(
        default="sinkhorn",
        objects={p.title: n for n, p in PROJECTIONS.items() if p.bounded},
        label="Projection",
        doc="What makes mHC's logits the mixing matrix.",
    )
    iterations = param.Integer(
        PAPER_ITERATIONS, bounds=(1, 30), label="Sinkhorn iterations", doc="Of the projection."
    )
    seed = param.Integer(
        0, bounds=(0, MAX_SEED), label="Seed", doc="Of the split, the weights and the batches."
    )
    device = param.Selector(
        default="cpu",
        objects={d.title: name for name, d in DEVICES.items() if name != "numpy"},
        label="Device",
        doc="What computes.",
    )

    def __init__(self, **values: Any) -> None:
        for name, registry in REGISTRIES.items():
            if name in values:
                known(registry, values[name])  # it may be in a package that is not imported yet
        super().__init__(**values)

    def values_by_name(self) -> dict[str, Any]:
        """Every setting by its name."""
        return {name: getattr(self, name) for name in SETTINGS}

    def modules(self) -> list[str]:
        """The modules outside this package in which what is chosen here is defined."""
        chosen = (
            TASKS[self.task].load,
            KINDS[self.connection].layer,
            self.computes.make,
            OPTIMISERS[self.optimiser].build,
            SCHEDULES[self.schedule].factor,
        )
        names = {getattr(each, "__module__", None) or "__main__" for each in chosen}
        ours = __package__.partition(".")[0]
        return sorted(name for name in names if name.partition(".")[0] != ours)

    @property
    def mixes(self) -> bool:
        """Whether the network's layers mix streams at all."""
        return KINDS[self.connection].mixes

    @property
    def computes(self) -> Branch:
        """What every layer computes: the branch, of which a standard one is that of the task."""
        named = self.branch if self.branch != STANDARD else TASKS[self.task].branch
        return BRANCHES[named]

    def changed(self, **values: Any) -> Settings:
        """The same settings except for `values`.

        >>> calm = Settings()
        >>> three = [calm.changed(connection=name) for name in COMPARED]
        """
        return Settings(**self.values_by_name() | values)

    def check(self) -> None:
        """Check what a declaration cannot: types that pass for others, and what goes together.

        Raises ValueError or TypeError, and ImportError if the task needs a missing package.
        """
        self.check_values()
        for reason in (DEVICES["cpu"].missing(), DEVICES[self.device].missing()):
            if reason is not None:
                raise ValueError(f"device {self.device!r} is not available: {reason}")
        TASKS[self.task].check()

    def check_values(self) -> None:
        """`check`, but for what this machine must have: a record may come from another one."""
        for name in ("depth", "width", "streams", "steps", "batch", "iterations", "seed"):
            whole_number(name, getattr(self, name), 0)  # param accepts True as a whole number
        nonnegative("learning_rate", self.learning_rate)
        nonnegative("clip", self.clip)
        PROJECTIONS[self.projection].check(self.streams)


def as_settings(settings: Any) -> Settings:
    """`settings`, or a TypeError if they are anything else."""
    if not isinstance(settings, Settings):
        raise TypeError(
            f"settings must be lab.Settings, such as lab.Settings(depth=8), not {settings!r}"
        )
    return settings


REGISTRIES: dict[str, Registry[Any]] = {
    "task": TASKS,
    "connection": KINDS,
    "branch": BRANCHES,
    "optimiser": OPTIMISERS,
    "schedule": SCHEDULES,
}
"""The settings to whose choices a module of your own can add."""
for _name, _registry in REGISTRIES.items():
    _registry.followed_by(Settings.param[_name])

SETTINGS = tuple(name for name in Settings.param if name != "name")
"""The names of all settings, in the order of their declaration."""


@dataclass(frozen=True)
class Preset:
    """Settings that show something, and what they show."""

    title: str
    note: str
    """What happens, with {claims} that `findings.told` fills in from the recorded runs."""
    values: Mapping[str, Any]

    def settings(self, **values: Any) -> Settings:
        """The preset's settings, except for `values`."""
        return Settings(**{**self.values, **values})


PRESETS: dict[str, Preset] = {
    "calm": Preset(
        "Calm",
        "All three learn: their median accuracies over {seeds} seeds are {residual_accuracy} "
        "(residual network), {hc_accuracy} (HC) and {mhc_accuracy} (mHC). HC's gain reaches "
        "{hc_gain}, mHC's {mhc_gain}.",
        {"depth": 16, "learning_rate": 0.003},
    ),
    "explodes": Preset(
        "HC explodes",
        "HC's composite gain passes 10⁵ within 60 steps in {early} of {seeds} seeds; it reaches "
        "{hc_gain_least} to {hc_gain_most}. mHC's stays below {mhc_gain_most}, while its mixing "
        "grows from {mhc_mixing_first} to {mhc_mixing}. HC's accuracy does not suffer for it: its "
        "median is {hc_accuracy}, mHC's {mhc_accuracy}. A large gain is a risk, not yet a loss.",
        {"depth": 32, "learning_rate": 0.01},
    ),
    "fails": Preset(
        "HC fails",
        "At 64 layers and a high learning rate HC learns in {hc_learned} of {seeds} seeds, mHC in "
        "{mhc_learned}, the plain residual network in {residual_learned}. HC's gain reaches "
        "{hc_gain_least} to {hc_gain_most}, mHC's {mhc_gain_most} at most. Seed {odd} is the "
        "exception: there HC gets to {hc_accuracy_odd}, mHC to {mhc_accuracy_odd}.",
        {"depth": 64, "learning_rate": 0.03},
    ),
    "deep": Preset(
        "Deep",
        "At the calm learning rate, six times as deep: HC's gain reaches {hc_gain} (median of "
        "{seeds} seeds), mHC's {mhc_gain}. The median accuracies are {residual_accuracy} (residual "
        "network), {hc_accuracy} (HC) and {mhc_accuracy} (mHC).",
        {"depth": 96, "learning_rate": 0.003, "steps": 100},
    ),
    "still": Preset(
        "Small learning rate: no gain grows",
        "They learn slowly: the median accuracies over {seeds} seeds are {residual_accuracy} "
        "(residual network), {hc_accuracy} (HC) and {mhc_accuracy} (mHC). No gain grows: HC's "
        "reaches {hc_gain_most} at most, mHC's {mhc_gain_most}. The explosion is something that "
        "training does.",
        {"depth": 32, "learning_rate": 0.00003},
    ),
    "moe": Preset(
        "Mixture of experts",
        "A character-level transformer whose perceptrons are sparse mixtures: two of eight experts "
        "work on a token, and a shared one. HC’s gain reaches {hc_gain} (median of {seeds} seeds), "
        "mHC’s {mhc_gain}. The median scores are {residual_bits} (residual network), {hc_bits} "
        "(HC) and {mhc_bits} (mHC) bits per character. The load violation is {residual_violation}, "
        "{hc_violation} and {mhc_violation}: the most chosen expert’s load over the mean, less 1.",
        {"task": "moe", "depth": 8, "learning_rate": 0.01, "steps": 300, "batch": 8},
    ),
}
"""Every preset by its name."""
