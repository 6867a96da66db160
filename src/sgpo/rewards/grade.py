r"""Whether two normalised answers are the same answer: shapes are compared here, single values by the library.

Brackets matter: a tuple or interval equals only one with the same brackets and order, a set or list any order. Two
readings are allowed where a writer leaves brackets out: a bare list `1, 2` equals `\{1, 2\}` in any order and `(1, 2)`
in the same order. Runs in worker processes only.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from fractions import Fraction

from sgpo.rewards import choices, exact, library, quantities, readings, regions, relations, structure
from sgpo.rewards.choices import Label
from sgpo.rewards.normalize import key
from sgpo.rewards.relations import Link
from sgpo.rewards.structure import EQUAL, Shape

_FUNCTION = re.compile(r"([A-Za-z](?: ?\^ ?\{? ?-1 ?\}?)?)\s*\(\s*([A-Za-z])\s*\)")
_TO = re.compile(r"(?<=\d) ?(?:\\text\{ ?to ?\}|to) ?(?=\d)")
_RATIO = re.compile(r"([^:]+):([^:]+)(?::([^:]+))?")


def _renameable(function: re.Match[str] | None, value: str) -> bool:
    """Whether what a function is of is a variable: `f(x) = 2x`, `P(X) = X^2`, and not the event of `P(A) = 1/2`."""
    return function is not None and (function.group(2).islower() or function.group(2) in structure.letters(value))


@dataclass
class Grader:
    """One comparison. `tolerance` is absolute, for numbers; `unparsable`: the library could not read a side."""

    tolerance: Fraction | None = None
    unparsable: bool = False

    def same(self, gold: str, answer: str, *, entry: bool = False) -> bool:
        """Whether two normalised answers are equal; the parameter of an entry is that of the other entries, too."""
        if key(gold) == key(answer):
            return True
        *renamed, letter = readings.aligned(gold, answer)
        sides = [readings.family(side) for side in renamed] if letter and not entry else []
        if sides and library.one_set(sides[0], sides[1], letter):
            return True
        if renamed != [gold, answer]:
            return self.same(*renamed, entry=entry)
        residues = relations.residues(gold), relations.residues(answer)
        if residues[0] and residues[1]:
            return residues[0] == residues[1]
        several = choices.several(gold), choices.several(answer)
        options = [run or choices.choice(side) for run, side in zip(several, (gold, answer), strict=True)]
        if any(several) and all(options):
            return options[0] == options[1]
        labels = choices.labelled(gold), choices.labelled(answer)
        if any(labels):
            return self._labelled(gold, answer, *labels)
        ours, theirs = readings.values_by_word(gold), readings.values_by_word(answer)
        if ours and ours.keys() == theirs.keys():
            return all(self.same(value, theirs[name]) for name, value in ours.items())
        conditions = readings.condition(gold), readings.condition(answer)
        if any(said for _, said in conditions):
            return self._conditional(*conditions)
        return self._nodes(*map(structure.parse, readings.spelled_alike(gold, answer)))

    def _labelled(self, gold: str, answer: str, ours: Label | None, theirs: Label | None) -> bool:
        """`(D) 12` against `D`, `12` or `(D) 12`: what both sides give must agree."""
        if ours and theirs:
            return ours.letter == theirs.letter and self.same(ours.content, theirs.content)
        label, other = (ours, answer) if ours else (theirs, gold)
        assert label is not None
        if letter := choices.choice(other):
            return letter == label.letter
        return self.same(label.content, answer) if ours else self.same(gold, label.content)

    def _conditional(self, gold: tuple[str, str], answer: tuple[str, str]) -> bool:
        """Answers with a condition (`2x, x>0`); one side may leave it out, but only behind a value or a definition."""
        if gold[1] and answer[1]:
            return self.same(gold[1], answer[1]) and self.same(gold[0], answer[0])
        main, said = gold if gold[1] else answer
        node = structure.parse(main)
        defined = readings.definition(node)
        whole = node.kind == "value" or (defined is not None and structure.is_name(defined[0]))
        return whole and structure.letters(said) <= structure.letters(main) and self.same(gold[0], answer[0])

    def _nodes(self, gold: Shape, answer: Shape) -> bool:
        if gold.label and answer.label and gold.label != answer.label:
            return False
        if "value" in (gold.kind, answer.kind) and gold.label + answer.label == "C":
            return self._values(gold.text, answer.text)  # C(5, 2) is no point
        gold, answer = readings.only(gold), readings.only(answer)
        named = relations.assignments(gold), relations.assignments(answer)
        if any(named) and "value" not in (gold.kind, answer.kind):
            return self._assigned(gold, answer, *named)
        chains = [relations.links(node) for node in (gold, answer)]
        if chains[0] and chains[1] and "list" in (gold.kind, answer.kind) and "relation" in (gold.kind, answer.kind):
            return len(chains[0]) > 1 and self._links(chains[0], chains[1])
        if gold.kind == answer.kind == "relation":
            return self._relations(gold, answer)
        for ours, theirs, flipped in ((gold, answer, False), (answer, gold, True)):
            if ours.kind == "relation":
                return self._relation_and_other(ours, theirs, flipped)
        return self._shapes(gold, answer)

    def _assigned(self, gold: Shape, answer: Shape, ours: dict[str, str] | None, theirs: dict[str, str] | None) -> bool:
        """`x = 1, y = 2` name by name, and against values without names in the order of the names."""
        if ours and theirs:
            theirs = relations.with_parameter(theirs, ours)
            values = tuple(theirs[name] for name in ours) if ours.keys() == theirs.keys() else ()
            return self._ordered(tuple(ours.values()), values)
        named, bare = (ours, answer) if ours else (theirs, gold)
        assert named is not None
        if any(relations.names_one(item) for item in bare.items):
            return False  # `x = 1 or x = 2` is no `x = 1, y = 2`
        if bare is gold and (bare.kind == "set" or (bare.kind == "list" and not relations.asked_order(named))):
            return self._unordered(readings.expand(gold), list(named.values()))
        if bare.kind not in ("tuple", "list") and not bare.is_vector:
            return False
        values = relations.values_in_order(named, bare.names)
        return self._ordered(values, bare.items) if ours else self._ordered(bare.items, values)

    def _shapes(self, gold: Shape, answer: Shape) -> bool:
        if gold.names != answer.names and set(gold.names) == set(answer.names):
            answer = readings.reordered(answer, gold.names)
        kinds = {gold.kind, answer.kind}
        if gold.line != answer.line and {gold.line, answer.line} <= structure.PARAMETERS:
            renamed = (library.rename(item, answer.line, gold.line) for item in answer.items)
            answer = replace(answer, items=tuple(renamed), line=gold.line)
        if kinds == {"value"}:
            return self._values(gold.text, answer.text)
        if kinds == {"piecewise"}:
            return self._piecewise(gold.items, answer.items)
        if kinds == {"piecewise", "value"}:
            cases, one = (gold.items, answer.text) if gold.kind == "piecewise" else (answer.items, gold.text)
            residues = readings.by_residues(cases)
            return bool(residues) and all(self._library(put(one), put(value)) for value, put in residues)
        if "value" in kinds and kinds & {"tuple", "matrix"}:
            sides = [readings.in_space(node) for node in (gold, answer)]
            if all(sides):
                return self._ordered(*sides)
        bounded = [node for node in (gold, answer) if node.kind == "list" and self._as_region(node)]
        if kinds <= {"set", "list"} and len(bounded) < 2:
            runs = readings.runs(answer, len(gold.items))
            found = any(self._ordered(gold.items, items) for items in runs)
            return found or self._unordered(readings.expand(gold), readings.expand(answer))
        if bounded:
            names = {key(structure.variable(structure.parse(node.items[0]))) for node in bounded}
            return len(names) == 1 and self._regions(gold, answer)
        if "value" in kinds and kinds & {"set", "list"}:
            return self._single(gold, answer)
        if kinds in ({"tuple"}, {"tuple", "list"}, {"tuple", "matrix"}):
            if gold.joined_by_or or answer.joined_by_or:
                return False
            if any(node.kind == "matrix" and not node.is_vector for node in (gold, answer)):
                return False
            return self._ordered(*(readings.assigned(n.items) if n.kind == "list" else n.items for n in (gold, answer)))
        if kinds in ({"interval"}, {"interval", "tuple"}, {"matrix"}):
            drawn = gold.brackets == answer.brackets and gold.rows == answer.rows
            return drawn and self._ordered(gold.items, answer.items)
        if kinds & {"union", "interval", "tuple", "set", "list"}:
            return self._regions(gold, answer)
        return self._library(gold.text, answer.text)

    def _piecewise(self, gold: tuple[str, ...], answer: tuple[str, ...]) -> bool:
        """Values under conditions, in any order; one "otherwise" goes with the condition that is left."""
        rest, left = dict(zip(answer[1::2], answer[::2], strict=True)), []
        for value, said in zip(gold[::2], gold[1::2], strict=True):
            twin = next((other for other in rest if self.same(said, other)), None)
            if twin is None:
                left.append((value, said))
            elif not self.same(value, rest.pop(twin)):
                return False
        if len(left) == len(rest) == 1 and readings.ELSE.search(left[0][1] + next(iter(rest))):
            return self.same(left[0][0], *rest.values())
        return not left and not rest

    def _single(self, gold: Shape, answer: Shape) -> bool:
        """A value against a set or list: equal where that has one element, and then to it."""
        several, one = (gold, answer) if gold.kind != "value" else (answer, gold)
        if readings.mixed(several.text) or quantities.compound(several.text):  # 2 and 1/2, 2 hours and 30 minutes
            texts = (readings.mixed(node.text) or node.text for node in (gold, answer))
            return self._values(*texts)
        items = readings.expand(several)
        respelled = several is answer or len({key(item) for item in items}) == len(items)
        alike = len(items) == 1 or (respelled and all(self.same(items[0], item) for item in items[1:]))
        if not items or not alike or one.text == r"\emptyset":
            said = quantities.text_words(gold.text)  # names and dates hold commas
            return said is not None and said == quantities.text_words(answer.text)
        if not quantities.own_units(items):
            items = items[:1]  # 3/4 or 0.75; as a gold, [3/4, 0.75]
        every = all if quantities.split_quantity(one.text).unit else any  # 1 hour or 60 minutes
        return every(self.same(item, one.text) if several is gold else self.same(one.text, item) for item in items)

    def _ordered(self, gold: tuple[str, ...], answer: tuple[str, ...]) -> bool:
        pairs = zip(gold, answer, strict=False)
        return len(gold) == len(answer) and all(self.same(g, a, entry=True) for g, a in pairs)

    def _unordered(self, gold: list[str], answer: list[str]) -> bool:
        """Whether each element of one list has its own equal in the other; equal spellings first, they are free."""
        counted = quantities.counts(gold), quantities.counts(answer)
        if counted[0] and counted[0].keys() == counted[1].keys():  # 6 red and 4 blue are not 4 red and 6 blue
            return all(self.same(value, counted[1][word]) for word, value in counted[0].items())
        if len(gold) < len(answer) and len({key(item) for item in gold}) == len(gold):
            answer = list({key(item): item for item in answer}.values())  # said twice
        if len(gold) != len(answer):
            return False
        left, right = list(gold), list(answer)
        for item in gold:
            twin = next((other for other in right if key(other) == key(item)), None)
            if twin is not None:
                left.remove(item)
                right.remove(twin)
        return relations.paired(left, right, self.same)

    def _as_region(self, node: Shape) -> list[str] | None:
        """Intervals stated by a list of inequalities ("x < 1 or x > 3", "x > 1 and x < 3"); None for other lists."""
        parts = [structure.parse(item) for item in node.items]
        if node.joined_by_or and any(part.brackets for part in parts):
            parts = [relations.point(part) or part for part in parts]
        holes = [] if node.joined_by_or else [part.items[1] for part in parts if relations.excludes(part)]
        if holes and len({key(structure.variable(part)) for part in parts}) == 1:
            rest = [item for item, part in zip(node.items, parts, strict=True) if not relations.excludes(part)]
            region = self._as_region(replace(node, items=tuple(rest))) if rest else [r"(-\infty, \infty)"]
            return region and [rf"{bound} \setminus \{{{', '.join(holes)}\}}" for bound in region]
        if node.kind != "list" or not all(part.brackets and part.kind == "relation" for part in parts):
            return None
        if len({key(structure.variable(part)) for part in parts}) > 1:
            return None
        bounds = [part.brackets for part in parts]
        low = next((part for part in bounds if part.endswith(r"\infty)")), "")
        high = next((part for part in bounds if part.startswith(r"(-\infty")), "")
        if len(bounds) == 2 and low and high and not node.joined_by_or and regions.overlap(low, high):
            return [low[: -len(r", \infty)")] + high[len(r"(-\infty") :]]  # `x > 1, x < 3` hold both
        return bounds

    def _regions(self, gold: Shape, answer: Shape) -> bool:
        """Unions of intervals, part by part; else as the library's sets (differently cut unions)."""
        parts = []
        for node in (gold, answer):
            region = self._as_region(node) if node.kind == "list" else None
            listed = node.kind == "list" and gold.kind == "union" and all(item[0] in "([" for item in node.items)
            whole = list(node.items) if node.kind == "union" or listed else [node.text]
            parts.append(whole if region is None else region)
        lone = len(parts[0]) == len(parts[1]) == 1 and r"\setminus" not in parts[0][0] + parts[1][0]
        if lone and "union" not in (gold.kind, answer.kind):
            inner = [structure.parse(part[0]) for part in parts]
            return {inner[0].kind, inner[1].kind} <= {"interval", "tuple"} and self._shapes(inner[0], inner[1])
        if gold.kind in ("list", "set") and answer.kind in ("tuple", "interval"):
            return False
        try:
            return regions.same(parts[0], parts[1])
        except (library.UnparsableError, exact.UndecidedError):
            pass
        if self._unordered(parts[0], parts[1]):
            return True
        return self._library(r" \cup ".join(parts[0]), r" \cup ".join(parts[1]))

    def _relations(self, gold: Shape, answer: Shape) -> bool:
        if gold.brackets or answer.brackets:
            if not (gold.brackets and answer.brackets):
                return False  # `2x+3 > 7` is the question to `x > 2`
            if key(structure.variable(gold)) == key(structure.variable(answer)):
                return self.same(gold.brackets, answer.brackets)
        ours, theirs = relations.links(gold), relations.links(answer)
        if not set(gold.signs) | set(answer.signs) <= EQUAL:
            if ours and theirs and relations.same_links(ours, theirs, self.same):
                return True
            single = len(gold.signs) == len(answer.signs) == 1 and not {"=", r"\in"} & {gold.signs[0], answer.signs[0]}
            return single and self._library(gold.text, answer.text)
        left, right = readings.definition(gold), readings.definition(answer)
        if left and right and not relations.is_system(gold):
            verdict = self._definitions(left, right)
            if verdict is not None:
                return verdict and relations.chain_holds(answer, self.same)
            if relations.is_constant(left[1]) and relations.is_variable(left[0]):
                return False
        elif left and not relations.is_system(gold) and relations.is_constant(left[1]) and structure.is_name(left[0]):
            return False  # `2x + 3 = 13` is the question to `x = 5`
        return bool(ours and theirs) and self._links(ours or [], theirs or [])

    def _links(self, gold: list[Link], answer: list[Link]) -> bool:
        """Chains and lists of equations as systems, single equations up to a factor."""
        if relations.same_links(gold, answer, self.same):
            return True
        if {sign for _, sign, _ in gold + answer} != {"="}:
            return False
        try:
            if len(gold) == len(answer) == 1:
                return library.same_equation(gold[0][::2], answer[0][::2])
            return relations.same_system(gold, answer)
        except (library.UnparsableError, TypeError, AttributeError, ValueError, NotImplementedError):
            self.unparsable = True
            return False

    def _definitions(self, gold: tuple[str, str], answer: tuple[str, str]) -> bool | None:
        """`f(x) = 2x` and `f(t) = 2t`: names and values. None where the names do not settle it."""
        if relations.same_name(gold[0], answer[0]):
            return self.same(gold[1], answer[1])
        functions = _FUNCTION.fullmatch(gold[0]), _FUNCTION.fullmatch(answer[0])
        for (name, value), function in ((gold, functions[1]), (answer, functions[0])):
            if function and (name == function[1] or (name == "y" and function[2] in structure.letters(value))):
                return self.same(gold[1], answer[1])  # `y = x^2` and `f(x) = x^2`
        if functions[0] and functions[1] and all(map(_renameable, functions, (gold[1], answer[1]))):
            new, old = functions[0].group(2), functions[1].group(2)
            if functions[0].group(1) != functions[1].group(1) or library.rename(answer[1], new, "") != answer[1]:
                return False
            return self.same(gold[1], library.rename(answer[1], old, new))
        names = structure.is_name(gold[0]), structure.is_name(answer[0])
        if any(relations.is_constant(first[0]) and name for first, name in ((gold, names[1]), (answer, names[0]))):
            return self.same(gold[1], answer[1])  # `\text{Area} = 24` and `\frac12 \cdot 6 \cdot 8 = 24`
        if all(names) and not set(re.findall(r"[A-Za-z]", gold[1] + answer[1])):
            return r"\text" in gold[0] + answer[0] and self.same(gold[1], answer[1])
        return None

    def _relation_and_other(self, relation: Shape, other: Shape, flipped: bool) -> bool:
        """`x = 5` is the answer 5, and `x > 2` the interval; an equation that names nothing is no value."""
        if relation.brackets:
            inner = structure.parse(relation.brackets)
            if other.kind == "matrix" or other.names or (other.kind == "list" and not self._as_region(other)):
                return False  # `1, 2` and the vector (1, 2) are no interval
            return other.kind != "value" and self._shapes(*((other, inner) if flipped else (inner, other)))
        if relation.signs == (r"\ne",) and structure.is_name(relation.items[0]):
            return self.same(rf"(-\infty, \infty) \setminus \{{{relation.items[1]}\}}", other.text)
        defined = readings.definition(relation)
        if defined is None and set(relation.signs) == {"="} and other.kind == "value":
            # `x^2 - 1 = (x-1)(x+1)`, which holds for all x, is either side.
            first, pairs = relation.items[0], itertools.pairwise(relation.items)
            pair = (other.text, first) if flipped else (first, other.text)
            return self.same(*pair) and all(self._library(*sides) for sides in pairs)
        if defined is None:
            return False
        if not flipped:
            return self.same(defined[1], other.text)
        said = relations.values_said(relation, defined[1])
        return any(self.same(other.text, value) for value in said) and relations.chain_holds(relation, self.same)

    def _values(self, gold: str, answer: str) -> bool:
        """Two single values: choice letters, times, numerals and words as such, numbers without their units."""
        if key(gold) == key(answer):
            return True
        verdict = readings.special(gold, answer)
        if verdict is not None:
            return verdict
        if quantities.opposed(gold, answer):
            return False
        left, right = quantities.split_quantities(gold, answer)
        if left.unit != right.unit:
            if factor := quantities.conversion(left, right):
                return self._library(left.core, rf"({right.core}) \cdot {factor}")
            if left.unit and right.unit:
                return False
        if left.percent != right.percent:
            return not (left.unit or right.unit) and self._percent(left, right)
        if ":" in left.core + right.core:
            left, right = (replace(side, core=_TO.sub(":", side.core)) for side in (left, right))
        if _RATIO.fullmatch(left.core) and _RATIO.fullmatch(right.core):
            return self._ratio(left.core, right.core)
        return self._library(readings.fraction(left.core), readings.fraction(right.core))

    def _percent(self, gold: quantities.UnitValue, answer: quantities.UnitValue) -> bool:
        """`50%` is 1/2, and 50 where a percentage was asked for: not for a gold below one, which is a share."""
        if self._library(gold.core, answer.core):
            value = library.plain_number(gold.core)
            return gold.percent or value is None or value == 0 or abs(value) >= 1
        share = rf"({answer.core}) \cdot 100" if gold.percent else rf"\frac{{{answer.core}}}{{100}}"
        return self._library(gold.core, share)  # a tolerance is one of the gold as it is written

    def _ratio(self, gold: str, answer: str) -> bool:
        left, right = gold.split(":"), answer.split(":")
        if len(left) != len(right):
            return False
        return all(
            self._library(f"({g})({right[0]})", f"({a})({left[0]})") for g, a in zip(left[1:], right[1:], strict=True)
        )

    def _library(self, gold: str, answer: str) -> bool:
        if key(gold) == key(answer):
            return True
        try:
            return library.values_equal(gold, answer, self.tolerance)
        except library.UnparsableError:
            self.unparsable = True
            return False
