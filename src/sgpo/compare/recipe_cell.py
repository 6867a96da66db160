"""The process of one cell of a comparison on a recipe: ``[LAUNCHER] python -m sgpo.compare.recipe_cell CELL_DIR``.

Reads what :class:`sgpo.compare.recipe.RecipeTask` put into the directory (cell.json, recipe.yaml), trains, and measures
what it trained. What is done is not done again: a training that was interrupted goes on from its last whole
checkpoint, if the recipe saves any, one that is through (trained.json) is not repeated, and the evaluation takes up its
saved responses. Trained by several processes, or with vLLM beside the trainer, the model is measured by a process
that comes after them and has the devices to itself.
"""

import gc
import os
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from sgpo.compare import measure
from sgpo.compare.recipe import RecipeCell, split
from sgpo.models.folders import Folder
from sgpo.recipe import build, load_data, load_reward, model_path, parse
from sgpo.recipe.schedule import Schedule
from sgpo.runs.files import locked, read_json_object, write_json, write_text
from sgpo.runs.processes import watch_parent
from sgpo.runs.provenance import record
from sgpo.trainer.checkpoints import whole_checkpoint
from sgpo.trainer.methods import KINDS, find_method
from sgpo.trainer.recorder import Recorder


def main(folder: Path) -> None:
    """Carry out the cell in ``folder``; a failure is written into its error.txt."""
    try:
        # The first rank has the lock for all: each of them would else find the folder in use by the others.
        if int(os.environ.get("RANK", "0")):
            _run(folder)
            return
        with locked(folder, "a cell of sgpo compare"):  # the process of a comparison that was killed may live on
            _run(folder)
    # Of all kinds, a kill by SIGTERM among them: the comparison reads this file to say why a cell failed.
    except BaseException:
        # The first error explains the others: ranks that lose a peer fail after it.
        if not (folder / "error.txt").exists():
            write_text(folder / "error.txt", traceback.format_exc())
        raise


def _run(folder: Path) -> None:
    described = read_json_object(folder / "cell.json")
    described.pop("name")
    cell = RecipeCell(**{**described, "schedule": Schedule(**described["schedule"])})
    kind = find_method(cell.method).kind
    run, config, model = parse(["--config", str(folder / "recipe.yaml")], KINDS[kind or "sgpo"].config)
    if kind is not None and not (folder / "trained.json").exists():
        _train(cell, kind, (run, config, model), folder)
        # Other ranks, or vLLM's engine, still hold their memory; a process of its own measures then.
        if config.world_size > 1 or getattr(config, "use_vllm", False):
            return
        # The trainer is gone by its references, and not yet from the GPU.
        gc.collect()
        torch.cuda.empty_cache()
    given = {**cell.evaluation, "seed": cell.seed, "dtype": model.dtype or "auto"}  # whatever dtype a trainer saved
    start, trained = model_path(model), folder / "model"
    if cell.tuning and cell.hold_out:
        measurements = [measure.measurement(str(folder.parent.parent / measure.HELD_OUT), given, as_trained=True)]
    else:
        measurements = [measure.measurement(name, given) for name in cell.benchmarks]

    def tell(done: float, accuracy: float) -> None:
        write_json(folder / "progress.json", [done, {"accuracy": accuracy}])

    measured = start
    if kind is not None:
        backend = cell.evaluation.get("backend", "transformers")
        whole = measure.servable(trained, start, model.model_revision, folder / "merged", backend)
        measured = str(whole)
    # Where the base is measured, it is that of the recipe, in its revision; a folder on this machine has none.
    if not Path(start).exists() and (kind is None or Folder(measured).adapter is not None):
        given["revision"] = model.model_revision
    result = measure.measure_model(measured, measurements, given, folder, tell)
    shutil.rmtree(folder / "merged", ignore_errors=True)
    write_json(folder / "measured.json", result.to_json())


def _train(cell: RecipeCell, kind: str, parsed: Any, folder: Path) -> None:
    run, config, model = parsed
    data = split(load_data(run), cell.hold_out)[0]
    # Only here the number of processes is known, by which the steps of an epoch are divided.
    config.max_steps = cell.schedule.steps(len(data), config.world_size)
    more = {} if kind == "sft" else {"reward_funcs": [load_reward(name) for name in run.reward_funcs]}
    trainer = build(KINDS[kind].trainer, config, model, data, **more)
    if trainer.is_world_process_zero():
        record(folder, {"run": run, "training": config, "model": model})
    recorder = _CellRecorder(folder / "metrics.jsonl", kind, folder / "progress.json")
    trainer.add_callback(recorder)
    trainer.train(resume_from_checkpoint=_checkpoint(config))
    trainer.save_model(str(folder / "model"))
    if trainer.is_world_process_zero():
        shutil.rmtree(folder / "eval", ignore_errors=True)  # of other weights
        # Last, so that a kill before it has the training gone over again from its checkpoint.
        write_json(folder / "trained.json", {"curve": [], **recorder.costs(), "train_seconds": recorder.seconds})


def _checkpoint(config: Any) -> str | None:
    """The last whole one of this cell, if there is any."""
    teacher = getattr(config, "teacher", "live") != "live" and config.distills
    try:
        return whole_checkpoint(True, config, teacher=teacher)
    except ValueError:  # there are some, and none is whole
        return None


class _CellRecorder(Recorder):
    """Tells the comparison how far it is, and keeps the seconds of training over interruptions."""

    def __init__(self, path: Path, kind: str, progress: Path):
        super().__init__(path, kind, lambda done, latest: write_json(progress, [done, latest]))
        self.seconds = self._earlier = 0.0

    def count(self, args: Any, logs: dict[str, float]) -> None:
        super().count(args, logs)
        self.seconds = logs.get("seconds", self.seconds)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        self._began, self._earlier = time.perf_counter(), self.seconds

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        # In each line of the log: a run that is killed and goes on adds to what it had taken.
        seconds = round(self._earlier + time.perf_counter() - self._began, 1)
        super().on_log(args, state, control, logs={**logs, "seconds": seconds}, **kwargs)


if __name__ == "__main__":
    watch_parent(os.getppid())
    main(Path(sys.argv[1]))
