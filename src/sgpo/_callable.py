"""A package that is a function too: ``sgpo.compare("sgpo", seeds=2)`` beside ``from sgpo.compare.run import ...``.

Two functions of `sgpo.api` have the name of a package. Python binds a package to its parent when it is imported, so one
of the two would hide the other, depending on what was imported before. As a callable package both are there.
"""

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from sgpo import api

        return getattr(api, self.__name__.rpartition(".")[2])(*args, **kwargs)


def make_callable(module: str) -> None:
    """Let calls of ``module``, such as ``sgpo.compare``, go to the function of that name in `sgpo.api`."""
    sys.modules[module].__class__ = _Callable
