"""The labelled cases, and every benchmark gold against itself."""

import json
from pathlib import Path

import pytest

from sgpo import rewards

ROOT = Path(__file__).parents[2]
CASES = [json.loads(line) for line in (ROOT / "tests/data/verify_cases.jsonl").read_text().splitlines()]
BENCHMARKS = ROOT.parent / "shared" / "benchmarks"
FILES = {"MATH500": 500, "AMC23": 40, "AIME24": 30, "OlympiadBench": 675, "GSM8K_200": 200}
FORMS = {"bare": "{}", "dollars": "${}$", "boxed": "\\boxed{{{}}}"}


def golds(name: str) -> list[str]:
    path = BENCHMARKS / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"no {name}.jsonl beside the repository")
    return [json.loads(line)["answer"] for line in path.read_text().splitlines()]


def test_every_labelled_case() -> None:
    verdicts = rewards.verify_batch([case["response"] for case in CASES], [case["gold"] for case in CASES], timeout=30)
    wrong = [
        f"{case['id']}: {case['gold']!r} against {case['response'][-80:]!r} should be {case['correct']}, is {verdict}"
        for case, verdict in zip(CASES, verdicts, strict=True)
        if verdict.correct != case["correct"]
    ]
    assert not wrong, "\n".join(wrong)


def test_the_labelled_set_is_a_set() -> None:
    assert len(CASES) >= 300
    assert len({case["id"] for case in CASES}) == len(CASES)
    assert all(set(case) == {"id", "gold", "response", "correct", "why"} for case in CASES)
    share = sum(case["correct"] for case in CASES) / len(CASES)
    assert 0.3 < share < 0.75  # a verifier that always says one thing must not look good


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", FILES)
def test_golds_verify_against_themselves(name: str, form: str) -> None:
    answers = golds(name)
    assert len(answers) == FILES[name]
    verdicts = rewards.verify_batch([FORMS[form].format(answer) for answer in answers], answers)
    assert [a for a, v in zip(answers, verdicts, strict=True) if not v.correct] == []


@pytest.mark.parametrize("name", ["MATH500", "AIME24", "AMC23"])
def test_golds_do_not_verify_against_their_neighbours(name: str) -> None:
    answers = golds(name)
    others = answers[1:] + answers[:1]
    verdicts = rewards.verify_batch([f"\\boxed{{{answer}}}" for answer in answers], others, timeout=30)
    same = [(a, b) for a, b, v in zip(answers, others, verdicts, strict=True) if v.correct and a != b]
    assert [pair for pair in same if pair != ("5", "x=5")] == []  # which are equal


def test_every_gold_passes_the_check_at_load() -> None:
    assert [a for name in FILES for a in golds(name) if rewards.check_gold(a) is not None] == []
