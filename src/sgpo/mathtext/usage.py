"""How a quantity is used, by the words around it: as an operand, a result, an ordinal, a label or a base.

`Divide by 2` handles a number and `it comes to 2` tells one: what decides is the grammar, not the number. The word that
governs the number is looked for to the left, over the words that may stand between (`_FILLERS`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sgpo.mathtext.expressions import RELATIONS
from sgpo.mathtext.tokens import Token, stem, words

_LABELS = words("step case part figure equation theorem method option chapter section example problem line level row")
_FILLERS = words(
    "the a an exactly precisely just only simply about approximately roughly around then therefore again also number "
    "same single last remaining and now her his their our your my ( [ { ' $ -"
)
RESULTS = words(
    "is are was were be being equals equal becomes become remains makes make making totals measures get gets getting "
    "got obtain obtains obtained give gives giving gave given yield yields yielding produce produces find finds "
    "finding found arrive reach reaches reaching leave leaves leaving left conclude concludes deduce see has have "
    "choose select altogether span recall expect sees fill but = => : < > <= >="
)
# With `to`, `at`, `with`, `as`, `on` or `into` behind, as those of `_WRITTEN`: `comes to`, `ends with`, `choose a as`.
ARRIVALS = words(
    "comes come coming amounts amount simplifies simplify reduces reduce evaluates evaluate leads lead leading adds "
    "sums works work turns rounds equal equals narrows boils converges arrive arrives arriving ends end settles "
    "collapses totals shrinks cancels cancel cancelling equivalent congruent goes stops climbs rises drops falls lands "
    "stands"
)
_PREPOSITIONS = words(
    "by away from into than per over among within until before after for in on with at above below to"
)
_HANDLING = words(
    "reduce deduct remove removing times plus minus between through as add adding adds subtract subtracting subtracts "
    "multiply multiplying divide dividing increase decrease raise take taking square squaring cube cubing halve double "
    "use using try trying substitute substituting insert plug put test testing counting divides let set via any every"
    " most least"
)
OPERANDS = _PREPOSITIONS | _HANDLING
BASES = words("mod modulo base modulus")
_SUMMARIES = words(
    "total remainder value answer result sum maximum minimum probability length area volume radius product difference "
    "count mean average cost size measure height width distance age speed price chance quotient score perimeter root"
)
_CONDITIONS = words("how if when whenever whether until unless where suppose assume let")
_JOINS = words(": since because so that as")
_TELLING = words(
    "which the so thus hence therefore then this that these they it he she we you there in after both together"
)
FINITE = words(
    "is are was were has have can cannot could would should must will may do does makes leaves gives remain remains"
)
_FITS = words("works work fits fit satisfies satisfy suffices solves answers holds hold wins succeeds remain remains")
_SINGLED = words("the your our what where correct right only last first largest smallest answer final asked wanted")
_WRITTEN = words(
    "write rewrite written factor factors express becomes choose determines gives fixes get report state same"
)
_PARTED = words("half third quarter multiple divisor factor power square cube sum product root")
_ARTICLES = words("the its a an")
_BEFORE_NOUN = (
    _ARTICLES | OPERANDS | RESULTS | words("of all any some these both our their your no other each same and")
)
_NOUNS = _LABELS | _SUMMARIES | _PARTED


class Use(NamedTuple):
    """How a quantity is used.

    name: "result" (the text states it as what something comes to), "operand" (something is done with it), "label" (of a
    step), "ordinal", "base" (a modulus or a base) or "mention". by: the word that makes it so, such as the verb.
    subject: stems of the words before it in its clause. supposed: it stands under a condition or in a law. stated: its
    clause states something, and is no instruction.
    """

    name: str
    by: str = ""
    subject: frozenset[str] = frozenset()
    supposed: bool = False
    stated: bool = False


def usage(tokens: Sequence[Token], begin: int, first: int, last: int, end: int, *, ordinal: bool = False) -> Use:
    """The use of the quantity of the tokens from `first` to `last`, in the sentence from `begin` to `end`."""
    left = ["0" if t.kind == "number" else t.text.lower() for t in tokens[max(begin, first - 40) : first]]
    # `a must be 5` speaks of a letter, not of a thing.
    left = ["x" if w == "a" and v in FINITE | RELATIONS else w for w, v in zip(left, [*left[1:], ""], strict=False)]
    right = [token.text.lower() for token in tokens[last : min(end, last + 7)]]
    starts = (i for i in range(len(left), 0, -1) if left[i - 1] in _JOINS or (left[i - 1] == "," and len(left) > i + 1))
    clause = left[next(starts, 0) :]
    law = clause[:1] in (["a"], ["an"]) and "the" not in clause  # `a square has 4 sides`
    supposed = law or bool(_CONDITIONS & set(clause))
    subject = frozenset(stem(word) for word in clause if len(word) > 1)
    short = len(tokens[first].text) <= 2 and last - first == 1
    hyphen = right[:1] == ["-"] and len(right) > 1 and tokens[last].glued and tokens[last + 1].glued
    alone = {*left} <= {"{"} and {*right} <= {"}"}
    counted = alone and tokens[end + 1 : end + 2] and tokens[end + 1].kind != "end"
    if (hyphen and not ordinal) or (short and (counted or (left and stem(left[-1]) in _LABELS))):
        return Use("label", "", subject, supposed)  # a 4-digit number, case 3, and the step `3. Add them.`
    name, by = _governed(left)
    told = clause if clause[:1] and clause[0] in _TELLING else left
    active = told[:1] and told[0] not in _HANDLING and any(map(_is_verb, told, told[1:]))
    stated = bool(FINITE & {*told, *right} or _TELLING & {*told[:1]} or active)
    if name in ("", "mention"):
        verb = right[1:] if right[:1] == [","] else right
        if ordinal:  # `the 8th one is the last`, `the third prime found is`
            verb = next((right[i:] for i, word in enumerate(right) if word in _FITS or word in ("is", "are")), [])
        if verb and (verb[0] in _FITS or (len(verb) > 1 and verb[0] in ("is", "are") and verb[1] in _SINGLED)):
            name, by = "result", "fits"
    if name == "result" and right[:1] in (["times"], ["less"], ["more"], ["*"]):  # `is 2 less than the number of sides`
        name = "mention"
    if ordinal and name != "result":
        name = "ordinal"
    # `they meet after 3 hours` tells, and `divide by 3` does not.
    if name == "operand" and by in _PREPOSITIONS and stated and "divided" not in left[-2:]:
        name = "mention"
    return Use(name or "mention", by, subject, supposed, stated)


def _governed(left: list[str]) -> tuple[str, str]:
    """The use that the words before a quantity give it, and by which word; "" where it is a subject itself."""
    kept = [word for word in left if word not in _FILLERS]
    while kept and (
        kept[-1] in ("}", ")") or kept[-1][-1] == "0" or (kept[-1] in (",", "or") and _ends_number(kept[:-1]))
    ):
        kept.pop()
    if not kept or kept[-1] in (",", "or"):
        return "", ""
    word, before = kept[-1], kept[-5:-1]
    arrived = next((verb for verb in before if verb in ARRIVALS | _WRITTEN), "")
    if word in BASES:
        return "base", word
    if word in ("to", "at", "with", "as", "on", "into") and arrived:
        return ("operand" if arrived == "equal" and "set" in left else "result"), arrived
    if word == "of":  # `gives a remainder of 2` states a result, `a multiple of 2` and `half of 2` do not
        verbs = [verb for verb in before if verb in RESULTS - {"=", ":"}]
        if before and stem(before[-1]) in _PARTED:
            return "operand", "of"
        return ("result", verbs[-1]) if verbs and {"a", "an"} & {*left[-4:]} else ("mention", "of")
    if word in OPERANDS:
        return "operand", word
    if (word in RESULTS and not (word == ":" and _ends_number(before))) or word in ARRIVALS:  # not 1 : 2
        return "result", word
    named = len(word) > 2 and {word, stem(word)} & _SUMMARIES
    return ("result" if named and not OPERANDS.intersection(before) - {"to"} else "mention"), word


def _ends_number(words: list[str]) -> bool:
    return bool(words) and words[-1][-1] in "0})"


def _is_verb(before: str, word: str) -> bool:
    """The second of two words is a verb in the third person, by its form: `the bill climbs`, not `the sides`."""
    formed = len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) and word.isalpha()
    return formed and before.isalpha() and before[-1] != "s" and before not in _BEFORE_NOUN and stem(word) not in _NOUNS
