"""One door to a model: an endpoint, transformers in this process, vLLM in this process.

Whoever wants replies of a model (evaluation, the lab, extraction, ranking, lift, the leak check) uses these names:

`Sampling`, `Request`, `Reply`, `Schema`: what is asked, and what comes back (`sgpo.models.protocol`). `Model`: the
protocol that all ways to a model follow; ``generate`` is for runs that know all they want, ``ask`` for runs that decide
as they go. `ModelOptions` and `open_model`: from options (backend, URL, dtype, ...) to a `Model`. `CallError`: one call
without an answer. `ModelError`: a model that cannot be reached, loaded or asked; the message is for the user.

What is decided here once: how a reply is read (`sgpo.models.replies`), when a request is tried again and how long it
may take (`sgpo.models.endpoint`), where keys may be and that none is shown or stored (`sgpo.models.secrets`), how a
token is drawn from a sample's own stream (`sgpo.models.sampling`), and what Ctrl-C does (`sgpo.models.interrupt`).

Importing this package imports no torch and no HTTP client.
"""

from sgpo.models.options import ModelOptions, open_model
from sgpo.models.protocol import Answered, CallError, Key, Model, ModelError, Reply, Request, Sampling, Schema
from sgpo.models.seeds import check_sampling, row_seeds, stream_seed

__all__ = [
    "Answered",
    "CallError",
    "Key",
    "Model",
    "ModelError",
    "ModelOptions",
    "Reply",
    "Request",
    "Sampling",
    "Schema",
    "check_sampling",
    "open_model",
    "row_seeds",
    "stream_seed",
]
