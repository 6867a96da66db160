"""The work of ``sgpo strategies audit``: blind answers, or how likely a local model finds the answer."""

from __future__ import annotations

from typing import Any

from sgpo.commands import _strategies as common
from sgpo.commands._progress import progress
from sgpo.models.local import LocalModel
from sgpo.strategies import audit as auditing
from sgpo.strategies import likelihood as likely
from sgpo.strategies.budget import Prices
from sgpo.strategies.extract import setup_of
from sgpo.strategies.store import Store
from sgpo.strategies.templates import load_prompt


def audit(given: dict[str, Any]) -> int:
    """Run, say what came of it, and give the exit code."""
    if given["likelihood"] and given["backend"] != "transformers":
        raise ValueError("--likelihood needs the model in this process: add --backend transformers.")
    with Store(given["store"], create=False) as store:
        if given["dry_run"]:
            return _estimate(store, given)
        return _likelihood(store, given) if given["likelihood"] else _blind(store, given)


def _blind(store: Store, given: dict[str, Any]) -> int:
    budget, prompt = common.budget_of(given), load_prompt("audit", given["prompt"])
    total = auditing.estimate(store, prompt, given["n"], Prices(), given["limit"]).calls
    with progress("audit") as bar:
        client = common.model_of(given)
        if given["retry_unreadable"]:
            common.say_retry(store, setup_of(client, given["model"], prompt, auditing.NOTE, given["seed"]), budget)
        task = bar.add_task("", total=None, note="")
        done = auditing.audit(
            store,
            client,
            model=given["model"],
            prompt=prompt,
            n=given["n"],
            seed=given["seed"],
            limit=given["limit"],
            retry_unreadable=given["retry_unreadable"],
            budget=budget,
            give_up=given["give_up_after"],
            report=lambda tally, budget: common.advance(bar, task, tally, budget, total),
        )
    common.say(f"candidates: {common.listed(done.candidates)}")
    return common.finish(done.tally, budget, given["store"])


def _likelihood(store: Store, given: dict[str, Any]) -> int:
    model = common.model_of(given)
    if not isinstance(model, LocalModel):
        raise ValueError("--likelihood needs the model in this process: add --backend transformers.")
    prompt = load_prompt("audit", given["prompt"])
    with progress("likelihood") as bar:
        task = bar.add_task("", total=None, note="")
        found = likely.measure(
            store,
            model,
            model_name=given["model"],
            prompt=prompt,
            limit=given["limit"],
            report=lambda done, total: bar.update(task, completed=done, total=total),
        )
    common.say(
        f"candidates: {len(found)}; the answer is more likely by {sum(found) / max(1, len(found)):+.3f} nats a token"
    )
    return 0


def _estimate(store: Store, given: dict[str, Any]) -> int:
    found = auditing.estimate(
        store,
        load_prompt("audit", given["prompt"]),
        given["n"],
        Prices(given["price_in"], given["price_out"]),
        given["limit"],
    )
    cost = "unknown without --price-in and --price-out" if found.cost is None else f"{found.cost:.2f}"
    common.say(f"calls: {found.calls}, {given['n']} for each of {found.candidates} candidates")
    common.say(
        f"tokens: about {found.prompt_tokens:,} in, {found.completion_tokens:,} out (replies of one short answer)"
    )
    common.say(f"cost: {cost}")
    common.say("Nothing was asked. The estimate is for all of it, what the store already has included.")
    return 0
