"""Fit the weights of the leak check's table (`sgpo.strategies.leakage.numbers.FEATURES`) to labelled strategies.

    python benchmarks/leak_weights.py --leave twenty-ninth thirtieth

Each quantity of each strategy is read once. A strategy is taken to leak if one of its quantities does, and each of them
does with the chance sigmoid(sum of its weights): a noisy-or. The fit maximises the likelihood of the labels, less
`--l1` times the sum of all weights without their signs and `--l2` times that of their squares. The penalty is what
makes the weights hold for strategies that were not fitted: those in the batches of `--leave`, and with `--folds`, those
of each part of the batches, by the weights that the other parts give. It prints how many verdicts of the table and of
the fit are right, and the fitted rows.

The weights in the table were fitted so, to all batches up to the `thirtieth` and 140 strategies that are not in the
repository, with the cases of the tests as further rows. Then they were changed in steps of a tenth until the bounds of
the tests held.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import leak_labels
import numpy as np
import torch

from sgpo.strategies.check import answer_text, strategy_text
from sgpo.strategies.leakage import numbers
from sgpo.strategies.leakage.facts import Facts
from sgpo.strategies.leakage.rules import copied, right_option, said, written

DATA = Path(__file__).parent.parent / "tests" / "data"
UNIT = 10  # weights in the table are tenths of a nat


class Labelled:
    """Labelled strategies as the fit sees them, with Q quantities of N strategies.

    holds: [Q, features]. sort: [Q], the index of its sort. owner: [Q], whose quantity it is. label: [N]. worded: [N],
    true where a rule about words finds a leak.
    """

    def __init__(self, rows: list[leak_labels.Row]) -> None:
        holds, sort, owner, worded = [], [], [], []
        for i, row in enumerate(rows):
            texts = (row["problem"], answer_text(row["answer"]), row["response"] or "", strategy_text(row["strategy"]))
            facts = Facts(*texts)
            worded.append(any(rule(facts) for rule in (right_option, written, said, copied)))
            for q in facts.strategy.quantities:
                if name := numbers.sort_of(facts, q):
                    holds.append([bool(feature.holds(facts, q)) for feature in numbers.FEATURES])
                    sort.append(numbers.SORTS.index(name))
                    owner.append(i)
        self.holds = torch.tensor(holds, dtype=torch.float32)
        self.sort, self.owner, self.worded = torch.tensor(sort), torch.tensor(owner), torch.tensor(worded)
        self.label = torch.tensor([bool(row["label"]) for row in rows])

    def scores(self, weights: torch.Tensor) -> torch.Tensor:
        """The sum of each quantity, [Q], in nats; weights: [1 + sorts, features], the first for all sorts."""
        return (self.holds * (weights[0] + weights[1 + self.sort])).sum(1)

    def right(self, weights: torch.Tensor) -> torch.Tensor:
        """Whether each verdict is right, [N]."""
        above = self.scores(weights) > 1e-4  # a sum of tenths that is 0 may be a little more
        leaks = torch.zeros(len(self.label)).index_add(0, self.owner, above.float()) > 0
        return (leaks | self.worded) == self.label

    def fit(self, kept: torch.Tensor, l1: float, l2: float) -> torch.Tensor:
        """The weights of the highest penalised likelihood of some strategies, which `kept`, [N], names."""
        weights = torch.zeros(1 + len(numbers.SORTS), self.holds.shape[1], requires_grad=True)
        optimizer = torch.optim.LBFGS([weights], max_iter=200, history_size=20, line_search_fn="strong_wolfe")
        counted = kept & ~self.worded & (torch.bincount(self.owner, minlength=len(kept)) > 0)

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            none = torch.zeros(len(kept)).index_add(0, self.owner, -torch.nn.functional.softplus(self.scores(weights)))
            none = none.clamp(max=-1e-6)  # the log of the chance that no quantity leaks
            likelihood = torch.where(self.label, torch.log(-torch.expm1(none)), none)[counted].sum()
            penalty = l1 * torch.sqrt(weights**2 + 1e-4).sum() + l2 * (weights**2).sum()
            (total := penalty - likelihood).backward()
            return total

        optimizer.step(loss)
        return weights.detach()


def main() -> None:
    """Read, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", default=sorted(DATA.glob("strategy_leaks*.jsonl")))
    parser.add_argument("--leave", nargs="*", default=[], help="batches that are not fitted")
    parser.add_argument("--folds", type=int, default=0, help="so many parts of the batches are left out in turn, too")
    parser.add_argument("--l1", type=float, default=0.15)
    parser.add_argument("--l2", type=float, default=0.02)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows, _ = leak_labels.read(arguments.data)
    labelled = Labelled(rows)
    splits = np.array([row["split"] for row in rows])
    left = torch.tensor(np.isin(splits, arguments.leave))
    table = torch.tensor([feature.weights for feature in numbers.FEATURES], dtype=torch.float32).T / UNIT
    fitted = labelled.fit(~left, arguments.l1, arguments.l2)
    for name, weights in (("the table", table), ("the fit", fitted)):
        right = labelled.right(weights)
        told = f"{right[~left].float().mean():.1%} of {int((~left).sum())} fitted"
        told += f", {right[left].float().mean():.1%} of {int(left.sum())} left out" if left.any() else ""
        print(f"right verdicts of {name}: {told}")
    batches = np.random.default_rng(0).permutation(sorted(set(splits) - {*arguments.leave}))
    right = torch.zeros(len(rows), dtype=torch.bool)
    for fold in range(arguments.folds):
        out = torch.tensor(np.isin(splits, batches[fold :: arguments.folds]))
        right[out] = labelled.right(labelled.fit(~left & ~out, arguments.l1, arguments.l2))[out]
    if arguments.folds:
        print(f"right verdicts of {arguments.folds} fits on what each left out: {right[~left].float().mean():.1%}")
    for feature, column in zip(numbers.FEATURES, (fitted * UNIT).round().int().T.tolist(), strict=True):
        print(f"{feature.name:26}", "".join(f"{weight:4}" if weight else "   ." for weight in column))


if __name__ == "__main__":
    main()
