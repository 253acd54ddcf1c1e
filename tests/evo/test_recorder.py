"""What is lost of a run's records is named when the run goes on, and the run goes on."""

from pathlib import Path

import numpy as np
import pytest

from evo.adapters import KeptAdapters
from evo.config import RetentionConfig
from evo.lineage import Lineage
from evo.recorder import Recorder
from fitness.environments.forage.config import ForageConfig
from fitness.records import Transitions
from fitness.telemetry import read_table, table_path, write_transitions
from tests.evo import fake_run
from tests.evo.samples import random_adapter

OVER = 3
NOTHING = Transitions(
    agent=np.zeros(0, np.int64), seed=np.zeros(0, np.int64), step=np.zeros(0, np.int32),
    observation=np.zeros(0, object), action=np.zeros(0, np.int16), log_probability=np.zeros(0, np.float32),
    reward=np.zeros(0, np.float32), vitals=np.zeros((0, 1), np.float32), alive=np.zeros(0, bool),
    prompt_tokens=np.zeros(0, np.int32),
)  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run of which three generations are over."""
    fake_run.write_run(tmp_path, OVER, finished=False)
    for generation in range(OVER):
        write_transitions(tmp_path, fake_run.source(generation), NOTHING, action_names=("eat",), vital_names=("water",))
    Lineage().write(tmp_path / "phylogeny.csv")
    return tmp_path


def go_on(run: Path, **retention: int) -> Recorder:
    return Recorder(
        run, run="fake", environment=ForageConfig(), adapters=KeptAdapters(run, "base"), over=OVER,
        retention=RetentionConfig(**retention),
    )  # fmt: skip


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def test_nothing_is_said_of_a_run_that_is_whole(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    go_on(run)
    assert not caplog.records


@pytest.mark.fault("a table of a run that goes on is missing or torn", "one line names it; the run goes on")
@pytest.mark.parametrize("name", ["genomes", "generations"])
@pytest.mark.parametrize("torn", [True, False])
def test_a_table_that_is_lost_is_named(run: Path, caplog: pytest.LogCaptureFixture, name: str, torn: bool) -> None:
    path = table_path(run, name)
    data = path.read_bytes()
    cut(path) if torn else path.unlink()
    recorder = go_on(run, adapters=1, telemetry=1)
    (said,) = (record.getMessage() for record in caplog.records)
    assert f"({name}.parquet)" in said
    assert said.endswith("the run goes on without")
    assert not path.exists()
    if torn:
        assert path.with_name(f"{name}.parquet.damaged").read_bytes() == data[:-10]
    recorder.forget(set())


def test_a_table_that_lacks_generations_is_named(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    table_path(run, "genomes").unlink()
    go_on(run)._genomes.append(OVER - 1, [{**row.row(), "generation": OVER - 1} for row in fake_run.genomes(0)])
    caplog.clear()
    go_on(run)
    assert "genomes.parquet" in caplog.text


@pytest.mark.fault("shards of telemetry of a run that goes on are missing or torn", "one line names them; it goes on")
def test_shards_that_are_lost_are_named(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    cut(table_path(run, "episodes", 2))
    for generation in range(OVER):
        table_path(run, "transitions", generation).unlink()
    go_on(run)
    (said,) = (record.getMessage() for record in caplog.records)
    lost = [f"telemetry/transitions/generation=000{generation}.parquet" for generation in range(OVER)]
    assert f"({', '.join(lost)} and 1 more)" in said


def test_what_was_not_to_be_kept_is_not_missed(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("episodes", "transitions"):
        table_path(run, name, 0).unlink()
    go_on(run, telemetry=2)
    assert not caplog.records
    go_on(run)
    assert "generation=0000.parquet" in caplog.text


def test_adapters_of_generations_that_nobody_knows_of_any_more_are_kept(run: Path) -> None:
    one = random_adapter(0)
    KeptAdapters(run, "base").keep(one)
    table_path(run, "genomes").unlink()
    recorder = go_on(run, adapters=2)
    recorder._genomes.append(OVER, [{**row.row(), "generation": OVER} for row in fake_run.genomes(0)])
    recorder.forget(set())
    assert (run / "adapters" / one.digest()).exists()
    recorder._genomes.append(OVER + 1, [{**row.row(), "generation": OVER + 1} for row in fake_run.genomes(0)])
    recorder.forget(set())
    assert not (run / "adapters" / one.digest()).exists()
    assert set(read_table(run, "genomes")["generation"].to_pylist()) == {OVER, OVER + 1}
