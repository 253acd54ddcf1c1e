"""The knobs of forage: what a YAML file under `conf/environment/` may set.

Owns the fields' ranges. The constants of life itself are `world.Pace`: changing one makes another environment version.
"""

from dataclasses import dataclass

from fitness.checks import check_integer
from fitness.environments.base import EnvironmentConfig, TextVectorEnv
from fitness.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ForageConfig(EnvironmentConfig):
    """Knobs of the world; the defaults are the calibrated `forage` version 1."""

    size: int = 12
    """Side of the square torus in cells; 6 to 100."""
    horizon: int = 128
    """Steps after which a living agent has outlived the episode; at least 1."""
    bushes: int = 20
    """Berry bushes, each of one colour for ever."""
    ponds: int = 4
    dens: int = 8
    wolves: int = 1
    view: int = 4
    """How far an agent sees, in steps (Manhattan distance)."""
    scarcity: float = 1.0
    """Multiplies the time that a bush needs to bear again; above 0 and at most 1000."""

    def __post_init__(self) -> None:
        """Check every field, and that everything has a cell of its own."""
        lowest = {"size": 6, "horizon": 1, "bushes": 1, "ponds": 1, "dens": 1, "wolves": 0, "view": 1}
        for name, least in lowest.items():
            check_integer(f"environment.{name}", getattr(self, name), least)
        number = isinstance(self.scarcity, int | float) and not isinstance(self.scarcity, bool)
        if not number or not 0 < self.scarcity <= 1000:
            raise ConfigError(
                f"environment.scarcity: expected a number above 0 and at most 1000, got {self.scarcity!r}"
            )
        if self.size > 100 or self.bushes + self.ponds + self.dens + self.wolves + 1 > self.size**2:
            raise ConfigError(
                f"environment.size: expected at most 100 and a cell for each of "
                f"{self.bushes + self.ponds + self.dens + self.wolves + 1} things, got {self.size}"
            )

    @property
    def env_id(self) -> str:
        """Name of the environment."""
        return "forage"

    @property
    def version(self) -> str:
        """Raised whenever the same seed and actions would end otherwise."""
        return "1"

    def make(self, num_envs: int) -> TextVectorEnv:
        """Return a batch of `num_envs` episodes, to be begun by `reset`."""
        from fitness.environments.forage.env import ForageVectorEnv

        return ForageVectorEnv(num_envs=num_envs, config=self)
