"""The report in headless Chromium, where one is installed: nothing on the console, no request, no hostile script."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import report_kit as kit

from sgpo.report.page import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr", "--virtual-time-budget=3000", "--dump-dom",
)  # fmt: skip
PROBE = "<script>document.title = 'hacked: ' + (window.hacked === true)</script>"
OWN = re.compile(r"https?://[\w.]*google(apis)?\.com/")  # what the browser asks for by itself


def browse(page: Path) -> tuple[str, list[str], set[str]]:
    """The page's DOM after its script ran, the lines of the console, and the addresses that it asked for."""
    assert CHROMIUM is not None
    folder = page.parent
    arguments = [*FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={folder / 'net.json'}", page.as_uri()]
    done = subprocess.run([CHROMIUM, *arguments], capture_output=True, timeout=300, check=True)
    console = [line for line in done.stderr.decode(errors="replace").splitlines() if ":CONSOLE" in line]
    urls = set(re.findall(r'"url":"(https?://[^"]*)', (folder / "net.json").read_text(errors="replace")))
    return done.stdout.decode(errors="replace"), console, {url for url in urls if not OWN.match(url)}


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A report whose responses, strategies and tokens are hostile."""
    kit.compare_dir(tmp_path, seeds=1)
    samples = [
        {**kit.samples("sgpo", 1)[0], "id": name, "family": name, "problem": text, "autonomous": text, "guided": text}
        for name, text in kit.HOSTILE.items()
    ]
    path = tmp_path / "cells" / "sgpo-base0-seed0" / "samples.jsonl"
    kit.write_lines(path, samples)
    with path.open("ab") as file:
        file.write(b'{"id": "raw", "problem": "\xff\xfe<script>window.hacked = true</script>", "guided": "\xc3\x28"}\n')
    texts = enumerate(kit.HOSTILE.values())
    drawn = [kit.problem(i + 1, text, family=text, strategy=text) for i, text in texts]
    kit.write_lines(path.with_name("problems.jsonl"), drawn)
    rows = [{**kit.token_row(), "strategy": text, "response": text} for text in kit.HOSTILE.values()]
    for row, text in zip(rows, kit.HOSTILE.values(), strict=True):
        row["tokens"] = [{**token, "text": text, "guided": [[text, 0.5]]} for token in row["tokens"]]
    kit.write_lines(tmp_path / "tokens.jsonl", rows)
    write_report(tmp_path)
    return tmp_path / "report.html"


def test_it_opens_in_silence_and_its_script_runs(report: Path) -> None:
    dom, console, urls = browse(report)
    assert console == []
    assert urls == set()
    tokens = re.findall(r'<span class="t k[^>]*tabindex="(-?\d)"', dom)
    assert tokens.count("0") == len(kit.HOSTILE)  # one tab stop for each response
    assert tokens.count("-1") == 4 * len(kit.HOSTILE)


def test_nothing_happens_without_its_policy_either(report: Path) -> None:
    source = report.read_text()
    open_source, found = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", source)
    assert found == 1
    report.write_text(open_source.replace("</body>", f"{PROBE}</body>"))
    dom, console, urls = browse(report)
    assert "<title>hacked: false</title>" in dom
    assert console == []
    assert urls == set()


def test_a_table_of_one_column_keeps_its_figures_beside_their_names(tmp_path: Path) -> None:
    kit.compare_dir(tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    for method in results["methods"].values():
        method["sgpo_minus"] = {name: gap for name, gap in method.get("sgpo_minus", {}).items() if name == "end"}
    (tmp_path / "results.json").write_text(json.dumps(results))
    write_report(tmp_path)
    page = tmp_path / "report.html"
    share = "table => [table.tHead.rows[0].cells.length, table.offsetWidth / table.parentNode.offsetWidth].join(' ')"
    probe = f"<script>document.title = [...document.querySelectorAll('table')].map({share}).join(',')</script>"
    open_source = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    page.write_text(open_source.replace("</body>", f"{probe}</body>"))
    (title,) = re.findall("<title>([^<]*)", browse(page)[0])
    tables = [(int(columns), float(share)) for columns, share in (each.split() for each in title.split(","))]
    assert [share < 0.5 for columns, share in tables if columns == 2] == [True]
    assert [share >= 1 for columns, share in tables if columns == 9] == [True]


def test_this_test_would_see_a_script_an_error_and_a_request(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    script = f"<script>{'window.hacked = true; missing()'}</script>"
    page.write_text(
        f"<!doctype html><title>x</title><body><img src='http://example.invalid/x.png'>{script}{PROBE}</body>"
    )
    dom, console, urls = browse(page)
    assert "<title>hacked: true</title>" in dom
    assert any("missing is not defined" in line for line in console)
    assert "http://example.invalid/x.png" in urls
