"""How relevant a column must be to be kept."""

import math

from scipy.special import chdtrc, chdtri


def relevance_threshold(threshold: float | str, n_columns: int, n_degrees: int = 1) -> float:
    r"""The relevance that a column needs, from the parameter of an estimator.

    The relevance of a column that has nothing to do with the targets is distributed as :math:`\chi^2_k / k`, with k the
    degrees of freedom that it is a mean over: one for a real coefficient, two for a complex one, times the number of
    outputs. For k = 1 one in three such columns passes a threshold of one, while the largest of p is near
    :math:`2 \log p`.

    Parameters
    ----------
    threshold : float or "auto"
        The relevance, or the number that such a column exceeds as often as :math:`\chi^2_1` exceeds :math:`2 \log p`;
        at least one.
    n_columns : int
        The number p of columns.
    n_degrees : int, default=1
        The degrees of freedom k of one relevance.

    Returns
    -------
    float
        The relevance, >= 1.

    Examples
    --------
    >>> from sparsemodels.bayes.relevance_threshold import relevance_threshold
    >>> round(relevance_threshold("auto", 100), 2), round(relevance_threshold("auto", 100, n_degrees=8), 2)
    (9.21, 2.98)
    """
    if not isinstance(threshold, str):
        return float(threshold)
    exceeded = chdtrc(1, 2.0 * math.log(n_columns))
    return max(float(chdtri(n_degrees, exceeded)) / n_degrees, 1.0)
