"""Make a model smaller, and say on the same page what that cost.

rtn         round to nearest in groups, with its bound; a search for the scale of least error
card        quality before and after, with intervals, limits and a verdict: quality.json
compress    the stage: open, round, write, measure, and refuse what is not good enough

Invariant: no compressed model is ever published without its card, nor one past its limits unless
that was accepted by name (tests/compression/test_compress.py).
Elsewhere: the packed layout on disk (models), the arithmetic on it (kernels), the measuring
(evaluation).
"""
