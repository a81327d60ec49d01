"""Mid-infrared spectra of a fermentation: few samples, many wavenumbers, and a long unlabelled record."""

from importlib import resources
from typing import Any

import numpy as np
from sklearn.utils import Bunch

_DESCRIPTION = """\
Mid-infrared spectra and glucose in a lignocellulose-to-ethanol fermentation
============================================================================

:Calibration samples: 21
:Features: 1047, the light that comes back at 428 to 1833 per centimetre relative to a background (ATR mid-infrared
    spectroscopy), dimensionless; a substance shows as a dip, a blank reads 1
:Target: glucose in grams per litre, 0 to 38, by high-performance liquid chromatography (HPLC)
:On-line spectra: 407, without a target, one every 5 minutes during a fermentation of 34 hours
:Off-line samples of that fermentation: 34, about one an hour, by HPLC: glucose, xylose, acetic acid, ethanol
    and furfural in grams per litre

The calibration samples are mixtures made up to span what happens in a fermentation; the on-line spectra have
another background. A model calibrated on the former may therefore follow the changes of the latter and still be
off by tens of grams per litre, which cross-validation on the calibration samples cannot foresee; in the first half
hour the on-line readings also drift. At the low end of the spectrum and around the absorption of water, 1640 per
centimetre, noise drowns the differences between samples: a model has to find out that most of the spectrum is
useless.

Recorded in 2019 at the Technical University of Denmark.

Source: P. Cabaneros Lopez, I. A. Udugama, S. T. Thomsen, C. Roslander, H. Junicke, M. Mauricio Iglesias and
K. V. Gernaey, Biotechnology and Bioengineering 118 (2021), doi:10.1002/bit.27586. Taken from the package
chemotools 0.5.0 by the first author, MIT licence (its text is in ``sparsemodels/datasets/data/README.md``);
every fourth on-line spectrum is kept, rounded to 12 significant bits.
"""


def load_fermentation(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Load mid-infrared spectra with the concentration of glucose, 21 samples of 1047 features.

    The regression problem is the calibration set `data`, `target`; the spectra recorded during a
    fermentation, `online`, with a few off-line measurements, `reference`, are what the calibrated model is
    for.

    Parameters
    ----------
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Whether to return pandas objects. Needs pandas.

    Returns
    -------
    Bunch or tuple
        The pair ``(data, target)`` if ``return_X_y=True``, otherwise a Bunch with

        data : ndarray or DataFrame of shape (21, 1047)
            Calibration spectra, float64, dimensionless.
        target : ndarray or Series of shape (21,)
            Glucose in grams per litre.
        feature_names : list of str
            The wavenumbers with their unit, such as ``"1038 cm-1"``.
        target_names : list of str
            ``["glucose"]``.
        wavenumbers : ndarray of shape (1047,)
            The same as numbers, per centimetre, increasing.
        online : ndarray or DataFrame of shape (407, 1047)
            Spectra recorded during the fermentation, one every 5 minutes.
        online_hours : ndarray of shape (407,)
            When they were recorded, in hours.
        reference : ndarray or DataFrame of shape (34, 6)
            Off-line measurements of the fermentation: the time in hours, then concentrations in grams per
            litre.
        reference_names : list of str
            The columns of `reference`.
        frame : DataFrame of shape (21, 1048)
            `data` and `target` together; None unless ``as_frame=True``.
        DESCR : str
            The description, with source and licence.

    Raises
    ------
    ImportError
        If ``as_frame=True`` and pandas is not installed.

    Examples
    --------
    >>> from sparsemodels.datasets import load_fermentation
    >>> spectra = load_fermentation()
    >>> spectra.data.shape, spectra.online.shape
    ((21, 1047), (407, 1047))
    >>> spectra.feature_names[0], spectra.reference_names[:2]
    ('428 cm-1', ['hours', 'glucose'])
    """
    with resources.files(__package__).joinpath("data", "fermentation.npz").open("rb") as file:
        with np.load(file, allow_pickle=False) as stored:
            wavenumbers = stored["wavenumbers"].astype(np.float64)
            data = stored["spectra"].astype(np.float64)
            target = stored["glucose"]
            online = stored["online_spectra"].astype(np.float64)
            online_hours = stored["online_hours"]
            reference = stored["hplc"]
            substances = [str(name) for name in stored["hplc_columns"][1:]]
    feature_names = [f"{wavenumber:.0f} cm-1" for wavenumber in wavenumbers]
    reference_names = ["hours", *substances]
    frame = None
    if as_frame:
        pandas = _require_pandas("load_fermentation")
        data = pandas.DataFrame(data, columns=feature_names)
        target = pandas.Series(target, name="glucose")
        online = pandas.DataFrame(online, columns=feature_names, index=pandas.Index(online_hours, name="hours"))
        reference = pandas.DataFrame(reference, columns=reference_names)
        frame = pandas.concat([data, target], axis=1)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        frame=frame,
        feature_names=feature_names,
        target_names=["glucose"],
        wavenumbers=wavenumbers,
        online=online,
        online_hours=online_hours,
        reference=reference,
        reference_names=reference_names,
        DESCR=_DESCRIPTION,
    )


def _require_pandas(caller: str) -> Any:
    """Import pandas, or say which function needs it."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError(f"{caller} with as_frame=True needs pandas; install it or use as_frame=False.") from error
    return pandas
