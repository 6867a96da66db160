"""The pretraining text: guided and unguided work on corpus instances, and arithmetic facts.

Nothing here sees an instance of another split, nor a held-out wording.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from sgpo.lab.catalog import FAMILIES
from sgpo.lab.families import Family, Step, Trace, UnfitError, do
from sgpo.lab.problems import GUIDED_TEMPLATE, split_instances
from sgpo.lab.responses import respond
from sgpo.lab.wording import WORDINGS, is_held_out

GUIDED_SHARE = 0.5
RIGHT_SHARE = 0.5
"""Of the guided text, the share that has the right strategy; the rest has a wrong one, carried out as told."""
FIRST_WRONG_SHARE = 0.6
"""Of the unguided text that goes wrong, the share that takes the first of the two wrong approaches."""
FACTS_SHARE = 0.2
FACTS_PER_LINE = 4


@dataclass(frozen=True)
class Text:
    """A prompt and what follows it. With `facts` the operators, which are random, are not learned."""

    prompt: str
    response: str
    facts: bool = False


def _facts(rng: random.Random) -> Text:
    """Random arithmetic on the numbers of the prompt, so that copying a number and the results of arithmetic
    do not hang on which instances a family has."""
    steps: list[Step] = []
    while len(steps) < FACTS_PER_LINE:
        op = rng.choice("+++---*/")
        a, b = rng.randrange(100), rng.randrange(100)
        if op in "*/":
            b = rng.randrange(1, 21)
            a = rng.randrange(0, 99 // b + 1) * (b if op == "/" else 1)
        try:
            steps.append(do(a, op, b))
        except UnfitError:
            continue
    numbers = " ".join(f"{step.a} {step.b}" for step in steps)
    return Text(f"facts {numbers}", " ; ".join(map(str, steps)), facts=True)


class Corpus:
    """An endless, seeded stream of pretraining texts over the corpus instances of all families."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.wordings = [k for k in range(WORDINGS) if not is_held_out(k)]
        self.pool: list[tuple[Family, list[tuple[str, tuple[Trace, ...]]]]] = []
        for family in FAMILIES:
            work = [(family.question(a), family.traces(a)) for a in split_instances(family, "corpus")]
            self.pool.append((family, [(prompt, traces) for prompt, traces in work if traces]))

        self.shares = list(itertools.accumulate(family.weight for family in FAMILIES))

    def _approach(self, right: float, first_wrong: float) -> int:
        """0 (right), 1 or 2 (wrong)."""
        if self.rng.random() < right:
            return 0
        return 1 if self.rng.random() < first_wrong else 2

    def draw(self) -> Text:
        """The next text."""
        rng = self.rng
        if rng.random() < FACTS_SHARE:
            return _facts(rng)
        family, work = rng.choices(self.pool, cum_weights=self.shares)[0]
        prompt, traces = rng.choice(work)
        if rng.random() < GUIDED_SHARE:
            approach = self._approach(RIGHT_SHARE, 0.5)
            strategy = family.strategy(approach, rng.choice(self.wordings))
            prompt = GUIDED_TEMPLATE.format(strategy=strategy, prompt=prompt)
        else:
            approach = self._approach(family.prior, FIRST_WRONG_SHARE)
        return Text(prompt, respond(traces, approach, rng))

    def __iter__(self) -> Iterator[Text]:
        while True:
            yield self.draw()
