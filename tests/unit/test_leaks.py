"""The quick guard against strategies that hold the answer: what it finds, and honest strategies that it lets pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgpo.data.leaks import contains_answer

LEAKS = [
    ("The sum is 42, so state it.", 42),
    ("Multiply 6 by 7 to get 42", "42"),
    ("state 42.", " $42$ "),
    ("state 42.", 42.0),
    ("state 42.", "42.00"),
    ("say THE ANSWER LOUDLY", "the answer"),
    ("use \\frac{3}{4} at the end", "\\frac{3}{4}"),
    ("use \\frac{3}{4} at the end", "$\\frac{3}{4}$"),
    ("then x + 1 remains", "x  + 1"),
    ("it runs to 3.14", 3.14),
    ("minus -12 it is", "-12"),
    ("so the answer is 5", "5"),
    ("so the answer is: 5", "5"),
    ("hence x = 5 follows", 5),
    ("you get $5$", "5"),
    ("it equals 5.", "5"),
    ("write \\boxed{5}", "5"),
    ("choose as solution: B", "b"),
    ("(1, 2) solves it", "(1, 2)"),
    ("hence the function is odd", "odd"),
    ("this gives 10", "10"),
]
HONEST = [
    ("Divide by 2 and carry on", "2"),
    ("Compare options B and C", "B"),
    ("There are 142 of them", "42"),
    ("Divide by 2 and carry on", 2.0),
    ("There are 42.5 of them", "42.0"),
    ("There are 42.5 of them", "42"),
    ("There are 1.42 of them", "42"),
    ("There are 420 of them", "42"),
    ("Let x42 be the index", "42"),
    ("Add the two numbers", "42"),
    ("The result is even", "2"),
    ("the answer is 57", "5"),
    ("the answer is 5.7", "5"),
    ("Work modulo 10", "10"),
    ("The angles sum to 180 degrees", "180"),
    ("Is it even or odd?", "odd"),
    ("Add them", None),
    ("Add them", ""),
    ("Add them", " $ $ "),
    ("", "42"),
    ("then xx + 1 remains", "x + 1"),
]


@pytest.mark.parametrize(("strategy", "answer"), LEAKS)
def test_leaks(strategy: str, answer: object) -> None:
    assert contains_answer(strategy, answer)


@pytest.mark.parametrize(("strategy", "answer"), HONEST)
def test_honest_strategies(strategy: str, answer: object) -> None:
    assert not contains_answer(strategy, answer)


@given(st.text(alphabet="ab .,", max_size=10), st.integers(1_001, 10**9), st.text(alphabet="ab ,", max_size=10))
def test_a_number_between_words_is_found(before: str, answer: int, after: str) -> None:
    assert contains_answer(f"{before} {answer} {after}", answer)
    assert contains_answer(f"{before} {answer}.", str(answer))


@given(st.integers(10, 10**6), st.integers(0, 9))
def test_part_of_a_longer_number_is_not(answer: int, digit: int) -> None:
    assert not contains_answer(f"take {answer}{digit} of {digit + 1}{answer}", answer)


@given(st.text(max_size=40), st.text(max_size=12))
def test_any_text_is_safe_to_ask_about(strategy: str, answer: str) -> None:
    """No answer is a regular expression; and what is found stands there, up to case and spaces."""
    if contains_answer(strategy, answer):
        wanted = "".join(answer.strip().strip("$").split()).casefold()
        assert wanted in "".join(strategy.split()).casefold() or not wanted.isascii()
