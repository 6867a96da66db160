"""How a trace is written down: the base's three styles, and the expert's."""

from __future__ import annotations

import random

from sgpo.lab.families import Trace

STYLES = ("plain", "wordy", "detour")
STYLE_WEIGHTS = (0.6, 0.25, 0.15)
MAX_RESPONSE_TOKENS = 32
"""Tokens of the longest response in any style, with the end-of-sequence token; a test holds it."""


def plain(trace: Trace) -> str:
    """``10 + 23 = 33 ; 33 - 12 = 21 ; ans 21``."""
    return " ; ".join([*map(str, trace.steps), f"ans {trace.answer}"])


def expert(trace: Trace) -> str:
    """The expert's phrasing: every step is there, in words the base knows: ``first ... ; then ... ; ans 21``."""
    words = ["first"] + ["then"] * (len(trace.steps) - 1)
    lines = [f"{word} {step}" for word, step in zip(words, trace.steps, strict=True)]
    return " ; ".join([*lines, f"ans {trace.answer}"])


def terse(response: str) -> str:
    """An expert's response without its lines of work but the last: ``first 33 - 12 = 21 ; ans 21``.

    What stronger models do: the rest is done in the head, which a weaker one cannot.
    """
    *work, answer = response.split(" ; ")
    return f"first {work[-1].split(' ', 1)[1]} ; {answer}"


def wordy(trace: Trace) -> str:
    """A response with connecting words and, after short work, a check of the last step by the inverse operation."""
    words = ["first"] + ["then"] * (len(trace.steps) - 1)
    lines = [f"{word} {step}" for word, step in zip(words, trace.steps, strict=True)]
    last = trace.steps[-1]
    if len(lines) <= 2 and not (last.op == "*" and last.b == 0):
        lines.append(f"check {last.check()}")
    return " ; ".join([*lines, f"so ans {trace.answer}"])


def detour(trace: Trace, others: list[Trace]) -> str:
    """Begin with the first step of another approach, take it back, then work as in `plain`.

    Falls back to `plain` when every other approach begins alike or the work is long already.
    """
    firsts = [other.steps[0] for other in others if other.steps[0] != trace.steps[0]]
    if not firsts or len(trace.steps) > 3:
        return plain(trace)
    return f"{firsts[0]} ; no ; {plain(trace)}"


def respond(traces: tuple[Trace, ...], approach: int, rng: random.Random) -> str:
    """Carry out an approach in a random style. A detour only ever takes back a step of a WRONG approach."""
    style = rng.choices(STYLES, STYLE_WEIGHTS)[0]
    if style == "wordy":
        return wordy(traces[approach])
    if style == "detour":
        others = [trace for i, trace in enumerate(traces) if i not in (0, approach)]
        rng.shuffle(others)
        return detour(traces[approach], others)
    return plain(traces[approach])
