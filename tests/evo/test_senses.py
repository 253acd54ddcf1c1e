"""What agents mind is measured on the same observations every time."""

from pathlib import Path

import torch

from evo.senses import Senses
from finetune.sensitivity import sensitivity
from fitness.adapter import AdapterStack
from fitness.engines.config import PopulationEngineConfig
from fitness.environments.forage.config import ForageConfig
from fitness.model import ModelConfig
from tests.fitness.models import STRATEGIES, agents, save_tiny


def test_sensitivities_are_those_of_an_experts_observations_and_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    environment = ForageConfig()
    model = ModelConfig(name=str(save_tiny(tmp_path, "llama")))
    engine = PopulationEngineConfig().build(model, environment.make(1))
    strategies = [STRATEGIES[i % len(STRATEGIES)] for i in range(10)]
    crowd = agents(engine.model.lora_spec(4, 8.0), strategies)
    stack = AdapterStack.of([agent.adapter for agent in crowd])
    senses = Senses(engine, environment, temperature=0.5)
    measured = senses(strategies, stack)
    assert measured.spec == stack.spec
    assert all(torch.isfinite(factor).all() and (factor >= 0).all() for factor in measured.b.values())
    assert any((factor > 0).any() for factor in measured.b.values())
    lone = Senses(engine, environment, temperature=0.5)(strategies[9:], stack.part(slice(9, 10)))
    for name in stack.spec.modules:
        torch.testing.assert_close(lone.b[name][0], measured.b[name][9], rtol=1e-4, atol=1e-7)
    texts = senses._observations
    assert len(set(texts)) > 4
    assert texts == Senses(engine, environment, temperature=0.5)._observations
    assert sensitivity(engine.model, engine.prompts, crowd[:1], texts).spec == stack.spec
