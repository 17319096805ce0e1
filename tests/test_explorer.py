"""The page as a Python object, without a browser."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import NoReturn

import numpy as np
import panel as pn
import pytest

import mhc_demo as mhc
from mhc_demo.app.components import BrowserWindow
from mhc_demo.app.controls import Controls
from mhc_demo.app.page import create
from mhc_demo.app.saving import Saving
from mhc_demo.app.state import State
from mhc_demo.app.views import VIEWS
from mhc_demo.numerics import devices
from mhc_demo.numerics.devices import DEVICES, Device
from mhc_demo.numerics.surface import MAX_DEPTH


def watchers_of_the_server() -> int:
    """What pn.state, which outlives every page, keeps alive."""
    held = pn.state._param__private.watchers
    return sum(len(watchers) for by_kind in held.values() for watchers in by_kind.values())


def test_a_page_leaves_nothing_behind_in_the_server() -> None:
    create()
    before = watchers_of_the_server()
    for _ in range(3):
        create()
    assert watchers_of_the_server() == before


def test_two_clicks_that_arrive_together_are_both_done() -> None:
    explorer = mhc.Explorer(scene="dial", present=True)
    explorer.story.param.update(scene="", present=False)  # Close the story, Leave
    assert (explorer.state.scene, explorer.state.present) == ("", False)


def test_a_browser_that_says_again_and_again_that_its_picture_stands_gets_nothing_more() -> None:
    page = create(State())
    (sidebar,) = page.sidebar
    window = next(iter(page.main[0].select(BrowserWindow)))
    for stands in (True, False, True, False, True):
        window.first_picture = stands
    assert len(sidebar) == 1
    assert len(list(page.main[0].select(Saving))) == 1


def test_the_explorer_follows_its_state() -> None:
    explorer = mhc.Explorer(members=3, streams=2)
    explorer.state.param.update(streams=3, seed=7)
    wanted = mhc.gain_surface(mhc.Experiment(members=3, streams=3, seed=7))
    np.testing.assert_array_equal(explorer.surface["log10_gain"], wanted["log10_gain"])
    held = explorer.table.data["forward.median"].reshape(31, MAX_DEPTH)
    np.testing.assert_allclose(
        held, wanted["log10_gain"].sel(direction="forward", series="median"), rtol=1e-6, atol=1e-7
    )
    assert not explorer.computing


def test_a_projection_that_takes_few_streams_lowers_them_with_a_notice() -> None:
    explorer = mhc.Explorer(members=1, streams=9)
    explorer.state.projection = "mhc-lite"
    assert explorer.state.streams == 6
    assert explorer.surface.attrs["projection"] == "mhc-lite"
    assert "Streams" in explorer.state.notices[0]


def test_unknown_or_impossible_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="colour"):
        mhc.Explorer(colour="red")
    with pytest.raises(ValueError, match="depth"):
        mhc.Explorer(depth=0)
    with pytest.raises(ValueError, match="mhc-lite"):
        mhc.Explorer(projection="mhc-lite", streams=9)


@pytest.mark.long
def test_a_device_computes_the_same_page(monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = mhc.Explorer(members=3, streams=3)
    before = explorer.surface
    explorer.state.device = "cpu"
    assert explorer.surface.attrs["device"].startswith("PyTorch")
    np.testing.assert_allclose(
        explorer.surface["log10_gain"], before["log10_gain"], rtol=0, atol=1e-12
    )
    for view in VIEWS:
        explorer.state.view = view
    account = Controls(explorer).account.object
    assert "PyTorch" in account
    assert f"{3 * MAX_DEPTH:,} matrices" in account


def test_a_device_that_is_not_there_is_shown_disabled_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(DEVICES, "cuda", replace(DEVICES["cuda"], missing=lambda: "no GPU here."))
    controls = Controls(mhc.Explorer(members=1))
    assert controls.device.disabled_options == ["cuda"]
    assert controls.device.helper_text == "PyTorch, CUDA: no GPU here."


@pytest.fixture
def no_pytorch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def forget() -> None:
        for reason in (devices._no_torch, devices._no_cuda):
            reason.cache_clear()

    forget()
    with monkeypatch.context() as small:
        small.setattr(devices, "find_spec", lambda name: None)
        yield
    forget()


def test_without_pytorch_the_devices_are_explained_in_one_line(no_pytorch: None) -> None:
    controls = Controls(mhc.Explorer(members=1))
    assert controls.device.disabled_options == ["cpu", "cuda"]
    assert controls.device.helper_text == "PyTorch is not installed (pip install torch)."


def test_leaving_a_device_leaves_its_large_ensembles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEVICES, "cpu", replace(DEVICES["cpu"], most_members=1000))
    explorer = mhc.Explorer(members=300, device="cpu", streams=1)
    controls = Controls(explorer)
    assert controls.members.end == 1000
    explorer.state.device = "numpy"
    assert explorer.state.members == controls.members.end == 256
    assert "256" in explorer.state.notices[0]


def failing(device: Device, after: float = 0.0) -> Device:
    """That device, there to be chosen and failing at its work."""

    def fail() -> NoReturn:
        time.sleep(after)
        raise RuntimeError("CUDA out of memory")

    return replace(device, missing=lambda: None, place=fail)


@pytest.mark.parametrize("members", [3, 300])
def test_a_device_that_fails_is_left_for_one_that_does_not(
    members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DEVICES, "cuda", failing(DEVICES["cuda"]))
    explorer = mhc.Explorer(members=3, streams=2)

    async def choose() -> None:
        explorer.state.param.update(device="cuda", members=members)
        await settled(explorer)

    asyncio.run(choose())
    assert not explorer.computing
    assert explorer.state.device == "numpy"
    assert explorer.state.members == explorer.surface.attrs["members"] == min(members, 256)
    assert "could not compute this" in explorer.state.notices[0]
    assert len(explorer.state.notices) == 1 + (members > 256)


def test_a_failure_that_was_overtaken_is_not_spoken_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEVICES, "cuda", failing(DEVICES["cuda"], after=0.3))
    explorer = mhc.Explorer(members=3, streams=2)

    async def change_one_s_mind() -> None:
        explorer.state.device = "cuda"
        await asyncio.sleep(0.1)
        explorer.state.param.update(device="numpy", seed=7)
        await settled(explorer)

    asyncio.run(change_one_s_mind())
    assert explorer.surface.attrs["seed"] == 7
    assert explorer.state.notices == []


def test_a_link_to_a_device_that_fails_opens_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEVICES, "cuda", failing(DEVICES["cuda"]))
    for view in VIEWS:
        explorer = mhc.Explorer(members=3, streams=2, device="cuda", view=view)
        assert explorer.surface.attrs["device"].startswith("NumPy")


def test_opening_a_view_does_not_hold_up_the_server() -> None:
    explorer = mhc.Explorer(members=2, streams=2)

    async def open_all() -> None:
        for view in VIEWS:
            explorer.state.view = view
            assert explorer.computing or view in explorer.stage.views
            await settled(explorer)
            assert explorer.stage.place.objects == [explorer.stage.views[view].content]

    asyncio.run(open_all())


async def settled(explorer: mhc.Explorer) -> None:
    """Wait until nothing is being computed."""
    for _ in range(1000):
        await asyncio.sleep(0.02)
        if not explorer.computing and not explorer._latest.running:
            return
    raise AssertionError("still computing")


def test_a_sliders_answer_counts_if_it_is_to_our_last_move() -> None:
    explorer = mhc.Explorer(depth=8, members=1)
    state, slider = explorer.state, explorer.depth
    state.depth = 4
    state.depth = 64
    slider.settled = "1 4"  # sent before the browser had heard of 64
    assert (state.depth, slider.value) == (64, 64)
    slider.settled = "2 64"
    assert (state.depth, slider.value) == (64, 64)
    # A move of the browser's own, made before it heard of 64, has arrived after it.
    slider.value = 10
    assert state.depth == 10
    slider.settled = "3 64"
    assert state.depth == 64
    for odd in ("4 1e3", "5 200", "6", "", "7 None"):
        slider.settled = odd
        assert state.depth == 64
