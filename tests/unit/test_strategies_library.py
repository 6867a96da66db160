"""The library: what is merged, which problem gets which strategy, what is said of lift."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sgpo.commands.strategies import app
from sgpo.data.benchmarks import BenchmarkProblem
from sgpo.data.leaks import contains_answer
from sgpo.strategies.check import check_strategy
from sgpo.strategies.library import Entry, assign, build_library, merge, pooled_lift
from sgpo.strategies.likeness import EmbeddingIndex, TfidfIndex, embedding_index, terms, without_numbers
from sgpo.strategies.records import AnsweredCall, Key, Problem, Setup
from sgpo.strategies.schema import Strategy
from sgpo.strategies.store import Store

EXTRACT = Setup("extract", "m", "extract.v1", "abc", {})
ADD = ("counting", "Use inclusion and exclusion.", ["Count each set.", "Add the sets.", "Subtract what is in both."])
ADD_AGAIN = (
    "Counting",
    "Use inclusion and exclusion",
    ["count each set", "add the sets;", "subtract what is in both"],
)
ROOT = ("geometry", "Use the Pythagorean theorem.", ["Find the right triangle.", "Square both legs.", "Take the root."])
SETS = "How many of {} pupils who play chess or tennis play both chess and tennis?"
LEGS = "A ladder of length {} leans against a wall; its foot is some metres away. How high is the top?"


def strategy(parts: tuple[str, str, list[str]]) -> Strategy:
    return Strategy(problem_type=parts[0], strategy=parts[1], steps=parts[2])


def filled(path: Path) -> Path:
    rows = {"a1": (SETS, ADD), "a2": (SETS, ADD_AGAIN), "b1": (LEGS, ROOT), "b2": (LEGS, ROOT), "b3": (LEGS, ROOT)}
    with Store(path) as store:
        store.add_setup(EXTRACT)
        for number, (id, (text, parts)) in enumerate(rows.items()):
            store.add_problems([Problem(id, text.format(30 + number), "4711", "So it is 4711.")])
            answer = AnsweredCall(Key(EXTRACT.id, id, 0), "ok", "", strategy(parts).model_dump_json(), 1, 1)
            store.record([answer])
    return path


def note_lift(store: Store, problem: str, lift: float, low: float, high: float) -> None:
    note = {"lift": lift, "low": low, "high": high, "place": 1, "dropped": lift < 0}
    store.note([(store.candidates(problem)[0].id, "lift", note)])


# --- likeness ------------------------------------------------------------------------------------------------------


def test_terms_by_hand() -> None:
    assert terms("Add the SETS; x² = 12") == [
        *("add", "the", "set", "x", "2", "=", "12"),
        *("add the", "the set", "set x", "x 2", "2 =", "= 12"),
    ]
    assert terms("mass class is") == ["mass", "class", "is", "mass class", "class is"]
    assert without_numbers("7 of 1,000.5 x2") == " number  of  number  x number "


def slow_cosine(texts: Sequence[str], query: str) -> list[float]:
    """From the formula, term by term, over dense vectors."""
    counts = [Counter(terms(text)) for text in texts]
    vocabulary = sorted({t for count in [*counts, Counter(terms(query))] for t in count})

    def vector(count: Counter[str]) -> list[float]:
        values = []
        for term in vocabulary:
            df = sum(term in other for other in counts)
            idf = 1 + math.log((len(texts) + 1) / (df + 1))
            values.append((1 + math.log(count[term])) * idf if term in count else 0.0)
        return values

    asked = vector(Counter(terms(query)))
    found = []
    for count in counts:
        row = vector(count)
        norm = math.sqrt(sum(x * x for x in row) * sum(x * x for x in asked))
        found.append(sum(x * y for x, y in zip(row, asked, strict=True)) / norm if norm else 0.0)
    return found


WORDS = ["add", "the", "set", "square", "root", "of", "both", "leg", "12", "+"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)


@settings(max_examples=100)
@given(st.lists(TEXTS, min_size=1, max_size=6), TEXTS)
def test_tfidf_against_its_formula(texts: list[str], query: str) -> None:
    assert TfidfIndex(texts).scores(query) == pytest.approx(slow_cosine(texts, query), abs=1e-9)


def test_embeddings_are_compared_by_cosine() -> None:
    vectors = {"right": [3.0, 0.0], "up": [0.0, 2.0], "left": [-1.0, 0.0], "slope": [1.0, 1.0], "none": [0.0, 0.0]}
    index = EmbeddingIndex(lambda texts: [vectors[text] for text in texts], ["right", "up", "left", "none"])
    assert index.scores("slope") == pytest.approx([math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0])


def test_an_embedding_model_without_its_library_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(ValueError, match="pip install sentence-transformers"):
        embedding_index("some/model")


# --- merging -------------------------------------------------------------------------------------------------------


class Line:
    """Texts are numbers; two are alike by 1 less their distance."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.places = np.array([float(text) for text in texts])

    def scores(self, text: str) -> np.ndarray:
        return np.clip(1 - np.abs(self.places - float(text)), 0, 1)


def test_sameness_is_passed_on() -> None:
    assert merge(["0", "5", "0.3", "0.15", "5.1"], 0.8, Line) == [[0, 2, 3], [1, 4]]
    assert merge(["0", "5", "0.3", "0.15", "5.1"], 0.95, Line) == [[0], [1], [2], [3], [4]]


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(0, 2**32))
def test_groups_are_the_runs_on_a_line_whatever_the_order(places: list[int], seed: int) -> None:
    random.Random(seed).shuffle(places)
    groups = merge([str(place / 10) for place in places], 0.8, Line)
    runs: list[list[int]] = [[]]
    for a, b in pairwise([-100, *sorted(places)]):
        runs[-1:] = [runs[-1], [b]] if b - a > 2 else [[*runs[-1], b]]
    assert sorted(sorted(places[i] for i in group) for group in groups) == sorted(run for run in runs if run)
    assert [group[0] for group in groups] == sorted(group[0] for group in groups)
    assert all(group == sorted(group) for group in groups)


def test_the_library_of_a_store(tmp_path: Path) -> None:
    with Store(filled(tmp_path / "s.db")) as store:
        roots, sums = build_library(store)
        assert (roots.served, sums.served) == (["b1", "b2", "b3"], ["a1", "a2"])
        assert sums.strategy == strategy(ADD)
        assert sums.lift is None
        assert [entry.to_dict() for entry in build_library(store)] == [roots.to_dict(), sums.to_dict()]
        assert len(build_library(store, threshold=1.0)) == 2  # case and punctuation are no difference


def test_lift_of_an_entry_is_the_mean_of_its_members_and_the_best_wording_is_shown(tmp_path: Path) -> None:
    with Store(filled(tmp_path / "s.db")) as store:
        note_lift(store, "a1", 0.2, -0.1, 0.6)
        note_lift(store, "a2", 0.6, 0.2, 0.9)
        note_lift(store, "b1", -0.5, -0.9, -0.1)
        sums = next(e for e in build_library(store) if e.served == ["a1", "a2"])
        assert (sums.measured, sums.lift) == (2, pytest.approx(0.4))
        # MOVER: 0.4 - sqrt(0.3^2 + 0.4^2) / 2 and 0.4 + sqrt(0.4^2 + 0.3^2) / 2
        assert (sums.low, sums.high) == pytest.approx((0.15, 0.65))
        assert sums.strategy == strategy(ADD_AGAIN)
        by_lift = build_library(store, by="lift")
        assert sorted(id for entry in by_lift for id in entry.served) == ["a1", "a2", "b2", "b3"]


def test_no_measurement_has_no_lift() -> None:
    assert pooled_lift([]) is None


@pytest.mark.parametrize("fields", [{"threshold": 0.0}, {"threshold": 1.1}, {"by": "beauty"}])
def test_settings_out_of_range_are_said(tmp_path: Path, fields: dict[str, object]) -> None:
    with Store(filled(tmp_path / "s.db")) as store, pytest.raises(ValueError, match="must"):
        build_library(store, **fields)  # type: ignore[arg-type]
    with Store(tmp_path / "empty.db") as store, pytest.raises(ValueError, match="no strategy"):
        build_library(store)


# --- assigning -----------------------------------------------------------------------------------------------------


def entries(tmp_path: Path) -> list[Entry]:
    with Store(filled(tmp_path / "s.db")) as store:
        return build_library(store)


def test_a_problem_gets_the_strategy_of_its_kind(tmp_path: Path) -> None:
    asked = [
        BenchmarkProblem("n1", SETS.format(99), "12"),
        BenchmarkProblem("n2", LEGS.format(99), "13"),
        BenchmarkProblem("n3", "zebra", "1"),
    ]
    counts: Counter[str] = Counter()
    rows = list(assign(entries(tmp_path), asked, counts=counts))
    assert [(row["id"], row["problem_type"], row["serves"]) for row in rows] == [
        ("n1", "counting", 2),
        ("n2", "geometry", 3),
    ]
    assert counts == {"assigned": 2, "none_like_it": 1}
    assert rows[0]["strategy"] == strategy(ADD).text()
    assert rows[0]["answer"] == "12"
    (row,) = assign(entries(tmp_path), [BenchmarkProblem("n1", SETS.format(99), "12.5", tolerance=0.1)])
    assert row["tolerance"] == 0.1  # by which training rewards
    assert list(assign(entries(tmp_path), asked)) == rows


def test_a_prompt_of_messages_stays_as_it_is(tmp_path: Path) -> None:
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": SETS.format(99)}]
    (row,) = assign(entries(tmp_path), [BenchmarkProblem("n1", SETS.format(99), "12", prompt=prompt)])
    assert row["prompt"] == prompt


def test_a_strategy_that_training_refuses_is_not_assigned() -> None:
    angles = strategy(("triangles", "The sum of the angles is 180 degrees.", ["Use it."]))
    counts: Counter[str] = Counter()
    problem = BenchmarkProblem("n1", "How many degrees have the angles of a triangle?", "180")
    assert not check_strategy(problem.problem, "180", None, angles.model_dump()).leak
    assert contains_answer(angles.text(), "180")
    assert list(assign([Entry(angles, "c", ["a"], ["angles of a triangle"])], [problem], counts=counts)) == []
    assert counts == {"all_leak": 1}


def made(name: str, *texts: str) -> Entry:
    return Entry(
        strategy((name, f"Way {name}.", ["Go."])), name, [f"{name}{i}" for i in range(len(texts))], list(texts)
    )


def test_the_nearest_vote_with_their_likeness() -> None:
    library = [made("first", "0.3", "0.3"), made("second", "0.0", "9")]
    asked = [BenchmarkProblem("n", "0", "x")]  # likeness 0.7 twice against 1.0 once

    class Kept(Line):
        def scores(self, text: str) -> np.ndarray:
            return super().scores("0")

    assert next(assign(library, asked, index=Kept))["problem_type"] == "first"
    assert next(assign(library, asked, index=Kept, neighbours=1))["problem_type"] == "second"
    assert next(assign(library, asked, index=Kept, floor=0.9))["problem_type"] == "second"


def test_a_strategy_that_gives_the_answer_away_is_passed_over() -> None:
    telling = Entry(strategy(("sets", "The answer is 12.", ["Write 12."])), "c", ["x"], ["pupils chess tennis"])
    asked = [BenchmarkProblem("n", "pupils chess tennis", "12")]
    counts: Counter[str] = Counter()
    assert list(assign([telling], asked, counts=counts)) == []
    assert counts == {"all_leak": 1}
    other = made("other", "pupils swim")
    assert [row["problem_type"] for row in assign([telling, other], asked)] == ["other"]


@pytest.mark.parametrize("fields", [{"neighbours": 0}, {"floor": 1.5}])
def test_bad_settings_of_an_assignment_are_said(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        list(assign([made("a", "0")], [], **fields))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="strategies"):
        list(assign([], []))


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    store, given_file, out = filled(tmp_path / "s.db"), tmp_path / "new.jsonl", tmp_path / "out.jsonl"
    given_file.write_text(json.dumps({"id": "n1", "problem": SETS.format(99), "answer": "12"}) + "\n")
    command = ["library", "--store", str(store)]
    done = CliRunner().invoke(app, [*command, "--problems", str(given_file), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "5 problems are served by 2 strategies" in done.output
    heads = next(line for line in done.output.splitlines() if line.startswith("serves"))  # whole in 80 columns
    assert heads.split() == ["serves", "lift", "95%", "interval", "measured", "problem", "type", "strategy"]
    assert "assigned 1" in done.output
    row = json.loads(out.read_text())
    assert row["prompt"][0]["role"] == "user"
    assert row["strategy"].startswith("Problem type: counting")
    other = json.dumps({"id": "n2", "problem": "Name the capital of Peru.", "answer": "Lima"}) + "\n"
    given_file.write_text(given_file.read_text() + other)
    done = CliRunner().invoke(app, [*command, "--problems", str(given_file), "--out", str(out)])
    assert "assigned 1, none_like_it 1; the others are left out" in done.output
    given_file.write_text(other)
    none = tmp_path / "none.jsonl"
    done = CliRunner().invoke(app, [*command, "--problems", str(given_file), "--out", str(none)])
    assert "None of the 1 problems got a strategy (none_like_it 1). Lower --floor (0.1)" in str(done.exception)
    assert not none.exists()
    found = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert [entry["serves"] for entry in found["entries"]] == [3, 2]
    assert list(tmp_path.glob("*.partial")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--problems", "x.jsonl"], "go together"),
        (["--problems", "x.jsonl", "--out", "y.parquet"], "must end in .jsonl"),
        (["--problems", "missing.jsonl", "--out", "y.jsonl"], "missing.jsonl"),
        (["--threshold", "2"], "threshold"),
    ],
)
def test_bad_options_are_said(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["library", "--store", str(filled(tmp_path / "s.db")), *arguments])
    assert isinstance(done.exception, ValueError | OSError)
    assert message in str(done.exception)
