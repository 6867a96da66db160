"""The data sets of a recipe."""

import re
from pathlib import Path
from typing import Any

import xxhash
from datasets import Dataset, DatasetDict, load_dataset, load_dataset_builder, load_from_disk
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

from sgpo.data.messages import problem_text
from sgpo.data.tables import count_rows
from sgpo.data.text_datasets import text_dataset
from sgpo.lab.problems import load_problems
from sgpo.recipe.arguments import RunArguments
from sgpo.recipe.model import LAB
from sgpo.trainer.prompts import text_only

_ENDINGS = (".json", ".jsonl", ".ndjson", ".gz", ".parquet", ".csv")
_TEXT = re.compile(r"\.(?:jsonl|ndjson|json|csv)(?:\.gz)?$", re.I)


def load_data(run: RunArguments) -> Dataset:
    """The training set of a recipe.

    Raises:
        ValueError: there is no such data set or split, it cannot be read, or it is empty.
    """
    return _load(run.dataset_name, run.dataset_config, run.dataset_split, "dataset_name")


def load_eval_data(run: RunArguments) -> Dataset | None:
    """What ``eval_strategy`` measures on, None without any. Raises as :func:`load_data`."""
    if run.eval_dataset is not None:
        return _load(run.eval_dataset, None, run.eval_split or "train", "eval_dataset")
    if run.eval_split is not None:
        return _load(run.dataset_name, run.dataset_config, run.eval_split, "dataset_name")
    return None


def trained_on(data: Dataset, measured: Dataset | None) -> str:
    """What is to be said where problems of the data to measure on are trained on, word for word; "" otherwise."""
    if measured is None or "prompt" not in data.column_names:
        return ""
    known = {_words(prompt) for prompt in data["prompt"]}
    again = sum(_words(prompt) in known for prompt in measured["prompt"])
    if not again:
        return ""
    return (
        f"{again} of the {len(measured)} problems of the evaluation data are trained on, word for word, so that "
        "eval_reward says how well they are remembered. Take them out of one of the two; sgpo data overlap finds those "
        "in another layout, too."
    )


def _words(prompt: Any) -> str:
    return " ".join((problem_text(prompt) or "").split())


def _load(name: str, config: str | None, split: str, field: str) -> Dataset:
    data = _lab(split) if name == LAB else _read(name, config, split, field)
    if not len(data):
        raise ValueError(f"{field} is {name!r}, whose split {split!r} is empty; give at least one problem.")
    try:
        return text_only(data)
    except ValueError as error:
        raise ValueError(f"{field} is {name!r}: {error}") from error


def _lab(split: str) -> Dataset:
    problems = load_problems(split)  # type: ignore[arg-type]
    return Dataset.from_list([{**problem, "expert": " " + problem["expert"]} for problem in problems])


def _read(name: str, config: str | None, split: str, field: str) -> Dataset:
    path = Path(name)
    ending = path.suffix.lower()
    if path.is_file() and ending not in _ENDINGS:
        raise ValueError(f"{field} is {name!r}, a file that ends in none of {', '.join(_ENDINGS)}; convert it.")
    if ending in _ENDINGS and not path.is_dir():
        if not path.is_file():
            raise ValueError(f"{field} is {name!r}, but there is no file {path.absolute()}.")
        if not path.stat().st_size:
            raise ValueError(f"{field} is {name!r}, which is an empty file; give at least one problem.")
        if config is not None:
            raise ValueError(f"dataset_config is {config!r}, but {name!r} is a file, which has none; leave it out.")
    try:
        if is_saved(path):
            return _of_splits(load_from_disk(name), split, name, field)
        if path.is_file():
            return (_parquet if ending == ".parquet" else text_dataset)({"train": [path]}, split)
        files = _of_files(path, config) if path.is_dir() else {}
        names = [each.name for paths in files.values() for each in paths]
        if names and all(map(_TEXT.search, names)):
            return text_dataset(files, split)
        if names and all(each.lower().endswith(".parquet") for each in names):
            return _parquet(files, split)
        return load_dataset(name, config, split=split)
    except DatasetNotFoundError as error:
        raise ValueError(
            f"{field} is {name!r}: no file or folder here, and no data set of the hub that can be had."
        ) from error
    except (DatasetGenerationError, ValueError, OSError, TypeError) as error:
        cause: BaseException = error
        while isinstance(cause, DatasetGenerationError) and cause.__cause__ is not None:
            cause = cause.__cause__
        said = " ".join(str(cause).split()) or type(cause).__name__
        if "Config name is missing" in said:
            said += (
                f" (dataset_config, in a recipe). Or save one as a file: load_dataset({name!r}, CONFIG, "
                f"split={split!r}).to_json('data.jsonl')."
            )
        raise ValueError(f"{field} is {name!r}, of which the split {split!r} cannot be read: {said}") from error


def is_saved(path: Path) -> bool:
    """Whether ``save_to_disk`` has made a folder, which names its files; of any other each file is data."""
    return any((path / each).is_file() for each in ("state.json", "dataset_dict.json"))


def _of_files(path: Path, config: str | None) -> dict[str, list[Path]]:
    """The files in a folder by their split, as ``datasets`` finds them."""
    found = load_dataset_builder(str(path), config).config.data_files or {}
    return {str(name): [Path(each) for each in paths] for name, paths in found.items()}


def _parquet(files: dict[str, list[Path]], split: str) -> Dataset:
    every = [path for paths in files.values() for path in paths]
    for path in every:
        count_rows(path)  # says what is wrong with a file that is none
    # `datasets` knows a file again by its name and its time, which an archive or an image may have set.
    changes = xxhash.xxh3_64_hexdigest(repr([(s.st_ctime_ns, s.st_size) for s in map(Path.stat, every)]).encode())
    names = {name: list(map(str, paths)) for name, paths in files.items()}
    return load_dataset("parquet", changes, data_files=names, split=split)


def _of_splits(found: Any, split: str, name: str, field: str) -> Dataset:
    if not isinstance(found, DatasetDict):
        return found
    if split not in found:
        raise ValueError(f"{field} is {name!r}, which has no split {split!r}; it has {', '.join(found)}.")
    return found[split]
