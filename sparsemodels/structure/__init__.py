"""Structure of many variables: directed acyclic graphs and factors."""

import importlib
from typing import Any

_WHERE = {
    "ConcomitantDAG": "concomitant_dag",
    "CorrelationThresholding": "correlation_thresholding",
    "structural_hamming_distance": "graph_comparison",
    "variance_sorted_graph": "variance_order",
    "varsortability": "variance_order",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
