"""Lasso codes of many signals by least angle regression."""

from .coders import LassoCD
from .lasso_coding import code_by_descent


def code_by_lars(coder, X, dictionary, known=None, n_jobs=None):
    """First version: the same problem by coordinate descent, tightly."""
    return code_by_descent(LassoCD(coder.alpha, coder.positive, 1e-12, 10_000), X, dictionary, known, None, n_jobs)
