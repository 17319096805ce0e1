"""A site in a browser, served by a plain server below a path: read, changed, and read offline."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from playwright.sync_api import Browser, BrowserContext, expect

import mhc_demo as mhc
from mhc_demo.export.grid import digest
from mhc_demo.export.site import PAGES
from mhc_demo.figures.compare import LEADING
from mhc_demo.figures.laws import KIND_TITLES
from mhc_demo.figures.statements import measured, words_of
from mhc_demo.lab.evidence import recorded_runs
from mhc_demo.numerics.numbers import in_text
from mhc_demo.numerics.projections import PROJECTIONS
from mhc_demo.story.claims import CLAIMS
from mhc_demo.story.formulas import FORMULAS
from mhc_demo.story.scenes import SCENES, SHORT

from .conftest import DESK, RULES, Explorer, made_once, nothing_went_wrong
from .library import comparison_is_of, phase_is_of
from .test_phase import click_on

pytestmark = [pytest.mark.browser, pytest.mark.long]

BELOW = "talks/mhc"
BASE = f"https://example.org/{BELOW}/"
MEMBERS = 3
SEEN = """async () => (await (await caches.open((await caches.keys())[0])).keys())
  .map(({url}) => url.split("/").slice(-2).join("/"))"""
"""The last two parts of the addresses that the service worker keeps."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host's folder, with a small site deep in it."""
    return made_once(tmp_path_factory, "host", small_site)


def small_site(folder: Path) -> None:
    (folder / BELOW).parent.mkdir()
    site = mhc.export_site(
        folder / BELOW,
        base_url=BASE,
        streams=(4, 8),
        spread=(1.0,),
        init=("gaussian",),
        projection=("sinkhorn", "mhc-lite"),
        seed=(42,),
        presets=("fails",),
        members=MEMBERS,
    )
    assert (site.experiments, site.left_out) == (3, [])


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the site at a host that knows nothing of compression or caches."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/{BELOW}/"
        server.shutdown()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that has seen nothing."""
    context = browser.new_context(viewport=DESK)
    yield context
    context.close()


def gains(**values: Any) -> list[str]:
    """The two large numbers by the library, as `Explorer.number` reads them."""
    found = mhc.gain_surface(mhc.Experiment(members=MEMBERS, **values))["log10_gain"]
    at = found.sel(series="median", depth=64).max("direction")
    return [in_text(float(at.sel(iterations=t))).replace("^", "") for t in (0, 1)]


def streams_of_hc() -> str:
    """What the picture of a gradient says of HC's first stream, by the library."""
    found = mhc.signal_surface(
        mhc.Experiment(streams=8, members=MEMBERS), entering="difference", direction="backward"
    )
    first = found.sel(iterations=0, position=0, stream=1)
    size = in_text(float(first["log10"])).replace("^", " to the power of ")
    return f"stream 1 carries {'−' * (int(first['sign']) < 0)}{size}"


def kept(tab: Explorer, *names: str) -> None:
    """Wait until the service worker keeps files whose addresses have these parts."""

    def there() -> None:
        found = tab.page.evaluate(SEEN)
        assert [name for name in names if not any(name in each for each in found)] == []

    tab.eventually(there)


def test_every_link_leads_to_a_file_and_every_name_is_the_hash_of_its_content(host: Path) -> None:
    site = host / BELOW
    linked: set[str] = {"sw.js", "robots.txt"}
    for page in PAGES:
        html = (site / page).read_text("utf-8")
        linked |= set(re.findall(r'(?:href|src|data-story|data-explore)="([^"]+)"', html))
        image = re.search(r'property="og:image" content="([^"]+)"', html)
        assert image
        linked.add(image[1])
        assert f'<link rel="canonical" href="{BASE}{page.replace("index.html", "")}">' in html
    linked |= set(re.findall(r"<loc>([^<]+)", (site / "sitemap.xml").read_text("utf-8")))
    linked |= {
        icon["src"] for icon in json.loads((site / "manifest.webmanifest").read_text())["icons"]
    }
    elsewhere = {each for each in linked if "://" in each and not each.startswith(BASE)}
    assert {each for each in elsewhere if "arxiv.org" not in each} == set()
    for name in linked - elsewhere:
        assert (site / name.removeprefix(BASE)).exists(), name
    worker = (site / "sw.js").read_text("utf-8")
    found = re.search(r"const FILES = (.*);", worker)
    assert found
    hashed = json.loads(found[1])
    assert {*hashed} == {
        str(path.relative_to(site))
        for folder in ("assets", "data")
        for path in (site / folder).iterdir()
        if not re.search(r"\.js\.gz$", path.name)
    }
    for name in hashed:
        assert f".{digest((site / name).read_bytes())}." in name
    for copy in (*site.glob("*.html.gz"), *site.glob("assets/*.js.gz")):
        assert gzip.decompress(copy.read_bytes()) == copy.with_suffix("").read_bytes()


def test_what_it_offers_to_download_are_the_library_s_numbers(host: Path) -> None:
    folder = host / BELOW / "downloads"
    runs = pyarrow.parquet.read_table(folder / "runs.parquet").to_pandas()
    assert (runs["connection"] == "mhc").sum() >= 16
    table = pyarrow.parquet.read_table(folder / "gains.parquet").to_pandas()
    chosen = table.query("streams == 8 and direction == 'backward' and iterations == 0")
    experiment = mhc.Experiment(streams=8, members=MEMBERS)
    surface = mhc.gain_surface(experiment)["log10_gain"]
    wanted = surface.sel(direction="backward", iterations=0, series="median")
    assert chosen["log10_gain"].tolist() == wanted.values.tolist()
    assert (folder / "gains.csv").read_text().startswith("direction,iterations,depth,log10_gain,")


def test_a_visitor_reads_explores_and_asks_no_other_host(
    host: Path, context: BrowserContext
) -> None:
    tab = Explorer(context.new_page())
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url.split("/")[-1]))
    with served(host) as address:
        tab.page.goto(address)
        expect(tab.page.locator(".mhc-story h2")).to_have_text(next(iter(SCENES.values())).title)
        expect(tab.page.locator(".plot canvas").first).to_be_attached()
        tab.keeps_nobody_out(*RULES["light"])
        tab.page.get_by_role("link", name="Explore", exact=True).click()
        expect(tab.number(0)).to_have_text(gains()[0])
        expect(tab.number(1)).to_have_text(gains()[1])
        tab.keeps_nobody_out(*RULES["light"])
        tab.page.emulate_media(color_scheme="dark")
        tab.keeps_nobody_out(*RULES["dark"])
        # What is chosen is fetched, and nothing else of it before.
        before = len(asked)
        tab.page.get_by_label("Streams (n)").select_option("8")
        expect(tab.number(0)).to_have_text(gains(streams=8)[0])
        expect(tab.number(1)).to_have_text(gains(streams=8)[1])
        of_signal = {"signal", "gains", "weights", "carried"}
        assert {each.split(".")[0] for each in asked[before:]} == of_signal
        expect(tab.page).to_have_url(re.compile("#view=signal&streams=8&"))
        # Another signal is a table: the matrices are there.
        before = len(asked)
        tab.page.get_by_label("What enters").select_option("A difference")
        tab.page.get_by_label("Direction").select_option("Backward: a gradient")
        expect(tab.page.locator(".words").first).to_contain_text("held for 64 layers alone")
        assert {each.split(".")[0] for each in asked[before:]} == {"carried"}
        expect(tab.slider("Depth (layers)")).to_have_count(0)
        picture = tab.page.get_by_role("img", name=re.compile("^Signal through HC"))
        expect(picture).to_have_attribute("aria-label", re.compile(re.escape(streams_of_hc())))
        tab.page.get_by_label("Layers write").select_option("Yes")
        expect(tab.page.locator(".notice")).to_contain_text("Direction is now Forward")
        tab.page.get_by_role("button", name="8", exact=True).click()
        expect(tab.page).to_have_url(re.compile("enters=difference&writes=1&.*zoom=8"))
        tab.page.get_by_role("tab", name="Gain", exact=True).click()
        expect(tab.page).to_have_url(re.compile("#view=composite&streams=8&"))
        expect(tab.page).to_have_title(re.compile("^Composite gain"))
        # Moves are noted in the link, and a link shows them.
        tab.set("Sinkhorn iterations", 0)
        tab.page.get_by_role("button", name="Near 1").click()
        expect(tab.page).to_have_url(re.compile("iterations=0&.*scale=near"))
        with tab.page.expect_download() as saved:
            tab.page.get_by_role(
                "button", name="Save Composite Amax gain against depth as CSV"
            ).click()
        assert saved.value.suggested_filename.startswith("mhc-composite-amax-gain-against-depth")
        tab.page.get_by_role("button", name="Present this view").click()
        expect(tab.page.get_by_role("tab").first).to_be_hidden()
        tab.page.keyboard.press("PageDown")  # there is no scene
        expect(tab.page.locator(".mhc-story h2")).to_have_text("Composite gain")
        expect(tab.page).to_have_url(re.compile("present=1"))
        tab.page.keyboard.press("Escape")
        expect(tab.page).not_to_have_url(re.compile("present=1"))
        link = tab.page.url
        # No projection takes what another does.
        tab.page.get_by_label("Projection").select_option("mHC-lite (permutation mixture)")
        expect(tab.page.locator(".notice")).to_contain_text("Streams (n) is now 4")
        expect(tab.page.get_by_label("Streams (n)")).to_have_value("4")
        tab.page.go_back()
        expect(tab.page.get_by_label("Streams (n)")).to_have_value("8")
        tab.page.get_by_role("tab", name="Real models", exact=True).click()
        expect(tab.page.locator(".fig8-matrix").first).to_be_visible()
        expect(tab.page.get_by_label("Streams (n)")).to_be_hidden()
        tab.page.goto(link.replace("streams=8", "streams=5"))
        expect(tab.page.locator(".notice")).to_have_text(
            "Not on this site: streams=5. Shown is what is nearest."
        )
        tab.page.goto(link)
        tab.page.reload()
        expect(tab.slider("Sinkhorn iterations")).to_have_value("0")
        expect(tab.number(0)).to_have_text(gains(streams=8)[0])
        expect(tab.page.get_by_role("button", name="Near 1")).to_have_attribute(
            "aria-pressed", "true"
        )
        tab.page.get_by_role("tab", name="Training", exact=True).click()
        tab.page.get_by_role("tab", name="Lab", exact=True).click()
        tab.page.get_by_label("Seed replayed").select_option("most unlike the others")
        odd = recorded_runs("fails").replays[-1].seed
        expect(tab.page.locator(".lab-verdict")).to_contain_text(f"HC, seed {odd}")
        tab.page.get_by_role("tab", name="Formulas", exact=True).click()
        expect(tab.page.locator(".formulas math")).to_have_count(len(FORMULAS))
        tab.page.get_by_role("tab", name="Take home", exact=True).click()
        claim = next(iter(CLAIMS.values()))
        tab.page.get_by_role("link", name=SCENES[claim.scene].title).first.click()
        expect(tab.page.locator(".mhc-story h2")).to_have_text(SCENES[claim.scene].title)
        tab.page.get_by_role("link", name="The short way").click()
        expect(tab.page.locator(".mhc-story .where")).to_have_text(f"1 / {len(SHORT)}")
        nothing_went_wrong(tab)


def test_the_laws_the_maps_and_all_projections_are_the_library_s(
    host: Path, context: BrowserContext
) -> None:
    tab = Explorer(context.new_page())
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url.split("/")[-1]))
    with served(host) as address:
        tab.page.goto(f"{address}explore.html")
        expect(tab.number(1)).to_have_text(gains()[1])
        assert not [each for each in asked if each.startswith(("compare", "laws", "phase", "why"))]
        tab.page.get_by_role("tab", name="Why it holds", exact=True).click()
        expect(tab.page).to_have_title(re.compile("^Why it holds"))
        for iterations, depth in ((1, 64), (3, 5), (0, 1)):
            tab.set("Sinkhorn iterations", iterations)
            tab.set("Depth (layers)", depth)
            for name, text in laws(iterations, depth).items():
                expect(tab.page.locator(f"[data-card={name}] .now")).to_have_text(text)
        expect(tab.page.locator(".mhc-kinds tbody tr")).to_have_count(len(KIND_TITLES))
        tab.keeps_nobody_out(*RULES["light"])

        tab.page.get_by_role("tab", name="Compare", exact=True).click()
        tab.set("Sinkhorn iterations", 3)
        tab.set("Depth (layers)", 40)
        found = mhc.compare(mhc.Experiment(members=MEMBERS))
        tab.eventually(lambda: comparison_is_of(tab, found, 40, 3, packed=True))
        expect(tab.page.get_by_role("button", name="Measure times here")).to_be_hidden()
        labels = tab.page.locator(".mhc-compare tbody th .full")
        tab.page.get_by_role("button", name="Sort by Worst-case norm").press("Enter")
        expect(labels.first).to_have_text(PROJECTIONS["exp"].title)
        tab.page.get_by_role("button", name="Draw Identity").press("Enter")
        expect(tab.page).to_have_url(re.compile("pinned=.*identity"))
        chosen = tab.page.locator(".mhc-compare tr.chosen .name .short")
        expect(chosen).to_have_text(PROJECTIONS["sinkhorn"].label)
        before = len(asked)
        of_lite = PROJECTIONS["mhc-lite"]
        tab.page.get_by_role("combobox", name="Projection").select_option(of_lite.title)
        expect(chosen).to_have_text(of_lite.label)
        expect(tab.page.locator(".mhc-headline .name").last).to_have_text(of_lite.title)
        # All projections are one file, whichever is chosen: the headline's gains alone are another.
        assert [each.split(".")[0] for each in asked[before:]] == ["gains"]
        expect(tab.page.locator(".mhc-compare tr.pinned")).to_have_count(len(LEADING) + 1)
        tab.page.get_by_text("The same layer under each").press("Enter")
        exist = [each for each in PROJECTIONS.values() if each.sizes.hold(4)]
        expect(tab.page.locator(".mhc-each button")).to_have_count(len(exist))
        tab.keeps_nobody_out(*RULES["light"])
        tab.page.emulate_media(color_scheme="dark")
        tab.keeps_nobody_out(*RULES["dark"])
        tab.page.goto(tab.page.url.replace("pinned=", "pinned=rows,"))
        expect(tab.page.locator(".notice")).to_contain_text("Not on this site: pinned=rows,")

        tab.page.get_by_role("tab", name="Phase map", exact=True).click()
        tab.page.get_by_role("combobox", name="Projection").select_option(
            PROJECTIONS["sinkhorn"].title
        )
        values = {"members": MEMBERS}
        tab.eventually(lambda: phase_is_of(tab, values, 40, 3, packed=True))
        tab.keeps_nobody_out(*RULES["dark"])
        tab.set("Sinkhorn iterations", 7)
        tab.eventually(lambda: phase_is_of(tab, values, 40, 7, packed=True))
        click_on(tab, "phase-streams", 100.2, 2.1)
        expect(tab.slider("Depth (layers)")).to_have_value("100")
        tab.eventually(lambda: phase_is_of(tab, values, 100, 7, packed=True))
        nothing_went_wrong(tab)


def laws(iterations: int, depth: int) -> dict[str, str]:
    """What the cards say by the library, as text."""
    said = words_of(
        measured(mhc.Experiment(members=MEMBERS)),
        PROJECTIONS["sinkhorn"],
        depth=depth,
        iterations=iterations,
    )
    return {name: unescape(re.sub(r"<[^>]+>", "", text)) for name, text in said.items()}


def test_what_was_seen_is_there_without_a_network_and_an_update_takes_its_place(
    host: Path, context: BrowserContext, tmp_path: Path
) -> None:
    tab = Explorer(context.new_page())
    shutil.copytree(host, tmp_path, dirs_exist_ok=True)  # it is changed here
    site = tmp_path / BELOW
    with served(tmp_path) as address:
        tab.page.goto(address)
        expect(tab.page.locator(".plot canvas").first).to_be_attached()
        kept(tab, "mhc/index.html", "story-whole", "bokeh", "assets/mhc")
        tab.page.goto(f"{address}explore.html#view=composite&projection=mhc-lite")
        expect(tab.number(1)).to_have_text(gains(projection="mhc-lite")[1])
        kept(tab, "mhc/explore.html", "data/composite", "data/index")
        # A new version of the scripts, on all pages.
        (old,) = site.glob("assets/mhc.*.js")
        for path in (old, *site.glob("*.html"), site / "sw.js"):
            text = path.read_text("utf-8").replace(old.name, "mhc.000000000000.js")
            path.write_text(text, "utf-8")
        old.rename(old.with_name("mhc.000000000000.js"))
        tab.page.evaluate("navigator.serviceWorker.ready.then((worker) => worker.update())")
        kept(tab, "assets/mhc.000000000000.js")
        tab.eventually(lambda: absent(tab, old.name))
    context.set_offline(True)  # and the server is gone
    tab.page.goto(address)
    expect(tab.page.locator(".mhc-story h2")).to_have_text(next(iter(SCENES.values())).title)
    expect(tab.page.locator(".plot canvas").first).to_be_attached()
    tab.page.goto(f"{address}explore.html#view=composite&projection=mhc-lite")
    expect(tab.number(1)).to_have_text(gains(projection="mhc-lite")[1])
    tab.page.get_by_role("tab", name="Mixing", exact=True).click()
    expect(tab.page.locator(".mhc-stage .missing")).to_contain_text("there is no network")
    tab.page.goto(f"{address}short.html")
    expect(tab.page.locator("body")).to_contain_text("was not opened")


def absent(tab: Explorer, name: str) -> None:
    """Nothing of that name is kept."""
    assert not any(name in each for each in tab.page.evaluate(SEEN))
