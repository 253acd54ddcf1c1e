"""Claims the folder of a run before any work is done.

Owns the check that the folder is new or empty and can be written, that of two runs only one gets it, and that only one
process works in it. Does not own what is written there.
"""

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fitness.errors import OutputError

FIELD = "hydra.run.dir"
CLAIM = "config.yaml"
"""Whoever makes this file owns the folder."""
RECORDS = "telemetry"
"""There as soon as anything was recorded."""
_LOCK = ".lock"
_log = logging.getLogger(__name__)


def check_folder(folder: Path, field: str) -> None:
    """Make `folder` (and its parents), new or empty and writable.

    Raises:
        OutputError: it is a file, already holds something, or cannot be made or written to. The check writes a real
            file, because permission bits say little on a read-only file system or to an administrator.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{field}: expected a folder, given {str(folder)!r}, which is a file")
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(folder.iterdir())
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{field}: expected a folder that can be written, given {str(folder)!r} ({reason})"
        ) from error
    if taken:
        raise _taken(folder, field)


def claim_folder(folder: Path, config: str) -> None:
    """Make `folder` this run's own: write its `config.yaml`, which only one run can make.

    Args:
        folder: new or empty.
        config: the resolved configuration as YAML.

    Raises:
        OutputError: as `check_folder`, or another run was quicker.
    """
    check_folder(folder, FIELD)
    try:
        with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".", suffix=".tmp", encoding="utf-8") as draft:
            draft.write(config)
            draft.flush()
            os.fsync(draft.fileno())
            os.fchmod(draft.fileno(), 0o644)
            os.link(draft.name, folder / CLAIM)  # whole from the first moment, and only if there is none
    except FileExistsError as error:
        raise _taken(folder, FIELD) from error
    except OSError as error:
        with suppress(OSError):  # not if another run was quicker
            folder.rmdir()
        raise OutputError(
            f"{FIELD}: expected a folder that can be written, given {str(folder)!r} ({error.strerror})"
        ) from error


def claim_numbered_folder(folder: Path, config: str) -> Path:
    """Claim `folder`, or the first free one of `folder-2`, `folder-3` and so on, and return it.

    For names that Forager chose: two runs that begin within a second would choose the same.

    Raises:
        OutputError: no folder can be written there.
    """
    number = 1
    while True:
        one = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        try:
            claim_folder(one, config)
        except OutputError:
            if not (one.is_dir() and any(one.iterdir())):
                raise
            number += 1
            continue
        return one


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Hold a run's folder; the system lets go of it when the process ends, however it ends.

    Raises:
        OutputError: another process works in it, or the folder is not there.
    """
    try:
        descriptor = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise OutputError(
            f"run: expected a folder that can be written, given {str(folder)!r} ({error.strerror})"
        ) from error
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Tell whether a process works on the run in `folder`."""
    if not (folder / _LOCK).exists():
        return False
    try:
        with working_in(folder):
            return False
    except OutputError:
        return True


def _lock(descriptor: int, folder: Path) -> None:
    """Lock a file, or say who has it; on a file system without locks, go on without."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(
            f"run: expected a run that nobody works on, given {str(folder)!r}, which another process has"
        ) from error
    except OSError as error:
        _log.warning("%s: cannot be locked (%s); see to it that nobody else works on it", folder, error.strerror)


def is_finished(folder: Path) -> bool:
    """Tell whether the run in `folder` has come to its end, page and all."""
    return (folder / "summary.json").is_file() and (folder / "report.html").is_file()


def has_records(folder: Path) -> bool:
    """Tell whether anything was recorded of the run in `folder`, so that there is something to go on with."""
    return any((folder / name).exists() for name in (RECORDS, "checkpoints", "generations.parquet"))


def give_up_folder(folder: Path) -> bool:
    """Undo the claim of a run that recorded nothing, so that it can be begun again; tell whether that was so."""
    if has_records(folder):
        return False
    try:
        with working_in(folder):
            pass
    except OutputError:  # another process works here
        return False
    for name in ("wandb", "start"):
        shutil.rmtree(folder / name, ignore_errors=True)
    with suppress(OSError):  # what somebody else put there stays
        for name in (CLAIM, "manifest.json", _LOCK):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
    return True


def _taken(folder: Path, field: str) -> OutputError:
    return OutputError(f"{field}: expected a new or empty folder, given {str(folder)!r}, which is not empty")
