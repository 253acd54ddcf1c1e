"""Claims the folder of a run before any work is done.

Owns the check that the folder is new or empty and can be written, and that of two runs only one gets it. Does not own
what is written there.
"""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from fitness.errors import OutputError

FIELD = "hydra.run.dir"
CLAIM = "config.yaml"
"""Whoever makes this file owns the folder."""
RECORDS = "telemetry"
"""There as soon as anything was recorded."""


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
        with (folder / CLAIM).open("x", encoding="utf-8") as claim:
            claim.write(config)
    except FileExistsError as error:
        raise _taken(folder, FIELD) from error
    except OSError as error:
        give_up_folder(folder)
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


def give_up_folder(folder: Path) -> bool:
    """Undo the claim of a run that recorded nothing, so that it can be begun again; tell whether that was so."""
    if (folder / RECORDS).exists():
        return False
    shutil.rmtree(folder / "wandb", ignore_errors=True)
    with suppress(OSError):  # what somebody else put there stays
        for name in (CLAIM, "manifest.json"):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
    return True


def _taken(folder: Path, field: str) -> OutputError:
    return OutputError(f"{field}: expected a new or empty folder, given {str(folder)!r}, which is not empty")
