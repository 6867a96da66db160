"""Strategies of mixed quality on the lab: what the leak check catches, what lift puts first, what training gains.

Each problem gets five candidates in shuffled order:

- good: the right operations, in one of the lab's wordings;
- reordered: the same in another order;
- wrong: every operation misread;
- family: the strategy of another type;
- leaking: the good one with the answer (``... ans 21``) or the last line of the work (``... 33 - 12 = 21``) behind it.

`check` is asked about all of them; those that it passes are measured with a shipped base as the student. Printed are
the leaks caught, Spearman's rank correlation of lift with quality (good 2, reordered 1, wrong and family 0; a leak that
the check missed counts as good, for it works), how often the good one comes first, and the samples drawn against as
many for every candidate. ``--reference N`` also draws N samples of every arm, uniformly, and compares with their lift.

    python benchmarks/strategy_lift.py                       # 60 problems, the base as student
    python benchmarks/strategy_lift.py --train --seeds 5     # then trains SGPO on both choices of strategies

With ``--out`` a second run draws only the samples that are missing.

With ``--train`` lift is measured on the training problems; SGPO trains on each
problem's strategy of the greatest lift, and on one drawn at random of the candidates that the trainer takes (it refuses
those that hold the answer, so leaks are in neither). The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from sgpo.commands._strategies_lift import lab_task
from sgpo.data.leaks import contains_answer
from sgpo.evaluation import paired_t_interval, t_interval
from sgpo.lab import Problem, load_base, load_problems
from sgpo.lab.catalog import TYPES
from sgpo.lab.experiment import Cell, RunBudget, run_cell
from sgpo.lab.model import base_path
from sgpo.lab.operations import OPERATIONS
from sgpo.lab.problems import MAX_COMPLETION, lab_reward, strategy_words
from sgpo.models import Reply, Sampling, stream_seed
from sgpo.models.sampling import sample_rows
from sgpo.runs.jobs import ProcessJob, ReportProgress, cores, run_jobs
from sgpo.strategies import records
from sgpo.strategies.export import choose, leaks
from sgpo.strategies.lift import LiftRun, Sample, lift_setup, measure_lift
from sgpo.strategies.options import LiftOptions
from sgpo.strategies.records import AnsweredCall, Candidate, Key, Setup
from sgpo.strategies.schema import Strategy
from sgpo.strategies.store import Store

QUALITY = {"good": 2, "leaking": 2, "reordered": 1, "wrong": 0, "family": 0}
KINDS = tuple(QUALITY)
SETUP = Setup("extract", "benchmark", "strategy_lift", "", {})
_VERIFY, ASK, TEXTS, _ = lab_task(LiftOptions(student="", grader="lab"))


def as_strategy(text: str) -> Strategy:
    """A lab strategy of three operations in the pipeline's schema."""
    problem_type, strategy, steps = text.split(" | ")
    return Strategy(problem_type=problem_type, strategy=strategy, steps=[steps])


def as_text(strategy: Strategy) -> str:
    """The way back."""
    return " | ".join((strategy.problem_type, strategy.strategy, *strategy.steps))


def candidates(problem: Problem) -> dict[str, Strategy]:
    """One strategy of each kind, in an order that depends on the problem alone."""
    draw = random.Random(f"candidates {problem['id']}")
    operations = problem["family"].split("-")
    other = draw.choice([t for t in TYPES["train"] if len(t) == 3 and t != tuple(operations)])
    work = problem["expert"].split(" ; ")
    texts = {
        "good": problem["strategy"],
        "reordered": _told([*operations[1:], operations[0]], draw),
        "wrong": _told([draw.choice(OPERATIONS[name].confusions) for name in operations], draw),
        "family": _told(other, draw),
        "leaking": f"{problem['strategy']} {draw.choice(work[-2:])}",
    }
    order = draw.sample(KINDS, len(KINDS))
    return {kind: as_strategy(texts[kind]) for kind in order}


def _told(operations: Sequence[str], draw: random.Random) -> str:
    return strategy_words(tuple(operations), tuple(draw.randrange(2) for _ in operations))


def fill(store: Store, problems: Sequence[Problem]) -> dict[str, str]:
    """Put problems and candidates into a store; each candidate's kind by its id."""
    kinds = {}
    store.add_setup(SETUP)
    store.add_problems(records.Problem(p["id"], p["prompt"], p["answer"], p["expert"]) for p in problems)
    for problem in problems:
        answers = []
        for number, (kind, strategy) in enumerate(candidates(problem).items()):
            key = Key(SETUP.id, problem["id"], number)
            kinds[key.id] = kind
            answers.append(AnsweredCall(key, "ok", "", strategy.model_dump_json(), 0, 0))
        store.record(answers)
    return kinds


def sampler(model: Any, tokenizer: Any) -> Sample:
    """The student."""

    def sample(prompts: Sequence[Any], seeds: Sequence[int]) -> list[Reply | None]:
        done = sample_rows(model, tokenizer, prompts, seeds, Sampling(1.0, 1.0, MAX_COMPLETION), batch_size=512)
        return list(done)

    return sample


def measure(store: Store, name: str, sample: Sample) -> LiftRun:
    """Check and lift of all that is in the store."""
    with Progress(transient=True) as bar:
        task = bar.add_task("lift", total=None)
        setup = lift_setup(name, TEXTS, {"seed": 0})
        show: Callable[[LiftRun], None] = lambda run: bar.update(task, completed=run.samples)  # noqa: E731
        return measure_lift(store, sample, lab_reward, setup=setup, prompt=ASK, batch=512, report=show)


def ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1; equal values share the mean of theirs."""
    return [sum(x < v for x in values) + (sum(x == v for x in values) + 1) / 2 for v in values]


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Rank correlation, None where one of them does not vary."""
    x, y = ranks(a), ranks(b)
    mean = (len(x) + 1) / 2
    over = sum((i - mean) * (j - mean) for i, j in zip(x, y, strict=True))
    under = (sum((i - mean) ** 2 for i in x) * sum((j - mean) ** 2 for j in y)) ** 0.5
    return over / under if under else None


def mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def measured(store: Store) -> list[list[Candidate]]:
    """The measured candidates of each problem, by lift's places."""
    found = []
    for problem in store.problems():
        rows = [c for c in store.candidates(problem.id) if "lift" in c.notes]
        found.append(sorted(rows, key=lambda c: c.notes["lift"]["place"]))
    return [rows for rows in found if rows]


def correlations(rows: list[list[Candidate]], truth: Callable[[Candidate], float]) -> dict[str, Any]:
    """Of lift with what is true, over all candidates and as the mean over problems."""
    lifts = [[c.notes["lift"]["lift"] for c in row] for row in rows]
    true = [[truth(c) for c in row] for row in rows]
    within = [spearman(a, b) for a, b in zip(lifts, true, strict=True)]
    defined = [rho for rho in within if rho is not None]
    pooled = spearman([x for row in lifts for x in row], [x for row in true for x in row])
    return {
        "spearman_all": None if pooled is None else round(pooled, 4),
        "spearman_within": mean(defined),
        "problems_without_spread": len(within) - len(defined),
    }


def quality(store: Store, kinds: dict[str, str], run: LiftRun) -> dict[str, Any]:
    """All figures of a measured store but those of the reference."""
    verdicts = {c.id: c.notes["check"] for p in store.problems() for c in store.candidates(p.id)}
    rejected = {kind: [v["leak"] for id, v in verdicts.items() if kinds[id] == kind] for kind in KINDS}
    rows = measured(store)
    by_kind: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for candidate in (c for row in rows for c in row):
        by_kind[kinds[candidate.id]].append(candidate.notes["lift"])
    first = [QUALITY[kinds[row[0].id]] == 2 for row in rows]
    with_good = [i for i, row in enumerate(rows) if any(QUALITY[kinds[c.id]] == 2 for c in row)]
    solvable = [row for row in rows if any(c.notes["lift"]["lift"] > 0 for c in row)]
    return {
        "problems": len(rows),
        "rejected_by_check": {kind: mean(flags) for kind, flags in rejected.items()},
        **correlations(rows, lambda c: QUALITY[kinds[c.id]]),
        "good_first": mean(first),
        "good_first_where_good_is_measured": mean([first[i] for i in with_good]),
        "problems_where_good_is_measured": len(with_good),
        "good_first_by_chance": mean([sum(QUALITY[kinds[c.id]] == 2 for c in row) / len(row) for row in rows]),
        "good_first_where_any_helps": mean([QUALITY[kinds[row[0].id]] == 2 for row in solvable]),
        "problems_where_any_helps": len(solvable),
        "mean_lift": {kind: mean([n["lift"] for n in notes]) for kind, notes in by_kind.items() if notes},
        "dropped": {kind: mean([n["dropped"] for n in notes]) for kind, notes in by_kind.items() if notes},
        "best_candidate": dict(run.problems),
        "samples": run.samples + run.before,
        "samples_uniform": run.uniform,
    }


def reference(store: Store, sample: Sample, n: int) -> dict[str, Any]:
    """Lift from ``n`` fresh samples of every arm, and how it agrees with what was measured."""
    rates: dict[str, float] = {}
    problems = {p.id: p for p in store.problems()}
    rows = measured(store)
    for row in rows:
        problem = problems[row[0].problem]
        arms = {problem.id: ASK(problem, None)}
        arms |= {c.id: ASK(problem, c.strategy) for c in row}
        keys = [(arm, i) for arm in arms for i in range(n)]
        seeds = [stream_seed(1, "reference", problem.id, arm, i) for arm, i in keys]
        replies = sample([arms[arm] for arm, _ in keys], seeds)
        rewards = lab_reward(["" if reply is None else reply.text for reply in replies], [problem.answer] * len(keys))
        for i, arm in enumerate(arms):
            rates[arm] = sum(rewards[i * n : (i + 1) * n]) / n
    notes = {c.id: c.notes["lift"] for row in rows for c in row}
    lifts = {c.id: rates[c.id] - rates[c.problem] for row in rows for c in row}
    inside = [notes[id]["low"] <= lift <= notes[id]["high"] for id, lift in lifts.items()]
    best = [row[0].id for row in rows]
    lost = [max(rates[c.id] for c in row) - rates[row[0].id] for row in rows]
    return {
        "samples": n,
        **correlations(rows, lambda c: lifts[c.id]),
        "interval_holds_reference": mean(inside),
        "best_lift_measured": mean([notes[id]["lift"] for id in best]),
        "best_lift_reference": mean([lifts[id] for id in best]),
        "pass_rate_lost_to_the_best": mean(lost),
    }


def train(
    cell: Cell, start: Path, out: Path, strategies: dict[str, str | None], report: ReportProgress
) -> dict[str, Any]:
    return run_cell(cell, start, out, report, strategies).to_json()


def choices(store: Store, seed: int) -> dict[str, dict[str, str | None]]:
    """The strategies of the two arms: of the greatest lift, and any candidate that the trainer takes."""
    draw = random.Random(f"random candidates {seed}")
    arms: dict[str, dict[str, str | None]] = {"lift": {}, "random": {}}
    for problem in store.problems():
        chosen, _ = choose(store, problem, by="lift")
        arms["lift"][problem.id] = None if chosen is None else as_text(chosen.strategy)
        texts = [as_text(candidate.strategy) for candidate in store.candidates(problem.id)]
        arms["random"][problem.id] = draw.choice([t for t in texts if not contains_answer(t, problem.answer)])
    return arms


def train_both(store: Store, start: Path, out: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Both arms over the seeds; accuracy at the end and over training, and their paired difference."""
    budget = RunBudget.lasting(args.generations)
    work = []
    for seed in range(args.seeds):
        for arm, strategies in choices(store, seed).items():
            cell = Cell("sgpo", seed=seed, budget=budget)
            work.append(ProcessJob(f"{arm} {seed}", train, (cell, start, out / f"{arm}-{seed}", strategies)))
    done = run_jobs(work, args.jobs or min(2, cores()))
    result: dict[str, Any] = {"seeds": args.seeds, "generations": args.generations}
    for figure in ("accuracy", "accuracy_over_training"):
        values = {arm: [done[f"{arm} {seed}"][figure] for seed in range(args.seeds)] for arm in ("lift", "random")}
        result[figure] = {arm: [round(x, 4) for x in row] for arm, row in values.items()}
        if args.seeds > 1:
            result[figure] |= {f"{arm}_interval": t_interval(row) for arm, row in values.items()}
            result[figure]["lift_minus_random"] = paired_t_interval(values["lift"], values["random"])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, help="default: 60; with --train all training problems")
    parser.add_argument("--reference", type=int, default=0, metavar="N", help="also draw N samples of every arm")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--generations", type=int, default=RunBudget.generations)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keeps the store and the runs; default: a temporary folder")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        out = args.out or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        result = run(out, args)
    for name, value in result.items():
        print(f"{name}: {value}")
    print(json.dumps(result))


def run(out: Path, args: argparse.Namespace) -> dict[str, Any]:
    began = time.perf_counter()
    problems = [p for p in load_problems("train", expert="plain") if p["strategy"].count("|") == 2]
    problems = problems[: args.problems or (len(problems) if args.train else 60)]
    sample = sampler(*load_base(0))
    with Store(out / "strategies.db") as store:
        kinds = fill(store, problems)
        for problem in store.problems():
            for candidate in store.candidates(problem.id):
                leaks(store, problem, candidate)
        done = measure(store, "base", sample)
        result = quality(store, kinds, done)
        if args.reference:
            result["reference"] = reference(store, sample, args.reference)
        result["seconds"] = round(time.perf_counter() - began, 1)
        if args.train:
            result["training"] = train_both(store, base_path(0), out, args)
    return result


if __name__ == "__main__":
    main()
