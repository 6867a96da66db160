"""Where a strategy names the right option, or says the word or the name that is the answer."""

from __future__ import annotations

import re

from sgpo.mathtext.usage import stem, usage
from sgpo.mathtext.vocabulary import words
from sgpo.strategies.leakage.case import Case, content
from sgpo.strategies.leakage.facts import Facts, tight

_PLACES = words("option choice answer alternative entry candidate letter")
_PLACE = "|".join(sorted(_PLACES))
_LAST = re.compile(
    rf"\b(?:(?P<middle>middle)|last|final)\b(?: (?:\w+ ){{0,4}}(?:{_PLACE})s?\b|(?= but 1))(?P<but> but 1\b)?(?! but)"
    r"|\b(?P<next>penultimate|(?:next|2nd) to last)\b",
    re.I,
)
_CHOSEN = words("pick choose select mark take tick circle")
_NAMING = "(?:option|choice|answer|letter|select|choose|pick|mark|circle|tick|only|is|be)s?"
_LONE = r"(?<![A-Za-z0-9_^=+*/'\\-]){}(?![A-Za-z0-9_^=+*/'\\-]|\(|\)\()(?! [=+*/<>^-])"
_INTRODUCED = r"(?i:\b(?:let|points?|vertex|vertices|angles?|events?|sets?) )\(?{0}\b|\w\([^()]{{0,40}}\b{0}\b"
_NEGATIVE = words(
    "not neither nor none eliminate exclude excluded discard reject cannot except out never no fail fails isn't doesn't"
)
_ALTERNATIVES = words("or whether versus vs from between")
_OPEN = re.compile(r"\b(?:if|whether|when|whenever|unless|otherwise|suppose|assume|or|compare|means|called)\b", re.I)
# What is said of a person that the problem has not said.
_SAID_OF = (
    r"(?:'s)? (?:(?:must|has to|can only|then|always|also) )?"
    r"(?:is|was|be|settled|fixed|known|comes?|came|wins|won|finish(?:es|ed)|lies|lied|gets|got|sits|stands|takes|took|ends)\b"
)
# A word, and what comes to the same.
_OPPOSITES = {
    "prime": "composite", "even": "odd", "convergent": "divergent", "converges": "diverges", "rational": "irrational",
    "finite": "infinite", "positive": "negative", "increasing": "decreasing", "true": "false", "yes": "no",
}  # fmt: skip
_OPPOSITES |= {other: one for one, other in _OPPOSITES.items()}
_SAME = {"even": ("", r"(?:y|vertical) ?-?axis"), "odd": ("-", "origin")}


def _says(stems: list[str], phrase: tuple[str, ...]) -> bool:
    wanted = [word if len(word) == 1 else stem(word) for word in phrase]
    return any(stems[i : i + len(wanted)] == wanted for i in range(len(stems) - len(wanted) + 1))


def right_option(facts: Facts) -> str:
    """The rule `option`: it finds `option B`, `(B)` and `the second option`, not `options A, B and C` or `point B`."""
    letter, count = facts.case.answer.letter, len(facts.case.options)
    if not letter:
        return ""
    place = ord(letter) - ord("A") + 1
    # A letter that the problem uses, too, or that the strategy introduces, is a variable; A and I are words.
    text = facts.strategy.text
    used = {x for x in facts.case.options if re.search(_LONE.format(x), facts.case.problem.text)}
    letters = [x for x in facts.case.options if x not in used and not re.search(_INTRODUCED.format(x), text)]
    for sentence, _ in facts.lines:
        named = {x for x in letters if x not in "AI" and re.search(_LONE.format(x), sentence)}
        marked = re.search(rf"\({letter}\)|(?i:{_NAMING}) ?\(?{letter}\b", sentence)
        if named == {letter} or (letter in "AI" and marked and not named):
            return sentence[:80]
        last = _LAST.search(sentence)
        if last and place == ((count + 1) // 2 if last["middle"] else count - bool(last["but"] or last["next"])):
            return last[0]
        if count and re.search(rf"\b(?:{_PLACE}) {place}\b", sentence, re.I):
            return sentence[:80]
    for q in facts.strategy.quantities:
        if q.notation == "ordinal" and q.size == place and not q.use.supposed:
            listed = stem(q.noun) in _PLACES or "list" in facts.sentence(q) or q.use.by == "fits"
            if (listed or (q.use.by in _CHOSEN and not q.noun)) and not facts.before(q).lower().endswith("every "):
                return facts.quote(q)
    return ""


def eliminated(facts: Facts) -> str:
    """The rule `elimination`: one sentence denies every candidate but the right one (`Rule out A, C and D`).

    Most of them are enough, as the rest tends to follow in the next sentence.
    """
    answer, case = facts.case.answer, facts.case
    right = (answer.letter or answer.written, *([answer.words] if answer.words else []))
    letters = case.candidates - {answer.letter, answer.written}
    for others in ([(name,) for name in letters], list(case.others)):
        for sentence, stems in facts.lines if others else ():
            named = sum(_says(stems, phrase) for phrase in others)
            denied = _NEGATIVE & set(sentence.lower().split())
            if re.search(r"\b(?:clue|statement|hint)s?\b", sentence):
                continue  # `drop what violates the clue about Ana`
            most = named >= 0.6 * len(others) and denied
            alone = len(others) == 1 and not (
                denied and not _OPEN.search(sentence)
            )  # of two, to deny one tells the other
            if named > alone and (most or named == len(others)) and not any(_says(stems, (x,)) for x in right):
                return sentence[:80]
    return ""


def paraphrased(facts: Facts) -> str:
    """The rule `paraphrased`: a sentence has half of the right option's words, with all that no other option has.

    Words that several options share tell nothing: a strategy may well speak of a vertex if all options do.
    """
    case = facts.case
    bodies = {letter: content(body) for letter, body in case.options.items()}
    mine = bodies.pop(case.answer.letter, frozenset())
    theirs = frozenset().union(*bodies.values()) if bodies else frozenset()
    for sentence, stems in facts.lines if mine - theirs else ():
        if (
            mine - theirs <= set(stems)
            and len(mine & set(stems)) >= max(2, len(mine) / 2)
            and not (theirs - mine) & set(stems)
        ):
            return sentence[:80]
    return ""


def equivalent(facts: Facts) -> str:
    """The rule `equivalent`: a sentence says a property that comes to the answer.

    `f(-x) = f(x)` is even in other words, and where it is asked whether 221 is prime, every claim that it is prime or
    composite answers by yes or no. Only parity and such questions are known; there is no table of all synonyms.
    """
    sign, mirror = _SAME.get(facts.case.answer.words, ("", ""))
    wrong = _OPPOSITES.get(facts.case.answer.words, "")
    decided = _decided(facts.case)
    for sentence, stems in facts.lines if mirror or decided else ():
        written, tokens = tight(sentence), set(stems)
        if _OPEN.search(sentence) or wrong in tokens:
            continue
        flips = re.search(r"(\w)\(-(\w)\)=(-?)\1\(\2\)|(-?)(\w)\((\w)\)=\5\(-\6\)", written) if mirror else None
        if flips and (flips[3] or flips[4] or "") == sign:
            return sentence[:80]
        if re.match(r"(?:an?|every|any|all) ", sentence, re.I):
            continue
        if mirror and re.search(rf"\bsymmetric\b.*\b{mirror}", sentence):
            return sentence[:80]
        if decided & tokens and re.search(r"\b(?:is|are|be|not|isn't|fails)\b", sentence):
            return sentence[:80]
    return ""


def _decided(case: Case) -> frozenset[str]:
    """It reads what a question of yes or no asks: `prime`, with its opposite, of `is 221 prime?`."""
    asked = re.search(
        r"\b(?:[Ii]s|[Aa]re|whether|if)\b[^.?]*?\b([a-z]{4,})(?: (?:at|of|for|in|on|by)\b[^.?]*)?[.?]",
        case.problem.text,
    )
    if case.answer.words not in ("yes", "no", "true", "false") or not asked:
        return frozenset()
    return frozenset(filter(None, (stem(asked[1]), _OPPOSITES.get(asked[1]))))


def placed(facts: Facts) -> str:
    """The rule `placed`: `Cal must be the winner`, where another person is asked for, is a step of the solution.

    What the problem says of Cal may be said again.
    """
    answer, case = facts.case.answer, facts.case
    for sentence, _ in facts.lines if answer.is_name and not answer.letter else ():
        named = [name for name in case.names if re.search(rf"\b{name}\b", sentence)]
        told = any(
            re.search(rf"\b{name}{_SAID_OF}|\b(?:[Ii]s|[Bb]e|[Pp]ut|[Pp]lace|[Ss]eat) {name}\b", sentence)
            for name in named
        )
        if told and not _OPEN.search(sentence) and not _is_restated(facts, sentence, named):
            return sentence[:80]
    return ""


def _is_restated(facts: Facts, sentence: str, names: list[str]) -> bool:
    """Whether the problem says it, too: three words in a row with a name, or two names with one word between them."""
    known, said = (_told_of(text, names) for text in (facts.case.problem.text, sentence))
    return bool(known & said)


def _told_of(text: str, names: list[str]) -> set[tuple[str, ...]]:
    found = re.findall(r"[A-Za-z]+", text)
    rows = {tuple(found[i : i + 3]) for i in range(len(found) - 2)}
    name = "|".join(map(re.escape, names))
    pairs = re.findall(rf"\b({name})(?: \w+){{0,2}} (\w+) ({name})\b", text)
    return {row for row in rows if {*row} & {*names}} | set(pairs)


def said(facts: Facts) -> str:
    """The rule `words`: the answer's words, alone, are said of something.

    Words that only the answer has may not stand anywhere. Words of the problem (`even`) are part of every general step,
    so they count only where a sentence states that something is so.
    """
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
        if (
            any(_says(stems, other) for other in case.others)
            or _ALTERNATIVES & near
            or "or" in before.split()[-5:]
            or _is_listed(facts, before, behind)
        ):
            continue
        if answer.is_name and _is_restated(facts, sentence, [answer.written]):
            continue
        use = usage(text, tokens, i, last)
        ends = re.match(r" ?(?:[^A-Za-z ]|$|(?:as|because|since|and|so|here|function|number)\b)", behind)
        stated = (
            use.name == "result"
            or use.stated
            or lower[i - 1 : i] in (["a"], ["an"], [":"])
            or len(sentence) == len(answer.words)
        )
        general = re.match(r"[A-Z][a-z]+s [a-z]+", sentence) and not re.search(
            r"\b(?:[Tt]h(?:e|is|us)|it|both)\b", before
        )
        # `the goat is the heaviest`, where the problem asks which animal is
        crowned = re.match(
            r" (?:(?:must|has to|will) )?(?:is|be|comes|wins|[a-z]+s)\b", behind
        ) and before.lower().endswith("the ")
        crowned = (
            crowned
            and case.asked - {*phrase} & {*stems}
            and not use.supposed
            and not _is_restated(facts, sentence, [*phrase])
        )
        own = crowned or (answer.letter and new) or (answer.is_name and not answer.letter)
        if own or len(phrase) > 2 or (ends and stated and not use.supposed and not general):
            return sentence[:80]
    return ""


def _is_listed(facts: Facts, before: str, behind: str) -> bool:
    """It stands in a list of its like, as in `Anna, Boris and Clara` or `circle, ellipse, line or point`."""
    kind = "[A-Z][a-z]+" if facts.case.answer.is_name and not facts.case.answer.letter else "[a-z]+"
    left = re.search(rf"\b{kind}(?:,| and| or| to|/)+ ?$", before)
    right = re.match(rf"(?:,| and| or| to|/)+ ?{kind}\b(?! not)", behind)
    return bool(left or right) and (kind[1] == "A" or " or " in behind)
