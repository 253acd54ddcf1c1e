"""Atomic writing: the old file or the new one, never a piece."""

import os
from pathlib import Path

import pytest

from fitness.errors import OutputError
from fitness.files import write_atomically


def test_bytes_and_writers_land_under_the_name(tmp_path: Path) -> None:
    write_atomically(tmp_path / "deep" / "one", b"1")
    write_atomically(tmp_path / "deep" / "two", lambda path: path.write_text("2"))
    assert {path.name: path.read_text() for path in (tmp_path / "deep").iterdir()} == {"one": "1", "two": "2"}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "table"
    write_atomically(target, b"old")

    def fail(path: Path) -> None:
        path.write_bytes(b"ne")
        raise RuntimeError("pulled the plug")

    with pytest.raises(RuntimeError, match="pulled the plug"):
        write_atomically(target, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["table"]
    assert target.read_bytes() == b"old"


def test_the_file_can_be_read_by_others_as_usual(tmp_path: Path) -> None:
    write_atomically(tmp_path / "one", b"1")
    (tmp_path / "usual").write_bytes(b"1")
    assert (tmp_path / "one").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=f"file{os.sep}table: expected a place that can be written, got: "):
        write_atomically(tmp_path / "file" / "table", b"1")
