"""Ratings of items by users whose tastes and genres are known, of which few are observed."""

from typing import Any

import numpy as np
import scipy.sparse
from sklearn.utils import Bunch, check_random_state

from .sparse_regression import _check_real, _check_whole


def make_ratings(
    n_users: int = 300,
    n_items: int = 200,
    n_components: int = 3,
    *,
    density: float = 0.1,
    test_fraction: float = 0.2,
    popularity_skew: float = 0.7,
    offset_scale: float = 0.0,
    noise_level: float = 0.5,
    n_cold_users: int = 0,
    n_cold_items: int = 0,
    scale: tuple[int, int] | None = (1, 5),
    random_state: Any = None,
) -> Bunch:
    r"""Draw ratings from a nonnegative/binary factorization, and observe few of them.

    Every item belongs to some of `n_components` genres, every user likes each genre to some degree:

    .. math:: x_{ij} = w_i \cdot h_j + a_i + b_j + \varepsilon_{ij}, \qquad w_i \ge 0,\; h_j \in \{0, 1\}^r,

    rounded to a rating scale. Which entries are observed depends on the user's activity and the item's popularity,
    both of which fall like a power of a random rank: most ratings are about few items.

    Parameters
    ----------
    n_users, n_items : int, default=300, 200
        The size of the matrix.
    n_components : int, default=3
        The number of genres.
    density : float, default=0.1
        The share of the entries that are observed, in training and test together, in (0, 1].
    test_fraction : float, default=0.2
        The share of the observed entries that is set aside, in [0, 1).
    popularity_skew : float, default=0.7
        The exponent of the two power laws, >= 0; 0 observes all entries with the same probability.
    offset_scale : float, default=0.0
        The standard deviation of the offsets of users and items.
    noise_level : float, default=0.5
        The standard deviation of the noise.
    n_cold_users, n_cold_items : int, default=0
        Users and items, chosen at random, of which every observed entry belongs to the test set.
    scale : tuple of two int or None, default=(1, 5)
        Ratings are rounded to whole numbers in this range; None leaves them as they are. The mean of ``w @ h`` is six
        tenths up the range, or 3.4 without a scale.
    random_state : int, RandomState instance or None, default=None
        The source of randomness; an int for the same ratings every time.

    Returns
    -------
    Bunch
        The ratings and what was planted:

        data : csr_array of shape (n_users, n_items)
            The training ratings; what is not stored is unknown.
        test_pairs : ndarray of shape (n_test, 2)
            User and item of each test rating.
        test_ratings : ndarray of shape (n_test,)
            The test ratings.
        tastes : ndarray of shape (n_users, n_components)
            The planted W.
        genres : ndarray of shape (n_components, n_items)
            The planted H: zeros and ones, at least one for each item.
        user_offset, item_offset : ndarray of shape (n_users,), (n_items,)
            The planted offsets.
        cold_users, cold_items : ndarray of int
            The sorted users and items without training ratings by construction.

    Raises
    ------
    ValueError
        If a parameter is outside its range.

    Notes
    -----
    All ``n_users * n_items`` entries are drawn before some are observed.

    Examples
    --------
    >>> from sparsemodels.datasets import make_ratings
    >>> problem = make_ratings(n_cold_items=2, random_state=0)
    >>> problem.data.nnz + len(problem.test_ratings)
    6000
    >>> bool(problem.data[:, problem.cold_items].nnz)
    False
    """
    _check_whole("n_users", n_users, 1)
    _check_whole("n_items", n_items, 1)
    _check_whole("n_components", n_components, 1)
    _check_real("density", density, 0, 1, "must be in (0, 1]", open_low=True)
    _check_real("test_fraction", test_fraction, 0, 1, "must be in [0, 1)", open_high=True)
    for name, value in (
        ("popularity_skew", popularity_skew), ("offset_scale", offset_scale), ("noise_level", noise_level),
    ):  # fmt: skip
        _check_real(name, value, 0, np.inf, "must be finite and not negative", open_high=True)
    _check_whole("n_cold_users", n_cold_users, 0, n_users - 1)
    _check_whole("n_cold_items", n_cold_items, 0, n_items - 1)
    if scale is not None:
        try:
            low, high = scale
        except (TypeError, ValueError):
            raise ValueError(f"scale={scale!r} must be a pair of whole numbers or None.") from None
        _check_whole("scale[0]", low, 0)
        _check_whole("scale[1]", high, low + 1)
    random = check_random_state(random_state)

    genres = (random.uniform(size=(n_components, n_items)) < 0.4).astype(np.float64)
    genres[random.randint(n_components, size=n_items), np.arange(n_items)] = 1.0
    tastes = random.gamma(2.0, size=(n_users, n_components))
    tastes *= (3.4 if scale is None else low + 0.6 * (high - low)) / (tastes @ genres).mean()
    signal = tastes @ genres
    user_offset = offset_scale * random.standard_normal(n_users)
    item_offset = offset_scale * random.standard_normal(n_items)
    ratings = signal + user_offset[:, None] + item_offset + noise_level * random.standard_normal(signal.shape)
    if scale is not None:
        ratings = np.clip(np.rint(ratings), low, high)

    activity = (1.0 + random.permutation(n_users)) ** -popularity_skew
    popularity = (1.0 + random.permutation(n_items)) ** -popularity_skew
    n_observed = max(1, round(density * signal.size))
    # Without replacement and with these weights: the smallest exponential waiting times.
    waiting = random.exponential(size=signal.size) / np.outer(activity, popularity).ravel()
    observed = np.sort(np.argpartition(waiting, n_observed - 1)[:n_observed])
    rows, columns = np.divmod(observed, n_items)
    in_test = np.zeros(n_observed, dtype=bool)
    in_test[random.permutation(n_observed)[: round(test_fraction * n_observed)]] = True
    cold_users = np.sort(random.choice(n_users, n_cold_users, replace=False))
    cold_items = np.sort(random.choice(n_items, n_cold_items, replace=False))
    in_test |= np.isin(rows, cold_users) | np.isin(columns, cold_items)
    training = ratings.ravel()[observed[~in_test]], (rows[~in_test], columns[~in_test])
    return Bunch(
        data=scipy.sparse.csr_array(training, shape=signal.shape),
        test_pairs=np.column_stack([rows[in_test], columns[in_test]]),
        test_ratings=ratings.ravel()[observed[in_test]],
        tastes=tastes,
        genres=genres,
        user_offset=user_offset,
        item_offset=item_offset,
        cold_users=cold_users,
        cold_items=cold_items,
    )
