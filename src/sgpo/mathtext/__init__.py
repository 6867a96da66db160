"""One reader of the quantities in a text: digits, words, fractions, units and formulas to exact values.

Number words are read by text2num and units by pint; docs/strategy-check.md says what was tried beside them and what
each misreads.
"""
