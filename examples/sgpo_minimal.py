"""Strategy-Guided Policy Optimization (SGPO, arXiv 2606.24064), the whole method in one file of plain torch.

Read it from top to bottom. It trades every kind of speed for being read: one sequence at a time, whole logits, no
padding, no distribution. `sgpo.SGPOTrainer` computes the same loss and the same gradient, and a test holds the two
together (tests/invariants/test_minimal_example.py). Run it on the small task that the package ships:

    python examples/sgpo_minimal.py --steps 30

Words. A *problem* q has a verifiable answer and a *strategy* s: text on how to solve problems of its kind. A *rollout*
is a sampled response. *Autonomous* rollouts come from the *unguided policy* pi(.|q), which is what gets deployed;
*guided* ones come from the *guided policy* pi(.|q,s): the same weights with the strategy in the prompt. The *target*
is the one guided response that the unguided policy is taught. *alpha* is how strongly.

Shapes: T tokens of a completion, V entries of the vocabulary.
"""

import argparse
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# ------------------------------------------------------------------------------------------------ the constants

AUTONOMOUS, GUIDED = 8, 4  # rollouts of each problem: G1 and G2 of the paper
CLIP_LOW, CLIP_HIGH = 0.2, 0.28  # GRPO's ratio stays within [1 - 0.2, 1 + 0.28]
ALPHA_0, GAMMA, ALPHA_MAX = 0.5, 0.1, 0.8  # constants of alpha(q)
KL_CLIP = 1.0  # delta, nats


@dataclass
class Rollouts:
    """The rollouts of one problem. Ids are token ids; `logps` are those of the policy that sampled, [T] each."""

    prompt: list[int]  # of q
    guided_prompt: list[int]  # of q and s
    autonomous: list[list[int]]
    guided: list[list[int]]
    rewards: list[float]  # of the autonomous ones, 1.0 or 0.0
    guided_rewards: list[float]
    logps: list[Tensor]  # log pi_old(y_t | q, y_<t) of the autonomous ones


# ------------------------------------------------------------------------------------------------ the policy


def log_probs(model: Any, prompt: list[int], completion: list[int]) -> Tensor:
    """log pi(v | prompt, y_<t) for every token t of a completion and every entry v: [T, V]."""
    logits = model(input_ids=torch.tensor([prompt + completion])).logits[0]
    # The logits at one position say what comes next, so those of the completion begin one position early.
    return torch.log_softmax(logits[len(prompt) - 1 : -1], dim=-1)


def token_logps(model: Any, prompt: list[int], completion: list[int]) -> Tensor:
    """log pi(y_t | prompt, y_<t) of the tokens that were sampled: [T]."""
    rows = log_probs(model, prompt, completion)
    return rows.gather(1, torch.tensor(completion)[:, None])[:, 0]


# ------------------------------------------------------------------------------------------------ GRPO


def advantages(rewards: list[float]) -> Tensor:
    """How much better than its group each rollout did: (r - mean) / (std + 1e-4), as TRL computes it."""
    r = torch.tensor(rewards)
    return (r - r.mean()) / (r.std() + 1e-4)


def grpo_loss(model: Any, batch: list[Rollouts]) -> Tensor:
    """The clipped policy-gradient loss of the AUTONOMOUS rollouts, a mean over all their tokens."""
    total, tokens = torch.zeros(()), 0
    for problem in batch:
        group = zip(problem.autonomous, problem.logps, advantages(problem.rewards), strict=True)
        for completion, old, advantage in group:
            ratio = (token_logps(model, problem.prompt, completion) - old).exp()
            clipped = ratio.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH)
            total = total - torch.minimum(ratio * advantage, clipped * advantage).sum()
            tokens += len(completion)
    return total / tokens


# ------------------------------------------------------------------------------------------------ what SGPO adds


def alpha(problem: Rollouts) -> float:
    """The weight of a problem's distillation: large where guidance beats exploration, 0 where it does not.

    The constants are published and so is the behaviour; this form of it is our reading.
    """
    p = sum(problem.rewards) / len(problem.rewards)
    guided = sum(problem.guided_rewards) / len(problem.guided_rewards)
    return min(max(ALPHA_0 * (guided - p) / (p + GAMMA), 0.0), ALPHA_MAX)


@torch.no_grad()
def target(model: Any, problem: Rollouts, eos: int) -> list[int] | None:
    """The CORRECT guided response that the UNGUIDED policy finds likeliest per token; None where none is correct.

    Of all right ways this one is the smallest step from where the policy already stands. A response that was cut off
    before its end-of-sequence token teaches no end, so it is taken only where there is no other.
    """
    correct = [y for y, reward in zip(problem.guided, problem.guided_rewards, strict=True) if reward > 0.5]
    correct = [y for y in correct if y[-1] == eos] or correct
    return max(correct, key=lambda y: float(token_logps(model, problem.prompt, y).mean()), default=None)


def clip(kl: Tensor) -> Tensor:
    """Cap each token's KL at delta; above it the gradient is scaled by delta / KL. [T] -> [T].

    The threshold is published and its form is not: this is our reading ("rescale").
    """
    return torch.where(kl > KL_CLIP, kl * (KL_CLIP / kl.detach()), kl)


def distillation_loss(model: Any, problem: Rollouts, y: list[int]) -> Tensor:
    """Mean over the target's tokens of the clipped KL(guided || unguided), gradient through the unguided side alone."""
    with torch.no_grad():
        guided = log_probs(model, problem.guided_prompt, y)
    unguided = log_probs(model, problem.prompt, y)
    # Token t of one side is token t of the other: both score the same response, behind different prompts.
    kl = (guided.exp() * (guided - unguided)).sum(-1)
    return clip(kl).mean()


def sgpo_loss(model: Any, batch: list[Rollouts], targets: list[list[int] | None]) -> Tensor:
    """L = L_GRPO + mean over problems of alpha(q) * L_KD(q).

    The targets are chosen once, by the policy that sampled, however many updates one batch of rollouts is used for.
    """
    loss = grpo_loss(model, batch)
    for problem, y in zip(batch, targets, strict=True):
        if y is not None and alpha(problem) > 0:
            loss = loss + alpha(problem) * distillation_loss(model, problem, y) / len(batch)
    return loss


# ------------------------------------------------------------------------------------------------ a training run


@torch.no_grad()
def sample(model: Any, tokenizer: Any, prompt: list[int], count: int, longest: int) -> list[list[int]]:
    """Sample `count` completions behind one prompt at temperature 1, each with its end token where it has one."""
    ids = torch.tensor([prompt] * count)
    out = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, max_new_tokens=longest
    )
    completions = []
    for row in out[:, len(prompt) :].tolist():
        end = row.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in row else len(row)
        completions.append(row[:end])
    return completions


def roll_out(model: Any, tokenizer: Any, problem: Any, reward: Any, longest: int) -> Rollouts:
    """Sample one problem's rollouts with and without its strategy, from the same weights, and verify them."""
    from sgpo.data.prompts import guided_prompt
    from sgpo.lab import GUIDED_TEMPLATE

    prompt = tokenizer(problem["prompt"])["input_ids"]
    with_strategy = tokenizer(guided_prompt(problem["prompt"], problem["strategy"], GUIDED_TEMPLATE))["input_ids"]
    autonomous = sample(model, tokenizer, prompt, AUTONOMOUS, longest)
    guided = sample(model, tokenizer, with_strategy, GUIDED, longest)

    def verdicts(completions: list[list[int]]) -> list[float]:
        texts = tokenizer.batch_decode(completions, skip_special_tokens=True)
        return reward(completions=texts, answer=[problem["answer"]] * len(texts))

    with torch.no_grad():
        logps = [token_logps(model, prompt, y) for y in autonomous]
    return Rollouts(prompt, with_strategy, autonomous, guided, verdicts(autonomous), verdicts(guided), logps)


def main() -> None:
    """Train the shipped base on its problems, and say what each step saw."""
    parser = argparse.ArgumentParser(description="SGPO in one file, on the task that the package ships.")
    parser.add_argument("--steps", type=int, default=30, help="optimizer steps (default: 30)")
    parser.add_argument("--problems", type=int, default=6, help="problems of each step (default: 6)")
    parser.add_argument("--learning-rate", type=float, default=8e-4, help="AdamW's rate (default: 8e-4)")
    options = parser.parse_args()

    from sgpo.lab import lab_reward, load_base, load_problems
    from sgpo.lab.problems import MAX_COMPLETION

    torch.manual_seed(0)
    model, tokenizer = load_base()
    model.eval()  # no dropout: the guided side must not be noisy
    problems = load_problems("train")
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate)
    order = torch.randperm(len(problems)).tolist()
    for step in range(options.steps):
        chosen = [problems[order[(step * options.problems + i) % len(order)]] for i in range(options.problems)]
        batch = [roll_out(model, tokenizer, problem, lab_reward, MAX_COMPLETION) for problem in chosen]
        targets = [target(model, problem, tokenizer.eos_token_id) for problem in batch]
        loss = sgpo_loss(model, batch, targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        alone = sum(sum(b.rewards) for b in batch) / (AUTONOMOUS * len(batch))
        guided = sum(sum(b.guided_rewards) for b in batch) / (GUIDED * len(batch))
        weight = sum(map(alpha, batch)) / len(batch)
        print(
            f"step {step + 1:3d}  alone {alone:.2f}  guided {guided:.2f}  alpha {weight:.2f}  loss {loss.item():+.3f}"
        )


if __name__ == "__main__":
    main()
