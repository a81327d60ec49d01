"""What a safe loader must be told about this package."""

import importlib
import inspect

# These rooms hold no estimators; importing them for their classes would be waste.
_WITHOUT_ESTIMATORS = {"datasets", "inspection", "solvers"}


def trusted_types() -> list[str]:
    """Names of the estimator classes of this package, for ``skops.io.load(file, trusted=...)``.

    skops, unlike pickle, runs nothing that the reader did not name. The fitted state of every estimator of
    this package is made of arrays, numbers, strings, lists and dictionaries, so that these classes are all
    there is to trust.

    Returns
    -------
    list of str
        Full class names, sorted.

    See Also
    --------
    skops.io.load : Reads a model from a file.
    skops.io.get_untrusted_types : Says what else a file holds.

    Examples
    --------
    >>> import sparsemodels
    >>> names = sparsemodels.trusted_types()
    >>> all(name.startswith("sparsemodels.") for name in names)
    True

    A model is written, read elsewhere, and predicts the same:

    >>> import skops.io  # doctest: +SKIP
    >>> skops.io.dump(model, "model.skops")  # doctest: +SKIP
    >>> model = skops.io.load("model.skops", trusted=sparsemodels.trusted_types())  # doctest: +SKIP
    """
    from sklearn.base import BaseEstimator

    from . import _SUBMODULES

    names = set()
    for family in sorted(set(_SUBMODULES) - _WITHOUT_ESTIMATORS):
        module = importlib.import_module(f"{__package__}.{family}")
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isclass(value) and issubclass(value, BaseEstimator):
                names.add(f"{value.__module__}.{value.__qualname__}")
    return sorted(names)
