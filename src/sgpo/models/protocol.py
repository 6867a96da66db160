"""What a run asks of a model, and what it gets, however the model is reached."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sgpo.data.prompts import Prompt
from sgpo.runs.files import JsonObject

Key = tuple[str, int]
"""A problem's id and the index of the sample."""

FAILED = ("content_filter", "tool_calls", "error", "abort")
"""Finish reasons of a reply that the model did not end itself; what text there is is no answer."""


class ModelError(ValueError):
    """A model that cannot be reached, loaded or asked; what was answered before is saved, and a run can go on."""


class CallError(Exception):
    """One call without an answer."""

    def __init__(
        self,
        reason: str,  # under which it is counted, such as "timeout" or "unauthorized"
        message: str,
        *,
        fatal: bool = False,  # no other call can fare better, so a run should end
        passing: bool = False,  # the same request may be answered a moment later
        wait: float | None = None,  # seconds after which the endpoint wants to be asked again, where it says so
        status: int | None = None,  # of the HTTP reply, or the one that an error in a reply names
    ) -> None:
        super().__init__(message)
        self.reason, self.fatal, self.passing, self.wait, self.status = reason, fatal, passing, wait, status


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; ``max_new_tokens`` is the limit of one reply."""

    temperature: float
    top_p: float
    max_new_tokens: int


@dataclass(frozen=True)
class Schema:
    """A JSON schema that an endpoint may be asked to keep to; models in this process are not held to it."""

    name: str
    schema: Mapping[str, object]


@dataclass(frozen=True)
class Request:
    """One sample of one problem. ``seed`` names its random stream (see :mod:`sgpo.models.sampling`)."""

    problem: str
    sample: int
    prompt: Prompt
    seed: int
    schema: Schema | None = None

    @property
    def key(self) -> Key:
        return self.problem, self.sample


@dataclass(frozen=True)
class Reply:
    """What a model said."""

    text: str  # the answer, without special tokens
    finish: str = "stop"  # "stop", "length" (cut by the limit on tokens), "refusal", or one of `FAILED`
    tokens: int | None = None  # generated, the end token included; None where an endpoint does not count
    prompt_tokens: int | None = None  # of the prompt; None where an endpoint does not count
    reasoning: str = ""  # what an endpoint gives apart from the answer
    arguments: str = ""  # of a call of a tool that nobody offered: some servers put there what a schema holds
    logprobs: tuple[float, ...] | None = None  # of the generated tokens, where an endpoint was asked for them
    structured: bool = False  # the endpoint was asked to keep to the request's schema
    served: str = field(default="", compare=False)  # the model that an endpoint says it was; "" where it says none

    @property
    def truncated(self) -> bool:
        """Whether the limit on tokens cut it; what is missing is then the model's own fault."""
        return self.finish == "length"

    @property
    def fault(self) -> str:
        """Why this is no answer: one of `FAILED`, or "empty"; "" where it is one."""
        # What a filter or an abort left is no answer, even where it reads like one.
        if self.finish in FAILED:
            return self.finish
        return "empty" if not self.text.strip() and not self.truncated else ""


def template_settings(chat_template_kwargs: Mapping[str, object]) -> dict[str, object]:
    """Variables of the chat template, left out where there are none: older stored settings equal today's then."""
    return {"chat_template_kwargs": chat_template_kwargs} if chat_template_kwargs else {}


def several_served(served: Mapping[str, int]) -> str:
    """What is to be said where replies are of several models, by the number of each; "" where they are of one."""
    if len(served) < 2:
        return ""
    listed = ", ".join(f"{name} {count}" for name, count in sorted(served.items(), key=lambda each: -each[1]))
    return (
        f"The endpoint answered with several models, as it says itself ({listed}): a router may fall back to another."
    )


Answered = list[tuple[Request, Reply]]


class Model(Protocol):
    """A way to a model: an endpoint, transformers, or vLLM.

    Attributes:
        sampling: may be changed between runs.
        concurrency: calls of `ask` that may be under way at once.
        positions: tokens of its context, prompt and reply together; None where they are not known.
        tries: how often `generate` asks for a reply that turns out to be none; 1 where asking again says the same.
    """

    sampling: Sampling
    concurrency: int
    positions: int | None
    tries: int

    def describe(self) -> dict[str, object]:
        """What of it may change a reply, and where it runs, as JSON types without secrets; kept with results."""

    def settings(self) -> JsonObject:
        """The part of it that may change a reply wherever the model is served; identifies stored strategies."""

    def longest(self) -> int | None:
        """The most tokens that one reply can have; None where nothing limits it."""

    def generate(self, requests: Sequence[Request], answered: Collection[Key] = ()) -> Iterator[Answered]:
        """Replies to those of ``requests``, a run's full and fixed list, that are not ``answered`` yet.

        They come in portions, each to be saved before the next is asked for.

        Raises:
            ModelError: the model cannot be asked.
        """

    def fits(self, prompts: Sequence[Prompt]) -> list[bool]:
        """Which prompts leave the model a position to answer in."""

    async def check(self) -> None:
        """Raise ValueError where no call can be made; before anything is spent."""

    async def ask(self, request: Request) -> Reply:
        """One reply. Raises CallError."""

    async def close(self) -> None:
        """Give up connections."""
