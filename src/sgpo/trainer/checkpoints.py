"""Which checkpoint to go on from: the named one if it is whole, or the last whole one.

The Trainer writes a checkpoint file by file, so a machine that dies meanwhile leaves half of one; and where the
optimizer's half is missing, the Trainer would go on without a word, with an optimizer that remembers nothing. A disk or
a copy that changes bytes leaves a checkpoint that loads, with other weights: a record of digests tells
(:mod:`sgpo.trainer.record`). What else a run needs to resume to the bit is in :mod:`sgpo.trainer.resumable`.
"""

import logging
import os
import re
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers import TrainerState, TrainingArguments

from sgpo.runs.files import read_json, read_json_object
from sgpo.trainer.record import changed, read_record
from sgpo.trainer.shards import checkpoint_kind, kind_of, sharded
from sgpo.trainer.teacher import TEACHER_FILE

logger = logging.getLogger(__name__)

# Plain, FSDP, DeepSpeed, PEFT: an adapter of another name than "default" is in a folder of its own.
_WEIGHTS = ("*.safetensors", "pytorch_model*", "global_step*", "adapter_model*", "*/adapter_model*")
Resume = str | os.PathLike[str] | bool | None


def whole_checkpoint(resume: Resume, args: TrainingArguments, *, teacher: bool = False) -> str | None:
    """The path of the whole checkpoint that a user asks for; None where nothing is to be resumed, or was ever saved.

    Args:
        resume: a directory, True for the last whole checkpoint in ``args.output_dir``, or nothing.
        teacher: whether the training has a teacher with weights of its own.

    Raises:
        ValueError: a named checkpoint that is broken, or no whole one left.
    """
    if not resume:
        return None
    if resume is True:
        return _last_whole(args, teacher)
    name = os.fspath(resume)
    broken = fault(Path(name), args, teacher)
    if broken is None:
        return name
    whole = next((str(path) for path in _newest_first(args) if fault(path, args, teacher) is None), None)
    remedy = f"Resume from {whole!r}, the last whole one" if whole else "Give a whole 'checkpoint-N' of this trainer"
    raise ValueError(f"Cannot resume from {name!r}: it {broken}. {remedy}, or start anew without resuming.")


def _last_whole(args: TrainingArguments, teacher: bool) -> str | None:
    """Its path, None where there is no checkpoint at all; says which newer ones are passed over."""
    faults: dict[str, str] = {}
    for path in _newest_first(args):
        broken = fault(path, args, teacher)
        if broken is None:
            if faults:
                logger.warning("%s. Resuming from %s, the last whole checkpoint.", _listed(faults), path)
            return str(path)
        faults[path.name] = broken
    if faults:
        raise ValueError(
            f"No checkpoint in {args.output_dir} is whole: {_listed(faults)}. Start anew without resuming."
        )
    return None


def _listed(faults: dict[str, str]) -> str:
    return "; ".join(f"{name} {why}" for name, why in faults.items())


def _newest_first(args: TrainingArguments) -> list[Path]:
    return [Path(args.output_dir or ".") / name for name in reversed(names_in(args.output_dir))]


def fault(directory: Path, args: TrainingArguments, teacher: bool = False) -> str | None:
    """What is wrong with a checkpoint, None if nothing.

    Of a checkpoint with a record every byte that resuming reads is looked at; of an older one the ends of its files.
    """
    if not directory.is_dir():
        return "is not a directory"
    if not (directory / "trainer_state.json").is_file():
        return "has no trainer_state.json, so it is none of this trainer, or was cut off while it was written"
    if what := _bad_state(directory / "trainer_state.json"):
        return f"has a trainer_state.json that {what}"
    for path in sorted(directory.iterdir()):
        if not _is_whole(path):
            return f"has a damaged file {path.name}"
    if what := _absence(directory, args, teacher):
        return what
    try:
        record = read_record(directory)
    except ValueError as error:
        return f"has no record that can be read: {error}"
    return None if record is None else changed(directory, record)


def _absence(directory: Path, args: TrainingArguments, teacher: bool) -> str | None:
    """What resuming needs and is not there, in words; None if nothing is missing."""
    if not any(path for pattern in _WEIGHTS for path in directory.glob(pattern) if path.name != TEACHER_FILE):
        return "has no weights"
    for index in directory.glob("*.index.json"):
        missing = sorted(name for name in _shards(index) or () if not (directory / name).is_file())
        if missing:
            return f"lacks {missing[0]}, which {index.name} names"
    written, wanted = kind_of(directory), checkpoint_kind(args)
    if written != wanted and (directory / "scheduler.pt").is_file():
        return f"was written with {written}, and this run has {wanted}: launch it as the first one was"
    if not sharded(args):
        for name in ("optimizer.pt", "scheduler.pt"):
            if not (directory / name).is_file():
                return f"has no {name}" + (" (save_only_model is on)" if args.save_only_model else "")
    if teacher and not (directory / TEACHER_FILE).is_file():
        return f"has no {TEACHER_FILE}: it was written with teacher='live' (set that to go on from it), or cut off"
    return None


def _bad_state(path: Path) -> str | None:
    """What is wrong with the state of a Trainer, None if it can be resumed from."""
    try:
        read_json(path)
    except ValueError:
        return "is cut off"
    try:
        state = TrainerState.load_from_json(str(path))
    except (TypeError, AttributeError, ValueError, KeyError) as error:
        return f"is none: {type(error).__name__}: {error}"
    if type(state.global_step) is not int or state.global_step < 1:
        return f"says global_step={state.global_step!r}, but a checkpoint is written after a step"
    named = re.fullmatch(r"checkpoint-(\d+)", path.parent.name)
    if named and int(named[1]) != state.global_step:
        return f"is of step {state.global_step}"
    return None


def names_in(output_dir: str | None) -> list[str]:
    """Names of the checkpoints in a directory, by step."""
    if not output_dir or not Path(output_dir).is_dir():
        return []
    names = [p.name for p in Path(output_dir).iterdir() if re.fullmatch(r"checkpoint-\d+", p.name)]
    return sorted(names, key=lambda name: int(name.split("-")[1]))


def last_checkpoint(output_dir: str | None) -> str:
    """How to go on after an error, in words."""
    if found := names_in(output_dir):
        path = Path(output_dir or ".") / found[-1]
        return f"The last checkpoint is {path}: go on with resume_from_checkpoint=True, which takes the last whole one"
    return "No checkpoint was written yet (save_steps), so start anew"


def _is_whole(path: Path) -> bool:
    """Whether a file of a known format goes on to its end; True for any other."""
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt"):  # compares the header with the file's length
                return True
        except (SafetensorError, OSError):
            return False
    if path.suffix in (".pt", ".pth"):
        return zipfile.is_zipfile(path)  # the directory of a zip file is at its end
    if path.name.endswith(".index.json"):
        return _shards(path) is not None
    return True


def _shards(index: Path) -> set[str] | None:
    """The files that an index of weights names; None where it is no such index."""
    try:
        return set(read_json_object(index)["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
