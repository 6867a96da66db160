"""The vLLM server must be up and serve the policy; seen before anything is loaded. A server of our own stands in."""

import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trainer_kit as kit

from sgpo.trainer.vllm_server import check_server


class Server:
    """Answers GET /v1/models with `answer`, and GET /health with the next of `health`, the last one again and again."""

    def __init__(self) -> None:
        self.answer: Any = {"data": []}
        self.status = 200
        self.health = [200]
        self.asked = 0  # for its health
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/health":
                    status = stand_in.health[min(stand_in.asked, len(stand_in.health) - 1)]
                    stand_in.asked += 1  # before whoever asks can go on
                    self.send_response(status)
                    self.end_headers()
                    return
                self.send_response(stand_in.status if self.path == "/v1/models" else 404)
                self.end_headers()
                text = stand_in.answer if isinstance(stand_in.answer, str) else json.dumps(stand_in.answer)
                self.wfile.write(text.encode())

            def log_message(self, *args: Any) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("sgpo.trainer.vllm_server._SECONDS", 60.0)  # of one look
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


def asked(out: Path, url: str, **options: Any) -> Any:
    fields = {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": url}
    return kit.make_config(out, **{**fields, **options})


def test_another_model_is_refused(server: Server, out: Path) -> None:
    server.answer = {"data": [{"id": "chat", "root": "Qwen/Qwen2.5-7B-Instruct"}]}
    with pytest.raises(ValueError) as error:
        check_server(asked(out, server.url), "Qwen/Qwen2.5-1.5B-Instruct")
    for words in (server.url, "Qwen/Qwen2.5-7B-Instruct, chat", "'Qwen/Qwen2.5-1.5B-Instruct'", "vllm serve"):
        assert words in str(error.value)


def test_the_trainer_asks_before_it_loads(server: Server, out: Path) -> None:
    server.answer = {"data": [{"id": "other"}]}
    with pytest.raises(ValueError, match="serves other, but the policy is 'no/such-model'"):
        kit.make_trainer(out, model="no/such-model", **asked_fields(server.url))


def asked_fields(url: str) -> dict[str, Any]:
    return {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": url}


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-7B-Instruct", "/mnt/models/Qwen2.5-7B-Instruct", ""])
def test_the_same_model_passes(name: str, server: Server, out: Path) -> None:
    server.answer = {"data": [{"id": "alias", "root": "/models/Qwen2.5-7B-Instruct"}]}
    check_server(asked(out, server.url + "/"), name)


@pytest.mark.parametrize(
    "answer", ["<html>", "[1, 2]", {"data": None}, {"data": []}, {"data": ["x"]}, {"error": "key"}]
)
@pytest.mark.parametrize("status", [200, 401, 503])
def test_any_other_answer_is_left_to_trl(answer: Any, status: int, server: Server, out: Path) -> None:
    server.answer, server.status = answer, status
    check_server(asked(out, server.url), "Qwen/Qwen2.5-7B")


# A server that is down, or that stands there and says nothing. TRL would wait forever for all but the first.


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgpo.trainer.vllm_server._PAUSE", 0.01)


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_server_that_is_down(no_pause: None, out: Path) -> None:
    url = "http://127.0.0.1:1"  # no system gives this port to anyone who asks for a free one
    with pytest.raises(ConnectionError) as error:
        check_server(asked(out, url, vllm_server_timeout=0.05), "Qwen/Qwen2.5-7B")
    for words in (url, "not up after 0.05 s", "refused", "vllm serve", "vllm_server_timeout"):
        assert words in str(error.value)


def test_a_server_that_never_answers_ends_before_the_policy_is_loaded(no_pause: None, silent: str, out: Path) -> None:
    with pytest.raises(ConnectionError, match="does not answer GET /health"):
        kit.make_trainer(out, model="no/such-model", **asked_fields(silent), vllm_server_timeout=0.2)


def test_an_address_without_a_scheme_is_not_waited_for(out: Path) -> None:
    with pytest.raises(ValueError, match="'localhost:8000', but must begin with http"):
        check_server(asked(out, "localhost:8000"), "Qwen/Qwen2.5-7B")


def test_a_server_that_only_answers_with_an_error(server: Server, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which only pauses take time; a look has a minute."""
    now, look = [0.0], urllib.request.urlopen
    pauses = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.append(now.pop() + seconds))
    monkeypatch.setattr("sgpo.trainer.vllm_server.time", pauses)
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: look(url, timeout=60))
    server.health = [503]
    with pytest.raises(ConnectionError, match=r"not up after 7 s: it answers 503 Service Unavailable"):
        check_server(asked(out, server.url, vllm_server_timeout=7), "Qwen/Qwen2.5-7B")
    assert (server.asked, now) == (5, [7.0])


def test_a_server_that_is_still_loading_is_waited_for(
    no_pause: None, server: Server, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.health = [503, 503, 200]
    server.answer = {"data": [{"id": "other"}]}
    with pytest.raises(ValueError, match="serves other"):
        check_server(asked(out, server.url, vllm_server_timeout=60), "Qwen/Qwen2.5-7B")
    assert server.asked == 3
    assert caplog.messages == [
        f"Waiting up to 60 s for the vLLM server at {server.url}: it answers 503 Service Unavailable to GET /health"
    ]


@pytest.mark.parametrize("options", [{"use_vllm": False}, {"vllm_mode": "colocate"}])
def test_nothing_is_asked_without_a_server(options: dict[str, Any], server: Server, out: Path) -> None:
    server.answer = {"data": [{"id": "other"}]}
    check_server(asked(out, server.url, **options), "Qwen/Qwen2.5-7B")
