"""vLLM in this process; for a vLLM server see :mod:`sgpo.models.endpoint`.

Each request has its own seed, so a resumed run asks for the same samples; vLLM's kernels do not promise the same bits
under another load. ``generation_config="vllm"`` keeps the model's own sampling defaults out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sgpo.models.batched import Loaded
from sgpo.models.folders import Folder
from sgpo.models.marks import end_of_turn, special_marks
from sgpo.models.protocol import ModelError, Reply, Request, Sampling

if TYPE_CHECKING:
    from sgpo.models.options import ModelOptions

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM can set memory aside for


class VllmModel(Loaded):
    """A `sgpo.models.protocol.Model` that vLLM runs in this process. ``batch_size`` replies are handed on at a time."""

    backend = "vllm"

    def __init__(self, engine: Any, sampling: Sampling, options: ModelOptions, folder: Folder) -> None:
        size = 512 if options.batch_size is None else options.batch_size
        template = options.chat_template_kwargs
        super().__init__(engine.get_tokenizer(), folder, sampling, size, template)
        self.engine, self.options = engine, options
        config = getattr(getattr(engine, "llm_engine", None), "model_config", None)
        self.positions = getattr(config, "max_model_len", options.max_model_len)

    @classmethod
    def load(cls, name: str, sampling: Sampling, options: ModelOptions) -> VllmModel:
        """A model by path or hub id, or the folder of a LoRA adapter. Raises ModelError if it cannot be loaded."""
        try:
            from vllm import LLM
        except ImportError as error:
            raise ModelError(
                "vLLM is not installed; pip install 'vllm<=0.31.0', or use --backend transformers."
            ) from error
        folder = Folder.found(name, options.quantization, options.revision)
        more: dict[str, Any] = {}
        if folder.adapter is not None:
            # vLLM takes one of a few sizes, and refuses a rank beyond what it set aside.
            rank = next((rank for rank in _RANKS if rank >= folder.rank), folder.rank)
            more = {"tokenizer": folder.tokenizer, "enable_lora": True, "max_lora_rank": rank}
        if folder.start:
            raise ModelError(
                f"{name} has init_lora_weights={folder.start!r}, which changed its base, and vLLM would put it on the "
                "base as it is. Use --backend transformers."
            )
        if folder.quantization is not None:
            if folder.quantization.get("bnb_4bit_quant_type") != "nf4":
                raise ModelError(
                    f"{name} has a quantized base, and vLLM quantizes one to NF4 alone (load_in_4bit with "
                    "bnb_4bit_quant_type: nf4). Use --backend transformers."
                )
            more["quantization"] = "bitsandbytes"
        try:
            engine = LLM(
                model=folder.base,
                dtype=options.dtype,
                revision=folder.revision,
                tensor_parallel_size=options.tensor_parallel,
                max_model_len=options.max_model_len,
                enable_prefix_caching=True,
                generation_config="vllm",
                trust_remote_code=False,
                **more,
            )
        # A model that cannot be loaded, a GPU that is too small, an engine process that died.
        except (OSError, ValueError, RuntimeError) as error:
            raise folder.error(error) from error
        return cls(engine, sampling, options, folder)

    def describe(self) -> dict[str, object]:
        weights = {name: value for name, value in self.folder.describe().items() if value is not None}
        settings = {name: getattr(self.options, name) for name in ("dtype", "tensor_parallel", "max_model_len")}
        return {"kind": self.backend, "revision": self.folder.commit, **settings, **weights, **self.template_settings()}

    def replies(self, requests: Sequence[Request]) -> list[Reply]:
        from vllm import SamplingParams

        from sgpo.models.sampling import continued, decode

        drawn: dict[str, Any] = {
            "n": 1,
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "max_tokens": self.sampling.max_new_tokens,
        }
        prompts = [request.prompt for request in requests]
        if (turn := end_of_turn(self.tokenizer, prompts, self.chat_template_kwargs)) is not None:
            drawn["stop_token_ids"] = [turn]
        ids = self.prompt_ids(prompts)
        more: dict[str, Any] = {}
        if self.folder.adapter is not None:
            from vllm.lora.request import LoRARequest

            more["lora_request"] = LoRARequest("adapter", 1, self.folder.name)
        outputs = self.engine.generate(
            [{"prompt_token_ids": row} for row in ids],
            [SamplingParams(**drawn, seed=request.seed) for request in requests],
            use_tqdm=False,
            **more,
        )
        said = [output.outputs[0] for output in outputs]
        texts = [one.text for one in said]
        # The engine leaves out every special token, and with it the marks around the thinking of some models.
        if special_marks(self.tokenizer):
            texts = decode(self.tokenizer, [one.token_ids for one in said])
        texts = continued(self.tokenizer, [request.prompt for request in requests], ids, texts)
        replies = []
        for row, one, text in zip(ids, said, texts, strict=True):
            # A stop string and the end token are both "stop" for a run.
            finish = one.finish_reason if one.finish_reason in ("length", "abort") else "stop"
            replies.append(Reply(text, finish, len(one.token_ids), len(row)))
        return replies
