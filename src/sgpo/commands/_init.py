"""``sgpo init``: a recipe, a reward and a small data set for a model and data of the user's, to begin from.

Everything that is written is meant to be read and changed. What depends on the model (messages or text, LoRA, the
length of a completion) is decided by its config and tokenizer alone, what depends on the machine by its plan.
"""

import contextlib
import json
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from jinja2 import Environment, PackageLoader, StrictUndefined
from trl import ModelConfig

from sgpo.data.benchmarks import ANSWER_FIELDS, PROBLEM_FIELDS
from sgpo.data.messages import as_messages, problem_text
from sgpo.data.prompts import Prompt
from sgpo.evaluation.templates import TEMPLATES, Template
from sgpo.models.sampling import positions_of
from sgpo.plan.architecture import from_config
from sgpo.plan.hardware import Hardware
from sgpo.recipe.arguments import RunArguments
from sgpo.recipe.check import load_tokenizer
from sgpo.recipe.data import load_data
from sgpo.recipe.model import LAB, check_model
from sgpo.rewards.golds import gold_text
from sgpo.runs.files import JsonObject, write_rows, write_text
from sgpo.strategies.schema import written_strategy
from sgpo.strategies.sources import LOST, USUAL, json_cell
from sgpo.trainer.reward_functions import OF_TRL

FILES = RECIPE, REWARD, PROBLEMS = "recipe.yaml", "reward.py", "problems.jsonl"
_OWN = ("prompt", "strategy", "answer", "id")  # columns that are written anew
_LORA_FROM = 1e9  # parameters from which a GPU run begins with LoRA


@dataclass(frozen=True)
class Start:
    """What was written.

    Attributes:
        folder: where the three files are.
        devices: of the machine that the recipe is for; each gets a process.
        rows, of: rows of ``problems.jsonl``, and of the data set.
        strategies: those of the rows that have one.
        trainable: the data set has the columns of training itself.
        extract: its words behind `sgpo strategies extract`, where it has responses or worked solutions.
    """

    folder: Path
    model: str
    data: str
    devices: int
    rows: int
    of: int
    strategies: int
    trainable: bool
    extract: str | None

    def remove(self) -> None:
        """Take back what was written."""
        for name in FILES:
            (self.folder / name).unlink()
        shutil.rmtree(self.folder / "__pycache__", ignore_errors=True)  # of the reward, which the check has imported
        with contextlib.suppress(OSError):  # a folder with other files stays
            self.folder.rmdir()

    def next_commands(self) -> str:
        """What to type next, a line each, with what it is for."""
        recipe, data = shlex.quote(str(self.folder / RECIPE)), shlex.quote(self.data)
        run, store = shlex.quote(str(self.folder / "run")), shlex.quote(str(self.folder / "strategies.db"))
        out = shlex.quote(str(self.folder / "strategies.parquet"))
        train = "sgpo train"
        if self.devices > 1:
            train = f"accelerate launch --num_processes {self.devices} -m sgpo.recipe"
        lines = [
            (f"sgpo train --config {recipe} --check", "again after each change"),
            (f"{train} --config {recipe}", f"a first run on {self.rows} problems"),
            (f"sgpo report {run}", "what it learned, as one page"),
        ]
        if not self.strategies and self.extract is not None:
            asked = f"{data}{self.extract} --store {store} --model MODEL --base-url URL"
            lines += [
                (f"sgpo strategies extract {asked}", "strategies"),
                (f"sgpo strategies rank --store {store} --model MODEL --base-url URL", "the best of each problem"),
                (f"sgpo strategies export {out} --store {store}", "those that give no answer away"),
                (f"{train} --config {recipe} --dataset_name {out} --output_dir {run}-all", "on all of them"),
            ]
        elif not self.strategies:
            lines.append(("sgpo strategies extract --help", "strategies, from a column of a strong model's responses"))
        elif self.rows < self.of and self.trainable:
            lines.append((f"{train} --config {recipe} --dataset_name {data} --output_dir {run}-all", "on all rows"))
        elif self.rows < self.of:
            lines.append(
                (
                    f"sgpo init {shlex.quote(self.model)} {data} --rows 0 --out {shlex.quote(f'{self.folder}-all')}",
                    "all rows",
                )
            )
        return "\n".join(["Next:", *(f"  {command}    # {why}" for command, why in lines)])


def write_start(model: str, data: str, folder: Path, *, split: str, rows: int, hardware: Hardware) -> Start:
    """Write the three files into a new folder, for at most ``rows`` rows of the data; 0: all.

    Raises ValueError for a model or data that cannot be read, data without problems or answers, or a folder that holds
    one of the files, before anything is written.
    """
    if LAB in (model, data):
        raise ValueError("The lab has its recipe: recipes/lab.yaml. Give a folder or hub id of a model, and your data.")
    if rows < 0:
        raise ValueError(f"--rows is {rows}, but must be at least 1, or 0 for all.")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out is {str(folder)!r}, which is a file; give the path of a folder.")
    if there := [name for name in FILES if (folder / name).exists()]:
        raise ValueError(f"{folder / there[0]} is there already; give another --out, or remove it.")
    described = check_model(ModelConfig(model_name_or_path=model))
    # The config and the tokenizer are kilobytes: no weights are loaded to write a recipe.
    chat = bool(load_tokenizer(model, None).chat_template)
    whole = load_data(RunArguments(dataset_name=data, dataset_split=split))
    count = len(whole) if rows == 0 else min(rows, len(whole))
    problem = _column("problem", ("prompt", *PROBLEM_FIELDS), whole.column_names, data)
    answer = _column("answer", (*ANSWER_FIELDS, "reward_model"), whole.column_names, data)
    # All rows before the first file: a row that is none must leave no half of a folder.
    written = list(_rows(whole.select(range(count)), data, problem, answer, chat))
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / PROBLEMS, written, ascii_only=False)
    write_text(folder / REWARD, _written(REWARD))
    write_text(folder / RECIPE, _recipe(model, folder, described, hardware, len(written)))
    return Start(
        folder=folder,
        model=model,
        data=data,
        devices=1 if hardware.device.is_cpu else hardware.count,
        rows=len(written),
        of=len(whole),
        strategies=sum(row["strategy"] is not None for row in written),
        trainable=(problem, answer) == ("prompt", "answer") and all(map(_same, written, whole)),
        extract=_extract(whole, count, answer),
    )


def _extract(data: Dataset, count: int, answer: str) -> str | None:
    """How `sgpo strategies extract` is told of the responses; None where there are none."""
    if any(name in data.column_names for name in USUAL["response"]):
        return ""
    # GSM8K has worked solutions where the answer is read from, others beside it.
    for name in (each for each in ANSWER_FIELDS if each in data.column_names):
        cells = data.select(range(count))[name]
        if any(isinstance(cell, str) and len(cell.split()) > len(_answer(cell).split()) + 2 for cell in cells):
            return f" --columns answer={answer},response={name}"
    return None


def _column(what: str, usual: Sequence[str], names: list[str], data: str) -> str:
    """The first of the ``usual`` columns that the data have. Raises ``ValueError`` where there is none."""
    found = next((each for each in usual if each in names), None)
    if found is None:
        raise ValueError(
            f"{data} has no column with the {what} ({', '.join(dict.fromkeys(usual))}); its columns are "
            f"{', '.join(names)}. Rename one, or make it of the others: docs/start.md, Bring your data."
        )
    return found


def _rows(data: Dataset, name: str, problem: str, answer: str, chat: bool) -> Iterator[JsonObject]:
    """Rows as the training reads them, with the other columns, which rewards may name.

    Raises ``ValueError`` for a problem, an answer or a strategy that is none.
    """
    other = [each for each in data.column_names if each not in (problem, answer, *_OWN, *OF_TRL)]
    for number, row in enumerate(data, 1):
        prompt, gold = _prompt(row[problem], chat, as_it_is=problem == "prompt"), _answer(row[answer])
        if prompt is None or not gold.strip():
            column = problem if prompt is None else answer
            raise ValueError(
                f"{name}, row {number}: {column!r} is {str(row[column])[:60]!r}; give text, or drop the row."
            )
        try:
            strategy = written_strategy(row.get("strategy"))
        except ValueError as error:
            raise ValueError(f"{name}, row {number}: {error}") from error
        named = {"id": str(row["id"])} if row.get("id") is not None else {}
        more = {each: json_cell(row[each]) for each in other}
        kept = {each: value for each, value in more.items() if value is not LOST}
        yield {**named, "prompt": prompt, "strategy": strategy, "answer": gold, **kept}


def _same(written: JsonObject, row: JsonObject) -> bool:
    """Whether a row of the data trains as the one that was written does."""
    return written["prompt"] == row["prompt"] and (written["strategy"] or "") == (row.get("strategy") or "")


def _prompt(cell: Any, chat: bool, *, as_it_is: bool) -> Prompt | None:
    """Messages for a model with a chat template, else text; a prompt that is made for training keeps its words."""
    messages = as_messages(cell)
    if chat and messages is not None:
        return messages
    text = problem_text(cell)
    if text is None or not text.strip():
        return None
    user = "{problem}" if as_it_is and messages is None else TEMPLATES["instruct"].user
    return Template("start", user=user, chat=chat).prompt(text)


def _answer(cell: Any) -> str:
    try:
        return gold_text(cell.get("ground_truth") if isinstance(cell, dict) else cell)
    except TypeError:
        return ""


def _recipe(model: str, folder: Path, described: Any, hardware: Hardware, rows: int) -> str:
    """The recipe's text; a value is written as JSON, which YAML reads."""
    cpu = hardware.device.is_cpu
    positions = positions_of(described) or 1 << 20
    try:
        large = from_config(described, model, "").parameters > _LORA_FROM
    except ValueError:
        large = True  # of a family that is not known: LoRA takes less, whatever its size
    return _written(
        RECIPE,
        model=json.dumps(model),
        data=json.dumps(str(folder / PROBLEMS)),
        reward=json.dumps(f"{folder / REWARD}:correct"),
        out=json.dumps(str(folder / "run")),
        problems=max(1, min(2 if cpu else 16, rows // hardware.count)),  # one in each batch of 8
        completion=min(256 if cpu else 1024, positions // 2),
        cpu=cpu,
        large=large,
    )


def _written(name: str, **values: Any) -> str:
    """The text of a file, from ``templates/NAME.jinja``; every value that it names must be given."""
    files = Environment(
        loader=PackageLoader("sgpo.commands"), undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )
    return files.get_template(f"{name}.jinja").render(values)
