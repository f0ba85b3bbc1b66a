"""What the benchmarks of alternating least squares share: objectives, our side of a comparison, and the loss.

An objective is, over all pairs with scores s and the observed ones among them::

    sum over observed of  (quadratic s^2 - 2 linear s + linear)  +  unobserved * sum over all of s^2
    + sum over rows of  reg (n_row + unobserved * n_other)^exponent |vector|^2,       n_row the number of its entries.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from recvec.contract.runtime import Threads
from recvec.kernels.least_squares import FixedSide, WeightedRows, gramian, solve
from recvec.types import F32

Factors = tuple[F32, F32]


@dataclass(frozen=True)
class Objective:
    """See above; `exponent` 0 makes the regularization constant."""

    quadratic: float
    linear: float
    unobserved: float
    reg: float
    exponent: float

    def regularization(self, counts: np.ndarray, n_other: int) -> np.ndarray:
        """Return the regularization of each row, float64 (n,)."""
        return self.reg * (counts + self.unobserved * n_other) ** self.exponent

    def __str__(self) -> str:
        return " ".join(f"{name} {value:g}" for name, value in asdict(self).items())


CONFIDENCE_TWO = Objective(quadratic=1, linear=2, unobserved=1, reg=0.01, exponent=0)  # of implicit and LensKit
SCALED = {  # of irspack; the weight of unobserved pairs suits the density of the table
    "gowalla": Objective(quadratic=1, linear=1, unobserved=0.01, reg=0.005, exponent=1),
    "synthetic": Objective(quadratic=1, linear=1, unobserved=0.1, reg=0.005, exponent=1),
}


def start_factors(shape: tuple[int, int], d: int) -> Factors:
    """Return the vectors that both sides start from: N(0, .01^2)."""
    rng = np.random.default_rng(0)
    users, items = ((0.01 * rng.standard_normal((n, d))).astype(np.float32) for n in shape)
    return users, items


def hand_over(folder: Path, train: sparse.csr_matrix, start: Factors) -> None:
    """Write what a peer reads."""
    arrays = {"indptr": train.indptr, "indices": train.indices, "shape": np.array(train.shape)}
    for name, array in (arrays | dict(zip(("users", "items"), start, strict=True))).items():
        np.save(folder / name, array)


def peer_factors(folder: Path, epochs: int) -> list[Factors]:
    """Read what a peer has kept of each epoch."""
    return [tuple(np.load(folder / f"peer_{side}_{epoch}.npy") for side in ("users", "items")) for epoch in range(epochs)]  # type: ignore[misc]


def run_ours(
    train: sparse.csr_matrix,
    start: Factors,
    objective: Objective,
    epochs: int,
    *,
    threads: int,
    kept: list[Factors] | None = None,
    **options: Any,
) -> list[float]:
    """Return the seconds of each epoch by `kernels.least_squares.solve`; factors after each epoch are added to `kept`."""
    executor = Threads(threads)
    quadratic, linear = (np.full(train.nnz, weight, np.float32) for weight in (objective.quadratic, objective.linear))
    transposed = train.T.tocsr()
    by_user = WeightedRows(train.indptr, train.indices, quadratic, linear)
    by_item = WeightedRows(transposed.indptr, transposed.indices, quadratic, linear)

    def half(start: F32, rows: WeightedRows, fixed: F32, counted: int) -> F32:
        reg = objective.regularization(np.diff(rows.indptr), counted).astype(np.float32)
        gram = np.float32(objective.unobserved) * gramian(fixed, executor=executor)
        side = FixedSide.of(fixed, gram, executor=executor)
        return solve(start, rows, side, reg, executor=executor, **options)

    users, items = start
    _warm_up(users.shape[1], executor, options)
    seconds = []
    for _ in range(epochs):
        begin = time.perf_counter()
        users = half(users, by_user, items, train.shape[1])
        items = half(items, by_item, users, train.shape[0])
        seconds.append(time.perf_counter() - begin)
        if kept is not None:
            kept.append((users, items))
    return seconds


def _warm_up(d: int, executor: Threads, options: dict[str, Any]) -> None:
    """Compile what a run may use, or read the compiled code: both solvers that "auto" chooses between."""
    vectors = start_factors((8, 8), d)[0]
    side = FixedSide.of(vectors, np.eye(d, dtype=np.float32), executor=executor)
    one = np.ones(8, np.float32)
    rows = WeightedRows(np.arange(9, dtype=np.int32), np.arange(8, dtype=np.int32), one, one)
    for solver in ("cg", "cholesky") if options.get("solver", "auto") == "auto" else (options["solver"],):
        solve(vectors, rows, side, one, executor=executor, **options | {"solver": solver})


def loss(train: sparse.csr_matrix, users: F32, items: F32, objective: Objective) -> float:
    """Return the objective over the number of pairs."""
    observed = 0.0
    counts = np.diff(train.indptr)
    rows = np.repeat(np.arange(train.shape[0], dtype=np.int32), counts)
    for begin in range(0, train.nnz, 100_000):
        at = slice(begin, begin + 100_000)
        scores = np.einsum("ed,ed->e", users[rows[at]], items[train.indices[at]]).astype(np.float64)
        observed += float((objective.quadratic * scores**2 - 2 * objective.linear * scores + objective.linear).sum())
    of_users, of_items = (side.T.astype(np.float64) @ side for side in (users, items))
    total = observed + objective.unobserved * float((of_users * of_items).sum())
    for side, n, other in ((users, counts, train.shape[1]), (items, np.bincount(train.indices, minlength=train.shape[1]), train.shape[0])):
        total += float((objective.regularization(n, other) * np.einsum("nd,nd->n", side, side, dtype=np.float64)).sum())
    return total / (train.shape[0] * train.shape[1])
