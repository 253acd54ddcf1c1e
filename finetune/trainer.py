"""Trains the adapters of all elites at once, and refuses what must not be inherited.

Owns optimisation and guards. The loss is the sum over agents of each agent's own mean, so that an agent's gradient is
what it would be if it were trained alone; a step is one forward and one backward for all. What to train on is a
`Method`'s.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from finetune.batches import Batch
from finetune.losses import entropy, kl_divergence
from finetune.methods.base import Lesson, Method
from finetune.optimizer import PopulationAdamW
from finetune.trainer_config import TrainerConfig
from fitness.adapter import Adapter, AdapterStack
from fitness.agent import Agent
from fitness.forwards.base import Prefix
from fitness.model import PopulationModel, Prompts
from fitness.records import Transitions

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
    """Mean KL divergence from the parent over the judged decisions, nats."""
    entropy: float
    """Mean action entropy over the judged decisions, nats."""
    effective_share: float
    """Effective sample size as a share of the batch."""


@dataclass(frozen=True)
class Training:
    """One round of fine-tuning."""

    tuned: tuple[Tuned, ...]
    """One per agent, in their order."""
    explained: float
    """Share of variance that the method's value explains."""
    flops: float
    """Forward and backward; the frozen weights need no gradients of their own, so backward counts as one forward."""
    model_seconds: float


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
    lesson = method.prepare(agents, transitions, prompts, rng)
    return _Session(method.trainer, model, prompts, agents, lesson).run(rng)


class _Session:
    """The state of one round of training."""

    def __init__(
        self, config: TrainerConfig, model: PopulationModel, prompts: Prompts, agents: Sequence[Agent], lesson: Lesson
    ) -> None:
        self.config, self.model, self.prompts, self.lesson = config, model, prompts, lesson
        self.batch = lesson.batch.to(model.device)
        self.prefixes = prompts.prefixes([agent.strategy for agent in agents])
        self.temperature = torch.tensor([agent.temperature for agent in agents])
        self.stack = _trainable(AdapterStack.of([agent.adapter for agent in agents]), model.device)
        self.factors = [*self.stack.a.values(), *self.stack.b.values()]
        self.flops = self.seconds = 0.0

    def run(self, rng: np.random.Generator) -> Training:
        """Train and judge."""
        blank = torch.zeros(len(self.prefixes), device=self.model.device)
        optimizer = PopulationAdamW(
            self.factors,
            torch.full_like(blank, self.config.learning_rate),
            betas=(0.9, self.config.beta2),
            clip_norm=self.config.clip_norm,
            weight_decay=self.config.weight_decay,
        )
        start, losses, sound = self._score_all(), blank, torch.ones_like(blank, dtype=torch.bool)
        steps = self.config.passes * math.ceil(len(self.batch) / self.config.batch)
        rates = iter(_rates(self.config.learning_rate, steps))
        for _ in range(self.config.passes):
            losses = torch.zeros_like(blank)
            for columns in _split(torch.from_numpy(rng.permutation(len(self.batch))), self.config.batch):
                losses += self._backward(columns, start) * len(columns) / len(self.batch)
                optimizer.learning_rate.fill_(next(rates))
                sound &= torch.isfinite(optimizer.step(sound))
        judged = torch.from_numpy(rng.permutation(len(self.batch))[:_JUDGED])
        return self._judge(start, losses, sound, judged)

    def _backward(self, columns: Tensor, start: Tensor) -> Tensor:
        """Add the gradients of one optimisation step; return each agent's mean loss [P].

        Strategies are read once, forward and backward, however many pieces the rows are cut into. Each strand gathers
        gradients of its own, which meet at the end.
        """
        begun = time.perf_counter()
        prefix = self._read(training=True)

        def learn(pieces: Sequence[Tensor]) -> tuple[Tensor, Prefix]:
            shared, total = _cut_off(prefix), torch.zeros(len(start), device=start.device)
            for piece in pieces:
                part = self.batch.part(piece)
                losses = self.lesson.loss(self._score(shared, part), start[:, piece], part).sum(dim=1) / len(columns)
                losses.sum().backward()
                total += losses.detach()
            return total, shared

        strands = _strands(self._cut(columns), self.model.strands)
        learnt = self.model.side_by_side(learn, strands)
        _send_back([shared for _, shared in learnt], prefix)
        self._count(columns, prefix, backward=True)
        self.seconds += time.perf_counter() - begun
        return torch.stack([total for total, _ in learnt]).sum(dim=0)

    def _cut(self, columns: Tensor) -> tuple[Tensor, ...]:
        """Cut columns into even pieces: small enough for `rows_at_once`, and work for every strand."""
        pieces = math.ceil(len(columns) * len(self.prefixes) / self.config.rows_at_once)
        strands = self.model.strands
        return torch.tensor_split(columns, min(len(columns), math.ceil(pieces / strands) * strands))

    @torch.no_grad()
    def _score_all(self, columns: Tensor | None = None) -> Tensor:
        """Return log-probabilities [P, n, A] of the batch, or of some of it, as the adapters are now."""
        begun = time.perf_counter()
        wanted = torch.arange(len(self.batch)) if columns is None else columns
        prefix = self._read()
        scores = self.model.side_by_side(lambda piece: self._score(prefix, self.batch.part(piece)), self._cut(wanted))
        self._count(wanted, prefix)
        self.seconds += time.perf_counter() - begun
        return torch.cat(scores, dim=1)

    def _read(self, *, training: bool = False) -> Prefix:
        """Read all strategies with the adapters as they are now, counting what it costs."""
        prefix = self.model.read(self.stack, self.prefixes)
        self.flops += self.model.forward.read_flops(prefix) * (2 if training else 1)
        return prefix

    def _score(self, prefix: Prefix, part: Batch) -> Tensor:
        """Return log-probabilities [P, b, A]."""
        return self.model.action_log_probs(prefix, part.ids, part.lengths, self.prompts.actions, self.temperature)

    def _count(self, columns: Tensor, prefix: Prefix, *, backward: bool = False) -> None:
        """Count what scoring `columns` cost."""
        for piece in self._cut(columns):
            lengths = self.batch.lengths[:, piece]
            spent = self.model.forward.flops(prefix, lengths.numel() * int(lengths.max()), lengths.numel())
            self.flops += spent * (2 if backward else 1)

    def _judge(self, start: Tensor, losses: Tensor, sound: Tensor, judged: Tensor) -> Training:
        """Compare with the parents and refuse what is broken, has drifted too far or has collapsed."""
        end = self._score_all(judged)
        drift, doubt = kl_divergence(start[:, judged], end).mean(dim=1), entropy(end).mean(dim=1)
        tuned = []
        for i, adapter in enumerate(_on_cpu(self.stack)):
            whole = bool(sound[i]) and adapter.is_finite() and bool(torch.isfinite(losses[i]))
            reason = self._objection(whole, float(drift[i]), float(doubt[i]))
            figures = (float(losses[i]), float(drift[i]), float(doubt[i]), float(self.lesson.effective_share[i]))
            tuned.append(Tuned(adapter, not reason, reason, *figures))
        return Training(tuple(tuned), self.lesson.explained, self.flops, self.seconds)

    def _objection(self, whole: bool, drift: float, doubt: float) -> str:
        """Return why an adapter is refused, or an empty string."""
        if not (whole and np.isfinite(drift) and np.isfinite(doubt)):
            return "not finite"
        if drift > self.config.largest_drift:
            return f"drift: KL {drift:.3f} from the parent, at most {self.config.largest_drift} allowed"
        if doubt < self.config.least_entropy:
            return f"collapse: entropy {doubt:.3f}, at least {self.config.least_entropy} expected"
        return ""


def _rates(peak: float, steps: int) -> list[float]:
    """Return the learning rate of every step: up in a tenth of them, then evenly down to nearly nothing."""
    rise = max(1, steps // 10)
    return [peak * min((step + 1) / rise, (steps - step) / max(1, steps - rise)) for step in range(steps)]


def _trainable(stack: AdapterStack, device: torch.device) -> AdapterStack:
    """Return a copy of the stack on `device` whose factors require gradients."""
    a, b = (
        {name: factor.to(device, copy=True).requires_grad_() for name, factor in part.items()}
        for part in (stack.a, stack.b)
    )
    return AdapterStack(stack.spec, a, b)


def _on_cpu(stack: AdapterStack) -> AdapterStack:
    """Return the stack where agents keep their adapters, without gradients."""
    a, b = ({name: factor.detach().cpu() for name, factor in part.items()} for part in (stack.a, stack.b))
    return AdapterStack(stack.spec, a, b)


def _cut_off(prefix: Prefix) -> Prefix:
    """Return the same numbers without their history: gradients gather here until `_send_back`."""

    def leaf(tensor: Tensor) -> Tensor:
        return tensor.detach().requires_grad_(tensor.requires_grad)

    adapters = {name: leaf(tensor) for name, tensor in prefix.adapters.items()}
    return Prefix(adapters, tuple(map(leaf, prefix.keys)), tuple(map(leaf, prefix.values)), prefix.lengths)


def _send_back(shared: Sequence[Prefix], prefix: Prefix) -> None:
    """Go backward through the reading of `prefix` with the gradients that gathered in all of `shared`."""
    tensors, gradients = [], []
    for tensor, *leaves in zip(_tensors(prefix), *map(_tensors, shared), strict=True):
        gathered = [leaf.grad for leaf in leaves if leaf.grad is not None]
        if gathered:
            tensors.append(tensor)
            gradients.append(torch.stack(gathered).sum(dim=0) if len(gathered) > 1 else gathered[0])
    torch.autograd.backward(tensors, gradients)


def _tensors(prefix: Prefix) -> list[Tensor]:
    """List all that a reading leaves."""
    return [*prefix.adapters.values(), *prefix.keys, *prefix.values]


def _split(columns: Tensor, size: int) -> Iterator[Tensor]:
    """Yield `columns` in pieces of at most `size`."""
    yield from torch.split(columns, size)


def _strands(pieces: Sequence[Tensor], count: int) -> list[Sequence[Tensor]]:
    """Deal pieces out to at most `count` strands."""
    return [pieces[i::count] for i in range(min(count, len(pieces)))]
