"""The forward for any Hugging Face causal LM: its own code, with the targeted linear layers made population-aware.

Owns the population-aware linear layer and the key-value cache of a prefix that a genome's rows share. Refuses, with a
`ModelError`, models whose layers keep something else than keys and values, and layers that do not see every token.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from fitness.adapter import AdapterStack
from fitness.errors import ModelError
from fitness.forwards.base import SCALING, Forward, Pooled, Prefix, prefix_mask, row_mask, row_means

_KNOWN_LAYERS = frozenset({"full_attention", "sliding_attention"})


class Acting(threading.local):
    """Whose adapters act; each thread has its own, so that several may use one network at the same time."""

    adapters: Mapping[str, Tensor] = MappingProxyType({})
    """A [P, r, in] and B [P, out, r] of every adapted layer, and the scaling."""
    tokens: int = 0
    """Tokens of the whole batch."""


class PopulationLinear(nn.Module):
    """A frozen linear layer that adds each genome's own low-rank update to that genome's rows."""

    def __init__(self, base: nn.Linear, name: str, acting: Acting) -> None:
        """Take over the weights of `base`, called `name` in the model."""
        super().__init__()
        self.in_features, self.out_features, self.name = base.in_features, base.out_features, name
        self.weight, self.bias, self.acting = base.weight, base.bias, acting

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to [P * n, ..., in] (or [P * n * T, in]), rows grouped by genome."""
        out = F.linear(x, self.weight, self.bias)
        a, b = (self.acting.adapters.get(f"{self.name}.{part}") for part in "ab")
        if a is None or b is None:
            return out
        if x.numel() != self.acting.tokens * self.in_features:
            raise ModelError(
                f"model.targets: expected linear layers that see every token, got {self.name}, which saw "
                f"{x.numel() // self.in_features} of {self.acting.tokens}"
            )
        down = torch.bmm(x.reshape(len(a), -1, self.in_features), a.mT) * self.acting.adapters[SCALING]
        return out.view(len(a), -1, self.out_features).baddbmm_(down, b.mT).view(out.shape)


class _SharedPrefixLayer(DynamicLayer):
    """One layer's cache: a prefix per genome, joined to its rows' own keys without a copy per row beforehand."""

    def __init__(self, keys: Tensor, values: Tensor, rows: int) -> None:
        """Hold [P, heads, L, size] for `rows` rows of each genome."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.prefix, self.rows = (keys, values), rows
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Return keys and values [P * n, heads, L + T, size] of prefix and rows."""
        keys, values = self.prefix
        return self._join(keys, key_states), self._join(values, value_states)

    def _join(self, prefix: Tensor, rows: Tensor) -> Tensor:
        """Put [P, heads, L, size] before each genome's rows in [P * n, heads, T, size]."""
        genomes, heads, length, size = prefix.shape
        shared = prefix[:, None].expand(genomes, self.rows, heads, length, size)
        return torch.cat([shared, rows.unflatten(0, (genomes, self.rows))], dim=3).flatten(0, 1)

    def get_seq_length(self) -> int:
        """Return the prefix's length."""
        return int(self.prefix[0].shape[2])


class _Rows(NamedTuple):
    """P * n rows, ready for the network."""

    ids: Tensor
    """[P * n, T]"""
    mask: Any
    positions: Tensor
    """[P * n, T]"""
    cache: Cache
    """The prefixes."""


class HuggingFaceForward(Forward):
    """Runs the model's own code; correct for every decoder that keeps keys and values."""

    def __init__(self, network: Any, targets: tuple[str, ...]) -> None:
        """Freeze `network` and make the linear layers named in `targets` population-aware, in place."""
        self.network: Any = network
        self.config = network.config.get_text_config()
        _refuse_unknown_layers(self.config)
        self.acting = Acting()
        self.linears = {name: _replace(network, name, self.acting) for name in targets}
        self.plain_head = _head_is_plain(network)
        every_linear = (m for m in network.base_model.modules() if isinstance(m, (nn.Linear, PopulationLinear)))
        self.weights = sum(m.weight.numel() for m in every_linear)

    def read(self, stack: AdapterStack | None, ids: Tensor, lengths: Tensor) -> Prefix:
        """Read each genome's prefix (see `Forward.read`)."""
        width = ids.shape[1]
        adapters = self._adapters(stack)
        cache: Any = DynamicCache()
        positions = (torch.arange(width, device=ids.device) - (width - lengths)[:, None]).clamp_(min=0)
        mask = self._windowed(prefix_mask(lengths, width, self.network.dtype))
        with self._active(adapters, ids.numel()):
            self._base(ids, mask, positions, cache)
        return Prefix(adapters, tuple(x.keys for x in cache.layers), tuple(x.values for x in cache.layers), lengths)

    def logits(self, prefix: Prefix, ids: Tensor, places: Tensor, tokens: Tensor | slice) -> Tensor:
        """Score what may follow (see `Forward.logits`)."""
        rows = self._rows(prefix, ids)
        with self._active(prefix.adapters, ids.numel()):
            if self.plain_head:
                logits = self._head(_at(self._base(*rows), places), tokens)
            else:
                skipped = int(places.min())
                logits = _at(self._last_logits(*rows, ids.shape[2] - skipped), places - skipped)[:, tokens]
        scores: Tensor = logits.unflatten(0, places.shape).float()
        return scores

    def pooled(self, prefix: Prefix, ids: Tensor, lengths: Tensor, actions: Tensor) -> Pooled:
        """Score the actions and pool the hidden states; a second forward scores where the head is more than a product.

        See `Forward.pooled`.
        """
        places = lengths[..., None] - 1
        with self._active(prefix.adapters, ids.numel()):
            hidden = self._base(*self._rows(prefix, ids))
        states = row_means(hidden.unflatten(0, ids.shape[:2]), lengths)
        if not self.plain_head:
            return Pooled(self.logits(prefix, ids, places, actions)[:, :, 0], states)
        return Pooled(self._head(_at(hidden, places), actions).unflatten(0, ids.shape[:2]).float(), states)

    def flops(self, prefix: Prefix, tokens: int, rows: int, *, pooled: bool = False) -> float:
        """Return what the rows cost (see `Forward.flops`)."""
        lora = sum(tensor[0].numel() for name, tensor in prefix.adapters.items() if name != SCALING)
        return (2.0 if self.plain_head or not pooled else 4.0) * (self.weights + lora) * tokens

    def read_flops(self, prefix: Prefix) -> float:
        """Return what the prefix cost (see `Forward.read_flops`)."""
        return self.flops(prefix, len(prefix) * prefix.keys[0].shape[2], len(prefix))

    def _rows(self, prefix: Prefix, ids: Tensor) -> _Rows:
        """Lay out rows [P, n, T] after their prefixes, as the network wants them."""
        rows, width = ids.shape[1:]
        shared = zip(prefix.keys, prefix.values, strict=True)
        cache = Cache(layers=[_SharedPrefixLayer(keys, values, rows) for keys, values in shared])
        positions = (prefix.lengths[:, None, None] + torch.arange(width, device=ids.device)).expand(ids.shape)
        mask = self._windowed(row_mask(prefix, rows, width, self.network.dtype))
        return _Rows(ids.flatten(0, 1), mask, positions.flatten(0, 1), cache)

    def _adapters(self, stack: AdapterStack | None) -> dict[str, Tensor]:
        """Lay the stack out for the linear layers."""
        if stack is None:
            return {}
        like: Tensor = next(iter(self.linears.values())).weight
        factors = {f"{name}.a": stack.a[name].to(like) for name in stack.spec.modules}
        factors |= {f"{name}.b": stack.b[name].to(like) for name in stack.spec.modules}
        return factors | {SCALING: stack.scaling().to(like)}

    @contextmanager
    def _active(self, adapters: Mapping[str, Tensor], tokens: int) -> Iterator[None]:
        """Make the adapters act inside the block, on this thread."""
        before = (self.acting.adapters, self.acting.tokens)
        self.acting.adapters, self.acting.tokens = adapters, tokens
        try:
            yield
        finally:
            self.acting.adapters, self.acting.tokens = before

    def _base(self, ids: Tensor, mask: Any, positions: Tensor, cache: Cache) -> Tensor:
        """Return the last hidden state [rows, T, d]."""
        out = self.network.base_model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        )
        hidden: Tensor = out.last_hidden_state
        return hidden

    def _head(self, hidden: Tensor, tokens: Tensor | slice) -> Tensor:
        """Multiply by the head's rows of the tokens only."""
        head: nn.Linear = self.network.get_output_embeddings()
        return F.linear(hidden, head.weight[tokens], None if head.bias is None else head.bias[tokens])

    def _last_logits(self, ids: Tensor, mask: Any, positions: Tensor, cache: Cache, keep: int) -> Tensor:
        """Return the model's own logits [rows, keep, vocabulary], for models that process them further."""
        out = self.network(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,
        )
        logits: Tensor = out.logits
        return logits

    def _windowed(self, mask: Tensor) -> Any:
        """Add the sliding window where the model has one, in the form in which the model wants it."""
        window, kinds = getattr(self.config, "sliding_window", None), getattr(self.config, "layer_types", None)
        if window is None or (kinds is not None and "sliding_attention" not in kinds):
            return mask
        queries, keys = mask.shape[2:]
        places = torch.arange(keys, device=mask.device)
        distance = places[keys - queries :, None] - places
        near = mask.masked_fill(distance >= window, torch.finfo(mask.dtype).min)
        return near if kinds is None else {"full_attention": mask, "sliding_attention": near}


def linear_shapes(network: Any, targets: tuple[str, ...]) -> tuple[tuple[str, int, int], ...]:
    """Return (name, in, out) of the linear layers to adapt, sorted.

    Args:
        network: the causal LM.
        targets: parts of module names, such as "q_proj" or "layers.0"; empty for all linear layers but the head.

    Raises:
        ModelError: no linear layer has such a name.
    """
    head = network.get_output_embeddings()
    linears = {
        n: m for n, m in network.named_modules() if isinstance(m, (nn.Linear, PopulationLinear)) and m is not head
    }
    found = {target: [n for n in linears if f".{target}." in f".{n}."] for target in targets}
    chosen = [n for n in linears if not targets or any(n in names for names in found.values())]
    if not linears:
        raise ModelError(f"model.name: expected a model built of linear layers, got {type(network).__name__}")
    if not all(found.values()):
        known = sorted({n.rsplit(".", 1)[-1] for n in linears})
        raise ModelError(f"model.targets: expected names of linear layers among {known}, got {list(targets)}")
    return tuple(sorted((n, linears[n].in_features, linears[n].out_features) for n in chosen))


def _replace(network: nn.Module, name: str, acting: Acting) -> PopulationLinear:
    """Put a `PopulationLinear` in place of the linear layer called `name`."""
    parent, _, child = name.rpartition(".")
    layer = PopulationLinear(network.get_submodule(name), name, acting)  # type: ignore[arg-type]
    setattr(network.get_submodule(parent), child, layer)
    return layer


def _at(rows: Tensor, places: Tensor) -> Tensor:
    """Return [P * n * k, d]: of rows [P * n, T, d], what is at places [P, n, k] of each."""
    each = torch.arange(len(rows), device=rows.device).repeat_interleave(places.shape[2])
    return rows[each, places.flatten()]


def _refuse_unknown_layers(config: Any) -> None:
    """Raise for recurrent, linear-attention and other layers whose state is not keys and values."""
    unknown = sorted(set(getattr(config, "layer_types", None) or ()) - _KNOWN_LAYERS)
    if unknown:
        raise ModelError(f"model.name: expected a model with attention layers only, got layers of type {unknown}")


def _head_is_plain(network: Any) -> bool:
    """Tell whether the logits are the head's product and nothing more (no soft cap, no scaling)."""
    ids = torch.arange(2, device=network.device)[None]
    with torch.no_grad():
        out = network(input_ids=ids, use_cache=False)
        hidden = network.base_model(input_ids=ids, use_cache=False).last_hidden_state
        return bool(torch.equal(out.logits, network.get_output_embeddings()(hidden)))
