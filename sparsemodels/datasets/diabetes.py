"""The diabetes data with all products of two features, a classic of 64 correlated columns."""

from itertools import combinations
from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.utils import Bunch

from .fermentation import _require_pandas

_DESCRIPTION = """\
Diabetes progression with quadratic terms
=========================================

:Samples: 442 patients
:Features: 64: ten baseline measurements (age, sex, body mass index, mean blood pressure, six blood serum
values), the squares
    of nine of them (the square of a two-valued feature says nothing new) and their 45 products. The baseline
    features are standardised before they are multiplied, every column afterwards (mean 0, standard deviation
    1)
:Target: a measure of disease progression one year later, 25 to 346

The columns are strongly correlated, and most of them are noise; the same expansion serves as an example in B.
Efron, T. Hastie, I. Johnstone and R. Tibshirani, "Least angle regression", Annals of Statistics 32 (2004),
the source of the data. The measurements ship with scikit-learn (BSD licence).
"""


def load_diabetes_quadratic(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Load the diabetes data with squares and products of the features, 442 samples of 64 features.

    Parameters
    ----------
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Whether to return pandas objects. Needs pandas.

    Returns
    -------
    Bunch or tuple
        The pair ``(data, target)`` if ``return_X_y=True``, otherwise a Bunch with

        data : ndarray or DataFrame of shape (442, 64)
            Standardised features (mean 0, standard deviation 1), dimensionless, F-ordered.
        target : ndarray or Series of shape (442,)
            Disease progression one year after baseline.
        feature_names : list of str
            Names such as ``"bmi"``, ``"bmi^2"`` and ``"bmi*bp"``.
        target_names : list of str
            ``["progression"]``.
        frame : DataFrame of shape (442, 65)
            `data` and `target` together; None unless ``as_frame=True``.
        DESCR : str
            The description, with source and licence.

    Raises
    ------
    ImportError
        If ``as_frame=True`` and pandas is not installed.

    Examples
    --------
    >>> from sparsemodels.datasets import load_diabetes_quadratic
    >>> X, y = load_diabetes_quadratic(return_X_y=True)
    >>> X.shape
    (442, 64)
    """
    source = load_diabetes(scaled=False)
    names = list(source.feature_names)
    main = _standardise(source.data)
    columns = [main]
    squared = [j for j in range(main.shape[1]) if np.unique(main[:, j]).size > 2]
    columns.append(main[:, squared] ** 2)
    pairs = list(combinations(range(main.shape[1]), 2))
    columns.append(np.column_stack([main[:, j] * main[:, k] for j, k in pairs]))
    data = np.asfortranarray(_standardise(np.hstack(columns)))
    feature_names = names + [f"{names[j]}^2" for j in squared] + [f"{names[j]}*{names[k]}" for j, k in pairs]
    target = source.target
    frame = None
    if as_frame:
        pandas = _require_pandas("load_diabetes_quadratic")
        data = pandas.DataFrame(data, columns=feature_names)
        target = pandas.Series(target, name="progression")
        frame = pandas.concat([data, target], axis=1)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        frame=frame,
        feature_names=feature_names,
        target_names=["progression"],
        DESCR=_DESCRIPTION,
    )


def _standardise(columns: np.ndarray) -> np.ndarray:
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)
