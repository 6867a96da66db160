"""From graded samples to scores. No torch: the same summary serves local models, endpoints and resumed runs.

Shapes: P problems, k samples of each.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sgpo.evaluation.metrics import Interval, avg_at_k, maj_at_k, pass_at_k, problem_interval
from sgpo.runs.files import JsonObject
from sgpo.runs.scores import FamilyScores


@dataclass(frozen=True)
class Graded:
    """One completion with its verdict.

    Attributes:
        correct: the verdict, 0 to 1.
        answer: the final answer, normalised for the majority vote; None where none was found.
        tokens: generated, the end token included; None where an endpoint does not say.
        truncated: stopped by the limit on tokens.
        timed_out: the verifier gave up; counted as wrong.
        text: the completion.
    """

    correct: float
    answer: str | None
    tokens: int | None
    truncated: bool
    timed_out: bool = False
    text: str = ""


@dataclass(frozen=True)
class ProblemResult:
    """The k samples of one problem, in their order. ``group`` is the name it is reported under, or None."""

    id: str
    group: str | None
    gold: Any
    samples: list[Graded]

    @property
    def score(self) -> float:
        """Share of correct samples."""
        return math.fsum(sample.correct for sample in self.samples) / len(self.samples)


@dataclass(frozen=True)
class EvalResult:
    """What an evaluation found.

    Attributes:
        accuracy: avg@k.
        ci95: its 95% interval over problems, see :func:`sgpo.evaluation.metrics.problem_interval`.
        n_problems: P.
        k: samples of each problem.
        per_group: for each group, its accuracy, interval and number of problems.
        pass_at_k: unbiased pass@j for j = 1, 2, 4, ... and k.
        maj_at_k: share of problems whose most frequent answer is correct; None where no answers were extracted.
        mean_length: tokens of a completion, over those whose length is known; None where none is.
        truncated: share of completions that the limit cut.
        timed_out: verdicts that the verifier gave up on.
        sampled_tokens: tokens generated in all.
        problems: every problem and sample.
    """

    accuracy: float
    ci95: Interval
    n_problems: int
    k: int
    per_group: dict[str, FamilyScores]
    pass_at_k: dict[int, float]
    maj_at_k: float | None
    mean_length: float | None
    truncated: float
    timed_out: int
    sampled_tokens: int
    problems: list[ProblemResult] = field(repr=False)

    def to_dict(self, *, completions: bool = False) -> JsonObject:
        """Everything as JSON types; the text of each completion only with ``completions``."""
        out = {name: value for name, value in vars(self).items() if name != "problems"}
        out["ci95"] = list(self.ci95)
        out["per_group"] = {name: one.to_json() for name, one in self.per_group.items()}
        out["pass_at_k"] = {str(k): value for k, value in self.pass_at_k.items()}
        out["problems"] = []
        for problem in self.problems:
            samples = [asdict(sample) for sample in problem.samples]
            # responses.jsonl has the texts already, and results.json stays small enough to be read whole.
            if not completions:
                for sample in samples:
                    del sample["text"]
            row = {"id": problem.id, "group": problem.group, "gold": problem.gold, "score": problem.score}
            out["problems"].append({**row, "samples": samples})
        return out


def summarise(problems: Sequence[ProblemResult]) -> EvalResult:
    """The scores of graded problems; a function of its arguments alone, so that a resumed run gives the same.

    Raises:
        ValueError: for no problems, or where problems differ in their number of samples.
    """
    correct = [[sample.correct for sample in problem.samples] for problem in problems]
    samples = [sample for problem in problems for sample in problem.samples]
    answers = [[sample.answer for sample in problem.samples] for problem in problems]
    lengths = [sample.tokens for sample in samples if sample.tokens is not None]
    groups: dict[str, list[float]] = {}
    for problem in problems:
        # A benchmark may sort only some of its problems, and "None" is no group of theirs.
        if problem.group is not None:
            groups.setdefault(problem.group, []).append(problem.score)
    accuracy = avg_at_k(correct)  # says what is wrong with the problems, if anything
    k = len(correct[0])
    return EvalResult(
        accuracy=accuracy,
        ci95=problem_interval([problem.score for problem in problems]),
        n_problems=len(problems),
        k=k,
        per_group={
            name: FamilyScores(
                accuracy=math.fsum(scores) / len(scores), ci95=problem_interval(scores), n_problems=len(scores)
            )
            for name, scores in sorted(groups.items())
        },
        # Powers of two are even steps of a curve whose axis is logarithmic.
        pass_at_k={j: pass_at_k(correct, j) for j in sorted({2**i for i in range(k.bit_length())} | {k})},
        # Without an extractor there is nothing to vote by, and 0 would look like a result.
        maj_at_k=maj_at_k(answers, correct) if any(sample.answer is not None for sample in samples) else None,
        mean_length=sum(lengths) / len(lengths) if lengths else None,
        truncated=sum(sample.truncated for sample in samples) / len(samples),
        timed_out=sum(sample.timed_out for sample in samples),
        sampled_tokens=sum(lengths),
        problems=list(problems),
    )
