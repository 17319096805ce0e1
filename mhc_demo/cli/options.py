"""Options made from the declaration of the page's state, and the converters of their texts.

A new parameter or projection becomes an option by itself.  The declaration imports NumPy and Panel,
so it is imported only when a subcommand needs it, and `mhc-demo --help` answers at once.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .ending import complain

Run = Callable[[argparse.Namespace], int]
"""Runs a subcommand and returns the exit code."""


def state_parameters() -> dict[str, Any]:
    """The parameters of the page's link, as param declarations by name."""
    from ..app.state import URL_PARAMETERS, State

    return {name: State.param[name] for name in URL_PARAMETERS}


def with_those_of_inits(names: Sequence[str]) -> list[str]:
    """Names of parameters, with those that single inits take after "init"."""
    from ..numerics.mixing import PARAMETERS

    after = names.index("init") + 1
    return [*names[:after], *PARAMETERS, *names[after:]]


def refuse_foreign(parser: argparse.ArgumentParser, given: Mapping[str, Any], init: str) -> None:
    """Refuse options that belong to another init than the one that is chosen."""
    from ..numerics.mixing import INITS, PARAMETERS

    for name in PARAMETERS.keys() - INITS[init].parameters.keys():
        if given.get(name) is not None:
            users = " or ".join(each for each, i in INITS.items() if name in i.parameters)
            parser.error(f"argument {flag(name)}: --init {init} has none; --init {users} has")


def flag(name: str) -> str:
    """The option of a parameter.

    >>> flag("model_width")
    '--model-width'
    """
    return f"--{name.replace('_', '-')}"


def from_environment(command: str) -> list[str]:
    """The options that the environment sets for a subcommand, as words of its command line.

    MHC_DEMO_SERVE_PORT=8080 is ["--port", "8080"] for "serve"; several values are separated by
    spaces, and an empty variable sets nothing.  The command is part of the name because Kubernetes
    itself sets MHC_DEMO_PORT for a service called mhc-demo.
    """
    prefix = f"MHC_DEMO_{command.upper().replace('-', '_')}_"
    given = {name: text.split() for name, text in sorted(os.environ.items()) if text.strip()}
    return [
        word
        for name, values in given.items()
        if name.startswith(prefix)
        for word in (flag(name.removeprefix(prefix).lower()), *values)
    ]


def plain(value: object) -> str:
    """As a person writes it: 1 for 1.0 and for True.

    >>> plain(1.0), plain(0.25), plain("rows")
    ('1', '0.25', 'rows')
    """
    if isinstance(value, list):
        return ",".join(map(plain, value))
    return f"{value:.12g}" if isinstance(value, (float, bool)) else str(value)


def number(
    kind: type[int] | type[float], low: float | None, high: float | None
) -> Callable[[str], float]:
    """Converter of an option's text to a number in [low, high]; None means no limit.

    >>> number(int, 1, 128)("64")
    64

    Raises argparse.ArgumentTypeError that says what was given and what is allowed.
    """
    low, high = -math.inf if low is None else low, math.inf if high is None else high

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            noun = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {noun}") from None
        if not (low <= value <= high and math.isfinite(value)):
            raise argparse.ArgumentTypeError(
                f"{text} is out of range ({plain(low)} to {plain(high)})"
            )
        return value

    return parse


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """Converter of an option's text to one of `choices`.

    Raises argparse.ArgumentTypeError that says what was given and what is allowed.
    """

    def parse(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(choices)}")
        return text

    return parse


def import_modules(arguments: Sequence[str]) -> None:
    """Import what --module names, and what installed packages bring, before options are declared.

    Only so are the tasks, connections and the like that are registered there among the choices.
    Like `python -m`, it finds modules in the present folder too.
    """
    from ..lab.registry import load_installed
    from ..lab.worker import import_all

    load_installed()
    scan = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    scan.add_argument("--module", action="append", default=[])
    try:
        modules = scan.parse_known_args(arguments)[0].module
    except argparse.ArgumentError:  # the parser proper will say what is wrong
        return
    if modules and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in modules:
        try:
            import_all([name])
        except ImportError as error:
            complain(f"argument --module: {name!r} cannot be imported: {error}")
            raise SystemExit(2) from None


def add_module(parser: argparse.ArgumentParser) -> None:
    """Add the option of which `import_modules` has taken care."""
    parser.add_argument(
        "--module",
        action="append",
        default=[],
        metavar="NAME",
        help="Import this module first, also from the present folder: it may register tasks, "
        "connections, branches, optimisers and schedules of your own. Can be repeated",
    )


def several(parse: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """Converter of values separated by commas; duplicates are dropped.

    >>> several(one_of(["depth", "streams"]))("streams,depth")
    ['streams', 'depth']
    """

    def convert(text: str) -> list[Any]:
        return list(dict.fromkeys(parse(part.strip()) for part in text.split(",")))

    return convert


def entries(text: str) -> list[float]:
    """Converter of an option's text to the entries of a square matrix.

    Raises argparse.ArgumentTypeError that says what is allowed.
    """
    from ..app.values import LARGEST_ENTRY, MOST_ROWS, entries_of

    found = entries_of(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not n × n numbers from {-LARGEST_ENTRY:g} to {LARGEST_ENTRY:g} with "
            f"commas between, n at most {MOST_ROWS}"
        )
    return found


def places(text: str) -> list[str]:
    """The converter of projections in their places, commas between."""
    from ..app.values import places_of
    from ..figures.compare import MOST_PINNED
    from ..numerics.projections import PROJECTIONS

    found = places_of(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not up to {MOST_PINNED} different names with commas between, "
            f"of {', '.join(PROJECTIONS)}"
        )
    return found


def _values(parameter: Any) -> tuple[Callable[[str], Any], str, str]:
    """Of a parameter: the converter of a text, what is allowed in words, and the metavar."""
    import param

    from ..app.values import Pinned
    from ..figures.compare import FREE, MOST_PINNED

    if isinstance(parameter, Pinned):
        allowed = f"Up to {MOST_PINNED} names with commas between, {FREE} for a free place"
        return places, allowed, "NAME,..."
    if isinstance(parameter, param.Selector):
        names = list(filter(None, parameter.objects))
        return one_of(names), "One of " + ", ".join(names), "NAME"
    if isinstance(parameter, param.List):
        return entries, "n × n numbers with commas between", "X,X,..."
    kind = int if isinstance(parameter, param.Integer) else float
    allowed = " to ".join(plain(bound) for bound in parameter.bounds)
    return number(kind, *parameter.bounds), allowed, "N" if kind is int else "X"


def add_option(group: Any, name: str, parameter: Any) -> None:
    """Add the option of one parameter: a name from a list, or a number within bounds."""
    import param

    if isinstance(parameter, param.Boolean):
        text = f"{parameter.label}. {parameter.doc}"
        group.add_argument(flag(name), dest=name, action="store_const", const=True, help=text)
        return
    if isinstance(parameter, param.ListSelector):
        text = f"{parameter.label}. {parameter.doc} Any of {', '.join(parameter.objects)}"
        usual = ",".join(parameter.default)
        group.add_argument(
            flag(name),
            dest=name,
            type=several(one_of(parameter.objects)),
            metavar="NAME,NAME",
            help=f"{text}, commas between (default: {usual})",
        )
        return
    parse, allowed, metavar = _values(parameter)
    usual = plain(parameter.default) if parameter.default != [] else "none"
    text = f"{parameter.label}. {parameter.doc} {allowed} (default: {usual})"
    group.add_argument(
        flag(name),
        dest=name,
        type=parse,
        metavar=metavar,
        help=text.replace("%", "%%"),
    )


def add_several(
    group: Any,
    name: str,
    parameter: Any,
    groups: Mapping[str, Sequence[str]] | None = None,
    usual: Any = None,
) -> None:
    """Add the option of one parameter that takes several values, commas between.

    `groups` are names that stand for several values.  Whole numbers can be ranges as in Python:
    0:16 is 0, 1, ..., 15, and 0:16:5 is 0, 5, 10, 15.  `usual` is the default, if that is not the
    parameter's.
    """
    import param

    parse, allowed, metavar = _values(parameter)
    whole = isinstance(parameter, param.Integer)
    text = f"{parameter.label}. {parameter.doc} {allowed.replace('One of', 'Any of')}"
    default = plain(usual or parameter.default)
    ranges = ", or START:STOP" if whole else ""
    for each, members in (groups or {}).items():
        ranges += f"; {each} is {','.join(members)}"
    group.add_argument(
        flag(name),
        dest=name,
        type=spans(parse) if whole else _grouped(several(parse), groups or {}),
        metavar=f"{metavar},{metavar}",
        help=f"{text}, commas between{ranges} (default: {default})".replace("%", "%%"),
    )


def _grouped(
    parse: Callable[[str], list[Any]], groups: Mapping[str, Sequence[str]]
) -> Callable[[str], list[Any]]:
    def convert(text: str) -> list[Any]:
        parts = (part.strip() for part in text.split(","))
        return parse(",".join(",".join(groups.get(part, [part])) for part in parts))

    return convert


MOST_VALUES = 100_000
"""The most values of one option: more is a slip of the finger."""


def spans(parse: Callable[[str], Any]) -> Callable[[str], list[int]]:
    """Converter of whole numbers and ranges, START:STOP or START:STOP:STEP, commas between.

    >>> spans(number(int, 0, 100))("7,0:3,10:20:5")
    [7, 0, 1, 2, 10, 15]
    """

    def convert(text: str) -> list[int]:
        values: list[int] = []
        for part in text.split(","):
            start, *rest = part.strip().split(":")
            if not rest:
                values.append(parse(start))
                continue
            try:
                span = range(int(start), *map(int, rest))
            except (ValueError, TypeError):
                raise argparse.ArgumentTypeError(
                    f"{part!r} is not a range START:STOP or START:STOP:STEP of whole numbers"
                ) from None
            if not 0 < len(span) <= MOST_VALUES:
                raise argparse.ArgumentTypeError(f"{part!r} is a range of {len(span)} numbers")
            for end in (span[0], span[-1]):
                parse(str(end))  # says what is out of range
            values += span
        return list(dict.fromkeys(values))

    return convert


def check_together(parser: argparse.ArgumentParser, state: Mapping[str, Any], alone: bool) -> None:
    """Check options against one another: a projection may limit the streams, say."""
    from ..app.state import exceeded
    from ..numerics.devices import DEVICES

    values = {name: p.default for name, p in state_parameters().items()} | dict(state)
    refuse_foreign(parser, state, values["init"])
    # Once a process has initialised CUDA its children cannot use it: they check it themselves.
    reason = DEVICES[values["device"]].missing() if alone else None
    if reason is not None:
        parser.error(f"argument --device: {values['device']} is not available: {reason}")
    for name, (allowed, why) in exceeded(values).items():
        parser.error(f"argument {flag(name)}: choose {allowed}, {why}")


def add_experiment(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], Any]:
    """Add the options of an `Experiment` and of the device that computes it.

    Returns a function of the parsed options that checks them and returns the experiment.
    """
    from ..numerics.devices import DEVICES, place
    from ..numerics.projections import PROJECTIONS
    from ..numerics.surface import EXPERIMENT_PARAMETERS, Experiment

    group = parser.add_argument_group("experiment")
    for name in EXPERIMENT_PARAMETERS:
        add_option(group, name, Experiment.param[name])
    names = list(DEVICES)
    group.add_argument(
        "--device",
        type=one_of(names),
        default=names[0],
        metavar="NAME",
        help=f"What computes. One of {', '.join(names)} (default: %(default)s)",
    )

    def experiment(options: argparse.Namespace) -> Experiment:
        given = {name: getattr(options, name) for name in EXPERIMENT_PARAMETERS}
        chosen = Experiment(**{name: value for name, value in given.items() if value is not None})
        refuse_foreign(parser, given, chosen.init)
        try:
            PROJECTIONS[chosen.projection].check(chosen.streams)
            place(options.device)
        except ValueError as error:
            parser.error(str(error))
        return chosen

    return experiment


def add_output(parser: argparse.ArgumentParser, suffixes: Sequence[str]) -> None:
    """Add the option -o: a file, whose suffix names its format."""

    def parse(text: str) -> str:
        if not text.lower().endswith(tuple(suffixes)):
            raise argparse.ArgumentTypeError(f"{text!r} must end in {', '.join(suffixes)}")
        return text

    parser.add_argument(
        "-o",
        "--output",
        type=parse,
        required=True,
        metavar="FILE",
        help=f"File to write, replaced if it is there. Its end names the format: "
        f"{', '.join(suffixes)}",
    )


def failed(path: object, error: Exception) -> int:
    """Say in one line why a file could not be written; returns the exit code."""
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    complain(f"cannot write {path}: {reason}")
    return 1


def bar(members: int) -> Any:
    """A progress bar of ensemble members, on a terminal, for work of more than a second."""
    from tqdm import tqdm

    return tqdm(
        total=members, unit=" networks", disable=None, delay=1, leave=False, file=sys.stderr
    )
