"""distillation_loss: rows, masks, weights, normaliser and metrics; value and gradient against the oracle."""

import math
from typing import Any

import objectives_oracle as oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, tensor

from sgpo.objectives import CLIP_FORMS, DIRECTIONS, distillation_loss, token_kl

F64 = torch.float64
N, T, V = 4, 5, 6


def close(actual: Tensor, expected: Any, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=actual.dtype), rtol=tolerance, atol=tolerance)


def batch(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Student and teacher logits [N, T, V], ragged mask, weights; one row empty, one of weight 0."""
    generator = torch.Generator().manual_seed(seed)
    student, noise = (torch.randn(N, T, V, dtype=F64, generator=generator) for _ in range(2))
    mask = tensor([[1, 1, 0, 1, 0], [0] * 5, [1] * 5, [0, 1, 1, 1, 1]]).bool()
    return student.requires_grad_(), student.detach() + 1.2 * noise, mask, tensor([0.8, 0.5, 0.0, 0.3], dtype=F64)


@pytest.mark.parametrize("form", CLIP_FORMS)
@pytest.mark.parametrize("threshold", [0.7, None])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_value_gradient_and_metrics_match_the_oracle(direction: str, threshold: float | None, form: str) -> None:
    student, teacher, mask, weights = batch()
    kl = token_kl(student, teacher, direction=direction, temperature=0.8)
    loss, metrics = distillation_loss(kl, mask, weights, normalizer=3, clip=threshold, clip_form=form)
    loss.backward()
    value, gradient, sums = oracle.loss_and_gradient(
        student.tolist(), teacher.tolist(), mask.tolist(), weights.tolist(), 3, direction, 0.8, threshold, form
    )
    assert threshold is None or 0 < sums["clipped_tokens"] < sums["tokens"]  # both branches are visited
    close(loss, value)
    close(student.grad, gradient)
    assert metrics.keys() == sums.keys()
    for name, total in sums.items():
        close(metrics[name], total)
        assert not metrics[name].requires_grad


def test_gradcheck() -> None:
    student, teacher, mask, weights = batch()
    for clip in (None, 0.7):
        assert torch.autograd.gradcheck(
            lambda z, clip=clip: distillation_loss(
                token_kl(z, teacher), mask, weights, normalizer=2, clip=clip, clip_form="hard"
            )[0],
            (student,),
        )


def test_worked_by_hand() -> None:
    kl = tensor([[0.5, 3.0, 9.0], [0.2, 0.4, 0.6]], dtype=F64, requires_grad=True)
    mask = tensor([[True, True, False], [True, True, True]])
    loss, metrics = distillation_loss(kl, mask, tensor([0.8, 0.5], dtype=F64), normalizer=4)
    loss.backward()
    close(loss, (0.8 * (0.5 + 1.0) / 2 + 0.5 * 0.4) / 4)  # 0.2
    # 0.8 / 2 / 4 = 0.1, scaled by 1/3 above the threshold; 0.5 / 3 / 4 = 1/24
    close(kl.grad, [[0.1, 0.1 / 3, 0.0], [1 / 24] * 3])
    expected = {"kl_sum": 4.7, "kl_clipped_sum": 2.7, "clipped_tokens": 1, "tokens": 5, "rows": 2}
    assert {name: value.item() for name, value in metrics.items()} == pytest.approx(expected)


@pytest.mark.parametrize("form", CLIP_FORMS)
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_what_is_not_counted_may_hold_anything(poison: float, form: str) -> None:
    student, teacher, mask, weights = batch()
    clean = token_kl(student, teacher).detach()
    counted = mask & (weights != 0)[:, None]
    results = []
    for fill in (0.0, poison):
        kl = clean.masked_fill(~counted, fill).requires_grad_()
        loss, metrics = distillation_loss(kl, mask, weights, normalizer=3, clip=0.7, clip_form=form)
        loss.backward()
        assert kl.grad is not None
        assert torch.all(kl.grad[~counted] == 0)
        assert torch.all(kl.grad[counted & (clean < 0.7)] > 0)
        results.append([loss.detach(), kl.grad, *metrics.values()])
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


def test_nan_at_a_counted_token_surfaces() -> None:
    student, teacher, mask, weights = batch()
    kl = token_kl(student, teacher).detach()
    kl[0, 1] = math.nan
    for form in CLIP_FORMS:
        assert distillation_loss(kl, mask, weights, normalizer=1, clip_form=form)[0].isnan()
    nan_weight = tensor([0.8, math.nan, 0.0, math.nan])
    assert distillation_loss(torch.ones(N, T), mask, nan_weight, normalizer=1)[0].isnan()


@pytest.mark.parametrize("rows", [0, 2])
def test_nothing_left_gives_a_zero_that_is_still_on_the_graph(rows: int) -> None:
    kl = torch.ones(rows, 3, requires_grad=True)
    for mask, weights in (
        (torch.zeros(rows, 3, dtype=torch.bool), torch.ones(rows)),
        (torch.ones(rows, 3, dtype=torch.bool), torch.zeros(rows)),
    ):
        kl.grad = None
        loss, metrics = distillation_loss(kl, mask, weights, normalizer=2)
        loss.backward()
        assert loss == 0
        assert kl.grad is not None
        assert torch.all(kl.grad == 0)
        assert all(value == 0 for value in metrics.values())


def test_no_tokens_at_all() -> None:
    loss, _ = distillation_loss(torch.ones(2, 0), torch.ones(2, 0, dtype=torch.bool), torch.ones(2), normalizer=2)
    assert loss == 0


@given(seed=st.integers(0, 1000), cut=st.integers(0, N), form=st.sampled_from(list(CLIP_FORMS)))
def test_micro_steps_and_order_change_nothing(seed: int, cut: int, form: str) -> None:
    """Losses and metrics of the parts add up to those of the whole, in any order of the rows."""
    student, teacher, mask, weights = batch(seed)
    kl = token_kl(student, teacher).detach()
    options: dict[str, Any] = {"normalizer": tensor(5.0, dtype=F64), "clip_form": form}
    whole, metrics = distillation_loss(kl, mask, weights, **options)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(seed))
    parts = [distillation_loss(kl[rows], mask[rows], weights[rows], **options) for rows in (order[:cut], order[cut:])]
    close(parts[0][0] + parts[1][0], whole)
    for name, value in metrics.items():
        close(parts[0][1][name] + parts[1][1][name], value)


def test_the_weights_learn_nothing() -> None:
    # A trainable alpha would lower the loss by going to 0.
    weights = torch.ones(2, requires_grad=True)
    kl = torch.ones(2, 3, requires_grad=True)
    distillation_loss(kl, torch.ones(2, 3, dtype=torch.bool), weights, normalizer=1)[0].backward()
    assert weights.grad is None


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"mask": torch.ones(2, 2, dtype=torch.bool)}, ["mask (2, 2)", "[N, T]"]),
        ({"weights": torch.ones(3)}, ["weights (3,)"]),
        ({"token_kl": torch.ones(6), "mask": torch.ones(6).bool()}, ["tokens (6,)"]),
        ({"mask": torch.ones(2, 3)}, ["float32", "mask.bool()"]),
        ({"normalizer": 0}, ["normalizer is 0", "number of problems"]),
        ({"normalizer": math.nan}, ["normalizer is nan"]),
        ({"clip": -1.0}, ["threshold is -1.0"]),
        ({"clip_form": "soft"}, ["'soft'"]),
    ],
)
def test_errors_name_the_value_and_the_remedy(change: dict[str, Any], names: list[str]) -> None:
    arguments: dict[str, Any] = {
        "token_kl": torch.ones(2, 3),
        "mask": torch.ones(2, 3, dtype=torch.bool),
        "weights": torch.ones(2),
        "normalizer": 2,
    }
    with pytest.raises(ValueError) as error:
        distillation_loss(**{**arguments, **change})
    assert all(name in str(error.value) for name in names)
