"""How a quantity is used, by the words around it: as an operand, a result, an ordinal, a label or a base.

`Divide by 2` handles a number and `it comes to 2` tells one: what decides is the grammar, not the number. The word that
governs the number is looked for to the left, over the words that may stand between (`_FILLERS`); `_GOVERNS` says what
it makes of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sgpo.mathtext.tokens import Token, stem, words

_FILLERS = words(
    "the a an exactly precisely just only simply about approximately roughly around then therefore again also number "
    "same single last remaining and now her his their our your my ( [ { ' $ -"
)
RESULTS = words(
    "is are was were be being equal(s) become(s) remain(s) make(s) making totals measures get(s) getting got obtain(s) "
    "obtained give(s) giving gave given yield(s) yielding produce(s) find(s) finding found arrive reach(es) reaching "
    "leave(s) leaving left conclude(s) deduce see(s) have has choose select altogether span recall expect fill but = : "
    "=> < > <= >="
)
# With `to`, `at`, `with`, `as`, `on` or `into` behind, as those of `_WRITTEN`: `comes to`, `ends with`, `choose a as`.
ARRIVALS = words(
    "come(s) coming amount(s) simplify simplifies reduce(s) evaluate(s) lead(s) leading adds sums work(s) turns rounds "
    "equal(s) narrows boils converges arrive(s) arriving end(s) settles collapses totals shrinks cancel(s) cancelling "
    "equivalent congruent goes stops climbs rises drops falls lands stands"
)
_WRITTEN = words("write rewrite written factor(s) express becomes choose determines gives fixes get report state same")
_PREPOSITIONS = words("by away from in(to) than per over among with(in) until before after for on at above below to")
_HANDLING = words(
    "reduce deduct remove removing times plus minus between through as add adding subtract(s) subtracting multiply "
    "multiplying divide(s) dividing increase decrease raise take taking square squaring cube cubing halve double use "
    "using try trying substitute substituting insert plug put test testing counting let set via any every most least"
)
OPERANDS = _PREPOSITIONS | _HANDLING
BASES = words("mod(ulo) base modulus")
_SUMMARIES = words(
    "total remainder value answer result sum maximum minimum probability length area volume radius product difference "
    "count mean average cost size measure height width distance age speed price chance quotient score perimeter root"
)
_PARTED = words("half third quarter multiple divisor factor power square cube sum product root")
_LABELS = words("step case part figure equation theorem method option chapter section example problem line level row")
FINITE = words("is are was were has have can(not) could would should must will may do(es) makes leaves gives remain(s)")
_TELLING = words(
    "which the so thus hence therefore then this that these they it he she we you there in after both together"
)
_FITS = words("work(s) fit(s) satisfy satisfies suffices solves answers hold(s) wins succeeds remain(s)")
_SINGLED = words("the your our what where correct right only last first largest smallest answer final asked wanted")
_BEFORE_NOUN = words("its all some these both no other each same and") | _FILLERS | OPERANDS | RESULTS


def _any(words: Iterable[str]) -> str:
    return f"(?:{'|'.join(map(re.escape, sorted(words)))})"


# What may stand between a number and the word that governs it.
_BETWEEN = re.compile(rf"(?: (?:{_any(_FILLERS)}|0|[)}}])(?= )|(?<=[0)}}]) (?:,|or)(?= ))* $")
# The use that the words before a number make of it, the first that fits; the group is the word that does.
_GOVERNS = [
    (name, re.compile(rf"{pattern} $"))
    for name, pattern in (
        ("base", rf" ({_any(BASES)})"),
        ("operand", r" set .*(equal)(?: \S+){0,3} to"),
        ("result", rf" ({_any(ARRIVALS | _WRITTEN)})(?: \S+){{0,3}} (?:to|at|with|as|on|into)"),
        ("operand", rf" {_any(_PARTED)}s? (of)"),
        ("result", rf" ({_any(RESULTS - {':'})})(?: \S+){{0,2}} an?(?: \S+){{1,2}} of"),  # gives a remainder of 2
        ("operand", rf" ({_any(OPERANDS)})"),
        ("mention", r"[0)}] (:)"),  # 1 : 2
        ("result", rf" ({_any(RESULTS | ARRIVALS)})"),
        ("", "( ,| or|^)"),
        ("mention", rf"(?<! a)(?<! the) {_any(OPERANDS - {'to'})}(?: \S+){{0,3}} (\S+)"),
        ("result", rf" ({_any(_SUMMARIES)}s?)"),
        ("mention", r" (\S+)"),
    )
]
_LETTER = re.compile(rf" a(?= (?:{_any(FINITE)}|[<>!]?=|[<>]) )")
_CLAUSE = re.compile(r".* (?:since|because|so|that|as|:|,(?= \S+ \S))(?= )")
_LAW = re.compile(r" an? (?!.* the )")  # a square has 4 sides
_SUPPOSED = re.compile(r" (?:how|if|when|whenever|whether|until|unless|where|suppose|assume|let) ")
_LABELLED = re.compile(rf" {_any(_LABELS)}s? $")
_TOLD = re.compile(rf" {_any(_TELLING)} ")
_STATED = re.compile(rf" {_any(FINITE)} ")
# A verb in the third person, by its form: `the bill climbs`, not `the sides`.
_ACTIVE = re.compile(
    rf" (?!{_any(_HANDLING)} )(?:.* )?(?!{_any(_BEFORE_NOUN)} )[a-z]*[a-rt-z] "
    rf"(?!{_any(_LABELS | _SUMMARIES | _PARTED)}s )[a-z]{{2,}}[a-hj-rtv-z]s "
)
_FITTING = re.compile(rf" (?:, )?(?:{_any(_FITS)}|(?:is|are) {_any(_SINGLED)}) ")
_NTH_FITTING = re.compile(rf" (?:(?!(?:is|are) )\S+ )*?(?:{_any(_FITS)}|(?:is|are) {_any(_SINGLED)}) ")


class Use(NamedTuple):
    """How a quantity is used.

    name: "result" (the text states it as what something comes to), "operand" (something is done with it), "label" (of a
    step), "ordinal", "base" (a modulus or a base) or "mention". by: the word that makes it so, such as the verb.
    clause: the words before it in its clause; subject: their stems. supposed: it stands under a condition or in a law.
    stated: its clause states something, and is no instruction.
    """

    name: str
    by: str = ""
    clause: str = ""
    supposed: bool = False
    stated: bool = False

    @property
    def subject(self) -> frozenset[str]:
        return frozenset(stem(word) for word in self.clause.split() if len(word) > 1)


def usage(tokens: Sequence[Token], begin: int, first: int, last: int, end: int, *, ordinal: bool = False) -> Use:
    """The use of the quantity of the tokens from `first` to `last`, in the sentence from `begin` to `end`."""
    before = ["0" if token.kind == "number" else token.text.lower() for token in tokens[max(begin, first - 40) : first]]
    # `a must be 5` speaks of a letter, not of a thing.
    left = _LETTER.sub(" x", " ".join(["", *before, ""]))
    right = " ".join(["", *(token.text.lower() for token in tokens[last : min(end, last + 7)]), ""])
    clause = _CLAUSE.sub("", left, 1)
    supposed = bool(_LAW.match(clause) or _SUPPOSED.search(clause))
    hyphen = not ordinal and last < end and tokens[last].kind == "hyphen"  # a 4-digit number
    short = len(tokens[first].text) <= 2 and last - first == 1  # case 3, and the step `3. Add them.`
    alone = not (left + right).strip("{ }") and [t for t in tokens[end + 1 : end + 2] if t.kind != "end"]
    if hyphen or (short and (alone or _LABELLED.search(left))):
        return Use("label", "", clause, supposed)
    near = " ".join(["", *_BETWEEN.sub(" ", left, 1).split()[-9:], ""])
    name, by = next(
        (name, found[1].strip() if name else "") for name, pattern in _GOVERNS if (found := pattern.search(near))
    )
    told = clause if _TOLD.match(clause) else left
    stated = bool(_STATED.search(told + right) or _TOLD.match(told) or _ACTIVE.match(told))
    if name in ("", "mention") and (_NTH_FITTING if ordinal else _FITTING).match(right):
        name, by = "result", "fits"  # the 8th one is the last, 23 works
    if name == "result" and re.match(r" (?:times|less|more|\*) ", right):  # `is 2 less than the number of sides`
        name = "mention"
    # `they meet after 3 hours` tells, and `divide by 3` does not.
    if name == "operand" and by in _PREPOSITIONS and stated and not re.search(r" divided(?: \S+)? $", left):
        name = "mention"
    return Use("ordinal" if ordinal and name != "result" else name or "mention", by, clause, supposed, stated)
