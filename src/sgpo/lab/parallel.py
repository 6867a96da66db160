"""Lab jobs side by side in processes of their own, with one progress display."""

import logging
import multiprocessing
import os
import queue
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sgpo.lab.experiment import Report


@dataclass(frozen=True)
class Job:
    """``function(*args, report)`` in a process; both must be picklable."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(jobs: Sequence[Job], processes: int) -> dict[str, Any]:
    """Results of all jobs by name. A job that fails stops the others and raises its error here."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, _progress() as progress:
        messages = manager.Queue()
        tasks = {job.name: progress.add_task(job.name, total=1.0, note="waiting") for job in jobs}
        with ProcessPoolExecutor(processes, mp_context=context, initializer=_prepare) as pool:
            futures = {job.name: pool.submit(_call, job, messages) for job in jobs}
            try:
                _watch(futures, messages, progress, tasks)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            return {name: future.result() for name, future in futures.items()}


def _watch(futures: dict[str, Future[Any]], messages: Any, progress: Progress, tasks: dict[str, TaskID]) -> None:
    waiting = dict(futures)
    while waiting:
        try:
            name, done, metrics = messages.get(timeout=0.5)
            progress.update(tasks[name], completed=done, note="  ".join(f"{k} {v:.3f}" for k, v in metrics.items()))
        except queue.Empty:
            pass
        for name in [n for n, future in waiting.items() if future.done()]:
            waiting.pop(name).result()
            progress.update(tasks[name], completed=1.0)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )


def _prepare() -> None:
    """One torch thread a process, and no warnings of libraries between the progress bars."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import torch

    torch.set_num_threads(1)


def _call(job: Job, messages: Any) -> Any:
    report: Report = lambda name, done, metrics: messages.put((job.name, done, metrics))  # noqa: E731
    return job.function(*job.args, report)
