"""The generation loop: live, score, select, fine-tune, record, checkpoint.

Owns the order of things and the streams of chance; each step is one call into the room that does it. Does not own
what is written (`evo.recorder`), what is shown (`evo.tracking`) or how the result is measured (`evo.heldout`).
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from evo.algorithms.base import Algorithm
from evo.algorithms.setting import Behaviours
from evo.budget import Pace
from evo.checkpoint import Checkpoint, Checkpoints
from evo.config import BudgetConfig
from evo.diversity import adapter_diversity, behaviour_diversity, strategy_diversity, text_diversity
from evo.genome import Genome
from evo.heldout import measure, split
from evo.lookback import look_back
from evo.memory import Memory
from evo.operators.strategy.author import Author, together
from evo.operators.strategy.written import Reflection, tell_deaths
from evo.pedigree import common_ancestor_depth, effective_founders
from evo.racing import Racing
from evo.recorder import Recorder
from evo.records import Budget, GenerationRecord, GenomeRow, RunFinished, Seconds, Summary
from evo.replays import choose, keep
from evo.screening import Screen, Screened
from evo.stopping import Stop
from evo.tracking.fanout import Trackers
from evo.trials import Race, Tried, try_out, untested_copies
from evo.verdicts import Verdict, of_training, of_trials, refusals
from finetune.learners import Learner
from finetune.methods.base import Method
from finetune.policies import Cost
from finetune.trainer import Training, tune_each
from fitness.agent import Agent
from fitness.audit import audit
from fitness.behaviour import behaviours
from fitness.engines.population import PopulationEngine
from fitness.environments.base import EnvironmentConfig, Ints
from fitness.environments.grammar import Grammar
from fitness.errors import EngineError
from fitness.objectives import Objective, Yardstick
from fitness.records import Episodes, Fault
from fitness.rollout import Lives, roll_out

_log = logging.getLogger(__name__)
_BREED, _WORLDS, _TUNE, _INTERVALS, _REFLECT, _SPLIT = range(6)
"""Purposes of the run's streams of chance."""
_PROBED, _PROBES = 32, 8
"""Members and observations that tell how differently a population acts, at most."""
_TRAINING_SEEDS = 400_000_000
"""Worlds that select and train have seeds below this; the yardstick's and the held-out ones lie above."""
_YARDSTICK_SEEDS = np.arange(400_000_000, 400_000_512)
_HELDOUT_SEEDS = 500_000_000
_HELDOUT_STRIDE = 100_000
"""Between the held-out seeds of two run seeds."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that a run needs, made and seated."""

    name: str
    identity: str
    """The run's own and no other's."""
    folder: Path
    seed: int
    generations: int
    """At most, if the budget allows."""
    budget: BudgetConfig
    episodes: int
    """Worlds that every genome of a generation lives in."""
    finals: int
    """Times as many in the last generation."""
    heldout: int
    """At least this many held-out episodes for each row of the final table."""
    baseline: Genome | None
    """The model as it is with a prompt that nobody chose, beside which the best genome's parts are measured; None: they
    are not."""
    temperature: float
    """Of every decision."""
    copies: bool
    """Whether a copy of what is known is tested again."""
    racing: Racing | None
    """None: all live in as many worlds."""
    retries: int
    """How often an episode that failed is tried again."""
    lookback: int
    """Generations whose lives the elites are trained on, this one included."""
    environment: EnvironmentConfig
    grammar: Grammar
    actions: tuple[str, ...]
    """Names of what agents of the environment can do."""
    causes: tuple[str, ...]
    """What agents of the environment can die of."""
    engine: PopulationEngine
    objective: Objective
    algorithm: Algorithm
    method: Method | None
    """None: nothing is fine-tuned."""
    reflection: Reflection | None
    """None: nobody's strategy is rewritten in view of its deaths."""
    author: Author
    """Writes for operators that ask for texts."""
    screen: Screen | None
    """None: every child that is bred lives."""
    recorder: Recorder
    checkpoints: Checkpoints
    trackers: Trackers


@dataclass(frozen=True)
class _Generation:
    """What happened in one generation."""

    number: int
    last: bool
    population: Sequence[Genome]
    tried: Tried
    screened: Screened
    training: Training | None
    verdicts: Sequence[Verdict]
    spent: Cost
    """On fine-tuning, since the run began."""


def evolve(run: Run, since: Checkpoint | None = None, stop: Stop | None = None) -> Summary:
    """Breed until generations or budget are spent, measure the result on held-out worlds, and return the summary.

    Args:
        run: all that is needed.
        since: where an interrupted run goes on; the rest is then the same to the last bit.
        stop: told when a generation begins and when its checkpoint is written; what it raises ends the run there.
    """
    stop = stop or Stop()
    began = time.perf_counter()
    before, founders, spent = _begin(run, since)
    memory = Memory(run.recorder.births, since.moments if since else {})
    yardstick = Yardstick.measure(run.environment, _YARDSTICK_SEEDS)
    generation, pace = (since.generation, since.pace) if since else (0, Pace())
    while not pace.ended:
        stop.begin()
        pace = pace.next(_spent(run, spent), run.budget, run.finals, planned=generation == run.generations - 1)
        watch = _Stopwatch(run.engine)
        population = run.algorithm.ask(_rng(run.seed, generation, _BREED))
        founders = founders or tuple(population)
        tried = _live(run, generation, population, last=pace.ended)
        lives = tried.lives
        watch.lap("rollout")
        run.algorithm.tell(tried.lifespans, _behaviours(run, population, tried))
        training, verdicts = (None, []) if pace.ended else _tune_elites(run, generation, lives, memory)
        verdicts = [*of_trials(generation, run.algorithm.judgements), *verdicts]
        if not pace.ended:
            _reflect(run, generation, lives)
        screened = _screen(run, pace, population, lives)
        spent = spent + training.cost if training else spent
        watch.lap("finetune")
        rows = _rows(run, generation, population, yardstick)
        run.recorder.observe(generation, population, run.algorithm.survivors())
        lived = _Generation(generation, pace.ended, population, tried, screened, training, verdicts, spent)
        record = _record(run, lived, yardstick, watch)
        faults = (*lives.faults, *(Fault(reason, 1) for reason in (training.faults if training else ())))
        run.recorder.note(generation, verdicts=verdicts)
        run.recorder.write(record, rows, population, run.algorithm.survivors(), lives, faults)
        run.trackers.on_generation(record, rows)
        worked = before + time.perf_counter() - began
        run.checkpoints.write(_checkpoint(run, lived, pace, founders, worked, memory))
        generation += 1
        run.recorder.forget(run.checkpoints.needed())
        stop.end()
    return _finish(run, generation, founders, spent, lambda: before + time.perf_counter() - began)


def _begin(run: Run, since: Checkpoint | None) -> tuple[float, tuple[Genome, ...], Cost]:
    """Go back to a checkpoint, if there is one; return seconds worked, founders and the cost of training."""
    if since is None:
        return 0.0, (), Cost()
    run.algorithm.restore(since.algorithm)
    run.engine.go_on(since.usage, since.row_chunk)
    if run.screen and since.screen:
        run.screen.restore(since.screen)
    return since.wall_seconds, since.founders, since.training


def _checkpoint(
    run: Run,
    lived: "_Generation",
    pace: Pace,
    founders: tuple[Genome, ...],
    wall_seconds: float,
    memory: Memory,
) -> Checkpoint:
    """Return all that the run needs to go on from here."""
    state = run.algorithm.state()
    memory.prune(state.genomes)
    return Checkpoint(
        generation=lived.number + 1,
        name=run.name,
        identity=run.identity,
        row_chunk=run.engine.row_chunk,
        algorithm=state,
        founders=founders,
        usage=run.engine.usage,
        training=lived.spent,
        moments=memory.moments,
        wall_seconds=wall_seconds,
        screen=run.screen.state() if run.screen else None,
        pace=pace,
    )


def _spent(run: Run, training: Cost) -> Budget:
    """Return what the run has spent so far."""
    usage = run.engine.usage
    return Budget(decisions=usage.decisions, forward_flops=usage.forward_flops, training_flops=training.flops)


def _live(run: Run, generation: int, population: Sequence[Genome], *, last: bool) -> Tried:
    """Let the population live on this generation's worlds, the same for all; copies of what is known need not."""
    evaluations = run.algorithm.evaluations
    copies = {} if run.copies else untested_copies(population, evaluations, run.recorder.known, run.grammar)
    worlds = run.episodes * (run.finals if last else 1)
    race = Race(run.racing, worlds, evaluations) if run.racing else None
    if race:
        worlds = sum(rung.worlds for rung in race.racing.plan(len(population) - len(copies), worlds))
    seeds = _rng(run.seed, generation, _WORLDS).choice(_TRAINING_SEEDS, worlds, replace=False, shuffle=False)

    def live(genomes: Sequence[Genome], seeds: Ints) -> Lives:
        return _roll_out(run, _express(run, genomes), seeds)

    seeds = np.sort(seeds) if race is None else seeds
    tried = try_out(population, copies, seeds, live, run.objective, race)
    _check_failures(generation, tried.lives)
    return tried


def _behaviours(run: Run, population: Sequence[Genome], tried: Tried) -> Behaviours:
    """Return what each member did; a copy, what that did whose copy it is."""
    own = behaviours(tried.lives.transitions, run.actions, [genome.id for genome in population])
    return {**own, **{twin: own[source] for twin, source in tried.copies.items() if source in own}}


def _roll_out(run: Run, agents: Sequence[Agent], seeds: Ints) -> Lives:
    """Let agents live, and check that what is recorded is what they did."""
    lives = roll_out(run.engine, run.environment, agents, seeds, retries=run.retries)
    run.engine.assert_adapters_act()
    audit(run.engine, agents, lives)
    return lives


def _check_failures(generation: int, lives: Lives) -> None:
    """Go on if an episode failed, stop if all have: what is broken then is no single life."""
    reasons = lives.episodes.error[lives.episodes.end == "failed"]
    if len(reasons) == len(lives.episodes):
        raise EngineError(f"generation {generation}: expected lives, got {len(reasons)} that failed ({reasons[0]})")
    if len(reasons):
        _log.warning(
            "generation %d: %d of %d episodes failed (%s)", generation, len(reasons), len(lives.episodes), reasons[0]
        )


def _express(run: Run, genomes: Sequence[Genome]) -> list[Agent]:
    """Return the phenotypes."""
    spoken = run.method.spoken if run.method else ""
    return [genome.express(run.grammar, run.temperature, spoken) for genome in genomes]


def _tune_elites(run: Run, generation: int, lives: Lives, memory: Memory) -> tuple[Training | None, list[Verdict]]:
    """Fine-tune the elites on what the whole population lived; tuned adapters become their children.

    Not for the last generation: no other would be left to test them.
    """
    elites = run.algorithm.elites()
    if run.method is None or not elites:
        return None, []
    learners = [
        Learner(agent=agent, rate=elite.step_sizes.rate, beta=elite.step_sizes.beta, moments=memory.of(elite))
        for elite, agent in zip(elites, _express(run, elites), strict=True)
    ]
    rng = _rng(run.seed, generation, _TUNE)
    lived = look_back(run.folder, generation, run.lookback, lives.transitions, run.actions)
    training = tune_each(run.method, run.engine.model, run.engine.prompts, learners, lived, rng)
    kept = [(elite.id, tuned) for elite, tuned in zip(elites, training.tuned, strict=True) if tuned.accepted]
    pairs = [(parent, run.algorithm.tuned(parent, tuned.adapter)) for parent, tuned in kept]
    run.algorithm.adopt(pairs)
    trained = zip(pairs, kept, strict=True)
    memory.moments |= {child.id: tuned.moments for (_, child), (_, tuned) in trained if tuned.moments}
    return training, of_training(generation, elites, training, {parent: child.id for parent, child in pairs})


def _reflect(run: Run, generation: int, lives: Lives) -> None:
    """Rewrite strategies of the best survivors that are not tuned, in view of how they died; both are tested next."""
    if run.reflection is None:
        return
    tuned = {elite.id for elite in run.algorithm.elites()} if run.method else set()
    parents = [genome for genome in run.algorithm.survivors() if genome.id not in tuned]
    parents = parents[: min(run.reflection.count, run.algorithm.room)]
    rng = _rng(run.seed, generation, _REFLECT)
    stories = [tell_deaths(one.id, lives.episodes, lives.transitions, run.actions) for one in parents]
    drafts = [
        run.reflection.reflecting(one.genes, story, run.grammar, rng)
        for one, story in zip(parents, stories, strict=True)
    ]
    written = zip(parents, together(drafts, run.author), strict=True)
    pairs = [(one.id, run.algorithm.rewritten(one.id, genes)) for one, genes in written if genes != one.genes]
    run.algorithm.adopt(pairs)


def _screen(run: Run, pace: Pace, population: Sequence[Genome], lives: Lives) -> Screened:
    """Return what the screen did to this generation, and have it learn from it for the next."""
    if run.screen is None:
        return Screened()
    if not pace.ended:
        run.screen.learn(population, lives.transitions)
    return run.screen.take()


def _finish(run: Run, over: int, founders: Sequence[Genome], spent: Cost, worked: Callable[[], float]) -> Summary:
    """Measure frozen and evolved on held-out worlds, keep some lives, write the summary and tell the trackers."""
    run.recorder.forget(run.checkpoints.needed())
    budget = _spent(run, spent)
    first = _HELDOUT_SEEDS + _HELDOUT_STRIDE * run.seed
    seeds = np.arange(first, first + math.ceil(run.heldout / len(founders)) * len(founders))
    frozen, (evolved,) = _express(run, founders), _express(run, [run.algorithm.best()])
    rng, live = _rng(run.seed, 0, _INTERVALS), partial(_roll_out, run)
    measured = measure(live, run.environment, frozen, evolved, seeds, rng)
    parts = _parts(run, run.algorithm.best())
    divided, broken = split(live, parts, seeds, measured, _rng(run.seed, 0, _SPLIT)) if parts else ((), ())
    chosen = choose(measured.born, measured.bred, run.causes)
    replays, faults = keep(run.engine, run.environment, [*frozen, evolved], chosen)
    run.recorder.write_replays(over, replays)
    run.recorder.note(over, faults=(*measured.faults, *broken, *faults))
    seconds = Seconds(wall=worked(), model=run.engine.usage.model_seconds + spent.seconds)
    summary = Summary(
        run=run.name,
        environment=run.environment.env_id,
        seed=run.seed,
        heldout=measured.table,
        budget=budget,
        split=divided,
    )
    run.recorder.finish(summary, seconds, run.algorithm.best())
    run.trackers.on_finish(RunFinished(summary=summary, seconds=seconds))
    return summary


def _parts(run: Run, best: Genome) -> dict[str, Agent]:
    """Return the best genome, its prompt alone, its weights alone and neither; nothing if that is not asked for."""
    if run.baseline is None:
        return {}
    genes, adapter = run.baseline.genes, run.baseline.adapter
    parts = {
        "neither": replace(best, genes=genes, adapter=adapter),
        "prompt": replace(best, adapter=adapter),
        "weights": replace(best, genes=genes),
        "both": best,
    }
    return dict(zip(parts, _express(run, list(parts.values())), strict=True))


def _rows(run: Run, generation: int, population: Sequence[Genome], yardstick: Yardstick) -> list[GenomeRow]:
    """Return one row per member of this generation."""
    rows = []
    for genome in population:
        evaluation = run.algorithm.evaluations[genome.id]
        fitness = evaluation.mean if evaluation.count else math.nan
        rows.append(
            GenomeRow(
                generation=generation,
                id=genome.id,
                parents=genome.parents,
                operator=genome.operator,
                strategy=run.grammar.render(genome.genes),
                adapter=genome.adapter.digest(),
                fitness=fitness,
                count=evaluation.count,
                standard_error=evaluation.standard_error,
                score=yardstick.score(fitness),
                rate=genome.step_sizes.rate,
                beta=genome.step_sizes.beta,
            )
        )
    return rows


def _record(run: Run, lived: "_Generation", yardstick: Yardstick, watch: "_Stopwatch") -> GenerationRecord:
    """Sum a generation up; what was not tuned is NaN."""
    population, episodes, training = lived.population, lived.tried.lives.episodes, lived.training
    known = [values[~np.isnan(values)] for values in lived.tried.lifespans.values()]
    means = np.array([values.mean() for values in known if len(values)])
    scores = [yardstick.score(float(mean)) for mean in means]
    tuned = training.tuned if training else ()
    rollout, finetune = watch.seconds["rollout"], watch.seconds["finetune"]
    births, living = run.recorder.births, [genome.id for genome in run.algorithm.survivors()]
    writing = run.author.take()
    return GenerationRecord(
        generation=lived.number,
        generations=lived.number + 1 if lived.last else run.generations,
        genomes=len(population),
        episodes=len(episodes),
        decisions=run.engine.usage.decisions,
        forward_flops=run.engine.usage.forward_flops,
        training_flops=lived.spent.flops,
        best=max(scores),
        median=float(np.median(scores)),
        mean=float(np.mean(scores)),
        best_lifespan=float(means.max()),
        mean_lifespan=float(means.mean()),
        strategy_diversity=strategy_diversity(population),
        text_diversity=text_diversity([run.grammar.render(genome.genes) for genome in population]),
        adapter_diversity=adapter_diversity(population),
        behaviour_diversity=_behaviour_diversity(run, population, lived.tried.lives),
        founders=effective_founders(births, living),
        ancestor=common_ancestor_depth(births, living, lived.number),
        copies=len(lived.tried.copies),
        screened=lived.screened.left_out,
        screen_rank=lived.screened.rank(lived.tried.lifespans),
        written=writing.asked,
        unusable=writing.fallbacks,
        unreadable=_unreadable(lived.tried.lives),
        deaths=_deaths(run, episodes),
        ess=_mean([t.effective_share for t in tuned]),
        explained=training.explained if training else math.nan,
        loss=_mean([t.loss for t in tuned]),
        kl=_mean([t.kl for t in tuned]),
        accepted=sum(j.accepted for j in run.algorithm.judgements),
        refused=sum(not verdict.accepted for verdict in lived.verdicts),
        refusals=refusals(lived.verdicts),
        shrunk=sum(one.kept < 1 for one in tuned),
        seconds=rollout + finetune,
        rollout_seconds=rollout,
        finetune_seconds=finetune,
        model_seconds=watch.model_seconds + (training.cost.seconds if training else 0.0),
    )


def _behaviour_diversity(run: Run, population: Sequence[Genome], lives: Lives) -> float:
    """Return how differently members would act on the same observations, some of those that were met."""
    members = [population[i * len(population) // _PROBED] for i in range(_PROBED)]
    members = list({genome.id: genome for genome in members}.values())
    met = sorted(set(lives.transitions.observation.tolist()))
    probes = [met[i * len(met) // _PROBES] for i in range(_PROBES if met else 0)]
    if not probes:
        return math.nan
    each = [run.engine.decide_again([agent] * len(probes), probes) for agent in _express(run, members)]
    return behaviour_diversity(np.array(each))


def _unreadable(lives: Lives) -> int:
    """Count answers that named no action."""
    answers = lives.transitions.answers
    return 0 if answers is None else int((~answers.readable).sum())


def _deaths(run: Run, episodes: Episodes) -> tuple[tuple[str, int], ...]:
    """Count the ends of episodes: each cause of death, then outlived and failed."""
    said = np.where(episodes.end == "died", episodes.cause, episodes.end)
    return tuple((name, int((said == name).sum())) for name in (*run.causes, "outlived", "failed"))


def _mean(values: Sequence[float]) -> float:
    """Return the mean, NaN of nothing."""
    return float(np.mean(values)) if values else math.nan


def _rng(seed: int, generation: int, purpose: int) -> np.random.Generator:
    """Return the stream of one purpose in one generation."""
    return np.random.default_rng(np.random.SeedSequence((seed, generation, purpose)))


class _Stopwatch:
    """Times the parts of a generation."""

    def __init__(self, engine: PopulationEngine) -> None:
        self._engine, self._began = engine, time.perf_counter()
        self._model_began = engine.usage.model_seconds
        self.seconds: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """End the part `name`."""
        now = time.perf_counter()
        self.seconds[name], self._began = now - self._began, now

    @property
    def model_seconds(self) -> float:
        """Seconds that the engine has spent inside the model since the start."""
        return self._engine.usage.model_seconds - self._model_began
