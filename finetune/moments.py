"""What an optimiser remembers of one agent's training, in the form of its adapter, and as one file.

Owns `Moments`, the way from the rows of a batched optimiser to one agent and back, and the file format (safetensors).
Does not own the optimiser (`finetune.optimizer`) or whose moments are whose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from fitness.adapter import Adapter, AdapterStack, LoraSpec
from fitness.errors import AdapterError, describe


@dataclass(frozen=True, eq=False, kw_only=True)
class Moments:
    """AdamW's state after training one agent."""

    first: Adapter
    """Running mean of the gradients of every factor."""
    second: Adapter
    """Running mean of their squares."""
    steps: float
    """Updates so far, which the correction of the running means' bias depends on."""

    def fits(self, adapter: Adapter) -> bool:
        """Tell whether an adapter has the same modules and rank."""
        return (self.first.spec.shapes, self.first.spec.rank) == (adapter.spec.shapes, adapter.spec.rank)


@dataclass(frozen=True, eq=False)
class Rows:
    """Moments of P agents as their optimiser holds them."""

    first: Tensor
    """[P, N]"""
    second: Tensor
    """[P, N]"""
    steps: Tensor
    """[P] float64."""

    @classmethod
    def of(cls, moments: Sequence[Moments | None], adapters: Sequence[Adapter]) -> "Rows":
        """Return the moments of P agents, zero where there are none or where they fit the adapter no longer."""
        kept = [one if one and one.fits(own) else None for one, own in zip(moments, adapters, strict=True)]
        pairs = list(zip(kept, adapters, strict=True))
        first = AdapterStack.of([_like(own, one.first if one else None) for one, own in pairs])
        second = AdapterStack.of([_like(own, one.second if one else None) for one, own in pairs])
        steps = [one.steps if one else 0.0 for one in kept]
        return cls(first.rows(), second.rows(), torch.tensor(steps, dtype=torch.float64))

    def apart(self, stack: AdapterStack) -> tuple[Moments, ...]:
        """Return each agent's, as `stack` is laid out: its adapters and theirs have the same form."""
        both = (stack.of_rows(rows.detach().cpu(), slice(None)) for rows in (self.first, self.second))
        each = zip(*both, self.steps.tolist(), strict=True)
        return tuple(Moments(first=_own(first), second=_own(second), steps=steps) for first, second, steps in each)


def pack(moments: Mapping[int, Moments]) -> bytes:
    """Return the content of a file with moments by id; the same ones make the same bytes."""
    tensors = {}
    for id_, one in moments.items():
        tensors[f"{id_}.steps"] = torch.tensor([one.steps], dtype=torch.float64)
        for order, held in (("first", one.first), ("second", one.second)):
            for side, factors in (("a", held.a), ("b", held.b)):
                tensors |= {f"{id_}.{order}.{side}.{name}": tensor.contiguous() for name, tensor in factors.items()}
    return save(tensors)


def unpack(content: bytes) -> dict[int, Moments]:
    """Return what `pack` was given.

    Raises:
        AdapterError: the content is another.
    """
    try:
        tensors = load(content)
        ids = sorted(int(name.removesuffix(".steps")) for name in tensors if name.endswith(".steps"))
        return {
            id_: Moments(
                first=_read(tensors, f"{id_}.first"),
                second=_read(tensors, f"{id_}.second"),
                steps=float(tensors[f"{id_}.steps"]),
            )
            for id_ in ids
        }
    except (SafetensorError, ValueError, KeyError, IndexError, StopIteration) as error:
        raise AdapterError(f"moments: expected what an optimiser remembers, got: {describe(error)}") from error


def _read(tensors: Mapping[str, Tensor], prefix: str) -> Adapter:
    a, b = (
        {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
        for start in (f"{prefix}.a.", f"{prefix}.b.")
    )
    rank = next(iter(a.values())).shape[0]
    shapes = tuple(sorted((name, a[name].shape[1], b[name].shape[0]) for name in a))
    return Adapter(LoraSpec(rank, float(rank), shapes), a, b)


def _like(adapter: Adapter, moments: Adapter | None) -> Adapter:
    """Return moments under the adapter's own spec, or zeros of its form."""
    if moments is not None:
        return Adapter(adapter.spec, moments.a, moments.b)
    a, b = ({name: torch.zeros_like(t) for name, t in side.items()} for side in (adapter.a, adapter.b))
    return Adapter(adapter.spec, a, b)


def _own(adapter: Adapter) -> Adapter:
    """Return a copy that keeps no other's rows in memory."""
    a, b = ({name: factor.clone() for name, factor in side.items()} for side in (adapter.a, adapter.b))
    return Adapter(adapter.spec, a, b)
