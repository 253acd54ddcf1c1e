"""The population engine: many agents with different strategies and adapters decide in one forward, or write.

Owns seating (adapters stacked, prefixes read once), which rows go through the model together, and the check that
adapters really act. Agents choose among actions' names or, with a `Wording`, answer in words. Does not own the model's
mathematics (`fitness.model`), how answers are read (`answers.py`) or how other texts are written (`generate.py`).
The grouping of rows changes a result by float rounding only, and chance comes with each row, so the same agent lives
the same life whoever shares the batch.
"""

import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitness.adapter import Adapter, AdapterStack
from fitness.agent import Agent
from fitness.cores import Result
from fitness.engines.answers import Wording, write_answers
from fitness.engines.base import Decisions, Engine, Request, Usage, Written, draw
from fitness.engines.generate import write
from fitness.engines.lines import end_tokens, pick
from fitness.errors import EngineError
from fitness.forwards.base import Prefix
from fitness.model import PopulationModel, is_out_of_memory, pad_rows

_CACHED_OBSERVATIONS = 1 << 16
"""Observations whose tokens are kept; then the cache starts afresh."""
_PROBES = _PROBED = 2
"""Observations and agents that `assert_adapters_act` compares."""
_ROUNDING, _COARSE_ROUNDING = 1e-3, 0.3
_STEP = 8
"""Rows of writing that are as little work as one row of deciding: a step reads one token of each."""
_SPARE_SHARE = 0.25
"""Share of a group's rows that may be padding before a group of its own is cheaper."""


class PopulationEngine(Engine):
    """Decides for a seated population with one shared base model."""

    def __init__(
        self,
        model: PopulationModel,
        *,
        action_names: Sequence[str],
        manual: str = "",
        row_chunk: int | None = None,
        wording: Wording | None = None,
    ) -> None:
        """Make an engine for one environment.

        Args:
            model: the shared base model.
            action_names: the environment's actions, in its order.
            manual: the environment's rules, used if the model's config asks for it.
            row_chunk: rows that go through the model together; None for what is fastest.
            wording: how agents answer in words; None: they choose.
        """
        if row_chunk is not None and row_chunk < 1:
            raise EngineError(f"engine.row_chunk: expected an integer of at least 1, got {row_chunk}")
        self.model, self.row_chunk, self._wording = model, row_chunk, wording
        self.prompts = model.prompts(action_names, manual)
        self._tokens: dict[str, Sequence[int]] = {}  # compact, for there may be many
        self._probes: list[str] = []
        self._usage = Usage()
        self._agents: tuple[Agent, ...] = ()
        self._prefix: Prefix | None = None
        self._prefix_lengths: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._temperature = torch.ones(0)
        self._kept: dict[tuple[int, ...], Prefix] = {}
        self._faults: list[str] = []

    @property
    def usage(self) -> Usage:
        """What has been spent so far."""
        return self._usage

    def go_on(self, spent: Usage, row_chunk: int | None) -> None:
        """Count on from `spent`: before an interruption, or by somebody else with this model; rows together as then."""
        self._usage, self.row_chunk = spent, row_chunk

    def seat(self, agents: Sequence[Agent]) -> None:
        """Stack the agents' adapters and read their strategies."""
        if not agents:
            raise EngineError("agents: expected at least one to seat, got none")
        self._agents, self._prefix, self._kept = tuple(agents), None, {}
        self._temperature = torch.tensor([agent.temperature for agent in agents])
        self._prefix = self._read(AdapterStack.of([agent.adapter for agent in agents]))

    def decide(self, seats: NDArray[np.int64], observations: Sequence[str], uniforms: NDArray[np.float64]) -> Decisions:
        """Choose one action per row, or answer (see `Engine.decide`)."""
        self._check_seats(seats)
        rows = self._encode(observations)
        self._probes = list(observations[:_PROBES]) or self._probes
        read = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows)) + self._prefix_lengths[seats]
        if self._wording is None:
            log_probs = self._in_groups(seats, rows, partial(_choices, self.model, self.prompts.actions))
            _check_finite(log_probs, self.model)
            decided = Decisions(draw(log_probs, uniforms), log_probs, read)
        else:

            def next_tokens(writing: NDArray[np.int64], texts: list[list[int]], luck: NDArray[np.float64]) -> Any:
                return self._in_groups(seats[writing], texts, partial(_next_tokens, self.model, luck), whole=True)

            tokenizer = self.prompts.tokenizer
            lines = self._wording.lines(len(rows), tokenizer, end_tokens(self.model.base.network, tokenizer))
            write_answers(lines, rows, uniforms, next_tokens)
            decided = self._wording.decide(lines, read)
            written = self._usage.written_tokens + sum(len(line.tokens) for line in lines)
            self._usage = replace(self._usage, written_tokens=written)
        self._usage = replace(self._usage, decisions=self._usage.decisions + len(rows))
        return decided

    def decide_again(
        self, agents: Sequence[Agent], observations: Sequence[str], tokens: Sequence[Sequence[int]] | None = None
    ) -> NDArray[np.float32]:
        """Return log-probabilities from the agents' own tensors, last agent first (see `Engine.decide_again`)."""
        backward = [(replace(agent.adapter), agent) for agent in reversed(agents)]
        stack = AdapterStack.of([adapter for adapter, _ in backward])
        prefixes = self.prompts.prefixes([agent.strategy for _, agent in backward])
        temperature = torch.tensor([agent.temperature for _, agent in backward])
        said = [()] * len(agents) if tokens is None else list(tokens)[::-1]
        written = torch.tensor([[len(one)] for one in said])
        rows = [[[*row, *one]] for row, one in zip(self.prompts.rows(observations)[::-1], said, strict=True)]

        def score(part: slice) -> NDArray[np.float32]:
            with torch.inference_mode():
                ids, lengths = pad_rows(rows[part])
                prefix = self.model.read(stack.part(part), prefixes[part])
                if tokens is None:
                    named = self.model.action_log_probs(prefix, ids, lengths, self.prompts.actions, temperature[part])
                    return named[:, 0].numpy(force=True)
                return self.model.answer_log_probs(prefix, ids, lengths, written[part], temperature[part]).numpy(
                    force=True
                )

        def in_pieces(together: int) -> NDArray[np.float32]:
            pieces = [slice(first, first + together) for first in range(0, len(agents), together)]
            return np.concatenate(self.model.side_by_side(score, pieces))[::-1]

        return self._in_memory(len(agents), in_pieces)

    def generate(self, requests: Sequence[Request]) -> Written:
        """Write a text for every request (see `Engine.generate`)."""
        missing = [r.seat for r in requests if r.seat is not None and r.seat >= len(self._agents)]
        if missing:
            raise EngineError(f"seat: expected a number below {len(self._agents)}, the agents seated, got {missing[0]}")
        adapters = [None if r.seat is None else self._agents[r.seat].adapter for r in requests]
        started = time.perf_counter()
        written, flops = self._in_memory(
            _STEP * len(requests), lambda together: write(self.model, self.prompts, requests, adapters, together)
        )
        spent, tokens = _spend(self._usage, flops, started), sum(map(len, written.tokens))
        self._usage = replace(spent, written_tokens=spent.written_tokens + tokens)
        return written

    def assert_adapters_act(self) -> None:
        """Compare some seated agents with the base model on observations of the last decision.

        Both sides run the same code on the same shapes, so a difference of exactly zero means that adapters are left
        out. Some are enough: that each agent has its own adapter is `fitness.audit`'s to check.

        Raises:
            EngineError: an agent with a non-zero adapter answers exactly like the base model.
        """
        asked = [agent for agent in self._agents if not agent.adapter.is_zero()][:_PROBED]
        if not asked or not self._probes:
            return
        silenced = [replace(agent, adapter=_without_update(agent.adapter)) for agent in asked]
        texts = [self._probes[place % len(self._probes)] for place in range(len(asked))]
        acting, still = (self.decide_again(agents, texts) for agents in (asked, silenced))
        silent = [agent.id for agent, one, other in zip(asked, acting, still, strict=True) if (one == other).all()]
        if silent:
            raise EngineError(
                f"engine: expected every adapter to change the model's output, got exactly the base model's answers "
                f"from {len(silent)} of {len(asked)} agents that were asked (ids: {silent})"
            )

    def _check_seats(self, seats: NDArray[np.int64]) -> None:
        """Raise if `seats` asks for one that is not there."""
        if self._prefix is None or not len(seats):
            raise EngineError("engine: expected seated agents and at least one observation, got none")
        if seats.min() < 0 or seats.max() >= len(self._agents):
            raise EngineError(f"seats: expected numbers from 0 to {len(self._agents) - 1}, got {seats.max()}")

    def _encode(self, observations: Sequence[str]) -> list[Sequence[int]]:
        """Return each observation's row tokens, encoding every distinct text once."""
        if len(self._tokens) > _CACHED_OBSERVATIONS:
            self._tokens = {}
        new = [text for text in dict.fromkeys(observations) if text not in self._tokens]
        self._tokens.update((text, array("i", row)) for text, row in zip(new, self.prompts.rows(new), strict=True))
        return [self._tokens[text] for text in observations]

    def _read(self, stack: AdapterStack) -> Prefix:
        """Read all strategies, some genomes at a time so that memory stays bounded."""
        prefixes = self.prompts.prefixes([agent.strategy for agent in self._agents])
        lengths = [len(tokens) for tokens in prefixes]
        self._prefix_lengths = np.array(lengths)
        started = time.perf_counter()

        def read(size: int) -> list[Prefix]:
            pieces = [slice(first, first + size) for first in range(0, len(prefixes), size)]
            with torch.inference_mode():
                return self.model.side_by_side(
                    lambda part: self.model.read(stack.part(part), prefixes[part], width=max(lengths)), pieces
                )

        parts = self._in_memory(len(prefixes), read)
        self._usage = _spend(self._usage, sum(self.model.forward.read_flops(part) for part in parts), started)
        return Prefix.join(parts)

    def _in_groups(
        self,
        seats: NDArray[np.int64],
        rows: Sequence[Sequence[int]],
        score: "Callable[[_Piece], NDArray[Any]]",
        *,
        whole: bool = False,
    ) -> NDArray[Any]:
        """Return `score` of all rows [n, C], as many of them together as are best.

        Args:
            seats: [n] whose prefix stands before each row.
            rows: n lists of tokens.
            score: of a piece of P agents with k rows each, [P, k, C].
            whole: whether it scores the whole vocabulary.
        """
        assert self._prefix is not None
        prefix = self._prefix

        def scored(together: int) -> NDArray[Any]:
            groups = plan_groups(seats, together)
            self._kept = {group.seats: self._kept.get(group.seats) or prefix.take(group.seats) for group in groups}
            pieces = []
            for group in groups:
                ids, lengths = pad_rows([[rows[i] for i in members] for members in group.members])
                heats = self._temperature[list(group.seats)]
                pieces.append(_Piece(group, self._kept[group.seats], heats, ids, lengths))
            started = time.perf_counter()
            with torch.inference_mode():
                parts = self.model.side_by_side(score, pieces)
            spent = sum(self.model.forward.flops(p.prefix, p.ids.numel(), p.lengths.numel()) for p in pieces)
            spent += self.model.head_flops * sum(p.lengths.numel() for p in pieces) if whole else 0.0
            self._usage = _spend(self._usage, spent, started)
            out = np.empty((len(rows), parts[0].shape[2]), parts[0].dtype)
            for group, part in zip(groups, parts, strict=True):
                for p, members in enumerate(group.members):
                    out[list(members)] = part[p, : len(members)]
            return out

        return self._in_memory(len(rows), scored)

    def _in_memory(self, rows: int, do: Callable[[int], Result]) -> Result:
        """Do it with as many rows together as are best, or with half as many each time memory is not enough."""
        while True:
            together = self.model.rows_together(rows, self.row_chunk)
            try:
                return do(together)
            except (RuntimeError, MemoryError) as error:
                if together == 1 or not is_out_of_memory(error):
                    raise
            self.row_chunk, self._kept = together // 2, {}
            self.model.free_memory()
            self._faults.append(f"engine: out of memory with {together} rows together, went on with {self.row_chunk}")

    def take_faults(self) -> tuple[str, ...]:
        """Return when memory was not enough (see `Engine.take_faults`)."""
        taken, self._faults = tuple(self._faults), []
        return taken

    @property
    def rounding(self) -> float:
        """See `Engine.rounding`; numbers of 16 bits differ in the second digit."""
        return _ROUNDING if self.model.base.config.dtype == "float32" else _COARSE_ROUNDING


@dataclass(frozen=True)
class Group:
    """Rows that go through the model together."""

    seats: tuple[int, ...]
    """Seat of each genome of the group."""
    members: tuple[tuple[int, ...], ...]
    """Per genome: which rows; at least one."""


@dataclass(frozen=True, eq=False)
class _Piece:
    """A group, ready for the model."""

    group: Group
    prefix: Prefix
    """Of its P agents."""
    heats: Tensor
    """[P] temperatures."""
    ids: Tensor
    """[P, n, T]"""
    lengths: Tensor
    """[P, n]"""


def _choices(model: PopulationModel, actions: Sequence[int], piece: _Piece) -> NDArray[np.float32]:
    """Return the action log-probabilities [P, n, A] of a piece."""
    return model.action_log_probs(piece.prefix, piece.ids, piece.lengths, actions, piece.heats).numpy(force=True)


def _next_tokens(model: PopulationModel, luck: NDArray[np.float64], piece: _Piece) -> NDArray[np.float64]:
    """Return a piece's next tokens and their log-probabilities [P, n, 2]; `luck` has a number for each row of all."""
    logits = model.next_logits(piece.prefix, piece.ids, piece.lengths)
    chance = np.zeros(piece.lengths.shape)
    for own, members in zip(chance, piece.group.members, strict=True):
        own[: len(members)] = luck[list(members)]
    drawn = pick(logits.flatten(0, 1), piece.heats.repeat_interleave(chance.shape[1]), torch.from_numpy(chance.ravel()))
    return np.stack([one.numpy(force=True).reshape(chance.shape) for one in drawn], axis=2)


def _check_finite(log_probs: NDArray[np.float32], model: PopulationModel) -> None:
    """Raise if the model overflowed."""
    if not np.isfinite(log_probs).all():
        config = model.base.config
        raise EngineError(
            f"model.name: expected a model that computes finite scores, got NaN or infinity from {config.name!r} "
            f"in {config.dtype} (model.dtype=float32 overflows last)"
        )


def _spend(usage: Usage, flops: float, started: float) -> Usage:
    """Return the usage with what one forward cost."""
    seconds = usage.model_seconds + time.perf_counter() - started
    return replace(usage, forward_flops=usage.forward_flops + flops, model_seconds=seconds)


def plan_groups(seats: NDArray[np.int64], row_chunk: int) -> list[Group]:
    """Put rows into groups of at most `row_chunk`, genomes with like numbers of rows together.

    A group is padded to its largest genome. Genomes without rows are left out; one with more rows than `row_chunk` is
    split.
    """
    order = np.argsort(seats, kind="stable")
    present, starts = np.unique(seats[order], return_index=True)
    pieces = [
        (int(seat), tuple(rows[i : i + row_chunk].tolist()))
        for seat, rows in zip(present, np.split(order, starts[1:]), strict=True)
        for i in range(0, len(rows), row_chunk)
    ]
    pieces.sort(key=lambda piece: -len(piece[1]))
    groups: list[list[tuple[int, tuple[int, ...]]]] = []
    spare = 0
    for seat, members in pieces:
        height = len(groups[-1][0][1]) if groups else 0
        spare += height - len(members)
        if not groups or (len(groups[-1]) + 1) * height > row_chunk or spare > _SPARE_SHARE * row_chunk:
            groups.append([])
            spare = 0
        groups[-1].append((seat, members))
    return [Group(tuple(s for s, _ in group), tuple(m for _, m in group)) for group in groups]


def _without_update(adapter: Adapter) -> Adapter:
    """Return the adapter with every B zero: the base model, computed in the same way."""
    return replace(adapter, b={name: torch.zeros_like(factor) for name, factor in adapter.b.items()})
