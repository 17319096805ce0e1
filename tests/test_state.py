"""The state of the page and its URL, without a browser."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs

import param
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mhc_demo.app.controls import CONTROLS
from mhc_demo.app.guard import tidied
from mhc_demo.app.state import COMPUTED_PARAMETERS, LINK_NAMES, URL_PARAMETERS, State, limits
from mhc_demo.app.values import understood
from mhc_demo.app.views.cost import MODEL_PARAMETERS
from mhc_demo.lab import PRESETS, TASKS
from mhc_demo.numerics.devices import DEVICES
from mhc_demo.numerics.hardware import GPUS
from mhc_demo.numerics.projections import PROJECTIONS
from mhc_demo.numerics.surface import MAX_DEPTH


def arguments(query: str) -> dict[str, list[bytes]]:
    """A query's arguments as the server hands them over."""
    return {k: [v.encode() for v in values] for k, values in parse_qs(query.lstrip("?")).items()}


@given(
    depth=st.integers(1, MAX_DEPTH),
    iterations=st.integers(0, 30),
    streams=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
    spread=st.integers(0, 100).map(lambda k: k / 10),
    members=st.integers(1, 256),
    model_streams=st.integers(1, 64),
    model_width=st.integers(1, 2**20),
    model_layers=st.integers(100, 10_000),
    model_block=st.integers(1, 100),
    model_tokens=st.integers(1, 2**24),
    pipeline_ranks=st.integers(1, 64),
    tensor_ranks=st.integers(1, 64),
    link_bandwidth=st.integers(1, 10**5).map(lambda k: k / 10),
    microbatches=st.integers(1, 10_000),
    stage_forward=st.integers(1, 10**6).map(lambda k: k / 100),
    stage_weights=st.integers(0, 100).map(lambda k: k / 10),
    fused=st.booleans(),
    overlaps=st.booleans(),
    layer=st.integers(1, MAX_DEPTH),
    step=st.integers(0, 61),
    own=st.integers(0, 8).flatmap(
        lambda n: st.lists(
            st.integers(-(10**6), 10**6).map(lambda k: k / 100), min_size=n * n, max_size=n * n
        )
    ),
    data=st.data(),
)
def test_a_query_gives_back_the_state_that_wrote_it(data: st.DataObject, **values: int) -> None:
    chosen = ("init", "projection", "definition", "view", "theme", "model_precision", "gpu")
    chosen += ("schedule",)
    for name in chosen:
        values[name] = data.draw(st.sampled_from(list(State.param[name].objects)))
    sizes = PROJECTIONS[values["projection"]].sizes
    values["streams"] = sizes.nearest(values["streams"], 6)
    written = State(**values)
    read = State()
    read.read(arguments(written.query()))
    assert read.notices == []
    assert {n: getattr(read, n) for n in URL_PARAMETERS} == {
        n: getattr(written, n) for n in URL_PARAMETERS
    }


def test_a_link_carries_what_its_init_takes_and_nothing_of_other_inits() -> None:
    state = State(init="shared", shared=0.3)
    assert "&init=shared&" in state.query()
    assert "&shared=0.3&" in state.query()
    assert dict(state.key())["shared"] == 0.3
    read = State()
    read.read(arguments(state.query()))
    assert (read.notices, read.shared) == ([], 0.3)
    state.init = "gaussian"  # the 0.3 is remembered, but matters no more
    assert "shared" not in state.query()
    assert state.key() == State().key()
    read.read(arguments("?init=shared&shared=2"))
    assert read.shared == 1.0
    assert read.notices[0].startswith("Shared by all layers: ")


def test_a_parameter_renamed_in_links_is_understood_by_its_former_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(LINK_NAMES, "streams", ("n", "streams"))
    state = State(streams=3)
    assert "&n=3&" in state.query()
    assert "streams" not in state.query()
    for query, streams in (
        ("?n=5", 5),
        ("?streams=6", 6),
        ("?streams=6&n=7", 7),
        ("?n=7&streams=6", 7),
    ):
        read = State()
        read.read(tidied(arguments(query)))
        assert read.streams == streams
        assert read.notices == []


WORDS = sorted(
    {
        str(value)
        for name in URL_PARAMETERS
        if isinstance(State.param[name], param.Selector)
        for value in State.param[name].objects
    }
)
"""What the parameters take that are no numbers."""

TEXTS = st.one_of(
    st.text(max_size=20),
    st.integers(-(10**16), 10**16).map(str),
    st.floats().map(repr),
    st.sampled_from(WORDS),
    st.tuples(st.sampled_from(WORDS), st.text(max_size=4)).map("".join),
    st.lists(st.sampled_from(WORDS)).map(",".join),
    st.just("<img src=x onerror=alert(1)>"),
)
VALUES = st.one_of(TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary())
NAMES = st.one_of(*4 * [st.sampled_from(URL_PARAMETERS)], st.text(max_size=12))
LINKS = st.dictionaries(NAMES, st.lists(VALUES, min_size=1, max_size=2), min_size=1, max_size=8)


def possible_notices(state: State, unknown: int) -> set[str]:
    """Every notice that a link to this state can lead to, whatever else was in its text."""
    found = {
        "An unknown parameter in the link was ignored.",
        f"{unknown} unknown parameters in the link were ignored.",
    }
    said = {
        name: {understood(state.param[name], text)[1] for text in ("?", "-999999", "9" * 14)}
        for name in URL_PARAMETERS
    }
    for name, (most, why) in limits({n: getattr(state, n) for n in URL_PARAMETERS}).items():
        said[name].add(f"set to {state.streams if name == 'streams' else most}, {why}.")
    for device in DEVICES.values():
        said["device"].add(f"the one in the link cannot be had: {device.missing()}")
    return found | {
        f"{state.param[n].label}: {text}" for n, all_of in said.items() for text in all_of
    }


@given(LINKS)
def test_no_link_breaks_the_state_or_is_repeated(link: dict[str, list[bytes]]) -> None:
    state = State()
    state.read(link)
    assert State(**{n: getattr(state, n) for n in URL_PARAMETERS}).query() == state.query()
    unknown = len(link.keys() - set(URL_PARAMETERS))
    assert set(state.notices) <= possible_notices(state, unknown)


@given(
    st.sampled_from(["depth", "iterations", "streams", "seed", "spread", "members"]),
    st.one_of(st.integers(-(10**14), 10**14).map(str), st.floats().map(repr), st.text(max_size=8)),
)
def test_a_number_is_taken_clamped_or_ignored_with_a_notice(name: str, text: str) -> None:
    state = State()
    default = getattr(state, name)
    state.read({name: [text.encode("utf-8", "surrogatepass")]})
    low, high = state.param[name].bounds
    high, _ = limits(dict(state.key())).get(name, (high, ""))
    value = getattr(state, name)
    assert low <= value <= high
    if not state.notices:
        assert float(text) == value
    elif "ignored" in state.notices[0]:
        assert value == default
    else:
        assert value in (low, high)
        assert f"set to {value:g}" in state.notices[0] or f"set to {value}" in state.notices[0]


def test_good_values_beside_a_bad_one_are_kept() -> None:
    state = State()
    state.read(arguments("?depth=oops&seed=7&streams=3"))
    assert (state.depth, state.seed, state.streams) == (64, 7, 3)
    assert len(state.notices) == 1


def test_the_model_that_is_counted_is_in_the_link_when_it_is_another() -> None:
    state = State(model_streams=8, model_layers=100)
    written = arguments(state.query())
    assert {n: v for n, v in written.items() if n.startswith("model")} == {
        "model_streams": [b"8"],
        "model_layers": [b"100"],
    }
    assert "model" not in State().query()
    assert not set(MODEL_PARAMETERS) & set(COMPUTED_PARAMETERS)
    state.read(arguments("?model_width=0&model_layers=12&model_block=99&model_streams=x"))
    assert (state.model_streams, state.model_width, state.model_layers) == (8, 1, 12)
    assert state.model_block == 12
    assert state.notices == [
        "Expansion rate n: the value in the link was ignored; it must be a whole number.",
        "Width C: set to 1; it ranges from 1 to 1048576.",
        "Your block (layers): set to 12, the most that this model has.",
    ]
    state.reset()
    assert "model" not in state.query()


def test_the_machines_that_it_is_counted_on_are_in_the_link_when_they_are_others() -> None:
    state = State(gpu="h200", tensor_ranks=4, link_bandwidth=25.0, model_precision="float32")
    assert {n: v for n, v in arguments(state.query()).items() if n in MODEL_PARAMETERS} == {
        "gpu": [b"h200"],
        "tensor_ranks": [b"4"],
        "link_bandwidth": [b"25"],
        "model_precision": [b"float32"],
    }
    state.read(
        arguments(
            "?gpu=%3Cscript%3E&tensor_ranks=0&link_bandwidth=1e999&model_precision=int1"
            "&model_tokens=99999999999&pipeline_ranks=9&model_layers=6"
        )
    )
    assert (state.gpu, state.tensor_ranks, state.link_bandwidth) == ("h200", 1, 10_000)
    assert (state.model_tokens, state.pipeline_ranks) == (2**24, 6)
    assert state.notices == [
        f"Micro-batch (tokens): set to {2**24}; it ranges from 1 to {2**24}.",
        "Precision: the value in the link was ignored; it can be bfloat16, float32.",
        "Pipeline ranks: set to 6, the most that this model has.",
        "Tensor ranks: set to 1; it ranges from 1 to 64.",
        "Link (GB/s): set to 10000; it ranges from 0.1 to 10000.",
        f"GPU: the value in the link was ignored; it can be {', '.join(GPUS)}.",
    ]


def test_what_the_lab_trains_is_in_the_link_where_it_is_not_the_calm_preset() -> None:
    state = State()
    calm = PRESETS["calm"].settings().values_by_name()
    assert state.lab_settings().items() <= calm.items()
    assert "lab" not in state.query()
    state.param.update(lab_depth=96, lab_learning_rate=0.02, lab_task="text")
    assert state.query().endswith("&lab_task=text&lab_depth=96&lab_learning_rate=0.02")
    read = State()
    read.read(arguments(state.query()))
    assert read.lab_settings() == state.lab_settings() != calm
    read.read(arguments("lab_depth=500&lab_task=chess&lab_device=abacus"))
    assert (read.lab_depth, read.lab_task, read.lab_device) == (MAX_DEPTH, "text", "cpu")
    assert read.notices == [
        f"Lab: Task: the value in the link was ignored; it can be {', '.join(TASKS)}.",
        f"Lab: Depth (layers): set to {MAX_DEPTH}; it ranges from 1 to {MAX_DEPTH}.",
        "Lab: Device: the value in the link was ignored; it can be cpu, cuda.",
    ]
    read.scene = "dial"
    read.show_scene()
    assert read.lab_task == "text"  # the story is about something else
    read.reset()
    assert "lab" not in read.query()


def test_reset_restores_the_defaults_but_not_theme_and_view() -> None:
    state = State(depth=3, streams=2, view="mixing", theme="dark", projection="rows")
    state.reset()
    assert (state.depth, state.streams, state.projection) == (64, 4, "sinkhorn")
    assert (state.view, state.theme) == ("mixing", "dark")


@pytest.mark.parametrize(
    ("name", "value"), [("depth", 0), ("depth", MAX_DEPTH + 1), ("streams", 17), ("spread", -1.0)]
)
def test_the_state_itself_refuses_what_is_out_of_range(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        State(**{name: value})


def test_a_device_in_a_link_that_is_missing_is_ignored_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(DEVICES, "cuda", replace(DEVICES["cuda"], missing=lambda: "no GPU."))
    state = State()
    state.read(arguments("?device=cuda&members=100000&depth=3"))
    assert (state.device, state.members, state.depth) == ("numpy", 256, 3)
    assert "no GPU." in " ".join(state.notices)
    assert "Ensemble members: set to 256, the most that this page asks of NumPy." in state.notices


def test_a_gpu_may_compute_more_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEVICES, "cuda", replace(DEVICES["cuda"], missing=lambda: None))
    state = State()
    state.read(arguments("?device=cuda&members=100000"))
    assert (state.device, state.members, state.notices) == ("cuda", 100_000, [])


def test_a_link_names_the_controls_of_an_embedded_page():
    state = State()
    state.read({"embed": [b"1"], "controls": [b"depth,streams,depth"]})
    assert state.controls == ["depth", "streams"]
    assert state.query().endswith("&embed=1&controls=depth,streams")
    assert "embed" not in state.query(embedded=False)
    state.read({"controls": [b""]})
    assert state.controls == []
    state.read({"controls": [b"depth,<script>"]})
    assert state.controls == []
    (notice,) = state.notices
    assert notice.startswith("Controls: the value in the link was ignored; it can have any of iter")


def test_an_embedded_page_can_have_every_control_that_a_scene_can():
    assert set(State.param.controls.objects) == {"iterations", "depth", *CONTROLS}


def test_a_sliders_steps_leave_no_binary_dust() -> None:
    state = State()
    for value in (1.1, 1.2000000000000002, 1.5000000000000004):  # as five steps of 0.1 come
        state.spread = value
    assert state.spread == 1.5
    assert "spread=1.5&" in state.query()
    state.spread = 0.125
    assert state.spread == 0.125


def test_a_link_has_a_theme_only_if_somebody_chose_one() -> None:
    state = State()
    state.dark = True  # as the system is
    assert "theme" not in state.query()
    state.theme = "light"
    assert not state.dark
    assert "theme=light" in state.query()
    assert State(theme="dark").dark


def test_the_way_back_shows_what_a_link_showed_but_keeps_the_theme() -> None:
    state = State(theme="dark", depth=9, scene="sharp", seed=3)
    state.return_to({"depth": ["20"], "view": ["mixing"], "theme": ["light"], "seed": ["no"]})
    assert (state.depth, state.view, state.scene, state.theme) == (20, "mixing", "", "dark")
    assert state.seed == State().seed
    assert "Seed" in state.notices[0]
