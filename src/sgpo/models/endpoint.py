"""An OpenAI-compatible endpoint: vLLM, SGLang, ``transformers serve``, llama.cpp, or a hosted model.

One request is one sample. So k is bounded by no limit an endpoint has on ``n``, every reply that was paid for is kept,
and each sample has its own seed. A request that fails in passing is tried again after a growing, jittered wait or the
one that the endpoint asks for. A try has one deadline, from the connection to the last byte.

The endpoint is asked to keep to a request's JSON schema; where it refuses that, it is asked once more without, and
without from then on. So it is with ``max_tokens`` where it says that it takes ``max_completion_tokens``.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import os
import random
import re
import ssl
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from sgpo import __version__
from sgpo.data.prompts import Prompt
from sgpo.models.concurrent import replies
from sgpo.models.protocol import Answered, CallError, Key, Reply, Request, Sampling, template_settings
from sgpo.models.replies import UnreadableError, endpoint_words, finished, read_reply
from sgpo.models.secrets import Secrets, check_url, read_key, shown
from sgpo.runs.files import JsonObject

if TYPE_CHECKING:
    from sgpo.models.options import ModelOptions

OPENAI = "https://api.openai.com/v1"
OPTIONAL = ("temperature", "top_p", "max_tokens", "seed")
_SET = ("model", "messages", "prompt", "stream", "n", *OPTIONAL)  # fields of every request
_LIMITS = ("max_tokens", "max_completion_tokens")
TRIES = 3  # of a reply that is empty, filtered or broken off, in `generate`
# What a status means for a run: no other call can fare better (fatal), or the same one may in a moment (passing).
# So a run with a wrong key ends at its first call, and one that meets a busy server goes on.
_FATAL = {401: "unauthorized", 402: "payment_required", 403: "forbidden", 404: "not_found", 405: "not_found"}
_PASSING = {408: "timeout", 409: "conflict", 425: "too_early", 429: "rate_limited"}
# Servers that do not know `response_format` answer with any of these, or with an error in a reply of status 200.
_REFUSE_SCHEMAS = (400, 404, 415, 422, 501)
_MOST_BYTES = 64 * 2**20  # of a reply: over a million tokens with their log-probabilities
_LONGEST_WAIT = 120.0  # seconds that an endpoint may ask for


class Endpoint:
    """A model behind an OpenAI-compatible endpoint; the protocol is `sgpo.models.protocol.Model`.

    Args:
        model: the name under which the endpoint serves it.
        options: see `sgpo.models.options.ModelOptions`. Without a ``base_url`` it is ``OPENAI_BASE_URL``, or
            OpenAI's own; a key is then needed. ``retries`` follow a failed connection, a time-out and the statuses 408,
            409, 425, 429 and 5xx.

    Raises:
        ValueError: an option out of range, a key that cannot be used, or one where it would be stored.
    """

    tries = TRIES
    positions: int | None = None  # it does not say

    def __init__(self, model: str, sampling: Sampling, options: ModelOptions) -> None:
        if options.concurrency < 1 or options.retries < 0 or not options.timeout > 0:
            raise ValueError(
                f"concurrency {options.concurrency}, retries {options.retries}, timeout {options.timeout}: at least "
                "one request must be under way, retries cannot be negative, and the timeout is in seconds and positive."
            )
        if unknown := set(options.omit) - set(OPTIONAL):
            raise ValueError(f"omit = {sorted(unknown)} is unknown; choose from {', '.join(OPTIONAL)}.")
        # The body wins over what is recorded: the model of the provenance would be another, or one seed that of all.
        if twice := [name for name in options.extra_body if name in _SET and name not in options.omit]:
            raise ValueError(
                f"--extra-body sets {twice[0]!r}, which every request has and which is kept as the command's options "
                f"say; use these ({', '.join(OPTIONAL)} may be left out by --omit, and then be set)."
            )
        base_url, variable = options.base_url or os.environ.get("OPENAI_BASE_URL") or None, options.api_key_env
        # Before anything is sent: whatever is wrong here would end in the results, or in a log, with the key in it.
        self._url = check_url(base_url or OPENAI, variable)
        self.secrets = Secrets(read_key(variable))
        if not self.secrets.key and base_url is None:
            raise ValueError(
                f"{shown(variable)} is not set; export the endpoint's key, name another variable with "
                "--api-key-env, or give --base-url for an endpoint without one."
            )
        self.model, self.sampling, self.options, self.base_url = model, sampling, options, base_url
        self.concurrency, self.omit = options.concurrency, sorted(options.omit)
        self._template = template_settings(options.chat_template_kwargs)
        self._asked = {"extra_body": options.extra_body, "omit": self.omit, **self._template}
        self.secrets.check(
            variable,
            model=model,
            base_url=self._url,
            extra_body=options.extra_body,
            chat_template_kwargs=options.chat_template_kwargs,
        )
        # The endpoint may refuse a schema; what was wanted stays, for it identifies stored replies.
        self._structured = options.json_schema
        self._limit = "max_tokens"  # its name, of which there are two
        # Made in the event loop that first asks: a client belongs to its loop.
        self._client: Any = None

    # --- what it is --------------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, object]:
        return {"kind": "endpoint", "base_url": self.base_url, **self._asked}

    def settings(self) -> JsonObject:
        return {"json_schema": self.options.json_schema, **self._asked}

    def longest(self) -> int | None:
        found = [self.options.extra_body.get(name) for name in _LIMITS]
        found += [] if "max_tokens" in self.omit else [self.sampling.max_new_tokens]
        return max((limit for limit in found if isinstance(limit, int)), default=None)

    # --- asking ------------------------------------------------------------------------------------------------------

    def generate(self, requests: Sequence[Request], answered: Collection[Key] = ()) -> Iterator[Answered]:
        return replies(self, [request for request in requests if request.key not in answered])

    def fits(self, prompts: Sequence[Prompt]) -> list[bool]:
        """True for every prompt: what does not fit, the endpoint says when it is asked."""
        return [True] * len(prompts)

    async def check(self) -> None:
        """Whether the server takes connections: without this a wrong URL shows only after all retries."""
        # Behind a proxy a connection of our own says nothing; a hosted endpoint is not probed.
        if self.base_url is None or getproxies():
            return
        url = urlsplit(self._url)
        try:
            port = url.port or (443 if url.scheme == "https" else 80)
            _, writer = await asyncio.wait_for(asyncio.open_connection(url.hostname, port), 15)
            # No byte is sent: the probe must not look like a broken request in the log of a server.
            writer.close()
        except (TimeoutError, OSError, UnicodeError) as error:
            reason = "no connection within 15 s" if isinstance(error, asyncio.TimeoutError) else error
            raise ValueError(
                f"{self.base_url} cannot be reached ({reason}). Check --base-url, and that the server runs."
            ) from None

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def ask(self, request: Request) -> Reply:
        schema, limit = request.schema is not None and self._structured, self._limit
        try:
            return await self._tried(request, schema)
        except CallError as error:
            if limit == "max_tokens" and re.search(r"[Uu]se\W+max_completion_tokens", str(error)):
                self._limit = "max_completion_tokens"
                return await self.ask(request)
            said = error.reason == "bad_response" and re.search("schema|response_format", str(error))
            if not schema or not (error.status in _REFUSE_SCHEMAS or said):
                raise
        # Only where it is answered without the schema was that the fault, and no later request has one.
        reply = await self._tried(request, False)
        self._structured = False
        return reply

    async def _tried(self, request: Request, structured: bool) -> Reply:
        """One reply, after as many tries as it takes."""
        body = self._body(request, structured)
        path = "/completions" if isinstance(request.prompt, str) else "/chat/completions"
        for attempt in range(self.options.retries + 1):
            try:
                return await self._send(self._url + path, body, structured)
            except CallError as error:
                if not error.passing or attempt == self.options.retries:
                    raise
                # Jittered: requests that failed together would otherwise all come back at one moment.
                growing = min(0.5 * 2**attempt, 8.0) * random.uniform(0.75, 1.0)
                wait = growing if error.wait is None else min(error.wait, _LONGEST_WAIT)
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    def _body(self, request: Request, structured: bool) -> bytes:
        # A field that the endpoint refuses, such as seed, is left out by --omit: no two providers take the same ones.
        drawn = {
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "max_tokens": self.sampling.max_new_tokens,
            "seed": request.seed,
        }
        what = "prompt" if isinstance(request.prompt, str) else "messages"
        body: dict[str, object] = {"model": self.model, what: request.prompt}
        names = {"max_tokens": self._limit}
        body |= {names.get(name, name): value for name, value in drawn.items() if name not in self.omit}
        if structured and request.schema is not None:
            form = {"name": request.schema.name, "strict": True, "schema": request.schema.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        if self.options.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return json.dumps({**body, **self._template, **self.options.extra_body}).encode()

    async def _send(self, url: str, body: bytes, structured: bool) -> Reply:
        """One try. Raises CallError alone, and none that holds the key."""
        httpx = _httpx()
        if self._client is None:
            # No time-out of the client: a try has one deadline, `options.timeout`, which a trickle cannot extend.
            self._client = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_keepalive_connections=None))
        # A request that was answered in part is paid for, so that trying it again would pay twice.
        begun: list[int] = []
        try:
            status, headers, raw = await asyncio.wait_for(self._exchange(url, body, begun), self.options.timeout)
            if status >= 300:
                raise self._refusal(status, headers, raw)
            reply = read_reply(raw, structured)
        except TimeoutError:
            what = "the reply had begun and did not end" if begun else "no reply"
            seconds = f"within the {self.options.timeout:g} s of one try"
            hint = f"{what} {seconds}; raise the timeout, or lower the concurrency"
            raise self._error("timeout", hint, passing=not begun) from None  # what has begun is paid for
        except UnreadableError as error:
            status = error.status or 0
            reason = _reason(status) if _passes(status) else "bad_response"
            raise self._error(reason, str(error), passing=_passes(status), status=error.status) from None
        except httpx.DecodingError:
            raise self._error("bad_response", "sent a body that is not compressed as its header says") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
            raise self._error("not_found", str(error), fatal=True) from None
        except (httpx.HTTPError, OSError, ssl.SSLError) as error:
            raise self._error("connection", f"{type(error).__name__}: {error}", passing=True) from None
        # A model may repeat what a gateway put into its prompt, the key among it.
        hide = self.secrets.hide
        shown_reply = {name: hide(getattr(reply, name)) for name in ("text", "reasoning", "arguments", "served")}
        return Reply(**{**vars(reply), **shown_reply})

    async def _exchange(self, url: str, body: bytes, begun: list[int]) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of the response; ``begun`` gets the status as soon as it is known."""
        headers = {"Content-Type": "application/json", "User-Agent": f"sgpo/{__version__}"}
        if self.secrets.key:
            headers["Authorization"] = f"Bearer {self.secrets.key}"
        async with self._client.stream("POST", url, content=body, headers=headers) as response:
            begun.append(response.status_code)
            raw = bytearray()
            async for piece in response.aiter_bytes():
                raw += piece
                if len(raw) > _MOST_BYTES:
                    raise UnreadableError(f"sent a reply of over {_MOST_BYTES >> 20} MiB")
                # Some servers keep the connection open after the last event: reading on would wait for the deadline.
                # The mark of the end may have come in two pieces, so a little of the one before is looked at, too.
                if self.options.stream and finished(bytes(raw[-len(piece) - 32 :])):
                    break
            return response.status_code, response.headers, bytes(raw)

    # --- failures ----------------------------------------------------------------------------------------------------

    def _refusal(self, status: int, headers: Mapping[str, str], raw: bytes) -> CallError:
        """The error of a status that is none of success."""
        said = f"status {status}: {endpoint_words(raw) or 'no words'}"
        if status < 400:
            to = headers.get("location", "")[:200]
            return self._error(
                "redirect", f"redirects to {to or 'nowhere'}; give that address", fatal=True, status=status
            )
        # OpenAI says that an account is empty by the status of a rate limit, which never passes.
        broke = b"insufficient_quota" in raw[:10_000]
        fatal, passing = status in _FATAL or broke, _passes(status) and status != 501 and not broke
        wait = _retry_after(headers)
        return self._error(_reason(status), said, fatal=fatal, passing=passing, wait=wait, status=status)

    def _error(self, reason: str, said: str, **how: Any) -> CallError:
        """A failure in one line: where, the endpoint's own words without the key, and what to do."""
        where = f"{self.base_url or self._url}, model {self.model!r}"
        versioned = re.search(r"/v\d", urlsplit(self._url).path)
        # The commonest mistake: every path below a URL without /v1 is unknown.
        base = "Check --base-url" + ("" if versioned else f": /v1 may be missing, as in {self._url}/v1")
        remedy = {
            "unauthorized": f"Check the key in {shown(self.options.api_key_env)}.",
            "forbidden": f"Check what the key in {shown(self.options.api_key_env)} may use.",
            "not_found": f"{base}, and whether {self.model!r} is served.",
            "connection": "Check --base-url, and that the server runs.",
            "redirect": f"{base}.",
            "bad_response": f"{base}.",
            "bad_request": "If a field is refused, leave it out with --omit.",
            "rate_limited": "Lower --concurrency, or raise --retries.",
        }.get(reason, "")
        text = self.secrets.scrub(" ".join(said.split()))[:500].rstrip(".")
        return CallError(reason, f"{where}: {reason}: {text}. {remedy}".rstrip(), **how)


def _passes(status: int) -> bool:
    return status in _PASSING or status >= 500


def _reason(status: int) -> str:
    return _FATAL.get(status) or _PASSING.get(status) or ("server_error" if status >= 500 else "bad_request")


def _httpx() -> Any:
    """The HTTP client that the hub's own client brings along."""
    try:
        import httpx2 as httpx
    except ImportError:  # huggingface_hub before 2.0
        import httpx  # type: ignore[import-not-found,no-redef]
    for name in ("httpcore", "httpcore2", "httpx", "httpx2"):  # their debug logs show headers
        logging.getLogger(name).setLevel(logging.WARNING)
    return httpx


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a response asks to wait, from ``Retry-After-Ms`` or ``Retry-After`` (seconds or a date)."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        try:
            return max(0.0, min(float(value) * unit, _LONGEST_WAIT))
        except ValueError:
            continue
    # The header may be a date, by the clock of the server.
    date = email.utils.parsedate_tz(headers.get("retry-after", ""))
    return None if date is None else max(0.0, email.utils.mktime_tz(date) - time.time())
