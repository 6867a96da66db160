"""Trains every case of `CASES`, and evaluates, on the CPU and on another device; see test_trainer_device.py.

python device_worker.py DIRECTORY far      # a device that is pretended
python device_worker.py DIRECTORY cuda     # a GPU, with random numbers of its own
"""

import sys
import traceback
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import trainer_kit as kit
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, PrinterCallback, Qwen2ForCausalLM
from trl import GRPOTrainer

from sgpo import HPTConfig, HPTTrainer, LUFFYConfig, LUFFYTrainer, SGPOConfig, SGPOTrainer
from sgpo.lab.control import strategy_control
from sgpo.lab.model import load_base
from sgpo.lab.problems import load_problems
from sgpo.models.local import LocalModel
from sgpo.models.options import LocalOptions
from sgpo.models.protocol import Request, Sampling
from sgpo.report.tokens import token_view
from sgpo.strategies.likelihood import log_likelihood

EVALUATED = "evaluated"
DRAWN = ("sampled", "random targets")  # by random numbers of the device
EXPERTS = ["a b ok", "ok", "c ok", "1 2 ok"]
TWICE = {"num_iterations": 2, "steps_per_generation": 2, "per_device_train_batch_size": 4, "max_steps": 6}
GUIDED_GROUP = {"guided_grpo_weight": 1.0, "guided_rollouts": "always"}
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "sampled": {"sampled": True, "reward": kit.has_digit},
    "on demand, AdamW": {"guided_rollouts": "on_demand", "optim": "adamw_torch_fused", "max_grad_norm": 0.5},
    "by weight": {"guided_rollouts": "by_weight", "log_problems": True},
    "two trimmed targets": {"num_targets": 2, "target_selection": "trimmed", "num_guided_generations": 4},
    "random targets": {"target_selection": "random"},
    "own rollouts as targets": {"target_source": "autonomous"},
    "sft": {"distillation_loss": "sft"},
    "tolerance, chunks, mix": {"kl_gradient_tolerance": 0.3, "kl_chunk_size": 2, "teacher_mix": 0.5},
    "teacher with a biased head": {"teacher": "ema", "architecture": "phi"},
    "guided group, resumed": {**TWICE, **GUIDED_GROUP, "resumed": 3},
    "joined group": {**GUIDED_GROUP, "guided_grpo_group": "joined", "loss_type": "dapo"},
    "teacher, resumed": {"teacher": "ema", "optim": "adamw_torch", "max_steps": 4, "resumed": 2},
    "LoRA": {"lora": True, "teacher": "frozen"},
    "padding that counts": {"architecture": "gpt2"},
    "evaluation": {"evaluated": True, "eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 4},
    "LUFFY": {"kind": (LUFFYTrainer, LUFFYConfig)},
    "HPT": {"kind": (HPTTrainer, HPTConfig), "loss_type": "bnpo", "num_iterations": 2},
}


def trained(
    out: Path,
    device: str,
    *,
    sampled: bool = False,
    reward: Any = kit.has_ok,
    architecture: str = "qwen2",
    resumed: int = 0,
    lora: bool = False,
    evaluated: bool = False,
    kind: tuple[Any, Any] = (SGPOTrainer, SGPOConfig),
    **options: Any,
) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The losses and weights of a run; with ``resumed`` it is stopped behind this step, and goes on in a trainer of its
    own."""
    trainer_class, config_class = kind
    own = GRPOTrainer._generate_single_turn
    GRPOTrainer._generate_single_turn = own if sampled else kit.scripted_turn
    saved = {"save_strategy": "steps", "save_steps": resumed} if resumed else {}

    def make(folder: Path, **more: Any) -> Any:
        trainer = trainer_class(
            model=_gpt2() if architecture == "gpt2" else kit.make_model(architecture, tied=architecture != "phi"),
            reward_funcs=reward,
            args=kit.make_config(folder, config_class, use_cpu=device != "cuda", **options, **more),
            train_dataset=kit.make_problems().add_column("expert", EXPERTS),
            eval_dataset=kit.make_problems(3) if evaluated else None,
            processing_class=kit.make_tokenizer(),
            peft_config=LoraConfig(r=2, target_modules=["q_proj", "v_proj"]) if lora else None,
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    try:
        trainer = make(out, **saved)
        trainer.train()
        if resumed:
            trainer = make(out / "again")
            trainer.train(resume_from_checkpoint=str(out / f"checkpoint-{resumed}"))
    finally:
        GRPOTrainer._generate_single_turn = own
    assert {p.device.type for p in trainer.model.parameters()} == {device}
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return losses, {name: p.detach().cpu() for name, p in trainer.model.named_parameters()}


def evaluated(folder: Path, device: str) -> dict[str, Any]:
    """What a model, and the same with an adapter, answers and is measured by on a device."""
    tokenizer = kit.make_tokenizer()
    kit.make_model().save_pretrained(folder / "base")
    base = Qwen2ForCausalLM.from_pretrained(folder / "base")  # by its name the adapter finds it again
    torch.manual_seed(0)
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(folder / "adapter")
    tokenizer.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "adapter")
    found: dict[str, Any] = {}
    for name in ("base", "adapter"):
        local = LocalModel.load(str(folder / name), Sampling(1.0, 0.9, 12), LocalOptions(device=device))
        assert str(local.model.device) == device
        asked = [Request(str(i // 3), i, text, i) for i, text in enumerate(["solve a"] * 3 + ["solve b c"] * 3)]
        found[name] = [reply.text for reply in local.replies(asked)]
        found[f"{name}, answer"] = log_likelihood(local, [{"role": "user", "content": "solve"}], "a b ok")
        view = token_view(local.model, tokenizer, "solve a", "solve a hint carry", "a b ok")
        found[f"{name}, tokens"] = [row["kl"] for row in view]
    model, words = load_base()
    control = strategy_control(model.to(device), words, load_problems("train")[:8])
    return {**found, "control": None if control is None else control.own_kl}


def _gpt2() -> GPT2LMHeadModel:
    """It takes the column for the position, so that its rows are shifted."""
    torch.manual_seed(0)
    size = {"vocab_size": len(kit.WORDS), "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
    ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    return GPT2LMHeadModel(GPT2Config(**size, **ids, initializer_range=0.5))


def main(directory: Path, device: str) -> None:
    there: Any = nullcontext
    if device == "far":
        from far_device import far_device as there
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    warnings.filterwarnings("error", message=".*without explicitly specifying which devices")
    found: dict[str, Any] = {}
    for name, options in CASES.items():
        try:
            here = trained(directory / name / "cpu", "cpu", **options)
            with there():
                found[name] = here, trained(directory / name / device, device, **options)
        except Exception:
            found[name] = traceback.format_exc()
    try:
        here = evaluated(directory / "cpu", "cpu")
        with there():
            found[EVALUATED] = here, evaluated(directory / device, f"{device}:0")
    except Exception:
        found[EVALUATED] = traceback.format_exc()
    torch.save(found, directory / "found.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
