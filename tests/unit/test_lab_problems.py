"""Splits, records and the reward of the embedded task."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from sgpo.lab import GUIDED_TEMPLATE, lab_reward, load_problems, verify
from sgpo.lab.catalog import FAMILIES
from sgpo.lab.corpus import Corpus
from sgpo.lab.problems import PER_FAMILY, Split, guided_prompt, split_instances
from sgpo.lab.wording import WORDINGS, is_held_out

SPLITS = get_args(Split)


def test_splits_share_no_instance() -> None:
    prompts = {split: {problem["prompt"] for problem in load_problems(split)} for split in SPLITS}
    ids = [problem["id"] for split in SPLITS for problem in load_problems(split)]
    assert len(set(ids)) == len(ids)
    for split in SPLITS:
        others = set().union(*(prompts[other] for other in SPLITS if other != split))
        assert not prompts[split] & others


def test_pretraining_text_holds_corpus_instances_and_seen_wordings_only() -> None:
    corpus = {problem["prompt"] for problem in load_problems("corpus")}
    kept_out = {
        family.strategy(approach, k)
        for family in FAMILIES
        for approach in range(3)
        for k in range(WORDINGS)
        if is_held_out(k)
    }
    stream = Corpus(seed=3)
    for _ in range(20_000):
        text = stream.draw()
        if text.facts:
            continue
        strategy, mark, question = text.prompt.partition("Q ")
        assert mark + question in corpus
        assert strategy.removeprefix("S ").strip() not in kept_out


@pytest.mark.parametrize("split", SPLITS)
def test_splits_are_balanced_and_sized(split: Split) -> None:
    problems = load_problems(split)
    counts = [sum(p["family"] == family.name for p in problems) for family in FAMILIES]
    wanted = PER_FAMILY[split]
    if wanted is not None:
        assert max(counts) == wanted
        assert min(counts) >= 0.75 * wanted
    assert [p["id"] for p in load_problems(split)] == [p["id"] for p in problems]


def test_expert_is_accepted_and_wrong_approaches_are_not() -> None:
    for family in FAMILIES:
        problems = {p["id"]: p for p in load_problems("train", (family.name,))}
        for args in split_instances(family, "train"):
            problem = problems["-".join([family.name, *map(str, args)])]
            traces = family.traces(args)
            assert traces is not None
            assert verify(problem["expert"], problem["answer"])
            assert not any(verify(f"ans {trace.answer}", problem["answer"]) for trace in traces[1:])


def test_guided_prompt_puts_the_strategy_in_front() -> None:
    problem = load_problems("train")[0]
    assert guided_prompt(problem) == f"S {problem['strategy']} {problem['prompt']}"
    assert guided_prompt(problem) == GUIDED_TEMPLATE.format(**problem)
    assert problem["answer"] not in problem["strategy"].split()


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
    with pytest.raises(ValueError, match="choose one of corpus, train"):
        load_problems("test")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="choose from remainder"):
        load_problems("eval", ("algebra",))


def test_import_is_free_of_torch() -> None:
    code = "import sys, sgpo.lab; sgpo.lab.load_problems('eval'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
