"""Training of a top-k autoencoder: the time until it explains most of the variance.

``python benchmarks/k_sparse_autoencoder.py [case ...]`` prints where the time of an epoch goes.
"""

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "Top-k autoencoder"
MEANING = (
    "Quality is the fraction of variance that the codes of the training data leave unexplained. All start at the same "
    "atoms and take the same batches in the same order, by Adam with the same learning rate; they are given numbers of "
    "epochs, and the fewest that reach the target are timed. The dense peers compute the same loss and gradient by "
    "full matrix products and move all parameters at every step."
)
TARGET, TIGHT = 0.3, None


class Case(NamedTuple):
    """Samples, features, latents, entries of a code, and samples of a batch."""

    n_samples: int
    n_features: int
    n_latents: int
    n_nonzero: int
    batch_size: int
    rate: float = 2e-3


class Problem(NamedTuple):
    """Samples of mean zero and mean squared norm one, atoms to start from, and the case."""

    X: np.ndarray
    atoms: np.ndarray
    case: Case


CASES = {
    "d256-L2048-k32": Case(16_384, 256, 2048, 32, 1024),
    "d256-L4096-k32": Case(16_384, 256, 4096, 32, 1024),
    "d512-L4096-k32": Case(16_384, 512, 4096, 32, 2048),
}
BIG: frozenset[str] = frozenset()


def tiny(case: Case) -> Case:
    """A small case of the same kind."""
    return Case(512, 16, 32, 3, 128, rate=1e-2)


def build(case: Case) -> Problem:
    """Sums of few of half as many atoms as there are latents, with positive coefficients and noise."""
    rng = np.random.default_rng(0)
    n_atoms = case.n_latents // 2
    planted, atoms = (rng.standard_normal((n, case.n_features)) for n in (n_atoms, case.n_latents))
    planted /= np.linalg.norm(planted, axis=1, keepdims=True)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    share = (np.arange(n_atoms) + 20.0) ** -1.0  # some atoms are frequent, most are rare
    codes = (rng.random((case.n_samples, n_atoms)) < 0.5 * case.n_nonzero * share / share.sum()) * 1.0
    codes *= 1.0 + rng.exponential(size=codes.shape)
    X = codes @ planted
    X += 0.1 * np.sqrt(np.mean(X**2)) * rng.standard_normal(X.shape)
    X -= X.mean(axis=0)
    X /= np.sqrt(np.mean(np.sum(X**2, axis=1)))
    return Problem(X.astype(np.float32), atoms.astype(np.float32), case)


def quality(problem: Problem, solution: tuple[np.ndarray, ...]) -> float:
    """The fraction of variance unexplained, from encoder, atoms and biases alone, in float64."""
    encoder, decoder, encoder_bias, bias = (array.astype(np.float64) for array in solution)
    centred = problem.X.astype(np.float64) - bias
    error = 0.0
    for start in range(0, len(centred), 1024):
        part = centred[start : start + 1024]
        codes = kept(part @ encoder.T + encoder_bias, problem.case.n_nonzero)
        error += np.sum((part - codes @ decoder) ** 2)
    return float(error / np.sum((problem.X - problem.X.mean(axis=0, dtype=np.float64)) ** 2))


def efforts(peer: str, case: Case, target: float) -> tuple[int, ...]:
    """Numbers of epochs."""
    return (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 60)


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """Nothing to choose."""
    return [{}]


def kept(A: np.ndarray, k: int) -> np.ndarray:
    """The k largest entries of each row, if positive; zero elsewhere."""
    codes = np.zeros_like(A)
    places = np.argpartition(A, A.shape[1] - k, axis=1)[:, -k:]
    np.put_along_axis(codes, places, np.maximum(np.take_along_axis(A, places, axis=1), 0.0), axis=1)
    return codes


def batches(case: Case, epochs: int) -> list[tuple[np.ndarray, float]]:
    """The rows and the learning rate of each step: rising, then falling over the last fifth."""
    random_state, per_epoch = np.random.RandomState(0), -(-case.n_samples // case.batch_size)
    rows = [part for _ in range(epochs) for part in np.array_split(random_state.permutation(case.n_samples), per_epoch)]
    warm_up, n = 1 + len(rows) // 20, len(rows)
    return [(part, case.rate * min(1.0, (t + 1) / warm_up, (n - t) / (0.2 * n))) for t, part in enumerate(rows)]


def sparsemodels() -> Callable:
    def fit(problem, epochs):
        from sparsemodels.solvers.autoencoder_training import training_step

        state, rule = start(problem)
        for rows, rate in batches(problem.case, epochs):
            training_step(state, problem.X[rows], rule, rate)
        return state.encoder, state.decoder, state.encoder_bias, state.bias

    return fit


def start(problem: Problem) -> tuple[Any, Any]:
    """The state of our training and its rule."""
    from sparsemodels.solvers.autoencoder_training import TrainingRule, start_training
    from sparsemodels.solvers.k_sparse_activations import TopKActivation

    n_latents, n_features = problem.atoms.shape
    state = start_training(n_latents, np.zeros(n_features), 1.0, np.float32, np.random.RandomState(0))
    state.decoder[:] = state.encoder[:] = problem.atoms
    return state, TrainingRule(TopKActivation(problem.case.n_nonzero), auxk_alpha=0.0)


def numpy_dense() -> Callable:
    def adam(parameter, gradient, moments, step, rate):
        moments[0] += np.float32(0.1) * (gradient - moments[0])
        moments[1] += np.float32(0.001) * (gradient * gradient - moments[1])
        scale = np.sqrt(moments[1] * np.float32(1.0 / (1.0 - 0.999**step)))
        scale += np.float32(1e-8)
        parameter -= np.float32(rate / (1.0 - 0.9**step)) * moments[0] / scale

    def fit(problem, epochs):
        encoder, decoder = problem.atoms.copy(), problem.atoms.copy()
        encoder_bias, bias = np.zeros(len(encoder), np.float32), np.zeros(encoder.shape[1], np.float32)
        parameters = (encoder, decoder, encoder_bias, bias)
        moments = [[np.zeros_like(p), np.zeros_like(p)] for p in parameters]
        for step, (rows, rate) in enumerate(batches(problem.case, epochs), start=1):
            centred = problem.X[rows] - bias
            codes = kept(centred @ encoder.T + encoder_bias, problem.case.n_nonzero)
            gradient = np.float32(2.0 / len(rows)) * (codes @ decoder - centred)
            slopes = (gradient @ decoder.T) * (codes > 0.0)
            of_decoder = codes.T @ gradient
            of_decoder -= np.sum(of_decoder * decoder, axis=1, keepdims=True) * decoder
            of_encoder_bias = slopes.sum(axis=0)
            of_bias = gradient.sum(axis=0) - of_encoder_bias @ encoder
            gradients = (slopes.T @ centred, of_decoder, of_encoder_bias, of_bias)
            for parameter, slope, pair in zip(parameters, gradients, moments, strict=True):
                adam(parameter, slope, pair, step, rate)
            decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
        return parameters

    return fit


def torch_dense() -> Callable:
    import torch

    torch.set_num_threads(1)

    def fit(problem, epochs):
        X, k = torch.from_numpy(problem.X), problem.case.n_nonzero
        encoder, decoder = (torch.tensor(problem.atoms, requires_grad=True) for _ in range(2))
        n_latents, n_features = problem.atoms.shape
        encoder_bias, bias = (torch.zeros(n, requires_grad=True) for n in (n_latents, n_features))
        parameters = (encoder, decoder, encoder_bias, bias)
        optimizer = torch.optim.Adam(parameters)
        for rows, rate in batches(problem.case, epochs):
            optimizer.param_groups[0]["lr"] = rate
            centred = X[torch.from_numpy(rows)] - bias
            values, places = torch.topk(centred @ encoder.T + encoder_bias, k, sorted=False)
            codes = torch.zeros(len(rows), n_latents).scatter(1, places, torch.relu(values))
            loss = torch.mean(torch.sum((codes @ decoder - centred) ** 2, dim=1))
            optimizer.zero_grad()
            loss.backward()
            with torch.no_grad():
                decoder.grad -= torch.sum(decoder.grad * decoder, dim=1, keepdim=True) * decoder
                optimizer.step()
                decoder /= torch.linalg.norm(decoder, dim=1, keepdim=True)
        return tuple(parameter.detach().numpy() for parameter in parameters)

    return fit


PEERS = {"sparsemodels": sparsemodels, "numpy-dense": numpy_dense, "torch-dense": torch_dense}


def profile(case: Case, rounds: int = 5) -> dict[str, float]:
    """CPU milliseconds of the parts of one step, the smallest of some rounds, and the share of the forward products."""
    import sparsemodels.solvers.autoencoder_training as training
    from sparsemodels.solvers.sparse_codes import reconstruct

    problem = build(case)
    state, rule = start(problem)
    batch = np.ascontiguousarray(problem.X[: case.batch_size])
    spent: dict[str, float] = {}

    def timed(name: str, function: Callable) -> Callable:
        def call(*arguments: Any, **options: Any) -> Any:
            begin = time.process_time()
            result = function(*arguments, **options)
            spent[name] = spent.get(name, 0.0) + 1e3 * (time.process_time() - begin)
            return result

        return call

    names = {
        "preactivations": "encoder product",
        "select": "selection",
        "batch_gradient": "reconstruction and slopes",
        "move_latents": "gradient of latents and Adam",
    }
    originals = {name: getattr(training, name) for name in names}
    best: dict[str, float] = {}
    training.training_step(state, batch, rule, case.rate)  # compiles
    try:
        for name, label in names.items():
            setattr(training, name, timed(label, originals[name]))
        for _ in range(rounds):
            spent.clear()
            timed("step", training.training_step)(state, batch, rule, case.rate)
            best = {name: min(value, best.get(name, value)) for name, value in spent.items()}
    finally:
        for name, function in originals.items():
            setattr(training, name, function)
    codes = training.select(rule.activation, training.preactivations(batch, state.encoder, state.encoder_bias))
    for _ in range(rounds):
        spent.clear()
        timed("decoder product", reconstruct)(codes, state.decoder)
        best["decoder product"] = min(spent["decoder product"], best.get("decoder product", np.inf))
    best["share of the forward products"] = (best["encoder product"] + best["decoder product"]) / best["step"]
    return best


if __name__ == "__main__":
    for chosen in sys.argv[1:] or CASES:
        print(chosen)
        for part, value in profile(CASES[chosen]).items():
            print(f"  {part:32s} {value:8.2f}")
