"""Ways to a strong model: what they share, and the OpenAI-compatible endpoint.

The endpoint is asked for output that keeps to the JSON schema; where it refuses that, it is asked once more without,
and without from then on. The key comes from the environment, and no error, log or stored reply holds it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies

from sgpo.strategies.streaming import gather
from sgpo.strategies.templates import Messages

_OPTIONAL = ("temperature", "top_p", "max_tokens", "seed")
_MOST_TOKENS = 2**40  # a count over this is nonsense, and would not fit the store
_FATAL = {401: "unauthorized", 402: "payment_required", 403: "forbidden", 404: "not_found", 405: "not_found"}
_PASSING = {408: "timeout", 409: "conflict", 429: "rate_limited"}


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; ``max_tokens`` is the limit of one reply."""

    temperature: float = 1.0
    top_p: float = 0.95
    max_tokens: int = 4096

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 2 or not 0 < self.top_p <= 1 or self.max_tokens < 1:
            raise ValueError(
                f"temperature {self.temperature}, top_p {self.top_p}, max_tokens {self.max_tokens}: temperature must "
                "be from 0 to 2, top_p over 0 and at most 1, max_tokens at least 1."
            )


@dataclass(frozen=True)
class Reply:
    """A reply; ``finish`` is stop, length or refusal, tokens are None where the endpoint does not count them."""

    text: str
    finish: str
    prompt_tokens: int | None
    completion_tokens: int | None
    structured: bool = False


class CallError(Exception):
    """A call without an answer.

    Attributes:
        reason: under which it is counted.
        fatal: no other call can fare better, so the run ends.
    """

    def __init__(self, reason: str, message: str, *, fatal: bool = False) -> None:
        super().__init__(message)
        self.reason, self.fatal = reason, fatal


class Client(Protocol):
    """A way to a model; ``concurrency`` calls may be under way at once."""

    concurrency: int

    async def check(self) -> None:
        """Raise ValueError where no call can be made; before anything is spent."""

    def settings(self) -> dict[str, Any]:
        """What of it may change a reply, without secrets; part of a setup's identity."""

    async def ask(self, messages: Messages, *, seed: int, schema: dict[str, Any], name: str) -> Reply:
        """One reply. Raises CallError."""

    async def close(self) -> None: ...


class EndpointClient:
    """An OpenAI-compatible endpoint.

    Args:
        model: the name under which the endpoint serves it.
        base_url: up to and with ``/v1``; None is OpenAI's own.
        key_variable: the environment variable that holds the key. Unset is allowed with a ``base_url``.
        concurrency: requests under way at once.
        retries: further tries of a request that fails in passing (connection, time-out, 408, 409, 429, 5xx), after a
            growing, jittered wait or the one that ``Retry-After`` asks for (up to two minutes).
        timeout: seconds for one try.
        json_schema: ask for structured output.
        extra_body: further fields of each request.
        omit: fields among temperature, top_p, max_tokens and seed that the endpoint refuses.
        stream: take replies in pieces, for endpoints that cut a connection on which nothing comes for long.
    """

    def __init__(
        self,
        model: str,
        sampling: Sampling,
        *,
        base_url: str | None = None,
        key_variable: str = "OPENAI_API_KEY",
        concurrency: int = 16,
        retries: int = 8,
        timeout: float = 600.0,
        json_schema: bool = True,
        extra_body: dict[str, Any] | None = None,
        omit: Sequence[str] = (),
        stream: bool = False,
    ) -> None:
        try:
            import openai
        except ImportError as error:
            raise ValueError("The openai client is not installed; pip install 'sgpo[api]'.") from error
        if concurrency < 1 or retries < 0 or not timeout > 0:
            raise ValueError(
                f"concurrency {concurrency}, retries {retries}, timeout {timeout}: at least one request must be "
                "under way, retries cannot be negative, and the timeout is in seconds and positive."
            )
        if unknown := set(omit) - set(_OPTIONAL):
            raise ValueError(f"omit = {sorted(unknown)} is unknown; choose from {', '.join(_OPTIONAL)}.")
        _check_url(base_url, key_variable)
        self._key = os.environ.get(key_variable, "").strip()
        if not self._key and base_url is None:
            raise ValueError(
                f"{key_variable} is not set; export the endpoint's key, name another variable with --api-key-env, or "
                "give --base-url for an endpoint without one."
            )
        self.model, self.sampling, self.base_url = model, sampling, base_url
        self.key_variable, self.concurrency, self.stream = key_variable, concurrency, stream
        self.extra_body, self.omit = extra_body or {}, tuple(sorted(omit))
        if self._key and self._key in json.dumps(self.extra_body, ensure_ascii=False):
            raise ValueError(
                f"extra_body holds the key; leave it in {key_variable}, what is sent is kept in the store."
            )
        self._structured = self._wanted = json_schema
        self._openai = openai
        self._client = openai.AsyncOpenAI(
            api_key=self._key or "none", base_url=base_url, max_retries=retries, timeout=timeout
        )
        # The client's timeout is for each wait on the network; an endpoint that trickles could stretch it for ever.
        self._deadline = (retries + 1) * (timeout + 120.0)

    def settings(self) -> dict[str, Any]:
        drawn = {name: getattr(self.sampling, name) for name in ("temperature", "top_p", "max_tokens")}
        kept = {name: value for name, value in drawn.items() if name not in self.omit}
        return {**kept, "json_schema": self._wanted, "extra_body": self.extra_body, "omit": list(self.omit)}

    async def check(self) -> None:
        """Whether the server takes connections: without this a wrong URL shows only after all retries."""
        if self.base_url is None or getproxies():
            return
        url = urlsplit(self.base_url)
        try:
            port = url.port or (443 if url.scheme == "https" else 80)
            _, writer = await asyncio.wait_for(asyncio.open_connection(url.hostname, port), 15)
            writer.close()
        except (OSError, asyncio.TimeoutError) as error:
            reason = "no connection within 15 s" if isinstance(error, asyncio.TimeoutError) else error
            raise ValueError(
                f"{self.base_url} cannot be reached ({reason}). Check --base-url, and that the server runs."
            ) from None

    async def close(self) -> None:
        await self._client.close()

    async def ask(self, messages: Messages, *, seed: int, schema: dict[str, Any], name: str) -> Reply:
        """See `Client`."""
        structured = self._structured
        try:
            reply = await self._create(messages, seed, schema if structured else None, name)
        except self._openai.APIStatusError as error:
            if not structured or error.status_code not in (400, 422, 501):
                raise self._failure(error) from None  # a chain could show request headers
            try:
                reply = await self._create(messages, seed, None, name)
            except Exception as second:
                raise self._failure(second) from None
            self._structured = structured = False
        except Exception as error:
            raise self._failure(error) from None
        return self._read(reply, structured)

    async def _create(self, messages: Messages, seed: int, schema: dict[str, Any] | None, name: str) -> Any:
        options: dict[str, Any] = {
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "max_tokens": self.sampling.max_tokens,
            "seed": seed,
        }
        body: dict[str, Any] = {"model": self.model, "messages": messages}
        body |= {option: value for option, value in options.items() if option not in self.omit}
        if schema is not None:
            form = {"name": name, "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return await asyncio.wait_for(self._send({**body, **self.extra_body}), self._deadline)

    async def _send(self, body: dict[str, Any]) -> Any:
        if not self.stream:
            # Not chat.completions.create: its walk over the types of the body takes a third of a call's time.
            return await self._client.post("/chat/completions", cast_to=object, body=body)
        rest = {"stream_options": {"include_usage": True}, **body}
        chunks = await self._client.chat.completions.create(
            model=rest.pop("model"), messages=rest.pop("messages"), stream=True, extra_body=rest
        )
        try:
            return await gather(chunks)
        finally:
            await chunks.close()

    def _read(self, reply: Any, structured: bool) -> Reply:
        try:
            choice = reply["choices"][0]
            message = choice["message"]
            text, refusal, ended = message.get("content"), message.get("refusal"), choice.get("finish_reason")
            usage = reply.get("usage") or {}
            counts = (_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))
        except (AttributeError, IndexError, KeyError, TypeError):
            said = self.scrub(" ".join(str(reply).split())[:200])
            raise CallError("bad_response", f"{self._where()} sent a reply without a message: {said}") from None
        if isinstance(text, list):  # content in parts
            text = "".join(str(part.get("text") or "") for part in text if isinstance(part, dict))
        finish = {"length": "length", "content_filter": "refusal"}.get(str(ended), "stop")
        shown = self._without_key(str(text or refusal or ""))
        return Reply(shown, "refusal" if refusal else finish, *counts, structured)

    def _failure(self, error: Exception) -> CallError:
        """Why a call failed, in one line without the key."""
        openai = self._openai
        reason, fatal = "bad_response", False
        if isinstance(error, openai.APIStatusError):
            status = error.status_code
            fatal = status in _FATAL or getattr(error, "code", None) == "insufficient_quota"
            passing = _PASSING.get(status) or ("server_error" if status >= 500 else "bad_request")
            reason = _FATAL.get(status, passing)
        elif isinstance(error, (openai.APITimeoutError, asyncio.TimeoutError, TimeoutError)):
            reason = "timeout"
        elif isinstance(error, openai.APIConnectionError) or type(error).__module__.startswith("http"):
            reason = "connection"  # a stream that is cut is said in the words of openai's transport
        elif not isinstance(error, (openai.OpenAIError, ValueError)):
            raise error
        said = error.response.text if isinstance(error, openai.APIStatusError) else ""
        text = " ".join(f"{error}{'' if said in str(error) else ' ' + said}".split())
        remedy = {
            "unauthorized": f" Check the key in {self.key_variable}.",
            "forbidden": f" Check what the key in {self.key_variable} may use.",
            "not_found": f" Check --base-url (it ends in /v1 for most) and whether {self.model!r} is served.",
            "connection": " Check --base-url, and that the server runs.",
        }.get(reason, "")
        return CallError(reason, f"{self._where()}: {reason}: {self.scrub(text)[:400]}.{remedy}", fatal=fatal)

    def _where(self) -> str:
        return f"{self.base_url or 'the default endpoint'}, model {self.model!r}"

    def scrub(self, text: str) -> str:
        """``text`` without the key, and without what looks like one."""
        return re.sub(r"\b(?:sk-|Bearer\s+)[\w.\-*]{6,}", "[key]", self._without_key(text))

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if len(self._key) >= 6 else text  # "none", "EMPTY" are no secrets


def _check_url(base_url: str | None, key_variable: str) -> None:
    if base_url is None:
        return
    parts = urlsplit(base_url)
    if parts.username or parts.password:
        raise ValueError(f"base_url holds a user or password; put the key into {key_variable}, it is never saved.")
    if parts.query or parts.fragment:
        raise ValueError(f"base_url must end before '?' and '#'; put a key into {key_variable}, it is never saved.")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"base_url {base_url!r} must begin with http:// or https:// and name a host.")


def _count(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return min(max(value, 0), _MOST_TOKENS) if whole else None
