"""The work of ``sgpo strategies extract``, ``rank`` and ``export``: from options to calls, and the progress bar."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import typer
from rich.progress import Progress

from sgpo.commands._progress import progress
from sgpo.evaluation.templates import load_template
from sgpo.models import Model, ModelOptions, Sampling, open_model
from sgpo.models.options import json_object
from sgpo.strategies import export as exporting
from sgpo.strategies.asking import Tally
from sgpo.strategies.budget import Budget, Prices
from sgpo.strategies.columns import SourceColumns
from sgpo.strategies.estimate import estimate as estimate_for
from sgpo.strategies.extract import Extraction, setup_of
from sgpo.strategies.extract import extract as run_extract
from sgpo.strategies.rank import rank as run_rank
from sgpo.strategies.records import Setup
from sgpo.strategies.sources import Source, parse_columns
from sgpo.strategies.store import Store
from sgpo.strategies.templates import load_prompt


def extract(given: dict[str, Any]) -> int:
    """Run, say what came of it, and give the exit code."""
    budget, prompt, source = budget_of(given), load_prompt("extract", given["prompt"]), _source(given)
    known = source.count()
    say(source.describe())
    with Store(given["store"]) as store, progress("extract") as bar:
        client = model_of(given)
        if given["retry_unreadable"]:
            say_retry(store, setup_of(client, given["model"], prompt, "extract", given["seed"]), budget)
        task = bar.add_task("", total=None, note="")

        def report(done: Extraction, budget: Budget) -> None:
            rows = None if known is None else known - (done.rows.total() - done.rows["ok"])
            total = rows if given["limit"] is None else min(rows or given["limit"], given["limit"])
            calls = None if total is None else total * given["n"]
            advance(bar, task, done.tally, budget, calls)

        done = run_extract(
            source,
            store,
            client,
            model=given["model"],
            prompt=prompt,
            n=given["n"],
            seed=given["seed"],
            keep_thinking=given["keep_thinking"],
            limit=given["limit"],
            retry_unreadable=given["retry_unreadable"],
            budget=budget,
            give_up=given["give_up_after"],
            report=report,
        )
    say(f"rows: {listed(done.rows)}")
    return finish(done.tally, budget, given["store"])


def rank(given: dict[str, Any]) -> int:
    """Run, say what came of it, and give the exit code."""
    budget, prompt = budget_of(given), load_prompt("rank", given["prompt"])
    with Store(given["store"], create=False) as store, progress("rank") as bar:
        client = model_of(given)
        if given["retry_unreadable"]:
            say_retry(store, setup_of(client, given["model"], prompt, "rank", given["seed"]), budget)
        task = bar.add_task("", total=None, note="")
        problems = int(store.rows("SELECT count(*) FROM problems WHERE status = 'ok'")[0][0])
        total = min(problems, given["limit"] or problems) * given["repeats"]
        done = run_rank(
            store,
            client,
            model=given["model"],
            prompt=prompt,
            repeats=given["repeats"],
            seed=given["seed"],
            limit=given["limit"],
            retry_unreadable=given["retry_unreadable"],
            budget=budget,
            give_up=given["give_up_after"],
            report=lambda tally, budget: advance(bar, task, tally, budget, total),
        )
    say(f"problems: {listed(done.problems)}")
    if done.winner_agreement is not None:
        tau = "-" if done.tau is None else f"{done.tau:.2f}"
        say(f"agreement of repetitions: winner {done.winner_agreement:.0%}, Kendall's tau-b {tau}")
    return finish(done.tally, budget, given["store"])


def estimate(given: dict[str, Any]) -> int:
    """What ``extract`` would take; asks nothing, and needs no key."""
    source, prompt = _source(given), load_prompt("extract", given["prompt"])
    prices = Prices(given["price_in"], given["price_out"])
    say(source.describe())
    concurrency = given["concurrency"] if given["backend"] == "endpoint" else given["batch_size"] or 8
    store = Store(given["store"]) if given["store"].is_file() else None
    try:
        found = estimate_for(
            source,
            store,
            model=given["model"],
            prompt=prompt,
            n=given["n"],
            concurrency=concurrency,
            prices=prices,
            keep_thinking=given["keep_thinking"],
            limit=given["limit"],
        )
    finally:
        if store is not None:
            store.close()
    basis = (
        f"from {found.measured} calls of this model in the store"
        if found.measured
        else "replies assumed to have 400 tokens and take 8 s; run with --limit 20 first to have them measured"
    )
    cost = "unknown without --price-in and --price-out" if found.cost is None else f"{found.cost:.2f}"
    say(f"rows: {found.rows}, of which about {found.usable} usable (from {found.sampled} sampled)")
    say(f"calls: {found.calls}, {given['n']} for each problem")
    say(f"tokens: about {found.prompt_tokens:,} in, {found.completion_tokens:,} out ({basis})")
    say(f"cost: {cost}")
    say(f"time: about {_duration(found.seconds)} at concurrency {concurrency}")
    say("Nothing was asked. The estimate is for all of it, what the store already has included.")
    return 0


def export(path: Path, out: Path, template: str, *, repo: str | None, public: bool, **options: Any) -> None:
    """Write the data set, and push it where asked to; ``options`` are those of :func:`exporting.export`."""
    if repo is not None and repo.count("/") > 1:
        raise ValueError(f"--push-to-hub {repo} must be an id such as name/data-set.")
    make_prompt = load_template(template).prompt
    with Store(path, create=False) as store, progress("export") as bar:
        total = int(store.rows("SELECT count(*) FROM problems WHERE status = 'ok'")[0][0])
        task = bar.add_task("", total=total, note="")
        counts = exporting.export(
            store,
            out,
            make_prompt=make_prompt,
            report=lambda done: bar.update(task, completed=done),
            **options,
        )
        named = SourceColumns(store.problems()).names
    say(f"problems: {listed(counts)}")
    if named:
        kept = (name if name == new else f"{name} as {new}" for name, new in named.items())
        say(f"columns of the source: {', '.join(kept)}")
    say(f"written: {out}")
    if repo is not None:
        exporting.push(out, repo, public=public)
        say(f"pushed: {repo} ({'public' if public else 'private'})")


def say_retry(store: Store, setup: Setup, budget: Budget) -> None:
    """What asking again for the replies that could not be read will take, as they took before."""
    spent = store.unreadable(setup.id).values()
    tokens = [sum(column) for column in zip(*spent, strict=True)] or [0, 0]
    cost = f", cost about {budget.prices.cost(*tokens):.4f}" if budget.prices.known else ""
    say(
        f"asking again for {len(spent)} replies that could not be read: about {tokens[0]:,} tokens in, {tokens[1]:,} "
        f"out{cost}, as many as they took before"
    )


def _source(given: dict[str, Any]) -> Source:
    return Source(given["source"], columns=parse_columns(given["columns"]), split=given["split"])


def budget_of(given: dict[str, Any]) -> Budget:
    return Budget(given["max_tokens_total"], given["max_cost"], Prices(given["price_in"], given["price_out"]))


def model_of(given: dict[str, Any]) -> Model:
    temperature, top_p, max_tokens = given["temperature"], given["top_p"], given["max_tokens"]
    if not 0 <= temperature <= 2 or not 0 < top_p <= 1 or max_tokens < 1:
        raise ValueError(
            f"temperature {temperature}, top_p {top_p}, max_tokens {max_tokens}: temperature must be from 0 to 2, "
            "top_p over 0 and at most 1, max_tokens at least 1."
        )
    size = given["batch_size"]
    options = ModelOptions(
        backend=given["backend"],
        base_url=given["base_url"],
        api_key_env=given["api_key_env"],
        concurrency=given["concurrency"],
        retries=given["retries"],
        timeout=given["timeout"],
        json_schema=not given["no_json_schema"],
        extra_body=json_object(given["extra_body"], "--extra-body"),
        omit=given["omit"] or (),
        stream=given["stream"],
        batch_size={"vllm": 256}.get(given["backend"], 8) if size is None else size,
        dtype=given["dtype"],
        device=given["device"],
        revision=given["revision"],
        chat_template_kwargs=json_object(given["chat_template_kwargs"], "--chat-template-kwargs"),
    )
    return open_model(given["model"], Sampling(temperature, top_p, max_tokens), options)


def advance(bar: Progress, task: Any, tally: Tally, budget: Budget, total: int | None) -> None:
    """The bar's numbers; the rate is of this run's calls."""
    seconds = bar.tasks[0].elapsed or 0.0
    rate = tally.finished / seconds if seconds else 0.0
    tokens = budget.prompt_tokens + budget.completion_tokens
    note = f"{rate:.1f}/s {tokens / 1000:,.0f}k tokens"
    note += f" cost {budget.cost:.2f}" if budget.prices.known else ""
    note += f" waiting for {tally.waiting} calls of another process" if tally.waiting else ""
    bar.update(task, completed=tally.before + tally.finished, total=total, note=note)


def finish(tally: Tally, budget: Budget, store: Path) -> int:
    """Print the end of a run; 0, or 1 where it stopped before its end for another reason than its budget."""
    say(f"calls: {tally.before} answered before, {listed(tally.outcomes) or 'none answered now'}")
    if tally.failures:
        say(f"without an answer, to be asked again by the next run: {listed(tally.failures)}")
        say(f"the first of them: {tally.message}")
    tokens = f"{budget.prompt_tokens:,.0f} in, {budget.completion_tokens:,.0f} out"
    say(f"tokens of all runs: {tokens}" + (f"; cost {budget.cost:.4f}" if budget.prices.known else ""))
    if tally.stopped is None:
        return 0
    typer.secho(f"stopped: {tally.stopped}. Answered calls are kept in {store}.", fg=typer.colors.YELLOW, err=True)
    return 0 if tally.exhausted else 1


def listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common() if count)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 120 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def say(text: str) -> None:
    typer.echo(text)
