"""What the words around a number make of it: a label (`Step 2`), a number of a theorem (`180 degrees`), or a result
that is announced (`which gives 2`, `the remainder is 2`).
"""

from __future__ import annotations

import re

from sgpo.strategies.leakage.expressions import Node

_SENTENCE = re.compile(r"(?<!i\.e)(?<!e\.g)(?<![ (]i)(?<![ (]e)[.;](?!\d)|[!?](?=\s+[A-Z]|\s*$)|\n")
_LABEL = re.compile(
    r"(?:\b(?:step|case|part|figure|fig|equation|eq|theorem|lemma|phase|stage|rule|method|option|chapter|section|stage|"
    r"example|exercise|problem|type|property|axiom|condition|line|item|idea|claim|fact|note|approach|formula|level)s?"
    r"|#)[ .:(#]*(?:\d+[ ,]*(?:and|or|to|-|,|&)[ ]*)*$",
    re.IGNORECASE,
)
_LIST_MARK = re.compile(r"(?:^|\n)[ \t(]*$")
_AFTER_MARK = re.compile(r"[.):](?!\d)")
_ORDINAL = re.compile(r"(?:\^?\{?)?(?:st|nd|rd|th)\b|-(?:st|nd|rd|th)\b")
_COMPOUND = re.compile(
    r"-(?:by|digit|sided?|gon|dimension\w*|element|step|letter|variable|term|way|fold|point|face|faced|card|year|hour|"
    r"tuple|cycle|set|adic|bit|member|person|column|row|part|move|color\w*|colour\w*|d\b|D\b)|D\b|[ -]by[ -]\d"
)
_BASE = re.compile(
    r"(?:\bmod(?:ulo|ulus)?|\\[pb]?mod|\bbase|\blog_|\bdivisib\w+ by|\bmultiples? of|\bpowers? of|\bdivisors? of|"
    r"\bcoprime (?:to|with)|\bprime to|\bremainder (?:on|when|after|upon)\b[^.;\n]{0,30}\bby)"
    r"[ ({:]*(?:\d+(?:, ?(?:and |or )?| and | or )(?:by )?)*$",
    re.IGNORECASE,
)
_EXAMPLES = re.compile(
    r"(?:\bprimes?|\bprime factors|\bsuch as|\blike|\be\.g\.?,?|\bfor example,?|\bfor instance,?|\bincluding|\bamong)"
    r"[ :]*(?P<list>(?:\d+(?:, ?(?:and |or )?| and | or ))*)$",
    re.IGNORECASE,
)
_MORE = re.compile(r"(?: ?, ?(?:and |or )?| and | or )\d+")
# Numbers of general knowledge, with the words that must stand in the same sentence.
_KNOWN: dict[float, re.Pattern[str]] = {
    number: re.compile(words, re.IGNORECASE)
    for number, words in {
        180: r"degree|angle|\bpi\b|\\pi|radian|triangle|polygon|n *- *2|interior|supplement|half.turn",
        360: r"degree|angle|circle|turn|revolution|polygon|exterior|rotation|circumference|\\pi",
        90: r"degree|angle|right|perpendicular|complement|rotat|quarter.turn",
        270: r"degree|angle|rotat",
        60: r"hour.*minute|minute.*(?:hour|second|degree|arc)|second.*minute|degree.*minute|convert|clock|equilateral",
        3600: r"hour.*second|second.*hour|convert",
        24: r"hours?\b.*\bday|\bday.*hours?\b|clock|convert",
        12: r"months?\b.*\byear|year.*month|inch.*f[eo][eo]t|f[eo][eo]t.*inch|clock|dozen|convert",
        365: r"day.*year|year.*day",
        366: r"day.*year|year.*day",
        52: r"week.*year|year.*week|card|deck",
        26: r"letter|alphabet",
        13: r"\bcard|rank|suit",
        16: r"ounce|hexadecimal|pound",
        3.14: r"\bpi\b|\\pi",
        9.8: r"gravit|accelerat",
        9.81: r"gravit|accelerat",
        2.54: r"inch|centimet",
        1.5: r"interquartile|outlier",
        7: r"day.*week|week.*day",
        25: r"quarter|modulo 4\b|modulo 100\b|digit",
        100: r"percent|%|\bcents?\b|centi|hundredth|modulo",
        1000: r"kilo|milli|gram|met(?:er|re)|lit(?:er|re)|thousand|modulo",
        5280: r"mile|feet",
    }.items()
}
_LARGEST_BASE = 16  # `modulo 9`, `multiples of 11`; a larger modulus that is not the problem's was computed
_ROUND_BASES = {25.0, 100.0, 1000.0}
_ANGLES = {90.0, 180.0, 270.0, 360.0}  # at home anywhere in a strategy about angles
_STANDARD_ANGLES = {30.0, 45.0, 60.0}
# A law's coefficient: `1/3 of the base area times the height`, `2/3 of the median`, `4/3 pi r^3`.
_COEFFICIENT = re.compile(
    r"[ ]*(?:\*|of (?:the|a|an|its|that|each|this)\b|times (?:the|a|its)\b|the (?:product|base|area|sum)\b|base\b|"
    r"height\b|area\b|\(?[A-Za-z]{1,2}\b(?! ?[a-z]{3})|\\pi)"
)
_OWN = r"(?:answers?|results?|solutions?|ans|outcome|output|conclusion|final (?:value|number|count|figure)|correct (?:value|choice|one)|(?:value|number|quantity|what) (?:that )?(?:you|we) (?:want|seek|need|look for))"
_FILL = (
    r"(?:[ ]*(?:exactly|precisely|just|only|simply|equal to|about|approximately|roughly|around|therefore|thus|hence|"
    r"then|indeed|again|in fact|also|the (?:number|value|integer|fraction|final answer|answer|result)|"
    r"an? (?:total|value|number|count|maximum|minimum|sum|probability|answer|result|remainder|final answer)(?: value)?"
    r"(?: of)?|an?|remainder|not|[=:\"'(\[{~-]|[a-zA-Z](?:_\w)? ?[<>]?=(?!=)|[a-zA-Z] ?[<>]|[$€£]))*[ ]*$"
)
_STRONG = re.compile(
    rf"\b{_OWN}\b[^.;\n]{{0,60}}?(?:\b(?:is|are|was|be|being|equals?|becomes|comes? out (?:as|to|at))\b|[:=]){_FILL}",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"\b(?:(?:you |we |one |to |and |must |should |will |finally )*(?:get|gets|got|obtain|obtains|obtained|obtaining|yield|"
    r"yields|yielding|give|gives|giving|gave|produce|produces|producing|arrive at|arrives at|arriving at|reach|reaches|"
    r"reaching|result in|results in|resulting in|comes? out (?:as|to|at|of)|come out (?:as|to|at)|turns? out (?:to be|as)|"
    r"ends? (?:up )?(?:with|at|in|on)|ending (?:up )?(?:with|at|in|on)|finish(?:es|ing)? (?:with|at|on)|leave|leaves|"
    r"leaving|left with|conclude|concludes|deduce|evaluates? to|simplif(?:y|ies) to|reduces? to|works? out (?:to|as|at)|"
    rf"which is|that is|i\.e\.,?|namely|see|find|finding|has|have|had)){_FILL}",
    re.IGNORECASE,
)
_TOTAL = re.compile(  # what laws say too: the angles add up to 180 degrees
    rf"\b(?:amounts? to|adds? up to|equals?|equal(?:l?ing)?|makes|making|becomes|totals|sums? (?:up )?to){_FILL}", re.IGNORECASE
)
_COPULA = re.compile(rf"(?P<subject>[^.;:\n,]*?)(?:\b(?P<verb>is|are|equals?|be|being|becomes|remains|of)\b|(?<=[A-Za-z]):|(?<=[A-Za-z]) :|=){_FILL}", re.IGNORECASE)
_LAW = re.compile(r"^\W*(?:an?|every|each|any|all) ", re.IGNORECASE)  # a square has 4 sides
_SAME = re.compile(r"(?:(?<=[A-Za-z]):|(?<=[A-Za-z] ):|[⇒]|(?:^|[ ,])(?:so|thus|hence|therefore|finally|ans|answer))[ ]*$", re.IGNORECASE)
_CONDITION = re.compile(
    r"\b(?:if|when|whenever|whether|until|unless|such that|so that|whose|where|each|every|any|suppose|assume|let|set|put|"
    r"setting|for all|recall|remember|because|since|law|theorem|always|general(?:ly)?|case|must be|should be|known)\b",
    re.IGNORECASE,
)
_LATER = re.compile(
    r"[ \"')\]}]*,?[ ]*(?:(?:is|are|as|being|will be|must be|was|becomes|turns out to be)[ ](?:then |therefore |thus )?"
    r"(?:the|your|our|what|correct|right|a solution)\b(?P<rest>[^.;\n]{0,60})|(?:works|satisf(?:y|ies)|is correct|is right)\b)",
    re.IGNORECASE,
)
_END = re.compile(
    r"[ ]*(?:$|[.,;:!?)\]}\n\"']|(?:as|for|in all|in total|altogether|so far|left|remaining|over|more|which|and|so|because|since|is|are|overall|here)\b"
    r"|\\\}|[%€$£])"
)
_NOUN = re.compile(r"[ -]*(?:different |distinct |possible |such |real |positive |square |cubic )*([A-Za-z]{1,20})")
_COUNTED = re.compile(
    r"\b(?:there (?:are|is|will be|must be)|exactly|a total of|in total|altogether|has|have|count(?:s|ing)?|makes?)"
    r"(?: exactly| only| just| a total of)?[ ]*$",
    re.IGNORECASE,
)
GENERIC_NOUNS = frozenset(
    "case step unknown variable equation side part digit term factor point dimension type kind condition set leg angle "
    "vertex vertice number quantity value expression inequality congruence operation root solution group class category "
    "way method stage phase triangle circle integer event draw choice option possibility function parameter degree time "
    "half formula identity prime element piece line row column constraint piece number people person item figure limit "
    "endpoint bound sum product power exponent sign law rule clue fact relation edge face place place decimal".split()
)


def stem(word: str) -> str:
    """A crude singular, lower case."""
    word = word.lower()
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def before(text: str, position: int, reach: int = 120) -> str:
    """What stands before a position in its sentence."""
    left = text[max(0, position - reach) : position]
    ends_here = 0
    for end in _SENTENCE.finditer(left):
        ends_here = end.end()
    return left[ends_here:]


def after(text: str, position: int, reach: int = 80) -> str:
    """What stands after a position in its sentence, its end mark included."""
    right = text[position : position + reach]
    end = _SENTENCE.search(right)
    return right[: end.end()] if end else right


def labels(text: str, node: Node) -> bool:
    """`Step 2`, `2.` at the head of a line, `2nd`, `4-digit`, `3-4-5`: not a quantity at all."""
    left, right = text[max(0, node.start - 60) : node.start], text[node.end : node.end + 16]
    if _LABEL.search(left) or _ORDINAL.match(right) or _COMPOUND.match(right):
        return True
    if left.endswith(("_", "_{")):
        return True
    return bool(_LIST_MARK.search(left) and _AFTER_MARK.match(right))


def belongs_to_theorem(text: str, node: Node) -> bool:
    """A number of general knowledge in its surroundings: 180 beside angles, 60 minutes in an hour, 11 in `modulo 11`."""
    value = node.value[0] if node.value else 0.0
    left, right = before(text, node.start), after(text, node.end)
    known = _KNOWN.get(abs(value))
    if known and known.search(text if abs(value) in _ANGLES else left + text[node.start : node.end] + right):
        return True
    if value in _STANDARD_ANGLES and any(f"{angle:g}" in left + right for angle in _STANDARD_ANGLES):
        return True
    return in_base(text, node)


def in_base(text: str, node: Node) -> bool:
    """`modulo 7`, `base 12`, `multiples of 15`; `primes such as 2, 3 and 5`, where three or more are listed."""
    value, left = abs(node.value[0]) if node.value else 0.0, before(text, node.start)
    if (value <= _LARGEST_BASE or value in _ROUND_BASES) and _BASE.search(left):
        return True
    examples = _EXAMPLES.search(left)
    following = text[node.end : node.end + 40]
    count = len(re.findall(r"\d+", examples["list"])) if examples else 0
    more = _MORE.match(following)
    while more:
        count += 1
        following = following[more.end() :]
        more = _MORE.match(following)
    return bool(examples) and count >= 2


def is_conditional(text: str, node: Node) -> bool:
    """Said of each, of any, or under a condition: a law rather than a result."""
    return bool(_CONDITION.search(before(text, node.start)) or _CONDITION.search(after(text, node.end)))


def is_coefficient(text: str, node: Node) -> bool:
    """A fraction in front of what it multiplies in a law."""
    return bool(_COEFFICIENT.match(text[node.end : node.end + 30]))


def question_words(problem: str) -> frozenset[str]:
    """Stems of the words of the sentences that ask."""
    asked = [
        sentence
        for sentence in re.split(r"[.!\n](?!\d)", problem[-3_000:])
        if re.search(r"\?|\b(?:find|what|how|compute|determine|evaluate|calculate|which|give|simplify|solve)\b", sentence, re.I)
    ]
    words = re.findall(r"[A-Za-z]{3,}", " ".join(asked))
    return frozenset(stem(word) for word in words) - _COMMON


_COMMON = frozenset(
    "the and for what find how many which with that are was were does its from each when where then than this there "
    "all possible let give compute determine evaluate calculate have has can will following given number if integer "
    "positive real divided first two three four one if into value exactly different such between least most function equal same total".split()
)


_ASKED = re.compile(
    r"\bhow (?:many|much)((?: [a-z-]+){1,4}?)(?= (?:are|is|do|does|did|can|could|will|would|have|has|of|in|with|that|there|"
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
    return not (_LAW.search(left) or _CONDITION.search(left) or belongs_to_theorem(text, node))


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
    law = belongs_to_theorem(text, node) or _LAW.search(left) is not None
    later = _LATER.match(text[node.end : node.end + 120])
    if later and not law and _later(later, nouns):
        return True
    right = text[node.end : node.end + 60]
    noun = _NOUN.match(right)
    if noun and _COUNTED.search(left) and stem(noun[1]) in nouns and not law and not _CONDITION.search(left):
        return True
    if not ends(text, node, nouns):
        return False
    if _STRONG.search(left):
        return True
    if re.search(r"\b(?:set|sets|setting|put|let|make)\b[^,;]*$", left, re.I):
        return False
    if _VERB.search(left) or (_TOTAL.search(left) and not law and not _CONDITION.search(left)):
        return not re.search(r"\b(?:if|when|until|unless|so that|such that|whether)\b[^,]*$", left, re.I)
    copula = _COPULA.search(left)
    if copula and not _CONDITION.search(left) and not (law and (any_subject or copula["verb"] == "of")):
        subject = {stem(word) for word in re.findall(r"[A-Za-z]{2,}", copula["subject"])}
        subject |= {"probability"} if subject & {"chance", "likelihood", "odd"} else set()
        head = subject & (nouns | {"it", "this", "answer", "result", "total", "value", "count"})
        trivial = node.value is not None and abs(node.value[0]) in (0.0, 1.0)
        if any_subject or (head and (not trivial or bool(subject & (nouns | {"answer", "result", "value"})))):
            return True
    return bool(_SAME.search(left)) and bool(re.match(r"[ ]*(?:$|[.;!\n)])", right))


def _later(match: re.Match[str], nouns: frozenset[str]) -> bool:
    rest = match["rest"]
    if rest is None:
        return True
    words = {stem(word) for word in re.findall(r"[A-Za-z]{2,}", rest)}
    return bool(words & nouns) or bool(re.search(rf"\b{_OWN}\b|you want|asked|sought|required|wanted", rest, re.I))
