"""Real sampling and training on three architectures; what each side of the generation call gets to read."""

from pathlib import Path
from typing import Any

import pytest
import torch
import trainer_kit as kit
from transformers import AutoModelForCausalLM

HINT_IDS = {kit.WORDS.index(word) for word in (*kit.HINTS, "hint")}
SIZE = {"per_device_train_batch_size": 16, "max_steps": 3, "max_completion_length": 12, "learning_rate": 0.01}
GUIDED = {"num_guided_generations": 4, "alpha_form": "constant"}


class Seen:
    """What went into `generate`, into GRPO's forward, and into the distillation targets."""

    def __init__(self, trainer: Any):
        self.calls: list[torch.Tensor] = []
        self.unguided: list[list[int]] = []
        self.targets: list[Any] = []
        generate, compute = trainer.model.generate, trainer._compute_loss

        def watched_generate(**kwargs: Any) -> Any:
            self.calls.append(kwargs["input_ids"])
            return generate(**kwargs)

        def watched_compute(model: Any, inputs: dict[str, Any]) -> Any:
            self.unguided += inputs["prompt_ids"].tolist()
            self.targets += [t for slot in trainer._sgpo.slots for t in slot if t.weight > 0]
            return compute(model, inputs)

        trainer.model.generate, trainer._compute_loss = watched_generate, watched_compute


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("architecture", kit.ARCHITECTURES)
def test_trains_and_keeps_the_two_sides_apart(architecture: str, chat: bool, tied: bool, out: Path) -> None:
    model = kit.make_model(architecture, tied=tied, seed=2)
    before = kit.weights_of(model)
    data = kit.make_problems(8, chat=chat)
    trainer = kit.make_trainer(out, model=model, data=data, reward=kit.has_digit, **SIZE, **GUIDED)
    seen = Seen(trainer)
    trainer.train()

    after = kit.weights_of(model)
    assert all(tensor.isfinite().all() for tensor in after.values())
    assert kit.largest_gap(after, before) > 1e-3
    assert ("lm_head.weight" in after) != tied

    assert len(seen.calls) == 3, "one merged generation call for each generation batch"
    for ids in seen.calls:
        assert len(ids) == 16 + 4 * 4
        assert not HINT_IDS & set(ids[:16].flatten().tolist()), "a strategy in an autonomous prompt"
        assert all(kit.WORDS.index("hint") in row for row in ids[16:].tolist())
    assert not HINT_IDS & {token for ids in seen.unguided for token in ids}
    assert seen.targets
    check_targets(seen.targets, data, chat)


def check_targets(targets: list[Any], data: Any, chat: bool) -> None:
    """Each target's two prompts are those of one problem, rendered by hand, and its completion is correct."""
    guided_of = {}
    for row in data:
        text = row["prompt"][0]["content"] if chat else row["prompt"]
        prompts = [text, f"{text} hint {row['strategy']}"]
        plain, guided = (f"<user> {t} <end> <assistant>" if chat else t for t in prompts)
        guided_of[plain] = guided
    for target in targets:
        plain = " ".join(kit.decoded(target.prompt_ids))
        assert " ".join(kit.decoded(target.guided_prompt_ids)) == guided_of[plain]
        assert any(word.isdigit() for word in kit.decoded(target.completion_ids))


@pytest.mark.parametrize("tied", [True, False])
def test_saved_model_loads_and_equals_the_trained_one(tied: bool, out: Path) -> None:
    trainer = kit.make_trainer(out, model=kit.make_model(tied=tied), reward=kit.has_digit, **SIZE, **GUIDED)
    trainer.train()
    trainer.save_model(str(out / "final"))
    loaded = AutoModelForCausalLM.from_pretrained(out / "final", dtype=torch.float32).to(trainer.args.device)
    assert kit.largest_gap(kit.weights_of(loaded), kit.weights_of(trainer.model)) == 0.0
    ids = torch.tensor([[5, 6, 7]], device=trainer.args.device)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(input_ids=ids).logits, trainer.model.eval()(input_ids=ids).logits)


def test_system_and_earlier_turns_stay_as_they_are(out: Path) -> None:
    """Only the last user message takes the strategy."""
    turns = [("system", "a b"), ("user", "solve 1"), ("assistant", "2"), ("user", "solve 3")]
    prompt = [{"role": role, "content": text} for role, text in turns]
    data = kit.Dataset.from_dict({"prompt": [prompt] * 2, "strategy": ["carry", "carry"], "answer": ["ok"] * 2})
    trainer = kit.make_trainer(out, data=data, reward=kit.has_digit, max_steps=1)
    seen = Seen(trainer)
    trainer.train()
    head = "<system> a b <end> <user> solve 1 <end> <assistant> 2 <end> <user> solve 3"
    rows = [[word for word in kit.decoded(ids) if word != "<pad>"] for ids in seen.calls[0].tolist()]
    assert {" ".join(row) for row in rows[:8]} == {f"{head} <end> <assistant>"}
    assert {" ".join(row) for row in rows[8:]} == {f"{head} hint carry <end> <assistant>"}


def test_bfloat16(out: Path) -> None:
    trainer = kit.make_trainer(out, reward=kit.has_digit, **{**SIZE, **GUIDED, "bf16": True})
    recorder = kit.recorded(trainer)
    assert all(g.isfinite().all() for gradient in recorder.gradients for g in gradient.values())
    kl = [log["sgpo/kl"] for log in trainer.state.log_history if "sgpo/kl" in log]
    assert kl
    assert all(0 < value < 50 for value in kl)


@pytest.mark.usefixtures("scripted")
def test_bfloat16_gradient_is_near_the_float32_one(out: Path) -> None:
    gradients = []
    for bf16 in (False, True):
        trainer = kit.make_trainer(out, model=kit.make_model(seed=3), bf16=bf16, grpo_weight=0.0, max_steps=1)
        gradients.append(kit.recorded(trainer).gradients[0])
    assert 1e-4 < kit.largest_gap(gradients[1], gradients[0]) < 0.1  # measured 2e-2


@pytest.mark.parametrize(("g1", "g2", "stride"), [(8, 4, 4), (4, 2, 2), (4, 3, 1), (4, 4, 4)])
def test_servers_may_sample_each_run_of_equal_prompts_at_once(
    g1: int, g2: int, stride: int, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM's server mode takes every `num_generations`-th prompt and samples that many completions of it."""
    calls: list[tuple[list[list[int]], int]] = []

    def watching(self: Any, prompt_ids: Any, images: Any, fields: Any, num_generations: int) -> Any:
        calls.append((prompt_ids, num_generations))
        return kit.scripted_turn(self, prompt_ids, images, fields, num_generations)

    monkeypatch.setattr(kit.GRPOTrainer, "_generate_single_turn", watching)
    sizes = {"num_generations": g1, "num_guided_generations": g2, "per_device_train_batch_size": 2 * g1}
    kit.make_trainer(out, max_steps=1, **sizes).train()
    ((prompts, asked),) = calls
    assert asked == stride
    assert len(prompts) == 2 * (g1 + g2)
    assert [p for p in prompts[::stride] for _ in range(stride)] == prompts


@pytest.mark.usefixtures("scripted")
def test_unused_columns_may_be_dropped_but_not_the_strategy(out: Path) -> None:
    trainer = kit.make_trainer(out, remove_unused_columns=True, max_steps=1, alpha_form="constant")
    trainer.train()
    assert trainer.state.log_history[0]["sgpo/targets"] > 0
