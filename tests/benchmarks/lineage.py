"""Births recorded a second: a run of 1,000 genomes a generation, observed and written to the disk after each."""

import tempfile
from pathlib import Path

import numpy as np

from evo.genome import Genome, StepSizes
from evo.lineage import Lineage
from fitness.adapter import LoraSpec, initial_adapter
from fitness.environments.forage.config import ForageConfig
from fitness.files import write_atomically
from tests.benchmarks.findings import Finding, faster
from tests.benchmarks.timing import race, timed

POPULATION, SURVIVORS, TARGET = 1000, 250, 50_000


def measure(repeats: int) -> list[Finding]:
    """Measure runs of two lengths, in memory and with the file; all of it is written anew after every generation."""
    return [finding for generations in (10, 100) for finding in _measure(generations, repeats)]


def _measure(generations: int, repeats: int) -> list[Finding]:
    populations = _populations(generations)
    grammar = ForageConfig(horizon=8).make(1).grammar
    births = len({genome.id for population in populations for genome in population})

    def record(path: Path | None) -> None:
        lineage = Lineage()
        for generation, population in enumerate(populations):
            lineage.observe(generation, population, grammar)
            if path:
                lineage.write(path)

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "phylogeny.csv"
        written, limit = "ours, written each generation", "the disk alone"
        rivals = {
            "ours": timed(lambda: record(None)),
            written: timed(lambda: record(path)),
            limit: timed(lambda: _flush(path, generations)),
        }
        seconds = race(rivals, repeats)
    case = f"lineage: {POPULATION} a generation, {generations} generations"
    found = _aim(f"{case}, in memory", births / seconds["ours"])
    both = {written: seconds[written], limit: seconds[limit]}
    on_disk = f"{case}, a file after each"
    return [found, _aim(on_disk, births / seconds[written]), *faster(on_disk, "births/s", births, both, {})]


def _aim(case: str, rate: float) -> Finding:
    return Finding(case=case, unit="births/s", peer="aim", ours=rate, theirs=TARGET, ratio=rate / TARGET, target=1.0)


def _flush(path: Path, generations: int) -> None:
    """Write as many bytes as often, in files that grow as evenly: the disk's own limit."""
    content = path.read_bytes()
    for generation in range(generations):
        write_atomically(path, content[: len(content) * (generation + 1) // generations])


def _populations(generations: int) -> list[list[Genome]]:
    """Return the genomes of each generation: a quarter survives, all others have two parents among them.

    All have one adapter, whose digest is known: in a run the table of genomes has asked for it before.
    """
    rng, grammar = np.random.default_rng(0), ForageConfig(horizon=8).make(1).grammar
    adapter = initial_adapter(LoraSpec(2, 2.0, (("one", 8, 8),)), 0)
    steps = StepSizes(strategy=0.1, adapter=0.1)
    genes = [grammar.random(rng) for _ in range(POPULATION)]
    living = list(range(POPULATION))
    parents: dict[int, tuple[int, ...]] = dict.fromkeys(living, ())
    genomes = {i: Genome(id=i, genes=genes[i], adapter=adapter, step_sizes=steps) for i in living}
    populations = [list(genomes.values())]
    for generation in range(1, generations):
        kept = sorted(rng.choice(living, SURVIVORS, replace=False).tolist())
        first = POPULATION + (generation - 1) * (POPULATION - SURVIVORS)
        children = range(first, first + POPULATION - SURVIVORS)
        for id_ in children:
            parents[id_] = tuple(rng.choice(kept, 2, replace=False).tolist())
            genomes[id_] = Genome(
                id=id_,
                genes=genes[id_ % POPULATION],
                adapter=adapter,
                step_sizes=steps,
                parents=parents[id_],
                operator="crossover+mutation",
                born=generation,
            )
        living = [*kept, *children]
        populations.append([genomes[id_] for id_ in living])
    return populations
