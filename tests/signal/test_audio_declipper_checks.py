"""scikit-learn's own checks, nothing excluded."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.signal import AudioDeclipper

ESTIMATORS = [
    AudioDeclipper(),
    AudioDeclipper(method="s-spade", clipping_level=1.0, frame_length=4, hop=3),
    AudioDeclipper(clipping_level=(-0.5, 2.0), k_step=2, k_every=1, redundancy=1.0),
]


@parametrize_with_checks(ESTIMATORS)
def test_sklearn_checks(estimator, check):
    check(estimator)
