"""How far to push two factors on along their last change.

References
----------
A. M. S. Ang and N. Gillis, "Accelerating nonnegative matrix factorization algorithms using extrapolation", Neural
Computation 31, 2019.
"""


class Push:
    """The length of the push, in units of the last change: it grows while the objective falls, and shrinks where not.

    Parameters
    ----------
    enabled : bool
        Whether to push at all; otherwise `length` stays zero.
    growth : float
        By how much the length grows with every step that is kept.
    ceiling_growth : float
        The same for the length that it may have at most; slower.
    shrink : float, default=1.5
        By how much it shrinks with every step that is taken back.

    Attributes
    ----------
    length : float
        The length, between zero and one.
    """

    def __init__(self, enabled: bool, growth: float, ceiling_growth: float, shrink: float = 1.5):
        self.length = 0.5 if enabled else 0.0
        self._growth, self._ceiling_growth, self._shrink = growth, ceiling_growth, shrink
        self._ceiling, self._last = 1.0, self.length

    def keep(self) -> None:
        """The step lowered the objective: be bolder."""
        self._last = self.length
        self.length = min(self._ceiling, self._growth * self.length)
        self._ceiling = min(1.0, self._ceiling_growth * self._ceiling)

    def take_back(self) -> None:
        """The step raised the objective: the last length that did not is the new ceiling."""
        self._ceiling = self._last
        self.length /= self._shrink
