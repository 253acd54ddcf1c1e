"""Nothing that a tracker does after the start reaches the run; a start that was asked for and fails does."""

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from evo.records import GenerationRecord, GenomeRow, RunFinished, RunStarted
from evo.tracking.base import Tracker
from evo.tracking.fanout import Trackers
from fitness.errors import ConfigError
from tests.evo import fake_run


class Recorder(Tracker):
    """Writes down what it is told."""

    name = "recorder"

    def __init__(self) -> None:
        self.told: list[object] = []

    def on_start(self, started: RunStarted) -> None:
        self.told.append("start")

    def on_generation(self, record: GenerationRecord, rows: Sequence[GenomeRow]) -> None:
        self.told.append((record.generation, len(rows)))

    def on_finish(self, finished: RunFinished) -> None:
        self.told.append("finish")

    def close(self) -> None:
        self.told.append("close")


class Raising(Recorder):
    """Fails in every event after the start."""

    name = "raising"

    def on_generation(self, record: GenerationRecord, rows: Sequence[GenomeRow]) -> None:
        raise RuntimeError(f"no generation {record.generation}\nsecond line")

    def on_finish(self, finished: RunFinished) -> None:
        raise OSError("no end")

    def close(self) -> None:
        raise KeyError("no close")


class Hanging(Recorder):
    """Never comes back from its first generation until it is abandoned."""

    name = "hanging"

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def on_generation(self, record: GenerationRecord, rows: Sequence[GenomeRow]) -> None:
        self.released.wait(30)

    def abandon(self) -> None:
        self.released.set()


class Unable(Recorder):
    """Cannot start."""

    name = "unable"

    def __init__(self, error: Exception, *, must_start: bool) -> None:
        super().__init__()
        self.must_start = must_start
        self._error = error

    def on_start(self, started: RunStarted) -> None:
        raise self._error


def _play(trackers: Trackers, folder: Path, generations: int = 3) -> float:
    """Tell a whole run and return how long the run was kept waiting."""
    begin = time.monotonic()
    with trackers:
        trackers.on_start(fake_run.started(folder, generations))
        for generation in range(generations):
            trackers.on_generation(fake_run.record(generation), fake_run.genomes(0))
        trackers.on_finish(RunFinished(summary=fake_run.summary(), seconds=fake_run.SECONDS))
    return time.monotonic() - begin


WHOLE = ["start", (0, 16), (1, 16), (2, 16), "finish", "close"]


def test_all_trackers_are_told_everything_in_order(tmp_path: Path) -> None:
    one, two = Recorder(), Recorder()
    trackers = Trackers([one, two])
    _play(trackers, tmp_path)
    assert one.told == WHOLE
    assert two.told == WHOLE
    assert trackers.failures == ()


@pytest.mark.fault("W&B dies, or cannot write to the disk", "one warning line; the run goes on")
def test_a_tracker_that_raises_costs_one_warning_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = Recorder()
    trackers = Trackers([Raising(), good])
    with caplog.at_level(logging.WARNING):
        _play(trackers, tmp_path)
    assert good.told == WHOLE
    assert trackers.failures == ("tracking.raising: RuntimeError: no generation 0",)
    assert [record.getMessage() for record in caplog.records] == [f"{trackers.failures[0]} (the run goes on)"]


@pytest.mark.fault("W&B hangs", "it is left behind at the end; the run goes on")
def test_a_tracker_that_hangs_is_left_behind(tmp_path: Path) -> None:
    good, bad = Recorder(), Hanging()
    trackers = Trackers([bad, good], close_seconds=0.3)
    assert _play(trackers, tmp_path) < 5
    assert good.told == WHOLE
    assert trackers.failures == ("tracking.hanging: it did not end in time and was left behind",)
    assert bad.released.is_set()


def test_a_slow_tracker_is_passed_by_but_learns_the_end(tmp_path: Path) -> None:
    bad = Hanging()
    trackers = Trackers([bad], max_waiting=4)
    trackers.on_start(fake_run.started(tmp_path))
    for generation in range(100):
        trackers.on_generation(fake_run.record(generation), ())
    trackers.on_finish(RunFinished(summary=fake_run.summary(), seconds=fake_run.SECONDS))
    bad.released.set()
    trackers.close()
    assert bad.told == ["start", "finish", "close"]
    assert trackers.failures == ("tracking.hanging: it is too slow: some generations were not shown to it",)


def test_a_tracker_that_must_start_and_cannot_ends_the_run(tmp_path: Path) -> None:
    good = Recorder()
    trackers = Trackers([good, Unable(RuntimeError("no server"), must_start=True)])
    with pytest.raises(ConfigError, match=r"tracking\.unable: expected it to start, got RuntimeError: no server"):
        trackers.on_start(fake_run.started(tmp_path))
    assert good.told == ["start", "close"]


def test_a_tracker_says_itself_what_was_wrong(tmp_path: Path) -> None:
    trackers = Trackers([Unable(ConfigError("tracking.x: expected a key, got none"), must_start=True)])
    with pytest.raises(ConfigError, match=r"^tracking\.x: expected a key, got none$"):
        trackers.on_start(fake_run.started(tmp_path))


def test_a_tracker_that_need_not_start_is_only_told_to_close(tmp_path: Path) -> None:
    bad, good = Unable(RuntimeError("no server"), must_start=False), Recorder()
    trackers = Trackers([bad, good])
    _play(trackers, tmp_path)
    assert good.told == WHOLE
    assert bad.told == ["close"]
    assert trackers.failures == ("tracking.unable: RuntimeError: no server",)


def test_a_tracker_that_does_not_answer_at_the_start_ends_the_run(tmp_path: Path) -> None:
    class Silent(Hanging):
        def on_start(self, started: RunStarted) -> None:
            self.released.wait(30)

    trackers = Trackers([Silent()], start_seconds=0.1, close_seconds=0.1)
    with pytest.raises(ConfigError, match=r"tracking\.hanging: expected it to start in time, got no answer"):
        trackers.on_start(fake_run.started(tmp_path))


def test_closing_twice_or_unstarted_is_harmless(tmp_path: Path) -> None:
    recorder = Recorder()
    trackers = Trackers([recorder])
    trackers.close()
    assert recorder.told == []
    trackers = Trackers([recorder])
    _play(trackers, tmp_path)
    trackers.close()
    assert recorder.told == WHOLE


def test_an_interrupted_run_closes_its_trackers(tmp_path: Path) -> None:
    recorder = Recorder()

    def interrupt() -> None:
        with Trackers([recorder]) as trackers:
            trackers.on_start(fake_run.started(tmp_path))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert recorder.told == ["start", "close"]
