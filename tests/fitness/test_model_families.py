"""Any Hugging Face causal LM of attention and linear layers: windows, soft caps, experts, learned positions."""

from pathlib import Path

import pytest
import torch
import transformers
from peft import PeftModel

from fitness.adapter import AdapterStack, save_adapter
from fitness.errors import ModelError
from fitness.forwards.llama import LlamaForward
from fitness.model import pad_rows
from tests.fitness.models import ACTIONS, OBSERVATIONS, SMALL, agents, population_model, save_network

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

FAMILIES = {
    "Mistral": (True, {"sliding_window": None}),
    "Qwen2": (True, {}),
    "Mistral with a window": (False, {"sliding_window": 16}),
    "Gemma": (False, {"head_dim": 8}),
    "Gemma2 with soft caps": (False, {"head_dim": 8, "sliding_window": 16}),
    "Granite with scaled logits": (False, {"logits_scaling": 2.0}),
    "Mixtral": (False, {"num_local_experts": 4}),
    "Phi3": (False, {}),
    "OPT": (False, {"ffn_dim": 48, "word_embed_proj_dim": 32}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_equals_plain_peft(family: str, tmp_path: Path) -> None:
    fast, changes = FAMILIES[family]
    config = getattr(transformers, f"{family.split()[0]}Config")
    folder = save_network(tmp_path / "base", config, **SMALL | changes)
    model = population_model(folder)
    assert isinstance(model.forward, LlamaForward) == fast
    population = agents(model.lora_spec(rank=4, alpha=8.0))[:3]
    prompts = model.prompts(ACTIONS)
    prefixes, rows = prompts.prefixes([a.strategy for a in population]), prompts.rows(OBSERVATIONS[:2])
    with torch.inference_mode():
        prefix = model.read(AdapterStack.of([a.adapter for a in population]), prefixes)
        ours = model.action_log_probs(prefix, *pad_rows([rows] * 3), prompts.actions)
        pooled = model.pooled(prefix, *pad_rows([rows] * 3), prompts.actions)
    torch.testing.assert_close(pooled.scores, ours, atol=1e-5, rtol=0)
    save_adapter(population[1].adapter, tmp_path / "adapter", str(folder))
    attention = model.base.network.config._attn_implementation
    base = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation=attention)
    alone = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    for i, row in enumerate(rows):
        with torch.inference_mode():
            logits = alone(input_ids=torch.tensor([prefixes[1] + row]), use_cache=False).logits
            body = alone.get_base_model().base_model
            hidden = body(input_ids=torch.tensor([prefixes[1] + row]), use_cache=False).last_hidden_state[0]
        torch.testing.assert_close(pooled.states[1, i], hidden[-len(row) :].mean(dim=0), atol=1e-5, rtol=0)
        theirs = torch.log_softmax(logits[0, -1, list(prompts.actions)], dim=-1)
        torch.testing.assert_close(ours[1, i], theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("GPT2", r"expected a model built of linear layers, got GPT2LMHeadModel"),
        ("Mamba", r"expected a model with attention layers only, got layers of type \['linear_attention'\]"),
    ],
)
def test_families_that_cannot_be_run_say_why(family: str, said: str, tmp_path: Path) -> None:
    folder = save_network(tmp_path, getattr(transformers, f"{family}Config"), **SMALL)
    with pytest.raises(ModelError, match=said):
        population_model(folder)


def test_the_fast_forward_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    folder = save_network(tmp_path, transformers.GemmaConfig, **SMALL | {"head_dim": 8})
    with pytest.raises(ModelError, match=r"expected a model of the Llama family for 'llama', got GemmaForCausalLM"):
        population_model(folder, "llama")
    with pytest.raises(
        ModelError, match=r"expected one of auto, huggingface, llama, got 'lama' \(did you mean 'llama'"
    ):
        population_model(folder, "lama")
