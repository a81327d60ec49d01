r"""Second-order ascent of the evidence on a working set of columns, which all others may join.

With :math:`D = \Gamma^{1/2} X^H C^{-1} X \Gamma^{1/2}` and :math:`h = \Gamma^{1/2} X^H C^{-1} Y` on the working set,
the cost :math:`F = \log |C| + \overline{y^H C^{-1} y}` has in the logarithms of the prior variances the derivatives

.. math:: g_j = D_{jj} - \overline{|h_j|^2}, \qquad
          H_{jk} = 2 \overline{\Re(\bar h_j D_{jk} h_k)} - |D_{jk}|^2 + \delta_{jk} g_j.

A step costs a few products of the order of the working set and ends with digits doubling, where the classical fixed
points gain a constant factor. A ridge on the Hessian, in units of the diagonal of D, grows where the cost is not convex
or a step would lower the evidence; the last resort is the geometric mean of the old variances and MacKay's, which
never does. A column leaves once it does best at zero; the columns outside enter where the evidence rises with their
variance. Noise is learned along with the variances.

With a threshold each column is charged what it must gain at least, so that entering and leaving climb one function.

References
----------
M. E. Tipping and A. C. Faul, "Fast marginal likelihood maximisation for sparse Bayesian models", AISTATS 2003, for the
conditions of one column. D. Wipf and S. Nagarajan, "Iterative reweighted l1 and l2 methods for finding sparse
solutions", IEEE Journal of Selected Topics in Signal Processing 4, 2010, for the monotone step.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.linalg

from .evidence import Noise, log_evidence, posterior_factor, triangular_inverse
from .noise_estimate import log_noise_prior, noise_violation, updated_noise
from .standardized_design import StandardizedDesign, columns, cross, squared_norms

_BLOCK = 10_000_000  # entries of a block of products with all columns
_LONGEST = 3.0  # change of the logarithm of a variance in one step
_SMALLEST_RIDGE = 1e-10  # on the Hessian, relative to the well-determinedness of each column
_LARGEST_RIDGE = 1e3
_WEAK = 0.02  # well-determinedness below which a column is moved by itself
_TRIALS = 4  # ridges to try at a point before the step that always ascends
_ROUNDING = 1e-12  # relative differences of the evidence below this are not told apart
_LOOSE = 0.1  # violation within the working set at which the columns outside are first looked at
_FAINT = 1e-10  # share of a column outside the span of the active ones, below which it is a copy of them
_PATIENCE = 5  # iterations that gain nothing
_SAFE = 0.8  # of the tolerance: the certificate is computed anew, with other rounding
_FEW = 20  # columns that may always enter together


class WorkingSet(NamedTuple):
    """Columns with their variances, and the evidence there.

    Attributes
    ----------
    active : ndarray of int of shape (n_active,)
        The columns.
    X : ndarray of shape (n_samples, n_active)
        The columns themselves.
    gram : ndarray of shape (n_active, n_active)
        Their Gram matrix.
    correlations : ndarray of shape (n_active, n_outputs)
        Their inner products with the targets.
    variances : ndarray of shape (n_active,)
        Prior variances, > 0.
    noise : Noise
        With the variance at this point.
    inverse : ndarray of shape (n_active, n_active)
        Posterior covariance in units of the prior, :math:`I - D`.
    scaled_mean : ndarray of shape (n_active, n_outputs)
        Posterior means in units of the prior deviation, h.
    log_determinant : float
        Of the covariance of the targets, over its noise variance.
    log_evidence : float
        The logarithm of the evidence.
    merit : float
        The same, plus the logarithm of the prior of the noise, less what the threshold charges for each column.
    """

    active: np.ndarray
    X: np.ndarray
    gram: np.ndarray
    correlations: np.ndarray
    variances: np.ndarray
    noise: Noise
    inverse: np.ndarray
    scaled_mean: np.ndarray
    log_determinant: float
    log_evidence: float
    merit: float

    @property
    def determined(self) -> np.ndarray:
        """Well-determinedness of each column, the diagonal of D: zero for the prior, one for the data."""
        return np.maximum(1.0 - np.diag(self.inverse).real, np.finfo(np.float64).eps)

    @property
    def power(self) -> np.ndarray:
        """Squared magnitude of the scaled means, averaged over outputs."""
        return np.mean(np.abs(self.scaled_mean) ** 2, axis=1)

    @property
    def mean(self) -> np.ndarray:
        """Posterior means."""
        return np.sqrt(self.variances)[:, None] * self.scaled_mean


class Ascent(NamedTuple):
    """Where an ascent of the evidence ended.

    Attributes
    ----------
    active : ndarray of int of shape (n_active,)
        Columns of positive prior variance.
    variances : ndarray of shape (n_active,)
        Their prior variances.
    noise : Noise
        With the final variance.
    n_iter : int
        Iterations.
    status : str
        As in :class:`~sparsemodels.solvers.evidence.EvidencePosterior`.
    """

    active: np.ndarray
    variances: np.ndarray
    noise: Noise
    n_iter: int
    status: str


class _Problem:
    """The targets and what does not change along the ascent."""

    def __init__(self, design: StandardizedDesign, Y: np.ndarray, threshold: float):
        self.design, self.Y, self.threshold = design, Y, threshold
        self.power = float(np.vdot(Y, Y).real)
        self.is_complex = np.iscomplexobj(Y) or np.issubdtype(design.X.dtype, np.complexfloating)
        self.n_outputs = Y.shape[1]
        self.squared_norms = squared_norms(design)
        # What a column must gain: f(tau) = (tau - 1 - log tau) / 2 for each real output, twice that for a complex one.
        self.half = 1.0 if self.is_complex else 0.5
        self.charge = self.half * self.n_outputs * (threshold - 1.0 - np.log(threshold))

    def enter(self, active: np.ndarray, variances: np.ndarray, noise: Noise, old: WorkingSet | None) -> WorkingSet:
        """The point with some columns, of which those of `old` come first."""
        kept = 0 if old is None else len(old.active)
        fresh = columns(self.design, active[kept:])
        X = fresh if old is None else np.concatenate([old.X, fresh], axis=1)
        gram = np.empty((len(active), len(active)), dtype=X.dtype)
        if old is not None:
            gram[:kept, :kept] = old.gram
        gram[:, kept:] = X.conj().T @ fresh
        gram[kept:, :kept] = gram[:kept, kept:].conj().T
        return self.at(active, X, gram, X.conj().T @ self.Y, variances, noise)

    def at(self, active, X, gram, correlations, variances, noise) -> WorkingSet:
        """The point with given variances."""
        root = np.sqrt(variances / noise.variance)
        if len(active):
            factor = posterior_factor(gram, root)
            log_determinant = 2.0 * float(np.log(np.diag(factor).real).sum())
            (invert,) = scipy.linalg.get_lapack_funcs(("potri",), (factor,))
            inverse, _ = invert(factor, lower=True, overwrite_c=True)
            inverse = np.tril(inverse) + np.tril(inverse, -1).conj().T
        else:
            inverse, log_determinant = gram, 0.0
        return self.point(active, X, gram, correlations, variances, noise, inverse, log_determinant)

    def point(self, active, X, gram, correlations, variances, noise, inverse, log_determinant) -> WorkingSet:
        """The record of a point from its factorization."""
        s2 = noise.variance
        right = np.sqrt(variances / s2)[:, None] * correlations
        image = inverse @ right
        quadratic = max(self.power - float(np.vdot(right, image).real), 0.0) / s2
        value = log_evidence(log_determinant, quadratic, s2, noise.degrees_of_freedom, self.n_outputs, self.is_complex)
        merit = value - len(active) * self.charge
        if noise.learned:
            merit += log_noise_prior(noise, s2)
        scaled_mean = image / np.sqrt(s2)
        return WorkingSet(
            active, X, gram, correlations, variances, noise, inverse, scaled_mean, log_determinant, value, merit
        )

    def moved(self, point: WorkingSet, variances: np.ndarray, noise_variance: float) -> WorkingSet:
        """The point with other variances."""
        noise = point.noise._replace(variance=noise_variance)
        return self.at(point.active, point.X, point.gram, point.correlations, variances, noise)

    def without(self, point: WorkingSet, gone: np.ndarray) -> WorkingSet:
        """The point with fewer columns, by a Schur complement in the inverse."""
        keep = np.ones(len(point.active), dtype=bool)
        keep[gone] = False
        factor = scipy.linalg.cholesky(point.inverse[np.ix_(gone, gone)], lower=True, check_finite=False)
        half = scipy.linalg.solve_triangular(factor, point.inverse[gone][:, keep], lower=True, check_finite=False)
        inverse = point.inverse[np.ix_(keep, keep)] - half.conj().T @ half
        log_determinant = point.log_determinant + 2.0 * float(np.log(np.diag(factor).real).sum())
        gram, chosen = point.gram[np.ix_(keep, keep)], point.X[:, keep]
        return self.point(
            point.active[keep], chosen, gram, point.correlations[keep], point.variances[keep], point.noise,
            inverse, log_determinant,
        )  # fmt: skip

    def residual_power(self, point: WorkingSet) -> float:
        """The squared norm of the targets less the posterior mean."""
        residual = self.Y - point.X @ point.mean
        return float(np.vdot(residual, residual).real)

    def noise_after(self, point: WorkingSet, rule: str) -> float:
        """The variance of the noise by one of its updates, at most a decade away."""
        if not point.noise.learned:
            return point.noise.variance
        total = float(point.determined.sum())
        new = updated_noise(rule, point.noise, self.residual_power(point), total, self.n_outputs, self.is_complex)
        return max(new, 0.1 * point.noise.variance)

    def noise_violation(self, point: WorkingSet) -> float:
        """The violation of the optimality condition in the variance of the noise."""
        if not point.noise.learned:
            return 0.0
        total = float(point.determined.sum())
        return noise_violation(point.noise, self.residual_power(point), total, self.n_outputs, self.is_complex)

    def all_terms(self, point: WorkingSet) -> tuple[np.ndarray, np.ndarray]:
        """For all columns z, zero for copies of active ones, and the mean of |q|^2; in blocks of products."""
        s2 = point.noise.variance
        share = self.squared_norms.copy()
        if len(point.active):
            root = np.sqrt(point.variances / s2)
            half = triangular_inverse(posterior_factor(point.gram, root)) * root
            width = max(_BLOCK // len(share), 1)
            for first in range(0, len(half), width):
                image = cross(self.design, point.X @ half[first : first + width].conj().T)
                share -= np.einsum("ij,ij->i", image, image.conj()).real
        share[share <= _FAINT * self.squared_norms] = 0.0
        q = cross(self.design, self.Y - point.X @ point.mean) / s2
        return share / s2, np.mean(np.abs(q) ** 2, axis=1)


class _Expansion:
    """The cost to second order in the logarithms of the variances, with a ridge that adapts from step to step."""

    def __init__(self) -> None:
        self.ridge = 0.0

    def around(self, point: WorkingSet) -> None:
        """Take the derivatives at a point."""
        determined, power = point.determined, point.power
        self.strong = determined > _WEAK
        # A column of next to no variance is next to independent of all others: its best variance has a closed form.
        best = 1.0 + (power / determined - 1.0) / determined
        self.alone = np.log(np.clip(best, np.exp(-_LONGEST), np.exp(_LONGEST)))
        strong = np.flatnonzero(self.strong)
        products = -point.inverse[np.ix_(strong, strong)]
        self.determined = determined[strong]
        products[np.diag_indices_from(products)] = self.determined
        mean = point.scaled_mean[strong]
        self.gradient = self.determined - power[strong]
        self.hessian = ((mean.conj() @ mean.T) * products).real * (2.0 / mean.shape[1]) - np.abs(products) ** 2
        self.hessian[np.diag_indices_from(self.hessian)] += self.gradient

    def step(self) -> np.ndarray:
        """The minimum of the expansion under the least ridge, not below the one in use, that makes it convex."""
        answer = self.alone.copy()
        answer[self.strong] = 0.0
        while self.ridge <= _LARGEST_RIDGE:
            damped = self.hessian.copy()
            damped[np.diag_indices_from(damped)] += (self.ridge + _SMALLEST_RIDGE) * self.determined
            try:
                factor = scipy.linalg.cho_factor(damped, lower=True, overwrite_a=True, check_finite=False)
            except scipy.linalg.LinAlgError:
                self.stiffen()
                continue
            step = -scipy.linalg.cho_solve(factor, self.gradient, check_finite=False)
            largest = float(np.abs(step).max(initial=0.0))
            answer[self.strong] = step if largest <= _LONGEST else step * (_LONGEST / largest)
            return answer
        self.ridge = 1.0
        return answer

    def stiffen(self) -> None:
        """Trust the expansion less."""
        self.ridge = max(4.0 * self.ridge, 0.01)

    def relax(self) -> None:
        """Trust the expansion more."""
        self.ridge = 0.1 * self.ridge if self.ridge > 1e-3 else 0.0


def _improved(problem: _Problem, point: WorkingSet, expansion: _Expansion) -> WorkingSet:
    """One step of all variances and of the noise; the merit does not fall."""
    expansion.around(point)
    noise_variance = problem.noise_after(point, "mackay")
    enough = point.merit - _ROUNDING * abs(point.merit)
    for _ in range(_TRIALS):
        new = problem.moved(point, point.variances * np.exp(expansion.step()), noise_variance)
        if new.merit >= enough:
            expansion.relax()
            return new
        expansion.stiffen()
    # Half of MacKay's step in the logarithms minimises a bound of the cost, jointly with that rule's noise.
    step = 0.5 * np.log(np.maximum(point.power, 1e-300) / point.determined)
    return problem.moved(point, point.variances * np.exp(np.maximum(step, -_LONGEST)), problem.noise_after(point, "mm"))


def _pruned(problem: _Problem, point: WorkingSet) -> WorkingSet:
    """Without the columns whose evidence, all else fixed, is largest at zero or not worth the threshold."""
    while len(point.active):
        alone = point.power / (point.determined * np.maximum(1.0 - point.determined, 1e-300))
        weak = np.flatnonzero(alone <= problem.threshold)
        if not len(weak):
            break
        weak = weak[np.argsort(alone[weak], kind="stable")]
        while True:
            new = problem.without(point, weak)
            if len(weak) == 1 or new.merit >= point.merit:
                break
            weak = weak[: (len(weak) + 1) // 2]
        point = new
    return point


def _widened(problem: _Problem, point: WorkingSet, tol: float, capacity: int) -> WorkingSet | None:
    """With the most relevant of the columns outside at their best variances; None if there is none."""
    z, power = problem.all_terms(point)
    relevance = np.divide(power, z, out=np.zeros_like(z), where=z > 0.0)
    relevance[point.active] = 0.0
    outside = np.flatnonzero(relevance > problem.threshold * (1.0 + tol))
    room = min(max(_FEW, len(point.active) // 2), capacity - len(point.active))
    if not len(outside) or room <= 0:
        return None
    outside = outside[np.argsort(-relevance[outside], kind="stable")][:room]
    while True:
        variances = np.concatenate([point.variances, (power[outside] - z[outside]) / z[outside] ** 2])
        new = problem.enter(np.concatenate([point.active, outside]), variances, point.noise, point)
        if len(outside) == 1 or new.merit > point.merit:
            return new
        outside = outside[: len(outside) // 2]


def ascend_evidence(
    design: StandardizedDesign,
    Y: np.ndarray,
    active: np.ndarray,
    variances: np.ndarray,
    noise: Noise,
    *,
    threshold: float = 1.0,
    tol: float = 1e-4,
    max_iter: int = 500,
    capacity: int = 5000,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
    log_evidences: list[float] | None = None,
    n_iter: int = 0,
) -> Ascent:
    """Climb to a local maximum of the evidence from given variances.

    Parameters
    ----------
    design : StandardizedDesign
        The design.
    Y : ndarray of shape (n_samples, n_outputs)
        Weighted, centred targets.
    active : ndarray of int of shape (n_active,)
        The columns to start with; may be empty.
    variances : ndarray of shape (n_active,)
        Their prior variances, > 0.
    noise : Noise
        What is known of the noise.
    threshold : float, default=1.0
        The relevance that a column needs, measured without itself, to be active.
    tol : float, default=1e-4
        The violation of the optimality conditions to reach.
    max_iter : int, default=500
        The most iterations, those made before included.
    capacity : int, default=5000
        The most columns in the working set.
    deadline : float, default=inf
        When to stop, in seconds of ``time.monotonic()``.
    on_iteration : callable, optional
        Called with the number of iterations and the logarithm of the evidence; stops the ascent by returning True.
    log_evidences : list of float, optional
        The history, which is added to.
    n_iter : int, default=0
        Iterations made before.

    Returns
    -------
    Ascent
        The last point. From the start to it the evidence, less the charge of the threshold for each column, did not
        fall but for a single column that enters at its best variance or leaves.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.evidence import Noise
    >>> from sparsemodels.solvers.standardized_design import standardize
    >>> from sparsemodels.solvers.working_set_evidence import ascend_evidence
    >>> design = standardize(np.eye(3), center=False)
    >>> noise = Noise(1.0, False, 0.0, 0.0, 0.0, 3.0)
    >>> none = np.empty(0, dtype=int)
    >>> end = ascend_evidence(design, np.array([[3.0], [0.5], [2.0]]), none, np.empty(0), noise)
    >>> end.active, end.variances.round(6)  # c^2 - 1 where positive
    (array([0, 2]), array([8., 3.]))
    """
    problem, expansion = _Problem(design, Y, threshold), _Expansion()
    history = [] if log_evidences is None else log_evidences
    status, looked, point, stalls, reached, least = "max_iter", np.inf, None, 0, np.inf, np.inf
    active, variances = np.asarray(active, dtype=np.intp), np.asarray(variances, dtype=np.float64)
    try:
        point = problem.enter(active, variances, noise, None)
        while True:
            point = _pruned(problem, point)
            violation = float(np.max(np.abs(point.power / point.determined - 1.0), initial=0.0))
            settled = max(violation, problem.noise_violation(point)) <= _SAFE * tol
            if settled or violation <= min(_LOOSE, looked):
                # Before the end a look outside is worth its products once for each decade gained inside.
                looked = 0.1 * violation
                wider = _widened(problem, point, _SAFE * tol, capacity)
                if wider is not None:
                    point, looked, settled = wider, np.inf, False
                elif settled:
                    status = "converged"
                    break
            if n_iter >= max_iter:
                break
            # Near the end the evidence is flat to rounding while the conditions still gain digits.
            stalls = stalls + 1 if abs(point.merit - reached) <= 1e-15 * abs(reached) and violation > 0.5 * least else 0
            reached, least = point.merit, min(least, violation) if stalls else violation
            if stalls >= _PATIENCE:
                status = "stalled"
                break
            point = _improved(problem, point, expansion)
            n_iter += 1
            history.append(point.log_evidence)
            if on_iteration is not None and on_iteration(n_iter, point.log_evidence):
                status = "stopped"
                break
            if time.monotonic() > deadline:
                status = "time_limit"
                break
    except KeyboardInterrupt:
        status = "interrupted"
    if point is None:
        return Ascent(active, variances, noise, n_iter, status)
    return Ascent(point.active, point.variances, point.noise, n_iter, status)
