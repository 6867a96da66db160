"""One reader of the quantities in a text: digits, words, fractions, units and formulas to exact values.

docs/strategy-check.md says which libraries for number words and units were tried, and what each misreads.
"""
