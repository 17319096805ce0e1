"""A small random model of a configuration of `transformers`, to show the report without weights.

A configuration of a released model describes one of hundreds of gigabytes.  Here everything that
only sets a size is made small, and what says how streams are mixed stays: their number, the
iterations, eps.  Nothing is downloaded, and no code of a configuration's author is run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SMALL: Mapping[str, int] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 32,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "v_head_dim": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "q_lora_rank": 16,
    "kv_lora_rank": 8,
    "o_groups": 1,
    "o_lora_rank": 8,
    "n_routed_experts": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "index_n_heads": 2,
    "index_head_dim": 16,
    "index_topk": 16,
    "sliding_window": 8,
    "hc_lowrank": 8,
    "linear_head_dim": 8,
    "linear_num_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
}
"""What only sets a size, by the names that configurations have for it."""
KEPT = ("hc_mult", "hc_sinkhorn_iters", "hc_eps", "rms_norm_eps", "scoring_func")
"""What says how streams are mixed, and stays."""
LAYERS = 8
TOKENS = (2, 16)
"""Batch and length of the random text that it reads."""
SEED = 0
SPREAD = 0.5
"""Standard deviation of the mappings' weights: as they start, most mappings do not mix."""


def tiny_model(config: str) -> tuple[Any, Any, str]:
    """A small random model of a configuration, what to call it with, and a name for it.

    `config` is the path of a config.json or of its folder, or a type of model that `transformers`
    knows, such as "deepseek_v4".  Raises ImportError without `transformers`, ValueError if the
    configuration is none, or no small model of it can be built, and OSError if it cannot be read.
    """
    try:
        import torch
        from transformers import AutoModel
    except ImportError as error:
        raise ImportError(f"a model of a configuration needs transformers: {error}") from None
    given = _given(config)
    try:
        small = _small(given)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            model = AutoModel.from_config(small, trust_remote_code=False).eval()
            _enliven(model, torch)
            inputs = torch.randint(1, SMALL["vocab_size"], TOKENS)
    except Exception as error:  # of hundreds of models, each fails in its own way
        why = " ".join(str(error).split())
        raise ValueError(f"no small model of {given.model_type!r} can be built: {why}") from None
    layers = small.get_text_config().num_hidden_layers
    return model, {"input_ids": inputs}, f"{given.model_type}, small and random, {layers} blocks"


def _given(config: str) -> Any:
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if os.path.exists(config):
        path = Path(config)
        folder = path.parent if path.is_file() else path
        return AutoConfig.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            **({"_configuration_file": path.name} if path.is_file() else {}),
        )
    if config not in CONFIG_MAPPING:
        raise ValueError(
            f"there is no file {config!r}, and transformers knows no model of that type"
        )
    return AutoConfig.for_model(config)


def _small(given: Any) -> Any:
    """The text part of a configuration, everything in it small that only sets a size."""
    text = given.get_text_config()
    values = text.to_dict()
    chosen = {name: values[name] for name in KEPT if name in values}
    chosen |= {
        name: size
        for name, size in SMALL.items()
        if type(values.get(name)) is int and values[name] > 0  # else the model has none of it
    }
    if "num_key_value_heads" in chosen and "kv_lora_rank" in chosen:
        chosen["num_key_value_heads"] = chosen["num_attention_heads"]
    if "num_attention_heads" not in chosen or "hidden_size" not in chosen:
        raise ValueError("it is not the configuration of a language model")
    chosen["num_hidden_layers"] = min(LAYERS, int(values.get("num_hidden_layers", LAYERS)))
    chosen |= {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}
    return type(text)(**chosen)


def _enliven(model: Any, torch: Any) -> None:
    """Give the mappings random weights: as they are made, all tokens and layers have the same."""
    from ..nn.adapters import sites_of

    for site in sites_of(model):
        for parameter in site.module.parameters(recurse=False):
            with torch.no_grad():
                parameter.normal_(std=SPREAD)
