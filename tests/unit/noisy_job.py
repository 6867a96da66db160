"""A job for `run_jobs` that imports nothing heavy: it warns as we do, and as other packages do."""

import logging
import warnings
from typing import Any


def noisy(report: Any) -> int:
    """Warn, report half of the work, and warn again at the end."""
    logging.getLogger("sgpo.trainer.notices").warning("every rollout had the reward %d", 0)
    logging.getLogger("transformers.somewhere").warning("generation flags are not valid")
    warnings.warn("use another name", FutureWarning, stacklevel=1)
    report("noisy", 0.5, {"accuracy": 0.25})
    return 3
