"""The work of ``sgpo strategies audit``: blind answers, or how likely a local model finds the answer."""

from __future__ import annotations

from sgpo.commands import _strategies as common
from sgpo.models.local import LocalModel
from sgpo.runs.progress import progress
from sgpo.strategies import audit as auditing
from sgpo.strategies import likelihood as likely
from sgpo.strategies.budget import Prices
from sgpo.strategies.extract import setup_of
from sgpo.strategies.options import AuditOptions
from sgpo.strategies.store import Store
from sgpo.strategies.templates import load_prompt


def audit(options: AuditOptions) -> int:
    """Run, say what came of it, and give the exit code."""
    with Store(options.store, create=False) as store:
        if options.dry_run:
            return _estimate(store, options)
        return _likelihood(store, options) if options.likelihood else _blind(store, options)


def _blind(store: Store, options: AuditOptions) -> int:
    budget, prompt = options.spending.budget(), load_prompt("audit", options.prompt)
    total = auditing.estimate(store, prompt, options.n, Prices(), options.limit).calls
    with progress("audit") as bar:
        client = options.open()
        if options.retry_unreadable:
            common.say_retry(store, setup_of(client, options.model, prompt, auditing.NOTE, options.seed), budget)
        task = bar.add_task("", total=None, note="")
        done = auditing.audit(
            store,
            client,
            model=options.model,
            prompt=prompt,
            n=options.n,
            seed=options.seed,
            limit=options.limit,
            retry_unreadable=options.retry_unreadable,
            budget=budget,
            give_up=options.give_up_after,
            report=lambda tally, budget: common.advance(bar, task, tally, budget, total),
        )
    common.say(f"candidates: {common.listed(done.candidates)}")
    return common.finish(done.tally, budget, options.store)


def _likelihood(store: Store, options: AuditOptions) -> int:
    model = options.open()
    if not isinstance(model, LocalModel):
        raise ValueError("--likelihood needs the model in this process: add --backend transformers.")
    prompt = load_prompt("audit", options.prompt)
    with progress("likelihood") as bar:
        task = bar.add_task("", total=None, note="")
        found = likely.measure(
            store,
            model,
            model_name=options.model,
            prompt=prompt,
            limit=options.limit,
            report=lambda done, total: bar.update(task, completed=done, total=total),
        )
    common.say(
        f"candidates: {len(found)}; the answer is more likely by {sum(found) / max(1, len(found)):+.3f} nats a token"
    )
    return 0


def _estimate(store: Store, options: AuditOptions) -> int:
    found = auditing.estimate(
        store,
        load_prompt("audit", options.prompt),
        options.n,
        options.spending.prices,
        options.limit,
    )
    common.say(f"calls: {found.calls}, {options.n} for each of {found.candidates} candidates")
    common.say_estimate(found.prompt_tokens, found.completion_tokens, found.cost, "replies of one short answer")
    return 0
