"""The command line says what it can do, refuses what it cannot, and serves the page.

Where a process matters (what it imports, what it prints, how it ends) the test starts a real one.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import param
import pytest

import mhc_demo
from mhc_demo.app.state import State
from mhc_demo.cli import COMMANDS, main
from mhc_demo.cli.options import flag, from_environment, plain, state_parameters
from mhc_demo.cli.serve import _origins, page_url
from mhc_demo.numerics import devices
from mhc_demo.numerics.projections import PROJECTIONS

PATIENCE = 60  # seconds until a process that hangs is ended; none should come near it


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=PATIENCE
    )


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The last line on standard error of arguments that are refused with exit code 2."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_the_command_line_imports_nothing_heavy() -> None:
    heavy = "{'numpy', 'xarray', 'param', 'bokeh', 'panel', 'torch'}"
    done = run("-c", f"import sys, mhc_demo.cli; print({heavy} & set(sys.modules))")
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_help_lists_every_command_and_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"^ +{name}( |$)", text, re.MULTILINE) for name in COMMANDS)
    assert "mhc-demo serve --show" in text


def test_help_of_serve_gives_each_option_with_its_range_and_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name, parameter in state_parameters().items():
        assert f"{flag(name)} " in text
        assert f"{parameter.label}. {parameter.doc}" in text
    assert "0 to 30 (default: 1)" in text
    assert ",".join(PROJECTIONS) in text.replace(" ", "")  # lines break at hyphens


def test_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"mhc-demo {mhc_demo.__version__}\n"


def test_no_command_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert "COMMAND" in refusal(capsys)


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--spread", "inf", " to "),
        ("--spread", "nan", " to "),
        ("--depth", "64.5", "a whole number"),
        ("--spread", "wide", "a number"),
        ("--init", "xavier", "gaussian, identity"),
        ("--projection", "sinkhorn-knopp", ", ".join(PROJECTIONS)),
        ("--definition", "both", "paper, worst-case"),
        ("--own", "1,2,3", "n at most 8"),
        ("--own", "1,2,3,1e5", "-10000 to 10000"),
        ("--theme", "sepia", "light, dark"),
        ("--port", "70000", "0 to 65535"),
        ("--num-procs", "-2", "0 to 1024"),
        ("--allow-websocket-origin", "http://example.org", "host name or name:port"),
        ("--allow-websocket-origin", "::1", "an IPv6 address in brackets"),
        ("--allow-websocket-origin", "[::g]:5006", "an IPv6 address in brackets"),
        ("--prefix", "/a b", "a path such as /mhc"),
        ("--prefix", "/mhc/../x", "a path such as /mhc"),
    ],
)
def test_a_bad_value_is_refused_by_its_option_with_what_is_allowed(
    capsys: pytest.CaptureFixture[str], option: str, value: str, allowed: str
) -> None:
    message = refusal(capsys, "serve", option, value)
    assert f"argument {option}: " in message
    assert value in message
    assert allowed in message


@pytest.mark.parametrize("side", [0, 1], ids=["below", "above"])
@pytest.mark.parametrize(
    "name", [name for name, p in state_parameters().items() if isinstance(p, param.Number)]
)
def test_a_number_out_of_range_is_refused_with_its_range(
    capsys: pytest.CaptureFixture[str], name: str, side: int
) -> None:
    bounds = State.param[name].bounds
    value = plain(bounds[side] + (-1, 1)[side])
    message = refusal(capsys, "serve", flag(name), value)
    low, high = map(plain, bounds)
    assert f"argument {flag(name)}: {value} is out of range ({low} to {high})" in message


def test_a_projection_that_has_too_many_streams_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    most = PROJECTIONS["mhc-lite"].sizes.nearest(16, 16)
    message = refusal(capsys, "serve", "--projection", "mhc-lite", "--streams", "16")
    assert f"argument --streams: choose {most}, because this projection takes at most" in message


def test_more_members_than_a_device_may_compute_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = refusal(capsys, "serve", "--members", "100000")
    assert "argument --members: choose 256, the most" in message
    assert "NumPy" in message


def test_a_device_that_is_missing_is_refused_with_the_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    devices._no_torch.cache_clear()
    message = refusal(capsys, "serve", "--device", "cpu")
    devices._no_torch.cache_clear()
    assert "argument --device: cpu is not available: PyTorch is not installed" in message


def test_the_environment_sets_options_and_the_command_line_overrides_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MHC_DEMO_SERVE_DEPTH", "64.5")
    assert "argument --depth: '64.5' is not a whole number" in refusal(capsys, "serve")
    monkeypatch.setenv("MHC_DEMO_SERVE_DEPTH", "64")
    assert "argument --depth: 0 is out of range" in refusal(capsys, "serve", "--depth", "0")
    monkeypatch.setenv("MHC_DEMO_SERVE_ALLOW_WEBSOCKET_ORIGIN", "a.example.org http://b")
    assert "'http://b' is not a host name" in refusal(capsys, "serve")
    monkeypatch.setenv("MHC_DEMO_SERVE_ALLOW_WEBSOCKET_ORIGIN", " ")
    monkeypatch.setenv("MHC_DEMO_SERVE_PROT", "80")
    assert "unrecognized arguments: --prot 80" in refusal(capsys, "serve")


def test_variables_that_kubernetes_sets_for_a_service_of_our_name_are_no_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MHC_DEMO_PORT", "tcp://10.0.0.1:5006")
    monkeypatch.setenv("MHC_DEMO_SERVICE_PORT", "5006")
    assert from_environment("serve") == []


def test_an_option_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--dept" in refusal(capsys, "serve", "--dept", "3")  # no abbreviations


def test_every_parameter_of_the_page_s_link_is_an_option_and_back() -> None:
    given = {name: parameter.default for name, parameter in state_parameters().items()}
    given |= {"depth": 3, "spread": 0.1, "projection": "rows"}
    state = State()
    state.read(parse_qs(urlsplit(page_url("localhost", 5006, given)).query))
    assert state.notices == []
    assert {name: getattr(state, name) for name in given} == given


@pytest.mark.parametrize(
    "command", [["serve"], ["surface", "-o", "a.csv"], ["export", "a.html"]], ids=lambda c: c[0]
)
def test_an_option_of_another_init_is_refused(command, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--shared", "0.5"])
    assert ended.value.code == 2
    assert "argument --shared: --init gaussian has none; --init shared has" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("spread", [1.0, 0.1 + 0.2, 1 / 3, 1e-4 / 3, 1e-9])
def test_a_number_in_the_link_is_one_that_the_page_reads(spread: float) -> None:
    state = State()
    state.read(parse_qs(urlsplit(page_url("localhost", 5006, {"spread": spread})).query))
    assert state.notices == []
    assert state.spread == pytest.approx(spread, rel=1e-11)  # the link carries 12 digits


@pytest.mark.parametrize(
    ("address", "state", "url"),
    [
        ("localhost", {}, "http://localhost:5006/app"),
        ("0.0.0.0", {}, "http://localhost:5006/app"),
        ("", {"depth": 64}, "http://localhost:5006/app?depth=64"),
        ("::", {"depth": 1}, "http://localhost:5006/app?depth=1"),
        ("::1", {}, "http://[::1]:5006/app"),
        ("fe80::1%eth0", {}, "http://[fe80::1%25eth0]:5006/app"),
        (
            "demo.example.org",
            {"depth": 64, "spread": 1.0, "definition": "worst-case"},
            "http://demo.example.org:5006/app?depth=64&spread=1&definition=worst-case",
        ),
        ("localhost", {"init": "a b&c"}, "http://localhost:5006/app?init=a+b%26c"),
    ],
)
def test_the_link_holds_the_given_options_and_no_more(
    address: str, state: dict[str, object], url: str
) -> None:
    assert page_url(address, 5006, state) == url


def test_the_link_contains_the_prefix() -> None:
    assert page_url("localhost", 1, {"depth": 2}, "/mhc") == "http://localhost:1/mhc/app?depth=2"


def test_an_address_with_an_interface_is_no_origin() -> None:
    options = argparse.Namespace(address="fe80::1%eth0", allow_websocket_origin=["[2001:db8::1]"])
    own = {"localhost:1", "127.0.0.1:1"}
    assert set(_origins(options, 1)) == own | {"[2001:db8::1]"}


def test_a_port_that_is_taken_is_named_in_one_line() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = run("-m", "mhc_demo.cli", "serve", "--port", port)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith(f"mhc-demo: port {port} is taken")
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_an_address_of_another_machine_is_named_in_one_line() -> None:
    # 192.0.2.0/24 is kept for documentation (RFC 5737): no machine has it.
    done = run("-m", "mhc_demo.cli", "serve", "--address", "192.0.2.1", "--port", "0")
    assert done.returncode == 1
    assert "mhc-demo: cannot listen on 192.0.2.1, port 0: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(
    params=[
        pytest.param("1", id="one process"),
        pytest.param("2", id="two processes", marks=pytest.mark.long),
    ]
)
def server(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    command = ["serve", "--port", "0", "--depth", "64", "--num-procs", request.param]
    process = subprocess.Popen(
        [sys.executable, "-m", "mhc_demo.cli", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    yield process
    watchdog.cancel()
    process.kill()
    process.communicate()


class _StayHere(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def _redirected(address: str) -> str:
    with pytest.raises(urllib.error.HTTPError) as redirect:
        urllib.request.build_opener(_StayHere).open(address, timeout=PATIENCE)
    with redirect.value as answer:  # it holds the connection
        return answer.headers["Location"]


@pytest.mark.parametrize(
    "stop", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_serve_prints_the_link_answers_it_and_stops_quietly(
    server: subprocess.Popen[str], stop: signal.Signals
) -> None:
    assert server.stdout is not None
    line = server.stdout.readline()
    found = re.search(r"(http://localhost:\d+)/app\?depth=64 ", line)
    assert found, line
    for path in ("app?depth=64", "liveness"):
        with urllib.request.urlopen(f"{found[1]}/{path}", timeout=PATIENCE) as page:
            assert page.status == 200
    # The root keeps the query of a link, and without one uses the command's.  Its redirection is
    # relative, as a proxy may have it under another path.
    assert _redirected(f"{found[1]}/?depth=64") == "app?depth=64"
    assert _redirected(f"{found[1]}/?seed=7") == "app?seed=7"
    assert _redirected(f"{found[1]}/") == "app?depth=64"
    assert _redirected(f"{found[1]}/app/?seed=7") == "../app?seed=7"
    server.send_signal(stop)
    out, err = server.communicate(timeout=PATIENCE)  # returns when the last process has ended
    assert server.returncode in (0, 130)  # 130 by the shells' convention: interrupted
    assert out == ""
    assert "Traceback" not in err


FILE = ["export", "-", "--max-depth", "1", "--max-iterations", "0"]
FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a device for it")


@pytest.mark.parametrize("unbuffered", ["", pytest.param("1", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "command", [FILE, ["--version"], pytest.param(["export", "FILE"], marks=pytest.mark.long)]
)
def test_a_reader_that_closes_the_output_gets_no_complaint(
    tmp_path: Path, command: list[str], unbuffered: str
) -> None:
    command = [str(tmp_path / "a.html") if word == "FILE" else word for word in command]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "mhc_demo.cli", *command],
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.long
@FULL
@pytest.mark.parametrize("command", [FILE, ["--version"]])
def test_standard_output_that_cannot_be_written_is_named_in_one_line(command: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mhc_demo.cli", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    reason = os.strerror(errno.ENOSPC)
    assert done.stderr == f"mhc-demo: cannot write standard output: {reason}\n"
    assert done.returncode == 1


@pytest.mark.long
@FULL
def test_the_exit_code_tells_of_a_failure_that_cannot_be_written(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing" / "a.html")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mhc_demo.cli", "export", missing], stdout=full, stderr=full
        )
    assert done.returncode == 1


@pytest.mark.long
def test_a_file_on_standard_output_is_utf_8_whatever_the_encoding() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mhc_demo.cli", *FILE, "--title", "Σ"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "<title>Σ</title>" in done.stdout.decode("utf-8")


def ended(*lines: str) -> subprocess.CompletedProcess[str]:
    """A process that runs a command of these lines, to which `signal_me` sends a signal."""
    return run(
        "-c",
        "import os, signal, sys\n"
        "from mhc_demo.cli.ending import as_process\n"
        "def signal_me(name): os.kill(os.getpid(), getattr(signal, name))\n"
        "def command():\n    " + "\n    ".join([*lines, "return 0"]) + "\n"
        "sys.exit(as_process(command))",
    )


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_second_signal_does_not_interrupt_the_cleaning_up_after_the_first(
    name: str, code: int
) -> None:
    clear = "    except OSError: signal_me('SIGINT'); print('cleared up')"
    done = ended(f"try: signal_me({name!r})", "finally:", "    try: open('/missing/file')", clear)
    assert (done.returncode, done.stdout, done.stderr) == (code, "cleared up\n", "")


def test_a_signal_swallowed_by_a_library_can_be_sent_again() -> None:
    done = ended("try: signal_me('SIGINT')", "except: pass", "signal_me('SIGINT')", "print('on')")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="terminals hang up on POSIX")
def test_a_closed_terminal_ends_a_command_unless_it_runs_under_nohup() -> None:
    assert ended("signal_me('SIGHUP')").returncode == 129
    ignore = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    code = "import signal, sys; from mhc_demo.cli.ending import as_process; "
    code += f"{ignore}; sys.exit(as_process(lambda: signal.raise_signal(signal.SIGHUP) or 7))"
    assert run("-c", code).returncode == 7


@pytest.mark.parametrize("origin", ["blog.example.org", "'none'", "https://a.org/x", "https://a;b"])
def test_an_invalid_origin_may_not_frame_the_page(
    capsys: pytest.CaptureFixture[str], origin: str
) -> None:
    message = refusal(capsys, "serve", "--frame-ancestors", origin)
    assert f"{origin!r} is not an origin such as https://blog.example.org" in message


def test_the_controls_of_an_embedded_page_are_separated_by_commas(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = refusal(capsys, "serve", "--embed", "--controls", "depth,volume")
    assert "argument --controls: 'volume' is not one of iterations, depth, streams" in message
    assert page_url("localhost", 1, {"controls": ["depth"]}).endswith("?controls=depth")
