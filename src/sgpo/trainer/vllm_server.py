"""The vLLM server of a run (``vllm_mode="server"``): is it up, does it serve this model, does each request end in time?

TRL pushes the policy's weights into whatever model the server runs. One of another architecture fails in the middle of
the first step, on the server; one of the same architecture with another tokenizer does not fail at all. TRL itself asks
whether the server is up, but only once the policy is loaded, and it waits forever for one that accepts connections and
never answers, or that answers with an error. Hence a look before anything is loaded, with a deadline of our own.

In the run TRL's requests have no deadline either. Here each of them has one, from its start to the last byte of the
reply: TRL's own retries, a connection that is never accepted, and a reply that trickles in count. What comes back is
checked before it is trained on.

What vLLM is given of an adapter are weights with the adapter merged into them, while the base stays to the bit. TRL
merges the adapter into the base, sends the weights, and takes the adapter off again. In bfloat16 both steps round, so
that the base would wander off with every update, and the adapter that is saved belongs to another one
(huggingface/trl#6688).
"""

import contextlib
import json
import logging
import math
import os
import queue
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from http.client import HTTPException
from pathlib import PurePath
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlparse

from accelerate.utils import is_peft_model
from torch import Tensor
from trl import GRPOConfig

from sgpo.runs.files import JsonObject
from sgpo.trainer.checkpoints import last_checkpoint
from sgpo.trainer.own import swapped
from sgpo.trainer.shards import sharding
from sgpo.trainer.trl_seam import GRPOTrainer, VLLMClient, vllm_generation

logger = logging.getLogger(__name__)

_SECONDS, _BYTES = 10.0, 1_000_000  # of one look
_PAUSE = 2.0  # seconds between two looks at a server that is not up yet
_SLOWEST = 5.0  # tokens a second of one completion, when the server is busy
_AT_ONCE = 256  # completions; vLLM's default of max_num_seqs
_STUCK = 30.0  # seconds for the broadcast of weights to end by itself once its request has failed
_EXCERPT = 200  # characters of a reply in an error


class ServerError(ConnectionError):
    """The vLLM server does not do what it is asked; the message says what, how long it took, and what to do."""


class ServedGRPOTrainer(GRPOTrainer):
    """``GRPOTrainer`` whose vLLM server, if it has one, is looked at before the policy is loaded, and kept to time.

    Raises:
        ServerError: in a run, by :class:`BoundedClient`.
        ConnectionError, ValueError: at construction, by :func:`check_server`.
    """

    def __init__(self, model: Any, *positional: Any, args: Any, **kwargs: Any):
        check_server(args, self._sgpo.base_model)
        with swapped(vllm_generation, VLLMClient=partial(BoundedClient, args)):  # TRL makes clients of ours
            super().__init__(model, *positional, args=args, **kwargs)
        if self.use_vllm and is_peft_model(self.model) and sharding(args) != "FSDP1":  # which merges where it gathers
            merge_in_copies(self.vllm_generation)


class BoundedClient(VLLMClient):
    """TRL's client with a deadline on every request; all faults are a :class:`ServerError`.

    A request may take ``vllm_server_timeout`` seconds. One for completions may take longer, by the time in which a
    slow server would sample the longest completions that it may, or ``vllm_request_timeout`` seconds, where that is
    set.
    """

    def __init__(self, args: Any, **options: Any):
        self._output_dir = args.output_dir
        self._asked_for = getattr(args, "vllm_request_timeout", None)
        self._seconds = float(self._asked_for or args.vllm_server_timeout)
        self._what = ""  # in words, beside the address
        self._transfer: threading.Event | None = None  # of weights, under way until it is set
        with self._reading("a list of models"):
            super().__init__(**options)

    @property
    def session(self) -> Any:
        return self._session

    @session.setter
    def session(self, plain: Any) -> None:
        self._session = _Session(plain, self)

    def generate(self, prompts: Sequence[Any], n: int = 1, max_tokens: int = 16, **options: Any) -> JsonObject:
        wanted, seconds = len(prompts) * n, self._seconds
        if self._asked_for is None:
            seconds += math.ceil(wanted / _AT_ONCE) * max_tokens / _SLOWEST
        what = f" ({len(prompts)} prompts, {n} completions of up to {max_tokens} tokens each)"
        with swapped(self, _seconds=seconds, _what=what), self._reading("completions"):
            output = super().generate(prompts, n=n, max_tokens=max_tokens, **options)
            self._check(output, len(prompts), wanted)
        return output

    def _check(self, output: Mapping[str, Any], prompts: int, wanted: int) -> None:
        """All completions must be there, each as token ids with a log-probability for each."""
        got, ids, logprobs = len(output["prompt_ids"]), output["completion_ids"], output["logprobs"]
        if (got, len(ids)) != (prompts, wanted):
            raise self.error(
                f"sent {len(ids)} completions of {got} prompts, but {wanted} of {prompts} were asked for{self._what}"
            )
        if not all(type(token) is int and token >= 0 for one in [*ids, *output["prompt_ids"]] for token in one):
            raise ValueError("a token id is no whole number")
        if logprobs is not None and [len(one) for one in logprobs] != [len(one) for one in ids]:
            raise ValueError("a completion's log-probabilities are fewer or more than its tokens")

    def check_server(self, total_timeout: float = 0.0, retry_interval: float = 2.0) -> None:
        """The server was up a moment ago: it has been looked at. TRL's own look has no end."""
        headers = self.session.get(f"{self.base_url}/health").headers
        if "X-Forwarded-For" in headers:
            self.host = headers["X-Forwarded-For"]

    def get_server_info(self) -> JsonObject:
        with self._reading("its configuration"):
            info: JsonObject = super().get_server_info()
            # TRL reads these two later, where a KeyError would name neither the server nor a remedy.
            info["weight_transfer_config"], info["model_config"]["logprobs_mode"]
            return info

    def get_world_size(self) -> int:
        with self._reading("the number of its workers"):
            return int(super().get_world_size())

    def init_communicator(self, *args: Any, **options: Any) -> None:
        with self._transferring():
            super().init_communicator(*args, **options)

    def update_named_params(self, *args: Any, **options: Any) -> None:
        with self._transferring():
            super().update_named_params(*args, **options)

    # ---------------------------------------------------------------- faults

    def error(self, what: str, remedy: str = "") -> ServerError:
        """The error that ``what`` is, to be raised."""
        error = ServerError(
            f"The vLLM server at {self.base_url} {what}. Look into its log and restart it. {remedy}"
            f"{last_checkpoint(self._output_dir)}."
        )
        if self._transfer is not None:
            threading.Thread(target=_end_if_stuck, args=(error, self._transfer), daemon=True).start()
        return error

    @contextlib.contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            yield
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise self.error(f"answered with something else than {what}{self._what} ({error!r:.{_EXCERPT}})") from error

    @contextlib.contextmanager
    def _transferring(self) -> Iterator[None]:
        """While weights are broadcast this thread waits in NCCL, which no exception reaches."""
        self._transfer = threading.Event()
        try:
            yield
        finally:
            self._transfer.set()
            self._transfer = None

    def _get(self, url: str, **options: Any) -> Any:
        return self._json(url, self.session.get(url, **options))

    def _post(self, url: str, **options: Any) -> Any:
        return self._json(url, self.session.post(url, **options))

    def _json(self, url: str, reply: Any) -> Any:
        """The JSON of a reply; an empty one, which says that a request was carried out, is None."""
        try:
            return reply.json() if reply.content.strip() else None
        except ValueError:
            raise self.error(f"answered {urlparse(url).path}{self._what} with no JSON: {_excerpt(reply)}") from None


def _end_if_stuck(error: ServerError, ended: threading.Event) -> None:
    """The last resort: the request for a transfer has failed, and the thread that transfers does not come back."""
    if not ended.wait(_STUCK):
        print(f"error: {error}", file=sys.stderr, flush=True)
        os._exit(1)


class _Session:
    """A session of ``requests`` whose GET and POST end in time; the rest of it is the session's own."""

    def __init__(self, plain: Any, client: BoundedClient):
        self._plain, self._client = plain, client
        self.get = lambda url, **options: self._ask("GET", url, options)
        self.post = lambda url, **options: self._ask("POST", url, options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)

    def _ask(self, method: str, url: str, options: dict[str, Any]) -> Any:
        client, seconds, began = self._client, self._client._seconds, time.monotonic()
        asked = f"{method} {urlparse(url).path}{client._what}"
        replies: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def ask() -> None:
            try:
                replies.put(self._plain.request(method, url, **options))
            except Exception as error:
                replies.put(error)

        # A thread keeps the deadline: a read time-out of the client would start again with every byte and every try.
        threading.Thread(target=ask, name=asked, daemon=True).start()
        try:
            reply = replies.get(timeout=seconds)
        except queue.Empty:
            remedy = "Raise vllm_request_timeout if it needs longer. "
            raise client.error(f"did not answer {asked} within {seconds:g} s", remedy) from None
        if isinstance(reply, Exception):
            cause = getattr(reply.args[0] if reply.args else None, "reason", None) or reply  # urllib3's, after retries
            took = time.monotonic() - began
            raise client.error(f"failed in {asked} after {took:.0f} s ({cause!s:.{_EXCERPT}})") from reply
        if reply.status_code not in (200, 404):  # TRL says what a 404 means, where it does
            raise client.error(f"answered {asked} with {reply.status_code} {reply.reason}: {_excerpt(reply)}")
        return reply


def _excerpt(reply: Any) -> str:
    text = " ".join(reply.text.split())
    return repr(text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}...")


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


def merge_in_copies(generation: Any) -> None:
    """Let TRL's ``generation`` send merged copies of the weights, one layer at a time."""
    from peft.tuners.tuners_utils import BaseTunerLayer  # of the extra `lora`

    own, parameters_of, plain = vars(generation.model), generation.model.named_parameters, generation._iter_named_params

    def copies() -> Iterator[tuple[str, Tensor]]:
        layers = [module for module in generation.model.modules() if isinstance(module, BaseTunerLayer)]
        owners = {id(p): layer for layer in layers for p in layer.get_base_layer().parameters(recurse=False)}
        for name, parameter in parameters_of():
            layer = owners.get(id(parameter))
            yield name, parameter if layer is None else _merged(layer, name.rpartition(".")[2])

    def iterate() -> Iterator[tuple[str, Tensor]]:
        # In place of merging, the model's parameters are the copies, until it is unmerged.
        own["merge_adapter"] = lambda: own.update(named_parameters=copies)
        own["unmerge_adapter"] = lambda: own.pop("named_parameters")
        try:
            yield from plain()
        finally:
            for name in ("merge_adapter", "unmerge_adapter", "named_parameters"):
                own.pop(name, None)

    generation._iter_named_params = iterate


def _merged(layer: Any, name: str) -> Tensor:
    """A copy of the weight or bias ``name`` of the base layer with the adapter merged into it."""
    base = layer.get_base_layer()
    before = {each: (parameter, parameter.detach().clone()) for each, parameter in base.named_parameters(recurse=False)}
    layer.merge()
    merged: Tensor = getattr(base, name).detach().clone()
    layer.unmerge()
    for each, (parameter, values) in before.items():
        setattr(base, each, parameter)  # a quantized layer has been given another one
        parameter.data.copy_(values)
    return merged
