"""The tables of a run on disk: typed, versioned Parquet that is never seen by half.

Owns the schemas and their version, where each table lies in a run's folder, and the reader that everything which looks
back at a run goes through. Does not know genomes: `genomes` and `generations` come in as plain rows. Three kinds:

* sharded tables (`transitions`, `episodes`): `telemetry/<table>/generation=0000.parquet`, one file per generation.
  `generation` is a column inside the file as well, so a glob over the folder is a whole table in any Parquet reader.
* growing tables (`genomes`, `generations`): one small file at the root of the run, rewritten whole each generation.
* `replays`: one file at the root, written at the end of a run (fitness/gallery.py).

Every page carries a checksum, which is looked at when it is read: a shard that was altered is refused by name.
To add a column, add it to its schema and to the writer below and raise `SCHEMA_VERSION`; a reader refuses other files.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fitness.errors import OutputError, nearest
from fitness.files import write_atomically
from fitness.records import Answers, Episodes, Transitions

SCHEMA_VERSION = 4
"""Raised by every change of a schema that a reader could notice."""
VERSION_KEY = b"forager.schema_version"
ACTIONS_KEY = b"forager.actions"
VITALS_KEY = b"forager.vitals"

_FLOATS = pa.list_(pa.field("element", pa.float32()))
_TOKENS = pa.list_(pa.field("element", pa.int32()))
_IDS = pa.list_(pa.field("element", pa.int64()))

SCHEMAS: dict[str, pa.Schema] = {
    "transitions": pa.schema(
        [
            ("run", pa.string()),
            ("generation", pa.int32()),
            ("genome", pa.int64()),
            ("environment", pa.string()),
            ("environment_version", pa.string()),
            ("seed", pa.int64()),
            ("step", pa.int32()),
            ("observation", pa.string()),
            ("action", pa.string()),
            ("log_probability", pa.float32()),
            ("reward", pa.float32()),
            ("vitals", _FLOATS),
            ("alive", pa.bool_()),
            ("prompt_tokens", pa.int32()),
            ("answer_tokens", _TOKENS),
            ("answer_log_probabilities", _FLOATS),
            ("readable", pa.bool_()),
        ]
    ),
    "episodes": pa.schema(
        [
            ("run", pa.string()),
            ("generation", pa.int32()),
            ("genome", pa.int64()),
            ("environment", pa.string()),
            ("environment_version", pa.string()),
            ("seed", pa.int64()),
            ("length", pa.int32()),
            ("end", pa.string()),
            ("cause", pa.string()),
            ("error", pa.string()),
        ]
    ),
    "genomes": pa.schema(
        [
            ("run", pa.string()),
            ("generation", pa.int32()),
            ("genome", pa.int64()),
            ("parents", _IDS),
            ("operator", pa.string()),
            ("strategy", pa.string()),
            ("adapter", pa.string()),
            ("fitness", pa.float64()),
            ("count", pa.int64()),
            ("standard_error", pa.float64()),
            ("score", pa.float64()),
            ("rate", pa.float64()),
            ("beta", pa.float64()),
        ]
    ),
    "replays": pa.schema(
        [
            ("run", pa.string()),
            ("generation", pa.int32()),
            ("title", pa.string()),
            ("genome", pa.int64()),
            ("environment", pa.string()),
            ("environment_version", pa.string()),
            ("seed", pa.int64()),
            ("end", pa.string()),
            ("cause", pa.string()),
            ("step", pa.int32()),
            ("observation", pa.string()),
            ("action", pa.string()),
            ("probabilities", _FLOATS),
            ("vitals", _FLOATS),
            ("picture", pa.string()),
        ]
    ),
    "verdicts": pa.schema(
        [
            ("run", pa.string()),
            ("generation", pa.int32()),
            ("parent", pa.int64()),
            ("child", pa.int64()),
            ("stage", pa.string()),
            ("accepted", pa.bool_()),
            ("reason", pa.string()),
            ("loss", pa.float64()),
            ("kl", pa.float64()),
            ("entropy", pa.float64()),
            ("effective_share", pa.float64()),
            ("kept", pa.float64()),
            ("difference", pa.float64()),
            ("standard_error", pa.float64()),
        ]
    ),
    "faults": pa.schema(
        [
            ("run", pa.string()),
            ("generation", pa.int32()),
            ("reason", pa.string()),
            ("times", pa.int64()),
        ]
    ),
    "generations": pa.schema(
        [
            ("run", pa.string()),
            ("generation", pa.int32()),
            ("generations", pa.int32()),
            ("genomes", pa.int32()),
            ("episodes", pa.int64()),
            ("decisions", pa.int64()),
            ("forward_flops", pa.float64()),
            ("training_flops", pa.float64()),
            ("best", pa.float64()),
            ("median", pa.float64()),
            ("mean", pa.float64()),
            ("best_lifespan", pa.float64()),
            ("mean_lifespan", pa.float64()),
            ("strategy_diversity", pa.float64()),
            ("text_diversity", pa.float64()),
            ("adapter_diversity", pa.float64()),
            ("behaviour_diversity", pa.float64()),
            ("founders", pa.float64()),
            ("ancestor", pa.float64()),
            ("copies", pa.int32()),
            ("screened", pa.int32()),
            ("screen_rank", pa.float64()),
            ("written", pa.int32()),
            ("unusable", pa.int32()),
            ("unreadable", pa.int64()),
            ("deaths", pa.map_(pa.string(), pa.int64())),
            ("ess", pa.float64()),
            ("explained", pa.float64()),
            ("loss", pa.float64()),
            ("kl", pa.float64()),
            ("accepted", pa.int32()),
            ("refused", pa.int32()),
            ("refusals", pa.map_(pa.string(), pa.int64())),
            ("shrunk", pa.int32()),
            ("seconds", pa.float64()),
            ("rollout_seconds", pa.float64()),
            ("finetune_seconds", pa.float64()),
            ("model_seconds", pa.float64()),
        ]
    ),
}
"""Columns of every table, by the table's name."""

_SHARDED = ("transitions", "episodes")
_TORN = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What reading a file raises that is no whole Parquet; the last, for names of columns that are no text."""
# Dictionaries pay for columns with few values; observations hardly repeat and floats never do.
_DICTIONARY = ["run", "generation", "genome", "environment", "environment_version", "seed", "action", "end", "cause"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a shard's rows come from: the columns that are the same in all of them."""

    run: str
    """The run's name."""
    generation: int
    """From 0."""
    environment: str
    """The environment's id."""
    environment_version: str
    """Its version: results of two versions are not comparable."""


def table_path(run_folder: Path, name: str, generation: int | None = None) -> Path:
    """Return where a table lies: a file for a growing table, a folder or (with `generation`) a file for a sharded one.

    Raises:
        OutputError: There is no table of this name.
    """
    if name not in SCHEMAS:
        raise OutputError(f"table: expected one of {', '.join(SCHEMAS)}, got {name!r}{nearest(name, SCHEMAS)}")
    if name not in _SHARDED:
        return run_folder / f"{name}.parquet"
    folder = run_folder / "telemetry" / name
    return folder if generation is None else folder / f"generation={generation:04d}.parquet"


def write_episodes(run_folder: Path, source: Source, episodes: Episodes) -> Path:
    """Write a generation's shard of `episodes` and return its path.

    Raises:
        OutputError: The shard cannot be written.
    """
    columns = {
        "genome": episodes.agent,
        "seed": episodes.seed,
        "length": episodes.length,
        "end": episodes.end,
        "cause": episodes.cause,
        "error": episodes.error,
    }
    return write_rows(run_folder, "episodes", source, columns, {})


def write_transitions(
    run_folder: Path,
    source: Source,
    transitions: Transitions,
    *,
    action_names: Sequence[str],
    vital_names: Sequence[str],
) -> Path:
    """Write a generation's shard of `transitions` and return its path.

    Args:
        run_folder: outputs/<run>/.
        source: The columns that are the same in all rows.
        transitions: m decisions.
        action_names: What each action index means; written as the `action` column, by name.
        vital_names: What each column of `transitions.vitals` means; kept in the file's metadata.

    Raises:
        ValueError: An action has no name, or the vitals do not match their names.
        OutputError: The shard cannot be written.
    """
    columns = {
        "genome": transitions.agent,
        "seed": transitions.seed,
        "step": transitions.step,
        "observation": transitions.observation,
        "action": _name_actions(transitions.action, action_names),
        "log_probability": transitions.log_probability,
        "reward": transitions.reward,
        "vitals": _list_vitals(transitions.vitals, vital_names),
        "alive": transitions.alive,
        "prompt_tokens": transitions.prompt_tokens,
        **_list_answers(transitions.answers),
    }
    names = {ACTIONS_KEY: _to_json(action_names), VITALS_KEY: _to_json(vital_names)}
    return write_rows(run_folder, "transitions", source, columns, names)


def remove_shards(run_folder: Path, before: int) -> None:
    """Remove what was recorded of generations below `before` in the tables that have a file for each."""
    for name in _SHARDED:
        for shard in table_path(run_folder, name).glob("generation=*.parquet"):
            if 0 <= _generation_of(shard)[0] < before:
                shard.unlink(missing_ok=True)


def lost_shards(run_folder: Path, generations: Iterable[int]) -> list[Path]:
    """Return the shards of these generations that are missing or torn; their ends are looked at, not every page."""
    shards = [table_path(run_folder, name, generation) for name in _SHARDED for generation in generations]
    return [shard for shard in shards if not _has_an_end(shard)]


def _has_an_end(path: Path) -> bool:
    try:
        pq.ParquetFile(path).close()
    except _TORN:
        return False
    return True


class GrowingTable:
    """A small table at the root of a run that holds all generations so far.

    Example: `GrowingTable(folder, "genomes", run="x").append(0, [row.row() for row in rows])`
    """

    def __init__(self, run_folder: Path, name: str, *, run: str) -> None:
        """Begin the table, or go on with the one that is there (a run that was interrupted).

        Raises:
            OutputError: A table is there but cannot be read, or the table's name is unknown.
        """
        self._path = table_path(run_folder, name)
        self._schema = _versioned(name, {})
        self._run = run
        self._table = read_table(run_folder, name) if self._path.exists() else self._schema.empty_table()

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._table.num_rows)

    @property
    def path(self) -> Path:
        """Where the table lies."""
        return self._path

    @property
    def generations(self) -> set[int]:
        """Generations that there are rows of."""
        return set(pc.unique(self._table["generation"]).to_pylist())

    @property
    def table(self) -> pa.Table:
        """All rows."""
        return self._table

    def append(self, generation: int, rows: Sequence[Mapping[str, object]]) -> Path:
        """Add a generation's rows, in place of any that are from it or later, and write the file anew.

        Args:
            generation: From 0.
            rows: One mapping per row with every column of the schema except `run`.

        Raises:
            ValueError: A row lacks a column or has one too many.
            OutputError: The file cannot be written.
        """
        kept = self._table.filter(pc.less(self._table["generation"], generation))
        self._table = pa.concat_tables([kept, self._to_table(rows)]).combine_chunks()
        write_atomically(self._path, lambda path: _write_parquet(self._table, path))
        return self._path

    def _to_table(self, rows: Sequence[Mapping[str, object]]) -> pa.Table:
        expected = set(self._schema.names) - {"run"}
        for row in rows:
            if set(row) != expected:
                odd = sorted(expected.symmetric_difference(row))
                raise ValueError(f"{self._path.stem}: expected the columns {sorted(expected)}, differs in {odd}")
        return pa.Table.from_pylist([{"run": self._run, **row} for row in rows], schema=self._schema)


def read_table(
    run_folder: Path, name: str, *, columns: Sequence[str] | None = None, generation: int | None = None
) -> pa.Table:
    """Return a table of a run, all generations in order.

    Args:
        run_folder: outputs/<run>/.
        name: A key of `SCHEMAS`.
        columns: Which columns to read; all if None.
        generation: Of a table with a file for each, the only one to read; all if None.

    Raises:
        OutputError: The table is unknown, missing, unreadable or written by another version of Forager.
    """
    path = table_path(run_folder, name, generation)
    sharded = name in _SHARDED and generation is None
    files = sorted(path.glob("generation=*.parquet"), key=_generation_of) if sharded else [path]
    if not files or not files[0].is_file():
        raise OutputError(f"{name}: expected a table at {path}, found none")
    tables = [_read_parquet(file, columns) for file in files]
    try:
        return pa.concat_tables(tables, promote_options="default")
    except pa.ArrowException as error:
        raise OutputError(f"{path}: expected the same columns in all of its files, got {error}") from error


def _generation_of(shard: Path) -> tuple[int, str]:
    # Numbers, not names: generation=10000 comes after generation=9999.
    digits = shard.stem.removeprefix("generation=")
    return (int(digits) if digits.isdecimal() else -1, shard.name)


def _read_parquet(path: Path, columns: Sequence[str] | None) -> pa.Table:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            _check_version(path, file.schema_arrow.metadata or {})
            return file.read(columns=list(columns) if columns is not None else None)
    except _TORN as error:
        raise OutputError(f"{path}: expected a whole Parquet file, got {error}") from error


def _check_version(path: Path, metadata: Mapping[bytes, bytes]) -> None:
    given = metadata.get(VERSION_KEY, b"none").decode("utf-8", "replace")
    if given != str(SCHEMA_VERSION):
        raise OutputError(f"{path}: expected schema version {SCHEMA_VERSION}, got {given}")


def _name_actions(actions: NDArray[np.int16], names: Sequence[str]) -> pa.Array:
    if len(actions) and not (actions.min() >= 0 and actions.max() < len(names)):
        raise ValueError(
            f"transitions.action: expected an index below {len(names)}, got {actions.min()} to {actions.max()}"
        )
    return pa.array(list(names), pa.string()).take(pa.array(actions))


def _list_vitals(vitals: NDArray[np.float32], names: Sequence[str]) -> pa.Array:
    rows, width = vitals.shape
    if width != len(names):
        raise ValueError(f"transitions.vitals: expected {len(names)} columns ({', '.join(names)}), got {width}")
    flat = pa.array(np.ascontiguousarray(vitals, np.float32).reshape(-1))
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * width)
    return pa.ListArray.from_arrays(offsets, flat, type=_FLOATS)


def _list_answers(answers: Answers | None) -> dict[str, Any]:
    """Return the columns of what was written; nulls, which take no room, where agents chose among names."""
    if answers is None:
        return dict.fromkeys(("answer_tokens", "answer_log_probabilities", "readable"))
    return {
        "answer_tokens": answers.tokens.tolist(),
        "answer_log_probabilities": answers.log_probabilities.tolist(),
        "readable": answers.readable,
    }


def write_rows(
    run_folder: Path, name: str, source: Source, columns: Mapping[str, Any], metadata: Mapping[bytes, bytes]
) -> Path:
    """Write a table, or its shard of `source.generation`, from its columns and return its path.

    Args:
        run_folder: outputs/<run>/.
        name: A key of `SCHEMAS`.
        source: The columns that are the same in all rows.
        columns: All others, `genome` among them.
        metadata: Kept in the file beside the schema's version.

    Raises:
        OutputError: It cannot be written.
    """
    schema = _versioned(name, metadata)
    rows = len(columns["genome"])
    constants = {
        "run": source.run,
        "generation": source.generation,
        "environment": source.environment,
        "environment_version": source.environment_version,
    }
    arrays = {key: pa.repeat(pa.scalar(value, schema.field(key).type), rows) for key, value in constants.items()}
    arrays |= {key: _to_array(values, schema.field(key).type, rows) for key, values in columns.items()}
    table = pa.Table.from_arrays([arrays[key] for key in schema.names], schema=schema)
    path = table_path(run_folder, name, source.generation)
    write_atomically(path, lambda temporary: _write_parquet(table, temporary))
    return path


def _to_array(values: Any, kind: pa.DataType, rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(rows, kind)
    return values if isinstance(values, pa.Array) else pa.array(values, type=kind)


def _write_parquet(table: pa.Table, path: Path) -> None:
    encoded = [name for name in _DICTIONARY if name in table.schema.names]
    pq.write_table(
        table, path, compression="zstd", compression_level=3, use_dictionary=encoded, write_page_checksum=True
    )


def _versioned(name: str, metadata: Mapping[bytes, bytes]) -> pa.Schema:
    return SCHEMAS[name].with_metadata({VERSION_KEY: str(SCHEMA_VERSION).encode(), **metadata})


def _to_json(names: Sequence[str]) -> bytes:
    return json.dumps(list(names)).encode()
