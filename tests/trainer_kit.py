"""Tiny tokenizers, models, data and trainers that the trainer's tests share.

`scripted_turn` replaces sampling by completions that depend on the prompt and on nothing else, so that runs that
differ in batch layout, world size or objective see the same rollouts, and an oracle can name them.
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    TrainerCallback,
)
from trl import GRPOConfig, GRPOTrainer

from sgpo import SGPOConfig, SGPOTrainer
from sgpo.trainer.shards import whole

SPECIAL = ("<pad>", "<eos>", "<unk>")
PLAIN = ("no", *"abcdefgh", *map(str, range(10)))  # what a scripted completion is made of, beside "ok"
ROLES = ("<user>", "<assistant>", "<system>", "<end>")
HINTS = ("carry", "borrow", "shift", "split")
WORDS = (*SPECIAL, "ok", *PLAIN, *ROLES, *HINTS, "solve", "hint")
TEMPLATE = "{prompt} hint {strategy}"
CHAT = (
    "{% for m in messages %}{{ '<' + m['role'] + '> ' + m['content'] + ' <end> ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant> ' }}{% endif %}"
)
ARCHITECTURES: dict[str, tuple[type, type]] = {
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "llama": (LlamaConfig, LlamaForCausalLM),
}
BIASED_HEAD = (PhiConfig, PhiForCausalLM)


def make_tokenizer() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )
    tokenizer.chat_template = CHAT
    return tokenizer


def make_model(
    architecture: str = "qwen2", *, tied: bool = True, seed: int = 0, dtype: torch.dtype = torch.float32, **config: Any
) -> PreTrainedModel:
    """Random weights large enough for peaked distributions, so that a strategy moves them by more than a nat."""
    config_class, model_class = {**ARCHITECTURES, "phi": BIASED_HEAD}[architecture]
    size = {"vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64}
    ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    torch.manual_seed(seed)
    built = model_class(
        config_class(**{**size, **heads, **ids, "tie_word_embeddings": tied, "initializer_range": 0.5, **config})
    )
    return _exact(built.to(dtype)) if dtype == torch.float64 else built


def _exact(model: PreTrainedModel) -> PreTrainedModel:
    """Hugging Face computes RMS norms and rotary angles in float32 whatever the dtype; do them in float64."""

    def norm(self: Any, hidden: Tensor) -> Tensor:
        return self.weight * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    def rotary(self: Any, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        angles = position_ids[..., None].double() * self.inv_freq.double()
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos(), angles.sin()

    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = MethodType(norm, module)
        elif type(module).__name__.endswith("RotaryEmbedding"):
            module.forward = MethodType(rotary, module)
    return model


def make_problems(count: int = 4, *, strategies: Sequence[str | None] | None = None, chat: bool = False) -> Dataset:
    """Prompts of different length; the default strategies are one word or two."""
    if strategies is None:
        strategies = [" ".join(HINTS[i % 4 :][: 1 + i % 2]) for i in range(count)]
    texts = ["solve " + " ".join(PLAIN[(7 * i + j) % len(PLAIN)] for j in range(1 + i % 3)) for i in range(count)]
    prompts: list[Any] = [[{"role": "user", "content": text}] for text in texts] if chat else texts
    return Dataset.from_dict({"prompt": prompts, "strategy": list(strategies), "answer": ["ok"] * count})


def has_ok(completions: list[Any], **kwargs: Any) -> list[float]:
    """1 for a completion that says "ok"."""
    texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
    return [1.0 if "ok" in text.split() else 0.0 for text in texts]


EASY = ("borrow", "split")


def easy_or_ok(completions: list[Any], strategy: list[str | None], **kwargs: Any) -> list[float]:
    """As `has_ok`, but every second problem of `make_problems` is solved whatever is said."""
    verdicts = zip(has_ok(completions), strategy, strict=True)
    return [max(verdict, float((hint or "").startswith(EASY))) for verdict, hint in verdicts]


def has_digit(completions: list[Any], **kwargs: Any) -> list[float]:
    """Correct often enough for an untrained model that really samples."""
    texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
    return [float(any(word.isdigit() for word in text.split())) for text in texts]


def script(prompt_ids: Sequence[int], copy: int, longest: int) -> list[int]:
    """The `copy`-th rollout behind a prompt; guided ones are correct more often."""
    rng = random.Random(f"{tuple(prompt_ids)} {copy}")
    ids = [WORDS.index(rng.choice(PLAIN)) for _ in range(rng.randint(2, longest - 1))]
    if rng.random() < (0.8 if WORDS.index("hint") in prompt_ids else 0.35):
        ids[rng.randrange(len(ids))] = WORDS.index("ok")
    return [*ids, WORDS.index("<eos>")] if rng.random() < 0.7 else ids


def scripted_turn(
    self: GRPOTrainer, prompt_ids: list[list[int]], images: Any, fields: Any, num_generations: int, *args: Any
) -> tuple[list[list[int]], None]:
    """In place of `GRPOTrainer._generate_single_turn`."""
    seen: Counter[tuple[int, ...]] = Counter()
    completions = []
    for ids in prompt_ids:
        completions.append(script(ids, seen[tuple(ids)], self.max_completion_length))
        seen[tuple(ids)] += 1
    return completions, None


def make_config(output_dir: Path | str, config_class: type = SGPOConfig, **options: Any) -> Any:
    """Two problems of 4 + 2 rollouts a step, plain SGD, no clipping of the gradient's norm, no checkpoints."""
    shared = {
        "output_dir": str(output_dir),
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 8,
        "max_steps": 2,
        "learning_rate": 0.05,
        "lr_scheduler_type": "constant",
        "optim": "sgd",
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        # tests/conftest.py hides GPUs unless they are asked for; NCCL takes no two ranks on one.
        "use_cpu": torch.cuda.device_count() < int(os.environ.get("WORLD_SIZE", "1")),
        "bf16": False,
        "gradient_checkpointing": False,
        "shuffle_dataset": False,
        "disable_tqdm": True,
        "epsilon_high": 0.28,
    }
    guided = {"num_guided_generations": 2, "guided_prompt_template": TEMPLATE} if config_class is SGPOConfig else {}
    return config_class(**{**shared, **guided, **options})


def make_trainer(
    output_dir: Path | str,
    *,
    model: Any = None,
    data: Any = None,
    reward: Any = has_ok,
    tokenizer: Any = None,
    trainer_class: type = SGPOTrainer,
    arguments: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """A trainer of `make_config(**options)`; `arguments` go to the trainer itself."""
    config_class = SGPOConfig if issubclass(trainer_class, SGPOTrainer) else GRPOConfig
    return trainer_class(
        model=make_model() if model is None else model,
        reward_funcs=reward,
        args=make_config(output_dir, config_class, **options),
        train_dataset=make_problems() if data is None else data,
        processing_class=make_tokenizer() if tokenizer is None else tokenizer,
        **(arguments or {}),
    )


class Recorder(TrainerCallback):
    """Gradients of every optimizer step, and the weights before it."""

    def __init__(self) -> None:
        self.gradients: list[dict[str, Tensor]] = []
        self.weights: list[dict[str, Tensor]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        trained = {n.removeprefix("module."): p for n, p in model.named_parameters() if p.requires_grad}
        self.gradients.append({n: whole(p.grad.detach()).cpu().clone() for n, p in trained.items()})
        self.weights.append({n: whole(p.detach()).cpu().clone() for n, p in trained.items()})


def recorded(trainer: Any) -> Recorder:
    """Train, and return what a `Recorder` saw."""
    recorder = Recorder()
    trainer.add_callback(recorder)
    trainer.train()
    return recorder


def weights_of(model: Any) -> dict[str, Tensor]:
    """Copies by name; under FSDP2, whole ones, and every rank takes part."""
    return {name.removeprefix("module."): whole(p.detach()).cpu().clone() for name, p in model.named_parameters()}


def largest_gap(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    """Largest absolute difference, relative to the largest absolute value on the right."""
    assert left.keys() == right.keys()
    size = max(float(t.abs().max()) for t in right.values())
    return max(float((left[n].double().cpu() - right[n].double().cpu()).abs().max()) for n in right) / max(size, 1e-30)


def decoded(ids: Sequence[int]) -> list[str]:
    return [WORDS[i] for i in ids]


Reward = Callable[..., Any]
