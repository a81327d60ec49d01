"""What every display draws with: colours that colour-blind readers tell apart, matplotlib imported late."""

from typing import Any

# Okabe and Ito's palette without yellow (too faint for lines); black stays for what is not data.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
FAINT = "0.75"
MINIMUM_STYLE = {"color": "0.35", "linestyle": ":", "linewidth": 1.5}
CHOICE_STYLE = {"color": "black", "linestyle": "--", "linewidth": 1.5}


def _import_pyplot(caller: str) -> Any:
    """Import matplotlib's pyplot when something is drawn, or say which class needs it."""
    try:
        import matplotlib.pyplot as pyplot
    except ImportError as error:
        raise ImportError(
            f"{caller} draws with matplotlib, which is not installed; pip install 'sparsemodels[plot]'."
        ) from error
    return pyplot
