"""Which tokens carry the KL: by class, by whether the strategy changes the choice, and in how few of them it lies."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sgpo.runs.json_entry import finite

CLASSES = ("number", "operator", "word", "punctuation", "special")
LEVELS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""KL, in nats, at which the colour of a token changes; 1.0 is the paper's clip threshold."""
Token = Mapping[str, Any]
"""A token as :func:`sgpo.report.tokens.token_view` makes it; from a file it may be anything."""
_NUMBER = re.compile(r"[+-]?\d[\d.,]*|\\?[½⅓¼¾⅔]")
_OPERATOR = re.compile(
    r"[-+*/=<>^×÷·−±≤≥≠≈√∑∏∫%!|]+|\\(frac|d?tfrac|times|cdot|div|sqrt|sum|prod|int|pm|leq?|geq?|neq?|approx|equiv|pmod)"
)


def token_class(text: str) -> str:
    """``number``, ``operator``, ``word``, or ``punctuation`` for all that is neither. Source: ours."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return "number"
    if _OPERATOR.fullmatch(text):
        return "operator"
    return "word" if any(c.isalpha() for c in text) else "punctuation"


def level(kl: float) -> int:
    """The colour of a KL: how many of ``LEVELS`` it reaches."""
    return sum(kl >= edge for edge in LEVELS)


def token_kl_of(token: Token) -> float:
    """The KL of a token as it was saved; what is no number, or a hair below 0, counts as 0."""
    # Two equal distributions may come out a hair below 0.
    return max(0.0, finite(token.get("kl")) or 0.0)


def concentration(kls: Sequence[float]) -> float:
    """The part of all KL that lies in the 5% of tokens (at least one) with the most of it; 0 if all are 0."""
    total = math.fsum(kls)
    # A short response has fewer than 20 tokens, of which 5% would be none.
    count = max(1, round(0.05 * len(kls)))
    return math.fsum(sorted(kls, reverse=True)[:count]) / total if total > 0 else 0.0


class KLShare(NamedTuple):
    """Some of the tokens: their number, their share of all tokens and of all KL, and their mean KL in nats."""

    name: str
    tokens: int
    token_share: float
    kl_share: float
    mean_kl: float


@dataclass(frozen=True)
class KLShares:
    """Where the KL of tokens lies: its sum ``kl`` in nats, the share ``top5`` of it that :func:`concentration` gives,
    and the shares by class and by kind of choice."""

    tokens: int
    kl: float
    top5: float
    classes: Sequence[KLShare]
    choices: Sequence[KLShare]


def kl_shares(tokens: Sequence[Token]) -> KLShares:
    """Tokens and KL by class and by kind of choice.

    A decision point is a token at which the two sides disagree on the likeliest one.

    Source: ours; that the KL concentrates on strategy-critical tokens is an observation of arXiv 2606.24064.
    """
    kls = [token_kl_of(token) for token in tokens]
    total = math.fsum(kls)

    def row(name: str, chosen: list[float]) -> KLShare:
        kl, count = math.fsum(chosen), len(chosen)
        share = kl / total if total > 0 else 0.0
        return KLShare(name, count, count / max(1, len(kls)), share, kl / max(1, count))

    kinds = [_class_of(token) for token in tokens]
    decisions = [token.get("decision") is True for token in tokens]
    classes = [row(name, [kl for kl, kind in zip(kls, kinds, strict=True) if kind == name]) for name in CLASSES]
    choices = [
        row(name, [kl for kl, decision in zip(kls, decisions, strict=True) if decision is wanted])
        for name, wanted in (("decision points", True), ("routine tokens", False))
    ]
    return KLShares(len(kls), total, concentration(kls), [one for one in classes if one.tokens], choices)


def _class_of(token: Token) -> str:
    # A file of an older version has no classes, or others.
    kind = token.get("class")
    return kind if kind in CLASSES else token_class(str(token.get("text", "")))
