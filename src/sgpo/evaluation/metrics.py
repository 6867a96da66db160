"""Scores over problems and samples, and their intervals. Numpy only.

Two kinds of interval, for two kinds of question:

- over *problems*: would this model score alike on other problems of this kind?
- over *seeds* (Student t): would another training run score alike? Training runs are few, so the quantile of the t
  distribution matters: 4.303 standard errors for three seeds, not 1.96.

Shapes: P problems, n samples of each, S seeds. Scores lie in [0, 1]; 1 is correct.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from sgpo.runs.scores import wilson

Interval = tuple[float, float]
_OFF = 1e-6  # by which a score may be beyond 0 or 1: a reward of 1 may be the mean of float32 numbers
_CHUNK = 4_000_000
"""Most indices drawn at once by the bootstrap, so that its memory stays under about 64 MB."""


def _table(correct: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """``correct`` as an array ``[P, n]``; ValueError unless P and n are at least 1 and n is the same everywhere."""
    lengths = {len(row) for row in correct}
    if not lengths or lengths == {0}:
        raise ValueError(f"correct holds {len(correct)} problems without samples; give at least one sample of each.")
    if len(lengths) > 1:
        raise ValueError(
            f"problems have {min(lengths)} to {max(lengths)} samples; every problem needs the same number, "
            "since avg@k and pass@k mean the same k throughout."
        )
    return np.asarray(correct, dtype=np.float64)


def avg_at_k(correct: Sequence[Sequence[float]]) -> float:
    """Mean over problems of the share of correct samples; ``correct`` are verdicts, ``[P][n]``."""
    return float(_table(correct).mean())


def pass_at_k(correct: Sequence[Sequence[float]], k: int) -> float:
    """Probability that at least one of ``k`` samples is correct, mean over problems.

    The unbiased estimator ``1 - C(n - c, k) / C(n, k)`` of Chen et al. (arXiv 2107.03374), with ``c`` correct of ``n``.

    Args:
        correct: verdicts 0 or 1, ``[P][n]``.
        k: samples that may be tried.

    Raises:
        ValueError: if ``k`` is not in 1..n.
    """
    table = _table(correct)
    n = table.shape[1]
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} cannot be estimated from {n} samples a problem; k must be 1 to {n}.")
    # Whole binomials are exact; the product form of the paper rounds k times.
    missed = [math.comb(n - int(c), k) / math.comb(n, k) for c in (table > 0.5).sum(axis=1)]
    return 1.0 - math.fsum(missed) / len(missed)


def maj_at_k(answers: Sequence[Sequence[str | None]], correct: Sequence[Sequence[float]]) -> float:
    """Share of problems whose most frequent answer is correct.

    Answers vote by their text. A sample without an answer does not vote; a problem without votes scores 0. Answers
    that tie share the point, as if one of them were drawn.

    Args:
        answers: final answers, normalised by the caller, ``[P][n]``.
        correct: verdicts, ``[P][n]``.
    """
    table = _table(correct)
    total = 0.0
    for texts, verdicts in zip(answers, table, strict=True):
        # Verdicts of one text may differ, where the verifier gave up on one of them.
        groups: dict[str, list[float]] = {}
        for text, verdict in zip(texts, verdicts, strict=True):
            if text is not None:
                groups.setdefault(text, []).append(float(verdict))
        most = max((len(group) for group in groups.values()), default=0)
        # All texts that tie: to take the first would reward the order in which samples came.
        winners = [sum(group) / len(group) for group in groups.values() if len(group) == most]
        total += sum(winners) / len(winners) if winners else 0.0
    return total / len(table)


def problem_interval(per_problem: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Interval of the mean over problems: Wilson's, for as many problems as the spread of the scores amounts to.

    Several samples make the scores of problems spread less than verdicts of 0 and 1 with their mean would, which is
    worth more problems (Korn and Graubard 1998, Survey Methodology 24:193-201, with their correction by Student's t).
    It has a width where all scores are equal, as 0 of 30 on AIME, and near 0 and 1 it holds the truth more often than
    a bootstrap. A single problem says nothing of others.

    Args:
        per_problem: one score in [0, 1] a problem (for avg@k the mean over its samples), ``[P]``.
    """
    values = _scores(per_problem)
    _check_confidence(confidence)
    if not -_OFF <= values.min() <= values.max() <= 1 + _OFF:
        raise ValueError(f"per_problem has scores from {values.min()} to {values.max()}; they must lie in [0, 1].")
    values = values.clip(0, 1)
    if len(values) == 1:
        return 0.0, 1.0
    mean, variance = float(values.mean()), float(values.var())
    # Of equal scores nothing but their number is known.
    gain = mean * (1 - mean) / variance if values.min() < values.max() else 1.0
    tail = 0.5 + confidence / 2
    few = NormalDist().inv_cdf(tail) / t_quantile(tail, len(values) - 1)
    effective = (len(values) - 1) * few**2 * gain
    return wilson(mean * effective, effective, confidence)


def bootstrap_interval(
    per_problem: Sequence[float], *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Percentile bootstrap of the mean over problems, for values of any range, such as differences.

    Where all values are equal, and so with a single problem, the interval has no width: the bootstrap cannot know
    more than it has seen. For shares in [0, 1] take :func:`problem_interval`.

    Args:
        per_problem: one value a problem, ``[P]``.
        confidence: share of resamples inside.
        resamples: draws of P problems with replacement.
        seed: of the draws; the interval is a function of its arguments alone.
    """
    values = _scores(per_problem)
    _check_confidence(confidence)
    if resamples < 1:
        raise ValueError(f"resamples = {resamples} must be at least 1.")
    # A generator of its own, so that an interval is the same wherever it is computed.
    rng = np.random.default_rng(seed)
    # In parts: 2,000 resamples of 100,000 problems are 1.6 GB of indices.
    rows = max(1, _CHUNK // len(values))
    sizes = [(min(rows, resamples - begin), len(values)) for begin in range(0, resamples, rows)]
    means = [values[rng.integers(0, len(values), size=size)].mean(axis=1) for size in sizes]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def paired_interval(
    a: Sequence[float], b: Sequence[float], *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Percentile bootstrap of ``mean(a - b)`` over problems that both have, in the same order, ``[P]`` each.

    Pairing takes the spread of difficulty between problems out, so it is far narrower than two intervals side by side.
    """
    if len(a) != len(b):
        raise ValueError(f"a has {len(a)} problems and b has {len(b)}; a paired interval needs the same problems.")
    differences = [x - y for x, y in zip(a, b, strict=True)]
    return bootstrap_interval(differences, confidence=confidence, resamples=resamples, seed=seed)


def t_interval(values: Sequence[float], *, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean over seeds and its Student t interval, ``(mean, low, high)``, from one result a seed, ``[S]``.

    Raises:
        ValueError: for fewer than two seeds, which carry no information on the spread.
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} seed(s) give no interval; at least 2 are needed, and 5 are better.")
    _check_confidence(confidence)
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    half = t_quantile(0.5 + confidence / 2, len(values) - 1) * math.sqrt(variance / len(values))
    return mean, mean - half, mean + half


def paired_t_interval(
    a: Sequence[float], b: Sequence[float], *, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Mean of ``a - b`` over seeds that both have, and its interval; see :func:`t_interval`."""
    if len(a) != len(b):
        raise ValueError(f"a has {len(a)} seeds and b has {len(b)}; a paired interval needs the same seeds in order.")
    return t_interval([x - y for x, y in zip(a, b, strict=True)], confidence=confidence)


def t_quantile(p: float, df: int) -> float:
    """The ``p`` quantile of Student's t with ``df`` degrees of freedom, to 1e-9.

    Bisection on the distribution function, which for whole ``df`` is a finite sum (Abramowitz and Stegun 26.7.3, 4).
    """
    if not 0 < p < 1 or df < 1:
        raise ValueError(f"p = {p} must lie in (0, 1) and df = {df} must be at least 1.")
    # By hand, since SciPy would be a dependency for this one function.
    if p < 0.5:
        return -t_quantile(1 - p, df)
    low, high = 0.0, 1.0
    # The quantile for one degree of freedom grows without bound as p nears 1.
    while _t_cdf(high, df) < p:
        high *= 2
    for _ in range(100):  # each halves the error
        middle = (low + high) / 2
        low, high = (middle, high) if _t_cdf(middle, df) < p else (low, middle)
    return high


def _t_cdf(t: float, df: int) -> float:
    """Distribution function of Student's t at ``t >= 0``."""
    theta = math.atan(t / math.sqrt(df))
    cosine = math.cos(theta)
    # Both series multiply each term by cos^2 and by the next ratio of an odd to an even number (or even to odd).
    term = 1.0 if df % 2 == 0 else cosine
    total = term if df > 1 else 0.0
    for i in range(1 if df % 2 == 0 else 2, df - 2, 2):
        term *= i / (i + 1) * cosine**2
        total += term
    central = math.sin(theta) * total if df % 2 == 0 else 2 / math.pi * (theta + math.sin(theta) * total)
    return 0.5 + central / 2


def _scores(per_problem: Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(per_problem, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"per_problem has the shape {values.shape}; give one score for each of at least one problem.")
    return values


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence = {confidence} must lie strictly between 0 and 1, for example 0.95.")
