"""Sampling with a transformers model, reproducible sample by sample.

Every sample has its own stream of random numbers, named by ``(seed, prompt, repetition, sample index)``; a token is
drawn by inverting the distribution function at the stream's next number. So a sample does not depend on which others
were drawn with it, on torch's global generator, or on how often an evaluation was interrupted (up to the last bits of
the logits, which padding may move). Nothing of the model's ``generation_config.json`` but its end tokens is applied:
Qwen2.5-Instruct ships ``repetition_penalty`` 1.05 and ``top_k`` 20 there, which no benchmark protocol names.

Shapes: B rows of a batch, T new tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import Cache, DynamicCache, GenerationConfig, LogitsProcessor, LogitsProcessorList
from transformers.cache_utils import DynamicLayer

from sgpo.data.prompts import Prompt, require_all_shown, require_known_ids, require_no_marks, require_own_marks
from sgpo.models.marks import end_of_turn, special_marks, special_tokens, turn_marks
from sgpo.models.protocol import Reply, Sampling
from sgpo.models.scoring import without_dropout
from sgpo.models.seeds import check_sampling, row_seeds
from sgpo.models.thinking import begins_thinking, begun_at_end

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_CANDIDATES = 256  # tokens among which a nucleus is looked for first
_MARK_IDS = 16  # tokens at the end of a prompt among which a mark of thinking may stand
_PART = 64  # new tokens after which the rows that have ended leave a batch
Progress = Callable[[int, int], None]
"""Called with the rows done and the rows in all, after each batch."""


def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *,
    k: int = 1,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_new_tokens: int,
    batch_size: int = 64,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[list[Reply]]:
    """``k`` completions of each prompt, in the order of the prompts.

    Args:
        prompts: plain text, or conversations that go through the tokenizer's chat template.
        temperature: 0 is greedy.
        top_p: nucleus: the fewest tokens whose probabilities reach ``top_p``.
        max_new_tokens: limit for each completion; lowered where the model has no positions left.
        batch_size: rows generated at once.
        seed: names the random streams; the global generators are neither read nor moved.

    Raises:
        ValueError: for settings out of range, and for a prompt that fills the model's context.
    """
    check_sampling(k=k, temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens)
    seeds = [stream for row in row_seeds(prompts, k, seed) for stream in row]
    rows = sample_rows(
        model,
        tokenizer,
        [prompt for prompt in prompts for _ in range(k)],
        seeds,
        Sampling(temperature, top_p, max_new_tokens),
        batch_size=batch_size,
        progress=progress,
    )
    return [rows[start : start + k] for start in range(0, len(rows), k)]


def sample_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    sampling: Sampling,
    *,
    batch_size: int,
    progress: Progress | None = None,
    chat_template_kwargs: Mapping[str, object] | None = None,
) -> list[Reply]:
    """One completion of each prompt from the random stream of its seed; see :func:`sample`."""
    ids = encode(tokenizer, prompts, chat_template_kwargs)
    require_known_ids(ids, model.config.get_text_config().vocab_size, tokenizer)
    # Rows of like length share a batch, so that little is padding.
    order = sorted(range(len(ids)), key=lambda i: (-len(ids[i]), i))  # the longest first: what does not fit fails early
    done: dict[int, Reply] = {}
    turn = end_of_turn(tokenizer, prompts, chat_template_kwargs)
    with _plain_generation(model, tokenizer, [] if turn is None else [turn]):
        size = 1 if min(batch_size, len(ids)) > 1 and rows_mix(model) else batch_size
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            completions = _generate(model, [ids[i] for i in batch], [seeds[i] for i in batch], sampling)
            texts = decode(tokenizer, [tokens for tokens, _ in completions])
            texts = continued(tokenizer, [prompts[i] for i in batch], [ids[i] for i in batch], texts)
            for i, text, (tokens, truncated) in zip(batch, texts, completions, strict=True):
                done[i] = Reply(text, "length" if truncated else "stop", len(tokens), len(ids[i]))
            if progress is not None:
                progress(len(done), len(order))
    return [done[i] for i in range(len(ids))]


def encode(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    chat_template_kwargs: Mapping[str, object] | None = None,
) -> list[list[int]]:
    """Token ids of each prompt: plain text as it is, conversations through the chat template, ready to be answered.

    ``chat_template_kwargs`` are variables of the chat template, such as ``enable_thinking``.
    """
    more, marks = chat_template_kwargs or {}, turn_marks(tokenizer)
    ids: list[list[int]] = []
    for prompt in prompts:
        if isinstance(prompt, str):
            ids.append(list(tokenizer(prompt)["input_ids"]))
        else:  # the template writes the special tokens itself
            require_no_marks(prompt, marks)
            text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True, **more)
            require_all_shown(text, prompt)
            ids.append(list(tokenizer(text, add_special_tokens=False)["input_ids"]))
        if not ids[-1]:
            raise ValueError(f"The prompt {prompt!r} has no tokens; a model needs at least one to start from.")
    require_own_marks(tokenizer, zip(prompts, ids, strict=True))
    return ids


def decode(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]]) -> list[str]:
    """The texts of completions, without special tokens but those that are marks of thinking.

    Without its marks, as Magistral has them among its special tokens, thinking would be read as a part of the answer.
    """
    left_out = ({*special_tokens(tokenizer)} | set(tokenizer.all_special_ids)) - special_marks(tokenizer)
    kept = [[token for token in row if token not in left_out] for row in rows]
    return list(tokenizer.batch_decode(kept, skip_special_tokens=False))


def continued(
    tokenizer: Any, prompts: Sequence[Prompt], ids: Sequence[Sequence[int]], texts: Sequence[str]
) -> list[str]:
    """Completions of prompts, which have these token ids, each with the mark with which its prompt begins the thinking.

    DeepSeek-R1's prompts end with one. A completion alone would have no mark where it was cut, and would be read as
    an answer; and a reward that asks for the marks would find no first one.
    """
    thinks = begins_thinking(str(getattr(tokenizer, "chat_template", None) or ""))
    found = []
    for prompt, row, text in zip(prompts, ids, texts, strict=True):
        end = prompt if isinstance(prompt, str) else tokenizer.decode(list(row[-_MARK_IDS:])) if thinks else ""
        found.append(begun_at_end(end) + text)
    return found


def positions_of(config: PretrainedConfig) -> int | None:
    """Tokens of a model's context, prompt and completion together; None where its configuration does not say."""
    text = config.get_text_config()
    found, rope = getattr(text, "max_position_embeddings", None), getattr(text, "rope_parameters", None) or {}
    if found is None or rope.get("rope_type") != "yarn":
        return None if found is None else int(found)
    # Who turns YaRN on leaves max_position_embeddings as it is; others have it multiplied already, and need no factor.
    return max(found, int(rope.get("original_max_position_embeddings", found) * (rope.get("factor") or 1)))


@contextmanager
def bare_generation(model: Any, **ids: Any) -> Iterator[None]:
    """Within the block ``generate`` knows the special tokens ``ids`` and nothing of ``generation_config.json``.

    ``generate`` fills whatever a config leaves open from the model's own (min-p, typical-p, n-grams that may not be
    repeated, a least length); only changing that one keeps it out.
    """
    own = vars(model.generation_config)  # changed in place: PEFT and the model that it wraps hold one object
    kept = dict(own)
    own.clear()
    own.update(vars(GenerationConfig(**ids)))
    try:
        yield
    finally:
        own.clear()
        own.update(kept)


@contextmanager
def _plain_generation(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, more_ends: Sequence[int]
) -> Iterator[None]:
    """Evaluation mode and a bare generation config, both put back at the end."""
    # An adapter or a base may have end tokens that the tokenizer does not name, such as <|im_end|>, and a
    # generation_config.json of sampling defaults alone may leave them to config.json.
    own = model.generation_config
    # Beside ends there, config.json may have that of its class alone: an ordinary token of this vocabulary.
    source = model.config.get_text_config() if own.eos_token_id is None else own
    named = (getattr(source, "eos_token_id", None), tokenizer.eos_token_id, [*more_ends])
    ends = sorted({end for each in named for end in (each if isinstance(each, list) else [each]) if end is not None})
    pads = (tokenizer.pad_token_id, own.pad_token_id, *ends, 0)
    pad = next(pad for pad in pads if pad is not None)
    special = {"eos_token_id": ends or None, "pad_token_id": pad, "bos_token_id": own.bos_token_id}
    with bare_generation(model, **special), without_dropout(model), torch.inference_mode():
        yield


def rows_mix(model: PreTrainedModel) -> bool:
    """Whether ``generate`` answers a prompt otherwise beside a longer one, as it does for RWKV and RecurrentGemma.

    Attention leaves padding out, and so do most of the recurrent states. Which ones do not shows in a probe.
    """
    ids = torch.arange(3, 23, device=model.device).remainder(model.config.get_text_config().vocab_size).view(2, 10)
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    how: dict[str, Any] = {"max_new_tokens": 3, "do_sample": False, "output_logits": True}
    # Both are given the same tokens: where two are nearly as likely, rounding would choose another one.
    how |= {"return_dict_in_generate": True, "prefix_allowed_tokens_fn": lambda row, tokens: [int(ids[1, 0])]}
    if hasattr(model.config.get_text_config(), "output_router_logits"):
        how["output_router_logits"] = False  # the balance of experts is of whole sequences, and generation has none
    with bare_generation(model, pad_token_id=0), without_dropout(model), torch.no_grad():
        beside = model.generate(ids, attention_mask=mask, **how).logits
        alone = model.generate(ids[:1, 5:], **how).logits
    both = [torch.stack([scores[0] for scores in steps]).float() for steps in (beside, alone)]
    rounding = max(torch.finfo(model.dtype).eps ** 0.5, 4e-3)  # of float32 it may be that of TF32
    return bool((both[0] - both[1]).norm() > rounding * both[1].norm())


def _generate(
    model: PreTrainedModel, prompts: Sequence[list[int]], seeds: Sequence[int], sampling: Sampling
) -> list[tuple[list[int], bool]]:
    """New tokens of each row, up to and with the end token, and whether the limit cut them.

    Rows that have ended leave the batch every `_PART` tokens: a batch takes as long as its longest row, but most of
    that time would go into rows that are done.
    """
    config = model.generation_config
    width, positions = max(map(len, prompts)), positions_of(model.config) or 2**31
    if width >= positions:
        raise ValueError(
            f"A prompt has {width} tokens and the model {positions} positions; shorten it or drop the problem."
        )
    # Of each row by itself: padding takes no positions, and a longer prompt beside it must not cut a response shorter.
    limits = [min(sampling.max_new_tokens, positions - len(prompt)) for prompt in prompts]
    given = [torch.tensor(prompt, device=model.device) for prompt in prompts]
    ids = pad_sequence(given, batch_first=True, padding_value=config.pad_token_id, padding_side="left")
    mask = pad_sequence([torch.ones_like(each) for each in given], batch_first=True, padding_side="left")
    draws = None
    if sampling.temperature > 0:
        # One stream a row, drawn before the loop: how rows are batched must not change which numbers a row gets.
        draws = torch.from_numpy(np.stack([np.random.default_rng(seed).random(max(limits)) for seed in seeds]))
    ends = set(config.eos_token_id or [])
    completions: list[list[int]] = [[] for _ in prompts]
    # k samples of a problem have one prompt, whose keys and values are computed once.
    rows, cache = list(range(len(prompts))), _shared_prefill(model, ids, mask)
    while True:
        processors = LogitsProcessorList()
        if draws is not None:
            processors.append(InverseSampler(draws[rows], width, sampling.temperature, sampling.top_p))
        before = ids.shape[1]
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            logits_processor=processors,
            max_new_tokens=min(_PART, *(limits[row] - len(completions[row]) for row in rows)),
            do_sample=False,
            use_cache=True,
            return_dict_in_generate=True,
        )
        going = []
        for i, tokens in enumerate(out.sequences[:, before:].tolist()):
            stop = next((t for t, token in enumerate(tokens) if token in ends), None)
            completions[rows[i]] += tokens if stop is None else tokens[: stop + 1]
            if stop is None and len(completions[rows[i]]) < limits[rows[i]]:
                going.append(i)
        if not going:
            return [(tokens, tokens[-1] not in ends) for tokens in completions]
        rows, ids = [rows[i] for i in going], out.sequences[going]
        mask = torch.nn.functional.pad(mask[going], (0, ids.shape[1] - before), value=1)
        cache = _rows_of(out.past_key_values, going)


def _shared_prefill(model: PreTrainedModel, ids: Tensor, mask: Tensor) -> Cache | None:
    """The cache of all prompt tokens but the last, made once for equal prompts; None where none are, or it cannot be.

    ``ids`` and ``mask`` are ``[B, L]``; the cache is that of all B rows.
    """
    # The mask is compared, too: a prompt that holds the pad token is not a padded one.
    kinds, owners = torch.cat([ids, mask], dim=1).unique(dim=0, return_inverse=True)
    if len(kinds) == len(ids) or ids.shape[1] < 2:
        return None
    first = [int((owners == kind).nonzero()[0]) for kind in range(len(kinds))]
    out = model.generate(
        input_ids=ids[first],
        attention_mask=mask[first],
        max_new_tokens=1,
        do_sample=False,
        use_cache=True,
        return_dict_in_generate=True,
    )
    if (cache := _rows_of(out.past_key_values, owners.tolist())) is not None:
        cache.crop(-1)  # the last prompt token: a model has to be given at least one
    return cache


def _rows_of(cache: Any, rows: list[int]) -> Cache | None:
    """A cache of these rows; None for one of another kind (recurrent, of a window), which is then computed anew."""
    # Rows of a window or of a recurrent state cannot be taken out of it; MiniMax keeps one beside its layers.
    if type(cache) is not DynamicCache or any(type(layer) is not DynamicLayer for layer in cache.layers):
        return None
    cache.batch_select_indices(torch.tensor(rows, device=cache.layers[0].keys.device))
    return cache


class InverseSampler(LogitsProcessor):
    """Draws one token a row and leaves it alone with a finite score, so that greedy decoding takes it.

    ``draws`` are uniform numbers in [0, 1), ``[B, T]``; ``prompt_width`` counts the tokens of the padded prompt.
    """

    def __init__(self, draws: Tensor, prompt_width: int, temperature: float, top_p: float) -> None:
        self.draws, self.prompt_width = draws, prompt_width
        self.temperature, self.top_p = temperature, top_p

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores ``[B, V]`` of the next token to ``[B, V]``, all but one of them minus infinity."""
        draw = self.draws[:, input_ids.shape[1] - self.prompt_width].to(scores.device)
        chosen = draw_tokens(scores, draw, self.temperature, self.top_p)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0.0)


def draw_tokens(scores: Tensor, draw: Tensor, temperature: float, top_p: float) -> Tensor:
    """The token of each row, ``[B]``, at which the distribution function of ``scores`` (logits, ``[B, V]``) passes
    ``draw``, a uniform number in [0, 1), ``[B]``; never a token of probability 0."""
    # Sums over a vocabulary of 150,000 in float32 lose the tail in which rare tokens lie. Apple's GPUs have no float64,
    # nor have all of Intel's.
    wide = torch.float32 if scores.device.type in ("mps", "xpu") else torch.float64
    # The temperature before the nucleus, as vLLM and transformers do it.
    probabilities = torch.softmax(scores.float() / temperature, dim=-1)
    index = None
    if top_p < 1:
        probabilities, index = _nucleus(probabilities, top_p, wide)
    cumulative = probabilities.cumsum(-1, dtype=wide)
    # The total is 1 only up to rounding. A target strictly below it never passes the last token that is possible.
    total = cumulative[:, -1:]
    target = torch.minimum(draw.to(wide)[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    chosen = torch.searchsorted(cumulative, target, right=True)
    if index is not None:
        chosen = index.gather(1, chosen)
    return chosen[:, 0]


def _nucleus(probabilities: Tensor, top_p: float, wide: torch.dtype) -> tuple[Tensor, Tensor]:
    """The fewest likeliest tokens that reach ``top_p``, the likeliest first, of equal ones the lower id first.

    Of probabilities ``[B, V]`` it gives those, 0 outside of the nucleus, and token ids, ``[B, K]`` with K up to V.
    """
    width = _CANDIDATES
    while True:
        if whole := width >= probabilities.shape[-1]:
            values, index = probabilities.sort(dim=-1, descending=True, stable=True)
        else:  # a nucleus is a few tokens, and sorting a whole vocabulary costs more than the model
            index = probabilities.topk(width, dim=-1, sorted=False).indices.sort(dim=-1).values
            values, order = probabilities.gather(1, index).sort(dim=-1, descending=True, stable=True)
            index = index.gather(1, order)
        # The token that reaches top_p is inside: what stands before it did not yet.
        outside = values.cumsum(-1, dtype=wide) - values >= top_p
        nucleus = values.masked_fill(outside, 0.0)
        # Candidates as likely as the last one may be others than a full sort would take, so none may be needed.
        if whole or not (values.eq(values[:, -1:]) & ~outside).any():
            return nucleus, index
        width *= 8
