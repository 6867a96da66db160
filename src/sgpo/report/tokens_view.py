"""The token view for the templates: responses token by token, and the summary of where their KL lies."""

from typing import Any

from sgpo.report import svg
from sgpo.report.files import number, numbers, read_lines
from sgpo.report.run import Run
from sgpo.report.text import bound, visible
from sgpo.report.token_summary import LEVELS, level, summarise, token_kl_of

MAX_ROWS = 40  # of tokens.jsonl
MAX_TOKENS = 600  # shown of a response
MAX_ALL = 8_000  # shown on the page
MAX_TOP = 8  # alternatives of a side
MAX_TOKEN_TEXT = 80
CLIP = 1.0  # nats; the paper's threshold


def tokens(run: Run) -> dict[str, Any] | None:
    """Responses, grouped where several models read the same one, and a summary per model; None without tokens.jsonl."""
    rows = [
        {**row, "tokens": [t for t in row["tokens"] if isinstance(t, dict)]}
        for row in read_lines(run.path / "tokens.jsonl", run.notices, limit=MAX_ROWS)
        if isinstance(row.get("tokens"), list)
    ]
    rows = [row for row in rows if row["tokens"]]
    if not rows:
        return None
    by_model: dict[str, list[dict[str, Any]]] = {}
    groups: dict[str, dict[str, Any]] = {}
    left = MAX_ALL
    for row in rows:
        model = bound(row.get("model") or "the policy", 80)
        by_model.setdefault(model, []).extend(row["tokens"])
        key = str(row.get("id")) + str(row.get("response"))
        facts = {name: bound(row.get(name), 1_500) for name in ("id", "family", "problem", "strategy", "answer")}
        group = groups.setdefault(key, {**facts, "correct": row.get("correct"), "views": []})
        shown = row["tokens"][: min(MAX_TOKENS, left)]
        left -= len(shown)
        if shown:
            group["views"].append(_view(model, row["tokens"], shown))
    for i, group in enumerate(groups.values()):
        top = max((max(view["kls"]) for view in group["views"]), default=0.0)  # one scale, so that views compare
        for j, view in enumerate(group["views"]):
            view["key"] = f"{i}-{j}"
            view["bars"] = svg.bars(view["kls"], [level(kl) for kl in view["kls"]], top=top, line=CLIP)
    summaries = [{"model": model, **summarise(listed)} for model, listed in by_model.items()]
    listed = [group for group in groups.values() if group["views"]]
    return {"groups": listed, "summaries": summaries, "legend": _legend(), "hidden": len(groups) - len(listed)}


def _view(model: str, all_tokens: list[dict[str, Any]], shown: list[dict[str, Any]]) -> dict[str, Any]:
    kls = [token_kl_of(token) for token in shown]
    peak = max(range(len(kls)), key=kls.__getitem__)
    return {
        "model": model,
        "tokens": [_token(token, i == peak) for i, token in enumerate(shown)],
        "kls": kls,
        "mean": sum(kls) / len(kls),
        "left_out": len(all_tokens) - len(shown),
    }


def _token(token: dict[str, Any], peak: bool) -> dict[str, Any]:
    text = bound(token.get("text"), MAX_TOKEN_TEXT)
    kl = token_kl_of(token)
    p, rank = numbers(token.get("p"), 2), numbers(token.get("rank"), 2)
    sides = [
        {
            "title": title,
            "p": p[i] if p else None,
            "rank": int(rank[i]) if rank else None,
            "top": _alternatives(token.get(name), int(rank[i]) if rank else None),
        }
        for i, (name, title) in enumerate((("autonomous", "without strategy"), ("guided", "with strategy")))
    ]
    word = text.lstrip(" ") or text  # the space before a word is not coloured
    shown = {"text": word, "before": text[: len(text) - len(word)], "visible": visible(text), "sides": sides}
    return {**shown, "kl": kl, "level": level(kl), "peak": peak, "decision": token.get("decision") is True}


def _alternatives(listed: Any, rank: int | None) -> list[dict[str, Any]]:
    """The alternatives of a side, the token itself marked by its rank."""
    found = []
    for i, pair in enumerate(listed[:MAX_TOP] if isinstance(listed, list) else ()):
        if isinstance(pair, list) and len(pair) == 2 and (p := number(pair[1])) is not None:
            text = visible(bound(pair[0], MAX_TOKEN_TEXT))
            found.append({"text": text, "p": p, "width": round(100 * min(1.0, max(0.0, p)), 1), "chosen": i == rank})
    return found


def _legend() -> list[dict[str, Any]]:
    edges = [0.0, *LEVELS]
    return [{"level": i, "text": f"{edge:g}"} for i, edge in enumerate(edges)]
