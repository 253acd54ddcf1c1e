"""Advantage-weighted regression: imitate all of life, the better a decision turned out, the more.

Exponential weights, capped and normalised, with a temperature that is raised until enough decisions count: Peng et al.
2019 (AWR), https://arxiv.org/abs/1910.00177. Capped only, or one for what was better than expected and nothing for the
rest: Wang et al. 2020 (CRR), https://arxiv.org/abs/2006.15134. What was to be expected is fitted or counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from finetune.baselines import BASELINES, advantages
from finetune.batches import choose, make_batch
from finetune.losses import effective_share, regularised_weights, tempered_weights
from finetune.methods.base import EVERYDAY_ENTROPY, Lesson, TemperedMethod, imitate
from finetune.trainer_config import TrainerConfig
from finetune.values import Horizon
from fitness.agent import Agent
from fitness.checks import check_choice, check_integer
from fitness.errors import ConfigError
from fitness.model import Prompts
from fitness.records import Transitions

_WEIGHTINGS = ("awr", "crr_exponential", "crr_binary")


@dataclass(frozen=True, kw_only=True)
class AdvantageRegression(TemperedMethod):
    """Weighted imitation of all decisions, over any baseline."""

    weighting: str = "awr"
    """"awr": capped exponentials with mean 1; "crr_exponential": capped only; "crr_binary": better than expected."""
    baseline: str = "value"
    """"value" is fitted on vitals; "step": the mean of all who lived as long; "others": of others in the same world."""
    horizon: Horizon = field(default_factory=Horizon)
    """Discount of returns; the trace concerns "value" only."""
    beta: float = 0.4
    """Temperature, in standard deviations of the advantage; of exponentials."""
    cap: float = 20.0
    """Largest exponential."""
    least_share: float = 0.1
    """The temperature is raised until the effective sample is this share of the decisions; from 0; of "awr"."""
    decisions: int = 2048
    """At most this many for each agent, its own before others'."""
    trainer: TrainerConfig = field(default_factory=lambda: TrainerConfig(least_entropy=EVERYDAY_ENTROPY))

    def __post_init__(self) -> None:
        """Check every field."""
        check_choice("weighting", self.weighting, _WEIGHTINGS)
        check_choice("baseline", self.baseline, ("value", *BASELINES))
        check_integer("decisions", self.decisions, 1)
        if not self.beta > 0:
            raise ConfigError(f"beta: expected a number above 0, got {self.beta}")
        if not self.cap > 1:
            raise ConfigError(f"cap: expected a number above 1, got {self.cap}")
        if not 0 <= self.least_share < 1:
            raise ConfigError(f"least_share: expected a number of at least 0 and below 1, got {self.least_share}")

    @property
    def tempered(self) -> bool:
        """See `Method.tempered`; what is all or nothing has none."""
        return self.weighting != "crr_binary"

    def prepare_tempered(
        self,
        agents: Sequence[Agent],
        transitions: Transitions,
        prompts: Prompts,
        rng: np.random.Generator,
        betas: Tensor,
    ) -> Lesson:
        """Appraise all decisions and weight those that are drawn.

        What counts is the worth over beta, so an agent's own divides its worths.
        """
        advantage, explained = advantages(transitions, self.baseline, self.horizon)
        ids = [agent.id for agent in agents]
        chosen = choose(np.arange(len(transitions)), transitions.agent, ids, self.decisions, rng)
        batch = make_batch(transitions, advantage, chosen, prompts)
        weight = self._weights(batch.advantage / betas)
        return Lesson(replace(batch, weight=weight), imitate, effective_share(weight), explained)

    def _weights(self, advantage: Tensor) -> Tensor:
        """Return the weights [P, n]."""
        if self.weighting == "awr":
            return tempered_weights(advantage, self.beta, self.cap, self.least_share)
        return regularised_weights(advantage, self.beta if self.weighting == "crr_exponential" else 0.0, self.cap)
