"""Make the notebook of the first tutorial from its script: python examples/tutorials/make_notebook.py

The script is in the percent format: ``# %%`` begins a cell, ``# %% [markdown]`` one of text. The notebook gets one cell
more, which shows the report inline. A test holds the two together.
"""

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SCRIPT, NOTEBOOK = HERE / "1_first_run.py", HERE / "1_first_run.ipynb"
SHOW_REPORT = "page"  # a notebook shows the last value of a cell


def cell(kind: str, source: str, number: int) -> dict[str, Any]:
    """One cell in the notebook format, version 4.5."""
    made: dict[str, Any] = {
        "cell_type": kind,
        "id": f"cell-{number}",
        "metadata": {},
        "source": source.splitlines(keepends=True),
    }
    return made if kind == "markdown" else {**made, "execution_count": None, "outputs": []}


def notebook(script: str) -> dict[str, Any]:
    """The notebook of a script in the percent format."""
    parts = re.split(r"^# %%(.*)\n", script, flags=re.MULTILINE)[1:]
    cells = []
    for title, body in zip(parts[::2], parts[1::2], strict=True):
        text = body.strip("\n")
        if "[markdown]" in title:
            cells.append(("markdown", re.sub(r"^# ?", "", text, flags=re.MULTILINE)))
        else:
            cells.append(("code", text))
    cells.append(("code", SHOW_REPORT))
    return {
        "cells": [cell(kind, source, number) for number, (kind, source) in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


if __name__ == "__main__":
    NOTEBOOK.write_text(json.dumps(notebook(SCRIPT.read_text()), indent=1, ensure_ascii=False) + "\n")
    print(f"{NOTEBOOK.name} written.")
