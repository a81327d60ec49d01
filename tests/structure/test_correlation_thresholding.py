"""Factor structures: the published example, invariances, an independent slow search, the likelihood."""

import itertools

import numpy as np
import pytest

from sparsemodels.solvers.correlation_thresholding import (
    candidate_thresholds,
    confirmatory_factor_model,
    correlation_factors,
)
from sparsemodels.structure import CorrelationThresholding

LOADINGS = np.zeros((5, 2))
LOADINGS[:3, 0] = LOADINGS[2:, 1] = 0.6
PUBLISHED = LOADINGS @ [[1.0, 0.3], [0.3, 1.0]] @ LOADINGS.T
np.fill_diagonal(PUBLISHED, 1.0)


def factors(structure):
    return {tuple(int(i) + 1 for i in np.flatnonzero(column)) for column in structure.T}


def random_correlation(p, seed, n=40):
    return np.corrcoef(np.random.default_rng(seed).standard_normal((n, p)), rowvar=False)


def by_definition(R, threshold, min_size):
    """Every set of variables is tried: maximal cliques with a member whose neighbours are the clique."""
    p = len(R)
    joined = (np.abs(R) > threshold) | np.eye(p, dtype=bool)
    found = set()
    for size in range(min_size, p + 1):
        for members in itertools.combinations(range(p), size):
            clique = joined[np.ix_(members, members)].all()
            if clique and any(joined[i].sum() == size for i in members):
                found.add(tuple(i + 1 for i in members))
    return found


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (0.2, {(1, 2, 3), (3, 4, 5)}),
        (0.05, {(1, 2, 3, 4, 5)}),
        (0.4, {(1, 3), (2, 3), (3, 4), (3, 5)}),
    ],
)
def test_the_published_example(threshold, expected):
    assert factors(correlation_factors(PUBLISHED, threshold)) == expected


@pytest.mark.parametrize("seed", range(5))
def test_the_search_finds_what_the_definition_says(seed):
    R = random_correlation(8, seed)
    for threshold in candidate_thresholds(R):
        for min_size in (1, 2, 3):
            found = correlation_factors(R, threshold, min_size=min_size)
            assert factors(found) == by_definition(R, threshold, min_size)
            assert len(factors(found)) == found.shape[1]  # none twice


@pytest.mark.parametrize("p", [63, 64, 65, 130])
def test_rows_of_several_words(p):
    # Three variables a factor, the last of each shared with the next: the words of the bit sets are all crossed.
    structure = np.zeros((p, p // 2 - 1), dtype=bool)
    for f in range(structure.shape[1]):
        structure[2 * f : 2 * f + 3, f] = True
    R = np.where(structure @ structure.T.astype(int) > 0, 0.5, 0.0)
    order = np.random.default_rng(p).permutation(p)
    found = correlation_factors(R[np.ix_(order, order)], 0.25)
    expected = {tuple(np.sort(np.flatnonzero(np.isin(order, np.flatnonzero(c)))) + 1) for c in structure.T}
    lonely = {f for f in expected if len(f) == 1}
    assert factors(found) == expected - lonely


def test_signs_and_the_order_of_the_variables_do_not_matter():
    rng = np.random.default_rng(0)
    R = random_correlation(12, 1)
    signs, order = rng.choice([-1.0, 1.0], 12), rng.permutation(12)
    for threshold in (0.05, 0.15, 0.3):
        expected = factors(correlation_factors(R, threshold))
        assert factors(correlation_factors(R * np.outer(signs, signs), threshold)) == expected
        moved = correlation_factors(R[np.ix_(order, order)], threshold)
        back = np.empty_like(moved)
        back[order] = moved
        assert factors(back) == expected


def test_independent_variables_have_no_factors():
    assert correlation_factors(np.eye(6), 0.0).shape == (6, 0)
    assert factors(correlation_factors(np.eye(3), 0.0, min_size=1)) == {(1,), (2,), (3,)}


def test_candidates_give_each_graph_once():
    for p in (7, 30):
        R = random_correlation(p, p)
        thresholds = candidate_thresholds(R)
        counts = [(np.abs(R[np.triu_indices(p, 1)]) > t).sum() for t in thresholds]
        assert np.all(np.diff(counts) < 0)
        assert np.all(np.diff(thresholds) > 0)
    assert len(candidate_thresholds(random_correlation(7, 0))) == 7 * 6 // 2 + 1


def test_the_model_of_a_population_is_found_exactly():
    model = confirmatory_factor_model(PUBLISHED, LOADINGS != 0, tol=1e-12)
    np.testing.assert_allclose(np.abs(model.loadings), LOADINGS, atol=1e-4)
    np.testing.assert_allclose(model.factor_correlations[0, 1], 0.3, atol=1e-4)
    np.testing.assert_allclose(model.deviance, np.linalg.slogdet(PUBLISHED)[1] + 5, rtol=1e-8)
    assert model.converged
    assert model.n_parameters == 5 + 6 + 1


@pytest.mark.parametrize("seed", range(3))
def test_the_likelihood_is_at_its_maximum(seed):
    rng = np.random.default_rng(seed)
    factor = rng.multivariate_normal([0, 0], [[1, 0.4], [0.4, 1]], 200)
    X = factor @ LOADINGS.T + 0.7 * rng.standard_normal((200, 5))
    R = np.corrcoef(X, rowvar=False)
    model = confirmatory_factor_model(R, LOADINGS != 0, tol=1e-13)

    def deviance(loadings, correlation, uniquenesses):
        phi = np.array([[1.0, correlation], [correlation, 1.0]])
        sigma = loadings @ phi @ loadings.T + np.diag(uniquenesses)
        return np.linalg.slogdet(sigma)[1] + np.trace(np.linalg.solve(sigma, R))

    best = (model.loadings, model.factor_correlations[0, 1], model.uniquenesses)
    np.testing.assert_allclose(model.deviance, deviance(*best), rtol=1e-9)
    # Steps of 1e-3 in any direction cost some 1e-6 by curvature; a slope of 1e-3 would gain as much.
    for _ in range(30):
        loadings = best[0] + 1e-3 * rng.standard_normal((5, 2)) * (LOADINGS != 0)
        other = (loadings, best[1] + 1e-3 * rng.standard_normal(), best[2] + 1e-3 * rng.standard_normal(5))
        assert deviance(*other) >= model.deviance - 1e-8


def planted(n=400, seed=0):
    rng = np.random.default_rng(seed)
    factor = rng.multivariate_normal([0, 0], [[1, 0.3], [0.3, 1]], n)
    return factor @ LOADINGS.T / 0.6 * 0.8 + 0.6 * rng.standard_normal((n, 5))


@pytest.mark.parametrize("seed", range(3))
def test_the_path_finds_the_planted_structure(seed):
    model = CorrelationThresholding().fit(planted(seed=seed))
    assert factors(model.structure_) == {(1, 2, 3), (3, 4, 5)}
    assert model.n_factors_ == 2
    assert model.criterion_path_[model.thresholds_ == model.threshold_] == np.nanmin(model.criterion_path_)
    assert np.all((model.loadings_ != 0) == model.structure_)
    fitted = model.loadings_ @ model.factor_correlations_ @ model.loadings_.T + np.diag(model.uniquenesses_)
    # Standardised variables have variance one, in the model, too, at the maximum of the likelihood.
    np.testing.assert_allclose(np.diag(fitted), 1.0, atol=2e-3)


def test_units_and_signs_of_the_data_do_not_matter():
    X = planted()
    first = CorrelationThresholding().fit(X)
    second = CorrelationThresholding().fit(X * [1e-3, -5.0, 1e4, 1.0, -0.1] + 3.0)
    np.testing.assert_array_equal(first.structure_, second.structure_)
    np.testing.assert_allclose(first.criterion_path_, second.criterion_path_, rtol=1e-6)


def test_integer_weights_are_repeated_rows():
    X = planted(n=60)
    weights = np.random.default_rng(1).integers(0, 4, 60)
    first = CorrelationThresholding().fit(X, sample_weight=weights)
    second = CorrelationThresholding().fit(np.repeat(X, weights, axis=0))
    np.testing.assert_array_equal(first.structure_, second.structure_)
    np.testing.assert_allclose(first.criterion_path_, second.criterion_path_, rtol=1e-6)


def test_a_threshold_alone_fits_no_model():
    model = CorrelationThresholding(0.25, criterion=None).fit(planted())
    assert factors(model.structure_) == {(1, 2, 3), (3, 4, 5)}
    assert not hasattr(model, "loadings_")
    with pytest.raises(ValueError, match='criterion must be "bic" or "aic"'):
        CorrelationThresholding(criterion=None).fit(planted())


def test_constant_variables_belong_to_no_factor():
    X = np.column_stack([planted(), np.full(400, 0.1)])
    model = CorrelationThresholding().fit(X)
    assert factors(model.structure_) == {(1, 2, 3), (3, 4, 5)}


def test_many_variables_and_noise():
    rng = np.random.default_rng(0)
    p, k = 2000, 100
    structure = np.zeros((p, k))
    structure[np.arange(p), np.arange(p) % k] = 0.8
    structure[np.arange(50), (np.arange(50) + 7) % k] = 0.6
    R = structure @ structure.T
    np.fill_diagonal(R, 1.0)
    noise = 0.02 * rng.standard_normal((p, p))
    found = correlation_factors(R + noise + noise.T, 0.25)
    assert factors(found) == factors(structure != 0)
