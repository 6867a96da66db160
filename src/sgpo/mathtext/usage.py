"""How a quantity is used, by the words around it: as an operand, a result, an ordinal, a label or a base.

`Divide by 2` handles a number and `it comes to 2` tells one: what decides is the grammar, not the number. The word that
governs the number is looked for to the left, over the words that may stand between (`_FILLERS`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sgpo.mathtext.expressions import RELATIONS
from sgpo.mathtext.tokens import Token, stem, words

_LABELS = words(
    "step case part figure equation theorem lemma phase stage rule method option chapter section example exercise "
    "problem type property axiom condition line item idea claim fact note approach formula level quadrant row column"
)
_FILLERS = words(
    "the a an exactly precisely just only simply about approximately roughly around then therefore again also number "
    "value integer fraction final indeed always all both each now not there must will should would can could which it "
    "this that away off simplified reduced positive negative same single last remaining resulting unique and her his "
    "their our your my ( [ { ' $ -"
)
RESULTS = words(
    "is are was were be being equals equal becomes become remains makes make making totals measures get gets getting "
    "got obtain obtains obtained give gives giving gave given yield yields yielding produce produces find finds "
    "finding found arrive reach reaches reaching leave leaves leaving left conclude concludes deduce see has have "
    "having namely so thus hence finally answer result solution contains need needs needed state report know show "
    "shows determine say read reads pick choose select recall expect sees fill but = => : < > <= >="
)
# With `to`, `at`, `with`, `as`, `on` or `into` behind: `comes to`, `arrive at`, `ends with`.
ARRIVALS = words(
    "comes come coming amounts amount simplifies simplify reduces reduce evaluates evaluate leads lead leading adds "
    "sums works work turns rounds equal equals narrows boils converges arrive arrives arriving ends end settles "
    "pinned fixed limited set bounded stops goes climbs rises drops falls ending finish finishes lands land condenses "
    "collapses totals shrinks cancels cancel cancelling equivalent congruent"
)
_PREPOSITIONS = words("by from into than per over among within until before after for in on with at above below to")
OPERANDS = _PREPOSITIONS | words(
    "reduce deduct deducting remove removing times plus minus between through as add adding adds subtract subtracting "
    "subtracts multiply multiplying divide dividing increase decrease raise take taking square squaring cube cubing "
    "halve double use using try trying substitute substituting insert plug put test testing counting divides "
    "let set via any every up under less more least most"
)
BASES = words("mod modulo base modulus")
_SUMMARIES = words(
    "total remainder value answer result sum maximum minimum probability length area volume radius product difference "
    "count mean average cost size measure height width distance age speed price chance quotient score perimeter root "
    "solution discriminant period slope"
)
_CONDITIONS = words("how if when whenever whether until unless where suppose assume let")
# What a step begins with when it tells the reader what to do; other sentences state something.
_IMPERATIVES = words(
    "add apply arrange ask assign average begin bring call cancel change check choose clear collect combine compare "
    "complete compute convert count cross cube cut decide differentiate discard distribute divide do double draw drop "
    "eliminate enter equate estimate evaluate exclude expand express factor feed fill find fix follow form get give "
    "go group halve identify ignore increase insert integrate interpret isolate join keep label let link list locate "
    "look lower make mark match maximize merge minimize move multiply name note number order pair permute pick place "
    "plug put raise read recall record reduce reject relate remember remove repeat replace report represent return "
    "review rewrite round scale search select set share shift show simplify sketch solve split square start state "
    "stop subtract substitute sum swap tabulate take test think tick treat try turn undo use verify work write adding "
    "dividing multiplying subtracting using taking comparing squaring"
)
# `A size argument forces p - q = 1` is about this problem.
_REASONING = words("argument calculation computation algebra comparison substitution check count glance look work")
_WANTED = words("find look seek search choose pick want need")
_STARTS = words(", ; : ( and then or to by next now first finally also")
_JOINS = words(": since because so that as")
_TELLING = words(
    "which the so thus hence therefore then this that these they it he she we you there in after both together"
)
FINITE = words(
    "is are was were has have can cannot could would should must will may do does makes leaves gives remains remain "
    "stay hold give make need fit work made got paid won sold took gave came went spent kept"
)
_FITS = words(
    "works work fits fit satisfies satisfy suffices suffice solves solve answers holds hold wins succeeds remain "
    "remains result survive survives"
)
_SINGLED = words("the your our what where correct right only last first largest smallest answer final asked wanted")
_WRITTEN = words(
    "write rewrite written factor factors express becomes choose determines gives fixes get report state same"
)
_PARTED = words("half third quarter multiple divisor factor power square cube") | {"sum", "product", "root"}
_ARTICLES = words("the its a an")
_NO_VERBS = _LABELS | _SUMMARIES | _PARTED
_BEFORE_NOUN = (
    _ARTICLES
    | words("of all any some these those both equal their our your no other each same and or")
    | OPERANDS
    | RESULTS
)


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
    left = [
        "x" if w == "a" and v in FINITE | RELATIONS.keys() else w for w, v in zip(left, [*left[1:], ""], strict=False)
    ]
    right = [token.text.lower() for token in tokens[last : min(end, last + 7)]]
    start = next(
        (
            i
            for i in range(len(left), 0, -1)
            if left[i - 1] in _JOINS or (left[i - 1 : i] == [","] and len(left) > i + 1)
        ),
        0,
    )
    clause = left[start:]
    # `a square has 4 sides` is a law; `a zero remainder needs the root to be 5` is not, as it says which root.
    reasoned = _REASONING & set(clause)
    general = not reasoned and (
        (clause[:1] in (["a"], ["an"]) and "the" not in clause) or clause[:1] in (["any"], ["every"])
    )
    supposed = bool(_CONDITIONS & set(clause)) or (general and left[start - 1 : start] != ["as"])
    supposed = supposed or left[max(0, start - 2) : start] == ["so", "that"]
    # `look for a power that is 1` says what is wanted, and not what is there.
    wanted = left[start - 1 : start] == ["that"] and {"a", "an"} & set(left[max(0, start - 8) : start])
    supposed = supposed or bool(wanted and _WANTED & set(left[:start]))
    supposed = supposed or ("then" in left and left[0] in _CONDITIONS)
    supposed = supposed or (
        right[:1] in (["for"], ["if"]) and bool(RELATIONS.keys() & set(right[2:4]))
    )  # `90 for y > 0`
    subject = frozenset(stem(word) for word in clause if len(word) > 1)
    hyphen = right[:1] == ["-"] and len(right) > 1 and tokens[last].glued and tokens[last + 1].glued
    numbered = left[-1:] and (stem(left[-1]) in _LABELS and len(tokens[first].text) <= 2 and last - first == 1)
    chained = left[-2:] == ["0", "-"] and tokens[first].glued  # 30-60-90, and a 4-digit number
    opens = [t.text for t in tokens[begin:first]] in ([], ["{"]) and last == end and len(tokens[first].text) <= 2
    if opens and end + 1 < len(tokens) and tokens[end].text == "." and tokens[end + 1].kind != "end":
        return Use("label", "", subject, supposed)  # 3. Add them.
    if (hyphen and not ordinal) or chained or numbered or left[-1:] == ["_"]:
        return Use("label", "", subject, supposed)
    name, by = _governed(left)
    stated = _is_stated(clause if clause[:1] and clause[0] in _TELLING else left, right)
    if name in ("", "mention") and not (ordinal and name and by):
        verb = right[1:] if right[:1] == [","] else right
        if ordinal:  # `the 8th one is the last`, `the third prime found is`
            verb = next((right[i:] for i, word in enumerate(right) if word in _FITS or word in ("is", "are")), [])
        if verb and (verb[0] in _FITS or (len(verb) > 1 and verb[0] in ("is", "are") and verb[1] in _SINGLED)):
            name, by, supposed = "result", "fits", supposed and verb[0] not in _FITS
    if name == "result" and right[:1] in (["times"], ["less"], ["more"], ["*"]):  # `is 2 less than the number of sides`
        name = "mention"
    if ordinal and name != "result":
        name = "ordinal"
    # `they meet after 3 hours` tells; `divide by 3` is a step, and so is `divided by 3`.
    divided = by == "by" and left[-2:-1] and left[-2].endswith(("ed", "ible"))
    if name == "operand" and by in _PREPOSITIONS and stated and not divided:
        name = "mention"
    return Use(name or "mention", by, subject, supposed, stated)


def _is_stated(left: list[str], right: list[str]) -> bool:
    """The clause states something, and is no instruction; its nearest verb decides."""
    for i in range(len(left) - 1, -1, -1):
        if left[i] in _IMPERATIVES and (i == 0 or left[i - 1] in _STARTS):
            return False
        if left[i] in FINITE or (_is_verb(left[: i + 1]) and left[0] not in _IMPERATIVES):
            return True
    return bool(left[:1] and left[0] in _TELLING) or any(word in FINITE for word in right)


def _governed(left: list[str]) -> tuple[str, str]:
    """The use that the words before a quantity give it, and by which word; "" where it is a subject itself."""
    i = len(left) - 1
    while i >= 0 and left[i] in _FILLERS:
        i -= 1
    if i < 0:
        return "", ""
    word, before = left[i], left[max(0, i - 4) : i]
    if before and before[-1] in ("has", "have", "having"):
        return "result", before[-1]  # `has degree 3`
    if word in BASES or (word == "to" and before[-1:] == ["coprime"]):
        return "base", word
    if word in ("most", "least") and before[-1:] == ["at"] and before[-2:-1] != ["of"]:
        return _governed(left[: i - 1])  # `is at most 5`
    if word == "as" and _WRITTEN & set(before):
        return "result", word  # `choose a as 5`
    arrived = next((verb for verb in before[-2:] if verb in ARRIVALS), "")
    if word in ("to", "at", "with", "as", "on", "into") and arrived:
        return ("operand" if arrived == "equal" and "set" in left[max(0, i - 8) : i] else "result"), arrived
    if word == "of":  # `gives a remainder of 2` states a result, `a multiple of 2` and `half of 2` do not
        noun = stem(left[i - 1]) if i else ""
        verbs = [verb for verb in left[max(0, i - 8) : i - 1] if verb in RESULTS - {"=", ":"}]
        if verbs and noun not in _PARTED and ({"a", "an"} & set(left[max(0, i - 3) : i - 1]) or noun in _SUMMARIES):
            return "result", verbs[-1]
        return ("operand" if noun in _PARTED or noun in OPERANDS or not noun else "mention"), "of"
    if word == ":" and i and left[i - 1][-1] in "0})":  # 1 : 2
        return "mention", word
    if word in OPERANDS:
        return "operand", word
    if word in RESULTS or word in ARRIVALS:
        return "result", word
    if word in (",", "or") and not (i and left[i - 1][-1:] in "0})"):
        return "", ""
    if word in (",", "or", "}", ")") or word[-1].isdigit():
        return _governed(left[:i])
    if _is_verb(left[: i + 1]):
        return "result", word
    named = (_ARTICLES & set(before[-2:]) and not word.endswith("s")) or {word, stem(word)} & _SUMMARIES
    done = any(verb in OPERANDS - {"to"} and not (k and before[k - 1] in _ARTICLES) for k, verb in enumerate(before))
    return ("result" if named and len(word) > 2 and not done else "mention"), word


def _is_verb(left: list[str]) -> bool:
    """The last word is a verb in the third person, by its form: `the bill climbs`, not `the sides`."""
    word, before = left[-1], left[-2] if len(left) > 1 else ""
    if len(word) <= 3 or not word.endswith("s") or word.endswith(("ss", "us", "is")) or not word.isalpha():
        return False
    if stem(word) in _NO_VERBS or before in _BEFORE_NOUN or before.endswith("s") or not before.isalpha():
        return False
    return len(left) > 2 or before not in _IMPERATIVES
