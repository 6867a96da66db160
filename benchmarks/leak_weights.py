"""Fit the weights of the leak check's table (`sgpo.strategies.leakage.numbers.FEATURES`) to labelled strategies.

    python benchmarks/leak_weights.py --moves 100000

Each quantity of each strategy is read once. Then the weights are annealed: one of them is changed at a time, and the
change stays if it lowers the cost, or by chance. The cost counts the wrong verdicts, the weights that are not 0, and
how far each score is from the right side of 0. Batches in `--leave` are not fitted: they say how well the weights do on
new strategies. It prints both counts of wrong verdicts, before and after, and the rows of the table. The weights in the
table were found so, with the bounds and the cases of the tests as a further cost.

A weight that is 0 stays 0 unless `--free` is given: most features say nothing about most sorts of quantities.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import leak_labels
import numpy as np

from sgpo.strategies.check import answer_text, strategy_text
from sgpo.strategies.leakage import numbers
from sgpo.strategies.leakage.facts import Facts
from sgpo.strategies.leakage.rules import copied, right_option, said, written

DATA = Path(__file__).parent.parent / "tests" / "data"
LEAVE = ("twenty-fifth", "twenty-sixth", "twenty-seventh", "twenty-eighth")
MARGIN, PER_WEIGHT = 2, 0.08


def quantities(facts: Facts) -> Iterator[tuple[int, list[bool]]]:
    """The column of each quantity and which features it has."""
    for q in facts.strategy.quantities:
        if sort := numbers.sort_of(facts, q):
            yield numbers.SORTS.index(sort), [bool(feature.holds(facts, q)) for feature in numbers.FEATURES]


def main() -> None:
    """Read, anneal and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", default=sorted(DATA.glob("strategy_leaks*.jsonl")))
    parser.add_argument("--leave", nargs="*", default=LEAVE, help="batches that are not fitted")
    parser.add_argument("--moves", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--free", action="store_true", help="change weights that are 0, too")
    arguments = parser.parse_args()
    rows, _ = leak_labels.read(arguments.data)
    has: list[list[bool]] = []
    column: list[int] = []
    starts: list[int] = []
    owner: list[int] = []
    for i, row in enumerate(rows):
        texts = (row["problem"], answer_text(row["answer"]), row["response"] or "", strategy_text(row["strategy"]))
        facts = Facts(*texts)
        found = [] if any(rule(facts) for rule in (right_option, written, said, copied)) else list(quantities(facts))
        if found:
            owner.append(i)
            starts.append(len(has))
            column += [one for one, _ in found]
            has += [features for _, features in found]
    x, sort = np.array(has), np.array(column)
    label = np.array([rows[i]["label"] for i in owner])
    left = np.array([rows[i]["split"] in arguments.leave for i in owner])
    weights = np.array([feature.weights for feature in numbers.FEATURES])
    scores = (x * weights[:, sort].T).sum(1)

    def wrong() -> tuple[int, int]:
        told = np.maximum.reduceat(scores, starts) > 0
        return int((told != label)[~left].sum()), int((told != label)[left].sum())

    def cost() -> float:
        best = np.maximum.reduceat(scores, starts)
        short = np.where(label, MARGIN - best, best + MARGIN)[~left].clip(0, 6 * MARGIN)
        return wrong()[0] + 0.08 * float(short.sum()) + PER_WEIGHT * int((weights != 0).sum())

    print("wrong verdicts of what is fitted and what is left out:", *wrong())
    rng, now = np.random.default_rng(arguments.seed), cost()
    places = [(k, c) for k in range(len(weights)) for c in range(len(numbers.SORTS)) if arguments.free or weights[k, c]]
    touched = {(k, c): np.flatnonzero(x[:, k] & (sort == c)) for k, c in places}
    for move in range(arguments.moves):
        place = places[rng.integers(len(places))]
        old = weights[place]
        weights[place] = 0 if rng.random() < 0.2 else np.clip(old + rng.choice((-2, -1, 1, 2)), -9, 9)
        scores[touched[place]] += weights[place] - old
        after = cost()
        if after <= now or rng.random() < np.exp((now - after) / (2 * 0.05 ** (move / arguments.moves))):
            now = after
        else:
            scores[touched[place]] -= weights[place] - old
            weights[place] = old
    print("after:", *wrong())
    for feature, row_ in zip(numbers.FEATURES, weights, strict=True):
        print(f"{feature.name:24}", "".join(f"{weight:3}" if weight else "  ." for weight in row_))


if __name__ == "__main__":
    main()
