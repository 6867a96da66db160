"""A transformers model in this process.

Batches are cut from the full list of requests, the longest prompts first, whatever has been answered before: a resumed
run pads each prompt as an uninterrupted one does, and so gives the same responses to the last bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgpo.evaluation.backends.base import Answered, BackendError, Key, Request, Response, Sampling

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_EDGE = 1 << 20  # bytes read at either end of each file of weights


class LocalBackend:
    """See :class:`sgpo.evaluation.backends.base.Backend`. ``batch_size`` counts responses."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sampling: Sampling,
        *,
        batch_size: int = 64,
        name: str = "",
        revision: str | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size = {batch_size} must be at least 1.")
        self.model, self.tokenizer, self.sampling, self.batch_size = model, tokenizer, sampling, batch_size
        self.name, self.revision = name, revision

    @classmethod
    def load(
        cls,
        name: str,
        sampling: Sampling,
        *,
        batch_size: int = 64,
        dtype: str = "auto",
        device: str | None = None,
        revision: str | None = None,
    ) -> LocalBackend:
        """A model by path or hub id. ``dtype`` auto: as saved, but float32 on a CPU.

        Raises:
            BackendError: if it cannot be loaded.
        """
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        where = device or ("cuda" if torch.cuda.is_available() else "cpu")
        kind: Any = dtype
        if dtype == "auto" and where == "cpu":
            kind = torch.float32
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
            model = AutoModelForCausalLM.from_pretrained(name, dtype=kind, revision=revision).to(where)
        except (OSError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BackendError(
                f"model {name!r} cannot be loaded: {reason} Give a folder saved by save_pretrained, or a hub id."
            ) from error
        return cls(model, tokenizer, sampling, batch_size=batch_size, name=name, revision=revision)

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "transformers",
            "revision": self.revision or getattr(self.model.config, "_commit_hash", None),
            "weights": fingerprint(Path(self.name)) if Path(self.name).is_dir() else None,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": self.model.device.type,
            "batch_size": self.batch_size,
        }

    def generate(self, requests: Sequence[Request], answered: Collection[Key]) -> Iterator[Answered]:
        from sgpo.evaluation.sampling import encode, sample_rows

        needs_template = any(not isinstance(request.prompt, str) for request in requests)
        if needs_template and not getattr(self.tokenizer, "chat_template", None):
            raise BackendError(
                f"model {self.name!r} has no chat template; give --template raw, or a file with chat = false."
            )
        order: list[tuple[int, int]] = []
        lengths: dict[str, int] = {}
        for i, request in enumerate(requests):
            if request.problem not in lengths:
                lengths[request.problem] = len(encode(self.tokenizer, [request.prompt])[0])
            order.append((-lengths[request.problem], i))
        order.sort()
        for start in range(0, len(order), self.batch_size):
            batch = [requests[i] for _, i in order[start : start + self.batch_size]]
            missing = [request.key not in answered for request in batch]
            if not any(missing):
                continue
            sampled = sample_rows(
                self.model,
                self.tokenizer,
                [request.prompt for request in batch],
                [request.seed for request in batch],
                temperature=self.sampling.temperature,
                top_p=self.sampling.top_p,
                max_new_tokens=self.sampling.max_new_tokens,
                batch_size=self.batch_size,
            )
            yield [
                (request, Response(one.text, one.tokens, one.truncated))
                for request, one, wanted in zip(batch, sampled, missing, strict=True)
                if wanted
            ]


def fingerprint(folder: Path) -> str:
    """A short hash of a model's files: the small ones whole, of weights the size and the first and last MiB."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".json", ".safetensors", ".bin", ".jinja", ".txt", ".model"):
            continue
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        with path.open("rb") as file:
            digest.update(file.read(_EDGE))
            file.seek(max(0, path.stat().st_size - _EDGE))
            digest.update(file.read(_EDGE))
    return digest.hexdigest()[:16]
