"""The hash that holds entries out: against pure Python integers, in any order, and never all of a row."""

import numpy as np
import pytest

from sparsemodels.solvers.speckled_mask import hold_out, hold_out_listed, speckled, splitmix64

WORD = 2**64 - 1


def splitmix64_in_python(seed, n):
    """The generator as published, one output after the other, in unbounded integers."""
    outputs, state = [], seed
    for _ in range(n):
        state = (state + 0x9E3779B97F4A7C15) & WORD
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
        outputs.append(z ^ (z >> 31))
    return outputs


def test_published_outputs():
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert splitmix64_in_python(1234567, 5) == published
    assert splitmix64(1234567, np.arange(5)).tolist() == published


@pytest.mark.parametrize("seed", [0, 1, 2**31, WORD])
def test_equals_python_integers(seed):
    shape, fraction = (9, 7), 0.3
    streams = splitmix64_in_python(seed, shape[0])
    expected = [[word < int(fraction * 2.0**64) for word in splitmix64_in_python(s, shape[1])] for s in streams]
    rows, columns = np.indices(shape)
    assert speckled(rows, columns, fraction, seed).tolist() == expected


def test_order_block_and_integer_type_do_not_matter():
    rows, columns = np.indices((40, 30))
    whole = speckled(rows, columns, 0.2, 5)
    order = np.random.default_rng(0).permutation(rows.size)
    scattered = np.empty(rows.size, dtype=bool)
    for part in np.array_split(order, 7):
        scattered[part] = speckled(rows.ravel()[part].astype(np.int32), columns.ravel()[part], 0.2, 5)
    np.testing.assert_array_equal(scattered, whole.ravel())


def test_a_larger_fraction_holds_out_more_of_the_same():
    rows, columns = np.indices((50, 50))
    small, large = speckled(rows, columns, 0.1, 3), speckled(rows, columns, 0.2, 3)
    assert not (small & ~large).any()
    assert large.sum() > small.sum()


def test_statistics_of_independent_draws():
    # 5 standard deviations of a binomial: of all entries, of every row, of every column; and of the overlap of seeds.
    n, fraction = 400, 0.1
    rows, columns = np.indices((n, n))
    held = speckled(rows, columns, fraction, 11)
    other = speckled(rows, columns, fraction, 12)

    def deviations(count, draws, p):
        return np.abs(count - draws * p) / np.sqrt(draws * p * (1 - p))

    assert deviations(held.sum(), n * n, fraction) < 5
    assert deviations(held.sum(axis=0), n, fraction).max() < 5
    assert deviations(held.sum(axis=1), n, fraction).max() < 5
    assert deviations((held & other).sum(), n * n, fraction**2) < 5
    assert deviations((held & held.T)[np.triu_indices(n, 1)].sum(), n * (n - 1) // 2, fraction**2) < 5


def test_only_known_entries_and_blocks_of_rows():
    random = np.random.default_rng(0)
    known = random.random((300, 500)) < 0.7  # several blocks of rows
    held = hold_out(known, 0.1, 4)
    rows, columns = np.indices(known.shape)
    np.testing.assert_array_equal(held, known & speckled(rows, columns, 0.1, 4))


@pytest.mark.parametrize("density", [0.05, 0.3, 1.0])
def test_no_row_or_column_is_emptied(density):
    random = np.random.default_rng(1)
    known = random.random((60, 40)) < density
    for seed in range(20):
        held = hold_out(known, 0.5, seed)
        assert not (held & ~known).any()
        for axis in (0, 1):
            there = known.any(axis=axis)
            assert ((known & ~held).any(axis=axis) == there).all()


@pytest.mark.parametrize("density", [0.05, 0.5])
def test_listed_entries_in_any_order_equal_the_dense_mask(density):
    random = np.random.default_rng(2)
    known = random.random((80, 50)) < density
    rows, columns = np.nonzero(known)
    order = random.permutation(rows.size)
    dense = hold_out(known, 0.4, 9)
    listed = hold_out_listed(rows[order], columns[order], known.shape, 0.4, 9)
    np.testing.assert_array_equal(listed, dense[rows[order], columns[order]])
    assert listed.any()
