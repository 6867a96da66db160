"""What the store holds: problems, ways of asking (setups), answered calls, candidates with their notes."""

import hashlib
import json
from dataclasses import dataclass, field

from sgpo.data.messages import Messages
from sgpo.runs.files import JsonObject
from sgpo.strategies.schema import Strategy


def digest(*parts: str) -> str:
    """A short stable hash of texts."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:24]


@dataclass(frozen=True)
class Problem:
    """A problem with the strong model's response, as the prompts show it; "" where its strategies were imported.

    Attributes:
        status: "ok", or the reason why it is skipped; skipped ones are kept without their texts.
        digest: of the texts, to notice a source that changed.
        turns: the prompt's messages where it has a system message or several turns; ``problem`` is then the user's
            message, or a transcript of the turns.
        columns: the source's other columns, as JSON types.
    """

    id: str
    problem: str
    answer: str
    response: str
    status: str = "ok"
    digest: str = ""
    turns: Messages | None = None
    columns: JsonObject = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The problem as a strong model is shown it: of several turns what is asked last, behind what was said before.

        Each turn stands between tags, so that a text with "Assistant:" in it cannot pass for another turn.
        """
        said = [turn for turn in self.turns or () if turn["role"] != "system"]
        if len(said) < 2:
            return self.problem
        tagged = [f'<turn role="{turn["role"]}">\n{turn["content"]}\n</turn>' for turn in self.turns or ()]
        return "The last of these turns is the problem; those before it say what it is about.\n" + "\n".join(tagged)


@dataclass(frozen=True)
class Setup:
    """One way of asking: what may change a reply, and nothing that may not (no endpoint, no key, no concurrency).

    Attributes:
        kind: "extract", "rank", "lift" or "audit".
        settings: sampling and whatever else; JSON types.
    """

    kind: str
    model: str
    prompt: str
    prompt_sha256: str
    settings: JsonObject

    @property
    def settings_json(self) -> str:
        return json.dumps(self.settings, sort_keys=True)

    @property
    def id(self) -> str:
        return digest(self.kind, self.model, self.prompt_sha256, self.settings_json)


@dataclass(frozen=True)
class Key:
    """One call of a setup.

    Attributes:
        number: of the candidate, or of the repetition of a ranking, from 0.
        subject: what a ranking is of (the ids of its candidates, hashed), the candidate of an audit or a lift, the text
            of an imported strategy, hashed; empty for an extraction.
    """

    setup: str
    problem: str
    number: int
    subject: str = ""

    @property
    def id(self) -> str:
        return digest(self.setup, self.problem, str(self.number), self.subject)


@dataclass(frozen=True)
class AnsweredCall:
    """A call that was answered.

    Attributes:
        outcome: "ok", or why the reply is of no use (`sgpo.strategies.parsing.REASONS`).
        raw: the reply.
        parsed: JSON of the strategy, or of the scores; None unless ok.
        tokens_estimated: the endpoint did not count, the numbers are from lengths.
        structured: the server was asked to keep to the JSON schema.
        seconds: from request to reply, waits and retries included.
    """

    key: Key
    outcome: str
    raw: str
    parsed: str | None
    prompt_tokens: int
    completion_tokens: int
    tokens_estimated: bool = False
    structured: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """A strategy with its provenance.

    Attributes:
        id: stable: equal for equal problem, setup and number, in any store.
        notes: what later steps found, by their name ("rank", "check", ...); JSON types.
    """

    id: str
    problem: str
    number: int
    strategy: Strategy
    model: str
    prompt: str
    prompt_sha256: str
    notes: dict[str, JsonObject] = field(default_factory=dict)
