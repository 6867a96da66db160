"""How a model is reached, as the options of a command, and the model itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sgpo.models.protocol import Model, Sampling

BACKENDS = ("transformers", "vllm", "endpoint")
_TAKEN = (
    "conversation",
    "tokenize",
    "add_generation_prompt",
    "continue_final_message",
    "return_tensors",
    "return_dict",
)


@dataclass(frozen=True)
class ModelOptions:
    """The options of a way to a model; the classes that are opened explain them.

    Attributes:
        backend: one of `BACKENDS`.
        batch_size: of models in this process; None is 64, for vLLM 512.
    """

    backend: str = "transformers"
    # endpoint
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = 16
    retries: int = 5
    timeout: float = 3600.0
    json_schema: bool = True
    extra_body: dict[str, Any] = field(default_factory=dict)
    omit: Sequence[str] = ()
    stream: bool = False
    # in this process
    batch_size: int | None = None
    dtype: str = "auto"
    device: str | None = None
    revision: str | None = None
    tensor_parallel: int = 1
    max_model_len: int | None = None
    # both
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ValueError(f"--backend {self.backend!r} is unknown; choose from {', '.join(BACKENDS)}.")
        if taken := [name for name in self.chat_template_kwargs if name in _TAKEN]:
            raise ValueError(f"--chat-template-kwargs cannot set {taken[0]!r}, which is set for every prompt.")


def open_model(name: str, sampling: Sampling, options: ModelOptions) -> Model:
    """The way to a model, loaded.

    Raises:
        ValueError: an option that is wrong.
        ModelError: a model that cannot be loaded.
    """
    template = options.chat_template_kwargs
    if options.backend == "endpoint":
        from sgpo.models.endpoint import Endpoint

        return Endpoint(
            name,
            sampling,
            base_url=options.base_url,
            key_variable=options.api_key_env,
            concurrency=options.concurrency,
            retries=options.retries,
            timeout=options.timeout,
            json_schema=options.json_schema,
            extra_body=options.extra_body,
            omit=options.omit,
            stream=options.stream,
            chat_template_kwargs=template,
        )
    common: dict[str, Any] = {"dtype": options.dtype, "revision": options.revision, "chat_template_kwargs": template}
    if options.backend == "vllm":
        from sgpo.models.vllm_engine import VllmModel

        return VllmModel.load(
            name,
            sampling,
            batch_size=512 if options.batch_size is None else options.batch_size,
            tensor_parallel=options.tensor_parallel,
            max_model_len=options.max_model_len,
            **common,
        )
    from sgpo.models.local import LocalModel

    size = 64 if options.batch_size is None else options.batch_size
    return LocalModel.load(name, sampling, batch_size=size, device=options.device, **common)


def json_object(text: str | None, option: str) -> dict[str, Any]:
    """A JSON object that was given on the command line; {} where none was. The error does not show it: keys end there.

    Raises:
        ValueError: something else.
    """
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        place = f" (at character {error.pos + 1} of {len(text)})" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"{option} is not valid JSON{place}; give an object, such as '{{\"top_k\": 20}}'.") from None
    if not isinstance(found, dict):
        raise ValueError(
            f"{option} must be a JSON object, such as '{{\"top_k\": 20}}'; it is a {type(found).__name__}."
        )
    return found
