"""What SGPO's, LUFFY's and HPT's trainers share in front of TRL's: data, model card, and what a run says."""

import inspect
import os
import shutil
from pathlib import Path
from typing import Any

from sgpo.trainer import checks
from sgpo.trainer.notices import RolloutHistory, RolloutNotices, warn_of_bad_golds
from sgpo.trainer.prompts import text_only
from sgpo.trainer.resumable import ResumableGRPOTrainer


class TextOnlyTrainer(ResumableGRPOTrainer):
    """``GRPOTrainer`` on text alone.

    Raises:
        ValueError: a data set with images, or with prompts that are neither text nor messages.
    """

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: Any = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        **kwargs: Any,
    ):
        super().__init__(
            model,
            reward_funcs,
            args=args,
            train_dataset=text_only(train_dataset),
            eval_dataset=text_only(eval_dataset),
            **kwargs,
        )
        checks.check_head(self.model, self.args)
        self.add_callback(RolloutNotices(self))
        if self.accelerator.is_main_process:
            warn_of_bad_golds(self.train_dataset, self.reward_funcs)

    def rollout_history(self) -> RolloutHistory:
        """What TRL has logged of the generation batches since it last emptied its metrics."""
        metrics = self._metrics["train"]
        return RolloutHistory(
            cut=metrics.get("completions/clipped_ratio", ()),
            reward=metrics.get("reward", ()),
            same=metrics.get("frac_reward_zero_std", ()),
            guided=metrics.get("sgpo/guided_pass_rate", ()),
        )

    def _set_signature_columns_if_needed(self) -> None:
        """Keep what the rewards read: with ``remove_unused_columns`` a column is unused if no reward can see it."""
        super()._set_signature_columns_if_needed()
        columns = getattr(self.train_dataset, "column_names", None) or []
        for name in columns:
            if name not in self._signature_columns and any(_reads(reward, name) for reward in self.reward_funcs):
                self._signature_columns.append(name)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and self.is_world_process_zero():
            print(f"Resuming from {checkpoint}, step {self.state.global_step} of {self.state.max_steps}.", flush=True)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write TRL's model card with what it leaves out: a base in a local folder, a model that is not on the hub."""
        super().create_model_card(*args, **kwargs)
        path = Path(self.args.output_dir) / "README.md"
        if self.is_world_process_zero() and path.is_file():
            text = path.read_text(encoding="utf-8")
            text = text.replace(_NO_BASE, f"`{self._sgpo.base_model or 'a model in memory'}`")
            path.write_text(text.replace(_NO_HUB, f'model="{self.args.output_dir}"'), encoding="utf-8")

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Put the model card beside the weights, wherever they go; PEFT adds to a card that is there."""
        folder = output_dir or self.args.output_dir
        self.create_model_card(model_name=Path(self.args.hub_model_id or self.args.output_dir).name)
        card = Path(self.args.output_dir) / "README.md"
        if self.is_world_process_zero() and card.is_file() and os.path.abspath(folder) != os.path.abspath(card.parent):
            os.makedirs(folder, exist_ok=True)
            shutil.copyfile(card, Path(folder) / card.name)
        super()._save(output_dir, state_dict)


_NO_BASE = "[None](https://huggingface.co/None)"
_NO_HUB = 'model="None"'


def _reads(reward: Any, column: str) -> bool:
    """Whether a reward function is given a column, by its parameters."""
    try:
        parameters = inspect.signature(reward).parameters
    except (TypeError, ValueError):
        return True
    return column in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
