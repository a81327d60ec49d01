"""Autoencoders with k-sparse codes."""

import contextlib
import time
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
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
from sparsemodels.solvers.array_api_autoencoder import array_model
from sparsemodels.solvers.autoencoder_certificate import (
    calibrated_thresholds,
    encode_samples,
    refitted_errors,
    squared_errors,
    squared_spread,
    stationarity,
    unexplained,
)
from sparsemodels.solvers.autoencoder_training import (
    Autoencoder,
    TrainingRule,
    TrainingState,
    center_of,
    in_units_of_data,
    scale_of,
    standardized,
    start_training,
    train,
    training_step,
)
from sparsemodels.solvers.k_sparse_activations import (
    ThresholdActivation,
    with_budget,
)
from sparsemodels.solvers.sparse_adam import LatentState, Moments
from sparsemodels.solvers.sparse_codes import SparseCodes

from .autoencoder_on_device import (
    certify_on_device,
    check_namespace,
    encode_on_device,
    float_types,
    is_foreign,
    on_device,
    start_on_device,
    unexplained_on_device,
)
from .autoencoder_parameters import ACTIVATIONS, activation_of, full_rate, rule_of, schedule_of, sizes_of
from .codes_input import codes_input
from .codes_output import codes_output

__all__ = ["KSparseAutoencoder"]

_OF_BATCHES = ("batchtopk", "feature_choice")


class KSparseAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, CallbackSupportMixin, BaseEstimator):
    r"""Sparse autoencoder whose codes keep few of the pre-activations.

    .. math:: a = (x - b) W_e^T + c, \qquad z = \mathrm{select}(a), \qquad \hat x = z W_d + b,

    trained to minimise the mean of :math:`\|x - \hat x\|^2`, the rows of :math:`W_d` having norm one. A code costs one
    matrix product and a selection; nothing is optimised per sample, unlike in a sparse coder.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        The number of latents L. ``"auto"`` is twice the number of features.
    n_nonzero_coefs : int, optional
        The latents that a code uses, k: each code at most (``"topk"``, ``"abstopk"``) or all on average
        (``"batchtopk"``, ``"feature_choice"``). None is a tenth of the features, at least one. With ``"topafa"``, the
        most of each code; None sets no limit.
    activation : {"topk", "abstopk", "batchtopk", "feature_choice", "topafa"}, default="topk"
        What a code keeps: the k largest positive pre-activations of each sample; the k largest magnitudes, with signs;
        the largest positive ones of the batch together; for each latent the samples that excite it most, in numbers
        that follow the law of Zipf; or as many of the largest as bring the norm of the code nearest to
        :math:`\|x - b\|`.
    tied : bool, default=False
        Whether :math:`W_e = W_d`.
    hierarchical : bool or sequence of int, default=False
        Also reconstruct from the largest j entries of each code, for the given j or, with True, for all up to k, and
        minimise the mean error: one model for every sparsity. The whole code is always among them. Only for
        ``"topk"`` and ``"abstopk"``.
    groups : sequence of int or float, optional
        Also reconstruct from the first latents alone, by increasing numbers or shares of them, and minimise the mean
        error (Matryoshka): the first latents become the most general ones. All latents are always among them.
    auxk_alpha : float, default=1/32
        Weight of a term that revives dead latents: those not used for one epoch reconstruct what the others leave.
    norm_alpha : float, default=1/32
        With ``"topafa"``, weight of the mean of :math:`(\|z\| - \|x - b\|)^2`.
    k_schedule : tuple of int and float, optional
        The k of the first epoch, and the share of the epochs over which it falls to `n_nonzero_coefs`. A larger k at
        the start leaves fewer latents dead.
    test_k_factor : float, default=1.0
        After training, codes use this times as many latents.
    center : {"mean", "geometric_median"} or None, default="mean"
        Where the bias b starts; it is trained. With None it is zero and stays.
    optimizer : {"adam", "sgd"}, default="adam"
        Adam, or stochastic gradient descent with momentum, both on the latents that a batch uses.
    learning_rate : float, optional
        The full length of the steps. None is :math:`2 \cdot 10^{-4} / \sqrt{L / 2^{14}}` for Adam and L / (50 k) for
        gradient descent. It rises over the first steps and falls to zero over the last fifth.
    batch_size : int, default=256
        The most samples of a batch.
    max_iter : int, default=100
        Epochs: passes over the data.
    tol : float, default=0.0
        Stop once the loss fell by less than this share over ten epochs. With 0.0, training lasts `max_iter` epochs.
    time_limit : float, optional
        Seconds after which training ends.
    output : {"auto", "csr", "dense"}, default="auto"
        What `transform` returns: ``"auto"`` is an ndarray of up to four million entries and a CSR array beyond, but
        always an ndarray where ``set_output`` asks for data frames.
    random_state : int, RandomState or None, default=None
        The atoms at the start, and the order of samples.
    n_jobs : int, optional
        Threads. The answer does not depend on their number, 1 or more; with None, one thread and the threads that the
        BLAS library takes.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        The atoms, the rows of :math:`W_d`.
    encoder_ : ndarray of shape (n_components, n_features)
        The encoder directions, the rows of :math:`W_e`.
    encoder_bias_ : ndarray of shape (n_components,)
        The bias c of the pre-activations.
    bias_ : ndarray of shape (n_features,)
        The bias b of the samples.
    threshold_ : ndarray of shape (n_components,)
        For ``"batchtopk"`` (all equal) and ``"feature_choice"``: the code of a single sample keeps the pre-activations
        that reach these. They are the means, over the batches of the training data, of the smallest entries kept, less
        a hundred-thousandth.
    n_components_ : int
        The number of latents.
    n_nonzero_coefs_ : int
        The k of the training.
    mean_ : ndarray of shape (n_features,)
        The mean of the training data, from which their variance is measured.
    scale_ : float
        The root of the mean squared distance of the training data from the centre: the unit of the loss.
    fvu_ : float
        The certificate of the fit: the fraction of the variance of the training data that their codes leave
        unexplained, :math:`\sum \|x - \hat x\|^2 / \sum \|x - \bar x\|^2`.
    kkt_ : float
        The certificate of the training: the norm of the gradient of the relative error :math:`\sqrt{F}`, F being the
        loss on all training data over `scale_` squared, without the term of dead latents, with respect to encoder
        directions, atoms (the part along each removed), and the biases over `scale_`, the selection being the one of
        `transform`. Zero at a stationary point, without units. Stochastic steps make it small, not zero.
    coding_excess_ : float
        The certificate of the encoder: the fraction of variance by which `fvu_` would fall if the latents that each
        code selects were fitted by least squares, on at most a thousand evenly spaced training samples.
    mean_l0_ : float
        The mean number of nonzeros of the codes of the training data.
    n_dead_ : int
        Latents that no code of the training data uses.
    loss_history_ : ndarray of shape (`n_iter_`,)
        The mean loss F of each epoch, while it lasted.
    n_iter_ : int
        Epochs.
    status_ : str
        Why training ended: ``"max_iter"``, ``"converged"``, ``"time_limit"``, ``"stopped"`` or ``"interrupted"``.
    n_steps_ : int
        Steps, also those of `partial_fit`.
    n_features_in_ : int
        Features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has them.

    See Also
    --------
    sparsemodels.decomposition.SparseCoder : Codes that are optimised for each sample, for given atoms.
    sparsemodels.decomposition.DictionaryLearning : Atoms learned with such codes.

    Notes
    -----
    Training lasts a given number of epochs, as is usual for these models, and that is no failure: a warning is raised
    only if `tol` is set and not reached, or if a limit of time or a callback ended the training.

    Samples need no scaling: training measures them from the centre in units of `scale_`, so that scaling X scales the
    codes and changes nothing else. Norms of samples matter to ``"topafa"``, which compares them with those of codes;
    it was proposed for samples of norm one.

    The backward pass is restricted to the support of the codes, and Adam to the latents that a batch uses: an epoch
    costs little more than the product of the data with the encoder. Working memory: `batch_size` times `n_components`
    numbers, twice the weights for Adam, and one batch per part of a nested loss.

    Arrays of PyTorch, CuPy and other array API libraries are fitted where they are if scikit-learn's
    ``array_api_dispatch`` is on: the same training, to the same model up to rounding, with dense products. Fitted
    arrays and codes, always dense, are then of that library; `partial_fit` takes NumPy arrays only.

    References
    ----------
    A. Makhzani and B. Frey, "k-sparse autoencoders", ICLR 2014. L. Gao et al., "Scaling and evaluating sparse
    autoencoders", ICLR 2025. X. Zhu, M. Khalili and Z. Zhu, "AbsTopK: rethinking sparse autoencoders for bidirectional
    features", 2025. B. Bussmann, P. Leask and N. Nanda, "BatchTopK sparse autoencoders", 2024. K. Ayonrinde, "Adaptive
    sparse allocation with mutual choice and feature choice sparse autoencoders", 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.decomposition import KSparseAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> atoms = np.eye(8)
    >>> codes = rng.standard_normal((2000, 8)) * (rng.random((2000, 8)) < 0.2)
    >>> model = KSparseAutoencoder(8, n_nonzero_coefs=3, activation="abstopk", random_state=0)
    >>> Z = model.fit_transform(codes @ atoms)
    >>> Z.shape, bool(model.fvu_ < 0.05), model.n_dead_
    ((2000, 8), True, 0)
    """

    _training: dict[str, Any]  # what partial_fit remembers

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "n_nonzero_coefs": [None, Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "tied": ["boolean"],
        "hierarchical": ["boolean", "array-like"],
        "groups": ["array-like", None],
        "auxk_alpha": [Interval(Real, 0, None, closed="left")],
        "norm_alpha": [Interval(Real, 0, None, closed="left")],
        "k_schedule": [tuple, list, None],
        "test_k_factor": [Interval(Real, 0, None, closed="neither")],
        "center": [StrOptions({"mean", "geometric_median"}), None],
        "optimizer": [StrOptions({"adam", "sgd"})],
        "learning_rate": [None, Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, 1, closed="left")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "output": [StrOptions({"auto", "csr", "dense"})],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        n_components="auto",
        *,
        n_nonzero_coefs=None,
        activation="topk",
        tied=False,
        hierarchical=False,
        groups=None,
        auxk_alpha=1 / 32,
        norm_alpha=1 / 32,
        k_schedule=None,
        test_k_factor=1.0,
        center="mean",
        optimizer="adam",
        learning_rate=None,
        batch_size=256,
        max_iter=100,
        tol=0.0,
        time_limit=None,
        output="auto",
        random_state=None,
        n_jobs=None,
    ):
        self.n_components = n_components
        self.n_nonzero_coefs = n_nonzero_coefs
        self.activation = activation
        self.tied = tied
        self.hierarchical = hierarchical
        self.groups = groups
        self.auxk_alpha = auxk_alpha
        self.norm_alpha = norm_alpha
        self.k_schedule = k_schedule
        self.test_k_factor = test_k_factor
        self.center = center
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.time_limit = time_limit
        self.output = output
        self.random_state = random_state
        self.n_jobs = n_jobs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _one_blas_thread(self) -> Any:
        return contextlib.nullcontext() if self.n_jobs is None else threadpool_limits(1, "blas")

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> "KSparseAutoencoder":
        """Train the autoencoder.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The data.
        y : None
            Ignored.

        Returns
        -------
        KSparseAutoencoder
            The fitted estimator itself.
        """
        self._fit(X)
        return self

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Train the autoencoder and return the codes of the training data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The data.
        y : None
            Ignored.

        Returns
        -------
        ndarray or csr_array of shape (n_samples, n_components)
            The codes, in the form that `output` says.
        """
        codes = self._fit(X)
        return codes_output(self, codes, self.output) if isinstance(codes, SparseCodes) else codes

    def _fit(self, X: Any) -> Any:
        foreign = is_foreign(X)
        X = validate_data(self, X, dtype=float_types(X), order=None if foreign else "C")
        deadline = np.inf if self.time_limit is None else time.monotonic() + self.time_limit
        n_latents, n_nonzero = sizes_of(self, X.shape[1])
        rule, schedule = rule_of(self, n_latents, n_nonzero, dead_after=X.shape[0]), schedule_of(self)
        random_state = check_random_state(self.random_state)
        context = self._init_callback_context(max_subtasks=self.max_iter)
        context.call_on_fit_task_begin(estimator=self, X=X)

        def on_epoch(n_iter: int, loss: float) -> bool:
            task = context.subcontext(task_name="epoch")
            task.call_on_fit_task_begin(estimator=self, X=X)
            return bool(task.call_on_fit_task_end(estimator=self, X=X))

        with self._one_blas_thread():
            state: Any
            if foreign:
                state = start_on_device(self, X, n_latents, random_state)
            else:
                center = center_of(X, self.center, n_jobs=self.n_jobs)
                state = start_training(n_latents, center, scale_of(X, center), X.dtype, random_state, tied=self.tied)
            training = train(
                X,
                state,
                rule,
                learning_rate=full_rate(self, n_latents, n_nonzero),
                batch_size=self.batch_size,
                max_iter=self.max_iter,
                tol=self.tol,
                k_schedule=schedule,
                deadline=deadline,
                on_epoch=on_epoch,
                random_state=random_state,
                n_jobs=self.n_jobs,
            )
            _require_finite(training.loss_history[-1:], full_rate(self, n_latents, n_nonzero))
            self.__dict__.pop("_training", None)  # a new fit forgets what partial_fit has learned
            self._set_model(state, n_nonzero)
            if foreign:
                codes = certify_on_device(self, X, state, rule, random_state)
            else:
                self.mean_ = X.mean(axis=0, dtype=np.float64)
                codes = self._certify(X, rule, random_state)
        context.call_on_fit_task_end(estimator=self, X=X)
        self.loss_history_, self.n_iter_, self.status_ = training
        if foreign:
            self.loss_history_ = on_device(self.loss_history_, X)
        if self.status_ == "interrupted":
            raise KeyboardInterrupt
        if self.status_ in ("time_limit", "stopped") or (self.tol > 0.0 and self.status_ != "converged"):
            warnings.warn(
                f"KSparseAutoencoder ended after {self.n_iter_} of {self.max_iter} epochs, tol={self.tol:.3e}, at a "
                f"gradient of the relative error of {self.kkt_:.3e}; {REMEDIES[self.status_]}.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return codes

    def _set_model(self, state: Any, n_nonzero: int) -> None:
        model = in_units_of_data(state) if isinstance(state, TrainingState) else array_model(state)
        self.encoder_, self.components_, self.encoder_bias_, self.bias_ = model
        self.scale_ = float(state.scale[0])
        self.n_components_ = self._n_features_out = model.decoder.shape[0]
        self.n_nonzero_coefs_ = n_nonzero
        self.n_steps_ = int(state.n_steps[0])

    def _model(self) -> Autoencoder:
        return Autoencoder(self.encoder_, self.components_, self.encoder_bias_, self.bias_)

    def _budget(self) -> int:
        """The entries of a code outside training."""
        return min(max(1, round(self.test_k_factor * self.n_nonzero_coefs_)), self.n_components_)

    def _coder(self) -> Any:
        """The activation of single samples."""
        if self.activation in _OF_BATCHES:
            return ThresholdActivation(self.threshold_)
        return activation_of(self, self._budget())

    def _certify(self, X: np.ndarray, rule: TrainingRule, random_state: Any) -> SparseCodes:
        """Set thresholds and certificates on the training data; returns their codes."""
        model, n_samples = self._model(), X.shape[0]
        of_training: Any = rule.activation
        self.__dict__.pop("threshold_", None)
        if self.activation in _OF_BATCHES:
            seed = random_state.randint(np.iinfo(np.int32).max)
            budgets = {self._budget(), self.n_nonzero_coefs_}
            thresholds = {
                count: calibrated_thresholds(
                    X,
                    model,
                    with_budget(rule.activation, count),
                    self.batch_size,
                    np.random.RandomState(seed),
                    n_jobs=self.n_jobs,
                )
                for count in budgets
            }
            self.threshold_ = thresholds[self._budget()]
            of_training = ThresholdActivation(thresholds[self.n_nonzero_coefs_])
        codes = encode_samples(X, model, self._coder(), n_jobs=self.n_jobs)
        of_loss = codes
        if self._budget() != self.n_nonzero_coefs_:
            of_loss = encode_samples(X, model, of_training, n_jobs=self.n_jobs)
        errors = squared_errors(X, codes, model, n_jobs=self.n_jobs)
        variance = squared_spread(X, self.mean_)
        self.fvu_ = unexplained(float(errors.sum()), variance)
        self.kkt_ = stationarity(
            X,
            of_loss,
            model,
            self.scale_,
            rule.activation,
            rule.nesting,
            learn_bias=rule.learn_bias,
            n_jobs=self.n_jobs,
        ).gradient_norm
        rows, refitted = refitted_errors(X, codes, model)
        variance = squared_spread(X[rows], self.mean_)
        gain = max(0.0, float(errors[rows].sum() - refitted.sum()))
        self.coding_excess_ = unexplained(gain, variance)
        self.mean_l0_ = codes.indices.size / n_samples
        self.n_dead_ = int(self.n_components_ - np.unique(codes.indices).size)
        return codes

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None) -> "KSparseAutoencoder":
        """Train on one more part of the data: one pass over it, in its order, at the full learning rate.

        The first call takes the centre and the unit from its samples. After :meth:`fit` it goes on from the fitted
        autoencoder, with moments that begin anew. Latents not used for a hundred batches count as dead. The
        thresholds of ``"batchtopk"`` and ``"feature_choice"`` follow those of the last hundred batches. Attributes that
        certify all training data are left to :meth:`fit`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples; more than `batch_size` are split into equal batches.
        y : None
            Ignored.

        Returns
        -------
        KSparseAutoencoder
            The estimator itself.
        """
        require_numpy(X, "partial_fit")
        first = not hasattr(self, "components_")
        if not first:
            check_namespace(self, X, "partial_fit")
        X = validate_data(self, X, dtype=(np.float64, np.float32), order="C", reset=first)
        n_latents, n_nonzero = sizes_of(self, X.shape[1])
        rule = rule_of(self, n_latents, n_nonzero, dead_after=100 * self.batch_size)
        with self._one_blas_thread():
            if first:
                center = center_of(X, self.center, n_jobs=self.n_jobs)
                random_state = check_random_state(self.random_state)
                state = start_training(n_latents, center, scale_of(X, center), X.dtype, random_state, tied=self.tied)
                self.mean_, self._n_seen, self.loss_history_ = np.zeros(X.shape[1]), 0, np.empty(0)
            elif hasattr(self, "_training"):
                state = _state_of(self._training, self.tied)
            else:
                state = self._state_of_model()
                self._n_seen = 0
            X = X.astype(state.decoder.dtype, copy=False)
            for name in ("fvu_", "kkt_", "coding_excess_", "mean_l0_", "n_dead_", "status_", "n_iter_"):
                self.__dict__.pop(name, None)  # they were those of another model
            losses, rate = [], full_rate(self, n_latents, n_nonzero)
            for rows in np.array_split(np.arange(X.shape[0]), -(-X.shape[0] // self.batch_size)):
                batch = standardized(X[rows], state.center, float(state.scale[0]))
                losses.append(training_step(state, batch, rule, rate, n_jobs=self.n_jobs))
        _require_finite(losses, rate)
        self._n_seen += X.shape[0]
        self.mean_ = self.mean_ + (X.mean(axis=0, dtype=np.float64) - self.mean_) * (X.shape[0] / self._n_seen)
        self.loss_history_ = np.append(self.loss_history_, np.mean(losses))
        self._training = _arrays_of(state)
        self._set_model(state, n_nonzero)
        if self.activation in _OF_BATCHES:
            thresholds = state.scale[0] * state.thresholds
            self.threshold_ = np.where(np.isnan(thresholds), np.inf, thresholds)
        return self

    def _state_of_model(self) -> TrainingState:
        """The fitted autoencoder as the start of a training."""
        dtype = self.components_.dtype
        state = start_training(
            self.n_components_, self.bias_, self.scale_, dtype, np.random.RandomState(0), tied=self.tied
        )
        state.decoder[:] = self.components_
        state.encoder[:] = self.encoder_
        state.encoder_bias[:] = self.encoder_bias_ / self.scale_
        state.n_steps[0] = self.n_steps_
        if self.activation in _OF_BATCHES:
            state.thresholds[:] = np.where(np.isinf(self.threshold_), np.nan, self.threshold_ / self.scale_)
        return state

    def transform(self, X: Any) -> Any:
        """The codes of samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray or csr_array of shape (n_samples, n_components)
            The codes, in the form that `output` says.
        """
        check_is_fitted(self)
        if check_namespace(self, X, "transform"):
            return encode_on_device(self, validate_data(self, X, dtype=float_types(X), reset=False))
        return codes_output(self, self._encode(X)[1], self.output)

    def _encode(self, X: Any) -> tuple[np.ndarray, SparseCodes]:
        X = validate_data(self, X, dtype=(np.float64, np.float32), order="C", reset=False)
        model = Autoencoder(*(array.astype(X.dtype, copy=False) for array in self._model()))
        with self._one_blas_thread():
            return X, encode_samples(X, model, self._coder(), n_jobs=self.n_jobs)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The samples that codes stand for.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Their products with the atoms, plus the bias.
        """
        check_is_fitted(self)
        check_namespace(self, X, "inverse_transform")
        codes = codes_input(X, self.n_components_, dtype=float_types(X))
        return codes @ self.components_ + self.bias_

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the fraction of variance unexplained: the higher the better, at most zero.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored.

        Returns
        -------
        float
            Minus the squared error of the reconstructions over the squared distance from `mean_`. On the training
            data, ``-fvu_``.
        """
        check_is_fitted(self)
        if check_namespace(self, X, "score"):
            return -unexplained_on_device(self, validate_data(self, X, dtype=float_types(X), reset=False))
        X, codes = self._encode(X)
        errors = squared_errors(X, codes, self._model(), n_jobs=self.n_jobs)
        return -unexplained(float(errors.sum()), squared_spread(X, self.mean_))


def _require_finite(losses: Any, rate: float) -> None:
    if not np.all(np.isfinite(losses)):
        raise FloatingPointError(f"The training diverged at learning_rate={rate:.3g}: set a smaller one.")


def _arrays_of(state: TrainingState) -> dict[str, Any]:
    """A state as a dictionary of arrays, for safe loaders."""
    latents = state.latents
    arrays = {name: value for name, value in state._asdict().items() if isinstance(value, np.ndarray)}
    moments = {
        "decoder": latents.decoder,
        "encoder": latents.encoder,
        "encoder_bias": latents.encoder_bias,
        "bias": state.bias_moments,
    }
    return {**arrays, "counts": latents.counts, "moments": {name: list(pair) for name, pair in moments.items()}}


def _state_of(arrays: dict[str, Any], tied: bool) -> TrainingState:
    moments = {name: Moments(*pair) for name, pair in arrays["moments"].items()}
    rest = {name: value for name, value in arrays.items() if name not in ("counts", "moments")}
    if tied:  # one array, of which a file may hold two copies
        rest["encoder"] = rest["decoder"]
    latents = LatentState(moments["decoder"], moments["encoder"], moments["encoder_bias"], arrays["counts"])
    return TrainingState(**rest, latents=latents, bias_moments=moments["bias"])
