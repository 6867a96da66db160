"""joined_advantages against the statistics of plain Python, reward by reward."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from sgpo.objectives import joined_advantages

reward = st.one_of(st.integers(-5, 5).map(float), st.just(math.nan))
row = st.tuples(st.lists(reward, min_size=3, max_size=3), st.lists(reward, min_size=2, max_size=2))


@pytest.mark.parametrize("scale", [True, False])
@given(groups=st.lists(row, min_size=1, max_size=3))
def test_matches_plain_statistics(scale: bool, groups: list[tuple[list[float], list[float]]]) -> None:
    first, second = (tensor([pair[side] for pair in groups]).double() for side in (0, 1))
    found = joined_advantages(first, second, scale=scale)
    for b, pair in enumerate(groups):
        known = [r for r in (*pair[0], *pair[1]) if not math.isnan(r)]
        lone = scale and len(known) < 2  # one reward has no deviation, so that nothing is known of it
        mean = statistics.fmean(known) if known else 0.0
        divisor = statistics.stdev(known) + 1e-4 if scale and not lone else 1.0
        for advantages, rewards in zip((found[0][b], found[1][b]), pair, strict=True):
            wanted = [0.0 if math.isnan(r) or lone else (r - mean) / divisor for r in rewards]
            assert advantages.tolist() == pytest.approx(wanted, abs=1e-9)


def test_worked_by_hand() -> None:
    """All wrong alone, half right with the strategy: the mean is 1/4, and the wrong ones are pushed away from."""
    alone, guided = joined_advantages(tensor([[0.0, 0.0]]), tensor([[1.0, 0.0]]), scale=False)
    assert alone.tolist() == [[-0.25, -0.25]]
    assert guided.tolist() == [[0.75, -0.25]]
