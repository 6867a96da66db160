"""The process that does the algebra, and that is killed when it takes too long.

A fresh interpreter: it imports math-verify and the normaliser, never torch. It speaks length-prefixed JSON over its
standard input and output: no pickle, no shared memory, nothing that a response could turn into code. It ends
with its parent (see :mod:`sgpo.runs.processes`), and a kernel timer ends it a little after the deadline should the
parent be stopped.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sgpo.rewards.grade import Grader

HEADER = struct.Struct(">I")
TAKEN = HEADER.pack(0)  # sent when a request has been read, before it is worked on
_WARM_UP = (
    r"\frac{14}{3}", r"2\sqrt{3}+1", r"x^2+3x-6", r"\frac{\pi}{2}", r"2\cdot(n+1)", r"-\frac{1}{2}", "4t", r"\sqrt{x}",
    r"a_{n}^{-1}", r"\log_{2}(8)", r"\sin(x)", r"\binom{n}{2}", r"\frac{(1+i)^2}{3}",
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What a worker is asked: is the answer the gold?

    Attributes:
        gold, answer: normalised readings of either, the usual one first.
        tolerance: absolute difference that is allowed, as text; None for none.
        timeout: wall seconds that the worker has; past them it ends itself, should its parent be stopped.
        also: readings of a second answer that the response gives and that must be the gold as well; none mostly.
    """

    gold: list[str]
    answer: list[str]
    tolerance: str | None = None
    timeout: float = 2.0
    also: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Judgement:
    """What a worker replies.

    Attributes:
        reason: equivalent, different, unparsable, too_complex or memory; of the pool also timeout and crash.
        retire: the worker has grown too large, and wants to be replaced.
        error: what the library raised, for whoever looks for it; no verdict depends on it.
    """

    correct: bool
    reason: str
    retire: bool = False
    error: str = ""


def _limit(memory_mb: int) -> None:
    """Hold the address space to `memory_mb` MiB where the platform can; never write a core file."""
    import resource

    for kind, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, memory_mb << 20)):
        try:
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError):
            continue  # macOS refuses RLIMIT_AS; the deadline still holds there


def _resident_mb() -> float:
    try:
        with open("/proc/self/statm") as handle:
            return int(handle.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    except (OSError, ValueError, IndexError):
        return 0.0


def _any_reading(grader: Grader, golds: list[str], answers: list[str]) -> bool:
    """Whether an answer is the gold as both are usually read, or as a list where the other side clearly is one."""
    from sgpo.rewards import structure

    (gold, *golds), (answer, *answers) = golds, answers
    pairs = [(gold, answer)]
    # `100,200` may be a number or a list; the list is meant where the other side is clearly one.
    pairs += [(other, answer) for other in golds if structure.parse(answer).kind in ("list", "set")]
    pairs += [(gold, other) for other in answers if structure.parse(gold).kind in ("list", "set", "tuple")]
    return any(grader.same(*pair) for pair in pairs)


def judge(question: Question) -> Judgement:
    """Compare the readings of a gold with those of an answer."""
    from sgpo.rewards.grade import Grader

    grader = Grader(tolerance=None if question.tolerance is None else Fraction(question.tolerance))
    try:
        if all(_any_reading(grader, question.gold, said) for said in (question.answer, question.also) if said):
            return Judgement(True, "equivalent")
    except RecursionError:
        return Judgement(False, "too_complex")
    except MemoryError:
        # What was allocated when the limit struck may be half made, in sympy's caches too.
        return Judgement(False, "memory", retire=True)
    except Exception as error:  # the library's own failures are a verdict, not a crash
        return Judgement(False, "unparsable", error=repr(error)[:200])
    return Judgement(False, "unparsable" if grader.unparsable else "different")


def _read(fd: int, size: int) -> bytes | None:
    """Exactly `size` bytes, or None at the end of input."""
    parts = b""
    while len(parts) < size and (chunk := os.read(fd, size - len(parts))):
        parts += chunk
    return parts if len(parts) == size else None


def _write(fd: int, message: Mapping[str, object]) -> None:
    data = json.dumps(message).encode()
    data = HEADER.pack(len(data)) + data
    while data:
        data = data[os.write(fd, data) :]


def serve(memory_mb: int) -> None:
    """Answer requests until the input ends. Standard output is kept for replies: a stray print cannot reach it."""
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    try:
        from sgpo.rewards import library, relations

        for text in _WARM_UP:  # the parser builds its tables on first use: not at an item's cost
            library.values_equal(text, text + "+1")
        relations.same_system([("x", "=", "1")], [("x", "=", "y"), ("y", "=", "1")])
    except Exception as error:
        _write(sink, {"ready": False, "error": repr(error)[:500]})
        return
    _limit(memory_mb)
    _write(sink, {"ready": True})
    while True:
        header = _read(source, HEADER.size)
        body = _read(source, HEADER.unpack(header)[0]) if header else None
        if body is None:
            return
        os.write(sink, TAKEN)
        question = Question(**json.loads(body))
        # A parent that is stopped (Ctrl-Z) kills nobody. The allowance is above all that it grants a starved worker.
        signal.setitimer(signal.ITIMER_REAL, 1.5 * question.timeout + 1.0)
        judgement = judge(question)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        grown = _resident_mb() > memory_mb / 2  # sympy's caches only grow; half is left for the next item
        _write(sink, asdict(replace(judgement, retire=judgement.retire or grown)))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
