"""What a training run of a comparison leaves behind: its metrics as JSON lines, and the tokens it cost.

One line for each time the trainer logs, ``{"step": ..., metric: value}``, on the main process alone. A run that goes on
from a checkpoint keeps the lines up to it and counts their tokens again, so that the file and the counts are those of
an uninterrupted run. Log every step: what a line says is taken for one step.
"""

from collections.abc import Callable
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from sgpo.runs.files import JsonObject, append_rows, read_rows, write_rows

Progress = Callable[[float, dict[str, float]], None]  # (share done, latest metrics)


class Recorder(TrainerCallback):
    """Writes what the trainer logs into ``path``; ``kind`` is a key of :data:`sgpo.trainer.methods.KINDS`.

    Attributes:
        autonomous_tokens, guided_tokens: sampled without and with a strategy.
        trained_tokens: in a loss; a completion counts in every pass over its batch. Of SFT prompts included.
    """

    def __init__(self, path: Path, kind: str, progress: Progress | None = None):
        self._path, self._kind, self._progress = path, kind, progress
        self.autonomous_tokens = self.guided_tokens = self.trained_tokens = 0.0
        self._micro_steps = 0  # of a pass over the data; 0 for a stream, which does not say

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        with suppress(TypeError):
            self._micro_steps = len(kwargs.get("train_dataloader") or ())
        written = read_rows(self._path, torn=True) if self._path.exists() else ()
        kept = [row for _, row in written if row["step"] <= state.global_step]
        for row in kept:
            self.count(args, row)
        if state.is_world_process_zero:
            write_rows(self._path, kept)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        row = {"step": state.global_step, **logs}
        self.count(args, row)
        if state.is_world_process_zero:
            append_rows(self._path, [row], sync=False)
            if self._progress is not None:
                self._progress(state.global_step / state.max_steps, self.latest())

    def count(self, args: Any, logs: JsonObject) -> None:
        """Add the tokens of one logged step."""
        if "completions/mean_length" in logs:
            # A step may take several generation batches, over which its metrics are means.
            batches = self._batches(args, logs.get("step", 1))
            rows = args.per_device_train_batch_size * args.steps_per_generation * args.world_size * batches
            tokens = logs["completions/mean_length"] * rows
            self.trained_tokens += (tokens + logs.get("hpt/added_tokens", 0.0) * batches) * args.num_iterations
            if self._kind == "luffy":  # one row of each group is the expert's; older logs do not say how long it is
                tokens -= logs.get("luffy/expert_tokens", tokens / args.num_generations / batches) * batches
            self.autonomous_tokens += tokens
            guided = logs.get("sgpo/guided_tokens", 0.0) * batches
            self.guided_tokens += guided
            if getattr(args, "guided_grpo_weight", 0.0):
                self.trained_tokens += guided * args.num_iterations
        elif "num_tokens" in logs:  # of SFT, cumulative
            self.trained_tokens = logs["num_tokens"]
        self.trained_tokens += logs.get("sgpo/target_tokens", 0.0)

    def _batches(self, args: Any, step: int) -> int:
        """The generation batches that begin in an optimizer step (from 1); the last one of a pass may be short."""
        size, used = args.gradient_accumulation_steps, args.steps_per_generation * args.num_iterations
        whole = self._micro_steps or step * size
        begin = (step - 1) % ceil(whole / size) * size
        return ceil(min(begin + size, whole) / used) - ceil(begin / used)

    def latest(self) -> dict[str, float]:
        """What a display of progress shows."""
        return {}

    def costs(self) -> JsonObject:
        """The token counts as an entry of results.json has them."""
        return {
            "sampled_tokens": round(self.autonomous_tokens + self.guided_tokens),
            "guided_tokens": round(self.guided_tokens),
            "trained_tokens": round(self.trained_tokens),
        }
