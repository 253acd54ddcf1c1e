"""One text while it is written: drawing its next token, and seeing whether that was the last.

Owns sampling from logits, stop words and the ends of texts. A text is read from its tokens and never encoded again.
Does not own how logits are computed (`generate.py`, `population.py`) or where chance comes from.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fitness.errors import EngineError


@dataclass(eq=False)
class Line:
    """One text while it is written."""

    tokenizer: Any
    end_tokens: frozenset[int]
    limit: int
    """Most tokens; below 1, nothing is written."""
    stops: tuple[str, ...]
    """Words that end the text and are cut off."""
    ahead: bool = True
    """Whether a stop word counts among the blanks that a text begins with, too."""
    tokens: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    end: str = ""
    """See `Written.ends`; empty while it is written."""

    def __post_init__(self) -> None:
        """See whether anything may be written."""
        self.end = "" if self.limit > 0 else "limit"

    def take(self, token: int, log_probability: float) -> None:
        """Add a token, and see whether it was the last."""
        self.tokens.append(token)
        self.log_probabilities.append(log_probability)
        if token in self.end_tokens:
            self.end = "eos"
        elif self.stops and len(self._cut(decoded := self._decode())) < len(decoded):
            self.end = "stop"
        elif len(self.tokens) >= self.limit:
            self.end = "limit"

    def text(self) -> str:
        """Return what is written, up to the first stop word."""
        return self._cut(self._decode())

    def _decode(self) -> str:
        text: str = self.tokenizer.decode(self.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text if self.ahead else text.lstrip()

    def _cut(self, text: str) -> str:
        places = [text.find(stop) for stop in self.stops]
        return text[: min((place for place in places if place >= 0), default=len(text))]


def pick(logits: Tensor, heats: Tensor, luck: Tensor) -> tuple[Tensor, Tensor]:
    """Draw a token for each row of logits [n, vocabulary].

    Float64 holds a cumulative distribution over any vocabulary, so that no token is lost to rounding.

    Args:
        logits: of the whole vocabulary.
        heats: [n] temperatures; 0 takes the likeliest token.
        luck: float64 [n] numbers in [0, 1): where in the cumulative distribution the token lies.

    Returns:
        Tokens [n], and their log-probabilities [n] after temperature; at temperature 0, those at temperature 1.

    Raises:
        EngineError: the model computes NaN.
    """
    heats, luck = heats.to(logits.device), luck.to(logits.device)
    log_probs = torch.log_softmax(logits.double() / torch.where(heats > 0, heats, 1.0)[:, None], dim=-1)
    if log_probs.isnan().any():
        raise EngineError(
            "model.name: expected a model that computes finite scores, got NaN (model.dtype=float32 may help)"
        )
    cumulative = log_probs.exp().cumsum(dim=-1)
    drawn = torch.searchsorted(cumulative, luck[:, None] * cumulative[:, -1:], right=True)
    picked = torch.where(heats[:, None] > 0, drawn.clamp_(max=logits.shape[1] - 1), logits.argmax(dim=-1, keepdim=True))
    return picked[:, 0], log_probs.gather(1, picked)[:, 0]


def end_tokens(network: Any, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end a text: the model's own, or else its tokenizer's."""
    ends = getattr(getattr(network, "generation_config", None), "eos_token_id", None)
    ends = tokenizer.eos_token_id if ends is None else ends
    return frozenset() if ends is None else frozenset(ends if isinstance(ends, list | tuple) else [ends])
