"""Runs with a folder: what is saved, what a resumed run asks for again, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sgpo.commands._evaluate import print_diff
from sgpo.data.benchmarks import BenchmarkError, BenchmarkProblem
from sgpo.data.prompts import guided_prompt
from sgpo.evaluation.diff import eval_difference
from sgpo.evaluation.grading import RewardGrader, VerifyGrader, votes
from sgpo.evaluation.metrics import bootstrap_interval
from sgpo.evaluation.options import EvalOptions
from sgpo.evaluation.planning import Embedded, plan_benchmark
from sgpo.evaluation.run import EvalPlan, describe, run_evaluation
from sgpo.evaluation.store import SettingsError, compared_differences, open_run
from sgpo.evaluation.templates import TEMPLATES, Template, build_prompts, load_strategies, load_template
from sgpo.models import Answered, Key, Reply, Request, Sampling
from sgpo.models.batched import Batched
from sgpo.models.protocol import template_settings
from sgpo.runs import provenance
from sgpo.runs.files import InUseError, ReadError

PROBLEMS = [
    BenchmarkProblem(f"p{i}", f"{i} + {i}", str(2 * i), group="even" if i % 2 == 0 else "odd") for i in range(6)
]
PLAN = EvalPlan("sums", "here", PROBLEMS, TEMPLATES["raw"], k=3, sampling=Sampling(1.0, 1.0, 10))


class Stop(Exception):
    """What stands for kill -9."""


class Script(Batched):
    """A backend whose answers depend on the request alone: right where the seed is even; one portion a problem."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__(PLAN.sampling, 4)
        self.asked: list[Key] = []
        self.stop_after = stop_after
        self.weights = "w1"

    def describe(self) -> dict[str, Any]:
        return {"kind": "script", "weights": self.weights}

    def generate(self, requests: Sequence[Request], answered: Collection[Key] = ()) -> Iterator[Answered]:
        missing = [request for request in requests if request.key not in answered]
        for start in range(0, len(missing), 4):
            if self.stop_after is not None and len(self.asked) >= self.stop_after:
                raise Stop
            portion = missing[start : start + 4]
            self.asked += [request.key for request in portion]
            yield [(request, answer(request)) for request in portion]


def answer(request: Request) -> Reply:
    gold = 2 * int(request.problem[1:])
    value = gold if request.seed % 2 == 0 else gold + 1
    return Reply(f"So it is \\boxed{{{value}}}.", "length" if request.sample == 2 else "stop", 5 + request.sample)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_everything_is_saved_and_adds_up(tmp_path: Path) -> None:
    seen: list[tuple[int, int, float]] = []
    result = run_evaluation(PLAN, "m", Script(), VerifyGrader(), tmp_path, report=lambda *at: seen.append(at))
    responses, verdicts = lines(tmp_path / "responses.jsonl"), lines(tmp_path / "verdicts.jsonl")
    keys = [(f"p{i}", j) for i in range(6) for j in range(3)]
    assert [(row["problem"], row["sample"]) for row in responses] == keys
    assert [(row["problem"], row["sample"]) for row in verdicts] == keys
    right = [row["seed"] % 2 == 0 for row in responses]
    assert [row["correct"] for row in verdicts] == [float(one) for one in right]
    assert 0 < sum(right) < 18
    assert result.accuracy == pytest.approx(sum(right) / 18)
    assert result.truncated == pytest.approx(1 / 3)
    assert (result.mean_length, result.sampled_tokens) == (6.0, 108)
    assert seen[0] == (0, 18, 0.0)
    assert seen[-1] == (18, 18, pytest.approx(sum(right) / 18))
    saved = json.loads((tmp_path / "results.json").read_text())
    assert saved["accuracy"] == result.accuracy
    assert saved["pass_at_k"].keys() == {"1", "2", "3"}
    assert saved["problems"][3]["score"] == pytest.approx(sum(right[9:12]) / 3)
    assert sum(saved["reasons"].values()) == 18
    prompts = lines(tmp_path / "prompts.jsonl")
    assert prompts[1] == {"id": "p1", "problem": "1 + 1", "prompt": "1 + 1", "gold": "2", "family": "odd"}
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings["sampling"] == {"k": 3, "seed": 0, "temperature": 1.0, "top_p": 1.0, "max_new_tokens": 10}
    assert settings["grader"]["name"] == "verify"


@pytest.mark.parametrize("stop_after", [4, 8, 16])
def test_a_resumed_run_repeats_nothing_and_writes_the_same_results(tmp_path: Path, stop_after: int) -> None:
    run_evaluation(PLAN, "m", Script(), VerifyGrader(), tmp_path / "whole")
    first, second = Script(stop_after), Script()
    with pytest.raises(Stop):
        run_evaluation(PLAN, "m", first, VerifyGrader(), tmp_path / "cut")
    assert not (tmp_path / "cut" / "results.json").exists()
    run_evaluation(PLAN, "m", second, VerifyGrader(), tmp_path / "cut")
    assert not set(first.asked) & set(second.asked)
    assert len(first.asked) + len(second.asked) == 18
    assert (tmp_path / "cut" / "results.json").read_bytes() == (tmp_path / "whole" / "results.json").read_bytes()
    third = Script(0)
    run_evaluation(PLAN, "m", third, VerifyGrader(), tmp_path / "cut")
    assert third.asked == []


def test_a_torn_line_is_asked_for_again(tmp_path: Path) -> None:
    run_evaluation(PLAN, "m", Script(), VerifyGrader(), tmp_path)
    whole = (tmp_path / "results.json").read_bytes()
    for name in ("responses.jsonl", "verdicts.jsonl"):
        text = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(text[:-9])
    (tmp_path / "results.json").unlink()
    again = Script()
    run_evaluation(PLAN, "m", again, VerifyGrader(), tmp_path)
    assert again.asked == [("p5", 2)]
    assert (tmp_path / "results.json").read_bytes() == whole
    run_evaluation(PLAN, "m", Script(0), VerifyGrader(), tmp_path)  # and the file is whole again


def test_responses_without_a_verdict_are_graded_and_not_asked_for(tmp_path: Path) -> None:
    run_evaluation(PLAN, "m", Script(), VerifyGrader(), tmp_path)
    whole = (tmp_path / "results.json").read_bytes()
    rows = (tmp_path / "verdicts.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "verdicts.jsonl").write_text("".join(rows[:7]))
    again = Script()
    run_evaluation(PLAN, "m", again, VerifyGrader(), tmp_path)
    assert again.asked == []
    assert (tmp_path / "results.json").read_bytes() == whole


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    run_evaluation(PLAN, "m", Script(), VerifyGrader(), tmp_path)
    rows = (tmp_path / "responses.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "responses.jsonl").write_text("".join([rows[0], "{broken\n", *rows[2:]]))
    with pytest.raises(ReadError, match=r"responses.jsonl, line 2: not valid JSON"):
        run_evaluation(PLAN, "m", Script(), VerifyGrader(), tmp_path)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [("responses.jsonl", "problem", 3), ("responses.jsonl", "text", ...), ("verdicts.jsonl", "correct", "yes")],
)
def test_a_saved_line_without_what_it_needs_is_named(tmp_path: Path, name: str, field: str, value: Any) -> None:
    grader = RewardGrader("all", lambda completions, answer: [1.0] * len(completions))
    run_evaluation(PLAN, "m", Script(), grader, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
    rows[1] = {key: one for key, one in {**rows[1], field: value}.items() if one is not ...}
    (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ReadError, match=rf"{name}, line 2: it has no '{field}'.*remove the line"):
        run_evaluation(PLAN, "m", Script(), grader, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 4}, "sampling.k: 3 saved, 4 given"),
        ({"seed": 1}, "sampling.seed: 0 saved, 1 given"),
        ({"template": TEMPLATES["qwen"]}, 'template.chat: false saved, true given; template.name: "raw" saved, "qwen"'),
        ({"problems": PROBLEMS[:5]}, "benchmark.problems: 6 saved, 5 given; benchmark.sha256"),
        ({"problems": [*PROBLEMS[:5], replace(PROBLEMS[5], answer="11")]}, r"\(benchmark.sha256"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    run_evaluation(PLAN, "m", Script(), VerifyGrader(), tmp_path)
    before = (tmp_path / "responses.jsonl").read_bytes()
    with pytest.raises(SettingsError, match=message):
        run_evaluation(replace(PLAN, **change), "m", Script(), VerifyGrader(), tmp_path)
    assert (tmp_path / "responses.jsonl").read_bytes() == before


def test_a_field_that_is_new_leaves_saved_runs_as_they_are() -> None:
    """A folder of an earlier version, whose problems had no prompts, is gone on with, and so is a comparison."""
    saved = "611e94d483f4a843fce71e5a80f6082b2e3ddc967270d8184b52be0f24db736a"
    assert describe(PLAN, "m", Script(), VerifyGrader())["benchmark"]["sha256"] == saved
    given = replace(PROBLEMS[0], prompt=[{"role": "user", "content": "1"}])
    assert given.content() != PROBLEMS[0].content()


def test_other_weights_under_the_same_name_are_refused(tmp_path: Path) -> None:
    run_evaluation(PLAN, "m", Script(), VerifyGrader(), tmp_path)
    other = Script()
    other.weights = "w2"
    with pytest.raises(SettingsError, match=r'backend.weights: "w1" saved, "w2" given'):
        run_evaluation(PLAN, "m", other, VerifyGrader(), tmp_path)


def test_weights_that_an_older_version_did_not_save_are_not_compared() -> None:
    saved, given = {"backend": {"kind": "vllm"}}, {"backend": {"kind": "vllm", "weights": "w1"}}
    assert compared_differences(saved, given) == {}
    assert compared_differences(given, {"backend": {"kind": "vllm", "weights": "w2"}}) == {
        "backend.weights": ('"w1"', '"w2"')
    }
    # Nor did one save the commit of a hub's model for which no revision was asked.
    hub: list[Any] = [{"backend": {"kind": "transformers", "revision": each}} for each in (None, "a" * 40, "b" * 40)]
    assert compared_differences(hub[0], hub[1]) == {}
    assert list(compared_differences(hub[1], hub[2])) == ["backend.revision"]


def test_a_folder_without_responses_takes_other_settings(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        run_evaluation(replace(PLAN, seed=1, template=TEMPLATES["qwen"]), "m", Script(0), VerifyGrader(), tmp_path)
    run_evaluation(PLAN, "m", Script(), VerifyGrader(), tmp_path)
    assert json.loads((tmp_path / "settings.json").read_text())["sampling"]["seed"] == 0
    assert lines(tmp_path / "prompts.jsonl")[1]["prompt"] == "1 + 1"


def test_a_folder_is_for_one_process_and_one_kind_of_thing(tmp_path: Path) -> None:
    with (
        open_run(tmp_path / "a", {}),
        pytest.raises(InUseError, match="in use by process"),
        open_run(tmp_path / "a", {}),
    ):
        pass
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "results.json").write_text("{}")
    with pytest.raises(SettingsError, match=r"no settings\.json"), open_run(tmp_path / "b", {}):
        pass


def test_what_would_fail_later_fails_before_the_model_is_asked(tmp_path: Path) -> None:
    bad = replace(PLAN, problems=[*PROBLEMS, BenchmarkProblem("x", "q", "$$")])
    script = Script()
    with pytest.raises(BenchmarkError, match=r"1 gold answer\(s\) cannot be graded \(x: .*--allow-bad-golds"):
        run_evaluation(bad, "m", script, VerifyGrader(), tmp_path)
    with pytest.raises(ValueError, match="k = 0"):
        run_evaluation(replace(PLAN, k=0), "m", script, VerifyGrader(), tmp_path)
    with pytest.raises(ValueError, match=r"6 of 6 problems have no strategy \(the first: p0, p1, p2\).*--common"):
        run_evaluation(replace(PLAN, guided=True), "m", script, VerifyGrader(), tmp_path)
    assert script.asked == []
    assert list(tmp_path.iterdir()) == []


def test_results_of_responses_that_were_taken_out_do_not_stand_beside_new_ones(tmp_path: Path) -> None:
    run_evaluation(PLAN, "m", Script(), VerifyGrader(), tmp_path)
    lines = (tmp_path / "responses.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "responses.jsonl").write_bytes(b"".join(lines[:-4]))
    with pytest.raises(Stop):
        run_evaluation(PLAN, "m", Script(stop_after=0), VerifyGrader(), tmp_path)
    assert not (tmp_path / "results.json").exists()


def test_bad_golds_can_count_as_wrong(tmp_path: Path) -> None:
    only = replace(PLAN, problems=[BenchmarkProblem("p1", "q", "$$")], allow_bad_golds=True)
    result = run_evaluation(only, "m", Script(), VerifyGrader(), tmp_path)
    assert (result.accuracy, result.n_problems) == (0.0, 1)


def test_hostile_responses_are_saved_and_wrong(tmp_path: Path) -> None:
    texts = [
        "",
        "\x00\x01\x7f\ud800",
        "\\boxed{" * 1000,
        "x" * 2_000_000,
        "a\r\nb\u2028c \\boxed{0",
        "\\boxed{10^{10^{10}}}",
    ]

    class Hostile(Script):
        def generate(self, requests: Sequence[Request], answered: Collection[Key] = ()) -> Iterator[Answered]:
            missing = [request for request in requests if request.key not in answered]
            yield [(r, Reply(text)) for r, text in zip(missing, texts, strict=True)]

    plan = replace(PLAN, k=1)
    result = run_evaluation(plan, "m", Hostile(), VerifyGrader(), tmp_path)
    assert result.accuracy == 0.0
    assert result.mean_length is None
    assert [row["text"] for row in lines(tmp_path / "responses.jsonl")] == texts
    run_evaluation(plan, "m", Hostile(), VerifyGrader(), tmp_path)


def test_time_outs_are_counted_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sgpo.rewards
    from sgpo.rewards import Verdict

    def verify_batch(responses: list[str], golds: list[str], **options: Any) -> list[Verdict]:
        assert options["timeout"] == 0.5
        return [Verdict(False, "timeout" if i == 0 else "different", "1", 0.5) for i in range(len(responses))]

    monkeypatch.setattr(sgpo.rewards, "verify_batch", verify_batch)
    result = run_evaluation(PLAN, "m", Script(), VerifyGrader(timeout=0.5), tmp_path)
    assert result.timed_out == 5  # the first of each portion of 4
    assert json.loads((tmp_path / "results.json").read_text())["reasons"] == {"different": 13, "timeout": 5}


def test_tolerance_unit_and_several_answers_of_olympiadbench() -> None:
    problems = [
        BenchmarkProblem("a", "q", "4.2", tolerance=0.1, unit="%"),
        BenchmarkProblem("b", "q", "$-2,0,2$", multiple=True),
        BenchmarkProblem("c", "q", ["1", "3"], multiple=True),
        BenchmarkProblem("d", "q", "45", unit="minute"),
        BenchmarkProblem("e", "q", "$\\frac{41}{12}$", unit="km"),
        BenchmarkProblem("f", "q", "$166$", unit="$cm^2$"),
        BenchmarkProblem("g", "q", "90", unit="^{\\circ}"),
        BenchmarkProblem("h", "q", "$\\frac{600}{7}$", unit="km/h"),
    ]
    cases = [
        ("a", "4.25", True),
        ("a", "4.35", False),
        ("a", "4.2\\%", True),
        ("b", "2, 0, -2", True),
        ("b", "2, 0", False),
        ("c", "3 \\text{ and } 1", True),
        ("c", "3", False),
        ("d", "45", True),
        ("d", "45 \\text{ minutes}", True),
        ("d", "46 \\text{ minutes}", False),
        ("d", "45 \\text{ hours}", False),
        ("e", "\\frac{41}{12}", True),
        ("e", "\\frac{41}{12} \\mathrm{~km}", True),
        ("e", "\\frac{41}{12} \\text{ miles}", False),
        ("f", "166", True),
        ("f", "166\\,\\mathrm{cm}^2", True),
        ("f", "166\\text{ m}^2", False),
        ("g", "90", True),
        ("g", "90^\\circ", True),
        ("g", "91^\\circ", False),
        ("h", "\\frac{600}{7}\\,\\mathrm{km}/\\mathrm{h}", True),
        ("h", "\\frac{600}{7}\\text{ mph}", False),
    ]
    by_id = {problem.id: problem for problem in problems}
    marks = VerifyGrader().grade([f"\\boxed{{{text}}}" for _, text, _ in cases], [by_id[name] for name, _, _ in cases])
    assert [bool(mark.correct) for mark in marks] == [right for _, _, right in cases]


def test_reward_functions_grade_too() -> None:
    grader = RewardGrader("half", lambda texts, answer: [0.5 * (text == answer[0]) for text in texts])
    marks = grader.grade(["0", "1"], PROBLEMS[:2])
    assert [mark.correct for mark in marks] == [0.5, 0.0]
    with pytest.raises(ValueError, match=r"'double' gave 2 for 'p0'; a verdict must be 0 to 1"):
        RewardGrader("double", lambda completions, answer: [2]).grade(["0"], PROBLEMS[:1])


def test_answers_that_are_equal_vote_together() -> None:
    said = [" $\\dfrac{1}{2}$ .", "0.5", "(1, 2)", None, "\\left( 1,2 \\right)", "", "7", "\\frac12"]
    found = votes(said, [0.0] * len(said))
    assert found == [said[0], said[0], "(1, 2)", None, "(1, 2)", None, "7", said[0]]
    # Within a tolerance two answers may be right and differ.
    assert votes(["3.14", "3.15", "4"], [1.0, 1.0, 0.0]) == ["3.14", "3.14", "4"]


def test_templates() -> None:
    assert TEMPLATES["raw"].prompt("a {problem} b") == "a {problem} b"
    assert TEMPLATES["instruct"].prompt("{x} \\1") == [
        {
            "role": "user",
            "content": "{x} \\1\n\nPlease reason step by step, and put your final answer within \\boxed{}.",
        }
    ]
    system, user = TEMPLATES["qwen"].prompt("p")
    assert (system["role"], user) == ("system", {"role": "user", "content": "p"})  # type: ignore[index]
    assert "<think>" in TEMPLATES["luffy"].prompt("p")[0]["content"]  # type: ignore[index]


def test_templates_from_files(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("Q: {problem}\nA:")
    assert load_template(str(tmp_path / "t.txt")).prompt("p") == [{"role": "user", "content": "Q: p\nA:"}]
    (tmp_path / "t.json").write_text('{"user": "{problem}!", "chat": false}')
    assert load_template(str(tmp_path / "t.json")).prompt("p") == "p!"
    for text, message in (
        ("{", "not valid JSON"),
        ('{"user": "{problem}", "sytem": "s"}', "give a JSON object with user"),
        ('{"user": "none"}', "exactly once"),
        ('{"user": "{problem}", "system": "s", "chat": false}', "needs chat = true"),
    ):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            load_template(str(tmp_path / "bad.json"))
    with pytest.raises(ValueError, match=r"'none' is neither a file nor one of instruct, qwen, luffy, plain, raw"):
        load_template("none")
    with pytest.raises(ValueError, match="exactly once"):
        Template("x", user="{problem} {problem}")


def test_strategies_of_other_problems_are_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"id": "p1", "problem": "1 + 1", "answer": "2", "strategy": "its own"}\n')
    (tmp_path / "s.jsonl").write_text('{"id": "q1", "strategy": "t"}\n')
    options = EvalOptions(data=tmp_path / "p.jsonl", strategies=tmp_path / "s.jsonl")
    embedded = Embedded("lab", "", list, {}, VerifyGrader())
    with pytest.raises(ValueError, match=r"strategies for none of the problems .an id there is 'q1', here 'p1'"):
        plan_benchmark(options, "math500", embedded)


def test_strategies_of_some_problems_are_mixed_with_those_of_the_data_and_it_is_said(tmp_path: Path) -> None:
    problems = [{"id": f"p{i}", "problem": f"{i} + 1", "answer": str(i + 1), "strategy": "its own"} for i in range(3)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    embedded, said = Embedded("lab", "", list, {}, VerifyGrader()), []
    for ids in (["p0", "p1", "p2"], ["p1", "q1", "q2"]):
        (tmp_path / "s.jsonl").write_text("".join(json.dumps({"id": i, "strategy": "t"}) + "\n" for i in ids))
        options = EvalOptions(data=tmp_path / "p.jsonl", strategies=tmp_path / "s.jsonl", k=1)
        plan, grader = plan_benchmark(options, "math500", embedded)
        run_evaluation(plan, "m", Script(), grader, tmp_path / ids[0], say=said.append)
    assert [problem.strategy for problem in plan.problems] == ["its own", "t", "its own"]
    assert said == [
        f"{tmp_path / 's.jsonl'}: 2 of 3 problems are not in it and keep the strategy of the data; "
        "2 of its 3 strategies are for no problem here."
    ]


def test_problems_that_stand_twice_are_said(tmp_path: Path) -> None:
    """As in files that repeat AIME 32 times: bootstrapped as so many problems, an interval is far too narrow."""
    rows = [{"problem": f"{i % 3} + 1", "answer": "1"} for i in range(6)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    embedded = Embedded("lab", "", list, {}, VerifyGrader())
    remarks = [
        plan_benchmark(EvalOptions(data=tmp_path / "p.jsonl", limit=limit), "p", embedded)[0].remark
        for limit in (None, 3)
    ]
    assert remarks[0].startswith(f"{tmp_path / 'p.jsonl'}: 3 of 6 problems repeat another one.")
    assert "--k" in remarks[0]
    assert remarks[1] == ""


def test_guided_prompts(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text(
        '{"id": "p1", "strategy": "Double {it}."}\n\n{"problem_id": 2, "strategy": "t"}\n'
    )
    assert load_strategies(tmp_path / "s.jsonl") == {"p1": "Double {it}.", "2": "t"}
    problem = replace(PROBLEMS[1], strategy="Double {it}.")
    raw = build_prompts([problem], TEMPLATES["raw"], guided=True, guided_template="S {strategy} Q {prompt}")
    assert raw == ["S Double {it}. Q 1 + 1"]
    [chat] = build_prompts([problem], TEMPLATES["qwen"], guided=True)
    assert chat[0] == TEMPLATES["qwen"].prompt("x")[0]
    assert "Double {it}." in chat[1]["content"]  # type: ignore[index]
    with pytest.raises(ValueError, match="must contain"):
        build_prompts([problem], TEMPLATES["raw"], guided=True, guided_template="{strategy}")
    for text, message in (
        ('{"id": "a"}\n', "line 1: needs 'id' and a 'strategy'"),
        ('{"id": "a", "strategy": "s"}\n{"id": "a", "strategy": "s"}\n', "line 2: a second strategy"),
        ("", "no strategies"),
    ):
        (tmp_path / "bad.jsonl").write_text(text)
        with pytest.raises(ValueError, match=message):
            load_strategies(tmp_path / "bad.jsonl")


def test_a_context_that_ends_before_the_limit_is_said(tmp_path: Path) -> None:
    """As of Qwen2.5-Math: 4,096 positions, and the protocol's limit is 32,768 tokens."""
    for positions, heard in ((10, True), (11, False), (None, False)):
        backend, said = Script(), []
        backend.positions = positions
        run_evaluation(PLAN, "m", backend, VerifyGrader(), tmp_path / str(positions), say=said.append)
        assert any("has 10 positions for prompt and response" in line for line in said) == heard


def test_variables_of_the_training_that_are_left_out_are_said(tmp_path: Path) -> None:
    """As of Qwen3: a policy that was trained without thinking would be measured with it."""
    training = {"chat_template_kwargs": {"enable_thinking": False}}
    provenance.record(tmp_path / "run", {"run": {}, "training": training, "model": {}})
    heard = []
    for model, given in (("run", {}), ("run/checkpoint-3", {}), ("run", {"enable_thinking": True}), ("elsewhere", {})):
        said: list[str] = []

        class Given(Script):
            def describe(self, given: Any = given) -> dict[str, Any]:
                return {**super().describe(), **template_settings(given)}

        path = str(tmp_path / model)
        run_evaluation(PLAN, path, Given(), VerifyGrader(), tmp_path / str(len(heard)), say=said.append)
        line = f'{path} was trained with chat_template_kwargs {{"enable_thinking": false}}'
        remedy = """Give --chat-template-kwargs '{"enable_thinking": false}'."""
        heard.append(any(each.startswith(line) and each.endswith(remedy) for each in said))
    assert heard == [True, True, False, False]


def test_messages_of_the_data_are_asked_as_they_are(tmp_path: Path) -> None:
    """A file of training rows is measured with the prompts of training; --template would make others."""
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 3?"}]
    whole, text = {"prompt": turns, "answer": "5", "strategy": "Add."}, {"problem": "1 + 1", "answer": "2"}
    path, embedded = tmp_path / "p.jsonl", Embedded("lab", "", list, {}, VerifyGrader())

    def planned(rows: list[dict[str, Any]], **options: Any) -> EvalPlan:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        plan, grader = plan_benchmark(EvalOptions(data=path, **options), "p", embedded)
        plan.check(grader)
        return plan

    plan = planned([whole])
    assert plan.check(VerifyGrader()) == [turns]
    named = [{"role": "developer", "content": "Be brief."}, {"role": "user", "name": "Ann", "content": "1 + 1?"}]
    assert planned([{"prompt": named, "answer": "2"}]).check(VerifyGrader()) == [named]
    assert (plan.template.name, plan.form(), plan.remark) == ("messages of the data", None, "")
    assert describe(plan, "m", Script(), VerifyGrader())["template"]["name"] == "messages of the data"
    qwen = TEMPLATES["qwen"].prompt("What is 2 + 3?")
    assert planned([{"prompt": qwen, "answer": "5"}]).form() == "qwen"
    [guided] = planned([whole], guided=True).check(VerifyGrader())
    assert guided == guided_prompt(turns, "Add.")
    assert "1 of 1 problems are messages" in planned([whole], template="plain").remark
    mixed = planned([whole, text])
    assert mixed.check(VerifyGrader()) == [turns, TEMPLATES["instruct"].prompt("1 + 1")]
    assert "1 of 2 problems are messages, whole prompts to which --template does nothing." in mixed.remark


def evaluated(folder: Path, scores: dict[str, list[int]], **change: Any) -> Path:
    """A finished run with the given verdicts."""

    class Fixed(Script):
        def generate(self, requests: Sequence[Request], answered: Collection[Key] = ()) -> Iterator[Answered]:
            yield [(r, Reply(str(scores[r.problem][r.sample]), "stop", 1)) for r in requests]

    problems = [BenchmarkProblem(name, name, "1") for name in scores]
    k = len(next(iter(scores.values())))
    plan = replace(PLAN, problems=problems, k=k, **change)
    run_evaluation(
        plan, folder.name, Fixed(), RewardGrader("is 1", lambda c, answer: [float(text == "1") for text in c]), folder
    )
    return folder


def test_diff_by_hand(tmp_path: Path) -> None:
    a = evaluated(tmp_path / "a", {"w": [1, 1], "x": [0, 0], "y": [1, 0], "z": [0, 0]}, seed=1)
    b = evaluated(tmp_path / "b", {"w": [0, 0], "x": [1, 1], "y": [1, 1], "z": [0, 1]}, seed=2)
    found = eval_difference(a, b)
    assert (found.a, found.b, found.difference) == (3 / 8, 5 / 8, 2 / 8)
    assert [(flip.id, flip.a, flip.b) for flip in found.gained] == [("x", 0.0, 1.0), ("z", 0.0, 0.5)]
    assert [(flip.id, flip.a, flip.b) for flip in found.lost] == [("w", 1.0, 0.0)]
    assert (found.improved, found.worsened, found.n_problems) == (3, 1, 4)
    assert found.ci95 == bootstrap_interval([-1.0, 1.0, 0.5, 0.5])
    assert found.settings == ["sampling.seed: 1 in A, 2 in B"]
    same = eval_difference(a, a)
    assert (same.difference, same.ci95, same.gained, same.lost) == (0.0, (0.0, 0.0), [], [])


def test_a_diff_of_a_model_and_an_adapter_of_it_names_no_setting(tmp_path: Path) -> None:
    folders = [evaluated(tmp_path / name, {"w": [1, 1], "x": [0, 0]}) for name in "ab"]
    for folder, weights in zip(
        folders, ({"weights": "1"}, {"weights": "2", "base": "a", "base_weights": "1"}), strict=True
    ):
        settings = json.loads((folder / "settings.json").read_text())
        (folder / "settings.json").write_text(json.dumps(settings | {"backend": weights}))
    assert eval_difference(*folders).settings == []


def test_a_diff_without_spread_claims_no_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, scores in (("equal", {"w": [1, 1], "x": [0, 0]}), ("better", {"w": [1, 1]})):
        before = {problem: [0, 0] if name == "better" else each for problem, each in scores.items()}
        a, b = evaluated(tmp_path / f"{name}-a", before), evaluated(tmp_path / f"{name}-b", scores)
        print_diff(eval_difference(a, b), 20)
        said = capsys.readouterr().out
        assert "no interval" in said
        assert "[" not in said.splitlines()[1]


def test_diff_pairs_no_problem_with_another_one(tmp_path: Path) -> None:
    """Rows without ids are numbered: of a file in another order each would be paired with a stranger of one gold."""

    def asked(name: str, *texts: str) -> Path:
        problems = [BenchmarkProblem(f"p{i}", text, "yes") for i, text in enumerate(texts, 1)]
        says = RewardGrader("any", lambda completions, answer: [1.0 for _ in completions])
        run_evaluation(replace(PLAN, problems=problems, k=1), name, Script(), says, tmp_path / name)
        return tmp_path / name

    a = asked("a", "Is 7 prime?", "Is 8 even?", "Is 9 odd?")
    with pytest.raises(ValueError, match=r"'p1' of .*a is 'p3' in .*b: the files have the problems in another order"):
        eval_difference(a, asked("b", "Is 9 odd?", "Is 8 even?", "Is 7 prime?"))
    found = eval_difference(a, asked("c", "Is seven prime?", "Is 8 even?", "Is 9 odd?"))
    assert "text: that of 1 problems, among them 'p1'" in found.settings


def test_diff_needs_the_same_problems(tmp_path: Path) -> None:
    a = evaluated(tmp_path / "a", {"x": [1], "y": [0]})
    b = evaluated(tmp_path / "b", {"y": [1], "z": [0]})
    with pytest.raises(
        ValueError, match=r"2 problem\(s\) are in only one .* \(the first: 'x'\); give --common .* the 1"
    ):
        eval_difference(a, b)
    found = eval_difference(a, b, common=True)
    assert (found.difference, found.n_problems, found.left_out) == (1.0, 1, 2)
    with pytest.raises(ValueError, match="no problem in common"):
        eval_difference(a, evaluated(tmp_path / "c", {"q": [1]}), common=True)
    with pytest.raises(ValueError, match=r"no results\.json; run sgpo eval"):
        eval_difference(a, tmp_path / "none")
    with pytest.raises(ValueError, match=r"one of its benchmarks \(a, b, c\)"):
        eval_difference(tmp_path, b)
    record = json.loads((b / "results.json").read_text())
    record["problems"][0]["gold"] = "2"
    (b / "results.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="problem 'y' has the gold '1'"):
        eval_difference(a, b, common=True)
