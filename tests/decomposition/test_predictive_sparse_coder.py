import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.decomposition import PredictiveSparseCoder
from sparsemodels.solvers.feedforward_encoders import TanhEncoder, UnrolledEncoder, predict

RNG = np.random.default_rng(0)
N, D, L = 200, 6, 9
ATOMS = RNG.normal(size=(L, D))
ATOMS /= np.linalg.norm(ATOMS, axis=1, keepdims=True)
X = (RNG.laplace(size=(N, L)) * (RNG.random((N, L)) < 0.25)) @ ATOMS + 0.05 * RNG.normal(size=(N, D))
OPTIONS = {"alpha": 0.1, "max_iter": 200, "random_state": 0}
FORMS = ["tanh", "lista"]


def guesses(model, samples):
    record = TanhEncoder if model.encoder == "tanh" else UnrolledEncoder
    return predict(record(**model.encoder_), samples)


@parametrize_with_checks(
    [
        PredictiveSparseCoder(max_iter=5, tol=1.0),
        PredictiveSparseCoder(4, encoder="lista", n_layers=2, prediction_weight=0.0, max_iter=5, tol=1.0),
        PredictiveSparseCoder(3, transform_algorithm="exact", max_iter=5, tol=1.0),
    ]
)
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("encoder", FORMS)
def test_certificates_from_outside(encoder):
    model = PredictiveSparseCoder(L, encoder=encoder, **OPTIONS).fit(X)
    assert model.status_ == "converged"
    D_, F = model.components_, guesses(model, X)
    Z = model.encode_exact(X)
    np.testing.assert_array_equal(model.transform(X), F)
    np.testing.assert_allclose(np.linalg.norm(D_, axis=1), 1.0, rtol=1e-12)
    residual = X - Z @ D_
    objective = 0.5 * np.sum(residual**2) + 0.1 * np.abs(Z).sum() + 0.5 * np.sum((Z - F) ** 2)
    # Exact codes are found anew, each with an objective within 1e-4 of that of its code zero.
    zero = 0.5 * np.sum(X**2, axis=1) + 0.5 * np.sum(F**2, axis=1)
    assert abs(objective - model.objective_) <= 1e-4 * zero.sum()
    assert model.dual_gap_ <= model.coding_tol
    # The dual point of the augmented problem, scaled to feasibility.
    both = np.hstack([residual, F - Z])
    steepest = np.abs(both @ np.vstack([D_.T, np.eye(L)])).max(axis=1)
    scale = np.minimum(1.0, 0.1 / steepest)
    dual = scale * np.sum(both * np.hstack([X, F]), axis=1) - 0.5 * scale**2 * np.sum(both**2, axis=1)
    primal = 0.5 * np.sum(both**2, axis=1) + 0.1 * np.abs(Z).sum(axis=1)
    assert np.all(primal - dual <= 1.0001e-4 * zero)
    assert np.all(np.diff(model.objective_history_) <= 0.0)
    assert model.objective_history_.size == model.n_iter_ + 1
    assert model.correlation_ == pytest.approx(np.corrcoef(F.ravel(), Z.ravel())[0, 1], abs=1e-2)
    assert model.reconstruction_err_ == pytest.approx(np.linalg.norm(residual), rel=1e-2)


@pytest.mark.parametrize("encoder", FORMS)
def test_guesses_correlate_with_exact_codes_of_new_samples(encoder):
    rng = np.random.default_rng(5)
    codes = rng.laplace(size=(1200, L)) * (rng.random((1200, L)) < 0.25)
    data = codes @ ATOMS + 0.05 * rng.normal(size=(1200, D))
    model = PredictiveSparseCoder(L, encoder=encoder, n_layers=2, **OPTIONS).fit(data[:1000])
    fresh = data[1000:]
    correlation = np.corrcoef(model.transform(fresh).ravel(), model.encode_exact(fresh).ravel())[0, 1]
    assert correlation > 0.9
    assert model.score(fresh) > 0.9


def test_prediction_weight_draws_codes_to_guesses():
    errors = []
    for weight in (0.0, 0.5, 5.0):
        model = PredictiveSparseCoder(L, prediction_weight=weight, **OPTIONS).fit(X)
        errors.append(np.mean((model.encode_exact(X) - model.transform(X)) ** 2) / np.mean(model.transform(X) ** 2))
    assert errors[0] > 1.5 * errors[1] > 1.5 * errors[2]


def test_lista_codes_are_sparse():
    codes = PredictiveSparseCoder(L, encoder="lista", **OPTIONS).fit_transform(X)
    assert 0.05 < np.mean(codes == 0.0) < 0.95


@pytest.mark.parametrize("encoder", FORMS)
def test_scaling_scales_codes_and_nothing_else(encoder):
    model = PredictiveSparseCoder(L, encoder=encoder, **{**OPTIONS, "max_iter": 3, "tol": 1.0}).fit(X)
    scaled = clone(model).set_params(alpha=0.4).fit(4.0 * X)  # a power of two: no rounding
    np.testing.assert_allclose(scaled.components_, model.components_, atol=1e-6)
    np.testing.assert_allclose(scaled.transform(4.0 * X), 4.0 * model.transform(X), atol=1e-4)
    assert scaled.objective_ == pytest.approx(16.0 * model.objective_, rel=1e-6)
    assert scaled.correlation_ == pytest.approx(model.correlation_, rel=1e-6)


@pytest.mark.parametrize("encoder", FORMS)
def test_threads_change_no_bit(encoder):
    many = np.vstack([X] * 12)
    results = [
        PredictiveSparseCoder(L, encoder=encoder, n_jobs=n_jobs, tol=1.0, **{**OPTIONS, "max_iter": 2}).fit(many)
        for n_jobs in (1, 2)
    ]
    np.testing.assert_array_equal(results[0].components_, results[1].components_)
    np.testing.assert_array_equal(results[0].transform(many), results[1].transform(many))


@pytest.mark.parametrize("encoder", FORMS)
def test_float32_end_to_end(encoder):
    model = PredictiveSparseCoder(L, encoder=encoder, **OPTIONS).fit(X.astype(np.float32))
    wide = PredictiveSparseCoder(L, encoder=encoder, **OPTIONS).fit(X)
    assert model.components_.dtype == np.float32
    assert model.transform(X.astype(np.float32)).dtype == np.float32
    assert model.encode_exact(X.astype(np.float32)).dtype == np.float32
    assert model.objective_ == pytest.approx(wide.objective_, rel=0.05)


def test_transform_algorithm_and_fit_transform():
    for algorithm in ("predict", "exact"):
        model = PredictiveSparseCoder(L, transform_algorithm=algorithm, **OPTIONS)
        codes = model.fit_transform(X)
        np.testing.assert_array_equal(codes, model.transform(X))
        expected = model.encode_exact(X) if algorithm == "exact" else guesses(model, X)
        np.testing.assert_array_equal(codes, expected)
        np.testing.assert_allclose(model.inverse_transform(codes), codes @ model.components_)
        rest = np.sum((X - codes @ model.components_) ** 2)
        assert model.score(X) == pytest.approx(1.0 - rest / np.sum(X**2))


def test_start_from_a_dictionary():
    model = PredictiveSparseCoder(dict_init=3.0 * ATOMS, **OPTIONS).fit(X)
    assert model.n_components_ == L
    assert np.abs(model.components_ @ ATOMS.T).max(axis=0).min() > 0.95
    with pytest.raises(ValueError, match=r"dict_init must have the shape .* = \(9, 6\), got \(8, 6\)"):
        PredictiveSparseCoder(L, dict_init=ATOMS[:-1]).fit(X)
    with pytest.raises(ValueError, match="no row of zeros, got one at 2"):
        PredictiveSparseCoder(L, dict_init=ATOMS * (np.arange(L) != 2)[:, None]).fit(X)


def test_more_atoms_than_samples_and_silent_data():
    model = PredictiveSparseCoder(12, alpha=0.1, tol=1.0).fit(X[:4])
    assert np.isfinite(model.transform(X)).all()
    silent = PredictiveSparseCoder(3).fit(np.zeros((5, 4)))
    assert (silent.objective_, silent.correlation_, silent.dual_gap_, silent.score(np.zeros((5, 4)))) == (0, 0, 0, 0)


def test_limits_keep_the_best_model():
    with pytest.warns(ConvergenceWarning, match="lowered the objective by .* increase max_iter or tol"):
        model = PredictiveSparseCoder(L, tol=0.0, max_iter=2).fit(X)
    assert model.status_ == "max_iter"
    with pytest.warns(ConvergenceWarning, match="time_limit"):
        model = PredictiveSparseCoder(L, tol=0.0, max_iter=10_000, time_limit=0.05).fit(X)
    assert model.status_ == "time_limit"
    assert np.isfinite(model.transform(X)).all()


def test_interruption_keeps_the_best_model(monkeypatch):
    from sparsemodels.solvers import predictive_sparse_decomposition

    calls = []

    def improve(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return improve_atoms(*arguments)

    improve_atoms = predictive_sparse_decomposition.improve_atoms
    monkeypatch.setattr(predictive_sparse_decomposition, "improve_atoms", improve)
    model = PredictiveSparseCoder(L, tol=0.0, max_iter=50)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert (model.status_, model.n_iter_) == ("interrupted", 2)
    assert np.isfinite(model.transform(X)).all()


def test_nothing_of_the_callers_is_changed_and_pickles_agree():
    data, start = X.copy(), 2.0 * ATOMS
    data.flags.writeable = start.flags.writeable = False
    model = PredictiveSparseCoder(L, dict_init=start, **OPTIONS).fit(data)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).transform(data), model.transform(data))


def test_in_a_pipeline_with_names():
    pipeline = make_pipeline(StandardScaler(), PredictiveSparseCoder(4, alpha=0.5)).set_output(transform="default")
    assert pipeline.fit_transform(X).shape == (N, 4)
    assert list(pipeline[-1].get_feature_names_out()) == [f"predictivesparsecoder{a}" for a in range(4)]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpha": -1.0}, "'alpha' parameter"),
        ({"encoder": "relu"}, "'encoder' parameter"),
        ({"n_components": 0}, "'n_components' parameter"),
        ({"transform_algorithm": "guess"}, "'transform_algorithm' parameter"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        PredictiveSparseCoder(**parameters).fit(X)
    model = PredictiveSparseCoder(4, alpha=0.5).fit(X)
    with pytest.raises(ValueError, match="X must have 4 columns, one a component, got 3"):
        model.inverse_transform(np.zeros((2, 3)))
