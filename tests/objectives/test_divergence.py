"""token_kl and its clip against the oracle, by hand, by gradcheck, and by properties."""

import math
from typing import Any

import objectives_oracle as oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, tensor

from sgpo.objectives import CLIP_FORMS, DIRECTIONS, clip_token_kl, token_kl

F64 = torch.float64
finite = st.floats(-20, 20, allow_subnormal=False, width=32)
pairs = st.integers(2, 6).flatmap(lambda v: st.tuples(*[st.lists(finite, min_size=v, max_size=v)] * 2))


def close(actual: Tensor, expected: Any, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=actual.dtype), rtol=tolerance, atol=tolerance)


def logits(*shape: int, seed: int = 0, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_value_and_gradient_match_the_oracle(direction: str, temperature: float) -> None:
    student, teacher = logits(2, 3, 7).requires_grad_(), logits(2, 3, 7, seed=1).requires_grad_()
    kl = token_kl(student, teacher, direction=direction, temperature=temperature)
    kl.sum().backward()
    for n in range(2):
        for t in range(3):
            value, gradient = oracle.kl_and_gradient(
                student[n, t].tolist(), teacher[n, t].tolist(), direction, temperature
            )
            close(kl[n, t], value)
            close(student.grad[n, t], gradient)
    assert teacher.grad is None  # sg[.]: the guided side learns nothing


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_gradcheck(direction: str) -> None:
    student, teacher = logits(3, 5).requires_grad_(), logits(3, 5, seed=1)
    assert torch.autograd.gradcheck(
        lambda z: clip_token_kl(token_kl(z, teacher, direction=direction, temperature=0.7), 0.9, "hard"), (student,)
    )


def test_worked_by_hand() -> None:
    # student (1/4, 3/4), teacher (1/2, 1/2)
    student = torch.log(tensor([0.25, 0.75], dtype=F64)).requires_grad_()
    teacher = torch.log(tensor([0.5, 0.5], dtype=F64))
    forward = token_kl(student, teacher)
    close(forward, 0.5 * math.log(4 / 3))  # 1/2 ln 2 + 1/2 ln 2/3
    close(torch.autograd.grad(forward, student)[0], [-0.25, 0.25])
    reverse = token_kl(student, teacher, direction="reverse")
    close(reverse, 0.75 * math.log(3) - math.log(2))  # 1/4 ln 1/2 + 3/4 ln 3/2
    # s_0 (ln 1/2 - KL) = -3/16 ln 3
    close(torch.autograd.grad(reverse, student)[0], [-3 / 16 * math.log(3), 3 / 16 * math.log(3)])


def test_temperature_divides_the_logits() -> None:
    # At temperature 1/2, logits (0, ln 3) become (0, ln 9): (1/10, 9/10); against (1/2, 1/2).
    student, teacher = tensor([0.0, math.log(3)], dtype=F64), torch.zeros(2, dtype=F64)
    close(token_kl(student, teacher, temperature=0.5), 0.5 * math.log(5) + 0.5 * math.log(5 / 9))


@pytest.mark.parametrize("direction", DIRECTIONS)
@given(pair=pairs, shift=finite)
def test_properties(direction: str, pair: tuple[list[float], list[float]], shift: float) -> None:
    student, teacher = (tensor(z, dtype=F64) for z in pair)
    kl = token_kl(student, teacher, direction=direction)
    assert kl >= -1e-14  # rounding of log_softmax
    assert token_kl(student, student, direction=direction) == 0
    close(token_kl(student + shift, teacher - 2 * shift, direction=direction), kl, 1e-10)
    close(token_kl(student.flip(0), teacher.flip(0), direction=direction), kl, 1e-10)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_half_precision_is_summed_in_float32(direction: str) -> None:
    student, teacher = logits(4, 500).bfloat16(), logits(4, 500, seed=1).bfloat16()
    kl = token_kl(student, teacher, direction=direction)
    assert kl.dtype == torch.float32
    assert torch.equal(kl, token_kl(student.float(), teacher.float(), direction=direction))
    close(kl, token_kl(student.double(), teacher.double(), direction=direction), 1e-5)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_vocabulary_entries_masked_on_both_sides_count_nothing(direction: str) -> None:
    student, teacher = logits(3, 5), logits(3, 5, seed=1)
    without = token_kl(student[:, :4], teacher[:, :4], direction=direction)
    student[:, 4], teacher[:, 4] = -math.inf, -math.inf
    student.requires_grad_()
    masked = token_kl(student, teacher, direction=direction)
    close(masked, without)
    masked.sum().backward()
    assert student.grad is not None
    assert torch.all(student.grad[:, 4] == 0)
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("side", [0, 1])
def test_nan_surfaces(direction: str, side: int) -> None:
    both = [logits(2, 5), logits(2, 5, seed=1)]
    both[side][0, 3] = math.nan
    assert token_kl(*both, direction=direction).isnan().tolist() == [True, False]


def test_clip_worked_by_hand() -> None:
    for form, gradient in (("rescale", [1.0, 1.0, 0.25]), ("hard", [1.0, 1.0, 0.0])):
        kl = tensor([0.5, 1.0, 4.0], requires_grad=True)
        clipped = clip_token_kl(kl, 1.0, form)
        clipped.sum().backward()
        assert clipped.tolist() == [0.5, 1.0, 1.0]
        assert kl.grad is not None
        assert kl.grad.tolist() == gradient


def test_clip_caps_the_sum_over_the_vocabulary_not_its_entries() -> None:
    # Entries t_v ln(t_v / s_v): 0.9 ln 900 = 6.12 and 0.1 ln(0.1 / 0.999) = -0.23. Capped at 0.1 one by one they
    # would sum to -0.13, and the loss would reward moving away (siyan-zhao/OPSD#24).
    student, teacher = torch.log(tensor([0.001, 0.999])), torch.log(tensor([0.9, 0.1]))
    assert clip_token_kl(token_kl(student, teacher), 0.1) == pytest.approx(0.1)


@pytest.mark.parametrize("form", CLIP_FORMS)
def test_clip_leaves_rounding_below_zero_alone(form: str) -> None:
    kl = tensor([-1e-9, 0.0], requires_grad=True)
    clipped = clip_token_kl(kl, 0.5, form)
    clipped.sum().backward()
    assert torch.equal(clipped, kl)
    assert kl.grad is not None
    assert kl.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("form", CLIP_FORMS)
@given(values=st.lists(st.floats(0, 50, width=32), min_size=1, max_size=8), threshold=st.floats(0.01, 10))
def test_clip_properties(form: str, values: list[float], threshold: float) -> None:
    kl = tensor(values, dtype=F64, requires_grad=True)
    clipped = clip_token_kl(kl, threshold, form)
    upstream = torch.arange(1.0, len(values) + 1, dtype=F64)
    (clipped * upstream).sum().backward()
    assert kl.grad is not None
    for i, value in enumerate(values):
        expected, scale = oracle.clip(value, threshold, form)
        assert clipped[i] == expected
        close(kl.grad[i], upstream[i] * scale)


def test_no_clip_and_nan() -> None:
    kl = tensor([0.5, 80.0])
    assert torch.equal(clip_token_kl(kl, None), kl)
    for form in CLIP_FORMS:
        assert clip_token_kl(tensor([math.nan, 3.0]), 1.0, form).isnan().tolist() == [True, False]


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: token_kl(torch.zeros(2, 3), torch.zeros(2, 4)), ["(2, 3)", "(2, 4)"]),
        (lambda: token_kl(torch.zeros(3), torch.zeros(3), direction="jsd"), ["'jsd'", "'forward', 'reverse'"]),
        (lambda: token_kl(torch.zeros(3), torch.zeros(3), temperature=0.0), ["temperature is 0.0"]),
        (lambda: token_kl(torch.zeros(3), torch.zeros(3), temperature=-1.0), ["temperature is -1.0"]),
        (lambda: clip_token_kl(torch.zeros(3), 0.0), ["threshold is 0.0", "None for no clip"]),
        (lambda: clip_token_kl(torch.zeros(3), math.nan), ["threshold is nan"]),
        (lambda: clip_token_kl(torch.zeros(3), 1.0, "soft"), ["'soft'", "'rescale', 'hard'"]),
        (lambda: clip_token_kl(torch.zeros(3), None, "soft"), ["'soft'"]),
    ],
)
def test_errors_name_the_value_and_the_remedy(call: Any, names: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        call()
    assert all(name in str(error.value) for name in names)
