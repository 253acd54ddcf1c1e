"""Trackers: subscribers that show a run while it goes on and can never stop it.

Owns who gets told what. `base.py` is the contract, `fanout.py` tells all of them, then one file per member. Events are
the frozen dataclasses of evo/records.py; what must not be lost is written by the run itself, not here.

To add a tracker: write a class that derives from `evo.tracking.base.Tracker` in a new file (anywhere) and hand it to
`evo.tracking.fanout.Trackers`. It is called from a thread of its own, so it may be slow and it may fail: the run goes
on. Import what is heavy inside `on_start`, so that reading a configuration stays fast.
"""
