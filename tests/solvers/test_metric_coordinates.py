"""Least squares in a metric: what the coordinates promise, and what learning in them gains."""

import numpy as np
import pytest

from sparsemodels.solvers.coders import OMP, LassoCD, dictionary
from sparsemodels.solvers.metric_coordinates import from_coordinates, metric_coordinates, to_coordinates
from sparsemodels.solvers.sparse_codes import code_gram, code_products, to_dense
from sparsemodels.solvers.sparse_coding import encode
from sparsemodels.solvers.unit_atoms import improve_atoms, normalized


def squared_metric_norm(rows, metric):
    return float(np.einsum("ij,jk,ik->", rows, metric, rows))


@pytest.fixture
def random():
    return np.random.RandomState(0)


@pytest.fixture
def layer(random):
    """Weights of a layer (a row per output) and inputs whose energy lies in few directions."""
    size, n_outputs = 24, 150
    basis = np.linalg.qr(random.standard_normal((size, size)))[0]
    inputs = (random.standard_normal((400, size)) * np.geomspace(10.0, 0.05, size)) @ basis.T
    return random.standard_normal((n_outputs, size)), inputs


def learn(X, n_atoms, coder, random, n_iter=20):
    """Alternate between codes and atoms of norm one: a few lines, for these tests only."""
    atoms = normalized(X[random.permutation(X.shape[0])[:n_atoms]])
    for _ in range(n_iter):
        codes = encode(coder, X, dictionary(atoms)).codes
        improve_atoms(code_gram(codes), code_products(codes, X), atoms)
    return atoms


def test_the_weighted_error_is_the_plain_one_in_the_coordinates(random):
    X, D, Z = random.standard_normal((9, 6)), random.standard_normal((5, 6)), random.standard_normal((9, 5))
    root = random.standard_normal((30, 6))
    coordinates = metric_coordinates(root.T @ root)
    assert coordinates.ridge == 0.0
    plain = np.linalg.norm(to_coordinates(coordinates, X) - Z @ to_coordinates(coordinates, D)) ** 2
    assert plain == pytest.approx(squared_metric_norm(X - Z @ D, root.T @ root), rel=1e-12)
    # calibration data themselves: the error of what a layer returns
    assert plain == pytest.approx(np.linalg.norm(root @ (X - Z @ D).T) ** 2, rel=1e-12)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-10), (np.float32, 1e-4)])
def test_there_and_back(random, dtype, rtol):
    root = random.standard_normal((30, 6))
    coordinates = metric_coordinates(root.T @ root, dtype)
    X = random.standard_normal((9, 6)).astype(dtype)
    returned = from_coordinates(coordinates, to_coordinates(coordinates, X))
    assert returned.dtype == dtype
    assert returned.flags.c_contiguous
    np.testing.assert_allclose(returned, X, rtol=rtol, atol=rtol)


def test_identity_changes_nothing(random):
    X = random.standard_normal((4, 7))
    coordinates = metric_coordinates(np.eye(7))
    np.testing.assert_array_equal(to_coordinates(coordinates, X), X)
    np.testing.assert_array_equal(from_coordinates(coordinates, X), X)


@pytest.mark.parametrize("scale", [1e-200, 1e-3, 7.0, 1e200])
def test_scaling_the_metric_scales_the_coordinates(random, scale):
    root = random.standard_normal((4, 6))  # singular: the ridge must scale, too
    metric = root.T @ root
    first, second = metric_coordinates(metric), metric_coordinates(scale * metric)
    assert first.ridge > 0.0
    assert second.ridge == pytest.approx(scale * first.ridge, rel=1e-9)
    np.testing.assert_allclose(second.factor / np.sqrt(scale), first.factor, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-8), (np.float32, 1e-3)])
def test_singular_metric_costs_only_its_ridge(random, dtype, rtol):
    root = random.standard_normal((4, 10))
    metric = root.T @ root
    coordinates = metric_coordinates(metric, dtype)
    assert 0.0 < coordinates.ridge < 1.1e-5 * np.trace(metric) / 10
    X = random.standard_normal((20, 10)).astype(dtype)
    expected = squared_metric_norm(X.astype(np.float64), metric)
    assert np.linalg.norm(to_coordinates(coordinates, X)) ** 2 == pytest.approx(expected, rel=rtol)
    # an error in what the metric does not see costs nothing
    blind = np.linalg.svd(root)[2][-1:].astype(dtype)
    assert np.linalg.norm(to_coordinates(coordinates, blind)) < 1e-2 * np.sqrt(np.trace(metric) / 10)


def test_codes_are_optimal_in_the_metric(random, layer):
    weights, inputs = layer
    metric = inputs.T @ inputs
    coordinates = metric_coordinates(metric)
    atoms = from_coordinates(coordinates, normalized(random.standard_normal((40, metric.shape[0]))))
    np.testing.assert_allclose(np.einsum("ij,jk,ik->i", atoms, metric, atoms), 1.0, rtol=1e-10)
    signals = to_coordinates(coordinates, weights)
    alpha = 0.2 * float(np.abs(weights @ metric @ atoms.T).max())
    coding = encode(LassoCD(alpha, tol=1e-12), signals, dictionary(to_coordinates(coordinates, atoms)))
    codes = to_dense(coding.codes)
    assert codes.any()
    # optimality conditions of the lasso in the metric, from outside
    slopes = (weights - codes @ atoms) @ metric @ atoms.T
    assert np.abs(slopes).max() <= alpha * (1.0 + 1e-4)
    np.testing.assert_allclose(slopes[codes != 0.0], alpha * np.sign(codes[codes != 0.0]), rtol=1e-3)


def test_learning_in_the_metric_serves_the_layer_better(layer):
    weights, inputs = layer
    coordinates = metric_coordinates(inputs.T @ inputs)
    coder = OMP(3)
    signals = to_coordinates(coordinates, weights)
    weighted = from_coordinates(coordinates, learn(signals, 48, coder, np.random.RandomState(1)))
    plain = learn(weights, 48, coder, np.random.RandomState(1))
    codes_weighted = to_dense(encode(coder, signals, dictionary(to_coordinates(coordinates, weighted))).codes)
    codes_plain = to_dense(encode(coder, weights, dictionary(plain)).codes)
    error_weighted = np.linalg.norm(inputs @ (weights - codes_weighted @ weighted).T)
    error_plain = np.linalg.norm(inputs @ (weights - codes_plain @ plain).T)
    # the plain dictionary with codes in the metric lies between: both halves of the method help
    codes_between = to_dense(encode(coder, signals, dictionary(to_coordinates(coordinates, plain))).codes)
    error_between = np.linalg.norm(inputs @ (weights - codes_between @ plain).T)
    assert error_weighted < 0.9 * error_between
    assert error_between < 0.9 * error_plain


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (np.ones((2, 3)), "square"),
        (np.ones(4), "square"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "finite"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
        (np.zeros((3, 3)), "not zero"),
        (np.diag([1.0, -0.5]), "eigenvalue of -0.5"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "eigenvalue of -1"),
    ],
)
def test_bad_metrics_fail_at_once(metric, message):
    with pytest.raises(ValueError, match=message):
        metric_coordinates(metric)


def test_the_callers_metric_stays_as_it_is(random):
    root = random.standard_normal((3, 5))
    metric = root.T @ root
    before = metric.copy()
    metric_coordinates(metric)
    np.testing.assert_array_equal(metric, before)
