"""The table `replays`: some lives of a run with all that can be shown of them, so that a report needs no world.

Owns how a `Replay` lies in rows, written once at the end of a run, and the way back. Does not own the schema
(`fitness.telemetry`) or how a life is lived again (`fitness.replay`). A life has a row for every decision and one more,
without an action, for how all stood after the last.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fitness.errors import OutputError
from fitness.records import Replay, Sign
from fitness.telemetry import ACTIONS_KEY, VITALS_KEY, Source, read_table, table_path, write_rows

SIGNS_KEY = b"forager.signs"


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Lives, and what their environment calls what is in them."""

    lives: tuple[Replay, ...]
    """In the order to show."""
    actions: tuple[str, ...]
    vitals: tuple[str, ...]
    signs: tuple[Sign, ...]
    """Of its map; none if it has no map."""


def write_gallery(run_folder: Path, source: Source, gallery: Gallery) -> Path:
    """Write the table `replays` and return its path.

    Raises:
        OutputError: The table cannot be written.
    """
    replays = gallery.lives
    lengths = [len(one.observation) for one in replays]
    actions = [[gallery.actions[action] for action in one.action] for one in replays]
    columns = {
        "title": np.repeat([one.title for one in replays], lengths),
        "genome": np.repeat([one.agent for one in replays], lengths),
        "seed": np.repeat([one.seed for one in replays], lengths),
        "end": np.repeat([one.end for one in replays], lengths),
        "cause": np.repeat([one.cause for one in replays], lengths),
        "step": [step for length in lengths for step in range(length)],
        "observation": [text for one in replays for text in one.observation],
        "action": [name for each in actions for name in (*each, "")],
        "probabilities": [row for one in replays for row in (*one.probabilities.tolist(), [])],
        "vitals": [row for one in replays for row in one.vitals.tolist()],
        "picture": [text for one in replays for text in one.picture],
    }
    signs = json.dumps([[sign.mark, sign.name, sign.colour] for sign in gallery.signs]).encode()
    known = {
        ACTIONS_KEY: json.dumps(gallery.actions).encode(),
        VITALS_KEY: json.dumps(gallery.vitals).encode(),
        SIGNS_KEY: signs,
    }
    return write_rows(run_folder, "replays", source, columns, known)


def read_gallery(run_folder: Path) -> Gallery:
    """Return what `write_gallery` wrote.

    Raises:
        OutputError: As `read_table`, or the table does not say what things are called.
    """
    table = read_table(run_folder, "replays")
    try:
        actions, vitals, signs = (
            json.loads(table.schema.metadata[key]) for key in (ACTIONS_KEY, VITALS_KEY, SIGNS_KEY)
        )
        rows = table.to_pylist()
        starts = [place for place, row in enumerate(rows) if row["step"] == 0]
        return Gallery(
            lives=tuple(_to_replay(rows[start:end], actions) for start, end in pairwise([*starts, len(rows)])),
            actions=tuple(actions),
            vitals=tuple(vitals),
            signs=tuple(Sign(*sign) for sign in signs),
        )
    except (KeyError, ValueError, TypeError) as error:
        path = table_path(run_folder, "replays")
        raise OutputError(f"{path}: expected replays with their names, got {error}") from error


def _to_replay(rows: Sequence[Mapping[str, Any]], actions: Sequence[str]) -> Replay:
    first = rows[0]
    return Replay(
        title=first["title"],
        agent=first["genome"],
        seed=first["seed"],
        end=first["end"],
        cause=first["cause"],
        observation=tuple(row["observation"] for row in rows),
        action=np.array([actions.index(row["action"]) for row in rows[:-1]], np.int16),
        probabilities=np.array([row["probabilities"] for row in rows[:-1]], np.float32),
        vitals=np.array([row["vitals"] for row in rows], np.float32),
        picture=tuple(row["picture"] for row in rows),
    )
