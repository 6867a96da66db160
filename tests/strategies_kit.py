"""A chat endpoint on loopback that plays whatever a test scripts, and small pieces for tests of strategies."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KEY = "very-secret-0123456789"
GOOD = {"problem_type": "addition", "strategy": "Combine the parts into a whole.", "steps": ["Name them.", "Add them."]}


@dataclass
class Play:
    """What the server does: a status with a body (an object, or bytes as they are), or a fault of the network."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang: float = 0.0  # seconds of silence before the reply
    cut: bool = False  # close the connection in the middle of the body
    trickle: float = 0.0  # seconds between the bytes of the body
    raw: bytes | None = None  # sent in place of an HTTP response, and the connection closed


Script = Callable[[dict[str, Any], int], Play]


def said(text: Any, finish: str = "stop", tokens: tuple[int, int] | None = (40, 10), **message: Any) -> Play:
    """A chat completion."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
    usage = None if tokens is None else {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return Play(
        {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    )


def streamed(text: str, finish: str | None = "stop", pieces: int = 5, **play: Any) -> Play:
    """A chat completion in server-sent events; no finish is a stream that stops in the middle."""
    size = max(1, -(-len(text) // pieces))
    deltas = [{"content": text[i : i + size]} for i in range(0, len(text), size)]
    base = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    events = [{**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    if finish is not None:
        events.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        events.append(
            {**base, "choices": [], "usage": {"prompt_tokens": 40, "completion_tokens": 10, "total_tokens": 50}}
        )
    data = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + ("data: [DONE]\n\n" if finish else "")
    return Play(data.encode(), headers={"Content-Type": "text/event-stream"}, **play)


def way(seed: int) -> str:
    """The strategy of `good` for a seed, spelt in letters, since a number would be a leak."""
    return "Way " + str(seed).translate(str.maketrans("0123456789", "abcdefghij"))


def good(body: dict[str, Any], number: int) -> Play:
    """A strategy that depends on the request alone."""
    return said(json.dumps({**GOOD, "strategy": way(body["seed"])}))


class Server(ThreadingHTTPServer):
    """Keeps what it was asked, and how many requests it had at once."""

    daemon_threads = True

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.times: list[float] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are part of the play."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
            server.bodies.append(body)
            server.keys.add(str(self.headers["Authorization"]))
            server.times.append(time.monotonic())
            number = len(server.bodies)
        play = server.script(body, number)
        if play.hang:
            time.sleep(play.hang)
        with server.lock:
            server.at_once -= 1
        if play.raw is not None:
            self.wfile.write(play.raw)
            self.close_connection = True
            return
        data = play.body if isinstance(play.body, bytes) else json.dumps(play.body).encode()
        self.send_response(play.status)
        for name, value in {"Content-Type": "application/json", "Retry-After-Ms": "1", **play.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if play.trickle:
            for byte in data:
                self.wfile.write(bytes([byte]))
                time.sleep(play.trickle)
        else:
            self.wfile.write(data[: len(data) // 2] if play.cut else data)
        self.close_connection = play.cut

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def serving(script: Script = good) -> Iterator[Server]:
    server = Server(script)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def problem_row(i: int, **changes: Any) -> dict[str, Any]:
    row = {
        "id": f"p{i}",
        "problem": f"What is {i} + {i}?",
        "answer": str(2 * i),
        "response": f"It is \\boxed{{{2 * i}}}.",
    }
    return {**row, **changes}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def problems_file(path: Path, count: int) -> Path:
    return write_rows(path, [problem_row(i) for i in range(count)])
