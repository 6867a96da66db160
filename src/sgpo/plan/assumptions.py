"""What ``sgpo plan`` assumes where no recipe says it; imports nothing heavy."""

from dataclasses import dataclass

from sgpo.options import option


@dataclass(frozen=True)
class Assumptions:
    """Lengths, problems and efficiencies, as options of ``sgpo plan``; ``ValueError`` for one out of its range."""

    prompt_tokens: int = option(256, help="Tokens that a prompt is assumed to have, with its chat template.")
    strategy_tokens: int = option(192, help="Tokens that a strategy is assumed to add to the prompt.")
    mean_completion_tokens: int | None = option(
        None, help="Tokens that a completion is assumed to have on average. Default: half of the longest."
    )
    problems: int | None = option(
        None,
        help="Problems in the training set, where the recipe names no local file. Default: the 5,667 of the paper.",
    )
    mfu: float = option(0.35, help="Share, 0 to 1, of the device's peak arithmetic that training reaches.")
    decode_efficiency: float = option(
        0.5, help="Share, 0 to 1, of the device's memory bandwidth that decoding reaches."
    )

    def __post_init__(self) -> None:
        for name in ("prompt_tokens", "strategy_tokens", "mean_completion_tokens", "problems"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {value}, but must be at least 1.")
        for name in ("mfu", "decode_efficiency"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}, but must be in (0, 1].")
