"""The standalone file: its contents, its size, and that packing loses no digit."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import markdown
import numpy as np
import pytest
from markdown_it import MarkdownIt

import mhc_demo as mhc
from mhc_demo.app.state import State
from mhc_demo.cli import main
from mhc_demo.export.embed import page as embed_page
from mhc_demo.export.embed import plots_of
from mhc_demo.figures import style
from mhc_demo.figures.laws import law_columns
from mhc_demo.figures.packed import GAINS, PER_UNIT, PLAIN, pack
from mhc_demo.figures.phase import LINEAR
from mhc_demo.figures.slices import SLIDERS
from mhc_demo.figures.statements import after, measured, words_of
from mhc_demo.numerics.numbers import exact, fate, in_html, rounded
from mhc_demo.numerics.paper import MHC_PAPER
from mhc_demo.numerics.projections import PROJECTIONS
from mhc_demo.numerics.surface import MAX_DEPTH
from mhc_demo.scripts import STATIC
from mhc_demo.story import TITLE
from mhc_demo.story.scenes import SCENES, SHORT

FEW = mhc.Experiment(members=2)
HOSTILE = "</script></title><img src=x onerror=alert(1)>'\"&{}"


def data_of(html: str) -> dict[str, Any]:
    """The data of the file's script."""
    start = html.index("mhc.embed(host, ") + len("mhc.embed(host, ")
    return json.loads(html[start : html.rindex(");\n}</script>")])


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    """The inverse of `pack`, as in `static/embed.js`."""
    table = np.array(packed["steps"]).reshape(-1, packed["row"])
    table[:2] = np.cumsum(table[:2], axis=1)
    values = np.concatenate([table[:1], np.cumsum(table[1:], axis=0)]).ravel() / PER_UNIT
    values[np.cumsum(packed.get("unknown", []), dtype=int)] = np.nan
    values[np.cumsum(packed.get("zero", []), dtype=int)] = -np.inf
    return values


def test_packing_changes_no_digit_that_is_shown() -> None:
    rng = np.random.default_rng(0)
    near_breaks = [s * b + rng.normal(0, 1e-6, 300) for s in (1, -1) for b in (0, 0.30103, 3, 4)]
    near_threes = np.log10(np.arange(100, 1000) / 100 + 0.005) + rng.normal(0, 1e-8, 900)
    near_tenths = np.arange(10.05, 90, 0.1) + rng.normal(0, 1e-8, 800)
    values = np.concatenate(
        [
            *near_breaks,
            near_threes,
            rng.normal(0, 1e-3, 20_000),
            rng.uniform(-5, 5, 20_000),
            rng.uniform(-2600, 2600, 10_000),
        ]
    )
    sent = unpacked(pack(values, row=len(values)))
    assert np.abs(sent - values).max() <= 5e-4  # half of the roundest step
    assert [rounded(v) for v in sent] == [rounded(v) for v in values]
    assert [exact(v) for v in sent] == [exact(v) for v in values]
    assert [fate(v) for v in sent] == [fate(v) for v in values]
    # Within a ten-millionth of where the headline changes, the headline is kept.
    tenths = unpacked(pack(near_tenths, row=len(near_tenths)))
    assert [rounded(v) for v in tenths] == [rounded(v) for v in near_tenths]


def test_packing_keeps_three_decimals_nan_and_minus_infinity() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.uniform(0, 3, 10_000), np.arange(0.0005, 1, 0.001) + 1e-9])
    sent = unpacked(pack(values, len(values), PLAIN))
    assert [f"{v:.3f}" for v in sent] == [f"{v:.3f}" for v in values]
    holes = np.array([[0.5, np.nan, -np.inf], [1e-17, 3.0, np.nan], [np.nan, -np.inf, 2.0]])
    sent = unpacked(pack(holes, 3, GAINS))
    np.testing.assert_allclose(sent, holes.ravel(), atol=1 / PER_UNIT)


def test_it_is_under_450_kb_by_default_and_under_500_with_four_numbers_of_streams() -> None:
    whole = mhc.export_html().encode()
    assert len(gzip.compress(whole)) < 450_000
    # Sharp logits are the worst case: every iteration still changes them.
    sharp = mhc.Experiment(spread=5.0, members=32)
    assert len(gzip.compress(mhc.export_html(sharp, streams=[2, 4, 8, 16]).encode())) < 500_000


def test_it_opens_as_the_page_does_and_holds_the_library_s_numbers() -> None:
    data = data_of(mhc.export_html(fragment=True))
    page = State()
    sliders = {name: data["sliders"][name]["label"] for name in SLIDERS}
    assert sliders == {name: page.param[name].label for name in SLIDERS}
    opened = next(m for m in _models(data["doc"]) if m["attributes"].get("name") == "surface")
    tag = dict(opened["attributes"]["tags"][0]["entries"])
    opens = {name: getattr(page, name) for name in (*SLIDERS, "scale")}
    assert dict(tag["state"]["entries"]) == opens
    surface = mhc.gain_surface(mhc.Experiment(**dict(page.key()[:-1])))["log10_gain"]
    columns = data["variants"][0]["tables"][opened["id"]]
    assert data["per_unit"] == PER_UNIT
    for direction in ("forward", "backward"):
        wanted = surface.sel(direction=direction, series="median").values.ravel()
        sent = unpacked(columns[f"{direction}.median"])
        assert [rounded(v) for v in sent] == [rounded(v) for v in wanted]


def _models(doc: Any) -> list[dict[str, Any]]:
    """Every model in a document's JSON."""
    if isinstance(doc, list):
        return [m for each in doc for m in _models(each)]
    if not isinstance(doc, dict):
        return []
    own = [doc] if doc.get("type") == "object" and "attributes" in doc else []
    return own + [m for each in doc.values() for m in _models(each)]


def test_no_number_is_sent_twice() -> None:
    doc = json.dumps(data_of(mhc.export_html(FEW, fragment=True))["doc"])
    assert "forward_median" in doc  # the names of columns, which the browser fills
    assert len(doc) < 45_000


@pytest.mark.parametrize("fragment", [False, True])
def test_it_links_to_no_other_host_and_escapes_its_title(fragment: bool) -> None:
    html = mhc.export_html(FEW, title=HOSTILE, fragment=fragment)
    assert "<img" not in html
    assert html.count("</script") == (1 if fragment else 2)
    ours = html.replace(embed_page.in_script(embed_page.bokehjs()), "")
    assert re.findall(r"https?://[^\s\"']+", ours) == ["http://www.w3.org/2000/svg"] * ours.count(
        "http://www.w3.org/2000/svg"
    )
    assert not re.search(r"<(link|img|iframe|script [^>]*src)", ours)
    assert (embed_page.bokehjs()[:1000] in html) is not fragment


def test_it_says_what_it_shows() -> None:
    html = mhc.export_html(mhc.Experiment(streams=3, seed=7, spread=0.5, members=5), fragment=True)
    caption = "n = 3 streams, init Gaussian, spread 0.5, seed 7, 5 networks"
    assert caption in html
    assert f"{MHC_PAPER}. Made with mhc-demo {mhc.__version__}." in html


@pytest.mark.parametrize("projection", ["sinkhorn", "rows", "signed-sums"])
def test_the_laws_of_a_file_say_at_each_position_what_the_page_says_there(projection: str) -> None:
    experiment = mhc.Experiment(streams=3, members=2, projection=projection)
    limits = {"max_depth": 9, "max_iterations": 3}
    html = mhc.export_html(experiment, plots=["why"], depth=9, fragment=True, **limits)
    said = data_of(html)["variants"][0]["laws"]
    found = measured(experiment, depth=9, iterations=3)
    for iterations in range(4):
        for depth in (1, 2, 9):
            wanted = words_of(found, PROJECTIONS[projection], depth=depth, iterations=iterations)
            for name, texts in said["of_depth"].items():
                assert texts[depth - 1] == wanted.pop(name)
            here = law_columns(found.composites.sel(depth=[depth]), float)
            for name, card in said["places"].items():
                text = card["said"][card["at"][9 * iterations + depth - 1]]
                gains = {n: in_html(values[iterations]) for n, values in here.items()}
                hc = {f"hc {n}": in_html(values[0]) for n, values in here.items()}
                written = text.format_map({"after": after(depth), **gains, **hc})
                assert written == wanted.pop(name)
            assert wanted == {}


def test_the_phase_maps_of_a_file_say_on_hover_what_the_library_says() -> None:
    experiment = mhc.Experiment(members=2, projection="mhc-lite", spread=4.0)
    data = data_of(mhc.export_html(experiment, plots=["phase"], fragment=True))
    tables = data["variants"][0]["tables"].values()
    shades = [unpacked(each["shade"]) for each in tables if "shade" in each]
    for (along, order), found in zip(
        (
            ("spread", ("depth", "spread", "iterations")),
            ("streams", ("iterations", "depth", "streams")),
        ),
        shades,
        strict=True,
    ):
        gains = mhc.phase_map(experiment, along).max("direction", skipna=False)
        wanted = gains.transpose(*order).values.ravel()
        known = np.isfinite(wanted)
        assert (np.isnan(found) == np.isnan(wanted)).all()
        assert np.isnan(wanted).any() == (along == "streams")  # it takes at most six
        sent = LINEAR * np.sinh(found[known])
        assert [exact(v) for v in sent[::7]] == [exact(v) for v in wanted[known][::7]]


@pytest.mark.parametrize("view", ["my-model"])
def test_a_view_that_needs_the_server_is_refused_with_those_that_do_not(view: str) -> None:
    message = f"'{view}' cannot be exported; these can: signal, composite, "
    with pytest.raises(ValueError, match=message):
        plots_of(view)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in SHORT else pytest.mark.long) for name in SCENES],
)
def test_each_scene_is_shown(name: str) -> None:
    html = mhc.export_html(scene=name, fragment=True)
    assert SCENES[name].title.replace("'", "&#x27;") in html
    data = data_of(html)
    wanted = [n for n in SLIDERS if n in SCENES[name].controls]
    assert list(data["sliders"]) == wanted + ["replay"] * (name == "training")


def test_a_scene_s_words_are_left_out_where_they_would_not_be_true() -> None:
    scene = SCENES["dial"]
    html = mhc.export_html(scene="dial", fragment=True)
    assert f"<h2>{scene.title}</h2>" in html
    assert scene.question in html
    for change in (
        {"depth": 65},
        {"experiment": mhc.Experiment(seed=43)},
        {"streams": [2, 8]},  # it opens with 2
    ):
        changed = mhc.export_html(scene="dial", fragment=True, **change)
        assert f"<h2>{TITLE}</h2>" in changed
        assert scene.question not in changed


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"experiment": 4}, TypeError, "experiment must be an Experiment, not 4"),
        ({"depth": 999}, ValueError, f"depth must be between 1 and {MAX_DEPTH}, not 999"),
        ({"depth": 9, "max_depth": 8}, ValueError, "depth must be between 1 and 8, not 9"),
        ({"iterations": 1.5}, TypeError, "iterations must be a whole number, not 1.5"),
        ({"max_iterations": 31}, ValueError, "max_iterations must be between 0 and 30, not 31"),
        ({"streams": [4, 0]}, ValueError, "streams must be between 1 and 64, not 0"),
        ({"streams": 4}, TypeError, "streams must be a list of whole numbers, not 4"),
        (
            {"plots": ["pie"]},
            ValueError,
            "plots must be one of 'signal', 'composite', 'iterations', ",
        ),
        ({"plots": []}, ValueError, "plots must name at least one of signal, composite, "),
        ({"plots": "composite"}, TypeError, "plots must be a list of names, not 'composite'"),
        ({"plots": ["mixing"] * 2}, ValueError, "plots must name each once, not "),
        ({"plots": ["matrices"], "streams": [2, 4]}, ValueError, "one number of streams only"),
        ({"controls": ["seed"]}, ValueError, "controls must be one of 'iterations', 'depth'"),
        ({"plots": ["layer-axis"], "controls": ["depth"]}, ValueError, "must not hold 'depth'"),
        ({"theme": "sepia"}, ValueError, "theme must be one of 'auto', 'light', 'dark'"),
        ({"height": 10}, ValueError, "height must be between 300 and 4000, not 10"),
        ({"title": 3}, TypeError, "title must be a text, not 3"),
        ({"scene": "finale"}, ValueError, "scene must be one of 'surge', "),
        ({"device": "tpu"}, ValueError, "device must be one of 'numpy', "),
    ],
)
def test_what_cannot_be_shown_is_refused_by_name(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        mhc.export_html(**arguments)


def test_it_needs_no_panel() -> None:
    code = (
        "import sys, mhc_demo as mhc; mhc.export_html(mhc.Experiment(members=1), scene='dial'); "
        "print({'panel', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("set()\n", "")


# The command line


def test_the_command_writes_the_file_that_the_call_returns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gains.html"
    path.write_text("what was there")
    options = "--depth 20 --iterations 3 --streams 2,4 --seed 7 --members 2 --theme dark"
    assert main(["export", str(path), *options.split(), "--title", "A title"]) == 0
    assert re.search(r"gains\.html: \d+ kB", capsys.readouterr().out)
    assert list(tmp_path.iterdir()) == [path]
    wanted = mhc.export_html(
        mhc.Experiment(seed=7, members=2),
        depth=20,
        iterations=3,
        streams=[2, 4],
        theme="dark",
        title="A title",
    )
    without_ids = [re.sub(r'"p\d+"', '"p"', html) for html in (path.read_text("utf-8"), wanted)]
    assert without_ids[0] == without_ids[1]


def test_the_command_opens_a_scene_in_the_state_of_the_story(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["export", "-", "--scene", "collapse", "--fragment"]) == 0
    html = capsys.readouterr().out
    assert SCENES["collapse"].title in html
    assert '"depth",5]' in html.replace(" ", "")
    assert "Difference left between streams" in html


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--streams 2,99", "argument --streams: 99 is out of range (1 to 16)"),
        ("--streams 16 --projection mhc-lite", "argument --streams: choose 6, "),
        ("--plots pie", "argument --plots: 'pie' is not one of signal, composite, iterations, "),
        ("--controls seed", "argument --controls: 'seed' is not one of iterations, depth, none"),
        ("--height 9", "argument --height: 9 is out of range (300 to 4000)"),
        ("--theme sepia", "argument --theme: 'sepia' is not one of auto, light, dark"),
        ("--story long", "argument --story: 'long' is not one of whole, short"),
        ("--story short --depth 3", "argument --depth: not with --story"),
        ("--view my-model", "argument --view: the view 'my-model' cannot be exported; these can: "),
        ("--max-depth 20 --depth 60", "depth must be between 1 and 20, not 60"),
    ],
)
def test_a_bad_option_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: str, message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["export", str(tmp_path / "x.html"), *options.split()])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("where", "why"), [("no/x.html", "does not exist"), (".", "is a folder")])
def test_a_path_where_no_file_can_be_is_named_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str, why: str
) -> None:
    assert main(["export", str(tmp_path / where), "--members", "1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mhc-demo: cannot write ")
    assert why in line


# The style sheets


def test_colours_and_font_are_defined_in_python_alone_and_every_variable_is_set() -> None:
    sheets = {path: path.read_text("utf-8") for path in STATIC.glob("*.css")}
    ours = style.css()
    colours = set(re.findall(r"#[0-9a-f]{6}", ours))
    assert style.HC in colours
    for path in (*sheets, *STATIC.glob("*.js")):
        assert colours.isdisjoint(re.findall(r"#[0-9a-f]{6}", path.read_text("utf-8").lower()))
        assert "Segoe" not in path.read_text("utf-8")
    written = ours + "".join(sheets.values())
    set_in_place = {"at", "ring", "share", "shade", "tall"}  # by scripts and in the markup
    without_default = set(re.findall(r"var\(--([\w-]+)\)", written))
    assert without_default - set_in_place <= set(re.findall(r"--([\w-]+):", written))


# ---- fragments in what writes a site ---------------------------------------------------------


@pytest.fixture(scope="module")
def fragment() -> str:
    plots = ["composite", "signal", "matrices", "claims"]
    return mhc.export_html(mhc.Experiment(members=1), fragment=True, plots=plots, max_depth=8)


def test_a_fragment_holds_nothing_that_a_template_would_replace(fragment: str) -> None:
    """Jekyll's Liquid, Hugo's shortcodes and MkDocs' macros look for these in what they include."""
    assert [mark for mark in ("{{", "{%", "{#") if mark in fragment] == []


def test_a_fragment_pasted_into_markdown_stays_as_it_is(fragment: str) -> None:
    post = f"Some *words*.\n\n{fragment}\nMore **words**.\n"
    # Python-Markdown, as MkDocs has it; CommonMark, as most others have it.
    by_mkdocs = markdown.markdown(post, extensions=["attr_list", "md_in_html"])
    by_others = MarkdownIt("commonmark").render(post)
    for html in (by_mkdocs, by_others):
        assert fragment.strip() in html
        assert "<em>words</em>" in html
        assert "<strong>words</strong>" in html
