"""The adapters of a run on disk, by digest: `adapters/<sha256>/`, each written once.

Owns which of them can be relied on: those that this process has written, or has read whole. What an earlier process
left may be damaged since, or belong to a generation that is lived again, and is written anew. Does not own PEFT's
format (`fitness.adapter`) or which adapters a run keeps (`evo.recorder`).
"""

import shutil
from collections.abc import Set
from pathlib import Path

from fitness.adapter import Adapter, load_adapter, save_adapter
from fitness.errors import AdapterError
from fitness.files import write_folder_atomically


class KeptAdapters:
    """The folder `adapters/` of one run.

    Example: `adapters.keep(genome.adapter)`, after which `genome.adapter.digest() in adapters`.
    """

    def __init__(self, run: Path, base_model: str) -> None:
        """Take the run's folder; nothing is relied on yet.

        Args:
            run: outputs/<run>/.
            base_model: what adapters are written for, as PEFT names it.
        """
        self._folder, self.base_model = run / "adapters", base_model
        self._whole: set[str] = set()

    def __contains__(self, digest: str) -> bool:
        """Tell whether the adapter is there and can be relied on."""
        return digest in self._whole

    def path(self, digest: str) -> Path:
        """Return where an adapter lies, or would."""
        return self._folder / digest

    def keep(self, adapter: Adapter) -> None:
        """Write an adapter under its digest, unless it is there already; a folder appears only when it is whole.

        Raises:
            OutputError: it cannot be written.
        """
        digest = adapter.digest()
        if digest not in self._whole:
            write_folder_atomically(self.path(digest), lambda draft: self.write(adapter, draft))
            self._whole.add(digest)

    def write(self, adapter: Adapter, folder: Path) -> None:
        """Write an adapter elsewhere, in the same form.

        Raises:
            OutputError: it cannot be written.
        """
        save_adapter(adapter, folder, self.base_model)

    def read(self, digest: str) -> Adapter:
        """Return an adapter, which is relied on from then on.

        Raises:
            AdapterError: it is missing or damaged.
        """
        adapter = read_whole(self.path(digest), digest)
        self._whole.add(digest)
        return adapter

    def forget(self, needed: Set[str]) -> None:
        """Remove all but those whose digests are in `needed`."""
        for folder in self._folder.glob("*"):
            if folder.name not in needed:
                shutil.rmtree(folder)
                self._whole.discard(folder.name)


def read_whole(folder: Path, digest: str) -> Adapter:
    """Return the adapter in `folder`, which must have this digest.

    Raises:
        AdapterError: it is missing or damaged.
    """
    adapter = load_adapter(folder)
    if adapter.digest() != digest:
        raise AdapterError(f"{folder}: expected the adapter {digest}, got {adapter.digest()}")
    return adapter
