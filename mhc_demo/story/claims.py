"""What has been written about mHC, most of it in its first weeks, and what is true of it.

Each claim is put in our own words, with where it can be read, and answered in two or three
sentences whose numbers are computed or cited as in a scene (`scenes.py`), for the state of the
scene that shows it.  The page and `docs/claims.md` are made from `CLAIMS`.
To add a claim, add an entry, and write the documentation anew by

    python -m mhc_demo.story.claims
"""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .glossary import explained
from .markup import markup, plain
from .scenes import SCENES

VERDICTS = {
    "true": "True",
    "partly": "True, with small print",
    "unknown": "Not shown",
    "false": "Not so",
}
"""What can be said of a claim, by the name that its look has in `static/mhc.css`."""

TITLE = "What you may have read"
INTRODUCTION = (
    "Much was written about mHC in the weeks after its paper, and much of it is right. Here are "
    "claims that many will have met, in our words, and what is true of each. Every number is "
    "computed by this library or has its place in the paper, and the scene named shows it."
)
LINKED = (
    "A scene opens with its link behind the page’s address: "
    "`http://localhost:5006/app?scene=explosion`."
)
"""What the documentation adds, where nothing can be pressed."""


@dataclass(frozen=True)
class Source:
    """Where a claim can be read."""

    title: str
    url: str


@dataclass(frozen=True)
class Claim:
    """Something that is said of mHC, and what is true of it."""

    text: str
    verdict: str
    """One of `VERDICTS`."""
    answer: str
    """Its numbers are for the state of the scene."""
    scene: str
    """The scene that shows it."""
    sources: tuple[Source, ...]


REDDIT = Source(
    "r/MachineLearning, January 2026",
    "https://www.reddit.com/r/MachineLearning/comments/1q341fr/"
    "p_interactive_visualization_of_deepseeks_mhc_why/",
)
DIAL = Source(
    "The Manifold Dial",
    "https://subhadipmitra.com/blog/2026/deepseek-mhc-manifold-constrained-hyper-connections/",
)
INTROL = Source("Introl", "https://introl.com/blog/deepseek-mhc-architecture-breakthrough")
VICTORINO = Source(
    "Victorino", "https://victorinollc.com/thinking/deepseek-mhc-residual-connections"
)
GEOMETRY = Source(
    "Synthetic Taxonomy, January 2026",
    "https://synthetictaxonomy.com/blog/2026-01-mhc-geometry-of-stability",
)
IMPLICATOR = Source(
    "Implicator",
    "https://www.implicator.ai/deepseeks-new-architecture-paper-signals-more-than-technical-progress",
)
ABSTRACT = Source("the paper’s abstract", "https://arxiv.org/abs/2512.24880")
META_QUANTUM = Source("Meta-Quantum, 10 January 2026", "https://meta-quantum.today/?p=8110")
DATACAMP = Source("DataCamp, 26 January 2026", "https://www.datacamp.com/blog/deepseek-mhc")
TRANSCRIPT = Source(
    "a video of AI Revolution",
    "https://longcut.ai/v/deepseek-just-crushed-big-tech-again-mhc-better-way-to-do-ai-0rinBUI6ViE",
)
NOTES = Source(
    "a reader’s notes",
    "https://yaaang.notion.site/"
    "mHC-Manifold-Constrained-Hyper-Connections-Deepseek-2025-2dc57aa8bd7180139296eef02c40dcc1",
)
OLMOE = Source("an issue of OLMoE, 4 January 2026", "https://github.com/allenai/OLMoE/issues/43")
INFOMLY = Source(
    "Infomly, 17 March 2026", "https://infomly.com/2026/03/17/deepseek-mhc-paper-cheaper-path"
)
NOVA = Source("NovaNews", "https://novanews247.com/?p=1609")

CLAIMS: dict[str, Claim] = {
    "power-16": Claim(
        text="64 layers of Hyper-Connections amplify a signal by 10¹⁶.",
        verdict="partly",
        answer="64 layers of random matrices do: {10^16.2|hc} is the median of 32 networks, and "
        "nine in ten of these lie between {10^13.6|low} and {10^18.2|high}. HC does not start from "
        "random matrices, it starts at the identity. In DeepSeek’s trained 27B model its gain "
        "peaks near [3000|Fig. 3b].",
        scene="explosion",
        sources=(REDDIT, DIAL),
    ),
    "one": Claim(
        text="One Sinkhorn iteration is enough.",
        verdict="partly",
        answer="One ends the explosion, for after it no column of any product can sum to more than "
        "4. How near to 1 it comes depends on the logits: at spread 5 the backward gain is "
        "{1.80|projected} after one iteration and {1.02|after_20} after 20.",
        scene="sharp",
        sources=(REDDIT, DIAL),
    ),
    "order": Claim(
        text="mHC divides the rows first, then the columns.",
        verdict="false",
        answer="The paper’s Eq. 9 divides the columns first and the rows last. The order decides "
        "which direction is exact: with rows last the forward gain is 1, and what is left over "
        "shows in the column sums, that is in the gradients. (DeepSeek-V4’s released code does "
        "divide rows first, and applies the matrices transposed.)",
        scene="work",
        sources=(NOTES, OLMOE),
    ),
    "closed": Claim(
        text="A product of doubly stochastic matrices is doubly stochastic, so the gain is bounded "
        "at any depth.",
        verdict="true",
        answer="It takes both halves of the definition. If entries may be negative, products still "
        "have rows and columns that sum to 1, but that does not limit the worst case: they amplify "
        "it by {10^10.7|signed}. And it says nothing about the layers’ own branches.",
        scene="exp",
        sources=(REDDIT,),
    ),
    "conserved": Claim(
        text="A doubly stochastic matrix conserves the signal: it neither grows nor shrinks, and "
        "nothing is lost.",
        verdict="false",
        answer="It cannot grow. What all streams share is kept, and so is their mean. But the "
        "difference between streams shrinks: after 5 layers of random matrices "
        "{0.003|difference_median} of it is left, in the median of 2,000 networks.",
        scene="price",
        sources=(VICTORINO, GEOMETRY),
    ),
    "identity": Claim(
        text="mHC restores the identity mapping: the gain is 1 at any depth.",
        verdict="partly",
        answer="This holds for what all streams share; a single stream is not passed on unchanged, "
        "it becomes a weighted average of all. Forward the gain is 1 by construction. Backward it "
        "is near 1: the paper’s peaks near [1.6|Fig. 7b], and its printed column sums lie between "
        "{0.41|columns_least} and {1.50|columns_most}.",
        scene="real",
        sources=(ABSTRACT, DATACAMP),
    ),
    "alike": Claim(
        text="The price of mHC is that all streams become alike.",
        verdict="partly",
        answer="Mixing does bring streams together. But HC’s does so too: over all 60 layers the "
        "printed composites [1 to 60|Fig. 8] have {1.00|effective_hc_whole} effective streams "
        "with HC and {1.00|effective_mhc_whole} with mHC; over [31 to 60|Fig. 8], "
        "{1.00|effective_hc} and {1.70|effective_mhc}. And every layer writes to the streams anew.",
        scene="collapse",
        sources=(REDDIT,),
    ),
    "gradients": Claim(
        text="A gain of 3000 means that gradients become 3000 times as large.",
        verdict="false",
        answer="The gain belongs to the product of the H_res alone; the gradient also runs "
        "through the branches. In the lab’s networks of 64 layers, before training, that gain is "
        "{1.00|amax_start_hc} with HC. Yet a small change of the streams can grow by a factor of "
        "{55.2|jacobian_start_hc} there, and of {29.4|jacobian_start_residual} in the plain "
        "residual network.",
        scene="whole",
        sources=(IMPLICATOR,),
    ),
    "diverged": Claim(
        text="The gain of 3000 is what made HC’s 27B model diverge.",
        verdict="unknown",
        answer="The paper shows a large gain and a jump of the loss near step [12,000|Fig. 2], "
        "not that one caused the other. And the model did not end there: it finished, and beats "
        "the residual network in every row of Table 4. In the lab’s preset “HC explodes” the gain "
        "reaches {10^4.9|explodes_gain_hc} and HC’s accuracy is {96 %|explodes_accuracy_hc}. In "
        "the harsher preset “HC fails” the control does name the mixing: HC learns in "
        "{1|fails_learned_hc} of 16 seeds, and with its H_res held at the identity in "
        "{15|ablation_learned_hc_identity}.",
        scene="training",
        sources=(INTROL, VICTORINO),
    ),
    "everywhere": Claim(
        text="mHC is better at 3B, 9B and 27B, by 2.1 % in reasoning.",
        verdict="partly",
        answer="The paper prints benchmarks for the 27B model only; for the other sizes it shows "
        "the loss. {2.1|bbh_over_hc} points are its lead over HC on BBH; over the residual "
        "network it is {7.2|bbh_over_residual}. On MATH HC is ahead, [26.4|Table 4] to "
        "[26.0|Table 4].",
        scene="bought",
        sources=(INTROL,),
    ),
    "overhead": Claim(
        text="mHC costs 6.7 %.",
        verdict="partly",
        answer="The paper measured [6.7 %|section 4.3] more training time, at n = 4, with fused "
        "kernels, recomputing and overlapped communication; it does not say at which size. It "
        "does not count the extra memory for stored activations, and without that work a layer "
        "reads {10.5|reads} times as much as a residual connection.",
        scene="cost",
        sources=(INTROL, META_QUANTUM),
    ),
    "cheaper": Claim(
        text="mHC is a cheaper way to train, and saves memory traffic.",
        verdict="false",
        answer="A residual network is cheaper. mHC takes [6.7 %|section 4.3] more time, and even "
        "with fused kernels a layer of the 27B model reads {6.5|reads_fused} times as many numbers "
        "and writes {5.0|writes_fused} times as many. Fusing wins back a part "
        "of the traffic that widening costs, and recomputing a part of the memory.",
        scene="cost",
        sources=(DATACAMP, INFOMLY),
    ),
    "hardware": Claim(
        text="mHC saves memory, so that large models fit on cheaper hardware.",
        verdict="false",
        answer="In training, DeepSeek-V4-Flash’s streams store {3.5|stored} times what a residual "
        "network of its sizes stores. Recomputing gives most of that back, but if the residual "
        "network recomputes too, mHC still stores {2.0|stored_recomputed} times as much. In "
        "inference {4|carried} times as much is carried from layer to layer, and the mappings are "
        "{0.012 %|mapping_share} of the weights.",
        scene="cost",
        sources=(NOVA,),
    ),
    "four-times": Claim(
        text="Four streams mean four times the capacity.",
        verdict="false",
        answer="What is carried from layer to layer is four times as wide; attention and FFN keep "
        "their width. The mappings of the 27B model learn {15|mapping_parameters} million numbers, "
        "which is next to nothing in 27 billion.",
        scene="widen",
        sources=(TRANSCRIPT,),
    ),
    "v4": Claim(
        text="mHC will be in DeepSeek’s next large model.",
        verdict="true",
        answer="That was a guess in January, and DeepSeek-V4 has it. The released code differs in "
        "details from the paper: it ends on the columns, adds a small constant, and applies the "
        "matrices transposed, so that what acts on the streams still ends on rows. The scene "
        "shows the paper’s 27B model, not V4.",
        scene="real",
        sources=(
            INTROL,
            Source(
                "the model’s documentation",
                "https://huggingface.co/docs/transformers/main/model_doc/deepseek_v4",
            ),
        ),
    ),
}
"""Every claim by its name, in the order of the story, roughly."""


def claims_html(link: Callable[[str], str] | None) -> str:
    """All claims; `link` gives the address of a scene, None if there is nothing to link to."""
    return (
        f'<div class="claims"><p class="intro">{INTRODUCTION}</p>'
        + "".join(_section(claim, link) for claim in CLAIMS.values())
        + "</div>"
    )


def _section(claim: Claim, link: Callable[[str], str] | None) -> str:
    title = html.escape(SCENES[claim.scene].title)
    if link:
        title = f'<a href="{html.escape(link(claim.scene))}">{title}</a>'
    read = ", ".join(
        f'<a href="{html.escape(each.url)}" target="_blank" rel="noopener noreferrer">'
        f"{html.escape(each.title)}</a>"
        for each in claim.sources
    )
    return (
        f'<section class="{claim.verdict}"><h3>{markup(claim.text)}</h3>'
        f'<p class="verdict">{VERDICTS[claim.verdict]}</p>'
        f"<p>{explained(markup(claim.answer))}</p>"
        f'<p class="where">See the scene: {title}. Read in: {read}.</p></section>'
    )


def page() -> str:
    """All claims as a page of the documentation, in Markdown."""
    parts = [f"# {TITLE}\n", f"{INTRODUCTION} {LINKED}\n"]
    for claim in CLAIMS.values():
        read = ", ".join(f"[{each.title}]({each.url})" for each in claim.sources)
        parts += [
            f"## {plain(claim.text)}\n",
            f"**{VERDICTS[claim.verdict]}.** {plain(claim.answer)}\n",
            f"Scene: *{SCENES[claim.scene].title}* (`?scene={claim.scene}`). Read in: {read}.\n",
        ]
    return "\n".join(parts)


@cache
def claims_of_the_page() -> str:
    """All claims as the page has them."""
    return claims_html(lambda scene: f"?scene={scene}")


if __name__ == "__main__":
    Path("docs/claims.md").write_text(page(), encoding="utf-8")
