"""One command compares the methods: the same warm start, prompts, optimizer steps and evaluation for all of them."""
