"""The work of ``sgpo strategies lift`` and ``library``: the student and the verifier are put together here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sgpo.commands._strategies import counted
from sgpo.data.prompts import DEFAULT_GUIDED_TEMPLATE, Prompt, check_template, guided_prompt
from sgpo.data.tables import check_replaces
from sgpo.evaluation.metrics import bootstrap_interval
from sgpo.evaluation.options import GRADERS
from sgpo.evaluation.templates import load_template, template_text
from sgpo.models import Model, ModelOptions, Reply, Request, Sampling, check_sampling, open_model
from sgpo.runs.files import write_rows
from sgpo.runs.progress import progress, progress_of
from sgpo.strategies.columns import prompt_of
from sgpo.strategies.halving import LiftPlan
from sgpo.strategies.ingest import PASSING
from sgpo.strategies.lift import Ask, LiftRun, Sample, Verify, lift_setup, measure_lift
from sgpo.strategies.options import LibraryOptions, LiftOptions
from sgpo.strategies.records import Problem
from sgpo.strategies.schema import Strategy
from sgpo.strategies.store import Store

if TYPE_CHECKING:
    from sgpo.rewards.verifier import Tolerance
    from sgpo.strategies.library import Entry

_MOST = 32_768  # tokens of a completion, as in the paper's evaluation
_PATIENCE = 10  # times the verifier's time, where it was too short
_ASSUMED = 4_096  # where the context is not known


def run_lift(options: LiftOptions) -> int:
    """Measure, say what came of it, and give the exit code."""
    access = options.access
    plan = LiftPlan(options.first, options.rounds)
    verify, ask, texts, max_new_tokens = _task(options)
    # Without a limit it follows from the student's context, which is known once the model is loaded.
    limit = 1 if max_new_tokens is None else max_new_tokens
    check_sampling(k=plan.most, temperature=options.temperature, top_p=options.top_p, max_new_tokens=limit)
    if access.backend not in ("transformers", "vllm"):
        raise ValueError(f"--backend {access.backend!r} is unknown; choose transformers or vllm.")
    with Store(options.store, create=False) as store:
        sampling = Sampling(options.temperature, options.top_p, limit)
        engine = open_model(options.student, sampling, ModelOptions(**vars(access)))
        if max_new_tokens is None:
            max_new_tokens = _fitting(engine)
            engine.sampling = replace(engine.sampling, max_new_tokens=max_new_tokens)
        # How many replies share a batch, and where, is no part of what was measured, and may change at a resume.
        described = {k: v for k, v in engine.describe().items() if k not in ("batch_size", "device")}
        asked = {name: getattr(options, name) for name in ("temperature", "top_p", "grader", "seed")}
        settings = {**described, **asked, "max_new_tokens": max_new_tokens}
        known = store.usable()
        with progress("lift") as bar:
            task = bar.add_task("", total=min(known, options.limit or known), note="")

            def report(run: LiftRun) -> None:
                seconds = bar.tasks[0].elapsed or 0.0
                rate = run.samples / seconds if seconds else 0.0
                note = f"{run.samples} samples {rate:.1f}/s {run.before} from before, {run.cut} cut"
                bar.update(task, completed=run.problems.total(), note=note)

            run = measure_lift(
                store,
                student(engine),
                verify,
                setup=lift_setup(options.student, texts, settings),
                prompt=ask,
                plan=plan,
                check=options.check,
                limit=options.limit,
                batch=access.batch_size or (512 if access.backend == "vllm" else 64),
                report=report,
            )
    _print_run(run, options.store, max_new_tokens)
    return 1 if run.interrupted else 0


def _fitting(engine: Model) -> int:
    """The most tokens of a completion where none are asked for: half of the student's context, 32,768 at most.

    The other half is for the prompt and its strategy. Students that think need thousands of tokens; small contexts have
    none to give.
    """
    tokens = _ASSUMED if engine.positions is None else max(1, min(engine.positions // 2, _MOST))
    typer.echo(f"completions of at most {tokens} tokens (the student's context: {engine.positions or 'unknown'})")
    return tokens


def student(engine: Model) -> Sample:
    """A model as `sgpo.strategies.lift` asks it; prompts that fill its context get None."""

    def sample(prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[Reply | None]:
        found: list[Reply | None] = [None] * len(prompts)
        # A strategy can fill a small context; that prompt counts as not answered, and the others go on.
        rows = zip(prompts, seeds, engine.fits(prompts), strict=True)
        asked = [Request(str(i), 0, prompt, seed) for i, (prompt, seed, fits) in enumerate(rows) if fits]
        for portion in engine.generate(asked):
            for request, reply in portion:
                found[int(request.problem)] = reply
        return found

    return sample


def _task(options: LiftOptions) -> tuple[Verify, Ask, list[str], int | None]:
    """The verifier, how prompts are made, the texts that make them, and the limit of a completion; None to fit."""
    if options.grader == "lab":
        return lab_task(options)
    if options.grader != "verify":
        raise ValueError(f"--grader {options.grader!r} is unknown; choose from {', '.join(GRADERS)}.")
    template = load_template(options.template or "instruct")
    guided = template_text(options.guided_template) or DEFAULT_GUIDED_TEMPLATE
    check_template(guided)

    def ask(problem: Problem, strategy: Strategy | None) -> Prompt:
        plain = prompt_of(problem, template.prompt)
        return plain if strategy is None else guided_prompt(plain, strategy.text(), guided)

    texts = [template.name, json.dumps(asdict(template), sort_keys=True), guided]
    return partial(judged, timeout=options.verify_timeout), ask, texts, options.max_new_tokens


def judged(
    texts: Sequence[str], answers: Sequence[str], tolerance: Sequence[Tolerance | None] | None = None, *, timeout: float
) -> list[float]:
    """1.0 for each right text, else 0.0, as training rewards them.

    Verdicts are kept for ever. So one that a busy machine may have caused is sought once more, with more time.
    """
    from sgpo.rewards import verify_batch
    from sgpo.rewards.reward import tolerances_of

    allowed = tolerances_of(tolerance, len(texts))
    verdicts = verify_batch(texts, answers, timeout=timeout, tolerance=allowed)
    late = [i for i, verdict in enumerate(verdicts) if verdict.reason in PASSING]
    again = verify_batch(
        [texts[i] for i in late],
        [answers[i] for i in late],
        timeout=_PATIENCE * timeout,
        tolerance=[allowed[i] for i in late],
    )
    for i, verdict in zip(late, again, strict=True):
        verdicts[i] = verdict
    return [float(verdict.correct) for verdict in verdicts]


def lab_task(options: LiftOptions) -> tuple[Verify, Ask, list[str], int | None]:
    """The embedded task has prompts of its own: its words have no colons and no numbering."""
    if options.template is not None or options.guided_template is not None:
        raise ValueError("--grader lab has templates of its own; leave out --template and --guided-template.")
    from sgpo.lab.problems import GUIDED_TEMPLATE, MAX_COMPLETION, lab_reward

    def ask(problem: Problem, strategy: Strategy | None) -> str:
        if strategy is None:
            return problem.problem
        parts = (strategy.problem_type, strategy.strategy, " ".join(strategy.steps))
        return GUIDED_TEMPLATE.format(strategy=" | ".join(filter(None, parts)), prompt=problem.problem)

    limit = MAX_COMPLETION if options.max_new_tokens is None else options.max_new_tokens
    return lab_reward, ask, ["lab", GUIDED_TEMPLATE], limit


def _print_run(run: LiftRun, store: Path, limit: int) -> None:
    typer.echo(f"problems, by their best candidate: {counted(run.problems) or 'none'}")
    drawn = run.samples + run.before
    if run.cut:
        share = f"{run.cut} of {drawn} completions were cut at {limit} tokens ({run.cut / drawn:.0%})"
        typer.echo(f"{share}; they count as they stand. Raise --max-new-tokens if that is many")
    if run.interrupted:
        typer.echo(f"stopped: interrupted. The {drawn} verdicts so far are kept in {store}; run it again to go on")
    if not run.best:
        typer.echo(f"Nothing was measured. Look at sgpo strategies stats --store {store}.")
        return
    mean = sum(run.best) / len(run.best)
    low, high = bootstrap_interval(run.best)
    found = f"95% interval [{low:+.3f}, {high:+.3f}] over problems" if low < high else "the same on every problem"
    typer.echo(
        f"lift of the best candidates: {mean:+.3f}, {found}; the best of several is chosen by the same samples, so "
        "this is optimistic"
    )
    typer.echo(f"candidates dropped, with a lift below 0: {run.dropped}")
    typer.echo(
        f"samples: {run.samples} drawn now, {run.before} before; as many for every candidate would be {run.uniform}"
    )
    typer.echo(f"written into {store}; sgpo strategies export OUT --by lift takes the best")


def run_library(options: LibraryOptions) -> None:
    """Merge, print, and assign where problems are given."""
    from sgpo.data.benchmarks import load_file
    from sgpo.strategies.library import assign, build_library
    from sgpo.strategies.likeness import TfidfIndex, embedding_index

    path, out = options.problems, options.out
    if (path is None) != (out is None):
        raise ValueError("--problems FILE and --out OUT.jsonl go together; one of them is missing.")
    if out is not None and out.suffix != ".jsonl":
        raise ValueError(f"--out {out} must end in .jsonl.")
    if out is not None:
        check_replaces(out, "candidate_id")
    make_prompt = load_template(options.template or "instruct").prompt
    asked = [] if path is None else load_file(path)
    index = TfidfIndex if options.embedding is None else embedding_index(options.embedding)
    with Store(options.store, create=False) as store, progress_of("library") as report:
        found = build_library(store, threshold=options.threshold, by=options.by, index=index, report=report)
        counts: Counter[str] = Counter()
        if out is not None:
            how = {name: getattr(options, name) for name in ("neighbours", "floor")}
            given = assign(found, asked, index=index, make_prompt=make_prompt, counts=counts, report=report, **how)
            rows = list(given)
            if not rows:
                raise ValueError(
                    f"None of the {len(asked)} problems got a strategy ({counted(counts)}). Lower --floor "
                    f"({options.floor:g}), or extract strategies of problems that are more like these."
                )
            out.parent.mkdir(parents=True, exist_ok=True)
            write_rows(out, rows, ascii_only=False)
    if options.as_json:
        typer.echo(json.dumps({"entries": [entry.to_dict() for entry in found], "assigned": dict(counts)}, indent=1))
        return
    typer.echo(f"{sum(len(entry.served) for entry in found)} problems are served by {len(found)} strategies")
    _print_entries(found[: options.top])
    if out is not None:
        others = "; the others are left out" if counts["assigned"] < len(asked) else ""
        typer.echo(f"problems: {counted(counts)}{others}; written: {out}")


def _print_entries(entries: Sequence[Entry]) -> None:
    table = Table(box=None, pad_edge=False, expand=True)  # the texts alone give way in a narrow terminal
    for title in ("serves", "lift", "95% interval", "measured"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("problem type", max_width=20, no_wrap=True)
    table.add_column("strategy", ratio=1, no_wrap=True)
    for entry in entries:
        figures = ["-", "-", "-"]
        if entry.lift is not None:
            figures = [f"{entry.lift:+.2f}", f"[{entry.low:+.2f}, {entry.high:+.2f}]", str(entry.measured)]
        cells = (str(len(entry.served)), *figures, entry.strategy.problem_type, entry.strategy.strategy)
        table.add_row(*(Text(cell.replace("\n", " ")) for cell in cells))
    Console().print(table)
