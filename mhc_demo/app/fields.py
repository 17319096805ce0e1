"""A field for a number of the state.

The widget library's own takes what is typed after Enter only once, and what is out of range not at
all, without a word; and its spin buttons have no names for a screen reader.
"""

from __future__ import annotations

from typing import Any

import panel_material_ui as pmui
import param

from .values import understood, written


def typed(state: param.Parameterized, name: str, **options: Any) -> pmui.TextInput:
    """A field that is tied to a number; what is typed is corrected or ignored, and that is said."""
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
        setattr(state, name, value)  # and `follow` shows it
        if notice:
            field.helper_text = notice

    def follow(event: param.parameterized.Event) -> None:
        field.param.update(value=written(event.new), helper_text="")

    field.param.watch(take, "value")
    state.param.watch(follow, name)
    return field
