"""Row updates of matrices with unknown entries: against SciPy's NNLS, slow coordinate descent and each other."""

import numpy as np
import pytest
import scipy.optimize

from sparsemodels.solvers import downdated_rows, observed_rows  # noqa: F401 (they register the updates)
from sparsemodels.solvers.observed_matrix import DenseMatrix, MostEntries, SomeEntries, observe, transposed
from sparsemodels.solvers.row_update import RowTerms, no_terms, update_rows


class Problem:
    """A factor's problem with everything dense: weights are zero where an entry is unknown."""

    def __init__(self, share, *, n_rows=37, n_columns=24, n_components=4, weighted=False, dtype=np.float64, seed=0):
        rng = np.random.default_rng(seed)
        self.X = (rng.random((n_rows, n_components)) @ rng.random((n_components, n_columns))).astype(dtype)
        self.X += (0.1 * rng.random(self.X.shape)).astype(dtype)
        self.K = np.maximum(rng.standard_normal((n_columns, n_components)), 0.0).astype(dtype)
        self.F = np.maximum(rng.standard_normal((n_rows, n_components)), 0.0).astype(dtype)
        self.weights = (rng.random(self.X.shape) < share).astype(float)
        if share < 1.0:
            self.weights[5] = 0.0
            self.weights[:, 3] = 0.0
            self.weights[6] = 0.0
            self.weights[6, 8] = 1.0  # one entry: a singular Gram matrix
        if weighted:
            self.weights *= rng.integers(1, 4, self.X.shape)
        self.matrix = observe(self.X, weights=self.weights)

    def update(self, F=None, terms=None, **options):
        F = self.F.copy() if F is None else F
        terms = no_terms(*self.F.shape) if terms is None else terms
        return F, update_rows(self.matrix, F, self.K, terms, **options)

    def terms(self):
        rng = np.random.default_rng(7)
        n_rows, r = self.F.shape
        return RowTerms(
            0.3 * rng.random(n_rows),
            rng.random(n_rows),
            0.4 + rng.random(n_rows),
            0.2 * rng.standard_normal((n_rows, r)),
        )

    def systems(self, terms):
        """Q and c of every row's problem: minimise f'Qf/2 - c'f over 0 <= f <= upper."""
        K, X = self.K.astype(float), np.where(self.weights > 0.0, self.X, 0.0).astype(float)
        Q = np.einsum("ij,ja,jb->iab", self.weights, K, K) + terms.ridge[:, None, None] * np.eye(K.shape[1])
        pull = terms.pull if terms.pull.shape[0] else 0.0
        return Q, (self.weights * X) @ K + pull - terms.l1[:, None]

    def kkt_squared(self, F, terms):
        Q, c = self.systems(terms)
        curvature = np.einsum("iaa->ia", Q)
        gradient = np.einsum("iab,ib->ia", Q, F) - c
        held = curvature > 0.0
        best = np.clip(F - gradient / np.where(held, curvature, 1.0), 0.0, terms.upper[:, None])
        return float((curvature * (best - F) ** 2)[held].sum())

    def loss(self, F):
        residual = np.where(self.weights > 0.0, self.X, 0.0) - F.astype(float) @ self.K.T.astype(float)
        return 0.5 * float((self.weights * residual**2).sum())


def slow_descent(Q, c, upper, f, sweeps):
    f = f.astype(float).copy()
    for _ in range(sweeps):
        for a in range(f.size):
            if Q[a, a] > 0.0:
                f[a] = np.clip(f[a] - (Q[a] @ f - c[a]) / Q[a, a], 0.0, upper)
    return f


KINDS = pytest.mark.parametrize(
    ("share", "weighted"), [(0.3, False), (0.3, True), (0.8, False)], ids=["some", "weighted", "most"]
)


@KINDS
def test_the_record_is_the_one_meant(share, weighted):
    assert isinstance(Problem(share, weighted=weighted).matrix, MostEntries if share > 0.5 else SomeEntries)


@KINDS
def test_exact_rows_are_nonnegative_least_squares(share, weighted):
    problem = Problem(share, weighted=weighted)
    F, _ = problem.update(max_sweeps=1, exact=True)
    for i in range(F.shape[0]):
        root = np.sqrt(problem.weights[i])
        _, norm = scipy.optimize.nnls(root[:, None] * problem.K, root * problem.X[i])
        assert np.linalg.norm(root * (problem.X[i] - problem.K @ F[i])) == pytest.approx(norm, rel=1e-10, abs=1e-12)


@KINDS
@pytest.mark.parametrize("n_components", [1, 4, 7])
def test_sweeps_are_coordinate_descent(share, weighted, n_components):
    problem = Problem(share, weighted=weighted, n_components=n_components)
    terms = problem.terms()
    Q, c = problem.systems(terms)
    F, update = problem.update(terms=terms, max_sweeps=3, delta=0.0)
    expected = [slow_descent(Q[i], c[i], terms.upper[i], problem.F[i], 3) for i in range(F.shape[0])]
    np.testing.assert_allclose(F, expected, rtol=1e-9, atol=1e-11)
    assert update.n_sweeps == 3


@KINDS
@pytest.mark.parametrize("penalised", [False, True])
def test_loss_and_kkt_are_those_measured_from_outside(share, weighted, penalised):
    problem = Problem(share, weighted=weighted)
    terms = problem.terms() if penalised else no_terms(*problem.F.shape)
    still, measured = problem.update(terms=terms, max_sweeps=0)
    assert np.array_equal(still, problem.F)
    assert measured.loss == pytest.approx(problem.loss(problem.F), rel=1e-12)
    assert measured.kkt_squared == pytest.approx(problem.kkt_squared(problem.F, terms), rel=1e-10)
    F, update = problem.update(terms=terms, max_sweeps=2)
    assert update.loss == pytest.approx(problem.loss(F), rel=1e-12)
    assert update.kkt_squared == pytest.approx(measured.kkt_squared, rel=1e-10)
    F, update = problem.update(terms=terms, max_sweeps=1, exact=True)
    assert update.loss == pytest.approx(problem.loss(F), rel=1e-12)
    assert problem.kkt_squared(F, terms) <= 1e-20 * measured.kkt_squared


@KINDS
def test_penalties_and_bounds(share, weighted):
    """Exact rows against SciPy's bounded least squares on the rows stretched by the ridge."""
    problem = Problem(share, weighted=weighted)
    terms = problem.terms()
    Q, c = problem.systems(terms)
    F, _ = problem.update(terms=terms, max_sweeps=1, exact=True)
    for i in range(F.shape[0]):
        if np.linalg.cond(Q[i]) < 1e8:
            R = np.linalg.cholesky(Q[i]).T
            best = scipy.optimize.lsq_linear(R, np.linalg.solve(R.T, c[i]), (0.0, terms.upper[i]), tol=1e-14).x
            np.testing.assert_allclose(F[i], best, atol=1e-6)
    assert (F <= terms.upper[:, None]).all()
    assert (F == terms.upper[:, None]).any()


@KINDS
def test_rows_without_known_entries(share, weighted):
    problem = Problem(share, weighted=weighted)
    for options in ({"max_sweeps": 5}, {"max_sweeps": 1, "exact": True}):
        F, update = problem.update(**options)
        assert np.array_equal(F[5], np.zeros(4))  # nothing known, no penalty: zero
        terms = problem.terms()
        F, _ = problem.update(terms=terms, **options)
        best = np.clip((terms.pull[5] - terms.l1[5]) / terms.ridge[5], 0.0, terms.upper[5])
        np.testing.assert_allclose(F[5], best, rtol=1e-14)
        assert np.isfinite([update.loss, update.kkt_squared]).all()


def test_both_routes_agree():
    """The same entries, once as the few unknown, once as the many known."""
    problem = Problem(0.8)
    some = observe(problem.X, weights=np.where(problem.weights > 0.0, 2.0, 0.0))
    assert isinstance(some, SomeEntries)
    some = SomeEntries(*(side._replace(weights=side.weights[:0]) for side in some))
    assert some.rows.indices.size == np.count_nonzero(problem.weights)
    for options in ({"max_sweeps": 4}, {"max_sweeps": 1, "exact": True}):
        F, first = problem.update(terms=problem.terms(), **options)
        other = problem.F.copy()
        second = update_rows(some, other, problem.K, problem.terms(), **options)
        np.testing.assert_allclose(F, other, rtol=1e-9, atol=1e-11)
        assert first.loss == pytest.approx(second.loss, rel=1e-12)
        assert first.kkt_squared == pytest.approx(second.kkt_squared, rel=1e-10)


@pytest.mark.parametrize("exact", [False, True])
def test_all_entries_known_is_the_dense_update(exact):
    problem = Problem(1.0)
    matrix = observe(problem.X)
    assert isinstance(matrix, DenseMatrix)
    dense = problem.F.copy()
    expected = update_rows(matrix, dense, problem.K, problem.terms(), max_sweeps=3, delta=0.0, exact=exact)
    listed = observe(problem.X, weights=np.full(problem.X.shape, 2.0))
    listed = SomeEntries(*(side._replace(weights=side.weights[:0]) for side in listed))
    nothing_unknown = MostEntries(problem.X, *(side._replace(indices=side.indices[:0], indptr=0 * side.indptr)
                                               for side in listed))  # fmt: skip
    for other in (listed, nothing_unknown):
        F = problem.F.copy()
        update = update_rows(other, F, problem.K, problem.terms(), max_sweeps=3, delta=0.0, exact=exact)
        np.testing.assert_allclose(F, dense, rtol=1e-10, atol=1e-12)
        assert update.loss == pytest.approx(expected.loss, rel=1e-10)
        assert update.kkt_squared == pytest.approx(expected.kkt_squared, rel=1e-10)


def test_weight_two_is_the_entry_twice():
    problem = Problem(0.3)
    rng = np.random.default_rng(3)
    twice = (problem.weights > 0.0) & (rng.random(problem.X.shape) < 0.5)
    weighted = observe(problem.X, weights=problem.weights + twice)
    columns = np.concatenate([np.where(problem.weights > 0.0, 1.0, 0.0), np.where(twice, 1.0, 0.0)], axis=1)
    doubled = observe(np.hstack([problem.X, problem.X]), mask=columns > 0.0)
    first, second = problem.F.copy(), problem.F.copy()
    terms = problem.terms()
    one = update_rows(weighted, first, problem.K, terms, max_sweeps=4)
    two = update_rows(doubled, second, np.vstack([problem.K, problem.K]), terms, max_sweeps=4)
    np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-12)
    assert one.loss == pytest.approx(two.loss, rel=1e-12)


@KINDS
def test_values_at_unknown_positions_do_not_matter(share, weighted):
    problem = Problem(share, weighted=weighted)
    answers = []
    for fill in (0.0, 1e300, np.nan, -5.0, np.inf):
        matrix = observe(np.where(problem.weights > 0.0, problem.X, fill), weights=problem.weights)
        F, G = problem.F.copy(), problem.K.copy()
        update_rows(matrix, F, problem.K, no_terms(*F.shape), max_sweeps=3)
        update_rows(transposed(matrix), G, F, no_terms(*G.shape), max_sweeps=1, exact=True)
        measured = update_rows(matrix, F, G, no_terms(*F.shape), max_sweeps=0)
        answers.append((F, G, np.array(measured)))
    for answer in answers[1:]:
        for one, other in zip(answers[0], answer, strict=True):
            assert np.array_equal(one, other)


@KINDS
@pytest.mark.parametrize("options", [{"max_sweeps": 0}, {"max_sweeps": 3}, {"max_sweeps": 1, "exact": True}])
def test_bitwise_the_same_for_every_number_of_threads(share, weighted, options):
    problem = Problem(share, weighted=weighted, n_rows=2100, n_columns=20, n_components=3)
    first, one = problem.update(terms=problem.terms(), n_jobs=1, **options)
    second, two = problem.update(terms=problem.terms(), n_jobs=2, **options)
    assert np.array_equal(first, second)
    assert one == two


@KINDS
def test_float32(share, weighted):
    problem = Problem(share, weighted=weighted, dtype=np.float32)
    wide = Problem(share, weighted=weighted, dtype=np.float32)
    wide.X, wide.K, wide.F = (array.astype(float) for array in (wide.X, wide.K, wide.F))
    wide.matrix = observe(wide.X, weights=wide.weights)
    for options in ({"max_sweeps": 3}, {"max_sweeps": 1, "exact": True}):
        F, update = problem.update(terms=problem.terms(), **options)
        expected, _ = wide.update(terms=problem.terms(), **options)
        assert F.dtype == np.float32
        np.testing.assert_allclose(F, expected, rtol=1e-3, atol=2e-5)  # rows with one entry amplify the rounding
        assert update.loss == pytest.approx(problem.loss(F), rel=1e-5)


def test_indices_of_64_bits():
    problem = Problem(0.3)
    expected, one = problem.update(max_sweeps=3)
    problem.matrix = SomeEntries(
        *(
            side._replace(indices=side.indices.astype(np.int64), indptr=side.indptr.astype(np.int64))
            for side in problem.matrix
        )
    )
    F, two = problem.update(max_sweeps=3)
    assert np.array_equal(F, expected)
    assert one == two


@KINDS
def test_a_perfect_fit_has_no_rounding_error_of_the_energy(share, weighted):
    """The loss of a fit that is exact to 1e-12 is about 1e-24 of the energy, not the rounding of a difference."""
    problem = Problem(share, weighted=weighted)
    truth = np.abs(np.random.default_rng(5).standard_normal(problem.F.shape)) + 0.1
    problem.X = truth @ problem.K.T
    problem.matrix = observe(problem.X, weights=problem.weights)
    F, update = problem.update(max_sweeps=1, exact=True)
    assert update.loss <= 1e-22 * (problem.weights * problem.X**2).sum()
    assert update.loss == pytest.approx(problem.loss(F), rel=0.5, abs=1e-26)


def test_scaling_the_data_scales_the_rows():
    problem = Problem(0.3)
    F, one = problem.update(max_sweeps=3)
    problem.matrix = observe(8.0 * problem.X, weights=problem.weights)
    scaled, two = problem.update(8.0 * problem.F, max_sweeps=3)
    np.testing.assert_array_equal(scaled, 8.0 * F)
    assert two.loss == 64.0 * one.loss
    assert two.kkt_squared == 64.0 * one.kkt_squared
