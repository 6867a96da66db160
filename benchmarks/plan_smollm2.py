"""Does `sgpo plan` tell what SmolLM2-135M takes here? Memory and seconds of a step, and of an evaluation.

    python recipes/smollm2-135m-gsm/fetch.py --out runs/smollm2/base
    python recipes/smollm2-135m-gsm/split.py --size cpu --out runs/smollm2/data-cpu
    python benchmarks/plan_smollm2.py --model runs/smollm2/base --data runs/smollm2/data-cpu
    python benchmarks/plan_smollm2.py --device cuda --dtype bfloat16 --model ... --data ...

A process trains two steps with one thread, and the second is compared: it has optimizer states. Completions run to
their full length. Seconds are those of the process, so other programs do not count, and on a GPU those of the clock.
The evaluation is `sgpo.models` on as many prompts as a generation batch has rollouts, which the plan reckons as it does
generation.

Another process takes the same steps for the memory: the highest resident one above what a finished tiny run had left,
as in `plan_memory.py`. There glibc gives freed blocks back at once, which costs time; hence the two.

The last line is one JSON object: for each figure `measured`, `planned` and `ratio`.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import device
import plan_memory
import yaml

COMPLETION = 48  # tokens
ROWS, GUIDED = 4, 2
ROLLOUTS = ROWS + GUIDED


def write_recipe(given: argparse.Namespace, folder: Path) -> Path:
    """A recipe of one problem an optimizer step, with 4 + 2 rollouts of one length."""
    fields = {
        "model_name_or_path": str(given.model),
        "dataset_name": str(given.data / "train.jsonl"),
        "output_dir": str(folder / "run"),
        "reward_funcs": "accuracy",
        "dtype": "float32",
        "max_completion_length": COMPLETION,
        "generation_kwargs": {"min_new_tokens": COMPLETION},
        "num_generations": ROWS,
        "num_guided_generations": GUIDED,
        "per_device_train_batch_size": ROWS,
        "gradient_accumulation_steps": 1,
        "alpha_form": "constant",  # each problem with a correct guided rollout has a target
        "max_steps": 2,
        "activation_checkpointing": False,
        "use_cpu": given.device == "cpu",
        "bf16": given.dtype == "bfloat16",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


def work(recipe: Path, data: Path, what: str, where: str) -> dict[str, float]:
    """In a process of its own: bytes, or seconds of the second step, of its generation and of an evaluation."""
    import gc

    import torch
    from transformers import TrainerCallback
    from trl import GRPOTrainer

    from sgpo import SGPOTrainer
    from sgpo.recipe import build, load_data, parse

    torch.set_num_threads(1)
    if what == "memory":
        tiny = recipe.parent / "tiny"
        tiny.mkdir()
        plan_memory.SHAPES["tiny"] = plan_memory.shape(600, 32, 2, 2, 1, (8, 4, 4), rows=4)
        plan_memory.train(plan_memory.write_recipe("tiny", tiny, where), plan_memory.SHAPES["tiny"]["lengths"])
    now = functools.partial(device.now, where, cpu_seconds=True)
    spent: dict[str, float] = {"generation": 0.0}
    sample = GRPOTrainer._generate_single_turn

    def timed(self: Any, *args: Any) -> Any:
        began = now()
        found = sample(self, *args)
        spent["generation"] = now() - began  # of the last step in the end
        return found

    class Steps(TrainerCallback):
        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            self.began = now()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            spent["step"] = now() - self.began

    def every_other(completions: list[Any], **_: Any) -> list[float]:
        return [float(i % 2) for i in range(len(completions))]

    GRPOTrainer._generate_single_turn = timed
    run, config, model = parse(["--config", str(recipe)])
    gc.collect()
    before = device.reset_peak(where)
    trainer = build(SGPOTrainer, config, model, load_data(run), reward_funcs=[every_other])
    trainer.add_callback(Steps())
    # Batches are fetched, and rollouts sampled, inside of a step only from `training_step` on.
    trainer.train()
    if what == "memory":
        return {"memory": device.read_peak(where) - before}
    return {**spent, "evaluation": evaluate(trainer, evaluated(data), now)}


def evaluate(trainer: Any, prompts: list[Any], now: Callable[[], float]) -> float:
    """Seconds of ``sgpo.models`` on conversations, each answered to the full length."""
    from sgpo.models.local import LocalModel
    from sgpo.models.protocol import Request, Sampling

    tokenizer = trainer.processing_class
    # Without an end token no answer is short, so that the tokens are those that were planned.
    trainer.model.generation_config.eos_token_id = tokenizer.eos_token = None
    sampling = Sampling(temperature=0.6, top_p=0.95, max_new_tokens=COMPLETION)
    if trainer.args.bf16 and trainer.args.device.type == device.CUDA:  # as `sgpo eval` loads weights in bfloat16 there
        trainer.model.bfloat16()
    model = LocalModel(trainer.model.eval(), tokenizer, sampling)
    requests = [Request(str(i), i, prompt, i) for i, prompt in enumerate(prompts)]
    began = now()
    replies = model.replies(requests)
    assert {reply.tokens for reply in replies} == {COMPLETION}
    return now() - began


def evaluated(data: Path) -> list[Any]:
    """Different prompts, as many as a generation batch has rollouts: equal ones would be read once."""
    lines = (data / "warmup.jsonl").read_text().splitlines()
    return list({str(prompt): prompt for prompt in (json.loads(line)["prompt"] for line in lines)}.values())[:ROLLOUTS]


def planned(recipe: Path, model: Path, data: Path, where: str) -> dict[str, float]:
    """The same figures, of `sgpo plan` on the lengths of these prompts."""
    from transformers import AutoTokenizer

    from sgpo.data.prompts import guided_prompt
    from sgpo.plan import Plan, plan_recipe
    from sgpo.plan.assumptions import Assumptions
    from sgpo.recipe import load_data, parse

    tokenizer = AutoTokenizer.from_pretrained(model)

    def mean_tokens(prompts: list[Any]) -> int:
        ids = [tokenizer.apply_chat_template(each, add_generation_prompt=True)["input_ids"] for each in prompts]
        return round(sum(map(len, ids)) / len(ids))

    def plan(prompt: int, strategy: int, *more: str) -> Plan:
        lengths = Assumptions(prompt_tokens=prompt, strategy_tokens=strategy, mean_completion_tokens=COMPLETION)
        return plan_recipe(["--config", str(recipe), *more], plan_memory.machine(where), assumptions=lengths)

    def generation(plan: Plan) -> float:
        return plan.duration.seconds["decode"] + plan.duration.seconds["prefill"]

    rows = list(load_data(parse(["--config", str(recipe)])[0]).select(range(2)))
    prompt = mean_tokens([row["prompt"] for row in rows])
    guided = mean_tokens([guided_prompt(row["prompt"], row["strategy"]) for row in rows])
    step = plan(prompt, guided - prompt)
    batch = ("--num_generations", str(ROLLOUTS), "--per_device_train_batch_size", str(ROLLOUTS), "--alpha_0", "0")
    evaluation = plan(mean_tokens(evaluated(data)), 1, *batch)
    return {
        "memory": plan_memory.allocated(step.memory, where),
        "generation": generation(step),
        "step": step.duration.step,
        "evaluation": generation(evaluation),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    device.add_option(parser)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--work", choices=("memory", "seconds"), help=argparse.SUPPRESS)
    parser.add_argument("--recipe", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        print(json.dumps(work(given.recipe, given.data, given.work, given.device)))
        return
    measured: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        recipe = write_recipe(given, Path(folder))
        for what, glibc in (("memory", plan_memory.GLIBC), ("seconds", {})):
            words = ["--model", str(given.model), "--data", str(given.data), "--device", given.device]
            words += ["--recipe", str(recipe), "--work", what]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", **glibc}
            done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, env=environment)
            if done.returncode:
                raise RuntimeError(f"the measured run failed:\n{done.stderr[-3000:]}")
            measured |= json.loads(done.stdout.splitlines()[-1])
        said = planned(recipe, given.model, given.data, given.device)
    unit = {"memory": plan_memory.MIB}
    figures = {}
    for name, value in measured.items():
        scale = unit.get(name, 1)
        ratio = round(said[name] / value, 3)
        figures[name] = {"measured": round(value / scale, 2), "planned": round(said[name] / scale, 2), "ratio": ratio}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
