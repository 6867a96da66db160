r"""The answer of a response without a box: what is stated last ("the answer is 42", "#### 42", `<answer>42</answer>`).

An anchor counts only where it states a value: "I hope this solution is helpful" and "the answer is correct" state
none, "if the answer is 5" and "the answer is not 5" state none either, and then nothing is guessed from the last line.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from sgpo.mathtext.tokens import CARDINALS
from sgpo.rewards.claims import ANCHOR, COPULA, JOIN, MATH, VALUE, claim_at, first_sentence, last

TAGGED = re.compile(r"<(?:final_?)?answer>\s*(.*?)\s*(?:</(?:final_?)?answer>|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"</?(?:final_?)?answer>", re.IGNORECASE)
_HASHES = re.compile(r"####[ \t]*([^\n]*)")
_HEADING = re.compile(
    r"(?:\d+\s*[.):]\s*[A-Za-z]|(?:\*\*)?(?:step|part|case|solution|conclusion|final|answer|explanation|summary|problem|"
    r"given|approach|check|verif|method|calculat|question|note|result)(?![a-z]*\s*(?:is|=|:)\s*\S))",
    re.IGNORECASE,
)
_JSON = re.compile(  # at the end of a response, in a fence or not
    r'"(?:final[_ ]?)?answer"\s*:\s*("(?:[^"\\]|\\.)*"|\[[^\[\]{}]*\]|-?\d[\d.]*)\s*(?:,[^{}]*)?\}\s*(?:```)?\s*\Z',
    re.IGNORECASE,
)
_GOES_ON = re.compile(r"\.\s+or(?=\s+(?:maybe|perhaps|possibly)\b)", re.IGNORECASE)  # It is 2. Or maybe 3.
_MARK = r"(?:(?:the\s+)?(?:final\s+)?\banswer(?:\s+is\b|\s*:)|####|<answer>)"
_AGAIN = re.compile(  # the answer is 2 or the answer is 3; <answer>2</answer> or <answer>3</answer>
    rf"(?P<first>{_MARK}\s*[^.\n<]{{1,80}}?)(?:</answer>)?,?\s+or\s+(?:(?:else|that|maybe)\s+)?{_MARK}\s*",
    re.IGNORECASE,
)
_NOT_SAID = re.compile(
    r"\b(?:not|n['’]t|cannot|never|neither|if|whether|maybe|perhaps|possibly|(?:might|could|may) be)\b|n['’]t\b|[?≠]"
    r"|\\neq?(?![a-z])|§[^§]*[.!?]\s[^*§]*\d[^§]*\Z",  # or a number behind the last formula, in a sentence of its own
    re.IGNORECASE,
)
PROSE = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{2,}(?: +[A-Za-z]+){2}")
_NAMED = re.compile(r"\b(?:is|are|was|were|on)(?: an?| the)?\s+\*\*([A-Za-z][^*\n]{1,40}?)\*\*[.!]?\s*\Z")
_MORE = re.compile(  # beside the one value of a sentence: another one, or what makes it another
    rf"\d|\$[\w\\]|\b(?:{'|'.join(CARDINALS)}|half|halves|twice|double|triple|thirds?|quarters?|times|than|least|most|over"
    r"|under|above|below|up|about|around|approx\w*|nearly|almost|roughly|loss|los[te]s?|minus|negative)\b",
    re.I,
)
# The only number behind a word that concludes, and the value of an equation: what closes a last line without a formula.
LAST_NUMBER = re.compile(
    r"(?:(?:\A|(?<=[a-z]{2}\s)|(?<=[:,]\s))[-−$€£(\d][^A-Za-z\n]{0,120}[\d)%]\s*=|\b(?:so|therefore|thus|hence),?(?=\s[A-Za-z]\s*=)"
    r"|(?<![^\s(])(?P<rest>(?:so(?! far)|therefore|thus|hence|altogether|in total|the total)\b"
    r"[^.!?:=\n]{0,120}?(?:[a-z]s|\b(?:are|were|had|have|need|cost|total of))))\s+(?P<value>\([-−\d.,/√π ]{3,60}\)"
    r"|(?:[A-Za-z]\s*=\s*)?[-−]?[$€£]?[\d√π][\d.,/√π]*(?<![.,])(?: ?%)?(?P<unit>(?:\s[A-Za-z]+){0,4}))"
    r"(?:,? (?:altogether|in (?:total|all)))?[.!]?\Z",
    re.IGNORECASE,
)
_BOLD = re.compile(r"\*\*([^*\n]{1,80})\*\*")


def _hashes(text: str) -> str | None:
    """What follows the last `####` that states a value; headings of that depth state none."""
    for match in last(_HASHES.finditer(text)):
        if (said := _TAG.sub(" ", match.group(1)).strip().strip("#").strip()) and not _HEADING.match(said):
            said = said if not re.search(r"(?<!\\)[.!?]\s+[A-Z]", said) else first_sentence(said)
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
    """What the end of a response states: a `text`, or None; `line`, all that stands behind the anchor on its line, for
    an answer that is prose itself; and whether an answer may be looked for elsewhere, where no anchor denies it."""

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
    if found := _hashes(text):
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
    line = closing_line(content)
    if PROSE.search(MATH.sub(" ", line)) and (line != content or not VALUE.match(line)):
        formula = closing(line)
        copula = list(COPULA.finditer(line))
        said = formula or (line[copula[-1].end() :] if copula else None)
        return Statement(said or content, content)
    return Statement(content.strip("*_ "))


def _anchored(text: str) -> Statement:
    """The last anchor that states a value; one that only tells of another case, where no other states any."""
    free, aside = True, None
    for anchor in last(ANCHOR.finditer(text)):
        if anchor.group("short") == "A" and re.search(r"^\W*B\W", text[anchor.end() :], re.MULTILINE):
            continue  # the options of the question
        claim = claim_at(text, anchor)
        if claim.denied or claim.supposed:
            free = False
        elif claim.value:
            labelled = anchor["title"] or anchor["short"] or anchor["verb"] == ":"
            value = closing(claim.words) if labelled and not VALUE.match(claim.value) else None  # a whole sentence
            alone = value and not _MORE.search(claim.words.replace(value, "", 1))
            found = Statement(value if alone else claim.value, text[anchor.end() :].strip().split("\n", 1)[0])
            if not claim.aside:
                return found
            aside = aside or found
        else:
            free = free and not claim.words.strip().endswith(("?", "？"))
    return aside or Statement(None, free=free)


def closing_line(text: str) -> str:
    """The last line of a text; all of it where it ends in a display, which may span lines."""
    return text if text.endswith(("\\]", "$$")) else text.rsplit("\n", 1)[-1]


def closing(line: str) -> str | None:
    """The last formulas of the closing line, its only bold value or number; None where the line denies or doubts."""
    if _NOT_SAID.search(MATH.sub(" § ", line)):
        return None
    if segments := list(MATH.finditer(line)):
        first = len(segments) - 1
        while first and JOIN.fullmatch(line[segments[first - 1].end() : segments[first].start()]):
            first -= 1
        if first < len(segments) - 1:
            return line[segments[first].start() : segments[-1].end()]
        return next(value for value in segments[-1].groupdict().values() if value is not None)
    bold = [match.group(1).strip() for match in _BOLD.finditer(line)]
    named = _NAMED.search(line)  # "the fastest was **Evelyn**."
    bold = [text for text in bold if VALUE.match(text) or (named and text == named.group(1))]
    number = None if bold else LAST_NUMBER.search(line)
    if number and not _MORE.search(f"{number['rest'] or ''} {number['unit']}"):
        return number["value"]
    return bold[0] if len(set(bold)) == 1 else None
