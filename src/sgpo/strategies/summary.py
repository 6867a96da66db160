"""What is in a store, in numbers."""

from __future__ import annotations

from sgpo.runs.files import JsonObject
from sgpo.strategies.store import Store


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


def _setup(store: Store, id: str, kind: str, model: str, prompt: str, settings: str) -> JsonObject:
    outcomes = "SELECT outcome, count(*) FROM calls WHERE setup = ? GROUP BY outcome ORDER BY 2 DESC"
    totals = store.totals(id)
    return {
        "id": id,
        "kind": kind,
        "model": model,
        "prompt": prompt,
        "settings": settings,
        "outcomes": dict(store.rows(outcomes, id)),
        "prompt_tokens": totals["prompt_tokens"],
        "completion_tokens": totals["completion_tokens"],
        "mean_seconds": totals["seconds"] / totals["calls"] if totals["calls"] else None,
    }


def _count(store: Store, condition: str) -> int:
    return int(store.rows(f"SELECT count(*) FROM notes n WHERE {condition}")[0][0])
