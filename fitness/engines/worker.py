"""Any engine in a process of its own, which is ended and begun anew when it hangs or dies.

Owns the process, the time limit of a call and the messages between the two sides: JSON, and tensors as safetensors. The
process leads a group of its own, so that whatever it started ends with it, and Ctrl-C does not reach it. A call that is
not answered raises an `EngineError`; the next one finds a new process with the same agents in their seats. Training
needs the base model on this side too: it is loaded a second time when it is first asked for.
"""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load, save

from fitness.adapter import Adapter, LoraSpec
from fitness.agent import Agent
from fitness.engines.base import Decisions, Engine, Request, Usage, Written
from fitness.engines.population import PopulationEngine
from fitness.errors import EngineError, describe
from fitness.model import PopulationModel, Prompts
from fitness.records import Answers

_START_SECONDS = 600.0
"""Loading a large model takes long."""
_WATCH_SECONDS = 1.0
_BEGINNINGS = 3
"""A process that ends while it begins is begun again, up to this many times in all."""
_LENGTH_BYTES = 8
Arrays = dict[str, NDArray[Any]]
Message = tuple[dict[str, Any], Arrays]


@dataclass(frozen=True)
class Work:
    """What the process is for."""

    build: Callable[[], Engine]
    """Makes the engine, there; must be picklable."""
    seconds: float
    """Longest time for one call."""


class WorkerEngine(Engine):
    """Decides as the engine in its process does."""

    def __init__(self, work: Work) -> None:
        """Take the work; the process is begun by the first call."""
        self._work = work
        self._agents: tuple[Agent, ...] = ()
        self.row_chunk: int | None = None
        self._before = Usage()
        self._counted = False
        """Whether reading the agents' strategies has been counted; a new process that reads them again adds nothing."""
        self._process: _Process | None = None
        self._here = cache(work.build)
        """Returns the same engine on this side, for what needs its model."""

    @property
    def model(self) -> PopulationModel:
        """The base model, for training."""
        here = self._here()
        assert isinstance(here, PopulationEngine)
        return here.model

    @property
    def prompts(self) -> Prompts:
        """How texts become tokens, for training."""
        here = self._here()
        assert isinstance(here, PopulationEngine)
        return here.prompts

    @property
    def usage(self) -> Usage:
        """What has been spent so far, by processes that are gone too."""
        now = self._process
        return self._before if now is None else _sum(self._before, _sum(now.usage, now.uncounted, -1))

    @property
    def rounding(self) -> float:
        """See `Engine.rounding`."""
        return self._here().rounding

    def go_on(self, spent: Usage, row_chunk: int | None) -> None:
        """Count on from `spent`, whatever the process has counted (see `PopulationEngine.go_on`)."""
        self._before, self.row_chunk = _sum(self._before, _sum(spent, self.usage, -1)), row_chunk

    def seat(self, agents: Sequence[Agent]) -> None:
        """Make `agents` ready."""
        self._agents, self._counted = tuple(agents), False
        if self._process is not None:
            try:
                self._process.call("seat", *_pack_agents(self._agents), self._work.seconds)
            except _GoneError:
                self.close()
        self._begun()
        self._counted = True

    def decide(self, seats: NDArray[np.int64], observations: Sequence[str], uniforms: NDArray[np.float64]) -> Decisions:
        """Choose one action per row (see `Engine.decide`).

        Raises:
            EngineError: the engine raised, hung for longer than it may, or died.
        """
        arrays = {"seats": np.asarray(seats, np.int64), "uniforms": np.asarray(uniforms, np.float64)}
        told, found = self._ask("decide", {"observations": list(observations)}, arrays)
        answers = Answers.of(**told["answers"]) if told["answers"] else None
        return Decisions(found["actions"], found["log_probabilities"], found["prompt_tokens"], answers)

    def decide_again(
        self, agents: Sequence[Agent], observations: Sequence[str], tokens: Sequence[Sequence[int]] | None = None
    ) -> NDArray[np.float32]:
        """Return the agents' log-probabilities (see `Engine.decide_again`)."""
        told, arrays = _pack_agents(agents)
        said = None if tokens is None else [list(one) for one in tokens]
        _, found = self._ask("decide_again", {**told, "observations": list(observations), "tokens": said}, arrays)
        scores: NDArray[np.float32] = found["log_probabilities"]
        return scores

    def generate(self, requests: Sequence[Request]) -> Written:
        """Write the texts there (see `Engine.generate`); all of them within the time of one call."""
        answer, _ = self._ask("generate", {"requests": [asdict(request) for request in requests]}, {})
        return _written(answer["written"])

    def assert_adapters_act(self) -> None:
        """See `PopulationEngine.assert_adapters_act`."""
        self._ask("assert_adapters_act", {}, {})

    def take_faults(self) -> tuple[str, ...]:
        """See `Engine.take_faults`."""
        return tuple(self._ask("take_faults", {}, {})[0]["faults"]) if self._process is not None else ()

    def close(self) -> None:
        """End the process, and whatever it started."""
        if self._process is not None:
            self._before = self.usage
            self._process.end()
            self._process = None

    def _ask(self, name: str, told: dict[str, Any], arrays: Arrays) -> Message:
        """Make a call, a second time in a new process if the first died; what hangs it is for the caller to find."""
        for attempt in (1, 2):
            try:
                return self._begun().call(name, told, arrays, self._work.seconds)
            except _GoneError as error:
                self.close()
                if attempt == 2 or (name == "decide" and isinstance(error, _HangError)):
                    raise
        raise AssertionError

    def _begun(self) -> "_Process":
        """Return the process; if there is none, begin one and seat the agents in it."""
        for beginning in range(1, _BEGINNINGS + 1):
            if self._process is not None:
                return self._process
            self._process = _Process(self._work.build)
            try:
                _prepare(self._process, self._work.seconds, self._agents, self._counted)
            except BaseException as error:
                self.close()
                if beginning == _BEGINNINGS or not isinstance(error, _GoneError):
                    raise
        assert self._process is not None
        return self._process


class _GoneError(EngineError):
    """A process gave no answer, and is of no use any more."""


class _HangError(_GoneError):
    """It took longer than it may."""


class _Process:
    """A process that serves an engine, and the pipe to it."""

    def __init__(self, build: Callable[[], Engine]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, build), daemon=True)
        self._process.start()
        theirs.close()
        self.usage = self.uncounted = Usage()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def call(self, name: str, told: dict[str, Any], arrays: Arrays, seconds: float) -> Message:
        """Send a call and return the answer.

        Raises:
            _GoneError: there is none.
            EngineError: the engine raised.
        """
        try:
            self._pipe.send_bytes(_encode(({**told, "call": name}, arrays)))
            if not self._pipe.poll(seconds):
                raise _HangError(f"worker: expected {name} to answer within {seconds:g} s, got nothing: it was ended")
            answer, found = _decode(self._pipe.recv_bytes())
        except (EOFError, OSError) as error:
            raise _GoneError(f"worker: expected {name} to answer, got the end of its process") from error
        self.usage = Usage(**answer["usage"])
        if "error" in answer:
            raise EngineError(f"worker: {answer['error']}")
        return answer, found

    def end(self) -> None:
        """End the process and its group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # type: ignore[arg-type]  # it was started
        self._process.kill()  # should it not lead a group yet
        self._process.join()
        self._pipe.close()


def _prepare(process: _Process, seconds: float, agents: Sequence[Agent], counted: bool) -> None:
    """Have a new process build its engine and seat the agents; if that was `counted` before, it is not again."""
    process.call("begin", {}, {}, _START_SECONDS)
    if agents:
        process.call("seat", *_pack_agents(agents), seconds)
    if counted:
        process.uncounted = process.usage


def _serve(pipe: Connection, build: Callable[[], Engine]) -> None:
    """Answer calls until the other side is gone."""
    with suppress(OSError):
        os.setsid()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    engine: Engine | None = None
    while True:
        try:
            told, arrays = _decode(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        answer: dict[str, Any] = {}
        found: Arrays = {}
        try:
            if engine is None:
                engine = build()
            answer, found = _do(engine, told, arrays)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other side shall hear of it
            answer = {"error": describe(error)}
        usage = Usage() if engine is None else engine.usage
        pipe.send_bytes(_encode(({**answer, "usage": asdict(usage)}, found)))


def _end_with(parent: int) -> None:
    """End this process and all that it started as soon as the other side is gone, even in the middle of a hang."""
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os.killpg(0, signal.SIGKILL)


def _do(engine: Engine, told: dict[str, Any], arrays: Arrays) -> Message:
    """Make one call."""
    call = told["call"]
    if call == "seat":
        engine.seat(_unpack_agents(told, arrays))
    elif call == "decide":
        decided = engine.decide(arrays["seats"], told["observations"], arrays["uniforms"])
        arrays = {name: np.asarray(values) for name, values in vars(decided).items() if name != "answers"}
        return {"answers": _told(decided.answers)}, arrays
    elif call == "decide_again":
        scores = engine.decide_again(_unpack_agents(told, arrays), told["observations"], told["tokens"])
        return {}, {"log_probabilities": np.ascontiguousarray(scores)}
    elif call == "generate":
        return {"written": asdict(engine.generate([Request(**one) for one in told["requests"]]))}, {}
    elif call == "take_faults":
        return {"faults": list(engine.take_faults())}, {}
    elif call == "assert_adapters_act" and isinstance(engine, PopulationEngine):
        engine.assert_adapters_act()
    return {}, {}


def _told(answers: Answers | None) -> dict[str, Any] | None:
    """Return answers as JSON can hold them."""
    return None if answers is None else {name: values.tolist() for name, values in vars(answers).items()}


def _written(told: dict[str, Any]) -> Written:
    """Return texts that came across as JSON, which knows lists only."""
    whole = {name: tuple(map(tuple, told[name])) for name in ("tokens", "log_probabilities")}
    return Written(**{**{name: tuple(values) for name, values in told.items()}, **whole})


def _pack_agents(agents: Sequence[Agent]) -> Message:
    """Return agents as values and arrays."""
    told = [
        {
            "id": agent.id,
            "strategy": agent.strategy,
            "temperature": agent.temperature,
            "rank": agent.adapter.spec.rank,
            "alpha": agent.adapter.spec.alpha,
            "shapes": agent.adapter.spec.shapes,
        }
        for agent in agents
    ]
    arrays = {
        f"{place}.{side}.{name}": np.ascontiguousarray(factor.detach().cpu().numpy())
        for place, agent in enumerate(agents)
        for side, factors in (("a", agent.adapter.a), ("b", agent.adapter.b))
        for name, factor in factors.items()
    }
    return {"agents": told}, arrays


def _unpack_agents(told: dict[str, Any], arrays: Arrays) -> list[Agent]:
    """Return the agents that `_pack_agents` packed."""
    agents = []
    for place, one in enumerate(told["agents"]):
        spec = LoraSpec(one["rank"], one["alpha"], tuple((name, i, o) for name, i, o in one["shapes"]))
        a, b = (
            {name: torch.from_numpy(arrays[f"{place}.{side}.{name}"].copy()) for name in spec.modules} for side in "ab"
        )
        adapter = Adapter(spec, a, b)
        agents.append(Agent(id=one["id"], strategy=one["strategy"], adapter=adapter, temperature=one["temperature"]))
    return agents


def _encode(message: Message) -> bytes:
    told, arrays = message
    head = json.dumps(told).encode()
    return len(head).to_bytes(_LENGTH_BYTES, "big") + head + (save(arrays) if arrays else b"")


def _decode(data: bytes) -> Message:
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "big")
    return json.loads(data[_LENGTH_BYTES:end]), load(data[end:]) if len(data) > end else {}


def _sum(one: Usage, other: Usage, times: int = 1) -> Usage:
    """Return one and `times` the other together."""
    return replace(
        one,
        decisions=one.decisions + times * other.decisions,
        forward_flops=one.forward_flops + times * other.forward_flops,
        model_seconds=one.model_seconds + times * other.model_seconds,
        written_tokens=one.written_tokens + times * other.written_tokens,
    )
