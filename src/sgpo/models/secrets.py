"""Keys: where one may be, and that none is shown or stored.

A key comes from an environment variable and nowhere else. One in a URL, in the body or in a model's name would be
stored with the results, so it is refused before anything is sent. Whatever an endpoint says goes through `Secrets`.
"""

import base64
import json
import os
import re
from typing import Any
from urllib.parse import quote, urlsplit

_SHOWN = 8
_SHORTEST = 6  # "none" and "EMPTY" are no secrets
_PREFIX = r"\b(?:sk-|hf_|gsk_|xai-|AIza|Bearer\s+)"
_LOOKS_LIKE_ONE = re.compile(_PREFIX + r"[\w.\-*]{3,}")
_SURELY_ONE = re.compile(_PREFIX + r"[\w.\-*]{16,}")
_IN_QUERY = re.compile(r"([?&][\w.\-]*(?:key|token|secret|password|sig)[\w.\-]*=)[^&\s\"']+", re.I)
_IN_AUTHORITY = re.compile(r"://[^/\s@]+@")
_FIELD = re.compile(
    r"(?:api|access|secret|auth|private)[-_]?(?:key|token)$|^key$|authorization|secret|password|bearer", re.I
)
_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")


class Secrets:
    """The key of one endpoint, and the texts that must not show it."""

    def __init__(self, key: str) -> None:
        # A short placeholder would strike out parts of ordinary words.
        long_enough = len(key) >= _SHORTEST
        self.key = key
        # As it may come back: in a URL, in JSON, or in a basic authorization.
        forms = {key, quote(key, safe=""), json.dumps(key)[1:-1], base64.b64encode(key.encode()).decode()}
        # The longest first: one form may hold another.
        self._forms = sorted(forms, key=len, reverse=True) if long_enough else []
        # Endpoints show the beginning of a refused key, and stars for the rest.
        self._begun = re.compile(re.escape(key[:_SHOWN]) + r"[\w.*…-]*") if len(key) >= 2 * _SHOWN else None

    def hide(self, text: str) -> str:
        """``text`` with "[key]" in place of the key; for what a model said."""
        for form in self._forms:
            text = text.replace(form, "[key]")
        return text

    def scrub(self, text: str) -> str:
        """``text`` without the key and without whatever looks like a key; for errors."""
        text = self.hide(text)
        text = _LOOKS_LIKE_ONE.sub("[key]", text if self._begun is None else self._begun.sub("[key]", text))
        return _IN_AUTHORITY.sub("://[key]@", _IN_QUERY.sub(r"\1[key]", text))

    def check(self, variable: str, **sent: Any) -> None:
        """Raise ValueError where something of ``sent`` (by its name) holds a key: it is kept with the results."""
        for name, value in sent.items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            # Any text that begins like a key counts, not the one in the variable alone: two may have been mixed up.
            found = self.hide(text) != text or _SURELY_ONE.search(text)
            if found or (isinstance(value, dict) and _secret_field(value)):
                raise ValueError(
                    f"{name} holds the key, or what looks like one; leave it in {shown(variable)}: what is sent is "
                    "kept with the results."
                )


def read_key(variable: str) -> str:
    """The key in an environment variable, "" where it is not set; white space around it is taken off.

    Raises:
        ValueError: a key that no HTTP header can carry. The message does not show it.
    """
    # A line feed at its end comes from `export KEY=$(cat file)`.
    key = os.environ.get(variable, "").strip()
    bad = next((place for place, letter in enumerate(key) if not "!" <= letter <= "~"), None)
    if bad is not None:
        what = "white space" if key[bad].isspace() else "no ASCII" if ord(key[bad]) > 127 else "a control character"
        raise ValueError(
            f"{shown(variable)} holds no usable key: character {bad + 1} of {len(key)} is {what}, which an HTTP header "
            "cannot carry in a key. Export the key alone, without 'Bearer' and as it was given."
        )
    return key


def shown(variable: str) -> str:
    """The name of a variable, unless it looks as if the key itself had been given in its place."""
    # Whoever types the key behind --api-key-env must not find it in an error, or in a log of CI.
    return variable if _NAME.fullmatch(variable) else "the variable that --api-key-env names"


def check_url(base_url: str, variable: str) -> str:
    """The URL without a slash at its end. Raises ValueError unless it is one; the message shows no secret in it."""
    if "@" in base_url:
        raise ValueError(f"base_url holds a user or password; put the key into {shown(variable)}, it is never saved.")
    if "?" in base_url or "#" in base_url:
        raise ValueError(f"base_url must end before '?' and '#'; put a key into {shown(variable)}, it is never saved.")
    try:
        parts = urlsplit(base_url)
        port_is_one = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_one = urlsplit(""), False
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_one or re.search(r"\s", base_url):
        given = f"{parts.scheme}://{parts.hostname}..." if parts.hostname else "(not shown, it may be a key)"
        raise ValueError(
            f"base_url {given} must begin with http:// or https:// and name a host, as in http://127.0.0.1:8000/v1."
        )
    return base_url.rstrip("/")


def _secret_field(value: Any, depth: int = 0) -> bool:
    """Whether a field of a JSON value is named like a secret and holds text."""
    if depth > 20:
        return False
    if isinstance(value, list):
        return any(_secret_field(item, depth + 1) for item in value)
    if not isinstance(value, dict):
        return False
    return any(
        (isinstance(inner, str) and _FIELD.search(name)) or _secret_field(inner, depth + 1)
        for name, inner in value.items()
    )
