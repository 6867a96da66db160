"""A streamed chat completion put together again, in the form of one that came at once."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Any

MAX_CHARS = 1_000_000  # of a reply; what is longer is cut off here, and is too long for the parser anyway


async def gather(chunks: AsyncIterable[Any]) -> dict[str, Any]:
    """All chunks of a stream as one reply.

    Raises:
        ValueError: the stream ended without saying that the reply did.
    """
    parts: dict[str, list[str]] = {"content": [], "refusal": []}
    usage: dict[str, Any] | None = None
    ended: str | None = None
    length = 0
    async for chunk in chunks:
        if chunk.usage is not None:
            usage = {"prompt_tokens": chunk.usage.prompt_tokens, "completion_tokens": chunk.usage.completion_tokens}
        for choice in chunk.choices[:1]:
            ended = choice.finish_reason or ended
            for name, texts in parts.items():
                text = getattr(choice.delta, name, None)
                if isinstance(text, str):
                    texts.append(text)
                    length += len(text)
        if length > MAX_CHARS:
            ended = "length"
            break
    if ended is None:
        raise ValueError("the stream ended in the middle of the reply")
    message = {name: "".join(texts) or None for name, texts in parts.items()}
    return {"choices": [{"message": message, "finish_reason": ended}], "usage": usage}
