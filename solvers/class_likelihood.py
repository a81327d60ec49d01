r"""The likelihood of class labels in contrasts of the classes: one score for two classes, K - 1 for K.

Adding a constant to the scores of all classes changes no probability. The scores are therefore written as
:math:`c_i = V f_i` with contrasts V, whose columns sum to zero: :math:`(-\tfrac12, \tfrac12)` for two classes, so that
f is the log odds of the second one, and an orthonormal basis for more. Nothing depends on which basis it is, for the
priors on f that are used with it are round.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg


class ClassTargets(NamedTuple):
    """Labels with sample weights.

    Attributes
    ----------
    codes : ndarray of int of shape (n_samples,)
        The class of each sample, from 0.
    weights : ndarray of shape (n_samples,)
        Sample weights >= 0.
    contrasts : ndarray of shape (n_classes, n_contrasts)
        The basis V.
    """

    codes: np.ndarray
    weights: np.ndarray
    contrasts: np.ndarray


def class_contrasts(n_classes: int) -> np.ndarray:
    """The basis of contrasts.

    Parameters
    ----------
    n_classes : int
        The number of classes, >= 2.

    Returns
    -------
    ndarray of shape (n_classes, n_classes - 1)
        Columns that sum to zero.
    """
    if n_classes == 2:
        return np.array([[-0.5], [0.5]])
    return np.ascontiguousarray(scipy.linalg.helmert(n_classes).T)


def log_likelihood(targets: ClassTargets, scores: np.ndarray) -> float:
    """The weighted sum of the log probabilities of the labels.

    Parameters
    ----------
    targets : ClassTargets
        The labels.
    scores : ndarray of shape (n_samples, n_contrasts)
        The scores f.

    Returns
    -------
    float
        The sum.
    """
    logits = scores @ targets.contrasts.T
    logits -= logits[np.arange(len(logits)), targets.codes][:, None]
    largest = logits.max(axis=1)
    return -float(targets.weights @ (largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))))


def probabilities(targets: ClassTargets, scores: np.ndarray) -> np.ndarray:
    """The probabilities of the classes.

    Parameters
    ----------
    targets : ClassTargets
        The labels; only their contrasts are used.
    scores : ndarray of shape (n_samples, n_contrasts)
        The scores f.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)
        Probabilities.
    """
    logits = scores @ targets.contrasts.T
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def slopes(targets: ClassTargets, chances: np.ndarray) -> np.ndarray:
    """The gradient of the log likelihood in the scores.

    Parameters
    ----------
    targets : ClassTargets
        The labels.
    chances : ndarray of shape (n_samples, n_classes)
        The probabilities.

    Returns
    -------
    ndarray of shape (n_samples, n_contrasts)
        The gradient, row by row.
    """
    return targets.weights[:, None] * (targets.contrasts[targets.codes] - chances @ targets.contrasts)


def curvatures(targets: ClassTargets, chances: np.ndarray) -> np.ndarray:
    r"""Minus the Hessian of the log likelihood in the scores, a block a row.

    As a sum over pairs of classes, :math:`\sum_{k < l} p_k p_l (v_k - v_l)(v_k - v_l)^T`, nothing cancels where one
    class is all but certain.

    Parameters
    ----------
    targets : ClassTargets
        The labels.
    chances : ndarray of shape (n_samples, n_classes)
        The probabilities.

    Returns
    -------
    ndarray of shape (n_contrasts, n_contrasts, n_samples)
        The blocks, positive definite.
    """
    n_contrasts = targets.contrasts.shape[1]
    first, second = np.triu_indices(targets.contrasts.shape[0], 1)
    apart = targets.contrasts[first] - targets.contrasts[second]
    squares = (apart[:, :, None] * apart[:, None, :]).reshape(len(first), -1)
    shares = targets.weights[:, None] * chances[:, first] * chances[:, second]
    return np.ascontiguousarray((shares @ squares).T).reshape(n_contrasts, n_contrasts, -1)
