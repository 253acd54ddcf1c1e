"""Writes a run's folder: everything that the run leaves behind but the trackers' own files.

Owns which file is written when. Every file is whole or absent (`fitness.files`); a generation is on disk before the
next begins. Does not own the tables' columns (`fitness.telemetry`) or the adapters' format (`fitness.adapter`).
"""

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence, Set
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pyarrow.compute as pc

from evo.config import RetentionConfig
from evo.genome import Genome
from evo.lineage import Lineage
from evo.records import GenerationRecord, GenomeRow, Seconds, Summary
from fitness.adapter import Adapter, save_adapter
from fitness.environments.base import EnvironmentConfig, TextVectorEnv
from fitness.environments.grammar import Grammar
from fitness.files import write_atomically, write_folder_atomically
from fitness.records import Fault
from fitness.rollout import Lives
from fitness.telemetry import GrowingTable, Source, remove_shards, write_episodes, write_transitions

_PHYLOGENY = "phylogeny.csv"
_PACKAGES = (
    "forager-evo",
    "torch",
    "transformers",
    "peft",
    "numpy",
    "deap",
    "gymnasium",
    "pyarrow",
    "wandb",
    "hydra-core",
)


class Recorder:
    """The writing side of `outputs/<run>/`."""

    def __init__(
        self,
        folder: Path,
        *,
        run: str,
        environment: EnvironmentConfig,
        base_model: str,
        over: int,
        retention: RetentionConfig,
    ) -> None:
        """Write the manifest, and begin the tables or go on with those that are there.

        Args:
            folder: this run's own, with its config.yaml in it.
            run: the run's name.
            environment: whose texts and actions are recorded.
            base_model: what PEFT is to load under the adapters.
            over: generations that are over; what was written of later ones does not count.
            retention: what `forget` leaves.

        Raises:
            OutputError: a table of an interrupted run cannot be read.
        """
        self._folder, self._run, self._base_model = folder, run, base_model
        self._environment, self._retention = environment, retention
        self._env: TextVectorEnv = environment.make(1)
        self._lineage = Lineage.read(folder / _PHYLOGENY, over) if over else Lineage()
        self._genomes = GrowingTable(folder, "genomes", run=run)
        self._generations = GrowingTable(folder, "generations", run=run)
        self._faults = GrowingTable(folder, "faults", run=run)
        self._write_manifest(None)

    @property
    def _grammar(self) -> Grammar:
        return self._env.grammar

    def write(
        self,
        record: GenerationRecord,
        rows: Sequence[GenomeRow],
        population: Sequence[Genome],
        survivors: Sequence[Genome],
        lives: Lives,
        faults: Sequence[Fault],
    ) -> None:
        """Write one generation; adapters only of its survivors."""
        env = self._environment
        source = Source(
            run=self._run, generation=record.generation, environment=env.env_id, environment_version=env.version
        )
        names = {"action_names": self._env.action_names, "vital_names": self._env.vital_names}
        write_transitions(self._folder, source, lives.transitions, **names)
        write_episodes(self._folder, source, lives.episodes)
        for genome in survivors:
            self._keep(genome.adapter)
        living = {genome.id: genome for genome in (*population, *survivors)}
        self._lineage.observe(record.generation, list(living.values()), self._grammar)
        self._lineage.write(self._folder / _PHYLOGENY)
        self._genomes.append(record.generation, [row.row() for row in rows])
        self._generations.append(record.generation, [record.row()])
        self.write_faults(record.generation, faults)

    def write_faults(self, generation: int, faults: Sequence[Fault]) -> None:
        """Write what broke in a generation; in the held-out worlds, which come after the last."""
        if faults or len(self._faults):
            self._faults.append(generation, [{"generation": generation, **asdict(fault)} for fault in faults])

    def forget(self, needed: Set[str]) -> None:
        """Remove what need not be kept; of adapters, none whose digest is in `needed`."""
        rows = self._genomes.table
        last = pc.max(rows["generation"]).as_py()
        if self._retention.adapters is not None:
            recent = rows.filter(pc.greater(rows["generation"], last - self._retention.adapters))["adapter"]
            for folder in (self._folder / "adapters").glob("*"):
                if folder.name not in needed | set(recent.to_pylist()):
                    shutil.rmtree(folder)
        if self._retention.telemetry is not None:
            remove_shards(self._folder, before=last - self._retention.telemetry + 1)

    def finish(self, summary: Summary, seconds: Seconds, best: Genome) -> None:
        """Write where the best genome is, the manifest with what was spent, and last the summary."""
        found = {
            "genome": best.id,
            "strategy": self._grammar.render(best.genes),
            "adapter": f"adapters/{best.adapter.digest()}",
        }
        write_atomically(self._folder / "best.json", (json.dumps(found, indent=2) + "\n").encode())
        self._write_manifest(seconds)
        write_atomically(self._folder / "summary.json", summary.to_json().encode())

    def _keep(self, adapter: Adapter) -> None:
        """Write an adapter under its digest, once; a folder appears only when it is whole."""
        target = self._folder / "adapters" / adapter.digest()
        if not target.exists():
            write_folder_atomically(target, lambda draft: save_adapter(adapter, draft, self._base_model))

    def _write_manifest(self, seconds: Seconds | None) -> None:
        """Write what the run was made with and, at its end, what it spent."""
        manifest = {
            "run": self._run,
            "packages": {name: _version(name) for name in _PACKAGES},
            "commit": _commit(),
            "python": platform.python_version(),
            "machine": {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()},
            "base_model": self._base_model,
            "seconds": asdict(seconds) if seconds else None,
        }
        write_atomically(self._folder / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())


def _version(package: str) -> str | None:
    """Return an installed package's version."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the source tree, with "+" if files differ from it; None for an installed package."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        git = partial(subprocess.run, cwd=root, capture_output=True, text=True, timeout=5, check=True)
        commit = git(["git", "rev-parse", "HEAD"]).stdout.strip()
        changed = git(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")
