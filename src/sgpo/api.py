"""What the command line does, as functions: ``sgpo.extract``, ``rank``, ``export``, ``train``, ``evaluate``,
``compare``, ``report``.

Options are those of the commands, by the names of their fields (`sgpo.options`): ``--max-new-tokens 512`` is
``max_new_tokens=512``. What is unknown or wrong is a ValueError, before any model is asked. What was interrupted
goes on when the same call is made again. Each function returns a result of `sgpo.results`: a pandas frame, a plot, a
page in a notebook. Progress goes to standard error as it does for a command. Nothing heavy is imported before a call.
"""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar

from sgpo.options import flat_fields, from_flat
from sgpo.runs.progress import hush

if TYPE_CHECKING:
    from sgpo.results import Comparison, Evaluation, Report, Strategies, Table, Training

Options = TypeVar("Options")
PathLike = str | Path


def extract(source: PathLike, **options: Any) -> Strategies:
    """Extract candidate strategies from a strong model's responses, as ``sgpo strategies extract``.

    Args:
        source: a parquet, JSONL or CSV file, or a hub id.
        options: fields of `sgpo.strategies.options.ExtractOptions`, such as ``model``, ``base_url``, ``store``, ``n``.
    """
    from sgpo.commands import _strategies as work
    from sgpo.results import Strategies
    from sgpo.strategies.options import ExtractOptions

    given = _options(ExtractOptions, {"source": str(source), **options})
    return Strategies(given.store, complete=work.run_extraction(given) == 0)


def rank(**options: Any) -> Strategies:
    """Score the candidates of each problem and keep one, as ``sgpo strategies rank``.

    Args:
        options: fields of `sgpo.strategies.options.RankOptions`, such as ``model``, ``base_url``, ``store``.
    """
    from sgpo.commands import _strategies as work
    from sgpo.results import Strategies
    from sgpo.strategies.options import RankOptions

    given = _options(RankOptions, options)
    return Strategies(given.store, complete=work.run_ranking(given) == 0)


def export(out: PathLike, **options: Any) -> Table:
    """Write the strategies that give no answer away as training data, as ``sgpo strategies export``.

    Args:
        out: a .parquet or .jsonl file.
        options: fields of `sgpo.strategies.options.ExportOptions`, such as ``store``, ``by``, ``expert``.
    """
    from sgpo.commands import _strategies as work
    from sgpo.results import Table
    from sgpo.strategies.options import ExportOptions

    given = _options(ExportOptions, {"out": out, **options})
    work.run_export(given)
    return Table(given.out)


def train(config: PathLike | None = None, **fields: Any) -> Training:
    """Train as ``sgpo train`` does, from a recipe, from fields, or from both; where both say something, ``fields`` win.

    Args:
        config: a YAML recipe.
        fields: fields of a recipe, such as ``model_name_or_path="Qwen/Qwen3-0.6B"``, ``max_steps=20``.
    """
    hush()
    from sgpo.recipe import main
    from sgpo.results import Training

    words = [] if config is None else ["--config", str(config)]
    given = {name: str(value) if isinstance(value, Path) else value for name, value in fields.items()}
    return Training(main(words, given))


def evaluate(model: PathLike, *benchmarks: str, **options: Any) -> Evaluation:
    """Evaluate a model on benchmarks, as ``sgpo eval``.

    Args:
        model: a folder, or a hub id.
        benchmarks: math500, amc23, ...; none where ``data`` names a file.
        options: fields of `sgpo.evaluation.options.EvalOptions`, such as ``k``, ``data``, ``preset``; and ``out``.
    """
    hush()
    from sgpo.commands._evaluate import run_benchmarks
    from sgpo.commands.evaluate import EvalCommand
    from sgpo.results import Evaluation

    given = _options(EvalCommand, {"model": str(model), "benchmark": benchmarks, **options})
    return Evaluation(given.out, run_benchmarks(given))


def compare(*methods: str, **options: Any) -> Comparison:
    """Compare methods on the embedded lab, or on a recipe, as ``sgpo compare``.

    Args:
        methods: such as ``"sgpo"``, ``"sft_grpo"``, ``"sgpo:kl_clip=0.3"``; or ``preset="paper"``.
        options: fields of `sgpo.compare.options.CompareOptions`, such as ``seeds``, ``out``, ``config``.
    """
    hush()
    from sgpo.commands.compare import plan_of
    from sgpo.compare.options import CompareOptions
    from sgpo.compare.run import run_comparison
    from sgpo.results import Comparison

    given = _options(CompareOptions, {"methods": methods, **options})
    run_comparison(plan_of(given), given.out, given.lab.reuse)
    return Comparison(given.out)


def report(directory: PathLike, out: PathLike | None = None) -> Report:
    """Write the HTML page of a run of ``compare``, ``quickstart`` or ``train``, as ``sgpo report``.

    Args:
        directory: the directory that the run has written.
        out: the file to write; None: report.html in the directory.
    """
    from sgpo.report.page import write_report
    from sgpo.results import Report

    path = Path(directory) / "report.html" if out is None else Path(out)
    write_report(Path(directory), path)
    return Report(path, directory)


def _options(options: type[Options], values: Mapping[str, Any]) -> Options:
    """One object of ``options``; what is not given comes from the environment where the command takes it from there."""
    hush()
    found = dict(values)
    for field, owner, _ in flat_fields(options):
        variable = field.metadata.get("envvar")
        # As typer does for the command.
        if field.name not in found and variable and variable in os.environ:
            found[field.name] = os.environ[variable]
        if field.name in found:
            found[field.name] = _typed(typing.get_type_hints(owner)[field.name], found[field.name])
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{field.name} is missing: {field.metadata['help']}")
    return from_flat(options, found)


def _typed(hint: Any, value: Any) -> Any:
    """A text where a path is meant as a path, one value where several may stand as a tuple."""
    if typing.get_origin(hint) is tuple:
        each = typing.get_args(hint)[0]
        return tuple(_typed(each, one) for one in ([value] if isinstance(value, (str, Path)) else value))
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, UnionType) else (hint,)
    return Path(value) if Path in kinds and isinstance(value, str) else value
