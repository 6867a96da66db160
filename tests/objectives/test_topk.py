"""The top-k KL against a plain-Python oracle, against the KL over the vocabulary, and in the cases it must refuse."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, tensor

from sgpo.objectives import DIRECTIONS, distillation_loss, fused_linear_top_k_kl, token_kl, top_k_kl

F64 = torch.float64
N, T, H, V, K = 2, 3, 4, 9, 3
MASK = tensor([[1, 0, 1], [1, 1, 1]]).bool()
finite = st.floats(-12, 12, allow_subnormal=False, width=32)
pairs = st.integers(2, 8).flatmap(lambda v: st.tuples(*[st.lists(finite, min_size=v, max_size=v)] * 2))
each_direction = pytest.mark.parametrize("direction", DIRECTIONS)


def oracle(
    student: list[float], ids: list[int], logprobs: list[float], direction: str, temperature: float
) -> tuple[float, list[float]]:
    """KL over K + 1 outcomes of one token, and its gradient with respect to the student's logits, by hand.

    With s_b the student's mass of the bucket b of entry v: forward dKL/dz_v = s_v (1 - p_b / s_b), reverse
    s_v (log s_b - log p_b - KL); each divided by the temperature.
    """
    exps = [math.exp(z / temperature) for z in student]
    s = [e / sum(exps) for e in exps]
    buckets = [[v] for v in ids] + [[v for v in range(len(s)) if v not in ids]]
    p = [math.exp(x) for x in logprobs]
    p.append(1 - sum(p))
    kl, slopes = 0.0, [0.0] * len(s)
    masses = [sum(s[v] for v in bucket) for bucket in buckets]
    for p_b, s_b in zip(p, masses, strict=True):
        if s_b > 0:
            kl += p_b * math.log(p_b / s_b) if direction == "forward" else s_b * math.log(s_b / p_b)
    for bucket, p_b, s_b in zip(buckets, p, masses, strict=True):
        for v in bucket:
            slope = 1 - p_b / s_b if direction == "forward" else math.log(s_b / p_b) - kl
            slopes[v] = s[v] * slope / temperature
    return kl, slopes


def inputs(k: int = K, vocabulary: int = V, dtype: torch.dtype = F64) -> tuple[Tensor, ...]:
    """Student hidden states [N, T, H], head [V, H], teacher ids and log-probabilities [N, T, K], teacher logits."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(N, T, H, dtype=F64, generator=generator).to(dtype)
    head = torch.randn(vocabulary, H, dtype=F64, generator=generator).to(dtype)
    teacher = 2 * torch.randn(N, T, vocabulary, dtype=F64, generator=generator)
    logprobs, ids = teacher.log_softmax(-1).topk(k)
    return hidden.requires_grad_(), head.requires_grad_(), ids, logprobs, teacher


def close(actual: Any, expected: Any, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=actual.dtype), rtol=tolerance, atol=tolerance)


@each_direction
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_value_and_gradient_match_the_oracle(direction: str, temperature: float) -> None:
    hidden, head, ids, logprobs, _ = inputs()
    logits = (hidden @ head.T).detach().requires_grad_()
    logprobs.requires_grad_()
    kl = top_k_kl(logits, ids, logprobs, mask=MASK, direction=direction, temperature=temperature)
    kl.sum().backward()
    assert logits.grad is not None
    assert logprobs.grad is None  # sg[.]: the guided side learns nothing
    for n in range(N):
        for t in range(T):
            value, slopes = oracle(
                logits[n, t].tolist(), ids[n, t].tolist(), logprobs[n, t].tolist(), direction, temperature
            )
            close(kl[n, t], value if MASK[n, t] else 0.0)
            close(logits.grad[n, t], slopes if MASK[n, t] else [0.0] * V)


def test_worked_by_hand() -> None:
    # Student (1/2, 1/4, 1/4), the teacher gives entry 1 with 1/2: outcomes (1/4, 3/4) against (1/2, 1/2).
    logits = torch.log(tensor([0.5, 0.25, 0.25], dtype=F64)).requires_grad_()
    kl = top_k_kl(logits, tensor([1]), torch.log(tensor([0.5], dtype=F64)))
    close(kl, 0.5 * math.log(4 / 3))
    kl.backward()
    assert logits.grad is not None
    close(logits.grad, [0.5 / 3, -0.25, 0.25 / 3])  # s_v (1 - p_b / s_b): the tail's two keep their ratio


@each_direction
@pytest.mark.parametrize("k", [K, V])
def test_gradcheck(direction: str, k: int) -> None:
    hidden, head, ids, logprobs, _ = inputs(k)
    logits = (hidden @ head.T).detach().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: top_k_kl(z, ids, logprobs, mask=MASK, direction=direction, temperature=0.7), (logits,)
    )


@each_direction
@given(pair=pairs, shift=finite)
def test_a_lower_bound_that_grows_with_k(direction: str, pair: tuple[list[float], list[float]], shift: float) -> None:
    student, teacher = (tensor(z, dtype=F64) for z in pair)
    full = token_kl(student, teacher, direction=direction).item()
    logprobs, ids = teacher.log_softmax(-1).sort(descending=True)
    kept = [
        top_k_kl(student + shift, ids[:k], logprobs[:k], direction=direction).item() for k in range(1, len(ids) + 1)
    ]
    assert kept[-1] == pytest.approx(full, abs=1e-9)  # exact at K = V
    slack = 1e-9 + 1e-9 * full
    assert kept[0] >= -slack
    # Reverse reads log(tail): what rounding does to a tail of 1e-10 shows in the fifth digit.
    slack += 1e-4 * (direction == "reverse")
    assert all(less <= more + slack for less, more in pairwise(kept))


@each_direction
def test_exact_where_the_tails_are_proportional(direction: str) -> None:
    tail = torch.rand(6, dtype=F64)
    tail = tail / tail.sum()
    student = torch.cat([tensor([0.1, 0.3]), 0.6 * tail]).log()
    teacher = torch.cat([tensor([0.5, 0.3]), 0.2 * tail]).log()
    kl = top_k_kl(student, tensor([0, 1]), teacher[:2], direction=direction)
    close(kl, token_kl(student, teacher, direction=direction), 1e-7)
    other = torch.cat([student[:2], student[2:].flip(0)])
    assert kl < token_kl(other, teacher, direction=direction) - 1e-3


@each_direction
@pytest.mark.parametrize("mass", [1.0, 1.004])
def test_an_empty_or_negative_tail_is_safe(direction: str, mass: float) -> None:
    # Rounding: three entries that hold everything, or a little more; the student keeps a tail of 1e-20 or of half.
    logprobs = torch.log(mass * tensor([0.5, 0.25, 0.25]))
    for rest in (-46.0, 1.0):
        student = tensor([1.0, 0.0, 0.0, rest, rest], requires_grad=True)
        kl = top_k_kl(student, tensor([0, 1, 2]), logprobs, direction=direction)
        kl.backward()
        assert kl.isfinite()
        assert kl >= 0
        assert student.grad is not None
        assert student.grad.isfinite().all()
    if direction == "forward":  # the mass is divided by, so that 1.004 is read as 1
        close(kl, top_k_kl(student, tensor([0, 1, 2]), torch.log(tensor([0.5, 0.25, 0.25]))), 1e-5)


def test_a_tail_that_rounding_would_lose_keeps_its_gradient() -> None:
    # The student's tail is e^-40: 1 - sum_k s_k is 0 in float32, and its logarithm infinite.
    student = tensor([0.0, -40.0], requires_grad=True)
    kl = top_k_kl(student, tensor([0]), torch.log(tensor([0.5])))
    close(kl, 20 - math.log(2), 1e-6)
    kl.backward()
    assert student.grad is not None
    close(student.grad, [0.5, -0.5], 1e-6)


@pytest.mark.parametrize("options", [{}, {"softcap": 2.0, "logit_scale": 1.3, "temperature": 0.7}])
@pytest.mark.parametrize("chunk_size", [1, 2, None])
@each_direction
def test_fused_equals_unfused(direction: str, chunk_size: int | None, options: dict[str, Any]) -> None:
    hidden, head, ids, logprobs, _ = inputs()
    bias = torch.linspace(-1, 1, V, dtype=F64).requires_grad_()
    weights = tensor([0.8, 0.3], dtype=F64)

    def loss(kl: Tensor) -> Tensor:
        return distillation_loss(kl, MASK, weights, normalizer=2, clip=0.7)[0]

    fused = loss(
        fused_linear_top_k_kl(
            hidden, head, ids, logprobs, MASK, bias=bias, direction=direction, chunk_size=chunk_size, **options
        )
    )
    logits = options.get("logit_scale", 1.0) * (hidden @ head.T + bias)
    if "softcap" in options:
        logits = options["softcap"] * torch.tanh(logits / options["softcap"])
    temperature = options.get("temperature", 1.0)
    unfused = loss(top_k_kl(logits, ids, logprobs, mask=MASK, direction=direction, temperature=temperature))
    close(fused, unfused)
    sources = (hidden, head, bias)
    for a, b in zip(torch.autograd.grad(fused, sources), torch.autograd.grad(unfused, sources), strict=True):
        close(a, b)


def test_fused_never_holds_more_than_a_chunk_of_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    from sgpo.objectives import topk

    rows: list[int] = []
    original = topk._bucket_kl

    def spy(logits: Tensor, *rest: Any) -> Tensor:
        rows.append(len(logits))
        return original(logits, *rest)

    monkeypatch.setattr(topk, "_bucket_kl", spy)
    hidden, head, ids, logprobs, _ = inputs()
    fused_linear_top_k_kl(hidden, head, ids, logprobs, MASK, chunk_size=2).sum().backward()
    assert sorted(rows) == [1, 1, 2, 2, 2, 2]  # 5 counted tokens in three chunks, each of them twice


def test_fused_sums_in_float32_and_needs_no_token() -> None:
    hidden, head, ids, logprobs, _ = inputs(dtype=torch.bfloat16)
    kl = fused_linear_top_k_kl(hidden, head, ids, logprobs.float(), MASK)
    assert kl.dtype == torch.float32
    close(kl, top_k_kl(hidden.float() @ head.float().T, ids, logprobs.float(), mask=MASK), 1e-6)
    none = fused_linear_top_k_kl(hidden, head, ids, logprobs, torch.zeros_like(MASK))
    none.sum().backward()
    assert not none.any()
    assert head.grad is not None
    assert not head.grad.any()


def test_what_is_masked_is_not_looked_at() -> None:
    hidden, head, ids, logprobs, _ = inputs()
    expected = top_k_kl(hidden @ head.T, ids, logprobs, mask=MASK)
    ids[0, 1], logprobs[0, 1] = -1, math.nan
    assert torch.equal(top_k_kl(hidden @ head.T, ids, logprobs, mask=MASK), expected)
    assert torch.equal(fused_linear_top_k_kl(hidden, head, ids, logprobs, MASK), expected)


def test_nan_of_the_student_surfaces() -> None:
    hidden, head, ids, logprobs, _ = inputs()
    with torch.no_grad():
        hidden[0, 2, 0] = math.nan
    kl = fused_linear_top_k_kl(hidden, head, ids, logprobs, MASK)
    assert kl.isnan().tolist() == [[False, False, True], [False] * 3]


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("id beyond", {"ids": tensor([[[0, 1, V]] * T] * N)}, f"token id {V}, but .* 0 to {V - 1}"),
    ("negative id", {"ids": tensor([[[0, 1, -1]] * T] * N)}, "token id -1"),
    ("id twice", {"ids": tensor([[[4, 1, 4]] * T] * N)}, "token id 4 twice"),
    ("float ids", {"ids": torch.zeros(N, T, K)}, "ids integers"),
    ("K beyond V", {"ids": torch.zeros(N, T, V + 1).long(), "logprobs": torch.zeros(N, T, V + 1)}, f"K = {V + 1}"),
    ("no entries", {"ids": torch.zeros(N, T, 0).long(), "logprobs": torch.zeros(N, T, 0)}, "K = 0"),
    ("shapes of entries", {"logprobs": torch.full((N, T, K + 1), -3.0)}, r"\(2, 3, 4\)"),
    ("other tokens", {"ids": torch.zeros(N, 1, K).long(), "logprobs": torch.zeros(N, 1, K)}, "cut all"),
    ("mask's shape", {"mask": MASK[:1]}, r"mask \(1, 3\)"),
    ("mask's dtype", {"mask": MASK.long()}, "mask must be bool"),
    ("logits", {"logprobs": torch.full((N, T, K), 5.0)}, "is 5.0, but it must be at most 0"),
    ("NaN", {"logprobs": torch.full((N, T, K), math.nan)}, "is nan"),
    ("mass", {"logprobs": torch.full((N, T, K), -0.7)}, "mass 1.48"),
    ("direction", {"direction": "sideways"}, "'sideways'"),
    ("temperature", {"temperature": 0.0}, "temperature is 0.0"),
]


@pytest.mark.parametrize(("_", "change", "says"), BAD, ids=[name for name, *_ in BAD])
@pytest.mark.parametrize("fused", [False, True])
def test_bad_input_is_refused(fused: bool, _: str, change: dict[str, Any], says: str) -> None:
    hidden, head, ids, logprobs, _teacher = inputs()
    options = {"mask": MASK, **change}
    ids, logprobs = options.pop("ids", ids), options.pop("logprobs", logprobs)
    student = (hidden, head) if fused else (hidden @ head.T,)
    function: Any = fused_linear_top_k_kl if fused else top_k_kl
    with pytest.raises(ValueError, match=says):
        function(*student, ids, logprobs, **options)


def test_a_head_that_does_not_fit_is_refused() -> None:
    hidden, head, ids, logprobs, _ = inputs()
    with pytest.raises(ValueError, match="transpose"):
        fused_linear_top_k_kl(hidden, head.T, ids, logprobs, MASK)
    with pytest.raises(ValueError, match="chunk_size is 0"):
        fused_linear_top_k_kl(hidden, head, ids, logprobs, MASK, chunk_size=0)
