"""What the functions of `sgpo.api` return: results on disk, as frames, plots, and pages of a notebook.

A result is read from its files each time, so it can be made from what an earlier session wrote:
``sgpo.results.Training("runs/first").frame``. Models' and users' texts are escaped wherever HTML is made.
"""

from __future__ import annotations

import html
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from sgpo.evaluation.results import EvalResult
    from sgpo.report.run import Run

_ROWS = 20  # of a frame, in a notebook


class Result:
    """A result in files; ``title`` says what it is. ``plot()`` of each gives a figure, and needs matplotlib."""

    title = ""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def frame(self) -> pd.DataFrame:
        """The numbers of the result as a pandas frame."""
        raise NotImplementedError

    def to_pandas(self) -> pd.DataFrame:
        """The same as ``frame``."""
        return self.frame

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def _repr_html_(self) -> str:
        table = self.frame.head(_ROWS).to_html(escape=True, border=0, float_format=lambda value: f"{value:.4g}")
        more = len(self.frame) - _ROWS
        note = f"<p>and {more} more rows in <code>.frame</code></p>" if more > 0 else ""
        return f"<h4>{html.escape(self.title)} <code>{html.escape(str(self.path))}</code></h4>{table}{note}"


class Strategies(Result):
    """Candidate strategies in a store; ``complete`` is whether the last command came to its end."""

    title = "Strategies in"

    def __init__(self, path: str | Path, *, complete: bool = True) -> None:
        super().__init__(path)
        self.complete = complete

    @property
    def frame(self) -> pd.DataFrame:
        """A row a candidate, the best of each problem first; what was not measured is missing."""
        import pandas as pd

        from sgpo.strategies.export import in_order
        from sgpo.strategies.store import Store

        rows = []
        with Store(self.path, create=False) as store:
            for problem in store.problems():
                for candidate in in_order(store.candidates(problem.id)):
                    rank, check = candidate.notes.get("rank", {}), candidate.notes.get("check", {})
                    judged = (*map(rank.get, ("place", "score", "kept")), check.get("leak"))
                    lift = candidate.notes.get("lift", {}).get("lift")
                    rows.append((problem.id, candidate.number, *judged, lift, candidate.strategy.text()))
        columns = ("problem", "candidate", "place", "score", "kept", "leaks", "lift", "strategy")
        return pd.DataFrame(rows, columns=list(columns))

    def plot(self, **kwargs: Any) -> Figure:
        """A histogram of the candidates' scores, 4 to 20."""
        return _histogram(self.frame["score"].dropna(), "score of a candidate", "candidates", **kwargs)


class Table(Result):
    """Training data in a file."""

    title = "Data in"

    @property
    def frame(self) -> pd.DataFrame:
        """The rows of the file, in their order."""
        import pandas as pd

        from sgpo.data.tables import read_table

        return pd.DataFrame([row for _, row in read_table(self.path)])

    def plot(self, **kwargs: Any) -> Figure:
        """A histogram of the strategies' lengths, in words."""
        words = self.frame["strategy"].dropna().str.split().str.len()
        return _histogram(words, "words of a strategy", "problems", **kwargs)


class _RunResult(Result):
    """A directory that `sgpo report` reads."""

    @property
    def run(self) -> Run:
        """The run, as the report sees it."""
        from sgpo.report.load import load_run

        return load_run(self.path)

    def plot(self, name: str = "curves") -> Figure:
        """A plot of the report: ``curves``, ``comparison``, ``axes`` or ``families``.

        Raises:
            ValueError: the run has no data for it.
        """
        from sgpo.report.plots import figure_of

        return figure_of(self.run, name)


class Training(_RunResult):
    """A run of ``sgpo train``: its metrics over the steps."""

    title = "Training in"

    @property
    def frame(self) -> pd.DataFrame:
        """A row a logged step, a column a metric."""
        import pandas as pd

        rows: dict[int, dict[str, float]] = {}  # the last step is logged twice, with the end's metrics
        for name, (steps, values) in self.run.cells[0].series.items():
            for step, value in zip(steps, values, strict=True):
                rows.setdefault(step, {})[name] = value
        return pd.DataFrame.from_dict(rows, orient="index").sort_index().rename_axis("step")


class Comparison(_RunResult):
    """Methods compared with each other."""

    title = "Comparison in"

    @property
    def frame(self) -> pd.DataFrame:
        """A row a method, the best first: accuracy with its 95% interval, seeds, and what it cost."""
        import pandas as pd

        from sgpo.report.comparison import COSTS

        rows = {}
        for method in sorted(self.run.methods, key=lambda each: -each.accuracy):
            low, high = method.interval or (None, None)
            row = {"label": method.label, "accuracy": method.accuracy, "low": low, "high": high}
            costs = {name: value for name in COSTS if (value := getattr(method, name)) is not None}
            rows[method.name] = {**row, "seeds": len(method.seeds), **costs}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")

    @property
    def families(self) -> pd.DataFrame:
        """Accuracy by method (rows) and family of problems (columns)."""
        import pandas as pd

        accuracies = {m.name: {f: one.accuracy for f, one in m.per_family.items()} for m in self.run.methods}
        return pd.DataFrame.from_dict(accuracies, orient="index")

    def plot(self, name: str = "comparison") -> Figure:
        """A plot of the report; see `_RunResult.plot`."""
        return super().plot(name)


class Evaluation(Result):
    """An evaluation of a model on benchmarks; ``results`` holds an `sgpo.evaluation.EvalResult` for each."""

    title = "Evaluation in"

    def __init__(self, path: str | Path, results: dict[str, EvalResult]) -> None:
        super().__init__(path)
        self.results = results

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row a benchmark: avg@k with its 95% interval, pass@k, maj@k, tokens, share of cut completions."""
        import pandas as pd

        rows = {}
        for name, each in self.results.items():
            low, high = each.ci95
            row = {"problems": each.n_problems, "k": each.k, "accuracy": each.accuracy, "low": low, "high": high}
            more = {field: getattr(each, field) for field in ("maj_at_k", "mean_length", "truncated")}
            rows[name] = {**row, "pass_at_k": each.pass_at_k[each.k], **more}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("benchmark")

    @property
    def problems(self) -> pd.DataFrame:
        """A row a problem: benchmark, id, group, gold, share of correct samples."""
        import pandas as pd

        return pd.DataFrame(
            [
                {"benchmark": name, "id": each.id, "group": each.group, "gold": each.gold, "score": each.score}
                for name, result in self.results.items()
                for each in result.problems
            ]
        )

    def plot(self, **kwargs: Any) -> Figure:
        """A plot of the accuracies with their 95% intervals."""
        figure, axis = _figure(**kwargs)
        frame = self.frame.iloc[::-1]
        ends = [frame["accuracy"] - frame["low"], frame["high"] - frame["accuracy"]]
        axis.errorbar(100 * frame["accuracy"], list(frame.index), xerr=[100 * each for each in ends], fmt="o")
        axis.set_xlabel("accuracy (avg@k), %; lines are 95% intervals over problems")
        return figure


class Report(Result):
    """The HTML page of the run in ``directory``, which a notebook shows inline."""

    title = "Report in"

    def __init__(self, path: str | Path, directory: str | Path) -> None:
        super().__init__(path)
        run = _RunResult(directory).run
        self._of: Training | Comparison = (Training if run.kind == "training" else Comparison)(directory)

    @property
    def frame(self) -> pd.DataFrame:
        """The run in numbers: the frame of a training, or of a comparison."""
        return self._of.frame

    def plot(self, name: str = "curves") -> Figure:
        """A plot of the report; see `_RunResult.plot`."""
        return self._of.plot(name)

    def open(self) -> None:
        """Show the page in a browser."""
        import webbrowser

        webbrowser.open(self.path.resolve().as_uri())

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"), quote=True)
        style = "width: 100%; height: 700px; border: 1px solid #ddd"
        # Of the sandbox's rights the page gets its scripts alone: it cannot reach the notebook.
        return f'<iframe srcdoc="{page}" sandbox="allow-scripts" style="{style}"></iframe>'


def _figure(**kwargs: Any) -> tuple[Figure, Any]:
    """A figure of its own, which no backend shows by itself."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install matplotlib.") from error
    figure = Figure(**{"figsize": (6.4, 3.2), "layout": "constrained", **kwargs})
    return figure, figure.subplots()


def _histogram(values: Any, what: str, of: str, **kwargs: Any) -> Figure:
    figure, axis = _figure(**kwargs)
    axis.hist(values, bins=16)
    axis.set_xlabel(what)
    axis.set_ylabel(of)
    return figure
