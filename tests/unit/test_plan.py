"""`sgpo plan`: sizes, parts and times against hand-worked numbers and built models; its errors and its command."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoConfig, AutoModelForCausalLM, training_args
from typer.testing import CliRunner

from sgpo.cli import app
from sgpo.plan import memory as parts
from sgpo.plan import plan_recipe
from sgpo.plan.architecture import Architecture, from_config, kept_by_a_layer, load_architecture
from sgpo.plan.assumptions import Assumptions
from sgpo.plan.duration import duration
from sgpo.plan.estimate import first_misfit
from sgpo.plan.hardware import GIB, parse_hardware
from sgpo.plan.render import render_plan
from sgpo.plan.workload import Workload, count_problems, load_sharding, server_split

ROOT = Path(__file__).parents[2]
FSDP = str(ROOT / "recipes" / "accelerate" / "fsdp2.yaml")
QWEN_7B = "Qwen/Qwen2.5-7B-Instruct"
# Parameters as the models' own cards and checkpoints count them.
PUBLISHED = {
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-1.5B-Instruct": 1_543_714_304,
    "Qwen/Qwen2.5-3B": 3_085_938_688,
    QWEN_7B: 7_615_616_512,
    "Qwen/Qwen2.5-14B": 14_770_033_664,
    "Qwen/Qwen2.5-32B": 32_763_876_352,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Llama-3.2-3B": 3_212_749_824,
}
GATED = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "olmo2")
FAMILIES = (*GATED, "phi3", "gpt_neox")
TINY = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 2, "head_dim": 8}
TINY |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096}
RECIPE = {
    "model_name_or_path": QWEN_7B,
    "dataset_name": "data/none.parquet",
    "output_dir": "out",
    "dtype": "bfloat16",
    "bf16": True,
    "max_completion_length": 1024,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 8,
}

SMOLLM2 = {"model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "head_dim": 64}
SMOLLM2 |= {"num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True}
SMOLLM2 |= {"max_position_embeddings": 8192}
# Rows, tokens of a prompt and of a completion, and the CPU seconds of a decoding step of SmolLM2-135M: transformers'
# generate in float32, one thread, on a core with AVX-512 of a busy machine.
MEASURED_DECODING = [(6, 110, 10, 0.142), (24, 24, 10, 0.212), (24, 60, 10, 0.209)]


@pytest.fixture
def recipe(tmp_path: Path) -> Any:
    def write(**fields: Any) -> list[str]:
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump({**RECIPE, "output_dir": str(tmp_path / "out"), **fields}))
        return ["--config", str(path)]

    return write


def workload(arguments: list[str], hardware: str = "h100", **options: Any) -> Workload:
    return plan_recipe(arguments, parse_hardware(hardware), **options).workload


@pytest.mark.parametrize(("hardware", "autocast"), [("cpu", False), ("h100", True)])
def test_a_plan_is_the_same_whatever_machine_makes_it(
    hardware: str, autocast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bf16 is the default where a GPU is, and here it is not said."""
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({**{name: RECIPE[name] for name in RECIPE if name != "bf16"}, "dtype": "float32"}))
    found = []
    for there in (False, True):
        monkeypatch.setattr(torch.accelerator, "is_available", lambda there=there: there)
        monkeypatch.setattr(training_args, "is_torch_bf16_gpu_available", lambda: True)
        found.append(workload(["--config", str(path)], hardware))
    assert found[0] == found[1]
    assert found[0].autocast is autocast


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_table_counts_the_published_parameters(name: str) -> None:
    assert load_architecture(name).parameters == PUBLISHED[name]


LEFT_OUT: tuple[dict[str, Any], ...] = (
    {},
    {"tie_word_embeddings": True},
    {"attention_bias": True, "mlp_bias": True},
    {"num_key_value_heads": ...},
    {"head_dim": ...},
    {"intermediate_size": ..., "vocab_size": ...},
)


@pytest.mark.parametrize("given", LEFT_OUT)
@pytest.mark.parametrize("family", GATED)
def test_parameters_are_those_of_the_built_model(family: str, given: dict[str, Any], tmp_path: Path) -> None:
    """What a config.json leaves out (...) has another default in each family."""
    sizes = {name: value for name, value in {**TINY, **given}.items() if value is not ...}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family, **sizes}))
    config = AutoConfig.from_pretrained(tmp_path)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    sizes = load_architecture(str(tmp_path))
    assert sizes.parameters == sum(p.numel() for p in model.parameters())
    layer = model.model.layers[0]
    assert sizes.kv_width == layer.self_attn.k_proj.out_features
    for name, (inputs, outputs) in sizes.projections.items():
        module = getattr(layer.self_attn, name, None) or getattr(layer.mlp, name)
        assert (module.in_features, module.out_features) == (inputs, outputs)


@pytest.mark.parametrize(
    ("prepare", "named"),
    [
        (lambda p: str(p), "no config.json"),
        (lambda p: str(p / "nowhere"), "no such folder"),
        (lambda p: "nobody/unknown-model", "Qwen/Qwen2.5-7B-Instruct"),
        (lambda p: str((p / "config.json").write_text('{"model_type": "qwen3", "head_dim": null}') and p), "head_dim"),
    ],
)
def test_a_model_without_sizes_is_an_error_that_says_what_to_give(prepare: Any, named: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=named):
        load_architecture(prepare(tmp_path))


def test_other_families_are_refused() -> None:
    """Experts, of which each token takes some, convolutions, images."""
    for family in ("mamba", "qwen3_moe", "gemma3"):
        with pytest.raises(ValueError, match=rf"'{family}'.* dense model of the same size"):
            from_config(AutoConfig.for_model(family), "x", "test")


# ---------------------------------------------------------------- hardware


def test_hardware_by_name_count_nodes_and_memory() -> None:
    hardware = parse_hardware("H100:8", nodes=4)
    assert (hardware.count, hardware.device.memory) == (32, 80 * GIB)
    assert parse_hardware("a100").device == parse_hardware("a100-80").device
    assert parse_hardware("a100-40", memory_gib=38.5).device.memory == 38.5 * GIB
    assert parse_hardware("cpu").device.memory > 0


def test_without_a_name_it_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = SimpleNamespace(name="NVIDIA A100-SXM4-40GB", total_memory=39.5 * GIB)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert parse_hardware(None, nodes=2) == parse_hardware("cpu", nodes=2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: gpu)
    assert parse_hardware(None) == parse_hardware("a100-80:4", memory_gib=39.5)
    assert parse_hardware(None, memory_gib=20).device.memory == 20 * GIB


@pytest.mark.parametrize(
    ("text", "options", "named"),
    [
        ("h10", {}, "did you mean h100"),
        ("a100-60", {}, "a100-80"),
        ("tpu", {}, "Known: b200"),
        ("h100:0", {}, "whole number >= 1"),
        ("h100:two", {}, "whole number >= 1"),
        ("h100:-1", {}, "whole number >= 1"),
        ("h100", {"nodes": 0}, "--nodes is 0"),
        ("h100", {"memory_gib": -1.0}, "--gpu-memory-gib is -1"),
    ],
)
def test_hardware_that_is_not_any(text: str, options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parse_hardware(text, **options)


@pytest.mark.parametrize("field", ["prompt_tokens", "strategy_tokens", "mean_completion_tokens", "problems"])
def test_negative_sizes_are_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"--{field.replace('_', '-')} is -3"):
        Assumptions(**{field: -3})


@pytest.mark.parametrize(("heads", "kv", "devices", "expected"), [(28, 4, 8, 4), (12, 2, 8, 6), (32, 8, 8, 8)])
def test_tensor_parallel_size_divides_the_heads(heads: int, kv: int, devices: int, expected: int) -> None:
    sizes = replace(load_architecture(QWEN_7B), heads=heads, kv_heads=kv)
    assert server_split(parse_hardware("h100:8", nodes=2), sizes, devices) == (devices, expected)


def test_a_server_must_leave_something_to_train_on() -> None:
    with pytest.raises(ValueError, match="--server-gpus 8 of 8"):
        server_split(parse_hardware("h100:8"), load_architecture(QWEN_7B), 8)


# ---------------------------------------------------------------- memory, by hand


def test_static_parts_of_full_training_by_hand(recipe: Any) -> None:
    n = PUBLISHED[QWEN_7B]
    plain = plan_recipe(recipe(dtype="float32"), parse_hardware("h200")).memory.phases["optimizer"]
    assert plain["weights"] == 4 * n
    assert plain["optimizer states"] == 8 * n  # two moments in float32
    assert plain["gradients"] == 4 * n
    shared = workload(recipe(), "h100:8", accelerate=FSDP)
    resident = parts._resident(shared, parse_hardware("h100:8"))
    assert resident["weights"] == 4 * n / 8  # FSDP2 keeps what it trains in float32
    assert resident["optimizer states"] == 8 * n / 8
    zero3 = load_sharding(FSDP.replace("fsdp2", "zero3"), 8)
    deepspeed = parts._resident(replace(shared, sharding=zero3), parse_hardware("h100:8"))
    assert deepspeed["weights"] == 2 * n / 8
    assert deepspeed["optimizer states"] == 12 * n / 8  # master weights and two moments
    zero2 = load_sharding(FSDP.replace("fsdp2", "zero2"), 8)
    assert parts._resident(replace(shared, sharding=zero2), parse_hardware("h100:8"))["weights"] == 2 * n


def test_lora_by_hand(recipe: Any) -> None:
    w = workload(recipe(use_peft=True, lora_r=8, lora_target_modules=["q_proj", "v_proj"], max_steps=1))
    each_layer = 8 * (3584 + 3584) + 8 * (3584 + 512)
    assert w.trained_parameters == 28 * each_layer
    with pytest.raises(ValueError, match=r"'query'.*all-linear"):
        workload(recipe(use_peft=True, lora_target_modules=["query"]))


@pytest.mark.parametrize(("launcher", "kind", "stage"), [("FSDP", "fsdp", 3), ("DEEPSPEED", "zero", 2)])
def test_an_accelerate_config_that_leaves_its_settings_out(
    launcher: str, kind: str, stage: int, tmp_path: Path
) -> None:
    path = tmp_path / "accelerate.yaml"
    path.write_text(f"compute_environment: LOCAL_MACHINE\ndistributed_type: {launcher}\nnum_processes: 2\n")
    found = load_sharding(str(path), 2)
    assert (found.kind, found.stage, found.offload_optimizer) == (kind, stage, False)


@pytest.mark.parametrize(("bits", "size"), [("load_in_4bit", 0.55), ("load_in_8bit", 1.0)])
def test_quantized_weights_count_wherever_they_are_asked_for(bits: str, size: float, recipe: Any) -> None:
    for written in ({bits: True}, {"model_init_kwargs": {"quantization_config": {bits: True}}}):
        assert workload(recipe(use_peft=True, **written)).quantized_bytes == size


@pytest.mark.parametrize("tied", [True, False])
def test_only_the_linear_modules_of_the_layers_are_quantized(tied: bool, recipe: Any, tmp_path: Path) -> None:
    """As bitsandbytes does it: embedding, head, norms and biases stay what they are."""
    sizes = {"vocab_size": 5000, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2, "intermediate_size": 48, "tie_word_embeddings": tied}
    config = AutoConfig.for_model("qwen2", **sizes)
    config.save_pretrained(tmp_path / "model")
    model = AutoModelForCausalLM.from_config(config)
    linear = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and name != "lm_head"}
    quantized = sum(module.weight.numel() for module in linear.values())
    rest = sum(parameter.numel() for parameter in model.parameters()) - quantized
    written = {"model_name_or_path": str(tmp_path / "model"), "use_peft": True, "load_in_4bit": True}
    plan = plan_recipe(recipe(**written, dtype="bfloat16"), parse_hardware("h100"))
    assert plan.memory.phases["optimizer"]["weights"] == pytest.approx(0.55 * quantized + 2 * rest)
    assert rest > 10 * quantized


def test_an_optimizer_that_is_not_known_is_said(recipe: Any) -> None:
    assert not [note for note in workload(recipe()).notes if "optimizer" in note]
    assert "optimizer lion_32bit is not known here" in " ".join(workload(recipe(optim="lion_32bit")).notes)


def test_kv_cache_by_hand(recipe: Any) -> None:
    w = workload(recipe(use_vllm=True, vllm_gpu_memory_utilization=0.5))
    assert parts.kv_bytes_per_token(w) == 57344  # 2 * 28 layers * 4 heads * 128 * 2 bytes
    assert parts.kv_room(w, parse_hardware("h100")) == 40 * GIB - 2 * PUBLISHED[QWEN_7B] - 1.5 * GIB
    sleeping = replace(w, vllm_sleeps=True)
    hardware = parse_hardware("h100")
    assert "vLLM" in parts.memory(w, hardware).phases["optimizer"]
    assert "vLLM" not in parts.memory(sleeping, hardware).phases["optimizer"]
    assert parts.memory(sleeping, hardware).phases["generation"]["vLLM"] == 40 * GIB


def saved_bytes(model: Any, inputs: dict[str, torch.Tensor], autocast: bool) -> float:
    """What autograd keeps of a forward pass of the backbone, without parameters and what belongs to them."""
    storages: dict[int, int] = {}
    owned = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    kept = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            storages[storage.data_ptr()] = storage.nbytes()
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), torch.autocast("cpu", enabled=autocast):
        model.base_model(**inputs)
    return float(sum(storages.values()))


KINDS = ("float32", "bfloat16", "autocast", "lora", "lora without dropout")
KEPT = [(family, masked, kind) for family in FAMILIES[:4] for masked in (True, False) for kind in KINDS]
KEPT += [(family, True, kind) for family in FAMILIES[4:] for kind in ("autocast", "lora without dropout")]


@pytest.mark.parametrize(("family", "masked", "kind"), KEPT)
def test_a_layer_keeps_what_autograd_saves(kind: str, masked: bool, family: str, recipe: Any) -> None:
    """Two layers against one, so that only the layer itself is compared."""
    peft = pytest.importorskip("peft")
    sizes = {**TINY, "hidden_size": 64, "intermediate_size": 192, "num_attention_heads": 4, "head_dim": 16}
    sizes |= {"pad_token_id": 0}
    rows, length = 3, 40
    ids = torch.arange(rows * length).view(rows, length) % 90
    mask = torch.ones_like(ids)
    if masked:
        mask[0, :7] = 0
    saved = []
    for layers in (1, 2):
        config = AutoConfig.for_model(family, **{**sizes, "num_hidden_layers": layers})
        model: Any = AutoModelForCausalLM.from_config(config).train()
        if kind == "bfloat16":
            model = model.to(torch.bfloat16)
        if kind.startswith("lora"):
            rate = 0.05 if kind == "lora" else 0.0
            model.enable_input_require_grads()
            model = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules="all-linear", lora_dropout=rate))
        saved.append(saved_bytes(model, {"input_ids": ids, "attention_mask": mask}, kind == "autocast"))
    w = workload(recipe(dtype="float32", bf16=False, use_peft=kind.startswith("lora"), lora_r=4), "cpu")
    architecture = from_config(config, "tiny", "test")
    w = replace(
        w,
        architecture=architecture,
        float32_weights=kind != "bfloat16",
        autocast=kind == "autocast",
        masked_attention=masked,
        lora_modules=tuple(architecture.projections) if kind.startswith("lora") else (),
        lora_dropout=kind == "lora",
    )
    weights = 2.0 * w.architecture.layer_parameters if kind == "autocast" else 0.0  # bfloat16 copies, counted apart
    measured = saved[1] - saved[0] - weights
    assert parts._layer(w, rows, length) == pytest.approx(measured, rel=0.03)


def test_rotary_positions_that_look_at_values_change_nothing_that_is_kept() -> None:
    rope = {"rope_theta": 1e4, "rope_type": "default"}
    plain, dynamic = (
        from_config(AutoConfig.for_model("llama", **TINY, rope_parameters=each), "tiny", "test").config
        for each in (rope, rope | {"rope_type": "dynamic", "factor": 2.0})
    )
    given: dict[str, Any] = {"weights": torch.float32, "autocast": False, "masked": True, "lora": None}
    assert kept_by_a_layer(plain, **given) == kept_by_a_layer(dynamic, **given)


def test_the_largest_phase_decides_and_grows_with_the_batch(recipe: Any) -> None:
    hardware = parse_hardware("h200")
    base = workload(recipe(activation_checkpointing=False), "h200")
    peak = parts.memory(base, hardware).peak
    assert peak == max(sum(p.values()) for p in parts.memory(base, hardware).phases.values())
    assert parts.memory(replace(base, rows=8), hardware).peak > peak
    assert parts.memory(replace(base, max_completion=2048), hardware).peak > peak
    assert parts.memory(replace(base, checkpointing=True), hardware).peak < peak
    assert parts.memory(replace(base, guides=False), hardware).peak < peak
    assert parts.memory(replace(base, trains_guided=True), hardware).peak > peak


@pytest.mark.slow
def test_planned_peak_is_within_15_percent_of_a_measured_one() -> None:
    """Memory and not time: the same on any machine. All shapes: benchmarks/plan_memory.py."""
    command = [sys.executable, str(ROOT / "benchmarks" / "plan_memory.py"), "--only", "small"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1])["worst"] <= 0.15


# ---------------------------------------------------------------- what does not fit


def test_the_first_misfit_is_named_and_its_remedy_works(recipe: Any) -> None:
    arguments = recipe(use_peft=True, activation_checkpointing=False, max_completion_length=4096)
    plan = plan_recipe(arguments, parse_hardware("h100"))
    assert plan.misfit is not None
    assert plan.misfit.startswith("activations")
    assert plan.remedy == "activation_checkpointing true"
    assert plan_recipe([*arguments, "--activation_checkpointing", "true"], parse_hardware("h100")).fits


def test_weights_alone_too_large(recipe: Any) -> None:
    plan = plan_recipe(recipe(), parse_hardware("h100", memory_gib=8))
    assert plan.misfit is not None
    assert plan.misfit.startswith("weights (14.2 GiB)")
    assert "none of the usual settings" in str(plan.remedy)


def test_optimizer_states_want_lora_or_sharding(recipe: Any) -> None:
    alone = plan_recipe(recipe(dtype="float32"), parse_hardware("h100"))
    assert str(alone.misfit).startswith("optimizer states")
    assert "use_peft true" in str(alone.remedy)
    several = plan_recipe(recipe(dtype="float32"), parse_hardware("h100:8"))
    assert "fsdp2.yaml" in str(several.remedy)
    assert plan_recipe(recipe(dtype="float32"), parse_hardware("h100:8"), accelerate=FSDP).fits


def test_vllm_without_room_for_one_sequence(recipe: Any) -> None:
    arguments = recipe(use_vllm=True, vllm_gpu_memory_utilization=0.2, use_peft=True)
    assert plan_recipe(arguments, parse_hardware("h100")).fits  # 0.3 GiB beside the weights, and 0.1 are needed
    tight = plan_recipe(arguments, parse_hardware("a100-40"))
    assert str(tight.misfit).startswith("the KV cache of vLLM: it has 0.0 GiB")


# ---------------------------------------------------------------- time, by hand


def test_decoding_is_bound_by_bandwidth_by_hand(recipe: Any) -> None:
    w = replace(workload(recipe(use_vllm=True)), guides=False)
    hardware = parse_hardware("h100")
    rows, mean, prompt = 32, 512, 256
    read = 2 * PUBLISHED[QWEN_7B] + rows * (prompt + mean / 2) * 57344
    expected = mean * read / (0.5 * 3350e9)
    assert duration(w, hardware).decoded_together == rows
    assert duration(w, hardware).seconds["decode"] == pytest.approx(expected)


def test_training_is_bound_by_arithmetic_by_hand(recipe: Any) -> None:
    w = replace(workload(recipe(activation_checkpointing=False)), guides=False)
    prompts, completions = 32 * 256, 32 * 512
    attention = 28 * 2 * 3584 * (256 + 512) / 2
    head = 152064 * 3584  # as large as the input embedding, which is no product; the norm is none either
    layers = PUBLISHED[QWEN_7B] - 2 * head - 3584
    peak = 0.35 * 989e12
    expected = 6 * ((prompts + completions) * (layers + attention) + completions * head) / peak
    seconds = duration(w, parse_hardware("h100")).seconds
    assert seconds["GRPO"] == pytest.approx(expected, rel=1e-6)
    # Generation reads each prompt once, and only its last token goes through the head.
    expected = 2 * (prompts * (layers + attention / 3) + 32 * head) / peak
    assert seconds["prefill"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("rows", "prompt", "tokens", "measured"), MEASURED_DECODING)
def test_decoding_on_one_core_is_planned_within_15_percent(
    rows: int, prompt: int, tokens: int, measured: float, recipe: Any, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2))
    fields = {"model_name_or_path": str(tmp_path), "dtype": "float32", "bf16": False, "max_completion_length": tokens}
    size = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": 1, "num_generations": rows}
    lengths = Assumptions(prompt_tokens=prompt, mean_completion_tokens=tokens, problems=100)
    plain = {"alpha_form": "constant", "alpha_0": 0.0}
    w = workload(recipe(**fields, **size, **plain), "cpu", assumptions=lengths)
    planned = duration(w, parse_hardware("cpu")).seconds["decode"] / tokens
    assert planned == pytest.approx(measured, rel=0.15)


def test_a_step_of_smollm2_on_one_core_is_planned_within_15_percent(recipe: Any, tmp_path: Path) -> None:
    """What benchmarks/plan_smollm2.py measured: 4 + 2 rollouts of 48 tokens behind 86 tokens, 162 with a strategy."""
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2))
    fields = {"model_name_or_path": str(tmp_path), "dtype": "float32", "bf16": False, "max_completion_length": 48}
    fields |= {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "num_generations": 4}
    fields |= {"num_guided_generations": 2, "alpha_form": "constant", "activation_checkpointing": False}
    lengths = Assumptions(prompt_tokens=86, strategy_tokens=76, mean_completion_tokens=48, problems=4)
    plan = plan_recipe(recipe(**fields), parse_hardware("cpu"), assumptions=lengths)
    seconds = plan.duration.seconds
    assert seconds["decode"] + seconds["prefill"] == pytest.approx(8.3, rel=0.15)
    assert plan.duration.step == pytest.approx(15.92, rel=0.15)
    assert plan.memory.peak / 2**20 == pytest.approx(3506, rel=0.15)


def test_run_length_tokens_and_device_hours(recipe: Any) -> None:
    options = {"assumptions": Assumptions(problems=1000, mean_completion_tokens=100)}
    one = plan_recipe(recipe(num_train_epochs=4), parse_hardware("h100"), **options)
    assert one.duration.steps == 1000 * 4 // 4  # 4 * 8 rollouts are 4 problems of 8
    assert one.duration.sampled_tokens_per_step == 4 * 12 * 100
    eight = plan_recipe(recipe(num_train_epochs=4), parse_hardware("h100:8"), **options)
    assert eight.duration.steps == 4 * (1000 // 32)  # an incomplete batch of an epoch is dropped
    assert eight.duration.device_hours == pytest.approx(one.duration.device_hours, rel=0.1)
    capped = plan_recipe([*recipe(), "--max_steps", "7"], parse_hardware("h100"), **options)
    assert capped.duration.steps == 7


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, []),
        ({"guided_rollouts": "on_demand"}, ["on demand, and counted as if no problem were solved: an upper bound"]),
        (
            {"guided_rollouts": "by_weight", "guided_probability_min": 0.25},
            ["drawn by weight, and counted as if every problem were drawn: an upper bound", "at least 25%"],
        ),
        ({"kl_gradient_tolerance": 0.02}, ["as if no column were left out: an upper bound"]),
        ({"guided_rollouts": "auto", "alpha_form": "constant", "alpha_0": 0.0}, []),  # GRPO alone
    ],
)
def test_what_only_the_run_can_tell_is_counted_in_full_and_said(
    fields: dict[str, Any], said: list[str], recipe: Any
) -> None:
    always = workload(recipe())
    found = workload(recipe(**fields))
    assert found.guided_rows == (always.guided_rows if found.guides else 0)
    notes = " ".join(note for note in found.notes if "upper bound" in note)
    assert bool(notes) == bool(said)
    assert all(words in notes for words in said), notes


def test_a_cap_on_guided_tokens_holds_by_weight_too(recipe: Any) -> None:
    capped = {"guided_rollouts": "by_weight", "max_guided_tokens": 4 * 1024}
    assert workload(recipe(num_guided_generations=4, **capped)).guided_problems == 1


def test_guided_rollouts_of_a_second_call_decode_apart(recipe: Any) -> None:
    """32 autonomous and 16 guided rollouts: the weights are read for both calls, the cache is of one at a time."""
    hardware = parse_hardware("h200")
    together = workload(recipe(), "h200")
    apart = workload(recipe(guided_rollouts="by_weight"), "h200")
    assert (together.generation_calls, apart.generation_calls) == ([48], [32, 16])
    one, two = duration(together, hardware), duration(apart, hardware)
    assert one.sampled_tokens_per_step == two.sampled_tokens_per_step
    expected = sum(
        duration(replace(together, guides=False, accumulation=n // 4, micro_steps=n // 4), hardware).seconds["decode"]
        for n in (32, 16)
    )
    assert two.seconds["decode"] == pytest.approx(expected, rel=0.05)  # their prompts are not padded to guided ones
    assert two.seconds["decode"] > 1.2 * one.seconds["decode"]
    caches = [parts.memory(load, hardware).phases["generation"]["KV cache"] for load in (apart, together)]
    assert caches[0] == pytest.approx(caches[1] * 32 / 48)


def test_leaving_columns_out_gathers_rows_of_the_head(recipe: Any) -> None:
    exact, tolerant = (workload(recipe(kl_gradient_tolerance=t)) for t in (0.0, 0.02))
    assert parts._fused(tolerant) == parts._fused(exact) + 128 * 2**20


def test_a_smaller_chunk_of_the_kl_takes_less_memory(recipe: Any) -> None:
    vocabulary = workload(recipe()).architecture.vocabulary
    chunks = [parts._fused(workload(recipe(kl_chunk_size=size))) for size in (16, 32)]
    assert chunks[1] - chunks[0] == 16 * 2 * vocabulary * 4 * 5 / 4  # both sides in float32, one in bfloat16


def test_a_model_of_the_hub_has_the_sizes_of_its_revision_and_the_positions_that_yarn_adds(
    recipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    described = AutoConfig.for_model("qwen2", max_position_embeddings=32768, rope_scaling=rope)
    asked: list[tuple[str, Any]] = []
    monkeypatch.setattr(
        AutoConfig, "from_pretrained", lambda name, **how: (asked.append((name, how["revision"])), described)[1]
    )
    fields = {"model_name_or_path": "mine/qwen", "model_revision": "v2", "max_completion_length": 60000}
    assert workload(recipe(**fields)).architecture.context == 131072
    assert asked == [("mine/qwen", "v2")]


def test_problems_are_counted_in_local_files(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2}\n')
    assert count_problems(str(path), Assumptions())[0] == 2
    assert count_problems("some/hub-set", Assumptions())[0] == 5667
    assert count_problems(str(path), Assumptions(problems=9))[0] == 9


# ---------------------------------------------------------------- the command


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["plan", *arguments])


def test_command_prints_a_table_or_json(recipe: Any) -> None:
    _, path = recipe(use_peft=True)
    shown = run("--config", path, "--hardware", "h100:2", "--max_completion_length", "512")
    assert shown.exit_code == 0, shown.output
    for words in ("Qwen/Qwen2.5-7B-Instruct", "optimizer states", "sampled tokens", "GPU hours", "Assumed"):
        assert words in shown.output
    assert max(len(line) for line in shown.output.splitlines()) <= 140
    found = json.loads(run("--config", path, "--hardware", "h100:2", "--json").output)
    assert found["parameters"] == PUBLISHED[QWEN_7B]
    assert found["peak_bytes"] == sum(found["phases"][found["peak_phase"]].values())
    assert found["training_devices"] == 2
    assert "In short: " in run("--config", path, "--max_completion_length", "512").output  # for this machine


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--max_completion_lenght", "5"], "max_completion_length"),
        (["--hardware", "h1000"], "h100"),
        (["--accelerate", "nowhere.yaml"], "nowhere.yaml"),
        (["--max_completion_length", "40000"], "do not fit into the context"),
        (["--num_generations", "7"], "num_generations"),
        (["--problems", "-1"], "--problems is -1"),
    ],
)
def test_mistakes_are_named(arguments: list[str], named: str, recipe: Any) -> None:
    _, path = recipe()
    given = ["--config", path, *([] if "--hardware" in arguments else ["--hardware", "h100"]), *arguments]
    result = run(*given)
    assert isinstance(result.exception, ValueError)
    assert named in str(result.exception)


def test_a_missing_recipe_and_a_misspelt_field_in_it(recipe: Any, tmp_path: Path) -> None:
    assert "nowhere.yaml" in str(run("--config", "nowhere.yaml", "--hardware", "h100").exception)
    _, path = recipe(num_generation=8)
    assert "num_generations" in str(run("--config", path, "--hardware", "h100").exception)


def test_plan_of_the_lab_on_a_cpu_names_the_cpu(recipe: Any) -> None:
    fields = {"model_name_or_path": "lab", "dataset_name": "lab", "dtype": "float32", "bf16": False}
    arguments = recipe(**fields, max_completion_length=48)
    with pytest.raises(ValueError, match=r"context.*--prompt-tokens"):
        plan_recipe(arguments, parse_hardware("cpu"), assumptions=Assumptions(problems=500))
    short = Assumptions(prompt_tokens=30, strategy_tokens=40, problems=500)
    plan = plan_recipe(arguments, parse_hardware("cpu"), assumptions=short)
    assert plan.fits
    assert plan.memory.peak < GIB
    assert "CPU hours" in render_plan(plan)
    assert first_misfit(plan.workload, plan.hardware) is None


def test_architecture_knows_nothing_of_names() -> None:
    sizes = from_config(AutoConfig.for_model("llama", **TINY), "anything", "test")
    assert isinstance(sizes, Architecture)
    assert (sizes.query_width, sizes.kv_width, sizes.context) == (32, 16, 4096)
