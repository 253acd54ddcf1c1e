"""Algorithms: who is tested next, who survives, who breeds and who is tuned. One file per algorithm.

The contract is `evo.algorithms.base.Algorithm` (ask, tell, elites, adopt, state, restore).

To add one: write `<name>.py` with a frozen, keyword-only `<Name>Config` (checked in `__post_init__`, with a
`build(grammar, initial, selection, variation)`) and the class it builds. Ids come from a counter, chance from the
Generator given to `ask`, and `state()` must hold all that `restore()` needs to go on bit for bit.
"""
