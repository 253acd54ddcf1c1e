"""A run's folder is new, empty and writable, or the run does not begin."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evo.outputs import check_folder, claim_folder, claim_numbered_folder, give_up_folder
from fitness.errors import OutputError

CONFIG = "seed: 0\n"


def test_a_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b", "folder")
    assert not list((tmp_path / "a" / "b").iterdir())
    claim_folder(tmp_path / "a" / "b", CONFIG)
    assert [(path.name, path.read_text()) for path in (tmp_path / "a" / "b").iterdir()] == [("config.yaml", CONFIG)]


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(OutputError, match=r"hydra\.run\.dir: expected a new or empty folder, given .*is not empty"):
        claim_folder(tmp_path, CONFIG)


def test_of_many_that_want_a_folder_one_gets_it(tmp_path: Path) -> None:
    def claim(_: int) -> bool:
        try:
            claim_folder(tmp_path / "run", CONFIG)
        except OutputError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(8))) == 1


def test_a_name_of_ours_is_numbered_when_it_is_taken(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = [f.name for f in pool.map(lambda _: claim_numbered_folder(tmp_path / "run", CONFIG), range(8))]
    assert sorted(names) == sorted(["run", *(f"run-{i}" for i in range(2, 9))])


def test_a_claim_is_given_up_as_long_as_nothing_was_recorded(tmp_path: Path) -> None:
    claim_folder(tmp_path / "run", CONFIG)
    (tmp_path / "run" / "mine.txt").write_text("stays")
    assert give_up_folder(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]
    (tmp_path / "run" / "mine.txt").unlink()
    claim_folder(tmp_path / "run", CONFIG)
    (tmp_path / "run" / "telemetry").mkdir()
    assert not give_up_folder(tmp_path / "run")
    assert (tmp_path / "run" / "config.yaml").exists()


def test_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "taken"
    path.write_text("")
    with pytest.raises(OutputError, match=r"hydra\.run\.dir: expected a folder, given .*which is a file"):
        claim_folder(path, CONFIG)
    for claim in (claim_folder, claim_numbered_folder):
        with pytest.raises(OutputError, match=r"expected a folder that can be written, given .*taken/run"):
            claim(path / "run", CONFIG)


def test_a_place_that_nobody_can_write_to_is_refused() -> None:
    # The kernel refuses this one to an administrator as well.
    with pytest.raises(OutputError, match=r"hydra\.run\.dir: expected a folder that can be written, given"):
        claim_folder(Path("/proc/self/forager"), CONFIG)
