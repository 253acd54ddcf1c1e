"""The contract of a tracker: four events, in order, from one thread.

Owns the abstract class. Does not own threads, queues or time limits (fanout.py): a tracker is written as if it were
alone. To add a member, see the package's docstring.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from evo.records import GenerationRecord, GenomeRow, RunFinished, RunStarted


class Tracker(ABC):
    """Shows a run somewhere. Every method is called from the tracker's own thread, `abandon` alone from the run's."""

    name: str = "tracker"
    """In messages: the field of the `tracking` group that it belongs to."""
    must_start: bool = True
    """Whether the run waits for `on_start` and ends if it fails; otherwise a failure only costs the tracker."""

    @abstractmethod
    def on_start(self, started: RunStarted) -> None:
        """Get ready. Comes first, once.

        Raises:
            ConfigError: What was asked for cannot be had.
        """

    @abstractmethod
    def on_generation(self, record: GenerationRecord, rows: Sequence[GenomeRow]) -> None:
        """Show a generation and the genomes that lived in it. Generations come in order; some may be left out."""

    @abstractmethod
    def on_finish(self, finished: RunFinished) -> None:
        """Show the end. Does not come if the run is interrupted."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything. Comes last, once, whatever happened before, even if `on_start` failed."""

    def abandon(self) -> None:
        """Let nothing keep the process from ending. Called when `close` takes too long; must return at once."""
        return
