"""From a strong model's responses to strategies that a trainer reads. Everything goes through one file, the store.

Into the store: `sources` reads rows, `ingest` verifies them, `importing` takes strategies that are written already.
`store` keeps problems, calls, candidates and what is noted with them; `records` and `schema` say what these are.

Asking a model: `extract`, `rank` and `audit` make jobs, `asking` asks them and `recording` commits the replies.
`templates` and ``prompts/`` are the questions, `parsing`, `lenient` and `labelled` read the replies, `budget` and
`estimate` count tokens and money.

Judging: `check` (`check_files` for files, the rules in `leakage`) sees leaks, `audit` and `likelihood` blind answers,
`rank` scores, `lift` and `halving` what a strategy does for the student.

Out of the store: `export` and `columns` write data sets, `library` and `likeness` give strategies to other problems.
"""
