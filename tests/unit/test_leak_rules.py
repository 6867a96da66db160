"""Each rule of the leak check catches the step of its row on the page and passes the clean neighbour beside it."""

import re
from pathlib import Path

import leak_labels
import pytest

from sgpo.strategies.check import check_strategy
from sgpo.strategies.leakage import facts
from sgpo.strategies.leakage.rules import RULES, Rule

EGGS = (
    "Tom has 84 eggs and packs 12 in a box. He sells each box for 9 dollars, but 2 break. How much does he get?",
    "45",
    "He fills 84 / 12 = 7 boxes. Then 7 - 2 = 5 boxes remain, so he gets 5 * 9 = 45 dollars.",
)
PRIME = ("Which is prime? (A) 21 (B) 23 (C) 25", "B", "23 is prime, so B.")
# The problems, answers and responses beside which the steps of the page's table leak and pass.
EXAMPLES = {
    "option": PRIME,
    "value": ("A road has 1.25 miles. How many feet is that?", "6600", "1.25 * 5280 = 6600"),
    "written": ("Which matrix is it?", r"\begin{pmatrix}1&0\\0&-1\end{pmatrix}", "It mirrors."),
    "words": ("Is f even, odd or neither?", "odd", "f(-x) = -f(x), so f is odd."),
    "computation": EGGS,
    "equation": ("Which x satisfies $2^{3x} = 64$?", "2", "As 64 = 2^6, 3x = 6 and x = 2."),
    "number": EGGS,
    "copied": (
        "Who wins?",
        "Eve",
        "the train that left first is ahead by all that it covered before the second set out",
    ),
}
PAGE = (Path(__file__).parents[2] / "docs" / "strategy-check.md").read_text(encoding="utf-8")
# rule, kind, what it says, a step that leaks and one that passes
TABLE = re.findall(r"^\| (\w+) \| (\w+) \| (.+) \| `(.+)` \| `(.+)` \|$", PAGE, re.MULTILINE)


def test_the_page_has_the_rules_in_their_order() -> None:
    assert [(name, kind) for name, kind, *_ in TABLE] == [(rule.name, rule.kind) for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_catches_the_step_of_the_page_and_passes_its_clean_neighbour(rule: Rule) -> None:
    leaks, passes = next(row[3:] for row in TABLE if row[0] == rule.name)
    case = EXAMPLES[rule.name]
    assert rule.find(facts.Facts(*case, f"A general step.\n{leaks}"))
    assert check_strategy(*case, leaks).leak
    assert check_strategy(*case, f"A general step.\n{passes}").reason == "nothing leaks"


TILE = ("A tile is a square with side 0.5 m. What is its area in square centimeters?", "2500", "50^2 = 2500")


@pytest.mark.parametrize(
    "said",
    ["It covers 0.25 square meters.", "so 0.25 m²", "25 square decimeters", "2.5 thousand", "2.5e3", "2 500",
     "two and a half thousand", "twenty-five hundred", "a quarter of a square meter", "2.5 × 10^3", "MMD"],
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
        ("Recall that 12 = 2^2 * 3 has 3 * 2 divisors.", False),
        ("As 196 = 2^2 * 7^2, it has 3 * 3 divisors.", True),
        ("What remains is 2 equal shares.", False),
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


CHIMES = ("A clock chimes 4 times a day. How often does it chime in three days?", "12", "3 * 4 = 12")


@pytest.mark.parametrize(
    ("case", "said", "leak"),
    [
        (PRIME, "Rule out A and C.", True),
        (PRIME, "Rule out the even ones.", False),
        (PRIME, "Pick the 2nd option.", True),
        (PRIME, "The second fits.", True),
        (PRIME, "The 2nd candidate is prime.", True),
        (PRIME, "The answer is the second option but check it.", True),
        (PRIME, "Compare the second and third options.", False),
        (CHIMES, "Multiply by 12.", True),
        (CHIMES, "A clock has 12 hours.", False),
    ],
)
def test_a_place_names_its_option_and_a_general_number_that_is_the_answer_is_one(
    case: tuple[str, str, str], said: str, leak: bool
) -> None:
    assert check_strategy(*case, said).leak is leak


CUBE = ("What is the least cube that is divisible by 9 and ends in 7?", "27", "27 = 3^3")
RESIDUE = ("What is the remainder when 5^9 is divided by 13?", "5", "5^8 = 1, so the remainder is 5.")
SHAPE = ("Which surface is r = c?\n(A) Plane\n(B) Cone\n(C) Cylinder\n\nEnter the letter.", r"\text{(C)}", "It is (C).")
HALL = (
    "A robot takes 2.5 hours for 1 kilometer. How many meters does it go in 90 seconds?",
    "10",
    "1000 * 90 / 9000 = 10",
)
RANGE = (
    r"For which \lambda is there a cycle?",
    "(3,4]",
    r"The condition is (\lambda+1)(\lambda-3) > 0, so \lambda > 3.",
)
CONIC = ("Is it a parabola, circle, ellipse, line, two lines, or empty?", r"\text{ellipse}", "It is an ellipse.")
CLUB = ("How many boys are among the 35 students?", "9", "There are 26 girls, so 9 boys.")
TURN = ("Is she facing north, south, east or west at the end?", "east", "She faces east.")
AGES = ("John is 28. Jim is younger. How old is Jim now?", "24", "28 - 4 = 24")


@pytest.mark.parametrize(
    ("case", "said", "leak"),
    [
        (CUBE, "It is the third perfect cube.", True),
        (CUBE, "The third perfect cube is the first that works.", True),
        (CUBE, "A perfect cube has exponents that are multiples of 3.", False),
        (RESIDUE, "The power is congruent to -8, so take its least residue.", True),
        (RESIDUE, "The power is congruent to a smaller one.", False),
        (SHAPE, "A fixed distance from an axis traces out a cylinder.", True),
        (SHAPE, "Every option but the cylinder fails.", True),
        (SHAPE, "It is neither a plane nor a cone.", True),
        (SHAPE, "Tick the last choice.", True),
        (SHAPE, "Compare with plane, cone and cylinder.", False),
        (TURN, "She faces neither north, south nor west.", True),
        (TURN, "The direction is north, south, east or west.", False),
        (HALL, "The hallway is 1000 centimeters long.", True),
        (HALL, "A kilometer is 1000 meters.", False),
        (RANGE, r"The condition is (\lambda + 1)(\lambda - 3) > 0.", True),
        (RANGE, "The parameter must be more than three.", True),
        (RANGE, r"With functions, \sin 2\lambda = \cos 3\lambda.", False),
        (CONIC, "Equal coefficients give a circle, others an ellipse, two factors two lines.", False),
        (CONIC, "Different coefficients give an ellipse.", True),
        (CLUB, "The boys number nine.", True),
        (CLUB, "The ninth boy takes the last place.", True),
        (SHAPE, "Go for A.", False),
        (SHAPE, "Go for C.", True),
        (SHAPE, "The third one on the list is right.", True),
        (SHAPE, "A and B both lose to another one.", True),
        (SHAPE, "Compare (A) with (B), then the better one with (C).", False),
        (AGES, "Jim is 4 years younger than John.", True),
        (AGES, "Jim is younger than John by a fixed number of years.", False),
        (AGES, "The age swells to 24.", True),
    ],
)
def test_answers_that_are_described(case: tuple[str, str, str], said: str, leak: bool) -> None:
    assert check_strategy(*case, said).leak is leak


MOVIE = ("A movie starts at 12:40 PM and lasts 2 hours and 35 minutes. When does it end?", "3:15 PM", "2:40, 3:15 PM")
FACTORS = ("What is the greatest common divisor of 252 and 198?", "18", "252 = 198 + 54, 198 = 3*54 + 36, 54 = 36 + 18")
DICE = ("What is the probability that two dice show a sum of 9?", r"\frac{1}{9}", "4 of 36 pairs do, and 4/36 = 1/9.")
LEGS = ("A right triangle has legs 7 and 24. Find its inradius.", "3", "The hypotenuse is 25, so r = (7+24-25)/2 = 3.")
EVEN = (r"Is f(x) = x \sin x even, odd or neither?", "even", "f(-x) = f(x)")
RACE = (
    "Ann, Ben, Cal and Dee ran. Ben finished before Dee, Ann right after Dee, and Cal before Ben. Who was third?",
    "Dee",
    "The order is Cal, Ben, Dee, Ann.",
)
GRAPH = (
    "Which is the graph of y = |x| - 1? (A) a line (B) a V shape with vertex above the origin (C) a circle "
    "(D) a V shape with vertex below the origin (E) a parabola",
    r"\text{(D)}",
    "It is moved down.",
)
HEAVY = ("A dog weighs more than a cat, a goat more than a dog. Which animal is the heaviest?", "goat", "The goat.")
ROOT = ("p(x) = x^3 - 4x^2 + ax - 6 is divisible by x - 3. What is a?", "5", "p(3) = 3a - 15 = 0, so a = 5.")
SERIES = (
    r"Find the sum of $3 + 1 + \frac13 + \dots$.",
    r"\frac{9}{2}",
    "The ratio is 1/3, so it is 3/(1 - 1/3) = 9/2.",
)
SPEED = ("A car drives 90 km/h. How many meters does it drive in 2 minutes 40 seconds?", "4000", "25 * 160 = 4000")
SINE = ("Let θ be acute with sin θ = 5/13. Find sin 2θ.", "120/169", "cos θ = 12/13, so sin 2θ = 120/169.")
FINISH = (
    "Priya, Quentin, Rosa and Sam ran. Quentin finished ahead of Rosa but behind Sam. Who finished second?",
    "Priya",
    "Sam, Priya, Quentin, Rosa.",
)


@pytest.mark.parametrize(
    ("case", "said", "leak"),
    [
        (SPEED, "To get m/s from km/h, divide by 3.6.", False),
        (SINE, "Use sin^2 θ + cos^2 θ = 1.", False),
        (SINE, "In a similar example with sin θ = 3/5, the adjacent side would be 4.", False),
        (SINE, "For example, cos θ = 12/13.", True),
        (SINE, "Look for a power that is congruent to 1.", False),
        (FINISH, "Rule out Sam, Quentin and Rosa.", True),
        (MOVIE, "It ends at a quarter past three.", True),
        (MOVIE, "The hours take you to 14:40.", True),
        (MOVIE, "On a clock with 12 hours, 1 comes after 12.", False),
        (FACTORS, r"Write $252 = 2^2 \cdot 3^2 \cdot 7$.", True),
        (FACTORS, "Write each as a product of powers of primes, as 12 = 2^2 * 3.", False),
        (DICE, "Each pair has probability 1/36.", False),
        (LEGS, "Recognise the 7-24-25 triangle.", True),
        (LEGS, "Triangles such as the 3-4-5 and the 5-12-13 triangle have whole sides.", False),
        (EVEN, "Even functions are symmetric about the y-axis, odd ones about the origin.", False),
        (EVEN, "Both signs cancel, so f(-x) = f(x).", True),
        (EVEN, "Check whether f(-x) = f(x).", False),
        (RACE, "As Cal finished before Ben, write Cal to the left of Ben.", False),
        (GRAPH, "Decide whether the vertex is above or below the origin.", False),
        (GRAPH, "The last but one fits.", True),
        (HEAVY, "The goat is the heaviest.", True),
        (HEAVY, "Write the goat above the dog, as the problem says.", False),
        (ROOT, "A zero remainder requires the coefficient to be five.", True),
        (ROOT, "The division by x - r leaves no remainder if p(r) = 0.", False),
        (EGGS, "The text gives 9 dollars as the price.", False),
        (EGGS, "This gives 9 dollars.", True),
        (SERIES, "The ratio is one third.", True),
        (SERIES, "The ratio is the second term over the first.", False),
    ],
)
def test_answers_and_results_in_other_words(case: tuple[str, str, str], said: str, leak: bool) -> None:
    assert check_strategy(*case, f"A general step.\n{said}").leak is leak


DISCOUNT = (
    "A coat costs $80. It was sold with 10 coupons. By how many percent is the price of $72 lower?",
    "10",
    "80 - 72 = 8, and 8/80 = 10%.",
)
COT = (r"Simplify $\sec x / \sin x - \tan x$.", r"\cot x", "It is (1 - sin^2 x)/(sin x cos x) = cos x / sin x = cot x.")
ANGLES = ("Find the angle. (A) $30$ (B) $45$ (C) $60$ Give the letter.", "B", "The tangent is 1, so it is 45 degrees.")
BASES = ("Let $x_n = 2x_{n-1} - 3x_{n-2}$. Find $x_9$.", "77", "Adding two of them gives x_n = x_{n-4} + 5.")
HEIR = ("Ann, Bo and Cy share 9 nuts. Who has most?", "Cy", "Cy has 5 of them.")
COINS = (
    "He pays 25 dollars for 21 dollars of tea. How many quarters are his change?",
    "16",
    "4 dollars are 16 quarters.",
)
STAY = ("A room costs 1600 a day, or 1000 for 12 hours and 70 an hour. How much is saved?", "250", "1600 - 1350 = 250")


@pytest.mark.parametrize(
    ("case", "said", "leak"),
    [
        (DISCOUNT, "The new price is 10% lower.", True),
        (DISCOUNT, "Another coat, e.g. one of $50 sold at $40, is 20% cheaper.", False),
        (DISCOUNT, "Test a candidate, e.g. a loss of 8 dollars of the 80.", False),
        (COT, "What survives is the reciprocal of tan x.", True),
        (COT, r"The difference equals $\dfrac{1-\sin^2 x}{\sin x\cos x}$.", True),
        (COT, "Use sin^2 x + cos^2 x = 1.", False),
        (ANGLES, "Compare with the options 30, 45 and 60.", False),
        (ANGLES, "The formula gives a tangent of 1.", True),
        (ANGLES, "It is 45.", True),
        (BASES, "A short computation forces x_n = x_{n-4} + 5.", True),
        (BASES, "Adding two recurrences gives x_n = x_{n-4} + 5.", True),
        (BASES, "For edge s, V = s^3 and A = 6s^2.", False),
        (BASES, "Reduce it to a product equal to zero.", False),
        (HEIR, "Cy's share is the largest.", True),
        (HEIR, "Compare Ann's, Bo's and Cy's shares.", False),
        (COINS, "He walks out with four dollars in coins.", True),
        (COINS, "There are 4 quarters in a dollar.", False),
        (STAY, "Evaluate d - (p + rh).", False),
    ],
)
def test_what_the_thirteenth_to_fifteenth_batch_told(case: tuple[str, str, str], said: str, leak: bool) -> None:
    assert check_strategy(*case, f"A general step.\n{said}").leak is leak


SALE = ("A coat of $80 is sold at 35% off. What does it cost?", "52", "35% of 80 are 28, and 80 - 28 = 52 dollars.")
FEET = (
    "A shelf is 6 feet and 5 inches long. How long is it in inches?",
    "77",
    "6 feet are 72 inches, and 72 + 5 = 77.",
)
STRIP = ("A strip is 6.5 mm wide and 25 m long. What is its area in cm^2?", "1625", "0.65 * 2500 = 1625")
TANGENT = (r"In a right triangle $\sin A = 2\cos A$. What is $\tan A$?", "2", "Dividing by cos A gives 2.")
DIGITS = ("Write 58 in base 9.", "64", "58 = 6 * 9 + 4")
SETS = ("In three sets he hit 4 more balls in the first than in the second, 19 in all. How many?", "10", "x + 4 = 10")
JUG = ("Of 32 ounces he pours 2 ounces into each of 15 cups. How many ounces are left?", "2", "32 - 30 = 2")
SOLUTIONS = ("How many z satisfy z^5 = w?", "7", "6 and 1 are 7.")


@pytest.mark.parametrize(
    ("case", "said", "leak"),
    [
        (SALE, "Say a hat of $50 goes down by 20%: it costs 0.8 * 50 = 40, so 40 is left.", False),
        (SALE, "Here is a smaller case. A hat of $50 at 20% off saves 10 and costs 40.", False),
        (SALE, "The saving is 28 dollars.", True),
        (SALE, "100% of the work is in the percentage.", False),
        (FEET, "Convert (6 feet = 72 inches).", True),
        (FEET, "A foot has 12 inches.", False),
        (STRIP, "The brush makes a strip 0.65 cm wide.", True),
        (STRIP, "A centimeter has 10 millimeters.", False),
        (TANGENT, r"Apply $\tan A = \sin A / \cos A$.", False),
        (DIGITS, "No digit may be bigger than 8.", False),
        (DIGITS, "Line up the 58 above the powers of 9.", False),
        (SETS, "Find out which set the other two are compared with.", False),
        (SETS, r"Then $3x-(d+e)=S$.\n\textbf{3.} Subtract the difference.", False),
        (JUG, "He has used almost everything: two ounces remain.", True),
        (JUG, "Work in ounces; two of the steps multiply.", False),
        (SOLUTIONS, "Altogether you'll count seven of them.", True),
    ],
)
def test_what_the_sixteenth_and_seventeenth_batch_told(case: tuple[str, str, str], said: str, leak: bool) -> None:
    assert check_strategy(*case, f"A general step.\n{said}").leak is leak


ODD = ("Is g(f(x)) even, odd or neither?", "even", "g(f(-x)) = g(f(x)), so it is even.")
WORD = ("In how many ways can the letters of ELLIPSE be arranged?", "1260", "7!/(2! * 2!) = 1260")
SUM = ("What is the remainder of 1 + 3 + 5 + ... + 199 by 7?", "4", "100^2 = 10000, which leaves 4.")
CONIC = (
    "Is $x^2/4 + y^2 = 10$ a parabola, circle, ellipse or line?",
    "ellipse",
    "Both squares are positive: an ellipse.",
)
CEILINGS = ("Evaluate the ceiling of 3.6^2 minus 16.", "-3", "13 - 16 = -3")


@pytest.mark.parametrize(
    ("case", "said", "leak"),
    [
        (ODD, "Odd: f(-x) = -f(x). Even: g(-x) = g(x).", False),
        (WORD, "As an illustration, BANANA has 6!/(3!2!) = 60 arrangements.", False),
        (WORD, "There are 7!/(2!2!) arrangements.", True),
        (CEILINGS, r"It rounds up; \lceil 2.3 \rceil = 3 and \lceil 5 \rceil = 5 are samples.", False),
        (CEILINGS, "Subtracting gives -3.", True),
        (SUM, "Use 1 + 3 + ... + (2n - 1) = n^2.", False),
        (SUM, "Then 1 + 3 is left.", True),
        (CONIC, "An ellipse in an unusual form", True),
        (CONIC, "Telling a circle from an ellipse", False),
    ],
)
def test_what_the_eighteenth_to_twentieth_batch_told(case: tuple[str, str, str], said: str, leak: bool) -> None:
    assert check_strategy(*case, f"{said}\nA general step.").leak is leak


def test_a_mark_of_thousands_of_latex_is_read() -> None:
    assert (
        check_strategy(r"Which two-digit number has the cube $912,\!673$?", "97", "97", "Look at 912,673.").leak
        is False
    )


def test_a_whole_sentence_of_the_response_is_copied_but_not_a_law() -> None:
    said = "Call u the longer part and v the shorter part."
    law = "The degree of a product is the sum of the degrees."
    case = ("How many z satisfy the equation?", "7", f"{said} {law} There are 7.")
    assert check_strategy(*case, said).kind == "copied"
    assert not check_strategy(*case, law).leak


UNSEEN = Path(__file__).parent.parent / "data" / "strategy_leaks_unseen.jsonl"


@pytest.mark.parametrize(
    ("split", "precision", "recall"),
    [
        ("open", 0.98, 0.96),
        ("sealed", 0.97, 0.97),
        ("third", 0.99, 0.90),
        ("last", 0.99, 0.99),
        ("fourth", 0.98, 0.96),
        ("fifth", 0.98, 0.96),
        ("sixth", 0.97, 0.95),
        ("seventh", 0.99, 0.92),
        ("eighth", 0.99, 0.94),
        ("ninth", 0.94, 0.69),
        ("tenth", 0.99, 0.99),
        ("eleventh", 0.98, 0.96),
        ("twelfth", 0.89, 0.91),
        ("thirteenth", 0.98, 0.91),
        ("fourteenth", 0.96, 0.94),
        ("fifteenth", 0.96, 0.84),
        ("sixteenth", 0.84, 0.84),
        ("seventeenth", 0.91, 0.88),
        ("eighteenth", 0.99, 0.95),
        ("nineteenth", 0.98, 0.88),
        ("twentieth", 0.96, 0.95),
        ("twenty-first", 0.94, 0.90),
        ("twenty-second", 0.92, 0.84),
        ("twenty-third", 0.89, 0.98),
        ("twenty-fourth", 0.92, 0.93),
        ("twenty-fifth", 0.88, 0.88),
        ("twenty-sixth", 0.92, 0.81),
        ("twenty-seventh", 0.81, 0.81),
        ("twenty-eighth", 0.80, 0.73),
        ("twenty-ninth", 0.95, 0.91),
        ("thirtieth", 0.96, 0.88),
        ("thirty-first", 0.89, 0.94),
        ("thirty-second", 0.88, 0.90),
    ],
)
def test_precision_and_recall_on_harder_cases(split: str, precision: float, recall: float) -> None:
    """The bounds are what the rules reach; `last` was scored once, and read, after the rules stood."""
    rows, absent = leak_labels.read([UNSEEN])
    if absent:
        pytest.skip(f"the files of the benchmarks that {absent} of the problems are from are not here")
    cases = [case for case in rows if case["split"] == split]
    parts = ("problem", "answer", "response", "strategy")
    found = [(case["label"], check_strategy(*(case[part] for part in parts)).leak) for case in cases]
    true = sum(label and leak for label, leak in found)
    assert true / sum(leak for _, leak in found) >= precision
    assert true / sum(label for label, _ in found) >= recall


@pytest.mark.parametrize("said", ["Take the 2nd option.", "The second candidate is prime.", "The second fits."])
def test_the_place_of_the_right_option_names_it_however_it_is_written(said: str) -> None:
    assert check_strategy(*PRIME, said).kind == "answer"


def test_what_is_done_first_is_not_the_first_option() -> None:
    said = "First eliminate the wrong answer choices."
    assert not check_strategy("Which is prime? (A) 23 (B) 21 (C) 25", "A", None, said).leak
