"""The population forward says what plain PEFT says, for each agent alone."""

import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM

from fitness.adapter import Adapter, AdapterStack, load_adapter, save_adapter
from fitness.agent import Agent
from fitness.errors import AdapterError, ModelError, OutputError
from fitness.model import ModelConfig, PopulationModel, load_base_model, pad_rows
from tests.fitness.models import (
    ACTIONS,
    MANUAL,
    OBSERVATIONS,
    STRATEGIES,
    agents,
    population_model,
    random_adapter,
    save_tiny,
)

# PEFT asks transformers for a property under its old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

FAMILIES = ("llama", "qwen3")
RAGGED = ((0, 1, 2, 3, 4), (1,), (2, 2), (3, 0, 1), (4,), (0, 4))
"""Which observations each of the six agents sees."""


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module", params=("auto", "huggingface"))
def model(folder: Path, request: pytest.FixtureRequest) -> PopulationModel:
    return population_model(folder, request.param)


def peft_log_probs(model: PopulationModel, adapted: torch.nn.Module, agent: Agent, observation: str) -> Tensor:
    """Plain PEFT on one unpadded prompt."""
    prompts = model.prompts(ACTIONS)
    ids = torch.tensor([prompts.prefixes([agent.strategy])[0] + prompts.rows([observation])[0]])
    logits = adapted(input_ids=ids, use_cache=False).logits[0, -1, list(prompts.actions)]
    return torch.log_softmax(logits / agent.temperature, dim=-1)


def peft_model(folder: Path, adapter: Adapter, place: Path) -> PeftModel:
    """What PEFT makes of the saved adapter."""
    save_adapter(adapter, place, str(folder))
    base = AutoModelForCausalLM.from_pretrained(folder)
    return PeftModel.from_pretrained(base, str(place), is_trainable=True).eval()


def population_log_probs(model: PopulationModel, stack: AdapterStack | None, population: list[Agent]) -> Tensor:
    """Everybody at once, ragged rows."""
    prompts = model.prompts(ACTIONS)
    prefix = model.read(stack, prompts.prefixes([agent.strategy for agent in population]))
    ids, lengths = pad_rows([prompts.rows([OBSERVATIONS[i] for i in rows]) for rows in RAGGED])
    temperature = torch.tensor([agent.temperature for agent in population])
    return model.action_log_probs(prefix, ids, lengths, prompts.actions, temperature)


def test_log_probs_and_gradients_are_those_of_plain_peft(folder: Path, model: PopulationModel, tmp_path: Path) -> None:
    population = agents(model.lora_spec(rank=4, alpha=8.0))
    stack = AdapterStack.of([agent.adapter for agent in population])
    for factor in (*stack.a.values(), *stack.b.values()):
        factor.requires_grad_()
    together = population_log_probs(model, stack, population)
    weights = torch.linspace(-1, 1, len(ACTIONS))
    loss = sum((together[p, : len(rows)] @ weights).mean() for p, rows in enumerate(RAGGED))
    loss.backward()
    for p, agent in enumerate(population):
        alone = peft_model(folder, agent.adapter, tmp_path / str(p))
        rows = torch.stack([peft_log_probs(model, alone, agent, OBSERVATIONS[i]) for i in RAGGED[p]])
        torch.testing.assert_close(together[p, : len(rows)], rows, atol=1e-5, rtol=0)
        (rows @ weights).mean().backward()
        for name, parameter in alone.named_parameters():
            if parameter.requires_grad:
                module, side = name.removeprefix("base_model.model.").split(".lora_")
                ours = {"A": stack.a, "B": stack.b}[side[0]][module].grad[p]
                torch.testing.assert_close(ours, parameter.grad, atol=1e-5, rtol=1e-4)


def test_pooled_states_and_their_gradients_are_those_of_plain_peft(
    folder: Path, model: PopulationModel, tmp_path: Path
) -> None:
    population, place = agents(model.lora_spec(rank=4, alpha=8.0)), 3
    stack = AdapterStack.of([agent.adapter for agent in population])
    for factor in (*stack.a.values(), *stack.b.values()):
        factor.requires_grad_()
    prompts = model.prompts(ACTIONS)
    prefix = model.read(stack, prompts.prefixes([agent.strategy for agent in population]))
    rows = [prompts.rows([OBSERVATIONS[i] for i in seen]) for seen in RAGGED]
    scores, states = model.pooled(prefix, *pad_rows(rows), prompts.actions)
    cold = torch.tensor([agent.temperature for agent in population])[:, None, None]
    expected = population_log_probs(model, stack, population)
    torch.testing.assert_close((scores / cold).log_softmax(dim=-1), expected, atol=1e-5, rtol=0)
    alone = peft_model(folder, population[place].adapter, tmp_path)
    told = prompts.prefixes([population[place].strategy])[0]
    body = alone.get_base_model().model
    hidden = [body(input_ids=torch.tensor([told + row])).last_hidden_state[0, len(told) :] for row in rows[place]]
    theirs = torch.stack([one.mean(dim=0) for one in hidden])
    torch.testing.assert_close(states[place, : len(theirs)], theirs, atol=1e-5, rtol=0)
    weights = torch.linspace(-1, 1, model.width)
    for found in (states[place, : len(theirs)], theirs):
        (found @ weights).sum().backward()
    for name, parameter in alone.named_parameters():
        if parameter.requires_grad:
            module, side = name.removeprefix("base_model.model.").split(".lora_")
            ours = {"A": stack.a, "B": stack.b}[side[0]][module].grad
            torch.testing.assert_close(ours[place], parameter.grad, atol=2e-5, rtol=1e-4)
            assert not ours[:place].any()


def test_without_a_stack_the_base_model_answers(folder: Path, model: PopulationModel) -> None:
    population = agents(model.lora_spec(rank=4, alpha=8.0))
    with torch.inference_mode():
        together = population_log_probs(model, None, population)
    base = AutoModelForCausalLM.from_pretrained(folder).eval()
    for p, agent in enumerate(population):
        rows = torch.stack([peft_log_probs(model, base, agent, OBSERVATIONS[i]) for i in RAGGED[p]])
        torch.testing.assert_close(together[p, : len(rows)], rows, atol=1e-5, rtol=0)


def test_swapped_adapters_are_noticed(model: PopulationModel) -> None:
    population = agents(model.lora_spec(rank=4, alpha=8.0))
    stack = AdapterStack.of([agent.adapter for agent in population])
    right = population_log_probs(model, stack, population)
    wrong = population_log_probs(model, stack.take([1, 0, 2, 3, 4, 5]), population)
    changed = (right - wrong).abs().amax(dim=(1, 2))
    assert (changed[:2] > 0.05).all()
    assert (changed[2:] < 1e-5).all()


def test_the_base_stays_frozen_and_unchanged(model: PopulationModel) -> None:
    assert not any(parameter.requires_grad for parameter in model.base.network.parameters())


def test_some_targets_only(folder: Path, tmp_path: Path) -> None:
    model = population_model(folder, targets=("q_proj", "down_proj"))
    assert {name.rsplit(".", 1)[-1] for name, _, _ in model.shapes} == {"q_proj", "down_proj"}
    population = agents(model.lora_spec(rank=2, alpha=2.0))
    together = population_log_probs(model, AdapterStack.of([a.adapter for a in population]), population)
    alone = peft_model(folder, population[3].adapter, tmp_path)
    row = peft_log_probs(model, alone, population[3], OBSERVATIONS[RAGGED[3][0]])
    torch.testing.assert_close(together[3, 0], row, atol=1e-5, rtol=0)


def test_mixed_ranks_decide_as_each_alone(model: PopulationModel) -> None:
    specs = [
        model.lora_spec(rank, alpha) for rank, alpha in ((1, 2.0), (4, 8.0), (7, 3.5), (2, 2.0), (1, 1.0), (3, 6.0))
    ]
    mixed = AdapterStack.of([random_adapter(spec, i) for i, spec in enumerate(specs)])
    together = population_log_probs(model, mixed, agents(specs[0]))
    for i, spec in enumerate(specs):
        alike = AdapterStack.of([random_adapter(spec, i)] * len(specs))
        alone = population_log_probs(model, alike, agents(spec))
        torch.testing.assert_close(together[i], alone[i], atol=1e-5, rtol=0)


def test_half_precision_runs_and_is_close(folder: Path) -> None:
    exact, half = population_model(folder), population_model(folder, dtype="bfloat16")
    population = agents(exact.lora_spec(rank=4, alpha=8.0))
    stack = AdapterStack.of([agent.adapter for agent in population])
    with torch.inference_mode():
        pair = [population_log_probs(m, stack, population) for m in (exact, half)]
    assert pair[1].dtype == torch.float32
    assert (pair[0] - pair[1]).abs().mean() < 0.2


def test_adapters_round_trip_through_peft(model: PopulationModel, tmp_path: Path) -> None:
    adapter = random_adapter(model.lora_spec(rank=4, alpha=8.0), seed=5)
    save_adapter(adapter, tmp_path, "base")
    assert load_adapter(tmp_path).digest() == adapter.digest()


def test_a_full_disk_is_told_in_one_sentence_and_leaves_no_piece(model: PopulationModel, tmp_path: Path) -> None:
    adapter = random_adapter(model.lora_spec(rank=4, alpha=8.0), seed=5)
    limits, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # Files that cannot grow: what a full disk does.
    try:
        with pytest.raises(OutputError, match=r"adapter_model\.safetensors: expected a place that can be written"):
            save_adapter(adapter, tmp_path, "base")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("broken", ["adapter_config.json", "adapter_model.safetensors"])
def test_torn_adapter_files_are_refused(model: PopulationModel, tmp_path: Path, broken: str) -> None:
    save_adapter(random_adapter(model.lora_spec(rank=4, alpha=8.0), seed=5), tmp_path, "base")
    (tmp_path / broken).write_bytes((tmp_path / broken).read_bytes()[:-20])
    with pytest.raises(AdapterError, match=r"expected adapter_config\.json and adapter_model\.safetensors"):
        load_adapter(tmp_path)


def test_adapters_of_another_model_are_refused(model: PopulationModel) -> None:
    spec = model.lora_spec(rank=4, alpha=8.0)
    other = type(spec)(4, 8.0, (("transformer.h.0.attn", 3, 5),))
    with pytest.raises(ModelError, match=r"adapter\.shapes: expected modules of .*, got .*transformer\.h\.0\.attn"):
        model.read(AdapterStack.of([random_adapter(other, 0)]), [[1]])


def test_prompts_hold_manual_strategy_and_observation(folder: Path) -> None:
    model = population_model(folder, manual=True)
    prompts = model.prompts(ACTIONS, MANUAL)
    decode = model.base.tokenizer.decode
    assert decode(prompts.prefixes([STRATEGIES[0]])[0]) == f"{MANUAL}\n\n{STRATEGIES[0]}\n"
    assert decode(prompts.rows([OBSERVATIONS[0]])[0]) == f"{OBSERVATIONS[0]}\nAction:"
    assert decode(list(prompts.actions)) == "".join(f" {name}" for name in ACTIONS)
    assert population_model(folder).prompts(ACTIONS, MANUAL).manual == ""


def test_actions_that_begin_alike_are_refused(model: PopulationModel) -> None:
    with pytest.raises(ModelError, match=r"every action begins with its own token.*'zxa', 'zxb'"):
        model.prompts(("north", "zxa", "zxb"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/nowhere/at/all", r"model\.name: expected a folder that exists or a hub id .*got '/nowhere/at/all'"),
        (
            "nobody/nothing-here",
            r"model\.name: expected a causal LM .*'nobody/nothing-here', which is neither a folder",
        ),
    ],
)
def test_a_missing_model_is_one_sentence(name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match=said) as caught:
        load_base_model(ModelConfig(name=name))
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.name: expected a folder with a config\.json"):
        load_base_model(ModelConfig(name=str(tmp_path)))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"model\.name: expected a causal LM with its tokenizer"):
        load_base_model(ModelConfig(name=str(tmp_path)))


def test_torn_weights_are_refused(tmp_path: Path) -> None:
    save_tiny(tmp_path, "llama")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"model\.name: expected a causal LM with its tokenizer"):
        load_base_model(ModelConfig(name=str(tmp_path)))


def test_a_token_without_a_vector_is_refused(folder: Path) -> None:
    base = load_base_model(ModelConfig(name=str(folder)))
    base.network.resize_token_embeddings(20)
    with pytest.raises(ModelError, match=r"expected a tokenizer whose tokens the network knows \(20\), got token"):
        PopulationModel(base).prompts(ACTIONS).rows(OBSERVATIONS)


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(
        ModelError, match=r"model\.dtype: expected one of float32.*got 'bfloat' \(did you mean 'bfloat16'"
    ):
        ModelConfig(name="x", dtype="bfloat")


def test_pad_rows_is_right_padded_and_ragged() -> None:
    ids, lengths = pad_rows([[[1, 2], [3]], [[4, 5, 6]]])
    assert ids.tolist() == [[[1, 2, 0], [3, 0, 0]], [[4, 5, 6], [0, 0, 0]]]
    assert lengths.tolist() == [[2, 1], [3, 1]]
    assert np.array_equal(ids.shape, (2, 2, 3))
