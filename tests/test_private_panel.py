"""What `app/_panel.py` takes of Panel and Bokeh is still there, and still does what it is for.

A test that fails here after an upgrade names what has to be looked at in that file.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param
import pytest
from bokeh.core.property.dataspec import ColorSpec, DataSpec
from bokeh.core.property.descriptors import UnsetValueError
from bokeh.core.property.either import Either
from bokeh.core.property.nothing import Nothing
from bokeh.core.property.primitive import Bool, Int, String
from bokeh.core.property.singletons import Undefined
from bokeh.core.serialization import Serializer
from bokeh.document import Document
from bokeh.embed import bundle
from bokeh.model import DataModel, Model
from bokeh.models import LinearColorMapper, PanTool, Plot, Toolbar
from bokeh.server.tornado import BokehTornado
from bokeh.server.urls import toplevel_patterns
from panel.custom import ReactiveESM
from panel.io import document as panel_document
from panel.io.server import WSHandler
from panel.models.markup import HTML
from panel.reactive import Syncable
from tornado.httpserver import HTTPServer
from tornado.websocket import WebSocketProtocol13

from mhc_demo.app import _panel
from mhc_demo.app.components import Slider, Story


def test_a_component_waits_before_it_passes_on_a_change() -> None:
    assert Syncable._debounce == 50, "Panel gathers changes differently: `prompt`"
    waits: list[float] = []

    class Served:
        session_context = object()

        def add_timeout_callback(self, then: object, milliseconds: float) -> None:
            waits.append(milliseconds)

    document: Any = Served()
    for widget in (pmui.IntSlider(), _panel.prompt(pmui.IntSlider()), Slider(), Story()):
        widget._server_change(document, "", None, "value", 0, 1)
        pn.state._change_callbacks.pop(document)
    assert waits == [50, _panel.GATHERED, _panel.GATHERED, _panel.GATHERED], "`prompt`"


def test_the_busy_state_of_a_page_is_the_server_s_until_it_is_untied() -> None:
    busy = "panel-material-ui ties `Page.busy` differently: `never_busy`"
    assert pmui.Page.param.busy.readonly, busy
    assert "state.param.busy" in inspect.getsource(pmui.Page.__init__), busy
    before = server_watchers()
    page = pmui.Page()
    assert server_watchers() > before, busy
    _panel.never_busy(page)
    assert server_watchers() == before, busy
    assert page.busy is False


def server_watchers() -> int:
    """What pn.state, which outlives every page, keeps alive."""
    held = pn.state._param__private.watchers
    return sum(len(watchers) for by_kind in held.values() for watchers in by_kind.values())


def test_the_script_of_the_components_is_a_file_of_the_server() -> None:
    address = pmui.Page._render_esm(server=True)
    changed = f"panel-material-ui names its script {address!r}: `load_components`"
    path = address.removeprefix("./").partition("?")[0]
    assert path.startswith("static/extensions/panel-material-ui/"), changed
    folder = bundle.extension_dirs.get("panel-material-ui")
    if folder is not None:  # known since the first page was built
        assert (Path(folder) / Path(path).name).is_file(), changed


def test_folders_of_bokeh_s_extensions_are_served() -> None:
    (roots,) = (each[2]["root"] for each in toplevel_patterns if "extensions" in each[0])
    assert roots is bundle.extension_dirs, "Bokeh looks elsewhere: `serve_folder`"
    assert (Path(roots["mhc-demo"]) / "slices.js").is_file()


def test_no_page_tells_where_the_server_works() -> None:
    changed = "the model of the file selector is another one: `hide_working_folder`"
    assert "FileSelector1" in Model.model_class_reverse_map, changed
    _panel.hide_working_folder()
    folder = str(Path.cwd())
    told = [
        f"{name}.{prop}"
        for name, model in Model.model_class_reverse_map.items()
        for prop in model.properties()
        if model.lookup(prop).property._default == folder
    ]
    assert told == [], changed


def test_a_server_has_a_tornado_application_and_takes_connections() -> None:
    async def start() -> Any:
        return pn.serve({"app": pn.Row}, port=0, show=False, start=False, verbose=False)

    server = asyncio.run(start())
    try:
        application = _panel.tornado_application(server)
        assert isinstance(application, BokehTornado), "`tornado_application`"
        assert application.default_router.rules, "Tornado's routes: `guard.protect`"
        taking = _panel.http_server(server)
        assert isinstance(taking, HTTPServer), "`http_server`"
        assert callable(taking.handle_stream), "`guard.keep_some_files`"
    finally:
        _panel.http_server(server).stop()


def test_a_session_is_opened_by_a_step_that_can_be_overridden() -> None:
    changed = "Panel or Bokeh opens sessions differently: `SessionHandler`"
    assert inspect.iscoroutinefunction(WSHandler._async_open), changed
    assert "self._async_open" in inspect.getsource(WSHandler.__mro__[1].open), changed
    opened: list[str] = []

    class Ours(_panel.SessionHandler):
        async def open_session(self, token: str) -> None:
            opened.append(token)

    asyncio.run(Ours.__new__(Ours)._async_open("a token"))
    assert opened == ["a token"], changed


def test_closing_the_stream_of_a_wire_cuts_it() -> None:
    changed = "Tornado keeps the stream of a websocket elsewhere: `Line.resume`"
    assert "self.stream" in inspect.getsource(WebSocketProtocol13.is_closing), changed
    assert "StreamClosedError" in inspect.getsource(WebSocketProtocol13._receive_frame_loop), (
        changed
    )


WRITE_A_PAGE = """
import json, re, sys
from bokeh.document import Document
from mhc_demo.app import _panel
from mhc_demo.app.components import BrowserWindow
from mhc_demo.app.page import create
from mhc_demo.app.state import State
if sys.argv[1:]:
    _panel.hasten()
page = create(State())
document = page.server_doc(Document(), location=False)
page.select(BrowserWindow)[0].first_picture = True
known = {}
text = json.dumps(document.to_json().content, default=lambda buffer: len(buffer.data))
random = r"[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f-]{27}|in [\\d.]+ m?s\\b"  # names, a time
random += r'|(?<=[a-z])\\d{5}(?=")'  # what Param counts, the theme's files among it
text = re.sub(random, "", text)
text = re.sub(r"\\bp\\d{4,}", lambda m: known.setdefault(m[0], f"p{len(known)}"), text)
print(len(document.models), text)
"""


@pytest.mark.long
def test_a_page_made_in_haste_is_the_same_page() -> None:
    slow, quick = (
        subprocess.run(
            [sys.executable, "-c", WRITE_A_PAGE, *options],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for options in ([], ["quickly"])
    )
    assert slow.count('"type": "object"') > 100
    at = next((i for i, (a, b) in enumerate(zip(slow, quick, strict=False)) if a != b), len(slow))
    assert slow == quick, f"`hasten` leaves something out: {slow[at - 300 : at + 100]!r}"


def test_models_share_plain_defaults_and_nothing_that_can_be_changed() -> None:
    _panel.remember_defaults()
    one, other = Toolbar(), Toolbar()
    assert (one.visible, one.logo) == (other.visible, other.logo) == (True, "normal")
    one.tags.append("mine")
    one.tools.append(PanTool())
    assert (other.tags, other.tools) == ([], []), "`remember_defaults`"
    assert Plot().x_range is not Plot().x_range
    assert one.properties_with_values(include_defaults=False).keys() == {"tags", "tools"}
    assert one.properties_with_values() == {
        **other.properties_with_values(),
        "tags": ["mine"],
        "tools": one.tools,
    }
    assert one.references() == {one, *one.tools}
    one.visible = False
    assert (one.visible, other.visible) == (False, True)
    with pytest.raises(UnsetValueError):
        LinearColorMapper(palette=Undefined).properties_with_values(include_defaults=False)
    with pytest.raises(ValueError, match="expected"):
        one.visible = "maybe"


def test_a_page_is_walked_through_after_a_change_of_its_models_and_no_other() -> None:
    changed = "Bokeh recomputes the models of a document elsewhere: `hold`"
    document = Document()
    column = pn.Column(pn.pane.HTML("a"))
    with _panel.session_of(document):
        model = column.get_root(document)
        document.add_root(model)
        walks: list[int] = []
        recompute = document.models.recompute
        document.models.recompute = lambda: (walks.append(1), recompute())  # type: ignore
        with _panel.hold():
            column[0].object = "b"
            with _panel.hold():
                column[0].width = 7
        assert not walks, changed
        with _panel.hold():
            column.append(pn.pane.HTML("c"))
            column.append(pn.pane.HTML("d"))
            assert not walks, changed
        assert len(walks) == 1, changed
    assert len([each for each in document.models if isinstance(each, HTML)]) == 3, changed


def test_panel_leaves_garbage_alone() -> None:
    assert "_garbage_collect" in inspect.getsource(panel_document._destroy_document), (
        "Panel collects garbage elsewhere: `leave_garbage`"
    )
    collected: list[object] = []
    gc.callbacks.append(lambda phase, info: collected.append(info["generation"]))
    try:
        _panel.leave_garbage()
        panel_document._garbage_collect()
    finally:
        gc.callbacks.pop()
    assert 2 not in collected


def test_a_component_marks_its_own_data() -> None:
    _panel.tag_own_data()
    assert "_patch_datamodel_ref" in inspect.getsource(ReactiveESM._get_model), "`tag_own_data`"
    root = pmui.Row(pmui.Button(label="a")).get_root()
    data = [each for each in root.references() if isinstance(each, DataModel)]
    assert len(data) == 2
    assert all(each.tags == [f"__ref:{root.ref['id']}"] for each in data), "`tag_own_data`"


def test_the_type_of_a_fixed_value_is_made_once() -> None:
    _panel.remember_types_of_values()
    said = inspect.getsource(DataSpec.to_serializable)
    assert "value_type.replace(String, Nothing())" in said, "`remember_types_of_values`"
    colour = ColorSpec(default="black").value_type
    fixed = colour.replace(String, Nothing())
    assert fixed is colour.replace(String, Nothing()), "`remember_types_of_values`"
    assert fixed.is_valid((1, 2, 3))
    assert not fixed.is_valid("a column")
    either = Either(String, Int)
    assert not either.replace(String, Nothing()).is_valid("text")
    assert either.replace(String, Bool()).is_valid(True)


def test_components_of_a_served_page_share_their_parameters() -> None:
    shared = param.parameterized.no_instance_params(type("Shared", (pmui.Button,), {}))
    one, other = shared(), shared()
    assert one.param["label"] is other.param["label"], "`no_instance_params`"
    one.label = "mine"
    assert (one.label, other.label) == ("mine", "")


def test_what_follows_from_a_change_in_the_browser_is_held_together() -> None:
    _panel.answer_together()
    document = Document()
    held: list[Any] = []
    widget = pmui.TextInput()
    with _panel.session_of(document):
        document.add_root(widget.get_root(document))
    widget.param.watch(lambda _: held.append(document.callbacks.hold_value), "value")
    assert "_change_event" in inspect.getsource(Syncable._change_coroutine), "`answer_together`"
    widget._events = {"value": "a"}
    widget._change_event(document)
    assert held == ["combine"], "`answer_together`"
    assert document.callbacks.hold_value is None


def test_components_send_what_they_would_have_sent() -> None:
    _panel.send_what_changed()
    changed = "Panel works out what a component sends elsewhere: `send_what_changed`"
    slider = pmui.IntSlider(start=1, end=9, value=2)
    events = slider.param.watch(lambda *_: None, ["end", "visible"])
    made = [
        param.parameterized.Event("set", slider, type(slider), name, None, new, "changed")
        for name, new in (("end", 7), ("visible", False))
    ]
    slider.param.unwatch(events)
    for some in (made[:1], made):
        ours = slider._update_properties(*some, doc=None)
        assert ours == _panel._properties(slider, *some, doc=None), changed
    pane = pn.pane.HTML("<b>a</b>")
    model = pane.get_root()
    pane.object = "<i>b</i>"
    assert model.text == pane._get_properties(None)["text"], changed


def test_what_is_done_for_a_page_is_not_counted() -> None:
    counted = "Panel counts its work elsewhere: `count_no_work`"
    for name in ("_add_busy_event", "_remove_busy_event"):
        assert name in inspect.getsource(Syncable._process_events), counted
    _panel.count_no_work()
    pn.state._add_busy_event("a")
    pn.state._remove_busy_event("a")
    assert pn.state._busy_counter == [], counted
    assert pn.state.busy is False


def test_a_patch_refers_to_models_as_it_did() -> None:
    """To those that the browser has; what is new is written out."""
    changed = "Bokeh's serializer knows models in another way: `PatchSerializer`"
    document = Document()
    plot = Plot(toolbar=Toolbar())
    document.add_root(plot)
    document.models.flush_synced()
    written = []
    for serializer in (Serializer, _panel.PatchSerializer):
        there = document.models.synced_references
        assert plot.toolbar in there
        each = serializer(references=there)
        tool = PanTool()
        written.append(each.encode({"old": plot, "tools": [plot.toolbar, tool, tool]}))
        assert [each.has_ref(model) for model in (plot, tool, PanTool())] == [True, True, False]
        written[-1] = str(written[-1]).replace(tool.id, "the tool")
    assert written[0] == written[1], changed
    patches = _panel.patch_module
    assert patches.Serializer in (Serializer, _panel.PatchSerializer), changed
    assert "Serializer(" in inspect.getsource(patches.patch_doc.create), changed
