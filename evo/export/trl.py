"""Writes the folder that TRL trains on: `forager export RUN --format trl`.

Owns which genomes are exported and which files there are. Does not own the choice of lives (`lives.py`) or the form of
their rows (`texts.py`). Rows have TRL's own columns (https://huggingface.co/docs/trl/dataset_formats).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from evo.adapters import read_whole
from evo.build import read_plan
from evo.config import RunConfig
from evo.export.lives import MARGIN, Life, decisions_of, longest, preferences, read_lives
from evo.export.script import DPO_FILE, IDS_FORM, README, SFT_FILE, TEXT_FORM, TRAIN, TRAIN_COMMAND
from evo.export.texts import Row, Rows
from evo.records import GenomeRow
from evo.report.reading import read_run
from finetune.methods.base import Method
from fitness.adapter import Adapter, save_adapter
from fitness.environments.base import EnvironmentConfig
from fitness.errors import AdapterError, ConfigError, OutputError
from fitness.files import write_folder_atomically, write_text_atomically
from fitness.model import ModelConfig, Prompts, load_base_model


@dataclass(frozen=True, kw_only=True)
class Export:
    """What is asked for."""

    run: Path
    """Folder of a run."""
    folder: Path
    """Where to write; new or empty."""
    lives: float = 0.5
    """Share of the recorded lives that `sft.jsonl` is made of, longest first; above 0, at most 1."""
    genome: int | None = None
    """Whose adapter and lives; None: the best genome's adapter, its lives, and those of the last generation's best."""

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        if not 0 < self.lives <= 1:
            raise ConfigError(f"lives: expected a share above 0 and at most 1, given {self.lives}")


def export_trl(asked: Export) -> str:
    """Write the folder, whole or not at all, and return what is in it in one line.

    Raises:
        OutputError: the run lacks what is asked for, or the folder is taken or cannot be written.
        ConfigError: the run's configuration cannot be read.
        ModelError: the base model, whose tokenizer is needed, cannot be loaded.
    """
    folder = asked.folder
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise OutputError(f"to: expected a new or empty folder, given {str(folder)!r}, which is there already")
    config = read_plan(asked.run).config
    genomes = _genomes(asked, config)
    adapter = _adapter(asked.run, genomes[0])
    own, others = read_lives(asked.run, [genome.id for genome in genomes])
    chosen = longest(own, asked.lives)
    spoken = cast(Method, config.finetune).spoken if config.finetune else ""
    rows = Rows(_prompts(config), {genome.id: genome.strategy + spoken for genome in genomes})
    sft = rows.completions([decision for life in chosen for decision in decisions_of(life)])
    dpo = rows.preferences(preferences(own, others))
    model = cast(ModelConfig, config.model)
    readme = _readme(asked, genomes, chosen, (sft, dpo), adapter, model)

    def write(draft: Path) -> None:
        save_adapter(adapter, draft / "adapter", model.name)
        for name, content in (("sft", sft), ("dpo", dpo)):
            if content:
                write_text_atomically(draft / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in content))
        write_text_atomically(draft / "train.py", TRAIN)
        write_text_atomically(draft / "README.md", readme)

    write_folder_atomically(folder, write)
    return f"{folder}: {len(sft)} decisions of {len(chosen)} lives, {len(dpo)} pairs, adapter of genome {genomes[0].id}"


def _genomes(asked: Export, config: RunConfig) -> list[GenomeRow]:
    """Return the genome whose adapter is exported, then the others whose lives are."""
    rows = read_run(asked.run).genomes
    latest = {row.id: row for row in rows}
    if asked.genome is not None:
        if asked.genome not in latest:
            raise OutputError(f"genome: expected one of the run's {len(latest)} genomes, given {asked.genome}")
        return [latest[asked.genome]]
    best = _best(asked.run)
    if best not in latest:
        raise OutputError(f"{asked.run}: expected a row of the best genome, {best}, in genomes.parquet, got none")
    last = max(row.generation for row in rows)
    peers = sorted((row for row in rows if row.generation == last and row.id != best), key=lambda row: -row.fitness)
    return [latest[best], *peers[: config.elites]]


def _best(run: Path) -> int:
    """Return the id in best.json, which a run writes at its end."""
    try:
        return int(json.loads((run / "best.json").read_text(encoding="utf-8"))["genome"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{run}: expected a run that has come to its end, with best.json (or choose with --genome ID), got {error}"
        ) from error


def _adapter(run: Path, genome: GenomeRow) -> Adapter:
    """Return a genome's adapter, which a run keeps of survivors."""
    try:
        return read_whole(run / "adapters" / genome.adapter, genome.adapter)
    except AdapterError as error:
        raise OutputError(
            f"genome: expected one that survived a generation, so that its adapter is kept, given {genome.id}: {error}"
        ) from error


def _prompts(config: RunConfig) -> Prompts:
    """Return how the run's agents read; the model is needed for its tokenizer, wherever the run had it."""
    env = cast(EnvironmentConfig, config.environment).make(1)
    base = load_base_model(replace(cast(ModelConfig, config.model), device="cpu"))
    return Prompts.of(base, env.action_names, env.manual)


def _readme(
    asked: Export,
    genomes: Sequence[GenomeRow],
    lives: Sequence[Life],
    files: tuple[Sequence[Row], Sequence[Row]],
    adapter: Adapter,
    model: ModelConfig,
) -> str:
    """Return the README of the folder."""
    sft, dpo = files
    counts: dict[str, Any] = {"decisions": len(sft), "lives": len(lives), "pairs": len(dpo), "margin": MARGIN}
    told = SFT_FILE + (DPO_FILE if dpo else "")
    organism = model.name == "organism"
    where = ' (`python -c "from fitness.organism import FOLDER; print(FOLDER)"`)' if organism else f" ({model.name})"
    return README.format(
        run=asked.run.resolve().name,
        genome=genomes[0].id,
        model=model.name,
        files=told.format(genomes=", ".join(str(genome.id) for genome in genomes), **counts),
        form=TEXT_FORM if all("prompt" in row for row in (*sft[:1], *dpo[:1])) else IDS_FORM,
        manual="manual, " if model.manual else "",
        train="".join(TRAIN_COMMAND.format(method=name) for name in (("sft", "dpo") if dpo else ("sft",))),
        organism=where,
        overrides="" if organism else f"model=hub model.name={model.name} ",
        rank=adapter.spec.rank,
        alpha=adapter.spec.alpha,
    )
