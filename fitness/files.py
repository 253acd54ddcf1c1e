"""Writing files so that a reader never sees half of one.

Owns `write_atomically`: a temporary file in the same folder, flushed to disk, then renamed over the name that readers
know; and `write_folder_atomically`, the same for a folder. Names of what is temporary start with a dot and end in
`.tmp`, so that one left by a kill is in no glob over a table; `discard_drafts` removes them. Does not own what is
written; every table, page and record of a run goes through here.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from fitness.errors import OutputError


def write_atomically(path: Path, content: bytes | Callable[[Path], object]) -> None:
    """Write `path` whole or not at all; a file already there stays until the new one is complete.

    Args:
        path: where readers look; missing folders are made.
        content: the bytes, or a function that writes the file at the temporary path it is given.

    Raises:
        OutputError: the folder or the file cannot be written.

    Example: `write_atomically(folder / "summary.json", text.encode())`
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _make(path.parent)
        if isinstance(content, bytes):
            temporary.write_bytes(content)
        else:
            content(temporary)
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    except OSError as error:
        raise OutputError(f"{path}: expected a place that can be written, got: {error.strerror or error}") from error
    finally:
        _discard(temporary)


def write_folder_atomically(folder: Path, write: Callable[[Path], object]) -> None:
    """Make `folder` whole or not at all; one that is there is replaced.

    Args:
        folder: where readers look.
        write: fills the folder that it is given, with functions of this module.

    Raises:
        OutputError: it cannot be written.
    """
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        _make(draft)
        write(draft)
        if folder.exists():
            shutil.rmtree(folder)
        draft.replace(folder)
        _flush(folder.parent)
    except OSError as error:
        raise OutputError(f"{folder}: expected a place that can be written, got: {error.strerror or error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def discard_drafts(folder: Path) -> None:
    """Remove, at any depth, what writers that were killed have left; nobody may be writing."""
    for draft in [*folder.rglob(".*.tmp")]:
        shutil.rmtree(draft, ignore_errors=True) if draft.is_dir() else _discard(draft)


def write_text_atomically(path: Path, text: str) -> None:
    """Write `text` as UTF-8, line ends as given, with `write_atomically`.

    Raises:
        OutputError: the folder or the file cannot be written.
    """
    write_atomically(path, text.encode())


def _make(folder: Path) -> None:
    """Make a folder and those that it lies in, and wait until the disk knows of them."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing:
        _flush(one.parent)


def _flush(path: Path) -> None:
    """Wait until the disk has `path`; for a folder, its list of names, where the system can do that."""
    if path.is_dir() and not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(temporary: Path) -> None:
    """Remove what a failed write left; silent, so that the first error is the one that is told."""
    try:
        temporary.unlink(missing_ok=True)
    except OSError:
        return
