"""Two evaluations of the same problems: the paired difference, and the problems that flipped."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sgpo.evaluation.metrics import Interval, paired_interval
from sgpo.evaluation.store import SettingsError, compared_differences
from sgpo.runs.files import read_json_object, read_rows


@dataclass(frozen=True)
class Flip:
    """A problem that one of the two solves (at least half of its samples) and the other does not."""

    id: str
    a: float
    b: float


@dataclass(frozen=True)
class EvalDifference:
    """B minus A."""

    a: float  # avg@k of A, over the problems compared
    b: float  # avg@k of B
    difference: float  # b - a
    ci95: Interval  # its 95% bootstrap interval over problems, paired
    n_problems: int  # compared
    gained: list[Flip]  # problems solved by B alone, the largest change first
    lost: list[Flip]  # problems solved by A alone
    improved: int  # problems whose share of correct samples rose at all
    worsened: int  # problems whose share fell at all
    settings: list[str]  # what else differs between the two, one line each
    left_out: int  # problems that only one of the two has


def eval_difference(a: Path, b: Path, *, common: bool = False) -> EvalDifference:
    """Compare the finished runs in the folders ``a`` and ``b``.

    Args:
        common: compare the problems that both have, where they differ.

    Raises:
        ValueError: for a folder without results, other problems (unless ``common``), other golds, or the same problems
            under other ids.
    """
    first, second = _problems(a), _problems(b)
    shared = [name for name in first if name in second]
    left_out = len(first) + len(second) - 2 * len(shared)
    if not shared:
        raise ValueError(f"{a} and {b} have no problem in common; they are evaluations of different benchmarks.")
    # The difference over those problems alone that both runs share would be another figure than the one asked for.
    if left_out and not common:
        odd = next(name for name in [*first, *second] if name not in first or name not in second)
        raise ValueError(
            f"{left_out} problem(s) are in only one of {a} and {b} (the first: {odd!r}); give --common to compare the "
            f"{len(shared)} that both have."
        )
    for name in shared:
        if first[name].gold != second[name].gold:
            raise ValueError(
                f"problem {name!r} has the gold {first[name].gold!r} in {a} and {second[name].gold!r} in {b}; "
                "the two are not the same benchmark."
            )
    reworded = _reworded(a, b, shared)
    # Paired by problem: the spread of difficulty between problems cancels out.
    flips = [Flip(name, first[name].score, second[name].score) for name in shared]
    before, after = [flip.a for flip in flips], [flip.b for flip in flips]
    # The largest change first: a problem at 0 before and 1 after says more than one that crossed a half.
    ranked = sorted(flips, key=lambda flip: -abs(flip.b - flip.a))
    mean_a, mean_b = sum(before) / len(flips), sum(after) / len(flips)
    return EvalDifference(
        a=mean_a,
        b=mean_b,
        difference=mean_b - mean_a,
        ci95=paired_interval(after, before),
        n_problems=len(flips),
        gained=[flip for flip in ranked if flip.a < 0.5 <= flip.b],
        lost=[flip for flip in ranked if flip.b < 0.5 <= flip.a],
        improved=sum(flip.b > flip.a for flip in flips),
        worsened=sum(flip.b < flip.a for flip in flips),
        settings=_settings(a, b) + reworded,
        left_out=left_out,
    )


class ProblemScore(NamedTuple):
    """A problem of a finished run: its gold answer, and its share of correct samples."""

    gold: Any
    score: float


def _problems(folder: Path) -> dict[str, ProblemScore]:
    path = folder / "results.json"
    if not path.is_file():
        parts = sorted(part.parent.name for part in folder.glob("*/results.json"))
        hint = f"compare one of its benchmarks ({', '.join(parts)})" if parts else "run sgpo eval to its end first"
        raise ValueError(f"{folder} has no results.json; {hint}.")
    try:
        return {one["id"]: ProblemScore(one["gold"], one["score"]) for one in read_json_object(path)["problems"]}
    # A results.json of a comparison, or of another program, is a likely thing to be given here.
    except (KeyError, TypeError) as error:
        raise SettingsError(f"{path} is not what sgpo eval writes ({error!r}).") from error


def _reworded(a: Path, b: Path, shared: list[str]) -> list[str]:
    """A line on problems with other texts; ValueError where these are problems that the other folder has elsewhere."""
    first, second = _texts(a), _texts(b)
    other = [name for name in shared if name in first and name in second and first[name] != second[name]]
    places = {text: name for name, text in second.items()}
    # Rows without ids are named by their number: a file in another order would pair each problem with a stranger.
    for name in other:
        if first[name] in places:
            raise ValueError(
                f"the problem {name!r} of {a} is {places[first[name]]!r} in {b}: the files have the problems in "
                "another order. Give each row of them an id, and evaluate again."
            )
    return [f"text: that of {len(other)} problems, among them {other[0]!r}"] if other else []


def _texts(folder: Path) -> dict[str, str]:
    """The problems that were asked, by id; empty for a folder of an older version, which did not save them."""
    path = folder / "prompts.jsonl"
    rows = [row for _, row in read_rows(path, torn=True)] if path.is_file() else []
    return {str(row.get("id")): row["problem"] for row in rows if isinstance(row.get("problem"), str)}


def _settings(a: Path, b: Path) -> list[str]:
    """Differences beside the model, which is what one compares. Empty where a folder has no settings."""
    if not all((folder / "settings.json").is_file() for folder in (a, b)):
        return []
    first, second = read_json_object(a / "settings.json"), read_json_object(b / "settings.json")
    found = compared_differences(first, second)
    hidden = {"model", "backend.weights", "backend.base", "backend.base_weights"}  # of an adapter, both are the model
    if "backend.kind" in found:  # two kinds of backend have other fields throughout
        hidden |= {name for name in found if name.startswith("backend.")} - {"backend.kind"}
    return [f"{name}: {one} in A, {other} in B" for name, (one, other) in found.items() if name not in hidden]
