"""Types, splits, axes, experts and the reward of the embedded task."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from typing import get_args

import pytest

from sgpo.lab import AXES, GUIDED_TEMPLATE, lab_reward, load_problems, verify
from sgpo.lab.catalog import HELD_OUT, LARGE, LARGEST_TRAINED, TYPES, UNSOLVED, misread, told_apart
from sgpo.lab.corpus import Corpus
from sgpo.lab.operations import NEVER_FOUND, OPERATIONS, TWO_LINES, Type, UnfitError, carry_out, do
from sgpo.lab.problems import MAX_COMPLETION, PER_AXIS, Problem, Split, split_of, with_strategy
from sgpo.lab.responses import EXPERTS, FAULTY_SHARE, MAX_RESPONSE_TOKENS, TERSE_SHARE, write_wordy

SPLITS: tuple[Split, ...] = get_args(Split)
WORDS = {word: name for name, one in OPERATIONS.items() for word in one.wordings}
# Operations that leave a digit or two: one after another would do nothing.
TO_DIGITS = ("dial", "unit", "digits", "tens")
TOLD = {word: name for name, one in OPERATIONS.items() for word in one.strategies}


def read(prompt: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The operations that a prompt means, and its numbers."""
    words = prompt.partition("Q ")[2].split()
    return tuple(WORDS[w] for w in words if w in WORDS), tuple(int(w) for w in words if w.isdigit())


def told(strategy: str) -> tuple[str, ...]:
    """The operations that a strategy names."""
    return tuple(TOLD[word] for word in strategy.split(" | "))


def numbers_of(problem: Problem) -> list[int]:
    """Every number of a problem and of its working."""
    operations, numbers = read(problem["prompt"])
    return [*numbers, *(step.result for step in carry_out(operations, numbers).steps)]


@pytest.mark.parametrize(
    ("a", "symbol", "b", "line"),
    [
        (47, "+", 12, "47 + 12 = 59"),
        (12, "~", 47, "12 ~ 47 = 35"),
        (47, "//", 10, "47 // 10 = 4"),
        (47, "%", 10, "47 % 10 = 7"),
        (47, "max", 50, "47 max 50 = 50"),
    ],
)
def test_a_line_of_working(a: int, symbol: str, b: int, line: str) -> None:
    assert str(do(a, symbol, b)) == line


@pytest.mark.parametrize(("a", "symbol", "b"), [(7, "/", 2), (60, "+", 40), (3, "-", 4), (50, "*", 2)])
def test_arithmetic_that_leaves_the_numbers_is_unfit(a: int, symbol: str, b: int) -> None:
    with pytest.raises(UnfitError):
        do(a, symbol, b)


def test_operations_of_two_lines_carry_the_number_on() -> None:
    trace = carry_out(("average", "dial", "digits"), (4, 20, 9))
    assert list(map(str, trace.steps)) == ["4 + 20 = 24", "24 / 2 = 12", "12 + 9 = 21", "21 % 10 = 1", "0 + 1 = 1"]
    assert trace.answer == 1


def test_every_word_means_one_operation_and_confusions_are_alike() -> None:
    assert len(WORDS) == 3 * len(OPERATIONS)
    assert len(TOLD) == 2 * len(OPERATIONS)
    assert not set(WORDS) & set(TOLD)
    for name, operation in OPERATIONS.items():
        for other in operation.confusions:
            assert other != name
            assert OPERATIONS[other].operand == operation.operand
            assert other not in NEVER_FOUND, "a wrong reading would show what exploration is not to find"
    assert {name for name, one in OPERATIONS.items() if one.prior <= 0.001} == set(NEVER_FOUND)


def permitted(operations: Type) -> bool:
    """Whether a composition makes a type: some operand, no operation twice, at most one of two lines, and at most
    one that leaves digits."""
    return (
        len(set(operations)) == len(operations)
        and any(OPERATIONS[name].operand for name in operations)
        and sum(name in TWO_LINES for name in operations) <= 1
        and sum(name in TO_DIGITS for name in operations) <= 1
    )


def test_types_are_permitted_and_no_two_lists_share_one() -> None:
    every = [t for types in TYPES.values() for t in types]
    assert len(set(every)) == len(every)
    assert all(map(permitted, every))
    assert {name: Counter(map(len, types)) for name, types in TYPES.items()} == {
        "train": {2: 16, 3: 32},
        "validation": {2: 7, 3: 13},
        "eval": {2: 12, 3: 28},
        "validation_longer": {4: 12},
        "eval_longer": {4: 24},
    }
    trained = Counter(name for t in TYPES["train"] for name in t)
    assert set(trained) == set(OPERATIONS), "a new type is composed of trained operations"
    assert min(trained.values()) >= 6


@pytest.mark.parametrize("split", SPLITS)
def test_problems_say_what_they_are(split: Split) -> None:
    """The prompt means the type, the strategy names it without a number, and the answer is that of the type."""
    for problem in load_problems(split):
        operations, numbers = read(problem["prompt"])
        assert problem["family"] == "-".join(operations)
        assert problem["id"] == "-".join([*operations, *map(str, numbers)])
        assert told(problem["strategy"]) == operations
        assert problem["answer"] == str(carry_out(operations, numbers).answer)
        assert split_of(operations, numbers) == split
        assert told_apart(operations, numbers)
        assert verify(problem["expert"], problem["answer"])
        assert with_strategy(problem) == f"S {problem['strategy']} {problem['prompt']}"
    assert GUIDED_TEMPLATE == "S {strategy} {prompt}"


def test_told_apart_refuses_an_instance_that_a_misread_operation_solves() -> None:
    assert told_apart(("larger", "double"), (5, 9))
    assert not told_apart(("larger", "double"), (5, 5)), "the smaller is as large"
    assert not told_apart(("next", "back"), (5,)), "both misread: 5 - 1 + 1"
    assert len(misread(("add", "double"))) == 8


def test_splits_share_no_instance_and_are_sized() -> None:
    ids = [problem["id"] for split in SPLITS for problem in load_problems(split)]
    assert len(set(ids)) == len(ids)
    train = Counter(p["family"] for p in load_problems("train"))
    assert set(train) == {"-".join(t) for t in TYPES["train"]}
    assert set(train.values()) == {21}
    for split in ("validation", "eval"):
        assert Counter(p["axis"] for p in load_problems(split)) == dict.fromkeys(AXES, PER_AXIS[split])
    assert load_problems("eval", ("types", "longer")) == [
        p for p in load_problems("eval") if p["axis"] in ("types", "longer")
    ]


@pytest.mark.parametrize("split", ["validation", "eval"])
def test_each_axis_changes_one_thing(split: Split) -> None:
    trained = {"-".join(t) for t in TYPES["train"]}
    for problem in load_problems(split):
        axis = problem["axis"]
        operations, _ = read(problem["prompt"])
        words = [word for word in problem["prompt"].split() if word in WORDS]
        third = [word == OPERATIONS[WORDS[word]].wordings[2] for word in words]
        assert all(third) if axis == "wordings" else not any(third)
        assert (
            (max(numbers_of(problem)) >= LARGE) if axis == "operands" else (max(numbers_of(problem)) <= LARGEST_TRAINED)
        )
        assert (problem["family"] in trained) == (axis not in ("types", "longer"))
        assert len(operations) == 4 if axis == "longer" else len(operations) in (2, 3)
    for problem in load_problems("train"):
        assert problem["axis"] == "instances"
        assert max(numbers_of(problem)) <= LARGEST_TRAINED


def test_pretraining_text_holds_corpus_instances_and_no_held_out_type() -> None:
    """And it carries out what the strategy tells; without one it understands operations with their priors."""
    understood: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    right = guided = 0
    stream = Corpus(seed=3)
    for _ in range(3000):
        text = stream.draw()
        operations, numbers = read(text.prompt)
        assert split_of(operations, numbers) == "corpus"
        assert operations not in HELD_OUT
        assert len(text.response.split()) + 1 <= MAX_RESPONSE_TOKENS
        if text.prompt.startswith("S "):
            strategy = told(text.prompt.partition(" Q ")[0].removeprefix("S "))
            assert text.response.endswith(f"ans {carry_out(strategy, numbers).answer}")
            guided += 1
            right += strategy == operations
        elif len(operations) == 1:
            seen[operations[0]] += 1
            understood[operations[0]] += _work(text.response) == _work(write_wordy(carry_out(operations, numbers)))
    assert 0.46 < guided / 3000 < 0.54
    assert 0.53 < right / guided < 0.60
    assert understood["add"] / seen["add"] > 0.6 > 0.2 > understood["triple"] / seen["triple"]
    assert understood["dial"] == understood["unit"] == 0


def _work(response: str) -> str:
    return re.sub(r"\b(first|then|so) ", "", response)


def test_experts_differ_as_they_say() -> None:
    work = {expert: load_problems("train", expert=expert) for expert in EXPERTS}
    for plain, gentle in zip(work["plain"], work["gentle"], strict=True):
        assert re.sub(r"\b(note|thus|hence) ", "", gentle["expert"]) == plain["expert"]
        assert gentle["expert"] == f"note {plain['expert']}".replace("; ", "; thus ").replace("thus ans", "hence ans")
    terse = [t["expert"] != g["expert"] for t, g in zip(work["terse"], work["gentle"], strict=True)]
    assert abs(sum(terse) / len(terse) - TERSE_SHARE) < 0.05
    assert all(verify(p["expert"], p["answer"]) for p in work["terse"])
    assert all(len(re.findall("=", t["expert"])) == 1 for t, short in zip(work["terse"], terse, strict=True) if short)
    wrong = [p for p in work["faulty"] if not verify(p["expert"], p["answer"])]
    assert abs(len(wrong) / len(terse) - FAULTY_SHARE) < 0.03


def test_the_longest_response_has_room() -> None:
    longest = max(len(p["expert"].split()) for split in SPLITS for p in load_problems(split)) + 1
    assert longest == MAX_RESPONSE_TOKENS < MAX_COMPLETION


def test_unsolved_types_have_an_operation_that_is_never_found() -> None:
    names = {p["family"] for split in SPLITS for p in load_problems(split)}
    assert set(UNSOLVED) == {name for name in names if set(name.split("-")) & set(NEVER_FOUND)}
    assert 0.2 < len(UNSOLVED) / len(names) < 0.5


@pytest.mark.parametrize(
    ("completion", "right"),
    [
        ("1 + 2 = 3 ; ans 3", True),
        ("ans 3", True),
        ("  ans   3  ", True),
        ("ans 3 <eos> <pad> <pad>", True),
        ("ans 4 ; no ; so ans 3", True),
        ("ans 3 ; no ; so ans 4", False),
        ("ans 3 ; 1 + 2", False),
        ("ans 33", False),
        ("3", False),
        ("ans", False),
        ("", False),
        ([{"role": "assistant", "content": "1 + 2 = 3 ; ans 3"}], True),
        ([], False),
    ],
)
def test_reward_reads_the_closing_answer(completion: object, right: bool) -> None:
    assert lab_reward(completions=[completion], answer=["3"], prompts=["Q"]) == [float(right)]


def test_reward_refuses_misaligned_columns() -> None:
    with pytest.raises(ValueError):
        lab_reward(completions=["ans 3", "ans 3"], answer=["3"])


def test_unknown_names_are_refused_with_the_choice() -> None:
    with pytest.raises(ValueError, match="choose one of train, validation, eval"):
        load_problems("test")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="choose from instances, operands"):
        load_problems("eval", ("algebra",))
    with pytest.raises(ValueError, match="choose one of plain, gentle, terse, faulty"):
        load_problems("train", expert="kind")


def test_import_is_free_of_torch() -> None:
    code = "import sys, sgpo.lab; sgpo.lab.load_problems('eval'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
