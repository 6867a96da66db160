"""How a model is reached: the options for it, which several commands share, and the model itself."""

import json
from dataclasses import dataclass, field

from sgpo.models.protocol import Model, Sampling
from sgpo.options import option

BACKENDS = ("transformers", "vllm", "endpoint")
# Arguments of `apply_chat_template` that are set for every prompt; a variable of the same name would override them.
_TAKEN = (
    "conversation",
    "tokenize",
    "add_generation_prompt",
    "continue_final_message",
    "return_tensors",
    "return_dict",
)


@dataclass(frozen=True, kw_only=True)
class LocalOptions:
    """How a model runs in this process."""

    backend: str = option("transformers", help="What runs the model: transformers or vllm.")
    batch_size: int | None = option(None, help="Replies generated at once. Default: 64, with vLLM 512.")
    device: str | None = option(
        None, help="Device for transformers, such as cuda:1 or cpu. Default: the GPU, if there is one."
    )
    dtype: str = option(
        "auto", help="Data type of the weights, such as bfloat16; auto: as they were saved, but float32 on a CPU."
    )
    revision: str | None = option(None, help="Branch, tag or commit of a model on the hub. Default: its main branch.")
    chat_template_kwargs: dict[str, object] = option(
        default_factory=dict,
        help="JSON object of variables for the chat template, such as '{\"enable_thinking\": false}', as in training.",
    )
    # The commands that offer it have the option, with a help text of their own.
    quantization: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if taken := [name for name in self.chat_template_kwargs if name in _TAKEN]:
            raise ValueError(f"--chat-template-kwargs cannot set {taken[0]!r}, which is set for every prompt.")


@dataclass(frozen=True, kw_only=True)
class ModelOptions(LocalOptions):
    """Everything that says how a model is reached, by any of `BACKENDS`."""

    backend: str = option("transformers", help="How the model is reached: transformers, vllm or endpoint.")
    # How an OpenAI-compatible endpoint is asked.
    base_url: str | None = option(
        None, help="URL of an OpenAI-compatible endpoint, up to /v1, such as http://localhost:8000/v1."
    )
    api_key_env: str = option("OPENAI_API_KEY", help="Name of the environment variable that holds the endpoint's key.")
    concurrency: int = option(16, help="Most requests to the endpoint that are under way at once.")
    retries: int = option(5, help="How often a request is tried again after a failure that may pass.")
    timeout: float = option(3600.0, help="Seconds that one try of a request may take, to the last byte.")
    stream: bool = option(False, help="Take replies in pieces, which keeps slow connections open.")
    extra_body: dict[str, object] = option(default_factory=dict, help="JSON object that is added to each request.")
    omit: tuple[str, ...] = option(
        (), help="Field to leave out of each request because the endpoint refuses it, such as seed; repeatable."
    )
    # What vLLM alone can be told.
    tensor_parallel: int = option(1, help="Number of GPUs over which vLLM splits the model.")
    max_model_len: int | None = option(
        None, help="Tokens of context, prompt and reply together, that vLLM reserves. Default: the model's own."
    )
    # No option of its own: only `sgpo strategies` asks for a schema, and has it among its options.
    json_schema: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backend not in BACKENDS:
            raise ValueError(f"--backend {self.backend!r} is unknown; choose from {', '.join(BACKENDS)}.")
        if self.quantization and self.backend == "endpoint":
            raise ValueError("--quantization is for a model that is loaded here, and an endpoint has loaded its own.")


def open_model(name: str, sampling: Sampling, options: ModelOptions) -> Model:
    """A loaded model. Raises ValueError for a wrong option, and ModelError for a model that cannot be loaded."""
    if options.backend == "endpoint":
        from sgpo.models.endpoint import Endpoint

        return Endpoint(name, sampling, options)
    if options.backend == "vllm":
        from sgpo.models.vllm_engine import VllmModel

        return VllmModel.load(name, sampling, options)
    from sgpo.models.local import LocalModel

    return LocalModel.load(name, sampling, options)


def json_object(text: str | None, option: str) -> dict[str, object]:
    """A JSON object of the command line; {} where none was given. An error does not show it: keys end there."""
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
