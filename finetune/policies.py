"""The whole population in one backward: the sum of each agent's own mean loss, so each gets its own gradient.

Owns the trainable copy of the adapters, how the work is cut, and what it costs. Agents share no weight that is trained,
so the sum's gradient for one of them is what it would be alone. Work is cut by agent first: a piece reads the
strategies of some agents, forward and backward, once per step, however many parts their decisions are cut into. Does
not own the loss (`finetune.methods`), the update (`finetune.optimizer`) or what is refused (`finetune.trainer`).
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from finetune.batches import Batch
from finetune.methods.base import Loss
from fitness.adapter import AdapterStack
from fitness.agent import Agent
from fitness.forwards.base import Prefix
from fitness.model import PopulationModel, Prompts, pad_rows


@dataclass(frozen=True)
class Cost:
    """What has been spent."""

    flops: float = 0.0
    """Forward and backward; the frozen weights need no gradients of their own, so backward counts as one forward."""
    seconds: float = 0.0
    """Inside the model, forward and backward."""

    def __add__(self, other: "Cost") -> "Cost":
        """Return both together."""
        return Cost(self.flops + other.flops, self.seconds + other.seconds)


class Policies:
    """P agents with adapters that can be trained."""

    def __init__(self, model: PopulationModel, prompts: Prompts, agents: Sequence[Agent], rows_at_once: int) -> None:
        """Copy the agents' adapters to the model's device.

        Args:
            model: the base model that the agents share.
            prompts: of the agents' environment.
            agents: P agents; they stay as they are.
            rows_at_once: rows in one forward and backward, at most; bounds each core's memory, changes no result.
        """
        self.model, self.rows_at_once, self.cost = model, rows_at_once, Cost()
        self.actions = prompts.actions
        self.prefixes = prompts.prefixes([agent.strategy for agent in agents])
        self.temperature = torch.tensor([agent.temperature for agent in agents])
        stack = AdapterStack.of([agent.adapter for agent in agents])
        self.stack = stack.map(lambda factor: factor.to(model.device, copy=True))
        self.factors = [*self.stack.a.values(), *self.stack.b.values()]
        """Tensors [P, ...]: all A, then all B, in the order of the spec's modules."""
        self._gradients = [torch.zeros_like(factor) for factor in self.factors]

    def __len__(self) -> int:
        """Return the number of agents P."""
        return len(self.prefixes)

    def adapters(self) -> AdapterStack:
        """Return the adapters as they are now, where agents keep theirs."""
        return self.stack.map(lambda factor: factor.detach().cpu())

    @torch.no_grad()
    def log_probs(self, batch: Batch) -> Tensor:
        """Return the log-probabilities [P, n, A] of all decisions, as the adapters are now."""
        begun = time.perf_counter()

        def score(members: slice) -> tuple[Tensor, float]:
            prefix, part = self._read(self.stack.part(members), members), batch.of(members)
            pieces = [self._score(prefix, piece, members) for piece in self._cut(part)]
            flops = self.model.forward.read_flops(prefix) + sum(self._flops(prefix, p) for p in self._cut(part))
            return torch.cat(pieces, dim=1), flops

        done = self.model.side_by_side(score, self._members(len(batch)))
        self._count(sum(flops for _, flops in done), begun)
        return torch.cat([scores for scores, _ in done])

    def backward(self, batch: Batch, start: Tensor, loss: Loss) -> Tensor:
        """Leave the gradient of every agent's mean loss in `factors`; return the losses [P].

        Args:
            batch: n decisions for each agent: one optimisation step.
            start: [P, n, A] their log-probabilities before training.
            loss: the method's.
        """
        begun = time.perf_counter()

        def learn(members: slice) -> tuple[Tensor, float]:
            own = self.stack.part(members).map(lambda factor: factor.detach().requires_grad_())
            done = self._learn(own, members, batch.of(members), start[members], loss)
            for gathered, leaf in zip(self._gradients, (*own.a.values(), *own.b.values()), strict=True):
                own_place = gathered[members][:, : leaf.shape[1], : leaf.shape[2]]  # without padding of mixed ranks
                own_place.copy_(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad)
            return done

        done = self.model.side_by_side(learn, self._members(len(batch)), training=True)
        for factor, gathered in zip(self.factors, self._gradients, strict=True):
            factor.grad = gathered
        self._count(2 * sum(flops for _, flops in done), begun)
        return torch.cat([losses for losses, _ in done])

    def _learn(
        self, own: AdapterStack, members: slice, batch: Batch, start: Tensor, loss: Loss
    ) -> tuple[Tensor, float]:
        """Gather gradients in `own`; return the members' mean losses and the forward's cost."""
        alone = len(batch) == 1 and self.model.forward.reads_nothing
        batch = self._whole(batch, members) if alone else batch
        prefix, pieces = self._read(own, members, empty=alone), self._cut(batch)
        shared = _cut_off(prefix) if len(pieces) > 1 else prefix
        total, flops, first = torch.zeros_like(start[:, 0, 0]), 0.0, 0
        for piece in pieces:
            now = self._score(shared, piece, members)
            losses = loss(now, start[:, first : first + len(piece)], piece).sum(dim=1) / len(batch)
            losses.sum().backward()
            total += losses.detach()
            flops += self._flops(prefix, piece)
            first += len(piece)
        if shared is not prefix:
            _send_back(shared, prefix)
        return total, flops + self.model.forward.read_flops(prefix)

    def _members(self, decisions: int) -> list[slice]:
        """Cut the agents into pieces of like size, of as many rows as go together well."""
        rows = min(self.rows_at_once, self.model.rows_together(len(self) * decisions, training=True))
        return _slices(len(self), math.ceil(len(self) / max(1, rows // decisions)))

    def _cut(self, batch: Batch) -> list[Batch]:
        """Cut the decisions of some agents into parts of like size and at most `rows_at_once` rows."""
        return [batch.part(piece) for piece in _slices(len(batch), math.ceil(batch.rows / self.rows_at_once))]

    def _read(self, stack: AdapterStack, members: slice, *, empty: bool = False) -> Prefix:
        """Read the members' strategies, or nothing where their rows begin with them."""
        told = self.prefixes[members]
        return self.model.read(stack, [[]] * len(told) if empty else told)

    def _whole(self, batch: Batch, members: slice) -> Batch:
        """Put each member's strategy before its only row: nothing is shared, and one reading does for both."""
        rows = zip(self.prefixes[members], batch.ids[:, 0].tolist(), batch.lengths[:, 0].tolist(), strict=True)
        ids, lengths = pad_rows([[told + row[:length]] for told, row, length in rows])
        return replace(batch, ids=ids, lengths=lengths).to(batch.ids.device)

    def _score(self, prefix: Prefix, batch: Batch, members: slice) -> Tensor:
        """Return log-probabilities [members, n, A]."""
        return self.model.action_log_probs(prefix, batch.ids, batch.lengths, self.actions, self.temperature[members])

    def _flops(self, prefix: Prefix, batch: Batch) -> float:
        """Return what scoring `batch` costs."""
        return self.model.forward.flops(prefix, batch.ids.numel(), batch.rows)

    def _count(self, flops: float, begun: float) -> None:
        """Add to the bill."""
        self.cost += Cost(flops, time.perf_counter() - begun)


def _slices(count: int, pieces: int) -> list[slice]:
    """Cut `count` things into `pieces` runs of like length."""
    edges = [count * i // pieces for i in range(pieces + 1)]
    return [slice(first, last) for first, last in pairwise(edges) if last > first]


def _cut_off(prefix: Prefix) -> Prefix:
    """Return the same numbers without their history: gradients gather here until `_send_back`."""

    def leaf(tensor: Tensor) -> Tensor:
        return tensor.detach().requires_grad_(tensor.requires_grad)

    adapters = {name: leaf(tensor) for name, tensor in prefix.adapters.items()}
    return Prefix(adapters, tuple(map(leaf, prefix.keys)), tuple(map(leaf, prefix.values)), prefix.lengths)


def _send_back(shared: Prefix, prefix: Prefix) -> None:
    """Go backward through the reading of `prefix` with the gradients that gathered in `shared`."""
    pairs = [
        (t, leaf.grad) for t, leaf in zip(_tensors(prefix), _tensors(shared), strict=True) if leaf.grad is not None
    ]
    torch.autograd.backward([tensor for tensor, _ in pairs], [gradient for _, gradient in pairs])


def _tensors(prefix: Prefix) -> list[Tensor]:
    """List all that a reading leaves."""
    return [*prefix.adapters.values(), *prefix.keys, *prefix.values]
