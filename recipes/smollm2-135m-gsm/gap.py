"""Where does a strategy tell the model something? The likelihood of worked answers with and without it, by template.

    python recipes/smollm2-135m-gsm/gap.py --model runs/smollm2/warmup-cpu

It samples nothing, so it costs a few forward passes a template: a first look at a split, before pass rates
are sampled with ``sgpo eval`` and ``sgpo eval --guided``. Figures are nats per token of the answer; a gain above 0 says
that the answer is likelier behind the strategy. Its problems come behind those that the sizes of ``split.py`` deal out.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from split import SIZES, STRATEGIES, problems
from transformers import AutoModelForCausalLM, AutoTokenizer

from sgpo.data.prompts import guided_prompt
from sgpo.models.sampling import encode
from sgpo.runs.files import read_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--size", choices=SIZES, default="cpu", help="whose problems are left out")
    parser.add_argument("--templates", type=int, nargs="*", help="default: those with strategies of two steps")
    parser.add_argument("--each", type=int, default=2, help="problems of a template")
    given = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    model = AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.float32).eval()
    size = SIZES[given.size]
    dealt = size.training_each + size.warmup_each + size.test_each
    for _, known in read_rows(STRATEGIES):
        if known["template"] not in (given.templates or [known["template"]] * (len(known["steps"]) == 2)):
            continue
        try:
            rows = list(problems(known, dealt + given.each, seed=0))[dealt:]
        except ValueError:  # a template with few problems
            continue
        plain = nats_per_token(model, tokenizer, rows, [row["prompt"] for row in rows])
        guided = nats_per_token(model, tokenizer, rows, [guided_prompt(row["prompt"], row["strategy"]) for row in rows])
        name = f"{known['template']:3d} {known['problem_type']}"
        print(f"{name:38s} alone {plain:.3f}  guided {guided:.3f}  gain {plain - guided:+.3f}", flush=True)


@torch.inference_mode()
def nats_per_token(model: Any, tokenizer: Any, rows: list[dict[str, Any]], prompts: list[Any]) -> float:
    """Mean negative log-likelihood of the tokens of the worked answers, their end token included."""
    total, tokens = 0.0, 0
    for prompt, row in zip(encode(tokenizer, prompts), rows, strict=True):
        answer = [*tokenizer(row["expert"], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        total += torch.nn.functional.cross_entropy(logits.float(), torch.tensor(answer), reduction="sum").item()
        tokens += len(answer)
    return total / tokens


if __name__ == "__main__":
    main()
