"""Asks a model many questions and keeps every answer: concurrency, claims, budget, early stops.

Jobs come in portions from an iterator that may read files and verify answers, so they are pulled in a thread, one
portion ahead, and memory does not grow with their number. The first call is made alone: a key that is refused or a
model that is not served costs one request. A call counts when its answer is on the disk; the next one is not kept
waiting for that.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sgpo.data.messages import Messages
from sgpo.models import CallError, Model, Reply, Request, Schema, stream_seed
from sgpo.models.interrupt import Interrupt, cancel_soon
from sgpo.strategies.budget import Budget, is_cut, prompt_bytes, usual_tokens
from sgpo.strategies.parsing import json_alone
from sgpo.strategies.recording import CallWriter
from sgpo.strategies.records import AnsweredCall, Key, Setup
from sgpo.strategies.schema import clean
from sgpo.strategies.store import BEAT, Store
from sgpo.strategies.templates import PromptTemplate

_KEPT_CHARS = 200_000  # of a raw reply
_BLANK = 200  # characters of white space that no text ends in

Read = Callable[["Job", str, str], tuple[str, str | None]]
"""(job, reply, finish) to (outcome, JSON of what was read or None)."""


@dataclass(frozen=True)
class Job:
    """One call to make. ``context`` is for the reader of the reply."""

    key: Key
    messages: Messages
    seed: int
    context: Any = None


@dataclass
class Tally:
    """What a run has done so far.

    Attributes:
        outcomes: answered calls by outcome; "ok" are the useful ones.
        failures: calls without an answer by reason; a later run asks them again.
        before: calls that were answered before this run.
        waiting: calls that another process has under way.
        message: the first failure in words.
        stopped: why the run ended before its end; None if it did not.
        exhausted: it ended at a limit of its budget.
        served: replies by the model that the endpoint says it was.
        blank: replies that fill their limit with white space.
        cut: replies to a prompt that the endpoint seems to have cut (see `sgpo.strategies.budget.is_cut`).
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    before: int = 0
    waiting: int = 0
    message: str = ""
    stopped: str | None = None
    exhausted: bool = False
    served: Counter[str] = field(default_factory=Counter)
    blank: int = 0
    cut: int = 0

    @property
    def finished(self) -> int:
        return self.outcomes.total() + self.failures.total()


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How a model is asked: what `extract`, `rank` and `audit` have in common.

    Attributes:
        model: its name, for the provenance.
        seed: each call's own random stream is made from it.
        limit: problems to take, by id; an extraction takes usable ones, from the beginning.
        retry_unreadable: ask once more where a reply was paid for and nothing of use could be read in it.
        give_up: stop when so many calls have finished and none was of use; and when so many in a row (at least twice
            the concurrency) had no answer.
    """

    store: Store
    client: Model
    model: str
    prompt: PromptTemplate
    seed: int = 0
    limit: int | None = None
    retry_unreadable: bool = False
    budget: Budget = field(default_factory=Budget)
    give_up: int = 20

    def __post_init__(self) -> None:
        if self.give_up < 1:
            raise ValueError(f"--give-up-after {self.give_up} must be at least 1.")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"--limit {self.limit} must be at least 1.")

    def setup(self, kind: str) -> Setup:
        """The identity of what is asked. Its names are those under which sampling has always been stored."""
        sampling, settings = self.client.sampling, self.client.settings()
        drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "max_tokens": sampling.max_new_tokens}
        kept = {name: value for name, value in drawn.items() if name not in settings.get("omit", ())}
        return Setup(kind, self.model, self.prompt.name, self.prompt.sha256, {**kept, **settings, "seed": self.seed})


def ask(
    asking: Asking,
    setup: Setup,
    portions: Callable[[], Iterator[list[Job]]],
    *,
    schema: Schema,
    read: Read,
    report: Callable[[Tally], None],
) -> Tally:
    """Run all jobs of a setup in an event loop of its own; see `Asker`."""
    asking.store.add_setup(setup)
    return asyncio.run(Asker(asking, schema, read, report).run(setup.id, portions))


class Asker:
    """Runs jobs of one setup.

    Args:
        schema: of a reply, for endpoints that can keep to one.
        read: makes the outcome of a reply; it must not raise.
    """

    def __init__(self, asking: Asking, schema: Schema, read: Read, report: Callable[[Tally], None]) -> None:
        self.client, self.store, self.budget = asking.client, asking.store, asking.budget
        self.give_up, self.retry_unreadable = asking.give_up, asking.retry_unreadable
        self.schema, self.read, self.report = schema, read, report
        self.longest = self.client.longest()
        if self.longest is None and self.budget.limited:
            raise ValueError(
                "--omit max_tokens leaves replies without a limit, so that --max-cost and --max-tokens-total could not "
                "hold. Give the endpoint's own field, such as --extra-body '{\"max_completion_tokens\": 4096}'."
            )
        self.tally = Tally()
        self._retry: dict[str, tuple[int, int]] = {}  # calls to make once more, with the tokens that they took before
        self._in_a_row = 0
        self._fault: Exception | None = None
        self._warm = False
        self._first_pass = True
        self._under_way = 0

    async def run(self, setup: str, portions: Callable[[], Iterator[list[Job]]]) -> Tally:
        """Ask until all is answered, failed, or the run stops; ``portions`` gives the jobs afresh for each pass.

        Raises StoreError where the store cannot be written; what was committed before is kept.
        """
        self._retry = self.store.unreadable(setup) if self.retry_unreadable else {}
        await self.client.check()
        self.budget.prompt_tokens = self.budget.completion_tokens = 0.0
        await self._look_at_store(setup)
        beating = asyncio.create_task(self._beat())
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        try:
            with Interrupt(self._interrupted, partial(cancel_soon, loop, task)) as interrupt:
                try:
                    while await self._pass(portions()) and self.tally.stopped is None:
                        await self._wait_for_others(setup)
                finally:
                    if interrupt.given_up:  # a second Ctrl-C ended the pass, which has saved what had come in
                        interrupt.end()
        finally:
            beating.cancel()
            await self.client.close()
        if self.tally.stopped is None and self.tally.finished and not self.tally.outcomes["ok"]:
            self._stop(f"not one of {self.tally.finished} calls was of use")
        await self._look_at_store(setup)
        return self.tally

    async def _look_at_store(self, setup: str) -> None:
        """Let the budget know what all runs have spent, that of another process which is at work among them."""
        began = time.perf_counter()
        spent = await asyncio.to_thread(self.store.totals, setup)
        for name in ("prompt_tokens", "completion_tokens"):  # of what was settled here, the last may not be written yet
            setattr(self.budget, name, max(getattr(self.budget, name), spent[name]))
        # A large store takes a while to sum up, which must stay a small share of the run.
        self._look_again = time.perf_counter() + 20 * (time.perf_counter() - began)

    async def _pass(self, portions: Iterator[list[Job]]) -> int:
        """All jobs once; the number that other processes had claimed."""
        queue: asyncio.Queue[Job | None] = asyncio.Queue(self.client.concurrency)
        depth = 2 * self.client.concurrency
        self._recorder = CallWriter(self.store, depth, written=self._written, failed=self._failed_for_good)
        workers = [asyncio.create_task(self._work(queue)) for _ in range(self.client.concurrency)]
        blocked = 0
        try:
            try:
                blocked = await self._feed(portions, queue)
            except Exception as error:  # the source, or the store; the calls under way still come in
                self._failed_for_good(error)
            for _ in workers:  # the end, for each of them
                await queue.put(None)
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await self._recorder.close()
        if self._fault is not None:
            raise self._fault
        self._first_pass = False
        return blocked

    async def _feed(self, portions: Iterator[list[Job]], queue: asyncio.Queue[Job | None]) -> int:
        blocked = 0
        # One portion ahead: to read and verify the next one takes seconds, in which no call would be made.
        following = asyncio.ensure_future(asyncio.to_thread(self._claimed, portions))
        while (portion := await following) is not None and not self._ended():
            following = asyncio.ensure_future(asyncio.to_thread(self._claimed, portions))
            jobs, elsewhere = portion
            blocked += elsewhere
            for job in jobs:
                if not self._warm:
                    self._warm = True
                    await self._handle(job)
                else:
                    await queue.put(job)
        await following  # the thread is still at work on the portions where the run has stopped
        return blocked

    def _claimed(self, portions: Iterator[list[Job]]) -> tuple[list[Job], int] | None:
        """The jobs of the next portion that are ours to do, and how many are another's; None at the end."""
        # Portions, which may be empty, and not single jobs: a source may hold nothing of use for a million rows, and
        # whoever stops the run would wait for all of them.
        portion = next(portions, None)
        if portion is None:
            return None
        again = self._retry if self._first_pass else {}
        ours, elsewhere = self.store.claim([job.key for job in portion], again)
        # The second pass meets the answers of the first one, too.
        if self._first_pass:
            self.tally.before += len(portion) - len(ours) - elsewhere
        return [job for job in portion if job.key in ours], elsewhere

    async def _work(self, queue: asyncio.Queue[Job | None]) -> None:
        while (job := await queue.get()) is not None:
            await self._handle(job)

    async def _handle(self, job: Job) -> None:
        """One job; never raises but for cancellation, so that calls under way are awaited whatever happens."""
        try:
            if self._ended():
                return
            if self.budget.limited and time.perf_counter() >= self._look_again:
                await self._look_at_store(job.key.setup)
            held = await self.budget.reserve(prompt_bytes(job.messages), self.longest or 0)
            if held is None:
                self.tally.exhausted |= self.tally.stopped is None
                self._stop("the budget is used up; raise --max-tokens-total or --max-cost to go on")
            elif self._ended():
                await self.budget.settle(held)
            else:
                await self._ask(job, held)
        except Exception as error:
            self._failed_for_good(error)

    async def _ask(self, job: Job, held: tuple[float, float]) -> None:
        started = time.perf_counter()
        used = (0, 0)
        self._under_way += 1
        try:
            spent = self._retry.get(job.key.id)  # the same seed could draw the same reply once more
            seed = job.seed if spent is None else stream_seed(job.seed, "again", *spent)
            reply = await self.client.ask(Request(job.key.problem, job.key.number, job.messages, seed, self.schema))
            if reply.finish in ("error", "abort"):
                raise CallError(reply.finish, f"the endpoint ended a reply with {reply.finish!r}: {reply.text[:200]}")
            if reply.served:
                self.tally.served[reply.served] += 1
            self.tally.cut += is_cut(job.messages, reply.prompt_tokens)
            answer = self._answer(job, reply, time.perf_counter() - started)
            used = (answer.prompt_tokens, answer.completion_tokens)
            await self._recorder.put(answer)
        except CallError as error:
            self._failed(error)
        finally:
            self._under_way -= 1
            await self.budget.settle(held, *used)

    def _written(self, answer: AnsweredCall) -> None:
        self.tally.outcomes[answer.outcome] += 1
        self._in_a_row = 0
        self._counted()

    def _counted(self) -> None:
        if self.tally.finished >= self.give_up and not self.tally.outcomes["ok"]:
            self._stop(f"not one of the first {self.tally.finished} calls was of use")
        self.report(self.tally)

    def _answer(self, job: Job, reply: Reply, seconds: float) -> AnsweredCall:
        found = (reply.text.strip() and reply.text) or json_alone(reply.arguments) or json_alone(reply.reasoning)
        text = clean(found)
        self.tally.blank += reply.truncated and len(reply.text) - len(reply.text.rstrip()) > _BLANK
        outcome, parsed = self.read(job, text, "refusal" if reply.finish == "content_filter" else reply.finish)
        said = (reply.text + reply.reasoning).encode("utf-8", "replace")
        counted = reply.prompt_tokens is not None and reply.tokens is not None
        return AnsweredCall(
            job.key,
            outcome,
            text[:_KEPT_CHARS],
            parsed,
            usual_tokens(prompt_bytes(job.messages)) if reply.prompt_tokens is None else reply.prompt_tokens,
            usual_tokens(len(said)) if reply.tokens is None else reply.tokens,
            tokens_estimated=not counted,
            structured=reply.structured,
            seconds=seconds,
        )

    def _failed(self, error: CallError) -> None:
        self.tally.failures[error.reason] += 1
        self.tally.message = self.tally.message or str(error)
        self._in_a_row += 1
        if error.fatal:
            self._stop(str(error))
        self._counted()
        # Where an endpoint restarts, all calls that are under way fail together, which is no reason to give up.
        if self._in_a_row >= max(self.give_up, 2 * self.client.concurrency):
            self._stop(f"{self._in_a_row} calls in a row had no answer, the last one: {error}")

    def _failed_for_good(self, error: Exception) -> None:
        self._fault = self._fault or error

    def _stop(self, why: str) -> None:
        self.tally.stopped = self.tally.stopped or why

    def _ended(self) -> bool:
        return self.tally.stopped is not None or self._fault is not None

    async def _wait_for_others(self, setup: str) -> None:
        """Until no other living process has calls of this setup before it; then another pass takes what is left."""
        pause = 0.2
        while not self._ended():
            self.tally.waiting = await asyncio.to_thread(self.store.claimed_by_others, setup)
            self.report(self.tally)
            if not self.tally.waiting:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5.0)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            with contextlib.suppress(ValueError):  # a store that fails shows where an answer is lost by it
                await asyncio.to_thread(self.store.beat)

    def _interrupted(self) -> str:
        """The first Ctrl-C lets the calls under way, which are paid for, come in; what they are, in words."""
        self._stop("interrupted")
        return f"{self._under_way} calls under way, which are paid for"
