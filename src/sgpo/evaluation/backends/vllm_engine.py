"""vLLM in this process; for a vLLM server see :mod:`sgpo.evaluation.backends.endpoint`.

Each request has its own seed, so a resumed run asks for the same samples; vLLM's kernels do not promise the same bits
under another load. ``generation_config="vllm"`` keeps the model's own sampling defaults out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sgpo.evaluation.backends.base import Answered, BackendError, Key, Request, Response, Sampling


class VllmBackend:
    """See :class:`sgpo.evaluation.backends.base.Backend`. ``batch_size`` responses are saved at a time."""

    def __init__(self, engine: Any, sampling: Sampling, *, batch_size: int, settings: dict[str, Any]) -> None:
        self.engine, self.sampling, self.batch_size, self.settings = engine, sampling, batch_size, settings

    @classmethod
    def load(
        cls,
        name: str,
        sampling: Sampling,
        *,
        batch_size: int = 512,
        dtype: str = "auto",
        revision: str | None = None,
        tensor_parallel: int = 1,
        max_model_len: int | None = None,
    ) -> VllmBackend:
        """A model by path or hub id. Raises BackendError where vLLM is not installed."""
        try:
            from vllm import LLM
        except ImportError as error:
            raise BackendError(
                "vLLM is not installed; pip install 'sgpo[vllm]', or use --backend transformers."
            ) from error
        engine = LLM(
            model=name,
            dtype=dtype,
            revision=revision,
            tensor_parallel_size=tensor_parallel,
            max_model_len=max_model_len,
            enable_prefix_caching=True,
            generation_config="vllm",
        )
        settings = {
            "revision": revision,
            "dtype": dtype,
            "tensor_parallel": tensor_parallel,
            "max_model_len": max_model_len,
        }
        return cls(engine, sampling, batch_size=batch_size, settings=settings)

    def describe(self) -> dict[str, Any]:
        return {"kind": "vllm", **self.settings}

    def generate(self, requests: Sequence[Request], answered: Collection[Key]) -> Iterator[Answered]:
        from vllm import SamplingParams

        from sgpo.evaluation.sampling import encode

        tokenizer = self.engine.get_tokenizer()
        missing = [request for request in requests if request.key not in answered]
        for start in range(0, len(missing), self.batch_size):
            batch = missing[start : start + self.batch_size]
            prompts = [{"prompt_token_ids": ids} for ids in encode(tokenizer, [request.prompt for request in batch])]
            params = [
                SamplingParams(
                    n=1,
                    temperature=self.sampling.temperature,
                    top_p=self.sampling.top_p,
                    max_tokens=self.sampling.max_new_tokens,
                    seed=request.seed,
                )
                for request in batch
            ]
            outputs = self.engine.generate(prompts, params, use_tqdm=False)
            portion: Answered = []
            for request, output in zip(batch, outputs, strict=True):
                one = output.outputs[0]
                portion.append((request, Response(one.text, len(one.token_ids), one.finish_reason == "length")))
            yield portion
