"""Sampled accuracy of a base, guided and autonomous. Minimal: what pretraining records and the tests repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from sgpo.lab.problems import MAX_COMPLETION, Problem, guided_prompt, verify

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Accuracy(TypedDict):
    """Correct samples out of `n`, as a rate in [0, 1]."""

    rate: float
    n: int


def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    seed: int = 0,
    temperature: float = 1.0,
    top_p: float = 1.0,
    batch_size: int = 512,
) -> list[str]:
    """One completion for each prompt, of at most `MAX_COMPLETION` tokens; temperature 0 is greedy.

    Leaves the model in the mode it was in; torch's global generator is restored.
    """
    import torch

    training = model.training
    model.eval()
    how: dict[str, Any] = {"do_sample": False}
    if temperature > 0:
        how = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": top_p}
    texts: list[str] = []
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(seed)
        for start in range(0, len(prompts), batch_size):
            batch = tokenizer(list(prompts[start : start + batch_size]), return_tensors="pt", padding=True)
            ids, mask = batch["input_ids"], batch["attention_mask"]
            out = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=MAX_COMPLETION, **how)
            texts += tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
    model.train(training)
    return texts


def accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    *,
    guided: bool,
    repeats: int = 1,
    seed: int = 0,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> dict[str, Accuracy]:
    """Accuracy by axis, and under ``all`` over all problems."""
    asked = [problem for problem in problems for _ in range(repeats)]
    prompts = [guided_prompt(problem) if guided else problem["prompt"] for problem in asked]
    texts = sample(model, tokenizer, prompts, seed=seed, temperature=temperature, top_p=top_p)
    verdicts: dict[str, list[bool]] = {"all": []}
    for problem, text in zip(asked, texts, strict=True):
        verdict = verify(text, problem["answer"])
        verdicts["all"].append(verdict)
        verdicts.setdefault(problem["axis"], []).append(verdict)
    return {key: Accuracy(rate=sum(v) / len(v), n=len(v)) for key, v in verdicts.items()}
