"""From a recipe of SGPO to the fields of another method's trainer: only what the method changes differs.

A method's trainer gets those of the recipe's fields that its configuration has. The batch is translated so that each
method sees as many problems an optimizer step: SFT takes one row a problem, and a method with another number of
rollouts as many more rows. All take the optimizer steps of the SGPO run of the recipe.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from trl import ModelConfig

from sgpo.recipe import RunArguments
from sgpo.runs.files import JsonObject
from sgpo.runs.methods import Method
from sgpo.trainer.methods import KINDS

EXPERT = "expert"
EXPERT_KINDS = ("sft", "luffy", "hpt")
_CELLS_OWN = {"output_dir", "resume", "seed", "num_train_epochs", "max_steps", "overwrite_output_dir"}
_CELLS_OWN |= {"preset"}  # the method says what it is
_CELLS_OWN |= {"eval_strategy", "eval_steps", "eval_dataset", "eval_split", "do_eval", "load_best_model_at_end"}
# For TRL's SFT it is the loss on tokens, for GRPO how a loss is averaged.
_OTHER_MEANING = {"sft": {"loss_type"}}  # a field of the same name that is something else there
_BATCH = ("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation")
_LOGGING = {"logging_steps": 1, "logging_strategy": "steps", "disable_tqdm": True}  # the recorder counts every step


def cell_fields(
    method: Method, recipe: Mapping[str, Any], config: Any, overrides: Mapping[str, Any], seed: int
) -> JsonObject:
    """The recipe of one cell, without ``output_dir`` and ``max_steps``.

    Args:
        method: one that trains.
        recipe: the fields that the user's recipe names.
        config: the ``SGPOConfig`` that they parse to.
        overrides: go before the method's own fields, which go before the recipe's.
    """
    assert method.kind is not None
    classes = (KINDS[method.kind].config, RunArguments, ModelConfig)
    # A recipe of SGPO names fields that SFT, LUFFY or HPT lack; what they lack is no mistake in it.
    known = {field.name for each in classes for field in dataclasses.fields(each) if field.init}
    known -= _CELLS_OWN | _OTHER_MEANING.get(method.kind, set())
    given = {**method.fields, **overrides}
    fields = {name: value for name, value in recipe.items() if name in known}
    # One checkpoint: it is for going on after a kill, and a comparison has dozens of cells.
    fields = {"save_total_limit": 1, **fields, "learning_rate": config.learning_rate, **_LOGGING}
    if method.kind == "sgpo":
        # The log only reads, and the report draws alpha and the lift of strategies from it.
        fields.setdefault("log_problems", True)
    # Who names a part of the batch behind the method has translated it.
    if not given.keys() & set(_BATCH):
        fields |= _batch(method, config, given.get("num_generations", config.num_generations))
    return {**fields, **given, "seed": seed}


def _batch(method: Method, config: Any, group: int) -> dict[str, int]:
    """Rows of a micro-step and micro-steps, for as many problems an optimizer step as ``config`` has."""
    rows, accumulation, per_generation = (getattr(config, name) for name in _BATCH)
    before = config.num_generations
    if method.kind == "sft":
        problems, rest = divmod(rows * accumulation, before)
        if rest or not problems:
            raise ValueError(
                f"{method.name}: a process of the recipe sees {rows * accumulation} rollouts an optimizer step in "
                f"groups of {before}, which is no whole number of problems. Make per_device_train_batch_size * "
                f"gradient_accumulation_steps a multiple of {before}."
            )
        # As many rows at once as the recipe has, so that SFT needs no more memory.
        size = max(size for size in range(1, rows + 1) if problems % size == 0)
        return dict(zip(_BATCH, (size, problems // size), strict=False))
    if group == before:
        return {}
    # Micro-steps are scaled first: rows of a micro-step are what memory allows.
    if accumulation * group % before == 0 and per_generation * group % before == 0:
        scaled = (rows, accumulation * group // before, per_generation * group // before)
    elif rows * group % before == 0:
        scaled = (rows * group // before, accumulation, per_generation)
    else:
        raise ValueError(
            f"{method.name} takes {group} rollouts a problem in place of {before}, and no batch of as many problems "
            f"follows from {rows} rows and {accumulation} micro-steps. Name {' and '.join(_BATCH[:2])} behind the "
            "method, or make one of them a multiple of the rollouts of a problem."
        )
    return dict(zip(_BATCH, scaled, strict=True))
