"""Sparse codes of signals over a dictionary that is given."""

import contextlib
import warnings
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
import scipy.sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_array, check_is_fitted
from threadpoolctl import threadpool_limits

from sparsemodels._base import BaseEstimator, Interval, StrOptions, _fit_context, require_numpy
from sparsemodels.solvers.coders import IHT, Coder, Dictionary, LassoCD, LassoLARS, dictionary
from sparsemodels.solvers.coding_certificates import lasso_gaps, mutual_coherence, proven_sparsest, refit_violations
from sparsemodels.solvers.sparse_codes import SparseCodes, from_matrix, squared_residuals
from sparsemodels.solvers.sparse_coding import encode

from .codes_input import codes_input
from .codes_output import codes_output
from .coding_parameters import CODING_CONSTRAINTS, coder_of
from .observed_signals import observed_signals

__all__ = ["CodingCertificate", "SparseCoder"]


class CodingCertificate(NamedTuple):
    """What codes prove about themselves, one number a signal; returned by :meth:`SparseCoder.certify`.

    Attributes
    ----------
    residual_norm : ndarray of shape (n_samples,)
        The norm of the signal minus its reconstruction, over the known entries.
    dual_gap : ndarray of shape (n_samples,) or None
        For the lasso: the objective is at most this much above the smallest one.
    kkt : ndarray of shape (n_samples,) or None
        For the other coders: how far the coefficients are from the least-squares ones on their atoms, the largest
        cosine between the residual and an atom of the code, times the residual over the signal.
    sparsest : ndarray of bool of shape (n_samples,)
        True where the code reproduces its signal and is proven to be the sparsest one that does.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.decomposition import SparseCoder
    >>> coder = SparseCoder(np.eye(3), n_nonzero_coefs=2).fit(np.eye(3))
    >>> coder.certify(np.array([[1.0, 0.0, 2.0], [1.0, 1.0, 1.0]])).sparsest
    array([ True, False])
    """

    residual_norm: np.ndarray
    dual_gap: np.ndarray | None
    kkt: np.ndarray | None
    sparsest: np.ndarray


class SparseCoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Write every signal as a combination of few atoms of a given dictionary.

    With the atoms :math:`d_a` as rows of D, a signal x is coded as :math:`x \approx z D` by

    - ``"omp"``, ``"ols"``, ``"iht"`` and ``"cosamp"``: :math:`\min \|x - z D\|` over codes of at most
      `n_nonzero_coefs` atoms, approximately, for finding the best ones is NP-hard;
    - ``"lasso_cd"`` and ``"lasso_lars"``: :math:`\min \tfrac12 \|x - z D\|^2 + \alpha \|z\|_1`, to a duality gap;
    - ``"topk"`` and ``"abstopk"``: the atoms most like the signal, without a fit.

    Parameters
    ----------
    dictionary : array-like of shape (n_components, n_features), estimator or "dct", default="dct"
        The atoms, one a row, of any norm: the atoms of a greedy code do not depend on it. A fitted estimator lends its
        `components_`. ``"dct"`` is the orthonormal discrete cosine transform.
    algorithm : str, default="omp"
        ``"omp"``, orthogonal matching pursuit: add the atom with the largest cosine to the residual, refit.
        ``"ols"``, orthogonal least squares: add the atom whose refit lowers the residual most; the package SPAMS calls
        this omp. ``"lasso_cd"``, the lasso by coordinate descent, and ``"lasso_lars"``, by least angle regression.
        ``"iht"``, normalized iterative hard thresholding. ``"cosamp"``, compressive sampling matching pursuit.
        ``"topk"``, the largest positive inner products, and ``"abstopk"``, the largest in magnitude.
    n_nonzero_coefs : int, optional
        The most atoms of a signal, for all but the lasso. By default a tenth of the features, at least one; with
        `max_residual`, as many as it takes.
    alpha : float, default=1.0
        The weight of the penalty of the lasso.
    max_residual : float, optional
        For ``"omp"`` and ``"ols"``: stop a signal once the norm of its residual, over its known entries, is at most
        this.
    positive : bool, default=False
        Whether coefficients must be >= 0.
    normalize : bool, default=True
        Whether ``"omp"`` compares cosines. Without, it compares inner products, and long atoms come first.
    output : {"auto", "csr", "dense"}, default="auto"
        The form of the codes. ``"auto"``: a CSR array where a dense one would have more than four million entries,
        unless ``set_output`` asks for data frames.
    tol : float, default=1e-6
        Where an iteration ends: the duality gap of ``"lasso_cd"`` relative to half the squared norm of the signal, the
        relative change of a step of ``"iht"``, the relative fall of the residual in a round of ``"cosamp"``.
    transform_max_iter : int, default=1000
        The most sweeps, steps or rounds of a signal.
    n_jobs : int, optional
        Threads over blocks of signals. The answer does not depend on their number, 1 or more; with None, one thread and
        the threads that the BLAS library takes.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        The atoms.
    n_components_ : int
        Their number.
    coherence_ : float
        The largest cosine between two atoms, in magnitude. Codes of fewer than ``(1 + 1 / coherence_) / 2`` atoms are
        found exactly by ``"omp"`` and are the sparsest of their signals.
    n_features_in_ : int
        Features of a signal.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has them.

    See Also
    --------
    sparsemodels.decomposition.DictionaryLearning : Learns the dictionary.
    sparsemodels.decomposition.FastTransform : A dictionary whose products are cheap.

    Notes
    -----
    Missing entries are NaN, or False in the `mask` of `transform`: they never count. The parts of atoms that a mask
    leaves are compared as if they were of norm one.

    Memory: the Gram matrix of the dictionary of up to 10 000 atoms, and blocks of 512 signals times the atoms.

    References
    ----------
    R. Rubinstein, M. Zibulevsky and M. Elad, "Efficient implementation of the K-SVD algorithm using batch orthogonal
    matching pursuit", Technion technical report CS-2008-08. B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, "Least
    angle regression", Annals of Statistics 32, 2004.

    Examples
    --------
    A signal made of two atoms of an overcomplete dictionary is taken apart again:

    >>> import numpy as np
    >>> import scipy.linalg
    >>> from sparsemodels.decomposition import SparseCoder
    >>> D = np.vstack([np.eye(16), scipy.linalg.hadamard(16) / 4.0])
    >>> X = 3.0 * D[[2]] - 2.0 * D[[20]]
    >>> coder = SparseCoder(D, n_nonzero_coefs=2).fit(X)
    >>> codes = coder.transform(X)
    >>> np.flatnonzero(codes), codes[0, [2, 20]].round(10)
    (array([ 2, 20]), array([ 3., -2.]))
    >>> coder.certify(X, codes).sparsest
    array([ True])
    """

    _parameter_constraints: dict = {
        "dictionary": ["array-like", StrOptions({"dct"}), BaseEstimator],
        **CODING_CONSTRAINTS,
        "normalize": ["boolean"],
        "output": [StrOptions({"auto", "csr", "dense"})],
        "tol": [Interval(Real, 0, None, closed="left")],
        "transform_max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        dictionary="dct",
        *,
        algorithm="omp",
        n_nonzero_coefs=None,
        alpha=1.0,
        max_residual=None,
        positive=False,
        normalize=True,
        output="auto",
        tol=1e-6,
        transform_max_iter=1000,
        n_jobs=None,
    ):
        self.dictionary = dictionary
        self.algorithm = algorithm
        self.n_nonzero_coefs = n_nonzero_coefs
        self.alpha = alpha
        self.max_residual = max_residual
        self.positive = positive
        self.normalize = normalize
        self.output = output
        self.tol = tol
        self.transform_max_iter = transform_max_iter
        self.n_jobs = n_jobs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _coder(self, n_features: int) -> Coder:
        return coder_of(
            self.algorithm,
            n_features,
            n_nonzero_coefs=self.n_nonzero_coefs,
            alpha=self.alpha,
            max_residual=self.max_residual,
            positive=self.positive,
            normalize=self.normalize,
            tol=self.tol,
            max_iter=self.transform_max_iter,
        )

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, *, mask: Any = None) -> "SparseCoder":
        """Check the dictionary against the signals; nothing is learned from them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Signals. NaN marks missing entries.
        y : None
            Ignored.
        mask : array-like of bool of shape (n_samples, n_features), optional
            True where an entry is known.

        Returns
        -------
        SparseCoder
            The fitted estimator itself.
        """
        require_numpy(X, self.algorithm)
        X, _ = observed_signals(self, X, mask, reset=True)
        self._coder(X.shape[1])
        self.components_ = self._atoms(X.shape[1])
        self.n_components_ = self._n_features_out = self.components_.shape[0]
        self.coherence_ = mutual_coherence(dictionary(self.components_, with_gram=False))
        self._prepared = dictionary(self.components_.astype(X.dtype, copy=False))
        return self

    def _atoms(self, n_features: int) -> np.ndarray:
        if isinstance(self.dictionary, str):
            return scipy.fft.dct(np.eye(n_features), norm="ortho", axis=0)
        if isinstance(self.dictionary, BaseEstimator):
            check_is_fitted(self.dictionary, "components_")
            atoms = self.dictionary.components_
        else:
            atoms = self.dictionary
        atoms = check_array(atoms, dtype=(np.float64, np.float32), order="C", copy=True, input_name="dictionary")
        if atoms.shape[1] != n_features:
            raise ValueError(
                f"dictionary must have one column a feature, {n_features}, got an array of shape {atoms.shape}."
            )
        return atoms

    def _dictionary(self, dtype: Any) -> Dictionary:
        """The record in a precision: prepared in `fit` for that of its signals."""
        same = self._prepared.atoms.dtype == dtype
        return self._prepared if same else dictionary(self.components_.astype(dtype, copy=False))

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if "_prepared" in state:  # the Gram matrix can be much larger than the atoms
            state["_prepared"] = state["_prepared"].atoms.dtype.name
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_prepared" in state:
            self._prepared = dictionary(self.components_.astype(state["_prepared"], copy=False))

    def _one_blas_thread(self) -> Any:
        return contextlib.nullcontext() if self.n_jobs is None else threadpool_limits(1, "blas")

    def transform(self, X: Any, *, mask: Any = None) -> np.ndarray | scipy.sparse.csr_array:
        """Code signals.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Signals. NaN marks missing entries; a signal without known entries has the code zero.
        mask : array-like of bool of shape (n_samples, n_features), optional
            True where an entry is known.

        Returns
        -------
        ndarray or csr_array of shape (n_samples, n_components)
            The codes, in the form that `output` says.
        """
        check_is_fitted(self)
        X, known = observed_signals(self, X, mask, reset=False)
        return codes_output(self, self._encode(X, known), self.output)

    def _encode(self, X: np.ndarray, known: np.ndarray | None) -> SparseCodes:
        coder = self._coder(X.shape[1])
        with self._one_blas_thread():
            coding = encode(coder, X, self._dictionary(X.dtype), known=known, n_jobs=self.n_jobs)
        if isinstance(coder, LassoCD | IHT):
            scale = 0.5 * np.einsum("ij,ij->i", X, X, dtype=np.float64) if isinstance(coder, LassoCD) else 1.0
            allowed = np.broadcast_to(self.tol * scale, X.shape[:1])
            late = np.flatnonzero((coding.certificate > allowed) & (coding.n_iter >= self.transform_max_iter))
            if late.size:
                what = "duality gap" if isinstance(coder, LassoCD) else "relative change"
                worst = late[np.argmax(coding.certificate[late])]
                warnings.warn(
                    f"SparseCoder did not reach its tolerance for {late.size} of {X.shape[0]} signals: "
                    f"{what} {coding.certificate[worst]:.3e} > {allowed[worst]:.3e}; "
                    "increase transform_max_iter or tol.",
                    ConvergenceWarning,
                    stacklevel=4,
                )
        return coding.codes

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The signals that codes stand for.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The combinations of the atoms.
        """
        check_is_fitted(self)
        return np.asarray(codes_input(X, self.n_components_) @ self.components_)

    def certify(self, X: Any, codes: Any = None, *, mask: Any = None) -> CodingCertificate:
        """Say how good codes are, from nothing but the codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Signals, as in :meth:`transform`.
        codes : {array-like, sparse matrix} of shape (n_samples, n_components), optional
            Codes from anywhere; by default those of :meth:`transform`.
        mask : array-like of bool of shape (n_samples, n_features), optional
            True where an entry is known.

        Returns
        -------
        CodingCertificate
            Residual norms, duality gaps or the optimality of the coefficients, and which codes are proven sparsest.
        """
        check_is_fitted(self)
        X, known = observed_signals(self, X, mask, reset=False)
        if codes is None:
            coded = self._encode(X, known)
        else:
            checked = codes_input(codes, self.n_components_, name="codes")
            if checked.shape[0] != X.shape[0]:
                raise ValueError(f"codes must have {X.shape[0]} rows, one a signal, got {checked.shape[0]}.")
            coded = from_matrix(checked)
        coder = self._coder(X.shape[1])
        atoms = dictionary(self.components_.astype(np.float64, copy=False), with_gram=False)
        options = {"positive": self.positive, "known": known, "n_jobs": self.n_jobs}
        with self._one_blas_thread():
            norm = np.sqrt(squared_residuals(coded, X, atoms.atoms, known, n_jobs=self.n_jobs))
            is_lasso = isinstance(coder, LassoCD | LassoLARS)
            gap = lasso_gaps(X, coded, atoms, float(self.alpha), **options) if is_lasso else None
            kkt = None if is_lasso else refit_violations(X, coded, atoms, **options)
        # What a mask leaves of the atoms is more coherent than the atoms themselves: nothing is claimed there.
        sparsest = np.zeros(X.shape[0], dtype=bool)
        if known is None:
            sparsest = proven_sparsest(coded, norm, np.linalg.norm(X.astype(np.float64), axis=1), self.coherence_)
        return CodingCertificate(norm, gap, kkt, sparsest)

    def score(self, X: Any, y: Any = None, *, mask: Any = None) -> float:
        """The negative mean squared error of a known entry, its codes fitted: the higher the better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Signals, as in :meth:`transform`.
        y : None
            Ignored.
        mask : array-like of bool of shape (n_samples, n_features), optional
            True where an entry is known.

        Returns
        -------
        float
            Minus the mean squared residual.
        """
        check_is_fitted(self)
        X, known = observed_signals(self, X, mask, reset=False)
        atoms = self.components_.astype(X.dtype, copy=False)
        squares = squared_residuals(self._encode(X, known), X, atoms, known, n_jobs=self.n_jobs)
        return -float(squares.sum()) / max(X.size if known is None else int(known.sum()), 1)
