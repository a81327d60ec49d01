"""A sparse coder whose codes are guessed by one matrix product."""

import contextlib
import time
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from sparsemodels._base import (
    BaseEstimator,
    CallbackSupportMixin,
    Interval,
    StrOptions,
    _fit_context,
    require_numpy,
    with_callbacks,
)
from sparsemodels._remedies import REMEDIES
from sparsemodels.solvers.feedforward_encoders import Encoder, TanhEncoder, UnrolledEncoder, in_precision, predict
from sparsemodels.solvers.predictive_sparse_decomposition import ExactCodes, decompose, exact_codes
from sparsemodels.solvers.sparse_codes import reconstruct, to_dense

from .codes_input import codes_input

__all__ = ["PredictiveSparseCoder"]


class PredictiveSparseCoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, CallbackSupportMixin, BaseEstimator):
    r"""Predictive sparse decomposition: a dictionary with an encoder that guesses its sparse codes.

    .. math:: \min_{D, Z, F} \; \tfrac12 \|X - Z D\|_F^2 + \alpha \|Z\|_1 + \tfrac{w}{2} \|Z - F(X)\|_F^2,
        \qquad \|d_a\| = 1

    The codes Z are pulled towards what the encoder F can say, and F is trained on them. Once both agree, the codes of
    new samples cost a matrix product instead of an optimisation.

    Parameters
    ----------
    n_components : int, optional
        The number of atoms. None is that of `dict_init`, or the number of features.
    alpha : float, default=0.25
        Weight of the l1 penalty of the codes, > 0, in the units of X.
    prediction_weight : float, default=1.0
        The weight w of the distance between the codes and their guesses. With 0 the dictionary is learned for the lasso
        alone, and the encoder on its codes.
    encoder : {"tanh", "lista"}, default="tanh"
        The form of F: :math:`\tanh(X W + c)\, \mathrm{diag}(g)`, one matrix product; or the steps of an iterative
        thresholding algorithm with learned matrices, :math:`Z_t = S_\theta(X W + Z_{t-1} Q)`, whose codes are sparse.
    n_layers : int, default=1
        How many times ``"lista"`` feeds codes back.
    transform_algorithm : {"predict", "exact"}, default="predict"
        What `transform` returns: the guesses F(X), or the codes that minimise the objective.
    dict_init : array-like of shape (n_components, n_features), optional
        Atoms to begin with, of any norm but zero. By default random samples.
    tol : float, default=1e-3
        Stop once an iteration lowers the objective by at most this share of it.
    coding_tol : float, default=1e-4
        The largest duality gap of an exact code, relative to the objective of the code zero.
    max_iter : int, default=50
        The most iterations; each improves codes, dictionary and encoder.
    time_limit : float, optional
        Seconds after which the best model so far is returned.
    random_state : int, RandomState or None, default=None
        The samples to begin with.
    n_jobs : int, optional
        Threads over blocks of samples. The answer does not depend on their number, 1 or more; with None, one thread and
        the threads that the BLAS library takes.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        The atoms, rows of norm one.
    encoder_ : dict
        The arrays of the encoder by name: ``weights`` (W), ``offsets`` (c) and ``gains`` (g), or ``weights``,
        ``feedback`` (Q), ``thresholds`` and the number ``n_layers``.
    correlation_ : float
        The correlation of the guesses with the exact codes of the training data, over all entries.
    dual_gap_ : float
        The certificate of the codes: the largest duality gap of a sample, relative to the objective of its code zero.
    objective_ : float
        The objective of the training data with exact codes.
    objective_history_ : ndarray of shape (`n_iter_` + 1,)
        The objective at the start and after each iteration; it never rises.
    reconstruction_err_ : float
        The Frobenius norm of the residual of the exact codes.
    n_iter_ : int
        Iterations.
    status_ : str
        Why the fit ended: ``"converged"``, ``"max_iter"``, ``"time_limit"``, ``"stopped"`` or ``"interrupted"``.
    n_components_ : int
        The number of atoms.
    n_features_in_ : int
        Features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has them.

    See Also
    --------
    sparsemodels.decomposition.SparseCoder : Exact codes for a dictionary that is given.
    sparsemodels.decomposition.DictionaryLearning : A dictionary without an encoder.
    sparsemodels.decomposition.KSparseAutoencoder : An encoder that keeps a fixed number of components.

    Notes
    -----
    The objective has the factor one half of the lasso in all terms; the paper's, without it, has twice this `alpha`.
    X is not centred: subtract the mean where it means nothing, from patches their own.

    The problem is not convex. The codes are certified by their duality gap; for dictionary and encoder,
    `objective_history_` shows that neither lets the objective rise.

    References
    ----------
    K. Kavukcuoglu, M. Ranzato and Y. LeCun, "Fast inference in sparse coding algorithms with applications to object
    recognition", arXiv:1010.3467, 2008. K. Gregor and Y. LeCun, "Learning fast approximations of sparse coding",
    ICML 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.decomposition import PredictiveSparseCoder
    >>> rng = np.random.default_rng(0)
    >>> X = rng.laplace(size=(500, 6)) @ rng.normal(size=(6, 6))
    >>> coder = PredictiveSparseCoder(6, alpha=0.5, random_state=0).fit(X)
    >>> coder.transform(X).shape, coder.status_
    ((500, 6), 'converged')
    >>> bool(coder.correlation_ > 0.9), bool(coder.dual_gap_ <= 1e-4)
    (True, True)
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "prediction_weight": [Interval(Real, 0, None, closed="left")],
        "encoder": [StrOptions({"tanh", "lista"})],
        "n_layers": [Interval(Integral, 0, None, closed="left")],
        "transform_algorithm": [StrOptions({"predict", "exact"})],
        "dict_init": ["array-like", None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "coding_tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        n_components=None,
        *,
        alpha=0.25,
        prediction_weight=1.0,
        encoder="tanh",
        n_layers=1,
        transform_algorithm="predict",
        dict_init=None,
        tol=1e-3,
        coding_tol=1e-4,
        max_iter=50,
        time_limit=None,
        random_state=None,
        n_jobs=None,
    ):
        self.n_components = n_components
        self.alpha = alpha
        self.prediction_weight = prediction_weight
        self.encoder = encoder
        self.n_layers = n_layers
        self.transform_algorithm = transform_algorithm
        self.dict_init = dict_init
        self.tol = tol
        self.coding_tol = coding_tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.random_state = random_state
        self.n_jobs = n_jobs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> "PredictiveSparseCoder":
        """Learn the dictionary and the encoder.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The samples.
        y : None
            Ignored.

        Returns
        -------
        PredictiveSparseCoder
            The fitted estimator itself.
        """
        self._fit(X)
        return self

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Learn the dictionary and the encoder, and return the codes of the same samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The samples.
        y : None
            Ignored.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            The codes, those of :meth:`transform`.
        """
        X = self._fit(X)
        return self._codes(X)

    def _fit(self, X: Any) -> np.ndarray:
        X = self._validated(X, reset=True)
        deadline = np.inf if self.time_limit is None else time.monotonic() + self.time_limit
        atoms = self._first_atoms(X, check_random_state(self.random_state))
        context = self._init_callback_context(max_subtasks=self.max_iter)
        context.call_on_fit_task_begin(estimator=self, X=X)

        def on_iteration(n_iter: int, objective: float) -> bool:
            task = context.subcontext(task_name="iteration")
            task.call_on_fit_task_begin(estimator=self, X=X)
            return bool(task.call_on_fit_task_end(estimator=self, X=X))

        with self._one_blas_thread():
            solution = decompose(
                X,
                atoms,
                alpha=float(self.alpha),
                prediction_weight=float(self.prediction_weight),
                form=self.encoder,
                n_layers=self.n_layers,
                tol=self.tol,
                max_iter=self.max_iter,
                coding_tol=self.coding_tol,
                deadline=deadline,
                on_iteration=on_iteration,
                n_jobs=self.n_jobs,
            )
        context.call_on_fit_task_end(estimator=self, X=X)
        self.components_ = solution.atoms
        self.n_components_ = self._n_features_out = solution.atoms.shape[0]
        self.encoder_ = solution.encoder._asdict()
        self.correlation_ = solution.correlation
        self.dual_gap_ = solution.exact.relative_gap
        self.objective_history_ = solution.objective_history
        self.objective_ = float(solution.objective_history[-1])
        error = np.subtract(X, reconstruct(solution.exact.codes, solution.atoms), dtype=np.float64)
        self.reconstruction_err_ = float(np.linalg.norm(error))
        self.n_iter_ = solution.n_iter
        self.status_ = solution.status
        if solution.status == "interrupted":
            raise KeyboardInterrupt
        if solution.status != "converged":
            before, after = solution.objective_history[[max(solution.n_iter - 1, 0), -1]]
            gain = (before - after) / after if after > 0.0 else 0.0
            warnings.warn(
                f"PredictiveSparseCoder did not reach its tolerance: the last iteration lowered the objective by "
                f"{gain:.3e} > {self.tol:.3e} of it; {REMEDIES[solution.status]}.",
                ConvergenceWarning,
                stacklevel=3,
            )
        self._warn_of_gaps(solution.exact)
        return X

    def _warn_of_gaps(self, exact: ExactCodes) -> None:
        if not exact.converged:
            warnings.warn(
                f"Exact codes did not reach their tolerance: relative duality gap {exact.relative_gap:.3e} > "
                f"{self.coding_tol:.3e}; increase coding_tol, alpha or prediction_weight.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _validated(self, X: Any, *, reset: bool = False) -> np.ndarray:
        require_numpy(X, "coordinate descent")
        return validate_data(self, X, dtype=(np.float64, np.float32), order="C", reset=reset)

    def _one_blas_thread(self) -> Any:
        return contextlib.nullcontext() if self.n_jobs is None else threadpool_limits(1, "blas")

    def _first_atoms(self, X: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
        n_features = X.shape[1]
        n_components = n_features if self.n_components is None else int(self.n_components)
        if self.dict_init is not None:
            atoms = check_array(self.dict_init, dtype=X.dtype, order="C", input_name="dict_init")
            n_components = atoms.shape[0] if self.n_components is None else n_components
            if atoms.shape != (n_components, n_features):
                raise ValueError(
                    f"dict_init must have the shape (n_components, n_features) = {(n_components, n_features)}, "
                    f"got {atoms.shape}."
                )
            norms = np.sqrt(np.einsum("ij,ij->i", atoms, atoms, dtype=np.float64))
            if not norms.all():
                raise ValueError(f"dict_init must have no row of zeros, got one at {int(np.argmin(norms))}.")
        else:
            wanted = np.flatnonzero(X.any(axis=1))
            chosen = random_state.permutation(wanted)[:n_components]
            atoms = X[chosen].astype(np.float64)
            # A little noise tells atoms apart that began at equal samples; those for which there was none are noise.
            level = np.sqrt(np.mean(np.square(atoms))) if chosen.size else 1.0
            atoms = np.vstack([atoms, np.zeros((n_components - chosen.size, n_features))])
            atoms += 1e-2 * level * random_state.standard_normal(atoms.shape)
            norms = np.sqrt(np.einsum("ij,ij->i", atoms, atoms))
        return (atoms / norms[:, None]).astype(X.dtype)

    def _encoder_for(self, X: np.ndarray) -> Encoder:
        """The encoder in the precision of samples."""
        record: Any = TanhEncoder if "gains" in self.encoder_ else UnrolledEncoder
        return in_precision(record(**self.encoder_), X.dtype)

    def _codes(self, X: np.ndarray) -> np.ndarray:
        if self.transform_algorithm == "exact":
            return self._exact_codes(X)
        with self._one_blas_thread():
            return predict(self._encoder_for(X), X, n_jobs=self.n_jobs)

    def _exact_codes(self, X: np.ndarray) -> np.ndarray:
        with self._one_blas_thread():
            found = exact_codes(
                X,
                self.components_.astype(X.dtype, copy=False),
                self._encoder_for(X),
                alpha=float(self.alpha),
                prediction_weight=float(self.prediction_weight),
                tol=self.coding_tol,
                n_jobs=self.n_jobs,
            )
        self._warn_of_gaps(found)
        return to_dense(found.codes)

    def transform(self, X: Any) -> np.ndarray:
        """The codes of samples, guessed or exact as `transform_algorithm` says.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            The codes.
        """
        check_is_fitted(self)
        return self._codes(self._validated(X))

    def encode_exact(self, X: Any) -> np.ndarray:
        """The codes that minimise the objective for the fitted dictionary and encoder, by coordinate descent.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            The codes; each has a duality gap of at most `coding_tol` times the objective of the code zero, or a
            warning says that it does not.
        """
        check_is_fitted(self)
        return self._exact_codes(self._validated(X))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The samples that codes stand for.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The products of the codes with the atoms.
        """
        check_is_fitted(self)
        codes = codes_input(X, self.n_components_)
        return codes @ self.components_

    def score(self, X: Any, y: Any = None) -> float:
        r"""The share of the sum of squares of samples that their codes explain: the higher the better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The samples.
        y : None
            Ignored.

        Returns
        -------
        float
            :math:`1 - \|X - Z D\|_F^2 / \|X\|_F^2` with the codes of :meth:`transform`; at most 1.
        """
        check_is_fitted(self)
        X = self._validated(X)
        error = np.subtract(X, self._codes(X) @ self.components_, dtype=np.float64)
        energy = np.einsum("ij,ij->", X, X, dtype=np.float64)
        return float(1.0 - np.sum(error * error) / energy) if energy > 0.0 else 0.0
