r"""What the sentences of a response claim of its final answer: one reader, behind a box and where there is none.

A *claim* is a sentence that opens as one ("So the final answer is", "Wait, it should be"), has the answer itself for
its subject, and a value behind its verb. Others only mention an answer: "for n = 1 the answer is 1", "twice the
answer is 24", "the answer was 2/3".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sgpo.mathtext.tokens import CARDINALS

_LOOK_BACK = 12
_OF_A_CASE = r"=(?=\s*-?\d+\s+(?:is|are)\b)"  # the answer for n = 2 is 3
_VERB = (
    r"(?:(?:is|are|was|equals|becomes|(?:must|should|would) be|comes to|turns out to be)\b(?!n['’]t)|:"
    rf"|(?!{_OF_A_CASE})=|→)"
)
ANCHOR = re.compile(
    r"(?P<noun>final\s+answer|answer|result|solution|(?:correct|right|best)\s+(?:option|choice))s?\s*(?:\*\*?|__?|\})?"
    r"(?:\s*\([^()\n]{1,60}\))?"
    rf"(?P<tail>\s+(?:to|for|of)\s+(?:[^.\n:=$?!]|{_OF_A_CASE}){{1,80}}?|,? (?:then|therefore|thus),?)?"
    r"\s*(?P<verb>" + _VERB + r")\s*(?:\*\*|__)?\s*:?\s*"
    r"|(?:答案|结果)(?:应该|应)?[是为选：:】]+\s*|(?:故|应|正确)?选[：:]?\s*(?=[A-H])|故选[：:]?\s*|(?:答え|정답|답)\s*[は은:：]\s*"
    r"|(?<!\w)(?:r[ée]ponse|respuesta|resposta|risposta|antwort|ответ|odpowied[źz]|đáp án)(?:\s+(?:fin|corre)\w+)?\s*"
    r"(?:(?:est|es|é|è|ist|lautet|to|là|:)(?!\w)|[—–])\s*:?\s*"
    r"|(?<!\w)(?:উত্তর|సమాధానం|คำตอบ|उत्तर|jibu|jawaban|cevap|svar|odpověď|antwoord|răspuns|відповідь|απάντηση|vastaus|الجواب|الإجابة)"
    r"\s*(?:(?:হল|হলো|คือ|है|ni|adalah|är|er|je|is|este|είναι|on|هو|هي)(?!\w)\s*:?|:)\s*"
    r"|^[ \t>*_]*(?P<short>A|Ans|ANS|Answer|ANSWER)\.?(?:\*\*?|__?)?\s*[:=](?:\*\*?|__?)?\s*"
    r"|^[ \t>#*_]*(?:the\s+)?(?P<title>(?:final\s+)?answer)[ \t*_:]*\n\s*",
    re.IGNORECASE | re.MULTILINE,
)
MATH = re.compile(
    r"\$\$(?P<a>[^$]+)\$\$|(?<!\\)\$(?P<b>(?:\\\$|[^$])+?)(?<!\\)\$(?!\d)|\\\((?P<c>.+?)\\\)|\\\[(?P<d>.+?)\\\]",
    re.DOTALL,
)
JOIN = re.compile(r"\s*(?:,\s*and|,\s*or|,|;|and|or|或|和)\s*")
_SENTENCE_END = re.compile(
    r"(?<!\\)(?:[.?]|!(?!\s*[-+*/=×·]\s*[\d(\\]))(?=\s|$|[*_])|[。！？；।\n]|です|입니다|\s\((?:since|because|as|i\.e|rounded|approx)\b|，(?=[因所这即])|(?:,|,?\s+and)\s+not\b|,?\s+(?:in\s+(?:total|all)|altogether)\b|,?\s+or\s+equivalently\b"
    r"|,?(?<!\bor)\s+(?:because|since|which|where|so|as|i\.e|namely|that is|rather than|instead of|I hope)\b(?!\s*\$)",
    re.IGNORECASE,
)
COPULA = re.compile(r"(?<=[A-Za-z$)}])\s+(?:is|are|equals?)\s+(?=(?:\*\*)?(?:[-$\\\d(]|[A-J]\W*$))")
_ALTERNATIVE = re.compile(
    r"[^.\n]{0,40}?(?:\b(?:or|maybe|perhaps|possibly|alternatively|otherwise|unless|except|but (?:if|when))\b|\?)",
    re.IGNORECASE,
)
_UNIT = re.compile(r"[ \t]*(?:%|[A-Za-z]+[ \t]*(?=[.\n]|$))")
_SAYS = r"(?:say|claim|think|guess|argue|believe|expect|conclude|giv|get|got)\w*"
_SUPPOSED = re.compile(
    r"\b(?:if|whether|suppos\w*|assum\w*|unless|imagine|not|n['’]t|never|what|at first|initial|naive|tentative"
    r"|which(?!\s+(?:means?|gives?|gave|makes?|yields?|leaves?|implies|shows)\b)|reject\w*|rul\w+ out|dismiss\w*"
    r"|(?:forgett|ignor|neglect|omitt|overlook|misread|miscount)ing|would (?:\w+ )?(?:give|make|yield|get)"
    r"|(?:mistake|error|slip|trap)s? (?:is|was|gives?|yields?|leads?|makes?)"
    rf"|(?:wrong|incorrect|false|mistaken?|tempting)\b[^.,;:!?\n]*\b{_SAYS}|(?:one|you|we|i)\s+(?:\w+\s+)?thought"
    r"|(?:some|many|people|students?|others|(?:one|you|we|i)\s+(?:might|may|would|could))\s+(?:\w+\s+){0,2}"
    rf"{_SAYS})\b[^.,;:!?\n]*$|(?:如果|假设|若|是否)[^，。；\n]*$|\b(?:earlier|previous|former|first)\s+$"
    r"|\b(?:wrong|incorrect|false|invalid|doubt\w*|unlikely|impossible)\s*(?:that\s*)?(?:(?:the|our|my|this)\s*)?$",
    re.IGNORECASE,
)
NEGATION = re.compile(r"\W*(?:not|never|no longer|neither|anything but|nowhere|far from)\b(?!\W*$)", re.IGNORECASE)
_BUT = re.compile(r"not\b[^.\n]*?\bbut(?: rather)?\s+")  # "not 41 but 42"
_FILLER = re.compile(
    r"(?:(?:therefore|thus|hence|then|now|simply|just|exactly|indeed|clearly|equal to|given by|that|also|either|"
    r"precisely|approximately|about|option|choice|only|the number|number|the value|[:,])\s+)+",
    re.IGNORECASE,
)
VALUE = re.compile(
    rf"[-+±−]?\s*(?:[$€£]?\s*\.?\d|[$\\(\[{{|√∞π½¼¾⅐-⅞]|[A-Za-z]'?(?:_\w+|\([a-z]\))?\s*(?:[=<>≤≥^+*/-]|[.,;:!)]|$)|(?:{'|'.join(CARDINALS)})\b)",
    re.IGNORECASE,
)
_PREDICATES = frozenset({  # of an answer, and words that no name holds
    "correct", "right", "wrong", "incorrect", "valid", "invalid", "verified", "confirmed", "checked", "helpful",
    "clear", "complete", "completed", "unique", "obvious", "simple", "reasonable", "consistent", "useful",
    "straightforward", "easy", "hard", "difficult", "found", "shown", "given", "obtained", "derived", "based",
    "explained", "follows", "follow", "below", "above", "known", "ready", "trivial", "interesting",
    "independent", "as", "by", "in", "to", "from", "on", "at", "with", "that", "this", "what", "how", "when",
    "here", "there", "accurate", "plausible", "sound", "done", "satisfactory", "sensible", "good", "fine",
    "great", "close", "expected", "required", "needed", "indeed", "acceptable", "unclear", "uncertain",
    "unknown", "wanted", "desired", "it", "you", "i", "we", "they", "now", "then", "stated",
})  # fmt: skip
_BOLD_MARK = re.compile(r"(?<![\w)])\*\*|\*\*(?![\w(])")  # and no power: x**2
_YES = re.compile(r"(?:yes|no)(?=\s*[,.;])(?!.*\b(?:unless|except|but|though|although)\b)", re.IGNORECASE)
# Words that take an answer back, and others that only begin to doubt it: what is claimed behind either is another one.
BACK = (
    r"(?:oops|just kidding|(?:scratch|ignore|disregard|strike) (?:that|this|the above|my)|my (?:mistake|bad|error)"
    r"|(?:correct(?:ion|ing)|edit|typo)(?=\s*[:,—–-])|i(?:'m| am| was) (?:wrong|mistaken)"
    r"|(?<!be )(?<!aps )i (?:have )?made an? (?:\w+ )?(?:mistake|error)"
    r"|i (?:mis(?:read|count|calculat)\w*|double[- ]?counted|overlooked|forgot(?! to mention)|missed)"
    r"|should have been|change my answer|更正)"
)
DOUBT = (
    r"(?:wait|sorry(?! for)|actually|hold on|on (?:second thought|reflection)|no|oh|hmm+"
    r"|re(?:comput|calculat|consider|count|do)ing|不对|等等)"
)
START = r"(?:\A|[.!?;\n。—>])[^\w.!?;\n]{0,6}"
TURNS = rf"(?:(?:{BACK}|{DOUBT})[\s,:;.!—–-]{{1,6}}){{1,5}}"
# How a claim begins, from the start of its sentence up to its subject: perhaps by a phrase, but by none that sets a
# case, a form or a check ("for n = 1,", "as a decimal,", "numerically,", "Check:"). Of any other phrase ("In fact,",
# "With the border,") what follows is a claim: a wrong answer that passes is worse than a right one that fails.
ASIDE = (
    r"(?:(?:after|before|by|within)\W+(?:\d|another|each|every|one|two|three)\b|(?:for|when|with|at)\W+(?:\$?[a-z]\$?\s*(?:[=<>≤≥]|\\[lg])|example|instance|reference|comparison|any|other"
    r"|general|the other)"
    r"|(?:if|unless|without|had|otherwise|to check|check\w*|try|verif\w*|note|remark|example|(?:more )?general\w*|case"
    r"|part|as an?(?! result)"
    r"|in(?! (?:conclusion|summary|total|short|fact|other words|this|that|our|the (?:end|form|required|requested))\b)"
    r"|numerically|approximately|roughly|equivalently|alternatively|similarly|originally|previously|initially)\b)"
)
LEAD = (
    rf"(?:{START}(?:{TURNS}(?:[^.!?:;\n]{{1,80}},\s+)?"
    rf"|(?![^\w\n]{{0,6}}(?:(?:however|but|yet|so|then)\W{{1,3}})?{ASIDE})(?:[^.!?:;\n]{{1,80}},|(?:\w+\W{{1,3}}){{0,3}}\w+\W{{0,3}}:)\W{{1,4}})?"
    r"|[\s,:](?=(?:so|thus|hence|therefore|the\s+(?:correct|final))\b))"
    r"(?:(?:so|thus|hence|therefore|then|and|but|finally|now)\b[\s,:]{1,6}){0,3}"
    r"(?:(?:in|with)\s+(?:this|that|our)\s+\w+\s+)?(?:(?:we|i|this)\s+(?:\w+\s+){1,3}?(?:that\s+)?)?"
)
_LEAD_CHARS = 160
_KIND = (
    "(?:(?:final|correct|corrected|right|new|revised|updated|true|real|actual|overall|only|other|another|required)\\s+)"
)
_OWN = re.compile(rf"{LEAD}(?:the value of )?(?:(?:the|my|our|this|an)\s+)?{_KIND}{{0,3}}\Z", re.IGNORECASE)
# Such a claim in the middle of its sentence; none of a part or a multiple of the answer ("twice the answer").
_NAMED = re.compile(
    rf"(?<!\bof )(?<!\btwice )(?<!\bhalf )(?<!\bthan )(?:the|my|our)\s+(?P<kind>{_KIND}{{0,3}})\Z", re.I
)
_CONTRAST = re.compile(r"\b(?:however|but|yet|still|(?:includ|count|add)ing)\b", re.IGNORECASE)
_IS_ASIDE = re.compile(rf"\b(?:{ASIDE}|(?:wh(?:en|ere)|(?:say|claim|think|believe)s)\b)", re.IGNORECASE)
_OF_A_PART = re.compile(r"[\d(]|\b(?:part|case|first|second|other)\b", re.IGNORECASE)
# What stands behind an answer and says another that is not the response's: a remark, or what would be otherwise.
_REMARK = re.compile(
    r"(?:\A|\n)\W*(?:remark|generali[sz]ation|extension)s?\b[^\n]*\n?[^\n]*\Z|\bif\b[^.!?\n]*\b(?:were|had)\b[^.!?\n]*\Z",
    re.IGNORECASE,
)


def last(matches: Iterable[re.Match[str]]) -> Iterator[re.Match[str]]:
    """The last matches, from the end."""
    return reversed(list(matches)[-_LOOK_BACK:])


def first_sentence(text: str) -> str:
    """The first sentence of `text`, or its leading math segments where it opens with one."""
    text = text.strip()
    if (segment := MATH.match(text)) and len(re.findall(r"(?<!\\)\$", text.split("\n", 1)[0])) % 2 == 0:
        end = segment.end()
        while (join := JOIN.match(text, end)) and (following := MATH.match(text, join.end())):
            end = following.end()
        if _ALTERNATIVE.match(text, end):  # "$5$, or maybe $6$" states neither
            return text.split("\n", 1)[0]
        unit = _UNIT.match(text[end:])
        return text[: end + (unit.end() if unit else 0)]
    stop = _SENTENCE_END.search(text)
    if stop and stop.group() in ("?", "？"):
        return text[: stop.end()]
    text = text[: stop.start()] if stop else text
    copula = list(COPULA.finditer(text))  # "Final answer: the largest n is 34"
    return text[copula[-1].end() :] if copula else text


def _value_of(said: str, *, copula: bool, plain: bool) -> str | None:
    """What is said behind an anchor, where that is a value; None where it is prose. Behind a `copula` ("is") an
    adjective only describes ("is correct"); `plain` words are a value too ("the answer is Evelyn")."""
    said = _BOLD_MARK.sub("", said).strip().strip('*_`"“” ')
    rest = _FILLER.sub("", said, count=1) if _FILLER.match(said) else said
    if not rest or rest.endswith(("?", "？")):
        return None
    if VALUE.match(rest):
        return rest
    if plain and _YES.match(rest):
        return re.split(r"\W", rest, maxsplit=1)[0]
    words = re.findall(r"[A-Za-z']+", rest.lower())
    if not plain or not 0 < len(words) <= 6 or (copula and set(words) & _PREDICATES):
        return None
    return rest


def _own(before: str, noun: str) -> bool:
    """Whether what stands before "answer" makes it the response's own: it opens a claim; or its sentence sets no case,
    and calls it final or opposes it to what was said ("However, with the border the final answer is")."""
    sentence = re.split(r"[.!?:;\n]", before)[-1]
    named = None if _IS_ASIDE.search(sentence) else _NAMED.search(sentence)
    within = named and (noun == "final answer" or named["kind"] or (noun == "answer" and _CONTRAST.search(sentence)))
    return bool(within or _OWN.search(before))


@dataclass(frozen=True)
class Claim:
    """What one anchor says of the answer: a `value`, or none; `words`, its sentence (of "not 41 but 42" the second
    number); whether it says what the answer is not, only supposes it, is a claim of the final answer, and only tells of
    the past or of another case. What is neither a claim nor told so is said in words that this module does not know."""

    value: str | None
    words: str
    denied: bool
    supposed: bool
    own: bool
    aside: bool


def claim_at(text: str, anchor: re.Match[str]) -> Claim:
    """What the sentence around an anchor says."""
    said = anchor.groupdict()
    before = text[max(0, anchor.start() - _LEAD_CHARS) : anchor.start()]
    words = _BUT.sub("", first_sentence(text[anchor.end() :]), count=1)
    noun, verb = said.get("noun"), said.get("verb") or ":"
    value = _value_of(words, copula=verb not in (":", "="), plain="answer" in (noun or "answer").lower())
    own = not noun or (verb != "was" and not _OF_A_PART.search(said["tail"] or "") and _own(before, noun.lower()))
    aside = verb == "was" or bool(_REMARK.search(before))
    value = None if value and "boxed" in value else value
    supposed = text[anchor.start()] not in ".!;\n。" and bool(_SUPPOSED.search(before[-120:]))
    return Claim(value, words, bool(NEGATION.match(words)), supposed, own, aside)
