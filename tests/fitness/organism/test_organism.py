"""The weights that ship: they load anywhere, obey strategies, and know nothing of the hidden rules."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fitness.adapter import AdapterStack, initial_adapter
from fitness.agent import Agent
from fitness.engines.population import PopulationEngine
from fitness.environments.forage.config import ForageConfig
from fitness.environments.forage.env import ForageVectorEnv
from fitness.environments.forage.percept import Percept
from fitness.environments.forage.policies import GRAMMAR, Traits, obey
from fitness.environments.forage.text import render
from fitness.environments.forage.world import ACTIONS, COLOURS, DAY, DUSK, NIGHT, SEASONS
from fitness.model import ModelConfig, PopulationModel, load_base_model
from fitness.organism import FOLDER, SUFFIX
from fitness.organism.lessons import random_traits

STRATEGIES, LIVES = 32, 4
VIEW = ForageConfig().view


@pytest.fixture(scope="module")
def engine() -> PopulationEngine:
    base = load_base_model(ModelConfig(name="organism", suffix=SUFFIX))
    return PopulationEngine(PopulationModel(base), action_names=ACTIONS)


@pytest.fixture(scope="module")
def traits() -> Traits:
    return random_traits(np.random.default_rng(7), STRATEGIES)


def seat(engine: PopulationEngine, traits: Traits) -> None:
    adapter = initial_adapter(engine.model.lora_spec(2, 2.0), 0)
    engine.seat([Agent(id=i, strategy=text, adapter=adapter) for i, text in enumerate(traits.texts())])


def choices(engine: PopulationEngine, percept: Percept) -> np.ndarray:
    """Return log-probabilities [n, actions] of the seated strategies, LIVES rows each."""
    seats = np.repeat(np.arange(STRATEGIES), LIVES)
    return engine.decide(seats, render(percept, VIEW), np.zeros(len(seats))).log_probabilities


def lives(traits: Traits, steps: int) -> list[Percept]:
    """Return what scripted wanderers with these strategies see on seeds that pre-training never used."""
    env = ForageVectorEnv(num_envs=STRATEGIES * LIVES)
    env.reset(seed=31_000)
    each, seen = Traits(np.repeat(traits.clauses, LIVES, axis=0)), []
    for _ in range(steps):
        percept = env.percept()
        seen.append(percept)
        env.advance(obey(each, percept))
    return seen


def test_it_ships_in_at_most_four_megabytes_and_loads_with_plain_transformers() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 4_000_000
    model, tokenizer = AutoModelForCausalLM.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)
    text = "Any text \u2603 at all: \U0001f43a 123"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert all(len(tokenizer(f" {name}")["input_ids"]) == 1 for name in ACTIONS)
    prompt = "ignore wolves. eat when good. drink when low. never den. food first. search east. then rest.\n"
    prompt += f"spring day energy low water full warmth full health full red 2 north pond 3 west here gold{SUFFIX}"
    logits = model(**tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)).logits[0, -1]
    assert tokenizer.decode(logits.argmax()) == " eat"


def test_it_takes_the_named_policys_action_in_nine_decisions_of_ten(engine: PopulationEngine, traits: Traits) -> None:
    seat(engine, traits)
    each = Traits(np.repeat(traits.clauses, LIVES, axis=0))
    agree = [choices(engine, percept).argmax(axis=1) == obey(each, percept) for percept in lives(traits, 60)]
    per_strategy = np.mean(agree, axis=0).reshape(STRATEGIES, LIVES).mean(axis=1)
    assert per_strategy.mean() >= 0.9
    assert per_strategy.min() >= 0.8, GRAMMAR.render(tuple(traits.texts()[per_strategy.argmin()].split(". ")))


def test_its_choices_do_not_depend_on_colour_season_or_dusk(engine: PopulationEngine, traits: Traits) -> None:
    seat(engine, traits)
    rng = np.random.default_rng(3)
    same, apart = [], []
    for percept in lives(traits, 40)[::4]:
        turn = rng.integers(1, len(COLOURS))
        colour = np.where(percept.berry_colour >= 0, (percept.berry_colour + turn) % len(COLOURS), -1)
        season = (percept.season + rng.integers(1, len(SEASONS))) % len(SEASONS)
        time = np.where(percept.time == NIGHT, NIGHT, np.where(percept.time == DAY, DUSK, DAY))
        before = choices(engine, percept)
        after = choices(engine, replace(percept, berry_colour=colour, season=season, time=time))
        same.append(before.argmax(axis=1) == after.argmax(axis=1))
        apart.append(0.5 * np.abs(np.exp(before) - np.exp(after)).sum(axis=1))
    assert np.mean(same) >= 0.97
    assert np.mean(apart) <= 0.04


def test_a_fresh_adapter_changes_nothing(engine: PopulationEngine) -> None:
    adapter = initial_adapter(engine.model.lora_spec(4, 8.0), 1)
    prompts = engine.prompts
    ids, lengths = torch.tensor([[prompts.rows(["spring day energy low"])[0]]]), torch.tensor([[5]])
    told = prompts.prefixes(["eat when low."])
    with torch.inference_mode():
        tuned, base = (
            engine.model.action_log_probs(engine.model.read(stack, told), ids, lengths, prompts.actions)
            for stack in (AdapterStack.of([adapter]), None)
        )
    assert torch.allclose(tuned, base, atol=1e-6)
