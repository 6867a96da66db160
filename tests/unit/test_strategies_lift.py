"""Lift: the interval against published values, where samples go, and what a killed run leaves."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies_kit import GOOD
from typer.testing import CliRunner

from sgpo import rewards
from sgpo.commands._strategies_lift import _print_run, judged
from sgpo.commands.strategies import app
from sgpo.models import Reply
from sgpo.rewards import Verdict
from sgpo.strategies.export import choose, export, in_order
from sgpo.strategies.halving import UNGUIDED, Interval, LiftPlan, Rate, State, advance, difference_interval
from sgpo.strategies.lift import LiftRun, lift_setup, measure_lift
from sgpo.strategies.options import ExportOptions
from sgpo.strategies.records import AnsweredCall, Key, Problem, Setup
from sgpo.strategies.schema import Strategy
from sgpo.strategies.store import Store

EXTRACT = Setup("extract", "m", "extract.v1", "abc", {})
STUDENT = lift_setup("student", ["raw", "{problem}"], {"seed": 0})


def ask(problem: Problem, strategy: Strategy | None) -> str:
    return problem.problem if strategy is None else f"{strategy.strategy}: {problem.problem}"


# --- intervals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "low", "high"),
    [  # Newcombe 1998, table II, method 10
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ],
)
def test_difference_interval_against_published_values(
    a: tuple[int, int], b: tuple[int, int], low: float, high: float
) -> None:
    assert difference_interval(Rate(*a), Rate(*b)) == pytest.approx((low, high), abs=5e-5)


def test_wilson_by_hand() -> None:
    # z^2 = 3.841459 for 95%: nothing of 4 passed is 0 to z^2 / (4 + z^2)
    assert Rate(0, 4).interval == pytest.approx((0.0, 3.841459 / 7.841459), abs=1e-6)
    assert Rate(4, 4).interval == pytest.approx((4 / 7.841459, 1.0), abs=1e-6)


RATES = st.integers(1, 60).flatmap(lambda n: st.integers(0, n).map(lambda passed: Rate(passed, n)))


@settings(deadline=None)
@given(RATES, RATES)
def test_difference_interval_holds_the_difference_and_mirrors(a: Rate, b: Rate) -> None:
    low, high = difference_interval(a, b)
    assert -1 - 1e-12 <= low <= a.value - b.value <= high <= 1 + 1e-12
    assert high - low > 0
    mirrored: Interval = difference_interval(b, a)
    assert mirrored == pytest.approx((-high, -low), abs=1e-12)


# --- where samples go ----------------------------------------------------------------------------------------------


def play(plan: LiftPlan, candidates: list[str], passes: Callable[[str, int], bool]) -> tuple[State, dict[str, int]]:
    """To the end; the last state and the samples of each arm. No sample may be wanted twice."""
    verdicts: dict[str, dict[int, bool]] = {}
    for _ in range(50):
        state = advance(plan, candidates, verdicts)
        if not state.wanted:
            return state, {arm: len(found) for arm, found in verdicts.items()}
        assert len(set(state.wanted)) == len(state.wanted)
        for arm, i in state.wanted:
            assert i not in verdicts.get(arm, {})
            verdicts.setdefault(arm, {})[i] = passes(arm, i)
    raise AssertionError("no end")


def test_halves_and_doubles_by_hand() -> None:
    # Nobody is behind beyond doubt: of 5 candidates 3 go on, then 2; 4, 8, 16 samples. Rates 3/4, 2/4, 2/4, 1/4, 1/4.
    passed = {UNGUIDED: 1, "a": 1, "b": 2, "c": 3, "d": 2, "e": 1}
    state, samples = play(LiftPlan(4, 3), list("abcde"), lambda arm, i: i % 4 < passed[arm])
    assert samples == {UNGUIDED: 16, "a": 4, "b": 16, "c": 16, "d": 8, "e": 4}
    assert state.order == ["c", "b", "d", "a", "e"]
    assert state.rounds == {"a": 1, "b": 3, "c": 3, "d": 2, "e": 1}
    assert state.rates["c"] == Rate(12, 16)
    assert state.rates["d"] == Rate(4, 8)


def test_stops_where_nothing_is_left_to_decide() -> None:
    state, samples = play(LiftPlan(4, 5), ["bad", "good", "worse"], lambda arm, i: arm == "good")
    assert samples == dict.fromkeys([UNGUIDED, "bad", "good", "worse"], 4)
    assert state.order == ["good", "bad", "worse"]


def test_one_candidate_goes_on_until_its_sign_is_clear() -> None:
    # 2 of 4 against 0 of 4 is open (Newcombe -0.086 to 0.85), 4 of 8 against 0 of 8 is not (0.081 to 0.78)
    _, samples = play(LiftPlan(4, 4), ["a"], lambda arm, i: arm == "a" and i % 2 == 0)
    assert samples == {UNGUIDED: 8, "a": 8}


def test_a_candidate_that_hurts_is_found_out() -> None:
    state, samples = play(LiftPlan(4, 4), ["a"], lambda arm, i: arm == UNGUIDED)
    assert samples == {UNGUIDED: 4, "a": 4}
    assert difference_interval(state.rates["a"], state.rates[UNGUIDED])[1] < 0


def test_no_candidates_want_no_samples() -> None:
    assert advance(LiftPlan(), [], {}).wanted == []


@settings(max_examples=150)
@given(st.integers(0, 2**32), st.integers(1, 7), st.integers(1, 5), st.integers(1, 4))
def test_any_order_of_verdicts_leads_to_the_same_end(seed: int, arms: int, first: int, rounds: int) -> None:
    draw, plan = random.Random(seed), LiftPlan(first, rounds)
    names = [f"c{i}" for i in range(arms)]
    chances = {name: draw.random() for name in [UNGUIDED, *names]}
    truth = {name: [draw.random() < chance for _ in range(plan.most)] for name, chance in chances.items()}
    whole, samples = play(plan, names, lambda arm, i: truth[arm][i])
    verdicts: dict[str, dict[int, bool]] = {}
    while wanted := advance(plan, names, verdicts).wanted:  # one at a time, any of them
        arm, i = draw.choice(wanted)
        verdicts.setdefault(arm, {})[i] = truth[arm][i]
    end = advance(plan, names, verdicts)
    assert end == whole
    assert {arm: len(found) for arm, found in verdicts.items()} == samples
    assert sorted(end.order) == sorted(names)
    assert sum(samples.values()) <= plan.most * (arms + 1)
    assert samples[UNGUIDED] == max(samples.values())
    stayed = [end.rounds[name] for name in end.order]
    assert stayed == sorted(stayed, reverse=True)
    assert end.rates[end.order[0]].n == samples[UNGUIDED]


@pytest.mark.parametrize("fields", [{"first": 0}, {"rounds": 0}, {"rounds": 17}])
def test_a_plan_that_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        LiftPlan(**fields)


# --- the store -----------------------------------------------------------------------------------------------------


def filled(path: Path, texts: Sequence[str] = ("wrong", "right", "vague"), problems: int = 3) -> Store:
    store = Store(path)
    store.add_setup(EXTRACT)
    store.add_problems(Problem(f"p{i}", f"problem {i}", "4711", "So it is 4711.") for i in range(problems))
    for i in range(problems):
        for number, text in enumerate(texts):
            parsed = Strategy(**{**GOOD, "strategy": text}).model_dump_json()
            store.record([AnsweredCall(Key(EXTRACT.id, f"p{i}", number), "ok", "", parsed, 1, 1)])
    return store


class Student:
    """Passes always with the right strategy, sometimes alone or with a vague one, never with the wrong one."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.asked: list[tuple[str, int]] = []
        self.stop_after = stop_after

    def __call__(self, prompts: Sequence[Any], seeds: Sequence[int]) -> list[Reply | None]:
        if self.stop_after is not None and len(self.asked) + len(prompts) > self.stop_after:
            raise KeyboardInterrupt
        self.asked += list(zip(prompts, seeds, strict=True))
        texts = [self.answer(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        return [None if text is None else Reply(text, "length" if text == "0" else "stop", 3, 5) for text in texts]

    @staticmethod
    def answer(prompt: str, seed: int) -> str | None:
        if prompt.startswith("long"):
            return None
        passes = prompt.startswith("right") or (not prompt.startswith("wrong") and seed % 4 == 0)
        return "4711" if passes else "0"


def verify(completions: list[str], answers: list[str]) -> list[float]:
    return [float(text == answer) for text, answer in zip(completions, answers, strict=True)]


def run(store: Store, student: Student, **more: Any) -> LiftRun:
    return measure_lift(store, student, verify, setup=STUDENT, prompt=ask, batch=7, **more)


def verdicts(store: Store) -> list[tuple[Any, ...]]:
    return store.rows("SELECT problem, subject, number, parsed FROM calls WHERE setup = ? ORDER BY 1, 2, 3", STUDENT.id)


def test_the_right_strategy_comes_first_and_the_wrong_one_is_dropped(tmp_path: Path) -> None:
    with filled(tmp_path / "s.db") as store:
        student = Student()
        found = run(store, student)
        assert found.samples == len(student.asked) == len(set(student.asked)) == len(verdicts(store))
        assert found.samples < found.uniform == 3 * 4 * 16
        (cut,) = store.rows("SELECT count(*) FROM calls WHERE outcome = 'truncated'")[0]
        assert found.cut == cut == sum(row[3] == "0" for row in verdicts(store)) > 0
        totals = store.totals(STUDENT.id)
        assert (totals["prompt_tokens"], totals["completion_tokens"]) == (5 * found.samples, 3 * found.samples)
        assert found.problems["helps"] + found.problems["open"] == 3
        for problem in store.problems():
            first, *rest = in_order(store.candidates(problem.id), "lift")
            assert first.strategy.strategy == "right"
            note = first.notes["lift"]
            assert note["place"] == 1
            assert note["guided"][0] == note["guided"][1]
            assert note["low"] <= note["lift"] <= note["high"]
            assert note["student"] == "student"
            wrong = next(c for c in rest if c.strategy.strategy == "wrong").notes["lift"]
            assert wrong["dropped"] == (wrong["unguided"][0] > 0)
            assert choose(store, problem, by="lift")[0] == first


def test_a_killed_run_repeats_nothing_and_ends_the_same(tmp_path: Path) -> None:
    with filled(tmp_path / "whole.db") as store:
        student = Student()
        run(store, student)
        expected, asked = verdicts(store), set(student.asked)
        notes = [c.notes for p in store.problems() for c in store.candidates(p.id)]
    for stop in (0, 7, 20, 41):
        path = tmp_path / f"{stop}.db"
        cut, rest = Student(stop), Student()
        with filled(path) as store, pytest.raises(KeyboardInterrupt):
            run(store, cut)
        with Store(path) as store:
            assert len(verdicts(store)) == len(cut.asked)
            again = run(store, rest)
            assert (again.before, again.samples) == (len(cut.asked), len(rest.asked))
            assert again.cut == sum(row[3] == "0" for row in expected)
            assert verdicts(store) == expected
            assert [c.notes for p in store.problems() for c in store.candidates(p.id)] == notes
        assert not set(cut.asked) & set(rest.asked)
        assert set(cut.asked) | set(rest.asked) == asked


def test_an_interrupt_ends_after_the_batch_and_loses_nothing(tmp_path: Path) -> None:
    from sgpo.models.interrupt import Interrupt

    class Pressed(Student):
        def __call__(self, prompts: Sequence[Any], seeds: Sequence[int]) -> list[Reply | None]:
            with Interrupt(lambda: "what generate has under way"):  # as every model in this process enters one
                signal.raise_signal(signal.SIGINT)
                return super().__call__(prompts, seeds)

    before = signal.getsignal(signal.SIGINT)
    with filled(tmp_path / "s.db") as store:
        found = run(store, Pressed())
        assert (found.interrupted, found.samples, len(verdicts(store))) == (True, 7, 7)
        assert signal.getsignal(signal.SIGINT) is before
        assert run(store, Student()).before == 7


def test_a_larger_plan_builds_on_a_smaller_one(tmp_path: Path) -> None:
    with filled(tmp_path / "s.db", ["vague", "vague one", "vague two"]) as store:
        small = run(store, Student(), plan=LiftPlan(2, 2))
        student = Student()
        large = run(store, student, plan=LiftPlan(2, 4))
        assert large.before == small.samples
        assert len(verdicts(store)) == small.samples + len(student.asked)


def test_strategies_that_leak_are_not_measured(tmp_path: Path) -> None:
    texts = ["right", "The answer is 4711."]
    with filled(tmp_path / "s.db", texts, problems=1) as store:
        run(store, Student())
        assert ["lift" in c.notes for c in store.candidates("p0")] == [True, False]
        run(store, Student(), check=False)
        assert all("lift" in c.notes for c in store.candidates("p0"))
    with filled(tmp_path / "leaks.db", texts[1:], problems=1) as store:
        student = Student()
        assert run(store, student).problems == {"all_leak": 1}
        assert student.asked == []


def test_a_prompt_that_does_not_fit_is_a_failure_once(tmp_path: Path) -> None:
    with filled(tmp_path / "s.db", ["long", "right"], problems=1) as store:
        run(store, Student())
        outcomes = "SELECT outcome, count(*) FROM calls WHERE setup = ? GROUP BY 1 ORDER BY 1"
        assert dict(store.rows(outcomes, STUDENT.id))["too_long"] == 4
        again = Student()
        run(store, again)
        assert again.asked == []
        assert in_order(store.candidates("p0"), "lift")[0].strategy.strategy == "right"


def test_where_every_candidate_hurts_none_is_taken(tmp_path: Path) -> None:
    class Alone(Student):
        @staticmethod
        def answer(prompt: str, seed: int) -> str | None:
            return "4711" if prompt.startswith("problem") else "0"

    with filled(tmp_path / "s.db", problems=1) as store:
        assert run(store, Alone()).problems == {"hurts": 1}
        problem = next(store.problems())
        assert choose(store, problem, by="lift") == (None, "none_helps")
        assert choose(store, problem)[1] == "ok"


def test_the_tolerance_of_a_problem_decides_what_passes(tmp_path: Path) -> None:
    seen: list[Any] = []

    def judge(completions: list[str], answers: list[str], tolerance: list[float | None]) -> list[float]:
        seen.extend(tolerance)
        return [float(each == 0.5) for each in tolerance]

    with filled(tmp_path / "s.db", ["vague"], problems=1) as store:
        problem = replace(next(store.problems()), columns={"tolerance": 0.5})
        store.add_problems([problem])
        measured = measure_lift(store, Student(), judge, setup=STUDENT, prompt=ask, plan=LiftPlan(2, 1))
        (candidate,) = store.candidates("p0")
    assert seen == [0.5] * 4
    assert (measured.samples, candidate.notes["lift"]["guided"]) == (4, [2, 2])


def test_a_verdict_for_which_the_machine_was_too_slow_is_sought_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept for ever, and a strategy would be ranked by the load of the machine."""
    real, asked = rewards.verify_batch, []

    def busy(texts: Any, golds: Any, *, timeout: float, tolerance: Any) -> list[Verdict]:
        asked.append((list(texts), timeout))
        if timeout == 2.0:
            return [Verdict(False, "timeout" if "4" in text else "different", None, 2.0) for text in texts]
        return real(texts, golds, timeout=timeout, tolerance=tolerance)

    monkeypatch.setattr(rewards, "verify_batch", busy)
    texts = ["It is \\boxed{4}.", "It is \\boxed{5}.", "It is \\boxed{4.2}."]
    assert judged(texts, ["4"] * 3, [None, None, 0.5], timeout=2.0) == [1.0, 0.0, 1.0]
    assert asked == [(texts, 2.0), ([texts[0], texts[2]], 20.0)]


def test_rewards_must_be_one_for_each_completion(tmp_path: Path) -> None:
    with filled(tmp_path / "s.db", problems=1) as store:
        with pytest.raises(ValueError, match="argument 2 is shorter"):
            measure_lift(store, Student(), lambda texts, answers: [1.0], setup=STUDENT, prompt=ask)
        assert verdicts(store) == []


def test_the_data_set_takes_the_greatest_lift(tmp_path: Path) -> None:
    out = tmp_path / "train.jsonl"
    with filled(tmp_path / "s.db") as store:
        run(store, Student())
        export(store, ExportOptions(out=out, by="lift"), str)
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert ["Strategy: right" in row["strategy"] for row in rows] == [True] * 3
        assert all(row["lift"] > 0 for row in rows)
        export(store, ExportOptions(out=out), str)
        assert ["Strategy: wrong" in json.loads(line)["strategy"] for line in out.read_text().splitlines()] == [
            True
        ] * 3
        with pytest.raises(ValueError, match="--by 'beauty'"):
            ExportOptions(out=out, by="beauty")


def test_lifts_of_two_students_in_one_data_set_are_said(tmp_path: Path) -> None:
    """A measurement of some problems leaves the notes of an earlier one with the others."""
    other = lift_setup("another student", ["t"], {"seed": 0})
    with filled(tmp_path / "s.db") as store:
        run(store, Student())
        measure_lift(store, Student(), verify, setup=other, prompt=ask, limit=1)
    arguments = ["export", str(tmp_path / "a.jsonl"), "--store", str(tmp_path / "s.db")]
    shown = CliRunner().invoke(app, [*arguments, "--by", "lift"]).output
    assert f"(6 candidates with {STUDENT.model}; 3 candidates with another student)" in " ".join(shown.split())
    assert "measurements" not in CliRunner().invoke(app, arguments).output


# --- the command ---------------------------------------------------------------------------------------------------


def lab_store(path: Path, count: int = 2) -> Path:
    """Problems that the lab's base solves with their strategy, one right and one wrong candidate each."""
    from sgpo.lab import load_problems

    with Store(path) as store:
        store.add_setup(EXTRACT)
        for problem in [p for p in load_problems("train") if p["strategy"].count("|") == 2][:count]:
            store.add_problems([Problem(problem["id"], problem["prompt"], problem["answer"], problem["expert"])])
            for number, text in enumerate(("treble | treble | treble", problem["strategy"])):
                problem_type, principle, step = text.split(" | ")
                parsed = Strategy(problem_type=problem_type, strategy=principle, steps=[step]).model_dump_json()
                store.record([AnsweredCall(Key(EXTRACT.id, problem["id"], number), "ok", "", parsed, 1, 1)])
    return path


def test_the_command_measures_a_student(tmp_path: Path) -> None:
    from sgpo.lab.model import base_path

    store = lab_store(tmp_path / "s.db")
    command = ["lift", "--student", str(base_path(0)), "--store", str(store), "--grader", "lab"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "helps 2" in done.output
    with Store(store) as opened:
        for problem in opened.problems():
            best, worst = in_order(opened.candidates(problem.id), "lift")
            assert (best.number, worst.number) == (1, 0)
            assert best.notes["lift"]["lift"] > 0.5
    again = CliRunner().invoke(app, [*command, "--batch-size", "3"])
    assert "samples: 0 drawn now" in again.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grader", "beauty"], "beauty"),
        (["--grader", "lab", "--template", "raw"], "templates of its own"),
        (["--temperature", "0"], "greedy"),
        (["--first", "0"], "--first 0"),
        (["--backend", "endpoint"], "--backend 'endpoint'"),
        (["--guided-template", "no fields"], "guided template"),
        (["--store", "missing.db"], "no store missing.db"),
        ([], "cannot be loaded"),
    ],
)
def test_bad_options_of_the_command_are_said(tmp_path: Path, arguments: list[str], message: str) -> None:
    with filled(tmp_path / "s.db"):
        pass
    command = ["lift", "--student", str(tmp_path / "none"), "--store", str(tmp_path / "s.db"), *arguments]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, ValueError)
    assert message in str(done.exception)


def test_the_command_fits_the_student_says_what_was_cut_and_counts_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sgpo.lab.model import base_path

    monkeypatch.setattr("sgpo.models.sampling.positions_of", lambda model: 24)
    with filled(tmp_path / "s.db", ["vague"], problems=1):
        pass
    asked = ["lift", "--student", str(base_path(0)), "--store", str(tmp_path / "s.db"), "--template", "raw"]
    done = CliRunner().invoke(app, [*asked, "--rounds", "1"])
    assert done.exit_code == 0, done.output
    assert "completions of at most 12 tokens (the student's context: 24)" in done.output
    with Store(tmp_path / "s.db") as store:
        (setup,) = store.rows("SELECT id FROM setups WHERE kind = 'lift'")[0]
        cut, calls = store.rows("SELECT sum(outcome = 'truncated'), count(*) FROM calls WHERE setup = ?", setup)[0]
        totals = store.totals(setup)
    assert cut > 0
    assert f"{cut} of {calls} completions were cut at 12 tokens" in done.output
    assert f"{cut} of {calls} completions" in CliRunner().invoke(app, [*asked, "--rounds", "1"]).output
    stats = json.loads(CliRunner().invoke(app, ["stats", "--store", str(tmp_path / "s.db"), "--json"]).stdout)
    (found,) = (one for one in stats["setups"] if one["kind"] == "lift")
    assert found["completion_tokens"] == totals["completion_tokens"] >= 12 * cut
    assert found["prompt_tokens"] > 0


def test_lifts_that_are_all_the_same_are_given_no_interval(capsys: pytest.CaptureFixture[str]) -> None:
    _print_run(LiftRun(best=[0.5, 0.5], samples=8), Path("s.db"), 64)
    assert "+0.500, the same on every problem;" in capsys.readouterr().out
    _print_run(LiftRun(best=[0.0, 1.0] * 20, samples=8), Path("s.db"), 64)
    assert "+0.500, 95% interval [+0.3" in capsys.readouterr().out
