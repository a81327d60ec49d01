r"""The factor structure of a correlation matrix, by thresholding (Kim and Zhou, ICML 2023).

Join two variables where their correlation exceeds a threshold in size. A variable that measures one factor only is
joined to the others that measure this factor and to no more: its closed neighbourhood is a clique, a *maximal* one, and
no other structure has to be searched. Each such clique is a factor. Rows of the graph are bit sets of 64 variables a
word, so that "is the neighbourhood of j a superset" costs a few instructions.
"""

from typing import NamedTuple

import numpy as np

from .kernel import kernel

_CYCLES = 500  # of three steps of the EM algorithm
_SETTLED = 1e-6  # change of the deviance per variable in a cycle: no statistical decision hangs on it
_SMALLEST_UNIQUENESS = 0.005  # at zero a likelihood can be infinite (Heywood cases)


class FactorModel(NamedTuple):
    """A confirmatory factor model of a correlation matrix, by maximum likelihood.

    Attributes
    ----------
    loadings : ndarray of shape (p, k)
        The loadings, zero outside of the structure.
    factor_correlations : ndarray of shape (k, k)
        The correlations of the factors.
    uniquenesses : ndarray of shape (p,)
        The variances that the factors leave.
    deviance : float
        Minus twice the mean log-likelihood of a sample, without the constant: the logarithm of the determinant of the
        model's matrix, plus the trace of its inverse times the correlations.
    n_parameters : int
        Loadings, uniquenesses and correlations of factors.
    n_iter : int
        The steps of the EM algorithm.
    converged : bool
        Whether the last three steps changed the deviance by less than 1e-6 per variable.
    """

    loadings: np.ndarray
    factor_correlations: np.ndarray
    uniquenesses: np.ndarray
    deviance: float
    n_parameters: int
    n_iter: int
    converged: bool


@kernel
def pack_rows(correlation, threshold, bits):
    """The graph of a threshold: bit j of row i says whether the correlation of i and j exceeds it in size, or i == j.

    Parameters
    ----------
    correlation : ndarray of shape (p, p)
        The correlations.
    threshold : float
        The threshold.
    bits : ndarray of shape (p, n_words), uint64
        Overwritten.
    """
    p = correlation.shape[0]
    for i in range(p):
        row = bits[i]
        row[:] = np.uint64(0)
        for j in range(p):
            if i == j or abs(correlation[i, j]) > threshold:
                row[j >> 6] |= np.uint64(1) << np.uint64(j & 63)


@kernel
def bit_count(word):
    """The number of ones in a word of 64 bits."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    # The sum of the bytes; what a multiplication would bring to the top byte, without its overflow.
    word = word + (word >> np.uint64(8))
    word = word + (word >> np.uint64(16))
    return int((word + (word >> np.uint64(32))) & np.uint64(0x7F))


@kernel
def unique_children(bits, min_size, chosen):
    """The variables whose closed neighbourhood is a clique, one for each such clique.

    Parameters
    ----------
    bits : ndarray of shape (p, n_words), uint64
        The rows of the graph.
    min_size : int
        The smallest clique that counts.
    chosen : ndarray of shape (p,), int64
        Overwritten by the variables, in ascending order.

    Returns
    -------
    int
        How many there are.
    """
    p, n_words = bits.shape
    count = 0
    for i in range(p):
        row = bits[i]
        size = 0
        for w in range(n_words):
            size += bit_count(row[w])
        if size < min_size:
            continue
        clique, first = True, True
        for j in range(p):
            if not (row[j >> 6] >> np.uint64(j & 63)) & np.uint64(1):
                continue
            other = bits[j]
            equal = True
            for w in range(n_words):
                if row[w] & other[w] != row[w]:
                    clique = False
                    break
                equal &= row[w] == other[w]
            if not clique:
                break
            if equal and j < i:  # the same clique, seen before
                first = False
                break
        if clique and first:
            chosen[count] = i
            count += 1
    return count


def correlation_factors(correlation: np.ndarray, threshold: float, *, min_size: int = 2) -> np.ndarray:
    r"""The factor structure at one threshold: which variables load on which factors.

    Parameters
    ----------
    correlation : ndarray of shape (p, p)
        The correlations; signs do not matter.
    threshold : float
        Correlations of at most this size count as none.
    min_size : int, default=2
        The smallest number of variables of a factor.

    Returns
    -------
    ndarray of shape (p, n_factors), bool
        The structure, factors ordered by their first variable that loads on no other.

    Notes
    -----
    Takes :math:`O(\sum_i \deg_i \, p / 64)` time at most, and far less where few neighbourhoods are cliques: the test
    of a neighbourhood ends at the first counterexample.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.correlation_thresholding import correlation_factors
    >>> R = np.array([[1.0, 0.6, 0.0], [0.6, 1.0, -0.5], [0.0, -0.5, 1.0]])
    >>> correlation_factors(R, 0.3).astype(int).T
    array([[1, 1, 0],
           [0, 1, 1]])
    """
    p = correlation.shape[0]
    bits = np.empty((p, -(-p // 64)), dtype=np.uint64)
    pack_rows(np.ascontiguousarray(correlation, dtype=np.float64), float(threshold), bits)
    chosen = np.empty(p, dtype=np.int64)
    children = chosen[: unique_children(bits, min_size, chosen)]
    positions = np.arange(p)
    rows = bits[children][:, positions >> 6] >> (positions & 63).astype(np.uint64)
    return np.ascontiguousarray((rows & np.uint64(1)).astype(bool).T)


def candidate_thresholds(correlation: np.ndarray) -> np.ndarray:
    """The thresholds that a path tries: one for every graph up to ten variables, else steps of 0.02.

    Parameters
    ----------
    correlation : ndarray of shape (p, p)
        The correlations.

    Returns
    -------
    ndarray
        Ascending thresholds, each with a graph of its own.
    """
    p = correlation.shape[0]
    sizes = np.sort(np.abs(correlation[np.triu_indices(p, 1)]))
    if p <= 10:
        distinct = np.append(0.0, np.unique(sizes))
        return np.append(0.5 * (distinct[:-1] + distinct[1:]), distinct[-1])
    grid = np.arange(0.0, 1.0, 0.02)
    n_edges = sizes.size - np.searchsorted(sizes, grid, side="right")
    # Graphs of a path are nested: as many edges means the same edges.
    return grid[np.unique(n_edges, return_index=True)[1]][::-1].copy()


def n_parameters(structure: np.ndarray) -> int:
    """Loadings, uniquenesses and correlations of factors; above p (p + 1) / 2 no data can tell them."""
    p, k = structure.shape
    return p + int(structure.sum()) + k * (k - 1) // 2


def confirmatory_factor_model(correlation: np.ndarray, structure: np.ndarray, *, tol: float = 1e-8) -> FactorModel:
    r"""Fit the factor model :math:`R = \Lambda \Phi \Lambda^T + \Psi` with given zeros of :math:`\Lambda`.

    By the EM algorithm, whose steps have a closed form and never lower the likelihood, with the squared extrapolation
    of Varadhan and Roland (2008) wherever it raises the likelihood further. Factors have variance one.

    Parameters
    ----------
    correlation : ndarray of shape (p, p)
        R.
    structure : ndarray of shape (p, k), bool
        Which loadings are free.
    tol : float, default=1e-8
        The change of the deviance per variable in three steps that is small enough.

    Returns
    -------
    FactorModel
        The fit.
    """
    p, k = structure.shape
    if k == 0:
        deviance = float(np.log(np.diag(correlation)).sum()) + p
        return FactorModel(np.zeros((p, 0)), np.zeros((0, 0)), np.diag(correlation).copy(), deviance, p, 0, True)
    loadings = np.where(structure, 0.5 * _orientation(correlation, structure), 0.0)
    psi = np.maximum(np.diag(correlation) - (loadings**2).sum(axis=1), 0.1)
    point = (loadings, np.eye(k), psi)
    previous, change, n_iter = np.inf, np.inf, 0
    while n_iter < 3 * _CYCLES:
        n_iter += 3
        first, _ = _em_step(correlation, structure, point)
        second, _ = _em_step(correlation, structure, first)
        third, deviance = _em_step(correlation, structure, second)
        previous, change = deviance, previous - deviance
        if change <= tol * p:
            break
        leap = _extrapolated(point, first, second)
        point = third
        if leap is not None and _deviance(correlation, leap) < _deviance(correlation, third):
            point = leap
    loadings, phi, psi = second
    return FactorModel(loadings, phi, psi, deviance, n_parameters(structure), n_iter, change <= _SETTLED * p)


_Parameters = tuple[np.ndarray, np.ndarray, np.ndarray]


def _posterior(correlation: np.ndarray, point: _Parameters) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Regression of the factors on the variables, and minus twice the mean log-likelihood, by a k x k system."""
    loadings, phi, psi = point
    scaled = loadings / psi[:, None]
    precision = np.linalg.inv(phi) + loadings.T @ scaled
    regression = np.linalg.solve(precision, scaled.T)
    cross = correlation @ regression.T
    deviance = np.log(psi).sum() + np.linalg.slogdet(phi)[1] + np.linalg.slogdet(precision)[1]
    deviance += (np.diag(correlation) / psi).sum() - (scaled * cross).sum()
    return regression, cross, precision, float(deviance)


def _deviance(correlation: np.ndarray, point: _Parameters) -> float:
    return _posterior(correlation, point)[-1]


def _em_step(correlation: np.ndarray, structure: np.ndarray, point: _Parameters) -> tuple[_Parameters, float]:
    """One step of the EM algorithm, and the deviance before it."""
    regression, cross, precision, deviance = _posterior(correlation, point)
    second = np.linalg.inv(precision) + regression @ cross
    loadings = np.where(structure, cross / np.diag(second), 0.0)  # right where a variable has one factor
    for i in np.flatnonzero(structure.sum(axis=1) > 1):
        support = np.flatnonzero(structure[i])
        loadings[i, support] = np.linalg.solve(second[np.ix_(support, support)], cross[i, support])
    psi = np.maximum(np.diag(correlation) - (loadings * cross).sum(axis=1), _SMALLEST_UNIQUENESS)
    scale = np.sqrt(np.diag(second))
    return (loadings * scale, second / np.outer(scale, scale), psi), deviance


def _extrapolated(start: _Parameters, first: _Parameters, second: _Parameters) -> _Parameters | None:
    """Where a linearly converging sequence of three points is heading, if that is a model."""
    change = [b - a for a, b in zip(start, first)]
    bend = [c - b - d for b, c, d in zip(first, second, change)]
    size, bending = (np.sqrt(sum((part**2).sum() for part in parts)) for parts in (change, bend))
    if not bending > 0.0 or size <= bending:
        return None
    length = size / bending
    loadings, phi, psi = (a + 2.0 * length * d + length**2 * b for a, d, b in zip(start, change, bend))
    if psi.min() < _SMALLEST_UNIQUENESS or np.linalg.eigvalsh(phi)[0] < 1e-6:
        return None
    return loadings, phi, psi


def _orientation(correlation: np.ndarray, structure: np.ndarray) -> np.ndarray:
    """For each factor the signs by which its variables correlate with its best connected one."""
    signs = np.ones(structure.shape)
    for f, column in enumerate(structure.T):
        members = np.flatnonzero(column)
        anchor = members[np.argmax(np.abs(correlation[np.ix_(members, members)]).sum(axis=0))]
        signs[:, f] = np.where(correlation[:, anchor] < 0.0, -1.0, 1.0)
    return signs
