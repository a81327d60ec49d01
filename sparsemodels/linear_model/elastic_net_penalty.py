"""The elastic-net penalty of an estimator, with penalty weights and bounds."""

from typing import Any

import numpy as np

from sparsemodels.linear_model.composite_estimator import make_penalty


class ElasticNetPenalized:
    """What the estimators under an elastic-net penalty share; stands first among the base classes."""

    l1_ratio: Any
    penalty_weights: Any
    bounds: Any
    positive: bool

    def _elastic_net(self, n_features: int, l1_ratio: float) -> Any:
        """The record of the penalty at the level one."""
        return make_penalty(l1_ratio, self.penalty_weights, self.bounds, self.positive, n_features)

    def _penalty(self, n_features: int) -> Any:
        return self._elastic_net(n_features, self.l1_ratio)


class ElasticNetCandidates(ElasticNetPenalized):
    """What makes the cross-validation of such an estimator compare several `l1_ratio`; stands first, too."""

    def _candidates(self, n_features: int) -> list[tuple[dict, Any]]:
        ratios = np.atleast_1d(np.asarray(self.l1_ratio, dtype=np.float64))
        if ratios.ndim != 1 or ratios.size == 0 or not ((ratios > 0.0) & (ratios <= 1.0)).all():
            raise ValueError(f"l1_ratio must lie in (0, 1], got {self.l1_ratio!r}.")
        return [({"l1_ratio": float(ratio)}, self._elastic_net(n_features, float(ratio))) for ratio in ratios]
