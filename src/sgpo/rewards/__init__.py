r"""The verifier and the rewards on it: math-verify behind processes that can be killed.

`verify(response, gold) -> Verdict`; docs/verifier.md states what counts as the final answer and what as equal.
Importing this package loads neither torch nor sympy.
"""

from sgpo.rewards.files import BadLineError, cli_verify
from sgpo.rewards.golds import check_gold, check_golds
from sgpo.rewards.pool import configure
from sgpo.rewards.process import VerifierError
from sgpo.rewards.reward import accuracy_reward, format_reward
from sgpo.rewards.verifier import DEFAULT_TIMEOUT, Verdict, averify, first_equals, stats, verify, verify_batch

__all__ = [
    "DEFAULT_TIMEOUT",
    "BadLineError",
    "Verdict",
    "VerifierError",
    "accuracy_reward",
    "averify",
    "check_gold",
    "check_golds",
    "cli_verify",
    "configure",
    "first_equals",
    "format_reward",
    "stats",
    "verify",
    "verify_batch",
]
