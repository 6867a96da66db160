"""Ctrl-C: the first one lets what is under way come in, and says so; the second one ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class Interrupt:
    """Takes Ctrl-C while it is entered.

    One that is entered within another one follows that one. Where another thread than the main one enters it, Ctrl-C is
    left as it was.

    Args:
        waits_for: what is under way, in words; called when Ctrl-C is pressed.
    """

    def __init__(self, waits_for: Callable[[], str]) -> None:
        self._asked = False
        self._waits_for = waits_for
        self._before: Any = None
        self._outer: Interrupt | None = None

    @property
    def asked(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._asked if self._outer is None else self._outer.asked

    def __enter__(self) -> Interrupt:
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
            _say("ended; what was saved before is kept.")
            os._exit(130)  # threads and clean-up could wait for calls for an hour
        self._asked = True
        _say(f"Ctrl-C: waiting for {self._waits_for()}. Press it again to end at once; they are then lost.")


def _say(text: str) -> None:
    """To standard error as it is: a print in a signal handler may meet one that is under way."""
    os.write(2, f"\n{text}\n".encode())
