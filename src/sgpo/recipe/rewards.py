"""A reward function by its name in a recipe."""

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import operator
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from sgpo.trainer.reward_functions import REWARDS

Reward = Callable[..., Any]


def load_reward(name: str) -> Reward:
    """A reward by its short name, as ``package.module:function``, ``package.module.function`` or ``FILE.py:function``.

    Modules of the working directory can be named, as with ``python -m``. Raises ValueError for what is no function.
    """
    if "," in name:
        raise ValueError(
            _cannot(name, "several stand in a YAML list, [A, B], or behind --reward_funcs with blanks between")
        )
    target = REWARDS.get(name, name)
    module_name, colon, path = target.partition(":")
    if not colon:
        module_name, _, path = target.rpartition(".")
    if not module_name or not path:
        near = difflib.get_close_matches(name, REWARDS, n=1)
        raise ValueError(_cannot(name, f"did you mean {near[0]}?" if near else "it names no function of a module"))
    if not colon and path == "py":
        raise ValueError(_cannot(name, f"name the function in it, as in '{name}:FUNCTION'"))
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        module = _of_file(module_name) if module_name.endswith(".py") else importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever the user's module does when it is imported
        missing = isinstance(error, ModuleNotFoundError)
        said = str(error) if missing else f"{type(error).__name__}: {error}"
        raise ValueError(_cannot(name, " ".join(said.split()))) from error
    try:
        found = operator.attrgetter(path)(module)
    except AttributeError as error:
        own = [each for each, value in vars(module).items() if inspect.isfunction(value) and not each.startswith("_")]
        raise ValueError(_cannot(name, f"{module_name} has no {path!r}; it has {', '.join(own) or 'none'}")) from error
    if not callable(found) or isinstance(found, type):
        raise ValueError(_cannot(name, f"it is a {type(found).__name__}, not a function"))
    return found


def reward_digest(name: str) -> str | None:
    """A short hash of the file that a reward is written in; None for those of sgpo. Raises as `load_reward`."""
    reward = load_reward(name)
    path = inspect.getsourcefile(inspect.unwrap(reward)) if inspect.isroutine(reward) else None
    if path is None or name in REWARDS or not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _of_file(path: str) -> ModuleType:
    """The module in a file, once for a path: rewards of one file share what it keeps."""
    if not os.path.isfile(path):
        raise ModuleNotFoundError(f"there is no file {os.path.abspath(path)}")
    name = f"sgpo_reward_{hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        # Registered before it runs, as by an import: dataclasses and pickles of the file look their module up.
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _cannot(name: str, why: str) -> str:
    return (
        f"reward_funcs names {name!r}, which cannot be loaded ({why}). Use one of {', '.join(REWARDS)}, or "
        "'package.module:function' of a module that Python can import, or 'FILE.py:function'."
    )
