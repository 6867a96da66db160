"""The lab's evaluation against one done by hand from the same random streams, on a few problems of two axes."""

import functools
import math
from typing import Any

import pytest
import torch

from sgpo.lab import load_base, load_problems, measure, verify
from sgpo.lab.problems import MAX_COMPLETION, with_strategy
from sgpo.models.sampling import sample
from sgpo.runs.scores import AxisScores, with_means

K, PASS_K, FEW = 2, 4, 3


base = functools.cache(functools.partial(load_base, 0))


@pytest.fixture
def problems(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """Five problems on each of two axes, in mixed order; some prompts hold the strategy, so that they are solved."""
    torch.set_num_threads(1)
    mixed: list[Any] = [
        {**p, "axis": ("instances", "types")[i % 2], "prompt": p["prompt"] if i < 5 else with_strategy(p)}
        for i, p in enumerate(load_problems("eval")[:10])
    ]
    monkeypatch.setattr(measure, "load_problems", lambda split: mixed)
    monkeypatch.setattr(measure, "PASS_PROBLEMS", FEW)
    monkeypatch.setattr(measure, "PASS_K", PASS_K)
    return {axis: [p for p in mixed if p["axis"] == axis] for axis in ("instances", "types")}


def shares(problems: list[Any], k: int, guided: bool = False, **how: Any) -> list[float]:
    """Share of correct samples of each problem."""
    prompts = [with_strategy(p) if guided else p["prompt"] for p in problems]
    rows = sample(*base(), prompts, k=k, max_new_tokens=MAX_COMPLETION, seed=1234, **how)
    return [sum(verify(one.text, p["answer"]) for one in row) / k for p, row in zip(problems, rows, strict=True)]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_every_score_of_an_axis_is_what_its_own_samples_give(problems: dict[str, list[Any]]) -> None:
    paper, hot = {"temperature": 0.6, "top_p": 0.95}, {"temperature": 1.0, "top_p": 1.0}
    found = measure.measure_all(*base(), k=K).to_json()
    assert set(found["axes"]) == {"instances", "types"}
    for axis, own in problems.items():
        many, few = shares(own[:FEW], PASS_K, **hot), shares(own[FEW:], K, **hot)
        by_hand = {
            j: mean([1 - math.comb(PASS_K - round(PASS_K * s), j) / math.comb(PASS_K, j) for s in many])
            for j in (1, 2, 4)
        }
        expected = AxisScores(
            accuracy=mean(shares(own, K, **paper)),
            greedy=mean(shares(own, 1, temperature=0.0)),
            temperature_1=mean(many + few),
            guided=mean(shares(own, 1, guided=True, **paper)),
            length=found["axes"][axis]["length"],
            pass_at_k=by_hand,
        )
        assert found["axes"][axis] == pytest.approx(
            {**expected.to_json(), "pass_at_k": pytest.approx(expected.to_json()["pass_at_k"])}
        )
    for family, scores in found["per_family"].items():
        tried = [p for own in problems.values() for p in own[:FEW] if p["family"] == family]
        assert scores.get("pass_problems", 0) == len(tried)
        if tried:
            solved = [share > 0 for share in shares(tried, PASS_K, **hot)]
            assert scores["pass_at_32"] == pytest.approx(sum(solved) / len(solved))
    assert any(scores.get("pass_at_32") == 1 for scores in found["per_family"].values())
    assert found["accuracy"] == pytest.approx(mean([axis["accuracy"] for axis in found["axes"].values()]))
    assert len({axis["accuracy"] for axis in found["axes"].values()}) == 2, "the axes tell nothing apart here"


def test_a_choice_is_made_by_the_accuracy_alone(problems: dict[str, list[Any]]) -> None:
    found = measure.measure_all(*base(), k=K, split="validation").to_json()
    assert {name for axis in found["axes"].values() for name in axis} == {"accuracy", "length"}
    assert "accuracy_greedy" not in found


def test_scores_survive_json_and_their_mean_has_what_all_have() -> None:
    one = AxisScores(accuracy=0.5, greedy=0.25, length=12.0, pass_at_k={1: 0.5, 32: 0.75})
    assert one.to_json() == {
        "accuracy": 0.5, "greedy": 0.25, "length": 12.0, "pass_at_32": 0.75, "pass_at_k": {"1": 0.5, "32": 0.75}
    }  # fmt: skip
    assert AxisScores.from_json(one.to_json()) == one
    both = AxisScores.mean([one, AxisScores(accuracy=1.0, greedy=0.75, pass_at_k={1: 1.0})])
    assert both == AxisScores(accuracy=0.75, greedy=0.5, pass_at_k={1: 0.75})


def test_the_mean_of_the_new_axes_leaves_the_trained_one_out() -> None:
    found = with_means({"instances": 1.0, "operands": 0.5, "types": 0.0})
    assert (found["new_axes"], found["all_axes"]) == (0.25, 0.5)
    assert with_means({"instances": 1.0}) == {"instances": 1.0}
