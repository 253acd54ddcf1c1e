"""Environment steps and text observations per second, in one thread."""

import numpy as np

from fitness.environments.forage.config import ForageConfig
from fitness.environments.forage.env import ForageVectorEnv
from tests.benchmarks.findings import Finding
from tests.benchmarks.timing import race, timed

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

    def live(self) -> None:
        """Live some steps without texts."""
        for actions in self.actions:
            self.env.advance(actions)
            self.renew()

    def look(self) -> None:
        """Make texts only."""
        for _ in range(STEPS):
            self.env.observe()


def measure(repeats: int) -> list[Finding]:
    """Measure against the least rates that keep the model, and not the world, the bottleneck."""
    crowd = Crowd(BATCH)
    seconds = race({"environment steps": timed(crowd.live), "text observations": timed(crowd.look)}, repeats)
    wanted = {"environment steps": STEPS_TARGET, "text observations": TEXTS_TARGET}
    found = []
    for name, least in wanted.items():
        rate = crowd.actions.size / seconds[name]
        found.append(
            Finding(
                case=f"forage: {BATCH:,} lives", unit=f"{name}/s", peer="least rate", ours=rate, theirs=least,
                ratio=rate / least, target=1.0,
            )
        )  # fmt: skip
    return found
