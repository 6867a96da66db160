"""The rewards of a run: what they are called with, and which of them decides what is correct."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch

REWARDS = {
    "accuracy": "sgpo.rewards:accuracy_reward",
    "format": "sgpo.rewards:format_reward",
    "lab": "sgpo.lab:lab_reward",
}
"""The short names of a recipe."""

# What TRL gives to every reward beside the columns.
OF_TRL = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric")


def check_rewards(args: Any, reward_funcs: Any, dataset: Any, measured: Any = None) -> None:
    """Look at the parameters of the rewards, before anything is loaded.

    Args:
        measured: the data of evaluations, or a dictionary of several.

    Raises:
        ValueError: a short name of recipes, a function that cannot take what it is called with or needs a column that
            the data have not, or a first reward that cannot tell what is correct where another one can; and data of
            evaluations that lack what the rewards name and the training data have.
    """
    columns = getattr(dataset, "column_names", None)
    several = reward_funcs if isinstance(reward_funcs, list) else [reward_funcs]
    named = {"prompt"}.union(*(_columns_read(reward, dataset) for reward in several if columns))
    for each in measured.values() if isinstance(measured, Mapping) else [measured]:
        there = getattr(each, "column_names", None)
        if there is not None and (missing := sorted(named.difference(there))):
            raise ValueError(
                f"The evaluation data have no column {missing[0]!r}, which the prompts or the rewards are made of; "
                f"their columns are {there}. Rename or add it; `sgpo init MODEL DATA` makes prompts."
            )
    for reward in several:
        if isinstance(reward, str) and reward in REWARDS:
            raise ValueError(
                f"reward_funcs names {reward!r}, which only a recipe knows; in Python text is the id of a reward "
                f"model. Give the function itself, {REWARDS[reward].replace(':', '.')}."
            )
        if callable(reward) and not isinstance(reward, torch.nn.Module):
            _check_parameters(reward, columns if isinstance(columns, list) else None)
    _check_correctness(args, reward_funcs, dataset)


def _check_parameters(reward: Any, columns: list[str] | None) -> None:
    parameters = _parameters(reward)
    if parameters is None:
        return
    name = getattr(reward, "__name__", reward)
    by_name = {p.name: p for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    untaken = [each for each in OF_TRL if each not in by_name]
    if untaken and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        raise ValueError(
            f"The reward {name!r} has the parameters {', '.join(parameters)}, but it is called with "
            f"{', '.join(OF_TRL)} and all columns of the data, by their names. Add **columns to its parameters: it "
            "takes those that the reward does not use."
        )
    given = None if columns is None else (*OF_TRL, "thinking_begun", *columns)
    lacking = [each for each, p in by_name.items() if p.default is p.empty and given is not None and each not in given]
    if lacking:
        raise ValueError(
            f"The reward {name!r} needs a column {lacking[0]!r}, but the columns of the data are "
            f"{', '.join(columns or ())}. Rename or add it."
        )


def _check_correctness(args: Any, reward_funcs: Any, dataset: Any) -> None:
    """Refuse that the first of several rewards decides what is correct where only a later one is shown the data.

    For GRPO `[format_reward, accuracy_reward]` is an order as good as the other. Here every well-formed response would
    be a correct one, and a target.

    Raises:
        ValueError: ``correctness_reward`` is None, the first reward names no column of the data, and another one does.
    """
    if getattr(args, "correctness_reward", "") is not None or not isinstance(reward_funcs, list):
        return
    names = [reward if isinstance(reward, str) else getattr(reward, "__name__", "reward") for reward in reward_funcs]
    read = [_columns_read(reward, dataset) for reward in reward_funcs]
    if not read or read[0] or not any(read):
        return
    other = next(i for i, columns in enumerate(read) if columns)
    raise ValueError(
        f"correctness_reward is None, so that the first reward, {names[0]!r}, decides what is correct. It names no "
        f"column of the data, as {names[other]!r} does with {read[other][0]!r}, so it cannot tell right from wrong. "
        f"Set correctness_reward={names[other]!r}, or name the first one there if that is meant."
    )


def _columns_read(reward: Any, dataset: Any) -> list[str]:
    """The columns of the data that are parameters of a reward function; a reward model has none."""
    if isinstance(reward, (str, torch.nn.Module)):
        return []
    given = set(getattr(dataset, "column_names", None) or ("answer", "solution")) - {"prompt", "completion"}
    return [name for name in _parameters(reward) or () if name in given]


def reads(reward: Any, column: str) -> bool:
    """Whether a reward function is given a column, by its parameters."""
    parameters = _parameters(reward)
    if parameters is None:
        return True
    return column in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _parameters(reward: Any) -> Mapping[str, inspect.Parameter] | None:
    """By name; None of what does not say them."""
    try:
        return inspect.signature(reward).parameters
    except (TypeError, ValueError):
        return None
