"""What ``sgpo eval`` can be told, and what follows from it: a plan and a grader for each benchmark, and a backend."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgpo.data.benchmarks import HUB, BenchmarkProblem, load_file, load_hub
from sgpo.evaluation.grading import Grader, RewardGrader, VerifyGrader
from sgpo.evaluation.run import Plan
from sgpo.evaluation.templates import load_strategies, load_template, template_text
from sgpo.models import Model, ModelOptions, Sampling, open_model
from sgpo.models.options import json_object

if TYPE_CHECKING:
    from sgpo.lab import Problem

PRESETS: dict[str, dict[str, Any]] = {
    # arXiv 2606.24064; its k is 4 or 32 by benchmark, see sgpo.data.benchmarks.
    "paper": {"temperature": 0.6, "top_p": 0.95, "max_new_tokens": 32768},
    "greedy": {"k": 1, "temperature": 0.0, "top_p": 1.0, "max_new_tokens": 32768},
}


@dataclasses.dataclass(frozen=True)
class EvalOptions:
    """The options of ``sgpo eval``, by their names and with their defaults; ``sgpo eval --help`` explains them."""

    data: Path | None = None
    preset: str | None = None
    k: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_new_tokens: int | None = None
    seed: int = 0
    template: str | None = None
    guided: bool = False
    strategies: Path | None = None
    guided_template: str | None = None
    grader: str | None = None
    verify_timeout: float = 2.0
    require_box: bool = False
    allow_bad_golds: bool = False
    limit: int | None = None
    backend: str = "transformers"
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = 16
    retries: int = 5
    request_timeout: float = 3600.0
    extra_body: str | None = None
    omit: list[str] | None = None
    stream: bool = False
    chat_template_kwargs: str | None = None
    batch_size: int | None = None
    dtype: str = "auto"
    device: str | None = None
    revision: str | None = None
    tensor_parallel: int = 1
    max_model_len: int | None = None

    def job(self, name: str) -> tuple[Plan, Grader]:
        """The plan and the grader of one benchmark. Explicit options come before the preset.

        Raises:
            ValueError: an option that is wrong, or problems that cannot be loaded.
        """
        lab = name == "lab" and self.data is None
        settings = {"k": 4, "template": "instruct", "grader": "verify", "guided_template": None, **self._preset(name)}
        if lab:
            settings |= _lab_settings(self.preset is None)
        settings |= {option: given for option in settings if (given := getattr(self, option)) is not None}
        plan = Plan(
            benchmark=name,
            source=str(self.data or ("sgpo.lab" if lab else f"hub {HUB[name].repo}@{HUB[name].revision}")),
            problems=self._problems(name, lab),
            template=load_template(settings["template"]),
            k=settings["k"],
            sampling=Sampling(settings["temperature"], settings["top_p"], settings["max_new_tokens"]),
            seed=self.seed,
            guided=self.guided or self.strategies is not None,
            guided_template=template_text(settings["guided_template"]),
            allow_bad_golds=self.allow_bad_golds,
        )
        return plan, self._grader(settings["grader"])

    def open(self, model: str, sampling: Sampling) -> Model:
        """The way to ``model``, loaded.

        Raises:
            ValueError: an option that is wrong.
            ModelError: a model that cannot be loaded.
        """
        options = ModelOptions(
            backend="endpoint" if self.base_url is not None else self.backend,
            base_url=self.base_url,
            api_key_env=self.api_key_env,
            concurrency=self.concurrency,
            retries=self.retries,
            timeout=self.request_timeout,
            extra_body=json_object(self.extra_body, "--extra-body"),
            omit=self.omit or (),
            stream=self.stream,
            batch_size=self.batch_size,
            dtype=self.dtype,
            device=self.device,
            revision=self.revision,
            tensor_parallel=self.tensor_parallel,
            max_model_len=self.max_model_len,
            chat_template_kwargs=json_object(self.chat_template_kwargs, "--chat-template-kwargs"),
        )
        return open_model(model, sampling, options)

    def _preset(self, name: str) -> dict[str, Any]:
        preset = self.preset or "paper"
        if preset not in PRESETS:
            raise ValueError(f"preset {preset!r} is unknown; choose from {', '.join(PRESETS)}.")
        k = {"k": HUB[name].k} if name in HUB else {}
        return {**k, **PRESETS[preset]}

    def _problems(self, name: str, lab: bool) -> list[BenchmarkProblem]:
        if self.data is not None:
            problems = load_file(self.data)
        else:
            problems = _lab_problems() if lab else load_hub(name)
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"--limit {self.limit} must be at least 1.")
        problems = problems[: self.limit]
        if self.strategies is None:
            return problems
        strategies = load_strategies(self.strategies)
        return [dataclasses.replace(p, strategy=strategies.get(p.id, p.strategy)) for p in problems]

    def _grader(self, name: str) -> Grader:
        if name == "verify":
            return VerifyGrader(timeout=self.verify_timeout, require_box=self.require_box)
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
