"""The scores that entries are made of: means over seeds with their intervals, and accuracies by family and by axis.

An *axis* is one way in which held-out problems differ from those of training: new instances alone, or also larger
numbers, other words, new compositions of operations, longer ones. A method that memorised does well on the first and on
no other, so that every score is kept for each axis apart.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import Any, Literal, Self

from sgpo.runs.json_entry import (
    JsonEntry,
    finite,
    finite_list,
    listing,
    mapping,
    optional,
    pair,
    required,
    whole_number,
)
from sgpo.runs.reader import JsonObject

Verdict = Literal["above", "below", "level", "unknown"]
TRAINED_AXIS = "instances"
"""The axis whose problems are new instances of what was trained; all others ask for more than that."""
NEW_AXES, ALL_AXES = "new_axes", "all_axes"
"""Names of the two means that are reported beside the axes."""


def wilson(passed: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, ``passed`` of ``n`` (Wilson 1927); within [0, 1], and all of it for 0.

    It has a width for 0 or n of n, too, where the normal interval and the bootstrap have none.
    """
    z2 = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2
    middle = passed + z2 / 2
    half = math.sqrt(z2 * ((passed * (n - passed) / n if n else 0.0) + z2 / 4))
    # Exact at both ends: an interval that leaves its proportion out by rounding would have a negative length there.
    return (
        0.0 if passed <= 0 else max(0.0, (middle - half) / (n + z2)),
        1.0 if passed >= n else min(1.0, (middle + half) / (n + z2)),
    )


@dataclass(frozen=True)
class SeedMean:
    """A mean over training seeds, or of their paired differences, with the ends of its 95% interval.

    The ends are None for a single seed. In JSON it is ``[mean, low, high]``.
    """

    mean: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def from_json(cls, value: Any) -> SeedMean | None:
        # One seed has no ends, and in JSON two nulls; a mean that can be read is still a mean.
        if ends := finite_list(value, 3):
            return cls(*ends)
        mean = finite(value[0]) if isinstance(value, list | tuple) and value else None
        return None if mean is None else cls(mean)

    def to_json(self) -> list[float | None]:
        return [self.mean, self.low, self.high]

    @property
    def ends(self) -> tuple[float, float] | None:
        """The interval; None for a single seed."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def verdict(self) -> Verdict:
        """The side of 0 on which the interval lies; ``level`` where it holds 0, ``unknown`` without one."""
        if self.ends is None:
            return "unknown"
        return "above" if self.ends[0] > 0 else "below" if self.ends[1] < 0 else "level"


@dataclass(frozen=True, kw_only=True)
class FamilyScores(JsonEntry):
    """What a model, or the mean over seeds, reached on one family of problems.

    Attributes:
        pass_at_32: the chance that one of 32 samples at temperature 1 is correct, over ``pass_problems`` problems.
    """

    accuracy: float = required(finite)
    ci95: tuple[float, float] | None = optional(pair)
    n_problems: int | None = optional(whole_number)
    k: int | None = optional(whole_number)
    pass_at_32: float | None = optional(finite)
    pass_problems: int | None = optional(whole_number)


def _passes(value: Any) -> dict[int, float]:
    """pass@k by k, of which JSON makes texts."""
    found = ((int(k), finite(share)) for k, share in mapping(value).items() if str(k).isdecimal())
    return {k: share for k, share in found if k and share is not None}


@dataclass(frozen=True, kw_only=True)
class AxisScores(JsonEntry):
    """One model, or the mean over several, on one axis. Whatever was not measured is None.

    Attributes:
        accuracy: avg@k at temperature 0.6, top-p 0.95, the sampling of arXiv 2606.24064.
        greedy: share of correct greedy completions.
        temperature_1: avg@k at temperature 1.
        guided: avg@k as for ``accuracy``, with the strategy in the prompt.
        length: mean tokens of the completions that ``accuracy`` counts, the end token included.
        pass_at_k: by k, the chance that one of k samples at temperature 1 is correct (unbiased estimator).
    """

    accuracy: float = required(finite)
    greedy: float | None = optional(finite)
    temperature_1: float | None = optional(finite)
    guided: float | None = optional(finite)
    length: float | None = optional(finite)
    pass_at_k: Mapping[int, float] = listing(_passes)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        found = super().from_json(value)
        # The highest k stands beside the curve under a name of its own, which `to_json` makes again.
        more = {name: one for name, one in found.more.items() if not name.startswith("pass_at_")}
        return dataclasses.replace(found, more=more)

    def to_json(self) -> JsonObject:
        """The scores that were measured, as JSON types; the highest k of pass@k also under a name of its own."""
        found = super().to_json()
        if self.pass_at_k:
            top = max(self.pass_at_k)
            found[f"pass_at_{top}"] = self.pass_at_k[top]
            found["pass_at_k"] = {str(k): share for k, share in self.pass_at_k.items()}
        return found

    @property
    def pass_at_32(self) -> float | None:
        return self.pass_at_k.get(32)

    @classmethod
    def mean(cls, several: Sequence[Self]) -> Self:
        """As of any entry, with pass@k for each k that all of them have."""
        # Runs of another version may have other k; a mean over those that have one would jump within a curve.
        shared = set.intersection(*(set(one.pass_at_k) for one in several))
        pass_at_k = {k: fmean(one.pass_at_k[k] for one in several) for k in sorted(shared)}
        return dataclasses.replace(super().mean(several), pass_at_k=pass_at_k)


@dataclass(frozen=True, kw_only=True)
class AxisResult(AxisScores):
    """The means over seeds on one axis, with the interval of the accuracy."""

    seeds: int | None = optional(whole_number)
    interval: SeedMean | None = optional(SeedMean.from_json)


def with_means(values: Mapping[str, float]) -> dict[str, float]:
    """A value for each axis, and their means over the new axes and over all; no mean where it would repeat an axis."""
    new = [value for axis, value in values.items() if axis != TRAINED_AXIS]
    # Axes count alike, however many problems they have: a method must not win by the longest of them.
    means = {NEW_AXES: fmean(new), ALL_AXES: fmean(values.values())} if len(new) > 1 else {}
    return {**values, **means}


@dataclass(frozen=True, kw_only=True)
class StrategyControl(JsonEntry):
    """Means over the tokens of the targets that SGPO would train on, see :mod:`sgpo.lab.control`.

    Attributes:
        problems: that have a target, a correct guided response.
        own_kl: KL(guided || unguided) with the problem's own strategy, nats a token.
        other_kl: the same on the same tokens with a random other problem's strategy.
        copied: share of the tokens that also stand in the strategy.
    """

    problems: float = required(finite)
    own_kl: float = required(finite)
    other_kl: float = required(finite)
    copied: float = required(finite)
