"""Models in this process: batches, seeds, limits; a real tiny transformers model and a stand-in for vLLM's engine."""

from __future__ import annotations

import asyncio
import sys
import types
from typing import Any, ClassVar

import pytest

from sgpo.strategies.clients import CallError, Reply, Sampling
from sgpo.strategies.local_models import LocalClient, TransformersClient, VllmClient
from sgpo.strategies.templates import Messages

TEMPLATE = "{% for m in messages %}Q {{ m['content'] }} {% endfor %}A"


def ask_all(client: LocalClient, texts: list[str]) -> list[Any]:
    async def all_of_them() -> list[Any]:
        asks = [
            client.ask([{"role": "user", "content": text}], seed=i, schema={}, name="strategy")
            for i, text in enumerate(texts)
        ]
        return await asyncio.gather(*asks, return_exceptions=True)

    return asyncio.run(all_of_them())


class Echo(LocalClient):
    """Says the question; "long" is over its limit, "broken" breaks it."""

    def __init__(self, batch_size: int) -> None:
        super().__init__(Sampling(), batch_size, {})
        self.batches: list[list[str]] = []

    def generate(self, conversations: list[Messages], seeds: list[int]) -> list[Reply]:
        texts = [c[0]["content"] for c in conversations]
        self.batches.append(texts)
        if "long" in texts:
            raise ValueError("a prompt has 9 tokens and the model 8 positions")
        if "broken" in texts:
            raise RuntimeError("out of memory\nat 0x0")
        return [Reply(f"{text} {seed}", "stop", 1, 1) for text, seed in zip(texts, seeds, strict=True)]


def test_asks_that_come_together_are_generated_together() -> None:
    client = Echo(4)
    replies = ask_all(client, list("abcdef"))
    assert [reply.text for reply in replies] == ["a 0", "b 1", "c 2", "d 3", "e 4", "f 5"]
    assert client.batches == [list("abcd"), list("ef")]
    with pytest.raises(ValueError, match="--batch-size 0"):
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
    client = TransformersClient(*tiny, Sampling(1.0, 0.95, 7), batch_size=2)
    replies = ask_all(client, ["1 + 1", "2 + 3 + 4", "5"])
    assert [reply.prompt_tokens for reply in replies] == [5, 7, 3]
    assert all(0 < reply.completion_tokens <= 7 for reply in replies)
    assert all((reply.finish == "length") == (reply.completion_tokens == 7) for reply in replies)
    greedy = TransformersClient(*tiny, Sampling(0.0, 1.0, 5), batch_size=1)
    alone = ask_all(greedy, ["2 + 3 + 4"])
    padded = ask_all(TransformersClient(*tiny, Sampling(0.0, 1.0, 5), batch_size=3), ["5", "2 + 3 + 4", "1"])
    assert padded[1] == alone[0]
    assert client.settings()["backend"] == "transformers"


def test_models_that_cannot_be_used(tiny: tuple[Any, Any], tmp_path: Any) -> None:
    model, tokenizer = tiny
    (reply,) = ask_all(TransformersClient(model, tokenizer, Sampling(1.0, 1.0, 5)), ["1 " * 300])
    assert isinstance(reply, CallError)
    assert "302 tokens and the model 256 positions" in str(reply)
    bare = type("Tokenizer", (), {"chat_template": None})()
    with pytest.raises(ValueError, match="no chat template"):
        TransformersClient(model, bare, Sampling())
    with pytest.raises(ValueError, match="cannot be loaded"):
        TransformersClient.load(str(tmp_path / "none"), Sampling())


class Engine:
    """The part of vllm.LLM that is used."""

    made: ClassVar[dict[str, Any]] = {}

    def __init__(self, **settings: Any) -> None:
        Engine.made = settings

    def chat(self, conversations: list[Messages], params: list[Any], use_tqdm: bool) -> list[Any]:
        outputs = []
        for conversation, one in zip(conversations, params, strict=True):
            text, reason = f"{conversation[0]['content']}/{one.seed}", "length" if one.seed == 1 else "stop"
            said = types.SimpleNamespace(text=text, token_ids=[0] * 3, finish_reason=reason)
            outputs.append(types.SimpleNamespace(outputs=[said], prompt_token_ids=[0] * 4))
        return outputs


def test_vllm_gets_each_conversation_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("vllm")
    module.LLM = Engine  # type: ignore[attr-defined]
    module.SamplingParams = types.SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    client = VllmClient.load("m", Sampling(0.7, 0.9, 50))
    assert Engine.made["generation_config"] == "vllm"
    assert ask_all(client, ["a", "b"]) == [Reply("a/0", "stop", 4, 3), Reply("b/1", "length", 4, 3)]


def test_without_vllm_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ValueError, match=r"pip install 'sgpo\[vllm\]'"):
        VllmClient.load("m", Sampling())
