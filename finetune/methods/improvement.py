"""Policy improvement by a critic: at every text, more of what is worth more, whether it was done there or not.

A critic that has seen what the whole population met says what each action is worth (`finetune.critic`); the target is
the agent's own policy, every action's chance times exp(worth / beta). What others do where the agent never would is
within its reach too: where the population does something often enough, a small part of its habit is mixed in first.
What nobody does there stays as rare as it is, for of that the record knows nothing: Fujimoto et al. 2019 (BCQ),
https://arxiv.org/abs/1812.02900. The tilt is that of Peters et al. 2010 (REPS),
https://doi.org/10.1609/aaai.v24i1.7727, and Abdolmaleki et al. 2018 (MPO), https://arxiv.org/abs/1806.06920; one step
of improvement over what was recorded: Brandfonbrener et al. 2021, https://arxiv.org/abs/2106.08909.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune.batches import Batch, choose, informative, make_batch
from finetune.critic import Critic, judge_actions
from finetune.losses import effective_share, kl_divergence
from finetune.methods.base import EVERYDAY_ENTROPY, Lesson, TemperedMethod
from finetune.trainer_config import TrainerConfig
from finetune.values import Horizon, appraise
from fitness.agent import Agent
from fitness.checks import check_integer, check_number
from fitness.errors import ConfigError
from fitness.model import Prompts
from fitness.records import Transitions

_STEEPEST = 9.0
"""Largest change of a log-probability."""


@dataclass(frozen=True, kw_only=True)
class PolicyImprovement(TemperedMethod):
    """The agent's own policy, tilted at every action by what a critic says of it."""

    horizon: Horizon = field(default_factory=Horizon)
    """Discount and trace of the advantages that the critic learns."""
    critic: Critic = field(default_factory=Critic)
    """Says what actions are worth."""
    beta: float = 0.15
    """Temperature, in standard deviations of what the actions taken were worth; above 0."""
    support: float = 0.05
    """Only what the agent or the population does at least this often at a text is made likelier; from 0, below 1."""
    adopted: float = 0.02
    """Share of the population's habit in the policy that is tilted, among what is usual enough; from 0, below 1."""
    strictness: float = 0.5
    """Weight of the divergence of the agent from the improved policy, beside that of the policy from the agent. The
    latter hardly minds a remainder of what is never to be done again, such as to eat poison once in thirty times."""
    decisions: int = 2048
    """Observations for each agent, at most: its own before others'."""
    share: float = 0.2
    """Of all observations, those where the improvement would change the population's habit most."""
    urgent: float = 0.25
    """Share of an agent's observations that is drawn from these alone, the rest from all; from 0, below 1."""
    trainer: TrainerConfig = field(default_factory=lambda: TrainerConfig(least_entropy=EVERYDAY_ENTROPY))

    def __post_init__(self) -> None:
        """Check every field."""
        check_integer("decisions", self.decisions, 1)
        if not self.beta > 0:
            raise ConfigError(f"beta: expected a number above 0, got {self.beta}")
        check_number("strictness", self.strictness, 0.0)
        if not 0 < self.share <= 1:
            raise ConfigError(f"share: expected a number above 0 and at most 1, got {self.share}")
        for name in ("support", "adopted", "urgent"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected a number of at least 0 and below 1, got {getattr(self, name)}")

    @property
    def compares_actions(self) -> bool:
        """The critic speaks of all actions."""
        return True

    def prepare_tempered(
        self,
        agents: Sequence[Agent],
        transitions: Transitions,
        prompts: Prompts,
        rng: np.random.Generator,
        betas: Tensor,
    ) -> Lesson:
        """Ask a critic about all decisions, and draw some of them.

        What counts is the worth over beta, so an agent's own divides its worths.
        """
        appraisal = appraise(transitions, self.horizon)
        judgement = judge_actions(transitions, appraisal.advantage, len(prompts.actions), self.critic, rng)
        spread = max(float(judgement.worth[np.arange(len(transitions)), transitions.action].std()), 1e-6)
        worth, usual = torch.from_numpy(judgement.worth / spread).float(), torch.from_numpy(judgement.usual).float()
        chosen = self._choose(self._need(worth, usual), transitions.agent, [agent.id for agent in agents], rng)
        batch = make_batch(transitions, appraisal.advantage, chosen, prompts)
        at = torch.from_numpy(chosen)
        batch = replace(batch, worth=worth[at] / betas[..., None], usual=usual[at])
        return Lesson(batch, self._loss, effective_share(batch.weight), appraisal.explained)

    def _need(self, worth: Tensor, usual: Tensor) -> NDArray[np.float64]:
        """Return [m] how far the population's own habit would have to move, with a beta of 1 whoever learns."""
        moved = improved(usual, worth, usual, self.support, 0.0)
        return np.asarray(kl_divergence(moved, usual).double())

    def _choose(
        self, need: NDArray[np.float64], agent: NDArray[np.int64], ids: Sequence[int], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Return [P, n] what each agent is trained on: much of what is urgent, and some of all of life."""
        count = min(self.decisions, len(need))
        pool = informative(need, self.share)
        urgent = choose(pool, agent, ids, min(len(pool), round(self.urgent * count)), rng)
        rest = choose(np.arange(len(need)), agent, ids, count - urgent.shape[1], rng)
        return np.concatenate([urgent, rest], axis=1)

    def _loss(self, now: Tensor, start: Tensor, part: Batch) -> Tensor:
        """Return the divergences between the improved policy and the agent's [P, b]."""
        assert part.worth is not None
        assert part.usual is not None
        target = improved(start, part.worth / self.beta, part.usual, self.support, self.adopted)
        return kl_divergence(target, now) + self.strictness * kl_divergence(now, target)


def improved(start: Tensor, tilt: Tensor, usual: Tensor, support: float, adopted: float) -> Tensor:
    """Return log-probabilities [P, n, A] of the policy `start`, tilted.

    Args:
        start: [P, n, A] log-probabilities.
        tilt: [P, n, A] what is added to them, before they are normalised again.
        usual: [P, n, A] log-probabilities of the population's habit.
        support: what is less likely than this, to both, is only ever made less likely.
        adopted: share of the habit, where that is likely enough.
    """
    least = math.log(support) if support else -math.inf
    if adopted:
        mixed = torch.logaddexp(start + math.log(1 - adopted), usual + math.log(adopted))
        start = torch.where(usual >= least, mixed, start)
    likely = (start >= least) | (usual >= least)
    kept = torch.where(likely | (tilt < 0), tilt.clamp(-_STEEPEST, _STEEPEST), torch.zeros_like(tilt))
    return (start + kept).log_softmax(dim=-1)
