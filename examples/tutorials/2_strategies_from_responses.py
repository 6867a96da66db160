"""2. Strategies from your own responses.

You have problems with answers, and responses of a strong model. This turns the responses into strategies. A scripted
endpoint stands in for the strong model, so nothing is downloaded or paid. With a real one, only its URL, its model's
name and your key change:

    export OPENAI_API_KEY=...  OPENAI_BASE_URL=https://HOST/v1  OPENAI_MODEL=MODEL

The words of this tutorial are defined in docs/terms.md.
"""

import itertools
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tutorial_kit import command

OUT = Path("runs/tutorials/2")

RESPONSES = [
    {
        "id": "apples",
        "problem": "Mia has 14 apples. She buys 9 more and gives away 5. How many has she got?",
        "answer": "18",
        "response": "She has 14 + 9 = 23 after buying. Then 23 - 5 = 18. So \\boxed{18}.",
    },
    {
        "id": "train",
        "problem": "A train covers 150 km in 2 hours. How far does it go in 5 hours at the same speed?",
        "answer": "375",
        "response": "Its speed is 150 / 2 = 75 km an hour. In 5 hours it goes 75 * 5 = 375 km. So \\boxed{375}.",
    },
    {
        "id": "wrong",  # this response is not right, so nothing is made of it
        "problem": "What is 17 * 3?",
        "answer": "51",
        "response": "17 * 3 = 41, so \\boxed{41}.",
    },
]


def strategy(kind: str, principle: str, *steps: str) -> str:
    """What a strong model replies to the request for a strategy."""
    return json.dumps({"problem_type": kind, "strategy": principle, "steps": steps})


# Two candidates for each problem. One of them tells an intermediate result, which a strategy must not do.
REPLIES = {
    "apples": [
        strategy("gains and losses", "Follow the count through its changes.", "Add what comes.", "Subtract what goes."),
        strategy("gains and losses", "Follow the count.", "After buying there are 23 apples.", "Subtract what goes."),
    ],
    "train": [
        strategy("constant speed", "Find the distance of one hour first.", "Divide by the hours.", "Multiply again."),
        strategy("constant speed", "Scale the distance.", "Compare the two times.", "Multiply by their ratio."),
    ],
}


CANDIDATES = {name: itertools.cycle(texts) for name, texts in REPLIES.items()}


class StrongModel(BaseHTTPRequestHandler):
    """An OpenAI-compatible endpoint whose replies are written above."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        if "<candidate number=" in prompt:  # the request of `rank`: scores of each candidate
            criteria = "faithful", "general", "executable", "instance_free"
            shown = enumerate(prompt.split("<candidate number=")[1:], 1)
            marks = {i: 5 if "there are 23 apples" in each else 4 for i, each in shown}  # it likes the one that leaks
            text = json.dumps(
                {"scores": [{"candidate": i, **dict.fromkeys(criteria, mark)} for i, mark in marks.items()]}
            )
        else:
            name = next(row["id"] for row in RESPONSES if row["problem"] in prompt)
            text = next(CANDIDATES[name])
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        asked = sum(len(message["content"]) for message in body["messages"])
        usage = {"prompt_tokens": asked // 4, "completion_tokens": len(text) // 4}
        data = json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    responses, store, exported = OUT / "responses.jsonl", OUT / "strategies.db", OUT / "train.jsonl"
    store.unlink(missing_ok=True)  # else nothing is asked again: a store keeps every answer
    responses.write_text("".join(json.dumps(row) + "\n" for row in RESPONSES))
    server = ThreadingHTTPServer(("127.0.0.1", 0), StrongModel)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ |= {
        "OPENAI_API_KEY": "none-needed-here",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{server.server_port}/v1",
        "OPENAI_MODEL": "scripted",
    }

    # What will it cost? A dry run asks nothing.
    command(f"strategies extract {responses} --store {store} --n 2 --dry-run --price-in 0.5 --price-out 2")
    # Responses whose answer is not the gold are left out and counted. Stop and repeat the command at will.
    command(f"strategies extract {responses} --store {store} --n 2")
    command(f"strategies rank --store {store}")
    # The best-ranked candidate that the leak check passes is taken.
    command(f"strategies export {exported} --store {store}")
    # Each candidate with its place, and what the leak check found in those that it was asked about.
    command(f"strategies show --store {store}")
    server.shutdown()

    print("\nWhat training reads:")
    for line in exported.read_text().splitlines():
        row = json.loads(line)
        print(f"- {row['id']}: {row['strategy']!r} (answer {row['answer']})")
    print("\nNext: 3_is_a_strategy_good.py, or sgpo train (4_train_on_your_data.py).")


if __name__ == "__main__":
    main()
