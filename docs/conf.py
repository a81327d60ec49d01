"""Sphinx configuration: everything is vendored, so the pages build and render without a network."""

import sys
from pathlib import Path

import sparsemodels

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project, author = "sparsemodels", "the sparsemodels developers"
copyright = f"2026, {author}"
version = release = sparsemodels.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
    "sphinx_design",
    "myst_nb",
    "api_pages",
    "tutorial_pages",
]
templates_path = ["_templates"]
html_static_path = ["_static"]
exclude_patterns = ["_build", "**/GALLERY_HEADER.rst", "auto_examples/**/*.ipynb", "auto_examples/*.ipynb"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}

autosummary_generate = True
toc_object_entries_show_parents = "hide"
maximum_signature_line_length = 70
autodoc_typehints = "none"  # the numpydoc sections already name the types
numpydoc_show_class_members = False
nb_execution_mode = "off"  # the notebooks are committed as executed; the tests execute them again
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

mathjax_path = "mathjax/tex-svg.js"  # below _static; no CDN
mathjax3_config = {"svg": {"fontCache": "global"}}

# A few rows for each site, written by docs/inv/make.py: no network, and no unresolved label under -W.
sites = {
    "python": "https://docs.python.org/3",
    "numpy": "https://numpy.org/doc/stable",
    "scipy": "https://docs.scipy.org/doc/scipy",
    "sklearn": "https://scikit-learn.org/stable",
    "numba": "https://numba.readthedocs.io/en/stable",
    "skops": "https://skops.readthedocs.io/en/stable",
}
intersphinx_mapping = {name: (url, str(HERE / "inv" / f"{name}.inv")) for name, url in sites.items()}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"(__init__|quickstart)\.py|tutorials",
    "nested_sections": False,
    "doc_module": ("sparsemodels",),
    "reference_url": {"sparsemodels": None},
    "inspect_global_variables": True,
    "backreferences_dir": "generated/backreferences",
    "abort_on_example_error": True,
    "reset_modules": ("matplotlib",),
    "show_memory": False,
    "write_computation_times": False,
    "min_reported_time": 0,
    "remove_config_comments": True,
    "plot_gallery": "True",
    "parallel": True,  # as many processes as -j says
}

html_theme = "pydata_sphinx_theme"
html_title = "sparsemodels"
html_css_files = ["sparsemodels.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "navbar_align": "left",
    "logo": {"text": "sparsemodels"},
    "header_links_before_dropdown": 7,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {
    "index": [],
    "installation": [],
    "architecture": [],
    "benchmarks": [],
    "contributing": [],
    "changelog": [],
}


def write_included(name, text):
    """Write a file that a page includes; untouched where nothing changed, so that builds stay short."""
    file = HERE / "generated" / name
    file.parent.mkdir(exist_ok=True)
    if not file.is_file() or file.read_text() != text:
        file.write_text(text)


# Made by others before a build: the tables by benchmarks/, the picture by examples/quickstart.py.
TABLES = sorted((HERE.parent / "benchmarks" / "results").glob("*.rst"))
write_included(
    "benchmark_tables.txt",
    "\n".join(f".. include:: ../benchmarks/results/{file.name}\n" for file in TABLES)
    or "No results have been recorded in this checkout.\n",
)
PICTURE = """\
.. figure:: _static/quickstart.png
   :alt: The picture that examples/quickstart.py saves
   :width: 100%

   What ``python examples/quickstart.py`` draws: real data, a choice of sparsity, and its certificate.
"""
write_included("landing_picture.txt", PICTURE if (HERE / "_static" / "quickstart.png").is_file() else "")
