# %% [markdown]
# # 1. Your first run, and how to read it
#
# A small model learns to solve problems that it could solve before only with a *strategy* in its prompt. It ships with
# the package, so nothing is downloaded. All words are defined in
# [terms](../../docs/terms.md). On two CPU cores this takes a few minutes.

# %%
from sgpo.runs.progress import hush

hush()  # the noise of the packages that are imported next

# %%
import os
from pathlib import Path

from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback

import sgpo
from sgpo import SGPOConfig, SGPOTrainer
from sgpo.evaluation import evaluate
from sgpo.lab import GUIDED_TEMPLATE, lab_reward, load_base, load_problems
from sgpo.lab.problems import MAX_COMPLETION

STEPS = int(os.environ.get("SGPO_TUTORIAL_STEPS", "80"))  # fewer for a quick look
OUT = Path("runs/tutorials/1")

# %% [markdown]
# ## What a problem looks like
#
# The prompt states the problem. The strategy says which operations to carry out, and holds neither a computation nor
# the answer.

# %%
problems = load_problems("train")
for name in ("prompt", "strategy", "answer"):
    print(f"{name:9}", problems[0][name])

# %% [markdown]
# ## Before training: the model can, but does not know what
#
# With the strategy the model is right nearly always. Without it, it seldom is. SGPO is made for that gap.

# %%
model, tokenizer = load_base()
# These problems are not trained on. The choice of settings belongs to "validation"; "eval" is for the last word.
held_out = load_problems("validation")[: 100 if STEPS > 10 else 20]


def accuracy(guided: bool) -> float:
    """The share of correct responses to the held-out problems, one sample of each, in percent."""
    rows = [dict(p) for p in held_out]
    for row in rows:
        if guided:
            row["prompt"] = GUIDED_TEMPLATE.format(strategy=row["strategy"], prompt=row["prompt"])
    result = evaluate(model, tokenizer, rows, grade=lab_reward, max_new_tokens=MAX_COMPLETION)
    return 100 * result.accuracy


before = accuracy(guided=False)
print(f"without a strategy {before:5.1f} %")
print(f"with its strategy  {accuracy(guided=True):5.1f} %")

# %% [markdown]
# ## Training
#
# The arguments are those of TRL's `GRPOTrainer`. What SGPO adds has the paper's constants by default: each problem gets
# 8 rollouts without and 4 with its strategy.

# %%
args = SGPOConfig(
    str(OUT),
    guided_prompt_template=GUIDED_TEMPLATE,
    max_steps=STEPS,
    learning_rate=8e-4,
    max_grad_norm=0.1,
    warmup_steps=10,
    per_device_train_batch_size=96,  # rollouts: 12 problems, 8 of each
    steps_per_generation=1,
    num_iterations=2,  # each generation batch serves two optimizer steps
    max_completion_length=MAX_COMPLETION,
    activation_checkpointing=False,  # it saves memory, which a model of this size does not need
    log_problems=True,  # the report shows every problem with its weight
    logging_steps=2,
    save_strategy="no",
    report_to=[],
    disable_tqdm=True,
)
data = Dataset.from_list([dict(p) for p in problems])
trainer = SGPOTrainer(model, lab_reward, args, data, processing_class=tokenizer)

# %% [markdown]
# ## Reading the run while it goes
#
# | column | what to look for |
# |---|---|
# | autonomous | the pass rate without a strategy: it should rise |
# | guided | the pass rate with it: it starts high |
# | alpha | the weight of the distillation: high at first, then it falls by itself |
# | KL | how far the two policies are apart on the targets, in nats: it should fall |
#
# A run in which guided is not above autonomous distils nothing. [The cookbook](../../docs/cookbook.md) says what to do.


# %%
class FourNumbers(TrainerCallback):
    """Prints the numbers of the table above, in place of all that a trainer logs."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "sgpo/alpha" in (logs or {}):
            names = "sgpo/autonomous_pass_rate", "sgpo/guided_pass_rate", "sgpo/alpha", "sgpo/kl"
            print(f"{state.global_step:5}", *(f"{float(logs.get(name, 0)):10.2f}" for name in names), flush=True)


trainer.remove_callback(PrinterCallback)
trainer.add_callback(FourNumbers)
print(" step autonomous     guided      alpha         KL")
trainer.train()
trainer.save_model(str(OUT))

# %% [markdown]
# ## After training
#
# The model is asked without any strategy, as it would be when it is used.

# %%
after = accuracy(guided=False)
print(f"without a strategy {before:5.1f} % before, {after:5.1f} % after")

# %% [markdown]
# ## The report
#
# One HTML file shows the curves, alpha by problem, and completions. It opens offline.

# %%
page = sgpo.report(OUT)
print(f"report: {page.path}")
