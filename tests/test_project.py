"""The project's own promises: what is pinned, what is documented, what an install contains."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import mhc_demo
from mhc_demo.cli import parser_for

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    requirements = [Requirement(line) for line in lines]
    return [r for r in requirements if canonical(r.name) != PROJECT["name"]]


def pinned() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonical(name): Version(version) for name, version in pins}


@pytest.mark.parametrize("requirement", required(), ids=str)
def test_every_requirement_is_pinned_within_its_range(requirement: Requirement) -> None:
    assert pinned()[canonical(requirement.name)] in requirement.specifier


def test_no_pin_names_a_local_build() -> None:
    assert [name for name, version in pinned().items() if version.local] == []


def documented_targets() -> set[str]:
    """Every `make TARGET` that stands as a command in the documentation."""
    texts = [(ROOT / name).read_text("utf-8") for name in ("README.md", "CONTRIBUTING.md")]
    return {t for text in texts for t in re.findall(r"(?:^ *|`)make ([a-z-]+)", text, re.MULTILINE)}


@pytest.mark.parametrize("target", sorted({"demo", "test"} | documented_targets()))
def test_a_documented_command_is_a_target_of_the_makefile(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("extras", "wanted"), [("", "'.'"), ("lab", "'.[lab]'")])
def test_a_choice_of_extras_is_installed_and_marked_by_a_stamp_of_its_own(
    extras: str, wanted: str
) -> None:
    command = ["make", "--dry-run", "--always-make", "demo", f"EXTRAS={extras}"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"-c constraints.txt -e {wanted}\n" in said
    assert f"touch .venv/.demo-{extras}\n" in said


def test_the_tests_in_a_browser_are_those_of_the_page() -> None:
    """`make test` collects tests/page alone for them, and leaves it out for the others."""
    marked = {
        path
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"\bmark\.browser\b", path.read_text("utf-8")) and path != Path(__file__)
    }
    assert marked == set((ROOT / "tests" / "page").glob("test_*.py"))


@pytest.mark.parametrize(
    ("event", "command"), [("push", "make test"), ("schedule", "make test-all")]
)
def test_the_workflows_run_what_developers_run(event: str, command: str) -> None:
    workflows = [
        yaml.safe_load(path.read_text("utf-8"))
        for path in (ROOT / ".github" / "workflows").glob("*.yml")
    ]
    on = [(each, each[True]) for each in workflows]  # YAML reads `on` as true
    (workflow,) = [each for each, when in on if event in when and "tags" not in (when[event] or {})]
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [command]


def test_a_tag_publishes_the_folder_that_the_site_was_written_to() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "pages.yml").read_text("utf-8"))
    assert workflow[True]["push"] == {"tags": ["v*"]}
    build, publish = workflow["jobs"].values()
    (command,) = [s["run"] for s in build["steps"] if s.get("run", "").startswith("mhc-demo")]
    options = parser_for(["site"]).parse_args(shlex.split(command)[1:])
    assert build["steps"][-1]["with"]["path"] == options.folder
    assert publish["needs"] == "build"
    assert publish["permissions"] == {"pages": "write", "id-token": "write"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in a wheel built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    # With the build tool at hand nothing has to be fetched.
    here = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    command = ["-m", "pip", "wheel", str(ROOT), "--no-deps", "--quiet", *here, "-w", str(folder)]
    subprocess.run([sys.executable, *command], check=True, timeout=300)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_package_with_its_data(wheel: set[str]) -> None:
    package = ROOT / "mhc_demo"
    files = [p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert {str(p.relative_to(ROOT).as_posix()) for p in files} <= wheel


def test_the_wheel_holds_the_static_files(wheel: set[str]) -> None:
    static = ROOT / "static"
    files = [p.relative_to(static).as_posix() for p in static.rglob("*") if p.is_file()]
    assert files
    assert {f"mhc_demo/static/{name}" for name in files} <= wheel


def test_the_wheel_says_that_it_is_typed_and_under_which_licence(wheel: set[str]) -> None:
    assert "mhc_demo/py.typed" in wheel
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)


def test_the_wheel_holds_nothing_but_the_package(wheel: set[str]) -> None:
    assert {name.split("/")[0].split("-")[0] for name in wheel} == {"mhc_demo"}


# ---- releases ------------------------------------------------------------------------------

RELEASE = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8"))
JOBS = RELEASE["jobs"]


def test_only_what_was_tried_on_every_python_is_published() -> None:
    assert [JOBS[name].get("needs") for name in ("build", "try", "publish", "announce")] == [
        None,
        "build",
        "try",
        "publish",
    ]
    pythons = JOBS["try"]["strategy"]["matrix"]["python"]
    assert pythons[0] == PROJECT["requires-python"].removeprefix(">=")
    assert pythons == [f"3.{minor}" for minor in range(11, 11 + len(pythons))]
    built = [step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step]
    assert [command for command in built if "make dist" in command] == ["make dist"]


def test_no_job_of_a_release_may_do_more_than_it_has_to() -> None:
    assert RELEASE["permissions"] == {}
    assert JOBS["publish"]["permissions"] == {"id-token": "write"}
    assert "permissions" not in JOBS["try"]
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    assert "secrets." not in text


@pytest.mark.parametrize("tag", ["v99.0.0", "", PROJECT["version"], f"v{PROJECT['version']}"])
def test_a_tag_is_released_only_if_version_and_changelog_know_it(tag: str) -> None:
    made = subprocess.run(
        ["make", "releasable", f"TAG={tag}"], cwd=ROOT, capture_output=True, text=True
    )
    version = PROJECT["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    if tag != f"v{version}":
        assert "is not v and the version in pyproject.toml" in made.stderr
    elif f"## [{version}]" not in changelog:
        assert f"CHANGELOG.md has no section [{version}]" in made.stderr
    else:
        assert made.returncode == 0


def test_the_version_stands_in_one_place() -> None:
    assert mhc_demo.__version__ == PROJECT["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert not {"version", "date-released"} & citation.keys()
    assert citation["license"] == PROJECT["license"]
    assert citation["keywords"] == PROJECT["keywords"]


def in_empty_environment(folder: Path, *installed: str) -> Path:
    """The Python of a new environment with these packages, at the pinned versions."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    python = folder / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["-c", str(ROOT / "constraints.txt"), *installed]
    subprocess.run(command, check=True, timeout=1200)
    return python


@pytest.mark.long
def test_what_is_published_passes_the_registry_s_checks_and_works_on_its_own(
    tmp_path: Path,
) -> None:
    """As `make dist` and the release workflow do, on this Python."""
    tools = in_empty_environment(tmp_path / "tools", "build", "twine")
    dist = tmp_path / "dist"
    subprocess.run([str(tools), "-m", "build", "-o", str(dist), str(ROOT)], check=True, timeout=600)
    files = sorted(map(str, dist.iterdir()))
    wheel, sdist = files
    assert wheel.endswith(".whl")
    assert sdist.endswith(".tar.gz")
    checked = [str(tools), "-m", "twine", "check", "--strict", *files]
    subprocess.run(checked, check=True, timeout=120)
    # Built from the sdist: what that leaves out would be missing here.
    python = in_empty_environment(tmp_path / "installed", wheel)
    script = ROOT / "tests" / "installed.py"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(
        [str(python), str(script)], check=True, timeout=900, cwd=tmp_path, env=environment
    )
