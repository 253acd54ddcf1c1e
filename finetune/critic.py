"""What is each action worth where such words stand? A few small networks on phrases, and how far they agree.

Owns a critic that generalises advantages over texts, as `finetune.smoothing` does, but over what stands together: to
drink is good beside a pond and idle elsewhere. Each member sees a part of the lives; what they disagree about is taken
to be nothing (`shrunk`), so that luck in a record moves no policy. What a single decision was worth is
`finetune.values`' affair.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from finetune.episodes import lives_of
from finetune.smoothing import Smoothing, phrase_features
from fitness.checks import check_integer, check_number
from fitness.errors import ConfigError
from fitness.records import Transitions

Floats = NDArray[np.float64]
_BATCH, _DECAY, _DROPOUT, _TOGETHER = 512, 1e-2, 0.2, 8192


@dataclass(frozen=True, kw_only=True)
class Critic:
    """An ensemble of networks with two hidden layers: phrases in, a number for every action out."""

    members: int = 5
    """Networks; at least 2, since one cannot disagree."""
    part: float = 0.7
    """Share of all lives that each of them learns from; in (0, 1)."""
    words: int = 3
    """Longest run of words that is a feature of its own."""
    phrases: int = 1500
    """Features, the most frequent; at least 1."""
    width: int = 64
    """Of the hidden layers."""
    passes: int = 5
    """Over the decisions."""
    learning_rate: float = 2e-3
    """AdamW's at the beginning; it falls evenly to nothing."""
    doubt: float = 2.0
    """How much disagreement takes from what the members say on average; 0 believes them."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_integer("critic.members", self.members, 2)
        for name in ("words", "phrases", "width", "passes"):
            check_integer(f"critic.{name}", getattr(self, name), 1)
        check_number("critic.doubt", self.doubt, 0.0)
        if not 0 < self.part < 1:
            raise ConfigError(f"critic.part: expected a number between 0 and 1, got {self.part}")
        if not 0 < self.learning_rate < math.inf:
            raise ConfigError(f"critic.learning_rate: expected a finite number above 0, got {self.learning_rate}")


def worth_of_actions(
    transitions: Transitions, advantage: Floats, actions: int, critic: Critic, rng: np.random.Generator
) -> Floats:
    """Return [m, actions] what every action is worth at each decision's text, beside the others' mean there.

    Args:
        transitions: m decisions ordered by (agent, seed, step).
        advantage: [m] of the actions that were taken.
        actions: how many there are.
        critic: the networks.
        rng: draws lives, first weights and what is dropped out.
    """
    scale = max(float(advantage.std()), 1e-6)
    texts, place = np.unique(transitions.observation.astype(str), return_inverse=True)
    features = _padded(texts.tolist(), critic)
    seen = _Seen(
        features[torch.from_numpy(place)],
        torch.from_numpy(transitions.action.astype(np.int64)),
        torch.from_numpy((advantage / scale).astype(np.float32)),
    )
    life = lives_of(transitions).of
    said = []
    for _ in range(critic.members):
        part = rng.random(life[-1] + 1) < critic.part
        known = np.flatnonzero((part | ~part.any())[life])  # of very few lives it may be none: then all
        chance = torch.Generator().manual_seed(int(rng.integers(2**62)))
        network = _Network(int(features.max()) + 1, critic.width, actions + 1, chance)
        network.learn(seen, torch.from_numpy(known), critic, chance)
        said.append(network.judge(features)[:, :actions])
    worth = shrunk(torch.stack(said) - torch.stack(said).mean(dim=2, keepdim=True), critic.doubt)
    return np.asarray(worth[torch.from_numpy(place)].double() * scale)


def shrunk(said: Tensor, doubt: float) -> Tensor:
    """Return the members' mean [...] of [members, ...], times 1 - doubt (spread / mean)^2, which is at least 0.

    The positive part of a James-Stein estimate (James and Stein 1961), one number at a time.
    """
    mean, spread = said.mean(dim=0), said.std(dim=0)
    kept = 1 - doubt * (spread / mean.abs().clamp(min=1e-6)) ** 2
    return mean * kept.clamp(min=0.0)


@dataclass(frozen=True, eq=False)
class _Seen:
    """m decisions as tensors."""

    features: Tensor
    """[m, k] numbers of the phrases, 0 where there are fewer."""
    action: Tensor
    worth: Tensor

    def __getitem__(self, rows: Tensor) -> "_Seen":
        return _Seen(self.features[rows], self.action[rows], self.worth[rows])


class _Network:
    """Sums of phrase vectors, two hidden layers, an output for each action and one that they share."""

    def __init__(self, phrases: int, width: int, outputs: int, chance: torch.Generator) -> None:
        def normal(*shape: int, size: float) -> Tensor:
            return (size * torch.randn(shape, generator=chance)).requires_grad_()

        self.phrases, self.first = normal(phrases, width, size=0.1), torch.zeros(width, requires_grad=True)
        self.hidden, self.second = normal(width, width, size=width**-0.5), torch.zeros(width, requires_grad=True)
        self.out, self.last = torch.zeros(outputs, width, requires_grad=True), torch.zeros(outputs, requires_grad=True)

    def __call__(self, features: Tensor, drop: Callable[[Tensor], Tensor] = lambda hidden: hidden) -> Tensor:
        """Return [n, outputs] of features [n, k]."""
        hidden = functional.embedding_bag(features, self.phrases, mode="sum", padding_idx=0) + self.first
        hidden = functional.linear(drop(hidden.relu()), self.hidden, self.second)
        return functional.linear(drop(hidden.relu()), self.out, self.last)

    def learn(self, seen: _Seen, known: Tensor, critic: Critic, chance: torch.Generator) -> None:
        """Fit what was seen at the rows `known`: the shared output and the taken action's make the worth together."""

        def drop(hidden: Tensor) -> Tensor:
            return hidden * (torch.rand(hidden.shape, generator=chance) >= _DROPOUT) / (1 - _DROPOUT)

        weights = [self.phrases, self.first, self.hidden, self.second, self.out, self.last]
        optimizer = torch.optim.AdamW(weights, lr=critic.learning_rate, weight_decay=_DECAY)
        steps = critic.passes * math.ceil(len(known) / _BATCH)
        slope = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
        for _ in range(critic.passes):
            for rows in known[torch.randperm(len(known), generator=chance)].split(_BATCH):
                some = seen[rows]
                out = self(some.features, drop)
                told = out[:, -1] + out.gather(1, some.action[:, None])[:, 0]
                optimizer.zero_grad()
                ((told - some.worth) ** 2).mean().backward()
                optimizer.step()
                slope.step()

    @torch.no_grad()
    def judge(self, features: Tensor) -> Tensor:
        """Return [n, outputs] with nothing dropped out."""
        return torch.cat([self(piece) for piece in features.split(_TOGETHER)])


def _padded(texts: list[str], critic: Critic) -> Tensor:
    """Return [n, k] the numbers of each text's phrases, from 1; 0 where a text has fewer than the longest."""
    known = phrase_features(texts, Smoothing(words=critic.words, phrases=critic.phrases)).tocsr()
    counts = np.diff(known.indptr)
    table = np.zeros((len(texts), int(counts.max(initial=1))), np.int64)
    table[np.arange(table.shape[1]) < counts[:, None]] = known.indices + 1
    return torch.from_numpy(table)
