"""Whole networks as a figure: the norm of their Jacobian beside that of H_res alone."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource, Line, Range1d, VArea
from bokeh.plotting import figure

from ..figures import style, words
from ..figures.contents import Column, Series, described, log10
from ..figures.curves import gain_hover
from ..figures.slices import depth_ticks
from ..numerics.numbers import in_html
from .colours import COLOURS
from .connections import CONNECTIONS, KINDS
from .evidence import recorded_runs
from .jacobian import EXAMPLES, MEASURES, STAGES, Floats, Jacobians
from .settings import PRESETS

TITLES = {
    "start": "before training",
    "explodes": "trained, “HC explodes”",
    "fails": "trained, “HC fails”",
}
WHOLE, ALONE = "jacobian", "composite"
SWATCHES = {"residual": "identity", "hc": "hc", "mhc": "projected"}
DASHES: dict[str, tuple[int, ...]] = {WHOLE: (), ALONE: (7, 4)}
SAID = {WHOLE: "whole network", ALONE: "H_res alone"}
EXPLAINED = {WHOLE: "whole network, with its branches", ALONE: "H_res alone"}
LABEL = "Growth from layer 1 to l"


def jacobian_figures(found: Jacobians) -> dict[str, figure]:
    """The norms against the layer, by stage: medians over the seeds, and from least to largest."""
    return {stage: _figure(found, stage) for stage in found.norms}


def jacobian_legend() -> list[words.Entry]:
    """What the lines are."""
    return [
        *((swatch, CONNECTIONS[name]) for name, swatch in SWATCHES.items()),
        *((style.Stroke(style.SHADE, DASHES[each]), title) for each, title in EXPLAINED.items()),
        ("band", "median, smallest and largest seed"),
    ]


def _figure(found: Jacobians, stage: str) -> figure:
    drawn = [
        (measure, name)
        for measure in (ALONE, WHOLE)
        for name in found.connections
        if measure == WHOLE or KINDS[name].mixes  # alone, the residual network's is the identity
    ]
    values = {each: found.norms[stage][each[0]][found.connections.index(each[1])] for each in drawn}
    layers = next(iter(values.values())).shape[-1]
    low, high = style.span_of(*values.values(), least=0.1)
    p = style.plot(
        f"jacobian-{stage}",
        f"Layer l ({TITLES[stage]})",
        LABEL,
        (0, layers + 1),
        y_range=Range1d(low, high),
    )
    style.powers_of_ten(p)
    p.xaxis.ticker = depth_ticks(8)
    p.add_layout(style.identity_line())
    series = []
    for (measure, name), norms in values.items():
        title = f"{CONNECTIONS[name]}, {SAID[measure]}"
        source = ColumnDataSource(
            {
                "layer": np.arange(1, layers + 1),
                "median": np.median(norms, axis=0),
                "least": norms.min(axis=0),
                "most": norms.max(axis=0),
            }
        )
        colour = COLOURS[name]
        band = VArea(x="layer", y1="least", y2="most", fill_color=colour, fill_alpha=0.12)
        style.draw(p, source, band)
        line = Line(
            x="layer", y="median", line_color=colour, line_width=3, line_dash=list(DASHES[measure])
        )
        renderer = style.draw(p, source, line)
        renderer.name = title
        gain_hover(
            p,
            [renderer],
            [("", title), ("median", "@{median}"), ("seeds", "@{least} … @{most}")],
            mode="mouse",
        )
        columns = [log10("median", "median"), log10("smallest", "least"), log10("largest", "most")]
        series.append(
            Series(
                title,
                source,
                Column("layer", "layer"),
                columns,
                band=True,
                colour=colour,
                dash=DASHES[measure],
            )
        )
    return described(p, f"{LABEL}, {TITLES[stage]}", *series)


def jacobian_table(found: Jacobians) -> str:
    """All measures of all layers together, as HTML: the median of the seeds, and their ends."""
    rows = ""
    for measure, title in MEASURES.items():
        for name in found.connections:
            cells = "".join(
                f"<td>{_ends(found.last(stage, measure, name))}</td>" for stage in found.norms
            )
            rows += f'<tr><th scope="row">{title}: {CONNECTIONS[name]}</th>{cells}</tr>'
    heads = "".join(
        f'<th scope="col">{found.layers(stage)} layers, {TITLES[stage]}</th>'
        for stage in found.norms
    )
    return (
        f'<div class="lab-results"><table class="cost-table"><caption>All layers: the median of '
        f"{len(found.seeds)} seeds (smallest to largest)</caption>"
        f'<thead><tr><th scope="col">Measure and network</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _ends(values: Floats) -> str:
    median, low, high = (in_html(float(f(values))) for f in (np.median, np.min, np.max))
    return f"{median} ({low} to {high})"


def jacobian_note(found: Jacobians) -> str:
    """What is measured, of which networks."""
    trained = []
    for preset, after in STAGES.values():
        if after:
            settings, runs = PRESETS[preset].settings(), recorded_runs(preset)
            trained.append(
                f"“{PRESETS[preset].title}” ({settings.depth} layers, learning rate "
                f"{settings.learning_rate:g}; of {len(runs.seeds)} recorded seeds HC learned in "
                f"{runs.learned('hc')}, mHC in {runs.learned('mhc')})"
            )
    settings = PRESETS[STAGES["start"][0]].settings()
    return (
        "The whole network is the Jacobian of the n streams after layer l by the n streams that "
        "enter layer 1, all n C numbers of both, branches included: its spectral norm, the most by "
        "which a small change of what enters can grow. H_res alone is the spectral norm of the "
        "composite H_l … H_1 at the same examples; its Amax gain is in the table. The mean over "
        f"{EXAMPLES} examples of the validation set is shown. The networks are the lab’s, of width "
        f"{settings.width}, n = {settings.streams}: {settings.depth} layers before the first step, "
        f"and after step {settings.steps} those of the presets {' and '.join(trained)}. “Streams "
        "in and out alike” copies one stream to all at the entry and averages them at the exit, as "
        "the network itself does. Computed in float64; in float32, in which they trained, norms of "
        "HC’s streams overflow beyond 10¹⁹, and the gains recorded there are smaller. Made with "
        f"{found.made}."
    )
