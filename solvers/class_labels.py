r"""The log loss of class labels and regressions under it: weighted, with an offset and a general ridge.

Two classes have one column of logits, the log odds of the second; more classes have one column each (softmax):

.. math:: \ell(z) = \sum_i s_i \bigl(\log(1 + e^{z_i}) - y_i z_i\bigr), \qquad
    \ell(Z) = \sum_i s_i \Bigl(\log \sum_k e^{z_{ik}} - z_{i y_i}\Bigr).

Minus the conjugate of either is an entropy: with probabilities :math:`p_i` that a dual point
:math:`\theta_i = s_i (y_i - p_i)` stands for, :math:`-\ell^*(-\theta) = \sum_i s_i H(p_i)`.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.special

_NEWTON_STEPS = 100


class ClassLabels(NamedTuple):
    """Labels with sample weights.

    Attributes
    ----------
    targets : ndarray of shape (n_samples, n_columns)
        One column with 1 for the second of two classes, else 0; or one column a class, 1 in that of the sample.
    weights : ndarray of shape (n_samples,)
        Sample weights > 0.
    """

    targets: np.ndarray
    weights: np.ndarray


class LogisticFit(NamedTuple):
    """A regression on labels.

    Attributes
    ----------
    coef : ndarray of shape (n_features, n_columns)
        The coefficients.
    logits : ndarray of shape (n_samples, n_columns)
        The logits, offset included.
    value : float
        The loss plus the ridge.
    """

    coef: np.ndarray
    logits: np.ndarray
    value: float


def probabilities(logits: np.ndarray) -> np.ndarray:
    """The probabilities that logits stand for, column by column."""
    return scipy.special.expit(logits) if logits.shape[1] == 1 else scipy.special.softmax(logits, axis=1)


def log_loss(labels: ClassLabels, logits: np.ndarray) -> float:
    """The weighted sum of minus the log probabilities of the labels."""
    if logits.shape[1] == 1:
        margin = np.where(labels.targets[:, 0] > 0.0, logits[:, 0], -logits[:, 0])
        return float(labels.weights @ -scipy.special.log_expit(margin))
    largest = logits.max(axis=1)
    total = np.log(np.exp(logits - largest[:, None]).sum(axis=1)) + largest
    return float(labels.weights @ (total - (logits * labels.targets).sum(axis=1)))


def pull(labels: ClassLabels, logits: np.ndarray) -> np.ndarray:
    """Minus the gradient of the loss with respect to the logits: weights times labels minus probabilities."""
    return labels.weights[:, None] * (labels.targets - probabilities(logits))


def entropy(labels: ClassLabels, chance: np.ndarray) -> float:
    """The weighted sum of the entropies of probabilities: minus the conjugate of the loss."""
    rows = scipy.special.entr(chance).sum(axis=1)
    if chance.shape[1] == 1:
        rows = rows + scipy.special.entr(1.0 - chance[:, 0])
    return float(labels.weights @ rows)


def loss_at_zero(labels: ClassLabels) -> float:
    """The loss of logits that are all zero."""
    return float(labels.weights.sum() * np.log(max(labels.targets.shape[1], 2)))


def largest_curvature(labels: ClassLabels) -> float:
    """The largest curvature of one sample's loss of weight one, in any direction of its logits."""
    return 0.25 if labels.targets.shape[1] == 1 else 0.5


def _hessian(design: np.ndarray, weights: np.ndarray, chance: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    """The Hessian of loss plus ridge, class after class."""
    d, c = design.shape[1], chance.shape[1]
    out = np.empty((c, d, c, d))
    for k in range(c):
        for other in range(k + 1):
            share = chance[:, k] * ((k == other) - chance[:, other])
            block = design.T @ ((weights * share)[:, None] * design)
            out[k, :, other] = out[other, :, k] = block
        out[k, :, k] += ridge
    if c > 1:  # the same number added to the logits of all classes changes nothing: fix that direction
        scale = np.einsum("kaka->a", out) / c**2
        for a in range(d):
            out[:, a, :, a] += max(scale[a], 1e-300)
    return out.reshape(c * d, c * d)


def fit_logistic(
    labels: ClassLabels,
    design: np.ndarray,
    ridge: np.ndarray,
    *,
    offset: np.ndarray,
    start: np.ndarray,
    precision: float = 1e-15,
) -> LogisticFit:
    r"""Minimise :math:`\ell(O + F b) + \tfrac12 \operatorname{tr}(b^T R b)` by Newton's method with halved steps.

    Parameters
    ----------
    labels : ClassLabels
        The labels.
    design : ndarray of shape (n_samples, n_features)
        The features F.
    ridge : ndarray of shape (n_features, n_features)
        The matrix R, symmetric and positive semidefinite.
    offset : ndarray of shape (n_samples, n_columns)
        The logits O without the features.
    start : ndarray of shape (n_features, n_columns)
        Where to start.
    precision : float, default=1e-15
        The step before which twice the promised decrease is below this share of the loss at zero is the last one.
        Convergence is quadratic: 1e-10 is enough for the last digits of the value.

    Returns
    -------
    LogisticFit
        The minimum. Of more than two classes the columns of the coefficients sum to
        what they summed to at the start.
    """

    def at(b: np.ndarray) -> tuple[np.ndarray, float]:
        logits = offset + design @ b
        return logits, log_loss(labels, logits) + 0.5 * float(np.sum(b * (ridge @ b)))

    coef = np.array(start, dtype=np.float64)
    logits, value = at(coef)
    if design.shape[1] == 0:
        return LogisticFit(coef, logits, value)
    smallest = precision * loss_at_zero(labels)
    for _ in range(_NEWTON_STEPS):
        chance = probabilities(logits)
        slope = design.T @ (labels.weights[:, None] * (labels.targets - chance)) - ridge @ coef
        hessian = _hessian(design, labels.weights, chance, ridge)
        # A class that is all but certain bends next to nothing, and two features may be the same.
        hessian[np.diag_indices_from(hessian)] += 1e-13 * np.trace(hessian) / hessian.shape[0] + 1e-300
        step = scipy.linalg.solve(hessian, slope.T.ravel(), assume_a="pos").reshape(slope.T.shape).T
        decrement, size = float(np.sum(slope * step)), 1.0
        while True:
            candidate = coef + size * step
            next_logits, next_value = at(candidate)
            if next_value <= value - 1e-4 * size * decrement or decrement <= smallest or size < 1e-9:
                break
            size *= 0.5
        if next_value <= value + 1e-14 * abs(value):
            coef, logits, value = candidate, next_logits, next_value
        if decrement <= smallest or size < 1e-9:
            break
    return LogisticFit(coef, logits, value)
