"""From a problem to a prompt: templates by name or by file, and the strategy of a guided evaluation.

A score depends on the template as much as on the sampling; so it has a name, and its text is saved with the results.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from sgpo.data.benchmarks import BenchmarkProblem
from sgpo.data.prompts import DEFAULT_GUIDED_TEMPLATE, Prompt, check_template, guided_prompt
from sgpo.data.tables import read_table
from sgpo.runs.files import read_text

_BOXED = "Please reason step by step, and put your final answer within \\boxed{}."
_FIELD = re.compile(r"\{problem\}")


@dataclass(frozen=True)
class Template:
    """How a problem is put to a model."""

    name: str  # the built-in name, or the path of the file
    user: str = "{problem}"  # text with `{problem}` exactly once; other braces mean nothing
    system: str | None = None  # the system message; None sends none (a chat template may add its own)
    chat: bool = True  # as messages, through the model's chat template; otherwise `user` is the whole prompt

    def __post_init__(self) -> None:
        # A template that names the problem twice, or never, is a slip of the pen in a file, which no score would show.
        if not isinstance(self.user, str) or len(_FIELD.findall(self.user)) != 1:
            raise ValueError(
                f"template {self.name!r}: its text must contain {{problem}} exactly once; it is {self.user!r}."
            )
        if self.system is not None and (not self.chat or not isinstance(self.system, str)):
            raise ValueError(f"template {self.name!r}: a system message must be text and needs chat = true.")

    def prompt(self, problem: str) -> Prompt:
        """The prompt of a problem: text, or messages where ``chat``."""
        # Not str.format: braces are LaTeX. And a function, since a backslash in a replacement text means something.
        text = _FIELD.sub(lambda _: problem, self.user)
        if not self.chat:
            return text
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, {"role": "user", "content": text}]


OWN = Template("messages of the data")
"""Stands in the settings of an evaluation whose problems are whole prompts, to which no template is put."""

TEMPLATES: dict[str, Template] = {
    template.name: template
    for template in (
        Template("instruct", user="{problem}\n\n" + _BOXED),
        # The system prompt of Qwen2.5-Math-Instruct's model card.
        Template("qwen", system=_BOXED),
        # The system prompt of LUFFY's data (hub id Elliott/Openr1-Math-46k-8192; arXiv 2504.14945).
        Template(
            "luffy",
            system=(
                "Your task is to follow a systematic, thorough reasoning process before providing the final solution. "
                "This involves analyzing, summarizing, exploring, reassessing, and refining your thought process "
                "through multiple iterations. Structure your response into two sections: Thought and Solution. In the "
                'Thought section, present your reasoning using the format: "<think>\n {thoughts} </think>\n". Each '
                "thought should include detailed analysis, brainstorming, verification, and refinement of ideas. After "
                '"</think>\n," in the Solution section, provide the final, logical, and accurate answer, clearly '
                "derived from the exploration in the Thought section. If applicable, include the answer in \\boxed{} "
                "for closed-form results like multiple choices or mathematical solutions."
            ),
        ),
        Template("plain", user="{problem}\n\n" + _BOXED, chat=False),
        Template("raw", chat=False),
    )
}


def template_of(prompt: Prompt) -> str | None:
    """Name of the first built-in template that makes prompts like this one; None where none does."""
    for name, template in TEMPLATES.items():
        before, after = map(re.escape, _written(template.prompt("{problem}")).split("{problem}"))
        if re.fullmatch(before + r'(?:[^"\\]|\\.)*' + after, _written(prompt)):  # within one text
            return name
    return None


def _written(prompt: Prompt) -> str:
    return json.dumps(prompt if isinstance(prompt, str) else [[turn["role"], turn["content"]] for turn in prompt])


def load_template(name: str) -> Template:
    """A template by name, or from a file.

    A ``.json`` file holds ``user`` and optionally ``system`` and ``chat``; any other file is the text of the user's
    message. Both name ``{problem}`` once.

    Raises:
        ValueError: for a name that is neither built in nor a file, and for a file that is no template.
    """
    if name in TEMPLATES:
        return TEMPLATES[name]
    path = Path(name)
    if not path.is_file():
        raise ValueError(f"template {name!r} is neither a file nor one of {', '.join(TEMPLATES)}.")
    text = read_text(path)
    # Only a JSON file says more than the text of the user's message.
    if path.suffix != ".json":
        return Template(name, user=text)
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"template {name}: not valid JSON ({error}).") from error
    if not isinstance(fields, dict) or not {"user"} <= set(fields) <= {"user", "system", "chat"}:
        raise ValueError(f"template {name}: give a JSON object with user, and optionally system and chat.")
    return Template(name, **fields)


def build_prompts(
    problems: list[BenchmarkProblem], template: Template, *, guided: bool, guided_template: str | None = None
) -> list[Prompt]:
    """The prompt of each problem: its own, or the template's, with its strategy where ``guided``.

    Raises ValueError where a strategy is missing.
    """
    prompts: list[Prompt] = [problem.prompt or template.prompt(problem.problem) for problem in problems]
    if not guided:
        return prompts
    text = DEFAULT_GUIDED_TEMPLATE if guided_template is None else guided_template
    check_template(text)
    without = [problem.id for problem in problems if problem.strategy is None]
    if without:
        raise ValueError(
            f"{len(without)} of {len(problems)} problems have no strategy (the first: {', '.join(without[:3])}), and a "
            "mean over guided and unguided prompts would be neither. Give one for each by --strategies FILE or in the "
            "column 'strategy'; or take these problems out of the data, and compare with sgpo eval diff --common."
        )
    return [
        guided_prompt(prompt, str(problem.strategy), text) for prompt, problem in zip(prompts, problems, strict=True)
    ]


def load_strategies(path: Path) -> dict[str, str]:
    """Strategies by problem id from a data file with ``id`` (or ``problem_id``) and ``strategy``, one of each."""
    strategies: dict[str, str] = {}
    for where, row in read_table(path):
        name, strategy = row.get("id", row.get("problem_id")), row.get("strategy")
        if name is None or not isinstance(strategy, str) or not strategy.strip():
            raise ValueError(f"{where}: needs 'id' and a 'strategy' that is text; it has {str(row)[:80]}.")
        if str(name) in strategies:
            raise ValueError(f"{where}: a second strategy for the problem {name!r}; keep one.")
        strategies[str(name)] = strategy
    if not strategies:
        raise ValueError(f"{path} holds no strategies.")
    return strategies


def template_text(template: str | None) -> str | None:
    """A guided template that is given as text or as a file; ``ValueError`` for anything else."""
    if template is None or "{prompt}" in template:
        return template
    path = Path(template)
    if not path.is_file():
        raise ValueError(f"guided template {template!r} is neither a file nor text with {{prompt}} and {{strategy}}.")
    return read_text(path)
