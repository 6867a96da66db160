"""What looks like a key, struck out of commands, settings and diffs before they are kept.

A value is struck out for its name, its form, or because a variable of the environment with such a name holds it. Names
come in two kinds. Behind a sure one (``api_key``, ``password``) every value goes. Behind one that other things are
called, too (``key``, ``token``), only a value that looks like a key goes: eight characters or more, with a digit.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

STRUCK_OUT = "***"
_SURE = (
    r"(?:api|access|secret|private|auth|account|encryption|signing)[_-]?key|"
    r"(?:hub|hf|access|auth|api|id|session|refresh|bearer)[_-]?token|"
    r"secret|passw(?:or)?d|passphrase|authorization|credential|cookie"
)
_PERHAPS = r"key|token|pass|pwd|bearer"
_SURE_NAME = re.compile(rf"{_SURE}|^token$", re.IGNORECASE)
_PERHAPS_NAME = re.compile(rf"(?:{_PERHAPS})s?$", re.IGNORECASE)
_NAMES_A_VARIABLE = re.compile(r"[_-]env$")  # api_key_env holds the name of a variable, not a key
_RANDOM = re.compile(r"(?=[^\d]*\d)(?=[^A-Za-z]*[A-Za-z])[\w+/=.~-]{8,}")
_SHORTEST = 8  # characters of a variable's value that is looked for
_FORMS = re.compile(
    r"hf_[A-Za-z0-9]{16,}|(?:sk|nvapi|xai)-[\w-]{16,}|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|"
    r"(?:gsk|r8|npm|dop_v1)_\w{16,}|pypi-[\w-]{16,}|SG\.[\w-]{10,}\.[\w-]{10,}|ya29\.[\w-]{10,}|"
    r"AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|xox[abpr]-[\w-]{10,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+|"
    r"(?<=hooks\.slack\.com/services/)[\w/]+|(?<=[Bb]earer )[\w.~+/=-]{8,}|(?<=[Bb]asic )[\w+/=-]{8,}|"
    r"(?<=://)(?:[^/\s:@]+:[^/\s@]+|[^/\s:@]{12,})(?=@)|"
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_ASSIGNED = re.compile(  # KEY=value, "key": "value", key: str = "value", --key value; bounded to be linear
    rf"(?<![\w.-])(?P<name>[\w.-]{{0,80}}?(?:{_SURE}|{_PERHAPS})s?)"
    r"(?P<between>['\"]?\s{0,9}(?::\s{0,9}\w{1,40}(?:\[\w{1,40}\])?\s{0,9}=|:?=|:|(?<=\w)\s(?=\S))\s{0,9}[\[({]?\s{0,9})"
    r"(?P<value>\"{3}.{0,999}?\"{3}|'{3}.{0,999}?'{3}|\"[^\"\n]{0,999}\"|'[^'\n]{0,999}'|[^\s'\",;)\]}]+)",
    re.IGNORECASE | re.DOTALL,
)


def redacted(value: Any, name: str = "") -> Any:
    """A value of JSON types without what looks like a key; ``name`` is that of its field."""
    if isinstance(value, Mapping):
        return {key: redacted(each, str(key)) for key, each in value.items()}
    if isinstance(value, list):
        return [redacted(each, name) for each in value]
    if not isinstance(value, str):
        return value
    return STRUCK_OUT if value and _is_key(name, value) else redacted_text(value)


def redacted_text(text: str) -> str:
    """A text without what looks like a key."""
    # A key that is in the environment is struck out wherever it turns up, whatever the field is called.
    for value in _of_environment():
        text = text.replace(value, STRUCK_OUT)
    return _ASSIGNED.sub(_without_value, _FORMS.sub(STRUCK_OUT, text))


def redacted_command(words: Sequence[str]) -> list[str]:
    """A command line without the values of options that are named like keys."""
    found: list[str] = []
    option = ""
    for word in words:
        # Both ways of writing an option: --key=VALUE, and the value as the next word.
        name, equals, value = word.partition("=")
        if option and not word.startswith("--") and _is_key(option, word):
            found.append(STRUCK_OUT)
        elif word.startswith("--") and equals and _is_key(name[2:], value):
            found.append(f"{name}={STRUCK_OUT}")
        else:
            found.append(redacted_text(word))
        option = word[2:] if word.startswith("--") and not equals else ""
    return found


def _is_key(name: str, value: str) -> bool:
    """Whether the value of a field, an option or a variable is to be struck out for its name."""
    if _NAMES_A_VARIABLE.search(name):
        return False
    return bool(_SURE_NAME.search(name) or (_PERHAPS_NAME.search(name) and _RANDOM.fullmatch(value)))


def _without_value(found: re.Match[str]) -> str:
    name, between, value = found["name"], found["between"], found["value"]
    quote = re.match(r"[\"']*", value)[0]  # type: ignore[index]
    # The quotes stay, so that a diff or a command can still be read.
    bare = value.strip("\"'")
    option_or_assigned = between.strip() or name.startswith("--")
    sure = name.lower() != "token" or _RANDOM.fullmatch(bare)  # in code it is a word
    if not option_or_assigned or not sure or STRUCK_OUT in bare or not _is_key(name.lstrip("-"), bare):
        return found[0]
    return f"{name}{between}{quote}{STRUCK_OUT}{quote}"


def _of_environment() -> list[str]:
    """The values of variables that are named like keys, the longest first."""
    named = {name: value for name, value in os.environ.items() if name not in ("PWD", "OLDPWD")}  # paths, no passwords
    values = {value for name, value in named.items() if len(value) >= _SHORTEST and _is_key(name, value)}
    # One value may hold another, whose replacement would leave the rest of it in sight.
    return sorted(values, key=len, reverse=True)
