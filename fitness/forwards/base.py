"""The contract of a forward: runs one base model for P adapters at once.

Owns the data that a forward keeps of the agents' prefixes, and the masks. Does not own text or sampling
(`fitness.model`). To add one, derive from `Forward` in a new file, name it in `fitness.forwards.choose` and add it to
the comparison with PEFT in the tests.

Layout everywhere: rows are grouped by genome, [P, n, T]. Prefixes are padded on the left and rows on the right, so that
every row begins right after its prefix and causality alone hides a row's padding.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fitness.adapter import AdapterStack

SCALING = "scaling"
"""Name of the one tensor of `Prefix.adapters` that is no factor."""


@dataclass(frozen=True, eq=False)
class Prefix:
    """P genomes that have read their strategy: adapters, keys and values, ready for any number of rows."""

    adapters: Mapping[str, Tensor]
    """[P, ...] each, named and laid out as the forward that made them wants; empty for the base model. `SCALING` is
    alpha / rank of each, [P, 1, 1]."""
    keys: tuple[Tensor, ...]
    """Per layer [P, heads, L, head size]; left-padded."""
    values: tuple[Tensor, ...]
    """Per layer [P, heads, L, head size]; left-padded."""
    lengths: Tensor
    """[P] tokens of each prefix, at most L."""

    def __len__(self) -> int:
        """Return the number of genomes P."""
        return len(self.lengths)

    def take(self, indices: Sequence[int]) -> "Prefix":
        """Return the genomes at `indices`; a view when they follow each other, else a copy."""
        first, count = indices[0], len(indices)
        index: slice | Tensor = slice(first, first + count)
        if list(indices) != list(range(first, first + count)):
            index = torch.as_tensor(indices, device=self.lengths.device)
        return Prefix(
            {name: tensor[index] for name, tensor in self.adapters.items()},
            tuple(k[index] for k in self.keys),
            tuple(v[index] for v in self.values),
            self.lengths[index],
        )

    @classmethod
    def join(cls, parts: Sequence["Prefix"]) -> "Prefix":
        """Put parts padded to the same length one after another."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            {name: torch.cat([p.adapters[name] for p in parts]) for name in parts[0].adapters},
            tuple(torch.cat(k) for k in zip(*(p.keys for p in parts), strict=True)),
            tuple(torch.cat(v) for v in zip(*(p.values for p in parts), strict=True)),
            torch.cat([p.lengths for p in parts]),
        )


class Pooled(NamedTuple):
    """What rows that are read to their ends leave."""

    scores: Tensor
    """float32 [P, n, A] of the named actions: logits from a forward, log-probabilities from the model."""
    states: Tensor
    """float32 [P, n, H] mean over each row's own tokens, neither prefix nor padding, of the last hidden states as the
    head gets them (after the last norm)."""


class Forward(ABC):
    """Runs a base model with a population's adapters, for choosing and, under autograd, for training."""

    reads_nothing: bool = False
    """Whether a prefix may be empty, so that a lone row can be read in one go with its strategy."""

    @abstractmethod
    def read(self, stack: AdapterStack | None, ids: Tensor, lengths: Tensor) -> Prefix:
        """Read each genome's prefix.

        Args:
            stack: the P adapters; None for the base model.
            ids: [P, L] tokens, padded on the left.
            lengths: [P] tokens of each prefix.
        """

    @abstractmethod
    def logits(self, prefix: Prefix, ids: Tensor, places: Tensor, tokens: Tensor | slice) -> Tensor:
        """Score what may follow k places of each row.

        Args:
            prefix: the P genomes, as `read` returned them.
            ids: [P, n, T] tokens, padded on the right.
            places: [P, n, k] from 0 to T - 1; what follows it has no say in a place's scores.
            tokens: [A] that are scored, such as the first of each action's name; `slice(None)` for all.

        Returns:
            float32 [P, n, k, A].
        """

    @abstractmethod
    def pooled(self, prefix: Prefix, ids: Tensor, lengths: Tensor, actions: Tensor) -> Pooled:
        """Score the actions [A] after each row's last token as `logits` does, and pool the row's hidden states.

        Rows are as in `logits`, of `lengths` [P, n], at least 1.
        """

    @abstractmethod
    def flops(self, prefix: Prefix, tokens: int, rows: int, *, pooled: bool = False) -> float:
        """Return what `logits`, or `pooled`, spends on `tokens` tokens in all, padding included, and `rows` places.

        2 x weights touched x tokens, adapters included. Attention's own products are left out, as is usual; so is the
        head's, which is small unless all tokens are scored.
        """

    @abstractmethod
    def read_flops(self, prefix: Prefix) -> float:
        """Return what reading `prefix` cost, counted in the same way."""


def prefix_mask(lengths: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Return the additive mask [P, 1, L, L] of left-padded prefixes; padding attends to itself, to stay finite."""
    causal = _causal_bias(width, dtype, lengths.device)
    bias = torch.minimum(_prefix_bias(lengths, width, dtype)[:, None], causal)
    own = torch.eye(width, dtype=torch.bool, device=lengths.device)
    return bias.masked_fill(own, 0.0)[:, None]


def row_mask(prefix: Prefix, rows: int, width: int, dtype: torch.dtype) -> Tensor:
    """Return the additive mask [P * n, 1, T, L + T]: the prefix without its padding, then causality."""
    before = _prefix_bias(prefix.lengths, prefix.keys[0].shape[2], dtype)[:, None, None]
    before = before.expand(len(prefix), rows, width, before.shape[-1])
    own = _causal_bias(width, dtype, prefix.lengths.device).expand(len(prefix), rows, width, width)
    return torch.cat([before, own], dim=3).flatten(0, 1)[:, None]


def row_means(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Return float32 [P, n, H]: the mean over the first `lengths` [P, n] tokens of `hidden` [P, n, T, H]."""
    padding = torch.arange(hidden.shape[2], device=hidden.device) >= lengths[..., None]
    return hidden.float().masked_fill(padding[..., None], 0.0).sum(dim=2) / lengths[..., None]


def _prefix_bias(lengths: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Return [P, width]: 0 where a left-padded prefix has a token and a large negative number where it is padding."""
    padding = torch.arange(width, device=lengths.device) < (width - lengths)[:, None]
    return torch.zeros(padding.shape, dtype=dtype, device=lengths.device).masked_fill_(padding, torch.finfo(dtype).min)


def _causal_bias(width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return [width, width]: 0 for a key at or before its query and a large negative number after it."""
    return torch.full((width, width), torch.finfo(dtype).min, dtype=dtype, device=device).triu_(1)
