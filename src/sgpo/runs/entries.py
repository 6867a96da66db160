"""What a comparison leaves in its JSON files, as types: compare writes them; tables, reports and plots read them.

=====================  ================================================================================================
`Manifest`             ``manifest.json``: what is compared, on what, and the names of the cells
`CellFacts`            ``cell.json``, as far as every task has it: which method, seed and start
`CellResult`           ``result.json`` of a cell, and each of the ``seeds`` of a method
`ComparisonResults`    ``results.json``: a `MethodResult` a method
`MetricsRow`           a line of ``metrics.jsonl``
`SampleRow`            a line of ``samples.jsonl``
=====================  ================================================================================================

Reading is lenient, see :mod:`sgpo.runs.json_entry`: what is not there, or not what it should be, is None.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sgpo.runs.json_entry import (
    JsonEntry,
    boolean,
    each,
    finite,
    json_list,
    lenient,
    listing,
    mapping,
    optional,
    pair,
    required,
    text,
    texts,
    whole_number,
)
from sgpo.runs.methods import spoken_label
from sgpo.runs.scores import AxisResult, AxisScores, FamilyScores, SeedMean, StrategyControl


@dataclass(frozen=True, kw_only=True)
class CellFacts(JsonEntry):
    """Which run a cell is. The rest of ``cell.json`` is its task's own, the fields of its dataclass; it is ``more``."""

    method: str | None = optional(text)
    seed: int | None = optional(whole_number)
    base_seed: int | None = optional(whole_number)


@dataclass(frozen=True, kw_only=True)
class FailedCell(CellFacts):
    """A cell whose run raised ``error``."""

    error: str = required(text)


@dataclass(frozen=True, kw_only=True)
class Measured(JsonEntry):
    """What was measured of a model, and what it cost. Accuracies are shares in [0, 1], without a strategy.

    Attributes:
        accuracy_ci95: of one run over problems, of several over seeds.
        per_family: the accuracy of each family of problems, or of each benchmark.
        guided_tokens: those of ``sampled_tokens`` that had the strategy in the prompt.
        train_seconds: of the training alone.
    """

    accuracy: float = required(finite)
    accuracy_ci95: tuple[float, float] | None = optional(pair)
    n_problems: int | None = optional(whole_number)
    k: int | None = optional(whole_number)
    per_family: Mapping[str, FamilyScores] = listing(each(FamilyScores.from_json))
    sampled_tokens: int | None = optional(whole_number)
    guided_tokens: int | None = optional(whole_number)
    trained_tokens: int | None = optional(whole_number)
    train_seconds: float | None = optional(finite)
    strategy_control: StrategyControl | None = optional(lenient(StrategyControl.from_json))


@dataclass(frozen=True, kw_only=True)
class CellResult(Measured, CellFacts):
    """What one run of one method measured.

    Attributes:
        accuracy_greedy, accuracy_guided: with greedy sampling, and with the strategy in the prompt.
        mean_length, truncated: of the responses, by benchmark of a recipe's comparison.
        accuracy_over_training: mean over the evaluations during training.
        curve: pairs of an optimizer step and the accuracy there.
        seconds: of the whole cell.
    """

    mean_length: Mapping[str, float | None] | None = optional(mapping)
    truncated: Mapping[str, float] | None = optional(mapping)
    accuracy_greedy: float | None = optional(finite)
    accuracy_guided: float | None = optional(finite)
    axes: Mapping[str, AxisScores] = listing(each(AxisScores.from_json))
    accuracy_over_training: float | None = optional(finite)
    curve: Sequence[Any] | None = optional(json_list)
    seconds: float | None = optional(finite)

    @property
    def place(self) -> tuple[int | None, int | None]:
        """The seed and the start: two cells are paired where both agree."""
        return self.seed, self.base_seed


@dataclass(frozen=True, kw_only=True)
class Searched(JsonEntry):
    """What the search before a comparison found for a method.

    Attributes:
        learning_rate: the one with the highest mean over the starts; None for a method that trains nothing.
        search: by learning rate, the accuracies from the starts that it was run from, the first one first.
        widened: the rates that were added because the best one was at an edge.
        balance: the field of the method's own balance and its value, empty where the default was as good.
        balance_search: its accuracies, by value.
        search_seconds: what all of it took, one run after another.
    """

    learning_rate: float | None = optional(finite)
    search: Mapping[str, Sequence[float]] | None = optional(mapping)
    widened: tuple[str, ...] = listing(texts, tuple)
    balance: Mapping[str, float] | None = optional(each(finite))
    balance_search: Mapping[str, Any] | None = optional(mapping)
    search_seconds: int | None = optional(whole_number)

    @property
    def fields(self) -> dict[str, float]:
        """The fields of the method's configuration that were found."""
        rate = {} if self.learning_rate is None else {"learning_rate": self.learning_rate}
        return {**rate, **(self.balance or {})}


def _seeds(value: Any) -> tuple[CellResult, ...]:
    # A seed that cannot be read is left out, and the others still make a row.
    found = each(CellResult.from_json)(dict(enumerate(value)) if isinstance(value, list) else {})
    return tuple(found.values())


@dataclass(frozen=True, kw_only=True)
class MethodResult(Measured, Searched):
    """The row of one method: means over its seeds, their intervals, and its differences to others.

    Attributes:
        scores: everything that was measured (:func:`sgpo.compare.results.scores`), with intervals over seeds.
        sgpo_minus: SGPO minus this method in each of these scores, paired by seed.
        axes_minus: another method minus this one on each axis, paired by seed, by the other method's name.
    """

    scores: Mapping[str, SeedMean] = listing(each(SeedMean.from_json))
    axes: Mapping[str, AxisResult] = listing(each(AxisResult.from_json))
    seeds: tuple[CellResult, ...] = listing(_seeds, tuple)
    sgpo_minus: Mapping[str, SeedMean] = listing(each(SeedMean.from_json))
    axes_minus: Mapping[str, Mapping[str, SeedMean]] = listing(each(each(SeedMean.from_json)))
    # No field of the file: it would stand there twice.
    name: str = ""  # the key of results.json that the entry stands under

    @property
    def label(self) -> str:
        """The name that people read."""
        return spoken_label(self.name)

    @property
    def ranked(self) -> bool:
        """Whether the model answers alone. What reads the strategy at test time is shown, but not ranked."""
        return self.name != "base_guided"

    @property
    def interval(self) -> tuple[float, float] | None:
        """95% interval of the accuracy, within what an accuracy can be: that of two seeds may reach beyond."""
        return (
            None if self.accuracy_ci95 is None else (max(0.0, self.accuracy_ci95[0]), min(1.0, self.accuracy_ci95[1]))
        )

    @property
    def over_seeds(self) -> list[float]:
        """The accuracy of each seed."""
        return [seed.accuracy for seed in self.seeds]

    def pairs_with(self, other: MethodResult) -> int:
        """How many seeds both have, from the same start."""
        # By place and not by count: in progress, two methods may have finished different seeds.
        return len({seed.place for seed in self.seeds} & {seed.place for seed in other.seeds})


def _methods(value: Any) -> dict[str, MethodResult]:
    found = each(MethodResult.from_json)(value)
    return {name: dataclasses.replace(one, name=name) for name, one in found.items()}


@dataclass(frozen=True, kw_only=True)
class ComparisonResults(JsonEntry):
    """``results.json`` of a comparison; ``failed`` names each cell that failed, with its error, and ``versions`` what
    its runs had several versions of."""

    schema: int = required(whole_number)
    machine: str | None = optional(text)
    settings: Mapping[str, Any] = listing(mapping)
    expert: str | None = optional(text)
    process_seconds: int | None = optional(whole_number)
    never_solved: tuple[str, ...] | None = optional(texts)
    methods: Mapping[str, MethodResult] = listing(_methods, written=True)
    failed: Mapping[str, str] = listing(each(text), written=True)
    versions: tuple[str, ...] = listing(texts, tuple)


@dataclass(frozen=True, kw_only=True)
class Manifest(JsonEntry):
    """``manifest.json``: what a directory of a comparison holds; ``settings`` may not change, the rest may grow."""

    schema: int = required(whole_number)
    kind: str = required(text)
    methods: tuple[str, ...] = listing(texts, tuple, written=True)
    seeds: Sequence[int] = listing(json_list, tuple, written=True)
    settings: Mapping[str, Any] = listing(mapping, written=True)
    machine: str | None = optional(text)
    cells: tuple[str, ...] = listing(texts, tuple, written=True)


@dataclass(frozen=True)
class MetricsRow:
    """What was logged at one optimizer step: the finite numbers among it, by their names."""

    step: int
    values: Mapping[str, float]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> MetricsRow | None:
        """A line of ``metrics.jsonl``, or of a trainer's log; None for one without a step."""
        if (step := whole_number(value.get("step"))) is None:
            return None
        return cls(step, {name: one for name, one in each(finite)(value).items() if name != "step"})


@dataclass(frozen=True, kw_only=True)
class SampleRow(JsonEntry):
    """A response to a held-out problem without its strategy, and on the lab one with it; for people to read."""

    id: str | None = optional(str)
    family: str | None = optional(str)
    axis: str | None = optional(text)
    problem: str | None = optional(str)
    strategy: str | None = optional(str)
    answer: Any = optional(lambda value: value)
    autonomous: str | None = optional(str)
    autonomous_correct: bool | None = optional(boolean)
    guided: str | None = optional(str)
    guided_correct: bool | None = optional(boolean)
