"""What a teacher's top K tokens and a tail bucket keep of the full divergence, on the lab's base model.

    python benchmarks/topk_bias.py

The base answers the validation problems with their strategies in the prompt; on its correct responses the guided
policy teaches the unguided one, as at the first step of training. For each K: the share of the KL that is kept (all
tokens together, before and after the clip at 1 nat a token), the cosine between the gradients of the clipped loss
with respect to all weights of the model and their ratio of norms, and the same for the KL over the K entries alone,
renormalised, without a tail bucket. The lab's vocabulary is small and its guided policy sure of itself; a temperature
above 1 makes both sides as flat as one likes. The last line is one JSON object.

    python benchmarks/topk_bias.py --temperature 3
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sgpo.lab import load_base, load_problems, verify
from sgpo.lab.problems import MAX_COMPLETION, with_strategy
from sgpo.models.sampling import sample
from sgpo.objectives import clip_token_kl, distillation_loss, token_kl, top_k_kl
from sgpo.trainer.distillation import Target, TargetBatch, collate


def targets(model: Any, tokenizer: Any, seed: int) -> list[Target]:
    """The correct guided responses, one sample a problem, each with weight 1."""
    problems = load_problems("validation")
    prompts = [with_strategy(p) for p in problems]
    rows = sample(model, tokenizer, prompts, max_new_tokens=MAX_COMPLETION, seed=seed)
    texts = [row[0].text for row in rows]
    found = []
    for problem, prompt, text in zip(problems, prompts, texts, strict=True):
        if verify(text, problem["answer"]):
            ids = [tokenizer(t, add_special_tokens=False)["input_ids"] for t in (problem["prompt"], prompt, text)]
            found.append(Target(ids[0], ids[1], [*ids[2], tokenizer.eos_token_id], 1.0))
    return found


def logits_of(model: Any, ids: Tensor, attention: Tensor, length: int, temperature: float) -> Tensor:
    """[N, T, V] that predict the last `length` tokens, divided by the temperature."""
    positions = (attention.cumsum(-1) - 1).clamp(min=0)
    logits: Tensor = model(input_ids=ids, attention_mask=attention, position_ids=positions).logits
    return logits[:, -length - 1 : -1] / temperature


def without_tail(student: Tensor, ids: Tensor, logprobs: Tensor, mask: Tensor) -> Tensor:
    """The K entries alone, renormalised on both sides: what one gets by leaving the tail out."""
    return token_kl(student.gather(-1, ids), logprobs).where(mask, 0.0)


def gradient(
    model: Any, share: TargetBatch, temperature: float, divergence: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Token KLs [N, T] and the gradient of the clipped loss with respect to all weights, flat."""
    kl = divergence(logits_of(model, share.student_ids, share.student_mask, share.mask.shape[1], temperature))
    loss, _ = distillation_loss(kl, share.mask, share.weights, normalizer=len(share.weights))
    flat = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
    return kl.detach(), flat


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=int, default=0, help="seed of the shipped base")
    parser.add_argument("--seed", type=int, default=0, help="of the sampled responses")
    parser.add_argument("--k", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--temperature", type=float, default=1.0, help="of the softmax of both sides")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = load_base(args.base)
    model = model.eval().double()
    share = collate(targets(model, tokenizer, args.seed), tokenizer.pad_token_id, torch.device("cpu"))
    mask = share.mask
    with torch.no_grad():
        teacher = logits_of(model, share.teacher_ids, share.teacher_mask, mask.shape[1], args.temperature).log_softmax(
            -1
        )

    full, exact = gradient(model, share, args.temperature, lambda student: token_kl(student, teacher).where(mask, 0.0))
    entropy = -(teacher.exp() * teacher).sum(-1)[mask].mean().item()
    per_token = full[mask].mean().item()
    print(
        f"{len(mask)} responses, {int(mask.sum())} tokens, V {teacher.shape[-1]}, temperature {args.temperature}; "
        f"nats a token: full KL {per_token:.4f}, teacher's entropy {entropy:.4f}"
    )
    print(
        "  K  teacher's mass  KL kept  clipped KL kept  cosine  norm ratio  | without tail: KL kept  cosine  norm ratio"
    )
    rows = {}
    for k in args.k:
        logprobs, ids = teacher.topk(k)
        row: dict[str, float] = {"mass": logprobs.exp().sum(-1)[mask].mean().item()}
        forms: dict[str, Callable[..., Tensor]] = {"": top_k_kl, "without_tail_": without_tail}
        for name, form in forms.items():
            kl, approximate = gradient(model, share, args.temperature, lambda z: form(z, ids, logprobs, mask=mask))  # noqa: B023
            row[f"{name}kept"] = (kl.sum() / full.sum()).item()
            row[f"{name}kept_clipped"] = (clip_token_kl(kl, 1.0).sum() / clip_token_kl(full, 1.0).sum()).item()
            row[f"{name}cosine"] = torch.cosine_similarity(approximate, exact, dim=0).item()
            row[f"{name}norm_ratio"] = (approximate.norm() / exact.norm()).item()
        rows[k] = {key: round(value, 5) for key, value in row.items()}
        print(
            f"{k:3d}  {row['mass']:14.4f}  {row['kept']:7.4f}  {row['kept_clipped']:15.4f}  {row['cosine']:6.4f}  "
            f"{row['norm_ratio']:10.4f}  | {row['without_tail_kept']:21.4f}  {row['without_tail_cosine']:6.4f}  "
            f"{row['without_tail_norm_ratio']:10.4f}",
            flush=True,
        )
    print(
        json.dumps({"responses": len(mask), "tokens": int(mask.sum()), "kl_per_token": round(per_token, 5), "k": rows})
    )


if __name__ == "__main__":
    main()
