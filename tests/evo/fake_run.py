"""A made-up run, written by the real writers: what trackers and reports are tested on."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from evo.records import Budget, GenerationRecord, GenomeRow, HeldOut, RunStarted, Seconds, Summary
from fitness.files import write_text_atomically
from fitness.gallery import Gallery
from fitness.records import Episodes, Replay, Sign
from fitness.telemetry import GrowingTable, Source, write_episodes

RUN = "fake"
MEMBERS = 16
CAUSES = ("hunger", "thirst", "cold", "poison", "wolf")
CLAUSES = (
    "eat <red> & blue berries",
    "drink when low",
    "flee wolves near",
    "rest by night",
    "go north",
    "stay near water",
)
CONFIG = "environment:\n  id: forage\nalgorithm:\n  population: 16\n"


def started(folder: Path, generations: int = 3) -> RunStarted:
    return RunStarted(
        run=RUN,
        folder=folder,
        environment="forage",
        seed=0,
        generations=generations,
        population=MEMBERS,
        config=CONFIG,
        identity="0123abcd",
    )


SECONDS = Seconds(wall=291.5, model=240.25)


def summary() -> Summary:
    policies = (("random", 0.0, 14.2), ("frozen", 0.213, 33.1), ("evolved", 0.684, 75.0), ("expert", 1.0, 103.0))
    spread = {"random": 0.0, "frozen": 0.03, "evolved": 0.05, "expert": 0.0}
    heldout = tuple(
        (name, HeldOut(score=score, ci=(score - spread[name], score + spread[name]), lifespan=lifespan, episodes=256))
        for name, score, lifespan in policies
    )
    budget = Budget(decisions=1_200_000, forward_flops=3.5e14, training_flops=6e13)
    return Summary(run=RUN, environment="forage", seed=0, heldout=heldout, budget=budget)


def record(generation: int, generations: int = 3, *, finetuned: bool = True) -> GenerationRecord:
    rng = np.random.default_rng(generation)
    progress = 0.7 * (1 - np.exp(-3 * (generation + 1) / max(generations, 2)))
    weights = np.array([4, 3, 2, 3 * (1 - progress), 4 * (1 - progress), 6 * progress])
    counts = rng.multinomial(MEMBERS * 8, weights / weights.sum())
    median = float(progress + 0.02 * rng.normal())
    nan = float("nan")
    full = GenerationRecord(
        generation=generation,
        generations=generations,
        genomes=MEMBERS,
        episodes=MEMBERS * 8,
        decisions=6_000 * (generation + 1),
        forward_flops=2e12 * (generation + 1),
        training_flops=5e11 * generation,
        best=median + 0.12,
        median=median,
        mean=median - 0.02,
        best_lifespan=14 + 90 * (median + 0.12),
        mean_lifespan=14 + 90 * (median - 0.02),
        strategy_diversity=float(0.8 * np.exp(-generation / generations)),
        text_diversity=float(0.4 * np.exp(-generation / generations)),
        adapter_diversity=float(0.01 * (generation + 1) ** 0.5),
        behaviour_diversity=float(0.3 * np.exp(-generation / generations)),
        founders=float(MEMBERS / (generation + 1)),
        ancestor=2.0,
        copies=int(rng.integers(0, 2)),
        screened=4,
        screen_rank=0.125,
        written=0,
        unusable=0,
        unreadable=0,
        deaths=(*zip((*CAUSES, "outlived"), map(int, counts), strict=True), ("failed", 0)),
        ess=float(0.5 + 0.1 * rng.random()),
        explained=0.25,
        loss=float(1.2 - 0.5 * progress),
        kl=float(0.01 + 0.01 * rng.random()),
        accepted=3,
        refused=1,
        refusals=(("not finite", 0), ("exploding", 0), ("drift", 0), ("collapse", 0), ("worse", 1)),
        shrunk=0,
        seconds=6.0 + float(rng.random()),
        rollout_seconds=4.0,
        finetune_seconds=1.5,
        model_seconds=4.8,
    )
    return full if finetuned else replace(full, ess=nan, explained=nan, loss=nan, kl=nan, accepted=0, refused=0)


def genomes(generation: int, before: tuple[GenomeRow, ...] = ()) -> tuple[GenomeRow, ...]:
    """Return a generation: the better half of the one before and a child of each of them."""
    rng = np.random.default_rng([7, generation])
    if not before:
        return tuple(_row(i, (), "founder", _strategy(rng), 20 + 10 * rng.random(), 0) for i in range(MEMBERS))
    parents = sorted(before, key=lambda row: -row.fitness)[: MEMBERS // 2]
    kept = [replace(row, generation=generation, count=row.count + 8) for row in parents]
    first = max(row.id for row in before) + 1
    operators = ("strategy crossover", "adapter mutation", "finetune")
    children = [
        _row(
            first + place,
            (parent.id, parents[place - 1].id) if place % 3 == 0 else (parent.id,),
            operators[place % 3],
            _strategy(rng) if place % 3 == 0 else parent.strategy,
            parent.fitness + 4 * rng.normal() + 1,
            generation,
        )
        for place, parent in enumerate(parents)
    ]
    return (*kept, *children)


def write_run(folder: Path, generations: int = 3, *, finished: bool = True, finetuned: bool = True) -> Path:
    """Write the folder of a run as the real one would, `finished` or cut off after its last generation."""
    write_text_atomically(folder / "config.yaml", CONFIG)
    write_text_atomically(folder / "manifest.json", '{"commit": "0123abc"}\n')
    records = GrowingTable(folder, "generations", run=RUN)
    rows = GrowingTable(folder, "genomes", run=RUN)
    members: tuple[GenomeRow, ...] = ()
    for generation in range(generations):
        members = genomes(generation, members)
        records.append(generation, [record(generation, generations, finetuned=finetuned).row()])
        rows.append(generation, [row.row() for row in members])
        write_episodes(folder, source(generation), episodes(members))
    if finished:
        write_text_atomically(folder / "summary.json", summary().to_json())
    return folder


HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'><!-- ]]> \u2028 &amp;"


def gallery(*, steps: int = 6, signs: bool = True, title: str = "best genome: a typical life") -> Gallery:
    """Return a life in which an agent goes east along a line of cells while its water falls, and a hostile one."""

    def life(name: str, seen: str) -> Replay:
        return Replay(
            title=name,
            agent=0,
            seed=7,
            end="died",
            cause="thirst",
            observation=tuple(f"{seen} {step}" for step in range(steps + 1)),
            action=np.arange(steps, dtype=np.int16) % 2,
            probabilities=np.tile(np.array([[0.75, 0.25]], np.float32), (steps, 1)),
            vitals=np.linspace((1.0, 0.5), (0.0, 0.5), steps + 1).astype(np.float32),
            picture=tuple("." * (step % 9) + "@" + "." * (8 - step % 9) + "\n" + "~" * 9 for step in range(steps + 1))
            if signs
            else ("",) * (steps + 1),
        )

    return Gallery(
        lives=(life(title, "water low here"), life(HOSTILE, HOSTILE)),
        actions=("east", "rest"),
        vitals=("water", "warmth"),
        signs=(Sign("@", "agent"), Sign(".", "ground", "grey"), Sign("~", "pond", "teal")) if signs else (),
    )


def source(generation: int) -> Source:
    return Source(run=RUN, generation=generation, environment="forage", environment_version="1")


def episodes(members: tuple[GenomeRow, ...]) -> Episodes:
    ids = np.array([row.id for row in members], np.int64)
    words = np.array(["died"] * len(ids), object)
    return Episodes(
        agent=ids,
        seed=np.arange(len(ids), dtype=np.int64),
        length=np.full(len(ids), 20, np.int32),
        end=words,
        cause=np.array(["wolf"] * len(ids), object),
        error=np.array([""] * len(ids), object),
    )


def _row(
    identity: int, parents: tuple[int, ...], operator: str, strategy: str, fitness: float, generation: int
) -> GenomeRow:
    return GenomeRow(
        generation=generation,
        id=identity,
        parents=parents,
        operator=operator,
        strategy=strategy,
        adapter=f"{identity:064x}",
        fitness=float(fitness),
        count=8,
        standard_error=2.5,
        score=float((fitness - 14) / 90),
    )


def _strategy(rng: np.random.Generator) -> str:
    return "".join(f"{clause}. " for clause in rng.choice(CLAUSES, 4, replace=False)).strip()
