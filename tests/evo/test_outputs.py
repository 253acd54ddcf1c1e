"""A run's folder is new, empty and writable, or the run does not begin."""

from pathlib import Path

import pytest

from evo.outputs import claim_folder
from fitness.errors import OutputError


def test_a_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    folder = claim_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert not list(folder.iterdir())
    assert claim_folder(folder) == folder


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(OutputError, match=r"hydra\.run\.dir: expected a new or empty folder, given"):
        claim_folder(tmp_path)


def test_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "taken"
    path.write_text("")
    with pytest.raises(OutputError, match=r"hydra\.run\.dir: expected a folder, given .*which is a file"):
        claim_folder(path)
    with pytest.raises(OutputError, match=r"hydra\.run\.dir: expected a folder that can be written, given .*taken/run"):
        claim_folder(path / "run")


def test_a_place_that_nobody_can_write_to_is_refused() -> None:
    # The kernel refuses this one to an administrator as well.
    with pytest.raises(OutputError, match=r"hydra\.run\.dir: expected a folder that can be written, given"):
        claim_folder(Path("/proc/self/forager"))
