"""Variation and selection: one folder per family, one file per member.

Families, each with its contract in `base.py`:

* `strategy`: crossover and mutation of strategy genes (clauses in slots),
* `adapter_crossover`: two stacks of parents in, one stack of children out,
* `adapter_mutation`: noise on a stack of adapters,
* `selection`: from fitness values to the positions of the chosen.

`step_sizes` adapts how strongly a genome mutates; `halves` says who gives the strategy and who the adapter where a
child takes each whole; `variation` applies all of them in order and makes children.

To add a member: write a frozen, keyword-only dataclass that derives from the family's base, in a file of its own; check
its fields in `__post_init__` with `fitness.checks`; draw only from the `numpy.random.Generator` passed in; never change
an input. Re-export it in the family's `__init__`, list it in the family's contract test and name it by `_target_` in
YAML (`conf/selection/`, `conf/variation/adapter_mutation/` ...). Members written outside this package need only the
last step.
"""
