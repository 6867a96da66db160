"""What is measured on each axis of held-out problems: the numbers that a comparison stores, averages and draws.

An *axis* is one way in which held-out problems differ from those of training: new instances alone, or also larger
operands, other wordings, new types, longer compositions. A method that memorised does well on the first and on no
other, so that every score is kept for each axis apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TRAINED_AXIS = "instances"
"""The axis whose problems are new instances of what was trained; all others ask for more than that."""
NEW_AXES, ALL_AXES = "new_axes", "all_axes"
"""Names of the two means that are reported beside the axes."""


@dataclass(frozen=True)
class AxisScores:
    """One model, or the mean over several, on one axis. Whatever was not measured is None.

    Attributes:
        accuracy: avg@k at temperature 0.6, top-p 0.95, the sampling of arXiv 2606.24064.
        greedy: share of correct greedy completions.
        temperature_1: avg@k at temperature 1.
        guided: avg@k as for ``accuracy``, with the strategy in the prompt.
        length: mean tokens of the completions that ``accuracy`` counts, the end token included.
        pass_at_k: by k, the chance that one of k samples at temperature 1 is correct (unbiased estimator).
    """

    accuracy: float
    greedy: float | None = None
    temperature_1: float | None = None
    guided: float | None = None
    length: float | None = None
    pass_at_k: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> AxisScores:
        """The scores that :meth:`to_json` wrote. Raises KeyError without an accuracy."""
        found = {name: value.get(name) for name in _OPTIONAL}
        curve = {int(k): share for k, share in value.get("pass_at_k", {}).items()}
        return cls(accuracy=value["accuracy"], pass_at_k=curve, **found)

    @classmethod
    def mean(cls, several: Sequence[AxisScores]) -> AxisScores:
        """The mean of each score, over seeds or over axes; None where one of them lacks it."""
        columns = {name: [getattr(one, name) for one in several] for name in _OPTIONAL}
        found = {name: None if None in values else _mean(values) for name, values in columns.items()}
        shared = set.intersection(*(set(one.pass_at_k) for one in several))
        curve = {k: _mean([one.pass_at_k[k] for one in several]) for k in sorted(shared)}
        return cls(accuracy=_mean([one.accuracy for one in several]), pass_at_k=curve, **found)

    def to_json(self) -> dict[str, Any]:
        """The scores that were measured, as JSON types; the highest k of pass@k also under a name of its own."""
        found = {name: value for name in ("accuracy", *_OPTIONAL) if (value := getattr(self, name)) is not None}
        if self.pass_at_k:
            top = max(self.pass_at_k)
            found[f"pass_at_{top}"] = self.pass_at_k[top]
            found["pass_at_k"] = {str(k): share for k, share in self.pass_at_k.items()}
        return found


_OPTIONAL = ("greedy", "temperature_1", "guided", "length")


def with_means(values: Mapping[str, float]) -> dict[str, float]:
    """A value for each axis, and their means over the new axes and over all; no mean where it would repeat an axis."""
    new = [value for axis, value in values.items() if axis != TRAINED_AXIS]
    means = {NEW_AXES: _mean(new), ALL_AXES: _mean(list(values.values()))} if len(new) > 1 else {}
    return {**values, **means}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
