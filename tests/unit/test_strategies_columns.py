"""What a source brings along survives extraction and export: other columns with their types, turns, system messages."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from strategies_kit import GOOD, problem_row, write_rows
from typer.testing import CliRunner

from sgpo.commands._strategies_lift import _task as task_of_lift
from sgpo.commands.strategies import app
from sgpo.data.prompts import guided_prompt
from sgpo.evaluation.templates import TEMPLATES
from sgpo.runs.files import ReadError, read_rows
from sgpo.strategies.columns import SourceColumns
from sgpo.strategies.extract import messages_for
from sgpo.strategies.ingest import ingest
from sgpo.strategies.options import LiftOptions
from sgpo.strategies.records import AnsweredCall, Key, Problem, Setup
from sgpo.strategies.schema import Strategy
from sgpo.strategies.sources import Source
from sgpo.strategies.store import Store
from sgpo.strategies.templates import load_prompt

SETUP = Setup("extract", "m", "extract.v1", "abcdef0123456789", {"seed": 0})


def openr1_row(i: int, **changes: Any) -> dict[str, Any]:
    """In the columns of open-r1/OpenR1-Math-220k."""
    right, wrong = f"<think>a</think>It is \\boxed{{{2 * i}}}.", f"<think>b</think>It is \\boxed{{{2 * i + 1}}}."
    return {
        "problem": f"What is {i} + {i}?",
        "solution": f"A human adds: \\boxed{{{2 * i}}}",
        "answer": str(2 * i),
        "problem_type": "Algebra",
        "source": "olympiads",
        "uuid": f"u{i}",
        "is_reasoning_complete": [False, True, True],
        "generations": ["<think>never ends", wrong, right],
        "correctness_math_verify": [True, False, True],
        "correctness_llama": None,
        "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}],
        **changes,
    }


def taken(path: Path, store: Path, columns: dict[str, str] | None = None) -> tuple[list[Problem], Counter[str]]:
    """The usable problems of a file, each with one candidate in the store."""
    counts: Counter[str] = Counter()
    with Store(store) as opened:
        found = [p for portion in ingest(Source(str(path), columns=columns), opened, counts) for p in portion]
        opened.add_setup(SETUP)
        parsed = Strategy(**GOOD).model_dump_json()
        opened.record(AnsweredCall(Key(SETUP.id, p.id, 0), "ok", "raw", parsed, 40, 10) for p in found)
    return found, +counts


def exported(store: Path, out: Path, *more: str) -> tuple[list[dict[str, Any]], str]:
    result = CliRunner().invoke(app, ["export", str(out), "--store", str(store), *more])
    assert result.exit_code == 0, result.output
    if out.suffix == ".jsonl":
        return [row for _, row in read_rows(out)], result.output
    from pyarrow import parquet  # type: ignore[import-untyped]

    return parquet.read_table(out).to_pylist(), result.output


def test_the_generations_of_openr1_are_used_and_the_humans_solution_is_not(tmp_path: Path) -> None:
    rows = [openr1_row(i) for i in range(3)]
    rows.append(openr1_row(3, generations=["It is \\boxed{1}."], is_reasoning_complete=[True]))
    rows.append(openr1_row(4, generations=["It is \\boxed{8}.", None, 5], correctness_math_verify=None))
    rows.append(openr1_row(5, generations=[]))
    path = write_rows(tmp_path / "x.jsonl", rows)
    problems, counts = taken(path, tmp_path / "s.db")
    assert [(p.id, p.response) for p in problems] == [
        ("u0", "It is \\boxed{0}."),
        ("u1", "It is \\boxed{2}."),
        ("u2", "It is \\boxed{4}."),
        ("u4", "It is \\boxed{8}."),
    ]
    assert counts == {"ok": 4, "unverified:different": 1, "no_response": 1}
    assert taken(path, tmp_path / "s.db") == (problems, counts)  # also when nothing is verified anew


def right(text: str = "") -> str:
    return f"It is \\boxed{{6}}.{text}"


WRONG = "It is \\boxed{7}."
ASKED = {"role": "user", "content": "What is 3 + 3?"}


@pytest.mark.parametrize(
    ("fields", "response"),
    [
        ({"generations": [right("a"), right("b")], "correctness_math_verify": [False, False]}, right("a")),
        ({"generations": [right("a"), right("b")], "finish_reasons": ["length", "stop"]}, right("b")),
        ({"generations": [right("a"), right("b")], "correctness_math_verify": ["false", "true"]}, right("b")),
        ({"generations": ["<think>so \\boxed{6}", right()]}, right()),  # nothing is left of the first one
        ({"generations": ["<think>so \\boxed{6}"]}, None),
        ({"generations": []}, None),
        ({"generations": None}, None),
        ({"generations": ["", None, " "]}, None),
        ({"generations": [[{"role": "assistant", "content": right()}]]}, right()),
        ({"generations": [{"text": WRONG}, {"text": right()}]}, right()),
        ({"generations": [{"content": WRONG}, {"content": right()}]}, right()),
        ({"generations": json.dumps([WRONG, right()])}, right()),
        ({"response": right("r"), "generations": [right("g")]}, right("r")),
        ({"response": None, "generations": [right("g")]}, right("g")),
        ({"response": 6}, "6"),
    ],
)
def test_responses_in_every_form(tmp_path: Path, fields: dict[str, Any], response: str | None) -> None:
    row = {"problem": "What is 3 + 3?", "answer": "6", **fields}
    problems, counts = taken(write_rows(tmp_path / "x.jsonl", [row]), tmp_path / "s.db")
    assert [p.response for p in problems] == ([] if response is None else [response])
    assert counts == ({"no_response": 1} if response is None else {"ok": 1})


@pytest.mark.parametrize(
    ("chat", "outcome"),
    [
        ([ASKED, {"role": "assistant", "content": right()}, {"role": "user", "content": "Thanks"}], ["user"]),
        (json.dumps([ASKED, {"role": "assistant", "content": right()}]), ["user"]),
        (json.dumps([{"from": "human", "value": ASKED["content"]}, {"from": "gpt", "value": right()}]), ["user"]),
        ([{**ASKED, "content": ["What is ", "3 + 3?"]}, {"role": "assistant", "content": right()}], ["user"]),
        (
            [{"role": "developer", "content": "Be brief."}, ASKED, {"role": "assistant", "content": right()}],
            ["system", "user"],
        ),
        (
            [
                ASKED,
                {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
                {"role": "tool", "content": "6"},
                {"role": "assistant", "content": right()},
            ],
            "tool_turns",
        ),
        (
            [
                {"from": "human", "value": "?"},
                {"from": "function_call", "value": "f"},
                {"from": "gpt", "value": right()},
            ],
            "tool_turns",
        ),
        ([{**ASKED, "content": [{"type": "image"}, {"type": "text", "text": "?"}]}, ASKED], "no_problem"),
        ([ASKED], "no_response"),
    ],
)
def test_conversations_in_every_form(tmp_path: Path, chat: Any, outcome: str | list[str]) -> None:
    path = write_rows(tmp_path / "x.jsonl", [{"answer": "6", "messages": chat}])
    problems, counts = taken(path, tmp_path / "s.db", {"problem": "messages", "response": "messages"})
    if isinstance(outcome, str):
        assert counts == {outcome: 1}
        return
    (problem,) = problems
    assert (problem.problem, problem.response) == ("What is 3 + 3?", right())
    assert [turn["role"] for turn in problem.turns or [ASKED]] == outcome


def test_the_columns_used_are_said_by_the_dry_run(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "x.jsonl", [openr1_row(i) for i in range(3)])
    words = ["extract", str(path), "-m", "m", "--store", str(tmp_path / "s.db"), "--dry-run"]
    said = CliRunner().invoke(app, words).output
    assert "response from generations" in said
    assert "of several responses the first that verifies" in said
    assert "kept for export: solution, problem_type, source" in said
    said = CliRunner().invoke(app, [*words, "--columns", "response=solution"]).output
    assert "response from solution" in said


@pytest.mark.parametrize("field", ["solution", "messages", "rationale"])
def test_a_humans_solution_is_no_response_without_being_named(tmp_path: Path, field: str) -> None:
    row = {"problem": "What is 1 + 1?", "answer": "2", "solution": "\\boxed{2}", field: "\\boxed{2}"}
    with pytest.raises(ValueError, match="'solution' is often a human's"):
        Source(str(write_rows(tmp_path / "x.jsonl", [row])))


CHAT = [
    {"role": "system", "content": "Answer in base ten."},
    {"role": "user", "content": "Let x = 3."},
    {"role": "assistant", "content": "Noted."},
    {"role": "user", "content": "What is x + x?"},
]
SHAREGPT = [
    {"from": {"user": "human", "assistant": "gpt"}.get(m["role"], "system"), "value": m["content"]} for m in CHAT
]
PARTS = [{"role": m["role"], "content": [{"type": "text", "text": m["content"]}]} for m in CHAT]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("chat", [CHAT, SHAREGPT, PARTS], ids=["messages", "sharegpt", "parts"])
def test_turns_and_system_messages_go_through_extract_and_export(tmp_path: Path, chat: list[Any], suffix: str) -> None:
    said = {**chat[2], next(k for k in ("value", "content") if k in chat[2]): "It is \\boxed{6}."}
    row = {"id": "p", "answer": "6", "conversations": [*chat, said]}
    path = write_rows(tmp_path / "x.jsonl", [row])
    problems, _ = taken(path, tmp_path / "s.db", {"problem": "conversations", "response": "conversations"})
    (problem,) = problems
    assert problem.response == "It is \\boxed{6}."
    question = json.dumps(messages_for(load_prompt("extract"), problem))
    assert all(message["content"] in question for message in CHAT)
    ((out,), _) = exported(tmp_path / "s.db", tmp_path / f"a{suffix}")
    asked = TEMPLATES["instruct"].prompt("What is x + x?")
    assert out["prompt"] == [*CHAT[:3], *asked]
    ((out,), _) = exported(tmp_path / "s.db", tmp_path / f"b{suffix}", "--template", "qwen")
    assert out["prompt"] == [TEMPLATES["qwen"].prompt("")[0], *CHAT[1:]]
    ((out,), _) = exported(tmp_path / "s.db", tmp_path / f"c{suffix}", "--template", "raw")
    assert [out["prompt"].index(message["content"]) for message in CHAT] == sorted(
        out["prompt"].index(message["content"]) for message in CHAT
    )


@pytest.mark.parametrize("template", ["instruct", "qwen", "raw"])
def test_a_lift_is_measured_on_the_prompt_of_training(tmp_path: Path, template: str) -> None:
    turns = Problem("p", "a transcript", "6", "It is 6.", turns=CHAT)
    with Store(tmp_path / "s.db") as store:
        store.add_setup(SETUP)
        store.add_problems([turns])
        store.record([AnsweredCall(Key(SETUP.id, "p", 0), "ok", "raw", Strategy(**GOOD).model_dump_json(), 1, 1)])
    _, ask, _, _ = task_of_lift(LiftOptions(student="", template=template, max_new_tokens=1))
    ((out,), _) = exported(tmp_path / "s.db", tmp_path / "a.jsonl", "--template", template)
    assert ask(turns, None) == out["prompt"]
    assert ask(turns, Strategy(**GOOD)) == guided_prompt(out["prompt"], out["strategy"])


def test_one_message_with_a_system_message_keeps_it(tmp_path: Path) -> None:
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 1 + 1?"}]
    row = {"prompt": prompt, "answer": "2", "response": "\\boxed{2}"}
    problems, _ = taken(write_rows(tmp_path / "x.jsonl", [row]), tmp_path / "s.db")
    assert problems[0].problem == "What is 1 + 1?"
    ((out,), _) = exported(tmp_path / "s.db", tmp_path / "a.jsonl")
    assert out["prompt"] == [prompt[0], *TEMPLATES["instruct"].prompt("What is 1 + 1?")]
    ((out,), _) = exported(tmp_path / "s.db", tmp_path / "b.jsonl", "--template", "raw")
    assert out["prompt"] == "Be brief.\n\nWhat is 1 + 1?"


@pytest.mark.parametrize("expert", [(), ("--expert",)])
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_other_columns_keep_their_types_and_clashes_are_renamed(
    tmp_path: Path, suffix: str, expert: tuple[str, ...]
) -> None:
    from datasets import Dataset

    more = [
        {"family": "sums", "level": 3, "weight": 1, "tags": ["a"], "ok": True, "info": {"year": 2024}, "late": None},
        {"family": "sums", "level": 4, "weight": 0.5, "tags": [], "ok": False, "info": {"year": 2025, "x": "y"}},
        {"family": None, "level": 5, "weight": 2, "tags": ["b", "c"], "ok": True, "info": None, "late": "here"},
    ]
    clash = {"model": "their model", "expert": "theirs", "source_model": "taken", "mixed": 1, "none": None, "empty": {}}
    rows = [problem_row(i, **fields, **clash) for i, fields in enumerate(more)]
    rows[1]["mixed"] = "text"
    taken(write_rows(tmp_path / "x.jsonl", rows), tmp_path / "s.db")
    out = tmp_path / f"a{suffix}"
    found, said = exported(tmp_path / "s.db", out, *expert)
    assert "columns of the source: family, level" in said
    assert "model as source_source_model" in said
    for name in ("family", "level", "tags", "ok"):
        assert [row[name] for row in found] == [row.get(name) for row in rows]
        assert [type(row[name]) for row in found] == [type(row.get(name)) for row in rows]
    assert [row["weight"] for row in found] == [1, 0.5, 2]
    assert [row["late"] for row in found] == [None, None, "here"]
    assert found[1]["info"]["x"] == "y"
    assert [row["mixed"] for row in found] == ["1", "text", "1"]
    assert {row["model"] for row in found} == {"m"}
    assert {row["source_source_model"] for row in found} == {"their model"}
    assert {row["source_model"] for row in found} == {"taken"}
    assert {row["source_expert"] for row in found} == {"theirs"}
    assert [row.get("expert") for row in found] == [row["response"] if expert else None for row in rows]
    read = Dataset.from_parquet if suffix == ".parquet" else Dataset.from_json
    assert read(str(out), cache_dir=str(tmp_path / "cache")).num_rows == 3


def test_dates_become_text_and_bytes_are_left_out_with_a_word(tmp_path: Path) -> None:
    import datetime
    import decimal

    import pyarrow as pa
    from pyarrow import parquet

    row = problem_row(1, when=datetime.date(2024, 5, 1), price=decimal.Decimal("1.50"), scan={"bytes": b"\x89PNG"})
    parquet.write_table(pa.Table.from_pylist([row]), tmp_path / "x.parquet")
    assert Source(str(tmp_path / "x.parquet")).describe().endswith("left out, as it holds bytes: scan")
    taken(tmp_path / "x.parquet", tmp_path / "s.db")
    ((out,), _) = exported(tmp_path / "s.db", tmp_path / "a.parquet")
    assert (out["when"], out["price"], "scan" in out) == ("2024-05-01", "1.50", False)


def test_a_store_of_an_earlier_version_gets_the_columns_when_it_is_extracted_again(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "x.jsonl", [problem_row(1, family="sums")])
    taken(path, tmp_path / "s.db")
    import sqlite3

    with sqlite3.connect(tmp_path / "s.db") as db:
        db.execute("DROP TABLE extras")
    ((out,), _) = exported(tmp_path / "s.db", tmp_path / "a.jsonl")
    assert "family" not in out
    taken(path, tmp_path / "s.db")
    ((out,), _) = exported(tmp_path / "s.db", tmp_path / "b.jsonl")
    assert out["family"] == "sums"


def test_a_whole_number_that_fractions_would_round_is_text(tmp_path: Path) -> None:
    """Its type shows in a later portion of the rows. The export ended with an error, after all was paid for."""
    cells: list[Any] = [2**60 + 1, *[1] * 500, 2.5]
    problems = [
        Problem(f"p{i:04}", f"What is {i}?", str(i), "r", columns={"mark": cell}) for i, cell in enumerate(cells)
    ]
    columns = SourceColumns(problems)
    assert str(columns.types["mark"]) == "string"
    assert columns.row(problems[0]) == {"mark": str(2**60 + 1)}
    assert str(SourceColumns(problems[:-1]).types["mark"]) == "int64"


def test_columns_and_a_system_message_that_changed_are_those_of_the_source(tmp_path: Path) -> None:
    """They ask nothing anew, so that the store would have kept what it met first."""

    def row(system: str, **columns: Any) -> dict[str, Any]:
        return (
            problem_row(1, problem=[{"role": "system", "content": system}, {"role": "user", "content": "1 + 1?"}])
            | columns
        )

    taken(write_rows(tmp_path / "x.jsonl", [row("Be brief.", family="sum", level=1)]), tmp_path / "s.db")
    taken(write_rows(tmp_path / "x.jsonl", [row("Think.", family="sums", source="me")]), tmp_path / "s.db")
    ((out,), _) = exported(tmp_path / "s.db", tmp_path / "a.jsonl")
    assert (out["family"], out["level"], out["source"]) == ("sums", 1, "me")
    assert out["prompt"][0] == {"role": "system", "content": "Think."}
    taken(write_rows(tmp_path / "x.jsonl", [problem_row(1, problem="1 + 1?")]), tmp_path / "s.db")
    ((out,), _) = exported(tmp_path / "s.db", tmp_path / "a.jsonl")
    assert ([message["role"] for message in out["prompt"]], out["family"]) == (["user"], "sums")


@pytest.mark.parametrize("kind", ["store", "jsonl", "parquet", "bare"])
def test_check_reads_the_store_and_what_was_exported(tmp_path: Path, kind: str) -> None:
    rows = [problem_row(i) for i in range(21, 24)]
    taken(write_rows(tmp_path / "x.jsonl", rows), tmp_path / "s.db")
    with Store(tmp_path / "s.db") as store:
        leaking = Strategy(**{**GOOD, "strategy": "The answer is 44, write it down."}).model_dump_json()
        store.record([AnsweredCall(Key(SETUP.id, "p22", 1), "ok", "raw", leaking, 1, 1)])
        if kind == "bare":
            store.add_problems([Problem("q", "Another problem", "5", "So 5.")])
    source = tmp_path / ("s.db" if kind == "store" else f"a.{kind if kind != 'bare' else 'jsonl'}")
    if kind != "store":
        exported(tmp_path / "s.db", source, *(["--keep-bare", "--expert"] if kind == "bare" else ["--no-check"]))
    result = CliRunner().invoke(app, ["check", str(source), "--out", str(tmp_path / "v.jsonl")])
    assert result.exit_code == 0, result.output
    verdicts = [row for _, row in read_rows(tmp_path / "v.jsonl")]
    assert len(verdicts) == (3 if kind in ("jsonl", "parquet") else 4)
    assert [row["leak"] for row in verdicts] == [kind == "store" and row["candidate"] == 1 for row in verdicts]
    assert ("had no response to compare with" in result.output) == (kind in ("jsonl", "parquet"))
    assert [row["id"] for row in verdicts if row["reason"] == "no strategy"] == (["q"] if kind == "bare" else [])


def test_check_says_what_is_no_file_of_strategies(tmp_path: Path) -> None:
    from sgpo.strategies.check_files import check_file

    (tmp_path / "x.jsonl").write_text("")
    with pytest.raises(ReadError, match="holds no strategies"):
        check_file(tmp_path / "x.jsonl", tmp_path / "out")
    with pytest.raises(ReadError, match="cannot be read"):
        check_file(tmp_path / "none.jsonl", tmp_path / "out")
