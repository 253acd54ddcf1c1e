"""Everything that a run needs to go on, bit for bit, after any end.

Owns `Checkpoint` and the folder `checkpoints/`, with a folder for each of the last two generations: checkpoint.json,
which carries a checksum of its content, and the adapters that it names by digest and that are not yet in the run's own
`adapters/`. Chance needs no state: every stream is made anew from the run's seed, the generation and its purpose; nor
has the optimiser any between two generations. To keep one more thing, add a field to `Checkpoint`.
"""

import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from evo.algorithms.base import AlgorithmState
from evo.genome import Genome
from finetune.policies import Cost
from fitness.adapter import Adapter, load_adapter, save_adapter
from fitness.engines.base import Usage
from fitness.errors import AdapterError, OutputError
from fitness.files import write_atomically, write_folder_atomically

SCHEMA = 1
"""Of the files; raised when those that were written before can no longer be read."""
_KEPT = 2
_FILE = "checkpoint.json"
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


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, run: Path, base_model: str) -> None:
        """Take the run's folder; nothing is written yet.

        Args:
            run: outputs/<run>/.
            base_model: what adapters are written for, as PEFT names it.
        """
        self._run, self._folder, self._base_model = run, run / "checkpoints", base_model

    def write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and then forget all but the last two.

        Raises:
            OutputError: it cannot be written; those before are still there.
        """
        adapters = {genome.adapter.digest(): genome.adapter for genome in _genomes(checkpoint)}

        def write(draft: Path) -> None:
            for digest, adapter in adapters.items():
                if not (self._run / "adapters" / digest).exists():
                    save_adapter(adapter, draft / "adapters" / digest, self._base_model)
            write_atomically(draft / _FILE, _seal(_to_tree(checkpoint)))

        write_folder_atomically(self._folder / f"generation={checkpoint.generation:06d}", write)
        self.prune()

    def prune(self) -> None:
        """Forget all but the last two; also what a kill in the middle of it has left."""
        for folder in self._newest_first()[_KEPT:]:
            shutil.rmtree(folder, ignore_errors=True)

    def last(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole, or None if there is none at all.

        Raises:
            OutputError: those that are there are damaged, or of another version of Forager.
        """
        problems = []
        for folder in self._newest_first():
            try:
                return self._read(folder)
            except _DamagedError as error:
                problems.append(f"{folder}: expected a whole checkpoint, got {error}")
                _log.warning("%s; looking for the one before", problems[-1])
        if problems:
            raise OutputError("\n".join(problems))
        return None

    def needed(self) -> set[str]:
        """Return the digests of all adapters that the kept checkpoints name."""
        found: set[str] = set()
        for folder in self._newest_first():
            with suppress(_DamagedError):
                tree = _unseal(folder / _FILE)
                found |= {record["adapter"] for name in ("genomes", "founders") for record in tree[name]}
        return found

    def _newest_first(self) -> list[Path]:
        return sorted(self._folder.glob("generation=*"), reverse=True)

    def _read(self, folder: Path) -> Checkpoint:
        """Read one checkpoint.

        Raises:
            _DamagedError: it, or an adapter that it names, is not as it was written.
            OutputError: another version of Forager wrote it.
        """
        tree = _unseal(folder / _FILE)
        if tree.get("schema") != SCHEMA:
            raise OutputError(f"{folder}: expected a checkpoint of schema {SCHEMA}, got schema {tree.get('schema')}")

        @cache
        def adapter(digest: str) -> Adapter:
            places = (folder / "adapters" / digest, self._run / "adapters" / digest)
            place = next((place for place in places if place.exists()), None)
            if place is None:
                raise _DamagedError(f"no adapter {digest}")
            return load_adapter(place)

        try:
            return _from_tree(tree, adapter)
        except (AdapterError, KeyError, TypeError, ValueError) as error:
            raise _DamagedError(str(error)) from error


class _DamagedError(Exception):
    """A checkpoint is not as it was written."""


def _genomes(checkpoint: Checkpoint) -> tuple[Genome, ...]:
    """Return all whose adapters are needed."""
    return (*checkpoint.algorithm.genomes, *checkpoint.founders)


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
    }


def _from_tree(tree: Mapping[str, Any], adapter: Callable[[str], Adapter]) -> Checkpoint:
    def genomes(name: str) -> tuple[Genome, ...]:
        return tuple(Genome.from_record(record, adapter(record["adapter"])) for record in tree[name])

    return Checkpoint(
        generation=int(tree["generation"]),
        name=str(tree["name"]),
        identity=str(tree["identity"]),
        row_chunk=tree["row_chunk"],
        algorithm=AlgorithmState(tree["algorithm"], genomes("genomes")),
        founders=genomes("founders"),
        usage=Usage(**tree["usage"]),
        training=Cost(**tree["training"]),
        wall_seconds=float(tree["wall_seconds"]),
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
