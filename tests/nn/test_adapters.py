"""Recording the mappings of models that are not ours, against those models themselves."""

import functools

import pytest
import torch
from torch import nn

import mhc_demo as mhc
from mhc_demo import nn as mnn
from mhc_demo.nn import adapters

from . import foreign
from .networks import ALL_STARTS, FLOAT32, compiling, network, randomised

pytestmark = pytest.mark.filterwarnings("error:.*mhc_demo")

# Every product rounds its n terms once; two layers of them, and the model's own order of adding.
CLOSE = {"rtol": 64 * FLOAT32, "atol": 64 * FLOAT32}


def recorded(model, *inputs, **settings):
    with torch.no_grad(), mnn.record_mappings(model, **settings) as maps:
        model(*inputs)
    return maps


def applied(maps, h):
    """The composite of all layers, applied to streams (..., n, C)."""
    return mhc.compose(maps).matrix(at=len(maps)) @ h


@pytest.mark.parametrize("make", [foreign.deepseek_v4, foreign.glm5_next])
def test_the_recorded_product_is_what_deepseek_v4_and_its_kin_apply(make):
    model = foreign.silenced(make(layers=2))
    layers = model.get_submodule("model.layers" if make is foreign.deepseek_v4 else "layers")
    # The model starts with equal streams, which no matrix whose rows sum to 1 would change.
    first, streams = torch.randn(2, 6, 4, 32), []
    layers[0].register_forward_pre_hook(lambda m, args: (first, *args[1:]))
    layers[-1].register_forward_hook(
        lambda m, args, out: streams.append(out[0] if isinstance(out, tuple) else out)
    )
    maps = recorded(model, foreign.tokens())
    assert maps.family == "deepseek_v4"
    assert maps.mixes
    assert [name.removeprefix("model.") for name in maps.names] == [
        "layers.0.attn_hc", "layers.0.ffn_hc", "layers.1.attn_hc", "layers.1.ffn_hc",
    ]  # fmt: skip
    torch.testing.assert_close(applied(maps, first), streams[0], **CLOSE)


def test_what_deepseek_v4_reads_and_writes_is_recorded():
    model = foreign.deepseek_v4(layers=2)
    layer = model.model.layers[1]
    seen = {}
    layer.ffn_hc.register_forward_hook(lambda m, args, out: seen.update(h=args[0], read=out[2]))
    layer.mlp.register_forward_hook(lambda m, args, out: seen.update(wrote=out))
    layer.register_forward_hook(lambda m, args, out: seen.update(out=out))
    maps = recorded(model, foreign.tokens(), streams=True, logits=True)
    pre, res, post = maps.H_pre[3], maps[3], maps.H_post[3]
    torch.testing.assert_close((pre.unsqueeze(-2) @ seen["h"]).squeeze(-2), seen["read"], **CLOSE)
    out = res @ seen["h"] + post.unsqueeze(-1) * seen["wrote"].unsqueeze(-2)
    torch.testing.assert_close(out, seen["out"], **CLOSE)
    released = mhc.project(maps.logits[3], "released", 20)
    torch.testing.assert_close(released, res, rtol=1e-5, atol=1e-6)


# (In version 0.4.11 mHC itself fails with two views.)
@pytest.mark.parametrize(("kind", "views"), [*((kind, 1) for kind in foreign.KINDS), ("HC", 2)])
def test_the_recorded_product_is_what_hyper_connections_apply(kind, views):
    class Zero(nn.Module):
        def forward(self, x):
            return torch.zeros_like(x if views == 1 else x[0])

    layers = foreign.hyper_connections(kind, branch=Zero(), num_input_views=views)
    model = nn.Sequential(*layers)
    h = torch.randn(2, 5, 4, 8)
    inside = h if kind == "mHCv2" else foreign.to_batch(h)
    maps = recorded(model, inside)
    with torch.no_grad():
        out = model(inside)
    out = out if kind == "mHCv2" else foreign.from_batch(out, 4)
    assert maps.names == ["0", "1", "2"]
    assert maps.family == "hyper-connections"
    assert maps.stack().shape == (2, 5, 3, 4, 4)
    torch.testing.assert_close(applied(maps, h), out, **CLOSE)
    assert (maps.H_pre[0] is None) == (views == 2)
    if kind != "HC":  # Sinkhorn-Knopp that ends on rows, applied transposed
        torch.testing.assert_close(maps.stack().sum(-2), torch.ones(2, 5, 3, 4), **CLOSE)


@pytest.mark.parametrize("kind", foreign.KINDS)
def test_what_hyper_connections_read_and_write_is_recorded(kind):
    seen = {}

    class Branch(nn.Linear):
        def forward(self, x):
            seen["read"], seen["wrote"] = x, super().forward(x)
            return seen["wrote"]

    (layer,) = foreign.hyper_connections(kind, depth=1, branch=Branch(8, 8))
    h = torch.randn(2, 5, 4, 8)
    inside = h if kind == "mHCv2" else foreign.to_batch(h)
    maps = recorded(layer, inside, streams=True)
    with torch.no_grad():
        out = layer(inside)
    out = out if kind == "mHCv2" else foreign.from_batch(out, 4)
    pre, res, post = maps.H_pre[0], maps[0], maps.H_post[0]
    torch.testing.assert_close((pre.unsqueeze(-2) @ h).squeeze(-2), seen["read"], **CLOSE)
    mixed = res @ h + post.unsqueeze(-1) * seen["wrote"].unsqueeze(-2)
    torch.testing.assert_close(mixed, out, **CLOSE)
    torch.testing.assert_close(maps.streams[0].norm, h.norm(dim=-1).mean((0, 1)))


def test_proposals_of_hyper_connections_are_averaged_and_a_module_may_be_the_constraint():
    class Constraint(nn.Module):
        def forward(self, logits):
            return mhc.project(logits, "columns")

    layers = foreign.hyper_connections(
        "mHC", depth=2, num_dynamic_alpha_proposals=3, branch=nn.Identity(),
        residual_mix_constraint_fn=Constraint(),
    )  # fmt: skip
    model = nn.Sequential(*layers)
    h = torch.randn(2, 5, 4, 8)
    maps = recorded(model[:1], foreign.to_batch(h), logits=True)
    with torch.no_grad():
        out = foreign.from_batch(model[0](foreign.to_batch(h)), 4)
    read = maps.H_pre[0].unsqueeze(-2) @ h
    expected = maps[0] @ h + maps.H_post[0].unsqueeze(-1) * read
    torch.testing.assert_close(expected, out, **CLOSE)
    assert maps.logits == [None]


def test_recording_leaves_hyper_connections_as_they_were():
    (layer,) = foreign.hyper_connections("mHC", depth=1)
    before = layer.residual_mix_constraint_fn
    with mnn.record_mappings(layer) as outer, mnn.record_mappings(layer) as inner:
        layer(torch.randn(8, 5, 8))
    assert torch.equal(outer[0], inner[0])
    assert layer.residual_mix_constraint_fn is before
    layer(torch.randn(4, 5, 8))
    assert outer[0].shape == (2, 5, 4, 4)


def test_variants_of_hyper_connections_that_are_not_understood_are_named():
    pytest.importorskip("hyper_connections")
    layers = foreign.hyper_connections("HC", num_fracs=2)
    with pytest.raises(ValueError, match=r"'0'.*num_fracs=2"):
        recorded(layers, torch.zeros(1))
    from hyper_connections import hyper_connections_channel_first as variant

    with pytest.raises(ValueError, match=r"channel_first.*other parameters"):
        recorded(variant.HyperConnections(4, dim=8), torch.zeros(1))


@pytest.mark.parametrize("make", [foreign.hy_v4, foreign.qwen4_exp])
def test_models_that_do_not_mix_say_so(make):
    model = make()
    name = "layers.1.ffn_hc" if make is foreign.hy_v4 else "layers.1.mlp_hyper_connection"
    seen = {}
    module = model.get_submodule(name)
    module.register_forward_hook(lambda m, args, out: seen.update(h=args[0], out=out))
    model.layers[1].mlp.register_forward_hook(lambda m, args, out: seen.update(wrote=out))
    model.layers[1].register_forward_hook(lambda m, args, out: seen.update(after=out))
    maps = recorded(model, foreign.tokens(), streams=True)
    assert maps.names[-1] == name
    assert len(maps) == 4
    assert not maps.mixes
    assert "does not mix" in maps.remarks[0]
    assert torch.equal(maps.stack(), torch.eye(4).expand(4, 4, 4))
    h = seen["h"].reshape(2, 6, 4, 32)
    if make is foreign.hy_v4:
        read = (maps.H_pre[-1].unsqueeze(-2) @ h).squeeze(-2)
        torch.testing.assert_close(read, seen["out"][-1], **CLOSE)
    else:
        assert maps.H_pre == [None] * 4
    after = seen["after"][0] if isinstance(seen["after"], tuple) else seen["after"]
    written = h + maps.H_post[-1].unsqueeze(-1) * seen["wrote"].unsqueeze(-2)
    torch.testing.assert_close(written, after.reshape_as(written), **CLOSE)


class Mixer(nn.Module):
    """Somebody's module that returns its mappings in a dictionary."""

    def __init__(self, streams=3):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(streams, streams))

    def forward(self, h):
        return {"comb": self.weight.softmax(-1), "gate": h.mean(-1).sigmoid()}


class Theirs(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.ModuleDict({"hc": Mixer()}) for _ in range(2))

    def forward(self, h):
        for block in self.blocks:
            h = block["hc"](h)["comb"].T @ h
        return h


def test_any_model_is_recorded_by_a_pattern_a_reader_and_an_orientation():
    model, h = Theirs(), torch.randn(5, 3, 8)
    maps = recorded(
        model, h, where="*.hc", transposed=True, streams=True,
        read=lambda output: (output["gate"], output["comb"], None),
    )  # fmt: skip
    assert maps.names == ["blocks.0.hc", "blocks.1.hc"]
    assert maps.family == "pattern"
    assert maps.H_post == [None, None]
    assert maps.streams[0].write is None
    torch.testing.assert_close(applied(maps, h), model(h), **CLOSE)
    straight = recorded(model, h, where="*.hc", transposed=False, read=lambda out: out["comb"])
    assert torch.equal(straight[0], maps[0].mT)


def test_errors_say_how_a_pattern_is_given():
    model, h = Theirs(), torch.randn(5, 3, 8)
    read = lambda out: out["comb"]  # noqa: E731
    for settings, error, words in (
        ({"where": "*.hc", "read": read}, TypeError, "transposed must be True or False.*M.T @ old"),
        ({"where": "*.mhc", "transposed": False}, ValueError, "matches no module.*'blocks.0.hc'"),
        ({"where": [], "transposed": False}, TypeError, r"where must be a pattern"),
        ({"where": "*.hc", "transposed": False, "read": 3}, TypeError, "read must be a function"),
        ({"where": "*.hc", "transposed": False}, ValueError, "'blocks.0.hc' must be H_res.*dict"),
        (
            {
                "where": "*.hc",
                "transposed": False,
                "read": lambda o: (o["comb"][0, :2], o["comb"], None),
            },
            ValueError,
            r"H_pre of 'blocks.0.hc' must be .*\(..., 3\).*\(2,\)",
        ),
        ({"read": read}, ValueError, "read goes with where"),
        ({"transposed": True}, ValueError, "transposed goes with where"),
        ({}, ValueError, r"no layer to record that is known: Theirs.*where="),
    ):
        with pytest.raises(error, match=words):
            recorded(model, h, **settings)


@pytest.mark.parametrize("kind", ["mhc", "mhc-static", "mhc-with-sinkhorn", "mhc-released"])
def test_the_logits_of_our_layers_project_to_what_is_recorded(kind):
    model = randomised(network(kind, depth=2))
    maps = recorded(model, torch.randn(3, 4, 8), logits=True)
    projection = "released" if kind == "mhc-released" else "sinkhorn"
    for logits, res in zip(maps.logits, maps, strict=True):
        torch.testing.assert_close(mhc.project(logits, projection), res, **CLOSE)
    assert recorded(model, torch.randn(3, 4, 8)).logits == [None] * 2


def test_every_kind_of_our_layers_is_found():
    for kind in ALL_STARTS:
        (site,) = adapters.sites_of(network(kind, depth=1))
        assert (site.name, site.family) == ("0", "mhc_demo")


def test_statistics_of_the_streams_are_those_of_the_definition():
    (layer,) = model = randomised(network("mhc", depth=1))
    h = torch.randn(2, 5, 4, 8)
    maps = recorded(model, h, streams=True)
    (found,) = maps.streams
    norms = h.norm(dim=-1)
    torch.testing.assert_close(found.norm, norms.mean((0, 1)))
    cosine = nn.functional.cosine_similarity(h.unsqueeze(-2), h.unsqueeze(-3), dim=-1)
    torch.testing.assert_close(found.cosine, cosine.mean((0, 1)))
    parts = maps.H_pre[0] * norms
    torch.testing.assert_close(found.read, (parts / parts.sum(-1, keepdim=True)).mean((0, 1)))
    post = maps.H_post[0]
    torch.testing.assert_close(found.write, (post / post.sum(-1, keepdim=True)).mean((0, 1)))
    assert found.tokens == 10
    assert recorded(model, h).streams is None
    for kind in ("hc-static", "residual"):  # mappings without token axes, streams with and without
        model = randomised(network(kind, depth=1))
        for given in (h, h[0, 0]):
            (found,) = recorded(model, given, streams=True).streams
            assert found.read.sum() == pytest.approx(1)
            assert found.write.sum() == pytest.approx(1)
    model = nn.Sequential(layer)
    with torch.no_grad():  # nothing divides by zero
        zero = recorded(model, torch.zeros(2, 4, 8), streams=True).streams[0]
    assert zero.cosine.abs().max() == 0
    assert zero.read.abs().max() == 0
    read, layer.mappings.b_pre.data[:] = found.read, float("-inf")
    layer.mappings.alpha.data[0] = 0
    silent = recorded(model, h, streams=True).streams[0]
    assert silent.read.abs().max() == 0 < read.min()


def test_calls_can_be_accumulated():
    model = randomised(network("mhc", depth=2))
    a, b = torch.randn(2, 3, 4, 8), torch.randn(5, 4, 8)
    with torch.no_grad(), mnn.record_mappings(model, accumulate=True, streams=True) as maps:
        model(a)
        model(b)
    apart = [recorded(model, each, streams=True) for each in (a, b)]
    assert (maps.batches, maps.tokens) == (2, 11)
    assert [each.tokens for each in apart] == [6, 5]
    assert torch.equal(maps[1], torch.cat([apart[0][1].flatten(0, 1), apart[1][1]]))
    assert torch.equal(
        maps.H_pre[0], torch.cat([apart[0].H_pre[0].flatten(0, 1), apart[1].H_pre[0]])
    )
    first, second, both = (each.streams[1] for each in (*apart, maps))
    assert both.tokens == 11
    torch.testing.assert_close(both.norm, (6 * first.norm + 5 * second.norm) / 11)
    static = network("hc-static", depth=1)
    with mnn.record_mappings(static, accumulate=True) as maps:
        static(a)
        static(b)
    assert maps[0].shape == (4, 4)


def test_a_module_that_is_used_twice_is_one_layer_or_one_for_each_call():
    layer = randomised(network("mhc", depth=1, branch=lambda width: nn.Identity()))[0]
    model = nn.Sequential(layer, randomised(network("hc", depth=1))[0], layer)
    h = torch.randn(2, 4, 8)
    once, each = recorded(model, h), recorded(model, h, every_call=True)
    assert once.names == ["0", "1"]
    assert once.calls == [2, 1]
    assert each.names == ["0", "1", "0 (2)"]
    assert torch.equal(each[2], once[0])
    assert mhc.compose(each).matrix(3).shape == (2, 4, 4)
    with pytest.raises(ValueError, match=r"'0' was called 2 times.*every_call=True"):
        mhc.compose(once)
    # One module of mappings in two layers is seen in both.
    first, second = randomised(network("hc", depth=2))
    second.mappings = first.mappings
    shared = recorded(nn.Sequential(first, second), h, every_call=True)
    assert shared.names == ["0", "0 (2)"]


def test_numerics_take_a_recording_and_refuse_layers_that_have_axes_of_their_own():
    model = randomised(network("mhc", depth=3))
    maps = recorded(model, torch.randn(5, 4, 8))
    stacked = maps.stack()
    assert torch.equal(mhc.amax_gain(maps, "backward"), mhc.amax_gain(stacked, "backward"))
    assert mhc.compose(maps).log10_gain().shape == (5, 3)
    assert mhc.project(maps, "rows").shape == (5, 3, 4, 4)
    assert mhc.distance_from_doubly_stochastic(maps).shape == (5, 3)
    for function in (mhc.compose, mhc.amax_gain, mhc.project, mhc.sinkhorn_knopp):
        for layers in (list(maps), maps[:2], tuple(each.numpy() for each in maps)):
            with pytest.raises(ValueError, match=r"shape \(5, 4, 4\).*np.stack\(arrays, axis=-3\)"):
                function(layers)
        with pytest.raises(ValueError, match="no mappings were recorded"):
            function(mnn.RecordedMappings([], every_call=False, accumulate=False))
    assert mhc.compose([each[0].numpy() for each in maps]).exponent.shape == (3,)


def test_a_model_that_was_compiled_before_is_recorded():
    model = randomised(network("mhc", depth=2))
    h = torch.randn(3, 4, 8)
    expected = recorded(model, h)
    with compiling(), torch.no_grad():
        compiled = torch.compile(model, backend="eager")
        compiled(h)
        for each in (compiled, model):
            with mnn.record_mappings(each) as maps:
                compiled(h)
            assert maps.names == ["0", "1"]
            torch.testing.assert_close(maps.stack(), expected.stack())


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable. is deprecated:FutureWarning")
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_models_of_others_are_recorded_once(reentrant):
    model = foreign.deepseek_v4(layers=2).train()
    expected = recorded(model, foreign.tokens())
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    with mnn.record_mappings(model, every_call=True) as maps:
        model(foreign.tokens(), use_cache=False).logits.sum().backward()
    assert maps.names == expected.names
    assert torch.equal(maps.stack(), expected.stack())


@pytest.mark.parametrize("kind", foreign.KINDS)
def test_checkpointed_hyper_connections_are_recorded_once(kind):
    (layer,) = foreign.hyper_connections(kind, depth=1)
    h = torch.randn(4, 5, 4, 8) if kind == "mHCv2" else torch.randn(4, 5, 8)
    run = functools.partial(torch.utils.checkpoint.checkpoint, layer, use_reentrant=False)
    with mnn.record_mappings(layer, every_call=True) as maps:
        run(h).sum().backward()
    assert maps.calls == [1]


def test_a_family_can_be_added_from_any_module():
    class Foreign(nn.Module):
        def forward(self, h):
            return torch.eye(3).roll(1, 0)

    @adapters.family("foreign")
    def find(path, module):
        if not isinstance(module, Foreign):
            return None
        read = adapters.on_output(module, lambda h, output: adapters.Seen(res=output, streams=h))
        return adapters.Site(path, "foreign", module, read)

    try:
        maps = recorded(nn.Sequential(Foreign()), torch.randn(3, 8), streams=True)
    finally:
        del adapters.FAMILIES["foreign"]
    assert (maps.names, maps.family) == (["0"], "foreign")
    assert maps.H_pre == maps.H_post == [None]
    assert maps.streams[0].read is None
