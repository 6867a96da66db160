"""Benchmark files: what is read, and that what is wrong is said at load."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from sgpo.commands._evaluate import names
from sgpo.compare.measure import measurement
from sgpo.data.benchmarks import HUB, BenchmarkError, BenchmarkProblem, load_file, load_hub
from sgpo.runs.files import ReadError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "benchmarks"


def write(path: Path, *rows: Any) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def test_fields_are_read_and_named(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.jsonl",
        {"id": 7, "problem": "p", "answer": "1", "family": "f", "strategy": "s"},
        {"prompt": "q", "answer": 2.5},
        "",
        {"question": "line\u2028separator", "answer": ["a", "b"], "error": "1e-1,1e-3", "unit": "km"},
    )
    assert load_file(path) == [
        BenchmarkProblem("7", "p", "1", group="f", strategy="s"),
        BenchmarkProblem("2", "q", "2.5"),
        BenchmarkProblem("3", "line\u2028separator", ["a", "b"], tolerance=0.1, unit="km"),
    ]


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz"])
def test_rules_come_from_the_meta_file_by_id(ending: str, tmp_path: Path) -> None:
    path = write(
        tmp_path / f"o.{ending}",
        {"id": "a", "problem": "p", "answer": "4.2"},
        {"id": "b", "problem": "q", "answer": "1,3"},
    )
    write(
        tmp_path / "o.meta.jsonl",
        {"id": "b", "is_multiple_answer": True, "error": None, "unit": None, "subfield": "Algebra"},
        {"id": "a", "is_multiple_answer": False, "error": "1e-1", "unit": "%"},
    )
    if ending == "jsonl.gz":
        path.write_bytes(gzip.compress(path.read_bytes()))
    first, second = load_file(path)
    assert (first.tolerance, first.unit, first.multiple) == (0.1, "%", False)
    assert (second.tolerance, second.unit, second.multiple, second.group) == (None, None, True, "Algebra")


def test_rules_without_ids_are_those_of_no_problem(tmp_path: Path) -> None:
    path = write(tmp_path / "o.jsonl", {"problem": "p", "answer": "4.2"}, {"problem": "q", "answer": "3"})
    write(tmp_path / "o.meta.jsonl", {"error": "1"}, {"error": "1e-3"})
    with pytest.raises(BenchmarkError, match="has rules for none of the ids"):
        load_file(path)


def test_a_packed_file_has_the_settings_of_its_benchmark(tmp_path: Path) -> None:
    for name in ("AMC23.jsonl", "AMC23.jsonl.gz"):
        text = (json.dumps(GOOD) + "\n").encode()
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        assert names([], tmp_path / name) == ["amc23"]
        plan, _ = measurement(str(tmp_path / name), {})
        assert (plan.benchmark, plan.k) == ("amc23", 32)


@pytest.mark.parametrize(("text", "several"), [("False", False), ("no", False), ("0", False), ("True", True)])
def test_a_no_of_a_csv_file_is_a_no(text: str, several: bool, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"problem,answer,unit,is_multiple_answer\nx,5,cm,{text}\n")
    assert load_file(path)[0].multiple is several


def test_rules_for_other_problems_are_not_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "o.jsonl", {"problem": "p", "answer": "4.2"})
    write(tmp_path / "o.meta.jsonl", {"id": "olympiad/1", "error": "1e-1"})
    with pytest.raises(BenchmarkError, match=r"o\.meta\.jsonl has rules for none of the ids in o\.jsonl"):
        load_file(path)


GOOD = {"id": "a", "problem": "p", "answer": "1"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([GOOD, {"id": "b", "answer": "1"}], r"row 2: no field 'problem'.*\['answer', 'id'\]"),
        ([{"problem": "p"}], "row 1: no field 'answer'"),
        ([{**GOOD, "answer": " "}], "row 1: 'answer' must be text or a number and not empty"),
        ([{**GOOD, "answer": None}], "not 'None'"),
        ([{**GOOD, "answer": True}], "not 'True'"),
        ([{**GOOD, "answer": []}], r"not '\[\]'"),
        ([{**GOOD, "problem": "\n"}], "'problem' must be text that is not blank"),
        ([{**GOOD, "problem": [{"role": "user"}]}], "'problem' must be text"),
        ([{**GOOD, "strategy": ""}], "'strategy' must be text"),
        ([{**GOOD, "error": "small"}], "'error' must be a tolerance"),
        ([{**GOOD, "tolerance": "small"}], "'tolerance' must be a tolerance"),
        ([GOOD, {**GOOD, "problem": "q"}], "row 2: the id 'a' is that of row 1"),
        ([GOOD, {**GOOD, "id": 1}, {**GOOD, "id": "1"}], "row 3: the id '1' is that of row 2"),
        ([GOOD, "{"], "line 2: not valid JSON"),
        ([GOOD, "[1]"], "line 2: a list, not a JSON object"),
        (["[" * 100_000], "line 1: not valid JSON"),
        ([], "no problems"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(ReadError, match=message):
        load_file(write(tmp_path / "x.jsonl", *rows))


def test_a_tolerance_has_two_names(tmp_path: Path) -> None:
    """That of rewards, and OlympiadBench's: what training calls right, an evaluation must not call wrong."""
    cells = (
        {"tolerance": 0.1},
        {"error": "1e-1"},
        {"tolerance": None, "error": "0.1"},
        {"tolerance": float("nan")},
        {},
    )
    rows = [{**GOOD, "id": i, **cell} for i, cell in enumerate(cells)]
    assert [p.tolerance for p in load_file(write(tmp_path / "x.jsonl", *rows))] == [0.1, 0.1, 0.1, None, None]


def test_all_faults_are_counted(tmp_path: Path) -> None:
    rows = [{"problem": "p"}] * 9 + [{**GOOD, "id": i, "error": f"small {i}"} for i in range(6)]
    path = write(tmp_path / "x.jsonl", *rows)
    words = r"15 bad row\(s\): row 1 and 8 more: no field 'answer'.*; row 13: 'error'.*; and 2 more kinds\."
    with pytest.raises(BenchmarkError, match=words):
        load_file(path)


@pytest.mark.parametrize("name", ["answer", "solution", "ground_truth", "gold"])
def test_the_columns_of_init_are_those_of_an_evaluation(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", {"question": "p", name: "1"})
    assert [(each.problem, each.answer) for each in load_file(path)] == [("p", "1")]


def test_messages_are_whole_prompts(tmp_path: Path) -> None:
    """As training data have them: what was trained on is measured as it was asked."""
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is {2} + 3?"}]
    rows = ({"prompt": turns, "answer": "5"}, {"prompt": json.dumps(turns[1:]), "answer": "5"})
    first, second = load_file(write(tmp_path / "x.jsonl", *rows))
    assert (first.problem, first.prompt) == ("What is {2} + 3?", turns)
    assert second.prompt == turns[1:]


@pytest.mark.parametrize(
    "last", [{"role": "assistant", "content": "It is 5."}, {"role": "tool", "content": "5"}], ids=["assistant", "tool"]
)
def test_messages_that_do_not_end_with_a_question_are_refused(last: dict[str, str], tmp_path: Path) -> None:
    rows = {"prompt": [{"role": "user", "content": "p"}, last], "answer": "1"}
    with pytest.raises(BenchmarkError, match="'prompt' holds messages that do not end with the user's"):
        load_file(write(tmp_path / "x.jsonl", rows))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="there is no such file"):
        load_file(tmp_path / "none.jsonl")
    (tmp_path / "x.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReadError, match="UTF-16"):
        load_file(tmp_path / "x.jsonl")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared benchmark files are not here")
@pytest.mark.parametrize(
    ("name", "rows"), [("MATH500", 500), ("AMC23", 40), ("AIME24", 30), ("OlympiadBench", 675), ("GSM8K_200", 200)]
)
def test_the_shared_files_load_and_their_golds_are_usable(name: str, rows: int) -> None:
    from sgpo.evaluation.grading import VerifyGrader

    problems = load_file(SHARED / f"{name}.jsonl")
    assert len(problems) == rows
    assert VerifyGrader().check(problems) == []
    if name == "OlympiadBench":
        assert sum(problem.multiple for problem in problems) == 94
        assert [problem.tolerance for problem in problems if problem.tolerance] == [0.1]
        assert sum(problem.unit is not None for problem in problems) == 8


HUB_ROWS: dict[str, tuple[dict[str, Any], BenchmarkProblem]] = {
    "math500": (
        {
            "problem": "p",
            "solution": "s",
            "answer": "x^2",
            "subject": "Algebra",
            "level": 2,
            "unique_id": "test/1.json",
        },
        BenchmarkProblem("test/1.json", "p", "x^2", group="Algebra"),
    ),
    "amc23": ({"id": 4, "question": "p", "answer": 27.0, "url": "u"}, BenchmarkProblem("4", "p", "27")),
    "aime24": ({"id": 60, "problem": "p", "answer": "033"}, BenchmarkProblem("60", "p", "33")),
    "aime25": ({"id": "0", "problem": "p", "answer": "70"}, BenchmarkProblem("0", "p", "70")),
    "gsm8k": ({"question": "p", "answer": "2 + 1 = 3\n#### 1,203"}, BenchmarkProblem("1", "p", "1203")),
    "olympiadbench": (
        {
            "id": 1606,
            "question": "p",
            "final_answer": ["1", "3"],
            "is_multiple_answer": True,
            "unit": "km",
            "error": "1e-1",
            "subfield": "Algebra",
        },
        BenchmarkProblem("1606", "p", ["1", "3"], group="Algebra", tolerance=0.1, unit="km", multiple=True),
    ),
}


@pytest.mark.parametrize("name", sorted(HUB))
def test_hub_rows_become_problems(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    import pyarrow as pa
    from pyarrow import parquet

    row, expected = HUB_ROWS[name]
    asked: list[Any] = []

    def download(repo: str, file: str, *, revision: str, repo_type: str) -> str:
        asked.append((repo, file, revision, repo_type))
        path = tmp_path / Path(file).name
        others = range(10_000, 10_000 + HUB[name].rows - 1)
        numbered = isinstance(row.get("id"), int)
        rows = [row, *({**row, "id": i if numbered else str(i), "unique_id": str(i)} for i in others)]
        rows = [{key: one[key] for key in row} for one in rows]
        if path.suffix == ".parquet":
            parquet.write_table(pa.Table.from_pylist(rows), path)
        else:
            write(path, *rows)
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    problems = load_hub(name)
    assert problems[0] == expected
    assert len(problems) == HUB[name].rows
    assert asked == [(HUB[name].repo, HUB[name].file, HUB[name].revision, "dataset")]
    assert len(HUB[name].revision) == 40


def test_without_a_network_the_message_says_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def download(*_: Any, **__: Any) -> str:
        raise ConnectionError("Name or service not known\nmore")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(
        BenchmarkError, match=r"not known\. Without a network give --benchmark aime24 --data PATH"
    ) as caught:
        load_hub("aime24")
    assert "more" not in str(caught.value)


def test_a_hub_file_of_another_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    path = write(tmp_path / "test.jsonl", {"id": "0", "problem": "p", "answer": "70"})
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: str(path))
    with pytest.raises(BenchmarkError, match="has 1 problems, not 30"):
        load_hub("aime25")


def test_an_unknown_benchmark_names_the_known_ones() -> None:
    with pytest.raises(BenchmarkError, match=r"'math' is unknown \(did you mean math500\?\); choose from math500"):
        load_hub("math")
