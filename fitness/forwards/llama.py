"""A forward written out for the Llama family (Llama, Mistral, Qwen2, Qwen3): the same numbers, much less work.

Owns the fast path for the models that Forager mostly runs. It uses the network's own weights and saves what general
code cannot: the last layer is computed where scores are wanted only (a prefix needs just its keys and values there),
masks are made once, layers that read the same input share one product with their A factors, and rotary angles are
counted from the end of the prefix, so that all genomes share them (the embedding is relative: Su et al. 2021,
https://arxiv.org/abs/2104.09864).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fitness.adapter import AdapterStack
from fitness.forwards.base import SCALING, Forward, Pooled, Prefix, prefix_mask, row_mask, row_means
from fitness.forwards.operations import gated, normed, projected, rotated

_FAMILY = frozenset({"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"})
_STATIC_ROPE = frozenset({"default", "linear", "llama3"})


@dataclass(frozen=True, eq=False)
class _Joint:
    """Linear layers that read the same input, with the adapters on them."""

    name: str
    layers: tuple[tuple[str, nn.Linear], ...]
    """(module name in the network, layer)."""

    def pack(self, stack: AdapterStack, like: Tensor) -> dict[str, Tensor]:
        """Lay out the stack's factors: all A under each other."""
        names = [name for name, _ in self.layers if name in stack.a]
        if not names:
            return {}
        packed = {self.name: torch.cat([stack.a[name] for name in names], dim=1).to(like)}
        return packed | {name: stack.b[name].to(like) for name in names}

    def __call__(self, x: Tensor, adapters: Mapping[str, Tensor]) -> Iterator[Tensor]:
        """Apply layer after layer to [P, tokens, in]."""
        if torch.is_grad_enabled() and all(name in adapters for name in (self.name, *(n for n, _ in self.layers))):
            layers = [(layer.weight, layer.bias) for _, layer in self.layers]
            yield from projected(
                x, layers, adapters[self.name], [adapters[n] for n, _ in self.layers], adapters[SCALING]
            )
        else:
            yield from self._lazily(x, adapters)

    def _lazily(self, x: Tensor, adapters: Mapping[str, Tensor]) -> Iterator[Tensor]:
        """Keep nothing that was yielded: it is used while in the cache, and its memory, still warm, serves again."""
        down, start = None, 0
        if self.name in adapters:
            down = torch.bmm(x, adapters[self.name].mT).mul_(adapters[SCALING])
        for name, layer in self.layers:
            if down is None or name not in adapters:
                yield F.linear(x, layer.weight, layer.bias)
                continue
            b = adapters[name]
            part = down[..., start : start + b.shape[2]]
            start += b.shape[2]
            yield F.linear(x, layer.weight, layer.bias).baddbmm_(part, b.mT)


@dataclass(frozen=True, eq=False)
class _Layer:
    """One decoder layer of the network."""

    module: Any
    attention: _Joint
    output: _Joint
    gates: _Joint
    down: _Joint

    @classmethod
    def of(cls, module: Any, name: str) -> "_Layer":
        """Name and group the linear layers of `module`."""

        def joint(part: str, *names: str) -> _Joint:
            parent = getattr(module, part)
            layers = tuple((f"{name}.{part}.{n}", getattr(parent, n)) for n in names)
            return _Joint(f"{name}.{part}.{'+'.join(names)}.a", layers)

        return cls(
            module,
            joint("self_attn", "q_proj", "k_proj", "v_proj"),
            joint("self_attn", "o_proj"),
            joint("mlp", "gate_proj", "up_proj"),
            joint("mlp", "down_proj"),
        )

    def weights(self) -> int:
        """Return the number of weights of o_proj and the MLP, which a last layer spends on last tokens only."""
        return sum(m.weight.numel() for joint in self.tail() for _, m in joint.layers)

    def tail(self) -> tuple[_Joint, ...]:
        """Return the products after attention."""
        return (self.output, self.gates, self.down)

    def think(self, hidden: Tensor, adapters: Mapping[str, Tensor]) -> Tensor:
        """Add the MLP's output to `hidden` [P, tokens, d]."""
        gates = self.gates(_normed(self.module.post_attention_layernorm, hidden), adapters)
        return next(self.down(gated(next(gates), next(gates)), adapters)).add_(hidden)


@dataclass(frozen=True, eq=False)
class _Frame:
    """What all layers of one batch of rows share."""

    mask: Tensor
    """[P * n, 1, T, L + T], additive."""
    angles: tuple[Tensor, Tensor]
    """Cosines and signed sines [T, 1, head size]."""


class LlamaForward(Forward):
    """Runs decoders of the Llama family; equal to their own code but for float rounding."""

    reads_nothing = True

    def __init__(self, network: Any) -> None:
        """Use the weights of `network`, which `fits` accepted."""
        self.network, self.decoder = network, network.model
        self.layers = [_Layer.of(module, f"model.layers.{i}") for i, module in enumerate(self.decoder.layers)]
        self.head_size = int(self.layers[0].module.self_attn.head_dim)

    @staticmethod
    def fits(network: Any, targets: tuple[str, ...]) -> bool:
        """Tell whether `network` is computed as this file does it, and all `targets` lie in its decoder layers."""
        config = network.config
        return (
            type(network).__name__ in _FAMILY
            and config.hidden_act == "silu"
            and config.rope_parameters.get("rope_type", "default") in _STATIC_ROPE
            and "sliding_attention" not in (getattr(config, "layer_types", None) or ())
            and not (type(network).__name__ == "MistralForCausalLM" and config.sliding_window)
            and all(name.startswith("model.layers.") for name in targets)
        )

    def read(self, stack: AdapterStack | None, ids: Tensor, lengths: Tensor) -> Prefix:
        """Read each genome's prefix (see `Forward.read`)."""
        width = ids.shape[1]
        adapters = {} if stack is None else self._pack(stack)
        if not width:
            blank = self.network.lm_head.weight.new_empty(
                len(ids), self.network.config.num_key_value_heads, 0, self.head_size
            )
            return Prefix(adapters, (blank,) * len(self.layers), (blank,) * len(self.layers), lengths)
        mask = prefix_mask(lengths, width, self.network.dtype)
        angles = self._angles(-width, 0)
        hidden = self.decoder.embed_tokens(ids)
        keys, values = [], []
        for layer in self.layers:
            q, k, v = self._project(layer, hidden, adapters, angles)
            keys.append(k.transpose(1, 2))
            values.append(v.transpose(1, 2))
            if layer is not self.layers[-1]:
                kv = (_for_queries(keys[-1][:, None], q), _for_queries(values[-1][:, None], q))
                hidden = self._attend(layer, hidden, q, kv, mask, adapters)
                hidden = layer.think(hidden, adapters)
        return Prefix(adapters, tuple(keys), tuple(values), lengths)

    def logits(self, prefix: Prefix, ids: Tensor, places: Tensor, tokens: Tensor | slice) -> Tensor:
        """Score what may follow (see `Forward.logits`)."""
        hidden = self._hidden(prefix, ids, places.flatten(0, 1))
        return _scored(self.network.lm_head, hidden, tokens).view(*places.shape, -1)

    def pooled(self, prefix: Prefix, ids: Tensor, lengths: Tensor, actions: Tensor) -> Pooled:
        """Score the actions and pool all tokens' last hidden states (see `Forward.pooled`)."""
        hidden = self._hidden(prefix, ids, None).unflatten(1, ids.shape[1:])
        ends = (lengths - 1)[..., None, None].expand(-1, -1, 1, hidden.shape[3])
        scores = _scored(self.network.lm_head, hidden.gather(2, ends).squeeze(2), actions)
        return Pooled(scores, row_means(hidden, lengths))

    def flops(self, prefix: Prefix, tokens: int, rows: int, *, pooled: bool = False) -> float:
        """Return what the rows cost (see `Forward.flops`)."""
        late = self.layers[-1].weights() + sum(prefix.adapters[n][0].numel() for n in self._late(prefix))
        return 2.0 * (self._weights(prefix) * tokens + late * (tokens if pooled else rows))

    def read_flops(self, prefix: Prefix) -> float:
        """Return what the prefix cost (see `Forward.read_flops`)."""
        return 2.0 * self._weights(prefix) * len(prefix) * prefix.keys[0].shape[2]

    def _hidden(self, prefix: Prefix, ids: Tensor, places: Tensor | None) -> Tensor:
        """Return the last hidden states, normed: [P, n * T, d]; only at `places` [P * n, k] of rows: [P, n * k, d]."""
        rows, width = ids.shape[1:]
        frame = _Frame(row_mask(prefix, rows, width, self.network.dtype), self._angles(0, width))
        hidden = self.decoder.embed_tokens(ids.flatten(1))
        for i, layer in enumerate(self.layers):
            only = places if layer is self.layers[-1] else None
            hidden = self._look_back(layer, hidden, prefix, (prefix.keys[i], prefix.values[i]), frame, only)
            hidden = layer.think(hidden, prefix.adapters)
        return _normed(self.decoder.norm, hidden)

    def _weights(self, prefix: Prefix) -> int:
        """Return the weights, adapters included, that every token meets."""
        joints = [j for layer in self.layers for j in (layer.attention, *layer.tail())]
        base = sum(m.weight.numel() for joint in joints for _, m in joint.layers) - self.layers[-1].weights()
        late = self._late(prefix)
        return base + sum(t[0].numel() for name, t in prefix.adapters.items() if name not in late and name != SCALING)

    def _late(self, prefix: Prefix) -> set[str]:
        """Return the names of adapter tensors that only last tokens meet."""
        names = {name for j in self.layers[-1].tail() for name in (j.name, *(n for n, _ in j.layers))}
        return names & set(prefix.adapters)

    def _pack(self, stack: AdapterStack) -> dict[str, Tensor]:
        """Lay the stack out for `_Joint`."""
        like = self.network.lm_head.weight
        packed = {SCALING: stack.scaling().to(like)}
        for layer in self.layers:
            for joint in (layer.attention, *layer.tail()):
                packed.update(joint.pack(stack, like))
        return packed

    def _angles(self, start: int, end: int) -> tuple[Tensor, Tensor]:
        """Return cosines and signed sines [T, 1, head size] of positions counted from the end of the prefix."""
        positions = torch.arange(start, end, device=self.network.device)[None]
        cos, sin = self.decoder.rotary_emb(self.network.lm_head.weight, positions)
        half = self.head_size // 2
        signed = torch.cat([-sin[0, :, :half], sin[0, :, half:]], dim=-1)
        return cos[0][:, None], signed[:, None]

    def _project(
        self, layer: _Layer, hidden: Tensor, adapters: Mapping[str, Tensor], angles: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return rotated queries and keys, and values, each [rows, T, heads, size], of [P, rows of a genome x T, d]."""
        attention = layer.module.self_attn
        outs = layer.attention(_normed(layer.module.input_layernorm, hidden), adapters)
        heads = (out.view(-1, len(angles[0]), out.shape[-1] // self.head_size, self.head_size) for out in outs)
        if not hasattr(attention, "q_norm"):
            return rotated(next(heads), *angles), rotated(next(heads), *angles), next(heads)
        q, k = _normed(attention.q_norm, next(heads)), _normed(attention.k_norm, next(heads))
        return rotated(q, *angles), rotated(k, *angles), next(heads)

    def _look_back(
        self,
        layer: _Layer,
        hidden: Tensor,
        prefix: Prefix,
        kv: tuple[Tensor, Tensor],
        frame: _Frame,
        places: Tensor | None,
    ) -> Tensor:
        """Attend from rows to prefix and row; with `places` [rows, k], only from these of each row."""
        q, k, v = self._project(layer, hidden, prefix.adapters, frame.angles)
        mask = frame.mask
        both = (_join(kv[0], k, q), _join(kv[1], v, q))
        if places is not None:
            each = torch.arange(len(places), device=places.device)[:, None]
            hidden = hidden.view(len(places), -1, hidden.shape[2])[each, places].view(len(prefix), -1, hidden.shape[2])
            q, mask = q[each, places], mask[:, 0][each, places][:, None]
        return self._attend(layer, hidden, q, both, mask, prefix.adapters)

    def _attend(
        self,
        layer: _Layer,
        hidden: Tensor,
        q: Tensor,
        kv: tuple[Tensor, Tensor],
        mask: Tensor,
        adapters: Mapping[str, Tensor],
    ) -> Tensor:
        """Add attention's output to `hidden` [P, tokens, d]."""
        scale = layer.module.self_attn.scaling
        out = F.scaled_dot_product_attention(q.transpose(1, 2), *kv, attn_mask=mask, scale=scale)
        flat = out.transpose(1, 2).reshape(*hidden.shape[:2], -1)
        return next(layer.output(flat, adapters)).add_(hidden)


def _scored(head: nn.Linear, hidden: Tensor, tokens: Tensor | slice) -> Tensor:
    """Multiply by the head's rows of the tokens only."""
    bias = None if head.bias is None else head.bias[tokens]
    return F.linear(hidden, head.weight[tokens], bias).float()


def _join(prefix: Tensor, own: Tensor, q: Tensor) -> Tensor:
    """Put [P, heads, L, size] before its rows [P * n, T, heads, size]: [P * n, query heads, L + T, size]."""
    genomes, rows = len(prefix), len(own) // len(prefix)
    shared = prefix[:, None].expand(genomes, rows, *prefix.shape[1:])
    return _for_queries(torch.cat([shared, own.transpose(1, 2).unflatten(0, (genomes, rows))], dim=3), q)


def _for_queries(t: Tensor, q: Tensor) -> Tensor:
    """Return [P, n, heads, T, size] as [P * n, query heads, T, size]: each head once per query that reads it."""
    repeats = q.shape[2] // t.shape[2]
    return (t if repeats == 1 else t.repeat_interleave(repeats, dim=2)).flatten(0, 1)


def _normed(norm: Any, x: Tensor) -> Tensor:
    """Apply the network's RMS norm."""
    return normed(x, norm.weight, norm.variance_epsilon)
