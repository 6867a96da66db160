"""Rewards, problems without a strategy, logs, and failures in the middle of a run."""

import asyncio
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import trainer_kit as kit
import transformers
from packaging.version import Version
from trl import GRPOTrainer

from sgpo.trainer import metrics
from sgpo.trainer.methods import KINDS
from sgpo.trainer.rollouts import distinct

CONSTANT = {"alpha_form": "constant"}
METHODS = ("sgpo", "luffy", "hpt")


def length(completions: list[Any], **kwargs: Any) -> list[float]:
    return [len(text.split()) / 10 for text in completions]


async def slow_has_ok(completions: list[Any], **kwargs: Any) -> list[float]:
    await asyncio.sleep(0.001)
    return kit.has_ok(completions)


def logs_of(trainer: Any) -> list[dict[str, Any]]:
    """What was logged at each step."""
    return [log for log in trainer.state.log_history if "loss" in log]


# ---------------------------------------------------------------- problems without a strategy


@pytest.mark.parametrize("strategies", [[None] * 4, [""] * 4, ["  \n"] * 4, [None, "", " ", None]])
@pytest.mark.usefixtures("scripted")
def test_without_strategies_it_is_grpo(strategies: list[str | None], out: Path) -> None:
    data = kit.make_problems(4, strategies=strategies)
    ours = kit.recorded(trainer := kit.make_trainer(out, data=data))
    plain = kit.recorded(kit.make_trainer(out, data=data, trainer_class=GRPOTrainer))
    for left, right in zip(ours.gradients, plain.gradients, strict=True):
        assert kit.largest_gap(left, right) == 0.0
    for log in logs_of(trainer):
        assert log["sgpo/targets"] == log["sgpo/guided_tokens"] == 0
        assert log["sgpo/alpha"] is None
        assert log["sgpo/guided_pass_rate"] is None
        assert "sgpo/kl" not in log


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize("chat", [True, False])
def test_rewards_get_the_form_of_the_prompts_whatever_other_columns_hold(chat: bool, out: Path) -> None:
    """Which of the columns was asked for its form, hung on the seed of Python's hashes: another one on each rank."""
    kinds = set()

    def noted(completions: list[Any], **columns: Any) -> list[float]:
        kinds.update(type(each) for each in completions)
        return [0.0] * len(completions)

    other: Any = "text" if chat else [{"role": "user", "content": "a message"}]
    data = kit.make_problems(4, chat=chat)
    for name in ("messages", "completion", "chosen", "rejected"):
        data = data.add_column(name, [other] * 4)
    kit.recorded(kit.make_trainer(out, data=data, reward=noted))
    assert kinds == {list if chat else str}


@pytest.mark.usefixtures("scripted")
def test_only_problems_with_a_strategy_are_distilled(out: Path) -> None:
    """The distilled part of a mixed batch is that of its problems with a strategy, over ALL problems."""
    options = {"max_steps": 1, "grpo_weight": 0.0, **CONSTANT}
    data = kit.make_problems(4, strategies=[None, "carry", "", "shift"])
    mixed = kit.recorded(kit.make_trainer(out, data=data, per_device_train_batch_size=16, **options)).gradients[0]
    trainer = kit.make_trainer(out, data=data.select([1, 3]), per_device_train_batch_size=8, **options)
    alone = kit.recorded(trainer).gradients[0]
    assert logs_of(trainer)[0]["sgpo/targets"] == 2
    assert kit.largest_gap({n: 2 * g for n, g in mixed.items()}, alone) < 1e-5  # float32; measured 5e-7


@pytest.mark.usefixtures("scripted")
def test_a_batch_without_any_between_others(out: Path) -> None:
    """The buffer of targets must not outlive its generation batch."""
    data = kit.make_problems(6, strategies=["carry", "shift", None, None, "split", "carry"])
    trainer = kit.make_trainer(out, data=data, max_steps=3, **CONSTANT)
    trainer.train()
    targets = [log["sgpo/targets"] for log in logs_of(trainer)]
    assert targets[1] == 0
    assert targets[0] > 0
    assert targets[2] > 0
    assert ["sgpo/kl" in log for log in logs_of(trainer)] == [True, False, True]


# ---------------------------------------------------------------- rewards


@pytest.mark.usefixtures("scripted")
def test_named_reward_decides_what_is_correct(out: Path) -> None:
    """`length` shapes GRPO, `has_ok` decides; with `length` alone nothing would be above the threshold."""
    rewards = [length, kit.has_ok]
    named = kit.make_trainer(out, reward=rewards, correctness_reward="has_ok", **CONSTANT)
    named.train()
    first = kit.make_trainer(out, reward=rewards, correctness_threshold=0.9, **CONSTANT)
    first.train()
    alone = kit.make_trainer(out, reward=kit.has_ok, **CONSTANT)
    alone.train()
    for log, reference, other in zip(logs_of(named), logs_of(alone), logs_of(first), strict=True):
        for name in ("autonomous_pass_rate", "guided_pass_rate", "targets", "alpha"):
            assert log[f"sgpo/{name}"] == reference[f"sgpo/{name}"]
        assert other["sgpo/autonomous_pass_rate"] == other["sgpo/guided_pass_rate"] == 0
        assert log["rewards/length/mean"] > 0


@pytest.mark.parametrize("method", METHODS)
def test_two_rewards_of_one_name_have_metrics_of_their_own(method: str, out: Path) -> None:
    """As `reward` of two files has it: TRL would log the mean of both, and show the second one's values alone."""

    def reward(completions: list[Any], **kwargs: Any) -> list[float]:
        return [5.0] * len(completions)

    several = [reward, kit.has_digit, lambda completions, **_: [7.0] * len(completions)]
    several[2].__name__ = "reward"
    kind = KINDS[method]
    data = kit.make_problems(4).add_column("expert", [" ok"] * 4)
    args = kit.make_config(out, kind.config, max_steps=1)
    trainer = kind.trainer(kit.make_model(), several, args, data, processing_class=kit.make_tokenizer())
    trainer.train()
    log = trainer.state.log_history[0]
    assert (log["rewards/reward/mean"], log["rewards/reward_2/mean"]) == (5.0, 7.0)
    assert {len(values) for values in trainer._logs["rewards"].values()} == {8}
    assert distinct(["a", "a", "a_2", "a", "b"]) == ["a", "a_3", "a_2", "a_4", "b"]


@pytest.mark.usefixtures("scripted")
def test_async_reward_equals_the_plain_one(out: Path) -> None:
    gradients = []
    for reward in (kit.has_ok, slow_has_ok):
        gradients.append(kit.recorded(kit.make_trainer(out, reward=reward)).gradients)
    for left, right in zip(*gradients, strict=True):
        assert kit.largest_gap(left, right) == 0.0


@pytest.mark.usefixtures("scripted")
def test_rewards_see_the_problem_as_it_is(out: Path) -> None:
    """Prompts without strategy and the columns of the right problem, for guided completions too."""
    calls: list[tuple[list[Any], ...]] = []

    def watching(prompts: Any, completions: Any, completion_ids: Any, answer: Any, strategy: Any, **_: Any) -> Any:
        calls.append((prompts, completions, completion_ids, answer, strategy))
        return kit.has_ok(completions)

    data = kit.make_problems(4)
    kit.make_trainer(out, data=data, reward=watching, max_steps=1).train()
    probe, autonomous, guided = calls
    assert probe[0] == data["prompt"][:1]
    assert autonomous[0] == [prompt for prompt in data["prompt"][:2] for _ in range(4)]
    assert guided[0] == [prompt for prompt in data["prompt"][:2] for _ in range(2)]
    assert guided[4] == [strategy for strategy in data["strategy"][:2] for _ in range(2)]
    tokenizer = kit.make_tokenizer()
    for prompt, strategy, ids, k in zip(guided[0], guided[4], guided[2], (0, 1) * 2, strict=True):
        assert ids == kit.script(tokenizer(f"{prompt} hint {strategy}")["input_ids"], k, 8)
    assert guided[1] == tokenizer.batch_decode(guided[2], skip_special_tokens=True)


@pytest.mark.skipif(Version(transformers.__version__) < Version("5.13.0"), reason="no response templates before")
@pytest.mark.usefixtures("scripted")
def test_guided_messages_are_parsed_like_autonomous_ones(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer with a response template splits thoughts from content; the reward must see that for both."""
    calls: list[list[Any]] = []

    def watching(completions: Any, **_: Any) -> list[float]:
        calls.append(completions)
        return kit.has_ok(completions)

    tokenizer = kit.make_tokenizer()
    prefixes = []

    def parse(ids: list[int], prefix: list[int], tools: Any = None) -> dict[str, str]:
        prefixes.append(prefix)
        return {"role": "assistant", "content": tokenizer.decode(ids), "reasoning_content": "parsed"}

    monkeypatch.setattr(tokenizer, "response_template", {"any": "thing"}, raising=False)
    monkeypatch.setattr(tokenizer, "parse_response", parse)
    data = kit.make_problems(2, chat=True)
    kit.make_trainer(out, data=data, reward=watching, tokenizer=tokenizer, max_steps=1).train()
    _, autonomous, guided = calls
    assert len(autonomous) == 8
    assert len(guided) == 4
    assert all(message["reasoning_content"] == "parsed" for (message,) in autonomous + guided)
    assert all(kit.WORDS.index("hint") in prefix for prefix in prefixes[-4:])


def from_the_second_call(value: float | None, rows: Callable[[int], bool] = lambda row: True) -> Callable[..., Any]:
    """A reward that works when it is probed, and returns `value` for some rows of each batch."""

    def reward(completions: list[Any], **kwargs: Any) -> list[float | None]:
        verdicts = zip(completions, kit.has_ok(completions), strict=True)
        return [value if text and rows(i) else verdict for i, (text, verdict) in enumerate(verdicts)]

    return reward


def of_method(method: str, out: Path, reward: Any, **options: Any) -> Any:
    kind = KINDS[method]
    data = kit.make_problems(4).add_column("expert", [" ok a b"] * 4)
    args = kit.make_config(out, kind.config, **options)
    return kind.trainer(kit.make_model(), reward, args, data, processing_class=kit.make_tokenizer())


NOTHING = {
    "None": (from_the_second_call(None), "returned None or NaN for all 8 completions"),
    "NaN": (from_the_second_call(math.nan), "returned None or NaN for all 8 completions"),
    "infinity": (from_the_second_call(math.inf, lambda row: row == 3), "returned inf for completion 3"),
    "minus infinity": (from_the_second_call(-math.inf, lambda row: row == 3), "returned -inf for completion 3"),
    "beyond float32": (from_the_second_call(1e39), "returned inf for completion 0"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NOTHING)
@pytest.mark.usefixtures("scripted")
def test_a_batch_without_numbers_stops_the_run(name: str, method: str, out: Path) -> None:
    reward, why = NOTHING[name]
    trainer = of_method(method, out, reward)
    before = kit.weights_of(trainer.model)
    with pytest.raises(ValueError, match=rf"Step 1: the reward function 'reward' {why}"):
        trainer.train()
    assert kit.largest_gap(kit.weights_of(trainer.model), before) == 0.0


NO_NUMBERS: dict[str, Callable[[int], Any]] = {
    "nothing": lambda rows: None,
    "a number": lambda rows: 1.0,
    "texts": lambda rows: ["1.0"] * rows,
    "mappings": lambda rows: [{"score": 1}] * rows,
    "two columns": lambda rows: torch.ones(rows, 2),
    "too few": lambda rows: [1.0],
    "beyond a float": lambda rows: [10**400] * rows,
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NO_NUMBERS)
@pytest.mark.usefixtures("scripted")
def test_what_is_no_list_of_numbers_is_said_with_step_and_function(name: str, method: str, out: Path) -> None:
    def reward(completions: list[Any], **kwargs: Any) -> Any:
        return [0.0] if len(completions) == 1 else NO_NUMBERS[name](len(completions))

    with pytest.raises(ValueError, match=r"Step 1: the reward function 'reward' returned what is no list of numbers"):
        of_method(method, out, reward).train()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("scripted")
def test_all_of_several_functions_without_numbers(method: str, out: Path) -> None:
    def other(completions: list[Any], **kwargs: Any) -> list[None]:
        return [None] * len(completions)

    trainer = of_method(method, out, [from_the_second_call(None), other])
    with pytest.raises(ValueError, match=r"all reward functions \(reward, other\) returned None or NaN for all 8"):
        trainer.train()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("scripted")
def test_none_for_some_rows_is_as_in_trl(method: str, out: Path) -> None:
    """Every third row is scored by the second function alone."""
    trainer = of_method(method, out, [from_the_second_call(None, lambda row: row % 3 == 0), length])
    before = kit.weights_of(trainer.model)
    trainer.train()
    assert kit.largest_gap(kit.weights_of(trainer.model), before) > 0.0


@pytest.mark.usefixtures("scripted")
def test_one_guided_completion_of_infinite_reward(out: Path) -> None:
    def reward(completions: list[Any], **kwargs: Any) -> list[float]:
        return [
            math.inf if len(completions) == 4 and text else v
            for text, v in zip(completions, kit.has_ok(completions), strict=True)
        ]

    with pytest.raises(ValueError, match=r"Step 1: the reward function 'reward' returned inf"):
        kit.make_trainer(out, reward=reward).train()


@pytest.mark.usefixtures("scripted")
def test_no_verdict_for_a_batch_that_others_score_is_said_once(out: Path) -> None:
    trainer = kit.make_trainer(out, reward=[from_the_second_call(None), length], **CONSTANT)
    with pytest.warns(UserWarning, match="'reward', which decides what is correct, returned None or NaN") as said:
        trainer.train()
    assert len([w for w in said if "decides what is correct" in str(w.message)]) == 1
    for log in logs_of(trainer):
        assert log["sgpo/autonomous_pass_rate"] == log["sgpo/guided_pass_rate"] == log["sgpo/targets"] == 0


def test_weights_of_rewards_that_are_no_numbers(out: Path) -> None:
    with pytest.raises(ValueError, match="reward_weights holds nan"):
        kit.make_trainer(out, reward=[kit.has_ok, length], reward_weights=[1.0, math.nan])


# ---------------------------------------------------------------- completions that were cut off


def cut_turn(ends: Callable[[int], bool]) -> Callable[..., Any]:
    """In place of sampling: every completion says "ok", and the `ends`-th ones of a prompt end."""
    ok, eos, a = kit.WORDS.index("ok"), kit.WORDS.index("<eos>"), kit.WORDS.index("a")

    def turn(self: Any, prompt_ids: list[list[int]], images: Any, fields: Any, count: int, *args: Any) -> Any:
        seen: dict[tuple[int, ...], int] = {}
        rows = []
        for ids in prompt_ids:
            copy = seen[tuple(ids)] = seen.get(tuple(ids), -1) + 1
            guided = kit.WORDS.index("hint") in ids
            first = ok if guided else a
            rows.append([first, a, eos] if guided and ends(copy) else [first] * 8)
        return rows, None

    return turn


CUT = {**CONSTANT, "num_guided_generations": 4, "max_steps": 1}


@pytest.mark.parametrize("selection", ["mean", "sum", "random"])
@pytest.mark.parametrize("loss", ["kl", "sft"])
@pytest.mark.parametrize("masked", [False, True])
def test_an_ended_response_is_the_target(
    masked: bool, loss: str, selection: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cut ones are likelier by far: they repeat themselves, and the likelihood is made to say so."""
    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", cut_turn(lambda copy: copy == 2))
    options = {"distillation_loss": loss, "target_selection": selection, "mask_truncated_completions": masked}
    trainer = kit.make_trainer(out, **CUT, **options)
    monkeypatch.setattr(
        trainer, "_unguided_logps", lambda batch, found, rows: torch.tensor([-float(row % 4 == 2) for row in rows])
    )
    trainer.train()
    (log,) = logs_of(trainer)
    assert (log["sgpo/targets"], log["sgpo/targets_truncated"]) == (2, 0)
    assert log["sgpo/target_tokens"] == 2 * 3


@pytest.mark.parametrize("masked", [False, True])
def test_where_all_are_cut_off(masked: bool, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL's own test of the option: nothing ended, so no weight moves. Without it a cut one is the target."""
    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", cut_turn(lambda copy: False))
    trainer = kit.make_trainer(out, **CUT, mask_truncated_completions=masked)
    before = kit.weights_of(trainer.model)
    trainer.train()
    (log,) = logs_of(trainer)
    assert log["sgpo/targets"] == log["sgpo/targets_truncated"] == (0 if masked else 2)
    assert log["sgpo/guided_pass_rate"] == 1
    assert (kit.largest_gap(kit.weights_of(trainer.model), before) == 0.0) == masked


# ---------------------------------------------------------------- logs


@pytest.mark.usefixtures("scripted")
def test_guided_rewards_leave_no_trace_in_trls_logs(out: Path) -> None:
    def talkative(completions: list[Any], log_extra: Any, log_metric: Any, **kwargs: Any) -> list[float]:
        log_extra("said", list(completions))
        log_metric("asked", float(len(completions)))
        return kit.has_ok(completions)

    tables, logs = [], []
    for trainer_class in (kit.SGPOTrainer, GRPOTrainer):
        folder = out / trainer_class.__name__
        trainer = kit.make_trainer(folder, reward=talkative, trainer_class=trainer_class, log_completions=True)
        trainer.train()
        tables.append([pd.read_parquet(path) for path in sorted(folder.glob("completions/*.parquet"))])
        logs.append(logs_of(trainer))
    assert len(tables[0]) == 2
    for ours, theirs in zip(*tables, strict=True):
        pd.testing.assert_frame_equal(ours, theirs)
    shared = re.compile(r"rewards?[/_]?.*|completions/.*|asked|frac_reward_zero_std")
    for ours, theirs in zip(*logs, strict=True):
        names = [name for name in theirs if shared.fullmatch(name)]
        assert "asked" in names
        assert len(names) > 10
        assert {n: ours[n] for n in names} == {n: theirs[n] for n in names}


@pytest.mark.usefixtures("scripted")
def test_every_documented_metric_is_logged_with_its_value(out: Path) -> None:
    """Recounted by hand from the script for the first step (problems 0 and 1)."""
    trainer = kit.make_trainer(out, model=kit.make_model(seed=3), max_steps=2)
    trainer.train()
    log = {name.removeprefix("sgpo/"): value for name, value in logs_of(trainer)[0].items() if "sgpo/" in name}
    names = {
        *("autonomous_pass_rate", "guided_pass_rate", "alpha", "alpha_zero_fraction", "alpha_max_fraction"),
        *("targets", "targets_truncated", "target_tokens", "guided_share", "guided_tokens", "guided_tokens_saved"),
        *("kl", "kl_clipped", "clip_fraction", "entropy", "log_ratio"),
    }
    of_an_option = {"guided_grpo_weight", "guided_entropy", "guided_clip_fraction"}  # see test_guided_group.py
    documented = set(re.findall(r"``([a-z_]+)``", metrics.__doc__ or ""))
    assert documented - {"guided_rollouts"} - of_an_option == names
    assert log.keys() == names
    tokenizer, ok = kit.make_tokenizer(), kit.WORDS.index("ok")
    rates, guided_rates, alphas, tokens, prompt_tokens = [], [], [], 0, 0
    for row in kit.make_problems(2):
        plain = tokenizer(row["prompt"])["input_ids"]
        guided = tokenizer(f"{row['prompt']} hint {row['strategy']}")["input_ids"]
        autonomous, responses = [kit.script(plain, k, 8) for k in range(4)], [kit.script(guided, k, 8) for k in (0, 1)]
        rates.append(sum(ok in y for y in autonomous) / 4)
        guided_rates.append(sum(ok in y for y in responses) / 2)
        alphas.append(min(max(0.5 * (guided_rates[-1] - rates[-1]) / (rates[-1] + 0.1), 0.0), 0.8))
        tokens += sum(map(len, responses))
        prompt_tokens += 4 * len(plain) + 2 * len(guided) + sum(map(len, autonomous))
    assert log["autonomous_pass_rate"] == pytest.approx(sum(rates) / 2)
    assert log["guided_pass_rate"] == pytest.approx(sum(guided_rates) / 2)
    assert log["alpha"] == pytest.approx(sum(alphas) / 2)
    assert log["alpha_zero_fraction"] == sum(a == 0 for a in alphas) / 2
    assert log["alpha_max_fraction"] == sum(a == 0.8 for a in alphas) / 2
    assert log["targets"] == sum(a > 0 and g > 0 for a, g in zip(alphas, guided_rates, strict=True)) > 0
    assert log["guided_tokens"] == tokens
    assert (log["guided_share"], log["guided_tokens_saved"]) == (1, 0)
    last = [target for slot in trainer._sgpo.slots for target in slot if target.weight > 0]
    assert logs_of(trainer)[1]["sgpo/target_tokens"] == sum(len(target.completion_ids) for target in last) > 0
    assert logs_of(trainer)[0]["num_tokens"] == tokens + prompt_tokens
    assert log["entropy"] == logs_of(trainer)[0]["entropy"] > 0
    assert log["log_ratio"] == 0  # the policy that is trained sampled
    assert 0 < log["kl_clipped"] <= min(log["kl"], 1.0)
    assert 0 <= log["clip_fraction"] <= 1


@pytest.mark.usefixtures("scripted")
def test_log_ratio_of_stale_rollouts(out: Path) -> None:
    """Second iteration on one generation: mean of log pi - log pi_sampler, recomputed from the two weights."""
    options = {"max_steps": 2, "num_iterations": 2, "learning_rate": 0.2}
    model = kit.make_model(seed=3)
    trainer = kit.make_trainer(out, model=model, data=kit.make_problems(2), **options)
    weights = kit.recorded(trainer).weights
    tokenizer, sums, count = kit.make_tokenizer(), [], 0
    for state in weights:
        model.load_state_dict(state, strict=False)
        total, count = 0.0, 0
        for row in kit.make_problems(2):
            plain = tokenizer(row["prompt"])["input_ids"]
            for y in (kit.script(plain, k, 8) for k in range(4)):
                with torch.no_grad():
                    logits = model(input_ids=torch.tensor([plain + y])).logits[0, len(plain) - 1 : -1]
                total += float(torch.log_softmax(logits, -1)[range(len(y)), y].sum())
                count += len(y)
        sums.append(total)
    first, second = (log["sgpo/log_ratio"] for log in logs_of(trainer))
    assert first == pytest.approx(0, abs=1e-6)
    assert abs(second) > 1e-3
    assert second == pytest.approx((sums[1] - sums[0]) / count, rel=1e-3)


# ---------------------------------------------------------------- failures


def failing_after(calls: int) -> Callable[..., list[float]]:
    done = [0]

    def fragile(completions: list[Any], **kwargs: Any) -> list[float]:
        done[0] += 1
        if done[0] > calls:
            raise ConnectionError("the verifier is gone")
        return kit.has_ok(completions)

    return fragile


@pytest.mark.usefixtures("scripted")
def test_reward_that_fails_mid_run_loses_no_checkpoint(out: Path) -> None:
    """Steps 1 to 3 take a probe and two calls each; step 4 fails; resuming from step 3 ends where a whole run does."""
    saving = {"save_strategy": "steps", "save_steps": 1, "max_steps": 5, "optim": "adamw_torch"}
    broken = kit.make_trainer(out / "broken", reward=failing_after(7), **saving)
    with pytest.raises(ConnectionError, match="the verifier is gone") as error:
        broken.train()
    assert error.value.__notes__[0].startswith("Step 4: the reward function 'fragile' raised it.")
    assert sorted(path.name for path in (out / "broken").glob("checkpoint-*")) == [f"checkpoint-{i}" for i in (1, 2, 3)]
    whole = kit.make_trainer(out / "whole", **saving)
    whole.train()
    resumed = kit.make_trainer(out / "broken", model=kit.make_model(seed=8), **saving)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 5
    assert kit.largest_gap(kit.weights_of(resumed.model), kit.weights_of(whole.model)) == 0.0


@pytest.mark.usefixtures("scripted")
def test_a_failure_leaves_the_trainer_usable(out: Path) -> None:
    trainer = kit.make_trainer(out, reward=failing_after(2))
    with pytest.raises(ConnectionError):
        trainer.train()
    assert trainer._sgpo.batch is None
    assert not trainer._pending_metrics


@pytest.mark.usefixtures("scripted")
def test_checkpoint_of_a_live_teacher_is_not_one_of_an_ema(out: Path) -> None:
    kit.make_trainer(out, save_strategy="steps", save_steps=1, max_steps=1).train()
    with pytest.raises(ValueError, match="written with teacher='live'"):
        kit.make_trainer(out, teacher="ema").train(resume_from_checkpoint=str(out / "checkpoint-1"))


@pytest.mark.usefixtures("scripted")
def test_evaluation_neither_guides_nor_distils(out: Path) -> None:
    trainer = kit.make_trainer(out, per_device_eval_batch_size=4, max_steps=1)
    trainer.eval_dataset = kit.make_problems(2).remove_columns("strategy")
    trainer.train()
    slots, gathered = trainer._sgpo.slots, trainer._metrics["train"].keys()
    result = trainer.evaluate()
    assert math.isfinite(result["eval_loss"])
    assert trainer._sgpo.slots is slots
    assert not any(name.startswith("sgpo/") for name in gathered)


@pytest.mark.usefixtures("scripted")
def test_each_of_several_evaluation_sets_has_metrics_of_its_own(out: Path) -> None:
    """TRL's stand under one name, so that the best checkpoint is that of the last set."""
    alone = [kit.make_trainer(out, arguments={"eval_dataset": kit.make_problems(n)}).evaluate() for n in (2, 5)]
    sets = {"eval_dataset": {"easy": kit.make_problems(2), "all": kit.make_problems(5)}}
    saving = {"eval_strategy": "steps", "save_strategy": "steps", "load_best_model_at_end": True, "max_steps": 1}
    trainer = kit.make_trainer(out, arguments=sets, metric_for_best_model="easy_reward", **saving)
    found = trainer.evaluate()
    assert "eval_reward" not in found
    assert [found["eval_easy_reward"], found["eval_all_reward"]] == [one["eval_reward"] for one in alone]
    trainer.train()
    assert trainer.state.best_metric == alone[0]["eval_reward"]
    with pytest.raises(ValueError, match=r"'reward', but eval_dataset has several data sets.*'easy_reward'"):
        kit.make_trainer(out, arguments=sets, metric_for_best_model="reward", **saving)


@pytest.mark.parametrize("method", sorted(KINDS))
def test_an_evaluation_that_was_interrupted_is_no_part_of_the_next_one(method: str, out: Path) -> None:
    """Nor is a `predict`, whose metrics TRL logs with those of the next evaluation."""
    kind, rows = KINDS[method], kit.make_problems(4).add_column("expert", ["a", "a b c", "d", "e f g"])
    given = {"train_dataset": rows, "eval_dataset": rows, "processing_class": kit.make_tokenizer()}
    rewards = [1.0]
    if method == "sft":
        args = kind.config(str(out), use_cpu=True, report_to="none", per_device_eval_batch_size=1)
    else:
        args = kit.make_config(out, kind.config, per_device_eval_batch_size=4)
        given["reward_funcs"] = lambda completions, **_: [rewards[0]] * len(completions)
    trainer, name = kind.trainer(kit.make_model(), args=args, **given), "entropy" if method == "sft" else "reward"
    wanted, step = trainer.evaluate()[f"eval_{name}"], trainer.prediction_step

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        rewards[0] += 1
        if rewards[0] == 3:
            raise KeyboardInterrupt
        return step(*args, **kwargs)

    trainer.prediction_step = interrupted
    with pytest.raises(KeyboardInterrupt):
        trainer.evaluate()
    trainer.prediction_step = step
    if method != "sft":
        trainer.predict(rows)
    rewards[0] = 1.0
    assert trainer.evaluate()[f"eval_{name}"] == wanted
