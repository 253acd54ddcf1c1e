"""Genetics in weight space: crossover against PEFT's SVD merge, mutation of a population in one call."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from peft import PeftModel
from transformers import LlamaConfig, LlamaForCausalLM

from evo.operators.adapter_crossover import merge
from evo.operators.adapter_mutation import GaussianMutation
from fitness.adapter import Adapter, AdapterStack, LoraSpec, save_adapter
from fitness.cores import pieces_only
from fitness.forwards.huggingface import linear_shapes
from tests.benchmarks.findings import Finding, faster
from tests.benchmarks.settings import random_adapters
from tests.benchmarks.timing import Turn, race, timed

WIDTH, RANK, POPULATION = 1024, 16, 128
COUPLES = POPULATION // 2
PEFT_SVD, ONE_BY_ONE = "PEFT add_weighted_adapter(svd)", "the same, one by one"
_AGREE = 1e-5
_TIMES = 40


def measure(repeats: int) -> list[Finding]:
    """Measure both operators."""
    return [*_crossover(repeats), *_mutation(repeats)]


def _crossover(repeats: int) -> list[Finding]:
    """Cross two adapters on one 1024 x 1024 layer; ours crosses many couples at once, and counts per couple."""
    with tempfile.TemporaryDirectory() as place:
        network = LlamaForCausalLM(_one_layer())
        spec = LoraSpec(RANK, float(RANK), linear_shapes(network, ("o_proj",)))
        parents = random_adapters(spec, 2 * COUPLES)
        first, second = AdapterStack.of(parents[:COUPLES]), AdapterStack.of(parents[COUPLES:])
        peft = _peft(network, Path(place), parents[0], parents[COUPLES])
        _peft_cross(peft)
        _check(merge((first, second), (0.5, 0.5))[0], peft)
        ours = _as_in_a_run(lambda: merge((first, second), (0.5, 0.5)), COUPLES)
        one = (first.part(slice(0, 1)), second.part(slice(0, 1)))
        alone = _as_in_a_run(lambda: merge(one, (0.5, 0.5)), 1)
        seconds = race(
            {
                "ours": ours,
                PEFT_SVD: timed(lambda: _peft_cross(peft)),
                "ours, a lone couple": alone,
            },
            repeats,
        )
    case = f"cross: 2 adapters, rank {RANK}, {WIDTH} x {WIDTH}, {COUPLES} couples at once"
    return faster(case, "children/s", 1, seconds, {PEFT_SVD: 1000.0})


def _mutation(repeats: int) -> list[Finding]:
    """Mutate a population of the organism's size."""
    layers = [("q_proj", 128, 128), ("gate_proj", 128, 352), ("down_proj", 352, 128)]
    spec = LoraSpec(RANK, float(RANK), tuple(sorted((f"layers.{i}.{n}", a, b) for i in range(4) for n, a, b in layers)))
    stack, mutation = AdapterStack.of(random_adapters(spec, POPULATION)), GaussianMutation()
    steps = np.full(POPULATION, 0.1)

    def one_by_one() -> None:
        rng = np.random.default_rng(0)
        AdapterStack.of([mutation.mutate(AdapterStack.of([one]), steps[:1], rng)[0] for one in stack])

    seconds = race(
        {
            "ours": timed(lambda: mutation.mutate(stack, steps, np.random.default_rng(0))),
            ONE_BY_ONE: timed(one_by_one),
        },
        repeats,
    )
    return faster(f"mutate: {POPULATION} adapters, rank {RANK}, one call", "mutants/s", POPULATION, seconds, {})


def _as_in_a_run(do: Callable[[], object], children: int) -> Turn:
    """Return the turn that does `do` many times with the cores dealt out as in a run; its seconds are per child.

    Many times: after an operation of all cores, as a peer's is, PyTorch's threads go on waiting busily for a while.
    """

    def turn() -> float:
        with pieces_only():
            return timed(lambda: [do() for _ in range(_TIMES)])() / (_TIMES * children)

    return turn


def _one_layer() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=64, hidden_size=WIDTH, intermediate_size=64, num_hidden_layers=1, num_attention_heads=8
    )


def _peft(network: Any, place: Path, first: Adapter, second: Adapter) -> Any:
    """Return a PEFT model with both parents loaded."""
    for name, adapter in (("first", first), ("second", second)):
        save_adapter(adapter, place / name, "base")
    model = PeftModel.from_pretrained(network, str(place / "first"), adapter_name="first")
    model.load_adapter(str(place / "second"), adapter_name="second")
    return model


def _peft_cross(model: Any) -> None:
    """Make the child with PEFT."""
    if "child" in model.peft_config:
        model.delete_adapter("child")
    options = {"combination_type": "svd", "svd_rank": RANK}
    model.add_weighted_adapter(["first", "second"], [0.5, 0.5], "child", **options)


def _check(ours: Adapter, model: Any) -> None:
    """Raise unless our child's update is PEFT's."""
    (name,) = ours.spec.modules
    layer = model.base_model.model.get_submodule(name)
    theirs = layer.get_delta_weight("child").detach()
    apart = float((ours.spec.scaling * ours.b[name] @ ours.a[name] - theirs).abs().max())
    if not apart < _AGREE:
        raise AssertionError(f"crossover: expected PEFT's update within {_AGREE}, got a difference of {apart}")
