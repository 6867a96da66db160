"""``sgpo eval`` from the command line on a small model: killed and resumed, and equal to the evaluation in memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from sgpo.commands.evaluate import app
from sgpo.evaluation import evaluate
from sgpo.lab.model import build_model
from sgpo.lab.problems import GUIDED_TEMPLATE, final_answer, lab_reward, load_problems
from sgpo.lab.tokenizer import VOCAB_SIZE, build_tokenizer
from sgpo.models import Sampling
from sgpo.models.folders import fingerprint
from sgpo.models.local import LocalModel

COMMAND = "import torch; torch.set_num_threads(1); from sgpo.commands.evaluate import app; app()"
SAMPLING = ["--temperature", "1", "--top-p", "1", "--max-new-tokens", "12"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows nothing, but whose answers now and then are right: see :func:`data`."""
    model: Any = build_model(0)
    weights = torch.randn(VOCAB_SIZE, 96, generator=torch.Generator().manual_seed(0)) * 0.2
    model.lm_head.weight = torch.nn.Parameter(weights)  # untied: else it repeats its last token
    model.config.tie_word_embeddings = False
    path = tmp_path_factory.mktemp("model")
    model.save_pretrained(path)
    build_tokenizer().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def data(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lab problems whose gold is a number that the model says often, in the form that ``verify`` reads."""
    path = tmp_path_factory.mktemp("data") / "toy.jsonl"
    rows = [
        {"id": p["id"], "problem": p["prompt"], "answer": "68", "family": p["family"], "strategy": p["strategy"]}
        for p in load_problems("eval")[:24]
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def arguments(folder: Path, data: Path, out: Path) -> list[str]:
    run = [folder, "--data", data, "--out", out, "--template", "raw", "--k", 4, "--batch-size", 8, "--seed", 3]
    return [str(one) for one in run] + SAMPLING


def test_killed_and_resumed_gives_the_same_results_file(folder: Path, data: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    result = invoke(*arguments(folder, data, whole))
    assert result.exit_code == 0, result.output
    slow = COMMAND.replace(
        "; app()",
        "; import itertools, time, sgpo.models.sampling as s; real, batch = s.sample_rows, itertools.count(); "
        "s.sample_rows = lambda *a, **k: (time.sleep(3600 if next(batch) == 3 else 0), real(*a, **k))[1]; app()",
    )
    responses = cut / "responses.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", slow, *arguments(folder, data, cut)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and (not responses.exists() or responses.read_bytes().count(b"\n") < 16):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = responses.read_bytes()
    assert 16 <= kept.count(b"\n") <= 24
    assert not (cut / "results.json").exists()
    with responses.open("ab") as file:
        file.write(b'{"problem": "torn')
    result = invoke(*arguments(folder, data, cut))
    assert result.exit_code == 0, result.output
    assert (cut / "results.json").read_bytes() == (whole / "results.json").read_bytes()
    assert responses.read_bytes().startswith(kept)
    keys = [(row["problem"], row["sample"]) for row in map(json.loads, responses.read_text().splitlines())]
    assert len(keys) == len(set(keys)) == 96
    assert responses.read_bytes() == (whole / "responses.jsonl").read_bytes()


def test_a_torn_batch_is_completed_bit_for_bit(folder: Path, data: Path, tmp_path: Path) -> None:
    invoke(*arguments(folder, data, tmp_path))
    results = (tmp_path / "results.json").read_bytes()
    rows = (tmp_path / "responses.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "responses.jsonl").write_bytes(b"".join(rows[:13]))  # one batch of 8, and 5 of the next
    (tmp_path / "verdicts.jsonl").unlink()
    assert invoke(*arguments(folder, data, tmp_path)).exit_code == 0
    assert (tmp_path / "responses.jsonl").read_bytes().splitlines(keepends=True) == rows
    assert (tmp_path / "results.json").read_bytes() == results


@pytest.mark.parametrize("guided", [False, True])
def test_the_command_equals_the_evaluation_in_memory(folder: Path, tmp_path: Path, guided: bool) -> None:
    problems = load_problems("eval")[:30]
    # A verdict that varies on a model that knows nothing: a right length in place of a right answer.
    prompts = [GUIDED_TEMPLATE.format(**p) if guided else p["prompt"] for p in problems]
    engine = LocalModel.load(str(folder), Sampling(1.0, 1.0, 12))
    expected = evaluate(
        engine.model,
        engine.tokenizer,
        [{**p, "prompt": prompt} for p, prompt in zip(problems, prompts, strict=True)],
        grade=lambda completions, answers: lab_reward(completions, answers),
        k=2,
        temperature=0.6,
        top_p=0.95,
        max_new_tokens=12,
        batch_size=16,
        seed=5,
        extract=final_answer,
    )
    options = ["-b", "lab", "--limit", 30, "--k", 2, "--max-new-tokens", 12, "--batch-size", 16, "--seed", 5]
    result = invoke(folder, *options, "--out", tmp_path, *(["--guided"] if guided else []))
    assert result.exit_code == 0, result.output
    saved = json.loads((tmp_path / "results.json").read_text())
    wanted = json.loads(json.dumps(expected.to_dict()))
    assert {name: saved[name] for name in wanted} == wanted
    texts = [json.loads(line) for line in (tmp_path / "responses.jsonl").read_text().splitlines()]
    in_memory = {(p.id, j): one.text for p in expected.problems for j, one in enumerate(p.samples)}
    assert {(row["problem"], row["sample"]): row["text"] for row in texts} == in_memory
    assert len(set(in_memory.values())) > 40


def test_the_command_equals_the_evaluation_that_the_trainer_runs(tmp_path: Path) -> None:
    from sgpo.lab.measure import measure_once
    from sgpo.lab.model import base_path, load

    expected = measure_once(*load(base_path(0)), k=1, guided=True)
    options = ["-b", "lab", "--guided", "--k", 1, "--batch-size", 300, "--seed", 1234]
    result = invoke("lab", *options, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    saved = json.loads((tmp_path / "results.json").read_text())
    assert saved["accuracy"] == expected.accuracy > 0.9
    assert saved["per_group"] == {name: one.to_json() for name, one in expected.per_group.items()}


def test_run_need_not_be_named_and_diff_compares(folder: Path, data: Path, tmp_path: Path) -> None:
    first = invoke(*arguments(folder, data, tmp_path / "a"))
    second = invoke("run", *SAMPLING, *arguments(folder, data, tmp_path / "b")[:-6], "--seed", 4)
    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    assert "toy k=4" in first.output
    result = invoke("diff", tmp_path / "a", tmp_path / "b")
    assert result.exit_code == 0, result.output
    assert "24 problems" in result.output
    assert "settings differ: sampling.seed: 3 in A, 4 in B" in result.output
    as_json = json.loads(invoke("diff", tmp_path / "a", tmp_path / "b", "--json").stdout)
    scores = [json.loads((tmp_path / name / "results.json").read_text())["accuracy"] for name in "ab"]
    assert as_json["difference"] == pytest.approx(scores[1] - scores[0])


def test_several_benchmarks_have_a_folder_each_and_an_average(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sgpo.data.benchmarks import BenchmarkProblem

    monkeypatch.setattr("sgpo.evaluation.planning.load_hub", lambda name: [BenchmarkProblem("a", "Q 2 + 2 ? A", "4")])
    options = ["--template", "raw", "--max-new-tokens", 3, "--out", tmp_path]
    result = invoke(folder, "-b", "math500", "-b", "aime24", *options)
    assert result.exit_code == 0, result.output
    assert "average" in result.output
    by_protocol = {"math500": 4, "aime24": 32}
    for name, k in by_protocol.items():
        settings = json.loads((tmp_path / name / "settings.json").read_text())
        assert settings["sampling"] == {"k": k, "seed": 0, "temperature": 0.6, "top_p": 0.95, "max_new_tokens": 3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "No problems: give --benchmark NAME"),
        (["-b", "math500", "-b", "math500"], "names one of them twice"),
        (["-b", "math500", "-b", "aime24", "--data", "DATA"], "gives the problems of one benchmark, not of 2"),
        (["-b", "aime24"], "Without a network give --benchmark aime24 --data PATH"),
        (["--data", "DATA", "--preset", "x"], "preset 'x' is unknown; choose from paper, greedy"),
        (["--data", "DATA", "--template", "x"], "template 'x' is neither a file nor one of"),
        (["--data", "DATA", "--grader", "x"], "grader 'x' is unknown; choose verify or lab"),
        (["--data", "DATA", "--backend", "x"], "backend 'x' is unknown; choose from transformers"),
        (["--data", "DATA", "--k", "0"], "k = 0 samples"),
        (["--data", "DATA", "--limit", "0"], "--limit 0 must be at least 1"),
        (["--data", "DATA", "--preset", "greedy", "--k", "4"], "4 greedy samples would all be the same"),
        (["--data", "DATA", "--guided", "--guided-template", "x"], "guided template 'x' is neither"),
        (
            ["--data", "DATA", "--guided-template", "{strategy} {prompt}"],
            "does nothing without --guided or --strategies",
        ),
        (["-b", "lab", "--require-box"], "--require-box does nothing without --grader verify"),
        (["--data", "DATA", "--grader", "lab", "--verify-timeout", "5"], "--verify-timeout does nothing without"),
        (["--data", "DATA", "--base-url", "http://127.0.0.1:1/v1", "--extra-body", "[1]"], "must be a JSON object"),
        (["--data", "DATA"], "has no chat template; give --template plain or raw"),
    ],
)
def test_mistakes_are_said_in_one_line(
    folder: Path, data: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    filled = [str(data) if option == "DATA" else option for option in options]
    result = invoke(folder, "--out", tmp_path, "--max-new-tokens", 2, *filled)
    assert isinstance(result.exception, ValueError)
    assert message in str(result.exception)


def test_a_model_that_is_none(data: Path, tmp_path: Path) -> None:
    result = invoke(tmp_path / "no-such-model", "--data", data, "--out", tmp_path / "out")
    assert "cannot be loaded" in str(result.exception)


def test_the_fingerprint_tells_an_adapter_that_was_merged_into_the_middle(tmp_path: Path) -> None:
    """Embeddings stand at the beginning of a file and the last norm at its end: neither is of the adapter."""
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(40 << 20)
    before = fingerprint(tmp_path)
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.seek(20 << 20)
        file.write(b"x" * (1 << 18))
    assert fingerprint(tmp_path) != before


def test_the_fingerprint_tells_weights_apart(folder: Path) -> None:
    before = fingerprint(folder)
    weights = folder / "model.safetensors"
    original = weights.read_bytes()
    try:
        weights.write_bytes(original[:-4] + b"\x00\x00\x00\x01")
        assert fingerprint(folder) != before
    finally:
        weights.write_bytes(original)
    assert fingerprint(folder) == before


def test_importing_the_commands_is_cheap() -> None:
    heavy = {"torch", "transformers", "numpy"}
    code = f"import sys, sgpo.commands.evaluate, sgpo.commands.data; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
