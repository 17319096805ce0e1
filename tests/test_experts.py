"""The mixture of experts: its routing token by token, its balancing, and what a run records."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import gelu

from mhc_demo import lab
from mhc_demo.cli import main
from mhc_demo.lab.blocks import EXPANSION, Perceptron
from mhc_demo.lab.experts import SPEED, Mixture
from mhc_demo.lab.networks import Network
from mhc_demo.lab.sparsity import CHOSEN, EXPERTS
from mhc_demo.lab.training import Run

SMALL = {"task": "moe", "depth": 4, "width": 8, "steps": 4, "batch": 2}


@pytest.fixture
def mixture() -> Mixture:
    """One whose bias matters: it changes what some of the tokens choose."""
    torch.manual_seed(3)
    made = Mixture(12).double()
    made.bias.copy_(torch.linspace(-0.2, 0.2, EXPERTS))
    return made


def token_by_token(mixture: Mixture, x: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
    """DeepSeek-V3's Eq. 12 to 16, a token at a time: the outputs, and how often each was chosen."""
    outputs, counts = [], np.zeros(EXPERTS)
    for token in x.reshape(-1, x.shape[-1]):
        u = token / torch.sqrt(token.square().mean() + torch.finfo(token.dtype).eps)
        u = u * mixture.norm.weight
        s = torch.sigmoid(mixture.router.weight @ u)
        order = sorted(range(EXPERTS), key=lambda i: -float(s[i].detach() + mixture.bias[i]))
        total = sum(s[i] for i in order[:CHOSEN])
        y = mixture.shared_down(gelu(mixture.shared_up(u)))
        for i in order[:CHOSEN]:
            y = y + s[i] / total * mixture.down[i](gelu(mixture.up[i](u)))
            counts[i] += 1
        outputs.append(y)
    return torch.stack(outputs).reshape(x.shape), counts


def test_it_computes_what_the_equations_say_token_by_token(mixture: Mixture) -> None:
    x = torch.randn(3, 5, 12, dtype=torch.double, requires_grad=True)
    expected, counts = token_by_token(mixture, x)
    found = mixture(x)
    torch.testing.assert_close(found, expected)  # within some 1e-7, of float64
    assert mixture.load is not None
    np.testing.assert_allclose(mixture.load, counts / counts.sum())
    # Gradients of all weights, and of the input, through the gates too.
    weights = [x, *mixture.parameters()]
    by_token = torch.autograd.grad(expected.square().sum(), weights, materialize_grads=True)
    at_once = torch.autograd.grad(found.square().sum(), weights, materialize_grads=True)
    for one, other in zip(by_token, at_once, strict=True):
        torch.testing.assert_close(one, other)
    router = at_once[1 + [name for name, _ in mixture.named_parameters()].index("router.weight")]
    assert router.abs().max() > 0


def test_the_bias_chooses_and_does_not_weigh(mixture: Mixture) -> None:
    x = torch.randn(64, 12, dtype=torch.double)
    with torch.no_grad():
        biased = mixture(x)
        mixture.bias += 5.0  # the same for all: nothing is chosen otherwise
        torch.testing.assert_close(mixture(x), biased, rtol=0, atol=0)
        mixture.bias.zero_()
        assert not torch.equal(mixture(x), biased)
    assert not any("bias" in name and p is mixture.bias for name, p in mixture.named_parameters())
    assert not mixture.bias.requires_grad


def test_only_the_chosen_experts_compute(mixture: Mixture) -> None:
    rows = np.zeros(EXPERTS, int)
    for i, expert in enumerate(mixture.up):
        expert.register_forward_hook(lambda _, inputs, __, i=i: rows.__setitem__(i, len(inputs[0])))
    mixture(torch.randn(7, 9, 12, dtype=torch.double))
    assert rows.sum() == 7 * 9 * CHOSEN
    assert mixture.load is not None
    np.testing.assert_allclose(rows / rows.sum(), mixture.load)


def test_an_expert_that_no_token_chooses_gets_a_gradient_of_zero(mixture: Mixture) -> None:
    mixture.bias[2] = -9.0
    mixture(torch.randn(20, 12, dtype=torch.double)).sum().backward()
    assert mixture.load is not None
    assert mixture.load[2] == 0
    assert mixture.up[2].weight.grad.abs().max() == 0


def test_the_bias_moves_against_the_load_and_evens_it_out() -> None:
    torch.manual_seed(0)
    mixture = Mixture(16)
    # All tokens have much in common: at first most choose the same two.
    x = 2.0 * torch.randn(16) + torch.randn(512, 16)
    mixture(x)
    assert mixture.load is not None
    before, first = mixture.bias.clone(), mixture.load.clone()
    mixture.balance()
    moved = torch.full((EXPERTS,), SPEED).where(first < 1 / EXPERTS, torch.tensor(-SPEED))
    torch.testing.assert_close(mixture.bias - before, moved)
    for _ in range(200):
        mixture(x)
        mixture.balance()
    assert first.max() > 0.25
    assert mixture.load.max() < 0.17  # 1/8 is even; the steps of the bias leave some of it


def test_evaluation_leaves_bias_and_load_alone() -> None:
    mixture = Mixture(8).eval()
    mixture(torch.randn(5, 8))
    mixture.balance()
    assert mixture.load is None
    assert mixture.bias.abs().max() == 0
    settings = lab.Settings(**SMALL)
    run = Run(settings, lab.TASKS["moe"].data(0))
    for _ in lab.train(settings):
        pass
    assert all(each.bias.abs().max() == 0 for each in run.network.mixtures if each)


def test_the_entropy_is_that_of_the_normalised_affinities() -> None:
    entropy = pytest.importorskip("scipy.stats").entropy
    mixture = Mixture(8)
    x = 2.0 * torch.randn(30, 8)
    mixture(x)
    affinities = mixture.router(mixture.norm(x)).sigmoid().detach().double().numpy()
    assert mixture.entropy is not None
    # float32, with sums of 8
    assert float(mixture.entropy) == pytest.approx(entropy(affinities, axis=1, base=2).mean(), 1e-5)


@pytest.mark.parametrize("width", [4, 8, 20, 32])
def test_as_much_is_active_as_in_the_dense_perceptron(width: int) -> None:
    mixture, dense = Mixture(width), Perceptron(width)
    chosen = [each for i in range(CHOSEN) for each in (mixture.up[i], mixture.down[i])]
    active = sum(
        p.numel()
        for each in (*chosen, mixture.shared_up, mixture.shared_down, mixture.norm)
        for p in each.parameters()
    )
    assert active == sum(p.numel() for p in dense.parameters())
    hidden = CHOSEN * mixture.up[0].out_features + mixture.shared_up.out_features
    assert hidden == EXPANSION * width


def test_tokens_that_are_no_numbers_end_in_no_error() -> None:
    x = torch.randn(6, 8)
    x[2] = math.nan
    y = Mixture(8)(x)
    assert y[2].isnan().all()
    assert y[[0, 1, 3, 4, 5]].isfinite().all()


# In the lab


@pytest.mark.parametrize("connection", lab.COMPARED)
def test_the_task_is_text_with_the_branch(connection: str) -> None:
    task = lab.Settings(connection=connection, **SMALL)
    branch = task.changed(task="text", branch="moe")
    both = [list(lab.train(each)) for each in (task, branch)]
    for one, other in zip(*both, strict=True):
        assert (one.loss, vars(one).get("expert_load")) == (
            other.loss,
            vars(other).get("expert_load"),
        )


def test_a_block_is_attention_and_then_the_mixture() -> None:
    network = Network(lab.Settings(**SMALL), lab.TASKS["moe"].data(0))
    assert [each is not None for each in network.mixtures] == [False, True, False, True]
    vectors = lab.Settings(branch="moe", depth=3, width=8)
    assert all(Network(vectors, lab.TASKS["digits"].data(0)).mixtures)


@pytest.mark.parametrize("connection", lab.COMPARED)
def test_a_step_records_the_load_of_every_layer(connection: str) -> None:
    settings = lab.Settings(connection=connection, **SMALL)
    *steps, summary = lab.train(settings)
    choices = settings.batch * 64 * CHOSEN
    for step in steps:
        assert list(map(len, step.expert_load)) == [0, EXPERTS, 0, EXPERTS]
        for load in step.expert_load[1::2]:
            counts = np.array(load) * choices
            np.testing.assert_allclose(counts, counts.round(), atol=1e-3)
            assert counts.round().sum() == choices
        violation = np.mean([max(load) * EXPERTS - 1 for load in step.expert_load[1::2]])
        assert step.load_violation == pytest.approx(violation)
        assert all(map(math.isnan, step.routing_entropy[::2]))
        assert all(2 < entropy <= 3 for entropy in step.routing_entropy[1::2])
        assert step.mean_routing_entropy == pytest.approx(np.mean(step.routing_entropy[1::2]))
    assert summary.load_violation == steps[-1].load_violation  # the last tenth of four is one
    assert summary.routing_entropy == steps[-1].mean_routing_entropy


def test_the_load_is_that_of_the_steps_batch() -> None:
    """The first step's, by a network that was not trained."""
    settings = lab.Settings(**SMALL)
    step = next(lab.train(settings))
    data = lab.TASKS["moe"].data(0)
    rows = np.random.default_rng(0).integers(len(data.train.inputs), size=settings.batch)
    network = Network(settings, data)
    network(torch.tensor(data.train.inputs[rows]))
    mixture = network.mixtures[1]
    assert mixture is not None
    assert mixture.load is not None
    assert step.expert_load[1] == mixture.load.tolist()


def test_the_command_line_says_how_the_experts_were_chosen(tmp_path, capsys) -> None:
    values = [f"--{name}={value}" for name, value in SMALL.items()]
    output = str(tmp_path / "a.jsonl")
    assert main(["train", "--connections", "mhc", *values, "-o", output]) == 0
    end = lab.read_record(tmp_path / "a-mhc.jsonl").summary
    said = (
        f"load violation {end.load_violation:.2f}, routing entropy {end.routing_entropy:.2f} bits"
    )
    assert said in capsys.readouterr().out
    assert main(["runs", str(tmp_path)]) == 0
    title, heads, row = capsys.readouterr().out.splitlines()
    assert title.startswith("Text, mixture of experts")
    assert "load violation" in heads
    assert f"{end.load_violation:.2f} ({end.load_violation:.2f}–" in row


def test_a_dense_network_records_no_load(tmp_path) -> None:
    settings = lab.Settings(**(SMALL | {"task": "text"}))
    *steps, summary = lab.recorded(lab.train(settings), settings, tmp_path / "dense.jsonl")
    assert steps[0].expert_load == steps[0].routing_entropy == []
    assert math.isnan(steps[0].load_violation)
    assert math.isnan(summary.load_violation)
    written = (tmp_path / "dense.jsonl").read_text()
    assert not any(name in written for name in ("expert_load", "load_violation", "entropy"))


def test_a_record_with_experts_is_read_as_it_was_written(tmp_path) -> None:
    settings = lab.Settings(**SMALL)
    path = tmp_path / "moe.jsonl"
    *steps, summary = lab.recorded(lab.train(settings), settings, path)
    found = lab.read_record(path)
    assert found.damage == ""
    for one, other in zip(steps, found.steps, strict=True):
        assert one.expert_load == other.expert_load
        np.testing.assert_array_equal(one.routing_entropy, other.routing_entropy)
    assert found.summary.load_violation == summary.load_violation
    assert found.summary.routing_entropy == summary.routing_entropy


@pytest.mark.parametrize(
    ("bad", "damage"),
    [
        ("[[]]", "expert_load must be a list of 4 lists"),
        ("[[],[],[],3]", "expert_load must have 1024 numbers at most"),
        ('[[],[],[],["x"]]', "expert_load must be a number"),
    ],
)
def test_a_load_that_is_none_is_refused(bad: str, damage: str, tmp_path) -> None:
    settings = lab.Settings(**SMALL)
    path = tmp_path / "moe.jsonl"
    step = next(lab.recorded(lab.train(settings), settings, path))
    path.write_text(
        path.read_text().replace(json.dumps(step.expert_load, separators=(",", ":")), bad)
    )
    found = lab.read_record(path)
    assert found.steps == []
    assert damage in found.damage
