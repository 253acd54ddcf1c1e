"""Ends of a run that come from outside: Ctrl-C and the signals of a scheduler.

Owns the signal handlers while a run works. Ctrl-C once lets the generation in work come to its end and its checkpoint
be written; while none is in work, or the second time, it stops now. So do SIGTERM and SIGHUP, after which little time
is left. Now means as soon as the call in progress, such as a forward of the model, returns. Either way the run can be
resumed: what is lost is at most the generation in work.
"""

import signal
import sys
import threading
from collections.abc import Iterator
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


class Stop:
    """Knows whether a generation is in work, and whether the run is to stop after it."""

    def __init__(self) -> None:
        """Begin with no generation in work."""
        self._working, self._asked = False, 0

    def begin(self) -> None:
        """Note that a generation begins."""
        self._working = True

    def end(self) -> None:
        """Note that a generation is over and its checkpoint written.

        Raises:
            StoppedError: Ctrl-C was pressed meanwhile.
        """
        self._working = False
        if self._asked:
            raise StoppedError(self._asked)

    def ask(self, number: int) -> None:
        """Stop after the generation in work.

        Raises:
            StoppedError: there is none, or it was asked before.
        """
        if self._asked or not self._working:
            raise StoppedError(number)
        self._asked = number
        print("\nforager: Ctrl-C: this generation will be finished; once more stops now", file=sys.stderr, flush=True)


@contextmanager
def stopping() -> Iterator[Stop]:
    """Take over the signals; yield what is to be told of every generation's beginning and end."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may take signals
        yield stop
        return

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        stop.ask(number)

    def at_once(number: int, frame: FrameType | None) -> None:
        raise StoppedError(number)

    handlers = {signal.SIGINT: on_interrupt} | dict.fromkeys(_AT_ONCE, at_once)
    heeded = {n: handler for n, handler in handlers.items() if signal.getsignal(n) != signal.SIG_IGN}  # see nohup(1)
    before = {number: signal.signal(number, handler) for number, handler in heeded.items()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
