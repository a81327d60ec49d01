"""Codes as `inverse_transform` takes them: one check for all estimators."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_array


def codes_input(
    codes: Any, n_components: int, *, name: str = "X", dtype: Any = (np.float64, np.float32), sparse: bool = True
) -> Any:
    """Validate codes.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_components)
        The codes.
    n_components : int
        How many numbers a code has.
    name : str, default="X"
        What the caller's parameter is called.
    dtype : dtype or tuple of dtype, default=(float64, float32)
        The types that are kept; others become the first one.
    sparse : bool, default=True
        Whether sparse codes are taken.

    Returns
    -------
    array or CSR matrix of shape (n_samples, n_components)
        The codes.

    Raises
    ------
    ValueError
        If the number of columns is wrong or a code is not finite.
    """
    codes = check_array(codes, dtype=dtype, accept_sparse="csr" if sparse else False, input_name=name)
    if codes.shape[1] != n_components:
        raise ValueError(f"{name} must have {n_components} columns, one a component, got {codes.shape[1]}.")
    return codes
