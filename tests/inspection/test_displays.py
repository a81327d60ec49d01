"""Displays: what is drawn where, for estimators known only by their fitted attributes."""

import subprocess
import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from sparsemodels.inspection import CoefficientPathDisplay, CrossValidationDisplay
from sparsemodels.inspection.coefficient_path import _spread_apart

ALPHAS = np.array([2.0, 1.0, 0.5, 0.25])
COEFS = np.array(
    [
        [0.0, 0.5, 1.0, 1.2],
        [0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, -0.3, -2.0],
        [0.0, 0.0, 0.0, 0.1],
    ]
)
# Means 5, 2, 1, 1.5; standard errors sqrt(2 / 2) times half the spread: the first within one of the minimum
# is level 1.
MSE = np.array([[4.0, 6.0], [1.5, 2.5], [0.0, 2.0], [1.0, 2.0]])


class Fitted(BaseEstimator):
    """An estimator that keeps what it is given as fitted attributes."""

    def __init__(self, attributes=None):
        self.attributes = attributes

    def fit(self, X=None, y=None):
        for name, value in self.attributes.items():
            setattr(self, name, value)
        return self


def fitted(**attributes):
    return Fitted(attributes).fit()


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def path_estimator(**more):
    return fitted(alphas_=ALPHAS, coef_path_=COEFS, alpha_=0.5, alpha_max_=4.0, **more)


def test_path_draws_every_feature_that_enters():
    display = CoefficientPathDisplay.from_estimator(path_estimator())
    assert display.ax_.figure is display.figure_
    assert display.ax_.get_xscale() == "log"
    np.testing.assert_array_equal(display.features_, [0, 2, 3])
    for line, j in zip(display.lines_, display.features_, strict=True):
        np.testing.assert_allclose(line.get_xdata(), ALPHAS / 4.0)
        np.testing.assert_array_equal(line.get_ydata(), COEFS[j])
    left, right = display.ax_.get_xlim()
    assert left == pytest.approx(0.5)
    assert right == pytest.approx(0.0625)


def test_path_marks_the_choice_and_counts_there():
    display = CoefficientPathDisplay.from_estimator(path_estimator())
    np.testing.assert_allclose(display.chosen_line_.get_xdata(), 0.5 / 4.0)
    assert display.chosen_line_.get_label() == "chosen: 2 nonzero"
    assert display.ax_.get_legend() is not None
    named = CoefficientPathDisplay.from_estimator(path_estimator(selection="1se"))
    assert named.chosen_line_.get_label() == "one standard error: 2 nonzero"
    without = CoefficientPathDisplay.from_path(ALPHAS, COEFS)
    assert without.chosen_line_ is None
    assert without.alpha_max == 2.0
    # Without a choice, features are ranked at the smallest penalty.
    np.testing.assert_array_equal(without.features_, [2, 0, 3])


def test_path_labels_the_features_that_are_chosen():
    names = ["age", "sex", "dose", "site"]
    estimator = path_estimator(feature_names_in_=np.array(names))
    assert [t.get_text() for t in CoefficientPathDisplay.from_estimator(estimator).texts_] == ["age", "dose"]
    display = CoefficientPathDisplay.from_estimator(estimator, n_labels=1, feature_names=["a", "b", "c", "d"])
    assert [t.get_text() for t in display.texts_] == ["a"]
    grey = {line.get_color() for line in display.lines_[1:]}
    assert grey == {"0.75"}
    assert display.lines_[0].get_color() == display.texts_[0].get_color()
    assert [t.get_text() for t in CoefficientPathDisplay.from_path(ALPHAS, COEFS).texts_] == [
        "x2",
        "x0",
        "x3",
    ]


def test_path_does_not_depend_on_the_order_of_the_levels():
    display = CoefficientPathDisplay.from_path(ALPHAS[::-1], COEFS[:, ::-1], chosen_alpha=0.5)
    same = CoefficientPathDisplay.from_path(ALPHAS, COEFS, chosen_alpha=0.5)
    for first, second in zip(display.lines_, same.lines_, strict=True):
        np.testing.assert_array_equal(first.get_xydata(), second.get_xydata())


def test_labels_do_not_overlap_and_move_no_more_than_needed():
    positions = np.array([0.5, 0.1, 0.51, 0.52])
    moved = _spread_apart(positions, 0.1)
    assert np.diff(np.sort(moved)).min() >= 0.1 - 1e-12
    np.testing.assert_array_equal(np.argsort(moved), np.argsort(positions))
    # Equal shifts up and down around the centre of the cluster: the least-squares answer.
    np.testing.assert_allclose(moved, [0.41, 0.1, 0.51, 0.61])
    assert _spread_apart(np.zeros(0), 0.1).size == 0


def test_displays_draw_where_they_are_told_and_in_pipelines():
    _, axes = plt.subplots(1, 2)
    estimator = path_estimator(mse_path_=MSE)
    pipeline = Pipeline([("model", estimator)])
    path = CoefficientPathDisplay.from_estimator(pipeline, ax=axes[0], line_kwargs={"linestyle": ":"})
    curve = CrossValidationDisplay.from_estimator(pipeline, ax=axes[1])
    assert path.ax_ is axes[0]
    assert curve.ax_ is axes[1]
    assert all(line.get_linestyle() == ":" for line in path.lines_)


def test_curve_draws_mean_and_one_standard_error():
    display = CrossValidationDisplay.from_estimator(path_estimator(mse_path_=MSE))
    x, mean = ALPHAS / 4.0, MSE.mean(axis=1)
    standard_error = np.abs(MSE[:, 0] - MSE[:, 1]) / 2  # two folds: std (ddof=1) / sqrt(2) = |difference| / 2
    np.testing.assert_allclose(display.line_.get_xdata(), x)
    np.testing.assert_allclose(display.line_.get_ydata(), mean)
    vertices = display.band_.get_paths()[0].vertices
    for position, centre, half in zip(x, mean, standard_error, strict=True):
        heights = vertices[np.isclose(vertices[:, 0], position), 1]
        assert heights.min() == pytest.approx(centre - half)
        assert heights.max() == pytest.approx(centre + half)
    assert display.ax_.get_xscale() == "log"
    assert display.ax_.get_xlim()[0] > display.ax_.get_xlim()[1]
    assert display.fold_lines_ == []


def test_curve_computes_both_choices():
    display = CrossValidationDisplay.from_estimator(fitted(alphas_=ALPHAS, mse_path_=MSE))
    # Minimum 1 at 0.5, its standard error 1: the largest level with a mean of at most 2 is 1.0.
    assert (display.minimum, display.one_standard_error) == (0.5, 1.0)
    np.testing.assert_allclose(display.minimum_line_.get_xdata(), 0.25)
    np.testing.assert_allclose(display.one_standard_error_line_.get_xdata(), 0.5)
    assert display.top_ax_ is None


def test_curve_takes_the_choices_of_the_estimator():
    estimator = path_estimator(mse_path_=MSE, alpha_min_=0.25, alpha_1se_=0.5)
    display = CrossValidationDisplay.from_estimator(estimator)
    np.testing.assert_allclose(display.minimum_line_.get_xdata(), 0.25 / 4)
    np.testing.assert_allclose(display.one_standard_error_line_.get_xdata(), 0.5 / 4)
    assert display.minimum_line_.get_label() == "minimum: 3 nonzero"
    assert display.one_standard_error_line_.get_label() == "one standard error: 2 nonzero"


def test_top_axis_counts_nonzeros_over_their_levels():
    display = CrossValidationDisplay.from_estimator(path_estimator(mse_path_=MSE))
    assert display.top_ax_.get_xlim() == display.ax_.get_xlim()
    np.testing.assert_allclose(display.top_ax_.get_xticks(), ALPHAS / 4.0)
    assert [t.get_text() for t in display.top_ax_.get_xticklabels()] == ["0", "1", "2", "3"]


def test_fold_lines_on_request():
    display = CrossValidationDisplay.from_estimator(fitted(alphas_=ALPHAS, mse_path_=MSE), folds=True)
    np.testing.assert_array_equal([line.get_ydata() for line in display.fold_lines_], MSE.T)


def test_sizes_run_from_sparse_to_full_on_a_plain_axis():
    estimator = fitted(
        alphas_=np.array([0.0, 0.3]),
        alpha_=0.3,
        error_path_=np.stack([MSE + 9.0, MSE]),
        n_nonzero_coefs_=2,
        selection="min",
        loss="absolute",
    )
    display = CrossValidationDisplay.from_estimator(estimator)
    assert display.ax_.get_xscale() == "linear"
    np.testing.assert_array_equal(display.line_.get_xdata(), [0, 1, 2, 3])
    np.testing.assert_array_equal(display.line_.get_ydata(), MSE.mean(axis=1))
    assert (display.minimum, display.one_standard_error) == (2, 1)
    assert display.one_standard_error_line_.get_label() == "one standard error: 1 nonzero"
    assert display.ax_.get_ylabel() == "mean absolute error of prediction"
    assert "nonzero" in display.ax_.get_xlabel()


def test_levels_that_failed_in_a_fold_are_left_out():
    errors = MSE.copy()
    errors[2, 1] = np.nan
    display = CrossValidationDisplay(ALPHAS, errors).plot()
    np.testing.assert_array_equal(display.line_.get_xdata() * 2.0, [2.0, 1.0, 0.25])
    assert display.minimum == 0.25
    # A fold without any number says nothing about any level.
    with_empty_fold = CrossValidationDisplay(ALPHAS, np.column_stack([MSE, np.full(4, np.nan)]))
    np.testing.assert_array_equal(with_empty_fold.mean, MSE.mean(axis=1))


def test_a_penalty_of_zero_is_left_out():
    alphas = np.append(ALPHAS, 0.0)
    path = CoefficientPathDisplay.from_path(alphas, np.column_stack([COEFS, np.full(4, 9.0)]))
    assert max(line.get_ydata().max() for line in path.lines_) == 1.2
    curve = CrossValidationDisplay(alphas, np.vstack([MSE, [0.0, 0.0]])).plot()
    np.testing.assert_array_equal(curve.levels, ALPHAS)
    assert curve.minimum == 0.5


@pytest.mark.parametrize("alpha_max", [0.0, np.inf])
def test_levels_are_absolute_where_no_alpha_max_exists(alpha_max):
    estimator = fitted(alphas_=ALPHAS, coef_path_=COEFS, alpha_=0.5, alpha_max_=alpha_max, mse_path_=MSE)
    for display in (CoefficientPathDisplay, CrossValidationDisplay):
        assert display.from_estimator(estimator).ax_.get_xlim() == pytest.approx((1.0, 0.125))


def test_one_fold_has_no_standard_error():
    display = CrossValidationDisplay(ALPHAS, MSE[:, :1])
    np.testing.assert_array_equal(display.standard_error, 0)
    assert display.minimum == display.one_standard_error == 0.5


@pytest.mark.parametrize("display", [CoefficientPathDisplay, CrossValidationDisplay])
def test_estimators_without_a_path_are_refused(display):
    with pytest.raises(TypeError, match="Fitted keeps no"):
        display.from_estimator(fitted(coef_=np.ones(2)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: CoefficientPathDisplay(ALPHAS, COEFS.T[:, :3]),
            r"coefs must have the shape .* n_alphas=4\)",
        ),
        (lambda: CoefficientPathDisplay([1.0, -1.0], np.ones((2, 2))), "alphas must be a vector of finite"),
        (lambda: CoefficientPathDisplay(ALPHAS, COEFS, feature_names=["a"]), "must have 4 entries, got 1"),
        (
            lambda: CoefficientPathDisplay(ALPHAS, COEFS).plot(feature_names=["a"]),
            "must have 4 entries, got 1",
        ),
        (lambda: CrossValidationDisplay(ALPHAS, MSE.T), "error_path must have the shape .*n_levels=4"),
        (lambda: CrossValidationDisplay(-ALPHAS, MSE), "levels must be a vector of finite"),
        (lambda: CrossValidationDisplay(ALPHAS, MSE, kind="depth"), "kind='depth' is unknown"),
        (lambda: CrossValidationDisplay(ALPHAS, MSE, n_nonzero=[1]), "n_nonzero must have 4 entries"),
        (lambda: CrossValidationDisplay(ALPHAS, np.full((4, 2), np.nan)), "no level that is finite"),
    ],
)
def test_bad_input_is_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_import_loads_no_matplotlib_and_its_absence_is_named():
    code = (
        "import sys\nimport sparsemodels.inspection as inspection\n"
        "assert 'matplotlib' not in sys.modules\nsys.modules['matplotlib'] = None\n"
        "try:\n    inspection.CoefficientPathDisplay.from_path([1.0], [[0.5]])\n"
        "except ImportError as error:\n    print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "CoefficientPathDisplay draws with matplotlib" in run.stdout


def test_nothing_of_the_callers_is_modified():
    given = SimpleNamespace(alphas=ALPHAS.copy(), coefs=COEFS.copy(), mse=MSE.copy())
    CoefficientPathDisplay.from_path(given.alphas, given.coefs, chosen_alpha=0.5)
    CrossValidationDisplay(given.alphas, given.mse).plot()
    np.testing.assert_array_equal(given.alphas, ALPHAS)
    np.testing.assert_array_equal(given.coefs, COEFS)
    np.testing.assert_array_equal(given.mse, MSE)
