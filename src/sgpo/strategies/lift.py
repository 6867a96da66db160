"""Lift: how much more often a given student passes with a strategy in its prompt than without. Ours.

The paper (arXiv 2606.24064) ranks strategies by what a strong model thinks of them; this ranks them by what they do
for the model that is to be trained. A sample is a call like any other: its verdict is committed to the store before it
counts, and which samples are wanted next follows from the verdicts alone (`sgpo.strategies.halving`), so a run that
was killed repeats none and ends as an undisturbed one.

The student is behind two functions, so this knows neither torch nor a verifier.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from sgpo.data.prompts import Prompt
from sgpo.models import Reply, stream_seed
from sgpo.models.interrupt import Interrupt
from sgpo.runs.files import JsonObject
from sgpo.strategies.export import in_order, leaks
from sgpo.strategies.halving import UNGUIDED, LiftPlan, State, advance, difference_interval
from sgpo.strategies.records import AnsweredCall, Candidate, Key, Problem, Setup, digest
from sgpo.strategies.schema import Strategy, clean
from sgpo.strategies.store import Store

NOTE = "lift"
PASS = 0.5  # a reward above it is a pass
_CUT = "truncated"  # the outcome of a completion that the limit cut; its verdict counts
_KEPT_CHARS = 500  # of a completion, from its end
_PORTION = 64  # problems whose samples are drawn together

Sample = Callable[[Sequence[Prompt], Sequence[int]], Sequence[Reply | None]]
"""One completion of each prompt from the random stream of its seed; None where the prompt does not fit the model."""

Verify = Callable[..., Sequence[float]]
"""Rewards of completions, given the answers; by name ``tolerance``, where a problem has one."""

Ask = Callable[[Problem, Strategy | None], Prompt]
"""How a problem is put to the student, with a strategy or without."""


@dataclass
class LiftRun:
    """What a run did.

    Attributes:
        problems: what the best candidate of each does: "helps" or "hurts" where its interval lies on one side of 0,
            "open" otherwise; "no_candidate", "all_leak".
        dropped: candidates with a lift below 0.
        samples: drawn by this run.
        before: verdicts of the measured problems that were in the store.
        cut: completions, of this run and those before, that the limit on tokens cut.
        interrupted: Ctrl-C ended it; a later run goes on.
        uniform: samples that as many for every arm would take.
        best: the lift of each measured problem's best candidate.
    """

    problems: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    samples: int = 0
    before: int = 0
    cut: int = 0
    interrupted: bool = False
    uniform: int = 0
    best: list[float] = field(default_factory=list)


@dataclass
class _Arms:
    """A problem under measurement, and the verdicts of its arms."""

    problem: Problem
    candidates: dict[str, Candidate]
    verdicts: dict[str, dict[int, bool]]

    def state(self, plan: LiftPlan) -> State:
        return advance(plan, list(self.candidates), self.verdicts)


def lift_setup(student: str, prompts: Sequence[str], settings: JsonObject) -> Setup:
    """The identity of a measurement: the plan is no part of it, so a larger one uses what a smaller one has drawn.

    Args:
        student: the model's name or path.
        prompts: name of the template, and all texts that make the prompts.
        settings: whatever else may change a verdict: weights, sampling, grader, "seed".
    """
    return Setup("lift", student, prompts[0], digest(*prompts), settings)


def measure_lift(
    store: Store,
    sample: Sample,
    verify: Verify,
    *,
    setup: Setup,
    prompt: Ask,
    plan: LiftPlan | None = None,
    check: bool = True,
    limit: int | None = None,
    batch: int = 64,
    report: Callable[[LiftRun], None] = lambda run: None,
) -> LiftRun:
    """Measure the candidates of each problem, order them by lift, and note what was found with each.

    The note "lift" of a candidate: lift, low, high (its interval), guided and unguided (passed, n), place (from 1),
    rounds, dropped (the lift is below 0), student, setup. It is of the student measured last; verdicts of others stay.

    Args:
        setup: see `lift_setup`.
        check: leave out candidates that leak: the answer in the prompt is the greatest lift of all.
        limit: problems to take, by id.
        batch: samples drawn, and committed, at once.
        report: called after each batch.
    """
    plan = plan or LiftPlan()
    if batch < 1 or (limit is not None and limit < 1):
        raise ValueError(f"--batch-size {batch} and --limit {limit} must be at least 1.")
    store.add_setup(setup)
    run, problems = LiftRun(), islice(store.problems(), limit)
    with Interrupt(lambda: "the batch of completions under way") as interrupt:
        while portion := list(islice(problems, _PORTION)):
            measured = list(_arms(store, setup, portion, check, run))
            while wanted := [(arms, *key) for arms in measured for key in arms.state(plan).wanted]:
                rows = _by_length(wanted, prompt)
                for start in range(0, len(rows), batch):
                    _draw(store, setup, rows[start : start + batch], sample, verify, run)
                    report(run)
                    if interrupt.asked:
                        run.interrupted = True
                        return run
            for arms in measured:
                store.note(_settle(arms, arms.state(plan), plan, setup, run))
            report(run)
    return run


def _arms(store: Store, setup: Setup, portion: list[Problem], check: bool, run: LiftRun) -> Iterator[_Arms]:
    query = "SELECT subject, number, parsed, outcome FROM calls WHERE setup = ? AND problem = ?"
    for problem in portion:
        everyone = in_order(store.candidates(problem.id))
        candidates = [c for c in everyone if not check or not leaks(store, problem, c)]
        if not candidates:
            run.problems["all_leak" if everyone else "no_candidate"] += 1
            continue
        arms = _Arms(problem, {c.id: c for c in candidates}, {})
        for subject, number, parsed, outcome in store.rows(query, setup.id, problem.id):
            arms.verdicts.setdefault(subject, {})[number] = parsed == "1"
            run.before += 1
            run.cut += outcome == _CUT
        yield arms


def _by_length(wanted: list[tuple[_Arms, str, int]], prompt: Ask) -> list[tuple[_Arms, str, int, Prompt]]:
    """Samples with their prompts, the longest first: little padding in a batch, and what is too large fails early."""
    made: dict[tuple[str, str], Prompt] = {}
    for (problem, arm), arms in {(arms.problem.id, arm): arms for arms, arm, _ in wanted}.items():
        made[problem, arm] = prompt(arms.problem, None if arm == UNGUIDED else arms.candidates[arm].strategy)
    rows = [(arms, arm, number, made[arms.problem.id, arm]) for arms, arm, number in wanted]
    return sorted(rows, key=lambda row: -len(str(row[3])))


def _draw(
    store: Store, setup: Setup, rows: list[tuple[_Arms, str, int, Prompt]], sample: Sample, verify: Verify, run: LiftRun
) -> None:
    """Sample and verify one batch; its verdicts count when they are committed."""
    began = time.perf_counter()
    seed = setup.settings.get("seed", 0)
    seeds = [stream_seed(seed, "lift", arms.problem.id, arm, number) for arms, arm, number, _ in rows]
    replies = sample([prompt for *_, prompt in rows], seeds)
    answers = [arms.problem.answer for arms, *_ in rows]
    tolerances = [arms.problem.columns.get("tolerance") for arms, *_ in rows]
    more = {} if all(tolerance is None for tolerance in tolerances) else {"tolerance": tolerances}
    rewards = verify(["" if reply is None else reply.text for reply in replies], answers, **more)
    seconds = (time.perf_counter() - began) / len(rows)
    found = [reply is not None and reward > PASS for reply, reward in zip(replies, rewards, strict=True)]
    calls = []
    for (arms, arm, number, _), reply, passed in zip(rows, replies, found, strict=True):
        key = Key(setup.id, arms.problem.id, number, arm)
        outcome = "too_long" if reply is None else _CUT if reply.truncated else "ok"
        said = reply or Reply("")
        raw, tokens = clean(said.text[-_KEPT_CHARS:]), (said.prompt_tokens or 0, said.tokens or 0)
        calls.append(AnsweredCall(key, outcome, raw, str(int(passed)), *tokens, seconds=seconds))
        run.cut += outcome == _CUT
    store.record(calls)
    run.samples += len(rows)
    for (arms, arm, number, _), passed in zip(rows, found, strict=True):
        arms.verdicts.setdefault(arm, {})[number] = passed


def _settle(
    arms: _Arms, state: State, plan: LiftPlan, setup: Setup, run: LiftRun
) -> Iterator[tuple[str, str, JsonObject]]:
    """The notes of a problem that is done."""
    unguided = state.rates[UNGUIDED]
    run.uniform += plan.most * (len(arms.candidates) + 1)
    for place, name in enumerate(state.order, 1):
        guided = state.rates[name]
        lift = guided.value - unguided.value
        low, high = difference_interval(guided, unguided)
        run.dropped += lift < 0
        if place == 1:
            run.problems["helps" if low > 0 else "hurts" if high < 0 else "open"] += 1
            run.best.append(lift)
        note: JsonObject = {"lift": lift, "low": low, "high": high, "dropped": lift < 0, "place": place}
        note |= {"guided": [guided.passed, guided.n], "unguided": [unguided.passed, unguided.n]}
        yield name, NOTE, {**note, "rounds": state.rounds[name], "student": setup.model, "setup": setup.id}
