"""``kill -9`` at random moments of an extraction: no answered call is repeated, none is lost.

A scripted server logs each request by its seed, which names the call. Each trial starts `sgpo strategies extract`,
kills it when the server has seen a random number of requests plus a random part of a call's time, reads what the store
holds, and runs the same command again to its end. Then

- repeated: calls that were in the store at the kill and that the server was asked again (must be 0);
- lost: calls that were in the store at the kill and are not, or not as they were, in the end (must be 0);
- different: trials whose final store is not that of an undisturbed run, times and durations aside (must be 0);
- uncommitted: replies that the server had handed to the network and that the process had not committed when it died.
  A client that is killed between the two cannot know of them, so they are asked again; there are at most as many as
  calls under way and waiting for one commit.

    python benchmarks/strategies_kill.py --kills 30

The last line is JSON with these sums.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sgpo.strategies.extract import stream_seed

CANDIDATES = 5
CONCURRENCY = 8
LATENCY = 0.05
Calls = dict[tuple[str, int], tuple[object, ...]]


def write_problems(path: Path, count: int) -> None:
    """Problems that verify, but for each tenth."""
    rows = (
        {
            "id": f"p{i}",
            "problem": f"What is {i} + {i}?",
            "answer": str(2 * i + (i % 10 == 9)),
            "response": f"${2 * i}$",
        }
        for i in range(count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@contextmanager
def serving(log: Path, latency: float = LATENCY) -> Iterator[str]:
    """The URL of a scripted server that writes its log to a file."""
    log.touch()
    command = [sys.executable, str(Path(__file__).with_name("scripted_server.py"))]
    command += ["--latency", str(latency), "--log", str(log)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def start(problems: Path, store: Path, url: str) -> subprocess.Popen[str]:
    """The command, under way."""
    command = [sys.executable, "-m", "sgpo.cli", "strategies", "extract", str(problems), "--store", str(store)]
    command += ["--model", "scripted", "--base-url", url, "--concurrency", str(CONCURRENCY), "--n", str(CANDIDATES)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENAI_API_KEY": "not-a-key"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a command that must succeed; what it printed."""
    output, _ = process.communicate(timeout=900)
    if process.returncode != 0:
        raise RuntimeError(f"exit code {process.returncode}:\n{output}")
    return output


def recorded(store: Path) -> Calls:
    """The store's calls by problem and number, without what time did to them."""
    if not store.exists():
        return {}
    with closing(sqlite3.connect(store)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'calls'").fetchone():
            return {}
        columns = "problem, number, id, setup, subject, outcome, raw, parsed, prompt_tokens, completion_tokens"
        return {(row[0], row[1]): row[2:] for row in db.execute(f"SELECT {columns} FROM calls")}


def everything(store: Path) -> list[list[tuple[object, ...]]]:
    """All that a store holds, in order, without what time did to it."""
    with closing(sqlite3.connect(store)) as db:
        rest = ("problems", "setups", "notes", "claims", "workers")
        return [sorted(recorded(store).items())] + [
            db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in rest
        ]


def logged(log: Path, event: str, since: int = 0) -> list[int]:
    """Seeds of an event in a server's log, from a position on."""
    with log.open("rb") as file:
        file.seek(since)
        lines = file.read().decode().splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith(event)]


def trial(folder: Path, problems: Path, total: int, draw: random.Random) -> tuple[dict[str, int], Path]:
    """One kill and the run after it; the counts of the module's text, and the final store."""
    store, log = folder / "store.db", folder / "calls.txt"
    moment = draw.randrange(total)
    with serving(log) as url:
        process = start(problems, store, url)
        while len(logged(log, "asked")) < moment and process.poll() is None:
            time.sleep(0.002)
        time.sleep(draw.random() * 2 * LATENCY)
        process.kill()
        process.communicate()
        sent = set(logged(log, "sent"))
        time.sleep(2 * LATENCY)  # what the server had under way is logged
        before, position = recorded(store), log.stat().st_size
        finish(start(problems, store, url))
    seeds = {stream_seed(0, *key): key for key in recorded(store)}
    again = {seeds[seed] for seed in logged(log, "asked", position)}
    final = recorded(store)
    return {
        "at_kill": len(before),
        "repeated": len(again & set(before)),
        "lost": sum(final.get(key) != row for key, row in before.items()),
        "uncommitted": len({seeds[seed] for seed in sent} - set(before)),
    }, store


def run(kills: int, count: int, seed: int) -> dict[str, int]:
    """All trials against one undisturbed run; sums over trials."""
    draw = random.Random(seed)
    sums = {"kills": 0, "at_kill": 0, "repeated": 0, "lost": 0, "uncommitted": 0, "most_uncommitted": 0, "different": 0}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        problems = folder / "problems.jsonl"
        write_problems(problems, count)
        with serving(folder / "calls.txt") as url:
            finish(start(problems, folder / "store.db", url))
        undisturbed = everything(folder / "store.db")
        total = len(recorded(folder / "store.db"))
        for number in range(kills):
            here = folder / str(number)
            here.mkdir()
            found, store = trial(here, problems, total, draw)
            for key, value in found.items():
                sums[key] += value
            sums["kills"] += 1
            sums["most_uncommitted"] = max(sums["most_uncommitted"], found["uncommitted"])
            sums["different"] += everything(store) != undisturbed
            print(f"kill {number + 1}: {found['at_kill']} of {total} calls in the store, {found}", flush=True)
    return {**sums, "calls_each": total, "concurrency": CONCURRENCY}


def main() -> None:
    """Run and print; exit code 1 where something was repeated, lost or different."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--problems", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    result = run(arguments.kills, arguments.problems, arguments.seed)
    print(json.dumps(result))
    sys.exit(bool(result["repeated"] or result["lost"] or result["different"]))


if __name__ == "__main__":
    main()
