"""Loads what a report shows from a run's folder, also of a run that was cut off.

Owns the way back from the files to the records of evo/records.py. Does not own how the files look
(fitness/telemetry.py) or what is shown. To show another file of a run, load it into a field of `RunFolder`.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from evo.records import GenerationRecord, GenomeRow, Seconds, Summary
from evo.report.bands import Bands, spread
from fitness.errors import OutputError
from fitness.gallery import Gallery, read_gallery
from fitness.telemetry import read_table, table_path


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """What there is of a run; a part that is not there yet is empty."""

    name: str
    """The run's name."""
    generations: tuple[GenerationRecord, ...]
    """In order."""
    genomes: tuple[GenomeRow, ...]
    """Every genome in every generation that it lived in, in order."""
    summary: Summary | None
    """None until the run has come to its end."""
    seconds: Seconds | None
    """None until the run has come to its end."""
    config: str
    """config.yaml as text."""
    manifest: str
    """manifest.json as text."""
    lifespans: Bands = field(default_factory=dict)
    """Of the single lives of each generation whose telemetry is there."""
    gallery: Gallery | None = None
    """Lives to be looked at; None until the run has come to its end, or if none could be kept."""


def read_run(folder: Path) -> RunFolder:
    """Load a run's folder.

    Raises:
        OutputError: The folder is not one of a run, or a file in it cannot be read.
    """
    config = folder / "config.yaml"
    if not config.is_file() and not table_path(folder, "generations").is_file():
        raise OutputError(f"run: expected the folder of a run (with config.yaml in it), got {folder}")
    return RunFolder(
        name=folder.resolve().name,
        generations=read_generations(folder),
        genomes=read_genomes(folder),
        summary=read_summary(folder),
        seconds=read_seconds(folder),
        config=_read_text(config),
        manifest=_read_text(folder / "manifest.json"),
        lifespans=_read_lifespans(folder),
        gallery=read_gallery(folder) if table_path(folder, "replays").is_file() else None,
    )


def read_summary(folder: Path) -> Summary | None:
    """Return what a run came to; None while it goes on.

    Raises:
        OutputError: The summary is not what a run writes.
    """
    text = _read_text(folder / "summary.json")
    try:
        return Summary.from_json(text) if text else None
    except OutputError as error:
        raise OutputError(f"{folder}: {error}") from error


def read_generations(folder: Path) -> tuple[GenerationRecord, ...]:
    """Return what happened in each generation that is over, in order.

    Raises:
        OutputError: The table cannot be read.
    """
    return tuple(_to_record(row) for row in _read_rows(folder, "generations"))


def read_genomes(folder: Path) -> tuple[GenomeRow, ...]:
    """Return every genome in every generation that it lived in, in order.

    Raises:
        OutputError: The table cannot be read.
    """
    return tuple(_to_genome(row) for row in _read_rows(folder, "genomes"))


def read_commit(folder: Path) -> str | None:
    """Return the commit that made a run, from its manifest; None if that does not say.

    Raises:
        OutputError: The manifest is not what a run writes.
    """
    commit = _read_manifest(folder).get("commit")
    return None if commit is None else str(commit)


def read_settings(folder: Path) -> dict[str, Any]:
    """Return a run's configuration as plain values; empty if it is not there.

    Raises:
        OutputError: It is no YAML.
    """
    path = folder / "config.yaml"
    try:
        found = yaml.safe_load(_read_text(path))
    except yaml.YAMLError as error:
        raise OutputError(f"{path}: expected the settings of a run, got {' '.join(str(error).split())}") from error
    return found if isinstance(found, dict) else {}


def read_seconds(folder: Path) -> Seconds | None:
    """Return how long a run took, from its manifest; None while it goes on.

    Raises:
        OutputError: The manifest is not what a run writes.
    """
    found = _read_manifest(folder).get("seconds")
    try:
        return None if found is None else Seconds(wall=float(found["wall"]), model=float(found["model"]))
    except (ValueError, KeyError, TypeError) as error:
        raise _no_manifest(folder, error) from error


def _read_manifest(folder: Path) -> dict[str, Any]:
    text = _read_text(folder / "manifest.json")
    try:
        return dict(json.loads(text)) if text else {}
    except (ValueError, TypeError) as error:
        raise _no_manifest(folder, error) from error


def _no_manifest(folder: Path, error: Exception) -> OutputError:
    return OutputError(f"{folder / 'manifest.json'}: expected the manifest of a run, got {error}")


def _read_rows(folder: Path, name: str) -> list[dict[str, Any]]:
    if not table_path(folder, name).is_file():
        return []
    rows: list[dict[str, Any]] = read_table(folder, name).drop_columns(["run"]).to_pylist()
    return rows


def _read_lifespans(folder: Path) -> Bands:
    columns = ["generation", "length", "end"]
    try:
        table = read_table(folder, "episodes", columns=columns)
    except OutputError:  # telemetry may be forgotten, and a band is no reason to have no page
        return {}
    generations, lengths, ends = (table[name].to_pylist() for name in columns)
    lived = zip(generations, lengths, ends, strict=True)
    return spread((generation, length) for generation, length, end in lived if end != "failed")


def _to_record(row: dict[str, Any]) -> GenerationRecord:
    return GenerationRecord(**{**row, "deaths": tuple(row["deaths"]), "refusals": tuple(row["refusals"])})


def _to_genome(row: dict[str, Any]) -> GenomeRow:
    values = {("id" if name == "genome" else name): value for name, value in row.items()}
    return GenomeRow(**{**values, "parents": tuple(values["parents"])})


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"{path}: expected a text file that can be read, got {error}") from error
