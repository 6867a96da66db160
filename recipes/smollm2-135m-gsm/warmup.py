"""Stage 3: supervised fine-tuning on a JSONL file of prompts and completions, from any model.

    python recipes/smollm2-135m-gsm/warmup.py --config recipes/smollm2-135m-gsm/warmup-cpu.yaml

The fields are those of TRL's ``SFTConfig`` and ``ModelConfig`` and ``dataset_name``, a file; each can be overridden as
``--field value``. It is ``trl sft`` for a local file, and a second call goes on from the last whole checkpoint.
"""

import logging
from pathlib import Path

from datasets import load_dataset
from trl import ModelConfig, ScriptArguments, TrlParser, get_peft_config

from sgpo.trainer.checkpoints import whole_checkpoint
from sgpo.trainer.sft import ExpertSFTTrainer, SFTConfig


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    script, config, model = TrlParser((ScriptArguments, SFTConfig, ModelConfig)).parse_args_and_config()
    if (Path(config.output_dir) / "model.safetensors").is_file():
        print(f"{config.output_dir} is there already.")
        return
    if not Path(script.dataset_name or "").is_file():
        raise SystemExit(f"error: dataset_name is {script.dataset_name!r}, but there is no such file; run split.py.")
    config.model_init_kwargs = {"dtype": model.dtype or "auto", "trust_remote_code": False}
    trainer = ExpertSFTTrainer(
        model=model.model_name_or_path,
        args=config,
        train_dataset=load_dataset("json", data_files=script.dataset_name, split="train"),
        peft_config=get_peft_config(model),
    )
    found = whole_checkpoint(True, config)
    trainer.train(resume_from_checkpoint=found if isinstance(found, str) else None)
    trainer.save_model(config.output_dir)
    print(f"Model: {config.output_dir}")


if __name__ == "__main__":
    main()
