"""The pretraining text: guided and unguided work on compositions of one to four operations.

Nothing here sees an instance of another split, nor a type that is held out. Numbers of all sizes and all wordings
are in it, so that the base can carry out whatever it is told.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from sgpo.lab.catalog import HELD_OUT, LARGEST_TRAINED, draw_numbers
from sgpo.lab.operations import LARGEST, OPERATIONS, TWO_LINES, Type, carry_out
from sgpo.lab.problems import GUIDED_TEMPLATE, question, split_of, strategy_words
from sgpo.lab.responses import respond

GUIDED_SHARE = 0.5
RIGHT_SHARE = 0.45
"""Of the guided text, the share whose strategy stays right. In the rest each operation may be replaced, which leaves
some as they are: 57% are right in all. A wrong strategy is carried out as told."""
FIRST_CONFUSION_SHARE = 0.6
"""Of the operations that unguided text misunderstands, the share that goes to the first of the two confusions."""
SMALL_SHARE = 0.5
"""Share of texts whose numbers stay within the range of training, which is where most problems are."""
LENGTHS = {1: 0.1, 2: 0.25, 3: 0.3, 4: 0.35}
_TRIES = 60


@dataclass(frozen=True)
class CorpusText:
    """A prompt and what follows it."""

    prompt: str
    response: str


class Corpus:
    """An endless, seeded stream of pretraining texts."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        # A wrong strategy names operations that take an operand where the problem has one.
        self._alike = {
            name: [n for n, other in OPERATIONS.items() if other.operand == one.operand and n != name]
            for name, one in OPERATIONS.items()
        }

    def draw(self) -> CorpusText:
        """The next text."""
        rng = self.rng
        while True:
            operations = self._compose()
            guided = rng.random() < GUIDED_SHARE
            told = self._strategy(operations) if guided else self._understood(operations)
            # Two such operations make a response longer than MAX_RESPONSE_TOKENS.
            if sum(name in TWO_LINES for name in told) > 1:
                continue
            # The reading is drawn before the numbers and kept: readings that fit fewer numbers keep their share.
            largest = LARGEST_TRAINED if rng.random() < SMALL_SHARE else LARGEST
            for _ in range(_TRIES):
                numbers = draw_numbers((operations, told), rng, largest)
                # By the operations that are asked, not by those that are told: no prompt may be seen twice.
                if numbers is not None and split_of(operations, numbers) == "corpus":
                    break
            else:
                continue
            prompt = question(operations, numbers, tuple(rng.randrange(3) for _ in operations))
            if guided:
                strategy = strategy_words(told, tuple(rng.randrange(2) for _ in told))
                prompt = GUIDED_TEMPLATE.format(strategy=strategy, prompt=prompt)
            return CorpusText(prompt, respond(carry_out(told, numbers), rng))

    def _compose(self) -> Type:
        while True:
            length = self.rng.choices(list(LENGTHS), list(LENGTHS.values()))[0]
            operations = tuple(self.rng.sample(list(OPERATIONS), length))
            if operations not in HELD_OUT and sum(name in TWO_LINES for name in operations) <= 1:
                return operations

    def _strategy(self, operations: Type) -> Type:
        """What a strategy tells: the right operations, or with one or more replaced by any others."""
        if self.rng.random() < RIGHT_SHARE:
            return operations
        share = self.rng.choice((0.3, 0.6, 1.0))
        return tuple(self.rng.choice(self._alike[n]) if self.rng.random() < share else n for n in operations)

    def _understood(self, operations: Type) -> Type:
        """What unguided text takes the operations for: each by its prior, else one of its confusions."""
        rng = self.rng
        told = []
        for name in operations:
            if rng.random() < OPERATIONS[name].prior:
                told.append(name)
            else:
                first, second = OPERATIONS[name].confusions
                told.append(first if rng.random() < FIRST_CONFUSION_SHARE else second)
        return tuple(told)

    def __iter__(self) -> Iterator[CorpusText]:
        while True:
            yield self.draw()
