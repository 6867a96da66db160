"""The random stream of each sample, and the bounds of the sampling settings. No torch: endpoints need both."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sgpo.data.prompts import Prompt


def row_seeds(prompts: Sequence[Prompt], k: int, seed: int) -> list[list[int]]:
    """The seed of each sample, ``[P][k]``, below 2**31. A repeated prompt gets new seeds at every repetition."""
    seen: Counter[str] = Counter()
    seeds = []
    for prompt in prompts:
        # The seed follows from the prompt and not from its place, so that a benchmark that is cut or reordered draws
        # the same replies.
        text = prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True)
        name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        # Two equal prompts are two problems, and must not get one reply twice.
        seeds.append([_of_31_bits(f"{seed}/{name}/{seen[name]}/{j}") for j in range(k)])
        seen[name] += 1
    return seeds


def stream_seed(seed: int, *names: Any) -> int:
    """A seed of 31 bits for one call, from the run's seed and the call's names."""
    return _of_31_bits("\0".join(map(str, (seed, *names))))


def _of_31_bits(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def check_sampling(*, k: int, temperature: float, top_p: float, max_new_tokens: int) -> None:
    """Raise ``ValueError`` for sampling settings out of range."""
    if k < 1:
        raise ValueError(f"k = {k} samples a problem must be at least 1.")
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature = {temperature} must be finite and at least 0; 0 is greedy.")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p = {top_p} must lie in (0, 1]; 1 keeps the whole vocabulary.")
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens = {max_new_tokens} must be at least 1.")
    if temperature == 0 and k > 1:
        raise ValueError(f"k = {k} greedy samples would all be the same; give k = 1 or a temperature over 0.")
