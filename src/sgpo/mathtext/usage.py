"""How a quantity is used, by the words around it: as an operand, a result, an ordinal, a label or a base.

`Divide by 2` handles a number and `it comes to 2` tells one: what decides is the grammar, not the number. A parser of
English would be large, slow and seldom sure of such sentences, so the word that governs the number is looked for to the
left, over the words that may stand between (`FILLERS`), and lists say what each such word makes of it. A verb in no
list is known by its form.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sgpo.mathtext.expressions import RELATIONS, Token
from sgpo.mathtext.vocabulary import words

LABELS = words(
    "step case part figure fig equation eq theorem lemma phase stage rule method option chapter section example "
    "exercise problem type property axiom condition line item idea claim fact note approach formula level quadrant "
    "row column"
)
FILLERS = words(
    "the a an exactly precisely just only simply about approximately roughly around then therefore again also number "
    "value integer fraction final indeed always all both each now not there must will should would can could which it "
    "this that away off simplified reduced positive negative same single last remaining resulting unique and her his "
    "their our your my"
)
RESULTS = words(
    "is are was were be being equals equal becomes become remains makes make making totals measures get gets getting "
    "got obtain obtains obtained give gives giving gave given yield yields yielding produce produces find finds "
    "finding found arrive reach reaches reaching leave leaves leaving left conclude concludes concluding deduce see "
    "has have having namely so thus hence finally answer result solution contains need needs needed state report know "
    "show shows determine say read reads pick choose select recall expect sees fill but = => : < > <= >="
)
# With `to`, `at`, `with`, `as`, `on` or `out` behind: `comes to`, `arrive at`, `ends with`.
RESULTS_TO = words(
    "comes come coming amounts amount simplifies simplify reduces reduce evaluates evaluate leads lead leading adds "
    "sums works work turns rounds equal equals narrows boils converges arrive arrives arriving ends end settles "
    "pinned fixed limited set bounded stops goes climbs rises drops falls ending finish finishes lands land condenses "
    "collapses totals shrinks equivalent congruent"
)
OPERANDS = words(
    "reduce deduct deducting remove removing by from into than per over times plus minus between among through within "
    "until before after for in on with at as add adding adds subtract subtracting subtracts multiply multiplying "
    "divide dividing increase decrease raise take taking square squaring cube cubing halve double use using try "
    "trying substitute substituting insert plug put test testing count counting divides let set via any every up "
    "under above below less more least most"
)
BASES = words("mod modulo base modulus")
SUMMARIES = words(
    "total remainder value answer result sum maximum minimum probability length area volume radius product difference "
    "count mean average cost size measure height width distance age speed price chance quotient score perimeter root "
    "solution discriminant period slope"
)
CONDITIONS = words("how if when whenever whether until unless where suppose assume let")
NO_NOUNS = words(
    "into onto among and or is are as so which that then because since in on at by for from with to if when where "
    "after throughout works fits satisfies leaves gives must will can has have of here there over more left "
    "altogether overall but while again mod modulo remains remain does be was were too itself both per than"
)
# What a step begins with when it tells the reader what to do; other sentences state something.
IMPERATIVES = words(
    "add apply arrange ask assign average begin bring call cancel change check choose clear collect combine compare "
    "complete compute convert count cross cube cut decide differentiate discard distribute divide do double draw drop "
    "eliminate enter equate estimate evaluate exclude expand express factor feed fill find fix follow form get give "
    "go group halve identify ignore increase insert integrate interpret isolate join keep label let link list locate "
    "look lower make mark match maximise maximize merge minimise minimize move multiply name note number order pair "
    "permute pick place plug put raise read recall record reduce reject relate remember remove repeat replace report "
    "represent return review rewrite round scale search select set share shift show simplify sketch solve split "
    "square start state stop subtract substitute sum swap tabulate take test think tick treat try turn undo use "
    "verify work write adding dividing multiplying subtracting using taking comparing squaring"
)
_STARTS = frozenset((",", ";", ":", "(", "and", "then", "or", "to", "by", "next", "now", "first", "finally", "also"))
_JOINS = frozenset((":", "since", "because", "so", "that", "as"))
_TELLING = words("the so thus hence therefore then this that these they it he she we you there in after both together")
FINITE = words(
    "is are was were has have can cannot could would should must will may do does makes leaves gives remains remain "
    "stay hold give make need fit work made got paid won sold took gave came went spent kept"
)
_FITS = words("works work fits fit satisfies suffices solves answers holds wins succeeds")
_SINGLED = words("the your our what where correct right only last first largest smallest answer final asked wanted")
_DIVISIBLE = words("divisible divisibility multiple multiples power powers modulo divisor divisors coprime")
_PREPOSITIONS = words("by from into than per over among within until before after for in on with at above below to")
_WRITTEN = words("write rewrite written factor factors express becomes choose determines gives fixes get report state")
_COMPARED = words("less more fewer greater times *")
_PARTED = words(
    "half third quarter sum product multiple multiples divisor divisors factor factors power powers root square cube"
)
_ENDS_NUMBER = re.compile(r"[\d.]+|[})]")
_ARTICLES = frozenset(("the", "its", "a", "an"))
_BEFORE_NOUNS = _ARTICLES | words("of all any some these those both equal their our your no other each same and or")
_SUBJECTS = _ARTICLES | words("each this that it he she everyone everybody everything nothing all one")
_NO_VERBS = LABELS | SUMMARIES | _PARTED
_BEFORE_NOUN = _BEFORE_NOUNS | OPERANDS | RESULTS
_BREAK = frozenset((".", ";", "!", "?"))


def stem(word: str) -> str:
    """A crude singular, lower case."""
    word = word.lower()
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "is", "us")) and len(word) > 3 else word


@dataclass(frozen=True)
class Use:
    """How a quantity is used.

    name: "result" (the text states it as what something comes to), "operand" (something is done with it), "label" (a
    step's or a list's number), "ordinal", "base" (a modulus or a base) or "mention".
    by: the word that makes it so, such as the verb. subject: stems of the words before it in its clause. supposed: it
    stands under a condition or in a law.
    """

    name: str
    by: str = ""
    subject: frozenset[str] = frozenset()
    supposed: bool = False
    stated: bool = False


def usage(text: str, tokens: Sequence[Token], first: int, last: int, *, ordinal: bool = False) -> Use:
    """The use of the quantity of the tokens from `first` up to but not `last`."""
    left, right = _around(text, tokens, first, last)
    clause = left[_clause_start(left) :]
    subject = frozenset(stem(word) for word in clause if len(word) > 1)
    supposed = _is_supposed(left[: len(left) - len(clause)], clause, right)
    argument = tokens[first].text == "(" and tokens[first].touching and tokens[first - 1].kind in ("word", "command")
    if first and argument:
        return Use("operand", "(", subject, supposed)  # phi(10)
    hyphen = right[:1] == ["-"] and len(right) > 1 and tokens[last].touching and tokens[last + 1].touching
    if _is_label(text, tokens, first, last) or (hyphen and not ordinal):  # step 4, 4-digit
        return Use("label", "", subject, supposed)
    name, by = _governed(left)
    stated = _is_stated(clause if clause[:1] and clause[0] in _TELLING else left, right)
    if name in ("", "mention") and (not ordinal or name == "" or by == ""):
        verb = right[1:] if right[:1] == [","] else right
        if ordinal:  # `the 8th one is the last`, `the third prime found is`
            verb = next((right[i:] for i, word in enumerate(right) if word in _FITS or word in ("is", "are")), [])
        if verb and (verb[0] in _FITS or (len(verb) > 1 and verb[0] in ("is", "are") and verb[1] in _SINGLED)):
            name, by, supposed = "result", "fits", supposed and verb[0] not in _FITS
    if right and right[0] in _COMPARED and name == "result":  # `is 2 less than the number of sides`
        name = "mention"
    if ordinal and name != "result":
        name = "ordinal"
    # `they meet after 3 hours` tells; `divide by 3` is a step, and so is `divided by 3`.
    step = by == "by" and left[-2:-1] and left[-2].endswith(("ed", "ible"))
    if name == "operand" and by in _PREPOSITIONS and stated and not step:
        name = "mention"
    return Use(name or "mention", by, subject, supposed, stated)


def _around(text: str, tokens: Sequence[Token], first: int, last: int) -> tuple[list[str], list[str]]:
    """The words of the sentence before a quantity, at most 40, and behind it, at most 7."""

    def ends(i: int) -> bool:  # the sentence, before token i
        return tokens[i - 1].text in _BREAK or "\n" in text[tokens[i - 1].end : tokens[i].start]

    begin, end = first, last
    while begin > max(0, first - 40) and not ends(begin):
        begin -= 1
    while (
        end < min(len(tokens), last + 7)
        and tokens[end].text not in _BREAK
        and "\n" not in text[tokens[end - 1].end : tokens[end].start]
    ):
        end += 1
    left = [token.text.lower() for token in tokens[begin:first]]
    # `a must be 5` speaks of a letter, not of a thing.
    pairs = zip(left, [*left[1:], ""], strict=False)
    before = ["x" if word == "a" and verb in FINITE | RELATIONS else word for word, verb in pairs]
    return before, [token.text.lower() for token in tokens[last:end]]


def _clause_start(left: list[str]) -> int:
    for i in range(len(left) - 1, -1, -1):
        if left[i] in _JOINS or (left[i] == "," and len(left) - i > 2):
            return i + 1
    return 0


def _is_supposed(outside: list[str], clause: list[str], right: list[str]) -> bool:
    """A clause only supposes what it says, or says it of all things of a kind."""
    article = clause[:1] in (["a"], ["an"])
    # `a square has 4 sides` is a law; `a zero remainder needs the root to be 5` is not, as it says which root.
    general = (article and "the" not in clause) or clause[:1] in (["any"], ["every"])
    return (
        bool(CONDITIONS & set(clause))
        or (general and outside[-1:] != ["as"])  # `as a percentage it is 5`
        or outside[-2:] == ["so", "that"]
        or (clause[:1] == ["then"] and bool(CONDITIONS & set(outside[:1])))
        or (right[:1] in (["for"], ["if"], ["when"]) and bool(RELATIONS & set(right[2:4])))  # `is 90 for y > 0`
    )


def _is_stated(left: list[str], right: list[str]) -> bool:
    """The clause of a quantity states something, and is no instruction; its nearest verb decides.

    Steps of a strategy are instructions. What they state besides is where results are told.
    """
    for i in range(len(left) - 1, -1, -1):
        word = left[i]
        if word in IMPERATIVES and (i == 0 or left[i - 1] in _STARTS):
            return False
        if word in FINITE or (_is_verb(left[: i + 1]) and left[0] not in IMPERATIVES):
            return True
    return bool(left[:1] and left[0] in _TELLING) or any(word in FINITE for word in right)


def _is_label(text: str, tokens: Sequence[Token], first: int, last: int) -> bool:
    heads = first == 0 or "\n" in text[tokens[first - 1].end : tokens[first].start]
    before = "" if heads else tokens[first - 1].text.lower()
    if before == "_" or (stem(before) in LABELS and len(tokens[first].text) <= 2 and last - first == 1):
        return True
    if before == "-" and tokens[first].touching and tokens[first - 2].kind == "number":
        return True  # 30-60-90
    return heads and last < len(tokens) and tokens[last].text in (".", ")", ":") and last - first == 1


def _governed(left: list[str]) -> tuple[str, str]:
    """The use that the words before a quantity give it, and by which word; "" where it is a subject itself."""
    i = len(left) - 1
    while i >= 0 and (left[i] in FILLERS or left[i] in ("(", "[", "{", '"', "'", "$", "\\", "-")):
        i -= 1
    if i < 0:
        return "", ""
    word, before = left[i], left[max(0, i - 4) : i]
    if word in ("is", "are") and before[-1:] == ["that"]:
        return "mention", word  # `terms that are 3 places apart`
    if before and before[-1] in ("has", "have", "having"):
        return "result", before[-1]  # `has degree 3`
    if word in BASES or (word in ("by", "of") and _DIVISIBLE & set(before)) or before[-1:] == ["coprime"]:
        return "base", word
    if word == "as" and (_WRITTEN & set(before) or "same" in before):
        return "result", word  # `choose a as 5`
    if word in ("most", "least") and before[-1:] == ["at"] and before[-2:-1] != ["of"]:
        return _governed(left[: i - 1])  # `is at most 5`
    if word in ("to", "at", "with", "as", "on", "into") and any(verb in RESULTS_TO for verb in before[-2:]):
        verb = next(verb for verb in before[-2:] if verb in RESULTS_TO)
        return ("operand" if "set" in before and "equal" in before else "result"), verb
    if word == "of":
        return _of(left[:i])
    if word in OPERANDS or word == "to":
        return "operand", word
    if word == ":" and before and _ENDS_NUMBER.fullmatch(before[-1]):
        return "mention", word  # 1 : 2
    if word in RESULTS or word in RESULTS_TO:
        return "result", word
    if word in (",", "and", "or"):
        return _governed(left[:i]) if i > 1 and _ENDS_NUMBER.fullmatch(left[i - 1]) else ("", "")
    if _ENDS_NUMBER.fullmatch(word):
        return _governed(left[:i])
    if _is_verb(left[: i + 1]):
        return "result", word
    named = (_ARTICLES & set(before[-2:]) and not word.endswith("s")) or {word, stem(word)} & SUMMARIES
    done = any(verb in OPERANDS and not (k and before[k - 1] in _ARTICLES) for k, verb in enumerate(before))
    return ("result" if named and len(word) > 2 and not done else "mention"), word


def _is_verb(left: list[str]) -> bool:
    """The last word is a verb in the third person, by its form: `the bill climbs`, not `the sides`.

    No list of verbs is long enough, and every one of them can tell a result.
    """
    word, before = left[-1] if left else "", left[-2] if len(left) > 1 else ""
    if len(word) <= 3 or not word.endswith("s") or word.endswith(("ss", "us", "is")) or not word.isalpha():
        return False
    if stem(word) in _NO_VERBS or before in _BEFORE_NOUN or before.endswith("s") or not before.isalpha():
        return False
    opens = len(left) == 2 and before not in IMPERATIVES  # `Alicia covers`
    return opens or before in _SUBJECTS or any(subject in _SUBJECTS or subject.isdigit() for subject in left[:-2])


def _of(left: list[str]) -> tuple[str, str]:
    """`gives a remainder of 2` states a result, `a multiple of 2` and `half of 2` do not."""
    noun = left[-1] if left else ""
    article = {"a", "an"} & set(left[-3:-1]) and noun not in _PARTED
    verbs = [word for word in left[-8:-1] if word in RESULTS and word not in ("=", ":")]
    if verbs and (article or stem(noun) in SUMMARIES):
        return "result", verbs[-1]
    return ("operand", "of") if noun in _PARTED or noun in OPERANDS or not noun else ("mention", "of")
