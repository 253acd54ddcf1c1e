"""What other people's code says is repeated in one line that no terminal obeys."""

from fitness.errors import describe, listed


def test_control_characters_are_shown_and_not_sent() -> None:
    told = describe(RuntimeError("\x1b[31mred\x07 caf\u00e9\nmore"))
    assert told == "RuntimeError: \\x1b[31mred\\x07 caf\u00e9"
    assert describe(ValueError("\u202eabc \udcff")) == "ValueError: \\u202eabc \\udcff"


def test_a_long_list_is_cut_and_counted() -> None:
    assert listed([1, 2, 3]) == "1, 2, 3"
    assert listed("abcde") == "a, b, c and 2 more"
    assert listed([]) == ""
