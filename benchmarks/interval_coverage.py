"""How often an evaluation's 95% interval holds the true score: `problem_interval`, and a bootstrap beside it.

    python benchmarks/interval_coverage.py

A benchmark is drawn 1,000 times: the chance of each problem to be solved from a beta distribution, whose mean is the
true score, then k samples of each problem. Columns are the share of intervals that hold the true score, and their mean
width in points.
"""

import numpy as np

from sgpo.evaluation.metrics import bootstrap_interval, problem_interval

DRAWS = 1000
# what it is like; the two parameters of the beta distribution, problems, samples of each
CASES = (
    ("AIME, a weak model, greedy", 0.05, 1.0, 30, 1),
    ("AIME, a weak model", 0.05, 1.0, 30, 32),
    ("AIME", 0.2, 0.8, 30, 32),
    ("AMC", 0.3, 0.3, 40, 32),
    ("AMC, nearly all solved", 5.0, 0.3, 40, 32),
    ("MATH500", 0.5, 0.3, 500, 4),
    ("MATH500, nearly all solved", 5.0, 0.3, 500, 4),
)


def main() -> None:
    rng = np.random.default_rng(0)
    print(f"{'':28}{'score':>6} {'P':>4} {'k':>3}   problem_interval     bootstrap")
    for name, a, b, problems, k in CASES:
        found: dict[str, list[tuple[bool, float]]] = {"score": [], "bootstrap": []}
        for _ in range(DRAWS):
            scores = (rng.binomial(k, rng.beta(a, b, problems)) / k).tolist()
            intervals = {"score": problem_interval(scores), "bootstrap": bootstrap_interval(scores, resamples=1000)}
            for kind, (low, high) in intervals.items():
                found[kind].append((low <= a / (a + b) <= high, 100 * (high - low)))
        cells = (
            f"{holds:.1%}, {width:4.1f} wide" for holds, width in (np.mean(each, axis=0) for each in found.values())
        )
        print(f"{name:28}{100 * a / (a + b):6.1f} {problems:4} {k:3}   {'   '.join(cells)}")


if __name__ == "__main__":
    main()
