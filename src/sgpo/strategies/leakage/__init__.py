"""What gives an answer or a computation away in a strategy's text: the parts of `sgpo.strategies.check`. Ours."""
