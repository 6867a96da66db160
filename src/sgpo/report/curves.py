"""Learning curves of one or more runs, from the JSON lines that a run writes."""

import os
from collections.abc import Mapping
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")  # no window; a notebook has set its own
import matplotlib.pyplot as plt

from sgpo.report.series import PASS_RATE, smooth, stand_in
from sgpo.runs.files import read_rows

PANELS: tuple[tuple[str, str], ...] = (
    ("eval/accuracy", "held-out accuracy, no strategy"),
    (PASS_RATE, "pass rate (GRPO: mean reward), autonomous rollouts"),
    ("sgpo/guided_pass_rate", "pass rate, guided rollouts"),
    ("sgpo/alpha", "alpha, mean over problems"),
    ("sgpo/kl", "KL per target token, before the clip"),
    ("entropy", "entropy of the policy"),
)


def read_metrics(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    """``name -> (steps, values)`` of a metrics.jsonl.

    Raises:
        ValueError: for a line that is not a JSON object with a ``step``.
    """
    series: dict[str, tuple[list[int], list[float]]] = {}
    for where, row in read_rows(path, torn=True):
        if "step" not in row:
            raise ValueError(f"{where}: not a JSON object with a step; it has {sorted(row)}.")
        step = row.pop("step")
        for name, value in row.items():
            if isinstance(value, int | float):
                steps, values = series.setdefault(name, ([], []))
                steps.append(step)
                values.append(float(value))
    return series


def learning_curves(runs: Mapping[str, Path], out: Path) -> None:
    """Draw ``PANELS`` of each run (label -> metrics.jsonl) into the image file ``out``."""
    data = {label: read_metrics(path) for label, path in runs.items()}
    figure, axes = plt.subplots(2, 3, figsize=(13, 7), constrained_layout=True)
    for axis, (name, title) in zip(axes.flat, PANELS, strict=True):
        for i, (label, series) in enumerate(data.items()):
            key = (stand_in(series) or name) if name == PASS_RATE else name
            if key in series:
                steps, values = series[key]
                axis.plot(steps, smooth(values) if len(values) > 40 else values, label=label, color=f"C{i}")
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("optimizer step", fontsize=9)
        axis.grid(alpha=0.25)
        axis.set_ylim(bottom=0)
    axes.flat[0].legend()
    figure.savefig(out, dpi=130)
    plt.close(figure)
