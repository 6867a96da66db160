"""What the distillation term costs, beside that of TRL's SDPO (arXiv 2601.20802) on the same batch of one model.

    python benchmarks/sdpo_cost.py
    python benchmarks/sdpo_cost.py --device cuda --dtype bfloat16 --hidden 1536 --layers 28 --vocabulary 151936 \
        --prompt 256 --strategy 256 --completion 1024

The batch: `--problems` with `--rollouts` autonomous responses each, all of one length, no padding. The model is
Qwen2-shaped with random weights and an untied head, everything trained. Both trainers are real ones, and each contender
is the trainer's own method with its backward, on inputs that are there already:

    sgpo        distillation term of one optimizer step, fused clipped KL (forward, threshold 1.0), live teacher: guided
                forward, unguided forward, divergence, backward. EVERY problem has a target, the most there can be; a
                problem without a gap or without a correct guided response costs nothing.
    selection   what must precede it: the unguided log-probabilities of 4 guided responses a problem (no gradient),
                taken as all correct, again the most there can be.
    sdpo        SDPO's loss with its defaults (`sampled_token`, weight 1: distillation alone), live teacher: teacher
                forward, student forward, divergence, backward, on ALL rollouts. Its teacher's prompt holds the problem,
                a correct response of the group, and `--template` tokens of wording.
    sdpo_full   the same with `full_logits` and forward KL: the divergence that SGPO takes.
    sdpo_mixed, sdpo_policy   SDPO's loss at weight 0.5 and at 0, its policy gradient alone. SDPO may share the
                student's forward and backward with its policy loss; mixed - policy is what distillation adds then.

SDPO's own teacher is a moving average of the policy; "live" spares its update, and changes no forward. The contenders
take turns within a repeat; the first repeat is thrown away. Ratios are taken within a repeat, of CPU seconds (of this
process, one thread by default) on a CPU and of wall seconds on a GPU: median [lowest to highest]. The last line is one
JSON object: `distillation_over_sdpo` is sgpo / sdpo, `with_selection_over_sdpo` (sgpo + selection) / sdpo,
`distillation_over_sdpo_full` and `distillation_over_sdpo_added` (mixed - policy) accordingly.
"""

import argparse
import json
import platform
import statistics
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

import device
import torch
from datasets import Dataset
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM
from trl.experimental.sdpo import SDPOConfig, SDPOTrainer

from sgpo import SGPOConfig, SGPOTrainer
from sgpo.lab.tokenizer import build_tokenizer
from sgpo.trainer.distillation import Target, collate

GUIDED = 4  # guided responses of a problem
SDPO_FORMS: dict[str, dict[str, Any]] = {
    "sdpo": {},
    "sdpo_full": {"distillation_mode": "full_logits", "distillation_alpha": 0.0},
    "sdpo_mixed": {"distillation_weight": 0.5},
    "sdpo_policy": {"distillation_weight": 0.0},
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"problems": 2, "rollouts": 8, "prompt": 64, "strategy": 64, "template": 24}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in {"completion": 128, "hidden": 256, "layers": 4, "vocabulary": 32768}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    device.add_option(parser)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def build_model(args: argparse.Namespace) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=args.vocabulary,
        hidden_size=args.hidden,
        intermediate_size=4 * args.hidden,
        num_hidden_layers=args.layers,
        num_attention_heads=max(1, args.hidden // 64),
        num_key_value_heads=max(1, args.hidden // 128),
        tie_word_embeddings=False,
    )
    return Qwen2ForCausalLM(config).to(getattr(torch, args.dtype))


def build_trainer(kind: type, config_kind: type, model: Any, args: argparse.Namespace, out: str, **extra: Any) -> Any:
    config = config_kind(
        output_dir=out,
        per_device_train_batch_size=args.problems * args.rollouts,
        num_generations=args.rollouts,
        max_completion_length=args.completion,
        temperature=1.0,
        bf16=False,
        use_cpu=args.device == "cpu",
        report_to=[],
        gradient_checkpointing=False,
        **extra,
    )
    data = Dataset.from_list([{"prompt": "1 + 1", "strategy": "then", "answer": "2"}] * args.problems)
    trainer = kind(
        model, lambda completions, **_: [0.0] * len(completions), config, data, processing_class=build_tokenizer()
    )
    trainer.model.train()
    # What the training loop sets before the first step.
    trainer.current_gradient_accumulation_steps = 1
    trainer.state.max_steps = 1
    return trainer


def ids(rows: int, length: int, args: argparse.Namespace) -> Tensor:
    return torch.randint(3, args.vocabulary, (rows, length), device=args.device)


def sdpo_loss(trainer: Any, args: argparse.Namespace) -> Callable[[], Tensor]:
    rows = args.problems * args.rollouts
    batch = {"prompt_ids": ids(rows, args.prompt, args), "completion_ids": ids(rows, args.completion, args)}
    batch |= {name.replace("ids", "mask"): torch.ones_like(value) for name, value in batch.items()}
    teacher_prompt = ids(rows, args.prompt + args.completion + args.template, args)
    batch["teacher_input_ids"] = torch.cat([teacher_prompt, batch["completion_ids"]], dim=1)
    batch["teacher_attention_mask"] = torch.ones_like(batch["teacher_input_ids"])
    batch["self_distillation_mask"] = torch.ones(rows, device=args.device)
    batch["advantages"] = torch.randn(rows, device=args.device)
    return lambda: trainer.compute_loss(trainer.model, batch)


def sgpo_loss(trainer: Any, args: argparse.Namespace) -> Callable[[], Tensor]:
    share = targets(args.problems, trainer, args)

    def loss() -> Tensor:
        hidden = trainer._teacher_hidden(trainer.model, share)
        term: Tensor = trainer._distillation(trainer.model, share, hidden)[0]
        return term

    return loss


def selection(trainer: Any, args: argparse.Namespace) -> Callable[[], None]:
    rows = args.problems * GUIDED
    share = targets(rows, trainer, args)

    @torch.no_grad()
    def score() -> None:
        trainer._get_per_token_logps_and_entropies(
            trainer.model, share.student_ids, share.student_mask, args.completion, batch_size=rows
        )

    return score


def targets(rows: int, trainer: Any, args: argparse.Namespace) -> Any:
    def row(length: int) -> list[int]:
        drawn: list[int] = ids(1, length, args)[0].tolist()
        return drawn

    chosen = [
        Target(row(args.prompt), row(args.prompt + args.strategy), row(args.completion), 0.5) for _ in range(rows)
    ]
    return collate(chosen, trainer._tokenizer.pad_token_id, torch.device(args.device))


def seconds(work: Callable[[], Tensor | None], model: Any, where: str) -> float:
    """Of one loss with its backward; CPU seconds of this process, or wall seconds on a GPU."""
    model.zero_grad(set_to_none=True)
    began = device.now(where, cpu_seconds=True)
    loss = work()
    if loss is not None:
        loss.backward()
    return device.now(where, cpu_seconds=True) - began


def ratio(name: str, above: list[float], below: list[float]) -> float:
    values = [a / b for a, b in zip(above, below, strict=True)]
    median = statistics.median(values)
    print(f"{name}: {median:.3f} [{min(values):.3f} to {max(values):.3f}]")
    return round(median, 4)


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    print(f"{platform.machine()}, torch {torch.__version__}; {vars(args)}")
    model = build_model(args).to(args.device)
    with TemporaryDirectory() as out:
        # Before SGPO's trainer adds its route to the model's forward, whose signature SDPO reads.
        sdpo = {
            name: build_trainer(SDPOTrainer, SDPOConfig, model, args, out, teacher_model_kind="live", **form)
            for name, form in SDPO_FORMS.items()
        }
        sgpo = build_trainer(SGPOTrainer, SGPOConfig, model, args, out, num_guided_generations=GUIDED)
        works: dict[str, Callable[[], Tensor | None]] = {
            "sgpo": sgpo_loss(sgpo, args),
            "selection": selection(sgpo, args),
            **{name: sdpo_loss(trainer, args) for name, trainer in sdpo.items()},
        }
        runs: dict[str, list[float]] = {name: [] for name in works}
        for repeat in range(args.repeats + 1):
            for name, work in works.items():
                spent = seconds(work, model, args.device)
                if repeat:
                    runs[name].append(spent)
            print(
                f"  repeat {repeat}", {name: round(times[-1], 3) for name, times in runs.items() if times}, flush=True
            )
    both = [a + b for a, b in zip(runs["sgpo"], runs["selection"], strict=True)]
    added = [a - b for a, b in zip(runs["sdpo_mixed"], runs["sdpo_policy"], strict=True)]
    report: dict[str, Any] = {name: round(statistics.median(times), 4) for name, times in runs.items()}
    report["distillation_over_sdpo"] = ratio("sgpo / sdpo", runs["sgpo"], runs["sdpo"])
    report["with_selection_over_sdpo"] = ratio("(sgpo + selection) / sdpo", both, runs["sdpo"])
    report["distillation_over_sdpo_full"] = ratio("sgpo / sdpo_full", runs["sgpo"], runs["sdpo_full"])
    report["distillation_over_sdpo_added"] = ratio("sgpo / (sdpo_mixed - sdpo_policy)", runs["sgpo"], added)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
