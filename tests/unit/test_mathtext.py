"""The reader of quantities: exact values, units, notations and uses."""

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sgpo.mathtext import units
from sgpo.mathtext.quantities import Quantity, Text
from sgpo.mathtext.tokens import MAX_TEXT


def whole(text: str) -> Quantity:
    return [q for q in Text(text).quantities if q.whole and q.notation != "relation"][-1]


@pytest.mark.parametrize(
    ("text", "value", "notation"),
    [
        ("57.5 thousand", Fraction(57_500), "words"),
        ("2.6e4", Fraction(26_000), "digits"),
        ("三百二十", Fraction(320), "digits"),
        ("276 000", Fraction(276_000), "digits"),
        ("1,250,000", Fraction(1_250_000), "digits"),
        ("$8{,}000$", Fraction(8_000), "digits"),
        ("seventy thousand and one", Fraction(70_001), "words"),
        ("2 dozen", Fraction(24), "words"),
        ("half a dozen", Fraction(6), "words"),
        ("the eighth triangular number", Fraction(8), "ordinal"),
        ("0.125", Fraction(1, 8), "decimal"),
        ("three fifths", Fraction(3, 5), "fraction"),
        ("nine-sixteenths", Fraction(9, 16), "fraction"),
        ("1½", Fraction(3, 2), "fraction"),
        ("two and a half", Fraction(5, 2), "fraction"),
        ("an hour and a half", Fraction(3, 2), "fraction"),
        ("two and a half thousand", Fraction(2_500), "words"),
        ("a dozen and a half", Fraction(18), "words"),
        ("1,234.5", Fraction(2_469, 2), "decimal"),
        ("600 - 198 - 209", Fraction(193), "expression"),
        (r"$\tfrac32$", Fraction(3, 2), "fraction"),
        ("15%", Fraction(3, 20), "percent"),
        ("XLVII", Fraction(47), "roman"),
        ("the twenty-first", Fraction(21), "ordinal"),
        ("half of the modulus", Fraction(1, 2), "share"),
        ("a third of the total", Fraction(1, 3), "share"),
        ("two more than five", Fraction(7), "expression"),
        ("10 - 3 - 2", Fraction(5), "expression"),
        ("6!/(3!2!)", Fraction(60), "expression"),
        ("a 30-60-90 triangle", Fraction(90), "digits"),
        ("４２", Fraction(42), "digits"),
        ("one hundredth", Fraction(1, 100), "fraction"),
        ("three to the fourth power", Fraction(81), "expression"),
    ],
)
def test_values_and_notations(text: str, value: Fraction, notation: str) -> None:
    found = whole(text)
    assert (found.value, found.notation) == (value, notation)


@pytest.mark.parametrize(
    ("text", "unit", "sizes"),
    [
        ("2 dozen", None, {24}),
        ("50%", None, {50, 0.5}),
        ("the fifth prime", None, {5, 11}),
        ("the tenth Fibonacci number", None, {10, 55}),
        ("half of the 10", None, {0.5}),
        ("nine dimes", "dime", {9}),
        ("half an hour", "hour", {0.5}),
        ("an eighth of a mile", "mile", {0.125}),
        ("$5.40", "dollar", {5.4}),
        ("5 unit cubes", None, {5}),
        ("0.25 m^2", "square meter", {0.25}),
        (r"$25\text{ cm}^2$", "square cm", {25}),
    ],
)
def test_units(text: str, unit: str | None, sizes: set[float]) -> None:
    found = whole(text)
    assert (found.unit, found.sizes) == (units.behind(*[*unit.split(" "), ""][:2])[0] if unit else None, sizes)


def test_x_is_a_sign_between_numbers_and_a_variable_elsewhere() -> None:
    assert whole("3 x 4 tiles").value == 12
    assert [q.letters for q in Text("3x + 2x = 30").quantities if q.notation == "relation"] == [2]


@pytest.mark.parametrize(
    "word", ["has", "unit", "exact", "point", "are", "count", "chain", "shakes", "gauss", "second" * 50, "", "a" * 999]
)
def test_words_that_are_no_units(word: str) -> None:
    assert units.behind(word, "") == (None, 0)


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
        ("Reduce the 100 days modulo 7.", "operand"),
    ],
)
def test_uses(text: str, use: str) -> None:
    assert next(q for q in Text(text).quantities if q.whole).use.name == use


def test_a_condition_and_a_law_are_no_results() -> None:
    assert whole("If the remainder is 2").use.supposed
    assert whole("A square has corner sum 4").use.supposed
    assert not whole("So the remainder is 2").use.supposed
    assert not whole("A zero remainder requires the coefficient to be 5").use.supposed
    assert whole("See how soon they come back to 1").use.supposed


_SCRAPS = st.sampled_from(
    [
        *"IVXLCDMek0123456789.,'^_{}()[]/+-=<>%$!|√½²三百",
        "\\frac",
        "\\sqrt",
        "half",
        "a",
        "dozen",
        "third",
        "two",
        "and",
        " ",
    ]
)


@given(st.text(max_size=300) | st.lists(_SCRAPS, max_size=40).map("".join))
@example("Treat LL as one letter, IIII as VV.")
@example(r"Rewrite $\frac{1}{2}$ the")
@example("4 = a _")
@example("two hundred " * 200)
def test_no_text_raises(text: str) -> None:
    for q in Text(text).quantities:
        assert q.quote
        assert q.use.name
        assert q.sizes
        assert q.forms is not None
        assert isinstance([*q.before, *q.behind], list)


@pytest.mark.parametrize("piece", ["twenty-one and ", "三", "((((", r"\frac"])
def test_a_megabyte_is_bounded(piece: str) -> None:
    text = Text(piece * (1_000_000 // len(piece)))
    assert len(text.text) <= 4 * MAX_TEXT
