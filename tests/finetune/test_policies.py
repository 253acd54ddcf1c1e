"""The population's gradients are those of as many lone runs of plain PEFT, however the work is cut."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, GemmaConfig, MixtralConfig

from finetune.batches import Batch, make_batch
from finetune.policies import Policies
from fitness.adapter import save_adapter
from fitness.agent import Agent
from fitness.model import PopulationModel
from tests.finetune.lives import EAT, Life, record
from tests.fitness.models import (
    ACTIONS,
    OBSERVATIONS,
    SMALL,
    agents,
    population_model,
    random_adapter,
    save_network,
    save_tiny,
)

LIVED = record([Life(1, 1, OBSERVATIONS, (0, EAT, 2, EAT, 6), ((0.0,),) * 5)])
DECISIONS = 6

# PEFT asks transformers for a property under its old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


MODELS = ("llama auto", "llama huggingface", "qwen3 auto", "qwen3 huggingface", "gemma auto", "mixtral auto")


@pytest.fixture(scope="module", params=MODELS)
def how(request: pytest.FixtureRequest) -> str:
    """Name a family and the forward that runs it."""
    return str(request.param)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, how: str) -> Path:
    family, place = how.split()[0], tmp_path_factory.mktemp("base")
    if family == "gemma":
        return save_network(place, GemmaConfig, **SMALL, head_dim=8)
    if family == "mixtral":
        return save_network(place, MixtralConfig, **SMALL, num_local_experts=4)
    return save_tiny(place, family)


@pytest.fixture(scope="module")
def model(folder: Path, how: str) -> PopulationModel:
    return population_model(folder, how.split()[1])


@pytest.fixture(scope="module")
def population(model: PopulationModel) -> list[Agent]:
    """Three agents with adapters of different ranks."""
    specs = [model.lora_spec(rank, alpha) for rank, alpha in ((4, 8.0), (2, 3.0), (5, 5.0))]
    three = zip(agents(specs[0]), specs, strict=False)
    return [replace(agent, adapter=random_adapter(spec, i)) for i, (agent, spec) in enumerate(three)]


@pytest.fixture(scope="module")
def batch(model: PopulationModel, population: list[Agent]) -> Batch:
    """Other decisions and advantages for every agent."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(len(LIVED), size=(len(population), DECISIONS))
    made = make_batch(LIVED, np.ones(len(LIVED)), chosen, model.prompts(ACTIONS))
    return replace(made, advantage=torch.from_numpy(rng.normal(size=chosen.shape).astype(np.float32)))


def reinforce(now: Tensor, start: Tensor, part: Batch) -> Tensor:
    return -part.advantage * now.gather(2, part.taken[..., None]).squeeze(2)


def gradients(
    model: PopulationModel, population: Sequence[Agent], batch: Batch, rows_at_once: int = 256
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return losses [P] and, by the names of PEFT's parameters, gradients [P, ...]."""
    policies = Policies(model, model.prompts(ACTIONS), population, rows_at_once)
    losses = policies.backward(batch, policies.log_probs(batch), reinforce)
    assert policies.weights.grad is not None
    found = policies.stack.of_rows(policies.weights.grad, slice(None))
    return losses, {f"{n}.lora_{side}": g for side, part in (("A", found.a), ("B", found.b)) for n, g in part.items()}


def peft_gradients(folder: Path, agent: Agent, batch: Batch, place: Path) -> tuple[float, dict[str, Tensor]]:
    """One agent's mean loss and gradients: unpadded prompts, one by one, strategy and all."""
    save_adapter(agent.adapter, place, str(folder))
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), str(place), is_trainable=True)
    prompts, total = population_model(folder).prompts(ACTIONS), 0.0
    prefix = prompts.prefixes([agent.strategy])[0]
    for k in range(len(batch)):
        row = batch.ids[0, k, : batch.lengths[0, k]].tolist()
        logits = adapted.eval()(input_ids=torch.tensor([prefix + row]), use_cache=False).logits[0, -1]
        scores = torch.log_softmax(logits[list(prompts.actions)] / agent.temperature, dim=-1)
        loss = -batch.advantage[0, k] * scores[batch.taken[0, k]] / len(batch)
        loss.backward()
        total += float(loss.detach())
    found = {name: p.grad for name, p in adapted.named_parameters() if p.requires_grad}
    return total, {
        n.removeprefix("base_model.model.").split(".lora_")[0] + n[n.index(".lora_") :][:7]: g for n, g in found.items()
    }


def _unpadded(gradient: Tensor, rank: int, name: str) -> tuple[Tensor, Tensor]:
    """Cut a factor's gradient into what belongs to its rank and what is padding."""
    rows = gradient if name.endswith("A") else gradient.mT
    own = rows[:rank] if name.endswith("A") else rows[:rank].mT
    return own, rows[rank:]


def test_gradients_are_those_of_plain_peft(
    folder: Path, model: PopulationModel, population: list[Agent], batch: Batch, tmp_path: Path
) -> None:
    losses, ours = gradients(model, population, batch)
    assert max(float(gradient.abs().max()) for gradient in ours.values()) > 0.1
    for i, agent in enumerate(population):
        loss, theirs = peft_gradients(folder, agent, batch.of(slice(i, i + 1)), tmp_path / str(i))
        assert float(losses[i]) == pytest.approx(loss, abs=1e-5)
        assert theirs.keys() == ours.keys()
        for name, gradient in theirs.items():
            own, padding = _unpadded(ours[name][i], agent.adapter.spec.rank, name)
            torch.testing.assert_close(own, gradient, atol=1e-5, rtol=0)
            assert not padding.any()


def test_a_lone_row_is_read_with_its_strategy_and_learns_the_same(
    folder: Path, model: PopulationModel, population: list[Agent], batch: Batch, tmp_path: Path
) -> None:
    single = batch.part(slice(0, 1))
    losses, ours = gradients(model, population, single)
    loss, theirs = peft_gradients(folder, population[1], single.of(slice(1, 2)), tmp_path)
    assert float(losses[1]) == pytest.approx(loss, abs=1e-5)
    for name, gradient in theirs.items():
        own, _ = _unpadded(ours[name][1], population[1].adapter.spec.rank, name)
        torch.testing.assert_close(own, gradient, atol=1e-5, rtol=0)


@pytest.mark.parametrize("rows_at_once", [1, 10, 10_000])
def test_how_the_work_is_cut_changes_no_gradient(
    model: PopulationModel, population: list[Agent], batch: Batch, rows_at_once: int
) -> None:
    losses, usual = gradients(model, population, batch)
    others, cut = gradients(model, population, batch, rows_at_once)
    torch.testing.assert_close(losses, others, atol=1e-6, rtol=0)
    for name, gradient in usual.items():
        torch.testing.assert_close(cut[name], gradient, atol=5e-6, rtol=0)


@pytest.mark.fault("memory runs out in training", "half as many rows are trained on at once from then on; recorded")
def test_out_of_memory_costs_time_only(
    model: PopulationModel, population: list[Agent], batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, usual = gradients(model, population, batch)
    score = model.action_log_probs

    def greedy(prefix: Any, ids: Tensor, *others: Any) -> Tensor:
        if ids.shape[0] * ids.shape[1] > 3:
            torch.empty(1 << 60)
        return score(prefix, ids, *others)

    monkeypatch.setattr(model, "action_log_probs", greedy)
    policies = Policies(model, model.prompts(ACTIONS), population, 256)
    policies.backward(batch, policies.log_probs(batch), reinforce)
    assert policies.weights.grad is not None
    found = policies.stack.of_rows(policies.weights.grad, slice(None))
    for name, gradient in found.a.items():
        torch.testing.assert_close(usual[f"{name}.lora_A"], gradient, atol=5e-6, rtol=0)
    assert policies.rows_at_once <= 3
    assert policies.faults[-1].endswith(f"rows, went on with {policies.rows_at_once}")


@pytest.mark.parametrize("cores", [2, 3])
def test_cores_change_no_bit(
    model: PopulationModel, population: list[Agent], batch: Batch, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for count in (1, cores):
        monkeypatch.setattr("fitness.cores._claimed", [count])
        found.append(gradients(model, population, batch)[1])
    for name, gradient in found[0].items():
        assert torch.equal(gradient, found[1][name])


def test_agents_and_the_base_stay_as_they_are(model: PopulationModel, population: list[Agent], batch: Batch) -> None:
    before = [agent.adapter.digest() for agent in population]
    gradients(model, population, batch)
    assert [agent.adapter.digest() for agent in population] == before
    assert all(parameter.grad is None for parameter in model.base.network.parameters())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_with_fewer_bits_gradients_point_the_same_way(
    folder: Path, how: str, model: PopulationModel, population: list[Agent], batch: Batch, dtype: str
) -> None:
    coarse = population_model(folder, how.split()[1], dtype=dtype)
    fine, found = (gradients(one, population, batch)[1] for one in (model, coarse))
    for i in range(len(population)):
        one, other = (torch.cat([g[i].flatten() for g in each.values()]) for each in (fine, found))
        assert other.dtype == torch.float32  # adapters and their gradients keep all their bits
        assert torch.cosine_similarity(one, other, dim=0) > 0.98
