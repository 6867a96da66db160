r"""Find the final answer in a response. The rule, in one sentence: the final answer is the last complete
`\boxed{}` after the last `</think>`, or in the whole text where there is no `</think>`. Other families' marks
(`[/THINK]`, the channels of gpt-oss) end thinking likewise: `sgpo.models.thinking` knows them. A statement behind the
box may correct it: `sgpo.rewards.later`.

What counts when there is no box is a switch (`require_box`); docs/verifier.md states both positions. Everything
here is one pass over at most `max_chars` characters: a response of 10 MB costs milliseconds.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace

from sgpo.models.thinking import after_thinking, begins_thinking
from sgpo.rewards.claims import MATH
from sgpo.rewards.later import said_later
from sgpo.rewards.stated import LAST_NUMBER, TAGGED, begins_statement, closing, closing_line, stated, states_value

# Responses are cut to their last MAX_CHARS characters, answers longer than MAX_ANSWER_CHARS are not parsed.
MAX_CHARS = 200_000
MAX_ANSWER_CHARS = 2_000
_TAIL_CHARS = 4_000  # how far back an unboxed answer is looked for

_BRACES = re.compile(r"(?<!\\)\\+(?P<box>boxed|(?:f|frame)box)(?![A-Za-z]{2})\s*(?P<brace>\{)?|\\.|[{}]", re.DOTALL)
_FORMULA = re.compile(  # \boxed 5, to the end of the formula
    r"([^$\n{}]{0,40}(?:\{[^$\n{}]{0,40}\}[^$\n{}]{0,40}){0,4}?)(?=\$|\\\)|\\\])"
)
_WORD_ALONE = re.compile(r"(?!\s*[A-Za-z]\b *[A-Za-z])\s*([^\s$]{1,60})")  # or of the word
_STARTS = re.compile(r"[-+]?\s*\.?\d|[-+]?\\(?:[dtc]?frac|sqrt|pi|text|infty)(?![a-z])|\(|[A-Za-z]$")
_BLANK = r"[\s$,;~]|\\[()\[\],;:! \\]|\\q?quad(?![a-z])"
_NAME = r"(?<![\w\\])(?:[A-Za-z](?:_\{?\w\}?)?|[A-Za-z]\(\w+\))\s*="  # `x =`, `f(1) =`
_APART = re.compile(  # between the boxes of a gold: `\boxed{2}$ and $\boxed{3}`
    rf"(?:{_BLANK}|{_NAME}|\\text\{{\s*,?\s*(?:and|or)?\s*,?\s*\}}|\band\b|\bor\b|[和或])*"
)
_ASSIGNED = re.compile(rf"(?<![-+/<>^]\s)(?<![-+/<>^])(?P<name>{_NAME})[^=,;]{{1,80}}\Z")
_PERCENT = re.compile(r"\$?%|[\s$]*(?:\\%|per ?cent\b)")
_DOUBT = r"\b(?:possibly|maybe|perhaps|(?:might|could|may)(?: also| even)? be)\b"
# Between two answers of one statement: `\boxed{2}$, or possibly $x = \boxed{3}`. A full stop only before "Or".
_WITHIN = (
    rf"(?:{_BLANK}|[(*]|(?<=\n)-|\\text(?:rm|bf)?\{{|\}}|\.(?=\s+Or\b)|(?<![\w\\])[A-Za-z]\s*(?:=|\\in\b)|{_DOUBT}"
    r"|[和或]|\\(?:lor|vee)\b|\b(?:and(?:/or)?|or|but|either|even|else|also|it|is|it's|the|(?:final )?answer)\b)"
)
_OR = r"(?:(?:\band/)?\bor\b|或|\\lor\b|\\vee\b)"
_OFFERED = re.compile(rf"(?=.{{,80}}\Z){_WITHIN}*?(?:{_OR}|{_DOUBT}){_WITHIN}*", re.I | re.S)
_JOINS = re.compile(rf"(?P<or>{_OR})|(?P<and>\band\b|和|[,;][\s$\\(]*{_NAME})|(?P<doubt>{_DOUBT})", re.IGNORECASE)
# Such an answer without a box. `x = 2 or x = \boxed{3}` boxes its choice, and `\boxed{75}` minutes "or 1.25 hours" says
# it again; but where there is doubt, or a bare number or option behind, it is another answer.
_END = r"\W*(?:\n|\Z|[.?!;]\s)"
_BESIDE = rf"(?:\$[^$\n]{{1,60}}\$|\\\([^\n]{{1,60}}?\\\)|-?\d[\d.,/]*(?<![.,])|\(?[A-J]\)?(?={_END}))"
_AHEAD = re.compile(rf"(?<![\w.])(?P<value>{_BESIDE}|\(?[A-J]\)?)(?P<gap>(?i:{_WITHIN}){{1,40}})\Z")
_BEHIND = re.compile(rf"(?P<gap>(?i:{_WITHIN}){{1,40}}?)(?P<value>{_BESIDE})(?P<end>{_END})?")
_BARE = re.compile(r"(?:\\text\{)?\(?(?:-?\d+|[A-J])\)?\}?")
_ENDS = "im_end|eot_id|endoftext|end_of_text|eom_id|eos|end_of_turn|end_of_sentence|end_of_solution|return|end"
_END_OF_TURN = re.compile(
    rf"(?:<\|(?:{_ENDS})\|>|</s>|<end_of_turn>|<eos>|<｜end▁of▁sentence｜>|<\|user\|>|\[INST\]"
    r"|(?:<\|(?:im_start|start_header_id)\|>|<start_of_turn>)\s*user\b)(?!\s*<\|(?:im_)?start\|>\s*assistant)"
)
_MARK = re.compile(
    rf"<\|(?:(?:im_)?start|begin_of_solution|{_ENDS})\|>(?:\s*assistant\b)?|</?s>|<end_of_turn>|<eos>|<｜end▁of▁sentence｜>"
)
# A box without its brace that ends with its formula: `$x = \boxed{52$`. Where no formula ends, it may be cut off.
_OPEN_BOX = re.compile(
    r"((?:\$|\\[(\[])[^${}\n]{0,24}\\boxed ?\{(?!\s)(?:[^${}\n\\]|\\[A-Za-z$]|\{[^${}\n]{0,40}\}){1,40})"
    r"(?=(?:\$|\\[)\]])(?![^{}]*\}))"
)
_GLM_BOX = re.compile(r"<\|begin_of_box\|>(.{0,2000}?)<\|end_of_box\|>", re.DOTALL)
_MARKED = ("</", "<br", "<!--", "~~", "```", "%")
# Pages of the web in a response: rows, emphasis, powers and indices.
_HTML = [
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), replacement)
    for pattern, replacement in (
        (r"<br\s*/?>|</?(?:p|div|li|ul|ol|h[1-6]|center)(?:\s[^<>]*)?>", "\n"),
        (r"<(b|strong)>(.{0,200}?)</\1>", r"**\2**"),
        (r"<(i|em|u|span|font|code|mark)(?:\s[^<>]*)?>(.{0,200}?)</\1>", r"\2"),
        (r"<sup>(.{0,40}?)</sup>", r"^{\1}"),
        (r"<sub>(.{0,40}?)</sub>", r"_{\1}"),
        (r"```(?:py|python|c|cpp|java|javascript|js|matlab)\b.*?```", "\n"),  # a program states nothing
        (r"<!--.{0,300}?-->|(?:\A|\n)[ \t]*%[^\n]*|~~[^~\n]{0,80}boxed[^~\n]{0,80}~~", " "),  # hidden, and struck out
    )
]
_NEXT_QUESTION = re.compile(
    r"\n[ \t#*]*(?:Q|Question|Human|User|Problem|Instruction)(?:\*\*)?\s*(?::|(?P<number>\d+)[.:])", re.IGNORECASE
)
_QUESTIONS = 8  # before which an answer without a box is looked for
_CHINESE = re.compile("[一-鿿]")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_TEXT_ARGUMENT = re.compile(r"\\(?:text|textbf|textit|mathrm|mbox|operatorname)\s*\{[^{}]*\}")


@dataclass(frozen=True)
class FoundAnswer:
    """What was found: `text` is None where there is nothing, and then `reason` says why.

    `line` is the whole line of a stated answer, for golds that are prose themselves; `beside` is another answer that is
    stated behind the box, so that the response is right only where both are; `listed` are the values of several names,
    each in a box of its own, of which `text` is the last, for golds that are lists.
    """

    text: str | None
    reason: str
    boxed: bool = False
    line: str = ""
    beside: str = ""
    listed: str = ""


@dataclass(frozen=True)
class Box:
    r"""A `\boxed{}` or `\fbox{}` and where it stands; `listed` as in `FoundAnswer`."""

    kind: str
    content: str
    start: int
    end: int
    listed: str = ""


def _unbraced(text: str, position: int) -> str | None:
    r"""What `\boxed` without a brace holds, to the end of its formula or word; None where prose follows."""
    for pattern in (_FORMULA, _WORD_ALONE):
        match = pattern.match(text, position)
        content = match.group(1).strip().rstrip(".,;:!") if match else ""
        if _STARTS.match(content) and not _WORD.search(_TEXT_ARGUMENT.sub(" ", content)):
            return content
    return None


def boxes(text: str) -> list[Box]:
    r"""The complete boxes, outermost ones only, in the order of their ends; `\fbox{}` where there is no `\boxed{}`.

    Braces are matched, escaped ones skipped; a space may stand before the brace, and the brace may be missing before a
    number, a letter or a command (`\boxed 5`). An unclosed box does not count.
    """
    stack: list[tuple[str, int, int]] = []
    found: list[Box] = []
    for match in _BRACES.finditer(text):
        token, kind = match.group(), match.group("box") or ""
        if kind and not match.group("brace"):
            content = _unbraced(text, match.end())
            if content is not None:
                end = text.index(content, match.end()) + len(content)
                found.append(Box(kind, content, match.start(), end))
        elif kind:
            stack.append((kind, match.end(), match.start()))
        elif token == "{":
            stack.append(("", 0, 0))
        elif token == "}" and stack:
            kind, inner, start = stack.pop()
            if kind:
                while found and found[-1].start > start:
                    found.pop()
                found.append(Box(kind, text[inner : match.start()], start, match.end()))
    return [box for box in found if box.kind == "boxed"] or found


def last_boxed(text: str) -> str | None:
    """Content of the last complete box."""
    return found[-1].content if (found := boxes(text)) else None


def _said_beside(text: str, first: Box, last: Box) -> tuple[list[str], list[str]]:
    """What is offered without a box in front of the first box and behind the last one: at most one value each."""
    ahead, behind = [], []
    before = _AHEAD.search(text, max(0, first.start - 160), first.start)
    if before and {"or", "doubt"} <= {match.lastgroup for match in _JOINS.finditer(before["gap"])}:
        ahead.append(before["value"].strip("()"))
    if after := _BEHIND.match(text, last.end):
        joins = {match.lastgroup for match in _JOINS.finditer(after["gap"])}
        bare = all(_BARE.fullmatch(value.strip("$ ")) for value in (last.content, after["value"]))
        if "doubt" in joins or ("or" in joins and bare and after["end"] is not None):
            behind.append(after["value"].strip("()"))
    return ahead, behind


def _gaps(text: str, found: list[Box], *patterns: re.Pattern[str]) -> list[str]:
    """What stands between the last boxes, from the end, as far as it is nothing but one of the patterns."""
    between = (text[one.end : other.start] for one, other in zip(found[-2::-1], found[:0:-1], strict=True))
    return list(itertools.takewhile(lambda gap: any(pattern.fullmatch(gap) for pattern in patterns), between))


def boxed_answer(text: str) -> Box | None:
    r"""What the last box of a response answers, or the last boxes where something joins them; None without a box.

    `\boxed{2}$ and $\boxed{3}` is the list of both, as in a gold, and so is `x = \boxed{2}, y = \boxed{3}`. So are
    `\boxed{2}` or `\boxed{3}`, and `\boxed{3}`, or possibly 2: a list that is right where all of it is, for an answer
    among others is none.
    """
    found = boxes(text)
    if not found:
        return None
    gaps = _gaps(text, found, _APART, _OFFERED)
    joins = {match.lastgroup for gap in gaps for match in _JOINS.finditer(gap)}
    run = [box.content.strip() for box in found[-1 - len(gaps) :]]
    said = run if joins else run[-1:]
    ahead, behind = _said_beside(text, found[-len(said)], found[-1])
    answer = said[-1] + (r"\%" if _PERCENT.match(text, found[-1].end) and not said[-1].endswith("%") else "")
    if all(said) and len(said) + len(ahead) + len(behind) > 1:
        separator = ", " if joins <= {"and"} and not ahead + behind else " or "
        answer = separator.join(dict.fromkeys(ahead + said + behind))
    with_names = (text[max(0, box.start - 12) : box.start] + box.content for box in found[:-20:-1])
    named = [match for match in itertools.takewhile(bool, map(_ASSIGNED.search, with_names)) if match]
    values = list({match["name"]: match[0] for match in reversed(named)}.values())
    listed = values if len(values) > 1 else run if all(re.search("[,;]", gap) for gap in gaps) and not joins else []
    return replace(found[-1], content=answer, listed=", ".join(listed) if len(listed) > 1 else "")


def _with_later(text: str, found: FoundAnswer, start: int, end: int, *, require_box: bool = False) -> FoundAnswer:
    """An answer that stands from `start` to `end`, or that of a statement behind it that corrects or settles it."""
    later = said_later(text, start, end, found.text or "")
    said, replaces = later or ("", False)
    # In thinking that was cut off only a box is an answer.
    if later is None or (said and (require_box or not replaces or begins_thinking(text))):
        return replace(found, beside=said)
    return FoundAnswer(said, "stated", found.boxed)


def _looks_bare(text: str) -> bool:
    """Whether a response is nothing but an answer: one short line (or display) with hardly a word of prose."""
    if "\n" in text and "\\begin{" not in text and not (text.startswith(("$$", "\\[")) and MATH.fullmatch(text)):
        return False
    outside, segments = MATH.subn(" ", text)
    words = _WORD.findall(_TEXT_ARGUMENT.sub(" ", outside))
    if segments:
        return all(word in ("and", "or") for word in words) and not _CHINESE.match(outside.strip())
    return len(words) <= 4 and not LAST_NUMBER.search(text)


def _unboxed(text: str) -> FoundAnswer:
    """The stated answer of a text without a box: after "answer is" or "####", bare, or the closing formula."""
    tail = re.sub(r"[ \t]+", " ", text[-_TAIL_CHARS:]).strip()
    said = stated(tail)
    if said.text:
        found = FoundAnswer(said.text, "stated", line=said.line)
        mark = tail.rfind(said.line) if said.line else max(tail.rfind("####"), tail.rfind("<answer"))
        start = tail.find(said.text, mark) if mark >= 0 else -1
        return _with_later(tail, found, start, start + len(said.text)) if start >= 0 else found
    if "boxed" in tail:  # an unclosed box: the answer was cut off
        return FoundAnswer(None, "no_answer")
    bold = "**" in text.strip().strip("*_")
    if len(text) <= 400 and not bold and _looks_bare(text.strip()):
        return FoundAnswer(text.strip(), "bare")
    formula = closing(closing_line(tail)) if said.free else None
    if formula:  # `Thus x = 3, so y = 4` answers a gold that is a list with both
        return FoundAnswer(formula, "last_formula", listed=text.strip() if "=" in formula and len(text) <= 80 else "")
    return FoundAnswer(None, "no_answer")


def first_turn(text: str) -> str:
    """The text up to the first end-of-turn mark that leaked into it (`<|im_end|>`, `</s>`), other marks left out.

    What a model writes behind such a mark is a turn of its own invention. Where nothing stands in front of it, or the
    assistant goes on behind it, the mark ends nothing.
    """
    ends = (mark.start() for mark in _END_OF_TURN.finditer(text) if _MARK.sub("", text[: mark.start()]).strip())
    text = text[: next(ends, None)]
    return _MARK.sub("", text) if "<" in text else text


def without_tags(text: str) -> str:
    """The text with the tags of HTML that shape it as Markdown and LaTeX say it."""
    for pattern, replacement in _HTML if any(mark in text for mark in _MARKED) else ():
        text = pattern.sub(replacement, text)
    return text


def own_turn(text: str) -> str:
    """The text up to a question of its own with which a base model goes on once it has answered."""
    found = boxes(text) if _NEXT_QUESTION.search(text) else []
    for number, question in enumerate(_NEXT_QUESTION.finditer(text)):
        start = question.start()
        answered = bool(found) and found[0].end <= start
        asked = number < _QUESTIONS and not question["number"]  # "Question 2:" may be a step
        if answered or (asked and states_value(text[max(0, start - _TAIL_CHARS) : start])):
            return text[:start]
    return text


def extract(response: str | None, *, require_box: bool = False, max_chars: int = MAX_CHARS) -> FoundAnswer:
    """Final answer of a response under the rule above.

    Args:
        response: the completion; None (a request that failed) has no answer.
        require_box: True accepts nothing but a box.
        max_chars: only so many characters at the end of the response are read.

    Returns:
        A `FoundAnswer`; its text is None where there is no answer, and "" is never returned.
    """
    if response is None:
        return FoundAnswer(None, "no_response")
    after = after_thinking(response)
    text = _GLM_BOX.sub(r"\\boxed{\1}", first_turn(after[-max_chars:]))
    text = own_turn(without_tags(_OPEN_BOX.sub(r"\1}", text)))
    box = boxed_answer(text)
    if box is not None:
        found = FoundAnswer(box.content, "boxed", True, listed=box.listed)
        found = _with_later(text, found, box.start, box.end, require_box=require_box)
    elif require_box:
        return FoundAnswer(None, "no_box")
    elif begins_thinking(after):
        return FoundAnswer(None, "no_answer")  # cut off while it was thinking
    else:
        found = _unboxed(text)
    if found.text is None:
        return found
    if not found.text:
        return FoundAnswer(None, "empty_answer" if found.reason == "boxed" else "no_answer", found.boxed)
    if len(found.text) > MAX_ANSWER_CHARS:
        return FoundAnswer(None, "answer_too_long", found.boxed)
    return found


def gold_answer(gold: str) -> str:
    r"""The answer in a gold that may be a whole solution, with thinking or not: its last `\boxed{}`, what stands in
    `<answer>` or follows `####`, or all of it.

    Boxes side by side, with nothing but "and", "or" and commas between them, are one list.
    """
    gold = first_turn(after_thinking(gold))
    if found := boxes(gold):
        return ", ".join(box.content.strip() for box in found[-1 - len(_gaps(gold, found, _APART)) :])
    if "<" in gold and (tagged := TAGGED.findall(gold)):
        return str(tagged[-1])
    if "####" in gold:
        return gold.rsplit("####", 1)[1].strip()
    prose = re.search("[.\n]", gold) and re.search(r"\banswer\b", gold, re.IGNORECASE)
    said = stated(gold).text if prose or begins_statement(gold) else None
    return said or gold.strip()
