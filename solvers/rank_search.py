"""Which ranks to try next, and which one to choose: the search over the size of a model.

The searches are coroutines. They yield a list of ranks, are sent the errors of these ranks, and return when there is
nothing left to try. What they yield depends on the errors alone, so that the ranks of one list can be evaluated side by
side.
"""

from collections.abc import Generator, Sequence
from typing import NamedTuple

import numpy as np

_GOLDEN_SECTION = 0.381966  # the smaller part of a length divided in the golden ratio


class Errors(NamedTuple):
    """The estimated error of one rank.

    Attributes
    ----------
    mean : float
        The mean; NaN counts as infinite.
    standard_error : float
        The standard error of the mean.
    """

    mean: float
    standard_error: float


Search = Generator[list[int], list[Errors], dict[int, Errors]]


def _mean(errors: Errors) -> float:
    return np.inf if np.isnan(errors.mean) else errors.mean


def choose_rank(errors: dict[int, Errors], rule: str) -> int:
    """The rank of the smallest mean error, or the smallest rank within one standard error of it.

    Parameters
    ----------
    errors : dict of int to Errors
        What was found for each rank.
    rule : {"min", "1se"}
        Which of the two.

    Returns
    -------
    int
        The rank; the smallest of equals.

    References
    ----------
    L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression Trees", 1984, section 3.4.3.

    Examples
    --------
    >>> from sparsemodels.solvers.rank_search import Errors, choose_rank
    >>> errors = {1: Errors(5.0, 0.5), 2: Errors(1.2, 0.5), 3: Errors(1.0, 0.5)}
    >>> choose_rank(errors, "min"), choose_rank(errors, "1se")
    (3, 2)
    """
    best = min(errors, key=lambda rank: (_mean(errors[rank]), rank))
    if rule == "min":
        return best
    limit = _mean(errors[best]) + np.nan_to_num(errors[best].standard_error)
    return min(rank for rank in errors if _mean(errors[rank]) <= limit)


def ranks_in_order(ranks: Sequence[int], patience: int | None) -> Search:
    """Try ranks one after the other until none has been better for a while.

    As many are yielded at once as will be needed whatever their errors: nothing is computed that a search without
    parallel work would not compute.

    Parameters
    ----------
    ranks : sequence of int
        The ranks, in the order to try them.
    patience : int or None
        How many in a row may fail to improve on the best mean error so far; None tries all.

    Returns
    -------
    dict of int to Errors
        All errors.

    Yields
    ------
    list of int
        The ranks to try next; their errors are to be sent.
    """
    found: dict[int, Errors] = {}
    best, waited, position = np.inf, 0, 0
    while position < len(ranks) and (patience is None or waited < patience):
        size = len(ranks) if patience is None else patience - waited
        wave = list(ranks[position : position + size])
        for rank, errors in zip(wave, (yield wave), strict=True):
            found[rank] = errors
            waited = 0 if _mean(errors) < best else waited + 1
            best = min(best, _mean(errors))
        position += len(wave)
    return found


def growing_ranks(largest: int, rule: str) -> Search:
    """Double the rank until the error has risen twice, then narrow down by golden section.

    Exact if the mean error first falls and then rises with the rank. For ``rule="1se"`` the smallest rank within one
    standard error is then found by bisection.

    Parameters
    ----------
    largest : int
        The largest rank to try.
    rule : {"min", "1se"}
        What is looked for.

    Returns
    -------
    dict of int to Errors
        All errors.

    Yields
    ------
    list of int
        The ranks to try next; their errors are to be sent.

    References
    ----------
    J. Kiefer, "Sequential minimax search for a maximum", Proc. Amer. Math. Soc. 4, 1953.
    """
    doublings = [2**k for k in range(largest.bit_length()) if 2**k < largest] + [largest]
    found = yield from ranks_in_order(doublings, patience=2)
    while True:
        best = choose_rank(found, "min")
        low = max((rank for rank in found if rank < best), default=best)
        high = min((rank for rank in found if rank > best), default=best)
        if high - best <= 1 and best - low <= 1:
            break
        if high - best > best - low:
            probe = best + max(round(_GOLDEN_SECTION * (high - best)), 1)
        else:
            probe = best - max(round(_GOLDEN_SECTION * (best - low)), 1)
        (found[probe],) = yield [probe]
    while rule == "1se":
        chosen = choose_rank(found, "1se")
        low = max((rank for rank in found if rank < chosen), default=chosen)
        if chosen - low <= 1:
            break
        probe = (low + chosen) // 2
        (found[probe],) = yield [probe]
    return found
