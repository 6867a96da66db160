"""What a run asks of a model, however the model is reached."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sgpo.data.prompts import Prompt

Key = tuple[str, int]
"""A problem's id and the index of the sample."""


class BackendError(ValueError):
    """A model that cannot be reached or asked; what was answered before is saved, and the same command resumes."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; ``max_new_tokens`` is the limit of one response."""

    temperature: float
    top_p: float
    max_new_tokens: int


@dataclass(frozen=True)
class Request:
    """One sample of one problem. ``seed`` names its random stream (see :mod:`sgpo.evaluation.sampling`)."""

    problem: str
    sample: int
    prompt: Prompt
    seed: int

    @property
    def key(self) -> Key:
        return self.problem, self.sample


@dataclass(frozen=True)
class Response:
    """The text, its length in tokens (None where an endpoint does not say) and whether the limit cut it."""

    text: str
    tokens: int | None
    truncated: bool


Answered = list[tuple[Request, Response]]


class Backend(Protocol):
    """A way to a model: transformers, vLLM, or an endpoint. ``sampling`` may be changed between runs."""

    sampling: Sampling

    def describe(self) -> dict[str, Any]:
        """What of it may change a response, as JSON types without secrets; a resumed run must have the same."""

    def generate(self, requests: Sequence[Request], answered: Collection[Key]) -> Iterator[Answered]:
        """Responses to those of ``requests``, a run's full and fixed list, that are not ``answered`` yet.

        They come in portions, each to be saved before the next is asked for.
        """
