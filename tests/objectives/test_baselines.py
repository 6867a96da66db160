"""The terms of LUFFY and HPT against an oracle in plain Python, with gradients, by hand and by properties."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from sgpo.objectives.baselines import (
    ADVANTAGE_BASELINES,
    hpt_gate,
    luffy_advantages,
    off_policy_token_loss,
    sft_loss,
    shaped_probability,
)

logps = st.lists(st.lists(st.floats(-30, -1e-6), min_size=3, max_size=3), min_size=1, max_size=4)
rewards = st.lists(st.lists(st.sampled_from([0.0, 1.0, 0.3, math.nan]), min_size=5, max_size=5), min_size=1, max_size=4)
signed = st.floats(-2, 2)


@given(rows=logps, gamma=st.floats(0.01, 5), advantages=st.lists(signed, min_size=4, max_size=4))
def test_off_policy_loss_and_gradient_match_the_oracle(
    rows: list[list[float]], gamma: float, advantages: list[float]
) -> None:
    x = tensor(rows, dtype=torch.float64, requires_grad=True)
    a = tensor(advantages[: len(rows)], dtype=torch.float64)
    loss = off_policy_token_loss(x, a, gamma)
    loss.sum().backward()
    assert x.grad is not None
    for n, row in enumerate(rows):
        for t, logp in enumerate(row):
            p = math.exp(logp)
            assert loss[n, t].item() == pytest.approx(-advantages[n] * p / (p + gamma), rel=1e-10, abs=1e-300)
            slope = -advantages[n] * gamma * p / (p + gamma) ** 2  # d f(p) / d log p, by hand
            assert x.grad[n, t].item() == pytest.approx(slope, rel=1e-8, abs=1e-15)


def test_off_policy_gradcheck() -> None:
    x = tensor([[-0.1, -2.0, -9.0], [-1.0, -0.01, -4.0]], dtype=torch.float64, requires_grad=True)
    a = tensor([0.7, -0.4], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: off_policy_token_loss(x, a, 0.1), (x,))


def test_shaped_probability_by_hand() -> None:
    f = shaped_probability(tensor([1.0, 0.1, 0.4], dtype=torch.float64).log())
    torch.testing.assert_close(f, tensor([1 / 1.1, 0.5, 0.8], dtype=torch.float64))


def test_shaping_favours_unlikely_tokens_and_peaks_at_gamma() -> None:
    """The gradient with respect to log p, compared with p itself (no shaping), falls as p grows."""
    p = torch.linspace(0.001, 1, 1000, dtype=torch.float64)
    x = p.log().requires_grad_()
    shaped_probability(x).sum().backward()
    assert x.grad is not None
    assert float(p[x.grad.argmax()]) == pytest.approx(0.1, abs=2e-3)
    assert bool(((x.grad / p).diff() < 0).all())


def test_shaped_probability_survives_underflow() -> None:
    x = tensor([-200.0, -math.inf, 0.0], requires_grad=True)  # exp(-200) is 0 in float32
    shaped_probability(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, -1.0, math.nan, math.inf])
def test_bad_gamma_is_refused(gamma: float) -> None:
    with pytest.raises(ValueError, match=r"LUFFY's is 0\.1"):
        shaped_probability(tensor([-1.0]), gamma)


@pytest.mark.parametrize("baseline", ADVANTAGE_BASELINES)
@given(groups=rewards)
def test_advantages_match_the_oracle(baseline: str, groups: list[list[float]]) -> None:
    off = torch.zeros(len(groups), 5, dtype=torch.bool)
    off[:, -1] = True
    found = luffy_advantages(tensor(groups, dtype=torch.float64), off, baseline)
    for b, group in enumerate(groups):
        among = group if baseline == "group" else group[:-1]
        among = [r for r in among if not math.isnan(r)]
        for g, r in enumerate(group):
            expected = 0.0 if math.isnan(r) or not among else r - sum(among) / len(among)
            assert found[b, g].item() == pytest.approx(expected, abs=1e-12)


def test_advantages_by_hand() -> None:
    """Seven wrong rollouts and a correct expert: the mean of the group, or of the seven, is taken away."""
    r, off = tensor([[0.0] * 7 + [1.0]]), tensor([[False] * 7 + [True]])
    assert luffy_advantages(r, off).tolist() == [[-0.125] * 7 + [0.875]]
    assert luffy_advantages(r, off, "on_policy").tolist() == [[0.0] * 7 + [1.0]]


@given(groups=st.lists(st.lists(st.floats(-5, 5), min_size=4, max_size=4), min_size=1, max_size=3))
def test_advantages_ignore_a_shift_of_the_rewards(groups: list[list[float]]) -> None:
    r = tensor(groups, dtype=torch.float64)
    off = torch.zeros_like(r, dtype=torch.bool)
    off[:, 0] = True
    for baseline in ADVANTAGE_BASELINES:
        torch.testing.assert_close(luffy_advantages(r + 3.0, off, baseline), luffy_advantages(r, off, baseline))
    assert luffy_advantages(r, off).sum(1).abs().max() < 1e-12


def test_bad_advantages_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'sample'.*'group', 'on_policy'"):
        luffy_advantages(torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool), "sample")
    with pytest.raises(ValueError, match=r"\(1, 2\).*\(2,\)"):
        luffy_advantages(torch.zeros(1, 2), torch.zeros(2, dtype=torch.bool))


@given(groups=st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=5), gate=st.integers(0, 4))
def test_gate_matches_the_oracle(groups: list[list[bool]], gate: int) -> None:
    expected = [sum(1 for solved in group if solved) <= gate for group in groups]
    assert hpt_gate(tensor(groups), gate).tolist() == expected


@given(rows=logps, data=st.data())
def test_sft_loss_and_gradient_match_the_oracle(rows: list[list[float]], data: st.DataObject) -> None:
    lengths = [data.draw(st.integers(1, 3)) for _ in rows]
    weights = [data.draw(st.sampled_from([0.0, 1.0, 0.3])) for _ in rows]
    x = tensor(rows, dtype=torch.float64, requires_grad=True)
    mask = tensor([[t < length for t in range(3)] for length in lengths])
    loss, sums = sft_loss(x, mask, tensor(weights, dtype=torch.float64), normalizer=4)
    loss.backward()
    expected = sum(w * sum(-v for v in row[:n]) / n for row, n, w in zip(rows, lengths, weights, strict=True)) / 4
    assert loss.item() == pytest.approx(expected, rel=1e-10, abs=1e-300)
    counted = [(row[:n], n) for row, n, w in zip(rows, lengths, weights, strict=True) if w]
    assert sums["tokens"].item() == sum(n for _, n in counted)
    assert sums["nll"].item() == pytest.approx(-sum(sum(r) for r, _ in counted), rel=1e-10)
    assert x.grad is not None
    for n in range(len(rows)):
        for t in range(3):
            slope = -weights[n] / lengths[n] / 4 if t < lengths[n] else 0.0
            assert x.grad[n, t].item() == pytest.approx(slope, rel=1e-12)


def test_sft_gradcheck_and_rows_of_weight_0() -> None:
    x = tensor([[-0.1, -2.0], [-1.0, math.nan]], dtype=torch.float64, requires_grad=True)
    mask, weights = tensor([[True, True], [True, True]]), tensor([0.5, 0.0], dtype=torch.float64)
    loss, _ = sft_loss(x, mask, weights, normalizer=2)
    loss.backward()
    assert loss.item() == pytest.approx(0.5 * 1.05 / 2)
    assert x.grad is not None
    assert x.grad.tolist() == [[-0.125, -0.125], [0.0, 0.0]]
    clean = x.detach().nan_to_num(-3.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: sft_loss(x, mask, weights, normalizer=2)[0], (clean,))
