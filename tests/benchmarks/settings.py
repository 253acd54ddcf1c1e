"""What the benchmarks of the model share: networks, adapters, tokens, and the machine's own limit.

Tokens are random: what is measured is the work, not the play.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from fitness.adapter import Adapter, LoraSpec, initial_adapter
from fitness.organism import FOLDER

ACTIONS = tuple(range(100, 109))
"""Tokens that stand for actions."""
LEAST, MOST = 2, 580
"""Random tokens are drawn from this range: the organism's vocabulary without its special tokens."""
WIDE = "4 x 128, 32k words"


@dataclass(frozen=True)
class Network:
    """A model in a folder."""

    name: str
    folder: Path


def networks(place: Path) -> list[Network]:
    """Return the organism, and random weights of its depth and width with the vocabulary of a general model."""
    torch.random.default_generator.manual_seed(0)
    wide = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=32_000,
            hidden_size=128,
            intermediate_size=352,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=2048,
        )
    )
    wide.save_pretrained(place / "wide")
    AutoTokenizer.from_pretrained(FOLDER).save_pretrained(place / "wide")
    return [Network("organism", FOLDER), Network(WIDE, place / "wide")]


def random_adapters(spec: LoraSpec, count: int) -> list[Adapter]:
    """Return adapters that change the output, all different."""
    return [_random_adapter(spec, seed) for seed in range(count)]


def _random_adapter(spec: LoraSpec, seed: int) -> Adapter:
    rng, start = np.random.default_rng(seed), initial_adapter(spec, seed)
    b = {n: torch.from_numpy(rng.normal(0, 0.02, (out, spec.rank)).astype(np.float32)) for n, _, out in spec.shapes}
    return Adapter(spec, start.a, b)


def random_tokens(*shape: int, seed: int) -> list[list[int]]:
    """Return nested lists of random tokens."""
    tokens: list[list[int]] = np.random.default_rng(seed).integers(LEAST, MOST, shape).tolist()
    return tokens


def matmul_flops(repeats: int = 30) -> float:
    """Return the FLOP/s of a product of large float32 matrices on all cores: the machine's own limit."""
    a, b = torch.randn(3072, 512), torch.randn(512, 512)
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - started)
    return 2 * 3072 * 512 * 512 / statistics.median(seconds)


def left_padded(rows: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
    """Return a model's inputs for ragged prompts that all end at the last position."""
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
