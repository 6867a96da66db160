"""The rule of extraction, the switch, the cap, the normal forms, and that no pattern runs away."""

import time

import pytest

from sgpo.models.thinking import strip_thinking
from sgpo.rewards import extract as extraction
from sgpo.rewards import format_reward, structure, verify
from sgpo.rewards.extract import extract, last_boxed
from sgpo.rewards.normalize import TooComplexError, normalize


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{7}", "7"),
        (r"\boxed {7}", "7"),
        (r"\boxed{\frac{1}{2}} \boxed{8}", "8"),
        (r"\boxed{7} \boxed{8", "7"),
        (r"\boxed{x = \boxed{7}}", r"x = \boxed{7}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\fbox{3} \boxed{4} \fbox{5}", "4"),
        (r"\fbox{3}", "3"),
        (r"\\boxed{7}", "7"),
        (r"\boxed{}", ""),
        (r"\boxed{7", None),
        ("none", None),
    ],
)
def test_last_complete_box(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


def test_only_what_follows_the_last_think_counts() -> None:
    text = r"<think>\boxed{1}</think> \boxed{2} </think> \boxed{3}"
    assert extract(text).text == "3"
    assert extract(r"<think>\boxed{1}</think> I have no idea what it is").text is None
    assert extract(r"<think>\boxed{1}").text == "1"


@pytest.mark.parametrize(
    "thinking",
    [
        "<thinking>{}</thinking>",
        "<reasoning>{}</reasoning>",
        "[THINK]{}[/THINK]",
        "◁think▷{}◁/think▷",
        "<|begin_of_thought|>{}<|end_of_thought|>",
        "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>",
        "analysisWe try {} assistantfinal",
    ],
)
def test_thinking_ends_by_the_mark_of_any_family(thinking: str) -> None:
    said = thinking.format(r"maybe \boxed{5}") + "The answer is 7."
    assert extract(said).text == "7"
    assert format_reward([said]) == [0.0]  # the box is no part of the answer
    assert extract(thinking.partition("{}")[0] + " The answer is 7.").text is None  # never closed


def test_a_heading_that_says_analysis_is_no_thinking() -> None:
    said = "Analysis of the problem: we add.\nThe answer is 7."
    assert extract(said).text == "7"
    assert strip_thinking(said) == said


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"$\boxed{2}$ or $\boxed{3}$", "2 or 3"),
        (r"either $x = \boxed{2}$ or possibly $x = \boxed{3}$", "2 or 3"),
        (r"\boxed{3}, or maybe $2$", "3 or $2$"),
        (r"\boxed{3} or 2.", "3 or 2"),
        (r"2 or maybe \boxed{3}", "2 or 3"),
        (r"\boxed{3} or \boxed{3}", "3"),
        (r"$\boxed{2}$ and $\boxed{3}$", "2, 3"),
        (r"Half is $\boxed{2}$ and the answer is $\boxed{3}$", "3"),  # a step, and the answer
        (r"$x = 2$ or $x = \boxed{3}$", "3"),  # the box says which
        (r"\boxed{75} minutes or 1.25 hours", "75"),
        ("The answer is 2 or the answer is 3.", "2 or 3"),
    ],
)
def test_alternatives_are_one_list(response: str, answer: str) -> None:
    assert extract(response).text == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"$\boxed{52$", "52"),
        (r"First $\boxed{7}$, then \[x = \boxed{\frac{1}{2}\]", r"\frac{1}{2}"),
        (r"$\boxed{52", None),  # cut off
        ("$\\boxed{52\n", None),
        (r"$x = \boxed{52 + $3$}", "52 + $3$"),
    ],
)
def test_a_box_without_its_brace_ends_with_its_formula(response: str, answer: str | None) -> None:
    assert extract(response).text == answer


@pytest.mark.parametrize(
    ("response", "answer", "beside"),
    [
        (r"\boxed{10}. Correcting: the answer is 9, not 10.", "9", ""),
        (r"\boxed{10}. Oops, 9.", "9", ""),
        (r"First $x=\boxed{10}$. Therefore, the answer is 9.", "9", ""),
        (r"\boxed{10}. The final answer is 10.", "10", ""),
        (r"\boxed{10}. The answer is 10 apples.", "10", "10 apples"),
        (r"\boxed{10}. The answer is 9.", "10", "9"),
        (r"\boxed{10}. The answer is not 9.", "10", ""),
        (r"\boxed{10}. If zero counts, the answer is 11.", "10", ""),
        (r"\boxed{10}. Some say 11, but that is wrong.", "10", ""),
        (r"\boxed{10}. So the answer is (B).", r"\text{(B)} 10", ""),
        (r"\boxed{10}, where the answer was 2/3.", "10", ""),
        (r"\boxed{10}. When n = 1, the answer is 9.", "10", ""),
        (r"\boxed{10}. Putting it all together, the answer is 9.", "10", "9"),
        (r"\boxed{10}. Oh, one counts twice. So it's 9.", "9", ""),
        (r"\boxed{10}. The final answer is $1", "10", ""),  # cut off
        (r"<think>\boxed{10}. Wait, so the answer is 9. Or", "10", "9"),
        (r"\boxed{10}. However, with the border the final answer is 9.", "9", ""),
        (r"\boxed{10}. On reflection, 9 is the answer.", "9", ""),
        (r"\boxed{10}. Twice the final answer is 20.", "10", ""),
    ],
)
def test_what_is_stated_behind_the_last_box(response: str, answer: str, beside: str) -> None:
    found = extract(response)
    assert (found.text, found.beside) == (answer, beside)
    boxed = extract(response, require_box=True)
    assert boxed.text == "10"
    assert boxed.beside in ("", "10", beside or answer)


@pytest.mark.parametrize(
    "response",
    [
        r"\boxed{10} is wrong.",
        r"\boxed{10}. The answer is not 10.",
        "The answer is not \\boxed{10}.",
        r"\boxed{10}. Scratch that.",
        r"\boxed{10}. Wait, this answer is incorrect.",
        r"\boxed{10}. But 10 does not satisfy the second condition.",
        r"\boxed{10}. So the answer is 10. Oops, I made a mistake.",
    ],
)
def test_a_box_that_is_taken_back_is_no_answer(response: str) -> None:
    verdict = verify(response, "10")
    assert (verdict.correct, verdict.reason) == (False, "no_answer")


def test_both_answers_must_be_right_where_two_are_stated() -> None:
    assert verify(r"\boxed{0.5}. The answer is $\frac12$.", r"\frac12").correct
    for gold in ("7", "3"):
        verdict = verify(r"\boxed{7}. The answer is 3.", gold)
        assert (verdict.correct, verdict.extracted) == (False, "7 or 3")
    assert verify(r"\boxed{7}. So the answer is 3.", "3").correct
    assert not verify(r"\boxed{7}. So the answer is 3.", "3", require_box=True).correct


@pytest.mark.parametrize("response", ["The answer is 42.", "#### 42", "42", "$42$", "Hence $x = 42$."])
def test_the_switch_for_answers_without_a_box(response: str) -> None:
    assert verify(response, "42").correct
    strict = verify(response, "42", require_box=True)
    assert (strict.correct, strict.reason, strict.extracted) == (False, "no_box", None)
    assert verify(response + r" \boxed{42}", "42", require_box=True).correct


def test_a_number_in_running_prose_is_no_answer() -> None:
    assert verify("I saw 42 birds over the lake this morning", "42").reason == "no_answer"


def test_the_cap_keeps_the_tail() -> None:
    assert verify("x" * 10_000_000 + r"\boxed{7}", "7").correct
    assert verify(r"\boxed{7}" + "x" * 300_000, "7").reason == "no_answer"
    assert verify(r"\boxed{7}" + "x" * 300_000, "7", max_chars=400_000).correct
    assert verify(r"\boxed{" + "7" * 3000 + "}", "7").reason == "answer_too_long"


@pytest.mark.parametrize("response", [None, "", " \n", "\0\1\2", r"\boxed{}", r"\boxed{ $ $ }", "\ud800", "\\"])
def test_nothing_to_extract_is_a_verdict(response: str | None) -> None:
    verdict = verify(response, "7")
    assert not verdict.correct
    assert verdict.reason in ("no_response", "no_answer", "empty_answer", "different", "unparsable")


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        (r"\frac 59", r"\frac{5}{9}"),
        (r"\frac9{19}", r"\frac{9}{19}"),
        (r"11\sqrt2", r"11\sqrt{2}"),
        (r"\dfrac{17}{50}.", r"\frac{17}{50}"),
        ("10,\\! 080", "10080"),
        ("1,000,000", "1000000"),
        ("(312,123,231)", "(312, 123, 231)"),
        ("3√13", r"3\sqrt{13}"),
        ("x² − 1", "x^{2} - 1"),
        (r"90^{\circ}", r"90\degree"),
        (r"\left( 1 , 2 \right]", "( 1 , 2 ]"),
        (r"0.1\overline{6}", r"\frac{15}{90}"),
        ("$69$,$84$", "69 , 84"),
    ],
)
def test_normal_forms(raw: str, normal: str) -> None:
    assert normalize(raw).text == normal


def test_an_ambiguous_comma_has_two_readings() -> None:
    assert normalize("100,200").text == "100200"
    assert normalize("100,200").listed == "100, 200"
    assert normalize("1,3").listed is None


def test_deep_nesting_is_refused_before_any_parsing() -> None:
    with pytest.raises(TooComplexError):
        normalize("(" * 60 + "1" + ")" * 60)
    assert verify(r"\boxed{" + "(" * 3000 + "1" + ")" * 3000 + "}", "1").reason in ("answer_too_long", "too_complex")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("(1, 2)", "tuple"),
        ("(1, 2]", "interval"),
        (r"\{1, 2\}", "set"),
        ("1, 2", "list"),
        (r"(0, 1) \cup (2, 3)", "union"),
        ("x = 5", "relation"),
        (r"2 < x \le 3", "relation"),
        (r"\begin{pmatrix} 1 \cr 2 \end{pmatrix}", "matrix"),
        (r"1 \pm \sqrt{2}", "list"),
        ("(a+5)(b+2)", "value"),
    ],
)
def test_shapes(text: str, kind: str) -> None:
    assert structure.parse(text).kind == kind


PIECES = [
    "(",
    "{",
    "\\",
    "\\{",
    "\\boxed{",
    "\\text{a} ",
    "cm ",
    "answer ",
    "1",
    "1,",
    ".",
    "\\(",
    "$",
    "AB ",
    "and ",
    "ab-",
    "for a ",
    r"\text{m^{2} ",
    "1_234",
    r"\dot1",
    r"n \equiv 1, ",
    "<answer>",
    "5小",
    "km/h ",
    r"\boxed{2} or maybe ",
    "(or 2",
    r"x (= ",
    r"\bf a ",
    r"\text{x = ",
    r"6\text{ red and }",
    "<|begin_of_box|>",
    "P(1, 2)",
    "উত্তর",
    r"\cos x",
    "n!^",
    "\nQ:",
    "the answer is 5.\nQ:",
    "wait, no, ",
    "no, ",
    " ",
    "\t",
    "\n",
    "\n# ",
    "answer for n = 2 ",
    "twice the answer is ",
    "it should be ",
    "check: ",
    ". a, ",
    ". 7 is ",
    ",\n",
    "the answer is not 5. ",
    "<b>",
    "<sup>2",
    r"$\boxed{\ab",
    r"$ \boxed{5{a}",
    "$$$ ",
    r"\( ",
    "4! ",
    "1 hour (",
    "in base 8 ",
    "**Final Answer:** Ann has **5** ",
]


@pytest.mark.parametrize("piece", PIECES)
def test_no_pattern_runs_away(piece: str) -> None:
    started = time.process_time()
    many = piece * (extraction.MAX_CHARS // len(piece))
    behind = r"\boxed{7}. The answer is 1 a" + piece * (3_900 // len(piece)) + "b"
    claimed = r"\boxed{7}" + piece * (3_900 // len(piece)) + "the answer is 6"
    for response in (many, r"\boxed{7}" + many, *[behind] * 10, *[claimed] * 10):
        extract(response)
    for tail in ("", "!"):
        text = piece * (extraction.MAX_ANSWER_CHARS // len(piece)) + tail
        try:
            structure.parse(normalize(text).text)
        except TooComplexError:
            continue
    assert time.process_time() - started < 60  # it takes tenths of a second; a runaway pattern takes minutes
