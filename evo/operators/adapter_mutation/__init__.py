"""Mutation of adapters, a whole stack at once.

Contract: `AdapterMutation` in `base.py`. To add a member, see `evo.operators`.
"""

from evo.operators.adapter_mutation.base import AdapterMutation
from evo.operators.adapter_mutation.gaussian import GaussianMutation
from evo.operators.adapter_mutation.layer_selective import LayerSelectiveMutation
from evo.operators.adapter_mutation.proximal import ProximalMutation
from evo.operators.adapter_mutation.singular_mask import SingularMaskMutation
from evo.operators.adapter_mutation.svd_structured import SvdStructuredMutation

__all__ = [
    "AdapterMutation",
    "GaussianMutation",
    "LayerSelectiveMutation",
    "ProximalMutation",
    "SingularMaskMutation",
    "SvdStructuredMutation",
]
