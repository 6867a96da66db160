"""Text from a model, made safe to look at. Escaping for HTML is the template engine's; this is what escaping leaves.

A lone surrogate cannot be written as UTF-8; a control character or a bidirectional override can hide or reorder what
surrounds it. All of them become visible text, so that the page shows what the model wrote and nothing else.
"""

import re

_SURROGATE = re.compile("[\ud800-\udfff]")
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def harmless(text: str) -> str:
    """``text`` without surrogates, control characters (but tab and line feed) and invisible or reordering marks.

    >>> harmless("a\\x1b[31m\\ud800\\u202eb")
    'a[U+001B][31m�[U+202E]b'
    """
    # Browsers end a line at some of these and not at others; on the page all of them do.
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    text = _SURROGATE.sub("\ufffd", text)
    return _HIDDEN.sub(lambda match: f"[U+{ord(match[0]):04X}]", text)


def bound(text: object, limit: int) -> str:
    """At most ``limit`` characters of ``text``, with a notice in place of the rest."""
    text = text if isinstance(text, str) else "" if text is None else str(text)[: limit + 1]
    if len(text) <= limit:
        return text
    return f"{text[:limit]} \u2026 [{len(text) - limit:,} more characters left out]"


def points(share: float) -> str:
    """A difference of shares in points, with its sign: ``+4.1``, ``−0.3``."""
    return f"{100 * share:+.1f}".replace("-", "\u2212")


def visible(token: str) -> str:
    """A token by itself, with its line feeds and its leading space to be seen."""
    shown = harmless(token).replace("\n", "\u23ce").replace("\t", "\u21e5")
    return re.sub("^ | $", "\u2423", shown) or "\u2205"
