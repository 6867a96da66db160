"""From the options of ``sgpo eval`` to a plan and a grader for each benchmark."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sgpo.data.benchmarks import HUB, BenchmarkProblem, load_file, load_hub
from sgpo.evaluation.grading import ResponseGrader, VerifyGrader
from sgpo.evaluation.options import PRESETS, EvalOptions
from sgpo.evaluation.run import EvalPlan
from sgpo.evaluation.templates import OWN, load_strategies, load_template, template_text
from sgpo.models import Sampling


@dataclasses.dataclass(frozen=True)
class Embedded:
    """A benchmark that comes with a package, which knows evaluation and is not known to it."""

    name: str  # of the benchmark, and of its grader among the options
    source: str  # said in the saved settings
    problems: Callable[[], list[BenchmarkProblem]]
    settings: Mapping[str, Any]  # what it wants in place of the preset, by the names of :class:`EvalOptions`
    grader: ResponseGrader  # for its problems, and for any file with `--grader` and its name


def plan_benchmark(options: EvalOptions, name: str, embedded: Embedded) -> tuple[EvalPlan, ResponseGrader]:
    """The plan and the grader of one benchmark. Explicit options come before the preset.

    Raises:
        ValueError: an option that is wrong, or problems that cannot be loaded.
    """
    # With --data the problems are those of the file, whatever their name.
    own = embedded if name == embedded.name and options.data is None else None
    # In rising order of weight: defaults, the preset, what the benchmark wants, what was typed.
    settings: dict[str, Any] = {"k": 4, "template": "instruct", "grader": "verify", "guided_template": None}
    settings |= {"k": HUB[name].k} if name in HUB else {}
    settings |= PRESETS[options.preset or "paper"]
    settings |= own.settings if own else {}
    settings |= {option: given for option in settings if (given := getattr(options, option)) is not None}
    hub = f"hub {HUB[name].repo}@{HUB[name].revision}" if name in HUB else None
    problems, remark = _problems(options, name, own)
    whole = sum(problem.prompt is not None for problem in problems)
    if whole and (options.template is not None or whole < len(problems)):
        said = f"{whole} of {len(problems)} problems are messages, whole prompts to which --template does nothing."
        remark = f"{remark} {said}".strip()
    plan = EvalPlan(
        benchmark=name,
        source=str(options.data or (own.source if own else hub)),
        problems=problems,
        template=OWN if problems and whole == len(problems) else load_template(settings["template"]),
        k=settings["k"],
        sampling=Sampling(settings["temperature"], settings["top_p"], settings["max_new_tokens"]),
        seed=options.seed,
        guided=options.guided or options.strategies is not None,
        guided_template=template_text(settings["guided_template"]),
        allow_bad_golds=options.allow_bad_golds,
        remark=remark,
    )
    # Also for a file of the user's, which may hold problems of the embedded kind.
    if settings["grader"] == embedded.name:
        return plan, embedded.grader
    return plan, VerifyGrader(timeout=options.verify_timeout, require_box=options.require_box)


def refuse_idle(options: EvalOptions, graders: Sequence[ResponseGrader]) -> None:
    """Raise ``ValueError`` for an option that nothing of the evaluation would read, with what it waits for."""
    idle = []
    if options.guided_template is not None and not (options.guided or options.strategies):
        idle.append("--guided-template does nothing without --guided or --strategies")
    if not any(isinstance(grader, VerifyGrader) for grader in graders):
        given = {
            "--require-box": options.require_box,
            "--verify-timeout": options.verify_timeout != EvalOptions.verify_timeout,
        }
        idle += [f"{flag} does nothing without --grader verify" for flag, is_given in given.items() if is_given]
    if idle:
        raise ValueError(f"{'; '.join(idle)}. Add that, or leave it out.")


def _problems(options: EvalOptions, name: str, own: Embedded | None) -> tuple[list[BenchmarkProblem], str]:
    """The problems, and what is to be said of them: repetitions, and where their strategies are from."""
    path, remarks = options.data, []
    problems = (load_file(path) if path is not None else own.problems() if own else load_hub(name))[: options.limit]
    # As files made for avg@k by repetition have them.
    if path is not None and (again := len(problems) - len({problem.problem.strip() for problem in problems})):
        remarks.append(
            f"{path}: {again} of {len(problems)} problems repeat another one. Each counts as often as it stands there, "
            "and the intervals take all for different ones, so they are too narrow. Give each once, with more samples "
            "by --k."
        )
    if options.strategies is not None:
        # A problem that the file does not name keeps the strategy that it came with.
        strategies = load_strategies(options.strategies)
        if problems and not strategies.keys() & {problem.id for problem in problems}:
            raise ValueError(
                f"{options.strategies} has strategies for none of the problems (an id there is "
                f"{next(iter(strategies))!r}, here {problems[0].id!r}); make the ids agree."
            )
        kept = sum(problem.id not in strategies for problem in problems)
        idle = len(strategies) - (len(problems) - kept) if options.limit is None else 0
        said = [f"{kept} of {len(problems)} problems are not in it and keep the strategy of the data"] * bool(kept)
        said += [f"{idle} of its {len(strategies)} strategies are for no problem here"] * bool(idle)
        remarks += [f"{options.strategies}: {'; '.join(said)}."] * bool(said)
        problems = [dataclasses.replace(each, strategy=strategies.get(each.id, each.strategy)) for each in problems]
    return problems, " ".join(remarks)
