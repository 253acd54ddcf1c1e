"""Group-relative policy optimisation: what outlived its siblings in the same world becomes likelier, all of it.

The group is the world: every life that was lived on the same seed, whoever lived it, so that the population is its own
baseline and luck that all shared cancels. Shao et al. 2024, https://arxiv.org/abs/2402.03300; no division by the
group's standard deviation: Liu et al. 2025 (Dr. GRPO), https://arxiv.org/abs/2503.20783; a wider upper bound, decisions
rather than lives as what is averaged, and no group without variance: Yu et al. 2025 (DAPO),
https://arxiv.org/abs/2503.14476.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune.batches import Batch, choose, make_batch
from finetune.episodes import Lives, beside_others, lives_of
from finetune.losses import Clip, clipped_policy_gradient, effective_share, importance_weights, of_taken
from finetune.methods.base import EVERYDAY_ENTROPY, Lesson, Method
from finetune.trainer_config import TrainerConfig
from fitness.agent import Agent
from fitness.checks import check_choice, check_integer
from fitness.model import Prompts
from fitness.records import Transitions

_SCALES, _UNITS = ("none", "group", "population"), ("decisions", "lives")


@dataclass(frozen=True, kw_only=True)
class GroupRelative(Method):
    """Clipped policy gradient on how much longer a life was than others in its world."""

    scale: str = "none"
    """What a life's advantage is divided by: nothing, the "group"'s standard deviation, or that of all lives of the
    "population"; all but "group" weigh every world alike."""
    unit: str = "decisions"
    """What counts the same: each of the "decisions", or each of the "lives", however long."""
    others: bool = True
    """Whether agents also learn from lives that others lived, where their own are too few."""
    decisions: int = 2048
    """At most this many for each agent, its own before others'."""
    clip: Clip = field(default_factory=Clip)
    """Bounds, and the cap of the weights that correct for who took the decision."""
    trainer: TrainerConfig = field(default_factory=lambda: TrainerConfig(least_entropy=EVERYDAY_ENTROPY))

    def __post_init__(self) -> None:
        """Check every field."""
        check_choice("scale", self.scale, _SCALES)
        check_choice("unit", self.unit, _UNITS)
        check_integer("decisions", self.decisions, 1)

    def prepare(
        self, agents: Sequence[Agent], transitions: Transitions, prompts: Prompts, rng: np.random.Generator
    ) -> Lesson:
        """Compare lives within worlds; where all ended alike, there is nothing to learn."""
        lives = lives_of(transitions)
        contrast, spread = beside_others(lives)
        ids = np.array([agent.id for agent in agents])
        pool = np.flatnonzero(spread[lives.of] > 0)
        chosen = choose(pool, transitions.agent, ids.tolist(), self.decisions, rng)
        counted = self.others | (transitions.agent[chosen] == ids[:, None])
        chosen, counted = chosen[:, counted.any(axis=0)], counted[:, counted.any(axis=0)]
        if not chosen.size:  # one decision that does not count
            chosen, counted = np.zeros((len(agents), 1), np.int64), np.zeros((len(agents), 1), bool)
        weight = self._weights(lives, chosen, counted.astype(np.float64))
        batch = replace(
            make_batch(transitions, contrast[lives.of], chosen, prompts),
            advantage=torch.from_numpy(self._scaled(contrast, spread)[lives.of][chosen].astype(np.float32)),
            weight=torch.from_numpy(weight.astype(np.float32)),
        )
        return Lesson(batch, self._loss, effective_share(batch.weight * batch.advantage.abs()), float("nan"))

    def _scaled(self, contrast: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the advantages of lives [L]."""
        if self.scale == "group":
            return contrast / np.maximum(spread, 1e-6)
        return contrast / max(float(contrast.std()), 1e-6) if self.scale == "population" else contrast

    def _weights(self, lives: Lives, chosen: NDArray[np.int64], counted: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how much each chosen decision counts [P, n], with mean 1 for every agent that has any."""
        weight = counted / lives.steps[lives.of[chosen]] if self.unit == "lives" else counted
        return np.asarray(weight / np.maximum(weight.mean(axis=1, keepdims=True), 1e-12))

    def _loss(self, now: Tensor, start: Tensor, part: Batch) -> Tensor:
        """Return the clipped surrogate [P, b]."""
        before, after = of_taken(start, part.taken), of_taken(now, part.taken)
        weight = part.weight * importance_weights(before, part.behaviour, self.clip.importance)
        return clipped_policy_gradient(after, before, part.advantage, weight, self.clip)
