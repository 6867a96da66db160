"""The rules of the leak check in their order; docs/strategy-check.md has the same rows with examples.

The rules about words stand here: where a strategy names the right option, says the answer in words, or copies the
response. Those about quantities share the table of `numbers`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

from sgpo.mathtext.quantities import Text
from sgpo.mathtext.tokens import stem, words
from sgpo.mathtext.usage import usage
from sgpo.strategies.leakage.facts import Facts
from sgpo.strategies.leakage.numbers import leaking

RUN, LAW_RUN, WHOLE = 11, 14, 7  # words; all who state a law use the same ones
_LAW = words("theorem law formula identity rule lemma inequality principle property definition defined sum product")
_NAMED = (
    r"\( ?X ?\)|(?i:option|choice|answer|letter|select|choose|pick|mark|circle|tick|take|only|is|be|for|and|or|,)s?"
    r" X\b(?! ?\(| to [A-J]\b)|\bX$"
)
_NEAR = r"(?: \w+){0,4} (?:option|choice|answer)"
_PLACES = words("option choice answer alternative candidate list listed")
_OPEN = words("if whether when unless or versus between compare")


def _sentence(text: Text, begin: int, end: int) -> str:
    return " ".join(token.text for token in text.tokens[begin:end])


def _says(sentence: str, phrase: str) -> bool:
    """Whether a sentence has a phrase, in the singular or the plural; letters of options keep their capitals."""
    said, wanted = (
        " ".join(word if len(word) == 1 else stem(word) for word in re.findall("[A-Za-z]+", text))
        for text in (sentence, phrase)
    )
    return f" {wanted} " in f" {said} "


def right_option(facts: Facts) -> str:
    """It finds `option B`, `(B)`, `the second option` and `rule out A and C`, not `options A, B and C` or `point B`."""
    case, text, count = facts.case, facts.strategy, len(facts.case.options)
    if not (case.letter or count or len(case.others) > 1):
        return ""
    place = ord(case.letter) - ord("A") + 1 if case.letter else -9
    ends = {
        count // 2 + 1: f"middle{_NEAR}",
        count - 1: r"last(?: \w+)? but one",
        count: f"(?:last|final){_NEAR}(?! but)",
    }
    wrong = [letter for letter in case.options if letter != case.letter], case.others
    right = {case.letter or case.written, case.words} - {""}
    for sentence in (_sentence(text, *bounds) for bounds in text.sentences):
        named = {letter for letter in case.options if re.search(_NAMED.replace("X", letter), sentence)}
        denied = any(len(others) > 1 and all(_says(sentence, other) for other in others) for others in wrong)
        denied = denied and not any(_says(sentence, name) for name in right)
        if named == {case.letter} or denied or (place in ends and re.search(ends[place], sentence, re.IGNORECASE)):
            return sentence[:80]
    ordinals = (q for q in text.quantities if q.notation == "ordinal" and q.size == place)  # 2nd, second
    return next((q.quote for q in ordinals if q.use.by == "fits" or _PLACES & {q.noun, *q.behind[:3]}), "")


def said(facts: Facts) -> str:
    """The answer's words, alone, are said of something.

    Words that only the answer has may not stand anywhere. Words of the problem (`even`) are part of every general step,
    so they count only where a sentence states that something is so.
    """
    case, text, phrase = facts.case, facts.strategy, facts.case.words.split()
    own = case.is_name if not case.letter else {stem(word) for word in phrase} - case.stems
    lower = [word.removesuffix("'s") for word in text.words(0, len(text.tokens))]
    for i in range(len(lower) - len(phrase) + 1) if phrase else ():
        if lower[i : i + len(phrase)] != phrase:
            continue
        begin, end = text.around(i)
        sentence = _sentence(text, begin, end)
        if _OPEN & {*lower[begin:end]} or sum(_says(sentence, other) for other in case.others) > case.is_name:
            continue
        titled = begin == 0 and end < len(lower) and len(case.others) > 1
        use = usage(text.tokens, begin, i, i + len(phrase), end)
        if own or titled or ((use.stated or lower[i - 1] in ("a", "an")) and not use.supposed):
            return sentence[:80]
    return ""


def written(facts: Facts) -> str:
    """It finds answers that have no value, such as matrices and unions, by how they are written."""
    texts = facts.case.written, facts.raw, facts.case.problem.text
    answer, own, given = (re.sub(r"[\s{}*]", "", text) for text in texts)
    shaped = not facts.case.words and len(facts.case.parts) != 1 and len(answer) > 3
    return answer[:60] if shaped and answer in own and answer not in given else ""


@functools.lru_cache(16)
def _runs(text: Text) -> dict[tuple[str, ...], None]:
    """The runs of `RUN` and `LAW_RUN` words without formulas, then the sentences with them."""
    read = [t.text.lower() for t in text.tokens if t.value is not None or (t.kind == "word" and len(t.text) > 1)]
    runs = [tuple(read[i : i + length]) for length in (RUN, LAW_RUN) for i in range(len(read) - length + 1)]
    return dict.fromkeys(runs + [tuple(text.words(*bounds)) for bounds in text.sentences])


def copied(facts: Facts) -> str:
    """A long span or whole sentence that the strategy shares with the response, not the problem."""
    response, problem = _runs(facts.case.response), facts.case.problem
    shared = (run for run in _runs(facts.strategy) if run in response and run not in _runs(problem))
    long = (run for run in shared if len(run) >= (WHOLE if _LAW.isdisjoint(run) else LAW_RUN))
    return next((" ".join(run)[:160] for run in long), "")


class Rule(NamedTuple):
    """A kind of leak. kind: of the verdict. find: quotes what leaks, "" where nothing does."""

    name: str
    kind: str
    find: Callable[[Facts], str]


RULES = (
    Rule("option", "answer", right_option),
    Rule("value", "answer", leaking("share", "answer", "small answer")),
    Rule("written", "answer", written),
    Rule("words", "answer", said),
    Rule("computation", "computation", leaking("worked", "copied worked", "operand")),
    Rule("equation", "intermediate", leaking("formula", "copied formula")),
    Rule("number", "intermediate", leaking("new", "given", "small", "small given")),
    Rule("copied", "copied", copied),
)
