"""The tutorials run, each as a user would start it but with a small budget, and the notebook is that of its script."""

import json
import os
import runpy
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from sgpo.objectives import CLIP_FORMS, WEIGHT_FORMS

FOLDER = Path(__file__).parents[2] / "examples" / "tutorials"
SCRIPTS = sorted(FOLDER.glob("[0-9]_*.py"))
SHOWN = {  # what a reader is told to look at
    "2": ("$ sgpo strategies export", "leaks: intermediate", "What training reads:", "- train:"),
    "3": ("LEAKS: intermediate", "its own strategy:", "problems: assigned 1"),
    "4": ("$ sgpo train", "With its strategy:", "B - A", "report.html"),
    "5": ("SGPO minus GRPO by seed", "95% interval"),
    "6": ("alpha by root_gap", "both     alpha"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all of them are started in, one after the other."""
    return tmp_path_factory.mktemp("tutorials")


@pytest.fixture(autouse=True)
def small(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(place)
    monkeypatch.setenv("SGPO_TUTORIAL_STEPS", "2")
    monkeypatch.syspath_prepend(str(FOLDER))
    for table in (WEIGHT_FORMS, CLIP_FORMS):  # the sixth adds to them
        for name in ("root_gap", "soft"):
            monkeypatch.setitem(table, name, None)
            monkeypatch.delitem(table, name)
    with patch.dict(os.environ):  # the second one names its own endpoint, which no later test may be judged by
        yield


def test_there_are_six() -> None:
    assert [script.name[0] for script in SCRIPTS] == list("123456")


# The first one is run as its notebook; the third reads what the second leaves.
@pytest.mark.parametrize("script", SCRIPTS[1:], ids=lambda script: script.stem)
def test_it_runs(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(script), run_name="__main__")
    said = capsys.readouterr().out
    assert [part for part in SHOWN[script.name[0]] if part not in said] == []
    assert "it may have cut them" not in said


def test_the_notebook_is_that_of_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    import make_notebook

    assert json.loads(make_notebook.NOTEBOOK.read_text()) == make_notebook.notebook(make_notebook.SCRIPT.read_text())


def test_the_notebook_runs_and_shows_the_report(place: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    book = nbformat.read(FOLDER / "1_first_run.ipynb", as_version=4)
    nbclient.NotebookClient(book, timeout=900, resources={"metadata": {"path": str(place)}}).execute()
    printed = "".join(output.get("text", "") for each in book.cells for output in each.get("outputs", []))
    assert "with its strategy" in printed
    assert "Warning" not in printed
    assert "% before," in printed
    shown = book.cells[-1].outputs[0]["data"]["text/html"]
    assert "<iframe srcdoc=" in shown
    assert "Completions" in shown
