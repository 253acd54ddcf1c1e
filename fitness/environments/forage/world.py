"""The dynamics of forage: a batch of small tori with berries, ponds, dens, wolves, nights and seasons.

Owns the state and its rules, the hidden ones included; speaks only in arrays. What an agent sees of it is
`percept.py`, how that reads is `text.py`. All chance comes from `chance.uniform`, so an episode depends on its seed
and actions alone.

Hidden rules (written in no manual, strategy or pre-training text; only experience can teach them):
  1. one word:   red berries are always poison;
  2. two words:  blue berries are poison in autumn;
  3. in time:    a den keeps the cold out only for who is already in it when night falls.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitness.environments.chance import uniform
from fitness.environments.forage.config import ForageConfig

ACTIONS = ("north", "south", "east", "west", "eat", "drink", "rest")
NORTH, SOUTH, EAST, WEST, EAT, DRINK, REST = range(7)
MOVES = np.array([(0, -1), (0, 1), (1, 0), (-1, 0), (0, 0), (0, 0), (0, 0)], np.int16)
VITALS = ("energy", "water", "warmth", "health")
ENERGY, WATER, WARMTH, HEALTH = range(4)
CAUSES = ("hunger", "thirst", "cold", "poison", "wolf")
HUNGER, THIRST, COLD, POISON, WOLF = range(5)
COLOURS = ("red", "blue", "gold")
RED, BLUE, GOLD = range(3)
SEASONS = ("spring", "summer", "autumn", "winter")
AUTUMN, WINTER = 2, 3
TIMES = ("day", "dusk", "night")
DAY, DUSK, NIGHT = range(3)

DAY_STEPS, DUSK_STEPS, NIGHT_STEPS = 20, 4, 8
CYCLE = DAY_STEPS + DUSK_STEPS + NIGHT_STEPS
"""Steps of a day and its night; a season lasts one such cycle."""
_SHARES = np.array([0.42, 0.62])
"""Cumulative shares of red and blue bushes; the rest is gold."""
_PLACES, _COLOURS, _START, _WOLF_MOVES = range(4)


@dataclass(frozen=True)
class Pace:
    """How fast life is spent and won, in shares of a full vital."""

    energy: float = 0.025
    energy_at_rest: float = 0.0125
    water: float = 0.025
    meal: float = 0.4
    drink: float = 0.6
    poison: float = 0.45
    bite: float = 0.4
    healing: float = 0.008
    start: float = 0.6
    regrowth: int = 24
    """Steps until a bush bears again."""
    night_chill: float = 0.1
    winter_chill: float = 0.155
    late_den: float = 0.55
    """Share of the chill that gets into a den entered after dark."""
    sun: float = 0.08
    hunt_range: int = 3
    hunt_chance: float = 0.6
    sated: int = 12
    """Steps that a wolf leaves its prey alone after a bite."""


PACE = Pace()


def wrap(offset: NDArray[np.int16], size: int) -> NDArray[np.int16]:
    """Return the shortest way round a torus for coordinate differences."""
    half = size // 2
    return ((offset + half) % size - half).astype(np.int16)


class World:
    """n episodes of forage, advanced together.

    Attributes (n episodes, K bushes): `place` [n, 2]; `vitals` [n, 4] in [0, 1]; `bush`, `pond`, `den`, `wolf`
    [n, K, 2]; `colour` [n, K]; `ripe_at` [n, K]; `clock` [n]; `died` [n]; `cause` [n], -1 while alive.
    """

    def __init__(self, config: ForageConfig, num_envs: int) -> None:
        """Make room for `num_envs` episodes; `reset` fills it."""
        self.config, self.num = config, num_envs
        self.seeds = np.zeros(num_envs, np.int64)
        self.place = np.zeros((num_envs, 2), np.int16)
        self.bush = np.zeros((num_envs, config.bushes, 2), np.int16)
        self.pond = np.zeros((num_envs, config.ponds, 2), np.int16)
        self.den = np.zeros((num_envs, config.dens, 2), np.int16)
        self.wolf = np.zeros((num_envs, config.wolves, 2), np.int16)
        self.colour = np.zeros((num_envs, config.bushes), np.int8)
        self.ripe_at = np.zeros((num_envs, config.bushes), np.int32)
        self.sated_until = np.zeros((num_envs, config.wolves), np.int32)
        self.first_season = np.zeros(num_envs, np.int64)
        self.vitals = np.zeros((num_envs, 4), np.float32)
        self.clock = np.zeros(num_envs, np.int64)
        self.bedded = np.zeros(num_envs, bool)
        self.died = np.zeros(num_envs, bool)
        self.cause = np.full(num_envs, -1, np.int8)

    def reset(self, seeds: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        """Begin the episodes `seeds` [k] in the places `rows` [k]."""
        c = self.config
        things = c.bushes + c.ponds + c.dens + c.wolves + 1
        cells = np.argsort(uniform(seeds, 0, _PLACES, c.size**2), axis=1, kind="stable")[:, :things]
        where = np.stack([cells % c.size, cells // c.size], axis=2).astype(np.int16)
        ends = np.cumsum([c.bushes, c.ponds, c.dens, c.wolves])
        self.bush[rows], self.pond[rows], self.den[rows], self.wolf[rows], place = np.split(where, ends, axis=1)
        self.place[rows] = place[:, 0]
        self.colour[rows] = np.searchsorted(_SHARES, uniform(seeds, 0, _COLOURS, c.bushes), side="right")
        self.first_season[rows] = (uniform(seeds, 0, _START)[:, 0] * len(SEASONS)).astype(np.int64)
        self.seeds[rows], self.clock[rows] = seeds, 0
        self.ripe_at[rows], self.sated_until[rows], self.bedded[rows] = 0, 0, False
        self.vitals[rows] = (PACE.start, PACE.start, 1.0, 1.0)
        self.died[rows], self.cause[rows] = False, -1

    @property
    def season(self) -> NDArray[np.int64]:
        """[n] index into SEASONS."""
        return (self.first_season + self.clock // CYCLE) % len(SEASONS)

    @property
    def time(self) -> NDArray[np.int64]:
        """[n] index into TIMES."""
        hour = self.clock % CYCLE
        return (hour >= DAY_STEPS).astype(np.int64) + (hour >= DAY_STEPS + DUSK_STEPS)

    @property
    def ripe(self) -> NDArray[np.bool_]:
        """[n, bushes] whether a bush bears a berry now."""
        return np.asarray(self.ripe_at <= self.clock[:, None])

    @property
    def poisonous(self) -> NDArray[np.bool_]:
        """[n, bushes] hidden rules 1 and 2."""
        return np.asarray((self.colour == RED) | ((self.colour == BLUE) & (self.season == AUTUMN)[:, None]))

    def here(self, things: NDArray[np.int16]) -> NDArray[np.bool_]:
        """[n, k] whether each thing shares the agent's cell."""
        return np.asarray((things == self.place[:, None, :]).all(axis=2))

    def advance(self, actions: NDArray[np.int64]) -> None:
        """Live one step; episodes already over stay as they are.

        Args:
            actions: [n] index into ACTIONS.
        """
        before = (self.place.copy(), self.vitals.copy()) if self.over.any() else None
        frozen = self.over
        time, season = self.time, self.season
        swallowed = self._eat(actions, frozen)
        self.place = (self.place + MOVES[actions]) % np.int16(self.config.size)
        in_den = np.asarray(self.here(self.den).any(axis=1))
        self._drink(actions)
        bitten = self._hunt(in_den, frozen)
        self._spend(actions, time, season, in_den)
        if before is not None:
            self.place[frozen], self.vitals[frozen] = before[0][frozen], before[1][frozen]
        self.clock[~frozen] += 1
        self._bury(swallowed, bitten, ~frozen)

    @property
    def over(self) -> NDArray[np.bool_]:
        """[n] dead, or at the horizon."""
        return np.asarray(self.died | (self.clock >= self.config.horizon))

    def _eat(self, actions: NDArray[np.int64], frozen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Eat the ripe berry underfoot, or let it fall; return [n] who swallowed poison."""
        underfoot = self.here(self.bush) & self.ripe & ~frozen[:, None]
        eaten = underfoot & (actions == EAT)[:, None]
        poisoned = np.asarray((eaten & self.poisonous).any(axis=1))
        fed = eaten.any(axis=1) & ~poisoned
        regrown = self.clock + round(PACE.regrowth * self.config.scarcity)
        self.ripe_at[underfoot] = np.repeat(regrown, underfoot.sum(axis=1))
        self.vitals[fed, ENERGY] += PACE.meal
        self.vitals[poisoned, HEALTH] -= PACE.poison
        return poisoned

    def _drink(self, actions: NDArray[np.int64]) -> None:
        """Drink where there is a pond."""
        drinks = (actions == DRINK) & self.here(self.pond).any(axis=1)
        self.vitals[drinks, WATER] += PACE.drink

    def _hunt(self, in_den: NDArray[np.bool_], frozen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Move the wolves and let them bite; return [n] who was bitten. Nobody is bitten in a den."""
        if not self.config.wolves:
            return np.zeros(self.num, bool)
        gap = wrap(self.place[:, None, :] - self.wolf, self.config.size)
        near = np.abs(gap).sum(axis=2)
        hungry = self.sated_until <= self.clock[:, None]
        chance = uniform(self.seeds, self.clock, _WOLF_MOVES, 2 * self.config.wolves)
        hunts = hungry & (near <= PACE.hunt_range) & (chance[:, : self.config.wolves] < PACE.hunt_chance)
        strays = MOVES[(chance[:, self.config.wolves :] * 7).astype(np.int64)]
        step = np.where(hunts[..., None], _toward(gap), np.where(hungry[..., None] & (near == 0)[..., None], 0, strays))
        self.wolf = np.where(frozen[:, None, None], self.wolf, (self.wolf + step) % np.int16(self.config.size))
        bites = hungry & self.here(self.wolf) & ~(in_den | frozen)[:, None]
        self.sated_until[bites] = np.repeat(self.clock, bites.sum(axis=1)) + PACE.sated
        bitten = np.asarray(bites.any(axis=1))
        self.vitals[bitten, HEALTH] -= PACE.bite
        return bitten

    def _spend(
        self, actions: NDArray[np.int64], time: NDArray[np.int64], season: NDArray[np.int64], in_den: NDArray[np.bool_]
    ) -> None:
        """Spend energy, water and warmth; heal."""
        self.bedded = in_den & (self.bedded | (time != NIGHT))
        chill = np.where(season == WINTER, PACE.winter_chill, PACE.night_chill)
        chill = chill * np.where(in_den, np.where(self.bedded, 0.0, PACE.late_den), 1.0)
        self.vitals[:, ENERGY] -= np.where(actions == REST, PACE.energy_at_rest, PACE.energy)
        self.vitals[:, WATER] -= PACE.water
        self.vitals[:, WARMTH] += np.where(time == NIGHT, -chill, PACE.sun)
        self.vitals[:, HEALTH] += np.where(self.vitals[:, HEALTH] > 0, PACE.healing, 0.0)
        np.minimum(self.vitals, 1.0, out=self.vitals)

    def _bury(self, swallowed: NDArray[np.bool_], bitten: NDArray[np.bool_], live: NDArray[np.bool_]) -> None:
        """Mark who died in this step, and of what."""
        empty = self.vitals <= 0
        causes = [empty[:, HEALTH] & swallowed, empty[:, HEALTH] & bitten]
        causes += [empty[:, ENERGY], empty[:, WATER], empty[:, WARMTH]]
        cause = np.select(causes, [POISON, WOLF, HUNGER, THIRST, COLD], -1)
        dies = live & (cause >= 0)
        self.cause[dies] = cause[dies]
        self.died |= dies


def _toward(gap: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the unit step [..., 2] along the longer axis of each gap (none where the gap is zero)."""
    along_x = np.abs(gap[..., 0]) >= np.abs(gap[..., 1])
    unit = np.sign(gap)
    return np.stack([np.where(along_x, unit[..., 0], 0), np.where(along_x, 0, unit[..., 1])], axis=-1).astype(np.int16)
