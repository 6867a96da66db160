"""The contamination check: what counts as the same problem, and what does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sgpo.commands.data import app
from sgpo.data.benchmarks import BenchmarkError
from sgpo.data.normal_form import normal_tokens
from sgpo.data.overlap import ComparedText, find_overlap, load_texts
from sgpo.runs.files import ReadError

LONG = "Alice has 12 apples and gives 5 of them to Bob, who eats half of what he has. How many apples are left in all?"
OTHER = (
    "A train leaves the station at noon and travels at a constant speed of 80 kilometres per hour towards the coast."
)


def kinds(train: str, evaluation: str, **options: float) -> list[tuple[str, float]]:
    pairs = find_overlap([ComparedText("t", train)], [ComparedText("e", evaluation)], **options)  # type: ignore[arg-type]
    return [(pair.kind, round(pair.similarity, 2)) for pair in pairs]


@pytest.mark.parametrize(
    "train",
    [
        LONG,
        LONG.upper(),
        LONG.replace(" ", "\n  "),
        LONG.replace(".", "!?").replace(",", ";").replace("!", ""),
        LONG.replace("12", "$12$"),
        LONG.replace("12", "\uff11\uff12"),
    ],
)
def test_layout_does_not_count(train: str) -> None:
    assert kinds(train, LONG) == [("exact", 1.0)]


def test_latex_layout_does_not_count() -> None:
    a = r"Compute $\left(\dfrac{1}{2}\right) \cdot x\,\text{ km}$ for $x \times 3$."
    b = r"compute ( \frac{1}{2} ) × x km for \( x * 3 \)"
    assert normal_tokens(a) == normal_tokens(b)
    assert normal_tokens("x + 1") != normal_tokens("x - 1")
    assert normal_tokens("x > 1") != normal_tokens("x < 1")


def test_a_problem_inside_a_longer_text_is_near() -> None:
    assert kinds(f"Solve this. {LONG} Put the answer in a box.", LONG) == [("near", 1.0)]


def test_similarity_is_the_share_of_the_evaluation_problem() -> None:
    words = [f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(24)]
    evaluation, half = " ".join(words), " ".join(words[:12])
    # 17 n-grams of 8 in 24 words, 5 of them in the first 12.
    assert kinds(half, evaluation, threshold=0.29) == [("near", round(5 / 17, 2))]
    assert kinds(half, evaluation, threshold=0.30) == []
    assert kinds(half, evaluation, threshold=0.5, n=2) == []  # 11 of 23
    assert kinds(half, evaluation, threshold=0.47, n=2) == [("near", round(11 / 23, 2))]


def test_other_problems_do_not_match() -> None:
    assert kinds(OTHER, LONG) == []
    assert kinds(LONG.replace("Alice", "Carol"), OTHER) == []


def test_short_problems() -> None:
    assert kinds("Compute sin of 60 degrees", "compute SIN of 60 degrees.") == [("exact", 1.0)]
    assert kinds("Please compute sin of 60 degrees now", "Compute sin of 60 degrees") == [("near", 1.0)]
    assert kinds("What is 2 + 2 + 2?", "2 + 2") == []  # three tokens are in everything
    assert kinds("2 + 2", "2+2") == [("exact", 1.0)]
    assert kinds("", "") == []


def test_every_pair_is_listed_the_most_similar_first() -> None:
    train = [
        ComparedText("near", f"Please. {LONG}"),
        ComparedText("same", LONG),
        ComparedText("same again", LONG),
        ComparedText("not", OTHER),
    ]
    pairs = find_overlap(train, [ComparedText("e1", LONG), ComparedText("e2", LONG)])
    assert [(pair.kind, pair.eval, pair.train) for pair in pairs] == [
        ("exact", "e1", "same"),
        ("exact", "e1", "same again"),
        ("exact", "e2", "same"),
        ("exact", "e2", "same again"),
        ("near", "e1", "near"),
        ("near", "e2", "near"),
    ]


@pytest.mark.parametrize(("options", "message"), [({"n": 1}, "n = 1"), ({"threshold": 0.0}, "threshold = 0")])
def test_settings_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_overlap([], [], **options)  # type: ignore[arg-type]


def test_conversations_and_parquet_are_read(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": LONG}]
    parquet.write_table(pa.Table.from_pylist([{"prompt": chat}]), tmp_path / "x.parquet")
    assert load_texts(tmp_path / "x.parquet") == [ComparedText("1", LONG)]
    (tmp_path / "y.parquet").write_text("no parquet")
    with pytest.raises(ReadError, match="cannot be read as parquet"):
        load_texts(tmp_path / "y.parquet")
    (tmp_path / "z.jsonl").write_text('{"text": "p"}\n')
    with pytest.raises(BenchmarkError, match=r"line 1: no problem in the fields problem.*\['text'\]"):
        load_texts(tmp_path / "z.jsonl")


def test_the_command_lists_the_pairs(tmp_path: Path) -> None:
    train, evaluation, out = tmp_path / "train.jsonl", tmp_path / "eval.jsonl", tmp_path / "pairs.jsonl"
    train.write_text(
        json.dumps({"id": "t1", "problem": LONG}) + "\n" + json.dumps({"id": "t2", "problem": OTHER}) + "\n"
    )
    evaluation.write_text(json.dumps({"id": "e1", "problem": f"Q: {LONG}", "answer": "1"}) + "\n")
    arguments = ["overlap", str(train), str(evaluation), "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "1 of 1 evaluation problems are in the 2 training problems: 0 exact and 1 near pairs" in result.output
    assert "e1  <-  t1" in result.output
    [pair] = [json.loads(line) for line in out.read_text().splitlines()]
    assert (pair["kind"], pair["train"], pair["eval"], pair["train_text"]) == ("near", "t1", "e1", LONG)
    assert CliRunner().invoke(app, [*arguments, "--fail"]).exit_code == 1
    assert CliRunner().invoke(app, [*arguments, "--fail", "--threshold", "1.0"]).exit_code == 0
