"""Where a strategy names the right option, or says the word or the name that is the answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sgpo.mathtext.tokens import Token, stem, words
from sgpo.mathtext.usage import usage
from sgpo.strategies.leakage.facts import Facts

_PLACE = "option|choice|answer|alternative|candidate"
_LAST = re.compile(
    rf"\b(?:(?P<middle>middle)|last|final)(?P<but>(?: \w+)? but one\b)?(?(but)| (?:\w+ ){{0,4}}(?:{_PLACE})s?\b)", re.I
)
_NAMING = rf"(?i:{_PLACE}|letter|select|choose|pick|mark|circle|tick|take|only|is|be|for|and|or|,)s?"
_NEGATIVE = words(
    "not neither nor none eliminate exclude excluded discard reject cannot except out never no fail fails"
)
_FLIPS = re.compile(r"(\w)\(-(\w)\)=(-?)\1\(\2\)")
_OPEN = words("if whether when unless suppose assume let or versus between compare means called")


def _sentences(facts: Facts) -> Iterator[list[Token]]:
    for begin, end in facts.strategy.sentences:
        yield list(facts.strategy.tokens[begin:end])


def _text(sentence: list[Token]) -> str:
    return " ".join(token.text for token in sentence)


def _says(stems: list[str], phrase: tuple[str, ...]) -> bool:
    wanted = [word if len(word) == 1 else stem(word) for word in phrase]
    return any(stems[i : i + len(wanted)] == wanted for i in range(len(stems) - len(wanted) + 1))


def _stems(sentence: list[Token]) -> list[str]:
    """Letters of options keep their capitals."""
    return [t.text if len(t.text) == 1 else stem(t.text) for t in sentence if t.text[0].isalpha()]


def right_option(facts: Facts) -> str:
    """The rule `option`: it finds `option B`, `(B)` and `the second option`, not `options A, B and C` or `point B`."""
    letter, count = facts.case.letter, len(facts.case.options)
    if not letter:
        return ""
    place = ord(letter) - ord("A") + 1
    for sentence in map(_text, _sentences(facts)):
        named = {
            x
            for x in facts.case.options
            if re.search(rf"\( ?{x} ?\)|{_NAMING} (?:\( )?{x}\b(?! ?\(| to [A-J]\b)|\b{x}$", sentence)
        }
        last = _LAST.search(sentence)
        ends = last and place == ((count + 1) // 2 if last["middle"] else count - bool(last["but"]))
        if named == {letter} or ends:
            return sentence[:80]
    for q in facts.strategy.quantities:
        if (
            q.notation == "ordinal"
            and q.size == place
            and (q.noun in _PLACE.split("|") or q.use.by == "fits" or {"listed", "list"} & set(q.behind[:3]))
        ):
            return q.quote
    return ""


def eliminated(facts: Facts) -> str:
    """The rule `elimination`: one sentence denies every candidate but the right one (`Rule out A, C and D`).

    Most of them are enough, as the rest tends to follow in the next sentence.
    """
    case = facts.case
    right = {case.letter or case.written, case.words} - {""}
    candidates = frozenset(case.options) if case.letter else case.names if case.is_name and case.words else frozenset()
    letters = candidates - {case.letter, case.written}
    for others in ([(name,) for name in letters], list(case.others)):
        for sentence in _sentences(facts):
            stems = _stems(sentence)
            named = sum(_says(stems, phrase) for phrase in others)
            denied = named >= 0.6 * len(others) and _NEGATIVE & {token.text.lower() for token in sentence}
            if named <= 1 or not (denied or named == len(others)) or any(_says(stems, (x,)) for x in right):
                continue
            clue = case.is_name and _is_clue(facts, [phrase for phrase in others if _says(stems, phrase)], right)
            if not clue or (denied and named == len(others)):
                return _text(sentence)[:80]
    return ""


def _is_clue(facts: Facts, named: list[tuple[str, ...]], right: set[str]) -> bool:
    """One sentence of the problem speaks of the same candidates, and not of the right one."""
    return any(
        all(" ".join(phrase).lower() in sentence for phrase in named)
        and not any(name.lower() in sentence for name in right)
        for sentence in re.split(r"[.?!]", facts.case.problem.text.lower())
    )


def equivalent(facts: Facts) -> str:
    """The rule `equivalent`: `f(-x) = f(x)` is even in other words, and `f(-x) = -f(x)` is odd."""
    sign = {"even": "", "odd": "-"}.get(facts.case.words)
    defined = {flips[3] for flips in _FLIPS.finditer(facts.strategy.tight)}
    for sentence in _sentences(facts) if sign is not None and len(defined) == 1 else ():
        flips = _FLIPS.search("".join(token.text for token in sentence))
        if flips and flips[3] == sign and not _OPEN & {token.text.lower() for token in sentence}:
            return _text(sentence)[:80]
    return ""


def said(facts: Facts) -> str:
    """The rule `words`: the answer's words, alone, are said of something.

    Words that only the answer has may not stand anywhere. Words of the problem (`even`) are part of every general step,
    so they count only where a sentence states that something is so.
    """
    case, text, tokens = facts.case, facts.strategy, facts.strategy.tokens
    phrase = tuple(case.words.split())
    own = case.is_name if not case.letter else {stem(word) for word in phrase} - case.stems
    title = text.text.partition("\n")[0].lower() if "\n" in text.text else ""
    named = set(re.findall("[a-z]+", title))
    titled = len(case.others) > 1 and not any(named.issuperset(other) for other in case.others)
    lower = [token.text.lower().removesuffix("'s") for token in tokens]
    for i in range(len(tokens) - len(phrase) + 1) if phrase else ():
        last = i + len(phrase)
        if tuple(lower[i:last]) != phrase:
            continue
        begin, end = text.sentence(i)
        sentence = list(tokens[begin:end])
        spoken = {token.text for token in sentence}
        compared = case.is_name and len(case.names & spoken - {case.written}) > 1
        if (
            compared
            or _OPEN & set(map(str.lower, spoken))
            or any(_says(_stems(sentence), other) for other in case.others)
        ):
            continue
        use = usage(tokens, begin, i, last, end)
        stated = use.name == "result" or use.stated or lower[i - 1] in ("a", "an")
        if own or (titled and tokens[i].start < len(title)) or (stated and not use.supposed):
            return _text(sentence)[:80]
    return ""


def written(facts: Facts) -> str:
    """The rule `written`: it finds answers that have no value, such as matrices and unions, by how they are written."""
    case, answer = facts.case, re.sub(r"[\s{}*]", "", facts.case.written)
    own, given = (re.sub(r"[\s{}*]", "", text) for text in (facts.raw, case.problem.text))
    shaped = not case.words and len(case.parts) != 1 and len(answer) > 3
    return answer[:60] if shaped and answer in own and answer not in given else ""
