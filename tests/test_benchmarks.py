"""The benchmarks' certificates against known answers, and a quick run in which missing peers are reported."""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.linear_model import Lasso, orthogonal_mp

FOLDER = Path(__file__).parents[1] / "benchmarks"
if not FOLDER.is_dir():
    pytest.skip("the benchmarks are not part of the installed package", allow_module_level=True)

# Gaps and residual norms are sums of some hundred float64 products: 1e-12 leaves them three orders.
ROUNDING = 1e-12

STUB = """
import os
from planted_regression import Case, build, tiny
from duality_gap import relative_duality_gap as quality
TITLE, TARGET, TIGHT, BIG = "a stub", 1e-6, None, frozenset()
CASES = {"only": Case(40, 60, 5)}

def efforts(peer, case, target):
    return (1.0, 1e-8)

def settings(peer, case):
    return [{"broken": True}, {"broken": False}] if peer == "solver" else [{}]

def solver():
    from sklearn.linear_model import Lasso
    def fit(problem, effort, broken=False):
        if broken:
            raise RuntimeError("see /a/folder/file.py")
        return Lasso(alpha=problem.alpha, fit_intercept=False, tol=effort).fit(problem.X, problem.y).coef_
    return fit

def nowhere():
    import a_package_that_is_not_installed

def crashing():
    return lambda problem, effort: os._exit(3)

def zero():
    return lambda problem, effort: 0.0 * problem.X[0]

PEERS = {"solver": solver, "nowhere": nowhere, "crashing": crashing, "zero": zero}
"""


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Import by the names that the benchmarks have among themselves, and forget them afterwards."""
    stub = tmp_path_factory.mktemp("tasks")
    (stub / "stub_task.py").write_text(STUB)
    known, path = set(sys.modules), list(sys.path)
    sys.path[:0] = [str(FOLDER), str(stub)]
    yield importlib.import_module
    sys.path[:] = path
    folders = (str(FOLDER), str(stub))
    for name in set(sys.modules) - known:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(folders):
            del sys.modules[name]


@pytest.mark.parametrize("weight", [None, 0.5])
def test_gap_of_one_sample_and_one_feature(load, weight):
    # min (1 - w)^2 / 2 + a |w| is at w = 1 - a; at w = 0 the best dual point is a: the gap is (1 - a)^2 / 2.
    problem = load("planted_regression").Problem(
        np.ones((1, 1)), np.ones(1), np.array([0.25]), None if weight is None else np.array([weight])
    )
    gap, a = load("duality_gap").relative_duality_gap, 0.25 * (weight or 1.0)
    assert_allclose(gap(problem, np.zeros(1)), (1 - a) ** 2, rtol=ROUNDING)
    assert_allclose(gap(problem, np.array([1 - a])), 0.0, atol=ROUNDING)


def test_gap_of_orthonormal_columns_vanishes_at_soft_thresholding(load):
    rng = np.random.default_rng(0)
    n, p = 30, 12
    X, weights = np.linalg.qr(rng.standard_normal((n, p)))[0], rng.uniform(0.5, 2.0, p)
    y = 3 * rng.standard_normal(n)
    alphas = np.array([0.05, 0.02, 0.01])
    correlation, thresholds = (X.T @ y)[:, None], n * weights[:, None] * alphas
    coefs = np.sign(correlation) * np.maximum(np.abs(correlation) - thresholds, 0.0)
    assert 0 < np.count_nonzero(coefs[:, 0]) < p
    problem, gap = (
        load("planted_regression").Problem(X, y, alphas, weights),
        load("duality_gap").relative_duality_gap,
    )
    assert_allclose(gap(problem, coefs), 0.0, atol=ROUNDING)
    # The worst alpha counts, in blocks of any size.
    coefs[:, 1] *= 1.01
    worst = [gap(problem, coefs, block=block) for block in (1, 2, 10)]
    assert worst[0] > 1e-6
    assert_allclose(worst, worst[0], rtol=1e-9)
    assert_allclose(gap(problem._replace(X=sparse.csc_matrix(X)), sparse.csr_matrix(coefs)), worst[0], rtol=1e-9)


def test_gap_bounds_the_suboptimality(load):
    planted, gap = load("planted_regression"), load("duality_gap").relative_duality_gap
    problem = planted.build(planted.Case(30, 50, 5, correlation=0.5))
    X, y, (alpha,), _ = problem

    def objective(coef):
        return np.sum((y - X @ coef) ** 2) / (2 * len(y)) + alpha * np.sum(np.abs(coef))

    best = Lasso(alpha=alpha, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(X, y).coef_
    scale, rng = objective(np.zeros(50)), np.random.default_rng(1)
    assert gap(problem, best) <= 1e-12
    for size in (1e-6, 1e-3, 1e-1, 1.0):
        coef = best + size * rng.standard_normal(50)
        assert gap(problem, coef) >= (objective(coef) - objective(best)) / scale - ROUNDING


def test_gap_of_a_broken_solution(load):
    planted, gap = load("planted_regression"), load("duality_gap").relative_duality_gap
    problem = planted.build(planted.Case(10, 8, 2, n_alphas=3))
    with pytest.raises(ValueError, match=r"coefs has shape \(8, 2\)"):
        gap(problem, np.zeros((8, 2)))
    broken = np.zeros((8, 3))
    broken[3, 1] = np.nan
    assert np.isnan(gap(problem, broken))


@pytest.mark.parametrize("density", [None, 0.1])
def test_planted_problems(load, density):
    planted = load("planted_regression")
    case = planted.Case(400, 60, 5, correlation=0.8, density=density, n_alphas=4, alpha_ratio=0.01)
    X, y, alphas, _ = problem = planted.build(case)
    again = planted.build(case)
    dense = X if density is None else X.toarray()
    assert_array_equal(dense, again.X if density is None else again.X.toarray())
    assert_array_equal(y, again.y)
    assert_allclose(alphas[[0, -1]], np.max(np.abs(dense.T @ y)) / 400 * np.array([1.0, 0.01]))
    # alpha_max: zero is optimal there and nowhere below.
    gap = load("duality_gap").relative_duality_gap
    assert_allclose(gap(problem._replace(alphas=alphas[:1]), np.zeros(60)), 0.0, atol=ROUNDING)
    assert gap(problem._replace(alphas=alphas[:1] * 0.9), np.zeros(60)) > 1e-4
    if density is None:
        assert X.flags.f_contiguous
        # 59 sample correlations of 400 samples: their mean is within 0.05 of 0.8 by many standard errors.
        neighbours = np.mean([np.corrcoef(X[:, j], X[:, j + 1])[0, 1] for j in range(59)])
        assert abs(neighbours - 0.8) < 0.05
    else:
        assert (X.indices.dtype, X.indptr.dtype) == (np.int32, np.int32)
        assert X.has_canonical_format


def test_pursuit_quality(load):
    task = load("orthogonal_matching_pursuit")
    problem = task.build(task.tiny(task.CASES["dense-1000x5000-50-atoms"]))
    coef = orthogonal_mp(problem.X, problem.y, n_nonzero_coefs=problem.n_atoms)
    assert task.quality(problem, coef) <= task.TARGET
    assert task.quality(problem, 0.9 * coef) > 1e-3
    moved = np.roll(coef, 1)
    assert task.quality(problem, moved) == np.inf


def test_pursuit_quality_of_orthonormal_atoms(load):
    # y = (4, 3, 0, 0): both first atoms leave nothing; a first coefficient of 4 - 1 leaves 1, of |y| = 5.
    task = load("orthogonal_matching_pursuit")
    support, residual = task.pursue(np.eye(4), np.array([4.0, 3.0, 0.0, 0.0]), 2)
    assert sorted(support) == [0, 1]
    assert_allclose(residual, 0.0, atol=ROUNDING)
    problem = task.Problem(np.eye(4), np.array([4.0, 3.0, 0.0, 0.0]), 2, np.array([0, 1]), 0.0)
    assert_allclose(task.quality(problem, np.array([3.0, 3.0, 0.0, 0.0])), 0.2, rtol=ROUNDING)


def test_ratio_is_against_the_fastest_other(load):
    harness = load("harness")
    times = {
        "sparsemodels": [(1.0, 1.0), (2.0, 1.0), (3.0, 1.0)],
        "sparsemodels, 1e-12": [(0.1, 0.1)] * 3,
        "fast": [(2.0, 4.0), (2.0, 4.0), (2.0, 2.0)],
        "slow": [(9.0, 9.0)] * 3,
    }
    assert harness.ratio(times) == {"best_peer": "fast", "wall": 1.0, "cpu": 0.25}
    assert harness.ratio({"fast": times["fast"]}) is None
    assert harness.ratio({"sparsemodels": times["fast"]}) is None


def test_children_have_one_thread_and_a_limit(load):
    harness = load("harness")
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        assert harness.in_child(os.getenv, name) == "1"
    assert harness.in_child(time.sleep, 60, limit=0.5) == "gave up after 0 s"


@pytest.mark.slow
def test_missing_crashing_and_failing_peers_are_reported(load):
    harness, report, task = load("harness"), load("report"), load("stub_task")
    lines = []
    result = harness.run_case("stub_task", task.CASES["only"], list(task.PEERS), rounds=2, log=lines.append)
    rows = result["rows"]
    assert rows["nowhere"]["failure"] == "missing: a_package_that_is_not_installed is not installed"
    assert rows["crashing"]["failure"] == "crashed: exit code 3"
    assert not rows["zero"]["reached"]
    assert "MISSED" in lines[3]
    # The setting that raises is noted, without its path; the other is chosen at the effort that it needs.
    solver = rows["solver"]
    assert solver["trials"][0]["failure"] == "RuntimeError: see"
    assert (solver["reached"], solver["effort"], solver["setting"]) == (True, 1e-8, {"broken": False})
    # Only who reached the target is timed; everybody stands in the table.
    assert list(result["times"]) == ["solver"]
    assert np.shape(result["times"]["solver"]) == (2, 2)
    assert [row[0] for row in report.case_rows(result)[1:]] == list(task.PEERS)
    assert "is not installed" in report.as_rst(report.case_rows(result))
    assert report.case_verdict("only", result) == "only: no ratio, sparsemodels was not asked for"


@pytest.mark.slow
def test_quick_run(tmp_path):
    """The command line with scikit-learn as the only peer that must be there."""
    command = [sys.executable, str(FOLDER / "run.py"), "orthogonal_matching_pursuit", "--quick"]
    case = "dense-1000x5000-50-atoms"
    options = ["--case", case, "--output", str(tmp_path)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "orthogonal_matching_pursuit.json").read_text())[case]
    assert result["machine"]["threads"] == 1
    assert result["machine"]["versions"]["scikit-learn"] != "not installed"
    assert result["rows"]["scikit-learn"]["reached"]
    assert len(result["times"]["scikit-learn"]) == 1
    if importlib.util.find_spec("spams") is None:
        assert result["rows"]["spams"]["failure"] == "missing: spams is not installed"
    else:
        assert result["rows"]["spams"]["reached"]
    table = (tmp_path / "orthogonal_matching_pursuit.rst").read_text()
    assert all(name in table for name in ("sparsemodels", "scikit-learn", "spams", "load average"))
    assert str(FOLDER.parent) not in table
    assert done.stdout.splitlines()[-1].startswith(f"orthogonal_matching_pursuit, {case}: ")


def test_unknown_names_are_refused(tmp_path):
    for arguments, message in (["nothing"], "unknown task"), (["lasso", "--case", "nothing"], "unknown case"):
        command = [sys.executable, str(FOLDER / "run.py"), *arguments, "--output", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert message in done.stderr
