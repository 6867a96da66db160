"""Constants of a method pass the leak check; results of its steps do not, however they are written."""

import pytest

from sgpo.strategies.check import check_strategy

CLOCK = ("Q clock 7 later 23 ? A", "6", "first 7 + 23 = 30 ; then 30 - 12 = 18 ; then 18 - 12 = 6 ; ans 6")
NOON = ("Q clock 10 later 14 ? A", "12", "first 10 + 14 = 24 ; then 24 - 12 = 12 ; ans 12")
MEAN = ("Q mean 32 24 37 ? A", "31", "first 32 + 24 = 56 ; then 56 + 37 = 93 ; then 93 / 3 = 31 ; ans 31")
CELSIUS = (
    "Water has 77 degrees Fahrenheit. What is this in Celsius?",
    "25",
    "Celsius is $(F - 32)/1.8$, so $(77 - 32)/1.8 = 45/1.8 = 25$.",
)
SQUARE = ("Solve x^2 - 14x = 15 for x > 0.", "15", "(x-7)^2 = 15 + 49 = 64, so x - 7 = 8 and x = 15.")
PRIMES = ("Add the 14th and the 15th prime and double it.", "180", "43 + 47 = 90, and 90 * 2 = 180.")
PACKED = ("84 eggs go into boxes of 4, and 3 boxes into a crate. Crates?", "7", "84 = 7 * 12, so there are 7 crates.")


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (CLOCK, "Add, then subtract twelve until it fits."),
        (CLOCK, "Add, and take away 12 if the sum is too large."),
        (CLOCK, "Add, then work modulo twelve."),
        (NOON, "Add, then subtract twelve until it fits."),
        (MEAN, "Add all and divide by three."),
        (MEAN, "plus every after quotient three"),
        (CELSIUS, "Subtract thirty-two, then divide by 1.8."),
        (CELSIUS, "Solve F = 1.8C + 32 for C."),
    ],
)
def test_a_constant_of_the_method_passes(case: tuple[str, str, str], said: str) -> None:
    assert not check_strategy(*case, said).leak, check_strategy(*case, said).reason


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (CLOCK, "Add, then go on from thirty."),  # a result as a word
        (CLOCK, "Keep subtracting twelve until eighteen, then once more."),
        (CLOCK, "Subtract eighteen until it fits."),  # in the words of a rule, yet a result
        (CLOCK, "Subtract twelve from thirty."),  # a worked computation
        (CLOCK, "The remainder is twelve."),  # announced
        (NOON, "Subtract twelve until it fits; the hand stands at twelve."),
        (NOON, "Subtract twelve."),  # the answer, and nothing says that this is a rule
        (MEAN, "Divide ninety-three by three."),
        (CELSIUS, "Scale the forty-five degrees above freezing."),
        (SQUARE, "Add forty-nine to both sides."),  # in neither the problem nor a result, but of 14 in one's head
        (PRIMES, "Double the sum of 43 and forty-seven."),
        (PACKED, "Divide by twelve."),  # 84 = 7 * 12 takes apart and computes nothing
    ],
)
def test_a_result_is_caught_in_words_too(case: tuple[str, str, str], said: str) -> None:
    assert check_strategy(*case, said).leak


def test_numbers_of_any_size_and_many_of_them_are_read() -> None:
    problem = "Find the sum."
    for response in ("9" * 350 + " + 7 = 8", " ; ".join(f"{i} - 17 = {i - 17}" for i in range(3000))):
        check_strategy(problem, "5", response, "Subtract seventeen until it fits.")
