"""Constants compared exactly, regions, layout that separates, options, end marks, and golds that are no answers."""

import json
from pathlib import Path

import pytest

from sgpo import rewards
from sgpo.rewards import choices, library, units
from sgpo.rewards.exact import constants_equal
from sgpo.rewards.extract import boxes, extract, gold_answer
from sgpo.rewards.normalize import normalize
from sgpo.rewards.regions import same


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (r"\frac{1}{2004!}", r"\frac{1}{2006!}", False),
        (r"\frac{2006!}{2004!}", r"2006\cdot 2005", True),
        ("2^{-2019}", "-2^{-2019}", False),
        (r"\sqrt{2}+10^{-20}", r"\sqrt{2}", False),
        (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}", True),
        (r"\ln(1+10^{-30})", "0", False),  # 0 at 20 digits
        (r"e^{\pi\sqrt{163}}", "262537412640768744", False),  # equal to 12 places
        (r"4\arctan\frac{1}{5}-\arctan\frac{1}{239}", r"\frac{\pi}{4}", True),
        (r"\sqrt[3]{2+\sqrt{5}}+\sqrt[3]{2-\sqrt{5}}", "1", True),
        ("2^{10^{9}}", "2^{1000000000}", True),  # too large to work out
        ("2^{10^{9}}", "2^{10^{9}}+1", False),
        ("9^{9^{9}}", "9^{9^{10}}", False),
        ("e^{-5000}", "e^{-5001}", False),
        ("0^{0}", "1", True),
    ],
)
def test_constants(left: str, right: str, equal: bool) -> None:
    assert constants_equal(library.parse(left), library.parse(right)) is equal
    assert constants_equal(library.parse(right), library.parse(left)) is equal


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        (["(0, 2)", "[2, 3)"], ["(0, 3)"], True),
        (["(0, 2)", "(2, 3)"], ["(0, 3)"], False),
        (["(0, 2)", r"\{2\}", "(2, 3)"], ["(0, 3)"], True),
        ([r"(-\infty, \infty) \setminus \{1\}"], [r"(-\infty, 1)", r"(1, \infty)"], True),
        ([r"(-\infty, 2^{-2019})"], [r"(-\infty, -2^{-2019})"], False),
        (["(3, 4)", "(1, 2)"], ["(1, 2)", "(3, 4)"], True),
        (["[0, 1]"], ["[0, 1)"], False),
        (["(0, 0)"], [], True),
    ],
)
def test_regions(gold: list[str], answer: list[str], equal: bool) -> None:
    assert same(gold, answer) is equal


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        (r"x=1 \quad y=2", "x=1, y=2"),
        (r"x=1\;y=2", "x=1, y=2"),
        ("x=1\ny=2", "x=1, y=2"),
        (r"x=1\text{ }y=2", "x=1, y=2"),
        (r"3 \quad 5", "3, 5"),
        (r"3 \quad -5", "3, -5"),
        (r"5 \quad \text{cm}", r"5 \text{cm}"),
        (r"2\,x\;y", "2 x y"),
        (r"x\;<\;3", "x < 3"),
        (r"a=2\,b<c", "a=2 b<c"),
        (r"2x \quad (x>0)", r"2x \text{ where } (x>0)"),
        (r"x=0 \quad x\ge 2", r"x=0, x\ge 2"),
        (r"\textbf{(D)} \quad 12", r"\text{(D)} 12"),
        (r"x \equiv 3 \quad (\text{mod } 7)", r"x \equiv 3 \pmod{7}"),
    ],
)
def test_layout_that_separates(raw: str, normal: str) -> None:
    assert normalize(raw).text == normal


@pytest.mark.parametrize(
    "text",
    [
        r"\textbf{(D)}\ 12",
        r"\text{(D)}~12",
        "D. 12",
        "(D): 12",
        r"\textbf{(D) 12}",
        r"(\mathrm{D})\,12",
        "[D] 12",
        "D) 12",
    ],
)
def test_options(text: str) -> None:
    assert choices.labelled(normalize(text).text) == choices.Label("D", "12")


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("km/h", "3.m h^-1"),
        ("kilometers per hour", "3.m h^-1"),
        (r"\text{km h}^{-1}", "3.m h^-1"),
        ("square inches", "inch^2"),
        ("feet squared", "ft^2"),
        ("cm2", "-2.m^2"),
        ("mph", "h^-1 mile"),
        ("degrees Celsius", "degC"),
        ("MHz", "6.hz"),
        ("apples", ""),
        ("miles of road", ""),
    ],
)
def test_units(text: str, unit: str) -> None:
    assert units.read(text.replace(r"\text", "")) == unit


@pytest.mark.parametrize(
    ("source", "target", "factor"),
    [
        ("km/h", "m/s", r"\frac{5}{18}"),
        ("J", "kg m^2 s^-2", r"\frac{1}{1}"),
        ("L", "cm^3", r"\frac{1000}{1}"),
        ("degrees", "rad", r"\frac{1}{180}\cdot \pi^{1}"),
        ("square units", "cm^2", "1"),
        ("units", "cm^2", None),
        ("J", "N", None),
        ("degrees Celsius", "degrees Fahrenheit", None),
    ],
)
def test_factors_between_units(source: str, target: str, factor: str | None) -> None:
    assert units.factor(units.read(source), units.read(target)) == factor


@pytest.mark.parametrize("text", ["(A)(B)", "A(2)", "(A+1)x", r"\text{(A) and (C)}", "(C)+1", "E=5", "D", "4D", "A: B"])
def test_what_is_no_option(text: str) -> None:
    assert choices.labelled(normalize(text).text) is None


def test_boxes_without_braces() -> None:
    text = r"First $\boxed{3}$, then \boxed 5. In $\boxed\frac12$ and $\boxed 5\sqrt{2}$ but not \boxed and so on"
    assert [box.content for box in boxes(text)] == ["3", "5", r"\frac12", r"5\sqrt{2}"]
    assert gold_answer(r"The roots are $\boxed{2}$ and $\boxed{3}$.") == "2, 3"
    assert gold_answer(r"With $\boxed{2}$ we find that it is $\boxed{3}$.") == "3"


@pytest.mark.parametrize("mark", ["<|im_end|>", "</s>", "<|eot_id|>", "<|endoftext|>", "<end_of_turn>"])
def test_an_end_mark_ends_the_answer(mark: str) -> None:
    assert extract(f"The answer is 42{mark}").text == "42"
    assert extract(rf"\boxed{{42}}{mark} user: next? \boxed{{7}}").text == "42"
    assert extract(rf"{mark}\boxed{{42}}").text == "42"
    assert extract(f"thought{'<|end|>'}<|start|>assistant the answer is 42{mark}").text == "42"


@pytest.mark.parametrize(
    "gold",
    [
        "proof",
        "Proof.",
        r"\text{proof}",
        r"\boxed{notfound}",
        "NaN",
        float("nan"),
        "None",
        "n/a",
        ["1", "null"],
        "x\ufffd",
        "\x0crac{1}{2}",
        "\x08oxed{7}",
        "3\times 4",
        "\text{Evelyn}",
    ],
)
def test_golds_that_are_no_answers(gold: rewards.golds.Gold) -> None:
    assert rewards.check_gold(gold)
    said = gold if isinstance(gold, str) else "nan"
    assert rewards.verify(rf"\boxed{{{said}}}", gold).reason == "bad_gold"


def test_a_gold_whose_backslashes_json_took_says_so() -> None:
    gold = json.loads('"\\frac{1}{2}"')  # written with one backslash, so that JSON reads a form feed
    assert "JSON" in (rewards.check_gold(gold) or "")
    assert rewards.check_gold("1\n2\t3") is None


def test_bad_golds_are_named_with_their_rows() -> None:
    assert rewards.check_golds(["1", r"\text{none}", "no solution", r"\text{proofread}"]) is None
    assert rewards.check_golds(["1", "proof", "", "2"], rows=["a", "b", "c", "d"]) == (
        "2 of 4 golds can never be met (b: the gold 'proof' is no answer; c: the gold is empty)"
    )


@pytest.mark.parametrize(
    ("tolerance", "correct"),
    [("1e-1", True), (0.1, True), (" 0.10 ", True), ("0.09", False), ("", False), (None, False)],
)
def test_tolerance_as_text_and_exactly(tolerance: float | str | None, correct: bool) -> None:
    assert rewards.verify(r"\boxed{1.1}", "1", tolerance=tolerance).correct is correct
    assert not rewards.verify(r"\boxed{1.1000001}", "1", tolerance=tolerance).correct


@pytest.mark.parametrize("tolerance", ["a tenth", "nan", "-1", "inf", True])
def test_a_tolerance_that_is_none(tolerance: str) -> None:
    with pytest.raises(ValueError, match="tolerance is"):
        rewards.verify("1", "1", tolerance=tolerance)


def test_a_bad_tolerance_in_a_file_is_named_before_any_work(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"id": 1, "gold": "1", "response": "1", "tolerance": "wide"}\n')
    with pytest.raises(rewards.BadLineError, match="line 1: tolerance is 'wide'"):
        rewards.cli_verify(path, tmp_path / "out.jsonl")


def test_letters_of_another_encoding_are_not_taken_for_each_other(tmp_path: Path) -> None:
    assert not rewards.verify(r"\boxed{à}", "é").correct
    path = tmp_path / "latin1.jsonl"
    path.write_bytes('{"id": 1, "gold": "é", "response": "à"}\n'.encode("latin-1"))
    with pytest.raises(rewards.BadLineError, match="line 1"):
        rewards.cli_verify(path, tmp_path / "out.jsonl")
