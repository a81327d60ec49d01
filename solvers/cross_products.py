"""Inner products of all columns of a design with the few that matter, computed once, many at a time."""

import numpy as np

from .standardized_design import StandardizedDesign, columns, cross

_CAP = 50_000_000  # entries that may be kept of columns that are not in use any more


class CrossProducts:
    """A cache of columns of the Gram matrix of a standardized design.

    Parameters
    ----------
    design : StandardizedDesign
        The design.
    dtype : dtype
        Of the products.

    Notes
    -----
    Memory: n_features numbers for each column that was asked for; once there are more than 50 million, those that are
    not in use are dropped. Up to twice that while the cache grows.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.cross_products import CrossProducts
    >>> from sparsemodels.solvers.standardized_design import standardize
    >>> CrossProducts(standardize(np.eye(3), center=False), np.float64).of(np.array([1]))
    array([[0.],
           [1.],
           [0.]])
    """

    def __init__(self, design: StandardizedDesign, dtype: np.dtype):
        self._design = design
        self._products = np.empty((design.norms.size, 0), dtype=dtype, order="F")
        self._slot: dict[int, int] = {}

    def of(self, indices: np.ndarray) -> np.ndarray:
        """Inner products of all columns with some.

        Parameters
        ----------
        indices : ndarray of int of shape (n_columns,)
            Which.

        Returns
        -------
        ndarray of shape (n_features, n_columns)
            The products, in Fortran order: a copy.
        """
        wanted = [int(j) for j in indices]
        new = [j for j in wanted if j not in self._slot]
        if new:
            self._make_room(wanted, len(new))
            used = len(self._slot)
            fresh = cross(self._design, columns(self._design, np.array(new, dtype=np.intp)))
            self._products[:, used : used + len(new)] = fresh
            self._slot.update({j: used + k for k, j in enumerate(new)})
        answer = np.empty((self._products.shape[0], len(wanted)), dtype=self._products.dtype, order="F")
        for k, j in enumerate(wanted):
            answer[:, k] = self._products[:, self._slot[j]]
        return answer

    def _make_room(self, wanted, count):
        n_features = self._products.shape[0]
        kept = list(self._slot)
        if (len(kept) + count) * n_features > _CAP:
            kept = [j for j in kept if j in set(wanted)]
        if len(kept) == len(self._slot) and len(kept) + count <= self._products.shape[1]:
            return
        grown = np.empty((n_features, max(len(kept) + count, len(kept) * 3 // 2)), self._products.dtype, order="F")
        for k, j in enumerate(kept):
            grown[:, k] = self._products[:, self._slot[j]]
        self._products, self._slot = grown, {j: k for k, j in enumerate(kept)}
