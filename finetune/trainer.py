"""Trains the adapters of all elites at once, and refuses what must not be inherited.

Owns the course of optimisation and the guards. Gradients are `finetune.policies`', the update is
`finetune.optimizer`'s, and what to train on is a `Method`'s.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from finetune.batches import Batch
from finetune.heads import explained_share, fitted, predicted
from finetune.learners import Learner
from finetune.losses import entropy, kl_divergence, of_taken, sampled_entropy, sampled_kl_divergence
from finetune.methods.base import Lesson, Method
from finetune.moments import Moments, Rows
from finetune.optimizer import PopulationAdamW
from finetune.policies import Cost, Policies
from finetune.trainer_config import TrainerConfig
from fitness.adapter import Adapter
from fitness.agent import Agent
from fitness.model import PopulationModel, Prompts
from fitness.records import Transitions

GUARDS = ("not finite", "exploding", "drift", "collapse")
"""Why an adapter may be refused; what `Tuned.reason` begins with."""
_HALVINGS = 5
_JUDGED = 512
"""Decisions of each agent that its drift and its entropy are measured on, at most."""


@dataclass(frozen=True)
class Tuned:
    """What training made of one agent's adapter."""

    adapter: Adapter
    accepted: bool
    reason: str
    """Why it was refused; empty if it was not."""
    loss: float
    """Mean over the last pass."""
    kl: float
    """Mean KL divergence from the parent, or from the teacher, over the judged decisions, nats."""
    entropy: float
    """Mean action entropy over the judged decisions, nats."""
    effective_share: float
    """Effective sample size as a share of the batch."""
    kept: float
    """Share of the way from the parent that was left when it was near enough; 1 if it never drifted too far."""
    moments: Moments | None = None
    """What the optimiser remembers, with `moments: inherit`."""


@dataclass(frozen=True)
class Training:
    """One round of fine-tuning."""

    tuned: tuple[Tuned, ...]
    """One per agent, in their order."""
    explained: float
    """Share of variance that the method's value explains; of a value head, after training and on judged decisions, of
    those that it was trained on (held in), mean over the agents."""
    cost: Cost
    faults: tuple[str, ...] = ()
    """What broke and could be mended, one sentence each."""


def tune(
    method: Method,
    model: PopulationModel,
    prompts: Prompts,
    agents: Sequence[Agent],
    transitions: Transitions,
    rng: np.random.Generator,
) -> Training:
    """Train a copy of every agent's adapter; the agents themselves stay as they are.

    Args:
        method: what to train on.
        model: the base model that the agents share.
        prompts: of the agents' environment.
        agents: P agents.
        transitions: decisions of the whole population.
        rng: the only source of chance.
    """
    return tune_each(method, model, prompts, [Learner(agent=agent) for agent in agents], transitions, rng)


def tune_each(
    method: Method,
    model: PopulationModel,
    prompts: Prompts,
    learners: Sequence[Learner],
    transitions: Transitions,
    rng: np.random.Generator,
) -> Training:
    """Do what `tune` does, with each learner's own learning rate, beta and memory.

    Raises:
        ValueError: the method compares all that could have been done, and agents answered in words.
    """
    if method.compares_actions and transitions.answers is not None:
        raise ValueError(f"transitions: expected chosen actions for {type(method).__name__}, got answers in words")
    agents, betas = [one.agent for one in learners], torch.tensor([[one.beta] for one in learners])
    lesson = method.prepare_tempered(agents, transitions, prompts, rng, betas)
    valued = lesson.value is not None
    policies = Policies(model, prompts, lesson.pupils or agents, method.trainer.rows_at_once, valued=valued)
    batch = lesson.batch.to(model.device)
    start = _fit_heads(policies, batch) if valued else None
    if lesson.pupils or lesson.teachers:
        teachers = Policies(model, prompts, lesson.teachers or agents, method.trainer.rows_at_once)
        start = teachers.log_probs(batch)
        policies.cost, policies.faults = policies.cost + teachers.cost, [*policies.faults, *teachers.faults]
    elif start is None:
        start = policies.log_probs(batch)
    return _Session(method.trainer, policies, replace(lesson, batch=batch), start).run(rng, learners)


def _fit_heads(policies: Policies, batch: Batch) -> Tensor:
    """Fit every agent's value head to the worth of its decisions; return their log-probabilities [P, n, A].

    A head that already fits when its features begin to move distorts them less (Kumar et al. 2022,
    https://arxiv.org/abs/2202.10054).
    """
    scores, states = policies.look(batch)
    policies.heads.copy_(fitted(states, batch.advantage))
    return scores


class _Session:
    """The state of one round of training."""

    def __init__(self, config: TrainerConfig, policies: Policies, lesson: Lesson, start: Tensor) -> None:
        self.config, self.policies, self.lesson, self.start = config, policies, lesson, start
        self.batch = lesson.batch

    def run(self, rng: np.random.Generator, learners: Sequence[Learner]) -> Training:
        """Train and judge."""
        blank = torch.zeros(len(self.policies), device=self.policies.model.device)
        multiples = torch.tensor([one.rate for one in learners]).to(blank)
        optimizer = self._optimizer([one.moments for one in learners])
        begin = self.policies.weights.detach().clone()
        losses, sound, peak = blank, torch.ones_like(blank, dtype=torch.bool), blank
        size = max(1, self.config.batch // self.lesson.block) * self.lesson.block
        steps = self.config.passes * math.ceil(len(self.batch) / size)
        rates = iter(_rates(self.config.learning_rate, steps))
        for _ in range(self.config.passes):
            losses = torch.zeros_like(blank)
            for columns in torch.split(self._shuffled(rng), size):
                part, start = self.batch.part(columns), self.start[:, columns]
                step = self.policies.backward(
                    part, start, self.lesson.loss, joint=self.lesson.block > 1, value=self.lesson.value
                )
                losses += step * len(columns) / len(self.batch)
                optimizer.learning_rate = multiples * next(rates)
                norm = optimizer.step(sound)
                sound &= torch.isfinite(norm)
                peak = torch.maximum(peak, norm)
        judged = torch.from_numpy(rng.permutation(len(self.batch))[:_JUDGED])
        return self._judge(_Ended(begin, losses, sound, peak), judged, self._memories(optimizer))

    def _optimizer(self, moments: Sequence[Moments | None]) -> PopulationAdamW:
        """Return the optimiser, which remembers what the agents' own did if that is inherited."""
        weights = self.policies.weights
        optimizer = PopulationAdamW(
            weights,
            torch.full(weights.shape[:1], self.config.learning_rate, device=weights.device),
            betas=(0.9, self.config.beta2),
            clip_norm=self.config.clip_norm,
            weight_decay=self.config.weight_decay,
        )
        if self.config.moments == "inherit":
            rows = Rows.of(moments, list(self.policies.adapters()))
            optimizer.first, optimizer.second = rows.first.to(weights), rows.second.to(weights)
            optimizer.steps = rows.steps.to(optimizer.steps)
        return optimizer

    def _memories(self, optimizer: PopulationAdamW) -> Sequence[Moments | None]:
        """Return what the optimiser remembers of each agent, if that is inherited."""
        if self.config.moments != "inherit":
            return (None,) * len(self.policies)
        return Rows(optimizer.first, optimizer.second, optimizer.steps).apart(self.policies.stack)

    def _shuffled(self, rng: np.random.Generator) -> Tensor:
        """Return all columns of the batch in a random order that keeps blocks whole."""
        blocks = rng.permutation(len(self.batch) // self.lesson.block)
        return torch.from_numpy((blocks[:, None] * self.lesson.block + np.arange(self.lesson.block)).ravel())

    def _judge(self, ended: "_Ended", judged: Tensor, moments: Sequence[Moments | None]) -> Training:
        """Compare with the parents and refuse what is broken, has drifted too far or has collapsed."""
        part, before = self.batch.part(judged), self.start[:, judged]
        end, explained = self._end(part)
        drift, doubt = _moved(before, end, part)
        kept = torch.ones_like(drift)
        for _ in range(_HALVINGS if self.config.too_far == "shrink" else 0):
            far = drift > self.config.largest_drift
            if not far.any():
                break
            kept[far] /= 2
            self.policies.weights[far] = (ended.begin[far] + self.policies.weights[far]) / 2
            end, explained = self._end(part)
            drift, doubt = _moved(before, end, part)
        tuned = []
        for i, adapter in enumerate(self.policies.adapters()):
            whole = bool(ended.sound[i]) and adapter.is_finite() and bool(torch.isfinite(ended.losses[i]))
            reason = self._objection(whole, float(drift[i]), float(doubt[i]), float(ended.peak[i]))
            tuned.append(
                Tuned(
                    adapter=adapter,
                    accepted=not reason,
                    reason=reason,
                    loss=float(ended.losses[i]),
                    kl=float(drift[i]),
                    entropy=float(doubt[i]),
                    effective_share=float(self.lesson.effective_share[i]),
                    kept=float(kept[i]),
                    moments=moments[i],
                )
            )
        return Training(tuple(tuned), explained, self.policies.cost, tuple(self.policies.faults))

    def _end(self, part: Batch) -> tuple[Tensor, float]:
        """Return the log-probabilities of some decisions after training, and the share of variance explained."""
        if self.lesson.value is None:
            return self.policies.log_probs(part), self.lesson.explained
        end, states = self.policies.look(part)
        return end, explained_share(predicted(self.policies.heads, states), part.advantage)

    def _objection(self, whole: bool, drift: float, doubt: float, peak: float) -> str:
        """Return why an adapter is refused, or an empty string."""
        if not (whole and np.isfinite(drift) and np.isfinite(doubt)):
            return "not finite"
        if peak > self.config.largest_gradient:
            return f"exploding: a gradient of norm {peak:.3g}, at most {self.config.largest_gradient:g} allowed"
        if drift > self.config.largest_drift:
            return f"drift: KL {drift:.3f} from the parent, at most {self.config.largest_drift} allowed"
        if doubt < self.config.least_entropy:
            return f"collapse: entropy {doubt:.3f}, at least {self.config.least_entropy} expected"
        return ""


@dataclass(frozen=True, eq=False)
class _Ended:
    """What optimisation left of P agents."""

    begin: Tensor
    """[P, N] their rows as it began."""
    losses: Tensor
    """[P] mean over the last pass."""
    sound: Tensor
    """[P] whether every gradient was finite."""
    peak: Tensor
    """[P] largest norm of a gradient, before clipping."""


def _moved(start: Tensor, end: Tensor, part: Batch) -> tuple[Tensor, Tensor]:
    """Return drift and entropy [P] over some decisions; of answers, which are too many to sum over, estimates."""
    if part.written is None:
        return kl_divergence(start, end).mean(dim=1), entropy(end).mean(dim=1)
    before, after = of_taken(start, part.taken), of_taken(end, part.taken)
    drift = sampled_kl_divergence(before, after, part.behaviour)
    return drift.mean(dim=1), sampled_entropy(after, part.behaviour).mean(dim=1)


def _rates(peak: float, steps: int) -> list[float]:
    """Return the learning rate of every step: up in a tenth of them, then evenly down to nearly nothing."""
    rise = max(1, steps // 10)
    return [peak * min((step + 1) / rise, (steps - step) / max(1, steps - rise)) for step in range(steps)]
