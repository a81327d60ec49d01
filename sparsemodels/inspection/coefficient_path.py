"""Coefficients along a regularisation path: who enters when, and what is chosen."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .drawing import CHOICE_STYLE, FAINT, OKABE_ITO, _import_pyplot


class CoefficientPathDisplay:
    r"""The coefficients of a linear model along its path of penalty levels.

    The horizontal axis is :math:`\alpha / \alpha_{\max}` on a logarithmic scale, falling from left to right:
    the empty model stands on the left, and features enter one after the other. Create it with
    :meth:`from_estimator` or :meth:`from_path`.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
        The penalty levels, in any order. A level of 0 has no place on the axis and is left out.
    coefs : ndarray of shape (n_features, n_alphas)
        The coefficients at each level.
    alpha_max : float, optional
        The smallest level at which every penalised coefficient is zero. Default: the largest of `alphas`.
    chosen_alpha : float, optional
        The level to mark, for instance the one chosen by cross-validation.
    feature_names : sequence of str of length n_features, optional
        Names for the labels. Default: ``x0``, ``x1``, ...
    chosen_label : str, default="chosen"
        What the legend calls the chosen level.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on, after :meth:`plot`.
    figure_ : matplotlib Figure
        Their figure.
    lines_ : list of matplotlib Line2D
        One line for every feature that is ever nonzero, in the order of `features_`.
    features_ : ndarray
        The indices of these features, labelled ones first, by falling magnitude at the chosen level.
    texts_ : list of matplotlib Text
        The labels of the features.
    chosen_line_ : matplotlib Line2D or None
        The vertical line at the chosen level.

    Raises
    ------
    ValueError
        If the shapes disagree or a level is negative.

    See Also
    --------
    CrossValidationDisplay : The error along the same path.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.inspection import CoefficientPathDisplay
    >>> alphas = np.array([1.0, 0.5, 0.1])
    >>> coefs = np.array([[0.0, 0.5, 0.9], [0.0, 0.0, -0.2]])
    >>> display = CoefficientPathDisplay.from_path(alphas, coefs, feature_names=["age", "dose"])
    >>> [text.get_text() for text in display.texts_]
    ['age', 'dose']
    """

    def __init__(
        self,
        alphas: Any,
        coefs: Any,
        *,
        alpha_max: float | None = None,
        chosen_alpha: float | None = None,
        feature_names: Any = None,
        chosen_label: str = "chosen",
    ) -> None:
        alphas, coefs = np.asarray(alphas, dtype=float), np.asarray(coefs, dtype=float)
        if alphas.ndim != 1 or not np.any(alphas > 0) or not np.all(np.isfinite(alphas) & (alphas >= 0)):
            raise ValueError(f"alphas must be a vector of finite levels, not negative and not all 0, got {alphas!r}.")
        if coefs.ndim != 2 or coefs.shape[1] != alphas.size:
            raise ValueError(f"coefs must have the shape (n_features, n_alphas={alphas.size}), got {coefs.shape}.")
        if feature_names is not None and len(feature_names) != coefs.shape[0]:
            raise ValueError(f"feature_names must have {coefs.shape[0]} entries, got {len(feature_names)}.")
        drawable = alphas > 0  # the axis is logarithmic
        self.alphas = alphas[drawable]
        self.coefs = coefs[:, drawable]
        self.alpha_max = float(alpha_max) if alpha_max is not None and _is_scale(alpha_max) else float(alphas.max())
        self.chosen_alpha = chosen_alpha
        self.feature_names = feature_names
        self.chosen_label = chosen_label

    @classmethod
    def from_estimator(cls, estimator: Any, *, feature_names: Any = None, ax: Any = None, **kwargs: Any):
        """Draw the path of a fitted estimator.

        Parameters
        ----------
        estimator : estimator instance
            A fitted estimator with the attributes `alphas_` and `coef_path_` (features by levels); `alpha_`,
            `alpha_max_` and `feature_names_in_` are used where they exist. The last step of a fitted pipeline
            is taken for the pipeline.
        feature_names : sequence of str, optional
            Names for the labels. Default: `feature_names_in_`, or ``x0``, ``x1``, ...
        ax : matplotlib Axes, optional
            Where to draw. Default: a new figure.
        **kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        CoefficientPathDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator keeps no path.
        """
        estimator = _last_step(estimator)
        check_is_fitted(estimator)
        if not (hasattr(estimator, "alphas_") and hasattr(estimator, "coef_path_")):
            name = type(estimator).__name__
            raise TypeError(f"{name} keeps no coefficient path: it has no attributes alphas_ and coef_path_.")
        if feature_names is None:
            feature_names = getattr(estimator, "feature_names_in_", None)
        return cls.from_path(
            estimator.alphas_,
            estimator.coef_path_,
            alpha_max=getattr(estimator, "alpha_max_", None),
            chosen_alpha=getattr(estimator, "alpha_", None),
            feature_names=feature_names,
            chosen_label=_choice_label(estimator),
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_path(
        cls,
        alphas: Any,
        coefs: Any,
        *,
        alpha_max: float | None = None,
        chosen_alpha: float | None = None,
        feature_names: Any = None,
        chosen_label: str = "chosen",
        ax: Any = None,
        **kwargs: Any,
    ):
        """Draw a path given as arrays, such as a path function returns.

        Parameters
        ----------
        alphas : array-like of shape (n_alphas,)
            The penalty levels, in any order. A level of 0 is left out.
        coefs : array-like of shape (n_features, n_alphas)
            The coefficients at each level.
        alpha_max : float, optional
            The smallest level at which every penalised coefficient is zero. Default: the largest of `alphas`.
        chosen_alpha : float, optional
            The level to mark.
        feature_names : sequence of str of length n_features, optional
            Names for the labels.
        chosen_label : str, default="chosen"
            What the legend calls the chosen level.
        ax : matplotlib Axes, optional
            Where to draw. Default: a new figure.
        **kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        CoefficientPathDisplay
            The display, drawn.
        """
        display = cls(
            alphas,
            coefs,
            alpha_max=alpha_max,
            chosen_alpha=chosen_alpha,
            feature_names=feature_names,
            chosen_label=chosen_label,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, n_labels: int = 6, feature_names: Any = None, line_kwargs: dict | None = None):
        """Draw the path.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw. Default: a new figure.
        n_labels : int, default=6
            How many features are coloured and named: those of largest magnitude at the chosen level, or at
            the smallest penalty without one. The others are grey.
        feature_names : sequence of str of length n_features, optional
            Names for the labels, in place of the display's own.
        line_kwargs : dict, optional
            Passed to matplotlib for every line.

        Returns
        -------
        CoefficientPathDisplay
            This object.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        pyplot = _import_pyplot("CoefficientPathDisplay")
        names = self.feature_names if feature_names is None else feature_names
        if names is not None and len(names) != self.coefs.shape[0]:
            raise ValueError(f"feature_names must have {self.coefs.shape[0]} entries, got {len(names)}.")
        if ax is None:
            _, ax = pyplot.subplots(layout="constrained")
        order = np.argsort(-self.alphas)
        levels, coefs = self.alphas[order] / self.alpha_max, self.coefs[:, order]

        at_choice = (
            levels.size - 1
            if self.chosen_alpha is None
            else int(np.abs(np.log(self.alphas[order] / self.chosen_alpha)).argmin())
        )
        ever = np.flatnonzero(np.any(coefs != 0, axis=1))
        # By magnitude at the choice; features that are zero there follow by their largest magnitude.
        ranking = np.lexsort((-np.abs(coefs[ever]).max(axis=1, initial=0.0), -np.abs(coefs[ever, at_choice])))
        self.features_ = ever[ranking]
        labelled = self.features_[: max(n_labels, 0)]
        labelled = labelled[coefs[labelled, at_choice] != 0]

        self.lines_ = []
        for rank, j in enumerate(self.features_):
            style = {"color": FAINT, "linewidth": 0.8, "zorder": 1}
            if rank < labelled.size:
                style = {"color": OKABE_ITO[rank % len(OKABE_ITO)], "linewidth": 1.8, "zorder": 2}
            self.lines_ += ax.plot(levels, coefs[j], **{**style, **(line_kwargs or {})})
        ax.axhline(0.0, color="0.5", linewidth=0.8, zorder=0)

        self.chosen_line_ = None
        if self.chosen_alpha is not None:
            position = self.chosen_alpha / self.alpha_max
            count = np.count_nonzero(coefs[:, at_choice])
            self.chosen_line_ = ax.axvline(
                position, **CHOICE_STYLE, zorder=3, label=f"{self.chosen_label}: {count} nonzero"
            )
            ax.legend(loc="best", framealpha=0.9, edgecolor="none")
        ax.set_xscale("log")
        if levels.size > 1:
            ax.set_xlim(levels[0], levels[-1])  # falling: from the empty model to the full one
        ax.set_xlabel(r"penalty level $\alpha / \alpha_{\max}$")
        ax.set_ylabel("coefficient")
        self.texts_ = self._label_lines(ax, labelled, coefs[labelled, -1], names)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _label_lines(self, ax: Any, labelled: np.ndarray, ends: np.ndarray, names: Any) -> list:
        """Write names beside the right ends of the lines, moved apart where they would overlap."""
        low, high = ax.get_ylim()
        # One line of text is about 5 % of the axes high.
        heights = _spread_apart((ends - low) / (high - low), 0.055)
        texts = []
        for rank, (j, height, end) in enumerate(zip(labelled, heights, ends, strict=True)):
            colour = OKABE_ITO[rank % len(OKABE_ITO)]
            texts.append(
                ax.annotate(
                    f"x{j}" if names is None else str(names[j]),
                    xy=(1.0, (end - low) / (high - low)),
                    xytext=(1.03, height),
                    xycoords="axes fraction",
                    textcoords="axes fraction",
                    va="center",
                    color=colour,
                    fontsize="small",
                    arrowprops={
                        "arrowstyle": "-",
                        "color": colour,
                        "linewidth": 0.6,
                        "shrinkA": 0,
                        "shrinkB": 0,
                    },
                )
            )
        ax.set_ylim(low, high)
        return texts


def _spread_apart(positions: np.ndarray, distance: float) -> np.ndarray:
    """Positions nearest to the given ones, in the same order, at least `distance` apart.

    Isotonic regression of ``positions - rank * distance``: the least-squares answer.
    """
    from sklearn.isotonic import IsotonicRegression

    if positions.size == 0:
        return positions
    order = np.argsort(positions, kind="stable")
    offsets = distance * np.arange(positions.size)
    moved = np.empty_like(positions)
    moved[order] = IsotonicRegression().fit_transform(offsets, positions[order] - offsets) + offsets
    return moved


def _is_scale(alpha_max: float | None) -> bool:
    """Whether levels can be drawn relative to this one: it is 0 for a constant target, infinite for a pure ridge."""
    return alpha_max is not None and 0 < alpha_max < np.inf


def _last_step(estimator: Any) -> Any:
    """The final estimator of a pipeline, or the estimator itself."""
    return estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator


def _choice_label(estimator: Any) -> str:
    """How an estimator's own choice is called in a legend."""
    return {"1se": "one standard error", "min": "minimum"}.get(str(getattr(estimator, "selection", "")), "chosen")
