"""How the organism is made: `forager pretrain`.

Owns the architecture and the training. A strategy and several situations are packed into one row: each situation
attends to the strategy and to itself alone, and stands at the position that it would have on its own, so one pass
over a strategy serves all of its situations. The loss is on the action word only, against a target that leaves a
little chance to every action: an organism that is never quite sure keeps exploring, which selection and fine-tuning
live on.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from fitness.checks import LARGEST_SEED, check_integer
from fitness.environments.forage.text import MANUAL
from fitness.environments.forage.world import ACTIONS
from fitness.errors import ConfigError
from fitness.organism import SUFFIX
from fitness.organism.lessons import Lessons, Wanderers, teach
from fitness.organism.vocabulary import train_tokenizer

FIRST_SEED = 1_000_000_000
"""World seeds of pre-training start here; runs and tests use seeds far below."""

WORD_SPREAD = 0.08
"""Standard deviation of new word vectors, four times the usual.

Words that no lesson tells apart, such as colours, keep the distance that they are born with.
"""


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """The recipe; the defaults made the weights that ship."""

    seed: int = 0
    steps: int = 600
    strategies: int = 64
    """Strategies per step."""
    per_strategy: int = 8
    """Situations packed behind each strategy."""
    pieces: int = 2
    """Forward and backward passes that a step is cut into; divides `strategies`."""
    learning_rate: float = 2e-3
    """Peak, reached after `warmup` steps and then brought to zero by a cosine."""
    warmup: int = 100
    weight_decay: float = 0.05
    doubt: float = 0.06
    """Chance that the target spreads over all actions."""
    bfloat16: bool = True
    """Autocast of matrix products; several times faster where the processor knows the format."""

    def __post_init__(self) -> None:
        """Refuse sizes below one and a doubt that is no chance."""
        check_integer("pretrain.seed", self.seed, 0, LARGEST_SEED)
        for name in ("steps", "strategies", "per_strategy"):
            check_integer(f"pretrain.{name}", getattr(self, name), 1)
        if not 0 <= self.doubt < 1:
            raise ConfigError(f"pretrain.doubt: expected a number in [0, 1), got {self.doubt}")


@dataclass(frozen=True)
class Packed:
    """Lessons as tensors: s packed rows of `prefix + m * row` tokens."""

    tokens: Tensor
    """[s, length] token ids."""
    positions: Tensor
    """[s, length] position of each token in its own prompt."""
    attends: Tensor
    """[s, 1, length, length] who may look at whom."""
    answers_at: Tensor
    """[s, m] where each situation ends."""
    targets: Tensor
    """[s, m] index of the action asked for."""


def architecture(tokenizer: PreTrainedTokenizerBase) -> LlamaConfig:
    """Return the organism's shape: 4 Llama layers of 128, about 0.9 million parameters."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def pack(lessons: Lessons, tokenizer: PreTrainedTokenizerBase) -> Packed:
    """Lay lessons out for one forward pass."""
    told, seen = (
        _encode(tokenizer, [f"{s}\n" for s in lessons.strategies]),
        [_encode(tokenizer, [f"{o}{SUFFIX}" for o in row]) for row in lessons.observations],
    )
    prefix, row = max(map(len, told)), max(len(ids) for ids_of in seen for ids in ids_of)
    s, m = lessons.actions.shape
    tokens = np.full((s, prefix + m * row), tokenizer.pad_token_id)
    positions, block = np.zeros_like(tokens), np.full_like(tokens, -2)
    ends = np.zeros((s, m), np.int64)
    for i in range(s):
        n = len(told[i])
        tokens[i, :n], positions[i, :n], block[i, :n] = told[i], np.arange(n), -1
        for j, ids in enumerate(seen[i]):
            at = prefix + j * row
            tokens[i, at : at + len(ids)], block[i, at : at + len(ids)] = ids, j
            positions[i, at : at + len(ids)] = n + np.arange(len(ids))
            ends[i, j] = at + len(ids) - 1
    attends = (block[:, None, :] == -1) | (block[:, :, None] == block[:, None, :])
    attends &= np.tri(tokens.shape[1], dtype=bool)
    return Packed(*map(torch.from_numpy, (tokens, positions, attends[:, None], ends, lessons.actions)))


def action_tokens(tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Return the token of each action word."""
    return torch.tensor([ids[0] for ids in _encode(tokenizer, [f" {name}" for name in ACTIONS])])


def lesson_loss(model: LlamaForCausalLM, packed: Packed, words: Tensor, doubt: float) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy over the vocabulary at the answers, and the share of right first choices."""
    hidden = model.model(
        input_ids=packed.tokens, attention_mask=packed.attends, position_ids=packed.positions, use_cache=False
    ).last_hidden_state
    rows = torch.arange(len(hidden))[:, None]
    logits = model.lm_head(hidden[rows, packed.answers_at]).float().flatten(0, 1)
    right = words[packed.targets.flatten()]
    target = torch.zeros_like(logits)
    target[:, words] = doubt / len(words)
    target.scatter_add_(1, right[:, None], torch.full((len(right), 1), 1 - doubt))
    hits = (logits[:, words].argmax(1) == packed.targets.flatten()).float().mean()
    return cross_entropy(logits, target), hits


def pretrain(config: PretrainConfig, folder: Path, report: Callable[[str], None] = print) -> None:
    """Make an organism and save it with its tokenizer under `folder`, in Hugging Face's format.

    The same config gives the same weights on the same machine.
    """
    rng = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)  # noqa: TID251 (the only source that transformers draws new weights from)
    torch.set_flush_denormal(True)  # gradients that are nearly nothing would take most of the time
    source = Wanderers(rng, FIRST_SEED)
    tokenizer = train_tokenizer(_corpus(teach(source, rng, 128, 16)))
    model = LlamaForCausalLM(architecture(tokenizer))
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=WORD_SPREAD)
    words = action_tokens(tokenizer)
    optimizer = torch.optim.AdamW(_decayed(model, config.weight_decay), lr=config.learning_rate, betas=(0.9, 0.98))
    begun = time.perf_counter()
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, config)
        for _ in range(config.pieces):  # smaller pieces stay nearer to the processor's cache
            packed = pack(teach(source, rng, config.strategies // config.pieces, config.per_strategy), tokenizer)
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
                loss, hits = lesson_loss(model, packed, words, config.doubt)
            (loss / config.pieces).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == config.steps - 1:
            spent = time.perf_counter() - begun
            report(f"step {step} of {config.steps}: loss {loss:.3f}, right {hits:.3f}, {spent:.0f} s")
        if step % 500 == 499 or step == config.steps - 1:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)


def _encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Return token ids of each text."""
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return ids


def _corpus(lessons: Lessons) -> list[str]:
    """Return the texts that the tokenizer learns its words from."""
    asked = zip(lessons.observations, lessons.actions, strict=True)
    lines = [f"{o}{SUFFIX} {ACTIONS[a]}" for row, answers in asked for o, a in zip(row, answers, strict=True)]
    return [*(f"{s}\n" for s in lessons.strategies), *lines, MANUAL]


def _decayed(model: LlamaForCausalLM, weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups: matrices decay, words and gains do not."""
    words = model.model.embed_tokens.weight
    matrices = [p for p in model.parameters() if p.dim() > 1 and p is not words]
    others = [words, *(p for p in model.parameters() if p.dim() <= 1)]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _schedule(step: int, config: PretrainConfig) -> float:
    """Return the share of the peak learning rate: linear warm-up, then a cosine to zero."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    return 0.5 * (1 + math.cos(math.pi * (step - config.warmup) / max(1, config.steps - config.warmup)))
