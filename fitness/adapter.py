"""LoRA adapters as plain tensors: one agent's, and a population's as one stack.

Owns the factors, their identity (a digest of the content) and PEFT's file format, so that PEFT, TRL and vLLM read what
evolution bred. Does not own how factors are varied (`evo.operators`) or applied (`fitness.engines`).
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn.functional import pad

from fitness.errors import AdapterError, describe
from fitness.files import write_atomically

_PREFIX = "base_model.model."
_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@dataclass(frozen=True)
class LoraSpec:
    """Which linear modules are adapted, and at what rank.

    Example: `LoraSpec(rank=8, alpha=16.0, shapes=(("model.layers.0.mlp.up_proj", 128, 352),))`
    """

    rank: int
    """Rank r of every update; at least 1."""
    alpha: float
    """The update is scaled by alpha / rank."""
    shapes: tuple[tuple[str, int, int], ...]
    """(module name in the Hugging Face model, in_features, out_features), sorted by name."""

    def __post_init__(self) -> None:
        """Refuse a rank below one and an empty or unsorted list of modules."""
        if self.rank < 1:
            raise AdapterError(f"adapter.rank: expected an integer of at least 1, got {self.rank}")
        if not self.shapes or list(self.shapes) != sorted(self.shapes):
            raise AdapterError(f"adapter.shapes: expected modules sorted by name, got {self.shapes!r}")

    @property
    def scaling(self) -> float:
        """Factor on B @ A."""
        return self.alpha / self.rank

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the adapted modules, sorted."""
        return tuple(name for name, _, _ in self.shapes)


@dataclass(frozen=True, eq=False)
class Adapter:
    """One agent's LoRA factors; delta W of a module is `scaling * b @ a`. Treated as immutable."""

    spec: LoraSpec
    a: Mapping[str, Tensor]
    """Module name -> down factor [rank, in_features], float32."""
    b: Mapping[str, Tensor]
    """Module name -> up factor [out_features, rank], float32."""
    home: "tuple[AdapterStack, int] | None" = field(default=None, init=False, repr=False)
    """The stack that holds the factors, and where; None for factors of its own."""

    def __post_init__(self) -> None:
        """Check every factor's shape against the spec."""
        for name, fan_in, fan_out in self.spec.shapes:
            _check_shape(f"{name}.lora_A", self.a.get(name), (self.spec.rank, fan_in))
            _check_shape(f"{name}.lora_B", self.b.get(name), (fan_out, self.spec.rank))

    def digest(self) -> str:
        """Return the SHA-256 of the spec and every factor: equal content, equal name."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        sha = hashlib.sha256(repr(self.spec).encode())
        for name in self.spec.modules:
            for factor in (self.a[name], self.b[name]):
                sha.update(factor.detach().contiguous().numpy().tobytes())
        return sha.hexdigest()

    def is_zero(self) -> bool:
        """Tell whether the adapter leaves the base model as it is."""
        return all(not torch.any(factor) for factor in self.b.values())

    def is_finite(self) -> bool:
        """Tell whether no factor holds a NaN or an infinity."""
        return all(bool(torch.isfinite(t).all()) for t in (*self.a.values(), *self.b.values()))


@dataclass(frozen=True, eq=False)
class AdapterStack:
    """A population's adapters, one tensor per module and factor, in the order of the population."""

    spec: LoraSpec
    """Of the tensors; where ranks are mixed, the largest rank and a scaling of 1."""
    a: Mapping[str, Tensor]
    """Module name -> [P, rank, in_features]."""
    b: Mapping[str, Tensor]
    """Module name -> [P, out_features, rank]."""
    specs: tuple[LoraSpec, ...] = ()
    """Each member's own, where ranks or scalings are mixed; padding is zero, and training leaves it so."""

    @classmethod
    def of(cls, adapters: Sequence[Adapter]) -> "AdapterStack":
        """Stack adapters of the same modules; neighbours in one stack already come as a view of it.

        Raises:
            AdapterError: the list is empty or the modules differ.
        """
        if not adapters:
            raise AdapterError("adapters: expected at least one to stack, got none")
        return _view(adapters) or _stacked(adapters)

    def __len__(self) -> int:
        """Return the number of adapters P."""
        return len(self.a[self.spec.modules[0]])

    def __getitem__(self, index: int) -> Adapter:
        """Return one member: a view, detached from the stack's history."""
        place = range(len(self))[index]
        spec = self.specs[place] if self.specs else self.spec
        member = Adapter(
            spec,
            {name: factor[place, : spec.rank].detach() for name, factor in self.a.items()},
            {name: factor[place, :, : spec.rank].detach() for name, factor in self.b.items()},
        )
        object.__setattr__(member, "home", (self, place))
        return member

    def __iter__(self) -> Iterator[Adapter]:
        """Iterate over the members."""
        return (self[index] for index in range(len(self)))

    def scaling(self) -> Tensor:
        """Return each member's alpha / rank, float32 [P, 1, 1]."""
        each = [spec.scaling for spec in self.specs or (self.spec,) * len(self)]
        return torch.tensor(each, device=self.b[self.spec.modules[0]].device)[:, None, None]

    def check_uniform(self) -> None:
        """Raise an `AdapterError` unless all members have one rank and one scaling."""
        if self.specs:
            found = sorted({(spec.rank, spec.alpha) for spec in self.specs})
            raise AdapterError(f"adapters: expected one rank and alpha, got (rank, alpha) {found}")

    def take(self, indices: Sequence[int]) -> "AdapterStack":
        """Return the stack of the members at `indices`, repeats allowed."""
        index = torch.as_tensor(indices, dtype=torch.int64)
        specs = tuple(self.specs[i] for i in indices) if self.specs else ()
        return _narrowed(replace(self.map(lambda factor: factor[index]), specs=specs))

    def part(self, members: slice) -> "AdapterStack":
        """Return a view of neighbouring members."""
        return _narrowed(replace(self.map(lambda factor: factor[members]), specs=self.specs[members]))

    def rows(self) -> Tensor:
        """Return all factors in one tensor [P, N], an adapter to a row: every A, then every B; see `of_rows`."""
        return torch.cat([factor.flatten(1) for side in (self.a, self.b) for factor in side.values()], dim=1)

    def of_rows(self, rows: Tensor, members: slice) -> "AdapterStack":
        """Return the stack whose factors are views of `rows`, laid out for these members; differentiable."""
        sizes = [factor[0].numel() for side in (self.a, self.b) for factor in side.values()]
        views = iter(rows.split(sizes, dim=1))
        stack = self.map(lambda factor: next(views).view(-1, *factor.shape[1:]))
        return _narrowed(replace(stack, specs=self.specs[members]))

    def map(self, change: Callable[[Tensor], Tensor]) -> "AdapterStack":
        """Return the stack of the changed factors, each of the same shape."""
        a, b = ({name: change(factor) for name, factor in part.items()} for part in (self.a, self.b))
        return AdapterStack(self.spec, a, b, self.specs)


def _narrowed(stack: AdapterStack) -> AdapterStack:
    """Return the stack without padding if its members turn out to have one rank and scaling."""
    if len(set(stack.specs)) != 1:
        return stack
    spec = stack.specs[0]
    a = {name: factor[:, : spec.rank] for name, factor in stack.a.items()}
    b = {name: factor[:, :, : spec.rank] for name, factor in stack.b.items()}
    return AdapterStack(spec, a, b)


def _view(adapters: Sequence[Adapter]) -> AdapterStack | None:
    """Return the part of a stack that the adapters are, if they are neighbours in one."""
    if adapters[0].home is None:
        return None
    stack, first = adapters[0].home
    if any(x.home is None or x.home[0] is not stack or x.home[1] != first + i for i, x in enumerate(adapters)):
        return None
    return stack if len(adapters) == len(stack) else stack.part(slice(first, first + len(adapters)))


def _stacked(adapters: Sequence[Adapter]) -> AdapterStack:
    """Copy adapters into one stack."""
    specs = tuple(adapter.spec for adapter in adapters)
    for position, spec in enumerate(specs):
        if spec.shapes != specs[0].shapes:
            raise AdapterError(
                f"adapters[{position}].shapes: expected the modules of the first, {specs[0].shapes}, got {spec.shapes}"
            )
    rank, mixed = max(spec.rank for spec in specs), len(set(specs)) > 1
    if len(adapters) > 1 and all(adapter is adapters[0] for adapter in adapters):  # founders: one for all
        a, b = (
            {name: factor.expand(len(adapters), *factor.shape) for name, factor in side.items()}
            for side in (adapters[0].a, adapters[0].b)
        )
        return AdapterStack(specs[0], a, b)

    def stack(factors: Sequence[Tensor], dim: int) -> Tensor:
        if mixed:
            missing = [rank - factor.shape[dim] for factor in factors]
            factors = [
                pad(factor, (0, 0, 0, rows) if dim == 0 else (0, rows))
                for factor, rows in zip(factors, missing, strict=True)
            ]
        return torch.stack(list(factors))

    return AdapterStack(
        LoraSpec(rank, float(rank), specs[0].shapes) if mixed else specs[0],
        {name: stack([x.a[name] for x in adapters], 0) for name in specs[0].modules},
        {name: stack([x.b[name] for x in adapters], 1) for name in specs[0].modules},
        specs if mixed else (),
    )


def initial_adapter(spec: LoraSpec, seed: int) -> Adapter:
    """Return the adapter every founder starts from: Kaiming-uniform A from `seed`, B of zeros.

    One shared A keeps the adapters of a run aligned, so that crossover mixes like with like
    (LoRA initialisation: Hu et al. 2021, https://arxiv.org/abs/2106.09685).
    """
    rng = np.random.default_rng(seed)
    a, b = {}, {}
    for name, fan_in, fan_out in spec.shapes:
        bound = 1.0 / math.sqrt(fan_in)
        a[name] = torch.from_numpy(rng.uniform(-bound, bound, (spec.rank, fan_in)).astype(np.float32))
        b[name] = torch.zeros(fan_out, spec.rank)
    return Adapter(spec, a, b)


def save_adapter(adapter: Adapter, folder: Path, base_model: str) -> None:
    """Write `folder` in PEFT's format (adapter_config.json and adapter_model.safetensors).

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    tensors = {}
    for name in adapter.spec.modules:
        tensors[f"{_PREFIX}{name}.lora_A.weight"] = adapter.a[name].contiguous()
        tensors[f"{_PREFIX}{name}.lora_B.weight"] = adapter.b[name].contiguous()
    write_atomically(folder / _WEIGHTS, save(tensors, metadata={"format": "pt"}))
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": adapter.spec.rank,
        "lora_alpha": adapter.spec.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(adapter.spec.modules),
        "inference_mode": True,
    }
    write_atomically(folder / _CONFIG, json.dumps(config, indent=1).encode())


def load_adapter(folder: Path) -> Adapter:
    """Read an adapter in PEFT's format.

    Raises:
        AdapterError: a file is missing or torn, or its tensors do not agree with its config.
    """
    try:
        config = json.loads((folder / _CONFIG).read_text())
        tensors = load_file(folder / _WEIGHTS)
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise AdapterError(
            f"{folder}: expected {_CONFIG} and {_WEIGHTS} in PEFT's format, got: {describe(error)}"
        ) from error
    if rank < 1 or not math.isfinite(alpha):
        raise AdapterError(f"{folder}: expected a rank of at least 1 and a finite lora_alpha, got {rank} and {alpha}")
    odd = [name for name, tensor in tensors.items() if not (tensor.is_floating_point() and tensor.isfinite().all())]
    if odd:
        raise AdapterError(f"{folder}: expected finite floating-point numbers, got others in {odd[0]!r:.200}")
    a, b = (
        {n.removeprefix(_PREFIX).removesuffix(end): t.float() for n, t in tensors.items() if n.endswith(end)}
        for end in (".lora_A.weight", ".lora_B.weight")
    )
    foreign = [name for name, tensor in tensors.items() if not name.startswith(_PREFIX) or tensor.dim() != 2]
    if foreign or set(a) != set(b) or len(a) + len(b) != len(tensors) or not a:
        raise AdapterError(
            f"{folder}: expected one lora_A and one lora_B matrix per module, as {_PREFIX}MODULE.lora_A.weight, "
            f"got {sorted(tensors)!s:.500}"
        )
    shapes = tuple(sorted((name, a[name].shape[1], b[name].shape[0]) for name in a))
    return Adapter(LoraSpec(rank, alpha, shapes), a, b)


def _check_shape(field: str, tensor: Tensor | None, expected: tuple[int, int]) -> None:
    """Raise unless `tensor` has the expected shape."""
    given = None if tensor is None else tuple(tensor.shape)
    if given != expected:
        raise AdapterError(f"{field}: expected shape {expected}, got {given}")
