"""Policy improvement by a critic: at every text, more of what is worth more, whether it was done there or not.

A critic that has seen what the whole population met says what each action is worth (`finetune.critic`); the target is
the agent's own policy, every action's chance times exp(worth / beta). What the agent would hardly do stays as rare as
it is: of that, the record knows too little. Fitted to states that were met, without another step in the world: Peters
et al. 2010 (REPS), https://doi.org/10.1609/aaai.v24i1.7727; Abdolmaleki et al. 2018 (MPO),
https://arxiv.org/abs/1806.06920; one step of improvement over what was recorded: Brandfonbrener et al. 2021,
https://arxiv.org/abs/2106.08909.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from finetune.batches import Batch, choose, make_batch
from finetune.critic import Critic, worth_of_actions
from finetune.losses import effective_share, kl_divergence
from finetune.methods.base import EVERYDAY_ENTROPY, Lesson, Method
from finetune.trainer_config import TrainerConfig
from finetune.values import Horizon, appraise
from fitness.agent import Agent
from fitness.checks import check_integer
from fitness.errors import ConfigError
from fitness.model import Prompts
from fitness.records import Transitions

_STEEPEST = 9.0
"""Largest change of a log-probability."""


@dataclass(frozen=True, kw_only=True)
class PolicyImprovement(Method):
    """The agent's own policy, tilted at every action by what a critic says of it."""

    horizon: Horizon = field(default_factory=Horizon)
    """Discount and trace of the advantages that the critic learns."""
    critic: Critic = field(default_factory=Critic)
    """Says what actions are worth."""
    beta: float = 0.2
    """Temperature, in standard deviations of what the actions taken were worth; above 0."""
    support: float = 0.05
    """Actions less likely than this are made no likelier; from 0, below 1."""
    decisions: int = 2048
    """Observations for each agent, at most: its own before others'."""
    trainer: TrainerConfig = field(default_factory=lambda: TrainerConfig(least_entropy=EVERYDAY_ENTROPY))

    def __post_init__(self) -> None:
        """Check every field."""
        check_integer("decisions", self.decisions, 1)
        if not self.beta > 0:
            raise ConfigError(f"beta: expected a number above 0, got {self.beta}")
        if not 0 <= self.support < 1:
            raise ConfigError(f"support: expected a number of at least 0 and below 1, got {self.support}")

    @property
    def compares_actions(self) -> bool:
        """The critic speaks of all actions."""
        return True

    @property
    def tempered(self) -> bool:
        """See `Method.tempered`."""
        return True

    def prepare(
        self, agents: Sequence[Agent], transitions: Transitions, prompts: Prompts, rng: np.random.Generator
    ) -> Lesson:
        """Ask a critic about all decisions, and draw some of them."""
        return self.prepare_tempered(agents, transitions, prompts, rng, torch.ones(len(agents), 1))

    def prepare_tempered(
        self,
        agents: Sequence[Agent],
        transitions: Transitions,
        prompts: Prompts,
        rng: np.random.Generator,
        betas: Tensor,
    ) -> Lesson:
        """See `Method.prepare_tempered`: what counts is the worth over beta, so an agent's own divides its worths."""
        appraisal = appraise(transitions, self.horizon)
        worth = worth_of_actions(transitions, appraisal.advantage, len(prompts.actions), self.critic, rng)
        spread = max(float(worth[np.arange(len(worth)), transitions.action].std()), 1e-6)
        ids = [agent.id for agent in agents]
        chosen = choose(np.arange(len(transitions)), transitions.agent, ids, self.decisions, rng)
        batch = make_batch(transitions, appraisal.advantage, chosen, prompts)
        judged = torch.from_numpy((worth[chosen] / spread).astype(np.float32)) / betas[..., None]
        return Lesson(replace(batch, worth=judged), self._loss, effective_share(batch.weight), appraisal.explained)

    def _loss(self, now: Tensor, start: Tensor, part: Batch) -> Tensor:
        """Return the divergence from the improved policy [P, b]."""
        assert part.worth is not None
        return kl_divergence(improved(start, part.worth / self.beta, self.support), now)


def improved(start: Tensor, tilt: Tensor, support: float) -> Tensor:
    """Return log-probabilities [P, n, A] of the policy `start`, tilted.

    Args:
        start: [P, n, A] log-probabilities.
        tilt: [P, n, A] what is added to them, before they are normalised again.
        support: actions less likely than this are only ever made less likely.
    """
    likely = start >= (math.log(support) if support else -math.inf)
    kept = torch.where(likely | (tilt < 0), tilt.clamp(-_STEEPEST, _STEEPEST), torch.zeros_like(tilt))
    return (start + kept).log_softmax(dim=2)
