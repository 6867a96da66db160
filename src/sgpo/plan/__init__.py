"""What a recipe will need, before anything is downloaded: memory by part, seconds a step, GPU hours.

`architecture` knows the sizes of a model, `hardware` those of a machine, `workload` what a recipe asks for (`reading`
takes it from the recipe); `memory` and `duration` are arithmetic on the three, `estimate` puts them together and looks
for what would fit, `render` prints. All of it is ours; what is assumed and not known is said in the result.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgpo.plan.estimate import Plan, plan_recipe

__all__ = ["Plan", "plan_recipe"]


def __getattr__(name: str) -> Any:
    """Both names on first use: the command line imports this package for its options, and no torch."""
    if name not in __all__:
        raise AttributeError(f"module 'sgpo.plan' has no attribute {name!r}")
    from sgpo.plan import estimate

    return getattr(estimate, name)
