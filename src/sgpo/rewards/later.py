r"""What a response says of its answer behind its last box: that it is another one, or none.

`\boxed{10}. Correcting: the answer is 9` answers 9, and `\boxed{10}. Oops, that is wrong` nothing. A statement that
neither corrects nor settles, `\boxed{7}. The answer is 3`, stands beside the box as an alternative to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sgpo.rewards import stated
from sgpo.rewards.stated import MATH

_TAIL_CHARS = 4_000
# Words that take an answer back, and others that only begin to doubt it: what is stated behind either is another one.
_BACK = (
    r"(?:oops|just kidding|(?:scratch|ignore|disregard|strike) (?:that|this|the above|my)|my (?:mistake|bad|error)"
    r"|(?:correct(?:ion|ing)|edit|typo)(?=\s*[:,—–-])|i(?:'m| am| was) (?:wrong|mistaken)"
    r"|(?<!be )(?<!aps )i (?:have )?made an? (?:\w+ )?(?:mistake|error)"
    r"|i (?:mis(?:read|count|calculat)\w*|double[- ]?counted|overlooked|forgot(?! to mention)|missed)|更正)"
)
_DOUBT = (
    r"(?:wait|sorry(?! for)|actually|hold on|on (?:second thought|reflection)"
    r"|re(?:comput|calculat|consider|count|do)ing|不对|等等)"
)
_TURN = re.compile(rf"(?<!\w)(?:{_BACK}|{_DOUBT})(?!\w)", re.IGNORECASE)
_OPENING = rf"(?:^|[.!?,\n—])\W{{0,6}}(?:(?:{_BACK}|{_DOUBT}|no|oh|hmm+)[\s,:;.!—–-]{{1,6}}){{1,5}}"
_CORRECTION = re.compile(
    r"\b(?P<also>answer\s+(?:could|may|might|can)\s+(?:(?:also|even)\s+)?be)\s+|\bfinal\s+answer\s+(?=[-$\\\d])"
    r"|\b(?P<weak>(?:it|that|this|value|total|count|number)\s+(?:should|must)\s+be|i\s+meant?|make\s+(?:it|that))\s+"
    r"|\b(?:it|that|this)\s+should\s+have\s+been\s+|\A[\s$]*should\s+(?:be|have\s+been)\s+|\bchange\s+my\s+answer\s+to\s+"
    rf"|{_OPENING}(?:it['’]s\s+)?(?=[-$\\\d][^\s,]*(?:,\s+not\b|[.!]?\s*(?:\n|\Z)))",
    re.IGNORECASE,
)
_WRONG = (
    r"(?:\s*\bcan(?:not|['’]t)\s+be\s+(?:right|correct)"
    r"|(?:['’]s|\s*\b(?:is|was))\s+(?:wrong|incorrect|not\s+(?:right|correct|the\s+answer)|an?\s+mistake)"
    r"|\s*\bdoes\s+not\s+(?:work|count|satisfy))\b"
)
_WITHDRAWN = re.compile(
    rf"(?<!\w){_BACK}\W*\Z|\A[\s$.,;*)]*(?:(?:but\s+)?(?:that|this|it))?{_WRONG}(?!\s+to\b)|{_OPENING}(?:that|this|it){_WRONG}"
    rf"|(?:^|[.!?\n]|{_OPENING})\W{{0,6}}(?:my|this|the)\s+(?:\w+\s+)?answer{_WRONG}",
    re.IGNORECASE,
)
_DENIED = re.compile(r"\banswer\s+(?:is|was)(?:\s+not|n['’]t)\s*[$*]*\Z", re.IGNORECASE)
_SETTLES = re.compile(
    r"fin(?:al|\w+e)\b|\b(?:so|therefore|thus|hence|overall|correct|right|new|revised|updated|true)\b|[所因最]",
    re.IGNORECASE,
)
_SUPPOSES = re.compile(
    r"\b(?:if|unless|suppos\w*|assum\w*|were|had|would|without|otherwise|instead|part|second|general(?:ly)?)\b|[若如]",
    re.IGNORECASE,
)
# Another quantity than the answer: "twice the answer is 24", "for n = 1 the answer is 1" (which may be a correction,
# where it is no check).
_OF_IT = re.compile(
    r"\b(?:(?<!value )of|half|twice|double)\s+(?:all\s+)?(?:the|this|our|my)\s+(?:final\s+)?\Z|\bsum of (?:the )?\Z",
    re.IGNORECASE,
)
_CASE = re.compile(r"\b(?:for|with|when|at|check|try)\s+\$?[A-Za-z]\s*=\s*-?\d", re.IGNORECASE)
_CHECKS = re.compile(r"\b(?:check|verify|test|try)", re.IGNORECASE)
_ABOUT = re.compile(r"\W*(?:approx|about\b|roughly\b|nearly\b|≈|[<>≤≥]|\\[lg]eq?(?![a-z]))", re.IGNORECASE)
_ROUNDED = re.compile(r"\bdecimal|\bnumerical", re.IGNORECASE)
# More than a value and what is counted is no other answer: "3 times 4", "twelve (12)", "100% certain".
_MORE = re.compile(
    r"\([A-Za-z]{2}|\w \(\d|[\d}$)][\s*]*(?!and\b|or\b)[A-Za-z]+\s+(?:[A-Za-z]+\s*)?\d|%\s+[a-z]|^\W*[a-z]+-[a-z]",
    re.IGNORECASE,
)
_OTHER_PROBLEM = re.compile(r"\n[ \t#*]*(?:problem|question|exercise|example|part)\b", re.IGNORECASE)
_OPTION = re.compile(r"[\s$*(]*(?:\\(?:text|textbf|mathrm)\{)?[\s(]*[A-J](?![A-Za-z=^+_])")
_SENTENCE = re.compile(r"[.!?。！？\n](?=\s|\Z)")


@dataclass(frozen=True)
class Later:
    """`text` is the value that is stated, "" where the box is only taken back; `replaces` tells whether it counts in
    place of the box or as an alternative beside it."""

    text: str
    replaces: bool = True


def said_later(text: str, start: int, end: int, boxed: str) -> Later | None:
    """What a text says behind its last box of the answer; None where it says nothing of it.

    Args:
        text: the response.
        start, end: where the box stands in it.
        boxed: what the box holds.
    """
    denied = Later("") if _DENIED.search(text, max(0, start - 40), start) else None
    text = _OTHER_PROBLEM.split(text[end:], maxsplit=1)[0][-_TAIL_CHARS:]
    text = re.sub(r"[^\S\n]+", " ", text)  # long gaps cost the patterns their length squared
    if not re.search(r"\w", text):
        return denied
    text = re.sub(r"\b(is|was|does)n['’]t\b", r"\1 not", text)
    found = stated.marked(text)
    if found and stated.VALUE.match(found.text or ""):
        return Later(found.text or "")
    anchors = [*stated.ANCHOR.finditer(text), *_CORRECTION.finditer(text)]
    for anchor in sorted(anchors, key=lambda match: match.end())[: -stated.LOOK_BACK - 1 : -1]:
        later = _stated_at(text, anchor, boxed)
        if later and not (later.text == boxed and _WITHDRAWN.search(text, anchor.end())):
            return later
    return Later("") if _WITHDRAWN.search(text) else denied


def _stated_at(text: str, anchor: re.Match[str], boxed: str) -> Later | None:
    """What one anchor states, or denies of the box."""
    before = text[: anchor.start()]
    sentence = _SENTENCE.split(before)[-1] + anchor.group()
    said = anchor.groupdict()
    noun, title = (said.get("noun") or "answer").lower(), said.get("title") or said.get("short")
    if noun in ("result", "solution") or anchor.group().startswith("结果"):
        return None
    turned = any(pattern.search(text, 0, anchor.end()) for pattern in (_TURN, _WITHDRAWN))
    if said.get("weak") and not turned:
        return None  # "it should be 20, and is"
    turned = turned or (anchor.re is _CORRECTION and not said["also"])
    settled = not said.get("also") and (turned or bool(title or _SETTLES.search(sentence[-80:])))
    words = stated.sentence(text[anchor.end() :])
    if stated.NEGATION.match(words):
        denied = stated.NEGATION.sub("", words).strip("*$ ")
        return Later("") if re.match(re.escape(boxed) + r"(?!\w|\.\d)", denied) else None
    if stated.SUPPOSED.search(before[-120:]) or (_SUPPOSES.search(sentence) and not turned):
        return None
    if _OF_IT.search(before) or _CASE.search(sentence if _CHECKS.search(sentence) or not turned else anchor.group()):
        return None
    plain = turned or (settled and not re.search(r"\d", boxed) and len(re.findall("[a-z]{3}", boxed)) > 1)
    copula = (said.get("verb") or ":") not in (":", "=")
    value = stated.value_of(words, copula=copula, plain=plain and "answer" in noun)
    if not value or "boxed" in value or _MORE.search(value):
        return None
    if not turned and (_ABOUT.match(words) or _ROUNDED.search(sentence)):
        return None
    if value.count("{") != value.count("}") or value.count("$") % 2:
        return None  # cut off
    if stated.PROSE.search(MATH.sub(" ", value)) or bool(_OPTION.match(value)) != bool(_OPTION.match(boxed)):
        return None  # "one of the options"; the letter of the option that the box holds
    return Later(value, settled or value.strip("$ .") == boxed)
