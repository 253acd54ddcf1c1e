"""From a checked plan to a run: loads the model, seats everything together and breeds.

Owns the order in which a run's parts come to life: all that can be refused is refused before the first decision.
"""

import logging
import warnings
from collections.abc import Sequence
from typing import cast

from evo.algorithms.generational import GenerationalConfig
from evo.build import Plan
from evo.evolution import Run, evolve
from evo.operators.selection.base import Selection
from evo.operators.variation import Variation
from evo.recorder import Recorder
from evo.records import RunStarted, Summary
from evo.report.page import write_report
from evo.tracking.base import Tracker
from evo.tracking.console import ConsoleTracker
from evo.tracking.fanout import Trackers
from evo.tracking.wandb import WandbConfig
from finetune.methods.base import Method
from fitness.adapter import initial_adapter
from fitness.engines.config import PopulationEngineConfig
from fitness.environments.base import EnvironmentConfig
from fitness.model import ModelConfig
from fitness.objectives import Objective


def launch(plan: Plan) -> Summary:
    """Run a plan to its end; its folder is there, empty and writable.

    Raises:
        ForagerError: something that the plan names cannot be had; nothing has been decided yet then.
    """
    _quieten()
    run = _seat(plan)
    config = plan.config
    with run.engine.model.for_a_run(), run.trackers as trackers:
        trackers.on_start(
            RunStarted(
                run=run.name,
                folder=run.folder,
                environment=run.environment.env_id,
                seed=run.seed,
                generations=run.generations,
                population=config.population,
                config=plan.yaml,
            )
        )
        summary = evolve(run)
        write_report(run.folder)
    return summary


def _seat(plan: Plan) -> Run:
    """Make every part of the run."""
    config = plan.config
    environment, model = cast(EnvironmentConfig, config.environment), cast(ModelConfig, config.model)
    env = environment.make(1)
    engine = cast(PopulationEngineConfig, config.engine).build(model, env)
    spec = engine.model.lora_spec(config.adapter.rank, config.adapter.alpha)
    algorithm = cast(GenerationalConfig, config.algorithm).build(
        env.grammar,
        initial_adapter(spec, config.seed),
        cast(Selection, config.selection),
        cast(Variation, config.variation),
    )
    recorder = Recorder(
        plan.folder, run=plan.folder.name, environment=environment, base_model=model.name, config=plan.yaml
    )
    return Run(
        name=plan.folder.name,
        folder=plan.folder,
        seed=config.seed,
        generations=config.generations,
        episodes=config.episodes,
        finals=config.finals,
        heldout=config.heldout,
        temperature=config.temperature,
        environment=environment,
        grammar=env.grammar,
        causes=env.causes,
        engine=engine,
        objective=cast(Objective, config.objective),
        algorithm=algorithm,
        method=cast(Method | None, config.finetune),
        recorder=recorder,
        trackers=Trackers(_trackers(config.tracking.values())),
    )


def _trackers(configured: Sequence[object] | object) -> list[Tracker]:
    """Return the console and every tracker that the configuration names."""
    return [ConsoleTracker(), *(cast(WandbConfig, one).build() for one in cast(Sequence[object], configured) if one)]


def _quieten() -> None:
    """Keep third parties' notes out of the console."""
    warnings.filterwarnings("ignore", module="transformers")
    logging.getLogger("transformers").setLevel(logging.ERROR)
