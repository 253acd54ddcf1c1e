"""Tables come back as they were written, and nothing half-written or foreign is read."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitness.errors import OutputError
from fitness.recall import read_transitions
from fitness.records import Answers, Episodes, Transitions
from fitness.telemetry import (
    SCHEMA_VERSION,
    SCHEMAS,
    VERSION_KEY,
    GrowingTable,
    Source,
    read_table,
    table_path,
    write_episodes,
    write_transitions,
)

ACTIONS = ("north", "eat", "drink")
VITALS = ("energy", "water")


def _source(generation: int) -> Source:
    return Source(run="r", generation=generation, environment="forage", environment_version="1")


def _transitions(rows: int) -> Transitions:
    return Transitions(
        agent=np.full(rows, 7),
        seed=np.full(rows, 3),
        step=np.arange(rows, dtype=np.int32),
        observation=np.array([f"berry {row}" for row in range(rows)], object),
        action=np.array([row % 3 for row in range(rows)], np.int16),
        log_probability=np.full(rows, -0.5, np.float32),
        reward=np.ones(rows, np.float32),
        vitals=np.arange(2 * rows, dtype=np.float32).reshape(rows, 2),
        alive=np.array([row < rows - 1 for row in range(rows)], bool),
        prompt_tokens=np.full(rows, 90, np.int32),
    )


def _episodes() -> Episodes:
    return Episodes(
        agent=np.array([7, 8, 9]),
        seed=np.array([3, 3, 3]),
        length=np.array([4, 96, 0], np.int32),
        end=np.array(["died", "outlived", "failed"], object),
        cause=np.array(["wolf", "", ""], object),
        error=np.array(["", "", "EngineError: no answer"], object),
    )


def _write(folder: Path, generation: int, rows: int = 3) -> Path:
    return write_transitions(folder, _source(generation), _transitions(rows), action_names=ACTIONS, vital_names=VITALS)


def test_transitions_come_back_row_by_row(tmp_path: Path) -> None:
    path = _write(tmp_path, 2)
    assert path == tmp_path / "telemetry" / "transitions" / "generation=0002.parquet"
    rows = read_table(tmp_path, "transitions").to_pylist()
    assert rows[1] == {
        "run": "r",
        "generation": 2,
        "genome": 7,
        "environment": "forage",
        "environment_version": "1",
        "seed": 3,
        "step": 1,
        "observation": "berry 1",
        "action": "eat",
        "log_probability": -0.5,
        "reward": 1.0,
        "vitals": [2.0, 3.0],
        "alive": True,
        "prompt_tokens": 90,
        "answer_tokens": None,
        "answer_log_probabilities": None,
        "readable": None,
    }
    assert [row["alive"] for row in rows] == [True, True, False]


def test_answers_come_back_token_by_token(tmp_path: Path) -> None:
    answers = Answers.of([(17, 4), (0,), (356,)], [(-0.25, -1.5), (-3.0,), (0.0,)], [True, False, True])
    rows = replace(_transitions(3), answers=answers)
    write_transitions(tmp_path, _source(0), rows, action_names=ACTIONS, vital_names=VITALS)
    found = read_table(tmp_path, "transitions")
    assert found.schema.equals(SCHEMAS["transitions"])
    assert found["answer_tokens"].to_pylist() == [[17, 4], [0], [356]]
    assert found["answer_log_probabilities"].to_pylist() == [[-0.25, -1.5], [-3.0], [0.0]]
    assert found["readable"].to_pylist() == [True, False, True]


@pytest.mark.parametrize("rows", [0, 3])
@pytest.mark.parametrize("spoken", [False, True])
def test_decisions_are_read_back_as_they_were(tmp_path: Path, rows: int, spoken: bool) -> None:
    answers = Answers.of([(17, 4), (0,), (356,)], [(-0.25, -1.5), (-3.0,), (0.0,)], [True, False, True])
    wrote = replace(_transitions(rows), answers=answers if spoken and rows else None)
    write_transitions(tmp_path, _source(4), wrote, action_names=ACTIONS, vital_names=VITALS)
    found = read_transitions(tmp_path, 4, ACTIONS)
    for field in fields(wrote):
        before, after = getattr(wrote, field.name), getattr(found, field.name)
        if field.name == "answers" and before is not None:
            assert [part.tolist() for part in vars(after).values()] == [part.tolist() for part in vars(before).values()]
        elif field.name != "answers":
            assert after.dtype == before.dtype, field.name
            np.testing.assert_array_equal(after, before)
        else:
            assert after is None
    with pytest.raises(OutputError, match="expected"):
        read_transitions(tmp_path, 4, ACTIONS[::-1])


def test_the_file_says_its_version_and_what_its_numbers_mean(tmp_path: Path) -> None:
    schema = pq.read_schema(_write(tmp_path, 0))
    assert schema.equals(SCHEMAS["transitions"])
    assert schema.metadata[VERSION_KEY] == str(SCHEMA_VERSION).encode()
    assert json.loads(schema.metadata[b"forager.vitals"]) == list(VITALS)
    assert json.loads(schema.metadata[b"forager.actions"]) == list(ACTIONS)
    assert read_table(tmp_path, "transitions").schema.metadata == schema.metadata


def test_observations_are_compressed_without_a_dictionary(tmp_path: Path) -> None:
    group = pq.ParquetFile(_write(tmp_path, 0)).metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert not any("DICTIONARY" in encoding for encoding in columns["observation"].encodings)
    assert any("DICTIONARY" in encoding for encoding in columns["action"].encodings)
    assert {column.compression for column in columns.values()} == {"ZSTD"}


def test_episodes_keep_the_three_ends_apart(tmp_path: Path) -> None:
    write_episodes(tmp_path, _source(0), _episodes())
    rows = read_table(tmp_path, "episodes", columns=["genome", "length", "end", "cause", "error"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        (7, 4, "died", "wolf", ""),
        (8, 96, "outlived", "", ""),
        (9, 0, "failed", "", "EngineError: no answer"),
    ]


def test_the_folder_of_shards_is_one_table_for_other_readers(tmp_path: Path) -> None:
    for generation in (0, 1):
        _write(tmp_path, generation)
    folder = table_path(tmp_path, "transitions")
    (folder / ".generation=0002.parquet.77.tmp").write_bytes(b"PAR1 torn")
    plain = ds.dataset(folder, format="parquet").to_table()
    hive = ds.dataset(folder, format="parquet", partitioning="hive").to_table()
    glob = pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("*.parquet")))
    for table in (plain, hive, glob):
        assert table.schema.names == SCHEMAS["transitions"].names
        assert table["generation"].to_pylist() == [0, 0, 0, 1, 1, 1]


def test_generations_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for generation in (10_000, 2, 9_999):
        _write(tmp_path, generation, rows=1)
    assert read_table(tmp_path, "transitions")["generation"].to_pylist() == [2, 9_999, 10_000]


def test_a_generation_without_rows_is_a_table(tmp_path: Path) -> None:
    _write(tmp_path, 0, rows=0)
    assert read_table(tmp_path, "transitions").num_rows == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=8))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("run")
    observed = np.array(texts, object)
    rows = _transitions(len(texts))
    changed = Transitions(**{**vars(rows), "observation": observed})
    write_transitions(folder, _source(0), changed, action_names=ACTIONS, vital_names=VITALS)
    assert read_table(folder, "transitions")["observation"].to_pylist() == texts


def test_an_action_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"transitions\.action: expected an index below 2, got 0 to 2"):
        write_transitions(tmp_path, _source(0), _transitions(3), action_names=("north", "eat"), vital_names=VITALS)


def test_vitals_need_their_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"transitions\.vitals: expected 1 columns \(energy\), got 2"):
        write_transitions(tmp_path, _source(0), _transitions(3), action_names=ACTIONS, vital_names=("energy",))


def _genome(generation: int, genome: int) -> dict[str, object]:
    return {
        "generation": generation,
        "genome": genome,
        "parents": (1, 2),
        "operator": "founder",
        "strategy": "eat.",
        "adapter": "ab",
        "fitness": 20.5,
        "count": 8,
        "standard_error": 1.0,
        "score": 0.25,
        "rate": 1.0,
        "beta": 1.0,
    }


def test_a_growing_table_holds_all_generations(tmp_path: Path) -> None:
    table = GrowingTable(tmp_path, "genomes", run="r")
    table.append(0, [_genome(0, 0), _genome(0, 1)])
    path = table.append(1, [_genome(1, 2)])
    assert path == tmp_path / "genomes.parquet"
    rows = read_table(tmp_path, "genomes").to_pylist()
    assert [(row["run"], row["generation"], row["genome"]) for row in rows] == [("r", 0, 0), ("r", 0, 1), ("r", 1, 2)]
    assert rows[2]["parents"] == [1, 2]
    assert pq.read_schema(path).equals(SCHEMAS["genomes"])


def test_a_run_that_goes_on_replaces_the_generations_that_it_lives_again(tmp_path: Path) -> None:
    first = GrowingTable(tmp_path, "genomes", run="r")
    for generation in range(3):
        first.append(generation, [_genome(generation, generation)])
    GrowingTable(tmp_path, "genomes", run="r").append(1, [_genome(1, 50)])
    rows = read_table(tmp_path, "genomes").to_pylist()
    assert [(row["generation"], row["genome"]) for row in rows] == [(0, 0), (1, 50)]


def test_a_row_must_have_the_columns_of_its_table(tmp_path: Path) -> None:
    row = _genome(0, 0)
    row["fitnes"] = row.pop("fitness")
    with pytest.raises(ValueError, match=r"differs in \['fitnes', 'fitness'\]"):
        GrowingTable(tmp_path, "genomes", run="r").append(0, [row])
    assert not (tmp_path / "genomes.parquet").exists()


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"episodes: expected a table at .*episodes, found none"):
        read_table(tmp_path, "episodes")
    with pytest.raises(OutputError, match=r"genomes: expected a table at .*genomes\.parquet, found none"):
        read_table(tmp_path, "genomes")


def test_an_unknown_table_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"table: expected one of .*, got 'genome' \(did you mean 'genomes'\?\)"):
        read_table(tmp_path, "genome")


@pytest.mark.parametrize(("version", "told"), [(b"3", "got 3"), (b"5", "got 5"), (b"x", "got x"), (None, "got none")])
def test_a_file_of_another_version_is_refused(tmp_path: Path, version: bytes | None, told: str) -> None:
    path = write_episodes(tmp_path, _source(0), _episodes())
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({VERSION_KEY: version} if version else {}), path)
    with pytest.raises(OutputError, match=rf"generation=0000\.parquet: expected schema version 4, {told}"):
        read_table(tmp_path, "episodes")


@pytest.mark.fault("a shard of telemetry is corrupt", "whoever reads it gets an error that names the file")
def test_a_torn_file_is_named(tmp_path: Path) -> None:
    path = write_episodes(tmp_path, _source(0), _episodes())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(OutputError, match=r"generation=0000\.parquet: expected a whole Parquet file"):
        read_table(tmp_path, "episodes")


def test_a_column_whose_name_is_no_text_is_named(tmp_path: Path) -> None:
    path = write_episodes(tmp_path, _source(0), _episodes())
    path.write_bytes(path.read_bytes().replace(b"cause", b"\x80ause"))
    with pytest.raises(OutputError, match=r"generation=0000\.parquet: expected a whole Parquet file"):
        read_table(tmp_path, "episodes")


@pytest.mark.fault("a byte of a shard was altered", "whoever reads it gets an error that names the file")
def test_no_altered_byte_is_read(tmp_path: Path) -> None:
    path = _write(tmp_path, 0, rows=40)
    whole, table = path.read_bytes(), read_table(tmp_path, "transitions")
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    page = columns["observation"].data_page_offset
    refused = 0
    for place in range(page, page + columns["observation"].total_compressed_size):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            found = read_table(tmp_path, "transitions")
        except OutputError as error:
            refused += str(error).startswith(f"{path}: expected a whole Parquet file")
        else:
            assert found.equals(table), f"byte {place}"
    assert refused > 40


@pytest.mark.fault("a folder cannot be written", "an error that names the file")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "telemetry"
    blocked.write_text("a file where a folder should be")
    with pytest.raises(OutputError, match="expected a place that can be written"):
        write_episodes(tmp_path, _source(0), _episodes())
