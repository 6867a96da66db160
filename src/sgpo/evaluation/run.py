"""An evaluation with a folder: generate, grade, save, summarise; resumed by running it again.

``results.json`` is a function of the settings and the saved responses alone: no times, no paths, the order of the
problems. An interrupted and resumed run writes the same file as an uninterrupted one.
"""

import hashlib
import json
import platform
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sgpo import __version__
from sgpo.data.benchmarks import BenchmarkError, BenchmarkProblem
from sgpo.data.prompts import DEFAULT_GUIDED_TEMPLATE, Prompt
from sgpo.evaluation.grading import Mark, ResponseGrader, votes
from sgpo.evaluation.results import EvalResult, Graded, ProblemResult, summarise
from sgpo.evaluation.store import RunFolder, SavedMark, SavedReply, Settings, open_run, settings_digest
from sgpo.evaluation.templates import Template, build_prompts, template_of
from sgpo.models import Key, Model, ModelError, Reply, Request, Sampling, check_sampling, row_seeds
from sgpo.models.protocol import several_served
from sgpo.models.thinking import ends_alone, has_mark
from sgpo.runs import provenance
from sgpo.runs.files import write_rows

OnGraded = Callable[[int, int, float], None]
"""Called with the graded samples, all samples, and the running accuracy."""
_LIBRARIES = ("torch", "transformers", "vllm", "openai", "math-verify")
_ALIKE = 5  # problems whose samples are all the same, or replies that think, from which it is no chance
_GIVE_UP = 20  # replies without one that holds an answer, after which no more are paid for


@dataclass(frozen=True)
class EvalPlan:
    """What is to be evaluated: ``k`` samples of each problem, from random streams that ``seed`` names."""

    benchmark: str  # the name in reports
    source: str  # where the problems come from, for the record
    problems: list[BenchmarkProblem]
    template: Template
    k: int
    sampling: Sampling
    seed: int = 0
    guided: bool = False  # with each problem's strategy in its prompt
    guided_template: str | None = None  # how it gets there; None: the default
    allow_bad_golds: bool = False  # go on where the grader cannot read a gold; such a problem counts as wrong
    remark: str = ""  # what is to be said when it begins

    def form(self) -> str | None:
        """The name of the template that makes the prompts; None where the data hold whole ones that none makes."""
        own = self.problems[0].prompt if self.problems else None
        return self.template.name if own is None else template_of(own)

    def check(self, grader: ResponseGrader) -> list[Prompt]:
        """The prompts; raises ``ValueError`` for whatever would fail later. No model is needed for it."""
        check_sampling(k=self.k, **asdict(self.sampling))
        faults = grader.check(self.problems)
        if faults and not self.allow_bad_golds:
            more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
            raise BenchmarkError(
                f"{self.source}: {len(faults)} gold answer(s) cannot be graded ({'; '.join(faults[:5])}{more}). "
                "Correct them, or give --allow-bad-golds to count these problems as wrong."
            )
        return build_prompts(self.problems, self.template, guided=self.guided, guided_template=self.guided_template)


def run_evaluation(
    plan: EvalPlan,
    model: str,
    backend: Model,
    grader: ResponseGrader,
    folder: Path,
    *,
    report: OnGraded = lambda done, total, accuracy: None,
    say: Callable[[str], None] = lambda line: None,
) -> EvalResult:
    """Carry out ``plan`` in ``folder``, or go on where it stopped.

    Args:
        model: the name under which results are reported.
        report: called after each portion.
        say: called with a line about the plan, and one about replies that were no answers, if there is any to be said.

    Raises:
        ValueError: for a plan that cannot be carried out, before anything is generated.
        SettingsError: if the folder holds an evaluation with other settings.
        ModelError: if the model cannot be asked, or no reply holds an answer; the replies so far are saved.
    """
    prompts = plan.check(grader)
    limit = plan.sampling.max_new_tokens
    if backend.positions is not None and backend.positions <= limit:
        say(
            f"The model has {backend.positions} positions for prompt and response, so that responses are cut before "
            f"the limit of {limit} tokens (max_position_embeddings in its config.json)."
        )
    if plan.remark:
        say(plan.remark)
    requests = [
        Request(problem.id, j, prompt, stream)
        for problem, prompt, streams in zip(plan.problems, prompts, row_seeds(prompts, plan.k, plan.seed), strict=True)
        for j, stream in enumerate(streams)
    ]
    settings = describe(plan, model, backend, grader)
    if left_out := _left_out(Path(model), settings["backend"].get("chat_template_kwargs", {})):
        say(left_out)
    with open_run(folder, settings) as store:
        # The prompts follow from the settings, and a folder that already has responses was made with the same settings.
        if not store.responses:
            rows = zip(plan.problems, prompts, strict=True)
            asked = (  # the bare problem, too: strategies are extracted from it
                {"id": p.id, "problem": p.problem, "prompt": prompt, "gold": p.answer, **_more(p)} for p, prompt in rows
            )
            write_rows(folder / "prompts.jsonl", asked)
        # Where everything is saved already, this run produces nothing whose provenance could be recorded.
        if any(request.key not in store.responses for request in requests):
            provenance.record(folder, settings)
            (folder / "results.json").unlink(missing_ok=True)  # of responses that somebody has taken out
        served = _complete(plan, requests, backend, grader, store, report)
        cut = _cut_in_thinking(requests, {problem.id: problem for problem in plan.problems}, grader, store)
        for line in (several_served(served), _all_alike(plan, backend, store), cut):
            if line:
                say(line)
        # A model that is asked once has said what it says; only an endpoint may have failed to answer.
        if backend.tries > 1:
            _check_faults(store, [request.key for request in requests], say)
        result = summarise(_graded(plan, store))
        reasons = Counter(store.verdicts[request.key].reason for request in requests)
        record = {
            "benchmark": plan.benchmark,
            "model": model,
            "guided": plan.guided,
            "settings": settings_digest(settings),
            **result.to_dict(),
        }
        # Sorted: the file must not depend on the order in which replies came.
        record["reasons"] = dict(sorted(reasons.items()))
        store.write("results.json", record, lines="problems")
    return result


def _left_out(model: Path, given: Mapping[str, object]) -> str:
    """What is to be said where the run that left ``model`` had variables of the chat template that are not given."""
    starts = provenance.starts_of(model) or provenance.starts_of(model.parent)  # a checkpoint's are its run's
    try:
        trained = starts[-1]["config"]["training"]["chat_template_kwargs"] or {}
        left_out = {name: trained[name] for name in trained if name not in given}
    except (LookupError, TypeError):  # trained elsewhere
        return ""
    if not left_out:
        return ""
    return (
        f"{model} was trained with chat_template_kwargs {json.dumps(trained)}, of which {', '.join(left_out)} is left "
        f"out here, so that its prompts are others. Give --chat-template-kwargs {shlex.quote(json.dumps(trained))}."
    )


def describe(plan: EvalPlan, model: str, backend: Model, grader: ResponseGrader) -> Settings:
    """All settings, as saved in ``settings.json``; see ``COMPARED`` for the part that a resumed run must share."""
    # By content: a file may be edited between two starts, and its name stays.
    content = json.dumps([problem.content() for problem in plan.problems], sort_keys=True)
    installed = provenance.packages()
    return {
        # A later version may read or judge an answer otherwise; half of a run by each would be no result.
        "sgpo": __version__,
        "model": model,
        "backend": backend.describe(),
        "benchmark": {
            "name": plan.benchmark,
            "problems": len(plan.problems),
            "sha256": hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest(),
        },
        "template": asdict(plan.template),
        "guided_template": (plan.guided_template or DEFAULT_GUIDED_TEMPLATE) if plan.guided else None,
        "sampling": {"k": plan.k, "seed": plan.seed, **asdict(plan.sampling)},
        "grader": {**grader.describe(), "allow_bad_golds": plan.allow_bad_golds},
        "source": plan.source,
        "environment": {
            "python": platform.python_version(),
            **{name: installed[name] for name in _LIBRARIES if name in installed},
        },
    }


def _complete(
    plan: EvalPlan,
    requests: Sequence[Request],
    backend: Model,
    grader: ResponseGrader,
    store: RunFolder,
    report: OnGraded,
) -> Counter[str]:
    """Bring responses and verdicts up to all requests; an answer that is saved is not asked for again.

    A reply that is no answer (see `sgpo.models.Reply.fault`) is saved, counts as wrong under its own name, and is asked
    for again by the next run. Models in this process would say the same again, so what they say is an answer.

    Returns:
        The replies of this start by the model that an endpoint says it was.
    """
    problems = {problem.id: problem for problem in plan.problems}
    ungraded = [request for request in requests if request.key in store.responses and request.key not in store.verdicts]
    # A kill between the two files leaves responses without a verdict; they were paid for.
    _grade(ungraded, problems, grader, store)
    _tell(store, len(requests), report)
    asks_again = backend.tries > 1
    # Saved is not answered: an empty reply of an endpoint is asked for again by the next start.
    answered = {key for key, reply in store.responses.items() if not (asks_again and reply.no_answer)}
    served: Counter[str] = Counter()
    if all(request.key in answered for request in requests):
        return served
    # What an earlier start saved counts, so that a few bad replies at its end do not stop a run.
    useful = any(store.responses[key].text.strip() for key in answered)
    seen = 0
    for portion in backend.generate(requests, answered):
        store.add_responses([_saved(request, reply, asks_again) for request, reply in portion])
        _grade([request for request, _ in portion], problems, grader, store)
        _tell(store, len(requests), report)
        served.update(reply.served for _, reply in portion if reply.served)
        useful = useful or any(reply.text.strip() for _, reply in portion)
        seen += len(portion)
        if asks_again and seen >= _GIVE_UP and not useful:
            break
    return served


def _cut_in_thinking(
    requests: Sequence[Request], problems: dict[str, BenchmarkProblem], grader: ResponseGrader, store: RunFolder
) -> str:
    """Mark replies that the limit cut within thinking which their prompt begins, and judge them again; "" for none.

    An endpoint renders the prompt, and its mark is no part of the reply; or it gives thinking apart only where that has
    ended. A guess in it would be read as the answer. Where every whole reply thinks, one without a mark has not ended.
    """
    replies = [reply for request in requests if (reply := store.responses.get(request.key))]
    whole = [reply for reply in replies if not (reply.truncated or reply.no_answer)]
    if len(whole) < _ALIKE or not all(reply.reasoning or ends_alone(reply.text) for reply in whole):
        return ""
    cut = [reply for reply in replies if reply.truncated and not reply.reasoning and not has_mark(reply.text)]
    if not cut:
        return ""
    store.add_responses([replace(reply, text=f"<think>{reply.text}") for reply in cut])
    keys = {reply.key for reply in cut}
    _grade([request for request in requests if request.key in keys], problems, grader, store)
    return (
        f"{len(cut)} of {len(replies)} replies were cut within thinking whose beginning the endpoint leaves out. "
        "They are saved with <think> in front, and state an answer only in a box."
    )


def _all_alike(plan: EvalPlan, backend: Model, store: RunFolder) -> str:
    """What is to be said where an endpoint gave the same reply to every sample of each problem; "" otherwise."""
    if backend.tries == 1 or plan.k == 1 or plan.sampling.temperature == 0:
        return ""
    texts = [{reply.text for j in range(plan.k) if (reply := store.responses.get((p.id, j)))} for p in plan.problems]
    # Two problems may have one short answer by chance; all of a benchmark have not.
    if len(texts) < _ALIKE or any(len(each) != 1 for each in texts):
        return ""
    return (
        f"All {plan.k} samples of every problem are the same, word for word: the endpoint answers from a cache, or "
        "takes no temperature. avg@k, pass@k and maj@k then are those of one sample."
    )


def _more(problem: BenchmarkProblem) -> dict[str, object]:
    """What a problem has beside its texts, by the names of a training set."""
    named = {"family": problem.group, "tolerance": problem.tolerance, "messages": problem.prompt}
    return {name: value for name, value in named.items() if value is not None}


def _saved(request: Request, reply: Reply, asks_again: bool) -> SavedReply:
    fault = reply.fault if asks_again else ""  # a model in this process would say the same again
    said = {name: getattr(reply, name) for name in ("text", "tokens", "truncated", "reasoning")}
    return SavedReply(problem=request.problem, sample=request.sample, seed=request.seed, **said, fault=fault)


def _check_faults(store: RunFolder, keys: list[Key], say: Callable[[str], None]) -> None:
    """Say how many replies were no answers; where all are, there is nothing to score."""
    found = [store.responses[key] for key in keys if key in store.responses]
    faults = Counter(reply.no_answer for reply in found if reply.no_answer)
    listed = ", ".join(f"{fault} {count}" for fault, count in faults.most_common())
    # A score of 0 would say that the model is bad, where nothing was heard of it.
    if all(reply.no_answer or not reply.text.strip() for reply in found):
        cut = sum(reply.truncated for reply in found)
        thoughts = any(reply.reasoning for reply in found)
        remedy = "Raise --max-new-tokens" if cut else "Look at the endpoint's log"
        if thoughts:
            remedy += "; the words all came as reasoning, so a reasoning parser of the server may be wrong"
        raise ModelError(
            f"None of {len(found)} replies holds an answer ({listed or f'cut by the limit {cut}'}), so there is "
            f"nothing to score. {remedy}. Run the same command again to ask once more for those that were not cut."
        )
    if faults:
        say(
            f"{faults.total()} of {len(keys)} replies were no answers and count as wrong ({listed}). Run the same "
            "command again to ask for them once more."
        )


def _grade(
    requests: Sequence[Request], problems: dict[str, BenchmarkProblem], grader: ResponseGrader, store: RunFolder
) -> None:
    if not requests:
        return
    replies = [store.responses[request.key] for request in requests]
    # What a filter left may read like an answer, and is not the model's.
    asked = [reply for reply in replies if not reply.fault]
    answers = [reply.text for reply in asked]
    graded = iter(grader.grade(answers, [problems[reply.problem] for reply in asked]) if asked else [])
    marks = [Mark(0.0, reply.fault, None, 0.0) if reply.fault else next(graded) for reply in replies]
    pairs = zip(replies, marks, strict=True)
    store.add_verdicts([SavedMark(problem=r.problem, sample=r.sample, **vars(mark)) for r, mark in pairs])


def _tell(store: RunFolder, total: int, report: OnGraded) -> None:
    report(len(store.verdicts), total, store.correct / max(1, len(store.verdicts)))


def _graded(plan: EvalPlan, store: RunFolder) -> list[ProblemResult]:
    results = []
    for problem in plan.problems:
        keys = [(problem.id, j) for j in range(plan.k)]
        marks = [store.verdicts[key] for key in keys]
        voted = votes([mark.extracted for mark in marks], [mark.correct for mark in marks])
        samples = []
        for key, mark, answer in zip(keys, marks, voted, strict=True):
            reply = store.responses[key]
            samples.append(Graded(mark.correct, answer, reply.tokens, reply.truncated, mark.timed_out, reply.text))
        results.append(ProblemResult(problem.id, problem.group, problem.answer, samples))
    return results
