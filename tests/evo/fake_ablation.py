"""A made-up experiment: arms by seeds, each run written by the real writers with scores and curves of its arm's own."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from evo.records import Budget, GenerationRecord, HeldOut, Summary
from fitness.files import write_text_atomically
from fitness.telemetry import GrowingTable
from tests.evo import fake_run

WORTH = {
    "joint": 0.74, "joint_baldwinian": 0.55, "finetune_only": 0.66, "grpo": 0.37, "selection": 0.52, "low_rank_es": 0.3,
    "prompt_only": 0.5, "adapter_only": 0.33, "best_of_n": 0.47, "random_selection": 0.27, "frozen": 0.24,
}  # fmt: skip
"""Mean score of each arm's runs."""
_GENERATIONS = 12
_SPREAD = 0.12
"""Between the best and the worst of an arm's many runs, which are evenly apart."""


def write(place: Path, worth: Mapping[str, float] = WORTH, seeds: int = 10) -> list[Path]:
    """Write `place/ARM-SEED/` for every arm and seed, and return the folders."""
    rng = np.random.default_rng(0)
    found = []
    for arm, level in worth.items():
        scores = level + _SPREAD * rng.permutation((np.arange(seeds) - (seeds - 1) / 2) / seeds)
        found += [_write(place / f"{arm}-{seed}", arm, float(score), seed, rng) for seed, score in enumerate(scores)]
    return found


def _write(folder: Path, arm: str, score: float, seed: int, rng: np.random.Generator) -> Path:
    strategies = "[flee wolves far. eat when low.]" if arm in ("frozen", "grpo", "finetune_only") else "[]"
    settings = f"seed: {seed}\narm: {arm!r}\nalgorithm:\n  strategies: {strategies}\ntracking:\n  tag: {seed}\n"
    write_text_atomically(folder / "config.yaml", settings)
    write_text_atomically(
        folder / "manifest.json", '{"commit": "0123abc", "seconds": {"wall": 291.5, "model": 240.0}}\n'
    )
    write_text_atomically(folder / "report.html", "<!doctype html><title>a run</title>")
    records = [_record(generation, score, rng) for generation in range(_GENERATIONS)]
    table = GrowingTable(folder, "generations", run=folder.name)
    for record in records:
        table.append(record.generation, [record.row()])
    write_text_atomically(folder / "summary.json", _summary(folder.name, seed, score, records[-1]).to_json())
    return folder


def _summary(name: str, seed: int, score: float, last: GenerationRecord) -> Summary:
    whole = fake_run.summary()
    rows = dict(whole.heldout)
    rows["evolved"] = replace(rows["evolved"], score=score, ci=(score - 0.05, score + 0.05), lifespan=14 + 90 * score)
    budget = Budget(decisions=last.decisions, forward_flops=last.forward_flops, training_flops=last.training_flops)
    return replace(whole, run=name, seed=seed, heldout=tuple(rows.items()), budget=budget, split=_split(name, score))


def _split(name: str, score: float) -> tuple[tuple[str, HeldOut], ...]:
    """Return the parts of a winner whose prompt is worth 0.1, its weights 0.2, and both together what it scored."""
    row = fake_run.summary().heldout[1][1]
    prompt, weights = (0.0 if arm in name else gain for arm, gain in (("adapter_only", 0.1), ("prompt_only", 0.2)))
    still = name.startswith(("frozen", "grpo", "finetune_only"))
    parts = {"neither": 0.23, "prompt": 0.23 + (0.0 if still else prompt), "weights": 0.23 + weights, "both": score}
    return tuple((part, replace(row, score=worth)) for part, worth in parts.items())


def _record(generation: int, score: float, rng: np.random.Generator) -> GenerationRecord:
    risen = 1 - np.exp(-3 * (generation + 1) / _GENERATIONS)
    mean = float(0.2 + (score - 0.2) * risen + 0.01 * rng.normal())
    counts = rng.multinomial(192, np.array([3, 4, 2, 3, 2, 14 * max(mean, 0.01)]) / (14 + 14 * max(mean, 0.01)))
    deaths = (*zip((*fake_run.CAUSES, "outlived"), map(int, counts), strict=True), ("failed", 0))
    spent = int(16_500 * (generation + 1) * rng.uniform(0.98, 1.0))
    record = fake_run.record(generation, _GENERATIONS)
    return replace(
        record, mean=mean, decisions=spent, forward_flops=1e8 * spent, training_flops=2e7 * spent, deaths=deaths
    )
