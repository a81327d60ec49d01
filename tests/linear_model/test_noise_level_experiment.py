"""The conclusions of the gallery's noise-level example, asserted on fewer trials."""

import ast
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "linear_model" / "plot_noise_level_of_greedy_rules.py"


@pytest.fixture(scope="module")
def example():
    """The script's imports, constants and functions, without the runs and figures between them."""
    pytest.importorskip("matplotlib")
    tree = ast.parse(SCRIPT.read_text())
    tree.body = [
        node
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef)
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).isupper())
    ]
    names = {}
    exec(compile(tree, str(SCRIPT), "exec"), names)
    return SimpleNamespace(**names)


@pytest.fixture(scope="module")
def errors(example):
    return example.noise_experiment(n_trials=3)


@pytest.fixture(scope="module")
def best(example, errors):
    return example.best_levels(errors)


@pytest.mark.parametrize(
    ("rule", "exponent"),
    [
        (("squared", "l0"), 2),
        (("squared", "l1"), 1),
        (("sqrt", "l0"), 1),
        (("sqrt", "l1"), 0),
        (("absolute", "l0"), 1),
        (("absolute", "l1"), 0),
    ],
)
def test_the_best_level_follows_the_noise_with_its_exponent(example, best, rule, exponent):
    slope = np.polyfit(np.log10(example.NOISE), np.log10(best[rule]), 1)[0]
    # Levels lie on a grid of half a decade over three decades of noise: a slope is good to about 0.3.
    assert abs(slope - exponent) < 0.3


def test_a_penalty_beats_none(errors):
    for error in errors.values():
        # The smallest levels stop nothing; the best one is worth a sixth of the error or more.
        assert np.all(error.min(axis=1) < 0.85 * error[:, 0])


def test_only_the_absolute_loss_withstands_gross_errors(example, best):
    levels = {rule: level[1] for rule, level in best.items()}
    faults = example.fault_experiment(levels, 3, [0, 1, 8])
    for (loss, _), (clean, one, eight) in faults.items():
        assert clean < 2e-3
        if loss == "absolute":
            assert one < 2.0 * clean
            assert eight < 4.0 * clean
        else:
            assert one > 0.1
            assert eight > 0.1
