"""Where a strategy names the right option, or says the word or the name that is the answer."""

from __future__ import annotations

import re

from sgpo.mathtext.usage import stem, usage
from sgpo.mathtext.vocabulary import words
from sgpo.strategies.leakage.facts import Facts, tight

_PLACE = "option|choice|answer|alternative|candidate"
_LAST = re.compile(
    rf"\b(?:(?P<middle>middle)|last|final)(?P<but>(?: \w+)? but 1\b)?(?(but)| (?:\w+ ){{0,4}}(?:{_PLACE})s?\b)", re.I
)
_NAMING = rf"(?i:{_PLACE}|letter|select|choose|pick|mark|circle|tick|take|only|is|be|for|and|or|,)s?"
_NEGATIVE = words(
    "not neither nor none eliminate exclude excluded discard reject cannot except out never no fail fails"
)
_OPEN = re.compile(r"\b(?:if|whether|when|unless|suppose|assume|or|versus|between|compare|means|called)\b", re.I)


def _says(stems: list[str], phrase: tuple[str, ...]) -> bool:
    wanted = [word if len(word) == 1 else stem(word) for word in phrase]
    return any(stems[i : i + len(wanted)] == wanted for i in range(len(stems) - len(wanted) + 1))


def right_option(facts: Facts) -> str:
    """The rule `option`: it finds `option B`, `(B)` and `the second option`, not `options A, B and C` or `point B`."""
    letter, count = facts.case.answer.letter, len(facts.case.options)
    if not letter:
        return ""
    place = ord(letter) - ord("A") + 1
    for sentence, _ in facts.lines:
        named = {x for x in facts.case.options if re.search(rf"\({x}\)|{_NAMING} ?\(?{x}\b(?!\()|\b{x}$", sentence)}
        last = _LAST.search(sentence)
        ends = last and place == ((count + 1) // 2 if last["middle"] else count - bool(last["but"]))
        if named == {letter} or ends:
            return sentence[:80]
    for q in facts.strategy.quantities:
        if q.notation == "ordinal" and q.size == place and (stem(q.noun) in _PLACE.split("|") or q.use.by == "fits"):
            return facts.quote(q)
    return ""


def eliminated(facts: Facts) -> str:
    """The rule `elimination`: one sentence denies every candidate but the right one (`Rule out A, C and D`).

    Most of them are enough, as the rest tends to follow in the next sentence.
    """
    answer, case = facts.case.answer, facts.case
    right = {answer.letter or answer.written, answer.words} - {""}
    letters = case.candidates - {answer.letter, answer.written}
    for others in ([(name,) for name in letters], list(case.others)):
        for sentence, stems in facts.lines:
            named = sum(_says(stems, phrase) for phrase in others)
            denied = named >= 0.6 * len(others) and _NEGATIVE & set(sentence.lower().split())
            if named > 1 and (denied or named == len(others)) and not any(_says(stems, (x,)) for x in right):
                return sentence[:80]
    return ""


def equivalent(facts: Facts) -> str:
    """The rule `equivalent`: `f(-x) = f(x)` is even in other words, and `f(-x) = -f(x)` is odd."""
    sign = {"even": "", "odd": "-"}.get(facts.case.answer.words)
    for sentence, _ in facts.lines if sign is not None else ():
        flips = re.search(r"(\w)\(-(\w)\)=(-?)\1\(\2\)", tight(sentence))
        if flips and flips[3] == sign and not _OPEN.search(sentence):
            return sentence[:80]
    return ""


def said(facts: Facts) -> str:
    """The rule `words`: the answer's words, alone, are said of something.

    Words that only the answer has may not stand anywhere. Words of the problem (`even`) are part of every general step,
    so they count only where a sentence states that something is so.
    """
    answer, case, text, tokens = facts.case.answer, facts.case, facts.strategy.text, facts.strategy.tokens
    phrase = tuple(answer.words.split())
    own = answer.is_name if not answer.letter else {stem(word) for word in phrase} - case.words
    lower = [token.text.lower() for token in tokens]
    for i in range(len(tokens) - len(phrase) + 1) if phrase else ():
        last = i + len(phrase)
        if tuple(lower[i:last]) != phrase:
            continue
        before = re.split(r"[.;!?\n]", text[: tokens[i].start][-200:])[-1]
        behind = re.split(r"[.;!?\n]", text[tokens[last - 1].end :][:200])[0]
        sentence = f"{before}{text[tokens[i].start : tokens[last - 1].end]}{behind}".strip()
        stems = [stem(word) for word in re.findall(r"[A-Za-z]+", sentence)]
        compared = answer.is_name and len(case.names & {*re.findall(r"\w+", sentence)} - {answer.written}) > 1
        if compared or _OPEN.search(sentence) or any(_says(stems, other) for other in case.others):
            continue
        use = usage(text, tokens, i, last)
        stated = use.name == "result" or use.stated or lower[i - 1] in ("a", "an")
        if own or (stated and not use.supposed):
            return sentence[:80]
    return ""
