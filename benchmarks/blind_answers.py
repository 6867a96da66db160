"""How often a local model tells the answer from a strategy alone: the audit of `sgpo strategies`, on labelled ones.

    python benchmarks/blind_answers.py MODEL --data labelled.jsonl --seconds 600

Each line of the data has `problem`, `answer`, `response`, `strategy`, `leak` (or `label`) and `kind`. For each
strategy, in random order, `--n` replies to the blind question are sampled; its chance is what the strategies of other
problems make the model say. Printed: how often the answer was told under leaks, clean strategies and by chance, the
area under the ROC curve of the rates, how many strategies the audit rejects, and what the rules say of those. It stops
after `--seconds` and reports on what it has asked. The last line is JSON.
"""

import argparse
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from sgpo.models import Sampling
from sgpo.models.local import LocalModel
from sgpo.rewards import verify_batch
from sgpo.strategies.audit import OTHERS
from sgpo.strategies.check import check_strategy, strategy_text
from sgpo.strategies.halving import Rate, difference_interval
from sgpo.strategies.likelihood import blind_question
from sgpo.strategies.templates import load_prompt

_MOST = 16  # tokens of an answer


def replies(model: LocalModel, strategy: str, n: int) -> list[str]:
    """`n` answers, sampled at temperature 0.6 and top-p 0.95, each up to the quote that ends it.

    The question is read once for all of them, which takes most of the time.
    """
    ids = torch.tensor([blind_question(model, load_prompt("audit").messages(strategy=strategy))])
    texts = [""] * n
    with torch.inference_mode():
        out = model.model(input_ids=ids, use_cache=True)
        cache, logits = out.past_key_values, out.logits[:, -1].expand(n, -1)
        cache.batch_repeat_interleave(n)
        for _ in range(_MOST):
            ranked, tokens = (logits.float() / 0.6).softmax(-1).sort(descending=True)
            ranked[ranked.cumsum(-1) - ranked > 0.95] = 0.0
            drawn = tokens.gather(1, torch.multinomial(ranked, 1))
            texts = [text + model.tokenizer.decode(token) for text, token in zip(texts, drawn, strict=True)]
            if all('"' in text for text in texts):
                break
            out = model.model(input_ids=drawn, past_key_values=cache, use_cache=True)
            logits = out.logits[:, -1]
    return [text.partition('"')[0] for text in texts]


def told(said: list[str], answer: str) -> int:
    counts = Counter(said)
    right = verify_batch(list(counts), [answer] * len(counts))
    return sum(count for count, verdict in zip(counts.values(), right, strict=True) if verdict.correct)


def judge(rows: list[dict[str, Any]]) -> None:
    """Add to each row how often its strategy told the answer, the chance, the audit's verdict and that of the rules."""
    for row in rows:
        others = [other for other in rows if other["problem"] != row["problem"]]
        chance = [x for other in random.Random(0).sample(others, min(OTHERS, len(others))) for x in other["said"]]
        row["mine"] = Rate(told(row["said"], row["answer"]), len(row["said"]))
        row["chance"] = Rate(told(chance, row["answer"]), len(chance))
        row["audit"] = difference_interval(row["mine"], row["chance"])[0] > 0
        row["rules"] = check_strategy(row["problem"], row["answer"], row["response"], row["strategy"]).leak


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=600)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = [json.loads(line) for line in args.data.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = [{"leak": row.get("label"), **row} for row in rows]
    random.Random(0).shuffle(rows)
    model = LocalModel.load(args.model, Sampling(0.6, 0.95, _MOST))
    began = time.process_time()
    asked: list[dict[str, Any]] = []
    while len(asked) < len(rows) and time.process_time() - began < args.seconds:
        row = rows[len(asked)]
        asked.append({**row, "said": replies(model, strategy_text(row["strategy"]), args.n)})
    judge(asked)
    seconds = time.process_time() - began
    print(f"{len(asked)} of {len(rows)} strategies, {args.n} replies each, {seconds:.0f} CPU seconds")
    groups = {
        "leaks": [row for row in asked if row["leak"]],
        "answer leaks": [row for row in asked if row["leak"] and row["kind"].startswith("answer")],
        "clean": [row for row in asked if not row["leak"]],
    }
    found: dict[str, Any] = {}
    for name, group in groups.items():
        rate, chance = (sum(row[kind].value for row in group) / len(group) for kind in ("mine", "chance"))
        rejected = Counter((row["rules"], row["audit"]) for row in group)
        found[name] = {"strategies": len(group), "told": rate, "chance": chance}
        found[name] |= {f"rules {a}, audit {b}": rejected[a, b] for a in (True, False) for b in (True, False)}
        pairs = [(x["mine"].value, y["mine"].value) for x in group for y in groups["clean"]]
        found[name]["auc"] = sum((x > y) + 0.5 * (x == y) for x, y in pairs) / len(pairs)
        print(f"{name}: {len(group)} strategies, told {rate:.1%}, by chance {chance:.1%}, AUC {found[name]['auc']:.3f}")
        print("  " + ", ".join(f"{key}: {value}" for key, value in found[name].items() if key.startswith("rules")))
    print(json.dumps({**found, "model": Path(args.model).name, "n": args.n, "seconds": round(seconds)}))


if __name__ == "__main__":
    main()
