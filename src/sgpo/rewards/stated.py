r"""The answer of a response without a box: what is stated last ("the answer is 42", "#### 42", `<answer>42</answer>`).

An anchor counts only where it states a value: "I hope this solution is helpful" and "the answer is correct" state
none, "if the answer is 5" and "the answer is not 5" state none either, and then nothing is guessed from the last line.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

LOOK_BACK = 12  # anchors

TAGGED = re.compile(r"<(?:final_?)?answer>\s*(.*?)\s*(?:</(?:final_?)?answer>|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"</?(?:final_?)?answer>", re.IGNORECASE)
_HASHES = re.compile(r"####[ \t]*([^\n]*)")
_HEADING = re.compile(
    r"(?:\d+\s*[.):]\s*[A-Za-z]|(?:\*\*)?(?:step|part|case|solution|conclusion|final|answer|explanation|summary|problem|"
    r"given|approach|check|verif|method|calculat|question|note|result)(?![a-z]*\s*(?:is|=|:)\s*\S))",
    re.IGNORECASE,
)
_OF_A_CASE = r"=(?=\s*-?\d+\s+(?:is|are)\b)"  # the answer for n = 2 is 3
_VERB = (
    r"(?:(?:is|are|was|equals|(?:must|should|would) be|comes to|turns out to be)\b(?!n['’]t)|:"
    rf"|(?!{_OF_A_CASE})=|→)"
)
ANCHOR = re.compile(
    r"(?P<noun>final\s+answer|answer|result|solution|(?:correct|right|best)\s+(?:option|choice))s?\s*(?:\*\*?|__?|\})?"
    r"(?:\s*\([^()\n]{1,60}\))?"
    rf"(?:\s+(?:to|for|of)\s+(?:[^.\n:=$?!]|{_OF_A_CASE}){{1,80}}?|,? (?:then|therefore|thus),?)?"
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
_JSON = re.compile(  # at the end of a response, in a fence or not
    r'"(?:final[_ ]?)?answer"\s*:\s*("(?:[^"\\]|\\.)*"|\[[^\[\]{}]*\]|-?\d[\d.]*)\s*(?:,[^{}]*)?\}\s*(?:```)?\s*\Z',
    re.IGNORECASE,
)
MATH = re.compile(
    r"\$\$(?P<a>[^$]+)\$\$|(?<!\\)\$(?P<b>(?:\\\$|[^$])+?)(?<!\\)\$|\\\((?P<c>.+?)\\\)|\\\[(?P<d>.+?)\\\]", re.DOTALL
)
_JOIN = re.compile(r"\s*(?:,\s*and|,\s*or|,|;|and|or|或|和)\s*")
_SENTENCE_END = re.compile(
    r"(?<!\\)[.!?](?=\s|$|[*_])|[。！？；।\n]|です|입니다|\s\((?:since|because|as|i\.e|rounded|approx)\b|，(?=[因所这即])|(?:,|,?\s+and)\s+not\b|,?\s+or\s+equivalently\b"
    r"|,?(?<!\bor)\s+(?:because|since|which|where|so|as|i\.e|namely|that is|rather than|instead of|I hope)\b(?!\s*\$)",
    re.IGNORECASE,
)
_COPULA = re.compile(r"(?<=[A-Za-z$)}])\s+(?:is|are|equals?)\s+(?=(?:\*\*)?[-$\\\d(])")
_ALTERNATIVE = re.compile(r"[^.\n]{0,40}?(?:\b(?:or|maybe|perhaps|possibly|alternatively)\b|\?)", re.IGNORECASE)
_UNIT = re.compile(r"[ \t]*(?:%|[A-Za-z]+[ \t]*(?=[.\n]|$))")
SUPPOSED = re.compile(
    r"\b(?:if|whether|suppos\w*|assum\w*|unless|imagine|not|n['’]t|never|what|which)\b[^.,;:!?\n]*$"
    r"|\b(?:wrong|incorrect|false|mistaken?|tempting)\b[^.,;:!?\n]*\b(?:say|claim|think|guess|argue|conclude)\w*\b"
    r"[^.,;:!?\n]*$|\b(?:(?:some|many|people|students?|others)\s+(?:\w+\s+){0,2}(?:say|claim|think|guess|argue|believe)|"
    r"(?:one|you|we|i)\s+(?:(?:might|may|would|could)\s+(?:\w+\s+)?(?:think|guess|believe|expect)|(?:\w+\s+)?thought)|"
    r"at first|initial|naive|tentative)\b[^.,;:!?\n]*$|(?:如果|假设|若|是否)[^，。；\n]*$"
    r"|\b(?:earlier|previous|former|first)\s+$"
    r"|\b(?:wrong|incorrect|false|invalid|doubt\w*|unlikely|impossible)\s*(?:that\s*)?(?:(?:the|our|my|this)\s*)?$",
    re.IGNORECASE,
)
_GOES_ON = re.compile(r"\.\s+or(?=\s+(?:maybe|perhaps|possibly)\b)", re.IGNORECASE)  # It is 2. Or maybe 3.
_MARK = r"(?:(?:the\s+)?(?:final\s+)?\banswer(?:\s+is\b|\s*:)|####|<answer>)"
_AGAIN = re.compile(  # the answer is 2 or the answer is 3; <answer>2</answer> or <answer>3</answer>
    rf"(?P<first>{_MARK}\s*[^.\n<]{{1,80}}?)(?:</answer>)?,?\s+or\s+(?:(?:else|that|maybe)\s+)?{_MARK}\s*",
    re.IGNORECASE,
)
NEGATION = re.compile(r"\W*(?:not|never|no longer|neither|anything but|nowhere|far from)\b(?!\W*$)", re.IGNORECASE)
_BUT = re.compile(r"not\b[^.\n]*?\bbut(?: rather)?\s+")  # "not 41 but 42"
_FILLER = re.compile(
    r"(?:(?:therefore|thus|hence|then|now|simply|just|exactly|indeed|clearly|equal to|given by|that|also|either|"
    r"precisely|approximately|about|option|choice|only|the number|number|the value|[:,])\s+)+",
    re.IGNORECASE,
)
_NUMBER_WORD = (
    r"(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen|"
    r"(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred)"
)
VALUE = re.compile(
    rf"[-+±−]?\s*(?:[$€£]?\s*\.?\d|[$\\(\[{{|√∞π½¼¾⅐-⅞]|[A-Za-z]'?(?:_\w+|\([a-z]\))?\s*(?:[=<>≤≥^+*/-]|[.,;:!)]|$)|{_NUMBER_WORD}\b)",
    re.IGNORECASE,
)
_PREDICATES = frozenset({
    "correct", "right", "wrong", "incorrect", "valid", "invalid", "verified", "confirmed", "checked", "helpful",
    "clear", "complete", "completed", "unique", "obvious", "simple", "reasonable", "consistent", "useful",
    "straightforward", "easy", "hard", "difficult", "found", "shown", "given", "obtained", "derived", "based",
    "explained", "follows", "follow", "below", "above", "known", "ready", "trivial", "interesting",
    "independent", "as", "by", "in", "to", "from", "on", "at", "with", "that", "this", "what", "how", "when",
    "here", "there", "accurate", "plausible", "sound", "done", "satisfactory", "sensible", "good", "fine",
    "great", "close", "expected", "required", "needed", "indeed", "acceptable", "unclear", "uncertain",
    "unknown", "wanted", "desired", "it", "you", "i", "we", "they", "now", "then", "stated",
})  # fmt: skip
_NOT_SAID = re.compile(
    r"\b(?:not|n['’]t|cannot|never|neither|if|whether|maybe|perhaps)\b|n['’]t\b|[?≠]|\\neq?(?![a-z])", re.IGNORECASE
)
PROSE = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{2,}(?: +[A-Za-z]+){2}")
_BOLD_MARK = re.compile(r"(?<![\w)])\*\*|\*\*(?![\w(])")  # and no power: x**2
_YES = re.compile(r"(?:yes|no)(?=\s*[,.;])", re.IGNORECASE)
_NAMED = re.compile(r"\b(?:is|are|was|were)(?: an?| the)?\s+\*\*([A-Za-z][^*\n]{1,40}?)\*\*[.!]?\s*\Z")
_BOLD = re.compile(r"\*\*([^*\n]{1,80})\*\*")


def _cut_sentence(text: str) -> str:
    """The first sentence of `text`, or its leading math segments where it opens with one."""
    text = text.strip()
    segment = MATH.match(text)
    if segment and len(re.findall(r"(?<!\\)\$", text.split("\n", 1)[0])) % 2 == 0:
        end = segment.end()
        while True:
            join = _JOIN.match(text, end)
            following = MATH.match(text, join.end()) if join else None
            if following is None:
                break
            end = following.end()
        if _ALTERNATIVE.match(text, end):  # "$5$, or maybe $6$" states neither
            return text.split("\n", 1)[0]
        unit = _UNIT.match(text[end:])
        return text[: end + (unit.end() if unit else 0)]
    stop = _SENTENCE_END.search(text)
    if stop and stop.group() in ("?", "？"):
        return text[: stop.end()]
    text = text[: stop.start()] if stop else text
    copula = list(_COPULA.finditer(text))  # "Final answer: the largest n is 34"
    return text[copula[-1].end() :] if copula else text


def sentence(text: str) -> str:
    """What is said behind an anchor: the first sentence, and of "not 41 but 42" the second number."""
    return _BUT.sub("", _cut_sentence(text), count=1)


def value_of(said: str, *, copula: bool, plain: bool) -> str | None:
    """What is said behind an anchor, where that is a value; None where it is prose.

    Args:
        copula: the anchor ends in a verb ("is"), so that an adjective only describes ("is correct").
        plain: words are a value too ("the answer is Evelyn").
    """
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


def _hashes(text: str) -> str | None:
    """What follows the last `####` that states a value; headings of that depth state none."""
    for match in reversed(list(_HASHES.finditer(text))[-LOOK_BACK:]):
        said = _TAG.sub(" ", match.group(1)).strip().strip("#").strip()
        if said and not _HEADING.match(said):
            said = said if not re.search(r"(?<!\\)[.!?]\s+[A-Z]", said) else _cut_sentence(said)
            return said.strip().strip("*_ ")
    return None


def _unquoted(value: str) -> str:
    """A value of JSON as text. Backslashes stand as they are where they are no escapes of JSON: `"\\frac12"`."""
    try:
        found = json.loads(re.sub(r"(?<!\\)\\(?![\\\"])", r"\\\\", value))
    except ValueError:
        return value.strip('"')
    return ", ".join(map(str, found)) if isinstance(found, list) else str(found)


@dataclass(frozen=True)
class Statement:
    """What the end of a response states.

    Attributes:
        text: the answer, or None where there is none.
        line: all that stands behind the anchor on its line, for an answer that is prose itself.
        free: whether the answer may be looked for elsewhere; False where an anchor denies or supposes a value.
    """

    text: str | None
    line: str = ""
    free: bool = True


def states_value(text: str) -> bool:
    """Whether the end of a text states an answer that is no plain word."""
    said = stated(text).text
    return said is not None and VALUE.match(said) is not None


def begins_statement(text: str) -> bool:
    """Whether a text begins with words that state an answer: `答案：42`, `Final answer: 42`."""
    found = ANCHOR.match(text.strip())
    return found is not None and found["short"] is None and found["title"] is None


def stated(text: str) -> Statement:
    """The answer that the end of a response (its last few thousand characters) states."""
    text = _AGAIN.sub(r"\g<first> or ", _GOES_ON.sub(", or", text))
    return marked(text) or _anchored(text)


def marked(text: str) -> Statement | None:
    """The answer behind a mark that stands for nothing else: `####`, the "answer" of a JSON object, `<answer>`."""
    found = _hashes(text)
    if found:
        return Statement(found)
    if written := _JSON.findall(text):
        return Statement(_unquoted(written[-1]))
    tags = [match.group(1) for match in TAGGED.finditer(text) if match.group(1)]
    return _tagged(_TAG.split(tags[-1])[-1].strip()) if tags else None


def _tagged(content: str) -> Statement:
    """What `<answer>` holds: an answer as it stands, or prose that states one in turn."""
    found = _anchored(content)
    if found.text:
        return Statement(found.text, content)
    last = closing_line(content)
    if PROSE.search(MATH.sub(" ", last)) and (last != content or not VALUE.match(last)):
        formula = closing(last)
        copula = list(_COPULA.finditer(last))
        said = formula or (last[copula[-1].end() :] if copula else None)
        return Statement(said or content, content)
    return Statement(content.strip("*_ "))


def _anchored(text: str) -> Statement:
    """The last anchor that states a value."""
    anchors = list(ANCHOR.finditer(text))
    free = True
    for anchor in reversed(anchors[-LOOK_BACK:]):
        if anchor.group("short") == "A" and re.search(r"^\W*B\W", text[anchor.end() :], re.MULTILINE):
            continue  # the options of the question
        before = text[max(0, anchor.start() - 120) : anchor.start()]
        said = sentence(text[anchor.end() :])
        if NEGATION.match(said) or SUPPOSED.search(before):
            free = False
            continue
        noun = (anchor.group("noun") or "answer").lower()
        copula = (anchor.group("verb") or ":") not in (":", "=")
        value = value_of(said, copula=copula, plain="answer" in noun)
        if value and "boxed" not in value:
            return Statement(value, text[anchor.end() :].strip().split("\n", 1)[0])
        free = free and not said.strip().endswith(("?", "？"))
    return Statement(None, free=free)


def closing_line(text: str) -> str:
    """The last line of a text; all of it where it ends in a display, which may span lines."""
    return text if text.endswith(("\\]", "$$")) else text.rsplit("\n", 1)[-1]


def closing(line: str) -> str | None:
    """The last formulas of the closing line, or its only bold value; None also where the line denies or doubts."""
    if _NOT_SAID.search(MATH.sub(" ", line)):
        return None
    segments = list(MATH.finditer(line))
    if segments:
        first = len(segments) - 1
        while first and _JOIN.fullmatch(line[segments[first - 1].end() : segments[first].start()]):
            first -= 1
        if first < len(segments) - 1:
            return line[segments[first].start() : segments[-1].end()]
        return next(value for value in segments[-1].groupdict().values() if value is not None)
    bold = [match.group(1).strip() for match in _BOLD.finditer(line)]
    named = _NAMED.search(line)  # "the fastest was **Evelyn**."
    bold = [text for text in bold if VALUE.match(text) or (named and text == named.group(1))]
    return bold[0] if len(set(bold)) == 1 else None
