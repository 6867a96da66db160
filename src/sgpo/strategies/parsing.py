r"""From a model's reply to a strategy or to scores, whatever stands around the JSON.

JSON may come in fences, after thinking, between prose, with LaTeX's single backslashes, or nearly JSON
(`sgpo.strategies.lenient`). The last object that fits the schema counts, since models draft before they decide. What
cannot be read has a reason, which is counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from sgpo.models.thinking import strip_thinking
from sgpo.strategies import lenient
from sgpo.strategies.schema import CRITERIA, MAX_SCORE, Strategy, plain_keys

MAX_REPLY_CHARS = 200_000
REASONS = ("empty", "too_long", "refusal", "truncated", "bad_json", "no_json", "wrong_schema")

_MAX_STARTS = 200  # objects tried in one reply
_MAX_REPAIRS = 8  # of them as nearly JSON
_START = re.compile(r"""\{\s*(?:["'“‘]|[A-Za-z][\w -]{0,40}:)""")
_REFUSAL = re.compile(
    r"\s*(?:Sorry|Unfortunately,? I|(?:I(?:'|’)?m|I am) (?:very |so |really )?(?:sorry|not able|unable)|"
    r"I can(?:no|'|’)?t|I (?:will|must) (?:not\b|decline)|I won(?:'|’)t|As an AI)",
    re.I,
)
# LaTeX commands whose first letter JSON would take for an escape: \frac is not a form feed.
_COMMANDS = (
    "bar|begin|beta|big|binom|bmod|boldsymbol|bot|boxed|bullet|bigcup|bigcap|backslash|"
    "fbox|forall|frac|flat|nabla|natural|ne|neg|neq|ni|nmid|not|notin|nu|"
    "rangle|rbrace|rceil|rfloor|rho|right|rightarrow|Rightarrow|"
    "tan|tau|tanh|text|textbf|textit|tfrac|therefore|theta|tilde|times|to|top|triangle"
)
_ESCAPE = re.compile(rf'\\\\|\\(?:{_COMMANDS})(?![A-Za-z])|\\(?!["\\/bfnrt]|u[0-9a-fA-F]{{4}})')
_ANSWER_CHARS = 2_000
_DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True)
class Parsed:
    """``outcome`` is "ok" and ``value`` there, or ``outcome`` one of `REASONS` and ``value`` None."""

    outcome: str
    value: Any = None


def parse_strategy(text: str, finish: str = "stop") -> Parsed:
    """The strategy in a reply; ``finish`` is the endpoint's word for why it ended. Never raises."""

    def read(found: dict[str, Any]) -> Strategy:
        return Strategy.model_validate(_unwrapped(found, "problem_type"))

    return _parse(text, finish, read)


def parse_scores(text: str, count: int, finish: str = "stop") -> Parsed:
    """Scores of ``count`` candidates: a list of ``{criterion: 1..5}`` in the order of their numbers. Never raises.

    A reply that leaves out, repeats or invents a candidate is of the wrong schema as a whole: a ranking of some
    cannot be compared with one of all.
    """

    def read(found: dict[str, Any]) -> list[dict[str, int]]:
        scores = _unwrapped(found, "scores")["scores"]
        if isinstance(scores, dict):  # {"1": {...}, "candidate 2": {...}}
            scores = [{"candidate": re.sub(r"\D", "", name), **entry} for name, entry in scores.items()]
        entries = [plain_keys(entry) for entry in scores]
        if len(entries) != count:
            raise ValueError(f"{len(entries)} scores for {count} candidates")
        by_number = {_whole(entry["candidate"], count): entry for entry in entries}
        return [{name: _whole(by_number[i][name], MAX_SCORE) for name in CRITERIA} for i in range(1, count + 1)]

    return _parse(text, finish, read)


def parse_answer(text: str, finish: str = "stop") -> Parsed:
    """The answer in a reply to `sgpo strategies audit`, as text. Never raises."""

    def read(found: dict[str, Any]) -> str:
        answer = _unwrapped(found, "answer")["answer"]
        if isinstance(answer, bool) or not isinstance(answer, (str, int, float)) or not str(answer).strip():
            raise ValueError(f"{answer!r} is no answer")
        return str(answer).strip()[:_ANSWER_CHARS]

    return _parse(text, finish, read)


def _unwrapped(found: dict[str, Any], key: str) -> dict[str, Any]:
    """The object that has ``key``: this one, or the only one within it, as in ``{"strategy": {...}}``."""
    plain = plain_keys(found)
    inner = [value for value in plain.values() if isinstance(value, dict)]
    return plain if key in plain or len(inner) != 1 else plain_keys(inner[0])


def _whole(value: Any, most: int) -> int:
    """1..most from 4, 4.0, "4" or "4/5"."""
    if isinstance(value, str):
        value = value.split("/")[0].strip()
    if isinstance(value, bool) or float(value) != int(float(value)) or not 1 <= int(float(value)) <= most:
        raise ValueError(f"{value!r} is not a whole number from 1 to {most}")
    return int(float(value))


def _parse(text: str, finish: str, read: Any) -> Parsed:
    if len(text) > MAX_REPLY_CHARS:
        return Parsed("too_long")
    said = strip_thinking(text)
    objects, fault = _objects(said)
    for found in reversed(objects):
        try:
            return Parsed("ok", read(found))
        except (ValidationError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
            continue
    if finish == "refusal" or (not objects and _REFUSAL.match(said)):
        return Parsed("refusal")
    if finish == "length":
        return Parsed("truncated")
    if fault or objects:
        return Parsed(fault or "wrong_schema")
    return Parsed("no_json" if said.strip() else "empty")


def _objects(text: str) -> tuple[Sequence[dict[str, Any]], str]:
    """The outermost JSON objects in a text, in order; and what is wrong with the last one that cannot be read."""
    text = _ESCAPE.sub(lambda match: match[0] if match[0] == "\\\\" else "\\" + match[0], text.rstrip())
    objects: list[dict[str, Any]] = []
    fault = ""
    position = repairs = 0
    for _ in range(_MAX_STARTS):
        start = _START.search(text, position)
        if start is None:
            break
        try:
            found, position = _DECODER.raw_decode(text, start.start())
            objects.append(found)
            continue
        except (ValueError, RecursionError):  # a number of 5,000 digits, brackets 100,000 deep, or nearly JSON
            repairs += 1
        fault, position = "bad_json", max(position, start.end())
        if repairs <= _MAX_REPAIRS:
            try:
                found, position = lenient.read_object(text, start.start())
                objects.append(found)
                fault = ""
            except (ValueError, RecursionError) as error:
                fault = "truncated" if "the text ended" in str(error) else "bad_json"
    return objects, fault
