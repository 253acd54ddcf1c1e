"""Decisions of a run, read back from its telemetry as they were when they were recorded.

Owns the way from the table of decisions to `Transitions`. Does not own the table (`fitness.telemetry`).
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fitness.errors import OutputError
from fitness.records import Answers, Transitions
from fitness.telemetry import ACTIONS_KEY, VITALS_KEY, read_table, table_path


def read_transitions(run_folder: Path, generation: int, action_names: Sequence[str]) -> Transitions:
    """Return a generation's decisions as `fitness.telemetry.write_transitions` was given them.

    Args:
        run_folder: outputs/<run>/.
        generation: Which.
        action_names: What each action index means.

    Raises:
        OutputError: The shard is missing, unreadable, or of other actions.
    """
    table = read_table(run_folder, "transitions", generation=generation)
    named, measured = (json.loads((table.schema.metadata or {}).get(key, b"[]")) for key in (ACTIONS_KEY, VITALS_KEY))
    if named != list(action_names):
        path = table_path(run_folder, "transitions", generation)
        raise OutputError(f"{path}: expected the actions {', '.join(action_names)}, got {', '.join(named)}")
    plain = ("seed", "step", "log_probability", "reward", "alive", "prompt_tokens")
    vitals = table["vitals"].combine_chunks().values.to_numpy(zero_copy_only=False)
    return Transitions(
        agent=table["genome"].to_numpy(),
        observation=np.array(table["observation"].to_pylist(), object),
        action=pc.index_in(table["action"], pa.array(action_names)).to_numpy().astype(np.int16),
        vitals=vitals.reshape(len(table), len(measured)),
        answers=_answers_of(table),
        **{name: table[name].to_numpy() for name in plain},
    )


def _answers_of(table: pa.Table) -> Answers | None:
    """Return what was written; None where agents chose among names."""
    if not len(table) or table["readable"].null_count:
        return None
    said = (table[name].to_pylist() for name in ("answer_tokens", "answer_log_probabilities"))
    tokens, chances = ([tuple(row) for row in rows] for rows in said)
    return Answers.of(tokens, chances, table["readable"].to_pylist())
