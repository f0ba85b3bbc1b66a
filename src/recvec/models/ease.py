"""EASE: every item is predicted from all others by one ridge regression that may not use the item itself.

Objective, X the interactions (n_users, n_items) with their weights (the paper's are all 1)::

    min_B  |X - X B|_F^2 + reg |B|_F^2     subject to  B_jj = 0
    B_ij = -P_ij / P_jj  for i != j,       P = (X'X + reg I)^-1

A person's scores are h B, h the history. P is inverted in place (`kernels.inverse`). Where users are clearly fewer than
items, the same B comes from the smaller side (the matrix inversion lemma)::

    B_ij = S_ij / (1 - S_jj)  for i != j,  S = X' (X X' + reg I)^-1 X

By default reg follows the data: `BALANCE` times the mean of G_jj = (X'X)_jj, each item counted G_jj times. So it is right
for small and large tables and for any unit of the weights.

`n_neighbours` keeps, for every recommended item j, only the entries of column j of largest magnitude: the items of a
history that say most about j. The result is sparse, small and fast, and a little less accurate.

Vectors are those of the truncated SVD of B (`ItemModel.decomposed`). A person without history has the score 0
everywhere; an item without interactions has zeros in its row and column. Cost: side^3 operations, side the smaller of
users and items; all entries of B take 4 n_items^2 bytes, in memory and in the saved folder. Single precision suffices:
B agrees with double precision to 1e-6 on MovieLens-1M.

Source: Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019, equation 8.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from recvec.contract import Cost, DataShape, ItemModel, Method, Runtime, State, Training, param
from recvec.data.dataset import Dataset
from recvec.errors import DivergedError
from recvec.kernels.blocks import even_blocks
from recvec.kernels.factorization import BLOCK, krylov_space, sparse_dense
from recvec.kernels.inverse import TILE, invert
from recvec.kernels.sparse_products import sparse_sparse
from recvec.kernels.topk import top_k_of_scores
from recvec.types import F32, Executor

BALANCE = 1.0  # chosen on validation parts, benchmarks/tuning
FEWER = 0.85  # of n_items: more users than that, and their side saves little time for the memory that it takes
ACCURATE = 5e-3  # relative error that is refused, and the least difference from 1 that single precision can hold
_ROWS = 256  # rows of the item-item matrix that are made at once


@dataclass(frozen=True, kw_only=True)
class EASE(Method):
    """Item-item regression in closed form."""

    name: ClassVar[str] = "ease"
    family: ClassVar[str] = "item-item"
    gives: ClassVar[str] = "an item-item matrix; vectors by its decomposition"
    holds_histories: ClassVar[bool] = True
    saves_memory: ClassVar[str] = "set n_neighbours if users are few, leave out rare items, use rp3beta"

    reg: float = param(0.0, "regularization; 0: in proportion to the popularity of the items", low=0.0, search=(10.0, 5000.0, "log"))
    n_neighbours: int = param(0, "entries kept for each recommended item; 0: all", low=0, search=(0, 100, 300, 1000))
    embedding_dim: int = param(64, "length of the vectors; lists do not use them", low=1, high=2048)

    def _fit(self, dataset: Dataset, training: Training) -> ItemModel:
        """Settle the regularization, solve and decompose."""
        histories = dataset.histories()
        by_user = histories.matrix()
        method = replace(self, reg=self.reg or default_reg(by_user))
        weights = solve(by_user, method.reg, self.n_neighbours, training.runtime.executor)
        return ItemModel.decomposed(method, histories, weights, self.embedding_dim, training)

    def restore(self, state: State) -> ItemModel:
        """See `Method.restore`."""
        return ItemModel.restored(self, state)

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """Count the inverse, the matrix made of it, and its decomposition."""
        n_users, n_items, d, space = shape.n_users, shape.n_items, self.embedding_dim, krylov_space(self.embedding_dim)
        smaller = _fewer_users(n_users, n_items)
        side = n_users if smaller else n_items
        kept = min(self.n_neighbours or n_items, n_items) * n_items
        sparse_work = 2.0 * shape.n_interactions * ((n_users + n_items) if smaller else shape.n_interactions / n_users)
        head = n_users * n_users // n_items if smaller else 0
        matrices = 4 * side * side + 24 * kept if self.n_neighbours else 4 * (n_items * n_items + head * head)
        working = 4 * (2 * TILE * side + (4 * _ROWS + 2 * space + 3 * d) * n_items + d * n_users)
        return Cost(
            operations=sparse_work + 8.0 * n_items * space * space,
            products=float(side) ** 3,
            bytes_moved=8.0 * kept * space / BLOCK,
            memory=matrices + working + 32 * shape.n_interactions,
        )


def default_reg(by_user: sp.csr_array) -> float:
    """Return ``BALANCE sum_j G_jj^2 / sum_j G_jj``, G = X'X."""
    squares = np.bincount(by_user.indices, by_user.data.astype(np.float64) ** 2, minlength=by_user.shape[1])
    return BALANCE * float((squares**2).sum() / squares.sum()) if squares.any() else 1.0


def solve(by_user: sp.csr_array, reg: float, n_neighbours: int, executor: Executor) -> F32 | sp.csr_array:
    """Return B of the interactions X (n_users, n_items), from the side that costs less."""
    by_side = _by_users if _fewer_users(*by_user.shape) else _by_items
    try:
        return by_side(by_user, sp.csr_array(by_user.T.tocsr()), reg, n_neighbours, executor)
    except DivergedError as error:
        raise DivergedError(f"ease cannot be solved in single precision; raise reg (it is {reg:g})") from error


def _fewer_users(n_users: int, n_items: int) -> bool:
    return n_users < FEWER * n_items


def _by_items(by_user: sp.csr_array, by_item: sp.csr_array, reg: float, n_neighbours: int, executor: Executor) -> F32 | sp.csr_array:
    """Return B from P = (X'X + reg I)^-1: column j is -P_j / P_jj."""
    n_items = by_item.shape[0]
    inverse = np.empty((n_items, n_items), np.float32)
    _invert_regularized(by_item, by_user, reg, inverse, executor)
    divisor = -inverse.diagonal()
    if n_neighbours:
        return _strongest(lambda at: np.divide(inverse[at], divisor[at, None]), n_items, n_neighbours, executor)
    return _divided(inverse, divisor, executor)


def _by_users(by_user: sp.csr_array, by_item: sp.csr_array, reg: float, n_neighbours: int, executor: Executor) -> F32 | sp.csr_array:
    """Return B from S = X'MX, M = (XX' + reg I)^-1: column j is S_j / (1 - S_jj)."""
    n_users, n_items = by_user.shape
    room = np.empty((n_users if n_neighbours else n_items) ** 2, np.float32)
    inverse = room[: n_users * n_users].reshape(n_users, n_users)
    _invert_regularized(by_user, by_item, reg, inverse, executor)

    def rows(at: slice, others: sp.csr_array = by_item) -> F32:
        """Return rows of S, or their first columns; two sparse products, X'M by rows and X'(X'M)'."""
        half = sparse_dense(by_item[at], inverse, executor=executor)  # (b, n_users)
        return sparse_dense(others, np.ascontiguousarray(half.T), executor=executor).T

    def column(at: slice) -> F32:
        block = rows(at)
        return block / _left_over(block.diagonal(at.start))[:, None]

    if n_neighbours:
        return _strongest(column, n_items, n_neighbours, executor)
    # S takes the room of M. Its rows behind M are made first, then the corner that only M's rows hold.
    matrix, head = room.reshape(n_items, n_items), -(-n_users * n_users // n_items)
    for at in even_blocks(n_items - head, _ROWS):
        behind = slice(head + at.start, head + at.stop)
        matrix[behind] = rows(behind)
    corner = np.empty((head, head), np.float32)
    for at in even_blocks(head, _ROWS):
        corner[at] = rows(at, by_item[:head])
    matrix[:head, :head] = corner
    for at in even_blocks(head, _ROWS):
        matrix[at, head:] = matrix[head:, at].T  # S is symmetric
    return _divided(matrix, _left_over(matrix.diagonal()), executor)


def _left_over(diagonal: F32) -> F32:
    """Return ``1 - S_jj``, the share of an item that people's other items do not explain, if rounding leaves it its digits."""
    rest: F32 = 1 - diagonal
    if not (rest >= ACCURATE).all():
        raise DivergedError("too little is left over")
    return rest


def _invert_regularized(left: sp.csr_array, right: sp.csr_array, reg: float, out: F32, executor: Executor) -> None:
    """Write ``(left @ right + reg I)^-1`` into `out`, and see by one vector that it is what it should be."""
    sparse_sparse(left, right, out=out, executor=executor)
    out[np.diag_indices(len(out))] += np.float32(reg)
    invert(out, executor=executor)
    probe = np.where(np.arange(len(out)) % 2, -1.0, 1.0).astype(np.float32)
    solved = np.concatenate(executor.map(lambda at: out[at] @ probe, even_blocks(len(out), _ROWS))).astype(np.float64)
    rest = left @ (right @ solved) + reg * solved - probe
    if not np.linalg.norm(rest) <= ACCURATE * np.linalg.norm(probe):
        raise DivergedError("the inverse is not accurate")


def _divided(matrix: F32, divisor: F32, executor: Executor) -> F32:
    """Divide the columns in place and put zeros on the diagonal."""

    def divide(at: slice) -> None:
        matrix[at] /= divisor

    executor.map(divide, even_blocks(len(matrix), _ROWS))
    np.fill_diagonal(matrix, 0)
    return matrix


def _strongest(columns: Callable[[slice], F32], n_items: int, k: int, executor: Executor) -> sp.csr_array:
    """Return B with the k entries of largest magnitude of each column; ``columns(slice)`` gives columns as rows."""
    counts, entries, values = [np.zeros(1, np.int64)], [], []
    for at in even_blocks(n_items, _ROWS):
        block = np.ascontiguousarray(columns(at))  # (b, n_items)
        itself = (np.arange(len(block) + 1), np.arange(at.start, at.stop))
        best, _ = top_k_of_scores(np.abs(block), min(k, n_items), exclude=itself, executor=executor)
        weight = np.take_along_axis(block, best, axis=1)
        kept = (best >= 0) & (weight != 0)
        counts.append(kept.sum(axis=1))
        entries.append(best[kept])
        values.append(weight[kept])
    by_column = (np.concatenate(values), np.concatenate(entries), np.cumsum(np.concatenate(counts)))
    return sp.csr_array(sp.csc_array(by_column, shape=(n_items, n_items)).tocsr())
