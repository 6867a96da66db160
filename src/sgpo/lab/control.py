"""Is it the strategy that teaches, or the style of being guided?

The distillation of SGPO (arXiv 2606.24064) learns from the difference that a strategy makes to the policy, token by
token. If the strategy of *another* problem made the same difference on the same response, it would be the style of
guided prompts that is learned. And where a response repeats the strategy's words, copying is learned, not the way.
This control is ours.
"""

import random
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from sgpo.lab.problems import GUIDED_TEMPLATE, MAX_COMPLETION, Problem, verify, with_strategy
from sgpo.models.sampling import encode, sample
from sgpo.models.scoring import mean_log_probability, response_logits
from sgpo.objectives import token_kl
from sgpo.runs.scores import StrategyControl

SAMPLES = 4  # guided responses a problem, as many as SGPO draws
PROBLEMS = 100


def strategy_control(
    model: PreTrainedModel, tokenizer: Any, problems: Sequence[Problem], seed: int = 0
) -> StrategyControl | None:
    """The control on ``problems``; None where no problem has a target, or where all have one strategy."""
    targets = _targets(model, tokenizer, problems, seed)
    others = {p["id"]: [o["strategy"] for o in problems if o["strategy"] != p["strategy"]] for p, _ in targets}
    # All other problems may have the same strategy, where few types are asked for.
    targets = [(problem, ids) for problem, ids in targets if others[problem["id"]]]
    if not targets:
        return None
    asked: dict[str, list[str]] = {"alone": [], "own": [], "other": []}
    for problem, _ in targets:
        drawn = random.Random(f"{seed}/{problem['id']}").choice(others[problem["id"]])
        asked["alone"].append(problem["prompt"])
        asked["own"].append(with_strategy(problem))
        asked["other"].append(GUIDED_TEMPLATE.format(strategy=drawn, prompt=problem["prompt"]))
    # The same tokens three times: only what stands in front of them differs.
    responses = [ids for _, ids in targets]
    logits = {
        name: torch.cat(response_logits(model, encode(tokenizer, prompts), responses))
        for name, prompts in asked.items()
    }
    own, other = (float(token_kl(logits["alone"], logits[name]).mean()) for name in ("own", "other"))
    words = [set(tokenizer(p["strategy"], add_special_tokens=False)["input_ids"]) for p, _ in targets]
    copied = [token in known for known, ids in zip(words, responses, strict=True) for token in ids]
    share = sum(copied) / len(copied)
    return StrategyControl(problems=len(targets), own_kl=own, other_kl=other, copied=share)


def _targets(
    model: PreTrainedModel, tokenizer: Any, problems: Sequence[Problem], seed: int
) -> list[tuple[Problem, list[int]]]:
    """Each problem's correct guided response of the highest mean likelihood without the strategy, if it has one."""
    prompts = [with_strategy(problem) for problem in problems]
    rows = sample(
        model, tokenizer, prompts, k=SAMPLES, max_new_tokens=MAX_COMPLETION, batch_size=len(prompts) or 1, seed=seed
    )
    found = []
    for problem, row in zip(problems, rows, strict=True):
        # Each text once: a response that is sampled twice is no likelier target.
        texts = dict.fromkeys(one.text for one in row if verify(one.text, problem["answer"]))
        # With the end token, which the target has in training, too.
        listed = [[*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for text in texts]
        if listed:
            each = response_logits(model, encode(tokenizer, [problem["prompt"]] * len(listed)), listed)
            scores = [mean_log_probability(logits, ids) for logits, ids in zip(each, listed, strict=True)]
            found.append((problem, listed[scores.index(max(scores))]))
    return found
