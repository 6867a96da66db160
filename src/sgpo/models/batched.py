"""What models in this process share: replies in batches, to a fixed list of requests or to asks as they come."""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sgpo.data.prompts import Prompt, check_variables
from sgpo.models.dates import date_settings, fix_date
from sgpo.models.folders import Folder, require_chat_template
from sgpo.models.interrupt import Interrupt
from sgpo.models.protocol import Answered, CallError, Key, ModelError, Reply, Request, Sampling, template_settings
from sgpo.runs.files import JsonObject
from sgpo.runs.words import first_line

_GATHER = 0.02  # seconds in which asks may join a batch


class Batched:
    """The part of `sgpo.models.protocol.Model` that needs nothing but `replies`. ``batch_size`` counts replies.

    The protocol says what each method does.
    """

    tries = 1  # a seed draws the same reply again
    positions: int | None = None

    def __init__(
        self, sampling: Sampling, batch_size: int, chat_template_kwargs: Mapping[str, object] | None = None
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size = {batch_size} must be at least 1.")
        self.sampling, self.batch_size, self.concurrency = sampling, batch_size, batch_size
        self.chat_template_kwargs = chat_template_kwargs or {}
        self._waiting: list[tuple[Request, asyncio.Future[Reply]]] = []
        self._busy: asyncio.Task[None] | None = None

    def replies(self, requests: Sequence[Request]) -> list[Reply]:
        """One reply to each request. Raises ValueError for a prompt that does not fit."""
        raise NotImplementedError

    def prompt_lengths(self, prompts: Sequence[Prompt]) -> list[int]:
        """Tokens of each prompt."""
        raise NotImplementedError

    def batches(self, requests: Sequence[Request], answered: Collection[Key]) -> Iterator[list[Request]]:
        """The batches in which ``requests`` are generated; one may hold answered requests, too."""
        missing = [request for request in requests if request.key not in answered]
        for start in range(0, len(missing), self.batch_size):
            yield missing[start : start + self.batch_size]

    def generate(self, requests: Sequence[Request], answered: Collection[Key] = ()) -> Iterator[Answered]:
        with Interrupt(lambda: "the batch under way") as interrupt:
            for batch in self.batches(requests, answered):
                wanted = [request.key not in answered for request in batch]
                if not any(wanted):
                    continue
                # Between batches alone: what is under way is worth minutes of a GPU, and is saved with the others.
                if interrupt.asked:
                    raise ModelError("stopped by Ctrl-C. What was answered is saved: run the same command to go on.")
                pairs = zip(batch, self.replies(batch), wanted, strict=True)
                yield [(request, reply) for request, reply, is_wanted in pairs if is_wanted]

    def fits(self, prompts: Sequence[Prompt]) -> list[bool]:
        if self.positions is None:
            return [True] * len(prompts)
        return [length < self.positions for length in self.prompt_lengths(prompts)]

    def longest(self) -> int | None:
        return self.sampling.max_new_tokens

    async def check(self) -> None:
        """Nothing can be wrong any more: the model is loaded. See `Model.check`."""

    async def close(self) -> None:
        """Nothing has to be closed. See `Model.close`."""

    async def ask(self, request: Request) -> Reply:
        """One reply, as `Model.ask` explains; asks that come together are generated together."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._busy is None or self._busy.done():
            self._busy = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            # Asks of many tasks come within the same turn of the loop; a batch of one would waste the device.
            await asyncio.sleep(_GATHER)
            batch, self._waiting = self._waiting[: self.batch_size], self._waiting[self.batch_size :]
            # In a thread, so that asks can join the next batch while this one is generated.
            outcomes = await asyncio.to_thread(self._outcomes, [request for request, _ in batch])
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, CallError):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)

    def _outcomes(self, requests: list[Request]) -> list[Reply | CallError]:
        try:
            return list(self.replies(requests))
        except ModelError as error:
            return [CallError("model_failed", str(error), fatal=True)] * len(requests)
        except ValueError as error:  # one prompt that is too long does not fail the others
            if len(requests) == 1:
                return [CallError("bad_request", str(error))]
            return [self._outcomes([request])[0] for request in requests]
        except Exception as error:  # out of memory, a broken model: the next batch would end like this one
            hint = " Lower --batch-size or --max-tokens if memory ran out."
            return [CallError("model_failed", f"{first_line(error)}.{hint}", fatal=True)] * len(requests)


class Loaded(Batched):
    """A model of a folder or the hub, loaded with its tokenizer: what transformers and vLLM have in common."""

    backend = ""

    def __init__(
        self,
        tokenizer: Any,
        folder: Folder,
        sampling: Sampling,
        batch_size: int,
        chat_template_kwargs: Mapping[str, object] | None,
    ) -> None:
        super().__init__(sampling, batch_size, chat_template_kwargs)
        self.tokenizer, self.folder = tokenizer, folder
        fix_date(tokenizer)
        check_variables(tokenizer, self.chat_template_kwargs)

    def settings(self) -> JsonObject:
        # The weights of a folder may be others the next time, under the same name; those of the hub have a revision.
        weights = {name: value for name, value in self.folder.describe().items() if value is not None}
        named = {"backend": self.backend, "revision": self.folder.revision, **weights}
        return {**named, **self.template_settings()}

    def template_settings(self) -> JsonObject:
        """What the chat template is given, as settings that are saved."""
        return {**template_settings(self.chat_template_kwargs), **date_settings(self.tokenizer)}

    def prompt_ids(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Token ids of each prompt. Raises ModelError for messages where the tokenizer has no chat template."""
        from sgpo.models.sampling import encode

        require_chat_template(self.tokenizer, prompts, self.folder.name)
        return encode(self.tokenizer, prompts, self.chat_template_kwargs)

    def prompt_lengths(self, prompts: Sequence[Prompt]) -> list[int]:
        return [len(ids) for ids in self.prompt_ids(prompts)]
