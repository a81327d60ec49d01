"""Compile the common kernels ahead of time."""

import warnings

import numpy as np
import scipy.sparse


def warmup() -> None:
    """Compile the kernels that fits on float64 data need, and leave them in the disk cache.

    A first fit compiles what it needs, once for a machine and a version of the package; later processes load it from
    Numba's disk cache. Call this while an image is built, or before you measure.

    Examples
    --------
    >>> import sparsemodels
    >>> sparsemodels.warmup()
    """
    from sparsemodels.bayes import SparseBayesClassifier, SparseBayesRegressor
    from sparsemodels.linear_model import (
        AdaptiveLassoCV,
        BestSubsetRegressor,
        ElasticNet,
        ElasticNetCV,
        GroupLasso,
        HuberLasso,
        Lasso,
        MCPRegressor,
        OrthogonalMatchingPursuit,
        QuantileLasso,
        SCADRegressor,
        SlopeRegressor,
        SparseLogisticRegression,
        SparsePoissonRegressor,
        SquareRootLasso,
    )

    rng = np.random.default_rng(0)
    X = np.asfortranarray(rng.standard_normal((30, 8)))
    y = X[:, 0] - X[:, 1] + 0.1 * rng.standard_normal(30)
    weights = np.array([0.0, np.inf] + [1.0] * 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in (X, np.ascontiguousarray(X), scipy.sparse.csc_matrix(X)):
            Lasso(alpha=0.01, penalty_weights=weights).fit(data, y)
            Lasso(alpha=0.01, positive=True).fit(data, y)
            ElasticNet(alpha=0.01).fit(data, y)
            ElasticNet(alpha=0.01, bounds=(-1.0, 1.0)).fit(data, y)
            AdaptiveLassoCV(alphas=3, cv=2).fit(data, y)
            ElasticNetCV(alphas=3, cv=2).fit(data, y)
            for model in (MCPRegressor(0.01), SCADRegressor(0.01), GroupLasso(alpha=0.01), SlopeRegressor(0.01)):
                model.fit(data, y)
            for model in (HuberLasso(0.01), QuantileLasso(0.01), SquareRootLasso(0.01), BestSubsetRegressor(2)):
                model.fit(data, y)
            SparseBayesRegressor().fit(data, y)
            SparseBayesClassifier().fit(data, y > 0.0)
            SparseLogisticRegression(0.01).fit(data, y > 0.0)
            SparsePoissonRegressor(0.01).fit(data, np.round(np.abs(y)))
            for loss in ("squared", "sqrt", "absolute"):
                for penalty in ("l0", "l1"):
                    OrthogonalMatchingPursuit(3, loss=loss, penalty=penalty, alpha=1e-3).fit(data, y)
