"""Environment steps and text observations per second on one core."""

from collections.abc import Callable

import numpy as np

from fitness.environments.forage.config import ForageConfig
from fitness.environments.forage.env import ForageVectorEnv
from tests.benchmarks.timing import per_second, table

STEPS_TARGET, TEXTS_TARGET = 300_000, 100_000
BATCH, STEPS = 2048, 16


class Crowd:
    """Lives by chance, each begun again on a new world as soon as it is over; beginnings are part of the bill."""

    def __init__(self, batch: int) -> None:
        self.env = ForageVectorEnv(num_envs=batch, config=ForageConfig())
        self.actions = np.random.default_rng(0).integers(0, len(self.env.action_names), (STEPS, batch))
        self.next_seed = batch
        self.env.begin(np.arange(batch), np.arange(batch))
        for _ in range(4):  # Lives of mixed age.
            self.live()

    def renew(self) -> None:
        over = np.flatnonzero(self.env.over)
        self.env.begin(self.next_seed + np.arange(len(over)), over)
        self.next_seed += len(over)

    def live(self) -> int:
        """Live some steps without texts."""
        for actions in self.actions:
            self.env.advance(actions)
            self.renew()
        return self.actions.size

    def look(self) -> int:
        """Make texts only."""
        for _ in range(STEPS):
            self.env.observe()
        return self.actions.size

    def step(self) -> int:
        """Live some steps through Gymnasium's `step`, texts and all."""
        for actions in self.actions:
            self.env.step(actions)
            self.renew()
        return self.actions.size


def report(repeats: int) -> str:
    """Measure and return a table."""
    crowd = Crowd(BATCH)
    work: dict[str, Callable[[], int]] = {
        "environment steps": crowd.live,
        "text observations": crowd.look,
        "steps with texts": crowd.step,
    }
    targets = {"environment steps": STEPS_TARGET, "text observations": TEXTS_TARGET}
    rows = []
    for name, rate in per_second(work, repeats).items():
        target = targets.get(name)
        rows.append([name, f"{rate:,.0f}", *((f"{target:,}", f"{rate / target:.2f}") if target else ("", ""))])
    return table(f"forage, {BATCH:,} lives at once", ("per second", "measured", "target", "ratio"), rows)
