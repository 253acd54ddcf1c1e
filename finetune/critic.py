"""What is each action worth where such words stand, and who does it there? Small networks on phrases.

Owns a critic that generalises advantages over texts, as `finetune.smoothing` does, but over what stands together: to
drink is good beside a pond and idle elsewhere. Each member sees a part of the lives; what they disagree about is taken
to be nothing (`shrunk`), so that luck in a record moves no policy. One network more learns what is usual: of what
nobody does at such a place (to drink where no pond is) the members all say what they know of other places, and agree.
What a single decision was worth is `finetune.values`' affair.
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


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a critic says of every action at each of m decisions' texts."""

    worth: Floats
    """[m, actions] beside the other actions' mean there, in the unit of the advantages."""
    usual: Floats
    """[m, actions] log-probability that the population does it there: behaviour cloning on the same phrases."""


def judge_actions(
    transitions: Transitions, advantage: Floats, actions: int, critic: Critic, rng: np.random.Generator
) -> Judgement:
    """Return what every action is worth at each decision's text, and how usual it is.

    Args:
        transitions: m decisions ordered by (agent, seed, step).
        advantage: [m] of the actions that were taken.
        actions: how many there are.
        critic: the networks.
        rng: draws lives, first weights and what is dropped out.
    """
    scale = max(float(advantage.std()), 1e-6)
    texts, place = np.unique(transitions.observation.astype(str), return_inverse=True)
    features, at = _padded(texts.tolist(), critic), torch.from_numpy(place)
    action, worth = torch.from_numpy(transitions.action.astype(np.int64)), torch.from_numpy(advantage / scale).float()
    seen = _Seen(features[at], action, worth)
    life = lives_of(transitions).of
    said = []
    for _ in range(critic.members):
        part = rng.random(life[-1] + 1) < critic.part
        known = np.flatnonzero((part | ~part.any())[life])  # of very few lives it may be none: then all
        network = _Network(int(features.max()) + 1, critic.width, actions + 1, rng)
        network.learn(seen, torch.from_numpy(known), critic, _miss)
        said.append(network.judge(features)[:, :actions])
    cloned = _Network(int(features.max()) + 1, critic.width, actions, rng)
    cloned.learn(seen, torch.arange(len(life)), critic, _surprise)
    worth = shrunk(torch.stack(said) - torch.stack(said).mean(dim=2, keepdim=True), critic.doubt)
    usual = cloned.judge(features).log_softmax(dim=1)
    return Judgement(np.asarray(worth[at].double() * scale), np.asarray(usual[at].double()))


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


def _miss(out: Tensor, seen: _Seen) -> Tensor:
    """Return how far the shared output and the taken action's, together, miss what the decisions were worth."""
    told = out[:, -1] + out.gather(1, seen.action[:, None])[:, 0]
    return ((told - seen.worth) ** 2).mean()


def _surprise(out: Tensor, seen: _Seen) -> Tensor:
    """Return the mean negative log-likelihood of the actions taken."""
    return functional.cross_entropy(out, seen.action)


class _Network:
    """Sums of phrase vectors, two hidden layers, outputs: one for each action and perhaps one that they share."""

    def __init__(self, phrases: int, width: int, outputs: int, rng: np.random.Generator) -> None:
        self.chance = torch.Generator().manual_seed(int(rng.integers(2**62)))

        def normal(*shape: int, size: float) -> Tensor:
            return (size * torch.randn(shape, generator=self.chance)).requires_grad_()

        self.phrases, self.first = normal(phrases, width, size=0.1), torch.zeros(width, requires_grad=True)
        self.hidden, self.second = normal(width, width, size=width**-0.5), torch.zeros(width, requires_grad=True)
        self.out, self.last = torch.zeros(outputs, width, requires_grad=True), torch.zeros(outputs, requires_grad=True)

    def __call__(self, features: Tensor, drop: Callable[[Tensor], Tensor] = lambda hidden: hidden) -> Tensor:
        """Return [n, outputs] of features [n, k]."""
        hidden = functional.embedding_bag(features, self.phrases, mode="sum", padding_idx=0) + self.first
        hidden = functional.linear(drop(hidden.relu()), self.hidden, self.second)
        return functional.linear(drop(hidden.relu()), self.out, self.last)

    def learn(self, seen: _Seen, known: Tensor, critic: Critic, loss: Callable[[Tensor, _Seen], Tensor]) -> None:
        """Make the loss small on what was seen at the rows `known`."""
        weights = [self.phrases, self.first, self.hidden, self.second, self.out, self.last]
        optimizer = torch.optim.AdamW(weights, lr=critic.learning_rate, weight_decay=_DECAY)
        steps = critic.passes * math.ceil(len(known) / _BATCH)
        slope = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
        for _ in range(critic.passes):
            for rows in known[torch.randperm(len(known), generator=self.chance)].split(_BATCH):
                some = seen[rows]
                optimizer.zero_grad()
                loss(self(some.features, self._drop), some).backward()
                optimizer.step()
                slope.step()

    def _drop(self, hidden: Tensor) -> Tensor:
        return hidden * (torch.rand(hidden.shape, generator=self.chance) >= _DROPOUT) / (1 - _DROPOUT)

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
