"""An engine without a model: a pure function of (strategy, observation) decides, and another one writes.

Owns nothing but these functions' use. It serves tests, controls and worked examples; adapters are seated and ignored.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fitness.agent import Agent
from fitness.engines.base import Decisions, Engine, Request, Usage, Written, draw
from fitness.errors import EngineError

Policy = Callable[[str, str], Sequence[float]]
"""(strategy, observation) -> one probability per action."""
Writer = Callable[[Request], str]
"""What would be written without stop words and limit; chance, if any, comes from the request's seed."""


class ScriptedEngine(Engine):
    """Decides by `policy`, with each agent's temperature applied to its log-probabilities.

    Example: `ScriptedEngine(lambda strategy, observation: (0.9, 0.1) if "eat" in strategy else (0.5, 0.5))`
    """

    def __init__(self, policy: Policy, writer: Writer | None = None) -> None:
        """Use `policy` for every agent, and `writer` for every text; None: the engine cannot write."""
        self._policy, self._writer = policy, writer
        self._agents: tuple[Agent, ...] = ()
        self._usage = Usage()

    @property
    def usage(self) -> Usage:
        """What has been spent so far: decisions and words."""
        return self._usage

    def seat(self, agents: Sequence[Agent]) -> None:
        """Make `agents` ready."""
        self._agents = tuple(agents)

    def decide(self, seats: NDArray[np.int64], observations: Sequence[str], uniforms: NDArray[np.float64]) -> Decisions:
        """Choose one action per row (see `Engine.decide`); tokens are counted as words."""
        if not self._agents:
            raise EngineError("engine: expected seated agents, got none")
        agents = [self._agents[seat] for seat in seats]
        rows = [self._log_probs(agent, text) for agent, text in zip(agents, observations, strict=True)]
        words = [len(f"{a.strategy} {text}".split()) for a, text in zip(agents, observations, strict=True)]
        self._usage = replace(self._usage, decisions=self._usage.decisions + len(rows))
        log_probs = np.stack(rows).astype(np.float32)
        return Decisions(draw(log_probs, uniforms), log_probs, np.array(words, dtype=np.int64))

    def decide_again(
        self, agents: Sequence[Agent], observations: Sequence[str], tokens: Sequence[Sequence[int]] | None = None
    ) -> NDArray[np.float32]:
        """Return the agents' log-probabilities (see `Engine.decide_again`)."""
        if tokens is not None:
            raise EngineError("engine: expected one that decides in words, got ScriptedEngine, which chooses only")
        pairs = zip(agents, observations, strict=True)
        return np.stack([self._log_probs(agent, text) for agent, text in pairs]).astype(np.float32)

    def generate(self, requests: Sequence[Request]) -> Written:
        """Write as `writer` does (see `Engine.generate`); words are tokens, numbered from 0 and certain."""
        if self._writer is None:
            return super().generate(requests)
        texts, tokens, ends = [], [], []
        for request in requests:
            whole = self._writer(request)
            last = [match.end() for match in re.finditer(r"\s*\S+|\s+$", whole)][: request.limit]
            text = whole[: last[-1] if last else 0]
            end = "eos" if len(text) == len(whole) else "limit"
            if places := [text.find(stop) for stop in request.stops if stop in text]:
                text, end = text[: min(places)], "stop"
            texts.append(text)
            tokens.append(tuple(range(len(last))))
            ends.append(end)
        count = sum(map(len, tokens))
        self._usage = replace(self._usage, written_tokens=self._usage.written_tokens + count)
        certain = tuple((0.0,) * len(some) for some in tokens)
        words = tuple(len(request.prompt.split()) for request in requests)
        return Written(tuple(texts), tuple(tokens), certain, tuple(ends), words)

    def _log_probs(self, agent: Agent, observation: str) -> NDArray[np.float64]:
        """Return the log-probabilities [A] of one decision; an impossible action gets a very small one."""
        probabilities = np.maximum(np.asarray(self._policy(agent.strategy, observation), dtype=np.float64), 1e-30)
        logits = np.log(probabilities) / agent.temperature
        highest = logits.max()
        result: NDArray[np.float64] = logits - highest - np.log(np.exp(logits - highest).sum())
        return result
