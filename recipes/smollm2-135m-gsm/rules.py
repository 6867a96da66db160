"""Stage 2, the other problems: rows of words, of which one is to be named by a rule that two examples show.

    python recipes/smollm2-135m-gsm/rules.py --out runs/smollm2/rules
    python recipes/smollm2-135m-gsm/rules.py --wide --out runs/smollm2/wide    # 77 rules in place of 23

Alone, a model must find the rule; the strategy says it. No arithmetic is needed, which is where SmolLM2-135M fails on
the problems of ``split.py``. The files are those of ``split.py``. The rules of the training set come in the warm-up
behind their strategy alone.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from split import lesson, question

from sgpo.evaluation.templates import TEMPLATES
from sgpo.runs.files import write_rows

WORDS = {
    "animal": "dog cat horse cow sheep lion tiger bear wolf mouse rabbit goat",
    "fruit": "apple banana grape lemon cherry peach pear plum mango orange melon fig",
    "colour": "red blue green yellow black white brown pink purple grey",
    "country": "France Spain Italy Peru China Japan Brazil Egypt India Kenya Chile Norway",
    "job": "doctor nurse teacher farmer baker lawyer pilot singer painter judge",
    "tool": "hammer saw drill axe shovel wrench knife pliers rake chisel",
    "vehicle": "car bus train bicycle ship truck plane boat tram van",
    "instrument": "piano guitar violin flute drum trumpet harp cello",
    "metal": "iron gold silver copper tin lead zinc steel",
}  # fmt: skip
MORE_WORDS = {
    "bird": "robin eagle sparrow owl parrot swan duck goose pigeon hawk",
    "vegetable": "carrot onion potato cabbage spinach celery garlic broccoli leek",
    "garment": "shirt coat hat scarf glove sock skirt jacket shoe",
    "furniture": "chair table sofa bed desk shelf bench wardrobe stool",
    "drink": "tea coffee milk juice water wine beer lemonade",
    "sport": "tennis football hockey golf rugby boxing baseball chess",
    "shape": "circle square triangle rectangle oval cube sphere cone",
    "month": "January February April June July August October December",
    "planet": "Venus Mars Jupiter Saturn Neptune Uranus",
    "flower": "tulip daisy lily violet sunflower orchid daffodil",
    "tree": "oak pine birch maple willow elm cedar",
    "fish": "salmon trout cod shark tuna herring eel",
    "insect": "ant bee wasp beetle moth butterfly mosquito",
    "building": "church school hospital castle library museum factory",
    "relative": "uncle aunt mother father sister brother cousin",
}  # fmt: skip
KINDS = {kind: words.split() for kind, words in (WORDS | MORE_WORDS).items()}
PLACES = ("first", "second", "third", "fourth", "last")
LENGTH = 5


@dataclass(frozen=True)
class Rules:
    """A rule is a kind of word, a place in a row, or the neighbour of a kind of word. Rows have words of ``kinds``."""

    kinds: tuple[str, ...]
    warmup: tuple[str, ...]
    train: tuple[str, ...]
    new: tuple[str, ...]


FEW = Rules(
    kinds=tuple(sorted(WORDS)),
    warmup=(
        "fruit", "colour", "country", "metal", "first", "third",
        "after fruit", "after country", "before colour", "before metal",
    ),
    train=("animal", "job", "tool", "second", "last", "after animal", "before fruit", "after job"),
    new=("vehicle", "instrument", "fourth", "after tool", "before animal"),
)  # fmt: skip


def wide() -> Rules:
    """Every rule of every kind: of each form a quarter for the warm-up, half for training, and a quarter new."""
    kinds = tuple(sorted(KINDS))
    dealt: list[list[str]] = [["first", "third"], ["second", "last"], ["fourth"]]
    for form in ("", "after ", "before "):
        rules = [form + kind for kind in kinds]
        Random(form).shuffle(rules)
        for part, begin, end in zip(dealt, (0, 1, 3), (1, 3, 4), strict=True):
            part += rules[begin * len(rules) // 4 : end * len(rules) // 4]
    return Rules(kinds, *map(tuple, dealt))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--wide", action="store_true", help="77 rules on 24 kinds of words in place of 23 on 9")
    parser.add_argument("--warmup-each", type=int, default=16, help="lessons of a rule")
    parser.add_argument("--training-each", type=int, default=32, help="problems of a training rule")
    parser.add_argument("--test-each", type=int, default=20, help="problems of a rule to evaluate on")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    parts: dict[str, list[dict[str, Any]]] = {"warmup": [], "train": [], "trained": [], "new": []}
    rules = wide() if given.wide else FEW
    for part in ("warmup", "train", "new"):
        for rule in getattr(rules, part):
            # Those to evaluate on are drawn first, so that they are the same for every number of lessons.
            found = problems(rule, rules, given.seed)
            tests = [question(next(found)) for _ in range(given.test_each)]
            if part != "warmup":
                parts["trained" if part == "train" else "new"] += tests
            if part == "train":
                parts["train"] += [next(found) for _ in range(given.training_each)]
            if part != "new":
                lessons = [next(found) for _ in range(given.warmup_each)]
                parts["warmup"] += [lesson(row, guided=part == "train" or i % 2 == 1) for i, row in enumerate(lessons)]
    Random(given.seed).shuffle(parts["warmup"])
    Random(given.seed).shuffle(parts["train"])
    given.out.mkdir(parents=True, exist_ok=True)
    for name, rows in parts.items():
        write_rows(given.out / f"{name}.jsonl", rows)
        print(f"{len(rows):6d} rows  {given.out / name}.jsonl")


def problems(rule: str, rules: Rules, seed: int) -> Iterator[dict[str, Any]]:
    """Problems of a rule, each with one answer: no rule that explains both examples picks another word."""
    random = Random(f"{seed} {rule}")
    strategy, explained = strategy_of(rule)
    for i in count():
        first, second, row = (draw(rule, rules.kinds, random) for _ in range(3))
        shown = {example: picked(rule, example) for example in (first, second)}
        answer = picked(rule, row)
        others = (*rules.warmup, *rules.train, *rules.new)
        explaining = [other for other in others if all(picked(other, e) == word for e, word in shown.items())]
        if any(picked(other, row) != answer for other in explaining):
            continue
        examples = [f"{', '.join(example)}: {word}" for example, word in shown.items()]
        work = explained.format(found=row[looked_for(rule, row)], picked=answer)
        asked = f"Which word does it pick in: {', '.join(row)}?"
        text = "\n".join(["In each row, one rule picks a word.", *examples, asked])
        yield {
            "id": f"rules-{rule}-{i}",
            "prompt": TEMPLATES["instruct"].prompt(text),
            "problem": text,
            "strategy": strategy,
            "answer": answer,
            "expert": f"{work}\nThe answer is \\boxed{{{answer}}}.",
            "family": rule,
        }


def draw(rule: str, kinds: tuple[str, ...], random: Random) -> tuple[str, ...]:
    """A row of words of different kinds, in which the rule picks one."""
    while True:
        row = tuple(random.choice(KINDS[kind]) for kind in random.sample(kinds, LENGTH))
        if picked(rule, row):
            return row


def picked(rule: str, row: tuple[str, ...]) -> str | None:
    """The word that a rule picks in a row, if there is one."""
    found = looked_for(rule, row)
    place = found + {"after": 1, "before": -1}.get(rule.split()[0], 0)
    return row[place] if found >= 0 and 0 <= place < LENGTH else None


def looked_for(rule: str, row: tuple[str, ...]) -> int:
    """The place of the word that the rule names, or -1."""
    name = rule.split()[-1]
    if name in PLACES:
        return LENGTH - 1 if name == "last" else PLACES.index(name)
    return next((place for place, word in enumerate(row) if word in KINDS[name]), -1)


def strategy_of(rule: str) -> tuple[str, str]:
    """What the strategy says, and the work of an answer, with places for the words found and picked."""
    side, _, name = rule.rpartition(" ")
    if side:
        where = f"The word directly {side} the {name} is picked."
        return (
            f"{where} First find the {name}, then read its neighbour.",
            f"{where} The {name} is {{found}}: {{picked}}.",
        )
    if name in PLACES:
        return f"The {name} word is picked. Count the words of the row.", f"The {name} word is picked: {{picked}}."
    strategy = f"The {name} is picked. Find the word that names a kind of {name}."
    return strategy, f"The {name} is picked: {{picked}}."


if __name__ == "__main__":
    main()
