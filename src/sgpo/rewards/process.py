"""One worker process as its parent sees it: start, one request at a time with a deadline, kill."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from typing import Any

from sgpo.rewards.worker import HEADER, Judgement, Question

START_SECONDS = 120.0  # for the interpreter and sympy to load, on a busy machine
STARVED_SHARE = 0.5  # of the deadline in CPU seconds: a worker that got less was waiting for a CPU, not thinking
STARVED_EXTRA = 0.4  # of the deadline: how much longer such a worker may take
_BOOT = (
    "import sys; memory, parent = map(int, sys.argv[1:3]); sys.path[:] = sys.argv[3:]; "
    "from sgpo.runs.processes import watch_parent; watch_parent(parent); "
    "from sgpo.rewards.worker import serve; serve(memory)"
)


class VerifierError(RuntimeError):
    """The verifier itself does not work (a worker cannot start); never a verdict on a response."""


class WorkerTimeoutError(Exception):
    """The deadline passed; the worker must be killed."""


class WorkerDiedError(Exception):
    """The worker is gone."""


class Worker:
    """One process. Not shared: a caller holds it while it works."""

    def __init__(self, memory_mb: int) -> None:
        # The worker finds the same packages as this process, whatever has been put on the path since.
        paths = [path or os.getcwd() for path in sys.path]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, str(memory_mb), str(os.getpid()), *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            # Sets of sympy have one order then, and so a comparison always the same verdict.
            env={**os.environ, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.ready = False
        self.items = 0
        self.taken = True  # False from the sending of a request until the worker says that it has read it
        self._received = b""

    def alive(self) -> bool:
        """Whether the process still runs; one that the kernel's OOM killer took does not."""
        return self.process.poll() is None

    def was_killed(self) -> bool:
        """Whether a signal from outside ended the process (SIGKILL, as the OOM killer sends it).

        Its pipes close a moment before it can be collected, so a process that is ending is waited for.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10.0)
        return self.process.returncode == -signal.SIGKILL

    def await_ready(self) -> None:
        """Wait for the imports. Raises VerifierError where they fail or take over `START_SECONDS`."""
        if self.ready:
            return
        try:
            hello = self._receive(time.monotonic() + START_SECONDS)
        except (WorkerTimeoutError, WorkerDiedError) as error:
            raise VerifierError(
                f"a verifier process did not start ({type(error).__name__}, exit code {self.process.poll()}); "
                f"try: {sys.executable} -m sgpo.rewards.worker 512 < /dev/null"
            ) from error
        if not hello.get("ready"):
            raise VerifierError(f"a verifier process could not import math-verify: {hello.get('error')}")
        self.ready = True

    def call(self, question: Question, timeout: float) -> Judgement:
        """Send one question and wait `timeout` seconds, or `STARVED_EXTRA` longer where the worker got no CPU.

        Raises:
            WorkerTimeoutError: no reply; the worker must be killed.
            WorkerDiedError: the worker is gone; `taken` says whether it had the request, which may have ended it.
        """
        deadline = time.monotonic() + timeout
        spent = self._cpu_seconds()
        data = json.dumps(asdict(replace(question, timeout=timeout))).encode()
        message = memoryview(HEADER.pack(len(data)) + data)
        self.taken = False
        try:
            while message:
                message = message[self.stdin.write(message) or 0 :]
        except OSError as error:
            raise WorkerDiedError from error
        self.items += 1
        try:
            return Judgement(**self._receive(deadline))
        except WorkerTimeoutError:
            # On a machine whose CPUs are all taken an easy answer can wait for its turn longer than the deadline.
            if spent is None or (self._cpu_seconds() or 0.0) - spent > STARVED_SHARE * timeout:
                raise
        return Judgement(**self._receive(time.monotonic() + STARVED_EXTRA * timeout))

    def _cpu_seconds(self) -> float | None:
        """CPU seconds the worker has used; None where /proc does not say."""
        try:
            with open(f"/proc/{self.process.pid}/stat") as handle:
                user, system = handle.read().rpartition(")")[2].split()[11:13]
        except (OSError, ValueError):
            return None
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _receive(self, deadline: float) -> Any:
        """The next frame of the worker, which is a JSON object."""
        # A process that was just killed still takes what is written to its pipe. So the worker sends an empty frame
        # when it has read a request, which tells one that died of its item from one that was dead before.
        while not (size := HEADER.unpack(self._read(HEADER.size, deadline))[0]):
            self.taken, self._received = True, b""
        reply = json.loads(self._read(HEADER.size + size, deadline)[HEADER.size :])
        self._received = b""
        return reply

    def _read(self, size: int, deadline: float) -> bytes:
        """The first `size` bytes of the reply; what has come stays in `_received` when the deadline passes."""
        # Not select: it knows no descriptors above 1,023, which a training has.
        poll = select.poll()
        poll.register(self.stdout.fileno(), select.POLLIN | select.POLLHUP)
        while len(self._received) < size:
            remaining = deadline - time.monotonic()
            if not poll.poll(max(0.0, remaining) * 1000):  # after a pause of the machine, look once more
                raise WorkerTimeoutError
            chunk = os.read(self.stdout.fileno(), size - len(self._received))
            if not chunk:
                raise WorkerDiedError
            self._received += chunk
        return self._received[:size]

    def kill(self) -> None:
        """End the process and collect it."""
        with contextlib.suppress(OSError):
            self.process.kill()
        self.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=10)

    def close(self) -> None:
        """Close the pipes; an idle worker then ends by itself."""
        for stream in (self.stdin, self.stdout):
            with contextlib.suppress(OSError):
                stream.close()
