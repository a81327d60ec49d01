"""Audio declipping by sparsity: a function for one recording and a transformer for several."""

import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_array, validate_data

from sparsemodels._base import (
    BaseEstimator,
    CallbackSupportMixin,
    Interval,
    StrOptions,
    _fit_context,
    require_numpy,
    with_callbacks,
)
from sparsemodels.solvers.sparse_declipping import Declipping, estimate_clipping_level, sparse_declipping

__all__ = ["AudioDeclipper", "declip_audio"]


class AudioDeclipper(CallbackSupportMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Restore clipped audio: find the sparse spectra that are consistent with the recording.

    Where a recording was overdriven its samples are known only to lie beyond the clipping level. Short frames of
    music and speech have few strong frequencies, so among all signals that agree with the recording the one with the
    sparsest frames is sought, by A-SPADE (the spectrum of each frame is sparse) or S-SPADE (each frame is a sum of few
    frequencies). Reliable samples are returned as they are, to the last bit, and clipped samples at the clipping level
    or beyond.

    Parameters
    ----------
    method : {"a-spade", "s-spade"}, default="a-spade"
        The analysis or the synthesis variant. The first is a little more accurate, the second a little faster.
    clipping_level : float or pair (lower, upper), optional
        The level, > 0, in the units of the samples: at or beyond it, on either side of zero, a sample is clipped; or
        two levels with ``lower < 0 < upper``. By default it is read from each signal: clipped is a signal that stays
        at its maximum, or at its minimum, for two samples in a row.
    frame_length : int, default=2048
        Samples a frame, at most those of the signal; some 50 to 200 ms are usual. The restoration should be able to
        reach over the longest clipped stretch, and the spectrum not change much within a frame.
    hop : int, optional
        Samples from one frame to the next; a quarter of a frame by default.
    redundancy : float, default=2.0
        How many times more frequencies than the discrete Fourier transform has, at least, >= 1.
    k_step, k_every : int, default=1, 2
        Allow `k_step` more frequencies after every `k_every` iterations. ``k_step=2, k_every=1`` takes about a
        quarter of the time, for much the same result.
    tol : float, default=1e-2
        The distance of a frame to its sparse approximation to reach, relative to the norm of the frame.
    max_iter : int, optional
        The largest number of iterations a frame. By default as many as it takes: the distance vanishes at the latest
        when all frequencies are allowed.

    Attributes
    ----------
    clipping_level_ : ndarray of shape (n_signals, 2)
        The lower and the upper level of each signal; -inf and inf where it was not clipped.
    residual_ : ndarray of shape (n_signals, n_frames)
        The certificate of sparsity: the distance of each frame to its sparse approximation, relative to the norm of
        the frame; zero for a frame without clipped samples.
    sparsity_ : ndarray of shape (n_signals, n_frames)
        The number of frequencies of that approximation; zero for a frame without clipped samples.
    violation_ : float
        The certificate of consistency, zero: the largest change of a reliable sample, or the farthest that a clipped
        sample lies inside of its level.
    n_iter_ : int
        The largest number of iterations of any frame; one if nothing was clipped.
    n_features_in_ : int
        The number of samples of a signal.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        The columns' names, if `X` had string names.

    See Also
    --------
    declip_audio : The same for one signal, of any length.

    Notes
    -----
    The transformer keeps no state: `transform` treats each signal by itself. Frames are weighted by a Hann window and
    joined by its canonical dual. What lies beyond the ends of a signal is left free, not taken as silence.

    The problem is not convex, so there is no bound of the distance to the sparsest signal of all.

    References
    ----------
    S. Kitić, N. Bertin and R. Gribonval, "Sparsity and cosparsity for audio declipping: a flexible non-convex
    approach", LVA/ICA 2015.

    P. Záviška, P. Rajmic, O. Mokrý and Z. Průša, "A proper version of synthesis-based sparse audio declipper", ICASSP
    2019.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.signal import AudioDeclipper
    >>> time = np.arange(1024) / 16000
    >>> chord = sum(np.sin(2 * np.pi * pitch * time) for pitch in (220, 277, 330)) / 3
    >>> clipped = np.clip(chord, -0.4, 0.4)
    >>> declipper = AudioDeclipper(frame_length=512)
    >>> restored = declipper.fit_transform(clipped[np.newaxis])[0]
    >>> bool(np.linalg.norm(restored - chord) < 0.1 * np.linalg.norm(clipped - chord))
    True
    >>> declipper.violation_
    0.0
    """

    _parameter_constraints: dict = {
        "method": [StrOptions({"a-spade", "s-spade"})],
        "clipping_level": [None, Interval(Real, 0, None, closed="neither"), tuple, list],
        "frame_length": [Interval(Integral, 1, None, closed="left")],
        "hop": [None, Interval(Integral, 1, None, closed="left")],
        "redundancy": [Interval(Real, 1, None, closed="left")],
        "k_step": [Interval(Integral, 1, None, closed="left")],
        "k_every": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [None, Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        *,
        method="a-spade",
        clipping_level=None,
        frame_length=2048,
        hop=None,
        redundancy=2.0,
        k_step=1,
        k_every=2,
        tol=1e-2,
        max_iter=None,
    ):
        self.method = method
        self.clipping_level = clipping_level
        self.frame_length = frame_length
        self.hop = hop
        self.redundancy = redundancy
        self.k_step = k_step
        self.k_every = k_every
        self.tol = tol
        self.max_iter = max_iter

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _levels(self, signal: np.ndarray) -> tuple[float, float]:
        return estimate_clipping_level(signal) if self.clipping_level is None else _check_levels(self.clipping_level)

    def _declip(self, signal: np.ndarray, on_block: Any = None) -> Declipping:
        low, high = self._levels(signal)
        return sparse_declipping(
            signal, low, high,
            method=self.method, frame_length=self.frame_length, hop=_check_hop(self.hop, self.frame_length),
            redundancy=self.redundancy, k_step=self.k_step, k_every=self.k_every, tol=self.tol,
            max_iter=self.max_iter, on_block=on_block,
        )  # fmt: skip

    def _validate(self, X: Any, reset: bool) -> np.ndarray:
        require_numpy(X, "sparse declipping")
        return validate_data(self, X, dtype=(np.float64, np.float32), reset=reset)

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Declip signals and keep the certificates.

        Parameters
        ----------
        X : array-like of shape (n_signals, n_samples)
            One signal a row.
        y : None
            Ignored.

        Returns
        -------
        ndarray of shape (n_signals, n_samples)
            The declipped signals.
        """
        X = self._validate(X, reset=True)
        context = self._init_callback_context(max_subtasks=None)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)

        def on_block(done: int, total: int) -> bool:
            task = context.subcontext(task_name="block of frames")
            task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            return bool(task.call_on_fit_task_end(estimator=self, X=X, y=y))

        solutions = [self._declip(signal, on_block) for signal in X]
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        self.clipping_level_ = np.array([self._levels(signal) for signal in X])
        self.residual_ = np.array([solution.residual for solution in solutions])
        self.sparsity_ = np.array([solution.sparsity for solution in solutions])
        self.violation_ = max(solution.violation for solution in solutions)
        self.n_iter_ = max(1, *(int(solution.n_iter.max()) for solution in solutions))
        _warn_unless_sparse("AudioDeclipper", self.residual_, self.tol)
        return np.array([solution.signal for solution in solutions])

    def fit(self, X: Any, y: Any = None) -> "AudioDeclipper":
        """Declip signals and keep the certificates only.

        Parameters
        ----------
        X : array-like of shape (n_signals, n_samples)
            One signal a row.
        y : None
            Ignored.

        Returns
        -------
        AudioDeclipper
            The fitted transformer itself.
        """
        self.fit_transform(X)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Declip signals.

        Parameters
        ----------
        X : array-like of shape (n_signals, n_samples)
            One signal a row.

        Returns
        -------
        ndarray of shape (n_signals, n_samples)
            The declipped signals.
        """
        self._validate_params()
        X = self._validate(X, reset=False)
        return np.array([self._declip(signal).signal for signal in X])


def declip_audio(signal: Any, **parameters: Any) -> Declipping:
    """Restore one clipped recording.

    Parameters
    ----------
    signal : array-like of shape (n_samples,)
        The recording, one channel.
    **parameters
        Those of :class:`AudioDeclipper`.

    Returns
    -------
    Declipping
        ``signal``, the restored recording in the precision of the given one, with its certificate frame by frame; see
        :class:`sparsemodels.solvers.sparse_declipping.Declipping`.

    Raises
    ------
    ValueError
        If the signal is not one-dimensional and finite, or a parameter is out of range.

    See Also
    --------
    AudioDeclipper : The same for several signals of one length, with the method explained.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.signal import declip_audio
    >>> tone = np.sin(0.05 * np.arange(1000))
    >>> restored = declip_audio(np.clip(tone, -0.8, 0.8), frame_length=500)
    >>> bool(np.abs(restored.signal - tone).max() < 0.05)
    True
    """
    declipper = AudioDeclipper(**parameters)
    declipper._validate_params()
    require_numpy(signal, "sparse declipping")
    signal = check_array(signal, ensure_2d=False, dtype=(np.float64, np.float32), input_name="signal")
    if signal.ndim != 1:
        raise ValueError(f"signal must have one dimension, one channel at a time, got shape {signal.shape}.")
    solution = declipper._declip(signal)
    _warn_unless_sparse("declip_audio", solution.residual, declipper.tol)
    return solution


def _check_levels(clipping_level: Any) -> tuple[float, float]:
    """The lower and the upper level from a number or a pair."""
    try:
        low, high = (-clipping_level, clipping_level) if isinstance(clipping_level, Real) else clipping_level
        low, high = float(low), float(high)
    except (TypeError, ValueError):
        raise ValueError(f"clipping_level must be a number or a pair of numbers, got {clipping_level!r}.") from None
    if not low < 0.0 < high:
        raise ValueError(f"clipping_level must be (lower, upper) with lower < 0 < upper, got {clipping_level!r}.")
    return low, high


def _check_hop(hop: int | None, frame_length: int) -> int | None:
    """The step between frames, which must leave no gap."""
    if hop is not None and hop > frame_length:
        raise ValueError(f"hop must be at most frame_length={frame_length}, got {hop}.")
    return hop


def _warn_unless_sparse(name: str, residual: np.ndarray, tol: float) -> None:
    far = int(np.count_nonzero(residual > tol))
    if far:
        warnings.warn(
            f"{name} stopped at {far} of {residual.size} frames before they were sparse: residual {residual.max():.3e} "
            f"> tol = {tol:.3e}; increase max_iter or tol.",
            ConvergenceWarning,
            stacklevel=3,
        )
