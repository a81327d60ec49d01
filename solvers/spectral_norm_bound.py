"""An upper bound of the largest singular value of a matrix, for certificates: never below it."""

import numpy as np
import scipy.linalg

_SMALL = 512  # order up to which all singular values are computed
_SQUARINGS = 3


def spectral_norm_bound(matrix: np.ndarray) -> float:
    r"""The largest singular value of a matrix, or slightly more.

    Of small matrices it is computed. Of large ones the bound is :math:`\|G^{2^k}\|_F^{1 / 2^{k+1}}`, G the smaller Gram
    matrix: a Schatten norm. With the three squarings that are made it is at most :math:`r^{1/32}` times too large for
    rank r, 24 % for 1024 equal singular values and hardly anything where a few of them dominate.

    Parameters
    ----------
    matrix : ndarray of shape (n_rows, n_columns)
        Real or complex.

    Returns
    -------
    float
        The bound.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.spectral_norm_bound import spectral_norm_bound
    >>> spectral_norm_bound(np.diag([3.0, -4.0]))
    4.0
    """
    matrix = np.asarray(matrix, dtype=np.complex128 if np.iscomplexobj(matrix) else np.float64)
    size = float(np.abs(matrix).max(initial=0.0))
    if size == 0.0:
        return 0.0
    scaled = matrix / size
    if min(matrix.shape) <= _SMALL:
        return size * float(scipy.linalg.svdvals(scaled)[0])
    wide = scaled.shape[0] <= scaled.shape[1]
    power = scaled @ scaled.conj().T if wide else scaled.conj().T @ scaled
    logarithm = 0.0  # of the number that was divided out of the power so far
    for _ in range(_SQUARINGS):
        norm = float(np.linalg.norm(power))
        power = power / norm
        logarithm = 2.0 * (logarithm + np.log(norm))
        power = power @ power
    logarithm += np.log(float(np.linalg.norm(power)))
    return size * float(np.exp(logarithm / 2.0 ** (_SQUARINGS + 1)))
