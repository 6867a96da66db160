"""Contamination check: which training problems are evaluation problems, word for word or nearly so.

Texts are compared in a normal form (`sgpo.data.normal_form`): words, digits and operators count, whether they are in
LaTeX, unicode, HTML or plain text; case, spacing, punctuation and figures do not. *Exact* is equality of that form.
*Near* is the share of an evaluation problem's n-grams that a training problem holds, so a problem inside a longer text
is found too. Where both texts hold a drawing, the drawings count as well. A problem told in other words is not found.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sgpo.data.benchmarks import PROBLEM_FIELDS, BenchmarkError
from sgpo.data.messages import problem_text
from sgpo.data.normal_form import is_drawn, normal_tokens
from sgpo.data.tables import read_table

_SHORTEST = 12  # characters; less is found inside texts that have nothing to do with the problem


@dataclass(frozen=True)
class ComparedText:
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


def find_overlap(
    train: Iterable[ComparedText], evaluation: Sequence[ComparedText], *, n: int = 8, threshold: float = 0.5
) -> list[Pair]:
    """All pairs, the most similar first.

    Args:
        train: read once, so it may be a stream.
        evaluation: held in memory as n-grams.
        n: tokens of an n-gram. A shorter problem is one n-gram of its own length; one of under 12
            characters must match exactly.
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
        tokens = normal_tokens(text.text)
        forms.setdefault(tokens, []).append(i)
        # A short problem is one n-gram of all its tokens.
        grams = _grams(tokens, min(n, len(tokens))) if len("".join(tokens)) >= _SHORTEST else set()
        sizes.append(len(grams))
        for gram in grams:
            index.setdefault(gram, []).append(i)
    # Few: n, and the lengths of the problems that are shorter.
    widths = sorted({len(gram) for gram in index})
    pairs: list[Pair] = []
    for text in train:
        tokens = normal_tokens(text.text)
        same = set(forms.get(tokens, ()) if tokens else ())
        # Equal texts share all, also the short ones, which have no n-grams.
        shares = dict.fromkeys(same, 1.0)
        shared = Counter(i for width in widths for gram in _grams(tokens, width) for i in index.get(gram, ()))
        shares |= {i: count / sizes[i] for i, count in shared.items() if i not in same}
        for i, share in shares.items():
            if share < threshold:
                continue
            if is_drawn(text.text) and is_drawn(evaluation[i].text):  # equal words under two figures are two problems
                share = _share_with_figures(text.text, evaluation[i].text, n)
            if share >= threshold:
                kind, other = "exact" if i in same and share == 1 else "near", evaluation[i]
                pairs.append(Pair(kind, text.id, other.id, share, text.text, other.text))
    return sorted(pairs, key=lambda pair: (pair.kind != "exact", -pair.similarity, pair.eval, pair.train))


def load_texts(path: Path) -> list[ComparedText]:
    """Problems of a data file (see `sgpo.data.tables`), from the field ``problem``, ``prompt`` or ``question``.

    A conversation counts by its user's message, or as a transcript of its turns. Rows without an ``id`` are named by
    their number. Raises BenchmarkError for a file without rows, or with one without a problem.
    """
    texts = []
    for number, (where, row) in enumerate(read_table(path), 1):
        value = next((row[name] for name in PROBLEM_FIELDS if row.get(name) is not None), None)
        text = problem_text(value)
        if text is None:
            raise BenchmarkError(
                f"{where}: no problem in the fields {', '.join(PROBLEM_FIELDS)}; it has {sorted(row)}."
            )
        texts.append(ComparedText(str(number if row.get("id") is None else row["id"]), text))
    if not texts:
        raise BenchmarkError(f"{path} has no rows.")
    return texts


def _grams(tokens: tuple[str, ...], n: int) -> set[tuple[str, ...]]:
    return {tokens[i : i + n] for i in range(len(tokens) - n + 1)}


def _share_with_figures(train: str, evaluation: str, n: int) -> float:
    tokens = normal_tokens(evaluation, figures=True)
    grams = _grams(tokens, min(n, len(tokens)))
    return len(grams & _grams(normal_tokens(train, figures=True), min(n, len(tokens)))) / max(1, len(grams))
