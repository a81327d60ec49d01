import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.decomposition import KSparseAutoencoder

RNG = np.random.default_rng(0)
N, D, P, K = 400, 12, 16, 2

VARIANTS = {
    "topk": {},
    "abstopk": {"activation": "abstopk"},
    "batchtopk": {"activation": "batchtopk"},
    "feature_choice": {"activation": "feature_choice"},
    "topafa": {"activation": "topafa", "n_nonzero_coefs": 6},
    "hierarchical": {"hierarchical": True},
    "listed": {"activation": "abstopk", "hierarchical": [1, 2]},
    "groups": {"groups": [0.25, 0.5], "activation": "batchtopk"},
    "tied": {"tied": True},
    "sgd": {"optimizer": "sgd"},
    "median": {"center": "geometric_median"},
    "uncentred": {"center": None},
    "schedule": {"k_schedule": (8, 0.5)},
}


def planted(n_samples, n_features, n_atoms, n_nonzero, seed):
    """Signed sparse combinations of random atoms: coefficients of normal size plus one, of both signs."""
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((n_atoms, n_features))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    codes = np.zeros((n_samples, n_atoms))
    for i in range(n_samples):
        values = rng.standard_normal(n_nonzero)
        codes[i, rng.choice(n_atoms, n_nonzero, replace=False)] = values + np.sign(values)
    return codes @ atoms, atoms


X = planted(N, D, P, K, 0)[0] + 0.5


def model(name, **parameters):
    defaults = {"n_nonzero_coefs": K, "max_iter": 5, "batch_size": 64, "random_state": 0}
    return KSparseAutoencoder(P, **{**defaults, **VARIANTS[name], **parameters})


CHECKED = [KSparseAutoencoder(max_iter=3)] + [
    KSparseAutoencoder(max_iter=3, **{k: v for k, v in VARIANTS[name].items() if k != "n_nonzero_coefs"})
    for name in ("abstopk", "batchtopk", "feature_choice", "topafa", "hierarchical", "groups", "tied", "sgd")
]


@parametrize_with_checks(CHECKED)
def test_sklearn_checks(estimator, check):
    check(estimator)


def test_known_answer_of_signed_data():
    X, atoms = planted(5000, 32, 48, 3, 0)
    X = X.astype(np.float32)
    parameters = {"n_nonzero_coefs": 3, "learning_rate": 0.01, "max_iter": 50, "random_state": 0}
    signed = KSparseAutoencoder(48, activation="abstopk", **parameters).fit(X)
    wide = KSparseAutoencoder(96, **parameters).fit(X)
    narrow = KSparseAutoencoder(48, **parameters).fit(X)
    without = KSparseAutoencoder(96, auxk_alpha=0.0, **parameters).fit(X)
    # One signed latent does the work of two: the published experiment has .05, .08 and five times the first.
    assert signed.fvu_ < 0.07
    assert wide.fvu_ < 0.10
    assert narrow.fvu_ > 3.0 * signed.fvu_
    # The term of dead latents revives them.
    assert wide.n_dead_ < without.n_dead_
    assert wide.fvu_ < without.fvu_
    found = np.abs(atoms @ signed.components_.T).max(axis=1)
    assert np.mean(found > 0.9) >= 0.9
    np.testing.assert_allclose(np.linalg.norm(signed.components_, axis=1), 1.0, atol=1e-6)
    assert signed.components_.dtype == np.float32


@pytest.mark.parametrize("name", VARIANTS)
def test_codes_and_certificates_from_outside(name):
    fitted = model(name).fit(X)
    codes = fitted.transform(X)
    A = (X - fitted.bias_) @ fitted.encoder_.T + fitted.encoder_bias_
    nonzero = codes != 0.0
    np.testing.assert_allclose(codes[nonzero], A[nonzero], rtol=1e-9, atol=1e-12)
    if fitted.activation == "abstopk":
        assert np.all(nonzero.sum(axis=1) == K)
        left_out = np.abs(A).max(axis=1, where=~nonzero, initial=0.0)
        assert np.all(left_out <= np.abs(A).min(axis=1, where=nonzero, initial=np.inf))
    elif fitted.activation == "topk":
        np.testing.assert_array_equal(nonzero.sum(axis=1), np.minimum(K, (A > 0.0).sum(axis=1)))
    elif fitted.activation in ("batchtopk", "feature_choice"):
        assert np.all(nonzero == (A >= fitted.threshold_))
        assert 0.6 * K < fitted.mean_l0_ < 1.6 * K
    rest = X - fitted.inverse_transform(codes)
    spread = X - X.mean(axis=0)
    np.testing.assert_allclose(fitted.fvu_, np.sum(rest**2) / np.sum(spread**2), rtol=1e-9)
    np.testing.assert_allclose(fitted.score(X), -fitted.fvu_, rtol=1e-9)
    assert fitted.mean_l0_ == np.count_nonzero(codes) / N
    assert fitted.n_dead_ == P - np.count_nonzero(codes.any(axis=0))
    best = 0.0
    for i in range(N):
        atoms = fitted.components_[nonzero[i]]
        target = X[i] - fitted.bias_
        best += np.sum((target - np.linalg.lstsq(atoms.T, target, rcond=None)[0] @ atoms) ** 2)
    np.testing.assert_allclose(fitted.coding_excess_, (np.sum(rest**2) - best) / np.sum(spread**2), atol=1e-8)
    assert fitted.n_iter_ == fitted.loss_history_.size == 5
    assert fitted.status_ == "max_iter"
    if fitted.center is None:
        assert not fitted.bias_.any()


@pytest.mark.parametrize("name", ["topk", "abstopk", "tied"])
def test_kkt_is_the_gradient_of_the_relative_error(name):
    fitted = model(name).fit(X)
    support = fitted.transform(X) != 0.0
    scale = fitted.scale_

    def relative_error(encoder, decoder, encoder_bias, bias):
        Z = ((X - bias) @ encoder.T + encoder_bias) * support
        return np.sqrt(np.mean(np.sum((X - bias - Z @ decoder) ** 2, axis=1))) / scale

    parameters = [fitted.encoder_, fitted.components_, fitted.encoder_bias_, fitted.bias_]
    units, step = [1.0, 1.0, scale, scale], 1e-6
    gradients = [np.zeros(p.shape) for p in parameters]
    for which, gradient in enumerate(gradients):
        for place in np.ndindex(gradient.shape):
            ends = []
            for sign in (1.0, -1.0):
                moved = [p.copy() for p in parameters]
                moved[which][place] += sign * step * units[which]
                ends.append(relative_error(*moved))
            gradient[place] = (ends[0] - ends[1]) / (2.0 * step)
    if name == "tied":
        gradients[1] += gradients[0]
        gradients[0][:] = 0.0
    atoms = fitted.components_
    gradients[1] -= np.sum(gradients[1] * atoms, axis=1, keepdims=True) * atoms
    expected = np.sqrt(sum(np.sum(g**2) for g in gradients))
    # Central differences of a root of sums of order one: about 1e-9 for each of some hundred entries.
    np.testing.assert_allclose(fitted.kkt_, expected, rtol=1e-6)


def test_training_makes_kkt_small():
    early, late = model("abstopk", max_iter=1).fit(X), model("abstopk", max_iter=300).fit(X)
    assert late.kkt_ < 0.2 * early.kkt_
    assert late.fvu_ < 0.5 * early.fvu_


@pytest.mark.parametrize("name", VARIANTS)
def test_scaling_the_data_scales_the_codes(name):
    # By a power of two: no bit of the training changes.
    one, other = model(name), model(name)
    codes, scaled = one.fit_transform(X), other.fit_transform(8.0 * X)
    np.testing.assert_array_equal(one.components_, other.components_)
    np.testing.assert_allclose(scaled, 8.0 * codes, rtol=1e-12, atol=1e-12)
    assert one.fvu_ == pytest.approx(other.fvu_, rel=1e-9)
    assert one.kkt_ == pytest.approx(other.kkt_, rel=1e-9)


@pytest.mark.parametrize("name", VARIANTS)
def test_threads_and_repetition_change_no_bit(name):
    tall = np.vstack([X] * 4)
    fits = [model(name, max_iter=2, batch_size=1500, n_jobs=n_jobs).fit(tall) for n_jobs in (1, 2, 1)]
    for other in fits[1:]:
        for attribute in ("components_", "encoder_", "encoder_bias_", "bias_", "loss_history_"):
            np.testing.assert_array_equal(getattr(fits[0], attribute), getattr(other, attribute))
        np.testing.assert_array_equal(fits[0].transform(tall), other.transform(tall))
        assert fits[0].kkt_ == other.kkt_
        assert fits[0].fvu_ == other.fvu_
    blas = model(name, max_iter=2, batch_size=1500).fit(tall)
    np.testing.assert_allclose(blas.components_, fits[0].components_, atol=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
def test_float32_and_transform_after_pickle(name):
    single, double = model(name).fit(X.astype(np.float32)), model(name).fit(X)
    codes = single.transform(X.astype(np.float32))
    assert codes.dtype == single.components_.dtype == single.bias_.dtype == np.float32
    assert single.inverse_transform(codes).dtype == np.float32
    np.testing.assert_allclose(single.loss_history_, double.loss_history_, rtol=0.02)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(single)).transform(X.astype(np.float32)), codes)


def test_zero_rows_few_samples_and_more_entries_than_latents():
    with_zeros = X.copy()
    with_zeros[::3] = 0.0
    for name in VARIANTS:
        fitted = model(name, n_nonzero_coefs=50).fit(with_zeros)
        assert fitted.n_nonzero_coefs_ == P
        codes = fitted.transform(with_zeros)
        assert np.all(np.isfinite(codes))
        assert np.isfinite([fitted.fvu_, fitted.kkt_, fitted.coding_excess_]).all()
        nothing = model(name).fit(np.zeros((5, 3)))
        assert nothing.fvu_ == 0.0
        assert not nothing.transform(np.zeros((2, 3))).any()
    assert model("topk").fit(X[:1]).fvu_ == 0.0


def test_forms_of_output():
    fitted = model("batchtopk").fit(X)
    dense = fitted.transform(X)
    sparse = clone(fitted).set_params(output="csr").fit(X).transform(X)
    assert isinstance(sparse, scipy.sparse.csr_array)
    np.testing.assert_array_equal(sparse.toarray(), dense)
    np.testing.assert_allclose(fitted.inverse_transform(sparse), fitted.inverse_transform(dense), atol=1e-12)
    with pytest.raises(ValueError, match="16 columns, one a component, got 3"):
        fitted.inverse_transform(np.ones((2, 3)))


@pytest.mark.parametrize("name", ["topk", "abstopk", "batchtopk", "feature_choice"])
def test_factor_of_entries_after_training(name):
    one = model(name, max_iter=20).fit(X)
    two = model(name, max_iter=20, test_k_factor=2.0).fit(X)
    np.testing.assert_array_equal(one.components_, two.components_)
    assert one.kkt_ == two.kkt_
    assert 1.3 * one.mean_l0_ < two.mean_l0_ <= 2.5 * one.mean_l0_


def test_hierarchical_codes_degrade_less_when_cut():
    X, _ = planted(3000, 16, 24, 4, 1)
    parameters = {"n_nonzero_coefs": 4, "activation": "abstopk", "max_iter": 40, "random_state": 0}
    plain = KSparseAutoencoder(24, **parameters).fit(X)
    nested = KSparseAutoencoder(24, hierarchical=True, **parameters).fit(X)

    def error_of_one_entry(fitted):
        codes = fitted.transform(X)
        codes[np.abs(codes) < np.abs(codes).max(axis=1, keepdims=True)] = 0.0
        return np.sum((X - fitted.inverse_transform(codes)) ** 2)

    assert error_of_one_entry(nested) < error_of_one_entry(plain)


def test_first_latents_of_nested_groups_do_more():
    X, _ = planted(3000, 16, 24, 4, 1)
    parameters = {"n_nonzero_coefs": 4, "activation": "abstopk", "max_iter": 40, "random_state": 0}

    def error_of_prefix(fitted):
        codes = fitted.transform(X)
        codes[:, 6:] = 0.0
        return np.sum((X - fitted.inverse_transform(codes)) ** 2)

    plain = KSparseAutoencoder(24, **parameters).fit(X)
    nested = KSparseAutoencoder(24, groups=[6], **parameters).fit(X)
    assert error_of_prefix(nested) < 0.9 * error_of_prefix(plain)


def test_groups_by_number_and_share_agree():
    by_number, by_share = model("groups", groups=[4, 8]).fit(X), model("groups").fit(X)
    np.testing.assert_array_equal(by_number.components_, by_share.components_)


@pytest.mark.parametrize("name", VARIANTS)
def test_partial_fit_learns_and_goes_on(name):
    online = model(name)
    for _ in range(10):
        online.partial_fit(X)
    assert online.n_steps_ == 70
    assert online.loss_history_.size == 10
    assert online.loss_history_[-1] < online.loss_history_[0]
    np.testing.assert_allclose(online.mean_, X.mean(axis=0))
    copied = pickle.loads(pickle.dumps(online))
    np.testing.assert_array_equal(copied.partial_fit(X).components_, online.partial_fit(X).components_)
    fitted = model(name).fit(X)
    before = fitted.fvu_
    for _ in range(20):
        fitted.partial_fit(X)
    assert not hasattr(fitted, "fvu_")
    assert -fitted.score(X) < before


def test_stopping_rules():
    with pytest.warns(ConvergenceWarning, match="increase max_iter or tol"):
        model("topk", tol=1e-3).fit(X)
    with pytest.warns(ConvergenceWarning, match="time_limit was reached"):
        fitted = model("topk", time_limit=1e-9, max_iter=1000).fit(X)
    assert fitted.status_ == "time_limit"
    assert fitted.n_steps_ == 1
    assert np.isfinite(fitted.fvu_)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = model("abstopk", tol=0.01, max_iter=3000).fit(X)
    assert fitted.status_ == "converged"
    assert fitted.n_iter_ < 3000


def test_interruption_keeps_the_model(monkeypatch):
    import sparsemodels.solvers.autoencoder_training as training

    original, calls = training.training_step, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(training, "training_step", interrupted)
    fitted = model("topk")
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(X)
    assert fitted.status_ == "interrupted"
    assert fitted.n_steps_ == 9
    np.testing.assert_allclose(fitted.score(X), -fitted.fvu_)


class CountingContext:
    """Stands in for a callback context: counts the epochs, and stops the fit after some."""

    def __init__(self, stop_after=np.inf):
        self.epochs, self.stop_after = 0, stop_after

    def subcontext(self, **_):
        return self

    def call_on_fit_task_begin(self, **_):
        pass

    def call_on_fit_task_end(self, **_):
        self.epochs += 1
        return self.epochs >= self.stop_after


@pytest.mark.parametrize("stop_after", [3, np.inf])
def test_callbacks_see_every_epoch_and_stop(monkeypatch, stop_after):
    context = CountingContext(stop_after)
    monkeypatch.setattr(KSparseAutoencoder, "_init_callback_context", lambda self, **_: context)
    fitted = model("topk")
    if stop_after == 3:
        with pytest.warns(ConvergenceWarning, match="a callback stopped the fit"):
            fitted.fit(X)
        assert (fitted.status_, fitted.n_iter_) == ("stopped", 3)
    else:
        fitted.fit(X)
        assert context.epochs == 5 + 1  # and the fit itself


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hierarchical": True, "groups": [4]}, "hierarchical and groups"),
        ({"hierarchical": True, "activation": "batchtopk"}, "hierarchical needs activation"),
        ({"hierarchical": [0, 2]}, "hierarchical must be a bool or a sequence of integers >= 1"),
        ({"groups": [8, 4]}, "groups must be increasing"),
        ({"groups": [4, 100]}, "groups must be increasing"),
        ({"groups": [0.5, 1.5]}, "groups must be increasing"),
        ({"k_schedule": (0, 0.5)}, "k_schedule must be"),
        ({"k_schedule": (4, 2.0)}, "k_schedule must be"),
        ({"activation": "relu"}, "activation"),
    ],
)
def test_bad_parameters_fail_at_once(parameters, message):
    with pytest.raises(ValueError, match=message):
        model("topk", **parameters).fit(X)


def test_bad_data_and_divergence_are_named():
    broken = X.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        model("topk").fit(broken)
    with pytest.raises(FloatingPointError, match="learning_rate=1e"):
        model("sgd", learning_rate=1e8, max_iter=50).fit(X)
