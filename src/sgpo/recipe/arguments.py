"""What a recipe and the command line say, as dataclasses whose fields agree with each other."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from trl import ModelConfig, TrlParser

from sgpo.options import at_home, option
from sgpo.recipe.fields import typed_fields
from sgpo.recipe.model import settle_model
from sgpo.runs.words import nearest
from sgpo.runs.yaml_reader import read_yaml
from sgpo.trainer import SGPOConfig


@dataclass
class RunArguments:
    """What to train on, and by which reward."""

    dataset_name: str = option(
        "",
        help="A hub id, a .jsonl, .json, .parquet or .csv file, a folder of such files or of save_to_disk, or "
        "'lab' (the embedded task; model_name_or_path 'lab' is its base). Columns: prompt, strategy, and what the "
        "rewards need, such as answer.",
    )
    dataset_config: str | None = option(None, help="Configuration of a hub data set.")
    dataset_split: str = option("train", help="Split to train on.")
    eval_dataset: str | None = option(
        None, help="Problems to measure on during training, in any form of dataset_name. Default: dataset_name itself."
    )
    eval_split: str | None = option(
        None, help="Split to measure on. Default: 'train' of eval_dataset. For dataset_name, name another split."
    )
    reward_funcs: list[str] = field(
        default_factory=lambda: ["accuracy"],
        metadata={
            "help": "Rewards: 'accuracy', 'format', 'lab', or functions of your own, 'FILE.py:function' or "
            "'package.module:function'. Modules of the working directory are found."
        },
    )
    resume: bool = option(False, help="Go on from the last checkpoint in output_dir.")


_PATHS = {"dataset_name", "eval_dataset", "reward_funcs", "resume_from_checkpoint", "model_name_or_path"}
_OWN = ("config", "check", "hardware")  # options of sgpo train beside the fields


class _Parser(TrlParser):
    """TRL's parser, whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}. `sgpo train --help-all` lists every field.")


def parse(
    argv: Sequence[str], config_class: Any = SGPOConfig, fields: Mapping[str, Any] | None = None
) -> tuple[RunArguments, Any, ModelConfig]:
    """Recipe and overrides as dataclasses; ``config_class`` is that of the trainer.

    ``fields`` are as if the recipe said them, and go before what it says.

    The command line goes before the recipe. Variables under ``env`` in the recipe are set. What ``model_init_kwargs``
    says of the model's dtype, revision and attention is in the ``ModelConfig``, whichever of the two was written.

    Raises:
        ValueError: for an unknown field, with the nearest names, a value of the wrong type, two fields that contradict
            each other, or a missing file, model or data set.
    """
    path, words = recipe_path(argv)
    classes = (RunArguments, config_class, ModelConfig)
    parser = _Parser(classes, prog="sgpo train", allow_abbrev=False)
    if "--report_to" in parser._option_string_actions:  # of a text or a list transformers' parser takes one word alone
        parser._option_string_actions["--report_to"].nargs = "+"
    recipe = ({} if path is None else read_yaml(path)) | dict(fields or {})
    environment = recipe.pop("env", None) or {}
    written = list(dict.fromkeys([*recipe, *_named(words)]))
    _check_names(parser, written)
    # As defaults: what stands on the command line goes before the recipe.
    parser.set_defaults_with_config(**typed_fields(classes, recipe, path.name if path else "fields"))
    _set_environment(environment, path)
    run, config, model, *left = parser.parse_args_into_dataclasses(args=words, return_remaining_strings=True)
    if left[0]:
        raise ValueError(
            f"{left[0][0]!r} stands behind no option; a recipe goes behind --config, a value behind --FIELD."
        )
    for owner, name in ((model, "model_name_or_path"), (run, "dataset_name")):
        if not getattr(owner, name):
            raise ValueError(f"{name} is not set; give it in the recipe or as --{name} VALUE.")
    for owner in (run, config, model):
        for name in _PATHS & vars(owner).keys():
            setattr(owner, name, at_home(getattr(owner, name)))
    settle_model(config, model, set(written))
    _check_run(run, config)
    return run, config, model


def recipe_path(argv: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The file behind ``--config``, None without one, and the other words."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    # A missing path is said below, and not by the usage of this parser.
    parser.add_argument("--config", action="append", nargs="?", const="", default=[], dest="paths")
    found, words = parser.parse_known_args(argv)
    paths: list[str] = at_home(found.paths)
    if len(paths) > 1:
        raise ValueError(f"--config stands {len(paths)} times; give one recipe, and its other fields as --FIELD VALUE.")
    if paths and not Path(paths[0]).is_file():
        said = "a directory" if Path(paths[0]).is_dir() else f"{paths[0]!r}, and there is no such file"
        raise ValueError(f"--config needs the path of a YAML recipe; got {said if paths[0] else 'nothing'}.")
    return (Path(paths[0]) if paths else None), words


def written_fields(argv: Sequence[str]) -> set[str]:
    """Names of the fields that the recipe or the command line sets."""
    path, words = recipe_path(argv)
    return {*(read_yaml(path) if path else ()), *_named(words)} - {"env"}


def _named(words: Sequence[str]) -> list[str]:
    """The options among words, by the names of their fields."""
    return [word[2:].split("=")[0].replace("-", "_") for word in words if word.startswith("--")]


def _check_names(parser: TrlParser, names: Sequence[str]) -> None:
    """Every name on the command line and in the recipe must be a field, before any of them is used."""
    known = {option.lstrip("-").replace("-", "_") for option in parser._option_string_actions}
    unknown = [name for name in names if name not in known]
    if unknown:
        hints = [f"unknown field {name!r}{nearest(name, [*known, *_OWN])}" for name in unknown]
        raise ValueError("; ".join(hints) + ". `sgpo train --help-all` lists every field.")


def _set_environment(variables: Any, path: Path | None) -> None:
    if not isinstance(variables, dict) or any(isinstance(value, (dict, list)) for value in variables.values()):
        raise ValueError(f"{path}: env must be a mapping of names to texts, such as 'HF_HOME: /data/hub'.")
    for name, value in variables.items():
        os.environ[str(name)] = "" if value is None else str(value)


def _check_run(run: RunArguments, config: Any) -> None:
    """Rewards, evaluation and folder, as far as they can be judged without loading anything."""
    weights = getattr(config, "reward_weights", None)
    if not run.reward_funcs:
        raise ValueError("reward_funcs is empty; name a reward, such as accuracy.")
    if weights is not None and len(weights) != len(run.reward_funcs):
        raise ValueError(
            f"reward_weights has {len(weights)} numbers for {len(run.reward_funcs)} reward_funcs "
            f"({', '.join(run.reward_funcs)}); give one for each, or leave it out."
        )
    strategy = str(getattr(config.eval_strategy, "value", config.eval_strategy))
    given = run.eval_dataset is not None or run.eval_split is not None
    if strategy != "no" and not given:
        raise ValueError(
            f"eval_strategy is {strategy!r}, but there is nothing to measure on; give eval_dataset (a file or hub id) "
            "or eval_split (a split of dataset_name)."
        )
    if given and strategy == "no":
        name = "eval_dataset" if run.eval_dataset is not None else "eval_split"
        raise ValueError(f"{name} is given, but eval_strategy is 'no'; set eval_strategy to steps or epoch.")
    if run.eval_dataset is None and given and run.eval_split == run.dataset_split:
        raise ValueError(
            f"eval_split is {run.eval_split!r}, which is trained on; name another split, or give eval_dataset."
        )
    if str(config.resume_from_checkpoint).lower() in ("true", "yes", "1"):
        raise ValueError(
            f"resume_from_checkpoint is {config.resume_from_checkpoint!r}, but takes the path of a checkpoint; for the "
            "last one in output_dir give --resume true."
        )
    if run.resume and config.resume_from_checkpoint:
        raise ValueError(
            f"resume is true, and resume_from_checkpoint is {config.resume_from_checkpoint!r}; keep the first for the "
            "last checkpoint in output_dir, or the second for that one."
        )
    if not config.output_dir:
        raise ValueError("output_dir is empty; give the path of a folder.")
    out = Path(config.output_dir)
    blocking = next((each for each in (out, *out.parents) if each.exists()), None)
    if blocking is not None and not blocking.is_dir():
        raise ValueError(f"output_dir is {str(out)!r}, but {blocking} is a file; give the path of a folder.")
