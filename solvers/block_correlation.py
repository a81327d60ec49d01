r"""Block sparse Bayesian regression with correlated coefficients inside the blocks.

The coefficients of block g have the prior covariance :math:`\gamma_g B_g`, with :math:`B_g` common to all blocks of a
size: given, or that of an autoregressive process of first order, :math:`(B_g)_{ij} = r^{|i - j|}`, with r learned. With
:math:`B_g = L_g L_g^T` the coefficients :math:`u_g = L_g^{-1} w_g` of the whitened columns :math:`X_g L_g` are
independent, of variance :math:`\gamma_g`: groups of :mod:`sparsemodels.solvers.evidence_fixed_point`. Between its
iterations r is improved by EM: with the posterior second moments :math:`M_g = E[w_g w_g^H]`, averaged over outputs,

.. math:: \min_r \; \sum_g d_g \log \mathrm{tr}(B_g(r)^{-1} M_g) + \log|B_g(r)|,

the variances being at their best, :math:`\gamma_g = \mathrm{tr}(B_g^{-1} M_g) / d_g`. For the autoregressive process
:math:`\log|B_g| = (d_g - 1) \log(1 - r^2)` and :math:`B_g^{-1}` is tridiagonal, so that three sums a block are all
that is needed. The evidence never falls.

The correlation is that of the coefficients of *standardized* columns, in the order of the columns: rescaling a column
changes nothing, turning its sign does.

References
----------
Z. Zhang and B. D. Rao, "Extension of SBL algorithms for the recovery of block sparse signals with intra-block
correlation", IEEE Transactions on Signal Processing 61, 2013.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse

from .component_evidence import ComponentEvidence
from .evidence import EvidencePosterior, Noise
from .evidence_fixed_point import component_fixed_point
from .standardized_design import StandardizedDesign, columns, standardize
from .variance_components import ComponentPosterior, Mixture

_LARGEST = 0.99  # magnitude of the correlation
_FIRST, _BETWEEN = 10, 5  # iterations before the first and between later updates of the correlation
_GRID = 45  # correlations that are tried before the best is refined
_FASTEST = 0.9  # rate of EM up to which it is extrapolated


class BlockPosterior(NamedTuple):
    """A local maximum of the evidence of blocks.

    Attributes
    ----------
    posterior : EvidencePosterior
        Of the coefficients of the standardized columns; `kkt` is that of the blocks.
    blocks : ndarray of int of shape (n_active_blocks,)
        Labels of the blocks of positive variance, increasing.
    block_variances : ndarray of shape (n_active_blocks,)
        Their variances.
    correlation : float
        The correlation of neighbours in a block; NaN if a matrix was given.
    correlation_kkt : float
        The magnitude of the derivative of the evidence in the correlation, over the number of pairs of neighbours in
        active blocks: about by how much the correlation is off. Zero if it is not learned.
    """

    posterior: EvidencePosterior
    blocks: np.ndarray
    block_variances: np.ndarray
    correlation: float
    correlation_kkt: float


class _Whitened(NamedTuple):
    """Blocks of independent coefficients; column k of the design belongs to column order[k] of the original."""

    design: StandardizedDesign
    prior: Mixture
    factors: dict  # lower Cholesky factors of B by the size of a block


class _Blocks(NamedTuple):
    order: np.ndarray  # columns, block by block, those that are constant left out
    starts: np.ndarray  # where each block begins in it
    labels: np.ndarray


def block_evidence(
    design: StandardizedDesign,
    Y: np.ndarray,
    noise: Noise,
    *,
    labels: np.ndarray,
    correlation: str | float | np.ndarray = "ar1",
    rule: str = "mackay",
    threshold: float = 1.0,
    tol: float = 1e-4,
    max_iter: int = 500,
    prune_tol: float = 1e-8,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
) -> BlockPosterior:
    r"""Maximize the evidence over the variances of blocks, the correlation inside them and the noise.

    Parameters
    ----------
    design : StandardizedDesign
        The design.
    Y : ndarray of shape (n_samples, n_outputs)
        Weighted, centred targets.
    noise : Noise
        What is known of the noise.
    labels : ndarray of int of shape (n_features,)
        The block of every column; blocks may be of unequal sizes.
    correlation : {"ar1"}, float or ndarray of shape (largest_size, largest_size), default="ar1"
        ``"ar1"`` learns the correlation r of neighbours, at most 0.99 in magnitude; a number in (-1, 1) is that
        correlation, 0 for none; a positive definite matrix is B itself, of which smaller blocks take the leading part.
    rule, threshold, tol, max_iter, prune_tol, deadline, on_iteration : str, float, float, int, float, float, callable
        As in :func:`~sparsemodels.solvers.evidence_fixed_point.evidence_fixed_point`.

    Returns
    -------
    BlockPosterior
        The posterior.

    Notes
    -----
    Memory: a dense array of the whitened columns, n_samples x n_features, also of a sparse design.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.block_correlation import block_evidence
    >>> from sparsemodels.solvers.evidence import Noise
    >>> from sparsemodels.solvers.standardized_design import standardize
    >>> design = standardize(np.eye(6), center=False)
    >>> Y = np.array([[3.0], [2.8], [3.1], [0.2], [-0.1], [0.3]])
    >>> noise = Noise(0.1, False, 0.0, 0.0, 0.0, 6.0)
    >>> solution = block_evidence(design, Y, noise, labels=np.array([0, 0, 0, 1, 1, 1]))
    >>> solution.blocks, bool(solution.correlation > 0.9)
    (array([0]), True)
    """
    blocks = _blocks_of(design, np.asarray(labels))
    learned = isinstance(correlation, str)
    level: Any = correlation if not isinstance(correlation, str) else 0.0
    whitened = _whiten(design, blocks, level)
    history: list[float] = []
    first = _FIRST if learned and threshold <= 1.0 else max_iter

    def fixed_point(whitened, noise, start, limit):
        done = len(history)  # an update of the correlation is an iteration of its own
        return component_fixed_point(
            whitened.design,
            Y,
            noise,
            rule=rule,
            prior=whitened.prior,
            threshold=threshold,
            tol=tol,
            max_iter=min(limit, max_iter - done),
            prune_tol=prune_tol,
            start=start,
            deadline=deadline,
            on_iteration=None if on_iteration is None else lambda n, value: on_iteration(done + n, value),
        )

    inner = fixed_point(whitened, noise, None, first)
    history.extend(inner.posterior.log_evidences)
    status, violation, last_step = inner.posterior.status, 0.0, 0.0
    try:
        while learned:
            moments = _neighbour_moments(inner, whitened, blocks)
            violation = _violation(moments, level)
            if status in ("time_limit", "stopped", "interrupted"):
                break
            if status in ("converged", "stalled") and violation <= tol:
                break
            if len(history) - 1 >= max_iter:
                status = "max_iter"
                break
            if time.monotonic() > deadline:
                status = "time_limit"
                break
            better = _best_correlation(moments)
            step = better - level
            # EM moves along one number at a steady rate: to the limit at once, if the evidence agrees.
            rate = min(max(step / last_step, 0.0), _FASTEST) if last_step != 0.0 else 0.0
            last_step = step
            further = float(np.clip(level + step / (1.0 - rate), -_LARGEST, _LARGEST))
            noise_now = noise._replace(variance=inner.posterior.noise_variance)
            value = inner.posterior.log_evidences[-1]
            candidate = further
            if further != better and _objective_at(further, design, blocks, Y, noise_now, inner, moments) < value:
                candidate, last_step = better, 0.0
            start = (inner.components, _best_variances(moments, candidate))
            trial_whitened = _whiten(design, blocks, candidate)
            trial = fixed_point(trial_whitened, noise_now, start, _BETWEEN)
            # Only now, all at once: an interruption before this leaves the last answer whole.
            level, whitened, inner, status = candidate, trial_whitened, trial, trial.posterior.status
            history.extend(inner.posterior.log_evidences)
    except KeyboardInterrupt:
        status = "interrupted"
    answer = _unwhitened(inner, whitened, blocks, np.array(history), status)
    number = float("nan") if isinstance(level, np.ndarray) else float(level)
    return BlockPosterior(answer, blocks.labels[inner.components], inner.component_variances, number, violation)


def _objective_at(level, design, blocks, Y, noise, inner, moments) -> float:
    """The objective at another correlation, with the best variances of the blocks there."""
    whitened = _whiten(design, blocks, level)
    evidence = ComponentEvidence(whitened.design, Y, whitened.prior)
    gamma = np.zeros(len(blocks.labels))
    gamma[inner.components] = _best_variances(moments, level)
    return evidence.at(gamma, noise).objective


def _blocks_of(design: StandardizedDesign, labels: np.ndarray) -> _Blocks:
    informative = np.flatnonzero(np.isfinite(design.norms))
    order = informative[np.argsort(labels[informative], kind="stable")]
    names, starts = np.unique(labels[order], return_index=True)
    return _Blocks(order, np.append(starts, len(order)), names)


def _factor(level: float | np.ndarray, size: int) -> np.ndarray:
    """The lower Cholesky factor of B for blocks of a size."""
    if isinstance(level, np.ndarray):
        return scipy.linalg.cholesky(level[:size, :size], lower=True)
    exponent = np.subtract.outer(np.arange(size), np.arange(size))
    factor = np.where(exponent >= 0, float(level) ** np.maximum(exponent, 0), 0.0)
    factor[:, 1:] *= np.sqrt(1.0 - level * level)
    return factor


def _whiten(design: StandardizedDesign, blocks: _Blocks, level: float | np.ndarray) -> _Whitened:
    white = columns(design, blocks.order)
    sizes = np.diff(blocks.starts)
    factors = {int(size): _factor(level, int(size)) for size in np.unique(sizes)}
    for start, size in zip(blocks.starts[:-1], sizes, strict=True):
        white[:, start : start + size] = white[:, start : start + size] @ factors[int(size)]
    record = standardize(white, center=False)
    # Columns of norm one with the squares of their norms as shares: the norms stay those of whitening.
    which = np.repeat(np.arange(len(sizes)), sizes)
    squares = np.where(np.isfinite(record.norms), record.norms, 0.0) ** 2
    shares = scipy.sparse.csc_array((squares, (np.arange(len(which)), which)), (len(which), len(sizes)))
    return _Whitened(record, Mixture(shares), factors)


def _block_map(inner: ComponentPosterior, whitened: _Whitened, blocks: _Blocks) -> tuple[np.ndarray, np.ndarray]:
    """The matrix that takes coefficients of whitened unit columns to those of the original ones, and their columns."""
    size = int(np.sum(np.diff(blocks.starts)[inner.components]))
    answer = np.zeros((size, len(inner.posterior.active)))
    rows, position = np.empty(size, dtype=np.intp), 0
    for component in inner.components:
        start, stop = blocks.starts[component], blocks.starts[component + 1]
        here = slice(position, position + stop - start)
        rows[here] = blocks.order[start:stop]
        # A column that whitening made zero takes no part.
        present = np.flatnonzero(np.isfinite(whitened.design.norms[start:stop]))
        at = np.searchsorted(inner.posterior.active, start + present)
        answer[here, at] = whitened.factors[int(stop - start)][:, present] / whitened.design.norms[start + present]
        position = here.stop
    return answer, rows


def _neighbour_moments(
    inner: ComponentPosterior, whitened: _Whitened, blocks: _Blocks
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sizes of the active blocks, and of their second moments the trace, that without both ends, and the sum of
    products of neighbours: what the autoregressive prior sees of a block.
    """
    back, _ = _block_map(inner, whitened, blocks)
    posterior = inner.posterior
    mean, image = back @ posterior.mean, back @ posterior.covariance
    power = np.mean(np.abs(mean) ** 2, axis=1) + np.einsum("ij,ij->i", image, back).real
    beside = np.mean((mean[:-1].conj() * mean[1:]).real, axis=1) + np.einsum("ij,ij->i", image[:-1], back[1:]).real
    sizes = np.diff(blocks.starts)[inner.components]
    first = np.cumsum(sizes) - sizes
    total = np.add.reduceat(power, first) if len(first) else np.empty(0)
    ends = power[first] + np.where(sizes > 1, power[first + sizes - 1], 0.0)
    inside = np.concatenate([[0.0], np.cumsum(beside)])
    return sizes, total, np.maximum(total - ends, 0.0), inside[first + sizes - 1] - inside[first]


def _traces(moments, r):
    """The traces of the inverse of B times the moments."""
    sizes, total, inner, beside = moments
    return np.where(sizes > 1, (total + r * r * inner - 2.0 * r * beside) / (1.0 - r * r), total)


def _best_variances(moments, r):
    return _traces(moments, r) / moments[0]


def _best_correlation(moments) -> float:
    """The minimum of the M-step, to rounding."""
    sizes = moments[0]

    def value(r):
        return float(np.sum(sizes * np.log(_traces(moments, r)) + (sizes - 1) * np.log1p(-r * r)))

    if not np.any(sizes > 1):
        return 0.0
    grid = np.linspace(-_LARGEST, _LARGEST, _GRID)  # there may be several minima
    best = int(np.argmin([value(r) for r in grid]))
    around = (grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)])
    inside = scipy.optimize.minimize_scalar(value, bounds=around, method="bounded", options={"xatol": 1e-9}).x
    # The search never returns an end of its interval: without this, EM would creep towards the largest correlation.
    return float(min((inside, *around), key=value))


def _violation(moments, r) -> float:
    """The derivative of the M-step, times 1 - r^2, at the current correlation and the best variances."""
    sizes, _, inner, beside = moments
    pairs = float(np.sum(sizes - 1))
    if pairs == 0.0:
        return 0.0
    traces, wide = _traces(moments, r), sizes > 1
    slope = (2.0 * r * inner - 2.0 * beside + 2.0 * r * traces)[wide]  # of the traces, times 1 - r^2
    slope = float(np.sum(sizes[wide] * slope / traces[wide])) - 2.0 * r * pairs
    if (r >= _LARGEST and slope < 0.0) or (r <= -_LARGEST and slope > 0.0):
        return 0.0
    return abs(slope) / (2.0 * pairs)


def _unwhitened(
    inner: ComponentPosterior, whitened: _Whitened, blocks: _Blocks, history: np.ndarray, status: str
) -> EvidencePosterior:
    posterior = inner.posterior
    back, rows = _block_map(inner, whitened, blocks)
    sizes = np.diff(blocks.starts)[inner.components]
    within = np.concatenate([np.sum(whitened.factors[int(size)] ** 2, axis=1) for size in sizes] or [np.empty(0)])
    order = np.argsort(rows)
    back = back[order]
    return posterior._replace(
        active=rows[order],
        variances=(np.repeat(inner.component_variances, sizes) * within)[order],
        mean=back @ posterior.mean,
        covariance=back @ posterior.covariance @ back.T,
        log_evidences=history,
        n_iter=max(len(history) - 1, 0),
        status=status,
    )
