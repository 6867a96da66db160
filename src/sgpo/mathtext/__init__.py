"""One reader of the quantities in a text: digits, words, fractions, units and formulas to exact values.

Number words are read by text2num and units by a table of our own; docs/strategy-check.md says what else was tried and
what each misreads.
"""
