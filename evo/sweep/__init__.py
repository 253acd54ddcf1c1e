"""Many runs from one command line: every combination of several values, or the best of a space.

`asked.py` tells fields with one value from fields with several, in Hydra's own grammar. `multirun.py` runs every
combination through Hydra's sweeper and launchers. `tune.py` looks for the best with Optuna, one run for each trial:
`space.py` says what may be tried, `goals.py` what is better, `study.py` keeps the trials, `told.py` tells of them.
A new goal is an entry of `goals.GOALS`, a new sampler one of `study.SAMPLERS`.
"""
