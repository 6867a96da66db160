"""Ctrl-C at the command line: the first one waits and says for what, the second one ends at once. No traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from strategies_kit import Play, good, problems_file, said, serving

COMMANDS = {
    "eval": lambda folder: ["eval", "m", "--data", folder / "p.jsonl", "--out", folder / "out", "--k", 4],
    "extract": lambda folder: ["strategies", "extract", folder / "p.jsonl", "-m", "m", "--store", folder / "s.db"],
}


def answer(request: dict[str, Any], number: int) -> Play:
    return good(request, number) if "response_format" in request else said("\\boxed{4}")


SLOW_DISK = {
    "eval": "import sgpo.evaluation.run as m; store, name = m.RunFolder, 'add_responses'",
    "extract": "import sgpo.strategies.store as m; store, name = m.Store, 'record'",
}
SLOWLY = "; import time; real = getattr(store, name); setattr(store, name, lambda *a: (time.sleep(0.5), real(*a))[1]); "


def start(command: str, folder: Path, url: str, before: str = "") -> subprocess.Popen[str]:
    problems_file(folder / "p.jsonl", 12)
    arguments = [str(one) for one in COMMANDS[command](folder)]
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += before + "from sgpo.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments, "--base-url", url, "--concurrency", "3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENAI_API_KEY": "a-test-key"},
    )


def saved(command: str, folder: Path) -> int:
    if command == "eval":
        return len((folder / "out" / "responses.jsonl").read_text().splitlines())
    import sqlite3

    with sqlite3.connect(folder / "s.db") as db:
        return int(db.execute("SELECT count(*) FROM calls").fetchone()[0])


def said_until(words: str, process: subprocess.Popen[str]) -> str:
    """What a process has printed until these words came."""
    assert process.stdout is not None
    output = ""
    while words not in output:
        line = process.stdout.readline()
        assert line, output
        output += line
    return output


@pytest.mark.parametrize("command", COMMANDS)
def test_the_first_one_waits_and_says_for_what(command: str, tmp_path: Path) -> None:
    held = threading.Event()

    def script(request: dict[str, Any], number: int) -> Play:
        if number > 3:
            held.wait(600)
        return answer(request, number)

    with serving(script) as server:
        process = start(command, tmp_path, server.url)
        while len(server.bodies) < 5:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output = said_until("Press it again", process)  # while it waits, and before anything came in
        assert process.poll() is None
        held.set()
        output += process.communicate(timeout=300)[0]
        asked = len(server.bodies)
        assert process.returncode in (1, 2)
        assert "Ctrl-C: waiting for " in output
        assert "under way, which are paid for" in output
        assert "Traceback" not in output
        assert saved(command, tmp_path) == asked < 12
        again = start(command, tmp_path, server.url)
        output, _ = again.communicate(timeout=300)
        assert again.returncode == 0, output
        assert saved(command, tmp_path) == len(server.bodies)


@pytest.mark.parametrize("disk", ["fast", "slow"])
@pytest.mark.parametrize("command", COMMANDS)
def test_the_second_one_ends_at_once_and_keeps_what_came(command: str, disk: str, tmp_path: Path) -> None:
    before = SLOW_DISK[command] + SLOWLY if disk == "slow" else ""
    held = threading.Event()

    def script(request: dict[str, Any], number: int) -> Play:
        if number > 3:
            held.wait(600)
        return answer(request, number)

    with serving(script) as server:
        process = start(command, tmp_path, server.url, before)
        while len(server.bodies) < 6:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output = said_until("Press it again", process)
        process.send_signal(signal.SIGINT)
        try:
            output += process.communicate(timeout=300)[0]
        finally:
            held.set()
            process.kill()
    assert process.returncode == 130
    assert "ended; what was saved before is kept" in output
    assert "Traceback" not in output
    assert saved(command, tmp_path) == 3  # all that came in, also what waited for its commit


def test_a_model_in_this_process_ends_after_its_batch(tmp_path: Path) -> None:
    from sgpo.lab.model import base_path

    rows = [{"id": str(i), "problem": f"Q {i} + {i} ?", "answer": "4"} for i in range(40)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["eval", base_path(0), "--data", tmp_path / "p.jsonl", "--out", tmp_path / "out", "--template", "raw"]
    held = """
import itertools, os, signal, sys, time, sgpo.models.sampling as sampling
from sgpo.cli import main
def held(*given, **more):
    if next(batch) == 1:
        print("the second batch", flush=True)
        while not os.path.exists("go"):
            time.sleep(0.01)
    return real(*given, **more)
signal.signal(signal.SIGINT, signal.default_int_handler)
real, batch, sampling.sample_rows = sampling.sample_rows, itertools.count(), held
main()
"""
    more = ["--k", 1, "--batch-size", 2, "--max-new-tokens", 2]
    process = subprocess.Popen(
        [sys.executable, "-c", held, *map(str, [*arguments, *more])],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    output = said_until("the second batch", process)
    process.send_signal(signal.SIGINT)
    output += said_until("Press it again", process)
    (tmp_path / "go").touch()
    output += process.communicate(timeout=300)[0]
    assert process.returncode == 2
    assert "Ctrl-C: waiting for the batch under way" in output
    assert "stopped by Ctrl-C" in output
    assert "Traceback" not in output
    assert saved("eval", tmp_path) == 4  # of two batches
