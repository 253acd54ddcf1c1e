"""Rivals from other packages, each run in a Python of its own (`.venv-peers`, made by `make bench-peers`).

Owns the main side of the conversation with `worker.py`; `jobs` writes what is to be done. The modules `by_*.py`,
`job.py` and `worker.py` belong to the other side and are never imported here. Not collected by pytest.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

PYTHON = Path(__file__).resolve().parents[3] / ".venv-peers" / "bin" / "python"
_WORKER = Path(__file__).with_name("worker.py")
_QUIET = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TRL_EXPERIMENTAL_SILENCE": "1"}
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**34), "MALLOC_TOP_PAD_": str(2**26)}
"""Keeps freed memory: giving it back and taking it anew costs vLLM's gathers of adapters up to half of their time."""


class PeerError(Exception):
    """A rival said that it could not, or its process died."""


def available() -> bool:
    """Tell whether the peers' environment is there."""
    return PYTHON.is_file()


class Peer:
    """A worker process; used with `with`, which ends it.

    Example:
        with Peer() as peer:
            peer.load("vllm", folder)
            seconds = peer.run()
            log_probabilities = peer.result()
    """

    def __init__(self, *, tuned: bool = True) -> None:
        self.tuned = tuned
        """Whether freed memory is kept, which is not how a rival comes."""

    def __enter__(self) -> "Peer":
        if not available():
            raise PeerError("expected the peers' environment in .venv-peers; `make bench-peers` makes it")
        self._noise = tempfile.TemporaryFile("w+", errors="replace")
        self._process = subprocess.Popen(
            [PYTHON, _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._noise,
            text=True,
            bufsize=1,
            env=os.environ | _QUIET | (_MEMORY if self.tuned else {}),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._noise.close()

    def load(self, rival: str, job: Path) -> None:
        """Bring a rival to where it can run the job in a folder (see `jobs`).

        Raises:
            PeerError: the rival is unknown, cannot take the job, or died of it.
        """
        self._ask({"do": "load", "rival": rival, "job": str(job)})

    def run(self) -> float:
        """Do the whole job once and return the seconds that it took, without what must be made anew before."""
        return float(self._ask({"do": "run"})["seconds"])

    def result(self) -> NDArray[np.float64]:
        """Return the last run's numbers: log-probabilities [n, A] of decisions, or losses [P] of training."""
        return np.array(self._ask({"do": "result"})["result"])

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send one command and return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerError(f"{command['do']}: the worker died ({self._process.wait()}); it said last:\n{self._last()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{command['do']}: {answer['error']}")
        return answer

    def _last(self) -> str:
        """Return the last lines that the worker wrote to standard error."""
        self._noise.seek(0)
        return "".join(self._noise.readlines()[-15:])
