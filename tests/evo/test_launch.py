"""While a run works, third parties' troubles with their own files are not shown."""

import errno
import io
import logging
import warnings

import pytest

from evo.launch import _quieten


class Full(io.StringIO):
    """A file on a disk that is full."""

    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_log_that_cannot_be_written_is_not_complained_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", True)
    with warnings.catch_warnings():
        _quieten()
    logging.StreamHandler(Full()).handle(logging.makeLogRecord({"msg": "noted"}))
    assert not capsys.readouterr().err
