"""The answer in a text that thinks aloud before it, whatever marks the model's family writes around the thinking."""

import re

_NAMES = r"(?:think(?:ing)?|thoughts?|reasoning|seed:think)"
# Qwen and DeepSeek; OpenThinker; Magistral; Kimi; gpt-oss, with and without its special tokens. Without them its
# thinking begins "analysisWe", while "Analysis of the problem" is how others begin an answer.
_OPEN = re.compile(
    rf"<{_NAMES}>|<\|begin_of_thought\|>|\[THINK\]|◁think▷|<\|channel\|>\s*(?:analysis|commentary)"
    rf"|(?-i:\Aanalysis(?=[A-Z]))",
    re.I,
)
_CLOSE = re.compile(
    rf"</{_NAMES}>|<\|end_of_thought\|>|\[/THINK\]|◁/think▷|<\|channel\|>\s*final[^<]*<\|message\|>|assistantfinal",
    re.I,
)
_HINTS = ("</", "<|", "[/", "◁", "assistantfinal")  # of an end; to look for these first is 20 times faster
_AROUND = re.compile(r"<\|(?:begin_of_solution|end_of_solution|end|return|im_end|eot_id)\|>")


def is_mark(token: str) -> bool:
    """Whether a token is a whole mark of thinking, such as ``[THINK]`` or ``</think>``."""
    return bool(_OPEN.fullmatch(token) or _CLOSE.fullmatch(token))


def begun_at_end(text: str) -> str:
    """The mark with which a prompt ends that begins the thinking for the model, as DeepSeek-R1's does; "" otherwise."""
    begun = [mark[0] for mark in _OPEN.finditer(text) if not text[mark.end() :].strip()]
    return begun[-1] if begun else ""


def after_thinking(text: str) -> str:
    """What follows the last end of thinking; all of the text where there is none."""
    end = 0
    if any(hint in text for hint in _HINTS):
        for mark in _CLOSE.finditer(text):
            end = mark.end()
    return text[end:]


def begins_thinking(text: str) -> bool:
    """Whether thinking begins anywhere in a text."""
    return _OPEN.search(text) is not None


def has_mark(text: str) -> bool:
    """Whether thinking begins or ends anywhere in a text."""
    return begins_thinking(text) or _CLOSE.search(text) is not None


def ends_alone(text: str) -> bool:
    """Whether a text ends thinking that it has not begun: the prompt has, and its mark is no part of the reply."""
    end = _CLOSE.search(text)
    return end is not None and not begins_thinking(text[: end.start()])


def strip_thinking(text: str) -> str:
    """What follows the last end of thinking; where thinking does not end, what stands before it."""
    said = after_thinking(text)
    begun = _OPEN.search(said)
    return _AROUND.sub("", said[: begun.start()] if begun else said).strip()
