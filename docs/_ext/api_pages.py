"""Write the API pages from what is public: ``__all__`` of the rooms, and the modules of the solvers."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import sparsemodels
import sparsemodels.solvers

ROOMS = {
    "linear_model": "Sparse linear models and greedy recovery: scikit-learn estimators.",
    "bayes": "Sparse Bayesian learning: which coefficients are zero, and how sure the others are.",
    "decomposition": "Matrix factorization: parts that add up, exactly coded, with missing entries.",
    "completion": "Missing entries filled in, and what to recommend next.",
    "cross_decomposition": "Relations between two views of the same samples.",
    "signal": "Signals restored by sparsity.",
    "structure": "Structure of many variables: directed acyclic graphs and factors.",
    "inspection": "Pictures of fitted models, as scikit-learn's ``Display`` classes, and explained predictions.",
    "datasets": "Real data that needs no download, and planted problems that return the ground truth.",
}


SOLVERS = (
    "The numerics: arrays in, a solution with its certificate out. Nothing here knows scikit-learn, warns or "
    "prints; :doc:`/architecture` says how records and generic functions fit together."
)


def heading(text, underline):
    return [text, underline * len(text), ""]


def summary(module, names, template, folder):
    if not names:
        return []
    lines = [f".. currentmodule:: {module}", "", ".. autosummary::", f"   :toctree: {folder}/"]
    lines += [f"   :template: {template}", "   :nosignatures:", ""]
    return [*lines, *(f"   {name}" for name in names), ""]


def split(module, names):
    classes = [name for name in names if inspect.isclass(getattr(module, name))]
    functions = [name for name in names if name not in classes and callable(getattr(module, name))]
    return sorted(classes), sorted(functions)


def room_page(room):
    module = importlib.import_module(f"sparsemodels.{room}")
    classes, functions = split(module, getattr(module, "__all__", ()))
    lines = [f".. _api_{room}:", "", *heading(f"sparsemodels.{room}", "="), ROOMS[room], ""]
    if classes:
        lines += [*heading("Classes", "-"), *summary(module.__name__, classes, "class.rst", room)]
    if functions:
        lines += [*heading("Functions", "-"), *summary(module.__name__, functions, "function.rst", room)]
    return lines


def solvers_page():
    lines = [".. _api_solvers:", "", *heading("sparsemodels.solvers", "="), SOLVERS, ""]
    package = sparsemodels.solvers
    names = sorted(info.name for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."))
    for name in names:
        module = importlib.import_module(name)
        own = [
            key
            for key, value in vars(module).items()
            if not key.startswith("_") and callable(value) and value.__doc__
            if getattr(value, "__module__", None) == name
        ]
        classes, functions = split(module, own)
        if classes or functions:
            lines += heading(name.removeprefix("sparsemodels.solvers."), "-")
            lines += [(inspect.getdoc(module) or "").split("\n\n")[0], ""]
            lines += summary(name, classes, "record.rst", "solvers")
            lines += summary(name, functions, "function.rst", "solvers")
    return lines


def index_page():
    lines = [*heading("API reference", "="), "What is public, read from the package itself.", ""]
    lines += [*heading("Modules", "-"), ".. toctree::", "   :hidden:", ""]
    lines += [*(f"   {name}" for name in (*ROOMS, "solvers")), ""]
    for name, text in {**ROOMS, "solvers": SOLVERS}.items():
        lines += [f":doc:`sparsemodels.{name} <{name}>`", f"    {text}", ""]
    functions = [name for name in sparsemodels._FUNCTIONS if getattr(sparsemodels, name, None)]
    return [*lines, *heading("Top level", "-"), *summary("sparsemodels", functions, "function.rst", "top")]


def write(app, config):
    folder = Path(app.srcdir) / "generated" / "api"
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"index": index_page(), "solvers": solvers_page(), **{room: room_page(room) for room in ROOMS}}
    for name, lines in pages.items():
        file, text = folder / f"{name}.rst", "\n".join(lines)
        if not file.is_file() or file.read_text() != text:  # else untouched: builds stay short
            file.write_text(text)


def setup(app):
    app.connect("config-inited", write)
    return {"parallel_read_safe": True}
