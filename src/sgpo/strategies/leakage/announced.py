"""Whether a text announces a number as a result: `which gives 2`, `the remainder is 2`, `2 is the answer`."""

from __future__ import annotations

import re

from sgpo.strategies.leakage.context import CONDITION, LAW, before, belongs_to_theorem, stem
from sgpo.strategies.leakage.values import Node
from sgpo.strategies.leakage.vocabulary import GENERIC_NOUNS, QUESTION_WORDS

_OWN = (
    r"(?:answers?|results?|solutions?|ans|outcome|output|conclusion|final (?:value|number|count|figure)|"
    r"correct (?:value|choice|one)|(?:value|number|quantity|what) (?:that )?(?:you|we) (?:want|seek|need|look for))"
)
_FILL = (
    r"(?:[ ]*(?:exactly|precisely|just|only|simply|equal to|about|approximately|roughly|around|therefore|thus|hence|"
    r"then|indeed|again|in fact|also|the (?:number|value|integer|fraction|final answer|answer|result)|"
    r"an? [a-z]+(?: value)? of|an? (?:total|value|number|answer|result|remainder|final answer|sum|probability)|"
    r"an?|remainder|"
    r"length|area|volume|radius|measure|size|not|[=:\"'(\[{~-]|[a-zA-Z](?:_\w)? ?[<>]?=(?!=)|[a-zA-Z] ?[<>]|"
    r"[$€£]))*[ ]*$"
)
_STRONG = re.compile(
    rf"\b{_OWN}\b[^.;\n]{{0,60}}?(?:\b(?:is|are|was|be|being|equals?|becomes|comes? out (?:as|to|at))\b|[:=]){_FILL}",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"\b(?:(?:you |we |one |to |and |must |should |will |finally )*(?:get|gets|got|obtain|obtains|obtained|"
    r"obtaining|yield|"
    r"yields|yielding|give|gives|giving|gave|produce|produces|producing|arrive at|arrives at|arriving at|reach|reaches|"
    r"reaching|result in|results in|resulting in|comes? to|comes? out (?:as|to|at|of)|come out (?:as|to|at)|"
    r"turns? out (?:to be|as)|"
    r"ends? (?:up )?(?:with|at|in|on)|ending (?:up )?(?:with|at|in|on)|finish(?:es|ing)? (?:with|at|on)|leave|leaves|"
    r"lands? (?:on|at|in)|"
    r"leaving|left with|conclude|concludes|deduce|evaluates? to|simplif(?:y|ies) to|reduces? to|"
    r"works? out (?:to|as|at)|"
    rf"which is|which equals|it equals|this equals|that is|i\.e\.,?|namely|see|find|finding|has|have|had)){_FILL}",
    re.IGNORECASE,
)
_TOTAL = re.compile(  # what laws say too: the angles add up to 180 degrees
    rf"\b(?:amounts? to|adds? up to|equals?|equal(?:l?ing)?|makes|making|becomes|totals|sums? (?:up )?to){_FILL}",
    re.IGNORECASE,
)
_COPULA = re.compile(
    rf"(?P<subject>[^.;:\n,]*?)(?:\b(?P<verb>is|are|equals?|be|being|becomes|remains|of)\b|(?<=[A-Za-z]):|"
    rf"(?<=[A-Za-z]) :|=){_FILL}",
    re.IGNORECASE,
)
_SAME = re.compile(
    r"(?:(?<=[A-Za-z]):|(?<=[A-Za-z] ):|[⇒]|(?:^|[ ,])(?:so|thus|hence|therefore|finally|ans|answer))[ ]*$",
    re.IGNORECASE,
)
_LATER = re.compile(
    r"[ \"')\]}]*,?[ ]*(?:which )?(?:(?:is|are|as|being|will be|must be|was|becomes|turns out to be)[ ]"
    r"(?:then |therefore |thus )?"
    r"(?:the|your|our|what|correct|right|a solution)\b(?P<rest>[^.;\n]{0,60})|(?:works|satisf(?:y|ies)|"
    r"is correct|is right)\b)",
    re.IGNORECASE,
)
_END = re.compile(
    r"[ ]*(?:$|[.,;:!?)\]}\n\"']|(?:as|for|in all|in total|altogether|so far|left|remaining|over|more|which|and|"
    r"so|because|since|is|are|overall|here)\b"
    r"|\\\}|[%€$£])"
)
_NOUN = re.compile(r"[ -]*(?:different |distinct |possible |such |real |positive |square |cubic )*([A-Za-z]{1,20})")
_COUNTED = re.compile(
    r"\b(?:there (?:are|is|will be|must be)|exactly|a total of|in total|altogether|has|have|count(?:s|ing)?|makes?)"
    r"(?: exactly| only| just| a total of)?[ ]*$",
    re.IGNORECASE,
)


def question_words(problem: str) -> frozenset[str]:
    """Stems of the words of the sentences that ask."""
    asked = [
        sentence
        for sentence in re.split(r"[.!\n](?!\d)", problem[-3_000:])
        if re.search(
            r"\?|\b(?:find|what|how|compute|determine|evaluate|calculate|which|give|simplify|solve)\b", sentence, re.I
        )
    ]
    words = re.findall(r"[A-Za-z]{3,}", " ".join(asked))
    return frozenset(stem(word) for word in words) - QUESTION_WORDS


_ASKED = re.compile(
    r"\bhow (?:many|much)((?: [a-z-]+){1,4}?)(?= (?:are|is|do|does|did|can|could|will|would|have|has|of|in|with|"
    r"that|there|"
    r"satisfy|must|should|for|if|to|on|at|from)\b|[?.,])",
    re.IGNORECASE,
)


def counted_words(problem: str) -> frozenset[str]:
    """Stems of what `how many` asks for, its last word: `sides` of `how many sides does it have`."""
    return frozenset(stem(match[1].split()[-1]) for match in _ASKED.finditer(problem[-3_000:]))


def counts(text: str, node: Node, asked: frozenset[str]) -> bool:
    """`nine sides` where sides are asked for; not under a condition and not of a law (`a square has 4 sides`)."""
    noun = _NOUN.match(text[node.end : node.end + 60])
    if noun is None or stem(noun[1]) not in asked:
        return False
    left = before(text, node.start)
    return not (LAW.search(left) or CONDITION.search(left) or belongs_to_theorem(text, node))


def ends(text: str, node: Node, nouns: frozenset[str]) -> bool:
    """Whether a number ends its phrase, or is followed by what the problem asks for (`4 days`)."""
    right = text[node.end : node.end + 60]
    if _END.match(right):
        return True
    noun = _NOUN.match(right)
    return noun is not None and stem(noun[1]) in nouns


def announced(text: str, node: Node, nouns: frozenset[str], *, any_subject: bool = False) -> bool:
    """Whether the text states the number as a result.

    Args:
        node: a number or expression that is not part of a longer one.
        nouns: stems of what the problem asks for; `is 2` counts only after one of them or after `answer` and the like.
        any_subject: `is 2` counts after any subject (for intermediate results).
    """
    left = before(text, node.start)
    trivial = node.value is not None and abs(node.value[0]) in (0.0, 1.0)
    law = belongs_to_theorem(text, node) or LAW.search(left) is not None
    later = _LATER.match(text[node.end : node.end + 120])
    if later and not law and _later(later, nouns):
        return True
    right = text[node.end : node.end + 60]
    noun = _NOUN.match(right)
    if noun and _COUNTED.search(left) and stem(noun[1]) in nouns and not law and not CONDITION.search(left):
        return True
    if not ends(text, node, nouns - GENERIC_NOUNS if any_subject else nouns):
        return False
    if _STRONG.search(left):
        return True
    if re.search(r"\b(?:set|sets|setting|put|let|make)\b[^,;]*$", left, re.I):
        return False
    if _VERB.search(left) or (_TOTAL.search(left) and not law and not trivial and not CONDITION.search(left)):
        return not re.search(r"\b(?:if|when|until|unless|so that|such that|whether)\b[^,]*$", left, re.I)
    copula = _COPULA.search(left)
    # Laws speak of all: the corner angles *are* 90 degrees, a sum *of* 180 degrees.
    general = (law and (any_subject or copula["verb"] in ("of", "are"))) if copula else True
    if copula and not general and not (any_subject and copula["verb"] == "of") and not CONDITION.search(left):
        subject = {stem(word) for word in re.findall(r"[A-Za-z]{2,}", copula["subject"])}
        subject |= {"probability"} if subject & {"chance", "likelihood", "odd"} else set()
        head = subject & (nouns | {"it", "this", "answer", "result", "total", "value", "count"})
        if any_subject or (head and (not trivial or bool(subject & (nouns | {"answer", "result", "value"})))):
            return True
    return bool(_SAME.search(left)) and bool(re.match(r"[ ]*(?:$|[.;!\n)])", right))


def _later(match: re.Match[str], nouns: frozenset[str]) -> bool:
    rest = match["rest"]
    if rest is None:
        return True
    words = {stem(word) for word in re.findall(r"[A-Za-z]{2,}", rest)}
    return bool(words & nouns) or bool(re.search(rf"\b{_OWN}\b|you want|asked|sought|required|wanted", rest, re.I))
