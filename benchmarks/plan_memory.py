"""Is the memory that `sgpo plan` predicts the memory that a step takes? Measured in float32, on a CPU or a GPU.

    python benchmarks/plan_memory.py                  # all shapes, a few minutes on one core
    python benchmarks/plan_memory.py --only small     # one
    python benchmarks/plan_memory.py --device cuda

Each shape is a recipe with a model folder beside it (config.json only). The plan reads both. A process of its own makes
the same model with random weights, trains it for two steps (the second has optimizer states) through `SGPOTrainer` from
that recipe, and reports the highest resident memory above what a finished tiny run had left: libraries, interpreter,
caches. Completions run to their full length and prompts differ in length by one, so that rows are padded and masked.
glibc is told to give freed blocks of 64 KiB and more back at once; otherwise its caches would be measured too. On a GPU
it is the highest sum that torch's allocator gave out, compared with the plan without the CUDA context.

The last line is one JSON object: for each shape `measured_mib`, `planned_mib` and `ratio`, and over all
`worst` = max |ratio - 1|.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import device
import yaml
from device import MIB

if TYPE_CHECKING:
    from sgpo.plan.hardware import Hardware
    from sgpo.plan.memory import Memory

GLIBC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
ENVIRONMENT = {**GLIBC, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


def shape(
    vocabulary: int, hidden: int, layers: int, heads: int, kv: int, lengths: tuple[int, int, int], **other: Any
) -> dict[str, Any]:
    """Sizes of a model; lengths of prompt, strategy and completion; rollouts of a micro-step, micro-steps, options."""
    intermediate = (hidden * 8 // 3 + 63) // 64 * 64
    sizes = {"vocab_size": vocabulary, "hidden_size": hidden, "num_hidden_layers": layers}
    sizes |= {"num_attention_heads": heads, "num_key_value_heads": kv, "intermediate_size": intermediate}
    sizes |= {"tie_word_embeddings": other.pop("tied", True), "max_position_embeddings": 4096}
    return {"sizes": sizes, "lengths": lengths, "rows": 8, "accumulation": 1, "options": {}, **other}


LORA = {"use_peft": True, "lora_r": 16, "lora_target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj"]}
SHAPES: dict[str, dict[str, Any]] = {
    "small": shape(32000, 128, 4, 4, 2, (24, 12, 24)),
    "long": shape(2000, 256, 12, 4, 2, (256, 64, 32)),
    "checkpointed": shape(8000, 512, 8, 8, 2, (256, 64, 32), options={"activation_checkpointing": True}),
    "lora": shape(4000, 256, 8, 4, 2, (128, 32, 8), options=LORA),
    "vocabulary": shape(152000, 256, 4, 4, 2, (16, 8, 8), rows=4),
    "untied": shape(32000, 512, 4, 8, 8, (16, 8, 8), tied=False, rows=4),
    "rollouts": shape(1000, 256, 8, 4, 4, (64, 64, 16), rows=4, accumulation=8),
    "large": shape(32000, 768, 12, 12, 4, (12, 8, 4), rows=4),  # 105M parameters
}


def write_recipe(name: str, folder: Path, where: str) -> Path:
    """The recipe of a shape, and the config of its model."""
    spec = SHAPES[name]
    model = folder / "model"
    model.mkdir()
    ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    config = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], **spec["sizes"], **ids}
    (model / "config.json").write_text(json.dumps(config))
    length = spec["lengths"][2]
    recipe = {
        "model_name_or_path": str(model),
        "dataset_name": "made by the benchmark",
        "output_dir": str(folder / "run"),
        "dtype": "float32",
        "guided_prompt_template": "{prompt} {strategy}",
        "max_completion_length": length,
        "generation_kwargs": {"min_new_tokens": length},
        "num_generations": 4,
        "num_guided_generations": 2,
        "per_device_train_batch_size": spec["rows"],
        "gradient_accumulation_steps": spec["accumulation"],
        "alpha_form": "constant",  # every problem has a target
        "max_steps": 2,
        "activation_checkpointing": False,
        "use_cpu": where == "cpu",
        "bf16": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        **spec["options"],
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def planned(name: str, recipe: Path, where: str) -> tuple[float, str]:
    """Bytes of the largest phase, and its name."""
    from sgpo.plan import plan_recipe
    from sgpo.plan.assumptions import Assumptions

    prompt, strategy, _ = SHAPES[name]["lengths"]
    assumptions = Assumptions(prompt_tokens=prompt, strategy_tokens=strategy)
    memory = plan_recipe(["--config", str(recipe)], machine(where), assumptions=assumptions).memory
    return allocated(memory, where), memory.peak_phase


def machine(where: str) -> Hardware:
    """One device of this machine, as `sgpo plan` knows it."""
    from sgpo.plan.hardware import parse_hardware

    return parse_hardware("cpu") if where == "cpu" else replace(parse_hardware(None), per_node=1)


def allocated(memory: Memory, where: str) -> float:
    """Bytes of the largest phase that are measured here; torch's allocator knows nothing of the CUDA context."""
    return memory.peak - (memory.phases[memory.peak_phase]["runtime"] if where == device.CUDA else 0.0)


def train(recipe: Path, lengths: tuple[int, int, int]) -> None:
    """Two steps of the recipe on a model with random weights."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
    from trl import get_peft_config

    from sgpo import SGPOTrainer
    from sgpo.recipe import parse

    _, config, model_arguments = parse(["--config", str(recipe)])
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model_arguments.model_name_or_path))
    special = ["<pad>", "<eos>", "<unk>"]
    words = {word: i for i, word in enumerate([*special, *(f"w{i}" for i in range(500))])}
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, padding_side="left", **names)

    def text(i: int, tokens: int) -> str:
        return " ".join(f"w{(7 * i + j) % 500}" for j in range(tokens))

    prompt, strategy, _ = lengths
    count = config.per_device_train_batch_size * config.gradient_accumulation_steps // config.num_generations * 2
    rows = [{"prompt": text(i, prompt - i % 2), "strategy": text(i + 1, strategy)} for i in range(count)]

    def every_other(completions: list[Any], **_: Any) -> list[float]:
        return [float(i % 2) for i in range(len(completions))]

    data = Dataset.from_list(rows)
    peft = get_peft_config(model_arguments)
    SGPOTrainer(model, every_other, config, data, processing_class=tokenizer, peft_config=peft).train()


def work(name: str, folder: Path, where: str) -> dict[str, float]:
    """In a process of its own: bytes of the highest memory above what a tiny run has left."""
    import gc
    import warnings

    import torch
    import transformers

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    SHAPES["tiny"] = shape(600, 32, 2, 2, 1, (8, 4, 4), rows=4, options=SHAPES[name]["options"])
    for part in ("tiny", name):
        (folder / f"{part}_run").mkdir()
    train(write_recipe("tiny", folder / "tiny_run", where), SHAPES["tiny"]["lengths"])
    recipe = write_recipe(name, folder / f"{name}_run", where)
    gc.collect()
    before = device.reset_peak(where)
    train(recipe, SHAPES[name]["lengths"])
    return {"measured": device.read_peak(where) - before}


def compare(name: str, where: str) -> dict[str, Any]:
    """Measured and planned peak of one shape."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--work", name, "--folder", folder, "--device", where]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **ENVIRONMENT})
        if done.returncode:
            raise RuntimeError(f"{name}: the measured run failed:\n{done.stderr[-2000:]}")
        measured = json.loads(done.stdout.splitlines()[-1])["measured"]
        (Path(folder) / "plan").mkdir()
        peak, phase = planned(name, write_recipe(name, Path(folder) / "plan", where), where)
    return {
        "measured_mib": round(measured / MIB, 1),
        "planned_mib": round(peak / MIB, 1),
        "ratio": round(peak / measured, 3),
        "phase": phase,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SHAPES, default=list(SHAPES))
    device.add_option(parser)
    parser.add_argument("--work", choices=SHAPES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        print(json.dumps(work(args.work, args.folder, args.device)))
        return
    print(f"{'shape':<14}{'measured':>10}{'planned':>10}  planned / measured, largest phase (MiB)")
    results: dict[str, Any] = {}
    for name in args.only:
        r = results[name] = compare(name, args.device)
        print(f"{name:<14}{r['measured_mib']:>10}{r['planned_mib']:>10}  {r['ratio']:.3f}  {r['phase']}", flush=True)
    worst = max(abs(r["ratio"] - 1) for r in results.values())
    print(json.dumps({**results, "worst": round(worst, 3)}))


if __name__ == "__main__":
    main()
