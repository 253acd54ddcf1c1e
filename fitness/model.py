"""The base model: loading it, speaking its tokens, and scoring actions for a whole population at once.

Owns `ModelConfig`, `load_base_model`, `Prompts` (text to tokens) and `PopulationModel` (tokens to log-probabilities of
actions). Does not own how the network is run (`fitness.forwards`), who decides (`fitness.engines`), what is learned.
"""

import itertools
import os
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from fitness.adapter import AdapterStack, LoraSpec
from fitness.cores import Piece, Result, cores, pieces_only, side_by_side
from fitness.errors import ModelError, nearest
from fitness.forwards.base import Forward, Pooled, Prefix
from fitness.forwards.choose import make_forward
from fitness.forwards.huggingface import linear_shapes
from fitness.organism import FOLDER as ORGANISM

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_HUB = ("huggingface.co", 443)
_BROKEN = (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError)
"""What loading a torn, foreign or missing model raises."""
_CACHED_ROWS, _TRAINED_ROWS = (4, 16), (16, 64)
"""Fewest and most rows that a core takes at a time: what its cache holds; a backward has more to do for each piece."""
_SMALL = 16_000_000
"""Weights below which an operation on a few rows is not worth splitting among cores."""
_MANY_ROWS = 1024
"""Rows that keep an accelerator busy."""
_SHARES = 8
"""A small batch is cut into this many shares for the cores."""
_NO_MEMORY = ("can't allocate memory", "not enough memory", "bad_alloc", "ALLOC_FAILED")
"""What PyTorch and its libraries say on Linux, on Windows, in C++ and on CUDA."""
_PATIENCE = 3.0
"""Seconds to wait for the hub before saying that it cannot be reached."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which causal LM the agents share. Code from the hub is never run.

    Example: `ModelConfig(name="Qwen/Qwen3-0.6B", dtype="bfloat16", device="cuda", manual=True)`
    """

    name: str
    """Folder of a Hugging Face causal LM with its tokenizer, a hub id (`org/name`), or `organism`: ours."""
    dtype: str = "float32"
    """float32, bfloat16 or float16."""
    device: str = "cpu"
    """Where the model lives, as PyTorch names it."""
    manual: bool = False
    """Whether prompts begin with the environment's manual; general models need it."""
    suffix: str = "\nAction:"
    """Text between the observation and the action."""
    targets: tuple[str, ...] = ()
    """Names of the linear layers to adapt ("q_proj"); empty for all but the head."""

    def __post_init__(self) -> None:
        """Refuse an empty name and an unknown dtype."""
        object.__setattr__(self, "targets", tuple(self.targets))
        if not self.name:
            raise ModelError("model.name: expected a model folder or a hub id (org/name), got an empty name")
        if self.dtype not in _DTYPES:
            hint = nearest(self.dtype, _DTYPES)
            raise ModelError(f"model.dtype: expected one of {', '.join(_DTYPES)}, got {self.dtype!r}{hint}")


@dataclass(frozen=True, eq=False)
class BaseModel:
    """A loaded causal LM."""

    config: ModelConfig
    network: Any
    """The `PreTrainedModel`, in evaluation mode."""
    tokenizer: Any
    """Its `PreTrainedTokenizer`."""


@dataclass(frozen=True, eq=False)
class Prompts:
    """Text to tokens: prefix (manual and strategy) and row (observation) are encoded apart and put together."""

    tokenizer: Any
    manual: str
    """Goes before every strategy; empty for none."""
    suffix: str
    """Goes after every observation."""
    action_names: tuple[str, ...]
    actions: tuple[int, ...]
    """First token of each " name"; all different."""
    bos: tuple[int, ...]
    """The token that begins every text by the tokenizer's own default; empty for none."""
    vocabulary: int
    """Tokens that the network knows; a tokenizer may have more."""

    @classmethod
    def of(cls, base: BaseModel, action_names: Sequence[str], manual: str = "") -> "Prompts":
        """Make the prompts of one environment.

        Raises:
            ModelError: two actions begin with the same token, so that one forward cannot tell them apart.
        """
        firsts = [_encode(base.tokenizer, [f" {name}"])[0][:1] for name in action_names]
        for position, first in enumerate(firsts):
            same = [name for name, other in zip(action_names, firsts, strict=True) if other == first]
            if not first or len(same) > 1:
                raise ModelError(
                    f"model.name: expected a tokenizer in which every action begins with its own token, got one "
                    f"({base.config.name}) in which {same or [action_names[position]]} begin with {first}"
                )
        default = list(base.tokenizer("")["input_ids"])
        bos = tuple(default[:1]) if default and default[0] == base.tokenizer.bos_token_id else ()
        text = manual if base.config.manual else ""
        known = base.network.get_input_embeddings().num_embeddings
        return cls(
            base.tokenizer, text, base.config.suffix, tuple(action_names), tuple(f[0] for f in firsts), bos, known
        )

    def prefixes(self, strategies: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each strategy's prefix."""
        head = f"{self.manual}\n\n" if self.manual else ""
        return [[*self.bos, *ids] for ids in self._encode([f"{head}{text}\n" for text in strategies])]

    def rows(self, observations: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each observation's row; at least one token each."""
        rows = self._encode([f"{text}{self.suffix}" for text in observations])
        if not all(rows):
            raise ModelError("model.suffix: expected at least one token of observation and suffix, got none")
        return rows

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode texts, and refuse tokens that the network has no vector for."""
        encoded = _encode(self.tokenizer, texts)
        largest = max((max(ids) for ids in encoded if ids), default=0)
        if largest >= self.vocabulary:
            raise ModelError(
                f"model.name: expected a tokenizer whose tokens the network knows ({self.vocabulary}), "
                f"got token {largest}"
            )
        return encoded


class PopulationModel:
    """A frozen base model that scores actions for P agents, each with its own adapter, in one forward.

    The same functions serve choosing (under `torch.inference_mode`) and training (under autograd, with the stack's
    tensors requiring gradients and `read` called again in the graph).
    """

    def __init__(self, base: BaseModel, *, forward: str = "auto") -> None:
        """Freeze `base` and make it population-aware.

        Args:
            base: a loaded model; its network must not be used elsewhere afterwards.
            forward: "auto" for the fastest that fits, "huggingface" for the model's own code, "llama" for ours.
        """
        base.network.requires_grad_(False)
        self.base = base
        self.device = base.network.device
        self.small = sum(p.numel() for p in base.network.parameters()) < _SMALL
        """Whether the cores would wait for each other longer than an operation takes one of them."""
        self.shapes = linear_shapes(base.network, base.config.targets)
        """(module, in, out) of every linear layer that adapters may change."""
        self.width: int = base.network.get_output_embeddings().weight.shape[1]
        """H of the hidden states that the head gets."""
        self.forward: Forward = make_forward(forward, base.network, tuple(name for name, _, _ in self.shapes))

    def lora_spec(self, rank: int, alpha: float) -> LoraSpec:
        """Return the spec of adapters for this model."""
        return LoraSpec(rank, alpha, self.shapes)

    def prompts(self, action_names: Sequence[str], manual: str = "") -> Prompts:
        """Return the prompts of one environment (see `Prompts.of`)."""
        return Prompts.of(self.base, action_names, manual)

    def read(self, stack: AdapterStack | None, prefixes: Sequence[Sequence[int]], width: int = 0) -> Prefix:
        """Read P prefixes, one per adapter of `stack` (None: the base model); differentiable in the stack.

        Args:
            stack: the adapters.
            prefixes: P lists of tokens, as `Prompts.prefixes` returns them.
            width: pad to at least this many tokens.

        Raises:
            ModelError: an adapted module is not the model's, or the counts differ.
        """
        if stack is not None:
            self._check(stack, len(prefixes))
        lengths = [len(tokens) for tokens in prefixes]
        width = max(width, *lengths)
        padded = [[0] * (width - len(tokens)) + list(tokens) for tokens in prefixes]
        ids = torch.tensor(padded, dtype=torch.int64, device=self.device)
        return self.forward.read(stack, ids, torch.tensor(lengths, device=self.device))

    def action_log_probs(
        self, prefix: Prefix, ids: Tensor, lengths: Tensor, actions: Sequence[int], temperature: Tensor | float = 1.0
    ) -> Tensor:
        """Return the log-probability of every named action after each row; differentiable in the prefix's adapters.

        Args:
            prefix: P genomes from `read`, made under the same autograd mode.
            ids: int64 [P, n, T] row tokens, padded on the right with any token.
            lengths: int64 [P, n] tokens of each row, at least 1.
            actions: A tokens, as in `Prompts.actions`.
            temperature: divides the logits; one number or [P].

        Returns:
            float32 [P, n, A]; exp of each row sums to 1.
        """
        tokens = torch.as_tensor(actions, device=self.device)
        places = lengths[..., None].to(self.device) - 1
        logits = self.forward.logits(prefix, ids.to(self.device), places, tokens)[:, :, 0]
        return _tempered(logits, temperature)

    def pooled(
        self, prefix: Prefix, ids: Tensor, lengths: Tensor, actions: Sequence[int], temperature: Tensor | float = 1.0
    ) -> Pooled:
        """Return what `action_log_probs` does and, of the same rows, the pooled hidden states [P, n, width].

        Both are differentiable in the prefix's adapters (see `Forward.pooled`).
        """
        tokens = torch.as_tensor(actions, device=self.device)
        logits, states = self.forward.pooled(prefix, ids.to(self.device), lengths.to(self.device), tokens)
        return Pooled(_tempered(logits, temperature), states)

    def next_logits(self, prefix: Prefix, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return float32 logits [P, n, vocabulary] of what follows each row (arguments as in `action_log_probs`)."""
        places = lengths[..., None].to(self.device) - 1
        return self.forward.logits(prefix, ids.to(self.device), places, slice(None))[:, :, 0]

    def answer_log_probs(
        self, prefix: Prefix, ids: Tensor, lengths: Tensor, written: Tensor, temperature: Tensor | float = 1.0
    ) -> Tensor:
        """Return the log-probability [P, n] of each row's last tokens together, among all that the model knows.

        Args:
            prefix: as in `action_log_probs`, in which the rest is differentiable.
            ids: int64 [P, n, T] tokens of an observation and then of an answer, padded on the right.
            lengths: int64 [P, n] tokens of each row.
            written: int64 [P, n] how many of them, the last ones, are the answer; fewer than all.
            temperature: divides the logits; one number or [P].
        """
        ids, lengths, written = (tensor.to(self.device) for tensor in (ids, lengths, written))
        steps = torch.arange(max(1, int(written.max())), device=self.device)
        targets = ((lengths - written)[..., None] + steps).clamp(max=ids.shape[2] - 1)
        logits = self.forward.logits(prefix, ids, (targets - 1).clamp(min=0), slice(None))
        scale = torch.as_tensor(temperature, dtype=torch.float32, device=self.device).reshape(-1, 1, 1, 1)
        said = ids.gather(2, targets)[..., None]
        each = torch.log_softmax(logits / scale, dim=-1).gather(3, said)[..., 0]
        return torch.where(steps < written[..., None], each, 0.0).sum(dim=2)

    @property
    def head_flops(self) -> float:
        """What scoring all tokens at one place costs beyond `Forward.flops`."""
        weights: int = self.base.network.get_output_embeddings().weight.numel()
        return 2.0 * weights

    def for_a_run(self) -> AbstractContextManager[None]:
        """Return a context for all of a run: with a small model on a CPU, only `side_by_side` uses several cores."""
        return pieces_only() if self.small and self.device.type == "cpu" else nullcontext()

    def side_by_side(
        self, do: Callable[[Piece], Result], pieces: Sequence[Piece], *, training: bool = False
    ) -> list[Result]:
        """Return `do` of every piece, in order: on a CPU each core takes one at a time (see `fitness.cores`).

        A lone piece of a small model stays on one core, unless it is for training, which has more to do.
        """
        if self.device.type != "cpu":
            return [do(piece) for piece in pieces]
        lone = cores() if training else 1
        return side_by_side(do, pieces, lone=lone if self.small else None)

    def free_memory(self) -> None:
        """Give back what an accelerator's allocator keeps for later."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @property
    def pieces_at_once(self) -> int:
        """How many pieces `side_by_side` works on at the same time."""
        return cores() if self.device.type == "cpu" else 1

    def rows_together(self, rows: int, most: int | None = None, *, training: bool = False) -> int:
        """Return how many of `rows` rows go through the model together, at most `most` (None: what is fastest).

        A CPU takes what a core's cache holds, or less, so that the cores share a small batch; an accelerator takes
        many. It depends on nothing but the device and the arguments: how many cores there are changes no result.
        """
        if self.device.type != "cpu":
            return most or _MANY_ROWS
        fewest, usual = _TRAINED_ROWS if training else _CACHED_ROWS
        return min(most or usual, max(fewest, -(-rows // _SHARES)))

    def _check(self, stack: AdapterStack, prefixes: int) -> None:
        """Raise unless the stack fits the model and the number of prefixes."""
        unknown = sorted(set(stack.spec.shapes) - set(self.shapes))
        if unknown:
            raise ModelError(f"adapter.shapes: expected modules of {self.base.config.name}, got {unknown[0]}")
        if len(stack) != prefixes:
            raise ModelError(f"prefixes: expected one for each of {len(stack)} adapters, got {prefixes}")


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether memory was not enough; PyTorch has no error of its own for it on a CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in str(error) for words in _NO_MEMORY)


def load_base_model(config: ModelConfig) -> BaseModel:
    """Load a causal LM and its tokenizer from a folder, the local cache or the hub.

    Raises:
        ModelError: nothing is there, or it is not a causal LM with a tokenizer.
    """
    config = replace(config, name=str(ORGANISM)) if config.name == "organism" else config
    _check_device(config.device)
    folder = Path(config.name).is_dir()
    if not folder and not _HUB_ID.fullmatch(config.name):
        raise ModelError(f"model.name: expected a folder that exists or a hub id (org/name), got {config.name!r}")
    if folder and not (Path(config.name) / "config.json").is_file():
        raise ModelError(f"model.name: expected a folder with a config.json, got {config.name!r}")
    try:
        return _load(config, offline=True)
    except _BROKEN as error:
        if folder or not _hub_answers():
            raise ModelError(_why_not(config.name, folder, error)) from error
    try:
        return _load(config, offline=False)
    except _BROKEN as error:
        raise ModelError(_why_not(config.name, True, error)) from error


def pad_rows(rows: Sequence[Sequence[Sequence[int]]]) -> tuple[Tensor, Tensor]:
    """Return ids [P, n, T] and lengths [P, n] of ragged rows; genomes with fewer rows get one-token rows to ignore."""
    count = max(map(len, rows))
    lengths = np.array([[len(tokens) for tokens in group] + [0] * (count - len(group)) for group in rows])
    ids = np.zeros((*lengths.shape, lengths.max()), dtype=np.int64)
    tokens = itertools.chain.from_iterable(itertools.chain.from_iterable(rows))
    ids[np.arange(ids.shape[2]) < lengths[:, :, None]] = np.fromiter(tokens, dtype=np.int64, count=lengths.sum())
    return torch.from_numpy(ids), torch.from_numpy(np.maximum(lengths, 1))


def _encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Encode texts without special tokens."""
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)["input_ids"]
    return ids


def _load(config: ModelConfig, *, offline: bool) -> BaseModel:
    """Load network and tokenizer; `offline` looks at folders and the local cache only."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    options: dict[str, Any] = {"local_files_only": offline, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(config.name, **options)
    options["dtype"] = _DTYPES[config.dtype]
    try:
        network: Any = AutoModelForCausalLM.from_pretrained(config.name, attn_implementation="sdpa", **options)
    except ValueError:  # Some models soften or extend attention in a way that only their own code knows.
        network = AutoModelForCausalLM.from_pretrained(config.name, attn_implementation="eager", **options)
    network.to(config.device)
    return BaseModel(config, network.eval(), tokenizer)


def _check_device(name: str) -> None:
    """Raise unless tensors can be computed with on the device called `name`."""
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"model.device: expected a device of this machine, such as cpu or cuda, got {name!r} ({reason})"
        ) from error


def _hub_answers() -> bool:
    """Tell within seconds whether asking the hub can make sense; a proxy is trusted to answer."""
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in {"1", "TRUE", "ON", "YES"}:
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HF_ENDPOINT")):
        return True
    try:
        socket.create_connection(_HUB, _PATIENCE).close()
    except OSError:
        return False
    return True


def _why_not(name: str, reachable: bool, error: Exception) -> str:
    """Say in one sentence why `name` could not be loaded."""
    expected = "model.name: expected a causal LM with its tokenizer in Hugging Face's format"
    if not reachable:
        return (
            f"{expected}, got {name!r}, which is neither a folder nor in the local cache, and the hub cannot be reached"
        )
    lines = str(error).strip().splitlines()
    return f"{expected}, got {name!r}: {lines[0] if lines else type(error).__name__}"


def _tempered(logits: Tensor, temperature: Tensor | float) -> Tensor:
    """Return log-probabilities [P, n, A] of logits, at one temperature or at each agent's own [P]."""
    scale = torch.as_tensor(temperature, dtype=torch.float32, device=logits.device).reshape(-1, 1, 1)
    return torch.log_softmax(logits / scale, dim=-1)
