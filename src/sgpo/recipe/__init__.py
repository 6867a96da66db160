"""A recipe of ``sgpo train``: its fields, its data, its rewards, its model, and the run that it describes."""

from sgpo.recipe.arguments import RunArguments, parse, written_fields
from sgpo.recipe.data import load_data, load_eval_data
from sgpo.recipe.model import LAB, check_model, model_path
from sgpo.recipe.rewards import load_reward
from sgpo.recipe.run import build, main

__all__ = [
    "LAB",
    "RunArguments",
    "build",
    "check_model",
    "load_data",
    "load_eval_data",
    "load_reward",
    "main",
    "model_path",
    "parse",
    "written_fields",
]
