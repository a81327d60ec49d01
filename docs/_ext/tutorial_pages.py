"""Bring the tutorial notebooks, which live among the examples, into the documentation's source tree."""

import shutil
from pathlib import Path


def write(app, config):
    folder = Path(app.srcdir) / "generated" / "tutorials"
    folder.mkdir(parents=True, exist_ok=True)
    notebooks = sorted((Path(app.srcdir).parent / "examples" / "tutorials").glob("*.ipynb"))
    for stale in set(folder.glob("*.ipynb")) - {folder / notebook.name for notebook in notebooks}:
        stale.unlink()
    for notebook in notebooks:
        target = folder / notebook.name
        if not target.is_file() or target.read_bytes() != notebook.read_bytes():
            shutil.copy(notebook, target)
    lines = [
        "Tutorials",
        "=========",
        "",
        "Notebooks to read from top to bottom; the tests execute them.",
        "",
    ]
    if notebooks:
        lines += [
            ".. toctree::",
            "   :maxdepth: 1",
            "",
            *(f"   {notebook.stem}" for notebook in notebooks),
            "",
        ]
    page, text = folder / "index.rst", "\n".join(lines)
    if not page.is_file() or page.read_text() != text:
        page.write_text(text)


def setup(app):
    app.connect("config-inited", write)
    return {"parallel_read_safe": True}
