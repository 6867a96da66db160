"""One reader of the quantities in a text: digits, words, fractions, units and formulas to exact values.

docs/log.md says which libraries for number words and units were tried, and what each misreads.
"""
