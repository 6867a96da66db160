"""What ``sgpo strategies show`` and ``stats`` print. Texts of models and files are never read as markup."""

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

import typer
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sgpo.runs.files import JsonObject
from sgpo.strategies.export import in_order
from sgpo.strategies.options import ShowOptions, StatsOptions
from sgpo.strategies.records import Candidate, Problem
from sgpo.strategies.store import Store

_SHOWN_CHARS = 2_000


def print_problems(options: ShowOptions) -> None:
    """Print problems with their candidates, the best first. Raises ValueError for an id that is not there."""
    if options.limit < 1:
        raise ValueError(f"--limit {options.limit} must be at least 1.")
    console = Console()
    with Store(options.store, create=False) as store:
        if ids := options.ids:
            known = store.known(ids)
            if missing := [id for id in ids if id not in known]:
                raise ValueError(f"{store.path} has no problem {missing[0]!r}; without ids the first ones are shown.")
            for id in ids:
                if known[id][1] != "ok":
                    console.print(Text(f"{id}: skipped, {known[id][1]}"))
        for problem in islice(store.problems(ids or None), len(ids) or options.limit):
            _print_problem(console, problem, store.candidates(problem.id))


def print_stats(options: StatsOptions) -> None:
    """Print the numbers of a store."""
    with Store(options.store, create=False) as store:
        found = summarize(store)
    if options.as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    typer.echo(f"problems: {_listed(found['problems'])}")
    per_problem = ", ".join(f"{problems} with {many}" for many, problems in found["candidates_per_problem"].items())
    typer.echo(f"candidates: {per_problem or 'none'}")
    typer.echo(f"kept by rank: {found['kept']}; leak check: {found['leaks']} of {found['checked']} rejected")
    if found["audited"]:
        typer.echo(f"answers told blind: {found['told_blind']} of {found['audited']} audited, above chance")
    if found["signs_of_leaks"]:
        typer.echo(f"leaks seen by (rules, blind answers, judge): {_listed(found['signs_of_leaks'])}")
    table = Table(box=None, pad_edge=False)
    for title in ("setup", "kind", "model", "prompt", "calls by outcome", "tokens in", "out", "s/call"):
        table.add_column(title, justify="right" if title in ("tokens in", "out", "s/call") else "left")
    for setup in found["setups"]:
        seconds = "-" if setup["mean_seconds"] is None else f"{setup['mean_seconds']:.1f}"
        cells = [setup["id"][:8], setup["kind"], setup["model"], setup["prompt"], _listed(setup["outcomes"])]
        cells += [f"{setup['prompt_tokens']:,}", f"{setup['completion_tokens']:,}", seconds]
        table.add_row(*map(Text, cells))
    Console().print(table)


def _print_problem(console: Console, problem: Problem, candidates: list[Candidate]) -> None:
    console.rule(Text(problem.id))
    console.print(Text(_short(problem.problem)))
    console.print(Text(f"answer: {_short(problem.answer)}", style="bold"))
    if not candidates:
        console.print(Text("no candidate", style="yellow"))
    for candidate in in_order(candidates):
        title = Text(f"candidate {candidate.number}, {candidate.model}, {candidate.prompt}")
        text = Text.assemble(candidate.strategy.text(), "\n\n", (_verdicts(candidate.notes), "bold"))
        console.print(Panel(text, title=title, title_align="left"))


def _verdicts(notes: Mapping[str, Mapping[str, Any]]) -> str:
    parts = []
    rank, check, audit, lift = (notes.get(name) for name in ("rank", "check", "audit", "lift"))
    if rank is not None:
        score = "" if rank["score"] is None else f" ({rank['score']:.1f} of 20)"
        parts.append(f"place {rank['place']}{score}{' kept by rank' if rank['kept'] else ''}")
    if check is not None:
        parts.append(f"leaks: {check['reason']}" if check["leak"] else "no leak")
    if audit is not None:
        chance = audit["chance"][0] / audit["chance"][1]
        interval = f"{audit['low']:+.2f}, {audit['high']:+.2f}"
        parts.append(f"told blind {audit['told']} of {audit['asked']} (chance {chance:.0%}, above it [{interval}])")
    if lift is not None:
        parts.append(f"lift {lift['lift']:+.2f} [{lift['low']:+.2f}, {lift['high']:+.2f}]")
    return ", ".join(parts) or "neither ranked nor checked yet"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]} ... ({len(text)} characters)"


def summarize(store: Store) -> JsonObject:
    """Problems by status, candidates by problem, each setup's calls by outcome with tokens, notes by their verdict."""
    per_problem = """
        SELECT many, count(*) FROM (
          SELECT (SELECT count(*) FROM calls c JOIN setups s ON s.id = c.setup
                  WHERE c.problem = p.id AND s.kind = 'extract' AND c.outcome = 'ok') AS many
          FROM problems p WHERE p.status = 'ok') GROUP BY many ORDER BY many"""
    return {
        "problems": dict(store.rows("SELECT status, count(*) FROM problems GROUP BY status ORDER BY 2 DESC")),
        "candidates_per_problem": dict(store.rows(per_problem)),
        "setups": [_setup(store, *row) for row in store.rows("SELECT id, kind, model, prompt, settings FROM setups")],
        "kept": _count(store, "n.name = 'rank' AND json_extract(n.value, '$.kept')"),
        "leaks": _count(store, "n.name = 'check' AND json_extract(n.value, '$.leak')"),
        "checked": _count(store, "n.name = 'check'"),
        "audited": _count(store, "n.name = 'audit'"),
        "told_blind": _count(store, "n.name = 'audit' AND json_extract(n.value, '$.leaks')"),
        "signs_of_leaks": _signs(store),
    }


def _signs(store: Store) -> dict[str, int]:
    """Count the candidates that the rules, blind answers and the judge all looked at, by those that see a leak.

    The judge is `rank`'s score "instance_free", which sees a leak where it is 2 or less.
    """
    query = """
        SELECT json_extract(c.value, '$.leak'), json_extract(a.value, '$.leaks'),
               json_extract(r.value, '$.scores.instance_free') <= 2, count(*)
        FROM notes c JOIN notes a ON a.candidate = c.candidate AND a.name = 'audit'
        JOIN notes r ON r.candidate = c.candidate AND r.name = 'rank'
        WHERE c.name = 'check' AND json_extract(r.value, '$.scores.instance_free') IS NOT NULL GROUP BY 1, 2, 3"""
    found: dict[str, int] = {}
    for *seen, many in store.rows(query):
        names = [name for name, sees in zip(("rules", "blind", "judge"), seen, strict=True) if sees]
        found[" and ".join(names) or "none"] = many
    return found


def _setup(store: Store, *row: str) -> JsonObject:
    outcomes = "SELECT outcome, count(*) FROM calls WHERE setup = ? GROUP BY outcome ORDER BY 2 DESC"
    totals = store.totals(row[0])
    return {
        **dict(zip(("id", "kind", "model", "prompt", "settings"), row, strict=True)),
        "outcomes": dict(store.rows(outcomes, row[0])),
        "prompt_tokens": totals["prompt_tokens"],
        "completion_tokens": totals["completion_tokens"],
        "mean_seconds": totals["seconds"] / totals["calls"] if totals["calls"] else None,
    }


def _count(store: Store, condition: str) -> int:
    return int(store.rows(f"SELECT count(*) FROM notes n WHERE {condition}")[0][0])
