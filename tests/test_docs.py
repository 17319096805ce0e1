"""The documentation: its code runs and gives what it says, and every command in it works."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from benchmarks import results
from mhc_demo.cli import main, parser_for
from mhc_demo.numerics.projections import PROJECTIONS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PATIENCE = 120  # seconds until a server that hangs is ended

ELSEWHERE = {
    "ORIGIN=": "test_container.py checks compose.yaml",
    "docker": "test_container.py runs the Dockerfile's steps, page/test_processes.py the proxy",
    "python": "test_container.py installs from constraints.txt into a new environment",
    ".venv/bin/pip": "test_container.py installs from constraints.txt into a new environment",
    ".venv/bin/mhc-demo": "the other commands of mhc-demo",
    "panel": "page/conftest.py serves app.py",
    "jupyter": "test_notebooks.py executes the notebooks",
}
"""Commands that need more than this test has, and what runs them."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


WRITTEN = "html|csv|parquet|nc|json|jsonl|png|svg|pt"
"""The suffixes of what commands write."""

BUSY = ("serve", "site", "sweep", "train", "export", "plot")
"""Subcommands that are at work for seconds; other tests run them with other options."""

LINES = [
    (line.split("  #")[0].strip(), f"{page.stem}: {line}")
    for page in PAGES
    for block in blocks(page, "sh")
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip()
]

COMMANDS = [
    pytest.param(
        line,
        id=name,
        marks=[pytest.mark.long]
        if line.startswith(tuple(f"mhc-demo {each} " for each in BUSY))
        else [],
    )
    for line, name in LINES
]


def test_there_is_a_page_for_every_use() -> None:
    uses = {"lecture", "blog", "notebooks", "research", "operate"}
    uses |= {"claims", "evidence", "performance"}
    assert {page.stem for page in PAGES} == {"README", *uses}
    for use in uses:
        assert f"(docs/{use}.md)" in PAGES[0].read_text("utf-8")


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.stem)
def test_links_to_other_files_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text("utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.stem)
def test_links_to_a_heading_name_one_that_is_there(document: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]+\.md)#([^)]+)\)", document.read_text("utf-8")):
        assert anchor in anchors(document.parent / target), anchor


def test_the_sizes_in_the_readme_are_those_that_were_measured() -> None:
    result = results.load("install")
    assert result is not None
    text = PAGES[0].read_text("utf-8")
    for command, row in zip(("make demo EXTRAS=", "make demo"), result.tables[0].rows, strict=True):
        (said,) = re.findall(rf"`{command}` \|.*\| ([\d.]+) GB", text)
        size, torch = row["size_mb"], row.get("torch")
        if torch is None or str(torch).endswith("+cpu"):  # the build that the README speaks of
            assert isinstance(size, int | float)
            assert said == f"{size / 1000:.1f}"


def test_the_readme_is_short() -> None:
    assert len(PAGES[0].read_text("utf-8").splitlines()) <= 150


@pytest.mark.parametrize(
    "document",
    # What the page for researchers does takes as long as all others.
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.long] * (path.stem == "research"))
        for path in PAGES
    ],
)
def test_code_runs_and_gives_the_shapes_it_says(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks(document, "python"):
        exec(compile(block, str(document), "exec"), names)
        for line in block.splitlines():
            if claim := re.match(r"(?:(\w+) = )?([^#]+?)  # \((\d[\d, ]*)\)", line):
                name, expression, said = claim.groups()
                value = eval(name or expression, names)
                assert tuple(value.shape) == tuple(map(int, re.findall(r"\d+", said))), line


@pytest.mark.parametrize("command", [line for line, _ in LINES], ids=[name for _, name in LINES])
def test_every_option_is_one_that_the_command_has(command: str) -> None:
    program, *words = shlex.split(command)
    if program == "mhc-demo" and "--help" not in words:
        parser_for(words).parse_args(words)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_works(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *words = shlex.split(command)
    if program == "mhc-demo" and words[0] == "serve" and "--help" not in words:
        serves(words)
    elif program == "mhc-demo":
        monkeypatch.chdir(tmp_path)
        assert exit_code(words) == 0
        for name in words:  # the file it was to write is there, maybe several with such names
            if found := re.fullmatch(
                r"([\w-]+)\.(html|csv|parquet|nc|json|jsonl|png|svg|pt)", name
            ):
                written = list(tmp_path.glob(f"{found[1]}*.{found[2]}"))
                assert written
                assert all(path.stat().st_size > 0 for path in written)
    elif program == "make":  # a dry run: this test runs in `make test`
        assert shutil.which("make")
        done = subprocess.run(
            ["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    else:
        assert re.match(r"[A-Z_]+=|", program).group() or program in ELSEWHERE, command


def exit_code(words: list[str]) -> int:
    """The exit code of `mhc-demo`, run in this process: a new one would import for seconds."""
    try:
        return main(words)
    except SystemExit as end:  # --help
        return int(end.code or 0)


def serves(words: list[str]) -> None:
    """`mhc-demo serve` with these options, on a free port, answers at the link it prints."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    words = [word for word in words if word != "--show"]
    server = subprocess.Popen(
        [sys.executable, "-m", "mhc_demo.cli", *words, "--port", port],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    watchdog = threading.Timer(PATIENCE, server.kill)
    watchdog.start()
    try:
        assert server.stdout is not None
        said = server.stdout.readline()
        link = re.search(r"http://\S+", said)
        assert link, said + server.stdout.read()
        assert urllib.request.urlopen(link.group(), timeout=PATIENCE).status == 200
    finally:
        watchdog.cancel()
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=PATIENCE)


def test_every_notebook_is_linked_to() -> None:
    page = (ROOT / "docs" / "notebooks.md").read_text("utf-8")
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert notebooks
    assert all(f"(../notebooks/{notebook.name})" in page for notebook in notebooks)


def test_the_table_of_projections_says_what_they_promise() -> None:
    page = (ROOT / "docs" / "research.md").read_text("utf-8")
    rows = [row.strip("| ").split("|") for row in page.splitlines() if row.startswith("| `")]
    found = {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in rows}
    for name, p in PROJECTIONS.items():
        promises = (p.unit_rows, p.unit_columns, p.nonnegative, p.unit_norm, p.bounded, p.masks)
        wanted = [*("yes" if each else "" for each in promises), p.cost]
        assert found[name][: len(wanted)] == wanted, name
        assert found[name][len(wanted) :] == ([p.source] if p.source else []), name
