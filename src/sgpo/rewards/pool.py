"""Worker processes that can be killed: started lazily, replaced when they die, safe under threads and forks.

A caller takes a worker for one item. A worker that died (the kernel's OOM killer takes idle ones, too) is replaced and
its item tried once more, so that only an item that kills two workers, or the deadline, costs a verdict. Waiting for a
worker, and its start-up, do not count against the deadline. Nothing here uses signals, so it works in any thread; a
forked child (a DataLoader worker) drops what it inherited and starts workers of its own.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from dataclasses import dataclass

from sgpo.rewards.process import START_SECONDS, VerifierError, Worker, WorkerDiedError, WorkerTimeoutError
from sgpo.rewards.worker import Judgement, Question

_MAX_ITEMS = 5_000  # then a worker is renewed: sympy's caches grow
_DEATHS = 2  # workers that one item may end before it counts as a crash


@dataclass
class Stats:
    """Counts since the pool was made: items sent to a worker or settled without one, and what befell them.

    `replaced` counts workers that were killed or died, `retried` the items that were given to a second one therefore.
    """

    items: int = 0
    exact: int = 0
    timeouts: int = 0
    crashes: int = 0
    memory: int = 0
    replaced: int = 0
    retried: int = 0
    started: int = 0


class Pool:
    """At most `size` workers of `memory_mb` MiB address space each."""

    def __init__(self, size: int, memory_mb: int) -> None:
        self.size, self.memory_mb = size, memory_mb
        self.pid = os.getpid()
        self.stats = Stats()
        self.workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._changed = threading.Condition()
        self._closed = False

    def count(self, **counts: int) -> None:
        """Add to the statistics."""
        with self._changed:
            for name, value in counts.items():
                setattr(self.stats, name, getattr(self.stats, name) + value)

    def _start(self) -> Worker:
        """Start a worker; the lock is held."""
        worker = Worker(self.memory_mb)
        self.workers.add(worker)
        self.stats.started += 1
        return worker

    def _take(self) -> Worker:
        with self._changed:
            while True:
                if self._closed:
                    raise VerifierError("the verifier's pool is closed: the interpreter is shutting down")
                while self._idle:
                    # Ready ones at the end, where they are taken from: the others still import sympy.
                    self._idle.sort(key=lambda worker: worker.ready)
                    worker = self._idle.pop()
                    if worker.alive():
                        return worker
                    self._end(worker, broken=True)  # killed from outside
                if len(self.workers) < self.size:
                    return self._start()
                self._changed.wait()

    def _end(self, worker: Worker, *, broken: bool) -> None:
        """Kill a worker and forget it. In place of one that broke another starts at once, with its imports."""
        worker.kill()
        with self._changed:
            self.workers.discard(worker)
            if broken and not self._closed:
                self.stats.replaced += 1
                self._idle.append(self._start())
            self._changed.notify()

    def run(self, question: Question, timeout: float) -> tuple[Judgement, float]:
        """One item on one worker, and on a second one where the first died.

        Args:
            timeout: wall seconds from the moment that a ready worker has it.

        Returns:
            The judgement, whose reason is timeout or crash where no worker gave one, and the wall seconds it took.

        Raises:
            VerifierError: no worker can be started.
        """
        seconds, deaths, retried, last = 0.0, 0, 0, time.monotonic() + START_SECONDS
        while True:
            reply, taken, tried = self._run_once(question, timeout)
            seconds += tried
            if reply.reason != "crash":
                break
            deaths += int(taken or time.monotonic() > last)  # who was dead before it had the item says nothing of it
            if deaths == _DEATHS:
                break
            retried = 1
        self.count(items=1, retried=retried, crashes=int(reply.reason == "crash"))
        return reply, seconds

    def _run_once(self, question: Question, timeout: float) -> tuple[Judgement, bool, float]:
        """The judgement of one worker, whether that worker had read the question, and the wall seconds."""
        worker = self._ready()
        broken, started = True, time.monotonic()
        try:
            reply = worker.call(question, timeout)
            broken = False
        except WorkerTimeoutError:
            reply = Judgement(False, "timeout")
        except WorkerDiedError:
            reply = Judgement(False, "crash")
        except (
            BaseException
        ):  # KeyboardInterrupt: the reply may still come, and would be taken for that of the next item
            self._end(worker, broken=True)
            raise
        seconds = time.monotonic() - started
        self.count(timeouts=int(reply.reason == "timeout"), memory=int(reply.reason == "memory"))
        if broken or reply.retire or worker.items >= _MAX_ITEMS:
            self._end(worker, broken=broken)
        else:
            with self._changed:
                self._idle.append(worker)
                self._changed.notify()
        return reply, worker.taken, seconds

    def _ready(self) -> Worker:
        """A worker that has loaded; one that was killed while it did so is replaced, for `START_SECONDS`.

        Raises:
            VerifierError: no worker can be started.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            worker = self._take()
            try:
                worker.await_ready()
            except VerifierError:
                self._end(worker, broken=False)
                if time.monotonic() > deadline or not worker.was_killed():
                    raise
                self.count(replaced=1)
            except BaseException:
                self._end(worker, broken=True)
                raise
            else:
                return worker

    def close(self) -> None:
        """Kill all workers. Idle callers get a VerifierError."""
        with self._changed:
            self._closed = True
            workers, self.workers, self._idle = list(self.workers), set(), []
            self._changed.notify_all()
        for worker in workers:
            worker.kill()

    def abandon(self) -> None:
        """In a forked child: let go of the parent's workers without touching them."""
        for worker in self.workers:
            worker.close()
            worker.process.returncode = 0  # not this process's child: nothing to collect


_pool: Pool | None = None
_pool_lock = threading.Lock()
_settings: dict[str, int] = {}


def _cpus() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def configure(*, workers: int | None = None, memory_mb: int | None = None) -> None:
    """Set the number of workers and the memory limit of each, in MiB; running workers are ended.

    Defaults: SGPO_VERIFY_WORKERS or the number of usable CPUs, at most 8; SGPO_VERIFY_MEMORY_MB or 512.

    Raises:
        ValueError: fewer than one worker, or less memory than sympy needs to load.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    if memory_mb is not None and memory_mb < 128:
        raise ValueError(f"memory_mb is {memory_mb}; sympy alone needs about 100: give at least 128")
    global _pool
    with _pool_lock:
        for name, value in (("workers", workers), ("memory_mb", memory_mb)):
            if value is not None:
                _settings[name] = value
        if _pool is not None and _pool.pid == os.getpid():
            _pool.close()
        _pool = None


def get_pool() -> Pool:
    """The pool of this process, made on first use."""
    global _pool
    with _pool_lock:
        if _pool is None or _pool.pid != os.getpid():
            size = _settings.get("workers") or int(os.environ.get("SGPO_VERIFY_WORKERS", min(_cpus(), 8)))
            memory = _settings.get("memory_mb") or int(os.environ.get("SGPO_VERIFY_MEMORY_MB", 512))
            _pool = Pool(max(1, size), memory)
        return _pool


def _after_fork() -> None:
    global _pool, _pool_lock
    _pool_lock = threading.Lock()
    if _pool is not None:
        _pool.abandon()
        _pool = None


def _at_exit() -> None:
    if _pool is not None and _pool.pid == os.getpid():
        _pool.close()


# A forked child has the pipes of its parent's workers, and would read their replies.
os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
