"""The display of a choice of rank: what is drawn where, for estimators known only by their fitted attributes."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.base import BaseEstimator

from sparsemodels.inspection.rank_selection import RankSelectionDisplay

RANKS = np.array([1, 2, 4, 8])
# Means 5, 2, 1, 1.5 and standard errors 1, 0.5, 1, 0.5.
ERRORS = np.array([[4.0, 6.0], [1.5, 2.5], [0.0, 2.0], [1.0, 2.0]])
SILHOUETTES = np.array([1.0, 0.95, 0.9, -0.4])


class Fitted(BaseEstimator):
    """An estimator that keeps what it is given as fitted attributes."""

    def __init__(self, attributes=None):
        self.attributes = attributes

    def fit(self):
        for name, value in self.attributes.items():
            setattr(self, name, value)
        return self


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_errors_with_band_and_choices():
    estimator = Fitted({"ranks_": RANKS, "error_path_": ERRORS, "best_rank_": 2, "rank_min_": 4}).fit()
    display = RankSelectionDisplay.from_estimator(estimator, replicates=True)
    np.testing.assert_array_equal(display.line_.get_xdata(), RANKS)
    np.testing.assert_allclose(display.line_.get_ydata(), [5.0, 2.0, 1.0, 1.5])
    outline = display.band_.get_paths()[0].vertices
    for rank, mean, spread in zip(RANKS, [5.0, 2.0, 1.0, 1.5], [1.0, 0.5, 1.0, 0.5]):
        here = outline[outline[:, 0] == rank, 1]
        assert here.min() == pytest.approx(mean - spread)
        assert here.max() == pytest.approx(mean + spread)
    np.testing.assert_array_equal(display.chosen_line_.get_xdata(), [2, 2])
    np.testing.assert_array_equal(display.minimum_line_.get_xdata(), [4, 4])
    assert len(display.replicate_lines_) == 2
    assert display.ax_.get_yscale() == "linear"
    assert display.ax_.get_ylabel() == "mean squared error of held-out entries"
    assert display.ax_.figure is display.figure_


def test_one_line_where_both_rules_agree_and_a_logarithmic_axis():
    display = RankSelectionDisplay(RANKS, error_path=100.0 ** np.array([[4.0], [1.0], [0.0], [0.5]]), chosen=4).plot()
    assert display.minimum == 4
    assert display.minimum_line_ is None
    assert display.ax_.get_yscale() == "log"


def test_silhouettes_with_relative_errors():
    attributes = {"ranks_": RANKS, "silhouettes_": SILHOUETTES, "errors_": [0.5, 0.3, 0.1, 0.09], "best_rank_": 4}
    estimator = Fitted(attributes).fit()
    estimator.threshold = 0.8
    _, ax = plt.subplots()
    display = RankSelectionDisplay.from_estimator(estimator, ax=ax)
    assert display.ax_ is ax
    np.testing.assert_allclose(display.line_.get_ydata(), SILHOUETTES)
    np.testing.assert_allclose(display.threshold_line_.get_ydata(), [0.8, 0.8])
    np.testing.assert_allclose(display.error_line_.get_ydata(), [0.5, 0.3, 0.1, 0.09])
    np.testing.assert_array_equal(display.chosen_line_.get_xdata(), [4, 4])
    assert display.ax_.get_ylim()[0] < -0.4
    assert display.ax_.get_ylabel() == "silhouette of the worst cluster"
    assert display.error_ax_.get_ylabel() == "relative error of the fit"
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["stable above 0.8", "chosen: 4"]


def test_ranks_in_any_order():
    order = [2, 0, 3, 1]
    display = RankSelectionDisplay(RANKS[order], silhouettes=SILHOUETTES[order]).plot()
    np.testing.assert_array_equal(display.line_.get_xdata(), RANKS)
    np.testing.assert_allclose(display.line_.get_ydata(), SILHOUETTES)
    assert display.chosen_line_ is None
    assert display.error_ax_ is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of error_path and silhouettes"),
        ({"error_path": ERRORS, "silhouettes": SILHOUETTES}, "exactly one of error_path and silhouettes"),
        ({"error_path": ERRORS[:2]}, r"error_path must have the shape \(n_ranks=4, n_replicates\), got \(2, 2\)"),
        ({"silhouettes": SILHOUETTES[:2]}, r"silhouettes must have the shape \(n_ranks=4,\), got \(2,\)"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        RankSelectionDisplay(RANKS, **options)


def test_an_estimator_without_a_search():
    with pytest.raises(TypeError, match="Fitted keeps no errors by rank"):
        RankSelectionDisplay.from_estimator(Fitted({"ranks_": RANKS}).fit())
