"""Contamination check: which training problems are evaluation problems, word for word or nearly so.

Texts are compared by their words, numbers and operators: case, spacing, LaTeX spacing and sizing, dollar signs, braces
and punctuation do not count. *Exact* is equality of that form. *Near* is the share of an evaluation problem's n-grams
that a training problem holds, so a problem inside a longer text is found too. A problem told in other words is not.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sgpo.data.benchmarks import PROBLEM_FIELDS, BenchmarkError
from sgpo.data.prompts import last_user_message, text_prompt
from sgpo.data.tables import read_table
from sgpo.runs.files import write_rows

_LAYOUT = re.compile(
    r"\\(?:left|right|big+[lr]?|Big+[lr]?|displaystyle|textstyle|limits|quad|qquad|mathrm|text|mathbf|operatorname)"
    r"(?![A-Za-z])|\\[,;:!\s\[\]()]|[ds]?frac(?![A-Za-z])"
)
_TOKEN = re.compile(r"[^\W\d_]+|\d+|[+\-*/^=<>|%!]")

_SHORTEST = 4  # tokens; fewer are found inside texts that have nothing to do with the problem


@dataclass(frozen=True)
class Text:
    """A problem to compare, and its name in the report."""

    id: str
    text: str


@dataclass(frozen=True)
class Pair:
    """A training problem that gives an evaluation problem away. ``similarity`` is 1 where ``kind`` is exact."""

    kind: str
    train: str
    eval: str
    similarity: float
    train_text: str
    eval_text: str

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON types."""
        return asdict(self)


def find_overlap(
    train: Iterable[Text], evaluation: Sequence[Text], *, n: int = 8, threshold: float = 0.5
) -> list[Pair]:
    """All pairs, the most similar first.

    Args:
        train: read once, so it may be a stream.
        evaluation: held in memory as n-grams.
        n: tokens of an n-gram. A shorter problem is one n-gram of its own length; under 4 tokens it must match exactly.
        threshold: least share of an evaluation problem's n-grams, in (0, 1].
    """
    if n < 2:
        raise ValueError(f"n = {n} must be at least 2; single words are in every problem.")
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold = {threshold} must lie in (0, 1].")
    forms: dict[tuple[str, ...], list[int]] = {}
    index: dict[tuple[str, ...], list[int]] = {}
    sizes: list[int] = []
    for i, text in enumerate(evaluation):
        tokens = tokenize(text.text)
        forms.setdefault(tokens, []).append(i)
        grams = _grams(tokens, min(n, len(tokens))) if len(tokens) >= _SHORTEST else set()
        sizes.append(len(grams))
        for gram in grams:
            index.setdefault(gram, []).append(i)
    widths = sorted({len(gram) for gram in index})
    pairs: list[Pair] = []
    for text in train:
        tokens = tokenize(text.text)
        same = forms.get(tokens, []) if tokens else []
        pairs += [_pair("exact", text, evaluation[i], 1.0) for i in same]
        shared = Counter(i for width in widths for gram in _grams(tokens, width) for i in index.get(gram, ()))
        for i, count in shared.items():
            if i not in same and count / sizes[i] >= threshold:
                pairs.append(_pair("near", text, evaluation[i], count / sizes[i]))
    return sorted(pairs, key=lambda pair: (pair.kind != "exact", -pair.similarity, pair.eval, pair.train))


def tokenize(text: str) -> tuple[str, ...]:
    """Words, numbers and operators of a text, in lower case."""
    plain = unicodedata.normalize("NFKC", text).replace("−", "-").replace("×", "*").replace("\\times", "*")
    return tuple(_TOKEN.findall(_LAYOUT.sub(" ", plain.replace("\\cdot", "*")).casefold()))


def load_texts(path: Path) -> list[Text]:
    """Problems of a JSONL or parquet file, from the field ``problem``, ``prompt`` or ``question``.

    A conversation counts by its last user message. Rows without an ``id`` are named by their number.

    Raises:
        ReadError: the file cannot be read.
        BenchmarkError: it has no rows, or one without a problem.
    """
    texts = []
    for number, (where, row) in enumerate(read_table(path), 1):
        value = next((row[name] for name in PROBLEM_FIELDS if row.get(name) is not None), None)
        text = _last_user(value) if isinstance(value, list) else value
        if not isinstance(text, str):
            raise BenchmarkError(
                f"{where}: no problem in the fields {', '.join(PROBLEM_FIELDS)}; it has {sorted(row)}."
            )
        texts.append(Text(str(number if row.get("id") is None else row["id"]), text))
    if not texts:
        raise BenchmarkError(f"{path} has no rows.")
    return texts


def write_pairs(pairs: Iterable[Pair], path: Path) -> None:
    """One JSON object a pair."""
    write_rows(path, (pair.to_dict() for pair in pairs))


def _last_user(messages: list[Any]) -> str | None:
    """The problem of a conversation, None where it has none."""
    try:
        plain = text_prompt(messages)
        return str(plain[last_user_message(plain)]["content"]) if isinstance(plain, list) else None
    except ValueError:
        return None


def _grams(tokens: tuple[str, ...], n: int) -> set[tuple[str, ...]]:
    return {tokens[i : i + n] for i in range(len(tokens) - n + 1)}


def _pair(kind: str, train: Text, evaluation: Text, similarity: float) -> Pair:
    return Pair(kind, train.id, evaluation.id, similarity, train.text, evaluation.text)
