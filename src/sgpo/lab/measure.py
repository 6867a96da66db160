"""How a model is measured on the lab: the same for every method, during training and at its end.

The sampling is that of arXiv 2606.24064, temperature 0.6 and top-p 0.95: at temperature 1 a policy pays for its
entropy, which no user of it would. Temperature 1, greedy and pass@k stand beside it in :func:`measure_all`.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from sgpo.evaluation import EvalResult, evaluate
from sgpo.evaluation import summarise as scores_of
from sgpo.evaluation.metrics import pass_at_k
from sgpo.evaluation.options import PRESETS
from sgpo.lab.problems import (
    AXES,
    MAX_COMPLETION,
    Axis,
    Problem,
    Split,
    lab_reward,
    load_problems,
    verify,
    with_strategy,
)
from sgpo.models.sampling import sample
from sgpo.runs.entries import CellResult, SampleRow
from sgpo.runs.files import write_rows
from sgpo.runs.scores import AxisScores, FamilyScores

TEMPERATURE, TOP_P = PRESETS["paper"]["temperature"], PRESETS["paper"]["top_p"]
PASS_K = 32
PASS_PROBLEMS = 24
"""Problems of each axis that pass@32 is measured on, the first of the split: all 120 of them would take three quarters
of the time of an evaluation."""
PROTOCOL = {
    "accuracy": {"temperature": TEMPERATURE, "top_p": TOP_P},
    "temperature_1": {"temperature": 1.0, "top_p": 1.0},
    "pass_at_k": {"k": PASS_K, "temperature": 1.0, "top_p": 1.0, "problems_an_axis": PASS_PROBLEMS},
    "guided": {"k": 1, "temperature": TEMPERATURE, "top_p": TOP_P},
}
"""What the figures of a comparison mean, as it is written into its settings."""
_BATCH = 300  # rows; fewer pay more for each step, more no longer fit the processor's caches
_SAMPLES = 4  # of an axis, for the report


def measure_once(
    model: PreTrainedModel,
    tokenizer: Any,
    *,
    k: int,
    split: Split = "eval",
    guided: bool = False,
    temperature: float = TEMPERATURE,
    top_p: float = TOP_P,
    problems: Sequence[Problem] | None = None,
    seed: int = 1234,
) -> EvalResult:
    """Accuracy on held-out problems, ``k`` samples each, with the strategy in the prompt if ``guided``.

    ``problems`` are those of the ``split`` unless given.
    """
    problems = load_problems(split) if problems is None else problems
    return evaluate(
        model,
        tokenizer,
        [{**p, "prompt": with_strategy(p) if guided else p["prompt"]} for p in problems],
        grade=lab_reward,
        k=k,
        temperature=temperature,
        top_p=top_p,
        max_new_tokens=MAX_COMPLETION,
        batch_size=_BATCH,
        seed=seed,  # one for every method: what differs between two of them is not the draw
    )


def measure_all(
    model: PreTrainedModel, tokenizer: Any, *, k: int, split: Split = "eval", guided: bool = False
) -> CellResult:
    """The part of a cell's result that comes from the evaluation, with the scores of each axis.

    On "eval", everything that :class:`AxisScores` has. On other splits, where only choices are made, and with the
    strategy in every prompt (``guided``), the accuracy alone.
    """
    problems = load_problems(split)
    found = {"accuracy": measure_once(model, tokenizer, k=k, guided=guided, problems=problems)}
    if split == "eval" and not guided:
        found["greedy"] = measure_once(model, tokenizer, k=1, temperature=0.0, problems=problems)
        found["guided"] = measure_once(model, tokenizer, k=1, guided=True, problems=problems)
        # Each sample has a random stream of its own, so the first k of the 32 are what k alone would have drawn.
        many = [problem for each in by_axis(problems).values() for problem in each[:PASS_PROBLEMS]]
        ids = {problem["id"] for problem in many}
        # The others at temperature 1 with k samples, so that the mean at temperature 1 is over all problems.
        few = [problem for problem in problems if problem["id"] not in ids]
        hot = functools.partial(measure_once, model, tokenizer, temperature=1.0, top_p=1.0)
        found["pass_at_k"] = hot(k=PASS_K, problems=many)
        if few:
            found["temperature_1"] = hot(k=k, problems=few)
    headline = found["accuracy"]
    families = headline.per_group
    return CellResult(
        accuracy=headline.accuracy,
        accuracy_ci95=headline.ci95,
        n_problems=headline.n_problems,
        k=headline.k,
        per_family=_with_passes(families, found["pass_at_k"]) if "pass_at_k" in found else families,
        accuracy_greedy=found["greedy"].accuracy if "greedy" in found else None,
        accuracy_guided=found["guided"].accuracy if "guided" in found else None,
        axes={axis: _axis(found, own) for axis, own in by_axis(problems).items()},
    )


def accuracy(
    model: PreTrainedModel, tokenizer: Any, problems: Sequence[Problem], *, k: int = 1, **how: Any
) -> dict[str, dict[str, float]]:
    """The ``rate`` of correct samples out of ``n`` on each axis, and under ``all`` on all problems.

    ``how`` is for :func:`measure_once`.
    """
    found = measure_once(model, tokenizer, k=k, problems=problems, **how)
    scores: dict[str, list[float]] = {"all": [one.score for one in found.problems]}
    for problem, one in zip(problems, found.problems, strict=True):
        scores.setdefault(problem["axis"], []).append(one.score)
    return {name: {"rate": sum(each) / len(each), "n": k * len(each)} for name, each in scores.items()}


def by_axis(problems: Sequence[Problem]) -> dict[Axis, list[Problem]]:
    """The problems of each axis that has any, in the order of ``AXES``."""
    found = {axis: [problem for problem in problems if problem["axis"] == axis] for axis in AXES}
    return {axis: own for axis, own in found.items() if own}


def _axis(found: Mapping[str, EvalResult], problems: Sequence[Problem]) -> AxisScores:
    """The scores on one axis, from the results on all problems."""
    ids = {problem["id"] for problem in problems}
    own = {name: [one for one in result.problems if one.id in ids] for name, result in found.items()}
    headline = scores_of(own["accuracy"])
    # Another split, or with the strategy: nothing but the accuracy was measured.
    if "greedy" not in found:
        return AxisScores(accuracy=headline.accuracy, length=headline.mean_length)
    # A score is a share of correct samples, so that 32 of one problem weigh as much as k of another.
    hot = [one.score for name in ("pass_at_k", "temperature_1") for one in own.get(name, [])]
    return AxisScores(
        accuracy=headline.accuracy,
        greedy=scores_of(own["greedy"]).accuracy,
        temperature_1=sum(hot) / len(hot),
        guided=scores_of(own["guided"]).accuracy,
        length=headline.mean_length,
        pass_at_k=scores_of(own["pass_at_k"]).pass_at_k,
    )


def _with_passes(families: Mapping[str, FamilyScores], result: EvalResult) -> dict[str, FamilyScores]:
    """The scores of families with pass@k, and its number of problems, of each that is among those of pass@k."""
    found = dict(families)
    for family, scores in families.items():
        verdicts = [[one.correct for one in p.samples] for p in result.problems if p.group == family]
        if verdicts:  # a type has a problem or two on an axis, and not every one is among the first of it
            found[family] = replace(scores, pass_at_32=pass_at_k(verdicts, result.k), pass_problems=len(verdicts))
    return found


def write_samples(model: PreTrainedModel, tokenizer: Any, split: Split, path: Path) -> None:
    """A few responses to held-out problems of each axis, with and without the strategy, for the report."""
    chosen = [problem for each in by_axis(load_problems(split)).values() for problem in each[:_SAMPLES]]
    prompts = [p["prompt"] for p in chosen], [with_strategy(p) for p in chosen]
    settings: dict[str, Any] = {"temperature": TEMPERATURE, "top_p": TOP_P, "max_new_tokens": MAX_COMPLETION}
    autonomous, guided = ([row[0].text for row in sample(model, tokenizer, asked, **settings)] for asked in prompts)
    rows = [
        SampleRow(
            id=problem["id"],
            family=problem["family"],
            axis=problem["axis"],
            problem=problem["prompt"],
            strategy=problem["strategy"],
            answer=problem["answer"],
            autonomous=alone,
            autonomous_correct=verify(alone, problem["answer"]),
            guided=told,
            guided_correct=verify(told, problem["answer"]),
        )
        for problem, alone, told in zip(chosen, autonomous, guided, strict=True)
    ]
    write_rows(path, (row.to_json() for row in rows))
