"""Small grammars, adapters and genomes for the tests of evolution."""

import numpy as np
import torch

from evo.genome import Genome, StepSizes
from fitness.adapter import Adapter, AdapterStack, LoraSpec, initial_adapter
from fitness.environments.grammar import Grammar, Slot

GRAMMAR = Grammar(tuple(Slot(name, tuple(f"{name} {i}" for i in range(4))) for name in "abcdefgh"))
SPEC = LoraSpec(rank=4, alpha=8.0, shapes=(("down", 12, 10), ("left", 16, 10), ("right", 16, 10), ("up", 10, 14)))
STEPS = StepSizes(strategy=0.2, adapter=0.1)


def random_adapter(seed: int, rank_used: int | None = None, spec: LoraSpec = SPEC) -> Adapter:
    """Return an adapter of normal factors, of which only the first `rank_used` columns of B are not zero."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: torch.from_numpy(rng.standard_normal(shape).astype(np.float32))  # noqa: E731
    a = {name: draw(spec.rank, fan_in) for name, fan_in, _ in spec.shapes}
    b = {name: draw(fan_out, spec.rank) for name, _, fan_out in spec.shapes}
    if rank_used is not None:
        b = {name: up * (torch.arange(spec.rank) < rank_used) for name, up in b.items()}
    return Adapter(spec, a, b)


def genome(id_: int, genes: tuple[str, ...] | None = None, adapter: Adapter | None = None) -> Genome:
    """Return a genome of the sample grammar; its genes are drawn with its id as the seed unless given."""
    return Genome(
        id=id_,
        genes=genes or GRAMMAR.random(np.random.default_rng(id_)),
        adapter=adapter or initial_adapter(SPEC, 0),
        step_sizes=STEPS,
    )


def dense(adapter: Adapter, name: str) -> torch.Tensor:
    """Return delta W of one module, float64."""
    return adapter.spec.scaling * adapter.b[name].double() @ adapter.a[name].double()


def copy_of(stack: AdapterStack) -> AdapterStack:
    """Return a deep copy, to see later whether the original was changed."""
    clone = lambda factors: {name: t.clone() for name, t in factors.items()}  # noqa: E731
    return AdapterStack(stack.spec, clone(stack.a), clone(stack.b))


def same(first: AdapterStack, second: AdapterStack) -> bool:
    """Tell whether two stacks are equal bit for bit."""
    return all(
        torch.equal(first.a[n], second.a[n]) and torch.equal(first.b[n], second.b[n]) for n in first.spec.modules
    )
