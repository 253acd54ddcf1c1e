"""Small models with random weights and a tokenizer trained on the spot; what the tests of models and engines share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast, Qwen3Config

from fitness.adapter import Adapter, LoraSpec, initial_adapter
from fitness.agent import Agent
from fitness.model import ModelConfig, PopulationModel, load_base_model

ACTIONS = ("north", "south", "east", "west", "eat", "drink", "rest")
MANUAL = "You live on a grid. Eat berries, drink water, flee wolves."
STRATEGIES = (
    "eat when low.",
    "flee wolves near. eat red berries. drink early.",
    "drink.",
    "rest at night. never eat blue. flee wolves far. walk north when nothing is near.",
    "walk east.",
    "eat whatever is near. drink when very dry. ignore wolves. rest when cold.",
)
OBSERVATIONS = (
    "spring day. energy low. red berry here.",
    "winter night. energy full. water dry. wolf near west. blue berry two south.",
    "day. nothing.",
    "autumn day. energy half. water low. pond one east. wolf far north. shelter here.",
    "summer night. cold. wolf near east.",
)

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.12,
    "pad_token_id": 0,
}
"""A small decoder of any family."""


def save_tiny(folder: Path, family: str) -> Path:
    """Write a random-weight "llama" or "qwen3" with its tokenizer."""
    shape = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.12,
    }
    if family == "qwen3":
        return save_network(folder, Qwen3Config, head_dim=16, **shape)
    return save_network(folder, LlamaConfig, **shape)


def save_network(folder: Path, config: type[Any], **fields: Any) -> Path:
    """Write a random-weight model of a config class with its tokenizer; the same weights every time."""
    tokenizer = _tokenizer()
    state = torch.random.get_rng_state()
    torch.random.default_generator.manual_seed(0)
    network = AutoModelForCausalLM.from_config(config(vocab_size=len(tokenizer), **fields))
    torch.random.set_rng_state(state)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def population_model(folder: Path, forward: str = "auto", **config: Any) -> PopulationModel:
    """Load a folder as a population model."""
    return PopulationModel(load_base_model(ModelConfig(name=str(folder), **config)), forward=forward)


def random_adapter(spec: LoraSpec, seed: int, size: float = 0.15) -> Adapter:
    """Return an adapter with both factors random."""
    rng = np.random.default_rng(seed)
    start = initial_adapter(spec, seed)
    b = {n: torch.from_numpy(rng.normal(0, size, (out, spec.rank)).astype(np.float32)) for n, _, out in spec.shapes}
    return Adapter(spec, start.a, b)


def agents(spec: LoraSpec, strategies: Sequence[str] = STRATEGIES) -> list[Agent]:
    """Return agents with different strategies, adapters and temperatures."""
    return [
        Agent(id=10 + i, strategy=text, adapter=random_adapter(spec, i), temperature=0.7 + 0.1 * i)
        for i, text in enumerate(strategies)
    ]


def _tokenizer() -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on the tests' own words."""
    bpe = ByteLevelBPETokenizer()
    words = " ".join(f" {name}" for name in ACTIONS)
    bpe.train_from_iterator([*STRATEGIES, *OBSERVATIONS, MANUAL, *[words] * 50], vocab_size=420, min_frequency=2)
    return PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer)
