"""Everything that a run needs to go on, bit for bit, after any end.

Owns `Checkpoint` and the folder `checkpoints/`, with a folder for each of the last two generations: checkpoint.json,
which carries a checksum of its content, the adapters that it names by digest and that are not yet in the run's own
`adapters/`, and, where optimisers remember (`TrainerConfig.moments`), moments.safetensors. What is found damaged is
removed once an older checkpoint is found whole: living the generation again writes it anew. Chance needs no state:
every stream is made anew from the run's seed, the generation and its purpose. To keep one more thing, add a field to
`Checkpoint`.
"""

import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evo.adapters import KeptAdapters, read_whole
from evo.algorithms.base import AlgorithmState
from evo.budget import Pace
from evo.genome import Genome
from evo.records import Budget
from finetune.moments import Moments, pack, unpack
from finetune.policies import Cost
from fitness.adapter import Adapter
from fitness.engines.base import Usage
from fitness.errors import AdapterError, OutputError, listed
from fitness.files import write_atomically, write_folder_atomically

SCHEMA = 3
"""Of the files; raised when those that were written before can no longer be read."""
_KEPT = 2
_FILE, _MOMENTS = "checkpoint.json", "moments.safetensors"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A run between two generations."""

    generation: int
    """Of the next one: how many are over."""
    name: str
    """The run's, whatever its folder is called by now."""
    identity: str
    """The run's own and no other's; W&B knows it by this."""
    row_chunk: int | None
    """Rows that the engine takes together, after memory was not enough for more."""
    algorithm: AlgorithmState
    founders: tuple[Genome, ...]
    usage: Usage
    """What the engine has spent."""
    training: Cost
    """What fine-tuning has spent."""
    wall_seconds: float
    """That the run has worked."""
    pace: Pace
    """Of the generation that is just over."""
    moments: Mapping[int, Moments] = field(default_factory=dict)
    """By genome, what optimisers remember; see `evo.memory`."""
    screen: Mapping[str, Any] | None = None
    """What the screen of offspring knows; None: there is none."""


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, run: Path, adapters: KeptAdapters, settings: str) -> None:
        """Take the run's folder; nothing is written yet.

        Args:
            run: outputs/<run>/.
            adapters: the run's own; a checkpoint holds those that are not among them yet.
            settings: SHA-256 of the run's configuration; a checkpoint of another one is refused.
        """
        self._run, self._folder, self._adapters, self._settings = run, run / "checkpoints", adapters, settings

    def write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and then forget all but the last two.

        Raises:
            OutputError: it cannot be written; those before are still there.
        """
        adapters = {genome.adapter.digest(): genome.adapter for genome in _genomes(checkpoint)}

        def write(draft: Path) -> None:
            for digest, adapter in adapters.items():
                if digest not in self._adapters:
                    self._adapters.write(adapter, draft / "adapters" / digest)
            remembered = {}
            if checkpoint.moments:
                content = pack(checkpoint.moments)
                remembered["moments"] = hashlib.sha256(content).hexdigest()
                write_atomically(draft / _MOMENTS, content)
            write_atomically(draft / _FILE, _seal({"settings": self._settings, **_to_tree(checkpoint), **remembered}))

        write_folder_atomically(self._folder / f"generation={checkpoint.generation:06d}", write)
        self.prune()

    def prune(self) -> None:
        """Forget all but the last two; also what a kill in the middle of it has left."""
        for folder in self._newest_first()[_KEPT:]:
            shutil.rmtree(folder, ignore_errors=True)

    def last(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole, or None if there is none at all.

        Removes what it finds damaged, unless nothing is whole.

        Raises:
            OutputError: those that are there are damaged, of another configuration, or of another version of Forager.
        """
        problems: list[str] = []
        damaged: list[Path] = []
        for folder in self._newest_first():
            try:
                checkpoint = self._read(folder, damaged)
            except _DamagedError as error:
                problems.append(f"{folder}: expected a whole checkpoint, got {error}")
                damaged.append(folder)
                continue
            for problem in problems:
                _log.warning("%s; the one before is used", problem)
            if damaged:
                _log.warning("removed what is damaged: %s", listed(damaged))
            for place in damaged:
                shutil.rmtree(place, ignore_errors=True)
            return checkpoint
        if problems:
            raise OutputError("\n".join(problems))
        return None

    def needed(self) -> set[str]:
        """Return the digests of all adapters that the kept checkpoints name."""
        found: set[str] = set()
        for folder in self._newest_first():
            with suppress(_DamagedError):
                tree = _unseal(folder / _FILE)
                found |= _digests(tree)
        return found

    def _newest_first(self) -> list[Path]:
        return sorted(self._folder.glob("generation=*"), reverse=True)

    def _read(self, folder: Path, damaged: list[Path]) -> Checkpoint:
        """Read one checkpoint; add to `damaged` where adapters that it names are not as they were written.

        Raises:
            _DamagedError: it, or an adapter that it names, is not as it was written.
            OutputError: another version of Forager wrote it, or a run of another configuration.
        """
        tree = _unseal(folder / _FILE)
        if tree.get("schema") != SCHEMA:
            raise OutputError(f"{folder}: expected a checkpoint of schema {SCHEMA}, got schema {tree.get('schema')}")
        if tree.get("settings") != self._settings:
            raise OutputError(
                f"{self._run / 'config.yaml'}: expected the settings that the run began with, got others: restore the "
                "file, or begin a new run with `forager evolve`"
            )
        try:
            adapters = {digest: self._adapter(folder, digest, damaged) for digest in sorted(_digests(tree))}
            lost = [self._adapters.path(digest) for digest, adapter in adapters.items() if adapter is None]
            if lost:
                raise _DamagedError(f"adapters that are missing or damaged: {listed(lost)}")
            moments = _read_moments(folder / _MOMENTS, str(tree["moments"])) if "moments" in tree else {}
            return _from_tree(tree, {digest: adapter for digest, adapter in adapters.items() if adapter}, moments)
        except (KeyError, TypeError, ValueError) as error:
            raise _DamagedError(str(error)) from error

    def _adapter(self, folder: Path, digest: str, damaged: list[Path]) -> Adapter | None:
        """Return an adapter that a checkpoint names, from its own folder or the run's; None if neither is whole."""
        own, kept = folder / "adapters" / digest, self._adapters.path(digest)
        for place in (own, kept):
            try:
                if place.exists():
                    return self._adapters.read(digest) if place == kept else read_whole(place, digest)
            except AdapterError:
                damaged.append(place)
        return None


class _DamagedError(Exception):
    """A checkpoint is not as it was written."""


def _genomes(checkpoint: Checkpoint) -> tuple[Genome, ...]:
    """Return all whose adapters are needed."""
    return (*checkpoint.algorithm.genomes, *checkpoint.founders)


def _digests(tree: Mapping[str, Any]) -> set[str]:
    """Return the digests of the adapters that a checkpoint names."""
    return {str(record["adapter"]) for name in ("genomes", "founders") for record in tree[name]}


def _to_tree(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return plain values; numbers come back from JSON to the last bit."""
    return {
        "schema": SCHEMA,
        "generation": checkpoint.generation,
        "name": checkpoint.name,
        "identity": checkpoint.identity,
        "row_chunk": checkpoint.row_chunk,
        "algorithm": dict(checkpoint.algorithm.data),
        "genomes": [genome.record() for genome in checkpoint.algorithm.genomes],
        "founders": [genome.record() for genome in checkpoint.founders],
        "usage": dataclasses.asdict(checkpoint.usage),
        "training": dataclasses.asdict(checkpoint.training),
        "wall_seconds": checkpoint.wall_seconds,
        "screen": checkpoint.screen,
        "pace": dataclasses.asdict(checkpoint.pace),
    }


def _read_moments(path: Path, checksum: str) -> dict[int, Moments]:
    """Return what optimisers remember.

    Raises:
        _DamagedError: the file is not as it was written.
    """
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != checksum:
            raise _DamagedError(f"a content of {path.name} that does not fit its checksum")
        return unpack(content)
    except (OSError, AdapterError) as error:
        raise _DamagedError(f"a file that cannot be read ({error})") from error


def _from_tree(tree: Mapping[str, Any], adapters: Mapping[str, Adapter], moments: Mapping[int, Moments]) -> Checkpoint:
    def genomes(name: str) -> tuple[Genome, ...]:
        return tuple(Genome.from_record(record, adapters[record["adapter"]]) for record in tree[name])

    return Checkpoint(
        generation=int(tree["generation"]),
        name=str(tree["name"]),
        identity=str(tree["identity"]),
        row_chunk=tree["row_chunk"],
        algorithm=AlgorithmState(tree["algorithm"], genomes("genomes")),
        founders=genomes("founders"),
        usage=Usage(**tree["usage"]),
        training=Cost(**tree["training"]),
        moments=moments,
        wall_seconds=float(tree["wall_seconds"]),
        screen=tree.get("screen"),
        pace=Pace(begun=Budget(**tree["pace"]["begun"]), ended=tree["pace"]["ended"]),
    )


def _seal(tree: Mapping[str, Any]) -> bytes:
    """Return the content as JSON, with its checksum."""
    return json.dumps({"sha256": _checksum(tree), "content": tree}, allow_nan=False).encode()


def _unseal(path: Path) -> dict[str, Any]:
    """Return the content of a file that `_seal` made, or raise `_DamagedError`."""
    try:
        sealed = json.loads(path.read_bytes())
        content, checksum = sealed["content"], sealed["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _DamagedError(f"a file that cannot be read ({error})") from error
    if not isinstance(content, dict) or _checksum(content) != checksum:
        raise _DamagedError("a content that does not fit its checksum")
    return content


def _checksum(tree: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
