"""What the framework says that it spends, beside what PyTorch counts while it is spent."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from finetune.batches import make_batch
from finetune.policies import Policies
from fitness.adapter import AdapterStack
from fitness.cores import Piece, Result
from fitness.model import ModelConfig, PopulationModel, load_base_model, pad_rows
from fitness.organism import SUFFIX
from tests.finetune.lives import EAT, Life, record
from tests.fitness.models import ACTIONS, agents

OBSERVATIONS = (
    "spring day. energy low. red berry here.",
    "winter night. wolf near west.",
    "day. water dry. pond here.",
)
LIVED = record([Life(1, 1, OBSERVATIONS, (0, EAT, 2), ((0.0,),) * 3)])


Shape = Sequence[int]


class OnOneThread(PopulationModel):
    """Computes piece by piece: PyTorch's counter sees the thread that it was begun in."""

    def side_by_side(
        self, do: Callable[[Piece], Result], pieces: Sequence[Piece], *, training: bool = False
    ) -> list[Result]:
        return [do(piece) for piece in pieces]


def counter() -> FlopCounterMode:
    """Return PyTorch's counter, told of the in-place products that it does not know."""
    in_place = (torch.ops.aten.baddbmm_, torch.ops.aten.addmm_)
    return FlopCounterMode(display=False, custom_mapping=dict.fromkeys(in_place, added_product))


def added_product(_: Shape, left: Shape, right: Shape, **__: object) -> int:
    """Return what a product costs that is added to something: [..., m, k] by [..., k, n]."""
    return 2 * math.prod(left) * right[-1]


@pytest.fixture(scope="module", params=["auto", "huggingface"])
def model(request: pytest.FixtureRequest) -> PopulationModel:
    return OnOneThread(load_base_model(ModelConfig(name="organism", suffix=SUFFIX)), forward=request.param)


@torch.no_grad()
def test_deciding_costs_what_the_formula_says(model: PopulationModel) -> None:
    crowd = agents(model.lora_spec(rank=8, alpha=16.0))[:3]
    prompts = model.prompts(ACTIONS)
    with counter() as reading:
        prefix = model.read(
            AdapterStack.of([one.adapter for one in crowd]), prompts.prefixes([a.strategy for a in crowd])
        )
    assert model.forward.read_flops(prefix) == pytest.approx(reading.get_total_flops(), rel=0.01)
    ids, lengths = pad_rows([prompts.rows(OBSERVATIONS)] * 3)
    with counter() as deciding:
        model.action_log_probs(prefix, ids, lengths, prompts.actions, torch.ones(3))
    assert model.forward.flops(prefix, ids.numel(), lengths.numel()) == pytest.approx(
        deciding.get_total_flops(), rel=0.01
    )


def test_training_costs_what_the_formula_says(model: PopulationModel) -> None:
    def loss(now: Any, start: Any, part: Any) -> Any:
        return -now.gather(2, part.taken[..., None]).squeeze(2)

    pupils = agents(model.lora_spec(rank=8, alpha=16.0))[:3]
    prompts = model.prompts(ACTIONS)
    policies = Policies(model, prompts, pupils, 64)
    batch = make_batch(LIVED, np.ones(3), np.tile(np.arange(3), (3, 4)), prompts)
    with counter() as spent:
        policies.backward(batch, policies.log_probs(batch), loss)
    # An adapter's own gradients are not in the formula, nor is it that nothing goes back below the first adapter.
    assert policies.cost.flops == pytest.approx(spent.get_total_flops(), rel=0.01)
