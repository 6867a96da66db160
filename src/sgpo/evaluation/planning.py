"""From the options of ``sgpo eval`` to a plan and a grader for each benchmark."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from sgpo.data.benchmarks import HUB, BenchmarkProblem, load_file, load_hub
from sgpo.evaluation.grading import Grader, RewardGrader, VerifyGrader
from sgpo.evaluation.options import PRESETS, EvalOptions
from sgpo.evaluation.run import Plan
from sgpo.evaluation.templates import load_strategies, load_template, template_text
from sgpo.models import Sampling

if TYPE_CHECKING:
    from sgpo.lab import Problem


def plan_benchmark(options: EvalOptions, name: str) -> tuple[Plan, Grader]:
    """The plan and the grader of one benchmark. Explicit options come before the preset.

    Raises:
        ValueError: an option that is wrong, or problems that cannot be loaded.
    """
    lab = name == "lab" and options.data is None
    settings = {"k": 4, "template": "instruct", "grader": "verify", "guided_template": None, **_preset(options, name)}
    if lab:
        settings |= _lab_settings()
    settings |= {option: given for option in settings if (given := getattr(options, option)) is not None}
    plan = Plan(
        benchmark=name,
        source=str(options.data or ("sgpo.lab" if lab else f"hub {HUB[name].repo}@{HUB[name].revision}")),
        problems=_problems(options, name, lab),
        template=load_template(settings["template"]),
        k=settings["k"],
        sampling=Sampling(settings["temperature"], settings["top_p"], settings["max_new_tokens"]),
        seed=options.seed,
        guided=options.guided or options.strategies is not None,
        guided_template=template_text(settings["guided_template"]),
        allow_bad_golds=options.allow_bad_golds,
    )
    return plan, _grader(options, settings["grader"])


def _preset(options: EvalOptions, name: str) -> dict[str, Any]:
    k = {"k": HUB[name].k} if name in HUB else {}
    return {**k, **PRESETS[options.preset or "paper"]}


def _problems(options: EvalOptions, name: str, lab: bool) -> list[BenchmarkProblem]:
    if options.data is not None:
        problems = load_file(options.data)
    else:
        problems = _lab_problems() if lab else load_hub(name)
    problems = problems[: options.limit]
    if options.strategies is None:
        return problems
    strategies = load_strategies(options.strategies)
    return [dataclasses.replace(p, strategy=strategies.get(p.id, p.strategy)) for p in problems]


def _grader(options: EvalOptions, name: str) -> Grader:
    if name == "lab":
        from sgpo.lab.problems import final_answer, lab_reward

        return RewardGrader("lab", lab_reward, final_answer)
    return VerifyGrader(timeout=options.verify_timeout, require_box=options.require_box)


def _lab_settings() -> dict[str, Any]:
    """What the lab evaluates its own models with, beside the preset's sampling."""
    from sgpo.lab.problems import GUIDED_TEMPLATE, MAX_COMPLETION

    return {
        "template": "raw",
        "grader": "lab",
        "guided_template": GUIDED_TEMPLATE,
        "max_new_tokens": MAX_COMPLETION,
    }


def _lab_problems() -> list[BenchmarkProblem]:
    from sgpo.lab.problems import load_problems

    def convert(problem: Problem) -> BenchmarkProblem:
        return BenchmarkProblem(
            problem["id"], problem["prompt"], problem["answer"], group=problem["family"], strategy=problem["strategy"]
        )

    return [convert(problem) for problem in load_problems("eval")]
