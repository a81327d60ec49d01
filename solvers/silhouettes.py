"""How well clusters of directions are set apart: silhouettes in the angle between vectors."""

import numpy as np

from .factor_alignment import unit_rows


def angular_silhouettes(clusters: np.ndarray) -> np.ndarray:
    r"""The silhouette of every vector of clusters of equal size.

    With a the mean angle to the other vectors of its own cluster and b the smallest mean angle to those of another,
    the silhouette of a vector is :math:`(b - a) / \max(a, b)`: near one where clusters are tight and far apart,
    negative for a vector that stands nearer to another cluster than to its own.

    Parameters
    ----------
    clusters : ndarray of shape (n_runs, n_clusters, n_features)
        ``clusters[p, a]`` is the vector that run p contributes to cluster a; their lengths do not matter. A zero
        vector stands at a right angle to everything.

    Returns
    -------
    ndarray of shape (n_runs, n_clusters)
        The silhouettes, in [-1, 1]; one throughout if there is only one cluster, for want of another.

    Raises
    ------
    ValueError
        If there are fewer than two runs.

    References
    ----------
    P. J. Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis",
    J. Comput. Appl. Math. 20, 1987.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.silhouettes import angular_silhouettes
    >>> run = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> angular_silhouettes(np.stack([run, run])).round(6)
    array([[1., 1.],
           [1., 1.]])
    """
    n_runs, n_clusters, n_features = clusters.shape
    if n_runs < 2:
        raise ValueError(f"silhouettes need at least two runs, got {n_runs}.")
    if n_clusters == 1:
        return np.ones((n_runs, 1))
    vectors = unit_rows(clusters).reshape(n_runs * n_clusters, n_features)
    cosines = np.clip(vectors @ vectors.T, -1.0, 1.0)
    np.fill_diagonal(cosines, 1.0)
    angles = np.arccos(cosines).reshape(n_runs * n_clusters, n_runs, n_clusters)
    sums = angles.sum(axis=1).reshape(n_runs, n_clusters, n_clusters)  # [p, a, c]: from vector (p, a) to cluster c
    own = np.arange(n_clusters)
    within = sums[:, own, own] / (n_runs - 1)
    between = sums / n_runs
    between[:, own, own] = np.inf
    nearest = between.min(axis=2)
    larger = np.maximum(within, nearest)
    return np.where(larger > 0.0, (nearest - within) / np.where(larger > 0.0, larger, 1.0), 0.0)
