r"""From a model's reply to a strategy or to scores, whatever stands around the JSON.

JSON may come in fences, after thinking, between prose, with LaTeX's single backslashes, as a text within JSON, or
nearly JSON (`sgpo.strategies.lenient`); a strategy may be labelled text (`sgpo.strategies.labelled`). The last one that
fits the schema counts, since models draft before they decide. What cannot be read has a reason, which is counted.
"""

import contextlib
import html
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sgpo.models.thinking import strip_thinking
from sgpo.runs.files import JsonObject
from sgpo.strategies import lenient
from sgpo.strategies.labelled import read_labelled
from sgpo.strategies.schema import CRITERIA, MAX_SCORE, Strategy, plain_keys

MAX_REPLY_CHARS = 200_000
REASONS = ("empty", "too_long", "refusal", "truncated", "bad_json", "no_json", "wrong_schema")

_MAX_STARTS = 200  # objects tried in one reply
_MAX_REPAIRS = 8  # of them as nearly JSON
_START = re.compile(r"""\{\s*(?:["'“”‘«„`]|[A-Za-z][\w -]{0,40}:)""")
_BEGINS = re.compile(r"""\s*(?:```\w*\s*)?(?:\{|\[\s*[{\["'])""")
_LABELS = ("candidate", "candidate_number", "number", "index", "id")
_NAMED = re.compile(r"(?:(?:candidate|strategy|option)[\s_]*)?\W{0,2}([A-Za-z]+)\W{0,2}", re.I)  # "B", "Candidate (B)"
_NUMBERS = {
    word: number
    for words in ("one two three four five six seven eight nine ten", "first second third fourth fifth sixth seventh")
    for number, word in enumerate(words.split(), 1)
}
_SCORE = re.compile(r"(\d{1,2}(?:\.0+)?)(?:\s*(?:/|out of)\s*\d+)?(?:\s*[-–—:(,;.]\s*[^\d\s].*|\s+[^\W\d]\D*)?", re.S)
_UNFIT = (ValueError, TypeError, KeyError, AttributeError, OverflowError, StopIteration, RecursionError)
_ANSWER_CHARS = 2_000
_DEEPEST = 5  # wrappers around what is looked for
_WIDE = str.maketrans("｛｝［］：，＂", '{}[]:,"')
_REFUSAL = re.compile(
    r"\s*(?:Sorry|Unfortunately,? I|(?:I(?:'|’)?m|I am) (?:very |so |really )?(?:sorry|not able|unable)|"
    r"I can(?:no|'|’)?t|I (?:will|must) (?:not\b|decline)|I won(?:'|’)t|As an AI)",
    re.I,
)
# LaTeX commands whose first letter JSON would take for a line feed or a tab. No text has the other control characters.
_COMMANDS = (
    "nabla|natural|ncong|ne|nearrow|neg|neq|newcommand|newline|nexists|ngeq|ni|nleq|nless|ngtr|nmid|nolimits|nonumber|"
    "not|notag|notin|nparallel|nsim|nsubseteq|nu|nwarrow|"
    "tag|tan|tanh|tau|tbinom|text[a-z]*|tfrac|therefore|theta|thinspace|tilde|times|to|top|triangle[a-z]*|tt"
)
_ESCAPE = re.compile(rf'\\\\|\\(?:{_COMMANDS})(?![A-Za-z])|\\[bfr](?=[A-Za-z])|\\(?!["\\/bfnrt]|u[0-9a-fA-F]{{4}})')
_DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True)
class Parsed:
    """``outcome`` is "ok" and ``value`` there, or ``outcome`` one of `REASONS` and ``value`` None."""

    outcome: str
    value: Any = None


def parse_strategy(text: str, finish: str = "stop") -> Parsed:
    """The strategy in a reply; ``finish`` is the endpoint's word for why it ended. Never raises."""

    def read(found: Any) -> Strategy:
        fields = _unwrapped(found, "problem_type")
        if isinstance(inner := fields.get("strategy"), dict) and "steps" not in fields:
            fields = {**fields, **plain_keys(inner)}
        numbered = [value for name, value in fields.items() if re.fullmatch(r"step_?\d{1,2}", name)]
        return Strategy.model_validate({"steps": numbered, **fields})

    parsed = _parse(text, finish, read)
    if parsed.outcome == "no_json" and (fields := read_labelled(strip_thinking(text))):
        with contextlib.suppress(ValueError):
            return Parsed("ok", Strategy.model_validate(fields))
    return parsed


def parse_scores(text: str, count: int, finish: str = "stop") -> Parsed:
    """Scores of ``count`` candidates: a list of ``{criterion: 1..5}`` in the order of their numbers. Never raises.

    A reply that leaves out, repeats or invents a candidate is of the wrong schema as a whole: a ranking of some
    cannot be compared with one of all.
    """

    def read(found: Any) -> list[dict[str, int]]:
        entries = list(_entries(found))
        if len(entries) != count:
            raise ValueError(f"{len(entries)} scores for {count} candidates")
        labels = [label for label, _ in entries]
        if not any(labels):  # in their order
            labels = [str(number) for number in range(1, count + 1)]
        by_number = {_whole(label, count): entry for label, (_, entry) in zip(labels, entries, strict=True)}
        return [{name: _whole(by_number[i][name], MAX_SCORE) for name in CRITERIA} for i in range(1, count + 1)]

    return _parse(text, finish, read)


def parse_answer(text: str, finish: str = "stop") -> Parsed:
    """The answer in a reply to `sgpo strategies audit`, as text. Never raises."""

    def read(found: Any) -> str:
        answer = _unwrapped(found, "answer")["answer"]
        if isinstance(answer, bool) or not isinstance(answer, (str, int, float)) or not str(answer).strip():
            raise ValueError(f"{answer!r} is no answer")
        return str(answer).strip()[:_ANSWER_CHARS]

    return _parse(text, finish, read)


def json_alone(text: str) -> str:
    """A text that JSON begins; "" for any other. Servers put an answer that a schema holds among a model's thoughts.

    Thoughts themselves begin with words, and may hold drafts of the answer.
    """
    return text if _BEGINS.match(text) else ""


def _entries(found: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, JsonObject]]:
    """The objects that hold all criteria, wherever they stand, each with its candidate's number: "" where it has no
    name, "?" for a name without a number, which says nothing of its place."""
    if isinstance(found, str) and _BEGINS.match(found):
        found = json.loads(found)
    plain = plain_keys(found)
    if isinstance(plain, dict):
        stated = next((str(plain[key]) for key in _LABELS if plain.get(key) is not None), "")
        label = (_number(stated) or "?") if stated.strip() else name
        if any(criterion in plain for criterion in CRITERIA):
            yield label, plain
            return
        inner = [(_number(key) or label, value) for key, value in plain.items()]
    else:
        inner = [("", value) for value in found] if isinstance(found, list) else []
    for label, value in inner if depth < _DEEPEST else ():
        yield from _entries(value, label, depth + 1)


def _number(label: str) -> str:
    """The digits of a candidate's name; of one that has none its letter or word as a number, "" where there is none."""
    if digits := re.sub(r"\D", "", label):
        return digits
    word = _NAMED.fullmatch(label.strip())
    found = word[1].lower() if word else ""
    number = ord(found) - ord("a") + 1 if len(found) == 1 else _NUMBERS.get(found)
    return "" if number is None else str(number)


def _unwrapped(found: Any, key: str, depth: int = 0) -> JsonObject:
    """The object that has ``key``: this one, or the last one within it, as in ``{"result": {"strategy": {...}}}``.

    Raises ValueError where there is none.
    """
    if isinstance(found, str) and _BEGINS.match(found):
        found = json.loads(found)
    plain = plain_keys(found)
    if isinstance(plain, dict) and key in plain and not (isinstance(plain[key], dict) and "type" in plain[key]):
        return plain  # and no JSON schema, which some models say first
    inner = list(plain.values()) if isinstance(plain, dict) else found if isinstance(found, list) else []
    for value in reversed(inner) if depth < _DEEPEST else ():
        with contextlib.suppress(ValueError, RecursionError):
            return _unwrapped(value, key, depth + 1)
    raise ValueError(f"no {key}")


def _whole(value: Any, most: int) -> int:
    """1..most from 4, 4.0, "4", "4/5", "4 - good" or ``{"score": 4, "reason": ...}``."""
    if isinstance(value, dict):
        value = next(value[key] for key in ("score", "rating", "value") if key in value)
    if isinstance(value, str):
        score = _SCORE.fullmatch(value.strip())
        if score is None:
            raise ValueError(f"{value[:40]!r} is no score")
        value = score[1]
    if isinstance(value, bool) or float(value) != int(float(value)) or not 1 <= int(float(value)) <= most:
        raise ValueError(f"{value!r} is not a whole number from 1 to {most}")
    return int(float(value))


def _parse(text: str, finish: str, read: Callable[[Any], Any]) -> Parsed:
    if len(text) > MAX_REPLY_CHARS:
        return Parsed("too_long")
    said = strip_thinking(text)
    objects, fault = _objects(said)
    # A reply may be JSON whose texts quote HTML, stand escaped within another text, or use full-width brackets.
    others = (text if _BEGINS.match(text) else "", html.unescape(said), said.replace('\\"', '"'), said.translate(_WIDE))
    for other in (said, *dict.fromkeys(others)):  # the others only where the text itself holds nothing that fits
        found = objects if other is said else _objects(other)[0] if other != said else []
        for each in [*reversed(found), found]:  # all of them: the scores may be an object for each candidate
            try:
                return Parsed("ok", read(each))
            except _UNFIT:
                continue
    if finish == "refusal" or (not objects and _REFUSAL.match(said)):
        return Parsed("refusal")
    if finish == "length":
        return Parsed("truncated")
    if fault or objects:
        return Parsed(fault or "wrong_schema")
    return Parsed("no_json" if said.strip() else "empty")


def _objects(text: str) -> tuple[Sequence[JsonObject], str]:
    """The outermost JSON objects in a text, in order; and what is wrong with the last one that cannot be read."""
    text = _ESCAPE.sub(lambda match: match[0] if match[0] == "\\\\" else "\\" + match[0], text.rstrip())
    objects: list[JsonObject] = []
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
                fault = "truncated" if position > len(text) else ""
            except (ValueError, RecursionError) as error:
                fault = "truncated" if "the text ended" in str(error) else "bad_json"
    return objects, fault
