"""Where a run belongs among others: the group, the arm and the tags that it has without being told.

Owns the names that are read off a run's folder and settings. Does not own what a tracker calls them, nor the user's own
names, which win. To name runs otherwise by themselves, change `labels_of`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ABLATION = "ablation-"
"""How the folder of an ablation begins (`evo.ablate`); its runs are ARM-SEED in it."""
LONGEST = 64
"""Characters of a tag, which is as many as W&B takes."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What a run is found by.

    Example: `Labels(group="ablation-main", arm="joint", tags=("joint", "forage", "Generational", "AdvantageWeighted"))`
    """

    group: str
    """The experiment, or the ablation, that it is a part of."""
    arm: str
    """What it shares with runs of the same settings and other seeds."""
    tags: tuple[str, ...]
    """Words that hold for it: its arm, world, algorithm and fine-tuning."""


def labels_of(
    *, folder: Path, run: str, seed: int, environment: str, experiment: str, settings: Mapping[str, Any]
) -> Labels:
    """Return the labels of a run.

    A run of `forager ablate` belongs to its ablation's folder, and its arm is the experiment's file. Any other belongs
    to its experiment; its arm is the file's name if that lies in a folder, and else its algorithm and fine-tuning.

    Args:
        folder: outputs/<run>/.
        run: its name.
        seed: its seed, which its name may end in.
        environment: the id of its world.
        experiment: file in `conf/experiment/`, such as "ablation/joint"; empty where nobody knows.
        settings: the resolved configuration.
    """
    above, _, file = experiment.rpartition("/")
    stem = re.sub(rf"-{seed}(-\d{{8}}-\d{{6}})?(-\d+)?$", "", run) or run
    algorithm, training = _part(settings, "algorithm"), _part(settings, "finetune") or "no fine-tuning"
    parts = " + ".join(part for part in (algorithm, training) if part)
    parent = folder.resolve().parent.name
    if parent.startswith(ABLATION):
        group, arm = parent, file or stem
    else:
        group, arm = above or experiment or stem, file if above else parts
    words = (arm, environment, algorithm, training)
    return Labels(group=group, arm=arm, tags=tuple(dict.fromkeys(word[:LONGEST] for word in words if word)))


def _part(settings: Mapping[str, Any], name: str) -> str:
    """Return the class of a part; empty if it is switched off."""
    node = settings.get(name)
    target = node.get("_target_") if isinstance(node, Mapping) else None
    return str(target).rpartition(".")[2].removesuffix("Config") if target else ""
