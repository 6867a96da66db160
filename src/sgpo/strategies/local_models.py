"""A model in this process: through transformers, or vLLM where installed.

Asks that come in together are generated together, so a local model is asked like an endpoint. Replies are read by the
tolerant parser; no grammar is enforced on what is generated.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sgpo.strategies.clients import CallError, Reply, Sampling
from sgpo.strategies.templates import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_GATHER = 0.02  # seconds in which asks may join a batch


class LocalClient:
    """See `sgpo.strategies.clients.Client`. Subclasses generate a batch.

    Args:
        batch_size: replies generated at once.
    """

    def __init__(self, sampling: Sampling, batch_size: int, settings: dict[str, Any]) -> None:
        if batch_size < 1:
            raise ValueError(f"--batch-size {batch_size} must be at least 1.")
        self.sampling, self.concurrency, self._settings = sampling, batch_size, settings
        self._waiting: list[tuple[Messages, int, asyncio.Future[Reply]]] = []
        self._busy: asyncio.Task[None] | None = None

    def generate(self, conversations: list[Messages], seeds: list[int]) -> list[Reply]:
        """One reply to each conversation."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        s = self.sampling
        return {"temperature": s.temperature, "top_p": s.top_p, "max_tokens": s.max_tokens, **self._settings}

    async def check(self) -> None:
        """Nothing: the model is loaded."""

    async def close(self) -> None:
        """Nothing to close."""

    async def ask(self, messages: Messages, *, seed: int, schema: dict[str, Any], name: str) -> Reply:
        """See `sgpo.strategies.clients.Client`."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((messages, seed, future))
        if self._busy is None or self._busy.done():
            self._busy = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            await asyncio.sleep(_GATHER)
            batch, self._waiting = self._waiting[: self.concurrency], self._waiting[self.concurrency :]
            outcomes = await asyncio.to_thread(self._outcomes, [b[0] for b in batch], [b[1] for b in batch])
            for (_, _, future), outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, CallError):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)

    def _outcomes(self, conversations: list[Messages], seeds: list[int]) -> list[Reply | CallError]:
        try:
            return list(self.generate(conversations, seeds))
        except ValueError as error:  # one prompt that is too long does not fail the others
            if len(seeds) == 1:
                return [CallError("bad_request", str(error))]
            pairs = zip(conversations, seeds, strict=True)
            return [self._outcomes([conversation], [seed])[0] for conversation, seed in pairs]
        except Exception as error:  # out of memory, a broken model: the next batch would end like this one
            text = (str(error).splitlines() or [""])[0][:300]
            hint = " Lower --batch-size or --max-tokens if memory ran out."
            return [CallError("model_failed", f"{type(error).__name__}: {text}.{hint}", fatal=True)] * len(seeds)


class TransformersClient(LocalClient):
    """A transformers model; conversations go through its chat template."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sampling: Sampling,
        *,
        batch_size: int = 8,
        revision: str | None = None,
    ) -> None:
        super().__init__(sampling, batch_size, {"backend": "transformers", "revision": revision})
        if not getattr(tokenizer, "chat_template", None):
            raise ValueError("The model's tokenizer has no chat template; strategies need an instruction-tuned model.")
        self.model, self.tokenizer = model.eval(), tokenizer

    @classmethod
    def load(
        cls,
        name: str,
        sampling: Sampling,
        *,
        batch_size: int = 8,
        dtype: str = "auto",
        device: str | None = None,
        revision: str | None = None,
    ) -> TransformersClient:
        """A model by path or hub id; ``dtype`` auto: as saved, but float32 on a CPU. Raises ValueError."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        where = device or ("cuda" if torch.cuda.is_available() else "cpu")
        kind: Any = torch.float32 if (dtype, where) == ("auto", "cpu") else dtype
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
            model = AutoModelForCausalLM.from_pretrained(name, dtype=kind, revision=revision).to(where)
        except (OSError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"model {name!r} cannot be loaded: {reason} Give a folder saved by save_pretrained, or a hub id."
            ) from error
        return cls(model, tokenizer, sampling, batch_size=batch_size, revision=revision)

    def generate(self, conversations: list[Messages], seeds: list[int]) -> list[Reply]:
        import torch

        tokenizer: Any = self.tokenizer
        texts = [tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in conversations]
        rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        width = max(map(len, rows))
        room = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 2**31
        if width >= room:
            raise ValueError(f"a prompt has {width} tokens and the model {room} positions")
        pad = next(i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if i is not None)
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=self.model.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=self.model.device)
        limit = min(self.sampling.max_tokens, room - width)
        drawn: dict[str, Any] = {"do_sample": self.sampling.temperature > 0}
        if drawn["do_sample"]:
            drawn |= {"temperature": self.sampling.temperature, "top_p": self.sampling.top_p}
        torch.manual_seed(seeds[0])
        with torch.inference_mode():
            model: Any = self.model
            out = model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=limit, pad_token_id=pad, tokenizer=tokenizer, **drawn
            )
        return [self._reply(row, len(prompt)) for row, prompt in zip(out[:, width:].tolist(), rows, strict=True)]

    def _reply(self, row: list[int], prompt_tokens: int) -> Reply:
        ends = self.model.generation_config.eos_token_id if self.model.generation_config is not None else None
        known = {*(ends if isinstance(ends, list) else [ends]), self.tokenizer.eos_token_id}
        stop = next((i for i, token in enumerate(row) if token in known), None)
        said = row if stop is None else row[:stop]
        text = self.tokenizer.decode(said, skip_special_tokens=True)
        finish = "length" if stop is None else "stop"
        return Reply(str(text), finish, prompt_tokens, len(row) if stop is None else stop + 1)


class VllmClient(LocalClient):
    """vLLM in this process; for a vLLM server use an endpoint."""

    def __init__(self, engine: Any, sampling: Sampling, *, batch_size: int = 256, revision: str | None = None) -> None:
        super().__init__(sampling, batch_size, {"backend": "vllm", "revision": revision})
        self.engine = engine

    @classmethod
    def load(
        cls,
        name: str,
        sampling: Sampling,
        *,
        batch_size: int = 256,
        dtype: str = "auto",
        revision: str | None = None,
        tensor_parallel: int = 1,
        max_model_len: int | None = None,
    ) -> VllmClient:
        """A model by path or hub id. Raises ValueError where vLLM is not installed."""
        try:
            from vllm import LLM
        except ImportError as error:
            raise ValueError(
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
        return cls(engine, sampling, batch_size=batch_size, revision=revision)

    def generate(self, conversations: list[Messages], seeds: list[int]) -> list[Reply]:
        from vllm import SamplingParams

        s = self.sampling
        drawn = {"n": 1, "temperature": s.temperature, "top_p": s.top_p, "max_tokens": s.max_tokens}
        params = [SamplingParams(**drawn, seed=seed) for seed in seeds]
        replies = []
        for output in self.engine.chat(conversations, params, use_tqdm=False):
            one = output.outputs[0]
            finish = "length" if one.finish_reason == "length" else "stop"
            replies.append(Reply(one.text, finish, len(output.prompt_token_ids), len(one.token_ids)))
        return replies
