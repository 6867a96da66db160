"""Commits answers as they come, those that came in during a commit together in the next one."""

import asyncio
from collections.abc import Callable

from sgpo.strategies.records import AnsweredCall
from sgpo.strategies.store import Store


class CallWriter:
    """Writes to a store in a task of its own, so that no call waits for the disk.

    Args:
        depth: answers that may wait to be committed before `put` waits; it bounds what a kill can cost.
        written: called for each answer that is on the disk.
        failed: called with the error of a commit; later answers are still tried.
    """

    def __init__(
        self, store: Store, depth: int, *, written: Callable[[AnsweredCall], None], failed: Callable[[Exception], None]
    ) -> None:
        self._store, self._written, self._failed = store, written, failed
        self._queue: asyncio.Queue[AnsweredCall | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(depth)
        self._task = asyncio.create_task(self._work())

    async def put(self, answer: AnsweredCall) -> None:
        """Hand an answer over, which nothing can undo, and wait where ``depth`` of them wait already."""
        # Before anything is awaited: a cancelled call must not lose a reply that is paid for.
        self._queue.put_nowait(answer)
        await self._room.acquire()

    async def close(self) -> None:
        """Return when all that was handed over is on the disk, or has failed."""
        await self._queue.put(None)
        await self._task

    async def _work(self) -> None:
        ended = False
        while not ended:
            taken = [await self._queue.get()]
            while not self._queue.empty():
                taken.append(self._queue.get_nowait())
            ended = None in taken
            answers = [answer for answer in taken if answer is not None]
            try:
                if answers:
                    await asyncio.to_thread(self._store.record, answers)
                for answer in answers:
                    self._written(answer)
            except Exception as error:  # of whatever kind: were this task to end, every call would wait for ever
                self._failed(error)
            for _ in answers:
                self._room.release()
