"""Which forward a model gets.

Owns the choice and nothing else. To add a forward, add its name and its test of fit to `make_forward`.
"""

from typing import Any

from fitness.errors import ModelError, nearest
from fitness.forwards.base import Forward
from fitness.forwards.huggingface import HuggingFaceForward
from fitness.forwards.llama import LlamaForward

_FORWARDS = ("auto", "huggingface", "llama")


def make_forward(name: str, network: Any, targets: tuple[str, ...]) -> Forward:
    """Make the forward called `name` ("auto": the fastest that fits the network)."""
    if name not in _FORWARDS:
        raise ModelError(f"forward: expected one of {', '.join(_FORWARDS)}, got {name!r}{nearest(name, _FORWARDS)}")
    fits = LlamaForward.fits(network, targets)
    if name == "llama" and not fits:
        raise ModelError(f"forward: expected a model of the Llama family for 'llama', got {type(network).__name__}")
    if fits and name != "huggingface":
        return LlamaForward(network)
    return HuggingFaceForward(network, targets)
