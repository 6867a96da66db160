"""Rules about words: where a strategy names the right option, says the answer in words, or copies the response."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from sgpo.mathtext.quantities import Text
from sgpo.mathtext.tokens import stem, words
from sgpo.mathtext.usage import usage
from sgpo.strategies.leakage.facts import Facts

RUN, LAW_RUN, WHOLE = 10, 14, 7  # words; all who state a law use the same ones
_LAW = words("theorem law formula identity rule lemma inequality principle property definition defined sum product")
_NAMED = (
    r"\( ?X ?\)|(?i:option|choice|answer|letter|select|choose|pick|mark|circle|tick|take|only|is|be|for|and|or|,)s?"
    r" X\b(?! ?\(| to [A-J]\b)|\bX$"
)
_PLACES = words("option choice answer alternative candidate list listed")
_OPEN = words("if whether when unless or versus between compare")


def _sentences(facts: Facts) -> Iterator[str]:
    for begin, end in facts.strategy.sentences:
        yield " ".join(token.text for token in facts.strategy.tokens[begin:end])


def _says(sentence: str, phrase: str) -> bool:
    """Whether a sentence has a phrase, in the singular or the plural; letters of options keep their capitals."""
    said, wanted = (
        " ".join(word if len(word) == 1 else stem(word) for word in re.findall("[A-Za-z]+", text))
        for text in (sentence, phrase)
    )
    return f" {wanted} " in f" {said} "


def right_option(facts: Facts) -> str:
    """The rule `option`: it finds `option B`, `(B)` and `the second option`, not `options A, B and C` or `point B`."""
    letter, count = facts.case.letter, len(facts.case.options)
    if not letter:
        return ""
    place = ord(letter) - ord("A") + 1
    near = r"(?: \w+){0,4} (?:option|choice|answer)"
    places = {
        count // 2 + 1: "middle" + near,
        count - 1: r"last(?: \w+)? but one",
        count: f"(?:last|final){near}(?! but)",
    }
    for sentence in _sentences(facts):
        named = {x for x in facts.case.options if re.search(_NAMED.replace("X", x), sentence)}
        if named == {letter} or (place in places and re.search(places[place], sentence, re.IGNORECASE)):
            return sentence[:80]
    ordinals = (q for q in facts.strategy.quantities if q.notation == "ordinal" and q.size == place)  # 2nd, second
    return next((q.quote for q in ordinals if q.use.by == "fits" or _PLACES & {q.noun, *q.behind[:3]}), "")


def eliminated(facts: Facts) -> str:
    """The rule `elimination`: one sentence names every candidate but the right one (`Rule out A, C and D`)."""
    case = facts.case
    right = {case.letter or case.written, case.words} - {""}
    for others in ([letter for letter in case.options if letter != case.letter], case.others):
        for sentence in _sentences(facts) if len(others) > 1 else ():
            if all(_says(sentence, other) for other in others) and not any(_says(sentence, name) for name in right):
                return sentence[:80]
    return ""


def said(facts: Facts) -> str:
    """The rule `words`: the answer's words, alone, are said of something.

    Words that only the answer has may not stand anywhere. Words of the problem (`even`) are part of every general step,
    so they count only where a sentence states that something is so.
    """
    case, text, tokens = facts.case, facts.strategy, facts.strategy.tokens
    phrase = case.words.split()
    own = case.is_name if not case.letter else {stem(word) for word in phrase} - case.stems
    lower = [token.text.lower().removesuffix("'s") for token in tokens]
    for i in range(len(tokens) - len(phrase) + 1) if phrase else ():
        if lower[i : i + len(phrase)] != phrase:
            continue
        begin, end = text.around[i]
        sentence = " ".join(token.text for token in tokens[begin:end])
        compared = sum(_says(sentence, other) for other in case.others)
        if _OPEN & {*lower[begin:end]} or compared > case.is_name:
            continue
        titled = begin == 0 and end < len(tokens) and len(case.others) > 1
        use = usage(tokens, begin, i, i + len(phrase), end)
        if own or titled or ((use.stated or lower[i - 1] in ("a", "an")) and not use.supposed):
            return sentence[:80]
    return ""


def written(facts: Facts) -> str:
    """The rule `written`: it finds answers that have no value, such as matrices and unions, by how they are written."""
    answer, own, given = (
        re.sub(r"[\s{}*]", "", text) for text in (facts.case.written, facts.raw, facts.case.problem.text)
    )
    shaped = not facts.case.words and len(facts.case.parts) != 1 and len(answer) > 3
    return answer[:60] if shaped and answer in own and answer not in given else ""


def _words(text: Text) -> list[str]:
    """Formulas are for the other rules."""
    return [t.text.lower() for t in text.tokens if t.value is not None or (t.kind == "word" and len(t.text) > 1)]


@functools.lru_cache(8)
def _runs(text: Text, length: int) -> frozenset[tuple[str, ...]]:
    found = _words(text)
    return frozenset(tuple(found[i : i + length]) for i in range(len(found) - length + 1))


def _wholes(text: Text) -> list[str]:
    """The sentences that are long enough to be a copy, formulas included."""
    found = (text.words(begin, end) for begin, end in text.sentences)
    return [" ".join(said) for said in found if len(said) >= (LAW_RUN if _LAW & {*said} else WHOLE)]


def copied(facts: Facts) -> str:
    """The rule `copied`: a long span or whole sentence that the strategy shares with the response, not the problem."""
    theirs = {*_wholes(facts.case.response)} - {*_wholes(facts.case.problem)}
    if whole := next((said for said in _wholes(facts.strategy) if said in theirs), ""):
        return whole[:160]
    own = _words(facts.strategy)
    for i in range(len(own)):
        length = LAW_RUN if _LAW & {*own[max(0, i - 8) : i + RUN]} else RUN
        run = tuple(own[i : i + length])
        if run in _runs(facts.case.response, length) and run not in _runs(facts.case.problem, length):
            return " ".join(run)[:160]
    return ""
