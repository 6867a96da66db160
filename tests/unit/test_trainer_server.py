"""The vLLM server must serve the policy; seen before anything is loaded. A server of our own stands in for vLLM."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import trainer_kit as kit

from sgpo.trainer.server import check_server


class Server:
    """Answers GET /v1/models with `answer`."""

    def __init__(self) -> None:
        self.answer: Any = {"data": []}
        self.status = 200
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
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
def server() -> Iterator[Server]:
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


def test_a_server_that_is_down_is_left_to_trl(server: Server, out: Path) -> None:
    check_server(asked(out, "http://127.0.0.1:9"), "Qwen/Qwen2.5-7B")


@pytest.mark.parametrize("options", [{"use_vllm": False}, {"vllm_mode": "colocate"}])
def test_nothing_is_asked_without_a_server(options: dict[str, Any], server: Server, out: Path) -> None:
    server.answer = {"data": [{"id": "other"}]}
    check_server(asked(out, server.url, **options), "Qwen/Qwen2.5-7B")
