"""Random regression problems with a sparse coefficient vector that is returned."""

from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.utils import Bunch, check_random_state

_NOISES = ("gaussian", "outliers")
_PATTERNS = ("sign", "normal", "decreasing")
_SUPPORTS = ("random", "evenly_spaced", "first")


def make_sparse_regression(
    n_samples: int = 100,
    n_features: int = 200,
    n_informative: int = 10,
    *,
    correlation: float = 0.0,
    snr: float = 10.0,
    noise: str = "gaussian",
    outlier_fraction: float = 0.1,
    outlier_scale: float = 10.0,
    coef_pattern: str = "sign",
    support: str = "random",
    density: float = 1.0,
    random_state: Any = None,
) -> Bunch:
    r"""Draw a linear model with few nonzero coefficients, and return what was planted.

    .. math::

        y = X w + \varepsilon, \qquad \lVert w \rVert_0 = \text{n\_informative}.

    The rows of `X` are independent, every feature has mean 0 and variance 1, and two features `j` and `k`
    have the correlation
    :math:`\rho^{|j - k|}` (an autoregressive process along the columns).

    Parameters
    ----------
    n_samples : int, default=100
        The number of rows.
    n_features : int, default=200
        The number of columns.
    n_informative : int, default=10
        How many coefficients differ from zero, 0 to `n_features`.
    correlation : float, default=0.0
        The correlation :math:`\rho` of neighbouring features, in (-1, 1). Must be 0 if `density` < 1.
    snr : float, default=10.0
        Signal-to-noise ratio, the variance of :math:`X w` in this sample over the variance of the Gaussian
        noise; ``numpy.inf`` for no noise.
    noise : {"gaussian", "outliers"}, default="gaussian"
        Gaussian noise, or Gaussian noise and gross errors in a few rows.
    outlier_fraction : float, default=0.1
        The share of rows with a gross error, in [0, 1); rounded to a whole number of rows. Used if
        ``noise="outliers"``.
    outlier_scale : float, default=10.0
        The size of a gross error in standard deviations of the signal; its sign is random. Used if
        ``noise="outliers"``.
    coef_pattern : {"sign", "normal", "decreasing"}, default="sign"
        The nonzero coefficients: +1 and -1 at random, standard normal, or of random sign with magnitudes
        falling linearly from 1 to ``1 / n_informative`` along the support.
    support : {"random", "evenly_spaced", "first"}, default="random"
        Which features are informative.
    density : float, default=1.0
        The share of nonzero entries of `X`, in (0, 1]. Below 1, `X` is a SciPy CSC array whose entries are
        normal and scaled to give every feature the variance 1.
    random_state : int, RandomState instance or None, default=None
        The source of randomness; an int for the same problem every time.

    Returns
    -------
    Bunch
        The problem and what was planted:

        X : ndarray (F-ordered) or scipy.sparse.csc_array of shape (n_samples, n_features)
            The design.
        y : ndarray of shape (n_samples,)
            The response.
        coef : ndarray of shape (n_features,)
            The planted coefficients.
        support : ndarray of shape (n_informative,)
            The sorted indices of the nonzero coefficients.
        noise_level : float
            The standard deviation of the Gaussian noise.
        outliers : ndarray
            The sorted rows with a gross error; empty for Gaussian noise.

    Raises
    ------
    ValueError
        If a parameter is outside its range.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.datasets import make_sparse_regression
    >>> problem = make_sparse_regression(50, 30, 3, snr=np.inf, random_state=0)
    >>> problem.X.shape, problem.support.size
    ((50, 30), 3)
    >>> np.allclose(problem.X @ problem.coef, problem.y)
    True
    """
    _check_whole("n_samples", n_samples, 1)
    _check_whole("n_features", n_features, 1)
    _check_whole("n_informative", n_informative, 0, n_features)
    _check_real("correlation", correlation, -1, 1, "must be in (-1, 1)", open_low=True, open_high=True)
    _check_real("snr", snr, 0, np.inf, "must be positive", open_low=True)
    _check_real("outlier_fraction", outlier_fraction, 0, 1, "must be in [0, 1)", open_high=True)
    _check_real("outlier_scale", outlier_scale, 0, np.inf, "must be finite and not negative", open_high=True)
    _check_real("density", density, 0, 1, "must be in (0, 1]", open_low=True)
    for name, value, allowed in (
        ("noise", noise, _NOISES),
        ("coef_pattern", coef_pattern, _PATTERNS),
        ("support", support, _SUPPORTS),
    ):
        if value not in allowed:
            raise ValueError(f"{name}={value!r} is unknown; choose one of {', '.join(map(repr, allowed))}.")
    if density < 1 and correlation != 0:
        raise ValueError(f"correlation={correlation} must be 0 if density={density} is below 1.")
    rng = check_random_state(random_state)

    X = _draw_design(n_samples, n_features, correlation, density, rng)
    if support == "random":
        indices = np.sort(rng.choice(n_features, n_informative, replace=False))
    elif support == "evenly_spaced":
        indices = np.arange(n_informative) * n_features // max(n_informative, 1)
    else:
        indices = np.arange(n_informative)
    if coef_pattern == "normal":
        values = rng.standard_normal(n_informative)
    else:
        values = rng.choice([-1.0, 1.0], n_informative)
        if coef_pattern == "decreasing":
            values *= np.arange(n_informative, 0, -1) / max(n_informative, 1)
    coef = np.zeros(n_features)
    coef[indices] = values

    signal = X @ coef
    spread = float(signal.std())
    # Without a signal there is no ratio: the noise then has unit variance over `snr`, as if the signal had
    # variance 1.
    noise_level = (spread if spread > 0 else 1.0) / np.sqrt(snr)
    y = signal + noise_level * rng.standard_normal(n_samples)
    outliers = np.zeros(0, dtype=np.intp)
    if noise == "outliers":
        n_outliers = round(outlier_fraction * n_samples)
        outliers = np.sort(rng.choice(n_samples, n_outliers, replace=False))
        y[outliers] += outlier_scale * (spread if spread > 0 else 1.0) * rng.choice([-1.0, 1.0], n_outliers)
    return Bunch(X=X, y=y, coef=coef, support=indices, noise_level=float(noise_level), outliers=outliers)


def _draw_design(
    n_samples: int, n_features: int, correlation: float, density: float, rng: np.random.RandomState
) -> Any:
    """Draw features of variance 1: dense with autoregressive columns, or sparse and independent."""
    if density < 1:
        n_cells = n_samples * n_features
        n_stored = max(1, round(density * n_cells))
        if density > 0.1:
            cells = np.sort(rng.permutation(n_cells)[:n_stored])
        else:
            # Distinct cells of the matrix, drawn with replacement and topped up: no array of all cells is
            # made.
            cells = np.unique(rng.randint(0, n_cells, n_stored, dtype=np.int64))
            while cells.size < n_stored:
                extra = rng.randint(0, n_cells, n_stored - cells.size, dtype=np.int64)
                cells = np.union1d(cells, extra)
        columns, rows = np.divmod(cells, n_samples)
        values = rng.standard_normal(n_stored) / np.sqrt(density)
        return scipy.sparse.csc_array((values, (rows, columns)), shape=(n_samples, n_features))
    X = np.empty((n_samples, n_features), order="F")
    innovation = np.sqrt(1 - correlation**2)
    for j in range(n_features):
        X[:, j] = rng.standard_normal(n_samples)
        if j and correlation:
            X[:, j] *= innovation
            X[:, j] += correlation * X[:, j - 1]
    return X


def _check_whole(name: str, value: Any, low: int, high: float = np.inf) -> None:
    """Reject what is not a whole number in [low, high]."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or not low <= int(value) <= high:
        allowed = f"at least {low}" if high == np.inf else f"between {low} and {high}"
        raise ValueError(f"{name}={value!r} must be an integer, {allowed}.")


def _check_real(
    name: str,
    value: Any,
    low: float,
    high: float,
    allowed: str,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Reject what is not a real number in the interval, in the words of `allowed`."""
    inside = isinstance(value, Real) and low <= float(value) <= high
    if not inside or (open_low and value == low) or (open_high and value == high):
        raise ValueError(f"{name}={value!r} {allowed}.")
