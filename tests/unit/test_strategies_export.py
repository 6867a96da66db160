"""Data sets for the trainer, what `show` and `stats` print, estimates, and prompts of the user's."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from strategies_kit import GOOD, problems_file
from typer.testing import CliRunner

from sgpo.commands.strategies import app
from sgpo.strategies.check import RULES
from sgpo.strategies.estimate import estimate_extraction
from sgpo.strategies.export import choose, export, push
from sgpo.strategies.extract import messages_for
from sgpo.strategies.options import AskedModelOptions, ExportOptions, ExtractOptions, SpendingOptions
from sgpo.strategies.records import AnsweredCall, Key, Problem, Setup
from sgpo.strategies.schema import Strategy
from sgpo.strategies.sources import Source
from sgpo.strategies.store import Store
from sgpo.strategies.templates import load_prompt

SETUP = Setup("extract", "m", "extract.v1", "abcdef0123456789", {"seed": 0})
LEAKING = "The answer is 4711, so write it down."


def filled(path: Path, problems: dict[str, list[str]]) -> Path:
    """Problems with the answer 4711 and candidates by their strategy's text."""
    with Store(path) as store:
        store.add_setup(SETUP)
        for id, texts in problems.items():
            store.add_problems([Problem(id, f"Problem {id}", "4711", "We find \\boxed{4711}.")])
            for i, text in enumerate(texts):
                parsed = Strategy(**{**GOOD, "strategy": text}).model_dump_json()
                store.record([AnsweredCall(Key(SETUP.id, id, i), "ok", "raw", parsed, 40, 10, seconds=2.0)])
    return path


def place(path: Path, problem: str, *places: int) -> None:
    with Store(path) as store:
        store.note(
            (c.id, "rank", {"place": p, "kept": p == 1, "score": 20.0 - p})
            for c, p in zip(store.candidates(problem), places, strict=True)
        )


def as_messages(problem: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": problem}]


def test_the_best_ranked_that_does_not_leak_is_chosen(tmp_path: Path) -> None:
    path = filled(tmp_path / "s.db", {"a": ["good", LEAKING, "better"], "b": ["one", "two"], "c": [LEAKING], "d": []})
    place(path, "a", 3, 1, 2)
    with Store(path) as store:
        problems = {p.id: p for p in store.problems()}
        found = {id: choose(store, problem) for id, problem in problems.items()}
        assert {id: (c and c.strategy.strategy, kind) for id, (c, kind) in found.items()} == {
            "a": ("better", "ok"),
            "b": ("one", "ok"),
            "c": (None, "all_leak"),
            "d": (None, "no_candidate"),
        }
        verdicts = [c.notes.get("check", {}).get("leak") for c in store.candidates("a")]
        assert verdicts == [None, True, False]  # noted, and no more were checked than needed
        chosen, _ = choose(store, problems["a"], check=False)
        assert chosen is not None
        assert chosen.strategy.strategy == LEAKING


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_the_file_trains(suffix: str, tmp_path: Path) -> None:
    from datasets import Dataset

    from sgpo.trainer import SGPOConfig
    from sgpo.trainer.checks import check_dataset

    path = filled(tmp_path / "s.db", {"a": ["good", "other"], "b": [LEAKING], "c": ["fine"]})
    place(path, "a", 2, 1)
    out = tmp_path / f"data{suffix}"
    with Store(path) as store:
        assert export(store, ExportOptions(out=out), as_messages) == {"ok": 2, "all_leak": 1}
    read = Dataset.from_parquet if suffix == ".parquet" else Dataset.from_json
    data = read(str(out), cache_dir=str(tmp_path / "cache"))
    check_dataset(data, SGPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False))
    assert data[0] == {
        "prompt": as_messages("Problem a"),
        "strategy": Strategy(**{**GOOD, "strategy": "other"}).text(),
        "answer": "4711",
        "id": "a",
        "problem_type": "addition",
        "model": "m",
        "prompt_version": "extract.v1@abcdef012345",
        "candidate": 1,
        "score": 19.0,
        "candidate_id": Key(SETUP.id, "a", 1).id,
    }
    assert data[1]["score"] is None


def test_a_verdict_of_older_rules_is_made_anew_and_one_of_these_is_kept(tmp_path: Path) -> None:
    path = filled(tmp_path / "s.db", {"a": ["good"]})
    with Store(path) as store:
        (problem,) = store.problems()
        for rules, leaking in ((RULES - 1, False), (RULES, True)):
            (candidate,) = store.candidates("a")
            store.note([(candidate.id, "check", {"leak": True, "kind": "", "reason": "", "rules": rules})])
            assert (choose(store, problem)[1] == "all_leak") is leaking


def test_problems_without_a_strategy_can_be_kept_and_prompts_be_plain(tmp_path: Path) -> None:
    path = filled(tmp_path / "s.db", {"a": ["good"], "b": []})
    out = tmp_path / "new" / "data.jsonl"
    with Store(path) as store:
        export(store, ExportOptions(out=out, keep_bare=True), str)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["prompt"], row["strategy"] is None) for row in rows] == [("Problem a", False), ("Problem b", True)]
    assert list(tmp_path.glob("new/*")) == [out]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_the_experts_response_is_a_column_that_the_baselines_train_on(suffix: str, tmp_path: Path) -> None:
    from datasets import Dataset

    from sgpo.trainer.expert import check_expert_column

    path, out = filled(tmp_path / "s.db", {"a": ["good"], "b": []}), tmp_path / f"data{suffix}"
    words = ["export", str(out), "--store", str(path), "--keep-bare"]
    read = Dataset.from_parquet if suffix == ".parquet" else Dataset.from_json
    for more in ([], ["--expert"]):
        assert CliRunner().invoke(app, [*words, *more]).exit_code == 0
        data = read(str(out), cache_dir=str(tmp_path / f"cache{len(more)}"))
        assert ("expert" in data.column_names) == bool(more)
    check_expert_column(data, "expert")
    assert data["expert"] == ["We find \\boxed{4711}."] * 2


def test_exports_that_cannot_be(tmp_path: Path) -> None:
    with Store(filled(tmp_path / "s.db", {"a": [LEAKING]})) as store:
        with pytest.raises(ValueError, match=r"must end in .parquet or .jsonl"):
            ExportOptions(out=tmp_path / "x.csv")
        before = '{"candidate_id": "of an earlier export"}'
        (tmp_path / "x.jsonl").write_text(before)
        with pytest.raises(
            ValueError, match=r"Nothing to export: all_leak 1\. all_leak: .*sgpo strategies show"
        ) as said:
            export(store, ExportOptions(out=tmp_path / "x.jsonl"), str)
        assert "extract" not in str(said.value)
    with (
        Store(filled(tmp_path / "none.db", {"a": []})) as store,
        pytest.raises(ValueError, match=r"no_candidate 1\. no_candidate: run sgpo strategies extract"),
    ):
        export(store, ExportOptions(out=tmp_path / "x.jsonl"), str)
    assert (tmp_path / "x.jsonl").read_text() == before


def test_a_push_that_fails_says_that_the_file_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: dict[str, Any] = {}

    def refuse(self: Any, repo: str, private: bool) -> None:
        asked.update(repo=repo, private=private)
        raise PermissionError("log in first")

    monkeypatch.setattr(datasets.Dataset, "push_to_hub", refuse)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "data.jsonl"
    out.write_text('{"prompt": "a"}\n')
    with pytest.raises(ValueError, match=r"is written, but could not be pushed to 'me/data'.*log in first"):
        push(out, "me/data")
    assert asked == {"repo": "me/data", "private": True}


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_show_prints_hostile_text_as_it_is(tmp_path: Path) -> None:
    hostile = "[bold red]not markup[/] [link=http://x]y[/link] [/nonsense]"
    path = filled(tmp_path / "s.db", {"a": [hostile], "b": [], "c": ["x"]})
    place(path, "a", 1)
    reason = "answer: " + "a quotation that is wider than a terminal, " * 4
    with Store(path) as store:
        store.note([(store.candidates("a")[0].id, "check", {"leak": True, "reason": reason})])
    result = invoke("show", "--store", path, "--limit", 2)
    assert result.exit_code == 0, result.output
    flat = re.sub(r"[\s│]+", " ", result.output)
    assert hostile in flat
    assert f"place 1 (19.0 of 20) kept by rank, leaks: {reason.strip()}" in flat
    assert "no candidate" in flat
    assert "Problem c" not in flat
    assert "Problem c" in invoke("show", "c", "--store", path).output
    assert "has no problem 'z'" in str(invoke("show", "z", "--store", path).exception)


def test_stats_count_everything(tmp_path: Path) -> None:
    path = filled(tmp_path / "s.db", {"a": ["x", "y"], "b": [LEAKING], "c": []})
    place(path, "a", 2, 1)
    with Store(path) as store:
        store.add_problems([Problem("d", "", "", "", "unverified:different")])
        store.record([AnsweredCall(Key(SETUP.id, "c", 0), "refusal", "no", None, 40, 10)])
        for problem in store.problems():
            choose(store, problem)
    found = json.loads(invoke("stats", "--store", path, "--json").stdout)
    assert found["problems"] == {"ok": 3, "unverified:different": 1}
    assert found["candidates_per_problem"] == {"0": 1, "1": 1, "2": 1}
    assert (found["kept"], found["leaks"], found["checked"]) == (1, 1, 2)
    (setup,) = found["setups"]
    assert setup["outcomes"] == {"ok": 3, "refusal": 1}
    assert (setup["prompt_tokens"], setup["completion_tokens"]) == (160, 40)
    printed = invoke("stats", "--store", path).output
    assert "1 with 0, 1 with 1, 1 with 2" in printed
    assert "ok 3, refusal 1" in " ".join(printed.split())


def test_an_estimate_by_hand(tmp_path: Path) -> None:
    path = problems_file(tmp_path / "p.jsonl", 400)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(
        "".join(json.dumps({**row, "answer": "-1"} if i % 4 == 0 else row) + "\n" for i, row in enumerate(rows))
    )
    prompt = load_prompt("extract")
    options = ExtractOptions(
        model="m",
        source=str(path),
        access=AskedModelOptions(concurrency=10),
        spending=SpendingOptions(price_in=1.0, price_out=2.0),
    )
    found = estimate_extraction(Source(str(path)), None, prompt, options)
    assert (found.rows, found.sampled, found.measured) == (400, 200, 0)
    assert abs(found.usable - 300) < 30
    assert found.calls == 5 * found.usable
    length = sum(
        len(m["content"].encode())
        for m in messages_for(prompt, Problem("", "What is 9 + 9?", "", "It is \\boxed{18}."))
    )
    assert found.prompt_tokens == pytest.approx(found.calls * length / 3.5, rel=0.01)
    assert found.completion_tokens == found.calls * 400
    assert found.cost == pytest.approx((found.prompt_tokens + 2 * found.completion_tokens) / 1e6)
    assert found.seconds == pytest.approx(found.calls * 8.0 / 10)
    assert estimate_extraction(Source(str(path)), None, prompt, replace(options, limit=7)).calls == 35


def test_an_estimate_goes_by_what_the_store_has_measured(tmp_path: Path) -> None:
    path = filled(tmp_path / "s.db", {"a": ["x"] * 6})
    source = Source(str(problems_file(tmp_path / "p.jsonl", 10)))
    prompt = load_prompt("extract")
    options = ExtractOptions(model="m", source=source.name, n=1, access=AskedModelOptions(concurrency=1))
    with Store(path) as store:
        found = estimate_extraction(source, store, prompt, options)
        assert (found.measured, found.prompt_tokens, found.completion_tokens) == (6, 400, 100)
        assert (found.seconds, found.cost) == (20.0, None)
        assert estimate_extraction(source, store, prompt, replace(options, model="other")).measured == 0


def test_prompts_are_versioned_and_can_be_replaced(tmp_path: Path) -> None:
    packaged = load_prompt("extract")
    assert packaged.name == "extract.v1"
    system, user = packaged.messages(problem="{response} {x}", response="R", answer="A")
    assert (system["role"], user["role"]) == ("system", "user")
    assert '{"problem_type": "..."' in system["content"]  # braces of an example stay
    assert "{response} {x}" in user["content"]  # and those of a problem are not filled
    own = tmp_path / "mine.v7.md"
    own.write_text("Q: {problem}\nR: {response}\nA: {answer} {candidates}")
    mine = load_prompt("extract", own)
    assert mine.name == "mine.v7"
    assert mine.sha256 != packaged.sha256
    assert mine.messages(problem="p", response="r", answer="a") == [
        {"role": "user", "content": "Q: p\nR: r\nA: a {candidates}"}
    ]
    own.write_text("{problem}\n---\n{problem}")
    with pytest.raises(ValueError, match=r"'mine.v7' must hold \{response\} in the user's message"):
        load_prompt("extract", own)
    with pytest.raises(ValueError, match="cannot be read"):
        load_prompt("rank", tmp_path / "none.md")
    assert "{candidates}" in load_prompt("rank").user
