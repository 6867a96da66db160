"""LoRA: only adapters are trained and kept twice; dropout never reaches the guided side."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import trainer_kit as kit
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file
from transformers import BitsAndBytesConfig, GenerationMixin

from sgpo.models.folders import QUANTIZATION
from sgpo.models.local import LocalModel
from sgpo.models.options import LocalOptions
from sgpo.models.protocol import ModelError, Sampling
from sgpo.trainer.distillation import Target, collate
from sgpo.trainer.methods import KINDS

SHARED: dict[str, Any] = {"per_device_train_batch_size": 16, "optim": "adamw_torch", "learning_rate": 0.02}


def lora(**options: Any) -> LoraConfig:
    return LoraConfig(**{"r": 2, "target_modules": ["q_proj", "v_proj", "down_proj"], **options})


def make(out: Path, *, adapter: LoraConfig | None = None, seed: int = 3, **options: Any) -> Any:
    arguments = {"peft_config": adapter or lora()}
    data = kit.make_problems(8)
    return kit.make_trainer(
        out, model=kit.make_model(seed=seed), data=data, arguments=arguments, **{**SHARED, **options}
    )


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.usefixtures("scripted")
def test_only_adapters_learn(checkpointing: bool, out: Path) -> None:
    trainer = make(out, grpo_weight=0.0, gradient_checkpointing=checkpointing)
    before = kit.weights_of(trainer.model)
    gradients = kit.recorded(trainer).gradients
    after = kit.weights_of(trainer.model)
    assert gradients[0]
    assert all("lora_" in name for name in gradients[0])
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved
    assert all("lora_" in name for name in moved)


@pytest.mark.usefixtures("scripted")
def test_checkpointing_changes_no_gradient(out: Path) -> None:
    plain, saved = (kit.recorded(make(out, gradient_checkpointing=on)).gradients for on in (False, True))
    for left, right in zip(plain, saved, strict=True):
        assert kit.largest_gap(left, right) == 0.0


@pytest.mark.usefixtures("scripted")
def test_adapter_gradient_equals_that_of_merged_weights(out: Path) -> None:
    """d loss / d B = (alpha / r) * d loss / d W A^T, from a run that trains W itself."""
    adapter = lora(target_modules=["down_proj"])
    trainer = make(out, adapter=adapter, max_steps=1)
    factors = kit.weights_of(trainer.model)
    ours = kit.recorded(trainer).gradients[0]
    whole = kit.make_trainer(out, model=kit.make_model(seed=3), data=kit.make_problems(8), max_steps=1, **SHARED)
    full = kit.recorded(whole).gradients[0]
    for layer in (0, 1):
        name = f"model.layers.{layer}.mlp.down_proj"
        a = factors[f"base_model.model.{name}.lora_A.default.weight"]
        wanted = adapter.lora_alpha / adapter.r * full[f"{name}.weight"] @ a.T
        got = ours[f"base_model.model.{name}.lora_B.default.weight"]
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("teacher", ["ema", "frozen"])
def test_teacher_costs_only_adapters_and_survives_an_interruption(teacher: str, tmp_path: Path) -> None:
    options = {"teacher": teacher, "max_steps": 4, "alpha_form": "constant", "reward": kit.has_digit}
    whole = make(tmp_path / "whole", **options)
    whole.train()
    first = make(tmp_path / "parts", save_strategy="steps", save_steps=2, **{**options, "max_steps": 2})
    first.train()
    kept = load_file(tmp_path / "parts" / "checkpoint-2" / "sgpo_teacher.safetensors")
    trained = {name for name, p in first.model.named_parameters() if p.requires_grad}
    assert kept.keys() == trained
    second = make(tmp_path / "parts", save_strategy="no", **options)
    second.train(resume_from_checkpoint=str(tmp_path / "parts" / "checkpoint-2"))
    assert kit.largest_gap(kit.weights_of(second.model), kit.weights_of(whole.model)) == 0.0
    assert sum(log.get("sgpo/targets", 0) for log in second.state.log_history if log["step"] > 2) > 0


@pytest.mark.usefixtures("scripted")
def test_dropout_reaches_the_student_but_not_the_teacher(out: Path) -> None:
    trainer = make(out, adapter=lora(lora_dropout=0.5, init_lora_weights=False), max_steps=1)
    trainer.train()
    target = next(t for slot in trainer._sgpo.slots for t in slot)
    share = collate([target], 0, trainer.args.device)
    trainer.model.train()
    flags = {name: module.training for name, module in trainer.model.named_modules()}
    first, second = (trainer._teacher_hidden(trainer.model, share) for _ in range(2))
    assert torch.equal(first, second)
    assert {name: module.training for name, module in trainer.model.named_modules()} == flags
    losses = [float(trainer._distillation(trainer.model, share, first)[0].detach()) for _ in range(2)]
    assert losses[0] != losses[1]


@pytest.mark.usefixtures("scripted")
def test_dropout_does_not_choose_the_target(out: Path) -> None:
    """The likelihood under the unguided policy is that of the policy which samples: without dropout."""
    adapter = lora(lora_dropout=0.9, init_lora_weights=False)
    trainer = make(out, adapter=adapter, max_steps=1, num_guided_generations=4, learning_rate=0.0)
    scores: list[torch.Tensor] = []
    score = trainer._unguided_logps

    def twice(*args: Any) -> torch.Tensor:
        scores.extend([score(*args), score(*args)])
        return scores[-1]

    trainer._unguided_logps = twice
    trainer.train()
    assert len(scores[0]) > 0
    assert torch.equal(scores[0], scores[1])


@pytest.mark.usefixtures("scripted")
def test_a_model_that_is_peft_already(out: Path) -> None:
    model = get_peft_model(kit.make_model(seed=3), lora(init_lora_weights=False))
    start = copy.deepcopy(kit.weights_of(model))
    trainer = kit.make_trainer(out, model=model, grpo_weight=0.0)
    trainer.train()
    moved = {name for name, p in trainer.model.named_parameters() if not torch.equal(p.cpu(), start[name])}
    assert moved
    assert all("lora_" in name for name in moved)


def _two_precisions() -> Any:
    model = kit.make_model().to(torch.bfloat16)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data = parameter.data.float()
    return model


@pytest.mark.parametrize("adapted", [True, False])
def test_a_base_in_two_precisions_trains_under_autocast(adapted: bool, tmp_path: Path) -> None:
    adapter = {"peft_config": LoraConfig(r=2, target_modules=["q_proj"])} if adapted else {}
    trainer = kit.make_trainer(tmp_path, model=_two_precisions(), arguments=adapter, bf16=True, max_steps=1)
    trainer.train()
    assert trainer.state.global_step == 1


def test_without_autocast_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"weights of \['bfloat16', 'float32'\].*Set bf16=True"):
        kit.make_trainer(tmp_path, model=_two_precisions(), bf16=False)


@pytest.mark.usefixtures("scripted")
def test_an_adapter_says_how_its_base_was_quantized(out: Path) -> None:
    """Saved at the end or in a checkpoint: measured on the base as it is, it would be another model."""
    trainer = make(out, save_strategy="steps", save_steps=1, max_steps=1)
    quantized = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    trainer.model.config.quantization_config = quantized  # what a machine that can quantize would have put there
    trainer.train()
    trainer.save_model(str(out / "model"))
    for folder in (out / "model", out / "checkpoint-1"):
        assert json.loads((folder / QUANTIZATION).read_text()) == quantized.to_dict()
    plain = make(out / "plain")
    plain.save_model(str(out / "plain"))
    assert not (out / "plain" / QUANTIZATION).exists()


@pytest.mark.usefixtures("scripted")
def test_a_base_that_moves_with_the_adapter_is_measured_where_it_was_trained(out: Path) -> None:
    """PiSSA takes the adapter's first weights out of the base. The rest is computed again, unless chance is in it."""
    base = out / "base"
    kit.make_model("llama", seed=3).save_pretrained(base)
    kit.make_tokenizer().save_pretrained(base)
    arguments = {"peft_config": lora(init_lora_weights="pissa")}
    trainer = kit.make_trainer(out, model=str(base), arguments=arguments, max_steps=1)
    trainer.train()
    trainer.save_model(str(out / "model"))
    loaded = LocalModel.load(str(out / "model"), Sampling(0.0, 1.0, 4), LocalOptions(device=str(trainer.args.device)))
    ids = torch.tensor([[8, 9, 10, 11]], device=trainer.args.device)
    with torch.no_grad():
        assert torch.equal(trainer.model.eval()(input_ids=ids).logits, loaded.model(input_ids=ids).logits)
    arguments = {"peft_config": lora(init_lora_weights="pissa_niter_4")}
    with pytest.raises(ValueError, match=r"'pissa_niter_4', which draws.* Use 'pissa'"):
        kit.make_trainer(out, model=str(base), arguments=arguments)
    config = json.loads((out / "model" / "adapter_config.json").read_text())
    (out / "model" / "adapter_config.json").write_text(json.dumps({**config, "init_lora_weights": "pissa_niter_4"}))
    with pytest.raises(ModelError, match="drawn at random"):
        LocalModel.load(str(out / "model"), Sampling(0.0, 1.0, 4), LocalOptions(device="cpu"))


def _with(config: Any, *, unfrozen: str = "never") -> Any:
    """A model with an adapter, in which the parameters with a word in their names are trained, too."""
    model = get_peft_model(kit.make_model(seed=3), config)
    for name, parameter in model.named_parameters():
        if unfrozen in name:
            parameter.requires_grad_(True)
    return model


TUNED_PROMPT = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
# name -> (model, peft_config, options, words of the error)
UNFIT: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "norms beside the adapter": (
        _with(lora(), unfrozen="norm"),
        None,
        {},
        r"5 parameters beside the adapter are trained \(.*layernorm.*only the adapter is saved.*modules_to_save",
    ),
    "biases under a reference": (kit.make_model(), lora(bias="all"), {"beta": 0.1}, r"bias='all' trains biases of"),
    "a copy that moves the base": (
        _with(lora(init_lora_weights="olora")),
        None,
        {"beta": 0.1},
        r"init_lora_weights='olora' PEFT takes that copy's first weights out of the base once more",
    ),
    "a reference of another adapter": (
        get_peft_model(kit.make_model(seed=3), lora(), adapter_name="policy"),
        None,
        {"beta": 0.1},
        "a reference of the adapter 'default', but the one that is trained is policy",
    ),
    "a learned prompt": (kit.make_model(), TUNED_PROMPT, {}, r"PromptTuningConfig, whose learned prompt stands before"),
    "a base that a gradient moved": (
        kit.make_model(),
        lora(init_lora_weights="lora_ga"),
        {},
        r"'lora_ga', which draws at random, or from a gradient",
    ),
}


@pytest.mark.parametrize("method", ["sgpo", "luffy", "hpt"])
@pytest.mark.parametrize("name", UNFIT)
def test_an_adapter_that_would_not_be_what_was_trained_is_refused(name: str, method: str, out: Path) -> None:
    model, config, options, words = UNFIT[name]
    kind = KINDS[method]
    if method == "hpt" and "beta" in options:  # HPT has no reference
        return
    before = kit.weights_of(model)
    with pytest.raises(ValueError, match=words):
        kind.trainer(
            model,
            kit.has_ok,
            kit.make_config(out, kind.config, **options),
            kit.make_problems(4).add_column("expert", [" ok"] * 4),
            processing_class=kit.make_tokenizer(),
            peft_config=config,
        )
    if config is None:
        assert kit.largest_gap(kit.weights_of(model), before) == 0.0


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("adapted", [True, False])
def test_a_model_of_which_nothing_is_trained(kind: str, adapted: bool, out: Path) -> None:
    """As PEFT loads an adapter. With activation checkpointing there is a graph, and a run would end in silence."""
    model = get_peft_model(kit.make_model(), lora(inference_mode=True)) if adapted else kit.make_model()
    model.requires_grad_(False)
    remedy = "is_trainable=True" if adapted else "Unfreeze"
    method, data = KINDS[kind], kit.make_problems(4).add_column("expert", [" ok"] * 4)
    config = method.config(str(out), use_cpu=True, per_device_train_batch_size=8)
    more = {} if kind == "sft" else {"reward_funcs": kit.has_ok}
    with pytest.raises(ValueError, match=rf"No weight of the model is trained.*{remedy}"):
        method.trainer(model, args=config, train_dataset=data, processing_class=kit.make_tokenizer(), **more)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_adapter_of_another_name_goes_on_from_its_checkpoints(kind: str, out: Path) -> None:
    """PEFT saves it in a folder of its own, where no weights were looked for."""
    method, data = KINDS[kind], kit.make_problems(4).add_column("expert", [" ok"] * 4)
    limit: dict[str, Any] = {} if kind == "sft" else {"max_completion_length": 6, "num_generations": 4}
    saving = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1, "report_to": "none", "learning_rate": 0.05}
    more = {} if kind == "sft" else {"reward_funcs": kit.has_digit}

    def make() -> Any:
        config = method.config(str(out), use_cpu=True, per_device_train_batch_size=4, **limit, **saving)
        model = get_peft_model(kit.make_model(seed=3), lora(), adapter_name="policy")
        given = {"args": config, "train_dataset": data, "processing_class": kit.make_tokenizer(), **more}
        return method.trainer(model, **given)

    whole = make()
    whole.train()
    shutil.rmtree(out / "checkpoint-2")
    resumed = make()
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 2
    assert kit.largest_gap(kit.weights_of(resumed.model), kit.weights_of(whole.model)) == 0.0


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("tied", [True, False])
def test_an_adapter_on_embeddings_that_are_the_head(tied: bool, kind: str, out: Path) -> None:
    """Merged, as TRL does for vLLM, it changes the head, too. On embeddings of their own it is as good as any."""
    method, data = KINDS[kind], kit.make_problems(4).add_column("expert", [" ok"] * 4)

    def make() -> Any:
        limit = {} if kind == "sft" else {"max_completion_length": 8}
        config = method.config(str(out), use_cpu=True, per_device_train_batch_size=8, **limit)
        more = {} if kind == "sft" else {"reward_funcs": kit.has_ok}
        adapter = lora(target_modules=["q_proj", "embed_tokens"])
        return method.trainer(
            kit.make_model(tied=tied),
            args=config,
            train_dataset=data,
            processing_class=kit.make_tokenizer(),
            peft_config=adapter,
            **more,
        )

    if tied:
        with pytest.raises(
            ValueError, match=r"has the embeddings, which this model shares.*embed_tokens in modules_to"
        ):
            make()
        return
    model = make().model
    ids = torch.tensor([[8, 9, 10, 11]], device=model.device)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(0.1)
        wanted = model.eval()(input_ids=ids).logits
        assert torch.allclose(model.merge_and_unload()(input_ids=ids).logits, wanted, atol=1e-4)


def test_a_learned_prompt_scores_otherwise_beside_a_longer_sequence() -> None:
    """Why such adapters are refused; one of layers does not."""
    short, long, completion = [7, 8, 9], list(range(10, 19)), [5, 6, 3, 4, 1]

    def gap(config: Any) -> float:
        model, scores = _with(config).eval(), []
        for prompts in ([short], [short, long]):
            share = collate([Target(prompt, prompt, completion, 1.0) for prompt in prompts], 0, torch.device("cpu"))
            with torch.no_grad():
                scores.append(model(input_ids=share.student_ids, attention_mask=share.student_mask).logits[0, -5:])
        return float((scores[1] - scores[0]).abs().max())

    assert gap(lora(init_lora_weights=False)) < 1e-4 < 1e-2 < gap(TUNED_PROMPT)


@pytest.mark.parametrize("method", ["sgpo", "luffy", "hpt"])
def test_rollouts_are_sampled_without_dropout(method: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL samples in training mode; the loss has its dropout all the same."""
    sampled: list[bool] = []
    plain = GenerationMixin._sample

    def spied(self: Any, *args: Any, **kwargs: Any) -> Any:
        sampled.append(any(module.training for module in self.modules()))
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(GenerationMixin, "_sample", spied)
    kind = KINDS[method]
    trainer = kind.trainer(
        kit.make_model(seed=3),
        kit.has_digit,
        kit.make_config(out, kind.config, max_steps=1),
        kit.make_problems(4).add_column("expert", [" ok"] * 4),
        processing_class=kit.make_tokenizer(),
        peft_config=lora(lora_dropout=0.5),
    )
    dropout = next(m for m in trainer.model.modules() if isinstance(m, torch.nn.Dropout))
    trained: list[bool] = []
    dropout.register_forward_hook(lambda module, *_: trained.append(module.training))
    trainer.train()
    assert sampled
    assert not any(sampled)
    assert trained[-1]
