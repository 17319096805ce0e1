"""The story, scene by scene: each is a state of the page, a few sentences and a question.

No number in a text is merely asserted.  `{10^16.2|hc}` is a number as the reader sees it, with the
name of the function in `results.NUMBERS` that computes it with the library for the scene's state;
the tests compare the two.  A number that a paper printed is given with its place, `[3000|Fig. 3b]`.
Any other number in a text is part of the scene's own state.

To add a scene, add an entry to `SCENES`, at its place in the story.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from .formulas import FORMULAS
from .glossary import explained
from .markup import markup, plain, raised, value_of


@dataclass(frozen=True)
class Guess:
    """What the reader guesses before a scene tells it; whoever goes on is told without a guess."""

    asks: str
    """In place of the scene's text, until the answer is shown."""
    answer: str
    """The number that is guessed, as the scene's text has it."""
    before: Mapping[str, int] = field(default_factory=dict)
    """Where sliders stand until then; the answer moves them to where the scene has them."""
    covers: tuple[str, ...] = ()
    """The names of the figures that would tell."""
    secret: bool = False
    """Whether the numbers in huge type and what is written below the plots would tell too."""
    mark: str = ""
    """The figure on whose axis of gains the reader drags a mark, at the scene's depth."""
    choices: tuple[tuple[str, float], ...] = ()
    """Else what there is to choose, each with the largest number for which it is right."""
    plays: bool = False
    """Whether the answer is played, as by the key P."""

    def right(self) -> int:
        """Which of the choices is right."""
        answer = value_of(self.answer)
        return next(i for i, (_, most) in enumerate(self.choices) if answer <= most)


@dataclass(frozen=True)
class Scene:
    """One step of the story."""

    title: str
    text: str
    question: str
    """For the audience."""
    notes: str
    """For the speaker, on a second screen."""
    try_live: str = ""
    """What the notes add about controls and views that the page has, and a file has not."""
    formula: str = ""
    """The name of the formula that the scene is about."""
    state: Mapping[str, Any] = field(default_factory=dict)
    """What differs from the page's defaults."""
    controls: tuple[str, ...] = ("iterations", "depth")
    """What the presenter's view keeps at hand."""
    headline: bool = True
    """Whether to show the two huge numbers, which would give away the point of "harmless"."""
    hidden: tuple[str, ...] = ()
    """The names of the view's figures that the scene is not about."""
    guess: Guess | None = None
    """What the audience guesses first."""
    short: str = ""
    """The text in the short way, where it has to say more or less."""


SCENES: dict[str, Scene] = {
    "surge": Scene(
        title="Something goes wrong at step 12,000",
        text="DeepSeek trained a 27B model with Hyper-Connections. Near step [12,000|Fig. 2] the "
        "loss jumps, and so do the gradients. The picture is not that model, but the same mixing "
        "with random weights, without the layers’ own work: a signal of size 1 enters 4 streams "
        "at the left, and runs through 64 layers. Its size at the end is shown at the right.",
        question="How large is the signal when it comes out?",
        notes="Give them five seconds with the picture before you say anything. The lanes grow "
        "taller: that is the signal. Do not give the number yet. Random matrices are where the "
        "argument starts, not where training does: we come to training later.",
        state={"view": "signal", "iterations": 0},
        controls=("depth",),
        headline=False,
        hidden=("signal-projected",),  # the same as HC's at 0 iterations
    ),
    "stream": Scene(
        title="One residual stream",
        text="This is what nearly every deep network has done since ResNet. A layer adds its "
        "output to the stream: x + F(x). On this path the signal that entered keeps its size "
        "through 64 layers: a gain of {1.00|hc}.",
        formula="residual",
        question="What happens to the signal if a layer adds nothing?",
        notes="Nothing happens to it, and that is a large part of why deep networks train. Drag "
        "Depth: the lane does not change. Everything that follows is about keeping it like this "
        "while we allow more than one stream.",
        state={
            "view": "signal",
            "streams": 1,
            "init": "identity",
            "spread": 0.0,
            "projection": "identity",
        },
        controls=("depth",),
        headline=False,
        hidden=("signal-hc",),  # the same, and no HC
    ),
    "widen": Scene(
        title="Four streams, and a matrix between them",
        text="Hyper-Connections keep n = 4 streams side by side. In every layer a learned 4 × 4 "
        "matrix mixes them. The ribbons are its weights: the wider, the larger, and dashed if "
        "negative. Nothing limits them.",
        formula="layer",
        question="What could such a matrix do to a signal?",
        notes="Point at one ribbon and follow it from stream to stream. These weights are random; "
        "HC learns them. Drag Depth from 0 to 4 and let them watch the lanes change height.",
        state={"view": "signal", "iterations": 0, "depth": 4, "zoom": 4},
        controls=("depth",),
        headline=False,
        hidden=("signal-projected",),
        short="Hyper-Connections (HC) keep n = 4 streams side by side. In every layer a learned 4 "
        "× 4 matrix mixes them. The ribbons are its weights: the wider, the larger, and dashed if "
        "negative. F is the layer’s own work, which we leave out here. Nothing limits the "
        "weights, and with these random ones the numbers at the right already grow after a few "
        "layers.",
    ),
    "bought": Scene(
        title="What widening bought",
        text="It pays. In the 27B model HC beats the plain residual network on every benchmark "
        "that the paper prints. mHC beats HC on all but one: on MATH HC scores [26.4|Table 4] and "
        "mHC [26.0|Table 4].",
        question="So what is wrong with HC?",
        notes="Nobody wants to give up the streams. The paper prints benchmarks for 27B only, so "
        "do not say that it holds at every size. Of the [0.027|Table 1] by which HC lowers the "
        "loss, H_res alone already brings [0.022|Table 1]. The question is how to keep that "
        "quality and lose the jump at step 12,000.",
        state={"view": "benchmarks"},
        controls=(),
        headline=False,
    ),
    "harmless": Scene(
        title="One layer",
        text="What does one such matrix do to a signal? Its Amax gain is its largest absolute row "
        "sum: what leaves a stream when 1 enters all of them. For these layers it is "
        "{2.83|typical}, typically.",
        formula="forward",
        question="Stack 64 of these. What is the gain of the whole stack?",
        notes="Each dot is a layer of one network, the line is the median of 32 networks. This "
        "gain is what one input does, 1 in every stream; it is not the worst case, which is "
        "{4.4|worst_layer}, typically. The next scene asks the audience for a number.",
        state={"view": "layers", "iterations": 0},
        controls=(),
        headline=False,
    ),
    "explosion": Scene(
        title="Sixty-four layers",
        text="{2.83|typical} to the power of 64 would be {10^28.9|power}. But signs cancel, and "
        "the largest rows seldom meet the inputs that drive them: each further layer multiplies "
        "by {1.75|factor}, on average. The median of these networks is {10^16.2|hc}.",
        formula="composite",
        question="And a gradient, on its way back through the same layers?",
        notes="Drag Depth to both ends. Dashed is the backward direction: just as bad. The dotted "
        "line is theory (Newman 1986), {0.242|rate} decades for each layer, which makes some "
        "{10^15.7|stacked} of 64; this ensemble grows by {0.249|slope}. The number is the larger "
        "of two medians over 32 networks: nine in ten of these networks lie between {10^13.6|low} "
        "and {10^18.2|high}. With one stream the signal vanishes instead.",
        try_live="Try Streams.",
        state={"view": "composite", "iterations": 0},
        controls=("depth", "streams"),
        guess=Guess(
            asks="Send 1 into all four streams. After one layer the largest is {2.83|typical}, "
            "typically: this is the layer’s gain. What is the gain of 64 such layers, each with "
            "its own matrix?",
            answer="10^16.2",
            covers=("composite",),
            secret=True,
            mark="composite",
        ),
        hidden=("iterations", "headline-projected"),
        short="It is not {2.83|typical} to the power of 64: signs cancel, and on average each "
        "further layer multiplies by {1.75|factor}. Still, 64 layers reach {10^16.2|hc}, in the "
        "median of 32 such networks. A gradient on its way back grows just as much.",
    ),
    "dial": Scene(
        title="Turn the dial to 1",
        text="mHC takes the exponential of every entry. Then it divides each column by its sum, "
        "and each row by its sum: that is one iteration of Sinkhorn and Knopp. The gain falls "
        "from {10^16.2|hc} to {1.13|projected}.",
        formula="sinkhorn",
        question="After one iteration the columns are not yet right. Why is it enough?",
        notes="Start at 0 and turn slowly. The cliff is between 0 and 1, and after that hardly "
        "anything happens. Do not explain it yet: the next two scenes do.",
        state={"view": "composite", "iterations": 1},
        controls=("iterations", "depth"),
        guess=Guess(
            asks="mHC takes the exponential of each entry. Then it divides each column by its sum, "
            "and each row by its sum: one iteration. Where will the gain of {10^16.2|hc} go?",
            answer="1.13",
            before={"iterations": 0},
            covers=("iterations",),
            mark="composite",
        ),
        short="Now no entry is negative, and each row sums to 1. So each stream becomes a "
        "weighted average of the four, and an average is never larger than what goes in: forward "
        "the gain is 1. Dividing the rows spoils the column sums a little, so backward it is "
        "{1.13|projected}, and more iterations bring that to 1 as well; the paper uses 20. This "
        "is mHC, and the algorithm is Sinkhorn’s and Knopp’s.",
    ),
    "work": Scene(
        title="One iteration, step by step",
        text="Here is one layer’s matrix. The exponential makes every entry positive. Dividing the "
        "columns makes their sums 1 and spoils the rows. Dividing the rows repairs those, and "
        "spoils the columns a little: less each time.",
        question="How quickly does the error shrink?",
        notes="Press P, or Next half step. Watch the sums at the edges turn to 1.00. On the right "
        "the error soon falls by nearly the same factor in every iteration: the square of the "
        "limit’s second singular value. So if the limit hardly mixes, what error there is fades "
        "slowly.",
        state={"view": "sinkhorn", "iterations": 20},
        controls=(),
        headline=False,
    ),
    "why": Scene(
        title="Rows alone",
        text="Here only the rows are divided, so each sums to 1. Then the rows of every product "
        "sum to 1 as well: the forward gain is {1.00|member_forward} at any depth. All entries of "
        "the composite add up to n = 4, and none is negative. So no column can sum to more than "
        "4; the backward gain is {1.74|member_backward}.",
        formula="closed",
        question="What happens if columns are divided instead of rows?",
        notes="Point at the row sums of the composite: all 1.00. Then at its column sums: they "
        "add up to 4. Say both conditions aloud, the sum and the sign; the next scene shows that "
        "it takes both. They will say that with the columns alone the two directions swap, and "
        "they are right, though the number is another one.",
        try_live="Choose “Columns only” to answer the question.",
        state={"projection": "rows", "view": "matrices"},
        controls=("depth", "projection"),
        headline=False,
        hidden=("matrix-layer-hc", "matrix-composite-hc"),
        short="Why does it hold? Here only the rows are divided. At the right of each matrix "
        "stand its row sums: all 1.00, in one layer and in the product of 64, so forward nothing "
        "grows. All entries of the product add up to n = 4, and none is negative, so no column "
        "can sum to more than 4. The largest sums to {1.74|member_backward}: that is how much a "
        "gradient can grow. mHC divides the columns too, which brings this near 1.",
    ),
    "exp": Scene(
        title="The sign and the sum",
        text="mHC does two things: the exponential, taken once, makes every entry positive, and "
        "division fixes the sums. Neither is enough. With the exponential alone the gain is "
        "{10^50.8|projected}. And if entries may be negative, matrices whose rows and columns all "
        "sum to 1 still amplify the worst input by {10^10.7|signed}.",
        question="Why does a sum of 1 not limit the worst case if entries may be negative?",
        notes="Because large entries of both signs can add up to 1. The second number is computed "
        "from 200 networks of random matrices whose rows and columns were shifted to sum to 1, "
        "in the worst-case definition of the gain. The paper’s own gain is exactly 1 for them.",
        state={"view": "composite", "projection": "exp"},
        controls=("depth", "projection"),
        guess=Guess(
            asks="Take only the exponential, with no division. Every entry is positive then, as "
            "with mHC. What is the gain of 64 layers?",
            answer="10^50.8",
            covers=("composite", "iterations"),
            secret=True,
            choices=(
                ("It stays near 1", 10.0),
                ("Between that and HC’s", 1e15),
                ("As large as HC’s", 1e18),
                ("Far larger than HC’s", math.inf),
            ),
        ),
    ),
    "others": Scene(
        title="The other nineteen iterations",
        text="The paper uses 20 iterations. After one iteration the larger of the two gains is "
        "{1.13|after_1}, after 20 it is {1.00|projected}. The explosion is over after the first. "
        "The others bring the column sums to 1 too.",
        question="Would you pay for all of them?",
        notes="The right-hand plot is the dial: nearly everything happens before 1. How much is "
        "left to gain depends on the logits, which is the next scene.",
        state={"view": "composite", "iterations": 20},
        controls=("iterations", "depth"),
    ),
    "sharp": Scene(
        title="When one is not enough",
        text="Sharper logits need more. At spread 5 one iteration leaves a backward gain of "
        "{1.80|projected}, and 20 iterations leave {1.02|after_20}. Both are far below 4, but "
        "neither is 1.",
        formula="gaussian",
        question="Would you expect such logits in a trained network?",
        notes="Turn the dial: now it takes many iterations to come down. This is what the authors "
        "of mHC-lite point out.",
        try_live="Try a larger spread.",
        state={"view": "composite", "spread": 5.0},
        controls=("iterations", "spread"),
    ),
    "alike": Scene(
        title="Layers that resemble each other",
        text="So far each layer was drawn independently, and the next layer evens out what one "
        "leaves uneven. Let the layers share most of their matrix, and it can add up. In the "
        "median network it does not: {1.00|projected}, backward, after 20 iterations. But one in "
        "a hundred reaches {1.89|alike}, where independent layers reach {1.05|independent}. The "
        "paper’s own model peaks near [1.6|Fig. 7b].",
        question="What could make the layers of a trained network resemble each other?",
        notes="This is one way to get there, not proof that it is the paper’s. Drag Depth, then "
        "turn the dial down to 1 and see the band widen. The hundredth network is computed from "
        "2,000, of either kind, at the same spread.",
        state={"view": "composite", "init": "alike", "spread": 4.0, "iterations": 20},
        controls=("iterations", "depth"),
    ),
    "drift": Scene(
        title="Away from the identity",
        text="Nobody starts training from random mixing. Training starts at the identity, where "
        "every stream keeps to itself, and drifts. Here HC’s matrices and mHC’s have moved "
        "equally far, by {0.79|distance_moved}. After 64 layers HC’s gain is {16.8|hc}, and mHC’s "
        "is {1.00|projected}.",
        formula="drift",
        question="How little drift is safe for HC?",
        notes="The formula gives the rate for a typical input; it predicts {12.9|safe}. The gain "
        "is the largest of four sums, which is more: {20.5|drift_median} in the median of 2,000 "
        "networks, of which these 32 are a sample. Equally far means the same Frobenius distance "
        "from the identity, layer by layer. The explosion is something that training can do, not "
        "something that is there at the start.",
        try_live="Drag Spread from 0: HC leaves 1 slowly, then all at once.",
        state={"view": "composite", "init": "equal-drift", "spread": 0.2, "iterations": 20},
        controls=("iterations", "spread"),
        guess=Guess(
            asks="Nobody starts training from random mixing. Training starts at the identity, "
            "where every stream keeps to itself, and drifts. Let HC’s matrices move away from it "
            "by {0.79|distance_moved} each. How large is the gain of 64 of them?",
            answer="16.8",
            covers=("composite", "iterations"),
            secret=True,
            mark="composite",
        ),
    ),
    "training": Scene(
        title="Three networks learn, or do not",
        text="Each was trained with 16 seeds. HC ended at an accuracy of {28 %|fails_enough} or "
        "more in {1|fails_learned_hc} of them, the plain residual network in "
        "{10|fails_learned_residual} and mHC in {15|fails_learned_mhc}; guessing reaches {10 "
        "%|fails_chance}. Every dot is a seed’s final accuracy. One seed is replayed, and the "
        "thin lines are the others.",
        question="Is it the seed, or is it the mixing?",
        notes="Press P: the run takes ten seconds. HC’s gain takes off in the first steps; its "
        "loss then stays near guessing, or, with other seeds, falls and comes back. Read the "
        "rates below the plots aloud. Then answer the question with the controls: hold HC’s H_res "
        "at the identity, and it learns in {15|ablation_learned_hc_identity} of 16; set mHC’s "
        "free, and it learns in {5|ablation_learned_mhc_free}. So it is the mixing that makes "
        "them fail. But mHC without any mixing learns in {15|ablation_learned_mhc_identity} as "
        "well: that a network is stable does not show what its mixing is worth. And at 32 "
        "layers and a learning rate of {0.01|explodes_learning_rate} HC learns as well as mHC, "
        "with a gain that is large too: it is a risk, and not yet a loss.",
        try_live="Show the surprising seed too, under “Seed replayed”.",
        state={
            "view": "lab",
            "replay": 1,
            "lab_depth": 64,
            "lab_learning_rate": 0.03,
        },
        controls=(),
        headline=False,
        guess=Guess(
            asks="A plain residual network, HC and mHC learn handwritten digits: 64 layers, at a "
            "high learning rate of 0.03. All three start from the same seed, and all of it is "
            "repeated with 16 seeds. How often does HC learn?",
            answer="1",
            covers=(
                "runs-gain",
                "runs-loss",
                "runs-gradient_norm",
                "runs-layers",
                "runs-score",
                "runs-ablation",
            ),
            secret=True,
            choices=(
                ("Never", 0.0),
                ("In 1 to 5 of 16", 5.0),
                ("In 6 to 11 of 16", 11.0),
                ("In 12 or more", 16.0),
            ),
            plays=True,
        ),
    ),
    "whole": Scene(
        title="The whole network",
        text="The composite leaves out what the layers add. Count that too: by how much can a "
        "small change of the streams grow? Before training the composite’s norm is "
        "{1.00|composite_start_hc} in all three networks, and the whole network’s is "
        "{29.4|jacobian_start_residual} (residual), {55.2|jacobian_start_hc} (HC) and "
        "{46.8|jacobian_start_mhc} (mHC). After training with the settings at which HC fails they "
        "are {140|jacobian_fails_residual}, {10^24.6|jacobian_fails_hc} and "
        "{197|jacobian_fails_mhc}; HC’s composite alone is {10^23.7|composite_fails_hc}.",
        formula="jacobian",
        question="So what does a composite of 1 promise, and what does it not?",
        notes="It promises that the mixing adds no growth of its own. It does not promise a small "
        "gradient, because the branches add theirs. Solid lines are the whole network, dashed "
        "ones H_res alone, the medians of {16|jacobian_seeds} seeds; HC’s lie between "
        "{10^9.1|least_fails_hc} and {10^33.3|most_fails_hc} at the right, and one of these seeds "
        "learned. Nearly all of that growth is the mixing’s. At the left HC’s line is the "
        "highest, and mixing is not the reason: each of its layers reads one stream and writes to "
        "all four, and mHC’s nearly so. Copy one stream to all at the entry and average them at "
        "the exit, as the network does, and all three give {29.4|through_start_hc}. In the middle "
        "HC has learned, to {96 %|explodes_accuracy_hc}, though its network can grow a change by "
        "{10^5.6|jacobian_explodes_hc}: a large number is a risk, not yet a loss.",
        state={"view": "jacobian"},
        controls=(),
        headline=False,
    ),
    "real": Scene(
        title="The matrices of a trained model",
        text="DeepSeek printed some matrices of its 27B models, averaged over tokens. HC’s "
        "composite gain peaks near [3000|Fig. 3b], mHC’s near [1.6|Fig. 7b]. Look at the columns: "
        "the largest absolute sum of an HC composite is {489|columns_hc}; those of mHC lie "
        "between {0.41|columns_least} and {1.50|columns_most}.",
        question="Which stream lost most, and does the gain tell you?",
        notes="mHC’s rows sum to 1 by construction, so they prove nothing: its columns are what "
        "to look at. A maximum hides what is lost. Figure 3 averages gains over tokens and Figure "
        "8 averages matrices, so [3000|Fig. 3b] and {489|columns_hc} are not the same quantity. "
        "HC’s single layers are not gentle either: the first and the last have gains of "
        "{18.7|first_layer} and {22.5|last_layer}.",
        state={"view": "figure8"},
        controls=(),
        headline=False,
    ),
    "price": Scene(
        title="What is kept, and what fades",
        text="Row sums of 1 keep what all streams share, and column sums of 1 keep their mean. "
        "What fades is the difference between streams. Here +1 enters one stream and −1 another: "
        "after 5 layers {0.02|difference} of the difference is left in this network, and "
        "{0.003|difference_median} in the median of 2,000.",
        formula="uniform",
        question="If the streams end up alike, what are they for?",
        notes="Random matrices mix fast; trained ones mix less in each layer. Half of the answer "
        "is that every layer writes to the streams anew, and not to all alike. The paper calls "
        "this mixing and counts it as a benefit.",
        try_live="Switch on “Layers write” to show that half.",
        state={
            "view": "signal",
            "enters": "difference",
            "iterations": 20,
            "depth": 5,
            "zoom": 8,
        },
        controls=("iterations", "depth"),
        headline=False,
        guess=Guess(
            asks="Row sums of 1 keep what all streams share, and column sums of 1 keep their "
            "mean. Here +1 enters one stream and −1 another. How much of that difference is left "
            "in this network after 5 layers?",
            answer="0.02",
            before={"depth": 1},
            choices=(
                ("A fiftieth or less", 0.02),
                ("About a tenth", 0.2),
                ("About half", 0.7),
                ("Nearly all of it", 1.0),
            ),
        ),
    ),
    "collapse": Scene(
        title="Is that the price of mHC?",
        text="HC’s streams come to be multiples of one as well. Over all 60 layers the printed "
        "composites have {1.00|effective_hc_whole} effective streams with HC and "
        "{1.00|effective_mhc_whole} with mHC; over layers [31 to 60|Fig. 8], {1.00|effective_hc} "
        "and {1.70|effective_mhc}. A long product of matrices that mix comes near rank one, "
        "bounded or not.",
        formula="distance",
        question="So what should you measure beside the gain?",
        notes="The plots in the middle and on the right show both networks; the metrics on the "
        "left compare with a stochastic matrix, and HC’s product is none. Which network’s streams "
        "come together faster depends on the matrices: here it is the projection’s, in the trained "
        "model it was HC’s. The printed matrices are averages over tokens. A network that does not "
        "mix at all is stable as well, and proves nothing: always ask for both numbers. And the "
        "composite is not the streams: layers write to them.",
        state={"view": "mixing", "iterations": 20, "depth": 5},
        controls=("iterations", "depth"),
        headline=False,
    ),
    "cost": Scene(
        title="What it costs",
        text="In the 27B model a layer of HC reads {10.5|reads} times as many numbers as a plain "
        "residual connection, and writes {13.0|writes} times as many. Fused kernels cut that to "
        "{6.5|reads_fused} and {5.0|writes_fused}, recomputing saves memory, and overlapping "
        "hides the communication. The paper measured [6.7 %|section 4.3] more training time.",
        formula="traffic",
        question="What would you pay for a gain of 1 at any depth?",
        notes="The counts are Table 2’s, for n = 4, the layer’s own work left out. mHC stores "
        "more than a residual network, not less. The percentage is the paper’s measurement in "
        "large-scale training; it does not say at which size.",
        try_live="The plots are the projection alone, measured on this machine now.",
        state={"view": "cost", "iterations": 20},
        controls=("iterations",),
        headline=False,
    ),
    "home": Scene(
        title="To take home",
        text="Multiply random matrices that nothing limits, and the signal explodes, to "
        "{10^16.2|hc} after 64 layers, or vanishes. Let no entry be negative and every row and "
        "column sum to 1, and it cannot grow at any depth; one iteration already brings the gain "
        "to {1.13|projected}. Ask two things of your own model: how large is the gain of its "
        "composite, in both directions, and how much do its layers still mix?",
        question="Which of the two will you look at first?",
        notes="Leave this on the screen for the questions. To inspect a model of their own they "
        "need the library, not the page.",
        try_live="The code opens this page on their phones. If it says that only this machine can "
        "reach the page, serve it to the hall next time. The view beside the link lists popular "
        "claims about mHC, and what is true of each.",
        state={"view": "link", "iterations": 1},
        controls=(),
        headline=False,
    ),
}
"""Every scene by its name, in the order of the story: a lecture of some twenty minutes."""

SHORT = ("surge", "widen", "explosion", "dial", "why", "training")
"""The short way through it, for a reader who is alone: some two minutes."""
WAYS = {"The whole lecture": "whole", "The story in two minutes": "short"}
"""The ways through the story, by their names in links."""


def scenes_of(way: str) -> tuple[str, ...]:
    """The scenes of a way through the story, in their order."""
    return SHORT if way == "short" else tuple(SCENES)


def beginning(name: str, *, revealed: bool) -> dict[str, Any]:
    """The state that a scene begins with, which differs until a guess has its answer."""
    scene = SCENES[name]
    before = scene.guess.before if scene.guess and not revealed else {}
    return {**scene.state, **before}


@cache
def scenes_for_browser(*, live: bool = True) -> list[dict[str, Any]]:
    """All scenes as the browser gets them: what the audience reads as HTML, the rest as text.

    `live`: whether for the page, which has all that the notes speak of.
    """
    return [
        {
            "name": name,
            "title": scene.title,
            "text": explained(markup(scene.text)),
            "formula": FORMULAS[scene.formula].markup() if scene.formula else "",
            "question": explained(markup(scene.question)),
            "notes": plain(f"{scene.notes} {scene.try_live}".strip() if live else scene.notes),
            "in_short": name in SHORT,
            "hidden": scene.hidden,
        }
        | ({"short": explained(markup(scene.short))} if scene.short else {})
        | ({"guess": _for_browser(scene, scene.guess)} if scene.guess else {})
        for name, scene in SCENES.items()
    ]


def _for_browser(scene: Scene, guess: Guess) -> dict[str, Any]:
    return {
        "asks": explained(markup(guess.asks)),
        "answer": raised(guess.answer),
        "covers": guess.covers,
        "secret": guess.secret,
        "mark": guess.mark,
        "depth": scene.state.get("depth", 64),
        "choices": [title for title, _ in guess.choices],
        "right": guess.right() if guess.choices else None,
        "before": dict(guess.before),
        "then": {name: scene.state[name] for name in guess.before},
        "plays": guess.plays,
    }
