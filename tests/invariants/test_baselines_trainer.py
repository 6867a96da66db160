"""LUFFY and HPT through their trainers: one optimizer step against an oracle written from the equations, float64.

The oracle shares nothing with the trainers but the scripted rollouts: it tokenizes, runs the plain Hugging Face forward
on one unpadded sequence at a time, and sums token by token. Started by torchrun, this file is also the worker of the
test on two ranks.
"""

import copy
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import trainer_kit as kit
from datasets import Dataset
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from sgpo import HPTConfig, HPTTrainer, LUFFYConfig, LUFFYTrainer
from sgpo.models.thinking import begun_at_end
from sgpo.trainer.expert import ExpertTrainer, within_thinking
from sgpo.trainer.hpt import put_experts
from sgpo.trainer.recorder import Recorder
from sgpo.trainer.sft import ExpertSFTTrainer, SFTConfig

# Largest gradient gap, relative to the largest gradient: TRL's log-probabilities are float32. Measured: 2.7e-7.
FLOAT32 = 5e-7
G, LONGEST = 4, 8
EOS = kit.WORDS.index("<eos>")
EXPERTS = (" a b ok", " 1 2 3 4 5 ok", " no", " ok")  # longer and shorter than the rollouts; the third is wrong
CHOSEN = (5, 4, 2, 6, 9, 0)  # of kit.make_problems: how many of their 4 scripted rollouts are correct is below
CORRECT = (3, 0, 1, 0, 2, 2)


def problems(rows: tuple[int, ...] = (0, 1, 2, 3)) -> Dataset:
    data = kit.make_problems(10).remove_columns("strategy").select(CHOSEN)
    return data.add_column("expert", [EXPERTS[i % 4] for i in range(6)]).select(rows)


def ids_of(text: str) -> list[int]:
    return [kit.WORDS.index(word) for word in text.split()]


def expert_ids(row: dict[str, Any]) -> list[int]:
    return [*ids_of(row["expert"]), EOS]


def reward(completion: list[int]) -> float:
    return float(kit.WORDS.index("ok") in completion)


def make(
    out: Path, trainer_class: type, *, model: Any = None, data: Any = None, says: Any = kit.has_ok, **options: Any
) -> Any:
    shared = {"loss_type": "dr_grpo", "scale_rewards": "none", "entropy_coef": 0.0, "max_steps": 1}
    config_class = getattr(trainer_class, "config_class", GRPOConfig)
    arguments = options.pop("arguments", {})
    return trainer_class(
        model=kit.make_model(dtype=torch.float64, seed=3) if model is None else copy.deepcopy(model),
        reward_funcs=says,
        args=kit.make_config(out, config_class, **{**shared, **options}),
        train_dataset=problems() if data is None else data,
        **{"processing_class": kit.make_tokenizer(), **arguments},
    )


def token_logps(model: Any, prompt: list[int], completion: list[int]) -> Tensor:
    logits = model(input_ids=torch.tensor([prompt + completion])).logits[0]
    rows = torch.log_softmax(logits[len(prompt) - 1 : -1], dim=-1)
    return torch.stack([rows[t, token] for t, token in enumerate(completion)])


def clipped(logps: Tensor, old: Tensor, advantage: float) -> list[Tensor]:
    """GRPO's loss of each token, with the range [0.8, 1.28]."""
    losses = []
    for ratio in (logps - old).exp():
        inside = min(max(float(ratio.detach()), 0.8), 1.28)
        value = ratio if float(ratio.detach()) == inside else torch.tensor(inside, dtype=torch.float64)
        losses.append(-torch.minimum(ratio * advantage, value * advantage))
    return losses


def aggregate(rows: list[list[Tensor]], loss_type: str, tokens: int) -> Tensor:
    """One number from the losses of all tokens of all rows, as TRL documents `loss_type`."""
    sums = [torch.stack(row).sum() for row in rows]
    if loss_type == "grpo":
        return sum(s / len(row) for s, row in zip(sums, rows, strict=True)) / len(rows)  # type: ignore[return-value]
    return sum(sums) / {"dr_grpo": len(rows) * LONGEST, "dapo": tokens, "bnpo": tokens}[loss_type]  # type: ignore


def luffy_oracle(model: Any, old: Any, data: Any, loss_type: str = "dr_grpo", baseline: str = "group") -> Tensor:
    rows, tokens = [], 0
    for row in data:
        prompt = ids_of(row["prompt"])
        sampled = [kit.script(prompt, k, LONGEST) for k in range(G - 1)]
        expert = expert_ids(row)
        rewards = [reward(y) for y in [*sampled, expert]]
        mean = sum(rewards) / G if baseline == "group" else sum(rewards[:-1]) / (G - 1)
        for y, r in zip(sampled, rewards[:-1], strict=True):
            with torch.no_grad():
                before = token_logps(old, prompt, y)
            rows.append(clipped(token_logps(model, prompt, y), before, r - mean))
        p = token_logps(model, prompt, expert).exp()
        rows.append([-(rewards[-1] - mean) * x / (x + 0.1) for x in p])
        tokens += sum(map(len, [*sampled, expert]))
    return aggregate(rows, loss_type, tokens)


def hpt_oracle(model: Any, old: Any, data: Any, loss_type: str = "dr_grpo", gate: int = 0, coef: float = 1.0) -> Tensor:
    rows, tokens, sft = [], 0, torch.zeros((), dtype=torch.float64)
    for row in data:
        prompt = ids_of(row["prompt"])
        sampled = [kit.script(prompt, k, LONGEST) for k in range(G)]
        rewards = [reward(y) for y in sampled]
        tokens += sum(map(len, sampled))
        if sum(rewards) <= gate:
            sft = sft - token_logps(model, prompt, expert_ids(row)).mean()
            rows += [[torch.zeros((), dtype=torch.float64)] * len(y) for y in sampled]
            continue
        for y, r in zip(sampled, rewards, strict=True):
            with torch.no_grad():
                before = token_logps(old, prompt, y)
            rows.append(clipped(token_logps(model, prompt, y), before, r - sum(rewards) / G))
    return aggregate(rows, loss_type, tokens) + coef * sft / len(data)


def gradient_of(loss: Tensor, model: Any) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def logged(trainer: Any, name: str) -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def test_the_scripted_problems_are_what_the_other_tests_need() -> None:
    data = problems(tuple(range(6)))
    rewards = [[reward(kit.script(ids_of(p), k, LONGEST)) for k in range(G)] for p in data["prompt"]]
    assert tuple(map(sum, rewards)) == CORRECT
    # The wrong expert stands beside a correct rollout, so its advantage is negative.
    assert [reward(expert_ids(row)) for row in problems()] == [1, 1, 0, 1]
    assert sum(rewards[2][:-1]) > 0


WHOLE = {"per_device_train_batch_size": 16}
LUFFY: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "default": ({}, {}),
    "on-policy mean": ({"advantage_baseline": "on_policy"}, {"baseline": "on_policy"}),
    "dapo": ({"loss_type": "dapo"}, {"loss_type": "dapo"}),
    "grpo": ({"loss_type": "grpo"}, {"loss_type": "grpo"}),
    "bnpo": ({"loss_type": "bnpo"}, {"loss_type": "bnpo"}),
}
HPT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "default": ({}, {}),
    "gate 1": ({"gate": 1}, {"gate": 1}),
    "coefficient": ({"sft_coef": 0.3}, {"coef": 0.3}),
    "dapo": ({"loss_type": "dapo"}, {"loss_type": "dapo"}),
    "grpo": ({"loss_type": "grpo"}, {"loss_type": "grpo"}),
    "bnpo": ({"loss_type": "bnpo"}, {"loss_type": "bnpo"}),
    "all by SFT": ({"gate": 4}, {"gate": 4}),
}
CASES = [
    *((LUFFYTrainer, luffy_oracle, name, *case) for name, case in LUFFY.items()),
    *((HPTTrainer, hpt_oracle, name, *case) for name, case in HPT.items()),
]


@pytest.mark.parametrize(("trainer_class", "oracle", "name", "options", "theirs"), CASES)
@pytest.mark.usefixtures("scripted")
def test_step_equals_oracle(
    trainer_class: type, oracle: Any, name: str, options: dict[str, Any], theirs: dict[str, Any], out: Path
) -> None:
    model, data = kit.make_model(dtype=torch.float64, seed=3), problems()
    trainer = make(out, trainer_class, model=model, data=data, **WHOLE, **options)
    losses, compute = [], trainer._compute_loss

    def watched(*args: Any) -> Tensor:
        losses.append(compute(*args))
        return losses[-1]

    trainer._compute_loss = watched
    ours = kit.recorded(trainer).gradients[0]
    expected = oracle(model, model, data, **theirs)
    assert float(losses[0].detach()) == pytest.approx(float(expected.detach()), rel=1e-6, abs=1e-7)
    wanted = gradient_of(expected, model)
    assert max(float(g.abs().max()) for g in wanted.values()) > 1e-3
    assert kit.largest_gap(ours, wanted) < FLOAT32


@pytest.mark.parametrize(("trainer_class", "oracle"), [(LUFFYTrainer, luffy_oracle), (HPTTrainer, hpt_oracle)])
@pytest.mark.usefixtures("scripted")
def test_second_iteration_clips_on_policy_ratios_alone(trainer_class: type, oracle: Any, out: Path) -> None:
    """num_iterations = 2: the second step has old log-probabilities, and a policy that has moved far."""
    model, data = kit.make_model(dtype=torch.float64, seed=3), problems()
    trainer = make(
        out, trainer_class, model=model, data=data, **WHOLE, num_iterations=2, max_steps=2, learning_rate=2.0
    )
    ours = kit.recorded(trainer)
    moved = copy.deepcopy(model)
    moved.load_state_dict(ours.weights[1], strict=False)
    assert kit.largest_gap(ours.gradients[1], gradient_of(oracle(moved, model, data), moved)) < FLOAT32
    assert logged(trainer, "clip_ratio/region_mean")[1] > 0.05
    unclipped = gradient_of(oracle(moved, moved, data), moved)
    assert kit.largest_gap(ours.gradients[1], unclipped) > 1e-2


@pytest.mark.parametrize("trainer_class", [LUFFYTrainer, HPTTrainer])
@pytest.mark.usefixtures("scripted")
def test_layout_of_the_batch_changes_nothing(trainer_class: type, out: Path) -> None:
    def gradients(**options: Any) -> list[dict[str, Tensor]]:
        return kit.recorded(make(out, trainer_class, **options)).gradients

    (whole,) = gradients(**WHOLE)
    (accumulated,) = gradients(per_device_train_batch_size=4, gradient_accumulation_steps=4)
    assert kit.largest_gap(accumulated, whole) < FLOAT32
    # One generation batch for two optimizer steps, on weights that stand still: the halves are the whole.
    halves = gradients(per_device_train_batch_size=8, steps_per_generation=2, max_steps=2, learning_rate=0.0)
    assert kit.largest_gap(*halves) > 1e-2
    assert kit.largest_gap({n: (halves[0][n] + halves[1][n]) / 2 for n in whole}, whole) < FLOAT32
    again = gradients(**WHOLE, num_iterations=2, max_steps=2, learning_rate=0.0)
    assert kit.largest_gap(again[1], whole) < FLOAT32


@pytest.mark.parametrize("loss_type", ["grpo", "dapo"])
@pytest.mark.usefixtures("scripted")
def test_accumulation_changes_nothing_under_other_loss_types(loss_type: str, out: Path) -> None:
    """(Under bnpo a token's weight is that of its micro-batch, in TRL too.)"""
    for trainer_class in (LUFFYTrainer, HPTTrainer):
        (whole,) = kit.recorded(make(out, trainer_class, loss_type=loss_type, **WHOLE)).gradients
        layout = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2}
        (halves,) = kit.recorded(make(out, trainer_class, loss_type=loss_type, **layout)).gradients
        assert kit.largest_gap(halves, whole) < FLOAT32


@pytest.mark.usefixtures("scripted")
def test_hpt_with_all_problems_solved_is_grpo_to_the_bit(out: Path) -> None:
    data = problems((0, 2))
    shared = {"data": data, "entropy_coef": 0.001, "scale_rewards": "group", "loss_type": "dapo", "max_steps": 2}
    hpt = make(out, HPTTrainer, **shared)
    ours, grpo = kit.recorded(hpt), kit.recorded(make(out, GRPOTrainer, **shared))
    for mine, theirs in zip(ours.gradients, grpo.gradients, strict=True):
        assert kit.largest_gap(mine, theirs) == 0.0
        assert any(float(g.abs().max()) > 0 for g in theirs.values())
    assert logged(hpt, "hpt/sft_share") == [0.0, 0.0]
    assert logged(hpt, "hpt/nll") == []


def test_luffy_samples_all_but_the_expert(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[list[list[int]], int]] = []

    def turn(self: Any, prompts: list[list[int]], images: Any, fields: Any, count: int, *args: Any) -> Any:
        calls.append(([list(ids) for ids in prompts], count))
        completions, _ = kit.scripted_turn(self, prompts, images, fields, count, *args)
        return completions, [[-1.0] * len(ids) for ids in completions]

    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", turn)
    data = problems()
    trainer = make(out, LUFFYTrainer, data=data, **WHOLE)
    batches, generate = [], trainer._generate_and_score_completions

    def watched(inputs: Any) -> Any:
        batches.append(generate(inputs))
        return batches[-1]

    trainer._generate_and_score_completions = watched
    trainer.train()
    assert [count for _, count in calls] == [G - 1]
    assert calls[0][0] == [ids_of(p) for p in data["prompt"] for _ in range(G - 1)]
    (batch,) = batches
    for i in range(16):
        ids = batch["completion_ids"][i][batch["completion_mask"][i].bool()].tolist()
        row = data[i // G]
        expected = expert_ids(row) if i % G == G - 1 else kit.script(ids_of(row["prompt"]), i % G, LONGEST)
        assert ids == expected
        unknown = batch["sampling_per_token_logps"][i][: len(ids)].isnan()
        assert unknown.all() if i % G == G - 1 else not unknown.any()
    assert batch["off_policy"].tolist() == [i % G == G - 1 for i in range(16)]


@pytest.mark.parametrize("trainer_class", [LUFFYTrainer, HPTTrainer])
@pytest.mark.usefixtures("scripted")
def test_an_experts_tokens_are_none_of_the_uncertain_ones(
    trainer_class: type, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`top_entropy_quantile=0.5` trains half of the sampled tokens, however many an expert has among the uncertain."""
    counted: list[int] = []
    chosen: list[Tensor] = []
    choose = GRPOTrainer.get_high_entropy_mask

    def watched(self: Any, entropies: Tensor, mask: Tensor, threshold: float) -> Tensor:
        counted.append(int(mask.sum()))
        chosen.append(choose(self, entropies, mask, threshold))
        return chosen[-1]

    monkeypatch.setattr(GRPOTrainer, "get_high_entropy_mask", watched)
    data = problems()
    make(out, trainer_class, data=data, top_entropy_quantile=0.5, **WHOLE).train()
    solved = [any(reward(kit.script(ids_of(q), k, LONGEST)) for k in range(G)) for q in data["prompt"]]
    kept = range(G - 1) if trainer_class is LUFFYTrainer else range(G)
    lengths = [
        len(kit.script(ids_of(prompt), k, LONGEST))
        for prompt, right in zip(data["prompt"], solved, strict=True)
        for k in kept
        if trainer_class is LUFFYTrainer or right or k  # HPT's expert takes the first place
    ]
    assert counted == [sum(lengths)]
    assert abs(int(chosen[0].sum()) - sum(lengths) / 2) <= 1


@pytest.mark.usefixtures("scripted")
def test_metrics(out: Path) -> None:
    model, data = kit.make_model(dtype=torch.float64, seed=3), problems()
    trainer = make(out, LUFFYTrainer, model=model, data=data, **WHOLE)
    costs = Recorder(out / "luffy.jsonl", "luffy")
    trainer.add_callback(costs)
    trainer.train()
    p = torch.cat([token_logps(model, ids_of(row["prompt"]), expert_ids(row)) for row in data]).detach().exp()
    assert logged(trainer, "luffy/off_policy_prob") == [pytest.approx(float(p.mean()), rel=1e-5)]
    assert logged(trainer, "luffy/off_policy_weight") == [pytest.approx(float((p / (p + 0.1)).mean()), rel=1e-5)]
    rollouts = [kit.script(ids_of(q), k, LONGEST) for q in data["prompt"] for k in range(G - 1)]
    mine, expert = sum(map(reward, rollouts)) / 12, sum(reward(expert_ids(row)) for row in data) / 4
    sampled, of_experts = sum(map(len, rollouts)), sum(len(expert_ids(row)) for row in data)
    assert costs.costs()["sampled_tokens"] == sampled  # no expert's, which is longer or shorter than a rollout
    assert costs.costs()["trained_tokens"] == sampled + of_experts
    assert logged(trainer, "luffy/expert_reward") == [pytest.approx(expert)]
    assert logged(trainer, "luffy/on_policy_reward") == [pytest.approx(mine)]
    assert logged(trainer, "luffy/expert_advantage") == [pytest.approx((G - 1) / G * (expert - mine))]

    trainer = make(out, HPTTrainer, model=model, data=data, **WHOLE)
    costs = Recorder(out / "hpt.jsonl", "hpt")
    trainer.add_callback(costs)
    trainer.train()
    taught = [row for i, row in enumerate(data) if CORRECT[i] == 0]
    nll = -torch.cat([token_logps(model, ids_of(row["prompt"]), expert_ids(row)) for row in taught]).detach().mean()
    sampled = sum(len(kit.script(ids_of(q), k, LONGEST)) for q in data["prompt"] for k in range(G))
    more = sum(len(expert_ids(row)) - len(kit.script(ids_of(row["prompt"]), 0, LONGEST)) for row in taught)
    assert costs.costs()["sampled_tokens"] == sampled
    assert costs.costs()["trained_tokens"] == sampled + more != sampled  # one rollout's place is the expert's
    assert logged(trainer, "hpt/sft_share") == [len(taught) / 4]
    assert logged(trainer, "hpt/nll") == [pytest.approx(float(nll), rel=1e-5)]
    rate = sum(reward(kit.script(ids_of(q), k, LONGEST)) for q in data["prompt"] for k in range(G)) / 16
    assert logged(trainer, "hpt/pass_rate") == [pytest.approx(rate)]


def says_what_the_expert_says(completions: list[Any], **kwargs: Any) -> list[float]:
    return [float(c[0]["content"].split() == ["a", "b", "ok"]) for c in completions]


@pytest.mark.parametrize("architecture", ["qwen2", "llama"])
@pytest.mark.parametrize("trainer_class", [LUFFYTrainer, HPTTrainer])
def test_conversations_with_real_sampling(trainer_class: type, architecture: str, out: Path) -> None:
    """What sampling never finds is learnt from the expert: its response behind a conversation, and where it ends."""
    prompts = [[{"role": "user", "content": f"solve {n}"}] for n in "1234"]
    data = Dataset.from_dict({"prompt": prompts, "expert": ["a b ok"] * 4})
    model = kit.make_model(architecture, seed=1, initializer_range=0.1)
    # At 0.03 a whim of sampling decides: f(p) has next to no gradient where p is near 0, so LUFFY cannot come back from
    # a step that has unlearnt a token (of 9 seeds 1 passed; of 9 at 0.01 all did).
    config = {"optim": "adamw_torch", "learning_rate": 0.01, "max_steps": 100, "entropy_coef": 0.001}
    trainer = make(out, trainer_class, model=model, data=data, says=says_what_the_expert_says, **WHOLE, **config)
    trainer.train()
    rates = logged(trainer, {LUFFYTrainer: "luffy/on_policy_reward", HPTTrainer: "hpt/pass_rate"}[trainer_class])
    assert rates[0] == 0.0
    assert sum(rates[-5:]) / 5 > 0.6


# ---------------------------------------------------------------- two ranks

# Two problems a rank: all of one rank's by SFT and none of the other's; all of both; LUFFY, whose ranks are alike.
ON_RANKS: dict[str, tuple[type, tuple[int, ...], dict[str, Any]]] = {
    "one rank by SFT": (HPTTrainer, (1, 3, 0, 2), {}),
    "one rank by SFT, by tokens": (HPTTrainer, (1, 3, 0, 2), {"loss_type": "dapo"}),
    "all by SFT, micro-steps": (HPTTrainer, (0, 1, 2, 3), {"gate": 4, "gradient_accumulation_steps": 2}),
    "luffy": (LUFFYTrainer, (0, 1, 2, 3), {"advantage_baseline": "on_policy"}),
    "luffy by tokens": (LUFFYTrainer, (0, 1, 2, 3), {"loss_type": "dapo", "num_iterations": 2}),
}


def run(out: Path, name: str, ranks: int) -> dict[str, Any]:
    trainer_class, rows, options = ON_RANKS[name]
    size = 16 // ranks // options.get("gradient_accumulation_steps", 1)
    layout = {"per_device_train_batch_size": size, "gradient_checkpointing": ranks > 1, "max_steps": 2}
    trainer = make(out, trainer_class, data=problems(rows), **layout, **options)
    gradients = kit.recorded(trainer).gradients
    logs = [{k: v for k, v in e.items() if "luffy/" in k or "hpt/" in k} for e in trainer.state.log_history[:-1]]
    return {"gradients": gradients, "logs": logs, "world": trainer.accelerator.num_processes}


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    directory = tmp_path_factory.mktemp("ranks")
    paths = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launcher, __file__, str(directory)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return [torch.load(directory / f"rank{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("name", ON_RANKS)
@pytest.mark.usefixtures("scripted")
def test_two_ranks_equal_one(name: str, two_ranks: list[dict[str, Any]], out: Path) -> None:
    first, second = (results[name] for results in two_ranks)
    alone = run(out, name, ranks=1)
    assert first["world"] == second["world"] == 2
    assert len(first["gradients"]) == len(alone["gradients"]) == 2
    for theirs, other, mine in zip(first["gradients"], second["gradients"], alone["gradients"], strict=True):
        assert kit.largest_gap(theirs, mine) < FLOAT32
        assert kit.largest_gap(theirs, other) == 0.0
        assert max(float(g.abs().max()) for g in mine.values()) > 1e-3
    for theirs, mine in zip(first["logs"], alone["logs"], strict=True):
        assert theirs.keys() == mine.keys() != set()
        for key in mine:
            # With micro-steps, a mean of means over tokens knows how the batch was cut.
            assert key == "hpt/nll" or theirs[key] == pytest.approx(mine[key], rel=1e-5), key


# ---------------------------------------------------------------- the expert's tokens, and what is refused


def test_expert_is_tokenized_as_a_sampled_response(out: Path) -> None:
    trainer: ExpertTrainer = make(out, LUFFYTrainer)

    def ids(prompt: Any, expert: str) -> list[str]:
        return kit.decoded(trainer._expert_ids({"prompt": prompt, "expert": expert}))

    talk = [{"role": "user", "content": "solve 1"}]
    assert ids("solve 1", " 2 ok") == ids(talk, "2 ok") == ["2", "ok", "<eos>"]
    assert ids("solve 1", "2 ok") == ["2", "ok", "<eos>"]  # "12" would be one token of prompt and response
    assert ids("solve 1", " 2 <eos> 3") == ["2", "<eos>"]
    # The template closes a turn by <end>; it ends the response where generation stops at it.
    trainer.eos_token_ids = [EOS, kit.WORDS.index("<end>")]
    assert ids(talk, "2 ok") == ["2", "ok", "<end>"]
    assert ids("solve 1", " 2 ok") == ["2", "ok", "<eos>"]
    opened = kit.CHAT.replace("'<assistant> '", "'<assistant> <think>\\n'")
    trainer.chat_template = opened
    with pytest.warns(UserWarning, match="begin the thinking with '<think>', and an expert response never ends it"):
        assert ids(talk, "<think>\n2 ok") == ["2", "ok", "<end>"]


@pytest.mark.parametrize(
    ("prompt", "expert"),
    [
        ("ask <think>\n", "<think>\nso </think> 2"),
        ("ask <think>\n", "<think>so </think> 2"),
        ("ask <think>", "<think>so </think> 2"),
        ("ask <think>\n", "\n<think>\nso </think> 2"),
        ("ask <think>\n", "so </think> 2"),
        ("ask ◁think▷", "◁think▷so ◁/think▷ 2"),
        ("ask [THINK]", "[THINK]so [/THINK] 2"),
    ],
)
def test_an_expert_goes_on_from_the_thinking_that_its_prompt_begins(prompt: str, expert: str) -> None:
    mark = begun_at_end(prompt)
    assert within_thinking(expert, mark, prompt.rpartition(mark)[2]).startswith("so ")


TURN = "{{ '<' + m['role'] + '> ' + m['content'] + ' <end> ' }}"
ASSISTANTS = "{% if m['role'] == 'assistant' %}"
# name -> (what the chat template makes of a message, how it begins the assistant's turn, expert response, prompt)
CHAT_PROMPT = [{"role": "user", "content": "solve 1"}]
RENDERED: dict[str, tuple[str, str, str, Any]] = {
    "plain text": (TURN, "<assistant>", " 2 ok", "solve 1"),
    "a token over the end of the prompt": (TURN, "<assistant>", "2 ok", "solve 1"),
    "a conversation": (TURN, "<assistant>", "2 ok", CHAT_PROMPT),
    "a response that ends itself": (TURN, "<assistant>", "2 ok <end>", CHAT_PROMPT),
    "a template that drops thinking": (
        TURN.replace("content']", "content'].split('</t>')[-1]"),
        "<assistant>",
        "3 </t> 2",
        CHAT_PROMPT,
    ),
    "a template that thinks of nothing": (
        ASSISTANTS + "{{ 'hint ' }}{% endif %}" + TURN,
        "<assistant>",
        "2",
        CHAT_PROMPT,
    ),
    "a prompt that begins the thinking": (TURN, "<assistant> <think>", "<think> 2 </think> ok", CHAT_PROMPT),
}


@pytest.mark.parametrize("name", RENDERED)
def test_sft_trains_on_the_tokens_of_the_other_baselines(name: str, out: Path) -> None:
    turn, beginning, expert, prompt = RENDERED[name]
    tokenizer = kit.make_tokenizer()
    tokenizer.add_tokens(["<think>", "</think>", "</t>"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end>"]})
    opened = f"{{% if add_generation_prompt %}}{{{{ '{beginning} ' }}}}{{% endif %}}"
    tokenizer.chat_template = f"{{% for m in messages %}}{turn}{{% endfor %}}{opened}"
    rows = Dataset.from_list([{"prompt": prompt, "strategy": "carry", "answer": "ok", "expert": expert}] * 4)
    model = kit.make_model(vocab_size=len(tokenizer))
    luffy = make(out, LUFFYTrainer, data=rows, model=model, arguments={"processing_class": tokenizer})
    before, response = luffy._tokenize_prompts([prompt])[0][0], luffy._expert_ids(rows[0])
    config = SFTConfig(str(out), use_cpu=True, report_to="none", max_steps=1, logging_steps=1)
    sft = ExpertSFTTrainer(model, config, train_dataset=rows, processing_class=tokenizer)
    assert sft.train_dataset[0] == {"input_ids": before + response, "labels": [-100] * len(before) + response}
    wanted = -token_logps(sft.model, before, response).mean().item()
    sft.train()
    assert sft.state.log_history[0]["loss"] == pytest.approx(wanted, rel=1e-5)


def test_sft_looks_at_the_longest_response_of_all_data_and_takes_two_precisions(out: Path) -> None:
    def sft(*rows: Dataset) -> ExpertSFTTrainer:
        model = kit.make_model().bfloat16()
        for name, module in model.named_modules():
            if "norm" in name:  # as PEFT prepares a model for k-bit training
                module.float()
        config = SFTConfig(str(out), use_cpu=True, bf16=True, report_to="none")
        trained, measured = rows
        tokenizer = kit.make_tokenizer()
        return ExpertSFTTrainer(model, config, train_dataset=trained, eval_dataset=measured, processing_class=tokenizer)

    short, long = (Dataset.from_list([{"prompt": "a b", "expert": " ok" * n}] * 4) for n in (2, 99))
    sft(short, short)
    for rows in ((long, short), (short, long)):
        with pytest.raises(ValueError, match="context ends at 64"):
            sft(*rows)


def responses_of(out: Path, **options: Any) -> ExpertSFTTrainer:
    rows = kit.make_problems(5).add_column("expert", [" ".join(kit.PLAIN[: 1 + 3 * i]) for i in range(5)])
    config = SFTConfig(str(out), use_cpu=True, report_to="none", save_strategy="no", max_steps=2, **options)
    return ExpertSFTTrainer(
        kit.make_model(), config, train_dataset=rows, eval_dataset=rows, processing_class=kit.make_tokenizer()
    )


def test_sft_is_measured_alike_whatever_the_size_of_a_batch(out: Path) -> None:
    found = []
    for size in (5, 1, 2, 3):
        trainer = responses_of(out, per_device_eval_batch_size=size)
        measured = trainer.evaluate()
        found.append([measured[f"eval_{name}"] for name in ("loss", "entropy", "mean_token_accuracy")])
        assert found[-1] == pytest.approx(found[0], rel=1e-5)
    every = torch.cat([token_logps(trainer.model, *split(row)) for row in trainer.eval_dataset])
    assert found[0][0] == pytest.approx(-every.mean().item(), rel=1e-5)


def test_sft_measures_no_loss_where_there_is_none(out: Path) -> None:
    trainer = responses_of(out)
    with torch.no_grad():
        next(trainer.model.parameters()).fill_(torch.nan)
    assert math.isnan(trainer.evaluate()["eval_loss"])


def test_sft_has_a_loss_outside_an_evaluation(out: Path) -> None:
    trainer = responses_of(out)
    [row] = trainer.get_eval_dataloader(trainer.eval_dataset.select([3]))
    wanted = -token_logps(trainer.model, *split(trainer.eval_dataset[3])).mean().item()
    assert trainer.compute_loss(trainer.model.eval(), row).item() == pytest.approx(wanted, rel=1e-5)


def split(row: dict[str, list[int]]) -> tuple[list[int], list[int]]:
    start = row["labels"].count(-100)
    return row["input_ids"][:start], row["input_ids"][start:]


def test_sft_says_what_max_length_cuts_off(out: Path) -> None:
    """TRL cuts without a word, and drops the rows of which nothing is left to train on."""
    with pytest.warns(UserWarning, match="max_length=4 cuts 4 of 5 expert responses off"):
        assert len(responses_of(out, max_length=4).train_dataset) == 4
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="max_length")
        responses_of(out, max_length=32)


def test_sft_refuses_to_train_on_the_prompts_of_experts(out: Path) -> None:
    with pytest.raises(ValueError, match="completion_only_loss is False, but of the column 'expert'"):
        responses_of(out, completion_only_loss=False)


@pytest.mark.parametrize("per_sequence", [False, True])
def test_put_experts_widens_a_batch(per_sequence: bool) -> None:
    """Three rows of up to 2 tokens get an expert response of 4, padded to a multiple of 3."""
    ratio = torch.full((3, 1 if per_sequence else 2), 0.5)
    batch = {
        "completion_ids": torch.tensor([[5, 6], [7, 0], [8, 9]]),
        "completion_mask": torch.tensor([[1, 1], [1, 0], [1, 1]]),
        "old_per_token_logps": torch.full((3, 2), -90.0),
        "importance_sampling_ratio": ratio,
        "sampling_per_token_logps": None,
    }
    put_experts(batch, {1: [3, 4, 5, 1]}, pad_token_id=0, multiple=3)
    assert batch["completion_ids"].tolist() == [[5, 6, 0, 0, 0, 0], [3, 4, 5, 1, 0, 0], [8, 9, 0, 0, 0, 0]]
    assert batch["completion_mask"].tolist() == [[1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]]
    assert batch["expert"].tolist() == [False, True, False]
    assert batch["old_per_token_logps"].tolist() == [[-90.0] * 2 + [0.0] * 4, [0.0] * 6, [-90.0] * 2 + [0.0] * 4]
    assert batch["importance_sampling_ratio"][1].tolist() == [1.0] * (1 if per_sequence else 6)
    assert batch["importance_sampling_ratio"][0, 0] == 0.5
    assert batch["sampling_per_token_logps"] is None


def changed(value: Any) -> Dataset:
    rows = problems((0, 1)).to_dict()
    return Dataset.from_dict({**rows, "expert": [rows["expert"][0], value]})


def numbers() -> Dataset:
    return Dataset.from_dict({**problems((0, 1)).to_dict(), "expert": [1, 2]})


REFUSED: dict[str, tuple[type, dict[str, Any], tuple[str, ...]]] = {
    "missing column": (
        LUFFYTrainer,
        {"data": problems().rename_column("expert", "solution")},
        ("no column 'expert'", "'solution'", "rename_column"),
    ),
    "missing in a stream": (
        HPTTrainer,
        {"data": problems().remove_columns("expert").to_iterable_dataset()},
        ("no column 'expert'", "expert_column"),
    ),
    "empty": (HPTTrainer, {"data": problems(())}, ("empty", "at least one problem")),
    "no expert": (LUFFYTrainer, {"data": changed(None)}, ("row 1", "None", "must be text", "Drop")),
    "blank expert": (HPTTrainer, {"data": changed(" \n")}, ("row 1", r"' \n'", "Drop")),
    "number": (HPTTrainer, {"data": numbers()}, ("row 0", "is 1 (int)", "must be text")),
    "too long": (
        LUFFYTrainer,
        {"data": changed(" a" * 8)},
        ("9 tokens with its EOS", "max_completion_length is 8", "solve 0 1", "drop"),
    ),
    "tools": (LUFFYTrainer, {"arguments": {"tools": [kit.has_ok]}}, ("LUFFYTrainer does not support `tools`",)),
    "rollout_func": (
        HPTTrainer,
        {"arguments": {"rollout_func": print}},
        ("HPTTrainer does not support `rollout_func`",),
    ),
    "straddling groups": (
        LUFFYTrainer,
        {"per_device_train_batch_size": 6},
        ("num_generations is 4", "6 * 1 = 6", "multiple of 4"),
    ),
    "loss type": (LUFFYTrainer, {"loss_type": "cispo"}, ("loss_type is 'cispo'", "'dr_grpo', 'dapo'")),
    "deviation": (LUFFYTrainer, {"scale_rewards": "group"}, ("scale_rewards is 'group'", "'none'")),
    "no scale": (LUFFYTrainer, {"scale_rewards": None}, ("scale_rewards is None", "'none'")),
    "baseline": (LUFFYTrainer, {"advantage_baseline": "batch"}, ("advantage_baseline is 'batch'", "'on_policy'")),
    "gamma": (LUFFYTrainer, {"shaping_gamma": 0.0}, ("shaping_gamma is 0.0", "above 0")),
    "gate": (HPTTrainer, {"gate": 5}, ("gate is 5", "num_generations = 4", "0 to 4")),
    "coefficient": (HPTTrainer, {"sft_coef": float("nan")}, ("sft_coef is nan", "above 0")),
    "reference model": (HPTTrainer, {"beta": 0.1}, ("beta is 0.1", "beta=0.0")),
    "reward name": (HPTTrainer, {"correctness_reward": "right"}, ("'right'", "['has_ok']")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_at_construction(name: str, out: Path) -> None:
    trainer_class, options, words = REFUSED[name]
    with pytest.raises(ValueError) as error:
        make(out, trainer_class, **options)
    for word in words:
        assert word in str(error.value)


def test_defaults_are_those_of_the_public_scripts(tmp_path: Path) -> None:
    for config_class in (LUFFYConfig, HPTConfig):
        args = config_class(output_dir=str(tmp_path), per_device_train_batch_size=8, report_to="none")
        assert (args.num_generations, args.epsilon, args.epsilon_high, args.beta) == (8, 0.2, 0.28, 0.0)
        assert (args.loss_type, args.scale_rewards, args.entropy_coef) == ("dr_grpo", "none", 0.001)


def main() -> None:
    torch.set_num_threads(1)
    GRPOTrainer._generate_single_turn = kit.scripted_turn
    directory = Path(sys.argv[1])
    results = {name: run(directory, name, ranks=2) for name in ON_RANKS}
    from accelerate import PartialState

    torch.save(results, directory / f"rank{PartialState().process_index}.pt")


if __name__ == "__main__":
    main()
