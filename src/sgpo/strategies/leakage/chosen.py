"""Where a strategy names the right option, or says the word or the name that is the answer."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from sgpo.mathtext.usage import stem, usage
from sgpo.mathtext.vocabulary import words
from sgpo.strategies.leakage.facts import Facts

_NAMED = words(
    "option choice answer alternative letter select choose pick mark circle tick only with so hence thus is be"
)
_JOINTS = (",", "and", "or", "to", "-", "/")
_PLACES = words("option choice answer alternative")
_NEGATIVE = words("not neither nor none eliminate exclude excluded discard reject cannot except out never no fail")
_ENDS = re.compile(r"[.;!?\n]")
_LAST = re.compile(r"\b(?:last|final) (?:listed |given )?(?:option|choice|alternative)\b(?! but)", re.I)


def option(facts: Facts) -> str:
    """`option B`, `(B)`, `the second option`; not `options A, B and C`, not `point B`."""
    letter, tokens = facts.case.answer.letter, facts.strategy.tokens
    bare = [i for i, token in enumerate(tokens) if token.text not in ("(", ")", "{", "}", '"', "$", ":")]
    for place, i in enumerate(bare) if letter else ():
        if tokens[i].text != letter:
            continue
        left, right = [
            [tokens[k].text for k in ks] for ks in (bare[max(0, place - 2) : place], bare[place + 1 : place + 3])
        ]
        if any(
            len(pair) == 2 and pair[1] in _JOINTS and re.fullmatch("[A-J]", pair[0]) for pair in (left, right[::-1])
        ):
            continue
        bracketed = (
            i > 1
            and tokens[i - 1].text == "("
            and tokens[i + 1 : i + 2]
            and tokens[i + 1].text == ")"
            and tokens[i - 2].kind != "word"
        )
        use = usage(facts.strategy.text, tokens, i, i + 1)
        if (
            bracketed
            or (left and stem(left[-1]) in _NAMED)
            or (len(left) > 1 and left[0].lower() in _PLACES)
            or use.by == "fits"
        ):
            return " ".join(t.text for t in tokens[max(0, i - 4) : i + 4])
    for q in facts.strategy.quantities:
        if letter and q.notation == "ordinal" and stem(q.noun) in _PLACES and q.size == ord(letter) - ord("A") + 1:
            return facts.quote(q)
    last = _LAST.search(facts.strategy.text)
    if last and letter and letter == max(facts.case.options, default=""):
        return last[0]
    return ""


def _lines(facts: Facts) -> Iterator[tuple[str, list[str]]]:
    """Each sentence of the strategy with the stems of its words, and capital letters as they are."""
    for sentence in _ENDS.split(facts.strategy.text):
        yield " ".join(sentence.split()), _stems(sentence)


def _stems(sentence: str) -> list[str]:
    return [word if len(word) == 1 else stem(word) for word in re.findall(r"[A-Za-z]+", sentence)]


def _says(stems: list[str], phrase: tuple[str, ...]) -> bool:
    wanted = [word if len(word) == 1 else stem(word) for word in phrase]
    return any(stems[i : i + len(wanted)] == wanted for i in range(len(stems) - len(wanted) + 1))


def eliminated(facts: Facts) -> str:
    """`Rule out A, C and D`, `neither even nor odd`: every candidate but the right one is denied in one sentence."""
    answer, case = facts.case.answer, facts.case
    right = (answer.letter or answer.written, *([answer.words] if answer.words else []))
    letters = case.candidates - {answer.letter, answer.written}
    for others in ([(name,) for name in letters], list(case.others)):
        for sentence, stems in _lines(facts) if len(others) > 1 else ():
            named = sum(_says(stems, phrase) for phrase in others)
            denied = _NEGATIVE & {word.lower() for word in stems}
            if named > 1 and named >= 0.6 * len(others) and denied and not any(_says(stems, (x,)) for x in right):
                return sentence[:80]
    return ""


def named(facts: Facts) -> str:
    """The right option by its text, where the problem says that only among its options and no other is named too."""
    answer, case = facts.case.answer, facts.case
    phrase = tuple(re.findall(r"[a-z]{2,}", answer.words)) if case.others else ()
    own = {stem(word) for word in phrase} - case.words
    name = answer.letter and {*phrase} & {word.lower() for word in case.names}
    for sentence, stems in _lines(facts) if phrase and (own or name) else ():
        if _says(stems, phrase) and not any(_says(stems, other) for other in case.others):
            return sentence[:80]
    return ""


def said(facts: Facts) -> str:
    """A text answer: a name anywhere but in a list of candidates; a common word where it is said of something."""
    answer, text, tokens = facts.case.answer, facts.strategy.text, facts.strategy.tokens
    words = answer.words.split()
    lower = [token.text.lower() for token in tokens]
    for i in range(len(tokens) - len(words) + 1) if words else ():
        if lower[i : i + len(words)] != words:
            continue
        last = i + len(words)
        before, behind = facts.line(i, last)
        around = [*before[-3:], *(behind if behind[:1] == [","] else behind[:2])]
        if {"or", "/", "whether", "versus", "vs", "from", "between"} & set(around) or _among_names(facts, i, last):
            continue
        start = max(text.rfind(mark, 0, tokens[i].start) for mark in ".;!?\n") + 1
        sentence = _ENDS.split(text[start : tokens[i].start + 400])[0]
        if any(_says(_stems(sentence), other) for other in facts.case.others):
            continue
        use = usage(text, tokens, i, last)
        ends = not behind or not behind[0].isalpha() or behind[0] in ("as", "because", "since", "and", "so", "here")
        introduced = use.name == "result" or before[-1:] in (["a"], ["an"]) or _concludes(lower, i)
        said = ends and not use.supposed and introduced
        if (answer.is_name and not answer.letter) or len(words) > 2 or said:
            return " ".join(text[max(0, tokens[i].start - 25) : tokens[last - 1].end + 15].split())
    return ""


def _concludes(lower: list[str], i: int) -> bool:
    return bool(
        {"so", "hence", "thus", "therefore", "conclude", "identify", ":", "answer"} & set(lower[max(0, i - 6) : i])
    )


def _among_names(facts: Facts, first: int, last: int) -> bool:
    """`Anna, Boris and Clara`: another name of the problem beside it in a list."""
    tokens = facts.strategy.tokens
    names = {token.text for token in facts.case.problem.tokens if token.text[:1].isupper()}
    names |= {
        b.text for a, b in itertools.pairwise(tokens) if b.text[:1].isupper() and (a.kind == "word" or a.text == ",")
    }
    left, right = [t.text for t in tokens[max(0, first - 3) : first]], [t.text for t in tokens[last : last + 3]]
    if "not" in right:
        return False
    sides = ((left[-1:], left), (right[:1], right))
    return any(set(joint) & set(_JOINTS) and names & set(side) for joint, side in sides)
