"""Replies to strategies and scores, and what a strategy may hold."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from strategies_kit import GOOD

from sgpo.strategies.parsing import MAX_REPLY_CHARS, REASONS, parse_scores, parse_strategy
from sgpo.strategies.schema import CRITERIA, SCORES_SCHEMA, STRATEGY_SCHEMA, Strategy, clean

TEXT = json.dumps(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"  \n{TEXT}\n",
        f"```json\n{TEXT}\n```",
        f"Here you are:\n```\n{TEXT}\n```\nI hope this helps {{see above}}.",
        f'<think>Maybe {{"problem_type": "wrong"}}? No.</think>{TEXT}',
        f"A draft: {json.dumps({**GOOD, 'problem_type': 'draft'})} and the last word: {TEXT}",
        f'{TEXT} and {{"unrelated": 1}}',
        json.dumps(GOOD, indent=2),
        json.dumps({**GOOD, "confidence": 0.9}),
        json.dumps({**GOOD, "steps": "1. Name them.\n2. Add them."}),
        json.dumps({**GOOD, "steps": ["Step 1: Name them.", "- Add them."]}),
        # nearly JSON
        TEXT[:-2] + ",],}",
        TEXT.replace('"', "'"),
        str(GOOD),
        TEXT.replace('"problem_type"', "problem_type").replace('"steps"', "steps"),
        TEXT.replace('"', "“", 1).replace('"', "”", 1),
        TEXT.replace("[", "[ // in this order\n"),
        # other shapes
        json.dumps({**GOOD, "steps": [{"step": i + 1, "description": s} for i, s in enumerate(GOOD["steps"])]}),
        json.dumps({**GOOD, "steps": [{"title": f"Step {i + 1}", "text": s} for i, s in enumerate(GOOD["steps"])]}),
        json.dumps({**GOOD, "steps": {str(i + 1): s for i, s in enumerate(GOOD["steps"])}}),
        json.dumps({**GOOD, "steps": {f"Step {i + 1}": {"do": s} for i, s in enumerate(GOOD["steps"])}}),
        json.dumps({**GOOD, "steps": [{f"Step {i + 1}": s} for i, s in enumerate(GOOD["steps"])]}),
        json.dumps({key.replace("_", " ").title(): value for key, value in GOOD.items()}),
        json.dumps({"problemType": GOOD["problem_type"], "Strategy": GOOD["strategy"], "STEPS": GOOD["steps"]}),
        json.dumps({"strategy": GOOD}),
        json.dumps({"result": GOOD, "note": "as asked"}),
        json.dumps([GOOD]),
        # thinking, ended and not
        f"<thinking>{json.dumps({**GOOD, 'strategy': 'draft'})}</thinking>{TEXT}",
        f"<|begin_of_thought|>{{'a': 1}}<|end_of_thought|>\n<|begin_of_solution|>{TEXT}<|end_of_solution|>",
        f"[THINK]{json.dumps({**GOOD, 'strategy': 'draft'})}[/THINK]{TEXT}",
        f"<|channel|>analysis<|message|>{{'a': 1}}<|end|><|start|>assistant<|channel|>final<|message|>{TEXT}<|return|>",
        f"analysisWe need {{'a': 1}}. assistantfinal{TEXT}",
        f"◁think▷{json.dumps({**GOOD, 'strategy': 'draft'})}◁/think▷{TEXT}",
        f"no beginning of it {json.dumps({**GOOD, 'strategy': 'draft'})}</think>{TEXT}",
        f"{TEXT}\n<think>was that right? {json.dumps({**GOOD, 'strategy': 'draft'})}",
    ],
)
def test_a_strategy_is_found_in_whatever_stands_around_it(text: str) -> None:
    parsed = parse_strategy(text)
    assert parsed.outcome == "ok"
    assert parsed.value.model_dump() == GOOD


LABELLED = """{0}Problem type{1} addition
{0}Strategy{1} Combine the parts into a whole.
{0}Steps{1}
1. Name them.
2. Add them."""
YAML = """problem_type: addition
strategy: "Combine the parts into a whole."
steps:
  - Name them.
  - 'Add them.'"""
TAGGED = """<problem_type>addition</problem_type><strategy>Combine the parts into a whole.</strategy>
<steps><step>Name them.</step><step>Add them.</step></steps>"""
BULLETS = """- **problem_type**: addition
- **strategy**: Combine the parts into a whole.
- **steps**:
  1. Name them.
  2. Add them."""
HEADINGS = """Here it is:

## Problem Type
addition

## Strategy
Combine the parts
into a whole.

## Steps
1. Name them.
2. Add them."""
DRAFT = json.dumps({**GOOD, "strategy": "draft"})


@pytest.mark.parametrize(
    "text",
    [
        # labelled text
        LABELLED.format("", ":"),
        LABELLED.format("**", ":**"),
        LABELLED.format("### ", "："),
        YAML,
        f"```yaml\n---\n{YAML}\n```",
        f"<think>Strategy: draft</think>{YAML}",
        TAGGED,
        TAGGED.replace("\n", ""),
        BULLETS,
        HEADINGS,
        # steps in other shapes
        *(
            json.dumps({**GOOD, "steps": steps})
            for steps in (
                "1. Name them. 2. Add them.",
                "(1) Name them. (2) Add them.",
                "Step 1: Name them. Step 2: Add them.",
                "**1.** Name them.\n**2.** Add them.",
                ["1. Name them. 2. Add them."],
                ["1. Name them.\n2. Add them."],
                '["Name them.", "Add them."]',
                [["Name them."], ["Add them."]],
                ["Name them.", None, "", " ", "Add them."],
                ["**Step 1:** Name them.", "(2) Add them."],
            )
        ),
        json.dumps(
            {"problem_type": "addition", "strategy": GOOD["strategy"], "step_1": "Name them.", "step 2": "Add them."}
        ),
        # other fields in other shapes
        json.dumps({**GOOD, "strategy": ["Combine the parts", "into a whole."]}),
        json.dumps({**GOOD, "strategy": {"description": GOOD["strategy"]}}),
        json.dumps({**GOOD, "problem_type": ["addition"]}),
        json.dumps({"problem_type": "addition", "strategy": {"strategy": GOOD["strategy"], "steps": GOOD["steps"]}}),
        # wrappers
        json.dumps({"response": {"strategy": GOOD}}),
        json.dumps({"strategies": [{**GOOD, "strategy": "draft"}, GOOD]}),
        json.dumps({"output": TEXT}),
        json.dumps({"name": "answer", "arguments": TEXT}),
        json.dumps(TEXT),
        TEXT.replace('"', '\\"'),
        TEXT.replace('"', "&quot;"),
        # an echo of the schema
        f"{json.dumps(STRATEGY_SCHEMA)}\n{TEXT}",
        f"{TEXT}\nas in {json.dumps(STRATEGY_SCHEMA)}",
        json.dumps({"type": "object", "properties": GOOD}),
        # nearly JSON
        TEXT.replace('"', "`"),
        re.sub('"(.*?)"', r"«\1»", TEXT),
        re.sub('"(.*?)"', r"„\1“", TEXT),
        TEXT.translate(str.maketrans('{}[]:,"', "｛｝［］：，＂")),
        TEXT[:-1],
        TEXT[:-2] + ", ...]}",
        TEXT.replace('", "strategy', '" # what it is\n, "strategy'),
        TEXT.replace('", "st', '"\n"st'),
        f"<think>a <think>{DRAFT}</think>{DRAFT}</think>{TEXT}",
    ],
)
def test_what_was_paid_for_is_read_in_other_forms(text: str) -> None:
    parsed = parse_strategy(text)
    assert parsed.outcome == "ok", text
    assert parsed.value.model_dump() == GOOD


@pytest.mark.parametrize("strategy", ['Use "parts", then "wholes".', "Say <think> once.", 'It\'s {a} \\ b: "x".'])
def test_quotes_and_marks_within_a_text_stay(strategy: str) -> None:
    unescaped = json.dumps({**GOOD, "strategy": "HERE"}).replace("HERE", strategy.replace("\\", "\\\\"))
    for text in (unescaped, json.dumps({**GOOD, "strategy": strategy})):
        assert parse_strategy(text).value.strategy == strategy


@pytest.mark.parametrize("command", ["bigl", "bf", "fbox", "rm", "relax", "ref", "newcommand", "nleq", "texttt", "tag"])
def test_no_command_of_latex_is_taken_for_an_escape(command: str) -> None:
    text = f'{{"problem_type": "a", "strategy": "use \\{command} here", "steps": ["b"]}}'
    assert parse_strategy(text).value.strategy == f"use \\{command} here"


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ("", "stop", "empty"),
        (" \n ", "stop", "empty"),
        ("<think>I would say", "length", "truncated"),
        ("<think>hm</think>", "stop", "empty"),
        ("x" * (MAX_REPLY_CHARS + 1), "stop", "too_long"),
        ("I'm sorry, but I can't help with that.", "stop", "refusal"),
        ("I am sorry, I cannot help with this.", "stop", "refusal"),
        ("I can’t help with this.", "stop", "refusal"),
        ("I must decline.", "stop", "refusal"),
        ("No.", "refusal", "refusal"),
        (TEXT[:-30], "length", "truncated"),
        (TEXT[:-30], "stop", "truncated"),
        ('{"problem_type": "a", "strategy": "b" "steps": ["c"]}', "stop", "bad_json"),
        (f"[THINK]{TEXT}", "length", "truncated"),
        (f"<thinking>{TEXT}", "stop", "empty"),
        (f"<|channel|>analysis<|message|>{TEXT}", "length", "truncated"),
        ("{'" * 50_000, "stop", "bad_json"),
        ('{"a": ' + "'x" * 90_000, "stop", "truncated"),
        ("{a:" * 60_000, "stop", "bad_json"),
        ("Use induction on n.", "stop", "no_json"),
        ("Strategy: induction.\nSteps: 1. Try n = 1.", "stop", "no_json"),
        (json.dumps(STRATEGY_SCHEMA), "stop", "wrong_schema"),
        ("{'problem_type': 'a'}", "stop", "wrong_schema"),
        ('["a"]', "stop", "no_json"),
        (json.dumps({"problem_type": "a", "strategy": "b"}), "stop", "wrong_schema"),
        (json.dumps({**GOOD, "steps": []}), "stop", "wrong_schema"),
        (json.dumps({**GOOD, "steps": [1, 2]}), "stop", "wrong_schema"),
        (json.dumps({**GOOD, "strategy": "  "}), "stop", "wrong_schema"),
        (json.dumps({**GOOD, "strategy": "x" * 2001}), "stop", "wrong_schema"),
        (json.dumps({**GOOD, "steps": ["x"] * 21}), "stop", "wrong_schema"),
        ('{"a": ' * 3000, "stop", "bad_json"),
        ('{"a": ' + "9" * 5000 + "}", "stop", "bad_json"),
    ],
)
def test_what_cannot_be_used_has_a_reason(text: str, finish: str, reason: str) -> None:
    parsed = parse_strategy(text, finish)
    assert (parsed.outcome, parsed.value) == (reason, None)
    assert reason in REASONS


def test_single_backslashes_of_latex_are_kept() -> None:
    strategy = r'"strategy": "use \frac{1}{2}, \sum and \\theta\n", "steps": ["\text{x} \u0041"]'
    text = r'{"problem_type": "a \times b", ' + strategy + "}"
    value = parse_strategy(text).value
    assert value.problem_type == r"a \times b"
    assert value.strategy == r"use \frac{1}{2}, \sum and \theta"
    assert value.steps == [r"\text{x} A"]


def test_control_characters_and_lone_surrogates_do_not_enter() -> None:
    hostile = json.dumps({**GOOD, "strategy": "a\x1b[31m\x00\u202eb\ud800\tc\r\nd"})
    assert parse_strategy(hostile).value.strategy == "a[31mb?\tc\nd"
    assert clean("\ud83d").encode() == b"?"


@given(st.text(max_size=300), st.sampled_from(["stop", "length", "refusal"]))
def test_nothing_raises_and_every_outcome_is_known(text: str, finish: str) -> None:
    for parsed in (parse_strategy(text, finish), parse_scores(text, 2, finish)):
        assert (parsed.outcome == "ok") == (parsed.value is not None)
        assert parsed.outcome in ("ok", *REASONS)


@given(st.lists(st.sampled_from(["1. ", "- ", "Step 2: ", "x", " ", "3) ", "* "]), min_size=1, max_size=6).map("".join))
def test_a_strategy_that_was_stored_reads_the_same(step: str) -> None:
    value = parse_strategy(json.dumps({**GOOD, "steps": [step]})).value
    assert value is None or Strategy.model_validate_json(value.model_dump_json()) == value


def test_the_text_of_a_prompt() -> None:
    assert Strategy(**GOOD).text() == (
        "Problem type: addition\nStrategy: Combine the parts into a whole.\nSteps:\n1. Name them.\n2. Add them."
    )
    with pytest.raises(ValidationError):
        Strategy(problem_type="a", strategy="b", steps=[])


def scores(*rows: tuple[int, int, int, int]) -> list[dict[str, Any]]:
    return [{"candidate": i, **dict(zip(CRITERIA, row, strict=True))} for i, row in enumerate(rows, 1)]


def test_scores_in_any_order_and_spelling() -> None:
    rows = scores((5, 4, 3, 2), (1, 1, 1, 1))
    expected = [dict(zip(CRITERIA, row, strict=True)) for row in [(5, 4, 3, 2), (1, 1, 1, 1)]]
    spelled = [{**rows[1], "candidate": "2", "general": 1.0}, {**rows[0], "faithful": "5/5"}]
    for entries in (rows, rows[::-1], spelled):
        parsed = parse_scores(f"```json\n{json.dumps({'scores': entries})}\n```", 2)
        assert (parsed.outcome, parsed.value) == ("ok", expected)


@pytest.mark.parametrize("names", [("B", "A"), ("two", "one"), ("second", "first"), ("Candidate (b)", "Candidate (a)")])
def test_scores_by_letters_or_words_go_to_their_candidates(names: tuple[str, str]) -> None:
    rows = scores((1, 1, 1, 1), (5, 5, 5, 5))
    listed = [{**row, "candidate": name} for row, name in zip(rows, names, strict=True)]
    for shape in (listed, dict(zip(names, map(bare, rows), strict=True))):
        assert [each["general"] for each in parse_scores(json.dumps({"scores": shape}), 2).value] == [5, 1]


def test_scores_by_names_that_say_no_place_are_none() -> None:
    """In the order of the reply, the best first, they would be given to the wrong candidates."""
    rows = scores((5, 5, 5, 5), (1, 1, 1, 1))
    named = [{**row, "candidate": name} for row, name in zip(rows, ("Use symmetry", "Count twice"), strict=True)]
    assert parse_scores(json.dumps({"scores": named}), 2).outcome == "wrong_schema"
    assert parse_scores(json.dumps({"scores": list(map(bare, rows))}), 2).outcome == "ok"


def bare(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "candidate"}


@pytest.mark.parametrize(
    "entries",
    [
        scores((5, 4, 3, 2)),
        scores((5, 4, 3, 2), (0, 1, 1, 1)),
        scores((5, 4, 3, 2), (6, 1, 1, 1)),
        [*scores((5, 4, 3, 2)), *scores((5, 4, 3, 2))],
        scores((5, 4, 3, 2), (1, 1, 1, 1), (1, 1, 1, 1)),
        [{**row, "general": value} for row, value in zip(scores((1,) * 4, (1,) * 4), (None, 2.5), strict=True)],  # type: ignore[arg-type]
        [1, 2],
        {"1": 2, "3": 4},
        "ab",
        None,
    ],
)
def test_scores_that_are_not_all_there_are_none(entries: Any) -> None:
    assert parse_scores(json.dumps({"scores": entries}), 2).outcome == "wrong_schema"


def test_the_schemas_for_servers_name_the_fields_of_the_models() -> None:
    assert list(STRATEGY_SCHEMA["properties"]) == list(Strategy.model_fields) == STRATEGY_SCHEMA["required"]
    entry = SCORES_SCHEMA["properties"]["scores"]["items"]
    assert entry["required"] == ["candidate", *CRITERIA]
    assert entry["additionalProperties"] is STRATEGY_SCHEMA["additionalProperties"] is False


def test_scores_in_other_shapes() -> None:
    row = dict.fromkeys(CRITERIA, 4)
    titled = {name.replace("_", " ").title(): 4 for name in CRITERIA}
    for shape in (
        {"scores": {"1": row, "2": row}},
        {"Scores": {"Candidate 2": titled, "Candidate 1": titled}},
        {"result": {"scores": [{"Candidate": i, **titled} for i in (1, 2)]}},
    ):
        assert parse_scores(json.dumps(shape), 2).value == [row, row]
        assert parse_scores(f"<thinking>hm</thinking>{shape}", 2).value == [row, row]
    rows = [{"candidate": i, **row} for i in (1, 2)]
    for shape in (
        rows,
        {"evaluations": rows},
        {"result": {"data": {"scores": rows}}},
        {"scores": [row, row]},
        {"candidate_2": row, "candidate_1": row},
        {"scores": [{"number": f"Candidate {i}", "ratings": row} for i in (1, 2)]},
        {"scores": [{"candidate": i, **{name: {"score": 4, "reason": "5 of"} for name in CRITERIA}} for i in (1, 2)]},
        {"scores": [{"candidate": i, **dict.fromkeys(CRITERIA, "4 - good")} for i in (1, 2)]},
        {"scores": [{"candidate": i, **dict.fromkeys(CRITERIA, "4 out of 5")} for i in (1, 2)]},
    ):
        assert parse_scores(json.dumps(shape), 2).value == [row, row], shape
    assert parse_scores("\n".join(map(json.dumps, rows)), 2).value == [row, row]
    for bad in ("4-5", "4.5", "5 or 4?? 3", "good"):
        entries = [{"candidate": i, **dict.fromkeys(CRITERIA, bad)} for i in (1, 2)]
        assert (bad, parse_scores(json.dumps({"scores": entries}), 2).outcome) == (bad, "wrong_schema")
    assert parse_scores(json.dumps([rows[0], rows[0]]), 2).outcome == "wrong_schema"
    assert parse_scores(json.dumps({"scores": {"1": row, "3": row}}), 2).outcome == "wrong_schema"
    assert parse_scores(json.dumps({"scores": {"1": row, "2": 4}}), 2).outcome == "wrong_schema"
