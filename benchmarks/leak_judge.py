"""Who sees a leak: the rules, a model as a judge, blind answers? On strategies that were labelled by reading.

    python benchmarks/leak_judge.py                                     # the scores and answers that are kept here

To measure a judge of your own, put the labelled strategies into a store, have them scored, and call it again:

    python benchmarks/leak_judge.py --store judge.db
    sgpo strategies rank --model MODEL --singles --store judge.db
    python benchmarks/leak_judge.py --store judge.db

The judge is `rank`'s score "instance_free"; it sees a leak at `--most` or less. Printed for each batch: precision,
recall and the share of right verdicts of the rules, the judge, and either of them; then what blind answers told.
Problems of public benchmarks come from their own files; `SGPO_BENCHMARKS` names their folder.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import leak_labels
from strategy_check import score

from sgpo.rewards import verify_batch
from sgpo.strategies.check import check_strategy
from sgpo.strategies.records import AnsweredCall, Key, Problem, Setup
from sgpo.strategies.schema import Strategy
from sgpo.strategies.store import Store

DATA = leak_labels.ROOT / "tests" / "data"
KEPT = DATA / "strategy_judge.jsonl"
SETUP = Setup("extract", "labelled", "labelled", "", {})
Row = leak_labels.Row


def keys(rows: Iterable[Row]) -> list[Key]:
    """The call in a store that each row stands for: candidates of one problem and response are numbered."""
    found: list[Key] = []
    numbers: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        problem = f"{row['split']}-{leak_labels.digest(row['problem'] + row['response'])}"
        found.append(Key(SETUP.id, problem, numbers[problem]))
        numbers[problem] += 1
    return found


def fill(store: Store, rows: list[Row]) -> None:
    """Put the rows into an empty store, as if they had been extracted."""
    store.add_setup(SETUP)
    for key, row in zip(keys(rows), rows, strict=True):
        store.add_problems([Problem(key.problem, row["problem"], str(row["answer"]), row["response"])])
        parsed = Strategy.model_validate(row["strategy"]).model_dump_json()
        store.record([AnsweredCall(key, "ok", "", parsed, 0, 0)])


def judged(store: Store, rows: list[Row]) -> list[Row]:
    """The rows that `rank` scored, with the score."""
    scores = {
        candidate.id: candidate.notes.get("rank", {}).get("scores", {}).get("instance_free")
        for problem in store.problems()
        for candidate in store.candidates(problem.id)
    }
    scored = [row | {"score": scores.get(key.id)} for key, row in zip(keys(rows), rows, strict=True)]
    return [row for row in scored if row["score"] is not None]


def kept(path: Path, rows: list[Row]) -> list[Row]:
    """The rows that a file has scores of, one for each prompt, with the score.

    Some have what was answered blind ("said") and what another reader, who saw the labelling rules, took for a leak
    ("second").
    """
    by_id = {(row["split"], row["id"]): row for row in rows}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [by_id[line["split"], line["id"]] | line for line in lines if (line["split"], line["id"]) in by_id]


def _line(name: str, cases: list[tuple[bool, bool]]) -> str:
    figures = score(cases)
    right = 1 - figures["wrong"] / figures["cases"]
    precision, recall = (figures[key] or 0.0 for key in ("precision", "recall"))
    return f"  {name:22} precision {precision:.3f}  recall {recall:.3f}  right {right:6.1%}"


def report(rows: list[Row], most: int) -> None:
    """Print the verdicts' figures for each batch and prompt, and of all batches of a prompt."""
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        prompt = row.get("prompt", "")
        groups[f"{row['split']} {prompt}".strip()].append(row)
        groups[f"all {prompt}".strip()].append(row)
    for name, group in sorted(groups.items()):
        rules = [check_strategy(r["problem"], r["answer"], r["response"], r["strategy"]).leak for r in group]
        labels, judge = [row["label"] for row in group], [row["score"] <= most for row in group]
        print(f"{name}: {len(group)} strategies, {sum(labels)} leak")
        print(_line("rules", list(zip(labels, rules, strict=True))))
        print(_line(f"judge, {most} or less", list(zip(labels, judge, strict=True))))
        print(_line("either", [(y, a or b) for y, a, b in zip(labels, rules, judge, strict=True)]))


def report_readers(rows: list[Row]) -> None:
    """Print how far a second reader agrees, and how often a blind answer was right under leaks and clean strategies."""
    read = [row["second"] == row["label"] for row in rows if "second" in row]
    print(f"another reader of the labelling rules agrees with {sum(read)} of {len(read)} labels")
    asked = [row for row in rows if "said" in row]
    boxed = [f"\\boxed{{{row['said']}}}" for row in asked]
    told = [verdict.correct for verdict in verify_batch(boxed, [row["answer"] for row in asked])]
    for label, name in ((True, "leaks"), (False, "clean strategies")):
        some = [t for row, t in zip(asked, told, strict=True) if row["label"] is label]
        if some:
            print(
                f"one blind answer under {name}: right under {sum(some)} of {len(some)} ({sum(some) / len(some):.0%})"
            )


def main() -> None:
    """Fill a store, or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", default=sorted(DATA.glob("strategy_leaks*.jsonl")))
    parser.add_argument(
        "--splits", nargs="+", default=["twenty-fifth", "twenty-sixth"], help="of the data, for a store"
    )
    parser.add_argument("--store", type=Path, help="made where it is missing; else its scores are reported")
    parser.add_argument("--most", type=int, default=2, help="score at which the judge sees a leak")
    arguments = parser.parse_args()
    rows, absent = leak_labels.read(arguments.data)
    if absent:
        print(
            f"{absent} of {absent + len(rows)} strategies left out: their problems are not in {leak_labels.BENCHMARKS}"
        )
    if arguments.store is None:
        scored = kept(KEPT, rows)
        report(scored, arguments.most)
        report_readers(scored)
        return
    rows = [row for row in rows if row["split"] in arguments.splits]
    new = not arguments.store.exists()
    with Store(arguments.store) as store:
        if new:
            fill(store, rows)
        scored = judged(store, rows)
    if scored:
        report(scored, arguments.most)
    else:
        print(
            f"{len(rows)} strategies in {arguments.store}, none scored. Now: sgpo strategies rank --model MODEL "
            f"--singles --store {arguments.store}"
        )


if __name__ == "__main__":
    main()
