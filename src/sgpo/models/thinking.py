"""The answer in a text that thinks aloud before it, whatever marks the model's family writes around the thinking."""

from __future__ import annotations

import re

_NAMES = r"(?:think(?:ing)?|thoughts?|reasoning|seed:think)"
# Qwen and DeepSeek; OpenThinker; Magistral; Kimi; gpt-oss, with and without its special tokens.
_OPEN = re.compile(
    rf"<{_NAMES}>|<\|begin_of_thought\|>|\[THINK\]|◁think▷|<\|channel\|>\s*(?:analysis|commentary)|\Aanalysis(?=[A-Z\s])",
    re.I,
)
_CLOSE = re.compile(
    rf"</{_NAMES}>|<\|end_of_thought\|>|\[/THINK\]|◁/think▷|<\|channel\|>\s*final[^<]*<\|message\|>|assistantfinal",
    re.I,
)
_AROUND = re.compile(r"<\|(?:begin_of_solution|end_of_solution|end|return|im_end|eot_id)\|>")


def strip_thinking(text: str) -> str:
    """What follows the last end of thinking; where thinking does not end, what stands before it."""
    ends = list(_CLOSE.finditer(text))
    said = text[ends[-1].end() :] if ends else text
    begun = _OPEN.search(said)
    return _AROUND.sub("", said[: begun.start()] if begun else said).strip()
