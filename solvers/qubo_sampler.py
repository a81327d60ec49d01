r"""Binary quadratic problems for Ising machines and other samplers.

Conventions, as in dimod: a QUBO is :math:`E(h) = \sum_a Q_{aa} h_a + \sum_{a<b} Q_{ab} h_a h_b + \mathrm{offset}` over
:math:`h_a \in \{0, 1\}`; an Ising model :math:`E(s) = \sum_a b_a s_a + \sum_{a<b} J_{ab} s_a s_b +
\mathrm{offset}` over spins :math:`s_a = 2 h_a - 1 \in \{-1, 1\}`.
"""

from typing import Any, NamedTuple

import numpy as np


class QUBO(NamedTuple):
    """A quadratic model over bits.

    Attributes
    ----------
    Q : ndarray of shape (r, r)
        Upper triangular: linear terms on the diagonal, couplings above it.
    offset : float
        The constant.
    """

    Q: np.ndarray
    offset: float


class IsingModel(NamedTuple):
    """A quadratic model over spins.

    Attributes
    ----------
    J : ndarray of shape (r, r)
        The couplings, strictly upper triangular.
    b : ndarray of shape (r,)
        The fields.
    offset : float
        The constant.
    """

    J: np.ndarray
    b: np.ndarray
    offset: float


def to_qubo(G: np.ndarray, c: np.ndarray, offset: float = 0.0) -> QUBO:
    r"""The QUBO of :math:`\frac12 h^T G h - c^T h` + offset.

    Parameters
    ----------
    G : array-like of shape (r, r)
        A symmetric matrix.
    c : array-like of shape (r,)
        A vector.
    offset : float, default=0.0
        The constant: half the squared norm of the data makes it half a squared error.

    Returns
    -------
    QUBO
        :math:`Q_{aa} = \frac12 G_{aa} - c_a` and :math:`Q_{ab} = G_{ab}` for a < b.

    Examples
    --------
    >>> from sparsemodels.solvers.qubo_sampler import to_qubo
    >>> to_qubo([[2.0, 1.0], [1.0, 4.0]], [3.0, 1.0]).Q
    array([[-2.,  1.],
           [ 0.,  1.]])
    """
    G, c = np.asarray(G, dtype=np.float64), np.asarray(c, dtype=np.float64)
    return QUBO(np.triu(G, 1) + np.diag(0.5 * np.diag(G) - c), float(offset))


def to_ising(G: np.ndarray, c: np.ndarray, offset: float = 0.0) -> IsingModel:
    r"""The Ising model of :math:`\frac12 h^T G h - c^T h` + offset, with h = (1 + s) / 2.

    Parameters
    ----------
    G : array-like of shape (r, r)
        A symmetric matrix.
    c : array-like of shape (r,)
        A vector.
    offset : float, default=0.0
        The constant.

    Returns
    -------
    IsingModel
        With the Q of :func:`to_qubo`, :math:`J_{ab} = Q_{ab} / 4`, :math:`b_a = Q_{aa} / 2 + \frac14 \sum_{b \ne a}
        Q_{\min(a,b), \max(a,b)}`, and the offset that makes the energies equal.

    Examples
    --------
    >>> from sparsemodels.solvers.qubo_sampler import to_ising
    >>> model = to_ising([[2.0, 1.0], [1.0, 4.0]], [3.0, 1.0])
    >>> model.b, model.offset
    (array([-0.75,  0.75]), -0.25)
    """
    Q, offset = to_qubo(G, c, offset)
    couplings, linear = np.triu(Q, 1), np.diag(Q)
    fields = 0.5 * linear + 0.25 * (couplings.sum(axis=0) + couplings.sum(axis=1))
    return IsingModel(0.25 * couplings, fields, float(offset + 0.5 * linear.sum() + 0.25 * couplings.sum()))


class DimodAdapter:
    """Any sampler with dimod's ``sample_qubo`` as a solver of :func:`minimize_binary_quadratic`.

    The sampler is only called: nothing of dimod is imported.

    Parameters
    ----------
    sampler : object
        With ``sample_qubo(Q, **kwargs)``, where Q maps pairs of variables to numbers; its answer has a ``first`` with
        a ``sample`` that maps variables to 0 or 1. For example ``dwave.samplers.SimulatedAnnealingSampler()``.
    merge : int, default=1
        How many problems to send in one call, as one model without couplings between them. An Ising machine answers a
        call in much the same time however small the model; a sampler in software gains nothing, and its best sample
        is the best of the sum, not of every problem.
    seed : str or None, default=None
        The name of the argument that seeds the sampler, to make its answers repeatable; None seeds nothing.
    **kwargs
        Passed to ``sample_qubo``.

    Examples
    --------
    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> from sparsemodels.solvers.binary_quadratic import minimize_binary_quadratic
    >>> from sparsemodels.solvers.qubo_sampler import DimodAdapter
    >>> class AllOnes:
    ...     def sample_qubo(self, Q):
    ...         return SimpleNamespace(first=SimpleNamespace(sample={a: 1 for a, _ in Q}))
    >>> solution = minimize_binary_quadratic(np.eye(2), [[2.0, 1.0]], [[0, 0]], solver=DimodAdapter(AllOnes()))
    >>> solution.codes, solution.proven
    (array([[1, 1]], dtype=uint8), array([False]))
    """

    def __init__(self, sampler: Any, *, merge: int = 1, seed: str | None = None, **kwargs: Any):
        if not callable(getattr(sampler, "sample_qubo", None)):
            raise TypeError(f"sampler must have a method sample_qubo, got {type(sampler).__name__}")
        if merge < 1:
            raise ValueError(f"merge must be at least 1, got {merge}")
        self.sampler, self.merge, self.seed, self.kwargs = sampler, merge, seed, kwargs

    def __call__(self, G: np.ndarray, c: np.ndarray, start: np.ndarray, *, random_state: Any = None) -> np.ndarray:
        """Sample a code for every problem.

        Parameters
        ----------
        G : ndarray of shape (r, r) or (n_problems, r, r)
            The matrices.
        c : ndarray of shape (n_problems, r)
            The vectors.
        start : ndarray of shape (n_problems, r)
            What a variable that the sampler does not return is set to.
        random_state : int, numpy.random.Generator or None, default=None
            Seeds the sampler where `seed` names its argument.

        Returns
        -------
        ndarray of shape (n_problems, r), uint8
            The codes.
        """
        n_problems, r = c.shape
        codes = np.array(start, dtype=np.uint8)
        rng = np.random.default_rng(random_state)
        for begin in range(0, n_problems, self.merge):
            model: dict[tuple[int, int], float] = {}
            members = range(begin, min(begin + self.merge, n_problems))
            for place, problem in enumerate(members):
                Q, base = to_qubo(G if G.ndim == 2 else G[problem], c[problem]).Q, place * r
                # Every variable is named, also where its linear term is zero.
                model |= {(base + a, base + a): float(Q[a, a]) for a in range(r)}
                model |= {(base + int(a), base + int(b)): float(Q[a, b]) for a, b in np.argwhere(np.triu(Q, 1))}
            kwargs = dict(self.kwargs)
            if self.seed is not None:
                kwargs[self.seed] = int(rng.integers(2**31))
            sample = self.sampler.sample_qubo(model, **kwargs).first.sample
            for place, problem in enumerate(members):
                for a in range(r):
                    codes[problem, a] = sample.get(place * r + a, codes[problem, a])
        return codes
