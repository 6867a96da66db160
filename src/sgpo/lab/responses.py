"""How work is written down: the student's two styles, and the four experts."""

import random

from sgpo.lab.operations import OPERATIONS, Numbers, Step, Trace, Type, UnfitError, carry_out

STYLE_WEIGHTS = (0.6, 0.4)  # of plain and wordy
EXPERTS = ("plain", "gentle", "terse", "faulty")
"""Who writes the solutions that SFT, HPT and LUFFY learn from: the student's own style; every step, right, in a
phrasing that the student does not use (the default); of those, half with bare results after the first step; `gentle`
with a tenth that misreads an operation and ends in a wrong answer."""
TERSE_SHARE = 0.5
FAULTY_SHARE = 0.1
MAX_RESPONSE_TOKENS = 39
"""Tokens of the longest response in any style, with the end-of-sequence token; a test holds it."""


def write_plain(trace: Trace) -> str:
    """``47 + 12 = 59 ; 59 + 1 = 60 ; ans 60``."""
    return " ; ".join([*map(str, trace.steps), f"ans {trace.answer}"])


def write_wordy(trace: Trace) -> str:
    """``first 47 + 12 = 59 ; then 59 + 1 = 60 ; so ans 60``."""
    words = ["first"] + ["then"] * (len(trace.steps) - 1)
    lines = [f"{word} {step}" for word, step in zip(words, trace.steps, strict=True)]
    return " ; ".join([*lines, f"so ans {trace.answer}"])


def respond(trace: Trace, rng: random.Random) -> str:
    """A response of the student in a random style."""
    return rng.choices((write_plain, write_wordy), STYLE_WEIGHTS)[0](trace)


def write_gentle(steps: tuple[Step, ...], bare: bool = False) -> str:
    """``note 47 + 12 = 59 ; thus 59 + 1 = 60 ; hence ans 60``; `bare`: only the results after the first line."""
    lines = [f"note {steps[0]}", *(f"thus {step.result if bare else step}" for step in steps[1:])]
    return " ; ".join([*lines, f"hence ans {steps[-1].result}"])


def expert_response(operations: Type, numbers: Numbers, expert: str, share: float) -> str:
    """What one of `EXPERTS` writes; `share`, a number in [0, 1) that belongs to the problem, decides the rest."""
    trace = carry_out(operations, numbers)
    if expert == "plain":
        return write_plain(trace)
    if expert == "faulty" and share < FAULTY_SHARE:
        # A mistake as the student makes it, and not noise: carried out well, of another operation.
        trace = _misread(operations, numbers) or trace
    # The same problems in each comparison: who is terse is decided by the problem, not by a draw.
    return write_gentle(trace.steps, bare=expert == "terse" and share < TERSE_SHARE)


def _misread(operations: Type, numbers: Numbers) -> Trace | None:
    """The first confusion of a single operation that can be carried out."""
    for i, name in enumerate(operations):
        for other in OPERATIONS[name].confusions:
            try:
                return carry_out((*operations[:i], other, *operations[i + 1 :]), numbers)
            except UnfitError:
                continue
    return None
