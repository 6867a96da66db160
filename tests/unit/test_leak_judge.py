"""The script that measures a judge of leaks: a store of labelled strategies and back, and the scores that are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import leak_judge
import leak_labels
import pytest

from sgpo.strategies.schema import CRITERIA
from sgpo.strategies.store import Store
from sgpo.strategies.templates import load_prompt


def row(id: str, problem: str, strategy: str, label: bool) -> dict[str, Any]:
    parts = {"problem_type": "sums", "strategy": strategy, "steps": ["Add."]}
    return {
        "split": "s",
        "id": id,
        "problem": problem,
        "answer": "12",
        "response": "7 + 5 = 12",
        "strategy": parts,
        "label": label,
    }


ROWS = [
    row("a1", "What is 7 + 5?", "Add both.", False),
    row("a2", "What is 7 + 5?", "They make a dozen of which you think.", True),
    row("b1", "What is 8 + 4?", "It is 12.", True),
]


def test_scores_of_a_store_come_back_to_their_strategies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(tmp_path / "s.db") as store:
        leak_judge.fill(store, ROWS)
        assert leak_judge.judged(store, ROWS) == []
        given = {"Add both.": 5, "They make a dozen of which you think.": 2, "It is 12.": 1}
        for problem in store.problems():
            for candidate in store.candidates(problem.id):
                scores = {**dict.fromkeys(CRITERIA, 3), "instance_free": given[candidate.strategy.strategy]}
                store.note([(candidate.id, "rank", {"place": 1, "score": 14, "scores": scores, "kept": True})])
        judged = leak_judge.judged(store, ROWS)
    assert [(each["id"], each["score"]) for each in judged] == [("a1", 5), ("a2", 2), ("b1", 1)]
    leak_judge.report(judged, most=1)
    assert "judge, 1 or less       precision 1.000  recall 0.500  right  66.7%" in capsys.readouterr().out


def test_the_kept_scores_are_of_labelled_strategies_and_packaged_prompts() -> None:
    lines = [json.loads(line) for line in leak_judge.KEPT.read_text(encoding="utf-8").splitlines()]
    labelled = {
        (each["split"], each["id"])
        for path in leak_judge.DATA.glob("strategy_leaks*.jsonl")
        for each in ({"split": "given"} | json.loads(text) for text in path.read_text(encoding="utf-8").splitlines())
    }
    assert {(line["split"], line["id"]) for line in lines} <= labelled
    assert len({(line["prompt"], line["split"], line["id"]) for line in lines}) == len(lines)
    assert all(1 <= line["score"] <= 5 for line in lines)
    assert load_prompt("rank").name in {line["prompt"] for line in lines}


def test_the_judge_is_better_than_the_rules_on_what_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """The figures of docs/strategy-check.md; a changed prompt needs new scores."""
    rows, absent = leak_labels.read(sorted(leak_judge.DATA.glob("strategy_leaks*.jsonl")))
    if absent:
        pytest.skip(f"the problems of public benchmarks are not in {leak_labels.BENCHMARKS}")
    leak_judge.report(leak_judge.kept(leak_judge.KEPT, rows), most=2)
    printed = capsys.readouterr().out
    page = (leak_labels.ROOT / "docs" / "strategy-check.md").read_text(encoding="utf-8")
    _, figures = printed.split("all rank.v2: 1012 strategies, 515 leak\n")
    judge = figures.splitlines()[1].split()
    assert judge[-6:] == ["precision", "0.970", "recall", "1.000", "right", "98.4%"]
    assert "**0.970, 1.000, 98.4%**" in page
