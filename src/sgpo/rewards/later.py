r"""What a response says of its answer behind its last box: that it is another one, or none.

Only a claim (`sgpo.rewards.claims`) of a value, and no more, says that it is another one, and the last claim counts.
One that follows doubt or settles the answer replaces the box: `\boxed{10}. Correcting: the answer is 9` answers 9. Any
other stands beside the box as an alternative to it: `\boxed{7}. The answer is 3`.
"""

from __future__ import annotations

import re

from sgpo.rewards.claims import ANCHOR, ASIDE, BACK, DOUBT, LEAD, MATH, NEGATION, START, TURNS, VALUE, claim_at, last
from sgpo.rewards.stated import marked

_TAIL_CHARS = 4_000
_TURN = re.compile(rf"(?<!\w)(?:{BACK}|{DOUBT}(?<!\bno))(?!\w)|\A\W*should be\b", re.IGNORECASE)
_VALUE = r"(?=[-$\\\d])"
# A whole value: not the last of a list, of a sum or of an inequality.
_WHOLE = r"(?<!\S)(?<![-+*/=<>≤≥≈·×]\s)(?<!\s:\s)(?<![\d$],\s)(?<!\d\s)(?<!\band\s)(?<!\bor\s)"
_SAID = rf"(?:{_WHOLE}(?:\$[^$\n]{{1,60}}\$|-?\d[\d.,/]{{0,40}}(?<![.,])))"
_CORRECTION = re.compile(
    rf"\banswer\s+(?P<also>could|may|might|can)\s+(?:(?:also|even)\s+)?be\s+{_VALUE}"
    rf"|\bfinal\s+answer\s+(?:of\s+(?P<of>{_SAID})|{_VALUE})|{START}final:\s*{_VALUE}"
    rf"|(?P<value>{_SAID})\s+(?:as\s+(?:the|my|our)\s+(?:\w+\s+)?(?!answer\s+to\s+the\s+nearest\b)"
    r"|(?:(?:is|to\s+be|(?:must|should)\s+be)\s+)?(?:the|my|our)\s+(?:final|correct|right|true|actual)\s+)answer\b"
    rf"|{START}(?:however|but|yet)\b(?!\W{{0,3}}{ASIDE})[^.!?;:\n]{{0,80}}?"
    rf"\bthe\s+(?:total|count|value|number)\s+(?:is|becomes)\s+{_VALUE}(?!.*\b(?:per|for|each|when|if)\b)"
    rf"|\A\W*should\s+(?:be|have\s+been)\s+{_VALUE}|{START}{TURNS}(?:it(?:['’]s|\s+is)\s+)?{_VALUE}(?!{_SAID}\s+is\b)"
    rf"|{LEAD}(?:(?P<said>{_SAID})\s+(?:is|must\s+be)\s+(?:the|my|our)\s+answer\b"
    r"|(?:the\s+(?:required|desired|requested|correct)\s+(?:(?:number|value|total|count|sum|amount)\s+)?is"
    rf"|the\s+box\s+should\s+(?:contain|hold|be|read|say)|i(?:['’](?:d|ll)|\s+will)\s+go\s+with)\s+{_VALUE}"
    r"|(?:the\s+)?(?P<weak>(?:it|that|this|value|total|count|number)\s+(?:(?:should|must)\s+(?:be|have\s+been)|is)"
    rf"|it['’]s|i\s+meant?|make\s+(?:it|that)|change\s+my\s+answer\s+to"
    rf"|so(?<=,\sso)(?=\s+\$?-?\d[\d.,/]{{0,40}}\$?[.!]?\s*(?:\n|\Z)))\s+{_VALUE})",
    re.IGNORECASE,
)
_WRONG = (
    r"(?:\s*\bcan(?:not|['’]t)\s+be\s+(?:right|correct)"
    r"|(?:['’]s|\s*\b(?:is|was))\s+(?:wrong|incorrect|invalid|not\s+(?:right|correct|the\s+answer)|an?\s+(?:mistake|error|trap)"
    r"|what\s+(?:some|many|most|people|students|others|an?\s+(?:beginner|student))\s[\w\s]*\b(?:say|think|guess|get)s?)"
    r"|\s*\bdoes\s+not\s+(?:work|count|satisfy))\b(?!\s+to\b)"
)
_WITHDRAWN = re.compile(
    rf"(?<!\w){BACK}\W*\Z|(?:\A[\s$.,;*)]*(?:but\s+)?|{START}(?:{TURNS}|so\s))(?:that|this|it|which)?{_WRONG}"
    r"|\A[\s$*)]*\?\W*no\b(?!\s+(?:doubt|problem|question|issue))"
    rf"|{START}(?:{TURNS})?(?:(?:so|thus|hence|but)\W{{1,3}})?(?:my|this|the)\s+(?:\w+\s+)?(?:answer|solution)(?:\s+above)?"
    rf"{_WRONG}|(?:{START}|[,:]\s|\b(?:but|so|thus|hence)\s)\$?(?P<value>[-\w\\([{{][^\s$]{{0,39}})\$?{_WRONG}",
    re.IGNORECASE,
)
_SETTLES = re.compile(
    r"fin(?:al|\w+e)\b|\b(?:so|therefore|thus|hence|overall|correct|corrected|right|new|revised|updated|true)\b|[所因最]",
    re.IGNORECASE,
)
_ABOUT = re.compile(r"\W*(?:approx|about\b|roughly\b|nearly\b|≈|[<>≤≥]|\\[lg]eq?(?![a-z]))", re.IGNORECASE)
# A value, and what is counted behind it; "3 times 4", "100% certain" and "one of the options" are more.
_ALONE = re.compile(
    r"(?:\\text\{[^{}]*\}|\\[A-Za-z]+|[^A-Za-z]|[A-Za-z](?![A-Za-z])|(?:and|or)(?=\W+(?:\d|[A-Za-z]\b)))*"
    r"(?:(?<!%)(?<!%\s)\s*\b[A-Za-z]+){0,2}[\s*._)]*",
    re.IGNORECASE,
)
_OPTION = re.compile(r"[\s$*(]*(?:\\(?:text|textbf|mathrm)\{)?[\s(]*([A-J])(?![A-Za-z=^+_])")
_SENTENCE = re.compile(r"[.!?](?=\s|\Z)|[。！？\n]")
_DENIED = re.compile(  # the answer is not, it cannot be
    r"\b(?:(?:(?:answer|it|this|that)\s+(?:is|was|can)(?:\s+\w+ly)?\s*(?:not|n?['’]t)|cannot)(?:\s+be)?"
    r"|(?:wrong|incorrect|false)\s+answer\s+(?:is|was))\s*[$*]*\Z",
    re.IGNORECASE,
)


def said_later(text: str, start: int, end: int, boxed: str) -> tuple[str, bool] | None:
    """What a text says behind its last box of the answer, "" where the box is only taken back, and whether that counts
    in place of the box or as an alternative beside it; None where it says nothing of it. The box
    holds `boxed` and stands from `start` to `end`."""
    denied = ("", True) if _DENIED.search(text, max(0, start - 40), start) else None
    # Long gaps cost the patterns their length squared.
    text = re.sub(r"\n(?: ?\n){2,}", "\n\n", re.sub(r"[^\S\n]+", " ", text[end:][-_TAIL_CHARS:]))
    if not re.search(r"\w", text):
        return denied
    text = re.sub(r"\b(is|was|does)n['’]t\b", r"\1 not", text)
    if (found := marked(text)) and found.text and VALUE.match(found.text):
        return found.text, True
    back = [match.end() for match in _WITHDRAWN.finditer(text) if match["value"] in (None, boxed)]
    turns = [match.end() for match in [_TURN.search(text)] if match] + back
    anchors = [*ANCHOR.finditer(text), *_CORRECTION.finditer(text)]
    for anchor in last(sorted(anchors, key=lambda match: match.end())):
        later = _claimed_at(text, anchor, boxed, turned=min(turns, default=len(text)) <= anchor.end())
        if later and not (later[0] == boxed and back and back[-1] > anchor.end()):
            return later
    return ("", True) if back else denied


def _claimed_at(text: str, anchor: re.Match[str], boxed: str, *, turned: bool) -> tuple[str, bool] | None:
    """What one anchor claims, or denies of the box."""
    said, opening = anchor.groupdict(), anchor.group()
    noun, title = (said.get("noun") or "answer").lower(), said.get("title") or said.get("short")
    if noun in ("result", "solution") or opening.startswith("结果") or (said.get("weak") and not turned):
        return None
    claim = claim_at(text, anchor)
    if claim.denied:
        denied = NEGATION.sub("", claim.words).strip("*$ ")
        return ("", True) if re.match(re.escape(boxed) + r"(?!\w|\.\d)", denied) else None
    value = said.get("value") or said.get("said") or said.get("of") or claim.value
    if not claim.own or claim.supposed or not value or not _ALONE.fullmatch(MATH.sub("$", value)):
        return None
    sentence = _SENTENCE.split(text[max(0, anchor.start() - 80) : anchor.start()])[-1] + opening
    settled = not said.get("also") and (turned or not boxed or bool(title or _SETTLES.search(sentence)))
    in_words = not re.search(r"\d", boxed) and len(re.findall("[a-z]{3}", boxed)) > 1
    if not VALUE.match(value) and (anchor.re is _CORRECTION or not (turned or (settled and in_words))):
        return None
    if (not turned and _ABOUT.match(claim.words)) or value.count("{") != value.count("}") or value.count("$") % 2:
        return None  # rounded, or cut off
    options = _OPTION.match(value), _OPTION.match(boxed)
    if bool(options[0]) != bool(options[1]):  # the letter of an option, and what it holds
        return (rf"\text{{({options[0][1]})}} {boxed}", True) if options[0] else None
    return value, settled or value.strip("$ .") == boxed
