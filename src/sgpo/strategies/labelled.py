"""A strategy that came as labelled text and not as JSON: YAML, markdown with headings or bold labels, or tags.

A label stands at the beginning of a line, and all three must be there; what follows one, up to the next, is its value.
"""

import re

_LABEL = re.compile(
    r"""^[ \t>]*(?:\#{1,6}[ \t]+|[-*•][ \t]+|\d{1,2}[.)][ \t]+)?    # a heading, an item of a list
        (?:<(?P<tag>problem_type|strategy|steps)>                    # a tag
        |["'`*_]{0,4}(?P<label>problem[ _-]?type|strategy|steps)["'`*_]{0,4}[ \t]*
         (?:[:：][ \t]*[*_]{0,3}[ \t]*[|>]?[ \t]*|$))                # a colon, or nothing else on the line
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_TAG = re.compile(r"(?=<(?:problem_type|strategy|steps)>)", re.IGNORECASE)
_STEP = re.compile(r"<step\b[^<>]*>(.*?)</step>", re.IGNORECASE | re.DOTALL)
_CLOSED = re.compile(r"</(?:problem_type|strategy|steps)>.*", re.IGNORECASE | re.DOTALL)
_FENCE = re.compile(r"^[ \t]*(?:```\w*|---)[ \t]*$", re.MULTILINE)


def read_labelled(text: str) -> dict[str, str | list[str]]:
    """The values of the labels by their names in the schema; of a label that stands twice, the last one."""
    plain = _TAG.sub("\n", _FENCE.sub("", text))
    labels = list(_LABEL.finditer(plain))
    ends = [*(label.start() for label in labels), len(plain)][1:]
    found: dict[str, str | list[str]] = {}
    for label, end in zip(labels, ends, strict=False):
        # "Problem type", "problem-type" and "problemtype" are one.
        name = re.sub(r"[ -]|(?<=m)(?=t)", "_", (label["tag"] or label["label"]).lower())
        value = plain[label.end() : end]
        if label["tag"]:
            value = _CLOSED.sub("", value)
        if name == "steps":
            found[name] = _STEP.findall(value) or [_unquoted(line) for line in value.splitlines()]
        else:
            found[name] = _unquoted(" ".join(value.split()))
    return found


def _unquoted(value: str) -> str:
    """A value, or an item of a list, without the quotes around it."""
    item = re.fullmatch(r"(\s*(?:-\s+)?)([\"'`])(.*)\2\s*", value, re.DOTALL)
    return item[1] + item[3] if item else value
