"""Text, headline, series and plots of the report, each against cases worked by hand."""

import itertools
import json
import re
import unicodedata
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import report_kit as kit
from hypothesis import given, settings
from hypothesis import strategies as st

from sgpo.compare.results import method_results
from sgpo.lab.problems import AXES
from sgpo.report import svg
from sgpo.report.axes_view import title_of
from sgpo.report.comparison import families
from sgpo.report.curves_view import curves
from sgpo.report.headline import headline
from sgpo.report.run import Run, RunCell, end_gap
from sgpo.report.series import POINTS, Band, bands, first_and_last, smooth
from sgpo.report.text import bound, harmless, points, visible
from sgpo.runs.entries import CellResult, MethodResult
from sgpo.runs.methods import METHODS, spoken_label
from sgpo.runs.scores import NEW_AXES, FamilyScores, SeedMean
from sgpo.runs.words import axis_name, in_thousands

ROOT = Path(__file__).parents[2]

# ---------------------------------------------------------------- text


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=200))
def test_cleaned_text_can_be_written_and_hides_nothing(text: str) -> None:
    shown = harmless(text)
    shown.encode("utf-8")
    for char in shown:
        assert unicodedata.category(char) not in ("Cc", "Cs") or char in "\n\t"
        assert unicodedata.bidirectional(char) not in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    assert harmless(shown) == shown


def test_clean_keeps_what_is_to_be_seen() -> None:
    text = "∑ x²\tπ ≥ 3\nשלום 👩‍🚀"
    assert harmless(text) == text
    assert harmless("a\x00\u202eb\ud800") == "a[U+0000][U+202E]b�"


def test_bound_says_what_it_left_out() -> None:
    assert bound("abc", 3) == "abc"
    assert bound("x" * 1_503, 3) == "xxx … [1,500 more characters left out]"
    assert bound(None, 3) == ""
    assert bound(12, 3) == "12"
    assert len(bound([0] * 10_000, 20)) < 80
    assert (visible(" a"), visible("\n"), visible("")) == ("␣a", "⏎", "∅")
    assert (points(0.0412), points(-0.003)) == ("+4.1", "−0.3")


# ---------------------------------------------------------------- differences and headline


Seeds = dict[int, float]


def run_of(finished: bool = True, cells: list[RunCell] | None = None, **methods: Seeds) -> Run:
    """A run with the methods that these accuracies by seed make."""
    results = {
        name: [CellResult(accuracy=value, seed=seed, base_seed=0) for seed, value in seeds.items()]
        for name, seeds in methods.items()
    }
    return Run(Path("run"), "compare", list(method_results(results, {}).values()), cells or [], finished)


def gap_of(sgpo: Seeds, hpt: Seeds) -> tuple[SeedMean, int]:
    """SGPO minus HPT at the end, and over how many pairs."""
    ours, other = run_of(sgpo=sgpo, hpt=hpt).methods
    return end_gap(ours, other), ours.pairs_with(other)


def test_difference_is_paired_over_common_seeds() -> None:
    gap, pairs = gap_of({0: 0.51, 1: 0.62, 2: 0.73, 9: 0.99}, {2: 0.7, 1: 0.6, 0: 0.5, 8: 0.0})
    # differences .01, .02, .03: sd .01, t(.975, 2) = 4.30265, half-width 4.30265 * .01 / sqrt(3)
    assert gap.mean == pytest.approx(0.02)
    assert gap.ends == pytest.approx((0.02 - 0.024841, 0.02 + 0.024841), abs=1e-6)
    assert (pairs, gap.verdict) == (3, "level")


def test_the_seed_of_another_base_is_another_seed() -> None:
    ours = [CellResult(accuracy=value, seed=seed, base_seed=0) for seed, value in ((0, 0.5), (1, 0.6))]
    other = [CellResult(accuracy=0.4, seed=seed, base_seed=1) for seed in (0, 1)]
    sgpo, hpt = method_results({"sgpo": ours, "hpt": other}, {}).values()
    assert hpt.sgpo_minus == {}
    assert end_gap(sgpo, hpt) == SeedMean(pytest.approx(0.15))
    assert sgpo.pairs_with(hpt) == 0


def test_differences_are_drawn_as_the_comparison_wrote_them() -> None:
    """They are its to compute: a report that paired anew could say something else of the same run."""
    ours, other = run_of(sgpo={0: 0.5, 1: 0.6}, hpt={0: 0.4, 1: 0.4}).methods
    saved = MethodResult.from_json({**other.to_json(), "sgpo_minus": {"end": [0.3, 0.2, 0.4]}})
    assert end_gap(ours, saved) == SeedMean(0.3, 0.2, 0.4)


def test_every_method_has_a_label() -> None:
    assert [spoken_label(name) for name in ("sft_grpo_12", "no_clip")] == [
        "GRPO (12 rollouts)", "SGPO without KL clip",
    ]  # fmt: skip
    assert len({spoken_label(name) for name in METHODS}) == len(METHODS)
    assert spoken_label("sgpo:kl_clip=3,teacher=ema") == "SGPO (kl_clip 3, teacher ema)"
    assert spoken_label("my_own") == "my own"


SGPO = {0: 0.80, 1: 0.82, 2: 0.84}


@pytest.mark.parametrize(
    ("others", "title", "more"),
    [
        (
            {"hpt": {0: 0.70, 1: 0.71, 2: 0.75}, "sft": {0: 0.3, 1: 0.3, 2: 0.3}},
            "SGPO ends 10.0 points above HPT, the strongest of 2 other methods.",
            "Paired difference over 3 seeds: +10.0 points, 95% interval +7.5 to +12.5, which leaves out 0.",
        ),
        (
            {"hpt": {0: 0.70, 1: 0.90, 2: 0.80}},
            "SGPO and HPT cannot be told apart.",
            "Paired difference over 3 seeds: +2.0 points, 95% interval −20.8 to +24.8, which holds 0.",
        ),
        (
            {"hpt": {0: 0.90, 1: 0.93, 2: 0.93}},
            "SGPO ends 10.0 points below HPT.",
            "Paired difference over 3 seeds: −10.0 points, 95% interval −12.5 to −7.5, which leaves out 0.",
        ),
        (
            {"hpt": {0: 0.75}},
            "SGPO ends at 82.0%, HPT at 75.0%.",
            "One seed each: the spread between training runs is not in this. "
            "SGPO: 95% interval over 3 seeds 77.0 to 87.0.",
        ),
        ({"base_guided": {0: 0.99}}, "SGPO ends at 82.0% held-out accuracy.", "SGPO: 95% interval over 3"),
    ],
)
def test_headline_says_wins_ties_and_losses(others: dict[str, Seeds], title: str, more: str) -> None:
    found = headline(run_of(sgpo=SGPO, **others))
    assert found[0] == title
    assert found[1].startswith(more)


def test_headline_without_sgpo_and_in_progress() -> None:
    assert headline(run_of(hpt={0: 0.4}, sft={0: 0.5}))[0] == (
        "SFT ends at 50.0% held-out accuracy, the highest of 2 methods."
    )
    cells = [RunCell("a", "sgpo", Path(), "done"), RunCell("b", "sgpo", Path(), "running")]
    title, more = headline(run_of(sgpo=SGPO, hpt={0: 0.7, 1: 0.71, 2: 0.75}, finished=False, cells=cells))
    assert title == "In progress: 1 of 2 cells are done."
    assert more.startswith("So far: SGPO ends 10.0 points above HPT. Paired")
    assert headline(run_of(finished=False, cells=cells))[1].startswith("The comparison appears")
    assert headline(run_of())[0] == "No method has a result."


def test_intervals_over_seeds_stay_within_what_an_accuracy_can_be() -> None:
    (wild,) = run_of(hpt={0: 0.1, 1: 0.9}).methods
    assert wild.interval == (0.0, 1.0)
    assert MethodResult(accuracy=0.5, accuracy_ci95=(0.4, 0.6)).interval == (0.4, 0.6)


def test_families_that_the_base_never_solves_come_first_and_are_averaged_apart() -> None:
    def cell(accuracy: float, **families: float) -> list[CellResult]:
        scores = {name: FamilyScores(accuracy=value, n_problems=4) for name, value in families.items()}
        return [CellResult(accuracy=accuracy, per_family=scores, seed=0, base_seed=0)]

    cells = {"sgpo": cell(0.7, clock=0.9, ratio=0.6, sum=0.4), "base": cell(0.1, clock=0.3, ratio=0.0, sum=0.02)}
    never = ["ratio", "sum"]
    run = Run(Path("run"), "compare", list(method_results(cells, {}, never).values()), [], True, never_solved=never)
    view = families(run)
    assert view is not None
    assert (view.table.titles, view.never) == (["Family", "base", "SGPO"], ["ratio", "sum"])
    assert [(row.name, row.note) for row in view.table.rows] == [
        ("ratio", "never solved"), ("sum", "never solved"), ("clock", ""),
        ("the 2 never solved by the base", ""), ("the other 1", ""),
    ]  # fmt: skip
    assert [row.cells[1].text for row in view.table.rows[-2:]] == ["50.0", "90.0"]  # type: ignore[union-attr]
    assert families(run_of(sgpo={0: 0.7})) is None
    run.never_solved = ["clock", "gone"]
    view = families(run)
    assert view is not None
    assert ([row.name for row in view.table.rows][:3], view.never) == (["clock", "ratio", "sum"], ["clock"])


# ---------------------------------------------------------------- series


def cell(seed: int, series: dict[str, Any], state: Any = "done") -> RunCell:
    return RunCell(f"sgpo-{seed}", "sgpo", Path(), state, seed, series=series)


@pytest.mark.parametrize(
    ("longer", "over"), [(30, "optimizer steps"), (80, "the share of each method's training, in %")]
)
def test_a_method_of_many_more_steps_does_not_draw_the_others_into_a_corner(longer: int, over: str) -> None:
    cells = [cell(0, {"eval/accuracy": ([0, 5, 10], [0.1, 0.5, 0.9])})]
    cells.append(RunCell("sft-0", "sft", Path(), "done", 0, series={"eval/accuracy": ([0, longer], [0.1, 0.7])}))
    found = curves(run_of(cells=cells, sgpo={0: 0.9}, sft={0: 0.7}))
    assert found is not None
    assert found.over == over
    ends = [
        line.split()[-2] for line in re.findall(r'class="line" d="([^"]*)"', found.panels[0].chart.replace("L", " L"))
    ]
    assert (len(set(ends)) == 1) == (longer == 80)


def test_bands_are_mean_lowest_and_highest_at_common_steps() -> None:
    cells = [cell(0, {"kl": ([1, 2, 4], [1.0, 2.0, 9.0])}), cell(1, {"kl": ([2, 1, 3], [4.0, 2.0, 9.0])})]
    assert bands(run_of(cells=cells), "kl") == [Band("sgpo", [1, 2], [1.5, 3.0], [1.0, 2.0], [2.0, 4.0], 2)]
    assert bands(run_of(cells=cells), "entropy") == []


def test_a_running_cell_does_not_cut_the_curve_of_those_that_are_done() -> None:
    cells = [cell(0, {"kl": ([1, 2], [1.0, 2.0])}), cell(1, {"kl": ([1], [5.0])}, "running")]
    assert bands(run_of(cells=cells), "kl")[0].mean == [1.0, 2.0]


def test_long_curves_are_thinned_without_moving_their_ends_or_mean() -> None:
    values = [float((7 * i) % 13) for i in range(1_202)]
    steps = list(range(1_202))
    curve = bands(run_of(cells=[cell(0, {"kl": (steps, values)})]), "kl")[0]
    assert len(curve.steps) == len(curve.mean) == POINTS
    assert (curve.steps[0], curve.steps[-1]) == (0, 1_201)
    smoothed = smooth(values)
    assert (curve.mean[0], curve.mean[-1]) == (smoothed[0], smoothed[-1])
    assert sum(curve.mean[1:-1]) / (POINTS - 2) == pytest.approx(sum(smoothed[1:-1]) / 1_200, rel=0.01)
    assert curve.steps == sorted(set(curve.steps))


@settings(deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40))
def test_smoothing_is_a_running_mean(values: list[float]) -> None:
    for i, found in enumerate(smooth(values, 5)):
        near = [values[j] for j in range(len(values)) if abs(j - i) <= 2]
        assert found == pytest.approx(sum(near) / len(near), abs=1e-9)


def test_summary_is_the_first_and_the_last_tenth() -> None:
    ramp = [float(i) for i in range(20)]
    assert first_and_last(Band("sgpo", ramp, ramp, ramp, ramp, 1)) == (0.5, 18.5)
    assert first_and_last(Band("sgpo", [1.0], [3.0], [3.0], [3.0], 1)) == (3.0, 3.0)


# ---------------------------------------------------------------- plots


@settings(deadline=None)
@given(st.floats(-1e3, 1e3), st.floats(1e-6, 1e6))
def test_ticks_are_within_the_axis_and_evenly_spaced(offset: float, span: float) -> None:
    low = offset * span
    found = svg.ticks(low, low + span)
    assert 1 <= len(found) <= 6
    assert all(low - 1e-5 * span <= tick <= low + span * (1 + 1e-5) for tick in found)
    steps = {round((b - a) / (found[1] - found[0]), 3) for a, b in itertools.pairwise(found)}
    assert steps <= {1.0}


def test_a_line_chart_puts_values_where_they_belong() -> None:
    curve = Band("<b>", [0.0, 50.0, 100.0], [0.0, 0.5, 1.0], [0.0, 0.4, 0.9], [0.1, 0.6, 1.0], 2)
    chart = ET.fromstring(svg.line_chart([curve], {"<b>": 3}, unit="%", label='a "b" <c>', y=(0.0, 1.0)))
    assert chart.get("aria-label") == 'a "b" <c>'
    line = next(path for path in chart.iter("path") if path.get("class") == "line")
    bottom, top = svg.HEIGHT - svg.BOTTOM, svg.TOP
    middle = (svg.LEFT + svg.WIDTH - svg.RIGHT) / 2
    assert line.get("d") == f"M{svg.LEFT} {bottom}L{middle:g} {(top + bottom) / 2:g}L{svg.WIDTH - svg.RIGHT} {top}"
    assert line.get("data-s") == "0,0;50,0.5;100,1"
    assert next(g for g in chart.iter("g")).get("class") == "m m3"
    labels = [text.text for text in chart.iter("text")]
    assert {"0%", "100%", "0", "100"} <= set(labels)


def test_a_curve_of_one_step_is_seen() -> None:
    one = Band("sgpo", [1.0], [0.5], [0.5], [0.5], 1)
    chart = ET.fromstring(svg.line_chart([one], {"sgpo": 0}, unit="%", label="x"))
    assert [circle.get("class") for circle in chart.iter("circle")] == ["only"]


def test_a_band_needs_two_seeds() -> None:
    one = Band("sgpo", [0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0], 1)
    chart = ET.fromstring(svg.line_chart([one], {"sgpo": 0}, unit="", label="x"))
    assert [path.get("class") for path in chart.iter("path")] == ["line"]


def test_a_strip_has_its_interval_zero_and_seeds_in_percent() -> None:
    strip = ET.fromstring(svg.strip(0.25, (-1.0, 1.0), ends=(0.0, 0.5), dots=(0.2, 0.3)))
    spans = {line.get("class"): (line.get("x1"), line.get("x2")) for line in strip.iter("line")}
    assert spans == {"zero": ("50%", "50%"), "span": ("50%", "75%")}
    assert [c.get("cx") for c in strip.iter("circle")] == ["60%", "65%", "62.5%"]
    assert ET.fromstring(svg.strip(9.0, (0.0, 1.0))).find("circle").get("cx") == "100%"  # type: ignore[union-attr]


def test_token_bars_share_a_scale_and_show_the_threshold_only_within_it() -> None:
    bars = ET.fromstring(svg.bars([0.0, 2.0], [0, 6], top=4.0, line=1.0, tall=42))
    heights = [float(rect.get("height", 0)) for rect in bars.iter("rect")]
    assert heights == [1.0, 20.0]
    assert bars.find("line").get("y1") == "32"  # type: ignore[union-attr]
    assert ET.fromstring(svg.bars([0.5], [5], top=0.5, line=1.0)).find("line") is None


def test_the_histogram_over_time_has_its_counts_at_their_alphas() -> None:
    chart = ET.fromstring(svg.heat_chart([0.0, 10.0], [[0.0, 1.0], [1.0, 0.0]], top=0.8, label="x"))
    cells = [(float(r.get("x", 0)), float(r.get("y", 0)), r.get("fill-opacity")) for r in chart.iter("rect")]
    half = (svg.WIDTH - svg.LEFT - svg.RIGHT) / 2
    assert cells == [(svg.LEFT, svg.TOP, "1"), (svg.LEFT + half, (svg.TOP + svg.HEIGHT - svg.BOTTOM) / 2, "1")]


def test_plot_files(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from sgpo.report.load import load_run
    from sgpo.report.plots import write_plots

    files = write_plots(load_run(kit.compare_dir(tmp_path, seeds=2, axes=True)), tmp_path / "plots")
    assert sorted(f.name for f in files) == [
        f"{name}.{kind}" for name in ("axes", "comparison", "curves", "families") for kind in ("png", "svg")
    ]
    for file in files:
        assert file.read_bytes().startswith(b"\x89PNG" if file.suffix == ".png" else b"<?xml")


def test_the_figure_of_the_axes_has_a_panel_an_axis_with_the_values_of_the_run(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from sgpo.report.load import load_run
    from sgpo.report.plots import figure_of

    run = load_run(kit.compare_dir(tmp_path, seeds=2, axes=True, extras=False))
    panels = [axis for axis in figure_of(run, "axes").axes if axis.get_visible()]
    assert [panel.get_title(loc="left") for panel in panels][-2:] == ["Longer ones", "Mean of the last four"]
    labels = [tick.get_text() for tick in panels[0].get_yticklabels()]
    drawn = {labels[round(y)]: x for line in panels[3].lines if line.get_marker() == "o" for x, y in line.get_xydata()}
    for method in run.methods:
        seeds = [kit.on_axes(kit.ENDS[method.name], seed)["types"]["accuracy"] for seed in range(2)]
        assert drawn[method.label] == pytest.approx(50 * sum(seeds))


def test_every_curve_of_the_figure_is_in_its_legend(tmp_path: Path) -> None:
    """On a recipe nothing is measured on the way, and SFT logs no pass rate: its first curve is the entropy's."""
    pytest.importorskip("matplotlib")
    from sgpo.report.load import load_run
    from sgpo.report.plots import figure_of

    run = kit.compare_dir(tmp_path, ends={"base": 0.1, "sft": 0.2, "sft_grpo": 0.3, "sgpo": 0.4}, seeds=1)
    for file in run.glob("cells/*/metrics.jsonl"):
        wanted = re.compile("step|entropy" if "sft-" in str(file) else "(?!eval).*")
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        kit.write_lines(file, [{name: row[name] for name in row if wanted.fullmatch(name)} for row in rows])
    figure = figure_of(load_run(run), "curves")
    drawn = {line.get_label(): line.get_color() for axis in figure.axes for line in axis.lines}
    assert "SFT" not in {line.get_label() for line in figure.axes[0].lines}
    (legend,) = figure.legends
    assert {
        text.get_text(): line.get_color() for text, line in zip(legend.texts, legend.get_lines(), strict=True)
    } == drawn
    assert set(drawn) == {"SGPO", "SFT", "GRPO"}


def test_lines_of_one_colour_are_of_different_kinds() -> None:
    pytest.importorskip("matplotlib")
    from types import SimpleNamespace

    from sgpo.report import plots

    run: Any = SimpleNamespace(hues={f"m{i}": i for i in range(2 * len(plots.COLOURS) + 1)})
    drawn = [(plots._colour(run, name), plots._dashes(run, name)) for name in run.hues]
    assert len(set(drawn)) == len(drawn)
    assert drawn[0] == (plots.ACCENT, "-")
    # The accent is SGPO's alone, in figures and on the page.
    assert [colour for colour, _ in drawn].count(plots.ACCENT) == 1
    assert [svg.hue_class(hue) for hue in (-1, 0, 1, 11, 12, 22, 23)] == [11, 0, 1, 11, 1, 11, 1]


def test_an_axis_has_one_name_in_every_table_and_page() -> None:
    readme = (ROOT / "README.md").read_text()
    for axis in (*AXES, NEW_AXES):
        assert f"| {axis_name(axis)} |" in readme.replace("**", ""), axis
        assert title_of(axis).lower() == axis_name(axis)
    words = (ROOT / "docs" / "compare.md").read_text()
    assert [axis for axis in AXES if f"| `{axis}` | {axis_name(axis)} |" not in words] == []


def test_a_small_number_of_tokens_is_not_shown_as_none() -> None:
    shown = [in_thousands(tokens) for tokens in (None, 0, 4, 412, 3_400, 10_000, 128_900)]
    assert shown == ["0", "0", "0.004", "0.41", "3.4", "10", "129"]
