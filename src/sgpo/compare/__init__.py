"""One command compares the methods: the same start, prompts, optimizer steps and evaluation for all of them."""

from sgpo._callable import make_callable

make_callable(__name__)
