"""Runs every case of `CASES` on this many ranks and saves gradients and logs; started by test_trainer_ranks.py.

torchrun --nproc_per_node 2 ranks_worker.py DIRECTORY 2
"""

import math
import sys
from pathlib import Path
from typing import Any

import torch
import trainer_kit as kit
from peft import LoraConfig
from trl import GRPOTrainer

from sgpo.trainer.finite import NonFiniteError
from sgpo.trainer.sft import ExpertSFTTrainer, SFTConfig

ALL = ("carry", "borrow", "shift", "split")
SMOOTHINGS = (0.0, 0.1)  # of labels, for SFT
ON_DEMAND = {"guided_rollouts": "on_demand", "reward": kit.easy_or_ok}
# name -> (strategies of the 4 problems: ranks get 2 each, options for the trainer)
CASES: dict[str, tuple[tuple[str | None, ...], dict[str, Any]]] = {
    "whole loss": (ALL, {}),
    "distillation": (ALL, {"grpo_weight": 0.0}),
    "guided group, two targets": (
        (*ALL[:3], None),
        {"guided_grpo_weight": 1.0, "num_targets": 2, "num_guided_generations": 4, "accumulation": 2},
    ),
    "joined group": (
        (*ALL[:3], None),
        {"guided_grpo_weight": 1.0, "guided_grpo_group": "joined", "num_guided_generations": 4, "accumulation": 2},
    ),
    "one rank without strategies": ((*ALL[:2], None, ""), {"grpo_weight": 0.0}),
    "first problem without": ((None, *ALL[1:]), {"grpo_weight": 0.0, "num_guided_generations": 4}),
    "targets on one rank only": (("carry", None, None, None), {"grpo_weight": 0.0, "alpha_form": "constant"}),
    "solved on one rank": (("carry", "shift", "borrow", "split"), {**ON_DEMAND, "grpo_weight": 0.0}),
    "solved on one rank and without strategies on the other": ((None, None, "borrow", "split"), ON_DEMAND),
    "one more to guide on one rank": (("carry", "shift", "carry", "split"), {**ON_DEMAND, "grpo_weight": 0.0}),
    "no strategies": ((None,) * 4, {}),
    "micro-steps, ema, checkpointing": (
        (*ALL[:3], None),
        {"grpo_weight": 0.0, "teacher": "ema", "gradient_checkpointing": True, "accumulation": 4},
    ),
    "adapters": (ALL, {"grpo_weight": 0.0, "alpha_form": "gap", "adapters": True}),
    "sft": ((*ALL[:1], None, *ALL[2:]), {"grpo_weight": 0.0, "distillation_loss": "sft"}),
}


def run(directory: Path, name: str, ranks: int) -> dict[str, Any]:
    strategies, options = CASES[name]
    options = dict(options)
    steps = options.pop("accumulation", 1)
    size = {"per_device_train_batch_size": 16 // ranks // steps, "gradient_accumulation_steps": steps}
    data = kit.make_problems(4, strategies=strategies)
    # One device may hold whole batches, so 1 rank is the plain case; TRL checkpoints by default, so ranks do.
    options.setdefault("gradient_checkpointing", ranks > 1)
    model = kit.make_model(dtype=torch.float64, seed=3)
    adapters = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    arguments = {"peft_config": adapters} if options.pop("adapters", False) else {}
    trainer = kit.make_trainer(directory, model=model, data=data, arguments=arguments, **{**size, **options})
    recorder = kit.recorded(trainer)
    logs = [{k: v for k, v in log.items() if k.startswith("sgpo/")} for log in trainer.state.log_history[:-1]]
    return {
        "gradients": recorder.gradients,
        "weights": kit.weights_of(model),
        "logs": logs,
        "tokens": trainer.state.num_input_tokens_seen,
        "world": trainer.accelerator.num_processes,
    }


def stopped(directory: Path, ranks: int) -> str:
    """A NaN on the last rank alone must stop all of them; returns what this one said."""
    trainer = kit.make_trainer(directory, per_device_train_batch_size=16 // ranks, grpo_weight=0.0)
    compute = trainer._distillation

    def poisoned(*args: Any) -> Any:
        term, sums = compute(*args)
        return term * (math.nan if trainer.accelerator.is_last_process else 1.0), sums

    trainer._distillation = poisoned
    try:
        trainer.train()
    except NonFiniteError as error:
        return str(error)
    return "not stopped"


def evaluated(directory: Path, size: int) -> dict[str, float]:
    """The rewards of an evaluation of five problems, `size` completions at once on each rank."""
    measured = {"eval_dataset": kit.make_problems(5)}
    trainer = kit.make_trainer(directory, per_device_eval_batch_size=size, arguments=measured)
    return {name: value for name, value in trainer.evaluate().items() if "reward" in name}


def evaluated_sft(directory: Path, size: int, smoothing: float) -> dict[str, float]:
    """An evaluation of SFT on five responses of different lengths, `size` at once on each rank."""
    rows = kit.make_problems(5).add_column("expert", [" ".join(kit.PLAIN[: 1 + 3 * i]) for i in range(5)])
    shape = {"per_device_eval_batch_size": size, "label_smoothing_factor": smoothing}
    config = SFTConfig(str(directory), use_cpu=True, report_to="none", **shape)
    trainer = ExpertSFTTrainer(
        kit.make_model(seed=3), config, train_dataset=rows, eval_dataset=rows, processing_class=kit.make_tokenizer()
    )
    found = trainer.evaluate()
    return {name: found[f"eval_{name}"] for name in ("loss", "entropy", "mean_token_accuracy")}


def streamed(directory: Path) -> list[str]:
    """What is said of an evaluation set that is a stream, at construction and where it is given later."""
    trainer, stream, said = kit.make_trainer(directory), kit.make_problems(5).to_iterable_dataset(), []
    for measure in (
        lambda: kit.make_trainer(directory, arguments={"eval_dataset": {"a": stream}}),
        lambda: trainer.evaluate(stream),
    ):
        try:
            measure()
        except ValueError as error:
            said.append(str(error))
    return said


def main() -> None:
    torch.set_num_threads(1)
    GRPOTrainer._generate_single_turn = kit.scripted_turn
    directory = Path(sys.argv[1])
    ranks = int(sys.argv[2])
    results: dict[str, Any] = {name: run(directory, name, ranks) for name in CASES}
    results["stopped"] = stopped(directory, ranks)
    results["evaluated"] = evaluated(directory, 4)
    results["evaluated sft"] = [evaluated_sft(directory, 2, smoothing) for smoothing in SMOOTHINGS]
    results["streamed"] = streamed(directory)
    from accelerate import PartialState

    torch.save(results, directory / f"rank{PartialState().process_index}.pt")


if __name__ == "__main__":
    main()
