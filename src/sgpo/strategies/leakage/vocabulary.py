"""Word lists of the leak check."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Answers in words that mathematics uses all the time: they state the answer only as a predicate.
COMMON_WORDS = _words(
    """
    yes no true false odd even neither both none positive negative increasing decreasing convergent divergent prime
    composite rational irrational circle ellipse parabola hyperbola line triangle square rectangle rhombus trapezoid
    isosceles scalene equilateral right acute obtuse zero equal greater less linear quadratic finite infinite red
    blue green black white heads tails left maximum minimum converges diverges impossible possible undefined
    continuous perpendicular parallel similar congruent cube sphere cone cylinder infinity never always sometimes
    """
)
# What general steps count: `2 cases`, `3 sides`.
GENERIC_NOUNS = _words(
    """
    case step unknown variable equation side part digit term factor point dimension type kind condition set leg
    angle vertex vertice number quantity value expression inequality congruence operation root solution group class
    category way method stage phase triangle circle integer event draw choice option possibility function parameter
    degree time half formula identity prime element piece line row column constraint people person item figure limit
    endpoint bound sum product power exponent sign law rule clue fact relation edge face place decimal
    """
)
# Words of a question that do not say what is asked for.
QUESTION_WORDS = _words(
    """
    the and for what find how many which with that are was were does its from each when where then than this there
    all possible let give compute determine evaluate calculate have has can will following given number if integer
    positive real divided first two three four one into value exactly different such between least most function
    equal same total
    """
)
# Words that look like a product of variables.
SHORT_WORDS = _words(
    """
    is of to in by or at if an as on we it be do so no up km cm mm kg ml ft lb oz hr min sec am pm th st nd rd the
    and for per its not mod gcd lcm log one out add sum use all any are can has how let may now set two via way you
    """
)
# Commands that are letters.
GREEK = _words(
    """
    alpha beta gamma theta phi omega lambda mu sigma delta rho epsilon varphi tau Delta infty
    """
)
