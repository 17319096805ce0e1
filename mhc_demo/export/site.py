"""The lecture as a folder of files that any static host serves: the story, every view, downloads.

Pages are few and small, and a browser asks for them each time.  Everything else lies beside them
under the hash of its content, so it is fetched once and kept: BokehJS and the scripts by all pages,
a view of an experiment (`grid.py`) when somebody chooses it.  Addresses are relative, so the folder
works below any path, and no other host is asked.  What was seen works offline (`static/sw.js`).
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import xarray as xr

from ..figures import style
from ..figures.still import still
from ..numerics._arrays import choice
from ..numerics.devices import DEVICES
from ..numerics.replacing import replacing_folder
from ..numerics.surface import Experiment, Progress, gain_surface
from ..scripts import SITE, STATIC, text_of
from ..story import TITLE
from ..version import version
from .embed.page import STYLES, bokehjs, font_face, linked, page
from .embed.request import START
from .grid import RECORDED, SUFFIX, Grid, digest, files_of, opening, packed
from .pictures import NoPictureError, draw
from .slides import SLIDES, SlideRequest, background, laid_out
from .slides import theme as theme_of
from .story import story_data, story_part

MARK = "site.json"
"""What a folder holds that is a site of ours, and may be replaced."""

PAGES = {"index.html": "The story", "short.html": "The short way", "explore.html": "Explore"}
"""The pages, and what links to them say."""

ABOUT = (
    "Why hyper-connections explode and manifold-constrained ones (mHC) do not: a story with plots "
    "that move, and every view behind it."
)
"""For search engines, and for who shares a link."""

ONLY_A_SERVER = (
    "What only a server can: other values and seeds, other layers and numbers of your own at work, "
    "how long a projection takes, your own model, live training (<code>mhc-demo serve</code>)."
)
"""Said where a control is missing."""

PICTURE = 1200, 630
"""Pixels of the picture that a shared link shows."""

COMPRESSED = (".html", ".js", ".json", ".css", ".svg", ".webmanifest")
"""What gets a compressed copy beside it, for servers that send such."""


@dataclass
class Site:
    """A site that was written."""

    folder: Path
    experiments: int
    size: int = 0
    """Bytes of all files."""
    files: int = 0
    left_out: list[str] = field(default_factory=list)
    """What it does without, and why."""


def export_site(
    folder: str | os.PathLike[str],
    *,
    base_url: str | None = None,
    streams: Sequence[int] = (2, 4, 8),
    spread: Sequence[float] = (1.0, 5.0),
    init: Sequence[str] = ("gaussian", "identity", "alike"),
    projection: Sequence[str] = ("sinkhorn", "mhc-lite", "rows"),
    seed: Sequence[int] = (42,),
    presets: Sequence[str] = RECORDED,
    members: int = 32,
    device: str = "numpy",
    browser: str | None = None,
    progress: Progress | None = None,
) -> Site:
    """Write the story, every view that needs no server, and downloads, as a folder of files.

    - `folder`: is replaced if it is empty or a site of ours; whole or not at all.
    - `base_url`: where the site will be, for what cannot be relative: the picture of a shared link,
      the canonical address, the sitemap.  Without it these are left out.
    - `streams`, `spread`, `init`, `projection`, `seed`: the values to choose from.  The site holds
      every combination; it opens with the one that is most like the page's own.  Other signals than
      one that is alike in all streams it holds for the first spread and the first seed.
    - `presets`: of the lab, whose recorded runs it has.
    - `members`: networks of every experiment.
    - `device`: what computes it, of `mhc_demo.DEVICES`.
    - `browser`: the program that draws the picture; see `pictures.find_browser`.
    - `progress`: is called with the number of experiments done since the last call.

    Raises ValueError or TypeError that names the argument, FileExistsError for a folder that holds
    something else, and any other OSError if it cannot be written.
    """
    base = _base(base_url)
    choice("device", device, DEVICES)
    grid = Grid.of(
        members,
        presets=presets,
        streams=streams,
        spread=spread,
        init=init,
        projection=projection,
        seed=seed,
    )
    with replacing_folder(folder, MARK) as part:
        site = Site(Path(folder), len(grid.experiments()))
        _Builder(part, base, grid, device, site).build(browser, progress)
        found = [path for path in part.rglob("*") if path.is_file()]
        site.size, site.files = sum(path.stat().st_size for path in found), len(found)
    return site


def _base(base_url: str | None) -> str | None:
    if base_url is None:
        return None
    if not isinstance(base_url, str):
        raise TypeError(f"base_url must be an address, not {base_url!r}")
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            f"base_url must be an address as https://example.org/mhc/, not {base_url!r}"
        )
    return base_url.rstrip("/") + "/"


class _Builder:
    """Writes one site into an empty folder."""

    def __init__(self, folder: Path, base: str | None, grid: Grid, device: str, site: Site) -> None:
        self.folder, self.base, self.grid = folder, base, grid
        self.device, self.site = device, site
        self.experiments = grid.experiments()
        self.surfaces = [gain_surface(each, device=device) for each in self.experiments]
        self.hashed: list[str] = []
        """The addresses of all files that are named by their content."""
        self.downloads: dict[str, str] = {}
        """What may be downloaded: the texts of links, by address."""

    def keep(self, stem: str, suffix: str, content: bytes) -> str:
        """Write a file whose name holds the hash of its content; return its address."""
        name = f"{stem}.{digest(content)}{suffix}"
        self.write(name, content)
        if name not in self.hashed:
            self.hashed.append(name)
        return name

    def write(self, name: str, content: bytes | str) -> None:
        """Write a file."""
        written = content.encode() if isinstance(content, str) else content
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(written)
        if path.suffix in COMPRESSED:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(written, mtime=0))

    def build(self, browser: str | None, progress: Progress | None) -> None:
        """Write everything; what names hashes comes after what they are of."""
        self.font = self.keep("assets/math", ".woff2", (STATIC / "math.woff2").read_bytes())
        self.scripts = [
            self.keep("assets/bokeh", ".js", bokehjs().encode()),
            self.keep("assets/mhc", ".js", text_of(*SITE).encode()),
        ]
        index = files_of(self.grid, self.surfaces, self.keep, self.device, progress)
        self._downloads()
        self.picture = self._picture(browser)
        begins = {
            "index.html": [self._story("index.html", "whole")],
            "short.html": [self._story("short.html", "short")],
            "explore.html": self._explore(index),
        }
        self.write("icon.svg", ICON.format(hc=style.HC, projected=style.PROJECTED))
        self.write("manifest.webmanifest", json.dumps(MANIFEST))
        self._for_search_engines()
        always = [self.font, *self.scripts]
        pages = {name: [*always, *needed] for name, needed in begins.items()}
        contents = "".join(self.hashed) + "".join(
            digest((self.folder / name).read_bytes()) for name in pages
        )
        current = digest(contents.encode())
        parts = {"VERSION": current, "FILES": self.hashed, "PAGES": pages}
        declared = "".join(f"const {name} = {json.dumps(each)};\n" for name, each in parts.items())
        self.write("sw.js", declared + text_of("sw.js"))
        about = {
            "made_with": f"mhc-demo {version()}",
            "version": current,
            "values": self.grid.values,
            "members": self.grid.members,
            "presets": list(self.grid.presets),
            "experiments": self.site.experiments,
            "left_out": self.site.left_out,
        }
        self.write(MARK, json.dumps(about, indent=1))

    # ---- pages ---------------------------------------------------------------------------------

    def _story(self, name: str, way: str) -> str:
        """Write a page of the story; return the address of what it tells."""
        data = self.keep(f"data/story-{way}", SUFFIX, packed(story_data(way, self.device)))
        part = story_part(
            way,
            "auto",
            self.font,
            self.device,
            top=_links(name),
            styles=text_of("site.css"),
            data=data,
        )
        title = TITLE if way == "whole" else f"{TITLE} · {PAGES[name]}"
        self._page(name, title, part, data)
        return data

    def _explore(self, index: dict[str, Any]) -> list[str]:
        """Write the page of all views; return the addresses of what it begins with."""
        data = self.keep("data/index", SUFFIX, packed(index))
        downloads = " ".join(
            f'<a href="{where}" download>{escape(what)}</a>'
            for where, what in self.downloads.items()
        )
        title = f"{PAGES['explore.html']} · {TITLE}"
        part = (
            f"<style>{font_face(self.font)}</style>"
            f'<div class="mhc-demo" data-theme="auto" data-explore="{data}">'
            f'<div class="mhc-still">{still(self.surfaces[0], START)}</div>'
            f'<template shadowrootmode="open"><style>{style.css()}'
            f"{text_of(*STYLES, 'lecture.css', 'site.css')}</style><article>"
            f"<header><h1>{escape(TITLE)}</h1>{_links('explore.html')}</header>"
            '<div class="story"></div><div class="doors"></div>'
            '<div class="grid of-experiment" role="group" aria-label="Experiment"></div>'
            f'<p class="only">{ONLY_A_SERVER}</p><p class="notice" role="status" hidden></p>'
            '<div class="grid own" role="group" aria-label="This view" hidden></div>'
            '<slot></slot><div class="mhc-stage"></div><div class="saved"></div>'
            f'<footer class="site">Downloads: {downloads}</footer></article></template></div>\n'
        )
        self._page("explore.html", title, part, data)
        return [data, *opening(index)]

    def _page(self, name: str, title: str, part: str, data: str) -> None:
        """Write a page, which asks for its `data` before its scripts have come."""
        preload = f'<link rel="preload" href="{data}" as="fetch" crossorigin>'
        head = "".join(f"{each}\n" for each in (*self._head(name, title), preload))
        self.write(name, page(title, "auto", part, linked(*self.scripts), head))

    def _head(self, name: str, title: str) -> list[str]:
        found = [
            f'<meta name="description" content="{escape(ABOUT)}">',
            '<link rel="manifest" href="manifest.webmanifest">',
            '<link rel="icon" type="image/svg+xml" href="icon.svg">',
        ]
        if self.base is None:
            return found
        address = escape(self.base + ("" if name == "index.html" else name))
        properties = {
            "type": "website",
            "title": title,
            "description": ABOUT,
            "url": self.base + ("" if name == "index.html" else name),
        }
        if self.picture:
            properties |= {
                "image": self.base + self.picture,
                "image:width": str(PICTURE[0]),
                "image:height": str(PICTURE[1]),
                "image:alt": "Gains of stacked mixing matrices against depth",
            }
            found.append('<meta name="twitter:card" content="summary_large_image">')
        return [
            *found,
            f'<link rel="canonical" href="{address}">',
            *(
                f'<meta property="og:{key}" content="{escape(value)}">'
                for key, value in properties.items()
            ),
        ]

    # ---- what lies beside them -----------------------------------------------------------------

    def _downloads(self) -> None:
        """The lab's recorded runs, and the gains of the experiments."""
        recorded = files("mhc_demo.lab").joinpath("data", "runs.parquet").read_bytes()
        self._download("runs.parquet", "the lab’s recorded runs (Parquet)", recorded)
        every = list(map(_rows, self.experiments, self.surfaces))
        first = every[0].to_csv(index=False).encode()
        self._download("gains.csv", "gains of the first experiment (CSV)", first)
        if find_spec("pyarrow") is None:
            self._leave_out("gains.parquet", "pyarrow is missing: pip install pyarrow")
            return
        table = pd.concat(every, ignore_index=True).to_parquet(
            None, index=False, engine="pyarrow", compression="zstd"
        )
        self._download("gains.parquet", "gains of all of them (Parquet)", table)

    def _download(self, name: str, what: str, content: bytes) -> None:
        self.downloads[f"downloads/{name}"] = f"{what}, {len(content) / 1e3:,.0f} kB"
        self.write(f"downloads/{name}", content)

    def _picture(self, browser: str | None) -> str | None:
        """Draw the picture of a shared link; return its address, or nothing if none is wanted."""
        if self.base is None:
            self._leave_out("the picture of a shared link, sitemap", "there is no base_url")
            return None
        slide = SLIDES["dial"]
        shown = slide.draw(
            SlideRequest(self.experiments[0], depth=slide.depth, iterations=slide.iterations)
        )
        width, height = (round(pixels * 8 / 7) for pixels in PICTURE)  # type for 1280 x 720
        layout = laid_out(shown, width, height, False)
        try:
            drawn = draw(
                layout,
                shown.title,
                theme_of(False),
                background(False),
                suffix=".png",
                scale=PICTURE[0] / width,
                browser=browser,
            )
        except NoPictureError as error:
            self._leave_out("the picture of a shared link", str(error))
            return None
        return self.keep("assets/preview", ".png", drawn)

    def _leave_out(self, what: str, why: str) -> None:
        self.site.left_out.append(f"{what}: {why}")

    def _for_search_engines(self) -> None:
        robots = "User-agent: *\nAllow: /\n"
        if self.base is not None:
            robots += f"Sitemap: {self.base}sitemap.xml\n"
            places = "".join(
                f"<url><loc>{escape(self.base + name)}</loc></url>"
                for name in ("", *list(PAGES)[1:])
            )
            self.write("sitemap.xml", SITEMAP.format(places=places))
        self.write("robots.txt", robots)


def _rows(experiment: Experiment, surface: xr.Dataset) -> pd.DataFrame:
    """The medians of an experiment, with its parameters beside them."""
    gains = surface["log10_gain"].sel(series="median", drop=True)
    rows = gains.to_dataframe().reset_index()
    return rows.assign(**experiment.values_of_experiment())


def _links(here: str) -> str:
    """The links to the site's pages."""
    links = "".join(
        f'<a href="{name}"{" aria-current=page" * (name == here)}>{what}</a>'
        for name, what in PAGES.items()
    )
    return f'<nav class="site" aria-label="Site">{links}</nav>'


MANIFEST = {
    "name": TITLE,
    "short_name": "mHC",
    "description": ABOUT,
    "start_url": "index.html",
    "scope": "./",
    "display": "minimal-ui",
    "background_color": "#ffffff",
    "theme_color": "#ffffff",
    "icons": [
        {"src": "icon.svg", "sizes": "any", "type": "image/svg+xml", "purpose": "any maskable"}
    ],
}

ICON = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><rect width="64" height="64" \
fill="#ffffff"/><g fill="none" stroke-width="6" stroke-linecap="round"><path stroke="{hc}" \
d="M14 46L48 16"/><path stroke="{projected}" d="M14 46H50"/></g></svg>
"""
"""HC climbs, the projection stays."""

SITEMAP = """\
<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{places}</urlset>
"""
