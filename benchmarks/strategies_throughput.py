"""How close extraction comes to the ideal rate of an endpoint, and whether its memory stays flat.

A scripted server answers each request after 200 ms; at concurrency 32 the ideal is 160 calls a second. The rate is
that of `extract` from its first call to its last, with reading, verifying, parsing and committing. Memory is the
resident size of the process, after the first tenth of the calls and at the end.

    python benchmarks/strategies_throughput.py --problems 20000

On a machine that others use, neither this nor any client comes near the ideal; so a bare loop over the `openai` client
(no reading, no verifying, no store) is timed before and after, and the time that the processor gave to a call is said.

The last line is JSON: calls per second, share of the ideal, the bare loop's rate, megabytes at a tenth and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import openai

from sgpo.models import ModelOptions, Sampling
from sgpo.models.endpoint import Endpoint
from sgpo.strategies.asking import Asking, Tally
from sgpo.strategies.extract import Extraction, extract
from sgpo.strategies.sources import Source
from sgpo.strategies.store import Store
from sgpo.strategies.templates import load_prompt

FILLER = "We collect what is given, write it as an equation, and simplify both sides before we go on. "


def write_problems(path: Path, count: int) -> None:
    """Problems with responses of about 2,000 characters, which all verify."""
    with path.open("w") as file:
        for i in range(count):
            response = f"{FILLER * 20}\nThe answer is $\\boxed{{{2 * i}}}$."
            row = {"id": f"p{i:06d}", "problem": f"What is {i} + {i}?", "answer": str(2 * i), "response": response}
            file.write(json.dumps(row) + "\n")


def resident() -> float:
    """Megabytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(folder: Path, problems: int, n: int, concurrency: int, url: str) -> dict[str, float]:
    """One run; the clock starts with the first call's answer, the ideal is that of the calls after it."""
    store, calls = folder / "store.db", problems * n
    memory: list[float] = []
    began = [0.0]

    def report(done: Extraction) -> None:
        tally: Tally = done.tally
        if tally.finished == 1:
            began[0] = time.perf_counter()
        if tally.finished in (max(calls // 10, 1), calls):
            memory.append(resident())

    client = Endpoint("scripted", Sampling(1.0, 0.95, 4096), ModelOptions(base_url=url, concurrency=concurrency))
    with Store(store) as opened:
        asking = Asking(store=opened, client=client, model="scripted", prompt=load_prompt("extract"))
        extract(Source(str(folder / "problems.jsonl")), asking, n=n, report=report)
    seconds = time.perf_counter() - began[0]
    return {"calls": calls, "rate": (calls - 1) / seconds, "mb_at_tenth": memory[0], "mb_at_end": memory[-1]}


def bare(calls: int, concurrency: int, url: str) -> float:
    """Calls per second of the `openai` client alone, with prompts of the same length."""
    row = {"problem": "What is 1 + 1?", "response": FILLER * 20, "answer": "2"}
    messages: list[Any] = load_prompt("extract").messages(**row)

    async def loop() -> float:
        left = iter(range(calls))
        async with openai.AsyncOpenAI(api_key="none", base_url=url) as client:

            async def work() -> None:
                for seed in left:
                    await client.chat.completions.create(model="m", messages=messages, seed=seed, max_tokens=4096)

            await client.chat.completions.create(model="m", messages=messages)
            began = time.perf_counter()
            await asyncio.gather(*(work() for _ in range(concurrency)))
            return calls / (time.perf_counter() - began)

    return asyncio.run(loop())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=20_000)
    parser.add_argument("--n", type=int, default=1)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--latency", type=float, default=0.2)
    arguments = parser.parse_args()
    server = Path(__file__).with_name("scripted_server.py")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_problems(folder / "problems.jsonl", arguments.problems)
        command = [sys.executable, str(server), "--latency", str(arguments.latency)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            before = bare(1000, arguments.concurrency, url)
            used = time.process_time()
            found = measure(folder, arguments.problems, arguments.n, arguments.concurrency, url)
            found["cpu_ms_per_call"] = 1000 * (time.process_time() - used) / found["calls"]
            found["bare_rate"] = (before + bare(1000, arguments.concurrency, url)) / 2
        finally:
            process.terminate()
            process.wait()
    ideal = arguments.concurrency / arguments.latency
    result = {name: round(value, 1) for name, value in found.items()}
    result |= {"ideal": ideal, "share": round(found["rate"] / ideal, 3), "cpus": os.cpu_count() or 0}
    print(
        f"{result['calls']:.0f} calls at {result['rate']}/s, {result['share']:.1%} of the ideal {ideal:.0f}/s "
        f"(bar 90%); "
        f"a bare openai loop beside it {result['bare_rate']}/s; {result['cpu_ms_per_call']} ms of CPU a call; memory "
        f"{result['mb_at_tenth']} MB after a tenth, {result['mb_at_end']} MB at the end"
    )
    print(json.dumps({**result, "machine": platform.machine(), "python": platform.python_version()}))


if __name__ == "__main__":
    main()
