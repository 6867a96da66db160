"""Every recipe is parsed by the parser that reads it, and trains: for one step, on a tiny model of its architecture.

The tiny models have the same family, tying, grouped heads, kind of tokenizer (byte-level BPE) and chat template as the
real ones. `ADAPTED` is all that a test on a CPU changes in a recipe.
"""

import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
import trl
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from trl.scripts import sft

from sgpo import recipe
from sgpo.data.prompts import DEFAULT_GUIDED_TEMPLATE
from sgpo.evaluation.templates import load_template
from sgpo.plan import plan_recipe
from sgpo.plan.hardware import parse_hardware
from sgpo.plan.render import plan_summary
from sgpo.rewards import verify
from sgpo.trainer import SGPOConfig, SGPOTrainer

RECIPES = Path(__file__).parents[2] / "recipes"
LAYOUTS = ("lora-1gpu", "8gpu", "4x8gpu")
ON_GPUS = sorted(path.name for path in RECIPES.glob("*gpu.yaml"))
# What a CPU cannot do, or not in seconds. Everything else of a recipe is as a user runs it.
ADAPTED = {
    "use_vllm": "false",
    "use_cpu": "true",
    "bf16": "false",
    "dtype": "float32",
    "per_device_train_batch_size": "8",
    "gradient_accumulation_steps": "1",
    "max_completion_length": "8",
    "max_steps": "1",
    "save_strategy": "no",
    "disable_tqdm": "true",
}
WARMUP_ADAPTED = {
    **{k: ADAPTED[k] for k in ("use_cpu", "bf16", "dtype", "gradient_accumulation_steps", "max_steps")},
    "disable_tqdm": "true",
}
FAMILY = {"qwen2.5-1.5b": ("qwen2", True), "qwen2.5-7b": ("qwen2", False), "llama-3.1-8b": ("llama", False)}
TEMPLATES = {"qwen2": "qwen2_5.jinja", "llama": "llama3_1.jinja"}  # those of the real models, as TRL ships them
SPECIAL = {
    "qwen2": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "llama": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>"],
}
ENDS = {"qwen2": ("<|im_end|>", "<|endoftext|>"), "llama": ("<|eot_id|>", None)}  # end and pad; Llama has no pad


def as_arguments(fields: dict[str, str]) -> list[str]:
    return [word for name, value in fields.items() for word in (f"--{name}", value)]


def of_model(name: str) -> str:
    """`qwen2.5-7b` of `qwen2.5-7b-8gpu.yaml`."""
    return next(name.removesuffix(f"-{layout}.yaml") for layout in LAYOUTS if name.endswith(f"-{layout}.yaml"))


def save_tiny(family: str, tied: bool, folder: Path) -> Path:
    """Random weights and a tokenizer trained on its own chat template, as `from_pretrained` finds a real model."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(["What is 1 + 1? The answer is 2. \\boxed{2}"] * 3, 320, 1, special_tokens=SPECIAL[family])
    end, pad = ENDS[family]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, eos_token=end, pad_token=pad)
    tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates" / TEMPLATES[family]).read_text()
    tokenizer.save_pretrained(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = AutoConfig.for_model(
        family,
        vocab_size=len(tokenizer),
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=tied,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        **sizes,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: save_tiny(*FAMILY[name], root / name) for name in FAMILY}


@pytest.fixture(scope="module")
def strategies(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `sgpo strategies export --template luffy` writes: messages, strategy or None, answer."""
    make = load_template("luffy").prompt
    rows = [{"prompt": make(f"What is {i} + 1?"), "strategy": "Count on.", "answer": str(i + 1)} for i in range(3)]
    rows.append({"prompt": make("What is 8 + 1?"), "strategy": None, "answer": "9"})
    path = tmp_path_factory.mktemp("data") / "strategies.parquet"
    datasets.Dataset.from_list(rows).to_parquet(path)
    return str(path)


# ---------------------------------------------------------------- parsed as they are


@pytest.mark.parametrize("name", ["lab.yaml", *ON_GPUS])
def test_parses_with_the_papers_constants(name: str) -> None:
    run, config, model = recipe.parse(["--config", str(RECIPES / name)])
    assert (config.num_generations, config.num_guided_generations) == (8, 4)
    assert (config.epsilon, config.epsilon_high, config.kl_clip) == (0.2, 0.28, 1.0)
    assert (config.alpha_0, config.alpha_gamma, config.alpha_max) == (0.5, 0.1, 0.8)
    assert [recipe.load_reward(reward) for reward in run.reward_funcs]
    assert model.model_name_or_path
    if name in ON_GPUS:
        assert (config.num_train_epochs, config.max_steps) == (10, -1)
        assert (config.kl_direction, config.target_selection, config.teacher) == ("forward", "mean", "live")
        assert config.guided_prompt_template == DEFAULT_GUIDED_TEMPLATE


@pytest.mark.parametrize("name", ["lab.yaml", *ON_GPUS])
def test_a_misspelt_field_is_refused(name: str, tmp_path: Path) -> None:
    fields = yaml.safe_load((RECIPES / name).read_text())
    for field in fields:
        (tmp_path / "r.yaml").write_text(yaml.safe_dump({f"{field}x": fields[field]}))
        with pytest.raises(ValueError, match=f"unknown field '{field}x'"):
            recipe.parse(["--config", str(tmp_path / "r.yaml")])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_recipes_of_one_layout_differ_in_the_model_alone(layout: str) -> None:
    found = [yaml.safe_load((RECIPES / f"{model}-{layout}.yaml").read_text()) for model in FAMILY]
    assert len({fields.pop("model_name_or_path") for fields in found}) == len(FAMILY)
    assert [fields.pop("output_dir") for fields in found] == [f"runs/{model}-{layout}" for model in FAMILY]
    assert found[0] == found[1] == found[2]


def test_no_recipe_is_left_out() -> None:
    assert sorted(f"{model}-{layout}.yaml" for model in FAMILY for layout in LAYOUTS) == ON_GPUS
    tested = {*ON_GPUS, "lab.yaml", "sft-warmup.yaml"}
    assert {path.name for path in RECIPES.glob("*.yaml")} == tested


@pytest.mark.parametrize("name", ON_GPUS)
def test_the_cost_that_a_recipe_states_is_the_plans(name: str) -> None:
    layout = name.removesuffix(".yaml").removeprefix(of_model(name) + "-")
    nodes, accelerate = (4 if layout == "4x8gpu" else 1), None
    hardware = "h100:8"
    if layout == "lora-1gpu":
        hardware = "rtx4090" if "1.5b" in name else "h100"
    else:
        accelerate = str(RECIPES / "accelerate" / "fsdp2.yaml")
    machine = parse_hardware(hardware, nodes=nodes)
    plan = plan_recipe(["--config", str(RECIPES / name), "--dataset_name", "none"], machine, accelerate=accelerate)
    assert plan.fits
    line = next(line for line in (RECIPES / name).read_text().splitlines() if line.startswith("# sgpo plan, "))
    assert line.startswith(f"# sgpo plan, {hardware}")
    assert line.endswith(f": {plan_summary(plan)}"), plan_summary(plan)
    memory, step, _, hours = plan_summary(plan).split(", ")
    row = f"| {memory} | {step.removesuffix(' a step')} | {plan.duration.steps:,} | {hours.split()[0]} |"
    table = (RECIPES.parent / "docs" / "recipes.md").read_text().splitlines()
    assert [line for line in table if line.startswith(f"| `{name.removesuffix('.yaml')}`") and line.endswith(row)], row


# ---------------------------------------------------------------- one step


@pytest.mark.parametrize("name", ON_GPUS)
def test_trains_for_one_step(
    name: str, models: dict[str, Path], strategies: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Any] = []
    monkeypatch.setattr(SGPOTrainer, "save_model", lambda self, *_: trained.append(self))
    paths = {"model_name_or_path": str(models[of_model(name)]), "dataset_name": strategies, "output_dir": str(tmp_path)}
    recipe.main(["--config", str(RECIPES / name), *as_arguments({**ADAPTED, **paths})])
    (trainer,) = trained
    assert trainer.state.global_step == 1
    assert trainer.state.log_history[0]["sgpo/guided_tokens"] >= 0
    kind = type(trainer.accelerator.unwrap_model(trainer.model)).__name__
    assert kind == ("PeftModelForCausalLM" if "lora" in name else type(trainer.model).__name__)
    trainable = [n for n, p in trainer.model.named_parameters() if p.requires_grad]
    assert all("lora_" in n for n in trainable) == ("lora" in name)
    prompt = trainer.train_dataset[0]["prompt"]
    shown = trainer._tokenizer.decode(trainer._tokenize_prompts([prompt])[0][0])
    opening = "<|im_start|>user" if "qwen" in name else "<|start_header_id|>user<|end_header_id|>"
    assert opening in shown
    assert "What is 0 + 1?" in shown


@pytest.fixture
def split(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`python recipes/split_openr1.py ...`, in this process."""

    def run(*arguments: Any) -> None:
        monkeypatch.setattr(sys, "argv", ["split_openr1.py", *map(str, arguments)])
        runpy.run_path(str(RECIPES / "split_openr1.py"), run_name="__main__")

    return run


def test_the_split_and_the_warm_up(split: Callable[..., None], models: dict[str, Path], tmp_path: Path) -> None:
    """`split_openr1.py` on rows in the data's schema, then the warm-up recipe by TRL's own parser and trainer."""
    system = {"role": "system", "content": "Think, then answer."}
    rows = [
        {
            "data_source": "",
            "prompt": [system, {"role": "user", "content": f"What is {i} + 1?"}],
            "target": [{"role": "assistant", "content": f"<think>\n{i}, then one.\n</think>\n\\boxed{{{i + 1}}}"}],
            "reward_model": {"ground_truth": str(i + 1), "style": "rule"},
        }
        for i in range(12)
    ]
    (tmp_path / "openr1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    split("--source", tmp_path / "openr1.jsonl", "--out", tmp_path / "data", "--problems", 9)
    warmup = datasets.Dataset.from_parquet(str(tmp_path / "data" / "warmup" / "train.parquet"))
    rest = datasets.Dataset.from_parquet(str(tmp_path / "data" / "rl.parquet"))
    assert (len(warmup), len(rest)) == (3, 6)
    assert rest.column_names == list(rows[0])
    problems = [row["prompt"][-1]["content"] for row in [*warmup, *rest]]
    assert len(set(problems)) == 9
    for row in warmup:
        number = int(row["prompt"][-1]["content"].split()[2])
        assert row["completion"] == rows[number]["target"]

    parser = sft.make_parser()
    paths = {"model_name_or_path": str(models["qwen2.5-1.5b"]), "dataset_name": str(tmp_path / "data" / "warmup")}
    arguments = {**WARMUP_ADAPTED, **paths, "output_dir": str(tmp_path / "warm")}
    parsed = parser.parse_args_and_config(
        ["--config", str(RECIPES / "sft-warmup.yaml"), *as_arguments(arguments)], fail_with_unknown_args=True
    )
    assert parsed[1].num_train_epochs == 10
    sft.main(*parsed)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "warm").config.model_type == "qwen2"
    assert AutoTokenizer.from_pretrained(tmp_path / "warm").chat_template


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--source", "nowhere.parquet"], "nowhere.parquet is not a file"),
        (["--problems", "0"], "--problems is 0"),
        (["--problems", "99"], "the 2 rows there are"),
        (["--problems", "2", "--warmup", "2"], "--warmup is 2"),
    ],
)
def test_the_split_refuses(options: list[str], named: str, split: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "two.jsonl").write_text('{"prompt": [], "target": []}\n' * 2)
    with pytest.raises(SystemExit, match=named):
        split("--source", tmp_path / "two.jsonl", "--out", tmp_path / "out", *options)


# ---------------------------------------------------------------- SmolLM2 on gsm_symbolic

GSM = RECIPES / "smollm2-135m-gsm"


def run_script(name: str, monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> None:
    """A stage of the recipe, in this process."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(GSM / name), run_name="__main__")


def test_the_stages_of_smollm2_on_gsm_symbolic(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The split has no template or problem on two sides; the warm-up starts from any model, once; both sizes parse."""
    pytest.importorskip("reasoning_gym")
    run_script("split.py", monkeypatch, "--size", "cpu", "--out", tmp_path)
    rows = {name: [*map(json.loads, (tmp_path / f"{name}.jsonl").open())] for name in ("train", "trained", "new")}
    lessons = [*map(json.loads, (tmp_path / "warmup.jsonl").open())]
    families = {name: {row["family"] for row in part} for name, part in rows.items()}
    assert families["train"] == families["trained"]
    assert not families["train"] & families["new"]
    problems = [row["problem"] for part in rows.values() for row in part]
    asked = [lesson["prompt"][0]["content"] for lesson in lessons]
    assert len(set(problems)) == len(problems)
    assert not any(text.startswith(problem) for text in asked for problem in problems)
    strategies = {row["strategy"] for row in rows["train"]}
    met = [text for text in asked if any(strategy in text for strategy in strategies)]
    assert len(met) == 4 * 8, "the templates of the training set are met in the warm-up, with their strategy alone"

    arguments = {**WARMUP_ADAPTED, "model_name_or_path": models["qwen2.5-1.5b"], "output_dir": tmp_path / "warm"}
    arguments["dataset_name"] = tmp_path / "warmup.jsonl"
    for _ in range(2):
        run_script("warmup.py", monkeypatch, "--config", GSM / "warmup-cpu.yaml", *as_arguments(arguments))
    assert "is there already" in capsys.readouterr().out
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "warm").config.model_type == "qwen2"
    monkeypatch.syspath_prepend(GSM)  # as Python does for a script
    run_script("gap.py", monkeypatch, "--model", tmp_path / "warm", "--templates", "6", "--each", "1")
    found = re.fullmatch(
        r"  6 multiple of group, total +alone (\S+)  guided (\S+)  gain (\S+)\n", capsys.readouterr().out
    )
    assert found is not None
    alone, guided, gain = map(float, found.groups())
    assert alone > 1, "an untrained model"
    assert gain == pytest.approx(alone - guided, abs=2e-3)
    for size in ("cpu", "gpu"):
        run, config, _ = recipe.parse(["--config", str(GSM / f"train-{size}.yaml")])
        assert run.reward_funcs == ["accuracy"]
        assert config.distills


def test_the_rules_of_words_have_one_answer_and_meet_the_student_as_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules of training come in the warm-up behind their strategy alone, those of the new ones not at all."""
    monkeypatch.syspath_prepend(GSM)
    run_script("rules.py", monkeypatch, "--out", tmp_path, "--warmup-each", 4, "--training-each", 4, "--test-each", 3)
    names = ("warmup", "train", "trained", "new")
    warmup, train, trained, new = ([*map(json.loads, (tmp_path / f"{name}.jsonl").open())] for name in names)
    assert (len(warmup), len(train), len(trained), len(new)) == (18 * 4, 8 * 4, 8 * 3, 5 * 3)
    families = [{row["family"] for row in rows} for rows in (train, trained, new)]
    assert families[0] == families[1]
    assert not families[0] & families[2]
    problems = [row["problem"] for row in [*train, *trained, *new]]
    asked = [lesson["prompt"][0]["content"] for lesson in warmup]
    assert len(set(problems)) == len(problems)
    assert not any(text.startswith(problem) for text in asked for problem in problems)
    for strategies, count in (({row["strategy"] for row in train}, 8 * 4), ({row["strategy"] for row in new}, 0)):
        assert sum(any(strategy in text for strategy in strategies) for text in asked) == count
    for row in [*train, *trained, *new]:
        assert verify(f"\\boxed{{{row['answer']}}}", row["answer"]).correct
        assert row["answer"] not in row["strategy"]
        *examples, last = row["problem"].splitlines()[1:]
        rows = [line.rsplit(": ", 1) for line in [*examples, f"{last.removesuffix('?')}: {row['answer']}"]]
        place = {"second": 1, "last": 4, "fourth": 3}.get(row["family"])
        for words, word in (
            (text.removeprefix("Which word does it pick in: ").split(", "), word) for text, word in rows
        ):
            assert len(set(words)) == 5
            assert word in words if place is None else word == words[place]


# ---------------------------------------------------------------- accelerate


@pytest.mark.parametrize("name", ["fsdp2", "zero2", "zero3"])
def test_accelerate_reads_its_config_and_would_launch(name: str) -> None:
    path = str(RECIPES / "accelerate" / f"{name}.yaml")
    config = load_config_from_file(path)
    assert (config.num_processes, config.mixed_precision) == (8, "bf16")
    module = ["--config_file", path, "--module", "sgpo.recipe", "--config", "recipes/qwen2.5-7b-8gpu.yaml"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(module))
    assert (arguments.training_script, arguments.num_processes) == ("sgpo.recipe", 8)
    if name == "fsdp2":
        assert arguments.use_fsdp
        assert int(arguments.fsdp_version) == 2
        assert str(arguments.fsdp_activation_checkpointing).lower() == "false", "recipes ask the trainer for it"
    else:
        assert arguments.use_deepspeed
        assert int(arguments.zero_stage) == int(name[-1])


def test_all_accelerate_configs_are_tested() -> None:
    assert {path.stem for path in (RECIPES / "accelerate").iterdir()} == {"fsdp2", "zero2", "zero3"}


def test_what_a_recipe_says_of_zero3_and_lora_is_so() -> None:
    """The reason for the comment in zero3.yaml is a check of the trainer."""
    from sgpo.trainer import checks

    args = SGPOConfig("out", use_cpu=True, activation_checkpointing=True)
    args.deepspeed_plugin = type("Plugin", (), {"zero_stage": 3})()
    with pytest.raises(ValueError, match="ZeRO-3"):
        checks.check_arguments(args, peft=True)
    checks.check_arguments(args, peft=False)
