"""A user's model and data as the task of a comparison: any recipe of ``sgpo train``.

The recipe's model is the start of every method. A cell runs in a process of its own (see
:mod:`sgpo.compare.recipe_cell`), or in several through a launcher, one cell after another; what it prints is in its
``log.txt``. A learning rate is searched for on a validation file, or on 5% of the training problems, which are then
held out of the training of every cell.
"""

import dataclasses
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import yaml
from datasets import Dataset

from sgpo.compare import launch, measure
from sgpo.compare.fields import EXPERT, EXPERT_KINDS, cell_fields
from sgpo.compare.task import SOURCES, untrained
from sgpo.evaluation.templates import template_of
from sgpo.lab.benchmark import LAB
from sgpo.lab.experiment import cell_name
from sgpo.lab.problems import share_of
from sgpo.models.folders import Folder
from sgpo.recipe import check_model, load_data, load_reward, model_path, parse
from sgpo.recipe.model import quantization
from sgpo.recipe.parts import check_parts
from sgpo.recipe.rewards import reward_digest
from sgpo.recipe.schedule import Schedule
from sgpo.runs.entries import CellResult
from sgpo.runs.files import JsonObject, read_json_object, write_text
from sgpo.runs.jobs import ReportProgress, cores
from sgpo.runs.methods import Method
from sgpo.runs.yaml_reader import parse_yaml, read_yaml
from sgpo.trainer import checks
from sgpo.trainer.checkpoints import names_in
from sgpo.trainer.expert import check_expert
from sgpo.trainer.methods import KINDS, find_method
from sgpo.trainer.problem_log import problem_id
from sgpo.trainer.reward_functions import check_rewards

VALIDATION_SHARE = 0.05
BACKENDS = ("transformers", "vllm")
_SECONDS = 30.0  # that nvidia-smi may take
_NOT_KEPT = ("env", "hub_token", "push_to_hub")  # may hold keys, which no results shall show; cells push nothing


@dataclasses.dataclass(frozen=True)
class RecipeCell:
    """One method with one seed. ``fields`` are the recipe of its trainer; ``evaluation`` options of ``sgpo eval``."""

    method: str
    seed: int
    base_seed: int
    overrides: dict[str, float]
    fields: JsonObject
    schedule: Schedule
    benchmarks: list[str]
    evaluation: JsonObject
    hold_out: bool
    tuning: bool

    @property
    def name(self) -> str:
        return cell_name(self.method, self.base_seed, self.seed)


@dataclasses.dataclass(frozen=True)
class RecipeTask:
    """A comparison on a recipe; the methods are explained in :class:`sgpo.compare.task.Task`.

    Args:
        recipe: the fields of the recipe.
        benchmarks: names or files, as ``sgpo eval`` takes them.
        evaluation: its options that differ from their defaults.
        validation: a file of problems for the search; None: some of the training problems.
        search: whether a learning rate is searched for, so that a validation split is needed.
        launcher: a command in front of ``-m sgpo.compare.recipe_cell``; empty: this Python.
    """

    recipe: JsonObject
    benchmarks: tuple[str, ...]
    evaluation: JsonObject = dataclasses.field(default_factory=dict)
    validation: str | None = None
    search: bool = False
    launcher: str = ""
    name: ClassVar[str] = "recipe"
    starts: ClassVar[int] = 1
    processes: ClassVar[int] = 1
    never_solved: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if not self.benchmarks:
            raise ValueError("There is nothing to measure by: give --benchmark NAME or FILE, one or several.")
        if (backend := self.evaluation.get("backend", BACKENDS[0])) not in BACKENDS:
            raise ValueError(f"backend {backend!r} cannot serve what a cell trains; choose from {', '.join(BACKENDS)}.")
        # The batch is translated for each method by its share on one process.
        if "generation_batch_size" in self.recipe:
            raise ValueError(
                "generation_batch_size in the recipe counts over all processes, which are not known yet; give "
                "steps_per_generation instead."
            )
        # In the order of their cost: words, files, rewards, and last the data, which may be a download.
        launch.launcher_words(self.launcher)
        names = [plan.benchmark for plan, _ in self._measurements]
        if len(set(names)) < len(names):
            raise ValueError(f"Two benchmarks have the same name: {', '.join(names)}. Rename a file.")
        self._validation  # noqa: B018
        for reward in self._parsed[0].reward_funcs:
            load_reward(reward)
        self._split  # noqa: B018

    @property
    def learning_rate(self) -> float:
        return self._parsed[1].learning_rate

    @property
    def hold_out(self) -> bool:
        """Whether training problems are the validation split."""
        return self.search and self.validation is None

    @cached_property
    def _parsed(self) -> Any:
        return parse_fields(self.recipe)

    @cached_property
    def _evaluation(self) -> JsonObject:
        """How a model is measured: as was said, and with the variables of the chat template that it is trained with."""
        variables = self._parsed[1].chat_template_kwargs
        return {**self.evaluation, "chat_template_kwargs": variables} if variables else self.evaluation

    @cached_property
    def _measurements(self) -> list[measure.Measurement]:
        return [measure.measurement(name, self.evaluation) for name in self.benchmarks]

    @cached_property
    def _validation(self) -> list[measure.Measurement]:
        return [] if self.validation is None else [measure.measurement(self.validation, self.evaluation)]

    @cached_property
    def _split(self) -> tuple[Dataset, Dataset]:
        """Problems to train on, and those held out."""
        return split(load_data(self._parsed[0]), self.hold_out)

    def __getstate__(self) -> dict[str, object]:  # a cell's process needs no data
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def settings(self) -> JsonObject:
        train, held = self._split
        return {
            "recipe": self.recipe,
            "data": {"problems": len(train), "held_out": len(held), "sha256": rows_digest(train)},
            "benchmarks": measure.described(self._measurements, rows_digest),
            "evaluation": self._evaluation,
            "validation": measure.described(self._validation, rows_digest),
            "launcher": self.launcher,
            SOURCES: self._sources(),
        }

    def _sources(self) -> JsonObject:
        """What the recipe has by name, by its content: a file may be edited between two starts, and its name stays."""
        run, _, model = self._parsed
        plans = [plan for plan, _ in (*self._measurements, *self._validation)]
        return {
            "model": Folder(model_path(model)).describe(),
            "rewards": {name: reward_digest(name) for name in run.reward_funcs},
            "prompts": rows_digest((dataclasses.asdict(plan.template), plan.guided_template) for plan in plans),
        }

    def check(self, methods: Sequence[str]) -> None:
        run, config, model = self._parsed
        check_parts(config, model, check_model(model, trust_remote_code=config.trust_remote_code))
        rewards = [load_reward(name) for name in run.reward_funcs]
        train, _ = self._split
        self._compare_prompts(train[0]["prompt"])
        for plan, _ in (*self._measurements, *self._validation):
            if plan.remark:  # such as problems that a file repeats
                warnings.warn(plan.remark, stacklevel=2)
        found = [find_method(name) for name in methods]
        # Only where a method needs them: data without experts are good for all others.
        if by_expert := [method for method in found if method.kind in EXPERT_KINDS]:
            self._check_experts(train, by_expert)
        for method in found:
            if method.kind is None:
                continue
            fields = cell_fields(method, self.recipe, self._parsed[1], {}, seed=0)
            config = parse_fields(fields, method.kind)[1]
            if method.kind != "sft":
                check_rewards(config, rewards, train)
            if method.kind == "sgpo" and config.guides:
                checks.check_dataset(train, config)
        Schedule.of(self._parsed[1]).steps(len(train), 1)

    def _compare_prompts(self, prompt: Any) -> None:
        """Warn where the models would be measured with other prompts than those they are trained with."""
        used = {plan.form() for plan, _ in self._measurements if plan.benchmark != LAB.name}
        made = template_of(prompt)
        if self.evaluation.get("template") is None and used - {made}:
            warnings.warn(
                f"The models are measured with the template {used.pop()!r}, but the prompts of the training data have "
                f"another form. Give --template {made or 'FILE, with a template that makes them'} "
                "(docs/evaluation.md, Prompts).",
                stacklevel=2,
            )

    def _check_experts(self, train: Dataset, methods: Sequence[Method]) -> None:
        """An expert response for every problem, none longer than a rollout may be, and for every method the same."""
        if EXPERT not in train.column_names:
            names = ", ".join(method.name for method in methods)
            raise ValueError(
                f"The recipe's data have no column {EXPERT!r}, the response of a stronger model that {names} train on; "
                f"their columns are {', '.join(train.column_names)}. Add it (text; docs/compare.md shows how), or "
                "leave these methods out."
            )
        from transformers import AutoTokenizer

        _, config, model = self._parsed
        tokenizer = AutoTokenizer.from_pretrained(
            model_path(model), revision=model.model_revision, trust_remote_code=config.trust_remote_code
        )
        # An expert response that is cut off teaches SFT to stop in the middle, and LUFFY gets no reward for it.
        for row, text in enumerate(train[EXPERT]):
            check_expert(text, EXPERT, f"row {row}")
            if len(text.encode()) < config.max_completion_length:  # a token is at least one byte
                continue
            tokens = len(tokenizer(text, add_special_tokens=False)["input_ids"]) + 1
            if tokens > config.max_completion_length:
                raise ValueError(
                    f"The {EXPERT!r} of row {row} has {tokens} tokens with its EOS, but max_completion_length is "
                    f"{config.max_completion_length}, for every method. Raise it, or drop such problems."
                )

    def prepare(self, out: Path) -> None:
        if self.hold_out:
            measure.held_out(list(self._split[1]), out / measure.HELD_OUT)
            measure.measurement(str(out / measure.HELD_OUT), self.evaluation, as_trained=True)

    def cell(
        self, method: str, seed: int, start: int, overrides: dict[str, float], *, tuning: bool = False
    ) -> RecipeCell:
        found, config = find_method(method), self._parsed[1]
        trains = found.kind is not None
        fields = cell_fields(found, self.recipe, config, overrides, seed) if trains else self.recipe
        names = [self.validation or measure.HELD_OUT] if tuning else list(self.benchmarks)
        schedule = Schedule.of(config)
        evaluation = self._evaluation
        if not trains and (quantized := quantization(config, self._parsed[2])):
            evaluation = {**evaluation, "quantization": quantized}  # as the policies are from their first step on
        return RecipeCell(method, seed, start, overrides, fields, schedule, names, evaluation, self.hold_out, tuning)

    def run(self, cell: RecipeCell, out: Path, folder: Path, report: ReportProgress) -> CellResult:
        recipe = {**cell.fields, "output_dir": str(folder), "run_name": folder.name}
        write_text(folder / "recipe.yaml", yaml.safe_dump(recipe, sort_keys=False))
        alone = [sys.executable, "-m", "sgpo.compare.recipe_cell", str(folder)]
        launched = [*(launch.launcher_words(self.launcher) or alone[:1]), *alone[1:]]
        # Each part leaves a file when it is through, so that a kill costs one part: trained.json, then measured.json.
        measured = folder / "measured.json"
        trains = find_method(cell.method).kind is not None
        if trains and not (folder / "trained.json").exists():
            launch.run_process(launched, folder, cell.name, report)  # measures, too, where it can
        if not measured.exists():
            launch.run_process(alone, folder, cell.name, report)
        costs = read_json_object(folder / "trained.json") if trains else {}
        result = CellResult.from_json({**read_json_object(measured), **costs})
        # Checkpoints have served their purpose: a comparison of dozens of cells would fill the disk with them.
        for name in names_in(str(folder)):
            shutil.rmtree(folder / name)
        if cell.tuning:
            # Of a search only the accuracy is used again.
            shutil.rmtree(folder / "model", ignore_errors=True)
        return result if trains else untrained(result)

    def machine(self, processes: int) -> str:
        return f"{platform.machine()}, {cores()} cores, {_devices()}, {processes} cells side by side"


def read_fields(path: Path, changes: Sequence[str] = ()) -> JsonObject:
    """The fields of a recipe, with ``FIELD=VALUE`` in place of what it says."""
    # As sgpo train reads it, so that its mistakes are said in the same words.
    parse(["--config", str(path)])
    fields = read_yaml(path)
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise ValueError(f"--set {change!r} is no change of a field; write FIELD=VALUE.")
        fields[name] = parse_yaml(value, f"--set {change!r}: {value!r} is no YAML value")
    parse_fields(fields)  # sets the variables of ``env``, which the cells inherit
    return {name: value for name, value in fields.items() if name not in _NOT_KEPT}


def parse_fields(fields: Mapping[str, Any], kind: str = "sgpo") -> Any:
    """Fields of a recipe as ``sgpo.recipe.parse`` returns them, for a kind of trainer."""
    return parse([], KINDS[kind].config, {"output_dir": tempfile.gettempdir(), **fields})


def split(data: Dataset, hold_out: bool) -> tuple[Dataset, Dataset]:
    """Problems to train on and held-out ones, 5% by a hash of their id, or of their prompt where they have none."""
    if not hold_out:
        return data, data.select([])
    # By a hash and not by a draw: a problem keeps its side when the data grow.
    out = [share_of(f"validation {problem_id(row)}") < VALIDATION_SHARE for row in data]
    train, held = (data.select([i for i, one in enumerate(out) if one is side]) for side in (False, True))
    if not len(held) or "answer" not in data.column_names:
        why = f"none of the {len(data)} problems falls into it" if not len(held) else "the data have no column 'answer'"
        raise ValueError(f"There is no validation split to search on: {why}. Give --validation FILE, or --tune ''.")
    return train, held


def rows_digest(rows: Iterable[Any]) -> str:
    """A short hash of rows of JSON types."""
    found = hashlib.sha256()
    for row in rows:
        # Sorted: the order of columns is not part of the data.
        found.update(json.dumps(row, sort_keys=True, default=str).encode())
    return found.hexdigest()[:16]


def _devices() -> str:
    # Not by torch, which would take a context on each GPU for as long as the comparison runs.
    if shutil.which("nvidia-smi") is None:
        return "no GPU"
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):  # a driver in a bad state can keep it for good
        return "unknown GPUs"
    names = asked.stdout.split("\n")[:-1] if asked.returncode == 0 else []
    return f"{len(names)} x {names[0]}" if names else "no GPU"
