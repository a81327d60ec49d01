"""Anderson extrapolation of a fixed-point iteration such as an epoch of coordinate descent."""

import numpy as np


class Anderson:
    r"""The last iterates of a sequence and the extrapolation to its limit.

    The limit of a linear iteration is approximated by the combination :math:`\sum_i c_i x_{i+1}` with
    :math:`\sum_i c_i = 1` whose combined difference :math:`\|\sum_i c_i (x_{i+1} - x_i)\|` is smallest.

    Parameters
    ----------
    size : int
        The length of an iterate.
    memory : int, default=5
        How many differences are combined.

    References
    ----------
    Q. Bertrand and M. Massias, "Anderson acceleration of coordinate descent", AISTATS 2021, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.anderson import Anderson
    >>> anderson, x = Anderson(1, memory=2), np.array([8.0])
    >>> for _ in range(3):
    ...     limit = anderson.push(x)
    ...     x = 0.5 * x + 1.0
    >>> limit.round(6)
    array([2.])
    """

    def __init__(self, size: int, memory: int = 5):
        self._iterates = np.empty((memory + 1, size))
        self._count = 0

    def push(self, iterate: np.ndarray) -> np.ndarray | None:
        """Add an iterate.

        Parameters
        ----------
        iterate : ndarray of shape (size,)
            The next element of the sequence.

        Returns
        -------
        ndarray of shape (size,) or None
            The extrapolated point once the memory is full (which then starts anew), else None.
        """
        self._iterates[self._count] = iterate
        self._count += 1
        if self._count < len(self._iterates):
            return None
        self._count = 0
        differences = np.diff(self._iterates, axis=0)
        largest = np.abs(differences).max(initial=0.0)
        if not 0.0 < largest < np.inf:
            return None
        differences /= largest  # whose squares could otherwise leave the range of numbers
        gram = differences @ differences.T
        trace = np.trace(gram)
        # The faint ridge keeps nearly parallel differences from cancelling each other.
        weights = np.linalg.solve(gram + 1e-12 * trace * np.eye(len(gram)), np.ones(len(gram)))
        return (weights / weights.sum()) @ self._iterates[1:] if weights.sum() != 0.0 else None
