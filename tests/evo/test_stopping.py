"""Ctrl-C waits for the generation in work, and for nothing else."""

import os
import signal

import pytest

from evo.stopping import Stop, StoppedError, stopping


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_while_no_generation_is_in_work_it_stops_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StoppedError, match="SIGINT"), stopping():
        interrupt()
    with stopping() as stop:
        stop.begin()
        stop.end()
        with pytest.raises(StoppedError, match="SIGINT"):
            interrupt()
    assert not capsys.readouterr().err


def test_a_generation_in_work_is_finished(capsys: pytest.CaptureFixture[str]) -> None:
    with stopping() as stop:
        stop.begin()
        interrupt()
        with pytest.raises(StoppedError) as raised:
            stop.end()
    assert raised.value.exit_code == 130
    assert "this generation will be finished; once more stops now" in capsys.readouterr().err


def test_the_second_time_it_stops_now() -> None:
    with stopping() as stop:
        stop.begin()
        interrupt()
        with pytest.raises(StoppedError):
            interrupt()


def test_the_handlers_of_before_come_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stopping():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_generation_that_nobody_stops_goes_on() -> None:
    stop = Stop()
    for _ in range(3):
        stop.begin()
        stop.end()
