"""``sgpo strategies`` from the command line: a whole pipeline, killed runs, two processes, a real server."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from strategies_kit import KEY, Play, good, problems_file, said, serving
from typer.testing import CliRunner

from sgpo.commands.strategies import app
from sgpo.strategies.schema import CRITERIA

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def benchmark(name: str) -> Any:
    """A script of the benchmarks as a module."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"OPENAI_API_KEY": KEY})


def endpoint(body: dict[str, Any], number: int) -> Play:
    """A strategy, or scores where candidates are shown."""
    shown = body["messages"][-1]["content"].count("<candidate number=")
    if not shown:
        return good(body, number)
    return said(json.dumps({"scores": [{"candidate": i, **dict.fromkeys(CRITERIA, 3)} for i in range(1, shown + 1)]}))


def test_from_responses_to_a_data_set(tmp_path: Path) -> None:
    source, store = problems_file(tmp_path / "p.jsonl", 6), tmp_path / "s.db"
    with serving(endpoint) as server:
        asked = ("--store", store, "-m", "m", "--base-url", server.url, "--price-in", 1, "--price-out", 2)
        dry = invoke("extract", source, *asked, "--dry-run")
        assert (dry.exit_code, server.bodies) == (0, []), dry.output
        assert "calls: 30, 5 for each problem" in dry.output
        result = invoke("extract", source, *asked)
        assert result.exit_code == 0, result.output
        assert "rows: ok 6" in result.output
        assert "calls: 0 answered before, ok 30" in result.output
        assert "1,200 in, 300 out; cost 0.0018" in result.output
        assert "calls: 30 answered before, none answered now" in invoke("extract", source, *asked).output
        ranked = invoke("rank", *asked, "--repeats", 2)
        assert ranked.exit_code == 0, ranked.output
        assert "problems: ranked 6" in ranked.output
        assert "winner 100%, Kendall's tau-b -" in ranked.output  # all tied, the first one wins, no correlation
        assert len(server.bodies) == 42
    out = tmp_path / "data.parquet"
    exported = invoke("export", out, "--store", store)
    assert exported.exit_code == 0, exported.output
    from pyarrow import parquet

    rows = parquet.read_table(out).to_pylist()
    assert [row["id"] for row in rows] == [f"p{i}" for i in range(6)]
    assert [row["candidate"] for row in rows] == [0] * 6
    assert rows[1]["prompt"][0]["content"].startswith("What is 1 + 1?")
    assert rows[1]["strategy"].startswith("Problem type: addition\nStrategy: Way ")
    assert KEY.encode() not in store.read_bytes()


def test_exit_codes_tell_a_run_that_stopped(tmp_path: Path) -> None:
    source, store = problems_file(tmp_path / "p.jsonl", 30), tmp_path / "s.db"
    with serving(lambda body, number: Play({"error": {"message": f"bad key {KEY}"}}, 401)) as server:
        result = invoke("extract", source, "--store", store, "-m", "m", "--base-url", server.url)
        assert len(server.bodies) == 1
    assert result.exit_code == 1
    assert "stopped: " in result.output
    assert "unauthorized" in result.output
    assert KEY not in result.output
    with serving() as server:
        result = invoke(
            "extract", source, "--store", store, "-m", "m", "--base-url", server.url, "--max-tokens-total", 9_000
        )
    assert result.exit_code == 0, result.output
    assert "the budget is used up" in result.output


@pytest.mark.parametrize(
    ("play", "reason"),
    [
        (Play({"error": {"message": f"broken, {KEY}"}}, 500), "server_error"),
        (Play({"error": {"message": "busy"}}, 429), "rate_limited"),
        (Play({"id": "x" * 1000}, cut=True), "connection"),
        (said("I am sorry, I cannot help with this."), "refusal"),
        (said(""), "empty"),
    ],
)
def test_a_run_where_every_call_fails_stops_early_and_says_so(play: Play, reason: str, tmp_path: Path) -> None:
    source = problems_file(tmp_path / "p.jsonl", 100)
    asked = ("--store", tmp_path / "s.db", "-m", "m", "--concurrency", 2, "--retries", 0, "--give-up-after", 6)
    with serving(lambda body, number: play) as server:
        result = invoke("extract", source, *asked, "--base-url", server.url)
        assert len(server.bodies) <= 6 + 2 * 2 + 2
    assert result.exit_code == 1, result.output
    assert "stopped: not one of the first" in " ".join(result.output.split())
    assert f"{reason} " in result.output
    assert KEY not in result.output


def test_errors_are_a_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sgpo.cli import main
    from sgpo.strategies.store import VERSION, Store

    monkeypatch.setenv("SGPO_TEST_KEY", KEY)
    source, store = str(problems_file(tmp_path / "p.jsonl", 3)), str(tmp_path / "s.db")
    Store(Path(store)).close()
    with sqlite3.connect(store) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    endpoint = ["-m", "m", "--api-key-env", "SGPO_TEST_KEY"]
    for arguments, message in (
        (["extract", source, "--store", store, *endpoint, "--base-url", "URL"], "was written by a newer sgpo"),
        (["stats", "--store", store], "was written by a newer sgpo"),
        (["extract", source, *endpoint, "--base-url", f"http://{KEY}@host/v1"], "holds a user or password"),
        (["extract", source, *endpoint, "--base-url", "http://127.0.0.1:1/v1"], "cannot be reached"),
    ):
        with serving() as server:
            monkeypatch.chdir(tmp_path)
            monkeypatch.setattr(
                sys, "argv", ["sgpo", "strategies", *(server.url if a == "URL" else a for a in arguments)]
            )
            with pytest.raises(SystemExit) as ended:
                main()
            assert server.bodies == []
        said_all = "".join(capsys.readouterr())
        assert ended.value.code == 2
        assert re.search(f"(^| )error: .*{message}", " ".join(said_all.split()))
        assert KEY not in said_all


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["extract", "none.jsonl", "-m", "m"], "none.jsonl is not a file"),
        (["extract", "DATA", "-m", "m", "--backend", "x"], "--backend 'x' is unknown"),
        (["extract", "DATA", "-m", "m", "--columns", "problem=q"], "no column 'q' for the problem"),
        (["extract", "DATA", "-m", "m", "--api-key-env", "SGPO_NO_KEY"], "SGPO_NO_KEY is not set"),
        (["extract", "DATA", "-m", "m", "--max-cost", "1"], "--max-cost needs --price-in and --price-out"),
        (["extract", "DATA", "-m", "m", "--prompt", "none.md"], "--prompt none.md cannot be read"),
        (["extract", "DATA", "-m", "m", "--extra-body", "[1]"], "must be a JSON object"),
        (["extract", "DATA", "-m", "m", "--n", "0", "--base-url", "URL"], "--n 0"),
        (["extract", "DATA", "-m", "m", "--give-up-after", "0", "--base-url", "URL"], "--give-up-after 0"),
        (["extract", "DATA", "-m", "m", "--temperature", "3"], "temperature 3"),
        (["rank", "-m", "m", "--store", "none.db"], "There is no store none.db"),
        (["export", "x.parquet", "--store", "none.db"], "There is no store none.db"),
        (["export", "x.csv", "--store", "EMPTY"], "must end in"),
        (["show", "--store", "none.db"], "There is no store none.db"),
        (["stats", "--store", "none.db"], "There is no store none.db"),
    ],
)
def test_mistakes_are_said_before_anything_is_asked(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sgpo.strategies.store import Store

    monkeypatch.chdir(tmp_path)
    problems_file(tmp_path / "DATA.jsonl", 3)
    Store(tmp_path / "EMPTY").close()
    with serving() as server:
        filled = [{"DATA": "DATA.jsonl", "URL": server.url}.get(argument, argument) for argument in arguments]
        result = invoke(*filled)
        assert server.bodies == []
    assert isinstance(result.exception, ValueError), result.output
    assert message in str(result.exception)


def test_kills_repeat_and_lose_nothing() -> None:
    """Two of the thirty moments of benchmarks/strategies_kill.py."""
    result = benchmark("strategies_kill").run(kills=2, count=20, seed=1)
    assert result["at_kill"] > 0
    assert {name: result[name] for name in ("kills", "repeated", "lost", "different")} == {
        "kills": 2,
        "repeated": 0,
        "lost": 0,
        "different": 0,
    }
    # what a client cannot know of: calls under way, and those waiting for one commit
    assert result["most_uncommitted"] <= 3 * result["concurrency"]


def test_two_processes_on_one_store_ask_each_call_once(tmp_path: Path) -> None:
    kill = benchmark("strategies_kill")
    problems, log = tmp_path / "p.jsonl", tmp_path / "calls.txt"
    kill.write_problems(problems, 30)
    with kill.serving(log, latency=0.1) as url:
        kill.finish(kill.start(problems, tmp_path / "alone.db", url))
        alone = sorted(kill.logged(log, "asked"))
        position = log.stat().st_size
        together = [kill.start(problems, tmp_path / "shared.db", url) for _ in range(2)]
        printed = [kill.finish(process) for process in together]
        assert sorted(kill.logged(log, "asked", position)) == alone
    assert kill.everything(tmp_path / "shared.db") == kill.everything(tmp_path / "alone.db")
    answered = [
        sum(map(int, re.findall(r"(?:ok|no_json|wrong_schema) (\d+)", line)))
        for text in printed
        for line in text.splitlines()
        if line.startswith("calls:")
    ]
    assert sum(answered) == len(alone) == 5 * 27


def test_an_interrupt_keeps_the_calls_under_way(tmp_path: Path) -> None:
    import signal

    kill = benchmark("strategies_kill")
    problems, log, store = tmp_path / "p.jsonl", tmp_path / "calls.txt", tmp_path / "s.db"
    kill.write_problems(problems, 200)  # of which few are asked
    with kill.serving(log, latency=0.3) as url:
        process = kill.start(problems, store, url)
        while len(kill.logged(log, "asked")) < 12:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 1, output
        assert "stopped: interrupted" in output
        assert len(kill.recorded(store)) == len(kill.logged(log, "asked"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny random model that takes conversations."""
    from sgpo.lab.model import build_model
    from sgpo.lab.tokenizer import build_tokenizer

    folder = tmp_path_factory.mktemp("served")
    tokenizer = build_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}Q {{ m['content'] }} {% endfor %}A"
    tokenizer.save_pretrained(folder)
    model: Any = build_model(0)
    model.config.max_position_embeddings = 2048  # the packaged prompt has several hundred words
    type(model)(model.config).save_pretrained(folder)
    return str(folder)


def test_a_local_model_is_asked_in_batches(tiny: str, tmp_path: Path) -> None:
    source, store = problems_file(tmp_path / "p.jsonl", 3), tmp_path / "s.db"
    options = ["--backend", "transformers", "--n", 2, "--max-tokens", 6, "--batch-size", 4, "--device", "cpu"]
    result = invoke("extract", source, "-m", tiny, "--store", store, *options)
    assert result.exit_code == 1, result.output  # a random model says nothing of use
    assert "not one of 6 calls was of use" in result.output
    found = json.loads(invoke("stats", "--store", store, "--json").stdout)["setups"][0]
    assert sum(found["outcomes"].values()) == 6
    assert 0 < found["completion_tokens"] <= 6 * 6
    assert json.loads(found["settings"])["backend"] == "transformers"


@pytest.fixture(scope="module")
def served(tiny: str) -> Iterator[tuple[str, str]]:
    """``transformers serve`` on loopback with that model: its URL and the model's name."""
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", tiny, "--host", "127.0.0.1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        [*command, "--port", str(port), "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    deadline = time.monotonic() + 600
    try:
        while True:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, "the server did not come up"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                    break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1", tiny
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("stream", [False, True])
def test_a_real_server_of_the_protocol(served: tuple[str, str], stream: bool, tmp_path: Path) -> None:
    url, model = served
    source, store = problems_file(tmp_path / "p.jsonl", 2), tmp_path / "s.db"
    options = ["--store", store, "--base-url", url, "--n", 2, "--max-tokens", 8, "--retries", 0, "--concurrency", 2]
    result = invoke("extract", source, "-m", model, *options, *(["--stream"] if stream else []))
    found = json.loads(invoke("stats", "--store", store, "--json").stdout)["setups"][0]
    # A random model says nothing of use: every reply is an answer, counted, with its tokens, and the run says so.
    assert sum(found["outcomes"].values()) == 4, result.output
    assert set(found["outcomes"]) <= {"no_json", "truncated", "empty"}
    assert 0 < found["completion_tokens"] <= 4 * 8
    assert found["prompt_tokens"] > 4 * 100
    assert result.exit_code == 1
    assert "not one of 4 calls was of use" in result.output


def test_errors_of_a_real_server_are_said(served: tuple[str, str], tmp_path: Path) -> None:
    url, model = served
    source = problems_file(tmp_path / "p.jsonl", 1)
    options = ["--retries", 0, "--n", 1, "--max-tokens", 4]
    for base, extra in ((f"{url}/nowhere", []), (url, ["--extra-body", '{"no_such_field": 1}'])):
        result = invoke(
            "extract", source, "-m", model, "--store", tmp_path / "s.db", "--base-url", base, *options, *extra
        )
        assert result.exit_code == 1, result.output
        assert ("not_found" if not extra else "no_such_field") in result.output


def test_importing_the_commands_is_cheap() -> None:
    heavy = {"torch", "transformers", "numpy", "openai", "sympy", "datasets"}
    code = f"import sys, sgpo.commands.strategies; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
