r"""Learning a dictionary: codes of all signals, then better atoms for them, in turn, and ways out of dead ends.

Four ways to improve the atoms: ``"ksvd"`` (:mod:`.k_svd`), ``"mod"`` (:mod:`.optimal_directions`), ``"bcd"``, sweeps of
the best single atoms (:mod:`.unit_atoms`), and ``"online"``, the same sweeps after every small batch
(:mod:`.online_dictionary`). Each but the last never raises the objective, and a signal whose old code is better than
its new one keeps it: so the objective falls from iteration to iteration.

Three things keep the fit from ending in a dead end.

- **Few atoms first.** A coder with a fixed number of atoms a signal begins with fewer. The codes stay feasible as the
  number grows.
- **Work for every atom.** Atoms without users take the directions of the signals that are represented worst, of two
  atoms of one direction the weaker one does the same, and weak atoms split those that do the work of two
  (:mod:`.atom_exchange`).
- **Trials.** Once the fit has settled, some atoms are given up for badly represented signals and it goes on from there.
  If it does not settle clearly lower, the trial is undone.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .atom_replacement import separated
from .atom_revival import perturbed, with_work
from .coders import Coder, LassoCD, LassoLARS, dictionary
from .dictionary_objective import (
    Certificate,
    DictionaryFit,
    Signals,
    certificate,
    coding_gap,
    completed,
    encode_no_worse,
    energy,
    l1_weight,
    objective_of,
)
from .k_svd import k_svd_sweep
from .online_dictionary import FORGETTING, Sums, no_sums, pass_over, sums_of
from .optimal_directions import optimal_directions
from .sparse_codes import SparseCodes, concatenated, reconstruct, squared_residuals
from .unit_atoms import improve_atoms, normalized

_SWEEPS = 5  # over the atoms, of "bcd"
_STAGES, _STAGE = 4, 3  # how many numbers of atoms a signal there are on the way to the full one, iterations of each
_SETTLED = 1e-2  # stationarity from which on a trial begins
_TRIAL, _FREE = 10, 5  # iterations of a trial, and how many of them codes may become worse
_WORTHWHILE = 1e-2  # share of the objective that a trial must gain
_ROUNDS = 30  # iterations that may replace atoms without a bound on the coherence being met


class Options(NamedTuple):
    """How atoms are improved and kept useful.

    Attributes
    ----------
    solver : {"online", "ksvd", "mod", "bcd"}
        The update of the atoms.
    exact : bool
        Whether ``"ksvd"`` takes singular pairs instead of power steps.
    batch_size : int
        Signals of one batch of ``"online"``.
    shuffle : bool
        Whether ``"online"`` draws its batches and their order.
    replace_unused : {"worst", "random"} or None
        What atoms without users become: badly represented signals, signals drawn at random, or nothing.
    coherence_max : float or None
        The largest absolute inner product of two atoms.
    n_trials : int
        How many trials in a row must fail before the fit ends.
    gradual : bool
        Whether to begin with fewer atoms a signal.
    positive : bool
        Whether entries of the atoms must be >= 0.
    """

    solver: str = "online"
    exact: bool = False
    batch_size: int = 256
    shuffle: bool = True
    replace_unused: str | None = "worst"
    coherence_max: float | None = None
    n_trials: int = 2
    gradual: bool = True
    positive: bool = False


class _State(NamedTuple):
    atoms: np.ndarray
    codes: SparseCodes
    objective: float
    began: int


def stages(coder: Coder, max_iter: int) -> list[Coder]:
    """The coders of the first iterations, with fewer atoms a signal; empty where the number is one or not fixed."""
    if isinstance(coder, LassoCD | LassoLARS) or getattr(coder, "max_squared_residual", 0.0) > 0.0:
        return []
    most = coder.n_nonzero
    n_stages = min(_STAGES, most)
    length = min(_STAGE, max_iter // (2 * n_stages))
    sizes = [-(-most * (s + 1) // n_stages) for s in range(n_stages - 1)]
    return [coder._replace(n_nonzero=size) for size in sizes for _ in range(length)]


def improved(
    signals: Signals, codes: SparseCodes, atoms: np.ndarray, known: Certificate, coder: Coder, options: Options
) -> tuple[SparseCodes, np.ndarray]:
    """Better atoms for given codes by ``"ksvd"``, ``"mod"`` or ``"bcd"``, with the codes that belong to them.

    Parameters
    ----------
    signals : Signals
        The signals.
    codes : SparseCodes
        Their codes; not changed.
    atoms : ndarray of shape (n_atoms, n_features)
        The atoms, of norm one; not changed.
    known : Certificate
        Of this pair.
    coder : record of a coder
        Whose penalty belongs to the objective.
    options : Options
        The update.

    Returns
    -------
    codes : SparseCodes
        The codes, rescaled by ``"mod"``, refitted by ``"ksvd"``.
    atoms : ndarray of shape (n_atoms, n_features)
        The atoms, of norm one.
    """
    if options.solver == "ksvd":
        new_codes, new_atoms = codes._replace(values=codes.values.copy()), atoms.copy()
        residual = signals.X - reconstruct(codes, atoms)
        if signals.known is not None:
            residual[~signals.known] = 0.0
        k_svd_sweep(
            new_codes, residual, new_atoms, exact=options.exact, alpha=l1_weight(coder),
            positive=bool(getattr(coder, "positive", False)), positive_atoms=options.positive,
        )  # fmt: skip
        return new_codes, normalized(new_atoms)
    if options.solver == "mod" and not options.positive:
        new, norms = optimal_directions(known.gram, known.products, atoms)
        alpha = l1_weight(coder)
        # Norm one raises the penalty of the rescaled codes, by more than the fit gains perhaps.
        sizes = np.bincount(codes.indices, weights=np.abs(codes.values), minlength=codes.n_atoms)
        gain = 0.0
        if alpha > 0.0:
            free = norms[:, None] * new
            change = free - atoms
            slope = known.products - known.gram @ atoms
            gain = float(np.vdot(slope, change) - 0.5 * np.vdot(known.gram @ change, change))
        if alpha == 0.0 or gain >= alpha * float(sizes @ (norms - 1.0)):
            values = codes.values * norms.astype(codes.values.dtype)[codes.indices]
            return codes._replace(values=values), np.ascontiguousarray(new, dtype=atoms.dtype)
    precise = atoms.astype(np.float64)
    improve_atoms(known.gram, known.products, precise, positive=options.positive, n_sweeps=_SWEEPS)
    return codes, precise.astype(atoms.dtype)


def learn_dictionary(
    signals: Signals,
    atoms: np.ndarray,
    coder: Coder,
    options: Options = Options(),
    *,
    tol: float = 1e-3,
    max_iter: int = 100,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> DictionaryFit:
    """Learn a dictionary of atoms of norm one.

    Parameters
    ----------
    signals : Signals
        The training signals.
    atoms : ndarray of shape (n_atoms, n_features)
        Where to start; brought to norm one, not changed.
    coder : record of a coder
        How signals are coded.
    options : Options, default=Options()
        How atoms are improved.
    tol : float, default=1e-3
        Stop once the relative stationarity of the atoms, given codes that are up to date, is at most this.
    max_iter : int, default=100
        The most iterations; of ``"online"``, passes over the signals.
    deadline : float, default=inf
        When to stop, in seconds of ``time.monotonic()``.
    on_iteration : callable, optional
        Called with the number of iterations and the objective; stops the fit by returning True.
    random_state : numpy.random.RandomState, optional
        Draws batches and trials.
    n_jobs : int, optional
        Threads over blocks of signals; the answer does not depend on them.

    Returns
    -------
    DictionaryFit
        The dictionary, the codes and their certificate.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.alternating_dictionary import Options, learn_dictionary
    >>> from sparsemodels.solvers.coders import OMP
    >>> from sparsemodels.solvers.dictionary_objective import Signals
    >>> X = np.array([[3.0, 4.0], [6.0, 8.0], [-4.0, 3.0], [8.0, -6.0]])
    >>> fit = learn_dictionary(Signals(X), np.array([[1.0, 1.0], [-1.0, 1.0]]), OMP(1), Options("ksvd"))
    >>> np.round(fit.atoms, 6), fit.status
    (array([[ 0.6,  0.8],
           [-0.8,  0.6]]), 'converged')
    """
    random_state = np.random.RandomState(0) if random_state is None else random_state
    X = signals.X
    atoms = normalized(np.asarray(atoms, dtype=X.dtype))
    total, online = energy(signals), options.solver == "online"
    beginning = stages(coder, max_iter) if options.gradual else []
    batches: list[np.ndarray] = []
    pieces: list[SparseCodes | None] = []
    if online:
        rows = random_state.permutation(X.shape[0]) if options.shuffle else np.arange(X.shape[0])
        batches = [rows[i : i + options.batch_size] for i in range(0, rows.size, options.batch_size)]
        # Rows of a batch in order, so that reading them is quick; the batches lie in the order of drawing.
        batches = [np.sort(batch) for batch in batches]
        pieces = [None] * len(batches)
        # All signals in the order of the batches: so their codes are the batches' one below the other.
        order = np.concatenate(batches)
        back = np.argsort(order, kind="stable")
    filled = X.copy() if online and signals.known is not None else None
    sums: Sums = no_sums(*atoms.shape)
    codes: SparseCodes | None = None
    squares = np.zeros(0)
    best: DictionaryFit | None = None
    saved: _State | None = None
    history: list[float] = []
    failed, rounds, n_iter, n_passes = 0, 0, 0, 0
    settled, replaced, stale, status = False, False, False, "max_iter"
    movement = np.inf

    def in_pieces(codes: SparseCodes) -> list[SparseCodes | None]:
        counts = np.diff(codes.indptr)
        out: list[SparseCodes | None] = []
        for batch in batches:
            pointers = np.zeros(batch.size + 1, dtype=np.int64)
            np.cumsum(counts[batch], out=pointers[1:])
            at = np.repeat(codes.indptr[batch] - pointers[:-1], counts[batch]) + np.arange(pointers[-1])
            out.append(SparseCodes(pointers, codes.indices[at], codes.values[at], codes.n_atoms))
        return out

    def in_order(pieces: list[Any]) -> SparseCodes:
        stacked = concatenated(pieces)
        counts = np.diff(stacked.indptr)[back]
        pointers = np.zeros(counts.size + 1, dtype=np.int64)
        np.cumsum(counts, out=pointers[1:])
        at = np.repeat(stacked.indptr[:-1][back] - pointers[:-1], counts) + np.arange(pointers[-1])
        return SparseCodes(pointers, stacked.indices[at], stacked.values[at], stacked.n_atoms)

    try:
        while True:
            present = beginning[n_iter] if n_iter < len(beginning) else coder
            last = n_iter >= max_iter
            # Codes and a certificate that are up to date: "online" has none while it is still on its way.
            near = max(tol, _SETTLED) if failed < options.n_trials else tol
            fresh = not online or last or (codes is not None and movement <= 3.0 * near)
            if fresh:
                trying = saved is not None and n_iter - saved.began < _FREE
                coding = encode_no_worse(
                    present, signals, dictionary(atoms), codes, keep_better=not trying, n_jobs=n_jobs
                )
                codes, squares = coding.codes, coding.squared_residual
                found = certificate(
                    signals, codes, squares, atoms, coder, total, positive=options.positive, n_jobs=n_jobs
                )
                gap = coding_gap(present, coding, total)
            elif codes is not None:
                squares = squared_residuals(codes, X, atoms, signals.known, n_jobs=n_jobs)
                found = Certificate(objective_of(coder, codes, squares), np.inf, sums.gram, sums.products)
            if codes is not None:
                if saved is not None and (last or n_iter - saved.began >= _TRIAL):
                    if found.objective < (1.0 - _WORTHWHILE) * saved.objective:
                        saved, failed = None, 0
                    else:
                        atoms, codes = saved.atoms, saved.codes
                        failed, saved = failed + 1, None
                        coding = encode_no_worse(coder, signals, dictionary(atoms), codes, n_jobs=n_jobs)
                        codes, squares = coding.codes, coding.squared_residual
                        found = certificate(
                            signals, codes, squares, atoms, coder, total, positive=options.positive, n_jobs=n_jobs
                        )
                        gap, fresh, replaced = coding_gap(coder, coding, total), True, False
                        stale = True
                history.append(found.objective if saved is None else saved.objective)
                if fresh and saved is None and n_iter >= len(beginning):
                    best = DictionaryFit(
                        atoms, codes, found.objective, np.array(history), float(squares.sum()), found.kkt, gap,
                        n_iter, status,
                    )  # fmt: skip
                    settled = not replaced or rounds > _ROUNDS
                    if found.kkt <= tol and settled and failed >= options.n_trials:
                        status = "converged"
                        break
                    if found.kkt <= max(tol, _SETTLED) and settled and failed < options.n_trials and not last:
                        saved = _State(atoms.copy(), codes, found.objective, n_iter)
                        atoms, codes = perturbed(
                            signals, codes, squares, atoms, random_state, positive_atoms=options.positive
                        )
                        stale = True
            if last:
                break
            if n_iter and time.monotonic() > deadline:
                status = "time_limit"
                break
            if n_iter and on_iteration is not None and on_iteration(n_iter, history[-1]):
                status = "stopped"
                break
            before = atoms
            if online:
                fade = n_passes < FORGETTING
                if codes is not None and (stale or (fresh and not fade)):
                    # The sums, and what is filled in, have to be those of the codes that batches come with.
                    pieces, everything = in_pieces(codes), completed(signals, codes, atoms, n_jobs=n_jobs)
                    filled = None if filled is None else everything
                    sums, stale = sums_of(codes, everything)._replace(n_seen=sums.n_seen), False
                visit = random_state.permutation(len(batches)) if options.shuffle and n_passes else range(len(batches))
                precise = atoms.astype(np.float64)
                sums = pass_over(
                    present, signals, batches, visit, pieces, sums, precise, filled,
                    fade=fade, positive=options.positive, deadline=deadline, n_jobs=n_jobs,
                )  # fmt: skip
                n_passes += 1
                pieces = [_nothing(batch.size, atoms.shape[0], X.dtype) if p is None else p
                          for p, batch in zip(pieces, batches, strict=True)]  # fmt: skip
                codes, atoms = in_order(pieces), precise.astype(X.dtype)
                strength = np.bincount(codes.indices, weights=np.square(codes.values, dtype=np.float64),
                                       minlength=codes.n_atoms)  # fmt: skip
                step = np.einsum("ij,ij->i", atoms - before, atoms - before, dtype=np.float64)
                movement = float(np.sqrt(strength @ step / total)) if total > 0.0 else 0.0
                stale = fade and n_passes >= FORGETTING  # from now on old codes are taken out as new ones come in
            else:
                assert codes is not None
                codes, atoms = improved(signals, codes, atoms, found, coder, options)
            n_iter += 1
            replaced = False
            if options.coherence_max is not None:
                atoms = separated(atoms, options.coherence_max)
            if options.replace_unused is not None and rounds <= _ROUNDS and n_iter < max_iter:
                codes, atoms, replaced = with_work(
                    signals, codes, atoms, coder, random_state,
                    rule=options.replace_unused, positive_atoms=options.positive, n_jobs=n_jobs,
                )  # fmt: skip
                rounds += replaced
                if replaced and options.coherence_max is not None:
                    atoms = separated(atoms, options.coherence_max)
                stale = stale or replaced
    except KeyboardInterrupt:
        status = "interrupted"
    if best is None or status not in ("converged", "max_iter"):
        kept = (atoms, codes) if saved is None else (saved.atoms, saved.codes)
        best = _certified(signals, *kept, coder, total, history, n_iter, options.positive, n_jobs)
    return best._replace(objective_history=np.array(history), n_iter=n_iter, status=status)


def _nothing(n_signals: int, n_atoms: int, dtype: Any) -> SparseCodes:
    """Codes of zeros."""
    return SparseCodes(np.zeros(n_signals + 1, np.int64), np.empty(0, np.int32), np.empty(0, dtype), n_atoms)


def _certified(signals, atoms, codes, coder, total, history, n_iter, positive, n_jobs) -> DictionaryFit:
    """The last atoms with codes that are up to date."""
    coding = encode_no_worse(coder, signals, dictionary(atoms), codes, n_jobs=n_jobs)
    codes, squares = coding.codes, coding.squared_residual
    found = certificate(signals, codes, squares, atoms, coder, total, positive=positive, n_jobs=n_jobs)
    history.append(found.objective)
    gap = coding_gap(coder, coding, total)
    return DictionaryFit(
        atoms, codes, found.objective, np.array(history), float(squares.sum()), found.kkt, gap, n_iter, ""
    )
