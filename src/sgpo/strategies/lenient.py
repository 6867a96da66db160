"""JSON as models write it: commas and the last brace missing, quotes of any kind and unescaped, bare keys, comments.

A small reader of its own and not a list of repairs: repairs of a text break one another, a grammar does not.
"""

import json
import re
from typing import Any

from sgpo.runs.files import JsonObject

_SPACE = re.compile(r"(?:\s|//[^\n]{0,300}|#[^\n]{0,300}|/\*.{0,1000}?\*/|\.{3}|…)*", re.S)
_NUMBER = re.compile(r"-?\d{1,300}(?:\.\d{1,300})?(?:[eE][+-]?\d{1,3})?(?![\w.])")
_WORD = re.compile(r"[A-Za-z_][\w \-]{0,60}")
_CONSTANTS = {"true": True, "false": False, "null": None, "none": None, "undefined": None, "nan": None}
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "”": "”", "‘": "’", "«": "»", "„": "“”"}
_VALUE = re.compile(
    r"""[\[{}\]"'`“”‘«„\d-]|[A-Za-z_][\w \-]{0,60}\s*:|(?:true|false|null|none|undefined|nan)\b""", re.I
)
_DEEPEST = 40


def read_object(text: str, start: int) -> tuple[JsonObject, int]:
    """The object that begins at ``start``, and where it ends: beyond the text where its last brace is missing.

    Raises:
        ValueError: there is none; "ended" in the message where the text ends within it.
    """
    value, end = _value(text, start, 0)
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value, end


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    at = _skip(text, at)
    letter = text[at]
    if depth > _DEEPEST:
        raise ValueError("nested too deep")
    if letter == "{":
        return _object(text, at + 1, depth)
    if letter == "[":
        return _list(text, at + 1, depth)
    if letter in _QUOTES:
        return _string(text, at)
    if number := _NUMBER.match(text, at):
        return json.loads(number[0]), number.end()
    word = _WORD.match(text, at)
    if word and word[0].strip().lower() in _CONSTANTS:
        return _CONSTANTS[word[0].strip().lower()], word.end()
    raise ValueError(f"no value at {at}")


def _object(text: str, at: int, depth: int) -> tuple[JsonObject, int]:
    found: JsonObject = {}
    while (at := _skip(text, at, missing="")) < len(text) and text[at] != "}":
        if text[at] in _QUOTES:
            key, at = _string(text, at)
        elif word := _WORD.match(text, at):
            key, at = word[0].strip(), word.end()
        else:
            raise ValueError(f"no key at {at}")
        at = _skip(text, at)
        if text[at] != ":":
            raise ValueError(f"no colon at {at}")
        found[key], at = _value(text, at + 1, depth + 1)
        at = _comma(text, at, "}")
    return found, at + 1


def _list(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    found = []
    while text[at := _skip(text, at)] != "]":
        value, at = _value(text, at, depth + 1)
        found.append(value)
        at = _comma(text, at, "]")
    return found, at + 1


def _comma(text: str, at: int, end: str) -> int:
    """Past a comma, which may be missing at the end of a line, or at the end of the list or object."""
    before, at = at, _skip(text, at, missing="" if end == "}" else None)
    if text[at : at + 1] == ",":
        return at + 1
    # A new line that begins with a quote begins the next item, whose comma was forgotten.
    if at < len(text) and text[at] != end and not ("\n" in text[before:at] and text[at] in _QUOTES):
        raise ValueError(f"no comma at {at}")
    return at


def _string(text: str, at: int) -> tuple[str, int]:
    """A text in quotes. A quote that is no end (an apostrophe, a word in quotes) is part of it."""
    ends = re.compile(f"[{_QUOTES[text[at]]}]")
    place = at + 1
    while True:
        found = ends.search(text, place)
        if found is None:
            raise ValueError("the text ended within a string")
        # A quote behind an odd number of backslashes is escaped.
        place = before = found.start()
        while text[before - 1] == "\\":
            before -= 1
        if (place - before) % 2 == 0 and _ends(text, place + 1):
            break
        place += 1
    # JSON escapes no apostrophe, and every quote of its own; the other escapes are left to json.loads.
    inner = re.sub(r"\\{1,2}'", "'", text[at + 1 : place])
    inner = re.sub(r'(?<!\\)((?:\\\\)*)"', r'\1\\"', inner)
    return str(json.loads(f'"{inner}"', strict=False)), place + 1


def _ends(text: str, at: int) -> bool:
    """Whether a string may have ended before ``at``: what follows is the rest of an object or list, or nothing."""
    following = _skip(text, at, missing="")
    letter = text[following : following + 1]
    if letter == ",":
        return _VALUE.match(text, _skip(text, following + 1, missing="")) is not None
    return letter in ("", ":", "}", "]") or (letter in _QUOTES and "\n" in text[at:following])


def _skip(text: str, at: int, missing: str | None = None) -> int:
    """Past white space and comments. Raises ValueError at the end of the text, unless it may be ``missing``."""
    found = _SPACE.match(text, at)
    at = found.end() if found else at
    if at >= len(text) and missing is None:
        raise ValueError("the text ended within the object")
    return at
