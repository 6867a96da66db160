"""How well a local model's log-likelihood of the answer tells strategies that leak, on labelled strategies.

    python benchmarks/blind_likelihood.py MODEL --data labelled.jsonl

Each line of the data has `problem`, `answer`, `response`, `strategy`, `leak` (or `label`) and `kind`. For each strategy
the log-likelihood of the answer's tokens, a token, after the blind question of `sgpo strategies audit`, minus its mean
under strategies of other problems. Printed: the area under the ROC curve (0.5 is chance) over all leaks, over those
that state the answer and over intermediate results, with intervals from 2,000 bootstrap samples of problems, and how
often the rules and the likelihood stand alone. The last line is JSON.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

import torch

from sgpo.models import Sampling
from sgpo.models.local import LocalModel
from sgpo.strategies.check import check_strategy, strategy_text
from sgpo.strategies.likelihood import blind_question
from sgpo.strategies.templates import load_prompt

OTHERS = 4  # answers of other problems that are read off under a strategy


def matrix(model: LocalModel, texts: list[str], answers: list[str], own: list[int]) -> torch.Tensor:
    """`[strategies, answers]`: the mean log-probability of an answer's tokens after a strategy's question.

    Only the strategy's `own` answer and the next `OTHERS` ones are read off; the rest is NaN.
    """
    tokenizer, prompt = model.tokenizer, load_prompt("audit")
    tails = [tokenizer(answer, add_special_tokens=False)["input_ids"] for answer in answers]
    longest = max(map(len, tails))
    all_padded = torch.tensor([tail + [0] * (longest - len(tail)) for tail in tails])
    all_masks = torch.tensor([[i < len(tail) for i in range(longest)] for tail in tails])
    scores = torch.full((len(texts), len(answers)), float("nan"))
    with torch.inference_mode():
        for done, text in enumerate(texts):
            chosen = [(own[done] + step) % len(answers) for step in range(OTHERS + 1)]
            padded, mask = all_padded[chosen], all_masks[chosen]
            question = torch.tensor([blind_question(model, prompt.messages(strategy=text))])
            first = model.model(input_ids=question, use_cache=True)
            cache = first.past_key_values
            cache.batch_repeat_interleave(len(chosen))
            behind = model.model(input_ids=padded[:, :-1], past_key_values=cache).logits
            logits = torch.cat([first.logits[:, -1:].expand(len(chosen), -1, -1), behind], 1).float()
            logprobs = logits.log_softmax(-1).gather(2, padded[..., None])[..., 0]
            scores[done, chosen] = (logprobs * mask).sum(1) / mask.sum(1)
            if done % 20 == 0:
                print(f"{done} of {len(texts)}", flush=True)
    return scores


def auc(positive: list[float], negative: list[float]) -> float:
    """The share of pairs in the right order, ties half."""
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    return sum(pairs) / len(pairs)


def area(rows: list[dict[str, Any]], wanted: str) -> dict[str, float]:
    """The AUC of the leaks whose kind begins with `wanted` against all clean ones, and its interval over problems."""

    def of(chosen: list[dict[str, Any]]) -> float | None:
        positive = [r["gain"] for r in chosen if r["leak"] and r["kind"].startswith(wanted)]
        negative = [r["gain"] for r in chosen if not r["leak"]]
        return auc(positive, negative) if positive and negative else None

    problems = sorted({r["problem"] for r in rows})
    by_problem = {p: [r for r in rows if r["problem"] == p] for p in problems}
    draw = random.Random(0)
    drawn = [of([r for p in draw.choices(problems, k=len(problems)) for r in by_problem[p]]) for _ in range(2000)]
    values = sorted(value for value in drawn if value is not None)
    return {"auc": of(rows) or 0.0, "low": values[len(values) // 40], "high": values[-len(values) // 40]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in args.data.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = [{"leak": row.get("label"), **row} for row in rows]
    model = LocalModel.load(args.model, Sampling(0.0, 1.0, 1))
    answers = sorted({row["answer"] for row in rows})
    own = [answers.index(row["answer"]) for row in rows]
    scores = matrix(model, [strategy_text(row["strategy"]) for row in rows], answers, own)
    for i, row in enumerate(rows):
        column = scores[:, own[i]]
        others = [float(x) for x, other in zip(column, rows, strict=True) if other["problem"] != row["problem"]]
        others = [x for x in others if x == x]
        row["gain"] = float(column[i]) - sum(others) / len(others)
        row["rules"] = check_strategy(row["problem"], row["answer"], row["response"], row["strategy"]).leak
    found = {name or "all": area(rows, name) for name in ("", "answer", "intermediate")}
    for name, value in found.items():
        print(f"{name} leaks: AUC {value['auc']:.3f} [{value['low']:.3f}, {value['high']:.3f}]")
    clean = sorted(row["gain"] for row in rows if not row["leak"])
    bar = clean[int(0.95 * len(clean))]  # what one in twenty clean ones exceeds
    leaks = [(row["rules"], row["gain"] > bar) for row in rows if row["leak"]]
    seen = {f"rules {a}, likelihood {b}": leaks.count((a, b)) for a in (True, False) for b in (True, False)}
    print(f"of {len(leaks)} leaks, at 5% of the clean ones rejected by the likelihood: {seen}")
    print(json.dumps({"auc": found, "seen": seen, "bar": bar, "model": args.model}))


if __name__ == "__main__":
    main()
