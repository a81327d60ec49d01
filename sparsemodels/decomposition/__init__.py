"""Matrix factorization with certificates."""

import importlib
from typing import Any

_WHERE: dict[str, str] = {
    "CodingCertificate": "sparse_coder",
    "DictionaryLearning": "dictionary_learning",
    "FastTransform": "fast_transform",
    "KSparseAutoencoder": "k_sparse_autoencoder",
    "NBMF": "nbmf",
    "NMF": "nmf",
    "NMFCV": "nmf_cv",
    "NonnegativeRESCAL": "nonnegative_rescal",
    "PredictiveSparseCoder": "predictive_sparse_coder",
    "SparseCoder": "sparse_coder",
    "StabilityRankSelector": "stability_rank",
    "SufficientlyScattered": "identifiability",
    "SupervisedDictionaryLearning": "supervised_dictionary_learning",
    "pixel_graph": "neighboring_pixels",
    "sufficiently_scattered": "identifiability",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
