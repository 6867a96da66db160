"""The types of problems: which compositions of operations training shows, and which are kept for evaluation.

No type of `validation` or `eval` is in the pretraining text or in training, and no two sets share one.
"""

import itertools
import random
from collections.abc import Iterable

from sgpo.lab.operations import NEVER_FOUND, OPERATIONS, Numbers, Type, UnfitError, carry_out, fitting, result

LARGEST_TRAINED = 49
"""No number of a training problem or of its working is larger."""
LARGE = 55
"""A problem with larger operands has a number of at least this in it or in its working."""


def type_name(operations: Type) -> str:
    """The name of a type, e.g. ``add-double``."""
    return "-".join(operations)


def draw_numbers(types: Iterable[Type], rng: random.Random, largest: int) -> Numbers | None:
    """Numbers up to `largest` on which each of `types` can be carried out, or None where the draw came to an end.

    The types take operands at the same places.
    """
    first, *others = types
    start = rng.randint(0, largest)
    states, numbers = [start] * (1 + len(others)), [start]
    for position, name in enumerate(first):
        operand = 0
        if OPERATIONS[name].operand:
            choices = fitting(name, states[0], largest)
            if not choices:
                return None
            operand = rng.choice(choices)
            numbers.append(operand)
        # All types go through the same numbers: a draw on which one of them cannot be carried out is no use to any.
        for i, operations in enumerate((first, *others)):
            state = result(operations[position], states[i], operand, largest)
            if state is None:
                return None
            states[i] = state
    return tuple(numbers)


def misread(operations: Type) -> list[Type]:
    """Every way to carry out a confusion in place of one or more of the operations."""
    every = itertools.product(*((name, *OPERATIONS[name].confusions) for name in operations))
    # The first one is the right reading.
    return list(every)[1:]


def told_apart(operations: Type, numbers: Numbers) -> bool:
    """Whether no way of misreading an instance leads to its answer."""
    answer = carry_out(operations, numbers).answer
    for other in misread(operations):
        try:
            if carry_out(other, numbers).answer == answer:
                return False
        except UnfitError:
            continue
    return True


def _types(text: str) -> tuple[Type, ...]:
    return tuple(tuple(name.split("-")) for name in text.split())


# Drawn once by a seeded search that used every operation about as often in each list; written down, so that no later
# change of the search, or of Python's generator, moves a type from one list to another.
TYPES: dict[str, tuple[Type, ...]] = {
    "train": _types(
        """
        dial-add next-average times-larger smaller-double triple-gap digits-less gap-unit smaller-half
        back-dial tens-times add-average less-next double-larger less-triple half-times unit-average
        double-add-dial gap-times-smaller larger-unit-next back-less-average gap-digits-triple
        half-add-larger back-tens-average unit-double-less smaller-dial-triple half-digits-times
        tens-next-times gap-tens-average smaller-half-back larger-less-add next-unit-times
        double-dial-add triple-digits-average half-dial-smaller gap-less-digits back-larger-unit
        double-dial-triple next-double-smaller triple-tens-gap less-add-back average-next-half
        larger-unit-times next-add-digits tens-back-average dial-times-half unit-gap-triple
        smaller-double-digits next-larger-less
        """
    ),
    "validation": _types(
        """
        average-add larger-digits double-less gap-half next-smaller dial-back times-unit dial-gap-half
        tens-average-add digits-less-double next-triple-larger smaller-unit-times back-larger-average
        gap-unit-next double-back-smaller triple-add-dial digits-half-times tens-triple-less
        less-back-average double-digits-times
        """
    ),
    "eval": _types(
        """
        larger-unit back-gap dial-smaller times-add average-triple less-digits next-larger double-add
        half-less tens-average dial-double gap-digits digits-double-smaller half-dial-times
        gap-average-back tens-add-less triple-next-average next-larger-unit back-add-dial
        less-digits-triple smaller-half-gap larger-tens-times larger-unit-double average-smaller-less
        gap-next-dial add-digits-times back-half-smaller unit-triple-larger double-tens-gap
        average-next-add half-dial-double less-back-times digits-gap-triple unit-add-next
        tens-triple-times dial-double-less smaller-back-average gap-larger-half unit-smaller-average
        back-digits-times
        """
    ),
    "validation_longer": _types(
        """
        add-unit-average-half larger-smaller-gap-back triple-less-times-next dial-double-times-gap
        digits-double-add-half tens-next-average-smaller less-triple-larger-back tens-double-add-gap
        digits-back-average-times digits-next-smaller-less larger-dial-triple-add
        unit-smaller-half-times
        """
    ),
    "eval_longer": _types(
        """
        larger-tens-gap-add times-dial-back-smaller next-less-half-average digits-average-gap-double
        unit-triple-less-back half-smaller-triple-add larger-tens-double-times next-unit-less-average
        dial-half-back-gap double-digits-add-larger unit-triple-times-smaller digits-times-smaller-next
        tens-triple-gap-back half-unit-add-average add-larger-dial-double next-less-digits-average
        larger-dial-double-times less-tens-smaller-gap half-next-gap-triple less-unit-times-back
        smaller-dial-add-next back-digits-triple-larger digits-average-smaller-double
        half-unit-average-times
        """
    ),
}
"""Types by list: ``train`` (two and three operations) is trained and gives the axes `instances`, `operands` and
`wordings`; ``validation`` and ``eval`` (two and three operations) the axis `types`, ``validation_longer`` and
``eval_longer`` (four) the axis `longer` of their splits."""

HELD_OUT = frozenset(t for name, types in TYPES.items() if name != "train" for t in types)
"""The types that neither the pretraining text nor training has."""

UNSOLVED = tuple(type_name(t) for types in TYPES.values() for t in types if set(t) & set(NEVER_FOUND))
"""Names of the types that exploration practically never solves: they have an operation of `NEVER_FOUND`."""
