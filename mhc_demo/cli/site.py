"""`mhc-demo site`: the whole lecture as a folder of files for any static host."""

from __future__ import annotations

import argparse
import inspect
import sys

from .ending import complain, tell
from .options import Run, add_several, failed, flag, number, one_of, plain, several


def site(parser: argparse.ArgumentParser) -> Run:
    """Write the story, every view that needs no server, and downloads, as a folder.

    Any static host serves it, below any path: GitHub Pages, an object store, Caddy.  It holds every
    combination of the values given, and works offline once it was seen.  A folder that is there is
    replaced if it is empty or a site that this command has written.
    """
    from ..export.grid import RECORDED, VARIED, Grid
    from ..export.site import export_site
    from ..numerics.devices import DEVICES
    from ..numerics.surface import Experiment

    usual = {name: each.default for name, each in inspect.signature(export_site).parameters.items()}
    parser.add_argument("folder", metavar="FOLDER", help="where to write; made if it is not there")
    parser.add_argument(
        "--base-url",
        metavar="URL",
        help="where the site will be, as https://example.org/mhc/: for the picture of a shared "
        "link, the canonical address and the sitemap, which are left out without it",
    )
    group = parser.add_argument_group("experiments, of which it holds every combination")
    for name in VARIED:
        add_several(group, name, Experiment.param[name], usual=list(usual[name]))
    members = Experiment.param["members"]
    group.add_argument(
        flag("members"),
        type=number(int, *members.bounds),
        default=usual["members"],
        metavar="N",
        help=f"{members.label}. {members.doc} (default: %(default)s)",
    )
    group.add_argument(
        "--presets",
        type=several(one_of(list(RECORDED))),
        default=list(RECORDED),
        metavar="NAME,...",
        help=f"presets of the lab whose recorded runs it has: of {', '.join(RECORDED)} "
        "(default: all)",
    )
    group.add_argument(
        "--device",
        type=one_of(list(DEVICES)),
        default=usual["device"],
        metavar="NAME",
        help=f"What computes. One of {', '.join(DEVICES)} (default: %(default)s)",
    )
    parser.add_argument(
        "--browser",
        metavar="PROGRAM",
        help="The browser that draws the picture of a shared link (default: MHC_BROWSER in the "
        "environment, else the first of Chromium, Chrome and Edge that is found)",
    )

    def run(options: argparse.Namespace) -> int:
        from tqdm import tqdm

        given = {name: getattr(options, name) for name in VARIED}
        values = {name: list(usual[name]) if v is None else v for name, v in given.items()}
        try:
            total = len(Grid.of(options.members, **values).experiments())
            with tqdm(
                total=total, unit=" experiments", disable=None, leave=False, file=sys.stderr
            ) as bar:
                written = export_site(
                    options.folder,
                    base_url=options.base_url,
                    **values,
                    presets=options.presets,
                    members=options.members,
                    device=options.device,
                    browser=options.browser,
                    progress=bar.update,
                )
        except OSError as error:
            return failed(options.folder, error)
        except ValueError as error:
            parser.error(str(error))
        for each in written.left_out:
            complain(f"left out: {each}")
        tell(
            f"{options.folder}: {written.experiments} experiments, {written.files} files, "
            f"{plain(round(written.size / 1e6, 1))} MB"
        )
        return 0

    return run
