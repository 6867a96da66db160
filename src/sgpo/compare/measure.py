"""How the models of a comparison on a recipe are measured: by what ``sgpo eval`` runs, with its options and defaults.

Accuracy is the mean over benchmarks. A benchmark is a family of the tables; of a single one with groups (the column
``family``, subjects) its groups are.
"""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from sgpo.data.benchmarks import HUB, BenchmarkError
from sgpo.data.tables import table_name
from sgpo.evaluation.grading import ResponseGrader
from sgpo.evaluation.options import EvalOptions
from sgpo.evaluation.planning import plan_benchmark
from sgpo.evaluation.results import EvalResult
from sgpo.evaluation.run import EvalPlan, run_evaluation
from sgpo.evaluation.templates import Template
from sgpo.lab.benchmark import LAB
from sgpo.models.folders import Folder, whole_weights
from sgpo.models.protocol import ModelError
from sgpo.options import from_flat
from sgpo.rewards.reward import golds_of, tolerances_of
from sgpo.runs.entries import CellResult, SampleRow
from sgpo.runs.files import write_rows
from sgpo.runs.scores import FamilyScores

HELD_OUT = "held_out.jsonl"
_SAMPLES = 2  # of a family, for the report
Measurement = tuple[EvalPlan, ResponseGrader]


def measurement(benchmark: str, given: Mapping[str, Any], *, as_trained: bool = False) -> Measurement:
    """Plan and grader of a benchmark by name, or of a JSONL file; ``as_trained``: one that :func:`held_out` wrote."""
    path = Path(benchmark)
    # A file of the name of a benchmark needs a path, ./math500, to be meant.
    named = benchmark in HUB or benchmark == LAB.name
    if not named and not path.is_file():
        raise BenchmarkError(f"benchmark {benchmark!r} is neither a file nor one of {', '.join([*HUB, LAB.name])}.")
    name = benchmark if named else table_name(path).lower()
    options = from_flat(EvalOptions, {**given, "data": None if named else path})
    plan, grader = plan_benchmark(options, name, LAB)
    if as_trained:
        plan = replace(plan, template=Template("as in training", chat=False))
    # Before hours of training: a benchmark that cannot be graded would only show at their end.
    plan.check(grader)
    return plan, grader


def held_out(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write training problems as a benchmark that :func:`measurement` reads, by the golds and tolerances of rewards."""
    golds = golds_of(*([row.get(name) for row in rows] for name in ("answer", "solution"))) or []
    tolerances = tolerances_of([row.get("tolerance") for row in rows], len(rows))
    lines = [
        {"id": i, "prompt": row["prompt"], "answer": gold, "family": row.get("family"), "tolerance": tolerance}
        for i, (row, gold, tolerance) in enumerate(zip(rows, golds, tolerances, strict=True))
    ]
    write_rows(path, lines)


def measure_model(
    model: str,
    measurements: Sequence[Measurement],
    given: Mapping[str, Any],
    folder: Path,
    report: Callable[[float, float], None],
) -> CellResult:
    """The part of a cell's result that comes from the evaluation; responses are saved in ``folder``/eval.

    ``report`` is called with the share done and the running accuracy.
    """
    results: dict[str, EvalResult] = {}
    # Opened once: to load a model can cost more than to evaluate a small benchmark.
    engine = from_flat(EvalOptions, given).access.open(model, measurements[0][0].sampling)
    for i, (plan, grader) in enumerate(measurements):
        engine.sampling = plan.sampling

        def tell(done: int, total: int, accuracy: float, before: int = i) -> None:
            report((before + done / total) / len(measurements), accuracy)

        results[plan.benchmark] = run_evaluation(
            plan, folder.name, engine, grader, folder / "eval" / plan.benchmark, report=tell
        )
    _write_samples(measurements, results, folder / "samples.jsonl")
    return pooled(results)


def pooled(results: Mapping[str, EvalResult]) -> CellResult:
    """Accuracies of a model on each benchmark, and their mean. Its interval takes the benchmarks as independent: the
    ends are as far from the mean as the root of the summed squares of theirs, divided by their number."""
    every = list(results.values())
    mean = fmean(one.accuracy for one in every)
    # Each end by itself: an interval near 0 or 1 is no longer symmetric.
    low, high = (math.hypot(*(one.accuracy - one.ci95[end] for one in every)) / len(every) for end in (0, 1))
    benchmarks = {
        name: FamilyScores(accuracy=one.accuracy, ci95=one.ci95, n_problems=one.n_problems, k=one.k)
        for name, one in results.items()
    }
    # Groups of several benchmarks would stand in one table without saying whose they are.
    groups = every[0].per_group if len(every) == 1 else {}
    return CellResult(
        accuracy=mean,
        accuracy_ci95=(mean - low, mean + high),
        n_problems=sum(one.n_problems for one in every),
        k=every[0].k if len({one.k for one in every}) == 1 else None,  # a report would say it of all problems
        per_family=groups or benchmarks,
        mean_length={name: one.mean_length for name, one in results.items()},
        truncated={name: one.truncated for name, one in results.items()},
    )


def servable(model: Path, base: str, revision: str, folder: Path, backend: str) -> Path:
    """``model`` itself; or, of an adapter that vLLM cannot serve, the whole model in ``folder``: it and its ``base``.

    Any other adapter is measured as ``sgpo eval`` measures it, on top of its base: merged weights are rounded to the
    precision of the base, which moves the figures.
    """
    trained = Folder(str(model))
    adapter = trained.adapter or {}
    if backend != "vllm" or not (adapter.get("modules_to_save") or adapter.get("use_dora") or trained.start):
        return model
    if trained.quantization is not None:
        raise ModelError(
            f"{model} was trained on a quantized base, with which its layers are not merged, and vLLM serves no such "
            "adapter. Measure with backend: transformers."
        )
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # Of a run that was killed while it merged.
    shutil.rmtree(folder, ignore_errors=True)
    with whole_weights():
        start = AutoModelForCausalLM.from_pretrained(base, revision=revision, dtype="auto", trust_remote_code=False)
    PeftModel.from_pretrained(start, model).merge_and_unload().save_pretrained(folder)
    AutoTokenizer.from_pretrained(model, trust_remote_code=False).save_pretrained(folder)
    return folder


def described(measurements: Sequence[Measurement], digest: Callable[[Any], str]) -> list[dict[str, object]]:
    """What the comparison's settings say of its benchmarks."""
    return [
        {
            "name": plan.benchmark,
            "problems": len(plan.problems),
            "sha256": digest([problem.content() for problem in plan.problems]),
            "template": plan.template.name,
            "grader": grader.describe()["name"],
            "k": plan.k,
            **asdict(plan.sampling),
        }
        for plan, grader in measurements
    ]


def _write_samples(measurements: Sequence[Measurement], results: Mapping[str, EvalResult], path: Path) -> None:
    """The first response to a few problems of each family, in the benchmark's order, for the report."""
    lines = []
    for plan, _ in measurements:
        seen: dict[str, int] = {}
        for problem, result in zip(plan.problems, results[plan.benchmark].problems, strict=True):
            family = problem.group or plan.benchmark
            seen[family] = seen.get(family, 0) + 1
            if seen[family] <= _SAMPLES:
                # The first one, and not the best: nothing is picked by its looks.
                first = result.samples[0]
                row = SampleRow(
                    id=problem.id,
                    family=family,
                    problem=problem.problem,
                    answer=problem.answer,
                    autonomous=first.text,
                    autonomous_correct=first.correct > 0.5,
                )
                lines.append(row.to_json())
    write_rows(path, lines)
