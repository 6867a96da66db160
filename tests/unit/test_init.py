"""``sgpo init`` and ``sgpo train --check``, offline, on tiny models of three families with and without a template."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trainer_kit
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from trl import GRPOTrainer
from typer.testing import CliRunner

from sgpo.cli import app
from sgpo.recipe import load_reward, main
from sgpo.recipe.arguments import RunArguments
from sgpo.recipe.run import check_folder

FAMILIES = ("qwen2", "qwen3", "llama")
ROWS = [
    {
        "question": f"What is {i} + {i}?",
        "answer": f"We add.\n#### {2 * i}",
        "strategy": "Add the two." if i % 2 else None,
    }
    for i in range(6)
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models, FAMILY-chat and FAMILY-base, whose tokenizers spell bytes."""
    folder = tmp_path_factory.mktemp("models")
    vocabulary = {c: i for i, c in enumerate(["<pad>", "<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    for family in FAMILIES:
        model = trainer_kit.make_model(family, vocab_size=len(vocabulary), max_position_embeddings=1024)
        for kind, template in (("chat", trainer_kit.CHAT), ("base", None)):
            tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")
            tokenizer.chat_template = template
            tokenizer.save_pretrained(folder / f"{family}-{kind}")
            model.save_pretrained(folder / f"{family}-{kind}")
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def run(*words: str, code: int = 0) -> str:
    """What a command prints; it must end with ``code``."""
    done = CliRunner().invoke(app, list(words), catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.parametrize("kind", ["chat", "base"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_start_is_written_checked_and_shows_both_prompts(family: str, kind: str, tiny: Path, here: Path) -> None:
    said = run("init", str(tiny / f"{family}-{kind}"), write(here / "gsm.jsonl", ROWS), "--out", "my run")
    written = sorted(path.name for path in (here / "my run").iterdir() if path.is_file())
    assert written == ["problems.jsonl", "recipe.yaml", "reward.py"]
    assert len((here / "my run" / "reward.py").read_text().splitlines()) <= 10
    first = json.loads((here / "my run" / "problems.jsonl").read_text().splitlines()[1])
    assert (first["answer"], first["strategy"]) == ("2", "Add the two.")
    assert isinstance(first["prompt"], str if kind == "base" else list)
    shown = "What is 1 + 1?\n  | \n  | Please reason step by step, and put your final answer within \\boxed{}."
    assert said.count(shown) == 2
    assert said.count("<assistant>") == (2 if kind == "chat" else 0)
    assert said.count("A strategy for problems of this kind:\n  | Add the two.") == 1
    assert "strategy       3 of 6 rows" in said
    assert "my run/reward.py:correct                 1 and 0" in said
    assert "Memory and time on 1 x cpu" in said
    assert "All well. Nothing was trained." in said
    assert "sgpo train --config 'my run/recipe.yaml' --check" in said


def test_what_was_written_trains_on_the_tokens_that_were_shown(
    tiny: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[int]] = []

    def turn(self: Any, prompt_ids: list[list[int]], *args: Any) -> Any:
        asked.extend(prompt_ids)
        return [[2, 3] for _ in prompt_ids], None

    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", turn)
    said = run("init", str(tiny / "qwen2-chat"), write(here / "gsm.jsonl", ROWS[1:2]), "--out", "a")
    main(["--config", "a/recipe.yaml", "--max_steps", "1", "--max_completion_length", "4", "--save_strategy", "no"])
    assert (here / "a" / "run" / "model.safetensors").is_file()
    tokenizer = AutoTokenizer.from_pretrained(tiny / "qwen2-chat")
    texts = {tokenizer.decode(ids) for ids in asked}
    assert len(texts) == 2  # with and without the strategy
    for text in texts:
        assert "\n".join(f"  | {line}" for line in text.splitlines()) in said
    assert {f"  {len(ids)} tokens: " for ids in asked} <= {line[: line.find(": ") + 2] for line in said.splitlines()}
    assert "train step 1/1 reward 0" in capsys.readouterr().err


def test_a_run_that_would_write_into_its_data_is_refused(tiny: Path, here: Path) -> None:
    run("init", str(tiny / "qwen2-chat"), write(here / "gsm.jsonl", ROWS))
    before = (here / "first-run" / "problems.jsonl").read_text()
    words = ("train", "--config", "first-run/recipe.yaml", "--output_dir", "first-run")
    assert "a file that the run writes to" in run(*words, "--check", code=1)
    with pytest.raises(ValueError, match=r"first-run.problems\.jsonl., a file that the run writes to"):
        run(*words)
    assert (here / "first-run" / "problems.jsonl").read_text() == before


def test_a_run_below_a_folder_of_save_to_disk_is_none_of_its_data(tmp_path: Path) -> None:
    """Such a folder names its files; of any other each file is data."""
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    (tmp_path / "files").mkdir()
    write(tmp_path / "files" / "a.jsonl", ROWS)
    for folder in ("saved", "files"):
        given = RunArguments(dataset_name=str(tmp_path / folder))
        config = SimpleNamespace(output_dir=str(tmp_path / folder / "run"), resume_from_checkpoint=None)
        with pytest.raises(ValueError, match="a folder that the run writes to") if folder == "files" else nullcontext():
            check_folder(given, config)


def test_sizes_and_machines_decide(tiny: Path, here: Path) -> None:
    data = write(here / "gsm.jsonl", ROWS)
    said = run("init", str(tiny / "qwen2-base"), data, "--hardware", "h100:2", "--rows", "3")
    text = (here / "first-run" / "recipe.yaml").read_text()
    assert "bf16: true" in text
    assert "max_completion_length: 512" in text  # half of the context of 1,024
    assert "2 x h100" in said
    assert "  accelerate launch --num_processes 2 -m sgpo.recipe --config first-run/recipe.yaml    # a first" in said
    assert f"sgpo init {tiny / 'qwen2-base'} {data} --rows 0 --out first-run-all" in said


def test_data_in_the_form_of_training_stay_as_they_are(tiny: Path, here: Path) -> None:
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "1 + 1?"}]
    rows = [{"prompt": messages, "strategy": "Add.", "answer": "2", "id": 7}] * 3
    said = run("init", str(tiny / "llama-chat"), write(here / "d.jsonl", rows), "--rows", "2")
    first = json.loads((here / "first-run" / "problems.jsonl").read_text().splitlines()[0])
    assert first == {"id": "7", "prompt": messages, "strategy": "Add.", "answer": "2"}
    assert f"sgpo train --config first-run/recipe.yaml --dataset_name {here / 'd.jsonl'}" in said


def test_a_prompt_of_text_keeps_its_words_and_all_rows_go_through_init_again(tiny: Path, here: Path) -> None:
    """The data themselves would go past the chat template."""
    data = write(
        here / "d.jsonl", [{"prompt": f"{i} + 1?", "strategy": "Add.", "answer": str(i + 1)} for i in range(3)]
    )
    for kind, prompt in (("chat", [{"role": "user", "content": "0 + 1?"}]), ("base", "0 + 1?")):
        said = run("init", str(tiny / f"llama-{kind}"), data, "--rows", "2", "--out", kind)
        assert json.loads((here / kind / "problems.jsonl").read_text().splitlines()[0])["prompt"] == prompt
        assert ("--rows 0" in said) == (kind == "chat")
        assert (f"--dataset_name {data}" in said) == (kind == "base")


def test_a_strategy_in_parts_is_written_as_an_exported_one(tiny: Path, here: Path) -> None:
    """It was dropped without a word, so that a run trained by GRPO alone."""
    parts = {"Problem Type": "sums", "strategy": "Take the ones first.", "steps": ["Add the ones.", "Carry."]}
    said = run("init", str(tiny / "llama-chat"), write(here / "d.jsonl", [{**ROWS[1], "strategy": parts}] * 2))
    first = json.loads((here / "first-run" / "problems.jsonl").read_text().splitlines()[0])
    assert first["strategy"] == (
        "Problem type: sums\nStrategy: Take the ones first.\nSteps:\n1. Add the ones.\n2. Carry."
    )
    assert "2 with a strategy" in said
    for bad, why in ((["Add."], "a list"), ({"strategy": "Add.", "steps": "Add."}, "of which 'problem_type'")):
        data = write(here / "bad.jsonl", [{**ROWS[1], "strategy": bad}])
        with pytest.raises(ValueError, match=f"row 1: 'strategy' is .*, {why}.*; give text, an object with"):
            run("init", str(tiny / "llama-chat"), data, "--out", "bad")
        assert not (here / "bad").exists()


def test_the_other_columns_stay_for_rewards_and_the_report(tiny: Path, here: Path) -> None:
    rows = [{**row, "level": i, "family": "sums", "completions": ["x"]} for i, row in enumerate(ROWS)]
    run("init", str(tiny / "llama-chat"), write(here / "d.jsonl", rows))
    first = json.loads((here / "first-run" / "problems.jsonl").read_text().splitlines()[1])
    assert set(first) == {"prompt", "strategy", "answer", "level", "family"}  # `completions` are TRL's own
    (here / "own.py").write_text("def easy(completions, level, **columns):\n    return [float(n < 9) for n in level]\n")
    check = ("train", "--config", "first-run/recipe.yaml", "--check", "--hardware", "cpu")
    assert "own.py:easy                              1 and 1" in run(*check, "--reward_funcs", "own.py:easy", code=1)


def test_responses_lead_to_strategies(tiny: Path, here: Path) -> None:
    rows = [{"problem": "1 + 1?", "answer": "2", "response": "It is 2."}]
    said = run("init", str(tiny / "llama-chat"), write(here / "d.jsonl", rows), code=1)
    assert "No row has a strategy" in said
    places = [said.index(f"sgpo strategies {name}") for name in ("extract", "rank", "export")]
    assert places == sorted(places)
    assert "0 with a strategy;" not in said


def test_worked_solutions_lead_to_strategies(tiny: Path, here: Path) -> None:
    """As in GSM8K, where the column of the answers holds the solutions, and in data with a column of their own."""
    worked = "We add one and one.\n#### 2"
    cases = (
        ({"answer": worked}, "answer=answer,response=answer"),
        ({"answer": "2", "solution": worked}, "answer=answer,response=solution"),
        ({"solution": worked}, "answer=solution,response=solution"),
        ({"answer": "$2$"}, None),
    )
    for number, (cells, columns) in enumerate(cases):
        data = write(here / "d.jsonl", [{"question": "1 + 1?", **cells}])
        said = run("init", str(tiny / "llama-chat"), data, "--out", str(number), code=1)
        if columns is None:
            assert "sgpo strategies extract --help" in said
            continue
        assert f"sgpo strategies extract {data} --columns {columns} --store" in said
        asked = ("strategies", "extract", data, "--columns", columns, "--dry-run", "--model", "m")
        assert "about 1 usable" in run(*asked, "--base-url", "http://127.0.0.1:9/v1", "--store", f"{number}.db")


def test_data_with_several_configurations_are_named_with_what_to_do(tiny: Path, here: Path) -> None:
    """As openai/gsm8k has them, for which `sgpo init` has no option."""
    folder = here / "hub"
    folder.mkdir()
    configs = "".join(f"- config_name: {name}\n  data_files: {name}.jsonl\n" for name in ("main", "socratic"))
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    for name in ("main", "socratic"):
        write(folder / f"{name}.jsonl", ROWS)
    with pytest.raises(ValueError, match=r"main.*socratic.*\(dataset_config, in a recipe\).*CONFIG, split='train'"):
        run("init", str(tiny / "qwen2-chat"), str(folder))


@pytest.mark.parametrize(
    ("model", "rows", "said"),
    [
        ("none", ROWS, "model_name_or_path is '.*none', .*no such folder"),
        (
            "qwen2-chat",
            [{"text": "a"}],
            r"no column with the problem \(prompt, problem, question\); its columns are text",
        ),
        ("qwen2-chat", [{"problem": "a"}], "no column with the answer"),
        ("qwen2-chat", [{"problem": "a", "answer": "1"}, {"problem": " ", "answer": "1"}], "row 2: 'problem' is ' '"),
        (
            "qwen2-chat",
            [{"problem": "a", "answer": "1"}, {"problem": "b", "answer": None}],
            "row 2: 'answer' is 'None'",
        ),
        ("qwen2-chat", [], "an empty file"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_written(
    model: str, rows: list[dict[str, Any]], said: str, tiny: Path, here: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        run("init", str(tiny / model), write(here / "d.jsonl", rows))
    assert not (here / "first-run").exists()


def test_a_folder_with_other_files_and_one_that_is_a_file(tiny: Path, here: Path) -> None:
    words = ("init", str(tiny / "qwen2-chat"), write(here / "d.jsonl", ROWS))
    (here / "a").mkdir()
    (here / "a" / "notes.txt").write_text("mine")
    said = run(*words, "--out", "a")
    assert "Written into a: recipe.yaml, reward.py, problems.jsonl (6 of 6 rows, 3 with a strategy)" in said
    assert "notes.txt" not in said
    with pytest.raises(ValueError, match=r"--out is 'd\.jsonl', which is a file"):
        run(*words, "--out", "d.jsonl")


def test_the_check_counts_problems_that_are_there_twice(tiny: Path, here: Path) -> None:
    said = run("init", str(tiny / "qwen2-chat"), write(here / "d.jsonl", [*ROWS, *ROWS[:2]]))
    assert "Data: 8 problems, 6 of them different\n" in said


def test_the_recipe_of_the_lab_passes_its_check() -> None:
    """Its reward reads no box, so the right answer that is tried is the expert's."""
    recipe = Path(__file__).parents[2] / "recipes" / "lab.yaml"
    said = run("train", "--config", str(recipe), "--check", "--hardware", "cpu")
    assert "  lab                                      1 and 0\n" in said


def test_a_start_that_fails_its_check_is_taken_back(tiny: Path, here: Path) -> None:
    """So that the same command works once the data are mended."""
    told = [{**row, "strategy": f"It is {2 * i}."} for i, row in enumerate(ROWS)]
    words = ("init", str(tiny / "qwen2-chat"), write(here / "d.jsonl", told))
    with pytest.raises(ValueError, match="6 of 6 strategies contain the answer"):
        run(*words)
    assert not (here / "first-run").exists()
    write(here / "d.jsonl", ROWS)
    run(*words)


def test_a_model_without_its_tokenizer_and_one_with_half_of_its_weights(tiny: Path, here: Path) -> None:
    """transformers makes an empty tokenizer of nothing, without a word."""
    data = write(here / "d.jsonl", ROWS)
    bare = shutil.copytree(tiny / "qwen2-chat", here / "bare", ignore=shutil.ignore_patterns("tokenizer*"))
    for words in (("init", str(bare), data), ("eval", str(bare), "--data", data)):
        with pytest.raises(ValueError, match=r"comes with no tokenizer: .*Copy the tokenizer's files"):
            run(*words)
    run("init", str(tiny / "qwen2-chat"), data)
    recipe = ["--config", "first-run/recipe.yaml", "--model_name_or_path"]
    with pytest.raises(ValueError, match="comes with no tokenizer"):
        main([*recipe, str(bare)])
    half = shutil.copytree(tiny / "qwen2-chat", here / "half")
    weights = half / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"model '.*half' cannot be loaded: .*\. Give a folder"):
        main([*recipe, str(half)])


def test_an_older_start_is_kept(tiny: Path, here: Path) -> None:
    words = ("init", str(tiny / "qwen2-chat"), write(here / "d.jsonl", ROWS))
    run(*words)
    (here / "first-run" / "reward.py").write_text("mine")
    with pytest.raises(ValueError, match="is there already; give another --out"):
        run(*words)
    assert (here / "first-run" / "reward.py").read_text() == "mine"


BAD_REWARD = """
def flat(completions, **columns):
    return [0.0] * len(completions)


def broken(completions, **columns):
    return 1 / 0
"""


def test_check_says_what_would_train_and_learn_nothing(tiny: Path, here: Path) -> None:
    run("init", str(tiny / "qwen2-chat"), write(here / "d.jsonl", ROWS))
    (here / "own.py").write_text(BAD_REWARD)
    long = [{"prompt": "What is 1 + 1? " * 60, "answer": "25", "strategy": None}] * 2
    more = ("--dataset_name", write(here / "long.jsonl", long), "--reward_funcs", "own.py:flat")
    said = run("train", "--config", "first-run/recipe.yaml", "--check", "--hardware", "cpu", *more, code=1)
    for words in (
        "No row has a strategy",
        "prompts are text, so the model's chat template is not used",
        "do not fit into the model's context of 1024; lower max_completion_length to",
        "'own.py:flat' does not prefer the answer of the first problem",
    ):
        assert words in said
    with pytest.raises(ValueError, match=r"The reward 'own\.py:broken' failed on the first problem: ZeroDivisionError"):
        run("train", "--config", "first-run/recipe.yaml", "--check", "--reward_funcs", "own.py:broken")
    told = [{"prompt": "What is 20 + 5?", "answer": "25", "strategy": "Add, which gives 25."}] * 2
    with pytest.raises(ValueError, match="2 of 2 strategies contain the answer"):
        run("train", "--config", "first-run/recipe.yaml", "--check", "--dataset_name", write(here / "told.jsonl", told))
    with pytest.raises(ValueError, match="has 1 problems, but a generation batch takes 2"):
        run(
            "train", "--config", "first-run/recipe.yaml", "--check", "--dataset_name", write(here / "1.jsonl", long[:1])
        )
    with pytest.raises(ValueError, match="has no chat template"):
        run("train", "--config", "first-run/recipe.yaml", "--check", "--model_name_or_path", str(tiny / "qwen2-base"))
    absent = ("--dataset_name", "a/absent.jsonl")  # relative to the folder that one starts from, so that one is named
    with pytest.raises(ValueError, match=f"is 'a/absent.jsonl', but there is no file {here / 'a' / 'absent.jsonl'}"):
        run("train", "--config", "first-run/recipe.yaml", "--check", *absent)
    with pytest.raises(ValueError, match="--hardware needs a value"):
        run("train", "--config", "first-run/recipe.yaml", "--check", "--hardware")
    assert not (here / "first-run" / "run").exists()


def test_what_a_training_would_meet_after_the_weights_ends_the_check(tiny: Path, here: Path) -> None:
    """It said "All well" to each of these."""
    run("init", str(tiny / "qwen2-chat"), write(here / "d.jsonl", ROWS))
    (here / "own.py").write_text("def bare(completions):\n    return [0.0] * len(completions)\n")
    (here / "zero.json").write_text("{}")
    check = ("train", "--config", "first-run/recipe.yaml", "--check")
    lora = ("--use_peft", "true", "--lora_target_modules")
    for words, why in (
        ((*lora, "q_projj"), r"lora_target_modules is \['q_projj'\].*linear modules of this model are .*q_proj"),
        (("--report_to", "wandbb"), "report_to: wandbb is not supported"),
        (("--attn_implementation", "flash_attention_2"), "A package is missing"),
        (("--use_vllm", "true"), "A package is missing that an option of this run needs: use_vllm is true"),
        (("--deepspeed", "none.json"), "deepspeed is 'none.json', but must be .*the path of such a file"),
        (("--deepspeed", "zero.json"), "A package is missing"),
        (("--reward_funcs", "own.py:bare"), r"'bare' has the parameters completions, .*Add \*\*columns"),
    ):
        with pytest.raises(ValueError, match=why):
            run(*check, *words)
    run(*check, *lora, "q_proj")
    run(*check, "--use_vllm", "true", "--hardware", "h100")  # it is to run on another machine
    assert not (here / "first-run" / "run").exists()
    (here / "first-run" / "run" / "checkpoint-2").mkdir(parents=True)
    assert "which holds checkpoint-2 of an earlier run" in run(*check, code=1)


def test_golds_that_no_answer_meets_are_said_of_the_reward_that_init_writes(tiny: Path, here: Path) -> None:
    """The look at the golds knew `accuracy_reward` alone, and not a function that calls it."""
    rows = [*ROWS, {**ROWS[0], "answer": "proof"}]
    said = run("init", str(tiny / "qwen2-chat"), write(here / "d.jsonl", rows), code=1)
    assert "1 of 7 golds can never be met (row 6: the gold 'proof' is no answer)" in said


def test_an_expert_response_that_the_reward_does_not_read_is_called_one(tiny: Path, here: Path) -> None:
    rows = [{**row, "expert": "I do not know."} for row in ROWS]
    said = run("init", str(tiny / "qwen2-chat"), write(here / "d.jsonl", rows), code=1)
    assert "does not prefer the expert response of the first problem to an empty completion" in said


def test_a_reward_in_a_file(here: Path) -> None:
    (here / "a").mkdir()
    (here / "b").mkdir()
    for name in "ab":
        (here / name / "reward.py").write_text(f"def correct(completions, **columns):\n    return {name!r}\n")
    assert [load_reward(f"{name}/reward.py:correct")([]) for name in "ab"] == ["a", "b"]
    for name, why in (
        ("c/reward.py:correct", f"there is no file {here / 'c' / 'reward.py'}"),
        ("a/reward.py:other", r"a/reward\.py has no 'other'; it has correct"),
        ("a/reward.py", r"name the function in it, as in 'a/reward\.py:FUNCTION'"),
        ("acuracy", r"did you mean accuracy\?"),
        ("accuracy, format", r"several stand in a YAML list, \[A, B\]"),
    ):
        with pytest.raises(ValueError, match=why):
            load_reward(name)
