"""The prompts: versioned files of the package, or a file of the user's in their place.

A file is plain text. A line ``---`` parts the system message from the user's; without one all of it is the user's.
Fields such as ``{problem}`` are put in at once, so braces anywhere else, in a problem or in an example, mean nothing.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from sgpo.data.messages import Messages
from sgpo.runs.files import ReadError, read_text

CURRENT = {"extract": "extract.v1", "rank": "rank.v2", "audit": "audit.v1"}
"""The packaged prompt of each kind. A changed wording is a new file with a new version."""

_REQUIRED = {"extract": ("problem", "response"), "rank": ("problem", "candidates"), "audit": ("strategy",)}
_FIELD = re.compile(r"(\{(?:problem|response|answer|candidates|strategy)\})")


@dataclass(frozen=True)
class PromptTemplate:
    """A prompt with fields.

    Attributes:
        name: of the version, such as extract.v1, or of the user's file.
        sha256: of the text; two prompts of one name are told apart by it.
        system, user: the messages; no system message where the text has one part.
    """

    name: str
    sha256: str
    system: str | None
    user: str

    def messages(self, **fields: str) -> Messages:
        """The conversation with its fields filled in."""
        system = [] if self.system is None else [{"role": "system", "content": _fill(self.system, fields)}]
        return [*system, {"role": "user", "content": _fill(self.user, fields)}]


def load_prompt(kind: str, path: Path | None = None) -> PromptTemplate:
    """The packaged prompt of a kind ("extract", "rank" or "audit"), or the one in a file.

    Raises ValueError for a file that is missing, not UTF-8 text, or lacks a field the kind needs.
    """
    if path is None:
        name = CURRENT[kind]
        return _parse(kind, name, (files("sgpo.strategies") / "prompts" / f"{name}.md").read_text(encoding="utf-8"))
    try:
        text = read_text(path)
    except ReadError as error:
        raise ValueError(f"--prompt {error}") from error
    return _parse(kind, path.stem, text)


def _parse(kind: str, name: str, text: str) -> PromptTemplate:
    parts = re.split(r"^---[ \t]*$", text, maxsplit=1, flags=re.MULTILINE)
    *system, user = (part.strip() for part in parts)
    missing = [field for field in _REQUIRED[kind] if f"{{{field}}}" not in user]
    if missing:
        raise ValueError(
            f"prompt {name!r} must hold {{{missing[0]}}} in the user's message, the part after the line '---'; a "
            f"prompt for {kind} needs {', '.join('{' + field + '}' for field in _REQUIRED[kind])}."
        )
    return PromptTemplate(name, hashlib.sha256(text.encode()).hexdigest(), system[0] if system else None, user)


def _fill(text: str, fields: dict[str, str]) -> str:
    return "".join(fields.get(part[1:-1], part) if _FIELD.fullmatch(part) else part for part in _FIELD.split(text))
