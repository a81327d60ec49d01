"""Sparse codes of many signals over a fixed dictionary: one call for every coder."""

from functools import singledispatch
from typing import Any

import numpy as np

from .batch_pursuit import pursue
from .coders import IHT, OLS, OMP, Coding, CoSaMP, Dictionary, LassoCD, LassoLARS, TopK
from .compressive_sampling_pursuit import compressive_pursuit
from .hard_thresholding import iterate_hard_thresholding, select_largest
from .lasso_coding import code_by_descent
from .lasso_homotopy import code_by_lars
from .sparse_codes import SparseCodes


@singledispatch
def encode(
    coder: Any,
    X: np.ndarray,
    dictionary: Dictionary,
    *,
    known: np.ndarray | None = None,
    start: SparseCodes | None = None,
    n_jobs: int | None = None,
) -> Coding:
    """Code signals over a dictionary.

    Parameters
    ----------
    coder : OMP, OLS, LassoCD, LassoLARS, IHT, CoSaMP or TopK
        The coder, with its parameters.
    X : ndarray of shape (n_signals, n_features), C order
        The signals, in the precision of the dictionary. Unknown entries must be zero.
    dictionary : Dictionary
        The atoms.
    known : ndarray of shape (n_signals, n_features), bool, optional
        Which entries of the signals are known; all by default. The others never enter arithmetic but as the zeros that
        stand there.
    start : SparseCodes, optional
        Codes to begin at, for the coders that iterate on values (LassoCD).
    n_jobs : int, optional
        Threads over blocks of signals; the answer does not depend on them.

    Returns
    -------
    Coding
        The codes and their certificates.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.coders import OMP, dictionary
    >>> from sparsemodels.solvers.sparse_codes import to_dense
    >>> from sparsemodels.solvers.sparse_coding import encode
    >>> coding = encode(OMP(2), np.array([[3.0, 0.0, -4.0, 1.0]]), dictionary(np.eye(4)))
    >>> to_dense(coding.codes), coding.squared_residual
    (array([[ 3.,  0., -4.,  0.]]), array([1.]))
    """
    raise TypeError(f"not a sparse coder: {type(coder).__name__}")


@encode.register(OMP)
@encode.register(OLS)
def _(coder, X, dictionary, *, known=None, start=None, n_jobs=None):
    return pursue(coder, X, dictionary, known, n_jobs)


@encode.register(LassoCD)
def _(coder, X, dictionary, *, known=None, start=None, n_jobs=None):
    return code_by_descent(coder, X, dictionary, known, start, n_jobs)


@encode.register(LassoLARS)
def _(coder, X, dictionary, *, known=None, start=None, n_jobs=None):
    return code_by_lars(coder, X, dictionary, known, n_jobs)


@encode.register(IHT)
def _(coder, X, dictionary, *, known=None, start=None, n_jobs=None):
    return iterate_hard_thresholding(coder, X, dictionary, known, n_jobs)


@encode.register(CoSaMP)
def _(coder, X, dictionary, *, known=None, start=None, n_jobs=None):
    return compressive_pursuit(coder, X, dictionary, known, n_jobs)


@encode.register(TopK)
def _(coder, X, dictionary, *, known=None, start=None, n_jobs=None):
    return select_largest(coder, X, dictionary, known, n_jobs)
