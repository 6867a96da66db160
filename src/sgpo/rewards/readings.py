r"""What one side of a comparison says: names and values of equations, elements of lists, and answers that are no
mathematics (choice letters, times of day, numerals, words).
"""

from __future__ import annotations

import re

from sgpo.rewards import library, quantities, structure
from sgpo.rewards.normalize import key
from sgpo.rewards.structure import Node

_SAID = re.compile(r"\\text(?![A-Za-z])|(?<![\\A-Za-z])[A-Za-z]{4}")


def spelled(text: str) -> str:
    r"""`no solution` as `\emptyset` and `all real numbers` as `\mathbb{R}`; everything else as it is."""
    said = quantities.words(text) or ""
    return said if said.startswith("\\") else text


def fraction(text: str) -> str:
    """`3:2` as a fraction, everything else as it is."""
    parts = text.split(":")
    return rf"\frac{{{parts[0]}}}{{{parts[1]}}}" if len(parts) == 2 and all(parts) else text


def special(gold: str, answer: str) -> bool | None:
    """Verdict where a side is a choice letter, a time, a numeral or text; None where both are mathematics."""
    if _SAID.search(gold) and key(quantities.detext(gold)).lower() == key(quantities.detext(answer)).lower():
        return True
    letter = quantities.choice(gold)
    label = quantities.labelled(answer)
    if letter and (gold != gold.lower() or r"\text" in gold):
        return letter == (label[0] if label else quantities.choice(answer))
    gold_label = quantities.labelled(gold)
    if gold_label and (label or quantities.choice(answer)):
        return gold_label[0] == (label[0] if label else quantities.choice(answer))
    times = quantities.time_of_day(gold), quantities.time_of_day(answer)
    if any(times):
        left, right = times
        return bool(left and right and left[0] == right[0] and (left[1] == right[1] or not (left[1] and right[1])))
    numerals = quantities.numeral(gold), quantities.numeral(answer)
    if any(numerals):
        return numerals[0] == numerals[1]
    texts = quantities.words(gold), quantities.words(answer)
    if texts[0] is not None or texts[1] is not None:
        plain = [t if t is not None else key(raw) for t, raw in zip(texts, (gold, answer), strict=True)]
        if plain[0] == plain[1]:
            return True
        return None if all(t is None or library.number(t) is not None for t in texts) else False
    return None


def expand(node: Node) -> list[str]:
    r"""Elements of a set or list with `a \pm b` written out, and each spelling once where it is a set."""
    items: list[str] = []
    for item in node.items:
        part = structure.parse(item)
        items.extend(part.items if structure.PLUS_MINUS.search(item) and part.kind == "list" else [item])
    if node.kind != "set":
        return items
    return list({key(item): item for item in items}.values())


def assigned(items: tuple[str, ...]) -> tuple[str, ...]:
    """`x = 1, y = 2` as 1, 2 where the names differ and come in order; other lists unchanged."""
    pairs = [definition(structure.parse(item)) for item in items]
    names = [pair[0] for pair in pairs if pair]
    if len(names) != len(items) or names != sorted(set(names)):
        return items
    return tuple(pair[1] for pair in pairs if pair)


def definition(node: Node) -> tuple[str, str] | None:
    """Name and value of `x = 5`, `f(x) = 2x`, `A = ab = 6`, `1 + 2 = 3`; None where the left side is no name."""
    if node.kind != "relation" or set(node.signs) != {"="}:
        return None
    first, last = node.items[0], node.items[-1]
    letters = [re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", side)) for side in (first, last)]
    if structure.is_name(first) or not any(letters):
        return first, last
    if not letters[1] and not re.search(r"\d", re.sub(r"_\s*\{?\d+", "", first)):
        return first, last  # `a + b = 12`: what was asked for, repeated
    if structure.is_name(last) and len(node.items) == 2 and not structure.is_name(first):
        return last, first
    return None
