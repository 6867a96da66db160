"""Models in this process: batches, seeds, limits; a real tiny transformers model and a stand-in for vLLM's engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from sgpo.models import CallError, Reply, Request, Sampling
from sgpo.models.batched import Batched
from sgpo.models.local import LocalModel

TEMPLATE = "{% for m in messages %}Q {{ m['content'] }} {% endfor %}A"


def ask_all(client: Batched, texts: list[str]) -> list[Any]:
    async def all_of_them() -> list[Any]:
        asks = [client.ask(Request(text, 0, [{"role": "user", "content": text}], i)) for i, text in enumerate(texts)]
        return await asyncio.gather(*asks, return_exceptions=True)

    return asyncio.run(all_of_them())


class Echo(Batched):
    """Says the question; "long" is over its limit, "broken" breaks it."""

    def __init__(self, batch_size: int) -> None:
        super().__init__(Sampling(1.0, 1.0, 9), batch_size)
        self.batches: list[list[str]] = []

    def replies(self, requests: Sequence[Request]) -> list[Reply]:
        texts = [request.problem for request in requests]
        self.batches.append(texts)
        if "long" in texts:
            raise ValueError("a prompt has 9 tokens and the model 8 positions")
        if "broken" in texts:
            raise RuntimeError("out of memory\nat 0x0")
        return [Reply(f"{request.problem} {request.seed}", "stop", 1, 1) for request in requests]


def test_asks_that_come_together_are_generated_together() -> None:
    client = Echo(4)
    replies = ask_all(client, list("abcdef"))
    assert [reply.text for reply in replies] == ["a 0", "b 1", "c 2", "d 3", "e 4", "f 5"]
    assert client.batches == [list("abcd"), list("ef")]
    with pytest.raises(ValueError, match="batch_size = 0"):
        Echo(0)


def test_a_prompt_that_is_too_long_fails_alone_and_a_broken_model_is_fatal() -> None:
    a, long, b = ask_all(Echo(4), ["a", "long", "b"])
    assert (a.text, b.text) == ("a 0", "b 2")
    assert isinstance(long, CallError)
    assert (long.reason, long.fatal) == ("bad_request", False)
    broken = ask_all(Echo(4), ["a", "broken"])
    assert [(error.reason, error.fatal) for error in broken] == [("model_failed", True)] * 2
    assert "RuntimeError: out of memory." in str(broken[0])


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Any]:
    from sgpo.lab.model import build_model
    from sgpo.lab.tokenizer import build_tokenizer

    tokenizer = build_tokenizer()
    tokenizer.chat_template = TEMPLATE
    return build_model(0), tokenizer


def test_a_transformers_model_answers_in_batches(tiny: tuple[Any, Any]) -> None:
    client = LocalModel(*tiny, Sampling(1.0, 0.95, 7), batch_size=2)
    replies = ask_all(client, ["1 + 1", "2 + 3 + 4", "5"])
    assert [reply.prompt_tokens for reply in replies] == [5, 7, 3]
    assert all(0 < reply.tokens <= 7 for reply in replies)
    assert all((reply.finish == "length") == (reply.tokens == 7) for reply in replies)
    greedy = LocalModel(*tiny, Sampling(0.0, 1.0, 5), batch_size=1)
    alone = ask_all(greedy, ["2 + 3 + 4"])
    padded = ask_all(LocalModel(*tiny, Sampling(0.0, 1.0, 5), batch_size=3), ["5", "2 + 3 + 4", "1"])
    assert padded[1] == alone[0]
    assert client.settings()["backend"] == "transformers"


def test_a_model_is_asked_where_it_would_be_trained(tiny: tuple[Any, Any], tmp_path: Any, monkeypatch: Any) -> None:
    """On any GPU that torch has, not on NVIDIA's alone; here a device without memory stands for one."""
    for part in tiny:
        part.save_pretrained(tmp_path)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("meta"))
    assert LocalModel.load(str(tmp_path), Sampling(1.0, 1.0, 5)).model.device.type == "meta"


def test_models_that_cannot_be_used(tiny: tuple[Any, Any], tmp_path: Any) -> None:
    model, tokenizer = tiny
    (reply,) = ask_all(LocalModel(model, tokenizer, Sampling(1.0, 1.0, 5)), ["1 " * 300])
    assert isinstance(reply, CallError)
    assert "302 tokens and the model 256 positions" in str(reply)
    bare = type("Tokenizer", (), {"chat_template": None})()
    (reply,) = ask_all(LocalModel(model, bare, Sampling(1.0, 1.0, 5)), ["1"])
    assert "no chat template" in str(reply)
    assert reply.fatal
    with pytest.raises(ValueError, match="cannot be loaded"):
        LocalModel.load(str(tmp_path / "none"), Sampling(1.0, 1.0, 5))
