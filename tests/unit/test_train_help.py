"""``sgpo train --help``: read without torch, and held here to the dataclasses that TRL's parser takes."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from trl import GRPOConfig, ModelConfig
from typer.testing import CliRunner

from sgpo.cli import app
from sgpo.commands import _train_help
from sgpo.recipe import RunArguments
from sgpo.trainer import SGPOConfig, values
from sgpo.trainer.base_config import SharedConfig

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
OWN = {field.name: field for field in _train_help.own_fields()}
INHERITED = {field.name: field for fields in _train_help.INHERITED.values() for field in fields}


def default_of(*classes: Any) -> dict[str, Any]:
    """Defaults by field; of two classes with one field the first counts."""
    found: dict[str, Any] = {}
    for each in [field for one in classes for field in dataclasses.fields(one)]:
        made = each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
        found.setdefault(each.name, made)
    return found


def test_our_fields_are_those_of_the_dataclasses_with_their_defaults_and_texts() -> None:
    theirs = {field.name: field for field in dataclasses.fields(GRPOConfig)}
    fields = {field.name: field for field in (*dataclasses.fields(RunArguments), *dataclasses.fields(SGPOConfig))}
    ours = {
        name: field
        for name, field in fields.items()
        if name not in theirs or field.default != theirs[name].default or field.metadata != theirs[name].metadata
    }
    both_names = {field.name for field in dataclasses.fields(SharedConfig)}
    assert set(OWN) == set(ours) - both_names
    defaults = default_of(RunArguments, SGPOConfig)
    assert {name: field.default for name, field in OWN.items()} == {name: defaults[name] for name in OWN}
    assert {name: field.help for name, field in OWN.items()} == {name: fields[name].metadata["help"] for name in OWN}


def test_what_recipes_set_is_there_with_the_true_defaults() -> None:
    written = {
        name for path in RECIPES.glob("*.yaml") if path.stem != "sft-warmup" for name in yaml.safe_load(path.open())
    }
    written |= set(re.findall(r"^(\w+):", (ROOT / "src/sgpo/commands/templates/recipe.yaml.jinja").read_text(), re.M))
    assert written - set(OWN) - set(INHERITED) == set()
    defaults = default_of(SGPOConfig, ModelConfig)
    assert {name: field.default for name, field in INHERITED.items()} == {name: defaults[name] for name in INHERITED}


def test_the_help_is_short_grouped_and_ours_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    for words in (["train", "--help"], ["train", "-h"], ["train"], ["train", "--config", "x.yaml", "--help"]):
        said = CliRunner().invoke(app, words, catch_exceptions=False).output
        lines = said.splitlines()
        assert len(lines) < 180
        assert max(map(len, lines)) <= 110
        places = [said.index(f"\n  {name} ") for name in ("dataset_name", "num_generations", "kl_clip", "use_peft")]
        assert places == sorted(places)
        assert "--help-all" in said
        assert said.count("\nGuided rollouts:\n") == 1


def test_of_a_field_with_choices_all_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = {name: " ".join(" ".join(_train_help._shown(OWN[name])).split()) for name in values.CHOICES.keys() & OWN}
    hidden = {name: [each for each in values.CHOICES[name] if f"'{each}'" not in said[name]] for name in said}
    assert {name: choices for name, choices in hidden.items() if choices} == {}


def test_help_all_lists_every_field_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        app(["train", "--help-all"], standalone_mode=False)
    said = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0
    assert "(default: 0.28)" in said
    missing = [field.name for field in dataclasses.fields(SGPOConfig) if f"--{field.name}" not in said]
    assert missing == []
