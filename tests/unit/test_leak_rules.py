"""Each row of the leak check's table catches its example and passes the nearest clean neighbour."""

import pytest

from sgpo.strategies.check import check_strategy
from sgpo.strategies.leakage import facts
from sgpo.strategies.leakage.rules import RULES, Rule


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_catches_its_example(rule: Rule) -> None:
    assert rule.find(facts.read(*rule.example, f"A general step.\n{rule.leaks}"))
    assert check_strategy(*rule.example, rule.leaks).leak


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_no_rule_catches_the_clean_neighbour(rule: Rule) -> None:
    assert check_strategy(*rule.example, f"A general step.\n{rule.passes}").reason == "nothing leaks"


def test_rules_are_named_once_and_say_themselves_in_a_sentence() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.says.endswith(".") and rule.says[0].isupper() for rule in RULES)


TILE = ("A tile is a square with side 0.5 m. What is its area in square centimeters?", "2500", "50^2 = 2500")


@pytest.mark.parametrize(
    "said",
    ["It covers 0.25 square meters.", "so 0.25 m²", "25 square decimeters", "2.5 thousand", "2.5e3", "2 500", "2.5k",
     "twenty-five hundred", "two and a half thousand", "a quarter of a square meter", "2.5 × 10^3", "MMD"],
)  # fmt: skip
def test_an_answer_in_another_unit_or_notation(said: str) -> None:
    assert check_strategy(*TILE, f"Convert first.\n{said}").kind == "answer"


@pytest.mark.parametrize(
    "said",
    ["A square meter has 10000 square centimeters.", "Multiply by 100, since 1 m is 100 cm.", "Square the side."],
)
def test_constants_of_a_unit_pass(said: str) -> None:
    assert not check_strategy(*TILE, said).leak


NINE = ("How many divisors does 196 have?", "9", "196 = 2^2 * 7^2, so there are (2+1)(2+1) = 9 divisors.")


@pytest.mark.parametrize(
    ("said", "leak"),
    [
        ("There are nine of them.", True),
        ("The count in Roman numerals is IX.", True),
        ("The ninth is the last that fits.", True),
        ("The answer is one less than ten.", True),
        ("Multiply (2+1)(2+1).", True),
        ("Nine divisors result.", True),
        ("A number is divisible by nine if its digit sum is.", False),
        ("Step 9: look up the ninth row.", False),
        ("Try the primes 2, 3, 5 and 7.", False),
    ],
)
def test_small_answers_by_how_they_are_used(said: str, leak: bool) -> None:
    assert check_strategy(*NINE, said).leak is leak


@pytest.mark.parametrize(
    ("said", "leak"),
    [
        ("For positive u and v, u/v + v/u >= 2.", False),
        ("The sine and the cosine satisfy sin^2 x + cos^2 x = 1.", False),
        ("The terms on the diagonal are all 1.", False),
        ("An hour has 60 minutes.", False),
        ("Cancel to leave r/3 = 1.", True),
        ("It follows that 2r = 6.", True),
    ],
)
def test_identities_pass_and_equations_of_the_problem_do_not(said: str, leak: bool) -> None:
    case = ("Which radius r makes them equal?", "3", "Then 4/3 r^3 = 4 r^2, so r/3 = 1, 2r = 6 and r = 3 after 60 s.")
    assert check_strategy(*case, said).leak is leak


@pytest.mark.parametrize(
    "said", ["答案是三十二", "結果は32です", "الجواب ٣٢", "zweiunddreißig", "тридцать два", "三" * 5_000]
)
def test_number_words_of_other_languages_are_read_or_refused(said: str) -> None:
    verdict = check_strategy("Find the number.", "32", "It is 32.", said)
    assert verdict.leak or not any(character.isnumeric() for character in said) or len(said) > 1_000
