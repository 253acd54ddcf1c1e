"""The adapter that every founder starts from: a fresh one, or one that was trained elsewhere (`adapter.start`).

Owns the check that an adapter from elsewhere is what this run can breed, and the run's own copy of it (`start/` in its
folder), so that a resumed run begins from the same one whatever has become of the original.
"""

import json
from pathlib import Path

from evo.config import AdapterConfig
from fitness.adapter import Adapter, LoraSpec, initial_adapter, load_adapter, save_adapter
from fitness.errors import AdapterError, ConfigError, listed
from fitness.files import write_folder_atomically

FOLDER = "start"
"""Of the run's own copy."""
_MORE = (
    "alora_invocation_tokens", "alpha_pattern", "kasa_config", "layer_replication", "lora_bias", "modules_to_save",
    "rank_pattern", "target_parameters", "trainable_token_indices",
)  # fmt: skip
"""PEFT's settings under which an update is not alpha / rank * B A alone; those that begin with `use_` are others."""
_MOVED = ("pissa", "olora", "corda", "loftq")
"""Ways to begin that change the base model's own weights."""


def founders_adapter(config: AdapterConfig, spec: LoraSpec, seed: int, run: Path, base_model: str) -> Adapter:
    """Return what all founders of a run have; one from elsewhere is copied into the run's folder.

    Args:
        config: its `start` names a folder in PEFT's format; None for Kaiming-uniform A and zero B.
        spec: modules, rank and alpha that the run breeds.
        seed: of a fresh one.
        run: the run's folder.
        base_model: what the copy is written for, as PEFT names it.

    Raises:
        ConfigError: the adapter in `start` cannot be read or has another form.
        OutputError: the copy cannot be written.
    """
    if config.start is None:
        return initial_adapter(spec, seed)
    copy = run / FOLDER
    adapter = read_fitting(copy if copy.is_dir() else config.start.expanduser(), spec)
    if not copy.is_dir():
        write_folder_atomically(copy, lambda draft: save_adapter(adapter, draft, base_model))
    return adapter


def read_fitting(folder: Path, spec: LoraSpec) -> Adapter:
    """Return the adapter in `folder` if it has this form.

    Raises:
        ConfigError: it cannot be read, is more than plain LoRA, or has other modules, another rank or another alpha;
            one line per problem.
    """
    try:
        adapter = load_adapter(folder)
    except AdapterError as error:
        raise ConfigError(f"adapter.start: expected a LoRA adapter that PEFT has written, given {error}") from error
    given = adapter.spec
    problems = [*_extras(folder), *_misfits(given, spec)]
    for name in ("rank", "alpha"):
        ours, theirs = getattr(spec, name), getattr(given, name)
        if ours != theirs:
            problems.append(f"adapter.{name}: expected {theirs:g} as in {folder} (set adapter.{name}), given {ours:g}")
    if problems:
        raise ConfigError("\n".join(problems))
    return adapter


def _extras(folder: Path) -> list[str]:
    """Return a complaint for every setting that changes what the factors mean."""
    config = json.loads((folder / "adapter_config.json").read_text())
    odd = [name for name, value in config.items() if value and (name in _MORE or name.startswith("use_"))]
    odd += ["bias"] if config.get("bias", "none") != "none" else []
    odd += ["init_lora_weights"] if str(config.get("init_lora_weights", "")).startswith(_MOVED) else []
    return [f"adapter.start: expected plain LoRA, given {name}={config[name]} in {folder}" for name in odd]


def _misfits(given: LoraSpec, spec: LoraSpec) -> list[str]:
    """Return a complaint if the modules differ, in names or in widths."""
    missing = [name for name in spec.modules if name not in given.modules]
    foreign = [name for name in given.modules if name not in spec.modules]
    told = [f"none for {listed(missing)}"] if missing else []
    told += [f"one for {listed(foreign)}, which the model has not or does not adapt"] if foreign else []
    if told:
        return [
            f"adapter.start: expected factors for all {len(spec.modules)} adapted layers of the model (model.targets), "
            f"given {' and '.join(told)}"
        ]
    wrong = [ours for ours, theirs in zip(spec.shapes, given.shapes, strict=True) if ours != theirs]
    return [f"adapter.start: expected (module, in, out) {wrong[0]}, given an adapter of another model"] if wrong else []
