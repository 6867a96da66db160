"""A scripted chat endpoint for the benchmarks of strategies: a reply depends on the request alone, after a set wait.

    python benchmarks/scripted_server.py --latency 0.2 --log calls.txt

It prints its URL and serves until it is ended. Each request is logged as ``asked SEED`` when it came and as
``sent SEED`` when its reply was handed to the network; the seed names the call. One reply in twenty holds no JSON, one
in twenty another schema. Asyncio and no framework, so that it takes little from the machine it shares.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

SCORES = ("faithful", "general", "executable", "instance_free")


def reply_to(body: dict[str, Any]) -> str:
    """The text of a reply: a strategy, scores where candidates are shown, or something that cannot be read."""
    prompt = body["messages"][-1]["content"]
    number = int.from_bytes(hashlib.sha256(f"{body.get('seed')} {prompt}".encode()).digest()[:6], "big")
    if number % 20 == 0:
        return "Let me think about what kind of problem this is."
    if number % 20 == 1:
        return json.dumps({"answer": number})
    if "<candidate number=" in prompt:
        count = prompt.count("<candidate number=")
        rows = [
            {"candidate": i, **{name: 1 + (number >> (3 * i + j)) % 5 for j, name in enumerate(SCORES)}}
            for i in range(1, count + 1)
        ]
        return json.dumps({"scores": rows})
    steps = ["Name the unknown.", "Write what is known as an equation.", f"Solve it by way {number % 997}."]
    strategy = {"problem_type": "word problem", "strategy": "Translate the text into an equation.", "steps": steps}
    return f"Here it is:\n```json\n{json.dumps(strategy)}\n```"


class Server:
    """Keeps connections open, answers each request ``latency`` seconds after it came."""

    def __init__(self, latency: float, log: BinaryIO | None) -> None:
        self.latency, self.log = latency, log

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                )
                body = json.loads(await reader.readexactly(length))
                self.note("asked", body)
                if self.latency:
                    await asyncio.sleep(self.latency)
                writer.write(self.response(body))
                await writer.drain()
                self.note("sent", body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def response(self, body: dict[str, Any]) -> bytes:
        text = reply_to(body)
        size = sum(len(message["content"]) for message in body["messages"])
        usage = {
            "prompt_tokens": size // 4,
            "completion_tokens": len(text) // 4,
            "total_tokens": (size + len(text)) // 4,
        }
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        reply = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"]}
        data = json.dumps({**reply, "choices": [choice], "usage": usage}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        return head.encode() + data

    def note(self, event: str, body: dict[str, Any]) -> None:
        if self.log is not None:
            self.log.write(f"{event} {body.get('seed')}\n".encode())


async def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--parent", type=int, default=os.getppid(), help="end when this process is gone")
    arguments = parser.parse_args()
    log = arguments.log.open("ab", buffering=0) if arguments.log else None
    server = await asyncio.start_server(Server(arguments.latency, log).serve, "127.0.0.1", 0, limit=2**24)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    while os.getppid() == arguments.parent:
        await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(main())
