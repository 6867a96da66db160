r"""What one side of a comparison says: names and values of equations, elements of lists, and answers that are no
mathematics (choice letters, times of day, numerals, words).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from sgpo.rewards import choices, library, quantities, structure, vectors
from sgpo.rewards.normalize import key
from sgpo.rewards.structure import EQUAL, Shape

_SAID = re.compile(r"\\text(?![A-Za-z])|(?<![\\A-Za-z])[A-Za-z]{4}")
_CONNECTOR = re.compile(
    r"\\text\{\s*,?\s*(?:where|for|if|when|with|provided(?: that)?|such that|assuming)(?: all| any| every)?\s*\}"
    r"|(?<![A-Za-z\\])(?:where|for|if|when|with|provided that|such that)(?: all| any| every)?(?![A-Za-z])"
)
_QUANTIFIED = re.compile(  # for all x, where c is a constant, \forall x \in R
    r"(?P<main>.+?)[\s,]*(?:\(\s*)?(?:\\forall(?![A-Za-z])|(?:\\text\{\s*,?\s*|(?<![A-Za-z\\]))(?:for|where|with)(?![A-Za-z])"
    r"|(?<=[,;( ]) ?(?=[A-Za-z] ?(?:\\in ?\\mathbb\{Z|(?:\\text\{ ?)?(?:is|being) an(?: arbitrary)? integer))"
    r"|(?<=[)}], )(?=[A-Za-z] ?\\in ?\\mathbb\{R))"
    r"(?P<said>(?:[\s{},]|\\text(?![a-z])|\\in ?\\mathbb\{[NZQRC]\}|(?<![A-Za-z])[A-Za-z](?![A-Za-z])"
    r"|(?<![A-Za-z])(?:all|any|every|each|some|is|are|be|being|an|of|and|in|real|rational|complex|arbitrary|fixed|constants?|numbers?|"
    r"integers?|positive|natural|reals|values?)(?![A-Za-z]))+)(?:\))?"
)
_QUANTIFIER = re.compile(r"\\forall|\b(?:for|where|with)\b|\\in ?\\mathbb\{[ZR]|an(?: arbitrary)? integer")
_BUILDER = re.compile(  # \{2k\pi : k \in \mathbb{Z}\}, \{(t, 2t) : t \in \mathbb{R}\}
    r"\\\{ ?(?:([^|=]*[^|=\s:]) ?[|:] ?([A-Za-z] ?\\in ?\\mathbb\{Z\})"
    r"|((?:\(|\\begin)[^|=]*[)}]) ?[|:] ?([A-Za-z] ?\\in ?\\mathbb\{R\})) ?\\\}"
)
_LETTER_SAID = re.compile(r"(?<![A-Za-z\\{])(?!a [a-z]{4})[A-Za-z](?![A-Za-z])")
_TURNS = re.compile(  # k\pi and \pi n, which m\pi r^2 is not
    r"(?<![A-Za-z\\])([kmnl]) ?(?:\\cdot ?)?(?:\\pi(?! ?(?:\\cdot ?)?[A-Za-z])|\d+ ?\\degree)"
    r"|(?:\\pi|\\degree) ?(?:\\cdot ?)?([kmnl])(?! ?[A-Za-z])"
)
_CONSTANT = re.compile(r"\+ ?([CcKk])$|^[a-zA-Z]\([a-z]\) ?=[^A-Za-z]*([CcKk])(?=[a-z]$|$)")
_FUNCTION = re.compile(r"[A-Za-z]\([a-z]\) ?=")
_PROGRESSION = re.compile(r"(?<![\d.])(-?\d{1,4})((?:, ?-?\d{1,4})*), ?\.\.\. ?,? ?(-?\d{1,4})(?![\d.])")
_CONDITION = re.compile(rf"(.+?)(?:{_CONNECTOR.pattern})(.+)")
_IN_BRACKETS = re.compile(r"(.*[^A-Z\\({\s])[\s,]+(\([^()]*(?:\([^()]*\)[^()]*)*\))")
_LETTER = re.compile(r"\\text\{ ?([K-Zk-z]) ?\}")  # those before K are options
_EXCEPT = re.compile(
    r"(?:all )?(?:real numbers?|reals)(?: [a-z])? (?:except(?: for)?|excluding|other than)(?: [a-z] ?=)? ?([-+\\\d].*)"
)
_BELOW = re.compile(
    r"(\d[\d.]*|[a-z]+(?:[ -][a-z]+)??) ?(\\degree(?: [CF]\b)?|degrees?(?: [a-z]+)?)? ?below (?:zero|0)", re.IGNORECASE
)
_KIND = re.compile(  # an even function is even
    r"(?<=\w) (?:functions?|numbers?|integers?|triangles?|quadrilaterals?|polygons?|angles?|lines?|curves?|graphs?"
    r"|series|sequences?|matri(?:x|ces)|sets?|equations?|systems?)$"
)
_RESIDUE = re.compile(
    r"(?P<name>[a-z]) ?(?:(?P<kind>even|odd)|\\equiv ?(?P<residue>\d{1,2}) ?\\pmod\{ ?(?P<modulus>[1-9]\d?) ?\})"
)
ELSE = re.compile(r"\b(?:otherwise|else)\b")
_ATOMS = re.compile(r"(?:[A-Z][a-z]?\d*|\((?:[A-Z][a-z]?\d*)+\)\d*)+")  # H_2O
_PARTS = re.compile(r"\d[\s-]*(?:\\text\{ ?)?[a-z]+(?:th|rd|ve)s ?\}?$")  # 7 tenths
_OUT_OF = re.compile(r"(\d+) (?:in|out of) (\d+)")
_COMMA = re.compile(",")
_NAMED = re.compile(  # mean 6, mean = 6, the mean is 6
    r"(?:the )?([a-z]{2,}(?: [a-z]+){0,2}?) ?(?:[=:]|\b(?:is|are|equals)\b)? ?((?<![a-z])[a-z](?![a-z]).*|[-+\d(\\].*)",
    re.IGNORECASE,
)
_MIXED = re.compile(r"(-?\d+) ?(?:and|\\text\{ ?and ?\}) ?(?:\\frac\{(\d+)\}\{(\d+)\}|(\d+) ?/ ?(\d+))")


def mixed(text: str) -> str | None:
    """`2 and 1/2` as the mixed number that it also says; None for other texts."""
    match = _MIXED.fullmatch(text.strip())
    if match is None:
        return None
    top, bottom = match.group(2) or match.group(4), match.group(3) or match.group(5)
    return rf"{match.group(1)} \frac{{{top}}}{{{bottom}}}" if int(top) < int(bottom) else None


def spelled(text: str) -> str:
    r"""`no solution` as `\emptyset` and `all real numbers` as `\mathbb{R}`, `\text{T}` as `T`."""
    if letter := _LETTER.fullmatch(text.strip()):
        return letter.group(1)
    text = quantities.restated(text) or text
    text = _PROGRESSION.sub(_counted_out, text) if "..." in text else text
    if (not text.isascii() or _PARTS.search(text)) and (number := quantities.number_in_words(quantities.detext(text))):
        return number
    digits, base = quantities.numeral(text) or ("", 0)
    said = digits if base == 10 else quantities.text_words(text) or ""
    if base == 10 or said.startswith("\\"):
        return said
    if share := _OUT_OF.fullmatch(quantities.detext(text)):
        return rf"\frac{{{share[1]}}}{{{share[2]}}}"
    if cold := _BELOW.fullmatch(quantities.detext(text)):
        return rf"-{quantities.number_in_words(cold[1]) or cold[1]}" + (r"\text{ degrees}" if cold[2] else "")
    excepted = _EXCEPT.fullmatch(quantities.detext(text))
    return rf"\mathbb{{R}} \setminus \{{{excepted.group(1)}\}}" if excepted else text


def spelled_alike(gold: str, answer: str) -> tuple[str, str]:
    """Both sides as `spelled`; `three dozen eggs` with its number in digits where the other side is no such text."""
    counted = [quantities.counted_in_words(side) for side in (gold, answer)]
    one, other = (c if bool(counted[0]) != bool(counted[1]) else "" for c in counted)
    return spelled(one or gold), spelled(other or answer)


def fraction(text: str) -> str:
    """`3:2` as a fraction, everything else as it is."""
    parts = text.split(":")
    return rf"\frac{{{parts[0]}}}{{{parts[1]}}}" if len(parts) == 2 and all(parts) else text


def special(gold: str, answer: str) -> bool | None:
    """Verdict where a side is a choice letter, a time, a numeral or text; None where both are mathematics."""
    if _SAID.search(gold) and key(quantities.detext(gold)).lower() == key(quantities.detext(answer)).lower():
        return True
    if (letter := choices.choice(gold)) and (gold != gold.lower() or r"\text" in gold):
        return letter == choices.choice(answer)
    times = quantities.time_of_day(gold), quantities.time_of_day(answer)
    if any(times):
        left, right = times
        return bool(left and right and left[0] == right[0] and (left[1] == right[1] or not (left[1] and right[1])))
    atoms = [re.sub(r"\\text|[{}_ ]", "", side) for side in (gold, answer)]
    if atoms[0] == atoms[1] and r"\text" in gold + answer and _ATOMS.fullmatch(atoms[0]):
        return True
    numerals = quantities.numeral(gold), quantities.numeral(answer)
    if any(numerals):
        return numerals[0] == numerals[1]
    texts = quantities.text_words(gold), quantities.text_words(answer)
    if texts[0] is not None or texts[1] is not None:
        plain = [t if t is not None else key(raw) for t, raw in zip(texts, (gold, answer), strict=True)]
        if plain[0] in (plain[1], _KIND.sub("", plain[1])) or plain[1] == _KIND.sub("", plain[0]):
            return True
        if _names(gold) == _names(answer) != []:
            return True
        if plain[0] in ("yes", "no") and re.match(rf"\W*{plain[0]}\W*,", quantities.detext(answer), re.IGNORECASE):
            against = "yes|but" if plain[0] == "no" else "no|not|but"
            return not re.search(rf"\b(?:{against})\b", plain[1][len(plain[0]) :])
        return None if all(t is None or library.plain_number(t) is not None for t in texts) else False
    return None


def _names(text: str) -> list[str]:
    """The names that a text lists, in the order of the alphabet; none for other texts."""
    names = re.split(r"\W*,\W*(?:and )?|\W+and ", quantities.detext(text).strip(" .").lower())
    return sorted(names) if len(names) > 1 else []


def expand(node: Shape) -> list[str]:
    r"""Elements of a set or list with `a \pm b` written out, and each spelling once where it is a set."""
    items: list[str] = []
    for item in node.items:
        part = structure.parse(item)
        items.extend(part.items if structure.PLUS_MINUS.search(item) and part.kind == "list" else [item])
    if node.kind != "set":
        return items
    return list({key(item): item for item in items}.values())


def values_by_word(text: str) -> dict[str, str]:
    """Names and values of `mean 6, median 7`, `mean = 6 and median = 7`; none unless each part has its own name."""
    parts = [_NAMED.fullmatch(piece) for piece in structure.pieces(quantities.detext(text))]
    found = {match[1][0].lower() + match[1][1:]: match[2] for match in parts if match}
    return found if 1 < len(found) == len(parts) else {}


def in_space(node: Shape) -> tuple[str, ...]:
    """The entries of a tuple, column or row, or of a sum in i, j, k, as three, a plane vector having none
    along k; () for what is no vector.
    """
    if node.kind == "value":
        return vectors.basis(node.text)
    flat = node.kind == "tuple" or node.is_vector
    return (*node.items, "0")[:3] if flat and len(node.items) in (2, 3) else ()


def family(text: str) -> list[str]:
    r"""The values of `x = \pm\frac{\pi}{6} + k\pi`, without a name; what else an answer may be has one, itself."""
    node = structure.parse(text)
    items = expand(node) if node.kind in ("list", "set") else [text]
    named = [definition(structure.parse(item)) for item in items]
    if len({pair[0] for pair in named if pair}) > 1:
        return []
    return [pair[1] if pair else item for pair, item in zip(named, items, strict=True)]


def by_residues(cases: tuple[str, ...]) -> list[tuple[str, Callable[[str], str]]]:
    r"""Each value of cases that go by the remainder of one letter, and what puts 2j + 1 for that letter where it is
    odd; nothing for other cases, and where they leave out a remainder.
    """
    said = [_RESIDUE.fullmatch(quantities.detext(condition)) for condition in cases[1::2]]
    names = {match["name"] for match in said if match}
    moduli = {int(match["modulus"] or 2) for match in said if match}
    if len(names) != 1 or len(moduli) != 1 or not all(said[:-1]):
        return []
    name, modulus = names.pop(), moduli.pop()
    found: dict[int, str] = {}
    for value, match in zip(cases[::2], said, strict=True):
        residue = int(match["residue"] or match["kind"] == "odd") % modulus if match else -1
        rest = set(range(modulus)) - set(found)
        if residue not in rest if match else not ELSE.search(cases[-1]):
            return []
        found |= dict.fromkeys([residue] if match else rest, value)
    letter = next(letter for letter in "jlpqkmn" if letter not in "".join(cases))
    puts = [partial(library.rename, old=name, new=f"{{({modulus}{letter}+{residue})}}") for residue in found]
    return list(zip(found.values(), puts, strict=True)) if len(found) == modulus else []


def runs(node: Shape, size: int) -> list[tuple[str, ...]]:
    """`1, 2 or 5, 6` as one list of so many elements, its groups in any order; none where it has no groups."""
    groups = [structure.parse(item) for item in node.items] if 1 < len(node.items) < min(size, 5) else []
    if not groups or any(group.kind != "list" for group in groups) or sum(len(g.items) for g in groups) != size:
        return []
    return [tuple(itertools.chain(*(g.items for g in order))) for order in itertools.permutations(groups)]


def only(node: Shape) -> Shape:
    r"""The tuple of a set that holds nothing else, `\{(1, 2)\}`, the solutions of a system; other shapes unchanged."""
    inner = structure.parse(node.items[0]) if node.kind == "set" and len(node.items) == 1 else node
    return inner if inner.kind == "tuple" else node


def reordered(node: Shape, names: tuple[str, ...]) -> Shape:
    """`(y, x) = (2, 1)` as a tuple in the order of other names; what is no single tuple is left as it is."""
    if node.kind != "tuple" or len(node.items) != len(names) or not names:
        return node
    values = dict(zip(node.names, node.items, strict=True))
    return replace(node, items=tuple(values[name] for name in names), names=names)


def assigned(items: tuple[str, ...]) -> tuple[str, ...]:
    """`x = 1, y = 2` as 1, 2 where the names differ and come in order; other lists unchanged."""
    pairs = [definition(structure.parse(item)) for item in items]
    names = [pair[0] for pair in pairs if pair]
    if len(names) != len(items) or names != sorted(set(names)):
        return items
    return tuple(pair[1] for pair in pairs if pair)


def _parameter(text: str) -> tuple[str, str, bool, bool]:
    r"""An answer without the words that say which letters are free (`2x \text{ for all } x`); its parameter, if it has
    one; whether that is declared, and whether any integer is meant: `k` of `\frac{\pi}{4} + k\pi`.
    """
    text = _BUILDER.sub(lambda m: f"{m[1] or m[3]}, {m[2] or m[4]}", text)
    match = _QUANTIFIED.fullmatch(text) if _QUANTIFIER.search(text) else None
    if match and not structure.is_inequality(match["main"]):
        said = match["said"]
        letter = _LETTER_SAID.search(said)
        whole = bool(re.search(r"integer|mathbb\{Z\}(?!\^|_)", said)) and not re.search("positive|natural", said)
        return match["main"].rstrip(" ("), letter.group() if letter else "", letter is not None, whole
    turns = _TURNS.search(text) if re.search("[+-]", text) else None
    found = turns or _CONSTANT.search(text)
    return text, (found.group(1) or found.group(2)) if found else "", False, turns is not None


def aligned(gold: str, answer: str) -> tuple[str, str, str]:
    """Both answers without words on their free letters and with one name for their parameter, and its name where it is
    any integer. A parameter is one that a side declares, or that both have in its usual place: `k\\pi`, `+ C`.
    """
    (gold, ours, declared, whole), (answer, theirs, also, integral) = _parameter(gold), _parameter(answer)
    # A constant that nobody declares may be one that the problem names: `x^2 + k` is not `x^2 + c`. One of a function
    # that was asked for, `f(x) = cx`, is free.
    free = all(_FUNCTION.match(side) for side in (gold, answer)) or (whole and integral)
    free = free or ours.lower() == theirs.lower() or {ours, theirs} == {"C", "K"}
    if not (declared or also or (ours and theirs and free)):
        return gold, answer, ""
    only = [structure.letters(one) - structure.letters(other) for one, other in ((gold, answer), (answer, gold))]
    name = ours or theirs
    if any(only):
        if [len(letters) for letters in only] != [1, 1] or not (
            {ours} - {""} <= only[0] and {theirs} - {""} <= only[1]
        ):
            return gold, answer, ""
        name = min(only[0])
        answer = library.rename(answer, min(only[1]), name)
    # In `f(n) = n + 1` the letter is an argument, and in `n\\pi + \\pi` it may be what the problem names.
    side = re.match(r"([A-Za-z]|\\[a-z]+) ?=", gold)
    integer = (whole or not declared) and (integral or not also) and (whole or integral)
    runs = (side is not None and side[1] != name) or name == "k" or (_TURNS.search(gold) and (declared or also))
    return gold, answer, name if integer and runs else ""


def _counted_out(match: re.Match[str]) -> str:
    """`1, 3, ..., 9` with all its numbers, where it goes on by equal steps."""
    given = [int(number) for number in re.findall(r"-?\d+", match.group(1) + match.group(2))]
    step, last = given[1] - given[0] if len(given) > 1 else 1, int(match.group(3))
    numbers = list(range(given[0], last + (1 if step > 0 else -1), step)) if step and abs(last - given[0]) < 500 else []
    fits = numbers[: len(given)] == given and numbers[-1:] == [last]
    return ", ".join(map(str, numbers)) if fits else match.group()


def condition(text: str) -> tuple[str, str]:
    r"""An answer and the condition behind it, "" where there is none: `2x \text{ for } x>0`, `2x (x>0)`, `2x, x>0`."""
    match = _CONDITION.fullmatch(text) or _IN_BRACKETS.fullmatch(text)
    if r"\begin" in text:
        return text, ""
    if match:
        main, said = match.group(1).strip(" ,"), structure.strip_outer(match.group(2).strip())
        if structure.is_inequality(said) and main and not (_CONNECTOR.search(main) or structure.is_name(main)):
            return main, said
        return text, ""
    pieces = structure.split_top(text, _COMMA)[0]
    if len(pieces) != 2 or not structure.is_inequality(pieces[1]) or structure.is_inequality(pieces[0]):
        return text, ""
    if not structure.letters(pieces[1]) <= structure.letters(pieces[0]):
        return text, ""
    defined = definition(structure.parse(pieces[0]))
    if defined and structure.is_name(defined[0]) and not structure.letters(defined[1]):
        return text, ""  # `x = 0, x \ge 2` are two answers
    return pieces[0], pieces[1]


def definition(node: Shape) -> tuple[str, str] | None:
    """Name and value of `x = 5`, `f(x) = 2x`, `A = ab = 6`, `1 + 2 = 3`; None where the left side is no name."""
    if node.kind != "relation" or not set(node.signs) <= EQUAL:
        return None
    first, last = node.items[0], node.items[-1]
    letters = [structure.letters(side) for side in (first, last)]
    if letters[1] and not letters[0]:  # `5 + 6 = 11 dollars`
        letters[1] = structure.letters(quantities.split_quantity(last).core)
    if structure.is_name(first) or not any(letters):
        return first, last
    if not letters[1] and not re.search(r"\d", re.sub(r"_\s*\{?\d+", "", first)):
        return first, last  # `a + b = 12`: what was asked for, repeated
    if structure.is_name(last) and len(node.items) == 2 and not structure.is_name(first):
        return last, first
    return None
