"""What a strategy is: a problem type, a principle, and general steps (arXiv 2606.24064, section 2).

The lengths are ours. They keep a strategy a small part of a prompt, and bound what a model's reply can put into the
store. Replies, and the problems of a file, are hostile text: `clean` takes out what a terminal or a database could
trip over.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from sgpo.runs.files import JsonObject

CRITERIA = ("faithful", "general", "executable", "instance_free")
"""The four of the ranking: true to the response, of use for other problems of the type, executable by a weaker model,
free of the instance's numbers, computation and answer. The paper's wording is not published; this is ours."""

MAX_SCORE = 5

# Control characters but newline and tab, and the marks that reorder text on a screen.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_WORDS = re.compile(r"[^\W\d_]{2}")  # "3", "Step 3" names no step, but does no harm as its title
_NUMBERING = re.compile(r"^\s*(?:\*{0,2}(?:step\s*)?[#(]?\d{1,2}\s*[.):]\*{0,2}\s+|[-*•]\s+)+", re.IGNORECASE)

_MARK = re.compile(r"(?:^|(?<=\s))\*{0,2}(?:step\s*)?[#(]?(\d{1,2})\s*[.):]\*{0,2}(?=\s)", re.IGNORECASE)


def clean(text: str) -> str:
    """``text`` without control characters and with lone surrogates replaced, so that it can be stored and shown."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("", text.encode("utf-8", "replace").decode())


def _text(value: Any) -> Any:
    """A text, also of a list of texts or of an object with one field."""
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        value = " ".join(value)
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
    """Steps that came as one text, as a mapping from their numbers, or as lists in a list; blank ones are left out."""
    if isinstance(value, dict):
        value = [text if isinstance(text, (str, dict)) else str(text) for text in value.values()]
    if isinstance(value, str):
        value = _listed(value)
    if not isinstance(value, list):
        return value
    parts = [part for step in value for part in (step if isinstance(step, list) else [step])]
    if len(parts) == 1 and isinstance(parts[0], str):
        parts = _numbered(parts[0]) or parts
    return [part for part in parts if not (part is None or (isinstance(part, str) and not _step(part)))]


def _listed(text: str) -> list[Any]:
    """The steps in one text: a list in JSON, numbered ones, or a line each."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, list) else _numbered(text) or text.splitlines()


def _numbered(text: str) -> list[str]:
    """The parts of "1. Name them. 2. Add them."; none where numbers do not go up from 1."""
    starts: list[int] = []
    for mark in _MARK.finditer(text):
        if int(mark[1]) == len(starts) + 1:
            starts.append(mark.start())
    if len(starts) < 2 or text[: starts[0]].strip():
        return []
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def _bounded(limit: int) -> StringConstraints:
    return StringConstraints(strict=True, min_length=1, max_length=limit)


Step = Annotated[str, BeforeValidator(_step), _bounded(800)]


class Strategy(BaseModel):
    """One strategy. Unknown fields are dropped; numbering in front of a step is taken off.

    One of a user's own may be a single text, without a type and steps (`of_text`).
    """

    model_config = ConfigDict(frozen=True)

    problem_type: Annotated[str, BeforeValidator(_text), _bounded(200)]
    strategy: Annotated[str, BeforeValidator(_text), _bounded(2_000)]
    steps: Annotated[list[Step], BeforeValidator(_steps), Field(min_length=1, max_length=20)]

    @classmethod
    def of_text(cls, text: str) -> Strategy:
        """A strategy that enters a prompt as this text."""
        return cls.model_construct(problem_type="", strategy=text, steps=[])

    @classmethod
    def load(cls, stored: str) -> Strategy:
        """What `dump` gave."""
        return cls.of_text(json.loads(stored)) if stored.startswith('"') else cls.model_validate_json(stored)

    def dump(self) -> str:
        """As JSON: an object with the parts, or the single text."""
        return self.model_dump_json() if self.steps else json.dumps(self.strategy)

    def text(self) -> str:
        """How it enters a prompt."""
        if not self.steps:
            return self.strategy
        steps = "\n".join(f"{number}. {step}" for number, step in enumerate(self.steps, 1))
        return f"Problem type: {self.problem_type}\nStrategy: {self.strategy}\nSteps:\n{steps}"


def written_strategy(cell: Any) -> str | None:
    """A cell of the column ``strategy`` as the text of a prompt; None for none, or a blank one.

    Args:
        cell: text, None, or an object with the fields of `Strategy`, whose text is then that of an exported one.

    Raises:
        ValueError: the cell is anything else.
    """
    if cell is None or isinstance(cell, str):
        return cell if cell and cell.strip() else None
    if isinstance(cell, dict):
        try:
            return Strategy.model_validate(plain_keys(cell)).text()
        except ValidationError as error:
            fault = error.errors()[0]
            said = f"of which {'.'.join(map(str, fault['loc']))!r} cannot be used ({fault['msg']})"
    else:
        said = f"a {type(cell).__name__}"
    raise ValueError(
        f"'strategy' is {str(cell)[:80]!r}, {said}; give text, an object with problem_type, strategy and steps, or "
        "null for a problem without one."
    )


def _object(**properties: Any) -> JsonObject:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_STRING = {"type": "string"}
_SCORE = {"type": "integer", "enum": list(range(1, MAX_SCORE + 1))}

# Without lengths: several servers refuse a strict schema that has them.
STRATEGY_SCHEMA = _object(problem_type=_STRING, strategy=_STRING, steps={"type": "array", "items": _STRING})
ANSWER_SCHEMA = _object(answer=_STRING)
SCORES_SCHEMA = _object(
    scores={"type": "array", "items": _object(candidate={"type": "integer"}, **dict.fromkeys(CRITERIA, _SCORE))}
)
