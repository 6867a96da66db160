"""What `sgpo train` says to a recipe that cannot be meant: one line, before anything is loaded; and what it takes."""

import ast
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trainer_kit
import transformers
import yaml
from datasets import Dataset, DatasetDict
from trl import ModelConfig

import sgpo
from sgpo.cli import main
from sgpo.compare.options import CompareOptions
from sgpo.options import from_flat
from sgpo.recipe import load_data, load_eval_data, load_reward, parse
from sgpo.recipe.data import trained_on
from sgpo.recipe.model import check_model, init_kwargs
from sgpo.recipe.parts import check_parts
from sgpo.recipe.run import next_commands
from sgpo.trainer.methods import KINDS, find_method

BASE = {"model_name_or_path": "lab", "dataset_name": "lab", "output_dir": "run", "use_cpu": True}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def recipe(text: str = "", **fields: Any) -> list[str]:
    Path("recipe.yaml").write_text(yaml.safe_dump({**BASE, **fields}) + text)
    return ["--config", "recipe.yaml"]


def said(argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which the command refuses."""
    monkeypatch.setattr(sys, "argv", ["sgpo", "train", *argv])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert not Path("run").exists()
    return lines[0]


# What is written, and a part of what is said.
REFUSED: dict[str, tuple[str, str]] = {
    "twice": ("learning_rate: 1e-6\nlearning_rate: 1e-5\n", "the key 'learning_rate' stands twice"),
    "twice, deeper": ("model_init_kwargs: {dtype: float32, dtype: bfloat16}\n", "the key 'dtype' stands twice"),
    "tab": ("env:\n\tHF_HOME: x\n", "indented with blanks, not tabs"),
    "torn": ("reward_funcs: [", "not valid YAML"),
    "half a step": ("max_steps: 1.5\n", "max_steps is 1.5 (float), but takes a whole number"),
    "a word": ("max_steps: many\n", "max_steps is 'many' (str), but takes a whole number"),
    "no value": ("max_steps:\n", "max_steps is nothing"),
    "a list": ("learning_rate: [1e-6]\n", "learning_rate is [1e-06] (list), but takes a number"),
    "a truth": ("learning_rate: true\n", "learning_rate is True (bool)"),
    "a number": ("run_name: 12\n", "put it in quotes"),
    "no truth": ("bf16: maybe\n", "bf16 is 'maybe' (str), but takes true or false"),
    "a choice": ("dtype: bf16\n", "dtype is 'bf16', but must be one of"),
    "a choice, deeper": ("model_init_kwargs: {dtype: bf16}\n", "dtype is 'bf16', but must be one of"),
    "a mapping": ("model_init_kwargs: [1]\n", "model_init_kwargs is [1] (list)"),
    "contradiction": ("dtype: float32\nmodel_init_kwargs: {torch_dtype: bfloat16}\n", "keep one of them"),
    "revisions": ("model_revision: a\nmodel_init_kwargs: {revision: b}\n", "keep one of them"),
    "LoRA": ("lora_r: 8\n", "lora_r is given without use_peft"),
    "modules": ("lora_target_modules: q_proj\n", "lora_target_modules is given without use_peft"),
    "4 bit": ("load_in_4bit: true\n", "load_in_4bit is on without use_peft"),
    "bits": ("use_peft: true\nbnb_4bit_quant_type: fp4\n", "without load_in_4bit"),
    "evaluation": ("eval_strategy: steps\n", "nothing to measure on"),
    "no evaluation": ("eval_dataset: lab\n", "eval_strategy is 'no'"),
    "same split": ("eval_strategy: steps\neval_split: train\n", "which is trained on"),
    "weights": ("reward_weights: [1, 2]\n", "reward_weights has 2 numbers for 1 reward_funcs"),
    "a form that decides": (
        "reward_funcs: [format, accuracy]\ndataset_name: rows.jsonl\n",
        "Set correctness_reward='accuracy_reward'",
    ),
    "no rewards": ("reward_funcs: []\n", "reward_funcs is empty"),
    "a module": ("reward_funcs: os.path\n", "it is a module, not a function"),
    "a text": ("reward_funcs: os:sep\n", "it is a str, not a function"),
    "a class": ("reward_funcs: collections:OrderedDict\n", "it is a type, not a function"),
    "nowhere": ("reward_funcs: nowhere:fn\n", "No module named 'nowhere'"),
    "broken": ("reward_funcs: broken:fn\n", "ZeroDivisionError"),
    "absent": ("dataset_name: none.jsonl\n", "but there is no file /"),
    "empty": ("dataset_name: empty.jsonl\n", "an empty file"),
    "torn data": ("dataset_name: torn.jsonl\n", "cannot be read"),
    "another": ("dataset_name: data.xlsx\n", "ends in none of"),
    "a column": ("reward_funcs: needy:fn\ndataset_name: rows.jsonl\n", "needs a column 'solution'"),
    "blank": ("dataset_name: blank.jsonl\n", "Row 0: The prompt is '', with nothing to answer"),
    "nothing to resume": ("resume: true\n", "holds no checkpoint"),
    "two to resume": ("resume: true\nresume_from_checkpoint: x\n", "keep the first for the last checkpoint"),
    "no folder": ("output_dir: ''\n", "output_dir is empty"),
    "temperature": ("temperature: 0\n", "temperature is 0.0, but must be above 0"),
    "split": ("dataset_name: rows.jsonl\ndataset_split: test\n", "split 'test' cannot be read"),
    "config": ("dataset_name: rows.jsonl\ndataset_config: main\n", "dataset_config is 'main'"),
    "saved": ("dataset_name: saved\ndataset_split: test\n", "no split 'test'; it has train, validation"),
    "bare": ("dataset_name: bare\n", "doesn't contain any data files"),
    "no answers": (
        "dataset_name: rows.jsonl\neval_strategy: epoch\neval_dataset: bare.jsonl\n",
        "The evaluation data have no column 'answer'",
    ),
    "a number for a prompt": ("dataset_name: numbers.jsonl\n", "Row 0: The prompt '5' is neither text nor a list"),
    "file": ("output_dir: data.xlsx/run\n", "data.xlsx is a file"),
    "a folder of data": ("dataset_name: bare\noutput_dir: bare\n", "'bare', a folder that the run writes to"),
    "the same to measure on": (
        "eval_strategy: epoch\neval_dataset: bare\noutput_dir: bare/run\n",
        "'bare', a folder that the run writes to",
    ),
    "adapter": ("model_name_or_path: adapter\n", "a LoRA adapter of somewhere"),
    "no model": ("model_name_or_path: bare\n", "has no config.json"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_one_line_before_anything_is_loaded(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": "solve a", "strategy": "b", "answer": "5"}]
    for file, lines in {
        "rows": rows,
        "empty": [],
        "bare": [{"prompt": "a"}],
        "numbers": [{"prompt": 5}],
        "blank": [{"prompt": "", "strategy": "b"}],
    }.items():
        Path(f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    DatasetDict({"train": Dataset.from_list(rows), "validation": Dataset.from_list(rows)}).save_to_disk("saved")
    Path("torn.jsonl").write_text(json.dumps(rows[0]) + '\n{"prompt": "solve')
    Path("data.xlsx").write_text("")
    Path("broken.py").write_text("1 / 0")
    Path("needy.py").write_text("def fn(completions, solution, **more): ...")
    Path("bare").mkdir()
    Path("adapter").mkdir()
    Path("adapter/adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "somewhere"}))
    text, message = REFUSED[name]
    Path("recipe.yaml").write_text(
        "".join(f"{key}: {value}\n" for key, value in BASE.items() if f"{key}:" not in text) + text
    )
    assert message in said(["--config", "recipe.yaml"], monkeypatch, capsys)


@pytest.mark.parametrize(("text", "kind"), [("", "nothing"), ("- a\n", "a list"), ("a", "a single value")])
def test_a_recipe_that_is_no_mapping(
    text: str, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("recipe.yaml").write_text(text)
    assert f"holds {kind}, but must be a YAML mapping" in said(["--config", "recipe.yaml"], monkeypatch, capsys)


def test_the_command_line_is_refused_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in (
        ("--max_steps two", "invalid int value: 'two'"),
        ("--lora-r 8", "lora_r is given without use_peft"),
        ("--config recipe.yaml", "--config stands 2 times"),
        ("--max_steps", "expected one argument"),
        ("--generation_kwargs {min_p:0.1}", "generation_kwargs is '{min_p:0.1}', but must be a mapping"),
    ):
        assert message in said([*recipe(), *words.split()], monkeypatch, capsys)
    for path, message in ((".", "got a directory"), ("recipe.yml", "got 'recipe.yml', and there is no such file")):
        assert message in said(["--config", path], monkeypatch, capsys)


def test_several_trackers_may_stand_on_the_command_line(folder: Path) -> None:
    for words, trackers in (("wandb tensorboard", ["wandb", "tensorboard"]), ("wandb", ["wandb"]), ("none", [])):
        assert parse([*recipe(), "--report_to", *words.split()])[1].report_to == trackers
    assert parse([*recipe(report_to=["wandb", "trackio"])])[1].report_to == ["wandb", "trackio"]
    assert parse([*recipe(report_to=["wandb"]), "--report_to", "trackio"])[1].report_to == ["trackio"]


def test_a_path_below_the_home_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell reads what stands in a file or a notebook, and bash leaves what stands behind an equals sign."""
    monkeypatch.setenv("HOME", str(folder))
    Path("mine.jsonl").write_text('{"prompt": "a", "answer": "5"}')
    Path("mine.py").write_text("def fn(completions, **more): ...")
    names = {"dataset_name": "~/mine.jsonl", "reward_funcs": ["~/mine.py:fn"], "output_dir": "~/run"}
    argv = recipe(model_name_or_path="~/model", **names)
    run, config, model = parse(["--config=~/recipe.yaml", *argv[2:]])
    assert (load_data(run)["answer"], load_reward(run.reward_funcs[0]).__name__) == (["5"], "fn")
    assert (config.output_dir, model.model_name_or_path) == (str(folder / "run"), str(folder / "model"))
    values = {"methods": ("sgpo",), "config": "~/r.yaml", "out": Path("~/c"), "benchmark": ("~/mine.jsonl", "aime24")}
    given = from_flat(CompareOptions, values)
    assert (given.out, given.recipe.benchmark) == (folder / "c", (str(folder / "mine.jsonl"), "aime24"))


def test_yaml_as_it_is_meant(folder: Path) -> None:
    text = "learning_rate: 1e-6\nsave_strategy: no\nbf16: off\nreport_to: none\nkl_clip: null\nrun_name: 2026-11-26\n"
    text += "reward_funcs: accuracy\nreward_weights: 2\nmax_steps: 1e3\nlog_problems: yes\nscale_rewards: false\n"
    text += "optim: adafactor\nlr_scheduler_type: constant\nadam_beta2: '0.95'\nchat_template_kwargs: {a: 1}\n"
    run, config, _ = parse(recipe(text))
    assert (config.learning_rate, config.max_steps, config.adam_beta2) == (1e-6, 1000, 0.95)
    assert (config.save_strategy.value, config.bf16, config.report_to, config.run_name) == (
        "no",
        False,
        [],
        "2026-11-26",
    )
    assert (config.kl_clip, config.log_problems, config.scale_rewards) == (None, True, "none")
    assert (run.reward_funcs, config.reward_weights, config.chat_template_kwargs) == (["accuracy"], [2.0], {"a": 1})
    assert find_method("sgpo:learning_rate=8e-4").fields == {"learning_rate": 8e-4}


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_user_wrote_of_the_model_wins(kind: str, folder: Path) -> None:
    """Before, the defaults of ModelConfig went over model_init_kwargs."""
    written = {"dtype": "bfloat16", "attn_implementation": "eager", "revision": "abc", "device_map": "cpu"}
    _, config, model = parse(recipe(model_init_kwargs=written), KINDS[kind].config)
    assert init_kwargs(config, model) == written
    assert (model.dtype, model.model_revision, model.attn_implementation) == (
        "bfloat16",
        "abc",
        "eager",
    )  # for the plan
    _, config, model = parse([*recipe(model_init_kwargs=json.dumps(written)), "--dtype", "bfloat16"])
    assert init_kwargs(config, model) == written
    with pytest.raises(ValueError, match="keep one of them"):
        parse([*recipe(model_init_kwargs=written), "--dtype", "float32"])
    _, config, model = parse(recipe())
    assert init_kwargs(config, model)["dtype"] == "float32"


def test_lora_as_it_is_meant(folder: Path) -> None:
    for targets, taken in (("q_proj", ["q_proj"]), (["q_proj"], ["q_proj"]), ("all-linear", "all-linear")):
        _, _, model = parse(recipe(use_peft=True, lora_target_modules=targets))
        assert model.lora_target_modules == taken
    pattern = r".*\.(q|v)_proj"
    assert parse(recipe(use_peft=True, lora_target_modules=pattern))[2].lora_target_modules == pattern
    assert parse([*recipe(use_peft=True, lora_r=8), "--use_peft", "false"])[2].use_peft is False  # turned off


def test_rewards_of_the_working_directory(folder: Path) -> None:
    Path("my_rewards_here.py").write_text("def fn(completions, **kwargs): return [7.0 for _ in completions]\n")
    assert load_reward("my_rewards_here:fn")(["x"]) == [7.0]
    assert load_reward("my_rewards_here.fn")(["x"]) == [7.0]
    assert load_reward("accuracy").__name__ == "accuracy_reward"


def test_data_of_every_kind(folder: Path) -> None:
    rows = [{"prompt": "solve a", "strategy": "b", "answer": "5"}] * 3
    DatasetDict({"train": Dataset.from_list(rows), "validation": Dataset.from_list(rows[:2])}).save_to_disk("splits")
    Dataset.from_list(rows).save_to_disk("plain")
    Path("files").mkdir()
    Dataset.from_list(rows).to_parquet("files/train.parquet")
    Dataset.from_list(rows).to_json("rows.jsonl")
    for name in ("splits", "plain", "files", "rows.jsonl"):
        assert len(load_data(parse(recipe(dataset_name=name))[0])) == 3
    run, _, _ = parse(recipe(dataset_name="splits", eval_strategy="steps", eval_steps=1, eval_split="validation"))
    assert len(load_eval_data(run) or []) == 2
    run, _, _ = parse(recipe(dataset_name="splits", eval_strategy="epoch", eval_dataset="rows.jsonl"))
    assert len(load_eval_data(run) or []) == 3


@pytest.mark.parametrize(
    ("file", "text", "answers"),
    [
        ("rows.jsonl", '{"prompt": "a", "answer": "2024-05-06"}\n' * 2, ["2024-05-06"] * 2),
        ("rows.csv", "prompt,answer\na,033\nb,NA\n", ["033", "NA"]),
        ("folder/train.jsonl", '{"prompt": "a", "answer": "2024-05-06"}\n', ["2024-05-06"]),
        ("folder/train.csv", "prompt,answer\na,033\nb,NA\n", ["033", "NA"]),
        ("folder/rows.json", '[{"prompt": "a", "answer": "2024-05-06"}]', ["2024-05-06"]),
    ],
)
def test_an_answer_stays_what_it_is_in_its_file(file: str, text: str, answers: list[str], folder: Path) -> None:
    path = Path(file)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    name = str(path.parent) if path.parent != Path() else file
    assert load_data(parse(recipe(dataset_name=name))[0])["answer"][:] == answers


def test_columns_and_their_types_are_those_of_all_rows(folder: Path) -> None:
    """Of a list, and of more JSON than ``datasets`` looks at to choose the types."""
    rows = [{"prompt": "a", "answer": "1"}, {"prompt": "b", "answer": "2", "strategy": "carry"}]
    Path("list.json").write_text(json.dumps(rows))
    assert load_data(parse(recipe(dataset_name="list.json"))[0])["strategy"][:] == [None, "carry"]
    messages = [{"role": "user", "content": "x" * 1000}]
    first = {"prompt": messages, "answer": "a year", "strategy": None, "level": 1}
    last = {
        "prompt": [{**messages[0], "name": "me"}],
        "answer": "2024-05-06",
        "strategy": "b",
        "level": 1.5,
        "more": [],
    }
    text = "".join(json.dumps(row) + "\n" for row in [first] * 10000 + [last] * 5000)
    Path("long.jsonl").write_text(text)
    data = load_data(parse(recipe(dataset_name="long.jsonl"))[0])
    assert [data[9999], data[10000]] == [{**first, "more": None}, last]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet", "rows/train.parquet"])
def test_a_file_that_was_replaced_is_read_anew(name: str, folder: Path) -> None:
    """Whatever time it bears: those that an archive or an image brings have one that was set."""
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    for answer in ("1", "2"):
        if path.suffix == ".jsonl":
            path.write_text(json.dumps({"prompt": "a", "answer": answer}) + "\n")
        else:
            Dataset.from_list([{"prompt": "a", "answer": answer}]).to_parquet(path)
        os.utime(path, (1e9, 1e9))
        given = str(path if "/" not in name else path.parent)
        assert load_data(parse(recipe(dataset_name=given))[0])["answer"][:] == [answer]


def test_splits_of_a_folder_of_text(folder: Path) -> None:
    Path("split").mkdir()
    for split in ("train", "test"):
        Path(f"split/{split}.csv").write_text(f"prompt,answer\na {split},01\nb,02\n")
    run, _, _ = parse(recipe(dataset_name="split", dataset_split="train[:1]+test"))
    assert load_data(run)["prompt"][:] == ["a train", "a test", "b"]
    run, _, _ = parse(recipe(dataset_name="split", dataset_split="validation"))
    with pytest.raises(ValueError, match=r"'validation' cannot be read: Unknown split .*'train', 'test'"):
        load_data(run)


@pytest.mark.parametrize(
    "answers", [[12345678901234567890123, 5], [[12345678901234567890123], [5]], [2**53 + 1, 0.5], [0.5, 2**53 + 1]]
)
def test_a_whole_number_that_a_column_would_round_is_refused(answers: list[object], folder: Path) -> None:
    Path("long.jsonl").write_text("".join(json.dumps({"prompt": "a", "answer": each}) + "\n" for each in answers))
    with pytest.raises(ValueError, match=r"long.jsonl, line [12]: 'answer' holds a whole number .* in quotes"):
        load_data(parse(recipe(dataset_name="long.jsonl"))[0])


def test_evaluation_data_that_are_trained_on_are_said(folder: Path) -> None:
    """By a slice that overlaps, or a file that holds both; as text and as messages."""
    texts = [{"prompt": f"solve  {i}", "strategy": "b", "answer": "5"} for i in range(9)]
    messages = [{**row, "prompt": [{"role": "user", "content": row["prompt"].replace("  ", " ")}]} for row in texts]
    for name, rows in (("texts", texts), ("messages", messages)):
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def said(**fields: Any) -> str:
        run, _, _ = parse(recipe(dataset_name="texts.jsonl", eval_strategy="epoch", **fields))
        return trained_on(load_data(run), load_eval_data(run))

    assert said(dataset_split="train[:6]", eval_split="train[6:]") == ""
    assert said(dataset_split="train[:6]", eval_split="train[4:]").startswith("2 of the 5 problems of the evaluation")
    held = {"eval_dataset": "messages.jsonl", "eval_split": "train[5:]"}
    assert said(dataset_split="train[:6]", **held).startswith("1 of the 4 problems")
    assert trained_on(load_data(parse(recipe(dataset_name="texts.jsonl"))[0]), None) == ""


def test_what_is_proposed_after_a_training_fits_its_recipe(folder: Path) -> None:
    Path("held.csv").write_text("problem,answer\n1+1?,2\n")
    Path("mine.py").write_text("def right(completions, **columns): return [0.0] * len(completions)\n")
    messages = [{"role": "user", "content": "1+1?"}]
    ours: dict[str, Any] = {"model_name_or_path": "m", "dataset_name": "d.parquet", "max_completion_length": 64}
    own = {"reward_funcs": ["mine.py:right"]}
    held = {"eval_dataset": "held.csv", "eval_strategy": "steps"}
    quiet = {"chat_template_kwargs": {"enable_thinking": False}}

    def proposed(row: dict[str, Any], **fields: Any) -> list[str]:
        run, config, model = parse(recipe(**fields))
        return next_commands(run, config, model, Dataset.from_list([row])).removeprefix("Next:").split("\n")

    row = {"prompt": messages, "answer": "2"}
    assert proposed(row)[0].strip() == "sgpo eval run --benchmark lab --out run-eval"
    assert "sgpo eval run --benchmark math500 --template FILE --out run-eval" in proposed(row, **ours)[0]
    # Messages are whole prompts, in an evaluation as in training: no template is put around them.
    unseen = proposed(row, **ours, **own)[0]
    assert "sgpo eval run --data HELD.jsonl --max-new-tokens 64 --out" in unseen
    assert unseen.endswith("not trained on: answer, prompt, as it was trained on")
    assert "sgpo eval run --data held.csv --max-new-tokens 64 --out" in proposed(row, **ours, **own, **held)[0]
    text, thoughtless = proposed({**row, "prompt": "1+1?"}, **ours)[0], proposed(row, **ours, **quiet)[0]
    assert "--benchmark math500 --template raw --out" in text
    boxed = "1+1?\n\nPlease reason step by step, and put your final answer within \\boxed{}."
    assert "--template plain --out" in proposed({**row, "prompt": boxed}, **ours)[0]  # as `sgpo init` writes them
    assert "--template" not in proposed({**row, "prompt": [{"role": "user", "content": boxed}]}, **ours)[0]
    assert "--template FILE --out run-eval  # FILE makes the prompts of training; or" in proposed(row, **ours)[0]
    assert "--chat-template-kwargs '{\"enable_thinking\": false}'" in thoughtless
    assert [line.strip() for line in proposed({"prompt": messages}, **ours, **own)] == ["sgpo report run"]


def test_a_model_that_brings_code_is_refused_without_a_question(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("standard input was read"))
    with_code(folder / "model")
    line = said(recipe(model_name_or_path="model"), monkeypatch, capsys)
    assert "it brings Python code of its own, which is not run here" in line
    assert not (folder / "ran").exists()


def test_no_other_command_runs_it_either(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("standard input was read"))
    with_code(folder / "model")
    Path("held.jsonl").write_text(json.dumps({"problem": "1 + 1", "answer": "2", "strategy": "add"}) + "\n")
    for words in (
        "eval model --data held.jsonl --max-new-tokens 4",
        f"plan {' '.join(recipe(model_name_or_path='model'))} --hardware h100",
        f"compare {' '.join(recipe(model_name_or_path='model'))} --methods hpt --tune 1e-5 --benchmark held.jsonl",
    ):
        monkeypatch.setattr(sys, "argv", ["sgpo", *words.split()])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2
        line = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("error:"))
        assert "code of its own" in line or "model_type 'its-own'" in line
    assert not (folder / "ran").exists()


def test_every_loader_says_that_no_code_is_run() -> None:
    """Without the argument transformers asks on standard input, and waits."""
    silent = []
    for path in sorted(Path(sgpo.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            loads = node.func.attr == "from_pretrained" and ast.unparse(node.func.value).startswith("Auto")
            given = [word.arg for word in node.keywords]
            if loads and "trust_remote_code" not in given and ast.unparse(node.keywords[-1].value) != "common":
                silent.append(f"{path.name}:{node.lineno}")
    assert silent == []


def with_code(path: Path) -> None:
    """A model folder whose config names code of its own; that leaves a file beside the folder when it is run."""
    trainer_kit.make_tokenizer().save_pretrained(path)
    maps = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model", "AutoTokenizer": ["code.T", None]}
    (path / "config.json").write_text(json.dumps({"model_type": "its-own", "auto_map": maps}))
    tokenizer = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "auto_map": maps}))
    (path / "code.py").write_text(f"open({os.fspath(path.parent / 'ran')!r}, 'w')\n")


def test_a_whole_model_passes(folder: Path) -> None:
    trainer_kit.make_model().save_pretrained("model")
    check_model(parse(recipe(model_name_or_path="model"))[2])


@pytest.mark.parametrize("name", ["Mistral3", "Gemma3"])
def test_the_check_makes_the_kind_of_model_that_trl_loads(name: str) -> None:
    described = getattr(transformers, f"{name}Config")(architectures=[f"{name}ForConditionalGeneration"])
    check_parts(SimpleNamespace(report_to=[], use_vllm=False, deepspeed=None), ModelConfig(), described)
