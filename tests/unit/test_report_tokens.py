"""The token view against a plain-Python oracle, its summary by hand, and the command on the lab's own model."""

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import report_kit as kit
import torch
import trainer_kit

from sgpo.lab.model import base_path
from sgpo.report.load import load_run
from sgpo.report.token_summary import LEVELS, concentration, kl_shares, level, token_class
from sgpo.report.tokens import token_view
from sgpo.report.tokens_view import token_views as view_of
from sgpo.runs.provenance import record

PROMPT, GUIDED, COMPLETION = "solve 3 a b", "solve 3 a b hint carry", "a b 4 c 7"


@pytest.fixture(scope="module")
def policy() -> tuple[Any, Any]:
    return trainer_kit.make_model().train(), trainer_kit.make_tokenizer()


def distributions(model: Any, ids: Sequence[int], start: int) -> list[list[float]]:
    """One forward pass for every prefix, and a softmax by hand."""
    rows = []
    model.eval()
    for t in range(start, len(ids)):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([list(ids[:t])])).logits[0, -1].tolist()
        top = max(logits)
        exps = [math.exp(x - top) for x in logits]
        rows.append([e / sum(exps) for e in exps])
    model.train()
    return rows


def test_token_view_against_the_oracle(policy: tuple[Any, Any]) -> None:
    model, tokenizer = policy
    rows = token_view(model, tokenizer, PROMPT, GUIDED, COMPLETION, top=3)
    words = [*COMPLETION.split(), "<eos>"]
    ids = [trainer_kit.WORDS.index(word) for word in words]
    sides = []
    for prompt in (PROMPT, GUIDED):
        prefix = [trainer_kit.WORDS.index(word) for word in prompt.split()]
        sides.append(distributions(model, [*prefix, *ids], len(prefix)))
    assert len(rows) == len(ids)
    for row, word, token, autonomous, guided in zip(rows, words, ids, *sides, strict=True):
        kl = sum(g * (math.log(g) - math.log(a)) for a, g in zip(autonomous, guided, strict=True))
        assert row["kl"] == pytest.approx(kl, rel=2e-3, abs=1e-5)
        assert row["p"] == pytest.approx([autonomous[token], guided[token]], rel=2e-3)
        assert row["text"].strip() == word
        for name, p, rank in (("autonomous", autonomous, row["rank"][0]), ("guided", guided, row["rank"][1])):
            order = sorted(range(len(p)), key=lambda i: -p[i])
            assert order.index(token) == rank
            assert [text for text, _ in row[name]] == [trainer_kit.WORDS[i] for i in order[:3]]
            assert [value for _, value in row[name]] == pytest.approx([p[i] for i in order[:3]], rel=2e-3)
        best = [max(range(len(p)), key=p.__getitem__) for p in (autonomous, guided)]
        assert row["decision"] is (best[0] != best[1])
    assert max(row["kl"] for row in rows) > 0.01
    assert any(row["decision"] for row in rows)
    assert model.training
    assert json.loads(json.dumps(rows)) == rows


def test_the_pieces_are_the_response(policy: tuple[Any, Any]) -> None:
    rows = token_view(*policy, PROMPT, GUIDED, COMPLETION)
    assert "".join(row["text"] for row in rows) == "a b 4 c 7 <eos>"
    assert [row["class"] for row in rows] == ["word", "word", "number", "word", "number", "special"]


class Bytes:
    """A tokenizer of single bytes: characters of several bytes are spread over tokens."""

    def decode(self, ids: list[int]) -> str:
        return bytes(ids).decode("utf-8", errors="replace")


def test_a_character_spread_over_tokens_belongs_to_the_last_of_them() -> None:
    from sgpo.report.tokens import _pieces

    assert _pieces(Bytes(), list("aé½".encode())) == ["a", "", "é", "", "½"]
    assert "".join(_pieces(Bytes(), list("😀".encode()[:3]))) == "\ufffd"


def test_without_a_strategy_nothing_changes(policy: tuple[Any, Any]) -> None:
    rows = token_view(*policy, PROMPT, PROMPT, COMPLETION)
    assert max(row["kl"] for row in rows) < 1e-5
    assert not any(row["decision"] for row in rows)


def test_prompts_may_be_messages(policy: tuple[Any, Any]) -> None:
    chat = [{"role": "user", "content": PROMPT}]
    rows = token_view(*policy, chat, [{"role": "user", "content": GUIDED}], COMPLETION)
    text = token_view(*policy, f"<user> {PROMPT} <end> <assistant>", f"<user> {GUIDED} <end> <assistant>", COMPLETION)
    assert rows == text


@pytest.mark.parametrize(
    ("completion", "top", "message"),
    [
        ("", 5, "0 tokens"),
        ("a " * 3_000, 5, "3000 tokens"),
        ("a " * 60, 5, "4 \\+ 61 tokens, but the model has 64 positions"),
        ("a", 0, "top is 0"),
        ("a", 1_000, "top is 1000"),
    ],
)
def test_bad_input(policy: tuple[Any, Any], completion: str, top: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        token_view(*policy, PROMPT, GUIDED, completion, top=top)


# ---------------------------------------------------------------- the summary


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (" 12", "number"), ("3.5", "number"), ("1,000", "number"), ("-4", "number"), (" +", "operator"),
        ("=", "operator"), ("\\frac", "operator"), ("×", "operator"), (" then", "word"), ("x2", "word"), ("é", "word"),
        (";", "punctuation"), ("\n\n", "punctuation"), ("", "punctuation"), ("$", "punctuation"),
    ],
)  # fmt: skip
def test_classes(text: str, kind: str) -> None:
    assert token_class(text) == kind


def test_summary_by_hand() -> None:
    tokens = [
        {"text": "3", "class": "number", "kl": 1.0, "decision": False},
        {"text": "+", "class": "operator", "kl": 6.0, "decision": True},
        {"text": "go", "class": "word", "kl": 2.0, "decision": True},
        {"text": "4", "class": "nonsense", "kl": 1.0},
        {"text": "x", "class": "word", "kl": -1e-9, "decision": 1},
    ]
    found = kl_shares(tokens)
    assert (found.tokens, found.kl, found.top5) == (5, 10.0, 0.6)
    rows = {one.name: one[1:] for one in found.classes}
    assert rows == {
        "number": (2, 0.4, 0.2, 1.0),
        "operator": (1, 0.2, 0.6, 6.0),
        "word": (2, 0.4, 0.2, 1.0),
    }
    choices = [(one.name, one.tokens, one.kl_share) for one in found.choices]
    assert choices == [("decision points", 2, 0.8), ("routine tokens", 3, 0.2)]


def test_concentration() -> None:
    assert concentration([1.0] * 100) == pytest.approx(0.05)
    assert concentration([95.0] + [5 / 99] * 99) == pytest.approx((95 + 4 * 5 / 99) / 100)
    assert concentration([0.0, 0.0]) == 0.0


def test_levels_are_the_edges_they_name() -> None:
    assert [level(kl) for kl in (0.0, 0.0029, 0.003, 0.999, 1.0, 50.0)] == [0, 0, 1, 5, 6, len(LEVELS)]


def test_models_that_read_one_response_share_a_group_and_a_scale(tmp_path: Path) -> None:
    view = view_of(load_run(kit.compare_dir(tmp_path, seeds=1)))
    assert view is not None
    (group,) = view.groups
    assert [reading.model for reading in group.views] == ["before training", "after training"]
    assert [[token.peak for token in reading.tokens].index(True) for reading in group.views] == [1, 1]
    assert [(token.before, token.text) for token in group.views[0].tokens][:2] == [("", "3"), (" ", "+")]
    assert list(view.summaries) == ["before training", "after training"]
    marked = group.views[0].tokens[1].sides
    assert [[a.chosen for a in side.top] for side in marked] == [[False, True], [True, False, False]]


# ---------------------------------------------------------------- the lab


def test_the_command_computes_it_for_a_lab_run(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from sgpo.cli import app
    from sgpo.lab.model import base_path
    from sgpo.lab.problems import load_problems

    kit.quickstart_dir(tmp_path)
    shutil.copytree(base_path(0), tmp_path / "sgpo" / "model")
    done = CliRunner().invoke(app, ["report", str(tmp_path), "--tokens", "2", "--no-plots"])
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in (tmp_path / "tokens.jsonl").read_text().splitlines()]
    assert [row["model"] for row in rows] == ["before training", "after training"] * 2
    assert rows[0]["family"] != rows[2]["family"]
    ids = {problem["id"] for problem in load_problems("eval")}
    assert {row["id"] for row in rows} <= ids
    for row in rows:
        assert "".join(t["text"] for t in row["tokens"]) == row["response"] + " <eos>"
    assert rows[0]["tokens"] == rows[1]["tokens"]  # the base is both models here
    assert any(row["correct"] for row in rows)
    assert "token by token" in (tmp_path / "report.html").read_text()


def test_a_training_run_is_read_beside_the_model_that_it_began_from(tmp_path: Path) -> None:
    from sgpo.report.lab_tokens import write_tokens

    shutil.copytree(base_path(1), tmp_path / "run")
    kit.write_lines(tmp_path / "run" / "training_log.jsonl", [{"step": 1, "loss": 0.1, "max_steps": 1}])
    record(tmp_path / "run", {"model": {"model_name_or_path": str(base_path(1))}})
    write_tokens(load_run(tmp_path / "run"), 1)
    before, after = map(json.loads, (tmp_path / "run" / "tokens.jsonl").read_text().splitlines())
    assert (before["model"], after["model"]) == ("before training", "after training")
    assert before["tokens"] == after["tokens"]  # the weights are those that it began from


def test_a_run_without_a_model_or_with_another_vocabulary_is_refused(tmp_path: Path) -> None:
    from sgpo.report.lab_tokens import write_tokens

    kit.quickstart_dir(tmp_path)
    with pytest.raises(ValueError, match="no saved model"):
        write_tokens(load_run(tmp_path), 1)
    trainer_kit.make_model().save_pretrained(tmp_path / "sgpo" / "model")
    trainer_kit.make_tokenizer().save_pretrained(tmp_path / "sgpo" / "model")
    with pytest.raises(ValueError, match="lab's vocabulary"):
        write_tokens(load_run(tmp_path), 1)
    assert not (tmp_path / "tokens.jsonl").exists()
