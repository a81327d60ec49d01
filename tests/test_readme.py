"""What README.md and the user guide show runs as it stands and prints what the text says."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_two_commands():
    # .ci/run takes them from the text by this form and runs them on a clean machine.
    commands = re.findall(r"^python3 -m venv \.venv\S* && .*$", README, re.M)
    assert len(commands) == 2
    assert commands[0].endswith("examples/quickstart.py")
    assert commands[1].endswith("-m pytest -q -n auto")


def test_usage(capsys):
    (block,) = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)
    names = {}
    exec(block, names)
    printed = capsys.readouterr().out
    assert re.match(r"\d of 10 features at alpha = \S+, gap \S+\n", printed)
    assert names["lasso"].dual_gap_ <= names["lasso"].tol * np.var(names["y"])


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert missing == []


def test_gap_by_hand(capsys):
    text = (ROOT / "docs" / "user_guide" / "certificates.rst").read_text()
    section = text.split(".. _gap_by_hand:")[1]
    block = re.search(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", section)[1]
    names = {}
    exec(textwrap.dedent(block), names)
    by_hand, reported = float(capsys.readouterr().out), names["model"].dual_gap_
    primal = names["primal"]
    # Both bound the same distance from above, by dual points of their own; rounding is that of the objective.
    assert by_hand >= -1e-12 * primal
    assert by_hand == pytest.approx(reported, abs=1e-6 * primal)
    assert reported <= 1e-8 * np.var(names["y"])  # tol times twice the loss at zero coefficients
