"""Worlds in which an agent can die. `base.py` is the contract; each environment has a folder or file of its own.

Importing this package registers the environments with Gymnasium: `gymnasium.make_vec("forager/Forage-v1", num_envs=8)`.
"""

import gymnasium

gymnasium.register(id="forager/Forage-v1", vector_entry_point="fitness.environments.forage.env:ForageVectorEnv")
