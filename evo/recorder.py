"""Writes a run's folder: everything that the run leaves behind but the trackers' own files.

Owns which file is written when. Every file is whole or absent (`fitness.files`); a generation is on disk before the
next begins. Does not own the tables' columns (`fitness.telemetry`) or the adapters' format (`fitness.adapter`).
"""

import json
import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict
from pathlib import Path

import pyarrow.compute as pc

from evo.adapters import KeptAdapters
from evo.config import RetentionConfig
from evo.genome import Genome
from evo.lineage import Birth, Lineage
from evo.manifest import made_with
from evo.novelty import fingerprint, known_of
from evo.records import GenerationRecord, GenomeRow, Seconds, Summary
from evo.verdicts import Verdict
from fitness.environments.base import EnvironmentConfig, TextVectorEnv
from fitness.environments.grammar import Grammar
from fitness.errors import OutputError, listed
from fitness.files import write_atomically
from fitness.gallery import Gallery, write_gallery
from fitness.records import Fault, Replay
from fitness.rollout import Lives
from fitness.telemetry import (
    GrowingTable,
    Source,
    lost_shards,
    remove_shards,
    table_path,
    write_episodes,
    write_transitions,
)

_log = logging.getLogger(__name__)
_PHYLOGENY = "phylogeny.csv"


class Recorder:
    """The writing side of `outputs/<run>/`."""

    def __init__(
        self,
        folder: Path,
        *,
        run: str,
        environment: EnvironmentConfig,
        adapters: KeptAdapters,
        over: int,
        retention: RetentionConfig,
    ) -> None:
        """Write the manifest, and begin the tables or go on with those that are there; one warning names what is lost.

        Args:
            folder: this run's own, with its config.yaml in it.
            run: the run's name.
            environment: whose texts and actions are recorded.
            adapters: where survivors' adapters are kept.
            over: generations that are over; what was written of later ones does not count.
            retention: what `forget` leaves.

        Raises:
            OutputError: the phylogeny of an interrupted run cannot be read.
        """
        self._folder, self._run, self._adapters = folder, run, adapters
        self._environment, self._retention = environment, retention
        self._env: TextVectorEnv = environment.make(1)
        self._lineage = Lineage.read(folder / _PHYLOGENY, over) if over else Lineage()
        self._known = known_of(self._lineage.births.values())
        lost: list[Path] = []
        self._genomes, self._generations, self._faults, self._verdicts = (
            self._table(name, lost) for name in ("genomes", "generations", "faults", "verdicts")
        )
        self._warn_of_lost(over, lost)
        self._write_manifest(None)

    def _table(self, name: str, lost: list[Path]) -> GrowingTable:
        """Return a table; one that cannot be read is put aside (NAME.damaged), added to `lost` and begun anew."""
        try:
            return GrowingTable(self._folder, name, run=self._run)
        except OutputError:
            path = table_path(self._folder, name)
            path.replace(path.with_name(f"{path.name}.damaged"))
            lost.append(path)
            return GrowingTable(self._folder, name, run=self._run)

    def _warn_of_lost(self, over: int, lost: list[Path]) -> None:
        """Name the records of the generations that are over which are missing or torn."""
        kept = over if self._retention.telemetry is None else min(over, self._retention.telemetry)
        tables = [table.path for table in (self._genomes, self._generations) if not table.generations >= {*range(over)}]
        lost = list(dict.fromkeys([*lost, *tables, *lost_shards(self._folder, range(over - kept, over))]))
        if lost:
            _log.warning(
                "%s: expected all that was recorded of %d generations, got files that are missing, damaged or "
                "incomplete (%s); the run goes on without",
                *(self._folder, over, listed(path.relative_to(self._folder) for path in lost)),
            )

    @property
    def _grammar(self) -> Grammar:
        return self._env.grammar

    @property
    def births(self) -> Mapping[int, Birth]:
        """Everybody who was ever born, by id."""
        return self._lineage.births

    @property
    def known(self) -> Mapping[str, int]:
        """Fingerprint of everybody who was ever born -> the first genome that had it; see `evo.novelty`."""
        return self._known

    def knows(self, genome: Genome) -> bool:
        """Tell whether a genome is a copy of one that was ever born."""
        return fingerprint(self._grammar.render(genome.genes), genome.adapter.digest()) in self._known

    def observe(self, generation: int, population: Sequence[Genome], survivors: Sequence[Genome]) -> None:
        """Take who was born and who has died in one generation; `write` writes it."""
        living = {genome.id: genome for genome in (*population, *survivors)}
        new = [id_ for id_ in living if id_ not in self._lineage.births]
        self._lineage.observe(generation, list(living.values()), self._grammar)
        for mark, id_ in known_of(self._lineage.births[id_] for id_ in new).items():
            self._known.setdefault(mark, id_)

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
        source = self._source(record.generation)
        names = {"action_names": self._env.action_names, "vital_names": self._env.vital_names}
        write_transitions(self._folder, source, lives.transitions, **names)
        write_episodes(self._folder, source, lives.episodes)
        for genome in survivors:
            self._adapters.keep(genome.adapter)
        self._lineage.write(self._folder / _PHYLOGENY)
        self._genomes.append(record.generation, [row.row() for row in rows])
        self._generations.append(record.generation, [record.row()])
        self.note(record.generation, faults=faults)

    def _source(self, generation: int) -> Source:
        env = self._environment
        return Source(run=self._run, generation=generation, environment=env.env_id, environment_version=env.version)

    def write_replays(self, generation: int, replays: Sequence[Replay]) -> None:
        """Write lives to be looked at."""
        if replays:
            env = self._env
            gallery = Gallery(lives=tuple(replays), actions=env.action_names, vitals=env.vital_names, signs=env.signs)
            write_gallery(self._folder, self._source(generation), gallery)

    def note(self, generation: int, *, faults: Sequence[Fault] = (), verdicts: Sequence[Verdict] = ()) -> None:
        """Write what broke in a generation, or in the held-out worlds after the last; and what became of training."""
        if faults or len(self._faults):
            self._faults.append(generation, [{"generation": generation, **asdict(fault)} for fault in faults])
        if verdicts:
            self._verdicts.append(generation, [verdict.row() for verdict in verdicts])

    def forget(self, needed: Set[str]) -> None:
        """Remove what need not be kept; of adapters, none whose digest is in `needed`."""
        rows, known = self._genomes.table, self._genomes.generations
        last = max(known, default=-1)
        if self._retention.adapters is not None:
            first = max(0, last - self._retention.adapters + 1)
            recent = rows.filter(pc.greater_equal(rows["generation"], first))["adapter"]
            if known.issuperset(range(first, last + 1)):  # else nobody knows whose adapters are to be kept
                self._adapters.forget(needed | set(recent.to_pylist()))
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

    def _write_manifest(self, seconds: Seconds | None) -> None:
        """Write what the run was made with and, at its end, what it spent."""
        manifest = {
            "run": self._run,
            **made_with(),
            "base_model": self._adapters.base_model,
            "seconds": asdict(seconds) if seconds else None,
        }
        write_atomically(self._folder / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())
