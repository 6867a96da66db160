"""Extraction against an endpoint that plays every fault: a counted reason each, and the rest goes on."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest
from strategies_kit import (
    GOOD,
    KEY,
    Play,
    Script,
    Server,
    good,
    problem_row,
    problems_file,
    said,
    serving,
    streamed,
    way,
    write_rows,
)
from typer.testing import CliRunner

from sgpo.commands import strategies
from sgpo.models import CallError, ModelOptions, Request, Sampling, stream_seed
from sgpo.models.endpoint import Endpoint
from sgpo.strategies.asking import Asking, Tally
from sgpo.strategies.budget import Budget, SpendingOptions, is_cut
from sgpo.strategies.extract import Extraction, extract
from sgpo.strategies.options import ExtractOptions
from sgpo.strategies.records import AnsweredCall, Key
from sgpo.strategies.schema import STRATEGY_SCHEMA
from sgpo.strategies.sources import Source
from sgpo.strategies.store import Store, StoreError
from sgpo.strategies.templates import load_prompt

CLIENT = ("concurrency", "retries", "timeout", "json_schema", "extra_body", "omit", "base_url", "stream")

SSE = {"Content-Type": "text/event-stream"}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGPO_TEST_KEY", KEY)


def run(server: Server, folder: Path, problems: int = 4, **options: Any) -> Tally:
    """Extract two candidates of each problem with few retries."""
    given = {"base_url": server.url, "concurrency": 4, "retries": 2, "timeout": 60.0}
    given |= {name: options.pop(name) for name in CLIENT if name in options}
    client = Endpoint("m", Sampling(1.0, 0.95, 500), ModelOptions(api_key_env="SGPO_TEST_KEY", **given))
    folder.mkdir(exist_ok=True)
    source = Source(str(problems_file(folder / "problems.jsonl", problems)))
    with Store(folder / "s.db") as store:
        own = {name: options.pop(name) for name in ("n", "keep_thinking", "report") if name in options}
        asking = Asking(store=store, client=client, model="m", prompt=load_prompt("extract"), **options)
        return extract(source, asking, **{"n": 2, **own}).tally


def calls(folder: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(folder / "s.db") as db:
        return db.execute("SELECT problem, number, outcome, parsed FROM calls ORDER BY problem, number").fetchall()


def at(number: int, play: Play, rest: Script = good) -> Script:
    """One play at the n-th request, another at all others."""
    return lambda body, n: play if n == number else rest(body, n)


def test_paid_replies_that_cannot_be_read_are_asked_again_on_demand(tmp_path: Path) -> None:
    """Once a run, with another seed, and with the tokens of both."""
    bad = {stream_seed(0, f"p{i}", 0): said("no idea") for i in range(4)}

    def script(body: dict[str, Any], number: int) -> Play:
        return bad.get(body["seed"]) or good(body, number)

    with serving(script) as server:
        assert run(server, tmp_path).outcomes == {"ok": 4, "no_json": 4}
        assert run(server, tmp_path).before == 8
        server.script = at(10, said("still none"))
        again = run(server, tmp_path, retry_unreadable=True)
        assert (again.before, again.outcomes, len(server.bodies)) == (4, {"ok": 3, "no_json": 1}, 12)
        assert not {body["seed"] for body in server.bodies[8:]} & {body["seed"] for body in server.bodies[:8]}
        assert run(server, tmp_path, retry_unreadable=True).outcomes == {"ok": 1}
        assert run(server, tmp_path, retry_unreadable=True).before == 8
    with sqlite3.connect(tmp_path / "s.db") as db:
        assert db.execute("SELECT sum(prompt_tokens), sum(completion_tokens) FROM calls").fetchone() == (520, 130)
        assert db.execute("SELECT count(*) FROM calls WHERE outcome = 'ok'").fetchone() == (8,)


def test_a_request_says_all_there_is_to_say(tmp_path: Path) -> None:
    with serving() as server:
        tally = run(server, tmp_path, problems=1)
    assert (tally.outcomes, tally.failures, tally.stopped) == ({"ok": 2}, {}, None)
    body = server.bodies[0]
    assert body["messages"][0]["role"] == "system"
    assert "What is 0 + 0?" in body["messages"][1]["content"]
    assert {name: body[name] for name in ("model", "temperature", "top_p", "max_tokens", "seed")} == {
        "model": "m",
        "temperature": 1.0,
        "top_p": 0.95,
        "max_tokens": 500,
        "seed": stream_seed(0, "p0", 0),
    }
    form = {"name": "strategy", "strict": True, "schema": STRATEGY_SCHEMA}
    assert body["response_format"] == {"type": "json_schema", "json_schema": form}
    assert server.keys == {f"Bearer {KEY}"}
    assert [json.loads(row[3])["strategy"] for row in calls(tmp_path)] == [way(b["seed"]) for b in server.bodies]


@pytest.mark.parametrize(
    ("play", "reason"),
    [
        (said(""), "empty"),
        (said(None), "empty"),
        (said("I'm sorry, I cannot help with this."), "refusal"),
        (said(None, refusal="I will not."), "refusal"),
        (said("It was filtered", "content_filter"), "refusal"),
        (said(json.dumps(GOOD)[:-20], "length"), "truncated"),
        (said(json.dumps(GOOD)[:-20]), "truncated"),
        (said("Use induction."), "no_json"),
        (said(json.dumps({"answer": 42})), "wrong_schema"),
        (said("x" * 1_000_000), "too_long"),
        (said(f"Sure!\n```json\n{json.dumps(GOOD)}\n```"), "ok"),
        (said(f"Here it is: {json.dumps(GOOD)} I hope that it helps."), "ok"),
        (said(f"<think>{{maybe}}</think>\n{json.dumps(GOOD)}"), "ok"),
        (said([{"type": "text", "text": json.dumps(GOOD)}]), "ok"),
        (said(None, reasoning_content=json.dumps(GOOD)), "ok"),
        (said(None, "tool_calls", tool_calls=[{"function": {"name": "f", "arguments": json.dumps(GOOD)}}]), "ok"),
        (said("", function_call={"name": "f", "arguments": GOOD}), "ok"),
        (said(None, "tool_calls", tool_calls=[{"function": {"arguments": json.dumps(GOOD)}}] * 2), "empty"),
        (said(None, "tool_calls", tool_calls=[{"function": "x"}]), "empty"),
        (said("\n", reasoning=f"```json\n{json.dumps(GOOD)}\n```"), "ok"),
        (said(None, reasoning_content=f"Perhaps {json.dumps(GOOD)}? No."), "empty"),
        (said(None, "length", reasoning_content=json.dumps(GOOD)[:-20]), "truncated"),
        (said("\ud800 \x00" + json.dumps(GOOD), tokens=None), "ok"),
        (said(json.dumps(GOOD), tokens=(-5, 10**30)), "ok"),
    ],
)
def test_replies_of_any_kind_are_answers_with_an_outcome(play: Play, reason: str, tmp_path: Path) -> None:
    with serving(at(3, play)) as server:
        tally = run(server, tmp_path)
        assert tally.outcomes == ({"ok": 8} if reason == "ok" else {"ok": 7, reason: 1})
        assert (tally.failures, tally.stopped) == ({}, None)
        assert run(server, tmp_path).outcomes.total() == 0
        assert len(server.bodies) == 8  # what was answered is not asked again, of use or not
    with sqlite3.connect(tmp_path / "s.db") as db:
        assert db.execute("SELECT max(length(raw)) FROM calls").fetchone()[0] <= 200_000


@pytest.mark.parametrize(
    ("play", "reason", "requests"),
    [
        (Play({"error": {"message": "busy"}}, 429), "rate_limited", 3),
        (Play({"error": {"message": "broken"}}, 500), "server_error", 3),
        (Play(b"<html>bad gateway</html>", 502, {"Content-Type": "text/html"}), "server_error", 3),
        (Play({"error": {"message": "context length exceeded"}}, 400), "bad_request", 2),  # once more without a schema
        (Play({"error": {"message": "too large"}}, 413), "bad_request", 1),
        (Play({"id": "x"}, hang=60.0), "timeout", 3),
        (Play({"id": "x" * 1000}, cut=True), "connection", 3),
        (Play(b'{"id": "x", "choices": [', 200), "bad_response", 1),
        (Play(b"<html>a login page</html>", 200, {"Content-Type": "text/html"}), "bad_response", 1),
        (Play({"choices": []}), "bad_response", 1),
        (Play({"choices": [{"message": None}]}), "bad_response", 1),
        (Play({"error": {"message": "quota", "code": 1}}), "bad_response", 1),
        (Play([1, 2]), "bad_response", 1),
    ],
)
def test_a_call_without_an_answer_is_counted_and_asked_by_the_next_run(
    play: Play, reason: str, requests: int, tmp_path: Path
) -> None:
    victim = stream_seed(0, "p1", 1)

    def script(body: dict[str, Any], number: int) -> Play:
        return play if body["seed"] == victim else good(body, number)

    with serving(script) as server:
        tally = run(server, tmp_path, timeout=2.0 if play.hang else 60.0)
        assert (tally.outcomes, tally.failures, tally.stopped) == ({"ok": 7}, {reason: 1}, None)
        assert sum(body["seed"] == victim for body in server.bodies) == requests
        assert tally.message.startswith(f"{server.url}, model 'm': {reason}") or reason == "bad_response"
        assert KEY not in tally.message
    with serving() as server:
        again = run(server, tmp_path)
        assert (again.before, again.outcomes, len(server.bodies)) == (7, {"ok": 1}, 1)
    assert [row[2] for row in calls(tmp_path)] == ["ok"] * 8


def test_passing_failures_are_retried_after_the_wait_that_was_asked_for(tmp_path: Path) -> None:
    def script(body: dict[str, Any], number: int) -> Play:
        if number == 2:
            return Play({}, 429, {"Retry-After": "1", "Retry-After-Ms": ""})
        return Play({}, 503) if number == 3 else good(body, number)

    with serving(script) as server:
        tally = run(server, tmp_path, problems=1, concurrency=1)
    assert (tally.outcomes, tally.failures) == ({"ok": 2}, {})
    assert len(server.bodies) == 4
    assert server.times[2] - server.times[1] >= 0.9


@pytest.mark.parametrize(
    ("status", "error", "reason", "remedy"),
    [
        (401, {"message": f"Incorrect API key provided: {KEY} (sk-other-0123)"}, "unauthorized", "SGPO_TEST_KEY"),
        (402, {"message": "Insufficient Balance"}, "payment_required", "Insufficient Balance"),
        (403, {"message": "no access"}, "forbidden", "SGPO_TEST_KEY"),
        (404, {"message": "The model `m` does not exist"}, "not_found", "is served"),
        (429, {"message": "You exceeded your quota", "code": "insufficient_quota"}, "rate_limited", "quota"),
    ],
)
def test_what_no_call_can_pass_stops_the_run_at_the_first_one(
    status: int, error: dict[str, str], reason: str, remedy: str, tmp_path: Path
) -> None:
    with serving(lambda body, number: Play({"error": error}, status)) as server:
        tally = run(server, tmp_path, problems=50, retries=0)
        assert len(server.bodies) == (2 if status == 404 else 1)  # it may be the schema that is not found
    assert tally.failures == {reason: 1}
    assert tally.stopped is not None
    assert reason in tally.stopped
    assert remedy in tally.stopped
    assert KEY not in tally.stopped
    assert "sk-other" not in tally.stopped


def test_a_key_that_expires_keeps_what_was_answered(tmp_path: Path) -> None:
    with serving(lambda body, n: good(body, n) if n <= 20 else Play({"error": {"message": "expired"}}, 401)) as server:
        tally = run(server, tmp_path, problems=50)
        assert (tally.outcomes["ok"], tally.stopped is not None) == (20, True)
        assert len(server.bodies) <= 28
    with serving() as server:
        assert run(server, tmp_path, problems=50).before == 20
        assert len(server.bodies) == 80


@pytest.mark.parametrize("play", [Play({}, 400), said("no idea"), Play({"choices": []})])
def test_a_run_where_nothing_is_of_use_stops_early(play: Play, tmp_path: Path) -> None:
    with serving(lambda body, number: play) as server:
        tally = run(server, tmp_path, problems=100, json_schema=False)
        assert 20 <= len(server.bodies) <= 20 + 4 * 4
    assert tally.stopped is not None
    assert "not one of the first" in tally.stopped


def test_a_short_run_where_nothing_is_of_use_has_stopped_too(tmp_path: Path) -> None:
    with serving(lambda body, number: said("no idea")) as server:
        assert run(server, tmp_path, problems=1).stopped == "not one of 2 calls was of use"


def test_an_endpoint_that_goes_away_ends_the_run(tmp_path: Path) -> None:
    with serving(lambda body, number: good(body, number) if number <= 30 else Play({}, 500)) as server:
        tally = run(server, tmp_path, problems=100, retries=0)
        assert len(server.bodies) < 80
    assert tally.outcomes["ok"] == 30
    assert tally.stopped is not None
    assert "in a row had no answer" in tally.stopped


def test_a_server_without_schemas_is_asked_without_them_from_then_on(tmp_path: Path) -> None:
    def script(body: dict[str, Any], number: int) -> Play:
        refused = {"error": {"message": "response_format is not supported"}}
        return Play(refused, 400) if "response_format" in body else good(body, number)

    with serving(script) as server:
        tally = run(server, tmp_path)
        assert sum("response_format" in body for body in server.bodies) == 1
        assert (len(server.bodies), tally.outcomes, tally.failures) == (9, {"ok": 8}, {})
    with sqlite3.connect(tmp_path / "s.db") as db:
        assert db.execute("SELECT DISTINCT structured FROM calls").fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("play", "outcomes", "failures"),
    [
        (streamed(json.dumps(GOOD)), {"ok": 4}, {}),
        (streamed(json.dumps(GOOD)[:-9], "length"), {"ok": 3, "truncated": 1}, {}),
        (streamed("x" * 2_000_000, pieces=100), {"ok": 3, "too_long": 1}, {}),
        (streamed(json.dumps(GOOD), None), {"ok": 3}, {"bad_response": 1}),
        (streamed(json.dumps(GOOD), cut=True), {"ok": 3}, {"connection": 1}),
        (Play(b'data: {"error": {"message": "out of memory"}}\n\n', headers=SSE), {"ok": 3}, {"bad_response": 1}),
        (Play(b"data: {broken\n\n", headers=SSE), {"ok": 3}, {"bad_response": 1}),
        (Play({"error": {"message": "busy"}}, 500), {"ok": 3}, {"server_error": 1}),
    ],
)
def test_replies_can_be_streamed(
    play: Play, outcomes: dict[str, int], failures: dict[str, int], tmp_path: Path
) -> None:
    victim = stream_seed(0, "p1", 0)

    def script(body: dict[str, Any], number: int) -> Play:
        return play if body["seed"] == victim else streamed(json.dumps({**GOOD, "strategy": way(body["seed"])}))

    with serving(script) as server:
        tally = run(server, tmp_path, problems=2, stream=True, retries=0)
        assert (tally.outcomes, tally.failures) == (outcomes, failures)
        assert server.bodies[0]["stream"] is True
        assert server.bodies[0]["stream_options"] == {"include_usage": True}
    with sqlite3.connect(tmp_path / "s.db") as db:
        rows = db.execute(
            "SELECT parsed, prompt_tokens FROM calls WHERE outcome = 'ok' ORDER BY problem, number"
        ).fetchall()
    assert json.loads(rows[0][0])["strategy"] == way(stream_seed(0, "p0", 0))
    assert {row[1] for row in rows} == {40}


def test_fields_can_be_added_and_left_out(tmp_path: Path) -> None:
    with serving() as server:
        run(
            server,
            tmp_path,
            problems=1,
            extra_body={"top_k": 20, "max_completion_tokens": 9},
            omit=["max_tokens", "seed"],
        )
    assert server.bodies[0].keys() == {
        "model", "messages", "temperature", "top_p", "response_format", "top_k", "max_completion_tokens",
    }  # fmt: skip


def test_concurrency_is_bounded_and_used(tmp_path: Path) -> None:
    full = threading.Barrier(6)  # after the first call, which is made alone, none is answered before six are under way

    def script(body: dict[str, Any], number: int) -> Play:
        if 2 <= number <= 7:
            full.wait(timeout=60)
        return good(body, number)

    with serving(script) as server:
        run(server, tmp_path, problems=20, concurrency=6)
    assert server.most_at_once == 6


def test_the_budget_holds_for_all_runs_together(tmp_path: Path) -> None:
    """A call takes 40 + 10 tokens here, and at most about 1,600."""
    with serving() as server:
        tally = run(server, tmp_path, problems=100, budget=Budget(SpendingOptions(max_tokens_total=4_000)))
        asked = len(server.bodies)
        assert tally.exhausted
        assert tally.stopped is not None
        assert 2_000 < 50 * asked <= 4_000
        assert run(server, tmp_path, problems=100, budget=Budget(SpendingOptions(max_tokens_total=4_000))).exhausted
        assert len(server.bodies) == asked
        prices = {"price_in": 10.0, "price_out": 100.0}  # a call costs 0.0014
        tally = run(server, tmp_path, problems=100, budget=Budget(SpendingOptions(max_cost=0.25, **prices)))
        assert tally.exhausted
        assert 0.1 < 0.0014 * len(server.bodies) <= 0.25


def test_the_budget_knows_what_another_process_spends_beside_it(tmp_path: Path) -> None:
    def script(body: dict[str, Any], number: int) -> Play:
        if number == 3:
            with Store(tmp_path / "s.db") as other:
                [(setup,)] = other.rows("SELECT id FROM setups")
                spent = {"tokens_estimated": False, "structured": False, "seconds": 1.0}
                other.record([AnsweredCall(Key(setup, "p1", 9, ""), "ok", "", "{}", 1_000, 90_000, **spent)])
        return good(body, number)

    budget = Budget(SpendingOptions(max_tokens_total=100_000))
    with serving(script) as server:
        assert run(server, tmp_path, problems=200, concurrency=1, budget=budget).exhausted
        assert len(server.bodies) < 180
    with sqlite3.connect(tmp_path / "s.db") as db:
        [sums] = db.execute("SELECT sum(prompt_tokens), sum(completion_tokens) FROM calls")
    assert (budget.prompt_tokens, budget.completion_tokens) == sums


def test_calls_under_way_together_do_not_pass_the_budget(tmp_path: Path) -> None:
    """Each call fits alone, at over 1,300 tokens at most, of which it takes 1,200."""
    two = threading.Barrier(
        2
    )  # after the first call, which is made alone, neither is answered before the other is asked

    def script(body: dict[str, Any], number: int) -> Play:
        if number in (2, 3):
            two.wait(timeout=60)
        return said(json.dumps(GOOD), tokens=(700, 500))

    with serving(script) as server:
        budget = Budget(SpendingOptions(max_tokens_total=9_000))
        assert run(server, tmp_path, problems=10, concurrency=8, budget=budget).exhausted
        assert server.most_at_once > 1
    assert 9_000 - 1_600 < budget.prompt_tokens + budget.completion_tokens <= 9_000


def test_a_budget_under_one_call_asks_nothing(tmp_path: Path) -> None:
    with serving() as server:
        assert run(server, tmp_path, budget=Budget(SpendingOptions(max_tokens_total=100))).exhausted
        assert server.bodies == []


def test_tokens_are_estimated_where_the_endpoint_does_not_count(tmp_path: Path) -> None:
    budget = Budget()
    with serving(lambda body, number: said(json.dumps(GOOD), tokens=None)) as server:
        run(server, tmp_path, problems=1, budget=budget)
    with sqlite3.connect(tmp_path / "s.db") as db:
        rows = db.execute("SELECT tokens_estimated, prompt_tokens, completion_tokens FROM calls").fetchall()
    assert [row[0] for row in rows] == [1, 1]
    assert rows[0][2] == round(len(json.dumps(GOOD)) / 3.5)
    assert budget.prompt_tokens == sum(row[1] for row in rows) > 500


def test_a_server_that_counts_nothing_does_not_unlock_the_budget(tmp_path: Path) -> None:
    """Its calls would cost nothing, and the limit would never be reached."""
    budget = Budget(SpendingOptions(max_tokens_total=4_000))
    with serving(lambda body, number: said(json.dumps(GOOD), tokens=(0, 0))) as server:
        assert run(server, tmp_path, problems=50, budget=budget).exhausted
        assert len(server.bodies) < 10
    with sqlite3.connect(tmp_path / "s.db") as db:
        assert db.execute("SELECT DISTINCT tokens_estimated FROM calls").fetchall() == [(1,)]


def test_a_field_of_another_name_limits_replies_and_the_budget_knows(tmp_path: Path) -> None:
    """A model that takes max_completion_tokens alone is told so; by the user's own field, or none, the budget goes."""
    refused = {"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}

    def script(body: dict[str, Any], number: int) -> Play:
        return Play(refused, 400) if "max_tokens" in body else good(body, number)

    with serving(script) as server:
        assert run(server, tmp_path).outcomes == {"ok": 8}
        assert [body.get("max_completion_tokens") for body in server.bodies] == [None, *[500] * 8]
        assert all("response_format" in body for body in server.bodies)
    limit = Budget(SpendingOptions(max_tokens_total=9_000))
    with serving() as server:
        with pytest.raises(ValueError, match="--omit max_tokens leaves replies without a limit"):
            run(server, tmp_path / "a", omit=["max_tokens"], budget=limit)
        own = {"max_completion_tokens": 100_000}
        assert run(server, tmp_path / "b", omit=["max_tokens"], extra_body=own, budget=limit).exhausted
        assert server.bodies == []
        assert run(server, tmp_path / "c", omit=["max_tokens"]).outcomes == {"ok": 8}


def test_prompts_that_the_server_cuts_are_said(tmp_path: Path) -> None:
    """Ollama reads the first 4,096 tokens, unless told otherwise, and answers to these with status 200."""
    rows = [problem_row(i, response="First, we look. " * (600 if i else 1) + f"\\boxed{{{2 * i}}}") for i in range(3)]
    source = write_rows(tmp_path / "problems.jsonl", rows)
    arguments = ["extract", str(source), "-m", "m", "--store", str(tmp_path / "s.db"), "--api-key-env", "SGPO_TEST_KEY"]

    def script(limit: int) -> Script:
        def play(body: dict[str, Any], number: int) -> Play:
            size = sum(len(message["content"]) for message in body["messages"])
            return said(json.dumps({**GOOD, "strategy": way(body["seed"])}), tokens=(min(size // 4, limit), 10))

        return play

    with serving(script(1_200)) as server:
        shown = CliRunner().invoke(strategies.app, [*arguments, "--base-url", server.url]).output
    assert "of 10 prompts the endpoint counts fewer tokens than they have" in " ".join(shown.split())
    with serving(script(100_000)) as server:
        shown = CliRunner().invoke(strategies.app, [*arguments, "--base-url", server.url, "--seed", "1"]).output
    assert "fewer tokens" not in shown


def test_a_prompt_in_another_script_is_not_called_cut() -> None:
    """A letter of Hindi has three bytes, and a token three letters or more."""
    prompt = [{"role": "user", "content": "गणित का प्रश्न हल करो " * 400}]
    characters = len(prompt[0]["content"])
    assert not is_cut(prompt, characters // 4)
    assert is_cut(prompt, characters // 8)


@pytest.mark.parametrize("begun", [json.dumps(GOOD)[:40], ""])
def test_replies_of_white_space_are_said(begun: str, tmp_path: Path) -> None:
    """A grammar of JSON allows it without end, and servers do not bound it."""
    source = problems_file(tmp_path / "problems.jsonl", 3)
    arguments = ["extract", str(source), "-m", "m", "--store", str(tmp_path / "s.db"), "--api-key-env", "SGPO_TEST_KEY"]
    endless = said(begun + "\n  " * 300, "length")
    with serving(lambda body, number: endless if number % 5 == 0 else good(body, number)) as server:
        shown = CliRunner().invoke(strategies.app, [*arguments, "--base-url", server.url]).output
    assert "3 replies fill their limit with white space" in " ".join(shown.split())
    assert "truncated 3" in shown


def test_candidates_that_are_all_the_same_are_said(tmp_path: Path) -> None:
    """From a cache, or without a temperature: five are paid for, and there is one to choose."""
    source = problems_file(tmp_path / "problems.jsonl", 3)
    arguments = ["extract", str(source), "-m", "m", "--store", str(tmp_path / "s.db"), "--api-key-env", "SGPO_TEST_KEY"]
    with serving(lambda body, number: said(json.dumps(GOOD))) as server:
        shown = CliRunner().invoke(strategies.app, [*arguments, "--base-url", server.url]).output
    assert "12 of 15 candidates repeat another one of their problem, word for word" in " ".join(shown.split())
    with serving() as server:
        shown = CliRunner().invoke(strategies.app, [*arguments, "--base-url", server.url, "--seed", "1"]).output
    assert "repeat another one" not in shown
    with pytest.raises(ValueError, match="--n 5 replies at temperature 0 would all be the same"):
        ExtractOptions(source="x", model="m", temperature=0.0)


def test_limits_that_make_no_sense() -> None:
    for arguments, message in (
        ({"max_tokens_total": 0}, "--max-tokens-total 0 must be over 0"),
        ({"max_cost": 1.0}, "--max-cost needs --price-in and --price-out"),
        ({"max_cost": float("nan"), "price_in": 1, "price_out": 1}, "--max-cost nan"),
        ({"price_in": -1.0}, "price -1"),
    ):
        with pytest.raises(ValueError, match=message):
            SpendingOptions(**arguments)


def test_a_full_disk_ends_the_run_and_keeps_what_was_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Store.record
    written = 0

    def record(self: Store, answers: Any) -> None:
        nonlocal written
        answers = list(answers)
        if written >= 10:
            raise StoreError("The store failed: database or disk is full. Free some space.")
        real(self, answers)
        written += len(answers)

    with serving() as server:
        with monkeypatch.context() as patch:
            patch.setattr(Store, "record", record)
            with pytest.raises(StoreError, match="disk is full"):
                run(server, tmp_path, problems=30)
        assert len(server.bodies) < 45
        kept = len(calls(tmp_path))
        assert kept == written >= 10
        asked = len(server.bodies)
        run(server, tmp_path, problems=30)
        assert len(server.bodies) == asked + 60 - kept


def test_what_another_process_gives_up_is_taken_over(tmp_path: Path) -> None:
    with serving() as server:
        run(server, tmp_path, problems=1)
        with Store(tmp_path / "s.db") as other:
            (setup,) = other.rows("SELECT id FROM setups")[0]
            taken, _ = other.claim([Key(setup, "p2", i) for i in range(2)])
            assert len(taken) == 2
            waited: list[int] = []

            def report(done: Extraction) -> None:
                if done.tally.waiting:
                    waited.append(len(server.bodies))
                    other.close()

            tally = run(server, tmp_path, problems=4, report=report)
    assert waited == [6]  # all but the two calls of the other one, which it then leaves
    assert (tally.before, tally.outcomes) == (2, {"ok": 6})
    assert len(server.bodies) == 8


def test_the_key_is_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = {"error": {"message": f"You said Authorization: Bearer {KEY}"}}

    def script(body: dict[str, Any], number: int) -> Play:
        if number % 3 == 0:
            return Play(echo, 400)
        return said(json.dumps({**GOOD, "strategy": f"Your key is {KEY}"})) if number % 3 == 1 else said(f"no {KEY}")

    with serving(script) as server:
        tally = run(server, tmp_path, problems=6, json_schema=False)
    assert tally.failures["bad_request"] >= 3
    assert "[key]" in tally.message
    said_everywhere = caplog.text + "".join(capsys.readouterr()) + tally.message
    assert KEY not in said_everywhere
    for path in tmp_path.iterdir():
        assert KEY.encode() not in path.read_bytes()
    assert any("[key]" in str(row[3]) for row in calls(tmp_path))


@pytest.mark.parametrize("status", [400, 401, 500])
def test_the_key_is_in_no_traceback(status: int) -> None:
    echo = Play({"error": {"message": f"You said Authorization: Bearer {KEY}"}}, status)
    with serving(lambda body, number: echo) as server:
        options = ModelOptions(base_url=server.url, api_key_env="SGPO_TEST_KEY", retries=0)
        client = Endpoint("m", Sampling(1.0, 0.95, 500), options)
        with pytest.raises(CallError) as caught:
            asyncio.run(client.ask(Request("p", 0, [{"role": "user", "content": "q"}], 0)))
    shown = "".join(traceback.format_exception(caught.type, caught.value, caught.tb))
    assert KEY not in shown
    assert "Bearer" not in shown.replace("Bearer [key]", "")
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_url": None, "api_key_env": "SGPO_NO_KEY"}, "SGPO_NO_KEY is not set"),
        ({"base_url": "http://user:pass@host/v1"}, "holds a user or password"),
        ({"base_url": "http://host/v1?key=abc"}, "must end before"),
        ({"base_url": "host/v1"}, "must begin with http"),
        ({"concurrency": 0}, "concurrency 0"),
        ({"timeout": 0.0}, "timeout 0.0"),
        ({"retries": -1}, "retries -1"),
        ({"omit": ["model"]}, r"omit = \['model'\] is unknown"),
        ({"extra_body": {"n": 4}}, "--extra-body sets 'n'"),
        ({"extra_body": {"model": "other"}}, "--extra-body sets 'model'"),
        ({"extra_body": {"temperature": 0.2}}, "--extra-body sets 'temperature'"),
        ({"extra_body": {"api_key": KEY}}, "extra_body holds the key"),
    ],
)
def test_clients_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    given = {"base_url": "http://127.0.0.1:1/v1", "api_key_env": "SGPO_TEST_KEY", **options}
    with pytest.raises(ValueError, match=message) as caught:
        Endpoint("m", Sampling(1.0, 0.95, 500), ModelOptions(**given))
    assert KEY not in str(caught.value)
    assert "pass@" not in str(caught.value)


def test_an_endpoint_that_is_not_there_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    connect = asyncio.open_connection

    def counted(host: str, port: int) -> Any:
        tried.append(port)
        return connect(host, port)

    monkeypatch.setattr(asyncio, "open_connection", counted)
    monkeypatch.setattr(asyncio, "sleep", None)  # it waits for nothing
    options = ModelOptions(base_url="http://127.0.0.1:1/v1", api_key_env="SGPO_TEST_KEY")
    client = Endpoint("m", Sampling(1.0, 0.95, 500), options)
    with pytest.raises(ValueError, match=r"cannot be reached \(.*Connect call failed.*Check --base-url"):
        asyncio.run(client.check())
    assert tried == [1]
