"""Why tuned adapters were refused is counted by reason, whoever said it."""

from evo.algorithms.base import Judgement
from evo.verdicts import Verdict, of_trials, refusals


def test_refusals_are_counted_by_reason() -> None:
    def said(child: int, *, accepted: bool) -> Judgement:
        return Judgement(parent=1, child=child, accepted=accepted, difference=-2.0, standard_error=0.5, reason="worse")

    trials = of_trials(3, [said(7, accepted=False), said(8, accepted=True)])
    guards = [
        Verdict(generation=3, parent=i, child=None, stage="training", accepted=not reason, reason=reason)
        for i, reason in enumerate(["drift: KL 2.000 from the parent", "", "not finite", "drift: KL 3.000"])
    ]
    counted = dict(refusals([*trials, *guards]))
    assert counted == {"not finite": 1, "exploding": 0, "drift": 2, "collapse": 0, "worse": 1}
    assert [(one.child, one.difference) for one in trials] == [(7, -2.0), (8, -2.0)]
