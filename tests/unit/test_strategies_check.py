"""The leak check: spellings of an answer, the tension of small numbers, hostile text, the file and the command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sgpo.cli import app
from sgpo.mathtext.quantities import Text
from sgpo.mathtext.tokens import plain_text, tokenize
from sgpo.runs.files import ReadError
from sgpo.strategies.check import MAX_STRATEGY, Leak, check_strategy
from sgpo.strategies.check_files import check_file

DATA = Path(__file__).parent.parent / "data" / "strategy_leaks.jsonl"
CASES = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
ONES = re.split(" ", _SMALL)
TENS = re.split(" ", ". . twenty thirty forty fifty sixty seventy eighty ninety")


def in_words(n: int) -> str:
    """An oracle of its own: English for 0 to 999999."""
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + (f"-{ONES[n % 10]}" if n % 10 else "")
    if n < 1000:
        return f"{ONES[n // 100]} hundred" + (f" and {in_words(n % 100)}" if n % 100 else "")
    return f"{in_words(n // 1000)} thousand" + (f" {in_words(n % 1000)}" if n % 1000 else "")


def verdict(answer: str, said: str, problem: str = "Find the value of x.", response: str = "") -> Leak:
    return check_strategy(
        problem, answer, response, {"problem_type": "Algebra", "strategy": "Simplify.", "steps": ["Begin.", said]}
    )


# --- the labelled set ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", sorted({case["split"] for case in CASES}))
def test_precision_and_recall_on_the_labelled_set(split: str) -> None:
    found = [
        (case["label"], check_strategy(case["problem"], case["answer"], case["response"], case["strategy"]).leak)
        for case in CASES
        if case["split"] == split
    ]
    true = sum(label and leak for label, leak in found)
    reached = {"fresh": 0.96, "fresh4": 0.95}.get(split, 0.97)  # two batches of about 40, where a verdict is 0.05
    assert true / sum(leak for _, leak in found) >= reached
    assert true / sum(label for label, _ in found) >= reached


def test_the_labelled_set_is_large_balanced_and_has_no_duplicates() -> None:
    assert len(CASES) >= 260
    assert 0.4 < sum(case["label"] for case in CASES) / len(CASES) < 0.6
    assert len({case["id"] for case in CASES}) == len(CASES)
    assert len({(case["problem"], json.dumps(case["strategy"])) for case in CASES}) == len(CASES)


# --- the answer in any form ------------------------------------------------------------------------------------------


HALVES = (
    "1/2;0.5;.5;one half;one-half;a half;½;\\frac{1}{2};\\frac12;\\tfrac12;$\\dfrac{1}{2}$;50%;fifty percent;2^{-1};2/4"
)


@pytest.mark.parametrize("written", HALVES.split(";"))
@pytest.mark.parametrize("answer", ["\\frac{1}{2}", "0.5", "1/2"])
def test_one_half_announced_in_any_spelling(answer: str, written: str) -> None:
    assert verdict(answer, f"So the probability is {written}.", "What is the probability?").kind == "answer"


ROOTS = (
    "3\\sqrt{13};3√13;sqrt(117);√117;3*sqrt(13);3 \\sqrt 13;three times the square root of thirteen;"
    "the square root of 117;10.817;117^{1/2}"
)


@pytest.mark.parametrize("written", ROOTS.split(";"))
def test_a_distinctive_answer_leaks_wherever_it_stands(written: str) -> None:
    assert verdict("3\\sqrt{13}", f"The side is {written} then, as one can see.").kind == "answer"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("\\frac{\\pi}{6}", "The angle is 30 degrees in the triangle."),
        ("\\frac{\\pi}{6}", "It has size π/6 there."),
        ("12", "This makes a dozen eggs."),
        ("1,000,001", "One sees 1000001 there."),
        ("1000001", "One sees $1{,}000{,}001$ there."),
        ("x=17", "Then x equals seventeen."),
        ("(3, 8)", "Hence x = 3 and y = 8."),
        ("\\{2, 7\\}", "The roots are 7 and 2."),
        ("[2, 5)", "We find 2 \\le x < 5."),
        ("(-\\infty, 2) \\cup (3, \\infty)", r"The set is $(-\infty,2)\cup(3,\infty)$."),
        ("\\begin{pmatrix}1&0\\\\0&-1\\end{pmatrix}", r"It is $\begin{pmatrix} 1 & 0 \\ 0 & -1 \end{pmatrix}$."),
        ("3:4", "The ratio is 3:4."),
        ("\\frac{x+3}{x-2}", "What remains is (x+3)/(x-2)."),
        ("7/12", "Seven twelfths appear on the way."),
        ("288", "Somewhere 288 comes up."),
        ("288", "Take 2 * 144 here."),
        ("2^{10}-1", "One meets 1023."),
        ("30\\%", "The share is 0.3 of all."),
        ("3^{20}", "As 3^20 is larger, take it."),
        ("3:30 pm", "They meet at 3:30 pm sharp."),
    ],
)
def test_equivalent_answers(answer: str, said: str) -> None:
    assert verdict(answer, said).kind == "answer"


@given(st.integers(11, 999_999).filter(lambda n: str(n).strip("0") != "1"), st.sampled_from(range(7)))
@settings(max_examples=150)
def test_integers_in_digits_words_and_expressions(n: int, way: int) -> None:
    forms = (str(n), f"{n:,}", f"${n}$", in_words(n), f"{n}.0", f"\\frac{{{2 * n}}}{{2}}", f"{n - 5} + 5")
    assert verdict(str(n), f"There is {forms[way]} in it.").kind == "answer"


@given(st.integers(1, 11), st.sampled_from([3, 5, 7, 8, 9, 10, 12]), st.integers(2, 9))
@settings(max_examples=80)
def test_fractions_reduced_or_not(top: int, bottom: int, factor: int) -> None:
    value = Fraction(top, bottom)
    if value.denominator in (1, 2):
        return
    answer = f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
    assert verdict(answer, f"Now {top * factor}/{bottom * factor} remains.").kind == "answer"
    assert verdict(answer, f"Now {float(value):.4f} remains.").kind == "answer"


@given(st.integers(0, 999_999))
@settings(max_examples=200)
def test_number_words(n: int) -> None:
    assert numbers(f"take {in_words(n)} of them") == [n]


def numbers(text: str) -> list[Fraction]:
    return [token.value for token in tokenize(plain_text(text))[0] if token.value is not None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the third side", [3]),
        ("half the base", [Fraction(1, 2)]),
        ("two and three", [2, 3]),
        ("two and a half", [Fraction(5, 2)]),
        ("two thirds", [Fraction(2, 3)]),
        ("the twenty-first term", [21]),
        ("a run of nines", []),
        ("two three four", [2, 3, 4]),
        ("a dozen and half a dozen", [12, 6]),
        ("a quarter is a coin, per second", []),
        ("tenfold, oneself and tension", []),
    ],
)
def test_words_that_are_no_numbers_stay(text: str, expected: list[Fraction]) -> None:
    assert numbers(text) == expected


# --- the tension: small numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "passes", "leaks"),
    [
        ("2", "Divide both sides by 2.", "Conclude that the value is 2."),
        ("2", "Set up two equations in two unknowns.", "The final answer is two."),
        ("2", "Take the 2nd derivative.", "This gives 2."),
        ("10", "Work modulo 10.", "so one gets 10"),
        ("10", "Write it in base 10.", "Hence x = 10."),
        ("3", "Step 3: use that a triangle has 3 sides.", "Therefore the result equals 3."),
        ("1", "The probabilities sum to 1, and $\\sin^2 x+\\cos^2 x=1$.", "The answer is 1."),
        ("0", "Set the derivative equal to 0.", "We obtain 0."),
        ("1/2", "The area is 1/2 * base * height, half the product.", "Therefore the value is one half."),
        ("180", "The angles of a triangle sum to 180 degrees.", "This gives 180."),
        ("60", "Divide by 60 to turn minutes into hours.", "It comes out at 60."),
        ("100", "Multiply by 100 to get a percentage.", "The total comes to 100, which is the answer."),
        ("4", "Use b^2 - 4ac and n(n+1)/2.", "x = 4"),
        ("2\\pi", "A full turn is 2π.", "The value is 2π."),
    ],
)
def test_a_small_answer_passes_unless_it_is_announced(answer: str, passes: str, leaks: str) -> None:
    assert not verdict(answer, passes).leak, verdict(answer, passes).reason
    assert verdict(answer, leaks).kind == "answer"


GENERAL = r"""
Divide both sides by 2 and add 1, since both ends count.
Work modulo 10; powers of a number modulo 10 repeat with period 4 or a divisor of 4.
Convert from base 2 to base 10.
The sum of the first n squares is n(n+1)(2n+1)/6, of the first n integers n(n+1)/2.
The interior angles sum to 180(n-2) degrees, the exterior ones to 360 degrees.
An equilateral triangle has three 60 degree angles; a square has 4 right angles of 90 degrees.
The cone has volume $\frac13\pi r^2h$, the sphere $\frac{4}{3}\pi r^3$, the triangle area 1/2 * base * height.
Use $\sin^2 x+\cos^2 x=1$ and $\cos 2\theta=2\cos^2\theta-1$.
Use $x=\frac{-b\pm\sqrt{b^2-4ac}}{2a}$; if the discriminant is 0 there is one real root.
Case 1: the number is even. Case 2: the number is odd.
Check divisibility by 3 and by 9 with the digit sum, by 4 with the last two digits.
Look for the smallest prime factors 2, 3, 5 and 7; consider perfect squares such as 4, 9, 16 and 25.
There are 7 days in a week, 24 hours in a day, 60 minutes in an hour and 12 months in a year.
A standard deck has 52 cards in 4 suits of 13; a die has 6 faces, each with probability 1/6.
Substitute x = 0 for the constant term and x = 1 for the sum of the coefficients.
Multiply by 100 to get a percentage; 100% is the whole. A quarter is 25 cents.
The average of three numbers is their sum divided by 3.
In a 30-60-90 triangle the sides are as 1 : \sqrt{3} : 2.
For n = 1 verify the base case, then go from n = k to n = k + 1.
Write a two-digit number as 10a + b; note that 0! = 1 and 10 = 2 * 5.
"""


@pytest.mark.parametrize("step", GENERAL.strip().splitlines())
def test_general_steps_pass_beside_any_problem(step: str) -> None:
    problems = {case["problem"]: case for case in CASES if case["split"] != "dev"}
    for case in list(problems.values())[::2]:
        found = check_strategy(case["problem"], case["answer"], case["response"], f"Take a general step.\n{step}")
        assert not found.leak, (case["id"], case["answer"], found.reason)


# --- computations, intermediate results, copies ----------------------------------------------------------------------

APPLES = "Tom has 84 apples and packs 12 in a box. He sells each box for 9 dollars. How much does he get?"
SOLVED = "He fills 84 / 12 = 7 boxes. Then he gets 7 * 9 = 63 dollars, and after tax of 10 percent 56.7 dollars remain."


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Divide 84 by 12.", "computation"),
        ("Compute 84/12.", "computation"),
        ("Multiply the 12 apples by 9 dollars.", "computation"),
        ("Plug 84 into the formula.", "computation"),
        ("Set n = 84.", "computation"),
        ("He has 7 boxes.", "intermediate"),
        ("This gives 7.", "intermediate"),
        ("Afterwards 56.7 dollars remain.", "intermediate"),
        ("There are 72 more apples.", "intermediate"),  # 84 - 12, which the response does not state
        ("Find how many boxes of apples he fills.", ""),
        ("Divide the apples by the size of a box, then multiply by 9 as the price says.", ""),
        ("Divide the total by the size of a group.", ""),
        ("Do it in 3 steps, each with 1 operation.", ""),
    ],
)
def test_computations_and_intermediate_results(said: str, kind: str) -> None:
    assert verdict("63.5", said, APPLES, SOLVED).kind == kind


@pytest.mark.parametrize("general", ["10 = 2 * 5", "0! = 1", "$10^2$", "pi/180", "(n-2)*180", "1/3 of the base area"])
def test_facts_of_general_knowledge_pass_though_their_numbers_occur(general: str) -> None:
    assert not verdict(
        "77", f"Recall {general} from the theory of angles.", "There are 2, 5, 3, 10 and 180.", "0, 1"
    ).leak


def test_long_spans_of_the_response_leak_but_not_those_of_the_problem_or_short_ones() -> None:
    span = "the train that left first is ahead by all that it covered before the second one set out at noon"
    words = re.split(" ", span)
    response = " ".join(words) + ". So it is 63."
    assert verdict("63", " ".join(words), response=response).kind == "copied"
    assert verdict("63", " ".join(words).upper().replace(" ", "  "), response=response).kind == "copied"
    assert not verdict("63", " ".join(words), " ".join(words), response).leak
    assert not verdict("63", " ".join(words[:9]), response=response).leak


# --- words and choices -----------------------------------------------------------------------------------------------


CHOICES = "Which is right? (A) 11 (B) 15 (C) 18 (D) 21"


@pytest.mark.parametrize(
    ("said", "leak"),
    [
        ("Pick option B.", True),
        ("The answer is (B).", True),
        ("Only B satisfies the test.", True),
        ("The value 15 fits.", True),
        ("Compare the options A, B, C and D.", False),
        ("Let B be the foot of the altitude in triangle ABC.", False),
        ("Use P(A and B) = P(A) P(B).", False),
    ],
)
@pytest.mark.parametrize("answer", ["B", "(B)", "\\text{(B)}", "15"])
def test_choices(answer: str, said: str, leak: bool) -> None:
    assert verdict(answer, said, CHOICES).leak is leak


@pytest.mark.parametrize(
    ("answer", "said", "leak"),
    [
        ("odd", "Hence the function is odd.", True),
        ("odd", "Decide whether it is even or odd.", False),
        ("odd", "Sum over the odd indices first.", False),
        ("Evelyn", "Compare the slopes; Evelyn comes first.", True),
        ("Evelyn", "Compare the slopes of Angela, Briana, and Evelyn.", False),
        ("no solution", "It turns out that there is no solution.", True),
        ("diverges", "so the series diverges", True),
        ("diverges", "Decide if the series converges or diverges.", False),
    ],
)
def test_words(answer: str, said: str, leak: bool) -> None:
    assert verdict(answer, said, "What holds?").leak is leak


# --- reading values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$3\\sqrt{13}$", 117**0.5),
        ("2\\frac{1}{2}", 2.5),
        ("-2^2", -4.0),
        ("2^{-1}", 0.5),
        ("5!", 120.0),
        ("\\binom{10}{3}", 120.0),
        ("10 choose 3", 120.0),
        ("\\log_2 16", 4.0),
        ("\\cos 60^\\circ", 0.5),
        ("(1+2)(3+4)", 21.0),
        ("\\sqrt[3]{27}", 3.0),
    ],
)
def test_values_of_expressions(text: str, value: float) -> None:
    last = [found for found in Text(text).quantities if found.whole][-1]
    assert last.value is not None
    assert float(last.value) == pytest.approx(value)


@given(st.recursive(st.integers(1, 9).map(str), lambda x: st.tuples(x, st.sampled_from("+-*/"), x).map(
    lambda t: f"({t[0]} {t[1]} {t[2]})"), max_leaves=8))  # fmt: skip
@settings(max_examples=150)
def test_the_parser_agrees_with_python(text: str) -> None:
    try:
        expected = eval(re.sub(r"(\d)", r"Fraction(\1)", text))
    except ZeroDivisionError:
        return
    found = Text(text).quantities[0]
    assert found.value == expected


# --- hostile text ----------------------------------------------------------------------------------------------------


HOSTILE = [
    "(",
    "\\sqrt",
    "\\frac{",
    "1+",
    "9^",
    "x = 4 ",
    "\x00\x1b[31m",
    "\u202e27",
    "$",
    "the answer is ",
    "1,000",
    "𝟚",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_gives_a_verdict(piece: str) -> None:
    long = (piece * MAX_STRATEGY)[: MAX_STRATEGY - 100]
    for answer, problem, response in (("27", "Find x.", "x"), ("(2, 3)", long, long), (long, "Find x.", "")):
        assert isinstance(check_strategy(problem, answer, response, long), Leak)


def test_ten_megabytes_are_cut_or_rejected() -> None:
    big = "17 and 4 make 21. " * 600_000
    assert check_strategy("Find x.", "27", big, big).kind == "unreadable"
    assert check_strategy(big, "27", big, "So it is 27.").kind == "answer"


def test_a_number_that_stands_everywhere_is_compared_a_few_times() -> None:
    (seven,) = Text("7").quantities
    assert 0 < len(Text("7 and " * 1000).worth(seven)) <= 100


@given(st.text(max_size=200), st.text(min_size=1, max_size=40), st.text(max_size=200))
@example("Find x.", "27", r"Use $\sin \pi$.")
@settings(max_examples=150)
def test_no_text_raises_and_verdicts_repeat(problem: str, answer: str, strategy: str) -> None:
    if not answer.strip():
        return
    first = check_strategy(problem, answer, strategy[::-1], strategy)
    assert first == check_strategy(problem, answer, strategy[::-1], strategy)
    assert first.leak == bool(first.kind)


# --- file and command ------------------------------------------------------------------------------------------------


def item(**changes: Any) -> dict[str, Any]:
    strategy = {"problem_type": "Sums", "strategy": "Add.", "steps": ["Add both."]}
    return {"id": 1, "problem": "Add.", "answer": "27", "response": "27", "strategy": strategy, **changes}


def write(path: Path, *items: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(one) for one in items) + "\n", encoding="utf-8")
    return path


def test_command_adds_verdicts_and_keeps_all_other_fields(tmp_path: Path) -> None:
    leaking = item(id="b", strategy={"problem_type": "Sums", "strategy": "Add to 27.", "steps": "Add."}, extra=[1])
    source = write(tmp_path / "in.jsonl", item(), leaking, item(id=None, response=None, answer=27))
    done = CliRunner().invoke(app, ["strategies", "check", str(source), "--out", str(tmp_path / "out.jsonl")])
    assert done.exit_code == 0, done.output
    assert "1 of 3 strategies leak (answer 1)" in done.output
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["leak"] for row in rows] == [False, True, False]
    assert {key: rows[1][key] for key in leaking} == leaking
    assert rows[1]["reason"].startswith("answer: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (item(answer=None), "answer is null"),
        (item(answer="  "), "answer is empty"),
        (item(problem=None), "problem is null; give text"),
        (item(response=3), "response is a int; give text, or null"),
        (item(strategy=3), "strategy is a int; give an object with problem_type, strategy, steps, or text"),
        (item(strategy={"problem_type": "a", "strategy": "b"}), "no 'steps'"),
        (item(strategy={"problem_type": "a", "strategy": None, "steps": []}), "'strategy' of the strategy is null"),
        (item(strategy={"problem_type": "a", "strategy": "b", "steps": ["c", None]}), "'steps' of the strategy"),
        ({"id": 1}, "no field 'problem', 'answer', 'strategy'"),
    ],
)
def test_bad_lines_are_named_before_anything_is_written(tmp_path: Path, bad: dict[str, Any], message: str) -> None:
    source = write(tmp_path / "in.jsonl", item(), bad)
    with pytest.raises(ReadError, match="line 2") as error:
        check_file(source, tmp_path / "out.jsonl")
    assert message in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize("line", ["{", "[1]", "nonsense", "[" * 100_000])
def test_lines_that_are_no_objects(tmp_path: Path, line: str) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps(item()) + "\n\n" + line + "\n")
    with pytest.raises(ReadError, match="line 3"):
        check_file(source, tmp_path / "out.jsonl")


def test_the_check_loads_neither_torch_nor_sympy() -> None:
    modules = "[m for m in ('torch', 'sympy', 'pydantic') if m in sys.modules]"
    code = f"import sys, sgpo.strategies.check_files; print({modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_progress_and_counts(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    counts = check_file(
        write(tmp_path / "in.jsonl", item(), item()), tmp_path / "out", progress=lambda *now: seen.append(now)
    )
    assert seen == [(1, 2), (2, 2)]
    assert counts == {"items": 2, "bare": 0, "leaks": 0, "kinds": {}, "without_response": 0}


@pytest.mark.parametrize(
    "problem",
    [
        {"problem": "What is 12 + 7?"},
        {"question": "What is 12 + 7?"},
        {"prompt": [{"role": "user", "content": "What is 12 + 7?"}]},
    ],
    ids=lambda row: next(iter(row)),
)
@pytest.mark.parametrize("answer", ["answer", "solution", "ground_truth", "gold"])
def test_rows_to_train_on_can_be_checked_as_they_are(tmp_path: Path, problem: dict[str, Any], answer: str) -> None:
    rows = [
        {**problem, answer: "19", "strategy": strategy}
        for strategy in ("Add the tens, then the ones.", None, "It is 19.")
    ]
    counts = check_file(write(tmp_path / "data.jsonl", *rows), tmp_path / "out.jsonl")
    assert counts == {"items": 2, "bare": 1, "leaks": 1, "kinds": {"answer": 1}, "without_response": 2}
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["leak"] for row in written] == [False, False, True]
    assert [row["strategy"] for row in written] == [row["strategy"] for row in rows]
