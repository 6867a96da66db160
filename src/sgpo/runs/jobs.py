"""Jobs side by side in processes of their own, with one progress display."""

import contextlib
import logging
import multiprocessing
import os
import queue
import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from rich.progress import Progress, TaskID

from sgpo.runs.processes import watch_parent
from sgpo.runs.progress import progress

ReportProgress = Callable[[str, float, dict[str, float]], None]
"""Called with a job's name, the share of it that is done, and its latest metrics."""


@dataclass(frozen=True)
class ProcessJob:
    """``function(*args, report)`` in a process; both must be picklable, ``report`` is a :data:`ReportProgress`."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(jobs: Sequence[ProcessJob], processes: int) -> dict[str, Any]:
    """Results of all jobs by name. A job that fails ends the others and raises its error here.

    Whatever else ends this call, a signal or an exception, ends the jobs, too.

    Raises:
        ChildProcessError: a process was ended from outside.
    """
    # Not fork: a child would inherit the threads of torch in whatever state they are, and may hang.
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    # Nothing goes through this pipe. It closes with this process, whatever ends it, and each job then ends itself.
    inherited, lifeline = context.Pipe(duplex=False)
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(progress())
        tasks = {job.name: shown.add_task(job.name, total=1.0, note="waiting") for job in jobs}
        pool = ProcessPoolExecutor(
            min(processes, len(jobs)),
            mp_context=context,
            initializer=_begin,
            initargs=(os.getpid(), inherited, messages),
        )
        stack.enter_context(pool)
        stack.enter_context(lifeline)  # closed first: a pool waits for its running jobs
        try:
            futures = {job.name: pool.submit(_call, job) for job in jobs}
            pool.submit(int)  # the pool watches for the death of those processes that an earlier submission has started
            _watch(futures, messages, shown, tasks)
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "The process of a run was ended from outside; for want of memory, mostly (fewer --jobs need less), or "
                "by somebody's kill. The runs that were finished are kept: the same command goes on with the others."
            ) from error
        pool.shutdown()
        return {name: future.result() for name, future in futures.items()}


def _watch(futures: dict[str, Future[Any]], messages: Any, shown: Progress, tasks: dict[str, TaskID]) -> None:
    waiting = dict(futures)
    while waiting:
        _show_messages(messages, shown, tasks, waiting)
        # `result` raises the error of a job that failed, which ends the block and so the others.
        for name in [n for n, future in waiting.items() if future.done()]:
            waiting.pop(name).result()
            shown.update(tasks[name], completed=1.0)
    _show_messages(messages, shown, tasks, waiting)  # what the last job said; results come by another way


def _show_messages(
    messages: Any, shown: Progress, tasks: dict[str, TaskID], waiting: Mapping[str, Future[Any]]
) -> None:
    """Everything that has come, or comes within half a second: reports of progress, and warnings."""
    timeout = 0.5
    with contextlib.suppress(queue.Empty):
        while True:
            name, done, what = messages.get(timeout=timeout)
            timeout = 0.0
            if isinstance(what, str):
                shown.console.print(f"{name}: {what}", markup=False, highlight=False)
            else:
                note = "  ".join(f"{k} {v:.3f}" for k, v in what.items())
                # A job that has trained may be measured for minutes yet.
                note += "  being measured" * (done >= 1 and name in waiting)
                shown.update(tasks[name], completed=min(done, 0.99) if name in waiting else 1.0, note=note)


_messages: Any = None  # in a process of the pool: the way back to the display


def _begin(parent: int, lifeline: Connection, messages: Any) -> None:
    """The start of a process: it ends with its parent and has one thread; only our warnings reach the display."""
    global _messages
    watch_parent(parent, lifeline)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _messages = messages
    messages.cancel_join_thread()  # what nobody reads any more must not keep this process from its end
    # One thread each: two threads of a small model on a busy machine are slower than one.
    os.environ.update(TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    os.environ.update(TRANSFORMERS_VERBOSITY="error", HF_HUB_DISABLE_PROGRESS_BARS="1")
    os.environ.update(DATASETS_VERBOSITY="error", HF_DATASETS_DISABLE_PROGRESS_BARS="1")
    if torch := sys.modules.get("torch"):  # the caller's main module has imported it: too late for the variables
        torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    # The terminal belongs to the display of the parent; other packages would write across its bars.
    ours = logging.getLogger("sgpo")
    ours.addHandler(_ToDisplay(logging.WARNING))
    ours.setLevel(logging.WARNING)
    ours.propagate = False


class _ToDisplay(logging.Handler):
    """Sends a message to the display, which alone may write to the terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        _messages.put((_job, None, self.format(record)))


_job = ""  # in a process of the pool: the job under way


def _call(job: ProcessJob) -> Any:
    global _job
    _job = job.name
    report: ReportProgress = lambda name, done, metrics: _messages.put((job.name, done, metrics))  # noqa: E731
    return job.function(*job.args, report)
