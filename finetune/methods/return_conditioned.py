"""Return-conditioned imitation: learn from all lives what each kind of outcome looks like, then ask for the best kind.

Every decision is imitated, good or bad, after a line that says how well things went from there: the rank of its
outcome. Who acts is told the highest rank, in every life (`spoken`), so that what went badly teaches too. Outcomes
before actions: Schmidhuber 2019, https://arxiv.org/abs/1912.02875; Kumar et al. 2019, https://arxiv.org/abs/1912.13465;
Chen et al. 2021 (Decision Transformer), https://arxiv.org/abs/2106.01345; ranks instead of numbers, so that what is
asked for is what the best have reached, generation after generation: Lu et al. 2022 (Quark),
https://arxiv.org/abs/2205.13636.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from finetune.baselines import BASELINES, advantages
from finetune.batches import choose, make_batch
from finetune.episodes import beside_others, lives_of
from finetune.losses import effective_share
from finetune.methods.base import EVERYDAY_ENTROPY, Lesson, Method, imitate
from finetune.smoothing import Smoothing, smooth
from finetune.trainer_config import TrainerConfig
from finetune.values import Horizon
from fitness.agent import Agent
from fitness.checks import check_choice, check_integer
from fitness.errors import ConfigError
from fitness.model import Prompts
from fitness.records import Transitions

_OUTCOMES = ("life", "value", *BASELINES)


@dataclass(frozen=True, kw_only=True)
class ReturnConditioned(Method):
    """Supervised fine-tuning on all decisions, each after the rank of what came of it."""

    ranks: int = 4
    """As many lives, or decisions, have each rank; at least 2."""
    outcome: str = "life"
    """What is ranked: how much longer the whole "life" was than others in its world; or what followed the decision,
    beside a fitted "value", the mean of the same "step", or of "others" in the same world."""
    horizon: Horizon = field(default_factory=Horizon)
    """Discount of what followed a decision; the trace concerns "value" only."""
    smoothing: Smoothing | None = None
    """Averages what followed over decisions that read alike; None, and for "life": as it was."""
    words: str = "rank {rank} of {ranks}"
    """What is said; {rank} must be in it."""
    decisions: int = 2048
    """At most this many for each agent, its own before others'."""
    trainer: TrainerConfig = field(default_factory=lambda: TrainerConfig(least_entropy=EVERYDAY_ENTROPY))

    def __post_init__(self) -> None:
        """Check every field."""
        check_integer("ranks", self.ranks, 2)
        check_choice("outcome", self.outcome, _OUTCOMES)
        check_integer("decisions", self.decisions, 1)
        if "{rank}" not in self.words or "\n" in self.words:
            raise ConfigError(f"words: expected one line with {{rank}} in it, got {self.words!r}")
        try:
            self._said(self.ranks)
        except (LookupError, ValueError) as error:
            raise ConfigError(f"words: expected no braces but {{rank}} and {{ranks}}, got {self.words!r}") from error

    @property
    def spoken(self) -> str:
        """See `Method.spoken`: the highest rank."""
        return f"\n{self._said(self.ranks)}"

    def prepare(
        self, agents: Sequence[Agent], transitions: Transitions, prompts: Prompts, rng: np.random.Generator
    ) -> Lesson:
        """Rank all decisions, draw some, and say each one's rank where those who act are told the highest."""
        worth, explained = self._worth(transitions)
        rank = 1 + np.argsort(np.argsort(worth, kind="stable"), kind="stable") * self.ranks // len(worth)
        told = np.array(
            [f"{self._said(r)}\n{text}" for r, text in zip(rank.tolist(), transitions.observation, strict=True)], object
        )
        ids = [agent.id for agent in agents]
        chosen = choose(np.arange(len(transitions)), transitions.agent, ids, self.decisions, rng)
        batch = make_batch(replace(transitions, observation=told), np.zeros(len(transitions)), chosen, prompts)
        untold = tuple(replace(agent, strategy=agent.strategy.removesuffix(self.spoken)) for agent in agents)
        return Lesson(batch, imitate, effective_share(batch.weight), explained, pupils=untold, teachers=untold)

    def _worth(self, transitions: Transitions) -> tuple[NDArray[np.float64], float]:
        """Return what came of each decision [m], and the share of variance that a fitted value explains."""
        if self.outcome == "life":
            lives = lives_of(transitions)
            return beside_others(lives)[0][lives.of], float("nan")
        worth, explained = advantages(transitions, self.outcome, self.horizon)
        return (smooth(transitions, worth, self.smoothing) if self.smoothing else worth), explained

    def _said(self, rank: int) -> str:
        """Return the line of a rank."""
        return self.words.format(rank=rank, ranks=self.ranks)
