"""What a run shows, in one sentence, and a second one on how sure that is. A tie and a loss are said as plainly."""

from functools import partial

from sgpo.report.run import Run, end_gap
from sgpo.report.series import PASS_RATE, Band, band, first_and_last
from sgpo.report.text import bound, points
from sgpo.runs.entries import MethodResult
from sgpo.runs.scores import SeedMean


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


def strongest(run: Run) -> MethodResult | None:
    """The best method other than SGPO that does without a strategy at test time."""
    # A model that is told the strategy answers another question.
    others = [m for m in run.methods if m.ranked and m.name != "sgpo"]
    return max(others, key=lambda m: m.accuracy, default=None)


def _comparison(run: Run) -> tuple[str, str]:
    sgpo, other, count = run.method("sgpo"), strongest(run), sum(m.ranked for m in run.methods)
    # Nothing is paired, so there is one accuracy to say and no difference.
    if sgpo is None or other is None:
        best = sgpo or other
        if best is None:
            return "No method has a result.", ""
        among = "" if count < 2 else f", the highest of {count} methods"
        return f"{best.label} ends at {100 * best.accuracy:.1f}% held-out accuracy{among}.", _sureness(best)
    gap = end_gap(sgpo, other)
    rank = f", the strongest of {count - 1} other methods" if count > 2 else ""
    return _verdict(sgpo, other, gap, rank), _qualified(sgpo, other, gap)


def _verdict(sgpo: MethodResult, other: MethodResult, gap: SeedMean, rank: str) -> str:
    comma = "," if rank else ""
    # A tie is said as a tie: a mean whose interval holds 0 has no side.
    if gap.verdict in ("above", "below"):
        return f"SGPO ends {abs(100 * gap.mean):.1f} points {gap.verdict} {other.label}{rank}."
    if gap.verdict == "level":
        return f"SGPO and {other.label}{rank}{comma} cannot be told apart."
    ours, theirs = (f"{100 * m.accuracy:.1f}%" for m in (sgpo, other))
    return f"SGPO ends at {ours}, {other.label}{rank}{comma} at {theirs}."


def _qualified(sgpo: MethodResult, other: MethodResult, gap: SeedMean) -> str:
    pairs = sgpo.pairs_with(other)
    if gap.ends is not None:
        over = f" over {pairs} seeds" if pairs else ""
        holds = "holds 0" if gap.verdict == "level" else "leaves out 0"
        low, high = map(points, gap.ends)
        return f"Paired difference{over}: {points(gap.mean)} points, 95% interval {low} to {high}, which {holds}."
    # What is not known is said as plainly as what is: one seed shows nothing of the spread between runs.
    unsure = "One seed each: the spread between training runs is not in this."
    if not pairs:
        unsure = "No seed in common, so nothing is paired and there is no interval of the difference."
    return " ".join(filter(None, (unsure, _sureness(sgpo), _sureness(other))))


def _sureness(method: MethodResult) -> str:
    if method.interval is None:
        return ""
    low, high = (100 * end for end in method.interval)
    over = f"{len(method.seeds)} seeds" if len(method.seeds) > 1 else "problems"
    return f"{method.label}: 95% interval over {over} {low:.1f} to {high:.1f}."


def _training(run: Run) -> tuple[str, str]:
    (cell,) = run.cells
    if not cell.series:
        return "No step of training has been logged.", ""
    values = partial(band, cell.method, run.cells)
    steps = max(steps[-1] for steps, _ in cell.series.values())
    length = f"{steps} step{'s' * (steps != 1)}"
    alone, guided = values(PASS_RATE), values("sgpo/guided_pass_rate")
    if alone is None:
        return f"{length} of training.", "No pass rate was logged."
    key = cell.pass_rate_from
    text = f"{'The mean reward' if key else 'The pass rate without a strategy'} {_course(alone)} in {length}."
    more = "On training problems; one run, so no interval."
    if len(alone.mean) > 1:
        more = f"Means of the first and the last tenth of training, {more[0].lower()}{more[1:]}"
    if key:
        more += f" No pass rate was logged; {bound(key, 60)} is that where a reward is 0 or 1."
    elif set(alone.mean) == {0.0}:
        more = f"No response was correct. {more}"
    elif set(alone.mean) == {1.0}:
        more = f"Every response was correct. {more}"
    if guided is not None:
        more = f"With the strategy in the prompt it {_course(guided)}. {more}"
    return text, more


def _course(values: Band) -> str:
    """What became of a share, to the digit that is shown: "rose from 1.0% to 2.0%"."""
    # The digits that are shown are compared: "rose from 1.0% to 1.0%" would be a riddle.
    first, last = (f"{100 * end:.1f}" for end in first_and_last(values))
    if len(values.mean) == 1:
        return f"was {last}%"
    if first == last:
        return f"stayed at {last}%"
    return f"{'rose' if float(last) > float(first) else 'fell'} from {first}% to {last}%"
