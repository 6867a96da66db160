"""``sgpo report``: one HTML file with everything in it.

The file loads nothing: its policy (Content-Security-Policy) forbids every request, and allows the one style sheet and
the one script by their hashes, so that even markup that escaped our escaping could not run. All text passes through
``text.harmless`` and is then escaped; only what this package built as ``Markup`` is not.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sgpo import __version__
from sgpo.report.alpha_view import alpha
from sgpo.report.axes_view import axes
from sgpo.report.comparison import comparison, families
from sgpo.report.completions import completion_groups
from sgpo.report.curves_view import curves
from sgpo.report.examples import samples, strategies
from sgpo.report.experts import comparisons, expert_of, experts
from sgpo.report.headline import headline
from sgpo.report.load import load_run
from sgpo.report.problems import Logs, read_logs
from sgpo.report.run import Run
from sgpo.report.tables import percent
from sgpo.report.text import bound, harmless, points
from sgpo.report.tokens_view import token_views
from sgpo.runs.files import write_text

TEMPLATES = Path(__file__).parent / "templates"
SECTIONS: dict[str, tuple[str, str, Callable[[Run, Logs], Any]]] = {
    "compare": ("result", "Result", lambda run, logs: comparison(run)),
    "axes": ("axes", "Axes", lambda run, logs: axes(run)),
    "families": ("families", "Families", lambda run, logs: families(run)),
    "curves": ("curves", "Curves", lambda run, logs: curves(run)),
    "alpha": ("alpha", "Alpha", alpha),
    "tokens": ("tokens", "Token view", lambda run, logs: token_views(run)),
    "samples": ("responses", "Responses", lambda run, logs: samples(run)),
    "completions": ("completions", "Completions", lambda run, logs: completion_groups(run)),
    "strategies": ("strategies", "Strategies", lambda run, logs: strategies(logs)),
}
"""What the templates call a section: its anchor, its title in the navigation, and what draws it, where there is any."""


def write_report(directory: Path, out: Path | None = None) -> Run:
    """Write the report of a run directory to ``out`` (report.html in it if None); returns the run, as it was read."""
    run = load_run(directory)
    _write(render_page(run), directory, out)
    return run


def write_experts(directory: Path, out: Path | None = None) -> Path:
    """Write the page of the comparisons in ``directory``, one an expert, side by side; returns the file."""
    runs = [load_run(path) for path in comparisons(directory)]
    notices = [f"{run.path.name}: {line}" for run in runs for line in run.notices]
    heading = "Experts" if any(expert_of(run) for run in runs) else "Comparisons"
    text = _rendered("experts.html.jinja", directory, groups=experts(runs), notices=notices, heading=heading)
    return _write(text, directory, out)


def _write(text: str, directory: Path, out: Path | None) -> Path:
    out = out or directory / "report.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, text)
    return out


def render_page(run: Run) -> str:
    """The page of a run."""
    # Read once: alpha and the strategies are drawn from the same rows.
    logs = read_logs(run)
    parts = {name: draw(run, logs) for name, (_, _, draw) in SECTIONS.items()}
    title, lede = headline(run)
    shown = [section[:2] for name, section in SECTIONS.items() if parts[name]]
    has_run = run.kind != "training"  # a training run has no cells, and no settings of ours
    return _rendered(
        "page.html.jinja",
        run.path,
        script="script.js",
        run=run,
        headline=title,
        lede=lede,
        sections=[*shown, ("run", "The run")] if has_run else shown,
        has_run=has_run,
        crashed=[cell for cell in run.cells if cell.state == "crashed"],
        states=Counter(cell.state for cell in run.cells),
        settings=bound(json.dumps(run.settings, indent=1), 6_000) if run.settings else "",
        **parts,
    )


def _rendered(template: str, directory: Path, *, script: str = "", **shown: Any) -> str:
    """A template with its style sheet and script, and the policy that allows these two by their hashes alone."""
    css, js = ((TEMPLATES / name).read_text(encoding="utf-8") if name else "" for name in ("style.css", script))
    allowed = f"style-src {_hash(css)};" + (f" script-src {_hash(js)};" if js else "")
    return _environment().get_template(template).render(
        name=directory.resolve().name,
        version=__version__,
        css=Markup(css),
        js=Markup(js),
        csp=f"default-src 'none'; {allowed} base-uri 'none'; form-action 'none'",
        **shown,
    )  # fmt: skip


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sgpo.report"),
        autoescape=True,
        # A name that is misspelt in a template is an error, and not an empty place on the page.
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"pct": percent, "points": points, "prob": _prob, "bound": bound}
    return environment


def _finalize(value: Any) -> Any:
    """Applied to every value of every template before it is escaped."""
    return value if isinstance(value, Markup) else harmless(str(value))


def _prob(value: float) -> str:
    percent = 100 * value
    return f"{percent:.0f}%" if percent >= 9.95 else f"{percent:.1f}%" if percent >= 0.1 else "<0.1%"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
