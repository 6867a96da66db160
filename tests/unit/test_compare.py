"""The comparison's parts: names of methods, results from cells, tables, and what a directory may hold."""

import csv
import dataclasses
import io
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import sgpo
from sgpo.compare.cells import run_cells, run_once
from sgpo.compare.lab import LabTask
from sgpo.compare.options import CompareOptions, LabOptions, split_methods
from sgpo.compare.results import method_results
from sgpo.compare.run import ComparePlan, _cells, run_comparison
from sgpo.compare.search import beyond, overrides_of, search
from sgpo.compare.table import as_csv, as_markdown, as_text
from sgpo.lab.experiment import Cell, RunBudget, train_config, train_data
from sgpo.report.load import load_run
from sgpo.runs.entries import CellResult, ComparisonResults, FailedCell, Searched
from sgpo.runs.methods import METHODS, PRESETS
from sgpo.runs.words import axis_name
from sgpo.trainer.methods import find_method

FAMILIES = [f"family{i}" for i in range(10)]
UNSOLVED = FAMILIES[:3]


def entry(accuracy: float, seed: int, never: float = 0.0) -> dict[str, Any]:
    """What a cell returns, with equal accuracy in the families that the base solves."""
    rest = (accuracy * len(FAMILIES) - never * len(UNSOLVED)) / (len(FAMILIES) - len(UNSOLVED))
    return {
        "accuracy": accuracy,
        "accuracy_ci95": [accuracy - 0.02, accuracy + 0.02],
        "accuracy_greedy": accuracy + 0.05,
        "accuracy_over_training": accuracy - 0.1,
        "n_problems": 10,
        "k": 4,
        "per_family": {f: {"accuracy": never if f in UNSOLVED else rest} for f in FAMILIES},
        "sampled_tokens": 1000,
        "guided_tokens": 400,
        "trained_tokens": 2000,
        "train_seconds": 3.0,
        "seed": seed,
        "base_seed": seed % 2,
    }


AXES = ("instances", "operands", "wordings", "types", "longer")


def on_axes(seed: int, *accuracies: float) -> dict[str, Any]:
    """A cell that was measured on five axes."""
    axes = {
        axis: {"accuracy": value, "greedy": value, "pass_at_32": 1.0, "pass_at_k": {"1": value, "32": 1.0}}
        for axis, value in zip(AXES, accuracies, strict=True)
    }
    return {**entry(sum(accuracies) / 5, seed), "axes": axes}


def results_of(**entries: list[dict[str, Any]]) -> ComparisonResults:
    cells = {name: [CellResult.from_json(one) for one in listed] for name, listed in entries.items()}
    methods = method_results(cells, {"sgpo": Searched(learning_rate=1e-3, search={})}, UNSOLVED)
    return ComparisonResults(schema=1, machine="a machine", methods=methods, never_solved=tuple(UNSOLVED))


def results(**entries: list[dict[str, Any]]) -> dict[str, Any]:
    """What results.json holds."""
    return results_of(**entries).to_json()


def read(found: dict[str, Any]) -> ComparisonResults:
    """Results as they are read back."""
    return ComparisonResults.from_json(json.loads(json.dumps(found)))


def test_every_method_and_preset_can_be_found() -> None:
    for name in METHODS:
        assert find_method(name).name == name
    for preset, names in PRESETS.items():
        assert preset in CompareOptions.__dataclass_fields__["preset"].metadata["help"]
        for name in names:
            find_method(name)
    assert set(PRESETS["paper"]) == {"base", "sft", "sft_grpo", "sft_grpo_12", "luffy", "hpt", "sgpo"}


def test_overrides_become_fields_and_share_the_rate_of_their_method() -> None:
    method = find_method("sgpo:kl_clip=0.5,teacher=ema")
    assert method.fields == {"kl_clip": 0.5, "teacher": "ema"}
    assert method.tuned_as == "sgpo"
    assert find_method("sgpo:learning_rate=8e-4,alpha_0=1").fields == {"learning_rate": 8e-4, "alpha_0": 1}
    assert find_method("no_clip:teacher=ema").fields == {"kl_clip": None, "teacher": "ema"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("sgop", "did you mean sgpo"),
        ("sgpo:kl_clp=1", "did you mean kl_clip"),
        ("sgpo:kl_clip", "write field=value"),
        ("base:kl_clip=1", "trains nothing"),
    ],
)
def test_unknown_methods_and_fields_are_named(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_method(spec)


def test_a_rate_in_the_name_is_not_searched_for(tmp_path: Path) -> None:
    plan = ComparePlan(("base", "sgpo:learning_rate=0.5", "sgpo"), task=LabTask(RunBudget(learning_rate=0.25)))
    rates = search(plan, tmp_path)
    assert rates == {"sgpo": Searched(learning_rate=0.25, search={})}
    trained = [cell for cell in _cells(plan, rates) if cell.method != "base"]
    by_method = {cell.method: train_config(cell, tmp_path).learning_rate for cell in trained}
    assert by_method == {"sgpo:learning_rate=0.5": 0.5, "sgpo": 0.25}


def test_runs_that_sample_come_first_so_that_the_last_ones_are_short(tmp_path: Path) -> None:
    plan = ComparePlan(("base", "sft", "sgpo", "hpt"), seeds=2)
    assert [(cell.method, cell.seed) for cell in _cells(plan, {})] == [
        *[("hpt", 0), ("sgpo", 0), ("base", 0), ("sft", 0)],
        *[("hpt", 1), ("sgpo", 1), ("base", 1), ("sft", 1)],
    ]


def test_a_run_of_the_search_is_measured_at_its_end_only() -> None:
    task = LabTask(RunBudget(generations=7, eval_every=2))
    tuning = task.cell("sgpo", 0, 0, {}, tuning=True).budget
    assert (tuning.split, tuning.eval_every) == ("validation", 7)
    assert task.cell("sgpo", 0, 0, {}).budget == task.budget
    said = LabOptions.__dataclass_fields__["generations"].metadata["help"]
    assert said.endswith(f"Default: {RunBudget().generations}.")


def test_methods_may_be_typed_with_blanks_or_commas() -> None:
    assert split_methods(["base,sft", "sgpo hpt", "sgpo:kl_clip=0.3,teacher=ema,luffy"]) == [
        "base",
        "sft",
        "sgpo",
        "hpt",
        "sgpo:kl_clip=0.3,teacher=ema",
        "luffy",
    ]


def test_every_method_gets_the_same_problems_and_rows(tmp_path: Path) -> None:
    budget = RunBudget(problems=6, generations=5, updates=3)
    for name in METHODS:
        if find_method(name).kind is None:
            continue
        config = train_config(Cell(name, budget=budget), tmp_path)
        group = getattr(config, "num_generations", 1)
        assert config.max_steps == (15 * 8 if find_method(name).kind == "sft" else 15)  # 8 rollouts of GRPO
        assert config.per_device_train_batch_size == 6 * group
        assert config.learning_rate == budget.learning_rate


def test_differences_are_paired_by_seed_and_worked_by_hand() -> None:
    methods = results(
        sgpo=[entry(0.8, 0, 0.5), entry(0.9, 1, 0.5)],
        sft_grpo=[entry(0.7, 0), entry(0.7, 1)],
    )["methods"]
    mean, low, high = methods["sft_grpo"]["sgpo_minus"]["end"]
    assert mean == pytest.approx(0.15)
    # Differences .1 and .2: standard error .05, t(1 degree of freedom, 97.5%) = 12.706.
    assert (low, high) == pytest.approx((0.15 - 12.706 * 0.05, 0.15 + 12.706 * 0.05), abs=1e-4)
    assert methods["sft_grpo"]["sgpo_minus"]["never_solved"][0] == pytest.approx(0.5)
    without = methods["sft_grpo"]["sgpo_minus"]["without_never_solved"][0]
    assert without == pytest.approx((8.5 - 1.5) / 7 - 1.0)
    assert "sgpo_minus" not in methods["sgpo"]
    assert methods["sgpo"]["learning_rate"] == 1e-3


def test_axes_are_averaged_and_compared_by_seed_and_worked_by_hand() -> None:
    one = results(
        sgpo_plus=[on_axes(0, 0.9, 0.9, 0.9, 0.9, 0.9), on_axes(1, 1.0, 0.9, 0.9, 0.9, 0.9)],
        sgpo=[on_axes(0, 0.8, 0.7, 0.6, 0.5, 0.4), on_axes(1, 0.8, 0.7, 0.6, 0.5, 0.6)],
        sft=[on_axes(0, 1.0, 0.3, 0.6, 0.5, 0.2), on_axes(1, 1.0, 0.3, 0.6, 0.5, 0.2)],
    )
    methods = one["methods"]
    longer = methods["sgpo"]["axes"]["longer"]
    assert (longer["accuracy"], longer["seeds"], longer["pass_at_32"]) == (0.5, 2, 1.0)
    # Values .4 and .6: standard error .1, t(1 degree of freedom, 97.5%) = 12.706.
    assert longer["interval"] == pytest.approx([0.5, 0.5 - 1.2706, 0.5 + 1.2706], abs=1e-4)
    gaps = methods["sft"]["axes_minus"]["sgpo"]
    assert [gaps[axis][0] for axis in AXES] == pytest.approx([-0.2, 0.4, 0.0, 0.0, 0.3])
    # Of the four new axes: (.4 + 0 + 0 + .2) / 4 and (.4 + 0 + 0 + .4) / 4, half a range of .025 times 12.706.
    assert gaps["new_axes"] == pytest.approx([0.175, 0.175 - 0.3177, 0.175 + 0.3177], abs=1e-4)
    assert gaps["all_axes"][0] == pytest.approx((4 * 0.175 - 0.2) / 5)
    assert methods["sgpo"]["axes_minus"].keys() == {"sgpo_plus"}
    assert methods["sgpo_plus"]["axes_minus"].keys() == {"sgpo"}
    assert methods["sft"]["axes_minus"]["sgpo_plus"]["instances"][0] == pytest.approx(-0.05)
    assert methods["sgpo"]["scores"]["new_axes"][0] == pytest.approx((0.55 + 0.6) / 2)
    one = results(**{name: methods[name]["seeds"] for name in ("sgpo", "sft")})
    parts = dict(pairwise(as_text(read(one)).split("\n\n")))
    wanted = [axis_name(axis) for axis in AXES]
    for title in ("By axis, %", "SGPO minus the method on each axis, points, paired by seed"):
        head = re.split(r"  +", parts[title].splitlines()[0])
        assert (head[0], head[1:6]) == ("method", wanted)
    rows = {(row["method"], row["measure"]): row for row in csv.DictReader(io.StringIO(as_csv(read(one))))}
    assert float(rows["sft", "sgpo_minus_axis_longer"]["mean"]) == pytest.approx(0.3)
    assert float(rows["sft", "axis_operands_pass_at_32"]["mean"]) == 1.0


def test_pass_at_32_where_exploration_finds_nothing_is_a_mean_over_its_problems_and_older_entries_lack_it() -> None:
    def passes(one: dict[str, Any], *found: float) -> dict[str, Any]:
        for family, share, problems in zip(UNSOLVED, found, (1, 3), strict=False):
            one["per_family"][family] |= {"pass_at_32": share, "pass_problems": problems}
        return one

    seeds = [passes(entry(0.8, 0), 1.0, 0.0), passes(entry(0.8, 1), 0.0, 1.0)]
    one = results(
        base=[passes(entry(0.1, s), 0.0, 0.0) for s in (0, 1)], sgpo=seeds, hpt=[entry(0.5, 0), entry(0.5, 1)]
    )
    sgpo, base, older = (one["methods"][name] for name in ("sgpo", "base", "hpt"))
    assert sgpo["scores"]["never_solved_pass_at_32"][0] == pytest.approx((1 / 4 + 3 / 4) / 2)
    assert sgpo["per_family"]["family1"]["pass_at_32"] == 0.5
    assert base["sgpo_minus"]["never_solved_pass_at_32"][0] == pytest.approx(0.5)
    assert "pass_at_32" not in sgpo["per_family"]["family2"], "not among the problems of pass@32"
    assert "never_solved_pass_at_32" not in older["scores"] | older["sgpo_minus"]
    assert "never-solved pass@32" in as_text(read(one))
    rows = {(row["method"], row["measure"]): row for row in csv.DictReader(io.StringIO(as_csv(read(one))))}
    assert float(rows["sgpo", "family_family1_pass_at_32"]["mean"]) == 0.5


def test_a_single_seed_has_the_interval_over_problems_and_no_interval_of_the_difference() -> None:
    methods = results(sgpo=[entry(0.8, 0)], sft_grpo=[entry(0.7, 0)])["methods"]
    assert methods["sgpo"]["accuracy_ci95"] == pytest.approx([0.78, 0.82])
    assert methods["sft_grpo"]["sgpo_minus"]["end"][0] == pytest.approx(0.1)
    assert methods["sft_grpo"]["sgpo_minus"]["end"][1:] == [None, None]


def test_a_table_of_one_seed_has_its_interval_over_problems() -> None:
    one = results(sgpo=[entry(0.8, 0)], sft_grpo=[entry(0.7, 0)])
    title, table, *_ = as_text(read(one)).split("\n\n")
    assert title.endswith("one seed [95% interval over problems]")
    assert "80.0 [78.0, 82.0]" in table
    assert "85.0 [" not in table  # greedy: an interval that nothing gives
    two = results(sgpo=[entry(0.8, 0), entry(0.9, 1)])
    assert "mean [95% interval over 2 seeds]" in as_text(read(two))


def test_a_failed_cell_is_named_and_its_seed_left_out_of_the_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(self: LabTask, cell: Cell, *rest: Any) -> CellResult:
        if cell.method == "hpt" or (cell.method, cell.seed) == ("sgpo", 2):
            raise ValueError("no")
        accuracy = {"sgpo": (0.8, 0.9, 0.0), "sft_grpo": (0.7, 0.7, 0.1)}[cell.method][cell.seed]
        return CellResult.from_json(entry(accuracy, cell.seed))

    in_this_process(monkeypatch, run)
    one = run_comparison(ComparePlan(("sgpo", "sft_grpo", "hpt"), seeds=3), tmp_path)
    assert one.methods["sft_grpo"].sgpo_minus["end"].mean == pytest.approx(0.15)
    assert one.failed["sgpo, seed 2"] == "ValueError: no"
    assert "hpt" not in one.methods
    assert "FAILED hpt, seed 1: ValueError: no" in as_text(one)
    first = as_text(one).split("\n\n")[1].splitlines()
    assert [line.split("  ")[0] for line in first[1:]] == ["SGPO (2 of 3 seeds)", "GRPO"]
    assert read(json.loads((tmp_path / "results.json").read_text())) == read(one.to_json())


def test_a_start_with_fewer_seeds_or_methods_takes_nothing_out_of_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_this_process(monkeypatch, lambda self, cell, *rest: CellResult.from_json(entry(0.5, cell.seed)))
    run_comparison(ComparePlan(("base", "sgpo"), seeds=3), tmp_path)
    # Fewer seeds, another method and one of the two; then more seeds of a single one.
    for methods, seeds, counts in ((("sgpo", "hpt"), 1, (3, 1, 3)), (("hpt",), 4, (4, 3, 3))):
        one = run_comparison(ComparePlan(methods, seeds=seeds), tmp_path)
        assert tuple(len(method.seeds) for method in one.methods.values()) == counts
        assert [each.seed for each in one.methods["base"].seeds] == [0, 1, 2]
        assert read(json.loads((tmp_path / "results.json").read_text())) == read(one.to_json())
    assert as_text(one).count("SGPO (3 of 4 seeds)") == 2  # of its mean, and of its families
    assert one.methods["sgpo"].learning_rate == LabTask().learning_rate


def test_runs_of_several_versions_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that is added to a directory after an update is no more compared with its like."""
    in_this_process(monkeypatch, lambda self, cell, *rest: CellResult.from_json(entry(0.5, cell.seed)))
    assert run_comparison(ComparePlan(("sgpo",), seeds=2), tmp_path).versions == ()
    monkeypatch.setattr("sgpo.runs.provenance.__version__", "9.9")
    one = run_comparison(ComparePlan(("sgpo", "sft_grpo"), seeds=2), tmp_path)
    (line,) = one.versions
    assert line == f"sgpo: {sgpo.__version__} (2 runs), 9.9 (2 runs)"
    assert f"Runs of several versions are compared: {line}." in as_text(one)
    assert any(line in notice for notice in load_run(tmp_path).notices)


def in_this_process(monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    """Cells of the lab do what ``run`` does, one after the other."""
    monkeypatch.setattr(LabTask, "run", run)
    monkeypatch.setattr(LabTask, "prepare", lambda self, out: None)
    monkeypatch.setattr(
        "sgpo.compare.cells.run_jobs", lambda jobs, _: {j.name: j.function(*j.args, print) for j in jobs}
    )


def test_tables_hold_the_same_figures() -> None:
    one = results(base=[entry(0.06, 0)], sgpo=[entry(0.8, 0)], sft_grpo=[entry(0.7, 0)])
    assert "SGPO" in as_text(read(one))
    assert "80.0" in as_text(read(one))
    assert "| GRPO | +10.0 |" in as_markdown(read(one))
    rows = list(csv.DictReader(io.StringIO(as_csv(read(one)))))
    (difference,) = [r for r in rows if (r["method"], r["measure"]) == ("sft_grpo", "sgpo_minus_end")]
    assert float(difference["mean"]) == pytest.approx(0.1)
    assert len({tuple(sorted(row)) for row in rows}) == 1
    assert read(json.loads(json.dumps(one, allow_nan=False))).to_json() == one


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"methods": ()}, "no method"),
        ({"methods": ("sgpo", "sgpo")}, "named twice"),
        ({"rates": (1e-3, 1e-4, 0.001000000001)}, r"learning rate is named twice.*0\.001, 0\.0001"),
        ({"methods": ("sgpoo",)}, "did you mean"),
        ({"methods": ("sgpo", "sgpo:max_steps=9")}, "max_steps, which is the same for all methods"),
        ({"methods": ("sgpo", "sgpo:kl_clip=-1")}, "kl_clip"),
        ({"seeds": 0}, "at least 1"),
        ({"jobs": -1}, "jobs is -1"),
        ({"rates": (0.001, 3.0)}, "learning rate 3.0"),
    ],
)
def test_a_plan_that_cannot_work_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ComparePlan(**{"methods": ("sgpo",), **fields})


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, "is not empty"),
        ({"kind": "sgpo-eval", "schema": 1}, "of kind 'sgpo-eval'"),
        ({"kind": "sgpo-compare", "schema": 2}, "schema 2"),
        ({"kind": "sgpo-compare", "schema": 1, "settings": {}, "methods": [], "seeds": []}, "other settings"),
    ],
)
def test_a_directory_of_another_kind_or_budget_is_refused(
    tmp_path: Path, manifest: dict[str, Any] | None, message: str
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    if manifest:
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=message):
        run_comparison(ComparePlan(("sgpo",)), tmp_path)


def test_a_finished_cell_is_not_run_again_and_another_one_not_taken_for_it(tmp_path: Path) -> None:
    cell = Cell("sgpo")
    (tmp_path / "cell.json").write_text(json.dumps({**dataclasses.asdict(cell), "name": cell.name}))
    (tmp_path / "result.json").write_text('{"accuracy": 0.5}')
    assert run_cells([(cell, tmp_path)], LabTask(), 1, tmp_path) == {tmp_path.name: CellResult(accuracy=0.5)}
    with pytest.raises(
        ValueError, match=r"other settings \(name: .*seed: 0 saved, 1 given.* Delete .* to run it again"
    ):
        run_cells([(Cell("sgpo", seed=1), tmp_path)], LabTask(), 1, tmp_path)


def test_finished_cells_are_read_before_any_run_and_need_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    def run(jobs: Any, processes: int) -> dict[str, Any]:
        started.extend(job.name for job in jobs)
        return {job.name: CellResult(accuracy=0.1) for job in jobs}

    monkeypatch.setattr("sgpo.compare.cells.run_jobs", run)
    cells = [Cell("sgpo"), Cell("sgpo", seed=1)]
    work = [(cell, tmp_path / cell.name) for cell in cells]
    (finished := work[1][1]).mkdir()
    (finished / "cell.json").write_text(json.dumps({**dataclasses.asdict(cells[1]), "name": cells[1].name}))
    (finished / "result.json").write_text('{"accuracy": 0.5}')
    found = run_cells(work, LabTask(), 1, tmp_path)
    assert started == [cells[0].name]
    assert {name: result.accuracy for name, result in found.items() if isinstance(result, CellResult)} == {
        cells[0].name: 0.1,
        cells[1].name: 0.5,
    }
    started.clear()
    (finished / "cell.json").write_text("{}")
    with pytest.raises(ValueError, match="other settings"):
        run_cells(work, LabTask(), 1, tmp_path)
    assert not started


def test_a_full_gpu_is_said_in_a_sentence_with_its_remedy(tmp_path: Path) -> None:
    class Full(LabTask):
        def run(self, *_: Any) -> CellResult:
            message = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 18.00 MiB. Process 1 has 2 GiB."
            raise RuntimeError(message)

    failed = run_once(Full(), Cell("sgpo"), tmp_path, tmp_path / "cell", print)
    assert isinstance(failed, FailedCell)
    assert failed.error.startswith("RuntimeError: torch.OutOfMemoryError: CUDA out of memory. Give fewer --jobs")
    assert "Process" not in failed.error
    assert "Process 1" in (tmp_path / "cell" / "error.txt").read_text()


def test_a_run_of_the_search_that_failed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: LabTask, cell: Cell, *rest: Any) -> CellResult:
        if cell.overrides == {"learning_rate": 0.2}:
            raise FloatingPointError("the loss is nan")
        return CellResult.from_json(entry(0.5, cell.seed))

    in_this_process(monkeypatch, run)
    found = run_comparison(ComparePlan(("sgpo",), seeds=1, rates=(0.1, 0.2)), tmp_path)
    assert found.failed == {"search, sgpo-base0-seed1000-lr0.2": "FloatingPointError: the loss is nan"}
    assert found.methods["sgpo"].learning_rate == 0.1


def test_a_copy_of_a_base_that_was_cut_off_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ("config.json", "model.safetensors")

    def copy(base: Path, out: Path) -> None:
        out.mkdir()
        for name in whole:
            if not started:
                started.append(name)
            elif started == ["config.json"]:
                raise KeyboardInterrupt
            (out / name).write_bytes((base / name).read_bytes())

    started: list[str] = []
    monkeypatch.setattr("sgpo.compare.lab.shutil.copytree", copy)
    with pytest.raises(KeyboardInterrupt):
        LabTask().prepare(tmp_path)
    started.append("again")
    LabTask().prepare(tmp_path)
    for i, base in enumerate(LabTask().bases):
        assert all((tmp_path / f"start-base{i}" / name).read_bytes() == (base / name).read_bytes() for name in whole)


def scripted(monkeypatch: pytest.MonkeyPatch, accuracy: Any) -> list[tuple[str, dict[str, Any]]]:
    """Runs of the search that reach what ``accuracy(method, base, fields)`` says; returns what was run."""
    ran: list[tuple[str, dict[str, Any]]] = []

    def run(work: Any, *rest: Any) -> dict[str, Any]:
        ran.extend((cell.method, dict(cell.overrides)) for cell, _ in work if cell.base_seed == 0)
        assert len({path for _, path in work}) == len(work)
        return {
            path.name: CellResult(accuracy=accuracy(c.method, c.base_seed, c.overrides), seconds=2.0)
            for c, path in work
        }

    monkeypatch.setattr("sgpo.compare.search.run_cells", run)
    return ran


def test_the_search_takes_the_best_mean_over_the_bases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accuracy = {(0, 0.1): 0.9, (0, 0.2): 0.8, (1, 0.1): 0.2, (1, 0.2): 0.8}  # 0.1 collapses on base 1

    scripted(monkeypatch, lambda _, base, fields: accuracy.get((base, fields["learning_rate"]), 0.1))
    found = search(ComparePlan(("sgpo", "no_clip"), rates=(0.1, 0.2)), tmp_path)
    assert found["sgpo"].to_json() == {
        "learning_rate": 0.2,
        "search": {"0.05": [0.1], "0.1": [0.9, 0.2], "0.2": [0.8, 0.8], "0.4": [0.1]},
        "widened": ["0.05", "0.4"],
        "search_seconds": 12,
    }, "the best rate alone is run from both bases, until one of those is the best"
    assert found["no_clip"] == found["sgpo"], "an ablation changes one thing only"
    monkeypatch.setattr("sgpo.compare.search.run_cells", None)
    again = search(ComparePlan(("sgpo",), rates=(0.1, 0.2)), tmp_path)
    assert again["sgpo"].to_json() == found["sgpo"].to_json(), "searched once"


def test_a_best_rate_at_an_edge_widens_the_list_three_times_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = {"sgpo": 0.008, "sft": 0.0, "hpt": 0.25, "luffy": None}  # luffy learns nothing anywhere

    def accuracy(method: str, base: int, fields: dict[str, Any]) -> float:
        return 0.0 if best[method] is None else 1 - abs(fields["learning_rate"] - best[method])

    ran = scripted(monkeypatch, accuracy)
    found = search(ComparePlan(tuple(best), rates=(0.02, 0.04, 0.08)), tmp_path)
    assert {name: one.widened for name, one in found.items()} == {
        "sgpo": ("0.005", "0.01"),  # 0.01 is better than 0.02, then 0.005 is not better than 0.01
        "sft": ("0.0025", "0.005", "0.01"),
        "hpt": ("0.16", "0.32", "0.64"),
        "luffy": (),
    }
    assert {name: one.learning_rate for name, one in found.items()} == {
        "sgpo": 0.01, "sft": 0.0025, "hpt": 0.32, "luffy": 0.02
    }  # fmt: skip
    assert list(found["sgpo"].search or {}) == ["0.005", "0.01", "0.02", "0.04", "0.08"]
    assert len(ran) == 4 * 3 + 2 + 3 + 3
    assert json.loads((tmp_path / "search.json").read_text())["sft"]["widened"] == ["0.0025", "0.005", "0.01"]


def test_a_rate_of_one_and_more_is_never_tried() -> None:
    assert beyond({0.3: [0.1], 0.6: [0.5]}) is None
    assert beyond({0.1: [0.5], 0.2: [0.1]}) == 0.05


def test_a_balance_is_searched_at_the_best_rate_and_yields_to_a_field_in_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def accuracy(method: str, base: int, fields: dict[str, Any]) -> float:
        return fields["learning_rate"] + {3.0: 0.1, 0.3: -0.1}.get(fields.get("sft_coef"), 0.0)

    ran = scripted(monkeypatch, accuracy)
    names = ("hpt", "luffy", "sgpo", "hpt:sft_coef=1")
    found = search(ComparePlan(names, rates=(0.3, 0.6), balance=True), tmp_path)
    assert [fields for method, fields in ran if method == "hpt" and "sft_coef" in fields] == [
        {"learning_rate": 0.6, "sft_coef": 0.3}, {"learning_rate": 0.6, "sft_coef": 3.0}
    ]  # fmt: skip
    assert found["hpt"].balance == {"sft_coef": 3.0}
    assert found["hpt"].balance_search == {
        "field": "sft_coef", "default": [0.6, 0.6], "0.3": [0.5, 0.5], "3": [0.7, 0.7]
    }  # fmt: skip
    assert found["luffy"].to_json()["balance"] == {}, "its default was as good"
    assert found["sgpo"].balance is None
    assert overrides_of("hpt", found) == {"learning_rate": 0.6, "sft_coef": 3.0}
    assert overrides_of("hpt:sft_coef=1", found) == {"learning_rate": 0.6}
    one = results(hpt=[entry(0.5, 0)])
    one["methods"]["hpt"] |= found["hpt"].to_json()
    assert "0.6, sft_coef 3" in as_text(read(one))


def test_the_budget_names_the_expert_that_is_trained_on() -> None:
    plain, gentle = (train_data(RunBudget(expert=name))["expert"] for name in ("plain", "gentle"))
    assert train_data(RunBudget())["expert"] == gentle
    assert all(
        text.startswith(" note ") != other.startswith(" note ") for text, other in zip(gentle, plain, strict=True)
    )
    with pytest.raises(ValueError, match="choose one of plain, gentle"):
        RunBudget(expert="kind")


def test_a_base_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json"):
        LabTask(bases=(tmp_path,))


def test_runs_that_see_no_expert_are_taken_over_from_a_comparison_with_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, str]] = []

    def run(self: LabTask, cell: Cell, out: Path, folder: Path, report: Any) -> CellResult:
        ran.append((cell.budget.expert, cell.method))
        (folder / "model").mkdir()
        return CellResult.from_json(entry(0.5, cell.seed))

    in_this_process(monkeypatch, run)

    def plan(expert: str, **fields: Any) -> ComparePlan:
        names = ("base", "sft", "hpt", "sgpo", "sft_grpo")
        return ComparePlan(names, seeds=1, task=LabTask(RunBudget(expert=expert, **fields)), rates=(0.1, 0.2))

    first, second = tmp_path / "gentle", tmp_path / "terse"
    run_comparison(plan("gentle"), first)
    ran.clear()
    found = run_comparison(plan("terse"), second, first)
    assert set(ran) == {("terse", "sft"), ("terse", "hpt")}
    assert (found.expert, set(found.methods)) == ("terse", {"base", "sft", "hpt", "sgpo", "sft_grpo"})
    taken = second / "cells" / "sgpo-base0-seed0"
    assert json.loads((taken / "cell.json").read_text())["budget"]["expert"] == "terse"
    assert not (taken / "model").exists()
    ran.clear()
    run_comparison(plan("terse"), second, first)
    assert ran == [], "a directory goes on as it is"
    with pytest.raises(
        ValueError, match=r"other settings \(budget.generations: 80 saved, 3 given.*only the expert may differ"
    ):
        run_comparison(plan("plain", generations=3), tmp_path / "plain", first)
    with pytest.raises(ValueError, match="holds no comparison"):
        run_comparison(plan("plain"), tmp_path / "new", tmp_path / "nowhere")
    manifest = json.loads((first / "manifest.json").read_text())
    del manifest["settings"]["sources"]
    (first / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="of an older version, which did not save from which weights"):
        run_comparison(plan("plain"), tmp_path / "newer", first)


def test_a_base_that_was_trained_anew_under_its_name_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"weights")

    def run(self: LabTask, cell: Cell, out: Path, folder: Path, report: Any) -> CellResult:
        return CellResult.from_json(entry(0.5, cell.seed))

    in_this_process(monkeypatch, run)

    def plan(expert: str) -> ComparePlan:
        return ComparePlan(("base", "hpt"), seeds=1, task=LabTask(RunBudget(expert=expert), bases=(base,)))

    first = tmp_path / "gentle"
    run_comparison(plan("gentle"), first)
    (base / "model.safetensors").write_bytes(b"others!")
    with pytest.raises(ValueError, match=r"other settings \(sources.bases: .*only the expert may differ"):
        run_comparison(plan("terse"), tmp_path / "terse", first)
    with pytest.raises(ValueError, match=r"made with other settings \(sources.bases: "):
        run_comparison(plan("gentle"), first)


def test_a_copy_of_a_base_that_has_changed_since_is_not_gone_on_with(tmp_path: Path) -> None:
    """Of a directory whose manifest says nothing of its bases."""
    LabTask().prepare(tmp_path)
    LabTask().prepare(tmp_path)
    copied = tmp_path / "start-base1" / "model.safetensors"
    copied.write_bytes(copied.read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError, match=r"seed1 has changed since .* began from it"):
        LabTask().prepare(tmp_path)


def test_the_base_is_measured_from_the_copy_that_the_others_begin_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []

    def load(path: Path) -> Any:
        loaded.append(path)
        raise RuntimeError("enough")

    monkeypatch.setattr("sgpo.compare.lab.load", load)
    with pytest.raises(RuntimeError, match="enough"):
        LabTask().run(Cell("base", seed=1, base_seed=1), tmp_path, tmp_path / "cell", print)
    assert loaded == [tmp_path / "start-base1"]
