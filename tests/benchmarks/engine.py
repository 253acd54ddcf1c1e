"""Decisions per second: the population engine, the base model alone, and PEFT's mixed batch, on the same prompts.

The rivals read every prompt whole, strategy and all; the engine has read each strategy once, when it seated the agents.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from fitness.adapter import Adapter, LoraSpec, initial_adapter, save_adapter
from fitness.agent import Agent
from fitness.engines.population import PopulationEngine
from fitness.environments.forage.world import ACTIONS
from fitness.model import ModelConfig, PopulationModel, load_base_model
from fitness.organism import FOLDER, SUFFIX
from fitness.organism.lessons import Lessons, Wanderers, teach
from fitness.organism.recipe import architecture
from fitness.organism.vocabulary import train_tokenizer
from tests.benchmarks.timing import per_second, table

AGENTS, ROWS, RANK, CHUNK = 32, 16, 8, 64
"""Agents, decisions of each, LoRA rank, prompts per forward of the two rivals."""


def report(repeats: int) -> str:
    """Measure and return a table."""
    lessons = some_lessons()
    with tempfile.TemporaryDirectory() as place:
        folder = organism(Path(place), lessons)
        contest = Contest(folder, Path(place), lessons)
        rates = per_second(contest.rivals(), repeats)
        apart = contest.disagreement()
    ours = rates["population engine"]
    rows = [[name, f"{rate:,.0f}", f"{ours / rate:.2f}"] for name, rate in rates.items()]
    weights = "the organism" if folder == FOLDER else "random weights of the organism's shape"
    title = f"{AGENTS} agents x {ROWS} decisions, rank {RANK}, {weights}; ours and PEFT differ by {apart:.1e} at most"
    return table(title, ("decisions per second", "measured", "ours is x times"), rows)


def some_lessons() -> Lessons:
    """Return strategies and situations as the organism meets them."""
    rng = np.random.default_rng(0)
    return teach(Wanderers(rng, 0, count=256), rng, AGENTS, ROWS)


def organism(place: Path, lessons: Lessons) -> Path:
    """Return the folder of the organism, or of random weights of its shape where it is not made yet."""
    if (FOLDER / "config.json").is_file():
        return FOLDER
    words = [f" {name}" for name in ACTIONS] * 200
    texts = [*lessons.strategies, *(f"{text}{SUFFIX}" for row in lessons.observations for text in row), *words]
    tokenizer = train_tokenizer(texts)
    LlamaForCausalLM(architecture(tokenizer)).save_pretrained(place / "organism")
    tokenizer.save_pretrained(place / "organism")
    return place / "organism"


class Contest:
    """Three ways to the same decisions."""

    def __init__(self, folder: Path, place: Path, lessons: Lessons) -> None:
        model = PopulationModel(load_base_model(ModelConfig(name=str(folder), suffix=SUFFIX)))
        adapters = [random_adapter(model.lora_spec(RANK, float(RANK)), seed) for seed in range(AGENTS)]
        agents = [
            Agent(id=i, strategy=text, adapter=adapter)
            for i, (text, adapter) in enumerate(zip(lessons.strategies, adapters, strict=True))
        ]
        self.engine = PopulationEngine(model, action_names=ACTIONS)
        self.engine.seat(agents)
        self.seats = np.repeat(np.arange(AGENTS), ROWS)
        self.observations = [text for row in lessons.observations for text in row]
        self.uniforms = np.random.default_rng(1).random(len(self.seats))
        self.prompts = self._full_prompts(lessons)
        self.base = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.mixed = peft_model(folder, place, adapters)

    def rivals(self) -> dict[str, Callable[[], int]]:
        """Return what to time: each makes every decision once."""
        return {
            "population engine": lambda: len(self._ours()),
            "base model, one for all": lambda: len(self._plain(self.base)),
            "PEFT, mixed batch": lambda: len(self._plain(self.mixed, named=True)),
        }

    def disagreement(self) -> float:
        """Return the greatest difference between our log-probabilities and PEFT's."""
        return float(np.abs(self._ours() - self._plain(self.mixed, named=True)).max())

    def _ours(self) -> NDArray[np.float32]:
        return self.engine.decide(self.seats, self.observations, self.uniforms).log_probabilities

    def _plain(self, network: Any, named: bool = False) -> NDArray[np.float32]:
        """Run whole prompts through a model, some at a time; `named` tells PEFT whose adapter each prompt wants."""
        out = []
        for first in range(0, len(self.seats), CHUNK):
            part = slice(first, first + CHUNK)
            options = {"adapter_names": [f"agent{seat}" for seat in self.seats[part]]} if named else {}
            with torch.inference_mode():
                logits = network(**left_padded(self.prompts[part]), use_cache=False, logits_to_keep=1, **options).logits
            out.append(torch.log_softmax(logits[:, -1, list(self.engine.prompts.actions)], dim=-1))
        return torch.cat(out).numpy()

    def _full_prompts(self, lessons: Lessons) -> list[list[int]]:
        """Return every decision's prompt, strategy and all."""
        told = self.engine.prompts.prefixes(lessons.strategies)
        rows = self.engine.prompts.rows(self.observations)
        return [told[seat] + row for seat, row in zip(self.seats, rows, strict=True)]


def left_padded(prompts: list[list[int]]) -> dict[str, Tensor]:
    """Return a model's inputs for ragged prompts that all end at the last position."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(tokens)) + tokens for tokens in prompts])
    mask = torch.tensor([[0] * (width - len(tokens)) + [1] * len(tokens) for tokens in prompts])
    return {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}


def random_adapter(spec: LoraSpec, seed: int) -> Adapter:
    """Return an adapter that changes the output."""
    rng, start = np.random.default_rng(seed), initial_adapter(spec, 0)
    b = {n: torch.from_numpy(rng.normal(0, 0.02, (out, spec.rank)).astype(np.float32)) for n, _, out in spec.shapes}
    return Adapter(spec, start.a, b)


def peft_model(folder: Path, place: Path, adapters: list[Adapter]) -> PeftModel:
    """Return a base model with every agent's adapter loaded by PEFT."""
    base = AutoModelForCausalLM.from_pretrained(folder)
    for i, adapter in enumerate(adapters):
        save_adapter(adapter, place / f"agent{i}", str(folder))
    model = PeftModel.from_pretrained(base, str(place / "agent0"), adapter_name="agent0")
    for i in range(1, len(adapters)):
        model.load_adapter(str(place / f"agent{i}"), adapter_name=f"agent{i}")
    return model.eval()
