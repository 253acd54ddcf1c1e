"""From a checked plan to a run: loads the model, seats everything together and breeds, or goes on breeding.

Owns the order in which a run's parts come to life: all that can be refused is refused before the first decision.
"""

import logging
import secrets
import shlex
import warnings
from collections.abc import Sequence
from contextlib import closing
from typing import cast

from evo.adapters import KeptAdapters
from evo.algorithms.base import Algorithm
from evo.algorithms.setting import PopulationConfig
from evo.build import Plan
from evo.checkpoint import Checkpoint, Checkpoints
from evo.config import RunConfig
from evo.evolution import Run, evolve
from evo.genome import Genome
from evo.operators.selection.base import Selection
from evo.operators.strategy.author import Author
from evo.operators.strategy.written import Reflection
from evo.operators.variation import Support, Variation
from evo.outputs import has_records, working_in
from evo.racing import Racing
from evo.recorder import Recorder
from evo.records import RunStarted, Summary
from evo.report.page import write_report
from evo.screening import Screen, ValueScreen
from evo.senses import Senses
from evo.start import founders_adapter
from evo.stopping import stopping
from evo.tracking.base import Tracker
from evo.tracking.console import ConsoleTracker
from evo.tracking.fanout import Trackers
from evo.tracking.wandb import WandbConfig
from finetune.methods.base import Method
from fitness.adapter import Adapter
from fitness.behaviour import behaviour_names
from fitness.engines.config import PopulationEngineConfig
from fitness.engines.population import PopulationEngine
from fitness.environments.base import EnvironmentConfig
from fitness.environments.grammar import Grammar
from fitness.errors import ConfigError, ForagerError, StrategyError
from fitness.files import discard_drafts
from fitness.model import ModelConfig
from fitness.objectives import Objective

_log = logging.getLogger(__name__)


def launch(plan: Plan) -> Summary:
    """Run a plan to its end, from its last checkpoint if there is one; its folder is this run's own.

    Raises:
        ForagerError: something that the plan names cannot be had, or another process works on the run; nothing has
            been decided yet then.
        StoppedError: a signal ended the run. It, and what ends a run that had begun, has a note that says how to go on.
    """
    _quieten()
    began = False
    try:
        with working_in(plan.folder), stopping() as stop:
            discard_drafts(plan.folder)
            adapters = KeptAdapters(plan.folder, cast(ModelConfig, plan.config.model).name)
            checkpoints = Checkpoints(plan.folder, adapters, plan.fingerprint)
            since = checkpoints.last()
            checkpoints.prune()
            if since is None and has_records(plan.folder):
                _log.warning("%s: there is no checkpoint, so the run begins again with generation 0", plan.folder)
            run = _seat(plan, checkpoints, adapters, since)
            with closing(run.engine), run.engine.model.for_a_run(), run.trackers as trackers:
                trackers.on_start(_started(plan, run, since))
                began = True
                summary = evolve(run, since, stop)
                write_report(run.folder)
    except (Exception, KeyboardInterrupt) as error:
        if (began or not isinstance(error, ForagerError)) and has_records(plan.folder):
            error.add_note(f"what was recorded is kept; go on with: forager resume {shlex.quote(str(plan.folder))}")
        raise
    return summary


def _started(plan: Plan, run: Run, since: Checkpoint | None) -> RunStarted:
    """Return what trackers are told first."""
    return RunStarted(
        run=run.name,
        folder=run.folder,
        environment=run.environment.env_id,
        seed=run.seed,
        generations=run.generations,
        population=plan.config.population,
        config=plan.yaml,
        identity=run.identity,
        over=since.generation if since else 0,
    )


def _seat(plan: Plan, checkpoints: Checkpoints, adapters: KeptAdapters, since: Checkpoint | None) -> Run:
    """Make every part of the run."""
    config = plan.config
    environment, model = cast(EnvironmentConfig, config.environment), cast(ModelConfig, config.model)
    env = environment.make(1)
    engine = cast(PopulationEngineConfig, config.engine).build(model, env)
    author = Author(engine)
    spec = engine.model.lora_spec(config.adapter.rank, config.adapter.alpha)
    name = since.name if since else plan.folder.resolve().name
    recorder = _recorder(plan, name, adapters, since)
    screen = _screen(config, engine, env.grammar)
    initial = founders_adapter(config.adapter, spec, config.seed, plan.folder, model.name)
    algorithm = cast(PopulationConfig, config.algorithm).build(
        env.grammar,
        initial,
        cast(Selection, config.selection),
        cast(Variation, config.variation),
        behaviour_names(env.action_names),
        Support(
            author=author,
            sense=Senses(engine, environment, config.temperature),
            is_known=None if config.copies else recorder.knows,
            screen=screen,
        ),
    )
    _check_parents(config, algorithm)
    return Run(
        name=name,
        identity=since.identity if since else secrets.token_hex(4),
        folder=plan.folder,
        seed=config.seed,
        generations=config.generations,
        budget=config.budget,
        episodes=config.episodes,
        finals=config.finals,
        heldout=config.heldout,
        baseline=_baseline(config, env.grammar, initial),
        temperature=config.temperature,
        copies=config.copies,
        racing=cast(Racing | None, config.racing),
        retries=config.retries,
        lookback=config.lookback,
        environment=environment,
        grammar=env.grammar,
        actions=tuple(env.action_names),
        causes=env.causes,
        engine=engine,
        objective=cast(Objective, config.objective),
        algorithm=algorithm,
        method=cast(Method | None, config.finetune),
        reflection=cast(Reflection | None, config.reflection),
        author=author,
        screen=screen,
        recorder=recorder,
        checkpoints=checkpoints,
        trackers=Trackers(_trackers(config.tracking.values())),
    )


def _baseline(config: RunConfig, grammar: Grammar, initial: Adapter) -> Genome | None:
    """Return what the best genome's parts are measured beside, if they are to be."""
    if config.split is None:
        return None
    try:
        genes = grammar.parse(config.split)
    except StrategyError as error:
        raise ConfigError(f"split: {error}") from error
    return Genome(id=0, genes=genes, adapter=initial, step_sizes=cast(Variation, config.variation).founder_steps)


def _recorder(plan: Plan, name: str, adapters: KeptAdapters, since: Checkpoint | None) -> Recorder:
    """Return what writes the run called `name`."""
    return Recorder(
        plan.folder,
        run=name,
        environment=cast(EnvironmentConfig, plan.config.environment),
        adapters=adapters,
        over=since.generation if since else 0,
        retention=plan.config.retention,
    )


def _screen(config: RunConfig, engine: PopulationEngine, grammar: Grammar) -> Screen | None:
    """Return what says which of the newborn live, if anything does."""
    screening, method = cast(ValueScreen | None, config.screening), cast(Method | None, config.finetune)
    spoken = method.spoken if method else ""
    return (
        screening.screening(engine, lambda one: one.express(grammar, config.temperature, spoken)) if screening else None
    )


def _check_parents(config: RunConfig, algorithm: Algorithm) -> None:
    """Refuse what needs parents and children beside an algorithm that makes every genome itself."""
    asking = [name for name in ("reflection", "screening") if getattr(config, name) is not None]
    if asking and not algorithm.adopts:
        raise ConfigError(
            f"{asking[0]}: expected null beside {type(config.algorithm).__name__}, which breeds and adopts nobody, "
            f"got {type(getattr(config, asking[0])).__name__}"
        )


def _trackers(configured: Sequence[object] | object) -> list[Tracker]:
    """Return the console and every tracker that the configuration names."""
    return [ConsoleTracker(), *(cast(WandbConfig, one).build() for one in cast(Sequence[object], configured) if one)]


def _quieten() -> None:
    """Keep third parties' notes out of the console, and their complaints about their own log files (a full disk)."""
    logging.raiseExceptions = False
    warnings.filterwarnings("ignore", module="transformers")
    logging.getLogger("transformers").setLevel(logging.ERROR)
