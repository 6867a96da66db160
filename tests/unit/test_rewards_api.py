"""Golds of every kind, tolerance, the reward functions, the file command, and a fuzz of a few hundred strings."""

import json
import os
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgpo import rewards
from sgpo.rewards import BadLineError, accuracy_reward, cli_verify, format_reward, verify

BOX = r"\boxed{%s}"
BOMB = r"\binom{10^{9}}{5\cdot 10^{8}}"  # takes minutes without a deadline


@pytest.mark.parametrize(
    ("gold", "answer", "correct"),
    [
        (42, "42", True),
        (4.25, "4.25", True),
        (["1", "-2"], "-2, 1", True),
        (["1", "-2"], "1", False),
        (["$(1,2)$"], "(1,2)", True),
        ("So \\boxed{3}", "3", True),
        ("6 * 7 = 42\n#### 42", "42", True),
        ("We add 2 and 3. So the answer is 5.", "5", True),
        ([3, 4.5], "4.5, 3", True),
        ([3, 4], "3", False),
        (numpy.int64(7), "7", True),
        (numpy.float32(0.5), "1/2", True),
        (Fraction(1, 3), r"\frac13", True),
        (1 / 3, "1/3", True),
        (1 / 3, "0.33", False),
        (0.1 + 0.2, "0.3", True),
        ('["34"]', "34", True),
        (r"['\\frac{1}{2}', '3']", "3, 0.5", True),
        ('["3", "4"]', "3", False),
    ],
)
def test_kinds_of_gold(gold: rewards.golds.Gold, answer: str, correct: bool) -> None:
    assert verify(BOX % answer, gold).correct is correct


@pytest.mark.parametrize("gold", [None, "", "  ", "$$", "$ $", "\\boxed{}", "."])
def test_a_gold_that_says_nothing(gold: str) -> None:
    assert verify(BOX % "7", gold).reason == "bad_gold"
    assert rewards.check_gold(gold) is not None


@pytest.mark.parametrize("gold", [True, {"a": 1}, [[1]], [True], object()])
def test_a_gold_of_the_wrong_type(gold: object) -> None:
    with pytest.raises(TypeError, match="gold is a"):
        verify("7", gold)  # type: ignore[arg-type]
    assert "gold is a" in (rewards.check_gold(gold) or "")  # type: ignore[arg-type]


def test_a_response_of_the_wrong_type() -> None:
    with pytest.raises(TypeError, match="response is a int"):
        verify(7, "7")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gold", "answer", "tolerance", "correct"),
    [
        ("4.2", "4.25", None, False),
        ("4.2", "4.25", 0.1, True),
        ("4.2", "4.3", 0.1, True),
        ("4.2", "4.31", 0.1, False),
        (r"\frac{41}{12}", "3.417", 0.01, True),
        (r"3\sqrt{13}", "10.82", 0.01, True),
        (r"3\sqrt{13}", "10.8", 0.01, False),
        ("1.68, 0.45", "0.449, 1.681", 0.01, True),
        (r"\text{east}", "east", 0.1, True),
        ("x + 1", "x + 1.01", 0.1, False),
        (r"12.5\%", "0.1255", 0.1, True),
        (r"12.5\%", "0.2", 0.1, False),
        ("0.125", r"12.6\%", 0.01, True),
    ],
)
def test_tolerance(gold: str, answer: str, tolerance: float | None, correct: bool) -> None:
    assert verify(BOX % answer, gold, tolerance=tolerance).correct is correct


def test_batch_keeps_order_and_checks_lengths() -> None:
    responses = [BOX % f"{k}/2" for k in range(20)]
    verdicts = rewards.verify_batch(responses, ["3"] * 20, tolerance=[None] * 19 + [7.0])
    assert [k for k, verdict in enumerate(verdicts) if verdict.correct] == [6, 19]
    assert rewards.verify_batch([], []) == []
    with pytest.raises(ValueError, match="2 responses, 1 golds"):
        rewards.verify_batch(["a", "b"], ["a"])


def test_accuracy_reward_takes_what_trl_gives() -> None:
    plain = [BOX % "3", BOX % "4", "", "no"]
    assert accuracy_reward(completions=plain, answer=["3"] * 4, prompts=plain, trainer_state=None) == [
        1.0,
        0.0,
        0.0,
        0.0,
    ]
    chats = [[{"role": "assistant", "content": text}] for text in plain]
    assert accuracy_reward(completions=chats, solution=["3"] * 4) == [1.0, 0.0, 0.0, 0.0]
    parts = [[{"role": "assistant", "content": [{"type": "text", "text": BOX % "3"}]}]]
    assert accuracy_reward(parts, answer=[r"\frac{6}{2}"]) == [1.0]
    tools = [[{"role": "assistant", "content": BOX % "3"}, {"role": "tool", "content": "4"}]]
    assert accuracy_reward(tools, answer=["3"]) == [1.0]
    assert accuracy_reward(["The answer is 3."], answer=["3"], require_box=True) == [0.0]
    assert accuracy_reward([[]], answer=["3"]) == [0.0]
    logged: dict[str, float] = {}
    accuracy_reward([BOX % BOMB, BOX % "3"], answer=["\\pi", "3"], timeout=0.5, log_metric=logged.__setitem__)
    assert logged == {"verifier/failed": 0.5}


def test_a_row_has_a_tolerance_of_its_own() -> None:
    """Problems with measured answers are rewarded as `sgpo eval` counts them."""
    rows: list[tuple[str, Any, float]] = [("3.14", 0.01, 1.0), ("3.1", "1e-1", 1.0), ("3.1", 0.01, 0.0)]
    rows += [("3.14", none, 0.0) for none in (None, float("nan"), "")]
    said = [BOX % text for text, _, _ in rows]
    golds = ["3.1416"] * len(rows)
    assert accuracy_reward(said, golds, tolerance=[allowed for _, allowed, _ in rows]) == [right for *_, right in rows]
    with pytest.raises(ValueError, match=r"row 1: tolerance is 'tight'.* leave it empty"):
        accuracy_reward(said[:2], golds[:2], tolerance=[0.1, "tight"])


def test_without_a_gold_the_columns_of_the_data_are_named_and_nothing_else() -> None:
    more = {"trainer_state": object(), "log_extra": print, "completion_ids": [[1]], "gold": ["2"]}
    with pytest.raises(ValueError, match=r"beside prompt, gold\. Rename or add it"):
        accuracy_reward(completions=["2"], prompts=["1 + 1?"], **more)


def test_a_row_takes_the_gold_from_the_column_that_has_one() -> None:
    said, logged = [BOX % "3"] * 3, {}
    rewards = accuracy_reward(
        said, answer=["3", "", None], solution=[None, r"so \boxed{3}", None], log_metric=logged.__setitem__
    )
    assert rewards == [1.0, 1.0, 0.0]
    assert accuracy_reward(said, answer=[float("nan"), [], " "], solution=["3"] * 3) == [1.0, 1.0, 1.0]
    assert logged == {"verifier/failed": pytest.approx(1 / 3)}  # the row without a gold says nothing of its completion


def test_accuracy_reward_without_golds() -> None:
    with pytest.raises(ValueError, match=r"neither `answer` nor `solution`.*problem"):
        accuracy_reward(["x"], problem=["y"])
    with pytest.raises(ValueError, match="2 responses, 1 golds"):
        accuracy_reward(["x", "y"], answer=["y"])
    with pytest.raises(TypeError, match="a completion is a int"):
        accuracy_reward([7], answer=["y"])


def test_format_reward() -> None:
    thought = "<think>so</think> " + BOX % "3"
    assert format_reward([BOX % "3", "3", r"\boxed{}", r"\boxed{3", thought]) == [1.0, 0.0, 0.0, 0.0, 1.0]
    texts = [
        thought,
        BOX % "3",
        "<think> </think> " + BOX % "3",
        "<think>" + BOX % "3" + "</think>",
        thought + "</think>",
    ]
    assert format_reward(texts, require_think=True, answer=["3"] * 5) == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert format_reward([[{"role": "assistant", "content": thought}]], require_think=True) == [1.0]


def test_a_completion_goes_on_from_the_thinking_that_its_prompt_begins() -> None:
    """As chat templates of DeepSeek-R1 and Qwen3 begin it; a prompt of messages does not show it."""
    inside, cut = "so</think> " + BOX % "3", "so the answer is 3"
    told: Any = {"prompts": [[{"role": "user", "content": "1 + 2"}]] * 2, "thinking_begun": ["<think>", ""]}
    assert format_reward([inside, inside], require_think=True, **told) == [1.0, 0.0]
    assert format_reward(["<think>" + inside] * 2, require_think=True, **told) == [0.0, 1.0]
    assert accuracy_reward([cut, cut], ["3", "3"], **told) == [0.0, 1.0]
    assert accuracy_reward([inside, inside], ["3", "3"], **told) == [1.0, 1.0]
    assert accuracy_reward([None], ["3"], thinking_begun=["<think>"]) == [0.0]
    plain = ["1 + 2 <think>\n", "1 + 2"]  # as TRL's own trainer gives them
    assert format_reward([inside, inside], require_think=True, prompts=plain) == [1.0, 0.0]
    assert accuracy_reward([cut, cut], ["3", "3"], prompts=plain) == [0.0, 1.0]


def test_thinking_that_a_response_template_took_out_of_a_message_counts() -> None:
    told = {"thinking_begun": ["<think>"] * 2}
    message = {"role": "assistant", "reasoning_content": "so", "content": BOX % "3"}
    cut = {"role": "assistant", "reasoning_content": "the answer is 3", "content": ""}
    assert format_reward([[message], [cut]], require_think=True, **told) == [1.0, 0.0]
    assert format_reward([[message], [cut]], require_think=True) == [1.0, 0.0]
    assert accuracy_reward([[message], [cut]], ["3", "3"], **told) == [1.0, 0.0]


def test_the_file_command(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines = [
        {"id": 1, "gold": "1/2", "response": BOX % "0.5", "model": "m"},
        {"id": 2, "gold": 7, "response": None},
        {"id": 3, "gold": "4.2", "response": BOX % "4.25", "tolerance": 0.1},
        {"id": "ü", "gold": "3", "response": "\u2028" + BOX % "4"},
    ]
    source.write_text("\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n", encoding="utf-8")
    seen: list[tuple[int, int]] = []
    summary = cli_verify(source, target, progress=lambda done, total: seen.append((done, total)))
    written = [json.loads(line) for line in target.read_text(encoding="utf-8").split("\n") if line]
    assert [line["correct"] for line in written] == [True, False, True, False]
    assert [line["reason"] for line in written] == ["equivalent", "no_response", "equivalent", "different"]
    assert written[0]["model"] == "m"
    assert written[0]["extracted"] == "0.5"
    assert all(line["seconds"] >= 0 for line in written)
    assert (summary.items, summary.correct, seen) == (4, 2, [(4, 4)])
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_the_file_command_goes_on_where_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sgpo.rewards import files

    source, target, whole = tmp_path / "in.jsonl", tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    rows = [{"id": i, "gold": str(i), "response": BOX % (i - i % 2)} for i in range(10)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked: list[str] = []
    real = files.verify_batch

    def counting(responses: list[str], golds: list[str], **options: Any) -> Any:
        if len(asked) >= 6 and dying:
            raise KeyboardInterrupt
        asked.extend(golds)
        return real(responses, golds, **options)

    monkeypatch.setattr(files, "_CHUNK", 3)
    monkeypatch.setattr(files, "verify_batch", counting)
    dying = True
    with pytest.raises(KeyboardInterrupt):
        cli_verify(source, target)
    assert not target.exists()
    dying = False
    with (tmp_path / ".out.jsonl.verdicts.jsonl").open("ab") as kept:
        kept.write(b'{"name": "torn')
    summary = cli_verify(source, target)
    assert (summary.before, len(asked), summary.correct) == (6, 10, 5)
    cli_verify(source, whole)
    drop = [{**json.loads(line), "seconds": 0} for line in target.read_text().splitlines()]
    assert drop == [{**json.loads(line), "seconds": 0} for line in whole.read_text().splitlines()]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl", "whole.jsonl"]
    dying = True
    asked.clear()
    monkeypatch.setattr(files, "_CHUNK", 6)
    with pytest.raises(KeyboardInterrupt):
        cli_verify(source, target)
    dying = False
    assert cli_verify(source, target, require_box=True).before == 0  # other options are other verdicts


def test_the_file_command_writes_through_devices_and_links(tmp_path: Path) -> None:
    source, real, link = tmp_path / "in.jsonl", tmp_path / "there.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps({"id": 0, "gold": "7", "response": BOX % 7}) + "\n")
    link.symlink_to(real)
    assert cli_verify(source, link).correct == 1
    assert link.is_symlink()
    assert real.is_file()
    assert cli_verify(source, Path(os.devnull)).correct == 1
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("names", [("answer", "expert"), ("solution", "completion"), ("gold", "response")])
def test_the_file_command_reads_training_data_as_they_are(names: tuple[str, str], tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [dict(zip(names, ("7", BOX % said), strict=True)) for said in (7, 8)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert cli_verify(source, target).correct == 1
    written = [json.loads(line) for line in target.read_text().splitlines()]
    assert [{name: row[name] for name in names} for row in written] == rows
    assert [row["correct"] for row in written] == [True, False]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{not json", "line 2: not valid JSON"),
        ('["a"]', "line 2: a list, not a JSON object"),
        ('{"id": 1, "gold": "7"}', "line 2: no field 'response'"),
        ('{"id": 1, "response": "7"}', "line 2: no field 'gold'; it may also be named answer or"),
        ('{"id": 1, "gold": "", "response": ""}', "line 2: the gold is empty"),
        ('{"id": 1, "gold": "$$", "response": ""}', "line 2: the gold '\\$\\$' is nothing but delimiters"),
        ('{"id": 1, "gold": "7", "response": 7}', "line 2: 'response' is a int"),
        ('{"id": 1, "gold": {}, "response": ""}', "line 2: gold is a dict"),
        ("[" * 100_000, "line 2: not valid JSON"),
    ],
)
def test_a_bad_line_is_named_before_any_work(line: str, says: str, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": 0, "gold": "7", "response": "7"}\n' + line + "\n")
    with pytest.raises(BadLineError, match=says):
        cli_verify(source, tmp_path / "out.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_file_without_a_response_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("\n")
    with pytest.raises(BadLineError, match=r"in\.jsonl holds no responses; give a JSON object a line with gold"):
        cli_verify(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


FRAGMENTS = [
    "\\frac", "{", "}", "\\sqrt", "^", "_", "x", "7", "(", ")", "\\cup", ",", "\\text{or}", "=", "!", "\\pm", "%", "$",
    "\\\\", "é", "√", "²", "[", "\\begin{pmatrix}", "&", "'", '"', "\\sum", "\\infty", ":", "<", " ",
]  # fmt: skip
HOSTILE = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join))


@settings(max_examples=150)
@given(response=HOSTILE, gold=HOSTILE, boxed=st.booleans())
def test_any_strings_get_a_verdict(response: str, gold: str, boxed: bool) -> None:
    verdict = verify(f"\\boxed{{{response}}}" if boxed else response, gold, timeout=1.0)
    assert verdict.seconds < 60
    assert verdict.reason != "crash"


def test_equality_is_symmetric_on_numbers() -> None:
    generator = random.Random(0)
    spellings = [
        "1/2",
        "0.5",
        r"\frac12",
        r"\frac{2}{4}",
        "50\\%",
        "3",
        "3.0",
        "03",
        r"\sqrt{9}",
        "-1",
        r"-\frac{2}{2}",
    ]
    pairs = [tuple(generator.sample(spellings, 2)) for _ in range(40)]
    forward = rewards.verify_batch([BOX % a for a, _ in pairs], [b for _, b in pairs], timeout=30)
    backward = rewards.verify_batch([BOX % b for _, b in pairs], [a for a, _ in pairs], timeout=30)
    assert [v.correct for v in forward] == [v.correct for v in backward]
