"""Tells every tracker what happens in a run, and lets none of them stop it.

Owns threads, queues and time limits: each tracker has a thread of its own, fed by a bounded queue. After the start
nothing that a tracker does reaches the run: an error costs one warning line, a hang the events that no longer fit. Does
not own what is shown. There is nothing to extend here: a new tracker is a new `Tracker`.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from evo.records import GenerationRecord, GenomeRow, RunFinished, RunStarted
from evo.tracking.base import Tracker
from fitness.errors import ConfigError, ForagerError, describe

_log = logging.getLogger(__name__)


class Trackers:
    """All trackers of a run as one.

    Example:
        with Trackers([ConsoleTracker(), WandbConfig().build()]) as trackers:
            trackers.on_start(started)
    """

    def __init__(
        self,
        trackers: Sequence[Tracker],
        *,
        start_seconds: float = 60.0,
        close_seconds: float = 30.0,
        max_waiting: int = 256,
    ) -> None:
        """Take the trackers; nothing is started yet.

        Args:
            trackers: Whom to tell.
            start_seconds: How long the run waits for those that must start.
            close_seconds: How long the run waits at its end for all of them together.
            max_waiting: Generations that may wait for a slow tracker before new ones pass it by.
        """
        self._workers = [_Worker(tracker, max_waiting) for tracker in trackers]
        self._start_seconds = start_seconds
        self._close_seconds = close_seconds
        self._closed = False

    @property
    def failures(self) -> tuple[str, ...]:
        """What went wrong so far: at most one sentence per tracker."""
        return tuple(worker.failure for worker in self._workers if worker.failure)

    def on_start(self, started: RunStarted) -> None:
        """Start all trackers at once and wait for those that must start.

        Raises:
            ConfigError: One of those failed or did not answer in time; all trackers are closed.
        """
        for worker in self._workers:
            worker.start(started)
        deadline = time.monotonic() + self._start_seconds
        try:
            for worker in self._workers:
                worker.wait_started(deadline)
        except ForagerError:
            self.close()
            raise

    def on_generation(self, record: GenerationRecord, rows: Sequence[GenomeRow]) -> None:
        """Tell of a generation. Returns at once and never raises."""
        frozen = tuple(rows)
        for worker in self._workers:
            worker.offer(lambda tracker: tracker.on_generation(record, frozen))

    def on_finish(self, finished: RunFinished) -> None:
        """Tell of the end. Returns at once and never raises."""
        for worker in self._workers:
            worker.send(lambda tracker: tracker.on_finish(finished))

    def close(self) -> None:
        """Let all trackers end, for a limited time; then abandon those that have not. Never raises."""
        if self._closed:
            return
        self._closed = True
        for worker in self._workers:
            worker.send_close()
        deadline = time.monotonic() + self._close_seconds
        for worker in self._workers:
            worker.join(deadline)

    def __enter__(self) -> "Trackers":
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, whatever happened."""
        self.close()


class _Worker:
    """One tracker, its thread and its queue."""

    def __init__(self, tracker: Tracker, max_waiting: int) -> None:
        self.failure = ""
        self._tracker = tracker
        self._max_waiting = max_waiting
        self._calls: queue.SimpleQueue[Callable[[Tracker], None] | None] = queue.SimpleQueue()
        self._started = threading.Event()
        self._start_error: Exception | None = None
        # A daemon, so that a tracker that hangs cannot keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"tracker-{tracker.name}", daemon=True)

    def start(self, started: RunStarted) -> None:
        self._calls.put(lambda tracker: tracker.on_start(started))
        self._thread.start()

    def wait_started(self, deadline: float) -> None:
        """Return once a tracker that must start has; raise ConfigError if it cannot."""
        if not self._tracker.must_start:
            return
        if not self._started.wait(max(0.0, deadline - time.monotonic())):
            raise ConfigError(f"tracking.{self._tracker.name}: expected it to start in time, got no answer")
        error = self._start_error
        if isinstance(error, ForagerError):
            raise error
        if error is not None:
            raise ConfigError(f"tracking.{self._tracker.name}: expected it to start, got {describe(error)}") from error

    def offer(self, call: Callable[[Tracker], None]) -> None:
        """Queue a call, unless too many wait already."""
        if self._calls.qsize() < self._max_waiting:
            self._calls.put(call)
        else:
            self._fail("it is too slow: some generations were not shown to it")

    def send(self, call: Callable[[Tracker], None]) -> None:
        """Queue a call that must not be left out."""
        self._calls.put(call)

    def send_close(self) -> None:
        self._calls.put(None)

    def join(self, deadline: float) -> None:
        if self._thread.ident is None:
            return  # never started, so there is nothing to close
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self._fail("it did not end in time and was left behind")
            self._guard(lambda tracker: tracker.abandon())

    def _run(self) -> None:
        if (start := self._calls.get()) is not None:
            self._start_error = self._try(start)
        self._started.set()
        if self._start_error is not None and not self._tracker.must_start:
            self._fail(describe(self._start_error))
        while (call := self._calls.get()) is not None:
            if self._start_error is None:
                self._guard(call)
        self._guard(lambda tracker: tracker.close())

    def _guard(self, call: Callable[[Tracker], None]) -> None:
        """Make a call; turn any error into one warning line."""
        if (error := self._try(call)) is not None:
            self._fail(describe(error))

    def _try(self, call: Callable[[Tracker], None]) -> Exception | None:
        try:
            call(self._tracker)
        except Exception as error:  # noqa: BLE001  # a tracker may raise anything, and none of it may reach the run
            return error
        return None

    def _fail(self, reason: str) -> None:
        if not self.failure:
            self.failure = f"tracking.{self._tracker.name}: {reason}"
            _log.warning("%s (the run goes on)", self.failure)
