"""The mathematics that the page rests on, formula by formula, with its source.

A scene shows the formula that it is about; the view "Formulas" shows all.  They are written in
LaTeX, where `<name>` is a symbol of the glossary.  To add a formula, add an entry to `FORMULAS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ..numerics.paper import IDENTITY_MAPPINGS, MHC
from .glossary import explained, typeset

MHC_PAPER = f"mHC paper ({MHC.number})"


@dataclass(frozen=True)
class Formula:
    """One formula, in LaTeX and in words."""

    title: str
    latex: str
    spoken: str
    text: str
    """What it says, or where it leads."""
    source: str

    def markup(self) -> str:
        """The formula as MathML, with its symbols explained."""
        return typeset(self.latex, self.spoken)


FORMULAS: dict[str, Formula] = {
    "residual": Formula(
        "Residual connection",
        r"<x>_{<l>+1} = <x>_{<l>} + <F>(<x>_{<l>})",
        "the next x is x plus F of x",
        "One residual stream; the identity path from x to the next x has gain 1.",
        IDENTITY_MAPPINGS.cited,
    ),
    "layer": Formula(
        "Hyper-Connections",
        r"<x>_{<l>+1} = <h_res>_l <x>_{<l>} + (<h_post>_l)^{\top}"
        r"<F>(<h_pre>_l <x>_{<l>})",
        "the next x is H res times x, plus H post transposed times F of H pre times x",
        "x now has n rows, one for each stream, and three mappings between them and the branch.",
        MHC_PAPER + ", Eq. 3",
    ),
    "hc": Formula(
        "HC’s mapping: bounded by nothing",
        r"<h_res> = <alpha> \tanh(<theta> <x_norm>^{\top}) + <b>",
        "H res is alpha times tanh of theta times normalised x, plus b",
        "A part that depends on the input and a static part, both learned.",
        MHC_PAPER + ", Eq. 5",
    ),
    "mhc": Formula(
        "mHC’s mapping: doubly stochastic",
        r"<h_res> = <sinkhorn>(<logits>), \qquad <logits> = <alpha> (<x_norm> <phi>) + <b>",
        "H res is Sinkhorn-Knopp of the logits, which are alpha times normalised x times phi, "
        "plus b",
        "The logits come from all n streams at once, normalised together.",
        MHC_PAPER + ", Eq. 7 and 8",
    ),
    "mhc_branch": Formula(
        "mHC’s way into the branch and out",
        r"<h_pre> = <sigmoid>\bigl(\tilde H^{\text{pre}}\bigr), \qquad"
        r"<h_post> = 2 <sigmoid>\bigl(\tilde H^{\text{post}}\bigr)",
        "H pre is the logistic function of its logits, H post twice that of its own",
        "Non-negative, so that streams do not cancel where they are read and written.",
        MHC_PAPER + ", Eq. 8",
    ),
    "sinkhorn": Formula(
        "Sinkhorn–Knopp: the dial",
        r"<M>^{(0)} = <exp>(<logits>), \qquad"
        r"<M>^{(<iterations>)} = <T_r>(<T_c>(<M>^{(<iterations>-1)}))",
        "M zero is the exponential of the logits; each further M is the one before, its columns "
        "divided by their sums, then its rows",
        "Columns first, rows second, 20 times in the paper. Here 0 iterations are HC itself, "
        "without the exponential.",
        MHC_PAPER + ", Eq. 9; Sinkhorn and Knopp 1967",
    ),
    "composite": Formula(
        "Composite mapping",
        r"<composite> = <h_res>_{<L>}\, <h_res>_{<L>-1} \cdots <h_res>_2\, <h_res>_1",
        "P is the product of all L mixing matrices",
        "What the residual path does to the streams through all layers together.",
        MHC_PAPER + ", section 3.1",
    ),
    "jacobian": Formula(
        "Jacobian of the whole network",
        r"<jacobian> = \frac{\partial <x>_{<L>+1}}{\partial <x>_1} = \prod_{<l>=<L>}^{1}"
        r"\left( <h_res>_l + (<h_post>_l)^{\top} <F>'_l \, <h_pre>_l + \cdots \right)",
        "J, the derivative of the last streams by the first, is the product over the layers of "
        "H res plus H post transposed times the derivative of F times H pre, and so on",
        "The composite is what is left without the branches. The dots are derivatives of the "
        "mappings, which depend on x as well.",
        "Derivative of Eq. 3",
    ),
    "forward": Formula(
        "Amax gain, forward",
        r"<forward> = \max_i \left| \sum_{j=1}^{<n>} A_{ij} \right|",
        "the forward gain of A is its largest absolute row sum",
        "What a signal shared by all streams becomes. Over all inputs the worst case is the "
        "largest sum of absolute values, which is another definition of the gain.",
        MHC_PAPER + ", section 3.1",
    ),
    "backward": Formula(
        "Amax gain, backward",
        r"<backward> = \max_j \left| \sum_{i=1}^{<n>} A_{ij} \right|",
        "the backward gain of A is its largest absolute column sum",
        "A gradient passes through the transposed matrices, in the other order.",
        MHC_PAPER + ", section 3.1",
    ),
    "closed": Formula(
        "Closed under multiplication",
        r"A<ones> = <ones>, \; B<ones> = <ones> \quad\Longrightarrow\quad"
        r"(AB)<ones> = A(B<ones>) = <ones>",
        "if the rows of A and of B sum to 1, then so do the rows of A B",
        "The same for columns, whatever the signs. If no entry is negative either, all n² of them "
        "sum to n, and no column sum can exceed n: one exact direction caps the other, at any "
        "depth.",
        MHC_PAPER + ", section 4.1, for doubly stochastic matrices",
    ),
    "spectral": Formula(
        "Why no input grows",
        r"\lVert <h_res> \rVert_2 \;\le\; \sqrt{\lVert <h_res> \rVert_1 \, "
        r"\lVert <h_res> \rVert_{\infty}} \;\le\; 1",
        "the spectral norm of H res is at most the square root of its largest column sum times its "
        "largest row sum, which is at most 1",
        "For entries that are not negative, with rows and columns that sum to 1: the weighted "
        "averages of the permutation matrices, or Birkhoff polytope. If only the rows sum to 1, "
        "the norm can reach √n.",
        MHC_PAPER + ", section 4.1",
    ),
    "pace": Formula(
        "Weak mixers are slow to normalise",
        r"\frac{<error>_{<iterations>+1}}{<error>_{<iterations>}} \;\longrightarrow\;"
        r"<second_singular_value>^2, \qquad"
        r"\lVert <h_res> d \rVert_2^2 \;\le\; <second_singular_value>^2 \lVert d \rVert_2^2",
        "Sinkhorn’s error after one more iteration, divided by the error before, tends to s two "
        "squared; and H res times a difference d has at most s two squared times the square of "
        "the length of d",
        "s₂ is the second singular value of the limit, d any difference between streams: numbers "
        "that sum to 0. The first is an equality in the limit of many iterations, the second a "
        "bound that one difference attains.",
        "Knight, SIAM J. Matrix Anal. Appl. 30, 2008, for the first",
    ),
    "kept": Formula(
        "What sums of 1 keep",
        r"<ones>^{\top} <h_res> = <ones>^{\top} \;\Rightarrow\;"
        r"<ones>^{\top} <h_res> <x> = <ones>^{\top} <x>, \quad"
        r"<h_res> <ones> = <ones> \;\Rightarrow\; <h_res> c <ones> = c <ones>",
        "if the columns of H res sum to 1, the sum over the streams of H res times x is that of x; "
        "if the rows sum to 1, H res leaves a signal as it is that is c in every stream",
        "Columns keep the mean over the streams, rows keep what all of them share, whatever the "
        "signs of the entries.",
        MHC_PAPER + ", section 4.1",
    ),
    "orthogonal": Formula(
        "Orthogonal mixing",
        r"<Q>^{\top} <Q> = <identity> \;\Longrightarrow\;"
        r"\lVert <Q> <x> \rVert_2 = \lVert <x> \rVert_2, \qquad <forward>(<Q>) \;\le\; \sqrt{<n>}",
        "if Q transposed times Q is the identity, Q x is as long as x, and the forward gain of Q "
        "is at most the square root of n",
        "Products of orthogonal matrices are orthogonal, so it holds at any depth: nothing grows "
        "and nothing fades. But entries have signs, and no mean is kept.",
        "Cauchy–Schwarz: a row sum is the product of a row of length 1 and of ones, of length √n",
    ),
    "ergodic": Formula(
        "Where row-stochastic products end",
        r"<h_res>_{<L>} \cdots <h_res>_2\, <h_res>_1 \;\longrightarrow\; <ones> <pi>^{\top},"
        r"\qquad <backward> \;\longrightarrow\; <n> \max_j <pi>_j",
        "the product of many layers whose rows sum to 1 tends to a matrix with the same row pi "
        "everywhere, and the backward gain to n times the largest entry of pi",
        "If the layers mix. No entry is negative, and each row of the product is an average of the "
        "rows before. Doubly stochastic matrices have the uniform π: gain 1.",
        "Ergodicity of products of stochastic matrices; Dobrushin 1956",
    ),
    "gaussian": Formula(
        "Random logits",
        r"<logits> = <spread>\, <Z>",
        "the logits are sigma times Z",
        "HC takes the same numbers as its mixing matrix.",
        "Init Gaussian",
    ),
    "identity": Formula(
        "Drift from the identity",
        r"<h_res> = <identity> + <spread>\, <Z>",
        "for H C, H res is the identity plus sigma times Z",
        "mHC adds the same noise to logits with a strong diagonal, whose projection is near the "
        "identity.",
        "Init identity",
    ),
    "drift": Formula(
        "How fast HC grows as it drifts",
        r"<h_res> = <identity> + <spread>\, <Z> \quad\Longrightarrow\quad"
        r"\frac{1}{<L>} \, \ln \, <forward> \;\approx\; \tfrac{1}{2}\, (<n> - 2)\, <spread>^2",
        "if H res is the identity plus sigma times Z, the logarithm of the gain per layer is about "
        "half of n minus 2 times sigma squared",
        "For small drift, to leading order; the dotted line of the first plot has the exact rate, "
        "half the mean logarithm of (1 + σ g)² + σ² χ² with g normal and χ² of n − 1 degrees of "
        "freedom. At n = 2 it hardly grows at all, at n = 1 it shrinks.",
        "Top Lyapunov exponent of I + σZ for small σ",
    ),
    "growth": Formula(
        "How fast Gaussian products grow",
        r"\frac{1}{<L>} \, \ln \, <forward> \;\longrightarrow\; <lyapunov> = \tfrac{1}{2}"
        r"\Bigl(\ln \, 2 + <digamma>\bigl(\tfrac{<n>}{2}\bigr)\Bigr) + \ln \, <spread>",
        "the logarithm of the gain per layer tends to lambda, which is half of ln 2 plus digamma "
        "of n over 2, plus ln sigma",
        "Negative at n = 1, where the signal vanishes; the dotted line of the first plot.",
        "Newman, Commun. Math. Phys. 103, 1986",
    ),
    "rank_one": Formula(
        "How fast Gaussian products come near rank one",
        r"\frac{1}{<L>} \, \ln \, <singular_ratio>(<composite>) \;\longrightarrow\;"
        r"<lyapunov>_2 - <lyapunov>_1 = \tfrac{1}{2} \Bigl(<digamma>\bigl(\tfrac{<n>-1}{2}\bigr)"
        r" - <digamma>\bigl(\tfrac{<n>}{2}\bigr)\Bigr)",
        "the logarithm of the second over the first singular value of P, per layer, tends to "
        "lambda 2 minus lambda 1, which is half of digamma of n minus 1 over 2, minus digamma of n "
        "over 2",
        "The spread does not matter. At n = 4 it is ½ − ln 2, a factor of 0.824 per layer.",
        "Newman, Commun. Math. Phys. 103, 1986",
    ),
    "uniform": Formula(
        "Where doubly stochastic products end",
        r"<h_res>_{<L>} \cdots <h_res>_2\, <h_res>_1 \;\longrightarrow\;"
        r"<uniform> = \tfrac{1}{<n>} <ones> <ones>^{\top}",
        "the product of many layers tends to the matrix with 1 over n everywhere",
        "If the layers mix: products of permutations never get there.",
        MHC_PAPER + ", section 4.1 and Fig. 8",
    ),
    "distance": Formula(
        "How alike the streams are",
        r"\left\lVert <composite> - <uniform> \right\rVert_{\text{F}}, \qquad"
        r"<second_singular_value>(<composite>)",
        "the Frobenius distance of P from the uniform matrix, and its second singular value",
        "Both are 0 when every stream carries the average of all.",
        "The metrics of this page",
    ),
    "traffic": Formula(
        "Memory traffic of HC",
        r"\frac{\text{read by HC}}{\text{read by a residual connection}} ="
        r"\frac{(5<n>+1)\,<width> + <n>^2 + 2<n>}{2\,<width>}",
        "numbers read by H C over numbers read by a residual connection: five n plus one times C, "
        "plus n squared plus two n, over two C",
        "For each token and layer, the branch left out.",
        MHC_PAPER + ", Table 2",
    ),
    "recompute": Formula(
        "The best block to recompute",
        r"<L_r>^{*} \approx \sqrt{\frac{<n> <L>}{<n>+2}}",
        "the best block is about the square root of n L over n plus 2",
        "It balances the states that are stored at each block’s start against those inside one.",
        MHC_PAPER + ", Eq. 20",
    ),
}
"""Every formula by its name, in the order in which the page introduces them."""


@cache
def formulas_html() -> str:
    """All formulas, with what they say and where they come from."""
    return (
        '<div class="formulas">'
        + "".join(
            f'<section><h3>{each.title}</h3><div class="drawn">{each.markup()}</div>'
            f'<p>{explained(each.text)}</p><p class="source">{each.source}</p></section>'
            for each in FORMULAS.values()
        )
        + "</div>"
    )
