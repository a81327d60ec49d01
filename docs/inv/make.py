"""Write the inventories of other projects' pages that our pages link to: ``python docs/inv/make.py``.

An inventory is a list of names and of the places where they are documented. Whole ones are large and need a
network; these hold only the rows that our pages, and the docstrings that our classes inherit, refer to. A
missing row shows as a warning of the build; add it here. ``$`` at the end of a place stands for the name.
"""

import zlib
from pathlib import Path

ROWS = {
    "python": {
        "py:class": {"typing.NamedTuple": "library/typing.html#$", "dict": "library/stdtypes.html#$"},
        "py:function": {"functools.singledispatch": "library/functools.html#$"},
    },
    "numpy": {
        "py:class": {
            "numpy.ndarray": "reference/generated/numpy.ndarray.html#$",
            "numpy.random.Generator": "reference/random/generator.html#$",
        },
    },
    "scipy": {
        "py:class": {
            f"scipy.sparse.{name}": f"reference/generated/scipy.sparse.{name}.html#$"
            for name in ("csc_array", "csr_array", "csc_matrix", "csr_matrix")
        },
        "py:function": {"scipy.optimize.linprog": "reference/optimize.linprog-highs.html"},
    },
    "sklearn": {
        "py:class": {
            f"sklearn.{name}": f"modules/generated/sklearn.{name}.html#$"
            for name in (
                "base.BaseEstimator",
                "base.RegressorMixin",
                "decomposition.NMF",
                "decomposition.PCA",
                "linear_model.ElasticNet",
                "linear_model.ElasticNetCV",
                "linear_model.Lasso",
                "linear_model.LassoCV",
                "linear_model.LassoLars",
                "linear_model.OrthogonalMatchingPursuit",
                "linear_model.OrthogonalMatchingPursuitCV",
                "linear_model.Ridge",
                "model_selection.GridSearchCV",
                "model_selection.KFold",
                "pipeline.Pipeline",
                "preprocessing.StandardScaler",
            )
        },
        "py:exception": {
            f"sklearn.exceptions.{name}": f"modules/generated/sklearn.exceptions.{name}.html#$"
            for name in ("ConvergenceWarning", "NotFittedError")
        },
        "py:function": {
            f"sklearn.{name}": f"modules/generated/sklearn.{name}.html#$"
            for name in (
                "datasets.load_diabetes",
                "datasets.make_regression",
                "linear_model.enet_path",
                "linear_model.lasso_path",
                "linear_model.orthogonal_mp",
                "set_config",
                "show_versions",
            )
        },
        "std:label": {
            "accuracy_score": "modules/model_evaluation.html#accuracy-score",
            "r2_score": "modules/model_evaluation.html#r2-score",
            "metadata_routing": "metadata_routing.html#$",
            "df_output_transform": "auto_examples/miscellaneous/plot_set_output.html#$",
            "sphx_glr_auto_examples_miscellaneous_plot_set_output.py": (
                "auto_examples/miscellaneous/plot_set_output.html"
            ),
            "cross_validation": "modules/cross_validation.html#cross-validation",
            "callbacks": "modules/callbacks.html#callbacks",
        },
        "std:term": dict.fromkeys(("meta-estimator", "random_state", "warm_start"), "glossary.html#term-$"),
    },
    "numba": {"py:function": {"numba.njit": "reference/jit-compilation.html#numba.jit"}},
    "skops": {
        "py:function": {
            f"skops.io.{name}": "modules/classes.html#$" for name in ("dump", "get_untrusted_types", "load")
        },
    },
}


def inventory(project, roles):
    """One inventory as bytes: four lines of header, then the compressed rows."""
    header = [
        "# Sphinx inventory version 2",
        f"# Project: {project}",
        "# Version: ",
        "# The remainder of this file is compressed using zlib.",
    ]
    rows = [
        f"{name} {role} {-1 if role.startswith('std:') else 1} {place} {name if role == 'std:label' else '-'}"
        for role, names in sorted(roles.items())
        for name, place in sorted(names.items())
    ]
    return ("\n".join(header) + "\n").encode() + zlib.compress(("\n".join(rows) + "\n").encode(), 9)


if __name__ == "__main__":
    for project, roles in ROWS.items():
        (Path(__file__).parent / f"{project}.inv").write_bytes(inventory(project, roles))
