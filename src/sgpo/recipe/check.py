"""``sgpo train --check``: what a recipe would train on, shown before a GPU hour is spent. Loads no weights.

Read as the training reads them: columns, prompts with and without a strategy, rewards, tokenizer. What stops the
training is an error; what lets it run and learn nothing is a warning.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset
from transformers import AutoTokenizer

from sgpo.data.messages import problem_text
from sgpo.data.prompts import check_variables, guided_prompt
from sgpo.models.dates import fix_date
from sgpo.models.folders import Folder, require_vocabulary
from sgpo.models.sampling import encode, positions_of
from sgpo.recipe.arguments import parse
from sgpo.recipe.data import load_data, load_eval_data, trained_on
from sgpo.recipe.model import check_model, model_path
from sgpo.recipe.parts import MissingPackageError, check_parts, naming_packages
from sgpo.recipe.rewards import load_reward
from sgpo.recipe.run import check_folder
from sgpo.rewards.golds import gold_text
from sgpo.trainer.checks import check_dataset, check_size, check_tokenizer
from sgpo.trainer.notices import gold_faults
from sgpo.trainer.reward_functions import check_rewards

_SAMPLED = 256  # rows whose prompts are tokenized
_LONG = 600  # characters of a text that are shown
_IDS = 6  # token ids shown at either end


@dataclass
class Checked:
    """What was found. ``prompt_tokens`` and ``strategy_tokens`` are the longest, for the plan."""

    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    rows: int = 0
    prompt_tokens: int = 1
    strategy_tokens: int = 1


def check_recipe(argv: Sequence[str], *, here: bool = True) -> Checked:
    """Look at the recipe ``--config FILE [--FIELD VALUE ...]`` with its data, its tokenizer and its rewards.

    ``here``: it is to run on this machine, so that a package which is not installed is an error. Raises ValueError.
    """
    with naming_packages():
        run, config, model = parse(argv)
    rewards = [load_reward(name) for name in run.reward_funcs]
    described = check_model(model)
    try:
        check_parts(config, model, described)
    except MissingPackageError:
        if here:
            raise
    data, measured = load_data(run), load_eval_data(run)
    check_rewards(config, rewards, data, measured)
    check_dataset(data, config)
    check_size(data, config)
    tokenizer = load_tokenizer(model_path(model), model.model_revision)
    check_tokenizer(tokenizer, data)
    found = Checked(rows=len(data))
    _columns(data, config, found)
    _prompts(data, config, tokenizer, found)
    _context(described, config, found)
    _rewards(data, rewards, run.reward_funcs, found)
    if said := trained_on(data, measured):
        found.warnings.append(said)
    found.warnings += gold_faults(data, measured, rewards)
    try:
        check_folder(run, config)
    except ValueError as error:  # of a run that is done, the data can still be looked at
        found.warnings.append(str(error))
    return found


def load_tokenizer(name: str, revision: str | None) -> Any:
    """The tokenizer of a model. Raises ``ValueError`` where there is none."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"The tokenizer cannot be loaded: {Folder(name).error(error)}") from error
    require_vocabulary(tokenizer, name, revision)
    return tokenizer


def _columns(data: Dataset, config: Any, found: Checked) -> None:
    """Each column: how many rows have it, and its first value."""
    found.lines.append(f"Data: {len(data)} problem{'s' * (len(data) != 1)}")
    different = len(set(map(str, data["prompt"])))
    if different < len(data):
        found.lines[-1] += f", {different} of them different"
    for name in data.column_names:
        cells = data[name]
        filled = [cell for cell in cells if cell not in (None, "", [])]
        line = f"  {name:<14} {len(filled)} of {len(data)} rows"
        if filled:
            first = str(filled[0] if name != "prompt" else problem_text(filled[0]))
            line += f", such as {_cut(first, 80)!r}"
        found.lines.append(line)
    strategies = data["strategy"] if "strategy" in data.column_names else []
    if config.guides and not any(isinstance(text, str) and text.strip() for text in strategies):
        found.warnings.append(
            "No row has a strategy (column 'strategy'), so this trains by GRPO alone. If another column holds them, "
            "name that one 'strategy'."
        )


def _prompts(data: Dataset, config: Any, tokenizer: Any, found: Checked) -> None:
    """One example of both prompts as the model sees it, and the longest of a sample."""
    rows = [data[i] for i in range(min(_SAMPLED, len(data)))]
    fix_date(tokenizer)
    template, more = config.guided_prompt_template, config.chat_template_kwargs
    check_variables(tokenizer, more or {})
    plain = [encode(tokenizer, [row["prompt"]], more)[0] for row in rows]
    guided = {
        i: encode(tokenizer, [guided_prompt(row["prompt"], strategy, template)], more)[0]
        for i, row in enumerate(rows)
        if (strategy := str(row.get("strategy") or "")).strip()
    }
    as_text = isinstance(rows[0]["prompt"], str)
    has_template = bool(getattr(tokenizer, "chat_template", None))
    words = "text, taken as it is" if as_text else "messages, through the model's chat template"
    found.lines += ["", f"Prompts: {words}. The first, without its strategy, as the model sees it:"]
    # The first problem that has a strategy, so that both prompts are of the same one.
    shown = min(guided, default=0)
    found.lines += _example(tokenizer, plain[shown])
    if guided:
        found.lines += ["With its strategy:", *_example(tokenizer, guided[shown])]
    if as_text and has_template:
        found.warnings.append(
            "The prompts are text, so the model's chat template is not used. An instruction-tuned model wants "
            'messages: [{"role": "user", "content": ...}].'
        )
    unknown = getattr(tokenizer, "unk_token_id", None)
    if unknown is not None and unknown in [*plain[shown], *guided.get(shown, [])]:
        found.warnings.append("The tokenizer does not know some words of the prompt: does it belong to this model?")
    found.prompt_tokens = max(map(len, plain))
    found.strategy_tokens = max([1, *(len(ids) - len(plain[i]) for i, ids in guided.items())])
    longest = f"{found.prompt_tokens} tokens"
    if guided:
        longest += f" without, {max(map(len, guided.values()))} with a strategy"
    found.lines.append(f"Longest of {len(rows)}: {longest}; completions up to {config.max_completion_length}.")


def _example(tokenizer: Any, ids: list[int]) -> list[str]:
    ends = ids if len(ids) <= 2 * _IDS else [*ids[:_IDS], "...", *ids[-_IDS:]]
    text = _cut(tokenizer.decode(ids, skip_special_tokens=False), _LONG)
    return [*(f"  | {line}" for line in text.splitlines()), f"  {len(ids)} tokens: {' '.join(map(str, ends))}"]


def _context(described: Any, config: Any, found: Checked) -> None:
    """A prompt with its completion must fit into the positions that the model has."""
    positions = positions_of(described)
    longest = found.prompt_tokens + found.strategy_tokens + config.max_completion_length
    if positions is not None and longest > positions:
        found.warnings.append(
            f"Up to {longest} tokens of prompt, strategy and completion do not fit into the model's context of "
            f"{positions}; lower max_completion_length to {max(1, positions - longest + config.max_completion_length)}."
        )


def _rewards(data: Dataset, rewards: Sequence[Any], names: Sequence[str], found: Checked) -> None:
    """What each reward gives to the first problem's answer and to nothing: it must tell them apart."""
    row = data[0]
    answer = gold_text(row.get("answer", row.get("solution")))
    # A response of the data is in the form that the reward reads; without one, the form that `init` asks for.
    expert = row.get("expert")
    shown = isinstance(expert, str) and bool(expert.strip())
    right = expert if shown else f"The answer is \\boxed{{{answer}}}."
    tried = [right, ""]
    wrapped: list[Any] = tried
    if not isinstance(row["prompt"], str):
        wrapped = [[{"role": "assistant", "content": text}] for text in tried]
    columns = {name: [value] * 2 for name, value in row.items() if name != "prompt"}
    found.lines += ["", f'Rewards of "{_cut(right.strip(), 60)}" and of an empty completion, on the first problem:']
    for name, reward in zip(names, rewards, strict=True):
        try:
            values = [float(value) for value in reward(prompts=[row["prompt"]] * 2, completions=wrapped, **columns)]
        except Exception as error:
            raise ValueError(
                f"The reward {name!r} failed on the first problem: {type(error).__name__}: {error}. It must return one "
                "number per completion, whatever the policy writes."
            ) from error
        found.lines.append(f"  {name:<40} {values[0]:g} and {values[1]:g}")
        if name == names[0] and answer and not values[0] > values[1]:
            found.warnings.append(
                f"The reward {name!r} does not prefer {'the expert response' if shown else 'the answer'} of the first "
                "problem to an empty completion. Either it is wrong, or it reads answers of another form."
            )


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 4] + " ..."
