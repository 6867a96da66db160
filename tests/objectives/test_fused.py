"""The fused loss against the oracle, against the unfused path, and in the cases a kernel gets wrong."""

import math
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import objectives_oracle as oracle
import pytest
import torch
from torch import Tensor, tensor

import sgpo.objectives
from sgpo.objectives import (
    Divergence,
    Head,
    Kernel,
    Rows,
    distillation_loss,
    fused_linear_distillation_loss,
    token_kl,
)
from sgpo.objectives import _fused_chunks as chunks
from sgpo.objectives import _fused_products as products

F64 = torch.float64
N, T, H, V = 4, 5, 3, 7
MASK = tensor([[1, 1, 0, 1, 0], [0] * 5, [1] * 5, [0, 1, 1, 1, 1]]).bool()
WEIGHTS = tensor([0.8, 0.5, 0.0, 0.3], dtype=F64)
COUNTED = MASK & (WEIGHTS != 0)[:, None]
# Every option away from its default at least once; the threshold lies between the KLs of the tokens.
OPTIONS: list[dict[str, Any]] = [
    {},
    {"clip": None, "direction": "reverse"},
    {"clip": 0.3, "clip_form": "hard"},
    {"clip": 0.3, "direction": "reverse", "temperature": 0.7, "logit_scale": 1.4},
    {"clip": 0.3, "softcap": 2.0, "temperature": 0.7, "logit_scale": 1.4},
    {"clip": 0.1, "clip_form": "hard", "softcap": 2.0, "direction": "reverse", "logit_scale": 0.6},
    {"clip": 0.3, "teacher_temperature": 0.6, "teacher_mix": 0.4, "temperature": 0.7, "logit_scale": 1.4},
    {"clip": None, "teacher_temperature": 1.7, "teacher_mix": 0.2, "softcap": 2.0, "direction": "reverse"},
]


def inputs(vocabulary: int = V, dtype: torch.dtype = F64, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Student and teacher hidden states [N, T, H], head [V, H], bias [V]."""
    generator = torch.Generator().manual_seed(seed)
    student, noise = (torch.randn(N, T, H, dtype=F64, generator=generator) for _ in range(2))
    head = torch.randn(vocabulary, H, dtype=F64, generator=generator)
    bias = torch.randn(vocabulary, dtype=F64, generator=generator)
    student, teacher, head, bias = (x.to(dtype) for x in (student, student + 1.3 * noise, head, bias))
    return student.requires_grad_(), teacher, head.requires_grad_(), bias.requires_grad_()


def fused(
    student: Tensor, teacher: Tensor, head: Tensor, bias: Tensor | None, **options: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    """The fused loss and its metrics, from options by the names that the unfused path gives them."""

    def given(*names: str) -> dict[str, Any]:
        return {name: options.pop(name) for name in names if name in options}

    weights = options.pop("row_weights", WEIGHTS.to(student.device))
    rows = Rows(
        student, teacher, options.pop("mask", MASK), weights, options.pop("normalizer", 3), **given("teacher_weight")
    )
    whole = Head(head, bias, options.pop("logit_scale", 1.0), options.pop("softcap", None))
    divergence = Divergence(
        **given("direction", "temperature", "clip", "clip_form", "teacher_temperature", "teacher_mix")
    )
    kernel = Kernel(**given("chunk_size", "tolerance"))
    assert not options
    loss, sums, kl = fused_linear_distillation_loss(rows, whole, divergence, kernel)
    return loss, {**sums, "token_kl": kl}


def unfused(
    student: Tensor,
    teacher: Tensor,
    head: Tensor,
    bias: Tensor,
    *,
    logit_scale: float = 1.0,
    softcap: float | None = None,
    direction: str = "forward",
    temperature: float = 1.0,
    teacher_temperature: float = 1.0,
    teacher_mix: float = 0.0,
    **options: Any,
) -> tuple[Tensor, dict[str, Tensor]]:
    def logits(hidden: Tensor) -> Tensor:
        z = logit_scale * (hidden @ head.T + bias)
        return z if softcap is None else softcap * torch.tanh(z / softcap)

    guide = torch.lerp(logits(teacher) / teacher_temperature, logits(student), teacher_mix)
    kl = token_kl(logits(student), guide, direction=direction, temperature=temperature)
    return distillation_loss(kl, MASK, WEIGHTS, **{"normalizer": 3, **options})


def gradients(loss: Tensor, sources: tuple[Tensor, ...], **options: Any) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, sources, **options)


def close(actual: Any, expected: Any, tolerance: float) -> None:
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, torch.as_tensor(e, dtype=a.dtype), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("options", OPTIONS)
def test_matches_the_oracle(options: dict[str, Any]) -> None:
    student, teacher, head, bias = inputs()
    loss, metrics = fused(student, teacher, head, bias, chunk_size=3, **options)
    grads = gradients(loss, (student, head, bias))

    o = {"logit_scale": 1.0, "softcap": None, "direction": "forward", "temperature": 1.0, "clip": 1.0, **options}
    shape = (head.tolist(), bias.tolist(), o["logit_scale"], o["softcap"])
    logits, guided = (oracle.head(hidden.tolist(), *shape) for hidden in (student, teacher))
    value, d_logits, sums = oracle.loss_and_gradient(
        logits, guided, MASK.tolist(), WEIGHTS.tolist(), 3,
        o["direction"], o["temperature"], o["clip"], o.get("clip_form", "rescale"),
        o.get("teacher_temperature", 1.0), o.get("teacher_mix", 0.0),
    )  # fmt: skip
    expected = oracle.head_gradients(d_logits, logits, student.tolist(), head.tolist(), o["logit_scale"], o["softcap"])
    assert o["clip"] is None or 0 < sums["clipped_tokens"] < sums["tokens"]
    close([loss, *grads], [value, *expected], 1e-12)
    close([metrics[name] for name in sums], sums.values(), 1e-12)
    assert not any(value.requires_grad for value in metrics.values())


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-12), (torch.float32, 2e-6)])
def test_matches_the_unfused_path(options: dict[str, Any], dtype: torch.dtype, tolerance: float) -> None:
    # float32: 9 tokens, sums over 200 entries; a few roundings of 6e-8 on numbers of size 1 or less.
    student, teacher, head, bias = inputs(200, dtype)
    sources = (student, head, bias)
    loss, metrics = fused(student, teacher, head, bias, **options)
    expected, sums = unfused(student, teacher, head, bias, **options)
    close([loss, *gradients(loss, sources)], [expected, *gradients(expected, sources)], tolerance)
    close([metrics[name] / metrics["tokens"] for name in sums], [sums[name] / sums["tokens"] for name in sums], 1e-5)


@pytest.mark.parametrize(
    "options",
    [o for o in OPTIONS if (o.get("clip_form") == "hard" or o.get("clip", 0) is None) and "teacher_mix" not in o],
)
def test_gradcheck(options: dict[str, Any]) -> None:
    student, teacher, head, _ = inputs()
    fixed = head.detach().clone()  # sg[.]: the numerical derivative must not move the teacher
    assert torch.autograd.gradcheck(
        lambda s, w: fused(s, teacher, w, None, teacher_weight=fixed, chunk_size=4, **options)[0], (student, head)
    )


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("block_bytes", [1, 1 << 13])
@pytest.mark.parametrize("chunk_size", [1, 2, 9, 1000])
def test_chunks_and_blocks_change_nothing(
    options: dict[str, Any], chunk_size: int, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    student, teacher, head, bias = inputs(150)
    whole = fused(student, teacher, head, bias, **options)
    expected = gradients(whole[0], (student, head, bias))
    for threads in ("one thread", "cpu"):
        monkeypatch.setitem(chunks._BLOCK_BYTES, threads, block_bytes)
    parts = fused(student, teacher, head, bias, chunk_size=chunk_size, **options)
    close([parts[0], *gradients(parts[0], (student, head, bias))], [whole[0], *expected], 1e-13)
    close(parts[1].values(), whole[1].values(), 1e-13)


def test_token_kl_is_unclipped_and_0_where_nothing_is_counted() -> None:
    student, teacher, head, bias = inputs()
    _, metrics = fused(student, teacher, head, bias, clip=0.3)
    expected = token_kl(student @ head.T + bias, teacher @ head.T + bias)
    close([metrics["token_kl"]], [expected * COUNTED], 1e-12)
    assert (metrics["token_kl"] > 0.3).any()


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_what_is_not_counted_may_hold_anything(poison: float) -> None:
    student, teacher, head, bias = inputs()
    loss, _ = fused(student, teacher, head, bias)
    expected = gradients(loss, (student, head, bias))
    for hidden in (student, teacher):
        hidden.data[~COUNTED] = poison
    loss, metrics = fused(student, teacher, head, bias)
    grads = gradients(loss, (student, head, bias))
    assert all(torch.equal(a, b) for a, b in zip(grads, expected, strict=True))
    assert torch.all(grads[0][~COUNTED] == 0)
    assert metrics["token_kl"].isfinite().all()


@pytest.mark.parametrize("form", ["rescale", "hard"])
@pytest.mark.parametrize("side", [0, 1])
def test_nan_at_a_counted_token_surfaces(side: int, form: str) -> None:
    both = list(inputs())
    both[side].data[0, 1, 0] = math.nan
    for direction in ("forward", "reverse"):
        loss, metrics = fused(*both, clip_form=form, direction=direction)
        assert loss.isnan()
        assert metrics["token_kl"].isnan().sum() == 1
        assert gradients(loss, (both[0],))[0][0, 1].isnan().all()


@pytest.mark.parametrize("weights", [torch.zeros(N), torch.ones(N)])
def test_nothing_left_gives_a_zero_that_is_still_on_the_graph(weights: Tensor) -> None:
    student, teacher, head, bias = inputs()
    mask = MASK if not weights.any() else torch.zeros_like(MASK)
    loss, metrics = fused(student, teacher, head, bias, mask=mask, row_weights=weights, normalizer=2)
    loss.backward()
    assert loss == 0
    for source in (student, head, bias):
        assert source.grad is not None
        assert torch.all(source.grad == 0)
    assert all(torch.all(value == 0) for value in metrics.values())


def test_frozen_head_costs_no_buffer_of_its_size() -> None:
    student, teacher, head, _ = inputs(4000)
    head.requires_grad_(False)
    made: list[int] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            if isinstance(result, Tensor) and result.shape == head.shape and result.data_ptr() != head.data_ptr():
                made.append(result.numel())
            return result

    with Watch():
        fused(student, teacher, head, None)[0].backward()
    assert made == []
    assert head.grad is None
    assert student.grad is not None
    frozen = student.grad
    student.grad = None
    head.requires_grad_()
    with Watch():
        fused(student, teacher, head, None)[0].backward()
    assert made != []  # the watch can see it
    assert torch.equal(student.grad, frozen)


def test_a_head_of_the_teachers_own() -> None:
    student, _, head, bias = inputs()
    generator = torch.Generator().manual_seed(5)
    wide = torch.randn(N, T, H + 2, dtype=F64, generator=generator).requires_grad_()
    own = torch.randn(V, H + 2, dtype=F64, generator=generator).requires_grad_()
    loss, _ = fused(student, wide, head, bias, teacher_weight=own, chunk_size=4)
    kl = token_kl(student @ head.T + bias, wide @ own.T + bias)
    expected, _ = distillation_loss(kl, MASK, WEIGHTS, normalizer=3)
    close(
        [loss, *gradients(loss, (student, head, bias))], [expected, *gradients(expected, (student, head, bias))], 1e-12
    )
    fused(student, wide, head, bias, teacher_weight=own)[0].backward()
    assert wide.grad is None
    assert own.grad is None
    same = fused(student, student, head, bias, teacher_weight=head)[0]
    assert abs(same) < 1e-15


def test_the_guided_side_learns_nothing() -> None:
    student, teacher, head, bias = inputs()
    fused(student, teacher.requires_grad_(), head, bias, teacher_weight=head)[0].backward()
    assert teacher.grad is None
    alone = fused(student.detach(), teacher, head.detach(), None)[0]
    assert not alone.requires_grad


def test_gradient_from_above_and_a_second_backward() -> None:
    student, teacher, head, bias = inputs()
    sources = (student, head, bias)
    once = gradients(fused(student, teacher, head, bias)[0], sources)
    loss, _ = fused(student, teacher, head, bias)
    for factor in (5.0, -0.5, 1.0):  # one graph, three times
        scaled = gradients(factor * loss, sources, retain_graph=True)
        close(scaled, [factor * g for g in once], 1e-14)
    for _ in range(3):
        loss.backward(retain_graph=True)
    close([s.grad for s in sources], [3 * g for g in once], 1e-14)


def test_two_uses_of_one_head_add_up() -> None:
    # As with tied embeddings, and with the policy-gradient term beside this one.
    student, teacher, head, bias = inputs()
    loss, _ = fused(student, teacher, head, bias)
    expected = gradients(loss, (head,))[0] + 2 * head.detach()
    (fused(student, teacher, head, bias)[0] + head.square().sum()).backward()
    close([head.grad], [expected], 1e-13)


def test_without_grad_mode_no_gradient_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher, head, bias = inputs()
    expected, _ = fused(student, teacher, head, bias)
    monkeypatch.setattr(chunks, "times_head", None)  # would raise
    with torch.no_grad():
        loss, _ = fused(student, teacher, head, bias)
    assert torch.equal(loss, expected)
    assert not loss.requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_inputs_are_summed_in_float32(
    dtype: torch.dtype, autocast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "_UPCAST_TILE_BYTES", {"other": 1})
    student, teacher, head, bias = inputs(200, dtype)
    sources = (student, head, bias)
    exact = tuple(x.detach().float().requires_grad_() for x in (student, teacher, head, bias))
    expected, _ = unfused(*exact)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        loss, _ = fused(student, teacher, head, bias, chunk_size=4)
    assert loss.dtype == torch.float32
    close([loss], [expected], 2e-6)
    for actual, wanted in zip(gradients(loss, sources), gradients(expected, (exact[0], *exact[2:])), strict=True):
        assert actual.dtype == dtype
        # One rounding to the result's own dtype, at most half a unit in the last place, on float32 sums.
        torch.testing.assert_close(actual.float(), wanted, rtol=torch.finfo(dtype).eps / 2 + 1e-5, atol=2e-7)


def sums_in_float32(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A CPU does what only a GPU does: products of half precision, summed in float32. Lists their factors."""
    plain, factors = torch.addmm, []

    def addmm(total: Tensor, a: Tensor, b: Tensor, **options: Any) -> Tensor:
        assert a.dtype == b.dtype != options.pop("out_dtype") == total.dtype
        factors.append(options["alpha"])
        return plain(total, a.to(total.dtype), b.to(total.dtype), **options)

    if not torch.cuda.is_available():
        monkeypatch.setattr(products, "_multiplied_as_is", lambda a, b: a.dtype == b.dtype != torch.float32)
        monkeypatch.setattr(torch, "addmm", addmm)
    return factors


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.skipif(torch.cuda.is_available(), reason="test_fused_cuda.py does it on the GPU itself")
def test_a_head_in_half_precision_is_projected_as_it_is(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    student, teacher, head, bias = inputs(200, torch.bfloat16)
    sources = (student, head, bias)
    expected, _ = fused(student, teacher, head, bias, chunk_size=4, **options)
    expected_gradients = gradients(expected, sources)
    factors = sums_in_float32(monkeypatch)
    loss, _ = fused(student, teacher, head, bias, chunk_size=4, **options)
    close([loss], [expected], 2e-6)
    close(gradients(loss, sources), expected_gradients, 2**-8)
    pre = options.get("logit_scale", 1.0) / options.get("softcap", options.get("temperature", 1.0))
    assert factors == pytest.approx([pre] * 2)  # 7 tokens; both sides in one product


@pytest.mark.parametrize(
    ("change", "dtype", "device", "expected"),
    [
        ({}, torch.float32, "cuda", "kernels"),
        ({"direction": "reverse", "temperature": 0.7, "clip": None}, torch.float32, "cuda", "kernels"),
        ({"teacher_temperature": 0.6}, torch.float32, "cuda", None),
        ({"teacher_mix": 0.2}, torch.float32, "cuda", None),
        ({}, F64, "cuda", None),
        ({}, torch.float32, "cpu", None),
    ],
)
def test_which_losses_a_gpu_computes_by_kernels(
    change: dict[str, Any], dtype: torch.dtype, device: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "_triton_on", lambda device: "kernels")
    x: Any = SimpleNamespace(weight=SimpleNamespace(is_cuda=device == "cuda", device=device))
    for post in (None, 2.0):
        settings = chunks.Settings(Divergence(**change), 1.0, post, 1, 0.0, dtype, True)
        assert chunks._kernels(x, settings) == (expected if post is None else None)


def test_kernels_that_do_not_run_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def statistics(student: Tensor, teacher: Tensor, **_: Any) -> None:
        assert student.dtype == teacher.dtype == torch.float32
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(torch, "zeros", partial(torch.zeros, dtype=torch.bfloat16))  # as by set_default_dtype
    monkeypatch.setattr(sgpo.objectives, "_fused_triton", SimpleNamespace(statistics=statistics), raising=False)
    with pytest.warns(UserWarning, match="Failed to find C compiler"):
        assert chunks._triton_on.__wrapped__(torch.device("cpu")) is None


@pytest.mark.parametrize(
    ("device", "dtype", "autocast", "expected"),
    [
        ("cuda", torch.bfloat16, False, "tf32"),
        ("cuda", torch.float16, False, "tf32"),
        ("cuda", torch.float32, True, "tf32"),
        ("cuda", torch.float32, False, "ieee"),
        ("cuda", F64, False, "ieee"),
        ("cpu", torch.bfloat16, False, "ieee"),
    ],
)
def test_a_gpu_multiplies_half_precision_on_its_tensor_cores(
    device: str, dtype: torch.dtype, autocast: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: autocast and kind == device)
    head: Any = SimpleNamespace(device=torch.device(device), dtype=dtype)
    matmul = torch.backends.cuda.matmul
    before, matmul.fp32_precision = matmul.fp32_precision, "ieee"
    try:
        with suppress(KeyError), products.tensor_cores(head):
            assert matmul.fp32_precision == expected
            raise KeyError
        assert matmul.fp32_precision == "ieee"
    finally:
        matmul.fp32_precision = before


def test_autocast_leaves_the_products_of_the_tolerant_kernel_alone() -> None:
    student, teacher, head, _ = inputs(200, torch.float32)
    bias = torch.where(torch.arange(200) % 20 == 3, 0.0, -20.0)
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss, _ = fused(student, teacher, head, bias, tolerance=0.01)
        found.append(gradients(loss, (student, head)))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_float16_gradients_meet_the_loss_scale_before_they_are_rounded() -> None:
    student, teacher, head, _ = inputs(dtype=torch.float16)
    loss, _ = fused(student, teacher, head, None, normalizer=1e7)  # gradients far below float16's 6e-8
    scaled = gradients(loss * 1e7, (student, head))
    close(scaled, gradients(fused(student, teacher, head, None, normalizer=1)[0], (student, head)), 1e-3)
    assert scaled[1].abs().max() > 1e-3


def test_masked_vocabulary_entries() -> None:
    student, teacher, head, bias = inputs()
    bias.data[2] = -math.inf
    keep = tensor([0, 1, 3, 4, 5, 6])
    for options in ({"clip": 0.3}, {"clip": 0.3, "direction": "reverse", "logit_scale": 9.0}):
        loss, _ = fused(student, teacher, head, bias, **options)
        d_hidden, d_head, d_bias = gradients(loss, (student, head, bias))
        expected, _ = unfused(student, teacher, head[keep], bias[keep], **options)
        close([loss, d_hidden], [expected, gradients(expected, (student,))[0]], 1e-12)
        assert torch.all(d_head[2] == 0)
        assert d_bias[2] == 0


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_large_logits(softcap: float | None) -> None:
    # Far beyond what exp() of float32 can hold, before the softcap or without one.
    student, teacher, head, bias = inputs(dtype=torch.float32)
    options: dict[str, Any] = {"logit_scale": 300.0, "softcap": softcap, "clip_form": "hard"}
    loss, metrics = fused(student, teacher, head, bias, **options)
    expected, sums = unfused(student, teacher, head, bias, **options)
    close([loss, metrics["kl_sum"]], [expected, sums["kl_sum"]], 1e-5)
    close(gradients(loss, (student, head)), gradients(expected, (student, head)), 1e-5)


def test_adding_a_constant_to_the_logits_changes_nothing() -> None:
    student, teacher, head, bias = inputs(dtype=torch.float32)
    loss, _ = fused(student, teacher, head, bias)
    shifted, _ = fused(student, teacher, head, bias.detach() + 64)
    close([shifted], [loss], 2e-5)  # logits of 64 are rounded to 8e-6


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"head": torch.ones(H, V)}, ["(3, 7)", "H = 3", "not its transpose"]),
        ({"head": torch.ones(0)}, ["(0,)", "gathered"]),
        ({"teacher_weight": torch.ones(V + 1, H)}, ["7 vocabulary entries", "teacher's 8"]),
        ({"teacher_weight": torch.ones(V, H + 1)}, ["teacher's head (7, 4)"]),
        ({"teacher": torch.ones(N, T + 1, H)}, ["(4, 5, 3)", "(4, 6, 3)"]),
        ({"student": torch.ones(N * T, H)}, ["(20, 3)"]),
        ({"bias": torch.ones(V + 1)}, ["(8,)", "[7]"]),
        ({"mask": MASK.float()}, ["mask.bool()"]),
        ({"row_weights": torch.ones(N + 1)}, ["weights (5,)"]),
        ({"normalizer": 0}, ["normalizer is 0"]),
        ({"direction": "jsd"}, ["'jsd'", "'forward', 'reverse'"]),
        ({"temperature": 0.0}, ["temperature is 0.0"]),
        ({"softcap": 0.0}, ["softcap is 0.0"]),
        ({"logit_scale": -1.0}, ["logit scale is -1.0"]),
        ({"chunk_size": 0}, ["chunk_size is 0"]),
        ({"tolerance": -0.1}, ["tolerance is -0.1", "0.0 is exact"]),
        ({"tolerance": math.nan}, ["tolerance is nan"]),
        ({"clip": 0.0}, ["threshold is 0.0"]),
        ({"clip_form": "soft"}, ["'soft'"]),
    ],
)
def test_errors_name_the_value_and_the_remedy(change: dict[str, Any], names: list[str]) -> None:
    student, teacher, head, bias = inputs()
    arguments: dict[str, Any] = {"student": student, "teacher": teacher, "head": head, "bias": bias}
    with pytest.raises(ValueError) as error:
        fused(**{**arguments, **change})
    assert all(name in str(error.value) for name in names)
