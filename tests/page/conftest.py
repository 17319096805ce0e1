"""A real server and a real headless Chromium; what the tests of the page share."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from filelock import FileLock
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    ViewportSize,
    expect,
)

from mhc_demo.app.state import State
from mhc_demo.app.views import VIEWS

AXE = Axe().axe_script  # from a Python package: the tests need no other package manager
ROOT = Path(__file__).resolve().parent.parent.parent
ORDERLY = Path(__file__).with_name("orderly.py")
expect.set_options(timeout=30_000)  # a busy machine takes its time

RULES: dict[str, tuple[str, ...]] = {"light": (), "dark": ("color-contrast",)}
"""The rules of axe-core that a page must keep in each theme; () is all.  The others look at no
colours, so one theme is enough for them."""

ORIENTATION = "css-orientation-lock"
"""The rule of axe-core that no stylesheet turns the page on a phone that is held otherwise."""

JOINED = "html.mhc-joined, html:not(:has(#mhc-first-data))"
"""The document when the live page has taken the place of the first one, if there was one."""

DESK: ViewportSize = {"width": 1400, "height": 900}
"""The size of a window on a desk."""

ON_STAGE = """() => {
  const [doc] = Bokeh.documents
  const stage = [...doc.all_models].find((model) => model.css_classes?.includes("mhc-stage"))
  return stage.children[0]?.id
}"""
"""What stands below the tabs: the model's name."""


WINDOW = """[...Bokeh.documents[0].all_models].find(({type}) => /^BrowserWindow/.test(type))"""
"""The model by which page and server tell each other the address."""

VISIT = """(query) => {
  history.pushState(null, "", query)
  dispatchEvent(new PopStateEvent("popstate"))
}"""
"""Go to a link as the browser's Back and Forward do."""

ARRIVED = f"""() => {{
  const {{back, returned, query}} = {WINDOW}
  return (!back || Number(back.split(" ")[0]) === returned) && location.search === query
}}"""
"""Whether the server has followed, and the address says all of where the page is."""

BLUR = """() => {
  let node = document.activeElement
  while (node?.shadowRoot?.activeElement) node = node.shadowRoot.activeElement
  node?.blur()
}"""
"""Take the focus from whatever has it."""

SEEN = """() => {
  const found = []
  const look = (node) => {
    if (node.nodeType === Node.TEXT_NODE) {
      const text = node.textContent.trim()
      if (text) found.push(text)
    }
    if (node.nodeType === Node.ELEMENT_NODE) {
      const {display, visibility} = getComputedStyle(node)
      if (node.matches("style, script, svg, title")) return
      if (display === "none" || visibility === "hidden") return
      if (node.matches("input, select, textarea")) found.push(node.value + node.checked)
      if (node.ariaLabel) found.push(node.ariaLabel)
      if (node.shadowRoot) node.shadowRoot.childNodes.forEach(look)
    }
    node.childNodes.forEach(look)
  }
  look(document.body)
  return found
}"""
"""All texts, values and names that can be seen or are read aloud."""


BOTTOM_AND_TOP = """() => {
  const inside = (node) => [...(node.shadowRoot?.children ?? []), ...node.children]
  const all = (node) => [node, ...inside(node).flatMap(all)]
  const nodes = all(document.body)
  const named = (name) => nodes.find((node) => node.classList.contains(name))
  const plots = all(named("mhc-stage")).filter(
    (node) => node.matches(".bk-Figure, p, table") && node.checkVisibility()) // not folded away
  return [Math.max(...plots.map((node) => node.getBoundingClientRect().bottom)),
          named("mhc-plots").getBoundingClientRect().top]
}"""
"""The lowest edge of all that a view holds, and the upper one of what follows it."""


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Debian's Chromium if it is there; else the one that Playwright installs.

    Best without a window of its own: for a window that nobody sees Chromium draws a toolbar, a
    page in itself, with every context.
    """
    options = {
        **browser_type_launch_args,
        "args": ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    }
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    binary = next(filter(None, map(shutil.which, names)), None)
    if binary:
        options["executable_path"] = binary
    return options


def usual(*some: str, of: Iterable[str]) -> list[Any]:
    """The values of a parameter of which only `some` are tried every time; all others are long."""
    return [pytest.param(each, marks=[] if each in some else pytest.mark.long) for each in of]


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_server(server: subprocess.Popen[Any], url: str) -> None:
    """Wait until a server answers."""
    for _ in range(600):
        if server.poll() is not None:
            raise RuntimeError("the server ended at once")
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=10).read()
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing answers at {url}")


@contextlib.contextmanager
def serve(*options: str, picture: bool = False) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`panel serve app.py` on a free port, as the README says; yields its address.

    With options, `mhc-demo serve` with them.  `picture`: with one on the first page.
    """
    port = free_port()
    server_of = ["mhc_demo.cli", "serve", *options] if options else ["panel", "serve", "app.py"]
    command = [sys.executable, str(ORDERLY), *server_of, "--port", str(port)]
    prefix = options[options.index("--prefix") + 1] if "--prefix" in options else ""
    address = f"http://localhost:{port}{prefix}/app"
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | ({} if picture else {"WITHOUT_PICTURE": "1"}),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            await_server(server, address)
            yield address, server
        finally:
            server.terminate()
            server.wait(20)
        log.seek(0)
        said = log.read()
        # What goes wrong in our code need not be seen in the browser.  (A page that is closed
        # while it is written to leaves a trace too, of others' code alone.)
        assert "/mhc_demo/" not in said, said[-5000:]


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """The address of a served page."""
    with serve() as (where, _):
        yield where


@pytest.fixture(scope="session")
def pictured() -> Iterator[str]:
    """The address of a page that begins with its picture."""
    with serve(picture=True) as (where, _):
        yield where


def made_once(
    tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]
) -> Path:
    """A folder that one worker makes for all, who only read it."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    with FileLock(base / f"{name}.lock"):
        folder = base / name
        if not folder.exists():
            half = base / f"{name}.half"
            half.mkdir()
            make(half)
            half.rename(folder)
    return folder


class Explorer:
    """The page in a browser tab, and what a user sees and does there."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        self.hosts: set[str] = set()
        self.address = ""
        self.as_opened: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.problems.append(error.stack or str(error)))
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(message.text)

    def open(self, address: str, query: str = "", *, controls: bool = True) -> Explorer:
        """Open a link, and wait until the first numbers stand; `controls`: in the sidebar too."""
        self.address = address
        self.page.goto(address + query)
        self.page.evaluate("() => window.mhc?.first?.want({})")  # even from a busy server
        expect(self.page.locator(JOINED)).to_be_attached()
        expect(self.number(0)).not_to_have_text("")
        # Controls and second plots are added when the first picture stands; on a phone the
        # controls are in a drawer.
        size = self.page.viewport_size
        if controls and size and size["width"] >= 600:
            expect(self.page.get_by_role("button", name="Reset")).to_be_attached()
        self.stands(self.page.locator(".mhc-stage"))
        return self

    def visit(self, query: str) -> Explorer:
        """Go to a link within the open page, for much less than it costs to open one.

        The way is that of the browser's Back, which takes over all of a link but its theme.
        """
        before, view = self.page.evaluate(ON_STAGE), self._view()
        self.page.evaluate(VISIT, query)
        self.page.wait_for_function(ARRIVED)
        self.page.locator("main").evaluate("(main) => main.scrollTo(0, 0)")
        if self._view() != view:
            self.page.wait_for_function(f"(before) => ({ON_STAGE})() !== before", arg=before)
        expect(self.page.locator(".mhc-headline [aria-busy=true]")).to_have_count(0)
        self.stands(self.page.locator(".mhc-stage"))
        return self

    def _view(self) -> list[str]:
        return re.findall("view=([^&]*)", self.page.url)

    def number(self, side: int) -> Locator:
        """The huge number of HC (0) or of the projection (1)."""
        return self.page.locator(".mhc-headline .number").nth(side)

    def gain(self, side: int) -> float:
        """The log10 gain that a huge number stands for."""
        base = self.number(side).locator(".base").inner_text()
        power = self.number(side).locator("sup").inner_text().replace("−", "-")
        return float(power) if power else float(np.log10(float(base)))

    def slider(self, name: str) -> Locator:
        """A slider by its accessible name."""
        return self.page.get_by_role("slider", name=name, exact=True)

    def set(self, name: str, value: int) -> None:
        """Move one of the browser's own sliders as a person does: with the keys."""
        slider = self.slider(name)
        slider.focus()
        now = int(slider.input_value())
        ends = {"Home": int(slider.get_attribute("min")), "End": int(slider.get_attribute("max"))}
        for key, end in ends.items():
            if abs(value - end) < abs(value - now) - 1:
                slider.press(key)
                now = end
        for _ in range(abs(value - now)):
            slider.press("ArrowRight" if value > now else "ArrowLeft")
        expect(slider).to_have_value(str(value))

    def show(self, view: str) -> None:
        """Open a view by its doors, and wait until it stands below them."""
        before = self.page.evaluate(ON_STAGE)
        if f"view={view}" in re.split("[?&]", self.page.url):
            before = None
        self.go(view)
        self.page.wait_for_function(f"(before) => ({ON_STAGE})() !== before", arg=before)
        expect(self.page).to_have_url(re.compile(rf"view={view}(&|$)"))
        self.stands(self.page.locator(".mhc-stage"))

    def go(self, view: str) -> None:
        """Open a view by its doors."""
        self.page.get_by_role("tab", name=VIEWS[view].group, exact=True).first.click()
        inside = [name for name, each in VIEWS.items() if each.group == VIEWS[view].group]
        if len(inside) > 1:
            # Nobody's hand is so quick that the server has not heard of the first click.
            expect(self.page).to_have_url(re.compile(rf"view=({'|'.join(inside)})(&|$)"))
            self.page.locator(".mhc-doors .inner").get_by_role(
                "tab", name=VIEWS[view].title, exact=True
            ).click()

    def unfold(self) -> None:
        """Show the settings that are folded away."""
        more = self.page.get_by_role("button", name="More settings")
        if more.count():
            more.click()
        expect(self.page.get_by_role("textbox", name=re.compile("^Seed"))).to_be_visible()

    def stands(self, what: Locator) -> None:
        """Wait until something moves and grows no more."""
        settled = None
        while (box := what.bounding_box(timeout=30_000)) != settled:
            settled = box
            self.page.wait_for_timeout(100)

    def begin(self, address: str) -> None:
        """Open the page at the view of all resets, and note what it shows and says."""
        self.open(address, "?view=composite")
        expect(self.page.locator(".mhc-plots button").filter(visible=True)).to_have_count(6)
        self.as_opened = self.page.evaluate(SEEN)

    def reset(self) -> None:
        """Everything as it was after `begin`, by all that the page shows and says."""
        self.page.set_viewport_size(DESK)
        self.visit("?view=composite")
        if "theme=dark" in self.page.url:  # which no link takes along
            self.page.get_by_role("button", name="Toggle theme").click()
        fewer = self.page.get_by_role("button", name="Fewer settings")
        if fewer.count():
            fewer.click()
        self.page.mouse.move(0, 0)
        self.page.evaluate(BLUR)
        expect(self.page).to_have_url(self.address + State(view="composite").query())

        def is_as_opened() -> None:
            assert self.page.evaluate(SEEN) == self.as_opened

        self.eventually(is_as_opened)

    def painted(self) -> None:
        """Wait for two frames, so that the first of them was painted."""
        self.page.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def colours(self, figure: str) -> set[str]:
        """The colours of all lines, bands and dots of a figure that can be seen."""
        return set(
            self.model(
                figure,
                """m.renderers.filter((r) => r.visible && r.glyph).map(({glyph}) =>
                    (glyph.fill_color?.value ?? glyph.line_color.value))""",
            )
        )

    def plotted(self, figure: str) -> dict[str, np.ndarray]:
        """The y values of the named lines and dots of a figure, by name."""
        found = self.model(
            figure,
            """m.renderers.filter((r) => r.name)
                .map((r) => [r.name, column(r.data_source.data, r.glyph.y.field)])""",
        )
        return {name: np.array(values, dtype=float) for name, values in found}

    def model(self, name: str, expression: str) -> Any:
        """What a JavaScript expression says of the Bokeh model `m` of that name."""
        # Bokeh forgets models that have left the document only some time later.
        return self.page.evaluate(
            f"""(name) => {{
              const doc = Bokeh.documents[0]
              doc._recompute_all_models()
              const column = (data, c) => [...(data instanceof Map ? data.get(c) : data[c])]
              const m = doc.get_model_by_name(name)
              return {expression}
            }}""",
            name,
        )

    def eventually(self, check: Callable[[], None], seconds: float = 20.0) -> None:
        """Wait until `check` no longer fails: what it looks at comes from the server."""
        end = time.monotonic() + seconds
        while True:
            try:
                return check()
            except (AssertionError, Error):
                if time.monotonic() > end:
                    raise
                self.page.wait_for_timeout(100)

    def keeps_nobody_out(self, *rules: str, colours: bool = True) -> None:
        """axe-core finds nothing serious, of all its rules or these.

        What waits for new numbers is dimmed, and passes only when they are there.  Without
        `colours` all rules but that of contrast, which takes longer than all the others.
        """
        options: dict[str, Any] = {"resultTypes": ["violations"]}
        if not colours:
            options["rules"] = {"color-contrast": {"enabled": False}}
        # To read all stylesheets takes longer than all other rules, and only this one needs it.
        options["preload"] = ORIENTATION in rules
        if rules:
            options["runOnly"] = list(rules)

        expect(self.page.locator(".mhc-headline [aria-busy=true]")).to_have_count(0)
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE)

        def nothing_serious() -> None:
            found = self.page.evaluate("(options) => axe.run(options)", options)
            assert [
                f"{each['id']}: {node['html'][:200]}"
                for each in found["violations"]
                if each["impact"] in ("serious", "critical")
                for node in each["nodes"]
            ] == []

        self.eventually(nothing_serious)

    def saves_below_the_view(self, what: str = "") -> None:
        """The buttons that save plots do not lie over the view."""

        def apart() -> None:
            bottom, top = self.page.evaluate(BOTTOM_AND_TOP)
            assert bottom <= top + 1, what

        self.eventually(apart)

    def y_range(self, figure: str) -> list[float]:
        """The y range of a figure."""
        return self.model(figure, "[m.y_range.start, m.y_range.end]")

    def matrix(self, figure: str) -> dict[str, Any]:
        """What a heatmap holds: values, texts, title."""
        return self.model(
            figure,
            """({
                value: column(m.renderers[0].data_source.data, "value"),
                text: column(m.renderers[0].data_source.data, "text"),
                title: m.title.text,
            })""",
        )


def nothing_went_wrong(tab: Explorer) -> None:
    """No error in a tab, and no request of another host."""
    problems = tab.problems.copy()
    tab.problems.clear()
    assert problems == []
    assert {host.split(":")[0] for host in tab.hosts} <= {"localhost"}


@pytest.fixture
def explorer(page: Page) -> Iterator[Explorer]:
    """A tab; afterwards nothing may have gone wrong in it, nor been asked of another host."""
    page.set_viewport_size(DESK)
    tab = Explorer(page)
    yield tab
    nothing_went_wrong(tab)


PASSED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, Any]:
    """Remember how a test itself ended, for `shared`."""
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report


@pytest.fixture(scope="session")
def tab(browser: Browser, address: str) -> Iterator[Explorer]:
    """One tab for all tests that ask for `shared`."""
    context = browser.new_context(viewport=DESK)
    page = context.new_page()
    # The first key of a lecture makes it fill the screen, whose size Playwright then cannot change.
    page.add_init_script("Element.prototype.requestFullscreen = async () => {}")
    yield Explorer(page)
    context.close()


@pytest.fixture
def shared(tab: Explorer, address: str, request: pytest.FixtureRequest) -> Iterator[Explorer]:
    """The tab of other tests, with everything reset: to open one takes seconds of both cores.

    After a test that failed it is opened anew, so that no other fails with it.
    """
    tab.reset() if tab.address else tab.begin(address)
    yield tab
    if not request.node.stash.get(PASSED, False):
        tab.address = ""
    nothing_went_wrong(tab)


@pytest.fixture
def new_explorer(browser: Browser) -> Iterator[Any]:
    """Make tabs of other shapes, by width and height."""
    contexts = []

    def make(width: int, height: int) -> Explorer:
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        return Explorer(context.new_page())

    yield make
    for context in contexts:
        context.close()
