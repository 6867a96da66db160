"""`sgpo train`: a mistake in the recipe ends in one line before anything is loaded; an interrupted run goes on."""

import importlib.util
import os
import signal
import sys
from pathlib import Path

import pytest
import yaml
from transformers import TrainerState

from sgpo.cli import main
from sgpo.recipe.display import TrainingDisplay
from sgpo.runs.files import locked

RECIPE = {
    "model_name_or_path": "lab",
    "dataset_name": "lab",
    "reward_funcs": ["lab"],
    "dtype": "float32",
    "guided_prompt_template": "S {strategy} {prompt}",
    "max_completion_length": 8,
    "num_generations": 2,
    "num_guided_generations": 2,
    "per_device_train_batch_size": 4,
    "max_steps": 2,
    "activation_checkpointing": False,
    "use_cpu": True,
    "save_steps": 1,
    "report_to": "none",
    "disable_tqdm": True,
}


def train(monkeypatch: pytest.MonkeyPatch, folder: Path, *overrides: str, **fields: object) -> int:
    """Exit code of the command."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**RECIPE, "output_dir": str(folder / "run"), **fields}))
    monkeypatch.setattr(sys, "argv", ["sgpo", "train", "--config", str(recipe), *overrides])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.mark.parametrize("overrides", [(), ("--num_guided_generation", "2")])
def test_misspelt_field(
    overrides: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {} if overrides else {"num_guided_generation": 2}
    assert train(monkeypatch, tmp_path, *overrides, **fields) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: unknown field 'num_guided_generation' (did you mean num_guided_generations")
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_value_out_of_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ("--guided_rollouts", "on_demand", "--guided_rollouts_below", "2")
    assert train(monkeypatch, tmp_path, *overrides) == 2
    assert "error: guided_rollouts_below is 2.0" in capsys.readouterr().err


def test_a_second_run_in_a_directory_is_refused_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: object, **more: object) -> None:
        raise AssertionError("it was loaded")

    monkeypatch.setattr("sgpo.recipe.run.build", fail)
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run", "sgpo train"):
        assert train(monkeypatch, tmp_path) == 2
    said = capsys.readouterr().err
    assert f"run is in use by process {os.getpid()}: sgpo train; wait for it, or give another --output_dir." in said


def test_a_new_run_beside_an_older_one_is_refused_and_a_named_checkpoint_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(monkeypatch, tmp_path) == 0
    assert train(monkeypatch, tmp_path) == 2
    assert "which holds checkpoint-2 of an earlier run; go on from it with --resume true" in capsys.readouterr().err
    named = tmp_path / "run" / "checkpoint-1"
    assert train(monkeypatch, tmp_path, "--resume_from_checkpoint", str(named)) == 0
    assert f"Resuming from {named}, step 1 of 2." in capsys.readouterr().out
    assert train(monkeypatch, tmp_path, "--resume", "true") == 0
    said = capsys.readouterr()
    assert "step 2 of 2. Nothing is left to train; raise max_steps to train on.\n" in said.out


@pytest.mark.parametrize("save_steps", [1, 10])
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_a_training_is_told_what_is_kept(
    ending: signal.Signals,
    save_steps: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def on_log(self: TrainingDisplay, args: object, state: TrainerState, *more: object, **others: object) -> None:
        if state.global_step == 2:
            os.kill(os.getpid(), ending)

    monkeypatch.setattr(TrainingDisplay, "on_log", on_log)
    code = train(monkeypatch, tmp_path, max_steps=3, save_steps=save_steps, logging_steps=1)
    said = capsys.readouterr().err
    assert code == 128 + ending
    if save_steps == 1:
        assert "Stopped. The same command with --resume true goes on from the last whole checkpoint, here " in said
    else:
        assert "Stopped. Step 2 had no checkpoint yet (they are every 10 steps), so the same command starts" in said


def test_words_that_are_no_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, expected in (
        (("recipe.yaml",), "'recipe.yaml' stands behind no option; a recipe goes behind --config, a value behind"),
        (("--confg", "recipe.yaml"), "unknown field 'confg' (did you mean config"),
        (("--lr", "1e-5"), "unknown field 'lr' (did you mean learning_rate?)"),
        (("--max-response-length", "9"), "unknown field 'max_response_length' (did you mean max_completion_length?)"),
        (
            ("--resume_from_checkpoint", "true"),
            "takes the path of a checkpoint; for the last one in output_dir give --res",
        ),
        (("--hardware", "h100"), "--hardware says what --check or sgpo plan shall plan for"),
    ):
        assert train(monkeypatch, tmp_path, *words) == 2
        assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model_init_kwargs": {"atn_implementation": "eager"}}, "'atn_implementation'"),
        ({"attn_implementation": "flash_attention_2"}, "A package is missing that an option of this run needs: Flash"),
        ({"report_to": "wandb"}, "A package is missing that an option of this run needs: Wandb"),
    ],
)
def test_what_the_model_or_a_missing_package_does_not_take_is_one_line(
    fields: dict[str, object],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for package in ("flash_attn", "wandb"):
        if importlib.util.find_spec(package) and package[:5] in said.lower():
            pytest.skip(f"{package} is installed")
    assert train(monkeypatch, tmp_path, **fields) == 2
    assert said in capsys.readouterr().err


def test_interrupted_run_goes_on_past_a_half_written_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert train(monkeypatch, tmp_path) == 0
    state = tmp_path / "run" / "checkpoint-2" / "trainer_state.json"
    state.unlink()
    assert train(monkeypatch, tmp_path, "--resume", "true") == 0
    assert state.is_file()
    said = [r.message for r in caplog.records if r.name.startswith("sgpo")]
    assert [("checkpoint-2 has no" in line, "Resuming from" in line) for line in said] == [(True, True)]
