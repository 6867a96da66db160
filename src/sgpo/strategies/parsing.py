r"""From a model's reply to a strategy or to scores, whatever stands around the JSON.

JSON may come in fences, after thinking, between prose, with LaTeX's single backslashes. The last object that fits the
schema counts, since models draft before they decide. What cannot be read has a reason, which is counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from sgpo.strategies.schema import CRITERIA, MAX_SCORE, Strategy

MAX_REPLY_CHARS = 200_000
REASONS = ("empty", "too_long", "refusal", "truncated", "bad_json", "no_json", "wrong_schema")

_MAX_STARTS = 200  # objects tried in one reply
_START = re.compile(r'\{\s*"')
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
_DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True)
class Parsed:
    """``outcome`` is "ok" and ``value`` there, or ``outcome`` one of `REASONS` and ``value`` None."""

    outcome: str
    value: Any = None


def parse_strategy(text: str, finish: str = "stop") -> Parsed:
    """The strategy in a reply; ``finish`` is the endpoint's word for why it ended. Never raises."""

    def read(found: Any) -> Strategy:
        return Strategy.model_validate(found)

    return _parse(text, finish, read)


def parse_scores(text: str, count: int, finish: str = "stop") -> Parsed:
    """Scores of ``count`` candidates: a list of ``{criterion: 1..5}`` in the order of their numbers. Never raises.

    A reply that leaves out, repeats or invents a candidate is of the wrong schema as a whole: a ranking of some
    cannot be compared with one of all.
    """

    def read(found: Any) -> list[dict[str, int]]:
        entries = found["scores"]
        if len(entries) != count:
            raise ValueError(f"{len(entries)} scores for {count} candidates")
        by_number = {_whole(entry["candidate"], count): entry for entry in entries}
        return [{name: _whole(by_number[i][name], MAX_SCORE) for name in CRITERIA} for i in range(1, count + 1)]

    return _parse(text, finish, read)


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
    said = text.rpartition("</think>")[2] if "</think>" in text else text.partition("<think>")[0]
    objects, fault = _objects(said)
    for found in reversed(objects):
        try:
            return Parsed("ok", read(found))
        except (ValidationError, ValueError, TypeError, KeyError, OverflowError):
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
    position = 0
    for _ in range(_MAX_STARTS):
        start = _START.search(text, position)
        if start is None:
            break
        try:
            found, position = _DECODER.raw_decode(text, start.start())
            objects.append(found)
        except json.JSONDecodeError as error:
            ended = error.pos >= len(text) or error.msg.startswith("Unterminated")
            fault, position = "truncated" if ended else "bad_json", start.end()
        except (ValueError, RecursionError):  # a number of 5,000 digits, brackets 100,000 deep
            fault, position = "bad_json", start.end()
    return objects, fault
