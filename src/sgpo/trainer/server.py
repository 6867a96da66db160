"""A look at the vLLM server before the policy is loaded: does it serve this model?

TRL pushes the policy's weights into whatever model the server runs. One of another architecture fails in the middle of
the first step, on the server; one of the same architecture with another tokenizer does not fail at all. A server that
is down is left to TRL, which waits ``vllm_server_timeout`` seconds for it and then says so.
"""

import json
import urllib.request
from pathlib import PurePath

from trl import GRPOConfig

_SECONDS, _BYTES = 10.0, 1_000_000


def check_server(args: GRPOConfig, model_name: str) -> None:
    """Raise ``ValueError`` if a server that answers serves a model of another name than ``model_name``.

    Only the last part of the names is compared, as paths differ from machine to machine. An empty name passes.
    """
    if not (args.use_vllm and args.vllm_mode == "server" and model_name):
        return
    base = args.vllm_server_base_url or f"http://{args.vllm_server_host}:{args.vllm_server_port}"
    url = f"{base.rstrip('/')}/v1/models"
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
            served = [entry for entry in json.loads(answer.read(_BYTES))["data"] if isinstance(entry, dict)]
    except (OSError, ValueError, KeyError, TypeError):
        return  # down, still loading, or behind a key: TRL will say
    names = {str(entry[key]) for entry in served for key in ("id", "root") if entry.get(key)}
    if names and PurePath(model_name).name not in {PurePath(name).name for name in names}:
        raise ValueError(
            f"The vLLM server at {base} serves {', '.join(sorted(names))}, but the policy is {model_name!r}: weights "
            f"would be pushed into another model. Start the server with `vllm serve {model_name}`, or set "
            "vllm_server_base_url to the right one."
        )
