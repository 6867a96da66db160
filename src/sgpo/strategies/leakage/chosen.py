"""Where a strategy names the right option, or says the word or the name that is the answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sgpo.mathtext.usage import stem, usage
from sgpo.mathtext.vocabulary import words
from sgpo.strategies.leakage.answer import Answer
from sgpo.strategies.leakage.facts import Facts

_PLACES = words("option choice answer alternative entry candidate")
_LAST = re.compile(rf"\b(middle|last|final) (?:\w+ )?(?:{'|'.join(sorted(_PLACES))})\b( but 1\b)?(?! but)", re.I)
_NAMING = "(?:option|choice|answer|letter|select|choose|pick|mark|circle|tick|only|is|be)s?"
_LONE = r"(?<![A-Za-z0-9_^=+*/'\\-]){}(?![A-Za-z0-9_^=+*/'\\-]|\(|\)\()(?! [=+*/<>^-])"
_INTRODUCED = r"(?i:\b(?:let|points?|vertex|vertices|angles?|events?|sets?) )\(?{0}\b|\w\([^()]{{0,40}}\b{0}\b"
_NEGATIVE = words("not neither nor none eliminate exclude excluded discard reject cannot except out never no fail")
_ALTERNATIVES = words("or whether versus vs from between")


def _lines(facts: Facts) -> Iterator[tuple[str, list[str]]]:
    """Each sentence of the strategy with the stems of its words, and capital letters as they are."""
    for sentence in re.split(r"[.;!?\n]", facts.strategy.text):
        found = re.findall(r"[A-Za-z]+", sentence)
        yield " ".join(sentence.split()), [word if len(word) == 1 else stem(word) for word in found]


def _says(stems: list[str], phrase: tuple[str, ...]) -> bool:
    wanted = [word if len(word) == 1 else stem(word) for word in phrase]
    return any(stems[i : i + len(wanted)] == wanted for i in range(len(stems) - len(wanted) + 1))


def option(facts: Facts) -> str:
    """`option B`, `(B)`, `the second option`; not `options A, B and C`, not `point B`."""
    letter, count = facts.case.answer.letter, len(facts.case.options)
    if not letter:
        return ""
    place = ord(letter) - ord("A") + 1
    # A letter that the problem uses, too, or that the strategy introduces, is a variable; A and I are words.
    text = facts.strategy.text
    used = {x for x in facts.case.options if re.search(_LONE.format(x), facts.case.problem.text)}
    letters = [x for x in facts.case.options if x not in used and not re.search(_INTRODUCED.format(x), text)]
    for sentence, _ in _lines(facts):
        named = {x for x in letters if x not in "AI" and re.search(_LONE.format(x), sentence)}
        marked = re.search(rf"\({letter}\)|(?i:{_NAMING}) ?\(?{letter}\b", sentence)
        if named == {letter} or (letter in "AI" and marked and not named):
            return sentence[:80]
        last = _LAST.search(sentence)
        if last and place == ((count + 1) // 2 if last[1].lower() == "middle" else count - bool(last[2])):
            return last[0]
    for q in facts.strategy.quantities:
        if q.notation == "ordinal" and q.size == place and not q.use.supposed:
            listed = stem(q.noun) in _PLACES or "list" in facts.sentence(q) or q.use.by == "fits"
            if listed and not facts.before(q).lower().endswith("every "):
                return facts.quote(q)
    return ""


def eliminated(facts: Facts) -> str:
    """`Rule out A, C and D`, `neither even nor odd`: every candidate but the right one is denied in one sentence."""
    answer, case = facts.case.answer, facts.case
    right = (answer.letter or answer.written, *([answer.words] if answer.words else []))
    letters = case.candidates - {answer.letter, answer.written}
    for others in ([(name,) for name in letters], list(case.others)):
        for sentence, stems in _lines(facts) if len(others) > 1 else ():
            named = sum(_says(stems, phrase) for phrase in others)
            denied = _NEGATIVE & set(sentence.lower().split())
            most = named >= 0.6 * len(others) and denied
            if named > 1 and (most or named == len(others)) and not any(_says(stems, (x,)) for x in right):
                return sentence[:80]
    return ""


def said(facts: Facts) -> str:
    """The answer in words, alone: its own words anywhere, those of the problem where something is said to be it."""
    answer, case, text, tokens = facts.case.answer, facts.case, facts.strategy.text, facts.strategy.tokens
    phrase = tuple(answer.words.split())
    new = {stem(word) for word in phrase} - case.words or {*phrase} & {name.lower() for name in case.names}
    lower = [token.text.lower() for token in tokens]
    for i in range(len(tokens) - len(phrase) + 1) if phrase else ():
        if tuple(lower[i : i + len(phrase)]) != phrase:
            continue
        last = i + len(phrase)
        before = re.split(r"[.;!?\n]", text[: tokens[i].start][-200:])[-1]
        behind = re.split(r"[.;!?\n]", text[tokens[last - 1].end :][:200])[0]
        sentence = f"{before}{text[tokens[i].start : tokens[last - 1].end]}{behind}".strip()
        stems = [stem(word) for word in re.findall(r"[A-Za-z]+", sentence)]
        near = {*before.lower().split()[-3:], *behind.lower().split()[:2]}
        if any(_says(stems, other) for other in case.others) or _ALTERNATIVES & near or _listed(before, behind, answer):
            continue
        use = usage(text, tokens, i, last)
        ends = re.match(r" ?(?:[^A-Za-z ]|$|(?:as|because|since|and|so|here)\b)", behind)
        stated = use.name == "result" or use.stated or lower[i - 1 : i] in (["a"], ["an"], [":"])
        own = (answer.letter and new) or (answer.is_name and not answer.letter)
        if own or len(phrase) > 2 or (ends and stated and not use.supposed):
            return sentence[:80]
    return ""


def _listed(before: str, behind: str, answer: Answer) -> bool:
    """`Anna, Boris and Clara`, `circle, ellipse, line or point`: it stands in a list of its like."""
    kind = "[A-Z][a-z]+" if answer.is_name and not answer.letter else "[a-z]+"
    left = re.search(rf"\b{kind}(?:,| and| or| to|/)+ ?$", before)
    right = re.match(rf"(?:,| and| or| to|/)+ ?{kind}\b(?! not)", behind)
    return bool(left or right) and (kind[1] == "A" or " or " in behind)
