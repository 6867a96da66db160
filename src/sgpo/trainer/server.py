"""A look at the vLLM server before the policy is loaded: is it up, and does it serve this model?

TRL pushes the policy's weights into whatever model the server runs. One of another architecture fails in the middle of
the first step, on the server; one of the same architecture with another tokenizer does not fail at all. TRL itself
asks whether the server is up, but only once the policy is loaded, and it waits forever for one that accepts
connections and never answers, or that answers with an error; hence a deadline of our own.
"""

import json
import logging
import time
import urllib.request
from http.client import HTTPException
from pathlib import PurePath
from urllib.error import HTTPError

from trl import GRPOConfig

logger = logging.getLogger(__name__)

_SECONDS, _BYTES = 10.0, 1_000_000  # of one request
_PAUSE = 2.0  # seconds between two looks at a server that is not up yet


def check_server(args: GRPOConfig, model_name: str) -> None:
    """Raise unless the server of ``vllm_mode="server"`` is up and serves ``model_name``.

    Only the last part of the names is compared, as paths differ from machine to machine. An empty name passes.

    Raises:
        ConnectionError: it is not up after ``vllm_server_timeout`` seconds (asked by the main process, as TRL does).
        ValueError: it serves a model of another name, or its address is none.
    """
    if not (args.use_vllm and args.vllm_mode == "server"):
        return
    base = (args.vllm_server_base_url or f"http://{args.vllm_server_host}:{args.vllm_server_port}").rstrip("/")
    if not base.startswith(("http://", "https://")):
        raise ValueError(f"vllm_server_base_url is {base!r}, but must begin with http:// or https://.")
    if args.process_index == 0:
        _wait_until_up(base, args.vllm_server_timeout)
    names = _served(base)
    if model_name and names and PurePath(model_name).name not in {PurePath(name).name for name in names}:
        raise ValueError(
            f"The vLLM server at {base} serves {', '.join(sorted(names))}, but the policy is {model_name!r}: weights "
            f"would be pushed into another model. Start the server with `vllm serve {model_name}`, or set "
            "vllm_server_base_url to the right one."
        )


def _wait_until_up(base: str, seconds: float) -> None:
    """Return once ``/health`` answers; ``ConnectionError`` after so many seconds."""
    deadline = time.monotonic() + seconds
    told = False
    while True:
        patience = min(_SECONDS, max(deadline - time.monotonic(), 0.1))
        try:
            with urllib.request.urlopen(f"{base}/health", timeout=patience):
                return
        except HTTPError as error:
            why = f"it answers {error.code} {error.reason} to GET /health"
        except (OSError, HTTPException) as error:
            cause = getattr(error, "reason", error)
            why = "it does not answer GET /health" if isinstance(cause, TimeoutError) else f"{cause}"
        left = deadline - time.monotonic()
        if left <= 0:
            raise ConnectionError(
                f"The vLLM server at {base} is not up after {seconds:g} s: {why}. Start it with `vllm serve`, look "
                "into its log, or set vllm_server_base_url (vllm_server_host, vllm_server_port) to the right one; "
                "vllm_server_timeout is how long to wait for a server that is still loading."
            )
        if not told:
            logger.warning("Waiting up to %g s for the vLLM server at %s: %s", seconds, base, why)
            told = True
        time.sleep(min(_PAUSE, left))


def _served(base: str) -> set[str]:
    """Names of the models that the server says it serves; none where it does not say (behind a key, for one)."""
    try:
        with urllib.request.urlopen(f"{base}/v1/models", timeout=_SECONDS) as answer:
            served = [entry for entry in json.loads(answer.read(_BYTES))["data"] if isinstance(entry, dict)]
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return set()
    return {str(entry[key]) for entry in served for key in ("id", "root") if entry.get(key)}
