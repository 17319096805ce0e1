"""Table 4 of the mHC paper as a plot: what widening the stream bought a 27B model.

Scores of different benchmarks cannot be compared with one another, only their differences from
the plain residual network: so that is what is drawn.  The scores themselves are on hover, in the
text alternative and in the file.
"""

from __future__ import annotations

from bokeh.models import ColumnDataSource, HoverTool, Range1d, Scatter, Segment
from bokeh.plotting import figure

from ..numerics.paper import MHC_PAPER, TABLE_4
from . import style
from .contents import Column, Series, described

METHODS = {"HC": style.HC, "mHC": style.PROJECTED}
NOTE = (
    f"Source: {MHC_PAPER}, Table 4. The 27B models alone: the paper prints no benchmarks of its "
    "smaller ones. mHC is ahead of HC on every benchmark but MATH."
)


def benchmarks_figure() -> figure:
    """The points by which HC and mHC are ahead of the residual network, benchmark by benchmark."""
    names = list(TABLE_4)
    p = style.plot(
        "benchmarks",
        "",
        "Points ahead of the residual network",
        (-0.5, len(names) - 0.5),
        y_range=Range1d(0, 9),
    )
    p.xaxis.ticker = list(range(len(names)))
    p.xaxis.major_label_overrides = dict(enumerate(names))
    p.xaxis.major_label_orientation = 0.6  # on a phone they would collide
    p.add_layout(style.identity_line())
    series = []
    for k, (method, colour) in enumerate(METHODS.items(), start=1):
        scores = [TABLE_4[name][k] for name in names]
        plain = [TABLE_4[name][0] for name in names]
        source = ColumnDataSource(
            {
                "benchmark": names,
                "at": [at + 0.12 * (2 * k - 3) for at in range(len(names))],
                "score": scores,
                "plain": plain,
                "ahead": [round(a - b, 1) for a, b in zip(scores, plain, strict=True)],
            }
        )
        stem = Segment(x0="at", x1="at", y0=0, y1="ahead", line_color=colour, line_width=5)
        style.draw(p, source, stem)
        dot = Scatter(
            x="at",
            y="ahead",
            size=17,
            marker="triangle" if method == "HC" else "circle",
            fill_color=colour,
            line_color=colour,
        )
        drawn = style.draw(p, source, dot)
        drawn.name = method
        tips = [
            ("", f"{method}, @benchmark"),
            ("score", "@score{0.0}"),
            ("residual", "@plain{0.0}"),
        ]
        p.add_tools(HoverTool(renderers=[drawn], tooltips=tips))
        columns = [
            Column("points ahead of the residual network", "ahead"),
            Column("score", "score"),
            Column("residual network", "plain"),
        ]
        benchmark = Column("benchmark", "benchmark", "label")
        series.append(Series(method, source, benchmark, columns, colour=colour))
    return described(p, "What HC and mHC bought a 27B model, by benchmark", *series)


def benchmarks_html() -> str:
    """The scores themselves, as a table."""
    rows = "".join(
        f"<tr><th scope=row>{name}</th>"
        + "".join(f"<td>{each:.1f}</td>" for each in scores)
        + "</tr>"
        for name, scores in TABLE_4.items()
    )
    heads = "".join(f"<th scope=col>{each}</th>" for each in ("", "Residual", *METHODS))
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
