"""Sparse linear models and greedy recovery."""

import importlib
from typing import Any

_WHERE = {
    "AdaptiveLasso": "adaptive_lasso",
    "AdaptiveLassoCV": "adaptive_lasso",
    "BestSubsetClassifier": "best_subset_classifier",
    "BestSubsetClassifierCV": "best_subset_cv",
    "BestSubsetRegressor": "best_subset",
    "BestSubsetRegressorCV": "best_subset_cv",
    "ElasticNet": "elastic_net",
    "ElasticNetCV": "elastic_net",
    "FusedLasso": "fused_lasso",
    "FusedLassoCV": "fused_lasso",
    "GroupLasso": "group_lasso",
    "GroupLassoCV": "group_lasso",
    "GroupLassoClassifier": "group_lasso_classifier",
    "GroupLassoClassifierCV": "group_lasso_classifier",
    "HuberLasso": "huber_lasso",
    "HuberLassoCV": "huber_lasso",
    "KSupportRegressor": "k_support_regressor",
    "KSupportRegressorCV": "k_support_regressor",
    "LADLasso": "lad_lasso",
    "LADLassoCV": "lad_lasso",
    "Lasso": "lasso",
    "LassoCV": "lasso",
    "MCPRegressor": "mcp_regressor",
    "MCPRegressorCV": "mcp_regressor",
    "OrthogonalMatchingPursuit": "orthogonal_matching_pursuit",
    "OrthogonalMatchingPursuitCV": "orthogonal_matching_pursuit_cv",
    "PermutationTest": "permutation_test",
    "QuantileLasso": "quantile_lasso",
    "QuantileLassoCV": "quantile_lasso",
    "SCADRegressor": "scad_regressor",
    "SCADRegressorCV": "scad_regressor",
    "SimultaneousGLM": "simultaneous_glm",
    "SlopeRegressor": "slope_regressor",
    "SlopeRegressorCV": "slope_regressor",
    "SparseGammaRegressor": "sparse_gamma_regressor",
    "SparseGammaRegressorCV": "sparse_gamma_regressor",
    "SparseLogisticRegression": "sparse_logistic_regression",
    "SparseLogisticRegressionCV": "sparse_logistic_regression",
    "SparsePoissonRegressor": "sparse_poisson_regressor",
    "SparsePoissonRegressorCV": "sparse_poisson_regressor",
    "SquareRootLasso": "square_root_lasso",
    "SquareRootLassoCV": "square_root_lasso",
    "StabilitySelection": "stability_selection",
    "adaptive_lasso_path": "adaptive_lasso",
    "best_subset_path": "best_subset_sizes",
    "elastic_net_path": "elastic_net",
    "fused_lasso_path": "fused_lasso",
    "group_lasso_path": "group_lasso",
    "huber_lasso_path": "huber_lasso",
    "k_support_path": "k_support_regressor",
    "lad_lasso_path": "lad_lasso",
    "lasso_path": "lasso",
    "mcp_path": "mcp_regressor",
    "quantile_lasso_path": "quantile_lasso",
    "scad_path": "scad_regressor",
    "slope_path": "slope_regressor",
    "sparse_gamma_path": "sparse_gamma_regressor",
    "sparse_logistic_path": "sparse_logistic_regression",
    "sparse_poisson_path": "sparse_poisson_regressor",
    "square_root_lasso_path": "square_root_lasso",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
