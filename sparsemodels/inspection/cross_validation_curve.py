"""Cross-validated error along a path, with its standard error and the two usual choices."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .coefficient_path import _is_scale, _last_step
from .drawing import CHOICE_STYLE, FAINT, MINIMUM_STYLE, OKABE_ITO, _import_pyplot


class CrossValidationDisplay:
    r"""The error of cross-validation along a path, with a band of one standard error.

    The path runs over penalty levels :math:`\alpha` (drawn as :math:`\alpha / \alpha_{\max}`, logarithmic,
    falling from left to right) or over the number of nonzero coefficients (rising): sparse models stand on
    the left in both. Vertical lines mark the minimum and the sparsest model within one standard error of it.
    Create it with :meth:`from_estimator`.

    Parameters
    ----------
    levels : ndarray of shape (n_levels,)
        Penalty levels, or numbers of nonzero coefficients. A penalty level of 0 has no place on the axis and
        is left out.
    error_path : ndarray of shape (n_levels, n_folds)
        The error of each fold at each level. Folds without any number are left out, and so are levels with a
        NaN in another fold.
    kind : {"alpha", "size"}, default="alpha"
        What the levels are.
    level_max : float, optional
        The penalty level that gives the empty model, for ``kind="alpha"``. Default: the largest level.
    minimum : float, optional
        The level of the smallest mean error. Default: computed.
    one_standard_error : float, optional
        The level of the sparsest model whose mean error is at most the minimum plus its standard error.
        Default: computed.
    n_nonzero : ndarray of shape (n_levels,), optional
        The numbers of nonzero coefficients, written on the top axis for ``kind="alpha"``.
    error_name : str, default="mean squared error"
        What the error is, for the vertical axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on, after :meth:`plot`.
    figure_ : matplotlib Figure
        Their figure.
    line_ : matplotlib Line2D
        The mean over the folds.
    band_ : matplotlib PolyCollection
        The mean plus and minus one standard error, the standard deviation over the folds by the root of their
        number.
    fold_lines_ : list of matplotlib Line2D
        One thin line a fold; empty unless asked for.
    minimum_line_, one_standard_error_line_ : matplotlib Line2D
        The vertical lines.
    top_ax_ : matplotlib Axes or None
        The axes with the numbers of nonzero coefficients.

    Raises
    ------
    ValueError
        If the shapes disagree, a level is negative, or no level is finite in every fold.

    See Also
    --------
    CoefficientPathDisplay : The coefficients along the same path.

    References
    ----------
    L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression Trees", 1984, section
    3.4.3, for the rule of one standard error.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.inspection import CrossValidationDisplay
    >>> errors = np.array([[4.0, 5.0], [1.0, 2.0], [2.0, 2.0]])
    >>> display = CrossValidationDisplay(np.array([1.0, 0.5, 0.1]), errors).plot()
    >>> display.line_.get_ydata().tolist()
    [4.5, 1.5, 2.0]
    """

    def __init__(
        self,
        levels: Any,
        error_path: Any,
        *,
        kind: str = "alpha",
        level_max: float | None = None,
        minimum: float | None = None,
        one_standard_error: float | None = None,
        n_nonzero: Any = None,
        error_name: str = "mean squared error",
    ) -> None:
        levels, error_path = np.asarray(levels, dtype=float), np.asarray(error_path, dtype=float)
        if kind not in ("alpha", "size"):
            raise ValueError(f"kind={kind!r} is unknown; choose 'alpha' or 'size'.")
        if levels.ndim != 1 or levels.size == 0 or not np.all(np.isfinite(levels) & (levels >= 0)):
            raise ValueError(f"levels must be a vector of finite numbers, none negative, got {levels!r}.")
        if error_path.ndim != 2 or error_path.shape[0] != levels.size:
            raise ValueError(
                f"error_path must have the shape (n_levels={levels.size}, n_folds), got {error_path.shape}."
            )
        if n_nonzero is not None and len(n_nonzero) != levels.size:
            raise ValueError(f"n_nonzero must have {levels.size} entries, got {len(n_nonzero)}.")
        error_path = error_path[:, ~np.isnan(error_path).all(axis=0)]
        # Sparse models first.
        order = np.argsort(-levels if kind == "alpha" else levels, kind="stable")
        if kind == "alpha":
            order = order[levels[order] > 0]  # the axis is logarithmic
        usable = order[np.isfinite(error_path[order]).all(axis=1)]
        if usable.size == 0 or error_path.shape[1] == 0:
            raise ValueError("error_path has no level that is finite in every fold.")
        self.levels = levels[usable]
        self.error_path = error_path[usable]
        self.kind = kind
        self.error_name = error_name
        self.level_max = float(level_max) if level_max is not None and _is_scale(level_max) else float(levels.max())
        self.n_nonzero = None if n_nonzero is None else np.asarray(n_nonzero)[usable]
        self.mean = self.error_path.mean(axis=1)
        n_folds = self.error_path.shape[1]
        self.standard_error = (
            self.error_path.std(axis=1, ddof=1) / np.sqrt(n_folds) if n_folds > 1 else np.zeros(usable.size)
        )
        best = int(self.mean.argmin())
        sparsest = int(np.argmax(self.mean <= self.mean[best] + self.standard_error[best]))
        self.minimum = float(self.levels[best] if minimum is None else minimum)
        self.one_standard_error = float(self.levels[sparsest] if one_standard_error is None else one_standard_error)

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, **kwargs: Any):
        """Draw the cross-validation curve of a fitted estimator.

        Parameters
        ----------
        estimator : estimator instance
            A fitted estimator with `mse_path_` (levels by folds) and either `alphas_` or
            `n_nonzero_coefs_path_`; `alpha_min_`, `alpha_1se_`, `alpha_max_` and `coef_path_` are used where
            they exist. The last step of a fitted pipeline is taken for the pipeline.
        ax : matplotlib Axes, optional
            Where to draw. Default: a new figure.
        **kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        CrossValidationDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator keeps no cross-validation curve.
        """
        estimator = _last_step(estimator)
        check_is_fitted(estimator)
        if hasattr(estimator, "mse_path_") and hasattr(estimator, "alphas_"):
            coefs = getattr(estimator, "coef_path_", None)
            display = cls(
                estimator.alphas_,
                estimator.mse_path_,
                level_max=getattr(estimator, "alpha_max_", None),
                minimum=getattr(estimator, "alpha_min_", None),
                one_standard_error=getattr(estimator, "alpha_1se_", None),
                n_nonzero=None if coefs is None else np.count_nonzero(coefs, axis=0),
            )
        elif hasattr(estimator, "error_path_") and hasattr(estimator, "n_nonzero_coefs_"):
            # Errors by level, size from 0 on, and fold: drawn at the chosen level.
            level = int(np.abs(estimator.alphas_ - estimator.alpha_).argmin())
            errors = estimator.error_path_[level]
            chosen = {"min": "minimum", "1se": "one_standard_error"}[estimator.selection]
            absolute = getattr(estimator, "loss", None) == "absolute"
            display = cls(
                np.arange(errors.shape[0]),
                errors,
                kind="size",
                error_name="mean absolute error" if absolute else "mean squared error",
                **{chosen: estimator.n_nonzero_coefs_},
            )
        else:
            raise TypeError(
                f"{type(estimator).__name__} keeps no cross-validation curve: it needs the attributes "
                "mse_path_ and alphas_, or error_path_ and n_nonzero_coefs_."
            )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, folds: bool = False, line_kwargs: dict | None = None):
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw. Default: a new figure.
        folds : bool, default=False
            Whether to draw a thin line for every fold.
        line_kwargs : dict, optional
            Passed to matplotlib for the line of the mean.

        Returns
        -------
        CrossValidationDisplay
            This object.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        pyplot = _import_pyplot("CrossValidationDisplay")
        if ax is None:
            _, ax = pyplot.subplots(layout="constrained")
        scale = self.level_max if self.kind == "alpha" else 1.0
        x = self.levels / scale
        self.fold_lines_ = []
        if folds:
            for errors in self.error_path.T:
                self.fold_lines_ += ax.plot(x, errors, color=FAINT, linewidth=0.7, zorder=1)
        self.band_ = ax.fill_between(
            x,
            self.mean - self.standard_error,
            self.mean + self.standard_error,
            color=OKABE_ITO[0],
            alpha=0.2,
            linewidth=0,
            zorder=2,
            label=f"± one standard error over {self.error_path.shape[1]} folds",
        )
        style = {"color": OKABE_ITO[0], "linewidth": 1.8, "zorder": 3, "label": "mean over folds"}
        (self.line_,) = ax.plot(x, self.mean, **{**style, **(line_kwargs or {})})
        self.minimum_line_ = ax.axvline(
            self.minimum / scale, **MINIMUM_STYLE, zorder=4, label=self._describe("minimum", self.minimum)
        )
        self.one_standard_error_line_ = ax.axvline(
            self.one_standard_error / scale,
            **CHOICE_STYLE,
            zorder=4,
            label=self._describe("one standard error", self.one_standard_error),
        )
        self.top_ax_ = None
        if self.kind == "alpha":
            ax.set_xscale("log")
            ax.set_xlabel(r"penalty level $\alpha / \alpha_{\max}$")
            if x.size > 1:
                ax.set_xlim(x[0], x[-1])
            if self.n_nonzero is not None:
                self.top_ax_ = self._count_axis(ax, x, self.n_nonzero)
        else:
            ax.set_xlabel("number of nonzero coefficients")
        ax.set_ylabel(f"{self.error_name} of prediction")
        ax.legend(loc="best", framealpha=0.9, edgecolor="none", fontsize="small")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _describe(self, name: str, level: float) -> str:
        if self.kind == "size":
            return f"{name}: {level:.0f} nonzero"
        if self.n_nonzero is None:
            return name
        nearest = int(np.abs(np.log(self.levels / level)).argmin())
        return f"{name}: {self.n_nonzero[nearest]} nonzero"

    def _count_axis(self, ax: Any, x: np.ndarray, counts: np.ndarray) -> Any:
        """A second horizontal axis on top that tells how many coefficients are nonzero."""
        ticks = np.unique(np.linspace(0, x.size - 1, min(6, x.size)).round().astype(int))
        top = ax.twiny()
        top.set_xscale(ax.get_xscale())
        top.set_xlim(ax.get_xlim())
        top.set_xticks(x[ticks], labels=[str(counts[k]) for k in ticks])
        top.minorticks_off()
        top.set_xlabel("nonzero coefficients")
        return top
