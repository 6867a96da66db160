"""New tokens a second on this machine: sgpo's sampling beside `generate` of transformers, on a real model.

    python benchmarks/sampling.py MODEL --threads 2
    python benchmarks/sampling.py MODEL --device cuda

MODEL is a folder or hub id of an instruct model. Both answer the same conversations, `--k` samples each, at temperature
0.6 and top-p 0.95, in batches of `--batch-size` with the longest prompts first. The rounds alternate between the two,
and a rate counts the tokens of the replies, not the padding behind them. Prints each round, on a GPU with the memory it
took beside the weights, and the ratio of the sums. The last line is a JSON object.
"""

import argparse
import json
import random
import statistics
from typing import Any

import device
import torch

from sgpo.models import Sampling
from sgpo.models.local import LocalModel
from sgpo.models.options import LocalOptions
from sgpo.models.sampling import encode, sample_rows

_KINDS = (
    "Tom has {a} apples and buys {b} bags of {c} apples each. How many apples does he have?",
    "A train travels {a} miles an hour for {b} hours, rests, and goes on for {c} hours. How far does it get?",
    "Write a short story of a fox who counts {a} stars.",
    "What is {a} + {b}? Answer with the number alone.",
)


def conversations(count: int) -> list[list[dict[str, str]]]:
    """Prompts whose answers differ in length, as those of a benchmark do."""
    draw = random.Random(0)
    texts = (_KINDS[i % len(_KINDS)].format(**{n: draw.randrange(2, 90) for n in "abc"}) for i in range(count))
    return [[{"role": "user", "content": text}] for text in texts]


def by_transformers(local: LocalModel, prompts: list[Any], limit: int, batch_size: int) -> int:
    """Tokens of the replies to `prompts` by one call of `generate` a batch, as its documentation has it."""
    ids = sorted(encode(local.tokenizer, prompts), key=len, reverse=True)
    ends = local.model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])
    tokens = 0
    for start in range(0, len(ids), batch_size):
        batch = local.tokenizer.pad(
            {"input_ids": ids[start : start + batch_size]}, padding_side="left", return_tensors="pt"
        ).to(local.model.device)
        with torch.inference_mode():
            out = local.model.generate(
                **batch, max_new_tokens=limit, do_sample=True, temperature=0.6, top_p=0.95, top_k=0
            )
        for row in out[:, batch["input_ids"].shape[1] :].tolist():
            tokens += next((i + 1 for i, token in enumerate(row) if token in ends), len(row))
    return tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--problems", type=int, default=16)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--max-new-tokens", type=int, default=192)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dtype", default="auto", help="auto: float32 on a CPU, that of the weights on a GPU")
    device.add_option(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    how = Sampling(0.6, 0.95, args.max_new_tokens)
    options = LocalOptions(batch_size=args.batch_size, device=args.device, dtype=args.dtype)
    local = LocalModel.load(args.model, how, options)
    if local.tokenizer.pad_token_id is None:
        local.tokenizer.pad_token = local.tokenizer.eos_token
    prompts = [prompt for prompt in conversations(args.problems) for _ in range(args.k)]
    rates: dict[str, list[float]] = {"transformers": [], "sgpo": []}
    peaks: dict[str, float] = {}
    on_gpu = args.device == device.CUDA
    spent = {name: [0, 0.0] for name in rates}  # tokens, seconds
    for turn in range(args.rounds):
        for name in rates:
            held = device.reset_peak(args.device) if on_gpu else 0
            began = device.now(args.device)
            if name == "sgpo":
                seeds = [turn * len(prompts) + i for i in range(len(prompts))]
                replies = sample_rows(local.model, local.tokenizer, prompts, seeds, how, batch_size=args.batch_size)
                tokens = sum(reply.tokens or 0 for reply in replies)
            else:
                tokens = by_transformers(local, prompts, args.max_new_tokens, args.batch_size)
            seconds = device.now(args.device) - began
            spent[name] = [spent[name][0] + tokens, spent[name][1] + seconds]
            rates[name].append(tokens / seconds)
            print(f"{name:12} {tokens:6} tokens {seconds:7.1f} s {tokens / seconds:7.1f} tokens/s", flush=True)
            if on_gpu:
                peaks[name] = (device.read_peak(args.device) - held) / device.MIB
                print(f"{'':12} peak {peaks[name]:.0f} MiB", flush=True)
    overall = {name: tokens / seconds for name, (tokens, seconds) in spent.items()}
    ratios = [ours / theirs for ours, theirs in zip(rates["sgpo"], rates["transformers"], strict=True)]
    print(f"sgpo / transformers: {overall['sgpo'] / overall['transformers']:.2f}, rounds {min(ratios):.2f} to", end=" ")
    print(f"{max(ratios):.2f}, median {statistics.median(ratios):.2f}")
    setting = {"threads": args.threads, "rows": len(prompts), "device": device.name_of(args.device)}
    print(json.dumps({"tokens_a_second": overall, "ratios": ratios, "peak_mib": peaks, **setting}))


if __name__ == "__main__":
    main()
