r"""How fast `sgpo.rewards.verify` is on ordinary responses, per core, against bare math-verify in the same run.

Both get the same responses: worked solutions of a few hundred words that end in a box, half of them right, over the
golds of a benchmark file. Both run on one core and one after the other in alternating rounds, so that a busy machine
slows both. "distinct" sees each gold once; "rollouts" sees each gold eight times in a row, as training does.

    python benchmarks/verify_throughput.py --data ../shared/benchmarks/MATH500.jsonl

The last line is JSON: items per second of both, and their ratio (above 1 is faster than bare math-verify).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import time
from pathlib import Path

from sgpo import rewards

WORDS = "we have that the sum of all terms is equal to and so by symmetry each side gives one value for".split()  # noqa: SIM905


def solution(answer: str, generator: random.Random) -> str:
    """A plain worked solution: prose, some formulas, and the answer in a box."""
    lines = []
    for _ in range(generator.randint(8, 20)):
        prose = " ".join(generator.choices(WORDS, k=generator.randint(8, 16)))
        a, b = generator.randint(2, 99), generator.randint(2, 99)
        lines.append(f"{prose} $\\frac{{{a}}}{{{b}}}x^2 + {a}x = {b}$, {prose}.")
    return "\n".join(lines) + f"\n\nThe final answer is $\\boxed{{{answer}}}$."


def respelled(answer: str) -> str:
    """The same answer as a model might write it."""
    return answer.replace("\\frac", "\\dfrac").replace("(", "\\left(").replace(")", "\\right)")


def items(golds: list[str], rollouts: int, seed: int) -> list[tuple[str, str]]:
    """(response, gold): half right (spelled differently where that is possible), half with another problem's answer."""
    generator = random.Random(seed)
    return [
        (solution(respelled(gold if generator.random() < 0.5 else generator.choice(golds)), generator), gold)
        for gold in golds
        for _ in range(rollouts)
    ]


def bare(response: str, gold: str) -> bool:
    """math-verify as its documentation shows it, without time limits."""
    from math_verify import parse, verify

    return verify(parse(f"${gold}$", parsing_timeout=None), parse(response, parsing_timeout=None), timeout_seconds=None)


def measure(pairs: list[tuple[str, str]], rounds: int) -> dict[str, float]:
    """Items per second of both, over alternating rounds; `agree` is the share of equal verdicts."""
    ours = theirs = 0.0
    agree = 0
    chunk = max(1, len(pairs) // rounds)
    for start in range(0, len(pairs), chunk):
        part = pairs[start : start + chunk]
        began = time.perf_counter()
        mine = rewards.verify_batch([response for response, _ in part], [gold for _, gold in part])
        middle = time.perf_counter()
        other = [bare(response, gold) for response, gold in part]
        ours += middle - began
        theirs += time.perf_counter() - middle
        agree += sum(verdict.correct == known for verdict, known in zip(mine, other, strict=True))
    return {
        "items": len(pairs),
        "verify_per_second": round(len(pairs) / ours, 1),
        "math_verify_per_second": round(len(pairs) / theirs, 1),
        "ratio": round(theirs / ours, 2),
        "agree": round(agree / len(pairs), 4),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/benchmarks/MATH500.jsonl"))
    parser.add_argument("--limit", type=int, default=300, help="golds to use")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    golds = [str(json.loads(line)["answer"]) for line in arguments.data.read_text().splitlines()][: arguments.limit]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core for both, workers included
    rewards.configure(workers=1)
    import logging

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    warm = [(r"\boxed{\frac{1}{2}+x}", r"\frac{1}{3}+x")]
    measure(warm, 1)
    results = {
        "distinct": measure(items(golds, 1, arguments.seed), arguments.rounds),
        "rollouts": measure(items(golds[: arguments.limit // 8], 8, arguments.seed + 1), arguments.rounds),
    }
    for name, result in results.items():
        print(
            f"{name}: verify {result['verify_per_second']}/s, bare math-verify {result['math_verify_per_second']}/s, "
            f"ratio {result['ratio']} (bar 0.8), verdicts agree on {result['agree']:.1%} of {result['items']}"
        )
    print(
        json.dumps({**results, "cpu": platform.processor() or platform.machine(), "python": platform.python_version()})
    )


if __name__ == "__main__":
    main()
