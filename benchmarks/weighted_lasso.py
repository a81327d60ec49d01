"""LASSO with one penalty weight a feature, log-uniform in [0.2, 5], at a single alpha."""

from lasso import PEERS, TARGET, TIGHT, build, efforts, quality, settings, tiny
from planted_regression import Case

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "Weighted LASSO, one alpha"
CASES = {
    "dense-1000x5000": Case(1000, 5000, 100, correlation=0.7, weighted=True),
    "csc-20000x50000": Case(20000, 50000, 200, density=1e-3, weighted=True),
}
BIG: frozenset[str] = frozenset()
