"""From the parameters of a k-sparse autoencoder to the records of its trainer."""

from numbers import Integral, Real
from typing import Any

import numpy as np

from sparsemodels.solvers.autoencoder_training import TrainingRule, nested_for
from sparsemodels.solvers.k_sparse_activations import (
    AbsTopKActivation,
    BatchTopKActivation,
    FeatureChoiceActivation,
    TopAFAActivation,
    TopKActivation,
)
from sparsemodels.solvers.k_sparse_autoencoder_gradients import LargestFirst, Prefixes, WholeCode
from sparsemodels.solvers.sparse_adam import Adam, Momentum

#: The activations by name.
ACTIVATIONS = {
    "topk": TopKActivation,
    "abstopk": AbsTopKActivation,
    "batchtopk": BatchTopKActivation,
    "feature_choice": FeatureChoiceActivation,
    "topafa": TopAFAActivation,
}


def sizes_of(estimator: Any, n_features: int) -> tuple[int, int]:
    """The number of latents, and the most or the mean number of them in a code."""
    n_latents = 2 * n_features if estimator.n_components == "auto" else int(estimator.n_components)
    if estimator.n_nonzero_coefs is not None:
        return n_latents, min(int(estimator.n_nonzero_coefs), n_latents)
    return n_latents, n_latents if estimator.activation == "topafa" else max(1, min(n_features // 10, n_latents))


def activation_of(estimator: Any, n_nonzero: int) -> Any:
    """The record of the activation with a budget."""
    if estimator.activation == "topafa":
        return TopAFAActivation(n_nonzero, float(estimator.norm_alpha))
    return ACTIVATIONS[estimator.activation](n_nonzero)


def _nesting_of(estimator: Any, n_latents: int, n_nonzero: int) -> Any:
    """Which parts of a code have to reconstruct the samples too."""
    hierarchical = estimator.hierarchical
    listed = not isinstance(hierarchical, bool | np.bool_)
    if not listed and not hierarchical:
        return WholeCode() if estimator.groups is None else Prefixes(_group_sizes(estimator, n_latents))
    if estimator.groups is not None:
        raise ValueError("hierarchical and groups are two ways to nest codes: set one of them.")
    if estimator.activation not in ("topk", "abstopk"):
        raise ValueError(f"hierarchical needs activation 'topk' or 'abstopk', got {estimator.activation!r}.")
    if not listed:
        return LargestFirst(np.arange(1, n_nonzero + 1))
    sizes = np.asarray(hierarchical)
    if sizes.ndim != 1 or not sizes.size or sizes.dtype.kind not in "iu" or sizes.min() < 1:
        raise ValueError(f"hierarchical must be a bool or a sequence of integers >= 1, got {hierarchical!r}.")
    return nested_for(LargestFirst(np.unique(sizes)), n_nonzero)


def _group_sizes(estimator: Any, n_latents: int) -> np.ndarray:
    """The sizes of nested groups of latents, the last one all of them."""
    groups = np.asarray(estimator.groups)
    rising = groups.ndim == 1 and groups.size > 0 and groups.dtype.kind in "iuf" and bool(np.all(np.diff(groups) > 0))
    most = 1.0 if groups.dtype.kind == "f" else n_latents
    if not rising or not groups[0] > 0 or groups[-1] > most:
        raise ValueError(
            "groups must be increasing numbers of latents up to n_components, or increasing shares in (0, 1], "
            f"got {estimator.groups!r}."
        )
    sizes = np.rint(groups * n_latents) if groups.dtype.kind == "f" else groups
    return np.unique(np.append(np.maximum(sizes, 1), n_latents)).astype(np.int64)


def schedule_of(estimator: Any) -> tuple[int, float] | None:
    """The k of the first epoch and the share of epochs over which it falls."""
    schedule = estimator.k_schedule
    if schedule is None:
        return None
    valid = (
        len(schedule) == 2
        and isinstance(schedule[0], Integral)
        and isinstance(schedule[1], Real)
        and int(schedule[0]) >= 1
        and 0.0 < float(schedule[1]) <= 1.0
    )
    if not valid:
        raise ValueError(
            "k_schedule must be the k >= 1 of the first epoch and the share in (0, 1] of the epochs over which it "
            f"falls, got {schedule!r}."
        )
    return int(schedule[0]), float(schedule[1])


def rule_of(estimator: Any, n_latents: int, n_nonzero: int, dead_after: int) -> TrainingRule:
    """What the trainer is asked for."""
    return TrainingRule(
        activation_of(estimator, n_nonzero),
        _nesting_of(estimator, n_latents, n_nonzero),
        Adam() if estimator.optimizer == "adam" else Momentum(),
        float(estimator.auxk_alpha),
        dead_after,
        estimator.center is not None,
    )


def full_rate(estimator: Any, n_latents: int, n_nonzero: int) -> float:
    """The learning rate between its rise and its fall."""
    if estimator.learning_rate is not None:
        return float(estimator.learning_rate)
    if estimator.optimizer == "adam":
        return float(2e-4 / np.sqrt(n_latents / 2**14))
    return n_latents / (50.0 * n_nonzero)  # the curvature along an encoder direction is about 2 k / L
