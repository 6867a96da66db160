"""Endpoints and vLLM at their boundary: an HTTP server that behaves badly, and a stand-in for the engine."""

from __future__ import annotations

import json
import re
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sgpo.data.benchmarks import BenchmarkProblem
from sgpo.evaluation.grading import VerifyGrader
from sgpo.evaluation.run import EvalPlan, run_evaluation
from sgpo.evaluation.templates import TEMPLATES
from sgpo.models import ModelError, ModelOptions, Reply, Request, Sampling
from sgpo.models.endpoint import Endpoint
from sgpo.models.vllm_engine import VllmModel

KEY = "very-secret-0123456789"
SAMPLING = Sampling(0.6, 0.95, 100)
Played = tuple[int, dict[str, Any]]


class Server(ThreadingHTTPServer):
    """Keeps what it was asked, and counts how many requests it had at once."""

    def __init__(self, reply: Callable[[dict[str, Any], int], Played]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply = reply
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
            self.server.bodies.append(body)
            self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.server.paths.append(self.path)
            number = len(self.server.bodies)
        status, reply = self.server.reply(body, number)
        data = json.dumps(reply).encode()
        with self.server.lock:
            self.server.at_once -= 1
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Retry-After-Ms", "1")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def serving(reply: Callable[[dict[str, Any], int], Played]) -> Iterator[Server]:
    server = Server(reply)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def said(text: str | None, finish: str = "stop", tokens: int | None = 7) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": finish, "message": message, "text": text}
    usage = None if tokens is None else {"completion_tokens": tokens, "prompt_tokens": 1, "total_tokens": tokens + 1}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


def double(body: dict[str, Any], number: int) -> Played:
    """Right where the seed is even."""
    gold = 2 * int(body["messages"][-1]["content"].split("+")[0])
    return 200, said(f"\\boxed{{{gold + body['seed'] % 2}}}")


def plan(problems: int = 5, k: int = 4) -> EvalPlan:
    rows = [BenchmarkProblem(f"p{i}", f"{i}+{i}", str(2 * i)) for i in range(problems)]
    return EvalPlan("sums", "here", rows, TEMPLATES["qwen"], k=k, sampling=SAMPLING)


def requests(n: int) -> list[Request]:
    return [Request(f"p{i}", 0, [{"role": "user", "content": f"{i}+{i}"}], i) for i in range(n)]


def backend(server: Server, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Endpoint:
    monkeypatch.setenv("SGPO_TEST_KEY", KEY)
    settings: dict[str, Any] = {"base_url": server.url, "api_key_env": "SGPO_TEST_KEY", "retries": 3, "timeout": 60}
    return Endpoint("m", SAMPLING, ModelOptions(**{**settings, **options}))


def collect(engine: Any, asked: list[Request]) -> dict[str, Reply]:
    return {request.problem: reply for portion in engine.generate(asked, set()) for request, reply in portion}


def test_a_request_says_all_settings_and_one_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(double) as server:
        replies = collect(backend(server, monkeypatch, extra_body={"top_k": 20}), requests(3))
    assert replies["p1"] == Reply("\\boxed{3}", "stop", 7, 1)
    body = next(body for body in server.bodies if body["messages"][0]["content"] == "2+2")
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "2+2"}],
        "temperature": 0.6,
        "top_p": 0.95,
        "max_tokens": 100,
        "seed": 2,
        "top_k": 20,
    }
    assert {header["authorization"] for header in server.headers} == {f"Bearer {KEY}"}


def test_plain_prompts_go_to_completions_and_fields_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda body, number: (200, said("4", "length", None))) as server:
        engine = backend(server, monkeypatch, omit=["seed", "top_p"])
        replies = collect(engine, [Request("p", 0, "2 + 2 =", 5)])
    assert replies == {"p": Reply("4", "length")}
    assert server.paths == ["/v1/completions"]
    assert server.bodies == [{"model": "m", "prompt": "2 + 2 =", "temperature": 0.6, "max_tokens": 100}]
    with pytest.raises(ValueError, match=r"omit = \['model'\] is unknown"):
        backend(server, monkeypatch, omit=["model"])


def test_an_empty_message_is_an_empty_response(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda body, number: (200, said(None, "length"))) as server:
        assert collect(backend(server, monkeypatch), requests(1)) == {"p0": Reply("", "length", 7, 1)}


def test_passing_failures_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def flaky(body: dict[str, Any], number: int) -> Played:
        return ((429, 500, 503)[number % 3], {}) if number <= 3 else double(body, number)

    with serving(flaky) as server:
        replies = collect(backend(server, monkeypatch, concurrency=1), requests(2))
    assert len(replies) == 2
    assert len(server.bodies) == 5


def test_concurrency_is_bounded_and_used(monkeypatch: pytest.MonkeyPatch) -> None:
    full = threading.Barrier(4)  # no request is answered before four are under way

    def together(body: dict[str, Any], number: int) -> Played:
        full.wait(timeout=60)
        return double(body, number)

    with serving(together) as server:
        assert len(collect(backend(server, monkeypatch, concurrency=4), requests(12))) == 12
    assert server.most_at_once == 4


def test_a_refusal_saves_what_was_answered_and_a_second_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(body: dict[str, Any], number: int) -> Played:
        if number > 9:
            return 401, {"error": {"message": f"Incorrect API key provided: {KEY} (sk-other)"}}
        return double(body, number)

    with serving(double) as server:
        run_evaluation(plan(), "m", backend(server, monkeypatch), VerifyGrader(), tmp_path / "whole")
        assert len(server.bodies) == 20
    with serving(refuse) as server:
        url, engine = server.url, backend(server, monkeypatch, concurrency=2)
        with pytest.raises(ModelError, match="run the same command again") as caught:
            run_evaluation(plan(), "m", engine, VerifyGrader(), tmp_path / "cut")
        asked = len(server.bodies)
    assert "unauthorized" in str(caught.value)
    assert KEY not in str(caught.value)
    assert "sk-other" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert asked <= 12
    assert len((tmp_path / "cut" / "responses.jsonl").read_text().splitlines()) == 9

    with serving(double) as server:
        engine = backend(server, monkeypatch)
        engine.base_url = url  # the same settings; only the port of the test server is another
        run_evaluation(plan(), "m", engine, VerifyGrader(), tmp_path / "cut")
        assert len(server.bodies) == 11
    problems = [json.loads((tmp_path / name / "results.json").read_text())["problems"] for name in ("whole", "cut")]
    assert problems[0] == problems[1]
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or KEY not in path.read_text()
    assert KEY not in "".join(capsys.readouterr())


def test_a_dead_endpoint_is_an_error_and_not_a_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Endpoint("m", SAMPLING, ModelOptions(base_url="http://127.0.0.1:1/v1", retries=0))
    with pytest.raises(ModelError, match="cannot be reached"):
        run_evaluation(plan(), "m", engine, VerifyGrader(), tmp_path)
    assert not (tmp_path / "results.json").exists()


def test_a_reply_without_choices_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = {**said("x"), "choices": []}
    with serving(lambda body, number: (200, empty)) as server, pytest.raises(ModelError, match="without choices"):
        collect(backend(server, monkeypatch), requests(1))


def test_the_words_of_the_endpoint_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = {"detail": f"max_tokens must be at most 64 ({KEY})"}
    words = r"bad_request: .*must be at most 64 \(\[key\]"
    with serving(lambda body, number: (400, refused)) as server, pytest.raises(ModelError, match=words):
        collect(backend(server, monkeypatch), requests(1))
    assert len(server.bodies) == 1  # a refusal is not tried again


def test_keys_come_from_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ValueError, match="OPENAI_API_KEY is not set"):
        Endpoint("m", SAMPLING, ModelOptions())
    with pytest.raises(ValueError, match="user or password") as caught:
        Endpoint("m", SAMPLING, ModelOptions(base_url="http://user:pass@host/v1"))
    assert "pass@" not in str(caught.value)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert KEY not in json.dumps(Endpoint("m", SAMPLING, ModelOptions()).describe())
    with pytest.raises(ValueError, match="concurrency 0"):
        Endpoint("m", SAMPLING, ModelOptions(concurrency=0))


class Engine:
    """The part of vllm.LLM that is used."""

    made: ClassVar[dict[str, Any]] = {}

    def __init__(self, **settings: Any) -> None:
        Engine.made = settings
        self.calls: list[tuple[list[Any], list[Any]]] = []

    def get_tokenizer(self) -> Any:
        class Tokenizer:
            def __call__(self, text: str, **_: Any) -> dict[str, Any]:
                return {"input_ids": [ord(letter) for letter in text]}

            def apply_chat_template(self, messages: list[dict[str, str]], **_: Any) -> str:
                return "".join(f"<{m['role']}>{m['content']}" for m in messages)

        return Tokenizer()

    def generate(self, prompts: list[Any], params: list[Any], use_tqdm: bool) -> list[Any]:
        self.calls.append((prompts, params))
        outputs = []
        for prompt, one in zip(prompts, params, strict=True):
            text = f"{len(prompt['prompt_token_ids'])}/{one.seed}"
            reason = "length" if one.seed == 1 else "stop"
            outputs.append(
                types.SimpleNamespace(
                    outputs=[types.SimpleNamespace(text=text, token_ids=[0] * 3, finish_reason=reason)]
                )
            )
        return outputs


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("vllm")
    module.LLM = Engine  # type: ignore[attr-defined]
    module.SamplingParams = types.SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)


def test_a_router_that_falls_back_to_another_model_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def routed(body: dict[str, Any], number: int) -> Played:
        status, reply = double(body, number)
        return status, {**reply, "model": f"m-{'large' if number % 4 else 'small'}"}

    lines: list[str] = []
    with serving(routed) as server:
        run_evaluation(plan(), "m", backend(server, monkeypatch), VerifyGrader(), tmp_path / "a", say=lines.append)
    assert len(lines) == 1
    assert re.search(r"several models, as it says itself \(m-large 15, m-small 5\)", lines[0])
    with serving(double) as server:
        run_evaluation(plan(), "m", backend(server, monkeypatch), VerifyGrader(), tmp_path / "b", say=lines.append)
    assert len(lines) == 1


def test_samples_that_are_all_the_same_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An endpoint with a cache, or without a temperature: pass@k would be pass@1 without a word."""
    lines: list[str] = []
    with serving(lambda body, number: (200, said("\\boxed{4}"))) as server:
        found = run_evaluation(plan(), "m", backend(server, monkeypatch), VerifyGrader(), tmp_path, say=lines.append)
    assert found.pass_at_k[4] == pytest.approx(found.accuracy)
    assert re.search(r"All 4 samples of every problem are the same, word for word", "\n".join(lines))


@pytest.mark.parametrize("apart", [False, True])
def test_thinking_that_an_endpoint_cuts_states_no_answer_but_in_a_box(
    apart: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The prompt begins the thinking, or a parser gives it apart only where it has ended; both say nothing where it
    was cut. A model in this process is judged so, too (test_models_sampling)."""

    def reply(body: dict[str, Any], number: int) -> Played:
        if number % 2:
            return 200, said("Perhaps the answer is 4.", "length")
        whole = said("\\boxed{5}" if apart else "2 + 2 is 4, or not.</think>\\boxed{5}")
        if apart:
            whole["choices"][0]["message"]["reasoning_content"] = "2 + 2 is 4, or not."
        return 200, whole

    lines: list[str] = []
    with serving(reply) as server:
        for _ in range(2):  # the second start asks for nothing, and finds the same
            run = plan(), "m", backend(server, monkeypatch), VerifyGrader(), tmp_path
            assert run_evaluation(*run, say=lines.append).accuracy == 0
    assert len(server.bodies) == 20
    assert sum("10 of 20 replies were cut within thinking" in line for line in lines) == 1
    saved = [json.loads(line) for line in (tmp_path / "responses.jsonl").read_text().splitlines()]
    last = {(one["problem"], one["sample"]): one for one in saved}
    assert sum(one["text"].startswith("<think>Perhaps") for one in last.values()) == 10


def test_a_reply_that_was_cut_is_an_answer_where_not_every_reply_thinks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def reply(body: dict[str, Any], number: int) -> Played:
        text = ["Perhaps the answer is 4.", "</think>\\boxed{5}", "\\boxed{5}"][number % 3]
        return 200, said(text, "stop" if number % 3 else "length")

    with serving(reply) as server:
        run_evaluation(plan(), "m", backend(server, monkeypatch), VerifyGrader(), tmp_path)
    assert "<think>" not in (tmp_path / "responses.jsonl").read_text()


def test_vllm_gets_each_request_with_its_seed(vllm: None) -> None:
    engine = VllmModel.load("m", SAMPLING, ModelOptions(batch_size=2))
    assert Engine.made["generation_config"] == "vllm"
    portions = list(engine.generate(requests(4), {("p2", 0)}))
    assert [[request.problem for request, _ in portion] for portion in portions] == [["p0", "p1"], ["p3"]]
    width = len("<user>0+0")
    assert portions[0][0][1] == Reply(f"{width}/0", "stop", 3, width)
    assert portions[0][1][1] == Reply(f"{width}/1", "length", 3, width)
    params = engine.engine.calls[0][1][0]
    assert vars(params) == {"n": 1, "temperature": 0.6, "top_p": 0.95, "max_tokens": 100, "seed": 0}


def test_vllm_runs_resume(vllm: None, tmp_path: Path) -> None:
    engine = VllmModel.load("m", SAMPLING, ModelOptions(batch_size=7))
    first = run_evaluation(plan(), "m", engine, VerifyGrader(), tmp_path)
    assert first.n_problems == 5
    again = VllmModel.load("m", SAMPLING, ModelOptions(batch_size=3))
    run_evaluation(plan(), "m", again, VerifyGrader(), tmp_path)
    assert again.engine.calls == []


def test_without_vllm_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ModelError, match=r"pip install 'vllm<=.*', or use --backend transformers"):
        VllmModel.load("m", SAMPLING, ModelOptions())
