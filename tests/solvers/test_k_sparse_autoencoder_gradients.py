import numpy as np
import pytest

from sparsemodels.solvers.autoencoder_training import (
    TrainingRule,
    code_of_dead,
    learning_rate_at,
    norm_weight,
    norms_for,
    start_training,
    training_step,
)
from sparsemodels.solvers.k_sparse_activations import (
    AbsTopKActivation,
    BatchTopKActivation,
    FeatureChoiceActivation,
    TopAFAActivation,
    TopKActivation,
    select,
)
from sparsemodels.solvers.k_sparse_autoencoder_gradients import (
    LargestFirst,
    Prefixes,
    WholeCode,
    batch_gradient,
    by_latent,
    dead_latent_gradient,
    joined,
    parameter_gradients,
)
from sparsemodels.solvers.sparse_adam import Adam, Momentum
from sparsemodels.solvers.sparse_codes import to_dense

M, D, L = 7, 5, 9
ACTIVATIONS = [
    TopKActivation(3), AbsTopKActivation(3), BatchTopKActivation(3), FeatureChoiceActivation(3),
    TopAFAActivation(4, 0.3),
]  # fmt: skip
NESTINGS = [WholeCode(), LargestFirst(np.array([1, 3, 9])), Prefixes(np.array([2, 5, 9]))]


def problem(seed=0):
    rng = np.random.default_rng(seed)
    X, encoder, decoder = (rng.standard_normal(shape) for shape in ((M, D), (L, D), (L, D)))
    return X, encoder, decoder, 0.1 * rng.standard_normal(L), 0.1 * rng.standard_normal(D)


def parts_of(nesting, Z):
    """The codes of the nested reconstructions, dense, by definition."""
    if isinstance(nesting, LargestFirst):
        rank = np.argsort(np.argsort(-np.abs(Z), axis=1, kind="stable"), axis=1, kind="stable")
        return [rank < size for size in nesting.sizes]
    if isinstance(nesting, Prefixes):
        return [np.broadcast_to(np.arange(L) < size, Z.shape) for size in nesting.sizes]
    return [np.ones(Z.shape, dtype=bool)]


def dense_loss(support, parts, weight, X, encoder, decoder, encoder_bias, bias):
    """The loss by dense products, the selection held fixed."""
    Z = ((X - bias) @ encoder.T + encoder_bias) * support
    loss = np.mean([np.mean(np.sum((X - bias - (Z * part) @ decoder) ** 2, axis=1)) for part in parts])
    difference = np.linalg.norm(Z, axis=1) - np.linalg.norm(X - bias, axis=1)
    return loss + weight * np.mean(difference**2)


def central_differences(function, parameters, step=1e-6):
    gradients = [np.zeros_like(p) for p in parameters]
    for which, gradient in enumerate(gradients):
        for place in np.ndindex(gradient.shape):
            ends = []
            for sign in (1.0, -1.0):
                moved = [p.copy() for p in parameters]
                moved[which][place] += sign * step
                ends.append(function(*moved))
            gradient[place] = (ends[0] - ends[1]) / (2.0 * step)
    return gradients


@pytest.mark.parametrize("nesting", NESTINGS, ids=lambda nesting: type(nesting).__name__)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: type(activation).__name__)
def test_loss_and_gradients_against_dense_differences(activation, nesting):
    X, *parameters = problem()
    encoder, decoder, encoder_bias, bias = parameters
    centred = X - bias
    codes = select(activation, centred @ encoder.T + encoder_bias, norms_for(activation, centred))
    Z = to_dense(codes)
    parts, weight = parts_of(nesting, Z), norm_weight(activation)
    gradient = batch_gradient(
        centred, codes, decoder, nesting, norm_weight=weight, norms=norms_for(activation, centred)
    )
    found = parameter_gradients(gradient.entries, centred, encoder, gradient.bias_gradient)

    def loss(*moved):
        return dense_loss(Z != 0.0, parts, weight, X, *moved)

    np.testing.assert_allclose(gradient.loss, loss(*parameters), rtol=1e-13)
    np.testing.assert_allclose(gradient.squared_residual, np.sum((centred - Z @ decoder) ** 2), rtol=1e-13)
    expected = central_differences(loss, parameters)
    for mine, other in zip((found.encoder, found.decoder, found.encoder_bias, found.bias), expected, strict=True):
        # Rounding 1e-16 of losses below 1e3 over the step of 1e-6.
        np.testing.assert_allclose(mine, other, atol=2e-7)


@pytest.mark.parametrize("activation", [TopKActivation(2), AbsTopKActivation(2)])
def test_dead_latents_against_dense_differences(activation):
    X, *parameters = problem(1)
    encoder, decoder, encoder_bias, bias = parameters
    residual = np.random.default_rng(2).standard_normal((M, D)) + 0.5
    dead = np.array([1, 4, 5, 8])
    A = (X - bias) @ encoder.T + encoder_bias
    codes = code_of_dead(activation, A, dead, D)
    support = to_dense(codes) != 0.0
    keys = np.abs(A[:, dead]) if isinstance(activation, AbsTopKActivation) else A[:, dead]
    for i in range(M):  # the D // 2 largest of the dead ones
        chosen = np.argsort(-keys[i])[: D // 2]
        assert set(np.flatnonzero(support[i])) == {dead[c] for c in chosen if keys[i, c] > 0.0}
    value, entries = dead_latent_gradient(residual, codes, decoder, 0.25)

    def loss(encoder, decoder, encoder_bias, bias):
        Z = ((X - bias) @ encoder.T + encoder_bias) * support
        return 0.25 * np.sum((Z @ decoder - residual) ** 2) / np.sum((residual - residual.mean(axis=0)) ** 2)

    np.testing.assert_allclose(value, loss(*parameters), rtol=1e-13)
    found = parameter_gradients(entries, X - bias, encoder, np.zeros(D))
    expected = central_differences(loss, parameters)
    for mine, other in zip((found.encoder, found.decoder, found.encoder_bias, found.bias), expected, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-8)
    # A residual without variance has no term.
    value, entries = dead_latent_gradient(np.ones((M, D)), codes, decoder, 0.25)
    assert value == 0.0
    assert not entries.gradients.any()


def test_entries_of_a_latent_stand_in_the_order_of_rows():
    X, encoder, decoder, encoder_bias, bias = problem()
    codes = select(AbsTopKActivation(4), (X - bias) @ encoder.T + encoder_bias)
    entries = batch_gradient(X - bias, codes, decoder).entries
    entries = joined(entries, entries)
    places = by_latent(entries, L)
    for latent in range(L):
        own = places.order[places.starts[latent] : places.starts[latent + 1]]
        assert np.all(entries.latents[own] == latent)
        assert np.all(np.diff(own) > 0)
    assert np.array_equal(np.sort(places.order), np.arange(entries.latents.size))


def dense_training(state, batches, activation, optimizer, rate, alpha, dead_after, tied):
    """The same training with dense matrices and no support; Adam with the steps of each row."""
    W, V = state.encoder.copy(), state.decoder.copy()
    c, b = state.encoder_bias.copy(), state.bias.copy()
    moments = {name: [np.zeros_like(p), np.zeros_like(p)] for name, p in zip("WVcb", (W, V, c, b), strict=True)}
    steps, silent = np.zeros(L, dtype=int), np.zeros(L, dtype=int)

    def moved(name, parameter, gradient, rows, counts, rate=rate):
        first, second = moments[name]
        counts = counts.reshape((-1,) + (1,) * (parameter.ndim - 1))
        if isinstance(optimizer, Momentum):
            first[rows] = optimizer.momentum * first[rows] + gradient[rows]
            parameter[rows] -= rate * first[rows]
            return
        first[rows] = 0.9 * first[rows] + 0.1 * gradient[rows]
        second[rows] = 0.999 * second[rows] + 0.001 * gradient[rows] ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            step = first / (1.0 - 0.9**counts) / (np.sqrt(second / (1.0 - 0.999**counts)) + optimizer.epsilon)
        parameter[rows] -= rate * step[rows]

    for t, batch in enumerate(batches):
        centred = batch - b
        A = centred @ W.T + c
        Z = to_dense(select(activation, A))
        residual = Z @ V - centred
        G = 2.0 * residual / len(batch)
        S = (G @ V.T) * (Z != 0.0)
        of_V, used = Z.T @ G, Z.any(axis=0)
        bias_gradient = G.sum(axis=0)
        dead = np.flatnonzero(silent >= dead_after)
        fired = used.copy()
        if dead.size:
            auxiliary = to_dense(code_of_dead(activation, A, dead, D))
            e = -residual
            H = 2.0 * alpha * (auxiliary @ V - e) / np.sum((e - e.mean(axis=0)) ** 2)
            of_V += auxiliary.T @ H
            S += (H @ V.T) * (auxiliary != 0.0)
            used |= auxiliary.any(axis=0)
        of_W, of_c = S.T @ centred, S.sum(axis=0)
        bias_gradient = bias_gradient - of_c @ W
        silent += len(batch)
        silent[fired] = 0
        steps += used
        of_V = of_V + of_W if tied else of_V
        of_V = of_V - np.sum(of_V * V, axis=1, keepdims=True) * V
        if not tied:
            moved("W", W, of_W, used, steps)
        moved("V", V, of_V, used, steps)
        V[used] /= np.linalg.norm(V[used], axis=1, keepdims=True)
        W = V if tied else W
        moved("c", c, of_c, used, steps)
        bias_step = min(rate, 0.05) if isinstance(optimizer, Momentum) else rate
        moved("b", b, bias_gradient, np.ones(D, dtype=bool), np.full(D, t + 1), bias_step)
    return W, V, c, b, silent


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("optimizer", [Adam(epsilon=1e-4), Momentum()])
@pytest.mark.parametrize("activation", [TopKActivation(2), AbsTopKActivation(1)])
def test_training_against_dense_training(activation, optimizer, tied):
    rng = np.random.default_rng(3)
    batches = [rng.standard_normal((M, D)) for _ in range(30)]
    rate = 0.01 if isinstance(optimizer, Adam) else 0.2
    state = start_training(L, np.zeros(D), 1.0, np.float64, np.random.RandomState(0), tied=tied)
    rule = TrainingRule(activation, optimizer=optimizer, dead_after=10)
    expected = dense_training(state, batches, activation, optimizer, rate, rule.auxk_alpha, 10, tied)
    revived = 0
    for batch in batches:
        revived += np.count_nonzero(state.silent >= 10)
        training_step(state, batch, rule, rate)
    assert revived > 0  # the term of dead latents took part
    found = (state.encoder, state.decoder, state.encoder_bias, state.bias, state.silent)
    for mine, other in zip(found, expected, strict=True):
        # The same sums in another order; where they cancel, Adam divides their rounding by its epsilon, at each step.
        np.testing.assert_allclose(mine, other, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(state.decoder, axis=1), 1.0, atol=1e-14)
    assert (state.encoder is state.decoder) == tied


def test_learning_rate_rises_and_falls():
    shares = np.array([learning_rate_at(step, 1000) for step in range(1000)])
    assert shares.max() == 1.0
    assert np.all(np.diff(shares[:51]) >= 0.0)
    assert np.all(shares[60:800] == 1.0)
    assert np.all(np.diff(shares[800:]) < 0.0)
    assert 0.0 < shares[-1] < 0.01
    assert learning_rate_at(0, 1) == 1.0
