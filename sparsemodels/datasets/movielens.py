"""MovieLens 100K: 100 000 ratings of films, fetched from GroupLens on first use."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import scipy.sparse
from sklearn.datasets import fetch_file, get_data_home
from sklearn.utils import Bunch

_URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
# As recorded by TensorFlow Datasets (url_checksums/movielens.txt), for an archive of 4 924 029 bytes. GroupLens itself
# publishes the MD5 digest 0e33842e24a9c977be4e0107933c0723.
_SHA256 = "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"
_FOLDER, _ARCHIVE = "movielens_100k", "ml-100k.zip"

_DESCRIPTION = """\
MovieLens 100K
==============

:Users: 943, each with 20 ratings or more
:Films: 1682
:Ratings: 100 000, whole numbers from 1 to 5
:Known entries: 6.3 % of the matrix; a few films were rated by hundreds of users, 141 by a single one
:Recorded: September 1997 to April 1998, on the site of the GroupLens project, University of Minnesota

The terms of GroupLens allow use for research and forbid redistribution without permission: the data are fetched from
its site and are no part of this package. They ask to cite F. M. Harper and J. A. Konstan, "The MovieLens datasets:
history and context", ACM Transactions on Interactive Intelligent Systems 5, 2015, doi:10.1145/2827872.
"""


def fetch_movielens_100k(
    *,
    data_home: Any = None,
    download_if_missing: bool = True,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Bunch:
    """Load the MovieLens 100K ratings, downloading them if necessary.

    The archive (5 MB) is kept as it was downloaded, in the folder ``movielens_100k`` of scikit-learn's data home, and
    is checked against its SHA-256 digest on every call.

    Parameters
    ----------
    data_home : str or path-like, optional
        Another folder for downloaded data. By default ``~/scikit_learn_data``, as for scikit-learn's own fetchers.
    download_if_missing : bool, default=True
        Whether to download; with False, an OSError says where the archive is expected.
    n_retries : int, default=3
        How often to retry when there is an HTTP error.
    delay : float, default=1.0
        Seconds between retries.

    Returns
    -------
    Bunch
        The ratings and what is known of the films:

        data : csr_array of shape (943, 1682)
            The ratings by user and film, float64; what is not stored is unknown.
        pairs : ndarray of shape (100000, 2)
            The user and the film of each rating, counted from 0, in the order of the source.
        ratings : ndarray of shape (100000,)
            The ratings, float64.
        timestamps : ndarray of shape (100000,)
            Seconds since 1970, int64.
        item_names : list of str
            The titles of the films.
        genres : ndarray of bool of shape (1682, 19)
            The genres of each film.
        genre_names : list of str
            Their names.
        DESCR : str
            The description, with source and terms of use.

    Raises
    ------
    OSError
        If the archive is not there and cannot, or may not, be downloaded.

    Examples
    --------
    >>> from sparsemodels.datasets import fetch_movielens_100k
    >>> movielens = fetch_movielens_100k()  # doctest: +SKIP
    >>> movielens.data.shape, movielens.data.nnz  # doctest: +SKIP
    ((943, 1682), 100000)
    """
    folder = Path(get_data_home(data_home)) / _FOLDER
    archive = folder / _ARCHIVE
    if not download_if_missing:
        if not archive.is_file() or hashlib.sha256(archive.read_bytes()).hexdigest() != _SHA256:
            raise OSError(
                f"MovieLens 100K is not at {archive}, or not as published, and download_if_missing=False: download "
                f"{_URL} to that place."
            )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            archive = fetch_file(
                _URL, folder=folder, local_filename=_ARCHIVE, sha256=_SHA256, n_retries=n_retries, delay=delay
            )
        except (URLError, TimeoutError, ConnectionError) as error:
            raise OSError(
                f"MovieLens 100K could not be downloaded ({error}). Without a network, bring {_URL} to {archive} "
                "by other means; make_ratings generates ratings offline."
            ) from error
    return _read_archive(archive)


def _read_archive(archive: Path) -> Bunch:
    """The contents of an archive in the format of MovieLens 100K, of any size."""
    with zipfile.ZipFile(archive) as files:
        with files.open("ml-100k/u.data") as file:
            table = np.loadtxt(file, dtype=np.int64, ndmin=2)
        items = [line.split("|") for line in files.read("ml-100k/u.item").decode("latin-1").splitlines() if line]
        lines = files.read("ml-100k/u.genre").decode("latin-1").splitlines()
    pairs, ratings = table[:, :2] - 1, table[:, 2].astype(np.float64)
    names = {int(identifier) - 1: title for identifier, title, *_ in items}
    genre_names = [line.split("|")[0] for line in lines if line]
    n_items = max(int(pairs[:, 1].max()), *names) + 1
    genres = np.zeros((n_items, len(genre_names)), dtype=bool)
    for identifier, *fields in items:  # the genres are the last fields, zeros and ones
        genres[int(identifier) - 1] = np.array(fields[-len(genre_names) :]) == "1"
    shape = (int(pairs[:, 0].max()) + 1, n_items)
    return Bunch(
        data=scipy.sparse.csr_array((ratings, (pairs[:, 0], pairs[:, 1])), shape=shape),
        pairs=pairs,
        ratings=ratings,
        timestamps=table[:, 3],
        item_names=[names.get(j, "") for j in range(n_items)],
        genres=genres,
        genre_names=genre_names,
        DESCR=_DESCRIPTION,
    )
