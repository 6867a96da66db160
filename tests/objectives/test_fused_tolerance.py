"""Leaving columns of the vocabulary out of the gradient: which ones, the bound on the error, and what stays exact."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from sgpo.objectives import Divergence, Head, Kernel, Rows, _fused_products, fused_linear_distillation_loss

F64 = torch.float64
N, T, H, V = 3, 6, 5, 400
MASK = torch.arange(T).expand(N, T) < torch.tensor([[6], [4], [5]])
WEIGHTS = torch.tensor([0.8, 0.5, 0.3], dtype=F64)
OPTIONS: list[dict[str, Any]] = [
    {},
    {"clip": 0.3, "temperature": 0.8, "scale": 1.2},
    {"clip": 0.3, "clip_form": "hard", "direction": "reverse"},
    {"clip": None, "softcap": 20.0},
]


def inputs(dtype: torch.dtype = F64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """States [N, T, H] of both policies, and a head [V, H] and bias [V] that leave most of the vocabulary empty."""
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(N, T, H, dtype=F64, generator=generator)
    teacher = student + 0.4 * torch.randn(N, T, H, dtype=F64, generator=generator)
    # A common part in all rows, as in trained models, and a few columns with most of the mass.
    head = 2 + torch.randn(V, H, dtype=F64, generator=generator)
    bias = torch.where(torch.arange(V) % 20 == 3, 0.0, -9.0).to(F64)
    student, teacher, head, bias = (x.to(dtype) for x in (student, teacher, head, bias))
    return student.requires_grad_(), teacher, head.requires_grad_(), bias.requires_grad_()


def run(
    student: Tensor, teacher: Tensor, head: Tensor, bias: Tensor, tolerance: float, chunk_size: int = 4, **options: Any
) -> tuple[Any, tuple[Tensor, ...]]:
    """The fused loss and its gradients of states, head and bias."""
    whole = Head(head, bias, options.pop("scale", 1.0), options.pop("softcap", None))
    rows = Rows(student, teacher, MASK, WEIGHTS, 2)
    found = fused_linear_distillation_loss(rows, whole, Divergence(**options), Kernel(chunk_size, tolerance))
    return found, torch.autograd.grad(found.loss, (student, head, bias))


def logit_gradient(student: Tensor, teacher: Tensor, head: Tensor, bias: Tensor, **options: Any) -> Tensor:
    """d loss / d (hidden @ head.T + bias), [P, V] of the counted tokens: what each column holds.

    With V hidden units, a head that is the identity turns the loss's gradient of the states into that of the logits.
    """
    logits, guided = (x.detach() @ head.T.detach() + bias.detach() for x in (student, teacher))
    rows = Rows(logits.requires_grad_(), guided, MASK, WEIGHTS, 2)
    whole = Head(torch.eye(V, dtype=F64), None, options.pop("scale", 1.0), options.pop("softcap", None))
    fused_linear_distillation_loss(rows, whole, Divergence(**options)).loss.backward()
    assert logits.grad is not None
    return logits.grad[MASK]


@pytest.mark.parametrize("tolerance", [0.003, 0.05])
@pytest.mark.parametrize("options", OPTIONS)
def test_what_is_left_out_is_what_the_kernel_says(options: dict[str, Any], tolerance: float) -> None:
    values = inputs()
    student, _, head, _ = (x.detach() for x in values)
    exact, (_, _, d_bias) = run(*values, 0.0, **options)
    found, gradients = run(*values, tolerance, **options)
    d = logit_gradient(*values, **options)
    d_hidden, d_head = torch.zeros(N, T, H, dtype=F64), torch.zeros(V, H, dtype=F64)
    states, dropped_somewhere = student[MASK], 0
    hidden_parts = []
    for start in range(0, len(d), 4):
        chunk = d[start : start + 4]
        score = chunk.abs().sum(0).tolist()
        held, dropped = 0.0, set()
        for v in sorted(range(V), key=score.__getitem__):
            held += score[v]
            if held > tolerance * sum(score):
                break
            dropped.add(v)
        dropped_somewhere += len(dropped)
        kept = [v for v in range(V) if v not in dropped]
        d_head[kept] += chunk[:, kept].T @ states[start : start + 4]
        seen = torch.tensor([v in dropped for v in range(V)])
        rows = torch.where(seen[:, None], head.mean(0), head)
        hidden_parts.append(chunk @ rows)
    d_hidden[MASK] = torch.cat(hidden_parts)
    assert dropped_somewhere > 0.5 * V * len(hidden_parts)
    for actual, expected in zip(gradients, (d_hidden, d_head, d_bias), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-14)
    assert torch.equal(found.loss, exact.loss)
    assert torch.equal(found.token_kl, exact.token_kl)


@pytest.mark.parametrize("dtype", [F64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tolerance", [0.01, 0.2])
@pytest.mark.parametrize("options", OPTIONS)
def test_error_is_within_the_stated_bound(options: dict[str, Any], tolerance: float, dtype: torch.dtype) -> None:
    values = inputs(dtype)
    wide = tuple(x.detach().to(F64).requires_grad_(x.requires_grad) for x in values)
    student, _, head, _ = (x.detach() for x in wide)
    _, (exact_hidden, exact_head, _) = run(*wide, 0.0, **options)
    _, (d_hidden, d_head, _) = run(*values, tolerance, **options)
    share = tolerance * logit_gradient(*wide, **options).abs().sum()
    rounding = 4 * torch.finfo(dtype).eps
    for actual, exact, factor in (
        (d_hidden, exact_hidden, (head - head.mean(0)).norm(dim=1).max()),
        (d_head, exact_head, student.norm(dim=-1).max()),
    ):
        error = (actual.to(F64) - exact).flatten(0, -2).norm(dim=-1).sum()
        slack = rounding * exact.flatten(0, -2).norm(dim=-1).sum()
        assert error <= share * factor + slack
        assert dtype == torch.bfloat16 or error > slack  # something was left out


def test_without_the_common_part_the_error_would_be_larger() -> None:
    values = inputs()
    _, (exact, _, _) = run(*values, 0.0)
    _, (d_hidden, _, _) = run(*values, 0.05)
    d, head = logit_gradient(*values), values[2].detach()
    bare = exact[MASK].clone()
    for start in range(0, len(d), 4):
        score = d[start : start + 4].abs().sum(0)
        order = score.argsort()
        left_out = order[score[order].cumsum(0) <= 0.05 * score.sum()]
        bare[start : start + 4] -= d[start : start + 4, left_out] @ head[left_out]
    assert (d_hidden - exact).norm() < 0.7 * (bare - exact[MASK]).norm()


@pytest.mark.parametrize("dtype", [F64, torch.bfloat16])
def test_rows_that_are_gathered_a_few_at_a_time(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole = run(*inputs(dtype), 0.05)
    monkeypatch.setattr(_fused_products, "_GATHERED_BYTES", {"cpu": 7 * H * 8, "other": 0})
    _, found = run(*inputs(dtype), 0.05)
    tolerance = 1e-9 if dtype == F64 else 2e-2
    for few, all_at_once in zip(found, whole, strict=True):
        torch.testing.assert_close(few, all_at_once, rtol=tolerance, atol=tolerance * all_at_once.abs().max().item())


def test_a_vocabulary_that_is_in_use_stays_exact() -> None:
    student, teacher, head, bias = inputs()
    used = bias.detach().zero_().requires_grad_()
    head = (0.1 * head.detach()).requires_grad_()
    _, exact = run(student, teacher, head, used, 0.0)
    _, found = run(student, teacher, head, used, 0.01)
    assert all(torch.equal(a, b) for a, b in zip(found, exact, strict=True))


@pytest.mark.parametrize("side", [0, 1])
def test_nan_surfaces(side: int) -> None:
    values = inputs()
    values[side].data[0, 1, 0] = math.nan
    found, gradients = run(*values, 0.01, chunk_size=100)
    assert found.loss.isnan()
    assert gradients[0][0, 1].isnan().all()


def test_a_frozen_head_and_a_second_backward() -> None:
    student, teacher, head, bias = inputs()
    _, (expected, _, _) = run(student, teacher, head, bias, 0.05)
    rows = Rows(student, teacher, MASK, WEIGHTS, 2)
    frozen = Head(head.detach(), bias.detach())
    loss = fused_linear_distillation_loss(rows, frozen, kernel=Kernel(4, 0.05)).loss
    for _ in range(2):
        (alone,) = torch.autograd.grad(loss, (student,), retain_graph=True)
        torch.testing.assert_close(alone, expected, rtol=1e-12, atol=1e-15)
