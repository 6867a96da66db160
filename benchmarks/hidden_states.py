"""Last hidden states of a real model, for `fused_kl.py --states`: what the distillation term sees in training.

For each problem the model samples a completion behind the guided prompt; the completion is then run behind both
prompts, and the states that predict its tokens are kept, with the head. A vocabulary that a trained model has
learnt to leave empty is nothing like one of random states.

    python benchmarks/hidden_states.py MODEL problems.jsonl --tokens 2048 --out states.safetensors

`problems.jsonl` has the columns `prompt`, text or a conversation, and `strategy`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from sgpo.data.prompts import guided_prompt
from sgpo.models.sampling import encode


def main() -> None:
    args = parse_arguments()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    problems = [json.loads(line) for line in args.problems.read_text().splitlines()]
    students: list[Tensor] = []
    teachers: list[Tensor] = []
    found = 0
    for start in range(0, len(problems), args.batch_size):
        prompts = [as_messages(problem["prompt"]) for problem in problems[start : start + args.batch_size]]
        strategies = [problem["strategy"] for problem in problems[start : start + args.batch_size]]
        plain = encode(tokenizer, prompts)
        guided = encode(tokenizer, [guided_prompt(*pair) for pair in zip(prompts, strategies, strict=True)])
        for sides in zip(plain, guided, completions(model, tokenizer, guided, args.completion), strict=True):
            *prompt_ids, completion = sides
            for held, ids in zip((students, teachers), prompt_ids, strict=True):
                with torch.no_grad():
                    hidden = model.base_model(torch.tensor([ids + completion])).last_hidden_state
                held.append(hidden[0, len(ids) - 1 : -1])
            found += len(completion)
        print(f"{found} of {args.tokens} tokens", flush=True)
        if found >= args.tokens:
            break
    else:
        raise SystemExit(f"{args.problems} gave {found} tokens, fewer than {args.tokens}; add problems.")
    states = {
        "student": torch.cat(students)[: args.tokens].contiguous(),
        "teacher": torch.cat(teachers)[: args.tokens].contiguous(),
        "head": model.get_output_embeddings().weight.detach().contiguous(),
    }
    save_file(states, args.out)
    print({name: tuple(tensor.shape) for name, tensor in states.items()})


def as_messages(prompt: Any) -> Any:
    """A conversation as it is; text as the message of a user."""
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


def completions(model: Any, tokenizer: Any, prompts: list[list[int]], most: int) -> list[list[int]]:
    """A sampled completion behind each prompt, as training samples it, up to and with its end token."""
    batch = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt")
    out = model.generate(**batch, do_sample=True, temperature=1.0, top_k=0, max_new_tokens=most)
    ends = {tokenizer.eos_token_id}
    rows = out[:, batch["input_ids"].shape[1] :].tolist()
    return [row[: next((i + 1 for i, token in enumerate(row) if token in ends), len(row))] for row in rows]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder or hub id of a causal language model with a chat template")
    parser.add_argument("problems", type=Path, help="JSONL with the columns prompt and strategy")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--completion", type=int, default=96, help="at most this many tokens of each problem")
    parser.add_argument("--batch-size", type=int, default=16, help="problems that are sampled at once")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("states.safetensors"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
