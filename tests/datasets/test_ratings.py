"""Generated ratings are what was planted; the MovieLens reader on a small archive in the same format."""

import hashlib
import zipfile
from urllib.error import URLError

import numpy as np
import pytest

from sparsemodels.datasets import fetch_movielens_100k, make_ratings, movielens


def test_ratings_are_the_planted_product():
    problem = make_ratings(40, 30, 3, density=0.5, noise_level=0.0, scale=None, random_state=0)
    product = problem.tastes @ problem.genres
    known = problem.data.tocoo()
    np.testing.assert_array_equal(known.data, product[known.row, known.col])
    users, items = problem.test_pairs.T
    np.testing.assert_array_equal(problem.test_ratings, product[users, items])
    assert problem.data.nnz + len(users) == 600
    assert len(users) == 120
    observed = np.zeros((40, 30), dtype=int)
    observed[known.row, known.col] += 1
    observed[users, items] += 1
    assert observed.max() == 1  # nothing is in both sets
    assert (problem.tastes >= 0.0).all()
    assert set(np.unique(problem.genres)) == {0.0, 1.0}
    assert problem.genres.any(axis=0).all()
    np.testing.assert_allclose(product.mean(), 3.4)


def test_offsets_and_scale():
    problem = make_ratings(50, 40, 2, density=1.0, offset_scale=0.7, noise_level=0.0, scale=(0, 10), random_state=1)
    full = problem.tastes @ problem.genres + problem.user_offset[:, None] + problem.item_offset
    full = np.clip(np.rint(full), 0, 10)
    known = problem.data.tocoo()
    np.testing.assert_array_equal(known.data, full[known.row, known.col])
    assert problem.user_offset.std() > 0.4


def test_cold_rows_and_columns_are_only_tested():
    problem = make_ratings(n_cold_users=3, n_cold_items=5, density=0.3, random_state=0)
    assert problem.cold_users.size == 3
    assert problem.cold_items.size == 5
    assert problem.data[problem.cold_users].nnz == 0
    assert problem.data[:, problem.cold_items].nnz == 0
    assert np.isin(problem.cold_items, problem.test_pairs[:, 1]).any()


def test_popularity_is_skewed_on_demand():
    counts = {
        skew: np.sort(make_ratings(300, 200, 2, popularity_skew=skew, random_state=0).data.count_nonzero(axis=0))
        for skew in (0.0, 1.0)
    }
    tenth = {skew: count[-20:].sum() / count.sum() for skew, count in counts.items()}
    assert tenth[0.0] < 0.15
    assert tenth[1.0] > 0.3


def test_same_seed_same_ratings():
    first, second, other = (make_ratings(random_state=seed) for seed in (0, 0, 1))
    assert (first.data != second.data).nnz == 0
    assert (first.data != other.data).nnz > 0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_users": 0}, "n_users=0"),
        ({"density": 0.0}, "density=0.0 must be in"),
        ({"test_fraction": 1.0}, "test_fraction=1.0"),
        ({"noise_level": -1.0}, "noise_level=-1.0"),
        ({"n_cold_items": 200}, "n_cold_items=200"),
        ({"scale": (5, 1)}, r"scale\[1\]=1"),
        ({"scale": 5}, "scale=5 must be a pair"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        make_ratings(**parameters)


GENRES = "unknown|0\nAction|1\nComedy|2\n\n"
ITEMS = "\n".join(
    [
        "1|First (1995)|01-Jan-1995||http://x|0|1|0",
        "2|Zweite, die (1996)|||http://y|0|0|1",
        "3|Troisième (1997)||||0|1|1",
        "",
    ]
)
RATINGS = "2\t1\t3\t881250949\n1\t3\t5\t891717742\n2\t3\t1\t878887116\n"


@pytest.fixture
def archive(tmp_path):
    """A data home with a small archive in the format of the real one."""
    folder = tmp_path / "movielens_100k"
    folder.mkdir()
    with zipfile.ZipFile(folder / "ml-100k.zip", "w") as files:
        files.writestr("ml-100k/u.data", RATINGS)
        files.writestr("ml-100k/u.item", ITEMS.encode("latin-1"))
        files.writestr("ml-100k/u.genre", GENRES)
    return folder / "ml-100k.zip"


@pytest.mark.parametrize("download_if_missing", [True, False])
def test_movielens_reads_its_format(archive, monkeypatch, download_if_missing):
    monkeypatch.setattr(movielens, "_SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
    monkeypatch.setattr(movielens, "_URL", "file://localhost/nowhere")  # the archive is there: nothing is fetched
    bunch = fetch_movielens_100k(data_home=archive.parents[1], download_if_missing=download_if_missing)
    np.testing.assert_array_equal(bunch.data.toarray(), [[0, 0, 5], [3, 0, 1]])
    np.testing.assert_array_equal(bunch.pairs, [[1, 0], [0, 2], [1, 2]])
    np.testing.assert_array_equal(bunch.ratings, [3, 5, 1])
    np.testing.assert_array_equal(bunch.timestamps, [881250949, 891717742, 878887116])
    assert bunch.item_names == ["First (1995)", "Zweite, die (1996)", "Troisième (1997)"]
    assert bunch.genre_names == ["unknown", "Action", "Comedy"]
    np.testing.assert_array_equal(bunch.genres, [[0, 1, 0], [0, 0, 1], [0, 1, 1]])
    assert "GroupLens" in bunch.DESCR


def test_movielens_downloads_what_is_missing(archive, monkeypatch, tmp_path):
    monkeypatch.setattr(movielens, "_SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
    monkeypatch.setattr(movielens, "_URL", f"file://localhost{archive.as_posix()}")
    home = tmp_path / "elsewhere"
    assert fetch_movielens_100k(data_home=home).ratings.size == 3
    assert (home / "movielens_100k" / "ml-100k.zip").read_bytes() == archive.read_bytes()


def test_movielens_refuses_another_archive(archive):
    with pytest.raises(OSError, match="not as published"):
        fetch_movielens_100k(data_home=archive.parents[1], download_if_missing=False)


def test_movielens_offline_says_what_to_do(monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(movielens, "fetch_file", offline)
    with pytest.raises(OSError, match=r"could not be downloaded.*Without a network, bring https://files\.grouplens"):
        fetch_movielens_100k(data_home=tmp_path)
    with pytest.raises(OSError, match="download_if_missing=False: download https://"):
        fetch_movielens_100k(data_home=tmp_path, download_if_missing=False)
