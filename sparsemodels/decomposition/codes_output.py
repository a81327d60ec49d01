"""In what form an estimator returns codes: one rule for all of them."""

from typing import Any

import numpy as np
import scipy.sparse

from sparsemodels._base import returns_frames
from sparsemodels.solvers.sparse_codes import SparseCodes, to_csr, to_dense

_LARGEST_DENSE = 1 << 22  # entries: 32 MB in double precision


def codes_output(estimator: Any, codes: SparseCodes, output: str) -> np.ndarray | scipy.sparse.csr_array:
    """Codes as `transform` returns them.

    Parameters
    ----------
    estimator : estimator
        Whose `transform` it is.
    codes : SparseCodes
        The codes.
    output : {"auto", "csr", "dense"}
        The form. ``"auto"`` is an ndarray of up to four million entries and a CSR array beyond, but always an ndarray
        where ``set_output`` asks for data frames.

    Returns
    -------
    ndarray or csr_array of shape (n_samples, n_components)
        The codes.
    """
    entries = (codes.indptr.size - 1) * codes.n_atoms
    if output == "csr" or (output == "auto" and entries > _LARGEST_DENSE and not returns_frames(estimator)):
        return to_csr(codes)
    return to_dense(codes)
