"""One worker process as its parent sees it: start, one request at a time with a deadline, kill."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from typing import Any

from sgpo.rewards.worker import HEADER

START_SECONDS = 120.0  # for the interpreter and sympy to load, on a busy machine
_BOOT = (
    "import sys; memory = int(sys.argv[1]); sys.path[:] = sys.argv[2:]; "
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
        paths = [path or os.getcwd() for path in sys.path]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, str(memory_mb), *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.ready = False
        self.items = 0

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

    def call(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Send one request and wait `timeout` seconds. Raises WorkerTimeoutError or WorkerDiedError."""
        deadline = time.monotonic() + timeout
        data = json.dumps({**request, "timeout": timeout}).encode()
        try:
            self.stdin.write(HEADER.pack(len(data)) + data)
        except OSError as error:
            raise WorkerDiedError from error
        self.items += 1
        return self._receive(deadline)

    def _receive(self, deadline: float) -> dict[str, Any]:
        header = self._read(HEADER.size, deadline)
        reply: dict[str, Any] = json.loads(self._read(HEADER.unpack(header)[0], deadline))
        return reply

    def _read(self, size: int, deadline: float) -> bytes:
        poll = select.poll()
        poll.register(self.stdout.fileno(), select.POLLIN | select.POLLHUP)
        data = b""
        while len(data) < size:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not poll.poll(remaining * 1000):
                raise WorkerTimeoutError
            chunk = os.read(self.stdout.fileno(), size - len(data))
            if not chunk:
                raise WorkerDiedError
            data += chunk
        return data

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
