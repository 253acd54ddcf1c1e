"""Everything about one GPU, in one go of minutes: `python -m tests.benchmarks.gpu`; nothing is downloaded.

The shape is Qwen3-0.6B's (https://huggingface.co/Qwen/Qwen3-0.6B) with random weights in bfloat16. Decisions per second
stand against the bare base model with the same strategies kept; training, all adapters at once, against one at a time.
`--tiny --device cpu` tries the script itself.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM
from transformers.cache_utils import DynamicCache

from finetune.batches import Batch
from finetune.optimizer import PopulationAdamW
from finetune.policies import Policies
from fitness.agent import Agent
from fitness.engines.population import PopulationEngine
from fitness.model import BaseModel, ModelConfig, PopulationModel
from fitness.organism import FOLDER
from tests.benchmarks.decisions import BASE, BASE_KEPT, EPISODES, OBSERVATION, STRATEGY, Tokens
from tests.benchmarks.findings import Finding, faster, save, table
from tests.benchmarks.settings import ACTIONS, random_adapters, random_tokens
from tests.benchmarks.timing import Turn, race, timed

RANK, POPULATIONS, TRAINED, ROWS, ROW = 16, (1, 8, 32), 16, 8, 256
"""LoRA rank, agents that decide, adapters that are trained, rows of each and tokens of a row."""
TARGETS = {BASE_KEPT: 0.95}
ONE_BY_ONE, PUBLISHED = "the same, one by one", "prime-rl as published, one adapter, rows of 16k"
PUBLISHED_RATE = 13_340.0
"""Tokens per second of the LoRA trainer in the benchmark table of https://github.com/PrimeIntellect-ai/prime-rl:
Qwen3-0.6B, rank 16, one H100, with the loss on every token; ours scores the actions after a row, and no other token."""


def main() -> int:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu", description="Measure on one GPU.")
    parser.add_argument("--device", default="cuda", help="as PyTorch names it (default cuda)")
    parser.add_argument("--tiny", action="store_true", help="two narrow layers, to try the script anywhere")
    parser.add_argument("--repeats", type=int, default=5, help="the median of this many turns is told (default 5)")
    given = parser.parse_args()
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        print("device: expected a GPU, found none (`--tiny --device cpu` tries the script)", file=sys.stderr)
        return 2
    network = random_network(given.device, tiny=given.tiny)
    found = decisions(network, given.repeats) + training(network, given.repeats, tiny=given.tiny)
    print(table(found))
    print(save(Path("outputs/benchmarks"), "gpu-tiny" if given.tiny else "gpu", found))
    return 0


def random_network(device: str, *, tiny: bool) -> Any:
    """Return a model of Qwen3-0.6B's shape, made where it will run."""
    shape = {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "vocab_size": 151_936}
    heads = {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
    if tiny:
        shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 1024}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    torch.random.default_generator.manual_seed(0)
    config = Qwen3Config(**shape, **heads, tie_word_embeddings=True, rope_theta=1e6, dtype=torch.bfloat16)
    with torch.device(device):
        network = Qwen3ForCausalLM._from_config(config, attn_implementation="sdpa")
    return network.to(torch.bfloat16).eval()


def decisions(network: Any, repeats: int) -> list[Finding]:
    """Let populations decide."""
    found = []
    for agents in POPULATIONS:
        seats = np.repeat(np.arange(agents), EPISODES)
        told = random_tokens(agents, STRATEGY, seed=1)
        seen = random_tokens(len(seats), OBSERVATION, seed=2)
        model = population_model(network)
        engine = PopulationEngine(model, action_names=("eat", "drink", "rest"))
        engine.prompts = tokens(model, told, seen)
        engine.seat(random_agents(model, agents))
        texts, luck = list(map(str, range(len(seats)))), np.full(len(seats), 0.5)
        rivals: dict[str, Turn] = {
            "ours": timed(lambda: engine.decide(seats, texts, luck)),  # noqa: B023 - raced before the next round
            BASE_KEPT: timed(base_kept(network, told, seen)),
            BASE: timed(base_whole(network, told, seen)),
        }
        seconds = race(rivals, repeats)
        found += faster(f"act: {agents} agents x {EPISODES}, rank {RANK}", "decisions/s", len(seats), seconds, TARGETS)
    return found


def training(network: Any, repeats: int, *, tiny: bool) -> list[Finding]:
    """Make one optimisation step for all adapters at once, and for one after another."""
    model, row = population_model(network), ROW // 8 if tiny else ROW
    together = step(model, TRAINED, row)
    alone = step(model, 1, row)
    rivals: dict[str, Turn] = {
        "ours": timed(finished(together, network.device)),
        ONE_BY_ONE: timed(finished(lambda: [alone() for _ in range(TRAINED)], network.device)),
    }
    seconds = race(rivals, repeats)
    count = TRAINED * ROWS * row
    if not tiny:
        seconds[PUBLISHED] = count / PUBLISHED_RATE
    case = f"train: {TRAINED} adapters x {ROWS} rows of {row} tokens"
    return faster(case, "tokens/s", count, seconds, {ONE_BY_ONE: 1.0})


def population_model(network: Any) -> PopulationModel:
    """Return the network with the organism's tokenizer, whose tokens all lie in its vocabulary."""
    config = ModelConfig(name="random Qwen3", dtype="bfloat16", device=str(network.device))
    return PopulationModel(BaseModel(config, network, AutoTokenizer.from_pretrained(FOLDER)))


def tokens(model: PopulationModel, told: Sequence[list[int]], seen: Sequence[list[int]]) -> Tokens:
    """Return prompts that stand for random tokens."""
    p = model.prompts(("eat", "drink", "rest"))
    return Tokens(p.tokenizer, "", "", tuple(map(str, ACTIONS)), ACTIONS, (), p.vocabulary, told=told, seen=seen)


def random_agents(model: PopulationModel, count: int) -> list[Agent]:
    """Return agents whose strategies are numbered."""
    adapters = random_adapters(model.lora_spec(RANK, float(RANK)), count)
    return [Agent(id=i, strategy=str(i), adapter=adapter) for i, adapter in enumerate(adapters)]


def base_whole(network: Any, told: list[list[int]], seen: list[list[int]]) -> Callable[[], None]:
    """Return what runs whole prompts through the bare model."""
    ids = torch.tensor([told[i // EPISODES] + row for i, row in enumerate(seen)], device=network.device)

    @torch.inference_mode()
    def run() -> None:
        network(input_ids=ids, logits_to_keep=1).logits[:, -1, list(ACTIONS)].cpu()

    return run


def base_kept(network: Any, told: list[list[int]], seen: list[list[int]]) -> Callable[[], None]:
    """Return what runs the observations through the bare model, with Hugging Face's cache of the strategies."""
    ids = torch.tensor(seen, device=network.device)
    places = torch.arange(STRATEGY, STRATEGY + OBSERVATION, device=network.device).expand(len(ids), -1)
    with torch.inference_mode():
        read = network(input_ids=torch.tensor(told, device=network.device), use_cache=True).past_key_values

    @torch.inference_mode()
    def run() -> None:
        cache = DynamicCache()
        for i, layer in enumerate(read.layers):
            cache.update(layer.keys.repeat_interleave(EPISODES, 0), layer.values.repeat_interleave(EPISODES, 0), i)
        logits = network(input_ids=ids, position_ids=places, past_key_values=cache, logits_to_keep=1).logits
        logits[:, -1, list(ACTIONS)].cpu()

    return run


def step(model: PopulationModel, agents: int, row: int) -> Callable[[], None]:
    """Return one optimisation step for some adapters."""
    rows = torch.tensor(random_tokens(agents, ROWS, row - 1, seed=3))
    shape, device = rows.shape[:2], model.device
    blank = torch.ones(shape)
    lengths, taken = torch.full(shape, rows.shape[2]), torch.zeros(shape, dtype=torch.int64)
    batch = Batch(rows, lengths, taken, blank, blank, blank).to(device)
    prompts = tokens(model, random_tokens(agents, 1, seed=4), ())
    policies = Policies(model, prompts, random_agents(model, agents), rows_at_once=64)
    optimizer = PopulationAdamW(policies.weights, torch.full((agents,), 1e-4, device=device))
    start = torch.zeros(*shape, len(ACTIONS), device=device)

    def run() -> None:
        policies.backward(batch, start, _likelihood)
        optimizer.step(torch.ones(agents, dtype=torch.bool, device=device))

    return run


def finished(do: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """Return `do`, ending only when the device has done it."""

    def run() -> None:
        do()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def _likelihood(now: Tensor, start: Tensor, part: Batch) -> Tensor:
    return -now.gather(2, part.taken[..., None]).squeeze(2)


if __name__ == "__main__":
    raise SystemExit(main())
