"""Direct preference over whole lives: of two lives in one world, the longer is to become likelier than the shorter.

The reference is the agent as it was before training, the parent of what is made of it; its log-probabilities are
computed once. Rafailov et al. 2023, https://arxiv.org/abs/2305.18290; pairs of an agent's own successes and failures:
Song et al. 2024 (ETO), https://arxiv.org/abs/2403.02502; discounted positions, so that the winner's length does not
decide, since here winners are longer by definition: Shi et al. 2024 (DMPO), https://arxiv.org/abs/2406.14868. Long
lives are represented by decisions drawn from them at random, whose weights stand for the others'.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune.batches import Batch, make_batch
from finetune.episodes import Lives, lives_of, pairs_of
from finetune.losses import discounted_positions, effective_share, imitation, of_taken, preference
from finetune.methods.base import EVERYDAY_ENTROPY, Lesson, TemperedMethod
from finetune.trainer_config import TrainerConfig
from fitness.agent import Agent
from fitness.checks import check_choice, check_integer, check_number
from fitness.errors import ConfigError
from fitness.model import Prompts
from fitness.records import Transitions

Integers = NDArray[np.int64]
_LENGTHS = ("discounted", "mean", "sum")


@dataclass(frozen=True, kw_only=True)
class TrajectoryPreference(TemperedMethod):
    """Preference of the longer of two lives in the same world, with the parent as reference."""

    pairs: int = 64
    """At most this many for each agent: those with a life of its own before others'."""
    steps: int = 16
    """Decisions that represent each life, at most."""
    margin: float = 1.0
    """Rewards by which the better life must be better; above 0."""
    beta: float = 0.1
    """How strongly the reference holds; the larger, the sooner a pair is settled."""
    length: str = "discounted"
    """How decisions of a life count: "discounted" by position (DMPO), their "mean", or their "sum" (plain DPO)."""
    discount: float = 0.98
    """Gamma of "discounted"; in (0, 1)."""
    imitate: float = 0.1
    """Weight of the better life's mean negative log-likelihood, against both lives becoming rarer; at least 0."""
    trainer: TrainerConfig = field(default_factory=lambda: TrainerConfig(batch=256, least_entropy=EVERYDAY_ENTROPY))
    """A step takes whole pairs: as many as fit into `batch` decisions, at least one."""

    def __post_init__(self) -> None:
        """Check every field."""
        for name in ("pairs", "steps"):
            check_integer(name, getattr(self, name), 1)
        check_choice("length", self.length, _LENGTHS)
        check_number("imitate", self.imitate, 0)
        for name in ("margin", "beta"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}: expected a number above 0, got {getattr(self, name)}")
        if not 0 < self.discount < 1:
            raise ConfigError(f"discount: expected a number between 0 and 1, got {self.discount}")

    def prepare_tempered(
        self,
        agents: Sequence[Agent],
        transitions: Transitions,
        prompts: Prompts,
        rng: np.random.Generator,
        betas: Tensor,
    ) -> Lesson:
        """Pair lives and draw their decisions: in each block, `steps` of the better life, then of the worse.

        An agent's own beta is the size of the sign that tells the lives apart.
        """
        lives = lives_of(transitions)
        pairs = self._choose(lives, [agent.id for agent in agents], rng)
        drawn = [[self._draw(lives, life, rng) for life in row.ravel()] for row in pairs]
        block = 2 * self.steps
        if not pairs.size:  # nobody outlived anybody: a block that weighs nothing teaches nothing
            drawn = [[(np.zeros(block, np.int64), np.zeros(block))] for _ in agents]
        chosen = np.stack([np.concatenate([rows for rows, _ in one]) for one in drawn])
        weight = np.stack([np.concatenate([weights for _, weights in one]) for one in drawn])
        sign = np.where(np.arange(chosen.shape[1]) % block < self.steps, 1.0, -1.0)
        batch = replace(
            make_batch(transitions, np.zeros(len(transitions)), chosen, prompts),
            advantage=torch.from_numpy(np.broadcast_to(sign, chosen.shape).astype(np.float32)) * betas,
            weight=torch.from_numpy(weight.astype(np.float32)),
        )
        return Lesson(batch, self._loss, effective_share(batch.weight), float("nan"), block=block)

    def _choose(self, lives: Lives, ids: Sequence[int], rng: np.random.Generator) -> Integers:
        """Return pairs of lives [P, k, 2] for each agent, its own first."""
        pairs, chosen = pairs_of(lives, self.margin), []
        for one in ids:
            shuffled = pairs[rng.permutation(len(pairs))]
            own = (lives.agent[shuffled] == one).any(axis=1)
            chosen.append(np.concatenate([shuffled[own], shuffled[~own]])[: self.pairs])
        return np.stack(chosen)

    def _draw(self, lives: Lives, life: int, rng: np.random.Generator) -> tuple[Integers, NDArray[np.float64]]:
        """Return `steps` decisions of a life in their order, and their weights; what is missing weighs nothing."""
        total = int(lives.steps[life])
        steps = np.arange(total)
        if total > self.steps:
            steps = np.sort(rng.choice(total, self.steps, replace=False))
        weight = self._positions(steps, total) * (total / len(steps))
        missing = self.steps - len(steps)
        return lives.first[life] + np.pad(steps, (0, missing), mode="edge"), np.pad(weight, (0, missing))

    def _positions(self, steps: Integers, total: int) -> NDArray[np.float64]:
        """Return how much each step of a life of `total` counts."""
        if self.length == "discounted":
            length = torch.tensor(float(total), dtype=torch.float64)
            return np.asarray(discounted_positions(torch.from_numpy(steps), length, self.discount))
        return np.full(len(steps), 1.0 / total if self.length == "mean" else 1.0)

    def _loss(self, now: Tensor, start: Tensor, part: Batch) -> Tensor:
        """Return each pair's loss at each of its decisions [P, b]."""

        def by_pair(tensor: Tensor) -> Tensor:
            return tensor.reshape(len(tensor), -1, 2 * self.steps)

        after, before = by_pair(of_taken(now, part.taken)), by_pair(of_taken(start, part.taken))
        sign, weight = by_pair(part.advantage), by_pair(part.weight)
        loss = preference(after, before, sign * weight, self.beta)
        if self.imitate:
            loss = loss + self.imitate * imitation(after, weight * (sign > 0))
        return loss.repeat_interleave(2 * self.steps, dim=1)
