"""Ways to a model: transformers in this process, vLLM in this process, an OpenAI-compatible endpoint."""

from sgpo.evaluation.backends.base import Backend, BackendError, Request, Response, Sampling

__all__ = ["Backend", "BackendError", "Request", "Response", "Sampling"]
