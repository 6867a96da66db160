"""The trainer's pieces on their own: dealing and padding of targets, pass rates, groups, heads, teachers."""

import math
from pathlib import Path
from types import MethodType, SimpleNamespace
from typing import Any

import pytest
import torch
import trainer_kit as kit
from accelerate import Accelerator
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    ModernBertDecoderConfig,
    ModernBertDecoderForCausalLM,
    PhiConfig,
    PhiForCausalLM,
)
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from sgpo.models.scoring import without_dropout
from sgpo.objectives import Kernel
from sgpo.trainer import base, sgpo_trainer
from sgpo.trainer.distillation import Target, TargetBatch, collate, deal
from sgpo.trainer.finite import NonFiniteError, require_finite
from sgpo.trainer.heads import Head, add_head_fn, check_head_fn
from sgpo.trainer.padding import score_alike_in_any_company
from sgpo.trainer.rollouts import GuidedRollouts, first_of_groups, worth_guiding
from sgpo.trainer.teacher import TEACHER_FILE, TeacherWeights

IDS = st.lists(st.integers(1, 50), min_size=1, max_size=6)
TARGETS = st.lists(st.builds(Target, IDS, IDS, IDS, st.floats(0, 1, width=32)), min_size=1, max_size=7)
DUMMY = Target([1], [1], [1], 0.0)


# ---------------------------------------------------------------- deal


@given(TARGETS, st.integers(0, 5), st.integers(1, 8), st.integers(1, 8))
def test_deal_loses_and_doubles_nothing(targets: list[Target], short: int, micro_steps: int, accumulation: int) -> None:
    slots = deal(targets, DUMMY, len(targets) + short, micro_steps, accumulation)
    assert len(slots) == micro_steps
    dealt = [id(t) for slot in slots for t in slot]
    assert sorted(i for i in dealt if i != id(DUMMY)) == sorted(map(id, targets))
    assert dealt.count(id(DUMMY)) == short
    sizes = [len(slot) for slot in slots]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 8), st.integers(1, 8))
def test_ranks_get_slots_of_one_size(mine: int, theirs: int, micro_steps: int, accumulation: int) -> None:
    most = max(mine, theirs)
    shapes = [
        [len(slot) for slot in deal([DUMMY] * count, DUMMY, most, micro_steps, accumulation)]
        for count in (mine, theirs)
    ]
    assert shapes[0] == shapes[1]


@given(st.integers(0, 20), st.integers(1, 4), st.integers(1, 4))
def test_optimizer_steps_share_the_targets_evenly(count: int, steps: int, accumulation: int) -> None:
    slots = deal([DUMMY] * count, DUMMY, count, steps * accumulation, accumulation)
    loads = [sum(map(len, slots[i * accumulation : (i + 1) * accumulation])) for i in range(steps)]
    assert max(loads) - min(loads) <= 1 + accumulation * (count >= steps * accumulation)
    if count <= steps:
        assert max(loads) <= 1


def test_deal_by_hand() -> None:
    a, b, c = (Target([i], [i], [i], 1.0) for i in range(3))
    assert deal([a, b, c], DUMMY, 3, 4, 2) == [[a], [c], [b], []]
    assert deal([a], DUMMY, 2, 1, 1) == [[a, DUMMY]]
    assert deal([], DUMMY, 0, 2, 1) == [[], []]


# ---------------------------------------------------------------- divergence


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize(
    ("options", "kernel"),
    [
        ({}, Kernel()),
        ({"kl_gradient_tolerance": 0.02}, Kernel(tolerance=0.02)),
        ({"kl_chunk_size": 32}, Kernel(chunk_size=32)),
    ],
)
def test_the_kernel_is_that_of_the_configuration(
    options: dict[str, Any], kernel: Kernel, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Kernel] = []
    fused = sgpo_trainer.fused_linear_distillation_loss
    monkeypatch.setattr(sgpo_trainer, "fused_linear_distillation_loss", lambda *a: (used.append(a[3]), fused(*a))[1])
    kit.make_trainer(out, max_steps=1, **options).train()
    assert used == [kernel]


# ---------------------------------------------------------------- collate


@given(TARGETS)
def test_collate_holds_both_prompts_around_one_completion(targets: list[Target]) -> None:
    share = collate(targets, 0, torch.device("cpu"))
    length = max(len(t.completion_ids) for t in targets)
    assert share.mask.dtype == torch.bool
    assert share.mask.shape == (len(targets), length)
    sides = ((share.student_ids, share.student_mask), (share.teacher_ids, share.teacher_mask))
    for i, target in enumerate(targets):
        for (ids, mask), prompt in zip(sides, (target.prompt_ids, target.guided_prompt_ids), strict=True):
            assert ids[i][mask[i].bool()].tolist() == prompt + target.completion_ids
            assert mask[i][:-length].tolist() == sorted(mask[i][:-length].tolist()), "prompts are padded on the left"
            assert torch.equal(mask[i, -length:].bool(), share.mask[i])
            assert (ids[i][mask[i] == 0] == 0).all()
        assert share.mask[i].sum() == len(target.completion_ids)
        assert share.mask[i].tolist() == sorted(share.mask[i].tolist(), reverse=True)
        assert share.weights[i] == target.weight


def test_share_refuses_different_completions() -> None:
    good = collate([Target([1], [2, 3], [4, 5], 1.0)], 0, torch.device("cpu"))
    other = good.teacher_ids.clone()
    other[0, -1] = 9
    with pytest.raises(AssertionError, match="different completion tokens"):
        TargetBatch(good.student_ids, good.student_mask, other, good.teacher_mask, good.mask, good.weights)


# ---------------------------------------------------------------- pass rates and groups


@given(st.integers(1, 6), st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=20))
def test_pass_rates(problems: int, rows: list[tuple[int, bool]]) -> None:
    rows = [(owner % problems, hit) for owner, hit in rows]
    verdicts = torch.tensor([hit for _, hit in rows], dtype=torch.bool)
    rates = GuidedRollouts([o for o, _ in rows], len(rows), [], correct=verdicts).pass_rate(problems)
    for problem in range(problems):
        hits = [hit for owner, hit in rows if owner == problem]
        if hits:
            assert float(rates[problem]) == pytest.approx(sum(hits) / len(hits))
        else:
            assert rates[problem].isnan()


@given(st.integers(1, 5), st.integers(1, 5))
def test_first_of_groups(problems: int, size: int) -> None:
    rows = [{"prompt": f"q{i}", "copy": k} for i in range(problems) for k in range(size)]
    assert first_of_groups(rows, size) == [{"prompt": f"q{i}", "copy": 0} for i in range(problems)]


def test_first_of_groups_refuses_other_orders() -> None:
    rows = [{"prompt": "a"}, {"prompt": "b"}, {"prompt": "a"}, {"prompt": "b"}]
    with pytest.raises(ValueError, match="Row 1 of the generation batch is not the problem of its group"):
        first_of_groups(rows, 2)


def test_rows_that_fill_up_a_rank_have_no_pass_rate() -> None:
    guided = GuidedRollouts([1, 1, 0, 0], 2, [[1]] * 4, correct=torch.tensor([True, False, False, False]))
    assert guided.pass_rate(3).nan_to_num(-1).tolist() == [-1, 0.5, -1]


RATES = st.lists(st.integers(0, 4).map(lambda hits: hits / 4), min_size=1, max_size=8)


@given(RATES, st.sampled_from([0.25, 0.3, 1.0]), st.none() | st.integers(1, 4), st.data())
def test_worth_guiding(rates: list[float], below: float, most: int | None, data: st.DataObject) -> None:
    candidates = [i for i in range(len(rates)) if data.draw(st.booleans())]
    chosen = worth_guiding(rates, candidates, below, most)
    left_out = set(candidates) - set(chosen)
    assert chosen == sorted(set(chosen) & set(candidates))
    assert all(rates[i] < below for i in chosen)
    if most is None or len(chosen) < most:
        assert all(rates[i] >= below for i in left_out)
    else:
        assert len(chosen) == most
        assert all(rates[i] >= max(rates[j] for j in chosen) for i in left_out)


def test_worth_guiding_by_hand() -> None:
    rates = [0.25, 1.0, 0.0, 0.75, 0.25]
    assert worth_guiding(rates, [0, 1, 2, 3, 4], 1.0, None) == [0, 2, 3, 4]
    assert worth_guiding(rates, [0, 1, 2, 3, 4], 0.25, None) == [2]
    assert worth_guiding(rates, [0, 1, 3, 4], 1.0, 1) == [0]
    assert worth_guiding(rates, [0, 1, 2, 3, 4], 1.0, 2) == [0, 2]


# ---------------------------------------------------------------- heads

SIZE = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "initializer_range": 0.5,
}
HEADS: dict[str, Any] = {
    "softcap": lambda: Gemma2ForCausalLM(Gemma2Config(**SIZE, head_dim=8, final_logit_softcapping=3.0)),
    "multiplied": lambda: CohereForCausalLM(CohereConfig(**SIZE, logit_scale=0.25)),
    "divided": lambda: GraniteForCausalLM(GraniteConfig(**SIZE, logits_scaling=4.0)),
    "bias": lambda: PhiForCausalLM(PhiConfig(**SIZE)),
    "plain": lambda: kit.make_model("llama", tied=False),
}


@pytest.mark.parametrize("name", HEADS)
def test_head_and_hidden_states_give_the_models_logits(name: str) -> None:
    torch.manual_seed(0)
    model = HEADS[name]().eval()
    if name == "bias":
        nn.init.normal_(model.lm_head.bias)
    ids = torch.tensor([[3, 4, 5, 6]])
    with torch.no_grad():
        wanted = model(input_ids=ids).logits
        add_head_fn(model)

        def logits(hidden: torch.Tensor, head: Head) -> torch.Tensor:
            out = head.scale * nn.functional.linear(hidden, head.weight, head.bias)
            return out if head.softcap is None else head.softcap * torch.tanh(out / head.softcap)

        torch.testing.assert_close(model(input_ids=ids, head_fn=logits), wanted, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model(input_ids=ids).logits, wanted, rtol=0, atol=0)
    check_head_fn(model)


OTHER_HEADS: dict[str, Any] = {
    "one more layer": lambda: ModernBertDecoderForCausalLM(ModernBertDecoderConfig(**SIZE)),
    "a scale of another name": lambda: _halved(kit.make_model("llama", tied=False)),
}


def _halved(model: Any) -> Any:
    forward = type(model).forward

    def halved(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = forward(self, *args, **kwargs)
        found.logits = found.logits / 2
        return found

    model.forward = MethodType(halved, model)
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", OTHER_HEADS)
def test_a_model_that_makes_its_logits_otherwise_is_refused(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = OTHER_HEADS[name]().to(dtype)
    before = torch.get_rng_state()
    add_head_fn(model)
    with pytest.raises(ValueError, match=r"makes its logits otherwise.*would be those of another model"):
        check_head_fn(model)
    assert torch.equal(torch.get_rng_state(), before)
    plain = kit.make_model("llama", tied=False, dtype=dtype)
    add_head_fn(plain)
    check_head_fn(plain)


def needs_a_gpu(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("FlashAttention only supports CUDA")


def test_a_model_that_goes_to_the_gpu_later_may_have_kernels_that_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """FSDP and DeepSpeed leave it on the CPU until training begins; where that is, padding cannot be seen by anyone."""
    model, ids = kit.make_model(), torch.tensor([[0, 0, 5, 6, 7]])
    seen, mask = [], torch.tensor([[0, 0, 1, 1, 1]])
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "flash", needs_a_gpu)
    monkeypatch.setitem(ALL_MASK_ATTENTION_FUNCTIONS, "flash", lambda *args, **kwargs: None)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    own, model.config._attn_implementation = model.config._attn_implementation, "flash"
    add_head_fn(model)
    check_head_fn(model)
    score_alike_in_any_company(model)
    model.config._attn_implementation = own
    model.model.register_forward_pre_hook(lambda m, args, kwargs: seen.append(kwargs["input_ids"]), with_kwargs=True)
    model(input_ids=ids, attention_mask=mask, head_fn=lambda hidden, head: hidden)
    assert seen[0].tolist() == [[5, 6, 7, 0, 0]]
    # Where no GPU is to come the error is the model's own.
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    model.config._attn_implementation = "flash"
    with pytest.raises(RuntimeError, match="only supports CUDA"):
        check_head_fn(model)


def test_probes_of_a_model_on_the_cpu_leave_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each run on the CPU would take memory of every GPU."""
    asked: list[Any] = []
    fork = torch.random.fork_rng
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices=None, **kw: asked.append(devices) or fork(devices))
    model = kit.make_model()
    add_head_fn(model)
    check_head_fn(model)
    score_alike_in_any_company(model)
    assert asked == [[], []]


# ---------------------------------------------------------------- teachers


def network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    model[0].weight.requires_grad_(False)
    return model


def moved(model: nn.Module) -> None:
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p))


@settings(max_examples=20)
@given(st.floats(0, 1), st.integers(1, 5))
def test_average_follows_its_recursion(decay: float, steps: int) -> None:
    model = network()
    teacher = TeacherWeights(model, decay)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    wanted = {name: p.detach().double() for name, p in trained.items()}
    for _ in range(steps):
        moved(model)
        teacher.on_step_end(None, None, None)  # type: ignore[arg-type]
        wanted = {name: decay * wanted[name] + (1 - decay) * p.detach().double() for name, p in trained.items()}
    live = {name: p.detach().clone() for name, p in model.named_parameters()}
    with teacher.in_place():
        for name, p in trained.items():
            torch.testing.assert_close(p.double(), wanted[name], rtol=1e-5, atol=1e-5)
        assert torch.equal(model[0].weight, live["0.weight"]), "a frozen parameter has no second value"
    for name, p in model.named_parameters():
        assert torch.equal(p, live[name])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_average_of_coarse_weights_is_that_of_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    """At decay 0.999 each increment is under half of what bfloat16 can add to a weight of 1."""
    model = network().to(dtype)
    teacher, live = TeacherWeights(model, 0.999), model[1].weight
    wanted = live.detach().float()
    for _ in range(30):
        with torch.no_grad():
            live.add_(torch.ones_like(live) / 8)
        teacher.on_step_end(None, None, None)  # type: ignore[arg-type]
        wanted = wanted.lerp(live.detach().float(), 0.001)
    now = live.detach().clone()
    with teacher.in_place():
        assert live.dtype == dtype
        assert torch.equal(live, wanted.to(dtype))
    assert torch.equal(live, now)
    assert teacher.counterpart(live).dtype == dtype
    teacher.save(tmp_path)
    assert torch.equal(load_file(tmp_path / TEACHER_FILE)["1.weight"], wanted)
    save_file({"1.weight": now, "1.bias": model[1].bias.detach()}, tmp_path / TEACHER_FILE)  # of an older version
    teacher.load(tmp_path)
    assert torch.equal(teacher._kept["1.weight"], now.float())


def test_live_weights_come_back_after_an_error() -> None:
    model = network()
    teacher = TeacherWeights(model, 1.0)
    moved(model)
    live = {name: p.detach().clone() for name, p in model.named_parameters()}

    def fail() -> None:
        with teacher.in_place():
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert all(torch.equal(p, live[name]) for name, p in model.named_parameters())


def test_counterpart() -> None:
    model = network()
    teacher = TeacherWeights(model, 1.0)
    start = model[1].weight.detach().clone()
    moved(model)
    assert torch.equal(teacher.counterpart(model[1].weight), start)
    assert torch.equal(teacher.counterpart(model[0].weight), model[0].weight)
    assert not teacher.counterpart(model[0].weight).requires_grad


def test_save_and_load(tmp_path: Path) -> None:
    model = network()
    teacher = TeacherWeights(model, 0.5)
    start = model[1].weight.detach().clone()
    teacher.save(tmp_path)
    assert (tmp_path / TEACHER_FILE).is_file()
    moved(model)
    other = TeacherWeights(model, 0.5)
    other.load(tmp_path)
    assert torch.equal(other.counterpart(model[1].weight), start)


def test_without_dropout_gives_each_module_its_mode_back() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)), nn.Linear(1, 1))
    model[1].eval()
    with without_dropout(model):
        assert not any(module.training for module in model.modules())
    assert model.training
    assert model[0].training
    assert not model[1].training
    assert not model[1][0].training


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_number_is_found_wherever_it_is(bad: float, dtype: torch.dtype) -> None:
    accelerator: Any = SimpleNamespace(device=torch.device("cpu"), num_processes=1)
    largest = torch.full((3, 4), torch.finfo(dtype).max, dtype=dtype)
    named = {"empty": torch.zeros(0, 4, dtype=dtype), "largest": largest, "smallest": -largest}
    require_finite(accelerator, named.items(), "what", None)
    for place in ((0, 0), (1, 2), (2, 3)):
        spoilt = largest.clone()
        spoilt[place] = bad
        with pytest.raises(NonFiniteError, match=r"what of spoilt \(1 of 4\)"):
            require_finite(accelerator, [*named.items(), ("spoilt", spoilt)], "what", None)


# ---------------------------------------------------------------- ranks


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize("served", [False, True])
def test_the_queue_of_a_server_leaves_no_rank_idle(served: bool, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = kit.make_trainer(out)
    trainer.args.use_vllm, trainer.args.vllm_mode = served, "server"
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    monkeypatch.setattr(base, "idle_share", lambda *rows: 0.5)
    trainer.model.train()
    trainer._generate_single_turn([[9, 3]] * 4, None, {}, 4)
    assert ("completions/rank_idle_share" in trainer._metrics["train"]) != served
