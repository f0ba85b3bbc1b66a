"""The place of a person on the sphere, items held fixed: how `softmax-mf` ends its fit and folds people in."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from recvec.contract import FoldIn, Runtime, needs_history, no_new_items
from recvec.data.histories import Histories
from recvec.kernels.blocks import even_blocks
from recvec.kernels.factorization import sparse_dense
from recvec.kernels.softmax import expected
from recvec.types import F32, I64, Array, Executor

N_DRAWN = 2048  # items in the log-sum-exp
PEOPLE = 64  # climb at the same time, always as many: a product of another size would round otherwise
SLOWING = 4.0  # steps after which a step is half as long


@dataclass(frozen=True, eq=False)
class SoftmaxFoldIn(FoldIn):
    """Steps uphill on the sphere, from the sum of a history's items.

    ::

        x <- unit(x + a_k unit(sum_i w_i q_i - W sum_j softmax_j q_j)),   a_k = 1 / (1 + k / SLOWING)

    Parameters
    ----------
    name : str
        Method, for messages.
    temperature : float
        By what scores are divided.
    steps : int
        How many.
    item_vectors : F32, shape (n_items, d)
        q.
    drawn : I64, shape (n_drawn,)
        The items j.
    typical : float
        Number of interactions of an item of length 1.
    """

    name: str
    temperature: float
    steps: int
    item_vectors: F32
    drawn: I64
    typical: float

    def solve(self, histories: Histories, executor: Executor) -> F32:
        """Return the vectors, shape (B, d)."""
        sharp = np.float32(1 / self.temperature)
        others = self.item_vectors[self.drawn] * sharp
        known = histories.matrix()
        known.data = np.maximum(known.data, 0)
        sums = sparse_dense(known, self.item_vectors, executor=executor) * sharp
        totals = np.asarray(known.sum(axis=1), np.float32)
        out = np.empty_like(sums)

        def one(at: slice) -> None:
            n = len(sums[at])
            given = np.zeros((PEOPLE, sums.shape[1] + 1), np.float32)
            given[:n, :-1], given[:n, -1] = sums[at], totals[at]
            out[at] = self._climb(np.ascontiguousarray(given[:, :-1]), given[:, -1], others)[:n]

        executor.map(one, even_blocks(len(sums), PEOPLE))
        return out

    def _climb(self, sums: F32, totals: F32, others: F32) -> F32:
        """Return the vectors of some people, the sums of whose items are given, shape (b, d)."""
        x = sums / _lengths(sums)
        for k in range(self.steps):
            slope = sums - totals[:, None] * expected(x, others)[0]
            x += np.float32(_length(k)) * (slope / _lengths(slope))
            x /= _lengths(x)
        return x

    def queries(self, histories: Histories | None, features: pl.DataFrame | None) -> F32:
        """See `FoldIn.queries`."""
        return self.solve(needs_history(self.name, histories), Runtime().executor)

    def item_queries(self, features: pl.DataFrame) -> F32:
        """See `FoldIn.item_queries`."""
        raise no_new_items(self.name)

    def parts(self, history: Histories, vector: F32) -> tuple[Mapping[str, float], F32]:
        """Return what all items pull, and what each item of the history does: the vector is ``a sum_i w_i q_i - rest``."""
        sharp = np.float32(1 / self.temperature)
        weights = np.maximum(history.weights, 0)
        others, total = self.item_vectors[self.drawn] * sharp, weights.sum()
        sums = (weights @ self.item_vectors[history.items])[None] * sharp  # (1, d)
        share, rest = 1 / _lengths(sums), np.zeros_like(sums)
        for k in range(self.steps):
            mean = total * expected(share * sums - rest, others)[0]
            step = np.float32(_length(k)) / _lengths(sums - mean)
            share, rest = share + step, rest + step * mean
            length = _lengths(share * sums - rest)
            share, rest = share / length, rest / length
        own = weights * (self.item_vectors[history.items] @ vector) * (share[0, 0] * sharp)
        return {"all items": float(-(rest[0] @ vector))}, own.astype(np.float32)

    def arrays(self) -> Mapping[str, Array]:
        """See `FoldIn.arrays`."""
        return {"drawn": self.drawn, "typical": np.array([self.typical])}


def drawn_once(n_items: int, rng: np.random.Generator) -> I64:
    """Return `N_DRAWN` distinct items, ascending; all where there are no more."""
    return np.arange(n_items) if n_items <= N_DRAWN else np.sort(rng.choice(n_items, N_DRAWN, replace=False, shuffle=False))


def _length(k: int) -> float:
    return 1 / (1 + k / SLOWING)


def _lengths(rows: F32) -> F32:
    """Return the lengths, 1 for zero rows, shape (b, 1)."""
    lengths: F32 = np.sqrt(np.einsum("bd,bd->b", rows, rows))[:, None]
    return np.where(lengths > 0, lengths, np.float32(1))
