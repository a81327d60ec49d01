r"""Sparse Bayesian regression by products with a design and its adjoint alone: no covariance is formed on the way.

**Posterior by conjugate gradients.** With :math:`B = I + \Gamma^{1/2} X^H X \Gamma^{1/2} / \sigma^2`, the posterior
mean is :math:`\Gamma^{1/2} B^{-1} \Gamma^{1/2} X^H Y / \sigma^2`, and for a random sign (a random phase)
:math:`\omega_j` of every column and :math:`\epsilon_i` of every row,

.. math:: v = B^{-1} (\omega - \Gamma^{1/2} X^H \epsilon / \sigma)

is the deviation of a posterior sample, in units of the prior: perturb, then optimise. All right-hand sides are solved
together, under the diagonal of B as preconditioner, from the solutions of the iteration before. (The Woodbury form, in
:math:`C = \sigma^2 I + X \Gamma X^H` of the order of the rows, has no such preconditioner: on the cosine transform of
the paper it took eight times the products.)

**Variances by maximum likelihood.** Let :math:`d_j = \gamma_j z_j`, so that the posterior variance is
:math:`\gamma_j (1 - d_j)`. With :math:`s = \omega - v`, the products :math:`\bar\omega_j s_j` have mean :math:`d_j`
and, nearly, variance :math:`d_j (1 - d_j)`. Their average :math:`m_j`, the estimator of Bekas, Kokiopoulou and Saad, is
vague where :math:`d_j` is small and may be negative. The likelihood of the Gaussian law with these moments is largest
at the one root in (0, 1) of

.. math:: 2 d^3 - 2 (1 + \Re m) d^2 + (1 + 2 \overline{|s|^2}) d - \overline{|s|^2} = 0,

which knows :math:`d_j` and :math:`1 - d_j` both to about :math:`\sqrt{2 / K}` of their size from K probes, and is exact
for the probes :math:`\sqrt{n + p}\, e_i`. The probes stay the same throughout, so the iteration is deterministic.

**Iterations** are those of EM for as long as the posterior mean moves: slow as it is in the end, EM keeps all columns
for long and is led to better maxima than faster rules. Once the columns with a relevance above the threshold settle
and are few, :func:`~sparsemodels.solvers.working_set_evidence.ascend_evidence` takes over, exactly: with their Gram
matrix it climbs to the maximum, looks at all columns, and certifies it, free of the noise of the probes. For larger
models the iterations go on with MacKay's rule, which selects, and the certificate remains an estimate.

References
----------
A. Lin, A. H. Song, B. Bilgic and D. Ba, "Covariance-free sparse Bayesian learning", IEEE Transactions on Signal
Processing 70, 2022. G. Papandreou and A. Yuille, "Gaussian sampling by local perturbations", NIPS 23, 2010.
C. Bekas, E. Kokiopoulou and Y. Saad, "An estimator for the diagonal of a matrix", Applied Numerical Mathematics 57,
2007.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse.linalg import LinearOperator

from .conjugate_gradients import conjugate_gradients
from .evidence import EvidencePosterior, EvidenceTerms, Noise, certified_posterior, evidence_violation
from .noise_estimate import updated_noise
from .standardized_design import StandardizedDesign, columns, cross, product
from .working_set_evidence import ascend_evidence

_MEASURED = 20_000  # rows or columns of an operator up to which its norms are measured by as many products
_NORM_PROBES = 64  # beyond that
_EXACT = 2000  # columns whose Gram matrix is worth forming,
_ENTRIES = 50_000_000  # as long as they take no more memory than so many numbers
_STEADY = 0.02  # relative change of the posterior mean in an iteration of EM at which the relevant columns are settled
_ROUGH = 1e-2  # residual of the conjugate gradients while the mean still moves
_MEANS = 0.1  # residual for posterior means, relative to that for samples, of which many are averaged
_LEAST = 1e-13
_NEGLIGIBLE = 1e-12  # prior variance, relative to the largest


class Probes(NamedTuple):
    """The random signs, or phases, by which posterior samples are drawn.

    Attributes
    ----------
    rows : ndarray of shape (n_samples, n_probes)
        For the noise.
    columns : ndarray of shape (n_features, n_probes)
        For the coefficients.
    """

    rows: np.ndarray
    columns: np.ndarray


class SampledPosterior(NamedTuple):
    """What the products with a design tell of the posterior, in units of the prior deviations.

    Attributes
    ----------
    solutions : ndarray of shape (n_active, n_outputs + n_probes)
        Posterior means and deviations of samples: where to start the next time.
    determined : ndarray of shape (n_active,)
        Estimates of the well-determinedness, in (0, 1).
    n_products : int
        Columns that B was applied to.
    """

    solutions: np.ndarray
    determined: np.ndarray
    n_products: int


def draw_probes(shape: tuple[int, int], n_probes: int, random_state: Any, is_complex: bool) -> Probes:
    """Random signs for real data, random phases for complex data.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the design.
    n_probes : int
        How many.
    random_state : numpy.random.Generator or int
        Where they come from.
    is_complex : bool
        Whether the data is complex.

    Returns
    -------
    Probes
        The probes.
    """
    generator = np.random.default_rng(random_state)
    if is_complex:
        drawn = np.exp(2j * np.pi * generator.random((sum(shape), n_probes)))
    else:
        drawn = generator.integers(0, 2, (sum(shape), n_probes)) * 2.0 - 1.0
    return Probes(drawn[: shape[0]], drawn[shape[0] :])


def shares_from_moments(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The root in [0, 1] of the cubic equation above, by Newton's method within brackets.

    Parameters
    ----------
    first : ndarray of shape (n,)
        Means of the real parts of the products of signs and samples.
    second : ndarray of shape (n,)
        Means of the squared magnitudes of the samples.

    Returns
    -------
    ndarray of shape (n,)
        The shares d.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.covariance_free_em import shares_from_moments
    >>> shares_from_moments(np.array([0.3, 0.0]), np.array([0.3, 0.0])).round(12)
    array([0.3, 0. ])
    """
    lower, upper = np.zeros_like(first), np.ones_like(first)
    # At small shares the cubic is nearly linear: start from its root there, which is never negative.
    share = np.minimum(second / (1.0 + 2.0 * second), 1.0)
    for _ in range(100):
        value = ((2.0 * share - 2.0 * (1.0 + first)) * share + (1.0 + 2.0 * second)) * share - second
        slope = (6.0 * share - 4.0 * (1.0 + first)) * share + (1.0 + 2.0 * second)  # >= 0: the cubic is monotone
        lower, upper = np.where(value <= 0.0, share, lower), np.where(value >= 0.0, share, upper)
        new = share - np.divide(value, slope, out=np.zeros_like(value), where=slope > 0.0)
        outside = (new < lower) | (new > upper)
        new[outside] = 0.5 * (lower + upper)[outside]
        done = np.all(np.abs(new - share) <= 1e-14 * new)
        share = new
        if done:
            break
    return share


def sampled_posterior(
    design: StandardizedDesign,
    correlations: np.ndarray,
    active: np.ndarray,
    variances: np.ndarray,
    noise_variance: float,
    probes: Probes,
    images: np.ndarray,
    start: np.ndarray,
    tol: float,
) -> SampledPosterior:
    """The posterior mean of every output and samples, by conjugate gradients.

    Parameters
    ----------
    design : StandardizedDesign
        The design, with the norms of its columns.
    correlations : ndarray of shape (n_active, n_outputs)
        Inner products of the active columns with the targets.
    active : ndarray of int of shape (n_active,)
        Columns of positive prior variance.
    variances : ndarray of shape (n_active,)
        Their prior variances.
    noise_variance : float
        The variance of the noise.
    probes : Probes
        The probes.
    images : ndarray of shape (n_active, n_probes)
        Inner products of the active columns with the probes of the rows.
    start : ndarray of shape (n_active, n_outputs + n_probes)
        Where to start the conjugate gradients.
    tol : float
        The residual to reach for the samples, relative to the right-hand side; for the means at most a tenth of it, and
        the same in absolute terms.

    Returns
    -------
    SampledPosterior
        Solutions and shares.
    """
    root = np.sqrt(variances / noise_variance)[:, None]
    signs = probes.columns[active]
    n_outputs, all_active = correlations.shape[1], len(active) == len(design.norms)

    def apply(block):
        scaled = root * block
        if not all_active:
            scaled, inside = np.zeros((len(design.norms), block.shape[1]), dtype=block.dtype), scaled
            scaled[active] = inside
        image = cross(design, product(design, scaled))
        return block + root * (image if all_active else image[active])

    right = np.concatenate([root * correlations / np.sqrt(noise_variance), signs - root * images], axis=1)
    diagonal = 1.0 + root[:, 0] ** 2
    # Means in these units are of order one whatever the right-hand side: an error of that size would feed on itself.
    size = np.sqrt(np.sum(np.abs(right[:, :n_outputs]) ** 2 / diagonal[:, None], axis=0))
    accuracy = np.full(right.shape[1], tol)
    accuracy[:n_outputs] = np.minimum(_MEANS * tol, tol / np.maximum(size, 1.0))
    found = conjugate_gradients(apply, right, start, diagonal=diagonal, tol=np.maximum(accuracy, _LEAST))
    samples = signs - found.X[:, n_outputs:]
    shares = shares_from_moments(np.mean((signs.conj() * samples).real, axis=1), np.mean(np.abs(samples) ** 2, axis=1))
    tiny = np.finfo(np.float64).eps
    return SampledPosterior(found.X, np.clip(shares, tiny, 1.0 - tiny), found.n_products)


def with_measured_norms(design: StandardizedDesign, random_state: Any = 0) -> StandardizedDesign:
    """The record of an operator with the norms of its columns, infinite for columns of zeros; others as they are.

    Up to 20 000 rows or columns they are measured by as many products. Beyond that they are estimated from 64 random
    phases, to about a tenth, and by one number if they differ by no more than that estimate does by chance.

    Parameters
    ----------
    design : StandardizedDesign
        The design.
    random_state : numpy.random.Generator or int, default=0
        Where the phases come from.

    Returns
    -------
    StandardizedDesign
        The design.
    """
    if not isinstance(design.X, LinearOperator) or np.any(design.norms != 1.0):
        return design
    n_samples, n_features = design.X.shape
    squares = np.zeros(n_features)
    width = max(_ENTRIES // (10 * max(n_samples, n_features)), 1)
    if min(n_samples, n_features) > _MEASURED:
        signs = draw_probes((n_samples, 0), _NORM_PROBES, random_state, False).rows
        squares = np.mean(np.abs(cross(design, signs)) ** 2, axis=1)
        mean = float(squares.mean())
        if np.mean((squares - mean) ** 2) <= 1.5 * (2.0 / _NORM_PROBES) * mean**2:
            squares[:] = mean
    elif n_features <= n_samples:
        for first in range(0, n_features, width):
            part = np.arange(first, min(first + width, n_features))
            block = columns(design, part)
            squares[part] = np.einsum("ij,ij->j", block, block.conj()).real
    else:
        for first in range(0, n_samples, width):
            unit = np.zeros((n_samples, min(width, n_samples - first)))
            unit[first + np.arange(unit.shape[1]), np.arange(unit.shape[1])] = 1.0
            squares += np.sum(np.abs(cross(design, unit)) ** 2, axis=1)
    largest = float(squares.max(initial=0.0))
    return design._replace(norms=np.where(squares > 1e-20 * largest, np.sqrt(squares), np.inf))


def covariance_free_em(
    design: StandardizedDesign,
    Y: np.ndarray,
    noise: Noise,
    *,
    threshold: float = 1.0,
    tol: float = 1e-4,
    max_iter: int = 500,
    n_probes: int = 20,
    cg_tol: float = 1e-6,
    random_state: Any = 0,
    start: tuple[np.ndarray, np.ndarray] | None = None,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
) -> EvidencePosterior:
    """A local maximum of the evidence for designs that are only multiplied with.

    Parameters
    ----------
    design : StandardizedDesign
        The design: dense, sparse or a LinearOperator, real or complex. The norms of the columns of an operator that
        come as ones are measured, see :func:`with_measured_norms`.
    Y : ndarray of shape (n_samples, n_outputs)
        Weighted, centred targets.
    noise : Noise
        What is known of the noise.
    threshold : float, default=1.0
        The relevance that a column needs, measured without itself, to be active.
    tol : float, default=1e-4
        The violation of the optimality conditions to reach.
    max_iter : int, default=500
        The most iterations.
    n_probes : int, default=20
        Posterior samples for the variances; these are known to about the square root of ``2 / n_probes``.
    cg_tol : float, default=1e-6
        The residual of the conjugate gradients once the posterior mean has settled, relative to the right-hand sides.
    random_state : numpy.random.Generator or int, default=0
        Where the probes come from.
    start : tuple of ndarray (active, variances), optional
        Columns and their prior variances from an earlier fit: if they are few, the exact end begins there.
    deadline : float, default=inf
        When to stop, in seconds of ``time.monotonic()``.
    on_iteration : callable, optional
        Called with the number of iterations and the logarithm of the evidence, nan until that is known; stops the fit
        by returning True.

    Returns
    -------
    EvidencePosterior
        The posterior. With at most 2000 active columns (fewer, if they were more than 50 million numbers) it is exact,
        and so are its certificate and evidence. Beyond that `covariance` is the vector of the estimated posterior
        variances, `log_evidence` is nan, and `kkt` is the violation by the estimated terms, whose error for single
        columns is that of the probes: it hardly ever reaches `tol`, and the status tells whether the iteration itself
        has ended, as ``"stalled"``.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse.linalg import aslinearoperator
    >>> from sparsemodels.solvers.covariance_free_em import covariance_free_em
    >>> from sparsemodels.solvers.evidence import Noise
    >>> from sparsemodels.solvers.standardized_design import standardize
    >>> design = standardize(aslinearoperator(2.0 * np.eye(3)), center=False)
    >>> noise = Noise(1.0, False, 0.0, 0.0, 0.0, 3.0)
    >>> posterior = covariance_free_em(design, np.array([[3.0], [0.5], [2.0]]), noise)
    >>> posterior.active, posterior.variances.round(3), posterior.status  # (c^2 - 1) / 4 where positive
    (array([0, 2]), array([2.  , 0.75]), 'converged')
    """
    given, design = design, with_measured_norms(design)
    n_samples, n_features = design.X.shape
    is_complex = np.iscomplexobj(Y) or np.issubdtype(design.X.dtype, np.complexfloating)
    capacity = int(min(_EXACT, max(_ENTRIES // n_samples, 1)))
    run = _Run(design, Y, noise, threshold, tol, cg_tol, capacity)
    if start is not None and len(start[0]) <= capacity:
        active, variances = np.asarray(start[0], dtype=np.intp), np.asarray(start[1], dtype=np.float64)
        scale = design.norms[active] / given.norms[active]
        run.selected, status = (active, variances * scale**2), "settled"
    elif not np.any(Y) or not np.any(np.isfinite(design.norms)):
        run.selected, status = (np.empty(0, dtype=np.intp), np.empty(0)), "settled"
    else:
        probes = draw_probes((n_samples, n_features), n_probes, random_state, is_complex)
        status = run.iterate(probes, max_iter, deadline, on_iteration)
    if run.selected is None:
        return _in_given_units(run.estimate(status), given, design)
    history: list[float] = []
    active, variances = run.selected
    noise = run.noise
    n_iter = run.n_iter
    if status == "settled":
        end = ascend_evidence(
            design, Y, active, variances, noise, threshold=threshold, tol=tol, max_iter=max_iter, capacity=capacity,
            deadline=deadline, on_iteration=on_iteration, log_evidences=history, n_iter=n_iter,
        )  # fmt: skip
        active, variances, noise, n_iter, status = end
    posterior = certified_posterior(design, Y, active, variances, noise, threshold, history, n_iter, status)
    return _in_given_units(posterior, given, design)


class _Run:
    """The iterations by products alone, and where they are."""

    def __init__(self, design, Y, noise, threshold, tol, cg_tol, capacity):
        self.design, self.Y, self.noise, self.threshold = design, Y, noise, threshold
        self.tol, self.cg_tol, self.capacity = tol, cg_tol, capacity
        self.n_iter = 0
        self.selected: tuple[np.ndarray, np.ndarray] | None = None

    def iterate(
        self, probes: Probes, max_iter: int, deadline: float, on_iteration: Callable[[int, float], bool] | None
    ) -> str:
        """Iterate until the relevant columns are settled and few ("settled"), or else for as long as it lasts."""
        design, Y = self.design, self.Y
        n_outputs = Y.shape[1]
        correlations, images = cross(design, Y), cross(design, probes.rows)
        self.active = np.flatnonzero(np.isfinite(design.norms))
        self.variances = np.full(len(self.active), float(np.vdot(Y, Y).real) / (n_outputs * len(self.active)))
        dtype = np.result_type(correlations, images, probes.columns)
        self.solutions = np.zeros((len(self.active), n_outputs + probes.rows.shape[1]), dtype=dtype)
        change, selecting, status, mean = 1.0, False, "max_iter", np.zeros((design.X.shape[1], n_outputs))
        try:
            while self.n_iter < max_iter:
                accuracy = min(_ROUGH, max(self.cg_tol / _MEANS, 0.1 * change))
                self.solutions, self.determined, _ = sampled_posterior(
                    design, correlations[self.active], self.active, self.variances, self.noise.variance, probes,
                    images[self.active], self.solutions, accuracy,
                )  # fmt: skip
                self.n_iter += 1
                scaled_mean = self.solutions[:, :n_outputs]
                self.power = np.mean(np.abs(scaled_mean) ** 2, axis=1)
                before, mean = mean, np.zeros((design.X.shape[1], n_outputs), dtype=dtype)
                mean[self.active] = np.sqrt(self.variances)[:, None] * scaled_mean
                size = float(np.linalg.norm(mean))
                change = float(np.linalg.norm(mean - before)) / size if size > 0.0 else 0.0
                self.residual = Y - product(design, mean)
                alone = self.power / (self.determined * (1.0 - self.determined))
                relevant = alone > self.threshold
                if on_iteration is not None and on_iteration(self.n_iter, np.nan):
                    status = "stopped"
                    break
                if time.monotonic() > deadline:
                    status = "time_limit"
                    break
                selecting = selecting or change <= _STEADY
                if selecting and np.count_nonzero(relevant) <= self.capacity:
                    status = "settled"
                    break
                ratio = self.power / self.determined
                if selecting and float(np.max(np.abs(ratio[relevant] - 1.0))) <= self.tol and relevant.all():
                    status = "stalled"
                    break
                self._update(selecting, ratio, relevant)
        except KeyboardInterrupt:
            status = "interrupted"
            if self.n_iter == 0:
                self.selected = (np.empty(0, dtype=np.intp), np.empty(0))
                return status
            relevant = self.power > self.threshold * self.determined * (1.0 - self.determined)
        self._choose(relevant)
        return status

    def _update(self, selecting: bool, ratio: np.ndarray, relevant: np.ndarray) -> None:
        """The next variances, by EM or, once selecting, by MacKay's rule among the relevant columns."""
        n_outputs, is_complex = self.Y.shape[1], np.iscomplexobj(self.solutions)
        squares = float(np.vdot(self.residual, self.residual).real)
        variance = updated_noise("em", self.noise, squares, float(self.determined.sum()), n_outputs, is_complex)
        new = self.variances * (ratio if selecting else self.power + 1.0 - self.determined)
        keep = (new > _NEGLIGIBLE * new.max()) & (relevant if selecting else True)
        # At once: an interrupt finds either the old state or the new one.
        (self.active, self.variances, self.solutions, self.determined, self.power, self.noise) = (
            self.active[keep], new[keep], self.solutions[keep], self.determined[keep], self.power[keep],
            self.noise._replace(variance=variance),
        )  # fmt: skip

    def _choose(self, relevant: np.ndarray) -> None:
        """The relevant columns, if they are few enough for an exact posterior."""
        if np.count_nonzero(relevant) <= self.capacity:
            self.selected = self.active[relevant], self.variances[relevant]

    def estimate(self, status: str) -> EvidencePosterior:
        """The posterior of many columns, by the estimates."""
        n_outputs = self.Y.shape[1]
        root = np.sqrt(self.variances)[:, None]
        mean = root * self.solutions[:, :n_outputs]
        full = np.zeros((self.design.X.shape[1], n_outputs), dtype=mean.dtype)
        full[self.active] = mean
        s2 = self.noise.variance
        q = cross(self.design, self.Y - product(self.design, full)) / s2
        # Of the columns outside only bounds are at hand: z <= |x|^2 / sigma^2.
        z = np.isfinite(self.design.norms) / s2
        z[self.active] = self.determined / self.variances
        terms = EvidenceTerms(z, q, np.nan, np.nan)
        kkt = evidence_violation(terms, self.active, self.variances, self.threshold)
        return EvidencePosterior(
            self.active, self.variances, mean, self.variances * (1.0 - self.determined), s2, np.nan, np.empty(0), kkt,
            self.n_iter, status,
        )  # fmt: skip


def _in_given_units(
    posterior: EvidencePosterior, given: StandardizedDesign, design: StandardizedDesign
) -> EvidencePosterior:
    """The posterior of the coefficients of the columns as they were given."""
    if given is design:
        return posterior
    scale = given.norms[posterior.active] / design.norms[posterior.active]
    covariance = posterior.covariance * (scale**2 if posterior.covariance.ndim == 1 else np.outer(scale, scale))
    return posterior._replace(
        variances=posterior.variances * scale**2, mean=posterior.mean * scale[:, None], covariance=covariance
    )
