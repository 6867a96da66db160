"""Strategies of a file of one's own in the store: `sgpo strategies import`, and what judges them then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from strategies_kit import GOOD, KEY, Play, problems_file, said, serving, write_rows
from typer.testing import CliRunner

from sgpo.commands.strategies import app
from sgpo.strategies.schema import CRITERIA, Strategy
from sgpo.strategies.store import Store

TEXT = "Pair the ends.\nThen count the pairs."


def row(i: int, strategy: Any, **changes: Any) -> dict[str, Any]:
    return {"problem": f"What is {i} + {i}?", "answer": str(2 * i), "strategy": strategy, **changes}


def invoke(*words: object) -> Any:
    return CliRunner().invoke(app, list(map(str, words)), env={"OPENAI_API_KEY": KEY, "COLUMNS": "200"})


def texts(store: Path) -> dict[str, list[str]]:
    with Store(store) as opened:
        return {p.problem: [c.strategy.text() for c in opened.candidates(p.id)] for p in opened.problems()}


def scored(body: dict[str, Any], number: int) -> Play:
    shown = body["messages"][-1]["content"].count("<candidate number=")
    scores = [{"candidate": i, **dict.fromkeys(CRITERIA, 4)} for i in range(1, shown + 1)]
    return said(json.dumps({"scores": scores}))


def test_texts_and_parts_enter_prompts_as_they_are(tmp_path: Path) -> None:
    source, store = tmp_path / "own.jsonl", tmp_path / "s.db"
    exported = Strategy(**GOOD).text()
    multiline = {**GOOD, "steps": ["Name them:\nall of them.", "Add them."]}
    cells = [TEXT, GOOD, multiline, exported, json.dumps(GOOD), "  "]
    write_rows(source, [row(30 + i, cell) for i, cell in enumerate(cells)])
    assert "rows: ok 5, no_strategy 1" in invoke("import", source, "--store", store).output
    found = [TEXT, exported, Strategy(**multiline).text(), exported, json.dumps(GOOD), None]
    assert texts(store) == {row(30 + i, "")["problem"]: [text] if text else [] for i, text in enumerate(found)}
    with Store(store) as opened:
        types = [c.strategy.problem_type for p in opened.problems() for c in opened.candidates(p.id)]
    assert sorted(types) == ["", "", "addition", "addition", "addition"]


def test_rows_of_one_problem_are_its_candidates_in_their_order_and_again_is_nothing_new(tmp_path: Path) -> None:
    source, store = tmp_path / "own.jsonl", tmp_path / "s.db"
    rows = [row(30, "First."), row(30, "Second."), row(30, "Third.", answer="60.0"), row(31, "Other.", id="x")]
    write_rows(source, rows)
    assert "rows: ok 4" in invoke("import", source, "--store", store).output
    assert texts(store)["What is 30 + 30?"] == ["First.", "Second.", "Third."]
    write_rows(source, [row(30, "Fourth."), *reversed(rows)])
    assert "rows: again 4, ok 1" in invoke("import", source, "--store", store).output
    assert texts(store)["What is 30 + 30?"] == ["First.", "Second.", "Third.", "Fourth."]


def test_no_strategy_is_put_to_another_problem_and_each_row_is_counted(tmp_path: Path) -> None:
    """Ids that begin anew, another gold, cells that are no strategy."""
    source, store = tmp_path / "own.jsonl", tmp_path / "s.db"
    rows = [row(30, "A.", id=1), row(31, "B.", id=1), row(30, "C.", id=2, answer="7"), row(32, ["D."]), row(33, 4)]
    write_rows(source, [*rows, row(34, "E.", answer=None), row(35, "F.", answer="proof"), {"problem": None}])
    shown = invoke("import", source, "--store", store).output
    assert "rows: ok 2, bad_strategy 2, other_answer 1, no_answer 1, bad_answer 1, no_problem 1" in shown
    assert texts(store) == {"What is 30 + 30?": ["A."], "What is 31 + 31?": ["B."]}


def test_they_are_judged_measured_and_exported_as_extracted_ones_are(tmp_path: Path) -> None:
    source, store, out = tmp_path / "own.jsonl", tmp_path / "s.db", tmp_path / "out.jsonl"
    write_rows(source, [row(30, TEXT, level=5), row(30, "The sum is 60."), row(31, "Halve, then double.")])
    invoke("import", source, "--store", store)
    with serving(scored) as server:
        done = invoke("rank", "--store", store, "-m", "m", "--base-url", server.url, "--singles")
        assert "ranked 1, scored 1" in done.output
        assert all("None was kept" in body["messages"][-1]["content"] for body in server.bodies)
    assert "imported" in invoke("show", "--store", store).output
    done = invoke("export", out, "--store", store, "--expert", "--min-instance-free", 3)
    assert "problems: ok 2" in done.output, done.output
    rows = {row["prompt"][0]["content"][:11]: row for row in map(json.loads, out.read_text().splitlines())}
    assert rows["What is 30 "]["strategy"] == TEXT  # the other one tells the answer
    assert (rows["What is 30 "]["level"], rows["What is 30 "]["expert"]) == (5, None)
    assert (
        {each["model"] for each in rows.values()} == {each["prompt_version"] for each in rows.values()} == {"imported"}
    )


def test_they_stand_beside_those_of_a_strong_model(tmp_path: Path) -> None:
    source, own, store = problems_file(tmp_path / "p.jsonl", 2), tmp_path / "own.jsonl", tmp_path / "s.db"
    with serving() as server:
        invoke("extract", source, "--store", store, "-m", "m", "--base-url", server.url, "--n", 2)
    write_rows(own, [row(1, TEXT, id="another")])
    assert "rows: ok 1" in invoke("import", own, "--store", store).output
    assert [len(found) for found in texts(store).values()] == [2, 3]


def test_a_file_without_strategies_is_refused(tmp_path: Path) -> None:
    source, store = tmp_path / "own.jsonl", tmp_path / "s.db"
    for rows, message in (
        ([{"problem": "q", "answer": "4", "hint": TEXT}], "has no column for the strategy"),
        ([row(30, " ")], "has no strategy that can be used: no_strategy 1"),
    ):
        done = invoke("import", write_rows(source, rows), "--store", store)
        assert isinstance(done.exception, ValueError)
        assert message in str(done.exception)
    write_rows(source, [{"problem": "q", "answer": "4", "hint": TEXT}])
    assert invoke("import", source, "--store", store, "--columns", "strategy=hint").exit_code == 0


@pytest.mark.parametrize("command", ["extract", "rank", "audit"])
def test_only_a_dry_run_goes_without_a_model(command: str, tmp_path: Path) -> None:
    source, store = problems_file(tmp_path / "p.jsonl", 3), tmp_path / "s.db"
    write_rows(tmp_path / "own.jsonl", [row(30, "A."), row(31, "B.")])
    words = [command, *([source] if command == "extract" else []), "--store", store]
    if command != "extract":
        invoke("import", tmp_path / "own.jsonl", "--store", store)
    done = invoke(*words)
    assert isinstance(done.exception, ValueError)
    assert "--model is missing" in str(done.exception)
    assert store.exists() is (command != "extract")
    if command != "rank":
        done = invoke(*words, "--dry-run", "--price-in", 1, "--price-out", 1)
        assert done.exit_code == 0, done.output
        assert "without discounts for cached prompts" in done.output
