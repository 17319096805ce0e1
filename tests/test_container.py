"""The container, without an engine: its own files, linted and carried out in an empty folder.

What runs here are the lines of the Dockerfile, none of them copied: an empty folder stands for the
image's /, and this Python for the one of the base image.  The proxy is tried with real servers and
a real browser in `tests/page/test_processes.py`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pathspec
import pytest
import yaml
from dockerfile_parse import DockerfileParser

from mhc_demo.cli import main

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60  # seconds until what hangs is ended; nothing should come near it
OWN = re.compile(r"(?<![\w./$])/(?=(?:opt|src|tmp)\b)")  # the folders that belong to the image


def instructions() -> list[tuple[str, str]]:
    with open(ROOT / "Dockerfile", "rb") as file:
        parsed = DockerfileParser(fileobj=file).structure
    return [(e["instruction"], e["value"]) for e in parsed if e["instruction"] != "COMMENT"]


def only(name: str) -> str:
    (value,) = [value for each, value in instructions() if each == name]
    return value


def settings() -> dict[str, str]:
    """The container's environment, as the last stage sets it."""
    (_, *_, last) = [value for name, value in instructions() if name == "ENV"]
    return dict(word.split("=", 1) for word in shlex.split(last))


def tool(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join((str(Path(sys.executable).parent), os.defpath)))
    if found is None:
        pytest.skip(f"{name} has no package for this machine")
    return found


def test_the_linter_finds_nothing() -> None:
    done = subprocess.run([tool("hadolint"), ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_small_and_unprivileged_and_has_a_health_check() -> None:
    bases = [value.split()[0] for name, value in instructions() if name == "FROM"]
    assert set(bases) == {"${BASE_IMAGE}"}
    default = next(v for name, v in instructions() if name == "ARG" and v.startswith("BASE_IMAGE"))
    assert re.fullmatch(r"BASE_IMAGE=python:3\.\d+\.\d+-slim-\w+", default)
    user, _, group = only("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert json.loads(only("ENTRYPOINT")) == ["mhc-demo", "serve"]
    assert only("STOPSIGNAL") == "SIGTERM"
    assert only("EXPOSE") == settings()["MHC_DEMO_SERVE_PORT"]
    assert "liveness" in only("HEALTHCHECK")


def test_what_the_container_sets_are_options_of_the_server(
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["x-server"]
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    text = capsys.readouterr().out
    names = [n for n in {**settings(), **server["environment"]} if n.startswith("MHC_DEMO_")]
    assert len(names) == 6
    for name in names:
        option = name.removeprefix("MHC_DEMO_SERVE_").lower().replace("_", "-")
        assert f"--{option} " in text


def test_compose_reads_its_file_and_the_proxy_its_own(tmp_path: Path) -> None:
    done = subprocess.run(
        [tool("docker-compose"), "--file", ROOT / "compose.yaml", "config", "--format", "json"],
        env={
            "PATH": os.defpath,
            "HOME": "/",
            "ORIGIN": "demo.example.org",
            "PORT": "8080",
            "MEMORY": "3g",
            "HALL_KEY": "k" * 16,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    proxy, broker = services.pop("proxy"), services.pop("broker")
    port = settings()["MHC_DEMO_SERVE_PORT"]
    assert proxy["environment"]["UPSTREAMS"].split() == [f"{name}:{port}" for name in services]
    assert proxy["ports"][0]["published"] == "8080"
    assert len(services) > 1
    for each in services.values():
        origin = each["environment"]["MHC_DEMO_SERVE_ALLOW_WEBSOCKET_ORIGIN"]
        assert origin == "demo.example.org"
        assert each["read_only"]
        assert "ports" not in each  # the proxy is the only way in
        assert float(each["cpus"]) <= 1  # an engine refuses more than its machine has
        assert each["mem_limit"] == each["memswap_limit"] == str(3 << 30)
        assert each["pids_limit"] > 0
        assert each["environment"]["MHC_DEMO_SERVE_HALL_KEY"] == "k" * 16
        assert each["environment"]["MHC_DEMO_SERVE_BROKER"] == "redis://broker:6379"
        assert each["networks"].keys() == {"default", "hall"}
        assert each["build"]["args"]["EXTRAS"] == "broker"
    assert re.fullmatch(r"valkey/valkey:\d+\.\d+\.\d+-alpine", broker["image"])
    assert broker["read_only"]
    assert broker["cap_drop"] == ["ALL"]
    assert broker["networks"].keys() == {"hall"}  # which nobody reaches but the servers
    assert json.loads(done.stdout)["networks"]["hall"]["internal"]
    assert "networks" not in proxy or proxy["networks"].keys() == {"default"}
    assert "ports" not in broker
    assert {"mem_limit", "cpus", "pids_limit"} <= broker.keys()
    assert re.fullmatch(r"caddy:\d+\.\d+\.\d+-alpine", proxy["image"])
    assert {name: on["condition"] for name, on in proxy["depends_on"].items()} == dict.fromkeys(
        services, "service_healthy"
    )
    assert proxy["healthcheck"]["test"][-1].endswith("/liveness")
    assert {"mem_limit", "cpus", "pids_limit"} <= proxy.keys()
    done = subprocess.run(
        [tool("caddy"), "validate", "--config", ROOT / "deploy/Caddyfile"],
        env={"HOME": str(tmp_path), **proxy["environment"]},
        capture_output=True,
        text=True,
    )
    assert "Valid configuration" in done.stderr + done.stdout


class Image:
    """What `docker build` makes of the Dockerfile, in the folder `root` that stands for /."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "image"
        self.stages: dict[str, Path] = {}  # finished ones, moved aside, by name
        self.arguments: dict[str, str] = {}
        self.environment: dict[str, str] = {}
        self.here = self.root
        carry_out = {
            "FROM": self._from,
            "ARG": self._arg,
            "ENV": self._env,
            "WORKDIR": self._workdir,
            "COPY": self._copy,
            "RUN": self._run,
        }
        name = ""
        for instruction, value in instructions():
            if instruction == "FROM" and self.root.exists():
                self.stages[name] = self.root.rename(folder / f"stage-{len(self.stages)}")
            if instruction == "FROM":
                name = value.partition(" AS ")[2]
            if instruction in carry_out:
                carry_out[instruction](value)

    def within(self, text: str) -> str:
        """`text` with the image's own paths in the folder."""
        return OWN.sub(f"{self.root}/", text)

    def _from(self, _: str) -> None:
        self.root.mkdir()
        (self.root / "tmp").mkdir()
        python = Path(sys.executable).parent
        outside = ("HOME", "LANG", "SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if name.startswith("PIP_") or name.upper() in outside
        } | {"PATH": f"{python}:{os.defpath}"}
        self.here = self.root

    def _arg(self, value: str) -> None:
        name, equals, default = value.partition("=")
        if equals:  # else it is unset until --build-arg sets it
            self.arguments[name] = default.strip('"')

    def _env(self, value: str) -> None:
        for word in shlex.split(value):
            name, _, setting = word.partition("=")
            expanded = string.Template(self.within(setting)).substitute(self.environment)
            self.environment[name] = expanded

    def _workdir(self, value: str) -> None:
        self.here = Path(self.within(value))
        self.here.mkdir(parents=True)

    def _copy(self, value: str) -> None:
        *sources, target = shlex.split(value)
        if sources[0].startswith("--from="):
            stage = self.stages[sources[0].removeprefix("--from=")]
            assert len(sources) == 2
            shutil.copytree(
                stage / sources[1].lstrip("/"), Path(self.within(target)), symlinks=True
            )
            return
        for file in context():
            for source in sources:
                if file == Path(source) or Path(source) in file.parents:
                    inside = file.relative_to(source) if file != Path(source) else file.name
                    copy = self.here / target / inside
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / file, copy)

    def _run(self, value: str) -> None:
        done = subprocess.run(
            ["sh", "-c", self.within(value)],
            cwd=self.here,
            env=self.arguments | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout

    def files(self) -> set[Path]:
        return {path for path in self.root.rglob("*") if not path.is_dir()}


def context() -> list[Path]:
    """What .dockerignore leaves of this checkout."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    ignored = pathspec.PathSpec.from_lines("gitignore", lines)
    return [
        path.relative_to(ROOT)
        for top in ROOT.iterdir()
        if top.name not in (".git", ".venv")
        for path in ([top] if top.is_file() else top.rglob("*"))
        if path.is_file() and not ignored.match_file(path.relative_to(ROOT))
    ]


def test_the_context_holds_what_is_copied_and_no_more() -> None:
    left = {path.parts[0] for path in context()}
    copied = {
        source
        for name, value in instructions()
        if name == "COPY" and "--from" not in value
        for source in shlex.split(value)[:-1]
    }
    assert left == copied


@contextlib.contextmanager
def container(image: Image, **settings: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        json.loads(only("ENTRYPOINT")),
        cwd=image.root,
        env=image.environment | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def healthy(image: Image, **settings: str) -> bool:
    command = json.loads(only("HEALTHCHECK").partition("CMD ")[2])
    done = subprocess.run(
        command, env=image.environment | settings, capture_output=True, timeout=PATIENCE
    )
    return done.returncode == 0


@pytest.mark.long
def test_the_steps_of_the_dockerfile_give_a_server_that_answers_and_stops(tmp_path: Path) -> None:
    image = Image(tmp_path)
    assert {path.name for path in image.root.iterdir()} == {"opt", "tmp"}  # no sources, no caches
    assert not list(image.root.glob("opt/venv/lib/*/site-packages/torch"))
    before = image.files()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    asked = {
        "MHC_DEMO_SERVE_PORT": port,
        "MHC_DEMO_SERVE_ALLOW_WEBSOCKET_ORIGIN": "a.example.org b.example.org:8080",
        "MHC_DEMO_SERVE_DEPTH": "32",
    }
    assert not healthy(image, **asked)
    with container(image, **asked) as server:
        end = time.monotonic() + PATIENCE
        while not healthy(image, **asked):
            assert server.poll() is None, server.communicate()
            assert time.monotonic() < end
        assert server.stdout is not None
        assert f":{port}/app?depth=32 " in server.stdout.readline()

        def get(path: str, **headers: str) -> tuple[int, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=PATIENCE)
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            status = answer.status
            body = answer.read() if status != 101 else b""
            connection.close()
            return status, body

        status, page = get("/app")
        assert status == 200
        assert b"mHC: why stacked mixing explodes" in page
        for script in ("slices.js", "plots.js"):
            sent = get(f"/static/extensions/mhc-demo/{script}")
            assert sent == (200, (ROOT / "static" / script).read_bytes())
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        for origin, welcome in (
            ("http://a.example.org", True),
            ("http://b.example.org:8080", True),
            ("http://b.example.org", False),
            ("http://c.example.org", False),
        ):
            token = json.loads(get("/app/token", **{"Mhc-Wanted": "1"})[1])["token"]
            upgrade["Sec-WebSocket-Protocol"] = f"bokeh, {token}"
            status, _ = get("/app/ws", Origin=origin, **upgrade)
            assert status == (101 if welcome else 403), origin
        server.send_signal(signal.Signals[only("STOPSIGNAL")])
        server.communicate(timeout=PATIENCE)
    assert server.returncode == 0
    assert image.files() == before  # it runs on a read-only file system
