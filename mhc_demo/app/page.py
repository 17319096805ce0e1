"""The page that `panel serve app.py` and `mhc-demo serve` show: the explorer in a frame."""

from __future__ import annotations

import panel as pn
import panel_material_ui as pmui
import param
from panel.io.resources import LOCAL_DIST

from ..figures import style
from ..story import TITLE
from ._panel import hold, never_busy
from .controls import Controls
from .explorer import Explorer
from .following import bring
from .state import State
from .views.base import note

THEME = {
    theme: {"palette": {"primary": {"main": blue}}, "typography": {"fontFamily": style.FONT}}
    for theme, blue in style.ACCENT.items()
}

# A quiet frame: the numbers should be what the last row sees.
FRAME = {
    "& .header": {
        "display": "var(--mhc-bar, flex)",
        "backgroundColor": "background.paper",
        "backgroundImage": "none",
        "color": "text.primary",
        "boxShadow": "none",
        "borderBottom": "1px solid",
        "borderColor": "divider",
    },
    "& .main .MuiToolbar-root": {
        "display": "var(--mhc-bar, flex)",
        "minHeight": {"xs": 48, "sm": 52},
    },
    "& .header .MuiToolbar-root": {"minHeight": {"xs": 48, "sm": 52}},
    "& .header .MuiTypography-root": {
        "color": "text.primary",
        "fontSize": {"xs": "1rem", "sm": "1.2rem"},
        "fontWeight": 600,
        "lineHeight": 1.15,
    },
    "& .header > .MuiLinearProgress-root": {"display": "none"},
    "& .sidebar .MuiToolbar-root": {"minHeight": {"xs": 48, "sm": 52}},
    # On paper: all of the page's column, light, and nothing to press (see `PRINTED`).
    "@media print": {
        "&&": {"display": "block", "width": "auto", "height": "auto", "overflow": "visible"},
        "& .sidebar, & .MuiDrawer-root, & nav": {"display": "none"},
        "& main, & .main": {
            "display": "block",
            "width": "auto",
            "height": "auto",
            "margin": 0,
            "overflow": "visible",
            "background": "none",
            "filter": "var(--mhc-paper, none)",
            "printColorAdjust": "exact",
        },
    },
}


THEIRS = "The settings are the lecturer’s. To change them, explore on your own."
"""What stands in their place while one follows."""


def create(state: State | None = None) -> pmui.Page:
    """The page for one visitor, by default with the state of the link that they opened."""
    if state is None:
        state = State()
        state.read(pn.state.session_args)
        bring(state)
    # Panel sets this when it writes the page.  With several processes another one may have written
    # it; then this one, which has only the websocket, would load style sheets from another host.
    if pn.state.curdoc is not None:
        pn.state.curdoc.template_variables["dist_url"] = LOCAL_DIST
    explorer = Explorer(state)
    sidebar = pn.Column(sizing_mode="stretch_width", margin=0)
    if not state.embed:

        def add_controls(*_: object) -> None:
            if not sidebar.objects:
                with hold():
                    sidebar.append(note(THEIRS) if state.follow else Controls(explorer))

        explorer.window.param.watch(add_controls, "first_picture")
    page = pmui.Page(
        title=TITLE,
        sidebar=[sidebar],
        main=[explorer.main],
        sidebar_width=300,
        sidebar_resizable=False,
        sidebar_open=not (state.present or state.embed or state.follow),
        busy_indicator=None,
        dark_theme=state.dark,
        theme_config=THEME,
        sx=FRAME,
    )
    never_busy(page)
    if not state.embed:
        state.param.watch(lambda event: setattr(page, "sidebar_open", not event.new), "present")

    def themed(event: param.parameterized.Event) -> None:
        # Who asks for what the system has anyway goes on following it.
        chosen = "dark" if event.new else "light"
        theme = "auto" if event.new == explorer.window.system_dark else chosen
        with pn.io.hold():
            state.param.update(theme=theme, dark=event.new)

    def follow_system(event: param.parameterized.Event) -> None:
        if state.theme == "auto":
            page.dark_theme = event.new

    page.param.watch(themed, "dark_theme")
    explorer.window.param.watch(follow_system, "system_dark")
    return page
