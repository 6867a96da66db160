"""The problem log: what a line says, by hand and in a real run, and what a crash, a resume and several ranks leave."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import trainer_kit as kit
from report_kit import HOSTILE

from sgpo.trainer.distillation import Target
from sgpo.trainer.problem_log import ProblemLog, problem_id
from sgpo.trainer.rollouts import GenerationBatch

NAN = float("nan")


def batch_of(*problems: dict[str, Any]) -> GenerationBatch:
    """Each problem solved by its first rollout alone, of four."""
    verdicts = torch.tensor([[True, False, False, False]] * len(problems))
    return GenerationBatch(list(problems), list(range(len(problems))), correct=verdicts)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_file_of_that_name_that_is_no_log_stays_as_it_is(tmp_path: Path) -> None:
    """`sgpo init` writes the training data into a problems.jsonl, too."""
    data = tmp_path / "problems.jsonl"
    data.write_text('{"prompt": "solve a", "answer": "1"}\n')
    with pytest.warns(UserWarning, match="holds no log of problems"):
        log = ProblemLog(str(tmp_path))
    log.write(1, batch_of({"prompt": "solve a", "strategy": None}), torch.tensor([NAN]), torch.tensor([0.0]), {})
    log.rewind(0)
    assert data.read_text() == '{"prompt": "solve a", "answer": "1"}\n'


def test_a_line_by_hand(tmp_path: Path) -> None:
    log = ProblemLog(str(tmp_path / "new"))
    batch = batch_of(
        {"prompt": "solve a", "id": 7, "family": "clock", "strategy": "carry"}, {"prompt": "solve b", "strategy": None}
    )
    log.write(
        3,
        batch,
        torch.tensor([0.75, NAN]),
        torch.tensor([0.5, 0.0]),
        {0: [Target([1], [2], [3, 4], 0.25), Target([1], [2], [5], 0.25)]},
    )
    first, second = lines(tmp_path / "new" / "problems.jsonl")
    assert first == {
        "step": 3,
        "id": "7",
        "family": "clock",
        "autonomous_pass_rate": 0.25,
        "guided_pass_rate": 0.75,
        "alpha": 0.5,
        "target_tokens": 3,
        "strategy": "carry",
    }
    facts = {"step": 3, "autonomous_pass_rate": 0.25, "guided_pass_rate": None, "alpha": 0.0, "target_tokens": 0}
    assert second == {**facts, "strategy": None, "id": problem_id({"prompt": "solve b"})}  # and no family


def test_a_problem_without_id_is_known_by_its_prompt() -> None:
    messages = [{"role": "user", "content": "solve a"}]
    names = [problem_id({"prompt": p}) for p in ("solve a", "solve b", messages)]
    assert len(set(names)) == 3
    assert all(len(name) == 8 and int(name, 16) >= 0 for name in names)
    assert problem_id({"prompt": [dict(reversed(messages[0].items()))], "id": None}) == names[2]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_text_takes_one_line(tmp_path: Path, text: str) -> None:
    problem = {"prompt": text, "id": f"{text}\n", "family": text, "strategy": f"{text}\r\n\u2028"}
    ProblemLog(str(tmp_path)).write(1, batch_of(problem), torch.tensor([NAN]), torch.tensor([0.0]), {})
    (row,) = lines(tmp_path / "problems.jsonl")
    assert {key: row[key] for key in ("id", "family", "strategy")} == {
        key: problem[key] for key in ("id", "family", "strategy")
    }


def test_a_torn_line_does_not_spoil_the_next_one_and_ranks_have_files_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "problems-rank1.jsonl"
    path.write_bytes(b'{"step": 1, "id": "a"}\n{"step": 2, "i')
    log, batch = ProblemLog(str(tmp_path), 1, 2), batch_of({"prompt": "solve a", "strategy": "carry"})
    for step in (2, 3):
        log.write(step, batch, torch.tensor([1.0]), torch.tensor([0.1]), {})
    assert [json.loads(line)["step"] for line in path.read_bytes().splitlines()] == [1, 2, 3]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_disk_that_cannot_be_written_to_ends_the_log_with_one_warning(tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").mkdir()
    log, batch = ProblemLog(str(tmp_path)), batch_of({"prompt": "solve a", "strategy": "carry"})
    rest: Any = (torch.tensor([1.0]), torch.tensor([0.1]), {})
    with pytest.warns(UserWarning, match="cannot be written"):
        log.write(1, batch, *rest)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log.write(2, batch, *rest)


# ---------------------------------------------------------------- in a run


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trl.GRPOTrainer._generate_single_turn", kit.scripted_turn)


def expected(trainer: Any, step: int, problem: dict[str, Any]) -> dict[str, Any]:
    """What the scripted rollouts of a problem come to, from their texts."""
    text, hint = problem["prompt"], problem["strategy"]
    rates = []
    for prompt, copies in ((text, 4), (kit.TEMPLATE.format(prompt=text, strategy=hint), 2)):
        ids = [kit.WORDS.index(word) for word in prompt.split()]
        said = [" ".join(kit.decoded(kit.script(ids, i, trainer.max_completion_length))) for i in range(copies)]
        rates.append(sum(kit.has_ok(said)) / copies)
    alpha = min(0.8, max(0.0, 0.5 * (rates[1] - rates[0]) / (rates[0] + 0.1)))
    return {
        "step": step,
        "id": problem_id(problem),
        "autonomous_pass_rate": rates[0],
        "guided_pass_rate": rates[1],
        "alpha": pytest.approx(alpha, abs=1e-6),
        "strategy": hint,
    }


def test_two_steps_of_a_run_and_the_weights_of_one_without_a_log(tmp_path: Path, scripted: None) -> None:
    data = kit.make_problems(4)
    plain = kit.make_trainer(tmp_path / "off", data=data)
    plain.train()
    logged = kit.make_trainer(tmp_path / "on", data=data, log_problems=True)
    targets: list[Any] = []
    choose = logged._targets
    logged._targets = lambda *args: targets.append(choose(*args)) or targets[-1]  # type: ignore[func-returns-value]
    logged.train()
    rows = lines(tmp_path / "on" / "problems.jsonl")
    lengths = [row.pop("target_tokens") for row in rows]
    assert rows == [expected(logged, 1 + i // 2, dict(data[i])) for i in range(4)]
    assert lengths == [sum(len(y.completion_ids) for y in t.get(i, ())) for t in targets for i in range(2)]
    assert any(lengths)
    assert not list((tmp_path / "off").glob("problems*"))
    for name, weight in kit.weights_of(plain.model).items():
        assert torch.equal(weight, dict(logged.model.named_parameters())[name]), name


def test_plain_grpo_writes_none(tmp_path: Path, scripted: None) -> None:
    trainer = kit.make_trainer(tmp_path, log_problems=True, alpha_form="constant", alpha_0=0.0, max_steps=1)
    trainer.train()
    assert not list(tmp_path.glob("problems*"))


def test_a_resumed_run_writes_the_steps_since_its_checkpoint_anew(tmp_path: Path, scripted: None) -> None:
    options: dict[str, Any] = {"log_problems": True, "save_strategy": "steps", "save_steps": 1}
    kit.make_trainer(tmp_path, **options).train()
    path = tmp_path / "problems.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step": 3, "id')  # killed while it wrote
    kit.make_trainer(tmp_path, **options).train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    assert path.read_bytes() == whole


def test_rewinding_keeps_what_an_earlier_run_wrote(tmp_path: Path) -> None:
    rows = [{"step": step, "id": name} for name, last in (("earlier", 5), ("this", 3)) for step in range(1, last + 1)]
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ProblemLog(str(tmp_path)).rewind(2)
    assert lines(path) == rows[:7]
    ProblemLog(str(tmp_path / "none")).rewind(2)
