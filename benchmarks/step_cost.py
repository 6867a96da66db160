"""What a step costs: SGPO (8 + 4 rollouts) against TRL's GRPOTrainer with 12 rollouts, on the lab model.

    python benchmarks/step_cost.py
    python benchmarks/step_cost.py --device cuda

Both sample 12 rollouts a problem, take turns in one process with one thread, and train with learning rate 0, so that
the policy, and with it the length of the rollouts, stays what it is. The seconds of a generation batch and its
optimizer steps are split into generation, scoring (rewards, old log-probabilities; for SGPO also target selection),
and loss (forward and backward). On a GPU the peak memory of a round is printed, too, above
what was held before it. The last line is a JSON object; its `sgpo_over_grpo12` is the median ratio of pairs.
"""

import argparse
import json
import statistics
import warnings
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import device
import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from sgpo import SGPOTrainer
from sgpo.lab.experiment import Cell, RunBudget, train_config
from sgpo.lab.model import base_path, load
from sgpo.lab.problems import lab_reward, load_problems

PARTS = ("generation", "scoring", "loss")


def timed(trainer_class: type[GRPOTrainer]) -> type[GRPOTrainer]:
    """The trainer with clocks around generation, scoring and the whole step."""

    class Timed(trainer_class):
        clock: dict[str, float]

        def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
            return self._measure("generation", super()._generate_single_turn, *args, **kwargs)

        def _generate_and_score_completions(self, *args: Any, **kwargs: Any) -> Any:
            return self._measure("rollout", super()._generate_and_score_completions, *args, **kwargs)

        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            return self._measure("step", super().training_step, *args, **kwargs)

        def _measure(self, name: str, function: Any, *args: Any, **kwargs: Any) -> Any:
            where = self.args.device.type
            began = device.now(where)
            result = function(*args, **kwargs)
            self.clock[name] += device.now(where) - began
            return result

    return Timed


def build(name: str, start: Path, out: Path, budget: RunBudget, where: str) -> GRPOTrainer:
    model, tokenizer = load(start)
    data = Dataset.from_list([dict(p) for p in load_problems("train")])
    method, overrides = "sgpo" if name == "sgpo" else "sft_grpo_12", {"use_cpu": where == "cpu"}
    config: GRPOConfig = train_config(Cell(method, budget=budget, overrides=overrides), out)
    if name == "grpo12":
        names = GRPOConfig.__dataclass_fields__
        fields = {k: v for k, v in vars(config).items() if k in names and k != "generation_batch_size"}
        config = GRPOConfig(**{k: v for k, v in fields.items() if names[k].init})
    trainer = timed(SGPOTrainer if name == "sgpo" else GRPOTrainer)(
        model, lab_reward, config, train_dataset=data, processing_class=tokenizer
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def seconds(trainer: Any, where: str) -> dict[str, float]:
    """Seconds of one round: a few generation batches with their optimizer steps. On a GPU its peak memory, too."""
    trainer.clock = defaultdict(float)
    trainer._step, trainer._buffered_inputs = 0, None
    before = device.reset_peak(where) if where == device.CUDA else 0
    trainer.train()
    clock = trainer.clock
    parts = {"generation": clock["generation"], "scoring": clock["rollout"] - clock["generation"]}
    parts["loss"] = clock["step"] - clock["rollout"]
    # In one process the peak of a CPU's memory would be that of the larger trainer, whichever is asked.
    peak = {"peak_mib": (device.read_peak(where) - before) / device.MIB} if where == device.CUDA else {}
    return {**parts, "total": clock["step"], **peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8, help="pairs that count, after one that does not")
    parser.add_argument("--generations", type=int, default=3, help="generation batches of a round")
    device.add_option(parser)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    budget = RunBudget(generations=args.generations, learning_rate=0.0)
    with TemporaryDirectory() as directory:
        folder, where = Path(directory), args.device
        trainers = {name: build(name, base_path(0), folder / name, budget, where) for name in ("sgpo", "grpo12")}
        rounds = [{name: seconds(t, where) for name, t in trainers.items()} for _ in range(args.rounds + 1)][1:]
    ratios = sorted(r["sgpo"]["total"] / r["grpo12"]["total"] for r in rounds)
    steps = budget.generations * budget.updates
    print(f"seconds per optimizer step, median of {args.rounds} rounds, one thread, on {device.name_of(where)}")
    print(f"{'':<10}" + "".join(f"{part:>12}" for part in (*PARTS, "total")))
    result: dict[str, Any] = {}
    for name in trainers:
        result[name] = {p: statistics.median(r[name][p] for r in rounds) / steps for p in (*PARTS, "total")}
        print(f"{name:<10}" + "".join(f"{result[name][p]:>12.3f}" for p in (*PARTS, "total")))
        if where == device.CUDA:
            result[name]["peak_mib"] = max(r[name]["peak_mib"] for r in rounds)
            print(f"{'':<10}peak {result[name]['peak_mib']:.0f} MiB")
    result |= {"sgpo_over_grpo12": statistics.median(ratios), "lowest": ratios[0], "highest": ratios[-1]}
    print(f"ratio {result['sgpo_over_grpo12']:.3f} (lowest {ratios[0]:.3f}, highest {ratios[-1]:.3f})")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
