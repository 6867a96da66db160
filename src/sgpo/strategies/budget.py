"""What a run may spend, in tokens and in money.

A call is made only if it fits at its worst: all the tokens that its reply may have, and a prompt of two bytes a token,
which English, LaTeX and Chinese stay under. What the calls under way did not use comes back, so a run ends near its
limit and not over it. Calls that fail may still be charged by a provider, which no client can see.
"""

import asyncio
from dataclasses import dataclass

from sgpo.data.messages import Messages
from sgpo.options import option

_BYTES_PER_TOKEN_WORST = 2.0
_BYTES_PER_TOKEN_USUAL = 3.5
_CHARACTERS_PER_TOKEN_MOST = 6.0  # English prose has 5; in bytes, which Hindi has 3 of a character, it would be 10
_SHORT = 2_000  # characters; such a prompt fits anywhere


def prompt_bytes(messages: Messages) -> int:
    """Bytes of a prompt."""
    return sum(len(message["content"].encode("utf-8", "replace")) for message in messages)


def usual_tokens(bytes_: float) -> int:
    """Tokens that a text of so many bytes usually has; for estimates, and for endpoints that do not count."""
    return round(bytes_ / _BYTES_PER_TOKEN_USUAL)


def is_cut(messages: Messages, tokens: int | None) -> bool:
    """Whether an endpoint counts fewer tokens than a prompt can have: servers cut prompts in silence.

    It may also leave out of its count what it had in a cache.
    """
    characters = sum(len(message["content"]) for message in messages)
    return tokens is not None and characters > max(_SHORT, _CHARACTERS_PER_TOKEN_MOST * tokens)


@dataclass(frozen=True, kw_only=True)
class Spend:
    """What calls would take, as if nothing had been asked yet; ``cost`` None without prices."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


@dataclass(frozen=True, kw_only=True)
class SpendingOptions:
    """What the calls of a command cost, and may take over all its runs on a store."""

    max_tokens_total: int | None = option(
        None, help="Stop before all runs together take more than so many tokens, of prompts and replies."
    )
    max_cost: float | None = option(
        None,
        help="Stop before all runs together cost more than this, in the currency of the prices; needs both prices.",
    )
    price_in: float | None = option(
        None, help="Price of a million prompt tokens, in your currency. Discounts for cached prompts are not counted."
    )
    price_out: float | None = option(None, help="Price of a million reply tokens, in your currency.")

    def __post_init__(self) -> None:
        for price in (self.price_in, self.price_out):
            if price is not None and not 0 <= price < float("inf"):
                raise ValueError(f"price {price} must be a number that is not negative, of a million tokens.")
        for name, limit in (("--max-tokens-total", self.max_tokens_total), ("--max-cost", self.max_cost)):
            if limit is not None and not limit > 0:
                raise ValueError(f"{name} {limit} must be over 0; leave it out for no limit.")
        if self.max_cost is not None and not self.priced:
            raise ValueError("--max-cost needs --price-in and --price-out, the prices of a million tokens.")

    @property
    def priced(self) -> bool:
        """Whether both prices are known."""
        return self.price_in is not None and self.price_out is not None

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """What so many tokens cost."""
        return ((self.price_in or 0) * prompt_tokens + (self.price_out or 0) * completion_tokens) / 1e6

    def spend(self, calls: int, prompt_tokens: int, completion_tokens: int) -> Spend:
        """What so many calls would take, in all of them together."""
        cost = self.cost(prompt_tokens, completion_tokens) if self.priced else None
        return Spend(calls=calls, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, cost=cost)


class Budget:
    """An account over all calls of a setup, those of earlier runs and of other processes among them."""

    def __init__(self, spending: SpendingOptions = SpendingOptions()) -> None:
        self.spending = spending
        self.prompt_tokens = self.completion_tokens = 0.0  # spent
        self._held = [0.0, 0.0]  # reserved for calls under way
        self._under_way = 0
        self._changed = asyncio.Condition()

    @property
    def cost(self) -> float:
        return self.spending.cost(self.prompt_tokens, self.completion_tokens)

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self.spending.max_tokens_total is not None or self.spending.max_cost is not None

    async def reserve(self, prompt_bytes: int, max_tokens: int) -> tuple[float, float] | None:
        """Hold what a call may take at most, or None where that is over a limit even when nothing is under way."""
        most = (prompt_bytes / _BYTES_PER_TOKEN_WORST, float(max_tokens))
        async with self._changed:
            while not self._fits(*most):
                # With calls under way there is hope: most of them take less than they hold.
                if not self._under_way:
                    return None
                await self._changed.wait()
            self._hold(most, +1)
        return most

    async def settle(self, held: tuple[float, float], prompt_tokens: int = 0, completion_tokens: int = 0) -> None:
        """End a reservation with what the call took; a failed one took nothing that is known."""
        async with self._changed:
            self._hold(held, -1)
            self.prompt_tokens += prompt_tokens
            self.completion_tokens += completion_tokens
            self._changed.notify_all()

    def _hold(self, tokens: tuple[float, float], sign: int) -> None:
        self._held = [held + sign * more for held, more in zip(self._held, tokens, strict=True)]
        self._under_way += sign

    def _fits(self, prompt: float, completion: float) -> bool:
        prompt += self.prompt_tokens + self._held[0]
        completion += self.completion_tokens + self._held[1]
        tokens, cost = self.spending.max_tokens_total, self.spending.max_cost
        if tokens is not None and prompt + completion > tokens:
            return False
        return cost is None or self.spending.cost(prompt, completion) <= cost
