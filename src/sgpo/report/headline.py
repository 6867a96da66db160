"""What a run shows, in one sentence, and a second one on how sure that is. A tie and a loss are said as plainly."""

from sgpo.report.run import Difference, Method, Run, difference
from sgpo.report.series import PASS_RATE, band, summary
from sgpo.report.text import bound, points


def headline(run: Run) -> tuple[str, str]:
    """The sentence at the top of the report, and what qualifies it."""
    if run.kind == "training":
        return _training(run)
    text, more = _comparison(run)
    if run.finished:
        return text, more
    done = sum(cell.state == "done" for cell in run.cells)
    so_far = f"So far: {text} {more}" if run.methods else "The comparison appears with the first cell that finishes."
    return f"In progress: {done} of {len(run.cells)} cells are done.", so_far


def strongest(run: Run) -> Method | None:
    """The best method other than SGPO that does without a strategy at test time."""
    others = [m for m in run.methods if m.ranked and m.name != "sgpo"]
    return max(others, key=lambda m: m.accuracy, default=None)


def _comparison(run: Run) -> tuple[str, str]:
    sgpo, other = run.method("sgpo"), strongest(run)
    if sgpo is None or other is None:
        best = sgpo or other
        if best is None:
            return "No method has a result.", ""
        among = "" if sgpo else f", the highest of {len([m for m in run.methods if m.ranked])} methods"
        return f"{best.label} ends at {100 * best.accuracy:.1f}% held-out accuracy{among}.", _sureness(best)
    gap = difference(sgpo, other)
    assert gap is not None  # accuracies can always be compared
    count = sum(m.ranked for m in run.methods) - 1
    rank = f", the strongest of {count} other methods" if count > 1 else ""
    return _verdict(sgpo, other, gap, rank), _qualified(sgpo, other, gap)


def _verdict(sgpo: Method, other: Method, gap: Difference, rank: str) -> str:
    comma = "," if rank else ""
    if gap.verdict in ("above", "below"):
        return f"SGPO ends {abs(100 * gap.mean):.1f} points {gap.verdict} {other.label}{rank}."
    if gap.verdict == "level":
        return f"SGPO and {other.label}{rank}{comma} cannot be told apart."
    ours, theirs = (f"{100 * m.accuracy:.1f}%" for m in (sgpo, other))
    return f"SGPO ends at {ours}, {other.label}{rank}{comma} at {theirs}."


def _qualified(sgpo: Method, other: Method, gap: Difference) -> str:
    if gap.ci95 is not None:
        over = f" over {gap.pairs} seeds" if gap.pairs else ""
        holds = "holds 0" if gap.verdict == "level" else "leaves out 0"
        low, high = map(points, gap.ci95)
        return f"Paired difference{over}: {points(gap.mean)} points, 95% interval {low} to {high}, which {holds}."
    unsure = "One seed each: the spread between training runs is not in this."
    if gap.pairs == 0:
        unsure = "No seed in common, so nothing is paired and there is no interval of the difference."
    return " ".join(filter(None, (unsure, _sureness(sgpo), _sureness(other))))


def _sureness(method: Method) -> str:
    if method.interval is None:
        return ""
    low, high = (100 * end for end in method.interval)
    over = f"{len(method.seeds)} seeds" if len(method.over_seeds()) > 1 else "problems"
    return f"{method.label}: 95% interval over {over} {low:.1f} to {high:.1f}."


def _training(run: Run) -> tuple[str, str]:
    def ends(metric: str) -> tuple[float, float] | None:
        found = band("sgpo", run.cells, metric)
        return summary(found) if found else None

    steps = max(steps[-1] for steps, _ in run.cells[0].series.values())
    alone, guided = ends(PASS_RATE), ends("sgpo/guided_pass_rate")
    if alone is None:
        return f"{steps} steps of training.", "No pass rate was logged."
    verb = "rose" if alone[1] > alone[0] else "fell" if alone[1] < alone[0] else "stayed"
    key = run.cells[0].pass_rate_from
    what = "The mean reward" if key else "The pass rate without a strategy"
    text = f"{what} {verb} from {100 * alone[0]:.1f}% to {100 * alone[1]:.1f}% in {steps} steps."
    more = "Means of the first and the last tenth of training, on training problems; one run, so no interval."
    if key:
        more += f" No pass rate was logged; {bound(key, 60)} is that where a reward is 0 or 1."
    if guided is not None:
        more = f"With the strategy in the prompt: {100 * guided[0]:.1f}% to {100 * guided[1]:.1f}%. {more}"
    return text, more
