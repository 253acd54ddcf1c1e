"""Ends of a run that come from outside: Ctrl-C and the signals of a scheduler.

Owns the signal handlers while a run works. Ctrl-C once lets the generation come to its end and its checkpoint be
written; twice stops now. SIGTERM and SIGHUP, after which little time is left, stop now as well. Either way the run can
be resumed: what is lost is at most the generation in work.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_AT_ONCE = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class StoppedError(KeyboardInterrupt):
    """The run was asked from outside to stop. No `Exception`: nothing that goes on after errors may hold it up."""

    def __init__(self, number: int) -> None:
        """Say which signal it was."""
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell reports of a process that the signal ended."""
        return 128 + self.number


@contextmanager
def stopping() -> Iterator[Callable[[], None]]:
    """Take over the signals; yield what raises `StoppedError` if Ctrl-C was pressed, for use between generations."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only the main thread may take signals
        yield lambda: None
        return

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if asked:
            raise StoppedError(number)
        asked.append(number)
        print("\nforager: Ctrl-C: this generation will be finished; once more stops now", file=sys.stderr, flush=True)

    def at_once(number: int, frame: FrameType | None) -> None:
        raise StoppedError(number)

    def check() -> None:
        if asked:
            raise StoppedError(asked[0])

    handlers = {signal.SIGINT: on_interrupt} | dict.fromkeys(_AT_ONCE, at_once)
    heeded = {n: handler for n, handler in handlers.items() if signal.getsignal(n) != signal.SIG_IGN}  # see nohup(1)
    before = {number: signal.signal(number, handler) for number, handler in heeded.items()}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
