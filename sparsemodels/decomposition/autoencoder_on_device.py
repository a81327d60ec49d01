"""What a k-sparse autoencoder does with arrays that are not NumPy's: everything, on their device."""

from typing import Any

import array_api_compat
import numpy as np
from sklearn import get_config

from sparsemodels.solvers.array_api_autoencoder import (
    ArrayTrainingState,
    array_center,
    array_model,
    array_scale,
    start_array_training,
)
from sparsemodels.solvers.array_api_certificate import certify_array, encode_array, train_thresholds
from sparsemodels.solvers.autoencoder_certificate import unexplained
from sparsemodels.solvers.autoencoder_training import TrainingRule
from sparsemodels.solvers.dense_codes import like
from sparsemodels.solvers.k_sparse_activations import BatchTopKActivation, FeatureChoiceActivation, ThresholdActivation


def is_foreign(X: Any) -> bool:
    """Whether X is an array of another library that scikit-learn lets through."""
    if not array_api_compat.is_array_api_obj(X) or array_api_compat.is_numpy_array(X):
        return False
    if array_api_compat.is_cupy_array(X) and not get_config()["array_api_dispatch"]:
        raise TypeError(
            "CuPy arrays are fitted on their device under sklearn.set_config(array_api_dispatch=True), which is off; "
            "set it, or move X to NumPy first."
        )
    return bool(get_config()["array_api_dispatch"])


def check_namespace(estimator: Any, X: Any, method: str) -> bool:
    """Whether X is foreign; raises if it is not of the library of the fitted arrays."""
    fitted, foreign = estimator.components_, is_foreign(X)
    of_numpy = array_api_compat.is_numpy_array(fitted)
    same = foreign != of_numpy and (
        of_numpy or array_api_compat.array_namespace(X) == array_api_compat.array_namespace(fitted)
    )
    if not same:
        name = type(estimator).__name__
        raise ValueError(
            f"Inputs passed to {name}.{method}() must use the same namespace as those passed to fit(), "
            f"got {type(X).__name__} after a fit to {type(fitted).__name__}."
        )
    return foreign


def float_types(X: Any) -> tuple[Any, Any]:
    """Double and single precision of the library of X, the first one preferred."""
    xp = array_api_compat.array_namespace(X) if is_foreign(X) else np
    return xp.float64, xp.float32


def start_on_device(estimator: Any, X: Any, n_latents: int, random_state: np.random.RandomState) -> ArrayTrainingState:
    """The state before the first step, from the parameters of an estimator."""
    if estimator.output == "csr":
        raise ValueError("output='csr' needs NumPy arrays; codes on a device are dense: set output='auto' or 'dense'.")
    center = array_center(X, estimator.center)
    return start_array_training(X, n_latents, center, array_scale(X, center), random_state, tied=estimator.tied)


def certify_on_device(
    estimator: Any, X: Any, state: ArrayTrainingState, rule: TrainingRule, random_state: np.random.RandomState
) -> Any:
    """Set the fitted attributes that describe the model on its training data; returns their codes.

    Parameters
    ----------
    estimator : KSparseAutoencoder
        The estimator, its budget set.
    X : array of shape (n_samples, n_features)
        The training data.
    state : ArrayTrainingState
        The trained state.
    rule : TrainingRule
        What was minimised.
    random_state : numpy.random.RandomState
        Shuffles the samples that thresholds are taken from.

    Returns
    -------
    array of shape (n_samples, n_components)
        The codes.
    """
    model, of_training = array_model(state), rule.activation
    estimator.__dict__.pop("threshold_", None)
    if isinstance(rule.activation, BatchTopKActivation | FeatureChoiceActivation):
        seed = random_state.randint(np.iinfo(np.int32).max)
        budget, trained = estimator._budget(), estimator.n_nonzero_coefs_
        found = train_thresholds(X, model, rule.activation, {budget, trained}, estimator.batch_size, seed)
        estimator.threshold_ = found[budget]
        of_training = ThresholdActivation(found[trained])
    coder = estimator._coder()
    if estimator._budget() == estimator.n_nonzero_coefs_:
        of_training = coder
    xp = array_api_compat.array_namespace(X)
    estimator.mean_ = xp.sum(X, axis=0, dtype=xp.float64) / X.shape[0]
    proof = certify_array(X, model, estimator.mean_, estimator.scale_, rule, coder, of_training, tied=state.tied)
    estimator.fvu_, estimator.kkt_, estimator.coding_excess_, estimator.mean_l0_, estimator.n_dead_ = proof
    return encode_array(X, model, coder)


def encode_on_device(estimator: Any, X: Any) -> Any:
    """The codes of validated samples."""
    xp = array_api_compat.array_namespace(X)
    model = estimator._model()
    return encode_array(X, type(model)(*(xp.astype(part, X.dtype) for part in model)), estimator._coder())


def unexplained_on_device(estimator: Any, X: Any) -> float:
    """The fraction of the variance of samples, about the mean of the training data, that codes leave unexplained."""
    xp = array_api_compat.array_namespace(X)
    rest = X - encode_on_device(estimator, X) @ estimator.components_ - estimator.bias_
    spread = xp.astype(X, xp.float64) - estimator.mean_
    error, variance = (float(xp.sum(part * part, dtype=xp.float64)) for part in (rest, spread))
    return unexplained(error, variance)


def on_device(values: np.ndarray, reference: Any) -> Any:
    """Values of NumPy beside a fitted array."""
    return like(values, reference)
