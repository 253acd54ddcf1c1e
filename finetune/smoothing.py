"""What is such a choice worth where such words stand? Advantages, averaged over all decisions that read alike.

Owns the features of a text and the regression. One decision's advantage is mostly luck: whoever is bitten after eating
gold learns a lie. A ridge regression of advantages on words and short phrases asks what the whole population met after
the same choice before the same words, apart from what every choice met there: whoever freezes in a late den froze of
the night, not of resting. What a decision's own advantage is, is `finetune.values`' affair.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import lsmr

from fitness.checks import check_integer
from fitness.errors import ConfigError
from fitness.records import Transitions

Floats = NDArray[np.float64]
_EXACT = 1e-5
"""Relative accuracy that the regression is solved to."""
_ITERATIONS = 300


@dataclass(frozen=True, kw_only=True)
class Smoothing:
    """How much alike texts must be to share what was learnt of them."""

    words: int = 3
    """Longest run of words that is a feature of its own."""
    phrases: int = 1200
    """Features, the most frequent; at least 1."""
    ridge: float = 20.0
    """Decisions of no advantage that every feature is thought to have been seen in; above 0."""
    shared: float = 0.01
    """The same for what all actions have in common, as a share of `ridge`; above 0. The smaller, the more is blamed on
    the situation and the less on the action."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("words", "phrases"):
            check_integer(f"smoothing.{name}", getattr(self, name), 1)
        for name in ("ridge", "shared"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"smoothing.{name}: expected a number above 0, got {getattr(self, name)}")


def smooth(transitions: Transitions, advantage: Floats, smoothing: Smoothing) -> Floats:
    """Return [m] how much more than other actions each decision's action is worth where such words stand.

    A ridge regression of advantages on phrases and on (phrase, action) pairs, of which the second part is returned: a
    night that is hard on everyone is explained by the night, and blamed on no action.

    Args:
        transitions: m decisions.
        advantage: [m] each decision's own.
        smoothing: features and penalties.
    """
    phrases = phrase_features(transitions.observation.tolist(), smoothing)
    action = transitions.action
    taken = [sparse.diags((action == k).astype(np.float64)) @ phrases for k in np.unique(action)]
    pairs = sparse.hstack(taken).tocsr()
    both = sparse.hstack([phrases / np.sqrt(smoothing.shared), pairs]).tocsr()
    weights = lsmr(both, advantage, damp=np.sqrt(smoothing.ridge), atol=_EXACT, btol=_EXACT, maxiter=_ITERATIONS)[0]
    return np.asarray(pairs @ weights[phrases.shape[1] :])


def phrase_features(texts: Sequence[str], smoothing: Smoothing) -> sparse.csr_matrix:
    """Return sparse [m, 1 + f]: a constant, then 1.0 for each frequent phrase that stands in the text.

    Example: of `red here`, with runs of two words, the phrases are `red`, `here` and `red here`.
    """
    index: dict[tuple[str, ...], int] = {}
    said = {
        text: [index.setdefault(phrase, len(index)) for phrase in _phrases(text, smoothing.words)]
        for text in dict.fromkeys(texts)
    }
    rows = np.repeat(np.arange(len(texts)), [len(said[text]) for text in texts])
    columns = np.concatenate([np.array(said[text], np.int64) for text in texts])
    frequent = np.argsort(-np.bincount(columns, minlength=len(index)), kind="stable")[: smoothing.phrases]
    place = np.full(len(index), -1)
    place[frequent] = 1 + np.arange(len(frequent))
    kept = place[columns] > 0
    rows = np.concatenate([np.arange(len(texts)), rows[kept]])
    columns = np.concatenate([np.zeros(len(texts), np.int64), place[columns[kept]]])
    return sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), (len(texts), 1 + len(frequent)))


def _phrases(text: str, longest: int) -> dict[tuple[str, ...], None]:
    """Return the distinct runs of up to `longest` words, in order."""
    words = text.split()
    runs = (tuple(words[i : i + n]) for n in range(1, longest + 1) for i in range(len(words) - n + 1))
    return dict.fromkeys(runs)
