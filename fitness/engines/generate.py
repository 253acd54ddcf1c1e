"""Writing: prompts in, sampled texts out, a token at a time for many rows together.

Owns how texts of any length are computed; `lines.py` draws their tokens and sees their ends. Runs the Hugging Face
network's own code with its key-value cache, as a prefix of the population's forwards (`fitness.forwards`) cannot grow;
prompts are padded on the left. Adapters act through hooks on the linear layers, row by row. Does not own who is seated
or what was spent (`population.py`).
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fitness.adapter import Adapter, AdapterStack
from fitness.engines.base import Request, Written
from fitness.engines.lines import Line, end_tokens, pick
from fitness.errors import ModelError
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
    ends, room = end_tokens(network, prompts.tokenizer), getattr(network.config, "max_position_embeddings", None)
    rows = []
    for request, adapter, tokens in zip(requests, adapters, read, strict=True):
        prompt = [*prompts.bos, *tokens]
        limit = request.limit if room is None else min(request.limit, room - len(prompt))
        rows.append(_Row(request, adapter, prompt, Line(prompts.tokenizer, ends, limit, request.stops)))
    by_length = sorted((row for row in rows if not row.line.end), key=lambda row: len(row.prompt))
    kinds = [[row for row in by_length if (row.adapter is None) == plain] for plain in (True, False)]
    pieces = [kind[i : i + together] for kind in kinds for i in range(0, len(kind), together)]
    with torch.inference_mode(), _adaptable(model, adapters) as acting:
        flops = sum(model.side_by_side(lambda piece: _write_out(network, piece, acting), pieces))
    return Written(
        texts=tuple(row.line.text() for row in rows),
        tokens=tuple(tuple(row.line.tokens) for row in rows),
        log_probabilities=tuple(tuple(row.line.log_probabilities) for row in rows),
        ends=tuple(row.line.end for row in rows),
        prompt_tokens=tuple(len(row.prompt) for row in rows),
    ), flops


@dataclass(eq=False)
class _Row:
    """A text while it is written, and what it takes."""

    request: Request
    adapter: Adapter | None
    prompt: list[int]
    line: Line

    def __post_init__(self) -> None:
        """Begin its own stream of chance."""
        self.rng = np.random.default_rng(self.request.seed)


class _Acting(threading.local):
    """Whose adapters act on this thread."""

    stack: AdapterStack | None = None
    """One member per row, on the model's device and in its type."""
    scaling: Tensor = torch.ones(1)
    tokens: int = 0
    """Of all rows together."""


def _write_out(network: Any, rows: Sequence[_Row], acting: _Acting) -> float:
    """Write all rows to their ends; return the floating-point operations."""
    ids, mask = _padded([row.prompt for row in rows], network.device)
    body, head = _weights(network)
    cache: Any = None
    writing, flops = list(rows), 0.0
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
            kept = torch.tensor([not row.line.end for row in writing], device=ids.device)
            if not kept.all():
                writing = [row for row in writing if not row.line.end]
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


def _sample(logits: Tensor, rows: Sequence[_Row]) -> Tensor:
    """Draw each row's next token from logits [n, vocabulary]; return ids [n, 1]."""
    heats = torch.tensor([row.request.temperature for row in rows])
    luck = torch.tensor([row.rng.random() for row in rows], dtype=torch.float64)
    picked, found = pick(logits, heats, luck)
    for row, token, log_prob in zip(rows, picked.tolist(), found.tolist(), strict=True):
        row.line.take(token, log_prob)
    return picked[:, None]


def _seat(acting: _Acting, rows: Sequence[_Row], network: Any) -> int:
    """Have the rows' own adapters act on this thread, if they have some; return the weights of one of them."""
    adapters = [row.adapter for row in rows if row.adapter is not None]
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


def _weights(network: Any) -> tuple[int, int]:
    """Return the weights that every token meets, and those of the head, which only last tokens do."""
    head = network.get_output_embeddings()
    linears = [m for m in network.modules() if isinstance(m, nn.Linear | PopulationLinear) and m is not head]
    return sum(m.weight.numel() for m in linears), head.weight.numel()
