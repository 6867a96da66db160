"""One loader for every command: what one reads all read, what one refuses all refuse with file, line and remedy."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sgpo.cli import app
from sgpo.data.benchmarks import load_file
from sgpo.data.overlap import load_texts
from sgpo.data.tables import count_rows, number_text, read_table
from sgpo.evaluation.templates import load_strategies
from sgpo.rewards import verify
from sgpo.rewards.files import read_items
from sgpo.runs.files import ReadError
from sgpo.strategies.check_files import check_file
from sgpo.strategies.sources import Source

ROW = {
    "id": "a",
    "problem": "Was ist 1 + 1 für ü?",
    "prompt": "Was ist 1 + 1?",
    "answer": "02",
    "gold": "02",
    "response": "\\boxed{2}",
    "strategy": "Add the parts.",
}
ROWS = [{**ROW, "id": f"p{i}"} for i in range(3)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def as_csv(end: str) -> bytes:
    rows = [",".join(ROW), *(",".join(f'"{value}"' for value in row.values()) for row in ROWS)]
    return "".join(row + end for row in rows).encode("utf-8-sig")


READ: dict[str, tuple[str, bytes]] = {
    "lines": (".jsonl", LINES.encode()),
    "byte order mark": (".jsonl", LINES.encode("utf-8-sig")),
    "windows": (".jsonl", LINES.replace("\n", "\r\n\r\n").encode("utf-8-sig")),
    "list": (".json", json.dumps(ROWS, indent=2).encode()),
    "list with a byte order mark": (".json", json.dumps(ROWS).encode("utf-8-sig")),
    "list in a jsonl": (".jsonl", json.dumps(ROWS).encode()),
    "lines in a json": (".json", LINES.encode()),
    "gzip": (".jsonl.gz", gzip.compress(LINES.encode())),
    "csv": (".csv", as_csv("\n")),
    "csv of windows": (".csv", as_csv("\r\n")),
    "csv with the index of pandas": (".csv", re.sub(rb"(?m)^(?=\S)", b"0,", as_csv("\n")[3:]).replace(b"0,id", b",id")),
    "capitals": (".JSONL", LINES.encode()),
}
LATIN = LINES.encode("latin-1")
REFUSED: dict[str, tuple[str, bytes, str]] = {
    "latin-1": (".jsonl", LATIN, "line 1: the byte 0xfc"),
    "latin-1 csv": (".csv", as_csv("\n").decode("utf-8-sig").encode("latin-1"), "line 2: the byte 0xfc"),
    "utf-16": (".jsonl", LINES.encode("utf-16"), "UTF-16 text; convert it"),
    "utf-16 csv": (".csv", as_csv("\n").decode("utf-8-sig").encode("utf-16"), "UTF-16 text; convert it"),
    "list that is cut off": (".json", json.dumps(ROWS, indent=2).encode()[:-9], "not valid JSON"),
    "wide csv": (".csv", as_csv("\n") + b"1,2\n", "line 5: 2 cells where the first line names 7 columns"),
    "csv of semicolons": (".csv", b"id;problem;answer\n1;2;3\n", "line 1: columns are parted by ';'"),
    "csv of tabs": (".csv", b"id\tproblem\tanswer\n1\t2\t3\n", "line 1: columns are parted by"),
    "nothing but broken lines": (".jsonl", b"\n{'id': 1}\n{]\n", "line 2: not valid JSON"),
    "arrow by another name": (".jsonl", b"ARROW1\0\0\xff", "an Arrow file"),
    "no parquet": (".parquet", b"PAR1", "cannot be read as parquet"),
    "parquet by another name": (".jsonl", b"PAR1\x15\x04\x00", "a parquet file; name it .parquet"),
    "torn gzip": (".jsonl.gz", gzip.compress(LINES.encode())[:-12], "cannot be read"),
}


def training(path: Path) -> list[Any]:
    from sgpo.recipe.data import _read

    return _read(str(path), None, "train", "dataset_name")["id"]


def checked(path: Path) -> list[Any]:
    out = path.with_name("out.jsonl")
    check_file(path, out)
    return [row["id"] for _, row in read_table(out)]


COMMANDS: dict[str, Callable[[Path], list[Any]]] = {
    "eval": lambda path: [problem.id for problem in load_file(path)],
    "eval --strategies": lambda path: list(load_strategies(path)),
    "overlap": lambda path: [text.id for text in load_texts(path)],
    "verify": lambda path: [item["id"] for item in read_items(path)],
    "extract": lambda path: [row.id for row in Source(str(path)).rows()],
    "train": training,
}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reads_the_same(tmp_path: Path, command: str) -> None:
    for name, (suffix, data) in READ.items():
        path = tmp_path / f"{name.replace(' ', '_')}{suffix}"
        path.write_bytes(data)
        assert COMMANDS[command](path) == ["p0", "p1", "p2"], name


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_the_same(tmp_path: Path, command: str) -> None:
    for name, (suffix, data, message) in REFUSED.items():
        path = tmp_path / f"{name.replace(' ', '_')}{suffix}"
        path.write_bytes(data)
        with pytest.raises(ValueError) as caught:
            COMMANDS[command](path)
        assert message in str(caught.value), name
        assert path.name in str(caught.value), name


def test_check_reads_lists_and_refuses_bytes(tmp_path: Path) -> None:
    strategy = {"problem_type": "sums", "strategy": "Add the parts.", "steps": "Add."}
    rows = [{**row, "strategy": strategy} for row in ROWS]
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8-sig")
    assert checked(tmp_path / "a.json") == ["p0", "p1", "p2"]
    (tmp_path / "a.jsonl").write_bytes(LATIN)
    with pytest.raises(ReadError, match="line 1: the byte 0xfc"):
        checked(tmp_path / "a.jsonl")


def test_a_result_takes_the_place_of_its_like_alone(tmp_path: Path) -> None:
    """Responses that were paid for, or problems, would be gone: they are not in what a command writes."""
    data, store, out = tmp_path / "data.jsonl", tmp_path / "s.db", tmp_path / "out.jsonl"
    data.write_text(LINES)
    run = CliRunner().invoke
    assert run(app, ["strategies", "import", str(data), "--store", str(store)]).exit_code == 0
    given = [str(data), "--out"]
    for command in (
        ["strategies", "export", "--store", str(store)],
        ["strategies", "library", "--store", str(store), "--problems", *given],
        ["strategies", "check", *given],
        ["data", "overlap", str(data), *given],
    ):
        for other in (data, store) if "check" in command else (data,):
            done = run(app, [*command, str(other)])
            assert "holds other data, which would be lost; give another path" in str(done.exception), command
        for _ in range(2):  # its own earlier result is replaced
            done = run(app, [*command, str(out)])
            assert done.exit_code == 0, done.output
        out.unlink()
    for _ in range(2):  # whatever it is called
        done = run(app, ["strategies", "check", *given, str(tmp_path / "verdicts.csv")])
        assert done.exit_code == 0, done.output
    assert (data.read_text(), store.read_bytes()[:6]) == (LINES, b"SQLite")


def test_a_number_of_numpy_is_written_as_that_of_python() -> None:
    assert [number_text(np.float64(value)) for value in (0.125, 1 / 3, 2.5)] == ["0.125", "1/3", "2.5"]


def test_golds_may_be_numbers_of_any_kind_and_lists_of_them(tmp_path: Path) -> None:
    from decimal import Decimal

    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    golds: list[tuple[Any, str | list[str]]] = [
        (10**400, str(10**400)),
        (2.5, "2.5"),
        (1 / 3, "1/3"),  # as a double says it, which no response does
        (0.1 + 0.2, "0.3"),
        (math.pi, "3.141592653589793"),  # what a program prints
        ([2], "2"),
        ([2, 3.5], ["2", "3.5"]),
        (["2", "x"], ["2", "x"]),
    ]
    for gold, text in golds:
        (tmp_path / "a.jsonl").write_text(json.dumps({**ROW, "answer": gold}))
        assert load_file(tmp_path / "a.jsonl")[0].answer == text
        (row,) = Source(str(tmp_path / "a.jsonl")).rows()
        assert row.answer == (text if isinstance(text, str) else ", ".join(text))
    table = pa.Table.from_pylist([{**ROW, "answer": Decimal("2.50")}])
    parquet.write_table(table, tmp_path / "a.parquet")
    assert load_file(tmp_path / "a.parquet")[0].answer == "2.50"
    assert next(Source(str(tmp_path / "a.parquet")).rows()).answer == "2.50"
    for bad in ("NaN", "Infinity", "null", "true", "[]", '["2", null]', "{}", '" "', "[[2]]"):
        (tmp_path / "a.jsonl").write_text(json.dumps({**ROW, "answer": 0}).replace(" 0,", f" {bad},"))
        with pytest.raises(ValueError, match="must be text or a number"):
            load_file(tmp_path / "a.jsonl")
        (row,) = Source(str(tmp_path / "a.jsonl"), columns={"answer": "answer"}).rows()
        assert (row.fault, bad) == ("no_answer", bad)


def test_golds_of_32_bits_are_the_numbers_that_they_stand_for(tmp_path: Path) -> None:
    """``datasets`` and pandas have columns of such floats, which Python reads with the digits of a double."""
    import pyarrow as pa
    from pyarrow import parquet

    golds = {0.1: "0.1", 1 / 3: "1/3", 2 / 3: "2/3", 2.5: "2.5", 1234.567: "1234.567", 1e-5: "1e-05", 19.99: "19.99"}
    golds |= {math.pi: "3.1415927", 7.0: "7.0", -0.7: "-0.7", 0.1234567: "0.1234567", -3 / 2**18: str(-3 / 2**18)}
    table = pa.table({"problem": ["q"] * len(golds), "answer": pa.array(golds, pa.float32())})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert [problem.answer for problem in load_file(tmp_path / "a.parquet")] == list(golds.values())
    assert [number_text(np.float32(gold)) for gold in golds] == list(golds.values())
    assert [verify(f"\\boxed{{{gold}}}", np.float32(gold)).correct for gold in ("0.1", "19.99")] == [True, True]


def test_text_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,answer\nq,033\nr,\n")
    assert [row for _, row in read_table(tmp_path / "a.csv")] == [
        {"prompt": "q", "answer": "033"},
        {"prompt": "r", "answer": None},
    ]
    from sgpo.recipe.data import _read

    assert _read(str(tmp_path / "a.csv"), None, "train[:1]", "dataset_name")["answer"] == ["033"]
    (tmp_path / "b.jsonl").write_text('{"id": 1, "answer": "033"}\n{"id": 2.5, "answer": 33}\n')
    with pytest.raises(ValueError, match=r"line 2: 'answer' is a number, but text in .*line 1"):
        _read(str(tmp_path / "b.jsonl"), None, "train", "dataset_name")


def test_rows_are_counted_where_lines_tell(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("\n" + LINES + "\n", encoding="utf-8")
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    assert [count_rows(tmp_path / f"a.{kind}") for kind in ("parquet", "jsonl", "json")] == [3, 3, None]
    assert [row["id"] for _, row in read_table(tmp_path / "a.parquet")] == ["p0", "p1", "p2"]


def test_a_part_of_a_file_of_text_has_the_types_of_all_of_it(tmp_path: Path) -> None:
    """Else two parts of one file, one to train on and one held out, could not be put together."""
    from sgpo.data.text_datasets import text_dataset

    for name, answers in {"a": [1, 2], "b": [2.5]}.items():
        (tmp_path / name).with_suffix(".jsonl").write_text("".join(f'{{"answer": {answer}}}\n' for answer in answers))
    files = {name: [tmp_path / f"{name}.jsonl"] for name in "ab"}
    whole = text_dataset(files, "a+b")
    assert whole["answer"][:] == [1, 2, 2.5]
    assert text_dataset(files, "a[:1]+b")["answer"][:] == [1, 2.5]
    (tmp_path / "c.jsonl").write_text('{"answer": null}\n{"answer": "x"}\n')
    parts = [text_dataset({"train": [tmp_path / "c.jsonl"]}, f"train[{part}]") for part in (":1", "1:", ":0")]
    assert [part.features for part in parts] == [parts[1].features] * 3
    assert [part["answer"][:] for part in parts] == [[None], ["x"], []]
