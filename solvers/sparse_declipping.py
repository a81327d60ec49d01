r"""Sparsity-based audio declipping, A-SPADE and S-SPADE: the sparsest frames that are consistent with a clipped signal.

A frame of a recording has a few strong frequencies; its clipped samples are known only to lie beyond the clipping
level. With :math:`A` the discrete Fourier transform of a frame padded to a redundancy of two or more, a Parseval frame
of adjoint :math:`D`, and :math:`\Gamma` the signals that agree with every reliable sample and exceed the level where
the recording was clipped, both algorithms look for

.. math:: \min_{x \in \Gamma,\, z} \|z\|_0
    \quad\text{with}\quad \|A x - z\| \le \epsilon \;\;\text{(analysis)},\qquad \|x - D z\| \le \epsilon
    \;\;\text{(synthesis)},

by the alternating direction method of multipliers on a problem with a fixed number k of nonzeros, which grows until
the distance is small.

References
----------
S. Kitić, N. Bertin and R. Gribonval, "Sparsity and cosparsity for audio declipping: a flexible non-convex approach",
LVA/ICA 2015.

P. Záviška, P. Rajmic, O. Mokrý and Z. Průša, "A proper version of synthesis-based sparse audio declipper", ICASSP 2019.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

_BLOCK = 1 << 17  # coefficients treated together: large enough to amortise calls, small enough for a cache


class Declipping(NamedTuple):
    """A declipped signal and how good it is, frame by frame.

    Attributes
    ----------
    signal : ndarray of shape (n_samples,)
        The declipped signal: reliable samples as they were, clipped samples at the clipping level or beyond.
    clipped : ndarray of shape (n_samples,), bool
        Which samples were clipped.
    residual : ndarray of shape (n_frames,)
        The distance of each windowed frame to its sparse approximation, relative to the norm of the frame; zero for a
        frame without clipped samples.
    sparsity : ndarray of shape (n_frames,), int
        The number of frequencies in that approximation; zero for a frame without clipped samples.
    n_iter : ndarray of shape (n_frames,), int
        The number of iterations; zero for a frame without clipped samples.
    violation : float
        The largest violation of consistency, zero: no reliable sample differs, no clipped sample is inside the level.
    converged : bool
        Whether every frame came within the tolerance of a sparse one.
    """

    signal: np.ndarray
    clipped: np.ndarray
    residual: np.ndarray
    sparsity: np.ndarray
    n_iter: np.ndarray
    violation: float
    converged: bool


class FourierFrame(NamedTuple):
    """The redundant discrete Fourier transform of real frames, scaled to a Parseval frame: synthesis undoes analysis.

    Attributes
    ----------
    frame_length : int
        The number of samples of a frame.
    transform_length : int
        The length to which frames are padded.
    multiplicity : ndarray of shape (n_frequencies,)
        How many coefficients of the full transform each coefficient of the half spectrum stands for: two, itself and
        its conjugate; one at frequency zero and, for an even length, at the Nyquist frequency.
    """

    frame_length: int
    transform_length: int
    multiplicity: np.ndarray

    def analysis(self, frames: np.ndarray) -> np.ndarray:
        """The half spectra of frames, ``(n_frames, n_frequencies)``."""
        return scipy.fft.rfft(frames, self.transform_length, axis=-1, norm="ortho")

    def synthesis(self, spectra: np.ndarray) -> np.ndarray:
        """The adjoint: frames from half spectra, ``(n_frames, frame_length)``."""
        return scipy.fft.irfft(spectra, self.transform_length, axis=-1, norm="ortho")[..., : self.frame_length]

    def energy(self, spectra: np.ndarray) -> np.ndarray:
        """The squared magnitude of each frequency in the full spectrum, with its conjugate."""
        return (spectra.real**2 + spectra.imag**2) * self.multiplicity

    def keep_largest(self, spectra: np.ndarray, n_frequencies: int) -> np.ndarray:
        """The nearest spectra with `n_frequencies` frequencies: hard thresholding in conjugate pairs."""
        dropped = spectra.shape[-1] - n_frequencies
        if dropped <= 0:
            return spectra
        energy = self.energy(spectra)
        threshold = np.partition(energy, dropped, axis=-1)[..., dropped, np.newaxis]
        return np.where(energy >= threshold, spectra, 0.0)


def fourier_frame(frame_length: int, redundancy: float) -> FourierFrame:
    """The Fourier frame of at least this redundancy whose length has a fast transform.

    Parameters
    ----------
    frame_length : int
        The number of samples of a frame.
    redundancy : float
        How many times more coefficients than samples, >= 1.

    Returns
    -------
    FourierFrame
        The frame.
    """
    length = scipy.fft.next_fast_len(int(np.ceil(redundancy * frame_length)), real=True)
    multiplicity = np.full(length // 2 + 1, 2.0)
    multiplicity[0] = 1.0
    if length % 2 == 0:
        multiplicity[-1] = 1.0
    return FourierFrame(frame_length, length, multiplicity)


def estimate_clipping_level(signal: np.ndarray) -> tuple[float, float]:
    """The levels at which a signal was clipped, read from the signal.

    A signal counts as clipped above if it stays at its positive maximum for two samples in a row, and below likewise;
    a constant signal does not.

    Parameters
    ----------
    signal : ndarray of shape (n_samples,)
        The signal.

    Returns
    -------
    tuple of float
        The lower and the upper level; -inf and inf where the signal was not clipped.
    """

    def stays(level):
        at_level = signal == level
        return bool(np.any(at_level[1:] & at_level[:-1]))

    low, high = float(signal.min()), float(signal.max())
    if low == high:
        return -np.inf, np.inf
    return (low if low < 0.0 and stays(low) else -np.inf), (high if high > 0.0 and stays(high) else np.inf)


def declip_frames(
    frames: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    *,
    method: str,
    transform: FourierFrame,
    k_step: int,
    k_every: int,
    tol: float,
    max_iter: int | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    r"""Find the sparse frames in a consistent set, many frames at a time.

    The frames of one call advance together, with the same number k of frequencies, and leave as they converge; what
    is found for one does not depend on the others.

    Parameters
    ----------
    frames : ndarray of shape (n_frames, frame_length)
        The clipped frames, where to start.
    lower, upper : ndarray of shape (n_frames, frame_length)
        The consistent set, ``lower <= x <= upper``; equal where a sample is reliable, infinite where nothing is known.
    method : {"a-spade", "s-spade"}
        Whether the spectrum of the frame is sparse, or the frame a sum of few frequencies.
    transform : FourierFrame
        The transform.
    k_step, k_every : int
        So many frequencies more after so many iterations.
    tol : float
        The distance to the sparse approximation to reach, relative to the norm of the frame.
    max_iter : int or None
        The largest number of iterations; None for as many as it takes. Once all frequencies are allowed the distance
        vanishes at the second iteration, so that ``k_every * (ceil(n_frequencies / k_step) - 1) + 2`` always suffice.

    Returns
    -------
    declipped : ndarray of shape (n_frames, frame_length)
        The frames of the smallest distance met, in the consistent set.
    residual : ndarray of shape (n_frames,)
        That distance, relative to the norm of the given frame.
    sparsity, n_iter : ndarray of shape (n_frames,)
        The number of frequencies there, and the number of iterations.
    """
    n_frames = frames.shape[0]
    n_frequencies = transform.multiplicity.size
    enough = k_every * (-(-n_frequencies // k_step) - 1) + 2
    best, distance = frames.copy(), np.full(n_frames, np.inf)
    sparsity, n_iter = np.zeros(n_frames, dtype=np.int64), np.zeros(n_frames, dtype=np.int64)
    scale = np.linalg.norm(frames, axis=1)
    scale[scale == 0.0] = 1.0
    active = np.arange(n_frames)
    x, k = frames, k_step
    analysis = method == "a-spade"
    spectra = transform.analysis(x) if analysis else None
    multiplier: Any = np.zeros_like(spectra) if analysis else np.zeros_like(x)
    for iteration in range(1, (enough if max_iter is None else max_iter) + 1):
        if analysis:
            sparse = transform.keep_largest(spectra + multiplier, k)
            error = spectra - sparse
            current = np.sqrt(np.sum(transform.energy(error), axis=1)) / scale[active]
        else:
            sparse = transform.keep_largest(transform.analysis(x - multiplier), k)
            error = transform.synthesis(sparse) - x
            current = np.linalg.norm(error, axis=1) / scale[active]
        n_iter[active] = iteration
        better = current < distance[active]
        improved = active[better]
        best[improved], distance[improved], sparsity[improved] = x[better], current[better], k
        going = current > tol
        if not going.all():
            active = active[going]
            if active.size == 0:
                break
            x, lower, upper, multiplier, sparse, error = (
                part[going] for part in (x, lower, upper, multiplier, sparse, error)
            )
        if analysis:
            x = np.clip(transform.synthesis(sparse - multiplier), lower, upper)
            spectra = transform.analysis(x)
            multiplier += spectra - sparse
        else:
            approximation = x + error
            x = np.clip(approximation + multiplier, lower, upper)
            multiplier += approximation - x
        if iteration % k_every == 0:
            k += k_step
    return best, distance, np.minimum(sparsity, n_frequencies), n_iter


def sparse_declipping(
    signal: np.ndarray,
    low: float,
    high: float,
    *,
    method: str = "a-spade",
    frame_length: int = 2048,
    hop: int | None = None,
    redundancy: float = 2.0,
    k_step: int = 1,
    k_every: int = 2,
    tol: float = 1e-2,
    max_iter: int | None = None,
    on_block: Callable[[int, int], Any] | None = None,
) -> Declipping:
    r"""Declip a signal by overlapping windowed frames.

    The frames are weighted by a Hann window :math:`g`, declipped, and added up with the canonical dual window
    :math:`g / \sum_m g^2(\cdot - m h)`. What lies before the first and after the last sample is unknown and left
    free, so that a signal that starts in the middle of a note is not taken to start with a jump. A frame without
    clipped samples is left as it is.

    Parameters
    ----------
    signal : ndarray of shape (n_samples,)
        The clipped signal.
    low, high : float
        The clipping levels; -inf and inf where there is none.
    method : {"a-spade", "s-spade"}, default="a-spade"
        Whether the spectrum of a frame is sparse, or a frame the sum of few frequencies.
    frame_length : int, default=2048
        Samples a frame, at most the length of the signal.
    hop : int, optional
        Samples from one frame to the next; a quarter of a frame by default.
    redundancy : float, default=2.0
        The least redundancy of the Fourier frame, >= 1.
    k_step, k_every : int, default=1, 2
        So many frequencies more after so many iterations.
    tol : float, default=1e-2
        The distance to a sparse frame to reach, relative to the norm of the frame.
    max_iter : int, optional
        The largest number of iterations a frame; as many as it takes by default.
    on_block : callable, optional
        Called with the number of frames done and of all frames; a true result stops and leaves the rest clipped.

    Returns
    -------
    Declipping
        The declipped signal and its certificate.
    """
    values = np.asarray(signal, dtype=np.float64)
    if signal.dtype.kind == "f":  # 0.7 in single precision is less than 0.7: compare like with like
        low, high = float(signal.dtype.type(low)), float(signal.dtype.type(high))
    n_samples = values.size
    frame_length = min(frame_length, n_samples)
    hop = min(hop if hop is not None else max(frame_length // 4, 1), frame_length)
    too_low, too_high = values <= low, values >= high
    clipped = too_low | too_high
    lower = np.where(too_low, -np.inf, np.where(too_high, high, values))
    upper = np.where(too_high, np.inf, np.where(too_low, low, values))
    # Half a sample off, so that the window is positive throughout and symmetric for every length.
    window = np.sin(np.pi * (np.arange(frame_length) + 0.5) / frame_length) ** 2
    transform = fourier_frame(frame_length, redundancy)

    before = frame_length - hop
    n_frames = -(-(before + n_samples) // hop)
    padded_length = (n_frames - 1) * hop + frame_length
    margin = before, padded_length - before - n_samples
    padded = np.pad(values, margin)
    padded_lower = np.pad(lower, margin, constant_values=-np.inf)
    padded_upper = np.pad(upper, margin, constant_values=np.inf)
    total, weight = np.zeros(padded_length), np.zeros(padded_length)
    starts = hop * np.arange(n_frames)
    counts = np.concatenate([[0], np.cumsum(np.pad(clipped, margin))])
    affected = counts[starts + frame_length] > counts[starts]

    residual = np.zeros(n_frames)
    sparsity, n_iter = np.zeros(n_frames, dtype=np.int64), np.zeros(n_frames, dtype=np.int64)
    block, stopped = max(_BLOCK // transform.transform_length, 1), False
    for first in range(0, n_frames, block):
        chosen = np.arange(first, min(first + block, n_frames))
        inside = starts[chosen, np.newaxis] + np.arange(frame_length)
        frames = padded[inside] * window
        work = np.flatnonzero(affected[chosen])
        if work.size and not stopped:
            rows = inside[work]
            frames[work], residual[chosen[work]], sparsity[chosen[work]], n_iter[chosen[work]] = declip_frames(
                frames[work], padded_lower[rows] * window, padded_upper[rows] * window,
                method=method, transform=transform, k_step=k_step, k_every=k_every, tol=tol, max_iter=max_iter,
            )  # fmt: skip
            stopped = on_block is not None and bool(on_block(int(chosen[-1]) + 1, n_frames))
        elif work.size:
            residual[chosen[work]] = np.inf
        for start, frame in zip(starts[chosen], frames):
            total[start : start + frame_length] += frame * window
            weight[start : start + frame_length] += window * window
    inner = slice(before, before + n_samples)
    # The average of consistent frames is consistent up to rounding; this makes it exact.
    declipped = np.clip(total[inner] / weight[inner], lower, upper)
    result = declipped.astype(signal.dtype) if signal.dtype.kind == "f" else declipped
    violation = max(
        float(np.abs(result - signal)[~clipped].max(initial=0.0)),
        float((high - result)[too_high].max(initial=0.0)),
        float((result - low)[too_low].max(initial=0.0)),
    )
    return Declipping(result, clipped, residual, sparsity, n_iter, violation, bool(np.all(residual <= tol)))
