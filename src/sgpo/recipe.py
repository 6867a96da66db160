"""One training run from a recipe: parse, load, train, save. Behind ``sgpo train``; also ``python -m sgpo.recipe``
under ``torchrun`` or ``accelerate launch``."""

import difflib
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from datasets import Dataset, load_dataset
from trl import ModelConfig, TrlParser, get_peft_config, get_quantization_config

from sgpo.lab.model import base_path
from sgpo.lab.problems import load_problems
from sgpo.trainer import SGPOConfig, SGPOTrainer

LAB = "lab"
_BUILDERS = {".json": "json", ".jsonl": "json", ".parquet": "parquet", ".csv": "csv"}


@dataclass
class RunArguments:
    """What to train on, and by which reward."""

    dataset_name: str = field(
        default="",
        metadata={
            "help": "A hub id, a .jsonl, .parquet or .csv file, or 'lab' (the embedded task; model_name_or_path 'lab' "
            "is its base). Columns: prompt, strategy, and what the rewards need, such as answer."
        },
    )
    dataset_config: str | None = field(default=None, metadata={"help": "Configuration of a hub data set."})
    dataset_split: str = field(default="train", metadata={"help": "Split to train on."})
    reward_funcs: list[str] = field(
        default_factory=lambda: ["accuracy"],
        metadata={"help": "Rewards: 'accuracy', 'format', 'lab', or 'package.module:function' of your own."},
    )
    resume: bool = field(default=False, metadata={"help": "Go on from the last checkpoint in output_dir."})


REWARDS = {
    "accuracy": "sgpo.rewards:accuracy_reward",
    "format": "sgpo.rewards:format_reward",
    "lab": "sgpo.lab:lab_reward",
}


def parse(argv: Sequence[str], config_class: Any = SGPOConfig) -> tuple[RunArguments, Any, ModelConfig]:
    """Recipe and overrides as dataclasses; ``config_class`` is that of the trainer.

    Raises:
        ValueError: for an unknown field, with the nearest names, or a missing file, model or data set.
    """
    argv = list(argv)
    if "--config" in argv:
        given = argv[argv.index("--config") + 1 :][:1]
        if not given or not Path(given[0]).is_file():
            raise ValueError(f"--config needs the path of a YAML recipe; got {given[0] if given else 'nothing'!r}.")
    parser = TrlParser((RunArguments, config_class, ModelConfig), prog="sgpo train", allow_abbrev=False)
    _check_names(parser, argv)
    run, config, model = parser.parse_args_and_config(argv)
    for value, name in ((model.model_name_or_path, "model_name_or_path"), (run.dataset_name, "dataset_name")):
        if not value:
            raise ValueError(f"{name} is not set; give it in the recipe or as --{name} VALUE.")
    return run, config, model


def read_yaml(path: Path) -> dict[str, Any]:
    """What a recipe says. Raises ``ValueError`` unless it is a YAML mapping."""
    try:
        recipe = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(recipe, dict):
        raise ValueError(f"{path} must be a YAML mapping of field names to values.")
    return recipe


def _check_names(parser: TrlParser, argv: Sequence[str]) -> None:
    """Every name on the command line and in the recipe must be a field, before any of them is used."""
    known = {option.lstrip("-") for option in parser._option_string_actions} | {"config"}
    names = [word[2:].split("=")[0] for word in argv if word.startswith("--")]
    if "--config" in argv:
        names += [name for name in read_yaml(Path(argv[argv.index("--config") + 1])) if name != "env"]
    unknown = [name for name in names if name not in known]
    if unknown:
        hints = []
        for name in unknown:
            near = difflib.get_close_matches(name, known, n=3)
            hints.append(f"unknown field {name!r}" + (f" (did you mean {', '.join(near)}?)" if near else ""))
        raise ValueError("; ".join(hints) + ". `sgpo train --help` lists every field.")


def load_data(run: RunArguments) -> Dataset:
    """The training set of a recipe. Raises ``ValueError`` for a path that is not there or of an unknown type."""
    if run.dataset_name == LAB:
        return Dataset.from_list([{**problem, "expert": " " + problem["expert"]} for problem in load_problems("train")])
    path = Path(run.dataset_name)
    if path.suffix in _BUILDERS:
        if not path.is_file():
            raise ValueError(f"dataset_name is {run.dataset_name!r}, but there is no such file.")
        return load_dataset(_BUILDERS[path.suffix], data_files=str(path), split="train")
    return load_dataset(run.dataset_name, run.dataset_config, split=run.dataset_split)


def load_reward(name: str) -> Callable[..., Any]:
    """A reward by its short name or as ``package.module:function``. Raises ``ValueError`` where there is none."""
    target = REWARDS.get(name, name)
    module_name, _, function = target.partition(":")
    try:
        return getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"reward_funcs names {name!r}, which cannot be loaded ({error}). Use one of {', '.join(REWARDS)}, or "
            "'package.module:function' of a module that Python can import."
        ) from error


def build(trainer_class: Any, config: Any, model: ModelConfig, data: Dataset, **more: Any) -> Any:
    """The trainer of a recipe; ``more`` goes to it beside the model, the arguments and the data."""
    config.model_init_kwargs = {
        **(config.model_init_kwargs or {}),
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype or "auto",
    }
    return trainer_class(
        model=model_path(model),
        args=config,
        train_dataset=data,
        peft_config=get_peft_config(model),
        quantization_config=get_quantization_config(model),
        **more,
    )


def model_path(model: ModelConfig) -> str:
    """A folder or hub id, the lab's base where the recipe says ``lab``."""
    return str(base_path()) if model.model_name_or_path == LAB else str(model.model_name_or_path)


def main(argv: Sequence[str] | None = None) -> None:
    """Train as the recipe says and save the model into ``output_dir``."""
    run, config, model = parse(sys.argv[1:] if argv is None else argv)
    rewards = [load_reward(name) for name in run.reward_funcs]
    trainer = build(SGPOTrainer, config, model, load_data(run), reward_funcs=rewards)
    trainer.train(resume_from_checkpoint=run.resume or None)
    trainer.save_model(config.output_dir)


if __name__ == "__main__":
    main()
