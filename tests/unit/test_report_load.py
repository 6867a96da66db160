"""What a directory is read as, and the directories that are refused."""

import json
from pathlib import Path

import pytest
import report_kit as kit

from sgpo.lab.quickstart import run_quickstart
from sgpo.report.comparison import comparison
from sgpo.report.load import load_run
from sgpo.report.page import render_page
from sgpo.runs.bounded import read_bounded_rows
from sgpo.runs.json_entry import finite, finite_list


def test_a_comparison(tmp_path: Path) -> None:
    run = load_run(kit.compare_dir(tmp_path, seeds=2))
    assert (run.kind, run.finished, run.notices) == ("compare", True, [])
    assert [m.name for m in run.methods] == list(kit.ENDS)
    assert {c.name: (c.method, c.seed, c.base_seed, c.state) for c in run.cells}["sgpo-base1-seed1"] == (
        "sgpo", 1, 1, "done",
    )  # fmt: skip
    sgpo = run.method("sgpo")
    assert sgpo is not None
    saved = json.loads((tmp_path / "results.json").read_text())["methods"]["sgpo"]
    assert sgpo.accuracy == saved["accuracy"]
    assert sgpo.over_seeds == [entry["accuracy"] for entry in saved["seeds"]]
    families = {family: scores.accuracy for family, scores in sgpo.per_family.items()}
    assert families == {family: scores["accuracy"] for family, scores in saved["per_family"].items()}
    assert run.order == ["sgpo", "sft_grpo", "luffy"]
    steps, values = run.cells_of("sgpo")[0].series["sgpo/alpha"]
    assert steps == list(range(61))
    assert values[0] == pytest.approx(0.77)


def test_the_results_of_a_comparison_alone_are_those_of_its_seeds(tmp_path: Path) -> None:
    kit.compare_dir(tmp_path / "whole", seeds=3)
    whole = load_run(tmp_path / "whole")
    (tmp_path / "copy").mkdir()
    (tmp_path / "whole" / "results.json").rename(tmp_path / "copy" / "results.json")
    copy = load_run(tmp_path / "copy")
    assert (copy.kind, copy.finished, copy.cells) == ("compare", True, [])
    # Differences paired by seed, and intervals over the seeds: not those of one run over problems.
    assert copy.methods == whole.methods
    # Without curves, too, every method has a colour of its own.
    assert copy.hues == {"sgpo": 0, "sft_grpo": 1, "luffy": 2, "base": -1, "base_guided": -1} == whole.hues
    page = render_page(copy)
    assert "Paired difference over 3 seeds" in page
    assert "interval over problems" not in page


def test_a_comparison_in_progress(tmp_path: Path) -> None:
    kit.compare_dir(tmp_path, seeds=3, finished=False)
    cells = tmp_path / "cells"
    (cells / "sgpo-base0-seed2" / "result.json").unlink()
    with (cells / "sgpo-base0-seed2" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 61, "eval/acc')  # being written
    (cells / "luffy-base0-seed0" / "result.json").unlink()
    (cells / "luffy-base0-seed0" / "error.txt").write_text("ValueError: NaN loss at step 7\n")
    for file in (cells / "sft_grpo-base0-seed2").iterdir():
        file.unlink()
    (cells / "sft_grpo-base0-seed2").rmdir()
    run = load_run(tmp_path)
    states = {cell.name: cell.state for cell in run.cells if cell.state != "done"}
    assert states == {
        "sgpo-base0-seed2": "running",
        "luffy-base0-seed0": "crashed",
        "sft_grpo-base0-seed2": "waiting",
    }
    assert not run.finished
    assert run.notices == []
    assert next(c for c in run.cells if c.state == "crashed").error == "ValueError: NaN loss at step 7"
    waiting = next(c for c in run.cells if c.state == "waiting")
    assert (waiting.method, waiting.seed, waiting.base_seed) == ("sft_grpo", 2, 0)  # from its name
    sgpo = run.method("sgpo")
    assert sgpo is not None
    done = [json.loads((cells / f"sgpo-base{s}-seed{s}" / "result.json").read_text())["accuracy"] for s in (0, 1)]
    assert sgpo.accuracy == pytest.approx(sum(done) / 2)
    assert run.method("base") is None  # has no cell, and there are no results yet
    assert len(run.cells_of("sgpo")) == 2  # the running one would bend the mean


def test_a_difference_of_methods_without_a_seed_in_common_is_not_called_paired(tmp_path: Path) -> None:
    kit.compare_dir(tmp_path, seeds=2, finished=False)
    for cell in ("sgpo-base1-seed1", "luffy-base0-seed0"):
        (tmp_path / "cells" / cell / "result.json").unlink()
    view = comparison(load_run(tmp_path))
    assert view is not None
    assert view.gaps is not None
    assert {row.name: row.note for row in view.gaps.rows} == {"LUFFY": "not paired", "GRPO": ""}


def test_a_running_cell_is_drawn_where_no_other_is(tmp_path: Path) -> None:
    kit.compare_dir(tmp_path, seeds=1, finished=False)
    (tmp_path / "cells" / "sgpo-base0-seed0" / "result.json").unlink()
    run = load_run(tmp_path)
    assert [cell.state for cell in run.cells_of("sgpo")] == ["running"]


def test_a_quickstart_and_one_in_progress(tmp_path: Path) -> None:
    run = load_run(kit.quickstart_dir(tmp_path))
    assert (run.kind, run.finished) == ("quickstart", True)
    assert [c.method for c in run.cells] == ["sft_grpo", "sgpo"]
    assert [m.name for m in run.methods] == ["base", "base_guided", "sft_grpo", "sgpo"]
    (tmp_path / "results.json").unlink()
    run = load_run(tmp_path)
    assert not run.finished
    assert run.methods == []
    assert [c.state for c in run.cells] == ["running", "running"]


def test_results_of_an_earlier_quickstart_are_not_those_of_one_that_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sgpo.lab.quickstart.run_jobs", stop)
    kit.quickstart_dir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_quickstart(tmp_path, jobs=1)
    run = load_run(tmp_path)
    assert (run.finished, run.methods) == (False, [])


def test_a_training_run_is_read_from_its_last_checkpoint(tmp_path: Path) -> None:
    run = load_run(kit.training_dir(tmp_path, step=50))
    assert run.kind == "training"
    assert run.cells[0].series["sgpo/kl"][0][-1] == 50
    assert not run.finished
    assert run.notices == ["Step 50 of 60, as of the last checkpoint."]


def test_aliases_and_broken_values(tmp_path: Path) -> None:
    kit.compare_dir(tmp_path, seeds=1)
    rows = [
        {"step": 0, "sgpo/pass_rate_autonomous": 0.25, "loss": True, "entropy": float("nan")},
        {"step": "one", "sgpo/alpha": 0.5},
        {"sgpo/alpha": 0.5},
        {"step": 2, "sgpo/clip_fraction": [1, "x"], "sgpo/kl": 10**400},
    ]
    path = tmp_path / "cells" / "sgpo-base0-seed0" / "metrics.jsonl"
    kit.write_lines(path, rows)
    with path.open("ab") as file:
        file.write(b"[1, 2]\nnot json\n" + b"[" * 100_000 + b"\n")
    run = load_run(tmp_path)
    cell = next(c for c in run.cells if c.method == "sgpo")
    assert cell.series == {"sgpo/autonomous_pass_rate": ([0], [0.25])}
    assert run.notices == ["sgpo-base0-seed0/metrics.jsonl: 3 unreadable lines left out."]


@pytest.mark.parametrize(
    ("logged", "name"),
    [
        ({"rewards/lab_reward/mean": 0.25, "rewards/lab_reward/std": 0.4, "reward": 0.5}, "rewards/lab_reward/mean"),
        ({"reward": 0.25}, "reward"),
        ({"luffy/on_policy_reward": 0.25, "rewards/lab_reward/mean": 0.3, "reward": 0.3}, "luffy/on_policy_reward"),
        ({"sgpo/autonomous_pass_rate": 0.25, "reward": 0.5}, ""),
        ({"rewards/accuracy/mean": 0.25, "rewards/format/mean": 1.0, "reward": 1.25}, None),  # which one decides?
        ({"reward": 1.25}, None),  # no pass rate
        ({"loss": 0.25}, None),
    ],
)
def test_a_mean_reward_stands_in_for_a_pass_rate_that_was_not_logged(
    tmp_path: Path, logged: dict[str, float], name: str | None
) -> None:
    kit.compare_dir(tmp_path, seeds=1, extras=False)
    kit.write_lines(tmp_path / "cells" / "sft_grpo-base0-seed0" / "metrics.jsonl", [{"step": 1, **logged}])
    cell = next(c for c in load_run(tmp_path).cells if c.method == "sft_grpo")
    assert cell.pass_rate_from == (name or "")
    assert cell.series.get("sgpo/autonomous_pass_rate") == (None if name is None else ([1], [0.25]))


def test_names_of_cells_do_not_lead_out_of_the_directory(tmp_path: Path) -> None:
    run_dir = kit.compare_dir(tmp_path / "run", seeds=1)
    kit.write_json(tmp_path / "secret" / "result.json", kit.entry(0.5))
    manifest = json.loads((run_dir / "manifest.json").read_text())
    manifest["cells"] += ["../../secret", "..", "", 7, None, "a/b"]
    kit.write_json(run_dir / "manifest.json", manifest)
    assert [c.name for c in load_run(run_dir).cells] == manifest["cells"][:3]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "is empty"),
        ({"notes.txt": "x"}, "holds no run"),
        ({"manifest.json": {"schema": 1, "kind": "sgpo-strategies"}}, "of kind 'sgpo-strategies'"),
        ({"manifest.json": {"schema": 2, "kind": "sgpo-compare"}}, "schema 2; this version of sgpo reads up to 1"),
        ({"manifest.json": {"kind": "sgpo-compare"}}, "schema None"),
        ({"manifest.json": "cut off {"}, "not a JSON object"),
        ({"results.json": {"schema": 9, "methods": {"sgpo": {}}}}, "schema 9"),
        ({"results.json": {"accuracy": 1}, "settings.json": {}}, "sgpo eval diff"),
        ({"trainer_state.json": {"log_history": []}}, "no logged metrics"),
    ],
)
def test_what_is_refused(tmp_path: Path, files: dict[str, object], message: str) -> None:
    for name, value in files.items():
        (tmp_path / name).write_text(value if isinstance(value, str) else json.dumps(value))
    with pytest.raises(ValueError, match=message):
        load_run(tmp_path)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no directory"):
        load_run(tmp_path / "nowhere")


def test_a_method_without_accuracy_is_left_out_and_named(tmp_path: Path) -> None:
    kit.write_json(
        tmp_path / "results.json", {"schema": 1, "methods": {"sgpo": kit.entry(0.8), "hpt": {"accuracy": "x"}}}
    )
    run = load_run(tmp_path)
    assert [m.name for m in run.methods] == ["sgpo"]
    assert run.notices == ["results.json has no accuracy for hpt; it is left out of the comparison."]


def test_overlong_lines_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgpo.runs.bounded.MAX_LINE", 64)
    path = tmp_path / "samples.jsonl"
    path.write_text(json.dumps({"a": "x" * 500}) + "\n" + json.dumps({"b": 1}) + "\n")
    notices: list[str] = []
    assert list(read_bounded_rows(path, notices)) == [{"b": 1}]
    assert len(notices) == 1


def test_numbers() -> None:
    assert [finite(v) for v in (1, 0.5, True, "1", None, float("inf"), 10**400)] == [1.0, 0.5, *[None] * 5]
    assert finite_list([1, 2], 2) == [1.0, 2.0]
    assert finite_list([1, "x"], 2) is None
    assert finite_list([1], 2) is None
    assert finite_list("12", 2) is None
