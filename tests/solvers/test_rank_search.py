"""Searches over ranks on error curves that are known: what is tried, in what order, and what is chosen."""

import numpy as np
import pytest

from sparsemodels.solvers.rank_search import Errors, choose_rank, growing_ranks, ranks_in_order


def run(search, error, standard_error=0.0):
    """All errors that a search asked for, and its waves."""
    waves = [next(search)]
    while True:
        try:
            waves.append(search.send([Errors(error(rank), standard_error) for rank in waves[-1]]))
        except StopIteration as stop:
            return stop.value, waves


def one_at_a_time(ranks, error, patience):
    """What a search without parallel work tries."""
    tried, best, waited = [], np.inf, 0
    for rank in ranks:
        tried.append(rank)
        waited = 0 if error(rank) < best else waited + 1
        best = min(best, error(rank))
        if waited == patience:
            break
    return tried


@pytest.mark.parametrize("patience", [1, 2, 3, 5])
def test_waves_try_what_a_sequential_search_would(patience):
    for seed in range(30):
        errors = np.random.default_rng(seed).random(12)
        found, waves = run(ranks_in_order(range(12), patience), lambda rank, errors=errors: errors[rank])
        assert list(found) == one_at_a_time(range(12), errors.__getitem__, patience)
        assert [rank for wave in waves for rank in wave] == list(found)


def test_without_patience_everything_at_once():
    found, waves = run(ranks_in_order([3, 5, 8], None), float)
    assert waves == [[3, 5, 8]]
    assert found == {3: (3.0, 0.0), 5: (5.0, 0.0), 8: (8.0, 0.0)}


@pytest.mark.parametrize("largest", [1, 2, 3, 7, 20, 33])
def test_growing_search_finds_the_minimum_of_every_unimodal_curve(largest):
    for true in range(1, largest + 1):
        found, _ = run(growing_ranks(largest, "min"), lambda rank, true=true: abs(rank - true) ** 1.5)
        assert choose_rank(found, "min") == true
        assert max(found) <= largest


def test_growing_search_is_cheap():
    found, _ = run(growing_ranks(5000, "min"), lambda rank: abs(rank - 37))
    assert choose_rank(found, "min") == 37
    assert len(found) <= 20
    assert max(found) <= 256


@pytest.mark.parametrize("true", [3, 9, 17, 40])
def test_growing_search_finds_the_smallest_rank_within_one_standard_error(true):
    def error(rank):
        return max(true - rank, 0) + 0.01 * rank  # falls fast, then rises slowly

    found, _ = run(growing_ranks(64, "1se"), error, standard_error=2.5)
    exact = {rank: Errors(error(rank), 2.5) for rank in range(1, 65)}
    assert choose_rank(found, "min") == choose_rank(exact, "min") == true
    assert choose_rank(found, "1se") == choose_rank(exact, "1se") == max(true - 2, 1)


def test_ties_and_missing_errors():
    assert choose_rank({4: Errors(1.0, 0.0), 2: Errors(1.0, 0.0)}, "min") == 2
    assert choose_rank({1: Errors(np.nan, np.nan), 2: Errors(3.0, np.nan)}, "1se") == 2
