"""Blind answers against a scripted endpoint: verdicts, chance, resuming, faults, gates of the export, what is shown."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from strategies_kit import GOOD, Play, Server, said, serving
from typer.testing import CliRunner

from sgpo.cli import app
from sgpo.commands._strategies_view import summarize
from sgpo.lab.model import build_model
from sgpo.lab.tokenizer import build_tokenizer
from sgpo.models import ModelOptions, Sampling, stream_seed
from sgpo.models.endpoint import Endpoint
from sgpo.models.local import LocalModel
from sgpo.strategies.asking import Asking
from sgpo.strategies.audit import Audit, audit, draw_others, estimate_audit
from sgpo.strategies.budget import SpendingOptions
from sgpo.strategies.export import choose
from sgpo.strategies.likelihood import blind_question, log_likelihood, measure
from sgpo.strategies.options import AuditOptions, Gates
from sgpo.strategies.records import AnsweredCall, Key, Problem, Setup
from sgpo.strategies.schema import CRITERIA, Strategy
from sgpo.strategies.store import Store
from sgpo.strategies.templates import load_prompt

SETUP = Setup("extract", "m", "extract.v1", "abc", {})
# Hexadecimal digits as letters: a number would be one that the rules see.
LETTERS = str.maketrans("0123456789", "ijklmnopqr")
DIGITS = str.maketrans("ijklmnopqr", "0123456789")
ANSWERS = {"a": "28", "b": "1/2", "c": "17", "d": "odd"}


def filled(path: Path, problems: dict[str, str] | None = None) -> Path:
    """Each problem with clean candidates 0 to 2, and a candidate 3 that tells the answer in a code no rule reads."""
    with Store(path) as store:
        store.add_setup(SETUP)
        for problem, answer in (problems or ANSWERS).items():
            store.add_problems([Problem(problem, f"problem {problem}", answer, "a response")])
            for i, text in enumerate(
                ("Think.", "Think twice.", "Think again.", f"Decode {answer[::-1].encode().hex().translate(LETTERS)}h.")
            ):
                parsed = Strategy(**{**GOOD, "strategy": text}).model_dump_json()
                store.record([AnsweredCall(Key(SETUP.id, problem, i), "ok", "", parsed, 1, 1)])
    return path


def decoding(body: dict[str, Any], number: int) -> Play:
    """Tells the answer where it is coded in the strategy, and says 17 where it is not."""
    code = re.search(r"Decode ([a-gi-r]+)h", body["messages"][-1]["content"])
    return said(json.dumps({"answer": bytes.fromhex(code[1].translate(DIGITS)).decode()[::-1] if code else "17"}))


def audited(server: Server, path: Path, **options: Any) -> Audit:
    client = Endpoint("m", Sampling(1.0, 1.0, 100), ModelOptions(base_url=server.url, concurrency=4, retries=1))
    with Store(path) as store:
        n = options.pop("n", 6)
        return audit(Asking(store=store, client=client, model="m", prompt=load_prompt("audit"), **options), n=n)


def notes(path: Path, problem: str) -> list[dict[str, Any]]:
    with Store(path) as store:
        return [c.notes.get("audit", {}) for c in store.candidates(problem)]


def test_a_strategy_that_tells_its_answer_above_chance_leaks(tmp_path: Path) -> None:
    path = filled(tmp_path / "s.db")
    with serving(decoding) as server:
        done = audited(server, path)
        assert len(server.bodies) == 4 * 4 * 6
        assert not any("problem a" in body["messages"][-1]["content"] for body in server.bodies)
    assert done.candidates == {"leaks": 3, "passes": 13}
    clean, _, _, leaking = notes(path, "a")
    assert (clean["told"], clean["asked"], clean["leaks"]) == (0, 6, False)
    assert (leaking["told"], leaking["rate"], leaking["leaks"], leaking["model"]) == (6, 1.0, True, "m")
    assert leaking["chance"][0] == 0
    assert 0 < leaking["low"] < leaking["high"] <= 1
    # 17 is said of every clean strategy: where it is the answer, no strategy tells it more often than others do.
    assert [(note["told"], note["leaks"]) for note in notes(path, "c")] == [(6, False)] * 4


def test_the_others_are_drawn_as_from_a_list_of_all_other_problems(tmp_path: Path) -> None:
    with Store(filled(tmp_path / "s.db")) as store:
        candidates = [each for problem in ANSWERS for each in store.candidates(problem)]
    known = sorted((each.problem, each.id) for each in candidates)
    for each in candidates:
        others = [key for key in known if key[0] != each.problem]
        assert draw_others("audit", each, known) == random.Random(stream_seed(0, "audit", each.id)).sample(others, 8)
        assert sorted(draw_others("audit", each, known[:5])) == [key for key in known[:5] if key[0] != each.problem]


def test_nothing_is_asked_again_and_more_replies_are_added(tmp_path: Path) -> None:
    path = filled(tmp_path / "s.db")
    with serving(decoding) as server:
        first = audited(server, path)
        assert audited(server, path).candidates == first.candidates
        assert len(server.bodies) == 96
        audited(server, path, n=8)
        assert len(server.bodies) == 128
    assert notes(path, "b")[3]["asked"] == 8


def test_an_answer_within_the_tolerance_is_told(tmp_path: Path) -> None:
    """As in training, in `extract` and in `lift`."""
    path = tmp_path / "s.db"
    with Store(path) as store:
        store.add_setup(SETUP)
        for id, answer in (("a", "3.14159"), ("b", "8")):
            store.add_problems([Problem(id, f"problem {id}", answer, "a response", columns={"tolerance": 0.01})])
            parsed = Strategy(**{**GOOD, "strategy": f"Think of {id}."}).model_dump_json()
            store.record([AnsweredCall(Key(SETUP.id, id, 0), "ok", "", parsed, 1, 1)])

    def rounding(body: dict[str, Any], number: int) -> Play:
        return said(json.dumps({"answer": "3.14" if "Think of a." in body["messages"][-1]["content"] else "2"}))

    with serving(rounding) as server:
        assert audited(server, path).candidates == {"leaks": 1, "passes": 1}
    assert (notes(path, "a")[0]["told"], notes(path, "a")[0]["chance"]) == (6, [0, 6])


FAULTS = [
    said("no idea"), said(""), said("{}"), said('{"answer": []}'), said('{"answer": "28"}', "content_filter"),
    Play(status=500), Play(cut=True), Play(raw=b"nonsense"), Play(body=b"<html>"), said(None),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=range(len(FAULTS)))
def test_a_fault_of_the_endpoint_loses_no_reply(fault: Play, tmp_path: Path) -> None:
    path = filled(tmp_path / "s.db")

    def sometimes(body: dict[str, Any], number: int) -> Play:
        return fault if number % 4 == 3 else decoding(body, number)

    with serving(sometimes) as server:
        done = audited(server, path)
    assert done.tally.stopped is None
    assert done.candidates["unread"] == 0
    assert done.candidates["leaks"] >= 2
    with serving(decoding) as server:
        assert audited(server, path, retry_unreadable=True).candidates == {"leaks": 3, "passes": 13}
        assert len(server.bodies) < 96


@pytest.mark.parametrize(("options", "message"), [({"n": 0}, "--n 0 must"), ({"limit": 1}, "--limit 1 at least 2")])
def test_settings_out_of_range(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with serving(decoding) as server, pytest.raises(ValueError, match=message):
        audited(server, filled(tmp_path / "s.db"), **options)


def test_one_problem_has_no_chance(tmp_path: Path) -> None:
    with serving(decoding) as server, pytest.raises(ValueError, match="fewer than two problems"):
        audited(server, filled(tmp_path / "s.db", {"a": "28"}))


def test_the_estimate_asks_nothing(tmp_path: Path) -> None:
    spending = SpendingOptions(price_in=1.0, price_out=2.0)
    with Store(filled(tmp_path / "s.db")) as store:
        found = estimate_audit(store, load_prompt("audit"), AuditOptions(model="m", n=5, spending=spending))
        with pytest.raises(ValueError, match="--n 0 must be at least 1"):
            estimate_audit(store, load_prompt("audit"), AuditOptions(model="m", n=0))
    assert found.calls == 80
    assert found.cost == pytest.approx((found.prompt_tokens + 2 * found.completion_tokens) / 1e6)


def test_gates_of_the_export(tmp_path: Path) -> None:
    path = filled(tmp_path / "s.db")
    with serving(decoding) as server:
        audited(server, path)
    with Store(path) as store:
        (problem,) = store.problems(["a"])
        clean, _, _, leaking = store.candidates("a")
        for candidate, place, score in ((leaking, 1, 2), (clean, 2, 4)):
            scores = {**dict.fromkeys(CRITERIA, 3), "instance_free": score}
            store.note([(candidate.id, "rank", {"place": place, "score": 12, "scores": scores, "kept": place == 1})])
        chosen = {
            name: choose(store, problem, gates=gates)[0]
            for name, gates in {
                "none": Gates(),
                "blind": Gates(max_blind_rate=0.2),
                "judge": Gates(min_instance_free=3),
                "both": Gates(max_blind_rate=0.2, min_instance_free=5),
            }.items()
        }
        assert {name: c and c.number for name, c in chosen.items()} == {"none": 3, "blind": 0, "judge": 0, "both": None}
        assert summarize(store)["told_blind"] == 3
        assert summarize(store)["signs_of_leaks"] == {"none": 1, "blind and judge": 1}
        # Two candidates that both gates could pass have no score: that is no leak.
        assert choose(store, problem, gates=Gates(min_instance_free=5)) == (None, "not_measured")
        for candidate in store.candidates("a")[1:3]:
            scores = {**dict.fromkeys(CRITERIA, 3), "instance_free": 4}
            store.note([(candidate.id, "rank", {"place": 3, "score": 13, "scores": scores, "kept": False})])
        assert choose(store, problem, gates=Gates(min_instance_free=5)) == (None, "all_leak")


@pytest.mark.parametrize("option", ["--max-blind-rate", "--min-instance-free"])
def test_a_gate_that_nothing_was_measured_for_says_what_to_run(option: str, tmp_path: Path) -> None:
    path = filled(tmp_path / "s.db")
    done = CliRunner().invoke(
        app, ["strategies", "export", str(tmp_path / "o.jsonl"), "--store", str(path), option, "1"]
    )
    assert isinstance(done.exception, ValueError)
    assert f"{option} needs what sgpo strategies" in str(done.exception)
    assert not (tmp_path / "o.jsonl").exists()


def test_a_model_that_knows_the_problems_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells the answer from the topic: strategies that give nothing away look like leaks."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    path = tmp_path / "s.db"
    answers = {topic: str(number) for number, topic in enumerate(("kites", "boats", "trams", "mills", "wells"), 41)}
    with Store(path) as store:
        store.add_setup(SETUP)
        for topic, answer in answers.items():
            store.add_problems([Problem(topic, f"How many {topic} are there?", answer, "a response")])
            parsed = Strategy(**{**GOOD, "strategy": f"Think about the {topic}."}).model_dump_json()
            store.record([AnsweredCall(Key(SETUP.id, topic, 0), "ok", "", parsed, 1, 1)])

    def knowing(body: dict[str, Any], number: int) -> Play:
        asked = body["messages"][-1]["content"]
        return said(json.dumps({"answer": next(answer for topic, answer in answers.items() if topic in asked)}))

    def guessing(body: dict[str, Any], number: int) -> Play:
        return said(json.dumps({"answer": "7"}))

    for model, play, passes in (("knows", knowing, "100%"), ("guesses", guessing, "0%")):
        with serving(play) as server:
            words = ["audit", "-m", model, "--n", "4", "--base-url", server.url, "--store", str(path)]
            done = CliRunner().invoke(app, ["strategies", *words], env={"COLUMNS": "300"})
        assert f"told: {passes} of 20 under those that it passes, 0% of 80 by chance" in done.output
        assert ("it seems to know these problems" in done.output) is (model == "knows")


def test_the_export_says_what_was_not_measured_and_how_to_measure_it(tmp_path: Path) -> None:
    path = filled(tmp_path / "s.db")
    with Store(path) as store:
        scores = dict.fromkeys(CRITERIA, 5)
        store.note([(store.candidates("a")[0].id, "rank", {"place": 1, "score": 20, "scores": scores, "kept": True})])
    words = ["strategies", "export", str(tmp_path / "o.jsonl"), "--store", str(path), "--min-instance-free", "3"]
    shown = CliRunner().invoke(app, words, env={"COLUMNS": "300"}).output
    assert "problems: not_measured 3, ok 1" in shown
    assert "rank --singles for --min-instance-free" in shown


def test_the_command_asks_shows_and_estimates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled(tmp_path / "s.db")
    monkeypatch.setenv("OPENAI_API_KEY", "k")

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["strategies", *arguments, "--store", str(path)], env={"COLUMNS": "300"})
        assert done.exit_code == 0, done.output
        return done.output

    with serving(decoding) as server:
        shown = run(
            "audit", "-m", "m", "--n", "6", "--base-url", server.url, "--dry-run", "--price-in", "1", "--price-out", "1"
        )
        assert "calls: 96, 6 for each of 16 candidates" in shown
        assert server.bodies == []
        shown = run("audit", "-m", "m", "--n", "6", "--base-url", server.url)
    assert "passes 13, leaks 3" in shown
    assert "told: 44% of 96 under those that it passes" in shown
    assert "it seems to know" not in shown
    assert "told blind 6 of 6 (chance 0%" in run("show", "a")
    assert "answers told blind: 3 of 16 audited" in run("stats")


@pytest.fixture
def local() -> LocalModel:
    return LocalModel(build_model(0), build_tokenizer(), Sampling(0.0, 1.0, 4))


def test_the_likelihood_is_that_of_one_token_after_the_other(local: LocalModel) -> None:
    messages = load_prompt("audit").messages(strategy="dial | circle | plus then minus twelve until fits")
    question, answer = blind_question(local, messages), local.tokenizer("ans 9", add_special_tokens=False)["input_ids"]
    assert len(answer) == 2
    expected = []
    for i, token in enumerate(answer):
        with torch.no_grad():
            logits = local.model(torch.tensor([question + answer[:i]])).logits[0, -1]
        expected.append(float(logits[token] - logits.logsumexp(0)))
    assert log_likelihood(local, messages, "ans 9") == pytest.approx(sum(expected) / 2, abs=1e-5)


def test_of_a_solution_the_answer_counts_alone(local: LocalModel, tmp_path: Path) -> None:
    gains = []
    for name, gold in (("alone", "9"), ("solution", "It is 4 + 5 = 9.\n#### 9")):
        with Store(filled(tmp_path / name, {"a": gold, "b": "12"})) as store:
            gains.append(measure(store, local, model_name="lab", prompt=load_prompt("audit"), limit=None)[0])
    assert gains[0] == gains[1]


def test_the_likelihood_takes_the_variables_of_the_chat_template(local: LocalModel) -> None:
    local.tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] }} {% endfor %}{{ 'S' if thinks else 'A' }} "
    )
    messages = load_prompt("audit").messages(strategy="dial | circle")
    plain = blind_question(local, messages)
    local.chat_template_kwargs = {"thinks": True}
    told = blind_question(local, messages)
    assert [i for i, (a, b) in enumerate(zip(plain, told, strict=True)) if a != b] == [len(told) - 3]


def test_the_gain_over_other_strategies_is_noted(local: LocalModel, tmp_path: Path) -> None:
    with Store(filled(tmp_path / "s.db", {"a": "9", "b": "12"})) as store:
        gains = measure(store, local, model_name="lab", prompt=load_prompt("audit"))
        noted = [c.notes["likelihood"] for id in ("a", "b") for c in store.candidates(id)]
    assert [note["nats"] for note in noted] == pytest.approx(gains)
    assert {(note["others"], note["model"]) for note in noted} == {(4, "lab")}
