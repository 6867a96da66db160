"""Strategies from the student's own right responses: a folder of ``sgpo eval`` as the source of ``extract``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sgpo.data.benchmarks import BenchmarkProblem
from sgpo.evaluation.grading import VerifyGrader
from sgpo.evaluation.run import EvalPlan, run_evaluation
from sgpo.evaluation.templates import TEMPLATES
from sgpo.models import Answered, Key, Reply, Request, Sampling
from sgpo.models.batched import Batched
from sgpo.runs.files import write_rows
from sgpo.strategies.ingest import ingest
from sgpo.strategies.sources import Source
from sgpo.strategies.store import Store

LONG, SHORT, WRONG = "Well, 2 + 2 makes \\boxed{4}, I think.", "It is \\boxed{4}.", "It is \\boxed{5}."


def evaluated(folder: Path, texts: dict[str, list[str]], gold: str = "4") -> Path:
    """What ``sgpo eval`` leaves of problems that have this gold answer."""
    folder.mkdir()
    write_rows(
        folder / "prompts.jsonl",
        [{"id": id, "problem": f"{id}: 2 + 2?", "prompt": f"Q: {id}: 2 + 2?", "gold": gold} for id in texts],
    )
    rows = [(id, j, text) for id, samples in texts.items() for j, text in enumerate(samples)]
    base = {"tokens": 9, "truncated": False}
    write_rows(folder / "responses.jsonl", [{"problem": i, "sample": j, "text": t, **base} for i, j, t in rows])
    write_rows(
        folder / "verdicts.jsonl",
        [{"problem": id, "sample": j, "correct": float(f"{{{gold}}}" in text)} for id, j, text in rows],
    )
    return folder


class Right(Batched):
    """A model that always says 4."""

    def describe(self) -> dict[str, Any]:
        return {"kind": "right"}

    def generate(self, requests: Sequence[Request], answered: Collection[Key] = ()) -> Iterator[Answered]:
        yield [(request, Reply(SHORT, "stop", 9)) for request in requests]


def test_a_problem_that_was_solved_comes_with_its_shortest_right_response(tmp_path: Path) -> None:
    source = Source(str(evaluated(tmp_path / "run", {"a": [WRONG, LONG, SHORT], "b": [WRONG, WRONG], "c": [SHORT]})))
    counts: Counter[str] = Counter()
    with Store(tmp_path / "s.db") as store:
        found = [problem for portion in ingest(source, store, counts) for problem in portion]
    assert [(p.id, p.problem, p.answer, p.response) for p in found] == [
        ("a", "a: 2 + 2?", "4", SHORT),
        ("c", "c: 2 + 2?", "4", SHORT),
    ]
    assert source.count() == 2


def test_a_problem_keeps_the_rules_that_it_was_judged_by(tmp_path: Path) -> None:
    folder = evaluated(tmp_path / "run", {"a": ["It is \\boxed{4.0}."]})
    asked = {"id": "a", "problem": "What is 2 + 2?", "prompt": "Q", "gold": "4.01"}
    write_rows(folder / "prompts.jsonl", [{**asked, "family": "sums", "tolerance": 0.05}])
    write_rows(folder / "verdicts.jsonl", [{"problem": "a", "sample": 0, "correct": 1.0}])
    with Store(tmp_path / "s.db") as store:
        (problem,) = next(ingest(Source(str(folder)), store, Counter()))
    assert problem.columns == {"family": "sums", "tolerance": 0.05}


def test_a_system_message_and_turns_of_the_data_come_along(tmp_path: Path) -> None:
    """A prompt of messages is asked as it is; strategies that are made of the responses are trained on with it."""
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2?"}]
    problems = [
        BenchmarkProblem("a", "What is 2 + 2?", "4", prompt=turns),
        BenchmarkProblem("b", "What is 3 + 1?", "4"),
    ]
    plan = EvalPlan("sums", "here", problems, TEMPLATES["luffy"], k=1, sampling=Sampling(0.0, 1.0, 9))
    run_evaluation(plan, "m", Right(plan.sampling, 4), VerifyGrader(), tmp_path / "run")
    found = {row.id: row.turns for row in Source(str(tmp_path / "run")).rows()}
    assert found == {"a": turns, "b": None}


def test_of_a_sample_that_was_asked_again_the_last_reply_counts(tmp_path: Path) -> None:
    """What a filter left of the first one may hold the answer, and is shorter than what was said in the end."""
    folder = evaluated(tmp_path / "run", {"a": [LONG]})
    for name in ("responses.jsonl", "verdicts.jsonl"):
        kept = (folder / name).read_text()
        first = {"text": SHORT, "tokens": 9, "truncated": False, "fault": "content_filter"}
        write_rows(folder / name, [{"problem": "a", "sample": 0, **(first if name[0] == "r" else {"correct": 0.0})}])
        with (folder / name).open("a") as file:
            file.write(kept)
    assert next(Source(str(folder)).rows()).responses == (LONG,)


def test_a_folder_of_an_earlier_version_has_the_prompt_for_the_problem(tmp_path: Path) -> None:
    folder = evaluated(tmp_path / "run", {"a": [SHORT]})
    write_rows(folder / "prompts.jsonl", [{"id": "a", "prompt": [{"role": "user", "content": "2 + 2"}], "gold": "4"}])
    assert next(Source(str(folder)).rows()).problem == "2 + 2"


def test_a_folder_without_responses_and_one_without_a_right_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty is a folder without responses of `sgpo eval`"):
        Source(str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="no problem was solved, so there is nothing to learn from"):
        Source(str(evaluated(tmp_path / "run", {"a": [WRONG]})))
