"""The schema of what a comparison leaves: read leniently, written back as it was."""

import json
from pathlib import Path

import pytest

from sgpo.runs.entries import CellResult, ComparisonResults, MetricsRow, SampleRow
from sgpo.runs.json_entry import EntryError
from sgpo.runs.scores import SeedMean

RESULTS = Path(__file__).parents[2] / "docs" / "results"


@pytest.mark.parametrize("name", ["lab/results.json", "lab2/results.json", "sizes/width24.json"])
def test_results_of_every_edition_are_written_back_as_they_were(name: str) -> None:
    saved = json.loads((RESULTS / name).read_text())
    assert json.loads(json.dumps(ComparisonResults.from_json(saved).to_json())) == saved


def test_what_another_version_wrote_is_kept_and_what_was_not_measured_is_not_written() -> None:
    cell = CellResult.from_json({"accuracy": 0.5, "curve": [], "new_in_2": {"x": [1]}, "axes": {}})
    assert cell.to_json() == {"accuracy": 0.5, "curve": [], "new_in_2": {"x": [1]}}


def test_a_value_of_the_wrong_kind_counts_as_missing_and_only_a_required_one_is_named() -> None:
    cell = CellResult.from_json(
        {
            "accuracy": 0.5,
            "accuracy_ci95": [0.4, "x"],
            "seed": True,
            "per_family": {"a": {"accuracy": "x"}, "b": {"accuracy": 1, "pass_at_32": float("nan")}, "c": 7},
            "axes": {"types": {"accuracy": 0.5, "pass_at_k": {"x": 1, "0": 1, "2": "y", "4": 0.75}}},
            "strategy_control": {"problems": 3},
        }
    )
    assert (cell.accuracy_ci95, cell.seed, cell.strategy_control) == (None, None, None)
    assert {name: scores.pass_at_32 for name, scores in cell.per_family.items()} == {"b": None}
    assert cell.axes["types"].pass_at_k == {4: 0.75}
    for broken in ({}, {"accuracy": "x"}, {"accuracy": float("inf")}, [], None):
        with pytest.raises(EntryError, match="no 'accuracy'"):
            CellResult.from_json(broken)


def test_an_interval_of_one_seed_has_no_ends_and_says_nothing_of_a_side() -> None:
    ends = {SeedMean.from_json(value): value for value in ([0.1, 0.05, 0.2], [-0.1, -0.2, -0.05], [0.1, None, None])}
    assert [found.verdict for found in ends if found] == ["above", "below", "unknown"]
    assert [found.to_json() for found in ends if found] == list(ends.values())
    assert SeedMean(0.1, -0.1, 0.3).verdict == "level"
    assert [SeedMean.from_json(value) for value in ("x", [], ["x"], None, 3)] == [None] * 5


def test_rows_keep_the_numbers_and_the_texts_that_they_have() -> None:
    assert MetricsRow.from_json({"step": 3.0, "loss": 0.5, "nan": float("nan"), "on": True, "t": "x"}) == MetricsRow(
        3, {"loss": 0.5}
    )
    assert MetricsRow.from_json({"loss": 0.5}) is None
    row = SampleRow.from_json({"id": 7, "problem": ["a"], "autonomous_correct": "yes", "guided_correct": False})
    assert (row.id, row.problem, row.autonomous_correct, row.guided_correct) == ("7", "['a']", None, False)
