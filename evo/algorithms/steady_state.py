"""The steady-state algorithm: a few are born at a time, and the worst make room."""

from dataclasses import dataclass

from evo.algorithms.generational import GenerationalConfig
from fitness.checks import check_integer
from fitness.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class SteadyStateConfig(GenerationalConfig):
    """Numbers of the steady-state algorithm (GENITOR, Whitley 1989): (mu + lambda) with a small lambda.

    All members are tested again beside the newborn, so that who makes room is decided on shared worlds.

    Example: `SteadyStateConfig(population=32, elites=2, offspring=2)`
    """

    offspring: int = 2
    """Children in every generation beside the tuned ones, at least 1."""

    def __post_init__(self) -> None:
        """Refuse numbers that leave nobody."""
        check_integer("offspring", self.offspring, 1)
        if self.survivors is not None:
            raise ConfigError(f"survivors: expected null, for offspring says how many there are, got {self.survivors}")
        if isinstance(self.population, int) and self.num_survivors < max(1, int(self.elites)):
            raise ConfigError(
                f"offspring: expected room for parents and elites in a population of {self.population}, "
                f"got {self.offspring} offspring and {self.elites} elites"
            )
        super().__post_init__()

    @property
    def num_survivors(self) -> int:
        """How many survive a generation."""
        return self.population - self.offspring - self.places
