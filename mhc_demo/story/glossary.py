"""The words and symbols of the field, each with a short explanation.

One entry serves the story, the notes below the plots and the formulas: `explained` finds the
words in a text, `typeset` the symbols in a formula.  All explanations are marked up in the same
way: `static/terms.js` shows them on hover, focus or tap, and assistive technology reads them from
the markup.  Formulas are MathML, which browsers render themselves, so that nothing is loaded from
another host.

To add a term, add an entry to `TERMS`.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from functools import cache

from latex2mathml.converter import convert

from ..numerics.metrics import METRICS
from ..numerics.paper import HYPER_CONNECTIONS, MHC


@dataclass(frozen=True)
class Term:
    """A word, a symbol, or both."""

    title: str
    meaning: str
    latex: str = ""
    """The symbol, which a formula calls `<name>`."""
    words: tuple[str, ...] = ()
    """What texts call it; of several matches the longest counts."""


SYMBOLS_OF_METRICS = {
    "second_singular_value": "s_2",
    "second_eigenvalue": r"\lambda_2",
    "singular_ratio": "s_2/s_1",
    "birkhoff_coefficient": r"\kappa",
}

TERMS: dict[str, Term] = {
    # The layer
    "x": Term("Residual stream", "What all layers read from and add to.", "x"),
    "stream": Term(
        "Residual stream",
        "What runs through the whole network: every layer reads from it and adds to it.",
        words=("residual stream", "residual connection"),
    ),
    "streams": Term(
        "Streams",
        "n residual streams side by side, each of width C; a matrix mixes them in every layer.",
        words=("streams",),
    ),
    "n": Term(
        "Expansion rate",
        "How many residual streams run side by side: 4 throughout the mHC paper.",
        "n",
        ("expansion rate",),
    ),
    "width": Term("Width", "Numbers that one stream carries for one token.", "C", ("width",)),
    "l": Term("Layer", "Index of a residual layer, counted from 1.", "l"),
    "L": Term(
        "Depth",
        "How many residual layers; a Transformer block is two of them, attention and FFN.",
        "L",
        ("residual layers",),
    ),
    "F": Term("Branch", "What a layer computes: attention or FFN.", "F"),
    "h_res": Term(
        "Residual mapping",
        "The n × n matrix that mixes the streams on their way from one layer to the next.",
        r"H^{\text{res}}",
        ("mixing matrix", "mixing matrices"),
    ),
    "h_pre": Term(
        "Pre mapping",
        "1 × n numbers: how much of each stream the layer reads.",
        r"H^{\text{pre}}",
    ),
    "h_post": Term(
        "Post mapping",
        "1 × n numbers: how much of the layer’s output each stream gets.",
        r"H^{\text{post}}",
    ),
    "token": Term(
        "Token", "A piece of text that a language model reads.", words=("tokens", "token")
    ),
    "expert": Term(
        "Expert",
        "One of many small networks in the place of a large one, in a mixture of experts: a router "
        "sends each token to a few of them.",
        words=("mixture of experts", "mixtures of experts", "experts", "expert"),
    ),
    "load": Term(
        "Load violation",
        "How unevenly a mixture’s experts are chosen: the largest share of the tokens’ choices "
        "over the mean share, less 1. At 0 all are chosen as often (MaxVio of arXiv:2408.15664).",
        words=("load violation",),
    ),
    "routing_entropy": Term(
        "Routing entropy",
        "The entropy of a router’s affinities, divided by their sum, averaged over the tokens, in "
        "bits: log₂ of the number of experts where it prefers none, 0 where one has all.",
        words=("routing entropy",),
    ),
    # The two methods
    "hc": Term(
        "Hyper-Connections (HC)",
        "n residual streams, mixed in every layer by a learned matrix that nothing bounds "
        f"({HYPER_CONNECTIONS.short}).",
        words=("Hyper-Connections", "HC"),
    ),
    "mhc": Term(
        "Manifold-Constrained Hyper-Connections (mHC)",
        "Hyper-Connections with every mixing matrix projected onto the doubly stochastic ones "
        f"({MHC.short}).",
        words=("mHC",),
    ),
    "logits": Term(
        "Logits",
        "The n × n numbers before the projection, of any sign and size.",
        r"\tilde H^{\text{res}}",
        ("logits",),
    ),
    "alpha": Term("Gate", "A learned factor that starts at 0.01.", r"\alpha"),
    "theta": Term(
        "Dynamic part", "Learned weights that read the mapping off the input.", r"\theta"
    ),
    "phi": Term(
        "Dynamic part",
        "Learned weights that read all three mappings off the n streams.",
        r"\varphi",
    ),
    "b": Term("Static part", "Learned numbers that do not depend on the input.", "b"),
    "x_norm": Term("Normalised input", "x divided by its root mean square.", r"\tilde x"),
    "sigmoid": Term("Logistic function", "1 / (1 + exp(−x)): between 0 and 1.", r"\text{sigm}"),
    # The projection
    "projection": Term(
        "Projection",
        "What turns logits into the mixing matrix that acts.",
        words=("projection",),
    ),
    "sinkhorn": Term(
        "Sinkhorn–Knopp",
        "Divide each column by its sum, then each row, and again: a positive matrix comes to be "
        "doubly stochastic, the one nearest to it by Kullback–Leibler divergence (1967; mHC paper, "
        "Eq. 9). It takes logits: applied to its own result it changes it again.",
        r"\text{SK}",
        ("Sinkhorn–Knopp", "Sinkhorn and Knopp"),
    ),
    "iterations": Term(
        "Iterations",
        "One iteration divides each column by its sum, then each row; 0 leaves HC as it is.",
        "t",
        ("Sinkhorn iterations", "iterations", "iteration"),
    ),
    "M": Term("Iterate", "The matrix after t iterations; M⁽⁰⁾ is the exponential.", "M"),
    "exp": Term(
        "Exponential",
        "e to the power of every entry: whatever the sign, the result is positive.",
        r"\exp",
        ("exponential",),
    ),
    "T_c": Term("Column step", "Divides each column by its sum.", r"T_{\text{c}}"),
    "T_r": Term("Row step", "Divides each row by its sum.", r"T_{\text{r}}"),
    "doubly_stochastic": Term(
        "Doubly stochastic",
        "No entry is negative, and every row and every column sums to 1: each stream becomes a "
        "weighted average of all.",
        words=("doubly stochastic",),
    ),
    "ones": Term(
        "All ones", "The column of n ones, so that A𝟏 are the row sums of A.", r"\mathbf 1"
    ),
    # The gains
    "composite": Term(
        "Composite mapping",
        "The product of the mixing matrices of all layers up to a depth: what they do together.",
        "P",
        ("composite mapping", "composite"),
    ),
    "amax": Term(
        "Amax gain magnitude",
        "Forward, the largest absolute row sum of a matrix; backward, its largest absolute column "
        "sum: how much it amplifies what all streams share (mHC paper, section 3.1). A product’s "
        "may exceed the product of the gains.",
        words=("composite Amax gain", "Amax gain", "gains", "gain"),
    ),
    "forward": Term(
        "Forward gain",
        "The largest absolute row sum: what becomes of a signal on its way through the layers.",
        r"g_{\text{fwd}}",
        ("forward gain", "forward"),
    ),
    "backward": Term(
        "Backward gain",
        "The largest absolute column sum: what becomes of a gradient on its way back.",
        r"g_{\text{bwd}}",
        ("backward gain", "backward"),
    ),
    "row_sum": Term(
        "Row sum",
        "What comes out of one stream if every stream carries 1.",
        words=("row sums", "row sum"),
    ),
    "column_sum": Term(
        "Column sum",
        "The same for gradients: what reaches one stream from all of them.",
        words=("column sums", "column sum"),
    ),
    "jacobian": Term(
        "Jacobian",
        "All derivatives of what leaves a network by what enters it. Its norm says by how much a "
        "small change can grow on the way.",
        "D",
        ("Jacobian",),
    ),
    "decade": Term("Decade", "A factor of ten.", words=("decades", "decade")),
    # The experiment
    "spread": Term(
        "Spread",
        "Standard deviation of the random entries: how far they lie from 0, or have drifted.",
        r"\sigma",
        ("spread",),
    ),
    "Z": Term("Noise", "Independent random entries from a normal distribution N(0, 1).", "Z"),
    "gaussian": Term(
        "Gaussian",
        "Entries drawn independently from a normal distribution.",
        words=("Gaussian",),
    ),
    "shared": Term(
        "Shared part",
        "What all layers of a network have in common, here as a correlation between them. Layers "
        "that share nothing even out what one of them leaves uneven; alike ones can add it up: in "
        "few networks, but much.",
        words=("correlation",),
    ),
    "equal_drift": Term(
        "Equal drift",
        "HC’s matrix is at I + σZ; mHC’s has logits b I + Z, with the b of each layer at which it "
        "is equally far from I, up to a limit. So neither network has an easier start.",
        words=("equally far",),
    ),
    "identity": Term(
        "Identity",
        "Every stream stays as it is: the plain residual connection, gain 1.",
        "I",
        ("identity",),
    ),
    "ensemble": Term(
        "Ensemble",
        "The same experiment drawn several times, to tell what is typical from what is chance.",
        words=("ensemble", "networks"),
    ),
    "quantiles": Term(
        "5–95 %",
        "Nine of ten of the networks that were drawn lie within the band; of others, fewer.",
        words=("5–95 %",),
    ),
    "lyapunov": Term(
        "Lyapunov exponent",
        "The rate at which a long product of random matrices grows per layer: the first in the "
        "direction that grows most, the second in the next one, and so on.",
        r"\lambda",
        ("top Lyapunov exponent", "Lyapunov exponents", "Lyapunov exponent"),
    ),
    "nat": Term(
        "Nat",
        "A factor of e, 2.718: natural logarithms count them. 1 decade is 2.303 nats.",
        words=("nats", "nat"),
    ),
    "digamma": Term("Digamma function", "The derivative of ln Γ.", r"\psi"),
    # What is kept, what fades, and what it costs
    "rank_one": Term(
        "Rank one",
        "All rows of a matrix are multiples of one row: whatever enters, all streams leave it as "
        "multiples of the same signal.",
        words=("rank one",),
    ),
    "singular_values": Term(
        "Singular values",
        "By how much a matrix stretches each of n perpendicular directions, the largest first.",
        words=("singular values", "singular value"),
    ),
    "eigenvalues": Term(
        "Eigenvalues",
        "By how much a matrix stretches the directions that it does not turn, and, in pairs, those "
        "that it turns; applied again and again, it does so each time.",
        words=("eigenvalues", "eigenvalue"),
    ),
    "uniform": Term(
        "Uniform matrix",
        "1/n in every entry: every stream gets the average of all.",
        r"J",
        ("uniform matrix",),
    ),
    **{
        name: Term(
            metric.title, metric.note, SYMBOLS_OF_METRICS.get(name, ""), (metric.title.lower(),)
        )
        for name, metric in METRICS.items()
    },
    "error": Term(
        "Sinkhorn’s error",
        "The largest |column sum − 1| after an iteration, which ends on rows.",
        "e",
        ("Sinkhorn’s error",),
    ),
    "Q": Term(
        "Orthogonal matrix",
        "Its rows have length 1 and stand at right angles to one another; its product with a "
        "signal is as long as the signal.",
        "Q",
        ("orthogonal",),
    ),
    "pi": Term(
        "Limit distribution",
        "How what enters is weighted by every stream in the end: n numbers that are not negative "
        "and sum to 1.",
        r"\pi",
    ),
    "ergodicity": Term(
        "Ergodicity coefficient",
        "Dobrushin’s: half the 1-norm between the two most different rows. That of a product is at "
        "most the product of those of its factors.",
        words=("ergodicity coefficient",),
    ),
    "traffic": Term(
        "Memory traffic",
        "Numbers that are read from a GPU’s memory and written to it; often what takes the time.",
        words=("memory traffic",),
    ),
    "fuse": Term(
        "Fused kernels",
        "Several steps in one program of the GPU, so that what is between them stays on the chip.",
        words=("Kernels that fuse", "fused kernels"),
    ),
    "recompute": Term(
        "Recomputing",
        "Not keeping for the backward pass what can be computed again there.",
        words=("recompute", "recomputing", "recomputation"),
    ),
    "pass": Term(
        "Forward and backward pass",
        "Forward a network computes its output, layer by layer; backward the gradients, from the "
        "last layer to the first.",
        words=("forward pass", "backward pass"),
    ),
    "pipeline": Term(
        "Pipeline",
        "The layers of a network, cut into stages that lie on different GPUs, one after another.",
        words=("pipeline", "stages"),
    ),
    "bubble": Term(
        "Pipeline bubble",
        "The time in which a rank is idle, as what it needs is not there yet.",
        words=("pipeline bubble", "bubble", "idle"),
    ),
    "1f1b": Term(
        "1F1B",
        "A schedule of pipelines: each rank alternates between one forward and one backward chunk.",
        words=("1F1B",),
    ),
    "zero-bubble": Term(
        "Zero bubble (ZB1P)",
        "1F1B with the backward pass in two parts: that for the weights can wait, and fills what "
        "would be idle (Qi et al., arXiv:2401.10241).",
        words=("zero bubble", "ZB1P"),
    ),
    "dualpipe": Term(
        "DualPipe",
        "DeepSeek-V3’s schedule: micro-batches enter the pipeline at both ends, and a forward and "
        "a backward chunk overlap.",
        words=("DualPipe",),
    ),
    "microbatch": Term(
        "Micro-batch",
        "The part of a batch that goes through a pipeline at one time.",
        words=("micro-batch", "micro-batches"),
    ),
    "pipeline_rank": Term(
        "Pipeline rank",
        "A GPU, or several that share the work, with one stage of the network: some of its layers.",
        words=("pipeline rank", "pipeline ranks"),
    ),
    "sequence_parallelism": Term(
        "Sequence parallelism",
        "GPUs that share a stage divide the tokens among them where no layer needs all of them, so "
        "that each keeps a part of the streams instead of all.",
        words=("sequence parallelism", "sequence parallel"),
    ),
    "L_r": Term(
        "Block", "Layers between two stored states; the rest is recomputed.", r"L_{\text{r}}"
    ),
}
"""Every term by its name."""

_WORDS = {word: name for name, term in TERMS.items() for word in term.words}
_ANY_WORD = re.compile(
    r"(?<![\w-])("
    + "|".join(map(re.escape, sorted(_WORDS, key=len, reverse=True)))
    + r")(?![\w-])",
    re.IGNORECASE,
)
_TAG = re.compile(r"(<[^>]*>)")
_SYMBOL = re.compile(r"<(\w+)>(_\w|_\{[^{}]*\})?")
_BOLD = re.compile(r'<mn mathvariant="bold">(\d)</mn>')
_TILDE = '<mo stretchy="false">&#x0007E;</mo>'
_BARS = "<mo>&#x02016;</mo>"
"""Of a norm: a browser makes the left ones as high as the whole formula, and the right ones not."""
_MARKED = re.compile(r'<mrow class="term-(\w+)">')


def term(text: str, title: str, meaning: str) -> str:
    """Our own HTML `text` with its explanation."""
    return (
        f'<span class="term" role="button" tabindex="0" data-title="{html.escape(title)}" '
        f'aria-description="{html.escape(meaning)}">{text}</span>'
    )


def explained(markup: str) -> str:
    """Our own HTML with every term explained where it first occurs."""
    done: set[str] = set()

    def mark(match: re.Match[str]) -> str:
        word = match[0]
        name = _WORDS.get(word) or _WORDS.get(word.lower(), "")
        if not name or name in done:
            return word
        done.add(name)
        return term(word, TERMS[name].title, TERMS[name].meaning)

    parts = _TAG.split(markup)
    parts[::2] = [_ANY_WORD.sub(mark, text) for text in parts[::2]]
    return "".join(parts)


@cache
def typeset(latex: str, spoken: str) -> str:
    """LaTeX as MathML; `<name>` is the symbol of a term, with its explanation.

    `spoken` is the formula in words, for a screen reader.
    """
    mathml = convert(_SYMBOL.sub(_marked, latex), display="block")
    done: set[str] = set()

    def mark(match: re.Match[str]) -> str:
        name = match[1]
        first = name not in done  # the keyboard stops at each symbol once
        done.add(name)
        return _symbol(TERMS[name], first)

    mathml = _MARKED.sub(mark, mathml)
    # A browser ignores a variant of digits, and lifts a superscript above an accent.
    mathml = _BOLD.sub(lambda match: f"<mn>{chr(ord('𝟎') + int(match[1]))}</mn>", mathml)
    mathml = mathml.replace(_BARS, _BARS.replace("<mo>", '<mo stretchy="false">'))
    mathml = mathml.replace(_TILDE, f'<mpadded height="0">{_TILDE}</mpadded>')
    # A group, because the role "math" would hide its symbols from assistive technology.
    return mathml.replace("<math ", f'<math role="group" aria-label="{html.escape(spoken)}" ', 1)


def _marked(match: re.Match[str]) -> str:
    name, index = match[1], match[2] or ""
    latex = TERMS[name].latex
    if "^" in latex:  # the index belongs below the superscript, not after it
        plain = _SYMBOL.sub(lambda inner: TERMS[inner[1]].latex, index)
        return rf"\class{{term-{name}}}{{{latex}{plain}}}"
    return rf"\class{{term-{name}}}{{{latex}}}{_SYMBOL.sub(_marked, index)}"


def _symbol(entry: Term, first: bool) -> str:
    title, meaning = html.escape(entry.title), html.escape(entry.meaning)
    focus = 'role="button" tabindex="0"' if first else ""
    return f'<mrow class="term" {focus} data-title="{title}" aria-description="{meaning}">'
