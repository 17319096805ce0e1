"""What a browser tells the server while it draws, although nobody asked.

Bokeh reports the size that each plot came out at, Panel what kind of browser it is, and the widget
library the colours and fonts that it gave to plots: some twenty messages for the first picture,
each of which the server takes in and acknowledges.  A visitor without a screen sends the same ones,
as they were seen to leave Chromium (Panel 1.9.4, panel-material-ui 0.16.6, Bokeh 3.9.2).
"""

from __future__ import annotations

from typing import Any

Values = dict[str, Any]

FONT = "system-ui, sans-serif"
INK, FAINT = "rgba(0, 0, 0, 0.87)", "rgba(0, 0, 0, 0.22)"

AXIS: Values = {
    "axis_line_color": FAINT,
    "major_tick_line_color": FAINT,
    "minor_tick_line_color": FAINT,
    "axis_line_alpha": 0,
    "major_tick_line_alpha": 0,
    "minor_tick_line_alpha": 0,
    "major_label_text_color": "rgba(0, 0, 0, 0.6)",
    "major_label_text_font": FONT,
    "axis_label_text_color": INK,
    "axis_label_text_font": FONT,
    "axis_label_standoff": 12,
}

TOLD: dict[str, list[Values]] = {
    "Figure": [
        {"inner_width": 0, "inner_height": 0, "outer_width": 0, "outer_height": 0},
        {"inner_width": 610, "inner_height": 347, "outer_width": 686, "outer_height": 400},
        {"background_fill_color": "#fff", "border_fill_color": "#fff"},
        {"inner_width": 603, "inner_height": 339},
    ],
    "Toolbar": [{"stylesheets": [".bk-right.bk-active { --highlight-color: #1468a3; }"]}],
    "Title": [
        {
            "text_color": INK,
            "text_font": FONT,
            "text_font_style": "normal",
        }
    ],
    "LinearAxis": [AXIS],
    "panel.models.browser.BrowserInfo": [
        {"dark_mode": False},
        {"device_pixel_ratio": 1},
        {"language": "en-US"},
        {"webdriver": True},
        {"timezone": "UTC"},
        {"timezone_offset": 0},
        {"webgl": True},
    ],
}
"""Messages about a model, by its class: what each says that its properties are now."""


def told(model: Values) -> list[list[Values]]:
    """The messages about one model, each a list of the events in a patch.

    >>> len(told({"type": "object", "name": "Figure", "id": "p1"}))
    4
    """
    return [
        [changed(model["id"], name, value) for name, value in values.items()]
        for values in TOLD.get(model["name"], ())
    ]


def changed(model: str, attribute: str, value: object) -> Values:
    """The event in a patch that sets a property of a model."""
    return {"kind": "ModelChanged", "model": {"id": model}, "attr": attribute, "new": value}


READY: Values = {
    "kind": "MessageSent",
    "msg_type": "bokeh_event",
    "msg_data": {"type": "event", "name": "document_ready", "values": {"type": "map"}},
}
"""The event by which Bokeh says that it has drawn the page; Panel sends nothing before it."""
