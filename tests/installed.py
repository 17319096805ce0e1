"""Tries the installed package where there is no repository: `python installed.py`.

It needs nothing but Python, so that it can be run in an environment that holds the package alone;
`test_project.py` and the release workflow run it.  Every command writes and serves what it should,
and a picture without a browser is refused with a sentence.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from importlib import metadata
from pathlib import Path

SCRIPTS = Path(sys.executable).parent
COMMAND = SCRIPTS / ("mhc-demo.exe" if os.name == "nt" else "mhc-demo")
PATIENCE = 180
"""Seconds that a command or a server may take, on a busy machine."""


def said(*arguments: str, status: int = 0) -> str:
    """What a command says; its exit status must be `status`."""
    # No browser is on this path, nor named.
    environment = {k: v for k, v in os.environ.items() if k not in ("MHC_BROWSER", "PYTHONPATH")}
    found = subprocess.run(
        [str(COMMAND), *arguments],
        env={**environment, "PATH": str(SCRIPTS)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    both = found.stdout + found.stderr
    assert found.returncode == status, f"{arguments}: {found.returncode}\n{both}"
    assert "Traceback" not in both, both
    return both


def check_the_package() -> None:
    """It is the installed one, with the version of its distribution."""
    import mhc_demo

    assert "site-packages" in mhc_demo.__file__, mhc_demo.__file__
    assert mhc_demo.__version__ == metadata.version("mhc-demo")
    assert said("--version").strip() == f"mhc-demo {mhc_demo.__version__}"


def check_files() -> None:
    """Files are written, and say what they should."""
    said("export", "gains.html")
    said("export", "story.html", "--story", "short")
    said("surface", "-o", "surface.csv")
    said("plot", "dial", "-o", "dial.html")
    for name in ("gains.html", "story.html", "dial.html"):
        text = Path(name).read_text("utf-8")
        assert text.startswith("<!DOCTYPE html>"), name
        assert "</html>" in text[-20:], name
    assert Path("surface.csv").read_text("utf-8").startswith("direction,")
    refusal = said("plot", "dial", "-o", "dial.png", status=1)
    assert "a browser has to draw it" in refusal, refusal
    assert not Path("dial.png").exists()


def check_server() -> None:
    """The page is served, with the scripts that it needs, and ends when it is told to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([str(COMMAND), "serve", "--port", str(port)])
    try:
        page = fetched(f"http://localhost:{port}/app", server)
        assert "<title>mHC" in page, page[:500]
        assert "mhc-first" in page, page[:500]
        alive = fetched(f"http://localhost:{port}/liveness", server)
        assert "true" in alive, alive
    finally:
        server.terminate()
        server.wait(PATIENCE)


def fetched(url: str, server: subprocess.Popen[bytes]) -> str:
    """What a server answers when it has started."""
    end = time.monotonic() + PATIENCE
    while True:
        assert server.poll() is None, "the server ended at once"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.read().decode()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        check_the_package()
        check_files()
        check_server()
        os.chdir("/")
    print("The installed package works.")
