"""Return regression: a value head learns what a situation was worth, and its features, the adapter, learn with it.

The head is linear, on the hidden states pooled over an observation's tokens, one for each agent; what is inherited is
the adapter that it shaped. Squared error of the value, and a divergence that holds the policy in place, are the
auxiliary phase of phasic policy gradient: Cobbe et al. 2020, https://arxiv.org/abs/2009.04416. It knows rewards and
nothing of survival. By itself it is not made to act better: it prepares features for whatever comes next.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from finetune.baselines import returns_to_go
from finetune.batches import Batch, choose, make_batch
from finetune.episodes import lives_of
from finetune.losses import effective_share, half_squared_error, kl_divergence
from finetune.methods.base import EVERYDAY_ENTROPY, Lesson, Method
from finetune.trainer_config import TrainerConfig
from fitness.agent import Agent
from fitness.checks import check_choice, check_integer, check_number
from fitness.errors import ConfigError
from fitness.model import Prompts
from fitness.records import Transitions

TARGETS = ("to_go", "final")
"""What a decision can be regressed on; see `returns_of`."""


@dataclass(frozen=True, kw_only=True)
class ReturnRegression(Method):
    """Squared error of a value head on pooled hidden states, with the policy held in place."""

    target: str = "to_go"
    """"to_go": discounted rewards from the decision on; "final": all rewards of its life, for every decision in it."""
    discount: float = 0.98
    """Gamma of "to_go"; in (0, 1)."""
    hold: float = 1.0
    """Weight of KL(parent || agent) over the actions, beside half a squared error in variances of the return; at least
    0, which lets go of the policy."""
    decisions: int = 2048
    """At most this many for each agent, its own before others'."""
    trainer: TrainerConfig = field(default_factory=lambda: TrainerConfig(least_entropy=EVERYDAY_ENTROPY))

    def __post_init__(self) -> None:
        """Check every field."""
        check_choice("target", self.target, TARGETS)
        check_number("hold", self.hold, 0.0)
        check_integer("decisions", self.decisions, 1)
        if not 0 < self.discount < 1:
            raise ConfigError(f"discount: expected a number between 0 and 1, got {self.discount}")
        if self.trainer.moments == "inherit":
            raise ConfigError("trainer.moments: expected reset, for a new head has no past, got inherit")

    @property
    def compares_actions(self) -> bool:
        """See `Method.compares_actions`: what holds the policy is a sum over them."""
        return True

    def prepare(
        self, agents: Sequence[Agent], transitions: Transitions, prompts: Prompts, rng: np.random.Generator
    ) -> Lesson:
        """Standardise the returns and draw decisions."""
        returns = returns_of(transitions, self.target, self.discount)
        chosen = choose(
            np.arange(len(transitions)), transitions.agent, [agent.id for agent in agents], self.decisions, rng
        )
        batch = make_batch(transitions, returns - returns.mean(), chosen, prompts)
        return Lesson(batch, self._hold, effective_share(batch.weight), float("nan"), value=_regress)

    def _hold(self, now: Tensor, start: Tensor, part: Batch) -> Tensor:
        """Return the weighted divergence from the parent [P, b]."""
        return self.hold * kl_divergence(start, now)


def _regress(value: Tensor, part: Batch) -> Tensor:
    """Return the regression's loss [P, b]."""
    return half_squared_error(value, part.advantage)


def returns_of(transitions: Transitions, target: str, discount: float) -> NDArray[np.float64]:
    """Return what each decision is regressed on [m]: `target` is "to_go" or "final"."""
    if target == "to_go":
        return returns_to_go(transitions, discount)
    lives = lives_of(transitions)
    return lives.worth[lives.of]
