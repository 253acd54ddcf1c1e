"""Turns trajectories into better weights.

`trainer.py` trains all elites' adapters in one batched step; `methods/` holds one file per method: which decisions,
which weights, which loss. Knows agents and transitions, nothing of evolution.
"""
