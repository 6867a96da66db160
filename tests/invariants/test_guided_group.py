"""GRPO on the guided group: against the equation by hand, and against TRL's trainer on the guided prompts.

Where every other term is off, a step must be that of trl.GRPOTrainer on a data set whose prompts are the guided ones,
with G2 rollouts each. The scripted rollouts depend on the prompt alone, so that both see the same ones.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import trainer_kit as kit
from datasets import Dataset
from peft import LoraConfig
from test_trainer_oracle import FLOAT32, gradient_of, log_probs, oracle, step
from torch import Tensor
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM
from trl import GRPOTrainer

from sgpo.trainer import guided, sgpo_trainer
from sgpo.trainer.guided_group import GuidedGroupTrainer

OK = kit.WORDS.index("ok")
# The entropy bonus is the autonomous group's: with that group it must be gone.
OFF = {"alpha_form": "constant", "alpha_0": 0.0, "grpo_weight": 0.0, "entropy_coef": 0.5}
WHOLE = {"per_device_train_batch_size": 16, "num_guided_generations": 4}


def by_hand(model: Any, data: Any) -> Tensor:
    """DAPO's token mean over all guided rollouts, at a ratio of 1: the sum of -A log pi(y_t | q, s, y_<t) over T."""
    tokenizer, total, tokens = kit.make_tokenizer(), torch.zeros((), dtype=torch.float64), 0
    for row in data:
        guided = tokenizer(f"{row['prompt']} hint {row['strategy']}")["input_ids"]
        group = [kit.script(guided, k, 8) for k in range(4)]
        rewards = torch.tensor([float(OK in y) for y in group], dtype=torch.float64)
        advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
        for y, advantage in zip(group, advantages, strict=True):
            rows = log_probs(model, guided, y, 1.0)
            tokens += len(y)
            total = total - advantage * sum(rows[t, token] for t, token in enumerate(y))
    return total / tokens


@pytest.mark.parametrize(("architecture", "tied"), [("qwen2", True), ("llama", False)])
@pytest.mark.usefixtures("scripted")
def test_step_equals_the_equation(architecture: str, tied: bool, out: Path) -> None:
    """The whole step: TRL's GRPO, half of the guided group's by hand, and the distillation by the oracle."""
    model = kit.make_model(architecture, tied=tied, dtype=torch.float64, seed=3)
    data = kit.make_problems(4)
    ours, _, _ = step(out, model, data, guided_grpo_weight=0.5, **WHOLE)
    plain, _, _ = step(out, model, data, trainer_class=GRPOTrainer, per_device_train_batch_size=16)
    distillation, _ = oracle(model, model, data, [0, 1, 2, 3], {"num_guided_generations": 4})
    wanted = gradient_of(0.5 * by_hand(model, data) + distillation, model)
    added = {n: g - plain.gradients[0][n] for n, g in ours.gradients[0].items()}
    assert kit.largest_gap(added, wanted) < FLOAT32
    alone, _, _ = step(out, model, data, guided_grpo_weight=2.0, **OFF, **WHOLE)
    assert kit.largest_gap(alone.gradients[0], gradient_of(2 * by_hand(model, data), model)) < FLOAT32


def joined_by_hand(model: Any, data: Any) -> Tensor:
    """OC-GRPO of a batch: one group of 4 + 4 rollouts, the guided ones with pi(y_t | q) / pi_old(y_t | q, s)."""
    tokenizer, total, tokens = kit.make_tokenizer(), torch.zeros((), dtype=torch.float64), 0
    for row in data:
        plain = tokenizer(row["prompt"])["input_ids"]
        guided = tokenizer(f"{row['prompt']} hint {row['strategy']}")["input_ids"]
        group = [(prompt, kit.script(prompt, k, 8)) for prompt in (plain, guided) for k in range(4)]
        rewards = torch.tensor([float(OK in y) for _, y in group], dtype=torch.float64)
        advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
        for (sampled_from, y), advantage in zip(group, advantages, strict=True):
            now = log_probs(model, plain, y, 1.0)
            with torch.no_grad():
                then = log_probs(model, sampled_from, y, 1.0)
            tokens += len(y)
            for t, token in enumerate(y):
                ratio = (now[t, token] - then[t, token]).exp()
                total = total - torch.min(ratio * advantage, ratio.clamp(0.8, 1.28) * advantage)
    return total / tokens


@pytest.mark.parametrize("layout", [{}, {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}])
@pytest.mark.usefixtures("scripted")
def test_joined_group_equals_the_equation(layout: dict[str, int], out: Path) -> None:
    model, data = kit.make_model(dtype=torch.float64, seed=3), kit.make_problems(4)
    options = {**WHOLE, "alpha_0": 0.0, "guided_grpo_weight": 1.0, "guided_grpo_group": "joined", **layout}
    ours, loss, trainer = step(out, model, data, **options)
    wanted = joined_by_hand(model, data)
    assert loss == pytest.approx(float(wanted.detach()), rel=1e-5)
    # A ratio of two float32 log-probabilities that differ; measured: 5e-7.
    assert kit.largest_gap(ours.gradients[0], gradient_of(wanted, model)) < 3 * FLOAT32
    assert 0 < trainer.state.log_history[0]["sgpo/guided_clip_fraction"] < 1


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.usefixtures("scripted")
def test_rows_that_fill_up_a_rank_are_in_no_clip_fraction(
    level: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for fill in (0, 3):
        for module in (guided, sgpo_trainer):
            monkeypatch.setattr(module, "largest", lambda accelerator, count, fill=fill: count + fill)
        options = {**WHOLE, "alpha_0": 0.0, "guided_grpo_weight": 1.0, "guided_grpo_group": "joined"}
        model, data = kit.make_model(dtype=torch.float64, seed=3), kit.make_problems(4)
        _, _, trainer = step(out, model, data, **options, epsilon=0.01, importance_sampling_level=level)
        found.append(trainer.state.log_history[0]["sgpo/guided_clip_fraction"])
    assert found[0] > 0
    assert found[1] == pytest.approx(found[0], rel=1e-5)


CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "accumulation": {"gradient_accumulation_steps": 4, "per_device_train_batch_size": 4},
    "iterations, clips": {"num_iterations": 2, "max_steps": 4, "learning_rate": 0.3},
    "grpo": {"loss_type": "grpo", "scale_rewards": "none"},
    "dr_grpo": {"loss_type": "dr_grpo", "scale_rewards": "batch", "gradient_accumulation_steps": 2},
    "adapters, sequence ratio, reference": {
        "importance_sampling_level": "sequence",
        "beta": 0.1,
        "num_iterations": 2,
        "learning_rate": 0.3,
        "arguments": {"peft_config": LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False)},
    },
    "cispo, cut off": {"loss_type": "cispo", "epsilon_high": 2.0, "mask_truncated_completions": True},
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("scripted")
def test_it_is_trl_on_the_guided_prompts(name: str, out: Path) -> None:
    options = {"per_device_train_batch_size": 16, **CASES[name]}
    data = kit.make_problems(8)
    guided = Dataset.from_dict({"prompt": [f"{row['prompt']} hint {row['strategy']}" for row in data]})

    def run(**arguments: Any) -> tuple[kit.Recorder, list[dict[str, Any]]]:
        model = kit.make_model(dtype=torch.float64, seed=3)  # seeds the adapters, too
        trainer = kit.make_trainer(out, model=model, **arguments)
        return kit.recorded(trainer), trainer.state.log_history[:-1]

    ours, logs = run(data=data, guided_grpo_weight=1.0, **{**OFF, **WHOLE, **options})
    theirs, wanted = run(data=guided, trainer_class=GRPOTrainer, **options)
    assert max(float(g.abs().max()) for g in theirs.gradients[0].values()) > 1e-4
    for left, right in zip(ours.gradients, theirs.gradients, strict=True):
        assert kit.largest_gap(left, right) < FLOAT32
    if "clips" in name:
        assert max(log["clip_ratio/region_mean"] for log in wanted) > 0
    if (
        "gradient_accumulation_steps" not in options
    ):  # TRL's entropy is a mean over micro-steps, so it knows how they were cut
        entropies = [log["entropy"] for log in wanted]
        assert [log["sgpo/guided_entropy"] for log in logs] == pytest.approx(entropies, rel=1e-4)


@pytest.mark.usefixtures("scripted")
def test_a_sampler_of_its_own_is_corrected_for(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with vLLM: the sampler's log-probabilities differ, and the ratio to it is TRL's on the guided rows, too."""

    def turn(self: Any, prompt_ids: Any, *args: Any) -> tuple[list[list[int]], list[list[float]]]:
        completions, _ = kit.scripted_turn(self, prompt_ids, *args)
        return completions, [[-2.0 - 0.1 * i for i in range(len(ids))] for ids in completions]

    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", turn)
    data = kit.make_problems(4)
    guided = Dataset.from_dict({"prompt": [f"{row['prompt']} hint {row['strategy']}" for row in data]})
    options = {"per_device_train_batch_size": 16, "max_steps": 1, "vllm_importance_sampling_mode": "token_truncate"}
    gradients = []
    for more in (
        {"data": data, "guided_grpo_weight": 1.0, **OFF, **WHOLE},
        {"data": guided, "trainer_class": GRPOTrainer},
    ):
        trainer = kit.make_trainer(out, model=kit.make_model(dtype=torch.float64, seed=3), **{**options, **more})
        trainer.use_vllm = True  # for the loss; the completions are scripted
        gradients.append(kit.recorded(trainer).gradients[0])
        assert ("sampling/importance_sampling_ratio/max" in trainer.state.log_history[0]) is True
    assert kit.largest_gap(*gradients) < FLOAT32


@pytest.mark.usefixtures("scripted")
def test_autonomous_metrics_know_nothing_of_the_guided_group(out: Path) -> None:
    logs = []
    for weight in (0.0, 1.0):
        trainer = kit.make_trainer(out, guided_grpo_weight=weight, max_steps=1, entropy_coef=0.01)
        trainer.train()
        assert len(trainer._logs["prompt"]) == 8
        logs.append({k: v for k, v in trainer.state.log_history[0].items() if "time" not in k})
    for name in logs[0].keys() - {"loss", "grad_norm"}:
        assert logs[0][name] == logs[1][name], name
    assert logs[1].keys() - logs[0].keys() == {"sgpo/guided_entropy", "sgpo/guided_clip_fraction"}


def mixture_of_experts() -> Qwen3MoeForCausalLM:
    size = {"vocab_size": len(kit.WORDS), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64}
    experts = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2, "output_router_logits": True}
    ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    torch.manual_seed(3)
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**size, **heads, **experts, **ids, initializer_range=0.5))


@pytest.mark.usefixtures("scripted")
def test_a_mixture_of_experts_balances_its_load_once(out: Path) -> None:
    """The auxiliary loss adds to a step what it adds to one of TRL's, whatever else is trained on."""

    def added(**options: Any) -> dict[str, Tensor]:
        steps = []
        for coefficient in (0.5, 0.0):
            options |= {"max_steps": 1, "router_aux_loss_coef": coefficient, **WHOLE}
            if options.get("trainer_class") is GRPOTrainer:
                del options["num_guided_generations"]
            steps.append(kit.recorded(kit.make_trainer(out, model=mixture_of_experts(), **options)).gradients[0])
        return {name: gradient - steps[1][name] for name, gradient in steps[0].items()}

    wanted = added(trainer_class=GRPOTrainer)
    assert max(float(g.abs().max()) for g in wanted.values()) > 1e-3
    for options in ({}, {"guided_grpo_weight": 1.0}, {"guided_grpo_weight": 1.0, "guided_grpo_group": "joined"}):
        assert kit.largest_gap(added(**options), wanted) < 5e-5  # of gradients in float32


@pytest.mark.usefixtures("scripted")
def test_problems_without_a_strategy_count_as_zero(out: Path) -> None:
    """A mean over all problems: the same two guided groups weigh half in a batch of four."""
    model = kit.make_model(dtype=torch.float64, seed=3)
    two = kit.make_problems(2)
    four = kit.make_problems(4, strategies=[*two["strategy"], None, ""])
    for loss_type in ("dapo", "grpo"):
        more = {"num_guided_generations": 4, "guided_grpo_weight": 1.0, "loss_type": loss_type, **OFF}
        whole, _, _ = step(out, model, two, **more)
        half, _, _ = step(out, model, four, **{**more, "per_device_train_batch_size": 16})
        doubled = {name: 2 * g for name, g in half.gradients[0].items()}
        assert kit.largest_gap(doubled, whole.gradients[0]) < FLOAT32


OPTIONS_OFF = {"guided_grpo_weight": 0.0, "num_targets": 1, "teacher_temperature": 1.0, "teacher_mix": 0.0}


@pytest.mark.usefixtures("scripted")
def test_off_is_sgpo_as_published_to_the_bit(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each option off, by default or by name, runs none of its code, and the same numbers as ever in the rest."""
    by_default = kit.recorded(kit.make_trainer(out, num_guided_generations=4))

    def never(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("an option that is off was used")

    monkeypatch.setattr(sgpo_trainer, "first_of_equals", never)
    monkeypatch.setattr(sgpo_trainer, "trimmed_logps", never)
    monkeypatch.setattr(Tensor, "lerp_", never)  # what mixes a target
    for name in ("_scored", "_apart"):
        monkeypatch.setattr(GuidedGroupTrainer, name, never)
    by_name = kit.recorded(kit.make_trainer(out, num_guided_generations=4, **OPTIONS_OFF))
    for left, right in zip(by_name.gradients, by_default.gradients, strict=True):
        assert kit.largest_gap(left, right) == 0.0


@pytest.mark.usefixtures("scripted")
def test_without_any_strategy_it_is_grpo_to_the_bit(out: Path) -> None:
    data = kit.make_problems(4, strategies=[None] * 4)
    ours = kit.recorded(kit.make_trainer(out, data=data, guided_grpo_weight=1.0))
    plain = kit.recorded(kit.make_trainer(out, data=data, trainer_class=GRPOTrainer))
    for left, right in zip(ours.gradients, plain.gradients, strict=True):
        assert kit.largest_gap(left, right) == 0.0
