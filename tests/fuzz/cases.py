"""How many hostile cases each fuzz test tries: `FUZZ` of them; `make test-all` asks for 10,000 over all tests."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, settings

from fitness.errors import ForagerError

CASES = int(os.environ.get("FUZZ", "20"))
patient = pytest.mark.timeout(max(300, 3 * CASES))
"""A case takes up to a second on a busy machine."""
fuzzed = settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)


@contextmanager
def works_or_says_why(*words: str) -> Iterator[None]:
    """Let a typed error pass that says what was expected and what was given; anything else is a failure."""
    try:
        yield
    except ForagerError as error:
        told = str(error)
        assert "expected" in told
        assert len(told) < 20_000, "a message repeats what it was given, however long"
        assert all(word in told for word in words), told
