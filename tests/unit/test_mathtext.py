"""The reader of quantities: exact values, units, notations and uses."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgpo.mathtext import quantities, units
from sgpo.mathtext.quantities import Quantity


def whole(text: str) -> Quantity:
    found = [q for q in quantities.read(text).quantities if q.whole and q.notation != "relation"]
    return found[-1]


@pytest.mark.parametrize(
    ("text", "value", "notation"),
    [
        ("57.5 thousand", Fraction(57_500), "digits"),
        ("2.6e4", Fraction(26_000), "digits"),
        ("70k", Fraction(70_000), "digits"),
        ("三百二十", Fraction(320), "digits"),
        ("276 000", Fraction(276_000), "digits"),
        ("1,250,000", Fraction(1_250_000), "digits"),
        ("$8{,}000$", Fraction(8_000), "digits"),
        ("seventy thousand and one", Fraction(70_001), "digits"),
        ("0.125", Fraction(1, 8), "decimal"),
        ("three fifths", Fraction(3, 5), "fraction"),
        ("nine-sixteenths", Fraction(9, 16), "fraction"),
        ("1½", Fraction(3, 2), "fraction"),
        ("two and a half", Fraction(5, 2), "fraction"),
        (r"$\tfrac32$", Fraction(3, 2), "fraction"),
        ("15%", Fraction(15), "percent"),
        ("XLVII", Fraction(47), "roman"),
        ("the twenty-first", Fraction(21), "ordinal"),
        ("half of the modulus", Fraction(1, 2), "share"),
        ("a third of the total", Fraction(1, 3), "share"),
        ("two more than five", Fraction(7), "expression"),
        ("４２", Fraction(42), "digits"),
        ("3:4", Fraction(3, 4), "ratio"),
        ("once in nine throws", Fraction(1, 9), "fraction"),
        ("eight to one against", Fraction(1, 9), "fraction"),
        ("one hundredth", Fraction(1, 100), "fraction"),
        ("three to the fourth power", Fraction(81), "expression"),
        ("the factorial of five", Fraction(120), "expression"),
        ("the product of 4 and 6", Fraction(24), "expression"),
        ("the sine of 90 degrees", Fraction(1), "expression"),
    ],
)
def test_values_and_notations(text: str, value: Fraction, notation: str) -> None:
    found = whole(text)
    assert (found.value, found.notation) == (value, notation)


@pytest.mark.parametrize(
    ("text", "unit", "readings"),
    [
        ("2 dozen", "dozen", (24,)),
        ("50%", "percent", (50, Fraction(1, 2))),
        ("4 hours and 40 minutes", "minute", (280,)),
        ("one cent short of half a dollar", "dollar", (Fraction(49, 100),)),
        ("0.25 m^2", "meter^2", (Fraction(1, 4),)),
        ("60 miles per hour", "mile/hour", (60,)),
        ("nine dimes", "dime", (9,)),
        ("5 unit cubes", "", (5,)),
    ],
)
def test_units(text: str, unit: str, readings: tuple[Fraction, ...]) -> None:
    found = whole(text)
    assert (found.unit.name if found.unit else "", found.readings) == (unit, readings)


@pytest.mark.parametrize(
    "word", ["has", "unit", "exact", "point", "are", "count", "chain", "shakes", "gauss", "second" * 50, "", "a" * 999]
)
def test_words_that_are_no_units(word: str) -> None:
    assert units.unit(word) is None


@pytest.mark.parametrize(
    ("text", "use"),
    [
        ("The distance is three.", "result"),
        ("The total comes to seven dozens.", "result"),
        ("Compare exponents: 3", "result"),
        ("The eighth is the last that fits.", "result"),
        ("23 works.", "result"),
        ("Divide by 12.", "operand"),
        ("Add 2.", "operand"),
        ("Work modulo 7.", "base"),
        ("Do step 3.", "label"),
        ("Look at the second derivative.", "ordinal"),
        ("There is a 4-digit number.", "label"),
        ("It is 2 less than the number of sides.", "mention"),
        ("a must be 5.", "result"),
        ("This forces a to be 5.", "result"),
        ("It vanishes only if a is 5.", "result"),
        ("Choose a as 5.", "result"),
        ("It is at most 5.", "result"),
        ("So k can take 5 values.", "result"),
        ("Reduce the 100 days modulo 7.", "operand"),
        ("Reduce modulo phi(10).", "operand"),
    ],
)
def test_uses(text: str, use: str) -> None:
    assert next(q for q in quantities.read(text).quantities if q.whole).use.name == use


def test_a_condition_and_a_law_are_no_results() -> None:
    assert whole("If the remainder is 2").use.supposed
    assert whole("A square has corner sum 4").use.supposed
    assert not whole("So the remainder is 2").use.supposed
    assert not whole("A zero remainder requires the coefficient to be 5").use.supposed
    assert whole("See how soon they come back to 1").use.supposed


@given(st.text(max_size=300))
def test_no_text_raises(text: str) -> None:
    quantities.read(text)


@pytest.mark.parametrize("piece", ["twenty-one and ", "三", "((((", r"\frac"])
def test_a_megabyte_is_bounded(piece: str) -> None:
    text = quantities.read(piece * (1_000_000 // len(piece)))
    assert len(text.text) <= 4 * quantities.MAX_TEXT
