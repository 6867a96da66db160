"""The whole page: what is in it, that it asks for nothing, and that what models write stays text."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import report_kit as kit
from typer.testing import CliRunner

from sgpo.cli import app
from sgpo.report.page import write_experts, write_report

VOID = {"meta", "input", "br"}


class Page(HTMLParser):
    """Elements as (tag, attributes), the text of each script and style, and all text outside of them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.text = ""
        self.open: list[str] = []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.get_starttag_text() is None or self.open:
            assert tag == self.open.pop(), f"</{tag}>"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.raw:
            self.raw[self.open[-1]].append(data)
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def render(path: Path) -> tuple[str, Page]:
    write_report(path)
    source = (path / "report.html").read_text(encoding="utf-8")
    return source, Page(source)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page]:
    return render(kit.compare_dir(tmp_path_factory.mktemp("run")))


def test_it_asks_for_nothing(whole: tuple[str, Page]) -> None:
    source, page = whole
    for tag, attrs in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "img", "image", "use"), tag
        assert not {"src", "srcset", "style", "xlink:href", "action"} & set(attrs), (tag, attrs)
        assert not [name for name in attrs if name.startswith("on")]
        assert attrs.get("href", "#").startswith("#")  # type: ignore[union-attr]
    assert not re.search(r"(?i)url\(|@import|https?:|fetch\(|XMLHttp", source)


def test_its_policy_allows_its_own_style_and_script_alone(whole: tuple[str, Page]) -> None:
    _, page = whole
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for tag in ("script", "style"):
        (text,) = page.raw[tag]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"


def test_it_can_be_used_by_keyboard_and_screen_reader(whole: tuple[str, Page]) -> None:
    _, page = whole
    ids = [str(attrs["id"]) for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in page.elements:
        for name in ("aria-describedby", "aria-labelledby"):
            assert attrs.get(name, ids[0]) in ids
        if tag == "a":
            assert str(attrs["href"])[1:] in ids
        if tag == "svg":
            assert attrs.get("aria-hidden") == "true" or attrs.get("aria-label")
        if "scroll" in str(attrs.get("class")).split():
            assert attrs.get("tabindex") == "0"
            assert attrs.get("aria-label") or attrs.get("aria-labelledby")
    headers = [th for th in page.all("th") if "colspan" not in th]
    assert headers
    assert all(th.get("scope") in ("col", "row") for th in headers)
    tokens = [a for t, a in page.elements if t == "span" and "t" in str(a.get("class")).split()]
    assert len(tokens) == 10
    assert all(a["tabindex"] == "0" for a in tokens)
    assert page.elements[0][1] == {"lang": "en"} or page.all("html")[0]["lang"] == "en"


def test_it_says_what_the_run_shows(whole: tuple[str, Page]) -> None:
    _, page = whole
    assert "above LUFFY, the strongest of 3 other methods." in page.text
    for title in (
        "Who ends where",
        "Where it helps",
        "Alpha over training",
        "token by token",
        "The lift of each strategy",
    ):
        assert title in page.text
    for panel in (
        "Autonomous pass rate",
        "Guided pass rate",
        "KL before the clip",
        "KL after the clip",
        "Clip fraction",
    ):
        assert panel in page.text
    for panel in ("Held-out accuracy", "Entropy", "Length"):
        assert panel in page.text
    assert "The base never solves ratio, remainder" in page.text
    assert "No pass rate was logged for GRPO, LUFFY: what is drawn is the mean of rewards/lab_reward/mean" in page.text
    assert "Alpha by family" in page.text
    assert "0 of 4 have a lift below 0" in page.text
    assert "first sample of each family" in page.text
    assert "92% of the KL lies in the top 5% of 5 tokens" in page.text
    assert "with the strategy 100% of 6 are correct" in page.text


def rows_of(source: str, method: str) -> list[list[str]]:
    """The cells of every table row that a method heads, without tags."""
    rows = re.findall(rf'<th scope="row">{method}</th>(.*?)</tr>', source, re.S)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.S) for row in rows]
    return [[re.sub(r"(<[^>]*>|\s)+", " ", cell).strip() for cell in row] for row in cells]


def test_the_tables_of_the_comparison_are_those_of_the_results(tmp_path: Path) -> None:
    source, _ = render(kit.compare_dir(tmp_path, seeds=5))
    scores, gaps, *_ = rows_of(source, "LUFFY")
    entries = json.loads((tmp_path / "results.json").read_text())["methods"]
    pairs = zip(entries["sgpo"]["seeds"], entries["luffy"]["seeds"], strict=True)
    points = [100 * (a["accuracy"] - b["accuracy"]) for a, b in pairs]
    mean = sum(points) / 5
    half = 2.776445 * (sum((g - mean) ** 2 for g in points) / 4 / 5) ** 0.5  # t(.975, 4)
    assert scores[0] == f"{100 * entries['luffy']['accuracy']:.1f}"
    assert scores[2:] == ["5", "0.0008", "250", "78", "210", "62"]
    assert gaps[0] == f"{mean:+.1f} {mean - half:+.1f} to {mean + half:+.1f}"
    assert gaps[1] == "+3.1 \u22121.0 to +7.2"  # greedy, as results.json has it
    assert gaps[4] == "+25.0"  # one without an interval
    assert "<b>+3.1</b>" not in source  # its interval holds 0
    titles = re.findall(r'<th scope="col">([^<]*)</th>', source)
    assert [t for t in titles if t in ("at the end", "greedy", "over training", "never-solved")] == [
        "at the end", "greedy", "over training", "never-solved",
    ]  # fmt: skip


def test_costs_that_no_method_has_take_no_column(tmp_path: Path) -> None:
    _, page = render(kit.quickstart_dir(tmp_path))
    assert "K tokens sampled" in page.text
    assert "Learning rate" not in page.text


@pytest.mark.parametrize("options", [(), ("--open",)])
def test_the_quickstart_ends_in_its_report_and_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("sgpo.lab.quickstart.run_quickstart", lambda out, **settings: kit.quickstart_dir(out))
    monkeypatch.setattr("sgpo.commands.lab.plot", lambda out: None)
    monkeypatch.setattr("webbrowser.open", opened.append)
    said = CliRunner().invoke(app, ["quickstart", "--out", str(tmp_path), *options]).output.splitlines()
    page = tmp_path / "report.html"
    assert said[-3].startswith(f"Report: {page} ")
    assert said[-2].startswith("Next:   sgpo init MODEL DATA")
    assert "SGPO ends at 84.0%" in page.read_text()
    assert opened == ([page.as_uri()] if options else [])


@pytest.mark.parametrize("make", [kit.quickstart_dir, kit.training_dir])
def test_other_kinds_of_run(tmp_path: Path, make: Any) -> None:
    _, page = render(make(tmp_path))
    if make is kit.quickstart_dir:
        assert "SGPO ends at 84.0%, GRPO, the strongest of 2 other methods, at 66.0%." in page.text
        assert "One seed each: the spread between training runs is not in this." in page.text
    else:
        assert "The pass rate without a strategy rose from" in page.text
        assert "Who ends where" not in page.text


def test_a_run_in_progress_with_a_crashed_cell(tmp_path: Path) -> None:
    kit.compare_dir(tmp_path, seeds=2, finished=False)
    cell = tmp_path / "cells" / "luffy-base0-seed0"
    (cell / "result.json").unlink()
    (cell / "error.txt").write_text("Traceback\nValueError: loss is NaN at step 31")
    _, page = render(tmp_path)
    assert "In progress: 5 of 6 cells are done." in page.text
    assert "The run has not finished." in page.text
    assert "1 of 6 cells crashed" in page.text
    assert "loss is NaN at step 31" in page.text


# ---------------------------------------------------------------- hostile text


def hostile_dir(path: Path, text: str) -> Path:
    """A comparison in which every text that a model, a data set or a crash can influence is ``text``."""
    kit.compare_dir(path, seeds=1)
    fields = ("id", "family", "problem", "strategy", "answer", "autonomous", "guided")
    row = dict.fromkeys(fields, text)
    cells = path / "cells"
    kit.write_lines(cells / "sgpo-base0-seed0" / "samples.jsonl", [{**row, "autonomous_correct": text}])
    kit.write_lines(cells / "sgpo-base0-seed0" / "problems.jsonl", [kit.problem(step, **row) for step in (1, 2, 3)])
    pairs = [[text, 0.5], [text, "x"], text, 3]
    token = {"text": text, "kl": 1.5, "p": [text, 0.1], "rank": "x", "autonomous": pairs, "guided": text, "class": text}
    kit.write_lines(path / "tokens.jsonl", [{**row, "model": text, "response": text, "tokens": [token, text, {}]}])
    (cells / "luffy-base0-seed0" / "result.json").unlink()
    (cells / "luffy-base0-seed0" / "error.txt").write_bytes(text.encode("utf-8", "surrogatepass"))
    manifest = json.loads((path / "manifest.json").read_text())
    kit.write_json(path / "manifest.json", {**manifest, "machine": text, "settings": {text: [text]}})
    results = json.loads((path / "results.json").read_text())
    results["methods"][text] = kit.entry(0.5, 0, 0)
    results["methods"]["sgpo"]["per_family"] = {text: {"accuracy": 0.5}}
    kit.write_json(path / "results.json", results)
    return path


@pytest.mark.parametrize("name", kit.HOSTILE)
def test_hostile_text_stays_text(tmp_path: Path, whole: tuple[str, Page], name: str) -> None:
    _, page = render(hostile_dir(tmp_path, kit.HOSTILE[name]))
    assert page.raw == whole[1].raw  # the same one script and style, and no other
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in whole[1].elements} | {"pre"}
    for _, attrs in page.elements:
        assert not [a for a in attrs if a.startswith("on")]
    shown = page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    expected = {
        "script": "<script>window.hacked = true</script>",
        "surrogates": "a\ufffdb",
        "controls": "[U+0007][U+001B][31mred",
        "bidi": "[U+202E]gnp.exe[U+202C]",
        "template": "{{ 7 * 7 }}",
    }
    assert shown.count(expected[name]) >= 10


def test_bytes_that_are_no_utf8_are_shown_as_such(tmp_path: Path) -> None:
    kit.compare_dir(tmp_path, seeds=1)
    path = tmp_path / "cells" / "sgpo-base0-seed0" / "samples.jsonl"
    path.write_bytes(
        b'{"id": "raw", "problem": "\xff\xfe\xc3\x28", "autonomous": "caf\xc3\xa9", "guided": "\xf0\x9f"}\n'
    )
    _, page = render(tmp_path)
    assert "\ufffd\ufffd\ufffd(" in page.text
    assert "café" in page.text


def test_long_text_is_cut_with_a_notice_and_the_page_stays_small(tmp_path: Path) -> None:
    kit.compare_dir(tmp_path, seeds=1)
    row = {**kit.samples("sgpo", 1)[0], "autonomous": "x" * 100_000, "problem": "y" * 100_000}
    cell = tmp_path / "cells" / "sgpo-base0-seed0"
    kit.write_lines(cell / "samples.jsonl", [{**row, "id": str(i)} for i in range(12)])
    tokens = {**kit.token_row(), "tokens": [kit.token("z" * 200, 0.1)] * 900}
    kit.write_lines(tmp_path / "tokens.jsonl", [tokens] * 3)
    (cell / "error.txt").write_text("e" * 100_000)
    source, page = render(tmp_path)
    assert "[97,000 more characters left out]" in page.text
    assert "300 more tokens are left out here" in page.text
    assert "10 of 12 samples" in page.text
    assert len(source) < 6_000_000


# ---------------------------------------------------------------- the command


def test_the_command_writes_the_page_and_says_so(tmp_path: Path) -> None:
    kit.compare_dir(tmp_path / "run", seeds=1)
    done = CliRunner().invoke(app, ["report", str(tmp_path / "run"), "--out", str(tmp_path / "x.html"), "--no-plots"])
    assert done.exit_code == 0, done.output
    assert "x.html written" in done.output.replace("\n", "")
    assert (tmp_path / "x.html").read_text().startswith("<!doctype html>")
    assert not (tmp_path / "run" / "report.html").exists()
    assert not list(tmp_path.glob("*.partial"))


def test_a_failed_report_leaves_the_old_one(tmp_path: Path) -> None:
    render(kit.compare_dir(tmp_path, seeds=1))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    kit.write_json(tmp_path / "manifest.json", {**manifest, "schema": 2})
    before = (tmp_path / "report.html").read_bytes()
    done = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert isinstance(done.exception, ValueError)  # which main() prints, and exits with 2
    assert (tmp_path / "report.html").read_bytes() == before


# ---------------------------------------------------------------- axes


def test_axes_are_drawn_for_every_method_in_one_order(tmp_path: Path) -> None:
    source, _ = render(kit.compare_dir(tmp_path, seeds=3, axes=True, extras=False))
    section = source[source.index('id="axes"') : source.index('id="families"')]
    panels = re.findall(r"<figure><figcaption>(.*?) <span>.*?</figure>", section, re.S)
    names = ["New instances", "Larger numbers", "Other words", "New compositions", "Longer ones"]
    assert panels == [*names, "Mean of the last four", *names]  # dot plots, then pass@k
    orders = {tuple(re.findall(r'class="name[^"]*">(.*?)<', plot)) for plot in section.split('<div class="plot">')[1:]}
    assert orders == {("SGPO", "LUFFY", "GRPO", "base", "base + strategy")}
    seeds = [e["axes"]["types"]["accuracy"] for e in results(tmp_path)["luffy"]["seeds"]]
    assert f'class="value">{100 * sum(seeds) / 3:.1f}<' in section
    (gaps,) = [rows for rows in rows_of(section, "LUFFY") if len(rows) == 7]
    assert gaps[1] == "+10.0 \u22121.0 to +20.0"
    assert section.count("<b>+10.0</b>") == 4 * 4  # four methods, four intervals that leave out 0
    assert "pass@k, New compositions, k from 1 to 32: SGPO from" in section
    overall = next(rows for rows in rows_of(section, "SGPO") if len(rows) == 6)
    assert overall[-1] == "22.0"  # tokens, the mean of 20 to 24
    assert (rows_of(section, "its own"), rows_of(section, "of a random other problem")) == ([["0.512"]], [["0.734"]])
    assert "6.2% of the response" in section


def test_axes_of_a_comparison_in_progress_are_those_of_its_cells(tmp_path: Path) -> None:
    _, page = render(kit.compare_dir(tmp_path, seeds=2, axes=True, extras=False, finished=False))
    assert "Longer ones" in page.text
    assert "SGPO minus the method on each axis" in page.text  # over the seeds so far


def test_without_axes_there_is_no_section_of_them_and_broken_ones_are_left_out(tmp_path: Path) -> None:
    assert "What was learned" not in render(kit.compare_dir(tmp_path / "old"))[1].text
    kit.compare_dir(tmp_path / "new", axes=True, extras=False, seeds=1)
    saved = json.loads((tmp_path / "new" / "results.json").read_text())
    for method in (saved["methods"]["sgpo"], saved["methods"]["luffy"]):
        method["axes"] = method["seeds"][0]["axes"] = {
            "<b>": {"accuracy": 0.5, "pass_at_k": {"x": 1, "0": 1, "2": "y"}},
            "types": {"accuracy": "x"},
            "y": 3,
        }
    saved["methods"]["luffy"]["axes_minus"] = {"sgpo": "x", "<i>": {"types": [0.1, None, None]}}
    kit.write_json(tmp_path / "new" / "results.json", saved)
    _, page = render(tmp_path / "new")
    assert "<b>" in page.text
    assert "<i> minus the method" in page.text


def results(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "results.json").read_text())["methods"]
    return found


def test_comparisons_without_axes_stand_side_by_side_by_their_accuracy(tmp_path: Path) -> None:
    for name in ("small", "large"):
        kit.compare_dir(tmp_path / name, seeds=2, extras=False, ends={"base": 0.07, "sgpo": 0.84})
    write_experts(tmp_path)
    source = (tmp_path / "report.html").read_text()
    assert "Comparisons side by side" in source
    assert re.findall(r"<figcaption>(.*?) <span>", source) == ["large", "small"]
    assert source.count("<h2>") == 1
    assert source.count('<div class="name ours">SGPO</div>') == 2


def test_comparisons_with_several_experts_stand_side_by_side(tmp_path: Path) -> None:
    for expert, sft in (("gentle", 0.7), ("plain", 0.9)):
        kit.compare_dir(
            tmp_path / expert, seeds=2, axes=True, extras=False, ends={"base": 0.07, "sft": sft, "sgpo": 0.84}
        )
        manifest = json.loads((tmp_path / expert / "manifest.json").read_text())
        manifest["settings"]["budget"]["expert"] = f"{expert} <b>"
        kit.write_json(tmp_path / expert / "manifest.json", manifest)
    done = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert done.exit_code == 0, done.output
    source = (tmp_path / "report.html").read_text()
    Page(source)
    panels = re.findall(r"<figcaption>(.*?) <span>(.*?)</span>.*?</figure>", source, re.S)
    assert [title for title, _ in panels] == ["gentle &lt;b&gt;", "plain &lt;b&gt;"] * 2
    assert panels[0][1] == "SGPO minus SFT: +10.0 [+3.0, +20.0]"
    orders = {tuple(re.findall(r'class="name[^"]*">(.*?)<', plot)) for plot in source.split('<div class="plot">')[1:]}
    assert orders == {("SFT", "SGPO", "base")}  # one order, though SGPO is ahead with one of them
    assert not re.search(r"(?i)url\(|@import|https?:|<script", source)
