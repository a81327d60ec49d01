r"""The six rules of greedy selection: a loss and a penalty each, as records of the penalties.

The losses are :math:`\|r\|_2^2`, :math:`\|r\|_2` and :math:`\|r\|_1`, with row weights inside; the penalties are
:math:`P_j [x_j \ne 0]` and :math:`\kappa_j |x_j|`, with one number in [0, inf] a column.
"""

from typing import NamedTuple

import numpy as np


class SquaredL0(NamedTuple):
    r"""Loss :math:`\|r\|_2^2`, penalty :math:`\sum_j P_j [x_j \ne 0]`."""

    penalty: np.ndarray


class SquaredL1(NamedTuple):
    r"""Loss :math:`\|r\|_2^2`, penalty :math:`\sum_j \kappa_j |x_j|`."""

    penalty: np.ndarray


class SquareRootL0(NamedTuple):
    r"""Loss :math:`\|r\|_2`, penalty :math:`\sum_j P_j [x_j \ne 0]`."""

    penalty: np.ndarray


class SquareRootL1(NamedTuple):
    r"""Loss :math:`\|r\|_2`, penalty :math:`\sum_j \kappa_j |x_j|`."""

    penalty: np.ndarray


class AbsoluteL0(NamedTuple):
    r"""Loss :math:`\|r\|_1`, penalty :math:`\sum_j P_j [x_j \ne 0]`."""

    penalty: np.ndarray


class AbsoluteL1(NamedTuple):
    r"""Loss :math:`\|r\|_1`, penalty :math:`\sum_j \kappa_j |x_j|`."""

    penalty: np.ndarray


#: The record of each rule, by the names of its loss and its penalty.
RULES = {
    ("squared", "l0"): SquaredL0,
    ("squared", "l1"): SquaredL1,
    ("sqrt", "l0"): SquareRootL0,
    ("sqrt", "l1"): SquareRootL1,
    ("absolute", "l0"): AbsoluteL0,
    ("absolute", "l1"): AbsoluteL1,
}
