"""The view "My model" without a browser: pieces become a file, a file figures or a sentence."""

from __future__ import annotations

import asyncio
import base64
import io
from typing import Any

import numpy as np
import pytest

import mhc_demo as mhc
from mhc_demo.app import dropping
from mhc_demo.app.dropping import BYTES_PIECE, Incoming, RefusedError

H = mhc.sample_mixing(depth=7, streams=3, members=4, init="identity", spread=0.3).astype("f4")


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def opened() -> tuple[mhc.Explorer, Any]:
    explorer = mhc.Explorer(members=2, streams=2, view="my-model")
    explorer.window.first_picture = True
    return explorer, explorer.stage.views["my-model"]


def drop(view: Any, name: str, data: bytes, number: int = 1) -> None:
    """Send a file as a browser does, and wait until it was read."""

    async def send() -> None:
        for at in range(0, max(len(data), 1), BYTES_PIECE):
            part = base64.b64encode(data[at : at + BYTES_PIECE]).decode()
            view.drop.piece = [number, name, part, at + BYTES_PIECE >= len(data)]
        for _ in range(500):
            if "Reading" not in view.status.object:
                return
            await asyncio.sleep(0.02)
        raise AssertionError("nothing came of it")

    view.drop.problem = ""
    asyncio.run(send())


def test_a_dropped_file_is_drawn_above_figure_8() -> None:
    explorer, view = opened()
    assert view.figures() == []
    before = explorer.state.query()
    drop(view, "<b>mine</b>.npz", npz(h_res=H))
    assert view.drop.problem == ""
    assert "&lt;b&gt;mine&lt;/b&gt;.npz" in view.status.object
    assert "<b>mine" not in view.status.object + view.figure8.object
    assert view.figure8.object.index("&lt;b&gt;mine") < view.figure8.object.index("<h3>HC</h3>")
    wanted = mhc.inspect(H).to_xarray()["composite_gain"]
    lines = {r.name: r for r in view.drawn.composite.renderers if r.name}
    found = lines["largest |sum|, forward"].data_source.data["forward_mean"]
    np.testing.assert_allclose(
        found, wanted.sel(definition="paper", direction="forward", series="mean"), rtol=1e-6
    )
    assert (view.slider.start, view.slider.end, view.slider.value) == (1, 7, 7)
    assert explorer.state.query() == before  # nothing of it is in the link
    view.slider.value = 2
    view.recut()
    assert view.drawn.matrices[0].title.text == "Layer 2"
    assert len(view._incoming.data) == 0


def test_a_file_that_is_wrong_gets_a_sentence_and_what_was_drawn_stays() -> None:
    _, view = opened()
    drop(view, "good.npz", npz(h_res=H))
    drawn = view.drawn
    drop(view, "bad.npz", npz(h_res=np.full((2, 3, 3), np.nan)), number=2)
    assert view.drop.problem == "bad.npz was not loaded. The array 'h_res' holds NaN or infinity."
    assert view.drawn is drawn
    assert "good.npz" in view.status.object
    view.drop.piece = [1]
    assert view.drop.problem == "What came was no file."


def test_a_file_in_pieces_comes_whole_and_a_later_one_replaces_it() -> None:
    def piece(number: int, data: bytes, last: bool) -> list[Any]:
        return [number, "name", base64.b64encode(data).decode(), last]

    incoming = Incoming(100)
    assert incoming.add(piece(1, b"half", False)) is None
    assert incoming.add(piece(2, b"one ", False)) is None
    assert incoming.add(piece(2, b"two", True)) == ("name", bytearray(b"one two"))
    assert incoming.data == b""
    with pytest.raises(RefusedError, match="still being read"):
        incoming.add(piece(3, b"too soon", True))
    incoming.done()
    incoming.add(piece(3, b"x" * 60, False))
    with pytest.raises(RefusedError, match="larger"):
        incoming.add(piece(3, b"x" * 60, False))
    assert incoming.data == b""
    for wrong in ([1, "n", "*not base64*", True], [1, "n", "A" * 3_000_000, True], None, "abcd"):
        with pytest.raises(RefusedError, match="no file"):
            incoming.add(wrong)


def test_all_visitors_together_send_only_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropping, "MOST_COMING", 150)
    first, second = Incoming(100), Incoming(100)
    part = base64.b64encode(b"x" * 90).decode()
    first.add([1, "a", part, False])
    with pytest.raises(RefusedError, match="too many files"):
        second.add([1, "b", part, False])
    first.forget()
    second.add([2, "b", part, False])
