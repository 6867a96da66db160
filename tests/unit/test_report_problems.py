"""What the report makes of problem logs: rows that count, alpha over time and by family, strategies by lift."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import report_kit as kit
from hypothesis import given, settings
from hypothesis import strategies as st

from sgpo.report import problems
from sgpo.report.alpha_view import alpha
from sgpo.report.examples import strategies
from sgpo.report.load import load_run
from sgpo.report.page import write_report
from sgpo.report.problems import LoggedProblem, alpha_by_family, alpha_counts, lifts, read_log, read_logs, window
from sgpo.report.tables import Heat


def row(step: int, alpha: float = 0.0, family: str | None = "clock", **fields: Any) -> LoggedProblem:
    facts = {"id": f"{family}-{step}", "autonomous": 0.5, "guided": 0.5, "strategy": "s"}
    return LoggedProblem(**{"step": step, "alpha": alpha, "family": family, **facts, **fields})  # type: ignore[arg-type]


def write(path: Path, rows: list[dict[str, Any]]) -> list[str]:
    kit.write_lines(path, rows)
    return []


# ---------------------------------------------------------------- reading


def test_a_row_is_read_as_written(tmp_path: Path) -> None:
    notices = write(tmp_path / "problems.jsonl", [kit.problem(3, "clock-1", guided_pass_rate=None, alpha=0.800000012)])
    assert read_log(tmp_path, notices) == [LoggedProblem(3, "clock-1", "clock", 0.25, None, 0.8, "strategy of clock")]
    assert notices == []
    assert read_log(tmp_path / "none", notices) == []


def steps_and_alphas(tmp_path: Path, steps: list[int]) -> list[tuple[int, float]]:
    """Of a file whose n-th row has alpha n / 1000."""
    notices = write(tmp_path / "problems.jsonl", [kit.problem(s, alpha=i / 1000) for i, s in enumerate(steps)])
    return [(r.step, r.alpha) for r in read_log(tmp_path, notices)]


def test_what_a_resumed_or_new_run_repeats_counts_once(tmp_path: Path) -> None:
    # step 5 was reached, then the run went on from a checkpoint after step 2 and drew nothing at step 4
    assert steps_and_alphas(tmp_path, [1, 2, 3, 4, 5, 3, 5, 6]) == [
        (1, 0),
        (2, 0.001),
        (3, 0.005),
        (5, 0.006),
        (6, 0.007),
    ]
    # killed in its last step and resumed there
    assert steps_and_alphas(tmp_path, [1, 2, 2, 3]) == [(1, 0), (2, 0.002), (3, 0.003)]
    # begun anew
    assert steps_and_alphas(tmp_path, [3, 5, 7, 1, 2]) == [(1, 0.003), (2, 0.004)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from("abc")), max_size=30))
def test_repeats_by_a_slow_reader(tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, str]]) -> None:
    folder = tmp_path_factory.mktemp("log")
    notices = write(folder / "problems.jsonl", [kit.problem(s, i, alpha=n / 1000) for n, (s, i) in enumerate(drawn)])
    expected: dict[tuple[int, str], int] = {}
    for n, (step, name) in enumerate(drawn):
        if n and step < drawn[n - 1][0]:
            expected = {key: value for key, value in expected.items() if key[0] < step}
        expected[step, name] = n
    found = read_log(folder, notices)
    assert {(r.step, r.id): round(1000 * r.alpha) for r in found} == expected
    assert [r.step for r in found] == sorted(r.step for r in found)


def test_several_processes_make_one_log_and_other_files_none(tmp_path: Path) -> None:
    for i in range(2):
        write(tmp_path / f"problems-rank{i}.jsonl", [kit.problem(step, f"clock-{i}") for step in (1, 2)])
    write(tmp_path / "problems-old.jsonl", [kit.problem(1, "clock-9")])
    assert [(r.step, r.id) for r in read_log(tmp_path, [])] == [
        (1, "clock-0"), (1, "clock-1"), (2, "clock-0"), (2, "clock-1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "broken",
    [
        {"step": None},
        {"step": True},
        {"step": -1},
        {"step": 10**400},
        {"id": None},
        {"alpha": float("nan")},
        {"alpha": -0.1},
        {"alpha": "0.5"},
        {"autonomous_pass_rate": None},
        {"autonomous_pass_rate": 1.5},
        {"guided_pass_rate": -0.5},
    ],
)
def test_rows_that_cannot_be(tmp_path: Path, broken: dict[str, Any]) -> None:
    notices = write(tmp_path / "problems.jsonl", [{**kit.problem(1), **broken}, kit.problem(2)])
    assert [r.step for r in read_log(tmp_path, notices)] == [2]
    assert notices == [f"{tmp_path.name}/problems.jsonl: 1 row that is no problem of a run left out."]


def test_broken_lines_long_texts_and_long_files(tmp_path: Path) -> None:
    long = kit.problem(1, "i" * 5_000, family="f" * 5_000, strategy="s" * 50_000)
    path = tmp_path / "problems.jsonl"
    kit.write_lines(path, [long, kit.problem(2, family=None, strategy="  ")])
    with path.open("ab") as file:
        file.write(b"not json\n[3]\n" + json.dumps(kit.problem(3, family=7, strategy=[1])).encode() + b"\n")
        file.write(b'{"step": 4, "id"')  # being written
    notices: list[str] = []
    first, second, third = read_log(tmp_path, notices)
    assert max(map(len, (first.id, first.family or "", first.strategy or ""))) < 1_600
    assert (second.family, second.strategy) == (None, None)
    assert (third.family, third.strategy) == ("7", "[1]")
    assert notices == [f"{tmp_path.name}/problems.jsonl: 2 unreadable lines left out."]
    notices.clear()
    assert len(read_log(tmp_path, notices, 2)) == 2
    assert notices == [f"{tmp_path.name}/problems.jsonl: no more than its first 2 lines were read."]


def test_a_run_has_the_logs_of_what_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.compare_dir(tmp_path, seeds=2)
    logs = read_logs(load_run(tmp_path))
    assert {method: [len(log) for log in found] for method, found in logs.items()} == {"sgpo": [120, 120]}
    monkeypatch.setattr(problems, "MAX_ROWS", 60)  # six cells
    assert [len(log) for log in read_logs(load_run(tmp_path))["sgpo"]] == [10, 10]


# ---------------------------------------------------------------- alpha


@given(st.integers(1, 300), st.integers(1, 50))
def test_windows_are_equal_parts_of_the_steps(last: int, windows: int) -> None:
    windows = min(windows, last)
    sizes = [0] * windows
    for step in range(1, last + 1):
        sizes[window(step, last, windows)] += 1
    assert max(sizes) - min(sizes) <= 1


def test_alpha_counts_are_means_over_cells_of_problems_with_a_strategy() -> None:
    one = [row(1, 0.0), row(1, 0.8), row(2, 0.8), row(4, 0.0)]
    other = [row(1, 0.8), row(3, 0.8, strategy=None), row(4, 0.0)]
    assert alpha_counts([one, other], 2, 2, lambda a: int(a > 0)) == [[0.5, 1.5], [1.0, 0.0]]


def test_alpha_by_family_is_a_mean_of_the_means_of_cells() -> None:
    one = [row(1, 0.2), row(1, 0.4), row(2, 0.1), row(2, 0.7, "ratio"), row(2, 0.7, None), row(2, 0.9, strategy=None)]
    other = [row(1, 0.6), row(2, 0.5, "ratio")]
    table = alpha_by_family([one, other], 2)
    assert list(table) == ["ratio", "clock"]  # by falling mean
    assert table["clock"] == pytest.approx([0.45, 0.1])
    assert table["ratio"] == [None, pytest.approx(0.6)]


def test_the_view_of_alpha_comes_from_the_logs_or_else_from_the_shares(tmp_path: Path) -> None:
    run = load_run(kit.compare_dir(tmp_path, seeds=2))
    (chart,) = alpha(run, read_logs(run))
    assert chart.table is not None
    rows = chart.table.rows
    assert chart.table.titles == ["Steps", "0", "up to 0.2", "up to 0.4", "up to 0.6", "up to 0.8"]
    assert [row.name for row in rows][:2] == ["1–6", "7–12"]  # steps 1 to 59
    assert sum(float(str(count)) for row in rows for count in row.cells) == pytest.approx(120)
    assert chart.families is not None
    assert {row.name for row in chart.families.rows[:2]} == {"ratio", "remainder"}  # learned later
    assert chart.families.rows[0].cells[0] == Heat("0.80", 10)
    for path in tmp_path.glob("cells/*/problems.jsonl"):
        path.unlink()
    run = load_run(tmp_path)
    (chart,) = alpha(run, read_logs(run))
    assert (chart.table, chart.families) == (None, None)


def test_families_are_absent_without_their_column_and_bounded(tmp_path: Path) -> None:
    path = kit.compare_dir(tmp_path, seeds=1) / "cells" / "sgpo-base0-seed0" / "problems.jsonl"
    kit.write_lines(path, [kit.problem(step, family=None) for step in (1, 2)])
    write_report(tmp_path)
    assert "Alpha by family" not in (tmp_path / "report.html").read_text()
    kit.write_lines(path, [kit.problem(1, family=f"family {i}", id=str(i)) for i in range(60)])
    write_report(tmp_path)
    source = (tmp_path / "report.html").read_text()
    assert "20 more families are left out." in source
    assert len(re.findall(r'<th scope="row">family \d+', source)) == 40


def test_a_short_run_has_no_empty_columns(tmp_path: Path) -> None:
    path = kit.compare_dir(tmp_path, seeds=1) / "cells" / "sgpo-base0-seed0" / "problems.jsonl"
    kit.write_lines(path, [kit.problem(step) for step in (1, 3, 5, 7, 9, 11)])
    run = load_run(tmp_path)
    (chart,) = alpha(run, read_logs(run))
    assert chart.families is not None
    assert chart.families.titles == ["Family", "1–2", "3–4", "5–6", "7–8", "9–10", "11"]
    assert [cell.text for cell in chart.families.rows[0].cells] == ["0.70"] * 6  # type: ignore[union-attr]


def test_a_log_of_one_step(tmp_path: Path) -> None:
    path = kit.compare_dir(tmp_path, seeds=1) / "cells" / "sgpo-base0-seed0" / "problems.jsonl"
    for step in (0, 1):
        kit.write_lines(path, [kit.problem(step)])
        write_report(tmp_path)
        assert "problems by alpha in each part" in (tmp_path / "report.html").read_text()


# ---------------------------------------------------------------- strategies


def test_lift_is_guided_minus_autonomous_over_the_draws_that_have_both() -> None:
    one = [
        row(1, guided=1.0, strategy="up", id="a"),
        row(4, guided=0.75, strategy="up", id="b", family="ratio"),
        row(4, guided=None, strategy="up"),
        row(2, guided=0.25, strategy="down", id="c"),
        row(2, guided=1.0, strategy=None),
        row(3, guided=None, strategy="never guided"),
    ]
    up, down = lifts([one, [row(1, guided=1.0, strategy="up", id="a")]])
    assert (up.strategy, up.problems, up.families, up.drawn) == ("up", ["a", "b"], ["clock", "ratio"], 3)
    assert (up.lift, up.early, up.late) == (pytest.approx(1.25 / 3), 0.5, 0.25)
    assert (down.lift, down.early, down.late) == (-0.25, -0.25, None)
    assert lifts([[row(3, guided=None)]]) == []


def test_strategies_drawn_rarely_are_left_out_and_many_are_cut() -> None:
    def drawn(name: str, times: int, guided: float) -> list[LoggedProblem]:
        return [row(1, guided=guided, strategy=name) for _ in range(times)]

    view = strategies({"sgpo": [drawn("lucky", 1, 1.0) + drawn("often", 3, 0.75)], "no_clip": [drawn("other", 9, 1.0)]})
    assert view is not None
    assert [row.lift.strategy for row in view.rows] == ["often"]
    assert (view.method, view.total, view.rare, view.all_rare, view.harm) == ("SGPO", 1, 1, False, 0)
    view = strategies({"sgpo": [drawn("lucky", 1, 1.0)]})
    assert view is not None
    assert (view.total, view.rare, view.all_rare) == (1, 0, True)
    many = [r for i in range(50) for r in drawn(f"s{i}", 3, i / 50)]
    view = strategies({"sgpo": [many]})
    assert view is not None
    assert (view.total, len(view.rows), view.harm) == (50, 40, 25)
    assert [view.rows[i].lift.strategy for i in (0, 19, 20, 39)] == ["s49", "s30", "s19", "s0"]
    assert strategies({}) is None


def test_halves_are_compared_over_the_strategies_that_both_have() -> None:
    both = [row(1, guided=1.0, strategy="a"), row(2, guided=0.75, strategy="a")]
    view = strategies({"sgpo": [[*both, row(1, guided=1.0, strategy="b"), row(2, guided=0.0, strategy="c")]]})
    assert view is not None
    assert (view.both, view.early, view.late) == (1, 0.5, 0.25)


@pytest.mark.parametrize(
    ("draws", "sentence"),
    [([1, 1], "None was drawn 3 times, so that much of this is chance."), ([3, 1], "1 drawn less than 3 times")],
)
def test_the_page_says_what_rare_draws_mean(tmp_path: Path, draws: list[int], sentence: str) -> None:
    path = kit.compare_dir(tmp_path, seeds=1) / "cells" / "sgpo-base0-seed0" / "problems.jsonl"
    rows = [kit.problem(n, str(i), strategy=f"s{i}") for i, times in enumerate(draws) for n in range(times)]
    kit.write_lines(path, sorted(rows, key=lambda row: row["step"]))
    write_report(tmp_path)
    assert sentence in (tmp_path / "report.html").read_text()


def test_a_training_run_shows_its_problems_too(tmp_path: Path) -> None:
    kit.training_dir(tmp_path)
    kit.write_lines(tmp_path / "problems.jsonl", kit.problems())
    write_report(tmp_path)
    source = (tmp_path / "report.html").read_text()
    for text in ("Alpha by family", "The lift of each strategy", "strategy of ratio", "First half"):
        assert text in source
