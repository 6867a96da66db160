"""Orders, ties, agreement; and the ranking of a store against a scripted endpoint."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies_kit import GOOD, Play, Server, said, serving

from sgpo.models import ModelOptions, Sampling
from sgpo.models.endpoint import Endpoint
from sgpo.strategies.asking import Asking
from sgpo.strategies.extract import messages_for
from sgpo.strategies.rank import Ranking, kendall_tau, mean_tau, order, rank, winner_agreement
from sgpo.strategies.records import AnsweredCall, Key, Problem, Setup
from sgpo.strategies.schema import CRITERIA, Strategy
from sgpo.strategies.store import Store
from sgpo.strategies.templates import load_prompt

SETUP = Setup("extract", "m", "extract.v1", "abc", {})


def scored(**rows: tuple[int, int, int, int]) -> dict[str, dict[str, int]]:
    return {name: dict(zip(CRITERIA, row, strict=True)) for name, row in rows.items()}


def test_the_order_is_by_sums_then_by_what_does_most_harm_then_as_given() -> None:
    assert order(["a", "b"], [scored(a=(5, 1, 1, 1), b=(5, 5, 5, 5))]) == ["b", "a"]
    # criteria: faithful, general, executable, instance_free
    tied = scored(a=(4, 3, 3, 2), b=(3, 3, 2, 4), c=(3, 2, 3, 4), d=(2, 4, 2, 4))
    assert order(list("abcd"), [tied]) == ["c", "b", "d", "a"]
    same = scored(a=(3, 3, 3, 3), b=(3, 3, 3, 3))
    assert order(["b", "a"], [same, same]) == ["b", "a"]
    assert order(["b", "a"], []) == ["b", "a"]
    up, down = scored(a=(5, 5, 5, 5), b=(4, 5, 5, 5)), scored(a=(1, 1, 1, 1), b=(1, 3, 1, 1))
    assert order(["a", "b"], [up, down]) == ["b", "a"]  # 20 + 4 against 19 + 6


def slow_tau(a: list[int], b: list[int]) -> float | None:
    """Tau-b from its definition with tie groups: (P - Q) / sqrt((n0 - n1)(n0 - n2))."""
    n = len(a)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    concordant = sum((a[i] - a[j]) * (b[i] - b[j]) > 0 for i, j in pairs)
    discordant = sum((a[i] - a[j]) * (b[i] - b[j]) < 0 for i, j in pairs)
    ties = [sum(x.count(v) * (x.count(v) - 1) // 2 for v in set(x)) for x in (a, b)]
    scale = (len(pairs) - ties[0]) * (len(pairs) - ties[1])
    return (concordant - discordant) / scale**0.5 if scale else None


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8))
def test_kendalls_tau_is_its_definition(pairs: list[tuple[int, int]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    expected = slow_tau(a, b)
    assert kendall_tau(a, b) == (None if expected is None else pytest.approx(expected))


def test_agreement_by_hand() -> None:
    # Totals: 20, 8, 4; 20, 4, 8; 4, 8, 20.
    first = scored(a=(5,) * 4, b=(2,) * 4, c=(1,) * 4)  # type: ignore[arg-type]
    second = scored(a=(5,) * 4, b=(1,) * 4, c=(2,) * 4)  # type: ignore[arg-type]
    third = scored(a=(1,) * 4, b=(2,) * 4, c=(5,) * 4)  # type: ignore[arg-type]
    names = list("abc")
    assert winner_agreement(names, [first, second, third]) == pytest.approx(2 / 3)
    assert mean_tau(names, [first, second, third]) == pytest.approx((1 / 3 - 1 - 1 / 3) / 3)
    assert winner_agreement(names, [first]) is mean_tau(names, [first]) is None
    flat = scored(a=(1,) * 4, b=(1,) * 4, c=(1,) * 4)  # type: ignore[arg-type]
    assert mean_tau(names, [first, flat]) is None
    assert winner_agreement(names, [first, flat]) == 1.0  # a tie goes to the first


def filled(path: Path, candidates: dict[str, int]) -> None:
    """Problems with so many candidates, whose strategies say their number."""
    with Store(path) as store:
        store.add_setup(SETUP)
        for problem, count in candidates.items():
            store.add_problems([Problem(problem, f"problem {problem}", "1", "a response")])
            for i in range(count):
                parsed = Strategy(**{**GOOD, "strategy": f"quality {i}"}).model_dump_json()
                store.record([AnsweredCall(Key(SETUP.id, problem, i), "ok", "", parsed, 1, 1)])


def shown(body: dict[str, Any]) -> list[int]:
    """The qualities of the candidates as they are shown, in their order."""
    return [int(found) for found in re.findall(r"quality (\d)", body["messages"][-1]["content"])]


def fair(body: dict[str, Any], number: int) -> Play:
    """Scores by quality, wherever it stands."""
    rows = [{"candidate": i, **dict.fromkeys(CRITERIA, 1 + quality)} for i, quality in enumerate(shown(body), 1)]
    return said(json.dumps({"scores": rows}))


def ranked(server: Server, path: Path, **options: Any) -> Ranking:
    client = Endpoint("judge", Sampling(0.0, 1.0, 500), ModelOptions(base_url=server.url, concurrency=4, retries=1))
    with Store(path) as store:
        how = {"repeats": options.pop("repeats", 1), "singles": options.pop("singles", False)}
        asking = Asking(store=store, client=client, model="judge", prompt=load_prompt("rank"), **options)
        return rank(asking, **how)


def places(path: Path, problem: str) -> list[int | None]:
    with Store(path) as store:
        return [c.notes.get("rank", {}).get("place") for c in store.candidates(problem)]


def test_candidates_are_ranked_by_their_scores_wherever_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    filled(path, {"a": 4, "b": 1, "c": 0, "d": 2})
    with serving(fair) as server:
        result = ranked(server, path, repeats=3)
        assert len(server.bodies) == 6
        assert len({tuple(shown(body)) for body in server.bodies if len(shown(body)) == 4}) > 1  # shuffled anew
        assert ranked(server, path, repeats=3).problems == result.problems
        assert len(server.bodies) == 6  # nothing is asked again
    assert result.problems == {"ranked": 2, "single": 1, "none": 1}
    assert (result.winner_agreement, result.tau) == (1.0, pytest.approx(1.0))
    assert places(path, "a") == [4, 3, 2, 1]
    assert places(path, "b") == [1]
    with Store(path) as store:
        best = store.candidates("a")[3].notes["rank"]
        assert best["scores"] == dict.fromkeys(CRITERIA, 4)
        assert (best["score"], best["kept"], best["repetitions"], best["model"]) == (16, True, 3, "judge")
        assert [c.notes["rank"]["kept"] for c in store.candidates("a")] == [False, False, False, True]


def test_the_only_candidate_of_a_problem_is_scored_where_asked_to(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    filled(path, {"a": 3, "b": 1, "c": 0})
    with serving(fair) as server:
        assert ranked(server, path, repeats=2).problems == {"ranked": 1, "single": 1, "none": 1}
        done = ranked(server, path, repeats=2, singles=True)
        assert done.problems == {"ranked": 1, "scored": 1, "none": 1}
        assert [shown(body) for body in server.bodies[-2:]] == [[0], [0]]
        assert len(server.bodies) == 4  # the others are not asked again
    # One candidate always wins: it says nothing of how well repetitions agree.
    assert (done.winner_agreement, done.tau) == (1.0, pytest.approx(1.0))
    with Store(path) as store:
        (only,) = store.candidates("b")
        assert only.notes["rank"]["scores"] == dict.fromkeys(CRITERIA, 1)
        assert (only.notes["rank"]["place"], only.notes["rank"]["kept"]) == (1, True)


def test_repetitions_of_single_candidates_agree_about_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    filled(path, {"a": 1, "b": 1})
    with serving(fair) as server:
        done = ranked(server, path, repeats=2, singles=True)
    assert (done.problems, done.winner_agreement, done.tau) == ({"scored": 2}, None, None)


def test_the_judge_is_told_who_said_what_and_what_is_asked(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "Let x = 3.\n\nAssistant: x is 4."},
        {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": "What is x + x?"},
    ]
    transcript = "\n\n".join(f"{turn['role'].capitalize()}: {turn['content']}" for turn in turns)
    problem = Problem("p", transcript, "6", "It is 6.", turns=turns)
    with Store(tmp_path / "s.db") as store:
        store.add_setup(SETUP)
        store.add_problems([problem])
        for i in range(2):
            parsed = Strategy(**{**GOOD, "strategy": f"quality {i}"}).model_dump_json()
            store.record([AnsweredCall(Key(SETUP.id, "p", i), "ok", "", parsed, 1, 1)])
    with serving(fair) as server:
        ranked(server, tmp_path / "s.db")
        asked = server.bodies[0]["messages"][-1]["content"]
    for question in (asked, messages_for(load_prompt("extract"), problem)[-1]["content"]):
        assert [question.count(f'<turn role="{role}">') for role in ("user", "assistant")] == [2, 1]
        assert transcript not in question
        assert question.index("The last of these turns is the problem") < question.index("Let x = 3.")


def test_a_judge_that_favours_the_first_place_is_found_out(tmp_path: Path) -> None:
    def biased(body: dict[str, Any], number: int) -> Play:
        rows = [{"candidate": i, **dict.fromkeys(CRITERIA, 6 - i)} for i in range(1, len(shown(body)) + 1)]
        return said(json.dumps({"scores": rows}))

    path = tmp_path / "s.db"
    filled(path, {f"p{i}": 5 for i in range(8)})
    with serving(biased) as server:
        result = ranked(server, path, repeats=4)
    assert result.winner_agreement is not None
    assert result.winner_agreement < 0.6
    assert result.tau is not None
    assert abs(result.tau) < 0.35


def test_scores_that_cannot_be_read_leave_the_order_of_numbers(tmp_path: Path) -> None:
    def partly(body: dict[str, Any], number: int) -> Play:
        return said("all are fine") if "problem a" in body["messages"][-1]["content"] else fair(body, number)

    path = tmp_path / "s.db"
    filled(path, {"a": 3, "b": 3})
    with serving(partly) as server:
        result = ranked(server, path)
    assert result.problems == {"ranked": 1, "unranked": 1}
    assert result.tally.outcomes == {"ok": 1, "no_json": 1}
    assert (places(path, "a"), places(path, "b")) == ([1, 2, 3], [3, 2, 1])


def test_a_new_candidate_is_another_ranking(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    filled(path, {"a": 2})
    with serving(fair) as server:
        ranked(server, path)
        filled(path, {"a": 3})
        ranked(server, path)
        assert [len(shown(body)) for body in server.bodies] == [2, 3]
    assert places(path, "a") == [3, 2, 1]


def test_settings_out_of_range(tmp_path: Path) -> None:
    filled(tmp_path / "s.db", {"a": 2})
    with serving() as server, pytest.raises(ValueError, match="--repeats 0 must be at least 1"):
        ranked(server, tmp_path / "s.db", repeats=0)
