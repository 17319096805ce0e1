"""Recording, and layers on a CPU beside those of other packages.

Recording: a forward pass of transformers' DeepSeek-V4 with random weights, width 256, four blocks,
that is eight layers, without gradients, alone and with every mapping recorded, in turn; what is
added is the median of the recorded passes over that of the others, less one. Layers: forward and
backward of one layer with four streams of width 256, 1,024 tokens, float32; the branch is a
multiplication, so that what is timed is the mappings and the mixing; 20 iterations where there is a
projection. Each layer has its turn in every round. All on one thread.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mhc_demo import nn as mnn

from .results import Row, Table, rounded
from .timing import in_turn, timed, times_table

STREAMS, WIDTH, TOKENS = 4, 256, 1024
BLOCKS = 4
LENGTHS = (64, 512)
"""Tokens of the recorded passes."""
ROUNDS = 40
TARGET = 0.05
"""The most that recording may add to a forward pass."""


class Scaled(nn.Module):
    """A branch that costs next to nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x


def run() -> Iterator[Table]:
    """A table of recording, and one of layers."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    headings = {
        "what": "tokens",
        "plain_ms": "alone, ms",
        "recorded_ms": "recorded, ms",
        "added": "added",
        "target": "at most",
        "met": "met",
    }
    rows = [recording(tokens, ROUNDS) for tokens in LENGTHS]
    yield Table(headings, rows, f"Recording DeepSeek-V4 of width {WIDTH}, {2 * BLOCKS} layers")
    times = layer_times(TOKENS, ROUNDS)
    yield times_table(
        [timed(name, each) for name, each in times.items()],
        f"One layer, forward and backward, C = {WIDTH}, {TOKENS:,} tokens",
    )


def recording(tokens: int, rounds: int) -> Row:
    """What recording adds to a forward pass of that many tokens."""
    model = deepseek_v4()
    ids = torch.randint(0, model.config.vocab_size, (1, tokens))

    @torch.no_grad()
    def plain() -> None:
        model(ids, use_cache=False)

    @torch.no_grad()
    def recorded() -> None:
        with mnn.record_mappings(model) as maps:
            model(ids, use_cache=False)
        assert len(maps) == 2 * BLOCKS

    alone, with_it = np.median(in_turn(plain, recorded, rounds), axis=1)
    added = with_it / alone - 1
    return {
        "what": f"{tokens:,}",
        "plain_ms": rounded(alone),
        "recorded_ms": rounded(with_it),
        "added": rounded(added),
        "target": TARGET,
        "met": bool(added <= TARGET),
    }


def deepseek_v4() -> Any:
    """A small one, random."""
    package: Any = importlib.import_module("transformers.models.deepseek_v4")
    config = package.DeepseekV4Config(
        vocab_size=1024, hidden_size=WIDTH, moe_intermediate_size=WIDTH, num_hidden_layers=BLOCKS,
        num_attention_heads=4, num_key_value_heads=1, head_dim=64, qk_rope_head_dim=16,
        q_lora_rank=128, o_groups=2, o_lora_rank=64, n_routed_experts=8, num_experts_per_tok=2,
        index_n_heads=4, index_head_dim=64, index_topk=64, sliding_window=128, hc_mult=STREAMS,
    )  # fmt: skip
    return package.DeepseekV4ForCausalLM(config).eval()


def layer_times(tokens: int, rounds: int) -> dict[str, np.ndarray]:
    """Milliseconds of a forward and a backward pass of each layer, by its name."""
    passes = {name: _pass(layer, tokens) for name, layer in contenders().items()}
    times: dict[str, list[float]] = {name: [] for name in passes}
    for each in passes.values():
        each()
    for _ in range(rounds):
        for name, each in passes.items():
            start = time.perf_counter()
            each()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: np.array(each) for name, each in times.items()}


def contenders() -> dict[str, Callable[[Tensor], Tensor]]:
    """Functions of streams (1, tokens, n, C); those of hyper-connections get them in the batch."""
    package = importlib.import_module("hyper_connections")
    theirs = deepseek_v4().model.layers[0].attn_hc
    released = mnn.from_deepseek_v4(theirs, Scaled())
    branch = Scaled()

    def deepseek(h: Tensor) -> Tensor:  # as the decoder layer applies the mappings
        post, comb, read = theirs(h)
        return post.unsqueeze(-1) * branch(read).unsqueeze(-2) + torch.matmul(comb.mT, h)

    def in_batch(layer: nn.Module) -> Callable[[Tensor], Tensor]:
        return lambda h: layer(h[0].movedim(-2, 0))

    settings: dict[str, Any] = {"dim": WIDTH, "branch": branch, "layer_index": 0}
    return {
        "mHC, ours": mnn.ManifoldHyperConnection(Scaled(), WIDTH, STREAMS),
        "mHC, ours with DeepSeek-V4's weights and eps": released,
        "mHC, transformers (DeepSeek-V4)": deepseek,
        "mHC, hyper-connections": in_batch(package.mHC(STREAMS, **settings)),
        "HC, ours": mnn.HyperConnection(Scaled(), WIDTH, STREAMS),
        "HC, hyper-connections": in_batch(package.HyperConnections(STREAMS, **settings)),
    }


def _pass(layer: Callable[[Tensor], Tensor], tokens: int) -> Callable[[], None]:
    h = torch.randn(1, tokens, STREAMS, WIDTH, requires_grad=True)
    gradient = torch.randn_like(layer(h))

    def both() -> None:
        layer(h).backward(gradient)

    return both
