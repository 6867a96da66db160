"""Ctrl-C: the first one lets what is under way come in, and says so; the second one ends the process at once.

At once is after what has come in is saved, and at most `GRACE` seconds later. A third one waits for nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

GRACE = 30.0  # seconds for saving what has come in, after the second Ctrl-C; verdicts under way come before it
_SETTLE = 0.1  # of them for replies that have been received and not yet been read


class Interrupt:
    """Takes Ctrl-C while it is entered.

    One that is entered within another one follows that one. Where another thread than the main one enters it, Ctrl-C is
    left as it was.

    Args:
        waits_for: what is under way, in words; called when Ctrl-C is pressed.
        give_up: begins to end what is under way; whoever gives it calls `end` when all that came in is saved. Without
            it nothing can be waiting to be saved.
    """

    def __init__(self, waits_for: Callable[[], str], give_up: Callable[[], None] | None = None) -> None:
        self._asked = False
        self.given_up = False
        self._give_up = give_up
        self._waits_for = waits_for
        self._before: Any = None
        self._outer: Interrupt | None = None

    @property
    def asked(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._asked if self._outer is None else self._outer.asked

    def __enter__(self) -> Interrupt:
        # One handler at a time: the innermost would else end what the outer one still has to save.
        owner = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
        self._outer = owner if isinstance(owner, Interrupt) else None
        if self._outer is None and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._pressed)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _pressed(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            if self.given_up or self._give_up is None:
                self.end()
            self.given_up = True
            _say("Ctrl-C: saving what has come in. Press it again to end without that.")
            # Saving may hang on a network drive, and the user has asked twice.
            late = threading.Timer(GRACE, self.end)
            late.daemon = True
            late.start()
            self._give_up()
            return
        self._asked = True
        _say(f"Ctrl-C: waiting for {self._waits_for()}. Press it again to end at once; they are then lost.")

    @staticmethod
    def end() -> NoReturn:
        """End the process."""
        if os.isatty(2):
            os.write(2, b"\x1b[?25h")  # a bar has hidden the cursor
        _say("ended; what was saved before is kept.")
        # 130: what shells give for Ctrl-C.
        os._exit(130)  # threads and clean-up could wait for calls for an hour


def cancel_soon(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    """Cancel a task, from another thread or a signal handler, when replies that have been received are read."""
    loop.call_soon_threadsafe(lambda: loop.call_later(_SETTLE, task.cancel))


def _say(text: str) -> None:
    """Write to standard error directly: a print in a signal handler may meet one that is under way."""
    os.write(2, f"\n{text}\n".encode())
