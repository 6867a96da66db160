"""What a training says, keeps and takes, for the three trainers alike: notices, model card, provenance, prompts."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import trainer_kit
from datasets import Dataset
from peft import LoraConfig
from trl import GRPOTrainer

from sgpo import HPTConfig, HPTTrainer, LUFFYConfig, LUFFYTrainer, SGPOConfig, SGPOTrainer
from sgpo.rewards import accuracy_reward, format_reward
from sgpo.runs.provenance import FILE_NAME, record
from sgpo.runs.redaction import redacted, redacted_command, redacted_text

TRAINERS = {
    "SGPO": (SGPOTrainer, SGPOConfig, "2606.24064"),
    "LUFFY": (LUFFYTrainer, LUFFYConfig, "2504.14945"),
    "HPT": (HPTTrainer, HPTConfig, "2509.04419"),
}
NAMES = list(TRAINERS)


def expert_data(data: Dataset) -> Dataset:
    return data.add_column("expert", [" a ok"] * len(data))


def build(name: str, out: Path, *, data: Any = None, reward: Any = trainer_kit.has_ok, model: Any = None, **more: Any):
    """A trainer of a kind on the tiny model, its TRL defaults but for the size."""
    trainer, config, _ = TRAINERS[name]
    arguments = more.pop("arguments", {})
    return trainer(
        model=trainer_kit.make_model() if model is None else model,
        reward_funcs=reward,
        args=trainer_kit.make_config(out, config, **more),
        train_dataset=expert_data(trainer_kit.make_problems()) if data is None else data,
        processing_class=trainer_kit.make_tokenizer(),
        **arguments,
    )


def never(completions: list[Any], **kwargs: Any) -> list[float]:
    return [0.0 for _ in completions]


def always(completions: list[Any], **kwargs: Any) -> list[float]:
    return [1.0 for _ in completions]


def cut_turn(self: Any, prompt_ids: Any, images: Any, fields: Any, copies: int, *args: Any) -> Any:
    """Completions that all reach the cap."""
    return [[trainer_kit.WORDS.index("a")] * self.max_completion_length for _ in prompt_ids], None


def notices(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "sgpo.trainer.notices"]


@pytest.mark.parametrize("logging_steps", [1, 10])
@pytest.mark.parametrize("name", NAMES)
def test_a_fault_that_lasts_is_said_once(
    name: str, logging_steps: int, out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", cut_turn)
    with caplog.at_level(logging.WARNING):
        build(name, out, reward=never, max_steps=5, logging_steps=logging_steps).train()
    said = notices(caplog)
    assert sum("cut off at max_completion_length = 8 tokens" in line for line in said) == 1
    assert sum("every rollout had the reward 0" in line for line in said) == 1
    assert all(line.startswith("Steps 1 to 3: ") for line in said)
    assert sum("no guided rollout was correct" in line for line in said) == (name == "SGPO")


@pytest.mark.parametrize("right", [" a ok", " a"])
def test_experts_that_are_never_rewarded_are_said(
    right: str, out: Path, scripted: None, caplog: pytest.LogCaptureFixture
) -> None:
    """LUFFY would learn to avoid them: in a form that the reward does not read, or wrong."""
    data = trainer_kit.make_problems()
    data = data.add_column("expert", [right] * len(data))
    with caplog.at_level(logging.WARNING):
        build("LUFFY", out, data=data, max_steps=4).train()
    said = [line for line in notices(caplog) if "no expert response was rewarded" in line]
    assert len(said) == (0 if "ok" in right else 1)


@pytest.mark.parametrize("name", NAMES)
def test_golds_that_are_no_answers_are_named_before_the_training(
    name: str, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = expert_data(trainer_kit.make_problems(strategies=[""] * 4))
    data = data.remove_columns("answer") if "answer" in data.column_names else data
    data = data.add_column("answer", ["1", "proof", "2", "NaN"])
    # An answer that only the second column has is one, as the reward reads it.
    measured = data.select([0, 1]).add_column("solution", ["", r"\boxed{1}"])
    measured = measured.map(lambda row: {"answer": "notfound" if row["answer"] == "1" else ""})
    with caplog.at_level(logging.WARNING):
        build(name, out, data=data, reward=accuracy_reward, arguments={"eval_dataset": {"new": measured}})
    assert notices(caplog) == [
        "The golds of train_dataset (answer, or else solution): 2 of 4 golds can never be met (row 1: the gold 'proof' "
        "is no answer; row 3: the gold 'NaN' is no answer). Their rollouts are all rewarded with 0; correct or drop "
        "these rows.",
        "The golds of eval_dataset['new'] (answer, or else solution): 1 of 2 golds can never be met (row 0: the gold "
        "'notfound' is no answer). Their rollouts are all rewarded with 0; correct or drop these rows.",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_reward_of_the_form_alone_does_not_decide_what_is_correct(name: str, out: Path) -> None:
    data = expert_data(trainer_kit.make_problems())
    both = [format_reward, accuracy_reward]
    if name == "LUFFY":  # it has no use for what is correct
        build(name, out, data=data, reward=both)
        return
    with pytest.raises(ValueError, match=r"'format_reward', decides what is correct.*correctness_reward='accuracy_rew"):
        build(name, out, data=data, reward=both)
    with pytest.raises(ValueError, match="'gone/away', decides"):  # a reward model
        build(name, out, data=data, reward=["gone/away", accuracy_reward])
    for right in ("accuracy_reward", "format_reward"):
        build(name, out, data=data, reward=both, correctness_reward=right)
    build(name, out, data=data, reward=both[::-1])
    build(name, out, data=data, reward=[trainer_kit.has_ok, always])


@pytest.mark.parametrize("name", NAMES)
def test_all_right_is_said_too_and_a_healthy_run_says_nothing(
    name: str, out: Path, scripted: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        build(name, out / "a", max_steps=5).train()
        assert notices(caplog) == []
        build(name, out / "b", reward=always, max_steps=4).train()
    assert [("every rollout had the reward 1" in line) for line in notices(caplog)] == [True]


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_the_card_cites_the_method_and_names_a_local_base(name: str, adapter: bool, out: Path, scripted: None) -> None:
    base = out.parent / "the-base"
    trainer_kit.make_model().save_pretrained(base)
    lora = {"peft_config": LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")} if adapter else {}
    trainer = build(name, out, model=str(base), max_steps=1, save_steps=1, save_strategy="steps", arguments=lora)
    trainer.train()
    trainer.save_model(str(out))
    for card in (out / "README.md", out / "checkpoint-1" / "README.md"):
        text = card.read_text()
        assert f"arXiv:{TRAINERS[name][2]}" in text or f"{{{TRAINERS[name][2]}}}" in text
        assert f"papers/{TRAINERS[name][2]}" in text
        assert "fine-tuned version of `" in text
        assert "the-base" in text
        assert "None" not in text
        assert f'model="{out}"' in text


@pytest.mark.parametrize("name", NAMES)
def test_rewards_keep_their_columns_and_empty_images_go(name: str, out: Path, scripted: None) -> None:
    """`remove_unused_columns=True` took the answer from the rewards; a column of None made prompts of images."""

    def needs(completions: list[Any], answer: list[str], **kwargs: Any) -> list[float]:
        return [float(text == "ok") for text in answer]

    data = expert_data(trainer_kit.make_problems(chat=True))
    data = data.add_column("images", [None] * len(data))
    trainer = build(name, out, data=data, reward=needs, remove_unused_columns=True, max_steps=1)
    trainer.train()
    assert trainer.state.log_history[0]["reward"] == 1.0
    with pytest.raises(ValueError, match="column 'images' of row 0 holds an image"):
        build(name, out, data=data.remove_columns("images").add_column("images", [["x"]] * len(data)))


PARTS = [{"type": "text", "text": "solve"}, {"type": "text", "text": " a b"}]
LAYOUTS: dict[str, list[dict[str, Any]]] = {
    "parts": [{"role": "user", "content": PARTS}],
    "system": [{"role": "system", "content": PARTS[:1]}, {"role": "user", "content": PARTS}],
    "turns": [
        {"role": "user", "content": PARTS[:1]},
        {"role": "assistant", "content": PARTS[:1]},
        {"role": "user", "content": PARTS},
    ],
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NAMES)
def test_parts_train_as_their_text(name: str, layout: str, streamed: bool, out: Path, scripted: None) -> None:
    """The tiny template takes text alone, as most do; the same run on plain text is equal to the last bit."""

    def text(message: dict[str, Any]) -> dict[str, Any]:
        return {**message, "content": "".join(part["text"] for part in message["content"])}

    problems = expert_data(trainer_kit.make_problems()).remove_columns("prompt")
    weights = []
    for prompt in (LAYOUTS[layout], [text(message) for message in LAYOUTS[layout]]):
        data: Any = problems.add_column("prompt", [prompt] * len(problems))
        data = data.to_iterable_dataset() if streamed else data
        trainer = build(name, out, data=data, max_steps=1)
        trainer.train()
        weights.append(trainer_kit.weights_of(trainer.model))
    assert trainer_kit.largest_gap(*weights) == 0


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_rows_of_the_head_are_not_trained_in_silence(name: str, tied: bool, out: Path, scripted: None) -> None:
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", trainable_token_indices=[3])
    more = {"model": trainer_kit.make_model(tied=tied), "arguments": {"peft_config": config}, "max_steps": 1}
    if tied:
        with pytest.raises(ValueError, match="trainable_token_indices trains rows of the embeddings"):
            build(name, out, **more)
    else:
        build(name, out, **more).train()


# ---------------------------------------------------------------- provenance


def test_a_start_is_kept_and_a_second_one_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "not-to-be-kept")
    for words in (
        "init -q",
        "config user.email a@b",
        "config user.name a",
        "commit -q --allow-empty -m one",
    ):
        subprocess.run(["git", *words.split()], check=True)
    Path("a.py").write_text("x = 1\n")
    subprocess.run(["git", "add", "a.py"], check=True)
    Path("new.txt").write_text("")
    monkeypatch.setattr("sys.argv", ["sgpo", "train"])
    record(tmp_path / "run", {"config": SGPOConfig(str(tmp_path), hub_token="hf_" + "a" * 30)})
    monkeypatch.setattr("sys.argv", ["sgpo", "train", "--hub_token", "abc"])
    record(tmp_path / "run", {"lr": 1})
    text = (tmp_path / "run" / FILE_NAME).read_text()
    first, second = json.loads(text)["starts"]
    assert (first["command"], second["command"]) == (["sgpo", "train"], ["sgpo", "train", "--hub_token", "***"])
    assert "+x = 1" in first["git"]["diff"]
    assert len(first["git"]["commit"]) == 40
    assert "new.txt" in first["git"]["untracked"]
    assert first["packages"]["torch"]
    assert first["config"]["config"]["num_generations"] == 8
    assert "not-to-be-kept" not in text
    assert "a" * 30 not in text


def test_no_repository_and_a_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / FILE_NAME).write_text("{")
    record(tmp_path, {})
    assert json.loads((tmp_path / FILE_NAME).read_text())["starts"][0]["git"] is None


def test_keys_are_struck_out_and_nothing_else() -> None:
    key = "sk-" + "a1" * 20
    assert redacted({"api_key": "x", "max_tokens": 5, "eos_token": "</s>", "api_key_env": "OPENAI_API_KEY"}) == {
        "api_key": "***",
        "max_tokens": 5,
        "eos_token": "</s>",
        "api_key_env": "OPENAI_API_KEY",
    }
    assert redacted({"a": [{"password": "p"}, f"Bearer {key}"]}) == {"a": [{"password": "***"}, "Bearer ***"]}
    assert redacted_command(["sgpo", "x", "--api-key", "p", "--api-key=p", "--api-key-env", "VAR", f"k={key}"]) == [
        *("sgpo", "x", "--api-key", "***", "--api-key=***", "--api-key-env", "VAR", "k=***"),
    ]
    assert redacted_text('"https://me:pw@host/x" API_KEY="abc" num_tokens=5') == (
        '"https://***@host/x" API_KEY="***" num_tokens=5'
    )


def test_sgpo_train_says_where_the_model_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from test_trainer_command import train

    assert train(monkeypatch, tmp_path) == 0
    said = capsys.readouterr().out
    run = tmp_path / "run"
    assert f"Model: {run}\n" in said
    assert f"sgpo eval {run} --benchmark lab" in said
    assert f"sgpo report {run}" in said
    assert json.loads((run / FILE_NAME).read_text())["starts"][0]["config"]["run"]["reward_funcs"] == ["lab"]
    assert "2606.24064" in (run / "README.md").read_text()
    assert train(monkeypatch, tmp_path, "--resume", "true", "--max_steps", "3") == 0
    assert f"Resuming from {run / 'checkpoint-2'}, step 2 of 3." in capsys.readouterr().out
    assert len(json.loads((run / FILE_NAME).read_text())["starts"]) == 2


def test_evaluation_during_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from test_trainer_command import train

    data = [{"prompt": "1 + 1 =", "answer": "2"}] * 2
    (tmp_path / "held.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data))
    fields = {"eval_strategy": "steps", "eval_steps": 1, "eval_dataset": str(tmp_path / "held.jsonl"), "max_steps": 1}
    fields |= {"reward_funcs": ["accuracy"], "per_device_eval_batch_size": 2}
    assert train(monkeypatch, tmp_path, **fields) == 0
    state = json.loads((tmp_path / "run" / "checkpoint-1" / "trainer_state.json").read_text())
    assert any("eval_reward" in row for row in state["log_history"])


@pytest.mark.parametrize("name", NAMES)
def test_a_tolerance_that_is_none_is_refused_before_the_training(name: str, out: Path) -> None:
    data = expert_data(trainer_kit.make_problems())
    data = data.add_column("tolerance", ["0.1", "", "-1", ""])
    with pytest.raises(ValueError, match="train_dataset, row 2: tolerance is '-1'"):
        build(name, out, data=data, reward=accuracy_reward)
