"""One optimizer step of the trainer against an oracle written from the equations (arXiv 2606.24064, section 3).

The oracle shares nothing with the trainer but the rollouts: it tokenizes the two prompts itself, runs the plain
Hugging Face forward on one unpadded sequence at a time, token by token; float64. The GRPO part is TRL's own,
from a run of trl.GRPOTrainer on the same rollouts.
"""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import trainer_kit as kit
from torch import Tensor
from trl import GRPOTrainer

# Largest gradient gap, relative to the largest gradient. Measured: 2e-15 where pass rates and alpha are exact in
# float32 (forms gap and constant), 3e-8 with relative_gap, 1.2e-7 with sft (TRL's log-probabilities are float32).
EXACT, FLOAT32 = 1e-12, 3e-7
DEFAULTS: dict[str, Any] = {
    "alpha_form": "relative_gap",
    "kl_direction": "forward",
    "kl_clip": 1.0,
    "kl_clip_form": "rescale",
    "distillation_loss": "kl",
    "target_selection": "mean",
    "temperature": 1.0,
    "num_targets": 1,
    "target_source": "guided",
    "teacher_temperature": 1.0,
    "teacher_mix": 0.0,
}


def log_probs(model: Any, prompt: list[int], completion: list[int], temperature: float) -> Tensor:
    """log pi(v | prompt, y_<t) for each t and v: [T, V]."""
    logits = model(input_ids=torch.tensor([prompt + completion])).logits[0]
    start = len(prompt) - 1
    return torch.log_softmax(logits[start : start + len(completion)] / temperature, dim=-1)


def weight(form: str, p: float, guided: float) -> float:
    raw = {"relative_gap": 0.5 * (guided - p) / (p + 0.1), "gap": 0.5 * (guided - p), "constant": 0.5}
    raw |= {"all_wrong": 0.5 * (p == 0), "deviation": 0.5 * math.sqrt(p * (1 - p))}
    return min(max(raw[form], 0.0), 0.8)


def target_of(teacher: Tensor, student: Tensor, o: dict[str, Any]) -> Tensor:
    """Log-probabilities that are taught at one token, [V]: the teacher's, sharpened, then mixed with the student's."""
    sharp = teacher.exp() ** (1 / o["teacher_temperature"])
    mixed = (sharp / sharp.sum()) ** (1 - o["teacher_mix"]) * student.detach().exp() ** o["teacher_mix"]
    return (mixed / mixed.sum()).log()


def token_loss(student: Tensor, teacher: Tensor, token: int, o: dict[str, Any]) -> Tensor:
    """The term of one token from two [V] rows of log-probabilities."""
    if o["distillation_loss"] == "sft":
        return -student[token]
    p, q = (teacher, student) if o["kl_direction"] == "forward" else (student, teacher)
    kl = (p.exp() * (p - q)).sum()
    delta = o["kl_clip"]
    if delta is None or float(kl.detach()) <= delta:
        return kl
    if o["kl_clip_form"] == "hard":
        return torch.tensor(delta, dtype=torch.float64)
    return kl * (delta / float(kl.detach()))


def oracle(model: Any, teacher: Any, data: Any, problems: list[int], options: dict[str, Any]) -> tuple[Tensor, int]:
    """mean over problems of alpha(q) * L_KD(q), and the number of targets."""
    o = {**DEFAULTS, **options}
    tokenizer, total, targets = kit.make_tokenizer(), torch.zeros((), dtype=torch.float64), 0
    ok = kit.WORDS.index("ok")
    for row in (data[i] for i in problems):
        plain = tokenizer(row["prompt"])["input_ids"]
        guided = tokenizer(f"{row['prompt']} hint {row['strategy']}")["input_ids"]
        autonomous = [kit.script(plain, k, 8) for k in range(4)]
        responses = [kit.script(guided, k, 8) for k in range(o.get("num_guided_generations", 2))]
        p = sum(ok in y for y in autonomous) / 4
        correct = [y for y in responses if ok in y]
        ended = [y for y in correct if y[-1] == tokenizer.eos_token_id]
        alpha = weight(o["alpha_form"], p, len(correct) / len(responses))
        if not correct or alpha == 0:
            continue
        if o["target_source"] == "autonomous":
            ended = correct = autonomous

        def likelihood(y: list[int], plain: list[int] = plain) -> float:
            with torch.no_grad():
                rows = log_probs(model, plain, y, o["temperature"])
            scores = sorted(float(rows[t, token]) for t, token in enumerate(y))
            if o["target_selection"] == "trimmed":
                scores = scores[len(y) // 10 :]
            return sum(scores) / (1 if o["target_selection"] == "sum" else len(scores))

        candidates = sorted(ended or correct, key=likelihood, reverse=True)
        if o["num_targets"] > 1:
            candidates = [y for i, y in enumerate(candidates) if y not in candidates[:i]]
        chosen = candidates[: o["num_targets"]]
        targets += len(chosen)
        for y in chosen:
            student = log_probs(model, plain, y, o["temperature"])
            with torch.no_grad():
                reference = log_probs(teacher, guided, y, o["temperature"])
            terms = [token_loss(student[t], target_of(reference[t], student[t], o), y[t], o) for t in range(len(y))]
            total = total + alpha / len(chosen) * sum(terms) / len(y)  # type: ignore[operator]
    return total / len(problems), targets


def gradient_of(loss: Tensor, model: Any) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in model.named_parameters()}


def step(out: Path, model: Any, data: Any, **options: Any) -> tuple[kit.Recorder, float, Any]:
    """One recorded step of a copy of `model`, and the loss it was taken on."""
    trainer = kit.make_trainer(out, model=copy.deepcopy(model), data=data, **{"max_steps": 1, **options})
    losses, compute = [], trainer._compute_loss

    def watched(*args: Any) -> Tensor:
        losses.append(compute(*args))
        return losses[-1]

    trainer._compute_loss = watched
    return kit.recorded(trainer), sum(float(loss.detach()) for loss in losses), trainer


GAP = {"alpha_form": "gap"}
CASES: dict[str, tuple[float, dict[str, Any]]] = {
    "default": (FLOAT32, {}),
    "sft": (FLOAT32, {"distillation_loss": "sft"}),
    "gap": (EXACT, GAP),
    "constant": (EXACT, {"alpha_form": "constant"}),
    "reverse": (EXACT, {**GAP, "kl_direction": "reverse"}),
    "hard": (EXACT, {**GAP, "kl_clip_form": "hard"}),
    "no clip": (EXACT, {**GAP, "kl_clip": None}),
    "small clip": (EXACT, {**GAP, "kl_clip": 0.05}),
    "temperature": (EXACT, {**GAP, "temperature": 0.7}),
    "sum of four": (EXACT, {**GAP, "target_selection": "sum", "num_guided_generations": 4}),
    "mean of four": (EXACT, {**GAP, "num_guided_generations": 4}),
    "two targets": (EXACT, {**GAP, "num_targets": 2, "num_guided_generations": 4}),
    "own rollouts": (EXACT, {**GAP, "target_source": "autonomous", "num_targets": 2, "target_selection": "sum"}),
    "sharpened": (EXACT, {**GAP, "teacher_temperature": 0.6, "temperature": 0.7}),
    "mixed": (EXACT, {**GAP, "teacher_mix": 0.4, "kl_direction": "reverse"}),
    "all wrong": (FLOAT32, {"alpha_form": "all_wrong", "num_guided_generations": 4}),
    "deviation": (FLOAT32, {"alpha_form": "deviation"}),
    "TREK": (
        2 * FLOAT32,  # two targets, each with log-probabilities in float32; measured: 4e-7
        {"distillation_loss": "sft", "target_selection": "trimmed", "num_targets": 2, "num_guided_generations": 4},
    ),
    "accumulation": (EXACT, {**GAP, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("scripted")
def test_step_equals_oracle(name: str, out: Path) -> None:
    tolerance, options = CASES[name]
    model = kit.make_model(dtype=torch.float64, seed=3)
    # Of the first four problems each is solved by some rollout; of the fifth to eighth two are by none.
    data = kit.make_problems(8).select(range(4, 8) if name == "all wrong" else range(4))
    size = {"per_device_train_batch_size": 16} | {k: v for k, v in options.items() if "batch" in k or "accum" in k}
    ours, loss, _ = step(out, model, data, **{**size, **options})
    grpo = {k: v for k, v in options.items() if k == "temperature"}
    plain, grpo_loss, _ = step(out, model, data, trainer_class=GRPOTrainer, **size, **grpo)

    expected, targets = oracle(model, model, data, [0, 1, 2, 3], options)
    assert targets >= 2
    assert loss - grpo_loss == pytest.approx(float(expected.detach()), rel=tolerance)
    added = {n: g - plain.gradients[0][n] for n, g in ours.gradients[0].items()}
    wanted = gradient_of(expected, model)
    assert max(float(g.abs().max()) for g in wanted.values()) > 1e-3
    assert kit.largest_gap(added, wanted) < tolerance


@pytest.mark.parametrize("selection", ["sum", "mean"])
@pytest.mark.usefixtures("scripted")
def test_selection_cases_tell_the_modes_apart(selection: str, out: Path) -> None:
    """The data of the oracle's cases must hold a problem for which the two likelihoods disagree."""
    model, data = kit.make_model(dtype=torch.float64, seed=3), kit.make_problems(4)
    other = {"sum": "mean", "mean": "sum"}[selection]
    shared = {"num_guided_generations": 4}
    mine, _ = oracle(model, model, data, [0, 1, 2, 3], {**shared, "target_selection": selection})
    theirs, _ = oracle(model, model, data, [0, 1, 2, 3], {**shared, "target_selection": other})
    assert not math.isclose(mine.item(), theirs.item(), rel_tol=1e-3)


@pytest.mark.usefixtures("scripted")
def test_without_grpo_only_the_distillation_is_left(out: Path) -> None:
    model, data = kit.make_model(dtype=torch.float64, seed=3), kit.make_problems(4)
    ours, loss, _ = step(out, model, data, per_device_train_batch_size=16, grpo_weight=0.0, **GAP)
    expected, _ = oracle(model, model, data, [0, 1, 2, 3], GAP)
    assert loss == pytest.approx(float(expected.detach()), rel=EXACT)
    assert kit.largest_gap(ours.gradients[0], gradient_of(expected, model)) < EXACT


@pytest.mark.usefixtures("scripted")
def test_grpo_weight_scales_the_grpo_part_alone(out: Path) -> None:
    model, data = kit.make_model(dtype=torch.float64, seed=3), kit.make_problems(2)
    by_weight = [step(out, model, data, grpo_weight=w)[0].gradients[0] for w in (0.0, 0.5, 1.0)]
    middle = {n: (by_weight[0][n] + by_weight[2][n]) / 2 for n in by_weight[0]}
    assert kit.largest_gap(by_weight[1], middle) < 1e-12
    assert kit.largest_gap(by_weight[0], by_weight[2]) > 1e-2


@pytest.mark.parametrize("teacher", ["live", "ema", "frozen"])
@pytest.mark.parametrize("architecture", ["qwen2", "phi"])
@pytest.mark.usefixtures("scripted")
def test_teacher_of_the_second_step(architecture: str, teacher: str, out: Path) -> None:
    """Steps 1 and 2 have the same problems; the guided side of step 2 has the weights that `teacher` says.

    Phi's head has a bias, of which the teacher has a value of its own, too.
    """
    tied = architecture == "qwen2"
    model, data = kit.make_model(architecture, tied=tied, dtype=torch.float64, seed=3), kit.make_problems(2)
    options = {"teacher": teacher, "teacher_ema_decay": 0.75, "grpo_weight": 0.0, "max_steps": 2, **GAP}
    ours, _, _ = step(out, model, data, learning_rate=0.5, **options)
    start, after = ours.weights
    share = {"live": 0.0, "ema": 0.75, "frozen": 1.0}[teacher]
    student, guide = copy.deepcopy(model), copy.deepcopy(model)
    student.load_state_dict(after, strict=False)
    guide.load_state_dict({n: share * start[n] + (1 - share) * after[n] for n in start}, strict=False)
    expected, _ = oracle(student, guide, data, [0, 1], GAP)
    assert kit.largest_gap(ours.gradients[1], gradient_of(expected, student)) < EXACT


@pytest.mark.usefixtures("scripted")
def test_the_mix_falls_over_the_run(out: Path) -> None:
    """The first of two steps has all of the mix, the second half of it; both have the same problems."""
    model, data = kit.make_model(dtype=torch.float64, seed=3), kit.make_problems(2)
    mixed = {"teacher": "frozen", "grpo_weight": 0.0, "teacher_mix": 0.6, "teacher_mix_schedule": "linear", **GAP}
    ours, _, _ = step(out, model, data, learning_rate=0.5, max_steps=2, **mixed)
    for done, mix in enumerate((0.6, 0.3)):
        student = copy.deepcopy(model)
        student.load_state_dict(ours.weights[done], strict=False)
        expected, _ = oracle(student, model, data, [0, 1], {**GAP, "teacher_mix": mix})
        assert kit.largest_gap(ours.gradients[done], gradient_of(expected, student)) < EXACT


@pytest.mark.parametrize("architecture", ["qwen3", "llama"])
@pytest.mark.usefixtures("scripted")
def test_untied_heads_of_other_architectures(architecture: str, out: Path) -> None:
    model = kit.make_model(architecture, tied=False, dtype=torch.float64, seed=1)
    data = kit.make_problems(2)
    ours, _, _ = step(out, model, data, grpo_weight=0.0, **GAP)
    expected, targets = oracle(model, model, data, [0, 1], GAP)
    assert targets > 0
    assert "lm_head.weight" in ours.gradients[0]
    assert kit.largest_gap(ours.gradients[0], gradient_of(expected, model)) < EXACT


@pytest.mark.usefixtures("scripted")
def test_random_selection_takes_correct_targets_and_varies(out: Path) -> None:
    model, data = kit.make_model(), kit.make_problems(4)
    chosen = set()
    for seed in range(4):
        options = {"target_selection": "random", "num_guided_generations": 4, "seed": seed, "alpha_form": "constant"}
        _, _, trainer = step(out, model, data, per_device_train_batch_size=16, **options)
        targets = [target for slot in trainer._sgpo.slots for target in slot]
        assert len(targets) == 4
        assert all("ok" in kit.decoded(target.completion_ids) for target in targets)
        chosen.add(tuple(tuple(target.completion_ids) for target in targets))
    assert len(chosen) > 1
