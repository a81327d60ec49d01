"""Supervised dictionary learning."""

import time
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
from sklearn.base import ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from sparsemodels._base import (
    BaseEstimator,
    CallbackSupportMixin,
    Interval,
    StrOptions,
    _fit_context,
    check_weights,
    require_numpy,
    with_callbacks,
)
from sparsemodels._remedies import REMEDIES
from sparsemodels.solvers.class_labels import ClassLabels, probabilities
from sparsemodels.solvers.leading_subspace import subspace_basis
from sparsemodels.solvers.low_rank_projected_gradient import gradient_step, low_rank_projected_gradient
from sparsemodels.solvers.supervised_block_descent import block_descent
from sparsemodels.solvers.supervised_dictionary import Classified, SupervisedProblem
from sparsemodels.solvers.supervised_factors import Factors, codes_without_labels, principal_factors

from .codes_input import codes_input

__all__ = ["SupervisedDictionaryLearning"]


class SupervisedDictionaryLearning(
    ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, CallbackSupportMixin, BaseEstimator
):
    r"""A few atoms that reconstruct the data and classify it, found together, with a bound on the best possible ones.

    .. math:: \min_{D, H, \beta, \gamma, b} \; \sum_i s_i\, \ell_{y_i}(a_i + z_i \gamma + b)
        + \xi \sum_i s_i \|x_i - h_i D\|^2 + \tfrac\nu2 \bigl(\|A\|^2 + \|\gamma\|^2\bigr)

    with the log loss of the classes for :math:`\ell`, sample weights s and covariates z that only the classifier sees.
    In the filter model it sees :math:`a_i = x_i D^T \beta`, and :math:`A = D^T \beta` are the coefficients of the
    features; in the feature model it sees the codes, :math:`a_i = h_i \beta`, and A are these logits, their squares
    weighted by s. Labels then shape the codes too.

    Parameters
    ----------
    n_components : int, default=2
        The number of atoms. Without sign constraints, atoms beyond the dimensions of the problem would be idle and are
        not made: `n_components_` counts them.
    model : {"filter", "feature"}, default="filter"
        What the classifier sees: products of samples with atoms, or codes.
    method : {"lpgd", "bcd"}, default="lpgd"
        Low-rank projected gradient descent on the lifted problem, or descent over atoms, codes and classifier in turn,
        which takes sign constraints.
    reconstruction_weight : float, default=1.0
        The weight :math:`\xi` > 0 of the squared error, in the units of loss over squared data. Small, the atoms serve
        the classifier; large, they are those of a principal component analysis without centring.
    alpha : float, default=0.01
        The ridge :math:`\nu` > 0 of the coefficients in the filter model, of the logits in the feature model, and of
        the covariates' coefficients.
    positive_components : bool, default=False
        Whether atoms must be >= 0; for ``method="bcd"``.
    positive_codes : bool, default=False
        Whether codes must be >= 0; for ``method="bcd"``.
    fit_intercept : bool, default=True
        Whether the classifier has an intercept, without ridge.
    n_init : int, default=1
        How many starts to try: the first from the regression without bound on the number of atoms, the others random.
        The one with the lowest objective is kept.
    tol : float, default=1e-4
        Stop once `kkt_` is at most this.
    max_iter : int, default=1000
        The most iterations of each start.
    time_limit : float, optional
        Seconds after which the best model so far is kept, with its certificate and a warning.
    random_state : int, RandomState or None, default=None
        The random starts.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    components_ : ndarray of shape (`n_components_`, n_features)
        The atoms D. Without sign constraints they are the principal axes of the reconstruction, orthonormal, in the
        order of what they explain; an atom of the feature model that explains labels alone is zero. With sign
        constraints they have norm one.
    n_components_ : int
        The number of atoms.
    codes_ : ndarray of shape (n_samples, `n_components_`)
        The codes of the training data. In the feature model the labels shaped them; :meth:`transform` cannot know any.
    code_coef_ : ndarray of shape (1, `n_components_`) or (n_classes, `n_components_`)
        The coefficients :math:`\beta`, of the second class if there are two.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Of the filter model: the coefficients A of the features.
    covariate_coef_ : ndarray of shape (1, n_covariates) or (n_classes, n_covariates)
        The coefficients :math:`\gamma` of the covariates.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        The intercepts.
    objective_ : float
        The objective.
    objective_history_ : ndarray of shape (`n_iter_` + 1,)
        The objective at the start and after every iteration of the start that was kept; it never rises.
    kkt_ : float
        The certificate of a stationary point: the norm of the step that the method would take next, in the metric of
        its blocks, relative to the square root of twice the loss of logits that are zero.
    lower_bound_ : float
        No dictionary with so many atoms has a lower objective than this.
    gap_ : float
        The certificate of the best point: objective minus `lower_bound_`, relative to the objective. Zero proves that
        no other start could do better.
    n_iter_ : int
        Iterations.
    status_ : str
        Why the fit ended: ``"converged"``, ``"max_iter"``, ``"stalled"``, ``"time_limit"``, ``"stopped"`` or
        ``"interrupted"``.
    n_features_in_ : int
        Features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has them.

    Raises
    ------
    ValueError
        If a parameter or the data is out of range; the message names the parameter, its value and what is allowed.

    See Also
    --------
    sklearn.decomposition.PCA : Atoms that do not know the labels.
    sparsemodels.linear_model.SparseLogisticRegression : A classifier on few of the features.

    Notes
    -----
    The reconstruction is one of X as it is: subtract means before, where they say nothing.

    With the best codes and atoms put in, what is left is a matrix A and a subspace that holds it. The gradient step of
    A is followed by one eigenvalue decomposition of a fixed matrix plus one of the rank of A; the reconstruction itself
    is never formed. The bound is the dual of the problem with the projector on the subspace replaced by a matrix
    between zero and the identity; for as many atoms as dimensions it is the duality gap of ridge regression.

    Computations are in float64; what comes out has the precision of X.

    References
    ----------
    J. Mairal, F. Bach, J. Ponce, G. Sapiro and A. Zisserman, "Supervised dictionary learning", Advances in Neural
    Information Processing Systems 21, 2008. J. Lee, H. Lyu and W. Yao, "Supervised dictionary learning with auxiliary
    covariates", arXiv:2206.06774, 2022.

    Examples
    --------
    The first feature has most of the variance and the last one the labels. One atom for each:

    >>> import numpy as np
    >>> from sparsemodels.decomposition import SupervisedDictionaryLearning
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 4)) * [9.0, 2.0, 2.0, 1.0]
    >>> y = (X[:, 3] > 0.0).astype(int)
    >>> model = SupervisedDictionaryLearning(2, reconstruction_weight=0.01).fit(X, y)
    >>> np.abs(model.components_).round(1)
    array([[1., 0., 0., 0.],
           [0., 0., 0., 1.]])
    >>> model.score(X, y) > 0.98, model.status_
    (True, 'converged')
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "model": [StrOptions({"filter", "feature"})],
        "method": [StrOptions({"lpgd", "bcd"})],
        "reconstruction_weight": [Interval(Real, 0, None, closed="neither")],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "positive_components": ["boolean"],
        "positive_codes": ["boolean"],
        "fit_intercept": ["boolean"],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components=2,
        *,
        model="filter",
        method="lpgd",
        reconstruction_weight=1.0,
        alpha=0.01,
        positive_components=False,
        positive_codes=False,
        fit_intercept=True,
        n_init=1,
        tol=1e-4,
        max_iter=1000,
        time_limit=None,
        random_state=None,
    ):
        self.n_components = n_components
        self.model = model
        self.method = method
        self.reconstruction_weight = reconstruction_weight
        self.alpha = alpha
        self.positive_components = positive_components
        self.positive_codes = positive_codes
        self.fit_intercept = fit_intercept
        self.n_init = n_init
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _checked_covariates(self, covariates: Any, n_samples: int, *, reset: bool = False) -> np.ndarray:
        if covariates is None:
            covariates = np.empty((n_samples, 0))
        else:
            covariates = check_array(covariates, dtype=np.float64, input_name="covariates")
            if covariates.shape[0] != n_samples:
                raise ValueError(
                    f"covariates must have one row a sample, {n_samples} in all, got {covariates.shape[0]}."
                )
        expected = covariates.shape[1] if reset else self.covariate_coef_.shape[1]
        if covariates.shape[1] != expected:
            raise ValueError(
                f"covariates must have the {expected} columns that fit saw, got {covariates.shape[1] or 'none'}."
            )
        return covariates

    def _problem(
        self, X: Any, y: Any, covariates: Any, sample_weight: Any
    ) -> tuple[Any, np.ndarray, SupervisedProblem]:
        """The validated X, which of its rows have weight, and the problem."""
        if self.method == "lpgd" and (self.positive_components or self.positive_codes):
            names = [name for name in ("positive_components", "positive_codes") if getattr(self, name)]
            raise ValueError(f"{' and '.join(names)} need method='bcd', got method='lpgd'.")
        require_numpy(X, self.method)
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=(np.float64, np.float32))
        check_classification_targets(y)
        weights = check_weights(sample_weight, X)
        Z = self._checked_covariates(covariates, X.shape[0], reset=True)
        kept = weights > 0.0
        classes, codes = np.unique(np.asarray(y)[kept], return_inverse=True)
        if classes.size < 2:
            raise ValueError(
                f"y must hold at least two classes with positive weight, got the one class {classes.tolist()[0]!r}."
            )
        self.classes_ = classes
        targets = codes[:, None] == (np.arange(classes.size) if classes.size > 2 else 1)
        data = scipy.sparse.csr_array(X) if scipy.sparse.issparse(X) else X
        problem = SupervisedProblem(
            data[kept].astype(np.float64) if not kept.all() else data.astype(np.float64, copy=False),
            ClassLabels(targets.astype(np.float64), weights[kept]),
            Z[kept],
            model=self.model,
            reconstruction_weight=float(self.reconstruction_weight),
            alpha=float(self.alpha),
            fit_intercept=self.fit_intercept,
        )
        return X, kept, problem

    def _useful_components(self, problem: SupervisedProblem) -> int:
        """The number of atoms, as far as there are dimensions for them."""
        if self.positive_components or self.positive_codes:
            return int(self.n_components)
        n_samples, n_features = problem.X.shape
        columns = problem.n_columns if self.model == "feature" else 0
        return int(min(self.n_components, n_samples, n_features + columns))

    def _solve(self, problem: SupervisedProblem, start: np.ndarray, rank: int, options: dict) -> tuple[Any, Factors]:
        """The solution from one start, and its factors."""
        if self.method == "lpgd":
            lifted = low_rank_projected_gradient(problem, rank, start, **options)
            return lifted, principal_factors(problem, lifted.point, lifted.basis)
        inner = min(rank, problem.n_dimensions)
        A, subspace = gradient_step(problem, start, np.zeros_like(start), problem.lipschitz, inner)
        guess = Classified(A, A, np.zeros((0, 0)), A, 0.0)
        factors = principal_factors(problem, guess, subspace_basis(problem.K, subspace))
        components = factors.components
        signs = self.positive_components or self.positive_codes
        if signs and components.shape[0] < rank:  # atoms of one sign may outnumber the dimensions
            more = self._random.standard_normal((rank - components.shape[0], components.shape[1]))
            components = np.vstack([components, more / np.linalg.norm(more, axis=1, keepdims=True)])
        solution = block_descent(
            problem,
            np.abs(components) if self.positive_components else components,
            codes=None if signs or components is not factors.components else factors.codes,
            positive_components=self.positive_components,
            positive_codes=self.positive_codes,
            **options,
        )
        factors = solution.factors
        if signs:
            order = np.argsort(-np.sum(problem.labels.weights[:, None] * factors.codes**2, axis=0), kind="stable")
            return solution, factors._replace(
                components=factors.components[order],
                codes=factors.codes[:, order],
                code_coef=factors.code_coef[order],
            )
        # The same column space in principal axes.
        rows = factors.components.T if self.model == "filter" else problem.root * factors.codes
        basis = scipy.linalg.qr(rows, mode="economic")[0]
        return solution, principal_factors(problem, self._lifted(problem, factors), basis)

    def _lifted(self, problem: SupervisedProblem, factors: Factors) -> Classified:
        """The lifted matrix of factors, with the best offsets."""
        if self.model == "filter":
            A = factors.components.T @ factors.code_coef
        else:
            A = problem.root * (factors.codes @ factors.code_coef)
        return problem.classified(A, problem.image(A), factors.offset_coef)

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, *, covariates: Any = None, sample_weight: Any = None
    ) -> "SupervisedDictionaryLearning":
        """Find atoms and classifier.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,)
            Their classes, two or more.
        covariates : array-like of shape (n_samples, n_covariates), optional
            What only the classifier sees of the samples.
        sample_weight : array-like of shape (n_samples,), optional
            Weights >= 0 of the samples, of their loss as of their reconstruction.

        Returns
        -------
        SupervisedDictionaryLearning
            The fitted estimator itself.
        """
        deadline = np.inf if self.time_limit is None else time.monotonic() + self.time_limit
        X, kept, problem = self._problem(X, y, covariates, sample_weight)
        self._random = check_random_state(self.random_state)
        context = self._init_callback_context(max_subtasks=self.n_init * self.max_iter)
        context.call_on_fit_task_begin(estimator=self, X=X)

        def on_iteration(n_iter: int, objective: float) -> bool:
            task = context.subcontext(task_name="iteration")
            task.call_on_fit_task_begin(estimator=self, X=X)
            return bool(task.call_on_fit_task_end(estimator=self, X=X))

        rank = self._useful_components(problem)
        options = {"tol": self.tol, "max_iter": self.max_iter, "deadline": deadline, "on_iteration": on_iteration}
        free = problem.without_rank()
        best: Any = None
        for run in range(self.n_init):
            start = free.A
            if run:
                size = np.sqrt(np.mean(free.A**2)) or 1.0
                start = size * self._random.standard_normal(free.A.shape)
            solution, factors = self._solve(problem, start, rank, options)
            if best is None or solution.objective < best[0].objective:
                best = solution, factors
            if solution.status in ("time_limit", "stopped", "interrupted"):
                best = best[0]._replace(status=solution.status), best[1]
                break
        context.call_on_fit_task_end(estimator=self, X=X)
        solution, factors = best
        points = [self._lifted(problem, factors), free]
        bound = problem.lower_bound(points, rank, objective=solution.objective)
        self._set_solution(X, kept, solution, factors, min(bound, solution.objective))
        del self._random
        if solution.status == "interrupted":
            raise KeyboardInterrupt
        if solution.status != "converged":
            warnings.warn(
                f"SupervisedDictionaryLearning did not reach its tolerance: KKT residual {solution.kkt:.3e} > "
                f"{self.tol:.3e}; {REMEDIES[solution.status]}.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return self

    def _set_solution(self, X: Any, kept: np.ndarray, solution: Any, factors: Factors, bound: float) -> None:
        dtype = X.dtype
        n_covariates = factors.offset_coef.shape[0] - int(self.fit_intercept)
        self.components_ = np.ascontiguousarray(factors.components, dtype=dtype)
        self.n_components_ = self._n_features_out = self.components_.shape[0]
        self.code_coef_ = np.ascontiguousarray(factors.code_coef.T, dtype=dtype)
        self.__dict__.pop("coef_", None)
        if self.model == "filter":
            self.coef_ = (factors.code_coef.T @ factors.components).astype(dtype)
        self.covariate_coef_ = np.ascontiguousarray(factors.offset_coef[:n_covariates].T, dtype=dtype)
        intercept = factors.offset_coef[n_covariates] if self.fit_intercept else np.zeros(factors.code_coef.shape[1])
        self.intercept_ = intercept.astype(dtype)
        if kept.all():
            self.codes_ = factors.codes.astype(dtype)
        else:  # rows without weight had no part in the fit
            self.codes_ = codes_without_labels(X, factors.components, positive=self.positive_codes).astype(dtype)
            self.codes_[kept] = factors.codes
        self.objective_ = solution.objective
        self.objective_history_ = solution.objective_history
        self.kkt_ = solution.kkt
        self.lower_bound_ = bound
        self.gap_ = (solution.objective - bound) / solution.objective if solution.objective > 0.0 else 0.0
        self.n_iter_ = solution.n_iter
        self.status_ = solution.status

    def _validated(self, X: Any) -> Any:
        check_is_fitted(self)
        return validate_data(self, X, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)

    def _codes(self, X: Any) -> np.ndarray:
        codes = codes_without_labels(X, self.components_.astype(np.float64), positive=self.positive_codes)
        return codes.astype(X.dtype, copy=False)

    def transform(self, X: Any) -> np.ndarray:
        """The codes of samples: those that reconstruct them best.

        In the filter model without sign constraints these are the products with the atoms that the classifier sees. In
        the feature model they are what is known of the codes without the label, and the classifier sees them instead.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, `n_components_`)
            The codes; where several reconstruct a sample equally well, those of least norm.
        """
        return self._codes(self._validated(X))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The samples that codes stand for.

        Parameters
        ----------
        X : array-like of shape (n_samples, `n_components_`)
            Codes.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The products of the codes with the atoms.
        """
        check_is_fitted(self)
        codes = codes_input(X, self.n_components_, sparse=False)
        return codes @ self.components_

    def _logits(self, X: Any, covariates: Any) -> np.ndarray:
        X = self._validated(X)
        Z = self._checked_covariates(covariates, X.shape[0])
        seen = X @ self.components_.T if self.model == "filter" else self._codes(X)
        return seen @ self.code_coef_.T + Z @ self.covariate_coef_.T + self.intercept_

    def decision_function(self, X: Any, *, covariates: Any = None) -> np.ndarray:
        """The log odds of the second class, or one unnormalised log probability a class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        covariates : array-like of shape (n_samples, n_covariates), optional
            Their covariates; needed if :meth:`fit` had any.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            The logits; one column a class if there are more than two.
        """
        logits = self._logits(X, covariates)
        return logits.ravel() if logits.shape[1] == 1 else logits

    def predict(self, X: Any, *, covariates: Any = None) -> np.ndarray:
        """Predict the most probable class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        covariates : array-like of shape (n_samples, n_covariates), optional
            Their covariates; needed if :meth:`fit` had any.

        Returns
        -------
        ndarray of shape (n_samples,)
            Classes.
        """
        logits = self._logits(X, covariates)
        return self.classes_[(logits[:, 0] > 0.0).astype(int) if logits.shape[1] == 1 else logits.argmax(axis=1)]

    def predict_proba(self, X: Any, *, covariates: Any = None) -> np.ndarray:
        """Predict the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        covariates : array-like of shape (n_samples, n_covariates), optional
            Their covariates; needed if :meth:`fit` had any.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of `classes_`.
        """
        logits = self._logits(X, covariates)
        return probabilities(np.hstack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits)

    def predict_log_proba(self, X: Any, *, covariates: Any = None) -> np.ndarray:
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        covariates : array-like of shape (n_samples, n_covariates), optional
            Their covariates; needed if :meth:`fit` had any.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Log probabilities, in the order of `classes_`.
        """
        logits = self._logits(X, covariates)
        logits = np.hstack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits
        return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, covariates: Any = None) -> float:
        """The share of samples whose class is predicted.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,)
            Their classes.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the samples.
        covariates : array-like of shape (n_samples, n_covariates), optional
            Their covariates; needed if :meth:`fit` had any.

        Returns
        -------
        float
            The accuracy.
        """
        return accuracy_score(y, self.predict(X, covariates=covariates), sample_weight=sample_weight)
