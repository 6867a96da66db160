"""The commands of ``sgpo``, one module each. They import torch only when run, so that ``sgpo --help`` is instant."""
