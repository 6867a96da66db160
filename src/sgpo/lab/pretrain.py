"""Pretrain a base of the embedded task from nothing: ``python -m sgpo.lab.pretrain --seed 0 --out DIR``.

Next-token prediction on the responses of `sgpo.lab.corpus`. The matrices inside the layers are trained with
Muon, everything else with AdamW; both rates warm up briefly and then fall linearly to 0. One thread, one
process: two threads are slower under contention than one.

Shapes: `B` texts in a batch, `T` tokens (padded right; no loss on prompts and padding).
"""

import argparse
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sgpo.lab.corpus import Corpus, CorpusText
from sgpo.lab.measure import accuracy
from sgpo.lab.model import MODEL, build_model, load, sized
from sgpo.lab.problems import load_problems
from sgpo.lab.tokenizer import build_tokenizer, vocabulary_hash
from sgpo.runs.files import JsonObject, write_json

TOKENS = 10_000_000
BATCH_TOKENS = 3072
MUON_LR = 0.02
ADAMW_LR = 1e-2
WARMUP_SHARE = 0.02
IGNORED = -100
EVAL_REPEATS = 4
"""Samples for each evaluation problem in the record."""

Encoded = tuple[list[int], list[int]]


def encode_text(text: CorpusText, ids: dict[str, int]) -> Encoded:
    """Ids and labels of a text, each of length T; the prompt is not learned."""
    prompt = [ids[word] for word in text.prompt.split()]
    response = [*(ids[word] for word in text.response.split()), MODEL["eos_token_id"]]
    return prompt + response, [IGNORED] * len(prompt) + response


def batches(
    corpus: Corpus, tokenizer: PreTrainedTokenizerBase, chunk: int = 4096
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless batches ``(ids, labels)``, each [B, T] with about `BATCH_TOKENS` tokens of like length."""
    stream, vocabulary = iter(corpus), tokenizer.get_vocab()
    while True:
        # Texts of like length share a batch, for little padding; the batches are then mixed.
        encoded = sorted((encode_text(t, vocabulary) for t in islice(stream, chunk)), key=lambda pair: len(pair[0]))
        groups: list[list[Encoded]] = [[]]
        for pair in encoded:
            if (len(groups[-1]) + 1) * len(pair[0]) > BATCH_TOKENS:
                groups.append([])
            groups[-1].append(pair)
        corpus.rng.shuffle(groups)
        for group in groups:
            longest = max(len(ids) for ids, _ in group)
            pad = MODEL["pad_token_id"]
            ids = torch.tensor([i + [pad] * (longest - len(i)) for i, _ in group])
            labels = torch.tensor([y + [IGNORED] * (longest - len(y)) for _, y in group])
            yield ids, labels


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) with the settings of `torch.optim.Muon` and no weight decay, for many small matrices.

    torch's own goes through them one by one in bfloat16, which costs a third of a step on a CPU; here matrices of one
    shape are stacked, [N, rows, columns] with rows <= columns.
    """

    def __init__(self, matrices: list[torch.nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum})
        self._stacks: dict[tuple[int, int], list[torch.nn.Parameter]] = {}
        for matrix in matrices:
            rows, columns = sorted(matrix.shape)
            self._stacks.setdefault((rows, columns), []).append(matrix)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update from the gradients."""
        group = self.param_groups[0]
        for shape, matrices in self._stacks.items():
            gradient = torch.stack([_flat(p, p.grad) for p in matrices])  # type: ignore[arg-type]
            # One buffer for a whole stack, kept under its first matrix.
            buffer = self.state[matrices[0]].setdefault(shape, torch.zeros_like(gradient))
            buffer.lerp_(gradient, 1 - group["momentum"])
            update = _orthogonalised(gradient.lerp(buffer, group["momentum"]))  # Nesterov's look ahead
            for matrix, change in zip(matrices, update, strict=True):
                # The rate of a tall matrix is raised as `torch.optim.Muon` raises it.
                ratio = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
                matrix.add_(_flat(matrix, change), alpha=-group["lr"] * ratio)


def _flat(matrix: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """`values` transposed where the matrix has more rows than columns; twice is the identity."""
    return values.T if matrix.shape[0] > matrix.shape[1] else values


def _orthogonalised(stack: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Newton and Schulz's iteration towards the nearest orthogonal matrices, [N, rows, columns]."""
    x = stack / stack.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    # The coefficients are of the steepest slope at 0: singular values need only come near 1, and soon.
    for _ in range(steps):
        square = x @ x.mT
        x = 3.4445 * x + (2.0315 * square @ square - 4.7750 * square) @ x
    return x


def optimizers(model: PreTrainedModel) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings, norms and biases."""
    # Muon is for matrices between hidden states; an embedding is a table of rows, each of which is trained alone.
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    adamw = torch.optim.AdamW(others, lr=ADAMW_LR, betas=(0.9, 0.98), weight_decay=0.0)
    return [Muon(matrices, lr=MUON_LR), adamw]


def train_base(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int, tokens: int) -> float:
    """Train in place on `tokens` tokens (padding included); returns the last smoothed loss, in nats a token."""
    from torch.nn.functional import cross_entropy

    both = optimizers(model)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in both]
    stream = batches(Corpus(seed), tokenizer)
    seen, smooth, shown = 0, 0.0, 0
    model.train()
    with tqdm(total=tokens, unit="tok", unit_scale=True, mininterval=5) as bar:
        while seen < tokens:
            ids, labels = next(stream)
            done = seen / tokens
            # By tokens and not by steps: batches hold rows of one length, so that their sizes differ.
            scale = min(1.0, (done + 1e-3) / WARMUP_SHARE) * (1 - done)
            hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
            targets = labels[:, 1:]
            learned = targets != IGNORED
            # Logits of the learned tokens alone: padding and prompts are most of a batch.
            loss = cross_entropy(model.lm_head(hidden[learned]), targets[learned])
            loss.backward()
            for optimizer, rates in zip(both, peaks, strict=True):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * scale
                optimizer.step()
                optimizer.zero_grad()
            seen += ids.numel()
            # A batch has rows of one length, so a single batch's loss depends more on that length than on the model.
            smooth = loss.item() if not smooth else 0.98 * smooth + 0.02 * loss.item()
            bar.update(ids.numel())
            if seen - shown >= tokens // 50:
                shown = seen
                bar.set_postfix(loss=f"{smooth:.4f}")
    return smooth


def measure_base(folder: Path) -> JsonObject:
    """Accuracies of saved weights, read back from float16: at temperature 1, and at 0.6 with top-p 0.95."""
    model, tokenizer = load(folder)
    problems = load_problems("eval")
    found: JsonObject = {"split": "eval"}
    for name, guided in (("guided", True), ("autonomous", False)):
        for suffix, temperature, top_p in (("", 1.0, 1.0), ("_0.6", 0.6, 0.95)):
            how: dict[str, Any] = {"guided": guided, "temperature": temperature, "top_p": top_p, "seed": 0}
            found[name + suffix] = accuracy(model, tokenizer, problems, k=EVAL_REPEATS, **how)
    return found


def pretrain(seed: int, out: Path, tokens: int = TOKENS, width: int = MODEL["hidden_size"]) -> JsonObject:
    """Pretrain, save in float16 with the tokenizer, measure what was saved, and write ``pretrain.json``."""
    started = time.perf_counter()
    tokenizer = build_tokenizer()
    model = build_model(seed, width)
    loss = train_base(model, tokenizer, seed, tokens)
    # Half the size in the package; what is measured below is read back from it.
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    minutes = round((time.perf_counter() - started) / 60, 1)
    record = {"seed": seed, "tokens": tokens, "vocabulary": vocabulary_hash(), "model": sized(width)}
    record |= {"loss": round(loss, 4), "minutes": minutes, **measure_base(out)}
    write_json(out / "pretrain.json", record)
    return record


def main() -> None:
    """The command line of ``python -m sgpo.lab.pretrain``."""
    parser = argparse.ArgumentParser(description="Pretrain a base of the embedded task from nothing.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="pretraining length (default: %(default)s)")
    parser.add_argument("--width", type=int, default=MODEL["hidden_size"], help="hidden size (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    record = pretrain(options.seed, options.out, options.tokens, options.width)
    for kind in ("guided", "guided_0.6", "autonomous", "autonomous_0.6"):
        print(kind, {name: round(cell["rate"], 3) for name, cell in record[kind].items()})


if __name__ == "__main__":
    main()
