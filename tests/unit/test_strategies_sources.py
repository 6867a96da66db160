"""Rows of every format, and what they come to: verified, skipped for a counted reason, or an error."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from strategies_kit import problem_row, write_rows

from sgpo.models.thinking import strip_thinking
from sgpo.rewards import Verdict
from sgpo.strategies import ingest as ingesting
from sgpo.strategies.ingest import ingest
from sgpo.strategies.records import Problem, digest
from sgpo.strategies.sources import Source, parse_columns
from sgpo.strategies.store import Store


def openr1_row(i: int, **changes: Any) -> dict[str, Any]:
    """In the columns of Elliott/Openr1-Math-46k-8192."""
    row = {
        "data_source": "",
        "prompt": [{"role": "system", "content": "Think."}, {"role": "user", "content": f"What is {i} + {i}?"}],
        "target": [{"role": "assistant", "content": f"<think>\nhm {i}\n</think>\n\nIt is \\boxed{{{2 * i}}}."}],
        "ability": "math",
        "reward_model": {"ground_truth": str(2 * i), "style": "rule"},
        "extra_info": {"index": i, "split": "default"},
    }
    return {**row, **changes}


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


def taken(path: Path, store: Path, **options: Any) -> tuple[list[Problem], Counter[str]]:
    columns = options.pop("columns", None)
    counts: Counter[str] = Counter()
    with Store(store) as opened:
        portions = ingest(Source(str(path), columns=columns), opened, counts, **options)
        return [problem for portion in portions for problem in portion], +counts


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_the_openr1_columns_are_found(suffix: str, tmp_path: Path) -> None:
    rows = [openr1_row(i) for i in range(3)]
    write = write_parquet if suffix == ".parquet" else write_rows
    path = write(tmp_path / f"data{suffix}", rows)
    problems, counts = taken(path, tmp_path / "s.db")
    assert [(p.problem, p.answer, p.response) for p in problems] == [
        (f"What is {i} + {i}?", str(2 * i), f"It is \\boxed{{{2 * i}}}.") for i in range(3)
    ]
    assert counts == {"ok": 3}
    assert Source(str(path)).count() == 3
    kept, _ = taken(path, tmp_path / "whole.db", keep_thinking=True)
    assert kept[1].response == "<think>\nhm 1\n</think>\n\nIt is \\boxed{2}."
    assert [p.id for p in kept] == [p.id for p in problems]  # of problem and answer, not of the place in the file


def test_nulls_in_the_openr1_columns_are_counted(tmp_path: Path) -> None:
    nulls = (
        {"target": None},
        {"reward_model": None},
        {"prompt": None},
        {"target": [{"role": "user", "content": None}]},
    )
    rows = [openr1_row(0), *(openr1_row(i, **change) for i, change in enumerate(nulls, 1)), openr1_row(5)]
    problems, counts = taken(write_rows(tmp_path / "x.jsonl", rows), tmp_path / "s.db")
    assert counts == {"ok": 2, "no_response": 2, "no_answer": 1, "no_problem": 1}
    assert [p.answer for p in problems] == ["0", "10"]


def test_csv_with_columns_of_other_names_and_long_cells(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["q", "gold", "said", "key"])
        writer.writerow(["one\nplus one?", "2", "long " * 40_000 + "\\boxed{2}", "7"])
    named = {"problem": "q", "answer": "gold", "response": "said", "id": "key"}
    problems, _ = taken(path, tmp_path / "s.db", columns=named)
    assert [(p.id, p.problem, p.answer) for p in problems] == [("7", "one\nplus one?", "2")]
    assert len(problems[0].response) > 200_000


def test_nested_and_plain_columns_can_be_named(tmp_path: Path) -> None:
    row = {"a": {"b": {"c": "What is 1 + 1?"}}, "answer": 2, "r": {"role": "assistant", "content": "\\boxed{2}"}}
    path = write_rows(tmp_path / "x.jsonl", [row])
    problems, _ = taken(path, tmp_path / "s.db", columns=parse_columns("problem=a.b.c, response=r"))
    assert (problems[0].problem, problems[0].answer, problems[0].response) == ("What is 1 + 1?", "2", "\\boxed{2}")


def test_each_row_that_is_of_no_use_is_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    rows = [
        problem_row(0),
        problem_row(1, response=None),
        problem_row(2, response=[]),
        problem_row(3, response="<think>\\boxed{6}"),
        problem_row(4, answer=None),
        problem_row(5, problem=" "),
        problem_row(6, response="\\boxed{13}"),
        problem_row(7, response="We look at it from all sides and see nothing. " * 20),
        problem_row(0, problem="Another one with that id"),
        problem_row(0),
        problem_row(8, answer="$$"),
        problem_row(9),
    ]
    path = write_rows(tmp_path / "x.jsonl", rows)
    with path.open("a") as file:
        file.write('{"id": "torn\n[1, 2]\n\n')
    expected = {
        "ok": 3,
        "no_response": 3,
        "no_answer": 1,
        "no_problem": 1,
        "unverified:different": 1,
        "unverified:no_answer": 1,
        "duplicate_id": 1,
        "bad_answer": 1,
        "unreadable_row": 2,
    }
    problems, counts = taken(path, tmp_path / "s.db")
    assert [p.id for p in problems] == ["p0", digest("Another one with that id", "0"), "p9"]
    assert counts == expected
    assert taken(path, tmp_path / "s.db") == (problems, counts)


def test_a_run_again_verifies_nothing_twice_and_a_changed_row_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_rows(tmp_path / "x.jsonl", [problem_row(0), problem_row(1, answer="5")])
    first, counts = taken(path, tmp_path / "s.db")
    monkeypatch.setattr(ingesting, "verify_batch", lambda responses, golds, **more: [] if not responses else 1 / 0)
    assert taken(path, tmp_path / "s.db") == (first, counts)
    with Store(tmp_path / "s.db") as store:  # what is skipped has no texts, however often it is met
        assert store.rows("SELECT problem, answer, response FROM problems WHERE id = 'p1'") == [("", "", "")]
    write_rows(path, [problem_row(0, response="So \\boxed{0}."), problem_row(1, answer="5")])
    assert taken(path, tmp_path / "s.db")[1] == {"changed": 1, "unverified:different": 1}
    # What was skipped and has been mended is looked at again.
    write_rows(path, [problem_row(0), problem_row(1)])
    monkeypatch.undo()
    found, counts = taken(path, tmp_path / "s.db")
    assert [(p.id, p.answer) for p in found] == [("p0", "0"), ("p1", "2")]
    assert counts == {"ok": 2}


def test_of_rows_with_one_id_the_first_right_one_counts(tmp_path: Path) -> None:
    """As in data sets that have a row for each response: the problem was lost where the first of them is wrong."""
    rows = [problem_row(i, response=f"\\boxed{{{2 * i + j}}}") for i in range(100) for j in (1, 0, 0)]
    path = write_rows(tmp_path / "x.jsonl", rows)
    problems, counts = taken(path, tmp_path / "s.db")
    assert [p.id for p in problems] == [f"p{i}" for i in range(100)]
    assert [p.response for p in problems] == [f"\\boxed{{{2 * i}}}" for i in range(100)]
    assert counts == {"ok": 100, "unverified:different": 100, "duplicate_id": 100}
    again, counts = taken(path, tmp_path / "s.db")
    assert (again, counts) == (problems, {"ok": 100, "duplicate_id": 200})


def test_a_problem_that_stands_twice_is_asked_once(tmp_path: Path) -> None:
    """Under other ids, it would be paid for twice, and trained with two golds where they contradict."""
    text = "What is  1 +\n1?"
    rows = [
        problem_row(1, response="\\boxed{3}"),
        problem_row(2, problem="What is 1 + 1?", answer="2", response="\\boxed{2}"),
        problem_row(3, problem=text, answer="\\frac{4}{2}", response="\\boxed{2}"),
        problem_row(4, problem=text, answer="3", response="\\boxed{3}"),
    ]
    found, counts = taken(write_rows(tmp_path / "x.jsonl", rows), tmp_path / "s.db")
    assert [p.id for p in found] == ["p2"]
    assert counts == {"ok": 1, "unverified:different": 1, "duplicate_problem": 1, "other_answer": 1}
    found, counts = taken(
        write_rows(tmp_path / "y.jsonl", [problem_row(9, problem=text, answer="2.0")]), tmp_path / "s.db"
    )
    assert (found, counts) == ([], {"unverified:different": 1})  # 18 is no answer to it
    row = problem_row(9, problem=text, answer="2.0", response="\\boxed{2}")
    assert taken(write_rows(tmp_path / "y.jsonl", [row]), tmp_path / "s.db") == ([], {"duplicate_problem": 1})


def test_a_problem_with_an_image_is_left_out(tmp_path: Path) -> None:
    """Bytes are no column of an exported data set, so that it would be trained on without what it shows."""
    cells = ({"images": [{"bytes": b"x", "path": "a.png"}]}, {"images": []}, {"images": None})
    rows = [problem_row(i, **cell) for i, cell in enumerate(cells)]
    found, counts = taken(write_parquet(tmp_path / "x.parquet", rows), tmp_path / "s.db")
    assert [p.id for p in found] == ["p1", "p2"]
    assert counts == {"ok": 2, "image": 1}


def test_another_version_looks_again_at_what_was_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its verifier may read what the one before did not; what was used, and paid for, stays."""
    path = write_rows(tmp_path / "x.jsonl", [problem_row(0), problem_row(1)])

    def strict(responses: list[str], golds: list[str], **more: Any) -> list[Verdict]:
        return [
            Verdict(gold == "0", "", gold, 0.0) if gold == "0" else Verdict(False, "different", None, 0.0)
            for gold in golds
        ]

    with monkeypatch.context() as patch:
        patch.setattr(ingesting, "verify_batch", strict)
        first = taken(path, tmp_path / "s.db")
    assert first[1] == {"ok": 1, "unverified:different": 1}
    assert taken(path, tmp_path / "s.db") == first
    monkeypatch.setattr(ingesting, "__version__", "99")
    found, counts = taken(path, tmp_path / "s.db")
    assert ([p.id for p in found], counts) == (["p0", "p1"], {"ok": 2})


def test_a_row_has_a_tolerance_of_its_own(tmp_path: Path) -> None:
    """That by which training and evaluation judge, so that no response which they call right is dropped."""
    rows = [
        problem_row(1, answer="3.14", response="It is \\boxed{3.141}.", tolerance=0.01),
        problem_row(2, answer="3.14", response="It is \\boxed{3.2}.", tolerance=0.01),
        problem_row(3, answer="3.14", response="It is \\boxed{3.141}."),
        problem_row(4, answer="3.14", response="It is \\boxed{3.14}.", tolerance="wide"),
    ]
    found, counts = taken(write_rows(tmp_path / "rows.jsonl", rows), tmp_path / "s.db")
    assert [(problem.id, problem.columns) for problem in found] == [("p1", {"tolerance": 0.01})]
    assert counts == {"ok": 1, "unverified:different": 2, "bad_tolerance": 1}


def test_a_store_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """It knew skipped rows by their texts alone, and no tolerances.

    What is given out as usable must be so in the store, too, or its replies are paid for and never exported.
    """
    rows = [problem_row(0), problem_row(1, tolerance=0.5)]
    before = [digest(row["problem"], row["answer"], row["response"]) for row in rows]
    with Store(tmp_path / "s.db") as store:
        store.add_problems(
            [
                Problem("p0", "", "", "", "unverified:different", before[0]),
                Problem("p1", rows[1]["problem"], rows[1]["answer"], rows[1]["response"], "ok", before[1]),
            ]
        )
    found, counts = taken(write_rows(tmp_path / "x.jsonl", rows), tmp_path / "s.db")
    assert ([p.id for p in found], counts) == (["p0", "p1"], {"ok": 2})
    with Store(tmp_path / "s.db") as store:
        assert [p.id for p in store.problems()] == ["p0", "p1"]


def test_time_outs_of_the_verifier_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rows(tmp_path / "x.jsonl", [problem_row(0)])
    with monkeypatch.context() as patch:
        patch.setattr(ingesting, "verify_batch", lambda r, g, **more: [Verdict(False, "timeout", None, 2.0)] * len(r))
        assert taken(path, tmp_path / "s.db")[1] == {"timeout": 1}
    assert taken(path, tmp_path / "s.db")[1] == {"ok": 1}


def test_the_limit_is_of_usable_problems(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "x.jsonl", [problem_row(i, **({"answer": "1"} if i % 2 else {})) for i in range(200)])
    problems, counts = taken(path, tmp_path / "s.db", limit=70)
    assert [p.id for p in problems] == [f"p{2 * i}" for i in range(70)]
    assert counts["ok"] == 70


def test_a_file_is_not_read_ahead_of_what_is_used(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "x.jsonl", [problem_row(i) for i in range(1000)])
    source = Source(str(path))
    given = iter(source.rows())
    pulled = 0

    def rows() -> Any:
        nonlocal pulled
        for row in given:
            pulled += 1
            yield row

    source.rows = rows  # type: ignore[method-assign]
    with Store(tmp_path / "s.db") as store:
        next(ingest(source, store, Counter()))
    assert pulled == ingesting.PORTION


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        ("x.jsonl", None, {}, "is not a file"),
        ("x.txt", "a", {}, "x.txt, line 1: not valid JSON"),
        ("x.jsonl", "", {}, "has no rows"),
        ("x.jsonl", "\nno json\n", {}, "x.jsonl, line 2: not valid JSON"),
        ("x.csv", "problem;answer;response\n", {}, "columns are parted by ';'"),
        (
            "x.jsonl",
            '{"problem": "a", "answer": "1"}\n',
            {},
            r"no column for the response \(target, response, .*; its columns are",
        ),
        ("x.jsonl", '{"problem": "a"}\n', {"problem": "q"}, "no column 'q' for the problem"),
        ("x.jsonl", '{"problem": "a"}\n', {"question": "q"}, "--columns names \\['question'\\]"),
        ("x.parquet", "not parquet", {}, "cannot be read as parquet"),
        ("x.jsonl", '{"problem": "a", "answer": "1", "response": "r"}\n', {"id": "k"}, "no column 'k' for the id"),
    ],
)
def test_sources_that_cannot_be_used(
    name: str, content: str | None, columns: dict[str, str], message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message):
        Source(str(path), columns=columns)


def test_a_hub_id_is_streamed_and_one_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    class Streamed(list[dict[str, Any]]):
        info = types.SimpleNamespace(splits={"train": types.SimpleNamespace(num_examples=46_000)})

    asked: list[Any] = []

    def load(name: str, split: str, streaming: bool) -> Any:
        asked.append((name, split, streaming))
        if name == "no/such":
            raise ConnectionError("no network")
        return Streamed([openr1_row(3)])

    module = types.ModuleType("datasets")
    module.load_dataset = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    source = Source("some/data")
    assert (asked, source.count()) == ([("some/data", "train", True)], 46_000)
    assert next(source.rows()).answer == "6"
    with pytest.raises(ValueError, match=r"no split 'train'.*ConnectionError: no network.*Give a hub id, or a parquet"):
        Source("no/such")


def test_columns_and_thinking() -> None:
    assert parse_columns(None) == {}
    assert parse_columns("problem=q, answer = a.b") == {"problem": "q", "answer": "a.b"}
    for text in ("problem", "problem=", "=q"):
        with pytest.raises(ValueError, match="field=column"):
            parse_columns(text)
    assert strip_thinking("<think>a</think>b <think>c</think>\n d ") == "d"
    assert strip_thinking("before <think>never ends") == "before"
    assert strip_thinking(json.dumps("plain")) == '"plain"'
