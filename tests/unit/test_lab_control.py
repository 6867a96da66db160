"""The control with another problem's strategy against one that reads every response alone, token by token."""

import math
from typing import Any

import pytest
import torch

from sgpo.lab import control, load_base, load_problems, verify
from sgpo.lab.problems import GUIDED_TEMPLATE, MAX_COMPLETION, with_strategy
from sgpo.models.sampling import sample
from sgpo.report.tokens import token_view


def test_the_control_is_what_each_response_says_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    model, tokenizer = load_base(0)
    first = load_problems("train")[0]
    other = next(p for p in load_problems("train") if p["strategy"] != first["strategy"])
    problems: list[Any] = [first, other]  # so that the other strategy is known
    found = control.strategy_control(model, tokenizer, problems, seed=3)
    assert found is not None
    rows = sample(model, tokenizer, [with_strategy(p) for p in problems], k=4, max_new_tokens=MAX_COMPLETION, seed=3)
    own, swapped, copied = [], [], []
    for problem, another, row in zip(problems, problems[::-1], rows, strict=True):
        views = []
        for text in {one.text for one in row if verify(one.text, problem["answer"])}:
            view = token_view(model, tokenizer, problem["prompt"], with_strategy(problem), text)
            views.append((sum(math.log(token["p"][0]) for token in view) / len(view), text, view))
        _, text, view = max(views, key=lambda one: one[0])
        own += [token["kl"] for token in view]
        wrong = GUIDED_TEMPLATE.format(strategy=another["strategy"], prompt=problem["prompt"])
        swapped += [token["kl"] for token in token_view(model, tokenizer, problem["prompt"], wrong, text)]
        copied += [word in problem["strategy"].split() for word in [*text.split(), "<eos>"]]
    assert found.problems == 2
    assert found.own_kl == pytest.approx(sum(own) / len(own), rel=2e-3)  # the view keeps four digits
    assert found.other_kl == pytest.approx(sum(swapped) / len(swapped), rel=2e-3)
    assert found.own_kl != pytest.approx(found.other_kl, rel=0.05)
    assert found.copied == sum(copied) / len(copied)


def test_without_another_strategy_there_is_nothing_to_compare() -> None:
    assert control.strategy_control(*load_base(0), load_problems("train")[:1]) is None
