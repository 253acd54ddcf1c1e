"""The contract of a fine-tuning method: agents and transitions in, a batch and a loss out.

Owns `Method`, `Lesson` and `Loss`. Optimisation, guards and the model belong to `finetune.trainer`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from finetune.batches import Batch
from finetune.losses import of_taken, weighted_likelihood
from finetune.trainer_config import TrainerConfig
from fitness.agent import Agent
from fitness.model import Prompts
from fitness.records import Transitions

EVERYDAY_ENTROPY = 1e-3
"""Least entropy for methods that judge all of life: over what it meets every day a good agent hardly doubts, less than
over the decisive moments that `TrainerConfig`'s own bound is for."""


class Loss(Protocol):
    """A method's loss on part of its batch: some decisions of all agents or of some; agents do not mix."""

    def __call__(self, now: Tensor, start: Tensor, part: Batch) -> Tensor:
        """Return the loss of each decision [P, b].

        Args:
            now: [P, b, A] log-probabilities of the named actions, differentiable; of answers in words, [P, b, 1], only
                of what was said, so that a loss that asks no more than `of_taken` serves both.
            start: [P, b, A] the same before training, or the teachers'.
            part: the decisions.
        """


class ValueLoss(Protocol):
    """The loss of a value head on part of its batch."""

    def __call__(self, value: Tensor, part: Batch) -> Tensor:
        """Return the loss of each decision [P, b].

        Args:
            value: [P, b] what each agent's head says of the pooled hidden states, differentiable in both.
            part: the decisions; `part.advantage` is what a head aims at when it is first fitted.
        """


@dataclass(frozen=True)
class Lesson:
    """What P agents are to be trained on, and how."""

    batch: Batch
    loss: Loss
    effective_share: Tensor
    """[P] effective sample size of the weights as a share of the batch."""
    explained: float
    """Share of variance that the fitted value explains; NaN for methods without one, and for those whose value is a
    head, which the trainer measures."""
    block: int = 1
    """Neighbouring decisions that belong together; n is a multiple. Above 1 the loss always sees whole blocks."""
    pupils: tuple[Agent, ...] | None = None
    """[P] whose adapters are trained; None: those of the agents themselves."""
    teachers: tuple[Agent, ...] | None = None
    """[P] whose log-probabilities the loss gets as `start`, and whom none may drift away from; None: the agents."""
    value: ValueLoss | None = None
    """Added to `loss`: a value head [H + 1] of each agent is trained with its adapter, and left behind. None: no head.
    Of single decisions only (`block` 1)."""

    def __post_init__(self) -> None:
        """Refuse a head in a loss of whole blocks."""
        if self.value is not None and self.block > 1:
            raise ValueError(f"block: expected 1 beside a value head, got {self.block}")


def imitate(now: Tensor, start: Tensor, part: Batch) -> Tensor:
    """Return the weighted negative log-likelihood [P, b] of what was done: the loss of all methods that imitate."""
    return weighted_likelihood(of_taken(now, part.taken), part.weight)


class Method(ABC):
    """Chooses decisions, weights and loss."""

    trainer: TrainerConfig

    @property
    def spoken(self) -> str:
        """What agents are told after their strategy in every life, whether trained already or not; mostly nothing."""
        return ""

    @property
    def compares_actions(self) -> bool:
        """Whether it needs all named actions' log-probabilities, which agents that answer in words have not."""
        return False

    @property
    def tempered(self) -> bool:
        """Whether the method has a beta, and `prepare_tempered` gives each agent its own."""
        return False

    @abstractmethod
    def prepare(
        self, agents: Sequence[Agent], transitions: Transitions, prompts: Prompts, rng: np.random.Generator
    ) -> Lesson:
        """Return what `agents` are to learn from `transitions`.

        Args:
            agents: P agents that will be trained, each on its own.
            transitions: decisions of the whole population, ordered by (agent, seed, step).
            prompts: turns texts into tokens.
            rng: the only source of chance.
        """

    def prepare_tempered(
        self,
        agents: Sequence[Agent],
        transitions: Transitions,
        prompts: Prompts,
        rng: np.random.Generator,
        betas: Tensor,
    ) -> Lesson:
        """Return what `prepare` does, with each agent's own beta where the method is `tempered`.

        Args:
            agents: see `prepare`.
            transitions: see `prepare`.
            prompts: see `prepare`.
            rng: see `prepare`.
            betas: float32 [P, 1] multiples of the method's beta; with ones it is `prepare`, to the last bit.
        """
        del betas
        return self.prepare(agents, transitions, prompts, rng)


class TemperedMethod(Method):
    """A method with a beta: what it prepares is asked for with each agent's own multiple of it."""

    @property
    def tempered(self) -> bool:
        """See `Method.tempered`; it may depend on how the method is set."""
        return True

    def prepare(
        self, agents: Sequence[Agent], transitions: Transitions, prompts: Prompts, rng: np.random.Generator
    ) -> Lesson:
        """See `Method.prepare`: everybody's beta is the method's."""
        return self.prepare_tempered(agents, transitions, prompts, rng, torch.ones(len(agents), 1))

    @abstractmethod
    def prepare_tempered(
        self,
        agents: Sequence[Agent],
        transitions: Transitions,
        prompts: Prompts,
        rng: np.random.Generator,
        betas: Tensor,
    ) -> Lesson:
        """See `Method.prepare_tempered`."""
