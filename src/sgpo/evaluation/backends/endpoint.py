"""An OpenAI-compatible endpoint: vLLM, SGLang, ``transformers serve``, llama.cpp, or a hosted model.

One request is one sample. So k is bounded by no limit an endpoint has on ``n``, every answer that was paid for is
saved, and each sample has its own seed. The key comes from the environment and is written nowhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import urlsplit

from sgpo.evaluation.backends.base import Answered, BackendError, Key, Request, Response, Sampling

_OPTIONAL = ("temperature", "top_p", "max_tokens", "seed")


class EndpointBackend:
    """See :class:`sgpo.evaluation.backends.base.Backend`.

    Args:
        model: the name under which the endpoint serves it.
        base_url: up to and with ``/v1``; None is OpenAI's own.
        key_variable: the environment variable that holds the key. Unset is allowed with a ``base_url``.
        concurrency: requests under way at once.
        retries: further tries of a request that fails in passing (connection, time-out, 408, 409, 429, 5xx).
        timeout: seconds for one try.
        extra_body: further fields of each request.
        omit: fields among temperature, top_p, max_tokens and seed that the endpoint refuses.
    """

    def __init__(
        self,
        model: str,
        sampling: Sampling,
        *,
        base_url: str | None = None,
        key_variable: str = "OPENAI_API_KEY",
        concurrency: int = 16,
        retries: int = 5,
        timeout: float = 3600.0,
        extra_body: dict[str, Any] | None = None,
        omit: Sequence[str] = (),
    ) -> None:
        try:
            import openai
        except ImportError as error:
            raise BackendError("The openai client is not installed; pip install 'sgpo[api]'.") from error
        if concurrency < 1:
            raise ValueError(f"concurrency = {concurrency} must be at least 1.")
        if unknown := set(omit) - set(_OPTIONAL):
            raise ValueError(f"omit = {sorted(unknown)} is unknown; choose from {', '.join(_OPTIONAL)}.")
        if base_url is not None and (urlsplit(base_url).username or urlsplit(base_url).password):
            raise ValueError(f"base_url holds a user or password; put the key into {key_variable}, it is never saved.")
        self._key = os.environ.get(key_variable, "")
        if not self._key and base_url is None:
            raise BackendError(
                f"{key_variable} is not set; export the endpoint's key, or give --base-url for one without."
            )
        self.model, self.sampling, self.base_url = model, sampling, base_url
        self.concurrency, self.extra_body, self.omit = concurrency, extra_body or {}, tuple(omit)
        self._errors = openai.OpenAIError
        self._client = openai.OpenAI(
            api_key=self._key or "none", base_url=base_url, max_retries=retries, timeout=timeout
        )

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "endpoint",
            "base_url": self.base_url,
            "extra_body": self.extra_body,
            "omit": list(self.omit),
        }

    def generate(self, requests: Sequence[Request], answered: Collection[Key]) -> Iterator[Answered]:
        missing = iter([request for request in requests if request.key not in answered])
        failure: Exception | None = None
        pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="sgpo-eval")
        running: dict[Future[Response], Request] = {}
        try:
            while True:
                while failure is None and len(running) < self.concurrency:
                    request = next(missing, None)
                    if request is None:
                        break
                    running[pool.submit(self._ask, request)] = request
                if not running:
                    break
                portion: Answered = []
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    request = running.pop(future)
                    try:
                        portion.append((request, future.result()))
                    except self._errors as error:  # those under way are still awaited: they are paid for
                        failure = failure or error
                if portion:
                    yield portion
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        if failure is not None:
            raise BackendError(self._explain(failure)) from None  # the chain could show request headers

    def _ask(self, request: Request) -> Response:
        options: dict[str, Any] = {
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "max_tokens": self.sampling.max_new_tokens,
            "seed": request.seed,
        }
        options = {name: value for name, value in options.items() if name not in self.omit}
        if isinstance(request.prompt, str):
            reply: Any = self._client.completions.create(
                model=self.model, prompt=request.prompt, extra_body=self.extra_body, **options
            )
        else:
            reply = self._client.chat.completions.create(
                model=self.model,
                messages=request.prompt,  # type: ignore[arg-type]
                extra_body=self.extra_body,
                **options,
            )
        if not reply.choices:
            raise self._errors(f"the reply to {request.key} has no choices")
        choice = reply.choices[0]
        text = choice.text if isinstance(request.prompt, str) else choice.message.content
        usage = getattr(reply, "usage", None)
        return Response(text or "", usage.completion_tokens if usage else None, choice.finish_reason == "length")

    def _explain(self, error: Exception) -> str:
        """The error in one line, without the key."""
        reply = getattr(error, "response", None)
        said = "" if reply is None or reply.text in str(error) else f" {reply.text}"
        text = " ".join(f"{error}{said}".split())[:500]
        if self._key:
            text = text.replace(self._key, "[key]")
        text = re.sub(r"\bsk-\S+", "[key]", text)
        where = self.base_url or "the default endpoint"
        return (
            f"{where} failed for the model {self.model!r} ({type(error).__name__}: {text}). The answers so far are "
            "saved: run the same command again to go on. If a field is refused, leave it out with --omit; if the "
            "endpoint is overloaded, lower --concurrency."
        )
