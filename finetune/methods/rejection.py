"""Rejection sampling: imitate what the longest-lived lives did, and nothing else.

Own decisions of chosen lives come before others'. Started from the base adapter in every generation it is the iterated
form that does not pile up on itself: Gulcehre et al. 2023 (ReST), https://arxiv.org/abs/2308.08998; Singh et al. 2023
(ReST-EM), https://arxiv.org/abs/2312.06585; Xiong et al. 2025 (RAFT), https://arxiv.org/abs/2504.11343.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from finetune.batches import choose, make_batch
from finetune.episodes import beside_others, lives_of
from finetune.losses import effective_share
from finetune.methods.base import EVERYDAY_ENTROPY, Lesson, Method, imitate
from finetune.trainer_config import TrainerConfig
from fitness.adapter import initial_adapter
from fitness.agent import Agent
from fitness.checks import check_choice, check_integer
from fitness.errors import ConfigError
from fitness.model import Prompts
from fitness.records import Transitions

_STARTS, _COMPARISONS = ("current", "base"), ("world", "all")


@dataclass(frozen=True, kw_only=True)
class Rejection(Method):
    """Supervised fine-tuning on the decisions of the longest-lived lives."""

    share: float = 0.2
    """Of all lives, those that are imitated; above 0, at most 1."""
    among: str = "world"
    """Whom a life is compared with: others in its "world", so that easy worlds are not favoured, or "all"."""
    start: str = "current"
    """"current" goes on from each agent's adapter; "base" begins anew with one that changes nothing."""
    decisions: int = 2048
    """At most this many for each agent, its own before others'."""
    trainer: TrainerConfig = field(default_factory=lambda: TrainerConfig(least_entropy=EVERYDAY_ENTROPY))

    def __post_init__(self) -> None:
        """Check every field."""
        if not 0 < self.share <= 1:
            raise ConfigError(f"share: expected a number above 0 and at most 1, got {self.share}")
        check_choice("among", self.among, _COMPARISONS)
        check_choice("start", self.start, _STARTS)
        check_integer("decisions", self.decisions, 1)
        if self.start == "base" and self.trainer.moments == "inherit":
            raise ConfigError(
                "trainer.moments: expected reset with start base, for new weights have no past, got inherit"
            )

    def prepare(
        self, agents: Sequence[Agent], transitions: Transitions, prompts: Prompts, rng: np.random.Generator
    ) -> Lesson:
        """Keep the best lives."""
        lives = lives_of(transitions)
        worth = beside_others(lives)[0] if self.among == "world" else lives.worth
        kept = np.argsort(-worth, kind="stable")[: max(1, round(self.share * len(lives)))]
        pool = np.flatnonzero(np.isin(lives.of, kept))
        chosen = choose(pool, transitions.agent, [agent.id for agent in agents], self.decisions, rng)
        batch = make_batch(transitions, np.zeros(len(transitions)), chosen, prompts)
        blank = [replace(agent, adapter=initial_adapter(agent.adapter.spec, 0)) for agent in agents]
        pupils = tuple(blank) if self.start == "base" else None
        return Lesson(batch, imitate, effective_share(batch.weight), float("nan"), pupils=pupils)
