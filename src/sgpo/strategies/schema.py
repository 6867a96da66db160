"""What a strategy is: a problem type, a principle, and general steps (arXiv 2606.24064, section 2).

The lengths are ours. They keep a strategy a small part of a prompt, and bound what a model's reply can put into the
store. Replies, and the problems of a file, are hostile text: `clean` takes out what a terminal or a database could
trip over.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

CRITERIA = ("faithful", "general", "executable", "instance_free")
"""The four of the ranking: true to the response, of use for other problems of the type, executable by a weaker model,
free of the instance's numbers, computation and answer. The paper's wording is not published; this is ours."""

MAX_SCORE = 5

# Control characters but newline and tab, and the marks that reorder text on a screen.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_WORDS = re.compile(r"[^\W\d_]{2}")  # "3", "Step 3" names no step, but does no harm as its title
_NUMBERING = re.compile(r"^\s*(?:(?:step\s*)?\d{1,2}\s*[.):]\s+|[-*•]\s+)+", re.IGNORECASE)


def clean(text: str) -> str:
    """``text`` without control characters and with lone surrogates replaced, so that it can be stored and shown."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("", text.encode("utf-8", "replace").decode())


def _text(value: Any) -> Any:
    return clean(value).strip() if isinstance(value, str) else value


def plain_keys(found: Any) -> Any:
    """An object with its keys as the schema spells them: "Problem Type" and "problemType" are problem_type."""
    if not isinstance(found, dict):
        return found
    words = {key: re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(key)) for key in found}
    return {re.sub(r"[\W_]+", "_", words[key]).strip("_").lower(): value for key, value in found.items()}


def _step(value: Any) -> Any:
    if isinstance(value, dict):  # {"step": 1, "title": "Name the parts", "description": "..."}
        value = ": ".join(text for text in map(_text, value.values()) if isinstance(text, str) and _WORDS.search(text))
    return _NUMBERING.sub("", clean(value) + " ", count=1).strip() if isinstance(value, str) else value


def _steps(value: Any) -> Any:
    """Steps that came as one text, a line each, or as a mapping from their numbers."""
    if isinstance(value, dict):
        return [text if isinstance(text, (str, dict)) else str(text) for text in value.values()]
    return [line for line in value.splitlines() if line.strip()] if isinstance(value, str) else value


def _bounded(limit: int) -> StringConstraints:
    return StringConstraints(strict=True, min_length=1, max_length=limit)


Step = Annotated[str, BeforeValidator(_step), _bounded(800)]


class Strategy(BaseModel):
    """One strategy. Unknown fields are dropped; numbering in front of a step is taken off."""

    model_config = ConfigDict(frozen=True)

    problem_type: Annotated[str, BeforeValidator(_text), _bounded(200)]
    strategy: Annotated[str, BeforeValidator(_text), _bounded(2_000)]
    steps: Annotated[list[Step], BeforeValidator(_steps), Field(min_length=1, max_length=20)]

    def text(self) -> str:
        """How it enters a prompt."""
        steps = "\n".join(f"{number}. {step}" for number, step in enumerate(self.steps, 1))
        return f"Problem type: {self.problem_type}\nStrategy: {self.strategy}\nSteps:\n{steps}"


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_STRING = {"type": "string"}
_SCORE = {"type": "integer", "enum": list(range(1, MAX_SCORE + 1))}

# Without lengths: several servers refuse a strict schema that has them.
STRATEGY_SCHEMA = _object(problem_type=_STRING, strategy=_STRING, steps={"type": "array", "items": _STRING})
SCORES_SCHEMA = _object(
    scores={
        "type": "array",
        "items": _object(candidate={"type": "integer"}, **dict.fromkeys(CRITERIA, _SCORE)),
    }
)
