"""Why a rank was chosen: errors of held-out entries, or silhouettes of perturbed fits, against the rank."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .coefficient_path import _last_step
from .drawing import CHOICE_STYLE, FAINT, MINIMUM_STYLE, OKABE_ITO, _import_pyplot

_LOG_FROM = 10.0  # the ratio of the largest to the smallest mean error from which on the axis is logarithmic


class RankSelectionDisplay:
    r"""What a choice of the number of components rests on.

    Either the mean error over entries held out by cross-validation, with a band of one standard error; or how stable
    the components of perturbed fits are, the silhouette of the worst cluster, and beside it the relative error of the
    fit. Create it with :meth:`from_estimator`.

    Parameters
    ----------
    ranks : ndarray of shape (n_ranks,)
        The ranks tried.
    error_path : ndarray of shape (n_ranks, n_replicates), optional
        The error of each rank on the entries held out in each replicate.
    silhouettes : ndarray of shape (n_ranks,), optional
        The silhouette of the worst cluster; one of `error_path` and `silhouettes` must be given.
    relative_errors : ndarray of shape (n_ranks,), optional
        The norm of the residual over that of the data, drawn beside the silhouettes.
    chosen : int, optional
        The rank to mark.
    minimum : int, optional
        The rank of the smallest mean error. Default: computed.
    threshold : float, optional
        The silhouette at which a rank counts as stable.
    error_name : str, default="mean squared error"
        What the error is, for the vertical axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on, after :meth:`plot`.
    figure_ : matplotlib Figure
        Their figure.
    line_ : matplotlib Line2D
        Mean errors, or silhouettes.
    band_ : matplotlib PolyCollection or None
        The mean error plus and minus one standard error.
    replicate_lines_ : list of matplotlib Line2D
        One thin line a replicate; empty unless asked for.
    chosen_line_, minimum_line_ : matplotlib Line2D or None
        The vertical lines.
    threshold_line_ : matplotlib Line2D or None
        The horizontal line.
    error_ax_ : matplotlib Axes or None
        The axes of the relative errors, on the right.
    error_line_ : matplotlib Line2D or None
        The relative errors.

    Raises
    ------
    ValueError
        If the shapes disagree, or not exactly one of `error_path` and `silhouettes` is given.

    See Also
    --------
    sparsemodels.decomposition.NMFCV : Chooses a rank by held-out entries.
    sparsemodels.decomposition.StabilityRankSelector : Chooses a rank by perturbed fits.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.inspection import RankSelectionDisplay
    >>> errors = np.array([[4.0, 5.0], [1.0, 2.0], [2.0, 2.0]])
    >>> display = RankSelectionDisplay(np.array([1, 2, 3]), error_path=errors, chosen=2).plot()
    >>> display.line_.get_ydata().tolist()
    [4.5, 1.5, 2.0]
    """

    def __init__(
        self,
        ranks: Any,
        *,
        error_path: Any = None,
        silhouettes: Any = None,
        relative_errors: Any = None,
        chosen: int | None = None,
        minimum: int | None = None,
        threshold: float | None = None,
        error_name: str = "mean squared error",
    ) -> None:
        ranks = np.asarray(ranks)
        if ranks.ndim != 1 or ranks.size == 0 or ranks.dtype.kind not in "iu":
            raise ValueError(f"ranks must be a vector of integers, got {ranks!r}.")
        if (error_path is None) == (silhouettes is None):
            raise ValueError("exactly one of error_path and silhouettes must be given.")
        order = np.argsort(ranks, kind="stable")
        self.ranks = ranks[order]
        self.error_path = self.silhouettes = self.relative_errors = None
        if error_path is not None:
            error_path = np.asarray(error_path, dtype=float)
            if error_path.ndim != 2 or error_path.shape[0] != ranks.size or error_path.shape[1] == 0:
                raise ValueError(
                    f"error_path must have the shape (n_ranks={ranks.size}, n_replicates), got {error_path.shape}."
                )
            self.error_path = error_path[order]
            n_replicates = error_path.shape[1]
            self.mean = self.error_path.mean(axis=1)
            self.standard_error = (
                self.error_path.std(axis=1, ddof=1) / np.sqrt(n_replicates)
                if n_replicates > 1
                else np.zeros(ranks.size)
            )
            self.minimum = int(self.ranks[np.nanargmin(self.mean)]) if minimum is None else int(minimum)
        else:
            self.silhouettes = _of_length("silhouettes", silhouettes, ranks.size)[order]
            if relative_errors is not None:
                self.relative_errors = _of_length("relative_errors", relative_errors, ranks.size)[order]
        self.chosen = None if chosen is None else int(chosen)
        self.threshold = threshold
        self.error_name = error_name

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, **kwargs: Any):
        """Draw what the choice of a fitted estimator rests on.

        Parameters
        ----------
        estimator : estimator instance
            A fitted :class:`~sparsemodels.decomposition.NMFCV` or
            :class:`~sparsemodels.decomposition.StabilityRankSelector`, or anything with `ranks_` and either
            `error_path_` or `silhouettes_`; `best_rank_`, `rank_min_` and `errors_` are used where they exist. The
            last step of a fitted pipeline is taken for the pipeline.
        ax : matplotlib Axes, optional
            Where to draw. Default: a new figure.
        **kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        RankSelectionDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator keeps neither errors nor silhouettes by rank.
        """
        estimator = _last_step(estimator)
        check_is_fitted(estimator)
        chosen = getattr(estimator, "best_rank_", None)
        if hasattr(estimator, "ranks_") and hasattr(estimator, "error_path_"):
            display = cls(
                estimator.ranks_,
                error_path=estimator.error_path_,
                chosen=chosen,
                minimum=getattr(estimator, "rank_min_", None),
                error_name=_error_name(estimator),
            )
        elif hasattr(estimator, "ranks_") and hasattr(estimator, "silhouettes_"):
            display = cls(
                estimator.ranks_,
                silhouettes=estimator.silhouettes_,
                relative_errors=getattr(estimator, "errors_", None),
                chosen=chosen,
                threshold=getattr(estimator, "threshold", None),
            )
        else:
            raise TypeError(
                f"{type(estimator).__name__} keeps no errors by rank: it needs the attributes ranks_ and error_path_, "
                "or ranks_ and silhouettes_."
            )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, replicates: bool = False, line_kwargs: dict | None = None):
        """Draw errors or silhouettes against the rank.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw. Default: a new figure.
        replicates : bool, default=False
            Whether to draw a thin line for every replicate of the errors.
        line_kwargs : dict, optional
            Passed to matplotlib for the line of the mean errors, or of the silhouettes.

        Returns
        -------
        RankSelectionDisplay
            This object.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        pyplot = _import_pyplot("RankSelectionDisplay")
        if ax is None:
            _, ax = pyplot.subplots(layout="constrained")
        self.band_ = self.minimum_line_ = self.threshold_line_ = None
        self.error_ax_: Any = None
        self.error_line_: Any = None
        self.replicate_lines_: list[Any] = []
        style = {"color": OKABE_ITO[0], "linewidth": 1.8, "marker": "o", "markersize": 4.5, "zorder": 3}
        style.update(line_kwargs or {})
        if self.error_path is not None:
            self._plot_errors(ax, style, replicates)
        else:
            self._plot_silhouettes(ax, style)
        self.chosen_line_ = None
        if self.chosen is not None:
            self.chosen_line_ = ax.axvline(self.chosen, **CHOICE_STYLE, zorder=2, label=f"chosen: {self.chosen}")
        ax.set_xlabel("rank (number of components)")
        ax.xaxis.get_major_locator().set_params(integer=True)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(loc="best", framealpha=0.9, edgecolor="none", fontsize="small")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _plot_errors(self, ax: Any, style: dict, replicates: bool) -> None:
        assert self.error_path is not None
        if replicates:
            for errors in self.error_path.T:
                self.replicate_lines_ += ax.plot(self.ranks, errors, color=FAINT, linewidth=0.7, zorder=1)
        self.band_ = ax.fill_between(
            self.ranks,
            self.mean - self.standard_error,
            self.mean + self.standard_error,
            color=OKABE_ITO[0],
            alpha=0.2,
            linewidth=0,
            zorder=2,
            label=f"± one standard error over {self.error_path.shape[1]} replicates",
        )
        (self.line_,) = ax.plot(self.ranks, self.mean, **{"label": "mean over replicates", **style})
        if self.minimum != self.chosen:
            self.minimum_line_ = ax.axvline(
                self.minimum, **MINIMUM_STYLE, zorder=2, label=f"smallest error: {self.minimum}"
            )
        smallest, largest = np.nanmin(self.mean), np.nanmax(self.mean)
        if smallest > 0.0 and largest / smallest > _LOG_FROM:
            ax.set_yscale("log")
        ax.set_ylabel(f"{self.error_name} of held-out entries")

    def _plot_silhouettes(self, ax: Any, style: dict) -> None:
        assert self.silhouettes is not None
        (self.line_,) = ax.plot(self.ranks, self.silhouettes, **style)
        if self.threshold is not None:
            self.threshold_line_ = ax.axhline(
                self.threshold, **MINIMUM_STYLE, zorder=1, label=f"stable above {self.threshold:g}"
            )
        ax.set_ylim(min(-0.05, 1.1 * float(np.nanmin(self.silhouettes))), 1.05)
        ax.set_ylabel("silhouette of the worst cluster")
        if self.relative_errors is not None:
            ax.yaxis.label.set_color(style["color"])
            ax.tick_params(axis="y", colors=style["color"])
            self.error_ax_ = ax.twinx()
            (self.error_line_,) = self.error_ax_.plot(
                self.ranks,
                self.relative_errors,
                color=OKABE_ITO[1],
                linewidth=1.5,
                linestyle="-.",
                marker="s",
                markersize=3.5,
            )
            self.error_ax_.set_ylim(0.0, 1.05 * max(float(np.nanmax(self.relative_errors)), 1e-12))
            self.error_ax_.set_ylabel("relative error of the fit", color=OKABE_ITO[1])
            self.error_ax_.tick_params(axis="y", colors=OKABE_ITO[1])


def _of_length(name: str, values: Any, size: int) -> np.ndarray:
    vector = np.asarray(values, dtype=float)
    if vector.shape != (size,):
        raise ValueError(f"{name} must have the shape (n_ranks={size},), got {vector.shape}.")
    return vector


def _error_name(estimator: Any) -> str:
    """What the errors of a search are, for the axis."""
    if getattr(estimator, "scoring", None) is not None:
        return "mean error"
    loss = getattr(getattr(estimator, "best_estimator_", None), "loss", "frobenius")
    if loss in ("frobenius", 2.0):
        return "mean squared error"
    if loss in ("correntropy", "huber", "l21", "cauchy"):
        return "mean absolute error"
    return "mean divergence"
