"""Advantage-weighted fine-tuning: do more of what went better than expected, less of what went worse.

Owns the choice of weights. Advantages come from a value fitted on the generation's own transitions; only the most
informative decisions are trained on, since most decisions of a life change nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from finetune.batches import Batch, choose, informative, make_batch
from finetune.losses import (
    Clip,
    clipped_policy_gradient,
    effective_share,
    exponential_weights,
    importance_weights,
    weighted_likelihood,
)  # fmt: skip
from finetune.methods.base import Lesson, Method
from finetune.trainer_config import TrainerConfig
from finetune.values import Horizon, appraise
from fitness.agent import Agent
from fitness.errors import ConfigError, nearest
from fitness.model import Prompts
from fitness.records import Transitions

_WEIGHTINGS = ("clipped", "exponential")


@dataclass(frozen=True, kw_only=True)
class AdvantageWeighted(Method):
    """Clipped policy gradient, or capped exponential weights on the likelihood."""

    weighting: str = "clipped"
    """"clipped" also pushes bad decisions down; "exponential" only imitates good ones, the better the more."""
    horizon: Horizon = field(default_factory=Horizon)
    share: float = 0.3
    """Of all decisions, those with the largest absolute advantage, that are trained on."""
    decisions: int = 1024
    """At most this many for each agent, its own before others'."""
    clip: Clip = field(default_factory=Clip)
    beta: float = 1.0
    """Temperature of exponential weights, in standard deviations of the advantage."""
    cap: float = 20.0
    """Largest exponential weight before normalisation."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)

    def __post_init__(self) -> None:
        """Check every field."""
        if self.weighting not in _WEIGHTINGS:
            hint = nearest(str(self.weighting), _WEIGHTINGS)
            raise ConfigError(f"weighting: expected one of {', '.join(_WEIGHTINGS)}, got {self.weighting!r}{hint}")
        if not 0 < self.share <= 1:
            raise ConfigError(f"share: expected a number above 0 and at most 1, got {self.share}")
        if isinstance(self.decisions, bool) or not isinstance(self.decisions, int) or self.decisions < 1:
            raise ConfigError(f"decisions: expected an integer of at least 1, got {self.decisions!r}")
        for name in ("beta", "cap"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}: expected a number above 0, got {getattr(self, name)}")

    def prepare(
        self, agents: Sequence[Agent], transitions: Transitions, prompts: Prompts, rng: np.random.Generator
    ) -> Lesson:
        """Appraise all decisions, choose the informative ones and weight them."""
        appraisal = appraise(transitions, self.horizon)
        pool = informative(appraisal.advantage, self.share)
        chosen = choose(pool, transitions.agent, [agent.id for agent in agents], self.decisions, rng)
        batch = make_batch(transitions, appraisal.advantage, chosen, prompts)
        if self.weighting == "exponential":
            weight = exponential_weights(batch.advantage, self.beta, self.cap)
            return Lesson(replace(batch, weight=weight), _imitate, effective_share(weight), appraisal.explained)
        return Lesson(batch, self._clipped, effective_share(batch.advantage.abs()), appraisal.explained)

    def _clipped(self, now: Tensor, start: Tensor, part: Batch) -> Tensor:
        """Return the clipped surrogate [P, b]."""
        before, after = _taken(start, part), _taken(now, part)
        weight = importance_weights(before, part.behaviour, self.clip.importance)
        return clipped_policy_gradient(after, before, part.advantage, weight, self.clip)


def _imitate(now: Tensor, start: Tensor, part: Batch) -> Tensor:
    """Return the weighted likelihood [P, b]."""
    return weighted_likelihood(_taken(now, part), part.weight)


def _taken(log_probabilities: Tensor, part: Batch) -> Tensor:
    """Return the log-probability [P, b] of the actions that were taken."""
    return log_probabilities.gather(2, part.taken[..., None]).squeeze(2)
