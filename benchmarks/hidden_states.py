"""Last hidden states of a real model, for `fused_kl.py --states`: what the distillation term sees in training.

For each problem the model samples a completion behind the guided prompt; the completion is then run behind both
prompts, and the states that predict its tokens are kept, with the head. A vocabulary that a trained model has
learnt to leave empty is nothing like one of random states.

    python benchmarks/hidden_states.py MODEL problems.jsonl --tokens 2048 --out states.safetensors

`problems.jsonl` has the columns `prompt` and `strategy`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from sgpo.data.prompts import guided_prompt


def main() -> None:
    args = parse_arguments()
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    students: list[Tensor] = []
    teachers: list[Tensor] = []
    for line in args.problems.read_text().splitlines():
        problem = json.loads(line)
        prompt = [{"role": "user", "content": problem["prompt"]}]
        plain, guided = (
            tokenizer.apply_chat_template(side, add_generation_prompt=True, return_tensors="pt", return_dict=True)
            for side in (prompt, guided_prompt(prompt, problem["strategy"]))
        )
        with torch.no_grad():
            sampled = model.generate(**guided, do_sample=True, temperature=1.0, max_new_tokens=args.completion)
            completion = sampled[:, guided["input_ids"].shape[1] :]
            for held, side in ((students, plain), (teachers, guided)):
                ids = torch.cat([side["input_ids"], completion], dim=1)
                hidden = model.base_model(ids).last_hidden_state
                held.append(hidden[0, -completion.shape[1] - 1 : -1])
        found = sum(map(len, students))
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


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder or hub id of a causal language model with a chat template")
    parser.add_argument("problems", type=Path, help="JSONL with the columns prompt and strategy")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--completion", type=int, default=96, help="at most this many tokens of each problem")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("states.safetensors"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
