"""Many asks under way at once, for a caller that takes replies as they come."""

import asyncio
import queue
import threading
from collections.abc import Iterator, Sequence

from sgpo.models.interrupt import Interrupt, cancel_soon
from sgpo.models.protocol import Answered, CallError, Model, ModelError, Reply, Request


def replies(model: Model, requests: Sequence[Request]) -> Iterator[Answered]:
    """Replies in the order in which they come, each asked for ``model.tries`` times while it is none.

    The asks run in a thread of their own, so they go on while the caller grades a portion. After the first failure, and
    after Ctrl-C, no further request is made; those under way are awaited, for they are paid for.

    Raises:
        ModelError: a request failed, or the run was interrupted; all that was answered has been yielded before.
    """
    # A thread-safe queue between the loop that asks and the caller, which may take seconds to grade a portion.
    came: queue.Queue[tuple[Request, Reply] | BaseException | None] = queue.Queue()
    asking = _Asking(model, requests, came)
    # A daemon: a caller that leaves in the middle must not wait for calls of an hour.
    thread = threading.Thread(target=asking.run, name="sgpo-ask", daemon=True)
    failure: BaseException | None = None
    with Interrupt(asking.under_way, asking.give_up) as interrupt:
        asking.interrupt = interrupt
        thread.start()
        try:
            ended = False
            while not ended:
                taken = [came.get()]
                # All that has come is one portion: it is written to the disk, and synced, once.
                while not came.empty():
                    taken.append(came.get_nowait())
                ended = None in taken
                # The first failure explains the others, which follow from it.
                failure = next((item for item in taken if isinstance(item, BaseException)), failure)
                if portion := [item for item in taken if isinstance(item, tuple)]:
                    yield portion
        finally:
            asking.stopped = True  # the caller may have left in the middle
        if interrupt.given_up:
            interrupt.end()
    thread.join()
    if isinstance(failure, (CallError, ValueError)):
        raise ModelError(
            f"{failure} What was answered is saved: run the same command again to go on."
        ) from None  # the chain could show a request
    if failure is not None:
        raise failure
    if interrupt.asked:
        raise ModelError("stopped by Ctrl-C. What was answered is saved: run the same command again to go on.")


class _Asking:
    """The asks of one run, in an event loop of their own."""

    def __init__(self, model: Model, requests: Sequence[Request], came: queue.Queue) -> None:
        self.model, self.waiting, self.came = model, iter(requests), came
        self.interrupt: Interrupt | None = None
        self.stopped = False
        self.asking = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def give_up(self) -> None:
        """Wait for no reply any more, from another thread."""
        self.stopped = True
        if self._loop is not None and self._task is not None:
            cancel_soon(self._loop, self._task)

    def under_way(self) -> str:
        return f"{self.asking} replies under way, which are paid for"

    def run(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:
            self.came.put(error)
        finally:
            self.came.put(None)

    async def _run(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            await self.model.check()
            await asyncio.gather(*(self._work() for _ in range(self.model.concurrency)))
        finally:
            await self.model.close()

    async def _work(self) -> None:
        while not self._ended() and (request := next(self.waiting, None)) is not None:
            self.asking += 1
            try:
                reply = await self.model.ask(request)
                # Asked again while it is no answer; an empty reply of an endpoint is often chance.
                for _ in range(self.model.tries - 1):
                    if not reply.fault or self._ended():
                        break
                    reply = await self.model.ask(request)
                self.came.put((request, reply))
            except Exception as error:  # of whatever kind: the others still come in
                self.stopped = True
                self.came.put(error)
            finally:
                self.asking -= 1

    def _ended(self) -> bool:
        return self.stopped or (self.interrupt is not None and self.interrupt.asked)
