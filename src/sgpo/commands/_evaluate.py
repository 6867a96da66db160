"""From the options of ``sgpo eval`` to plans and a backend, and the tables it prints."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from sgpo.data.benchmarks import HUB, BenchmarkProblem, load_file, load_hub
from sgpo.evaluation.backends import Backend, Sampling
from sgpo.evaluation.diff import Comparison, Flip
from sgpo.evaluation.grading import Grader, RewardGrader, VerifyGrader
from sgpo.evaluation.metrics import Interval
from sgpo.evaluation.results import EvalResult
from sgpo.evaluation.run import Plan, run
from sgpo.evaluation.templates import load_strategies, load_template

if TYPE_CHECKING:
    from sgpo.lab import Problem

PRESETS: dict[str, dict[str, Any]] = {
    # arXiv 2606.24064; its k is 4 or 32 by benchmark, see sgpo.data.benchmarks.
    "paper": {"temperature": 0.6, "top_p": 0.95, "max_new_tokens": 32768},
    "greedy": {"k": 1, "temperature": 0.0, "top_p": 1.0, "max_new_tokens": 32768},
}
BACKENDS = ("transformers", "vllm", "endpoint")
_GROUPS_SHOWN = 12


def names(benchmarks: list[str] | None, data: Path | None) -> list[str]:
    """The benchmarks asked for; with ``--data`` alone, one that is named after the file."""
    if data is not None and len(benchmarks or []) > 1:
        raise ValueError(f"--data {data} gives the problems of one benchmark, not of {len(benchmarks or [])}.")
    chosen = benchmarks or ([data.stem.lower()] if data is not None else [])
    if not chosen:
        raise ValueError(f"No problems: give --benchmark NAME ({', '.join(HUB)}, lab) or --data PATH, or both.")
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"--benchmark {' '.join(chosen)} names one of them twice.")
    return chosen


def job(given: dict[str, Any], name: str) -> tuple[Plan, Grader]:
    """The plan and the grader of one benchmark. Explicit options come before the preset."""
    lab = name == "lab" and given["data"] is None
    settings = {"k": 4, "template": "instruct", "grader": "verify", "guided_template": None, **_preset(given, name)}
    if lab:
        settings |= _lab_settings(given["preset"] is None)
    settings |= {option: given[option] for option in settings if given.get(option) is not None}
    problems = _problems(given, name, lab)
    return (
        Plan(
            benchmark=name,
            source=str(given["data"] or ("sgpo.lab" if lab else f"hub {HUB[name].repo}@{HUB[name].revision}")),
            problems=problems,
            template=load_template(settings["template"]),
            k=settings["k"],
            sampling=Sampling(settings["temperature"], settings["top_p"], settings["max_new_tokens"]),
            seed=given["seed"],
            guided=given["guided"] or given["strategies"] is not None,
            guided_template=_text(settings["guided_template"]),
            allow_bad_golds=given["allow_bad_golds"],
        ),
        _grader(settings["grader"], given),
    )


def backend(given: dict[str, Any], model: str, sampling: Sampling, before: Backend | None) -> Backend:
    """The way to the model; the one ``before`` is used again, with its model loaded."""
    if before is not None:
        before.sampling = sampling
        return before
    kind = "endpoint" if given["base_url"] is not None else given["backend"]
    if kind not in BACKENDS:
        raise ValueError(f"backend {kind!r} is unknown; choose from {', '.join(BACKENDS)}.")
    if kind == "endpoint":
        from sgpo.evaluation.backends.endpoint import EndpointBackend

        return EndpointBackend(
            model,
            sampling,
            base_url=given["base_url"],
            key_variable=given["api_key_env"],
            concurrency=given["concurrency"],
            retries=given["retries"],
            timeout=given["request_timeout"],
            extra_body=_json_object(given["extra_body"]),
            omit=given["omit"] or (),
        )
    common = {"dtype": given["dtype"], "revision": given["revision"]}
    if kind == "vllm":
        from sgpo.evaluation.backends.vllm_engine import VllmBackend

        size = given["batch_size"] or 512
        parallel, length = given["tensor_parallel"], given["max_model_len"]
        return VllmBackend.load(
            model, sampling, batch_size=size, tensor_parallel=parallel, max_model_len=length, **common
        )
    from sgpo.evaluation.backends.local import LocalBackend

    return LocalBackend.load(model, sampling, batch_size=given["batch_size"] or 64, device=given["device"], **common)


def run_with_bar(plan: Plan, model: str, engine: Backend, grader: Grader, folder: Path) -> EvalResult:
    """Run with a progress bar and the running accuracy, on standard error."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[accuracy]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(escape(plan.benchmark), total=len(plan.problems) * plan.k, accuracy="")

        def report(done: int, total: int, accuracy: float) -> None:
            bar.update(task, completed=done, total=total, accuracy=f"accuracy {100 * accuracy:.1f}")

        return run(plan, model, engine, grader, folder, report=report)


def print_results(results: dict[str, EvalResult]) -> None:
    """One row a benchmark, with its groups below, and the average where there are several."""
    table = Table(box=None, pad_edge=False)
    table.add_column("benchmark", no_wrap=True)
    for title in ("n", "avg@k", "95% interval", "pass@k", "maj@k", "tokens", "cut", "time-outs"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, result in results.items():
        table.add_row(
            f"{escape(name)} k={result.k}",
            str(result.n_problems),
            _percent(result.accuracy),
            _interval(result.ci95),
            _percent(result.pass_at_k[result.k]),
            "-" if result.maj_at_k is None else _percent(result.maj_at_k),
            "-" if result.mean_length is None else f"{result.mean_length:.0f}",
            _percent(result.truncated),
            str(result.timed_out),
        )
        if 1 < len(result.per_group) <= _GROUPS_SHOWN:
            for group, cell in result.per_group.items():
                accuracy, interval = _percent(cell["accuracy"]), _interval(cell["ci95"])
                table.add_row(f"  {escape(group)}", str(cell["n_problems"]), accuracy, interval)
    if len(results) > 1:
        average = sum(result.accuracy for result in results.values()) / len(results)
        table.add_row("average", "", _percent(average))
    Console().print(table)


def print_diff(found: Comparison, show: int) -> None:
    """The difference, what else differs, and the problems that flipped."""
    typer.echo(f"A {_percent(found.a)}   B {_percent(found.b)}   {found.n_problems} problems")
    typer.echo(f"B - A {100 * found.difference:+.1f}, 95% interval {_interval(found.ci95)} (paired over problems)")
    typer.echo(f"{found.improved} problems rose, {found.worsened} fell")
    if found.left_out:
        typer.echo(f"{found.left_out} problems are in only one of them and left out")
    for line in found.settings:
        typer.echo(f"settings differ: {line}")
    _print_flips("solved by B alone", found.gained, show)
    _print_flips("solved by A alone", found.lost, show)


def _print_flips(title: str, flips: list[Flip], show: int) -> None:
    typer.echo(f"{title}: {len(flips)}")
    for flip in flips[:show]:
        typer.echo(f"  {flip.id}  {_percent(flip.a)} -> {_percent(flip.b)}")
    if len(flips) > show:
        typer.echo(f"  and {len(flips) - show} more; --json lists all")


def _preset(given: dict[str, Any], name: str) -> dict[str, Any]:
    preset = given["preset"] or "paper"
    if preset not in PRESETS:
        raise ValueError(f"preset {preset!r} is unknown; choose from {', '.join(PRESETS)}.")
    k = {"k": HUB[name].k} if name in HUB else {}
    return {**k, **PRESETS[preset]}


def _problems(given: dict[str, Any], name: str, lab: bool) -> list[BenchmarkProblem]:
    if given["data"] is not None:
        problems = load_file(given["data"])
    else:
        problems = _lab_problems() if lab else load_hub(name)
    limit = given["limit"]
    if limit is not None and limit < 1:
        raise ValueError(f"--limit {limit} must be at least 1.")
    problems = problems[:limit]
    if given["strategies"] is None:
        return problems
    strategies = load_strategies(given["strategies"])
    return [dataclasses.replace(p, strategy=strategies.get(p.id, p.strategy)) for p in problems]


def _grader(name: str, given: dict[str, Any]) -> Grader:
    if name == "verify":
        return VerifyGrader(timeout=given["verify_timeout"], require_box=given["require_box"])
    if name == "lab":
        from sgpo.lab.problems import final_answer, lab_reward

        return RewardGrader("lab", lab_reward, final_answer)
    raise ValueError(f"grader {name!r} is unknown; choose verify or lab.")


def _lab_settings(sampling: bool) -> dict[str, Any]:
    """What the lab evaluates its own models with; its sampling only where no preset was asked for."""
    from sgpo.lab.problems import GUIDED_TEMPLATE, MAX_COMPLETION

    settings = {
        "template": "raw",
        "grader": "lab",
        "guided_template": GUIDED_TEMPLATE,
        "max_new_tokens": MAX_COMPLETION,
    }
    return settings | ({"k": 4, "temperature": 1.0, "top_p": 1.0} if sampling else {})


def _lab_problems() -> list[BenchmarkProblem]:
    from sgpo.lab.problems import load_problems

    def convert(problem: Problem) -> BenchmarkProblem:
        return BenchmarkProblem(
            problem["id"], problem["prompt"], problem["answer"], group=problem["family"], strategy=problem["strategy"]
        )

    return [convert(problem) for problem in load_problems("eval")]


def _text(template: str | None) -> str | None:
    """A guided template given as text or as a file."""
    if template is None or "{prompt}" in template:
        return template
    path = Path(template)
    if not path.is_file():
        raise ValueError(f"guided template {template!r} is neither a file nor text with {{prompt}} and {{strategy}}.")
    return path.read_text(encoding="utf-8")


def _json_object(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"--extra-body {text!r} is not valid JSON ({error}).") from error
    if not isinstance(value, dict):
        raise ValueError(f"--extra-body {text!r} must be a JSON object, for example '{{\"top_k\": 20}}'.")
    return value


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _interval(interval: Interval | list[float]) -> str:
    return f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
