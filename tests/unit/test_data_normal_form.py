"""The normal form of the contamination check: layout changes nothing, a change of what is said does."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sgpo.data.normal_form import normal_tokens
from sgpo.data.overlap import ComparedText, find_overlap

PROBLEMS = [
    r"Let $f(x) = \frac{1}{2}x^2 - 3x_1 + \sqrt{7}$ for $x \le 4$. What is the least value of $f$ on $[0,3]$?",
    r"In $\triangle ABC$, $\angle A = 60^\circ$ and $AB \ne AC$. Find $\frac{AB}{AC} \cdot \pi$ if $BC = 1{,}200$.",
    r"How many integers $n$ with $-5 \leq n \leq 10^{12}$ satisfy $n \equiv 3 \pmod{8}$ and $n \times 2 > 7$?",
    r"Compute \[\sum_{k=1}^{20} \left( \lfloor k\pi \rfloor + \log_{2} 64 \right).\]",
    "The shaded region has area $9\\text{ cm}^2$. What is $r$?\n[asy]\ndraw(circle((0,0),3));\n[/asy]\nGive it in cm.",
    "已知函数 $f(x)=x^2+2x$，求 $f(x)$ 在区间 $[0,3]$ 上的最大值与最小值。",
    "설명: 두 수의 합이 12이고 곱이 35일 때, 두 수를 구하시오.",
    r"Müller's café sells $\frac{3}{4}$ of its “cakes” — 50\% of them — for \$5 each; how many are left of 80?",
]
LAYOUTS: dict[str, Callable[[str], str]] = {
    r"\dfrac": lambda text: text.replace(r"\frac", r"\dfrac"),
    r"\cfrac": lambda text: text.replace(r"\frac", r"\cfrac"),
    r"\frac12": lambda text: re.sub(r"frac\{(\w)\}\{(\w)\}", r"frac \1\2", text),
    "a/b": lambda text: re.sub(r"\\frac\{(\w+)\}\{(\w+)\}", r"\1/\2", text),
    "½": lambda text: text.replace(r"\frac{1}{2}", "½").replace(r"\frac{3}{4}", "¾"),
    "²": lambda text: text.replace("^2", "²").replace("^{12}", "¹²").replace("_1", "₁").replace("_{2}", "₂"),
    "symbols": lambda text: (
        re.sub(r"\\leq\b", "≤", text).replace(r"\le ", "≤ ").replace(r"\ne ", "≠").replace(r"\pi", "π")
    ),
    "√": lambda text: text.replace(r"\sqrt", "√").replace(r"\sum", "∑").replace(r"\times", "×"),
    "⌊": lambda text: text.replace(r"\lfloor", "⌊").replace(r"\rfloor", "⌋").replace(r"\equiv", "≡"),
    r"\leqslant": lambda text: re.sub(r"\\leq\b", r"\\leqslant", text).replace(r"\le ", r"\leq "),
    "<=": lambda text: re.sub(r"\\leq\b", "<=", text).replace(r"\le ", "<= "),
    "°": lambda text: text.replace(r"^\circ", "°"),
    "degrees": lambda text: text.replace(r"^\circ", " degrees"),
    "△": lambda text: text.replace(r"\triangle", "△").replace(r"\angle", "∠"),
    "−": lambda text: text.replace("-", "−"),
    "–": lambda text: text.replace("—", "–"),
    r"\left(": lambda text: text.replace(r"\left", "").replace(r"\right", ""),
    r"\text": lambda text: text.replace(r"\text{ cm}", r"\,\mathrm{cm}"),
    r"\( \)": lambda text: re.sub(r"\$([^$]*)\$", r"\\(\1\\)", text),
    "no dollars": lambda text: text.replace("$", ""),
    "HTML": lambda text: html.escape(text).replace("\n", "<br />"),
    "<sup>": lambda text: re.sub(r"\^(\d)", r"<sup>\1</sup>", text),
    "full-width": lambda text: "".join(chr(ord(c) + 0xFEE0) if c in "0123456789+=()," else c for c in text),
    "lines": lambda text: text.replace(" ", "\n"),
    "spaces": lambda text: text.replace(" ", "\u00a0  "),
    "invisible": lambda text: text.replace(" ", " \u200b").replace("$", "$\u2060"),
    "quotes": lambda text: text.replace("'", "’").replace("“", '"').replace("”", "''"),
    "no Chinese punctuation": lambda text: re.sub("[，。：]", "", text),
    "no Chinese spaces": lambda text: re.sub(r"(?<=[\u4e00-\u9fff]) | (?=[\u4e00-\u9fff])", "", text),
    "no figures": lambda text: re.sub(r"\[asy\].*\[/asy\]", "", text, flags=re.DOTALL),
    "an image": lambda text: re.sub(r"\[asy\].*\[/asy\]", "![figure](a/b1.png)", text, flags=re.DOTALL),
    "1,200": lambda text: text.replace("1{,}200", "1,200"),
    "1200": lambda text: text.replace("1{,}200", "1200"),
    "capitals": lambda text: re.sub(r"(?<![\\A-Za-z&])[A-Za-z]+(?!;)", lambda m: m[0].upper(), text),
    "accents": lambda text: text.replace("ü", "u\u0308").replace("é", "e"),
    "bold": lambda text: re.sub(r"\b(value|area|integers)\b", r"**\1**", text),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_changes_nothing(layout: str) -> None:
    for problem in PROBLEMS:
        assert normal_tokens(LAYOUTS[layout](problem)) == normal_tokens(problem)


def test_every_layout_is_seen_in_some_problem() -> None:
    assert [name for name, change in LAYOUTS.items() if all(change(problem) == problem for problem in PROBLEMS)] == []


@settings(max_examples=150)
@given(problem=st.sampled_from(PROBLEMS), names=st.lists(st.sampled_from(sorted(LAYOUTS)), max_size=5, unique=True))
@example(problem=PROBLEMS[0], names=["<=", "full-width"])
@example(problem=next(p for p in PROBLEMS if "Müller" in p), names=["HTML", "full-width"])
def test_nor_do_several_one_after_another(problem: str, names: list[str]) -> None:
    copy = problem
    for name in names:
        copy = LAYOUTS[name](copy)
    assert normal_tokens(copy) == normal_tokens(problem), names


@settings(max_examples=150)
@given(text=st.text(max_size=80))
def test_any_text_has_a_form_that_is_its_own_form(text: str) -> None:
    form = normal_tokens(text)
    assert all(token and token == token.strip() for token in form)
    assert normal_tokens(" ".join(form)) == form or not text.isascii() or re.search(r"[&<\\\[!]", text)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("x + 1", "x - 1"),
        ("x < 1", "x > 1"),
        (r"x \le 1", r"x \ge 1"),
        ("x ≤ 1", "x < 1"),
        (r"A \cup B", r"A \cap B"),
        ("x^2", "x_2"),
        (r"\sqrt{2}", "2"),
        (r"\sin x", r"\cos x"),
        (r"\alpha", r"\beta"),
        ("12 + 3", "1 + 23"),
        ("最大值", "最小值"),
        ("60°", "60"),
        ("x = y", r"x \ne y"),
        ("n!", "n"),
        (r"\lfloor x \rfloor", r"\lceil x \rceil"),
    ],
)
def test_what_is_said_counts(a: str, b: str) -> None:
    assert normal_tokens(a) != normal_tokens(b)


def found(train: str, evaluation: str) -> list[str]:
    return [pair.kind for pair in find_overlap([ComparedText("t", train)], [ComparedText("e", evaluation)])]


def test_equal_words_under_two_drawings_are_two_problems() -> None:
    first, second = "[asy] draw((0,0)--(4,3)); dot((2,2)); [/asy]", "[asy] label('k', (1,9)); fill(circle(9)); [/asy]"
    words = "What is the area of the shaded region in the figure?"
    assert found(f"{words} {first}", f"{words}\n{first}") == ["exact"]
    assert found(words, f"{words} {first}") == ["exact"]
    assert found(f"{words} {second}", f"{words} {first}") == []


def test_chinese_is_found_and_told_apart() -> None:
    a = "已知等差数列的首项为3，公差为2，求前10项的和。"
    b = "某班有男生20人，女生比男生多5人，问全班共有多少人？"
    assert found("题目：" + re.sub("[，。]", "", a) + "请写出过程", a) == ["near"]
    assert found(a, b) == []
    assert found(b, a) == []


def test_numbers_are_whole_in_short_problems() -> None:
    assert found("Evaluate 112 + 345.", "Evaluate 12 + 34") == []
    assert found("Now evaluate 12 + 34 for me.", "Evaluate 12 + 34") == ["near"]
    assert found("Then 12 + 34 is even.", "12 + 34") == []  # too short to mean anything


def test_each_digit_counts_so_a_word_left_out_costs_less() -> None:
    assert normal_tokens("1,000 in 2024") == normal_tokens("1{,}000 in 2024") == (*"1000", "in", *"2024")
