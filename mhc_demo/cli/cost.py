"""`mhc-demo cost`: what mHC would cost one's own training run."""

from __future__ import annotations

import argparse
from typing import Any

from .ending import tell
from .options import Run, flag, number, one_of

SIZES = {
    "streams": ("N", "Expansion rate n: residual streams"),
    "width": ("N", "Width C of a stream"),
    "layers": ("N", "Residual layers L, two for each Transformer block"),
}
"""The options that replace a model's own sizes."""


def cost(parser: argparse.ArgumentParser) -> Run:
    """Say what mHC would cost a training run: bytes moved, stored and sent, and how much time.

    Bytes are counted as in the paper; times follow from a GPU's published peaks, and the overhead
    is a range whose assumptions are printed.
    """
    from ..numerics.budget import LINKS, MOST
    from ..numerics.devices import DEVICES
    from ..numerics.hardware import GPUS, INFINIBAND, PRECISIONS
    from ..numerics.paper import MODELS

    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        type=one_of(list(MODELS)),
        default="27B",
        metavar="NAME",
        help=f"Whose sizes. One of {', '.join(MODELS)} (default: %(default)s)",
    )
    for name, (metavar, text) in SIZES.items():
        model.add_argument(
            flag(name),
            type=number(int, 1, MOST[name]),
            metavar=metavar,
            help=f"{text}. 1 to {MOST[name]:,} (default: the model's)",
        )
    model.add_argument(
        "--active-parameters",
        type=number(float, 1, 1e15),
        metavar="X",
        help="Parameters that a token meets (default: the model's; of other sizes, 6 C^2 a layer)",
    )
    run_of = parser.add_argument_group("training run")
    run_of.add_argument(
        "--tokens",
        type=number(int, 1, MOST["tokens"]),
        default=4096,
        metavar="N",
        help=f"In one micro-batch. 1 to {MOST['tokens']:,} (default: %(default)s)",
    )
    run_of.add_argument(
        "--precision",
        type=one_of(list(PRECISIONS)),
        default="bfloat16",
        metavar="NAME",
        help=f"Of the streams. One of {', '.join(PRECISIONS)} (default: %(default)s)",
    )
    for name, usual, text in (
        ("pipeline_ranks", "8, or a stage for each layer", "Stages that share the layers"),
        ("tensor_ranks", "1", "GPUs that share each stage"),
    ):
        run_of.add_argument(
            flag(name),
            type=number(int, 1, MOST[name]),
            default=None if name == "pipeline_ranks" else 1,
            metavar="N",
            help=f"{text}. 1 to {MOST[name]} (default: {usual})",
        )
    run_of.add_argument(
        "--sequence-parallel",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="The GPUs of a stage divide its tokens (default), or each keeps all streams",
    )
    run_of.add_argument(
        "--bandwidth",
        type=number(float, *LINKS),
        default=INFINIBAND / 1e9,
        metavar="X",
        help="Between two stages, in 10^9 bytes per second and direction, for each GPU (default: "
        "%(default)g, 400 Gbit/s InfiniBand)",
    )
    run_of.add_argument(
        "--gpu",
        type=one_of(list(GPUS)),
        default=next(iter(GPUS)),
        metavar="NAME",
        help=f"Whose published peaks. One of {', '.join(GPUS)} (default: %(default)s)",
    )
    run_of.add_argument(
        "--measure",
        type=one_of(list(DEVICES)),
        nargs="?",
        const=next(iter(DEVICES)),
        metavar="DEVICE",
        help="Measure this machine too: how fast it copies and projects. One of "
        f"{', '.join(DEVICES)} (alone: %(const)s)",
    )
    parser.add_argument("--json", action="store_true", help="Print JSON, with units in the names")

    def run(options: argparse.Namespace) -> int:
        from ..numerics.budget import cost as counted

        try:
            budget = counted(**_question(options))
        except ValueError as error:
            parser.error(str(error))
        tell(_as_json(budget.to_dict()) if options.json else _as_tables(budget))
        return 0

    return run


def _question(options: argparse.Namespace) -> dict[str, Any]:
    from ..numerics.paper import MODELS

    model = MODELS[options.model]
    sizes = {"streams": model.streams, "width": model.width, "layers": model.residual_layers}
    given = {name: getattr(options, name) for name in SIZES}
    same = (
        *("tokens", "precision", "pipeline_ranks", "tensor_ranks", "sequence_parallel", "gpu"),
        "active_parameters",
    )
    return {
        **sizes,
        **{name: value for name, value in given.items() if value is not None},
        **{name: getattr(options, name) for name in same},
        "link_gb_per_s": options.bandwidth,
        "measured_on": options.measure,
    }


def _as_json(answer: dict[str, Any]) -> str:
    import json

    return json.dumps(answer, indent=2, ensure_ascii=False)


def _as_tables(budget: Any) -> str:
    from ..numerics.budget_tables import in_text

    return in_text(budget)
