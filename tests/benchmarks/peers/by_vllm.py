"""Decisions by vLLM: all prompts in one call, each with its adapter, one token each.

vLLM's own way of not reading a strategy twice is prefix caching. Before each run its cache is emptied and the
strategies alone are read again, untimed: so they are cached, as a seated agent's are with us, and no observation is.
"""

import os
from pathlib import Path
from typing import Any, ClassVar

import torch
from job import Job

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; before vllm is imported, as all of these.
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # In one process, so that no core is set aside.
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")

from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks that vLLM can make room for."""
_BLOCK = 32
"""Tokens per cached block, the fewest that it allows; only whole blocks of a strategy are found again."""
_TOKENS = 512
"""Tokens of one step, at most: adapters are gathered anew for each token. Measured: 256, 1024 and 4096 are slower."""


class Vllm:
    """All adapters resident, in float32; compiled (`enforce_eager=False`), it is not faster here."""

    options: ClassVar[dict[str, int]] = {"block_size": _BLOCK, "max_num_batched_tokens": _TOKENS}

    def __init__(self, folder: Path) -> None:
        job = Job(folder)
        told, count, rank = job.told, len(job.adapters), job.config()["r"]
        self.actions = told["actions"]
        self.requests = [LoRARequest(f"agent{i}", i + 1, str(place)) for i, place in enumerate(job.adapters)]
        self.prompts = [{"prompt_token_ids": ids} for ids in told["prompts"]]
        self.seats = [self.requests[seat] for seat in told["seats"]]
        self.strategies = self._strategies(told)
        self.params = SamplingParams(
            max_tokens=1,
            temperature=0.0,
            allowed_token_ids=self.actions,
            logprob_token_ids=self.actions,
            detokenize=False,
        )
        self.llm = LLM(
            str(job.model),
            skip_tokenizer_init=True,
            dtype="float32",
            enforce_eager=True,
            **self.options,
            max_model_len=max(map(len, told["prompts"])) + 8,
            enable_prefix_caching=True,
            enable_lora=True,
            max_loras=count,
            max_cpu_loras=count,
            max_lora_rank=next(size for size in _RANKS if size >= rank),
        )

    def prepare(self) -> None:
        """Cache the strategies, and nothing else."""
        self.llm.reset_prefix_cache()
        prompts, seats = zip(*self.strategies, strict=True)
        self.llm.generate(list(prompts), self.params, lora_request=list(seats), use_tqdm=False)

    def work(self) -> list[list[float]]:
        """Return the actions' log-probabilities for every decision."""
        outputs = self.llm.generate(self.prompts, self.params, lora_request=self.seats, use_tqdm=False)
        found = [output.outputs[0].logprobs[0] for output in outputs]
        raw = torch.tensor([[told[action].logprob for action in self.actions] for told in found])
        return torch.log_softmax(raw, dim=-1).tolist()

    def _strategies(self, told: dict[str, Any]) -> list[tuple[Any, LoRARequest]]:
        """Return every strategy once, with its adapter."""
        parts = zip(told["prompts"], told["strategy_lengths"], told["seats"], strict=True)
        different = {(tuple(ids[:length]), seat) for ids, length, seat in parts}
        return [({"prompt_token_ids": list(ids)}, self.requests[seat]) for ids, seat in sorted(different) if ids]


class VllmPlain(Vllm):
    """As it comes: blocks and steps of the size that it chooses itself."""

    options: ClassVar[dict[str, int]] = {}
