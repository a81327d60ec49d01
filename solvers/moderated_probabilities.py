r"""Class probabilities that know how uncertain the scores are.

The mean of the softmax over a Gaussian of scores has no closed form. For two classes, with the log odds of mean m and
variance v, MacKay's approximation is :math:`\sigma(m / \sqrt{1 + \pi v / 8})`. For more, each pair is treated so,

.. math::

    \pi_k \propto \Bigl(\sum_l \exp\bigl(-(m_k - m_l) / \sqrt{1 + \pi v_{kl} / 8}\bigr)\Bigr)^{-1},

with :math:`v_{kl}` the variance of the difference of two scores; it depends on differences only, as the softmax itself,
and for two classes it is MacKay's.

References
----------
D. J. C. MacKay, "The evidence framework applied to classification networks", Neural Computation 4, 1992. Z. Lu, E. Ie
and F. Sha, "Mean-field approximation to Gaussian-softmax integral with application to uncertainty estimation",
arXiv:2006.07584, 2020.
"""

import numpy as np


def moderated_log_probabilities(logits: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """The logarithm of the approximate mean of the softmax of Gaussian scores.

    Parameters
    ----------
    logits : ndarray of shape (n_samples, n_classes)
        The means of the scores.
    variances : ndarray of shape (n_samples, n_classes, n_classes)
        The variances of their differences.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)
        Log probabilities.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.moderated_probabilities import moderated_log_probabilities
    >>> logits = np.array([[0.0, 3.0], [0.0, 3.0]])
    >>> unsure = np.array([[0.0, 16.0], [16.0, 0.0]])
    >>> np.exp(moderated_log_probabilities(logits, np.stack([0.0 * unsure, unsure]))).round(3)
    array([[0.047, 0.953],
           [0.248, 0.752]])
    """
    apart = logits[:, None, :] - logits[:, :, None]  # how much better the second class is than the first
    exponents = apart / np.sqrt(1.0 + np.pi / 8.0 * variances)
    largest = exponents.max(axis=2)  # at least zero: that of the class and itself
    logs = -largest - np.log(np.exp(exponents - largest[:, :, None]).sum(axis=2))
    top = logs.max(axis=1, keepdims=True)
    return logs - top - np.log(np.exp(logs - top).sum(axis=1, keepdims=True))
