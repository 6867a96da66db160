"""How alike texts are: TF-IDF over words and pairs of words, or an embedding model. Cosines from 0 to 1.

TF-IDF needs nothing but numpy: weights ``(1 + log tf) * (1 + log((N + 1) / (df + 1)))``, rows of length 1, and an
inverted index, so that a query touches only the texts that share a term with it.

Shapes: N texts of the index.
"""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sgpo.runs.words import first_line

_TOKEN = re.compile(r"\d+|[^\W\d_]+|[+\-*/^=<>%!]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


class Index(Protocol):
    """Texts to be compared with."""

    def scores(self, text: str) -> NDArray[np.float64]:
        """The cosine of a text with each of the index, ``[N]``."""


MakeIndex = Callable[[Sequence[str]], Index]


def terms(text: str) -> list[str]:
    """Words in lower case and in a singular form, numbers, signs; then each pair of neighbours."""
    text = unicodedata.normalize("NFKC", text).casefold()
    words = [_singular(token) for token in _TOKEN.findall(text)]
    return words + [f"{a} {b}" for a, b in pairwise(words)]


def without_numbers(text: str) -> str:
    """``text`` with every number as the same sign: a problem's kind does not depend on its numbers."""
    return _NUMBER.sub(" number ", text)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


class TfidfIndex:
    """An index as the module's text explains it. Texts without terms are like nothing, not even themselves."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._size = len(texts)
        counts = [Counter(terms(text)) for text in texts]
        documents = Counter(term for count in counts for term in count)
        self._idf = {term: 1 + math.log((self._size + 1) / (df + 1)) for term, df in documents.items()}
        rows: dict[str, list[int]] = defaultdict(list)
        weights: dict[str, list[float]] = defaultdict(list)
        for i, count in enumerate(counts):
            for term, weight in self._weigh(count).items():
                rows[term].append(i)
                weights[term].append(weight)
        self._postings = {term: (np.array(rows[term]), np.array(weights[term])) for term in rows}

    def scores(self, text: str) -> NDArray[np.float64]:
        found = np.zeros(self._size)
        for term, weight in self._weigh(Counter(terms(text))).items():
            if term in self._postings:
                rows, weights = self._postings[term]
                found[rows] += weight * weights  # a text stands once in a term's list
        return np.clip(found, 0.0, 1.0)

    def _weigh(self, count: Counter[str]) -> dict[str, float]:
        unseen = 1 + math.log(self._size + 1)
        # Sorted: a sum of floats depends on its order, and equal texts must have a likeness of exactly 1.
        raw = {term: (1 + math.log(n)) * self._idf.get(term, unseen) for term, n in sorted(count.items())}
        length = math.sqrt(math.fsum(weight * weight for weight in raw.values()))
        return {term: weight / length for term, weight in raw.items()}


class EmbeddingIndex:
    """Cosines of the embeddings that ``encode`` gives, ``[N, D]`` for N texts; negative ones count as 0."""

    def __init__(self, encode: Callable[[Sequence[str]], Any], texts: Sequence[str]) -> None:
        self._encode = encode
        self._rows = self._unit(texts)

    def scores(self, text: str) -> NDArray[np.float64]:
        found: NDArray[np.float64] = self._rows @ self._unit([text])[0]
        return np.clip(found, 0.0, 1.0)

    def _unit(self, texts: Sequence[str]) -> NDArray[np.float64]:
        rows = np.asarray(self._encode(list(texts)), dtype=np.float64).reshape(len(texts), -1)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        unit: NDArray[np.float64] = rows / np.where(lengths > 0, lengths, 1.0)
        return unit


def embedding_index(model: str) -> MakeIndex:
    """Indexes of a sentence-transformers model, by path or hub id.

    Raises:
        ValueError: the library is not installed, or the model cannot be loaded.
    """
    try:
        from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found]
    except ImportError as error:
        raise ValueError(
            "--embedding needs sentence-transformers (pip install sentence-transformers); leave it out to count words."
        ) from error
    try:
        loaded = SentenceTransformer(model, trust_remote_code=False)
    except Exception as error:  # the hub's client and the library raise families of their own
        raise ValueError(
            f"--embedding {model!r} cannot be loaded: {first_line(error)} Give a folder or a hub id."
        ) from error
    return lambda texts: EmbeddingIndex(lambda some: loaded.encode(list(some), show_progress_bar=False), texts)
