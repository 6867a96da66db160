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
from fractions import Fraction
from typing import Any

HEADER = struct.Struct(">I")
TAKEN = HEADER.pack(0)  # sent when a request has been read, before it is worked on
_WARM_UP = (
    r"\frac{14}{3}", r"2\sqrt{3}+1", r"x^2+3x-6", r"\frac{\pi}{2}", r"2\cdot(n+1)", r"-\frac{1}{2}", "4t", r"\sqrt{x}",
    r"a_{n}^{-1}", r"\log_{2}(8)", r"\sin(x)", r"\binom{n}{2}", r"\frac{(1+i)^2}{3}",
)  # fmt: skip


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


def judge(request: dict[str, Any]) -> dict[str, Any]:
    """Compare the readings of a gold with those of an answer.

    Args:
        request: "gold" and "answer", lists of normalised readings, the usual one first; "tolerance", an
            absolute difference as text, or None.

    Returns:
        "correct" and "reason": equivalent, different, unparsable or too_complex.
    """
    from sgpo.rewards import structure
    from sgpo.rewards.grade import Grader

    tolerance = request.get("tolerance")
    grader = Grader(tolerance=None if tolerance is None else Fraction(tolerance))
    golds, answers = request["gold"], request["answer"]
    pairs = [(golds[0], answers[0])]
    # `100,200` may be a number or a list; the list is meant where the other side is clearly one.
    pairs += [(gold, answers[0]) for gold in golds[1:] if structure.parse(answers[0]).kind in ("list", "set")]
    pairs += [(golds[0], answer) for answer in answers[1:] if structure.parse(golds[0]).kind in ("list", "set")]
    try:
        for gold, answer in pairs:
            if grader.same(gold, answer):
                return {"correct": True, "reason": "equivalent"}
    except RecursionError:
        return {"correct": False, "reason": "too_complex"}
    except MemoryError:
        return {"correct": False, "reason": "memory", "retire": True}
    except Exception as error:  # the library's own failures are a verdict, not a crash
        return {"correct": False, "reason": "unparsable", "error": repr(error)[:200]}
    return {"correct": False, "reason": "unparsable" if grader.unparsable else "different"}


def _read(fd: int, size: int) -> bytes | None:
    """Exactly `size` bytes, or None at the end of input."""
    parts = b""
    while len(parts) < size:
        chunk = os.read(fd, size - len(parts))
        if not chunk:
            return None
        parts += chunk
    return parts


def _write(fd: int, message: dict[str, Any]) -> None:
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
            library.equal(text, text + "+1")
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
        request = json.loads(body)
        signal.setitimer(signal.ITIMER_REAL, 1.5 * request["timeout"] + 1.0)
        reply = judge(request)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        reply["retire"] = reply.get("retire", False) or _resident_mb() > memory_mb / 2
        _write(sink, reply)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
