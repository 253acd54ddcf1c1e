"""Writing: prompts in, sampled texts out, a token at a time for many rows together.

Owns sampling, stop words and the ends of texts. Runs the Hugging Face network's own code with its key-value cache, as a
prefix of the choosing forwards (`fitness.forwards`) cannot grow; prompts are padded on the left. Adapters act through
hooks on the linear layers, row by row. Does not own who is seated or what was spent (`population.py`).
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fitness.adapter import Adapter, AdapterStack
from fitness.engines.base import Request, Written
from fitness.errors import EngineError, ModelError
from fitness.forwards.huggingface import PopulationLinear
from fitness.model import PopulationModel, Prompts


def write(
    model: PopulationModel,
    prompts: Prompts,
    requests: Sequence[Request],
    adapters: Sequence[Adapter | None],
    together: int,
) -> tuple[Written, float]:
    """Write n texts.

    Every text has chance of its own: its k-th token is where the k-th number of its seed's stream falls into the
    cumulative distribution. Which rows go together changes logits by float rounding only.

    Args:
        model: the shared base model.
        prompts: how texts become tokens; manual, suffix and actions are left out.
        requests: n of them.
        adapters: n, each the request's own; None: the base model.
        together: most rows in one forward.

    Returns:
        The texts, and the floating-point operations spent: 2 x weights touched x tokens, padding included.

    Raises:
        EngineError: the model computes NaN.
    """
    if not requests:
        return Written((), (), (), (), ()), 0.0
    read = replace(prompts, suffix="").rows([request.prompt for request in requests])
    network = model.base.network
    ends, room = _end_tokens(network, prompts.tokenizer), getattr(network.config, "max_position_embeddings", None)
    lines = [
        _Line(request, adapter, [*prompts.bos, *tokens], prompts.tokenizer, ends, room)
        for request, adapter, tokens in zip(requests, adapters, read, strict=True)
    ]
    by_length = sorted((line for line in lines if not line.end), key=lambda line: len(line.prompt))
    kinds = [[line for line in by_length if (line.adapter is None) == plain] for plain in (True, False)]
    pieces = [kind[i : i + together] for kind in kinds for i in range(0, len(kind), together)]
    with torch.inference_mode(), _adaptable(model, adapters) as acting:
        flops = sum(model.side_by_side(lambda piece: _write_out(network, piece, acting), pieces))
    return Written(
        texts=tuple(line.text() for line in lines),
        tokens=tuple(tuple(line.tokens) for line in lines),
        log_probabilities=tuple(tuple(line.log_probabilities) for line in lines),
        ends=tuple(line.end for line in lines),
        prompt_tokens=tuple(len(line.prompt) for line in lines),
    ), flops


@dataclass(eq=False)
class _Line:
    """One text while it is written."""

    request: Request
    adapter: Adapter | None
    prompt: list[int]
    tokenizer: Any
    end_tokens: frozenset[int]
    room: int | None
    tokens: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    end: str = ""

    def __post_init__(self) -> None:
        """Find how much may be written."""
        room = self.request.limit if self.room is None else self.room - len(self.prompt)
        self.limit = min(self.request.limit, room)
        self.end = "" if self.limit > 0 else "limit"
        self.rng = np.random.default_rng(self.request.seed)

    def take(self, token: int, log_probability: float) -> None:
        """Add a token, and see whether it was the last."""
        self.tokens.append(token)
        self.log_probabilities.append(log_probability)
        if token in self.end_tokens:
            self.end = "eos"
        elif self.request.stops and len(self._cut(decoded := self._decode())) < len(decoded):
            self.end = "stop"
        elif len(self.tokens) >= self.limit:
            self.end = "limit"

    def text(self) -> str:
        """Return what is written, up to the first stop word."""
        return self._cut(self._decode())

    def _decode(self) -> str:
        text: str = self.tokenizer.decode(self.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _cut(self, text: str) -> str:
        places = [text.find(stop) for stop in self.request.stops]
        return text[: min((place for place in places if place >= 0), default=len(text))]


class _Acting(threading.local):
    """Whose adapters act on this thread."""

    stack: AdapterStack | None = None
    """One member per row, on the model's device and in its type."""
    scaling: Tensor = torch.ones(1)
    tokens: int = 0
    """Of all rows together."""


def _write_out(network: Any, lines: Sequence[_Line], acting: _Acting) -> float:
    """Write all lines to their ends; return the floating-point operations."""
    ids, mask = _padded([line.prompt for line in lines], network.device)
    body, head = _weights(network)
    cache: Any = None
    writing, flops = list(lines), 0.0
    try:
        lora = _seat(acting, writing, network)
        while writing:
            acting.tokens = ids.numel()
            out = network(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(dim=1) - 1).clamp_(min=0)[:, -ids.shape[1] :],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache = out.past_key_values
            flops += 2.0 * ((body + lora) * ids.numel() + head * len(writing))
            ids = _sample(out.logits[:, -1], writing)
            kept = torch.tensor([not line.end for line in writing], device=ids.device)
            if not kept.all():
                writing = [line for line in writing if not line.end]
                cache.batch_select_indices(kept.nonzero()[:, 0])
                mask, ids = mask[kept], ids[kept]
                _seat(acting, writing, network)
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
    finally:
        acting.stack = None
    return flops


def _padded(prompts: Sequence[Sequence[int]], device: Any) -> tuple[Tensor, Tensor]:
    """Return ids and mask [n, T] of prompts, padded on the left."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(tokens)) + list(tokens) for tokens in prompts], device=device)
    starts = torch.tensor([width - len(tokens) for tokens in prompts], device=device)
    return ids, (torch.arange(width, device=device) >= starts[:, None]).long()


def _sample(logits: Tensor, lines: Sequence[_Line]) -> Tensor:
    """Draw each line's next token from logits [n, vocabulary]; return ids [n, 1].

    Float64 holds a cumulative distribution over any vocabulary, so that no token is lost to rounding.
    """
    heats = torch.tensor([line.request.temperature or 1.0 for line in lines], device=logits.device)
    log_probs = torch.log_softmax(logits.double() / heats[:, None], dim=-1)
    if log_probs.isnan().any():
        raise EngineError(
            "model.name: expected a model that computes finite scores, got NaN (model.dtype=float32 may help)"
        )
    cumulative = log_probs.exp().cumsum(dim=-1)
    luck = torch.tensor([line.rng.random() for line in lines], dtype=torch.float64, device=logits.device)
    drawn = torch.searchsorted(cumulative, luck[:, None] * cumulative[:, -1:], right=True)
    greedy = torch.tensor([[not line.request.temperature] for line in lines], device=logits.device)
    picked = torch.where(greedy, logits.argmax(dim=-1, keepdim=True), drawn.clamp_(max=logits.shape[1] - 1))
    found = log_probs.gather(1, picked)
    for line, token, log_prob in zip(lines, picked[:, 0].tolist(), found[:, 0].tolist(), strict=True):
        line.take(token, log_prob)
    return picked


def _seat(acting: _Acting, lines: Sequence[_Line], network: Any) -> int:
    """Have the lines' own adapters act on this thread, if they have some; return the weights of one of them."""
    adapters = [line.adapter for line in lines if line.adapter is not None]
    if not adapters:
        acting.stack = None
        return 0
    like = network.get_input_embeddings().weight
    acting.stack = stack = AdapterStack.of(adapters).map(lambda factor: factor.to(like))
    acting.scaling = stack.scaling().to(like)
    return sum(factor[0].numel() for side in (stack.a, stack.b) for factor in side.values())


@contextmanager
def _adaptable(model: PopulationModel, adapters: Sequence[Adapter | None]) -> Iterator[_Acting]:
    """Make the network's linear layers add, inside the block, the low-rank updates that `_Acting` holds."""
    acting = _Acting()
    names = sorted({name for adapter in adapters if adapter is not None for name in adapter.spec.modules})
    hooks = [model.base.network.get_submodule(n).register_forward_hook(_adding(n, acting)) for n in names]
    try:
        yield acting
    finally:
        for hook in hooks:
            hook.remove()


def _adding(name: str, acting: _Acting) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]:
    """Return a hook that adds each row's own update to the output of the layer called `name`."""

    def add(_: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor | None:
        stack = acting.stack
        if stack is None or name not in stack.a:
            return None
        x, a, b = inputs[0], stack.a[name], stack.b[name]
        if x.numel() != acting.tokens * x.shape[-1]:
            raise ModelError(f"model.targets: expected linear layers that see every token, got {name}")
        down = torch.bmm(x.reshape(len(a), -1, x.shape[-1]), a.mT) * acting.scaling
        return out + torch.bmm(down, b.mT).view(out.shape)

    return add


def _end_tokens(network: Any, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end a text: the model's own, or else its tokenizer's."""
    ends = getattr(getattr(network, "generation_config", None), "eos_token_id", None)
    ends = tokenizer.eos_token_id if ends is None else ends
    return frozenset() if ends is None else frozenset(ends if isinstance(ends, list | tuple) else [ends])


def _weights(network: Any) -> tuple[int, int]:
    """Return the weights that every token meets, and those of the head, which only last tokens do."""
    head = network.get_output_embeddings()
    linears = [m for m in network.modules() if isinstance(m, nn.Linear | PopulationLinear) and m is not head]
    return sum(m.weight.numel() for m in linears), head.weight.numel()
