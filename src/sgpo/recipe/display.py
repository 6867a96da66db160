"""What ``sgpo train`` shows while it trains: the step, and the metrics by which a run is judged."""

import contextlib
import sys
from typing import Any

from transformers import PrinterCallback, ProgressCallback, TrainerCallback

from sgpo.runs.progress import progress

# By what is logged; the first of each is SGPO's. Everything else is in training_log.jsonl and the trackers.
_SHOWN = {
    "reward": "reward",
    "sgpo/autonomous_pass_rate": "pass",
    "sgpo/guided_pass_rate": "guided",
    "sgpo/alpha": "alpha",
    "sgpo/kl": "KL",
    "loss": "loss",
    "completions/mean_length": "tokens",
    "completions/clipped_ratio": "cut",
    "eval_reward": "eval reward",
}


class TrainingDisplay(TrainerCallback, contextlib.AbstractContextManager["TrainingDisplay"]):
    """Shows a training by `sgpo.runs.progress`, on the main process, in place of the bars and dicts of transformers."""

    def __init__(self, *, bar: bool) -> None:
        self._bar = bar
        self._open = contextlib.ExitStack()
        self._shown: Any = None
        self._task: Any = None

    @classmethod
    def install(cls, trainer: Any) -> "TrainingDisplay":
        """Put it into a trainer; ``disable_tqdm`` asks for lines on a terminal, too."""
        # transformers loads the callback of notebooks in a notebook alone, since it needs IPython.
        notebook = sys.modules.get("transformers.utils.notebook")
        in_notebooks = () if notebook is None else (notebook.NotebookProgressCallback,)
        for other in (ProgressCallback, PrinterCallback, *in_notebooks):
            trainer.remove_callback(other)
        display = cls(bar=not trainer.args.disable_tqdm)
        trainer.add_callback(display)
        return display

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self._shown = self._open.enter_context(progress("train", bar=self._bar))
            self._task = self._shown.add_task("step", total=state.max_steps, completed=state.global_step, note="")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._shown is not None:
            self._shown.update(self._task, completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        given = {name: value for name, value in (logs or {}).items() if isinstance(value, (int, float))}
        found = [f"{label} {given[name]:.3g}" for name, label in _SHOWN.items() if name in given]
        if self._shown is not None and found:
            self._shown.update(self._task, note=" ".join(found))
