r"""Find the final answer in a response. The rule, in one sentence: the final answer is the last complete
`\boxed{}` after the last `</think>`, or in the whole text where there is no `</think>`.

What counts when there is no box is a switch (`require_box`); docs/verifier.md states both positions. Everything
here is one pass over at most `max_chars` characters: a response of 10 MB costs milliseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Responses are cut to their last MAX_CHARS characters, answers longer than MAX_ANSWER_CHARS are not parsed.
MAX_CHARS = 200_000
MAX_ANSWER_CHARS = 2_000
_TAIL_CHARS = 4_000  # how far back an unboxed answer is looked for

_BRACES = re.compile(r"(?<!\\)\\+(boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_ANCHOR = re.compile(
    r"(?:final\s+answer|answer|result|solution)\s*(?:\*\*|__)?\s*(?:is|are|was|:|=)\s*(?:\*\*|__)?\s*:?\s*|####\s*",
    re.IGNORECASE,
)
_MATH = re.compile(
    r"\$\$(?P<a>[^$]+)\$\$|(?<!\\)\$(?P<b>(?:\\\$|[^$])+?)(?<!\\)\$|\\\((?P<c>.+?)\\\)|\\\[(?P<d>.+?)\\\]", re.DOTALL
)
_JOIN = re.compile(r"\s*(?:,|;|and|or|,\s*and|,\s*or)\s*")
_SENTENCE_END = re.compile(
    r"[.!?](?=\s|$)|\n|,?\s+(?:because|since|which|where|so|as|I hope)\b(?!\s*\$)", re.IGNORECASE
)
_COPULA = re.compile(r"(?<=[A-Za-z$)}])\s+(?:is|are|equals?)\s+(?=[-$\\\d(])")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_TEXT_ARGUMENT = re.compile(r"\\(?:text|textbf|textit|mathrm|mbox|operatorname)\s*\{[^{}]*\}")


@dataclass(frozen=True)
class Extraction:
    """What was found: `text` is None where there is nothing, and then `reason` says why."""

    text: str | None
    reason: str
    boxed: bool = False


def last_boxed(text: str) -> str | None:
    r"""Content of the last complete `\boxed{}`, or of the last complete `\fbox{}` where there is no other.

    Braces are matched, escaped ones skipped; a space may stand before the brace. Of nested boxes the outermost
    complete one counts. An unclosed box does not count.
    """
    stack: list[tuple[str, int]] = []
    last: dict[str, str] = {}
    for match in _BRACES.finditer(text):
        token = match.group()
        if match.group(1):
            stack.append((match.group(1), match.end()))
        elif token == "{":
            stack.append(("", 0))
        elif token == "}" and stack:
            kind, start = stack.pop()
            if kind:
                last[kind] = text[start : match.start()]
    return last.get("boxed", last.get("fbox"))


def _cut_sentence(text: str) -> str:
    """The first sentence of `text`, or its leading math segments where it opens with one."""
    text = text.strip()
    segment = _MATH.match(text)
    if segment:
        end = segment.end()
        while True:
            join = _JOIN.match(text, end)
            following = _MATH.match(text, join.end()) if join else None
            if following is None:
                break
            end = following.end()
        unit = re.match(r"[ \t]*(?:%|[A-Za-z]+[ \t]*(?=[.\n]|$))", text[end:])
        return text[: end + (unit.end() if unit else 0)]
    stop = _SENTENCE_END.search(text)
    text = text[: stop.start()] if stop else text
    copula = list(_COPULA.finditer(text))  # "Final answer: the largest n is 34"
    return text[copula[-1].end() :] if copula else text


def _looks_bare(text: str) -> bool:
    """Whether a response is nothing but an answer: one short line (or display) with hardly a word of prose."""
    if not text or len(text) > 400:
        return False
    if "\n" in text and "\\begin{" not in text and not (text.startswith(("$$", "\\[")) and _MATH.fullmatch(text)):
        return False
    outside, segments = _MATH.subn(" ", text)
    words = _WORD.findall(_TEXT_ARGUMENT.sub(" ", outside))
    return all(word in ("and", "or") for word in words) if segments else len(words) <= 4


def _unboxed(text: str) -> Extraction:
    """The stated answer of a text without a box: after "answer is" or "####", bare, or the closing formula."""
    tail = re.sub(r"[ \t]+", " ", text[-_TAIL_CHARS:]).strip()
    anchors = list(_ANCHOR.finditer(tail))
    for anchor in reversed(anchors[-8:]):
        stated = _cut_sentence(tail[anchor.end() :]).strip().strip("*_ ")
        if stated and "boxed" not in stated:
            return Extraction(stated, "stated")
    if "boxed" in tail:  # an unclosed box: the answer was cut off
        return Extraction(None, "no_answer")
    if len(text) <= 400 and _looks_bare(text.strip()):
        return Extraction(text.strip(), "bare")
    last_line = tail.rsplit("\n", 1)[-1] if not tail.endswith(("\\]", "$$")) else tail
    segments = list(_MATH.finditer(last_line))
    if segments:
        groups = segments[-1].groupdict()
        return Extraction(next(value for value in groups.values() if value is not None), "last_formula")
    return Extraction(None, "no_answer")


def after_think(response: str) -> str:
    """The text after the last `</think>`, or all of it."""
    position = response.rfind("</think>")
    return response if position < 0 else response[position + len("</think>") :]


def extract(response: str | None, *, require_box: bool = False, max_chars: int = MAX_CHARS) -> Extraction:
    """Final answer of a response under the rule above.

    Args:
        response: the completion; None (a request that failed) has no answer.
        require_box: True accepts nothing but a box.
        max_chars: only so many characters at the end of the response are read.

    Returns:
        An `Extraction`; its text is None where there is no answer, and "" is never returned.
    """
    if response is None:
        return Extraction(None, "no_response")
    text = after_think(response)[-max_chars:]
    boxed = last_boxed(text)
    if boxed is not None:
        found = Extraction(boxed.strip(), "boxed", True)
    elif require_box:
        return Extraction(None, "no_box")
    else:
        found = _unboxed(text)
    if found.text is None:
        return found
    if not found.text:
        return Extraction(None, "empty_answer", found.boxed)
    if len(found.text) > MAX_ANSWER_CHARS:
        return Extraction(None, "answer_too_long", found.boxed)
    return found


def gold_answer(gold: str) -> str:
    r"""The answer in a gold that may be a whole solution: its last `\boxed{}`, what follows `####`, or all of it."""
    boxed = last_boxed(gold)
    if boxed is not None:
        return boxed.strip()
    if "####" in gold:
        return gold.rsplit("####", 1)[1].strip()
    return gold.strip()
