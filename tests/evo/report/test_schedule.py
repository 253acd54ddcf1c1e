"""The replay of how the best genome was trained, from the run's folder alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from evo.records import GenomeRow
from evo.report.schedule import Turn, schedule, told
from fitness.errors import OutputError
from fitness.telemetry import GrowingTable
from tests.evo.fake_run import genomes


def write(folder: Path, settings: str) -> None:
    """Write three generations: 0 is tuned into 2, that bears 4 with habits of its own, and 4 is tuned into 5."""
    base = genomes(0)[0]

    def row(id_: int, parents: tuple[int, ...], operator: str, fitness: float, rate: float, beta: float) -> GenomeRow:
        return replace(base, id=id_, parents=parents, operator=operator, fitness=fitness, rate=rate, beta=beta)

    founder, other = row(0, (), "founder", 1, 1.0, 1.0), row(1, (), "founder", 2, 1.0, 1.0)
    tuned, lesser = row(2, (0,), "finetune", 3, 1.0, 1.0), row(3, (1,), "finetune", 2, 1.0, 1.0)
    child, best = row(4, (2, 3), "crossover+mutation", 4, 2.0, 0.5), row(5, (4,), "finetune", 9, 2.0, 0.5)
    table = GrowingTable(folder, "genomes", run="run")
    for generation, members in enumerate(([founder, other], [founder, tuned, lesser], [tuned, child], [child, best])):
        table.append(generation, [replace(one, generation=generation).row() for one in members])
    (folder / "config.yaml").write_text(settings)


def test_the_schedule_is_that_of_the_best_ones_line(tmp_path: Path) -> None:
    write(tmp_path, "finetune:\n  beta: 0.4\n  trainer:\n    learning_rate: 0.001\n")
    expected = (
        Turn(generation=0, genome=2, learning_rate=0.001, beta=0.4),
        Turn(generation=2, genome=5, learning_rate=0.002, beta=0.2),
    )
    assert schedule(tmp_path) == expected
    assert told(expected).splitlines()[2:] == ["| 0 | 2 | 0.001 | 0.4 |", "| 2 | 5 | 0.002 | 0.2 |"]
    (tmp_path / "best.json").write_text('{"genome": 2}')
    assert schedule(tmp_path) == expected[:1]
    (tmp_path / "config.yaml").write_text("finetune:\n  trainer:\n    learning_rate: 0.001\n")
    assert schedule(tmp_path)[0].beta is None


def test_where_nobody_has_lived_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    with pytest.raises(OutputError, match="expected a run in which somebody has lived, got none"):
        schedule(tmp_path)
