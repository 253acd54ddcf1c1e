"""The whole population in one backward: the sum of each agent's own mean loss, so each gets its own gradient.

Owns the trainable copy of the adapters, how the work is cut, and what it costs. Agents share no weight that is trained,
so the sum's gradient for one of them is what it would be alone. Work is cut by agent first: a piece reads the
strategies of some agents, forward and backward, once per step, however many parts their decisions are cut into. Does
not own the loss (`finetune.methods`), the update (`finetune.optimizer`) or what is refused (`finetune.trainer`).
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, pairwise, product

import torch
from torch import Tensor

from finetune.batches import Batch
from finetune.heads import predicted
from finetune.methods.base import Loss, ValueLoss
from fitness.adapter import AdapterStack
from fitness.agent import Agent
from fitness.cores import Result
from fitness.forwards.base import Pooled, Prefix
from fitness.model import PopulationModel, Prompts, is_out_of_memory, pad_rows


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
    """P agents with adapters that can be trained, and perhaps a value head each."""

    def __init__(
        self,
        model: PopulationModel,
        prompts: Prompts,
        agents: Sequence[Agent],
        rows_at_once: int,
        *,
        valued: bool = False,
    ) -> None:
        """Copy the agents' adapters to the model's device.

        Args:
            model: the base model that the agents share.
            prompts: of the agents' environment.
            agents: P agents; they stay as they are.
            rows_at_once: rows in one forward and backward, at most; bounds each core's memory, changes no result.
            valued: whether each agent has a value head; it is all zeros.
        """
        self.model, self.rows_at_once, self.cost = model, rows_at_once, Cost()
        self.faults: list[str] = []
        """Whenever memory was not enough, and what was done."""
        self.actions = prompts.actions
        self.prefixes = prompts.prefixes([agent.strategy for agent in agents])
        self.temperature = torch.tensor([agent.temperature for agent in agents])
        stack = AdapterStack.of([agent.adapter for agent in agents])
        rows = stack.rows()
        self.factors = rows.shape[1]
        """Columns of an adapter in `weights`."""
        rows = torch.nn.functional.pad(rows, (0, model.width + 1)) if valued else rows
        self.weights = rows.to(model.device)
        """[P, N] every agent's adapter in a row of its own, then its value head; the gradient is in `grad`."""
        self.stack = stack.of_rows(self.weights[:, : self.factors], slice(None))
        self.heads = self.weights[:, self.factors :]
        """[P, H + 1] the value heads, or [P, 0] (`finetune.heads`)."""

    def __len__(self) -> int:
        """Return the number of agents P."""
        return len(self.prefixes)

    def adapters(self) -> AdapterStack:
        """Return the adapters as they are now, where agents keep theirs."""
        return self.stack.map(lambda factor: factor.detach().cpu())

    def log_probs(self, batch: Batch) -> Tensor:
        """Return the log-probabilities [P, n, A] of all decisions, as the adapters are now; A is 1 of answers."""
        return self._of_all(batch, len(self.actions) if batch.written is None else 1)

    def look(self, batch: Batch) -> Pooled:
        """Return the log-probabilities and pooled hidden states of all decisions, as the adapters are now.

        Of named actions only: an answer would be pooled with what it answers.
        """
        return _apart(self._of_all(batch, len(self.actions) + self.model.width), len(self.actions))

    @torch.no_grad()
    def _of_all(self, batch: Batch, width: int) -> Tensor:
        """Return log-probabilities and, if it is that wide, pooled hidden states of all decisions [P, n, width]."""
        begun = time.perf_counter()
        scores = torch.empty(*batch.lengths.shape, width, device=self.weights.device)
        flops = self._in_memory(batch, partial(self._fill, scores, batch))
        self.cost += Cost(flops, time.perf_counter() - begun)
        return scores

    def _fill(self, scores: Tensor, batch: Batch, groups: Sequence[slice], parts: Sequence[slice]) -> float:
        """Write what is to be known of some agents and decisions at a time into `scores`; return the cost."""
        pooled = scores.shape[2] > len(self.actions)

        def score(index: int, columns: slice) -> float:
            members, piece = groups[index], batch.of(groups[index]).part(columns)
            scores[members, columns] = self.score(read[index], piece, members, pooled=pooled)
            return self.flops(read[index], piece, pooled=pooled)

        read = self.model.side_by_side(lambda members: self.read(members, self.weights[members]), groups)
        flops = self.model.side_by_side(lambda work: score(*work), list(product(range(len(groups)), parts)))
        return sum(flops) + sum(map(self.model.forward.read_flops, read))

    def backward(
        self, batch: Batch, start: Tensor, loss: Loss, *, joint: bool = False, value: ValueLoss | None = None
    ) -> Tensor:
        """Leave the gradient of every agent's mean loss in `weights.grad`; return the losses [P].

        A joint loss is first taken of all decisions without a graph. Its slope in their log-probabilities is then all
        that each part needs to know of the others, so that memory bounds no block (gradient caching: Gao et al. 2021,
        https://arxiv.org/abs/2101.06983).

        Args:
            batch: n decisions for each agent: one optimisation step.
            start: [P, n, A] their log-probabilities before training.
            loss: the method's.
            joint: whether decisions of an agent depend on each other in the loss; not beside a value.
            value: the heads' loss, which is added.
        """
        if joint:
            now = self.log_probs(batch).requires_grad_()
            losses = loss(now, start, batch).mean(dim=1)
            slope = torch.autograd.grad(losses.sum(), now)[0] * len(batch)
            self.backward(batch, slope, _along)
            return losses.detach()
        begun = time.perf_counter()
        learnt = self._in_memory(batch, partial(self._learn, _Step(self, batch, start, loss, value)))
        self.weights.grad = torch.cat([one.gradient for one in learnt])
        self.cost += Cost(2 * sum(one.flops for one in learnt), time.perf_counter() - begun)
        return torch.cat([one.losses for one in learnt])

    def _learn(self, step: "_Step", groups: Sequence[slice], parts: Sequence[slice]) -> list["_Learnt"]:
        """Go both ways with some agents and decisions at a time."""
        if len(parts) == 1:
            done = self.model.side_by_side(lambda members: step.learn(parts, [members]), groups, training=True)
        else:
            waves = math.ceil(len(groups) / self.model.pieces_at_once)
            done = [step.learn(parts, groups[wave]) for wave in _slices(len(groups), waves)]
        return list(chain.from_iterable(done))

    def _in_memory(self, batch: Batch, do: Callable[[list[slice], list[slice]], Result]) -> Result:
        """Do it with as many rows together as are best, or with half as many each time memory is not enough."""
        while True:
            groups, parts = self._cut(len(batch))
            together = (groups[0].stop - groups[0].start) * (parts[0].stop - parts[0].start)
            try:
                return do(groups, parts)
            except (RuntimeError, MemoryError) as error:
                if together == 1 or not is_out_of_memory(error):
                    raise
            self.rows_at_once = together // 2
            self.model.free_memory()
            self.faults.append(f"training: out of memory with {together} rows, went on with {self.rows_at_once}")

    def _cut(self, decisions: int) -> tuple[list[slice], list[slice]]:
        """Cut the agents into groups and their decisions into parts, so that a part is as many rows as go well."""
        rows = min(self.rows_at_once, self.model.rows_together(len(self) * decisions, training=True))
        groups = _slices(len(self), math.ceil(len(self) / max(1, rows // decisions)))
        return groups, _slices(decisions, math.ceil(decisions / rows))

    def read(self, members: slice, weights: Tensor, *, nothing: bool = False) -> Prefix:
        """Read the members' strategies, or nothing where their rows begin with them, with these rows of weights."""
        told = self.prefixes[members]
        stack = self.stack.of_rows(weights[:, : self.factors], members)
        return self.model.read(stack, [[]] * len(told) if nothing else told)

    def whole(self, batch: Batch, members: slice) -> Batch:
        """Put each member's strategy before its only row: nothing is shared, and one reading does for both."""
        rows = zip(self.prefixes[members], batch.ids[:, 0].tolist(), batch.lengths[:, 0].tolist(), strict=True)
        ids, lengths = pad_rows([[told + row[:length]] for told, row, length in rows])
        return replace(batch, ids=ids, lengths=lengths).to(batch.ids.device)

    def score(self, prefix: Prefix, batch: Batch, members: slice, *, pooled: bool = False) -> Tensor:
        """Return log-probabilities [members, n, A], and pooled hidden states as H columns more; of answers [.., 1]."""
        heat = self.temperature[members]
        if batch.written is not None:
            return self.model.answer_log_probs(prefix, batch.ids, batch.lengths, batch.written, heat)[..., None]
        asked = (prefix, batch.ids, batch.lengths, self.actions, heat)
        return torch.cat(self.model.pooled(*asked), dim=2) if pooled else self.model.action_log_probs(*asked)

    def flops(self, prefix: Prefix, batch: Batch, *, pooled: bool = False) -> float:
        """Return what scoring, or pooling, `batch` costs."""
        forward = self.model.forward
        if batch.written is None:
            return forward.flops(prefix, batch.ids.numel(), batch.rows, pooled=pooled)
        places = batch.rows * max(1, int(batch.written.max()))
        return forward.flops(prefix, batch.ids.numel(), places) + self.model.head_flops * places


@dataclass(frozen=True, eq=False)
class _Learnt:
    """What one backward left of some agents."""

    losses: Tensor
    """[p]"""
    gradient: Tensor
    """[p, N]"""
    flops: float
    """Of the forward."""


@dataclass(frozen=True, eq=False)
class _Reading:
    """Some agents, ready to learn."""

    members: slice
    weights: Tensor
    """[p, N] a leaf of the graph."""
    prefix: Prefix
    heads: Tensor
    """[p, H + 1], or [p, 0] where there are none."""

    def cut_off(self) -> "_Reading":
        """Return the same numbers without their history: gradients gather here until `_send_back`."""
        adapters = {name: _leaf(tensor) for name, tensor in self.prefix.adapters.items()}
        keys, values = tuple(map(_leaf, self.prefix.keys)), tuple(map(_leaf, self.prefix.values))
        return replace(self, prefix=Prefix(adapters, keys, values, self.prefix.lengths), heads=_leaf(self.heads))

    def tensors(self) -> list[Tensor]:
        """List all that a reading leaves."""
        return [*self.prefix.adapters.values(), *self.prefix.keys, *self.prefix.values, self.heads]


@dataclass(frozen=True, eq=False)
class _Step:
    """One optimisation step."""

    policies: Policies
    batch: Batch
    start: Tensor
    loss: Loss
    value: ValueLoss | None

    def learn(self, parts: Sequence[slice], groups: Sequence[slice]) -> list[_Learnt]:
        """Read strategies, once each; go forward and backward with each part of the decisions; then back through them.

        Gradients of parts are added in their order, so that who computes them changes no bit.
        """
        together = self.policies.model.side_by_side
        read = together(self._read, groups, training=True)
        whole = len(parts) == 1
        work = [(one if whole else one.cut_off(), columns) for one in read for columns in parts]
        done = together(lambda piece: self._part(*piece), work, training=True)

        def gather(i: int) -> _Learnt:
            one, mine = read[i], slice(i * len(parts), (i + 1) * len(parts))
            if not whole:
                _send_back([cut for cut, _ in work[mine]], one)
            gradient = torch.zeros_like(one.weights) if one.weights.grad is None else one.weights.grad
            flops = self.policies.model.forward.read_flops(one.prefix) + sum(flops for _, flops in done[mine])
            return _Learnt(torch.stack([losses for losses, _ in done[mine]]).sum(dim=0), gradient, flops)

        return together(gather, range(len(read)), training=True)

    def _read(self, members: slice) -> _Reading:
        weights = self.policies.weights[members].detach().requires_grad_()
        prefix = self.policies.read(members, weights, nothing=self._alone)
        return _Reading(members, weights, prefix, weights[:, self.policies.factors :])

    def _part(self, reading: _Reading, columns: slice) -> tuple[Tensor, float]:
        """Go both ways with some decisions; return their part of the mean losses [p], and the forward's cost."""
        batch = self.batch.of(reading.members).part(columns)
        batch = self.policies.whole(batch, reading.members) if self._alone else batch
        losses = self._losses(reading, batch, self.start[reading.members, columns]).sum(dim=1) / len(self.batch)
        losses.sum().backward()
        return losses.detach(), self.policies.flops(reading.prefix, batch, pooled=self.value is not None)

    def _losses(self, reading: _Reading, batch: Batch, start: Tensor) -> Tensor:
        """Return the loss of each decision [p, b]."""
        scores = self.policies.score(reading.prefix, batch, reading.members, pooled=self.value is not None)
        if self.value is None:
            return self.loss(scores, start, batch)
        now, states = _apart(scores, len(self.policies.actions))
        return self.loss(now, start, batch) + self.value(predicted(reading.heads, states), batch)

    @property
    def _alone(self) -> bool:
        """Tell whether each agent has one row, so that nothing is shared by reading its strategy first.

        Hidden states are pooled over a row without its strategy, so that with a value this does not serve.
        """
        return len(self.batch) == 1 and self.policies.model.forward.reads_nothing and self.value is None


def _apart(scores: Tensor, actions: int) -> Pooled:
    """Return what `Policies.score` put side by side."""
    return Pooled(*scores.tensor_split([actions], dim=2))


def _along(now: Tensor, start: Tensor, part: Batch) -> Tensor:
    """Return the linear loss [P, b] whose slope [P, b, A] stands in the place of `start`."""
    return (now * start).sum(dim=2)


def _slices(count: int, pieces: int) -> list[slice]:
    """Cut `count` things into `pieces` runs of like length."""
    edges = [count * i // pieces for i in range(pieces + 1)]
    return [slice(first, last) for first, last in pairwise(edges) if last > first]


def _leaf(tensor: Tensor) -> Tensor:
    """Return the same numbers without their history."""
    return tensor.detach().requires_grad_(tensor.requires_grad)


def _send_back(cut: Sequence[_Reading], reading: _Reading) -> None:
    """Go backward through a reading with the gradients that gathered in what was cut off from it."""
    tensors, gradients = [], []
    for tensor, *leaves in zip(reading.tensors(), *(one.tensors() for one in cut), strict=True):
        gathered = [leaf.grad for leaf in leaves if leaf.grad is not None]
        if gathered:
            tensors.append(tensor)
            gradients.append(torch.stack(gathered).sum(dim=0) if len(gathered) > 1 else gathered[0])
    torch.autograd.backward(tensors, gradients)
