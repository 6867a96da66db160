"""Verdicts on responses: the project's verifier, or any reward function in TRL's form."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sgpo.data.benchmarks import BenchmarkProblem

_UNITS = {"min": "minutes", "minute": "minutes"}  # the spelling that the verifier knows as a unit
_GAVE_UP = ("timeout", "memory", "crash")


@dataclass(frozen=True)
class Mark:
    """One verdict on a response."""

    correct: float  # 0 to 1
    reason: str  # in a word
    extracted: str | None  # the final answer as it stood
    seconds: float  # that the verdict took
    timed_out: bool = False  # the verifier gave up (time, memory, a crash); counted as wrong, and apart


class ResponseGrader(Protocol):
    """Grades responses; ``describe`` is saved with the results and must be the same when a run resumes."""

    def describe(self) -> dict[str, object]:
        """Name and options, as JSON types."""

    def check(self, problems: Sequence[BenchmarkProblem]) -> list[str]:
        """What is wrong with the golds, one line each; before anything is generated."""

    def grade(self, responses: Sequence[str], problems: Sequence[BenchmarkProblem]) -> list[Mark]:
        """Verdicts of responses to problems, in the same order."""


class VerifyGrader:
    """:func:`sgpo.rewards.verify_batch`, with the tolerance of each problem.

    Several answers may come in any order, and a unit may be stated or left out: both are rules of the verifier. A unit
    other than the problem's is wrong.
    """

    def __init__(self, *, timeout: float = 2.0, require_box: bool = False) -> None:
        self.timeout, self.require_box = timeout, require_box

    def describe(self) -> dict[str, object]:
        return {"name": "verify", "timeout": self.timeout, "require_box": self.require_box}

    def check(self, problems: Sequence[BenchmarkProblem]) -> list[str]:
        from sgpo.rewards import check_gold

        # A gold that nobody can read would count every response to it as wrong.
        faults = [(problem.id, check_gold(problem.answer)) for problem in problems]
        return [f"{name}: {fault}" for name, fault in faults if fault]

    def grade(self, responses: Sequence[str], problems: Sequence[BenchmarkProblem]) -> list[Mark]:
        from sgpo.rewards import verify_batch

        verdicts = verify_batch(
            responses,
            [gold(problem) for problem in problems],
            timeout=self.timeout,
            require_box=self.require_box,
            tolerance=[problem.tolerance for problem in problems],
        )
        return [
            Mark(float(v.correct), v.reason, v.extracted, round(v.seconds, 6), v.reason in _GAVE_UP) for v in verdicts
        ]


def gold(problem: BenchmarkProblem) -> str | list[str]:
    """The gold with its unit, where there is one answer and one unit: ``166`` in ``$cm^2$`` is ``166\\text{ cm^2}``."""
    if problem.unit is None or problem.multiple or not isinstance(problem.answer, str):
        return problem.answer
    value, unit = (text.strip().strip("$").strip() for text in (problem.answer, problem.unit))
    # These are no words: they belong to the value, as in 45\% and 30^\circ.
    if unit == "%" or unit.startswith(("^", "\\")):
        return value + unit.replace("%", "\\%")
    # The verifier reads a unit as the text behind a value, which is how people write one.
    return f"{value} \\text{{ {_UNITS.get(unit, unit)}}}"


class RewardGrader:
    """A reward function ``(completions, answer=...) -> list of 0 to 1``, and how to read the final answer."""

    def __init__(
        self,
        name: str,
        reward: Callable[..., Sequence[float]],
        extract: Callable[[str], str | None] = lambda text: None,
    ) -> None:
        self.name, self.reward, self.extract = name, reward, extract

    def describe(self) -> dict[str, object]:
        return {"name": self.name}

    def check(self, problems: Sequence[BenchmarkProblem]) -> list[str]:
        return []

    def grade(self, responses: Sequence[str], problems: Sequence[BenchmarkProblem]) -> list[Mark]:
        # The names of TRL, so that what training is rewarded by can judge an evaluation.
        rewards = self.reward(list(responses), answer=[problem.answer for problem in problems])
        marks = []
        for response, problem, reward in zip(responses, problems, rewards, strict=True):
            if reward is None or not 0 <= float(reward) <= 1:
                raise ValueError(f"grader {self.name!r} gave {reward!r} for {problem.id!r}; a verdict must be 0 to 1.")
            # A reward of 1 may have come as a float32 mean, a little off.
            reason = "correct" if math.isclose(float(reward), 1) else "different"
            marks.append(Mark(float(reward), reason, self.extract(response), 0.0))
        return marks


def votes(extracted: Sequence[str | None], correct: Sequence[float]) -> list[str | None]:
    """What each sample of one problem votes for in maj@k: the first of the answers that its own is equal to.

    Correct answers are one, since each is the gold; the others are compared by the verifier, so 1/2 and 0.5 vote alike.
    """
    from sgpo.rewards import first_equals

    right = [text for text, mark in zip(extracted, correct, strict=True) if text and mark == 1]
    wrong = list(dict.fromkeys(text for text, mark in zip(extracted, correct, strict=True) if text and mark != 1))
    first = dict(zip(wrong, first_equals(wrong), strict=True))
    return [
        (right[0] if mark == 1 else first[text]) if text else None
        for text, mark in zip(extracted, correct, strict=True)
    ]
