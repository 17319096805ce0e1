"""`mhc-demo doctor`: is one's own model built right?"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .ending import complain, tell
from .options import Run

if TYPE_CHECKING:
    from ..inspection.diagnosis import Diagnosis

ARGUMENTS = ("model", "inputs", "loss", "optimiser", "where", "read", "transposed")
"""What a factory may say; the arguments of `mhc_demo.diagnose`."""
PACKAGE = Path(__file__).parents[1]
TOKENS = 8
"""The size of made-up inputs: sequences of so many tokens, two of them."""


def doctor(parser: argparse.ArgumentParser) -> Run:
    """Look for the mistakes that implementations of hyper-connections make, in a model.

    FACTORY is a function in MODULE, without arguments, that returns the model with its inputs, as a
    pair or as a mapping with the keys model, inputs, loss, optimiser, where, read, transposed (the
    arguments of mhc_demo.diagnose); or the model alone, if it is one of transformers: it is then
    given random tokens.  The exit code is 0 if no mistake was found, 1 if one was, 2 if there was
    nothing to examine.
    """
    parser.add_argument(
        "factory",
        type=_factory,
        metavar="MODULE:FACTORY",
        help="the module is found in the present folder too",
    )
    parser.add_argument("--json", action="store_true", help="Print everything as JSON")

    def run(options: argparse.Namespace) -> int:
        module, name = options.factory
        try:
            diagnosis = _diagnosed(_made(_found(module, name), f"{module}:{name}"))
        except _NothingToExamineError as error:
            complain(str(error))
            return 2
        text = str(diagnosis)
        tell(json.dumps(diagnosis.to_dict(), allow_nan=False, indent=1) if options.json else text)
        return 0 if diagnosis.sound else 1

    return run


class _NothingToExamineError(Exception):
    """The message says why."""


def _factory(text: str) -> tuple[str, str]:
    module, colon, name = text.partition(":")
    path = Path(module)
    if path.suffix == ".py":
        raise argparse.ArgumentTypeError(
            f"{text!r} names a file; name the module: {'.'.join(path.with_suffix('').parts)}:"
            f"{name or 'FACTORY'}"
        )
    if not (colon and all(part.isidentifier() for part in [*module.split("."), *name.split(".")])):
        raise argparse.ArgumentTypeError(f"{text!r} must be MODULE:FACTORY, such as mine:model")
    return module, name


def _found(module: str, name: str) -> Callable[[], Any]:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = import_module(module)
    except Exception as error:
        raise _NothingToExamineError(f"cannot import {module!r}: {_said(error)}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise _NothingToExamineError(f"{module!r} has no {name!r}")
        found = getattr(found, part)
    if not callable(found):
        kind = type(found).__name__
        raise _NothingToExamineError(f"{module}:{name} must be a function, not {kind}")
    return found


def _made(factory: Callable[[], Any], label: str) -> dict[str, Any]:
    """The arguments of `diagnose` that the factory returns."""
    try:
        import torch
    except ImportError:
        raise _NothingToExamineError("the doctor needs PyTorch: pip install torch") from None
    try:
        made = factory()
    except Exception as error:
        raise _NothingToExamineError(f"{label}() raised {_said(error)}") from error
    if isinstance(made, torch.nn.Module):
        made = {"model": made}
    elif isinstance(made, tuple) and len(made) == 2:
        made = dict(zip(ARGUMENTS, made, strict=False))
    if not isinstance(made, Mapping):
        raise _NothingToExamineError(
            f"{label}() must return a model, a model and its inputs, or a mapping of the arguments "
            f"of mhc_demo.diagnose, not {type(made).__name__}"
        )
    unknown = [str(each) for each in made if each not in ARGUMENTS]
    if unknown or "model" not in made:
        what = f"has {', '.join(map(repr, unknown))}" if unknown else "has no 'model'"
        raise _NothingToExamineError(
            f"the mapping that {label}() returns {what}; its keys are {', '.join(ARGUMENTS)}"
        )
    made = dict(made)
    if "inputs" not in made:
        made["inputs"] = _tokens(made["model"], label)
    return made


def _tokens(model: Any, label: str) -> dict[str, Any]:
    """Random tokens for a model that says, as those of transformers do, how many there are."""
    import torch

    words = getattr(getattr(model, "config", None), "vocab_size", None)
    if not isinstance(words, int):
        raise _NothingToExamineError(
            f"{label}() must return inputs beside the model, as in `return model, inputs`: "
            f"{type(model).__name__} does not say what it takes"
        )
    generator = torch.Generator().manual_seed(0)
    return {"input_ids": torch.randint(words, (2, TOKENS), generator=generator)}


def _diagnosed(made: dict[str, Any]) -> Diagnosis:
    from ..inspection.diagnosis import diagnose

    try:
        return diagnose(made.pop("model"), made.pop("inputs"), **made)
    except Exception as error:  # whatever a stranger's model raises
        raise _NothingToExamineError(f"cannot examine the model: {_said(error)}") from error


def _said(error: Exception) -> str:
    """An exception in a line, and where in somebody's code it was raised."""
    at, trace = "", error.__traceback__
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if path.is_file() and PACKAGE not in path.parents and path.parent.name != "importlib":
            at = f" ({path.name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    message = str(error).strip() or "no message"
    return f"{type(error).__name__}: {message}{at}"
