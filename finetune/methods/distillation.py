"""Distillation of strategies into weights: a pupil with few words or none learns to act like its teacher with all.

The actions are few and named, so the divergence between both policies is a sum over them and needs no samples. Each
agent teaches itself, or the one that outlived the others most teaches all. Reverse divergence: Gu et al. 2023
(MiniLLM), https://arxiv.org/abs/2306.08543; Agarwal et al. 2023 (GKD), https://arxiv.org/abs/2306.13649; a prompt moved
into weights: Askell et al. 2021 (context distillation), https://arxiv.org/abs/2112.00861; Snell et al. 2022,
https://arxiv.org/abs/2209.15189. What is taught are states that the population met, an agent's own first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from finetune.batches import Batch, choose, make_batch
from finetune.episodes import beside_others, lives_of
from finetune.losses import effective_share, kl_divergence
from finetune.methods.base import EVERYDAY_ENTROPY, Lesson, Method
from finetune.trainer_config import TrainerConfig
from fitness.agent import Agent
from fitness.checks import check_choice, check_integer
from fitness.errors import ConfigError
from fitness.model import Prompts
from fitness.records import Transitions

_TEACHERS, _DIRECTIONS = ("own", "best"), ("reverse", "forward")


@dataclass(frozen=True, kw_only=True)
class Distillation(Method):
    """Reverse divergence over the actions from a teacher with its strategy to a pupil with less of its own."""

    teacher: str = "own"
    """"own": each agent as it is; "best": the agent that lived longest beside others in its worlds."""
    words: int | None = 0
    """Of its strategy, how many words the pupil keeps, from the first; None: all."""
    direction: str = "reverse"
    """"reverse" keeps the pupil from what the teacher would not do; "forward" has it do all that the teacher would."""
    decisions: int = 2048
    """Observations for each agent, at most: its own before others'."""
    trainer: TrainerConfig = field(default_factory=lambda: TrainerConfig(least_entropy=EVERYDAY_ENTROPY))

    def __post_init__(self) -> None:
        """Check every field."""
        check_choice("teacher", self.teacher, _TEACHERS)
        check_choice("direction", self.direction, _DIRECTIONS)
        check_integer("decisions", self.decisions, 1)
        if self.words is not None:
            check_integer("words", self.words, 0)
        elif self.teacher == "own":
            raise ConfigError("words: expected a number of words with teacher own (as it is, it is its own copy)")

    @property
    def compares_actions(self) -> bool:
        """See `Method.compares_actions`: the divergence is a sum over them."""
        return True

    def prepare(
        self, agents: Sequence[Agent], transitions: Transitions, prompts: Prompts, rng: np.random.Generator
    ) -> Lesson:
        """Draw observations, shorten the pupils' strategies and name the teachers."""
        ids = [agent.id for agent in agents]
        chosen = choose(np.arange(len(transitions)), transitions.agent, ids, self.decisions, rng)
        teachers = tuple(agents) if self.teacher == "own" else (best_of(agents, transitions),) * len(agents)
        pupils = tuple(replace(agent, strategy=self._shortened(agent.strategy)) for agent in agents)
        # Who has itself for a teacher would be moved by rounding errors, which Adam takes for a gradient.
        differs = [float(pupil != teacher) for pupil, teacher in zip(pupils, teachers, strict=True)]
        weight = torch.tensor(differs)[:, None].expand(chosen.shape).clone()
        batch = replace(make_batch(transitions, np.zeros(len(transitions)), chosen, prompts), weight=weight)
        return Lesson(batch, self._loss, effective_share(weight), float("nan"), pupils=pupils, teachers=teachers)

    def _shortened(self, strategy: str) -> str:
        """Return the first words of a strategy."""
        return strategy if self.words is None else " ".join(strategy.split()[: self.words])

    def _loss(self, now: Tensor, start: Tensor, part: Batch) -> Tensor:
        """Return the divergence [P, b]."""
        pupil, teacher = (now, start) if self.direction == "reverse" else (start, now)
        return part.weight * kl_divergence(pupil, teacher)


def best_of(agents: Sequence[Agent], transitions: Transitions) -> Agent:
    """Return the agent whose lives were worth most beside others in their worlds; who has not lived comes last."""
    lives = lives_of(transitions)
    contrast, _ = beside_others(lives)

    def standing(agent: Agent) -> float:
        own = contrast[lives.agent == agent.id]
        return float(own.mean()) if len(own) else -np.inf

    return max(agents, key=standing)
