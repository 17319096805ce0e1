"""A callback that fails: a sentence on the page, a trace in the log, and the page goes on."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from .conftest import ROOT, Explorer, await_server, free_port

pytestmark = pytest.mark.browser


@pytest.mark.long
def test_a_fault_is_told_once_and_the_page_goes_on(explorer: Explorer) -> None:
    port = free_port()
    faulty = str(Path(__file__).with_name("faulty.py"))
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(
            [sys.executable, faulty, "--port", str(port)], cwd=ROOT, stderr=log, text=True
        )
        try:
            await_server(server, f"http://localhost:{port}/liveness")
            page = explorer.open(f"http://localhost:{port}/app").page
            page.get_by_role("button", name="Shuffle").click()
            expect(page.get_by_text("Something went wrong here")).to_be_visible()
            spread = page.get_by_role("slider", name="Spread")
            spread.focus()
            spread.press("ArrowRight")
            expect(page).to_have_url(re.compile("seed=42&spread=1.1&"))
        finally:
            server.terminate()
            server.wait(20)
        log.seek(0)
        said = log.read()
    assert said.count("Traceback") == 1
    assert "KeyError: 'a fault of ours'" in said
