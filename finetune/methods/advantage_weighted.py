"""Advantage-weighted fine-tuning: do more of what went better than expected, less of what went worse.

Owns the choice of weights. Advantages come from a value fitted on the generation's own transitions; only the most
informative decisions are trained on, since most decisions of a life change nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from finetune.batches import Batch, choose, informative, make_batch
from finetune.losses import (
    Clip,
    clipped_policy_gradient,
    effective_share,
    exponential_weights,
    importance_weights,
    kl_divergence,
    of_taken,
    tilted,
)  # fmt: skip
from finetune.methods.base import Lesson, TemperedMethod, imitate
from finetune.smoothing import Smoothing, smooth
from finetune.trainer_config import TrainerConfig
from finetune.values import Horizon, appraise
from fitness.agent import Agent
from fitness.checks import check_integer
from fitness.errors import ConfigError, nearest
from fitness.model import Prompts
from fitness.records import Transitions

_WEIGHTINGS = ("tilted", "clipped", "exponential")


@dataclass(frozen=True, kw_only=True)
class AdvantageWeighted(TemperedMethod):
    """Tilted targets, clipped policy gradient, or capped exponential weights on the likelihood."""

    weighting: str = "tilted"
    """"tilted" moves each decision's chance by a capped exponential of its worth and holds all else still; "clipped"
    follows the policy gradient within bounds; "exponential" imitates, the better the more."""
    horizon: Horizon = field(default_factory=Horizon)
    smoothing: Smoothing | None = field(default_factory=Smoothing)
    """None: every decision is worth what followed it."""
    share: float = 0.05
    """Of all decisions, those with the largest absolute advantage, that are trained on."""
    decisions: int = 2048
    """At most this many for each agent, its own before others'."""
    anchors: float = 0.7
    """Share of them that is drawn from all of life and held to what the agent does already; only for "tilted"."""
    clip: Clip = field(default_factory=Clip)
    beta: float = 0.4
    """Temperature of exponentials, in standard deviations of the advantage."""
    cap: float = 1e4
    """Largest exponential (before normalisation, for "exponential")."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)

    def __post_init__(self) -> None:
        """Check every field."""
        if self.weighting not in _WEIGHTINGS:
            hint = nearest(str(self.weighting), _WEIGHTINGS)
            raise ConfigError(f"weighting: expected one of {', '.join(_WEIGHTINGS)}, got {self.weighting!r}{hint}")
        if not 0 < self.share <= 1:
            raise ConfigError(f"share: expected a number above 0 and at most 1, got {self.share}")
        if not 0 <= self.anchors < 1:
            raise ConfigError(f"anchors: expected a number of at least 0 and below 1, got {self.anchors}")
        check_integer("decisions", self.decisions, 1)
        if not self.beta > 0:
            raise ConfigError(f"beta: expected a number above 0, got {self.beta}")
        if not self.cap > 1:
            raise ConfigError(f"cap: expected a number above 1, got {self.cap}")

    @property
    def tempered(self) -> bool:
        """See `Method.tempered`; clipping has none."""
        return self.weighting != "clipped"

    @property
    def compares_actions(self) -> bool:
        """See `Method.compares_actions`: what holds all else still must know all else."""
        return self.weighting == "tilted"

    def prepare_tempered(
        self,
        agents: Sequence[Agent],
        transitions: Transitions,
        prompts: Prompts,
        rng: np.random.Generator,
        betas: Tensor,
    ) -> Lesson:
        """Appraise all decisions, choose the informative ones and weight them.

        What counts is the worth over beta, so an agent's own divides its worths.
        """
        appraisal = appraise(transitions, self.horizon)
        advantage = appraisal.advantage
        if self.smoothing:
            advantage = smooth(transitions, advantage, self.smoothing)
        batch = self._batch(agents, transitions, advantage, prompts, rng)
        if self.tempered:
            batch = replace(batch, advantage=batch.advantage / betas)
        if self.weighting == "exponential":
            weight = exponential_weights(batch.advantage, self.beta, self.cap)
            return Lesson(replace(batch, weight=weight), imitate, effective_share(weight), appraisal.explained)
        loss = self._tilted if self.weighting == "tilted" else self._clipped
        return Lesson(batch, loss, effective_share(batch.advantage.abs()), appraisal.explained)

    def _batch(
        self,
        agents: Sequence[Agent],
        transitions: Transitions,
        advantage: NDArray[np.float64],
        prompts: Prompts,
        rng: np.random.Generator,
    ) -> Batch:
        """Choose informative decisions and, to tilt from, anchors: any decisions, taken to be worth nothing."""
        ids = [agent.id for agent in agents]
        anchors = round(self.anchors * self.decisions) if self.weighting == "tilted" else 0
        pool = informative(advantage, self.share)
        chosen = choose(pool, transitions.agent, ids, self.decisions - anchors, rng)
        if anchors:  # a small pool is repeated, so that the share of anchors is what was asked for
            chosen = chosen[:, np.arange(self.decisions - anchors) % chosen.shape[1]]
        still = choose(np.arange(len(transitions)), transitions.agent, ids, anchors, rng)
        batch = make_batch(transitions, advantage, np.concatenate([chosen, still], axis=1), prompts)
        worth = batch.advantage.clone()
        worth[:, chosen.shape[1] :] = 0.0
        return replace(batch, advantage=worth)

    def _tilted(self, now: Tensor, start: Tensor, part: Batch) -> Tensor:
        """Return the divergence from the tilted policy [P, b]."""
        return kl_divergence(tilted(start, part.taken, part.advantage, self.beta, self.cap), now)

    def _clipped(self, now: Tensor, start: Tensor, part: Batch) -> Tensor:
        """Return the clipped surrogate [P, b]."""
        before, after = of_taken(start, part.taken), of_taken(now, part.taken)
        weight = importance_weights(before, part.behaviour, self.clip.importance)
        return clipped_policy_gradient(after, before, part.advantage, weight, self.clip)
