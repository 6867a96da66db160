"""The work of ``sgpo strategies extract``, ``rank``, ``audit`` and ``export``: from options to calls, and progress."""

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import typer

from sgpo.evaluation.templates import load_template
from sgpo.models.protocol import several_served
from sgpo.runs.progress import progress, progress_of
from sgpo.runs.words import in_colour
from sgpo.strategies import export as exporting
from sgpo.strategies.asking import Asking, Tally
from sgpo.strategies.audit import audit, estimate_audit
from sgpo.strategies.budget import Budget, Spend
from sgpo.strategies.columns import SourceColumns
from sgpo.strategies.estimate import estimate_extraction
from sgpo.strategies.extract import Extraction, extract
from sgpo.strategies.importing import import_strategies
from sgpo.strategies.options import AskOptions, AuditOptions, ExportOptions, ExtractOptions, ImportOptions, RankOptions
from sgpo.strategies.rank import rank
from sgpo.strategies.sources import OF_STRATEGIES, Source, parse_columns
from sgpo.strategies.store import Store
from sgpo.strategies.templates import load_prompt

_FULL_PRICE = ", without discounts for cached prompts"


@contextlib.contextmanager
def _asking(options: AskOptions, kind: str) -> Iterator[tuple[Asking, Callable[[Tally, int | None], None]]]:
    """Open all that a command of ``kind`` (extract, rank or audit) needs; only an extraction makes a new store.

    Beside it comes what shows how far the calls are, of how many.
    """
    model, budget, prompt = options.needed_model(), Budget(options.spending), load_prompt(kind, options.prompt)
    with Store(options.store, create=kind == "extract") as store, progress(kind) as bar:
        # Inside the store: a mistake in its path is said before a model is loaded.
        asking = Asking(
            store=store,
            client=options.open(),
            model=model,
            prompt=prompt,
            seed=options.seed,
            limit=options.limit,
            retry_unreadable=options.retry_unreadable,
            budget=budget,
            give_up=options.give_up_after,
        )
        if options.retry_unreadable:
            spent = store.unreadable(asking.setup(kind).id).values()
            tokens = [sum(column) for column in zip(*spent, strict=True)] or [0, 0]
            cost = f", cost about {budget.spending.cost(*tokens):.4f}" if budget.spending.priced else ""
            typer.echo(
                f"asking again for {len(spent)} replies that could not be read: about {tokens[0]:,} tokens in, "
                f"{tokens[1]:,} out{cost}, as many as they took before"
            )
        task = bar.add_task("", total=None, note="")

        def show(tally: Tally, total: int | None) -> None:
            seconds = bar.tasks[0].elapsed or 0.0
            rate = tally.finished / seconds if seconds else 0.0  # of this run's calls
            note = f"{rate:.1f}/s {(budget.prompt_tokens + budget.completion_tokens) / 1000:,.0f}k tokens"
            note += f" cost {budget.cost:.2f}" if budget.spending.priced else ""
            note += f" waiting for {tally.waiting} calls of another process" if tally.waiting else ""
            bar.update(task, completed=tally.before + tally.finished, total=total, note=note)

        yield asking, show


def run_extraction(options: ExtractOptions) -> int:
    """Run, or estimate, say what came of it, and give the exit code."""
    if options.dry_run:
        return _estimate_extraction(options)
    source = _source(options)
    known = source.count()
    typer.echo(source.describe())

    def report(done: Extraction) -> None:
        rows = None if known is None else known - (done.rows.total() - done.rows["ok"])
        total = rows if options.limit is None else min(rows or options.limit, options.limit)
        show(done.tally, None if total is None else total * options.n)

    with _asking(options, "extract") as (asking, show):
        done = extract(source, asking, n=options.n, keep_thinking=options.keep_thinking, report=report)
        same, of = asking.store.repeated(asking.setup("extract").id)
    typer.echo(f"rows: {counted(done.rows)}")
    if same > of / 2:
        typer.echo(
            f"{same} of {of} candidates repeat another one of their problem, word for word: the endpoint answers from "
            "a cache, or takes no temperature. Those that repeat are paid for, and nothing is chosen among them"
        )
    return _finish(done.tally, asking.budget, options.store, "sgpo strategies rank --singles comes next")


def run_import(options: ImportOptions) -> None:
    """Import, and say what came of it. Raises ValueError where no row has a strategy that can be used."""
    columns = parse_columns(options.columns)
    source = Source(options.source, columns=columns, split=options.split, fields=OF_STRATEGIES)
    typer.echo(source.describe())
    with Store(options.store) as store:
        counts = import_strategies(source, store)
    if not counts["ok"] + counts["again"]:
        raise ValueError(f"{source.name} has no strategy that can be used: {counted(counts)}. Check --columns.")
    typer.echo(f"rows: {counted(counts)}")
    typer.echo(f"written into {options.store}, for rank, audit, lift, library, show and export")


def run_ranking(options: RankOptions) -> int:
    """Run, say what came of it, and give the exit code."""
    with _asking(options, "rank") as (asking, show):
        problems = asking.store.usable()
        total = min(problems, options.limit or problems) * options.repeats
        singles = options.singles
        done = rank(asking, repeats=options.repeats, singles=singles, report=lambda tally: show(tally, total))
    typer.echo(f"problems: {counted(done.problems)}")
    if done.winner_agreement is not None:
        tau = "-" if done.tau is None else f"{done.tau:.2f}"
        typer.echo(f"agreement of repetitions: winner {done.winner_agreement:.0%}, Kendall's tau-b {tau}")
    return _finish(done.tally, asking.budget, options.store, "sgpo strategies export OUT takes the best")


_TOLD = {
    "rejects": "under strategies that the leak check rejects",
    "passes": "under those that it passes",
    "chance": "by chance",
}


def run_audit(options: AuditOptions) -> int:
    """Run, say what came of it, and give the exit code: blind answers, or how likely a local model finds the answer."""
    if options.dry_run:
        return _estimate_audit(options)
    if options.likelihood:
        return _likelihood(options)
    with _asking(options, "audit") as (asking, show):
        total = estimate_audit(asking.store, asking.prompt, options).calls
        done = audit(asking, n=options.n, report=lambda tally: show(tally, total))
    typer.echo(f"candidates: {counted(done.candidates)}")
    if shares := done.shares():
        told = (
            f"{shares[name].value:.0%} of {shares[name].n} {words}" for name, words in _TOLD.items() if name in shares
        )
        typer.echo(f"told: {', '.join(told)}")
    if done.knows_the_problems:
        _warn(
            "The model tells answers that no strategy gave away: it seems to know these problems. Blind answers say "
            "little here, and --max-blind-rate would drop clean strategies. Take another model, or rank's judge."
        )
    return _finish(done.tally, asking.budget, options.store, "sgpo strategies show and stats print the rates")


def _likelihood(options: AuditOptions) -> int:
    from sgpo.models.local import LocalModel  # torch, which no other command of this file needs
    from sgpo.strategies import likelihood as likely

    with Store(options.store, create=False) as store, progress_of("likelihood") as report:
        model = options.open()
        assert isinstance(model, LocalModel)  # AuditOptions takes no other backend
        found = likely.measure(
            store,
            model,
            model_name=options.model,
            prompt=load_prompt("audit", options.prompt),
            limit=options.limit,
            report=report,
        )
    typer.echo(
        f"candidates: {len(found)}; the answer is more likely by {sum(found) / max(1, len(found)):+.3f} nats a token"
    )
    return 0


def _estimate_audit(options: AuditOptions) -> int:
    with Store(options.store, create=False) as store:
        prompt = load_prompt("audit", options.prompt)
        found = estimate_audit(store, prompt, options)
    typer.echo(f"calls: {found.calls}, {options.n} for each of {found.calls // options.n} candidates")
    _say_estimate(found, "replies of one short answer")
    return 0


def _estimate_extraction(options: ExtractOptions) -> int:
    """What ``extract`` would take; asks nothing, and needs no key."""
    source, prompt = _source(options), load_prompt("extract", options.prompt)
    typer.echo(source.describe())
    there = Store(options.store) if options.store.is_file() else contextlib.nullcontext()
    with there as store:
        found = estimate_extraction(source, store, prompt, options)
    basis = (
        f"from {found.measured} calls of this model in the store"
        if found.measured
        else "replies assumed to have 400 tokens and take 8 s; run with --limit 20 first to have them measured"
    )
    typer.echo(f"rows: {found.rows}, of which about {found.usable} usable (from {found.sampled} sampled)")
    typer.echo(f"calls: {found.calls}, {options.n} for each problem")
    time = f"time: about {_duration(found.seconds)} at concurrency {options.access.calls_at_once}"
    _say_estimate(found, basis, time)
    return 0


def run_export(options: ExportOptions) -> None:
    """Write the data set, and push it where asked to."""
    out, repo = options.out, options.push_to_hub
    make_prompt = load_template(options.template).prompt
    with Store(options.store, create=False) as store, progress_of("export", store.usable()) as report:
        counts = exporting.export(store, options, make_prompt, report)
        named = SourceColumns(store.problems()).names
        students = store.students() if options.by == "lift" else {}
    typer.echo(f"problems: {counted(counts)}")
    if len(students) > 1:
        listed = "; ".join(f"{many} candidates with {student}" for student, many in students.values())
        typer.echo(
            f"The lifts are of several measurements ({listed}), which cannot be compared: run sgpo strategies lift "
            "once more over all problems, with the student that is to be trained."
        )
    if counts["not_measured"]:
        typer.echo(exporting.REMEDIES["not_measured"])
    if named:
        kept = (name if name == new else f"{name} as {new}" for name, new in named.items())
        typer.echo(f"columns of the source: {', '.join(kept)}")
    typer.echo(f"written: {out}; sgpo init MODEL {out} makes a recipe for it")
    if repo is not None:
        exporting.push(out, repo, public=options.public)
        typer.echo(f"pushed: {repo} ({'public' if options.public else 'private'})")


def _say_estimate(spend: Spend, basis: str, *more: str) -> None:
    """The end of every estimate: tokens and what the figure rests on, cost, and that nothing was spent."""
    typer.echo(f"tokens: about {spend.prompt_tokens:,} in, {spend.completion_tokens:,} out ({basis})")
    cost = "unknown without --price-in and --price-out" if spend.cost is None else f"{spend.cost:.2f}{_FULL_PRICE}"
    end = "Nothing was asked. The estimate counts every call, also those that the store has an answer to."
    typer.echo("\n".join([f"cost: {cost}", *more, end]))


def _source(options: ExtractOptions) -> Source:
    return Source(options.source, columns=parse_columns(options.columns), split=options.split)


def _finish(tally: Tally, budget: Budget, store: Path, then: str) -> int:
    """Print the end of a run, and what comes next; 0, or 1 if it stopped early for another reason than its budget."""
    typer.echo(f"calls: {tally.before} answered before, {counted(tally.outcomes) or 'none answered now'}")
    if tally.failures:
        typer.echo(f"without an answer, to be asked again by the next run: {counted(tally.failures)}")
        typer.echo(f"the first of them: {tally.message}")
    if tally.blank:
        typer.echo(
            f"{tally.blank} replies fill their limit with white space: a server that holds a model to a schema may let "
            "it write blanks without end, which are paid for. Give --no-json-schema"
        )
    if tally.cut:
        typer.echo(
            f"of {tally.cut} prompts the endpoint counts fewer tokens than they have: it may have cut them, and reply "
            "to half a response. Raise the server's context (Ollama: num_ctx) and begin another --store; or it leaves "
            "out of its count what it had in a cache"
        )
    if line := several_served(tally.served):
        typer.echo(line)
    tokens = f"{budget.prompt_tokens:,.0f} in, {budget.completion_tokens:,.0f} out"
    typer.echo(
        f"tokens of all runs: {tokens}" + (f"; cost {budget.cost:.4f}{_FULL_PRICE}" if budget.spending.priced else "")
    )
    # A budget that is used up is an end as planned; any other stop is for a script to notice.
    if tally.stopped is None:
        typer.echo(f"written into {store}; {then}")
        return 0
    _warn(f"stopped: {tally.stopped}. Answered calls are kept in {store}.")
    return 0 if tally.exhausted else 1


def _warn(text: str) -> None:
    typer.echo(in_colour(text, 33, sys.stderr), err=True)


def counted(counts: Counter[str]) -> str:
    """Names with their counts, the most frequent first."""
    return ", ".join(f"{name} {count}" for name, count in counts.most_common() if count)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 120 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
