"""The problem families: one right approach, wrong ones that miss, texts within their bounds."""

from __future__ import annotations

import random

import pytest

from sgpo.lab.catalog import FAMILIES, UNSOLVED
from sgpo.lab.families import MAX_STEPS, Family, UnfitError, do
from sgpo.lab.responses import MAX_RESPONSE_TOKENS, detour, expert, plain, respond, wordy
from sgpo.lab.wording import WORDINGS, is_held_out

# Independent of the families' traces: the answer written as one formula of the arguments.
FORMULAS = {
    "remainder": lambda a, b: a % b,
    "sumdiff": lambda s, d: (s + d) // 2,
    "ratio": lambda total, own, other: total * own // (own + other),
    "digits": lambda a, b, c: a * b * c % 10,
    "average": lambda a, b, c: (a + b + c) // 3,
    "change": lambda paid, count, price: paid - count * price,
    "equation": lambda a, b, c: (c - b) // a,
    "order": lambda a, b, c: a + b * c,
    "clock": lambda start, later: (start + later - 1) % 12 + 1,
    "between": lambda a, b: len(range(a + 1, b)),
}

by_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@by_family
def test_right_approach_computes_the_answer_and_wrong_ones_miss_it(family: Family) -> None:
    for args in family.instances():
        traces = family.traces(args)
        assert traces is not None
        right, *wrong = (trace.answer for trace in traces)
        assert right == FORMULAS[family.name](*args)
        assert right not in wrong
        assert len(wrong) == 2


@by_family
def test_every_step_is_true_and_every_response_is_short(family: Family) -> None:
    rng = random.Random(0)
    for args in family.instances()[:200]:
        traces = family.traces(args)
        assert traces is not None
        for i, trace in enumerate(traces):
            assert 1 <= len(trace.steps) <= MAX_STEPS
            others = [traces[j] for j in (1, 2) if j != i]
            for text in (plain(trace), wordy(trace), detour(trace, others), respond(traces, i, rng)):
                assert len(text.split()) + 1 <= MAX_RESPONSE_TOKENS
                assert text.endswith(f"ans {trace.answer}")
                for line in text.split(" ; "):
                    if "=" in line:
                        work, result = line.split(" = ")
                        a, op, b = work.split()[-3:]
                        assert do(int(a), op, int(b)).result == int(result)


@by_family
def test_expert_skips_no_step(family: Family) -> None:
    for args in family.instances()[:50]:
        traces = family.traces(args)
        assert traces is not None
        text = expert(traces[0])
        assert all(str(step) in text for step in traces[0].steps)
        assert text.count("=") == plain(traces[0]).count("=")


@by_family
def test_strategies_have_three_parts_no_numbers_and_16_wordings(family: Family) -> None:
    seen: set[str] = set()
    for approach in range(3):
        texts = [family.strategy(approach, k) for k in range(WORDINGS)]
        assert len(set(texts)) == WORDINGS
        assert not seen & set(texts), "a strategy must name one approach only"
        seen.update(texts)
        for text in texts:
            assert len(text.split(" | ")) == 3
            assert not any(character.isdigit() for character in text)


def test_a_quarter_of_the_wordings_is_held_out_and_all_their_words_are_seen() -> None:
    held_out = [k for k in range(WORDINGS) if is_held_out(k)]
    assert len(held_out) == WORDINGS // 4
    seen = [k for k in range(WORDINGS) if not is_held_out(k)]
    for family in FAMILIES:
        for approach in range(3):
            words = {word for k in seen for word in family.strategy(approach, k).split()}
            assert all(set(family.strategy(approach, k).split()) <= words for k in held_out)


def test_a_detour_never_takes_back_the_right_first_step() -> None:
    rng = random.Random(1)
    for family in FAMILIES:
        for args in family.instances()[:100]:
            traces = family.traces(args)
            assert traces is not None
            for approach in (1, 2):
                text = respond(traces, approach, rng)
                if " no " in text and traces[0].steps[0] not in {t.steps[0] for t in traces[1:]}:
                    assert str(traces[0].steps[0]) not in text.split(" ; no ; ")[0]


def test_spread_of_priors_leaves_three_families_unsolved_and_the_rest_within_reach() -> None:
    unsolved = {family.name for family in FAMILIES if family.prior <= 0.001}
    assert unsolved == set(UNSOLVED)
    assert len(unsolved) >= 3
    assert all(0.01 <= family.prior <= 0.25 for family in FAMILIES if family.name not in unsolved)


def test_arithmetic_outside_the_tokens_is_refused() -> None:
    for a, op, b in ((60, "+", 40), (3, "-", 4), (10, "*", 10), (7, "/", 2), (7, "/", 0)):
        with pytest.raises(UnfitError):
            do(a, op, b)
