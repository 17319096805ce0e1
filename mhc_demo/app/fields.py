"""A text field for a number of the state.

The widget library's own accepts a number and Enter only once, ignores a number out of range without
saying so, and has spin buttons without names for screen readers.
"""

from __future__ import annotations

from typing import Any

import panel_material_ui as pmui
import param

from ..numerics.projections import PROJECTIONS
from .values import understood, written


def projection_menu(parameter: param.Selector, **options: Any) -> pmui.Select:
    """A menu of the projections that a parameter allows, under the headings of their kinds."""
    groups: dict[str, dict[str, str]] = {}
    for title, name in parameter.names.items():
        groups.setdefault(PROJECTIONS[name].kind, {})[title] = name
    # Options and groups exclude each other, and the former would come from the parameter.
    return pmui.Select.from_param(parameter, options=[], groups=groups, size="small", **options)


def typed(state: param.Parameterized, name: str, **options: Any) -> pmui.TextInput:
    """A field tied to a number; text that does not fit is corrected or ignored, with a message."""
    parameter = state.param[name]
    field = pmui.TextInput(
        value=written(getattr(state, name)),
        **{"label": parameter.label, "description": parameter.doc, "size": "small", **options},
    )

    def take(event: param.parameterized.Event) -> None:
        now = getattr(state, name)
        if event.new == written(now):
            return
        value, notice = understood(parameter, event.new.replace(",", ""), "what was typed")
        if value is None or value == now:
            field.param.update(value=written(now), helper_text=notice)
            return
        setattr(state, name, value)  # `follow` shows it
        if notice:
            field.helper_text = notice

    def follow(event: param.parameterized.Event) -> None:
        field.param.update(value=written(event.new), helper_text="")

    field.param.watch(take, "value")
    state.param.watch(follow, name)
    return field
