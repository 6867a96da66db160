"""What a training run leaves for ``sgpo report``, with or without checkpoints, also where it is killed.

``training_log.jsonl`` has a line when training begins and one for each time the trainer logs: ``step``, ``max_steps``
and the metrics. A resumed run appends: where the file goes back in its steps, the lines from that step on are void.
``completions.jsonl`` has a few completions of the first and of the latest logged step, cut to a bound: ``step``,
``prompt``, ``completion``, ``rewards`` (by function) and ``advantage``.
"""

import math
import warnings
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from sgpo.runs.files import JsonObject, append_rows, read_rows, write_rows

LOG, COMPLETIONS = "training_log.jsonl", "completions.jsonl"
_KEPT = 4  # completions of a step
_CHARACTERS = 4_000  # of a prompt, or a completion


class RunLog(TrainerCallback):
    """Writes both files, on the main process. A disk that cannot be written to ends them, with a warning."""

    def __init__(self, trainer: Any):
        self._trainer = trainer
        self._first: list[JsonObject] = []
        self._broken = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._first, self._resumed_at = [], state.global_step
        self._write(args, state, {})

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self._write(args, state, logs or {})

    def _write(self, args: Any, state: Any, logs: JsonObject) -> None:
        if self._broken or not state.is_world_process_zero or not args.output_dir:
            return
        folder, metrics = Path(args.output_dir), {name: _finite(value) for name, value in logs.items()}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            row = {"step": state.global_step, "max_steps": state.max_steps, **metrics}
            append_rows(folder / LOG, [row], sync=False, default=str)
            # While an evaluation is logged its own completions are among them.
            if self._trainer.model.training and (latest := self._completions(state.global_step)):
                self._first = self._first or self._logged_first(folder / COMPLETIONS) or latest
                both = latest if latest[0]["step"] == self._first[0]["step"] else [*self._first, *latest]
                write_rows(folder / COMPLETIONS, both)
        except (OSError, ValueError) as error:
            self._broken = True
            warnings.warn(f"{folder} is not written to any more ({error}); training goes on.", stacklevel=2)

    def _logged_first(self, path: Path) -> list[JsonObject]:
        """The completions of the first step that a run which is gone on with has logged, if it left any."""
        rows = (row for _, row in read_rows(path, torn=True)) if self._resumed_at and path.is_file() else ()
        written = [row for row in rows if row.get("step", math.inf) <= self._resumed_at]
        return [row for row in written if row["step"] == written[0]["step"]]

    def _completions(self, step: int) -> list[JsonObject]:
        """Completions of the step, evenly spread over the last generation batch."""
        logs = self._trainer._logs
        count = min(len(logs["prompt"]), len(logs["completion"]), len(logs["advantages"]))
        return [
            {
                "step": step,
                "prompt": _text(logs["prompt"][i]),
                "completion": _text(logs["completion"][i]),
                "rewards": {name: _finite(list(values)[i]) for name, values in logs["rewards"].items()},
                "advantage": _finite(logs["advantages"][i]),
            }
            for i in sorted({n * count // _KEPT for n in range(min(_KEPT, count))})
        ]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: Any) -> str:
    """A prompt or a completion as text; of messages their roles and contents."""
    if isinstance(value, list):
        value = "\n".join(f"{m.get('role')}: {m.get('content')}" for m in value if isinstance(m, dict))
    text = str(value)
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]} ... [{len(text) - _CHARACTERS:,} more]"
