"""What the page uses of Panel, panel-material-ui and Bokeh although they do not promise to keep it.

Each piece says why nothing public will do.  All were seen in Panel 1.9.4, panel-material-ui 0.16.6
and Bokeh 3.9.2; `tests/test_private_panel.py` names those that an upgrade breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import get_ident
from typing import Any, TypeVar

import panel as pn
import panel_material_ui as pmui
import param
from bokeh.application.application import SessionContext
from bokeh.core.has_props import HasProps
from bokeh.core.property import container
from bokeh.core.property.bases import ParameterizedProperty, Property
from bokeh.core.property.descriptors import PropertyDescriptor
from bokeh.core.property.either import Either
from bokeh.core.property.nothing import Nothing
from bokeh.core.property.singletons import Intrinsic, Undefined
from bokeh.core.property.wrappers import PropertyValueContainer
from bokeh.core.serialization import Serializer
from bokeh.document import Document
from bokeh.embed import bundle
from bokeh.model import DataModel, Model, util
from bokeh.server.server import Server
from bokeh.server.tornado import BokehTornado
from bokeh.settings import settings
from bokeh.util import callback_manager
from panel.io import document
from panel.io.server import WSHandler
from panel.io.state import set_curdoc
from panel.pane.markup import HTMLBasePane
from panel.reactive import Reactive, ReactiveCustomBase, Syncable
from panel.util import edit_readonly
from param.parameterized import no_instance_params
from tornado.httpserver import HTTPServer

Component = TypeVar("Component")

GATHERED = 1
"""Milliseconds for which changes from the browser are gathered."""


def prompt(component: Component) -> Component:
    """Have a component, or a class of them, pass on what the browser changes at once.

    Panel gathers changes for 50 ms, a third of what a change may take in all, and has no setting
    for it.  We gather them ourselves (`latest.py`, and the sliders in the browser).
    """
    component._debounce = GATHERED  # type: ignore[attr-defined]
    return component


class Idle(param.Parameterized):
    """What never works."""

    busy = param.Boolean(default=False)


def never_busy(page: pmui.Page) -> None:
    """Untie a page's busy state, which ours does not show, from the whole server's.

    The constructor ties it, and nothing public unties it: every page would be told of every
    visitor's work, and each closed page would stay in memory.  (To set it to a value would leave
    the tie's watcher behind.)
    """
    with edit_readonly(page):
        page.busy = Idle().param.busy


def load_components() -> None:
    """Load the script of panel-material-ui's components with the page, for this session.

    By itself the browser learns of it only when it meets the first component.
    """
    address = pmui.Page._render_esm(server=True).removeprefix("./")
    pn.config.js_modules = {"material": address}


def serve_folder(name: str, folder: Path) -> None:
    """Have every server of this process serve a folder, at static/extensions/NAME.

    `panel serve` serves no folder beside an app, but it does serve those of Bokeh's extensions.
    """
    bundle.extension_dirs[name] = folder


def hide_working_folder() -> None:
    """Keep the server's working folder out of its pages.

    Every page describes all widgets there are, with their defaults, and that folder is the default
    of one that we do not use.  A default of a model cannot be changed once its class is made.
    """
    selector = Model.model_class_reverse_map.get("FileSelector1")
    if selector is not None:
        selector.lookup("directory").property._default = ""


COMPONENTS = (
    pmui.Alert,
    pmui.Button,
    pmui.FloatSlider,
    pmui.IntSlider,
    pmui.Select,
    pmui.TextInput,
)
"""Components of the page whose parameters all pages share.  By default each component gets its own
copies, some seventy, as soon as they are looked at; none is changed here.  (Not the components of
our own, which follow parameters of the page: shared ones would keep every page in memory.)"""

CONTAINERS = (container.Dict, container.List, container.Set)

PLAIN = (type(None), bool, int, float, str, tuple)
"""Types of defaults that models can share."""


def hasten() -> None:
    """Do without work of Panel's and Bokeh's that a served page has no use for."""
    remember_defaults()
    remember_types_of_values()
    tag_own_data()
    answer_together()
    send_what_changed()
    count_no_work()
    # It reads the signature of every callback, ours and Panel's alike, in search of a wrong one.
    callback_manager._check_callback = lambda *args, **kwargs: None
    for component in COMPONENTS:
        no_instance_params(component)
    # Bokeh walks through the whole page once more, for mistakes that a developer may have made.
    settings.perform_document_validation = False
    # It looks for similar names whenever Panel asks a model for something that only some have.
    settings.perform_error_diagnostics = False
    # It asks the environment for this at every model that it writes.
    settings.serialize_include_defaults = settings.serialize_include_defaults()


def answer_together() -> None:
    """Have all that follows at once from a change in the browser go back in one message.

    By itself each parameter that follows sends a message of its own, for which Bokeh looks at all
    models of the page, and the system at every frame.
    """

    def change(self: Syncable, doc: Document) -> None:
        with set_curdoc(doc), hold():
            _change(self, doc)

    Syncable._change_event = change


def send_what_changed() -> None:
    """Have components work out the property that changes, and no other.

    With every change Panel asks the theme what it has to say of the component's style sheets, and
    a pane works out all its properties when its text changes.  The serializer of every message
    lists the models that the browser has.
    """

    def properties(self: Reactive, *events: param.parameterized.Event, doc: Document) -> Any:
        if any(event.name == "stylesheets" for event in events):
            return _properties(self, *events, doc=doc)
        return self._process_param_change({event.name: event.new for event in events})

    def text(self: HTMLBasePane, ref: str, model: Model) -> None:
        if self.enable_streaming:
            _text(self, ref, model)
        else:
            model.text = self._transform_object(self.object)["object"]

    Reactive._update_properties = properties
    HTMLBasePane._update = text
    patch_module.Serializer = PatchSerializer  # type: ignore[attr-defined]


def count_no_work() -> None:
    """Have Panel not count what it is about: a list that every change goes through four times.

    It is for indicators of the whole server's work, and no page of ours shows one (`never_busy`).
    """
    type(pn.state)._add_busy_event = lambda self, event_id: None
    type(pn.state)._remove_busy_event = lambda self, event_id: None


patch_module = import_module("bokeh.protocol.messages.patch_doc")
"""By its name, because the package has a class of that name too."""

_change = Syncable._change_event
_properties = Reactive._update_properties
_text = HTMLBasePane._update


class PatchSerializer(Serializer):
    """Refers to the models that a browser has without listing how it refers to each."""

    def __init__(self, *, references: Set[Model] = frozenset(), **options: Any) -> None:
        super().__init__(**options)
        self._there = references

    def get_ref(self, obj: Any) -> Any:
        """How the browser knows a model, or None."""
        found = super().get_ref(obj)
        return obj.ref if found is None and isinstance(obj, Model) and obj in self._there else found

    def has_ref(self, obj: Any) -> bool:
        """Whether the browser knows a model, by this message or before."""
        return self.get_ref(obj) is not None


def tag_own_data() -> None:
    """Have a component mark the model of its own data, and not look for others.

    Panel looks for them with every change of a component, in all that it contains: the frame of the
    page contains everything.  The marks are for parameters that are `Parameterized` themselves.
    """

    def mark(cls: type, data: Model, ref: str) -> None:
        if isinstance(data, DataModel) and (tag := f"__ref:{ref}") not in data.tags:
            data.tags.append(tag)

    ReactiveCustomBase._patch_datamodel_ref = classmethod(mark)


@contextmanager
def hold() -> Iterator[None]:
    """As `pn.io.hold(freeze=True)`: changes go to the browser together, in one message.

    But the whole page is walked through only if models were added or removed; Panel's own does so
    every time, which takes longer than most changes.
    """
    doc = pn.state.curdoc
    models = None if doc is None else doc.models
    if models is None or "invalidate" in vars(models):
        with pn.io.hold():
            yield
        return
    changed = False

    def note() -> None:
        nonlocal changed
        changed = True

    models.invalidate = note
    models._push_freeze()
    try:
        with pn.io.hold():
            yield
    finally:
        del models.invalidate
        models._freeze_count -= 1
        if changed:
            models.invalidate()


def remember_defaults() -> None:
    """Have Bokeh work out the defaults of a class once, not for every model.

    For each property of each model it goes through all base classes, copies the default and
    validates it: when the model is made, each time the document is walked, and when it is written,
    where all but the values that were set are then left out.  That was a third of a page's time,
    and no setting turns it off.
    """
    if HasProps.__init__ is _make:
        return
    HasProps.__init__ = _make  # type: ignore[method-assign, assignment]
    HasProps.query_properties_with_values = _values  # type: ignore[method-assign]
    HasProps._overridden_defaults = classmethod(cache(_overridden))  # type: ignore[assignment, arg-type]
    PropertyDescriptor._get = _get
    util.visit_immediate_value_references = _visit


_all_values = HasProps.query_properties_with_values
_overridden = HasProps._overridden_defaults.__func__  # type: ignore[attr-defined]
_get_anew = PropertyDescriptor._get
_visit_value = util.visit_value_and_its_immediate_references
_known_defaults: dict[tuple[type, str], Any] = {}


def remember_types_of_values() -> None:
    """Have Bokeh work out once what a fixed value of a glyph's property may be, such as a colour.

    It makes that type anew, with all that it consists of, whenever such a value is written.
    """
    for kind in (Either, ParameterizedProperty):
        kind.replace = _remembered(kind.replace)


def _remembered(replace: Callable[..., Property[Any]]) -> Callable[..., Property[Any]]:
    """A property's `replace` that remembers what it makes; the types of a property never change."""

    def remembered(
        self: Property[Any], old: type[Property[Any]], new: Property[Any]
    ) -> Property[Any]:
        if type(new) is not Nothing:
            return replace(self, old, new)
        known = self.__dict__.setdefault("_mhc_types", {})
        if old not in known:
            known[old] = replace(self, old, new)
        return known[old]

    return remembered


def _make(self: HasProps, **properties: Any) -> None:
    """As `HasProps.__init__`, but knows of which defaults each model needs its own.

    Empty lists and the like are made when they are asked for: they are not written anyway.
    """
    super(HasProps, self).__init__()
    self._property_values = {}
    self._unstable_default_values = {}
    self._unstable_themed_values = {}
    for name, value in properties.items():
        if value is not Undefined and value is not Intrinsic:
            setattr(self, name, value)
    for descriptor in _unstable(type(self)):
        if descriptor.name not in properties:
            descriptor._get(self)
    self._initialized = True


@cache
def _unstable(cls: type[HasProps]) -> list[PropertyDescriptor[Any]]:
    return [
        each
        for name in cls.properties(_with_props=True)
        if (each := cls.lookup(name)).has_unstable_default(cls)
        and not isinstance(getattr(each, "property", None), CONTAINERS)
    ]


def _get(self: PropertyDescriptor[Any], obj: HasProps) -> Any:
    """As `PropertyDescriptor._get`, but remembers the defaults that models can share."""
    held = obj.__dict__
    values, name = held.get("_property_values"), self.name
    if values is None:
        return _get_anew(self, obj)  # which raises
    if name in values:
        return values[name]
    themed = held.get("__themed_values__")
    if themed and name in themed:
        return _get_anew(self, obj)
    own = held["_unstable_default_values"]
    if name in own:
        return own[name]
    key = type(obj), name
    default = _known_defaults.get(key, Undefined)
    if default is Undefined:
        default = _get_anew(self, obj)
        if isinstance(default, PLAIN) and not self.has_unstable_default(obj):
            _known_defaults[key] = default
    return default


def _values(
    self: HasProps,
    query: Callable[[PropertyDescriptor[Any]], bool],
    *,
    include_defaults: bool = True,
    include_undefined: bool = False,
) -> dict[str, Any]:
    """As `HasProps.query_properties_with_values`, but looks only at what it returns."""
    set_, own = self._property_values, self._unstable_default_values
    if include_defaults or include_undefined or not _required(type(self)) <= set_.keys():
        return _all_values(  # which raises for a property that must be set
            self, query, include_defaults=include_defaults, include_undefined=include_undefined
        )
    themed = self.themed_values() or {}
    chosen = set_.keys() | own.keys() | themed.keys()
    result = {}
    for name in self.properties(_with_props=True):
        if name in chosen and query(descriptor := self.lookup(name)):
            value = descriptor.get_value(self)
            if name in themed or name not in own or not isinstance(value, PropertyValueContainer):
                result[name] = value
    return result


def _visit(value: Any, visitor: Callable[[Model], None]) -> None:
    """As `visit_immediate_value_references`, but of a model only looks at what it has of its own.

    Defaults that models share are no models.
    """
    if not isinstance(value, HasProps):
        _visit_value(value, visitor)
        return
    set_, own = value._property_values, value._unstable_default_values
    for name in value.properties_with_refs():
        if name in set_:
            _visit_value(set_[name], visitor)
        elif name in own:
            _visit_value(own[name], visitor)


@cache
def _required(cls: type[HasProps]) -> frozenset[str]:
    """The properties of a class that are written and have no default."""
    overridden = cls._overridden_defaults()
    return frozenset(
        name
        for name, each in cls.properties(_with_props=True).items()  # type: ignore[attr-defined]
        if each._default is Undefined and each.serialized and name not in overridden
    )


def leave_garbage() -> None:
    """Have Panel leave garbage alone: five seconds after each departure it would collect all.

    No setting prevents it, and while many pages are open it takes seconds.
    """
    document._garbage_collect = lambda: None


def document_of(session_context: SessionContext) -> Document:
    """The document of a session that is being created; it is public only afterwards."""
    return session_context._document


@contextmanager
def session_of(doc: Document) -> Iterator[None]:
    """Have Panel's state and settings be those of a page, on its own thread.

    Panel does this when it builds a page and calls its callbacks, not before.
    """
    pn.state._thread_id_[doc] = get_ident()
    with set_curdoc(doc):
        yield


def tornado_application(server: Server) -> BokehTornado:
    """The Tornado application of a server, for its routes and settings; `Server` shows neither."""
    return server._tornado


def http_server(server: Server) -> HTTPServer:
    """What takes a server's connections, for the number of them; `Server` does not show it."""
    return server._http


class SessionHandler(WSHandler):
    """Panel's websocket, with a public name for the step that opens a page's session.

    It is private in Bokeh and in Panel, and calls nothing that could be overridden instead.
    """

    async def open_session(self, token: str) -> None:
        """Find or build the session, and tell the browser that it is there."""
        await super()._async_open(token)

    async def _async_open(self, token: str) -> Any:
        await self.open_session(token)
