"""Small models that really make the mistakes that the doctor looks for, and sound ones.

Each mistake is made where its maker made it: in the layer's code, in its start, in how the layers
are put together, or in the optimiser.
"""

import dataclasses
import functools

import torch
from torch import nn
from torch.nn import functional

import mhc_demo as mhc
from mhc_demo import nn as mnn
from mhc_demo.nn.layers import StreamLayer

from ..networks import mlp

WIDTH, STREAMS, DEPTH = 16, 4, 5


class Net(nn.Module):
    """Layers between one expansion and one reduction, as they should be put together."""

    def __init__(self, layers, expand=mnn.expand_streams):
        super().__init__()
        self.layers, self.expand = nn.ModuleList(layers), expand
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x):
        h = self.expand(x, STREAMS)
        for layer in self.layers:
            h = layer(h)
        return self.head(mnn.reduce_streams(h))


def layers(make=mnn.ManifoldHyperConnection, depth=DEPTH, branch=mlp, **options):
    return [make(branch(WIDTH), WIDTH, STREAMS, layer=index, **options) for index in range(depth)]


def silent(width):
    """A branch that starts at zero, as many do: until the first step the streams stay equal."""
    branch = mlp(width)
    nn.init.zeros_(branch[-1].weight)
    nn.init.zeros_(branch[-1].bias)
    return branch


def ours(make=mnn.ManifoldHyperConnection, **options):
    return Net(layers(make, **options))


def inputs():
    return torch.randn(3, 5, WIDTH, generator=torch.Generator().manual_seed(1))


def trained(model, steps=5, lr=0.01):
    x = inputs()
    target = x.flip(-1)[..., : model(x).shape[-1]]
    optimiser = torch.optim.AdamW(mnn.parameter_groups(model, 0.01), lr=lr)
    for _ in range(steps):
        optimiser.zero_grad()
        (model(x) - target).square().mean().backward()
        optimiser.step()
    return model


# Mistakes in a layer's code


class Unapplied(mnn.ManifoldHyperConnection):
    def _merge(self, post, res, h, y):
        return h + post.unsqueeze(-1) * y.unsqueeze(-2)


class Transposed(mnn.ManifoldHyperConnection):
    def _merge(self, post, res, h, y):
        return super()._merge(post, res.mT.contiguous(), h, y)


class Mappings(nn.Module):
    """Dynamic mappings from logits; subclasses get a mistake into them."""

    def __init__(self, width, streams, layer=0, start=None, spread=0.0):
        super().__init__()
        n = self.streams = streams
        self.weight = nn.Parameter(0.02 * torch.randn(n * (n + 2), n * width))
        self.pre = nn.Parameter(torch.full((n,), -3.4))
        self.post = nn.Parameter(torch.zeros(n))
        self.res = nn.Parameter(4.0 * torch.eye(n) if start is None else start.clone())
        with torch.no_grad():
            self.pre[layer % n] = 2.2
            self.res += spread * torch.randn(n, n)

    def forward(self, h):
        x = functional.rms_norm(h.flatten(-2), (h.shape[-2] * h.shape[-1],))
        n = self.streams
        pre, post, res = (x @ self.weight.T).split((n, n, n * n), dim=-1)
        return (
            torch.sigmoid(pre + self.pre),
            2 * torch.sigmoid(post + self.post),
            self.bounded(res.unflatten(-1, (n, n)) + self.res),
        )

    def bounded(self, logits):
        return mhc.sinkhorn_knopp(logits, 20)


class Columns(Mappings):
    def bounded(self, logits):
        return logits.softmax(-2)


class Rows(Mappings):
    def bounded(self, logits):
        return logits.softmax(-1)


class TwoIterations(Mappings):
    def bounded(self, logits):
        return mhc.sinkhorn_knopp(logits, 2)


class Unnormalised(Mappings):
    projection = "sinkhorn"  # so it says

    def bounded(self, logits):
        return logits.exp() / logits.exp().sum(-1, keepdim=True).mean()


class Signed(Mappings):
    """Rows and columns that sum to 1, with negative entries."""

    def bounded(self, logits):
        centred = logits - logits.mean(-1, keepdim=True)
        return centred - centred.mean(-2, keepdim=True) + 1 / self.streams


class Detached(Mappings):
    def bounded(self, logits):
        return mhc.sinkhorn_knopp(logits, 20).detach()


class Hot(Mappings):
    """The start of a public implementation: 0 and -8 over a temperature of 0.05."""

    def __init__(self, width, streams, layer=0):
        super().__init__(width, streams, layer, -8.0 * (1 - torch.eye(streams)))

    def bounded(self, logits):
        return mhc.sinkhorn_knopp(logits / 0.05, 20)


class Saturated(Hot):
    """The same, at a permutation."""

    def bounded(self, logits):
        return super().bounded(logits.roll(1, -1))


class Fixed(Mappings):
    """A mixing that is the same for ever; or by mistake, no parameter."""

    def __init__(self, width, streams, layer=0):
        super().__init__(width, streams, layer)
        self.matrix = self.bounded(self.res.detach())

    def forward(self, h):
        pre, post, _ = super().forward(h)
        return pre, post, self.matrix


class Exchanged(Mappings):
    def forward(self, h):
        pre, post, res = super().forward(h)
        return post, pre, res


class CutBehind(StreamLayer):
    """Detached after the mappings, where only the loss can tell."""

    def _merge(self, post, res, h, y):
        return super()._merge(post, res.detach(), h, y)


def custom(mappings, layer_class=StreamLayer, **options):
    """A network whose layers have these mappings."""
    return Net(
        layer_class(mlp(WIDTH), WIDTH, STREAMS, mappings(WIDTH, STREAMS, layer=index, **options))
        for index in range(DEPTH)
    )


# Mistakes in how layers are put together or started


class Collapsing(Net):
    def __init__(self, layers, every=1):
        super().__init__(layers)
        self.every = every

    def forward(self, x):
        for index, layer in enumerate(self.layers):
            if index % self.every == 0:
                h = mnn.expand_streams(x, STREAMS)
            h = layer(h)
            x = mnn.reduce_streams(h)
        return self.head(x)


class TwoStacks(nn.Module):
    """An encoder and a decoder, each with its own streams."""

    def __init__(self):
        super().__init__()
        self.first, self.between, self.second = ours(), nn.Linear(3, WIDTH), ours()

    def forward(self, x):
        return self.second(self.between(self.first(x)))


def silent_head(model):
    """A head that starts at zero: nothing that the layers do shows in the output."""
    nn.init.zeros_(model.head.weight)
    return model


def uniform(**options):
    """Mappings that read all streams alike."""
    model = ours(**options)
    with torch.no_grad():
        for layer in model.layers:
            layer.mappings.b_pre.fill_(-1.1)
    return model


def first_stream_only():
    """Everything in stream 0 and nothing in the others, which nobody writes to."""

    def expand(x, streams):
        return torch.stack([x, *[torch.zeros_like(x)] * (streams - 1)], dim=-2)

    model = Net(layers(mnn.HyperConnection, dynamic=False), expand)
    with torch.no_grad():
        for layer in model.layers:
            layer.mappings.b_post[1:] = 0.0
            layer.mappings.b_pre.fill_(1 / STREAMS)
            layer.mappings.b_res[0, 1:] = 0.1
    return model


def forgotten(make=mnn.ManifoldHyperConnection):
    return Net(make(mlp(WIDTH), WIDTH, STREAMS) for _ in range(DEPTH))


def infinite():
    model = ours(mnn.HyperConnection)
    with torch.no_grad():
        model.layers[2].mappings.b_res[1, 1] = float("nan")
    return model


# Other families


def deepseek(layer_class=None, seed=0, hyper=None):
    """A tiny random DeepSeek-V4 of transformers, whose layers can be exchanged for faulty ones."""
    from transformers import DeepseekV4Config
    from transformers.models.deepseek_v4 import modeling_deepseek_v4 as theirs

    torch.manual_seed(seed)
    config = DeepseekV4Config(**TINY)
    model = theirs.DeepseekV4ForCausalLM(config)
    for layer in model.model.layers:
        if layer_class is not None:
            layer.__class__ = layer_class(theirs)
        if hyper is not None:
            for name in ("attn_hc", "ffn_hc"):
                getattr(layer, name).__class__ = hyper(theirs)
    return model.eval()


TINY = {
    "vocab_size": 64,
    "hidden_size": 32,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "q_lora_rank": 16,
    "o_groups": 1,
    "o_lora_rank": 16,
    "n_routed_experts": 2,
    "n_shared_experts": 1,
    "num_experts_per_tok": 1,
    "sliding_window": 8,
    "index_n_heads": 1,
    "index_head_dim": 16,
    "index_topk": 4,
    "qk_rope_head_dim": 8,
    "max_position_embeddings": 64,
}


def token_ids():
    ids = torch.randint(0, 64, (2, 8), generator=torch.Generator().manual_seed(2))
    return {"input_ids": ids}


def merged(comb):
    """A decoder layer of DeepSeek-V4 that mixes with `comb(matrix)` in place of its transpose."""

    def make(theirs):
        class Faulty(theirs.DeepseekV4DecoderLayer):
            def forward(self, h, input_ids=None, **kwargs):
                post, mixing, x = self.attn_hc(h)
                y, _ = self.self_attn(self.input_layernorm(x), **kwargs)
                h = post.unsqueeze(-1) * y.unsqueeze(-2) + comb(mixing, h)
                post, mixing, x = self.ffn_hc(h)
                y = self.mlp(self.post_attention_layernorm(x), input_ids=input_ids)
                return post.unsqueeze(-1) * y.unsqueeze(-2) + comb(mixing, h)

        return Faulty

    return make


class Lucid(nn.Module):
    """A model of the package hyper-connections, of either kind."""

    def __init__(self, kind, faulty=None, index=True, **options):
        super().__init__()
        from hyper_connections import (
            HyperConnections,
            manifold_constrained_hyper_connections,
            mHCv2,
        )

        torch.manual_seed(0)
        module = {"mhc": manifold_constrained_hyper_connections, "v2": mHCv2}.get(kind)
        cls = HyperConnections if kind == "hc" else module.ManifoldConstrainedHyperConnections
        self.expand, self.reduce = cls.get_expand_reduce_stream_functions(STREAMS)
        cls = cls if faulty is None else faulty(cls)
        self.layers = nn.ModuleList(
            cls(STREAMS, dim=WIDTH, branch=mlp(WIDTH), layer_index=at if index else 0, **options)
            for at in range(DEPTH)
        )

    def forward(self, x):
        h = self.expand(x)
        for layer in self.layers:
            h = layer(h)
        return self.reduce(h)


def unmixed(cls):
    """The mistake that the package itself made once."""

    class Unmixed(cls):
        def width_connection(self, residuals):
            branch_input, _, rest = super().width_connection(residuals)
            return branch_input, residuals, rest

    Unmixed.__name__ = cls.__name__
    return Unmixed


class Blocks(nn.Module):
    """A model of nobody's: `hc` returns H_res beside other things, as a dictionary."""

    def __init__(self, transposed=False, applied=True):
        super().__init__()
        self.blocks = nn.ModuleList(_Block(index, transposed, applied) for index in range(DEPTH))

    def forward(self, x):
        h = mnn.expand_streams(x, STREAMS)
        for block in self.blocks:
            h = block(h)
        return h.sum(-2)


class _Block(nn.Module):
    def __init__(self, layer, transposed, applied):
        super().__init__()
        self.hc, self.branch = _Packed(layer), mlp(WIDTH)
        self.transposed, self.applied = transposed, applied

    def forward(self, h):
        made = self.hc(h)
        n = STREAMS
        pre, post = made["all"][..., :n], made["all"][..., n : 2 * n]
        res = made["all"][..., 2 * n :].unflatten(-1, (n, n))
        if self.transposed:
            res = res.mT
        y = self.branch((pre.unsqueeze(-1) * h).sum(-2))
        return (res @ h if self.applied else h) + post.unsqueeze(-1) * y.unsqueeze(-2)


class _Packed(nn.Module):
    """All mappings in one tensor, of which `read` takes a view."""

    def __init__(self, layer):
        super().__init__()
        self.inner = Mappings(WIDTH, STREAMS, layer)

    def forward(self, h):
        pre, post, res = self.inner(h)
        return {"all": torch.cat((pre, post, res.flatten(-2)), dim=-1)}


def packed(output):
    n = STREAMS
    x = output["all"]
    return x[..., :n], x[..., 2 * n :].unflatten(-1, (n, n)), x[..., n : 2 * n]


PACKED = {"where": "blocks.*.hc", "read": packed, "transposed": False}


@dataclasses.dataclass
class Case:
    """A model with what it is called with, and what should be found."""

    make: object
    finding: str
    certainty: str = "mistake"
    inputs: object = inputs
    options: dict = dataclasses.field(default_factory=dict)
    long: bool = False
    """Fails where another case does too."""


MISTAKES = {
    "unapplied": Case(functools.partial(ours, Unapplied), "not_applied"),
    "transposed": Case(functools.partial(ours, Transposed), "transposed"),
    "columns alone": Case(functools.partial(custom, Columns), "one_axis"),
    "rows alone": Case(functools.partial(custom, Rows), "one_axis"),
    "two iterations": Case(functools.partial(custom, TwoIterations, spread=2.0), "one_axis"),
    "unnormalised": Case(functools.partial(custom, Unnormalised), "not_doubly_stochastic"),
    "detached": Case(functools.partial(custom, Detached), "no_gradient"),
    "cut behind": Case(functools.partial(custom, Mappings, CutBehind), "no_gradient"),
    "hot": Case(functools.partial(custom, Hot), "frozen"),
    "saturated": Case(functools.partial(custom, Saturated), "frozen", long=True),
    "fixed": Case(functools.partial(custom, Fixed), "no_gradient", "look at this"),
    "all but the identity": Case(functools.partial(ours, mixing=1e-9), "frozen"),
    "exchanged": Case(functools.partial(custom, Exchanged), "order"),
    "sharp": Case(functools.partial(custom, Mappings, spread=12.0), "sharp"),
    "collapsing": Case(lambda: Collapsing(layers()), "collapsed"),
    "collapsing in blocks of two": Case(lambda: Collapsing(layers(depth=6), 2), "collapsed"),
    "collapsing hc": Case(lambda: Collapsing(layers(mnn.HyperConnection)), "collapsed", long=True),
    "uniform": Case(uniform, "identical"),
    "uniform, static": Case(functools.partial(uniform, dynamic=False), "identical", long=True),
    "layer forgotten": Case(forgotten, "reading"),
    "layer forgotten, hc": Case(lambda: forgotten(mnn.HyperConnection), "reading", long=True),
    "layer forgotten, trained": Case(lambda: trained(forgotten()), "reading", long=True),
    "one stream": Case(first_stream_only, "carrying"),
    "not a number": Case(infinite, "not_finite"),
    "residual": Case(
        lambda: Net(mnn.Residual(mlp(WIDTH), WIDTH) for _ in range(DEPTH)),
        "no_mixing",
        "look at this",
    ),
    "deepseek unapplied": Case(
        lambda: deepseek(merged(lambda comb, h: h)), "not_applied", inputs=token_ids, long=True
    ),
    "deepseek not transposed": Case(
        lambda: deepseek(merged(lambda comb, h: comb @ h)), "transposed", inputs=token_ids
    ),
    "hyper-connections mhc unapplied": Case(lambda: Lucid("mhc", unmixed), "not_applied"),
    "hyper-connections hc unapplied": Case(lambda: Lucid("hc", unmixed), "not_applied", long=True),
    "hyper-connections v2 unapplied": Case(lambda: Lucid("v2", unmixed), "not_applied"),
    "hyper-connections mhc, one index": Case(
        lambda: Lucid("mhc", index=False), "reading", long=True
    ),
    "hyper-connections mhc, softmax": Case(
        lambda: Lucid("mhc", residual_mix_constraint_fn=lambda x: x.softmax(-1)),
        "one_axis",
    ),
    "packed, transposed": Case(lambda: Blocks(transposed=True), "transposed", options=PACKED),
    "packed, unapplied": Case(lambda: Blocks(applied=False), "not_applied", options=PACKED),
}

SOUND = {
    "hc": Case(functools.partial(ours, mnn.HyperConnection), ""),
    "hc static": Case(functools.partial(ours, mnn.HyperConnection, dynamic=False), ""),
    "mhc": Case(ours, ""),
    "mhc static": Case(functools.partial(ours, dynamic=False), "", long=True),
    "mhc-lite": Case(functools.partial(ours, projection="mhc-lite"), ""),
    "released": Case(functools.partial(ours, projection="released"), ""),
    "hc trained": Case(lambda: trained(ours(mnn.HyperConnection)), "", long=True),
    "mhc trained": Case(lambda: trained(ours()), ""),
    "mhc trained longer": Case(lambda: trained(ours(), 40), "", long=True),
    "custom": Case(functools.partial(custom, Mappings), ""),
    "hc, silent branches": Case(lambda: ours(mnn.HyperConnection, branch=silent), ""),
    "mhc, silent branches": Case(lambda: ours(branch=silent), ""),
    "mhc, silent head": Case(lambda: silent_head(ours()), ""),
    "dropout": Case(lambda: ours(branch=functools.partial(mlp, dropout=0.3)), ""),
    "one token": Case(ours, "", inputs=lambda: inputs()[0, 0]),
    "half precision": Case(lambda: ours().bfloat16(), "", inputs=lambda: inputs().bfloat16()),
    "deepseek, half precision": Case(lambda: deepseek().bfloat16(), "", inputs=token_ids),
    "hyper-connections mhc, trained": Case(lambda: trained(Lucid("mhc"), 10), "", long=True),
    "deepseek": Case(deepseek, "", inputs=token_ids),
    "hyper-connections hc": Case(lambda: Lucid("hc"), ""),
    "hyper-connections mhc": Case(lambda: Lucid("mhc"), ""),
    "hyper-connections v2": Case(lambda: Lucid("v2"), ""),
    "packed": Case(Blocks, "", options=PACKED),
    "recomputed": Case(lambda: Net([mnn.Recomputed(layers())]), ""),
}
