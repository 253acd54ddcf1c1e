"""The map of forage shows where everything is, and what stands before what."""

import numpy as np

from fitness.environments.forage.config import ForageConfig
from fitness.environments.forage.picture import picture
from fitness.environments.forage.world import World


def test_a_map_shows_a_small_land_as_it_is() -> None:
    world = World(ForageConfig(size=6, bushes=4, ponds=1, dens=2, wolves=1), num_envs=2)
    world.reset(np.array([3, 4]), np.array([0, 1]))
    world.place[0], world.wolf[0], world.pond[0] = (1, 0), [(5, 5)], [(0, 2)]
    world.den[0] = [(1, 0), (5, 5)]  # under the agent, and under the wolf
    world.bush[0], world.colour[0] = [(2, 1), (3, 1), (4, 1), (5, 1)], [0, 1, 2, 0]
    world.ripe_at[0] = [0, 0, 0, 99]
    assert picture(world)[0].split("\n") == [
        ".@....",
        "..rbg'",
        "~.....",
        "......",
        "......",
        ".....W",
    ]
    assert picture(world)[1].count("@") == 1
