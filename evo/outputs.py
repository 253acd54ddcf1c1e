"""Claims the folder of a run before any work is done.

Owns the check that the folder is new or empty and can be written. Does not own what is written there.
"""

import tempfile
from pathlib import Path

from fitness.errors import OutputError

FIELD = "hydra.run.dir"


def claim_folder(folder: Path) -> Path:
    """Make `folder` (and its parents) and return it.

    Raises:
        OutputError: It is a file, already holds something, or cannot be made or written to. The check writes a real
            file, because permission bits say little on a read-only file system or to an administrator.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{FIELD}: expected a folder, given {str(folder)!r}, which is a file")
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(folder.iterdir())
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{FIELD}: expected a folder that can be written, given {str(folder)!r} ({reason})"
        ) from error
    if taken:
        raise OutputError(f"{FIELD}: expected a new or empty folder, given {str(folder)!r}, which already holds a run")
    return folder
