"""One training run from a recipe: parse, load, train, save. Behind ``sgpo train`` and ``python -m sgpo.recipe``."""

import contextlib
import json
import logging
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from safetensors import SafetensorError
from trl import ModelConfig, get_peft_config, get_quantization_config

from sgpo.evaluation.templates import template_of
from sgpo.models.folders import Folder
from sgpo.recipe.arguments import RunArguments, parse
from sgpo.recipe.data import is_saved, load_data, load_eval_data, trained_on
from sgpo.recipe.display import TrainingDisplay
from sgpo.recipe.model import LAB, check_model, init_kwargs, model_path
from sgpo.recipe.parts import naming_packages
from sgpo.recipe.rewards import REWARDS, load_reward
from sgpo.runs.files import locked, saving
from sgpo.runs.processes import says_when_stopped
from sgpo.runs.provenance import record
from sgpo.trainer import SGPOTrainer
from sgpo.trainer.checkpoints import names_in
from sgpo.trainer.problem_log import PROBLEMS
from sgpo.trainer.reward_functions import check_rewards
from sgpo.trainer.run_log import COMPLETIONS, LOG

logger = logging.getLogger(__name__)


def build(trainer_class: Any, config: Any, model: ModelConfig, data: Dataset, **more: Any) -> Any:
    """The trainer of a recipe; ``more`` goes to it beside the model, the arguments and the data."""
    # What the user wrote is kept for the error alone.
    given, config.model_init_kwargs = config.model_init_kwargs, init_kwargs(config, model)
    try:
        with naming_packages():
            return trainer_class(
                model=model_path(model),
                args=config,
                train_dataset=data,
                peft_config=get_peft_config(model),
                quantization_config=get_quantization_config(model),
                **more,
            )
    except SafetensorError as error:  # of weights that a copy or a download cut off
        raise Folder(model_path(model)).error(error) from error
    except TypeError as error:
        if not given or "unexpected keyword argument" not in str(error):
            raise
        raise ValueError(f"model_init_kwargs is {given}, which the model does not take: {error}.") from error


def main(argv: Sequence[str] | None = None, fields: Mapping[str, Any] | None = None) -> str:
    """Train as the recipe says, save the model into ``output_dir``, and return that folder.

    ``fields`` go before those of the recipe, see `sgpo.recipe.arguments.parse`.
    """
    with naming_packages():
        run, config, model = parse(sys.argv[1:] if argv is None else argv, fields=fields)
    check_folder(run, config)
    rewards = [load_reward(name) for name in run.reward_funcs]
    check_model(model, trust_remote_code=config.trust_remote_code)
    data, measured = load_data(run), load_eval_data(run)
    check_rewards(config, rewards, data, measured)
    if not config.process_index and (said := trained_on(data, measured)):
        logger.warning(said)
    with contextlib.ExitStack() as stack:
        if not config.process_index:  # of several processes the first one has the folder for all of them
            Path(config.output_dir).mkdir(parents=True, exist_ok=True)
            remedy = "wait for it, or give another --output_dir"
            stack.enter_context(locked(config.output_dir, "sgpo train", remedy=remedy))
        _train(run, config, model, data, reward_funcs=rewards, eval_dataset=measured)
    return str(config.output_dir)


def check_folder(run: RunArguments, config: Any) -> None:
    """Raise ``ValueError`` where the run would write into its data, there is nothing to resume, or a new run would
    stand beside an earlier one's checkpoints."""
    out, resumes = Path(config.output_dir).resolve(), run.resume or config.resume_from_checkpoint
    for name in ("dataset_name", "eval_dataset"):
        if not (given := getattr(run, name)) or given == LAB:
            continue
        data = Path(given).resolve()
        # Of a folder all files are data: the next start would read this one's logs as problems.
        within = not resumes and data.is_dir() and data in (out, *out.parents) and not is_saved(data)
        if within or data in {out / file for file in (PROBLEMS, LOG, COMPLETIONS)}:
            raise ValueError(
                f"{name} is {given!r}, a {'folder' if within else 'file'} that the run writes to: output_dir is "
                f"{config.output_dir!r}. Give another output_dir."
            )
    older = names_in(config.output_dir)
    if run.resume and not older:
        raise ValueError(
            f"resume is true, but output_dir {config.output_dir!r} holds no checkpoint; leave resume out for a new "
            "run, or set output_dir to that of the run to go on with."
        )
    if older and not resumes:
        raise ValueError(
            f"output_dir is {config.output_dir!r}, which holds {older[-1]} of an earlier run; go on from it with "
            "--resume true, give another output_dir, or remove the checkpoints."
        )


def _train(run: RunArguments, config: Any, model: ModelConfig, data: Dataset, **more: Any) -> None:
    trainer = build(SGPOTrainer, config, model, data, **more)
    if trainer.is_world_process_zero():
        record(Path(config.output_dir), {"run": run, "training": config, "model": model})
    with contextlib.ExitStack() as stack:
        if trainer.is_world_process_zero():
            stack.enter_context(says_when_stopped(lambda: _how_to_go_on(trainer)))
        stack.enter_context(TrainingDisplay.install(trainer))
        trainer.train(resume_from_checkpoint=config.resume_from_checkpoint or run.resume or None)
        with saving(config.output_dir):
            trainer.save_model(config.output_dir)
    if trainer.is_world_process_zero():
        print(f"\nModel: {config.output_dir}\n{next_commands(run, config, model, data)}")


def _how_to_go_on(trainer: Any) -> str:
    args, state = trainer.args, trainer.state
    if saved := names_in(args.output_dir):
        return f"The same command with --resume true goes on from the last whole checkpoint, here {saved[-1]}."
    often = "off" if args.save_strategy == "no" else f"every {args.save_steps:g} steps"
    return f"Step {state.global_step} had no checkpoint yet (they are {often}), so the same command starts anew."


def next_commands(run: RunArguments, config: Any, model: ModelConfig, data: Dataset) -> str:
    """What to type after a training, a line each: an evaluation that fits the recipe, and the report."""
    folder = shlex.quote(config.output_dir)
    lines = [f"sgpo report {folder}"]
    if (problems := _evaluation(run, config, model, data)) is not None:
        what, note = problems
        out = shlex.quote(config.output_dir.rstrip("/") + "-eval")
        lines.insert(0, f"sgpo eval {folder} {what} --out {out}{note}")
    return "Next:  " + "\n       ".join(lines)


def _evaluation(run: RunArguments, config: Any, model: ModelConfig, data: Dataset) -> tuple[str, str] | None:
    """The options of ``sgpo eval`` that name problems and prompts, and a remark; None where it could judge nothing."""
    if LAB in (run.dataset_name, model.model_name_or_path):
        return "--benchmark lab", ""
    if "answer" not in data.column_names:
        return None  # `sgpo eval` compares with that column; a reward without one is measured by eval_dataset
    template = template_of(data[0]["prompt"])  # None: messages in words of the data's own
    if run.eval_dataset is not None and Path(run.eval_dataset).is_file():
        what, note = f"--data {shlex.quote(run.eval_dataset)}", ""
    elif all(name in REWARDS for name in run.reward_funcs):
        what = "--benchmark math500" if template else "--benchmark math500 --template FILE"
        note = (
            f"  # {'or' if template else 'FILE makes the prompts of training; or'} --data FILE, of problems of your own"
        )
    else:  # whoever has a reward of their own has problems of their own
        fields = "problem" if template else "prompt, as it was trained on"
        what, note = "--data HELD.jsonl", f"  # a file of problems that were not trained on: answer, {fields}"
    if "--data" in what:
        what += f" --max-new-tokens {config.max_completion_length}"
    if template not in (None, "instruct"):  # the default of `sgpo eval`; messages of the data need none
        what += f" --template {template}"
    if config.chat_template_kwargs:
        what += f" --chat-template-kwargs {shlex.quote(json.dumps(config.chat_template_kwargs))}"
    return what, note
