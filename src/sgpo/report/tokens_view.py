"""The token view for the templates: responses token by token, and the summary of where their KL lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from markupsafe import Markup

from sgpo.report import svg
from sgpo.report.run import Run
from sgpo.report.text import bound, visible
from sgpo.report.token_summary import LEVELS, KLShares, Token, kl_shares, level, token_kl_of
from sgpo.runs.bounded import read_bounded_rows
from sgpo.runs.json_entry import finite, finite_list

MAX_ROWS = 40  # of tokens.jsonl
MAX_TOKENS = 600  # shown of a response
MAX_ALL = 8_000  # shown on the page
MAX_TOP = 8  # alternatives of a side
MAX_TOKEN_TEXT = 80
CLIP = 1.0  # nats; the paper's threshold


class Alternative(NamedTuple):
    """A token that a side might have written; ``width`` is its probability in percent of a bar."""

    text: str
    p: float
    width: float
    chosen: bool


class TokenSide(NamedTuple):
    """What one side made of a token: its probability and rank there, and the likeliest alternatives."""

    title: str
    p: float | None
    rank: int | None
    top: Sequence[Alternative]


@dataclass(frozen=True)
class TokenCell:
    """A token as it is drawn; the space ``before`` a word is not coloured."""

    text: str
    before: str
    visible: str
    sides: Sequence[TokenSide]
    kl: float
    level: int
    peak: bool
    decision: bool


@dataclass(frozen=True)
class Reading:
    """A response as one model read it; ``key`` is unique on the page, ``left_out`` tokens are not drawn."""

    model: str
    tokens: Sequence[TokenCell]
    kls: Sequence[float]
    left_out: int
    key: str = ""
    bars: Markup | None = None

    @property
    def mean(self) -> float:
        return sum(self.kls) / len(self.kls)


@dataclass(frozen=True)
class ResponseGroup:
    """One response, read by one or more models; ``row`` is the first of its lines in tokens.jsonl, as it came."""

    row: Token
    views: Sequence[Reading]


@dataclass(frozen=True)
class TokensView:
    """The token view; ``summaries`` are by model, ``legend`` has each colour of the key with the KL that it begins at,
    ``hidden`` responses are left out."""

    groups: Sequence[ResponseGroup]
    summaries: Mapping[str, KLShares]
    legend: Sequence[tuple[int, str]]
    hidden: int


def token_views(run: Run) -> TokensView | None:
    """Responses, grouped where several models read the same one, and a summary per model; None without tokens.jsonl."""
    rows = [
        (row, [token for token in row["tokens"] if isinstance(token, dict)])
        for row in read_bounded_rows(run.path / "tokens.jsonl", run.notices, limit=MAX_ROWS)
        if isinstance(row.get("tokens"), list)
    ]
    by_model: dict[str, list[Token]] = {}
    facts: dict[str, Token] = {}  # the first row of each response
    readings: dict[str, list[Reading]] = {}
    left = MAX_ALL
    for row, found in rows:
        if not found:
            continue
        model = bound(row.get("model") or "the policy", 80)
        by_model.setdefault(model, []).extend(found)
        # By the response, too: one problem may have several.
        key = str(row.get("id")) + str(row.get("response"))
        facts.setdefault(key, row)
        shown = found[: min(MAX_TOKENS, left)]
        left -= len(shown)
        if shown:
            readings.setdefault(key, []).append(_reading(model, shown, len(found) - len(shown)))
    if not facts:
        return None
    groups = [_group(i, facts[key], views) for i, (key, views) in enumerate(readings.items())]
    summaries = {model: kl_shares(found) for model, found in by_model.items()}
    legend = [(i, f"{edge:g}") for i, edge in enumerate([0.0, *LEVELS])]
    return TokensView(groups, summaries, legend, len(facts) - len(groups))


def _group(number: int, row: Token, views: Sequence[Reading]) -> ResponseGroup:
    top = max(max(view.kls) for view in views)  # one scale, so that views compare
    drawn = [
        replace(view, key=f"{number}-{j}", bars=svg.bars(view.kls, [*map(level, view.kls)], top=top, line=CLIP))
        for j, view in enumerate(views)
    ]
    return ResponseGroup(row, drawn)


def _reading(model: str, shown: Sequence[Token], left_out: int) -> Reading:
    kls = [token_kl_of(token) for token in shown]
    # One token of each reading is open without a click, the one at which most happens.
    peak = max(range(len(kls)), key=kls.__getitem__)
    return Reading(model, [_token(token, i == peak) for i, token in enumerate(shown)], kls, left_out)


def _token(token: Token, peak: bool) -> TokenCell:
    text = bound(token.get("text"), MAX_TOKEN_TEXT)
    kl = token_kl_of(token)
    p, ranks = finite_list(token.get("p"), 2), finite_list(token.get("rank"), 2)
    sides = []
    for i, (name, title) in enumerate((("autonomous", "without strategy"), ("guided", "with strategy"))):
        rank = int(ranks[i]) if ranks else None
        sides.append(TokenSide(title, p[i] if p else None, rank, _alternatives(token.get(name), rank)))
    word = text.lstrip(" ") or text
    decision = token.get("decision") is True
    return TokenCell(word, text[: len(text) - len(word)], visible(text), sides, kl, level(kl), peak, decision)


def _alternatives(listed: Any, rank: int | None) -> list[Alternative]:
    """The alternatives of a side, the token itself marked by its rank."""
    found = []
    for i, pair in enumerate(listed[:MAX_TOP] if isinstance(listed, list) else ()):
        if isinstance(pair, list) and len(pair) == 2 and (p := finite(pair[1])) is not None:
            text = visible(bound(pair[0], MAX_TOKEN_TEXT))
            found.append(Alternative(text, p, round(100 * min(1.0, max(0.0, p)), 1), i == rank))
    return found
