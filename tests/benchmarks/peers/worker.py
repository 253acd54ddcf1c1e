"""Runs one rival in the peers' own Python: JSON lines in, JSON lines out.

Owns the protocol and the clock. Imports nothing of the project; what a job folder holds is in `job.py`, and each rival
is a module beside this one. A rival is added by naming it in `RIVALS`.

    {"do": "load", "rival": NAME, "job": FOLDER}  ->  {"ok": true}
    {"do": "run"}                                 ->  {"seconds": s}
    {"do": "result"}                              ->  {"result": numbers of the last run}
    {"do": "quit"}

Whatever goes wrong is told as {"error": "one sentence"}, and the worker goes on to the next line.
"""

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

from job import Rival

RIVALS = {
    "vllm": ("by_vllm", "Vllm"),
    "vllm-plain": ("by_vllm", "VllmPlain"),
    "populora": ("by_populora", "Decisions"),
    "populora-kept": ("by_populora", "KeptDecisions"),
    "populora-train": ("by_populora", "Training"),
    "populora-loop": ("by_populora", "LoopTraining"),
    "trl": ("by_trl", "Trl"),
}
"""Name -> (module, class): a module is imported, with all that it brings, only when its rival is wanted."""


class Worker:
    """Answers commands, one rival at a time."""

    def __init__(self) -> None:
        self.rival: Rival | None = None
        self.last: Any = None

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do what a command says."""
        do = command.get("do")
        if do == "load":
            return self.load(command["rival"], Path(command["job"]))
        if do not in ("run", "result"):
            return {"error": f"do: expected load, run, result or quit, got {do!r}"}
        if self.rival is None:
            return {"error": f"do: expected load before {do}"}
        if do == "run":
            return self.run(self.rival)
        return {"error": "do: expected run before result"} if self.last is None else {"result": self.last}

    def load(self, name: str, folder: Path) -> dict[str, Any]:
        """Bring a rival to where it can run."""
        if name not in RIVALS:
            return {"error": f"rival: expected one of {', '.join(RIVALS)}, got {name!r}"}
        module, role = RIVALS[name]
        self.rival, self.last = getattr(import_module(module), role)(folder), None
        return {"ok": True}

    def run(self, rival: Rival) -> dict[str, Any]:
        """Do the whole job once; what must be made anew before each time is not timed."""
        rival.prepare()
        started = time.perf_counter()
        self.last = rival.work()
        return {"seconds": time.perf_counter() - started}


def protocol_stream() -> TextIO:
    """Keep standard output for answers alone: whoever prints, from Python or from C, prints to standard error."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return out


def main() -> None:
    """Answer until told to quit, or until nobody is there to ask."""
    out, worker = protocol_stream(), Worker()
    for line in sys.stdin:
        command = json.loads(line)
        if command.get("do") == "quit":
            break
        try:
            reply = worker.answer(command)
        except Exception as error:  # noqa: BLE001 - a rival may raise anything; all of it is to be told.
            said = " ".join(str(error).split())
            reply = {"error": f"{type(error).__name__}: {said}"}
        out.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()
