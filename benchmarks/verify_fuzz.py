r"""20,000 hostile and random strings through `sgpo.rewards.verify`: no crash, no overrun, bounded memory, no code run.

The strings come from hypothesis (any unicode, and LaTeX put together at random), from mutated answers, and from
hand-made bombs (power towers, factorials, sums, nesting, 10 MB). Each is judged twice: by one caller, and by 16
at once; the verdicts must be the same.

    python benchmarks/verify_fuzz.py --items 20000

The last line is JSON; the exit status is 1 where something was violated. "overruns" are items over 1.5 times the
deadline; "changed" are verdicts that differ between the two runs and were no time-outs; "changed_timeouts" are items
so near the deadline that only one run reached it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sgpo import rewards

FRAGMENTS = [
    "\\frac", "{", "}", "\\sqrt", "^", "_", "x", "y", "7", "12", "0.5", "(", ")", "[", "]", "\\cup", ",", ";", "=",
    "<", "\\text{or}", "!", "\\pm", "%", "$", "\\\\", "é", "√", "²", "½", "\\begin{pmatrix}", "\\end{pmatrix}", "&",
    "'", '"', "\\sum_{k=1}^{n}", "\\infty", ":", "\\{", "\\}", " ", "\n", "\\boxed{", "\\left", "\\right", "\\log",
    "\\sin", "\\int", "\\lim_{x\\to 0}", "\\binom", "\\overline{3}", "cm", "and", "\\degree", "\\in", "|", "e", "i",
    "\\pi", "+", "-", "/", "*",
]  # fmt: skip
ANSWERS = [
    "\\frac{14}{3}", "3\\sqrt{13}", "(1,2]", "\\{1,2\\}", "x^2+1", "12:30", "\\text{east}", "5\\text{ cm}", "1,000",
    "50\\%", "y=2x+1", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", "1011_2", "90^\\circ", "(-\\infty,2)\\cup(3,\\infty)",
    "1\\pm\\sqrt2",
]  # fmt: skip
GOLDS = ["7", "\\frac{1}{2}", "x^2+1", "(1,2)", "\\{1,2\\}", "\\text{east}", "\\pi", "y=2x+1", "3\\sqrt{13}", "1,3,5"]


def bombs() -> list[str]:
    """Strings made to take all the time or memory there is."""
    towers = ["^{".join(["9"] * n) + "}" * (n - 1) for n in range(3, 12)]
    factorials = [
        "(10^{6})!",
        "100000!!",
        "((((7!)!)!)!)!",
        "\\frac{(10^{7})!}{(10^{7}-1)!}",
        "\\binom{10^9}{5\\cdot 10^8}",
    ]
    sums = [
        "\\sum_{k=1}^{10^{9}} k^k", "\\prod_{k=1}^{10^6} (k^2+1)",
        "\\sum_{i=1}^{1000}\\sum_{j=1}^{1000} \\frac{1}{i^j}",
        "\\int_0^\\infty \\frac{\\sin(x^{x^x})}{e^{x^2}+\\ln x} dx", "\\lim_{x\\to 0} (1+x^{x^{x}})^{1/x^9}",
        "\\int \\int \\int \\sin(\\cos(\\tan(x y z))) dx dy dz",
    ]  # fmt: skip
    nests = [o * n + "1" + c * n for o, c in ("()", "{}", "[]") for n in (20, 45, 60, 900, 3000)]
    nests += ["\\sqrt{" * n + "2" + "}" * n for n in (10, 40, 300)] + [
        "\\frac{1}{1+" * n + "1" + "}" * n for n in (10, 40, 300)
    ]
    wide = ["+".join(f"\\sqrt{{{k}}}" for k in range(2, n)) for n in (30, 120)]
    wide += ["(" + ")(".join(f"x+{k}" for k in range(n)) + ")" for n in (20, 90)]
    wide += [f"(x+y+z+w)^{{{n}}}" for n in (20, 60, 10**6)] + ["x" * n for n in (300, 1900, 100_000)]
    wide += [",".join(str(k) for k in range(n)) for n in (50, 400)] + ["1" * n for n in (400, 1900, 100_000)]
    wide += [
        piece * n for n in (40, 9_000) for piece in ("The answer is ", "#### ", "<answer>", "\\boxed 5 ", "A: 4\n")
    ]
    wide += [
        piece * 60 for piece in ("x=1\\quad ", "a=", "(1,2)+", "1<", "30^\\circ ", "\\text{ and }", "<|im_end|>", "D. ")
    ]
    exact = [
        "\\sqrt{1+\\frac{1}{2004!}}",
        "\\ln(1+\\frac{1}{900!})",
        "2^{-10^{10}}",
        "\\sin(10^{10^{5}})",
        "e^{e^{e^{9}}}",
    ]
    exact += [
        "\\frac{(10^{6})!}{(10^{6}-1)!}",
        "(1+10^{-9999})^{9999}",
        "\\lfloor \\pi 10^{9999}\\rfloor",
        "7^{10^{7}}-7^{10^{7}}",
    ]
    matrices = ["\\begin{vmatrix}" + "\\\\".join("&".join("abcdefgh"[:8]) for _ in range(8)) + "\\end{vmatrix}"]
    code = [
        "__import__('os').system('touch CANARY')",
        "open('CANARY','w')",
        "exec(\"open('CANARY','w')\")",
        "\\input{CANARY}",
    ]
    code += [
        "().__class__.__bases__[0].__subclasses__()",
        "lambda: 0",
        "eval('9**9**9')",
        "\\immediate\\write18{touch CANARY}",
    ]
    return towers + factorials + sums + nests + wide + exact + matrices + code


def drawn(count: int) -> list[str]:
    """`count` strings drawn by hypothesis: any unicode, and LaTeX fragments in any order."""
    found: list[str] = []
    latex = st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join)
    plan = settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @plan
    @given(st.one_of(st.text(max_size=200), latex, st.binary(max_size=80).map(lambda b: b.decode("latin-1"))))
    def collect(text: str) -> None:
        found.append(text)

    collect()
    return found


def mutated(count: int, generator: random.Random) -> list[str]:
    """Answers with characters deleted, doubled, replaced, and joined to one another."""
    out = []
    for _ in range(count):
        text = list("".join(generator.choices(ANSWERS, k=generator.choice((1, 1, 1, 2, 3)))))
        for _ in range(generator.randint(1, 5)):
            position = generator.randrange(len(text))
            text[position] = generator.choice(["", text[position] * 2, generator.choice(FRAGMENTS)])
        out.append("".join(text))
    return out


def items(count: int, canary: str) -> list[tuple[str, str]]:
    """(response, gold) pairs, hostile on either side."""
    generator = random.Random(20_240_521)
    texts = [bomb.replace("CANARY", canary) for bomb in bombs()]
    texts += drawn((count - len(texts)) // 2)
    texts += mutated(count - len(texts) - 3, generator)
    pairs = []
    for text in texts:
        gold = generator.choice(GOLDS)
        boxed = f"\\boxed{{{text}}}" if generator.random() < 0.8 else text
        pairs.append((boxed, gold) if generator.random() < 0.85 else (f"\\boxed{{{gold}}}", text))
    huge = ["\\boxed{7}" + "z" * 10_000_000, "\x00\x01\x02" * 3_000_000, "\\boxed{" * 1_400_000]
    return pairs + [(text, "7") for text in huge]


def judge(pairs: list[tuple[str, str]], callers: int, timeout: float) -> list[rewards.Verdict]:
    """Verdicts of `verify`, called from so many threads."""
    with ThreadPoolExecutor(callers) as threads:
        return list(threads.map(lambda pair: rewards.verify(*pair, timeout=timeout), pairs))


def main() -> int:
    """Run both ways, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--timeout", type=float, default=2.0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rewards.configure(workers=arguments.workers, memory_mb=512)
    with tempfile.TemporaryDirectory() as folder:
        canary = os.path.join(folder, "canary")
        pairs = items(arguments.items, canary)
        began = time.perf_counter()
        alone = judge(pairs, 1, arguments.timeout)
        middle = time.perf_counter()
        together = judge(pairs, 16, arguments.timeout)
        end = time.perf_counter()
        code_ran = Path(canary).exists()
    stats = rewards.stats()
    differ = [(a, b) for a, b in zip(alone, together, strict=True) if (a.correct, a.reason) != (b.correct, b.reason)]
    near = [(a, b) for a, b in differ if "timeout" in (a.reason, b.reason)]
    rewards.configure(workers=1)  # ends the workers, so that their peak memory can be read
    result = {
        "items": len(pairs),
        "seconds_alone": round(middle - began, 1),
        "seconds_16_callers": round(end - middle, 1),
        "slowest": round(max(v.seconds for v in alone + together), 3),
        "overruns": sum(v.seconds > 1.5 * arguments.timeout for v in alone + together),
        "timeouts": sum(v.reason == "timeout" for v in alone),
        "crashes": stats["crashes"],
        "replaced": stats["replaced"],
        "changed": len(differ) - len(near),
        "changed_timeouts": len(near),
        "correct": sum(v.correct for v in alone),
        "worker_peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10,
        "parent_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "code_ran": code_ran,
    }
    for (response, gold), a, b in zip(pairs, alone, together, strict=True):
        if (
            a.reason == "crash"
            or max(a.seconds, b.seconds) > 1.5 * arguments.timeout
            or (a.correct, a.reason) != (b.correct, b.reason)
        ):
            print(f"{response[:120]!r} against {gold[:60]!r}: {a.reason} {a.seconds:.2f}, {b.reason} {b.seconds:.2f}")
    print(json.dumps(result))
    return int(bool(result["overruns"] or result["crashes"] or result["changed"] or code_ran))


if __name__ == "__main__":
    raise SystemExit(main())
