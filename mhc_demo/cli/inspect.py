"""`mhc-demo inspect`: what the mappings of one's own model do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .ending import complain, tell
from .options import Run, failed, number

if TYPE_CHECKING:
    from ..inspection.report import Report

OUTPUTS = (".html", ".npz", ".safetensors")


def inspect(parser: argparse.ArgumentParser) -> Run:
    """Say what the residual mappings of a model do: gains, mixing, sums, logits.

    A file holds H_res, (layers, n, n) or (tokens, layers, n, n): .npz (without pickles), .npy,
    .safetensors; or is a DeepSeek-V4 checkpoint, a folder of one, or a record of the lab.  Of a
    checkpoint only the mappings are read.
    """
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="the file, or a folder of .safetensors"
    )
    parser.add_argument(
        "--hf",
        metavar="CONFIG",
        help="Instead of a file: build a small random model of this configuration of Hugging "
        "Face's transformers (a config.json, its folder, or a type such as deepseek_v4) and record "
        "that, to see the report without weights; nothing is downloaded",
    )
    parser.add_argument(
        "--array", metavar="NAME", help="Of a file with several arrays: the one of H_res"
    )
    parser.add_argument(
        "--rows",
        type=number(int, 1, None),
        metavar="N",
        help="Layers in the table, at most (default: some of them)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=_output,
        metavar="FILE",
        help="Write a page with all figures (.html), or H_res alone (.npz, .safetensors)",
    )

    def run(options: argparse.Namespace) -> int:
        if (options.file is None) == (options.hf is None):
            parser.error("name either a FILE or a configuration (--hf)")
        try:
            report = _of_model(options.hf) if options.hf else _of_file(options.file, options.array)
        except (OSError, ValueError, TypeError, ImportError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            complain(f"cannot inspect {options.file or options.hf}: {reason}")
            return 1
        tell(report.summary(options.rows))
        if options.output:
            try:
                _write(report, options.output)
            except (OSError, ValueError) as error:
                return failed(options.output, error)
        return 0

    return run


def _output(text: str) -> str:
    if not text.lower().endswith(OUTPUTS):
        raise argparse.ArgumentTypeError(f"{text!r} must end in {', '.join(OUTPUTS)}")
    return text


def _of_file(path: str, array: str | None) -> Report:
    from ..inspection.inspecting import inspect as inspected

    return inspected(path, array=array, watch=_watched)


def _watched(items: Sequence[Any]) -> Iterable[Any]:
    """The items, with a progress bar on a terminal if it takes more than a second."""
    from tqdm import tqdm

    return tqdm(items, disable=None, delay=1, leave=False, file=sys.stderr)


def _of_model(config: str) -> Report:
    from ..inspection.huggingface import tiny_model
    from ..inspection.inspecting import inspect as inspected

    model, inputs, name = tiny_model(config)
    return inspected(model, inputs, name=name)


def _write(report: Report, path: str) -> None:
    if path.lower().endswith(".html"):
        report.plot().save(path)
    else:
        report.save(path)
