"""One reader of the quantities in a text: digits, words, fractions, units and formulas to exact values.

Number words are read by text2num and units by pint, which were tried side by side with number-parser; docs/strategy-check.md says what each misreads.
"""
