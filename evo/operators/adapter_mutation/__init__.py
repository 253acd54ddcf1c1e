"""Mutation of adapters, a whole stack at once.

Contract: `AdapterMutation` in `base.py`. To add a member, see `evo.operators`.
"""

from evo.operators.adapter_mutation.base import AdapterMutation
from evo.operators.adapter_mutation.gaussian import GaussianMutation

__all__ = ["AdapterMutation", "GaussianMutation"]
